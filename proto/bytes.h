/* Bytes: a view, and a growing buffer that knows its maximum from birth.
 *
 * A buffer's first failure sticks (rc): later puts do nothing, the caller checks once at the end.
 */
#ifndef TIDE_BYTES_H
#define TIDE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A view: points into memory that somebody else owns. data may be NULL when len is 0. */
struct tide_bytes {
    const uint8_t *data;
    size_t len;
};

struct tide_buf {
    uint8_t *data; /* malloc'ed, NULL while empty */
    size_t len, cap;
    size_t max; /* never grows beyond; more is TIDE_ETOOBIG */
    int rc;     /* 0, TIDE_ENOMEM or TIDE_ETOOBIG: the first failure */
};

/* Allocates nothing. */
void tide_buf_init(struct tide_buf *b, size_t max);
/* Frees the contents; the buffer is ready again with the same maximum. */
void tide_buf_release(struct tide_buf *b);
/* Forgets the contents and the error, keeps the memory. */
void tide_buf_clear(struct tide_buf *b);
/* Appends n bytes to be filled by the caller; NULL after a failure. Valid until the next call. */
uint8_t *tide_buf_extend(struct tide_buf *b, size_t n);
void tide_buf_put(struct tide_buf *b, const void *data, size_t n);
void tide_buf_put_u8(struct tide_buf *b, uint8_t v);
void tide_buf_put_u32(struct tide_buf *b, uint32_t v); /* little-endian, as are all here */
void tide_buf_put_u64(struct tide_buf *b, uint64_t v);
void tide_buf_put_varint(struct tide_buf *b, uint64_t v); /* protobuf's base 128 */
/* Hands the memory to the caller (free()), the buffer is empty afterwards. */
uint8_t *tide_buf_take(struct tide_buf *b, size_t *ret_len);

uint32_t tide_get_u32(const uint8_t *p);
uint64_t tide_get_u64(const uint8_t *p);
void tide_set_u32(uint8_t *p, uint32_t v);
void tide_set_u64(uint8_t *p, uint64_t v);

bool tide_bytes_equal(struct tide_bytes a, struct tide_bytes b);
/* memcmp order, the shorter first when one starts with the other. */
int tide_bytes_compare(struct tide_bytes a, struct tide_bytes b);
struct tide_bytes tide_bytes_of(const char *text); /* a view of a C string, NUL not included */
/* True when the bytes are valid UTF-8 without NUL: what names, paths and texts on the wire must be.
 */
bool tide_text_valid(struct tide_bytes text);

#endif
