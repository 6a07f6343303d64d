/* The decoder returns the same frames however the stream is cut, and holds no more than it must;
 * parts join to what was split, or are refused. */
#include <string.h>

#include "proto/arena.h"
#include "proto/err.h"
#include "proto/frame.h"
#include "proto/worker.pb-c.h"
#include "tests/proto/lib_random.h"
#include "tests/proto/lib_run.h"

#define MAX 40u

/* A stream of frames with bodies of these lengths, byte k of frame i being 16 * i + k. */
static const uint32_t lengths[] = {3, 0, 1, MAX, 0, 7};
#define FRAMES (sizeof lengths / sizeof *lengths)

static void make_stream(struct tide_buf *out)
{
    tide_buf_init(out, 4096);
    for (size_t i = 0; i < FRAMES; i++) {
        tide_buf_put_u32(out, lengths[i]);
        for (uint32_t k = 0; k < lengths[i]; k++)
            tide_buf_put_u8(out, (uint8_t)(16 * i + k));
    }
    ck_assert_int_eq(out->rc, 0);
}

/* Feeds one piece, from memory of exactly its size; the frames must be those that follow *frames.
 */
static void feed(struct tide_decoder *d, const uint8_t *data, size_t len, size_t *frames)
{
    uint8_t *piece = malloc(len ? len : 1);
    ck_assert_ptr_nonnull(piece);
    if (len) memcpy(piece, data, len);
    struct tide_bytes in = {piece, len}, body;
    enum tide_frame_next got;
    while ((got = tide_decoder_next(d, &in, &body)) == TIDE_FRAME_READY) {
        ck_assert_uint_lt(*frames, FRAMES);
        ck_assert_uint_eq(body.len, lengths[*frames]);
        for (size_t k = 0; k < body.len; k++)
            ck_assert_uint_eq(body.data[k], (uint8_t)(16 * *frames + k));
        ++*frames;
    }
    ck_assert_int_eq(got, TIDE_FRAME_MORE);
    ck_assert_uint_eq(in.len, 0);
    free(piece);
}

START_TEST(every_split_in_three)
{
    struct tide_buf s;
    make_stream(&s);
    for (size_t i = 0; i <= s.len; i++)
        for (size_t k = i; k <= s.len; k++) {
            struct tide_decoder d;
            size_t frames = 0;
            tide_decoder_init(&d, MAX);
            feed(&d, s.data, i, &frames);
            feed(&d, s.data + i, k - i, &frames);
            feed(&d, s.data + k, s.len - k, &frames);
            ck_assert_uint_eq(frames, FRAMES);
            ck_assert_uint_eq(tide_decoder_held(&d), 0); /* owns nothing between frames */
            ck_assert_ptr_null(d.partial);
            tide_decoder_release(&d);
        }
    tide_buf_release(&s);
}
END_TEST

START_TEST(byte_by_byte_and_random_pieces)
{
    struct tide_buf s;
    struct rng r = {7};
    make_stream(&s);
    for (uint32_t most = 1; most <= 30; most++) {
        struct tide_decoder d;
        size_t frames = 0;
        tide_decoder_init(&d, MAX);
        for (size_t at = 0; at < s.len;) {
            size_t n = most == 1 ? 1 : rng_below(&r, most + 1);
            if (n > s.len - at) n = s.len - at;
            feed(&d, s.data + at, n, &frames);
            at += n;
        }
        ck_assert_uint_eq(frames, FRAMES);
        tide_decoder_release(&d);
    }
    tide_buf_release(&s);
}
END_TEST

