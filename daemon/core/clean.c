/* What may be deleted, and when.
 *
 * A checkpoint that newer ones put out of use goes from retained to deleting in the commit of the
 * one that does so; only when that is durable are its bytes deleted, and only when they are gone
 * does its row say deleted. What aborted rounds left is swept once a later round has completed or a
 * later attempt has started. One deletion per job is under way at a time; one that fails waits,
 * longer each time, and holds up no other. A savepoint goes the same way when its user has asked
 * for it (dispose.c), and never otherwise; nor does a snapshot whose commits are still owed. Of one
 * that was imported the row alone goes: its bytes were never ours. */
#include <stdio.h>

#include "daemon/core/internal.h"
#include "storage/retention.h"

#define RETRY_MIN_US (1000 * MS)
#define RETRY_MAX_US (60000 * MS)

static void add(struct job *job, struct trash *t)
{
    struct trash **end = &job->trash;
    while (*end)
        end = &(*end)->next;
    *end = t;
}

void clean_add_snapshot(struct job *job, const struct snapshot *s)
{
    struct trash *t = core_alloc(sizeof *t);
    *t = (struct trash){.round = s->round,
                        .attempt = s->attempt,
                        .snapshot = true,
                        .shares = s->shared != 0,
                        .leave = s->imported,
                        .directory = core_printf("%s", s->directory)};
    add(job, t);
}

static struct tide_holder *copy_holders(const struct tide_holder *from, uint32_t n)
{
    struct tide_holder *to = n ? core_alloc(n * sizeof *to) : NULL;
    for (uint32_t i = 0; i < n; i++) {
        to[i] = from[i];
        to[i].uid = core_copy(from[i].uid);
        to[i].worker = core_copy(from[i].worker);
        to[i].phase = core_copy(from[i].phase);
    }
    return to;
}

static void free_holders(struct trash *t)
{
    for (uint32_t i = 0; i < t->facts.n_holders; i++) {
        free((void *)(uintptr_t)t->holders[i].uid.data);
        free((void *)(uintptr_t)t->holders[i].worker.data);
        free((void *)(uintptr_t)t->holders[i].phase.data);
    }
    free(t->holders);
    t->holders = NULL;
    t->facts.holders = NULL;
    t->facts.n_holders = 0;
}

void clean_add_round(struct job *job, const struct tide_record_round *facts, bool recorded,
                     bool recording)
{
    struct trash *t = core_alloc(sizeof *t);
    *t = (struct trash){.round = facts->number,
                        .attempt = facts->attempt,
                        .facts = *facts,
                        .recorded = recorded,
                        .recording = recording,
                        .later = job->core->next_id,
                        .directory = core_text(facts->directory)};
    t->facts.directory = VIEW(t->directory);
    t->facts.reason = core_copy(facts->reason);
    /* needed once more if the store does not take the record at first */
    t->facts.holders = t->holders = copy_holders(facts->holders, facts->n_holders);
    add(job, t);
}

static void free_trash(struct trash *t)
{
    bits_release(&t->acked);
    free_holders(t);
    free((void *)(uintptr_t)t->facts.reason.data);
    free(t->directory);
    free(t);
}

void clean_free(struct job *job)
{
    while (job->trash) {
        struct trash *t = job->trash;
        job->trash = t->next;
        free_trash(t);
    }
}

/* An orphan is collected only where the store says that its round has aborted. */
static struct tide_record *put_facts(struct tide_commit *commit, const struct job *job,
                                     const struct trash *t)
{
    struct tide_record *r = tide_commit_add(commit, TIDE_REC_ROUND_END, job->id);
    core_assert(r != NULL);
    r->round = t->facts;
    r->round.directory = tide_commit_bytes(commit, t->facts.directory);
    r->round.reason = tide_commit_bytes(commit, t->facts.reason);
    struct tide_holder *holders =
        tide_arena_alloc(&commit->arena, (t->facts.n_holders + 1) * sizeof *holders);
    core_assert(holders != NULL);
    for (uint32_t i = 0; i < t->facts.n_holders; i++) {
        holders[i] = t->holders[i];
        holders[i].uid = tide_commit_bytes(commit, t->holders[i].uid);
        holders[i].worker = tide_commit_bytes(commit, t->holders[i].worker);
        holders[i].phase = tide_commit_bytes(commit, t->holders[i].phase);
    }
    r->round.holders = holders;
    return r;
}

void clean_keep_acked(struct job *job, uint64_t round, struct bits *acked)
{
    struct trash *t = clean_aborted(job, round);
    core_assert(t != NULL);
    t->acked = *acked;
    *acked = (struct bits){0};
}

struct trash *clean_aborted(const struct job *job, uint64_t round)
{
    struct trash *t = job->trash;
    while (t && (t->snapshot || t->round != round))
        t = t->next;
    return t;
}

