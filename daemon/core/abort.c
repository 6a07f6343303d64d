/* How a round comes to nothing.
 *
 * A task declines, the deadline comes, a worker is lost, the disk is full, the daemon shuts down, a
 * later checkpoint completes: the round aborts, naming who held it and where each was. From the
 * hand-over of the commit nothing aborts it but the store's own no. */
#include "daemon/core/internal.h"

/* A checkpoint that aborts for a reason that counts is a failure, unless a later round has
 * completed by then. Savepoints are people's: what happens to one must not rewind the job. */
static bool is_failure(const struct round *r, Tide__AbortCode code)
{
    return r->kind == TIDE_CHECKPOINT && r->number > r->job->last_complete && !r->spared &&
           tide_abort_of(code)->counts;
}

static void record_abort(struct core *c, struct round *r, Tide__AbortCode code, const char *reason)
{
    struct job *job = r->job;
    struct tide_commit *commit = tide_commit_new(true);
    core_assert(commit != NULL);
    struct tide_record_round *rec = round_record(c, commit, r, TIDE_REC_ROUND_END);
    rec->ended_wall = c->wall;
    rec->code = (int)code;
    rec->counted = is_failure(r, code);
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
    clean_keep_acked(job, r->number, &r->acked);
}

void round_abort(struct core *c, struct round *r, Tide__AbortCode code, const char *reason)
{
    struct job *job = r->job;
    core_assert(!round_holds(r));
    bool failed = is_failure(r, code);
    enum log_level level = code == TIDE__ABORT_CODE__ABORT_SUBSUMED ? LEVEL_DEBUG : LEVEL_WARN;
    if (!reason) reason = tide_abort_of(code)->text;
    core_log(c, level, about_round(job, r->number),
             "job %s: %s %" PRIu64 " aborted, %u of %u tasks had acked: %s", job->name,
             tide_kind_name(r->kind), r->number, r->acked.set, r->plan.expected, reason);
    record_abort(c, r, code, reason);
    c->rounds_aborted++;
    job->gauges.number_of_failed_checkpoints++;
    job->gauges.failures_in_a_row += failed;
    if (r->kind == TIDE_CHECKPOINT && code != TIDE__ABORT_CODE__ABORT_SUBSUMED &&
        code != TIDE__ABORT_CODE__ABORT_SUPERSEDED)
        job->last_failed_us = c->now;
    if (PLANTED(ORPHAN_FLAG) && code == TIDE__ABORT_CODE__ABORT_DEADLINE) job->planted_orphans++;
    uint64_t number = r->number;
    bool final = r->plan.final;
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
    /* the end of one may be that of others: of a drain, or of what waited for its commit */
    for (struct round *r = job->rounds; r;) {
        bool aborts = !round_holds(r);
        if (aborts) round_abort(c, r, code, reason);
        r = aborts ? job->rounds : r->next;
    }
}

void round_decline(struct core *c, struct worker *w, const Tide__Decline *m)
{
    struct job *job = w->job;
    struct round *r = job_round(job, m->round);
    uint32_t subtask;
    if (!r || (r->state != ROUND_ASKING && r->state != ROUND_COLLECTING) ||
        m->attempt != r->attempt || !worker_speaks(w, m->attempt) || bits_get(&r->acked, m->task))
        return; /* late: the round's fate does not hang on it */
    const struct tide_operator *op = tide_graph_operator(job->graph, m->task, &subtask);
    struct tide_bytes reason = core_text_cut(UNPB(m->reason), 200);
    char *why = core_printf("%.*s[%u] declined: %.*s", (int)op->uid.len, (const char *)op->uid.data,
                            subtask, (int)reason.len, (const char *)reason.data);
    r->spared = m->gave_up || m->retry_after_ms;
    uint64_t not_before = c->now + m->retry_after_ms * MS;
    if (not_before > job->hold_until) job->hold_until = not_before;
    round_abort(c, r, TIDE__ABORT_CODE__ABORT_DECLINED, why);
    free(why);
}

bool round_failures_end(struct core *c, struct job *job)
{
    uint32_t most = job->graph->checkpointing.failures_max, n = job->gauges.failures_in_a_row;
    if (!most || n < most || !job->attempt_open || job->state != TIDE_JOB_RUNNING) return false;
    char *why = core_printf("%u rounds in a row have failed (failures_max is %u)", n, most);
    attempt_end(c, job, why);
    free(why);
    return true;
}
