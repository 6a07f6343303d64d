/* See lib_history.h. In the order of the ten sentences, as far as they can be seen in a log:
 *
 *  1  a round completes with an ack of each member's task, each once; a lost worker aborts it
 *  2  told when durable, to all, until confirmed; no restore behind published effects
 *  3  by its deadline each round has ended; an abort names who held it
 *  4  no id twice
 *  5  a lost worker contributes nothing; no two attempts hold the world at once
 *  6  the daemon's death alone ends no attempt
 *  7  what can be restored is never deleted, everything else is; rows outlive bytes
 *  8  savepoints belong to their users
 *  9  a job without trouble of its own keeps its rounds, whatever others have
 * 10  (bad input: the simulator's strangers, and tests/fuzz and tests/conform)
 *
 * and after the faults: live. */
#include "tests/sim/lib_history.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JOBS 8u
#define TASKS 64u
#define MEMBERS 16u
#define SLACK 60000u /* us by which a deadline may be seen to be missed */

struct h_round {
    uint64_t number, attempt, incarnation, begun, deadline, durable_at, handed_at, out_of_use_at;
    uint64_t said;                                 /* of what the round asks for at the moment */
    uint64_t acked, heard, confirmed, tasks, ends; /* ends: ended once it is restored */
    uint32_t job, life, acker[TASKS];
    bool past, savepoint, handed, complete, aborted, told_complete, told_abort, over;
    bool written, gone, stuck, deleting, deleted, ordered;
};

struct h_attempt {
    uint64_t number, incarnation, external, tasks;
    uint32_t job, n_members;
    bool past, over, running;
    struct {
        uint32_t worker;
        uint64_t tasks, since; /* since 0: it was started for this attempt */
    } members[MEMBERS];
};

struct h_worker {
    uint64_t lease_until, attempt;
    uint32_t job;
    bool holds, stale;
};

struct h_job {
    uint64_t tasks, ended, most_apart, newest_effect, newest_attempt, started;
    uint64_t last_snapshot; /* when; 0: none since it last ran */
    uint64_t fine_at, fine_by;
    uint64_t known_from; /* what the newest attempt of an old copy has restored */
    bool trouble, held, over, lived;
    bool ordered;          /* the next attempt has to restore ... */
    uint64_t ordered_from; /* ... this one, whatever was published since */
};

struct history {
    struct h_job jobs[JOBS];
    struct h_round *rounds;
    struct h_attempt *attempts;
    struct h_worker *workers;
    uint32_t n_rounds, cap_rounds, n_attempts, cap_attempts, n_workers, cap_workers;
    uint64_t incarnation, highest_incarnation, highest_external, up_at, away_until, now;
    uint32_t life;
    bool up, weather;
    char wrong[400];
};

/* ---- plumbing */

struct history *history_new(void)
{
    return calloc(1, sizeof(struct history));
}

void history_free(struct history *h)
{
    if (!h) return;
    free(h->rounds);
    free(h->attempts);
    free(h->workers);
    free(h);
}

void history_begin(struct history *h)
{
    struct history keep = {.rounds = h->rounds,
                           .cap_rounds = h->cap_rounds,
                           .attempts = h->attempts,
                           .cap_attempts = h->cap_attempts,
                           .workers = h->workers,
                           .cap_workers = h->cap_workers};
    *h = keep;
}

__attribute__((format(printf, 2, 3))) static const char *wrong(struct history *h,
                                                               const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(h->wrong, sizeof h->wrong, format, args);
    va_end(args);
    return h->wrong;
}

static void *grow(void *array, uint32_t n, uint32_t *cap, size_t item)
{
    if (n < *cap) return array;
    *cap = *cap ? 2 * *cap : 64;
    array = realloc(array, *cap * item);
    if (!array) abort();
    return array;
}

static struct h_round *round_of(struct history *h, uint32_t job, uint64_t number)
{
    for (uint32_t i = h->n_rounds; i--;)
        if (h->rounds[i].number == number && h->rounds[i].job == job && !h->rounds[i].past)
            return &h->rounds[i];
    return NULL;
}

static struct h_round *round_add(struct history *h, const struct happening *e)
{
    h->rounds = grow(h->rounds, h->n_rounds, &h->cap_rounds, sizeof *h->rounds);
    struct h_round *r = &h->rounds[h->n_rounds++];
    *r = (struct h_round){.number = e->round,
                          .attempt = e->attempt,
                          .incarnation = e->incarnation,
                          .begun = e->at,
                          .job = e->job,
                          .life = h->life,
                          .savepoint = e->savepoint};
    return r;
}

