/* Frames and parts.
 *
 * The usual way: a read brings several whole frames, each returned as a view of the read's bytes.
 * The last one is cut off: the decoder takes a buffer of that frame's length, fills it from the
 * following reads, returns it and frees it.
 *
 * What can go wrong: a header over the maximum is refused before anything is allocated for it. The
 * decoder stays there: each further call says the same, until it is released. */
#include "proto/frame.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "proto/err.h"
#include "proto/wire.h"
#include "proto/worker.pb-c.h"

_Static_assert(TIDE_PART_MAX + 64 <= TIDE_FRAME_MAX, "a part and its wrapping fit in a frame");

void tide_decoder_init(struct tide_decoder *d, uint32_t max)
{
    *d = (struct tide_decoder){.max = max};
}

void tide_decoder_release(struct tide_decoder *d)
{
    free(d->partial);
    tide_decoder_init(d, d->max);
}

/* Moves up to n bytes from *in to `to`; returns how many. */
static uint32_t take(struct tide_bytes *in, uint8_t *to, uint32_t n)
{
    uint32_t k = in->len < n ? (uint32_t)in->len : n;
    if (k == 0) return 0;
    memcpy(to, in->data, k);
    in->data += k;
    in->len -= k;
    return k;
}

enum tide_frame_next tide_decoder_next(struct tide_decoder *d, struct tide_bytes *in,
                                       struct tide_bytes *ret)
{
    if (d->deliver) tide_decoder_release(d);
    if (d->partial == NULL) {
        d->head_have += (uint8_t)take(in, d->head + d->head_have, TIDE_FRAME_HEADER - d->head_have);
        if (d->head_have < TIDE_FRAME_HEADER) return TIDE_FRAME_MORE;
        d->want = tide_get_u32(d->head);
        if (d->want > d->max) return TIDE_FRAME_TOO_LONG;
        if (in->len >= d->want) {
            *ret = (struct tide_bytes){in->data, d->want};
            if (d->want) in->data += d->want;
            in->len -= d->want;
            d->head_have = 0;
            return TIDE_FRAME_READY;
        }
        /* nothing is held for a frame of which only the header is here */
        if (in->len == 0) return TIDE_FRAME_MORE;
        d->partial = malloc(d->want);
        if (d->partial == NULL) return TIDE_FRAME_NOMEM;
        d->have = 0;
    }
    d->have += take(in, d->partial + d->have, d->want - d->have);
    if (d->have < d->want) return TIDE_FRAME_MORE;
    *ret = (struct tide_bytes){d->partial, d->want};
    d->deliver = true;
    return TIDE_FRAME_READY;
}

size_t tide_decoder_held(const struct tide_decoder *d)
{
    return d->partial ? d->want : 0;
}

void tide_frame_put(struct tide_buf *out, const ProtobufCMessage *message)
{
    if (out->rc) return;
    size_t size = protobuf_c_message_get_packed_size(message);
    if (size > TIDE_FRAME_MAX) { /* no peer would take it */
        out->rc = TIDE_ETOOBIG;
        return;
    }
    uint8_t *at = tide_buf_extend(out, TIDE_FRAME_HEADER + size);
    if (at == NULL) return;
    tide_set_u32(at, (uint32_t)size);
    protobuf_c_message_pack(message, at + TIDE_FRAME_HEADER);
}

uint32_t tide_frame_peek(struct tide_bytes body, struct tide_bytes *ret_content)
{
    struct tide_wire w = tide_wire_of(body);
    struct tide_wire_field f;

    if (!tide_wire_next(&w, &f) || f.type != TIDE_WIRE_LEN || w.at != w.end) return 0;
    *ret_content = f.bytes;
    return f.number;
}

static void part_put(struct tide_buf *out, enum tide_part_of what, Tide__Part *part)
{
    Tide__FromWorker from = TIDE__FROM_WORKER__INIT;
    Tide__ToWorker to = TIDE__TO_WORKER__INIT;

    if (what == TIDE_PART_JOIN) {
        from.msg_case = TIDE__FROM_WORKER__MSG_JOIN;
        from.join = part;
        tide_frame_put(out, &from.base);
    } else {
        to.msg_case = TIDE__TO_WORKER__MSG_START;
        to.start = part;
        tide_frame_put(out, &to.base);
    }
}

void tide_parts_put(struct tide_buf *out, enum tide_part_of what, struct tide_bytes message)
{
    XXH128_hash_t digest = XXH3_128bits(message.data, message.len);
    size_t at = 0;
    uint32_t n = 0;
    bool last;

    if (message.len > TIDE_PARTS_MAX && out->rc == 0) out->rc = TIDE_ETOOBIG;
    do {
        Tide__Part part = TIDE__PART__INIT;
        size_t len = message.len - at;
        last = len <= TIDE_PART_MAX;
        if (!last) len = TIDE_PART_MAX;
        if (len) part.data.data = (uint8_t *)(uintptr_t)(message.data + at); /* is only read */
        part.data.len = len;
        n++;
        if (last) {
            part.count = n;
            part.digest_low = digest.low64;
            part.digest_high = digest.high64;
        }
        part_put(out, what, &part);
        at += len;
    } while (!last && out->rc == 0);
}

void tide_joiner_init(struct tide_joiner *j, size_t max)
{
    tide_buf_init(&j->bytes, max);
    j->parts = 0;
}

void tide_joiner_release(struct tide_joiner *j)
{
    tide_buf_release(&j->bytes);
    j->parts = 0;
}

struct part {
    struct tide_bytes data;
    uint64_t count, low, high;
};

static bool part_read(struct tide_bytes bytes, struct part *ret)
{
    struct tide_wire w = tide_wire_of(bytes);
    struct tide_wire_field f;

    *ret = (struct part){.count = 0};
    while (tide_wire_next(&w, &f)) {
        static const uint32_t type[] = {0, TIDE_WIRE_LEN, TIDE_WIRE_VARINT, TIDE_WIRE_64,
                                        TIDE_WIRE_64};
        if (f.number > 4) continue;
        if (f.type != type[f.number]) return false;
        switch (f.number) {
        case 1: ret->data = f.bytes; break;
        case 2: ret->count = f.value; break;
        case 3: ret->low = f.value; break;
        default: ret->high = f.value; break;
        }
    }
    return !w.bad;
}

static int part_add(struct tide_joiner *j, const struct part *p)
{
    if (p->data.len > TIDE_PART_MAX) return TIDE_EPROTO;
    /* parts that bring nothing could come for ever */
    if (p->data.len == 0 && p->count == 0) return TIDE_EPROTO;
    tide_buf_put(&j->bytes, p->data.data, p->data.len);
    if (j->bytes.rc) return j->bytes.rc;
    j->parts++;
    if (p->count == 0) return 0;
    if (p->count != j->parts) return TIDE_EPROTO;
    XXH128_hash_t digest = XXH3_128bits(j->bytes.data, j->bytes.len);
    if (digest.low64 != p->low || digest.high64 != p->high) return TIDE_EPROTO;
    return 1;
}

int tide_joiner_add(struct tide_joiner *j, struct tide_bytes part)
{
    struct part p;

    if (j->parts == 0) tide_buf_clear(&j->bytes); /* holds the message before, if any */
    int rc = part_read(part, &p) ? part_add(j, &p) : TIDE_EPROTO;
    if (rc < 0) tide_joiner_release(j);
    if (rc == 1) j->parts = 0;
    return rc;
}
