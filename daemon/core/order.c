/* Orders: what admins have a job do that takes no round. What to restore is decided in choice.c.
 *
 * The usual way: an order is an operation; once its row is durable it waits for its turn (the
 * orders of a job are carried out one after the other, in order of arrival), and what it changes
 * and that it is done are one commit. A daemon that dies in between takes it up again when it
 * starts.
 *
 * What can go wrong: the job is not as the order wants it, now or when its turn comes: the
 * operation fails and says why, and nothing is changed. The store does not take the commit: a hold
 * holds all the same and is handed to the store again until it is durable; a release has not
 * happened. */
#include <stdio.h>

#include "daemon/core/internal.h"

#define CALL_MAX ((size_t)16 << 10)
#define HOLD_AGAIN_US (1000 * MS)

/* ---- hold */

const Tide__Request *order_request(struct core *c, const struct operation *op)
{
    const Tide__Request *m = tide_unpack(&c->arena, &tide__request__descriptor, op->request, NULL);
    Tide__Request__CallCase call = op->kind == TIDE_OP_HOLD      ? TIDE__REQUEST__CALL_HOLD
                                   : op->kind == TIDE_OP_RESTORE ? TIDE__REQUEST__CALL_RESTORE
                                   : op->kind == TIDE_OP_IMPORT
                                       ? TIDE__REQUEST__CALL_IMPORT_SNAPSHOT
                                       : TIDE__REQUEST__CALL_RELEASE;
    return m && m->call_case == call ? m : NULL;
}

/* The commit that makes the job HELD, and an order's outcome with it; 0: nobody's. */
static void record_held(struct core *c, struct job *job, uint64_t order)
{
    struct operation *op = order ? operation_find(job, order) : NULL;
    struct tide_commit *commit = tide_commit_new(true);
    core_assert(commit != NULL);
    job_record_state(c, commit, job, TIDE_JOB_HELD);
    stop_record_held(job, commit);
    if (op) operation_record_done(c, commit, job, op);
    ask_commit(c, commit, ASKED_HELD, job, order);
}

/* Those that wait with nothing may go; they try again later. */
static void refuse_waiting(struct core *c, struct job *job)
{
    for (struct worker *w = job->workers, *next; w; w = next) {
        next = w->next;
        if (w->standing != STANDS_READY && w->standing != STANDS_PARKED) continue;
        struct session *s = map_get(&c->sessions, w->session);
        core_assert(s != NULL);
        job_refuse_held(c, s, job);
        worker_release(c, w);
    }
}

static void become_held(struct core *c, struct job *job, const char *cause)
{
    round_abort_all(c, job, TIDE__ABORT_CODE__ABORT_WORKER_LOST, cause);
    timer_set(c, &job->trigger_timer, c->now); /* for requests that wait */
    timer_clear(c, &job->grace_timer);
    timer_clear(c, &job->restore_timer);
    timer_clear(c, &job->start_timer);
    timer_clear(c, &job->end_timer);
    job->adopting = job->held_stored = false;
    free(job->cause);
    job->cause = core_printf("%s", cause);
    job_move(job, TIDE_JOB_HELD); /* at once: nothing more may begin */
    core_log(c, LEVEL_ERROR, about_job(job), "job %s is HELD: %s", job->name, cause);
}

void job_hold(struct core *c, struct job *job, const char *cause)
{
    if (tide_job_ended(job->state) || job->end_asked) return;
    /* in the store it would be HELD behind what the order has made of it, here the other way round;
     * what is still wrong afterwards comes again */
    if (job->order_flies) return;
    if (job->gap) attempt_end_ordered(c, job, cause);
    if (job->state == TIDE_JOB_HELD) {
        /* what an admin ordered gives way to what nobody may overlook, and so does what less was
         * known of */
        if (!put_back_is(cause) ||
            (put_back_is(job->cause) && put_back_told(cause) <= put_back_told(job->cause)))
            return;
        job->held_stored = false;
        free(job->cause);
        job->cause = core_printf("%s", cause);
        core_log(c, LEVEL_ERROR, about_job(job), "job %s is HELD: %s", job->name, cause);
    } else {
        stop_held(c, job, cause);
        become_held(c, job, cause);
    }
    record_held(c, job, 0);
}

