/* `tidemark state write`: a savepoint's directory out of JSON lines, without a daemon and without a
 * program. The lines are those of `tidemark state read`, which declare states and have their
 * entries, also edited or made by something else; declarations of a schema or a max parallelism
 * come first.
 *
 * Entries are staged in a temporary database, which sorts them by key groups, so that memory does
 * not grow with them. Each operator becomes one task, whose state a job restores at any parallelism
 * up to the max parallelism; _metadata comes last, so that nothing half-written is ever a
 * savepoint. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "client/cli/cli.h"
#include "client/cli/line.h"
#include "proto/ack.h"
#include "proto/worker.pb-c.h"
#include "state/format.h"
#include "storage/files.h"
#include "storage/manifest.h"

#define MAX_DEFAULT 128u
#define OPERATORS_MAX 4096u
#define BLOCK ((size_t)1 << 20)

struct declared { /* a state */
    char *name, *schema;
    enum tide_states_kind kind;
    uint32_t version;
};

struct operator_of {
    char *uid;
    uint32_t max_parallelism; /* 0: not said yet */
    bool has_rows;
    struct declared *states;
    uint32_t n_states;
};

struct artifact {
    uint32_t first, count; /* key groups */
    uint64_t size;
    XXH128_hash_t digest;
};

struct making {
    struct cli *cli;
    const char *directory;
    uint64_t line;
    sqlite3 *db; /* the staging */
    sqlite3_stmt *insert;
    struct operator_of *operators;
    uint32_t n;
    char why[WHY_SIZE];
};

