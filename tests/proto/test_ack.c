/* The walk of a batch yields what was built and what protobuf-c reads; whatever else arrives is
 * refused with a sentence, and nothing is ever read outside the batch. */
#include <stdio.h>
#include <string.h>

#include "proto/arena.h"
#include "proto/err.h"
#include "proto/frame.h"
#include "tests/proto/lib_acks.h"
#include "tests/proto/lib_run.h"

static void open_or_fail(struct tide_acks *acks, struct tide_bytes body)
{
    char why[160];
    int rc = tide_acks_open(acks, body, why);
    ck_assert_msg(rc == 0, "refused: %s", why);
}

START_TEST(what_was_built_is_read)
{
    struct tide_ack_builder b;
    struct tide_buf out;
    struct tide_acks acks;
    struct tide_ack_view v;
    struct tide_artifact_view f;
    struct tide_artifact_place place = {0};
    static const struct tide_ack_file files[] = {{5, 6, 7}, {1ull << 40, 9, 10}};

    tide_buf_init(&out, 1000);
    tide_ack_builder_init(&b, 1000);
    tide_ack_builder_add(&b, 0, 1, 2, 3, files, 2);
    tide_ack_builder_add(&b, UINT32_MAX, UINT32_MAX, 300, 0, NULL, 0);
    tide_ack_builder_add_full(&b, tide_bytes_of("\x08\x09\x32\2hi"));
    tide_ack_builder_put(&b, 11, 12, &out);
    ck_assert_int_eq(out.rc, 0);
    open_or_fail(&acks, (struct tide_bytes){out.data, out.len});
    ck_assert_uint_eq(acks.attempt, 11);
    ck_assert_uint_eq(acks.round, 12);
    ck_assert_uint_eq(acks.entries, 3);
    ck_assert(tide_acks_next(&acks, &v));
    ck_assert_uint_eq(v.task, 0);
    ck_assert_uint_eq(v.artifacts, 2);
    ck_assert_uint_eq(v.bytes, (1ull << 40) + 5);
    ck_assert(tide_acks_artifact(&v, &place, &f));
    ck_assert_uint_eq(f.digest_high, 7);
    ck_assert(tide_acks_artifact(&v, &place, &f));
    ck_assert_uint_eq(f.size, 1ull << 40);
    ck_assert_uint_eq(f.digest_low, 9);
    ck_assert(!tide_acks_artifact(&v, &place, &f));
    ck_assert(tide_acks_next(&acks, &v));
    ck_assert_uint_eq(v.align_us, UINT32_MAX);
    ck_assert_uint_eq(v.sync_us, 300);
    ck_assert(tide_acks_next(&acks, &v));
    ck_assert(v.full && v.has_handle);
    ck_assert_uint_eq(v.task, 9);
    ck_assert_mem_eq(v.handle.data, "hi", 2);
    ck_assert_mem_eq(v.message.data, "\x08\x09\x32\2hi", 6);
    ck_assert(!tide_acks_next(&acks, &v));
    ck_assert(!tide_acks_next(&acks, &v));
    tide_ack_builder_clear(&b);
    ck_assert_uint_eq(b.entries, 0);
    tide_ack_builder_release(&b);
    tide_buf_release(&out);
}
END_TEST

/* Numbers of every length at every distance from the end: eight bytes are read at a time where
 * there are eight. */
START_TEST(numbers_of_every_length_at_every_place)
{
    struct tide_buf out;
    struct tide_acks acks;
    struct tide_ack_builder b;
    tide_buf_init(&out, 100000);
    tide_ack_builder_init(&b, 100000);
    for (uint32_t n = 1; n <= 30; n++)
        for (uint32_t at = 0; at < n; at++)
            for (unsigned bits = 0; bits <= 32; bits++) {
                uint32_t big = (uint32_t)((UINT64_C(1) << bits) - 1);
                struct tide_ack_file file = {bits ? UINT64_MAX >> (64 - 2 * bits) : 0, 1, 2};
                tide_buf_clear(&out);
                tide_ack_builder_clear(&b);
                for (uint32_t i = 0; i < n; i++)
                    tide_ack_builder_add(&b, i == at ? big : i, i == at ? big : 1, 2, 3, &file,
                                         i == at);
                tide_ack_builder_put(&b, 1, 1, &out);
                struct tide_bytes body = {out.data, out.len};
                open_or_fail(&acks, body);
                ck_assert_uint_eq(walk_in_bounds(acks, body), n);
                compare_with_unpack(acks, body);
            }
    tide_ack_builder_release(&b);
    tide_buf_release(&out);
}
END_TEST

