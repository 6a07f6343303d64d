/* The aligner as traces: what is fed on the left, what it answers on the right.
 * S numbers are scenarios of Flink's own tests that must hold here too. */
#include "tests/client/lib_align.h"

START_TEST(s188_one_channel_snapshots_at_every_barrier_and_ids_may_be_skipped)
{
    make(1);
    for (uint64_t r = 1; r <= 2; r++) {
        trigger(r);
        barrier(0, r);
    }
    trigger(7);
    barrier(0, 7);
    expect(trace, "trigger 1 ->\n0:1 -> forward 1 snapshot 1 after 0\n"
                  "trigger 2 ->\n0:2 -> forward 2 snapshot 2 after 0\n"
                  "trigger 7 ->\n0:7 -> forward 7 snapshot 7 after 0\n");
    tide_align_free(a);
}
END_TEST

START_TEST(every_channel_is_blocked_until_the_last_barrier)
{
    make(3);
    trigger(1);
    barrier(1, 1);
    barrier(0, 1);
    ck_assert(tide_align_blocked(a, 0) && tide_align_blocked(a, 1) && !tide_align_blocked(a, 2));
    barrier(2, 1);
    expect(trace, "trigger 1 ->\n1:1 -> block 1\n0:1 -> block 0\n"
                  "2:1 -> forward 1 snapshot 1 after 20 unblock 0 unblock 1\n");
    tide_align_free(a);
}
END_TEST

START_TEST(a_second_barrier_of_the_round_on_a_channel_counts_once)
{
    make(2);
    trigger(1);
    barrier(0, 1);
    barrier(0, 1);
    barrier(1, 1);
    barrier(1, 1);
    expect(trace, "trigger 1 ->\n0:1 -> block 0\n0:1 ->\n"
                  "1:1 -> forward 1 snapshot 1 after 20 unblock 0\n1:1 ->\n");
    tide_align_free(a);
}
END_TEST

START_TEST(s190_a_newer_barrier_ends_the_round_under_way)
{
    make(3);
    for (uint64_t r = 1; r <= 4; r++)
        trigger(r);
    now = 0;
    trace[0] = '\0';
    barrier(0, 1);
    barrier(1, 1);
    barrier(2, 1);
    expect(trace, "0:1 -> block 0\n1:1 -> block 1\n"
                  "2:1 -> forward 1 snapshot 1 after 20 unblock 0 unblock 1\n");
    barrier(1, 2);
    barrier(0, 2);
    barrier(2, 3);
    ck_assert(!tide_align_blocked(a, 0) && !tide_align_blocked(a, 1) && tide_align_blocked(a, 2));
    expect(trace,
           "1:2 -> block 1\n0:2 -> block 0\n"
           "2:3 -> cancel 2 discard 2 (overtaken by a newer round) unblock 0 unblock 1 block 2\n");
    barrier(0, 4);
    ck_assert(tide_align_blocked(a, 0) && !tide_align_blocked(a, 2));
    barrier(1, 2); /* late ones of those that are over */
    barrier(1, 3);
    expect(trace, "0:4 -> cancel 3 discard 3 (overtaken by a newer round) unblock 2 block 0\n"
                  "1:2 ->\n1:3 ->\n");
    /* as the feature is on, the end of a channel stands for its barrier */
    end(2);
    end(1);
    expect(trace, "2:end ->\n1:end -> forward 4 snapshot 4 after 40 unblock 0\n");
    tide_align_free(a);
}
END_TEST

START_TEST(s190_the_channel_that_overtakes_stays_blocked)
{
    make(2);
    trigger(1);
    barrier(0, 1);
    barrier(0, 2);
    ck_assert(tide_align_blocked(a, 0));
    trigger(2);
    barrier(1, 2);
    expect(trace, "trigger 1 ->\n0:1 -> block 0\n"
                  "0:2 -> cancel 1 discard 1 (overtaken by a newer round)\ntrigger 2 ->\n"
                  "1:2 -> forward 2 snapshot 2 after 20 unblock 0\n");
    tide_align_free(a);
}
END_TEST

START_TEST(a_trigger_whose_barriers_were_skipped_is_declined_when_a_newer_one_begins)
{
    make(2);
    trigger(5);
    trigger(6);
    barrier(1, 6);
    barrier(0, 5);
    barrier(0, 6);
    expect(trace, "trigger 5 ->\ntrigger 6 ->\n"
                  "1:6 -> cancel 5 discard 5 (overtaken by a newer round) block 1\n0:5 ->\n"
                  "0:6 -> forward 6 snapshot 6 after 20 unblock 1\n");
    tide_align_free(a);
}
END_TEST

