/* The session as traces: ">" is what it sends, the rest what it asks of its shell and its tasks.
 * Here: joining, rounds, commits, the end. */
#include <stdio.h>

#include "tests/client/lib_run.h"
#include "tests/client/lib_session.h"

static const struct tide_bytes nothing;

START_TEST(joins_restores_and_runs)
{
    uint64_t number;
    bench_open();
    ck_assert_int_eq(tide_session_add_task(bench.s, tide_bytes_of("a"), 0, 0), TIDE_EEXIST);
    ck_assert_int_eq(tide_session_add_task(bench.s, tide_bytes_of("x"), 0, 0), TIDE_ENOTFOUND);
    ck_assert_uint_eq(tide_session_deadline(bench.s), 0); /* at once */
    tide_session_tick(bench.s, bench.now);
    bench_pump();
    ck_assert_int_eq(tide_session_add_task(bench.s, tide_bytes_of("a"), 0, 0), TIDE_ESTATE);
    tide_session_connected(bench.s, bench.now);
    bench_pump();
    say_welcome();
    expect(bench.trace, "connect\n> hello\n> join 0+2\n");
    say_joined();
    ck_assert_int_eq(tide_session_token(bench.s, bench.now, &number), TIDE_ESTATE);
    say_start(1);
    ck_assert_int_eq(tide_session_restored(bench.s, 0, 0, nothing, bench.now), 0);
    bench_pump();
    expect(bench.trace,
           "> heartbeat 1\n0: restore from 0 artifacts 0\n1: restore from 0 artifacts 0\n");
    ck_assert_int_eq(tide_session_restored(bench.s, 1, 0, nothing, bench.now), 0);
    bench_pump();
    say_run(1);
    say_run(1);
    say_start(1);
    expect(bench.trace, "> restored 0+2\n0: run\n1: run\n");
    ck_assert_int_eq(tide_session_token(bench.s, bench.now, &number), 0);
    ck_assert_uint_eq(number, 1001);
    bench_close();
}
END_TEST

START_TEST(a_task_that_cannot_restore_says_why)
{
    bench_open();
    tide_session_tick(bench.s, bench.now);
    bench_pump();
    tide_session_connected(bench.s, bench.now);
    bench_pump();
    say_welcome();
    say_joined();
    say_start(1);
    bench.trace[0] = '\0';
    tide_session_restored(bench.s, 1, TIDE_ECORRUPT, nothing, bench.now);
    tide_session_restored(bench.s, 0, TIDE_EIO, tide_bytes_of("no disk"), bench.now);
    bench_pump();
    expect(bench.trace, "> restore failed 1: damaged: structure or digest does not match\n"
                        "> restore failed 0: no disk\n");
    bench_close();
}
END_TEST

START_TEST(a_round_from_trigger_to_confirm)
{
    bench_run();
    say_trigger(1, 5);
    expect(bench.trace, "0: trigger 5\n0: forward 5\n0: snapshot 5 in /state/a/r5\n");
    bench_barrier(0, 5, 0);
    bench_barrier(1, 5, 0);
    expect(bench.trace, "1: block 0\n1: forward 5\n1: snapshot 5 in /state/a/r5\n1: unblock 0\n");
    ck_assert_int_eq(bench_ack(0, 5), 0);
    ck_assert_int_eq(bench_ack(0, 5), 0); /* once more is harmless */
    ck_assert_int_eq(bench_ack(1, 5), 0);
    expect(bench.trace, "");
    ck_assert_uint_eq(tide_session_deadline(bench.s), bench.now + 500);
    bench_until(bench.now + 500);
    expect(bench.trace, "> acks 5 0(1) 1(1)\n");
    say_complete(1, 5, true);
    expect(bench.trace, "0: complete 5\n1: complete 5\n");
    ck_assert_int_eq(confirm(0, 5), 0);
    ck_assert_int_eq(confirm(1, 5), 0);
    ck_assert_int_eq(confirm(1, 5), 0);
    flush();
    expect(bench.trace, "> confirm 5 0+2\n");
    say_complete(1, 5, true); /* the confirm was lost */
    flush();
    expect(bench.trace, "> confirm 5 0+2\n");
    bench_close();
}
END_TEST

