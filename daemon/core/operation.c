/* Operations: what admins have asked for and what came of it.
 *
 * An operation is a durable row before it is answered, so an answer that is lost on the way, or a
 * daemon that dies right after it, loses nothing: the client asks again with the same key. Requests
 * for rounds wait for their turn (trigger.c), orders are carried out one after the other
 * (order.c). */
#include <stdio.h>

#include "daemon/core/internal.h"

#define WAIT_MAX_MS 60000u
#define WAITERS_MAX 4096u
#define SAVE_AGAIN_US (1000 * MS)

static void served(struct core *c, const struct operation *op);

struct operation *operation_find(struct job *job, uint64_t id)
{
    for (struct operation *op = job->operations; op; op = op->next)
        if (op->id == id) return op;
    return NULL;
}

void operation_read(struct core *c, struct operation *op)
{
    const Tide__Request *m = tide_unpack(&c->arena, &tide__request__descriptor, op->request, NULL);
    op->takes = op->kind == TIDE_OP_CHECKPOINT                              ? TIDE_CHECKPOINT
                : op->kind == TIDE_OP_SAVEPOINT || op->kind == TIDE_OP_STOP ? TIDE_SAVEPOINT
                                                                            : 0;
    if (op->kind == TIDE_OP_STOP) op->stop = TIDE_STOP_SUSPEND;
    if (m && m->call_case == TIDE__REQUEST__CALL_SAVEPOINT) {
        op->commits = m->savepoint->commits;
        op->native = m->savepoint->native;
        op->aligns = m->savepoint->how_case == TIDE__TRIGGER_SAVEPOINT__HOW_ALIGNMENT;
        if (op->aligns) op->alignment = (enum tide_alignment)m->savepoint->alignment;
    }
    if (m && m->call_case == TIDE__REQUEST__CALL_CHECKPOINT) op->full = m->checkpoint->full;
    if (m && m->call_case == TIDE__REQUEST__CALL_STOP) {
        if (m->stop->kind == TIDE__ROUND_KIND__ROUND_CHECKPOINT) op->takes = TIDE_CHECKPOINT;
        if (m->stop->drain) op->stop = TIDE_STOP_DRAIN;
        op->supersede = m->stop->supersede;
    }
    if (m && m->call_case == TIDE__REQUEST__CALL_CANCEL && m->cancel->savepoint) {
        op->takes = TIDE_SAVEPOINT;
        op->stop = TIDE_STOP_SUSPEND;
    }
    if (m && m->call_case == TIDE__REQUEST__CALL_DISPOSE) op->snapshot = m->dispose->snapshot;
    if (m && m->call_case == TIDE__REQUEST__CALL_EXPORT_SNAPSHOT)
        op->snapshot = m->export_snapshot->snapshot;
    op->commits = op->commits || op->stop;
}

void operation_free(struct operation *op)
{
    free((void *)(uintptr_t)op->request.data);
    free((void *)(uintptr_t)op->report.data);
    free((void *)(uintptr_t)op->key.data);
    free((void *)(uintptr_t)op->target.data);
    free((void *)(uintptr_t)op->location.data);
    free((void *)(uintptr_t)op->error.data);
    free((void *)(uintptr_t)op->label.data);
    free(op->directory);
    free(op->failing);
    free(op);
}

void operation_changed(struct core *c, struct operation *op)
{
    op->progress++;
    served(c, op);
}

