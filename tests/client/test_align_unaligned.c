/* The aligner: rounds that do not wait for all barriers. S numbers are scenarios of Flink's own
 * tests, that must hold here too, in meaning. A barrier "0:1u" is flagged as unaligned, "0:(1)" is
 * announced; "ahead" is a barrier that goes ahead of what waits in the outputs. */
#include "tests/client/lib_align.h"

static const uint64_t never = UINT64_MAX;

/* ---- unaligned from the trigger on */

/* S188: one channel, every barrier snapshots, ids may be skipped. */
START_TEST(s188_one_channel)
{
    make(1);
    unaligned(1);
    barrier_with(0, 1, U);
    unaligned(2);
    unaligned(7);
    barrier_with(0, 7, U);
    expect(trace, "trigger 1 ->\n0:1u -> ahead 1 snapshot 1 after 0\ntrigger 2 ->\ntrigger 7 ->\n"
                  "0:7u -> cancel 2 discard 2 (overtaken by a newer round) ahead 7 snapshot 7 "
                  "after 0\n");
    tide_align_free(a);
}
END_TEST

START_TEST(the_first_barrier_snapshots_and_the_last_makes_it_complete)
{
    make(3);
    unaligned(1);
    ck_assert(!tide_align_record(a, 0, 1));
    barrier_with(1, 1, U);
    ck_assert_uint_eq(tide_align_capturing(a), 1);
    ck_assert(tide_align_record(a, 0, 1) && !tide_align_record(a, 1, 1));
    ck_assert(!tide_align_record(a, 3, 1));
    ck_assert(tide_align_captures(a, 2) && !tide_align_captures(a, 3));
    barrier_with(0, 1, U);
    ck_assert(!tide_align_record(a, 0, 1) && tide_align_record(a, 2, 1));
    barrier_with(2, 1, U);
    ck_assert(!tide_align_record(a, 2, 1));
    ck_assert_uint_eq(tide_align_capturing(a), 0);
    for (uint32_t c = 0; c < 3; c++)
        ck_assert(!tide_align_blocked(a, c));
    expect(trace, "trigger 1 ->\n1:1u -> ahead 1 snapshot 1 waits\n0:1u ->\n"
                  "2:1u -> ackable 1 after 20\n");
    tide_align_free(a);
}
END_TEST

START_TEST(before_the_trigger_a_flagged_barrier_blocks)
{
    make(2);
    barrier_with(0, 1, U);
    ck_assert(tide_align_blocked(a, 0) && !tide_align_record(a, 1, 1));
    ck_assert_uint_eq(tide_align_deadline(a, 1000), 1010);
    unaligned(1);
    ck_assert(tide_align_record(a, 1, 1));
    barrier_with(1, 1, U);
    expect(trace, "0:1u -> block 0\ntrigger 1 -> ahead 1 snapshot 1 waits unblock 0\n"
                  "1:1u -> ackable 1 after 20\n");
    barrier_with(0, 2, U);
    tick(1030);
    tick(1040);
    expect(trace, "0:2u -> block 0\n[1030] ->\n"
                  "[1040] -> cancel 2 discard 2 (barriers lined up, but no trigger came within the "
                  "orphan limit) unblock 0\n");
    tide_align_free(a);
}
END_TEST

START_TEST(a_source_puts_its_barrier_ahead)
{
    make(0);
    unaligned(1);
    expect(trace, "trigger 1 -> ahead 1 snapshot 1 after 0\n");
    tide_align_free(a);
}
END_TEST

START_TEST(s190_a_newer_barrier_on_a_channel_that_is_captured_ends_the_round)
{
    make(3);
    unaligned(2);
    unaligned(3);
    barrier_with(1, 2, U);
    barrier_with(0, 3, U);
    ck_assert_uint_eq(tide_align_capturing(a), 3);
    barrier_with(1, 3, U);
    barrier_with(2, 2, U);
    end(2);
    expect(trace,
           "trigger 2 ->\ntrigger 3 ->\n1:2u -> ahead 2 snapshot 2 waits\n"
           "0:3u -> cancel 2 discard 2 (overtaken by a newer round) ahead 3 snapshot 3 waits\n"
           "1:3u ->\n2:2u ->\n2:end -> ackable 3 after 30\n");
    tide_align_free(a);
}
END_TEST