START_TEST(acks_leave_when_the_batch_is_full_and_say_all_they_have)
{
    struct tide_artifact_view views[2] = {
        {.size = 3, .is_inline = true, .inlined = tide_bytes_of("abc")},
        {.size = 9, .digest_low = 4, .digest_high = 5, .name = tide_bytes_of("index")}};
    struct tide_session_ack ack = {.attempt = 1,
                                   .round = 5,
                                   .task = 1,
                                   .artifacts = views,
                                   .n_artifacts = 2,
                                   .has_handle = true,
                                   .handle = tide_bytes_of("part-5")};
    bench_run();
    snapshot_both(5);
    ck_assert_int_eq(tide_session_ack(bench.s, &ack, bench.now), 0);
    ck_assert_int_eq(bench_ack(0, 5), 0);
    flush();
    expect(bench.trace, "> acks 5 0(1) 1(2 full handle part-5)\n");
    ack.n_artifacts = TIDE_ARTIFACTS_PER_ACK_MAX + 1;
    ck_assert_int_eq(tide_session_ack(bench.s, &ack, bench.now), TIDE_ETOOBIG);
    bench_close();
}
END_TEST

START_TEST(what_belongs_to_another_attempt_or_round_is_stale)
{
    struct tide_session_ack ack = {.attempt = 2, .round = 5, .task = 1};
    bench_run();
    ck_assert_int_eq(bench_ack(0, 5), TIDE_ESTALE);
    snapshot_both(5);
    ck_assert_int_eq(tide_session_ack(bench.s, &ack, bench.now), TIDE_ESTALE);
    ck_assert_int_eq(bench_ack(9, 5), TIDE_EINVAL);
    ck_assert_int_eq(bench_ack(0, 4), TIDE_ESTALE);
    ck_assert_int_eq(confirm(0, 5), TIDE_ESTALE);
    say_trigger(2, 6);
    say_complete(2, 5, true);
    say_abort(2, 5);
    say_rewind(2);
    say_run(2);
    say_trigger(1, 5);
    expect(bench.trace, "");
    bench_close();
}
END_TEST

START_TEST(savepoints_complete_without_a_callback)
{
    bench_run();
    snapshot_both(5);
    say_complete(1, 5, false);
    flush();
    expect(bench.trace, "> confirm 5 0+2\n");
    /* but not past a commit that is still asked for */
    snapshot_both(6);
    say_complete(1, 6, true);
    snapshot_both(7);
    expect(bench.trace, "");
    say_complete(1, 7, false);
    ck_assert_int_eq(confirm(1, 6), 0);
    flush();
    expect(bench.trace, "> confirm 7 1+1\n");
    ck_assert_int_eq(confirm(0, 6), 0);
    flush();
    expect(bench.trace, "> confirm 7 0+1\n");
    bench_close();
}
END_TEST

START_TEST(one_completion_covers_the_rounds_before_it)
{
    bench_run();
    snapshot_both(5);
    say_complete(1, 5, true);
    snapshot_both(6);
    say_complete(1, 6, true);
    expect(bench.trace, ""); /* 5 is asked for and not answered */
    ck_assert_int_eq(confirm(0, 5), 0);
    expect(bench.trace, "0: complete 6\n");
    ck_assert_int_eq(confirm(0, 6), 0);
    flush();
    expect(bench.trace, "> confirm 6 0+1\n");
    bench_close();
}
END_TEST

