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

/* ---- operators' requests */

struct operation *operation_find(struct job *job, uint64_t id)
{
    for (struct operation *op = job->operations; op; op = op->next)
        if (op->id == id) return op;
    return NULL;
}

void operation_free(struct operation *op)
{
    free((void *)(uintptr_t)op->key.data);
    free((void *)(uintptr_t)op->target.data);
    free((void *)(uintptr_t)op->location.data);
    free((void *)(uintptr_t)op->error.data);
    free((void *)(uintptr_t)op->label.data);
    free(op);
}

void operation_changed(struct core *c, struct operation *op)
{
    op->progress++;
    admin_progress(c, op);
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
    core_assert(commit->rc == 0);
}

void operation_fail(struct core *c, struct job *job, struct operation *op,
                    struct tide_commit *commit, const char *error)
{
    op->state = TIDE_OP_FAILED;
    op->ended_wall = c->wall;
    free((void *)(uintptr_t)op->error.data);
    op->error = core_copy(VIEW(error));
    if (commit) {
        operation_record(commit, job, op);
    } else {
        commit = tide_commit_new(false);
        core_assert(commit != NULL);
        operation_record(commit, job, op);
        ride_commit(c, commit);
    }
    operation_changed(c, op);
}
