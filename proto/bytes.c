/* Bytes: views and the growing buffer.
 *
 * A buffer doubles until it reaches its maximum, so that n puts cost O(n) copies. What would go
 * beyond the maximum is refused before anything is allocated. */
#include "proto/bytes.h"

#include <stdlib.h>
#include <string.h>

#include "proto/err.h"

#define FIRST_CAPACITY 256u

void tide_buf_init(struct tide_buf *b, size_t max)
{
    *b = (struct tide_buf){.max = max};
}

void tide_buf_release(struct tide_buf *b)
{
    free(b->data);
    tide_buf_init(b, b->max);
}

void tide_buf_clear(struct tide_buf *b)
{
    b->len = 0;
    b->rc = 0;
}

static bool grow(struct tide_buf *b, size_t need)
{
    if (need > b->max) {
        b->rc = TIDE_ETOOBIG;
        return false;
    }
    size_t cap = b->cap ? b->cap : FIRST_CAPACITY;
    while (cap < need)
        cap = cap > b->max / 2 ? b->max : cap * 2;
    if (cap > b->max) cap = b->max;
    uint8_t *data = realloc(b->data, cap);
    if (data == NULL) {
        b->rc = TIDE_ENOMEM;
        return false;
    }
    b->data = data;
    b->cap = cap;
    return true;
}

uint8_t *tide_buf_extend(struct tide_buf *b, size_t n)
{
    static uint8_t nothing; /* what zero bytes appended to an empty buffer point to */

    if (b->rc) return NULL;
    if (n > b->max || b->len > b->max - n) {
        b->rc = TIDE_ETOOBIG;
        return NULL;
    }
    if (b->len + n > b->cap && !grow(b, b->len + n)) return NULL;
    if (b->data == NULL) return &nothing;
    uint8_t *at = b->data + b->len;
    b->len += n;
    return at;
}

void tide_buf_put(struct tide_buf *b, const void *data, size_t n)
{
    uint8_t *at = tide_buf_extend(b, n);
    if (at && n) memcpy(at, data, n);
}

void tide_buf_put_u8(struct tide_buf *b, uint8_t v)
{
    tide_buf_put(b, &v, 1);
}

void tide_buf_put_u32(struct tide_buf *b, uint32_t v)
{
    uint8_t *at = tide_buf_extend(b, 4);
    if (at) tide_set_u32(at, v);
}

void tide_buf_put_u64(struct tide_buf *b, uint64_t v)
{
    uint8_t *at = tide_buf_extend(b, 8);
    if (at) tide_set_u64(at, v);
}

void tide_buf_put_varint(struct tide_buf *b, uint64_t v)
{
    uint8_t bytes[10];
    size_t n = 0;

    while (v >= 0x80) {
        bytes[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    bytes[n++] = (uint8_t)v;
    tide_buf_put(b, bytes, n);
}

uint8_t *tide_buf_take(struct tide_buf *b, size_t *ret_len)
{
    uint8_t *data = b->data;
    if (ret_len) *ret_len = b->len;
    tide_buf_init(b, b->max);
    return data;
}

uint32_t tide_get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint64_t tide_get_u64(const uint8_t *p)
{
    return tide_get_u32(p) | (uint64_t)tide_get_u32(p + 4) << 32;
}

void tide_set_u32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

void tide_set_u64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

bool tide_bytes_equal(struct tide_bytes a, struct tide_bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

int tide_bytes_compare(struct tide_bytes a, struct tide_bytes b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n ? memcmp(a.data, b.data, n) : 0;
    if (order) return order;
    return (a.len > b.len) - (a.len < b.len);
}

struct tide_bytes tide_bytes_of(const char *text)
{
    return (struct tide_bytes){(const uint8_t *)text, strlen(text)};
}

/* The length of the UTF-8 sequence at p, or 0: not one (overlong, surrogate, beyond U+10FFFF). */
static size_t utf8_sequence(const uint8_t *p, size_t len)
{
    uint8_t low = 0x80, high = 0xbf; /* bounds of the second byte */
    size_t n;

    if (p[0] < 0x80) return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4) return 0;
    n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (len < n) return 0;
    if (p[0] == 0xe0) low = 0xa0;
    if (p[0] == 0xed) high = 0x9f;
    if (p[0] == 0xf0) low = 0x90;
    if (p[0] == 0xf4) high = 0x8f;
    if (p[1] < low || p[1] > high) return 0;
    for (size_t i = 2; i < n; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    return n;
}

bool tide_text_valid(struct tide_bytes text)
{
    for (size_t at = 0; at < text.len;) {
        size_t n = utf8_sequence(text.data + at, text.len - at);
        if (n == 0 || text.data[at] == 0) return false;
        at += n;
    }
    return true;
}