/* S191: a cancel marker while others are captured. */
START_TEST(s191_a_cancel_on_the_last_channel)
{
    make(3);
    unaligned(1);
    barrier_with(0, 1, U);
    barrier_with(1, 1, U);
    cancel(2, 1);
    ck_assert(!tide_align_record(a, 2, 1));
    barrier_with(2, 1, U);
    cancel(1, 1);
    expect(trace, "trigger 1 ->\n0:1u -> ahead 1 snapshot 1 waits\n1:1u ->\n"
                  "2:cancel 1 -> cancel 1 discard 1 (cancelled upstream)\n2:1u ->\n"
                  "1:cancel 1 ->\n");
    tide_align_free(a);
}
END_TEST

START_TEST(s193_channels_that_ended_before_do_not_count)
{
    make(3);
    end(1);
    unaligned(1);
    barrier_with(0, 1, U);
    ck_assert(!tide_align_captures(a, 1) && tide_align_captures(a, 2));
    barrier_with(2, 1, U);
    expect(trace, "1:end ->\ntrigger 1 ->\n0:1u -> ahead 1 snapshot 1 waits\n"
                  "2:1u -> ackable 1 after 10\n");
    tide_align_free(a);
}
END_TEST

START_TEST(s194_the_end_of_a_channel_stands_for_its_barrier)
{
    make(3);
    unaligned(1);
    barrier_with(0, 1, U);
    end(0);
    end(1);
    ck_assert(!tide_align_record(a, 1, 1));
    end(2);
    unaligned(2);
    expect(trace, "trigger 1 ->\n0:1u -> ahead 1 snapshot 1 waits\n0:end ->\n1:end ->\n"
                  "2:end -> ackable 1 after 30 ended\ntrigger 2 -> ahead 2 snapshot 2 after 0\n");
    tide_align_free(a);
}
END_TEST

/* S196: unaligned, a cancel before or after the first barrier, of this round or the next. */
START_TEST(s196_a_cancel_before_the_first_barrier)
{
    make(2);
    unaligned(1);
    cancel(0, 1);
    barrier_with(1, 1, U);
    unaligned(2);
    barrier_with(0, 2, U);
    barrier_with(1, 2, U);
    expect(trace, "trigger 1 ->\n0:cancel 1 -> cancel 1 discard 1 (cancelled upstream)\n1:1u ->\n"
                  "trigger 2 ->\n0:2u -> ahead 2 snapshot 2 waits\n1:2u -> ackable 2 after 10\n");
    tide_align_free(a);
}
END_TEST

START_TEST(s196_a_cancel_after_the_first_barrier_of_the_next_round)
{
    make(2);
    unaligned(1);
    unaligned(2);
    barrier_with(0, 1, U);
    cancel(0, 2);
    ck_assert(tide_align_record(a, 1, 1));
    barrier_with(1, 1, U);
    barrier_with(1, 2, U);
    expect(trace, "trigger 1 ->\ntrigger 2 ->\n0:1u -> ahead 1 snapshot 1 waits\n"
                  "0:cancel 2 -> cancel 2 discard 2 (cancelled upstream)\n"
                  "1:1u -> ackable 1 after 20\n1:2u ->\n");
    tide_align_free(a);
}
END_TEST

/* S211: an aligned barrier comes while others are captured. Flink blocks its channel, as its
 * network does; here what is behind the barrier may be processed, since the task has snapshotted.
 */
START_TEST(s211_an_aligned_barrier_while_others_are_captured_blocks_nothing)
{
    make(3);
    unaligned(1);
    barrier_with(0, 1, U);
    barrier_with(1, 1, 0);
    ck_assert(!tide_align_blocked(a, 1) && !tide_align_record(a, 1, 1));
    barrier_with(2, 1, U);
    expect(trace, "trigger 1 ->\n0:1u -> ahead 1 snapshot 1 waits\n1:1 ->\n"
                  "2:1u -> ackable 1 after 20\n");
    tide_align_free(a);
}
END_TEST

