/* Facts that must hold about the core's state between any two events. Slow: for tests and the
 * simulator. */
#include "daemon/core/internal.h"

static const char *check_tasks(const struct job *job)
{
    uint32_t ready = 0, holders = 0, workers = 0;
    for (const struct worker *w = job->workers; w; w = w->next) {
        workers++;
        if (w->standing == STANDS_READY) ready += w->tasks;
        if (w->standing == STANDS_HOLDING || w->standing == STANDS_REWINDING) holders++;
        if (w->standing == STANDS_READY && !w->session) return "a READY worker is not connected";
        if (w->standing == STANDS_PARKED && !w->session) return "a parked worker is not connected";
        if (w->standing == STANDS_HOLDING && w->attempt != job->attempt &&
            (w->attempt > job->attempt || w->attempt < w->since || !w->ran))
            return "a worker holds an attempt that is not the job's";
        if (w->standing == STANDS_HOLDING && job->state == TIDE_JOB_RUNNING && !job->adopting &&
            w->shown != job->attempt)
            return "the job runs, and a worker has not shown the attempt";
        for (uint32_t i = 0; i < w->n_ranges && w->standing != STANDS_PARKED; i++)
            for (uint32_t t = 0; t < w->ranges[2 * i + 1]; t++)
                if (job->host[w->ranges[2 * i] + t] != w)
                    return "a worker's task is not in the task table";
    }
    if (ready != job->ready_tasks) return "ready tasks are miscounted";
    if (holders != job->n_holders) return "holders are miscounted";
    if (workers != job->n_workers) return "workers are miscounted";
    bool told = job->state == TIDE_JOB_RESTORING && !job->starting;
    if (job->gap && (!job->attempt_open || job->state > TIDE_JOB_RESTORING || told))
        return "survivors of an attempt that is not open";
    return NULL;
}

static uint64_t newest_with_effects(const struct job *job)
{
    uint64_t newest = 0;
    for (const struct snapshot *s = job->snapshots; s; s = s->next)
        if (s->commits) newest = s->round;
    return newest;
}

static const char *check_meeting(const struct round *r)
{
    const struct meeting *m = r->meeting;
    if (!m) return NULL;
    if (r->job->rounds != r || r->next) return "a rendezvous round is not alone";
    if (m->cut_fixed && !meeting_everybody(r, &m->reported))
        return "a cut, and not all have reported";
    if (m->cut_fixed && m->cut < m->highest && !PLANTED(CUT_BELOW))
        return "a cut below what a task has reported";
    if (m->standing.set && !m->cut_fixed) return "a task stands at no cut";
    if (r->acked.set && !m->snapshot_now) return "an ack before SnapshotNow";
    return NULL;
}

static const char *check_round(const struct job *job, const struct round *r)
{
    if (r->job != job) return "a round of another job";
    if (r->attempt != job->attempt && r->state != ROUND_COMMITTING)
        return "an open round of an older attempt";
    if ((!job->attempt_open || job->gap) && r->state != ROUND_COMMITTING)
        return "an open round without an attempt";
    if (!r->timer.place && r->state != ROUND_COMMITTING) return "a round without a deadline";
    if (r->state > ROUND_COLLECTING && r->acked.set != r->plan.expected)
        return "a round commits without every ack";
    if (r->acked.set > r->plan.expected) return "more acks than tasks";
    const char *broken = check_meeting(r);
    if (broken) return broken;
    if (r->number >= job->core->next_id) return "a round with a number that was not issued";
    return NULL;
}

