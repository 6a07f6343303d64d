/* The trie. What a change does: walks down from the root and makes each cell on the way its own (a
 * copy, if a view may see it), then changes the last. A failure half-way leaves the tree as it was,
 * since a copy says the same as its original. */
#include "state/tree.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "proto/err.h"

#define WAYS 16u
#define LEVELS 16u    /* nibbles in a hash; below, another hash begins */
#define DEPTH_MAX 64u /* of what remove() tidies up; deeper, empty nodes stay */
#define FREED_AT_ONCE 64u

struct tide_cell {
    uint64_t version : 63, is_entry : 1;
    struct tide_cell *dead; /* in a view's list; no reader looks at it */
};

struct node {
    struct tide_cell cell;
    struct tide_cell *child[WAYS];
};

struct entry {
    struct tide_cell cell;
    uint32_t key_len, value_len;
    uint32_t has_below, unused;
    uint8_t bytes[]; /* the tree below, if there is one; the key; the value */
};
_Static_assert(sizeof(struct entry) % _Alignof(struct tide_tree) == 0, "a tree fits behind it");

struct tide_view {
    struct tide_view *next;
    uint64_t version;
    struct tide_cell *dead; /* given up while this was the newest view */
    atomic_bool over;
};

static struct entry *as_entry(struct tide_cell *c)
{
    return (struct entry *)c;
}

static struct node *as_node(struct tide_cell *c)
{
    return (struct node *)c;
}

static struct tide_tree *below_of(struct entry *e)
{
    return e->has_below ? (struct tide_tree *)(void *)e->bytes : NULL;
}

static struct tide_bytes key_of(const struct entry *e)
{
    return (struct tide_bytes){e->bytes + (e->has_below ? sizeof(struct tide_tree) : 0),
                               e->key_len};
}

static struct tide_bytes value_of(const struct entry *e)
{
    struct tide_bytes key = key_of(e);
    return (struct tide_bytes){key.data + key.len, e->value_len};
}

/* ---- where a key is */

struct way {
    struct tide_bytes key;
    uint64_t hash;
    unsigned depth;
};

/* The high half first: all keys of a key group have something in common in the low one. */
static uint64_t hash_of(struct tide_bytes key, unsigned depth)
{
    uint64_t h = XXH3_64bits_withSeed(key.data, key.len, depth / LEVELS);
    return h << 32 | h >> 32;
}

static unsigned way_next(struct way *w)
{
    if (w->depth % LEVELS == 0) w->hash = hash_of(w->key, w->depth);
    return (unsigned)(w->hash >> (60 - 4 * (w->depth++ % LEVELS))) % WAYS;
}

static unsigned way_at(struct tide_bytes key, unsigned depth)
{
    return (unsigned)(hash_of(key, depth) >> (60 - 4 * (depth % LEVELS))) % WAYS;
}

static struct entry *find(const struct tide_tree *t, struct tide_bytes key)
{
    struct way w = {.key = key};
    struct tide_cell *c = t->root;
    while (c && !c->is_entry)
        c = as_node(c)->child[way_next(&w)];
    return c && tide_bytes_equal(key_of(as_entry(c)), key) ? as_entry(c) : NULL;
}

/* ---- views */

struct tide_view *tide_heap_freeze(struct tide_heap *h)
{
    struct tide_view *v = calloc(1, sizeof *v);
    if (!v) return NULL;
    v->version = ++h->version;
    atomic_init(&v->over, false);
    v->next = h->views;
    h->views = v;
    return v;
}

void tide_heap_over(struct tide_view *v)
{
    atomic_store_explicit(&v->over, true, memory_order_release);
}

static void notice(struct tide_heap *h)
{
    for (struct tide_view **at = &h->views, *v; (v = *at);) {
        if (!atomic_load_explicit(&v->over, memory_order_acquire)) {
            at = &v->next;
            continue;
        }
        *at = v->next;
        v->next = h->finished;
        h->finished = v;
    }
}

/* An older view may still see it: then it is that one's to keep. A newer one than v does not, since
 * v was the newest when the cell was given up. */
static void free_dead(struct tide_heap *h, const struct tide_view *v, struct tide_cell *c)
{
    struct tide_view *older = h->views;
    while (older && older->version >= v->version)
        older = older->next;
    if (older && c->version <= older->version) {
        c->dead = older->dead;
        older->dead = c;
    } else {
        free(c);
    }
}

static void free_some(struct tide_heap *h, uint64_t n)
{
    while (n && h->finished) {
        struct tide_view *v = h->finished;
        struct tide_cell *c = v->dead;
        if (!c) {
            h->finished = v->next;
            free(v);
            continue;
        }
        v->dead = c->dead;
        free_dead(h, v, c);
        n--;
    }
}

