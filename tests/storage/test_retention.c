/* Which checkpoints stay: judged here once more, checkpoint by checkpoint straight from the words
 * in retention.h, over random jobs that run for weeks. */
#include <string.h>
#include <time.h>

#include "storage/retention.h"
#include "tests/storage/lib_fixture.h"

#define MOST 64

static uint64_t seed = 6;

static uint64_t below(uint64_t n) /* splitmix64 */
{
    uint64_t z = seed += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) % n;
}

/* As a calendar says it: two times are of one hour, day or week when these words are the same. */
static void period(uint64_t wall, char kind, char out[static 16])
{
    time_t seconds = (time_t)(wall / 1000000);
    struct tm t;
    ck_assert_ptr_nonnull(gmtime_r(&seconds, &t));
    strftime(out, 16, kind == 'h' ? "%Y%m%d%H" : kind == 'd' ? "%Y%m%d" : "%G-%V", &t);
}

/* It is the last of its period, and fewer than `most` periods that have one are younger. */
static bool of_a_period(const struct tide_kept *k, size_t n, size_t i, uint32_t most, char kind)
{
    char mine[16], other[16], seen[MOST][16];
    uint32_t younger = 0;
    period(k[i].completed_wall, kind, mine);
    for (size_t j = i + 1; j < n; j++) {
        bool known = false;
        period(k[j].completed_wall, kind, other);
        if (strcmp(mine, other) == 0) return false;
        for (uint32_t s = 0; s < younger; s++)
            known = known || strcmp(seen[s], other) == 0;
        if (!known) strcpy(seen[younger++], other);
    }
    return younger < most;
}

static bool stays(const struct tide_retention *r, uint64_t now, const struct tide_kept *k, size_t n,
                  size_t i)
{
    if (i == n - 1 || k[i].owed || n - i <= r->least) return true;
    bool wanted = n - i <= r->latest || of_a_period(k, n, i, r->hours, 'h') ||
                  of_a_period(k, n, i, r->days, 'd') || of_a_period(k, n, i, r->weeks, 'w');
    uint64_t bytes = k[i].bytes;
    for (size_t j = i + 1; j < n; j++)
        if (stays(r, now, k, n, j)) bytes += k[j].bytes;
    return wanted && !(r->bytes && bytes > r->bytes) &&
           !(r->age_us && k[i].completed_wall + r->age_us < now);
}

static uint32_t maybe(uint32_t most)
{
    return below(2) ? (uint32_t)below(most + 1) : 0;
}

static void one_history(void)
{
    struct tide_retention policy = {.latest = 1 + (uint32_t)below(4),
                                    .hours = maybe(3),
                                    .days = maybe(3),
                                    .weeks = maybe(2),
                                    .least = 1 + maybe(3),
                                    .age_us = maybe(20) * (uint64_t)3600000000u,
                                    .bytes = maybe(300)};
    struct tide_kept k[MOST];
    size_t n = 0;
    uint64_t now = WALL + below(700000) * 1000000, rounds = 3 + below(20);
    uint64_t step = below(2) ? 7200000000u : 200000000000u; /* hours apart, or days */
    for (uint64_t round = 1; round <= rounds; round++) {
        bool expected[MOST];
        size_t left = 0;
        now += 1 + below(step);
        ck_assert_uint_lt(n, MOST);
        k[n++] = (struct tide_kept){
            .snapshot = round, .completed_wall = now, .bytes = below(100), .owed = below(20) == 0};
        for (size_t i = 0; i < n; i++)
            expected[i] = stays(&policy, now, k, n, i);
        tide_retention_judge(&policy, now, k, n);
        for (size_t i = 0; i < n; i++) {
            ck_assert_msg(k[i].stays == expected[i], "snapshot %" PRIu64 " of %zu: why %x",
                          k[i].snapshot, n, k[i].why);
            if (k[i].stays) k[left++] = k[i];
        }
        n = left;
        ck_assert_uint_gt(n, 0);
        ck_assert_uint_eq(k[n - 1].snapshot, round);
    }
}

START_TEST(a_hundred_thousand_histories)
{
    for (int i = 0; i < 100000; i++)
        one_history();
}
END_TEST

/* The first of a year can be of the last week of the one before; a week begins on Monday. */
START_TEST(periods_by_the_calendar)
{
    const uint64_t hour = 3600000000u, monday = UINT64_C(1767571200000000); /* 2026-01-05 00:00 */
    struct tide_retention r = {.latest = 1, .weeks = 2, .least = 1};
    struct tide_kept k[4] = {{.snapshot = 1, .completed_wall = monday - 6 * 24 * hour},
                             {.snapshot = 2, .completed_wall = monday - 1},
                             {.snapshot = 3, .completed_wall = monday},
                             {.snapshot = 4, .completed_wall = monday + hour}};
    tide_retention_judge(&r, monday + 2 * hour, k, 4);
    ck_assert(!k[0].stays && k[1].stays && !k[2].stays && k[3].stays);
    ck_assert_uint_eq(k[1].why, TIDE_STAYS_WEEK);
    ck_assert_uint_eq(k[3].why,
                      TIDE_STAYS_NEWEST | TIDE_STAYS_LEAST | TIDE_STAYS_LATEST | TIDE_STAYS_WEEK);
    r = (struct tide_retention){.latest = 4, .least = 1, .age_us = 3 * hour, .bytes = 1};
    tide_retention_judge(&r, monday + 3 * hour + 1, k, 4);
    ck_assert_uint_eq(k[2].why, TIDE_STAYS_LATEST | TIDE_GOES_AGE);
    ck_assert(!k[2].stays && k[3].stays);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, a_hundred_thousand_histories);
    tcase_add_test(tc, periods_by_the_calendar);
}

int main(void)
{
    return run("retention", add_tests);
}
