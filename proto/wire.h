/* Reading protobuf's wire format in place, bounds checked: for proto/ itself, where unpacking
 * into objects would cost too much. A reader that met something malformed is at its end, bad set.
 */
#ifndef TIDE_WIRE_H
#define TIDE_WIRE_H

#include <endian.h>
#include <string.h>

#include "proto/bytes.h"

enum tide_wire_type { TIDE_WIRE_VARINT = 0, TIDE_WIRE_64 = 1, TIDE_WIRE_LEN = 2, TIDE_WIRE_32 = 5 };

struct tide_wire {
    const uint8_t *at, *end;
    bool bad;
};

struct tide_wire_field {
    uint32_t number, type;
    uint64_t value;          /* of a number */
    struct tide_bytes bytes; /* of a length-delimited field */
};

static inline struct tide_wire tide_wire_of(struct tide_bytes b)
{
    static const uint8_t nothing;
    const uint8_t *data = b.data ? b.data : &nothing;
    return (struct tide_wire){data, data + b.len, false};
}

/* Eight bytes as a number, the first the lowest; there must be eight. */
static inline uint64_t tide_wire_load(const uint8_t *at)
{
    uint64_t v;
    memcpy(&v, at, sizeof v);
    return le64toh(v);
}

#define TIDE_WIRE_MORE UINT64_C(0x8080808080808080) /* the bits that say: another byte follows */

/* The 7 bits of each byte side by side. */
static inline uint64_t tide_wire_squeeze(uint64_t v)
{
    v = (v & UINT64_C(0x007f007f007f007f)) | (v & UINT64_C(0x7f007f007f007f00)) >> 1;
    v = (v & UINT64_C(0x00003fff00003fff)) | (v & UINT64_C(0x3fff00003fff0000)) >> 2;
    return (v & UINT64_C(0x0fffffff)) | (v & UINT64_C(0x0fffffff00000000)) >> 4;
}

static inline bool tide_wire_varint_slowly(const uint8_t **at, const uint8_t *end, uint64_t *ret)
{
    const uint8_t *p = *at;
    uint64_t v = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (p == end) return false;
        uint8_t byte = *p++;
        if (shift == 63 && byte > 1) return false;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *at = p;
            *ret = v;
            return true;
        }
    }
    return false;
}

/* False: cut off, or more than 64 bits. Where eight bytes are left there is no loop: the lengths of
 * numbers in a row differ, and no processor guesses them. */
static inline bool tide_wire_varint(const uint8_t **at, const uint8_t *end, uint64_t *ret)
{
    if (end - *at < 8) return tide_wire_varint_slowly(at, end, ret);
    uint64_t bytes = tide_wire_load(*at), last = ~bytes & TIDE_WIRE_MORE;
    if (last == 0) return tide_wire_varint_slowly(at, end, ret);
    *at += (__builtin_ctzll(last) >> 3) + 1;
    *ret = tide_wire_squeeze(bytes & (last ^ (last - 1)));
    return true;
}

/* A tag or a length: at most 32 bits, and written in at most five bytes. Protobuf's libraries
 * refuse longer ones, and what is kept as it came must be readable for them. */
static inline bool tide_wire_short(const uint8_t **at, const uint8_t *end, uint64_t *ret)
{
    const uint8_t *from = *at;
    return tide_wire_varint(at, end, ret) && *at - from <= 5 && *ret <= UINT32_MAX;
}

/* The next field; false at the end or when malformed. Groups, which nobody uses, are malformed. */
static inline bool tide_wire_next(struct tide_wire *w, struct tide_wire_field *f)
{
    uint64_t tag, len;
    size_t left;

    if (w->at == w->end) return false;
    if (!tide_wire_short(&w->at, w->end, &tag) || tag < 8) goto bad;
    *f = (struct tide_wire_field){.number = (uint32_t)tag >> 3, .type = (uint32_t)tag & 7};
    left = (size_t)(w->end - w->at);
    switch (f->type) {
    case TIDE_WIRE_VARINT:
        if (!tide_wire_varint(&w->at, w->end, &f->value)) goto bad;
        return true;
    case TIDE_WIRE_64:
        if (left < 8) goto bad;
        f->value = tide_get_u64(w->at);
        w->at += 8;
        return true;
    case TIDE_WIRE_LEN:
        if (!tide_wire_short(&w->at, w->end, &len)) goto bad;
        if (len > (size_t)(w->end - w->at)) goto bad;
        f->bytes = (struct tide_bytes){w->at, (size_t)len};
        w->at += len;
        return true;
    case TIDE_WIRE_32:
        if (left < 4) goto bad;
        f->value = tide_get_u32(w->at);
        w->at += 4;
        return true;
    default: break;
    }
bad:
    w->at = w->end;
    w->bad = true;
    return false;
}

#endif
