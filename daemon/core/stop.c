/* How an admin ends a job: by a last snapshot (stop), at once (cancel), or at once after a
 * savepoint.
 *
 * The usual way of a stop: its operation is durable; from then on no other round begins; when those
 * under way have ended (or at once: `supersede` aborts them) the last round is taken, which
 * suspends or drains. Its commit moves the job to STOPPING. Complete is told; when nothing is owed
 * any more and the savepoint's _metadata is in its place, one commit holds the job's end and the
 * operation's, and Stop goes out. A cancel needs no round: its operation is durable, rounds abort,
 * the job ends.
 *
 * What can go wrong: the last round aborts: the operation has failed, the job goes on, after a
 * drain from its recovery point, since its sources have ended their input. A worker is lost, or the
 * daemon restarts, in STOPPING: the next attempt only delivers what is owed. That misses its
 * deadline: the operation says that the snapshot is good and the stop has failed, and the job is
 * HELD; one commit holds both, since the one without the other would be a job that ends as nobody
 * has asked, or that waits for its end for ever. */
#include <stdio.h>

#include "daemon/core/internal.h"

static bool is_stop(const struct operation *op)
{
    return op->kind == TIDE_OP_STOP || op->kind == TIDE_OP_CANCEL;
}

struct operation *stop_open(const struct job *job)
{
    for (struct operation *op = job->operations; op; op = op->next)
        if (is_stop(op) && op->state < TIDE_OP_DONE) return op;
    return NULL;
}

struct operation *stop_taken(const struct job *job)
{
    for (struct operation *op = job->operations; op; op = op->next)
        if (is_stop(op) && op->state == TIDE_OP_RUNNING && op->snapshot_good) return op;
    return NULL;
}

/* One that ends the job at once. */
static struct operation *cancel_open(const struct job *job)
{
    for (struct operation *op = job->operations; op; op = op->next)
        if (op->kind == TIDE_OP_CANCEL && !op->takes && op->state == TIDE_OP_QUEUED && op->durable)
            return op;
    return NULL;
}

/* ---- one that has failed, its job HELD */

bool stop_is_held(const struct operation *op)
{
    return is_stop(op) && op->state == TIDE_OP_FAILED && op->snapshot_good && op->unsaved;
}

void stop_record_held(struct job *job, struct tide_commit *commit)
{
    for (const struct operation *op = job->operations; op && !PLANTED(HELD_APART); op = op->next)
        if (stop_is_held(op)) operation_record(commit, job, op);
}

void stop_held_stored(struct core *c, struct job *job)
{
    for (struct operation *op = job->operations; op; op = op->next)
        if (stop_is_held(op)) operation_saved(c, job, op->id, TIDE_STORED);
}

/* ---- the round */

/* Everything that was under way, or waits and came first, makes room. */
static void supersede(struct core *c, struct job *job, const struct operation *stop)
{
    char *why = core_printf("operation %" PRIu64 ", which stops the job, took its place", stop->id);
    round_abort_all(c, job, TIDE__ABORT_CODE__ABORT_SUPERSEDED, why);
    for (struct operation *op = job->operations; op && op != stop; op = op->next)
        if (op->takes && op->state == TIDE_OP_QUEUED) operation_fail(c, job, op, NULL, why);
    free(why);
}

static void cancel(struct core *c, struct job *job, struct operation *op)
{
    if (tide_job_ended(job->state) && job->state != TIDE_JOB_SUSPENDED) {
        char *why = core_printf("job %s is %s", job->name, tide_job_state_name(job->state));
        operation_fail(c, job, op, NULL, why);
        free(why);
        return;
    }
    round_abort_all(c, job, TIDE__ABORT_CODE__ABORT_CANCELLED, "the job is being cancelled");
    /* what is with the store already comes first */
    if (!job_committing(job) && !job->order) job_end(c, job, TIDE_JOB_CANCELLED);
}

bool stop_pump(struct core *c, struct job *job)
{
    struct operation *op = cancel_open(job);
    bool runs = job->attempt_open && !job->adopting && job->state == TIDE_JOB_RUNNING;
    if (job->end_asked && !tide_job_ended(job->state)) return true;
    if (op) {
        cancel(c, job, op);
        return true;
    }
    op = stop_open(job);
    if (!op || op->state != TIDE_OP_QUEUED || !op->durable || !runs) return false;
    /* one that knows no drain would have its tasks snapshot before their input has ended */
    const struct worker *w = op->stop == TIDE_STOP_DRAIN ? job_old_worker(job) : NULL;
    if (w) {
        char *why =
            core_printf("worker %.*s speaks version 1 of the protocol, which knows no drain: "
                        "suspend the job, or cancel it",
                        (int)w->name.len, (const char *)w->name.data);
        operation_fail(c, job, op, NULL, why);
        free(why);
    } else if (op->supersede) {
        supersede(c, job, op);
    }
    return false;
}