void operation_record(struct tide_commit *commit, struct job *job, const struct operation *op)
{
    struct tide_record *r = tide_commit_add(commit, TIDE_REC_OPERATION, job->id);
    core_assert(r != NULL);
    r->operation.id = op->id;
    r->operation.snapshot = op->snapshot;
    r->operation.begun_wall = op->begun_wall;
    r->operation.ended_wall = op->ended_wall;
    r->operation.kind = op->kind;
    r->operation.state = op->state;
    r->operation.key = tide_commit_bytes(commit, op->key);
    r->operation.target = tide_commit_bytes(commit, op->target);
    r->operation.location = tide_commit_bytes(commit, op->location);
    r->operation.error = tide_commit_bytes(commit, op->error);
    r->operation.label = tide_commit_bytes(commit, op->label);
    r->operation.request = tide_commit_bytes(commit, op->request);
    r->operation.report = tide_commit_bytes(commit, op->report);
    r->operation.snapshot_good = op->snapshot_good;
    core_assert(commit->rc == 0);
}

void operation_record_done(struct core *c, struct tide_commit *commit, struct job *job,
                           const struct operation *op)
{
    struct operation done = *op;
    done.state = TIDE_OP_DONE;
    done.ended_wall = c->wall;
    operation_record(commit, job, &done);
}

/* ---- an end of it that must not be forgotten */

static void save(struct core *c, struct job *job, struct operation *op)
{
    struct tide_commit *commit = tide_commit_new(true);
    core_assert(commit != NULL);
    operation_record(commit, job, op);
    ask_commit(c, commit, ASKED_SAVED, job, op->id);
}

static void save_again(struct core *c, void *arg)
{
    struct job *job = arg;
    for (struct operation *op = job->operations; op; op = op->next)
        if (op->unsaved && !stop_is_held(op)) save(c, job, op);
}

void operation_saved(struct core *c, struct job *job, uint64_t operation, enum tide_outcome outcome)
{
    struct operation *op = operation_find(job, operation);
    if (!op || !op->unsaved) return;
    if (outcome == TIDE_STORED) {
        op->unsaved = false;
        operation_changed(c, op);
    } else if (!job->save_timer.place) {
        job->save_timer.fire = save_again;
        job->save_timer.arg = job;
        timer_set(c, &job->save_timer, c->now + SAVE_AGAIN_US);
    }
}

/* That a stop has failed is told when it is durable: a restart would carry it out, otherwise. */
static bool comes_back(const struct operation *op)
{
    return op->durable && (op->kind == TIDE_OP_STOP || op->kind == TIDE_OP_CANCEL);
}

static void fails(struct core *c, struct job *job, struct operation *op, const char *error)
{
    prepare_drop(c, job, op);
    op->state = TIDE_OP_FAILED;
    op->ended_wall = c->wall;
    free((void *)(uintptr_t)op->error.data);
    op->error = core_copy(VIEW(error));
}

void operation_fail_later(struct core *c, struct job *job, struct operation *op, const char *error)
{
    fails(c, job, op, error);
    op->unsaved = true;
}

void operation_fail(struct core *c, struct job *job, struct operation *op,
                    struct tide_commit *commit, const char *error)
{
    fails(c, job, op, error);
    if (comes_back(op)) {
        op->unsaved = true;
        save(c, job, op);
    } else if (commit) {
        operation_record(commit, job, op);
    } else {
        commit = tide_commit_new(false);
        core_assert(commit != NULL);
        operation_record(commit, job, op);
        ride_commit(c, commit);
    }
    /* while it was open there was no period */
    if (op->kind == TIDE_OP_STOP || op->kind == TIDE_OP_CANCEL)
        timer_set(c, &job->trigger_timer, c->now);
    operation_changed(c, op);
}

static void wait_for(struct core *c, uint64_t session, uint64_t request, uint64_t operation,
                     uint64_t seen, uint64_t until);

static struct job *operation_job(struct core *c, uint64_t id, struct operation **ret)
{
    for (struct job *job = c->jobs; job; job = job->next)
        if ((*ret = operation_find(job, id))) return job;
    return NULL;
}

