/* A map from bytes to bytes that can be frozen in an instant.
 *
 * A trie over the hash of the key, sixteen ways at each level, of cells: nodes, and entries at the
 * leaves. Every cell knows the version in which it was made. Freezing takes the root and raises the
 * version: from then on a cell that the frozen view can reach is copied before it is changed, and
 * what it is replaced by is reachable from the live tree alone. So a frozen view is read by another
 * thread, without a lock, while the tree goes on changing.
 *
 * A cell that the live tree has given up while a view could still reach it is kept until that view
 * is over. Whatever is given up is freed a few cells at a time by later changes, so that no single
 * call takes long, however much it gives up.
 *
 * An entry may hold a tree of its own in the place of a value: a map or a list under a key.
 *
 * Several trees share a heap, and are frozen together. One thread for a heap, but for reading from
 * the roots of a view and tide_heap_over(). */
#ifndef TIDE_STATE_TREE_H
#define TIDE_STATE_TREE_H

#include "proto/bytes.h"

struct tide_cell;
struct tide_tree { /* zeroed: an empty one */
    struct tide_cell *root;
    uint64_t count; /* of entries */
};

struct tide_view;
struct tide_heap {              /* zeroed: one without cells */
    uint64_t version;           /* that of the newest view: cells up to it may be seen by one */
    struct tide_view *views;    /* newest first */
    struct tide_view *finished; /* views that are over and still have cells to free */
    struct tide_cell *garbage;  /* trees that were given up whole */
};

/* A view is over when tide_heap_over() says so, on any thread; it is freed by a later call with the
 * heap. NULL: no memory. The roots are the caller's to keep. */
struct tide_view *tide_heap_freeze(struct tide_heap *h);
void tide_heap_over(struct tide_view *v);
/* Frees what is left of views, all of which must be over. */
void tide_heap_release(struct tide_heap *h);

/* Trees may stand in blocks, so that freezing many of them takes no more than keeping the addresses
 * of the blocks: a block that a view can reach is copied before a tree in it is changed. */
#define TIDE_BLOCK 128u
struct tide_block;
struct tide_tree *tide_block_trees(struct tide_block *b);
const struct tide_tree *tide_block_see(const struct tide_block *b);
/* Makes *at one that may be changed: an empty one in the place of NULL. */
int tide_block_own(struct tide_heap *h, struct tide_block **at);
void tide_block_clear(struct tide_heap *h, struct tide_block *b); /* with its trees; NULL is fine */

/* 0 and a view of the value, dead with the next change of the tree; TIDE_ENOTFOUND. */
int tide_tree_get(const struct tide_tree *t, struct tide_bytes key, struct tide_bytes *ret);
int tide_tree_put(struct tide_heap *h, struct tide_tree *t, struct tide_bytes key,
                  struct tide_bytes value);
/* TIDE_ENOTFOUND: it was not there. */
int tide_tree_remove(struct tide_heap *h, struct tide_tree *t, struct tide_bytes key);
void tide_tree_clear(struct tide_heap *h, struct tide_tree *t);
/* The tree under a key: NULL when there is none. */
const struct tide_tree *tide_tree_below(const struct tide_tree *t, struct tide_bytes key);
/* The same, to be changed, until the next change of t; made when there is none. */
int tide_tree_make_below(struct tide_heap *h, struct tide_tree *t, struct tide_bytes key,
                         struct tide_tree **ret);
/* Calls f for each entry, in no order; below: NULL, or the tree under the key. Another answer than
 * 0 ends it. The tree must not be changed meanwhile. */
typedef int tide_tree_visit(void *user, struct tide_bytes key, struct tide_bytes value,
                            const struct tide_tree *below);
int tide_tree_each(const struct tide_tree *t, tide_tree_visit *f, void *user);

#endif
