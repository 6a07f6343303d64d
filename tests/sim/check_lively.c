/* Promises about the end: when the faults have stopped every job makes a snapshot, or finishes. */
#include <inttypes.h>
#include <stdio.h>

#include "tests/sim/sim.h"

#define SETTLED (100 * MS) /* what is durable for so long was told */

/* Why the history may not end yet, for people. */
bool check_not_yet(struct job *j, const char *why)
{
    j->waits_for = why;
    return false;
}

/* The only cause for which a job may stay HELD. */
static bool may_be_held(const struct job *j)
{
    static const char old_copy[] = "an old copy of the database may have been put back";
    struct tide_bytes cause = j->store.cause;
    size_t old = sizeof old_copy - 1;
    return j->may_hold && cause.len > old && !memcmp(cause.data + cause.len - old, old_copy, old);
}

/* What rounds had to do and to leave has been done. */
static bool settled(struct sim *s, struct job *j)
{
    for (const struct proc *p = j->procs; p; p = p->next)
        if (p->alive && (p->away || s->now < p->thaw_at))
            return check_not_yet(j, "a worker is away");
    const char *unsettled = history_unsettled(s->history, j->number, s->now, SETTLED);
    if (unsettled) return check_not_yet(j, unsettled);
    return check_effects_done(s, j) &&
           (check_clean(s, j) || check_not_yet(j, "what is out of use is still there"));
}

/* Its end waits for somebody else's flush. */
static bool rides(const struct sim *s, uint64_t operation)
{
    for (const struct tide_commit *c = s->store.queue; c; c = c->next)
        for (const struct tide_record *r = c->first; r; r = r->next)
            if (r->type == TIDE_REC_OPERATION && r->operation.id == operation &&
                r->operation.state >= TIDE_OP_DONE)
                return true;
    return false;
}

/* All that was asked for has an end, but for what the disk will never let go. */
static bool operations_ended(struct sim *s, struct job *j)
{
    for (const struct d_operation *d = j->store.operations; d && !s->store.dropped_operation;
         d = d->next) {
        const struct d_snapshot *of = store_snapshot(j, d->o.snapshot);
        bool stuck = d->o.kind == TIDE_OP_DISPOSE && of && check_stuck(s, of);
        if (d->o.state >= TIDE_OP_DONE || stuck || rides(s, d->o.id)) continue;
        char *why = sim_alloc(s, 80);
        snprintf(why, 80, "operation %" PRIu64 ", %s, is %s", d->o.id,
                 tide_operation_kind_name(d->o.kind), tide_operation_state_name(d->o.state));
        return check_not_yet(j, why);
    }
    return true;
}

/* Done: the job is finished and everybody gone, or a checkpoint that began after the last fault has
 * had its effects. */
static bool lively(struct sim *s, struct job *j)
{
    if (j->store.state == TIDE_JOB_HELD) {
        if (order_may_release(j)) return check_not_yet(j, "the job is held");
        must(s, may_be_held(j), "job %s is HELD: %.*s", j->name, (int)j->store.cause.len,
             (const char *)j->store.cause.data);
        s->stats->held++;
        return true;
    }
    if (!s->calm) return false;
    if (j->must_hold && !tide_job_ended(j->store.state))
        return check_not_yet(j, "a worker knew more than the store, and the job is not held");
    if (!operations_ended(s, j)) return false;
    if (j->flow.finite || tide_job_ended(j->store.state)) {
        for (struct proc *p = j->procs; p; p = p->next)
            if (p->alive && j->current[p->slot] == p)
                return check_not_yet(j, "workers were not told of the end of the job");
        return (tide_job_ended(j->store.state) || check_not_yet(j, "the job is not finished")) &&
               settled(s, j);
    }
    for (const struct d_snapshot *d = j->store.snapshots; d; d = d->next)
        if (d->kind == TIDE_CHECKPOINT && check_round(j, d->round)->begun > s->calm_since &&
            s->now > d->durable_at + 100 * MS)
            return settled(s, j);
    return check_not_yet(j, "no new checkpoint has completed");
}

/* Every job is where the history may end. */
bool check_lively(struct sim *s)
{
    bool all = true;
    for (struct job *j = s->jobs; j; j = j->next) {
        if (!j->done && lively(s, j)) {
            j->done = true;
            happens(s, (struct happening){.type = H_END, .job = j->number, .n = SETTLED});
        }
        all = all && j->done;
    }
    return all;
}

const char *check_waits_for(const struct sim *s)
{
    for (const struct job *j = s->jobs; j; j = j->next)
        if (!j->done) return j->waits_for;
    return "nothing";
}

static void end(struct sim *s, struct job *j)
{
    enum tide_job_state state = j->store.state;
    must(s, state != TIDE_JOB_FAILED || j->checkpointing.attempts_max, "job %s has failed",
         j->name);
    s->stats->failed += state == TIDE_JOB_FAILED;
    s->stats->finished += state == TIDE_JOB_FINISHED;
    if (state != TIDE_JOB_FINISHED && state != TIDE_JOB_SUSPENDED) return;
    for (const struct d_owed *o = j->store.owed; o; o = o->next)
        must(s, !check_owed(j, o) && s->store.dropped,
             "the job has ended and commits are still owed");
    if (state == TIDE_JOB_FINISHED) j->program->check_finished(s, j);
}

void check_end(struct sim *s)
{
    for (struct job *j = s->jobs; j; j = j->next)
        end(s, j);
}
