/* The beginning of an attempt: all that comes before its Starts are sent.
 *
 * The usual way: every task is hosted by a READY worker and nobody holds an older attempt; the
 * manifest of the newest checkpoint is loaded; the attempt's row and directory are made, both
 * before the first Start.
 *
 * What can go wrong: somebody goes, or a newer checkpoint completes, while the manifest is being
 * loaded: from the start. What is to be restored cannot be read, or its files are not there: the
 * job is HELD, rather than failing in one attempt after the other. The row or the directory cannot
 * be made: the attempt has failed, and the next try waits. */
#include <stdio.h>

#include "daemon/core/internal.h"

#define BACKOFF_MIN_US (100 * MS)
#define BACKOFF_MAX_US (10000 * MS)
#define LOOK_AFTER 2u /* attempts that failed in a row */

void attempt_drop_image(struct job *job)
{
    free(job->image);
    job->image = NULL;
    job->image_len = 0;
}

static uint32_t surviving_tasks(const struct job *job)
{
    uint32_t n = 0;
    for (const struct worker *w = job->gap ? job->workers : NULL; w; w = w->next)
        if (region_survives(w)) n += w->tasks;
    return n;
}

static bool all_here(const struct job *job)
{
    uint32_t part;
    if (job->state != TIDE_JOB_STOPPING)
        return job->ready_tasks + surviving_tasks(job) == job->graph->tasks &&
               !external_missing(job, STANDS_READY, &part);
    for (const struct owed *o = job->owed; o; o = o->next)
        if (!job->host[o->task] || job->host[o->task]->standing != STANDS_READY) return false;
    return true;
}

static void record_attempt(struct core *c, struct job *job, struct tide_commit *commit)
{
    for (const struct attempt_end *e = job->ends; e; e = e->next)
        attempt_record_end(job, commit, e);
    struct tide_record *r = tide_commit_add(commit, TIDE_REC_ATTEMPT, job->id);
    struct tide_member *members =
        tide_arena_zalloc(&commit->arena, (job->n_workers + 1) * sizeof *members);
    core_assert(r && members);
    r->attempt.attempt = job->attempt;
    r->attempt.incarnation = job->attempt_incarnation;
    r->attempt.external = job->external;
    r->attempt.restored_from = job->restored_from;
    r->attempt.begun_wall = c->wall;
    r->attempt.directory = tide_commit_bytes(commit, VIEW(job->directory));
    r->attempt.members = members;
    for (struct worker *w = job->workers; w; w = w->next) {
        if (w->standing != STANDS_READY && !(job->gap && region_survives(w))) continue;
        struct tide_member *m = &members[r->attempt.n_members++];
        if (w->standing != STANDS_READY) m->since = w->since;
        m->worker = tide_commit_bytes(commit, w->name);
        m->endpoint = tide_commit_bytes(commit, w->endpoint);
        m->boot_id = tide_commit_bytes(commit, w->boot_id);
        m->pid = w->pid;
        m->start_time = w->start_time;
        m->ranges =
            tide_arena_copy(&commit->arena, w->ranges, (size_t)w->n_ranges * 2 * sizeof *w->ranges);
        m->n_ranges = w->n_ranges;
        core_assert(m->ranges != NULL);
    }
}

/* Everything that a Start needs is known but for its row and directory: make both. */
static void store_attempt(struct core *c, struct job *job)
{
    job->starting = START_STORING;
    job->attempt++;
    if (!job->gap) notify_forget(job);
    job->attempt_open = true;
    job->attempt_stored = job->attempt_dir_made = job->run_asked = job->attempt_refused = false;
    job->deliver_only = job->state == TIDE_JOB_STOPPING;
    job->attempt_incarnation = c->incarnation;
    job->attempt_nonce = c->nonce;
    c->external = (c->external > c->wall ? c->external : c->wall) + 1;
    if (PLANTED(EXTERNAL_AGAIN) && job->external) c->external = job->external;
    job->external = c->external;
    free(job->directory);
    job->directory = core_printf("%s/%s/a%" PRIu64 "-%" PRIu64, c->config.state_root, job->name,
                                 c->incarnation, job->attempt);
    bits_clear(&job->restored);
    if (job->gap) region_put(job, &job->restored);
    external_begin_attempt(job);
    region_drop(job, &job->backlog);
    job->gauges.failures_in_a_row = 0;

    struct tide_commit *commit = tide_commit_new(true);
    core_assert(commit != NULL);
    record_attempt(c, job, commit);
    /* what its Start does not name as owed must not be owed when it is adopted later */
    record_strikes(job, commit);
    if (!job->deliver_only) job_record_state(c, commit, job, TIDE_JOB_RESTORING);
    core_assert(commit->rc == 0);
    for (struct worker *w = job->workers; w; w = w->next) {
        if (w->standing != STANDS_READY) continue;
        worker_stand(w, STANDS_HOLDING);
        w->attempt = w->since = w->shown = job->attempt;
        region_started(w);
        w->ran = 0;
        w->phase = TIDE__WORKER_PHASE__PHASE_STARTING;
        w->started = false;
        w->told_complete = 0;
        w->n_open = 0;
        worker_renew(c, w);
    }
    ask_commit(c, commit, ASKED_ATTEMPT, job, job->attempt);
    ask_file(c, FILE_MKDIR, job->directory, ASKED_ATTEMPT_DIR, job, job->attempt);
}

