/* Frames: a 4-byte little-endian length and that many bytes of one protobuf message.
 *
 * The decoder takes the byte stream in pieces of any size. A frame that lies whole in a piece is
 * returned as a view of it; of one that does not, the decoder owns exactly the frame's length
 * until it is complete. Between frames it owns nothing. */
#ifndef TIDE_FRAME_H
#define TIDE_FRAME_H

#include <protobuf-c/protobuf-c.h>

#include "proto/bytes.h"

#define TIDE_FRAME_HEADER 4u
#define TIDE_FRAME_MAX (16u << 20)       /* body of an established worker's or admin's frame */
#define TIDE_FRAME_MAX_HELLO (64u << 10) /* before Hello is accepted */
#define TIDE_PART_MAX (1u << 20)         /* data of one Part */
#define TIDE_PARTS_MAX (256u << 20)      /* all parts of one Join or Start, joined */
#define TIDE_PROTOCOL_MIN 1u             /* versions that this tree speaks */
#define TIDE_PROTOCOL_MAX 2u

enum tide_frame_next {
    TIDE_FRAME_MORE,     /* the piece is used up, no frame is complete */
    TIDE_FRAME_READY,    /* *ret is a frame's body */
    TIDE_FRAME_TOO_LONG, /* the header announces more than the maximum: close the connection */
    TIDE_FRAME_NOMEM     /* no memory for a partial frame: close the connection */
};

struct tide_decoder {    /* 32 bytes: each connection has one */
    uint8_t *partial;    /* malloc'ed, want bytes, or NULL */
    uint32_t want, have; /* of the partial body */
    uint32_t max;        /* longest body; may be changed between frames */
    uint8_t head[TIDE_FRAME_HEADER], head_have;
    bool deliver; /* partial has been returned; freed by the next call */
};

void tide_decoder_init(struct tide_decoder *d, uint32_t max);
void tide_decoder_release(struct tide_decoder *d);
/* Takes bytes from *in, moving it on, until a frame is complete or *in is empty. *ret is a view,
 * dead after the next call, and points into the input where it can. A body may be empty. */
enum tide_frame_next tide_decoder_next(struct tide_decoder *d, struct tide_bytes *in,
                                       struct tide_bytes *ret);
/* Bytes that the decoder holds for a partial frame. */
size_t tide_decoder_held(const struct tide_decoder *d);

/* Appends the message as a frame. A failure sticks in out->rc. */
void tide_frame_put(struct tide_buf *out, const ProtobufCMessage *message);

/* The field number of the first field of a oneof-only message (FromWorker, ToWorker) and a view
 * of its content, without unpacking it. 0: malformed, or not a length-delimited field, or bytes
 * follow it. */
uint32_t tide_frame_peek(struct tide_bytes body, struct tide_bytes *ret_content);

/* Splitting a message that may be larger than a frame into Part messages, and joining them.
 * put: appends one frame per part to out; each is ToWorker.start or FromWorker.join. */
enum tide_part_of { TIDE_PART_JOIN, TIDE_PART_START };
void tide_parts_put(struct tide_buf *out, enum tide_part_of what, struct tide_bytes message);

struct tide_joiner {
    struct tide_buf bytes;
    uint32_t parts;
};
void tide_joiner_init(struct tide_joiner *j, size_t max);
void tide_joiner_release(struct tide_joiner *j);
/* Adds the content of one Part (as unpacked bytes of the Part message). Returns 1 when the message
 * is whole (in j->bytes, until the next call or release), 0 when more parts follow, or TIDE_EPROTO
 * (count or digest wrong, part too long), TIDE_ETOOBIG, TIDE_ENOMEM; after an error the joiner is
 * empty. */
int tide_joiner_add(struct tide_joiner *j, struct tide_bytes part);

#endif
