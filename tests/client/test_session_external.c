/* A session with external parts, as traces: a's coordinator and the hook `lock`. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/client/lib_run.h"
#include "tests/client/lib_session.h"

static int answer(uint32_t part, uint64_t round, int rc, const char *what)
{
    int result = tide_session_external_answer(bench.s, part, tide_session_attempt(bench.s), round,
                                              rc, tide_bytes_of(what), bench.now);
    bench_pump();
    return result;
}

static void restored(uint32_t part, int rc, const char *why)
{
    ck_assert_int_eq(
        tide_session_external_restored(bench.s, part, rc, tide_bytes_of(why), bench.now), 0);
    bench_pump();
}

static void run(void)
{
    bench_externals = true;
    bench_run();
}

/* Up to Joined. */
static void joined(void)
{
    bench_externals = true;
    bench_open();
    tide_session_tick(bench.s, bench.now);
    bench_pump();
    tide_session_connected(bench.s, bench.now);
    bench_pump();
    say_welcome();
    say_joined();
    say_alive(1);
}

START_TEST(joins_with_its_parts_and_restores_each)
{
    joined();
    expect(bench.trace, "connect\n> hello\n> join 0+2 @a lock\n> heartbeat 1\n");
    Tide__Start m;
    Tide__Token token;
    Tide__External a = TIDE__EXTERNAL__INIT;
    Tide__ExternalState state = TIDE__EXTERNAL_STATE__INIT, *states[1] = {&state};
    a.kind = TIDE__EXTERNAL_KIND__EXTERNAL_COORDINATOR;
    a.name = (ProtobufCBinaryData){1, (uint8_t *)"a"};
    state.external = &a;
    state.data = (ProtobufCBinaryData){5, (uint8_t *)"seven"};
    start_init(&m, &token, 3);
    m.snapshot = 4;
    m.snapshot_directory = (ProtobufCBinaryData){2, (uint8_t *)"/s"};
    m.n_externals = 1;
    m.externals = states;
    say_start_message(&m);
    expect(bench.trace, "@a: restore from 4: seven\nlock: reset, from 4\n"
                        "0: restore from 4 artifacts 0\n1: restore from 4 artifacts 0\n");
    restored(1, 0, "");
    for (uint32_t t = 0; t < 2; t++)
        tide_session_restored(bench.s, t, 0, (struct tide_bytes){0}, bench.now);
    bench_pump();
    expect(bench.trace, "");
    restored(0, 0, "");
    expect(bench.trace, "> external @a 0 \n> external lock 0 \n> restored 0+2\n");
    say_run(3);
    expect(bench.trace, "0: run\n1: run\n@a: run\nlock: run\n");
    bench_close();
}
END_TEST

/* S146: a part that cannot restore says so at once. */
START_TEST(a_failed_restore_is_told_S146)
{
    joined();
    say_start(1);
    bench.trace[0] = '\0';
    restored(1, TIDE_ECORRUPT, "");
    restored(0, TIDE_EIO, "no disk");
    expect(bench.trace, "> external lock 0 failed: damaged: structure or digest does not match\n"
                        "> external @a 0 failed: no disk\n");
    bench_close();
}
END_TEST

START_TEST(answers_once_and_hears_how_it_ended)
{
    run();
    say_ask(1, 5, "@a", 0, 0);
    expect(bench.trace, "@a: snapshot 5\n");
    ck_assert_int_eq(answer(0, 6, 0, "x"), TIDE_ESTALE); /* nobody asked */
    ck_assert_int_eq(answer(0, 5, 0, "seven"), 0);
    ck_assert_int_eq(answer(0, 5, 0, "eight"), 0);
    expect(bench.trace, "> external @a 5 seven\n");
    say_ask(1, 5, "@a", 0, 0); /* again: the same answer */
    expect(bench.trace, "> external @a 5 seven\n");
    say_ask(1, 5, "lock", 0, 0);
    ck_assert_int_eq(answer(1, 5, TIDE_EBUSY, "taken"), 0);
    expect(bench.trace, "lock: snapshot 5\n> external lock 5 failed: taken\n");
    say_ask(1, 5, "@a", 0, 1);
    expect(bench.trace, "@a: release 5 0+1\n");
    say_complete(1, 5, true);
    expect(bench.trace, "@a: complete 5\nlock: complete 5\n0: complete 5\n1: complete 5\n");
    ck_assert_int_eq(answer(0, 5, 0, "late"), TIDE_ESTALE);
    say_ask(1, 5, "@a", 0, 0); /* it is over */
    expect(bench.trace, "");
    bench_close();
}
END_TEST

