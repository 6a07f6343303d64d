/* How the tasks of a round wait for its barriers.
 *
 * The usual way: checkpoints as the job has it, savepoints aligned, since records in flight tie a
 * snapshot to the graph; whoever asks for a savepoint may ask otherwise. A round that stops the
 * job is aligned in any case: who stands still captures nothing.
 *
 * Unaligned savepoints run beside checkpoints like others: no barrier overtakes a barrier, and a
 * task captures for one round at a time. In Flink they are never unaligned, so that behind a slow
 * program they take as long as its queues. */
#include <stdio.h>

#include "daemon/core/internal.h"

void alignment_choose(struct round *r)
{
    const Tide__Checkpointing *cp = &r->job->graph->checkpointing;
    const struct operation *op = r->operation;
    r->alignment = (enum tide_alignment)cp->alignment;
    if (r->kind == TIDE_SAVEPOINT && r->alignment != TIDE_AT_LEAST_ONCE)
        r->alignment = TIDE_ALIGNED;
    if (op && op->aligns) r->alignment = op->alignment;
    if (r->stop) r->alignment = TIDE_ALIGNED;
    if (r->alignment == TIDE_ALIGNED_TIMEOUT) r->aligned_timeout_ms = cp->aligned_timeout_ms;
}

bool alignment_wrong(const struct job *job, uint32_t alignment, char why[static 300])
{
    const Tide__Checkpointing *cp = &job->graph->checkpointing;
    const uint32_t own = (uint32_t)cp->alignment;
    const char *name = tide_alignment_name((enum tide_alignment)alignment);
    why[0] = '\0';
    if (alignment > TIDE_ALIGNED_TIMEOUT)
        snprintf(why, 300, "alignment %u means nothing in this version", alignment);
    else if (cp->style == TIDE__ROUND_STYLE__STYLE_RENDEZVOUS)
        snprintf(why, 300, "job %s takes rendezvous rounds, which have no barriers to align",
                 job->name);
    else if (alignment == TIDE_AT_LEAST_ONCE && own != alignment)
        snprintf(why, 300, "job %s is exactly once: a savepoint of it cannot be at least once",
                 job->name);
    else if (alignment > TIDE_AT_LEAST_ONCE && own == TIDE_AT_LEAST_ONCE)
        snprintf(why, 300, "job %s is at least once: a savepoint of it cannot be %s", job->name,
                 name);
    else if (alignment == TIDE_ALIGNED_TIMEOUT && !cp->aligned_timeout_ms)
        snprintf(why, 300, "job %s has no aligned_timeout_ms: a savepoint of it cannot be %s",
                 job->name, name);
    return why[0];
}

char *alignment_impossible(const struct job *job, const struct operation *op)
{
    const struct worker *w =
        op->aligns && op->alignment >= TIDE_UNALIGNED ? job_old_worker(job) : NULL;
    if (!w) return NULL;
    return core_printf("worker %.*s speaks version 1 of the protocol, which knows no barriers that "
                       "go ahead: take an aligned savepoint",
                       (int)w->name.len, (const char *)w->name.data);
}

void alignment_report(const struct round *r)
{
    static const char aligned[] =
        "it came out aligned: no task let its barrier go ahead of records, since their "
        "program cannot, or nothing was queued\n";
    struct operation *op = r->operation;
    bool ahead = op->aligns && op->alignment == TIDE_UNALIGNED && !r->stop;
    if (!ahead || r->unaligned || op->report.len) return;
    free((void *)(uintptr_t)op->report.data); /* of a start: a copy of nothing */
    op->report = core_copy(VIEW(aligned));
}
