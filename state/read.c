/* Reading the canonical format. Nothing that stands in the file is believed: the tables must be
 * ours to the letter, the states must share out all rows among them, the key groups those of their
 * state; and each row is checked as it is given out. So whoever has got all rows that were asked
 * for has got what was written, or a database that somebody made with care. The digest of the
 * artifact, which is compared before, is what tells damage. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state/native.h"

#define GROUPS_MAX (1u << 20)
#define ROWS_MAX (UINT64_C(1) << 62)
#define ARENA_MAX ((size_t)64 << 20)
#define ALL_DATABASES (TIDE_FORMAT_KEYED | TIDE_FORMAT_OWN | TIDE_FORMAT_FLIGHT)

static int fail(struct tide_format_reader *r, int rc, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int fail(struct tide_format_reader *r, int rc, const char *format, ...)
{
    char what[300];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    if (r->no_memory) rc = TIDE_ENOMEM;
    snprintf(r->why, sizeof r->why, "%.200s: %s", r->name,
             rc == TIDE_ENOMEM ? tide_strerror(rc) : what);
    return rc;
}

static int fail_sql(struct tide_format_reader *r, int rc)
{
    int code = tide_format_code(rc);
    if ((rc & 0xff) == SQLITE_NOTADB) return fail(r, code, "is not a database");
    return fail(r, code ? code : TIDE_ECORRUPT, "cannot be read: %.200s",
                r->db ? sqlite3_errmsg(r->db) : sqlite3_errstr(rc));
}

/* ---- statements */

static int prepare(struct tide_format_reader *r, const char *sql, sqlite3_stmt **ret)
{
    int rc = sqlite3_prepare_v2(r->db, sql, -1, ret, NULL);
    return rc ? fail_sql(r, rc) : 0;
}

/* 1: there is a row; 0: the end. */
static int step(struct tide_format_reader *r, sqlite3_stmt *st)
{
    int rc = sqlite3_step(st);
    return rc == SQLITE_ROW ? 1 : rc == SQLITE_DONE ? 0 : fail_sql(r, rc);
}

static bool is(sqlite3_stmt *st, int column, int type)
{
    return sqlite3_column_type(st, column) == type;
}

static struct tide_bytes bytes(sqlite3_stmt *st, int column)
{
    const uint8_t *data = sqlite3_column_blob(st, column);
    return (struct tide_bytes){data, data ? (size_t)sqlite3_column_bytes(st, column) : 0};
}

/* A number from 0 to max. */
static bool number(sqlite3_stmt *st, int column, uint64_t max, uint64_t *ret)
{
    sqlite3_int64 n = sqlite3_column_int64(st, column);
    *ret = (uint64_t)n;
    return is(st, column, SQLITE_INTEGER) && n >= 0 && (uint64_t)n <= max;
}

static bool name(struct tide_format_reader *r, sqlite3_stmt *st, int column, struct tide_bytes *ret)
{
    struct tide_bytes b = bytes(st, column);
    if (!is(st, column, SQLITE_TEXT) || !b.len || b.len > 255 || !tide_text_valid(b)) return false;
    *ret = tide_arena_bytes(&r->arena, b);
    r->no_memory = !ret->data;
    return !r->no_memory;
}

/* Either both or none. */
static bool descriptor(struct tide_format_reader *r, sqlite3_stmt *st, int column,
                       struct tide_bytes *ret_message, struct tide_bytes *ret_files)
{
    if (is(st, column, SQLITE_NULL)) return is(st, column + 1, SQLITE_NULL);
    struct tide_bytes files = bytes(st, column + 1);
    if (!name(r, st, column, ret_message) || !is(st, column + 1, SQLITE_BLOB) || !files.len ||
        files.len > TIDE_STATES_DESCRIPTOR_MAX)
        return false;
    *ret_files = tide_arena_bytes(&r->arena, files);
    r->no_memory = !ret_files->data;
    return !r->no_memory;
}