static const char *check_rounds(const struct job *job)
{
    uint64_t last = 0, committing = 0, ready = 0;
    for (const struct round *r = job->rounds; r; r = r->next) {
        const char *broken = check_round(job, r);
        if (broken) return broken;
        if (r->number <= last) return "rounds are not in rising order";
        if (r->kind == TIDE_CHECKPOINT && r->number < newest_with_effects(job))
            return "a checkpoint is under way that a completed one puts out of use";
        last = r->number;
        committing += r->state == ROUND_COMMITTING;
        ready += r->state == ROUND_READY;
    }
    if (committing > 1) return "two rounds of a job commit at once";
    if (ready && !committing) return "a round waits for the commit of none";
    if (job->gauges.number_of_in_progress_checkpoints != round_in_progress(job))
        return "rounds in progress are miscounted";
    return NULL;
}

static const char *check_snapshots(const struct job *job)
{
    uint64_t last = 0;
    for (const struct snapshot *s = job->snapshots; s; s = s->next) {
        if (s->round <= last) return "snapshots are not in rising order";
        if (s == job_recovery_point(job) && s->disposing && !tide_job_ended(job->state) &&
            !PLANTED(DISPOSE_RECOVERY))
            return "the recovery point is to be deleted";
        last = s->round;
    }
    for (const struct trash *t = job->trash; t; t = t->next) {
        const struct snapshot *s = job_snapshot(job, t->round);
        if (t->snapshot && s && s->state == TIDE_RETAINED)
            return "a retained snapshot is among the trash";
        if (!t->snapshot && s) return "a completed round is among the aborted";
    }
    for (const struct owed *o = job->owed; o; o = o->next) {
        const struct snapshot *s = job_snapshot(job, o->round);
        if (!s || s->state != TIDE_RETAINED)
            return "a commit is owed of a snapshot that is not retained";
        if (o->next && o->next->round < o->round) return "owed commits are not in rising order";
    }
    return NULL;
}

static bool is_hook(const struct job *job, uint32_t index)
{
    return job->graph->externals[index].kind == TIDE__EXTERNAL_KIND__EXTERNAL_HOOK;
}

static const char *check_asking(const struct job *job, const struct round *r)
{
    uint32_t answered = 0, coordinators = 0, answered_coordinators = 0;
    if (!r->asking != !job->graph->n_externals) return "a round asks, and there is nobody";
    for (uint32_t i = 0; i < job->graph->n_externals; i++) {
        const struct part *p = &r->asking->parts[i];
        if (p->answered && !p->asked) return "an answer that was not asked for";
        answered += p->answered;
        coordinators += !is_hook(job, i);
        answered_coordinators += !is_hook(job, i) && p->answered;
    }
    for (uint32_t i = 0; i < job->graph->n_externals; i++)
        if (is_hook(job, i) && r->asking->parts[i].asked && answered_coordinators < coordinators)
            return "a hook was asked before every coordinator has answered";
    if (r->asking && answered != r->asking->answered) return "answers are miscounted";
    if (r->state > ROUND_ASKING && answered != job->graph->n_externals)
        return "a round was triggered before every external part has answered";
    return NULL;
}

static const char *check_externals(const struct job *job)
{
    for (const struct worker *w = job->workers; w; w = w->next)
        for (uint32_t i = 0; i < w->n_externals && w->standing != STANDS_PARKED; i++)
            if (job->externals[w->externals[i]].host != w)
                return "a worker's external part is not where it should be";
    for (const struct round *r = job->rounds; r; r = r->next) {
        const char *broken = check_asking(job, r);
        if (broken) return broken;
    }
    return NULL;
}

const char *core_check(const struct core *c)
{
    if (c->next_id > c->reserved + 1) return "an id beyond the reserved block was issued";
    for (const struct job *job = c->jobs; job; job = job->next) {
        const char *broken = check_tasks(job);
        if (!broken) broken = check_rounds(job);
        if (!broken) broken = check_externals(job);
        if (!broken) broken = check_snapshots(job);
        if (!broken && job->ended.set && job->ending.set)
            for (uint32_t t = 0; t < job->graph->tasks; t++)
                if (bits_get(&job->ended, t) && bits_get(&job->ending, t))
                    return "a task both holds its end and has ended";
        if (broken) return broken;
    }
    return NULL;
}
