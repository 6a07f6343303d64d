#include "tests/bench/idle.h"

#include <stdbool.h>
#include <stdio.h>
#include <time.h>

#include "tests/bench/daemon.h"
#include "tests/bench/peers.h"

enum { ADMINS = 5000, WORKERS = 1000, TASKS = 100, SECONDS = 60 };

static void settle(void)
{
    nanosleep(&(struct timespec){.tv_sec = 2}, NULL); /* what is free is given back */
}

static void connections(const char *daemon, const char *beside, bool workers, uint32_t n)
{
    const struct daemon *d = daemon_start(daemon, beside);
    settle();
    double before = daemon_memory("RssAnon:");
    struct peers *p = workers ? peers_open(d->port, n, n, 1, 0) : peers_admins(d->port, n);
    settle();
    printf("%s: %.0f bytes (%u of them)\n",
           workers ? "a worker's connection, with one task of a running job"
                   : "an admin's connection that says nothing",
           (daemon_memory("RssAnon:") - before) / n, n);
    fflush(stdout);
    peers_close(p);
    daemon_remove();
}

static void one_job(const char *daemon, const char *beside)
{
    const struct daemon *d = daemon_start(daemon, beside);
    struct peers *p = peers_open(d->port, 1, TASKS, TASKS, 1000);
    peers_serve(p, 5);
    struct cpu from = daemon_cpu();
    uint32_t rounds = peers_serve(p, SECONDS);
    struct cpu upto = daemon_cpu();
    double loop = (upto.loop - from.loop) / 1e6 / SECONDS,
           others = (upto.others - from.others) / 1e6 / SECONDS;
    printf("one job of %d tasks, %u rounds in %d s: %.2f ms of CPU time a second, %.2f of it the "
           "loop's\n",
           TASKS, rounds, SECONDS, loop + others, loop);
    peers_close(p);
    daemon_remove();
}

void idle_measure(const char *daemon, const char *beside)
{
    connections(daemon, beside, false, ADMINS);
    connections(daemon, beside, true, WORKERS);
    one_job(daemon, beside);
}