START_TEST(a_commit_that_fails_is_asked_for_again)
{
    bench_run();
    snapshot_both(5);
    say_complete(1, 5, true);
    ck_assert_int_eq(confirm(0, 5), 0);
    flush();
    expect(bench.trace, "0: complete 5\n1: complete 5\n> confirm 5 0+1\n");
    ck_assert_int_eq(tide_session_commit_failed(bench.s, 1, 5, bench.now), 0);
    ck_assert_int_eq(tide_session_commit_failed(bench.s, 1, 5, bench.now), TIDE_ESTALE);
    bench_until(bench.now + 99999);
    expect(bench.trace, "");
    bench_until(bench.now + 1);
    expect(bench.trace, "1: complete 5\n");
    ck_assert_int_eq(tide_session_commit_failed(bench.s, 1, 5, bench.now), 0);
    bench_until(bench.now + 200000);
    expect(bench.trace, "1: complete 5\n");
    bench_close();
}
END_TEST

START_TEST(an_abort_lets_go_and_tells_those_that_snapshotted)
{
    bench_run();
    say_trigger(1, 5);
    bench_barrier(0, 5, 0);
    bench.trace[0] = '\0';
    say_abort(1, 5);
    say_abort(1, 5);
    expect(bench.trace,
           "note: round 5 aborted: too slow\n0: abort 5\n1: forward cancel 5\n1: unblock 0\n"
           "note: round 5 aborted: too slow\n");
    ck_assert_int_eq(bench_ack(0, 5), TIDE_ESTALE);
    bench_barrier(1, 5, 0);
    say_trigger(1, 5);
    expect(bench.trace, "");
    bench_close();
}
END_TEST

START_TEST(an_abort_before_the_round_was_seen)
{
    bench_run();
    Tide__Abort m = TIDE__ABORT__INIT;
    m.attempt = 1;
    m.round = 5;
    m.lowest_pending = 5;
    bench_say(TIDE__TO_WORKER__MSG_ABORT, &m);
    bench.trace[0] = '\0';
    bench_barrier(0, 5, 0);
    bench_barrier(1, 5, 0);
    expect(bench.trace, "1: forward cancel 5\n");
    bench_close();
}
END_TEST

START_TEST(a_cancel_from_upstream_is_declined)
{
    bench_run();
    say_trigger(1, 5);
    bench_barrier(0, 5, 0);
    bench.trace[0] = '\0';
    bench_barrier(1, 5, TIDE_BARRIER_CANCEL);
    expect(bench.trace,
           "> decline 5 task 1: cancelled upstream\n1: forward cancel 5\n1: unblock 0\n");
    bench_close();
}
END_TEST

START_TEST(a_task_declines)
{
    bench_run();
    snapshot_both(5);
    ck_assert_int_eq(
        tide_session_decline(bench.s, 1, 5, 1, tide_bytes_of("no space"), 100, bench.now), 0);
    ck_assert_int_eq(tide_session_decline(bench.s, 1, 4, 1, nothing, 0, bench.now), TIDE_ESTALE);
    bench_pump();
    expect(bench.trace, "> decline 5 task 1: no space\n");
    ck_assert_int_eq(bench_ack(1, 5), TIDE_ESTALE);
    bench_close();
}
END_TEST

START_TEST(barriers_of_others_are_refused)
{
    uint8_t bytes[TIDE_BARRIER_BYTES];
    struct tide_barrier b = {5, 0, 12345};
    bench_run();
    tide_barrier_encode(&b, bytes);
    ck_assert_int_eq(tide_session_barrier(bench.s, 1, 0, bytes, bench.now), TIDE_EPROTO);
    memset(bytes, 0xff, sizeof bytes);
    ck_assert_int_eq(tide_session_barrier(bench.s, 1, 0, bytes, bench.now), TIDE_EPROTO);
    ck_assert_int_eq(bench_barrier(2, 5, 0), TIDE_EINVAL);
    bench_pump();
    expect(bench.trace, "");
    bench_close();
}
END_TEST