static int one_number(struct tide_format_reader *r, const char *sql, uint64_t *ret)
{
    sqlite3_stmt *st = NULL;
    int rc = prepare(r, sql, &st);
    if (!rc) rc = step(r, st);
    if (rc == 1)
        rc = number(st, 0, ROWS_MAX, ret) ? 0 : fail(r, TIDE_ECORRUPT, "%s: no number", sql);
    sqlite3_finalize(st);
    return rc;
}

/* ---- what it is */

static int check_kind(struct tide_format_reader *r)
{
    uint64_t application = 0, version = 0;
    int rc = one_number(r, "PRAGMA application_id", &application);
    if (!rc) rc = one_number(r, "PRAGMA user_version", &version);
    if (rc) return rc;
    if (application != TIDE_FORMAT_APPLICATION)
        return fail(r, TIDE_ECORRUPT, "is a database, but not one of a task's state");
    if (version == TIDE_FORMAT_VERSION) return 0;
    return fail(r, TIDE_EVERSION, "has version %llu of the format; this library reads version %d",
                (unsigned long long)version, TIDE_FORMAT_VERSION);
}

static int check_tables(struct tide_format_reader *r)
{
    sqlite3_stmt *st = NULL;
    unsigned n = 0;
    int rc = prepare(r, "SELECT name, sql FROM sqlite_schema ORDER BY rowid", &st);
    while (!rc && (rc = step(r, st)) == 1) {
        const struct tide_format_object *o = &tide_format_objects[n < TIDE_FORMAT_OBJECTS ? n : 0];
        rc = n < TIDE_FORMAT_OBJECTS && tide_bytes_equal(bytes(st, 0), tide_bytes_of(o->name)) &&
                     tide_bytes_equal(bytes(st, 1), tide_bytes_of(o->sql))
                 ? 0
                 : fail(r, TIDE_ECORRUPT, "its tables are not those of the format");
        n++;
    }
    sqlite3_finalize(st);
    if (!rc && n != TIDE_FORMAT_OBJECTS) rc = fail(r, TIDE_ECORRUPT, "has not all tables");
    return rc;
}

static int read_task(struct tide_format_reader *r)
{
    sqlite3_stmt *st = NULL;
    struct tide_format_task *t = &r->task;
    uint64_t subtask = 0, parallelism = 0, max = 0, first = 0, count = 0, databases = 0;
    int rc = prepare(r,
                     "SELECT operator, subtask, parallelism, max_parallelism, first_key_group, "
                     "key_groups, round, writer, hash, databases FROM task",
                     &st);
    if (!rc) rc = step(r, st);
    if (rc == 1) {
        bool right = name(r, st, 0, &t->uid) && number(st, 1, GROUPS_MAX, &subtask) &&
                     number(st, 2, GROUPS_MAX, &parallelism) && number(st, 3, GROUPS_MAX, &max) &&
                     number(st, 4, GROUPS_MAX, &first) && number(st, 5, GROUPS_MAX, &count) &&
                     number(st, 6, INT64_MAX, &t->round) && name(r, st, 7, &t->writer) &&
                     number(st, 9, ALL_DATABASES, &databases) && databases &&
                     subtask < parallelism && parallelism <= max && first + count <= max;
        rc = right ? 0 : fail(r, TIDE_ECORRUPT, "what it says about its task cannot be");
        if (!rc && !tide_bytes_equal(bytes(st, 8), tide_bytes_of(TIDE_STATES_HASH)))
            rc = fail(r, TIDE_EVERSION,
                      "its keys are hashed in a way that this library does not know");
        if (!rc) {
            t->subtask = (uint32_t)subtask;
            t->parallelism = (uint32_t)parallelism;
            t->max_parallelism = (uint32_t)max;
            t->first = (uint32_t)first;
            t->count = (uint32_t)count;
            t->databases = (uint32_t)databases;
            if (step(r, st)) rc = fail(r, TIDE_ECORRUPT, "speaks of more than one task");
        }
    } else if (!rc) {
        rc = fail(r, TIDE_ECORRUPT, "does not say whose state it is");
    }
    sqlite3_finalize(st);
    return rc;
}