START_TEST(an_older_round_never_seen_is_cancelled_downstream_once)
{
    make(2);
    trigger(6);
    barrier(1, 6);
    barrier(0, 4);
    barrier(0, 4);
    expect(trace, "trigger 6 ->\n1:6 -> block 1\n"
                  "0:4 -> cancel 4 discard 4 (overtaken by a newer round)\n0:4 ->\n");
    trigger(3);
    expect(trace, "trigger 3 -> cancel 3 discard 3 (overtaken by a newer round)\n");
    tide_align_free(a);
}
END_TEST

START_TEST(s191_a_cancel_on_the_last_channel)
{
    make(3);
    trigger(1);
    barrier(0, 1);
    barrier(1, 1);
    cancel(2, 1);
    barrier(2, 1);
    cancel(0, 1);
    expect(trace, "trigger 1 ->\n0:1 -> block 0\n1:1 -> block 1\n"
                  "2:cancel 1 -> cancel 1 discard 1 (cancelled upstream) unblock 0 unblock 1\n"
                  "2:1 ->\n0:cancel 1 ->\n");
    tide_align_free(a);
}
END_TEST

START_TEST(s191_a_cancel_on_the_first_channel)
{
    make(3);
    trigger(1);
    cancel(1, 1);
    barrier(0, 1);
    barrier(2, 1);
    for (uint32_t c = 0; c < 3; c++)
        ck_assert(!tide_align_blocked(a, c));
    expect(trace, "trigger 1 ->\n1:cancel 1 -> cancel 1 discard 1 (cancelled upstream)\n"
                  "0:1 ->\n2:1 ->\n");
    trigger(2);
    barrier(0, 2);
    barrier(1, 2);
    barrier(2, 2);
    expect(trace, "trigger 2 ->\n0:2 -> block 0\n1:2 -> block 1\n"
                  "2:2 -> forward 2 snapshot 2 after 20 unblock 0 unblock 1\n");
    tide_align_free(a);
}
END_TEST

START_TEST(s191_cancels_on_several_channels_are_one)
{
    make(3);
    trigger(1);
    barrier(0, 1);
    cancel(1, 1);
    cancel(2, 1);
    expect(trace, "trigger 1 ->\n0:1 -> block 0\n"
                  "1:cancel 1 -> cancel 1 discard 1 (cancelled upstream) unblock 0\n"
                  "2:cancel 1 ->\n");
    tide_align_free(a);
}
END_TEST

START_TEST(a_cancel_of_a_newer_round_leaves_the_one_under_way_alone)
{
    make(2);
    trigger(1);
    barrier(0, 1);
    cancel(1, 2);
    barrier(1, 1);
    barrier(0, 2);
    expect(trace, "trigger 1 ->\n0:1 -> block 0\n"
                  "1:cancel 2 -> cancel 2 discard 2 (cancelled upstream)\n"
                  "1:1 -> forward 1 snapshot 1 after 20 unblock 0\n0:2 ->\n");
    tide_align_free(a);
}
END_TEST

START_TEST(s193_channels_that_ended_before_do_not_count)
{
    make(3);
    end(0);
    end(2);
    trigger(1);
    barrier(1, 1);
    expect(trace, "0:end ->\n2:end ->\ntrigger 1 ->\n1:1 -> forward 1 snapshot 1 after 0\n");
    ck_assert_int_eq(tide_align_barrier(a, 0, 2, 0, now), TIDE_EPROTO);
    ck_assert_int_eq(tide_align_cancel(a, 0, 2, now), TIDE_EPROTO);
    tide_align_free(a);
}
END_TEST

START_TEST(s194_the_end_of_a_channel_completes_the_round)
{
    make(3);
    trigger(1);
    barrier(0, 1);
    barrier(1, 1);
    end(2);
    expect(trace, "trigger 1 ->\n0:1 -> block 0\n1:1 -> block 1\n"
                  "2:end -> forward 1 snapshot 1 after 20 unblock 0 unblock 1\n");
    trigger(2);
    barrier(1, 2);
    barrier(0, 2);
    expect(trace, "trigger 2 ->\n1:2 -> block 1\n0:2 -> forward 2 snapshot 2 after 10 unblock 1\n");
    tide_align_free(a);
}
END_TEST

