/* Buffers keep to their maximum and remember their first failure; text is UTF-8 without NUL;
 * arenas hand out no more than they may. */
#include <string.h>

#include "proto/arena.h"
#include "proto/err.h"
#include "proto/worker.pb-c.h"
#include "tests/proto/lib_random.h"
#include "tests/proto/lib_run.h"

START_TEST(buffer_grows_to_its_maximum_and_no_further)
{
    struct tide_buf b;
    tide_buf_init(&b, 1000);
    ck_assert_ptr_null(b.data);
    for (int i = 0; i < 1000; i++)
        tide_buf_put_u8(&b, (uint8_t)i);
    ck_assert_int_eq(b.rc, 0);
    ck_assert_uint_eq(b.len, 1000);
    ck_assert_uint_le(b.cap, 1000);
    for (int i = 0; i < 1000; i++)
        ck_assert_uint_eq(b.data[i], (uint8_t)i);
    tide_buf_put_u8(&b, 1);
    ck_assert_int_eq(b.rc, TIDE_ETOOBIG);
    ck_assert_uint_eq(b.len, 1000);
    tide_buf_clear(&b);
    ck_assert_int_eq(b.rc, 0);
    ck_assert_uint_eq(b.len, 0);
    tide_buf_put(&b, "x", 1);
    ck_assert_uint_eq(b.len, 1);
    tide_buf_release(&b);
    ck_assert_uint_eq(b.max, 1000);
}
END_TEST

START_TEST(first_failure_sticks)
{
    struct tide_buf b;
    tide_buf_init(&b, 8);
    tide_buf_put(&b, "123456789", 9);
    ck_assert_int_eq(b.rc, TIDE_ETOOBIG);
    ck_assert_uint_eq(b.len, 0);
    tide_buf_put(&b, "1", 1); /* would fit, but something is missing before it */
    ck_assert_uint_eq(b.len, 0);
    ck_assert_ptr_null(tide_buf_extend(&b, 0));
    tide_buf_release(&b);
    tide_buf_init(&b, SIZE_MAX);
    ck_assert_ptr_nonnull(tide_buf_extend(&b, 3));
    ck_assert_ptr_null(tide_buf_extend(&b, SIZE_MAX));
    ck_assert_int_eq(b.rc, TIDE_ETOOBIG);
    tide_buf_release(&b);
}
END_TEST

START_TEST(empty_puts_and_take)
{
    struct tide_buf b;
    size_t len = 7;
    tide_buf_init(&b, 100);
    tide_buf_put(&b, NULL, 0);
    ck_assert_ptr_nonnull(tide_buf_extend(&b, 0));
    ck_assert_ptr_null(tide_buf_take(&b, &len));
    ck_assert_uint_eq(len, 0);
    tide_buf_put(&b, "abc", 3);
    uint8_t *taken = tide_buf_take(&b, &len);
    ck_assert_mem_eq(taken, "abc", 3);
    ck_assert_uint_eq(len, 3);
    ck_assert_ptr_null(b.data);
    ck_assert_uint_eq(b.max, 100);
    free(taken);
}
END_TEST

