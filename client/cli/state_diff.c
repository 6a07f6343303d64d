/* `tidemark state diff`: in what the state of two savepoints differs, operator by operator and
 * state by state, without a daemon and without the programs. It compares what is there, not where:
 * tasks, key groups and rounds may be others.
 *
 * One state at a time: what both have of it is staged in temporary databases, sorted, and walked
 * side by side, so that memory does not grow with a snapshot. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "client/cli/cli.h"
#include "client/cli/state_row.h"
#include "state/directory.h"

#define CANNOT 2 /* the exit code when one cannot be read: 1 says that they differ */

struct named { /* a state of one side */
    char *uid, *name, *schema;
    enum tide_states_kind kind;
    uint32_t version;
    uint64_t rows;
};

struct side {
    const char *path;
    const char *word; /* "a", "b" */
    struct tide_directory d;
    bool is_directory;
    struct named *states; /* sorted by uid and name */
    uint32_t n;
    sqlite3_stmt *insert, *sorted;
    uint64_t position;
    bool more; /* sorted stands on a row */
};

struct comparing {
    struct cli *cli;
    struct side sides[2];
    sqlite3 *db;
    struct row_out out;
    const struct named *of; /* the state under way */
    uint64_t differences;
    char why[WHY_SIZE];
    /* of a walk over a side's databases */
    struct side *side;
    int (*each)(struct comparing *c, struct tide_format_reader *r);
    struct tide_format_reader *reader;
};

static int fail(struct comparing *c, const char *what, const char *which)
{
    snprintf(c->why, sizeof c->why, "%.200s: %.250s", what, which);
    return -1;
}

static int fail_sql(struct comparing *c)
{
    snprintf(c->why, sizeof c->why, "the temporary database: %.200s", sqlite3_errmsg(c->db));
    return -1;
}

/* ---- all databases of a side, in the order of subtasks */

static int take(struct comparing *c, struct tide_format_reader *r)
{
    const struct options *o = &c->cli->options;
    int rc = 0;
    if (!o->operator_uid || tide_bytes_equal(r->task.uid, tide_bytes_of(o->operator_uid))) {
        if (r->n_in_flight && !o->state) {
            snprintf(c->why, sizeof c->why, "%.200s: has %llu records in flight: not supported yet",
                     r->name, (unsigned long long)r->n_in_flight);
            rc = -1;
        }
        if (!rc) rc = c->each(c, r);
    }
    tide_format_close(r);
    return rc;
}

static int take_artifact(void *user, const struct tide_directory_artifact *a)
{
    struct comparing *c = user;
    struct tide_format_reader *r = NULL;
    if (!tide_directory_is_state(a)) return 0;
    if (c->of && !tide_bytes_equal(a->op->uid, tide_bytes_of(c->of->uid))) return 0;
    return tide_directory_read(a, &r, c->why) ? -1 : take(c, r);
}

static int walk(struct comparing *c, struct side *side,
                int (*each)(struct comparing *, struct tide_format_reader *))
{
    struct tide_format_reader *r = NULL;
    int rc;
    c->side = side;
    c->each = each;
    if (side->is_directory)
        rc = tide_directory_each(&side->d, take_artifact, c);
    else
        rc = tide_format_open(side->path, &r, c->why) ? -1 : take(c, r);
    if (rc && !c->why[0]) (void)fail(c, side->path, tide_strerror(rc));
    return rc ? -1 : 0;
}

/* ---- which states there are */

static char *copy(struct tide_bytes b)
{
    return xprintf("%.*s", (int)b.len, (const char *)b.data);
}

static int compare_names(const struct named *a, const struct named *b)
{
    int uid = strcmp(a->uid, b->uid);
    return uid ? uid : strcmp(a->name, b->name);
}

static int by_name(const void *a, const void *b)
{
    return compare_names(a, b);
}

