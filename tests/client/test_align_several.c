/* The aligner: several rounds where one does not wait. No barrier overtakes a barrier. Traces as in
 * test_align_unaligned.c. */
#include "tests/client/lib_align.h"

static const uint64_t never = UINT64_MAX;

/* ---- several rounds: no barrier overtakes a barrier */

START_TEST(the_barrier_of_another_round_waits_until_the_capture_is_over)
{
    make(2);
    unaligned(1);
    trigger(2); /* an aligned savepoint behind an unaligned checkpoint */
    barrier_with(0, 1, U);
    barrier(0, 2);
    ck_assert(tide_align_blocked(a, 0));
    ck_assert_int_eq(tide_align_barrier(a, 0, 3, 0, now), TIDE_ESTATE);
    ck_assert(tide_align_record(a, 1, 1));
    barrier_with(1, 1, U);
    ck_assert(tide_align_blocked(a, 0));
    barrier(1, 2);
    expect(trace, "trigger 1 ->\ntrigger 2 ->\n0:1u -> ahead 1 snapshot 1 waits\n0:2 -> block 0\n"
                  "1:1u -> ackable 1 after 20\n1:2 -> forward 2 snapshot 2 after 10 unblock 0\n");
    tide_align_free(a);
}
END_TEST

START_TEST(what_waited_may_be_captured_at_once)
{
    make(3);
    unaligned(1);
    unaligned(2);
    barrier_with(0, 1, U);
    barrier_with(0, 2, U);
    barrier_with(1, 1, U);
    barrier_with(1, 2, U);
    announce(2, 1, U);
    barrier_with(2, 1, U);
    ck_assert_uint_eq(tide_align_capturing(a), 2);
    barrier_with(2, 2, U);
    expect(trace, "trigger 1 ->\ntrigger 2 ->\n0:1u -> ahead 1 snapshot 1 waits\n0:2u -> block 0\n"
                  "1:1u ->\n1:2u -> block 1\n2:(1u) -> overtake 2:1\n"
                  "2:1u -> ackable 1 after 50 ahead 2 snapshot 2 waits unblock 0 unblock 1\n"
                  "2:2u -> ackable 2 after 10\n");
    tide_align_free(a);
}
END_TEST

START_TEST(the_capture_ends_by_an_abort_and_what_waited_goes_on)
{
    make(2);
    unaligned(1);
    unaligned(2);
    barrier_with(0, 1, U);
    barrier_with(0, 2, U);
    abort_round(1);
    barrier_with(1, 1, U);
    barrier_with(1, 2, U);
    expect(trace, "trigger 1 ->\ntrigger 2 ->\n0:1u -> ahead 1 snapshot 1 waits\n0:2u -> block 0\n"
                  "abort 1 -> cancel 1 discard 1 (known) ahead 2 snapshot 2 waits unblock 0\n"
                  "1:1u ->\n1:2u -> ackable 2 after 20\n");
    tide_align_free(a);
}
END_TEST

START_TEST(what_waited_may_find_another_in_its_place)
{
    make(3);
    unaligned(1);
    unaligned(2);
    unaligned(3);
    barrier_with(0, 1, U);
    barrier_with(1, 1, U);
    barrier_with(0, 2, U);
    barrier_with(1, 3, U); /* 2 was given up in front of it */
    announce(0, 2, U);     /* it has been read, however late this is */
    barrier_with(2, 1, U);
    ck_assert_uint_eq(tide_align_capturing(a), 3);
    abort_round(3);
    barrier_with(0, 1, U); /* of old */
    expect(trace, "trigger 1 ->\ntrigger 2 ->\ntrigger 3 ->\n0:1u -> ahead 1 snapshot 1 waits\n"
                  "1:1u ->\n0:2u -> block 0\n1:3u -> block 1\n0:(2u) ->\n"
                  "2:1u -> ackable 1 after 50 ahead 2 snapshot 2 waits unblock 0 "
                  "cancel 2 discard 2 (overtaken by a newer round) ahead 3 snapshot 3 waits "
                  "unblock 1\nabort 3 -> cancel 3 discard 3 (known)\n0:1u ->\n");
    tide_align_free(a);
}
END_TEST

START_TEST(while_one_is_captured_others_of_its_channel_are_judged_by_themselves)
{
    make(2);
    unaligned(2);
    barrier_with(0, 2, U);
    counted(3);
    barrier(0, 3); /* counted, by its trigger: it waits for nothing */
    abort_round(4);
    barrier(0, 4); /* over */
    barrier(0, 1); /* older */
    barrier_with(0, 5, C);
    ck_assert(!tide_align_blocked(a, 0));
    expect(trace, "trigger 2 ->\n0:2u -> ahead 2 snapshot 2 waits\ntrigger 3 ->\n0:3 ->\n"
                  "abort 4 ->\n0:4 -> cancel 4\n"
                  "0:1 -> cancel 1 discard 1 (overtaken by a newer round)\n0:5c ->\n");
    tide_align_free(a);
}
END_TEST