/* ---- its states */

static bool read_state(struct tide_format_reader *r, sqlite3_stmt *st, uint64_t *next)
{
    struct tide_format_state s = {0};
    uint64_t id, version;
    if (!number(st, 0, STATES_MAX, &id) || id != r->n_states + 1 || !name(r, st, 1, &s.name))
        return false;
    for (int k = TIDE_VALUE; k <= TIDE_BROADCAST; k++)
        if (tide_bytes_equal(bytes(st, 2),
                             tide_bytes_of(tide_states_kind_name((enum tide_states_kind)k))))
            s.kind = (enum tide_states_kind)k;
    if (!s.kind || (tide_kind_is_keyed(s.kind) && !r->task.count)) return false;
    if (!(r->task.databases & (tide_kind_is_keyed(s.kind) ? TIDE_FORMAT_KEYED : TIDE_FORMAT_OWN)))
        return false;
    if (!is(st, 3, SQLITE_NULL) && !name(r, st, 3, &s.schema)) return false;
    if (!number(st, 4, UINT32_MAX, &version) || !number(st, 5, ROWS_MAX, &s.first) ||
        !number(st, 6, ROWS_MAX, &s.rows) || s.first != *next ||
        !descriptor(r, st, 7, &s.message, &s.descriptor))
        return false;
    for (uint32_t i = 0; i < r->n_states; i++)
        if (tide_bytes_equal(r->states[i].name, s.name)) return false;
    s.version = (uint32_t)version;
    *next += s.rows;
    r->states[r->n_states++] = s;
    return *next <= ROWS_MAX;
}

static int read_states(struct tide_format_reader *r)
{
    sqlite3_stmt *st = NULL;
    uint64_t n = 0, last = 0, next = 1;
    int rc = one_number(r, "SELECT count(*) FROM state", &n);
    if (!rc) rc = one_number(r, "SELECT coalesce(max(id), 0) FROM entry", &last);
    if (!rc && n > STATES_MAX) rc = fail(r, TIDE_ECORRUPT, "has more than %u states", STATES_MAX);
    if (rc) return rc;
    r->states = calloc((size_t)n + 1, sizeof *r->states);
    if (!r->states) return fail(r, TIDE_ENOMEM, "out of memory");
    rc = prepare(r,
                 "SELECT id, name, kind, schema, version, first, rows, message, descriptor "
                 "FROM state ORDER BY id",
                 &st);
    while (!rc && (rc = step(r, st)) == 1)
        rc = r->n_states < n && read_state(r, st, &next)
                 ? 0
                 : fail(r, TIDE_ECORRUPT, "state %u is described in a way that cannot be",
                        r->n_states + 1);
    sqlite3_finalize(st);
    if (!rc && (r->n_states != n || next != last + 1))
        rc = fail(r, TIDE_ECORRUPT, "has other rows than its states have");
    return rc;
}

/* The key groups of one state share out its rows, in ascending order. */
static int check_groups_of(struct tide_format_reader *r, sqlite3_stmt *st, uint32_t state,
                           uint64_t *seen)
{
    const struct tide_format_state *s = &r->states[state];
    uint64_t next = s->first, least = r->task.first, group, first, rows;
    int rc = sqlite3_bind_int64(st, 1, state + 1);
    if (rc) return fail_sql(r, rc);
    while ((rc = step(r, st)) == 1) {
        if (!number(st, 0, GROUPS_MAX, &group) || group < least ||
            group - r->task.first >= r->task.count || !number(st, 1, ROWS_MAX, &first) ||
            first != next || !number(st, 2, ROWS_MAX, &rows) || !rows)
            return fail(r, TIDE_ECORRUPT, "the key groups of state %.*s cannot be",
                        (int)s->name.len, (const char *)s->name.data);
        least = group + 1;
        next += rows;
        ++*seen;
    }
    if (!rc && next != s->first + s->rows)
        rc = fail(r, TIDE_ECORRUPT, "the key groups of a state have other rows than the state");
    int reset = sqlite3_reset(st);
    return rc ? rc : reset ? fail_sql(r, reset) : 0;
}

