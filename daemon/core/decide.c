/* Whether a round begins now, and which: from the facts alone, so that a table can test it.
 *
 * Order: savepoints that people asked for before checkpoints, the older first; then the last
 * checkpoint of a job whose tasks all hold their end; then the period. Nothing begins while a round
 * is being set up, since barriers must leave in order of rounds, nor while too much of what is out
 * of use waits to be deleted. max_concurrent counts checkpoints alone: every savepoint is what
 * Flink calls forced, and runs beside them, also beside unaligned ones. Pauses hold back the period
 * alone; a task's wish to be asked later holds back the last checkpoint too. */
#include "daemon/core/internal.h"

static bool before(const struct request *a, const struct request *b)
{
    return a->savepoint != b->savepoint ? a->savepoint : a->id < b->id;
}

static const struct request *head(const struct decide *d)
{
    const struct request *first = NULL;
    for (size_t i = 0; i < d->n_requests; i++) {
        const struct request *r = &d->requests[i];
        bool room =
            r->savepoint ? d->savepoints < SAVEPOINTS_AT_ONCE : d->checkpoints < d->max_concurrent;
        if (room && (!first || before(r, first))) first = r;
    }
    return first;
}

static uint64_t latest(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t paused(uint64_t since, uint64_t pause)
{
    return since && pause ? since + pause : 0;
}

struct decision decide(const struct decide *d)
{
    struct decision nothing = {.again = NEVER};
    if (d->setting_up || d->deleting > d->max_concurrent) return nothing;
    const struct request *r = head(d);
    if (r) return (struct decision){.what = BEGIN_REQUEST, .request = r->id, .again = NEVER};
    if (d->checkpoints >= d->max_concurrent) return nothing;
    uint64_t due = d->at_end ? 0 : d->periodic_at;
    if (due == NEVER || (d->at_end && d->last_under_way)) return nothing;
    if (!d->at_end) {
        due = latest(due, paused(d->completed_us, d->min_pause_us));
        due = latest(due, paused(d->failed_us, d->failure_pause_us));
    }
    due = latest(due, d->not_before);
    if (due > d->now) return (struct decision){.again = due};
    return (struct decision){.what = d->at_end ? BEGIN_LAST : BEGIN_PERIODIC, .again = NEVER};
}