static const char *operation_phase(struct core *c, const struct job *job,
                                   const struct operation *op)
{
    const struct round *r = job_round_of(job, op);
    if (op->kind == TIDE_OP_EXPORT) return export_phase(c, job, op);
    if (op->kind >= TIDE_OP_RESTORE && op->kind != TIDE_OP_DISPOSE) return order_phase(job, op);
    if (op->state == TIDE_OP_QUEUED && !op->takes) return "waiting for the store";
    if (op->state == TIDE_OP_QUEUED)
        return op->preparing                    ? "preparing"
               : job->state == TIDE_JOB_RUNNING ? "waiting for its turn"
                                                : "waiting for the job to run";
    if (op->state != TIDE_OP_RUNNING) return "";
    if (op->kind == TIDE_OP_DISPOSE) return "deleting";
    if (op->snapshot_good && job->owed) return "waiting for effects to be confirmed";
    if (op->snapshot_good && !job->publishing) return "ending the job";
    if (!r) return "publishing";
    switch (r->state) {
    case ROUND_OPENING: return "beginning";
    case ROUND_ASKING: return "waiting for coordinators and hooks";
    case ROUND_COLLECTING: return meeting_phase(r);
    case ROUND_FINALIZING: return "writing metadata";
    case ROUND_READY: return "waiting for another round's commit";
    case ROUND_COMMITTING: return "committing";
    }
    return "";
}

/* The lines of a report as the message has them. */
static void answer_report(struct core *c, const struct operation *op, Tide__Operation *m)
{
    size_t n = 0;
    for (size_t i = 0; i < op->report.len; i++)
        n += op->report.data[i] == '\n';
    m->report = tide_arena_alloc(&c->out, (n + 1) * sizeof *m->report);
    core_assert(m->report != NULL);
    for (size_t at = 0; m->n_report < n;) {
        const uint8_t *line = op->report.data + at, *end = memchr(line, '\n', op->report.len - at);
        m->report[m->n_report++] = PB(((struct tide_bytes){line, (size_t)(end - line)}));
        at += (size_t)(end - line) + 1;
    }
}

static void operation_answer(struct core *c, uint64_t session, uint64_t request,
                             const struct job *job, const struct operation *op)
{
    const struct round *r = job_round_of(job, op);
    Tide__Operation m = TIDE__OPERATION__INIT;
    Tide__Response response = TIDE__RESPONSE__INIT;
    m.id = op->id;
    m.kind = PB(VIEW(tide_operation_kind_name(op->kind)));
    m.job = PB(VIEW(job->name));
    m.state = PB(VIEW(tide_operation_state_name(op->unsaved ? TIDE_OP_RUNNING : op->state)));
    m.snapshot = op->snapshot;
    m.location = PB(op->location);
    if (!op->unsaved) m.error = PB(op->error);
    m.tasks = op->takes ? job->graph->tasks : 0;
    bool acked = op->state == TIDE_OP_DONE || (op->state == TIDE_OP_RUNNING && !r);
    m.acked = r ? round_acked(r) : acked ? m.tasks : 0;
    m.phase = PB(VIEW(operation_phase(c, job, op)));
    m.progress = op->progress + 1;
    m.begun_wall_us = op->begun_wall;
    m.ended_wall_us = op->ended_wall;
    m.snapshot_good = op->snapshot_good;
    answer_report(c, op, &m);
    response.result_case = TIDE__RESPONSE__RESULT_OPERATION;
    response.operation = &m;
    admin_answer(c, session, request, &response);
}

static struct operation *operation_by_key(struct job *job, enum tide_operation_kind kind,
                                          struct tide_bytes key)
{
    for (struct operation *op = job->operations; key.len && op; op = op->next)
        if (op->kind == kind && tide_bytes_equal(op->key, key)) return op;
    return NULL;
}

void operation_audit(struct core *c, struct tide_commit *commit, struct job *job,
                     struct tide_bytes who, const char *what, const char *detail)
{
    struct tide_record *r = tide_commit_add(commit, TIDE_REC_AUDIT, job->id);
    core_assert(r != NULL);
    r->audit.who = tide_commit_bytes(commit, who);
    r->audit.what = tide_commit_bytes(commit, VIEW(what));
    r->audit.detail = tide_commit_bytes(commit, VIEW(detail));
    r->audit.wall = c->wall;
}

