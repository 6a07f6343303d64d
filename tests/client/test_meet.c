/* Rendezvous rounds in the session, as traces: tasks `a` (0) and `b` (1) of one worker. */
#include <stdio.h>

#include "tests/client/lib_run.h"
#include "tests/client/lib_session.h"

static void run(uint32_t window)
{
    bench_window = window;
    bench_run();
}

static Tide__StopMode stop_mode; /* of the next Prepare */

static void say_prepare(uint64_t round, uint32_t left_ms)
{
    Tide__Prepare m = TIDE__PREPARE__INIT;
    char directory[64];
    snprintf(directory, sizeof directory, "/state/a/r%llu", (unsigned long long)round);
    m.attempt = 1;
    m.round = round;
    m.incarnation = 7;
    m.kind = TIDE__ROUND_KIND__ROUND_CHECKPOINT;
    m.left_ms = left_ms;
    m.directory = (ProtobufCBinaryData){strlen(directory), (uint8_t *)directory};
    m.lowest_pending = round;
    m.window = bench_window == TIDE_NONE ? 0 : bench_window;
    m.stop = stop_mode;
    stop_mode = TIDE__STOP_MODE__STOP_NOT;
    bench_say(TIDE__TO_WORKER__MSG_PREPARE, &m);
}

static void say_cut(uint64_t round, uint64_t position)
{
    Tide__Cut m = TIDE__CUT__INIT;
    m.attempt = 1;
    m.round = round;
    m.position = position;
    bench_say(TIDE__TO_WORKER__MSG_CUT, &m);
}

static void say_now(uint64_t round)
{
    Tide__SnapshotNow m = TIDE__SNAPSHOT_NOW__INIT;
    m.attempt = 1;
    m.round = round;
    bench_say(TIDE__TO_WORKER__MSG_SNAPSHOT_NOW, &m);
}

static int at(uint32_t task, uint64_t position)
{
    int rc = tide_session_position(bench.s, task, position, bench.now);
    bench_pump();
    return rc;
}

#define GO_ON(task, position) ck_assert_int_eq(at(task, position), 0)
#define STANDS(task, position) ck_assert_int_eq(at(task, position), TIDE_EAGAIN)

static void captured(uint32_t task, uint64_t round)
{
    tide_session_captured(bench.s, task, round);
    bench_pump();
}

/* Both at positions 3 and 4, the round prepared; the trace is empty. */
static void prepared(void)
{
    run(2);
    GO_ON(0, 3);
    GO_ON(1, 4);
    say_prepare(5, 60000);
    expect(bench.trace, "> position 5: 0 at 3 1 at 4\n");
}

/* Both at the cut of 6. */
static void standing(void)
{
    prepared();
    say_cut(5, 6);
    GO_ON(0, 4);
    GO_ON(0, 5);
    STANDS(0, 6);
    GO_ON(1, 5);
    STANDS(1, 6);
    expect(bench.trace, "> standing 5 0+2\n");
}

START_TEST(a_round_from_positions_to_acks)
{
    standing();
    STANDS(0, 6);
    say_now(5);
    expect(bench.trace, "0: call\n1: call\n");
    STANDS(0, 6); /* the snapshot is among the deliveries, its callback has not returned */
    expect(bench.trace, "0: snapshot 5 in /state/a/r5\n");
    STANDS(0, 6);
    expect(bench.trace, "");
    captured(0, 5);
    expect(bench.trace, "0: call\n");
    GO_ON(0, 6);
    GO_ON(0, 7); /* while the other still stands */
    STANDS(1, 6);
    captured(1, 5);
    GO_ON(1, 6);
    expect(bench.trace, "1: snapshot 5 in /state/a/r5\n1: call\n");
    bench_ack(0, 5);
    bench_ack(1, 5);
    flush();
    expect(bench.trace, "> acks 5 0(1) 1(1)\n");
    say_complete(1, 5, true);
    expect(bench.trace, "0: complete 5\n1: complete 5\n");
    bench_close();
}
END_TEST

