/* The canonical format: the state of a task as a database that anyone can read with sqlite3.
 * docs/state-format.md describes it; the tables themselves stand in format.c, for both sides.
 *
 * A writer makes a whole database at once, in a file or in memory, in the order: begin, then for
 * each state begin_state, rows, end_state, then finish. A reader opens one, checks everything that
 * it will rely on, and gives rows out. Neither knows who writes or restores. */
#ifndef TIDE_STATE_FORMAT_H
#define TIDE_STATE_FORMAT_H

#include <sqlite3.h>

#include "proto/arena.h"
#include "state/backend.h"
#include "state/impl.h"

#define TIDE_FORMAT_APPLICATION 0x54445354 /* "TDST" */
#define TIDE_FORMAT_VERSION 1

enum { TIDE_FORMAT_KEYED = 1, TIDE_FORMAT_OWN = 2, TIDE_FORMAT_FLIGHT = 4 };

struct tide_format_task {          /* whose state it is */
    struct tide_bytes uid, writer; /* writer: the version of the library */
    uint32_t subtask, parallelism, max_parallelism;
    uint32_t first, count; /* its key groups; count 0: there are no keyed states in it */
    uint32_t databases; /* that the task has in the snapshot: TIDE_FORMAT_KEYED, _OWN; and _FLIGHT
                           in that of records in flight, of which the others know nothing */
    uint64_t round;
};

struct tide_format_state {
    struct tide_bytes name;
    enum tide_states_kind kind;
    struct tide_bytes schema; /* empty: none */
    uint32_t version;
    uint64_t first, rows;                  /* its rows have the ids from first on, without a gap */
    struct tide_bytes message, descriptor; /* of protobuf; empty: none */
};

struct tide_format_flow { /* an edge of which records were in flight; such a database has no states
                           */
    struct tide_bytes name, peer; /* peer: empty, or the uid of the operator at the other end */
    enum tide_flight direction;
    enum tide_flow_route route;
    uint32_t first_channel, channels, max_parallelism; /* the last: 0 unless it is keyed */
    struct tide_bytes schema;
    uint32_t version;
    struct tide_bytes message, descriptor;
    uint64_t first, records;
};

struct tide_flight_row {
    uint32_t channel, group;       /* the group and the key: of a keyed flow */
    struct tide_bytes key, record; /* views */
};

/* ---- writing */

struct tide_format_writer;
/* path: a file that is empty or not there; NULL: in memory. */
int tide_format_create(const char *path, const struct tide_format_task *task,
                       struct tide_format_writer **ret, char why[static WHY_SIZE]);
/* The first failure sticks, and is finish()'s answer. Rows of keyed states come by key groups in
 * ascending order, the items of a key together. */
int tide_format_state(struct tide_format_writer *w, const struct tide_format_state *state);
int tide_format_row(struct tide_format_writer *w, const struct tide_row *row);
/* In a database without states: a flow, and then its records, by channels in ascending order. */
int tide_format_flow(struct tide_format_writer *w, const struct tide_format_flow *flow);
int tide_format_record(struct tide_format_writer *w, const struct tide_flight_row *row);
/* A failure is told in why, which begins with the file's name. 0: the database is complete, but not
 * synced. In memory: its bytes, to be freed with sqlite3_free(). */
int tide_format_finish(struct tide_format_writer *w, uint8_t **ret_data, size_t *ret_len,
                       char why[static WHY_SIZE]);
void tide_format_abandon(struct tide_format_writer *w); /* NULL is fine */

/* ---- reading */

struct tide_native;
struct tide_format_reader {
    sqlite3 *db;                /* NULL: a part of a native snapshot */
    struct tide_native *native; /* then this */
    char *name;                 /* for errors: the file */
    struct tide_format_task task;
    struct tide_format_state *states; /* in the order of their ids */
    uint32_t n_states;
    struct tide_format_flow *flows;
    uint32_t n_flows;     /* not 0: it has records in flight, and no states */
    uint64_t n_in_flight; /* records */
    bool no_memory;
    struct tide_arena arena; /* what the views above point into */
    char why[WHY_SIZE];      /* what a call failed with; begins with the name */
};

/* A file that nobody changes meanwhile. TIDE_ECORRUPT, TIDE_EVERSION and so on, and why, which
 * begins with the file's name. */
int tide_format_open(const char *path, struct tide_format_reader **ret, char why[static WHY_SIZE]);
/* Bytes, which are borrowed until close. */
int tide_format_open_bytes(const char *name, struct tide_bytes image,
                           struct tide_format_reader **ret, char why[static WHY_SIZE]);
void tide_format_close(struct tide_format_reader *r); /* NULL is fine */
/* Counts the rows of a state of a native part, which does not say them, into its `rows`. */
int tide_format_count(struct tide_format_reader *r, uint32_t state);
/* Rows first to first + count - 1 of a state, from 0; of a keyed one, those of the key groups first
 * to first + count - 1. Each is checked before it is given out, and that none is missing at the
 * end. A failure is told in r->why. */
int tide_format_rows(struct tide_format_reader *r, uint32_t state, uint64_t first, uint64_t count,
                     tide_row_visit *f, void *user);
/* The records of a flow, in the same way. */
typedef int tide_flight_visit(void *user, const struct tide_flight_row *row);
int tide_format_records(struct tide_format_reader *r, uint32_t flow, tide_flight_visit *f,
                        void *user);

/* ---- both */

struct tide_format_object { /* of the schema */
    const char *name, *sql;
};
extern const struct tide_format_object tide_format_objects[];
#define TIDE_FORMAT_OBJECTS 7

/* The code for an SQLite code. */
int tide_format_code(int sqlite_rc);

#endif
