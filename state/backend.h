/* Where the state of a task lives while it runs: the one interface that a backend fills in.
 *
 * Named states are numbered from 0. A slot is a place in one of them: a key group (of an operator's
 * state, which has no key, 0) and a key. A slot holds a value, or items: those of a map are known
 * by their names, those of a list by positions from 0.
 *
 * All calls are made by the task's thread, but for walk() and over(). What a call returns as a view
 * dies with the next call. Codes are those of err.h; TIDE_ENOTFOUND says that nothing is there.
 *
 * Keyed states are kept by the backend that the program has chosen, the others always in memory. */
#ifndef TIDE_STATE_BACKEND_H
#define TIDE_STATE_BACKEND_H

#include "proto/bytes.h"

#define WHY_SIZE 512u

struct tide_slot {
    uint32_t state, group;
    struct tide_bytes key;
};

/* A value as a view has it. Items of a list come in order. */
struct tide_row {
    uint32_t group;
    struct tide_bytes key, item, value;
};

enum tide_backend_mode {
    TIDE_BACKEND_EMPTY, /* what the directory held before goes */
    TIDE_BACKEND_THERE, /* it holds the files of a checkpoint, which become the backend's own */
    TIDE_BACKEND_READ   /* the same, to be read alone: by freeze() and walk() */
};

struct tide_backend_config {
    uint32_t n_states;
    uint32_t first, count; /* keyed states have the key groups from first to first + count - 1 */
    enum tide_backend_mode mode;
    const char *directory; /* for files of its own; NULL: those who need none have none */
    char *why;             /* WHY_SIZE bytes, for sentences about what failed, while it is open */
};

struct tide_backend;
struct tide_frozen;
typedef int tide_row_visit(void *user, const struct tide_row *row);

struct tide_backend_class {
    const char *name;
    bool needs_directory;
    int (*open)(const struct tide_backend_config *c, struct tide_backend **ret);
    void (*close)(struct tide_backend *b); /* every view must be over */

    int (*get)(struct tide_backend *b, const struct tide_slot *s, struct tide_bytes *ret);
    int (*put)(struct tide_backend *b, const struct tide_slot *s, struct tide_bytes value);
    int (*remove)(struct tide_backend *b, const struct tide_slot *s); /* with its items */
    int (*get_item)(struct tide_backend *b, const struct tide_slot *s, struct tide_bytes item,
                    struct tide_bytes *ret);
    int (*put_item)(struct tide_backend *b, const struct tide_slot *s, struct tide_bytes item,
                    struct tide_bytes value);
    int (*append)(struct tide_backend *b, const struct tide_slot *s, struct tide_bytes value);
    int (*remove_item)(struct tide_backend *b, const struct tide_slot *s, struct tide_bytes item);
    /* How many items: 0 is no failure. */
    int (*count)(struct tide_backend *b, const struct tide_slot *s, uint64_t *ret);
    /* The items of a slot; the keys of a state, whose rows then have neither item nor value. Ends
     * with the first answer that is not 0, and returns it. Nothing may be changed meanwhile. */
    int (*each_item)(struct tide_backend *b, const struct tide_slot *s, bool is_list,
                     tide_row_visit *f, void *user);
    int (*each_key)(struct tide_backend *b, uint32_t state, tide_row_visit *f, void *user);

    /* Everything as of now, at once. */
    int (*freeze)(struct tide_backend *b, struct tide_frozen **ret);
    /* The rows of a state in a view that are of the key groups first to first + count - 1, by key
     * groups in ascending order, the items of a key together. Any one thread. A failure of the
     * backend's own is told in why. */
    int (*walk)(const struct tide_frozen *f, uint32_t state, bool is_list, uint32_t first,
                uint32_t count, tide_row_visit *visit, void *user, char why[static WHY_SIZE]);
    void (*over)(struct tide_frozen *f); /* takes f; any thread */

    /* NULL: it has no format of its own, and what it holds is written as databases. Everything as
     * of now becomes files in this directory, which is not there yet; later changes do not touch
     * them, and whoever has them opens them with TIDE_BACKEND_THERE or _READ. */
    int (*checkpoint)(struct tide_backend *b, const char *directory);
    /* A file of this name, once it is there, never changes: checkpoints may share it. */
    bool (*is_fixed)(const char *name);
};

struct tide_backend { /* begins each backend's own struct */
    const struct tide_backend_class *class;
};

/* By the name that a program gives; NULL: there is none, or not in this build, and why. */
const struct tide_backend_class *tide_backend_find(const char *name, char why[static WHY_SIZE]);
extern const struct tide_backend_class tide_backend_memory;
extern const struct tide_backend_class tide_backend_rocksdb;

/* The position of an item of a list, so that it is found again; their order is that of bytes. */
void tide_item_of_position(uint64_t position, uint8_t ret_item[8]);
uint64_t tide_position_of_item(const uint8_t item[8]);

#endif
