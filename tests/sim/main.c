/* sim [--seeds N] [--first S] [--seed S] [--trace] [--jobs N] [--all]
 *
 * Runs histories from seeds S, S + 1, ... in a few processes, prints how many, what happened in
 * them, and for a broken promise its seed, what was broken and how to repeat it. Exit code 1 then.
 * Stops at the first one; with --all goes on, and lists each.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/sim.h"

#define SHARES_MAX 16
#define EVENTS_MAX 400000u

struct share { /* between the processes */
    struct share_job {
        uint64_t seed, done, hash, failed, steps_most, steps_seed;
        char broken[320];
        struct sim_stats stats;
    } job[SHARES_MAX];
    volatile bool stop;
    bool all; /* a broken promise stops nothing */
};

static struct share *shared;

/* ---- one history */

static void tick(struct sim *s, void *arg, uint64_t x)
{
    check_tick(s);
    if (check_lively(s)) s->done = true;
    sim_at(s, s->now + 25 * MS, tick, arg, x);
}

static void clean_up(struct sim *s)
{
    for (struct job *j = s->jobs; j; j = j->next)
        for (struct proc *p = j->procs; p; p = p->next)
            if (p->alive) {
                tide_session_free(p->session);
                external_free(p);
            }
    if (s->daemon.core) core_free(s->daemon.core);
    s->daemon.core = NULL;
    struct tide_commit *lists[] = {s->store.flying, s->store.queue}, *next;
    for (int i = 0; i < 2; i++)
        for (struct tide_commit *c = lists[i]; c; c = next) {
            next = c->next;
            tide_commit_free(c);
        }
    actions_release(&s->daemon.todo);
}

/* Returns false when a promise was broken: s->broken says which. */
static bool run(struct sim *s, uint64_t seed)
{
    sim_reset(s, seed);
    actions_init(&s->daemon.todo);
    if (setjmp(s->out))
        return false; /* what the core and sessions hold is lost, the process ends soon */
    plan_jobs(s);
    sim_at(s, s->now, tick, NULL, 0);
    uint64_t before = s->stats->events;
    while (!s->done && sim_step(s)) {
        must(s, s->stats->events - before < EVENTS_MAX, "the history does not end");
        must(s, !s->calm || s->now < s->give_up_at, "faults have stopped for long, and %s",
             check_waits_for(s));
    }
    check_end(s);
    if (s->daemon.up) {
        const char *wrong = core_check(s->daemon.core);
        must(s, !wrong, "core_check: %s", wrong ? wrong : "");
    }
    s->stats->histories++;
    note(s, "done");
    clean_up(s);
    return true;
}

/* ---- many */

/* The same seed gives the same trace, byte for byte. */
static bool same_again(struct sim *s, uint64_t seed)
{
    struct sim_stats elsewhere = {0}, *mine = s->stats;
    uint64_t hash[2];
    bool ok = true;
    s->stats = &elsewhere;
    s->trace = s->quiet = true;
    for (int i = 0; i < 2 && ok; i++) {
        ok = run(s, seed);
        hash[i] = s->hash;
    }
    s->trace = s->quiet = false;
    s->stats = mine;
    if (ok && hash[0] != hash[1]) {
        snprintf(s->broken, sizeof s->broken, "two runs of this seed gave different traces");
        return false;
    }
    return ok;
}

static void work(uint64_t first, uint64_t seeds, unsigned jobs, unsigned me, uint64_t from)
{
    static struct sim s;
    struct share_job *j = &shared->job[me];
    s.stats = &j->stats;
    for (uint64_t i = from; i < seeds && !shared->stop; i += jobs) {
        uint64_t before = j->stats.events;
        j->seed = first + i;
        if (!run(&s, first + i) || ((first + i) % 200 == 0 && !same_again(&s, first + i))) {
            memcpy(j->broken, s.broken, sizeof j->broken);
            j->failed = 1;
            shared->stop = !shared->all;
            _exit(1);
        }
        j->hash ^= s.hash * (2 * (first + i) + 1);
        if (j->stats.events - before > j->steps_most) {
            j->steps_most = j->stats.events - before;
            j->steps_seed = first + i;
        }
        j->done++;
    }
    sim_release(&s);
}

