/* The scheduler: what happens when, what chance decides, what is written down of it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/sim.h"

#define POOL_BLOCK ((size_t)256 << 10)

struct pool_block {
    struct pool_block *next; /* older and full */
    size_t used, size;
    _Alignas(16) uint8_t data[];
};

/* ---- chance: xoshiro256**, seeded by splitmix64 */

static uint64_t rotate(uint64_t v, int by)
{
    return v << by | v >> (64 - by);
}

uint64_t rnd(struct sim *s)
{
    uint64_t *r = s->rng, result = rotate(r[1] * 5, 7) * 9, t = r[1] << 17;
    r[2] ^= r[0];
    r[3] ^= r[1];
    r[1] ^= r[2];
    r[0] ^= r[3];
    r[2] ^= t;
    r[3] = rotate(r[3], 45);
    return result;
}

static void rnd_seed(struct sim *s, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        seed += 0x9e3779b97f4a7c15u;
        uint64_t z = seed;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        s->rng[i] = z ^ z >> 31;
    }
}

uint64_t below(struct sim *s, uint64_t n)
{
    return n ? rnd(s) % n : 0;
}

uint64_t between(struct sim *s, uint64_t low, uint64_t high)
{
    return low + below(s, high - low + 1);
}

bool percent(struct sim *s, uint32_t p)
{
    return below(s, 100) < p;
}

/* ---- memory of one history */

void *sim_alloc(struct sim *s, size_t size)
{
    size = (size + 15) & ~(size_t)15;
    if (!s->pool || s->pool->size - s->pool->used < size) {
        size_t want = size > POOL_BLOCK ? size : POOL_BLOCK;
        struct pool_block *b = malloc(sizeof *b + want);
        if (!b) abort();
        *b = (struct pool_block){.next = s->pool, .size = want};
        s->pool = b;
    }
    void *p = s->pool->data + s->pool->used;
    s->pool->used += size;
    return memset(p, 0, size);
}

char *sim_text(struct sim *s, const char *text)
{
    size_t n = strlen(text) + 1;
    return memcpy(sim_alloc(s, n), text, n);
}

struct tide_bytes sim_bytes(struct sim *s, struct tide_bytes from)
{
    uint8_t *p = sim_alloc(s, from.len + 1);
    if (from.len) memcpy(p, from.data, from.len);
    return (struct tide_bytes){p, from.len};
}

/* ---- the queue: a binary heap by (time, order) */

static bool sooner(const struct event_entry *a, const struct event_entry *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void push(struct sim *s, struct event_entry e)
{
    if (s->heap_n == s->heap_cap) {
        s->heap_cap = s->heap_cap ? s->heap_cap * 2 : 1024;
        s->heap = realloc(s->heap, s->heap_cap * sizeof *s->heap);
        if (!s->heap) abort();
    }
    uint32_t i = s->heap_n++;
    for (; i && sooner(&e, &s->heap[(i - 1) / 2]); i = (i - 1) / 2)
        s->heap[i] = s->heap[(i - 1) / 2];
    s->heap[i] = e;
}

void sim_at(struct sim *s, uint64_t when, sim_fn *fn, void *arg, uint64_t x)
{
    if (when < s->now) when = s->now;
    push(s, (struct event_entry){.at = when, .order = s->order++, .fn = fn, .arg = arg, .x = x});
}

void sim_at_late(struct sim *s, uint64_t when, sim_fn *fn, void *arg, uint64_t x)
{
    if (when < s->now) when = s->now;
    uint64_t order = s->order++ | (uint64_t)1 << 63;
    push(s, (struct event_entry){.at = when, .order = order, .fn = fn, .arg = arg, .x = x});
}

bool sim_step(struct sim *s)
{
    if (!s->heap_n) return false;
    struct event_entry first = s->heap[0], last = s->heap[--s->heap_n];
    uint32_t i = 0;
    for (;;) {
        uint32_t c = 2 * i + 1;
        if (c >= s->heap_n) break;
        if (c + 1 < s->heap_n && sooner(&s->heap[c + 1], &s->heap[c])) c++;
        if (!sooner(&s->heap[c], &last)) break;
        s->heap[i] = s->heap[c];
        i = c;
    }
    s->heap[i] = last;
    s->now = first.at;
    s->stats->events++;
    first.fn(s, first.arg, first.x);
    return true;
}

/* ---- what is written down */

static void mix(struct sim *s, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        s->hash = (s->hash ^ (uint8_t)p[i]) * 0x100000001b3u;
}

void note(struct sim *s, const char *format, ...)
{
    if (!s->trace) {
        /* the text costs more than the history; time and chance stand for it */
        s->hash = (s->hash ^ s->now ^ s->rng[0]) * 0x100000001b3u;
        return;
    }
    char line[600];
    int n = snprintf(line, sizeof line, "[%9.3f] ", (double)(s->now - BEGIN) / MS);
    va_list ap;
    va_start(ap, format);
    n += vsnprintf(line + n, sizeof line - (size_t)n, format, ap);
    va_end(ap);
    if ((size_t)n > sizeof line - 2) n = sizeof line - 2;
    line[n++] = '\n';
    mix(s, line, (size_t)n);
    if (s->quiet) return;
    fwrite(line, 1, (size_t)n, stdout);
    story_keep(s, line, (size_t)n);
}

uint64_t in_trace(uint64_t at)
{
    return at > BEGIN ? (at - BEGIN) / MS : 0;
}

void broken(struct sim *s, const struct place *at, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(s->broken, sizeof s->broken, format, ap);
    va_end(ap);
    note(s, "BROKEN: %s", s->broken);
    if (s->trace && !s->quiet) story_end(s, at);
    longjmp(s->out, 1);
}

/* ---- one history after the other */

void sim_reset(struct sim *s, uint64_t seed)
{
    struct pool_block *pool = s->pool;
    while (pool && pool->next) { /* keep the oldest block */
        struct pool_block *next = pool->next;
        free(pool);
        pool = next;
    }
    if (pool) pool->used = 0;
    struct sim keep = {.heap = s->heap,
                       .heap_cap = s->heap_cap,
                       .pool = pool,
                       .trace = s->trace,
                       .quiet = s->quiet,
                       .stats = s->stats,
                       .history = s->history};
    *s = keep;
    if (!s->history) s->history = history_new();
    if (!s->history) abort();
    history_begin(s->history);
    s->seed = seed;
    s->hash = 0xcbf29ce484222325u;
    rnd_seed(s, seed);
}

void sim_release(struct sim *s)
{
    while (s->pool) {
        struct pool_block *next = s->pool->next;
        free(s->pool);
        s->pool = next;
    }
    history_free(s->history);
    s->history = NULL;
    story_free(s);
    free(s->heap);
    s->heap = NULL;
}
