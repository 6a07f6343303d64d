/* An attempt: one execution of a job, from the moment all tasks are there until one is lost. How it
 * begins stands in begin.c.
 *
 * The usual way: all tasks answer Restored; RUNNING is made durable; Run.
 *
 * What can go wrong: a worker is lost, a restore fails or takes too long: the attempt ends,
 * everybody who has it gets Rewind, and the next try waits for their answer, or their leases, and,
 * if this one never ran, for a back-off that doubles.
 *
 * After a restart of the daemon an open attempt is adopted: its holders have the grace time to come
 * back with it; if all do, it goes on as if nothing had been. */
#include <stdio.h>

#include "daemon/core/internal.h"

/* ---- running */

static void record_running(struct core *c, struct job *job)
{
    if (job->run_asked || job->end_asked) return;
    job->run_asked = true;
    struct tide_commit *commit = tide_commit_new(true);
    core_assert(commit != NULL);
    struct tide_record *r = tide_commit_add(commit, TIDE_REC_ATTEMPT_RUN, job->id);
    core_assert(r != NULL);
    r->attempt_run.attempt = job->attempt;
    r->attempt_run.wall = c->wall;
    job_record_state(c, commit, job, TIDE_JOB_RUNNING);
    ask_commit(c, commit, ASKED_RUNNING, job, job->attempt);
}

void attempt_all_restored(struct core *c, struct job *job)
{
    uint32_t part;
    if (job->state == TIDE_JOB_RESTORING && job->restored.set == job->graph->tasks &&
        !external_not_restored(job, &part) && !region_behind(job))
        record_running(c, job);
}

void attempt_restored(struct core *c, struct worker *w, const Tide__Restored *m)
{
    struct job *job = w->job;
    if (m->attempt != job->attempt || w->attempt != m->attempt || !job->attempt_open ||
        job->state != TIDE_JOB_RESTORING)
        return;
    uint32_t own = 0;
    for (size_t i = 0; i < m->n_tasks; i++)
        for (uint32_t t = 0; t < m->tasks[i]->count; t++)
            bits_put(&job->restored, m->tasks[i]->first + t);
    for (uint32_t i = 0; i < w->n_ranges; i++)
        for (uint32_t t = 0; t < w->ranges[2 * i + 1]; t++)
            own += bits_get(&job->restored, w->ranges[2 * i] + t);
    if (own == w->tasks && w->phase < TIDE__WORKER_PHASE__PHASE_RESTORED)
        w->phase = TIDE__WORKER_PHASE__PHASE_RESTORED;
    attempt_all_restored(c, job);
}

void attempt_restore_failed(struct core *c, struct worker *w, const Tide__RestoreFailed *m)
{
    struct job *job = w->job;
    uint32_t subtask = 0;
    if (m->attempt != job->attempt || !worker_speaks(w, m->attempt))
        return; /* its first is enough */
    const struct tide_operator *op = tide_graph_operator(job->graph, m->task, &subtask);
    struct tide_bytes reason = core_text_cut(UNPB(m->reason), 200);
    char *why = core_printf("%.*s[%u] could not restore: %.*s", (int)op->uid.len,
                            (const char *)op->uid.data, subtask, (int)reason.len,
                            (const char *)reason.data);
    attempt_fail(c, job, w, why);
    free(why);
}

static void resume(struct core *c, struct worker *w)
{
    struct job *job = w->job;
    Tide__Resumed resumed = TIDE__RESUMED__INIT;
    Tide__ToWorker message = TIDE__TO_WORKER__INIT;
    resumed.attempt = w->attempt;
    resumed.lowest_pending = job_lowest_pending(job);
    message.msg_case = TIDE__TO_WORKER__MSG_RESUMED;
    message.resumed = &resumed;
    send_worker(c, w->session, &message);
    if (w->attempt == job->attempt &&
        (job->state == TIDE_JOB_RUNNING || job->state == TIDE_JOB_STOPPING))
        w->ran = w->attempt;
    if (!w->ran) return;
    Tide__Run run = TIDE__RUN__INIT;
    run.attempt = w->attempt;
    message.msg_case = TIDE__TO_WORKER__MSG_RUN;
    message.run = &run;
    if (w->ran == w->attempt && !job->deliver_only) send_worker(c, w->session, &message);
    w->phase = TIDE__WORKER_PHASE__PHASE_RUNNING;
    if (w->attempt == job->attempt)
        round_resolve(c, w);
    else if (!job->gap)
        region_advance(c, w);
}

