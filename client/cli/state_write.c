/* `tidemark state write`: a savepoint's directory out of JSON lines or CSV, without a daemon and
 * without a program. The lines are those of `tidemark state read`, which declare states and have
 * their entries, also edited or made by something else; declarations of a schema or a max
 * parallelism come first. Each operator becomes one task, whose state a job restores at any
 * parallelism up to the max parallelism. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/csv.h"
#include "client/cli/state_change.h"
#include "client/cli/state_make.h"
#include "client/cli/state_row.h"

#define RECORD_MAX ((size_t)1 << 30)

/* ---- lines */

static int text_of(struct making *m, const struct line *l, const char *name, bool needed,
                   struct tide_bytes *ret)
{
    int i = line_find(l, name);
    *ret = (struct tide_bytes){0};
    if (i < 0) return needed ? making_fail(m, "has no member \"%s\"", name) : 0;
    if (l->members[i].kind != LINE_TEXT && l->members[i].kind != LINE_FIELD)
        return making_fail(m, "\"%s\" is no text", name);
    *ret = l->members[i].text;
    return 0;
}

static int number_of(struct making *m, const struct line *l, const char *name, uint64_t *ret)
{
    int i = line_find(l, name);
    *ret = 0;
    if (i < 0) return 0;
    if ((l->members[i].kind != LINE_NUMBER && l->members[i].kind != LINE_FIELD) ||
        l->members[i].number > UINT32_MAX)
        return making_fail(m, "\"%s\" is no number in range", name);
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
    if (ret->data) return making_fail(m, "has both \"%s\" and \"%s\"", name, hex);
    uint8_t *to = (uint8_t *)(uintptr_t)b.data;
    if (b.len % 2) return making_fail(m, "\"%s\" is not hexadecimal", hex);
    for (size_t i = 0; i < b.len; i += 2) {
        int high = digit(b.data[i]), low = digit(b.data[i + 1]);
        if (high < 0 || low < 0) return making_fail(m, "\"%s\" is not hexadecimal", hex);
        to[i / 2] = (uint8_t)(high << 4 | low);
    }
    *ret = (struct tide_bytes){b.data, b.len / 2};
    return 0;
}

static int check_members(struct making *m, const struct line *l)
{
    for (uint32_t i = 0; i < l->n; i++)
        if (!row_is_known(l->members[i].name))
            return making_fail(m, "has an unknown member \"%.*s\"", (int)l->members[i].name.len,
                               (const char *)l->members[i].name.data);
    return 0;
}

static int kind_named(struct making *m, struct tide_bytes name, enum tide_states_kind *ret)
{
    for (int k = TIDE_VALUE; k <= TIDE_BROADCAST; k++)
        if (tide_bytes_equal(name,
                             tide_bytes_of(tide_states_kind_name((enum tide_states_kind)k)))) {
            *ret = (enum tide_states_kind)k;
            return 0;
        }
    return making_fail(m, "there is no kind \"%.*s\" of state", (int)name.len,
                       (const char *)name.data);
}

/* The state of a line, declared by it or before: what both say must be the same. */
static int declare(struct making *m, const struct line *l, struct making_operator *op,
                   uint32_t *ret)
{
    struct tide_format_state s = {0};
    struct tide_bytes kind;
    uint64_t version;
    if (text_of(m, l, "state", true, &s.name) || text_of(m, l, "kind", true, &kind) ||
        text_of(m, l, "schema", false, &s.schema) || number_of(m, l, "version", &version) ||
        kind_named(m, kind, &s.kind))
        return -1;
    s.version = (uint32_t)version;
    op->keeps_union |= s.kind == TIDE_UNION;
    return making_state(m, op, &s, ret);
}

static int declare_max(struct making *m, const struct cli *c, const struct line *l,
                       struct making_operator *op)
{
    uint64_t max = 0;
    if (number_of(m, l, "max_parallelism", &max)) return -1;
    uint32_t used = 0,
             given = change_number(&c->options.max_parallelism, tide_bytes_of(op->uid), &used);
    if (given) max = given;
    if (!max || max == op->max_parallelism) return 0;
    if (max > 1u << 20 || op->has_rows)
        return making_fail(m, "a max parallelism is 1 to 1048576, and the same for all entries");
    op->max_parallelism = (uint32_t)max;
    return 0;
}

