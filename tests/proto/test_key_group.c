/* Which subtask owns which keys: the vectors of Flink's arithmetic, and ranges that agree with
 * owners for every pair of parallelisms. */
#include <string.h>

#include "proto/graph.h"
#include "tests/proto/lib_random.h"
#include "tests/proto/lib_run.h"

/* {last key group of each subtask} */
static const struct {
    uint32_t max, parallelism, last[5];
} ranges[] = {{128, 3, {42, 85, 127}},
              {13, 2, {6, 12}},
              {10, 4, {2, 4, 7, 9}},
              {128, 5, {25, 51, 76, 102, 127}}};

START_TEST(range_vectors)
{
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        uint32_t first, count, expected = 0;
        for (uint32_t s = 0; s < ranges[i].parallelism; s++) {
            tide_key_group_range(s, ranges[i].parallelism, ranges[i].max, &first, &count);
            ck_assert_uint_eq(first, expected);
            ck_assert_uint_eq(first + count - 1, ranges[i].last[s]);
            expected = first + count;
        }
        ck_assert_uint_eq(expected, ranges[i].max);
    }
}
END_TEST

/* Every range's ends belong to the subtask, and the ranges cover all groups once. */
static void check_pair(uint32_t parallelism, uint32_t max, uint32_t step)
{
    uint32_t first, count;
    for (uint32_t s = 0; s < parallelism; s += step) {
        tide_key_group_range(s, parallelism, max, &first, &count);
        ck_assert_uint_ge(count, 1);
        ck_assert_uint_eq(tide_key_group_owner(first, parallelism, max), s);
        ck_assert_uint_eq(tide_key_group_owner(first + count - 1, parallelism, max), s);
        if (first) ck_assert_uint_eq(tide_key_group_owner(first - 1, parallelism, max), s - 1);
        if (first + count < max)
            ck_assert_uint_eq(tide_key_group_owner(first + count, parallelism, max), s + 1);
        else
            ck_assert_uint_eq(s, parallelism - 1);
    }
    tide_key_group_range(parallelism - 1, parallelism, max, &first, &count);
    ck_assert_uint_eq(first + count, max);
}

START_TEST(ranges_and_owners_agree)
{
    struct rng r = {11};
    for (uint32_t max = 1; max <= 64; max++)
        for (uint32_t p = 1; p <= max; p++)
            check_pair(p, max, 1);
    for (int i = 0; i < 300; i++) {
        uint32_t max = 1 + rng_below(&r, 1u << 20), p = 1 + rng_below(&r, max);
        check_pair(p, max, 1 + p / 500);
    }
    check_pair(1u << 20, 1u << 20, 997);
    check_pair((1u << 20) - 1, 1u << 20, 997); /* beyond what 32-bit arithmetic can do */
}
END_TEST

START_TEST(nonsense_is_an_empty_range)
{
    uint32_t first = 5, count = 5;
    tide_key_group_range(3, 3, 128, &first, &count);
    ck_assert_uint_eq(count, 0);
    tide_key_group_range(0, 0, 128, &first, &count);
    ck_assert_uint_eq(count, 0);
    ck_assert_uint_eq(tide_key_group("a", 1, 0), 0);
    ck_assert_uint_eq(tide_key_group_owner(4, 2, 0), 0);
}
END_TEST

START_TEST(default_max_parallelism)
{
    static const uint32_t vectors[][2] = {
        {1, 128},     {85, 128},      {86, 256},      {128, 256},     {200, 512},
        {1000, 2048}, {20000, 32768}, {32768, 32768}, {32769, 32769}, {1u << 20, 1u << 20}};
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        ck_assert_uint_eq(tide_max_parallelism_default(vectors[i][0]), vectors[i][1]);
}
END_TEST

/* From the reference library: low 32 bits of XXH3-64, seed 0, modulo. */
START_TEST(keys_to_key_groups)
{
    static const struct {
        const char *key;
        uint32_t of_128, of_1000, of_32768;
    } vectors[] = {{"", 66, 274, 5314},
                   {"a", 31, 879, 19999},
                   {"word", 85, 661, 23637},
                   {"tidemark", 1, 17, 21889},
                   {"the quick brown fox jumps over the lazy dog", 42, 306, 17834}};
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        const char *k = vectors[i].key;
        ck_assert_uint_eq(tide_key_group(k, strlen(k), 128), vectors[i].of_128);
        ck_assert_uint_eq(tide_key_group(k, strlen(k), 1000), vectors[i].of_1000);
        ck_assert_uint_eq(tide_key_group(k, strlen(k), 32768), vectors[i].of_32768);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("key_group");
    add_test(s, range_vectors);
    add_test(s, ranges_and_owners_agree);
    add_test(s, nonsense_is_an_empty_range);
    add_test(s, default_max_parallelism);
    add_test(s, keys_to_key_groups);
    return run_suite(s);
}
