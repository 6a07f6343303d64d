/* When rounds begin.
 *
 * One round of a job at a time. When none is under way, the first of these begins one: an
 * operator's request, in order of arrival; the end of all tasks' input, at once; the period.
 * Periodic triggers that come due while a round runs coalesce to one, and the others are counted as
 * skipped (Flink queues them: FLINK-3492). The first fire is spread over the interval, so that jobs
 * that start together do not trigger together; from then on the period does not drift. */
#include "daemon/core/internal.h"

static bool all_at_end(const struct job *job)
{
    return job->ending.set && job->ended.set + job->ending.set == job->graph->tasks;
}

static struct operation *first_queued(const struct job *job)
{
    for (struct operation *op = job->operations; op; op = op->next)
        if (op->state == TIDE_OP_QUEUED && op->durable) return op;
    return NULL;
}

static uint64_t periodic_due(const struct job *job)
{
    const Tide__Checkpointing *cp = &job->graph->checkpointing;
    if (!cp->interval_ms) return NEVER;
    uint64_t due = job->next_trigger, paused = job->last_complete_us + cp->min_pause_ms * MS;
    if (cp->min_pause_ms && job->last_complete_us && paused > due) due = paused;
    return due > job->hold_until ? due : job->hold_until;
}

void trigger_pump(struct core *c, struct job *job)
{
    if (c->shutting_down || !job->attempt_open || job->adopting || job->state != TIDE_JOB_RUNNING ||
        job->rounds)
        return;
    struct operation *op = first_queued(job);
    if (op) {
        round_begin(c, job, op->kind == TIDE_OP_SAVEPOINT ? TIDE_SAVEPOINT : TIDE_CHECKPOINT, op);
        return;
    }
    bool final = all_at_end(job);
    uint64_t due = final ? job->hold_until : periodic_due(job);
    if (due > c->now) {
        timer_set(c, &job->trigger_timer, due);
        return;
    }
    uint64_t interval = job->graph->checkpointing.interval_ms * MS;
    if (interval && job->next_trigger <= c->now) {
        uint64_t passed = (c->now - job->next_trigger) / interval;
        job->gauges.skipped_periodic_triggers += passed;
        job->next_trigger += (passed + 1) * interval;
    }
    round_begin(c, job, TIDE_CHECKPOINT, NULL);
}

void trigger_running(struct core *c, struct job *job)
{
    const Tide__Checkpointing *cp = &job->graph->checkpointing;
    uint64_t least =
        cp->min_pause_ms < cp->interval_ms ? cp->min_pause_ms * MS : cp->interval_ms * MS;
    job->next_trigger = c->now + least + core_random_below(c, cp->interval_ms * MS - least + 1);
    job->hold_until = 0;
    trigger_pump(c, job);
}

static void due(struct core *c, void *arg)
{
    job_finish(c, arg); /* when it waited for the round that has just aborted */
    trigger_pump(c, arg);
}

void trigger_init(struct job *job)
{
    job->trigger_timer = (struct timer){.fire = due, .arg = job};
}
