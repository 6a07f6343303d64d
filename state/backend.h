/* Where the state of a task lives while it runs: the one interface that a backend fills in.
 *
 * Named states are numbered from 0. A slot is a place in one of them: a key group (of an operator's
 * state, which has no key, 0) and a key. A slot holds a value, or items: those of a map are known
 * by their names, those of a list by positions from 0.
 *
 * All calls are made by the task's thread, but for walk() and over(). What a call returns as a view
 * dies with the next change. Codes are those of err.h; TIDE_ENOTFOUND says that nothing is there.
 */
#ifndef TIDE_STATE_BACKEND_H
#define TIDE_STATE_BACKEND_H

#include "proto/bytes.h"

struct tide_slot {
    uint32_t state, group;
    struct tide_bytes key;
};

/* A value as a view has it. Items of a list come in order. */
struct tide_row {
    uint32_t group;
    struct tide_bytes key, item, value;
};

struct tide_backend;
struct tide_frozen;
typedef int tide_row_visit(void *user, const struct tide_row *row);

struct tide_backend_class {
    const char *name;
    /* Keyed states have the key groups from first to first + count - 1. */
    int (*open)(uint32_t n_states, uint32_t first, uint32_t count, struct tide_backend **ret);
    void (*close)(struct tide_backend *b); /* every view must be over */

    int (*get)(struct tide_backend *b, const struct tide_slot *s, struct tide_bytes *ret);
    int (*put)(struct tide_backend *b, const struct tide_slot *s, struct tide_bytes value);
    int (*remove)(struct tide_backend *b, const struct tide_slot *s); /* with its items */
    int (*get_item)(struct tide_backend *b, const struct tide_slot *s, struct tide_bytes item,
                    struct tide_bytes *ret);
    int (*put_item)(struct tide_backend *b, const struct tide_slot *s, struct tide_bytes item,
                    struct tide_bytes value);
    int (*remove_item)(struct tide_backend *b, const struct tide_slot *s, struct tide_bytes item);
    uint64_t (*count)(struct tide_backend *b, const struct tide_slot *s); /* of items */
    /* The items of a slot; the keys of a state, whose rows then have neither item nor value. Ends
     * with the first answer that is not 0, and returns it. Nothing may be changed meanwhile. */
    int (*each_item)(struct tide_backend *b, const struct tide_slot *s, bool is_list,
                     tide_row_visit *f, void *user);
    int (*each_key)(struct tide_backend *b, uint32_t state, tide_row_visit *f, void *user);

    /* Everything as of now, at once. */
    int (*freeze)(struct tide_backend *b, struct tide_frozen **ret);
    /* The rows of a state in a view, by key groups in ascending order, the items of a key together.
     * Any one thread. */
    int (*walk)(const struct tide_frozen *f, uint32_t state, bool is_list, tide_row_visit *visit,
                void *user);
    void (*over)(struct tide_frozen *f); /* takes f; any thread */
};

struct tide_backend { /* begins each backend's own struct */
    const struct tide_backend_class *class;
};

extern const struct tide_backend_class tide_backend_memory;

/* An item of a list: its position, so that it is found again. */
void tide_item_of_position(uint64_t position, uint8_t ret_item[8]);

#endif