static void load(struct core *c, struct job *job, uint64_t round)
{
    uint64_t tag = ask(c, ASKED_MANIFEST, job, round);
    struct action *x = act(c, ACT_LOAD);
    x->round = round;
    x->tag = tag;
}

/* In STOPPING, those to whom something is owed have as long to come as a restore may take. */
static void await_delivery(struct core *c, struct job *job)
{
    if (job->state != TIDE_JOB_STOPPING || job->restore_timer.place) return;
    timer_set(c, &job->restore_timer, c->now + job->graph->checkpointing.restore_deadline_ms * MS);
}

static const struct snapshot *to_restore(const struct job *job)
{
    const struct snapshot *point = job_recovery_point(job), *older = NULL;
    if (PLANTED(RESTORE_OLDER) && point) {
        for (const struct snapshot *s = job->snapshots; s != point; s = s->next)
            if (s->commits && s->state == TIDE_RETAINED) older = s;
        return older ? older : point;
    }
    return point;
}

static void hold_without(struct core *c, struct job *job)
{
    char *cause = core_printf("the store knows nothing of snapshot %" PRIu64
                              ", which an admin has ordered to restore",
                              job->base.snapshot);
    job_hold(c, job, cause);
    free(cause);
}

void attempt_try(struct core *c, struct job *job)
{
    if (c->shutting_down || !job->durable || job->starting || job->end_asked ||
        (job->attempt_open && !job->gap))
        return;
    if (job->state != TIDE_JOB_WAITING && job->state != TIDE_JOB_STOPPING) return;
    if (job->choice) return; /* an admin's order decides what to restore */
    if (job->rounds) return; /* its commit decides what to restore */
    if (job->state == TIDE_JOB_STOPPING && !job->owed) {
        job_finish(c, job);
        return;
    }
    if (job->n_holders != region_survivors(job) || !all_here(job)) {
        await_delivery(c, job);
        return;
    }
    if (c->now < job->let_go_us) {
        timer_set(c, &job->start_timer, job->let_go_us);
        return;
    }
    if (c->now < job->not_before) {
        timer_set(c, &job->start_timer, job->not_before);
        return;
    }
    const struct snapshot *from = to_restore(job);
    if (!from && job->base.snapshot) { /* never nothing in its stead */
        hold_without(c, job);
        return;
    }
    job->restored_from = from ? from->round : 0;
    if (!from || job->state == TIDE_JOB_STOPPING) {
        store_attempt(c, job);
        return;
    }
    job->starting = START_LOADING;
    if (from->imported)
        ask_file(c, FILE_META_READ, from->directory, ASKED_RESTORE_BYTES, job, from->round);
    else if (from->kind == TIDE_SAVEPOINT)
        ask_file(c, FILE_META_PUBLISH, from->directory, ASKED_RESTORE_PUBLISH, job, from->round);
    else
        load(c, job, from->round);
}

void attempt_failed(struct job *job, const char *why)
{
    char *kept = why ? core_printf("%s", why) : NULL;
    job->failed_attempts = why ? job->failed_attempts + 1 : 0;
    free(job->last_failure);
    job->last_failure = kept;
}

/* What it was to restore cannot be looked at: another try may find it well. */
static void cannot_read(struct core *c, struct job *job, const char *why)
{
    core_log(c, LEVEL_ERROR, about_job(job), "job %s: %s", job->name, why);
    attempt_failed(job, why);
    attempt_try_again_later(c, job);
}

void attempt_try_again_later(struct core *c, struct job *job)
{
    uint32_t n = job->failed_attempts < 7 ? job->failed_attempts : 7;
    uint64_t delay = BACKOFF_MIN_US << n;
    if (delay > BACKOFF_MAX_US) delay = BACKOFF_MAX_US;
    job->not_before = c->now + delay / 2 + core_random_below(c, delay / 2);
    timer_set(c, &job->start_timer, job->not_before);
}

