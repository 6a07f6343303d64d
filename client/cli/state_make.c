/* Making a savepoint: staged entries become a table in the order in which they are written, then a
 * database or two for each task, then _metadata. */
#include "client/cli/state_make.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include <xxhash.h>

#include "proto/ack.h"
#include "proto/graph.h"
#include "proto/worker.pb-c.h"
#include "storage/files.h"
#include "storage/manifest.h"

#define OPERATORS_MAX 4096u
#define BLOCK ((size_t)1 << 20)

struct artifact {
    uint32_t first, count; /* key groups */
    uint64_t size;
    XXH128_hash_t digest;
};

int making_fail(struct making *m, const char *format, ...)
{
    char what[300];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    if (m->line)
        snprintf(m->why, sizeof m->why, "line %llu: %s", (unsigned long long)m->line, what);
    else
        snprintf(m->why, sizeof m->why, "%s", what);
    return -1;
}

/* ---- operators and states */

static char *copy(struct tide_bytes b)
{
    return xprintf("%.*s", (int)b.len, b.data ? (const char *)b.data : "");
}

static bool is_name(struct tide_bytes b)
{
    return b.len >= 1 && b.len <= 255 && tide_text_valid(b) && !memchr(b.data, 0, b.len);
}

struct making_operator *making_operator(struct making *m, struct tide_bytes uid)
{
    for (uint32_t i = 0; i < m->n; i++)
        if (tide_bytes_equal(uid, tide_bytes_of(m->operators[i].uid))) return &m->operators[i];
    if (!is_name(uid) || m->n == OPERATORS_MAX) {
        (void)making_fail(m, "an operator's uid has 1 to 255 bytes, and there are at most %u",
                          OPERATORS_MAX);
        return NULL;
    }
    m->operators = xrealloc(m->operators, (m->n + 1) * sizeof *m->operators);
    m->operators[m->n] = (struct making_operator){.uid = copy(uid)};
    return &m->operators[m->n++];
}

int making_state(struct making *m, struct making_operator *op,
                 const struct tide_format_state *state, uint32_t *ret)
{
    for (*ret = 0; *ret < op->n_states; ++*ret) {
        struct making_state *s = &op->states[*ret];
        if (!tide_bytes_equal(state->name, tide_bytes_of(s->name))) continue;
        if (s->kind != state->kind ||
            (state->schema.data && (!tide_bytes_equal(state->schema, tide_bytes_of(s->schema)) ||
                                    s->version != state->version)))
            return making_fail(m, "state %.100s was declared otherwise before", s->name);
        return 0;
    }
    if (!is_name(state->name) || (state->schema.len && !is_name(state->schema)) ||
        op->n_states == STATES_MAX)
        return making_fail(m,
                           "a state's name has 1 to 255 bytes, its schema at most as many, and an "
                           "operator at most %u states",
                           STATES_MAX);
    op->states = xrealloc(op->states, (op->n_states + 1) * sizeof *op->states);
    struct making_state *made = &op->states[op->n_states++];
    *made = (struct making_state){.name = copy(state->name),
                                  .schema = copy(state->schema),
                                  .kind = state->kind,
                                  .version = state->version,
                                  .message = copy(state->message),
                                  .descriptor_len = state->descriptor.len};
    made->descriptor = xrealloc(NULL, state->descriptor.len + 1);
    if (state->descriptor.len)
        memcpy(made->descriptor, state->descriptor.data, state->descriptor.len);
    return 0;
}

/* ---- staging */

static int fail_sql(struct making *m)
{
    return making_fail(m, "the temporary database: %.200s", sqlite3_errmsg(m->db));
}

static int exec(struct making *m, const char *sql)
{
    return sqlite3_exec(m->db, sql, NULL, NULL, NULL) ? fail_sql(m) : 0;
}

int making_open(struct making *m)
{
    /* The empty name: a database in a temporary file, which goes when it is closed. */
    int rc = sqlite3_open_v2(
        "", &m->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc) return fail_sql(m);
    if (exec(m, "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN;"
                "CREATE TABLE staged (op INTEGER, state INTEGER, part INTEGER, key BLOB, item BLOB,"
                " value BLOB)"))
        return -1;
    rc = sqlite3_prepare_v2(m->db, "INSERT INTO staged VALUES (?, ?, ?, ?, ?, ?)", -1, &m->insert,
                            NULL);
    return rc ? fail_sql(m) : 0;
}

