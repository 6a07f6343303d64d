/* The session as traces: ">" is what it sends, the rest what it asks of its shell and its tasks. */
#include <stdio.h>

#include "tests/client/lib_run.h"
#include "tests/client/lib_session.h"

static const struct tide_bytes nothing;

static void flush(void)
{
    tide_session_flush(bench.s, bench.now);
    bench_pump();
}

static void cut(void)
{
    tide_session_disconnected(bench.s, bench.now);
    bench_pump();
}

static int confirm(uint32_t task, uint64_t round)
{
    int rc = tide_session_confirm(bench.s, task, round, bench.now);
    bench_pump();
    return rc;
}

/* Both tasks up to their snapshots of the round. */
static void snapshot_both(uint64_t round)
{
    say_trigger(1, round);
    ck_assert_int_eq(bench_barrier(0, round, 0), 0);
    ck_assert_int_eq(bench_barrier(1, round, 0), 0);
    bench.trace[0] = '\0';
}

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

START_TEST(a_lost_connection_is_made_again_and_acks_are_repeated)
{
    bench_run();
    snapshot_both(5);
    bench_ack(0, 5);
    flush();
    expect(bench.trace, "> acks 5 0(1)\n");
    cut();
    ck_assert_int_eq(bench_ack(1, 5), 0); /* kept */
    bench_until(bench.now + 10000);
    ck_assert_str_eq(strchr(bench.trace, '\n'), "\n"); /* one note: the back-off */
    bench.trace[0] = '\0';
    bench_reconnect();
    expect(bench.trace,
           "connect\n> hello\n> join 0+2 attempt 1 phase 3 open 5 acked 0+2\n> heartbeat 2\n");
    say_resumed(1);
    say_run(1);
    expect(bench.trace, "> acks 5 0(1) 1(1)\n");
    say_complete(1, 5, true);
    confirm(0, 5);
    cut();
    bench.trace[0] = '\0';
    bench_reconnect();
    say_resumed(1);
    expect(bench.trace, "connect\n> hello\n> join 0+2 attempt 1 phase 3 told 5 unconfirmed 5\n"
                        "> heartbeat 3\n> confirm 5 0+1\n");
    confirm(1, 5);
    flush();
    expect(bench.trace, "> confirm 5 1+1\n");
    bench_close();
}
END_TEST

START_TEST(back_off_grows_and_differs_by_seed)
{
    bench_run();
    cut();
    uint64_t last = 0;
    for (unsigned i = 0; i < 12; i++) {
        uint64_t wait = tide_session_deadline(bench.s) - bench.now;
        ck_assert_uint_le(wait, 5000000);
        if (i == 0) ck_assert_uint_le(wait, 50000);
        if (i >= 8) ck_assert_uint_ge(wait, 2500000);
        last = wait;
        while (tide_session_deadline(bench.s) != UINT64_MAX && !strstr(bench.trace, "connect\n"))
            bench_until(tide_session_deadline(bench.s));
        bench.trace[0] = '\0';
        cut();
    }
    ck_assert_uint_ge(last, 2500000);
    bench_close();
}
END_TEST

START_TEST(cut_off_past_the_orphan_limit_gives_alignments_up)
{
    bench_run();
    say_trigger(1, 5);
    bench_barrier(0, 5, 0);
    cut();
    bench.trace[0] = '\0';
    uint64_t at = bench.now;
    while (!strstr(bench.trace, "cancel") && bench.now < at + 600000) {
        uint64_t next = tide_session_deadline(bench.s);
        bench_until(next < at + 600000 ? next : at + 600000);
        if (strstr(bench.trace, "connect\n")) cut(); /* nobody is there */
        char *gone = strstr(bench.trace, "connect\n");
        if (gone) bench.trace[0] = '\0';
    }
    ck_assert_uint_ge(bench.now, at + 500000);
    ck_assert_ptr_nonnull(strstr(bench.trace, "1: forward cancel 5\n1: unblock 0\n"));
    bench.trace[0] = '\0';
    /* a further barrier finds nobody to wait for */
    bench_barrier(1, 6, 0);
    expect(bench.trace, "1: block 1\n1: forward cancel 6\n1: unblock 1\n");
    bench_reconnect();
    bench.trace[0] = '\0';
    say_resumed(1);
    ck_assert_ptr_nonnull(
        strstr(bench.trace,
               "> decline 5 task 1: cut off from the daemon for longer than the orphan limit\n"
               "> decline 6 task 1: cut off from the daemon for longer than the orphan limit\n"));
    bench_close();
}
END_TEST