static bool is_own(const struct tide_heap *h, const struct tide_cell *c)
{
    return !h->views || c->version > h->views->version;
}

static void give_up(struct tide_heap *h, struct tide_cell *c)
{
    if (is_own(h, c)) {
        free(c);
        return;
    }
    c->dead = h->views->dead;
    h->views->dead = c;
}

/* Whole trees: what is pushed here goes cell by cell. A view that is made meanwhile sees none of
 * it, but may have to keep what an older one sees. */
static void give_up_all(struct tide_heap *h, struct tide_cell *c)
{
    if (!c) return;
    c->dead = h->garbage;
    h->garbage = c;
}

static void sweep(struct tide_heap *h, uint64_t n)
{
    for (; n && h->garbage; n--) {
        struct tide_cell *c = h->garbage;
        h->garbage = c->dead;
        if (c->is_entry) {
            struct tide_tree *below = below_of(as_entry(c));
            if (below) give_up_all(h, below->root);
        } else {
            for (unsigned i = 0; i < WAYS; i++)
                give_up_all(h, as_node(c)->child[i]);
        }
        give_up(h, c);
    }
}

static void tend(struct tide_heap *h)
{
    if (h->views) notice(h);
    if (h->garbage) sweep(h, FREED_AT_ONCE);
    if (h->finished) free_some(h, FREED_AT_ONCE);
}

void tide_heap_release(struct tide_heap *h)
{
    notice(h);
    sweep(h, UINT64_MAX);
    free_some(h, UINT64_MAX);
}

/* ---- blocks of trees */

static struct tide_cell new_cell(const struct tide_heap *h, bool is_entry)
{
    return (struct tide_cell){.version = (h->version + 1) & UINT64_MAX >> 1, .is_entry = is_entry};
}

struct tide_block {
    struct tide_cell cell;
    struct tide_tree trees[TIDE_BLOCK];
};

struct tide_tree *tide_block_trees(struct tide_block *b)
{
    return b->trees;
}

const struct tide_tree *tide_block_see(const struct tide_block *b)
{
    return b->trees;
}

int tide_block_own(struct tide_heap *h, struct tide_block **at)
{
    struct tide_block *old = *at;
    tend(h);
    if (old && is_own(h, &old->cell)) return 0;
    struct tide_block *b = calloc(1, sizeof *b);
    if (!b) return TIDE_ENOMEM;
    if (old) memcpy(b->trees, old->trees, sizeof b->trees);
    b->cell = new_cell(h, false);
    if (old) give_up(h, &old->cell);
    *at = b;
    return 0;
}

void tide_block_clear(struct tide_heap *h, struct tide_block *b)
{
    if (!b) return;
    for (unsigned i = 0; i < TIDE_BLOCK; i++)
        give_up_all(h, b->trees[i].root);
    give_up(h, &b->cell);
}

/* ---- cells */

static struct entry *new_entry(const struct tide_heap *h, struct tide_bytes key,
                               struct tide_bytes value, const struct tide_tree *below)
{
    size_t head = below ? sizeof *below : 0;
    struct entry *e = malloc(sizeof *e + head + key.len + value.len);
    if (!e) return NULL;
    *e = (struct entry){.cell = new_cell(h, true),
                        .key_len = (uint32_t)key.len,
                        .value_len = (uint32_t)value.len,
                        .has_below = below != NULL};
    if (below) memcpy(e->bytes, below, sizeof *below);
    if (key.len) memcpy(e->bytes + head, key.data, key.len);
    if (value.len) memcpy(e->bytes + head + key.len, value.data, value.len);
    return e;
}

static int own_node(struct tide_heap *h, struct tide_cell **at)
{
    if (is_own(h, *at)) return 0;
    struct node *copy = malloc(sizeof *copy);
    if (!copy) return TIDE_ENOMEM;
    *copy = *as_node(*at);
    copy->cell = new_cell(h, false);
    give_up(h, *at);
    *at = &copy->cell;
    return 0;
}

static int own_entry(struct tide_heap *h, struct tide_cell **at)
{
    if (is_own(h, *at)) return 0;
    struct entry *e = as_entry(*at);
    struct entry *copy = new_entry(h, key_of(e), value_of(e), below_of(e));
    if (!copy) return TIDE_ENOMEM;
    give_up(h, *at);
    *at = &copy->cell;
    return 0;
}

/* A node in the place of an entry, which it then holds. */
static int split(const struct tide_heap *h, struct tide_cell **at, unsigned depth)
{
    struct node *n = calloc(1, sizeof *n);
    if (!n) return TIDE_ENOMEM;
    n->cell = new_cell(h, false);
    n->child[way_at(key_of(as_entry(*at)), depth)] = *at;
    *at = &n->cell;
    return 0;
}

