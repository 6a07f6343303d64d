/* Answers to admins, read from the database by a connection of its own that cannot write.
 *
 * The usual way: one read transaction per question, so that an answer is of one moment; rows become
 * messages one by one. Lists end at their limit or at 8 MiB, and then say that there is more.
 *
 * What can go wrong: memory (no answer at all), a question that makes no sense or names what is not
 * there (an error for the person), an interruption from the host since it takes too long, a damaged
 * file. */
#include "storage/reader.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "proto/err.h"
#include "storage/alloc.h"

#define LIST_MAX 1000u
#define LIST_USUAL 100u
#define STEPS_MAX 10000u /* of a lineage */
#define IMAGE_MAX ((size_t)16 << 30)

int tide_reader_open(const char *directory, struct tide_reader **ret, char why[static 512])
{
    struct tide_reader *r = tide_mem_zalloc(1, sizeof *r);
    int64_t version = 0;
    if (!r) {
        snprintf(why, 512, "%.300s: out of memory", directory);
        return TIDE_ENOMEM;
    }
    int rc = tide_db_open(directory, SQLITE_OPEN_READONLY, &r->db, r->path, sizeof r->path, why);
    if (!rc) {
        rc = tide_db_code(tide_db_pragma(r->db, "PRAGMA user_version", &version));
        if (rc)
            snprintf(why, 512, "%.300s: cannot be read: %.150s", r->path, sqlite3_errmsg(r->db));
    }
    if (!rc && version != tide_schema_version()) {
        snprintf(why, 512,
                 "%.300s: its tables have version %" PRId64 ", this program reads version %d",
                 r->path, version, tide_schema_version());
        rc = TIDE_EVERSION;
    }
    if (rc) {
        tide_reader_close(r);
        return rc;
    }
    *ret = r;
    return 0;
}

void tide_reader_close(struct tide_reader *r)
{
    if (!r) return;
    sqlite3_close(r->db);
    free(r);
}

void tide_reader_interrupt(struct tide_reader *r)
{
    atomic_store(&r->stop, true);
    sqlite3_interrupt(r->db);
}

/* ---- building */

void *tide_answer_new(struct tide_answer *a, size_t n, size_t size)
{
    void *p = a->no_memory ? NULL : tide_mem_zalloc(n, size);
    if (!p) a->no_memory = true;
    a->bytes += size; /* stands for the small fields of a message */
    return p;
}

void tide_answer_set(struct tide_answer *a, ProtobufCBinaryData *field, struct tide_bytes bytes)
{
    if (!bytes.len || a->no_memory) return;
    field->data = tide_mem_alloc(bytes.len);
    if (!field->data) {
        a->no_memory = true;
        return;
    }
    memcpy(field->data, bytes.data, bytes.len);
    field->len = bytes.len;
    a->bytes += bytes.len;
}

void tide_answer_error(struct tide_answer *a, Tide__ErrorCode code, const char *format, ...)
{
    va_list list;
    if (tide_answer_ends(a)) return;
    a->failed = true;
    a->code = code;
    va_start(list, format);
    vsnprintf(a->text, sizeof a->text, format, list);
    va_end(list);
}

/* The error in place of what there was so far. */
static void put_error(struct tide_answer *a)
{
    Tide__Error *error = tide_answer_new(a, 1, sizeof *error);
    tide__response__free_unpacked(a->response, NULL);
    a->response = tide_answer_new(a, 1, sizeof *a->response);
    if (!a->response) {
        free(error);
        return;
    }
    tide__response__init(a->response);
    tide__error__init(error);
    a->response->result_case = TIDE__RESPONSE__RESULT_ERROR;
    a->response->error = error;
    error->code = a->code;
    tide_answer_set(a, &error->text, tide_bytes_of(a->text));
}

