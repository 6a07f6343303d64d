/* `tidemark state convert`: a savepoint's state as another savepoint, for other numbers of tasks
 * and of key groups, under other names, or without what is not wanted any more. No daemon, no
 * program.
 *
 * All that a restore would check is checked: digests, that each task's databases are there, and
 * rows. What cannot be carried over is refused by name, unless it is dropped. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/state_change.h"
#include "client/cli/state_make.h"
#include "state/directory.h"

struct source { /* an operator of FROM */
    bool dropped, max_given;
    uint32_t to; /* among those that are made */
    uint32_t max_parallelism, databases;
    uint32_t seen; /* databases */
    char **states; /* what each state that is made was called */
};

struct converting {
    struct making m;
    struct change change;
    const struct many *parallelism, *max_parallelism;
    uint32_t parallelism_used, max_used;
    struct tide_directory d;
    struct source *sources; /* by the graph's operators */
    /* the row that is under way */
    struct making_operator *op;
    uint32_t state, subtask;
    struct tide_format_reader *reader;
};

static int fail_at(struct converting *c, const struct tide_directory_artifact *a, const char *what)
{
    return making_fail(&c->m, "%.200s: %s", a->file[0] ? a->file : "inline state", what);
}

/* ---- operators */

static int add_operator(struct converting *c, uint32_t i)
{
    const struct tide_operator *from = &c->d.graph->operators[i];
    struct source *s = &c->sources[i];
    const struct tide_bytes none = {0};
    s->dropped = change_drops(&c->change, from->uid, none);
    if (s->dropped) return 0;
    const uint32_t before = c->m.n;
    struct making_operator *op = making_operator(&c->m, change_name(&c->change, from->uid, none));
    if (!op) return -1;
    if (c->m.n == before)
        return making_fail(&c->m, "two operators would be called %.100s", op->uid);
    s->to = before;
    op->parts = from->parallelism;
    op->parallelism = change_number(c->parallelism, from->uid, &c->parallelism_used);
    if (!op->parallelism) op->parallelism = from->parallelism;
    op->max_parallelism = change_number(c->max_parallelism, from->uid, &c->max_used);
    s->max_given = op->max_parallelism != 0;
    if (!s->max_given) op->max_parallelism = from->max_parallelism;
    op->keeps_union = from->union_state;
    op->coordinator = from->coordinator;
    return 0;
}

static int add_operators(struct converting *c)
{
    const Tide__ManifestHead *head = c->d.manifest.head;
    int rc = 0;
    if (head->n_ended || head->n_ending)
        return making_fail(&c->m, "%.200s: has tasks that had ended: not supported yet", c->d.path);
    for (uint32_t i = 0; !rc && i < c->d.graph->n_operators; i++)
        rc = add_operator(c, i);
    if (!rc && !c->m.n) rc = making_fail(&c->m, "nothing would be left");
    return rc;
}

/* What coordinators and hooks gave, under the new names. */
static void add_externals(struct converting *c)
{
    const Tide__ManifestHead *head = c->d.manifest.head;
    c->m.externals = xrealloc(NULL, head->n_externals * sizeof(Tide__ExternalState *) + 1);
    for (size_t i = 0; i < head->n_externals; i++) {
        Tide__ExternalState *e = head->externals[i];
        struct tide_bytes name = {e->external->name.data, e->external->name.len};
        const struct tide_bytes none = {0};
        if (e->external->kind != TIDE__EXTERNAL_KIND__EXTERNAL_HOOK) {
            if (change_drops(&c->change, name, none)) continue;
            name = change_name(&c->change, name, none);
            e->external->name = (ProtobufCBinaryData){name.len, (uint8_t *)(uintptr_t)name.data};
        }
        c->m.externals[c->m.n_externals++] = e;
    }
}

/* ---- states */