/* Positions are those of safe points reached, so that nobody has to come to one first. */
START_TEST(a_task_goes_on_at_most_a_window_before_the_cut_is_known)
{
    prepared();
    GO_ON(0, 4);
    STANDS(0, 5);
    GO_ON(1, 5);
    STANDS(1, 6);
    expect(bench.trace, "");
    say_cut(5, 6); /* 1 is there, 0 is not */
    expect(bench.trace, "0: call\n");
    GO_ON(0, 5);
    STANDS(0, 6);
    expect(bench.trace, "> standing 5 0+2\n");
    bench_close();
}
END_TEST

START_TEST(a_task_that_has_not_called_reports_when_it_does)
{
    run(2);
    GO_ON(0, 3);
    say_prepare(5, 60000);
    expect(bench.trace, "1: call\n");
    flush(); /* what is not the last one's waits for the end of the turn */
    expect(bench.trace, "> position 5: 0 at 3\n");
    GO_ON(1, 1);
    expect(bench.trace, "> position 5: 1 at 1\n");
    bench_close();
}
END_TEST

/* Programs that count nothing: they stand where they are asked. */
START_TEST(without_a_window_a_task_reports_at_its_next_safe_point_and_stands)
{
    run(TIDE_NONE);
    GO_ON(0, 0);
    GO_ON(1, 0);
    say_prepare(5, 60000);
    expect(bench.trace, "0: call\n1: call\n");
    STANDS(0, 0);
    STANDS(1, 0);
    expect(bench.trace, "> position 5: 0 at 0 1 at 0\n");
    say_cut(5, 0);
    expect(bench.trace, "> standing 5 0+2\n");
    say_now(5);
    STANDS(0, 0);
    captured(0, 5);
    GO_ON(0, 0);
    expect(bench.trace, "0: call\n1: call\n0: snapshot 5 in /state/a/r5\n0: call\n");
    bench_close();
}
END_TEST

START_TEST(an_abort_lets_those_go_on_who_stand)
{
    standing();
    say_abort(1, 5);
    expect(bench.trace, "note: round 5 aborted: too slow\n0: call\n1: call\n");
    GO_ON(0, 6);
    GO_ON(1, 6);
    say_cut(5, 6);
    say_now(5); /* on their way when it was aborted */
    say_prepare(5, 60000);
    expect(bench.trace, "");
    bench_close();
}
END_TEST

START_TEST(an_abort_is_told_to_those_that_have_snapshotted)
{
    standing();
    say_now(5);
    STANDS(0, 6);
    captured(0, 5);
    GO_ON(0, 6);
    bench.trace[0] = '\0';
    say_abort(1, 5);
    /* 1 has been asked to call by SnapshotNow */
    expect(bench.trace, "note: round 5 aborted: too slow\n0: abort 5\n");
    GO_ON(1, 6);
    ck_assert_int_eq(bench_ack(0, 5), TIDE_ESTALE);
    bench_close();
}
END_TEST

START_TEST(a_round_whose_time_is_over_is_given_up)
{
    run(2);
    GO_ON(0, 3);
    GO_ON(1, 3);
    say_prepare(5, 600);
    GO_ON(0, 4);
    STANDS(0, 5);
    bench.trace[0] = '\0';
    bench_until(bench.now + 599000);
    ck_assert_ptr_null(strstr(bench.trace, "decline"));
    STANDS(0, 5);
    bench.trace[0] = '\0';
    bench_until(bench.now + 1000);
    expect(bench.trace, "> decline 5 task 0: the round's time is over\n"
                        "> decline 5 task 1: the round's time is over\n0: call\n");
    GO_ON(0, 5);
    say_cut(5, 5);
    expect(bench.trace, "");
    bench_close();
}
END_TEST