static struct h_attempt *attempt_of(struct history *h, uint32_t job, uint64_t number)
{
    for (uint32_t i = h->n_attempts; i--;)
        if (h->attempts[i].number == number && h->attempts[i].job == job && !h->attempts[i].past)
            return &h->attempts[i];
    return NULL;
}

static struct h_worker *worker_of(struct history *h, uint32_t worker)
{
    while (h->n_workers <= worker) {
        h->workers = grow(h->workers, h->n_workers, &h->cap_workers, sizeof *h->workers);
        h->workers[h->n_workers++] = (struct h_worker){0};
    }
    return &h->workers[worker];
}

static uint32_t member(const struct h_attempt *a, uint32_t task)
{
    for (uint32_t i = 0; i < a->n_members; i++)
        if (a->members[i].tasks >> task & 1) return a->members[i].worker;
    return 0;
}

/* ---- attempts: 2, 4, 5, 6 */

static const char *attempt(struct history *h, const struct happening *e)
{
    struct h_job *j = &h->jobs[e->job];
    const struct h_round *from = e->round ? round_of(h, e->job, e->round) : NULL;
    for (uint32_t i = 0; i < h->n_attempts; i++) {
        const struct h_attempt *a = &h->attempts[i];
        if (a->job == e->job && a->number == e->attempt && a->incarnation == e->incarnation)
            return wrong(h, "4: attempt %" PRIu64 " is issued twice", e->attempt);
    }
    if (e->attempt <= j->newest_attempt)
        return wrong(h, "4: attempt %" PRIu64 " comes after %" PRIu64, e->attempt,
                     j->newest_attempt);
    if (e->n <= h->highest_external)
        return wrong(h, "4: external number %" PRIu64 " comes after %" PRIu64, e->n,
                     h->highest_external);
    if (e->round && (!from || !from->complete))
        return wrong(h, "2: attempt %" PRIu64 " restores %" PRIu64 ", which is not complete",
                     e->attempt, e->round);
    if (from && (from->deleting || from->gone))
        return wrong(h, "7: attempt %" PRIu64 " restores %" PRIu64 ", which is being deleted",
                     e->attempt, e->round);
    if (j->ordered && e->round != j->ordered_from)
        return wrong(h, "2: attempt %" PRIu64 " restores %" PRIu64 ", and %" PRIu64 " was ordered",
                     e->attempt, e->round, j->ordered_from);
    if (j->ordered && j->newest_effect > e->round) j->newest_effect = e->round;
    j->ordered = false;
    if (e->round < j->newest_effect && !e->ordered)
        return wrong(h,
                     "2: attempt %" PRIu64 " restores %" PRIu64 ", and round %" PRIu64
                     " has published effects",
                     e->attempt, e->round, j->newest_effect);
    h->attempts = grow(h->attempts, h->n_attempts, &h->cap_attempts, sizeof *h->attempts);
    h->attempts[h->n_attempts++] = (struct h_attempt){.number = e->attempt,
                                                      .incarnation = e->incarnation,
                                                      .external = e->n,
                                                      .tasks = e->tasks,
                                                      .job = e->job};
    j->newest_attempt = e->attempt;
    j->ended = from ? from->ends : 0;
    h->highest_external = e->n;
    return NULL;
}

static const char *is_member(struct history *h, const struct happening *e)
{
    struct h_attempt *a = attempt_of(h, e->job, e->attempt);
    if (!a || a->n_members == MEMBERS) return wrong(h, "the log: a member of no attempt");
    a->members[a->n_members].worker = e->worker;
    a->members[a->n_members].since = e->n;
    a->members[a->n_members++].tasks = e->tasks;
    return NULL;
}

/* Whether it takes part in the attempt with what it has from another. */
static bool goes_on(const struct h_attempt *a, uint32_t worker, uint64_t from)
{
    for (uint32_t i = 0; i < a->n_members; i++)
        if (a->members[i].worker == worker)
            return a->members[i].since && a->members[i].since <= from;
    return false;
}

