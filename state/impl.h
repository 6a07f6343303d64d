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
 *   upload.h/.c         a checkpoint's files become artifacts
 *   native.h/.c         native snapshots: a backend's own files, and their index
 *   evolve.c            what older values are to a program
 *   descriptor*.h/.c    the same of protobuf messages, by their descriptors; pure
 *   flow.c              records in flight: what channels carry
 *   keep_flow.c, load_flow.c   into a snapshot, and back
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

struct tide_flow {
    struct tide_states *states;
    char *name;
    struct tide_flow_config config; /* peer owned; schema not used */
    struct tide_schema schema;
    uint32_t max_parallelism; /* that a keyed one is cut by; of inputs the operator's */
    /* what was restored and not yet taken: */
    struct tide_flow_record *records; /* data: the place in bytes */
    size_t n_records, cap_records, taken;
    struct tide_buf bytes;
};

struct tide_states {
    char *uid;
    uint32_t subtask, parallelism, max_parallelism;
    bool derived; /* the max parallelism is the default: a snapshot's takes its place */
    bool drop_unmatched;
    uint32_t first, count;     /* its key groups */
    struct tide_named **items; /* in the order of their declaration */
    uint32_t n_items, cap_items;
    struct tide_flow **flows;
    uint32_t n_flows;
    uint32_t n_keyed;
    const struct tide_backend_class *class; /* of the keyed states */
    char *directory;                        /* of its files; NULL: none */
    int taken;                              /* its lock; -1: not taken yet */
    struct tide_backend *keyed, *own;       /* NULL until the first use; own: the others' */
    char why[WHY_SIZE];

    atomic_bool cancelled; /* what is being written is of no use any more */
    pthread_mutex_t lock;  /* of what follows */
    pthread_cond_t changed;
    uint32_t writing;                /* threads that write snapshots */
    struct tide_shared_file *shared; /* upload.h */
    uint32_t n_shared, cap_shared;
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
/* The same of records in flight. */
struct tide_flights_had {
    struct tide_format_reader **readers; /* of tasks that had some, by subtask */
    uint32_t n;
    uint32_t parallelism, max_parallelism; /* of the operator, in the snapshot */
};
int tide_flows_load(struct tide_states *s, const struct tide_flights_had *had);

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
/* The same of "keyed", "split", "broadcast". */
const char *tide_flow_route_name(enum tide_flow_route route);

/* As much of a struct as the program's header knew; TIDE_ENOTSUP: it says more than this library
 * knows. */
int tide_states_copy_sized(void *to, size_t to_size, const void *from, size_t size);
bool tide_states_is_name(const char *text);
/* Checks a schema and makes it the library's own. what, name: whose it is, for errors. */
int tide_evolve_copy(struct tide_states *s, const char *what, const char *name,
                     const struct tide_schema *from, struct tide_schema *ret);
void tide_evolve_free(struct tide_schema *s);

/* What a snapshot's values are to this program. */
struct tide_had_schema {
    struct tide_bytes id; /* empty: none */
    uint32_t version;
    struct tide_bytes message, descriptor; /* empty: none */
};
struct tide_descriptor;
struct tide_evolution {
    const struct tide_schema *schema;
    uint32_t version;
    struct tide_descriptor *had, *now; /* NULL: the program migrates */
};
/* 0: compatible as they are; 1: after migration, by *ret, until tide_evolve_end(); negative:
 * incompatible, and why. */
int tide_evolve_begin(const struct tide_schema *schema, const struct tide_had_schema *had,
                      struct tide_evolution *ret, char why[static WHY_SIZE]);
void tide_evolve_end(struct tide_evolution *e); /* a zeroed one is fine */
/* The answer alone. */
int tide_evolve_judge(const struct tide_schema *schema, const struct tide_had_schema *had,
                      char why[static WHY_SIZE]);
/* A value in the new version, malloc'ed. */
int tide_evolve_migrate(struct tide_states *s, const char *what, const char *name,
                        const struct tide_evolution *e, struct tide_bytes value, void **ret,
                        size_t *ret_len);

/* Records in flight. */
void tide_flow_free(struct tide_flow *f);
void tide_flow_drop(struct tide_flow *f); /* what was restored */

#endif