void attempt_running(struct core *c, struct job *job, uint64_t attempt, enum tide_outcome outcome)
{
    if (attempt != job->attempt || !job->attempt_open || job->state != TIDE_JOB_RESTORING) return;
    if (outcome != TIDE_STORED) {
        attempt_fail(c, job, NULL, "that it runs could not be stored");
        return;
    }
    job_move(job, TIDE_JOB_RUNNING);
    timer_clear(c, &job->restore_timer);
    Tide__Run run = TIDE__RUN__INIT;
    Tide__ToWorker message = TIDE__TO_WORKER__INIT;
    run.attempt = job->attempt;
    message.msg_case = TIDE__TO_WORKER__MSG_RUN;
    message.run = &run;
    send_holders(c, job, &message, 0);
    for (struct worker *w = job->workers; w; w = w->next)
        if (w->standing == STANDS_HOLDING) {
            w->phase = TIDE__WORKER_PHASE__PHASE_RUNNING;
            w->ran = job->attempt;
        }
    core_log(c, LEVEL_INFO, about_job(job), "job %s: attempt %" PRIu64 " runs", job->name,
             job->attempt);
    round_release(c, job);
    trigger_running(c, job);
}

/* ---- coming back */

/* All have come back with what they restore. Who was away when the others went on to the attempt,
 * before the restart, follows now; survivors say after Resumed which of their hooks have been
 * restored in it. */
static void go_on_restoring(struct core *c, struct job *job)
{
    for (struct worker *w = job->workers; w; w = w->next)
        if (w->standing == STANDS_HOLDING) {
            for (uint32_t i = 0; i < w->n_ranges; i++)
                for (uint32_t t = 0; t < w->ranges[2 * i + 1]; t++)
                    bits_put(&job->restored, w->ranges[2 * i] + t);
            external_back_restored(w);
            resume(c, w);
        }
    timer_set(c, &job->restore_timer, c->now + job->graph->checkpointing.restore_deadline_ms * MS);
    attempt_all_restored(c, job);
}

/* Once all workers are back. */
static void adopt(struct core *c, struct job *job)
{
    for (struct worker *w = job->workers; w; w = w->next)
        if (w->standing == STANDS_HOLDING && (!w->back || !w->session)) return;
    timer_clear(c, &job->grace_timer);
    uint32_t part;
    if (job->state != TIDE_JOB_STOPPING && external_missing(job, STANDS_HOLDING, &part)) {
        char *why = core_printf("no worker that came back hosts %s",
                                external_words(&job->graph->externals[part]).text);
        attempt_end(c, job, why);
        free(why);
        return;
    }
    core_log(c, LEVEL_INFO, about_job(job),
             "job %s: attempt %" PRIu64 " goes on, all workers are back", job->name, job->attempt);
    job->adopting = false;
    if (job->state == TIDE_JOB_RESTORING) {
        go_on_restoring(c, job);
        return;
    }
    for (struct worker *w = job->workers; w; w = w->next)
        if (w->standing == STANDS_HOLDING) resume(c, w);
    if (job->state == TIDE_JOB_RUNNING) trigger_running(c, job);
    if (job->state == TIDE_JOB_STOPPING) job_finish(c, job);
}

void attempt_rejoined(struct core *c, struct worker *w)
{
    struct job *job = w->job;
    if (!region_fits(c, job)) { /* its endpoint may be another, and longer */
        attempt_end(c, job, "what an Advance would have to say is longer than a frame");
        return;
    }
    if (!job->adopting) {
        resume(c, w);
        attempt_all_restored(c, job); /* its Join shows, perhaps, that it has advanced */
        return;
    }
    if (w->phase < TIDE__WORKER_PHASE__PHASE_RESTORED) {
        char *why = core_printf("worker %.*s came back before it had restored", (int)w->name.len,
                                (const char *)w->name.data);
        attempt_end(c, job, why);
        free(why);
        return;
    }
    w->back = true;
    adopt(c, job);
}

/* ---- ending */

void tell_rewind(struct core *c, struct worker *w, const char *reason)
{
    Tide__Rewind rewind = TIDE__REWIND__INIT;
    Tide__ToWorker message = TIDE__TO_WORKER__INIT;
    rewind.attempt = w->attempt;
    rewind.reason = PB(VIEW(reason));
    message.msg_case = TIDE__TO_WORKER__MSG_REWIND;
    message.rewind = &rewind;
    send_worker(c, w->session, &message);
}

void attempt_add_end(struct job *job, uint64_t wall, const char *reason)
{
    for (const struct attempt_end *e = job->ends; e; e = e->next)
        if (e->attempt == job->attempt) return;
    struct attempt_end *e = core_alloc(sizeof *e);
    *e = (struct attempt_end){job->attempt, wall, core_printf("%s", reason), job->ends};
    job->ends = e;
}