void making_release(struct making *m)
{
    sqlite3_finalize(m->insert);
    sqlite3_close(m->db);
    for (uint32_t i = 0; i < m->n; i++) {
        for (uint32_t k = 0; k < m->operators[i].n_states; k++) {
            free(m->operators[i].states[k].name);
            free(m->operators[i].states[k].schema);
            free(m->operators[i].states[k].message);
            free(m->operators[i].states[k].descriptor);
        }
        free(m->operators[i].states);
        free(m->operators[i].uid);
    }
    free(m->operators);
}

static int bind(sqlite3_stmt *st, int at, bool given, struct tide_bytes b)
{
    return given ? sqlite3_bind_blob64(st, at, b.data ? (const void *)b.data : "", b.len,
                                       SQLITE_STATIC)
                 : sqlite3_bind_null(st, at);
}

int making_row(struct making *m, struct making_operator *op, uint32_t state, uint32_t part,
               const struct tide_row *row)
{
    sqlite3_stmt *st = m->insert;
    const enum tide_states_kind kind = op->states[state].kind;
    const bool keyed = tide_kind_is_keyed(kind);
    const struct tide_bytes parts[3] = {row->key, row->item, row->value};
    for (unsigned i = 0; i < 3; i++)
        if (parts[i].len > TIDE_STATES_BYTES_MAX)
            return making_fail(m, "has more than %u bytes in one member", TIDE_STATES_BYTES_MAX);
    if (!op->max_parallelism) op->max_parallelism = MAKING_MAX_DEFAULT;
    op->has_rows = true;
    if (keyed) part = tide_states_key_group(row->key.data, row->key.len, op->max_parallelism);
    int rc = sqlite3_bind_int64(st, 1, op - m->operators);
    if (!rc) rc = sqlite3_bind_int64(st, 2, state);
    if (!rc) rc = sqlite3_bind_int64(st, 3, part);
    if (!rc) rc = bind(st, 4, keyed, row->key);
    if (!rc) rc = bind(st, 5, kind == TIDE_MAP || kind == TIDE_BROADCAST, row->item);
    if (!rc) rc = bind(st, 6, true, row->value);
    if (!rc) rc = sqlite3_step(st) == SQLITE_DONE ? SQLITE_OK : SQLITE_ERROR;
    if (rc) return fail_sql(m);
    sqlite3_reset(st);
    return 0;
}

/* The rows of each state in the order in which they are written, one behind the other. */
static int sort(struct making *m)
{
    return exec(m, "CREATE TABLE sorted (id INTEGER PRIMARY KEY, op INTEGER, state INTEGER,"
                   " part INTEGER, key BLOB, item BLOB, value BLOB);"
                   "INSERT INTO sorted (op, state, part, key, item, value)"
                   " SELECT * FROM staged ORDER BY op, state, part, key, item, rowid;"
                   "DROP TABLE staged;"
                   "CREATE INDEX by_part ON sorted (op, state, part)");
}

/* ---- databases */

static struct tide_bytes column(sqlite3_stmt *st, int at)
{
    const uint8_t *data = sqlite3_column_blob(st, at);
    return (struct tide_bytes){data ? data : (const uint8_t *)"",
                               (size_t)sqlite3_column_bytes(st, at)};
}

/* What stood before it, in the order of keys and items. */
struct before {
    struct tide_buf key, item, value;
    bool any;
};

static bool is_same(const struct tide_buf *b, struct tide_bytes with)
{
    return tide_bytes_equal((struct tide_bytes){b->data, b->len}, with);
}

static void keep(struct tide_buf *b, struct tide_bytes bytes)
{
    tide_buf_clear(b);
    tide_buf_put(b, bytes.data, bytes.len);
}

/* 1: to be written; 0: one more copy of a broadcast item. */
static int is_new(struct making *m, const struct making_state *s, struct before *b,
                  const struct tide_row *row)
{
    if (tide_kind_is_list(s->kind)) return 1;
    if (b->any && is_same(&b->key, row->key) && is_same(&b->item, row->item)) {
        if (s->kind == TIDE_BROADCAST && is_same(&b->value, row->value)) return 0;
        return making_fail(m, "state %.100s: two entries of one key%s", s->name,
                           s->kind == TIDE_VALUE ? "" : " and item");
    }
    keep(&b->key, row->key);
    keep(&b->item, row->item);
    keep(&b->value, row->value);
    b->any = true;
    return b->key.rc || b->item.rc || b->value.rc ? making_fail(m, "out of memory") : 1;
}