static const char *start(struct history *h, const struct happening *e)
{
    struct h_job *j = &h->jobs[e->job];
    const struct h_attempt *a = attempt_of(h, e->job, e->attempt);
    if (!a)
        return wrong(h, "1: attempt %" PRIu64 " is started, and its members are not recorded",
                     e->attempt);
    for (uint32_t i = 1; i < h->n_workers; i++) {
        const struct h_worker *w = &h->workers[i];
        if (w->holds && !w->stale && w->job == e->job && w->attempt < e->attempt &&
            w->lease_until > e->at && !goes_on(a, i, w->attempt))
            return wrong(h,
                         "5: attempt %" PRIu64 " is started, worker %u of attempt %" PRIu64
                         " has its lease for %" PRIu64 " us more",
                         e->attempt, i, w->attempt, w->lease_until - e->at);
    }
    if (e->attempt > j->started) j->started = e->attempt;
    return NULL;
}

static const char *rewind_said(struct history *h, const struct happening *e)
{
    struct h_job *j = &h->jobs[e->job];
    struct h_attempt *a = attempt_of(h, e->job, e->attempt);
    if (!a || a->over) return NULL;
    a->over = true;
    if (a->running && !j->trouble && !j->held && !j->over)
        return wrong(h, "6: attempt %" PRIu64 " is over, and nothing but the daemon had trouble",
                     e->attempt);
    j->last_snapshot = 0;
    return NULL;
}

/* ---- rounds: 1, 2, 3, 4 */

static const char *begun(struct history *h, const struct happening *e)
{
    const struct h_attempt *a = attempt_of(h, e->job, e->attempt);
    if (e->incarnation != h->incarnation)
        return wrong(h, "4: round %" PRIu64 " bears the incarnation %" PRIu64, e->round,
                     e->incarnation);
    struct h_round *r = round_of(h, e->job, e->round);
    if (r && r->incarnation == e->incarnation && r->attempt == e->attempt) {
        if (e->n) r->deadline = e->at + e->n;
        return NULL;
    }
    for (uint32_t i = 0; i < h->n_rounds; i++)
        if (h->rounds[i].number == e->round &&
            (!h->rounds[i].past || h->rounds[i].incarnation == e->incarnation))
            return wrong(h, "4: round %" PRIu64 " is issued twice", e->round);
    if (!a || a->over)
        return wrong(h, "1: round %" PRIu64 " begins, and attempt %" PRIu64 " %s", e->round,
                     e->attempt, a ? "is over" : "has no members on record");
    r = round_add(h, e);
    if (e->n) r->deadline = e->at + e->n;
    return NULL;
}

static const char *acked(struct history *h, const struct happening *e)
{
    struct h_round *r = round_of(h, e->job, e->round);
    if (!r || r->attempt != e->attempt)
        return wrong(h, "1: an ack for round %" PRIu64 ", which never began in attempt %" PRIu64,
                     e->round, e->attempt);
    if (r->acked >> e->task & 1)
        return wrong(h, "1: round %" PRIu64 " is acked twice for task %u", e->round, e->task);
    r->acked |= (uint64_t)1 << e->task;
    r->acker[e->task] = e->worker;
    return NULL;
}

static const char *step(struct history *h, const struct happening *e)
{
    struct h_round *r = round_of(h, e->job, e->round);
    const struct h_attempt *a = r ? attempt_of(h, e->job, r->attempt) : NULL;
    if (!r || !a) return wrong(h, "1: round %" PRIu64 " goes on and never began", e->round);
    uint64_t missing = a->tasks & ~(r->said | h->jobs[e->job].ended);
    r->said = 0;
    return missing
               ? wrong(h, "1: round %" PRIu64 " goes on without tasks %" PRIx64, e->round, missing)
               : NULL;
}

static const char *handed(struct history *h, const struct happening *e)
{
    struct h_round *r = round_of(h, e->job, e->round);
    const struct h_attempt *a = r ? attempt_of(h, e->job, r->attempt) : NULL;
    if (!r || !a) return wrong(h, "1: round %" PRIu64 " is to complete and never began", e->round);
    if (r->told_abort || r->aborted || r->over)
        return wrong(h, "2: round %" PRIu64 " is to complete, and had ended", e->round);
    if (a->over)
        return wrong(h, "1: round %" PRIu64 " is to complete, and a member of its attempt is lost",
                     e->round);
    r->handed = true;
    r->handed_at = e->at;
    return NULL;
}

