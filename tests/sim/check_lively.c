/* Promises about the end: when the faults have stopped every job makes a snapshot, or finishes. */
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
    if (j->flow.finite || j->store.state == TIDE_JOB_FINISHED) {
        for (struct proc *p = j->procs; p; p = p->next)
            if (p->alive && j->current[p->slot] == p)
                return check_not_yet(j, "workers were not told of the end of the job");
        return (j->store.state == TIDE_JOB_FINISHED ||
                check_not_yet(j, "the job is not finished")) &&
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
    if (j->store.state != TIDE_JOB_FINISHED) return;
    s->stats->finished++;
    for (const struct d_owed *o = j->store.owed; o; o = o->next)
        must(s, !check_owed(j, o) && s->store.dropped,
             "the job is finished and commits are still owed");
    j->program->check_finished(s, j);
}

void check_end(struct sim *s)
{
    for (struct job *j = s->jobs; j; j = j->next)
        end(s, j);
}
