/* Reads the workers' logs, see demo.h. The lines are those of client/examples/wordcount. */
#include <inttypes.h>
#include <string.h>

#include "tests/demo/demo.h"

struct watch watch;
static uint64_t runs[WORKERS], restored_from[WORKERS];
static uint64_t aborted[4096]; /* a ring: rounds that were told to have aborted */
static unsigned n_aborted;

static void round_aborted(uint64_t round)
{
    for (unsigned i = 0; i < n_aborted && i < 4096; i++)
        if (aborted[i] == round) return; /* another worker told it */
    aborted[n_aborted++ % 4096] = round;
    watch.aborted++;
    watch.last_aborted = round;
}

static void worker_runs(int worker, uint64_t attempt)
{
    runs[worker] = attempt;
    for (int i = 0; i < WORKERS; i++)
        if (runs[i] != attempt) return;
    watch.attempt = attempt;
    watch.snapshot = restored_from[worker];
    watch.ran_at = now_ms();
}

void watch_started(const struct proc *p)
{
    if (p - procs < WORKERS) runs[p - procs] = 0;
}

void watch_line(struct proc *p, const char *line)
{
    uint64_t a, b;
    unsigned parts;
    int worker = (int)(p - procs);
    const char *said = strstr(line, ": "); /* behind who speaks */
    if (worker == ZOMBIE) {
        if (strstr(line, "the lease is over")) watch.zombie_fenced = true;
        if (strstr(line, ": rewind: ")) watch.zombie_rewound = true;
    }
    if (worker >= WORKERS || !said) return;
    said += 2;
    if (sscanf(said, "restored attempt %" SCNu64 " from snapshot %" SCNu64, &a, &b) == 2) {
        restored_from[worker] = b;
    } else if (sscanf(said, "running attempt %" SCNu64, &a) == 1) {
        worker_runs(worker, a);
    } else if (sscanf(said, "aborted round %" SCNu64, &a) == 1) {
        round_aborted(a);
    } else if (sscanf(said, "complete round %" SCNu64 ", published %u", &a, &parts) == 2) {
        if (a > watch.last_complete) watch.completed++;
        if (a > watch.last_complete) watch.last_complete = a;
        watch.parts += parts;
        watch.completed_at = now_ms();
        if (strstr(said, "owed")) watch.owed += parts;
        if (strstr(said, "owed") && parts)
            tell("   -> published what round %" PRIu64 " still owed", a);
    } else if (strcmp(said, "finished") == 0) {
        watch.finished++;
    }
}
