/* What the core needs to know at start, read into one arena: a query per kind of thing, all within
 * one read transaction, jobs in order, so that each list is a run of rows.
 *
 * What can go wrong is memory, and a database that says what its own CHECKs forbid: damaged. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "proto/err.h"
#include "storage/alloc.h"
#include "storage/db.h"
#include "storage/store.h"

#define CATALOG_MAX ((size_t)16 << 30)
#define KEYS_REMEMBERED 1000

struct loader {
    struct tide_store *s;
    struct tide_catalog *c;
    int rc; /* TIDE_E, the first failure sticks */
    char *why;
};

static void stop(struct loader *l, int rc, const char *what)
{
    if (l->rc) return;
    l->rc = rc;
    snprintf(l->why, 512, "%.300s: cannot be loaded: %.150s", l->s->path, what);
}

static struct tide_bytes keep(struct loader *l, sqlite3_stmt *st, int column)
{
    struct tide_bytes from = tide_db_bytes(st, column);
    if (!from.len || l->rc) return (struct tide_bytes){0};
    const uint8_t *copy = tide_arena_copy(&l->c->arena, from.data, from.len);
    if (copy) return (struct tide_bytes){copy, from.len};
    stop(l, TIDE_ENOMEM, "out of memory");
    return (struct tide_bytes){0};
}

/* Prepares with up to two numbers bound. NULL after a failure. */
static sqlite3_stmt *query(struct loader *l, const char *sql, int64_t one, int64_t two)
{
    sqlite3_stmt *st = NULL;
    if (l->rc) return NULL;
    int rc = sqlite3_prepare_v2(l->s->db, sql, -1, &st, NULL);
    int n = rc ? 0 : sqlite3_bind_parameter_count(st);
    if (!rc && n >= 1) rc = sqlite3_bind_int64(st, 1, one);
    if (!rc && n >= 2) rc = sqlite3_bind_int64(st, 2, two);
    if (!rc) return st;
    stop(l, tide_db_code(rc), sqlite3_errmsg(l->s->db));
    sqlite3_finalize(st);
    return NULL;
}

static bool next(struct loader *l, sqlite3_stmt *st)
{
    if (l->rc || !st) return false;
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) return true;
    if (rc != SQLITE_DONE) stop(l, tide_db_code(rc), sqlite3_errmsg(l->s->db));
    return false;
}

/* Room for `count` things of a size, and the number that the query counted. NULL when there are
 * none. */
static void *room(struct loader *l, const char *sql, int64_t one, size_t size, uint32_t *ret_n)
{
    uint64_t n = 0;
    sqlite3_stmt *st = query(l, sql, one, KEYS_REMEMBERED);
    if (next(l, st)) n = tide_db_num(st, 0);
    sqlite3_finalize(st);
    *ret_n = 0;
    if (l->rc || n == 0) return NULL;
    void *p = n > UINT32_MAX || n > CATALOG_MAX / size
                  ? NULL
                  : tide_arena_zalloc(&l->c->arena, (size_t)n * size);
    if (!p)
        stop(l, TIDE_ENOMEM, "out of memory");
    else
        *ret_n = (uint32_t)n;
    return p;
}

/* The query's rows one by one, never more than were counted. */
#define EACH(l, st, i, n) for (uint32_t i = 0; i < (n) && next(l, st); i++)

/* ---- a job's parts */

/* "0-99 200-219" into pairs (first, count). */
static void ranges(struct loader *l, struct tide_bytes text, struct tide_member *m)
{
    uint32_t n = text.len ? 1 : 0, at = 0;
    for (size_t i = 0; i < text.len; i++)
        n += text.data[i] == ' ';
    uint32_t *pairs = tide_arena_zalloc(&l->c->arena, ((size_t)n + 1) * 2 * sizeof *pairs);
    if (!pairs) {
        stop(l, TIDE_ENOMEM, "out of memory");
        return;
    }
    uint64_t number = 0, first = 0;
    for (size_t i = 0; i <= text.len && n; i++) {
        uint8_t c = i < text.len ? text.data[i] : ' ';
        if (c >= '0' && c <= '9') {
            number = number * 10 + (c - '0');
        } else if (c == '-') {
            first = number;
            number = 0;
        } else {
            if (number < first || number - first >= UINT32_MAX) break;
            pairs[at++] = (uint32_t)first;
            pairs[at++] = (uint32_t)(number - first + 1);
            first = number = 0;
        }
        if (number > UINT32_MAX) break;
    }
    if (at != 2 * n) stop(l, TIDE_ECORRUPT, "the tasks of a worker are not a list of ranges");
    m->ranges = pairs;
    m->n_ranges = n;
}