static int fail(struct making *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int fail(struct making *m, const char *format, ...)
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

/* ---- lines */

static int text_of(struct making *m, const struct line *l, const char *name, bool needed,
                   struct tide_bytes *ret)
{
    int i = line_find(l, name);
    *ret = (struct tide_bytes){0};
    if (i < 0) return needed ? fail(m, "has no member \"%s\"", name) : 0;
    if (l->members[i].kind != LINE_TEXT) return fail(m, "\"%s\" is no text", name);
    *ret = l->members[i].text;
    return 0;
}

static int number_of(struct making *m, const struct line *l, const char *name, uint64_t *ret)
{
    int i = line_find(l, name);
    *ret = 0;
    if (i < 0) return 0;
    if (l->members[i].kind != LINE_NUMBER || l->members[i].number > UINT32_MAX)
        return fail(m, "\"%s\" is no number in range", name);
    *ret = l->members[i].number;
    return 0;
}

static int digit(uint8_t c)
{
    return c >= '0' && c <= '9'                     ? c - '0'
           : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                    : -1;
}

/* NAME, or NAME_hex, which is decoded in place. ret->data NULL: neither is there. */
static int bytes_of(struct making *m, const struct line *l, const char *name,
                    struct tide_bytes *ret)
{
    char hex[16];
    struct tide_bytes b;
    snprintf(hex, sizeof hex, "%s_hex", name);
    if (text_of(m, l, name, false, ret) || text_of(m, l, hex, false, &b)) return -1;
    if (!b.data) return 0;
    if (ret->data) return fail(m, "has both \"%s\" and \"%s\"", name, hex);
    uint8_t *to = (uint8_t *)(uintptr_t)b.data;
    if (b.len % 2) return fail(m, "\"%s\" is not hexadecimal", hex);
    for (size_t i = 0; i < b.len; i += 2) {
        int high = digit(b.data[i]), low = digit(b.data[i + 1]);
        if (high < 0 || low < 0) return fail(m, "\"%s\" is not hexadecimal", hex);
        to[i / 2] = (uint8_t)(high << 4 | low);
    }
    *ret = (struct tide_bytes){b.data, b.len / 2};
    return 0;
}

static int check_members(struct making *m, const struct line *l)
{
    static const char *const known[] = {
        "operator",  "subtask", "state",    "kind",        "key_group",       "key",
        "key_hex",   "item",    "item_hex", "value",       "value_hex",       "schema",
        "version",   "rows",    "round",    "parallelism", "max_parallelism", "first_key_group",
        "key_groups"};
    for (uint32_t i = 0; i < l->n; i++) {
        bool found = false;
        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            found |= tide_bytes_equal(l->members[i].name, tide_bytes_of(known[k]));
        if (!found)
            return fail(m, "has an unknown member \"%.*s\"", (int)l->members[i].name.len,
                        (const char *)l->members[i].name.data);
    }
    return 0;
}

/* ---- operators and states */

static char *copy(struct tide_bytes b)
{
    return xprintf("%.*s", (int)b.len, (const char *)b.data);
}

static bool is_name(struct tide_bytes b)
{
    return b.len >= 1 && b.len <= 255 && tide_text_valid(b);
}

static struct operator_of *operator_named(struct making *m, struct tide_bytes uid)
{
    for (uint32_t i = 0; i < m->n; i++)
        if (tide_bytes_equal(uid, tide_bytes_of(m->operators[i].uid))) return &m->operators[i];
    if (!is_name(uid) || m->n == OPERATORS_MAX) {
        (void)fail(m, "an operator's uid has 1 to 255 bytes, and there are at most %u",
                   OPERATORS_MAX);
        return NULL;
    }
    m->operators = xrealloc(m->operators, (m->n + 1) * sizeof *m->operators);
    m->operators[m->n] = (struct operator_of){.uid = copy(uid)};
    return &m->operators[m->n++];
}

static int kind_named(struct making *m, struct tide_bytes name, enum tide_states_kind *ret)
{
    for (int k = TIDE_VALUE; k <= TIDE_BROADCAST; k++)
        if (tide_bytes_equal(name,
                             tide_bytes_of(tide_states_kind_name((enum tide_states_kind)k)))) {
            *ret = (enum tide_states_kind)k;
            return 0;
        }
    return fail(m, "there is no kind \"%.*s\" of state", (int)name.len, (const char *)name.data);
}

/* The state of a line, declared by it or before: what both say must be the same. */
static int declare(struct making *m, const struct line *l, struct operator_of *op, uint32_t *ret)
{
    struct tide_bytes name, kind_text, schema;
    enum tide_states_kind kind = TIDE_VALUE;
    uint64_t version;
    if (text_of(m, l, "state", true, &name) || text_of(m, l, "kind", true, &kind_text) ||
        text_of(m, l, "schema", false, &schema) || number_of(m, l, "version", &version) ||
        kind_named(m, kind_text, &kind))
        return -1;
    for (*ret = 0; *ret < op->n_states; ++*ret) {
        struct declared *s = &op->states[*ret];
        if (!tide_bytes_equal(name, tide_bytes_of(s->name))) continue;
        if (s->kind != kind ||
            (schema.data &&
             (!tide_bytes_equal(schema, tide_bytes_of(s->schema)) || s->version != version)))
            return fail(m, "state %.100s was declared otherwise before", s->name);
        return 0;
    }
    if (!is_name(name) || (schema.len && !is_name(schema)) || op->n_states == STATES_MAX)
        return fail(m,
                    "a state's name has 1 to 255 bytes, its schema at most as many, and an "
                    "operator at most %u states",
                    STATES_MAX);
    op->states = xrealloc(op->states, (op->n_states + 1) * sizeof *op->states);
    op->states[op->n_states++] =
        (struct declared){copy(name), copy(schema), kind, (uint32_t)version};
    return 0;
}

static int declare_max(struct making *m, const struct line *l, struct operator_of *op)
{
    uint64_t max = 0;
    if (number_of(m, l, "max_parallelism", &max)) return -1;
    if (m->cli->options.max_n) max = m->cli->options.max_n;
    if (!max || max == op->max_parallelism) return 0;
    if (max > 1u << 20 || op->has_rows)
        return fail(m, "a max parallelism is 1 to 1048576, and the same for all entries");
    op->max_parallelism = (uint32_t)max;
    return 0;
}

/* ---- staging */

static int fail_sql(struct making *m)
{
    return fail(m, "the temporary database: %.200s", sqlite3_errmsg(m->db));
}

static int bind(sqlite3_stmt *st, int at, struct tide_bytes b)
{
    return b.data ? sqlite3_bind_blob64(st, at, b.data, b.len, SQLITE_STATIC)
                  : sqlite3_bind_null(st, at);
}

static int stage(struct making *m, uint32_t op, uint32_t state, uint32_t group,
                 const struct tide_bytes parts[3])
{
    sqlite3_stmt *st = m->insert;
    int rc = sqlite3_bind_int64(st, 1, op);
    if (!rc) rc = sqlite3_bind_int64(st, 2, state);
    if (!rc) rc = sqlite3_bind_int64(st, 3, group);
    for (int i = 0; !rc && i < 3; i++)
        rc = bind(st, 4 + i, parts[i]);
    if (!rc) rc = sqlite3_step(st) == SQLITE_DONE ? SQLITE_OK : SQLITE_ERROR;
    if (rc) return fail_sql(m);
    sqlite3_reset(st);
    return 0;
}

/* key, item and value, as the kind wants them. */
static int check_entry(struct making *m, enum tide_states_kind kind,
                       const struct tide_bytes parts[3])
{
    bool keyed = tide_kind_is_keyed(kind), items = kind == TIDE_MAP || kind == TIDE_BROADCAST;
    if (keyed != (parts[0].data != NULL))
        return fail(m, keyed ? "has no key" : "has a key, which a state of its kind has not");
    if (items != (parts[1].data != NULL))
        return fail(m, items ? "has no item" : "has an item, which a state of its kind has not");
    for (unsigned i = 0; i < 3; i++)
        if (parts[i].len > TIDE_STATES_BYTES_MAX)
            return fail(m, "has more than %u bytes in one member", TIDE_STATES_BYTES_MAX);
    return 0;
}

static int take_line(struct making *m, char *text, size_t len)
{
    struct line l;
    struct tide_bytes uid, parts[3];
    uint32_t state = 0, group = 0;
    const char *wrong = line_parse(text, len, &l);
    if (wrong) return fail(m, "%s", wrong);
    if (check_members(m, &l) || text_of(m, &l, "operator", true, &uid)) return -1;
    struct operator_of *op = operator_named(m, uid);
    if (!op || declare_max(m, &l, op) || declare(m, &l, op, &state)) return -1;
    if (bytes_of(m, &l, "key", &parts[0]) || bytes_of(m, &l, "item", &parts[1]) ||
        bytes_of(m, &l, "value", &parts[2]))
        return -1;
    if (line_find(&l, "rows") >= 0) return 0; /* it declares */
    if (!parts[2].data) return fail(m, "has neither \"value\" nor \"rows\"");
    const enum tide_states_kind kind = op->states[state].kind;
    if (check_entry(m, kind, parts)) return -1;
    if (!op->max_parallelism) op->max_parallelism = MAX_DEFAULT;
    op->has_rows = true;
    if (tide_kind_is_keyed(kind))
        group = tide_states_key_group(parts[0].data, parts[0].len, op->max_parallelism);
    return stage(m, (uint32_t)(op - m->operators), state, group, parts);
}

static int read_lines(struct making *m, FILE *in)
{
    char *text = NULL;
    size_t room = 0;
    ssize_t n;
    int rc = 0;
    while (!rc && (n = getline(&text, &room, in)) >= 0) {
        m->line++;
        if (strspn(text, " \t\r\n") != (size_t)n) rc = take_line(m, text, (size_t)n);
    }
    if (!rc && ferror(in)) rc = fail(m, "standard input: %s", strerror(errno));
    free(text);
    m->line = 0;
    return rc;
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
static int is_new(struct making *m, const struct declared *s, struct before *b,
                  const struct tide_row *row)
{
    if (tide_kind_is_list(s->kind)) return 1;
    if (b->any && is_same(&b->key, row->key) && is_same(&b->item, row->item)) {
        if (s->kind == TIDE_BROADCAST && is_same(&b->value, row->value)) return 0;
        return fail(m, "state %.100s: two entries of one key%s", s->name,
                    s->kind == TIDE_VALUE ? "" : " and item");
    }
    keep(&b->key, row->key);
    keep(&b->item, row->item);
    keep(&b->value, row->value);
    b->any = true;
    return b->key.rc || b->item.rc || b->value.rc ? fail(m, "out of memory") : 1;
}

static int write_rows(struct making *m, struct tide_format_writer *w, uint32_t op, uint32_t state)
{
    const struct declared *s = &m->operators[op].states[state];
    struct before before = {.any = false};
    sqlite3_stmt *st = NULL;
    tide_buf_init(&before.key, TIDE_STATES_BYTES_MAX);
    tide_buf_init(&before.item, TIDE_STATES_BYTES_MAX);
    tide_buf_init(&before.value, TIDE_STATES_BYTES_MAX);
    int rc = sqlite3_prepare_v2(m->db,
                                "SELECT key_group, key, item, value FROM staged WHERE op = ?1 "
                                "AND state = ?2 ORDER BY key_group, key, item, rowid",
                                -1, &st, NULL);
    if (!rc) rc = sqlite3_bind_int64(st, 1, op);
    if (!rc) rc = sqlite3_bind_int64(st, 2, state);
    int stepped = SQLITE_DONE;
    while (!rc && (stepped = sqlite3_step(st)) == SQLITE_ROW) {
        struct tide_row row = {(uint32_t)sqlite3_column_int64(st, 0), column(st, 1), column(st, 2),
                               column(st, 3)};
        int fresh = is_new(m, s, &before, &row);
        rc = fresh < 0 ? fresh : 0;
        if (fresh == 1 && tide_format_row(w, &row)) break; /* finish() tells */
    }
    if (!m->why[0] && (rc || (stepped != SQLITE_DONE && stepped != SQLITE_ROW))) rc = fail_sql(m);
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
        (void)fail(m, "%.200s: %s", path, strerror(errno));
    }
    if (fd >= 0) close(fd);
    XXH3_freeState(state);
    free(block);
    return rc;
}

static bool has_kind(const struct operator_of *op, bool keyed)
{
    for (uint32_t i = 0; i < op->n_states; i++)
        if (tide_kind_is_keyed(op->states[i].kind) == keyed) return true;
    return false;
}

static int write_database(struct making *m, uint32_t op, uint32_t task, uint32_t index, bool keyed,
                          struct artifact *a)
{
    const struct operator_of *o = &m->operators[op];
    struct tide_format_writer *w = NULL;
    char name[32], why[WHY_SIZE] = "";
    struct tide_format_task who = {.uid = tide_bytes_of(o->uid),
                                   .writer = tide_bytes_of(TIDE_VERSION),
                                   .parallelism = 1,
                                   .max_parallelism = o->max_parallelism,
                                   .count = keyed ? o->max_parallelism : 0,
                                   .databases = (has_kind(o, true) ? TIDE_FORMAT_KEYED : 0) |
                                                (has_kind(o, false) ? TIDE_FORMAT_OWN : 0),
                                   .round = 1};
    (void)tide_artifact_path(name, task, index);
    char *path = xprintf("%s/%s", m->directory, name);
    int rc = tide_format_create(path, &who, &w, why) ? fail(m, "%.300s", why) : 0;
    for (uint32_t i = 0; !rc && i < o->n_states; i++) {
        const struct declared *s = &o->states[i];
        if (tide_kind_is_keyed(s->kind) != keyed) continue;
        struct tide_format_state state = {.name = tide_bytes_of(s->name),
                                          .kind = s->kind,
                                          .schema = tide_bytes_of(s->schema),
                                          .version = s->version};
        (void)tide_format_state(w, &state); /* finish() tells */
        rc = write_rows(m, w, op, i);
    }
    if (rc)
        tide_format_abandon(w);
    else if (tide_format_finish(w, NULL, NULL, why))
        rc = fail(m, "%.299s", why);
    a->count = who.count;
    if (!rc) rc = settle(m, path, a);
    free(path);
    return rc;
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

static int add_task(struct making *m, uint32_t op, uint32_t task, struct tide_ack_builder *acks)
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
        if (write_database(m, op, task, i, keyed, &a)) return -1;
        put_artifact(&messages[i], &a, keyed, paths[i], tide_artifact_path(paths[i], task, i));
        ack.n_artifacts++;
    }
    tide_buf_init(&packed, 65536);
    uint8_t *room = tide_buf_extend(&packed, tide__task_ack__get_packed_size(&ack));
    if (room) (void)tide__task_ack__pack(&ack, room);
    if (room) tide_ack_builder_add_full(acks, (struct tide_bytes){packed.data, packed.len});
    tide_buf_release(&packed);
    return room ? 0 : fail(m, "out of memory");
}

