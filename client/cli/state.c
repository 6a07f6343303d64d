/* `tidemark state`: what the databases of state in a snapshot's directory hold, without a daemon
 * and without the program. One JSON document a line, or a record of CSV, so that memory does not
 * grow with the snapshot. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "client/cli/cli.h"
#include "client/cli/state_row.h"
#include "state/directory.h"

struct looking {
    struct cli *cli;
    bool rows; /* `read`: each state's line, then its entries; else `ls`: the lines alone */
    const char *operator_uid, *state;
    struct tide_format_reader *reader; /* the database under way */
    const struct tide_format_state *of;
    const struct tide_format_flow *flow;
    uint64_t shown;
    struct row_out out;
    char why[WHY_SIZE];
};

/* ---- lines */

static void put_head(struct looking *l)
{
    row_begin(&l->out);
    row_text(&l->out, "operator", l->reader->task.uid);
    row_number(&l->out, "subtask", l->reader->task.subtask);
    row_text(&l->out, "state", l->of->name);
    row_text(&l->out, "kind", tide_bytes_of(tide_states_kind_name(l->of->kind)));
}

static int show_row(void *user, const struct tide_row *row)
{
    struct looking *l = user;
    put_head(l);
    row_entry(&l->out, l->of->kind, row);
    row_end(&l->out);
    l->shown++;
    return ferror(stdout) ? TIDE_EIO : 0;
}

static void show_state(struct looking *l)
{
    const struct tide_format_task *t = &l->reader->task;
    put_head(l);
    if (l->of->schema.len) {
        row_text(&l->out, "schema", l->of->schema);
        row_number(&l->out, "version", l->of->version);
    }
    row_number(&l->out, "rows", l->of->rows);
    if (tide_kind_is_keyed(l->of->kind)) {
        row_number(&l->out, "first_key_group", t->first);
        row_number(&l->out, "key_groups", t->count);
    }
    row_number(&l->out, "parallelism", t->parallelism);
    row_number(&l->out, "max_parallelism", t->max_parallelism);
    row_number(&l->out, "round", t->round);
    row_end(&l->out);
    l->shown++;
}

/* ---- records in flight: as states of the kinds `input` and `output` */

static void put_flow_head(struct looking *l)
{
    bool out = l->flow->direction == TIDE_FLIGHT_OUTPUT;
    row_begin(&l->out);
    row_text(&l->out, "operator", l->reader->task.uid);
    row_number(&l->out, "subtask", l->reader->task.subtask);
    row_text(&l->out, "state", l->flow->name);
    row_text(&l->out, "kind", tide_bytes_of(out ? "output" : "input"));
}

static int show_record(void *user, const struct tide_flight_row *row)
{
    struct looking *l = user;
    put_flow_head(l);
    if (l->flow->route == TIDE_FLOW_KEYED) {
        row_number(&l->out, "key_group", row->group);
        row_bytes(&l->out, "key", row->key);
    }
    row_bytes(&l->out, "value", row->record);
    if (!l->out.csv) row_number(&l->out, "channel", row->channel);
    row_end(&l->out);
    l->shown++;
    return ferror(stdout) ? TIDE_EIO : 0;
}

static void show_flow(struct looking *l)
{
    const struct tide_format_flow *f = l->flow;
    put_flow_head(l);
    if (f->schema.len) {
        row_text(&l->out, "schema", f->schema);
        row_number(&l->out, "version", f->version);
    }
    row_number(&l->out, "rows", f->records);
    row_number(&l->out, "parallelism", l->reader->task.parallelism);
    if (f->max_parallelism) row_number(&l->out, "max_parallelism", f->max_parallelism);
    row_number(&l->out, "round", l->reader->task.round);
    if (!l->out.csv) { /* no columns */
        row_text(&l->out, "route", tide_bytes_of(tide_flow_route_name(f->route)));
        if (f->peer.len) row_text(&l->out, "peer", f->peer);
        row_number(&l->out, "first_channel", f->first_channel);
        row_number(&l->out, "channels", f->channels);
    }
    row_end(&l->out);
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
    for (uint32_t i = 0; !rc && i < r->n_flows; i++) {
        l->flow = &r->flows[i];
        if (!is_wanted(l->operator_uid, r->task.uid) || !is_wanted(l->state, l->flow->name))
            continue;
        show_flow(l);
        if (l->rows) rc = tide_format_records(r, i, show_record, l);
    }
    for (uint32_t i = 0; !rc && i < r->n_states; i++) {
        l->of = &r->states[i];
        if (!is_wanted(l->operator_uid, r->task.uid) || !is_wanted(l->state, l->of->name)) continue;
        bool is_keyed = tide_kind_is_keyed(l->of->kind);
        rc = tide_format_count(r, i);
        if (!rc) show_state(l);
        if (!rc && l->rows)
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
    struct looking l = {.cli = c,
                        .rows = rows,
                        .operator_uid = c->options.operator_uid,
                        .state = c->options.state,
                        .out.csv = c->options.csv};
    struct tide_directory d = {0};
    struct tide_format_reader *r = NULL;
    struct stat st;
    const char *path = c->args[0];
    int rc;
    row_names(&l.out);
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
