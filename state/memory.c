/* The memory backend: a tree for each key group of each state (tree.h), all in one heap, so that
 * one view freezes all of them. */
#include <stdlib.h>
#include <string.h>

#include "proto/err.h"
#include "state/backend.h"
#include "state/tree.h"

struct memory {
    struct tide_backend base;
    struct tide_heap heap;
    uint32_t n_states, first, count;
    struct tide_tree *trees; /* by state, then by key group */
};

struct tide_frozen {
    struct tide_view *view;
    uint32_t n_states, first, count;
    struct tide_tree trees[]; /* their roots as they were */
};

void tide_item_of_position(uint64_t position, uint8_t ret_item[8])
{
    tide_set_u64(ret_item, position);
}

static struct memory *of(struct tide_backend *b)
{
    return (struct memory *)b;
}

static struct tide_tree *tree(struct memory *m, const struct tide_slot *s)
{
    if (s->state >= m->n_states || s->group < m->first || s->group - m->first >= m->count)
        return NULL;
    return &m->trees[(size_t)s->state * m->count + (s->group - m->first)];
}

static int memory_open(uint32_t n_states, uint32_t first, uint32_t count, struct tide_backend **ret)
{
    struct memory *m = calloc(1, sizeof *m);
    if (!m) return TIDE_ENOMEM;
    m->base.class = &tide_backend_memory;
    m->n_states = n_states;
    m->first = first;
    m->count = count;
    m->trees = calloc((size_t)n_states * count + 1, sizeof *m->trees);
    if (!m->trees) {
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
    for (size_t i = 0; i < (size_t)m->n_states * m->count; i++)
        tide_tree_clear(&m->heap, &m->trees[i]);
    tide_heap_release(&m->heap);
    free(m->trees);
    free(m);
}

static int memory_get(struct tide_backend *b, const struct tide_slot *s, struct tide_bytes *ret)
{
    struct tide_tree *t = tree(of(b), s);
    return t ? tide_tree_get(t, s->key, ret) : TIDE_EINVAL;
}

static int memory_put(struct tide_backend *b, const struct tide_slot *s, struct tide_bytes value)
{
    struct tide_tree *t = tree(of(b), s);
    return t ? tide_tree_put(&of(b)->heap, t, s->key, value) : TIDE_EINVAL;
}

static int memory_remove(struct tide_backend *b, const struct tide_slot *s)
{
    struct tide_tree *t = tree(of(b), s);
    return t ? tide_tree_remove(&of(b)->heap, t, s->key) : TIDE_EINVAL;
}

static int memory_get_item(struct tide_backend *b, const struct tide_slot *s,
                           struct tide_bytes item, struct tide_bytes *ret)
{
    struct tide_tree *t = tree(of(b), s);
    const struct tide_tree *items = t ? tide_tree_below(t, s->key) : NULL;
    return items ? tide_tree_get(items, item, ret) : TIDE_ENOTFOUND;
}

static int memory_put_item(struct tide_backend *b, const struct tide_slot *s,
                           struct tide_bytes item, struct tide_bytes value)
{
    struct tide_tree *t = tree(of(b), s), *items;
    if (!t) return TIDE_EINVAL;
    int rc = tide_tree_make_below(&of(b)->heap, t, s->key, &items);
    return rc ? rc : tide_tree_put(&of(b)->heap, items, item, value);
}

static int memory_remove_item(struct tide_backend *b, const struct tide_slot *s,
                              struct tide_bytes item)
{
    struct tide_bytes value;
    struct tide_tree *t = tree(of(b), s), *items;
    int rc = memory_get_item(b, s, item, &value);
    if (!rc) rc = tide_tree_make_below(&of(b)->heap, t, s->key, &items);
    if (!rc) rc = tide_tree_remove(&of(b)->heap, items, item);
    /* a key without items is none */
    return rc || items->count ? rc : tide_tree_remove(&of(b)->heap, t, s->key);
}

static uint64_t memory_count(struct tide_backend *b, const struct tide_slot *s)
{
    struct tide_tree *t = tree(of(b), s);
    const struct tide_tree *items = t ? tide_tree_below(t, s->key) : NULL;
    return items ? items->count : 0;
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
    struct tide_tree *t = tree(of(b), s);
    const struct tide_tree *items = t ? tide_tree_below(t, s->key) : NULL;
    return items ? visit_items(&v, items) : 0;
}

static int memory_each_key(struct tide_backend *b, uint32_t state, tide_row_visit *f, void *user)
{
    struct memory *m = of(b);
    struct visiting v = {f, user, {0}, false, true};
    int rc = state < m->n_states ? 0 : TIDE_EINVAL;
    for (uint32_t i = 0; !rc && i < m->count; i++) {
        v.row.group = m->first + i;
        rc = tide_tree_each(&m->trees[(size_t)state * m->count + i], visit_key, &v);
    }
    return rc;
}

/* ---- views */

static int memory_freeze(struct tide_backend *b, struct tide_frozen **ret)
{
    struct memory *m = of(b);
    size_t n = (size_t)m->n_states * m->count;
    struct tide_frozen *f = malloc(sizeof *f + n * sizeof *f->trees);
    if (!f) return TIDE_ENOMEM;
    *f = (struct tide_frozen){.n_states = m->n_states, .first = m->first, .count = m->count};
    f->view = tide_heap_freeze(&m->heap);
    if (!f->view) {
        free(f);
        return TIDE_ENOMEM;
    }
    if (n) memcpy(f->trees, m->trees, n * sizeof *f->trees);
    *ret = f;
    return 0;
}

static int memory_walk(const struct tide_frozen *f, uint32_t state, bool is_list,
                       tide_row_visit *visit, void *user)
{
    struct visiting v = {visit, user, {0}, is_list, false};
    int rc = state < f->n_states ? 0 : TIDE_EINVAL;
    for (uint32_t i = 0; !rc && i < f->count; i++) {
        v.row.group = f->first + i;
        rc = tide_tree_each(&f->trees[(size_t)state * f->count + i], visit_key, &v);
    }
    return rc;
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
    .remove_item = memory_remove_item,
    .count = memory_count,
    .each_item = memory_each_item,
    .each_key = memory_each_key,
    .freeze = memory_freeze,
    .walk = memory_walk,
    .over = memory_over,
};
