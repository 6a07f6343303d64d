/* When rounds begin: the facts are gathered here, decide.c decides.
 *
 * The usual way: the period comes due, nothing else is under way, a checkpoint begins. Periodic
 * triggers that come due while none may begin coalesce to one, and the others are counted as
 * skipped (Flink queues them: FLINK-3492). The first fire is spread over the interval, so that jobs
 * that start together do not trigger together; from then on the period does not drift, whatever
 * held a round back. Where nobody says how long a pause it must leave, a rendezvous round leaves
 * one as long as tasks stood in the last: so they stand at most half of the time. While a source
 * has a backlog another interval holds: a shorter one at once, a longer one, or none, from the next
 * fire on.
 *
 * What people ask for waits in its job's list until its turn comes, also while the job does not
 * run; what has waited for as long as a round may take fails. While a job is being stopped the
 * period is off, and the last round begins when those before it have ended (stop.c). */
#include <stdio.h>

#include "daemon/core/internal.h"

/* The period that holds now; 0: none. */
static uint64_t interval_us(const struct job *job)
{
    const Tide__Checkpointing *cp = &job->graph->checkpointing;
    uint64_t ms = job->backlog.set ? cp->backlog_interval_ms : cp->interval_ms;
    if (!ms || !cp->interval_ms) return 0;
    return (ms > cp->min_pause_ms ? ms : cp->min_pause_ms) * MS;
}

static void count_rounds(const struct job *job, struct decide *d)
{
    d->checkpoints = PLANTED(ORPHAN_FLAG) ? job->planted_orphans : 0;
    for (const struct round *r = job->rounds; r; r = r->next) {
        if (r->kind == TIDE_SAVEPOINT)
            d->savepoints++;
        else
            d->checkpoints++;
        d->setting_up += r->state < ROUND_COLLECTING || r->meeting; /* a rendezvous is alone */
        d->last_under_way = d->last_under_way || (r->plan.final && r->kind == TIDE_CHECKPOINT);
    }
}

static bool is_waiting(const struct operation *op)
{
    return op->state == TIDE_OP_QUEUED && op->durable && op->takes;
}

static struct decision decide_for(const struct core *c, const struct job *job)
{
    const Tide__Checkpointing *cp = &job->graph->checkpointing;
    struct request requests[OPERATIONS_QUEUED_MAX];
    struct decide d = {.now = c->now,
                       .max_concurrent = cp->max_concurrent,
                       .deleting = clean_deleting(job),
                       .requests = requests,
                       .at_end =
                           job->ending.set && job->ended.set + job->ending.set == job->graph->tasks,
                       .periodic_at = interval_us(job) ? job->next_trigger : NEVER,
                       .completed_us = job->last_complete_us,
                       .min_pause_us = cp->min_pause_ms ? cp->min_pause_ms * MS : job->stood_us,
                       .failed_us = job->last_failed_us,
                       .failure_pause_us = cp->failure_pause_ms * MS,
                       .not_before = job->hold_until};
    count_rounds(job, &d);
    const struct operation *stop = stop_open(job);
    uint32_t first = 0; /* what waits and was asked for before the stop */
    if (stop) {
        d.at_end = false;
        d.periodic_at = NEVER;
    }
    for (const struct operation *op = job->operations; op; op = op->next) {
        bool savepoint = op->takes == TIDE_SAVEPOINT;
        if (!is_waiting(op)) continue;
        if (op == stop && (first || job->rounds)) break; /* it is alone, and the last */
        first++;
        if (savepoint && (!op->directory || op->preparing)) continue;
        if (d.n_requests == OPERATIONS_QUEUED_MAX) break; /* the store's, and their round aborted */
        requests[d.n_requests++] = (struct request){op->id, savepoint};
    }
    return decide(&d);
}

/* The period's place moves behind now, by whole intervals. */
static void pass_period(const struct core *c, struct job *job)
{
    uint64_t interval = interval_us(job);
    if (!interval || job->next_trigger > c->now) return;
    uint64_t passed = (c->now - job->next_trigger) / interval;
    job->gauges.skipped_periodic_triggers += passed;
    job->next_trigger += (passed + 1) * interval;
}

static void expire(struct core *c, struct job *job)
{
    for (struct operation *op = job->operations; op; op = op->next) {
        if (!is_waiting(op) || op->expires_us > c->now) continue;
        const char *waits = job_waits_for(c, job);
        char *why = core_printf("no round could begin for it within %u ms: the job was %s%s%s",
                                job->graph->checkpointing.deadline_ms,
                                tide_job_state_name(job->state), waits[0] ? ", waiting for " : "",
                                waits[0] ? waits : ", its turn did not come");
        operation_fail(c, job, op, NULL, why);
        free(why);
    }
}

static void arm(struct core *c, struct job *job, uint64_t at)
{
    for (const struct operation *op = job->operations; op; op = op->next)
        if (is_waiting(op) && op->expires_us < at) at = op->expires_us;
    timer_set(c, &job->trigger_timer, at);
}

void trigger_pump(struct core *c, struct job *job)
{
    struct decision d = {.again = NEVER};
    if (c->shutting_down) return;
    job_finish(c, job); /* when it waited for a round that has aborted */
    if (stop_pump(c, job)) return;
    bool runs = job->attempt_open && !job->adopting && job->state == TIDE_JOB_RUNNING;
    expire(c, job);
    if (runs) prepare_pump(c, job);
    while (runs && (d = decide_for(c, job)).what != BEGIN_NOTHING) {
        struct operation *op = d.what == BEGIN_REQUEST ? operation_find(job, d.request) : NULL;
        enum tide_kind kind = op ? op->takes : TIDE_CHECKPOINT;
        char *why = op ? alignment_impossible(job, op) : NULL;
        if (why) {
            operation_fail(c, job, op, NULL, why);
            free(why);
            continue;
        }
        if (d.what == BEGIN_LAST || d.what == BEGIN_PERIODIC) pass_period(c, job);
        if (!round_begin(c, job, kind, op)) break; /* whoever reserves ids asks again */
    }
    arm(c, job, d.again);
}

void trigger_running(struct core *c, struct job *job)
{
    const Tide__Checkpointing *cp = &job->graph->checkpointing;
    uint64_t interval = interval_us(job), least = cp->min_pause_ms * MS;
    job->next_trigger =
        interval ? c->now + least + core_random_below(c, interval - least + 1) : NEVER;
    job->hold_until = 0;
    if (!round_failures_end(c, job)) trigger_pump(c, job);
}

void trigger_backlog(struct core *c, struct job *job, uint32_t task, bool behind)
{
    if (bits_get(&job->backlog, task) == behind) return;
    if (behind)
        bits_put(&job->backlog, task);
    else
        bits_drop(&job->backlog, task);
    uint64_t interval = interval_us(job);
    /* a fire of the time without a period was none */
    bool lapsed = job->next_trigger <= c->now && !behind && !job->backlog.set &&
                  !job->graph->checkpointing.backlog_interval_ms;
    if (interval && (lapsed || c->now + interval < job->next_trigger))
        job->next_trigger = c->now + interval;
    trigger_pump(c, job);
}

static void due(struct core *c, void *arg)
{
    job_finish(c, arg); /* when it waited for the round that has just aborted */
    if (!round_failures_end(c, arg)) trigger_pump(c, arg);
}

void trigger_init(struct job *job)
{
    job->trigger_timer = (struct timer){.fire = due, .arg = job};
}
