/* A history told to a person: behind the line that says what was broken, what was promised, what
 * had happened to the round or attempt that it is about, and how everything stands.
 *
 * The trace itself is written as it happens (note() in sched.c); here its lines are kept, so that
 * those about one round can be told again at the end. */
#include <stdlib.h>

#include "tests/sim/sim.h"

/* ---- the lines */

struct story {
    char **line;
    size_t n, cap;
};

void story_keep(struct sim *s, const char *line, size_t len)
{
    struct story *st = s->story;
    if (!st) st = s->story = calloc(1, sizeof *st);
    if (st && st->n == st->cap) {
        st->cap = st->cap ? 2 * st->cap : 1024;
        st->line = realloc(st->line, st->cap * sizeof *st->line);
    }
    if (!st || !st->line) abort();
    st->line[st->n] = malloc(len + 1);
    if (!st->line[st->n]) abort();
    memcpy(st->line[st->n], line, len);
    st->line[st->n++][len] = '\0';
}

void story_free(struct sim *s)
{
    struct story *st = s->story;
    for (size_t i = 0; st && i < st->n; i++)
        free(st->line[i]);
    if (st) free(st->line);
    free(st);
    s->story = NULL;
}

/* ---- which promise it is */

/* The ten sentences of "What must always hold", by which lib_history.c names what it finds. */
static const char *const sentences[] = {
    NULL,
    "a round completes with an ack of each member, each once; a lost one aborts it",
    "complete when durable, told until confirmed; no attempt restores from behind effects",
    "by its deadline every round has ended, and an abort names who held it",
    "no id is issued twice",
    "a lost worker contributes nothing",
    "the daemon's death alone ends no attempt",
    "what can be restored stays, the rest goes; a row outlives its bytes",
    "savepoints belong to their users",
    "one job's trouble does not move another's rounds",
    "bad input gets one clear error and changes nothing"};

/* The promises of docs/simulation.md, by number. */
static const char *const promises[] = {
    "the world that the simulator plays keeps its own rules",
    "a durable snapshot has one ack of every task, from a member of its attempt",
    "a snapshot is a cut that could have happened",
    "effects: all of them, once, in order, by nobody but the attempt that may",
    "told complete only when durable, and to all; nobody restores from behind effects",
    "every round ends by its deadline, and the store's silence is noticed",
    "no id, incarnation or external number twice; durable before it is told",
    "one attempt at a time: leases hold",
    "the daemon's absence costs nothing but time",
    "what is kept, and what goes",
    "an old copy of the store is noticed, and nothing goes on from it",
    "when the faults stop all get well",
    "a job ends with all that its last snapshot covers, and nothing else; who waits hears what is"};

static const struct {
    const char *where; /* a function, or a file */
    unsigned promise;
} promise_of[] = {
    {"check_begun", 6},
    {"check_learn_round", 6},
    {"check_sent_start", 6},
    {"check_restored", 2},
    {"check_sent_rewind", 8},
    {"check_attempt_row", 6},
    {"check_sent_joined", 6},
    {"check_sent_complete", 4},
    {"check_sent_abort", 4},
    {"check_handed", 4},
    {"check_acked", 1},
    {"check_delivery", 4},
    {"check_told", 4},
    {"check_standing", 8},
    {"check_job", 5},
    {"round_ended", 5},
    {"check_effects", 3},
    {"check_snapshot", 4},
    {"read_ack", 1},
    {"read_batch", 1},
    {"check_acks", 1},
    {"take_over_ended", 1},
    {"base_ordered", 4},
    {"put_right", 3},
    {"store_catalog", 6},
    {"apply_attempt", 6},
    {"round_row", 6},
    {"apply_snapshot_state", 9},
    {"check_attempts.c", 7},
    {"check_cut.c", 2},
    {"check_effects.c", 3},
    {"check_kept.c", 9},
    {"pieces.c", 9},
    {"check_lively.c", 11},
    {"check_meet.c", 2},
    {"check_rounds.c", 5},
    {"check_stop.c", 12},
    {"check.c", 4},
    {"external.c", 2},
    {"flow_check.c", 2},
    {"flow.c", 3},
    {"meet.c", 2},
    {"channels.c", 2},
    {"old.c", 10},
    {"files.c", 9},
    {"main.c", 11},
};