static void load_attempt(struct loader *l, int64_t nr, struct tide_catalog_job *j)
{
    struct tide_catalog_attempt *a = &j->last;
    sqlite3_stmt *st =
        query(l,
              "SELECT a.number, incarnation, nonce, external, restored_from, directory,"
              " running_wall IS NOT NULL, ended_wall IS NOT NULL"
              " FROM attempt a JOIN incarnation i ON i.number = incarnation"
              " WHERE job = ?1 ORDER BY a.number DESC LIMIT 1",
              nr, 0);
    if (next(l, st)) {
        *a = (struct tide_catalog_attempt){.attempt = tide_db_num(st, 0),
                                           .incarnation = tide_db_num(st, 1),
                                           .nonce = tide_db_num(st, 2),
                                           .external = tide_db_num(st, 3),
                                           .restored_from = tide_db_num(st, 4),
                                           .directory = keep(l, st, 5),
                                           .running = tide_db_num(st, 6) != 0,
                                           .ended = tide_db_num(st, 7) != 0};
        j->attempts = a->attempt;
    }
    sqlite3_finalize(st);
    if (l->rc || !j->attempts) return;
    struct tide_member *members = room(l,
                                       "SELECT count(*) FROM attempt_member WHERE (job, attempt) = "
                                       "(?1, (SELECT max(number) FROM attempt"
                                       " WHERE job = ?1))",
                                       nr, sizeof *members, &a->n_members);
    st = query(l,
               "SELECT worker, endpoint, boot_id, pid, start_time, tasks, since FROM attempt_member"
               " WHERE job = ?1 AND attempt = ?2 ORDER BY worker",
               nr, (int64_t)j->attempts);
    EACH(l, st, i, a->n_members)
    {
        members[i] = (struct tide_member){.worker = keep(l, st, 0),
                                          .endpoint = keep(l, st, 1),
                                          .boot_id = keep(l, st, 2),
                                          .pid = (uint32_t)tide_db_num(st, 3),
                                          .start_time = tide_db_num(st, 4),
                                          .since = tide_db_num(st, 6)};
        ranges(l, tide_db_bytes(st, 5), &members[i]);
    }
    sqlite3_finalize(st);
    a->members = members;
}

/* A worker of the last attempt may still ask what has become of a savepoint's round; one that goes
 * on since an earlier attempt, of rounds from there on. */
#define KNOWN                                                                                      \
    "(state <> 'deleted' OR (kind = 'savepoint' AND"                                               \
    " attempt >= (SELECT min(coalesce(m.since, a.number)) FROM attempt a LEFT JOIN"                \
    " attempt_member m ON m.job = a.job AND m.attempt = a.number WHERE a.job = ?1"                 \
    " AND a.number = (SELECT max(number) FROM attempt WHERE job = ?1))))"

