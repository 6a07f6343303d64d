/* What workers are told about rounds, and what they tell besides acks: triggers, completions,
 * aborts, confirms, the end of their input.
 *
 * Everything is repeated until it is settled: on every rejoin a worker hears how each round ended
 * that it named as open, the newest completion that it had not heard of, and the triggers of the
 * rounds under way. Every message is idempotent by (attempt, round).
 *
 * Effects happen in order of rounds, and a worker's Confirm covers all rounds before it. So a
 * completion waits, and all behind it: while commits are owed from before the attempt; and, of a
 * savepoint that publishes none, while a round before it is under way whose effects may come yet.
 */
#include <stdio.h>

#include "daemon/core/internal.h"

/* ---- triggers */

void round_trigger(struct core *c, struct round *r, uint64_t session)
{
    struct job *job = r->job;
    Tide__Trigger m = TIDE__TRIGGER__INIT;
    Tide__ToWorker message = TIDE__TO_WORKER__INIT;
    if (r->meeting) {
        meeting_trigger(c, r, session);
        return;
    }
    m.attempt = r->attempt;
    m.round = r->number;
    m.incarnation = c->incarnation;
    m.kind = (Tide__RoundKind)r->kind;
    m.left_ms = round_left_ms(c, r);
    m.directory = PB(VIEW(r->directory));
    m.directory_exists = r->kind == TIDE_SAVEPOINT;
    m.lowest_pending = job_lowest_pending(job);
    m.stop = (Tide__StopMode)r->stop;
    m.full = r->full;
    m.n_full_tasks = share_full_tasks(r, &c->out, &m.full_tasks);
    m.native = r->native;
    m.alignment = (Tide__Alignment)r->alignment;
    m.aligned_timeout_ms = r->aligned_timeout_ms;
    m.age_ms = (uint32_t)((c->now - r->begun_us) / MS);
    message.msg_case = TIDE__TO_WORKER__MSG_TRIGGER;
    message.trigger = &m;
    if (session)
        send_worker(c, session, &message);
    else
        send_holders(c, job, &message, ask(c, ASKED_TRIGGER_SENT, job, r->number));
}

/* ---- completions and aborts */

/* Whether the worker was started from a snapshot that covers what is owed. The snapshot's row says
 * so, after a restart too: what is owed keeps it. */
static bool started_behind(const struct worker *w, uint64_t owed)
{
    const struct snapshot *s = job_snapshot(w->job, owed);
    return !s || s->imported || s->attempt < w->since;
}

static bool owed_from_before(const struct job *job)
{
    for (const struct owed *o = job->owed; o && o->round <= job->restored_from; o = o->next) {
        const struct worker *host = job->host[o->task];
        if (!host || !region_survives(host) || started_behind(host, o->round)) return true;
    }
    return false; /* what survivors owe of later rounds they have been told, or will be */
}

/* The tasks that had ended when that round completed, not those that have ended since: one that is
 * released publishes nothing of later rounds any more. */
static void name_ended(struct core *c, const struct snapshot *s, Tide__Complete *m)
{
    size_t n = s ? s->ended.len / 8 : 0;
    m->ended = tide_arena_alloc(&c->out, (n + 1) * sizeof *m->ended);
    core_assert(m->ended != NULL);
    while (m->n_ended < n) {
        const uint8_t *at = s->ended.data + 8 * m->n_ended;
        Tide__TaskRange *range = tide_arena_alloc(&c->out, sizeof *range);
        core_assert(range != NULL);
        tide__task_range__init(range);
        range->first = tide_get_u32(at);
        range->count = tide_get_u32(at + 4);
        m->ended[m->n_ended++] = range;
    }
}

static void fill_complete(struct core *c, struct job *job, uint64_t round, bool commits,
                          Tide__Complete *m)
{
    tide__complete__init(m);
    m->attempt = job->attempt;
    m->round = round;
    m->commits = commits;
    if (job->subsumed < round) m->subsumed = job->subsumed;
    if (commits) name_ended(c, job_snapshot(job, round), m);
    m->lowest_pending = job_lowest_pending(job);
}

static void withhold(struct job *job, uint64_t round)
{
    if (!job->unsent_complete || round < job->unsent_complete) job->unsent_complete = round;
}