static unsigned promise(const struct place *at)
{
    const char *file = strrchr(at->file, '/');
    file = file ? file + 1 : at->file;
    for (size_t i = 0; i < sizeof promise_of / sizeof *promise_of; i++)
        if (!strcmp(promise_of[i].where, at->function) || !strcmp(promise_of[i].where, file))
            return promise_of[i].promise;
    return 0;
}

static void tell_promise(const struct sim *s, const struct place *at)
{
    unsigned n = 0;
    if (sscanf(s->broken, "invariant %u:", &n) == 1 && n < sizeof sentences / sizeof *sentences &&
        sentences[n])
        printf("  invariant %u: %s\n", n, sentences[n]);
    else if (!strncmp(s->broken, "invariant", 9))
        printf("  promise 11: %s\n", promises[11]);
    else
        printf("  promise %u: %s\n  expected: %s   (%s:%d, %s)\n", promise(at),
               promises[promise(at)], at->fact, at->file, at->line, at->function);
}

/* ---- what it is about */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A number that the text gives behind one of these words; 0: none. */
static uint64_t number_behind(const char *text, const char *const *words)
{
    for (size_t i = 0; words[i]; i++) {
        size_t n = strlen(words[i]);
        for (const char *at = strstr(text, words[i]); at; at = strstr(at + 1, words[i]))
            if (is_digit(at[n])) return strtoull(at + n, NULL, 10);
    }
    return 0;
}

static const char *const round_words[] = {"round ",      "rounds ",    "snapshot ",
                                          "checkpoint ", "savepoint ", NULL};
static const char *const attempt_words[] = {"attempt ", NULL};

static bool tells_of(const char *line, const char *const *words, uint64_t number)
{
    char sought[48];
    for (size_t i = 0; words[i]; i++) {
        int n = snprintf(sought, sizeof sought, "%s%" PRIu64, words[i], number);
        const char *at = strstr(line, sought);
        for (; at; at = strstr(at + 1, sought))
            if (!is_digit(at[n])) return true;
    }
    return false;
}

/* Since it was first heard of: what went wrong with whoever had to do with it. */
static bool tells_of_trouble(const char *line)
{
    static const char *const of[] = {"fault: ", " dies: ", " is lost",     "daemon: life",
                                     " is cut", " leaves", "stands still", "is away"};
    for (size_t i = 0; i < sizeof of / sizeof *of; i++)
        if (strstr(line, of[i])) return true;
    return false;
}

#define STORY_LINES 80u

static void tell_again(const struct sim *s)
{
    const struct story *st = s->story;
    const char *what = "round";
    const char *const *words = round_words;
    uint64_t number = number_behind(s->broken, words);
    if (!number) {
        what = "attempt";
        number = number_behind(s->broken, words = attempt_words);
    }
    size_t lines = 0, from = 0, skip;
    for (size_t i = 0; number && st && i + 1 < st->n; i++) { /* the last is BROKEN itself */
        bool about = tells_of(st->line[i], words, number);
        if (about && !lines) from = i;
        lines += about || (lines && tells_of_trouble(st->line[i]));
    }
    if (!lines) return;
    skip = lines > STORY_LINES ? lines - STORY_LINES : 0;
    printf("  what was heard of %s %" PRIu64 "%s:\n", what, number, skip ? ", lately" : "");
    for (size_t i = from; i + 1 < st->n; i++)
        if ((tells_of(st->line[i], words, number) || tells_of_trouble(st->line[i])) &&
            (!skip || !skip--))
            printf("    %s", st->line[i]);
}

/* ---- how it stands */