static void load_snapshots(struct loader *l, int64_t nr, struct tide_catalog_job *j)
{
    j->snapshots = room(l, "SELECT count(*) FROM snapshot WHERE job = ?1 AND " KNOWN, nr,
                        sizeof *j->snapshots, &j->n_snapshots);
    sqlite3_stmt *st = query(
        l,
        "SELECT round, incarnation, attempt, (SELECT parent FROM lineage WHERE snapshot = round),"
        " completed_wall, begun_wall, bytes, kind, state, directory, ended,"
        " (SELECT count(*) FROM owed o WHERE o.round = s.round), style = 'rendezvous', unaligned,"
        " commits, imported, shared"
        " FROM snapshot s WHERE job = ?1 AND " KNOWN " ORDER BY round",
        nr, 0);
    EACH(l, st, i, j->n_snapshots)
    {
        j->snapshots[i] =
            (struct tide_catalog_snapshot){.round = tide_db_num(st, 0),
                                           .incarnation = tide_db_num(st, 1),
                                           .attempt = tide_db_num(st, 2),
                                           .parent = tide_db_num(st, 3),
                                           .completed_wall = tide_db_num(st, 4),
                                           .begun_wall = tide_db_num(st, 5),
                                           .bytes = tide_db_num(st, 6),
                                           .kind = tide_kind_of(tide_db_bytes(st, 7)),
                                           .state = tide_snapshot_state_of(tide_db_bytes(st, 8)),
                                           .directory = keep(l, st, 9),
                                           .ended = keep(l, st, 10),
                                           .owed = (uint32_t)tide_db_num(st, 11),
                                           .style = (enum tide_style)tide_db_num(st, 12),
                                           .unaligned = tide_db_num(st, 13) != 0,
                                           .commits = tide_db_num(st, 14) != 0,
                                           .imported = tide_db_num(st, 15) != 0,
                                           .shared = tide_db_num(st, 16)};
    }
    sqlite3_finalize(st);
    st = query(l,
               "SELECT round FROM snapshot WHERE job = ?1 AND kind = 'checkpoint'"
               " AND state <> 'retained' AND imported = 0 ORDER BY round DESC LIMIT 1",
               nr, 0);
    if (next(l, st)) j->subsumed = tide_db_num(st, 0);
    sqlite3_finalize(st);
    st = query(
        l, "SELECT round FROM snapshot WHERE job = ?1 AND imported = 0 ORDER BY round DESC LIMIT 1",
        nr, 0);
    if (next(l, st)) j->completed = tide_db_num(st, 0);
    sqlite3_finalize(st);
    j->owed = room(l, "SELECT count(*) FROM owed WHERE job = ?1", nr, sizeof *j->owed, &j->n_owed);
    st = query(
        l,
        "SELECT round, uid, subtask, handle FROM owed WHERE job = ?1 ORDER BY round, uid, subtask",
        nr, 0);
    EACH(l, st, i, j->n_owed)
    {
        j->owed[i] = (struct tide_catalog_owed){.round = tide_db_num(st, 0),
                                                .uid = keep(l, st, 1),
                                                .subtask = (uint32_t)tide_db_num(st, 2),
                                                .handle = keep(l, st, 3)};
    }
    sqlite3_finalize(st);
}

static void load_shared(struct loader *l, int64_t nr, struct tide_catalog_job *j)
{
    j->shared = room(l, "SELECT count(*) FROM shared WHERE job = ?1 AND state <> 'deleted'", nr,
                     sizeof *j->shared, &j->n_shared);
    if (!j->n_shared) return;
    sqlite3_stmt *st = query(l,
                             "SELECT key, directory, size, digest, state, first, last FROM shared a"
                             " JOIN shared_use u ON artifact = nr AND chain = job"
                             " WHERE job = ?1 AND state <> 'deleted' ORDER BY nr",
                             nr, 0);
    EACH(l, st, i, j->n_shared)
    {
        struct tide_bytes digest = tide_db_bytes(st, 3);
        bool whole = digest.len == 16;
        j->shared[i] = (struct tide_catalog_shared){
            .file = {.key = keep(l, st, 0),
                     .size = tide_db_num(st, 2),
                     .digest_low = whole ? tide_get_u64(digest.data) : 0,
                     .digest_high = whole ? tide_get_u64(digest.data + 8) : 0},
            .directory = keep(l, st, 1),
            .state = tide_snapshot_state_of(tide_db_bytes(st, 4)),
            .first = tide_db_num(st, 5),
            .last = tide_db_num(st, 6)};
    }
    sqlite3_finalize(st);
}

#define UNSETTLED "(state = 'begun' OR (state = 'aborted' AND swept = 0))"

