/* The barrier's 16 bytes, as they stand in channels between any two programs. */
#include "proto/barrier.h"
#include "proto/err.h"
#include "tests/proto/lib_run.h"

/* XXH3-64 of sixteen bytes, low 32 bits, as the reference library computes them. */
static const uint8_t job_zero[16];
static const uint8_t job_count[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

START_TEST(job_check_is_xxh3)
{
    ck_assert_uint_eq(tide_job_check(job_zero), 0xc7528968);
    ck_assert_uint_eq(tide_job_check(job_count), 0xf61770db);
}
END_TEST

static const struct {
    struct tide_barrier barrier;
    const char *bytes;
} vectors[] = {
    {{1, 0, 0}, "\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"},
    {{0x1122334455667788, 0, 0xa1b2c3d4},
     "\x88\x77\x66\x55\x44\x33\x22\x11\0\0\0\0\xd4\xc3\xb2\xa1"},
    {{UINT64_MAX, TIDE_BARRIER_CANCEL, 5}, "\xff\xff\xff\xff\xff\xff\xff\xff\2\0\0\0\5\0\0\0"},
    {{7, TIDE_BARRIER_UNALIGNED, 1}, "\7\0\0\0\0\0\0\0\1\0\0\0\1\0\0\0"},
    {{7, TIDE_BARRIER_COUNTED, 1}, "\7\0\0\0\0\0\0\0\10\0\0\0\1\0\0\0"},
    {{0, TIDE_BARRIER_END, 0xffffffff}, "\0\0\0\0\0\0\0\0\4\0\0\0\xff\xff\xff\xff"},
};

START_TEST(vectors_both_ways)
{
    uint8_t out[TIDE_BARRIER_BYTES];
    struct tide_barrier b;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        tide_barrier_encode(&vectors[i].barrier, out);
        ck_assert_mem_eq(out, vectors[i].bytes, sizeof out);
        ck_assert_int_eq(tide_barrier_decode(out, &b), 0);
        ck_assert_uint_eq(b.round, vectors[i].barrier.round);
        ck_assert_uint_eq(b.flags, vectors[i].barrier.flags);
        ck_assert_uint_eq(b.job_check, vectors[i].barrier.job_check);
    }
}
END_TEST

START_TEST(all_other_flags_are_refused)
{
    uint8_t out[TIDE_BARRIER_BYTES];
    struct tide_barrier b = {77, 77, 77};
    for (uint64_t round = 0; round < 2; round++)
        for (uint32_t flags = 0; flags < 64; flags++) {
            bool fine = round ? flags == 0 || flags == TIDE_BARRIER_CANCEL ||
                                    flags == TIDE_BARRIER_UNALIGNED || flags == TIDE_BARRIER_COUNTED
                              : flags == TIDE_BARRIER_END;
            tide_barrier_encode(&(struct tide_barrier){round, flags, 0}, out);
            if (!fine) b.round = 77;
            ck_assert_int_eq(tide_barrier_decode(out, &b), fine ? 0 : TIDE_EPROTO);
            if (!fine) ck_assert_uint_eq(b.round, 77); /* written only on success */
        }
    for (unsigned bit = 6; bit < 32; bit++) {
        tide_barrier_encode(&(struct tide_barrier){1, 1u << bit, 0}, out);
        ck_assert_int_eq(tide_barrier_decode(out, &b), TIDE_EPROTO);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("barrier");
    add_test(s, job_check_is_xxh3);
    add_test(s, vectors_both_ways);
    add_test(s, all_other_flags_are_refused);
    return run_suite(s);
}