/* The place of a key: one that holds its entry, or nothing. All nodes above it are our own. */
static int place(struct tide_heap *h, struct tide_tree *t, struct tide_bytes key,
                 struct tide_cell ***ret)
{
    struct way w = {.key = key};
    struct tide_cell **at = &t->root;
    int rc = 0;
    while (!rc && *at) {
        if (!(*at)->is_entry) {
            rc = own_node(h, at);
            if (!rc) at = &as_node(*at)->child[way_next(&w)];
        } else if (tide_bytes_equal(key_of(as_entry(*at)), key)) {
            break;
        } else {
            rc = split(h, at, w.depth);
        }
    }
    *ret = at;
    return rc;
}

/* ---- what it is for */

int tide_tree_get(const struct tide_tree *t, struct tide_bytes key, struct tide_bytes *ret)
{
    const struct entry *e = find(t, key);
    if (!e || e->has_below) return TIDE_ENOTFOUND;
    *ret = value_of(e);
    return 0;
}

int tide_tree_put(struct tide_heap *h, struct tide_tree *t, struct tide_bytes key,
                  struct tide_bytes value)
{
    struct tide_cell **at;
    tend(h);
    int rc = place(h, t, key, &at);
    if (rc) return rc;
    struct entry *old = *at ? as_entry(*at) : NULL;
    if (old && !old->has_below && old->value_len == value.len && is_own(h, *at)) {
        if (value.len) memmove(old->bytes + key.len, value.data, value.len);
        return 0;
    }
    struct entry *e = new_entry(h, key, value, NULL);
    if (!e) return TIDE_ENOMEM;
    if (old)
        give_up_all(h, &old->cell);
    else
        t->count++;
    *at = &e->cell;
    return 0;
}

const struct tide_tree *tide_tree_below(const struct tide_tree *t, struct tide_bytes key)
{
    struct entry *e = find(t, key);
    return e ? below_of(e) : NULL;
}

int tide_tree_make_below(struct tide_heap *h, struct tide_tree *t, struct tide_bytes key,
                         struct tide_tree **ret)
{
    static const struct tide_tree empty;
    struct tide_cell **at;
    tend(h);
    int rc = place(h, t, key, &at);
    if (rc) return rc;
    if (*at && as_entry(*at)->has_below) {
        rc = own_entry(h, at);
    } else {
        struct entry *e = new_entry(h, key, (struct tide_bytes){0}, &empty);
        if (!e) return TIDE_ENOMEM;
        if (*at)
            give_up(h, *at);
        else
            t->count++;
        *at = &e->cell;
    }
    if (!rc) *ret = below_of(as_entry(*at));
    return rc;
}

static bool is_bare(const struct tide_cell *c)
{
    for (unsigned i = 0; i < WAYS; i++)
        if (((const struct node *)c)->child[i]) return false;
    return true;
}

int tide_tree_remove(struct tide_heap *h, struct tide_tree *t, struct tide_bytes key)
{
    struct tide_cell **way[DEPTH_MAX], **at = &t->root;
    struct way w = {.key = key};
    unsigned n = 0;
    tend(h);
    if (!find(t, key)) return TIDE_ENOTFOUND;
    while (!(*at)->is_entry) {
        if (own_node(h, at)) return TIDE_ENOMEM;
        if (n < DEPTH_MAX) way[n++] = at;
        at = &as_node(*at)->child[way_next(&w)];
    }
    give_up_all(h, *at);
    *at = NULL;
    t->count--;
    while (n-- && is_bare(*way[n])) {
        give_up(h, *way[n]);
        *way[n] = NULL;
    }
    return 0;
}

void tide_tree_clear(struct tide_heap *h, struct tide_tree *t)
{
    tend(h);
    give_up_all(h, t->root);
    *t = (struct tide_tree){0};
}

static int visit(const struct tide_cell *c, tide_tree_visit *f, void *user)
{
    int rc = 0;
    if (!c) return 0;
    if (c->is_entry) {
        struct entry *e = (struct entry *)(uintptr_t)c;
        return f(user, key_of(e), value_of(e), below_of(e));
    }
    struct tide_cell *const *child = ((const struct node *)c)->child;
    for (unsigned i = 0; i < WAYS; i++) /* in hash order each is somewhere else in memory */
        if (child[i]) __builtin_prefetch(child[i]);
    for (unsigned i = 0; !rc && i < WAYS; i++)
        rc = visit(child[i], f, user);
    return rc;
}

int tide_tree_each(const struct tide_tree *t, tide_tree_visit *f, void *user)
{
    return visit(t->root, f, user);
}