/* S76: an abort takes a question back; one that was never asked is not heard of, and not asked
 * after it. */
START_TEST(aborted_rounds_are_not_answered_S76)
{
    run();
    say_ask(1, 5, "@a", 0, 0);
    say_abort(1, 5);
    expect(bench.trace, "@a: snapshot 5\nnote: round 5 aborted: too slow\n@a: abort 5\n");
    ck_assert_int_eq(answer(0, 5, 0, "late"), TIDE_ESTALE);
    say_abort(1, 6);
    say_ask(1, 6, "@a", 0, 0);
    say_ask(1, 6, "lock", 0, 0);
    expect(bench.trace, "note: round 6 aborted: too slow\n");
    bench_close();
}
END_TEST

START_TEST(answers_are_repeated_after_a_reconnect)
{
    run();
    say_ask(1, 5, "@a", 0, 0);
    say_ask(1, 5, "lock", 0, 0);
    cut();
    ck_assert_int_eq(answer(0, 5, 0, "seven"), 0); /* kept */
    bench.trace[0] = '\0';
    bench_reconnect();
    expect(bench.trace, "connect\n> hello\n> join 0+2 attempt 1 phase 3 open 5 @a lock\n"
                        "> heartbeat 2\n");
    say_resumed(1);
    say_run(1);
    expect(bench.trace, "> external @a 5 seven\n");
    say_ask(1, 5, "lock", 0, 0); /* has not answered yet */
    expect(bench.trace, "");
    ck_assert_int_eq(answer(1, 5, 0, ""), 0);
    expect(bench.trace, "> external lock 5 \n");
    say_trigger(1, 5);
    say_ask(1, 6, "@a", 0, 0);
    bench.trace[0] = '\0';
    cut();
    bench.trace[0] = '\0';
    bench_reconnect();
    expect(bench.trace,
           "connect\n> hello\n> join 0+2 attempt 1 phase 3 open 5 open 6 @a lock\n> heartbeat 3\n");
    bench_close();
}
END_TEST

/* When the lease is over what is to be said is kept until Resumed. */
START_TEST(a_lease_that_ends_keeps_what_is_said)
{
    run();
    say_ask(1, 5, "@a", 0, 0);
    say_ask(1, 5, "lock", 0, 0);
    cut();
    bench.trace[0] = '\0';
    bench.now += 3000000;
    ck_assert_int_eq(answer(0, 5, 0, "seven"), 0);
    ck_assert_int_eq(tide_session_external_failed(bench.s, 1, tide_bytes_of("lost"), bench.now), 0);
    bench_pump();
    expect(bench.trace, "fenced\n");
    tide_session_tick(bench.s, bench.now);
    bench_pump();
    tide_session_connected(bench.s, bench.now);
    bench_pump();
    say_welcome();
    say_joined();
    bench.trace[0] = '\0';
    say_resumed(1);
    expect(bench.trace, "> external @a 5 seven\n> external lock 0 failed: lost\nunfenced\n");
    bench_close();
}
END_TEST

START_TEST(one_that_cannot_go_on_says_so_once)
{
    run();
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(
            tide_session_external_failed(bench.s, 0, tide_bytes_of("an event is lost"), bench.now),
            0);
    bench_pump();
    expect(bench.trace, "> external @a 0 failed: an event is lost\n");
    say_rewind(1);
    expect(bench.trace, "@a: rewind: a worker is lost\nlock: rewind: a worker is lost\n"
                        "0: rewind: a worker is lost\n1: rewind: a worker is lost\n");
    ck_assert_int_eq(answer(0, 5, 0, "x"), TIDE_ESTALE);
    bench_close();
}
END_TEST

/* Of completions that come out of order, or that wait, only the newest is told: the others' gates
 * open all the same. */