static void add_stats(struct sim_stats *to, const struct sim_stats *from)
{
    const uint64_t *f = (const uint64_t *)from;
    uint64_t *t = (uint64_t *)to;
    for (size_t i = 0; i < sizeof *to / sizeof *t; i++)
        t[i] += f[i];
}

static void print_stats(const struct sim_stats *t)
{
    printf("sim: %" PRIu64 " events, %" PRIu64 " steps of the core, %" PRIu64
           " deliveries to workers\n",
           t->events, t->steps, t->deliver);
    printf("sim: %" PRIu64 " rounds ended: %" PRIu64 " complete (%" PRIu64 " savepoints, %" PRIu64
           " of them unaligned, %" PRIu64 " rendezvous, %" PRIu64 " unaligned, %" PRIu64
           " at least once), %" PRIu64 " aborted (deadline %" PRIu64 ", declined %" PRIu64
           ", worker lost %" PRIu64 ", no space %" PRIu64 ", storage %" PRIu64
           ", restarted %" PRIu64 ", shutdown %" PRIu64 ", refused %" PRIu64 ")\n",
           t->rounds, t->complete, t->savepoints, t->savepoints_unaligned, t->met, t->unaligned,
           t->counted, t->aborted, t->abort_codes[1], t->abort_codes[2], t->abort_codes[3],
           t->abort_codes[4], t->abort_codes[5], t->abort_codes[6], t->abort_codes[7],
           t->abort_codes[8]);
    printf("sim: %" PRIu64 " attempts, %" PRIu64 " daemon deaths, %" PRIu64
           " worker deaths, %" PRIu64 " resumed, %" PRIu64 " advanced, %" PRIu64 " fenced, %" PRIu64
           " acks refused by the library, %" PRIu64 " directories deleted\n",
           t->attempts, t->daemon_crashes, t->worker_crashes, t->resumed, t->advances, t->fenced,
           t->refused_acks, t->deleted);
    printf("sim: %" PRIu64 " parts published, %" PRIu64 " dropped by a restore, %" PRIu64
           " jobs finished, %" PRIu64 " held, %" PRIu64 " acks with records in flight; %" PRIu64
           " events of coordinators in snapshots; %" PRIu64 " shared files, %" PRIu64
           " references\n",
           t->published, t->parts_dropped, t->finished, t->held, t->in_flight, t->events_sent,
           t->pieces_new, t->pieces_again);
    printf("sim: %" PRIu64 " times suspended, %" PRIu64 " drained, %" PRIu64 " cancelled, %" PRIu64
           " of it told to who waited; %" PRIu64 " savepoints disposed of; %" PRIu64
           " restores ordered, %" PRIu64 " from copies, %" PRIu64 " of them another job's, %" PRIu64
           " at another parallelism; %" PRIu64 " failed; %" PRIu64 " exports\n",
           t->suspended, t->drained, t->cancelled, t->told_ended, t->disposed, t->bases, t->imports,
           t->inherited, t->rescaled, t->failed, t->exports);
}

struct run {
    uint64_t first, seeds;
    unsigned jobs;
    pid_t pid[SHARES_MAX];
};

static void begin(struct run *r, unsigned me, uint64_t from)
{
    fflush(stdout);
    r->pid[me] = fork();
    if (r->pid[me]) return;
    work(r->first, r->seeds, r->jobs, me, from);
    exit(0);
}

/* What a process has found, or has died of; false: nothing. */
static bool found(struct share_job *j, int status)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) && !j->failed) {
        snprintf(j->broken, sizeof j->broken, "the process ended with %d (a sanitizer's finding?)",
                 WEXITSTATUS(status));
        j->failed = 1;
    }
    if (WIFSIGNALED(status) && !j->failed) {
        snprintf(j->broken, sizeof j->broken,
                 "the process was ended by signal %d (an assertion, or worse)", WTERMSIG(status));
        j->failed = 1;
        shared->stop = !shared->all;
    }
    if (!j->failed) return false;
    printf("sim: seed %" PRIu64 ": BROKEN: %s\nsim: repeat it with: make sim SEED=%" PRIu64
           " TRACE=1\n",
           j->seed, j->broken, j->seed);
    return true;
}