START_TEST(s194_a_barrier_and_then_the_end_count_once)
{
    make(3);
    trigger(1);
    barrier(0, 1);
    end(0);
    end(0);
    barrier(1, 1);
    barrier(2, 1);
    expect(trace, "trigger 1 ->\n0:1 -> block 0\n0:end ->\n0:end ->\n1:1 -> block 1\n"
                  "2:1 -> forward 1 snapshot 1 after 40 unblock 1\n");
    tide_align_free(a);
}
END_TEST

START_TEST(when_all_channels_have_ended_triggers_act_as_for_a_source)
{
    make(2);
    trigger(4);
    trigger(5);
    end(0);
    end(1);
    trigger(6);
    trigger(6);
    ck_assert_uint_eq(tide_align_open(a), 0);
    expect(trace, "trigger 4 ->\ntrigger 5 ->\n0:end ->\n"
                  "1:end -> ended forward 4 snapshot 4 after 0 forward 5 snapshot 5 after 0\n"
                  "trigger 6 -> forward 6 snapshot 6 after 0\ntrigger 6 ->\n");
    tide_align_free(a);
}
END_TEST

START_TEST(a_source_snapshots_at_the_trigger)
{
    make(0);
    trigger(1);
    trigger(1);
    abort_round(1);
    abort_round(2);
    trigger(2);
    trigger(3);
    expect(trace, "trigger 1 -> forward 1 snapshot 1 after 0\ntrigger 1 ->\nabort 1 ->\n"
                  "abort 2 ->\ntrigger 2 ->\ntrigger 3 -> forward 3 snapshot 3 after 0\n");
    tide_align_free(a);
}
END_TEST

START_TEST(barriers_wait_for_their_trigger)
{
    struct tide_align_view v;
    make(2);
    barrier(0, 1);
    tide_align_look(a, 0, &v);
    ck_assert_uint_eq(v.round, 1);
    ck_assert_uint_eq(v.missing, 1);
    ck_assert_uint_eq(v.first_missing, 1);
    ck_assert(!v.triggered);
    barrier(1, 1);
    ck_assert(tide_align_blocked(a, 0) && tide_align_blocked(a, 1));
    ck_assert_uint_eq(tide_align_deadline(a, 1000), 1020);
    trigger(1);
    expect(trace, "0:1 -> block 0\n1:1 -> block 1\n"
                  "trigger 1 -> forward 1 snapshot 1 after 10 unblock 0 unblock 1\n");
    ck_assert_uint_eq(tide_align_deadline(a, 1000), UINT64_MAX);
    tide_align_free(a);
}
END_TEST

START_TEST(without_a_trigger_they_wait_no_longer_than_the_orphan_limit)
{
    make(2);
    barrier(0, 1);
    tick(5000); /* one is missing: it is not lined up, and nothing says that it should give up */
    barrier(1, 1);
    tick(6009);
    tick(6010);
    trigger(1);
    barrier(0, 1);
    expect(trace, "0:1 -> block 0\n[5000] ->\n1:1 -> block 1\n[6009] ->\n"
                  "[6010] -> cancel 1 discard 1 (barriers lined up, but no trigger came within the "
                  "orphan limit) unblock 0 unblock 1\ntrigger 1 ->\n0:1 ->\n");
    tide_align_free(a);
}
END_TEST

START_TEST(a_round_whose_time_is_over_is_given_up)
{
    make(2);
    trigger(1);
    barrier(0, 1);
    ck_assert_uint_eq(tide_align_deadline(a, 1000), 1000000);
    tick(999999);
    tick(1000000);
    barrier(1, 1);
    expect(trace, "trigger 1 ->\n0:1 -> block 0\n[999999] ->\n"
                  "[1000000] -> cancel 1 discard 1 (the round's time is over) unblock 0\n1:1 ->\n");
    tide_align_free(a);
}
END_TEST

START_TEST(a_round_whose_time_is_over_before_its_first_barrier)
{
    make(2);
    trigger(1);
    tick(1000000);
    tick(1000001);
    barrier(0, 1);
    barrier(1, 1);
    expect(trace, "trigger 1 ->\n[1000000] -> discard 1 (the round's time is over)\n[1000001] ->\n"
                  "0:1 -> cancel 1\n1:1 ->\n");
    tide_align_free(a);
}
END_TEST

START_TEST(an_abort_lets_go_of_the_round_under_way)
{
    make(2);
    trigger(1);
    barrier(0, 1);
    abort_round(1);
    barrier(1, 1);
    abort_round(1);
    expect(trace, "trigger 1 ->\n0:1 -> block 0\n"
                  "abort 1 -> cancel 1 discard 1 (known) unblock 0\n1:1 ->\nabort 1 ->\n");
    tide_align_free(a);
}
END_TEST

