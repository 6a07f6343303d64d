/* Writing the canonical format, as a bulk load: one transaction without a journal, rows in the
 * order of their ids, so that pages are filled one after the other and never again. Whoever wants
 * the file to last syncs it; a half-written one is nobody's, since it is named in no manifest. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state/format.h"

struct tide_format_writer {
    sqlite3 *db;
    char *name; /* for errors: the file */
    sqlite3_stmt *row, *group_row, *state_row, *flow_row, *flight_row;
    struct tide_format_state state; /* the one that is open, its texts borrowed from begin */
    struct tide_format_flow flow;   /* the same */
    bool open, flows, in_memory;
    uint32_t n_states, n_flows;
    uint64_t next, group_first; /* ids of entry */
    uint32_t group;
    bool in_group;
    uint64_t next_flight;
    int rc; /* an SQLite code; sticks */
    char why[WHY_SIZE];
};

static int fail(struct tide_format_writer *w, int rc)
{
    if (w->rc || !rc) return w->rc;
    int error = sqlite3_system_errno(w->db);
    bool io = (rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CANTOPEN;
    snprintf(w->why, sizeof w->why, "cannot be written: %.200s%s%s",
             w->db ? sqlite3_errmsg(w->db) : "out of memory", io && error ? ": " : "",
             io && error ? strerror(error) : "");
    return w->rc = rc;
}

static void run(struct tide_format_writer *w, const char *sql)
{
    if (!w->rc) fail(w, sqlite3_exec(w->db, sql, NULL, NULL, NULL));
}

static void prepare(struct tide_format_writer *w, const char *sql, sqlite3_stmt **ret)
{
    if (!w->rc) fail(w, sqlite3_prepare_v3(w->db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL));
}

static void text(struct tide_format_writer *w, sqlite3_stmt *st, int at, struct tide_bytes b)
{
    const char *data = b.data ? (const char *)b.data : "";
    if (!w->rc) fail(w, sqlite3_bind_text64(st, at, data, b.len, SQLITE_STATIC, SQLITE_UTF8));
}

static void blob(struct tide_format_writer *w, sqlite3_stmt *st, int at, struct tide_bytes b)
{
    if (!w->rc)
        fail(w,
             sqlite3_bind_blob64(st, at, b.data ? (const void *)b.data : "", b.len, SQLITE_STATIC));
}

static void number(struct tide_format_writer *w, sqlite3_stmt *st, int at, uint64_t n)
{
    if (!w->rc)
        fail(w, n > INT64_MAX ? SQLITE_TOOBIG : sqlite3_bind_int64(st, at, (sqlite3_int64)n));
}

static void none(struct tide_format_writer *w, sqlite3_stmt *st, int at)
{
    if (!w->rc) fail(w, sqlite3_bind_null(st, at));
}

static void text_or_none(struct tide_format_writer *w, sqlite3_stmt *st, int at,
                         struct tide_bytes b)
{
    if (b.len)
        text(w, st, at, b);
    else
        none(w, st, at);
}

static void descriptor(struct tide_format_writer *w, sqlite3_stmt *st, int at,
                       struct tide_bytes message, struct tide_bytes files)
{
    text_or_none(w, st, at, message);
    if (files.len)
        blob(w, st, at + 1, files);
    else
        none(w, st, at + 1);
}

static int step(struct tide_format_writer *w, sqlite3_stmt *st)
{
    if (w->rc) return w->rc;
    int rc = sqlite3_step(st);
    if (rc != SQLITE_DONE) return fail(w, rc == SQLITE_ROW ? SQLITE_ERROR : rc);
    return fail(w, sqlite3_reset(st));
}

static void put_task(struct tide_format_writer *w, const struct tide_format_task *t)
{
    sqlite3_stmt *st = NULL;
    prepare(w, "INSERT INTO task VALUES (?, ?, ?, ?, '" TIDE_STATES_HASH "', ?, ?, ?, ?, ?)", &st);
    text(w, st, 1, t->uid);
    number(w, st, 2, t->subtask);
    number(w, st, 3, t->parallelism);
    number(w, st, 4, t->max_parallelism);
    number(w, st, 5, t->first);
    number(w, st, 6, t->count);
    number(w, st, 7, t->databases);
    number(w, st, 8, t->round);
    text(w, st, 9, t->writer);
    (void)step(w, st);
    sqlite3_finalize(st);
}

int tide_format_create(const char *path, const struct tide_format_task *task,
                       struct tide_format_writer **ret, char why[static WHY_SIZE])
{
    char pragmas[200];
    struct tide_format_writer *w = calloc(1, sizeof *w);
    snprintf(why, WHY_SIZE, "%.200s: %s", path ? path : "memory", tide_strerror(TIDE_ENOMEM));
    if (!w) return TIDE_ENOMEM;
    w->name = strdup(path ? path : "memory");
    if (!w->name) {
        free(w);
        return TIDE_ENOMEM;
    }
    w->in_memory = !path;
    w->next = w->next_flight = 1;
    fail(w, sqlite3_open_v2(path ? path : ":memory:", &w->db,
                            SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
                                SQLITE_OPEN_EXRESCODE,
                            NULL));
    snprintf(
        pragmas, sizeof pragmas,
        "PRAGMA page_size = %d; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
        "PRAGMA locking_mode = EXCLUSIVE; PRAGMA application_id = %d; PRAGMA user_version = %d;"
        "BEGIN",
        path ? 16384 : 1024, TIDE_FORMAT_APPLICATION, TIDE_FORMAT_VERSION);
    run(w, pragmas);
    for (unsigned i = 0; i < TIDE_FORMAT_OBJECTS; i++)
        run(w, tide_format_objects[i].sql);
    put_task(w, task);
    prepare(w, "INSERT INTO state VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", &w->state_row);
    prepare(w, "INSERT INTO key_group VALUES (?, ?, ?, ?)", &w->group_row);
    prepare(w, "INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?)", &w->row);
    prepare(w, "INSERT INTO flow VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", &w->flow_row);
    prepare(w, "INSERT INTO in_flight VALUES (?, ?, ?, ?, ?, ?)", &w->flight_row);
    if (w->rc) {
        int rc = tide_format_code(w->rc);
        snprintf(why, WHY_SIZE, "%.200s: %.250s", w->name, w->why);
        tide_format_abandon(w);
        return rc;
    }
    why[0] = '\0';
    *ret = w;
    return 0;
}

static void end_group(struct tide_format_writer *w)
{
    if (!w->in_group) return;
    w->in_group = false;
    number(w, w->group_row, 1, w->n_states);
    number(w, w->group_row, 2, w->group);
    number(w, w->group_row, 3, w->group_first);
    number(w, w->group_row, 4, w->next - w->group_first);
    (void)step(w, w->group_row);
}

static void end_state(struct tide_format_writer *w)
{
    if (!w->open) return;
    end_group(w);
    w->open = false;
    number(w, w->state_row, 1, w->n_states);
    text(w, w->state_row, 2, w->state.name);
    text(w, w->state_row, 3, tide_bytes_of(tide_states_kind_name(w->state.kind)));
    text_or_none(w, w->state_row, 4, w->state.schema);
    number(w, w->state_row, 5, w->state.version);
    number(w, w->state_row, 6, w->state.first);
    number(w, w->state_row, 7, w->next - w->state.first);
    descriptor(w, w->state_row, 8, w->state.message, w->state.descriptor);
    (void)step(w, w->state_row);
}

int tide_format_state(struct tide_format_writer *w, const struct tide_format_state *state)
{
    end_state(w);
    w->state = *state;
    w->state.first = w->next;
    w->n_states++;
    w->open = true;
    return tide_format_code(w->rc);
}

int tide_format_row(struct tide_format_writer *w, const struct tide_row *row)
{
    const enum tide_states_kind kind = w->state.kind;
    const bool is_keyed = tide_kind_is_keyed(kind);
    if (is_keyed && (!w->in_group || w->group != row->group)) {
        end_group(w);
        w->in_group = true;
        w->group = row->group;
        w->group_first = w->next;
    }
    number(w, w->row, 1, w->next++);
    number(w, w->row, 2, w->n_states);
    if (is_keyed) {
        number(w, w->row, 3, row->group);
        blob(w, w->row, 4, row->key);
    } else {
        none(w, w->row, 3);
        none(w, w->row, 4);
    }
    if (kind == TIDE_MAP || kind == TIDE_BROADCAST)
        blob(w, w->row, 5, row->item);
    else
        none(w, w->row, 5);
    blob(w, w->row, 6, row->value);
    return tide_format_code(step(w, w->row));
}

static void end_flow(struct tide_format_writer *w)
{
    const struct tide_format_flow *f = &w->flow;
    sqlite3_stmt *st = w->flow_row;
    if (!w->flows) return;
    w->flows = false;
    number(w, st, 1, w->n_flows);
    text(w, st, 2, f->name);
    text(w, st, 3, tide_bytes_of(f->direction == TIDE_FLIGHT_OUTPUT ? "output" : "input"));
    text_or_none(w, st, 4, f->peer);
    text(w, st, 5, tide_bytes_of(tide_flow_route_name(f->route)));
    number(w, st, 6, f->first_channel);
    number(w, st, 7, f->channels);
    number(w, st, 8, f->max_parallelism);
    text_or_none(w, st, 9, f->schema);
    number(w, st, 10, f->version);
    number(w, st, 11, f->first);
    number(w, st, 12, w->next_flight - f->first);
    descriptor(w, st, 13, f->message, f->descriptor);
    (void)step(w, st);
}

int tide_format_flow(struct tide_format_writer *w, const struct tide_format_flow *flow)
{
    end_flow(w);
    w->flow = *flow;
    w->flow.first = w->next_flight;
    w->n_flows++;
    w->flows = true;
    return tide_format_code(w->rc);
}

int tide_format_record(struct tide_format_writer *w, const struct tide_flight_row *row)
{
    number(w, w->flight_row, 1, w->next_flight++);
    number(w, w->flight_row, 2, w->n_flows);
    number(w, w->flight_row, 3, row->channel);
    if (w->flow.route == TIDE_FLOW_KEYED) {
        number(w, w->flight_row, 4, row->group);
        blob(w, w->flight_row, 5, row->key);
    } else {
        none(w, w->flight_row, 4);
        none(w, w->flight_row, 5);
    }
    blob(w, w->flight_row, 6, row->record);
    return tide_format_code(step(w, w->flight_row));
}

int tide_format_finish(struct tide_format_writer *w, uint8_t **ret_data, size_t *ret_len,
                       char why[static WHY_SIZE])
{
    uint8_t *data = NULL;
    sqlite3_int64 len = 0;
    end_state(w);
    end_flow(w);
    run(w, "COMMIT");
    if (!w->rc && w->in_memory) {
        data = sqlite3_serialize(w->db, "main", &len, 0);
        if (!data) fail(w, SQLITE_NOMEM);
    }
    int rc = tide_format_code(w->rc);
    if (rc) {
        snprintf(why, WHY_SIZE, "%.200s: %.250s", w->name, w->why);
    } else if (w->in_memory) {
        *ret_data = data;
        *ret_len = (size_t)len;
    }
    tide_format_abandon(w);
    return rc;
}

void tide_format_abandon(struct tide_format_writer *w)
{
    if (!w) return;
    sqlite3_finalize(w->row);
    sqlite3_finalize(w->group_row);
    sqlite3_finalize(w->state_row);
    sqlite3_finalize(w->flow_row);
    sqlite3_finalize(w->flight_row);
    sqlite3_close(w->db);
    free(w->name);
    free(w);
}