static void hold_again(struct core *c, void *arg)
{
    struct job *job = arg;
    const struct operation *op = job->order; /* another order may be under way by now */
    /* it ends this, or it fails */
    if (job->order_flies) {
        timer_set(c, &job->end_timer, c->now + HOLD_AGAIN_US);
        return;
    }
    if (job->state == TIDE_JOB_HELD && !job->end_asked)
        record_held(c, job, op && op->kind == TIDE_OP_HOLD ? op->id : 0);
}

void order_held(struct core *c, struct job *job, uint64_t order, enum tide_outcome outcome)
{
    if (job->state != TIDE_JOB_HELD || job->end_asked) return;
    job->held_stored = outcome == TIDE_STORED;
    if (job->held_stored) stop_held_stored(c, job);
    if (outcome != TIDE_STORED) {
        job->end_timer = (struct timer){.fire = hold_again, .arg = job};
        timer_set(c, &job->end_timer, c->now + HOLD_AGAIN_US);
    } else if (order && job->order && job->order->id == order) {
        order_done(c, job);
    }
}

/* NULL: it may be held. */
static char *may_not_hold(const struct job *job)
{
    if (job->state == TIDE_JOB_HELD)
        return core_printf("job %s is HELD already: %s", job->name, job->cause);
    if (job->state == TIDE_JOB_STOPPING || job->end_asked)
        return core_printf("job %s is ending: its last snapshot is complete", job->name);
    if (tide_job_ended(job->state))
        return core_printf("job %s is %s", job->name, tide_job_state_name(job->state));
    return NULL;
}

static void hold(struct core *c, struct job *job, struct operation *op)
{
    const Tide__Request *m = order_request(c, op);
    struct tide_bytes cause = m ? UNPB(m->hold->cause) : (struct tide_bytes){0};
    char *why = may_not_hold(job);
    if (why) {
        order_failed(c, job, why);
        return;
    }
    char *text = cause.len ? core_text(cause) : core_printf("an admin has ordered it");
    char *reason = core_printf("the job is held: %s", text);
    attempt_end_ordered(c, job, reason);
    become_held(c, job, text);
    refuse_waiting(c, job);
    record_held(c, job, op->id);
    free(reason);
    free(text);
}

/* ---- commits that are given up */

void order_record_abandon(struct core *c, struct tide_commit *commit, struct job *job,
                          const struct operation *op, struct tide_bytes who)
{
    for (const struct owed *o = job->owed; o; o = o->next) {
        uint32_t subtask;
        const struct tide_operator *of = tide_graph_operator(job->graph, o->task, &subtask);
        char *detail = core_printf(
            "operation %" PRIu64 ", %.*s[%u], round %" PRIu64 ", a handle of %zu bytes", op->id,
            (int)of->uid.len, (const char *)of->uid.data, subtask, o->round, o->handle.len);
        record_strike(job, commit, o);
        operation_audit(c, commit, job, who, "abandon commit", detail);
        free(detail);
    }
}

void order_abandon(struct job *job)
{
    while (job->owed) {
        struct owed *o = job->owed;
        job->owed = o->next;
        free((void *)(uintptr_t)o->handle.data);
        free(o);
    }
}

/* ---- release */

/* Where a job goes that nothing holds any more: one whose last task had ended has only its commits
 * to deliver. */
static enum tide_job_state goes_on_as(const struct job *job)
{
    return job_all_ended(job) ? TIDE_JOB_STOPPING : TIDE_JOB_WAITING;
}

static void release(struct core *c, struct job *job, struct operation *op)
{
    const Tide__Request *m = order_request(c, op);
    if (job->state != TIDE_JOB_HELD) {
        char *why =
            core_printf("job %s is %s, not HELD", job->name, tide_job_state_name(job->state));
        order_failed(c, job, why);
        return;
    }
    uint64_t newest = put_back_newest(job);
    bool repeats = put_back_holds(job);
    if (repeats && !(m && m->release->allow_repeat)) {
        order_failed(c, job, put_back_refusal(job, newest));
        return;
    }
    job->abandons = m && m->release->abandon_owed;
    attempt_end_ordered(c, job, "the job is released");
    struct tide_commit *commit = tide_commit_new(true);
    core_assert(commit != NULL);
    if (job->abandons) order_record_abandon(c, commit, job, op, UNPB(m->release->who));
    if (repeats) put_back_record(c, commit, job, newest, UNPB(m->release->who));
    stop_record_held(job, commit);
    job_record_state(c, commit, job, goes_on_as(job));
    operation_record_done(c, commit, job, op);
    job->order_flies = true;
    ask_commit(c, commit, ASKED_RELEASED, job, op->id);
}