START_TEST(whole_frames_are_views_and_partial_ones_owned)
{
    struct tide_decoder d;
    uint8_t stream[4 + 10 + 4 + 5] = {10};
    struct tide_bytes in = {stream, 4 + 10 + 4}, body;
    stream[14] = 20;
    tide_decoder_init(&d, MAX);
    ck_assert_int_eq(tide_decoder_next(&d, &in, &body), TIDE_FRAME_READY);
    ck_assert_ptr_eq(body.data, stream + 4);
    ck_assert_int_eq(tide_decoder_next(&d, &in, &body), TIDE_FRAME_MORE);
    ck_assert_uint_eq(tide_decoder_held(&d), 0); /* a header alone costs nothing */
    in = (struct tide_bytes){stream + 18, 5};
    ck_assert_int_eq(tide_decoder_next(&d, &in, &body), TIDE_FRAME_MORE);
    ck_assert_uint_eq(tide_decoder_held(&d), 20); /* exactly the frame's length */
    uint8_t rest[15] = {1, 2, 3};
    in = (struct tide_bytes){rest, sizeof rest};
    ck_assert_int_eq(tide_decoder_next(&d, &in, &body), TIDE_FRAME_READY);
    ck_assert_uint_eq(body.len, 20);
    ck_assert_uint_eq(body.data[5], 1);
    ck_assert_int_eq(tide_decoder_next(&d, &in, &body), TIDE_FRAME_MORE);
    ck_assert_uint_eq(tide_decoder_held(&d), 0);
    tide_decoder_release(&d);
}
END_TEST

START_TEST(a_header_over_the_maximum_is_refused_at_once)
{
    static const uint32_t too_long[] = {MAX + 1, 1u << 24, 1u << 31, UINT32_MAX};
    for (size_t i = 0; i < sizeof too_long / sizeof *too_long; i++) {
        struct tide_decoder d;
        uint8_t head[4];
        struct tide_bytes body;
        tide_set_u32(head, too_long[i]);
        tide_decoder_init(&d, MAX);
        for (size_t k = 0; k < 3; k++) {
            struct tide_bytes in = {head + k, 1};
            ck_assert_int_eq(tide_decoder_next(&d, &in, &body), TIDE_FRAME_MORE);
        }
        struct tide_bytes in = {head + 3, 1};
        ck_assert_int_eq(tide_decoder_next(&d, &in, &body), TIDE_FRAME_TOO_LONG);
        ck_assert_ptr_null(d.partial);
        in = (struct tide_bytes){head, 4}; /* and stays refused */
        ck_assert_int_eq(tide_decoder_next(&d, &in, &body), TIDE_FRAME_TOO_LONG);
        tide_decoder_release(&d);
    }
}
END_TEST

START_TEST(the_maximum_may_change_between_frames)
{
    struct tide_decoder d;
    uint8_t stream[2 * (4 + MAX)] = {1};
    struct tide_bytes in = {stream, 5}, body;
    tide_decoder_init(&d, 1);
    ck_assert_int_eq(tide_decoder_next(&d, &in, &body), TIDE_FRAME_READY);
    d.max = MAX;
    stream[0] = MAX;
    in = (struct tide_bytes){stream, 4 + MAX};
    ck_assert_int_eq(tide_decoder_next(&d, &in, &body), TIDE_FRAME_READY);
    ck_assert_uint_eq(body.len, MAX);
    tide_decoder_release(&d);
}
END_TEST