static void audit_wish(struct core *c, struct tide_commit *commit, struct job *job,
                       const struct wish *wish, const struct operation *op)
{
    char *what = core_printf("%s %s", wish->asks ? wish->asks : "trigger",
                             tide_operation_kind_name(op->kind));
    char *detail =
        core_printf("operation %" PRIu64 "%s%s%.*s%s", op->id, wish->detail ? wish->detail : "",
                    op->target.len ? ", target \"" : "", (int)op->target.len,
                    (const char *)op->target.data, op->target.len ? "\"" : "");
    operation_audit(c, commit, job, wish->who, what, detail);
    free(what);
    free(detail);
}

/* The oldest that have ended: the store knows them. Those with a key stay longer, for retries. */
static void operations_forget(struct job *job)
{
    uint32_t plain = 0, keyed = 0;
    for (const struct operation *op = job->operations; op; op = op->next)
        *(op->key.len ? &keyed : &plain) += op->state >= TIDE_OP_DONE;
    for (struct operation **at = &job->operations; *at;) {
        struct operation *op = *at;
        uint32_t *n = op->key.len ? &keyed : &plain;
        if (op->state < TIDE_OP_DONE || op->preparing || op->unsaved ||
            *n <= (op->key.len ? KEYS_REMEMBERED : OPERATIONS_REMEMBERED)) {
            at = &op->next;
            continue;
        }
        *n -= 1;
        *at = op->next;
        operation_free(op);
    }
}

bool operation_again(struct core *c, struct job *job, const struct wish *wish)
{
    struct operation *op = operation_by_key(job, wish->kind, wish->key);
    if (!op) return false;
    if (op->durable)
        operation_answer(c, wish->session, wish->id, job, op);
    else
        wait_for(c, wish->session, wish->id, op->id, op->progress + 1, c->now + WAIT_MAX_MS * MS);
    return true;
}

struct operation *operation_new(struct core *c, struct job *job, const struct wish *wish)
{
    uint32_t queued = 0;
    for (const struct operation *op = job->operations; op; op = op->next)
        queued += op->state == TIDE_OP_QUEUED;
    uint64_t id = queued < OPERATIONS_QUEUED_MAX && !c->shutting_down ? core_new_id(c) : 0;
    if (!id) {
        admin_error(c, wish->session, wish->id, TIDE__ERROR_CODE__ERROR_BUSY,
                    queued < OPERATIONS_QUEUED_MAX ? "not at this moment: try again"
                                                   : "%u requests are waiting for job %s already",
                    queued, job->name);
        return NULL;
    }
    operations_forget(job);
    struct operation **end = &job->operations, *op;
    while (*end)
        end = &(*end)->next;
    op = *end = core_alloc(sizeof *op);
    *op = (struct operation){.id = id,
                             .begun_wall = c->wall,
                             .expires_us = c->now + job->graph->checkpointing.deadline_ms * MS,
                             .kind = wish->kind,
                             .state = TIDE_OP_QUEUED,
                             .key = core_copy(wish->key),
                             .target = core_copy(wish->target),
                             .label = core_copy(wish->label),
                             .request = core_copy(wish->call)};
    operation_read(c, op);
    if (op->stop) op->expires_us += job->graph->checkpointing.deadline_cap_ms * MS;
    struct tide_commit *commit = tide_commit_new(true);
    core_assert(commit != NULL);
    operation_record(commit, job, op);
    audit_wish(c, commit, job, wish, op);
    core_assert(commit->rc == 0);
    ask_commit(c, commit, ASKED_OPERATION, job, id);
    /* answered as soon as it is durable */
    wait_for(c, wish->session, wish->id, id, 1, c->now + WAIT_MAX_MS * MS);
    return op;
}