void order_released(struct core *c, struct job *job, enum tide_outcome outcome, const char *text)
{
    job->order_flies = false;
    if (!job->order) return;
    if (outcome != TIDE_STORED) {
        order_failed(c, job, core_printf("it could not be stored: %s", text));
        return;
    }
    if (job->abandons) order_abandon(job);
    stop_held_stored(c, job);
    job_move(job, goes_on_as(job));
    free(job->cause);
    job->cause = NULL;
    core_log(c, LEVEL_INFO, about_job(job), "job %s is released", job->name);
    order_done(c, job);
    job_admit_parked(c, job);
    attempt_try(c, job);
}

/* ---- one after the other */

const char *order_phase(const struct job *job, const struct operation *op)
{
    if (op->state == TIDE_OP_QUEUED)
        return job_committing(job) ? "waiting for the commit of a round"
                                   : "waiting for an order before it";
    return op->state == TIDE_OP_RUNNING ? "being stored" : "";
}

void order_done(struct core *c, struct job *job)
{
    struct operation *op = job->order;
    job->order = NULL;
    op->state = TIDE_OP_DONE;
    op->ended_wall = c->wall;
    operation_changed(c, op);
    timer_set(c, &job->trigger_timer, c->now); /* for a cancel that waits */
    order_pump(c, job);
}

void order_failed(struct core *c, struct job *job, char *why)
{
    struct operation *op = job->order;
    job->order = NULL;
    operation_fail(c, job, op, NULL, why);
    free(why);
    timer_set(c, &job->trigger_timer, c->now); /* for a cancel that waits */
    order_pump(c, job);
}

static bool is_order(const struct operation *op)
{
    return op->kind == TIDE_OP_HOLD || op->kind == TIDE_OP_RELEASE || op->kind == TIDE_OP_RESTORE ||
           op->kind == TIDE_OP_IMPORT;
}

void order_pump(struct core *c, struct job *job)
{
    struct operation *op = job->operations;
    /* a commit of the job decides from what, or whether at all, it goes on */
    if (!c->started || c->shutting_down || job_committing(job)) return;
    if (job->end_asked && !tide_job_ended(job->state)) return;
    if (job->choice) choice_pump(c, job);
    if (job->order) return;
    while (op && !(is_order(op) && op->state == TIDE_OP_QUEUED && op->durable))
        op = op->next;
    if (!op) return;
    job->order = op;
    op->state = TIDE_OP_RUNNING;
    switch (op->kind) {
    case TIDE_OP_HOLD: hold(c, job, op); break;
    case TIDE_OP_RESTORE:
    case TIDE_OP_IMPORT: choice_begin(c, job); break;
    default: release(c, job, op);
    }
}

/* ---- what admins say */

static bool too_long(struct core *c, const struct wish *wish)
{
    bool fine = wish->key.len <= 64 && wish->who.len <= 255 && wish->label.len <= 255 &&
                tide_text_valid(wish->who) && tide_text_valid(wish->label) &&
                wish->call.len <= CALL_MAX;
    if (!fine)
        admin_error(c, wish->session, wish->id, TIDE__ERROR_CODE__ERROR_INVALID,
                    "key (64 bytes), who (255) or cause (255) is too long or not UTF-8");
    return !fine;
}

static void ask_order(struct core *c, const struct wish *wish, char *(*wrong)(const struct job *))
{
    struct job *job = job_find(c, wish->job);
    struct tide_bytes name = admin_sayable(wish->job);
    if (!job || !job->durable) {
        admin_error(c, wish->session, wish->id, TIDE__ERROR_CODE__ERROR_NOT_FOUND,
                    "there is no job \"%.*s\"", (int)name.len, (const char *)name.data);
        return;
    }
    if (operation_again(c, job, wish) || too_long(c, wish)) return;
    char *why = wrong(job);
    if (why)
        admin_error(c, wish->session, wish->id, TIDE__ERROR_CODE__ERROR_STATE, "%s", why);
    else
        operation_new(c, job, wish);
    free(why);
}