/* Runs of tasks across each place where a number becomes longer, and with one that is out of it. */
START_TEST(runs_of_tasks_of_every_length)
{
    static const uint32_t at[] = {0, 127, 16383, 2097151, 268435455, UINT32_MAX - 20};
    struct tide_buf out;
    struct tide_acks acks;
    struct tide_ack_builder b;
    tide_buf_init(&out, 100000);
    tide_ack_builder_init(&b, 100000);
    for (size_t k = 0; k < sizeof at / sizeof *at; k++)
        for (uint32_t before = 0; before < 12 && before <= at[k]; before++)
            for (uint32_t out_of_it = 0; out_of_it <= 20; out_of_it++) {
                tide_buf_clear(&out);
                tide_ack_builder_clear(&b);
                for (uint32_t i = 0; i < 20; i++)
                    tide_ack_builder_add(&b, at[k] - before + i + (i == out_of_it), 1, 2, 3, NULL,
                                         0);
                tide_ack_builder_put(&b, 1, 1, &out);
                struct tide_bytes body = {out.data, out.len};
                open_or_fail(&acks, body);
                ck_assert_int_eq(acks.run, out_of_it == 20);
                if (acks.run) ck_assert_uint_eq(acks.first, at[k] - before);
                ck_assert_uint_eq(walk_in_bounds(acks, body), 20);
                compare_with_unpack(acks, body);
            }
    tide_ack_builder_release(&b);
    tide_buf_release(&out);
}
END_TEST

START_TEST(random_batches_agree_with_protobuf)
{
    struct rng r = {21};
    struct tide_buf out;
    struct tide_acks acks;
    tide_buf_init(&out, TIDE_FRAME_MAX);
    for (int i = 0; i < 2000; i++) {
        tide_buf_clear(&out);
        random_batch(&r, i % 10 ? 20 : 500, i % 3 ? 4 : 0, &out);
        struct tide_bytes body = {out.data, out.len};
        open_or_fail(&acks, body);
        compare_with_unpack(acks, body);
        ck_assert_uint_eq(walk_in_bounds(acks, body), acks.entries);
    }
    tide_buf_release(&out);
}
END_TEST

START_TEST(the_builder_writes_what_protobuf_would)
{
    struct rng r = {22};
    struct tide_buf out;
    struct tide_arena a;
    tide_buf_init(&out, TIDE_FRAME_MAX);
    tide_arena_init(&a, TIDE_ARENA_MAX);
    for (int i = 0; i < 500; i++) {
        tide_buf_clear(&out);
        tide_arena_reset(&a);
        random_batch(&r, 30, 4, &out);
        Tide__AckBatch *m = tide_unpack(&a, &tide__ack_batch__descriptor,
                                        (struct tide_bytes){out.data, out.len}, NULL);
        ck_assert_ptr_nonnull(m);
        ck_assert_uint_eq(tide__ack_batch__get_packed_size(m), out.len);
        uint8_t *again = tide_arena_alloc(&a, out.len);
        tide__ack_batch__pack(m, again);
        ck_assert_mem_eq(again, out.data, out.len);
    }
    tide_arena_release(&a);
    tide_buf_release(&out);
}
END_TEST

START_TEST(the_frame_is_from_worker_ack)
{
    struct tide_ack_builder b;
    struct tide_buf frame, body;
    struct tide_bytes content;
    struct tide_ack_file file = {1, 2, 3};
    tide_ack_builder_init(&b, TIDE_FRAME_MAX);
    tide_buf_init(&frame, TIDE_FRAME_MAX);
    tide_buf_init(&body, TIDE_FRAME_MAX);
    for (uint32_t i = 0; i < 3000; i++) {
        if (i % 10 == 0) { /* lengths of one, two and three bytes */
            tide_buf_clear(&frame);
            tide_buf_clear(&body);
            tide_ack_builder_put_frame(&b, 1, 2, &frame);
            tide_ack_builder_put(&b, 1, 2, &body);
            ck_assert_uint_eq(tide_get_u32(frame.data), frame.len - 4);
            ck_assert_uint_eq(
                tide_frame_peek((struct tide_bytes){frame.data + 4, frame.len - 4}, &content), 6);
            ck_assert(tide_bytes_equal(content, (struct tide_bytes){body.data, body.len}));
        }
        tide_ack_builder_add(&b, i, i, i, i, &file, i % 2);
    }
    tide_ack_builder_release(&b);
    tide_buf_release(&frame);
    tide_buf_release(&body);
}
END_TEST