static const char *snapshot(struct history *h, const struct happening *e)
{
    struct h_job *j = &h->jobs[e->job];
    struct h_round *r = round_of(h, e->job, e->round);
    const struct h_attempt *a = attempt_of(h, e->job, e->attempt);
    if (!r || !a || r->attempt != e->attempt)
        return wrong(h, "1: snapshot %" PRIu64 " of a round that never began", e->round);
    if (r->told_abort || r->aborted)
        return wrong(h, "2: round %" PRIu64 " is complete, and was aborted", e->round);
    if ((e->tasks | e->ended) != j->tasks || e->tasks & e->ended)
        return wrong(h, "1: snapshot %" PRIu64 " has not one state of each task", e->round);
    for (uint32_t t = 0; t < TASKS; t++) {
        if (!(e->tasks >> t & 1)) continue;
        if (!(r->acked >> t & 1) || r->acker[t] != member(a, t))
            return wrong(h, "1: snapshot %" PRIu64 " is complete, and no member acked for task %u",
                         e->round, t);
    }
    r->complete = true;
    r->savepoint = e->savepoint;
    r->tasks = e->tasks;
    r->ends = e->n;
    j->ended |= e->n;
    r->durable_at = e->at;
    if (!j->trouble && !h->weather && j->last_snapshot && j->most_apart && !e->savepoint &&
        e->at > j->last_snapshot + j->most_apart)
        return wrong(h, "9: %" PRIu64 " us without a snapshot, and job %u had no trouble",
                     e->at - j->last_snapshot, e->job);
    if (!e->savepoint) j->last_snapshot = e->at;
    j->lived = j->lived || (j->fine_at && r->begun > j->fine_at && !e->savepoint);
    return NULL;
}

static const char *aborted(struct history *h, const struct happening *e)
{
    struct h_job *j = &h->jobs[e->job];
    struct h_round *r = round_of(h, e->job, e->round);
    if (!r) return NULL; /* of before a put-back, or it was never told to anybody */
    const struct h_attempt *a = attempt_of(h, e->job, r->attempt);
    if (r->complete) return wrong(h, "2: round %" PRIu64 " is aborted, and is complete", e->round);
    if (r->handed && r->life == h->life)
        return wrong(h, "3: round %" PRIu64 " is aborted while the store has its completion",
                     e->round);
    r->aborted = r->over = true;
    r->out_of_use_at = e->at;
    if (j->most_apart && !j->trouble && !h->weather && !j->over && !e->savepoint && !e->n)
        return wrong(h, "9: round %" PRIu64 " is aborted, and job %u had no trouble", e->round,
                     e->job);
    uint64_t missing = a && r->deadline ? a->tasks & ~(r->acked | r->said | j->ended) : 0;
    if (!e->ordered && missing & ~e->tasks)
        return wrong(h,
                     "3: round %" PRIu64 " missed its deadline, and not all who held it are named: "
                     "%" PRIx64 " of %" PRIx64,
                     e->round, e->tasks, missing);
    return NULL;
}

static const char *said(struct history *h, const struct happening *e)
{
    struct h_round *r = round_of(h, e->job, e->round);
    if (e->type == H_SAY_COMPLETE) {
        if (!r || !r->complete)
            return wrong(h, "2: complete is told of round %" PRIu64 ", which is not durable",
                         e->round);
        if (r->told_abort)
            return wrong(h, "2: complete is told of round %" PRIu64 ", and abort was", e->round);
        r->told_complete = true;
        return NULL;
    }
    if (!r) return NULL;
    if (r->complete)
        return wrong(h, "2: abort is told of round %" PRIu64 ", which is complete", e->round);
    if (r->handed && r->life == h->life)
        return wrong(h, "3: abort is told of round %" PRIu64 " while the store has its completion",
                     e->round);
    r->told_abort = r->over = true;
    return NULL;
}

/* ---- workers: 2, 5 */

static const char *speaks(struct history *h, const struct happening *e, const char *what)
{
    const struct h_worker *w = worker_of(h, e->worker);
    if (e->at < w->lease_until || h->jobs[e->job].over) return NULL;
    return wrong(h, "5: worker %u %s %" PRIu64 " us after the end of its lease", e->worker, what,
                 e->at - w->lease_until);
}

static void said_to(struct history *h, const struct happening *e)
{
    struct h_round *r = round_of(h, e->job, e->round);
    if (r && r->attempt == e->attempt) r->said |= (uint64_t)1 << e->task;
}