/* Which of the sorted rows task `task` of the operator has. */
struct range {
    uint64_t first, last; /* parts */
    uint64_t id, end;     /* ids, end - 1 the last */
};

static int range_of(struct making *m, uint32_t op, uint32_t state, uint32_t task, struct range *ret)
{
    const struct making_operator *o = &m->operators[op];
    const enum tide_states_kind kind = o->states[state].kind;
    uint32_t first, count;
    *ret = (struct range){0, UINT32_MAX, 0, INT64_MAX};
    if (tide_kind_is_keyed(kind)) {
        tide_key_group_range(task, o->parallelism, o->max_parallelism, &first, &count);
        ret->first = first;
        ret->last = (uint64_t)first + count - 1;
    } else if (kind == TIDE_BROADCAST || o->parallelism == o->parts) {
        ret->first = ret->last = task % o->parts;
    } else {
        sqlite3_stmt *st = NULL;
        int rc = sqlite3_prepare_v2(m->db,
                                    "SELECT min(id), count(*) FROM sorted WHERE op = ?1 AND "
                                    "state = ?2",
                                    -1, &st, NULL);
        if (!rc) rc = sqlite3_bind_int64(st, 1, op);
        if (!rc) rc = sqlite3_bind_int64(st, 2, state);
        if (!rc) rc = sqlite3_step(st) == SQLITE_ROW ? SQLITE_OK : SQLITE_ERROR;
        if (rc) {
            (void)fail_sql(m);
        } else {
            uint64_t begin = (uint64_t)sqlite3_column_int64(st, 0);
            uint64_t n = (uint64_t)sqlite3_column_int64(st, 1), each = n / o->parallelism;
            uint64_t more = n % o->parallelism; /* the first ones have one more */
            ret->id = begin + each * task + (task < more ? task : more);
            ret->end = ret->id + each + (task < more);
        }
        sqlite3_finalize(st);
        return rc ? -1 : 0;
    }
    return 0;
}

static int select_rows(struct making *m, uint32_t op, uint32_t state, const struct range *range,
                       sqlite3_stmt **ret)
{
    int rc = sqlite3_prepare_v2(m->db,
                                range->end == INT64_MAX
                                    ? "SELECT part, key, item, value FROM sorted WHERE op = ?1 AND "
                                      "state = ?2 AND part BETWEEN ?3 AND ?4 ORDER BY part, id"
                                    : "SELECT part, key, item, value FROM sorted WHERE +op = ?1 "
                                      "AND +state = ?2 AND id >= ?3 AND id < ?4 ORDER BY id",
                                -1, ret, NULL);
    const bool by_id = range->end != INT64_MAX;
    if (!rc) rc = sqlite3_bind_int64(*ret, 1, op);
    if (!rc) rc = sqlite3_bind_int64(*ret, 2, state);
    if (!rc) rc = sqlite3_bind_int64(*ret, 3, (sqlite3_int64)(by_id ? range->id : range->first));
    if (!rc) rc = sqlite3_bind_int64(*ret, 4, (sqlite3_int64)(by_id ? range->end : range->last));
    return rc ? fail_sql(m) : 0;
}

static int write_rows(struct making *m, struct tide_format_writer *w, uint32_t op, uint32_t state,
                      uint32_t task)
{
    const struct making_state *s = &m->operators[op].states[state];
    struct before before = {.any = false};
    struct range range;
    sqlite3_stmt *st = NULL;
    int stepped = SQLITE_DONE;
    tide_buf_init(&before.key, TIDE_STATES_BYTES_MAX);
    tide_buf_init(&before.item, TIDE_STATES_BYTES_MAX);
    tide_buf_init(&before.value, TIDE_STATES_BYTES_MAX);
    int rc = range_of(m, op, state, task, &range);
    if (!rc) rc = select_rows(m, op, state, &range, &st);
    while (!rc && (stepped = sqlite3_step(st)) == SQLITE_ROW) {
        struct tide_row row = {(uint32_t)sqlite3_column_int64(st, 0), column(st, 1), column(st, 2),
                               column(st, 3)};
        int fresh = is_new(m, s, &before, &row);
        rc = fresh < 0 ? fresh : 0;
        if (fresh == 1 && tide_format_row(w, &row)) break; /* finish() tells */
    }
    if (!rc && stepped != SQLITE_DONE && stepped != SQLITE_ROW) rc = fail_sql(m);
    sqlite3_finalize(st);
    tide_buf_release(&before.key);
    tide_buf_release(&before.item);
    tide_buf_release(&before.value);
    return rc ? -1 : 0;
}