static char *may_not_release(const struct job *job)
{
    if (job->state == TIDE_JOB_HELD) return NULL;
    return core_printf("job %s is %s, not HELD", job->name, tide_job_state_name(job->state));
}

static bool wrong_directory(struct core *c, const struct wish *wish, ProtobufCBinaryData directory)
{
    struct tide_bytes d = UNPB(directory);
    const char *why = d.len > 2048 || !tide_text_valid(d)
                          ? "the directory is too long (2,048 bytes) or not UTF-8"
                      : d.len < 2 || d.data[0] != '/' ? "the directory is not an absolute path"
                                                      : NULL;
    if (why) admin_error(c, wish->session, wish->id, TIDE__ERROR_CODE__ERROR_INVALID, "%s", why);
    return why != NULL;
}

static char *may_always(const struct job *job)
{
    (void)job;
    return NULL;
}

static void ask_import(struct core *c, struct wish *wish, const Tide__ImportSnapshot *m)
{
    wish->kind = TIDE_OP_IMPORT;
    wish->job = UNPB(m->job);
    wish->key = UNPB(m->key);
    wish->who = UNPB(m->who);
    wish->label = UNPB(m->label);
    if (m->dry_run) wish->asks = "dry run";
    if (wrong_directory(c, wish, m->directory)) return;
    wish->detail = tide_arena_printf(&c->out, ", from %.*s", (int)m->directory.len,
                                     (const char *)m->directory.data);
    ask_order(c, wish, may_always);
}

static void ask_restore(struct core *c, struct wish *wish, const Tide__RestoreJob *m)
{
    wish->kind = TIDE_OP_RESTORE;
    wish->job = UNPB(m->job);
    wish->key = UNPB(m->key);
    wish->who = UNPB(m->who);
    if (m->dry_run) wish->asks = "dry run";
    switch (m->from_case) {
    case TIDE__RESTORE_JOB__FROM_SNAPSHOT:
        wish->detail = tide_arena_printf(&c->out, ", from snapshot %" PRIu64, m->snapshot);
        break;
    case TIDE__RESTORE_JOB__FROM_LATEST: wish->detail = ", from the latest snapshot"; break;
    case TIDE__RESTORE_JOB__FROM_NOTHING: wish->detail = ", from nothing"; break;
    case TIDE__RESTORE_JOB__FROM_DIRECTORY:
        if (wrong_directory(c, wish, m->directory)) return;
        wish->detail = tide_arena_printf(&c->out, ", from %.*s", (int)m->directory.len,
                                         (const char *)m->directory.data);
        break;
    default:
        admin_error(
            c, wish->session, wish->id, TIDE__ERROR_CODE__ERROR_INVALID,
            "RestoreJob does not say from what: a snapshot, a directory, latest or nothing");
        return;
    }
    ask_order(c, wish, choice_forbidden);
}

void order_asked(struct core *c, struct session *s, const Tide__Request *m, struct tide_bytes frame)
{
    struct wish wish = {.session = s->id, .id = m->id, .call = frame, .asks = "order"};
    if (m->call_case == TIDE__REQUEST__CALL_HOLD) {
        wish.kind = TIDE_OP_HOLD;
        wish.job = UNPB(m->hold->job);
        wish.key = UNPB(m->hold->key);
        wish.who = UNPB(m->hold->who);
        wish.label = UNPB(m->hold->cause);
        wish.detail = tide_arena_printf(&c->out, ", cause \"%.*s\"", (int)m->hold->cause.len,
                                        (char *)m->hold->cause.data);
        ask_order(c, &wish, may_not_hold);
        return;
    }
    if (m->call_case == TIDE__REQUEST__CALL_RESTORE) {
        ask_restore(c, &wish, m->restore);
        return;
    }
    if (m->call_case == TIDE__REQUEST__CALL_IMPORT_SNAPSHOT) {
        ask_import(c, &wish, m->import_snapshot);
        return;
    }
    wish.kind = TIDE_OP_RELEASE;
    wish.job = UNPB(m->release->job);
    wish.key = UNPB(m->release->key);
    wish.who = UNPB(m->release->who);
    wish.detail = m->release->abandon_owed ? ", owed commits are abandoned" : NULL;
    ask_order(c, &wish, may_not_release);
}
