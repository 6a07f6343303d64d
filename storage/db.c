/* The few lines that every use of SQLite needs. */
#include "storage/db.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/err.h"

#define BUSY_MS 2000 /* somebody's sqlite3 shell holds the database: wait this long */

int tide_db_bind(sqlite3_stmt *st, const struct tide_value *values, int n)
{
    int rc = SQLITE_OK;
    for (int i = 0; !rc && i < n; i++) {
        const struct tide_value *v = &values[i];
        /* SQLite takes a NULL pointer for NULL, also when the length is 0. */
        const void *data = v->b.data ? (const void *)v->b.data : "";
        switch (v->kind) {
        case TIDE_V_NUM:
        case TIDE_V_OPT:
            if (v->n > INT64_MAX)
                rc = SQLITE_TOOBIG;
            else if (v->kind == TIDE_V_OPT && !v->n)
                rc = sqlite3_bind_null(st, i + 1);
            else
                rc = sqlite3_bind_int64(st, i + 1, (sqlite3_int64)v->n);
            break;
        case TIDE_V_BITS: rc = sqlite3_bind_int64(st, i + 1, (sqlite3_int64)v->n); break;
        case TIDE_V_TEXT:
        case TIDE_V_OPT_TEXT:
            if (v->kind == TIDE_V_OPT_TEXT && !v->b.len)
                rc = sqlite3_bind_null(st, i + 1);
            else
                rc = sqlite3_bind_text64(st, i + 1, data, v->b.len, SQLITE_STATIC, SQLITE_UTF8);
            break;
        case TIDE_V_BLOB:
        case TIDE_V_OPT_BLOB:
            if (v->kind == TIDE_V_OPT_BLOB && !v->b.len)
                rc = sqlite3_bind_null(st, i + 1);
            else
                rc = sqlite3_bind_blob64(st, i + 1, data, v->b.len, SQLITE_STATIC);
            break;
        }
    }
    return rc;
}

uint64_t tide_db_num(sqlite3_stmt *st, int column)
{
    return (uint64_t)sqlite3_column_int64(st, column);
}

struct tide_bytes tide_db_bytes(sqlite3_stmt *st, int column)
{
    const uint8_t *data = sqlite3_column_blob(st, column);
    return (struct tide_bytes){data, data ? (size_t)sqlite3_column_bytes(st, column) : 0};
}

int tide_db_code(int rc)
{
    if (rc == SQLITE_IOERR_NOMEM) return TIDE_ENOMEM;
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE: return 0;
    case SQLITE_NOMEM: return TIDE_ENOMEM;
    case SQLITE_FULL: return TIDE_ENOSPC;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return TIDE_EBUSY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return TIDE_ECORRUPT;
    case SQLITE_INTERRUPT: return TIDE_ECLOSED;
    default: return TIDE_EIO;
    }
}

const char *tide_db_system(sqlite3 *db, int rc, char text[static 64])
{
    int error = db ? sqlite3_system_errno(db) : 0;
    text[0] = '\0';
    if (error && ((rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CANTOPEN))
        snprintf(text, 64, ": %s", strerror(error));
    return text;
}

int tide_db_pragma(sqlite3 *db, const char *sql, int64_t *ret)
{
    sqlite3_stmt *st;
    int rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);
    if (rc) return rc;
    rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) *ret = sqlite3_column_int64(st, 0);
    int end = sqlite3_finalize(st);
    return rc == SQLITE_ROW ? SQLITE_OK : rc == SQLITE_DONE ? SQLITE_EMPTY : end;
}

/* What SQLite would follow, or say less about. One that is not there is made. */
static int look(const char *path, int flags, char why[static 512])
{
    struct stat st;
    bool writing = (flags & SQLITE_OPEN_READWRITE) != 0;
    if (lstat(path, &st)) {
        if (errno == ENOENT) return 0;
        snprintf(why, 512, "%.300s: cannot be opened: %s", path, strerror(errno));
    } else if (S_ISLNK(st.st_mode)) {
        snprintf(why, 512,
                 "%.300s: is a symbolic link; its logs would lie beside it and not beside the "
                 "database: make [daemon] data the directory that it leads to",
                 path);
    } else if (!S_ISREG(st.st_mode)) {
        snprintf(why, 512, "%.300s: is not a file; move it away, or choose another [daemon] data",
                 path);
    } else if (access(path, writing ? R_OK | W_OK : R_OK)) {
        snprintf(why, 512, "%.300s: cannot be %s: %s", path, writing ? "read and written" : "read",
                 strerror(errno));
    } else {
        return 0;
    }
    return TIDE_EIO;
}