static int note_states(struct comparing *c, struct tide_format_reader *r)
{
    struct side *side = c->side;
    for (uint32_t i = 0; i < r->n_states; i++) {
        const struct tide_format_state *s = &r->states[i];
        struct named *known = NULL;
        if (c->cli->options.state &&
            !tide_bytes_equal(s->name, tide_bytes_of(c->cli->options.state)))
            continue;
        for (uint32_t k = 0; k < side->n && !known; k++)
            if (tide_bytes_equal(r->task.uid, tide_bytes_of(side->states[k].uid)) &&
                tide_bytes_equal(s->name, tide_bytes_of(side->states[k].name)))
                known = &side->states[k];
        if (!known) {
            side->states = xrealloc(side->states, (side->n + 1) * sizeof *side->states);
            known = &side->states[side->n++];
            *known = (struct named){.uid = copy(r->task.uid),
                                    .name = copy(s->name),
                                    .schema = copy(s->schema),
                                    .kind = s->kind,
                                    .version = s->version};
        }
        if (known->kind != s->kind || known->version != s->version ||
            !tide_bytes_equal(s->schema, tide_bytes_of(known->schema)))
            return fail(c, r->name, "a state of it is declared otherwise by another task");
        known->rows += s->rows;
    }
    return 0;
}

/* ---- one state */

static int stage_row(void *user, const struct tide_row *row)
{
    struct comparing *c = user;
    sqlite3_stmt *st = c->side->insert;
    const struct tide_bytes parts[3] = {row->key, row->item, row->value};
    int rc = sqlite3_bind_int64(st, 1, c->reader->task.subtask);
    if (!rc) rc = sqlite3_bind_int64(st, 2, (sqlite3_int64)c->side->position++);
    if (!rc) rc = sqlite3_bind_int64(st, 3, row->group);
    for (int i = 0; !rc && i < 3; i++)
        rc = sqlite3_bind_blob64(st, 4 + i, parts[i].data ? (const void *)parts[i].data : "",
                                 parts[i].len, SQLITE_STATIC);
    if (!rc) rc = sqlite3_step(st) == SQLITE_DONE ? SQLITE_OK : SQLITE_ERROR;
    sqlite3_reset(st);
    return rc ? fail_sql(c) : 0;
}

static int stage_state(struct comparing *c, struct tide_format_reader *r)
{
    c->reader = r;
    for (uint32_t i = 0; i < r->n_states; i++) {
        const bool keyed = tide_kind_is_keyed(r->states[i].kind);
        if (!tide_bytes_equal(r->states[i].name, tide_bytes_of(c->of->name)) ||
            !tide_bytes_equal(r->task.uid, tide_bytes_of(c->of->uid)))
            continue;
        if (tide_format_rows(r, i, keyed ? r->task.first : 0,
                             keyed ? r->task.count : r->states[i].rows, stage_row, c)) {
            if (!c->why[0]) memcpy(c->why, r->why, sizeof c->why);
            return -1;
        }
    }
    return 0;
}

static struct tide_bytes column(const struct side *side, int at)
{
    const uint8_t *data = sqlite3_column_blob(side->sorted, at);
    return (struct tide_bytes){data ? data : (const uint8_t *)"",
                               (size_t)sqlite3_column_bytes(side->sorted, at)};
}

static int next(struct comparing *c, struct side *side)
{
    int rc = sqlite3_step(side->sorted);
    side->more = rc == SQLITE_ROW;
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : fail_sql(c);
}

static int show(struct comparing *c, struct side *side)
{
    const struct tide_row row = {.group = (uint32_t)sqlite3_column_int64(side->sorted, 4),
                                 .key = column(side, 0),
                                 .item = column(side, 2),
                                 .value = column(side, 3)};
    c->differences++;
    if (!c->cli->options.json) printf(side == c->sides ? "- " : "+ ");
    row_begin(&c->out);
    if (c->cli->options.json) row_text(&c->out, "in", tide_bytes_of(side->word));
    row_text(&c->out, "operator", tide_bytes_of(c->of->uid));
    row_text(&c->out, "state", tide_bytes_of(c->of->name));
    row_text(&c->out, "kind", tide_bytes_of(tide_states_kind_name(c->of->kind)));
    if (tide_kind_is_list(c->of->kind))
        row_number(&c->out, "position", (uint64_t)sqlite3_column_int64(side->sorted, 1));
    row_entry(&c->out, c->of->kind, &row);
    row_end(&c->out);
    if (!ferror(stdout)) return next(c, side);
    snprintf(c->why, sizeof c->why, "the answer could not be written");
    return -1;
}