START_TEST(the_lease_counts_from_when_the_answered_heartbeat_was_sent)
{
    uint64_t number, at;
    bench_run();
    at = bench.now;
    bench_until(at + 1000000);
    expect(bench.trace, "> heartbeat 2\n");
    bench.now = at + 1900000;
    say_alive(2);
    ck_assert_int_eq(tide_session_token(bench.s, at + 3999999, &number), 0);
    ck_assert_int_eq(tide_session_token(bench.s, at + 4000000, &number), TIDE_EFENCED);
    bench_close();
}
END_TEST

START_TEST(fenced_by_itself_and_lifted_by_resumed_alone)
{
    bench_run();
    snapshot_both(5);
    bench_ack(0, 5);
    flush();
    snapshot_both(6);
    say_complete(1, 5, true);
    expect(bench.trace, "0: complete 5\n1: complete 5\n");
    cut();
    bench.trace[0] = '\0';
    bench.now += 3000000;
    ck_assert_int_eq(bench_ack(1, 6), TIDE_EFENCED);
    ck_assert_int_eq(confirm(1, 5), TIDE_EFENCED);
    ck_assert_int_eq(tide_session_finished(bench.s, 0, bench.now), TIDE_EFENCED);
    expect(bench.trace, "fenced\n");
    tide_session_tick(bench.s, bench.now);
    bench_pump();
    tide_session_connected(bench.s, bench.now);
    bench_pump();
    say_welcome();
    say_joined();
    say_alive(2);
    say_complete(1, 6, true);
    ck_assert_int_eq(bench_ack(1, 6), TIDE_EFENCED);
    bench.trace[0] = '\0';
    say_resumed(1);
    ck_assert_ptr_nonnull(strstr(bench.trace, "unfenced\n"));
    ck_assert_ptr_nonnull(strstr(bench.trace, "0: complete 5\n1: complete 5\n"));
    bench.trace[0] = '\0';
    ck_assert_int_eq(confirm(1, 5), 0);
    ck_assert_int_eq(bench_ack(1, 6), 0);
    bench_close();
}
END_TEST

START_TEST(a_commit_that_waits_is_taken_back_when_the_lease_ends)
{
    struct tide_delivery d;
    bench_run();
    snapshot_both(5);
    Tide__Complete m = TIDE__COMPLETE__INIT;
    m.attempt = 1;
    m.round = 5;
    m.commits = true;
    m.lowest_pending = 6;
    Tide__ToWorker w = TIDE__TO_WORKER__INIT;
    w.msg_case = TIDE__TO_WORKER__MSG_COMPLETE;
    w.complete = &m;
    uint8_t packed[64];
    size_t len = tide__to_worker__pack(&w, packed);
    tide_session_frame(bench.s, (struct tide_bytes){packed, len}, bench.now);
    ck_assert(tide_session_waits(bench.s));
    bench.now += 3000000;
    tide_session_tick(bench.s, bench.now);
    while (tide_session_next(bench.s, &d))
        ck_assert_int_ne(d.type, TIDE_DO_COMPLETE);
    bench_close();
}
END_TEST

START_TEST(a_trigger_that_waits_is_taken_back_when_the_lease_ends)
{
    Tide__Trigger m = TIDE__TRIGGER__INIT;
    Tide__ToWorker w = TIDE__TO_WORKER__INIT;
    uint8_t packed[128];
    bench_run();
    m.attempt = 1;
    m.round = 5;
    m.left_ms = 60000;
    m.directory = (ProtobufCBinaryData){2, (uint8_t *)(uintptr_t) "/r"};
    m.lowest_pending = 5;
    w.msg_case = TIDE__TO_WORKER__MSG_TRIGGER;
    w.trigger = &m;
    size_t len = tide__to_worker__pack(&w, packed);
    tide_session_frame(bench.s, (struct tide_bytes){packed, len}, bench.now);
    bench.now += 3000000;
    tide_session_tick(bench.s, bench.now);
    bench_pump();
    ck_assert_ptr_null(strstr(bench.trace, "snapshot"));
    ck_assert_ptr_null(strstr(bench.trace, "trigger"));
    ck_assert_ptr_nonnull(strstr(bench.trace, "0: forward cancel 5\n"));
    ck_assert_ptr_nonnull(strstr(bench.trace, "fenced\n"));
    bench_close();
}
END_TEST