START_TEST(announcements_wait_for_what_they_need)
{
    make(2);
    unaligned(2);
    announce(0, 3, U); /* no trigger yet */
    announce(1, 1, U);
    turn(4);
    timed(5, never);
    unaligned(3);
    expect(trace, "trigger 2 ->\n0:(3u) ->\n1:(1u) ->\nturn 4 ->\ntrigger 5 ->\n"
                  "trigger 3 -> cancel 1 discard 1 (overtaken by a newer round) cancel 2 discard 2 "
                  "(overtaken by a newer round) ahead 3 snapshot 3 waits overtake 0:3\n");
    abort_round(3);
    trace[0] = '\0';
    turn(2); /* it is over, and so is what is older */
    turn(1);
    announce(1, 5, U);
    expect(trace, "turn 2 ->\nturn 1 ->\n1:(5u) -> cancel 4 discard 4 (overtaken by a newer round) "
                  "ahead 5 snapshot 5 waits overtake 1:5\n");
    tide_align_free(a);
}
END_TEST

START_TEST(a_barrier_that_waits_is_let_go_when_its_round_is_over)
{
    make(2);
    unaligned(1);
    unaligned(2);
    barrier_with(0, 1, U);
    barrier_with(0, 2, U);
    abort_round(2);
    ck_assert(!tide_align_blocked(a, 0));
    barrier_with(0, 3, U);
    cancel(1, 3);
    barrier_with(0, 4, U);
    tick(1000000);
    expect(trace, "trigger 1 ->\ntrigger 2 ->\n0:1u -> ahead 1 snapshot 1 waits\n0:2u -> block 0\n"
                  "abort 2 -> cancel 2 unblock 0\n0:3u -> block 0\n"
                  "1:cancel 3 -> cancel 3 discard 3 (cancelled upstream) unblock 0\n"
                  "0:4u -> block 0\n"
                  "[1000000] -> cancel 1 discard 1 (the round's time is over)\n");
    tide_align_free(a);
}
END_TEST

START_TEST(what_waited_may_be_skipped_by_another)
{
    make(3);
    unaligned(1);
    trigger(2);
    trigger(3);
    barrier_with(0, 1, U);
    barrier_with(1, 1, U);
    barrier(0, 2);
    barrier(1, 3); /* 2 was given up in front of it */
    barrier_with(2, 1, U);
    ck_assert(!tide_align_blocked(a, 0) && tide_align_blocked(a, 1));
    barrier(0, 3);
    barrier(2, 3);
    expect(trace, "trigger 1 ->\ntrigger 2 ->\ntrigger 3 ->\n0:1u -> ahead 1 snapshot 1 waits\n"
                  "1:1u ->\n0:2 -> block 0\n1:3 -> block 1\n"
                  "2:1u -> ackable 1 after 40 cancel 2 discard 2 (overtaken by a newer round) "
                  "unblock 0\n0:3 -> block 0\n"
                  "2:3 -> forward 3 snapshot 3 after 20 unblock 0 unblock 1\n");
    tide_align_free(a);
}
END_TEST

START_TEST(a_channel_that_ends_while_its_barrier_waits)
{
    make(2);
    unaligned(1);
    trigger(2);
    barrier_with(0, 1, U);
    barrier(0, 2);
    end(0);
    ck_assert(!tide_align_blocked(a, 0));
    barrier_with(1, 1, U);
    barrier(1, 2);
    expect(trace, "trigger 1 ->\ntrigger 2 ->\n0:1u -> ahead 1 snapshot 1 waits\n0:2 -> block 0\n"
                  "0:end ->\n1:1u -> ackable 1 after 30\n1:2 -> forward 2 snapshot 2 after 0\n");
    tide_align_free(a);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        the_barrier_of_another_round_waits_until_the_capture_is_over,
        what_waited_may_be_captured_at_once,
        the_capture_ends_by_an_abort_and_what_waited_goes_on,
        what_waited_may_find_another_in_its_place,
        while_one_is_captured_others_of_its_channel_are_judged_by_themselves,
        announcements_wait_for_what_they_need,
        a_barrier_that_waits_is_let_go_when_its_round_is_over,
        what_waited_may_be_skipped_by_another,
        a_channel_that_ends_while_its_barrier_waits,
    };
    Suite *suite = suite_create("align_several");
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        add_test(suite, tests[i]);
    return run_suite(suite);
}