START_TEST(nobody_stands_for_an_absent_daemon)
{
    standing();
    cut();
    bench.trace[0] = '\0';
    uint64_t since = bench.now;
    while (!strstr(bench.trace, "call\n") && bench.now < since + 600000) {
        bench_until(tide_session_deadline(bench.s));
        if (strstr(bench.trace, "connect\n")) cut();
        char *gone = strstr(bench.trace, "connect\n");
        if (gone) bench.trace[0] = '\0';
    }
    ck_assert_uint_eq(bench.now, since + 500000);
    expect(bench.trace, "0: call\n1: call\n");
    GO_ON(0, 6);
    GO_ON(1, 6);
    bench_reconnect();
    bench.trace[0] = '\0';
    say_resumed(1);
    expect(bench.trace,
           "> decline 5 task 0: cut off from the daemon for longer than the orphan limit\n"
           "> decline 5 task 1: cut off from the daemon for longer than the orphan limit\n");
    bench_close();
}
END_TEST

/* Who came to the cut while cut off, and went on, has not stood there. */
START_TEST(what_was_given_up_is_not_said_any_more)
{
    prepared();
    say_cut(5, 6);
    STANDS(0, 6);
    flush();
    cut();
    STANDS(1, 6);
    uint64_t since = bench.now;
    while (!strstr(bench.trace, "call\n") && bench.now < since + 600000) {
        bench_until(tide_session_deadline(bench.s));
        if (strstr(bench.trace, "connect\n")) cut();
        char *gone = strstr(bench.trace, "connect\n");
        if (gone) bench.trace[0] = '\0';
    }
    GO_ON(0, 7);
    GO_ON(1, 7);
    bench_reconnect();
    bench.trace[0] = '\0';
    say_resumed(1);
    ck_assert_ptr_null(strstr(bench.trace, "standing"));
    ck_assert_ptr_null(strstr(bench.trace, "position"));
    ck_assert_ptr_nonnull(strstr(bench.trace, "> decline 5 task 1: cut off"));
    bench_close();
}
END_TEST

START_TEST(a_task_that_has_its_snapshot_keeps_its_ack_when_cut_off)
{
    standing();
    say_now(5);
    for (uint32_t t = 0; t < 2; t++) {
        STANDS(t, 6);
        captured(t, 5);
        GO_ON(t, 6);
    }
    cut();
    bench_ack(0, 5);
    bench_until(bench.now + 40000);
    bench_reconnect();
    bench.trace[0] = '\0';
    say_resumed(1);
    expect(bench.trace, "> acks 5 0(1)\n");
    bench_close();
}
END_TEST

START_TEST(positions_and_standing_are_said_again_after_a_cut)
{
    standing();
    cut();
    bench_reconnect();
    bench.trace[0] = '\0';
    say_resumed(1);
    expect(bench.trace, "> position 5: 0 at 3 1 at 4\n> standing 5 0+2\n");
    say_prepare(5, 60000); /* and so does the daemon */
    say_cut(5, 6);
    expect(bench.trace, "");
    say_now(5);
    expect(bench.trace, "0: call\n1: call\n");
    bench_close();
}
END_TEST

START_TEST(a_task_that_goes_on_where_it_should_stand_declines)
{
    standing();
    GO_ON(0, 7);
    expect(bench.trace, "> decline 5 task 0: at position 7 it has passed the cut, 6\n");
    bench_close();
}
END_TEST

START_TEST(a_task_that_counts_past_the_cut_declines)
{
    prepared();
    say_cut(5, 6);
    GO_ON(0, 8);
    expect(bench.trace, "> decline 5 task 0: at position 8 it has passed the cut, 6\n");
    say_abort(1, 5);
    GO_ON(1, 7);
    bench_close();
}
END_TEST

/* No daemon should; but a state of another position is worse than a round less. */
START_TEST(a_cut_that_a_task_has_passed_is_declined)
{
    prepared();
    GO_ON(1, 5);
    say_cut(5, 4);
    expect(bench.trace, "> decline 5 task 1: at position 5 it has passed the cut, 4\n");
    STANDS(0, 4);
    bench_close();
}
END_TEST

