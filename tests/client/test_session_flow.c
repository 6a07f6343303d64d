/* A session in rounds that do not wait for all barriers, as traces. S numbers are scenarios of
 * Flink's own tests that must hold here too, in meaning. */
#include "proto/barrier.h"
#include "tests/client/lib_run.h"
#include "tests/client/lib_session.h"

#define U TIDE_BARRIER_UNALIGNED
#define UNALIGNED TIDE__ALIGNMENT__ALIGN_UNALIGNED
#define TIMEOUT TIDE__ALIGNMENT__ALIGN_TIMEOUT
#define COUNTED TIDE__ALIGNMENT__ALIGN_AT_LEAST_ONCE

static int announce(uint32_t channel, uint64_t round, uint32_t flags)
{
    struct tide_barrier b = {round, flags, tide_job_check((const uint8_t *)JOB_ID)};
    uint8_t bytes[TIDE_BARRIER_BYTES];
    tide_barrier_encode(&b, bytes);
    int rc = tide_session_announce(bench.s, 1, channel, bytes, bench.now);
    bench_pump();
    return rc;
}

static int sent(uint32_t task, uint64_t round)
{
    struct tide_barrier b = {round, 0, 0};
    uint8_t bytes[TIDE_BARRIER_BYTES];
    tide_barrier_encode(&b, bytes);
    int rc = tide_session_sent(bench.s, task, bytes, bench.now);
    bench_pump();
    return rc;
}

/* With 100 bytes of a record that was in flight, beside the state. */
static int ack_with_flight(uint32_t task, uint64_t round)
{
    struct tide_artifact_view views[2] = {
        {.size = 10, .digest_low = 1, .digest_high = 2},
        {.size = 100, .flight = TIDE__FLIGHT__FLIGHT_INPUT, .channel = 1}};
    struct tide_session_ack ack = {
        .attempt = 1, .round = round, .task = task, .artifacts = views, .n_artifacts = 2};
    return tide_session_ack(bench.s, &ack, bench.now);
}

START_TEST(an_unaligned_round_from_trigger_to_ack)
{
    bench_run();
    say_trigger_as(1, 5, UNALIGNED, 0, 0);
    expect(bench.trace,
           "0: trigger 5\n0: forward ahead unaligned 5\n0: snapshot 5 in /state/a/r5\n");
    bench.now += 30;
    ck_assert_uint_eq(tide_session_record(bench.s, 1, 1, 7), 0);
    ck_assert_int_eq(bench_barrier(0, 5, U), 0);
    expect(bench.trace,
           "1: forward ahead unaligned 5\n1: snapshot 5 in /state/a/r5 captures waits\n");
    ck_assert_uint_eq(tide_session_record(bench.s, 1, 0, 7), 0);
    ck_assert_uint_eq(tide_session_record(bench.s, 1, 1, 20), 5);
    tide_session_processed(bench.s, 1, 300);
    ck_assert_uint_eq(tide_session_record(bench.s, 9, 1, 20), 0);
    tide_session_processed(bench.s, 9, 300);
    ck_assert_int_eq(ack_with_flight(1, 5), TIDE_ESTATE); /* not before all is there */
    bench.now += 100;
    ck_assert_int_eq(bench_barrier(1, 5, U), 0);
    expect(bench.trace, "1: ackable 5\n");
    ck_assert_int_eq(ack_with_flight(1, 5), 0);
    ck_assert_int_eq(bench_ack(0, 5), 0);
    flush();
    expect(bench.trace,
           "> acks 5 0(1) 1(2 full unaligned delay 30 align 100 bytes 327 kept 100)\n");
    say_complete(1, 5, false);
    bench_close();
}
END_TEST

/* S203, at the session: what an upstream has turned turns here, and goes on flagged. */
START_TEST(s203_a_round_with_a_timeout_turns_by_a_flagged_barrier)
{
    bench_run();
    say_trigger_as(1, 5, TIMEOUT, 1000, 0);
    bench_barrier(0, 5, 0);
    ck_assert_int_eq(announce(1, 5, U), 0);
    expect(bench.trace, "0: trigger 5\n0: forward 5\n0: snapshot 5 in /state/a/r5\n1: block 0\n"
                        "1: forward ahead unaligned 5\n"
                        "1: snapshot 5 in /state/a/r5 captures waits\n1: unblock 0\n"
                        "1: overtake 1 5\n");
    bench_barrier(1, 5, 0);
    expect(bench.trace, "1: ackable 5\n");
    bench_close();
}
END_TEST