void tide_answer_sqlite(struct tide_answer *a, int rc)
{
    int code = tide_db_code(rc);
    if (code == TIDE_ENOMEM)
        a->no_memory = true;
    else if (code == TIDE_ECLOSED)
        tide_answer_error(a, TIDE__ERROR_CODE__ERROR_BUSY,
                          "the answer took too long and was given up; ask for less");
    else
        tide_answer_error(a, TIDE__ERROR_CODE__ERROR_INTERNAL, "the store cannot be read: %.200s",
                          sqlite3_errmsg(a->r->db));
}

sqlite3_stmt *tide_answer_query(struct tide_answer *a, const char *sql,
                                const struct tide_value *values, int n)
{
    sqlite3_stmt *st = NULL;
    if (tide_answer_ends(a)) return NULL;
    int rc = sqlite3_prepare_v2(a->r->db, sql, -1, &st, NULL);
    if (!rc) rc = tide_db_bind(st, values, n);
    if (!rc) return st;
    tide_answer_sqlite(a, rc);
    sqlite3_finalize(st);
    return NULL;
}

bool tide_answer_next(struct tide_answer *a, sqlite3_stmt *st)
{
    if (!st || tide_answer_ends(a)) return false;
    int rc = atomic_load(&a->r->stop) ? SQLITE_INTERRUPT : sqlite3_step(st);
    if (rc == SQLITE_ROW) return true;
    if (rc != SQLITE_DONE) tide_answer_sqlite(a, rc);
    return false;
}

/* Numbers of the database are at most INT64_MAX; one from a request need not be. */
static uint64_t bounded(uint64_t number)
{
    return number > INT64_MAX ? INT64_MAX : number;
}

static bool limit_of(struct tide_answer *a, uint32_t *limit)
{
    if (*limit > LIST_MAX)
        tide_answer_error(a, TIDE__ERROR_CODE__ERROR_INVALID,
                          "a limit of %" PRIu32 " is above %u, the most at once", *limit, LIST_MAX);
    if (*limit == 0) *limit = LIST_USUAL;
    return !tide_answer_ends(a);
}

