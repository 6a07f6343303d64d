/* The histogram of the loop's lag: which bucket a turn falls into, and what it counts from. */
#include <check.h>
#include <stdbool.h>

#include "daemon/lag.h"
#include "tests/proto/lib_run.h"

static struct lag lag;
static struct lag_answer memory;
static Tide__Status status;

static void turn(uint64_t since, uint64_t end)
{
    lag_begin(&lag, since);
    lag_end(&lag, end);
}

static void answer(void)
{
    status = (Tide__Status)TIDE__STATUS__INIT;
    lag_answer(&lag, &memory, &status);
}

/* Every turn stands in exactly the bucket whose bounds hold it. */
START_TEST(a_turn_falls_between_the_bounds)
{
    static const uint64_t lags[] = {0,  1,       15,       16,       17,       31,
                                    32, 1000000, 16777215, 16777216, 16777217, UINT64_MAX - 1};
    for (size_t i = 0; i < sizeof lags / sizeof *lags; i++) {
        lag = (struct lag){0};
        turn(1, 1 + lags[i]);
        answer();
        ck_assert_uint_eq(status.n_loop_lag, LAG_BUCKETS);
        ck_assert_uint_eq(status.loop_lag_max_us, lags[i]);
        uint64_t from = 0;
        for (size_t b = 0; b < status.n_loop_lag; b++) {
            uint64_t below = status.loop_lag[b]->below_us;
            bool within = lags[i] >= from && (below == 0 || lags[i] < below);
            ck_assert_uint_eq(status.loop_lag[b]->count, within ? 1 : 0);
            ck_assert(below == 0 ? b + 1 == status.n_loop_lag : below > from);
            from = below;
        }
    }
}
END_TEST

/* The earliest moment of a turn counts; an alarm may have been due before its first event. */
START_TEST(the_earliest_moment_of_a_turn_counts)
{
    lag = (struct lag){0};
    lag_begin(&lag, 2000);
    lag_begin(&lag, 1000);
    lag_begin(&lag, 3000);
    lag_end(&lag, 4000);
    ck_assert_uint_eq(lag.max_us, 3000);
}
END_TEST

START_TEST(a_turn_with_nothing_to_do_counts_nothing)
{
    lag = (struct lag){0};
    lag_end(&lag, 5000);
    turn(6000, 6010);
    lag_end(&lag, 900000);
    answer();
    ck_assert_uint_eq(status.loop_lag[0]->count, 1);
    for (size_t b = 1; b < status.n_loop_lag; b++)
        ck_assert_uint_eq(status.loop_lag[b]->count, 0);
    ck_assert_uint_eq(status.loop_lag_max_us, 10);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_turn_falls_between_the_bounds,
        the_earliest_moment_of_a_turn_counts,
        a_turn_with_nothing_to_do_counts_nothing,
    };
    Suite *suite = suite_create("lag");
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        add_test(suite, tests[i]);
    return run_suite(suite);
}
