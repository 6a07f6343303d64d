/* A savepoint's directory, made out of entries that come one by one in any order, without a daemon
 * and without a program: what `tidemark state write` and `convert` end with.
 *
 * Entries are staged in a temporary database, which sorts them, so that memory does not grow with
 * them. _metadata comes last: nothing half-written is ever a savepoint. */
#ifndef TIDE_CLI_STATE_MAKE_H
#define TIDE_CLI_STATE_MAKE_H

#include "client/cli/cli.h"
#include "proto/manifest.pb-c.h"
#include "state/format.h"

#define MAKING_MAX_DEFAULT 128u

struct making_state {
    char *name, *schema; /* schema "": none */
    enum tide_states_kind kind;
    uint32_t version;
    char *message; /* of protobuf values: their type and its files; "": none */
    uint8_t *descriptor;
    size_t descriptor_len;
};

struct making_operator {
    char *uid;
    uint32_t max_parallelism; /* 0: not said yet, and in the end the default */
    uint32_t parallelism;     /* 0: one task */
    uint32_t parts;           /* 0: one; of states without keys, see making_row() */
    bool has_rows, keeps_union, coordinator;
    struct making_state *states;
    uint32_t n_states;
};

struct making {
    const char *directory; /* absolute, borrowed */
    const char *job;       /* borrowed */
    /* The snapshot whose state it is, borrowed: it stays known as that one. NULL: it is new. */
    const Tide__ManifestHead *of;
    Tide__ExternalState **externals; /* what coordinators and hooks gave; borrowed */
    size_t n_externals;
    uint64_t line; /* what a failure is about; 0: nothing in particular */
    struct making_operator *operators;
    uint32_t n;
    sqlite3 *db; /* the staging */
    sqlite3_stmt *insert;
    char why[WHY_SIZE];
};

/* All return 0, or -1 and m->why. */
int making_fail(struct making *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
int making_open(struct making *m); /* what the caller does not set is zeroed */
void making_release(struct making *m);
/* Of this uid, made when there is none: dies with the next one. NULL: it cannot be. */
struct making_operator *making_operator(struct making *m, struct tide_bytes uid);
/* The state of this name, made when there is none; one that is there must be the same. */
int making_state(struct making *m, struct making_operator *op,
                 const struct tide_format_state *state, uint32_t *ret);
/* An entry; row->group is not heeded. part, of states without keys: the task that has it, below
 * op->parts. With as many tasks as parts each keeps its own; otherwise lists, one behind the other,
 * are dealt out evenly, and of a broadcast task i has copy i mod parts. */
int making_row(struct making *m, struct making_operator *op, uint32_t state, uint32_t part,
               const struct tide_row *row);
/* When all entries are there: the whole directory, or nothing. */
int making_write(struct making *m);

#endif
