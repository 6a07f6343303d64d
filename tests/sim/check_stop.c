/* Promises about the end of a job: what was told when it is durable, and what is in the outside
 * world by then. */
#include "tests/sim/sim.h"

static bool ends_jobs(enum tide_operation_kind kind)
{
    return kind == TIDE_OP_STOP || kind == TIDE_OP_CANCEL;
}

/* The operation that has drained the job; NULL: it has come to its own end. */
static const struct d_operation *drained_by(const struct job *j, uint64_t snapshot)
{
    for (const struct d_operation *d = j->store.operations; d; d = d->next)
        if (d->o.kind == TIDE_OP_STOP && d->o.snapshot == snapshot && d->o.snapshot_good) return d;
    return NULL;
}

/* All that the last snapshot covers is published, and nothing else. */
static void check_outside(struct sim *s, const struct job *j, const struct d_snapshot *d)
{
    for (uint32_t t = 0; t < j->flow.tasks; t++) {
        record_set published = {0};
        if (!j->flow.task[t].sink) continue;
        for (const struct part *p = j->parts; p; p = p->next)
            if (p->task == t && p->state == PART_PUBLISHED) set_add(&published, &p->records);
        if (flow_repeats(j)) set_meet(&published, &d->task[t].seen); /* others may have had more */
        must(s, !memcmp(&published, &d->task[t].seen, sizeof published),
             "job %s ends as %s with snapshot %" PRIu64 ": of %u records that %s holds %u are "
             "published",
             j->name, tide_job_state_name(j->store.state), d->round, set_count(&d->task[t].seen),
             task_name(j, t), set_count(&published));
    }
}

void check_job_ended(struct sim *s, struct job *j)
{
    enum tide_job_state state = j->store.state;
    s->stats->suspended += state == TIDE_JOB_SUSPENDED;
    s->stats->cancelled += state == TIDE_JOB_CANCELLED;
    if (state != TIDE_JOB_SUSPENDED && state != TIDE_JOB_FINISHED) return;
    uint64_t last = base_expected(j);
    const struct d_snapshot *d = last ? store_snapshot(j, last) : NULL;
    must(s, d && d->state == TIDE_RETAINED, "job %s ends as %s without a snapshot", j->name,
         tide_job_state_name(state));
    must(s, j->store.ended_snapshot == last,
         "job %s ends as of snapshot %" PRIu64 ", the newest with effects is %" PRIu64, j->name,
         j->store.ended_snapshot, last);
    if (state == TIDE_JOB_FINISHED)
        must(s, d->ended_mask == (1u << j->flow.tasks) - 1,
             "job %s is FINISHED, and not all of its tasks have ended", j->name);
    if (state == TIDE_JOB_FINISHED && drained_by(j, last)) s->stats->drained++;
    if (!j->old) check_outside(s, j, d);
}

/* Of a drained job the sources have put out what they had put out, of others everything. One that
 * an old copy has put before its drain cannot know of it. */
bool check_drained(const struct job *j)
{
    return j->old || drained_by(j, j->store.ended_snapshot) != NULL;
}

/* A stop that has its snapshot is open while the job is STOPPING, and no longer: whatever takes the
 * job elsewhere ends it in the same commit, and nothing else does. */
void check_stopping(struct sim *s, const struct job *j, const struct tide_commit *c)
{
    enum tide_job_state state = j->store.state;
    for (const struct d_operation *d = j->store.operations; d; d = d->next)
        must(s,
             !ends_jobs(d->o.kind) || !d->o.snapshot_good || d->o.state != TIDE_OP_RUNNING ||
                 state == TIDE_JOB_STOPPING,
             "job %s is %s, and operation %" PRIu64 " is to stop it still", j->name,
             tide_job_state_name(state), d->o.id);
    for (const struct tide_record *r = c->first; r; r = r->next)
        if (r->type == TIDE_REC_OPERATION && r->operation.kind == TIDE_OP_RELEASE)
            return; /* of what was not even HELD in the store */
    for (const struct tide_record *r = c->first; r; r = r->next)
        must(s,
             r->type != TIDE_REC_OPERATION || store_job(s, r) != j ||
                 !ends_jobs(r->operation.kind) || !r->operation.snapshot_good ||
                 r->operation.state != TIDE_OP_FAILED || state != TIDE_JOB_STOPPING,
             "job %s is STOPPING, and operation %" PRIu64 ", which stops it, has failed", j->name,
             r->operation.id);
}

/* ---- operations */

void check_operation(struct sim *s, const struct job *j, const struct tide_record *r)
{
    if (!ends_jobs(r->operation.kind)) return;
    if (r->operation.snapshot_good)
        must(s, store_snapshot(j, r->operation.snapshot),
             "operation %" PRIu64 " calls snapshot %" PRIu64 " good, which is not durable",
             r->operation.id, r->operation.snapshot);
    if (r->operation.state == TIDE_OP_DONE)
        must(s, tide_job_ended(j->store.state),
             "operation %" PRIu64 ", which ends job %s, is done, and the job is %s",
             r->operation.id, j->name, tide_job_state_name(j->store.state));
}

static const struct d_operation *operation(const struct sim *s, uint64_t id, struct job **of)
{
    for (struct job *j = s->jobs; j; j = j->next)
        for (const struct d_operation *d = j->store.operations; d; d = d->next)
            if (d->o.id == id) {
                *of = j;
                return d;
            }
    return NULL;
}

static void answered(struct sim *s, const Tide__Operation *m)
{
    struct job *j = NULL;
    const struct d_operation *d = operation(s, m->id, &j);
    note(s, "daemon: tells of operation %" PRIu64 ", %.*s: %.*s %.*s", m->id, (int)m->kind.len,
         (const char *)m->kind.data, (int)m->state.len, (const char *)m->state.data,
         (int)m->error.len, (const char *)m->error.data);
    bool failed = m->state.len == 6 && !memcmp(m->state.data, "failed", 6);
    must(s, d || failed, "an admin is told of operation %" PRIu64 ", which is not durable", m->id);
    if (!d || !ends_jobs(d->o.kind)) return;
    must(s, !m->snapshot_good || store_snapshot(j, m->snapshot),
         "an admin is told that snapshot %" PRIu64 " is good, which is not durable", m->snapshot);
    bool done = m->state.len == 4 && !memcmp(m->state.data, "done", 4);
    must(s, !done || d->o.state == TIDE_OP_DONE,
         "an admin is told that operation %" PRIu64 " is done, in the store it is not", m->id);
    s->stats->told_ended += done;
}

/* What goes to an admin. */
void check_answer(struct sim *s, struct tide_bytes body)
{
    Tide__Response *m = tide__response__unpack(NULL, body.len, body.data);
    if (m && m->result_case == TIDE__RESPONSE__RESULT_OPERATION) answered(s, m->operation);
    tide__response__free_unpacked(m, NULL);
}