START_TEST(an_abort_ends_the_capture)
{
    make(2);
    unaligned(1);
    barrier_with(0, 1, U);
    abort_round(1);
    ck_assert(!tide_align_record(a, 1, 1));
    barrier_with(1, 1, U);
    unaligned(2);
    barrier_with(0, 2, U);
    tick(1000000);
    expect(trace, "trigger 1 ->\n0:1u -> ahead 1 snapshot 1 waits\n"
                  "abort 1 -> cancel 1 discard 1 (known)\n1:1u ->\ntrigger 2 ->\n"
                  "0:2u -> ahead 2 snapshot 2 waits\n"
                  "[1000000] -> cancel 2 discard 2 (the round's time is over)\n");
    tide_align_free(a);
}
END_TEST

/* ---- announcements */

START_TEST(an_announced_barrier_begins_the_round_and_goes_ahead)
{
    make(2);
    announce(0, 1, U);
    ck_assert(!tide_align_blocked(a, 0));
    unaligned(1);
    barrier_with(0, 1, U);
    announce(1, 1, U);
    barrier_with(1, 1, U);
    expect(trace, "0:(1u) ->\ntrigger 1 -> ahead 1 snapshot 1 waits overtake 0:1\n0:1u ->\n"
                  "1:(1u) -> overtake 1:1\n1:1u -> ackable 1 after 30\n");
    tide_align_free(a);
}
END_TEST

START_TEST(announcements_after_the_trigger)
{
    make(2);
    unaligned(1);
    announce(1, 1, U);
    ck_assert(tide_align_record(a, 1, 1) && tide_align_record(a, 0, 1));
    barrier_with(1, 1, U);
    barrier_with(0, 1, U);
    expect(trace, "trigger 1 ->\n1:(1u) -> ahead 1 snapshot 1 waits overtake 1:1\n1:1u ->\n"
                  "0:1u -> ackable 1 after 20\n");
    tide_align_free(a);
}
END_TEST

/* S203: an announcement was seen, then a barrier of an upstream that has switched. */
START_TEST(s203_a_flagged_barrier_switches_at_once)
{
    make(3);
    timed(1, never);
    announce(1, 1, 0);
    barrier(2, 1);
    barrier_with(0, 1, U);
    barrier(1, 1);
    expect(trace, "trigger 1 ->\n1:(1) ->\n2:1 -> block 2\n"
                  "0:1u -> ahead 1 snapshot 1 waits unblock 2 overtake 1:1\n"
                  "1:1 -> ackable 1 after 20\n");
    tide_align_free(a);
}
END_TEST

START_TEST(a_flagged_announcement_switches_as_well)
{
    make(2);
    timed(1, never);
    barrier(0, 1);
    announce(1, 1, U);
    barrier_with(1, 1, U);
    expect(trace, "trigger 1 ->\n0:1 -> block 0\n"
                  "1:(1u) -> ahead 1 snapshot 1 waits unblock 0 overtake 1:1\n"
                  "1:1u -> ackable 1 after 20\n");
    tide_align_free(a);
}
END_TEST

START_TEST(announcements_that_mean_nothing_are_dropped)
{
    make(2);
    lowest(5);
    announce(0, 4, U); /* resolved */
    announce(0, 5, C); /* counted: nothing goes ahead */
    abort_round(6);
    announce(0, 6, U); /* over */
    barrier(0, 7);
    announce(0, 7, U); /* has come */
    announce(1, 8, 0);
    announce(1, 7, 0); /* the first one in the queue, after all */
    end(1);
    ck_assert_int_eq(tide_align_announce(a, 1, 8, 0, now), TIDE_EPROTO);
    ck_assert_int_eq(tide_align_announce(a, 2, 8, 0, now), TIDE_EINVAL);
    ck_assert_int_eq(tide_align_announce(a, 0, 0, 0, now), TIDE_EINVAL);
    trigger(7);
    expect(trace, "lowest 5 ->\n0:(4u) ->\n0:(5) ->\nabort 6 ->\n0:(6u) ->\n0:7 -> block 0\n"
                  "0:(7u) ->\n1:(8) ->\n1:(7) ->\n1:end ->\n"
                  "trigger 7 -> forward 7 snapshot 7 after 40 unblock 0\n");
    tide_align_free(a);
}
END_TEST

