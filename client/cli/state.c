/* `tidemark state`: what the databases of state in a snapshot's directory hold, without a daemon
 * and without the program. One JSON document a line, so that memory does not grow with the
 * snapshot. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "client/cli/cli.h"
#include "state/directory.h"

struct looking {
    struct cli *cli;
    bool rows; /* `read`: each state's line, then its entries; else `ls`: the lines alone */
    const char *operator_uid, *state;
    struct tide_format_reader *reader; /* the database under way */
    const struct tide_format_state *of;
    uint64_t shown;
    char why[WHY_SIZE];
};

/* ---- lines */

static bool is_text(struct tide_bytes b)
{
    if (!tide_text_valid(b)) return false;
    for (size_t i = 0; i < b.len; i++)
        if (b.data[i] < 0x20 || b.data[i] == 0x7f) return false;
    return true;
}

static void put_text(struct tide_bytes b)
{
    putchar('"');
    for (size_t i = 0; i < b.len; i++) {
        if (b.data[i] == '"' || b.data[i] == '\\') putchar('\\');
        if (b.data[i] < 0x20)
            printf("\\u%04x", b.data[i]);
        else
            putchar(b.data[i]);
    }
    putchar('"');
}

/* "name": "text", or "name_hex": "00ff". */
static void put_bytes(const char *name, struct tide_bytes b)
{
    if (is_text(b)) {
        printf(", \"%s\": ", name);
        put_text(b);
        return;
    }
    printf(", \"%s_hex\": \"", name);
    for (size_t i = 0; i < b.len; i++)
        printf("%02x", b.data[i]);
    putchar('"');
}

static void put_number(const char *name, uint64_t n)
{
    printf(", \"%s\": %llu", name, (unsigned long long)n);
}

static void put_head(const struct looking *l)
{
    printf("{\"operator\": ");
    put_text(l->reader->task.uid);
    printf(", \"subtask\": %u, \"state\": ", l->reader->task.subtask);
    put_text(l->of->name);
    printf(", \"kind\": \"%s\"", tide_states_kind_name(l->of->kind));
}

static int show_row(void *user, const struct tide_row *row)
{
    struct looking *l = user;
    const enum tide_states_kind kind = l->of->kind;
    put_head(l);
    if (tide_kind_is_keyed(kind)) {
        printf(", \"key_group\": %u", row->group);
        put_bytes("key", row->key);
    }
    if (kind == TIDE_MAP || kind == TIDE_BROADCAST) put_bytes("item", row->item);
    put_bytes("value", row->value);
    printf("}\n");
    l->shown++;
    return ferror(stdout) ? TIDE_EIO : 0;
}

static void show_state(struct looking *l)
{
    const struct tide_format_task *t = &l->reader->task;
    put_head(l);
    if (l->of->schema.len) {
        printf(", \"schema\": ");
        put_text(l->of->schema);
        printf(", \"version\": %u", l->of->version);
    }
    put_number("rows", l->of->rows);
    if (tide_kind_is_keyed(l->of->kind)) {
        put_number("first_key_group", t->first);
        put_number("key_groups", t->count);
    }
    put_number("parallelism", t->parallelism);
    put_number("max_parallelism", t->max_parallelism);
    put_number("round", t->round);
    printf("}\n");
    l->shown++;
}

/* ---- databases */

static bool is_wanted(const char *wanted, struct tide_bytes name)
{
    return !wanted || tide_bytes_equal(name, tide_bytes_of(wanted));
}

/* Takes the reader. */
static int look(struct looking *l, struct tide_format_reader *r)
{
    int rc = 0;
    l->reader = r;
    if (l->rows && !l->state && r->n_in_flight && is_wanted(l->operator_uid, r->task.uid)) {
        rc = TIDE_ENOTSUP;
        snprintf(r->why, sizeof r->why, "%.200s: has %llu records in flight: not supported yet",
                 r->name, (unsigned long long)r->n_in_flight);
    }
    for (uint32_t i = 0; !rc && i < r->n_states; i++) {
        l->of = &r->states[i];
        if (!is_wanted(l->operator_uid, r->task.uid) || !is_wanted(l->state, l->of->name)) continue;
        bool is_keyed = tide_kind_is_keyed(l->of->kind);
        show_state(l);
        if (l->rows)
            rc = tide_format_rows(r, i, is_keyed ? r->task.first : 0,
                                  is_keyed ? r->task.count : l->of->rows, show_row, l);
    }
    if (rc) memcpy(l->why, r->why, sizeof l->why);
    tide_format_close(r);
    return rc;
}

static int look_at(void *user, const struct tide_directory_artifact *a)
{
    struct looking *l = user;
    struct tide_format_reader *r = NULL;
    if (!tide_directory_is_state(a) || !is_wanted(l->operator_uid, a->op->uid)) return 0;
    int rc = tide_directory_read(a, &r, l->why);
    return rc ? rc : look(l, r);
}

static int run(struct cli *c, bool rows)
{
    struct looking l = {
        .cli = c, .rows = rows, .operator_uid = c->options.operator_uid, .state = c->options.state};
    struct tide_directory d = {0};
    struct tide_format_reader *r = NULL;
    struct stat st;
    const char *path = c->args[0];
    int rc;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        rc = tide_directory_open(path, &d, l.why);
        if (!rc) rc = tide_directory_each(&d, look_at, &l);
        tide_directory_close(&d);
    } else {
        rc = tide_format_open(path, &r, l.why);
        if (!rc) rc = look(&l, r);
    }
    if (fflush(stdout) || ferror(stdout))
        return cli_fail(c, "file", "the answer could not be written");
    if (rc) return cli_fail(c, "file", "%s", l.why[0] ? l.why : tide_strerror(rc));
    if (!l.shown && (l.operator_uid || l.state))
        return cli_fail(c, "file", "%.300s: has no such state", path);
    return DONE;
}

int state_ls(struct cli *c)
{
    return run(c, false);
}

int state_read(struct cli *c)
{
    return run(c, true);
}
