/* How a round comes to nothing.
 *
 * A task declines, the deadline comes, a worker is lost, the disk is full, the daemon shuts down, a
 * later checkpoint completes: the round aborts, naming who held it and where each was. From the
 * hand-over of the commit nothing aborts it but the store's own no. */
#include <stdio.h>

#include "daemon/core/internal.h"

static void record_abort(struct core *c, struct round *r, Tide__AbortCode code, const char *reason)
{
    struct job *job = r->job;
    struct tide_commit *commit = tide_commit_new(true);
    core_assert(commit != NULL);
    struct tide_record_round *rec = round_record(c, commit, r, TIDE_REC_ROUND_END);
    rec->ended_wall = c->wall;
    rec->code = (int)code;
    rec->reason = tide_commit_bytes(commit, VIEW(reason));
    rec->trigger_us = r->triggered_us ? r->triggered_us - r->begun_us : 0;
    rec->bytes = r->bytes;
    struct tide_holder *holders;
    rec->n_holders = round_holders(r, &commit->arena, &holders, &rec->holders_total);
    rec->holders = holders;
    if (r->operation) {
        char *why = core_printf("%sround %" PRIu64 " aborted: %s",
                                r->stop ? "no snapshot was taken, the job goes on: " : "",
                                r->number, reason);
        operation_fail(c, job, r->operation, commit, why);
        free(why);
    }
    core_assert(commit->rc == 0);
    ask_commit(c, commit, ASKED_ABORTED, job, r->number);
    clean_add_round(job, rec, false, true);
}

void round_abort(struct core *c, struct round *r, Tide__AbortCode code, const char *reason)
{
    struct job *job = r->job;
    core_assert(!round_holds(r));
    core_log(c, LEVEL_WARN, about_round(job, r->number),
             "job %s: %s %" PRIu64 " aborted, %u of %u tasks had acked: %s", job->name,
             tide_kind_name(r->kind), r->number, r->acked.set, r->expected, reason);
    record_abort(c, r, code, reason);
    c->rounds_aborted++;
    job->gauges.number_of_failed_checkpoints++;
    if (r->kind == TIDE_CHECKPOINT && code != TIDE__ABORT_CODE__ABORT_SUBSUMED)
        job->last_failed_us = c->now;
    uint64_t number = r->number;
    bool final = r->final;
    enum tide_stop stop = r->stop;
    round_free(c, r);
    round_send_abort(c, job, number, code, reason, 0);
    round_release(c, job);
    /* without a period nothing else would space out the tries of a final round */
    if (final && job->hold_until < c->now + 100 * MS) job->hold_until = c->now + 100 * MS;
    timer_set(c, &job->trigger_timer, c->now);
    stop_aborted(c, job, stop, reason);
}

void round_abort_all(struct core *c, struct job *job, Tide__AbortCode code, const char *reason)
{
    for (struct round *r = job->rounds, *next; r; r = next) {
        next = r->next;
        if (!round_holds(r)) round_abort(c, r, code, reason);
    }
}

static char *deadline_words(struct core *c, const struct round *r)
{
    const struct round *other = job_committing(r->job);
    unsigned ms = r->job->graph->checkpointing.deadline_ms;
    if (r->state == ROUND_FINALIZING)
        return core_printf("its _metadata was not written by the deadline of %u ms", ms);
    if (r->state == ROUND_READY && other)
        return core_printf("its commit still waited for that of round %" PRIu64
                           " at the deadline of %u ms",
                           other->number, ms);
    if (r->state == ROUND_ASKING) return external_deadline_words(r, ms);
    struct tide_holder *holders;
    uint32_t total, n = round_holders(r, &c->out, &holders, &total);
    char names[300] = "";
    size_t at = 0;
    for (uint32_t i = 0; i < n && i < 3; i++)
        if (at + holders[i].uid.len + holders[i].phase.len + 20 < sizeof names)
            at += (size_t)snprintf(names + at, sizeof names - at, "%s %.*s[%u] (%.*s)",
                                   i ? "," : ":", (int)holders[i].uid.len,
                                   (const char *)holders[i].uid.data, holders[i].subtask,
                                   (int)holders[i].phase.len, (const char *)holders[i].phase.data);
    if (total > 3) snprintf(names + at, sizeof names - at, ", ...");
    return meeting_late(r, total, names);
}

void round_deadline(struct core *c, void *arg)
{
    struct round *r = arg;
    if (round_holds(r)) return;
    char *why = deadline_words(c, r);
    round_abort(c, r, TIDE__ABORT_CODE__ABORT_DEADLINE, why);
    free(why);
}

void round_decline(struct core *c, struct worker *w, const Tide__Decline *m)
{
    struct job *job = w->job;
    struct round *r = job_round(job, m->round);
    uint32_t subtask;
    if (!r || (r->state != ROUND_ASKING && r->state != ROUND_COLLECTING) ||
        m->attempt != job->attempt || w->attempt != m->attempt || w->standing != STANDS_HOLDING ||
        bits_get(&r->acked, m->task))
        return; /* late: the round's fate does not hang on it */
    const struct tide_operator *op = tide_graph_operator(job->graph, m->task, &subtask);
    struct tide_bytes reason = core_text_cut(UNPB(m->reason), 200);
    char *why = core_printf("%.*s[%u] declined: %.*s", (int)op->uid.len, (const char *)op->uid.data,
                            subtask, (int)reason.len, (const char *)reason.data);
    uint64_t not_before = c->now + m->retry_after_ms * MS;
    if (not_before > job->hold_until) job->hold_until = not_before;
    round_abort(c, r, TIDE__ABORT_CODE__ABORT_DECLINED, why);
    free(why);
}
