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

enum { TIDE_FORMAT_KEYED = 1, TIDE_FORMAT_OWN = 2 };

struct tide_format_task {          /* whose state it is */
    struct tide_bytes uid, writer; /* writer: the version of the library */
    uint32_t subtask, parallelism, max_parallelism;
    uint32_t first, count; /* its key groups; count 0: there are no keyed states in it */
    uint32_t databases;    /* that the task has in the snapshot: TIDE_FORMAT_KEYED, _OWN */
    uint64_t round;
};

struct tide_format_state {
    struct tide_bytes name;
    enum tide_states_kind kind;
    struct tide_bytes schema; /* empty: none */
    uint32_t version;
    uint64_t first, rows; /* its rows have the ids from first on, without a gap */
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
/* A record that was in flight. flight: enum tide_flight; group UINT32_MAX: it has none. */
int tide_format_in_flight(struct tide_format_writer *w, uint32_t flight, uint32_t channel,
                          uint32_t group, struct tide_bytes record);
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
    uint64_t n_in_flight;
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
/* Rows first to first + count - 1 of a state, from 0; of a keyed one, those of the key groups first
 * to first + count - 1. Each is checked before it is given out, and that none is missing at the
 * end. A failure is told in r->why. */
int tide_format_rows(struct tide_format_reader *r, uint32_t state, uint64_t first, uint64_t count,
                     tide_row_visit *f, void *user);
typedef int tide_flight_visit(void *user, uint32_t flight, uint32_t channel, uint32_t group,
                              struct tide_bytes record);
int tide_format_flights(struct tide_format_reader *r, tide_flight_visit *f, void *user);

/* ---- both */

struct tide_format_object { /* of the schema */
    const char *name, *sql;
};
extern const struct tide_format_object tide_format_objects[];
#define TIDE_FORMAT_OBJECTS 6

/* The code for an SQLite code. */
int tide_format_code(int sqlite_rc);

#endif