static int check_task(struct converting *c, struct source *s,
                      const struct tide_directory_artifact *a)
{
    const struct tide_format_task *t = &c->reader->task;
    const uint32_t kind = tide_bytes_equal(a->view.name, tide_bytes_of(TIDE_ARTIFACT_KEYED))
                              ? TIDE_FORMAT_KEYED
                              : TIDE_FORMAT_OWN;
    uint32_t first, count;
    if (c->reader->n_flows) return fail_at(c, a, "has records in flight: not supported yet");
    if (!tide_bytes_equal(t->uid, a->op->uid) || t->subtask != a->subtask ||
        t->parallelism != a->op->parallelism)
        return fail_at(c, a, "is not of the task that the snapshot says");
    if ((s->databases && s->databases != t->databases) ||
        (s->max_parallelism && s->max_parallelism != t->max_parallelism))
        return fail_at(c, a, "does not fit what the operator's other tasks have");
    tide_key_group_range(t->subtask, t->parallelism, t->max_parallelism, &first, &count);
    if (kind == TIDE_FORMAT_KEYED && (t->first != first || t->count != count))
        return fail_at(c, a, "has not the key groups of its task");
    /* the spec may leave it open, and an earlier snapshot have said it */
    if (!s->max_given) c->op->max_parallelism = t->max_parallelism;
    s->databases = t->databases;
    s->max_parallelism = t->max_parallelism;
    s->seen++;
    return 0;
}

/* The state of the new savepoint that this one becomes; *ret UINT32_MAX: none. */
static int state_of(struct converting *c, struct source *s, const struct tide_format_state *state,
                    uint32_t *ret)
{
    const struct tide_bytes uid = c->reader->task.uid;
    struct tide_format_state made = *state;
    *ret = UINT32_MAX;
    if (change_drops(&c->change, uid, state->name)) return 0;
    made.name = change_name(&c->change, uid, state->name);
    if (!made.schema.data) made.schema = (struct tide_bytes){(const uint8_t *)"", 0};
    const uint32_t before = c->op->n_states;
    if (making_state(&c->m, c->op, &made, ret)) return -1;
    if (c->op->n_states > before) {
        s->states = xrealloc(s->states, c->op->n_states * sizeof(char *));
        s->states[before] = xprintf("%.*s", (int)state->name.len, (const char *)state->name.data);
    }
    if (tide_bytes_equal(state->name, tide_bytes_of(s->states[*ret]))) return 0;
    return making_fail(&c->m, "operator %.100s: two states would be called %.100s", c->op->uid,
                       c->op->states[*ret].name);
}

static int take_row(void *user, const struct tide_row *row)
{
    struct converting *c = user;
    return making_row(&c->m, c->op, c->state, c->subtask, row) ? TIDE_EINVAL : 0;
}

static int take_states(struct converting *c, struct source *s)
{
    struct tide_format_reader *r = c->reader;
    for (uint32_t i = 0; i < r->n_states; i++) {
        const bool keyed = tide_kind_is_keyed(r->states[i].kind);
        if (state_of(c, s, &r->states[i], &c->state)) return -1;
        if (c->state == UINT32_MAX) continue;
        r->why[0] = '\0';
        if (tide_format_rows(r, i, keyed ? r->task.first : 0,
                             keyed ? r->task.count : r->states[i].rows, take_row, c))
            return c->m.why[0] ? -1 : making_fail(&c->m, "%.299s", r->why);
    }
    return 0;
}

static int take_artifact(void *user, const struct tide_directory_artifact *a)
{
    struct converting *c = user;
    struct source *s = &c->sources[a->op - c->d.graph->operators];
    char why[WHY_SIZE] = "";
    if (s->dropped || tide_directory_is_file(a)) return 0;
    if (!tide_directory_is_state(a)) {
        if (a->view.flight) return fail_at(c, a, "is of records in flight: not supported yet");
        return making_fail(&c->m,
                           "operator %.100s keeps bytes of its own (%.150s), which cannot be "
                           "converted: drop it, or restore as it is",
                           c->m.operators[s->to].uid, a->file[0] ? a->file : "inline");
    }
    if (tide_directory_read(a, &c->reader, why)) return making_fail(&c->m, "%.299s", why);
    c->op = &c->m.operators[s->to];
    c->subtask = a->subtask;
    int rc = check_task(c, s, a);
    if (!rc) rc = take_states(c, s);
    tide_format_close(c->reader);
    return rc;
}