/* By key, then position or item. */
static int compare_places(const struct side *a, const struct side *b)
{
    int order = tide_bytes_compare(column(a, 0), column(b, 0));
    sqlite3_int64 x = sqlite3_column_int64(a->sorted, 1), y = sqlite3_column_int64(b->sorted, 1);
    if (!order) order = x < y ? -1 : x > y;
    return order ? order : tide_bytes_compare(column(a, 2), column(b, 2));
}

static int merge(struct comparing *c)
{
    struct side *a = &c->sides[0], *b = &c->sides[1];
    int rc = next(c, a);
    if (!rc) rc = next(c, b);
    while (!rc && (a->more || b->more)) {
        int order = !a->more ? 1 : !b->more ? -1 : compare_places(a, b);
        const bool same = !order && tide_bytes_equal(column(a, 3), column(b, 3));
        if (order <= 0) rc = same ? next(c, a) : show(c, a);
        if (order >= 0 && !rc) rc = same ? next(c, b) : show(c, b);
    }
    return rc;
}

/* What each side's rows are sorted by. Elements of a list are numbered: of a keyed one within its
 * key, of another one through all tasks. Of a broadcast every copy that differs is there. */
static const char *order_of(enum tide_states_kind kind)
{
    if (kind == TIDE_LIST)
        return "SELECT key, row_number() OVER (PARTITION BY key ORDER BY subtask, n) - 1, item, "
               "value, part FROM side%d ORDER BY key, subtask, n";
    if (tide_kind_is_list(kind))
        return "SELECT key, row_number() OVER (ORDER BY subtask, n) - 1, item, value, part "
               "FROM side%d ORDER BY subtask, n";
    if (kind == TIDE_BROADCAST)
        return "SELECT DISTINCT key, 0, item, value, 0 FROM side%d ORDER BY item, value";
    return "SELECT key, 0, item, value, part FROM side%d ORDER BY key, item";
}

/* of[i] NULL: that side has no such state. */
static int compare_rows(struct comparing *c, const struct named *const of[2])
{
    int rc = 0;
    for (int i = 0; !rc && i < 2; i++) {
        struct side *side = &c->sides[i];
        char *sql = xprintf("DELETE FROM side%d", i);
        side->position = 0;
        if (sqlite3_exec(c->db, sql, NULL, NULL, NULL)) rc = fail_sql(c);
        free(sql);
        c->of = of[i];
        if (!rc && of[i]) rc = walk(c, side, stage_state);
    }
    c->of = of[0] ? of[0] : of[1];
    for (int i = 0; !rc && i < 2; i++) {
        char *sql = xprintf(order_of(c->of->kind), i);
        if (sqlite3_prepare_v2(c->db, sql, -1, &c->sides[i].sorted, NULL)) rc = fail_sql(c);
        free(sql);
    }
    if (!rc) rc = merge(c);
    for (int i = 0; i < 2; i++) {
        sqlite3_finalize(c->sides[i].sorted);
        c->sides[i].sorted = NULL;
    }
    c->of = NULL;
    return rc;
}

/* A state that one side has not, or that is declared otherwise there. */
static void show_state(struct comparing *c, const struct side *side, const struct named *s)
{
    c->differences++;
    if (!c->cli->options.json) printf(side == c->sides ? "- " : "+ ");
    row_begin(&c->out);
    if (c->cli->options.json) row_text(&c->out, "in", tide_bytes_of(side->word));
    row_text(&c->out, "operator", tide_bytes_of(s->uid));
    row_text(&c->out, "state", tide_bytes_of(s->name));
    row_text(&c->out, "kind", tide_bytes_of(tide_states_kind_name(s->kind)));
    if (*s->schema) {
        row_text(&c->out, "schema", tide_bytes_of(s->schema));
        row_number(&c->out, "version", s->version);
    }
    row_number(&c->out, "rows", s->rows);
    row_end(&c->out);
}