/* Key and item are there if the kind has them. */
static int check_entry(struct making *m, enum tide_states_kind kind, const struct tide_row *row)
{
    bool keyed = tide_kind_is_keyed(kind), items = kind == TIDE_MAP || kind == TIDE_BROADCAST;
    if (keyed != (row->key.data != NULL))
        return making_fail(m,
                           keyed ? "has no key" : "has a key, which a state of its kind has not");
    if (items != (row->item.data != NULL))
        return making_fail(m, items ? "has no item"
                                    : "has an item, which a state of its kind has not");
    return 0;
}

/* CSV does not tell an empty one from one that is not there: what the kind has is empty. */
static void fill_in(enum tide_states_kind kind, struct tide_row *row)
{
    const struct tide_bytes empty = {(const uint8_t *)"", 0};
    if (!row->key.data && tide_kind_is_keyed(kind)) row->key = empty;
    if (!row->item.data && (kind == TIDE_MAP || kind == TIDE_BROADCAST)) row->item = empty;
    if (!row->value.data) row->value = empty;
}

static int take(struct making *m, const struct cli *c, const struct line *l)
{
    struct tide_bytes uid;
    struct tide_row row = {0};
    uint32_t state = 0;
    if (check_members(m, l) || text_of(m, l, "operator", true, &uid)) return -1;
    struct making_operator *op = making_operator(m, uid);
    if (!op || declare_max(m, c, l, op) || declare(m, l, op, &state)) return -1;
    if (bytes_of(m, l, "key", &row.key) || bytes_of(m, l, "item", &row.item) ||
        bytes_of(m, l, "value", &row.value))
        return -1;
    if (line_find(l, "rows") >= 0) return 0; /* it declares */
    if (c->options.csv) fill_in(op->states[state].kind, &row);
    if (!row.value.data) return making_fail(m, "has neither \"value\" nor \"rows\"");
    if (check_entry(m, op->states[state].kind, &row)) return -1;
    return making_row(m, op, state, 0, &row);
}

static int fail_input(struct making *m)
{
    return making_fail(m, "standard input: %s", strerror(errno ? errno : EIO));
}

static int read_lines(struct making *m, const struct cli *c, FILE *in)
{
    char *text = NULL;
    size_t room = 0;
    ssize_t n;
    int rc = 0;
    errno = 0;
    while (!rc && (n = getline(&text, &room, in)) >= 0) {
        struct line l;
        m->line++;
        if (strspn(text, " \t\r\n") == (size_t)n) continue;
        const char *wrong = line_parse(text, (size_t)n, &l);
        rc = wrong ? making_fail(m, "%s", wrong) : take(m, c, &l);
    }
    if (!rc && !feof(in)) rc = fail_input(m);
    free(text);
    m->line = 0;
    return rc;
}

/* CSV: the first record says what the fields are. */
static int read_records(struct making *m, const struct cli *c, FILE *in)
{
    struct tide_buf names, text;
    struct csv csv;
    struct line l;
    uint64_t lines;
    int rc = 0, more;
    tide_buf_init(&names, RECORD_MAX);
    tide_buf_init(&text, RECORD_MAX);
    m->line = 1;
    if ((more = csv_read(in, &names, &lines)) == 1) {
        const char *wrong = csv_header((char *)names.data, names.len, &csv);
        rc = wrong ? making_fail(m, "%s", wrong) : check_members(m, &csv.columns);
    }
    while (!rc && more == 1) {
        tide_buf_clear(&text);
        m->line += lines;
        more = csv_read(in, &text, &lines);
        if (more != 1 || text.data[0] == '\r' || text.data[0] == '\n') continue;
        const char *wrong = csv_record(&csv, (char *)text.data, text.len, &l);
        rc = wrong ? making_fail(m, "%s", wrong) : take(m, c, &l);
    }
    if (!rc && more < 0)
        rc = more == TIDE_EIO ? fail_input(m) : making_fail(m, "%s", tide_strerror(more));
    tide_buf_release(&names);
    tide_buf_release(&text);
    m->line = 0;
    return rc;
}

/* ---- the command */

int state_write(struct cli *c)
{
    char *directory = NULL;
    int rc = operation_directory(c, c->args[0], "PATH", &directory);
    if (rc) return rc;
    struct making m = {.directory = directory, .job = c->options.job ? c->options.job : "written"};
    rc = making_open(&m);
    if (!rc) rc = c->options.csv ? read_records(&m, c, stdin) : read_lines(&m, c, stdin);
    if (!rc && !m.n) rc = making_fail(&m, "no line declares a state or has an entry");
    if (!rc) rc = making_write(&m);
    making_release(&m);
    if (rc)
        rc = cli_fail(c, "file", "%s", m.why);
    else
        printf("%s\n", directory);
    free(directory);
    return rc;
}