static int check_groups(struct tide_format_reader *r)
{
    sqlite3_stmt *st = NULL;
    uint64_t seen = 0, n = 0;
    int rc = prepare(r,
                     "SELECT key_group, first, rows FROM key_group WHERE state = ? "
                     "ORDER BY key_group",
                     &st);
    for (uint32_t i = 0; !rc && i < r->n_states; i++)
        if (tide_kind_is_keyed(r->states[i].kind)) rc = check_groups_of(r, st, i, &seen);
    sqlite3_finalize(st);
    if (!rc) rc = one_number(r, "SELECT count(*) FROM key_group", &n);
    if (!rc && n != seen) rc = fail(r, TIDE_ECORRUPT, "has key groups that are no state's");
    return rc;
}

/* ---- its flows */

static bool read_flow(struct tide_format_reader *r, sqlite3_stmt *st, uint64_t *next)
{
    struct tide_format_flow f = {0};
    uint64_t id, first, channels, max, version;
    if (!number(st, 0, STATES_MAX, &id) || id != r->n_flows + 1 || !name(r, st, 1, &f.name))
        return false;
    bool out = tide_bytes_equal(bytes(st, 2), tide_bytes_of("output"));
    if (!out && !tide_bytes_equal(bytes(st, 2), tide_bytes_of("input"))) return false;
    f.direction = out ? TIDE_FLIGHT_OUTPUT : TIDE_FLIGHT_INPUT;
    if (!is(st, 3, SQLITE_NULL) && !name(r, st, 3, &f.peer)) return false;
    for (int k = TIDE_FLOW_KEYED; k <= TIDE_FLOW_BROADCAST; k++)
        if (tide_bytes_equal(bytes(st, 4),
                             tide_bytes_of(tide_flow_route_name((enum tide_flow_route)k))))
            f.route = (enum tide_flow_route)k;
    if (!f.route || !number(st, 5, TIDE_FLOW_CHANNELS_MAX, &first) ||
        !number(st, 6, TIDE_FLOW_CHANNELS_MAX, &channels) || !channels ||
        first + channels > TIDE_FLOW_CHANNELS_MAX || !number(st, 7, GROUPS_MAX, &max) ||
        (max != 0) != (f.route == TIDE_FLOW_KEYED))
        return false;
    if (!is(st, 8, SQLITE_NULL) && !name(r, st, 8, &f.schema)) return false;
    if (!number(st, 9, UINT32_MAX, &version) || !number(st, 10, ROWS_MAX, &f.first) ||
        !number(st, 11, ROWS_MAX, &f.records) || f.first != *next ||
        !descriptor(r, st, 12, &f.message, &f.descriptor))
        return false;
    for (uint32_t i = 0; i < r->n_flows; i++)
        if (tide_bytes_equal(r->flows[i].name, f.name)) return false;
    f.first_channel = (uint32_t)first;
    f.channels = (uint32_t)channels;
    f.max_parallelism = (uint32_t)max;
    f.version = (uint32_t)version;
    *next += f.records;
    r->flows[r->n_flows++] = f;
    return *next <= ROWS_MAX;
}