int tide_db_open(const char *directory, int flags, sqlite3 **ret, char *path, size_t path_size,
                 char why[static 512])
{
    /* Debian's SQLite zeroes what it frees unless told not to: a second write of every manifest. */
    static const char settings[] = "PRAGMA secure_delete = OFF;"
                                   "PRAGMA foreign_keys = ON;"
                                   "PRAGMA synchronous = FULL;"
                                   "PRAGMA cache_size = -2048;"
                                   "PRAGMA cell_size_check = ON;"
                                   "PRAGMA trusted_schema = OFF;";
    sqlite3 *db = NULL;
    int n = snprintf(path, path_size, "%s/" TIDE_DB_FILE, directory);
    if (n < 0 || (size_t)n >= path_size) {
        snprintf(why, 512, "the data directory's name is too long: %.300s", directory);
        return TIDE_EINVAL;
    }
    int rc = look(path, flags, why);
    if (rc) return rc;
    rc = sqlite3_open_v2(path, &db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    if (!rc) rc = sqlite3_busy_timeout(db, BUSY_MS);
    if (!rc) rc = sqlite3_exec(db, settings, NULL, NULL, NULL);
    if (rc) {
        int code = (rc & 0xff) == SQLITE_CANTOPEN ? TIDE_EIO : tide_db_code(rc);
        char system[64];
        snprintf(why, 512, "%.250s: cannot be opened: %.100s%s%s", path,
                 db ? sqlite3_errmsg(db) : "out of memory", tide_db_system(db, rc, system),
                 code == TIDE_ECORRUPT ? "; " TIDE_DB_ADVICE : "");
        sqlite3_close(db);
        return code;
    }
    *ret = db;
    return 0;
}

/* ---- names */

static bool is(struct tide_bytes name, const char *text)
{
    return tide_bytes_equal(name, tide_bytes_of(text));
}

enum tide_job_state tide_job_state_of(struct tide_bytes name)
{
    for (int s = TIDE_JOB_WAITING; s <= TIDE_JOB_FAILED; s++)
        if (is(name, tide_job_state_name((enum tide_job_state)s))) return (enum tide_job_state)s;
    return 0;
}

enum tide_kind tide_kind_of(struct tide_bytes name)
{
    return is(name, "checkpoint") ? TIDE_CHECKPOINT : is(name, "savepoint") ? TIDE_SAVEPOINT : 0;
}

enum tide_snapshot_state tide_snapshot_state_of(struct tide_bytes name)
{
    for (int s = TIDE_RETAINED; s <= TIDE_DELETED; s++)
        if (is(name, tide_snapshot_state_name((enum tide_snapshot_state)s)))
            return (enum tide_snapshot_state)s;
    return 0;
}

enum tide_operation_kind tide_operation_kind_of(struct tide_bytes name)
{
    for (int k = TIDE_OP_CHECKPOINT; k <= TIDE_OP_EXPORT; k++)
        if (is(name, tide_operation_kind_name((enum tide_operation_kind)k)))
            return (enum tide_operation_kind)k;
    return 0;
}

enum tide_alignment tide_alignment_of(struct tide_bytes name)
{
    for (int a = TIDE_AT_LEAST_ONCE; a <= TIDE_ALIGNED_TIMEOUT; a++)
        if (is(name, tide_alignment_name((enum tide_alignment)a))) return (enum tide_alignment)a;
    return TIDE_ALIGNED;
}

enum tide_stop tide_stop_of(struct tide_bytes name)
{
    return is(name, "suspend") ? TIDE_STOP_SUSPEND
           : is(name, "drain") ? TIDE_STOP_DRAIN
                               : TIDE_STOP_NOT;
}

enum tide_operation_state tide_operation_state_of(struct tide_bytes name)
{
    for (int s = TIDE_OP_QUEUED; s <= TIDE_OP_FAILED; s++)
        if (is(name, tide_operation_state_name((enum tide_operation_state)s)))
            return (enum tide_operation_state)s;
    return 0;
}