void clean_figures(struct core *c, struct job *job, const struct trash *t)
{
    struct tide_commit *commit = tide_commit_new(false);
    core_assert(commit != NULL);
    put_facts(commit, job, t);
    core_assert(commit->rc == 0);
    ride_commit(c, commit);
}

static void record(struct core *c, struct job *job, struct trash *t)
{
    struct tide_commit *commit = tide_commit_new(true);
    core_assert(commit != NULL);
    struct tide_record *r = put_facts(commit, job, t);
    core_assert(commit->rc == 0);
    if (!r->round.ended_wall) r->round.ended_wall = t->facts.ended_wall = c->wall;
    t->recording = true;
    ask_commit(c, commit, ASKED_ABORTED, job, t->round);
}

void clean_later(struct core *c, struct job *job)
{
    for (struct trash *t = job->trash; t; t = t->next)
        if (!t->snapshot && t->attempt == job->attempt)
            t->not_before = c->now + job->graph->checkpointing.lease_ms * MS;
}

void clean_leave(struct job *job, uint64_t round)
{
    for (struct trash *t = job->trash; t; t = t->next)
        if (t->round == round && !t->snapshot) t->leave = true;
}

void clean_recorded(struct core *c, struct job *job, uint64_t round, enum tide_outcome outcome)
{
    for (struct trash *t = job->trash; t; t = t->next) {
        if (t->round != round || t->snapshot) continue;
        t->recording = false;
        t->recorded = outcome == TIDE_STORED;
        if (t->recorded) free_holders(t);
        if (!t->recorded) t->not_before = c->now + RETRY_MIN_US;
    }
    clean_pump(c, job);
}

/* An aborted round's workers may be writing still, until they have gone on to a round that began
 * after its end or have lost the attempt. */
static bool eligible(const struct job *job, const struct trash *t)
{
    if (t->busy) return false;
    if (t->snapshot) return true;
    if (!t->recorded || PLANTED(NEVER_SWEPT)) return false;
    if (tide_job_ended(job->state)) return true;
    bool started = job->attempt_open && job->starting == START_NOT;
    return job->last_complete >= t->later || (started && region_oldest(job) > t->attempt);
}

void clean_pump(struct core *c, struct job *job)
{
    uint64_t first = NEVER;
    share_pump(c, job);
    for (struct trash *t = job->trash; t; t = t->next) {
        if (t->snapshot || t->recorded || t->recording) continue;
        if (t->not_before <= c->now)
            record(c, job, t);
        else if (t->not_before < first)
            first = t->not_before;
    }
    for (struct trash *t = job->deleting ? NULL : job->trash; t; t = t->next) {
        if (!eligible(job, t)) continue;
        if (t->leave) { /* nothing of it lies anywhere */
            t->busy = true;
            clean_answer(c, job, t->round, 0, NULL);
            return;
        }
        if (t->not_before > c->now) {
            if (t->not_before < first) first = t->not_before;
            continue;
        }
        t->busy = job->deleting = true;
        ask_file(c, t->shares ? FILE_DELETE_OWN : FILE_DELETE_ROUND, t->directory, ASKED_DELETE,
                 job, t->round);
        return;
    }
    timer_set(c, &job->clean_timer, first);
}

static void forget_snapshot(struct job *job, uint64_t round)
{
    for (struct snapshot **at = &job->snapshots; *at; at = &(*at)->next) {
        struct snapshot *s = *at;
        if (s->round != round) continue;
        if (job->gauges.last_checkpoint_external_path.data == (uint8_t *)s->directory)
            job->gauges.last_checkpoint_external_path = (ProtobufCBinaryData){0};
        *at = s->next;
        if (s->kind == TIDE_SAVEPOINT && !s->imported && s->attempt >= region_oldest(job))
            notify_remember(job, s->round, s->commits);
        free(s->directory);
        free((void *)(uintptr_t)s->ended.data);
        free(s);
        return;
    }
}

static void record_gone(struct core *c, struct job *job, const struct trash *t)
{
    struct tide_commit *commit = tide_commit_new(false);
    core_assert(commit != NULL);
    struct tide_record *r = tide_commit_add(
        commit, t->snapshot ? TIDE_REC_SNAPSHOT_STATE : TIDE_REC_ROUND_SWEPT, job->id);
    core_assert(r != NULL);
    if (t->snapshot) {
        r->snapshot_state.round = t->round;
        r->snapshot_state.state = TIDE_DELETED;
        r->snapshot_state.wall = c->wall;
    } else {
        r->swept.number = t->round;
    }
    if (t->snapshot) dispose_gone(c, job, t->round, commit);
    ride_commit(c, commit);
}

/* The attempt's directory goes when nothing is left in it; the lane leaves one that is not empty.
 */
