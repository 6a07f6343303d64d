/* Opening and closing the store.
 *
 * The usual way of a start: lock the directory, look at what the file says it is, check it, migrate
 * it, apply what only the journal has, record this start's incarnation, rewrite and sync what is in
 * the WAL, begin the journal anew.
 *
 * Why the rewriting: after a failed fdatasync, or one that a crash forestalled, the page cache can
 * show what a power cut would take back. wal_checkpoint(TRUNCATE) writes every page in the WAL anew
 * and syncs it, so that what is read afterwards is what is on the disk. If it fails, nothing that
 * was read is believed. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/err.h"
#include "storage/alloc.h"
#include "storage/apply.h"
#include "storage/store.h"

#define PAGE 16384
#define CHECK_ALL                                                                                  \
    ((int64_t)64 << 20) /* a database beyond this has its indexes unchecked at start */

/* ---- the directory */

static int lock(struct tide_store *s, const char *directory, char why[static 512])
{
    char path[4096], text[32] = "";
    if (mkdir(directory, 0755) && errno != EEXIST) {
        snprintf(why, 512, "%.300s: cannot make the data directory: %s", directory,
                 strerror(errno));
        return errno == ENOSPC ? TIDE_ENOSPC : TIDE_EIO;
    }
    int n = snprintf(path, sizeof path, "%s/tidemark.lock", directory);
    if (n < 0 || (size_t)n >= sizeof path) {
        snprintf(why, 512, "the data directory's name is too long: %.300s", directory);
        return TIDE_EINVAL;
    }
    s->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (s->lock < 0) {
        snprintf(why, 512, "%.300s: cannot be opened: %s", path, strerror(errno));
        return errno == ENOSPC ? TIDE_ENOSPC : TIDE_EIO;
    }
    if (flock(s->lock, LOCK_EX | LOCK_NB)) {
        int error = errno;
        ssize_t got = pread(s->lock, text, sizeof text - 1, 0);
        text[got > 0 ? got : 0] = '\0';
        text[strcspn(text, "\n")] = '\0';
        snprintf(why, 512, "%.300s: %s%s", path,
                 error == EWOULDBLOCK ? "another daemon has this data directory, process "
                                      : strerror(error),
                 error == EWOULDBLOCK ? text : "");
        return error == EWOULDBLOCK ? TIDE_EBUSY : TIDE_EIO;
    }
    /* Who it is, for people only: the lock is what counts. */
    n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(s->lock, 0) || pwrite(s->lock, text, (size_t)n, 0) != n) return 0;
    return 0;
}

static int sync_directory(const char *directory)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 || fsync(fd) ? TIDE_EIO : 0;
    if (fd >= 0) close(fd);
    return rc;
}

/* ---- the file */

static int failed(const struct tide_store *s, int rc, const char *what, char why[static 512])
{
    int code = tide_db_code(rc);
    /* A rollback in between has cleared the connection's own message. */
    const char *said =
        sqlite3_errcode(s->db) == SQLITE_OK ? sqlite3_errstr(rc) : sqlite3_errmsg(s->db);
    char system[64];
    snprintf(why, 512, "%.250s: %s: %.100s%s%s", s->path, what, said,
             tide_db_system(s->db, rc, system),
             code == TIDE_ECORRUPT ? "; " TIDE_DB_ADVICE
             : code == TIDE_EBUSY  ? "; another program has it open, end that first"
                                   : "");
    return code ? code : TIDE_EIO;
}

/* Is it ours, and of which version? */
static int identify(struct tide_store *s, int *ret_version, char why[static 512])
{
    int64_t version = 0, application = 0, tables = 0;
    int rc = tide_db_pragma(s->db, "PRAGMA user_version", &version);
    if (!rc) rc = tide_db_pragma(s->db, "PRAGMA application_id", &application);
    if (!rc) rc = tide_db_pragma(s->db, "SELECT count(*) FROM sqlite_schema", &tables);
    if (rc) return failed(s, rc, "cannot be read", why);
    if (tables == 0 && version == 0) {
        *ret_version = 0;
        return 0;
    }
    if (application != TIDE_DB_APPLICATION || version < 1) {
        snprintf(why, 512, "%.300s: is the database of another program; " TIDE_DB_ADVICE, s->path);
        return TIDE_ECORRUPT;
    }
    if (version > tide_schema_version()) {
        snprintf(
            why, 512,
            "%.300s: was written by a newer version of tidemarkd (its tables have version %" PRId64
            ", this program knows up to %d); run that version, or restore a backup from before",
            s->path, version, tide_schema_version());
        return TIDE_EVERSION;
    }
    *ret_version = (int)version;
    return 0;
}