START_TEST(ended_channels_make_a_task_act_at_the_trigger)
{
    bench_run();
    bench_barrier(0, 0, TIDE_BARRIER_END);
    ck_assert_int_eq(tide_session_channel_end(bench.s, 1, 1, bench.now), 0);
    say_trigger(1, 5);
    expect(bench.trace, "0: trigger 5\n0: forward 5\n0: snapshot 5 in /state/a/r5\n"
                        "1: trigger 5\n1: forward 5\n1: snapshot 5 in /state/a/r5\n");
    ck_assert_int_eq(bench_barrier(0, 5, 0), TIDE_EPROTO);
    bench_close();
}
END_TEST

START_TEST(progress_is_reported_while_a_round_takes_long)
{
    bench_run();
    say_trigger(1, 5);
    bench.trace[0] = '\0';
    bench_until(bench.now + 400000);
    expect(bench.trace, "> progress 5 0 phase 3 1 phase 1\n");
    bench_barrier(0, 5, 0);
    tide_session_progress(bench.s, 0, 5, 777, bench.now);
    bench.trace[0] = '\0';
    bench_until(bench.now + 400000);
    expect(bench.trace, "> progress 5 0 phase 4 bytes 777 1 phase 2 missing 1 from 1\n");
    bench_close();
}
END_TEST

START_TEST(the_end_of_the_job_stops)
{
    Tide__Stop m = TIDE__STOP__INIT;
    join_once();
    say_refused(TIDE__REFUSED_CODE__REFUSED_JOB_ENDED);
    expect(bench.trace, "close\nstop: FINISHED\n");
    bench_close();
    bench_run();
    m.outcome = (ProtobufCBinaryData){9, (uint8_t *)(uintptr_t) "CANCELLED"};
    bench_say(TIDE__TO_WORKER__MSG_STOP, &m);
    expect(bench.trace, "close\nstop: CANCELLED\n");
    bench_close();
}
END_TEST

START_TEST(owed_commits_come_back_in_order_after_a_restore)
{
    Tide__Start m;
    Tide__Token token;
    Tide__TaskRestore restore = TIDE__TASK_RESTORE__INIT, *restores[1] = {&restore};
    Tide__Owed owed[2] = {TIDE__OWED__INIT, TIDE__OWED__INIT}, *list[2] = {&owed[0], &owed[1]};
    join_once();
    say_joined();
    start_init(&m, &token, 3);
    m.snapshot = 8;
    m.snapshot_directory = m.directory;
    m.n_tasks = 1;
    m.tasks = restores;
    restore.task = 1;
    restore.n_owed = 2;
    restore.owed = list;
    owed[0].round = 7;
    owed[0].handle = (ProtobufCBinaryData){2, (uint8_t *)(uintptr_t) "h7"};
    owed[1].round = 8;
    say_start_message(&m);
    tide_session_restored(bench.s, 0, 0, nothing, bench.now);
    tide_session_restored(bench.s, 1, 0, nothing, bench.now);
    bench_pump();
    bench.trace[0] = '\0';
    say_run(3);
    say_complete(3, 9, true);
    expect(bench.trace, "0: run\n1: run\n1: complete 7 handle h7\n0: complete 9\n");
    ck_assert_int_eq(confirm(1, 8), TIDE_ESTALE);
    ck_assert_int_eq(confirm(1, 7), 0);
    flush();
    expect(bench.trace, "1: complete 8 handle \n> confirm 7 1+1\n");
    ck_assert_int_eq(confirm(1, 8), 0);
    expect(bench.trace, "1: complete 9\n");
    ck_assert_int_eq(confirm(1, 9), 0);
    flush();
    expect(bench.trace, "> confirm 9 1+1\n");
    bench_close();
}
END_TEST