void attempt_end_unrecorded(struct job *job)
{
    attempt_add_end(job, 0, "it had ended when the daemon restarted");
}

void attempt_record_end(const struct job *job, struct tide_commit *commit,
                        const struct attempt_end *e)
{
    struct tide_record *r = tide_commit_add(commit, TIDE_REC_ATTEMPT_END, job->id);
    core_assert(r != NULL);
    r->attempt_end.attempt = e->attempt;
    r->attempt_end.wall = e->wall ? e->wall : job->core->wall;
    r->attempt_end.reason = tide_commit_bytes(commit, VIEW(e->reason));
}

void attempt_settle_ends(struct job *job, uint64_t attempt, bool stored)
{
    for (struct attempt_end **at = &job->ends; *at;) {
        struct attempt_end *e = *at;
        if (stored ? e->attempt >= attempt : e->attempt != attempt) {
            at = &e->next;
            continue;
        }
        *at = e->next;
        free(e->reason);
        free(e);
    }
}

void attempt_ends_free(struct job *job)
{
    attempt_settle_ends(job, UINT64_MAX, true);
}

static void record_end(struct core *c, struct job *job, const char *reason)
{
    struct tide_commit *commit = tide_commit_new(false);
    core_assert(commit != NULL);
    if (!job->attempt_refused) {
        attempt_add_end(job, c->wall, reason);
        attempt_record_end(job, commit, job->ends);
    }
    if (!job->end_asked && (job->state == TIDE_JOB_RUNNING || job->state == TIDE_JOB_RESTORING ||
                            (job->gap && job->state == TIDE_JOB_WAITING))) {
        /* a final round that is with the store has STOPPING in its commit: that must be the last
         * word */
        const struct round *r = job_committing(job);
        if (!r || !round_stops(r)) job_record_state(c, commit, job, TIDE_JOB_WAITING);
        job_move(job, TIDE_JOB_WAITING);
    }
    core_assert(commit->rc == 0);
    ride_commit(c, commit);
}

void attempt_let_go(struct core *c, struct worker *w, const char *reason)
{
    if (w->started) {
        worker_stand(w, STANDS_REWINDING);
        tell_rewind(c, w, reason);
    } else if (w->session) {
        worker_stand(w, STANDS_READY);
        w->attempt = 0;
    } else {
        worker_release(c, w);
    }
}

static void end(struct core *c, struct job *job, const char *reason)
{
    core_log(c, LEVEL_WARN, about_job(job), "job %s: attempt %" PRIu64 " ends: %s", job->name,
             job->attempt, reason);
    job->attempt_open = job->adopting = false;
    job->starting = START_NOT;
    attempt_drop_image(job);
    timer_clear(c, &job->restore_timer);
    timer_clear(c, &job->grace_timer);
    timer_set(c, &job->trigger_timer, c->now); /* for requests that wait */
    round_abort_all(c, job, TIDE__ABORT_CODE__ABORT_WORKER_LOST, reason);
    record_end(c, job, reason);
    job->unsent_complete = 0; /* what is owed goes out with the next Start */
    job->gap = false;
    for (struct worker *w = job->workers, *next; w; w = next) {
        next = w->next;
        if (w->standing == STANDS_HOLDING) attempt_let_go(c, w, reason);
    }
}

void attempt_end_ordered(struct core *c, struct job *job, const char *reason)
{
    if (job->attempt_open) end(c, job, reason);
    attempt_failed(job, NULL);
    job->not_before = 0;
}

void attempt_end(struct core *c, struct job *job, const char *reason)
{
    if (!job->attempt_open) return;
    bool ran = job->state == TIDE_JOB_RUNNING || job->state == TIDE_JOB_STOPPING;
    attempt_failed(job, reason);
    end(c, job, reason);
    uint32_t most = job->graph->checkpointing.attempts_max;
    if (most && job->failed_attempts >= most && job->state == TIDE_JOB_WAITING) {
        char *cause = core_printf(
            "%u attempts in a row ended without a completed round, the last one: %s", most, reason);
        job_fail(c, job, cause);
        free(cause);
    } else if (!ran) {
        attempt_try_again_later(c, job);
    } else {
        timer_set(c, &job->start_timer, c->now); /* not in the middle of whatever ended this one */
    }
}

/* ---- timers */

static void start_due(struct core *c, void *arg)
{
    struct job *job = arg;
    job_admit_parked(c, job);
    attempt_try(c, job);
}

