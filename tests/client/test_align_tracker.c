/* The aligner: counted rounds (at least once). S numbers are scenarios of Flink's own tests, that
 * must hold here too, in meaning. */
#include "tests/client/lib_align.h"

/* S188: one channel, every barrier snapshots, ids may be skipped. */
START_TEST(s188_one_channel)
{
    make(1);
    counted(1);
    barrier_with(0, 1, C);
    counted(2);
    counted(7);
    barrier_with(0, 7, C);
    expect(trace, "trigger 1 ->\n0:1c -> count 1 snapshot 1 after 0\ntrigger 2 ->\ntrigger 7 ->\n"
                  "0:7c -> cancel 2 discard 2 (overtaken by a newer round) count 7 snapshot 7 "
                  "after 0\n");
    tide_align_free(a);
}
END_TEST

START_TEST(nothing_is_blocked_and_several_are_under_way)
{
    make(3);
    for (uint64_t r = 1; r <= 3; r++)
        counted(r);
    for (uint64_t r = 1; r <= 3; r++)
        barrier_with(0, r, C);
    barrier_with(1, 1, C);
    for (uint32_t c = 0; c < 3; c++)
        ck_assert(!tide_align_blocked(a, c) && !tide_align_record(a, c, 1));
    barrier_with(2, 1, C);
    barrier_with(2, 1, C);
    barrier_with(1, 2, C);
    barrier_with(1, 3, C);
    barrier_with(2, 2, C);
    barrier_with(2, 3, C);
    expect(trace, "trigger 1 ->\ntrigger 2 ->\ntrigger 3 ->\n0:1c ->\n0:2c ->\n0:3c ->\n1:1c ->\n"
                  "2:1c -> count 1 snapshot 1 after 40\n2:1c ->\n1:2c ->\n1:3c ->\n"
                  "2:2c -> count 2 snapshot 2 after 70\n2:3c -> count 3 snapshot 3 after 70\n");
    tide_align_free(a);
}
END_TEST

/* The completion of a round drops all older ones. As channels keep the order, that shows as soon
 * as one of them brings a newer barrier without theirs. */
START_TEST(a_newer_barrier_drops_what_its_channel_has_skipped)
{
    make(2);
    for (uint64_t r = 1; r <= 3; r++)
        counted(r);
    barrier_with(0, 1, C);
    barrier_with(0, 2, C);
    barrier_with(1, 2, C);
    barrier_with(1, 1, C);
    barrier_with(0, 3, C);
    expect(trace,
           "trigger 1 ->\ntrigger 2 ->\ntrigger 3 ->\n0:1c ->\n0:2c ->\n"
           "1:2c -> cancel 1 discard 1 (overtaken by a newer round) count 2 snapshot 2 after "
           "10\n1:1c ->\n0:3c ->\n");
    tide_align_free(a);
}
END_TEST

START_TEST(one_that_waits_for_its_trigger_is_dropped_by_the_next)
{
    make(2);
    barrier_with(0, 1, C);
    barrier_with(1, 1, C);
    ck_assert(!tide_align_blocked(a, 0) && !tide_align_blocked(a, 1));
    ck_assert_uint_eq(tide_align_deadline(a, 1000), 1020);
    counted(2);
    barrier_with(0, 2, C);
    barrier_with(1, 2, C);
    counted(1);
    expect(trace,
           "0:1c ->\n1:1c ->\ntrigger 2 ->\n0:2c ->\n"
           "1:2c -> cancel 1 discard 1 (overtaken by a newer round) count 2 snapshot 2 after "
           "10\ntrigger 1 ->\n");
    tide_align_free(a);
}
END_TEST

/* S191: cancels on the last, the first, several channels. */
START_TEST(s191_cancels)
{
    make(3);
    counted(1);
    counted(2);
    barrier_with(0, 1, C);
    barrier_with(1, 1, C);
    cancel(2, 1);
    cancel(0, 2);
    barrier_with(1, 2, C);
    cancel(2, 2);
    barrier_with(2, 1, C);
    counted(3);
    for (uint32_t c = 0; c < 3; c++)
        barrier_with(c, 3, C);
    expect(trace, "trigger 1 ->\ntrigger 2 ->\n0:1c ->\n1:1c ->\n"
                  "2:cancel 1 -> cancel 1 discard 1 (cancelled upstream)\n"
                  "0:cancel 2 -> cancel 2 discard 2 (cancelled upstream)\n1:2c ->\n"
                  "2:cancel 2 ->\n2:1c ->\ntrigger 3 ->\n0:3c ->\n1:3c ->\n"
                  "2:3c -> count 3 snapshot 3 after 20\n");
    tide_align_free(a);
}
END_TEST