START_TEST(a_daemon_that_does_not_answer_is_left)
{
    bench_run();
    bench_until(bench.now + 2499999);
    expect(bench.trace, "> heartbeat 2\n> heartbeat 3\n");
    bench_until(bench.now + 1);
    expect(bench.trace, "close\nnote: the daemon has not answered for 1500 ms; connecting again\n");
    bench_close();
}
END_TEST

START_TEST(rewind_drops_everything_and_joins_with_nothing)
{
    uint64_t number;
    bench_run();
    snapshot_both(5);
    bench_ack(0, 5);
    bench.trace[0] = '\0';
    say_rewind(1);
    say_rewind(1);
    expect(bench.trace, "0: rewind: a worker is lost\n1: rewind: a worker is lost\n");
    ck_assert_uint_eq(tide_session_attempt(bench.s), 0);
    ck_assert_int_eq(bench_ack(1, 5), TIDE_ESTALE);
    ck_assert_int_eq(bench_barrier(0, 5, 0), TIDE_ESTATE);
    ck_assert_int_eq(tide_session_token(bench.s, bench.now, &number), TIDE_ESTATE);
    ck_assert_int_eq(tide_session_rewound(bench.s, 0, bench.now), 0);
    ck_assert_int_eq(tide_session_rewound(bench.s, 0, bench.now), TIDE_ESTALE);
    bench_pump();
    expect(bench.trace, "");
    ck_assert_int_eq(tide_session_rewound(bench.s, 1, bench.now), 0);
    bench_pump();
    say_joined();
    say_start(2);
    expect(bench.trace, "> join 0+2\n> heartbeat 2\n0: restore from 0 artifacts 0\n1: restore from "
                        "0 artifacts 0\n");
    bench_close();
}
END_TEST

START_TEST(rewind_after_the_connection_was_lost)
{
    bench_run();
    cut();
    bench.trace[0] = '\0';
    bench_until(tide_session_deadline(bench.s));
    tide_session_connected(bench.s, bench.now);
    bench_pump();
    say_welcome();
    bench.trace[0] = '\0';
    say_rewind(1); /* without a Joined before it */
    tide_session_rewound(bench.s, 0, bench.now);
    tide_session_rewound(bench.s, 1, bench.now);
    bench_pump();
    expect(bench.trace, "0: rewind: a worker is lost\n1: rewind: a worker is lost\n> join 0+2\n");
    bench_close();
}
END_TEST

START_TEST(fenced_by_the_daemon_is_final)
{
    Tide__Fenced m = TIDE__FENCED__INIT;
    bench_run();
    m.reason = (ProtobufCBinaryData){4, (uint8_t *)(uintptr_t) "gone"};
    bench_say(TIDE__TO_WORKER__MSG_FENCED, &m);
    tide_session_rewound(bench.s, 0, bench.now);
    tide_session_rewound(bench.s, 1, bench.now);
    bench_pump();
    expect(bench.trace,
           "note: fenced by the daemon: gone\n0: rewind: gone\n1: rewind: gone\n> join 0+2\n");
    bench_close();
}
END_TEST

static void join_once(void)
{
    bench_open();
    tide_session_tick(bench.s, bench.now);
    bench_pump();
    tide_session_connected(bench.s, bench.now);
    bench_pump();
    say_welcome();
    bench.trace[0] = '\0';
}

START_TEST(parked_looks_whether_the_holder_is_gone)
{
    Tide__Parked m = TIDE__PARKED__INIT;
    Tide__Host host = TIDE__HOST__INIT;
    join_once();
    host.boot_id = (ProtobufCBinaryData){6, (uint8_t *)(uintptr_t) "boot/1"};
    host.pid = 41;
    m.holder = &host;
    m.worker = (ProtobufCBinaryData){2, (uint8_t *)(uintptr_t) "w1"};
    m.wait_ms = 11000;
    bench_say(TIDE__TO_WORKER__MSG_PARKED, &m);
    bench_until(bench.now);
    expect(bench.trace, "note: the tasks are held by worker w1, which is away; at most 11000 ms to "
                        "wait\ncheck holder 41\n");
    tide_session_holder(bench.s, false, bench.now);
    bench_until(bench.now + 1000000);
    expect(bench.trace, "check holder 41\n");
    tide_session_holder(bench.s, true, bench.now);
    bench_pump();
    say_joined();
    expect(bench.trace, "> holder gone 41\n> heartbeat 1\n");
    bench_close();
}
END_TEST

