/* bench_align - what the aligner costs a task.
 *
 *   bench_align [CHANNELS [RECORDS]]      (default: 16 10000000)
 *
 * Printed: CPU time of a call for a record while no barrier is under way, while the task aligns and
 * while it captures; of a tick and a look at the deadline with nothing to do; and of a barrier, in
 * each mode, over whole rounds. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "client/align.h"
#include "proto/barrier.h"

static struct tide_align *a;
static uint32_t channels = 16;
static uint64_t records = 10000000, round_number;

static void check(bool fact, const char *what)
{
    if (fact) return;
    fprintf(stderr, "bench_align: %s\n", what);
    exit(1);
}

static double cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void drain(void)
{
    struct tide_align_step s;
    while (tide_align_next(a, &s))
        ;
}

static void trigger(enum tide_align_mode mode)
{
    struct tide_align_trigger t = {
        .round = ++round_number, .deadline_us = UINT64_MAX, .mode = mode, .switch_us = UINT64_MAX};
    tide_align_lowest(a, round_number);
    check(tide_align_trigger(a, &t, round_number) == 0, "tide_align_trigger");
    drain();
}

static void barrier(uint32_t channel, uint32_t flags)
{
    check(tide_align_barrier(a, channel, round_number, flags, round_number) == 0,
          "tide_align_barrier");
    drain();
}

/* The last channel has no barrier yet: its records are those that count. */
static void each_record(const char *when, bool captured)
{
    uint64_t yes = 0;
    double from = cpu_ns();
    for (uint64_t i = 0; i < records; i++)
        yes += tide_align_record(a, channels - 1, 100);
    double ns = (cpu_ns() - from) / (double)records;
    check(yes == (captured ? records : 0), "captured what it should not, or not what it should");
    printf("  %-28s %7.2f\n", when, ns);
}

static void each_barrier(const char *name, enum tide_align_mode mode, uint32_t flags)
{
    uint64_t rounds = records / channels / 20 + 1;
    double from = cpu_ns();
    for (uint64_t k = 0; k < rounds; k++) {
        trigger(mode);
        for (uint32_t c = 0; c < channels; c++)
            barrier(c, flags);
    }
    printf("  %-28s %7.2f\n", name, (cpu_ns() - from) / (double)(rounds * channels));
}

int main(int argc, char **argv)
{
    if (argc > 1) channels = (uint32_t)strtoul(argv[1], NULL, 10);
    if (argc > 2) records = strtoull(argv[2], NULL, 10);
    check(channels > 1 && channels <= TIDE_CHANNELS_MAX && records > 0, "arguments");
    check(tide_align_new(channels, &a) == 0, "tide_align_new");
    printf("aligner of %" PRIu32 " channels, ns of CPU per call\n", channels);
    each_record("record, no barrier", false);
    double from = cpu_ns();
    for (uint64_t i = 0; i < records; i++)
        (void)tide_align_tick(a, i, 1000);
    printf("  %-28s %7.2f\n", "tick, no barrier", (cpu_ns() - from) / (double)records);
    trigger(TIDE_ALIGN_ALIGNED);
    barrier(0, 0);
    each_record("record, aligning", false);
    trigger(TIDE_ALIGN_UNALIGNED);
    barrier(0, TIDE_BARRIER_UNALIGNED);
    each_record("record, captured", true);
    each_barrier("barrier, aligned", TIDE_ALIGN_ALIGNED, 0);
    each_barrier("barrier, with a timeout", TIDE_ALIGN_TIMEOUT, 0);
    each_barrier("barrier, unaligned", TIDE_ALIGN_UNALIGNED, TIDE_BARRIER_UNALIGNED);
    each_barrier("barrier, counted", TIDE_ALIGN_COUNTED, TIDE_BARRIER_COUNTED);
    tide_align_free(a);
    return 0;
}