START_TEST(an_abort_before_the_first_barrier_is_remembered)
{
    make(2);
    abort_round(3);
    barrier(0, 3);
    barrier(1, 3);
    ck_assert(!tide_align_blocked(a, 0) && !tide_align_blocked(a, 1));
    trigger(3);
    trigger(4);
    barrier(0, 4);
    barrier(1, 4);
    expect(trace, "abort 3 ->\n0:3 -> cancel 3\n1:3 ->\ntrigger 3 ->\ntrigger 4 ->\n"
                  "0:4 -> block 0\n1:4 -> forward 4 snapshot 4 after 10 unblock 0\n");
    tide_align_free(a);
}
END_TEST

START_TEST(what_is_remembered_is_dropped_once_resolved)
{
    make(2);
    abort_round(3);
    trigger(5);
    barrier(0, 5);
    lowest(5);
    barrier(1, 3); /* stale: those downstream know it too */
    barrier(1, 5);
    expect(trace, "abort 3 ->\ntrigger 5 ->\n0:5 -> block 0\nlowest 5 ->\n1:3 ->\n"
                  "1:5 -> forward 5 snapshot 5 after 20 unblock 0\n");
    trigger(6);
    barrier(0, 6);
    lowest(7); /* it was resolved without us */
    expect(trace, "trigger 6 ->\n0:6 -> block 0\n"
                  "lowest 7 -> cancel 6 discard 6 (known) unblock 0\n");
    tide_align_free(a);
}
END_TEST

START_TEST(a_round_given_up_here_is_declined)
{
    make(2);
    trigger(1);
    barrier(0, 1);
    give_up(1);
    barrier(1, 1);
    trigger(2);
    give_up(2);
    barrier(0, 2);
    expect(trace, "trigger 1 ->\n0:1 -> block 0\n"
                  "give up 1 -> cancel 1 discard 1 (cut off) unblock 0\n1:1 ->\ntrigger 2 ->\n"
                  "give up 2 -> discard 2 (cut off)\n0:2 -> cancel 2\n");
    tide_align_free(a);
}
END_TEST

START_TEST(memory_of_rounds_is_bounded)
{
    make(1);
    for (uint64_t r = 1; r <= 1000; r++)
        abort_round(r);
    trace[0] = '\0';
    barrier(0, 2);
    barrier(0, 1000);
    trigger(1001);
    barrier(0, 1001);
    expect(trace, "0:2 ->\n0:1000 -> cancel 1000\ntrigger 1001 ->\n"
                  "0:1001 -> forward 1001 snapshot 1001 after 0\n");
    tide_align_free(a);
}
END_TEST

/* It was remembered below what counts as resolved, and the end of the last channel never returned.
 */
START_TEST(a_trigger_older_than_all_that_is_remembered_is_declined)
{
    make(1);
    for (uint64_t r = 100; r < 228; r++)
        abort_round(r);
    trace[0] = '\0';
    trigger(50);
    trigger(50);
    end(0);
    trigger(320);
    expect(trace, "trigger 50 -> cancel 50 discard 50 (overtaken by a newer round)\n"
                  "trigger 50 ->\n0:end -> ended\n"
                  "trigger 320 -> forward 320 snapshot 320 after 0\n");
    tide_align_free(a);
}
END_TEST

START_TEST(what_is_resolved_is_dropped)
{
    make(2);
    lowest(5);
    lowest(4);
    trigger(4);
    abort_round(4);
    barrier(0, 4);
    cancel(0, 4);
    barrier(0, 6);
    cancel(1, 5); /* older than one that has begun */
    barrier(1, 6);
    ck_assert_uint_eq(tide_align_deadline(a, UINT64_MAX), UINT64_MAX);
    lowest(7);
    expect(trace, "lowest 5 ->\nlowest 4 ->\ntrigger 4 ->\nabort 4 ->\n0:4 ->\n0:cancel 4 ->\n"
                  "0:6 -> block 0\n"
                  "1:cancel 5 -> cancel 5 discard 5 (overtaken by a newer round)\n1:6 -> block 1\n"
                  "lowest 7 -> cancel 6 discard 6 (known) unblock 0 unblock 1\n");
    tide_align_free(a);
}
END_TEST

START_TEST(the_nearest_deadline_is_told)
{
    make(2);
    for (uint64_t r = 1; r <= 3; r++) {
        struct tide_align_trigger t = {.round = r, .deadline_us = r == 2 ? 500 : 900};
        ck_assert_int_eq(tide_align_trigger(a, &t, 0), 0);
    }
    ck_assert_uint_eq(tide_align_deadline(a, 10), 500);
    tick(500);
    ck_assert_uint_eq(tide_align_deadline(a, 10), 900);
    expect(trace, "[500] -> discard 2 (the round's time is over)\n");
    tide_align_free(a);
}
END_TEST