START_TEST(a_completion_that_is_not_told_releases)
{
    run();
    say_ask(1, 5, "@a", 0, 0);
    answer(0, 5, 0, "five");
    say_ask(1, 6, "@a", 0, 0);
    answer(0, 6, 0, "six");
    say_complete(1, 6, true);
    bench.trace[0] = '\0';
    say_complete(1, 5, true); /* a savepoint that took longer */
    ck_assert_ptr_nonnull(strstr(bench.trace, "@a: release 5\n"));
    ck_assert_ptr_null(strstr(bench.trace, "@a: complete 5\n"));
    ck_assert_ptr_null(strstr(bench.trace, "lock: release"));
    bench_close();
}
END_TEST

/* A round below the lowest pending is over: its events may go, how it ended is told separately. */
START_TEST(the_lowest_pending_releases)
{
    run();
    say_ask(1, 5, "@a", 0, 0);
    answer(0, 5, 0, "seven");
    bench.trace[0] = '\0';
    say_trigger(1, 7);
    ck_assert_ptr_nonnull(strstr(bench.trace, "@a: release 5\n"));
    bench.trace[0] = '\0';
    ck_assert_int_eq(answer(0, 5, 0, "late"), TIDE_ESTALE);
    Tide__Abort m = TIDE__ABORT__INIT;
    m.attempt = 1;
    m.round = 5;
    bench_say(TIDE__TO_WORKER__MSG_ABORT, &m);
    expect(bench.trace, "note: round 5 aborted: \n@a: abort 5\n");
    bench_close();
}
END_TEST

START_TEST(a_daemon_that_breaks_the_rules_is_left)
{
    static const char *const parts[] = {"@b", "feed", "@a"};
    for (unsigned i = 0; i < 3; i++) {
        run();
        if (i == 2)
            say_ask(1, 5, parts[i], 1, 1); /* b's task */
        else
            say_ask(1, 5, parts[i], 0, 0);
        ck_assert_ptr_nonnull(strstr(bench.trace,
                                     "note: the daemon broke the protocol: AskExternal "
                                     "names "));
        ck_assert_ptr_nonnull(strstr(bench.trace, "close\n"));
        bench_close();
    }
    joined();
    say_start(1);
    bench.trace[0] = '\0';
    say_ask(1, 5, "@a", 0, 0);
    ck_assert_ptr_nonnull(strstr(bench.trace, "AskExternal before Run"));
    bench_close();
}
END_TEST

START_TEST(what_a_program_may_not_say)
{
    bench_externals = true;
    bench_open();
    ck_assert_int_eq(tide_session_add_external(bench.s, false, tide_bytes_of("a")), TIDE_EEXIST);
    ck_assert_int_eq(tide_session_add_external(bench.s, false, tide_bytes_of("b")), TIDE_ENOTFOUND);
    ck_assert_int_eq(tide_session_add_external(bench.s, true, tide_bytes_of("a")), TIDE_ENOTFOUND);
    bench_close();
    run();
    ck_assert_int_eq(tide_session_add_external(bench.s, true, tide_bytes_of("lock")), TIDE_ESTATE);
    say_ask(1, 5, "@a", 0, 0);
    char *big = calloc(1, (1 << 20) + 2);
    memset(big, 'x', (1 << 20) + 1);
    ck_assert_int_eq(answer(0, 5, 0, big), TIDE_ETOOBIG);
    ck_assert_int_eq(answer(7, 5, 0, ""), TIDE_EINVAL);
    bench.trace[0] = '\0';
    ck_assert_int_eq(answer(0, 5, TIDE_EIO, "\xff"), 0); /* not a text: the code's is said */
    expect(bench.trace, "> external @a 5 failed: input/output error\n");
    free(big);
    bench_close();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        joins_with_its_parts_and_restores_each,
        a_failed_restore_is_told_S146,
        answers_once_and_hears_how_it_ended,
        aborted_rounds_are_not_answered_S76,
        answers_are_repeated_after_a_reconnect,
        a_lease_that_ends_keeps_what_is_said,
        one_that_cannot_go_on_says_so_once,
        a_completion_that_is_not_told_releases,
        the_lowest_pending_releases,
        a_daemon_that_breaks_the_rules_is_left,
        what_a_program_may_not_say,
    };
    Suite *suite = suite_create("session external");
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        add_test(suite, tests[i]);
    return run_suite(suite);
}
