/* The aligner: rounds that turn unaligned after a while, by advice, or by their upstream; and whose
 * barriers may be promoted in the outputs. Traces as in test_align_unaligned.c. */
#include "tests/client/lib_align.h"

static const uint64_t never = UINT64_MAX;

/* ---- with a timeout */

START_TEST(the_timer_switches_what_aligns)
{
    make(3);
    timed(1, 500);
    ck_assert_uint_eq(tide_align_deadline(a, 1000), 500);
    barrier(1, 1);
    announce(0, 1, 0);
    tick(499);
    tick(500);
    ck_assert(tide_align_record(a, 2, 1) && tide_align_record(a, 0, 1));
    ck_assert_uint_eq(tide_align_deadline(a, 1000), 1000000);
    barrier(0, 1);
    barrier(2, 1);
    expect(trace, "trigger 1 ->\n1:1 -> block 1\n0:(1) ->\n[499] ->\n"
                  "[500] -> ahead 1 snapshot 1 waits unblock 1 overtake 0:1\n0:1 ->\n"
                  "2:1 -> ackable 1 after 500\n");
    tide_align_free(a);
}
END_TEST

START_TEST(the_timer_before_the_first_barrier)
{
    make(2);
    timed(1, 500);
    tick(500);
    ck_assert_uint_eq(tide_align_deadline(a, 1000), 1000000);
    barrier(1, 1);
    barrier(0, 1);
    timed(2, 600);
    announce(0, 2, 0);
    tick(600);
    expect(trace, "trigger 1 ->\n[500] ->\n1:1 -> ahead 1 snapshot 1 waits\n"
                  "0:1 -> ackable 1 after 10\ntrigger 2 ->\n0:(2) ->\n"
                  "[600] -> ahead 2 snapshot 2 waits overtake 0:2\n");
    tide_align_free(a);
}
END_TEST

START_TEST(a_trigger_that_comes_late_switches_at_once)
{
    make(2);
    now = 1000;
    barrier(0, 1);
    timed(1, 700);
    expect(trace, "0:1 -> block 0\ntrigger 1 -> ahead 1 snapshot 1 waits unblock 0\n");
    tide_align_free(a);
    make(0);
    now = 1000;
    timed(1, 700);
    expect(trace, "trigger 1 -> ahead 1 snapshot 1 after 0\n");
    tide_align_free(a);
}
END_TEST

START_TEST(a_barrier_after_the_time_switches_without_the_timer)
{
    make(3);
    timed(1, 35);
    barrier(0, 1);
    barrier(1, 1);
    barrier(2, 1);
    expect(trace, "trigger 1 ->\n0:1 -> block 0\n1:1 -> block 1\n2:1 -> forward 1 snapshot 1 after "
                  "20 unblock 0 unblock 1\n"); /* the last one is in time, however late it is */
    timed(2, 65);
    barrier(0, 2);
    barrier(1, 2);
    expect(trace, "trigger 2 ->\n0:2 -> block 0\n1:2 -> ahead 2 snapshot 2 waits unblock 0\n");
    tide_align_free(a);
}
END_TEST

/* S205: after a round that switched the next starts aligned again. */
START_TEST(s205_the_next_round_starts_aligned_again)
{
    make(2);
    timed(1, 30);
    barrier(0, 1);
    tick(30);
    barrier(1, 1);
    timed(2, 1000);
    barrier(1, 2);
    barrier(0, 2);
    expect(trace, "trigger 1 ->\n0:1 -> block 0\n[30] -> ahead 1 snapshot 1 waits unblock 0\n"
                  "1:1 -> ackable 1 after 20\ntrigger 2 ->\n1:2 -> block 1\n"
                  "0:2 -> forward 2 snapshot 2 after 10 unblock 1\n");
    tide_align_free(a);
}
END_TEST

/* S206: the timer after the last barrier, after an abort, after the end. */
START_TEST(s206_a_timer_with_nothing_left_to_do)
{
    make(2);
    timed(1, 500);
    barrier(0, 1);
    barrier(1, 1);
    ck_assert_uint_eq(tide_align_deadline(a, 1000), UINT64_MAX);
    tick(500);
    timed(2, 600);
    barrier(0, 2);
    abort_round(2);
    ck_assert_uint_eq(tide_align_deadline(a, 1000), UINT64_MAX);
    tick(600);
    timed(3, 700);
    barrier(0, 3);
    ck_assert_int_eq(tide_align_reset(a, 2), 0);
    ck_assert_uint_eq(tide_align_deadline(a, 1000), UINT64_MAX);
    tick(700);
    expect(trace, "trigger 1 ->\n0:1 -> block 0\n1:1 -> forward 1 snapshot 1 after 10 unblock 0\n"
                  "[500] ->\ntrigger 2 ->\n0:2 -> block 0\n"
                  "abort 2 -> cancel 2 discard 2 (known) unblock 0\n[600] ->\ntrigger 3 ->\n"
                  "0:3 -> block 0\n[700] ->\n");
    tide_align_free(a);
}
END_TEST

