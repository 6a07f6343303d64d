/* Savepoints that their user does not want any more.
 *
 * The usual way: the operation is durable; one commit makes the snapshot deleting; clean.c deletes
 * its bytes, tries again until they are gone, and one commit holds that and that the operation is
 * done. The row stays. A savepoint that is needed is refused, with the reason: commits are owed
 * from it, it is what its job goes on from, or an attempt restores it. */
#include <stdio.h>

#include "daemon/core/internal.h"

/* Why it has to stay, in words; false: it may go. */
static bool is_needed(const struct job *job, const struct snapshot *s, char why[static 300])
{
    const struct snapshot *recovery = job_recovery_point(job);
    uint32_t subtask;
    for (const struct owed *o = job->owed; o; o = o->next) {
        if (o->round != s->round) continue;
        const struct tide_operator *op = tide_graph_operator(job->graph, o->task, &subtask);
        snprintf(why, 300, "a commit of snapshot %" PRIu64 " is still owed to %.*s[%u] of job %s",
                 s->round, op->uid.len > 100 ? 100 : (int)op->uid.len, (const char *)op->uid.data,
                 subtask, job->name);
        return true;
    }
    if (s->kind != TIDE_SAVEPOINT && !s->imported) {
        snprintf(why, 300,
                 "snapshot %" PRIu64 " is a checkpoint of job %s: the daemon deletes it when its "
                 "time has come",
                 s->round, job->name);
        return true;
    }
    const struct job *user = s->imported ? NULL : import_user(job->core, s);
    if (user) {
        snprintf(why, 300, "job %.200s goes on from what is in its directory", user->name);
        return true;
    }
    if (choice_wants(job, s->round)) {
        snprintf(why, 300,
                 "an order that job %s goes on from snapshot %" PRIu64 " is being carried out",
                 job->name, s->round);
        return true;
    }
    if (export_wants(job, s->round)) {
        snprintf(why, 300, "snapshot %" PRIu64 " is being exported", s->round);
        return true;
    }
    if (tide_job_ended(job->state) && job->state != TIDE_JOB_SUSPENDED) return false;
    if (s == recovery && !PLANTED(DISPOSE_RECOVERY)) {
        snprintf(why, 300,
                 job->state == TIDE_JOB_SUSPENDED ? "job %s is SUSPENDED with snapshot %" PRIu64
                                                    ": cancel the job first"
                                                  : "job %s goes on from snapshot %" PRIu64
                                                    " until a later round with effects is complete",
                 job->name, s->round);
        return true;
    }
    if (job->restored_from == s->round && (!recovery || recovery->round < s->round ||
                                           job->starting || job->state == TIDE_JOB_RESTORING)) {
        snprintf(why, 300, "job %s restores snapshot %" PRIu64, job->name, s->round);
        return true;
    }
    return false;
}

struct snapshot *snapshot_named(struct core *c, uint64_t round, struct job **ret)
{
    for (struct job *job = c->jobs; job; job = job->next) {
        struct snapshot *s = job_snapshot(job, round);
        *ret = job;
        if (s) return s;
    }
    *ret = NULL;
    return NULL;
}

void dispose_asked(struct core *c, struct session *s, const Tide__Request *m,
                   struct tide_bytes frame)
{
    struct wish wish = {.session = s->id,
                        .id = m->id,
                        .call = frame,
                        .asks = "order",
                        .kind = TIDE_OP_DISPOSE,
                        .key = UNPB(m->dispose->key),
                        .who = UNPB(m->dispose->who)};
    char why[300];
    struct job *job;
    for (job = c->jobs; job; job = job->next)
        if (operation_again(c, job, &wish)) return;
    const struct snapshot *snapshot = snapshot_named(c, m->dispose->snapshot, &job);
    if (!snapshot) {
        admin_error(c, s->id, m->id, TIDE__ERROR_CODE__ERROR_NOT_FOUND,
                    "there is no snapshot %" PRIu64 ", or it is deleted already",
                    m->dispose->snapshot);
        return;
    }
    wish.job = VIEW(job->name);
    wish.detail = tide_arena_printf(&c->out, ", snapshot %" PRIu64, snapshot->round);
    Tide__ErrorCode code = admin_wish_wrong(c, &wish, job, why);
    if (!code && is_needed(job, snapshot, why)) code = TIDE__ERROR_CODE__ERROR_STATE;
    struct operation *op = code ? NULL : operation_new(c, job, &wish);
    if (code) admin_error(c, s->id, m->id, code, "%s", why);
    if (op) op->snapshot = m->dispose->snapshot;
}

/* ---- carrying it out */

static void begin(struct core *c, struct job *job, struct operation *op)
{
    struct snapshot *s = job_snapshot(job, op->snapshot);
    char why[300];
    if (!s || s->state != TIDE_RETAINED || s->disposing) { /* somebody was faster */
        op->state = TIDE_OP_RUNNING;
        if (!s) dispose_gone(c, job, op->snapshot, NULL);
        return;
    }
    if (is_needed(job, s, why)) {
        operation_fail(c, job, op, NULL, why);
        return;
    }
    struct tide_commit *commit = tide_commit_new(true);
    core_assert(commit != NULL);
    struct tide_record *r = tide_commit_add(commit, TIDE_REC_SNAPSHOT_STATE, job->id);
    core_assert(r != NULL);
    r->snapshot_state.round = s->round;
    r->snapshot_state.state = TIDE_DELETING;
    r->snapshot_state.wall = c->wall;
    r->snapshot_state.disposed = true;
    op->state = TIDE_OP_RUNNING;
    operation_record(commit, job, op);
    s->disposing = true; /* nobody may begin to restore it */
    ask_commit(c, commit, ASKED_DISPOSED, job, s->round);
    operation_changed(c, op);
}

void dispose_pump(struct core *c, struct job *job)
{
    for (struct operation *op = job->operations; op; op = op->next)
        if (op->kind == TIDE_OP_DISPOSE && op->state == TIDE_OP_QUEUED && op->durable)
            begin(c, job, op);
}

void dispose_stored(struct core *c, struct job *job, uint64_t round, enum tide_outcome outcome,
                    const char *text)
{
    struct snapshot *s = job_snapshot(job, round);
    core_assert(s && s->disposing);
    s->disposing = false;
    if (outcome == TIDE_STORED) {
        s->state = TIDE_DELETING;
        clean_add_snapshot(job, s);
        clean_pump(c, job);
        return;
    }
    char *why = core_printf("it could not be stored: %s", text);
    for (struct operation *op = job->operations; op; op = op->next)
        if (op->kind == TIDE_OP_DISPOSE && op->state == TIDE_OP_RUNNING && op->snapshot == round)
            operation_fail(c, job, op, NULL, why);
    free(why);
}

void dispose_gone(struct core *c, struct job *job, uint64_t round, struct tide_commit *with)
{
    for (struct operation *op = job->operations; op; op = op->next) {
        if (op->kind != TIDE_OP_DISPOSE || op->state != TIDE_OP_RUNNING || op->snapshot != round)
            continue;
        struct tide_commit *commit = with ? with : tide_commit_new(false);
        core_assert(commit != NULL);
        op->state = TIDE_OP_DONE;
        op->ended_wall = c->wall;
        operation_record(commit, job, op);
        if (!with) ride_commit(c, commit);
        operation_changed(c, op);
    }
}