/* The image of _metadata: a savepoint of a job of one task for each operator. */
static void put_manifest(const struct making *m, const struct tide_ack_builder *acks,
                         const uint8_t random[32], struct tide_buf *out)
{
    Tide__JobSpec spec = TIDE__JOB_SPEC__INIT;
    Tide__ManifestHead head = TIDE__MANIFEST_HEAD__INIT;
    struct tide_buf packed, batch, chunk;
    Tide__Operator *operators = xrealloc(NULL, m->n * sizeof *operators + 1);
    Tide__Operator **pointers = xrealloc(NULL, m->n * sizeof(Tide__Operator *) + 1);
    for (uint32_t i = 0; i < m->n; i++) {
        tide__operator__init(&operators[i]);
        operators[i].uid = cli_data(m->operators[i].uid);
        operators[i].parallelism = 1;
        operators[i].max_parallelism = m->operators[i].max_parallelism;
        pointers[i] = &operators[i];
    }
    spec.name = cli_data(m->cli->options.job ? m->cli->options.job : "written");
    spec.operators = pointers;
    spec.n_operators = m->n;
    head.store_id = (ProtobufCBinaryData){16, (uint8_t *)(uintptr_t)random};
    head.job_id = (ProtobufCBinaryData){16, (uint8_t *)(uintptr_t)random + 16};
    head.spec = &spec;
    head.round = head.attempt = head.incarnation = 1;
    head.kind = TIDE__ROUND_KIND__ROUND_SAVEPOINT;
    head.begun_wall_us = text_now_wall();
    head.tasks = m->n;
    head.directory = cli_data(m->directory);
    tide_buf_init(&packed, TIDE_MANIFEST_HEAD_MAX);
    tide_buf_init(&batch, (size_t)64 << 20);
    tide_buf_init(&chunk, (size_t)65 << 20);
    uint8_t *room = tide_buf_extend(&packed, tide__manifest_head__get_packed_size(&head));
    if (room) (void)tide__manifest_head__pack(&head, room);
    tide_ack_builder_put(acks, 1, 1, &batch);
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
    free(operators);
    free(pointers);
}