START_TEST(s194_the_end_of_a_channel_stands_for_all_its_barriers)
{
    make(2);
    for (uint64_t r = 1; r <= 3; r++)
        counted(r);
    barrier_with(0, 1, C);
    barrier_with(1, 1, C);
    barrier_with(0, 2, C);
    barrier_with(0, 3, C);
    end(1);
    counted(4);
    barrier_with(0, 4, C);
    expect(trace, "trigger 1 ->\ntrigger 2 ->\ntrigger 3 ->\n0:1c ->\n"
                  "1:1c -> count 1 snapshot 1 after 10\n0:2c ->\n0:3c ->\n"
                  "1:end -> count 2 snapshot 2 after 20 count 3 snapshot 3 after 10\ntrigger 4 ->\n"
                  "0:4c -> count 4 snapshot 4 after 0\n");
    tide_align_free(a);
}
END_TEST

/* S199: interleaved cancels of 1 and 2 -> one abort each. */
START_TEST(s199_interleaved_cancels)
{
    make(3);
    barrier_with(0, 1, C);
    cancel(1, 2);
    cancel(0, 1);
    cancel(2, 1);
    cancel(1, 1);
    cancel(0, 2);
    cancel(2, 2);
    expect(trace, "0:1c ->\n1:cancel 2 -> cancel 2 discard 2 (cancelled upstream)\n"
                  "0:cancel 1 -> cancel 1 discard 1 (cancelled upstream)\n2:cancel 1 ->\n"
                  "1:cancel 1 ->\n0:cancel 2 ->\n2:cancel 2 ->\n");
    tide_align_free(a);
}
END_TEST

/* Flink's tracker takes a cancel for all older rounds as well. Here it names one: it may be sent
 * ahead of an older round's barrier, which is on its way. */
START_TEST(a_cancel_leaves_older_rounds_alone)
{
    make(2);
    counted(1);
    barrier_with(0, 1, C);
    cancel(1, 2);
    barrier_with(1, 1, C);
    expect(trace, "trigger 1 ->\n0:1c ->\n1:cancel 2 -> cancel 2 discard 2 (cancelled upstream)\n"
                  "1:1c -> count 1 snapshot 1 after 20\n");
    tide_align_free(a);
}
END_TEST

/* S200: a channel ends in the middle of a round: nothing takes a short cut, nothing is left. */
START_TEST(s200_a_channel_that_ends_meanwhile)
{
    struct tide_align_view v;
    make(2);
    counted(1);
    counted(2);
    barrier_with(0, 1, C);
    barrier_with(0, 2, C);
    end(0);
    barrier_with(1, 1, C);
    barrier_with(1, 2, C);
    tide_align_look(a, 1, &v);
    ck_assert(!v.round);
    expect(trace, "trigger 1 ->\ntrigger 2 ->\n0:1c ->\n0:2c ->\n0:end ->\n"
                  "1:1c -> count 1 snapshot 1 after 30\n1:2c -> count 2 snapshot 2 after 30\n");
    counted(3);
    counted(4);
    cancel(1, 3);
    barrier_with(1, 4, C);
    expect(trace, "trigger 3 ->\ntrigger 4 ->\n"
                  "1:cancel 3 -> cancel 3 discard 3 (cancelled upstream)\n"
                  "1:4c -> count 4 snapshot 4 after 0\n");
    ck_assert_uint_eq(tide_align_deadline(a, 1000), UINT64_MAX);
    tide_align_free(a);
}
END_TEST

START_TEST(at_most_fifty_are_under_way)
{
    make(2);
    for (uint64_t r = 1; r <= TIDE_COUNTED_MAX; r++)
        barrier_with(0, r, C);
    trace[0] = '\0';
    barrier_with(0, 51, C);
    expect(trace, "0:51c -> cancel 1 discard 1 (overtaken by a newer round)\n");
    tide_align_free(a);
}
END_TEST

/* Far more than are remembered: the oldest give way. */
START_TEST(memory_of_rounds_is_bounded)
{
    make(2);
    for (uint64_t r = 1; r <= 1000; r++) {
        counted(r);
        if (r % 3) barrier_with(0, r, C);
        trace[0] = '\0';
    }
    barrier_with(1, 2, C);
    barrier_with(1, 1000, C);
    ck_assert_ptr_nonnull(strstr(trace, "count 1000 snapshot 1000"));
    tide_align_free(a);
}
END_TEST

/* ---- beside other rounds */

