/* A session whose job has regions, when another one is rewound, as traces. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/client/lib_run.h"
#include "tests/client/lib_session.h"

static void run(bool externals)
{
    bench_regional = true;
    bench_externals = externals;
    bench_run();
}

/* Tasks, rounds and effects go on; what is said is said of the new attempt, and the number for
 * writes to the outside stays. */
START_TEST(goes_on_under_another_number)
{
    uint64_t before, after;
    run(false);
    snapshot_both(5);
    ck_assert_int_eq(bench_ack(0, 5), 0);
    ck_assert_int_eq(bench_ack(1, 5), 0);
    flush();
    say_complete(1, 5, true);
    say_trigger(1, 6);
    ck_assert_int_eq(bench_barrier(0, 6, 0), 0);
    say_abort(1, 6);
    ck_assert_int_eq(tide_session_token(bench.s, bench.now, &before), 0);
    bench.trace[0] = '\0';
    say_advance(1, 2, 5);
    expect(bench.trace, "> advanced 2\nadvance to 2\n");
    ck_assert_uint_eq(tide_session_attempt(bench.s), 2);
    ck_assert_int_eq(tide_session_token(bench.s, bench.now, &after), 0);
    ck_assert_uint_eq(before, after);
    ck_assert_int_eq(confirm(0, 5), 0); /* that of a completion from before */
    ck_assert_int_eq(confirm(1, 5), 0);
    flush();
    expect(bench.trace, "> confirm 5 0+2\n");
    say_complete(1, 5, true); /* of before: nothing any more */
    say_run(2);
    expect(bench.trace, "");
    say_trigger(2, 7);
    expect(bench.trace, "0: trigger 7\n0: forward 7\n0: snapshot 7 in /state/a/r7\n");
    bench_close();
}
END_TEST

/* It may come again, in answer to a Join that crossed it; and from an attempt that it has not. */
START_TEST(repeats_are_answered)
{
    run(false);
    say_advance(1, 2, 0);
    say_advance(1, 2, 0);
    expect(bench.trace, "> advanced 2\nadvance to 2\n> advanced 2\n");
    say_advance(1, 3, 0); /* of another's attempt, or late */
    expect(bench.trace, "");
    say_advance(2, 4, 0);
    expect(bench.trace, "> advanced 4\nadvance to 4\n");
    bench_close();
}
END_TEST

/* After a reconnect it joins with the attempt that it has: that says that it has advanced. */
START_TEST(joins_with_the_new_attempt)
{
    run(false);
    say_advance(1, 2, 0);
    cut();
    bench.trace[0] = '\0';
    bench_reconnect();
    ck_assert_ptr_nonnull(strstr(bench.trace, "> join 0+2 attempt 2 phase 3"));
    bench.trace[0] = '\0';
    say_resumed(2);
    say_run(2);
    say_rewind(1); /* not its own */
    expect(bench.trace, "");
    say_rewind(2);
    expect(bench.trace, "0: rewind: a worker is lost\n1: rewind: a worker is lost\n");
    bench_close();
}
END_TEST

/* S143: a hook is restored or reset once more, the coordinator goes on and hears whose events are
 * lost; what it sends them waits until they run. */
START_TEST(hooks_and_coordinators_S143)
{
    run(true);
    say_advance(1, 2, 4);
    expect(bench.trace, "> advanced 2\nadvance to 2\n@c: lost 1+2, from 4\nlock: reset, from 4\n");
    ck_assert_int_eq(
        tide_session_external_restored(bench.s, 1, 0, (struct tide_bytes){0}, bench.now), 0);
    bench_pump();
    expect(bench.trace, "> external lock 0 \n");
    cut();
    bench.trace[0] = '\0';
    bench_reconnect();
    bench.trace[0] = '\0';
    say_resumed(2);
    expect(bench.trace, "> external lock 0 \n"); /* until it runs */
    say_run(2);
    expect(bench.trace, "@c: ready\n");
    bench_close();
}
END_TEST