static void load_rounds(struct loader *l, int64_t nr, struct tide_catalog_job *j)
{
    j->rounds = room(l, "SELECT count(*) FROM round WHERE job = ?1 AND " UNSETTLED, nr,
                     sizeof *j->rounds, &j->n_rounds);
    sqlite3_stmt *st = query(
        l,
        "SELECT number, incarnation, attempt, operation, kind, directory, begun_wall, ended_wall,"
        " code, reason, tasks, acked, trigger_us, acks_us, bytes, holders, state = 'aborted',"
        " style = 'rendezvous', alignment, stop, unaligned, counted, processed_bytes,"
        " persisted_bytes, align_us, turned_us"
        " FROM round WHERE job = ?1 AND " UNSETTLED " ORDER BY number",
        nr, 0);
    EACH(l, st, i, j->n_rounds)
    {
        j->rounds[i].ended = tide_db_num(st, 16) != 0;
        j->rounds[i].round =
            (struct tide_record_round){.number = tide_db_num(st, 0),
                                       .incarnation = tide_db_num(st, 1),
                                       .attempt = tide_db_num(st, 2),
                                       .operation = tide_db_num(st, 3),
                                       .kind = tide_kind_of(tide_db_bytes(st, 4)),
                                       .directory = keep(l, st, 5),
                                       .begun_wall = tide_db_num(st, 6),
                                       .ended_wall = tide_db_num(st, 7),
                                       .code = (int)tide_db_num(st, 8),
                                       .reason = keep(l, st, 9),
                                       .tasks = (uint32_t)tide_db_num(st, 10),
                                       .acked = (uint32_t)tide_db_num(st, 11),
                                       .trigger_us = tide_db_num(st, 12),
                                       .acks_us = tide_db_num(st, 13),
                                       .bytes = tide_db_num(st, 14),
                                       .holders_total = (uint32_t)tide_db_num(st, 15),
                                       .style = (enum tide_style)tide_db_num(st, 17),
                                       .alignment = tide_alignment_of(tide_db_bytes(st, 18)),
                                       .stop = tide_stop_of(tide_db_bytes(st, 19)),
                                       .unaligned = tide_db_num(st, 20) != 0,
                                       .counted = tide_db_num(st, 21) != 0,
                                       .processed_bytes = tide_db_num(st, 22),
                                       .persisted_bytes = tide_db_num(st, 23),
                                       .align_us = tide_db_num(st, 24),
                                       .turned_us = tide_db_num(st, 25)};
    }
    sqlite3_finalize(st);
}

/* Those not ended, and those with one of the newest keys: a retry must find its first try. */
#define REMEMBERED                                                                                 \
    "job = ?1 AND (ended_wall IS NULL OR id IN"                                                    \
    " (SELECT id FROM operation WHERE job = ?1 AND key IS NOT NULL ORDER BY id DESC LIMIT ?2))"

static void load_operations(struct loader *l, int64_t nr, struct tide_catalog_job *j)
{
    j->operations = room(l, "SELECT count(*) FROM operation WHERE " REMEMBERED, nr,
                         sizeof *j->operations, &j->n_operations);
    sqlite3_stmt *st =
        query(l,
              "SELECT id, snapshot, begun_wall, ended_wall, kind, state, key, target, location,"
              " error, label, request, report, snapshot_good FROM operation WHERE " REMEMBERED
              " ORDER BY id",
              nr, KEYS_REMEMBERED);
    EACH(l, st, i, j->n_operations)
    {
        j->operations[i] =
            (struct tide_catalog_operation){.id = tide_db_num(st, 0),
                                            .snapshot = tide_db_num(st, 1),
                                            .begun_wall = tide_db_num(st, 2),
                                            .ended_wall = tide_db_num(st, 3),
                                            .kind = tide_operation_kind_of(tide_db_bytes(st, 4)),
                                            .state = tide_operation_state_of(tide_db_bytes(st, 5)),
                                            .key = keep(l, st, 6),
                                            .target = keep(l, st, 7),
                                            .location = keep(l, st, 8),
                                            .error = keep(l, st, 9),
                                            .label = keep(l, st, 10),
                                            .request = keep(l, st, 11),
                                            .report = keep(l, st, 12),
                                            .snapshot_good = tide_db_num(st, 13) != 0};
    }
    sqlite3_finalize(st);
}

/* ---- the whole */

/* SQLite sees that its structures are damaged, not what stands in them. */
static void check_spec(struct loader *l, const struct tide_catalog_job *j,
                       struct tide_bytes fingerprint)
{
    uint8_t digest[16];
    char what[150];
    XXH128_hash_t h = XXH3_128bits(j->spec.data, j->spec.len);
    tide_set_u64(digest, h.low64);
    tide_set_u64(digest + 8, h.high64);
    if (l->rc || tide_bytes_equal(fingerprint, (struct tide_bytes){digest, sizeof digest})) return;
    snprintf(what, sizeof what, "the spec of job %.*s is damaged; " TIDE_DB_ADVICE,
             j->name.len > 48 ? 48 : (int)j->name.len, (const char *)j->name.data);
    stop(l, TIDE_ECORRUPT, what);
}

