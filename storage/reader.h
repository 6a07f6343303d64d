/* Inside of the reader: what answers are built of. Internal to storage/. */
#ifndef TIDE_READER_H
#define TIDE_READER_H

#include <stdatomic.h>

#include "proto/admin.pb-c.h"
#include "storage/db.h"
#include "storage/store.h"

#define TIDE_ANSWER_MAX                                                                            \
    ((size_t)8 << 20) /* of packed bytes, about: a list ends here and says that there is more */

struct tide_reader {
    sqlite3 *db;
    atomic_bool stop; /* set from another thread */
    char path[4096];
};

/* An answer being built. The first failure sticks, and takes the response's place at the end. */
struct tide_answer {
    struct tide_reader *r;
    Tide__Response *response; /* whole at every moment, so that it can be freed */
    size_t bytes;             /* taken so far */
    bool no_memory;
    bool failed; /* the answer is the error: */
    Tide__ErrorCode code;
    char text[400];
};

void *tide_answer_new(struct tide_answer *a, size_t n, size_t size); /* zeroed; NULL sticks */
void tide_answer_set(struct tide_answer *a, ProtobufCBinaryData *field, struct tide_bytes bytes);
void tide_answer_error(struct tide_answer *a, Tide__ErrorCode code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void tide_answer_sqlite(struct tide_answer *a, int rc); /* an error of SQLite's, in words */
static inline bool tide_answer_ends(const struct tide_answer *a)
{
    return a->no_memory || a->failed;
}

/* Prepares and binds. NULL after a failure. */
sqlite3_stmt *tide_answer_query(struct tide_answer *a, const char *sql,
                                const struct tide_value *values, int n);
/* True on a row; false at the end or after a failure. NULL is fine. */
bool tide_answer_next(struct tide_answer *a, sqlite3_stmt *st);

/* The columns that tide_answer_snapshot() reads, from column 0 on: s is snapshot, j is job. */
#define TIDE_SNAPSHOT_COLUMNS                                                                      \
    "s.round, s.incarnation, j.name, s.kind, s.state, s.owner, s.directory, s.attempt, "           \
    "s.begun_wall,"                                                                                \
    " s.completed_wall, s.tasks, s.artifacts, s.bytes, s.manifest_bytes,"                          \
    " (SELECT parent FROM lineage l WHERE l.snapshot = s.round), s.label,"                         \
    " (SELECT count(*) FROM owed o WHERE o.round = s.round), s.commits, s.unaligned, s.imported,"  \
    " s.style = 'rendezvous'"
#define TIDE_SNAPSHOT_COLUMN_COUNT 21
Tide__SnapshotInfo *tide_answer_snapshot(struct tide_answer *a, sqlite3_stmt *st);

/* reader_tasks.c: the tasks of a snapshot, out of its manifest. */
void tide_answer_tasks(struct tide_answer *a, Tide__SnapshotDetail *detail,
                       const Tide__ShowSnapshot *q);

#endif