/* Until all processes are through. What a broken promise leaves in memory goes with its process:
 * another one does the rest of that share. Returns how many promises were broken. */
static uint64_t await(struct run *r)
{
    uint64_t broken = 0;
    for (unsigned left = r->jobs; left;) {
        int status;
        unsigned i = 0;
        pid_t pid = wait(&status);
        if (pid < 0) break;
        while (i < r->jobs && r->pid[i] != pid)
            i++;
        if (i == r->jobs) continue;
        struct share_job *j = &shared->job[i];
        if (found(j, status)) {
            broken++;
            j->failed = 0;
            if (shared->all) {
                begin(r, i, j->seed - r->first + r->jobs);
                continue;
            }
        }
        left--;
    }
    return broken;
}

static int many(uint64_t first, uint64_t seeds, unsigned jobs)
{
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    struct run r = {.first = first, .seeds = seeds, .jobs = jobs};
    for (unsigned i = 0; i < jobs; i++)
        begin(&r, i, i);
    bool failed = await(&r) > 0;
    struct sim_stats total = {0};
    uint64_t done = 0, hash = 0, most = 0, most_seed = 0;
    for (unsigned i = 0; i < jobs; i++) {
        struct share_job *j = &shared->job[i];
        add_stats(&total, &j->stats);
        done += j->done;
        hash ^= j->hash;
        if (j->steps_most > most) {
            most = j->steps_most;
            most_seed = j->steps_seed;
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &b);
    double took = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
    print_stats(&total);
    printf("sim: %s: %" PRIu64 " seeds from %" PRIu64 ", hash %016" PRIx64 ", longest is %" PRIu64
           " (%" PRIu64 " events), %.1f s, %.0f seeds/s\n",
           failed ? "FAILED" : "OK", done, first, hash, most_seed, most, took,
           took > 0 ? (double)done / took : 0);
    if (!failed && done >= 1000 &&
        (total.complete < done || total.aborted < done / 2 || total.finished < done / 10 ||
         total.met < done / 10 || total.unaligned < done / 10 || total.counted < done / 10 ||
         total.in_flight < done / 10)) {
        printf("sim: FAILED: too little happens in these histories to prove anything\n");
        failed = true;
    }
    return failed;
}

static int one(uint64_t seed, bool trace)
{
    static struct sim s;
    static struct sim_stats stats;
    s.stats = &stats;
    s.trace = trace;
    bool ok = run(&s, seed);
    if (!ok) printf("sim: seed %" PRIu64 ": BROKEN: %s\n", seed, s.broken);
    printf("sim: seed %" PRIu64 ": %s, %" PRIu64 " events, hash %016" PRIx64 "\n", seed,
           ok ? "OK" : "FAILED", stats.events, s.hash);
    sim_release(&s);
    return !ok;
}

static uint64_t number(const char *text)
{
    char *end;
    uint64_t n = text ? strtoull(text, &end, 10) : 0;
    if (!text || !*text || *end) {
        fprintf(stderr, "sim: %s is not a number\n", text ? text : "(nothing)");
        exit(2);
    }
    return n;
}

int main(int argc, char **argv)
{
    uint64_t seeds = 20000, first = 1, seed = 0, jobs = 2;
    bool trace = false, single = false, all = false;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--seeds"))
            seeds = number(argv[++i]);
        else if (!strcmp(argv[i], "--first"))
            first = number(argv[++i]);
        else if (!strcmp(argv[i], "--jobs"))
            jobs = number(argv[++i]);
        else if (!strcmp(argv[i], "--seed"))
            seed = number(argv[++i]), single = true;
        else if (!strcmp(argv[i], "--trace"))
            trace = true;
        else if (!strcmp(argv[i], "--all"))
            all = true;
        else {
            fprintf(stderr, "usage: sim [--seeds N] [--first S] [--jobs N] [--all] "
                            "[--seed S [--trace]]\n");
            return 2;
        }
    }
    if (single) return one(seed, trace);
    if (jobs < 1 || jobs > SHARES_MAX) jobs = 2;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) return 2;
    shared->all = all;
    return many(first, seeds, (unsigned)jobs);
}
