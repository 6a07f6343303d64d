/* The store: what Tidemark keeps, in one SQLite database. This file is all that the rest sees.
 *
 * Order of calls: tide_store_open(), tide_store_load() once, then tide_store_commit() and
 * tide_store_maintain() from one thread, tide_store_close(). Readers have connections of their own
 * and may be used from another thread each. No SQL outside storage/. */
#ifndef TIDE_STORE_H
#define TIDE_STORE_H

#include "proto/admin.pb-c.h"
#include "storage/record.h"

struct tide_store;

struct tide_store_options {
    const char *directory; /* the data directory; the database is tidemark.db in it */
    uint64_t now_wall; /* us since 1970: lower bound for the incarnation's and external numbers */
    uint64_t nonce;    /* 64 random bits for the new incarnation */
    uint8_t new_store_id[16]; /* random: the store's id if it does not exist yet */
    uint64_t journal;         /* bytes that each of the journal's two files has from the start */
};

/* Opens or creates the database, exclusively (a lock file in the directory), and in this order:
 * checks its integrity, migrates it, applies what only the journal has, mints this start's
 * incarnation, rewrites and syncs every page in the WAL (wal_checkpoint(TRUNCATE)), begins the
 * journal anew. 0 and *ret, or TIDE_EBUSY
 * (another daemon has the directory), TIDE_EVERSION (written by a newer version), TIDE_ECORRUPT,
 * TIDE_ENOSPC, TIDE_EIO, TIDE_ENOMEM; why is a sentence for people that names the file. */
int tide_store_open(const struct tide_store_options *o, struct tide_store **ret,
                    char why[static 512]);
void tide_store_close(struct tide_store *s); /* NULL is fine */
/* What this start has mended, in a sentence for the log that names the file; "": nothing. */
const char *tide_store_note(const struct tide_store *s);

/* What the core needs to know at start. All memory is in one arena. */
struct tide_catalog_attempt {
    uint64_t attempt, incarnation, nonce, external, restored_from;
    struct tide_bytes directory;
    const struct tide_member *members;
    uint32_t n_members;
    bool running; /* had ATTEMPT_RUN */
    bool ended;
};
struct tide_catalog_snapshot {
    uint64_t round, incarnation, attempt, parent, completed_wall, begun_wall, bytes;
    enum tide_kind kind;
    enum tide_snapshot_state state;
    struct tide_bytes directory, ended;
    uint32_t owed;
    enum tide_style style;
    bool unaligned, commits, imported;
    uint64_t shared; /* of its artifacts: those that are */
};
struct tide_catalog_shared { /* retained and deleting */
    struct tide_shared_file file;
    struct tide_bytes directory;
    enum tide_snapshot_state state;
    uint64_t first, last; /* last 0: the newest checkpoint uses it */
};
struct tide_catalog_owed {
    uint64_t round;
    struct tide_bytes uid, handle;
    uint32_t subtask;
};
struct tide_catalog_round { /* begun, without an end; or aborted and not swept */
    struct tide_record_round round;
    bool ended;
};
struct tide_catalog_operation { /* not ended, or with a key still remembered */
    uint64_t id, snapshot, begun_wall, ended_wall;
    enum tide_operation_kind kind;
    enum tide_operation_state state;
    struct tide_bytes key, target, location, error, label, request, report;
    bool snapshot_good;
};
struct tide_catalog_job {
    tide_id id;
    struct tide_bytes name, spec, cause;
    enum tide_job_state state;
    uint64_t created_wall;
    uint64_t ended_snapshot;
    uint64_t base_since, base_snapshot; /* as in the record */
    bool base_unmatched;
    struct tide_bytes base_adopted;
    uint64_t attempts;                /* highest attempt number ever */
    struct tide_catalog_attempt last; /* attempts 0: zeroed */
    /* retained and deleting, and savepoints of the last attempt that are deleted; ascending */
    struct tide_catalog_snapshot *snapshots;
    uint32_t n_snapshots;
    uint64_t subsumed;              /* highest checkpoint that is deleting or deleted; 0: none */
    uint64_t completed;             /* highest snapshot ever, deleted or not; 0: none */
    struct tide_catalog_owed *owed; /* ascending by round */
    uint32_t n_owed;
    struct tide_catalog_round *rounds; /* ascending */
    uint32_t n_rounds;
    struct tide_catalog_operation *operations;
    uint32_t n_operations;
    struct tide_catalog_shared *shared;
    uint32_t n_shared;
};
struct tide_catalog_incarnation {
    uint64_t number, nonce;
};
struct tide_catalog {
    struct tide_arena arena;
    tide_id store_id;
    uint64_t incarnation, nonce; /* of this start */
    uint64_t reserved;           /* highest id ever reserved: new ids start above */
    uint64_t external;           /* highest external number ever minted */
    uint64_t lease_us;           /* longest lease ever granted; 0: none */
    struct tide_catalog_incarnation *incarnations; /* all, ascending */
    uint32_t n_incarnations;
    struct tide_catalog_job *jobs;
    uint32_t n_jobs;
};
int tide_store_load(struct tide_store *s, struct tide_catalog **ret, char why[static 512]);
void tide_catalog_free(struct tide_catalog *c);

/* Commits the list, in order, as one entry of the journal with one flush, and sets the outcome of
 * each. If the group fails other than by I/O each commit is tried alone. What is stored is durable;
 * readers see it after the next settle. */
void tide_store_commit(struct tide_store *s, struct tide_commit *list);
/* Lets readers see all that is stored. 0, TIDE_EIO (stop), TIDE_ENOSPC (there is no room, or
 * another program has the database open: readers would see what was before, so the caller lets none
 * ask; the next call tries again). */
int tide_store_settle(struct tide_store *s);
/* When idle, and now and then: one step of what makes readers see all that is stored, frees the
 * manifest of a deleted snapshot, and writes the WAL back into the database once that is worth it,
 * so that the journal's place can be used again. 1: there is more to do, 0: not now, TIDE_EIO:
 * stop. */
int tide_store_maintain(struct tide_store *s);

/* Readers. Each call answers one request of an admin out of the database; the result is malloc'ed
 * by protobuf-c (free with tide__response__free_unpacked(r, NULL)) and has no id yet. Errors come
 * as Response.error. NULL: no memory. `stop`, polled now and then, interrupts. */
struct tide_reader;
int tide_reader_open(const char *directory, struct tide_reader **ret, char why[static 512]);
void tide_reader_close(struct tide_reader *r);
/* Answers snapshots, snapshot, lineage, rounds and wait (for operations that the core does not know
 * any more). */
Tide__Response *tide_reader_answer(struct tide_reader *r, const Tide__Request *request);
/* The manifest image of a snapshot, its digest compared; ret's maximum bounds it (a zeroed ret: 16
 * GiB). 0, TIDE_ENOTFOUND, TIDE_ECORRUPT, TIDE_EIO, TIDE_ENOMEM. */
int tide_reader_manifest(struct tide_reader *r, uint64_t round, struct tide_buf *ret,
                         char why[static 256]);
/* Where a snapshot's bytes lie, appended to ret: not always where its manifest was written. 0,
 * TIDE_ENOTFOUND (also of one that is being deleted: its bytes may be gone), TIDE_EIO, TIDE_ENOMEM.
 */
int tide_reader_directory(struct tide_reader *r, uint64_t round, struct tide_buf *ret,
                          char why[static 256]);
/* May be called from another thread: makes the call under way fail soon. */
void tide_reader_interrupt(struct tide_reader *r);

#endif