START_TEST(put_and_peek)
{
    struct tide_buf out;
    Tide__Heartbeat beat = TIDE__HEARTBEAT__INIT;
    Tide__FromWorker m = TIDE__FROM_WORKER__INIT;
    struct tide_bytes content;
    beat.sequence = 300;
    m.msg_case = TIDE__FROM_WORKER__MSG_HEARTBEAT;
    m.heartbeat = &beat;
    tide_buf_init(&out, 100);
    tide_frame_put(&out, &m.base);
    ck_assert_int_eq(out.rc, 0);
    ck_assert_uint_eq(out.len, 9);
    ck_assert_mem_eq(out.data, "\5\0\0\0\x1a\3\x08\xac\2", 9);
    ck_assert_uint_eq(tide_frame_peek((struct tide_bytes){out.data + 4, 5}, &content), 3);
    ck_assert_ptr_eq(content.data, out.data + 6);
    ck_assert_uint_eq(content.len, 3);
    for (size_t n = 0; n < 5; n++) /* cut off */
        ck_assert_uint_eq(tide_frame_peek((struct tide_bytes){out.data + 4, n}, &content), 0);
    static const char *const bad[] = {"\x08\1", "\2\0", "\x1a\1xy", "\x1b\x1c",
                                      "\x1a\xff\xff\xff\xff\xff\1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_uint_eq(tide_frame_peek(tide_bytes_of(bad[i]), &content), 0);
    tide_buf_release(&out);
    tide_buf_init(&out, 8);
    tide_frame_put(&out, &m.base);
    ck_assert_int_eq(out.rc, TIDE_ETOOBIG);
    tide_buf_release(&out);
}
END_TEST

START_TEST(a_message_longer_than_a_frame_is_not_put)
{
    struct tide_buf out;
    Tide__Leave leave = TIDE__LEAVE__INIT;
    Tide__FromWorker m = TIDE__FROM_WORKER__INIT;
    uint8_t *reason = calloc(1, TIDE_FRAME_MAX);
    leave.reason = (ProtobufCBinaryData){TIDE_FRAME_MAX, reason};
    m.msg_case = TIDE__FROM_WORKER__MSG_LEAVE;
    m.leave = &leave;
    tide_buf_init(&out, SIZE_MAX);
    tide_frame_put(&out, &m.base);
    ck_assert_int_eq(out.rc, TIDE_ETOOBIG);
    ck_assert_uint_eq(out.len, 0);
    tide_buf_release(&out);
    free(reason);
}
END_TEST

/* Splits a message, returns the contents of its parts (views of *out). */
static size_t split(struct tide_buf *out, enum tide_part_of what, struct tide_bytes message,
                    struct tide_bytes parts[], size_t max)
{
    struct tide_decoder d;
    size_t n = 0;
    tide_buf_init(out, SIZE_MAX);
    tide_parts_put(out, what, message);
    ck_assert_int_eq(out->rc, 0);
    tide_decoder_init(&d, TIDE_FRAME_MAX);
    struct tide_bytes in = {out->data, out->len}, body;
    while (tide_decoder_next(&d, &in, &body) == TIDE_FRAME_READY) {
        ck_assert_uint_lt(n, max);
        ck_assert_uint_eq(tide_frame_peek(body, &parts[n]), what == TIDE_PART_JOIN ? 2 : 6);
        n++;
    }
    ck_assert_uint_eq(in.len, 0);
    tide_decoder_release(&d);
    return n;
}

START_TEST(parts_join_to_what_was_split)
{
    static const size_t sizes[] = {0,
                                   1,
                                   TIDE_PART_MAX - 1,
                                   TIDE_PART_MAX,
                                   TIDE_PART_MAX + 1,
                                   3 * TIDE_PART_MAX,
                                   3 * TIDE_PART_MAX + 5};
    static const size_t want[] = {1, 1, 1, 1, 2, 3, 4};
    const size_t largest = 3 * TIDE_PART_MAX + 5;
    uint8_t *message = malloc(largest);
    struct rng r = {3};
    struct tide_joiner j;
    rng_fill(&r, message, largest);
    tide_joiner_init(&j, TIDE_PARTS_MAX);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct tide_buf out;
        struct tide_bytes parts[8];
        enum tide_part_of what = i % 2 ? TIDE_PART_JOIN : TIDE_PART_START;
        size_t n = split(&out, what, (struct tide_bytes){message, sizes[i]}, parts, 8);
        ck_assert_uint_eq(n, want[i]);
        for (size_t k = 0; k < n; k++)
            ck_assert_int_eq(tide_joiner_add(&j, parts[k]), k + 1 == n);
        ck_assert_uint_eq(j.bytes.len, sizes[i]); /* and the next message begins anew */
        if (sizes[i]) ck_assert_mem_eq(j.bytes.data, message, sizes[i]);
        tide_buf_release(&out);
    }
    tide_joiner_release(&j);
    free(message);
}
END_TEST