/* S208: the end of a channel after the time. */
START_TEST(s208_the_end_of_a_channel_after_the_time_switches)
{
    make(3);
    timed(1, 25);
    barrier(0, 1);
    end(1);
    end(2);
    expect(trace, "trigger 1 ->\n0:1 -> block 0\n1:end -> ahead 1 snapshot 1 waits unblock 0\n"
                  "2:end -> ackable 1 after 20\n");
    tide_align_free(a);
}
END_TEST

/* S209: a time that never comes. */
START_TEST(s209_an_infinite_timeout_never_switches)
{
    make(2);
    timed(1, never);
    barrier(0, 1);
    tick(999999);
    barrier(1, 1);
    expect(trace, "trigger 1 ->\n0:1 -> block 0\n[999999] ->\n"
                  "1:1 -> forward 1 snapshot 1 after 999989 unblock 0\n");
    tide_align_free(a);
}
END_TEST

/* S202: savepoints and checkpoints by turns, over 123 channels. */
START_TEST(s202_savepoints_and_checkpoints_by_turns)
{
    enum { CHANNELS = 123 };
    struct tide_align_step s;
    uint64_t snapshots = 0, round = 0;
    make(CHANNELS);
    for (unsigned k = 0; k < 60; k++) {
        bool savepoint = k % 3 == 0;
        struct tide_align_trigger t = {.round = ++round,
                                       .deadline_us = UINT64_MAX,
                                       .mode =
                                           savepoint ? TIDE_ALIGN_ALIGNED : TIDE_ALIGN_UNALIGNED};
        ck_assert_int_eq(tide_align_trigger(a, &t, ++now), 0);
        uint64_t asked = 0, ackable = 0;
        for (uint32_t c = 0; c < CHANNELS; c++) {
            ck_assert_int_eq(tide_align_barrier(a, c, round, savepoint ? 0 : U, ++now), 0);
            while (tide_align_next(a, &s)) {
                if (s.what == TIDE_ALIGN_SNAPSHOT) ck_assert(c == (savepoint ? CHANNELS - 1 : 0));
                if (s.what == TIDE_ALIGN_SNAPSHOT) asked = s.round;
                if (s.what == TIDE_ALIGN_SNAPSHOT && !s.waits) ackable = s.round;
                if (s.what == TIDE_ALIGN_ACKABLE) ackable = s.round;
                ck_assert_int_ne(s.what, TIDE_ALIGN_DISCARD);
            }
        }
        ck_assert_uint_eq(asked, round);
        ck_assert_uint_eq(ackable, round);
        snapshots++;
    }
    ck_assert_uint_eq(snapshots, 60);
    tide_align_free(a);
}
END_TEST

/* ---- the daemon's advice */

START_TEST(advice_is_acted_on_before_the_snapshot_and_ignored_after_it)
{
    make(2);
    timed(1, never);
    barrier(0, 1);
    turn(1);
    turn(1);
    barrier(1, 1);
    turn(1);
    expect(trace, "trigger 1 ->\n0:1 -> block 0\nturn 1 -> ahead 1 snapshot 1 waits unblock 0\n"
                  "turn 1 ->\n1:1 -> ackable 1 after 30\nturn 1 ->\n");
    tide_align_free(a);
}
END_TEST

START_TEST(advice_is_remembered_before_the_first_barrier)
{
    make(2);
    turn(1); /* before the trigger, even */
    timed(1, never);
    barrier(0, 1);
    timed(2, never);
    announce(1, 2, 0);
    turn(2);
    expect(trace, "turn 1 ->\ntrigger 1 ->\n0:1 -> ahead 1 snapshot 1 waits\ntrigger 2 ->\n"
                  "1:(2) ->\nturn 2 ->\n"); /* 1 is captured still */
    ck_assert_int_eq(tide_align_turn(a, 0, now), TIDE_EINVAL);
    lowest(2);
    turn(1);
    expect(trace, "lowest 2 -> cancel 1 discard 1 (known) ahead 2 snapshot 2 waits overtake 1:2\n"
                  "turn 1 ->\n");
    tide_align_free(a);
}
END_TEST

START_TEST(advice_for_a_counted_round_is_ignored)
{
    make(2);
    counted(1);
    turn(1);
    barrier_with(0, 1, C);
    barrier_with(1, 1, C);
    expect(trace, "trigger 1 ->\nturn 1 ->\n0:1c ->\n1:1c -> count 1 snapshot 1 after 10\n");
    tide_align_free(a);
}
END_TEST

