/* wordcount: counts the words of a file with a dataflow of processes that survives kill -9.
 *
 *     source (n) ==> splitter (n) ==> counter (n) ==> sink (1)         ==>: every one to every one
 *
 * Read in this order: worker.h (what a stage is), source.c, splitter.c, counter.c, sink.c (the
 * stages), worker.c (how a stage takes part in Tidemark), channels.h (how bytes travel), main.c.
 * docs/guide.md walks through all of it.
 *
 * Here: small things that all files use. */
#ifndef WORDCOUNT_H
#define WORDCOUNT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* One line to stderr, in front of it who speaks. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same, and exit(1): whoever supervises this process starts it again. */
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
void say_who(const char *who); /* "counter 1" */

void *must_alloc(size_t n);
void *must_realloc(void *p, size_t n);

/* Numbers in frames and snapshots are little-endian, wherever they lie. */
static inline void put_u32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}
static inline void put_u64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}
static inline uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline uint64_t get_u64(const uint8_t *p)
{
    return (uint64_t)get_u32(p) | (uint64_t)get_u32(p + 4) << 32;
}

/* Adds up the published parts in `directory`, prints them as `sort | uniq -c` would. The exit code.
 */
int sum_parts(const char *directory);

#endif