START_TEST(beside_a_savepoint_that_aligns)
{
    make(2);
    counted(1);
    trigger(2);
    counted(3);
    barrier_with(0, 1, C);
    barrier(0, 2);
    barrier_with(1, 1, C);
    barrier(1, 2);
    barrier_with(0, 3, C);
    barrier_with(1, 3, C);
    expect(trace, "trigger 1 ->\ntrigger 2 ->\ntrigger 3 ->\n0:1c ->\n0:2 -> block 0\n"
                  "1:1c -> count 1 snapshot 1 after 20\n"
                  "1:2 -> forward 2 snapshot 2 after 20 unblock 0\n0:3c ->\n"
                  "1:3c -> count 3 snapshot 3 after 10\n");
    tide_align_free(a);
}
END_TEST

START_TEST(beside_a_savepoint_that_is_captured)
{
    make(2);
    unaligned(1);
    counted(2);
    barrier_with(0, 1, U);
    barrier_with(0, 2, C);
    ck_assert(!tide_align_blocked(a, 0));
    ck_assert(tide_align_record(a, 1, 1));
    barrier_with(1, 1, U);
    barrier_with(1, 2, C);
    expect(trace, "trigger 1 ->\ntrigger 2 ->\n0:1u -> ahead 1 snapshot 1 waits\n0:2c ->\n"
                  "1:1u -> ackable 1 after 20\n1:2c -> count 2 snapshot 2 after 20\n");
    tide_align_free(a);
}
END_TEST

START_TEST(a_counted_barrier_ends_what_aligns_and_was_skipped)
{
    make(2);
    trigger(1);
    counted(2);
    barrier(0, 1);
    barrier_with(1, 2, C);
    ck_assert(!tide_align_blocked(a, 0));
    trigger(3);
    barrier(0, 3);
    expect(trace, "trigger 1 ->\ntrigger 2 ->\n0:1 -> block 0\n"
                  "1:2c -> cancel 1 discard 1 (overtaken by a newer round) unblock 0\n"
                  "trigger 3 ->\n"
                  "0:3 -> cancel 2 discard 2 (overtaken by a newer round) block 0\n");
    tide_align_free(a);
}
END_TEST

/* Barriers tell how their round is taken; should they not, the trigger does. */
START_TEST(the_trigger_makes_it_a_counted_round)
{
    make(3);
    barrier(0, 1);
    ck_assert(tide_align_blocked(a, 0));
    counted(1);
    ck_assert(!tide_align_blocked(a, 0));
    barrier(1, 1);
    barrier_with(2, 1, U);
    expect(trace, "0:1 -> block 0\ntrigger 1 -> unblock 0\n1:1 ->\n"
                  "2:1u -> count 1 snapshot 1 after 30\n");
    barrier(0, 2);
    barrier_with(1, 2, C);
    ck_assert(!tide_align_blocked(a, 0) && !tide_align_blocked(a, 1));
    unaligned(3);
    barrier_with(0, 3, U);
    barrier_with(1, 3, C); /* too late to say so */
    expect(trace, "0:2 -> block 0\n1:2c -> unblock 0\ntrigger 3 ->\n"
                  "0:3u -> cancel 2 discard 2 (overtaken by a newer round) ahead 3 snapshot 3 "
                  "waits\n1:3c ->\n");
    tide_align_free(a);
}
END_TEST

START_TEST(a_barrier_of_a_round_that_is_over_tells_of_older_ones)
{
    make(2);
    trigger(1);
    trigger(2);
    abort_round(3);
    barrier(0, 1);
    barrier(1, 3);
    expect(trace,
           "trigger 1 ->\ntrigger 2 ->\nabort 3 ->\n0:1 -> block 0\n"
           "1:3 -> cancel 1 discard 1 (overtaken by a newer round) unblock 0 cancel 3 cancel "
           "2 discard 2 (overtaken by a newer round)\n");
    tide_align_free(a);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        s188_one_channel,
        nothing_is_blocked_and_several_are_under_way,
        a_newer_barrier_drops_what_its_channel_has_skipped,
        one_that_waits_for_its_trigger_is_dropped_by_the_next,
        s191_cancels,
        s194_the_end_of_a_channel_stands_for_all_its_barriers,
        s199_interleaved_cancels,
        a_cancel_leaves_older_rounds_alone,
        s200_a_channel_that_ends_meanwhile,
        at_most_fifty_are_under_way,
        memory_of_rounds_is_bounded,
        beside_a_savepoint_that_aligns,
        beside_a_savepoint_that_is_captured,
        a_counted_barrier_ends_what_aligns_and_was_skipped,
        the_trigger_makes_it_a_counted_round,
        a_barrier_of_a_round_that_is_over_tells_of_older_ones,
    };
    Suite *suite = suite_create("align_tracker");
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        add_test(suite, tests[i]);
    return run_suite(suite);
}