START_TEST(a_finished_task_stands_wherever_the_others_meet)
{
    run(2);
    GO_ON(0, 3);
    GO_ON(1, 7);
    ck_assert_int_eq(tide_session_finished(bench.s, 0, bench.now), 0);
    flush();
    bench.trace[0] = '\0';
    say_prepare(5, 60000);
    expect(bench.trace, "> position 5: 0 at 3 1 at 7\n");
    say_cut(5, 9);
    GO_ON(1, 8);
    STANDS(1, 9);
    expect(bench.trace, "> standing 5 0+2\n");
    say_now(5);
    expect(bench.trace, "0: snapshot 5 in /state/a/r5\n1: call\n");
    bench_close();
}
END_TEST

START_TEST(a_task_that_finishes_on_its_way_to_the_cut_stands)
{
    prepared();
    say_cut(5, 6);
    GO_ON(0, 4);
    ck_assert_int_eq(tide_session_finished(bench.s, 0, bench.now), 0);
    flush();
    expect(bench.trace, "> finished 0+1\n> standing 5 0+1\n");
    GO_ON(1, 5);
    STANDS(1, 6);
    expect(bench.trace, "> standing 5 1+1\n");
    bench_close();
}
END_TEST

START_TEST(a_rewind_ends_standing_once_and_for_all)
{
    standing();
    GO_ON(1, 6 + 1); /* that one goes on, and declines */
    say_rewind(1);
    bench.trace[0] = '\0';
    ck_assert_int_eq(at(0, 6), TIDE_ESTALE);
    ck_assert_int_eq(at(0, 6), TIDE_ESTATE); /* no attempt */
    ck_assert_int_eq(at(1, 7), TIDE_ESTATE);
    bench_close();
}
END_TEST

/* The worst moment: rewind, restore and run all came while the program waited. */
START_TEST(a_position_of_the_attempt_before_is_not_taken_for_one_of_this)
{
    standing();
    say_rewind(1);
    for (uint32_t t = 0; t < 2; t++)
        ck_assert_int_eq(tide_session_rewound(bench.s, t, bench.now), 0);
    bench_pump();
    say_joined();
    say_start(2);
    for (uint32_t t = 0; t < 2; t++)
        ck_assert_int_eq(tide_session_restored(bench.s, t, 0, (struct tide_bytes){0}, bench.now),
                         0);
    bench_pump();
    ck_assert_int_eq(at(1, 2), TIDE_ESTALE);
    ck_assert_int_eq(at(1, 2), TIDE_ESTATE); /* before run */
    say_run(2);
    ck_assert_int_eq(at(0, 6), TIDE_ESTALE);
    GO_ON(0, 2); /* what the restored snapshot says */
    bench_close();
}
END_TEST

static void last_round(void)
{
    stop_mode = TIDE__STOP_MODE__STOP_SUSPEND;
    standing();
    say_now(5);
    for (uint32_t t = 0; t < 2; t++) {
        STANDS(t, 6);
        captured(t, 5);
        STANDS(t, 6);
    }
    bench.trace[0] = '\0';
}

START_TEST(after_the_last_round_a_task_stands_until_stop)
{
    last_round();
    say_complete(1, 5, true);
    STANDS(0, 6);
    STANDS(1, 6);
    bench_close();
    last_round();
    say_abort(1, 5);
    ck_assert_ptr_nonnull(strstr(bench.trace, "0: call\n1: call\n"));
    GO_ON(0, 6);
    GO_ON(1, 7);
    bench_close();
    last_round(); /* nobody waits for an absent daemon */
    cut();
    for (uint64_t since = bench.now; bench.now < since + 500000;) {
        bench_until(tide_session_deadline(bench.s));
        if (strstr(bench.trace, "connect\n")) cut();
        char *gone = strstr(bench.trace, "connect\n");
        if (gone) bench.trace[0] = '\0';
    }
    expect(bench.trace, "0: go on 5\n1: go on 5\n0: call\n1: call\n");
    GO_ON(0, 6);
    bench_close();
}
END_TEST

