/* The session as traces, when things go wrong: connections lost, leases over, rewinds, refusals. */
#include <stdio.h>

#include "tests/client/lib_run.h"
#include "tests/client/lib_session.h"

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

/* The program is in a callback while the job ends: what it comes back to. */
static void stop_behind_a_completion(void)
{
    static uint8_t packed[256], outcome[] = "SUSPENDED";
    Tide__Complete complete = TIDE__COMPLETE__INIT;
    Tide__Stop stop = TIDE__STOP__INIT;
    Tide__ToWorker m = TIDE__TO_WORKER__INIT;
    bench_run();
    snapshot_both(5);
    complete.attempt = 1;
    complete.round = 5;
    complete.commits = true;
    complete.lowest_pending = 6;
    m.msg_case = TIDE__TO_WORKER__MSG_COMPLETE;
    m.complete = &complete;
    tide_session_frame(bench.s, (struct tide_bytes){packed, tide__to_worker__pack(&m, packed)},
                       bench.now);
    stop.outcome = (ProtobufCBinaryData){9, outcome};
    m.msg_case = TIDE__TO_WORKER__MSG_STOP;
    m.stop = &stop;
    tide_session_frame(bench.s, (struct tide_bytes){packed, tide__to_worker__pack(&m, packed)},
                       bench.now);
}

START_TEST(a_completion_before_stop_is_told_under_the_lease)
{
    stop_behind_a_completion();
    bench_pump();
    expect(bench.trace, "close\n0: complete 5\n1: complete 5\nstop: SUSPENDED\n");
    ck_assert_uint_eq(tide_session_deadline(bench.s), UINT64_MAX);
    bench_close();
}
END_TEST

/* The program is in a callback, an attempt begins, and the job is cancelled. */
START_TEST(a_restore_before_stop_is_not_told)
{
    static uint8_t packed[512], outcome[] = "CANCELLED";
    Tide__Start start;
    Tide__Token token;
    Tide__Stop stop = TIDE__STOP__INIT;
    Tide__ToWorker m = TIDE__TO_WORKER__INIT;
    struct tide_buf parts;
    join_once();
    say_joined();
    bench.trace[0] = '\0';
    start_init(&start, &token, 1);
    tide_buf_init(&parts, 4096);
    tide_parts_put(&parts, TIDE_PART_START,
                   (struct tide_bytes){packed, tide__start__pack(&start, packed)});
    tide_session_frame(
        bench.s, (struct tide_bytes){parts.data + TIDE_FRAME_HEADER, parts.len - TIDE_FRAME_HEADER},
        bench.now);
    tide_buf_release(&parts);
    ck_assert(tide_session_waits(bench.s));
    stop.outcome = (ProtobufCBinaryData){9, outcome};
    m.msg_case = TIDE__TO_WORKER__MSG_STOP;
    m.stop = &stop;
    tide_session_frame(bench.s, (struct tide_bytes){packed, tide__to_worker__pack(&m, packed)},
                       bench.now);
    bench_pump();
    expect(bench.trace, "close\nstop: CANCELLED\n");
    bench_close();
}
END_TEST

START_TEST(a_completion_before_stop_is_taken_back_when_the_lease_ends)
{
    uint64_t number;
    stop_behind_a_completion();
    ck_assert_int_eq(tide_session_token(bench.s, bench.now, &number), TIDE_ESTATE);
    uint64_t at = tide_session_deadline(bench.s); /* the library wakes up for it by itself */
    ck_assert_uint_ne(at, UINT64_MAX);
    bench.now = at;
    tide_session_tick(bench.s, bench.now);
    bench_pump();
    expect(bench.trace, "close\nstop: SUSPENDED\n");
    ck_assert_uint_eq(tide_session_deadline(bench.s), UINT64_MAX);
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

int main(void)
{
    const TTest *const tests[] = {
        a_lost_connection_is_made_again_and_acks_are_repeated,
        back_off_grows_and_differs_by_seed,
        cut_off_past_the_orphan_limit_gives_alignments_up,
        the_lease_counts_from_when_the_answered_heartbeat_was_sent,
        fenced_by_itself_and_lifted_by_resumed_alone,
        a_commit_that_waits_is_taken_back_when_the_lease_ends,
        a_restore_before_stop_is_not_told,
        a_completion_before_stop_is_told_under_the_lease,
        a_completion_before_stop_is_taken_back_when_the_lease_ends,
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
    };
    Suite *suite = suite_create("session away");
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        add_test(suite, tests[i]);
    return run_suite(suite);
}