START_TEST(numbers_are_little_endian)
{
    struct tide_buf b;
    tide_buf_init(&b, 100);
    tide_buf_put_u32(&b, 0x01020304);
    tide_buf_put_u64(&b, 0x1112131415161718);
    tide_buf_put_varint(&b, 0);
    tide_buf_put_varint(&b, 300);
    tide_buf_put_varint(&b, UINT64_MAX);
    ck_assert_uint_eq(b.len, 4 + 8 + 1 + 2 + 10);
    ck_assert_mem_eq(b.data, "\4\3\2\1\x18\x17\x16\x15\x14\x13\x12\x11\0\xac\2", 15);
    ck_assert_mem_eq(b.data + 15, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\1", 10);
    ck_assert_uint_eq(tide_get_u32(b.data), 0x01020304);
    ck_assert_uint_eq(tide_get_u64(b.data + 4), 0x1112131415161718);
    tide_buf_release(&b);
}
END_TEST

static struct tide_bytes text(const char *data, size_t len)
{
    return (struct tide_bytes){(const uint8_t *)data, len};
}

START_TEST(order_is_memcmp_then_length)
{
    ck_assert_int_lt(tide_bytes_compare(text("a", 1), text("b", 1)), 0);
    ck_assert_int_lt(tide_bytes_compare(text("a", 1), text("a\0", 2)), 0);
    ck_assert_int_lt(tide_bytes_compare(text("z", 1), text("\xff", 1)), 0);
    ck_assert_int_eq(tide_bytes_compare(text(NULL, 0), text("", 0)), 0);
    ck_assert_int_gt(tide_bytes_compare(text("a", 1), text(NULL, 0)), 0);
    ck_assert(tide_bytes_equal(text(NULL, 0), text("", 0)));
    ck_assert(!tide_bytes_equal(text("a", 1), text("ab", 2)));
    ck_assert(tide_bytes_equal(tide_bytes_of("ab"), text("ab", 2)));
}
END_TEST

START_TEST(text_is_utf8_without_nul)
{
    static const char *const good[] = {"",
                                       "plain",
                                       "\x7f",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xef\xbf\xbf",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf",
                                       "Größe 字 🌊"};
    static const char *const bad[] = {"\x80",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xc2x",
                                      "\xe0\x9f\xbf",
                                      "\xe0\xa0",
                                      "\xed\xa0\x80",
                                      "\xed\xbf\xbf",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf0\x90\x80",
                                      "\xf0\x90\x80x",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "ok\xfe"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        ck_assert_msg(tide_text_valid(tide_bytes_of(good[i])), "good %zu", i);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(!tide_text_valid(tide_bytes_of(bad[i])), "bad %zu", i);
    ck_assert(!tide_text_valid(text("a\0b", 3)));
    ck_assert(!tide_text_valid(text("\0", 1)));
}
END_TEST

START_TEST(every_code_has_a_text)
{
    ck_assert_str_eq(tide_strerror(0), "success");
    for (int rc = -1; rc >= -21; rc--)
        ck_assert_str_ne(tide_strerror(rc), "unknown error");
    ck_assert_str_eq(tide_strerror(-22), "unknown error");
    ck_assert_str_eq(tide_strerror(TIDE_EENDED), "the job has ended");
}
END_TEST

START_TEST(arena_keeps_to_its_maximum)
{
    struct tide_arena a;
    struct rng r = {1};
    tide_arena_init(&a, 1 << 20);
    ck_assert_ptr_null(a.blocks);
    for (int round = 0; round < 3; round++) {
        size_t n = 0;
        for (;;) {
            size_t size = rng_below(&r, 3000);
            uint8_t *p = tide_arena_alloc(&a, size);
            if (p == NULL) break;
            ck_assert_uint_eq((uintptr_t)p % _Alignof(max_align_t), 0);
            memset(p, 0xa5, size); /* a sanitizer sees what is too short */
            n++;
        }
        ck_assert_uint_gt(n, 600);
        ck_assert_uint_le(a.used, a.max);
        ck_assert_uint_gt(a.used, a.max - 4000);
        tide_arena_reset(&a);
        ck_assert_uint_eq(a.used, 0);
        ck_assert_ptr_nonnull(a.blocks); /* one is kept */
    }
    ck_assert_ptr_null(tide_arena_alloc(&a, (1 << 20) + 1));
    ck_assert_ptr_null(tide_arena_alloc(&a, SIZE_MAX));
    ck_assert_ptr_nonnull(tide_arena_alloc(&a, 1 << 20));
    ck_assert_ptr_null(tide_arena_alloc(&a, 0));
    tide_arena_release(&a);
    ck_assert_ptr_null(a.blocks);
    ck_assert_ptr_nonnull(tide_arena_alloc(&a, 1));
    tide_arena_release(&a);
}
END_TEST

START_TEST(arena_copies_and_prints)
{
    struct tide_arena a;
    tide_arena_init(&a, 200);
    ck_assert_str_eq(tide_arena_printf(&a, "%s %d", "round", 7), "round 7");
    struct tide_bytes copy = tide_arena_bytes(&a, tide_bytes_of("bytes"));
    ck_assert_mem_eq(copy.data, "bytes", 5);
    ck_assert_uint_eq(*(uint64_t *)tide_arena_zalloc(&a, 8), 0);
    ck_assert_ptr_null(tide_arena_printf(&a, "%200s", "x"));
    uint8_t much[200] = {0};
    copy = tide_arena_bytes(&a, (struct tide_bytes){much, sizeof much});
    ck_assert_ptr_null(copy.data);
    ck_assert_uint_eq(copy.len, 0);
    tide_arena_release(&a);
}
END_TEST

START_TEST(unpack_tells_malformed_from_too_big)
{
    struct tide_arena a;
    uint8_t empties[2 * 16384]; /* unpacked into objects, they take 30 times their size */
    int rc;
    for (size_t i = 0; i < sizeof empties; i += 2)
        empties[i] = 0x32, empties[i + 1] = 0;
    tide_arena_init(&a, 256 << 10);
    ck_assert_ptr_null(tide_unpack(&a, &tide__join__descriptor,
                                   (struct tide_bytes){empties, sizeof empties}, &rc));
    ck_assert_int_eq(rc, TIDE_ETOOBIG);
    tide_arena_release(&a);
    tide_arena_init(&a, TIDE_ARENA_MAX);
    Tide__Join *join =
        tide_unpack(&a, &tide__join__descriptor, (struct tide_bytes){empties, sizeof empties}, &rc);
    ck_assert_ptr_nonnull(join);
    ck_assert_int_eq(rc, 0);
    ck_assert_uint_eq(join->n_tasks, 16384);
    ck_assert_ptr_null(
        tide_unpack(&a, &tide__join__descriptor, (struct tide_bytes){empties, 3}, &rc));
    ck_assert_int_eq(rc, TIDE_EPROTO);
    ck_assert_ptr_nonnull(tide_unpack(&a, &tide__join__descriptor, text(NULL, 0), NULL));
    tide_arena_release(&a);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("bytes");
    add_test(s, buffer_grows_to_its_maximum_and_no_further);
    add_test(s, first_failure_sticks);
    add_test(s, empty_puts_and_take);
    add_test(s, numbers_are_little_endian);
    add_test(s, order_is_memcmp_then_length);
    add_test(s, text_is_utf8_without_nul);
    add_test(s, every_code_has_a_text);
    add_test(s, arena_keeps_to_its_maximum);
    add_test(s, arena_copies_and_prints);
    add_test(s, unpack_tells_malformed_from_too_big);
    return run_suite(s);
}
