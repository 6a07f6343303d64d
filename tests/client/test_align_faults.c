/* The aligner when there is no memory: it is not born, or forgets old rounds sooner, or says from
 * then on that nothing works any more. The linker puts the faults in, see the Makefile. */
#include <stdlib.h>

#include "tests/client/lib_align.h"

static long calls, fail_at;

void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

void *__wrap_calloc(size_t n, size_t size)
{
    return fail_at && ++calls == fail_at ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return fail_at && ++calls == fail_at ? NULL : __real_realloc(p, n);
}

static void let_fail(long k)
{
    calls = 0;
    fail_at = k;
}

START_TEST(it_is_not_born)
{
    for (long k = 1; k <= 4; k++) {
        let_fail(k);
        ck_assert_int_eq(tide_align_new(3, &a), TIDE_ENOMEM);
    }
    let_fail(5);
    ck_assert_int_eq(tide_align_new(3, &a), 0);
    for (long k = 1; k <= 2; k++) {
        let_fail(k);
        ck_assert_int_eq(tide_align_reset(a, 4), TIDE_ENOMEM);
    }
    let_fail(0);
    trigger(1);
    for (uint32_t c = 0; c < 3; c++)
        barrier(c, 1); /* with the channels that it had */
    ck_assert_uint_eq(tide_align_open(a), 3);
    ck_assert_int_eq(tide_align_reset(a, TIDE_CHANNELS_MAX + 1), TIDE_EINVAL);
    tide_align_free(a);
    tide_align_free(NULL);
}
END_TEST

START_TEST(rounds_are_forgotten_sooner)
{
    make(2);
    for (uint64_t r = 11; r <= 18; r++)
        trigger(r);
    barrier(0, 12);
    trace[0] = '\0';
    let_fail(1);
    trigger(19); /* in the place of 11, which is over */
    let_fail(1);
    trigger(20); /* and of 12, which aligns */
    let_fail(1);
    trigger(10);
    let_fail(1);
    cancel(1, 12);
    let_fail(0);
    barrier(1, 12);
    expect(trace, "trigger 19 ->\n"
                  "trigger 20 -> cancel 12 discard 12 (overtaken by a newer round) unblock 0\n"
                  "trigger 10 ->\n1:cancel 12 ->\n1:12 ->\n");
    tide_align_free(a);

    make(1);
    for (uint64_t r = 11; r <= 18; r++)
        trigger(r);
    trace[0] = '\0';
    let_fail(1);
    trigger(9);
    let_fail(1);
    cancel(0, 10);
    let_fail(1);
    barrier(0, 10);
    abort_round(10);
    let_fail(0);
    expect(trace, "trigger 9 -> cancel 9 discard 9 (overtaken by a newer round)\n"
                  "0:cancel 10 -> cancel 10 discard 10 (overtaken by a newer round)\n"
                  "0:10 ->\nabort 10 ->\n");
    tide_align_free(a);

    make(1);
    for (uint64_t r = 11; r <= 18; r++)
        trigger(r);
    trace[0] = '\0';
    let_fail(1);
    barrier(0, 10); /* counts as resolved: nothing is said */
    let_fail(1);
    announce(0, 9, 0);
    let_fail(0);
    turn(9);
    expect(trace, "0:10 ->\n0:(9) ->\nturn 9 ->\n");
    tide_align_free(a);
}
END_TEST

/* The one that gives way may be held up in outputs, or captured, with others behind it. */
START_TEST(rounds_that_give_way_let_others_go)
{
    make(2);
    tide_align_promotable(a, 1);
    timed(1, 900000);
    barrier(0, 1);
    barrier(1, 1);
    unaligned(2);
    barrier_with(0, 2, U);
    for (uint64_t r = 3; r <= 8; r++)
        trigger(r);
    barrier(0, 3);
    trace[0] = '\0';
    let_fail(1);
    trigger(9);
    let_fail(1);
    trigger(10);
    let_fail(0);
    ck_assert(tide_align_blocked(a, 0)); /* by 3 now */
    expect(trace, "trigger 9 -> cancel 1 discard 1 (overtaken by a newer round)\n"
                  "trigger 10 -> cancel 2 discard 2 (overtaken by a newer round)\n");
    barrier(1, 3);
    expect(trace, "1:3 -> forward 3 snapshot 3 after 10 unblock 0\n");
    tide_align_free(a);
}
END_TEST

START_TEST(nothing_works_any_more)
{
    struct tide_align_trigger t = {.round = 99};
    make(1);
    for (uint64_t r = 1; r <= 8; r++)
        trigger(r);
    let_fail(1);
    ck_assert_int_eq(tide_align_end(a, 0, now), TIDE_ENOMEM); /* it has 17 things to say */
    let_fail(0);
    ck_assert_int_eq(tide_align_barrier(a, 0, 99, 0, now), TIDE_ENOMEM);
    ck_assert_int_eq(tide_align_cancel(a, 0, 99, now), TIDE_ENOMEM);
    ck_assert_int_eq(tide_align_end(a, 0, now), TIDE_ENOMEM);
    ck_assert_int_eq(tide_align_announce(a, 0, 99, 0, now), TIDE_ENOMEM);
    ck_assert_int_eq(tide_align_trigger(a, &t, now), TIDE_ENOMEM);
    ck_assert_int_eq(tide_align_turn(a, 99, now), TIDE_ENOMEM);
    ck_assert_int_eq(tide_align_abort(a, 99, true, NULL, now), TIDE_ENOMEM);
    ck_assert_int_eq(tide_align_sent(a, 99, now), TIDE_ENOMEM);
    ck_assert_int_eq(tide_align_tick(a, now, 1), TIDE_ENOMEM);
    tide_align_lowest(a, 100);
    tide_align_free(a);

    make(1); /* with memory it says them all */
    for (uint64_t r = 1; r <= 8; r++)
        trigger(r);
    trace[0] = '\0';
    end(0);
    ck_assert_ptr_nonnull(strstr(trace, "forward 8 snapshot 8"));
    tide_align_free(a);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        it_is_not_born,
        rounds_are_forgotten_sooner,
        rounds_that_give_way_let_others_go,
        nothing_works_any_more,
    };
    Suite *suite = suite_create("align_faults");
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        add_test(suite, tests[i]);
    return run_suite(suite);
}