START_TEST(a_failure_of_any_part_sticks)
{
    struct tide_ack_builder b;
    struct tide_buf out;
    struct tide_ack_file file = {1, 2, 3};
    tide_buf_init(&out, 1000);
    tide_ack_builder_init(&b, 20);
    for (int i = 0; i < 3; i++)
        tide_ack_builder_add(&b, 1, 1, 1, 1, &file, 1); /* 24 bytes of digests */
    tide_ack_builder_put_frame(&b, 1, 1, &out);
    ck_assert_int_eq(out.rc, TIDE_ETOOBIG);
    ck_assert_uint_eq(out.len, 0);
    tide_buf_clear(&out);
    tide_ack_builder_clear(&b);
    tide_ack_builder_add(&b, 1, 1, 1, 1, &file, TIDE_ARTIFACTS_PER_ACK_MAX + 1);
    tide_ack_builder_put(&b, 1, 1, &out);
    ck_assert_int_eq(out.rc, TIDE_ETOOBIG);
    ck_assert_uint_eq(out.len, 0);
    tide_ack_builder_release(&b);
    tide_buf_release(&out);
}
END_TEST

/* In memory of exactly its size; accepted batches are walked, and protobuf-c agrees with them. */
static int try(const uint8_t *data, size_t len)
{
    struct tide_acks acks;
    char why[160];
    uint8_t *copy = malloc(len ? len : 1);
    ck_assert_ptr_nonnull(copy);
    if (len) memcpy(copy, data, len);
    struct tide_bytes body = {copy, len};
    int rc = tide_acks_open(&acks, body, why);
    if (rc == 0) {
        walk_in_bounds(acks, body);
        compare_with_unpack(acks, body);
    } else {
        ck_assert_int_eq(rc, TIDE_EPROTO);
        ck_assert_uint_gt(strlen(why), 10);
    }
    free(copy);
    return rc;
}

START_TEST(every_truncation)
{
    struct rng r = {23};
    struct tide_buf out;
    tide_buf_init(&out, TIDE_FRAME_MAX);
    for (int i = 0; i < 20; i++) {
        unsigned accepted = 0;
        tide_buf_clear(&out);
        random_batch(&r, 8, 4, &out);
        for (size_t n = 0; n < out.len; n++)
            accepted += try(out.data, n) == 0;
        ck_assert_uint_le(accepted, 14); /* cut between fields: whole full acks may be missing */
    }
    tide_buf_release(&out);
}
END_TEST

