/* Applying records: the one place where rows are written.
 *
 * The usual way: begin, see that the store still belongs to this incarnation, apply the records of
 * one group of commits after the other, and COMMIT now and then. Durable they are before that, by
 * the journal (commit.c).
 *
 * What can go wrong:
 * - a record breaks a constraint, the disk is full, memory -> the transaction is rolled back
 * - another incarnation -> refused, fenced; the host stops
 * - any other error: nothing that this database says is believed any more -> unknown
 *
 * Inside a transaction the first failure sticks: after it every run() does nothing. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/err.h"
#include "storage/alloc.h"
#include "storage/apply.h"
#include "storage/manifest.h"
#include "storage/store.h"

#define ONE_PART 65536u    /* a manifest up to this is one row, its bytes copied once more */
#define PURGE_LATER 65536u /* of a deleted snapshot: beyond this it goes when idle */

enum query {
    Q_BEGIN,
    Q_COMMIT,
    Q_ROLLBACK,
    Q_OWNER,
    Q_STORE,
    Q_IDENTITY,
    Q_APPLIED,
    Q_INCARNATION,
    Q_RESERVE,
    Q_LEASE,
    Q_JOB,
    Q_JOB_STATE,
    Q_ATTEMPT,
    Q_MEMBER,
    Q_ATTEMPT_RUN,
    Q_ATTEMPT_END,
    Q_ROUND_BEGIN,
    Q_ROUND_END,
    Q_ROUND_AGAIN,
    Q_HOLDER,
    Q_ROUND_TIMES,
    Q_ROUND_SWEPT,
    Q_SNAPSHOT,
    Q_MANIFEST,
    Q_LINEAGE,
    Q_DELETING,
    Q_PARTS,
    Q_DELETED,
    Q_PURGE,
    Q_PURGED,
    Q_UNPURGED,
    Q_OWED,
    Q_STRIKE,
    Q_OPERATION,
    Q_AUDIT,
    Q_BASE,
    Q_SHARED,
    Q_SHARED_USE,
    Q_SHARED_LEFT,
    Q_SHARED_AGAIN,
    Q_SHARED_DELETING,
    Q_SHARED_DELETED,
    Q_COUNT
};

#define JOB "(SELECT nr FROM job WHERE id = ?1)"
#define ARTIFACT "(SELECT nr FROM shared WHERE (job, key) = (" JOB ", ?2))"