static void say_hook(uint64_t from, uint64_t to, const char *data, bool pump)
{
    Tide__Advance m;
    Tide__Token token;
    Tide__External e = TIDE__EXTERNAL__INIT;
    Tide__ExternalState state = TIDE__EXTERNAL_STATE__INIT, *states[1] = {&state};
    Tide__ToWorker message = TIDE__TO_WORKER__INIT;
    uint8_t packed[512];
    advance_init(&m, &token, from, to);
    e.kind = TIDE__EXTERNAL_KIND__EXTERNAL_HOOK;
    e.name = (ProtobufCBinaryData){4, (uint8_t *)"lock"};
    state.external = &e;
    state.data = (ProtobufCBinaryData){strlen(data), (uint8_t *)(uintptr_t)data};
    m.externals = states;
    m.n_externals = 1;
    m.snapshot = 9;
    message.msg_case = TIDE__TO_WORKER__MSG_ADVANCE;
    message.advance = &m;
    ck_assert_uint_le(tide__to_worker__get_packed_size(&message), sizeof packed);
    size_t len = tide__to_worker__pack(&message, packed);
    tide_session_frame(bench.s, (struct tide_bytes){packed, len}, bench.now);
    memset(packed, 0xaa, sizeof packed);
    if (pump) bench_pump();
}

/* Its bytes come with Advance; one that cannot says so, again after each reconnect. */
START_TEST(a_hook_that_cannot_S146)
{
    run(true);
    say_hook(1, 2, "seven", true);
    expect(bench.trace, "> advanced 2\nadvance to 2\nlock: restore from 9: seven\n");
    ck_assert_int_eq(
        tide_session_external_restored(bench.s, 1, TIDE_EIO, tide_bytes_of("stuck"), bench.now), 0);
    bench_pump();
    expect(bench.trace, "> external lock 0 failed: stuck\n");
    cut();
    bench_reconnect();
    bench.trace[0] = '\0';
    say_resumed(2);
    expect(bench.trace, "> external lock 0 failed: stuck\n");
    bench_close();
}
END_TEST

/* The lease is over before the hook has heard: it hears after Resumed. */
START_TEST(a_fenced_hook_is_restored_later)
{
    run(true);
    say_hook(1, 2, "seven", false); /* the program is in a callback, and stays there */
    bench.now += 3000000;
    tide_session_tick(bench.s, bench.now);
    bench_pump();
    ck_assert_ptr_nonnull(strstr(bench.trace, "fenced\n"));
    ck_assert_ptr_null(strstr(bench.trace, "restore"));
    tide_session_disconnected(bench.s, bench.now);
    bench_pump();
    bench_reconnect();
    bench.trace[0] = '\0';
    say_resumed(2);
    expect(bench.trace, "unfenced\nlock: restore from 9: seven\n");
    bench_close();
}
END_TEST

static void lock_restored(int rc)
{
    ck_assert_int_eq(
        tide_session_external_restored(bench.s, 1, rc, tide_bytes_of("stuck"), bench.now), 0);
    bench_pump();
}

/* A region is rewound once more before the hook has answered: its answer to the first restore, good
 * or bad, is none to the second. Nor is one from before a rewind, of which a hook hears nothing. */