static const char *heard(struct history *h, const struct happening *e)
{
    struct h_round *r = round_of(h, e->job, e->round);
    if (!r || !r->complete)
        return wrong(h, "2: task %u hears of round %" PRIu64 ", which is not durable", e->task,
                     e->round);
    r->heard |= (uint64_t)1 << e->task;
    return NULL;
}

static const char *confirmed(struct history *h, const struct happening *e)
{
    struct h_round *r = round_of(h, e->job, e->round);
    if (!r || !(r->heard >> e->task & 1))
        return wrong(h, "2: task %u confirms round %" PRIu64 ", of which it has not heard", e->task,
                     e->round);
    r->confirmed |= (uint64_t)1 << e->task;
    return NULL;
}

static const char *published(struct history *h, const struct happening *e)
{
    struct h_job *j = &h->jobs[e->job];
    const struct h_round *r = round_of(h, e->job, e->round);
    if (!r || !r->complete)
        return wrong(h, "2: task %u publishes for round %" PRIu64 ", which is not durable", e->task,
                     e->round);
    const struct h_attempt *newest = attempt_of(h, e->job, j->started);
    if (e->attempt != j->started && !(newest && goes_on(newest, e->worker, e->attempt)))
        return wrong(h, "5: task %u of attempt %" PRIu64 " publishes, and %" PRIu64 " has started",
                     e->task, e->attempt, j->started);
    if (e->round > j->newest_effect) j->newest_effect = e->round;
    return speaks(h, e, "publishes");
}

/* ---- what is kept: 7, 8 */

static const char *deleting(struct history *h, const struct happening *e)
{
    struct h_round *r = round_of(h, e->job, e->round);
    if (!r || !r->complete)
        return wrong(h, "7: snapshot %" PRIu64 " is to be deleted and was never complete",
                     e->round);
    if (r->savepoint && !e->ordered)
        return wrong(h, "8: savepoint %" PRIu64 " is to be deleted, and nobody has ordered it",
                     e->round);
    r->deleting = true;
    r->out_of_use_at = e->at;
    return NULL;
}

static const char *deleted(struct history *h, const struct happening *e)
{
    struct h_round *r = round_of(h, e->job, e->round);
    if (!r || !r->deleting)
        return wrong(h, "7: snapshot %" PRIu64 " is deleted, and was not deleting", e->round);
    if (r->written && !r->gone)
        return wrong(h, "7: the row of snapshot %" PRIu64 " says deleted, and its bytes are there",
                     e->round);
    r->deleted = true;
    return NULL;
}

static const char *gone(struct history *h, const struct happening *e)
{
    struct h_round *r = round_of(h, e->job, e->round);
    if (!r) return NULL;
    if (r->complete && !r->deleting)
        return wrong(h, "7: the bytes of snapshot %" PRIu64 " are deleted, and it is retained",
                     e->round);
    if (!r->complete && !r->over)
        return wrong(h, "7: the bytes of round %" PRIu64 " are deleted, and it is under way",
                     e->round);
    r->gone = true;
    r->written = false;
    return NULL;
}

static void stuck(struct history *h, const struct happening *e)
{
    struct h_round *r = round_of(h, e->job, e->round);
    if (r) r->stuck = true;
}

static void written(struct history *h, const struct happening *e)
{
    struct h_round *r = round_of(h, e->job, e->round);
    if (r && !r->gone) r->written = true; /* whoever writes behind the sweep leaves an orphan */
}

/* ---- the daemon and the world */

static const char *up(struct history *h, const struct happening *e)
{
    if (e->incarnation <= h->highest_incarnation)
        return wrong(h, "4: incarnation %" PRIu64 " comes after %" PRIu64, e->incarnation,
                     h->highest_incarnation);
    h->highest_incarnation = h->incarnation = e->incarnation;
    h->up = true;
    h->up_at = e->at;
    h->away_until = 0;
    h->life++;
    return NULL;
}

static void down(struct history *h)
{
    for (uint32_t i = 0; i < h->n_rounds; i++)
        if (h->rounds[i].life == h->life) h->rounds[i].over = true;
    /* that an attempt is over was told, perhaps, and heard by nobody, and is not durable */
    for (uint32_t i = 0; i < h->n_attempts; i++)
        if (h->attempts[i].number == h->jobs[h->attempts[i].job].newest_attempt)
            h->attempts[i].over = false;
    h->up = false;
}