/* What is its user's may have been moved, or changed: it is looked at as a whole before anybody is
 * told to restore it. What is missing there will not come by itself: the job is HELD rather than
 * failing in one attempt after the other. */
void attempt_bytes(struct core *c, struct job *job, uint64_t round, int rc, const char *text)
{
    const struct snapshot *from = job_snapshot(job, round);
    if (job->starting != START_LOADING || job->restored_from != round) return;
    if (rc == 0 && !job->end_asked) {
        load(c, job, round);
        return;
    }
    job->starting = START_NOT;
    if (from && (rc == TIDE_ENOTFOUND || rc == TIDE_ECORRUPT || rc == TIDE_EVERSION)) {
        char *cause =
            core_printf("the job goes on from %s %" PRIu64 ", which is not in %s any more: %s",
                        tide_kind_name(from->kind), round, from->directory, text);
        job_hold(c, job, cause);
        free(cause);
    } else if (rc) {
        char *why = core_printf("the _metadata of snapshot %" PRIu64 " cannot be looked at: %s",
                                round, text);
        cannot_read(c, job, why);
        free(why);
    }
}

/* The _metadata of a savepoint of our own is in its place, which it may not have been after a
 * crash.
 */
void attempt_published(struct core *c, struct job *job, uint64_t round, int rc, const char *text)
{
    const struct snapshot *from = job_snapshot(job, round);
    if (rc || !from || job->starting != START_LOADING || job->restored_from != round)
        attempt_bytes(c, job, round, rc, text);
    else
        ask_file(c, FILE_META_READ, from->directory, ASKED_RESTORE_BYTES, job, round);
}

/* What was to be restored when its manifest was asked for may still be; false: it was begun again.
 */
static bool still_wanted(struct core *c, struct job *job)
{
    /* a worker may have gone, or a newer checkpoint may be there */
    const struct snapshot *from = to_restore(job);
    if (job->n_holders == region_survivors(job) && all_here(job) && !job->rounds && !job->choice &&
        from && from->round == job->restored_from)
        return true;
    attempt_drop_image(job);
    attempt_try(c, job);
    return false;
}

/* Attempts have failed, for whatever reason: if files of the checkpoint are missing they all will.
 */
static void look_at_files(struct core *c, struct job *job, const struct snapshot *from)
{
    job->starting = START_LOADING;
    ask_file(c, FILE_LOOK, from->directory, ASKED_RESTORE_LOOK, job, from->round);
    struct action *x = &c->todo->items[c->todo->n - 1];
    x->image = core_alloc(job->image_len);
    memcpy(x->image, job->image, job->image_len);
    x->image_len = job->image_len;
}

void attempt_manifest(struct core *c, struct job *job, const struct event *ev)
{
    if (job->starting != START_LOADING) return;
    job->starting = START_NOT;
    if (job->end_asked || job->state != TIDE_JOB_WAITING) return;
    if (ev->rc != 0) {
        char *why = core_printf("the manifest of snapshot %" PRIu64 " cannot be read: %s",
                                job->restored_from, ev->text);
        if (ev->rc == TIDE_ECORRUPT || ev->rc == TIDE_ENOTFOUND)
            job_hold(c, job, why);
        else
            cannot_read(c, job, why);
        free(why);
        return;
    }
    if (!still_wanted(c, job)) return;
    attempt_drop_image(job);
    job->image = core_alloc(ev->bytes.len);
    memcpy(job->image, ev->bytes.data, ev->bytes.len);
    job->image_len = ev->bytes.len;
    const struct snapshot *from = job_snapshot(job, job->restored_from);
    if (from->kind == TIDE_CHECKPOINT && !from->imported && job->failed_attempts >= LOOK_AFTER)
        look_at_files(c, job, from); /* others are looked at in any case */
    else
        store_attempt(c, job);
}

void attempt_looked(struct core *c, struct job *job, uint64_t round, int rc, const char *text)
{
    if (job->starting != START_LOADING || job->restored_from != round || !job->image) return;
    job->starting = START_NOT;
    if (job->end_asked || job->state != TIDE_JOB_WAITING) {
        attempt_drop_image(job);
        return;
    }
    if (!still_wanted(c, job)) return;
    if (rc == TIDE_ENOTFOUND || rc == TIDE_ECORRUPT) {
        char *cause = core_printf("the job goes on from checkpoint %" PRIu64
                                  ", which is not whole any more: %s",
                                  round, text);
        attempt_drop_image(job);
        job_hold(c, job, cause);
        free(cause);
        return;
    }
    store_attempt(c, job); /* what could not be looked at may yet be there for the workers */
}