START_TEST(an_announced_round_waits_for_the_one_that_aligns)
{
    make(2);
    trigger(1);
    unaligned(2);
    barrier(0, 1);
    announce(1, 2, U); /* so 1 will not come on 1, but that is known when 2 is read */
    abort_round(1);
    barrier_with(0, 2, U);
    barrier_with(1, 2, U);
    expect(trace, "trigger 1 ->\ntrigger 2 ->\n0:1 -> block 0\n1:(2u) ->\n"
                  "abort 1 -> cancel 1 discard 1 (known) unblock 0 ahead 2 snapshot 2 waits "
                  "overtake 1:2\n0:2u ->\n1:2u -> ackable 2 after 20\n");
    tide_align_free(a);
}
END_TEST

/* ---- forced channels */

START_TEST(a_forced_channel_is_waited_for)
{
    make(3);
    ck_assert_int_eq(tide_align_force(a, 1, true), 0);
    ck_assert_int_eq(tide_align_force(a, 1, true), 0);
    ck_assert_int_eq(tide_align_force(a, 3, true), TIDE_EINVAL);
    unaligned(1);
    barrier_with(0, 1, U);
    announce(2, 1, U);
    ck_assert(!tide_align_record(a, 1, 1) && !tide_align_record(a, 2, 1));
    barrier(1, 1);
    ck_assert(tide_align_captures(a, 2));
    barrier_with(2, 1, U);
    expect(trace, "trigger 1 ->\n0:1u -> block 0\n2:(1u) ->\n"
                  "1:1 -> ahead 1 snapshot 1 waits unblock 0 overtake 2:1\n"
                  "2:1u -> ackable 1 after 30\n");
    tide_align_free(a);
}
END_TEST

START_TEST(with_all_channels_forced_an_unaligned_round_is_aligned)
{
    make(2);
    for (uint32_t c = 0; c < 2; c++)
        ck_assert_int_eq(tide_align_force(a, c, true), 0);
    unaligned(1);
    announce(0, 1, U);
    barrier_with(0, 1, U);
    barrier_with(1, 1, U);
    expect(trace, "trigger 1 ->\n0:(1u) ->\n0:1u -> block 0\n"
                  "1:1u -> ahead 1 snapshot 1 after 10 unblock 0\n");
    ck_assert_int_eq(tide_align_reset(a, 2), 0); /* they stay so */
    unaligned(2);
    barrier_with(0, 2, U);
    end(1);
    ck_assert_int_eq(tide_align_force(a, 0, false), TIDE_ESTATE); /* too late */
    expect(trace,
           "trigger 2 ->\n0:2u -> block 0\n1:end -> ahead 2 snapshot 2 after 10 unblock 0\n");
    ck_assert_int_eq(tide_align_reset(a, 2), 0);
    end(1);
    trace[0] = '\0';
    ck_assert_int_eq(tide_align_force(a, 1, false), TIDE_ESTATE); /* it has ended */
    ck_assert_int_eq(tide_align_force(a, 0, false), 0);
    unaligned(3);
    announce(0, 3, U);
    expect(trace, "trigger 3 ->\n0:(3u) -> ahead 3 snapshot 3 waits overtake 0:3\n");
    tide_align_free(a);
}
END_TEST

/* ---- figures */

