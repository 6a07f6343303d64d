/* The tree against a plain array, with views of it that other threads read meanwhile. */
#include <pthread.h>
#include <string.h>

#include "proto/err.h"
#include "state/tree.h"
#include "tests/proto/lib_random.h"
#include "tests/proto/lib_run.h"

#define KEYS 400u

struct model { /* by key: 0 is none, others the value */
    uint32_t value[KEYS];
    uint32_t count;
};

static struct tide_bytes key_of(uint32_t *room, uint32_t k)
{
    *room = k * 2654435761u;
    return (struct tide_bytes){(const uint8_t *)room, sizeof *room};
}

static void compare(const struct tide_tree *t, const struct model *m)
{
    ck_assert_uint_eq(t->count, m->count);
    for (uint32_t k = 0; k < KEYS; k++) {
        uint32_t room;
        struct tide_bytes value = {0};
        int rc = tide_tree_get(t, key_of(&room, k), &value);
        if (!m->value[k]) {
            ck_assert_int_eq(rc, TIDE_ENOTFOUND);
            continue;
        }
        ck_assert_int_eq(rc, 0);
        ck_assert_uint_eq(value.len, m->value[k] % 7 + 4);
        ck_assert_mem_eq(value.data, &m->value[k], 4);
    }
}

static void change(struct rng *rng, struct tide_heap *h, struct tide_tree *t, struct model *m)
{
    uint8_t value[16] = {0};
    uint32_t room, k = rng_below(rng, KEYS);
    if (rng_below(rng, 3)) {
        uint32_t n = 1 + rng_below(rng, 1000);
        memcpy(value, &n, sizeof n);
        ck_assert_int_eq(
            tide_tree_put(h, t, key_of(&room, k), (struct tide_bytes){value, n % 7 + 4}), 0);
        m->count += !m->value[k];
        m->value[k] = n;
    } else {
        int rc = tide_tree_remove(h, t, key_of(&room, k));
        ck_assert_int_eq(rc, m->value[k] ? 0 : TIDE_ENOTFOUND);
        m->count -= m->value[k] != 0;
        m->value[k] = 0;
    }
}

START_TEST(it_holds_what_was_put)
{
    struct rng rng = {1};
    struct tide_heap h = {0};
    struct tide_tree t = {0};
    struct model m = {0};
    for (unsigned i = 0; i < 20000; i++) {
        change(&rng, &h, &t, &m);
        if (i % 100 == 0) compare(&t, &m);
    }
    tide_tree_clear(&h, &t);
    ck_assert_ptr_null(t.root);
    tide_heap_release(&h);
}
END_TEST

struct reader {
    pthread_t thread;
    struct tide_view *view;
    struct tide_tree tree;
    struct model model;
};

static void *read_view(void *user)
{
    struct reader *r = user;
    for (unsigned i = 0; i < 3; i++)
        compare(&r->tree, &r->model);
    tide_heap_over(r->view);
    return NULL;
}

/* Views that overlap, each of its own moment, while the tree goes on. */
START_TEST(a_view_never_changes)
{
    struct rng rng = {2};
    struct tide_heap h = {0};
    struct tide_tree t = {0};
    struct model m = {0};
    struct reader readers[3];
    bool running[3] = {false};
    for (unsigned i = 0; i < 300; i++) {
        unsigned which = i % 3;
        struct reader *r = &readers[which];
        if (running[which]) pthread_join(r->thread, NULL);
        r->view = tide_heap_freeze(&h);
        ck_assert_ptr_nonnull(r->view);
        r->tree = t;
        r->model = m;
        running[which] = pthread_create(&r->thread, NULL, read_view, r) == 0;
        ck_assert(running[which]);
        for (unsigned k = rng_below(&rng, 300); k; k--)
            change(&rng, &h, &t, &m);
        if (i % 50 == 49) {
            tide_tree_clear(&h, &t);
            m = (struct model){0};
        }
        compare(&t, &m);
    }
    for (unsigned i = 0; i < 3; i++)
        pthread_join(readers[i].thread, NULL);
    tide_tree_clear(&h, &t);
    tide_heap_release(&h);
}
END_TEST

START_TEST(trees_below_are_frozen_with_it)
{
    struct tide_heap h = {0};
    struct tide_tree t = {0}, *below, then;
    struct tide_bytes key = tide_bytes_of("key"), item = tide_bytes_of("item"), value;
    ck_assert_int_eq(tide_tree_make_below(&h, &t, key, &below), 0);
    ck_assert_int_eq(tide_tree_put(&h, below, item, tide_bytes_of("one")), 0);
    struct tide_view *v = tide_heap_freeze(&h);
    then = t;
    ck_assert_int_eq(tide_tree_make_below(&h, &t, key, &below), 0);
    ck_assert_int_eq(tide_tree_put(&h, below, item, tide_bytes_of("two")), 0);
    ck_assert_int_eq(tide_tree_put(&h, below, tide_bytes_of("more"), tide_bytes_of("")), 0);

    ck_assert_int_eq(tide_tree_get(tide_tree_below(&then, key), item, &value), 0);
    ck_assert_mem_eq(value.data, "one", 3);
    ck_assert_uint_eq(tide_tree_below(&then, key)->count, 1);
    ck_assert_uint_eq(tide_tree_below(&t, key)->count, 2);
    ck_assert_int_eq(tide_tree_get(&t, key, &value), TIDE_ENOTFOUND);
    ck_assert_int_eq(tide_tree_remove(&h, &t, key), 0);
    ck_assert_ptr_null(tide_tree_below(&t, key));
    ck_assert_uint_eq(tide_tree_below(&then, key)->count, 1);
    tide_heap_over(v);
    tide_tree_clear(&h, &t);
    tide_heap_release(&h);
}
END_TEST

/* What a view keeps alive goes when the oldest that sees it is over, whatever the order. */
START_TEST(views_may_end_in_any_order)
{
    for (unsigned order = 0; order < 6; order++) {
        static const unsigned orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                              {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
        struct rng rng = {3 + order};
        struct tide_heap h = {0};
        struct tide_tree t = {0}, trees[3];
        struct model m = {0}, models[3];
        struct tide_view *views[3];
        for (unsigned i = 0; i < 3; i++) {
            for (unsigned k = 0; k < 500; k++)
                change(&rng, &h, &t, &m);
            views[i] = tide_heap_freeze(&h);
            trees[i] = t;
            models[i] = m;
        }
        for (unsigned i = 0; i < 3; i++) {
            for (unsigned k = 0; k < 500; k++)
                change(&rng, &h, &t, &m);
            for (unsigned k = i; k < 3; k++)
                compare(&trees[orders[order][k]], &models[orders[order][k]]);
            tide_heap_over(views[orders[order][i]]);
        }
        for (unsigned k = 0; k < 2000; k++)
            change(&rng, &h, &t, &m);
        ck_assert_ptr_null(h.views);
        ck_assert_ptr_null(h.finished); /* all of it was freed along the way */
        tide_tree_clear(&h, &t);
        tide_heap_release(&h);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("state_tree");
    add_test(s, it_holds_what_was_put);
    add_test(s, a_view_never_changes);
    add_test(s, trees_below_are_frozen_with_it);
    add_test(s, views_may_end_in_any_order);
    return run_suite(s);
}
