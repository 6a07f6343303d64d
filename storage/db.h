/* What the parts of storage/ share about SQLite: opening, binding, reading columns, judging errors.
 * Internal: nothing outside storage/ and its tests includes this. */
#ifndef TIDE_DB_H
#define TIDE_DB_H

#include <sqlite3.h>

#include "proto/arena.h"
#include "proto/bytes.h"
#include "storage/journal.h"
#include "storage/record.h"

#define TIDE_DB_FILE "tidemark.db"
#define TIDE_DB_CACHE_PAGES 56 /* the writer's; readers have a quarter */
#define TIDE_DB_ADVICE "restore it from a backup, or move it away to start with an empty store"
#define TIDE_DB_APPLICATION 0x54494445 /* "TIDE" */

/* A value to bind. Views must outlive the statement's step. */
struct tide_value {
    enum {
        TIDE_V_NUM,
        TIDE_V_OPT,
        TIDE_V_BITS,
        TIDE_V_TEXT,
        TIDE_V_OPT_TEXT,
        TIDE_V_BLOB,
        TIDE_V_OPT_BLOB
    } kind;
    uint64_t n;
    struct tide_bytes b;
};
#define NUM(x) ((struct tide_value){.kind = TIDE_V_NUM, .n = (x)}) /* up to INT64_MAX */
#define OPT(x) ((struct tide_value){.kind = TIDE_V_OPT, .n = (x)}) /* 0 becomes NULL */
#define BITS(x)                                                                                    \
    ((struct tide_value){.kind = TIDE_V_BITS, .n = (x)}) /* any 64 bits, kept as they are */
#define TEXT(x) ((struct tide_value){.kind = TIDE_V_TEXT, .b = (x)}) /* empty stays empty */
#define OPT_TEXT(x)                                                                                \
    ((struct tide_value){.kind = TIDE_V_OPT_TEXT, .b = (x)}) /* empty becomes NULL */
#define BLOB(x) ((struct tide_value){.kind = TIDE_V_BLOB, .b = (x)})
#define OPT_BLOB(x) ((struct tide_value){.kind = TIDE_V_OPT_BLOB, .b = (x)})
#define NAME(x) TEXT(tide_bytes_of(x))

/* Binds all. SQLITE_TOOBIG for a number beyond INT64_MAX. */
int tide_db_bind(sqlite3_stmt *st, const struct tide_value *values, int n);

uint64_t tide_db_num(sqlite3_stmt *st, int column); /* NULL gives 0 */
/* A view of a TEXT or BLOB column, dead with the next step. NULL gives an empty one. */
struct tide_bytes tide_db_bytes(sqlite3_stmt *st, int column);

/* The TIDE_E code for an SQLite code met outside of a commit. */
int tide_db_code(int sqlite_rc);
/* The system's own reason for an I/O error, as in ": No space left on device"; "": there is none.
 */
const char *tide_db_system(sqlite3 *db, int rc, char text[static 64]);

/* Opens the database in directory (flags: SQLITE_OPEN_...) with the settings that every connection
 * has. Writes the file's name into path. 0, or a TIDE_E code and why. */
int tide_db_open(const char *directory, int flags, sqlite3 **ret, char *path, size_t path_size,
                 char why[static 512]);
/* A pragma or query that gives one number. Returns an SQLite code. */
int tide_db_pragma(sqlite3 *db, const char *sql, int64_t *ret);

/* From a name in the database to the number; 0 when it is none of them. */
enum tide_job_state tide_job_state_of(struct tide_bytes name);
enum tide_kind tide_kind_of(struct tide_bytes name);
enum tide_snapshot_state tide_snapshot_state_of(struct tide_bytes name);
enum tide_operation_state tide_operation_state_of(struct tide_bytes name);
enum tide_operation_kind tide_operation_kind_of(struct tide_bytes name);
enum tide_alignment tide_alignment_of(struct tide_bytes name);
enum tide_stop tide_stop_of(struct tide_bytes name);

/* ---- schema.c */

/* The version that the migrations lead to. */
int tide_schema_version(void);
/* Brings the database from its user_version to the newest in one transaction. 0 or an SQLite code.
 */
int tide_schema_migrate(sqlite3 *db, int from);

/* ---- store.c */

struct tide_bulk;
struct tide_store {
    sqlite3 *db;
    struct tide_journal *journal;
    tide_id id;
    int lock;                    /* file descriptor of the lock file, or -1 */
    char path[4096];             /* of the database */
    uint64_t incarnation, nonce; /* of this start */
    bool dead;                   /* a write ended in doubt: nothing is written any more */
    bool open;                   /* a transaction is: it has followed the journal up to applied, */
    struct tide_journal_mark applied, committed; /* the last one that was committed to committed */
    struct tide_bulk *bulk; /* what that transaction still has to take out of the journal */
    size_t n_bulk;
    bool migrated;             /* its tables were brought up to date by this start */
    char note[512];            /* for people: what this start has mended; "": nothing */
    bool unpurged;             /* manifests of deleted snapshots are still there */
    int wal_frames;            /* in the WAL, as of the last commit */
    sqlite3_stmt **statements; /* of apply.c, prepared at open */
};

/* ---- commit.c */

/* Applies what the journal has and the database has not, and commits. */
enum tide_outcome tide_store_follow(struct tide_store *s, char why[static 512]);

#endif