static int read_flows(struct tide_format_reader *r)
{
    sqlite3_stmt *st = NULL;
    uint64_t n = 0, last = 0, next = 1;
    int rc = one_number(r, "SELECT count(*) FROM flow", &n);
    if (!rc) rc = one_number(r, "SELECT coalesce(max(id), 0) FROM in_flight", &last);
    if (rc) return rc;
    if (n > STATES_MAX) return fail(r, TIDE_ECORRUPT, "has more than %u flows", STATES_MAX);
    if ((n != 0) != ((r->task.databases & TIDE_FORMAT_FLIGHT) != 0) ||
        (n && (r->n_states || r->task.count)))
        return fail(r, TIDE_ECORRUPT, "has flows and states in one, or should have flows");
    r->flows = calloc((size_t)n + 1, sizeof *r->flows);
    if (!r->flows) return fail(r, TIDE_ENOMEM, "out of memory");
    rc = prepare(r,
                 "SELECT id, name, direction, peer, route, first_channel, channels, "
                 "max_parallelism, schema, version, first, records, message, descriptor "
                 "FROM flow ORDER BY id",
                 &st);
    while (!rc && (rc = step(r, st)) == 1)
        rc = r->n_flows < n && read_flow(r, st, &next)
                 ? 0
                 : fail(r, TIDE_ECORRUPT, "flow %u is described in a way that cannot be",
                        r->n_flows + 1);
    sqlite3_finalize(st);
    if (!rc && (r->n_flows != n || next != last + 1))
        rc = fail(r, TIDE_ECORRUPT, "has other records in flight than its flows have");
    r->n_in_flight = last;
    return rc;
}

/* ---- opening */

/* As SQLite wants it, and never to be looked for a journal beside it. */
static char *uri_of(const char *path)
{
    static const char plain[] =
        "/._-ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    size_t len = strlen(path);
    char *uri = malloc(len * 3 + 32), *to = uri;
    if (!uri) return NULL;
    to += sprintf(to, "file:");
    for (size_t i = 0; i < len; i++)
        to += strchr(plain, path[i]) ? sprintf(to, "%c", path[i])
                                     : sprintf(to, "%%%02X", (unsigned char)path[i]);
    (void)sprintf(to, "?immutable=1");
    return uri;
}