START_TEST(deliver_only_carries_out_what_is_owed_and_waits)
{
    Tide__Start m;
    Tide__Token token;
    Tide__TaskRestore restore = TIDE__TASK_RESTORE__INIT, *restores[1] = {&restore};
    Tide__Owed owed = TIDE__OWED__INIT, *list[1] = {&owed};
    Tide__Stop stop = TIDE__STOP__INIT;
    join_once();
    say_joined();
    bench.trace[0] = '\0';
    start_init(&m, &token, 3);
    m.deliver_only = true;
    m.n_tasks = 1;
    m.tasks = restores;
    restore.n_owed = 1;
    restore.owed = list;
    owed.round = 7;
    say_start_message(&m);
    expect(bench.trace, "0: complete 7 handle \n");
    ck_assert_int_eq(confirm(0, 7), 0);
    flush();
    expect(bench.trace, "> confirm 7 0+1\n");
    stop.outcome = (ProtobufCBinaryData){8, (uint8_t *)(uintptr_t) "FINISHED"};
    bench_say(TIDE__TO_WORKER__MSG_STOP, &stop);
    expect(bench.trace, "close\nstop: FINISHED\n");
    bench_close();
}
END_TEST

START_TEST(a_finished_task_holds_its_end_until_it_is_released)
{
    bench_run();
    ck_assert_int_eq(tide_session_finished(bench.s, 0, bench.now), 0);
    ck_assert_int_eq(tide_session_finished(bench.s, 0, bench.now), 0);
    flush();
    expect(bench.trace, "> finished 0+1\n");
    cut();
    bench.trace[0] = '\0';
    bench_reconnect();
    say_resumed(1);
    expect(bench.trace, "connect\n> hello\n> join 0+2 attempt 1 phase 3 ending 0+1\n> heartbeat 2\n"
                        "> finished 0+1\n");
    snapshot_both(5);
    say_ended(1, 5, 0, 1);
    expect(bench.trace, "0: complete 5\n1: complete 5\n");
    ck_assert_int_eq(confirm(0, 5), 0);
    expect(bench.trace, "0: forward end 0\n0: ended\n");
    say_trigger(1, 6); /* it counts as acked */
    expect(bench.trace, "");
    say_complete(1, 6, true);
    ck_assert_int_eq(confirm(1, 5), 0);
    flush();
    expect(bench.trace, "1: complete 6\n> confirm 6 0+1\n> confirm 5 1+1\n");
    bench_close();
}
END_TEST

/* A snapshot says whether its operator had finished, where that matters: as of the snapshot, not of
 * the ack. */
START_TEST(of_union_state_the_ack_says_whether_the_end_is_in_the_snapshot)
{
    bench_union = true;
    bench_run();
    say_trigger(1, 5);
    ck_assert_int_eq(tide_session_finished(bench.s, 0, bench.now), 0);
    ck_assert_int_eq(bench_ack(0, 5), 0);
    flush();
    ck_assert_ptr_nonnull(strstr(bench.trace, "> acks 5 0(1)\n"));
    say_trigger(1, 6);
    ck_assert_int_eq(bench_ack(0, 6), 0);
    bench_barrier(0, 6, 0);
    bench_barrier(1, 6, 0);
    ck_assert_int_eq(bench_ack(1, 6), 0);
    flush();
    ck_assert_ptr_nonnull(strstr(bench.trace, "> acks 6 1(1) 0(1 full finished)\n"));
    bench_close();
    bench_union = false;
}
END_TEST

START_TEST(a_task_restored_as_ended_only_says_so_downstream)
{
    Tide__Start m;
    Tide__Token token;
    Tide__TaskRange range = TIDE__TASK_RANGE__INIT, *ranges[1] = {&range};
    join_once();
    say_joined();
    bench.trace[0] = '\0';
    start_init(&m, &token, 3);
    range.first = 0;
    range.count = 1;
    m.n_ended = 1;
    m.ended = ranges;
    say_start_message(&m);
    tide_session_restored(bench.s, 0, 0, nothing, bench.now);
    tide_session_restored(bench.s, 1, 0, nothing, bench.now);
    bench_pump();
    say_run(3);
    expect(bench.trace, "0: restore from 0 artifacts 0 ended\n1: restore from 0 artifacts 0\n"
                        "> restored 0+2\n0: run\n0: forward end 0\n1: run\n");
    say_trigger(3, 9);
    expect(bench.trace, "");
    bench_close();
}
END_TEST