static void put_back(struct history *h)
{
    for (uint32_t i = 0; i < h->n_rounds; i++)
        h->rounds[i].past = true;
    for (uint32_t i = 0; i < h->n_attempts; i++)
        h->attempts[i].past = true;
    for (uint32_t i = 0; i < h->n_workers; i++)
        h->workers[i].stale = true;
    for (uint32_t i = 0; i < JOBS; i++) {
        struct h_job *j = &h->jobs[i];
        j->newest_attempt = j->newest_effect = j->started = 0;
        j->ended = 0;
        j->trouble = true;
        j->held = j->over = j->ordered = false;
    }
}

static void known(struct history *h, const struct happening *e)
{
    struct h_job *j = &h->jobs[e->job];
    if (!e->round) {
        h->attempts = grow(h->attempts, h->n_attempts, &h->cap_attempts, sizeof *h->attempts);
        h->attempts[h->n_attempts++] = (struct h_attempt){
            .number = e->attempt, .incarnation = e->incarnation, .tasks = e->tasks, .job = e->job};
        if (e->attempt > j->newest_attempt) {
            j->newest_attempt = j->started = e->attempt;
            j->known_from = e->n;
        }
        return;
    }
    if (e->attempt == j->newest_attempt || e->round == j->known_from) j->ended |= e->n;
    struct h_round *r = round_add(h, e);
    r->life = 0;
    r->complete = r->over = true;
    r->tasks = e->tasks;
    r->ends = e->n;
    r->deleting = e->ordered;
}

static const char *tick(struct history *h, const struct happening *e)
{
    uint64_t since = h->away_until > h->up_at ? h->away_until : h->up_at;
    for (uint32_t i = 0; i < h->n_rounds && h->up && e->at >= since; i++) {
        const struct h_round *r = &h->rounds[i];
        if (r->past || r->over || r->handed || r->complete || !r->deadline || r->life != h->life)
            continue;
        uint64_t end = r->deadline > since ? r->deadline : since;
        if (e->at > end + SLACK)
            return wrong(h, "3: round %" PRIu64 " is %" PRIu64 " us past its deadline", r->number,
                         e->at - end);
    }
    for (uint32_t i = 0; i < JOBS; i++) {
        const struct h_job *j = &h->jobs[i];
        if (j->fine_by && e->at > j->fine_by && !j->lived && !j->held && !j->over)
            return wrong(h, "live: job %u has no new snapshot %" PRIu64 " us after the last fault",
                         i, e->at - j->fine_at);
    }
    return NULL;
}

/* All that is complete was told to those who took part; all that is out of use is gone. */
static const char *at_rest(struct history *h, const struct happening *e)
{
    for (uint32_t i = 0; i < h->n_rounds; i++) {
        const struct h_round *r = &h->rounds[i];
        if (r->job != e->job) continue;
        const struct h_job *j = &h->jobs[r->job];
        const struct h_attempt *a = attempt_of(h, r->job, r->attempt);
        if (r->past || j->held) continue;
        uint64_t newer = 0;  /* a later round of the attempt stands for it */
        bool behind = false; /* one that began after its end has completed: all have gone on */
        for (uint32_t k = i + 1; k < h->n_rounds; k++) {
            const struct h_round *later = &h->rounds[k];
            if (later->job != r->job || later->past || !later->complete) continue;
            if (later->attempt == r->attempt) newer |= later->heard;
            behind = behind || (r->out_of_use_at && later->begun > r->out_of_use_at &&
                                later->durable_at + e->n < e->at);
        }
        if (r->complete && !r->savepoint && r->life && r->durable_at + e->n < e->at && a &&
            !a->over && !j->over && a->number == j->newest_attempt &&
            r->tasks & ~(r->heard | newer))
            return wrong(h,
                         "2: round %" PRIu64 " is complete, and tasks %" PRIx64 " were never told",
                         r->number, r->tasks & ~(r->heard | newer));
        if (r->stuck) continue;
        if (r->deleting && r->written && r->out_of_use_at + e->n < e->at)
            return wrong(h, "7: the bytes of snapshot %" PRIu64 " are never deleted", r->number);
        if (r->aborted && r->written && !r->complete && (behind || j->over))
            return wrong(h, "7: what round %" PRIu64 " had written is never deleted", r->number);
    }
    return NULL;
}