static int add_part(struct tide_joiner *j, const char *data, uint32_t count, uint64_t low,
                    uint64_t high)
{
    uint8_t bytes[200];
    Tide__Part part = TIDE__PART__INIT;
    part.data = (ProtobufCBinaryData){strlen(data), (uint8_t *)(uintptr_t)data};
    part.count = count;
    part.digest_low = low;
    part.digest_high = high;
    size_t len = tide__part__pack(&part, bytes);
    return tide_joiner_add(j, (struct tide_bytes){bytes, len});
}

/* XXH3-128 of "abcdef", from the reference library. */
#define LOW 0xda35a6714d34f8a2
#define HIGH 0x389197a55db2b2e4

START_TEST(parts_that_do_not_fit_are_refused)
{
    static const struct {
        uint32_t count;
        uint64_t low, high;
        int rc;
    } last[] = {{2, LOW, HIGH, 1},
                {1, LOW, HIGH, TIDE_EPROTO},
                {3, LOW, HIGH, TIDE_EPROTO},
                {2, LOW ^ 1, HIGH, TIDE_EPROTO},
                {2, LOW, HIGH ^ 1ull << 63, TIDE_EPROTO},
                {2, HIGH, LOW, TIDE_EPROTO},
                {UINT32_MAX, LOW, HIGH, TIDE_EPROTO}};
    struct tide_joiner j;
    tide_joiner_init(&j, 100);
    for (size_t i = 0; i < sizeof last / sizeof *last; i++) {
        ck_assert_int_eq(add_part(&j, "abc", 0, 0, 0), 0);
        ck_assert_int_eq(add_part(&j, "def", last[i].count, last[i].low, last[i].high), last[i].rc);
        if (last[i].rc == 1) ck_assert_mem_eq(j.bytes.data, "abcdef", 6);
        if (last[i].rc != 1) ck_assert_uint_eq(j.bytes.len, 0);
    }
    ck_assert_int_eq(add_part(&j, "", 0, 0, 0), TIDE_EPROTO); /* brings nothing, for ever */
    ck_assert_int_eq(tide_joiner_add(&j, tide_bytes_of("\x0a\xff")), TIDE_EPROTO);
    ck_assert_int_eq(tide_joiner_add(&j, tide_bytes_of("\x08\1")), TIDE_EPROTO);
    char much[61] = "";
    memset(much, 'x', 60);
    ck_assert_int_eq(add_part(&j, much, 0, 0, 0), 0);
    ck_assert_int_eq(add_part(&j, much, 0, 0, 0), TIDE_ETOOBIG);
    ck_assert_ptr_null(j.bytes.data);
    ck_assert_int_eq(add_part(&j, "abcdef", 1, LOW, HIGH), 1); /* empty, but not broken */
    tide_joiner_release(&j);
}
END_TEST

START_TEST(a_part_longer_than_a_part_may_be_is_refused)
{
    struct tide_buf b;
    struct tide_joiner j;
    tide_buf_init(&b, SIZE_MAX);
    tide_buf_put_u8(&b, 0x0a);
    tide_buf_put_varint(&b, TIDE_PART_MAX + 1);
    memset(tide_buf_extend(&b, TIDE_PART_MAX + 1), 'x', TIDE_PART_MAX + 1);
    tide_joiner_init(&j, TIDE_PARTS_MAX);
    ck_assert_int_eq(tide_joiner_add(&j, (struct tide_bytes){b.data, b.len}), TIDE_EPROTO);
    tide_joiner_release(&j);
    tide_buf_release(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("frame");
    add_test(s, every_split_in_three);
    add_test(s, byte_by_byte_and_random_pieces);
    add_test(s, whole_frames_are_views_and_partial_ones_owned);
    add_test(s, a_header_over_the_maximum_is_refused_at_once);
    add_test(s, the_maximum_may_change_between_frames);
    add_test(s, put_and_peek);
    add_test(s, a_message_longer_than_a_frame_is_not_put);
    add_test(s, parts_join_to_what_was_split);
    add_test(s, parts_that_do_not_fit_are_refused);
    add_test(s, a_part_longer_than_a_part_may_be_is_refused);
    return run_suite(s);
}