static int settle_file(struct tide_store *s, bool fresh, char why[static 512])
{
    sqlite3_stmt *st = NULL;
    int rc = SQLITE_OK;
    bool wal = false;
    char cache[64];
    sqlite3_snprintf(sizeof cache, cache, "PRAGMA cache_size = %d", TIDE_DB_CACHE_PAGES);
    if (fresh)
        rc = sqlite3_exec(s->db, "PRAGMA page_size = 16384; PRAGMA auto_vacuum = NONE", NULL, NULL,
                          NULL);
    if (!rc) rc = sqlite3_prepare_v2(s->db, "PRAGMA journal_mode = WAL", -1, &st, NULL);
    if (!rc && sqlite3_step(st) == SQLITE_ROW)
        wal = tide_bytes_equal(tide_db_bytes(st, 0), tide_bytes_of("wal"));
    if (st) rc = sqlite3_finalize(st);
    /* What is durable the journal says; the database only has to be whole. */
    if (!rc) rc = sqlite3_exec(s->db, "PRAGMA synchronous = NORMAL", NULL, NULL, NULL);
    if (!rc) rc = sqlite3_wal_autocheckpoint(s->db, 0);
    if (!rc) rc = sqlite3_exec(s->db, cache, NULL, NULL, NULL);
    if (rc) return failed(s, rc, "cannot be opened", why);
    if (wal) return 0;
    snprintf(why, 512,
             "%.300s: its file system does not allow a write-ahead log (shared memory is missing); "
             "use a "
             "local one",
             s->path);
    return TIDE_EIO;
}

/* SQLite's words in one line, without its heading. */
static void put_words(char *out, size_t size, struct tide_bytes said)
{
    static const char heading[] = "*** in database main ***\n";
    size_t skip = said.len > sizeof heading && !memcmp(said.data, heading, sizeof heading - 1)
                      ? sizeof heading - 1
                      : 0;
    snprintf(out, size, "%.*s", (int)(said.len - skip), (const char *)said.data + skip);
    for (char *p = out; *p; p++)
        if (*p == '\n') *p = ' ';
}

static int first_row(struct tide_store *s, const char *sql, const char *good, char why[static 512])
{
    char words[101] = "";
    sqlite3_stmt *st;
    int rc = sqlite3_prepare_v2(s->db, sql, -1, &st, NULL);
    if (rc) return failed(s, rc, "cannot be checked", why);
    rc = sqlite3_step(st);
    struct tide_bytes said = rc == SQLITE_ROW ? tide_db_bytes(st, 0) : (struct tide_bytes){0};
    bool fine = rc == SQLITE_DONE ||
                (rc == SQLITE_ROW && good && tide_bytes_equal(said, tide_bytes_of(good)));
    if (rc == SQLITE_ROW && !fine) {
        put_words(words, sizeof words, said);
        snprintf(why, 512, "%.250s: is damaged (%s); " TIDE_DB_ADVICE, s->path, words);
    }
    int end = sqlite3_finalize(st);
    if (rc != SQLITE_ROW && end) return failed(s, end, "cannot be checked", why);
    return fine ? 0 : TIDE_ECORRUPT;
}

/* Damage is what is found twice: for want of memory, too, SQLite says that it cannot get a page. */
static int find(struct tide_store *s, const char *sql, const char *good, char why[static 512])
{
    int rc = first_row(s, sql, good, why);
    return rc == TIDE_ECORRUPT ? first_row(s, sql, good, why) : rc;
}

static int check(struct tide_store *s, char why[static 512])
{
    int64_t pages = 0;
    int rc = tide_db_pragma(s->db, "PRAGMA page_count", &pages);
    if (rc) return failed(s, rc, "cannot be read", why);
    /* Every page is read in any case; comparing the indexes as well takes several times longer, and
     * a large store must be back before its workers' grace is over. */
    if (pages * PAGE > CHECK_ALL) return find(s, "PRAGMA quick_check(1)", "ok", why);
    rc = find(s, "PRAGMA integrity_check(1)", "ok", why);
    return rc ? rc
              : find(s,
                     "SELECT 'a row of ' || \"table\" || ' refers to one that is not there'"
                     " FROM pragma_foreign_key_check",
                     NULL, why);
}

