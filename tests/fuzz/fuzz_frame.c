/* The decoder and the joiner against any byte stream: cut into any pieces it yields the frames that
 * it yields in one piece, never holds more than its maximum, and the joiner takes any part.
 * The first byte of the input seeds the pieces' lengths. */
#include <stdlib.h>
#include <string.h>

#include "proto/frame.h"

#define MAX 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool fact)
{
    if (!fact) abort();
}

/* Walks the stream in one piece: the length of the next body, or -1. */
static int64_t expected(const uint8_t *data, size_t size, size_t *at)
{
    if (size - *at < TIDE_FRAME_HEADER) return -1;
    uint32_t len = tide_get_u32(data + *at);
    if (len > MAX || size - *at - TIDE_FRAME_HEADER < len) return -1;
    *at += TIDE_FRAME_HEADER + len;
    return len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tide_decoder d;
    struct tide_joiner j;
    size_t whole = 1;

    if (size == 0) return 0;
    uint32_t seed = data[0];
    tide_decoder_init(&d, MAX);
    tide_joiner_init(&j, MAX);
    enum tide_frame_next got = TIDE_FRAME_MORE;
    for (size_t at = 1; at < size && got != TIDE_FRAME_TOO_LONG;) {
        seed = seed * 1664525 + 1013904223;
        size_t n = data[0] == 0 ? size : 1 + (seed >> 16) % (1 + data[0]);
        if (n > size - at) n = size - at;
        uint8_t *piece = malloc(n);
        must(piece != NULL);
        memcpy(piece, data + at, n);
        struct tide_bytes in = {piece, n}, body, content;
        while ((got = tide_decoder_next(&d, &in, &body)) == TIDE_FRAME_READY) {
            int64_t len = expected(data, size, &whole);
            must(len >= 0 && (size_t)len == body.len);
            must(len == 0 || memcmp(data + whole - len, body.data, body.len) == 0);
            if (tide_frame_peek(body, &content)) (void)tide_joiner_add(&j, content);
            must(j.bytes.len <= MAX);
        }
        must(got != TIDE_FRAME_NOMEM && tide_decoder_held(&d) <= MAX);
        must(got == TIDE_FRAME_TOO_LONG || in.len == 0);
        free(piece);
        at += n;
    }
    must(expected(data, size, &whole) < 0);
    tide_joiner_release(&j);
    tide_decoder_release(&d);
    return 0;
}