START_TEST(a_timeout_counts_from_the_begin_of_the_round)
{
    bench_run();
    say_trigger_as(1, 5, TIMEOUT, 1000, 700); /* 300 ms are left */
    bench_barrier(0, 5, 0);
    uint64_t begun = bench.now;
    bench_until(begun + 299000);
    expect(bench.trace, "0: trigger 5\n0: forward 5\n0: snapshot 5 in /state/a/r5\n1: block 0\n");
    bench_until(begun + 300000);
    expect(bench.trace, "1: forward ahead unaligned 5\n"
                        "1: snapshot 5 in /state/a/r5 captures waits\n1: unblock 0\n");
    say_abort(1, 5);
    expect(bench.trace, "note: round 5 aborted: too slow\n0: abort 5\n1: forward cancel 5\n"
                        "1: abort 5\n");
    say_trigger_as(1, 6, TIMEOUT, 1000, 2000); /* it is over */
    bench_barrier(1, 6, 0);
    expect(bench.trace, "0: trigger 6\n0: forward ahead unaligned 6\n0: snapshot 6 in /state/a/r6\n"
                        "1: forward ahead unaligned 6\n"
                        "1: snapshot 6 in /state/a/r6 captures waits\n");
    bench_close();
}
END_TEST

START_TEST(the_daemon_turns_what_has_not_snapshotted)
{
    bench_run();
    say_trigger_as(1, 5, TIMEOUT, 60000, 0);
    bench_barrier(0, 5, 0);
    bench.trace[0] = '\0';
    say_turn(2, 5); /* another attempt */
    say_turn(1, 6); /* not begun, or over */
    expect(bench.trace, "");
    say_turn(1, 5);
    expect(bench.trace, "1: forward ahead unaligned 5\n"
                        "1: snapshot 5 in /state/a/r5 captures waits\n1: unblock 0\n");
    say_turn(1, 5);
    bench_barrier(1, 5, 0);
    expect(bench.trace, "1: ackable 5\n");
    bench_close();
}
END_TEST

START_TEST(the_ack_waits_for_outputs_in_which_the_barrier_is_held_up)
{
    bench_open();
    ck_assert_int_eq(tide_session_promotable(bench.s, 0, 2), 0);
    ck_assert_int_eq(tide_session_promotable(bench.s, 7, 2), TIDE_EINVAL);
    bench_close();
    bench_run();
    ck_assert_int_eq(tide_session_promotable(bench.s, 0, 2), 0);
    say_trigger_as(1, 5, TIMEOUT, 400, 0);
    expect(bench.trace, "0: trigger 5\n0: forward 5\n0: snapshot 5 in /state/a/r5 waits\n");
    ck_assert_int_eq(bench_ack(0, 5), TIDE_ESTATE);
    ck_assert_int_eq(sent(0, 5), 0);
    ck_assert_int_eq(sent(0, 5), 0);
    expect(bench.trace, "0: ackable 5\n");
    ck_assert_int_eq(bench_ack(0, 5), 0);
    say_complete(1, 5, false);
    flush();
    bench.trace[0] = '\0';

    say_trigger_as(1, 6, TIMEOUT, 300, 0);
    ck_assert_int_eq(sent(0, 6), 0);
    expect(bench.trace, "0: trigger 6\n0: forward 6\n0: snapshot 6 in /state/a/r6 waits\n");
    bench_until(bench.now + 300000);
    expect(bench.trace, "0: promote unaligned 6\n0: ackable 6\n");
    ck_assert_int_eq(sent(7, 6), TIDE_EINVAL);
    bench_close();
}
END_TEST

/* What is restored as ended has no records to put out: so it leaves none behind. */
START_TEST(a_task_that_holds_its_end_puts_no_barrier_ahead)
{
    bench_run();
    ck_assert_int_eq(tide_session_promotable(bench.s, 0, 2), 0);
    ck_assert_int_eq(tide_session_finished(bench.s, 0, bench.now), 0);
    say_trigger_as(1, 5, UNALIGNED, 0, 0);
    expect(bench.trace, "0: trigger 5\n0: forward unaligned 5\n0: snapshot 5 in /state/a/r5\n");
    say_trigger_as(1, 6, TIMEOUT, 400, 0);
    expect(bench.trace, "0: trigger 6\n0: forward 6\n0: snapshot 6 in /state/a/r6\n");
    bench_close();
}
END_TEST