/* Syncs the file, and takes its size and digest. */
static int settle(struct making *m, const char *path, struct artifact *a)
{
    int rc = -1, fd = open(path, O_RDONLY | O_CLOEXEC);
    uint8_t *block = xrealloc(NULL, BLOCK);
    XXH3_state_t *state = XXH3_createState();
    ssize_t n = fd >= 0 && state ? 1 : -1;
    if (state) (void)XXH3_128bits_reset(state);
    while (n > 0) {
        n = read(fd, block, BLOCK);
        if (n > 0) {
            (void)XXH3_128bits_update(state, block, (size_t)n);
            a->size += (uint64_t)n;
        }
    }
    if (n == 0 && fsync(fd) == 0) {
        a->digest = XXH3_128bits_digest(state);
        rc = 0;
    } else {
        (void)making_fail(m, "%.200s: %s", path, strerror(errno));
    }
    if (fd >= 0) close(fd);
    XXH3_freeState(state);
    free(block);
    return rc;
}

static bool has_kind(const struct making_operator *op, bool keyed)
{
    for (uint32_t i = 0; i < op->n_states; i++)
        if (tide_kind_is_keyed(op->states[i].kind) == keyed) return true;
    return false;
}

static int write_database(struct making *m, uint32_t op, uint32_t subtask, const char *path,
                          bool keyed, struct artifact *a)
{
    const struct making_operator *o = &m->operators[op];
    struct tide_format_writer *w = NULL;
    char why[WHY_SIZE] = "";
    struct tide_format_task who = {.uid = tide_bytes_of(o->uid),
                                   .writer = tide_bytes_of(TIDE_VERSION),
                                   .subtask = subtask,
                                   .parallelism = o->parallelism,
                                   .max_parallelism = o->max_parallelism,
                                   .databases = (has_kind(o, true) ? TIDE_FORMAT_KEYED : 0) |
                                                (has_kind(o, false) ? TIDE_FORMAT_OWN : 0),
                                   .round = m->of ? m->of->round : 1};
    if (keyed)
        tide_key_group_range(subtask, o->parallelism, o->max_parallelism, &who.first, &who.count);
    int rc = tide_format_create(path, &who, &w, why) ? making_fail(m, "%.300s", why) : 0;
    for (uint32_t i = 0; !rc && i < o->n_states; i++) {
        const struct making_state *s = &o->states[i];
        if (tide_kind_is_keyed(s->kind) != keyed) continue;
        struct tide_format_state state = {.name = tide_bytes_of(s->name),
                                          .kind = s->kind,
                                          .schema = tide_bytes_of(s->schema),
                                          .version = s->version,
                                          .message = tide_bytes_of(s->message),
                                          .descriptor = {s->descriptor, s->descriptor_len}};
        (void)tide_format_state(w, &state); /* finish() tells */
        rc = write_rows(m, w, op, i, subtask);
    }
    if (rc)
        tide_format_abandon(w);
    else if (tide_format_finish(w, NULL, NULL, why))
        rc = making_fail(m, "%.299s", why);
    a->first = who.first;
    a->count = who.count;
    return rc ? rc : settle(m, path, a);
}

/* ---- the manifest */

static void put_artifact(Tide__Artifact *to, const struct artifact *a, bool keyed, char path[32],
                         size_t len)
{
    tide__artifact__init(to);
    to->place_case = TIDE__ARTIFACT__PLACE_PATH;
    to->path = (ProtobufCBinaryData){len, (uint8_t *)path};
    to->size = a->size;
    to->digest_low = a->digest.low64;
    to->digest_high = a->digest.high64;
    to->name = cli_data(keyed ? TIDE_ARTIFACT_KEYED : TIDE_ARTIFACT_OWN);
    to->key_group_first = a->first;
    to->key_group_count = a->count;
}

