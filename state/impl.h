/* What the files of the library share.
 *
 *   key_group.c         keys to key groups
 *   tree.h/.c           maps that can be frozen; pure
 *   backend.h/.c        where state lives while the task runs
 *   memory.c, rocksdb.c in memory; in a RocksDB of the task's own, if built with it
 *   place.h/.c          the directory of a task's own
 *   states.c, access.c  the names, and what a program does with them
 *   assign.h/.c         who restores what; pure
 *   format.h, write.c, read.c  the canonical format
 *   directory.h/.c      a savepoint's directory, by its _metadata
 *   native.h/.c         native snapshots: a backend's own files, and their index
 *   load.c              from databases, or native parts, to the states of a task
 *   restore.c, snapshot.c      from and to it, in libtidemark's callbacks */
#ifndef TIDE_STATE_IMPL_H
#define TIDE_STATE_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "proto/ack.h"
#include "state/backend.h"
#include "state/tidemark-state.h"

#define STATES_MAX 4096u

struct tide_named {
    struct tide_states *states;
    uint32_t number; /* in its backend */
    enum tide_states_kind kind;
    char *name;
    struct tide_schema schema; /* id owned; NULL: bytes */
};

struct tide_states {
    char *uid;
    uint32_t subtask, parallelism, max_parallelism;
    bool derived; /* the max parallelism is the default: a snapshot's takes its place */
    bool drop_unmatched;
    uint32_t first, count;     /* its key groups */
    struct tide_named **items; /* in the order of their declaration */
    uint32_t n_items, cap_items;
    uint32_t n_keyed;
    const struct tide_backend_class *class; /* of the keyed states */
    char *directory;                        /* of its files; NULL: none */
    int taken;                              /* its lock; -1: not taken yet */
    struct tide_backend *keyed, *own;       /* NULL until the first use; own: the others' */
    char why[WHY_SIZE];

    atomic_bool cancelled; /* what is being written is of no use any more */
    pthread_mutex_t lock;  /* of what follows */
    pthread_cond_t changed;
    uint32_t writing; /* threads that write snapshots */
};

/* Keeps the sentence and returns rc. */
int tide_states_fail(struct tide_states *s, int rc, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Opens the backend, if it is not yet. */
int tide_states_ready(struct tide_states *s);
/* The backend and all that is in it goes; snapshots that are being written are given up. */
void tide_states_drop(struct tide_states *s);
struct tide_named *tide_states_find(const struct tide_states *s, struct tide_bytes name);
/* Opens one for the keyed states with these key groups, or for the others, empty. */
int tide_states_open(struct tide_states *s, bool keyed, uint32_t first, uint32_t count,
                     struct tide_backend **ret);
/* The same with the files of a checkpoint, put into the backend's directory by place(). */
int tide_states_reopen(struct tide_states *s, uint32_t first, uint32_t count,
                       int (*place)(void *user, const char *directory, char *why), void *user,
                       struct tide_backend **ret);

struct tide_format_reader;
/* Takes what the task is to have of these databases, which together are those of its operator in a
 * snapshot that concern it. On failure the states are empty, and the reason is kept. */
int tide_states_load(struct tide_states *s, struct tide_format_reader **readers, uint32_t n);

static inline bool tide_kind_is_keyed(enum tide_states_kind kind)
{
    return kind <= TIDE_MAP;
}
static inline bool tide_kind_is_list(enum tide_states_kind kind)
{
    return kind == TIDE_LIST || kind == TIDE_SPLIT || kind == TIDE_UNION;
}
static inline struct tide_backend *tide_named_backend(const struct tide_named *n)
{
    return tide_kind_is_keyed(n->kind) ? n->states->keyed : n->states->own;
}
/* "value", "list", ...; NULL: there is no such kind. */
const char *tide_states_kind_name(enum tide_states_kind kind);

#endif