bool stop_cancels(const struct job *job)
{
    return cancel_open(job) != NULL;
}

void stop_complete(struct core *c, struct round *r)
{
    struct operation *op = r->operation;
    op->snapshot_good = true;
    free((void *)(uintptr_t)op->location.data);
    op->location = core_copy(VIEW(r->directory));
    if (r->kind == TIDE_SAVEPOINT) r->job->publishing = r->number;
    operation_changed(c, op);
}

void stop_published(struct core *c, struct job *job, const char *failed)
{
    struct operation *op = stop_taken(job);
    job->publishing = 0;
    if (op && failed) {
        free((void *)(uintptr_t)op->error.data);
        op->error = core_copy(VIEW(failed));
    }
    job_finish(c, job);
}

void stop_aborted(struct core *c, struct job *job, enum tide_stop stop, const char *reason)
{
    if (stop != TIDE_STOP_DRAIN || !job->attempt_open || stop_cancels(job)) return;
    char *why = core_printf(
        "its sources have ended their input for a drain that came to nothing: %s", reason);
    attempt_end(c, job, why);
    free(why);
}

/* ---- the end */

enum tide_job_state stop_outcome(const struct job *job)
{
    const struct operation *op = stop_taken(job);
    if (op && op->kind == TIDE_OP_CANCEL) return TIDE_JOB_CANCELLED;
    return op && op->stop == TIDE_STOP_SUSPEND ? TIDE_JOB_SUSPENDED : TIDE_JOB_FINISHED;
}

/* The operation that ends the job; NULL: it ends by itself. */
static const struct operation *deciding(const struct job *job)
{
    const struct operation *op = job->end_asked == TIDE_JOB_CANCELLED ? cancel_open(job) : NULL;
    return op || job->end_asked == TIDE_JOB_FAILED ? op : stop_taken(job);
}

char *stop_cause(const struct job *job)
{
    const struct operation *op = deciding(job);
    if (!op) return NULL;
    return core_printf("%s by operation %" PRIu64,
                       op->kind == TIDE_OP_CANCEL    ? "cancelled"
                       : op->stop == TIDE_STOP_DRAIN ? "drained"
                                                     : "suspended",
                       op->id);
}

/* Why an operation that is open fails when the job ends as it does; NULL: it is done. */
static char *end_words(const struct job *job, const struct operation *op)
{
    const char *state = tide_job_state_name(job->end_asked);
    if (op == deciding(job)) return op->error.len ? core_text(op->error) : NULL;
    if (op->snapshot_good)
        return core_printf("snapshot %" PRIu64 " is complete, but the stop failed: the job is %s",
                           op->snapshot, state);
    return core_printf("the job has ended: it is %s", state);
}

static bool ends_with_the_job(const struct operation *op)
{
    return op->state < TIDE_OP_DONE && (op->takes || is_stop(op));
}

static void set_ended(const struct job *job, struct operation *op, char *why)
{
    op->state = why ? TIDE_OP_FAILED : TIDE_OP_DONE;
    op->ended_wall = job->ended_wall;
    if (why) op->error = VIEW(why);
}

void stop_record_end(struct job *job, struct tide_commit *commit)
{
    stop_record_held(job, commit);
    for (const struct operation *op = job->operations; op; op = op->next) {
        struct operation then = *op;
        if (!ends_with_the_job(op)) continue;
        char *why = end_words(job, op);
        set_ended(job, &then, why);
        operation_record(commit, job, &then);
        free(why);
    }
}

void stop_ended(struct core *c, struct job *job)
{
    struct operation *next;
    const struct operation *last = deciding(job);
    stop_held_stored(c, job);
    for (struct operation *op = job->operations; op; op = next) {
        next = op->next;
        if (!ends_with_the_job(op) || op == last) continue;
        char *why = end_words(job, op);
        struct tide_bytes before = op->error;
        prepare_drop(c, job, op);
        set_ended(job, op, why);
        free((void *)(uintptr_t)before.data);
        operation_changed(c, op);
    }
    struct operation *op = last ? operation_find(job, last->id) : NULL;
    if (!op) return;
    op->state = op->error.len ? TIDE_OP_FAILED : TIDE_OP_DONE;
    op->ended_wall = job->ended_wall;
    operation_changed(c, op);
}

/* ---- it does not end */

/* "sink[0] of round 12, ...": the commits that are owed, the first few. */
static void owed_words(const struct job *job, char *to, size_t size)
{
    size_t at = 0;
    uint32_t n = 0;
    to[0] = '\0';
    for (const struct owed *o = job->owed; o; o = o->next) {
        uint32_t subtask;
        const struct tide_operator *op = tide_graph_operator(job->graph, o->task, &subtask);
        if (n++ >= 5 || at + op->uid.len + 50 > size) continue;
        at += (size_t)snprintf(to + at, size - at, "%s%.*s[%u] of round %" PRIu64, at ? ", " : "",
                               (int)op->uid.len, (const char *)op->uid.data, subtask, o->round);
    }
    if (n > 5) snprintf(to + at, size - at, " and %u more", n - 5);
}