static void delete_attempt(struct core *c, struct job *job, const struct trash *t)
{
    const char *slash = strrchr(t->directory, '/');
    if (t->leave || t->attempt >= job->attempt || !slash ||
        strncmp(t->directory, c->config.state_root, strlen(c->config.state_root)) != 0)
        return;
    char *parent = core_printf("%.*s", (int)(slash - t->directory), t->directory);
    ask_file(c, FILE_DELETE_ATTEMPT, parent, ASKED_DELETE_ATTEMPT, job, t->attempt);
    free(parent);
}

void clean_answer(struct core *c, struct job *job, uint64_t round, int rc, const char *text)
{
    struct trash **at = &job->trash;
    while (*at && !((*at)->round == round && (*at)->busy))
        at = &(*at)->next;
    core_assert(*at != NULL);
    struct trash *t = *at;
    t->busy = job->deleting = false;
    if (rc == 0) {
        record_gone(c, job, t);
        delete_attempt(c, job, t);
        if (t->snapshot) forget_snapshot(job, t->round);
        *at = t->next;
        free_trash(t);
    } else {
        uint64_t delay = RETRY_MIN_US << (t->tries < 6 ? t->tries : 6);
        t->tries++;
        t->not_before = c->now + (delay < RETRY_MAX_US ? delay : RETRY_MAX_US);
        c->delete_failures++;
        core_log(c, LEVEL_WARN, about_job(job), "job %s: %s could not be deleted (try %u): %s",
                 job->name, t->directory, t->tries, text);
    }
    clean_pump(c, job);
    trigger_pump(c, job); /* it may have waited for this */
}

static bool is_owed(const struct job *job, uint64_t round)
{
    for (const struct owed *o = job->owed; o; o = o->next)
        if (o->round == round) return true;
    return false;
}

static bool is_the_systems(const struct snapshot *s)
{
    return s->kind == TIDE_CHECKPOINT && s->state == TIDE_RETAINED && !s->imported;
}

/* The job's checkpoints with the one that completes now, by number; malloc'ed. */
static struct tide_kept *judge(struct core *c, const struct job *job, const struct round *r,
                               size_t *ret_n)
{
    struct tide_retention policy = tide_retention_of(&job->graph->checkpointing);
    size_t n = 1, at = 0;
    for (const struct snapshot *s = job->snapshots; s; s = s->next)
        n += is_the_systems(s);
    struct tide_kept *k = core_alloc(n * sizeof *k);
    for (const struct snapshot *s = job->snapshots; s; s = s->next)
        if (is_the_systems(s))
            k[at++] =
                (struct tide_kept){.snapshot = s->round,
                                   .completed_wall = s->completed_wall,
                                   .bytes = s->bytes,
                                   .owed = is_owed(job, s->round) || export_wants(job, s->round)};
    k[at] = (struct tide_kept){.snapshot = r->number, .completed_wall = c->wall, .bytes = r->bytes};
    tide_retention_judge(&policy, c->wall, k, n);
    *ret_n = n;
    return k;
}

void clean_subsume(struct core *c, const struct round *r, struct tide_commit *commit)
{
    struct job *job = r->job;
    size_t n;
    struct tide_kept *kept = judge(c, job, r, &n), *k = kept;
    for (struct snapshot *s = job->snapshots; s; s = s->next) {
        if (!is_the_systems(s) || k++->stays) continue;
        struct tide_record *rec = tide_commit_add(commit, TIDE_REC_SNAPSHOT_STATE, job->id);
        core_assert(rec != NULL);
        rec->snapshot_state.round = s->round;
        rec->snapshot_state.state = TIDE_DELETING;
        rec->snapshot_state.wall = c->wall;
        s->subsuming = true;
        if (PLANTED(DELETE_EARLY)) {
            clean_add_snapshot(job, s);
            clean_pump(c, job);
        }
    }
    free(kept);
}

void clean_subsumed(struct job *job)
{
    for (struct snapshot *s = job->snapshots; s; s = s->next) {
        if (!s->subsuming) continue;
        s->subsuming = false;
        s->state = TIDE_DELETING;
        if (s->round > job->subsumed) job->subsumed = s->round;
        share_changed(job);
        if (!PLANTED(DELETE_EARLY)) clean_add_snapshot(job, s);
    }
}

uint64_t clean_backlog(const struct core *c)
{
    uint64_t n = 0;
    for (const struct job *job = c->jobs; job; job = job->next) {
        n += share_backlog(job);
        for (const struct trash *t = job->trash; t; t = t->next)
            n++;
    }
    return n;
}

uint32_t clean_deleting(const struct job *job)
{
    uint32_t n = 0;
    for (const struct trash *t = job->trash; t; t = t->next)
        n += t->snapshot && (!t->tries || PLANTED(STARVE));
    return n;
}

static void try_again(struct core *c, void *arg)
{
    clean_pump(c, arg);
}

void clean_init(struct job *job)
{
    job->clean_timer = (struct timer){.fire = try_again, .arg = job};
}