/* Each task of an operator has given what each of them has. */
static int check_whole(struct converting *c)
{
    for (uint32_t i = 0; i < c->d.graph->n_operators; i++) {
        const struct source *s = &c->sources[i];
        const struct tide_operator *op = &c->d.graph->operators[i];
        uint32_t each =
            (s->databases & TIDE_FORMAT_KEYED ? 1u : 0) + (s->databases & TIDE_FORMAT_OWN ? 1u : 0);
        if (s->seen != each * op->parallelism)
            return making_fail(&c->m, "%.200s: the state of some tasks of operator %.*s is missing",
                               c->d.path, (int)(op->uid.len < 100 ? op->uid.len : 100),
                               (const char *)op->uid.data);
    }
    return 0;
}

static int check_used(struct converting *c)
{
    const char *rule = change_unused(&c->change);
    for (uint32_t i = 0; !rule && i < c->parallelism->n; i++)
        if (!(c->parallelism_used >> i & 1)) rule = c->parallelism->item[i];
    for (uint32_t i = 0; !rule && i < c->max_parallelism->n; i++)
        if (!(c->max_used >> i & 1)) rule = c->max_parallelism->item[i];
    return rule ? making_fail(&c->m, "%.200s: has nothing that '%.100s' is about", c->d.path, rule)
                : 0;
}

/* ---- the command */

static int convert(struct converting *c)
{
    c->m.of = c->d.manifest.head;
    int rc = making_open(&c->m);
    if (!rc) rc = add_operators(c);
    if (!rc) rc = tide_directory_each(&c->d, take_artifact, c) ? -1 : 0;
    if (rc && !c->m.why[0]) rc = making_fail(&c->m, "out of memory");
    if (!rc) rc = check_whole(c);
    if (!rc) rc = check_used(c);
    if (!rc) add_externals(c);
    return rc ? rc : making_write(&c->m);
}

static void release(struct converting *c)
{
    for (uint32_t i = 0; c->sources && i < c->d.graph->n_operators; i++) {
        const struct source *s = &c->sources[i];
        for (uint32_t k = 0; s->states && k < c->m.operators[s->to].n_states; k++)
            free(s->states[k]);
        free(s->states);
    }
    free(c->sources);
    free(c->m.externals);
    making_release(&c->m);
    tide_directory_close(&c->d);
}

int state_convert(struct cli *cli)
{
    const struct options *o = &cli->options;
    char *directory = NULL, *name = NULL;
    int rc = operation_directory(cli, cli->args[1], "TO", &directory);
    if (rc) return rc;
    struct converting *c = xrealloc(NULL, sizeof *c);
    *c = (struct converting){.m = {.directory = directory, .job = o->job},
                             .change = {.renames = &o->renames, .drops = &o->drops},
                             .parallelism = &o->parallelism,
                             .max_parallelism = &o->max_parallelism};
    if (tide_directory_open(cli->args[0], &c->d, c->m.why)) {
        rc = -1;
    } else {
        c->sources = xrealloc(NULL, c->d.graph->n_operators * sizeof *c->sources + 1);
        const ProtobufCBinaryData had = c->d.manifest.head->spec->name;
        name = xprintf("%.*s", (int)had.len, (const char *)had.data);
        if (!c->m.job) c->m.job = name;
        memset(c->sources, 0, c->d.graph->n_operators * sizeof *c->sources);
        rc = convert(c);
    }
    if (rc)
        rc = cli_fail(cli, "file", "%s", c->m.why);
    else
        printf("%s\n", directory);
    release(c);
    free(c);
    free(directory);
    free(name);
    return rc;
}