/* task: its number in the snapshot. */
static int add_task(struct making *m, uint32_t op, uint32_t subtask, uint32_t task,
                    struct tide_ack_builder *acks)
{
    char paths[2][32];
    Tide__Artifact messages[2], *pointers[2] = {&messages[0], &messages[1]};
    Tide__TaskAck ack;
    struct tide_buf packed;
    tide__task_ack__init(&ack);
    ack.task = task;
    ack.artifacts = pointers;
    for (int keyed = 1; keyed >= 0; keyed--) {
        struct artifact a = {0};
        if (!has_kind(&m->operators[op], keyed)) continue;
        uint32_t i = (uint32_t)ack.n_artifacts;
        size_t len = tide_artifact_path(paths[i], task, i);
        char *path = xprintf("%s/%s", m->directory, paths[i]);
        int rc = write_database(m, op, subtask, path, keyed, &a);
        free(path);
        if (rc) return rc;
        put_artifact(&messages[i], &a, keyed, paths[i], len);
        ack.n_artifacts++;
    }
    tide_buf_init(&packed, 65536);
    uint8_t *room = tide_buf_extend(&packed, tide__task_ack__get_packed_size(&ack));
    if (room) (void)tide__task_ack__pack(&ack, room);
    if (room) tide_ack_builder_add_full(acks, (struct tide_bytes){packed.data, packed.len});
    tide_buf_release(&packed);
    return room ? 0 : making_fail(m, "out of memory");
}

/* The head of the snapshot whose state it is, or a new one's. */
static void put_head(const struct making *m, Tide__ManifestHead *head, uint8_t random[32])
{
    head->store_id = (ProtobufCBinaryData){16, random};
    head->job_id = (ProtobufCBinaryData){16, random + 16};
    head->round = head->attempt = head->incarnation = 1;
    head->begun_wall_us = text_now_wall();
    if (m->of) {
        head->store_id = m->of->store_id;
        head->job_id = m->of->job_id;
        head->round = m->of->round;
        head->attempt = m->of->attempt;
        head->incarnation = m->of->incarnation;
        head->begun_wall_us = m->of->begun_wall_us;
        head->parent = m->of->parent;
        head->label = m->of->label;
        head->alignment = m->of->alignment;
        head->commits = m->of->commits;
        head->stop = m->of->stop;
        head->style = m->of->style;
        head->position = m->of->position;
    }
    head->kind = TIDE__ROUND_KIND__ROUND_SAVEPOINT;
    head->directory = cli_data(m->directory);
    head->externals = m->externals;
    head->n_externals = m->n_externals;
}

/* The image of _metadata. */
static void put_image(Tide__ManifestHead *head, const struct tide_ack_builder *acks,
                      struct tide_buf *out)
{
    struct tide_buf packed, batch, chunk;
    tide_buf_init(&packed, TIDE_MANIFEST_HEAD_MAX);
    tide_buf_init(&batch, (size_t)64 << 20);
    tide_buf_init(&chunk, (size_t)65 << 20);
    uint8_t *room = tide_buf_extend(&packed, tide__manifest_head__get_packed_size(head));
    if (room) (void)tide__manifest_head__pack(head, room);
    tide_ack_builder_put(acks, head->attempt, head->round, &batch);
    tide_buf_put_u32(&chunk, (uint32_t)batch.len);
    tide_buf_put(&chunk, batch.data, batch.len);
    struct tide_bytes all = {chunk.data, chunk.len};
    if (!room || batch.rc || chunk.rc)
        out->rc = TIDE_ENOMEM;
    else
        tide_manifest_put(out, (struct tide_bytes){packed.data, packed.len}, &all, 1);
    tide_buf_release(&packed);
    tide_buf_release(&batch);
    tide_buf_release(&chunk);
}

static void put_manifest(const struct making *m, uint32_t tasks,
                         const struct tide_ack_builder *acks, uint8_t random[32],
                         struct tide_buf *out)
{
    Tide__JobSpec spec = TIDE__JOB_SPEC__INIT;
    Tide__ManifestHead head = TIDE__MANIFEST_HEAD__INIT;
    Tide__Operator *operators = xrealloc(NULL, m->n * sizeof *operators + 1);
    Tide__Operator **pointers = xrealloc(NULL, m->n * sizeof(Tide__Operator *) + 1);
    ProtobufCBinaryData *hooks = xrealloc(NULL, m->n_externals * sizeof *hooks + 1);
    for (uint32_t i = 0; i < m->n; i++) {
        const struct making_operator *o = &m->operators[i];
        tide__operator__init(&operators[i]);
        operators[i].uid = cli_data(o->uid);
        operators[i].parallelism = o->parallelism;
        operators[i].max_parallelism = o->max_parallelism;
        operators[i].union_state = o->keeps_union;
        operators[i].coordinator = o->coordinator;
        pointers[i] = &operators[i];
    }
    for (size_t i = 0; i < m->n_externals; i++)
        if (m->externals[i]->external->kind == TIDE__EXTERNAL_KIND__EXTERNAL_HOOK)
            hooks[spec.n_hooks++] = m->externals[i]->external->name;
    spec.name = cli_data(m->job);
    spec.operators = pointers;
    spec.n_operators = m->n;
    spec.hooks = hooks;
    put_head(m, &head, random);
    head.spec = &spec;
    head.tasks = tasks;
    put_image(&head, acks, out);
    free(operators);
    free(pointers);
    free(hooks);
}