/* A connection that was welcomed, and whose Join is on the way. */
static bool somebody_comes(const struct core *c)
{
    for (size_t i = 0; i < c->sessions.cap; i++) {
        const struct session *s = c->sessions.slots[i].value;
        if (s && s->kind == TIDE__PEER_KIND__PEER_WORKER && !s->joined) return true;
    }
    return false;
}

static void grace_over(struct core *c, void *arg)
{
    struct job *job = arg;
    char names[300] = "";
    size_t at = 0;
    if (c->shutting_down) return;
    if (!PLANTED(GRACE_RUNS_ON) && !job->grace_again &&
        somebody_comes(c)) { /* the loop may have stood still, unnoticed */
        job->grace_again = true;
        timer_set(c, &job->grace_timer, c->now + job->graph->checkpointing.heartbeat_ms * MS);
        return;
    }
    for (struct worker *w = job->workers; w; w = w->next)
        if (w->standing == STANDS_HOLDING && (!w->back || !w->session) &&
            at + w->name.len + 3 < sizeof names)
            at += (size_t)snprintf(names + at, sizeof names - at, "%s%.*s", at ? ", " : "",
                                   (int)w->name.len, (const char *)w->name.data);
    char *why = core_printf("not back within %u ms after the daemon's restart: %s",
                            job->graph->checkpointing.grace_ms, names);
    attempt_end(c, job, why);
    free(why);
}

static char *late_words(const struct job *job)
{
    char names[300] = "";
    size_t at = 0;
    uint32_t left = 0, part, ms = job->graph->checkpointing.restore_deadline_ms;
    if (job->state == TIDE_JOB_STOPPING && !job->attempt_open)
        return core_printf("nobody came within %u ms to carry out the commits still owed", ms);
    if (job->deliver_only)
        return core_printf("the commits still owed were not confirmed within %u ms", ms);
    for (uint32_t t = 0; t < job->graph->tasks; t++) {
        uint32_t subtask;
        if (bits_get(&job->restored, t)) continue;
        const struct tide_operator *op = tide_graph_operator(job->graph, t, &subtask);
        if (left++ < 5 && at + op->uid.len + 16 < sizeof names)
            at += (size_t)snprintf(names + at, sizeof names - at, " %.*s[%u]", (int)op->uid.len,
                                   (const char *)op->uid.data, subtask);
    }
    const struct worker *behind = region_behind(job);
    if (!left && behind)
        return core_printf("worker %.*s, whose region goes on, had not advanced within %u ms",
                           (int)behind->name.len, (const char *)behind->name.data, ms);
    if (!left && external_not_restored(job, &part))
        return core_printf("%s had not restored within %u ms",
                           external_words(&job->graph->externals[part]).text, ms);
    return core_printf("%u tasks had not restored within %u ms:%s%s", left, ms, names,
                       left > 5 ? " ..." : "");
}

static void restore_late(struct core *c, void *arg)
{
    struct job *job = arg;
    if (c->shutting_down) return;
    char *why = late_words(job);
    bool stopping = job->state == TIDE_JOB_STOPPING;
    attempt_fail(c, job, NULL, why);
    if (stopping) stop_failed(c, job, why);
    free(why);
}

/* As at the end of the grace time: once, a worker that has no connection gets the time that a
 * Join takes when somebody has just come. */
static bool may_be_coming(struct core *c, struct worker *w)
{
    if (PLANTED(GRACE_RUNS_ON) || w->session || w->lease_prolonged || !somebody_comes(c))
        return false;
    w->lease_prolonged = true;
    w->lease_until = c->now + w->job->graph->checkpointing.heartbeat_ms * MS;
    return true;
}

static void lease_over(struct core *c, void *arg)
{
    struct job *job = arg;
    if (c->shutting_down) return; /* the next daemon renews them all */
    for (struct worker *w = job->workers, *next; w; w = next) {
        next = w->next;
        if (w->standing != STANDS_PARKED && w->lease_until <= c->now) {
            if (may_be_coming(c, w)) continue;
            worker_lost(c, w,
                        w->standing == STANDS_REWINDING
                            ? "it did not drop its attempt before its lease was over"
                            : "its lease is over");
            next = job->workers; /* others may have gone with it */
        }
    }
    lease_arm(c, job);
}

void attempt_timers_init(struct job *job)
{
    job->start_timer = (struct timer){.fire = start_due, .arg = job};
    job->grace_timer = (struct timer){.fire = grace_over, .arg = job};
    job->restore_timer = (struct timer){.fire = restore_late, .arg = job};
    job->lease_timer = (struct timer){.fire = lease_over, .arg = job};
}