static int open_file(struct tide_format_reader *r, const char *path)
{
    char *uri = uri_of(path);
    if (!uri) return fail(r, TIDE_ENOMEM, "out of memory");
    int rc = sqlite3_open_v2(
        uri, &r->db,
        SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    free(uri);
    return rc ? fail_sql(r, rc) : 0;
}

static int open_image(struct tide_format_reader *r, struct tide_bytes image)
{
    int rc =
        sqlite3_open_v2(":memory:", &r->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    if (!rc)
        rc = sqlite3_deserialize(r->db, "main", (unsigned char *)(uintptr_t)image.data,
                                 (sqlite3_int64)image.len, (sqlite3_int64)image.len,
                                 SQLITE_DESERIALIZE_READONLY);
    return rc ? fail_sql(r, rc) : 0;
}

static int check(struct tide_format_reader *r)
{
    static const char settings[] = "PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF;"
                                   "PRAGMA query_only = ON; PRAGMA cache_size = -2048;";
    (void)sqlite3_limit(r->db, SQLITE_LIMIT_LENGTH, (int)TIDE_STATES_BYTES_MAX + (1 << 20));
    int rc = sqlite3_db_config(r->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    if (!rc) rc = sqlite3_exec(r->db, settings, NULL, NULL, NULL);
    if (rc) return fail_sql(r, rc);
    rc = check_kind(r);
    if (!rc) rc = check_tables(r);
    if (!rc) rc = read_task(r);
    if (!rc) rc = read_states(r);
    if (!rc) rc = check_groups(r);
    return rc ? rc : read_flows(r);
}

static int open_reader(const char *path, const char *called, struct tide_bytes image,
                       struct tide_format_reader **ret, char why[static WHY_SIZE])
{
    struct tide_format_reader *r = calloc(1, sizeof *r);
    snprintf(why, WHY_SIZE, "%.200s: %s", called, tide_strerror(TIDE_ENOMEM));
    if (!r) return TIDE_ENOMEM;
    tide_arena_init(&r->arena, ARENA_MAX);
    r->name = strdup(called);
    int rc = r->name ? path ? open_file(r, path) : open_image(r, image) : TIDE_ENOMEM;
    if (!rc) rc = check(r);
    if (!rc) {
        *ret = r;
        return 0;
    }
    if (r->why[0]) memcpy(why, r->why, WHY_SIZE);
    tide_format_close(r);
    return rc;
}

int tide_format_open(const char *path, struct tide_format_reader **ret, char why[static WHY_SIZE])
{
    return open_reader(path, path, (struct tide_bytes){0}, ret, why);
}

int tide_format_open_bytes(const char *called, struct tide_bytes image,
                           struct tide_format_reader **ret, char why[static WHY_SIZE])
{
    return open_reader(NULL, called, image, ret, why);
}

void tide_format_close(struct tide_format_reader *r)
{
    if (!r) return;
    sqlite3_close(r->db);
    tide_native_close(r->native);
    tide_arena_release(&r->arena);
    free(r->states);
    free(r->flows);
    free(r->name);
    free(r);
}

/* ---- rows */

/* Where the rows of some key groups lie. */
static int range_of_groups(struct tide_format_reader *r, uint32_t state, uint64_t group,
                           uint64_t groups, uint64_t *ret_first, uint64_t *ret_rows)
{
    static const char from_groups[] = "SELECT coalesce(%s, 0) FROM key_group WHERE state = %u "
                                      "AND key_group BETWEEN %llu AND %llu";
    char sql[200];
    uint64_t last = group + groups - 1;
    *ret_first = *ret_rows = 0;
    if (!groups) return 0;
    snprintf(sql, sizeof sql, from_groups, "min(first)", state + 1, (unsigned long long)group,
             (unsigned long long)last);
    int rc = one_number(r, sql, ret_first);
    snprintf(sql, sizeof sql, from_groups, "sum(rows)", state + 1, (unsigned long long)group,
             (unsigned long long)last);
    return rc ? rc : one_number(r, sql, ret_rows);
}

static bool check_row(struct tide_format_reader *r, sqlite3_stmt *st, uint32_t state,
                      const uint64_t groups[2], struct tide_row *row)
{
    const enum tide_states_kind kind = r->states[state].kind;
    const bool has_items = kind == TIDE_MAP || kind == TIDE_BROADCAST;
    uint64_t of, group = 0;
    if (!number(st, 1, STATES_MAX, &of) || of != state + 1u) return false;
    if (!is(st, 4, has_items ? SQLITE_BLOB : SQLITE_NULL) || !is(st, 5, SQLITE_BLOB)) return false;
    row->item = bytes(st, 4);
    row->value = bytes(st, 5);
    if (!tide_kind_is_keyed(kind)) return is(st, 2, SQLITE_NULL) && is(st, 3, SQLITE_NULL);
    if (!number(st, 2, GROUPS_MAX, &group) || !is(st, 3, SQLITE_BLOB)) return false;
    row->group = (uint32_t)group;
    row->key = bytes(st, 3);
    return group >= groups[0] && group < groups[1] &&
           group == tide_states_key_group(row->key.data, row->key.len, r->task.max_parallelism);
}

static int count_row(void *user, const struct tide_row *row)
{
    (void)row;
    ++*(uint64_t *)user;
    return 0;
}

int tide_format_count(struct tide_format_reader *r, uint32_t state)
{
    uint64_t rows = 0;
    if (!r->native) return 0;
    int rc = tide_format_rows(r, state, r->task.first, r->task.count, count_row, &rows);
    if (!rc) r->states[state].rows = rows;
    return rc;
}

int tide_format_rows(struct tide_format_reader *r, uint32_t state, uint64_t first, uint64_t count,
                     tide_row_visit *f, void *user)
{
    sqlite3_stmt *st = NULL;
    if (r->native) return tide_native_rows(r, state, first, count, f, user);
    if (state >= r->n_states) return fail(r, TIDE_EINVAL, "has no state %u", state);
    const struct tide_format_state *s = &r->states[state];
    const uint64_t groups[2] = {first, first + count};
    uint64_t from = s->first + first, rows = count;
    int rc = 0;
    if (tide_kind_is_keyed(s->kind))
        rc = range_of_groups(r, state, first, count, &from, &rows);
    else if (first > s->rows || count > s->rows - first)
        rc = fail(r, TIDE_EINVAL, "state %.*s has not so many rows", (int)s->name.len,
                  (const char *)s->name.data);
    if (!rc && rows)
        rc = prepare(r,
                     "SELECT id, state, key_group, key, item, value FROM entry "
                     "WHERE id BETWEEN ?1 AND ?2 ORDER BY id",
                     &st);
    if (rc || !rows) return rc;
    rc = sqlite3_bind_int64(st, 1, (sqlite3_int64)from);
    if (!rc) rc = sqlite3_bind_int64(st, 2, (sqlite3_int64)(from + rows - 1));
    if (rc) rc = fail_sql(r, rc);
    for (uint64_t i = 0; !rc && i < rows; i++) {
        struct tide_row row = {0};
        const unsigned long long expected = from + i;
        uint64_t id;
        rc = step(r, st);
        if (rc < 0) break;
        rc = rc && number(st, 0, ROWS_MAX, &id) && id == expected &&
                     check_row(r, st, state, groups, &row)
                 ? 0
                 : fail(r, TIDE_ECORRUPT, "state %.*s: row %llu is missing or cannot be",
                        (int)s->name.len, (const char *)s->name.data, expected);
        if (!rc) rc = f(user, &row);
    }
    sqlite3_finalize(st);
    return rc;
}

static bool check_record(const struct tide_format_reader *r, sqlite3_stmt *st, uint32_t flow,
                         uint32_t least, struct tide_flight_row *row)
{
    const struct tide_format_flow *f = &r->flows[flow];
    uint64_t of, channel, group = 0;
    if (!number(st, 1, STATES_MAX, &of) || of != flow + 1u) return false;
    if (!number(st, 2, TIDE_FLOW_CHANNELS_MAX, &channel) || channel < least ||
        channel - f->first_channel >= f->channels || !is(st, 5, SQLITE_BLOB))
        return false;
    row->channel = (uint32_t)channel;
    row->record = bytes(st, 5);
    if (f->route != TIDE_FLOW_KEYED) return is(st, 3, SQLITE_NULL) && is(st, 4, SQLITE_NULL);
    if (!number(st, 3, GROUPS_MAX, &group) || !is(st, 4, SQLITE_BLOB)) return false;
    row->group = (uint32_t)group;
    row->key = bytes(st, 4);
    return group == tide_states_key_group(row->key.data, row->key.len, f->max_parallelism);
}

int tide_format_records(struct tide_format_reader *r, uint32_t flow, tide_flight_visit *f,
                        void *user)
{
    sqlite3_stmt *st = NULL;
    if (flow >= r->n_flows) return fail(r, TIDE_EINVAL, "has no flow %u", flow);
    const struct tide_format_flow *of = &r->flows[flow];
    uint32_t least = of->first_channel;
    if (!of->records) return 0;
    int rc = prepare(r,
                     "SELECT id, flow, channel, key_group, key, record FROM in_flight "
                     "WHERE id BETWEEN ?1 AND ?2 ORDER BY id",
                     &st);
    if (rc) return rc;
    rc = sqlite3_bind_int64(st, 1, (sqlite3_int64)of->first);
    if (!rc) rc = sqlite3_bind_int64(st, 2, (sqlite3_int64)(of->first + of->records - 1));
    if (rc) rc = fail_sql(r, rc);
    for (uint64_t i = 0; !rc && i < of->records; i++) {
        struct tide_flight_row row = {0};
        const unsigned long long expected = of->first + i;
        uint64_t id;
        rc = step(r, st);
        if (rc < 0) break;
        rc = rc && number(st, 0, ROWS_MAX, &id) && id == expected &&
                     check_record(r, st, flow, least, &row)
                 ? 0
                 : fail(r, TIDE_ECORRUPT, "flow %.*s: record %llu is missing or cannot be",
                        (int)of->name.len, (const char *)of->name.data, expected);
        least = row.channel;
        if (!rc) rc = f(user, &row);
    }
    sqlite3_finalize(st);
    return rc;
}
