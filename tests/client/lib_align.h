/* The aligner as traces: what is fed on the left, what it answers on the right. */
#ifndef TESTS_CLIENT_ALIGN_H
#define TESTS_CLIENT_ALIGN_H

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "client/align.h"
#include "proto/barrier.h"
#include "proto/err.h"
#include "tests/client/lib_run.h"

#define U TIDE_BARRIER_UNALIGNED
#define C TIDE_BARRIER_COUNTED

static char trace[16384];
static struct tide_align *a;
static uint64_t now;

static void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *format, ...)
{
    size_t len = strlen(trace);
    va_list args;
    va_start(args, format);
    vsnprintf(trace + len, sizeof trace - len, format, args);
    va_end(args);
}

/* "after" is how long it took to line up, "past n" that some barriers are still missing, "waits"
 * that it must not be acked yet. */
static void answer(void)
{
    struct tide_align_step s;
    while (tide_align_next(a, &s)) {
        unsigned long long r = (unsigned long long)s.round, took = (unsigned long long)s.align_us;
        switch (s.what) {
        case TIDE_ALIGN_BLOCK: note(" block %u", s.channel); break;
        case TIDE_ALIGN_UNBLOCK: note(" unblock %u", s.channel); break;
        case TIDE_ALIGN_FORWARD:
            note(" %s %llu", s.flags & C ? "count" : s.unaligned ? "ahead" : "forward", r);
            ck_assert(s.unaligned == (s.flags == U));
            break;
        case TIDE_ALIGN_SNAPSHOT:
            note(s.unaligned ? " snapshot %llu" : " snapshot %llu after %llu", r, took);
            if (s.waits) note(" waits");
            break;
        case TIDE_ALIGN_CANCEL: note(" cancel %llu", r); break;
        case TIDE_ALIGN_DISCARD:
            note(" discard %llu (%s)", r, s.reason ? s.reason : "known");
            break;
        case TIDE_ALIGN_ENDED: note(" ended"); break;
        case TIDE_ALIGN_OVERTAKE: note(" overtake %u:%llu", s.channel, r); break;
        case TIDE_ALIGN_PROMOTE: note(" promote %llu", r); break;
        case TIDE_ALIGN_ACKABLE: note(" ackable %llu after %llu", r, took); break;
        }
    }
    note("\n");
}

static void barrier_with(uint32_t channel, uint64_t round, uint32_t flags)
{
    note("%u:%llu%s ->", channel, (unsigned long long)round, flags == U ? "u" : flags ? "c" : "");
    ck_assert_int_eq(tide_align_barrier(a, channel, round, flags, now += 10), 0);
    answer();
}

static inline void announce(uint32_t channel, uint64_t round, uint32_t flags)
{
    note("%u:(%llu%s) ->", channel, (unsigned long long)round, flags == U ? "u" : "");
    ck_assert_int_eq(tide_align_announce(a, channel, round, flags, now += 10), 0);
    answer();
}

static inline void trigger_as(uint64_t round, enum tide_align_mode mode, uint64_t switch_us)
{
    struct tide_align_trigger t = {
        .round = round, .deadline_us = 1000000, .mode = mode, .switch_us = switch_us};
    note("trigger %llu ->", (unsigned long long)round);
    ck_assert_int_eq(tide_align_trigger(a, &t, now += 10), 0);
    answer();
}

static inline void unaligned(uint64_t round)
{
    trigger_as(round, TIDE_ALIGN_UNALIGNED, 0);
}

static inline void counted(uint64_t round)
{
    trigger_as(round, TIDE_ALIGN_COUNTED, 0);
}

static inline void timed(uint64_t round, uint64_t switch_us)
{
    trigger_as(round, TIDE_ALIGN_TIMEOUT, switch_us);
}

static inline void turn(uint64_t round)
{
    note("turn %llu ->", (unsigned long long)round);
    ck_assert_int_eq(tide_align_turn(a, round, now += 10), 0);
    answer();
}

static inline void sent(uint64_t round)
{
    note("sent %llu ->", (unsigned long long)round);
    ck_assert_int_eq(tide_align_sent(a, round, now += 10), 0);
    answer();
}

static inline void barrier(uint32_t channel, uint64_t round)
{
    barrier_with(channel, round, 0);
}

static inline void cancel(uint32_t channel, uint64_t round)
{
    note("%u:cancel %llu ->", channel, (unsigned long long)round);
    ck_assert_int_eq(tide_align_cancel(a, channel, round, now += 10), 0);
    answer();
}

static inline void end(uint32_t channel)
{
    note("%u:end ->", channel);
    ck_assert_int_eq(tide_align_end(a, channel, now += 10), 0);
    answer();
}

static inline void trigger(uint64_t round)
{
    trigger_as(round, TIDE_ALIGN_ALIGNED, 0);
}

static inline void abort_round(uint64_t round)
{
    note("abort %llu ->", (unsigned long long)round);
    ck_assert_int_eq(tide_align_abort(a, round, true, NULL, now += 10), 0);
    answer();
}

static inline void give_up(uint64_t round)
{
    note("give up %llu ->", (unsigned long long)round);
    ck_assert_int_eq(tide_align_abort(a, round, false, "cut off", now += 10), 0);
    answer();
}

static inline void tick(uint64_t at)
{
    note("[%llu] ->", (unsigned long long)at);
    ck_assert_int_eq(tide_align_tick(a, now = at, 1000), 0);
    answer();
}

static inline void lowest(uint64_t round)
{
    note("lowest %llu ->", (unsigned long long)round);
    tide_align_lowest(a, round);
    answer();
}

static inline void make(uint32_t channels)
{
    now = 0;
    trace[0] = '\0';
    ck_assert_int_eq(tide_align_new(channels, &a), 0);
}

#endif