START_TEST(every_bit_flipped)
{
    struct rng r = {24};
    struct tide_buf out;
    unsigned refused = 0, accepted = 0;
    tide_buf_init(&out, TIDE_FRAME_MAX);
    for (int i = 0; i < 20; i++) {
        tide_buf_clear(&out);
        random_batch(&r, 6, 4, &out);
        for (size_t bit = 0; bit < out.len * 8; bit++) {
            out.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            if (try(out.data, out.len))
                refused++;
            else
                accepted++; /* a digest, a task, a time */
            out.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
    ck_assert_uint_gt(refused, 1000);
    ck_assert_uint_gt(accepted, 1000);
    tide_buf_release(&out);
}
END_TEST

static const struct {
    const char *bytes;
    size_t len;
    const char *why; /* NULL: accepted */
} batches[] = {
#define B(text, why)                                                                               \
    {                                                                                              \
        text, sizeof text - 1, why                                                                 \
    }
#define HEAD "\x08\1\x10\2"                                 /* attempt 1, round 2 */
#define COLUMNS1 "\x1a\1\5\x22\1\0\x2a\1\0\x32\1\0\x3a\1\1" /* task 5 with one artifact */
#define D8 "12345678"
    B(HEAD, NULL),
    B(HEAD COLUMNS1 "\x42\1\7\x4a\x8" D8 "\x52\x8" D8, NULL),
    B(HEAD "\x1a\0\x22\0\x42\0\x4a\0", NULL),
    B(HEAD "\xe2\x12\2xx\xc8\x12\5", NULL), /* fields that this version does not know */
    B("", "the batch names no attempt"),
    B("\x10\2", "the batch names no attempt"),
    B("\x08\1", "the batch names no round"),
    B("\x0a\1x\x10\2", "the attempt or the round has another type"),
    B(HEAD "\x1b\x1c", "the batch is malformed or cut off"),
    B(HEAD "\0\1", "the batch is malformed or cut off"),
    B(HEAD "\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\1", "the batch is malformed or cut off"),
    B("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\2\x10\2", "the batch is malformed or cut off"),
    /* a tag and a length of five bytes, and of six */
    B("\x88\x80\x80\x80\0\1\x10\2\x1a\x80\x80\x80\x80\0", NULL),
    B("\x88\x80\x80\x80\x80\0\1\x10\2", "the batch is malformed or cut off"),
    B(HEAD "\x1a\x80\x80\x80\x80\x80\0", "the batch is malformed or cut off"),
    B(HEAD "\x7a\x80\x80\x80\x80\x80\x80\0", "the batch is malformed or cut off"),
    B(HEAD "\x18\5", "the column task is not packed"),
    B(HEAD "\x49" D8, "the column digest_low is not packed"),
    B(HEAD COLUMNS1 "\x42\1\7\x42\0\x4a\x8" D8 "\x52\x8" D8,
      "the column size comes in more than one piece"),
    B(HEAD "\x1a\1\5", "the column align_us has 0 entries, task has 1"),
    B(HEAD "\x1a\1\5\x22\2\0\0", "the column align_us has 2 entries, task has 1"),
    B(HEAD "\x22\1\5", "the column align_us has 1 entries, task has 0"),
    B(HEAD "\x1a\1\x85", "the column task holds something else than 32-bit numbers"),
    B(HEAD "\x1a\5\xff\xff\xff\xff\x1f",
      "the column task holds something else than 32-bit numbers"),
    /* seven acks of task 1 written in one to seven bytes; protobuf takes it */
    B(HEAD "\x1a\x1c"
           "\1\x81\0\x81\x80\0\x81\x80\x80\0\x81\x80\x80\x80\0\x81\x80\x80\x80\x80\0"
           "\x81\x80\x80\x80\x80\x80\0"
           "\x22\7\0\0\0\0\0\0\0\x2a\7\0\0\0\0\0\0\0\x32\7\0\0\0\0\0\0\0"
           "\x3a\7\0\0\0\0\0\0\0",
      NULL),
    B(HEAD "\x22\xa\1\1\1\xff\xff\xff\xff\x1f\1\1",
      "the column align_us holds something else than 32-bit numbers"),
    B(HEAD "\x3a\xa\1\1\1\1\1\1\1\1\1\x81",
      "the column artifacts holds something else than 32-bit numbers"),
    B(HEAD COLUMNS1, "the column size has 0 entries for 1 artifacts"),
    B(HEAD COLUMNS1 "\x42\2\7\7", "the column size has 2 entries for 1 artifacts"),
    B(HEAD COLUMNS1 "\x42\1\x87", "the column size is malformed or adds up to more than 2^64"),
    B(HEAD COLUMNS1 "\x42\1\7\x4a\7"
                    "1234567",
      "the column digest_low has 7 bytes for 1 artifacts"),
    B(HEAD COLUMNS1 "\x42\1\7\x4a\x8" D8, "the column digest_high has 0 bytes for 1 artifacts"),
    B(HEAD "\x1a\1\5\x22\1\0\x2a\1\0\x32\1\0\x3a\3\x81\x80\4",
      "an ack has 65537 artifacts, at most 65536 are allowed"),
    B(HEAD
      "\x1a\1\5\x22\1\0\x2a\1\0\x32\1\0\x3a\1\2\x42\x0b\xff\xff\xff\xff\xff\xff\xff\xff\xff\1\1",
      "the column size is malformed or adds up to more than 2^64"),
    B(HEAD "\x78\1", "a full ack has another type"),
    B(HEAD "\x7a\2\x08\5", NULL),
    B(HEAD "\x7a\1\x08", "full ack 0 is malformed"),
    B(HEAD "\x7a\0\x7a\2\x0a\0", "full ack 1: field 1 has another type"),
    B(HEAD "\x7a\2\x30\1", "full ack 0: field 6 has another type"),
    B(HEAD "\x7a\3\xa2\6\0", "full ack 0: field 100 has another type"),
    B(HEAD "\x7a\6\xbd\6\0\0\0\0", "full ack 0: field 103 has another type"),
    B(HEAD "\x7a\7\xa8\6\x80\x80\x80\x80\x10", "full ack 0: field 101 is above 32 bits"),
    B(HEAD "\x7a\5\x2a\3\xa2\6\0", "full ack 0: artifact 0 has a field of another type"),
    B(HEAD "\x7a\6\x08\xff\xff\xff\xff\x1f", "full ack 0: field 1 is above 32 bits"),
    B(HEAD "\x7a\3\x2a\1\x18", "full ack 0: artifact 0 is malformed"),
    B(HEAD "\x7a\4\x2a\2\x1a\0", "full ack 0: artifact 0 has a field of another type"),
    B(HEAD "\x7a\7\x2a\5\x0a\1x\x18\1", NULL), /* inline, size 1 */
    B(HEAD "\x7a\7\x2a\5\x0a\1x\x18\2",
      "full ack 0: artifact 0 has a size that is not that of its bytes"),
    B(HEAD "\x7a\x9\x2a\7\x0a\1x\x12\1p\x18\2", "full ack 0: artifact 0 is malformed"),
    B(HEAD "\x7a\xa\x2a\x8\x0a\1x\x12\1p\x18\2", NULL), /* path: the later one counts */
    B(HEAD "\x7a\5\x2a\3\x32\1\xff",
      "full ack 0: artifact 0 has a name that is not UTF-8 without NUL"),
    B(HEAD "\x7a\x9\x2a\7\x38\x80\x80\x40\x40\1\1", "full ack 0: artifact 0 is malformed"),
    B(HEAD "\x7a\x8\x2a\6\x38\x80\x80\x40\x40\1",
      "full ack 0: artifact 0 has key groups out of range"),
    B(HEAD "\x7a\x6\x2a\4\x38\x81\x80\x40", "full ack 0: artifact 0 has key groups out of range"),
    B(HEAD "\x7a\5\x2a\3\xa0\6\2", NULL),
    B(HEAD "\x7a\5\x2a\3\xa0\6\3", "full ack 0: artifact 0 is in flight in an unknown way"),
    B(HEAD "\x7a\7\x2a\5\xa8\6\xff\xff\3", NULL),
    B(HEAD "\x7a\7\x2a\5\xa8\6\x80\x80\4", "full ack 0: artifact 0 is of a channel out of range"),
    B(HEAD "\x7a\x11\x2a\xb\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\1\x2a\2\x18\1",
      "full ack 0: artifact 1 brings the sizes above 2^64"),
#undef B
};

START_TEST(each_refusal_by_name)
{
    struct tide_acks acks;
    char why[160];
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
        struct tide_bytes body = {(const uint8_t *)batches[i].bytes, batches[i].len};
        int rc = tide_acks_open(&acks, body, why);
        if (batches[i].why == NULL) {
            ck_assert_msg(rc == 0, "%zu: %s", i, why);
            walk_in_bounds(acks, body);
        } else {
            ck_assert_msg(rc == TIDE_EPROTO, "%zu was accepted", i);
            ck_assert_msg(strcmp(why, batches[i].why) == 0, "%zu: %s", i, why);
        }
    }
    why[0] = '\0';
    ck_assert_int_eq(tide_acks_open(&acks, (struct tide_bytes){NULL, 0}, why), TIDE_EPROTO);
    ck_assert_str_eq(why, "the batch names no attempt");
    struct tide_bytes huge = {(const uint8_t *)"", TIDE_FRAME_MAX + 1};
    ck_assert_int_eq(tide_acks_open(&acks, huge, why), TIDE_EPROTO);
    ck_assert_str_eq(why, "the batch is longer than a frame may be");
}
END_TEST

/* A batch of one full ack with one artifact at this path. */
static int try_path(const char *path, size_t len)
{
    struct tide_buf out;
    struct tide_ack_builder b;
    struct tide_acks acks;
    char why[160];
    Tide__Artifact f, *list[] = {&f};
    Tide__TaskAck ack;
    uint8_t *packed = malloc(len + 100);

    ck_assert_ptr_nonnull(packed);
    tide__artifact__init(&f);
    tide__task_ack__init(&ack);
    f.place_case = TIDE__ARTIFACT__PLACE_PATH;
    f.path = (ProtobufCBinaryData){len, (uint8_t *)(uintptr_t)path};
    ack.n_artifacts = 1;
    ack.artifacts = list;
    size_t size = tide__task_ack__pack(&ack, packed);
    tide_ack_builder_init(&b, TIDE_FRAME_MAX);
    tide_buf_init(&out, TIDE_FRAME_MAX);
    tide_ack_builder_add_full(&b, (struct tide_bytes){packed, size});
    tide_ack_builder_put(&b, 1, 1, &out);
    int rc = tide_acks_open(&acks, (struct tide_bytes){out.data, out.len}, why);
    if (rc)
        ck_assert_str_eq(why,
                         "full ack 0: artifact 0 has a path that is not relative, plain UTF-8");
    tide_ack_builder_release(&b);
    tide_buf_release(&out);
    free(packed);
    return rc;
}

START_TEST(paths_stay_in_their_directory)
{
    static const char *const good[] = {"a",       "a/b",    "..a",   "a..", "...",
                                       ".hidden", "a/.b/c", "größe", ""};
    static const char *const bad[] = {"/",      "/a",    "..",  "../a",       "a/..",
                                      "a/../b", ".",     "./a", "a/.",        "a//b",
                                      "a/",     "a\xff", "//",  "a/b/../../c"};
    char longest[TIDE_ARTIFACT_PATH_MAX + 1];
    memset(longest, 'p', sizeof longest);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        ck_assert_msg(try_path(good[i], strlen(good[i])) == 0, "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(try_path(bad[i], strlen(bad[i])) == TIDE_EPROTO, "%s", bad[i]);
    ck_assert_int_eq(try_path("a\0b", 3), TIDE_EPROTO);
    ck_assert_int_eq(try_path(longest, TIDE_ARTIFACT_PATH_MAX), 0);
    ck_assert_int_eq(try_path(longest, TIDE_ARTIFACT_PATH_MAX + 1), TIDE_EPROTO);
}
END_TEST

/* Full acks of one field each. */
static int try_full(struct tide_bytes task_ack, char why[static 160])
{
    struct tide_buf out;
    struct tide_ack_builder b;
    struct tide_acks acks;
    tide_ack_builder_init(&b, TIDE_FRAME_MAX);
    tide_buf_init(&out, TIDE_FRAME_MAX);
    tide_ack_builder_add_full(&b, task_ack);
    tide_ack_builder_put(&b, 1, 1, &out);
    int rc = tide_acks_open(&acks, (struct tide_bytes){out.data, out.len}, why);
    tide_ack_builder_release(&b);
    tide_buf_release(&out);
    return rc;
}

START_TEST(handles_and_artifacts_are_bounded)
{
    struct tide_buf m;
    char why[160];
    tide_buf_init(&m, TIDE_FRAME_MAX);
    for (uint32_t len = TIDE_HANDLE_MAX; len <= TIDE_HANDLE_MAX + 1; len++) {
        tide_buf_clear(&m);
        tide_buf_put_u8(&m, 0x32);
        tide_buf_put_varint(&m, len);
        memset(tide_buf_extend(&m, len), 'h', len);
        ck_assert_int_eq(try_full((struct tide_bytes){m.data, m.len}, why),
                         len > TIDE_HANDLE_MAX ? TIDE_EPROTO : 0);
    }
    ck_assert_str_eq(why, "full ack 0: the handle has 65537 bytes, at most 65536 are allowed");
    tide_buf_clear(&m);
    for (uint32_t i = 0; i < TIDE_ARTIFACTS_PER_ACK_MAX; i++)
        tide_buf_put(&m, "\x2a\0", 2);
    ck_assert_int_eq(try_full((struct tide_bytes){m.data, m.len}, why), 0);
    tide_buf_put(&m, "\x2a\0", 2);
    ck_assert_int_eq(try_full((struct tide_bytes){m.data, m.len}, why), TIDE_EPROTO);
    ck_assert_str_eq(why, "a full ack has more than 65536 artifacts");
    tide_buf_release(&m);
}
END_TEST

START_TEST(derived_paths)
{
    char path[32];
    ck_assert_uint_eq(tide_artifact_path(path, 17, 0), 5);
    ck_assert_str_eq(path, "t17-0");
    ck_assert_uint_eq(tide_artifact_path(path, UINT32_MAX, UINT32_MAX), 22);
    ck_assert_str_eq(path, "t4294967295-4294967295");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("ack");
    add_test(s, what_was_built_is_read);
    add_test(s, numbers_of_every_length_at_every_place);
    add_test(s, runs_of_tasks_of_every_length);
    add_test(s, random_batches_agree_with_protobuf);
    add_test(s, the_builder_writes_what_protobuf_would);
    add_test(s, the_frame_is_from_worker_ack);
    add_test(s, a_failure_of_any_part_sticks);
    add_test(s, every_truncation);
    add_test(s, every_bit_flipped);
    add_test(s, each_refusal_by_name);
    add_test(s, paths_stay_in_their_directory);
    add_test(s, handles_and_artifacts_are_bounded);
    add_test(s, derived_paths);
    return run_suite(s);
}