START_TEST(the_lease_ends_a_round_that_has_no_snapshot)
{
    standing();
    bench.trace[0] = '\0';
    bench_until(bench.now + 3000000);
    ck_assert_ptr_nonnull(strstr(bench.trace, "0: call\n1: call\nfenced\n"));
    GO_ON(0, 6);
    bench_close();
}
END_TEST

START_TEST(progress_says_where_tasks_are)
{
    prepared();
    bench_until(bench.now + 400000);
    expect(bench.trace, "> progress 5 0 phase 1 at 3 1 phase 1 at 4\n");
    say_cut(5, 6);
    GO_ON(0, 4);
    STANDS(0, 6);
    flush();
    expect(bench.trace, "> standing 5 0+1\n");
    bench_until(bench.now + 400000);
    expect(bench.trace, "> progress 5 0 phase 6 at 6 1 phase 1 at 4\n");
    bench_close();
}
END_TEST

START_TEST(positions_only_rise_and_belong_to_running_tasks)
{
    run(2);
    GO_ON(0, 3);
    ck_assert_int_eq(at(0, 2), TIDE_EINVAL);
    ck_assert_int_eq(at(0, TIDE_POSITION_MAX + 1), TIDE_EINVAL);
    ck_assert_int_eq(at(2, 3), TIDE_EINVAL);
    GO_ON(0, 3);
    bench_close();
    bench_window = 0; /* a job of another style */
    bench_run();
    ck_assert_int_eq(at(0, 3), TIDE_ESTATE);
    bench_close();
}
END_TEST

static void expect_broken(const char *what)
{
    char lines[256];
    snprintf(lines, sizeof lines,
             "close\nnote: the daemon broke the protocol: %s; closing the connection\n", what);
    expect(bench.trace, lines);
    bench_close();
}

START_TEST(a_daemon_that_skips_a_step_is_not_believed)
{
    run(2);
    GO_ON(0, 3);
    say_prepare(5, 60000);
    bench.trace[0] = '\0';
    say_cut(5, 5);
    expect_broken("Cut before all tasks have reported their positions");
    prepared();
    say_now(5);
    expect_broken("SnapshotNow before all tasks stand");
    prepared();
    say_cut(5, 6);
    say_cut(5, 6);
    expect(bench.trace, "");
    say_cut(5, 7);
    expect_broken("Cut twice, at different positions");
    run(2);
    say_trigger(1, 5);
    expect_broken("Trigger, and the job's rounds are rendezvous rounds");
    run(0);
    say_prepare(5, 60000);
    expect_broken("Prepare, and the job's rounds are those of a flow");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_round_from_positions_to_acks,
        a_task_goes_on_at_most_a_window_before_the_cut_is_known,
        a_task_that_has_not_called_reports_when_it_does,
        without_a_window_a_task_reports_at_its_next_safe_point_and_stands,
        an_abort_lets_those_go_on_who_stand,
        an_abort_is_told_to_those_that_have_snapshotted,
        a_round_whose_time_is_over_is_given_up,
        nobody_stands_for_an_absent_daemon,
        what_was_given_up_is_not_said_any_more,
        a_task_that_has_its_snapshot_keeps_its_ack_when_cut_off,
        positions_and_standing_are_said_again_after_a_cut,
        a_task_that_goes_on_where_it_should_stand_declines,
        a_task_that_counts_past_the_cut_declines,
        a_cut_that_a_task_has_passed_is_declined,
        a_finished_task_stands_wherever_the_others_meet,
        a_task_that_finishes_on_its_way_to_the_cut_stands,
        a_rewind_ends_standing_once_and_for_all,
        a_position_of_the_attempt_before_is_not_taken_for_one_of_this,
        after_the_last_round_a_task_stands_until_stop,
        the_lease_ends_a_round_that_has_no_snapshot,
        progress_says_where_tasks_are,
        positions_only_rise_and_belong_to_running_tasks,
        a_daemon_that_skips_a_step_is_not_believed,
    };
    Suite *suite = suite_create("session meet");
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        add_test(suite, tests[i]);
    return run_suite(suite);
}