/* ---- opening */

static int wal_hook(void *store, sqlite3 *db, const char *name, int frames)
{
    (void)db, (void)name;
    ((struct tide_store *)store)->wal_frames = frames;
    return SQLITE_OK;
}

/* What the journal has and the database has not. */
static int catch_up(struct tide_store *s, const char *directory, char why[static 512])
{
    int rc = tide_apply_identity(s);
    if (rc) return failed(s, rc, "cannot be read", why);
    rc = tide_journal_open(directory, &s->journal, why);
    if (rc) return rc;
    switch (tide_store_follow(s, why)) {
    case TIDE_STORED: return 0;
    case TIDE_NO_SPACE: return TIDE_ENOSPC;
    case TIDE_REFUSED: return TIDE_EBUSY;
    default: return TIDE_ECORRUPT;
    }
}

static int open_all(struct tide_store *s, const struct tide_store_options *o, char why[static 512])
{
    int version = 0;
    tide_id id;
    memcpy(id.b, o->new_store_id, sizeof id.b);
    int rc = lock(s, o->directory, why);
    if (rc) return rc;
    rc = tide_db_open(o->directory, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &s->db, s->path,
                      sizeof s->path, why);
    if (!rc) rc = identify(s, &version, why);
    if (!rc) rc = settle_file(s, version == 0, why);
    if (!rc && version) rc = check(s, why);
    if (rc) return rc;
    rc = tide_schema_migrate(s->db, version);
    s->migrated = version && version != tide_schema_version();
    if (rc) return failed(s, rc, "its tables cannot be brought up to date", why);
    sqlite3_wal_hook(s->db, wal_hook, s);
    rc = tide_apply_prepare(s, why);
    if (rc) return tide_db_code(rc);
    rc = catch_up(s, o->directory, why);
    if (rc) return rc;
    rc = tide_apply_incarnation(s, o->now_wall, id);
    if (!rc) rc = tide_apply_identity(s);
    if (rc) return failed(s, rc, "this start cannot be recorded", why);
    rc = sqlite3_wal_checkpoint_v2(s->db, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    if (rc) return failed(s, rc, "its log cannot be written back", why);
    if (sync_directory(o->directory)) {
        snprintf(why, 512, "%.300s: cannot be synced: %s", o->directory, strerror(errno));
        return TIDE_EIO;
    }
    rc = tide_journal_start(s->journal, s->id, s->committed, o->journal);
    if (rc) {
        snprintf(why, 512, "%.300s: the journal cannot be written: %s", o->directory,
                 rc == TIDE_ENOMEM ? "out of memory, or of threads" : strerror(errno));
        return rc;
    }
    s->wal_frames = 0;
    s->unpurged = true; /* perhaps: the first maintain looks */
    return 0;
}

int tide_store_open(const struct tide_store_options *o, struct tide_store **ret,
                    char why[static 512])
{
    if (!o->directory || !*o->directory) {
        snprintf(why, 512, "a data directory is needed to open the store");
        return TIDE_EINVAL;
    }
    if (o->now_wall > INT64_MAX / 2) {
        snprintf(why, 512, "the system's clock shows a time before 1970: set it right first");
        return TIDE_EINVAL;
    }
    struct tide_store *s = tide_mem_zalloc(1, sizeof *s);
    if (!s) {
        snprintf(why, 512, "%.300s: out of memory", o->directory);
        return TIDE_ENOMEM;
    }
    s->lock = -1;
    s->nonce = o->nonce;
    why[0] = '\0';
    int rc = open_all(s, o, why);
    if (rc) {
        tide_store_close(s);
        return rc;
    }
    *ret = s;
    return 0;
}

const char *tide_store_note(const struct tide_store *s)
{
    return s->note;
}

void tide_store_close(struct tide_store *s)
{
    if (!s) return;
    if (s->journal && s->statements && s->incarnation) (void)tide_store_settle(s);
    tide_apply_close(s);
    /* After a write that ended in doubt nothing is written any more, not even what is surely there.
     */
    if (s->db && s->dead) sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_close(s->db);
    tide_journal_close(s->journal);
    if (s->lock >= 0) close(s->lock);
    free(s);
}