/* Or its time would be due for ever, and who asks for it would never wait. */
START_TEST(a_counted_round_does_not_wait_for_the_timer)
{
    make(2);
    timed(1, 500);
    ck_assert_uint_eq(tide_align_deadline(a, 1000), 500);
    barrier_with(0, 1, C);
    ck_assert_uint_eq(tide_align_deadline(a, 1000), 1000000);
    tick(500);
    ck_assert_uint_eq(tide_align_deadline(a, 1000), 1000000);
    expect(trace, "trigger 1 ->\n0:1c ->\n[500] ->\n");
    tide_align_free(a);
}
END_TEST

/* ---- outputs */

START_TEST(with_a_timeout_the_ack_waits_until_the_barrier_has_left)
{
    make(1);
    tide_align_promotable(a, 2);
    timed(1, 500);
    barrier(0, 1);
    ck_assert_uint_eq(tide_align_deadline(a, 1000), 500);
    sent(1);
    sent(1);
    sent(1);
    ck_assert_uint_eq(tide_align_deadline(a, 1000), UINT64_MAX);
    tick(500);
    expect(trace, "trigger 1 ->\n0:1 -> forward 1 snapshot 1 after 0 waits\nsent 1 ->\n"
                  "sent 1 -> ackable 1 after 0\nsent 1 ->\n[500] ->\n");
    tide_align_free(a);
}
END_TEST

START_TEST(a_barrier_that_is_held_up_in_an_output_goes_ahead_when_it_is_time)
{
    struct tide_align_view v;
    make(1);
    tide_align_promotable(a, 2);
    timed(1, 500);
    barrier(0, 1);
    sent(1);
    tide_align_look(a, 1, &v);
    ck_assert(v.round == 1 && v.sending && !v.missing);
    timed(2, 600); /* the next one may begin meanwhile */
    barrier(0, 2);
    tick(500);
    tide_align_look(a, 1, &v);
    ck_assert(!v.round);
    sent(1);
    tick(600);
    expect(trace, "trigger 1 ->\n0:1 -> forward 1 snapshot 1 after 0 waits\nsent 1 ->\n"
                  "trigger 2 ->\n0:2 -> forward 2 snapshot 2 after 0 waits\n"
                  "[500] -> promote 1 ackable 1 after 0\nsent 1 ->\n"
                  "[600] -> promote 2 ackable 2 after 0\n");
    tide_align_free(a);
}
END_TEST

START_TEST(a_round_whose_barrier_is_held_up_may_come_to_nothing)
{
    make(2);
    tide_align_promotable(a, 1);
    timed(1, 2000000);
    barrier(0, 1);
    barrier(1, 1);
    barrier(0, 1);
    turn(1); /* it has snapshotted */
    tick(1000000);
    timed(2, 2000000);
    barrier(0, 2);
    barrier(1, 2);
    abort_round(2);
    sent(2);
    expect(trace,
           "trigger 1 ->\n0:1 -> block 0\n1:1 -> forward 1 snapshot 1 after 10 waits unblock 0\n"
           "0:1 ->\nturn 1 ->\n[1000000] -> cancel 1 discard 1 (the round's time is over)\n"
           "trigger 2 ->\n0:2 -> block 0\n1:2 -> forward 2 snapshot 2 after 10 waits unblock 0\n"
           "abort 2 -> cancel 2 discard 2 (known)\nsent 2 ->\n");
    tide_align_free(a);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        the_timer_switches_what_aligns,
        the_timer_before_the_first_barrier,
        a_trigger_that_comes_late_switches_at_once,
        a_barrier_after_the_time_switches_without_the_timer,
        s205_the_next_round_starts_aligned_again,
        s206_a_timer_with_nothing_left_to_do,
        s208_the_end_of_a_channel_after_the_time_switches,
        s209_an_infinite_timeout_never_switches,
        s202_savepoints_and_checkpoints_by_turns,
        advice_is_acted_on_before_the_snapshot_and_ignored_after_it,
        advice_is_remembered_before_the_first_barrier,
        advice_for_a_counted_round_is_ignored,
        a_counted_round_does_not_wait_for_the_timer,
        with_a_timeout_the_ack_waits_until_the_barrier_has_left,
        a_barrier_that_is_held_up_in_an_output_goes_ahead_when_it_is_time,
        a_round_whose_barrier_is_held_up_may_come_to_nothing,
    };
    Suite *suite = suite_create("align_timeout");
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        add_test(suite, tests[i]);
    return run_suite(suite);
}