void stop_held(struct core *c, struct job *job, const char *cause)
{
    struct operation *op = stop_taken(job);
    if (!op) return;
    char *why = core_printf("snapshot %" PRIu64 " is complete, but the stop failed: %s",
                            op->snapshot, cause);
    if (PLANTED(HELD_APART))
        operation_fail(c, job, op, NULL, why);
    else
        operation_fail_later(c, job, op, why);
    free(why);
}

void stop_failed(struct core *c, struct job *job, const char *why)
{
    char owed[600];
    owed_words(job, owed, sizeof owed);
    char *cause =
        core_printf("the last snapshot is good, the stop failed: %s; commits owed: %s", why, owed);
    job_hold(c, job, cause);
    free(cause);
}

/* ---- what admins say */

static void refuse(struct core *c, const struct wish *wish, const struct job *job,
                   const struct operation *other)
{
    admin_error(c, wish->session, wish->id, TIDE__ERROR_CODE__ERROR_STATE,
                "job %s is being %s already, by operation %" PRIu64, job->name,
                other->kind == TIDE_OP_CANCEL ? "cancelled" : "stopped", other->id);
}

bool stop_refuses(struct core *c, const struct job *job, const struct wish *wish)
{
    const struct operation *other = job->operations;
    while (other && !(is_stop(other) && (other->state < TIDE_OP_DONE || other->unsaved)))
        other = other->next;
    if (other && wish->takes) refuse(c, wish, job, other);
    return other && wish->takes;
}

static void ask_cancel(struct core *c, const struct wish *wish)
{
    struct job *job = job_find(c, wish->job);
    char why[300];
    if (job && operation_again(c, job, wish)) return;
    Tide__ErrorCode code = admin_wish_wrong(c, wish, job, why);
    if (code) {
        admin_error(c, wish->session, wish->id, code, "%s", why);
        return;
    }
    for (const struct operation *op = job->operations; op; op = op->next)
        if (op->kind == TIDE_OP_CANCEL && !op->takes && (op->state < TIDE_OP_DONE || op->unsaved)) {
            refuse(c, wish, job, op);
            return;
        }
    if ((tide_job_ended(job->state) && job->state != TIDE_JOB_SUSPENDED) || job->end_asked)
        admin_error(c, wish->session, wish->id, TIDE__ERROR_CODE__ERROR_STATE, "job %s is %s",
                    job->name, tide_job_state_name(job->end_asked ? job->end_asked : job->state));
    else
        operation_new(c, job, wish);
}

void stop_asked(struct core *c, struct session *s, const Tide__Request *m, struct tide_bytes frame)
{
    struct wish wish = {.session = s->id, .id = m->id, .call = frame, .asks = "order"};
    if (m->call_case == TIDE__REQUEST__CALL_STOP) {
        wish.kind = TIDE_OP_STOP;
        wish.takes =
            m->stop->kind == TIDE__ROUND_KIND__ROUND_CHECKPOINT ? TIDE_CHECKPOINT : TIDE_SAVEPOINT;
        wish.job = UNPB(m->stop->job);
        wish.target = UNPB(m->stop->target);
        wish.key = UNPB(m->stop->key);
        wish.who = UNPB(m->stop->who);
        wish.label = UNPB(m->stop->label);
        wish.detail = m->stop->drain ? ", drain" : ", suspend";
        const struct job *job = job_find(c, wish.job);
        bool meets = job && job->graph->checkpointing.style == TIDE__ROUND_STYLE__STYLE_RENDEZVOUS;
        if (m->stop->drain && meets)
            admin_error(c, s->id, m->id, TIDE__ERROR_CODE__ERROR_STATE,
                        "job %s has no input that could be drained: its rounds are rendezvous "
                        "rounds; suspend it",
                        job->name);
        else if ((unsigned)m->stop->kind > TIDE__ROUND_KIND__ROUND_SAVEPOINT)
            admin_error(c, s->id, m->id, TIDE__ERROR_CODE__ERROR_INVALID,
                        "kind is none of RoundKind");
        else
            admin_trigger(c, &wish);
        return;
    }
    wish.kind = TIDE_OP_CANCEL;
    wish.takes = m->cancel->savepoint ? TIDE_SAVEPOINT : 0;
    wish.job = UNPB(m->cancel->job);
    wish.target = UNPB(m->cancel->target);
    wish.key = UNPB(m->cancel->key);
    wish.who = UNPB(m->cancel->who);
    wish.label = UNPB(m->cancel->label);
    wish.detail = m->cancel->savepoint ? ", after a savepoint" : NULL;
    if (wish.takes)
        admin_trigger(c, &wish);
    else
        ask_cancel(c, &wish);
}
