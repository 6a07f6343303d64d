/* The memory backend: a tree for each key group of each state (tree.h), all in one heap, so that
 * one view freezes all of them. The trees stand in blocks, which come to be when something is put
 * there; what freezing copies are the addresses of the blocks. */
#include <stdlib.h>
#include <string.h>

#include "proto/err.h"
#include "state/backend.h"
#include "state/tree.h"

struct memory {
    struct tide_backend base;
    struct tide_heap heap;
    uint32_t n_states, first, count;
    uint32_t per_state;         /* blocks */
    struct tide_block **blocks; /* by state, then by key group */
};

struct tide_frozen {
    struct tide_view *view;
    uint32_t n_states, first, count, per_state;
    struct tide_block *blocks[]; /* as they were */
};

static struct memory *of(struct tide_backend *b)
{
    return (struct memory *)b;
}

static bool is_slot(const struct memory *m, const struct tide_slot *s)
{
    return s->state < m->n_states && s->group >= m->first && s->group - m->first < m->count;
}

static struct tide_block **block(const struct memory *m, const struct tide_slot *s)
{
    return &m->blocks[(size_t)s->state * m->per_state + (s->group - m->first) / TIDE_BLOCK];
}

/* NULL: there is no such slot, or nothing in it. */
static const struct tide_tree *tree(const struct memory *m, const struct tide_slot *s)
{
    const struct tide_block *b = is_slot(m, s) ? *block(m, s) : NULL;
    return b ? &tide_block_see(b)[(s->group - m->first) % TIDE_BLOCK] : NULL;
}

/* The tree of a slot, to be changed. */
static int own_tree(struct memory *m, const struct tide_slot *s, struct tide_tree **ret)
{
    if (!is_slot(m, s)) return TIDE_EINVAL;
    struct tide_block **at = block(m, s);
    int rc = tide_block_own(&m->heap, at);
    if (!rc) *ret = &tide_block_trees(*at)[(s->group - m->first) % TIDE_BLOCK];
    return rc;
}

static int memory_open(const struct tide_backend_config *c, struct tide_backend **ret)
{
    if (c->mode != TIDE_BACKEND_EMPTY) return TIDE_EINVAL;
    struct memory *m = calloc(1, sizeof *m);
    if (!m) return TIDE_ENOMEM;
    m->base.class = &tide_backend_memory;
    m->n_states = c->n_states;
    m->first = c->first;
    m->count = c->count;
    m->per_state = (c->count + TIDE_BLOCK - 1) / TIDE_BLOCK;
    m->blocks = calloc((size_t)m->n_states * m->per_state + 1, sizeof(struct tide_block *));
    if (!m->blocks) {
        free(m);
        return TIDE_ENOMEM;
    }
    *ret = &m->base;
    return 0;
}

static void memory_close(struct tide_backend *b)
{
    struct memory *m = of(b);
    tide_heap_release(&m->heap);
    for (size_t i = 0; i < (size_t)m->n_states * m->per_state; i++)
        tide_block_clear(&m->heap, m->blocks[i]);
    tide_heap_release(&m->heap);
    free(m->blocks);
    free(m);
}

static int memory_get(struct tide_backend *b, const struct tide_slot *s, struct tide_bytes *ret)
{
    const struct tide_tree *t = tree(of(b), s);
    return t ? tide_tree_get(t, s->key, ret) : TIDE_ENOTFOUND;
}

static int memory_put(struct tide_backend *b, const struct tide_slot *s, struct tide_bytes value)
{
    struct tide_tree *t;
    int rc = own_tree(of(b), s, &t);
    return rc ? rc : tide_tree_put(&of(b)->heap, t, s->key, value);
}

static bool has(const struct memory *m, const struct tide_slot *s)
{
    struct tide_bytes value;
    const struct tide_tree *t = tree(m, s);
    return t && (tide_tree_below(t, s->key) || !tide_tree_get(t, s->key, &value));
}

static int memory_remove(struct tide_backend *b, const struct tide_slot *s)
{
    struct tide_tree *t;
    if (!has(of(b), s)) return TIDE_ENOTFOUND;
    int rc = own_tree(of(b), s, &t);
    return rc ? rc : tide_tree_remove(&of(b)->heap, t, s->key);
}

static int memory_get_item(struct tide_backend *b, const struct tide_slot *s,
                           struct tide_bytes item, struct tide_bytes *ret)
{
    const struct tide_tree *t = tree(of(b), s);
    const struct tide_tree *items = t ? tide_tree_below(t, s->key) : NULL;
    return items ? tide_tree_get(items, item, ret) : TIDE_ENOTFOUND;
}

static int memory_put_item(struct tide_backend *b, const struct tide_slot *s,
                           struct tide_bytes item, struct tide_bytes value)
{
    struct tide_tree *t, *items;
    int rc = own_tree(of(b), s, &t);
    if (!rc) rc = tide_tree_make_below(&of(b)->heap, t, s->key, &items);
    return rc ? rc : tide_tree_put(&of(b)->heap, items, item, value);
}

static int memory_remove_item(struct tide_backend *b, const struct tide_slot *s,
                              struct tide_bytes item)
{
    struct tide_bytes value;
    struct tide_tree *t, *items;
    int rc = memory_get_item(b, s, item, &value);
    if (!rc) rc = own_tree(of(b), s, &t);
    if (!rc) rc = tide_tree_make_below(&of(b)->heap, t, s->key, &items);
    if (!rc) rc = tide_tree_remove(&of(b)->heap, items, item);
    /* a key without items is none */
    return rc || items->count ? rc : tide_tree_remove(&of(b)->heap, t, s->key);
}