/* S212: start delay, alignment duration, bytes, in each mode. */
START_TEST(s212_figures)
{
    struct tide_align_step s, last = {0};
    make(2);
    for (unsigned mode = 0; mode < 4; mode++) {
        struct tide_align_trigger t = {.round = mode + 1,
                                       .deadline_us = UINT64_MAX,
                                       .mode = (enum tide_align_mode)mode,
                                       .switch_us = UINT64_MAX};
        now = 1000 * (mode + 1);
        ck_assert_int_eq(tide_align_trigger(a, &t, now), 0);
        (void)tide_align_record(a, 0, 1000); /* before it begins */
        ck_assert_int_eq(tide_align_barrier(a, 0, mode + 1, 0, now + 70), 0);
        while (tide_align_next(a, &s))
            ck_assert(s.what == TIDE_ALIGN_BLOCK || mode == TIDE_ALIGN_UNALIGNED);
        (void)tide_align_record(a, 1, 300);
        if (mode == TIDE_ALIGN_COUNTED) (void)tide_align_record(a, 0, 50);
        ck_assert_int_eq(tide_align_barrier(a, 1, mode + 1, 0, now + 100), 0);
        (void)tide_align_record(a, 1, 10000);
        while (tide_align_next(a, &s))
            if (s.what == TIDE_ALIGN_SNAPSHOT || s.what == TIDE_ALIGN_ACKABLE) last = s;
        ck_assert_uint_eq(last.round, mode + 1);
        ck_assert(last.unaligned == (mode == TIDE_ALIGN_UNALIGNED));
        ck_assert_uint_eq(last.start_us, now + 70);
        ck_assert_uint_eq(last.start_delay_us, 70);
        ck_assert_uint_eq(last.align_us, 30);
        ck_assert_uint_eq(last.processed_bytes, mode == TIDE_ALIGN_COUNTED ? 350 : 300);
        ck_assert_uint_eq(last.persisted_bytes, mode == TIDE_ALIGN_UNALIGNED ? 300 : 0);
    }
    tide_align_free(a);
}
END_TEST

START_TEST(where_it_stands)
{
    struct tide_align_view v;
    make(3);
    unaligned(1);
    tide_align_look(a, 0, &v);
    ck_assert(!v.round);
    tide_align_look(a, 1, &v);
    ck_assert(!v.round);
    barrier_with(1, 1, U);
    end(0);
    tide_align_look(a, 0, &v);
    ck_assert(v.round == 1 && v.missing == 1 && v.first_missing == 2 && v.captured && v.triggered);
    counted(2);
    barrier_with(1, 2, C);
    tide_align_look(a, 2, &v);
    ck_assert(v.round == 2 && v.missing == 1 && v.first_missing == 2 && !v.captured);
    tide_align_look(a, 3, &v);
    ck_assert(!v.round);
    tide_align_free(a);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        s188_one_channel,
        the_first_barrier_snapshots_and_the_last_makes_it_complete,
        before_the_trigger_a_flagged_barrier_blocks,
        a_source_puts_its_barrier_ahead,
        s190_a_newer_barrier_on_a_channel_that_is_captured_ends_the_round,
        s191_a_cancel_on_the_last_channel,
        s193_channels_that_ended_before_do_not_count,
        s194_the_end_of_a_channel_stands_for_its_barrier,
        s196_a_cancel_before_the_first_barrier,
        s196_a_cancel_after_the_first_barrier_of_the_next_round,
        s211_an_aligned_barrier_while_others_are_captured_blocks_nothing,
        an_abort_ends_the_capture,
        an_announced_barrier_begins_the_round_and_goes_ahead,
        announcements_after_the_trigger,
        s203_a_flagged_barrier_switches_at_once,
        a_flagged_announcement_switches_as_well,
        announcements_that_mean_nothing_are_dropped,
        an_announced_round_waits_for_the_one_that_aligns,
        a_forced_channel_is_waited_for,
        with_all_channels_forced_an_unaligned_round_is_aligned,
        s212_figures,
        where_it_stands,
    };
    Suite *suite = suite_create("align_unaligned");
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        add_test(suite, tests[i]);
    return run_suite(suite);
}