START_TEST(parked_by_a_holder_on_another_host_waits)
{
    Tide__Parked m = TIDE__PARKED__INIT;
    Tide__Host host = TIDE__HOST__INIT;
    join_once();
    host.boot_id = (ProtobufCBinaryData){6, (uint8_t *)(uintptr_t) "boot/2"};
    m.holder = &host;
    m.wait_ms = 1000;
    bench_say(TIDE__TO_WORKER__MSG_PARKED, &m);
    bench.trace[0] = '\0';
    bench_until(bench.now + 5000000);
    expect(bench.trace, "");
    bench_close();
}
END_TEST

START_TEST(refused_for_now_tries_again)
{
    static const Tide__RefusedCode codes[] = {TIDE__REFUSED_CODE__REFUSED_TASKS,
                                              TIDE__REFUSED_CODE__REFUSED_BUSY,
                                              TIDE__REFUSED_CODE__REFUSED_HELD};
    for (size_t i = 0; i < 3; i++) {
        join_once();
        for (unsigned k = 0; k < 5; k++) {
            say_refused(codes[i]);
            ck_assert_ptr_nonnull(strstr(bench.trace, "close\nnote: refused for now: because\n"));
            cut();
            bench_until(tide_session_deadline(bench.s));
            ck_assert_ptr_nonnull(strstr(bench.trace, "connect\n"));
            tide_session_connected(bench.s, bench.now);
            bench_pump();
            say_welcome();
            bench.trace[0] = '\0';
        }
        bench_close();
    }
}
END_TEST

START_TEST(refused_for_good_ends_the_session)
{
    static const struct {
        Tide__RefusedCode code;
        int rc;
    } cases[] = {{TIDE__REFUSED_CODE__REFUSED_VERSION, TIDE_EVERSION},
                 {TIDE__REFUSED_CODE__REFUSED_SPEC, TIDE_EINVAL},
                 {TIDE__REFUSED_CODE__REFUSED_NO_JOB, TIDE_ENOTFOUND},
                 {TIDE__REFUSED_CODE__REFUSED_SECRET, TIDE_EREFUSED},
                 {TIDE__REFUSED_CODE__REFUSED_UNSUPPORTED, TIDE_ENOTSUP}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char want[64];
        join_once();
        say_refused(cases[i].code);
        snprintf(want, sizeof want, "close\nrefused %d: because\n", cases[i].rc);
        expect(bench.trace, want);
        ck_assert_uint_eq(tide_session_deadline(bench.s), UINT64_MAX);
        bench_close();
    }
}
END_TEST

START_TEST(a_bug_on_one_side_is_final_the_third_time)
{
    join_once();
    for (unsigned k = 0; k < 3; k++) {
        bench.trace[0] = '\0';
        say_refused(TIDE__REFUSED_CODE__REFUSED_MALFORMED);
        if (k == 2) break;
        cut();
        bench_until(tide_session_deadline(bench.s));
        tide_session_connected(bench.s, bench.now);
        bench_pump();
        say_welcome();
    }
    expect(bench.trace, "close\nrefused -4: because\n");
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
        a_lost_connection_is_made_again_and_acks_are_repeated,
        back_off_grows_and_differs_by_seed,
        cut_off_past_the_orphan_limit_gives_alignments_up,
        the_lease_counts_from_when_the_answered_heartbeat_was_sent,
        fenced_by_itself_and_lifted_by_resumed_alone,
        a_commit_that_waits_is_taken_back_when_the_lease_ends,
        a_trigger_that_waits_is_taken_back_when_the_lease_ends,
        a_daemon_that_does_not_answer_is_left,
        rewind_drops_everything_and_joins_with_nothing,
        rewind_after_the_connection_was_lost,
        fenced_by_the_daemon_is_final,
        parked_looks_whether_the_holder_is_gone,
        parked_by_a_holder_on_another_host_waits,
        refused_for_now_tries_again,
        refused_for_good_ends_the_session,
        a_bug_on_one_side_is_final_the_third_time,
        the_end_of_the_job_stops,
        owed_commits_come_back_in_order_after_a_restore,
        deliver_only_carries_out_what_is_owed_and_waits,
        a_finished_task_holds_its_end_until_it_is_released,
        a_task_restored_as_ended_only_says_so_downstream,
        malformed_messages_close_the_connection_and_nothing_else,
        leaving_says_so,
    };
    Suite *suite = suite_create("session");
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        add_test(suite, tests[i]);
    return run_suite(suite);
}