/* Whether effects of an earlier round may come yet. */
static bool effects_before(const struct job *job, uint64_t round)
{
    for (const struct round *r = job->rounds; r && r->number < round; r = r->next)
        if (r->commits) return true;
    return false;
}

void round_release(struct core *c, struct job *job)
{
    uint64_t from = job->unsent_complete;
    if (!from || owed_from_before(job) || effects_before(job, from)) return;
    /* not between Start and Run; what survivors have not heard until then is told with Advance */
    if (job->state == TIDE_JOB_RESTORING) return;
    job->unsent_complete = 0;
    if (!job->attempt_open) return;
    uint64_t oldest = region_oldest(job);
    for (const struct snapshot *s = job->snapshots; s; s = s->next)
        if (s->round >= from && s->attempt >= oldest) round_send_complete(c, job, s->round);
}

void round_send_complete(struct core *c, struct job *job, uint64_t round)
{
    const struct snapshot *s = job_snapshot(job, round);
    Tide__Complete m;
    Tide__ToWorker message = TIDE__TO_WORKER__INIT;
    bool commits = PLANTED(TELL_EARLY) ? !s || s->commits : s && s->commits;
    if (job->unsent_complete || (commits && owed_from_before(job)) ||
        (!commits && effects_before(job, round) && !PLANTED(CONFIRM_AHEAD))) {
        withhold(job, round);
        round_release(c, job);
        return;
    }
    fill_complete(c, job, round, commits, &m);
    message.msg_case = TIDE__TO_WORKER__MSG_COMPLETE;
    message.complete = &m;
    send_holders(c, job, &message, ask(c, ASKED_COMPLETE_SENT, job, round));
}

void round_send_abort(struct core *c, struct job *job, uint64_t round, Tide__AbortCode code,
                      const char *reason, uint64_t session)
{
    Tide__Abort m = TIDE__ABORT__INIT;
    Tide__ToWorker message = TIDE__TO_WORKER__INIT;
    m.attempt = job->attempt;
    m.round = round;
    m.code = code;
    m.reason = PB(VIEW(reason));
    m.latest_complete = job->last_complete;
    m.lowest_pending = job_lowest_pending(job);
    message.msg_case = TIDE__TO_WORKER__MSG_ABORT;
    message.abort = &m;
    if (session)
        send_worker(c, session, &message);
    else if (job->attempt_open)
        send_holders(c, job, &message, 0);
}

static void send_complete_to(struct core *c, struct worker *w, uint64_t round, bool commits)
{
    Tide__Complete m;
    Tide__ToWorker message = TIDE__TO_WORKER__INIT;
    fill_complete(c, w->job, round, commits, &m);
    message.msg_case = TIDE__TO_WORKER__MSG_COMPLETE;
    message.complete = &m;
    send_worker(c, w->session, &message);
}

/* A round that a worker names, of which the store has no row: its begin was lost with the crash. */
static void record_unknown(struct core *c, struct job *job, uint64_t round)
{
    if (round <= job->known_upto || round >= c->first_id) return;
    job->known_upto = round;
    char *directory = core_printf("%s/r%" PRIu64, job->directory, round);
    struct tide_record_round facts = {
        .number = round,
        .incarnation = job->attempt_incarnation,
        .attempt = job->attempt,
        .kind = TIDE_CHECKPOINT, /* a savepoint's begin is durable before it is triggered */
        .directory = VIEW(directory),
        .begun_wall = c->wall,
        .ended_wall = c->wall,
        .code = TIDE__ABORT_CODE__ABORT_RESTARTED,
        .reason = VIEW(tide_abort_of(TIDE__ABORT_CODE__ABORT_RESTARTED)->text),
        .tasks = job->graph->tasks};
    clean_add_round(job, &facts, false, false);
    clean_pump(c, job);
    free(directory);
}

void notify_remember(struct job *job, uint64_t round, bool commits)
{
    struct gone *g = core_alloc(sizeof *g);
    *g = (struct gone){round, commits, job->gone};
    job->gone = g;
}

void notify_forget(struct job *job)
{
    while (job->gone) {
        struct gone *g = job->gone;
        job->gone = g->next;
        free(g);
    }
}

static const struct gone *gone(const struct job *job, uint64_t round)
{
    const struct gone *g = job->gone;
    while (g && g->round != round)
        g = g->next;
    return g;
}