START_TEST(each_restore_is_answered_for_itself_S143)
{
    for (int rc = 0; rc >= TIDE_EIO; rc += TIDE_EIO) {
        run(true);
        say_hook(1, 2, "seven", true);
        say_hook(2, 3, "eight", true);
        bench.trace[0] = '\0';
        lock_restored(rc);
        expect(bench.trace, "");
        lock_restored(0);
        expect(bench.trace, "> external lock 0 \n");
        say_hook(3, 4, "nine", true);
        say_hook(4, 5, "ten", false); /* is not delivered any more */
        say_rewind(5);
        for (uint32_t t = 0; t < 2; t++)
            ck_assert_int_eq(tide_session_rewound(bench.s, t, bench.now), 0);
        bench_pump();
        say_joined();
        say_start(6);
        bench.trace[0] = '\0';
        for (uint32_t t = 0; t < 2; t++)
            ck_assert_int_eq(
                tide_session_restored(bench.s, t, 0, (struct tide_bytes){0}, bench.now), 0);
        ck_assert_int_eq(
            tide_session_external_restored(bench.s, 0, 0, (struct tide_bytes){0}, bench.now), 0);
        lock_restored(rc); /* of "nine" */
        expect(bench.trace, "");
        lock_restored(0);
        ck_assert_ptr_nonnull(strstr(bench.trace, "> restored"));
        bench_close();
    }
}
END_TEST

/* Each in its turn wrong: the connection is given up, and the attempt is what it was. */
START_TEST(what_breaks_the_protocol)
{
    for (int i = 0; i < 9; i++) {
        static const char *const why[] = {
            "Advance with another job's token", "Advance with another job's token",
            "Advance to no later attempt",      "Advance without a directory",
            "Advance rewinds a task",           "Advance names tasks that",
            "Advance names peers' tasks",       "Advance restores what is no hook",
            "Advance restores what is no hook"};
        Tide__Advance m;
        Tide__Token token;
        Tide__TaskRange range = TIDE__TASK_RANGE__INIT, *ranges[1] = {&range};
        Tide__Peer peer = TIDE__PEER__INIT, *peers[1] = {&peer};
        Tide__External e = TIDE__EXTERNAL__INIT;
        Tide__ExternalState state = TIDE__EXTERNAL_STATE__INIT, *states[1] = {&state};
        run(true);
        advance_init(&m, &token, 1, 2);
        e.name = (ProtobufCBinaryData){1, (uint8_t *)"c"};
        e.kind = TIDE__EXTERNAL_KIND__EXTERNAL_COORDINATOR;
        if (i == 0) m.token = NULL;
        if (i == 1) token.job_id = (ProtobufCBinaryData){16, (uint8_t *)"0123456789abcdeX"};
        if (i == 2) token.attempt = 1;
        if (i == 3) m.directory = (ProtobufCBinaryData){1, (uint8_t *)"d"};
        range.first = i == 4 ? 1 : 4;
        range.count = i == 4 ? 2 : 9;
        m.rewound = peer.tasks = ranges;
        m.n_rewound = i == 4 || i == 5;
        peer.n_tasks = 1;
        m.peers = peers;
        m.n_peers = i == 6;
        if (i == 7) state.external = &e;
        m.externals = states;
        m.n_externals = i >= 7;
        bench_say(TIDE__TO_WORKER__MSG_ADVANCE, &m);
        ck_assert_msg(strstr(bench.trace, why[i]) != NULL, "%d: %s", i, bench.trace);
        ck_assert_ptr_nonnull(strstr(bench.trace, "close\n"));
        ck_assert_uint_eq(tide_session_attempt(bench.s), 1);
        bench_close();
    }
    run(false);
    static const uint8_t nonsense[] = {0x82, 1, 2, 0xff, 0xff};
    tide_session_frame(bench.s, (struct tide_bytes){nonsense, sizeof nonsense}, bench.now);
    bench_pump();
    ck_assert_ptr_nonnull(strstr(bench.trace, "Advance cannot be read"));
    bench_close();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        goes_on_under_another_number,
        repeats_are_answered,
        joins_with_the_new_attempt,
        hooks_and_coordinators_S143,
        a_hook_that_cannot_S146,
        a_fenced_hook_is_restored_later,
        each_restore_is_answered_for_itself_S143,
        what_breaks_the_protocol,
    };
    Suite *suite = suite_create("session advance");
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        add_test(suite, tests[i]);
    return run_suite(suite);
}