static int hex(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* A job by its name, or by its id in 32 hex digits. 0 after an error. */
static uint64_t find_job(struct tide_answer *a, ProtobufCBinaryData name)
{
    struct tide_bytes text = {name.data, name.len};
    uint8_t id[16] = {0};
    uint64_t nr = 0;
    bool is_id = text.len == 32;
    for (size_t i = 0; is_id && i < 32; i++) {
        int digit = hex(text.data[i]);
        if (digit < 0) is_id = false;
        id[i / 2] = (uint8_t)(id[i / 2] << 4 | (digit & 15));
    }
    const struct tide_value values[] = {TEXT(text),
                                        BLOB(((struct tide_bytes){id, is_id ? sizeof id : 0}))};
    sqlite3_stmt *st = tide_answer_query(
        a, "SELECT nr FROM job WHERE name = ?1 OR id = ?2 ORDER BY name = ?1 DESC", values, 2);
    if (tide_answer_next(a, st)) nr = tide_db_num(st, 0);
    sqlite3_finalize(st);
    /* the answer holds texts alone, and a name has at most 255 bytes */
    if (text.len == 0 || text.len > 255 || !tide_text_valid(text))
        text = tide_bytes_of(text.len ? "?" : "");
    if (!nr)
        tide_answer_error(a, TIDE__ERROR_CODE__ERROR_NOT_FOUND, "there is no job \"%.*s\"",
                          (int)text.len, (const char *)text.data);
    return nr;
}

/* ---- snapshots */

Tide__SnapshotInfo *tide_answer_snapshot(struct tide_answer *a, sqlite3_stmt *st)
{
    Tide__SnapshotInfo *i = tide_answer_new(a, 1, sizeof *i);
    if (!i) return NULL;
    tide__snapshot_info__init(i);
    i->snapshot = tide_db_num(st, 0);
    i->incarnation = tide_db_num(st, 1);
    tide_answer_set(a, &i->job, tide_db_bytes(st, 2));
    i->kind = (Tide__RoundKind)tide_kind_of(tide_db_bytes(st, 3));
    tide_answer_set(a, &i->state, tide_db_bytes(st, 4));
    tide_answer_set(a, &i->owner, tide_db_bytes(st, 5));
    tide_answer_set(a, &i->directory, tide_db_bytes(st, 6));
    i->attempt = tide_db_num(st, 7);
    i->begun_wall_us = tide_db_num(st, 8);
    i->completed_wall_us = tide_db_num(st, 9);
    i->tasks = (uint32_t)tide_db_num(st, 10);
    i->artifacts = tide_db_num(st, 11);
    i->bytes = tide_db_num(st, 12);
    i->manifest_bytes = tide_db_num(st, 13);
    i->parent = tide_db_num(st, 14);
    tide_answer_set(a, &i->label, tide_db_bytes(st, 15));
    i->owed = (uint32_t)tide_db_num(st, 16);
    i->commits = tide_db_num(st, 17) != 0;
    i->unaligned = tide_db_num(st, 18) != 0;
    i->imported = tide_db_num(st, 19) != 0;
    i->style = (Tide__RoundStyle)tide_db_num(st, 20);
    return i;
}

#define SNAPSHOTS "SELECT " TIDE_SNAPSHOT_COLUMNS " FROM snapshot s JOIN job j ON j.nr = s.job"

static void answer_snapshots(struct tide_answer *a, const Tide__ListSnapshots *q)
{
    /* Deleted ones are most of a long life: without them the index of those kept is walked. */
    static const char *const sql[2][2] = {
        {SNAPSHOTS
         " WHERE s.state <> 'deleted' AND s.state = 'retained' AND s.round < ?2 AND ?1 = 0"
         " ORDER BY s.round DESC",
         SNAPSHOTS
         " WHERE s.state <> 'deleted' AND s.state = 'retained' AND s.job = ?1 AND s.round < ?2"
         " ORDER BY s.round DESC"},
        {SNAPSHOTS " WHERE s.round < ?2 AND ?1 = 0 ORDER BY s.round DESC",
         /* what was imported has no round: two ordered lists, merged */
         "SELECT " TIDE_SNAPSHOT_COLUMNS " FROM round r CROSS JOIN snapshot s ON s.round = r.number"
         " JOIN job j ON j.nr = s.job WHERE r.job = ?1 AND r.number < ?2"
         " UNION ALL " SNAPSHOTS
         " WHERE s.imported = 1 AND s.job = ?1 AND s.round < ?2 ORDER BY 1 DESC"}};
    uint32_t limit = q->limit;
    uint64_t job = 0, before = q->before ? bounded(q->before) : INT64_MAX;
    if (!limit_of(a, &limit)) return;
    if (q->job.len) job = find_job(a, q->job);
    Tide__SnapshotList *list = tide_answer_new(a, 1, sizeof *list);
    if (!list || tide_answer_ends(a)) {
        free(list);
        return;
    }
    tide__snapshot_list__init(list);
    a->response->result_case = TIDE__RESPONSE__RESULT_SNAPSHOTS;
    a->response->snapshots = list;
    list->snapshots = tide_answer_new(a, limit, sizeof *list->snapshots);
    const struct tide_value values[] = {NUM(job), NUM(before)};
    sqlite3_stmt *st = tide_answer_query(a, sql[q->deleted != 0][job != 0], values, 2);
    while (tide_answer_next(a, st)) {
        if (list->n_snapshots == limit || a->bytes > TIDE_ANSWER_MAX) {
            list->more = 1;
            break;
        }
        Tide__SnapshotInfo *info = tide_answer_snapshot(a, st);
        if (info) list->snapshots[list->n_snapshots++] = info;
    }
    sqlite3_finalize(st);
}

static void answer_snapshot(struct tide_answer *a, const Tide__ShowSnapshot *q)
{
    Tide__SnapshotDetail *detail = tide_answer_new(a, 1, sizeof *detail);
    if (!detail) return;
    tide__snapshot_detail__init(detail);
    a->response->result_case = TIDE__RESPONSE__RESULT_SNAPSHOT;
    a->response->snapshot = detail;
    const struct tide_value values[] = {NUM(bounded(q->snapshot))};
    sqlite3_stmt *st = tide_answer_query(a, SNAPSHOTS " WHERE s.round = ?1", values, 1);
    if (tide_answer_next(a, st))
        detail->info = tide_answer_snapshot(a, st);
    else
        tide_answer_error(a, TIDE__ERROR_CODE__ERROR_NOT_FOUND, "there is no snapshot %" PRIu64,
                          q->snapshot);
    sqlite3_finalize(st);
    if (!tide_answer_ends(a) && q->limit) tide_answer_tasks(a, detail, q);
}

static uint64_t newest_of(struct tide_answer *a, ProtobufCBinaryData name)
{
    uint64_t round = 0;
    const struct tide_value values[] = {NUM(find_job(a, name))};
    sqlite3_stmt *st = tide_answer_query(
        a,
        "SELECT coalesce((SELECT max(round) FROM snapshot WHERE job = ?1"
        " AND state <> 'deleted' AND imported = 0), (SELECT max(round) FROM snapshot"
        " WHERE job = ?1))",
        values, 1);
    if (tide_answer_next(a, st)) round = tide_db_num(st, 0);
    sqlite3_finalize(st);
    if (!round)
        tide_answer_error(a, TIDE__ERROR_CODE__ERROR_NOT_FOUND, "job \"%.*s\" has no snapshot yet",
                          name.len > 255 ? 255 : (int)name.len, (const char *)name.data);
    return round;
}

static void answer_lineage(struct tide_answer *a, const Tide__Lineage *q)
{
    uint64_t round = q->snapshot || !q->job.len ? bounded(q->snapshot) : newest_of(a, q->job);
    if (tide_answer_ends(a)) return;
    Tide__LineageList *list = tide_answer_new(a, 1, sizeof *list);
    if (!list) return;
    tide__lineage_list__init(list);
    a->response->result_case = TIDE__RESPONSE__RESULT_LINEAGE;
    a->response->lineage = list;
    list->steps = tide_answer_new(a, STEPS_MAX, sizeof *list->steps);
    sqlite3_stmt *st =
        tide_answer_query(a,
                          "SELECT " TIDE_SNAPSHOT_COLUMNS
                          ", (SELECT relation FROM lineage l WHERE l.snapshot = s.round)"
                          " FROM snapshot s JOIN job j ON j.nr = s.job WHERE s.round = ?1",
                          NULL, 0);
    while (st && round && list->n_steps < STEPS_MAX && a->bytes < TIDE_ANSWER_MAX) {
        const struct tide_value values[] = {NUM(round)};
        sqlite3_reset(st);
        tide_db_bind(st, values, 1);
        if (!tide_answer_next(a, st)) break;
        Tide__LineageStep *step = tide_answer_new(a, 1, sizeof *step);
        if (!step) break;
        tide__lineage_step__init(step);
        list->steps[list->n_steps++] = step;
        step->info = tide_answer_snapshot(a, st);
        tide_answer_set(a, &step->relation, tide_db_bytes(st, TIDE_SNAPSHOT_COLUMN_COUNT));
        round = step->info ? step->info->parent : 0;
    }
    sqlite3_finalize(st);
    if (!tide_answer_ends(a) && list->n_steps == 0)
        tide_answer_error(a, TIDE__ERROR_CODE__ERROR_NOT_FOUND, "there is no snapshot %" PRIu64,
                          q->snapshot);
}

/* ---- rounds */

/* An external part: it stands behind the job's last task, and its kind in the place of a subtask.
 */
static Tide__External *holder_part(struct tide_answer *a, Tide__RoundHolder *h)
{
    Tide__External *e = tide_answer_new(a, 1, sizeof *e);
    if (!e) return NULL;
    tide__external__init(e);
    e->kind = (Tide__ExternalKind)h->subtask;
    e->name = h->operator_uid;
    h->operator_uid = (ProtobufCBinaryData){0};
    h->task = h->subtask = 0;
    return e;
}

static void fill_holders(struct tide_answer *a, Tide__RoundInfo *i)
{
    const struct tide_value values[] = {NUM(i->round)};
    i->held_by = tide_answer_new(a, LIST_USUAL, sizeof *i->held_by);
    sqlite3_stmt *st =
        tide_answer_query(a,
                          "SELECT task, uid, subtask, worker, phase FROM round_holder"
                          " WHERE round = ?1 ORDER BY task LIMIT 100",
                          values, 1);
    while (i->n_held_by < LIST_USUAL && tide_answer_next(a, st)) {
        Tide__RoundHolder *h = tide_answer_new(a, 1, sizeof *h);
        if (!h) break;
        tide__round_holder__init(h);
        i->held_by[i->n_held_by++] = h;
        h->task = (uint32_t)tide_db_num(st, 0);
        tide_answer_set(a, &h->operator_uid, tide_db_bytes(st, 1));
        h->subtask = (uint32_t)tide_db_num(st, 2);
        if (h->task >= i->tasks) h->external = holder_part(a, h);
        tide_answer_set(a, &h->worker, tide_db_bytes(st, 3));
        tide_answer_set(a, &h->phase, tide_db_bytes(st, 4));
    }
    sqlite3_finalize(st);
}

static Tide__RoundInfo *round_info(struct tide_answer *a, sqlite3_stmt *st)
{
    Tide__RoundInfo *i = tide_answer_new(a, 1, sizeof *i);
    if (!i) return NULL;
    tide__round_info__init(i);
    i->round = tide_db_num(st, 0);
    i->incarnation = tide_db_num(st, 1);
    i->attempt = tide_db_num(st, 2);
    i->kind = (Tide__RoundKind)tide_kind_of(tide_db_bytes(st, 3));
    /* What the store knows as begun is under way; how far, only the core can tell. */
    struct tide_bytes state = tide_db_bytes(st, 4);
    tide_answer_set(a, &i->state,
                    tide_bytes_equal(state, tide_bytes_of("begun")) ? tide_bytes_of("collecting")
                                                                    : state);
    i->begun_wall_us = tide_db_num(st, 5);
    i->ended_wall_us = tide_db_num(st, 6);
    i->tasks = (uint32_t)tide_db_num(st, 7);
    i->acked = (uint32_t)tide_db_num(st, 8);
    i->trigger_us = tide_db_num(st, 9);
    i->acks_us = tide_db_num(st, 10);
    i->commit_us = tide_db_num(st, 11);
    i->notify_us = tide_db_num(st, 12);
    i->bytes = tide_db_num(st, 13);
    tide_answer_set(a, &i->reason, tide_db_bytes(st, 14));
    i->held_by_count = (uint32_t)tide_db_num(st, 15);
    tide_answer_set(a, &i->job, tide_db_bytes(st, 16));
    i->operation = tide_db_num(st, 17);
    i->style = (Tide__RoundStyle)tide_db_num(st, 18);
    i->alignment = (Tide__Alignment)tide_alignment_of(tide_db_bytes(st, 19));
    i->stop = (Tide__StopMode)tide_stop_of(tide_db_bytes(st, 20));
    i->unaligned = tide_db_num(st, 21) != 0;
    i->counted = tide_db_num(st, 22) != 0;
    i->processed_bytes = tide_db_num(st, 23);
    i->persisted_bytes = tide_db_num(st, 24);
    i->code = (uint32_t)tide_db_num(st, 25);
    i->align_us = tide_db_num(st, 26);
    i->turned_us = tide_db_num(st, 27);
    if (i->held_by_count) fill_holders(a, i);
    return i;
}

#define ROUNDS                                                                                     \
    "SELECT r.number, r.incarnation, r.attempt, r.kind, r.state, r.begun_wall, r.ended_wall, "     \
    "r.tasks,"                                                                                     \
    " r.acked, r.trigger_us, r.acks_us, r.commit_us, r.notify_us, r.bytes, r.reason, r.holders, "  \
    "j.name,"                                                                                      \
    " r.operation, r.style = 'rendezvous', r.alignment, r.stop, r.unaligned, r.counted,"           \
    " r.processed_bytes, r.persisted_bytes, r.code, r.align_us, r.turned_us FROM round r JOIN "    \
    "job j ON j.nr = r.job WHERE "

static void answer_rounds(struct tide_answer *a, const Tide__ListRounds *q)
{
    uint32_t limit = q->limit;
    uint64_t job = 0, before = q->before ? bounded(q->before) : INT64_MAX;
    if (!limit_of(a, &limit)) return;
    if (q->job.len) job = find_job(a, q->job);
    Tide__RoundList *list = tide_answer_new(a, 1, sizeof *list);
    if (!list || tide_answer_ends(a)) {
        free(list);
        return;
    }
    tide__round_list__init(list);
    a->response->result_case = TIDE__RESPONSE__RESULT_ROUNDS;
    a->response->rounds = list;
    list->rounds = tide_answer_new(a, limit, sizeof *list->rounds);
    const struct tide_value values[] = {NUM(job), NUM(before)};
    sqlite3_stmt *st =
        tide_answer_query(a,
                          job ? ROUNDS "r.job = ?1 AND r.number < ?2 ORDER BY r.number DESC"
                              : ROUNDS "r.number < ?2 AND ?1 = 0 ORDER BY r.number DESC",
                          values, 2);
    while (tide_answer_next(a, st)) {
        if (list->n_rounds == limit || a->bytes > TIDE_ANSWER_MAX) {
            list->more = 1;
            break;
        }
        Tide__RoundInfo *info = round_info(a, st);
        if (info) list->rounds[list->n_rounds++] = info;
    }
    sqlite3_finalize(st);
}

/* ---- operations */

/* One entry per line. */
static void fill_report(struct tide_answer *a, Tide__Operation *o, struct tide_bytes text)
{
    size_t lines = 0;
    for (size_t i = 0; i < text.len; i++)
        lines += text.data[i] == '\n';
    if (!text.len) return;
    o->report = tide_answer_new(a, lines + 1, sizeof *o->report);
    while (o->report && text.len) {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        size_t len = end ? (size_t)(end - text.data) : text.len;
        tide_answer_set(a, &o->report[o->n_report++], (struct tide_bytes){text.data, len});
        size_t past = end ? len + 1 : len;
        text = (struct tide_bytes){text.data + past, text.len - past};
    }
}

static void answer_wait(struct tide_answer *a, const Tide__WaitOperation *q)
{
    const struct tide_value values[] = {NUM(bounded(q->operation))};
    Tide__Operation *o = tide_answer_new(a, 1, sizeof *o);
    if (!o) return;
    tide__operation__init(o);
    a->response->result_case = TIDE__RESPONSE__RESULT_OPERATION;
    a->response->operation = o;
    sqlite3_stmt *st =
        tide_answer_query(a,
                          "SELECT o.id, o.kind, j.name, o.state, o.snapshot, o.location, o.error,"
                          " r.tasks, r.acked, o.begun_wall, o.ended_wall, o.snapshot_good, o.report"
                          " FROM operation o"
                          " JOIN job j ON j.nr = o.job LEFT JOIN round r ON r.number = o.snapshot"
                          " WHERE o.id = ?1",
                          values, 1);
    if (tide_answer_next(a, st)) {
        o->id = tide_db_num(st, 0);
        tide_answer_set(a, &o->kind, tide_db_bytes(st, 1));
        tide_answer_set(a, &o->job, tide_db_bytes(st, 2));
        tide_answer_set(a, &o->state, tide_db_bytes(st, 3));
        o->snapshot = tide_db_num(st, 4);
        tide_answer_set(a, &o->location, tide_db_bytes(st, 5));
        tide_answer_set(a, &o->error, tide_db_bytes(st, 6));
        o->tasks = (uint32_t)tide_db_num(st, 7);
        o->acked = (uint32_t)tide_db_num(st, 8);
        o->begun_wall_us = tide_db_num(st, 9);
        o->ended_wall_us = tide_db_num(st, 10);
        o->snapshot_good = tide_db_num(st, 11) != 0;
        fill_report(a, o, tide_db_bytes(st, 12));
    } else {
        tide_answer_error(a, TIDE__ERROR_CODE__ERROR_NOT_FOUND, "there is no operation %" PRIu64,
                          q->operation);
    }
    sqlite3_finalize(st);
}

/* ---- the questions */

Tide__Response *tide_reader_answer(struct tide_reader *r, const Tide__Request *request)
{
    struct tide_answer a = {.r = r};
    atomic_store(&r->stop, false);
    a.response = tide_answer_new(&a, 1, sizeof *a.response);
    if (!a.response) return NULL;
    tide__response__init(a.response);
    int rc = sqlite3_exec(r->db, "BEGIN", NULL, NULL, NULL);
    if (rc) tide_answer_sqlite(&a, rc);
    switch (tide_answer_ends(&a) ? TIDE__REQUEST__CALL__NOT_SET : request->call_case) {
    case TIDE__REQUEST__CALL_SNAPSHOTS: answer_snapshots(&a, request->snapshots); break;
    case TIDE__REQUEST__CALL_SNAPSHOT: answer_snapshot(&a, request->snapshot); break;
    case TIDE__REQUEST__CALL_LINEAGE: answer_lineage(&a, request->lineage); break;
    case TIDE__REQUEST__CALL_ROUNDS: answer_rounds(&a, request->rounds); break;
    case TIDE__REQUEST__CALL_WAIT: answer_wait(&a, request->wait); break;
    default:
        tide_answer_error(&a, TIDE__ERROR_CODE__ERROR_UNSUPPORTED,
                          "this call is not answered by the store");
    }
    if (!sqlite3_get_autocommit(r->db)) sqlite3_exec(r->db, "ROLLBACK", NULL, NULL, NULL);
    if (a.failed && !a.no_memory) put_error(&a);
    if (a.no_memory && a.response) {
        tide__response__free_unpacked(a.response, NULL);
        a.response = NULL;
    }
    return a.response;
}

/* ---- manifests */

static int no_manifest(int rc, char why[static 256], const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int no_manifest(int rc, char why[static 256], const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(why, 256, format, list);
    va_end(list);
    return rc;
}

/* Joins the parts, as many as there must be, and puts the digest behind them. */
static int join(struct tide_reader *r, uint64_t round, sqlite3_stmt *info, struct tide_buf *ret,
                char why[static 256])
{
    uint64_t bytes = tide_db_num(info, 0), parts = tide_db_num(info, 1);
    struct tide_bytes digest = tide_db_bytes(info, 2);
    if (parts == 0)
        return no_manifest(TIDE_ENOTFOUND, why, "snapshot %" PRIu64 " is deleted", round);
    if (bytes > ret->max || bytes > SIZE_MAX / 2)
        return no_manifest(TIDE_ENOMEM, why,
                           "the manifest of snapshot %" PRIu64 " takes %" PRIu64 " bytes", round,
                           bytes);
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(
        r->db, "SELECT part, data FROM manifest WHERE snapshot = ?1 ORDER BY part", -1, &st, NULL);
    if (!rc) rc = sqlite3_bind_int64(st, 1, (sqlite3_int64)round);
    uint64_t n = 0;
    while (!rc && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        struct tide_bytes data = tide_db_bytes(st, 1);
        if (tide_db_num(st, 0) != n++ || data.len > bytes - ret->len) break;
        tide_buf_put(ret, data.data, data.len);
        rc = atomic_load(&r->stop) ? SQLITE_INTERRUPT : SQLITE_OK;
    }
    sqlite3_finalize(st);
    if (ret->rc || tide_db_code(rc) == TIDE_ENOMEM)
        return no_manifest(TIDE_ENOMEM, why, "no memory for the manifest of snapshot %" PRIu64,
                           round);
    if (rc != SQLITE_DONE && rc != SQLITE_ROW)
        return no_manifest(tide_db_code(rc), why,
                           "the manifest of snapshot %" PRIu64 " cannot be read: %.120s", round,
                           sqlite3_errmsg(r->db));
    XXH128_hash_t h = XXH3_128bits(ret->data, ret->len);
    uint8_t found[16];
    tide_set_u64(found, h.low64);
    tide_set_u64(found + 8, h.high64);
    if (rc != SQLITE_DONE || n != parts || ret->len + 16 != bytes || digest.len != 16 ||
        memcmp(found, digest.data, 16) != 0)
        return no_manifest(TIDE_ECORRUPT, why,
                           "the manifest of snapshot %" PRIu64 " in %.100s is damaged", round,
                           r->path);
    tide_buf_put(ret, found, sizeof found);
    return ret->rc ? no_manifest(TIDE_ENOMEM, why,
                                 "no memory for the manifest of snapshot %" PRIu64, round)
                   : 0;
}

int tide_reader_manifest(struct tide_reader *r, uint64_t round, struct tide_buf *ret,
                         char why[static 256])
{
    sqlite3_stmt *st = NULL;
    /* A question of its own, or a part of an answer that has begun a transaction. */
    bool own = sqlite3_get_autocommit(r->db) != 0;
    if (own) atomic_store(&r->stop, false);
    if (!ret->max) tide_buf_init(ret, IMAGE_MAX);
    tide_buf_clear(ret);
    int rc = own ? sqlite3_exec(r->db, "BEGIN", NULL, NULL, NULL) : SQLITE_OK;
    if (!rc)
        rc = sqlite3_prepare_v2(
            r->db,
            "SELECT manifest_bytes, manifest_parts, manifest_digest FROM snapshot WHERE round = ?1",
            -1, &st, NULL);
    if (!rc) rc = sqlite3_bind_int64(st, 1, (sqlite3_int64)bounded(round));
    if (!rc) rc = sqlite3_step(st);
    int code;
    if (rc == SQLITE_ROW)
        code = join(r, round, st, ret, why);
    else if (rc == SQLITE_DONE)
        code = no_manifest(TIDE_ENOTFOUND, why, "there is no snapshot %" PRIu64, round);
    else
        code = no_manifest(tide_db_code(rc), why, "snapshot %" PRIu64 " cannot be read: %.150s",
                           round, sqlite3_errmsg(r->db));
    sqlite3_finalize(st);
    if (own && !sqlite3_get_autocommit(r->db)) sqlite3_exec(r->db, "ROLLBACK", NULL, NULL, NULL);
    if (code) tide_buf_release(ret);
    return code;
}

int tide_reader_directory(struct tide_reader *r, uint64_t round, struct tide_buf *ret,
                          char why[static 256])
{
    sqlite3_stmt *st = NULL;
    int code = 0;
    int rc = sqlite3_prepare_v2(
        r->db, "SELECT directory, state = 'retained' FROM snapshot WHERE round = ?1", -1, &st,
        NULL);
    if (!rc) rc = sqlite3_bind_int64(st, 1, (sqlite3_int64)bounded(round));
    if (!rc) rc = sqlite3_step(st);
    if (rc == SQLITE_ROW && !tide_db_num(st, 1)) {
        code = no_manifest(TIDE_ENOTFOUND, why, "snapshot %" PRIu64 " is deleted", round);
    } else if (rc == SQLITE_ROW) {
        struct tide_bytes directory = tide_db_bytes(st, 0);
        tide_buf_put(ret, directory.data, directory.len);
        if (ret->rc)
            code = no_manifest(TIDE_ENOMEM, why, "no memory for the directory of snapshot %" PRIu64,
                               round);
    } else if (rc == SQLITE_DONE) {
        code = no_manifest(TIDE_ENOTFOUND, why, "there is no snapshot %" PRIu64, round);
    } else {
        code = no_manifest(tide_db_code(rc), why, "snapshot %" PRIu64 " cannot be read: %.150s",
                           round, sqlite3_errmsg(r->db));
    }
    sqlite3_finalize(st);
    return code;
}