static int by_uid(const void *a, const void *b)
{
    const struct making_operator *const *x = a, *const *y = b;
    return tide_bytes_compare(tide_bytes_of((*x)->uid), tide_bytes_of((*y)->uid));
}

static int publish(struct making *m, uint32_t tasks, const struct tide_ack_builder *acks)
{
    uint8_t random[32];
    char why[256];
    struct tide_buf image;
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return making_fail(m, "no random bytes for the savepoint's ids");
    tide_buf_init(&image, (size_t)256 << 20);
    put_manifest(m, tasks, acks, random, &image);
    int rc = image.rc ? making_fail(m, "_metadata: %s", tide_strerror(image.rc)) : 0;
    if (!rc &&
        (tide_files_metadata_write(m->directory, (struct tide_bytes){image.data, image.len}, why) ||
         tide_files_metadata_publish(m->directory, why)))
        rc = making_fail(m, "%s", why);
    tide_buf_release(&image);
    return rc;
}

/* It was made by us, and nothing else is in it. */
static void remove_directory(const struct making *m, uint32_t tasks)
{
    char name[32];
    for (uint64_t i = 0; i < (uint64_t)tasks * 2; i++) {
        (void)tide_artifact_path(name, (uint32_t)(i / 2), i % 2);
        char *path = xprintf("%s/%s", m->directory, name);
        (void)unlink(path);
        free(path);
    }
    static const char *const metadata[] = {TIDE_METADATA_PENDING, TIDE_METADATA};
    for (unsigned i = 0; i < 2; i++) {
        char *path = xprintf("%s/%s", m->directory, metadata[i]);
        (void)unlink(path);
        free(path);
    }
    (void)rmdir(m->directory);
}

/* What was not said becomes what is usual. */
static int settle_operators(struct making *m, uint64_t *ret_tasks)
{
    *ret_tasks = 0;
    for (uint32_t i = 0; i < m->n; i++) {
        struct making_operator *o = &m->operators[i];
        if (!o->max_parallelism) o->max_parallelism = MAKING_MAX_DEFAULT;
        if (!o->parallelism) o->parallelism = 1;
        if (!o->parts) o->parts = 1;
        if (o->parallelism > o->max_parallelism)
            return making_fail(m,
                               "operator %.100s: a parallelism of %u is above %u, its max "
                               "parallelism",
                               o->uid, o->parallelism, o->max_parallelism);
        *ret_tasks += o->parallelism;
    }
    return *ret_tasks > 1u << 20 ? making_fail(m, "more than 1048576 tasks") : 0;
}

int making_write(struct making *m)
{
    char why[256];
    struct tide_ack_builder acks;
    uint64_t tasks = 0;
    uint32_t task = 0;
    if (settle_operators(m, &tasks) || sort(m)) return -1;
    if (tide_files_mkdir(m->directory, why)) return making_fail(m, "%s", why);
    int rc = 0;
    struct making_operator **sorted = xrealloc(NULL, m->n * sizeof(struct making_operator *) + 1);
    for (uint32_t i = 0; i < m->n; i++)
        sorted[i] = &m->operators[i];
    qsort(sorted, m->n, sizeof(struct making_operator *), by_uid);
    tide_ack_builder_init(&acks, (size_t)64 << 20);
    for (uint32_t i = 0; !rc && i < m->n; i++) /* tasks are numbered in the order of uids */
        for (uint32_t k = 0; !rc && k < sorted[i]->parallelism; k++)
            rc = add_task(m, (uint32_t)(sorted[i] - m->operators), k, task++, &acks);
    if (!rc) rc = publish(m, (uint32_t)tasks, &acks);
    tide_ack_builder_release(&acks);
    free(sorted);
    if (rc) remove_directory(m, (uint32_t)tasks);
    return rc;
}
