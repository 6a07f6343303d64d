/* From keys to key groups: Flink's vectors for the arithmetic, the reference library's for the
 * hash. */
#include <string.h>

#include "state/key_group.h"
#include "state/tidemark-state.h"
#include "tests/proto/lib_run.h"

START_TEST(spread_vectors)
{
    static const struct {
        int32_t input;
        uint32_t spread, of_128;
    } vectors[] = {{0, 593689054, 94},          {1, 68075478, 86},    {2, 1085422463, 127},
                   {42, 1134849565, 29},        {-1, 1982413648, 80}, {123456789, 1088346449, 81},
                   {INT32_MIN, 1718298732, 108}};
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        uint32_t spread = tide_states_spread((uint32_t)vectors[i].input);
        ck_assert_uint_eq(spread, vectors[i].spread);
        ck_assert_uint_eq(spread % 128, vectors[i].of_128);
    }
}
END_TEST

START_TEST(a_spread_hash_is_never_negative)
{
    for (uint32_t i = 0; i < 1000000; i++)
        ck_assert_uint_le(tide_states_spread(i * 4294u + i), INT32_MAX);
}
END_TEST

START_TEST(keys_to_key_groups)
{
    static const struct {
        const char *key;
        size_t len;
        uint32_t hash, of_128, of_1000, of_32768;
    } vectors[] = {{"", 0, 953390274, 45, 437, 10285},
                   {"a", 1, 513166879, 88, 512, 10712},
                   {"word", 4, 4134296661, 62, 790, 29374},
                   {"tidemark", 8, 3846854017, 40, 696, 3368},
                   {"*\0\0\0\0\0\0\0", 8, 954148808, 99, 571, 20451}};
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        const char *k = vectors[i].key;
        size_t n = vectors[i].len;
        ck_assert_uint_eq(tide_states_hash(k, n), vectors[i].hash);
        ck_assert_uint_eq(tide_states_key_group(k, n, 128), vectors[i].of_128);
        ck_assert_uint_eq(tide_states_key_group(k, n, 1000), vectors[i].of_1000);
        ck_assert_uint_eq(tide_states_key_group(k, n, 32768), vectors[i].of_32768);
        ck_assert_uint_eq(tide_states_key_group(k, n, 0), 0);
    }
}
END_TEST

START_TEST(integers_are_little_endian_everywhere)
{
    uint8_t key[8];
    tide_states_key_of_int(42, key);
    ck_assert_mem_eq(key, "*\0\0\0\0\0\0\0", 8);
    tide_states_key_of_int(-1, key);
    ck_assert_mem_eq(key, "\xff\xff\xff\xff\xff\xff\xff\xff", 8);
    ck_assert_uint_eq(tide_states_key_group(key, 8, 128), 74);
    tide_states_key_of_int(INT64_MIN, key);
    ck_assert_mem_eq(key, "\0\0\0\0\0\0\0\x80", 8);
}
END_TEST

/* S154: each key group lies in the range of its computed owner. */
START_TEST(every_key_has_one_owner)
{
    static const uint32_t pairs[][2] = {{1, 1}, {3, 7}, {5, 128}, {97, 1000}, {32768, 32768}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        for (int64_t n = -5000; n < 5000; n++) {
            uint8_t key[8];
            uint32_t first, count;
            tide_states_key_of_int(n, key);
            uint32_t group = tide_states_key_group(key, 8, pairs[i][1]);
            uint32_t owner = tide_key_group_owner(group, pairs[i][0], pairs[i][1]);
            tide_key_group_range(owner, pairs[i][0], pairs[i][1], &first, &count);
            ck_assert(group >= first && group - first < count);
        }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("state_key_group");
    add_test(s, spread_vectors);
    add_test(s, a_spread_hash_is_never_negative);
    add_test(s, keys_to_key_groups);
    add_test(s, integers_are_little_endian_everywhere);
    add_test(s, every_key_has_one_owner);
    return run_suite(s);
}