START_TEST(a_counted_round_blocks_nothing)
{
    bench_run();
    bench.lowest = 5;
    say_trigger_as(1, 5, COUNTED, 0, 0);
    say_trigger_as(1, 6, COUNTED, 0, 0);
    expect(bench.trace, "0: trigger 5\n0: forward counted 5\n0: snapshot 5 in /state/a/r5\n"
                        "0: trigger 6\n0: forward counted 6\n0: snapshot 6 in /state/a/r6\n");
    bench.now += 10;
    bench_barrier(0, 5, TIDE_BARRIER_COUNTED);
    bench_barrier(0, 6, TIDE_BARRIER_COUNTED);
    tide_session_processed(bench.s, 1, 40);
    bench.now += 10;
    bench_barrier(1, 5, TIDE_BARRIER_COUNTED);
    expect(bench.trace, "1: forward counted 5\n1: snapshot 5 in /state/a/r5\n");
    bench_barrier(1, 6, TIDE_BARRIER_COUNTED);
    bench.trace[0] = '\0';
    ck_assert_int_eq(bench_ack(1, 5), 0);
    ck_assert_int_eq(bench_ack(0, 5), 0);
    flush();
    expect(bench.trace, "> acks 5 0(1) 1(1 full delay 10 align 0 bytes 40 kept 0)\n");
    bench_close();
}
END_TEST

/* S214: an abort while the snapshot is being written, and after it has been acked. */
START_TEST(s214_an_abort_during_the_upload_and_after_it)
{
    bench_run();
    say_trigger_as(1, 5, UNALIGNED, 0, 0);
    bench_barrier(0, 5, U);
    bench.trace[0] = '\0';
    say_abort(1, 5); /* both have snapshotted, neither has acked */
    expect(bench.trace, "note: round 5 aborted: too slow\n0: abort 5\n1: forward cancel 5\n"
                        "1: abort 5\n");
    ck_assert_int_eq(bench_ack(0, 5), TIDE_ESTALE);
    ck_assert_uint_eq(tide_session_record(bench.s, 1, 1, 20), 0);
    snapshot_both(6);
    ck_assert_int_eq(bench_ack(0, 6), 0);
    ck_assert_int_eq(bench_ack(1, 6), 0);
    flush();
    bench.trace[0] = '\0';
    say_abort(1, 6);
    expect(bench.trace, "note: round 6 aborted: too slow\n0: abort 6\n1: abort 6\n");
    bench_close();
}
END_TEST

/* S215: the completion is passed on to a task that has reached its end. */
START_TEST(s215_a_completion_reaches_a_task_that_no_longer_runs)
{
    bench_run();
    snapshot_both(5);
    ck_assert_int_eq(bench_ack(0, 5), 0);
    ck_assert_int_eq(bench_ack(1, 5), 0);
    ck_assert_int_eq(tide_session_finished(bench.s, 0, bench.now), 0);
    flush();
    bench.trace[0] = '\0';
    say_complete(1, 5, true);
    expect(bench.trace, "0: complete 5\n1: complete 5\n");
    bench_close();
}
END_TEST

/* S217: an abort of the old round, then the new one begins at once. */
START_TEST(s217_the_next_round_begins_at_once_after_an_abort)
{
    bench_run();
    say_trigger_as(1, 5, UNALIGNED, 0, 0);
    bench_barrier(0, 5, U);
    say_abort(1, 5);
    bench.trace[0] = '\0';
    say_trigger_as(1, 6, UNALIGNED, 0, 0);
    bench_barrier(1, 5, U); /* a late one of the old */
    bench_barrier(1, 6, U);
    bench_barrier(0, 6, U);
    expect(bench.trace, "0: trigger 6\n0: forward ahead unaligned 6\n0: snapshot 6 in /state/a/r6\n"
                        "1: forward ahead unaligned 6\n"
                        "1: snapshot 6 in /state/a/r6 captures waits\n1: ackable 6\n");
    bench_close();
}
END_TEST

START_TEST(a_snapshot_whose_round_is_given_up_here_is_declined_and_told)
{
    bench_run();
    say_trigger_as(1, 5, UNALIGNED, 0, 0);
    bench_barrier(0, 5, U);
    bench.trace[0] = '\0';
    bench_barrier(1, 5, TIDE_BARRIER_CANCEL);
    expect(bench.trace,
           "> decline 5 task 1: cancelled upstream\n1: forward cancel 5\n1: abort 5\n");
    ck_assert_int_eq(bench_ack(1, 5), TIDE_ESTALE);
    say_abort(1, 5);
    expect(bench.trace, "note: round 5 aborted: too slow\n0: abort 5\n"); /* once is enough */
    bench_close();
}
END_TEST

/* A savepoint, aligned, behind a checkpoint that is captured. */
START_TEST(a_savepoint_beside_an_unaligned_checkpoint)
{
    bench_run();
    bench.lowest = 5;
    say_trigger_as(1, 5, UNALIGNED, 0, 0);
    say_trigger(1, 6);
    bench.trace[0] = '\0';
    bench_barrier(0, 5, U);
    bench_barrier(0, 6, 0);
    expect(bench.trace, "1: forward ahead unaligned 5\n"
                        "1: snapshot 5 in /state/a/r5 captures waits\n1: block 0\n");
    bench_barrier(1, 5, U);
    bench_barrier(1, 6, 0);
    expect(bench.trace, "1: ackable 5\n1: forward 6\n1: snapshot 6 in /state/a/r6\n1: unblock 0\n");
    bench_close();
}
END_TEST

