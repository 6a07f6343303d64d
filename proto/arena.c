/* The arena: blocks of growing size, each filled from its start; what is too large for the newest
 * block opens a new one. The maximum counts what was handed out, not the blocks, so that whether a
 * message fits does not depend on what the arena held before. */
#include "proto/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/err.h"

#define BLOCK_FIRST ((size_t)4 << 10)
#define BLOCK_LAST ((size_t)256 << 10)

struct tide_arena_block {
    struct tide_arena_block *next; /* older */
    size_t size, used;
    _Alignas(max_align_t) uint8_t data[];
};

static void *allocator_alloc(void *arena, size_t size)
{
    return tide_arena_alloc(arena, size);
}

static void allocator_free(void *arena, void *p)
{
    (void)arena;
    (void)p;
}

void tide_arena_init(struct tide_arena *a, size_t max)
{
    *a = (struct tide_arena){.max = max};
    a->allocator = (ProtobufCAllocator){allocator_alloc, allocator_free, a};
}

static struct tide_arena_block *block_add(struct tide_arena *a, size_t need)
{
    size_t size = a->blocks ? a->blocks->size * 2 : BLOCK_FIRST;
    if (size > BLOCK_LAST) size = BLOCK_LAST;
    if (size < need) size = need;
    if (size > SIZE_MAX - sizeof(struct tide_arena_block)) return NULL;
    struct tide_arena_block *b = malloc(sizeof *b + size);
    if (b == NULL) return NULL;
    *b = (struct tide_arena_block){.next = a->blocks, .size = size};
    a->blocks = b;
    return b;
}

void *tide_arena_alloc(struct tide_arena *a, size_t size)
{
    const size_t mask = _Alignof(max_align_t) - 1;
    size_t need = size ? (size + mask) & ~mask : mask + 1;

    if (need < size || need > a->max || a->used > a->max - need) return NULL;
    struct tide_arena_block *b = a->blocks;
    if (b == NULL || b->size - b->used < need) b = block_add(a, need);
    if (b == NULL) return NULL;
    void *p = b->data + b->used;
    b->used += need;
    a->used += need;
    return p;
}

void *tide_arena_zalloc(struct tide_arena *a, size_t size)
{
    void *p = tide_arena_alloc(a, size);
    if (p) memset(p, 0, size);
    return p;
}

void *tide_arena_copy(struct tide_arena *a, const void *data, size_t len)
{
    void *p = tide_arena_alloc(a, len);
    if (p && len) memcpy(p, data, len);
    return p;
}

struct tide_bytes tide_arena_bytes(struct tide_arena *a, struct tide_bytes from)
{
    struct tide_bytes copy = {tide_arena_copy(a, from.data, from.len), from.len};
    if (copy.data == NULL) copy.len = 0;
    return copy;
}

char *tide_arena_printf(struct tide_arena *a, const char *format, ...)
{
    va_list args, again;
    char *text = NULL;

    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    if (n >= 0) text = tide_arena_alloc(a, (size_t)n + 1);
    if (text) (void)vsnprintf(text, (size_t)n + 1, format, again);
    va_end(again);
    va_end(args);
    return text;
}

/* Frees all blocks but keep (which may be NULL) and empties the arena. */
static void drop_blocks(struct tide_arena *a, struct tide_arena_block *keep)
{
    struct tide_arena_block *next;
    for (struct tide_arena_block *b = a->blocks; b; b = next) {
        next = b->next;
        if (b != keep) free(b);
    }
    if (keep) {
        keep->next = NULL;
        keep->used = 0;
    }
    a->blocks = keep;
    a->used = 0;
}

void tide_arena_reset(struct tide_arena *a)
{
    struct tide_arena_block *keep = NULL; /* the largest of ordinary size */
    for (struct tide_arena_block *b = a->blocks; b; b = b->next)
        if (b->size <= BLOCK_LAST && (keep == NULL || b->size > keep->size)) keep = b;
    drop_blocks(a, keep);
}

void tide_arena_release(struct tide_arena *a)
{
    drop_blocks(a, NULL);
}

struct counting { /* remembers whether an allocation was refused */
    struct tide_arena *arena;
    bool full;
};

static void *counting_alloc(void *data, size_t size)
{
    struct counting *c = data;
    void *p = tide_arena_alloc(c->arena, size);
    if (p == NULL) c->full = true;
    return p;
}

void *tide_unpack(struct tide_arena *a, const ProtobufCMessageDescriptor *type,
                  struct tide_bytes bytes, int *ret_rc)
{
    static const uint8_t nothing;
    struct counting c = {a, false};
    ProtobufCAllocator bounded = {counting_alloc, allocator_free, &c};
    void *message =
        protobuf_c_message_unpack(type, &bounded, bytes.len, bytes.data ? bytes.data : &nothing);
    if (ret_rc) *ret_rc = message ? 0 : c.full ? TIDE_ETOOBIG : TIDE_EPROTO;
    return message;
}