static void load_jobs(struct loader *l)
{
    struct tide_catalog *c = l->c;
    c->jobs = room(l, "SELECT count(*) FROM job", 0, sizeof *c->jobs, &c->n_jobs);
    sqlite3_stmt *st =
        query(l,
              "SELECT nr, id, name, spec, cause, state, created_wall, ended_snapshot, fingerprint,"
              " base_since, base_snapshot, base_unmatched, base_adopted"
              " FROM job ORDER BY nr",
              0, 0);
    EACH(l, st, i, c->n_jobs)
    {
        struct tide_catalog_job *j = &c->jobs[i];
        int64_t nr = (int64_t)tide_db_num(st, 0);
        struct tide_bytes id = tide_db_bytes(st, 1);
        if (id.len == sizeof j->id.b) memcpy(j->id.b, id.data, sizeof j->id.b);
        j->name = keep(l, st, 2);
        j->spec = keep(l, st, 3);
        j->cause = keep(l, st, 4);
        j->state = tide_job_state_of(tide_db_bytes(st, 5));
        j->created_wall = tide_db_num(st, 6);
        j->ended_snapshot = tide_db_num(st, 7);
        j->base_since = tide_db_num(st, 9);
        j->base_snapshot = tide_db_num(st, 10);
        j->base_unmatched = tide_db_num(st, 11) != 0;
        j->base_adopted = keep(l, st, 12);
        check_spec(l, j, tide_db_bytes(st, 8));
        load_attempt(l, nr, j);
        load_snapshots(l, nr, j);
        load_shared(l, nr, j);
        load_rounds(l, nr, j);
        load_operations(l, nr, j);
    }
    sqlite3_finalize(st);
}

static void load_store(struct loader *l)
{
    struct tide_catalog *c = l->c;
    sqlite3_stmt *st = query(
        l, "SELECT id, reserved, lease_us, (SELECT max(external) FROM attempt) FROM store", 0, 0);
    if (next(l, st)) {
        struct tide_bytes id = tide_db_bytes(st, 0);
        if (id.len == sizeof c->store_id.b) memcpy(c->store_id.b, id.data, sizeof c->store_id.b);
        c->reserved = tide_db_num(st, 1);
        c->lease_us = tide_db_num(st, 2);
        c->external = tide_db_num(st, 3);
    } else {
        stop(l, TIDE_ECORRUPT, "it has no store id");
    }
    sqlite3_finalize(st);
    c->incarnations =
        room(l, "SELECT count(*) FROM incarnation", 0, sizeof *c->incarnations, &c->n_incarnations);
    st = query(l, "SELECT number, nonce FROM incarnation ORDER BY number", 0, 0);
    EACH(l, st, i, c->n_incarnations)
    {
        c->incarnations[i] =
            (struct tide_catalog_incarnation){tide_db_num(st, 0), tide_db_num(st, 1)};
    }
    sqlite3_finalize(st);
    c->incarnation = l->s->incarnation;
    c->nonce = l->s->nonce;
}

int tide_store_load(struct tide_store *s, struct tide_catalog **ret, char why[static 512])
{
    struct loader l = {.s = s, .why = why, .c = tide_mem_zalloc(1, sizeof *l.c)};
    if (!l.c) {
        stop(&l, TIDE_ENOMEM, "out of memory");
        return l.rc;
    }
    tide_arena_init(&l.c->arena, CATALOG_MAX);
    int rc = tide_store_settle(s);
    if (rc) stop(&l, rc, "what is stored cannot be brought into it");
    rc = l.rc ? SQLITE_OK : sqlite3_exec(s->db, "BEGIN", NULL, NULL, NULL);
    if (rc) stop(&l, tide_db_code(rc), sqlite3_errmsg(s->db));
    load_store(&l);
    load_jobs(&l);
    /* Ending it can want memory as well, and a commit could not begin within it. */
    for (int i = 0; i < 3 && !sqlite3_get_autocommit(s->db); i++)
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    if (l.rc) {
        tide_catalog_free(l.c);
        return l.rc;
    }
    *ret = l.c;
    return 0;
}

void tide_catalog_free(struct tide_catalog *c)
{
    if (!c) return;
    tide_arena_release(&c->arena);
    free(c);
}