void round_resolve(struct core *c, struct worker *w)
{
    struct job *job = w->job;
    const struct snapshot *newest = job_recovery_point(job);
    bool hold = job->unsent_complete || owed_from_before(job);
    for (uint32_t i = 0; i < w->n_open; i++) {
        const struct snapshot *s = job_snapshot(job, w->open_rounds[i]);
        const struct gone *g = gone(job, w->open_rounds[i]);
        if (g) { /* its effects are had, or those of a later round stand for them */
            send_complete_to(c, w, g->round, g->commits && !hold);
            continue;
        }
        if (job_round(job, w->open_rounds[i]) || (s && PLANTED(LOSE_NOTICE))) continue;
        if (s && s->attempt >= w->since) {
            if (hold)
                withhold(job, s->round);
            else
                send_complete_to(c, w, s->round, s->commits);
        } else if (newest && newest->attempt >= w->since && w->open_rounds[i] < newest->round) {
            continue; /* complete and deleted since, for all we know: only a worker without open
                         tasks can ask */
        } else {
            record_unknown(c, job, w->open_rounds[i]);
            round_send_abort(c, job, w->open_rounds[i], TIDE__ABORT_CODE__ABORT_RESTARTED,
                             "the round did not outlive a restart or an abort", w->session);
        }
    }
    w->n_open = 0;
    if (newest && newest->attempt >= w->since && newest->round > w->told_complete &&
        !PLANTED(LOSE_NOTICE)) {
        if (hold)
            withhold(job, newest->round);
        else
            send_complete_to(c, w, newest->round, true);
    }
    for (struct round *r = job->rounds; r; r = r->next)
        if (r->attempt == job->attempt && r->state == ROUND_COLLECTING && !PLANTED(LOSE_START))
            round_trigger(c, r, w->session);
    external_resume(c, w);
}

/* ---- what workers say */

static bool names(const Tide__Confirm *m, uint32_t task)
{
    for (size_t i = 0; i < m->n_tasks; i++)
        if (task >= m->tasks[i]->first && task - m->tasks[i]->first < m->tasks[i]->count)
            return true;
    return false;
}

void record_strike(struct job *job, struct tide_commit *commit, const struct owed *o)
{
    uint32_t subtask;
    const struct tide_operator *op = tide_graph_operator(job->graph, o->task, &subtask);
    struct tide_record *r = tide_commit_add(commit, TIDE_REC_STRIKE, job->id);
    core_assert(r != NULL);
    r->strike.upto = o->round;
    r->strike.uid = tide_commit_bytes(commit, op->uid);
    r->strike.subtask = subtask;
    core_assert(commit->rc == 0);
}

void record_strikes(struct job *job, struct tide_commit *commit)
{
    for (const struct owed *o = job->strikes; o && !PLANTED(STRIKE_ONCE); o = o->next)
        record_strike(job, commit, o);
}

void round_confirm(struct core *c, struct worker *w, const Tide__Confirm *m)
{
    struct job *job = w->job;
    struct tide_commit *commit = NULL;
    if (!worker_speaks(w, m->attempt)) return;
    for (struct owed **at = &job->owed; *at;) {
        struct owed *o = *at;
        if (o->round > m->round || !worker_hosts(w, o->task) || !names(m, o->task)) {
            at = &o->next;
            continue;
        }
        if (!commit) commit = tide_commit_new(false);
        core_assert(commit != NULL);
        record_strike(job, commit, o);
        *at = o->next;
        free((void *)(uintptr_t)o->handle.data);
        o->handle = (struct tide_bytes){0};
        o->next = job->strikes;
        job->strikes = o;
    }
    if (!commit) return;
    ride_commit(c, commit);
    round_release(c, job);
    job_finish(c, job);
}

void round_finished(struct core *c, struct worker *w, size_t n, Tide__TaskRange **ranges)
{
    struct job *job = w->job;
    for (size_t i = 0; i < n; i++)
        for (uint32_t t = 0; t < ranges[i]->count; t++)
            if (!bits_get(&job->ended, ranges[i]->first + t)) {
                bits_put(&job->ending, ranges[i]->first + t);
                trigger_backlog(c, job, ranges[i]->first + t, false);
            }
    trigger_pump(c, job);
}