static void send_starts(struct core *c, struct job *job)
{
    for (struct worker *w = job->workers; w; w = w->next) {
        if (w->standing != STANDS_HOLDING || w->session || (job->gap && region_survives(w)))
            continue;
        char *why = core_printf("worker %.*s went away before it was started", (int)w->name.len,
                                (const char *)w->name.data);
        attempt_fail(c, job, w, why);
        free(why);
        return;
    }
    struct tide_manifest m;
    struct match match = {0};
    char why[256];
    int rc = job->image
                 ? tide_manifest_open(&m, (struct tide_bytes){job->image, job->image_len}, why)
                 : 0;
    if (job->image && !rc) {
        struct match_wish wish = {.unmatched = job->base.unmatched, .again = true};
        rc = match_new(&match, job->graph, &m, &wish, why);
        if (rc) tide_manifest_close(&m);
    }
    if (rc) {
        char *cause =
            core_printf(rc == TIDE_EINVAL ? "snapshot %" PRIu64 " cannot be restored: %s"
                                          : "the manifest of snapshot %" PRIu64 " is damaged: %s",
                        job->restored_from, why);
        attempt_end(c, job, cause);
        job_hold(c, job, cause);
        free(cause);
        attempt_drop_image(job);
        return;
    }
    region_drop(job, &job->ending);
    if (!job->deliver_only) region_drop(job, &job->ended);
    if (job->image) match_ended(&match, m.head, &job->ended); /* they stay so */
    bool fits = region_keep_hooks(c, job, job->image ? m.head : NULL);
    char *too_much = fits ? restore_send_starts(c, job, job->image ? &m : NULL, &match) : NULL;
    if (job->image) {
        tide_manifest_close(&m);
        match_release(&match);
    }
    bool restores = job->image != NULL;
    attempt_drop_image(job);
    job->starting = START_NOT;
    if (!fits) {
        attempt_end(c, job, "what an Advance would have to say is longer than a frame");
        return;
    }
    if (too_much) {
        attempt_end(c, job, too_much);
        job_hold(c, job, too_much); /* the next would be told as much */
        free(too_much);
        return;
    }
    if (restores) {
        job->gauges.last_checkpoint_restore_timestamp = (int64_t)(c->wall / MS);
        job->gauges.number_of_restored_checkpoints++;
    }
    for (struct worker *w = job->workers; w; w = w->next)
        if (w->standing == STANDS_HOLDING && !w->started) {
            w->started = true;
            worker_renew(c, w);
        }
    region_advance_all(c, job);
    timer_set(c, &job->restore_timer, c->now + job->graph->checkpointing.restore_deadline_ms * MS);
    core_log(c, LEVEL_INFO, about_job(job), "job %s: attempt %" PRIu64 " starts %s %" PRIu64,
             job->name, job->attempt,
             job->deliver_only ? "to deliver what is owed, after" : "from snapshot",
             job->restored_from);
}

void attempt_stored(struct core *c, struct job *job, uint64_t attempt, enum tide_outcome outcome,
                    const char *text)
{
    attempt_settle_ends(job, attempt, outcome == TIDE_STORED);
    if (attempt != job->attempt) return;
    /* there is no row to end, also for who ends what a region's failure has left of it */
    if (outcome != TIDE_STORED) job->attempt_refused = true;
    if (job->starting != START_STORING || job->end_asked) return;
    if (outcome != TIDE_STORED) {
        char *why = core_printf("its row could not be stored: %s", text);
        attempt_fail(c, job, NULL, why);
        free(why);
        return;
    }
    if (job->state == TIDE_JOB_HELD) { /* meanwhile: nothing begins */
        attempt_end(c, job, job->cause);
        return;
    }
    if (!job->deliver_only) job_move(job, TIDE_JOB_RESTORING);
    job->attempt_stored = true;
    if (job->attempt_dir_made) send_starts(c, job);
}

void attempt_dir_made(struct core *c, struct job *job, uint64_t attempt, int rc, const char *text)
{
    if (attempt != job->attempt || job->starting != START_STORING || job->end_asked) return;
    if (rc) {
        char *why = core_printf("its directory could not be made: %s", text);
        attempt_fail(c, job, NULL, why);
        free(why);
        return;
    }
    if (job->state == TIDE_JOB_HELD) {
        attempt_end(c, job, job->cause);
        return;
    }
    job->attempt_dir_made = true;
    if (job->attempt_stored) send_starts(c, job);
}