static int memory_count(struct tide_backend *b, const struct tide_slot *s, uint64_t *ret)
{
    const struct tide_tree *t = tree(of(b), s);
    const struct tide_tree *items = t ? tide_tree_below(t, s->key) : NULL;
    *ret = items ? items->count : 0;
    return 0;
}

static int memory_append(struct tide_backend *b, const struct tide_slot *s, struct tide_bytes value)
{
    uint8_t item[8];
    uint64_t count;
    (void)memory_count(b, s, &count);
    tide_item_of_position(count, item);
    return memory_put_item(b, s, (struct tide_bytes){item, sizeof item}, value);
}

/* ---- visiting */

struct visiting {
    tide_row_visit *f;
    void *user;
    struct tide_row row;
    bool is_list, keys_only;
};

static int visit_item(void *user, struct tide_bytes key, struct tide_bytes value,
                      const struct tide_tree *below)
{
    struct visiting *v = user;
    (void)below;
    v->row.item = key;
    v->row.value = value;
    return v->f(v->user, &v->row);
}

static int visit_items(struct visiting *v, const struct tide_tree *items)
{
    uint8_t item[8];
    if (!v->is_list) return tide_tree_each(items, visit_item, v);
    for (uint64_t i = 0; i < items->count; i++) {
        struct tide_bytes value = {0};
        tide_item_of_position(i, item);
        int rc = tide_tree_get(items, (struct tide_bytes){item, 8}, &value);
        if (!rc) rc = visit_item(v, (struct tide_bytes){item, 8}, value, NULL);
        if (rc) return rc;
    }
    return 0;
}

static int visit_key(void *user, struct tide_bytes key, struct tide_bytes value,
                     const struct tide_tree *below)
{
    struct visiting *v = user;
    v->row.key = key;
    v->row.item = (struct tide_bytes){0};
    v->row.value = v->keys_only ? (struct tide_bytes){0} : value;
    if (below && !v->keys_only) return visit_items(v, below);
    return v->f(v->user, &v->row);
}

static int memory_each_item(struct tide_backend *b, const struct tide_slot *s, bool is_list,
                            tide_row_visit *f, void *user)
{
    struct visiting v = {f, user, {.group = s->group, .key = s->key}, is_list, false};
    const struct tide_tree *t = tree(of(b), s);
    const struct tide_tree *items = t ? tide_tree_below(t, s->key) : NULL;
    return items ? visit_items(&v, items) : 0;
}

/* Of the blocks of a state, the trees from to to - 1. */
static int visit_trees(struct visiting *v, struct tide_block *const *blocks, uint32_t first,
                       uint32_t from, uint32_t to)
{
    int rc = 0;
    for (uint32_t i = from; !rc && i < to; i++) {
        const struct tide_block *b = blocks[i / TIDE_BLOCK];
        v->row.group = first + i;
        if (b) rc = tide_tree_each(&tide_block_see(b)[i % TIDE_BLOCK], visit_key, v);
    }
    return rc;
}

static int memory_each_key(struct tide_backend *b, uint32_t state, tide_row_visit *f, void *user)
{
    struct memory *m = of(b);
    struct visiting v = {f, user, {0}, false, true};
    if (state >= m->n_states) return TIDE_EINVAL;
    return visit_trees(&v, m->blocks + (size_t)state * m->per_state, m->first, 0, m->count);
}

/* ---- views */

static int memory_freeze(struct tide_backend *b, struct tide_frozen **ret)
{
    struct memory *m = of(b);
    size_t n = (size_t)m->n_states * m->per_state;
    struct tide_frozen *f = malloc(sizeof *f + n * sizeof(struct tide_block *));
    if (!f) return TIDE_ENOMEM;
    *f = (struct tide_frozen){
        .n_states = m->n_states, .first = m->first, .count = m->count, .per_state = m->per_state};
    f->view = tide_heap_freeze(&m->heap);
    if (!f->view) {
        free(f);
        return TIDE_ENOMEM;
    }
    if (n) memcpy(f->blocks, m->blocks, n * sizeof(struct tide_block *));
    *ret = f;
    return 0;
}

static int memory_walk(const struct tide_frozen *f, uint32_t state, bool is_list, uint32_t first,
                       uint32_t count, tide_row_visit *visit, void *user, char why[static WHY_SIZE])
{
    struct visiting v = {visit, user, {0}, is_list, false};
    uint64_t from = first, to = from + count, end = (uint64_t)f->first + f->count;
    (void)why;
    if (state >= f->n_states) return TIDE_EINVAL;
    if (from < f->first) from = f->first;
    if (to > end) to = end;
    if (from >= to) return 0;
    return visit_trees(&v, f->blocks + (size_t)state * f->per_state, f->first,
                       (uint32_t)from - f->first, (uint32_t)to - f->first);
}

static void memory_over(struct tide_frozen *f)
{
    tide_heap_over(f->view);
    free(f);
}

const struct tide_backend_class tide_backend_memory = {
    .name = "memory",
    .open = memory_open,
    .close = memory_close,
    .get = memory_get,
    .put = memory_put,
    .remove = memory_remove,
    .get_item = memory_get_item,
    .put_item = memory_put_item,
    .append = memory_append,
    .remove_item = memory_remove_item,
    .count = memory_count,
    .each_item = memory_each_item,
    .each_key = memory_each_key,
    .freeze = memory_freeze,
    .walk = memory_walk,
    .over = memory_over,
};