START_TEST(what_is_out_of_range_is_refused)
{
    make(2);
    ck_assert_int_eq(tide_align_barrier(a, 2, 1, 0, 0), TIDE_EINVAL);
    ck_assert_int_eq(tide_align_barrier(a, 0, 0, 0, 0), TIDE_EINVAL);
    ck_assert_int_eq(tide_align_cancel(a, 2, 1, 0), TIDE_EINVAL);
    ck_assert_int_eq(tide_align_end(a, 2, 0), TIDE_EINVAL);
    ck_assert_int_eq(tide_align_trigger(a, &(struct tide_align_trigger){0}, 0), TIDE_EINVAL);
    ck_assert_int_eq(tide_align_abort(a, 0, true, NULL, 0), TIDE_EINVAL);
    ck_assert_int_eq(tide_align_reset(a, TIDE_CHANNELS_MAX + 1), TIDE_EINVAL);
    ck_assert(!tide_align_blocked(a, 7));
    barrier(0, 1);
    ck_assert_int_eq(tide_align_reset(a, 1), 0);
    ck_assert(!tide_align_blocked(a, 0));
    trigger(1);
    barrier(0, 1);
    expect(trace, "0:1 -> block 0\ntrigger 1 ->\n0:1 -> forward 1 snapshot 1 after 0\n");
    tide_align_free(a);
}
END_TEST

/* Not a promise, a figure for the log: what one barrier costs. */
START_TEST(cost_of_a_barrier)
{
    enum { ROUNDS = 20000, CHANNELS = 16 };
    struct tide_align_step s;
    struct timespec from, to;
    make(CHANNELS);
    clock_gettime(CLOCK_MONOTONIC, &from);
    uint64_t snapshots = 0;
    for (uint64_t r = 1; r <= ROUNDS; r++) {
        tide_align_lowest(a, r);
        (void)tide_align_trigger(
            a, &(struct tide_align_trigger){.round = r, .deadline_us = UINT64_MAX}, r);
        for (uint32_t c = 0; c < CHANNELS; c++) {
            (void)tide_align_barrier(a, c, r, 0, r);
            while (tide_align_next(a, &s))
                snapshots += s.what == TIDE_ALIGN_SNAPSHOT;
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    ck_assert_uint_eq(snapshots, ROUNDS);
    double ns = (double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec);
    printf("aligner: %.1f ns per barrier, %d channels\n", ns / ROUNDS / CHANNELS, CHANNELS);
    tide_align_free(a);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        s188_one_channel_snapshots_at_every_barrier_and_ids_may_be_skipped,
        every_channel_is_blocked_until_the_last_barrier,
        a_second_barrier_of_the_round_on_a_channel_counts_once,
        s190_a_newer_barrier_ends_the_round_under_way,
        s190_the_channel_that_overtakes_stays_blocked,
        a_trigger_whose_barriers_were_skipped_is_declined_when_a_newer_one_begins,
        an_older_round_never_seen_is_cancelled_downstream_once,
        s191_a_cancel_on_the_last_channel,
        s191_a_cancel_on_the_first_channel,
        s191_cancels_on_several_channels_are_one,
        a_cancel_of_a_newer_round_leaves_the_one_under_way_alone,
        s193_channels_that_ended_before_do_not_count,
        s194_the_end_of_a_channel_completes_the_round,
        s194_a_barrier_and_then_the_end_count_once,
        when_all_channels_have_ended_triggers_act_as_for_a_source,
        a_source_snapshots_at_the_trigger,
        barriers_wait_for_their_trigger,
        without_a_trigger_they_wait_no_longer_than_the_orphan_limit,
        a_round_whose_time_is_over_is_given_up,
        a_round_whose_time_is_over_before_its_first_barrier,
        an_abort_lets_go_of_the_round_under_way,
        an_abort_before_the_first_barrier_is_remembered,
        what_is_remembered_is_dropped_once_resolved,
        a_round_given_up_here_is_declined,
        memory_of_rounds_is_bounded,
        a_trigger_older_than_all_that_is_remembered_is_declined,
        what_is_resolved_is_dropped,
        the_nearest_deadline_is_told,
        what_is_out_of_range_is_refused,
        cost_of_a_barrier,
    };
    Suite *suite = suite_create("align");
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        add_test(suite, tests[i]);
    return run_suite(suite);
}