static int compare_states(struct comparing *c)
{
    struct side *a = &c->sides[0], *b = &c->sides[1];
    int rc = 0;
    for (uint32_t i = 0, k = 0; !rc && (i < a->n || k < b->n);) {
        const struct named *x = i < a->n ? &a->states[i] : NULL;
        const struct named *y = k < b->n ? &b->states[k] : NULL;
        int order = !x ? 1 : !y ? -1 : compare_names(x, y);
        const struct named *of[2] = {order <= 0 ? x : NULL, order >= 0 ? y : NULL};
        i += of[0] != NULL;
        k += of[1] != NULL;
        if (of[0] && of[1] && of[0]->kind == of[1]->kind && of[0]->version == of[1]->version &&
            !strcmp(of[0]->schema, of[1]->schema)) {
            rc = compare_rows(c, of);
            continue;
        }
        if (of[0]) show_state(c, a, of[0]);
        if (of[1]) show_state(c, b, of[1]);
        if (of[0] && of[1] && of[0]->kind != of[1]->kind) continue; /* nothing to compare */
        rc = compare_rows(c, of);
    }
    return rc;
}

/* ---- the command */

static int open_side(struct comparing *c, struct side *side)
{
    struct stat st;
    side->is_directory = stat(side->path, &st) == 0 && S_ISDIR(st.st_mode);
    if (side->is_directory && tide_directory_open(side->path, &side->d, c->why)) return -1;
    if (walk(c, side, note_states)) return -1;
    if (side->n) qsort(side->states, side->n, sizeof *side->states, by_name);
    return 0;
}

static int open_staging(struct comparing *c)
{
    /* The empty name: a database in a temporary file, which goes when it is closed. */
    int rc = sqlite3_open_v2(
        "", &c->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (!rc)
        rc = sqlite3_exec(c->db,
                          "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN;"
                          "CREATE TABLE side0 (subtask INTEGER, n INTEGER, part INTEGER, key BLOB,"
                          " item BLOB, value BLOB);"
                          "CREATE TABLE side1 (subtask INTEGER, n INTEGER, part INTEGER, key BLOB,"
                          " item BLOB, value BLOB)",
                          NULL, NULL, NULL);
    for (int i = 0; !rc && i < 2; i++) {
        char *sql = xprintf("INSERT INTO side%d VALUES (?, ?, ?, ?, ?, ?)", i);
        rc = sqlite3_prepare_v2(c->db, sql, -1, &c->sides[i].insert, NULL);
        free(sql);
    }
    return rc ? fail_sql(c) : 0;
}

static void release(struct comparing *c)
{
    for (int i = 0; i < 2; i++) {
        struct side *side = &c->sides[i];
        sqlite3_finalize(side->insert);
        tide_directory_close(&side->d);
        for (uint32_t k = 0; k < side->n; k++) {
            free(side->states[k].uid);
            free(side->states[k].name);
            free(side->states[k].schema);
        }
        free(side->states);
    }
    sqlite3_close(c->db);
}

int state_diff(struct cli *cli)
{
    struct comparing c = {
        .cli = cli,
        .sides = {{.path = cli->args[0], .word = "a"}, {.path = cli->args[1], .word = "b"}}};
    int rc = open_staging(&c);
    for (int i = 0; !rc && i < 2; i++)
        rc = open_side(&c, &c.sides[i]);
    const bool none = !c.sides[0].n && !c.sides[1].n;
    if (!rc && none && (cli->options.state || cli->options.operator_uid))
        rc = fail(&c, cli->args[0], "has no such state, nor has the other one");
    if (!rc) rc = compare_states(&c);
    release(&c);
    if (rc) {
        (void)cli_fail(cli, "file", "%s", c.why);
        return CANNOT;
    }
    return c.differences ? FAILED : DONE;
}