static void tell_tasks(const struct job *j, const struct round *r, bool acked)
{
    bool any = false;
    for (uint32_t t = 0; t < j->flow.tasks; t++) {
        if ((r->task[t] && r->task[t]->acked) != acked) continue;
        printf("%s %s", any ? "" : acked ? "; acked:" : "; not acked:", task_name(j, t));
        any = true;
    }
}

static void tell_rounds(const struct sim *s, const struct job *j)
{
    for (const struct d_snapshot *d = j->store.snapshots; d; d = d->next)
        if (d->state != TIDE_DELETED)
            printf("      %s %" PRIu64 " of attempt %" PRIu64 ": %s%s\n", tide_kind_name(d->kind),
                   d->round, d->attempt, tide_snapshot_state_name(d->state),
                   d->kind == TIDE_SAVEPOINT && d->commits ? ", with effects" : "");
    for (const struct round *r = j->rounds; r; r = r->next) {
        if (r->past || r->over || store_snapshot(j, r->number) || r->life != s->daemon.life)
            continue;
        printf("      round %" PRIu64 " of attempt %" PRIu64 ": %s", r->number, r->attempt,
               r->handed      ? "its completion is with the store"
               : r->triggered ? "under way"
                              : "parts outside the tasks are asked");
        if (r->triggered) printf(" for %" PRIu64 " ms", (s->now - r->begun) / MS);
        tell_tasks(j, r, true);
        if (!r->handed) tell_tasks(j, r, false);
        printf("\n");
    }
    for (const struct d_owed *o = j->store.owed; o; o = o->next)
        printf("      owed to %.*s/%u by round %" PRIu64 "\n", (int)o->uid.len,
               (const char *)o->uid.data, (unsigned)o->subtask, o->round);
}

static void tell_worker(const struct sim *s, const struct proc *p)
{
    printf("      %s:", proc_name(p));
    for (uint32_t t = 0; t < p->job->flow.tasks; t++)
        if (p->job->slot_of[t] == p->slot) printf(" %s", task_name(p->job, t));
    printf("; attempt %" PRIu64 ", %s", tide_session_attempt(p->session),
           p->fenced ? "fenced, " : "");
    printf("%s", s->now < p->thaw_at      ? "stands still"
                 : s->now < p->busy_until ? "in a callback"
                 : s->now < p->dark_until ? "cannot reach the daemon"
                 : p->conn                ? "connected"
                                          : "not connected");
    printf("%s\n", p->stale ? ", knows more than the store perhaps" : "");
}

static void tell_job(const struct sim *s, const struct job *j)
{
    const struct job_store *st = &j->store;
    printf("    job %s: ", j->name);
    if (!st->made) {
        printf("not in the store\n");
        return;
    }
    printf("%s", tide_job_state_name(st->state));
    if (st->cause.len) printf(" (%.*s)", (int)st->cause.len, (const char *)st->cause.data);
    if (st->last.attempt)
        printf(", attempt %" PRIu64 "%s", st->last.attempt,
               st->last.ended     ? " is over"
               : st->last.running ? " runs"
                                  : " starts");
    if (st->base_since) printf(", ordered to go on from snapshot %" PRIu64, st->base_snapshot);
    printf("%s%s\n", j->waits_for ? "; waits: " : "", j->waits_for ? j->waits_for : "");
    tell_rounds(s, j);
    for (const struct proc *p = j->procs; p; p = p->next)
        if (p->alive) tell_worker(s, p);
}

void story_end(struct sim *s, const struct place *at)
{
    const struct daemon *d = &s->daemon;
    tell_promise(s, at);
    tell_again(s);
    printf("  as it stands:\n    daemon: %s, life %" PRIu64 "%s%s%s\n", d->up ? "up" : "down",
           d->life, d->up && s->now < d->thaw_at ? ", stands still" : "",
           s->store.handed_at ? "; the store has a commit" : "",
           s->calm ? "; the faults have stopped" : "");
    for (const struct job *j = s->jobs; j; j = j->next)
        tell_job(s, j);
}