static int by_uid(const void *a, const void *b)
{
    const struct operator_of *const *x = a, *const *y = b;
    return tide_bytes_compare(tide_bytes_of((*x)->uid), tide_bytes_of((*y)->uid));
}

static int publish(struct making *m, const struct tide_ack_builder *acks)
{
    uint8_t random[32];
    char why[256];
    struct tide_buf image;
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return fail(m, "no random bytes for the savepoint's ids");
    tide_buf_init(&image, (size_t)256 << 20);
    put_manifest(m, acks, random, &image);
    int rc = image.rc ? fail(m, "_metadata: %s", tide_strerror(image.rc)) : 0;
    if (!rc &&
        (tide_files_metadata_write(m->directory, (struct tide_bytes){image.data, image.len}, why) ||
         tide_files_metadata_publish(m->directory, why)))
        rc = fail(m, "%s", why);
    tide_buf_release(&image);
    return rc;
}

/* It was made by us, and nothing else is in it. */
static void remove_directory(const struct making *m)
{
    char name[32];
    for (uint32_t i = 0; i < m->n * 2; i++) {
        (void)tide_artifact_path(name, i / 2, i % 2);
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

static int write_all(struct making *m)
{
    char why[256];
    struct tide_ack_builder acks;
    int rc = m->n ? 0 : fail(m, "no line declares a state or has an entry");
    if (!rc && tide_files_mkdir(m->directory, why)) rc = fail(m, "%s", why);
    if (rc) return rc;
    struct operator_of **sorted = xrealloc(NULL, m->n * sizeof(struct operator_of *));
    for (uint32_t i = 0; i < m->n; i++) {
        sorted[i] = &m->operators[i];
        if (!sorted[i]->max_parallelism) sorted[i]->max_parallelism = MAX_DEFAULT;
    }
    qsort(sorted, m->n, sizeof(struct operator_of *), by_uid);
    tide_ack_builder_init(&acks, (size_t)64 << 20);
    for (uint32_t i = 0; !rc && i < m->n; i++) /* tasks are numbered in the order of uids */
        rc = add_task(m, (uint32_t)(sorted[i] - m->operators), i, &acks);
    if (!rc) rc = publish(m, &acks);
    tide_ack_builder_release(&acks);
    free(sorted);
    if (rc) remove_directory(m);
    return rc;
}

/* ---- the command */

static int open_staging(struct making *m)
{
    /* The empty name: a database in a temporary file, which goes when it is closed. */
    int rc = sqlite3_open_v2(
        "", &m->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (!rc)
        rc = sqlite3_exec(m->db,
                          "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN;"
                          "CREATE TABLE staged (op INTEGER, state INTEGER, key_group INTEGER,"
                          " key BLOB, item BLOB, value BLOB)",
                          NULL, NULL, NULL);
    if (!rc)
        rc = sqlite3_prepare_v2(m->db, "INSERT INTO staged VALUES (?, ?, ?, ?, ?, ?)", -1,
                                &m->insert, NULL);
    return rc ? fail_sql(m) : 0;
}

static int index_staging(struct making *m)
{
    int rc = sqlite3_exec(m->db, "CREATE INDEX by_state ON staged (op, state)", NULL, NULL, NULL);
    return rc ? fail_sql(m) : 0;
}

static void release(struct making *m)
{
    sqlite3_finalize(m->insert);
    sqlite3_close(m->db);
    for (uint32_t i = 0; i < m->n; i++) {
        for (uint32_t k = 0; k < m->operators[i].n_states; k++) {
            free(m->operators[i].states[k].name);
            free(m->operators[i].states[k].schema);
        }
        free(m->operators[i].states);
        free(m->operators[i].uid);
    }
    free(m->operators);
}

int state_write(struct cli *c)
{
    char *directory = NULL;
    int rc = operation_directory(c, c->args[0], "PATH", &directory);
    if (rc) return rc;
    struct making m = {.cli = c, .directory = directory};
    rc = open_staging(&m);
    if (!rc) rc = read_lines(&m, stdin);
    if (!rc) rc = index_staging(&m);
    if (!rc) rc = write_all(&m);
    release(&m);
    if (rc)
        rc = cli_fail(c, "file", "%s", m.why);
    else
        printf("%s\n", directory);
    free(directory);
    return rc;
}