void operation_stored(struct core *c, struct job *job, uint64_t operation,
                      enum tide_outcome outcome, const char *text)
{
    struct operation *op = operation_find(job, operation);
    if (!op) return;
    if (outcome != TIDE_STORED) {
        char *why = core_printf("it could not be stored: %s", text);
        operation_fail(c, job, op, NULL, why);
        free(why);
        return;
    }
    op->durable = true;
    trigger_pump(c, job); /* first: the answer need not delay the round */
    dispose_pump(c, job);
    export_pump(c, job);
    operation_changed(c, op);
    order_pump(c, job);
}

/* ---- waiting */

static void drop_waiter(struct core *c, struct waiter **at)
{
    struct waiter *w = *at;
    *at = w->next;
    timer_clear(c, &w->timer);
    free(w);
}

static bool waiter_served(const struct waiter *w, const struct operation *op)
{
    if (op->unsaved) return false;
    if (!op->durable && op->state != TIDE_OP_FAILED) return false;
    return op->state >= TIDE_OP_DONE || (w->seen_progress && op->progress + 1 != w->seen_progress);
}

static void served(struct core *c, const struct operation *op)
{
    for (struct waiter **at = &c->waiters; *at;) {
        struct waiter *w = *at;
        struct operation *found;
        if (w->operation != op->id || !waiter_served(w, op)) {
            at = &w->next;
            continue;
        }
        struct job *job = operation_job(c, op->id, &found);
        operation_answer(c, w->session, w->request, job, op);
        drop_waiter(c, at);
    }
}

static void wait_over(struct core *c, void *arg)
{
    struct waiter **at = &c->waiters;
    while (*at != arg)
        at = &(*at)->next;
    struct operation *op;
    struct job *job = operation_job(c, (*at)->operation, &op);
    if (job) operation_answer(c, (*at)->session, (*at)->request, job, op);
    drop_waiter(c, at);
}

static void wait_for(struct core *c, uint64_t session, uint64_t request, uint64_t operation,
                     uint64_t seen, uint64_t until)
{
    uint32_t n = 0;
    for (const struct waiter *w = c->waiters; w; w = w->next)
        n++;
    if (n >= WAITERS_MAX) {
        admin_error(c, session, request, TIDE__ERROR_CODE__ERROR_BUSY,
                    "%u requests wait for operations already", n);
        return;
    }
    struct waiter *w = core_alloc(sizeof *w);
    *w = (struct waiter){.core = c,
                         .session = session,
                         .request = request,
                         .operation = operation,
                         .seen_progress = seen,
                         .next = c->waiters};
    w->timer = (struct timer){.fire = wait_over, .arg = w};
    c->waiters = w;
    timer_set(c, &w->timer, until);
}

void operation_unwait(struct core *c, uint64_t session)
{
    for (struct waiter **at = &c->waiters; *at;)
        if ((*at)->session == session)
            drop_waiter(c, at);
        else
            at = &(*at)->next;
}

void operation_wait(struct core *c, uint64_t session, uint64_t request,
                    const Tide__WaitOperation *m)
{
    struct operation *op;
    struct job *job = operation_job(c, m->operation, &op);
    uint32_t timeout = m->timeout_ms < WAIT_MAX_MS ? m->timeout_ms : WAIT_MAX_MS;
    if (!job) {
        admin_error(c, session, request, TIDE__ERROR_CODE__ERROR_NOT_FOUND,
                    "there is no operation %" PRIu64, m->operation);
        return;
    }
    if ((op->state >= TIDE_OP_DONE && !op->unsaved) || !timeout ||
        (m->seen_progress && op->durable && op->progress + 1 != m->seen_progress))
        operation_answer(c, session, request, job, op);
    else
        wait_for(c, session, request, op->id, m->seen_progress, c->now + timeout * MS);
}
