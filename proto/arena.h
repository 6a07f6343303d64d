/* An arena: many small allocations, freed together, never more than a maximum in all.
 * What a peer's bytes unpack to goes into one, so that a small frame cannot take much memory. */
#ifndef TIDE_ARENA_H
#define TIDE_ARENA_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

#include "proto/bytes.h"

#define TIDE_ARENA_MAX ((size_t)4 << 20) /* for anything unpacked from a peer */

struct tide_arena_block;
struct tide_arena {
    struct tide_arena_block *blocks; /* newest first */
    size_t used;                     /* bytes handed out, padding included */
    size_t max;
    ProtobufCAllocator allocator; /* for protobuf_c_message_unpack(); frees nothing */
};

void tide_arena_init(struct tide_arena *a, size_t max); /* allocates nothing */
/* Aligned for any type; NULL when the maximum is reached or memory is out. Not zeroed. */
void *tide_arena_alloc(struct tide_arena *a, size_t size);
void *tide_arena_zalloc(struct tide_arena *a, size_t size);
void *tide_arena_copy(struct tide_arena *a, const void *data, size_t len);
struct tide_bytes tide_arena_bytes(struct tide_arena *a,
                                   struct tide_bytes from); /* data NULL: no memory */
char *tide_arena_printf(struct tide_arena *a, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Everything handed out is dead; one block is kept for the next use. */
void tide_arena_reset(struct tide_arena *a);
/* Everything is freed; the arena is ready again. */
void tide_arena_release(struct tide_arena *a);

/* Unpacks into the arena. NULL: malformed, or more than the arena holds (*ret_rc tells which:
 * TIDE_EPROTO or TIDE_ETOOBIG). ret_rc may be NULL. */
void *tide_unpack(struct tide_arena *a, const ProtobufCMessageDescriptor *type,
                  struct tide_bytes bytes, int *ret_rc);

#endif