/* nothing: what to say when the statement must change a row and does not. NULL: it need not. */
static const struct {
    const char *sql, *nothing;
} queries[Q_COUNT] = {
    [Q_BEGIN] = {"BEGIN IMMEDIATE", NULL},
    [Q_COMMIT] = {"COMMIT", NULL},
    [Q_ROLLBACK] = {"ROLLBACK", NULL},
    [Q_OWNER] = {"SELECT number, nonce FROM incarnation ORDER BY number DESC LIMIT 1", NULL},
    [Q_STORE] = {"INSERT INTO store (one, id) VALUES (1, ?1) ON CONFLICT DO NOTHING", NULL},
    [Q_IDENTITY] = {"SELECT id, applied, applied_digest FROM store", NULL},
    [Q_APPLIED] = {"UPDATE store SET applied = ?1, applied_digest = ?2",
                   "the store has no row of its own"},
    [Q_INCARNATION] = {"INSERT INTO incarnation (number, nonce, started_wall) VALUES"
                       " (max(coalesce((SELECT max(number) FROM incarnation), 0), ?1) + 1, ?2, ?1)"
                       " RETURNING number",
                       NULL},
    [Q_RESERVE] = {"UPDATE store SET reserved = max(reserved, ?1)",
                   "the store has no row of its own"},
    [Q_LEASE] = {"UPDATE store SET lease_us = max(lease_us, ?1)",
                 "the store has no row of its own"},
    [Q_JOB] = {"INSERT INTO job (id, name, state, state_wall, created_wall, fingerprint, spec)"
               " VALUES (?1, ?2, 'WAITING', ?3, ?3, ?4, ?5)",
               NULL},
    [Q_JOB_STATE] = {"UPDATE job SET state = ?2, cause = ?3, ended_snapshot = ?4, state_wall = ?5 "
                     "WHERE id = ?1",
                     "there is no such job"},
    [Q_ATTEMPT] = {"INSERT INTO attempt (job, number, incarnation, external, restored_from, "
                   "directory, begun_wall)"
                   " VALUES (" JOB ", ?2, ?3, ?4, ?5, ?6, ?7)",
                   NULL},
    [Q_MEMBER] = {"INSERT INTO attempt_member (job, attempt, worker, endpoint, boot_id, pid, "
                  "start_time, tasks, since)"
                  " VALUES (" JOB ", ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                  NULL},
    [Q_ATTEMPT_RUN] = {"UPDATE attempt SET running_wall = ?3 WHERE job = " JOB " AND number = ?2",
                       "there is no such attempt"},
    [Q_ATTEMPT_END] = {"UPDATE attempt SET ended_wall = ?3, end_reason = ?4 WHERE job = " JOB
                       " AND number = ?2",
                       "there is no such attempt"},
    [Q_ROUND_BEGIN] =
        {"INSERT INTO round (job, number, incarnation, attempt, kind, operation, directory,"
         " begun_wall, state, style, alignment, stop) VALUES (" JOB
         ", ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'begun', ?9, ?10, ?11)",
         NULL},
    /* Its begin record may never have become durable. */
    [Q_ROUND_END] =
        {"INSERT INTO round (job, number, incarnation, attempt, kind, operation, directory,"
         " begun_wall, state, ended_wall, code, reason, tasks, acked, trigger_us, acks_us, bytes, "
         "holders, style, alignment, stop, unaligned, counted, processed_bytes, persisted_bytes,"
         " align_us, turned_us)"
         " VALUES (" JOB
         ", ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20,"
         " ?21, ?22, ?23, ?24, ?25, ?26, ?27)"
         " ON CONFLICT (number) DO UPDATE SET state = excluded.state, ended_wall = "
         "excluded.ended_wall,"
         " code = excluded.code, reason = excluded.reason, tasks = excluded.tasks,"
         " acked = excluded.acked, trigger_us = excluded.trigger_us, acks_us = excluded.acks_us,"
         " bytes = excluded.bytes, holders = excluded.holders, unaligned = excluded.unaligned,"
         " counted = excluded.counted, processed_bytes = excluded.processed_bytes,"
         " persisted_bytes = excluded.persisted_bytes, align_us = excluded.align_us,"
         " turned_us = excluded.turned_us"
         " WHERE round.state = 'begun' AND round.job = excluded.job",
         NULL},
    /* Aborted before, and again since a worker still names it, or has measured more of it: the
     * first reason stays, the sweep is repeated. */
    [Q_ROUND_AGAIN] = {"UPDATE round SET swept = 0, bytes = max(ifnull(bytes, 0), ?3),"
                       " unaligned = max(unaligned, ?4),"
                       " processed_bytes = max(processed_bytes, ?5),"
                       " persisted_bytes = max(persisted_bytes, ?6),"
                       " align_us = max(align_us, ?7)"
                       " WHERE job = " JOB " AND number = ?2 AND state = 'aborted'",
                       "the round has ended before, or is another job's"},
    [Q_HOLDER] = {"INSERT INTO round_holder (round, task, uid, subtask, worker, phase)"
                  " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                  NULL},
    [Q_ROUND_TIMES] = {"UPDATE round SET commit_us = ?2, notify_us = ?3 WHERE number = ?1",
                       "there is no such round"},
    [Q_ROUND_SWEPT] = {"UPDATE round SET swept = 1 WHERE number = ?1 AND state = 'aborted'",
                       "there is no such aborted round"},
    [Q_SNAPSHOT] = {"INSERT INTO snapshot (job, round, incarnation, attempt, kind, state, owner, "
                    "directory, label,"
                    " begun_wall, completed_wall, tasks, artifacts, bytes, ended, manifest_bytes, "
                    "manifest_parts,"
                    " manifest_digest, style, unaligned, commits, imported, shared)"
                    " VALUES (" JOB ", ?2, ?3, ?4, ?5, 'retained',"
                    " iif(?5 = 'savepoint' OR ?20, 'user', 'system'),"
                    " ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)",
                    NULL},
    [Q_MANIFEST] = {"INSERT INTO manifest (snapshot, part, data) VALUES (?1, ?2, ?3)", NULL},
    [Q_LINEAGE] = {"INSERT INTO lineage (snapshot, parent, relation) VALUES (?2, ?4, iif(?4 ="
                   " (SELECT restored_from FROM attempt WHERE job = " JOB " AND number = ?3),"
                   " 'restored-from', iif(?3 IS NULL, 'copied-from', 'follows')))",
                   NULL},
    [Q_DELETING] = {"UPDATE snapshot SET state = 'deleting', deleting_wall = ?2, disposed = ?3"
                    " WHERE round = ?1",
                    "there is no such snapshot"},
    [Q_PARTS] = {"SELECT manifest_parts, manifest_bytes FROM snapshot WHERE round = ?1", NULL},
    [Q_DELETED] = {"UPDATE snapshot SET state = 'deleted', deleted_wall = ?2, manifest_parts = ?3 "
                   "WHERE round = ?1",
                   "there is no such snapshot"},
    [Q_PURGE] = {"DELETE FROM manifest WHERE snapshot = ?1 AND part = ?2", NULL},
    [Q_PURGED] = {"UPDATE snapshot SET manifest_parts = 0 WHERE round = ?1", NULL},
    [Q_UNPURGED] =
        {"SELECT round FROM snapshot WHERE state = 'deleted' AND manifest_parts > 0 LIMIT 1", NULL},
    [Q_OWED] = {"INSERT INTO owed (job, uid, subtask, round, handle) VALUES (" JOB
                ", ?2, ?3, ?4, ?5)",
                NULL},
    [Q_STRIKE] = {"DELETE FROM owed WHERE job = " JOB
                  " AND uid = ?2 AND subtask = ?3 AND round <= ?4",
                  NULL},
    [Q_OPERATION] =
        {"INSERT INTO operation (job, id, kind, state, key, snapshot, target, location, error, "
         "label,"
         " begun_wall, ended_wall, request, report, snapshot_good) VALUES (" JOB
         ", ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)"
         " ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, state = excluded.state,"
         " key = excluded.key, snapshot = excluded.snapshot, target = excluded.target,"
         " location = excluded.location, error = excluded.error, label = excluded.label,"
         " begun_wall = excluded.begun_wall, ended_wall = excluded.ended_wall,"
         " request = excluded.request, report = excluded.report,"
         " snapshot_good = excluded.snapshot_good"
         " WHERE operation.job = excluded.job",
         "the operation is another job's"},
    [Q_BASE] = {"UPDATE job SET base_since = ?2, base_snapshot = ?3, base_unmatched = ?4,"
                " base_adopted = ?5 WHERE id = ?1",
                "there is no such job"},
    [Q_SHARED] = {"INSERT INTO shared (job, key, directory, size, digest)"
                  " VALUES (" JOB ", ?2, ?3, ?4, ?5)",
                  NULL},
    [Q_SHARED_USE] = {"INSERT INTO shared_use (artifact, chain, first) VALUES (" ARTIFACT ", " JOB
                      ", ?3)",
                      NULL},
    [Q_SHARED_LEFT] = {"UPDATE shared_use SET last = ?3 WHERE artifact = " ARTIFACT
                       " AND chain = " JOB " AND last IS NULL",
                       "it is not in use"},
    [Q_SHARED_AGAIN] = {"UPDATE shared_use SET last = NULL WHERE artifact = " ARTIFACT
                        " AND chain = " JOB " AND last IS NOT NULL",
                        "it is not known, or in use"},
    [Q_SHARED_DELETING] = {"UPDATE shared SET state = 'deleting', deleting_wall = ?3"
                           " WHERE nr = " ARTIFACT,
                           "there is no such artifact"},
    [Q_SHARED_DELETED] = {"UPDATE shared SET state = 'deleted', deleted_wall = ?3"
                          " WHERE nr = " ARTIFACT,
                          "there is no such artifact"},
    [Q_AUDIT] = {"INSERT INTO audit (job, wall, who, what, detail) VALUES (" JOB
                 ", ?2, ?3, ?4, ?5)",
                 NULL},
};

static void clear_bulk(struct tide_store *s);

int tide_apply_prepare(struct tide_store *s, char why[static 512])
{
    s->statements = tide_mem_zalloc(Q_COUNT, sizeof *s->statements);
    if (!s->statements) {
        snprintf(why, 512, "%.400s: out of memory", s->path);
        return SQLITE_NOMEM;
    }
    for (int q = 0; q < Q_COUNT; q++) {
        int rc = sqlite3_prepare_v3(s->db, queries[q].sql, -1, SQLITE_PREPARE_PERSISTENT,
                                    &s->statements[q], NULL);
        if (rc) {
            snprintf(why, 512, "%.250s: its tables are not those of this version: %.100s%s",
                     s->path, sqlite3_errmsg(s->db), rc == SQLITE_ERROR ? "; " TIDE_DB_ADVICE : "");
            return rc == SQLITE_ERROR ? SQLITE_CORRUPT : rc;
        }
    }
    return SQLITE_OK;
}

void tide_apply_close(struct tide_store *s)
{
    for (int q = 0; s->statements && q < Q_COUNT; q++)
        sqlite3_finalize(s->statements[q]);
    free(s->statements);
    s->statements = NULL;
    clear_bulk(s);
    free(s->bulk);
}

/* ---- a transaction */

void tide_txn_fail(struct tide_txn *t, int rc, const char *format, ...)
{
    va_list list;
    if (t->rc) return;
    t->rc = rc;
    va_start(list, format);
    vsnprintf(t->error, sizeof t->error, format, list);
    va_end(list);
}

/* Steps once and returns the statement while it stands on a row, for a result to be read: reset it
 * then. */
static sqlite3_stmt *step(struct tide_txn *t, enum query q, const struct tide_value *values, int n)
{
    if (t->rc) return NULL;
    sqlite3_stmt *st = t->s->statements[q];
    int rc = tide_db_bind(st, values, n);
    if (rc == SQLITE_TOOBIG)
        tide_txn_fail(t, rc, "a number or a text is too large for the store");
    else if (!rc)
        rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) return st;
    if (rc != SQLITE_DONE) {
        tide_txn_fail(t, rc ? rc : SQLITE_ERROR, "%.180s", sqlite3_errmsg(t->s->db));
    } else if (queries[q].nothing && sqlite3_changes(t->s->db) == 0) {
        tide_txn_fail(t, SQLITE_CONSTRAINT, "%s", queries[q].nothing);
    }
    sqlite3_reset(st);
    return NULL;
}

#define RUN(t, q, ...)                                                                             \
    run(t, q, (const struct tide_value[]){__VA_ARGS__},                                            \
        (int)(sizeof(const struct tide_value[]){__VA_ARGS__} / sizeof(struct tide_value)))

static void run(struct tide_txn *t, enum query q, const struct tide_value *values, int n)
{
    sqlite3_stmt *st = step(t, q, values, n);
    if (st) sqlite3_reset(st);
}

void tide_txn_begin(struct tide_txn *t, struct tide_store *s)
{
    *t = (struct tide_txn){.s = s};
    if (s->open) return;
    run(t, Q_BEGIN, NULL, 0);
    s->open = !t->rc;
    if (!s->incarnation) return;
    sqlite3_stmt *st = step(t, Q_OWNER, NULL, 0);
    if (!st) return;
    uint64_t number = tide_db_num(st, 0), nonce = tide_db_num(st, 1);
    sqlite3_reset(st);
    if (number == s->incarnation && nonce == s->nonce) return;
    t->fenced = true;
    tide_txn_fail(t, SQLITE_CONSTRAINT,
                  "another daemon (incarnation %" PRIu64
                  ") has taken over the store; this one is %" PRIu64,
                  number, s->incarnation);
}

enum tide_outcome tide_txn_outcome(const struct tide_txn *t)
{
    if (t->rc == SQLITE_OK) return TIDE_STORED;
    int rc = t->rc & 0xff;
    if (t->ended) /* of COMMIT's errors only these come before anything is written that counts */
        return rc == SQLITE_CONSTRAINT || rc == SQLITE_BUSY ? TIDE_REFUSED
               : rc == SQLITE_FULL                          ? TIDE_NO_SPACE
                                                            : TIDE_UNKNOWN;
    if (t->rc == SQLITE_IOERR_NOMEM) return TIDE_NO_SPACE;
    switch (rc) {
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG:
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return TIDE_REFUSED;
    case SQLITE_FULL:
    case SQLITE_NOMEM: return TIDE_NO_SPACE;
    default: return TIDE_UNKNOWN;
    }
}

static void clear_bulk(struct tide_store *s)
{
    for (size_t i = 0; i < s->n_bulk; i++)
        free(s->bulk[i].lens);
    s->n_bulk = 0;
}

void tide_txn_rollback(struct tide_store *s)
{
    /* A rollback can want memory; what cannot be rolled back is in doubt. */
    for (int i = 0; i < 3 && !sqlite3_get_autocommit(s->db); i++) {
        sqlite3_step(s->statements[Q_ROLLBACK]);
        sqlite3_reset(s->statements[Q_ROLLBACK]);
    }
    if (!sqlite3_get_autocommit(s->db)) s->dead = true;
    s->open = false;
    s->applied = s->committed;
    clear_bulk(s);
}

enum tide_outcome tide_txn_end(struct tide_txn *t)
{
    struct tide_store *s = t->s;
    tide_txn_bulk(t, SIZE_MAX);
    if (s->applied.sequence != s->committed.sequence)
        RUN(t, Q_APPLIED, NUM(s->applied.sequence),
            BLOB(((struct tide_bytes){s->applied.digest, sizeof s->applied.digest})));
    if (!t->rc) {
        t->ended = true;
        run(t, Q_COMMIT, NULL, 0);
    }
    if (!t->rc) {
        s->open = false;
        s->committed = s->applied;
        clear_bulk(s);
        return TIDE_STORED;
    }
    enum tide_outcome outcome = tide_txn_outcome(t);
    tide_txn_rollback(s);
    if (outcome == TIDE_UNKNOWN) s->dead = true;
    return s->dead ? TIDE_UNKNOWN : outcome;
}

/* ---- the records */

static void apply_attempt(struct tide_txn *t, const struct tide_record *r)
{
    struct tide_value job = BLOB(((struct tide_bytes){r->job.b, sizeof r->job.b}));
    RUN(t, Q_ATTEMPT, job, NUM(r->attempt.attempt), NUM(r->attempt.incarnation),
        NUM(r->attempt.external), OPT(r->attempt.restored_from), TEXT(r->attempt.directory),
        NUM(r->attempt.begun_wall));
    for (uint32_t i = 0; !t->rc && i < r->attempt.n_members; i++) {
        const struct tide_member *m = &r->attempt.members[i];
        struct tide_buf tasks;
        tide_buf_init(&tasks, (size_t)64 << 20);
        for (uint32_t k = 0; k < m->n_ranges; k++) {
            char range[48];
            uint32_t first = m->ranges[2 * k], last = first + m->ranges[2 * k + 1] - 1;
            int n =
                snprintf(range, sizeof range, "%s%" PRIu32 "-%" PRIu32, k ? " " : "", first, last);
            tide_buf_put(&tasks, range, (size_t)n);
        }
        if (tasks.rc) tide_txn_fail(t, SQLITE_NOMEM, "no memory for the list of a worker's tasks");
        RUN(t, Q_MEMBER, job, NUM(r->attempt.attempt), TEXT(m->worker), BLOB(m->endpoint),
            TEXT(m->boot_id), NUM(m->pid), NUM(m->start_time),
            TEXT(((struct tide_bytes){tasks.data, tasks.len})), OPT(m->since));
        tide_buf_release(&tasks);
    }
}

static void apply_round(struct tide_txn *t, const struct tide_record *r)
{
    const struct tide_record_round *o = &r->round;
    struct tide_value job = BLOB(((struct tide_bytes){r->job.b, sizeof r->job.b}));
    struct tide_value kind = NAME(tide_kind_name(o->kind));
    struct tide_value style = NAME(tide_style_name(o->style));
    struct tide_value alignment = NAME(tide_alignment_name(o->alignment));
    struct tide_value stop = NAME(tide_stop_name(o->stop));
    if (r->type == TIDE_REC_ROUND_BEGIN) {
        RUN(t, Q_ROUND_BEGIN, job, NUM(o->number), OPT(o->incarnation), OPT(o->attempt), kind,
            OPT(o->operation), OPT_TEXT(o->directory), NUM(o->begun_wall), style, alignment, stop);
        return;
    }
    struct tide_value reason = o->complete ? OPT_TEXT((struct tide_bytes){0}) : TEXT(o->reason);
    RUN(t, Q_ROUND_END, job, NUM(o->number), OPT(o->incarnation), OPT(o->attempt), kind,
        OPT(o->operation), OPT_TEXT(o->directory), NUM(o->begun_wall),
        NAME(o->complete ? "complete" : "aborted"), NUM(o->ended_wall),
        OPT((uint64_t)(o->complete ? 0 : o->code)), reason, NUM(o->tasks), NUM(o->acked),
        NUM(o->trigger_us), NUM(o->acks_us), NUM(o->bytes), NUM(o->holders_total), style, alignment,
        stop, NUM(o->unaligned), NUM(o->counted), NUM(o->processed_bytes), NUM(o->persisted_bytes),
        NUM(o->align_us), NUM(o->turned_us));
    if (!t->rc && sqlite3_changes(t->s->db) == 0) {
        if (o->complete)
            tide_txn_fail(t, SQLITE_CONSTRAINT, "the round has ended before, or is another job's");
        RUN(t, Q_ROUND_AGAIN, job, NUM(o->number), NUM(o->bytes), NUM(o->unaligned),
            NUM(o->processed_bytes), NUM(o->persisted_bytes), NUM(o->align_us));
        return;
    }
    for (uint32_t i = 0; !t->rc && i < o->n_holders; i++) {
        const struct tide_holder *h = &o->holders[i];
        RUN(t, Q_HOLDER, NUM(o->number), NUM(h->task), TEXT(h->uid), NUM(h->subtask),
            TEXT(h->worker), TEXT(h->phase));
    }
}

/* The chunks of a large manifest stay in the journal until the transaction ends: the snapshot may
 * be gone by then. */
static void add_bulk(struct tide_txn *t, const struct tide_record *r)
{
    struct tide_store *s = t->s;
    struct tide_bulk b = {.round = r->snapshot.round, .n = r->snapshot.n_chunks};
    if (t->rc) return;
    struct tide_bulk *grown = tide_mem_realloc(s->bulk, (s->n_bulk + 1) * sizeof *grown);
    if (grown) s->bulk = grown;
    b.lens = tide_mem_zalloc(b.n, sizeof *b.lens);
    if (!grown || !b.lens) {
        free(b.lens);
        tide_txn_fail(t, SQLITE_NOMEM, "no memory for the chunks of a manifest");
        return;
    }
    for (uint32_t i = 0; i < b.n; i++)
        b.lens[i] = r->snapshot.chunks[i].len;
    s->bulk[s->n_bulk++] = b;
}

/* Forgets a snapshot's bulk. Returns how many parts of its manifest are in the database, 0: it has
 * no bulk. */
static uint32_t drop_bulk(struct tide_store *s, uint64_t round)
{
    for (size_t i = 0; i < s->n_bulk; i++) {
        if (s->bulk[i].round != round) continue;
        uint32_t parts = 1 + s->bulk[i].done;
        free(s->bulk[i].lens);
        memmove(&s->bulk[i], &s->bulk[i + 1], (s->n_bulk - i - 1) * sizeof *s->bulk);
        s->n_bulk--;
        return parts;
    }
    return 0;
}

static void bulk_chunk(struct tide_txn *t, struct tide_bulk *b, struct tide_buf *chunk)
{
    size_t len = b->lens[b->done];
    tide_buf_clear(chunk);
    uint8_t *data = tide_buf_extend(chunk, len);
    if (!data && len)
        tide_txn_fail(t, SQLITE_NOMEM, "no memory for a chunk of a manifest");
    else if (tide_journal_read(t->s->journal, b->place, data, len))
        tide_txn_fail(t, SQLITE_IOERR_READ, "the journal cannot be read");
    b->done++; /* part 0 is what is before the chunks */
    RUN(t, Q_MANIFEST, NUM(b->round), NUM(b->done), BLOB(((struct tide_bytes){data, len})));
    b->place.at += len;
}

void tide_txn_bulk(struct tide_txn *t, size_t bytes)
{
    struct tide_store *s = t->s;
    struct tide_buf chunk;
    size_t written = 0;
    tide_buf_init(&chunk, SIZE_MAX / 2);
    while (s->n_bulk && !t->rc && written < bytes) {
        struct tide_bulk *b = &s->bulk[0];
        if (b->done < b->n)
            bulk_chunk(t, b, &chunk), written += b->lens[b->done - 1];
        else
            drop_bulk(s, b->round);
    }
    tide_buf_release(&chunk);
}

/* The manifest's image in parts: what is before the acks, with them if that is little, otherwise
 * the chunks as they are. The digest that ends the image stays in the snapshot's row. */
static void apply_manifest(struct tide_txn *t, const struct tide_record *r, bool one)
{
    struct tide_buf front;
    uint64_t acks = 0, round = r->snapshot.round;
    uint32_t n = r->snapshot.n_chunks;
    tide_buf_init(&front, TIDE_MANIFEST_HEAD_MAX + ONE_PART + 64);
    for (uint32_t i = 0; i < n; i++)
        acks += r->snapshot.chunks[i].len;
    tide_manifest_put_front(&front, r->snapshot.head, acks);
    for (uint32_t i = 0; i < n && one; i++)
        tide_buf_put(&front, r->snapshot.chunks[i].data, r->snapshot.chunks[i].len);
    if (front.rc) tide_txn_fail(t, SQLITE_NOMEM, "no memory for the head of a manifest");
    RUN(t, Q_MANIFEST, NUM(round), NUM(0), BLOB(((struct tide_bytes){front.data, front.len})));
    if (!one) add_bulk(t, r);
    tide_buf_release(&front);
}

static void apply_snapshot(struct tide_txn *t, const struct tide_record *r)
{
    struct tide_value job = BLOB(((struct tide_bytes){r->job.b, sizeof r->job.b}));
    uint8_t digest[16];
    uint64_t bytes;
    if (r->snapshot.head.len > TIDE_MANIFEST_HEAD_MAX) {
        tide_txn_fail(t, SQLITE_TOOBIG, "the head of the manifest has %zu bytes, more than %zu",
                      r->snapshot.head.len, TIDE_MANIFEST_HEAD_MAX);
        return;
    }
    tide_manifest_digest(r->snapshot.head, r->snapshot.chunks, r->snapshot.n_chunks, digest,
                         &bytes);
    bool one = bytes <= ONE_PART;
    RUN(t, Q_SNAPSHOT, job, NUM(r->snapshot.round), NUM(r->snapshot.incarnation),
        OPT(r->snapshot.attempt), NAME(tide_kind_name(r->snapshot.kind)),
        TEXT(r->snapshot.directory), OPT_TEXT(r->snapshot.label), NUM(r->snapshot.begun_wall),
        NUM(r->snapshot.completed_wall), NUM(r->snapshot.tasks), NUM(r->snapshot.artifacts),
        NUM(r->snapshot.bytes), OPT_BLOB(r->snapshot.ended), NUM(bytes),
        NUM(one ? 1 : (uint64_t)r->snapshot.n_chunks + 1),
        BLOB(((struct tide_bytes){digest, sizeof digest})),
        NAME(tide_style_name(r->snapshot.style)), NUM(r->snapshot.unaligned),
        NUM(r->snapshot.commits), NUM(r->snapshot.imported), NUM(r->snapshot.shared));
    apply_manifest(t, r, one);
    if (r->snapshot.parent)
        RUN(t, Q_LINEAGE, job, NUM(r->snapshot.round), OPT(r->snapshot.attempt),
            NUM(r->snapshot.parent));
}

static uint64_t parts_of(struct tide_txn *t, uint64_t round, uint64_t *ret_bytes)
{
    const struct tide_value values[] = {NUM(round)};
    sqlite3_stmt *st = step(t, Q_PARTS, values, 1);
    uint64_t parts = st ? tide_db_num(st, 0) : 0;
    *ret_bytes = st ? tide_db_num(st, 1) : 0;
    if (st) sqlite3_reset(st);
    return parts;
}

/* Row by row: for a DELETE of several SQLite would first collect their keys in a table in memory.
 */
static void purge(struct tide_txn *t, uint64_t round, uint64_t parts)
{
    for (uint64_t i = 0; i < parts && !t->rc; i++)
        RUN(t, Q_PURGE, NUM(round), NUM(i));
}

static void apply_snapshot_state(struct tide_txn *t, const struct tide_record *r)
{
    uint64_t round = r->snapshot_state.round;
    switch (r->snapshot_state.state) {
    case TIDE_DELETING:
        RUN(t, Q_DELETING, NUM(round), NUM(r->snapshot_state.wall),
            NUM(r->snapshot_state.disposed));
        return;
    case TIDE_DELETED: break;
    default:
        tide_txn_fail(t, SQLITE_CONSTRAINT, "a snapshot moves to deleting or deleted only");
        return;
    }
    uint64_t bytes, parts = parts_of(t, round, &bytes);
    uint32_t there = drop_bulk(t->s, round); /* 1: only what is before the chunks, a few bytes */
    if (there) parts = there;
    bool later = bytes > PURGE_LATER && there != 1;
    RUN(t, Q_DELETED, NUM(round), NUM(r->snapshot_state.wall), NUM(later ? parts : 0));
    if (later)
        t->s->unpurged = true;
    else
        purge(t, round, parts);
}

static void name_artifact(struct tide_txn *t, struct tide_bytes key)
{
    char what[sizeof t->error];
    if (!t->rc) return;
    snprintf(what, sizeof what, "%.*s: %.100s", (int)(key.len < 95 ? key.len : 95),
             (const char *)key.data, t->error);
    memcpy(t->error, what, sizeof what);
}

static void apply_shared(struct tide_txn *t, const struct tide_record *r, struct tide_value job)
{
    for (uint32_t i = 0; !t->rc && i < r->shared.n_added; i++) {
        const struct tide_shared_file *f = &r->shared.added[i];
        uint8_t digest[16];
        tide_set_u64(digest, f->digest_low);
        tide_set_u64(digest + 8, f->digest_high);
        RUN(t, Q_SHARED, job, TEXT(f->key), TEXT(r->shared.directory), NUM(f->size),
            BLOB(((struct tide_bytes){digest, sizeof digest})));
        RUN(t, Q_SHARED_USE, job, TEXT(f->key), NUM(r->shared.round));
        name_artifact(t, f->key);
    }
    for (uint32_t i = 0; !t->rc && i < r->shared.n_left; i++) {
        RUN(t, Q_SHARED_LEFT, job, TEXT(r->shared.left[i]), NUM(r->shared.before));
        name_artifact(t, r->shared.left[i]);
    }
    for (uint32_t i = 0; !t->rc && i < r->shared.n_again; i++) {
        RUN(t, Q_SHARED_AGAIN, job, TEXT(r->shared.again[i]));
        name_artifact(t, r->shared.again[i]);
    }
}

static void apply_shared_state(struct tide_txn *t, const struct tide_record *r,
                               struct tide_value job)
{
    if (r->shared_state.state != TIDE_DELETING && r->shared_state.state != TIDE_DELETED)
        tide_txn_fail(t, SQLITE_CONSTRAINT, "a shared artifact moves to deleting or deleted only");
    enum query q = r->shared_state.state == TIDE_DELETING ? Q_SHARED_DELETING : Q_SHARED_DELETED;
    for (uint32_t i = 0; !t->rc && i < r->shared_state.n_keys; i++) {
        RUN(t, q, job, TEXT(r->shared_state.keys[i]), NUM(r->shared_state.wall));
        name_artifact(t, r->shared_state.keys[i]);
    }
}

static void apply_operation(struct tide_txn *t, const struct tide_record *r, struct tide_value job)
{
    RUN(t, Q_OPERATION, job, NUM(r->operation.id),
        NAME(tide_operation_kind_name(r->operation.kind)),
        NAME(tide_operation_state_name(r->operation.state)), OPT_BLOB(r->operation.key),
        OPT(r->operation.snapshot), OPT_TEXT(r->operation.target), OPT_TEXT(r->operation.location),
        OPT_TEXT(r->operation.error), OPT_TEXT(r->operation.label), NUM(r->operation.begun_wall),
        OPT(r->operation.ended_wall), OPT_BLOB(r->operation.request), OPT_TEXT(r->operation.report),
        NUM(r->operation.snapshot_good));
}

/* Every record type, and nothing else, goes through here. */
static void apply(struct tide_txn *t, const struct tide_record *r)
{
    struct tide_value job = BLOB(((struct tide_bytes){r->job.b, sizeof r->job.b}));
    switch (r->type) {
    case TIDE_REC_RESERVE: RUN(t, Q_RESERVE, NUM(r->reserve.upto)); return;
    case TIDE_REC_LEASE: RUN(t, Q_LEASE, NUM(r->lease.lease_us)); return;
    case TIDE_REC_JOB:
        RUN(t, Q_JOB, job, TEXT(r->job_new.name), NUM(r->job_new.created_wall),
            BLOB(r->job_new.fingerprint), BLOB(r->job_new.spec));
        return;
    case TIDE_REC_JOB_STATE:
        RUN(t, Q_JOB_STATE, job, NAME(tide_job_state_name(r->job_state.state)),
            OPT_TEXT(r->job_state.cause), OPT(r->job_state.snapshot), NUM(r->job_state.wall));
        return;
    case TIDE_REC_ATTEMPT: apply_attempt(t, r); return;
    case TIDE_REC_ATTEMPT_RUN:
        RUN(t, Q_ATTEMPT_RUN, job, NUM(r->attempt_run.attempt), NUM(r->attempt_run.wall));
        return;
    case TIDE_REC_ATTEMPT_END:
        RUN(t, Q_ATTEMPT_END, job, NUM(r->attempt_end.attempt), NUM(r->attempt_end.wall),
            TEXT(r->attempt_end.reason));
        return;
    case TIDE_REC_ROUND_BEGIN:
    case TIDE_REC_ROUND_END: apply_round(t, r); return;
    case TIDE_REC_ROUND_TIMES:
        RUN(t, Q_ROUND_TIMES, NUM(r->times.number), NUM(r->times.commit_us),
            NUM(r->times.notify_us));
        return;
    case TIDE_REC_ROUND_SWEPT: RUN(t, Q_ROUND_SWEPT, NUM(r->swept.number)); return;
    case TIDE_REC_SNAPSHOT: apply_snapshot(t, r); return;
    case TIDE_REC_SNAPSHOT_STATE: apply_snapshot_state(t, r); return;
    case TIDE_REC_OWED:
        RUN(t, Q_OWED, job, TEXT(r->owed.uid), NUM(r->owed.subtask), NUM(r->owed.round),
            BLOB(r->owed.handle));
        return;
    case TIDE_REC_STRIKE:
        RUN(t, Q_STRIKE, job, TEXT(r->strike.uid), NUM(r->strike.subtask), NUM(r->strike.upto));
        return;
    case TIDE_REC_OPERATION: apply_operation(t, r, job); return;
    case TIDE_REC_AUDIT:
        RUN(t, Q_AUDIT, job, NUM(r->audit.wall), TEXT(r->audit.who), TEXT(r->audit.what),
            OPT_TEXT(r->audit.detail));
        return;
    case TIDE_REC_BASE:
        RUN(t, Q_BASE, job, NUM(r->base.since), OPT(r->base.snapshot), NUM(r->base.unmatched),
            OPT_BLOB(r->base.adopted));
        return;
    case TIDE_REC_SHARED: apply_shared(t, r, job); return;
    case TIDE_REC_SHARED_STATE: apply_shared_state(t, r, job); return;
    }
    tide_txn_fail(t, SQLITE_CONSTRAINT, "record of unknown type %d", (int)r->type);
}

void tide_apply(struct tide_txn *t, const struct tide_commit *c)
{
    static const char *const names[] = {[TIDE_REC_RESERVE] = "reserve",
                                        [TIDE_REC_LEASE] = "lease",
                                        [TIDE_REC_JOB] = "job",
                                        [TIDE_REC_JOB_STATE] = "job state",
                                        [TIDE_REC_ATTEMPT] = "attempt",
                                        [TIDE_REC_ATTEMPT_RUN] = "attempt run",
                                        [TIDE_REC_ATTEMPT_END] = "attempt end",
                                        [TIDE_REC_ROUND_BEGIN] = "round begin",
                                        [TIDE_REC_ROUND_END] = "round end",
                                        [TIDE_REC_ROUND_TIMES] = "round times",
                                        [TIDE_REC_ROUND_SWEPT] = "round swept",
                                        [TIDE_REC_SNAPSHOT] = "snapshot",
                                        [TIDE_REC_OWED] = "owed commit",
                                        [TIDE_REC_SNAPSHOT_STATE] = "snapshot state",
                                        [TIDE_REC_STRIKE] = "strike",
                                        [TIDE_REC_OPERATION] = "operation",
                                        [TIDE_REC_AUDIT] = "audit",
                                        [TIDE_REC_BASE] = "base",
                                        [TIDE_REC_SHARED] = "shared artifact",
                                        [TIDE_REC_SHARED_STATE] = "shared artifact"};
    if (c->rc) tide_txn_fail(t, SQLITE_NOMEM, "no memory for the commit's records");
    for (const struct tide_record *r = c->first; r && !t->rc; r = r->next) {
        apply(t, r);
        if (!t->rc || (size_t)r->type >= sizeof names / sizeof *names || !names[r->type]) continue;
        char what[sizeof t->error];
        snprintf(what, sizeof what, "%s: %.150s", names[r->type], t->error);
        memcpy(t->error, what, sizeof what);
    }
}

void tide_apply_check(struct tide_txn *t)
{
    int open = 0, most = 0;
    if (t->rc) return;
    int rc = sqlite3_db_status(t->s->db, SQLITE_DBSTATUS_DEFERRED_FKS, &open, &most, 0);
    if (rc)
        tide_txn_fail(t, rc, "%.180s", sqlite3_errstr(rc));
    else if (open)
        tide_txn_fail(t, SQLITE_CONSTRAINT,
                      "FOREIGN KEY constraint failed: a record refers to one that is not there");
}

/* ---- what is no record */

int tide_apply_identity(struct tide_store *s)
{
    struct tide_txn t = {.s = s};
    sqlite3_stmt *st = step(&t, Q_IDENTITY, NULL, 0);
    if (!st) return t.rc;
    struct tide_bytes id = tide_db_bytes(st, 0);
    if (id.len == sizeof s->id.b) memcpy(s->id.b, id.data, sizeof s->id.b);
    s->applied = (struct tide_journal_mark){.sequence = tide_db_num(st, 1)};
    struct tide_bytes digest = tide_db_bytes(st, 2);
    if (digest.len == sizeof s->applied.digest)
        memcpy(s->applied.digest, digest.data, sizeof s->applied.digest);
    s->committed = s->applied;
    sqlite3_reset(st);
    return SQLITE_OK;
}

int tide_apply_incarnation(struct tide_store *s, uint64_t now_wall, tide_id new_store_id)
{
    struct tide_txn t;
    uint64_t incarnation = 0;
    const struct tide_value values[] = {NUM(now_wall), BITS(s->nonce)};
    tide_txn_begin(&t, s);
    RUN(&t, Q_STORE, BLOB(((struct tide_bytes){new_store_id.b, sizeof new_store_id.b})));
    sqlite3_stmt *st = step(&t, Q_INCARNATION, values, 2);
    if (st) {
        incarnation = tide_db_num(st, 0);
        if (sqlite3_step(st) != SQLITE_DONE)
            tide_txn_fail(&t, SQLITE_ERROR, "%.180s", sqlite3_errmsg(s->db));
        sqlite3_reset(st);
    }
    if (tide_txn_end(&t) == TIDE_STORED) s->incarnation = incarnation;
    return t.rc;
}

int tide_apply_purge(struct tide_store *s)
{
    struct tide_txn t;
    tide_txn_begin(&t, s);
    sqlite3_stmt *st = step(&t, Q_UNPURGED, NULL, 0);
    if (st) {
        uint64_t bytes, round = tide_db_num(st, 0);
        sqlite3_reset(st);
        purge(&t, round, parts_of(&t, round, &bytes));
        RUN(&t, Q_PURGED, NUM(round));
    } else if (!t.rc) {
        s->unpurged = false;
    }
    tide_txn_end(&t);
    return t.rc;
}