const char *history_unsettled(struct history *h, uint32_t job, uint64_t at, uint64_t n)
{
    return at_rest(h, &(struct happening){.type = H_END, .job = job, .at = at, .n = n});
}

/* ---- the door */

static const char *by_worker(struct history *h, const struct happening *e)
{
    struct h_worker *w = worker_of(h, e->worker);
    const char *bad;
    switch (e->type) {
    case H_LEASE:
        if (e->n > w->lease_until) w->lease_until = e->n;
        return NULL;
    case H_HOLDS:
        w->holds = true;
        w->stale = false;
        w->job = e->job;
        w->attempt = e->attempt;
        return speaks(h, e, "restores");
    case H_DROPS: w->holds = false; return NULL;
    default: break;
    }
    if (e->type == H_WRITTEN) written(h, e);
    if (e->type == H_WRITTEN) return NULL;
    if (w->stale) { /* what it says of rounds that are forgotten is nobody's business */
        const struct h_round *r = round_of(h, e->job, e->round);
        bool answers = e->type == H_ACKED || e->type == H_SAID;
        if (!r || r->attempt != e->attempt || (!r->complete && !answers) || e->type == H_CONFIRMED)
            return NULL;
    }
    switch (e->type) {
    case H_SAID: said_to(h, e); return NULL;
    case H_ACKED: bad = speaks(h, e, "acks"); return bad ? bad : acked(h, e);
    case H_HEARD: bad = speaks(h, e, "hears"); return bad ? bad : heard(h, e);
    case H_CONFIRMED: return confirmed(h, e);
    case H_PUBLISHED: return published(h, e);
    default: return NULL;
    }
}

static const char *of_the_world(struct history *h, const struct happening *e)
{
    struct h_job *j = &h->jobs[e->job == H_ALL ? 0 : e->job];
    switch (e->type) {
    case H_JOB:
        j->tasks = e->tasks;
        j->most_apart = e->n;
        return NULL;
    case H_TROUBLE: j->trouble = true; return NULL;
    case H_WEATHER: h->weather = true; return NULL;
    case H_FINE:
        j->fine_at = e->at;
        j->fine_by = e->n;
        return NULL;
    case H_ORDERED:
        j->ordered = true;
        j->ordered_from = e->round;
        j->held = j->over = false;
        return NULL;
    case H_HELD: j->held = true; return NULL;
    case H_OVER: j->over = true; return NULL;
    case H_PUT_BACK: put_back(h); return NULL;
    case H_KNOWN: known(h, e); return NULL;
    case H_TICK: return tick(h, e);
    case H_END: return at_rest(h, e);
    default: return wrong(h, "the log: what is %d?", (int)e->type);
    }
}

const char *history_add(struct history *h, const struct happening *e)
{
    struct h_round *r;
    struct h_attempt *a;
    h->now = e->at;
    if (e->job >= JOBS && e->job != H_ALL) return wrong(h, "the log: job %u", e->job);
    if (e->type >= H_LEASE && e->type <= H_PUBLISHED) return by_worker(h, e);
    switch (e->type) {
    case H_UP: return up(h, e);
    case H_DOWN: down(h); return NULL;
    case H_AWAY: h->away_until = e->n; return NULL;
    case H_ATTEMPT: return attempt(h, e);
    case H_MEMBER: return is_member(h, e);
    case H_START: return start(h, e);
    case H_RUN:
        a = attempt_of(h, e->job, e->attempt);
        if (a) a->running = true;
        return NULL;
    case H_REWIND: return rewind_said(h, e);
    case H_ROUND: return begun(h, e);
    case H_STEP: return step(h, e);
    case H_HANDED: return handed(h, e);
    case H_REFUSED:
        r = round_of(h, e->job, e->round);
        if (r) r->handed = false;
        return NULL;
    case H_SNAPSHOT: return snapshot(h, e);
    case H_ABORTED: return aborted(h, e);
    case H_SAY_COMPLETE:
    case H_SAY_ABORT: return said(h, e);
    case H_DELETING: return deleting(h, e);
    case H_DELETED: return deleted(h, e);
    case H_GONE: return gone(h, e);
    case H_STUCK: stuck(h, e); return NULL;
    default: return of_the_world(h, e);
    }
}