START_TEST(malformed_messages_close_the_connection_and_nothing_else)
{
    static const uint8_t junk[] = {0x0a, 0xff, 0xff, 0xff};
    Tide__Start m;
    Tide__Token token;
    Tide__TaskRestore restore = TIDE__TASK_RESTORE__INIT, *restores[1] = {&restore};
    Tide__Artifact file, *files[1] = {&file};
    bench_run();
    tide_session_frame(bench.s, (struct tide_bytes){junk, sizeof junk}, bench.now);
    bench_pump();
    expect(bench.trace, "close\nnote: the daemon broke the protocol: a frame that cannot be read; "
                        "closing the connection\n");
    ck_assert_uint_eq(tide_session_attempt(bench.s), 1);
    bench_close();

    join_once();
    say_joined();
    bench.trace[0] = '\0';
    start_init(&m, &token, 3);
    m.snapshot = 8;
    m.snapshot_directory = m.directory;
    m.n_tasks = 1;
    m.tasks = restores;
    restore.n_artifacts = 1;
    restore.artifacts = files;
    tide__artifact__init(&file);
    file.place_case = TIDE__ARTIFACT__PLACE_PATH;
    file.path = (ProtobufCBinaryData){9, (uint8_t *)(uintptr_t) "x/../../y"};
    say_start_message(&m);
    expect(bench.trace,
           "close\nnote: the daemon broke the protocol: Start has an artifact whose path "
           "is missing or leads elsewhere; closing the connection\n");
    bench_close();

    join_once();
    say_joined();
    start_init(&m, &token, 3);
    m.n_tasks = 1;
    m.tasks = restores;
    restore.n_artifacts = 0;
    restore.task = 9;
    bench.trace[0] = '\0';
    say_start_message(&m);
    expect(bench.trace,
           "close\nnote: the daemon broke the protocol: Start restores a task of another "
           "worker; closing the connection\n");
    bench_close();
}
END_TEST

START_TEST(leaving_says_so)
{
    bench_run();
    tide_session_leave(bench.s, tide_bytes_of("enough"), bench.now);
    bench_pump();
    expect(bench.trace, "> leave\nclose\n");
    ck_assert_uint_eq(tide_session_deadline(bench.s), UINT64_MAX);
    bench_close();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        joins_restores_and_runs,
        a_task_that_cannot_restore_says_why,
        a_round_from_trigger_to_confirm,
        acks_leave_when_the_batch_is_full_and_say_all_they_have,
        what_belongs_to_another_attempt_or_round_is_stale,
        savepoints_complete_without_a_callback,
        one_completion_covers_the_rounds_before_it,
        a_commit_that_fails_is_asked_for_again,
        an_abort_lets_go_and_tells_those_that_snapshotted,
        an_abort_before_the_round_was_seen,
        a_cancel_from_upstream_is_declined,
        a_task_declines,
        barriers_of_others_are_refused,
        ended_channels_make_a_task_act_at_the_trigger,
        progress_is_reported_while_a_round_takes_long,
        the_end_of_the_job_stops,
        owed_commits_come_back_in_order_after_a_restore,
        deliver_only_carries_out_what_is_owed_and_waits,
        a_finished_task_holds_its_end_until_it_is_released,
        of_union_state_the_ack_says_whether_the_end_is_in_the_snapshot,
        a_task_restored_as_ended_only_says_so_downstream,
        malformed_messages_close_the_connection_and_nothing_else,
        leaving_says_so,
    };
    Suite *suite = suite_create("session");
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        add_test(suite, tests[i]);
    return run_suite(suite);
}