START_TEST(cut_off_past_the_orphan_limit_ends_a_capture)
{
    bench_run();
    say_trigger_as(1, 5, UNALIGNED, 0, 0);
    bench_barrier(0, 5, U);
    cut();
    bench.trace[0] = '\0';
    bench_until(bench.now + 500000);
    ck_assert_ptr_nonnull(strstr(bench.trace, "1: forward cancel 5\n1: abort 5\n"));
    ck_assert_uint_eq(tide_session_record(bench.s, 1, 1, 20), 0);
    bench_close();
}
END_TEST

/* What waited behind the capture was begun by its end, and blocked its channel for good. */
START_TEST(cut_off_past_the_orphan_limit_ends_what_waited_as_well)
{
    bench_run();
    bench.lowest = 5;
    say_trigger_as(1, 5, UNALIGNED, 0, 0);
    say_trigger(1, 6);
    bench_barrier(0, 5, U);
    bench_barrier(0, 6, 0);
    cut();
    bench.trace[0] = '\0';
    bench_until(bench.now + 500000);
    ck_assert_ptr_nonnull(strstr(bench.trace, "1: forward cancel 5\n1: abort 5\n"));
    ck_assert_ptr_nonnull(strstr(bench.trace, "1: forward cancel 6\n1: unblock 0\n"));
    bench_close();
}
END_TEST

START_TEST(who_captures_is_said_to_align)
{
    bench_run();
    say_trigger_as(1, 5, UNALIGNED, 0, 0);
    bench_barrier(0, 5, U);
    bench.trace[0] = '\0';
    bench_until(bench.now + 400000);
    expect(bench.trace, "> progress 5 0 phase 3 1 phase 2 missing 1 from 1\n");
    bench_barrier(1, 5, U);
    bench.trace[0] = '\0';
    bench_until(bench.now + 400000);
    expect(bench.trace, "> progress 5 0 phase 3 1 phase 3\n");
    bench_close();
}
END_TEST

START_TEST(what_makes_no_sense_is_refused)
{
    uint8_t bytes[TIDE_BARRIER_BYTES] = {0};
    bench_open();
    ck_assert_int_eq(tide_session_force(bench.s, 1, 0, true), 0);
    ck_assert_int_eq(tide_session_force(bench.s, 1, 2, true), TIDE_EINVAL);
    ck_assert_int_eq(tide_session_force(bench.s, 7, 0, true), TIDE_EINVAL);
    ck_assert_int_eq(announce(0, 5, U), TIDE_ESTATE);
    ck_assert_int_eq(sent(0, 5), TIDE_ESTATE);
    bench_close();
    bench_run();
    ck_assert_int_eq(announce(2, 5, U), TIDE_EINVAL);
    ck_assert_int_eq(tide_session_announce(bench.s, 1, 0, bytes, bench.now), TIDE_EPROTO);
    ck_assert_int_eq(tide_session_sent(bench.s, 1, bytes, bench.now), TIDE_EPROTO);
    ck_assert_int_eq(announce(0, 5, TIDE_BARRIER_CANCEL), 0);
    ck_assert_int_eq(announce(0, 0, TIDE_BARRIER_END), 0);
    expect(bench.trace, "");
    say_trigger_as(1, 5, (Tide__Alignment)9, 0, 0);
    ck_assert_ptr_nonnull(strstr(bench.trace, "aligned in an unknown way"));
    bench_close();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        an_unaligned_round_from_trigger_to_ack,
        s203_a_round_with_a_timeout_turns_by_a_flagged_barrier,
        a_timeout_counts_from_the_begin_of_the_round,
        the_daemon_turns_what_has_not_snapshotted,
        the_ack_waits_for_outputs_in_which_the_barrier_is_held_up,
        a_task_that_holds_its_end_puts_no_barrier_ahead,
        a_counted_round_blocks_nothing,
        s214_an_abort_during_the_upload_and_after_it,
        s215_a_completion_reaches_a_task_that_no_longer_runs,
        s217_the_next_round_begins_at_once_after_an_abort,
        a_snapshot_whose_round_is_given_up_here_is_declined_and_told,
        a_savepoint_beside_an_unaligned_checkpoint,
        cut_off_past_the_orphan_limit_ends_a_capture,
        cut_off_past_the_orphan_limit_ends_what_waited_as_well,
        who_captures_is_said_to_align,
        what_makes_no_sense_is_refused,
    };
    Suite *suite = suite_create("session flow");
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        add_test(suite, tests[i]);
    return run_suite(suite);
}
