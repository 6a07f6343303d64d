/* From databases of a snapshot to the states of a task.
 *
 * First all is decided, without a look at a row: whether the databases are those of one operator in
 * one snapshot, what each of their states is to this program, whether they are all that the task
 * needs. Then rows are loaded into a backend of its own, which becomes the task's when the last
 * one is in. So whatever goes wrong, nothing is restored by half. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state/assign.h"
#include "state/upload.h"

#define STATES (TIDE_FORMAT_KEYED | TIDE_FORMAT_OWN)

struct loading {
    struct tide_states *s;
    struct tide_format_reader **readers; /* by subtask */
    uint32_t n;
    uint32_t had_parallelism, max_parallelism, first, count;
    uint32_t databases; /* that each task had */
    struct tide_backend *keyed, *own;
    /* the state under way */
    struct tide_named *named;
    struct tide_source_part *parts;
    struct tide_format_reader **of; /* the reader of each part */
    uint32_t *at;                   /* and the number of the state there */
    uint32_t n_parts;
    bool reopened; /* the keyed states are the files of a native part */
    struct tide_evolution evolution;
    bool migrate;
};

static struct tide_bytes text(const char *t)
{
    return tide_bytes_of(t);
}

/* ---- what they are */

static int by_subtask(const void *a, const void *b)
{
    const struct tide_format_task *x = &(*(struct tide_format_reader *const *)a)->task;
    const struct tide_format_task *y = &(*(struct tide_format_reader *const *)b)->task;
    if (x->subtask != y->subtask) return x->subtask < y->subtask ? -1 : 1;
    return (x->count != 0) - (y->count != 0);
}

static int check_together(struct loading *l)
{
    const struct tide_format_task *one = &l->readers[0]->task;
    for (uint32_t i = 1; i < l->n; i++) {
        const struct tide_format_task *t = &l->readers[i]->task;
        if (t->parallelism != one->parallelism || t->max_parallelism != one->max_parallelism ||
            t->round != one->round || !tide_bytes_equal(t->uid, one->uid))
            return tide_states_fail(l->s, TIDE_ECORRUPT,
                                    "%.200s: is not of the same operator and round as %.200s",
                                    l->readers[i]->name, l->readers[0]->name);
        if ((t->databases ^ one->databases) & STATES)
            return tide_states_fail(l->s, TIDE_ECORRUPT,
                                    "%.200s: its task has other kinds of states than that of "
                                    "%.200s",
                                    l->readers[i]->name, l->readers[0]->name);
    }
    l->databases = one->databases & STATES;
    if (tide_bytes_equal(one->uid, text(l->s->uid))) return 0;
    return tide_states_fail(l->s, TIDE_EREFUSED, "%.200s: is of operator %.*s, not of %.100s",
                            l->readers[0]->name, one->uid.len < 100 ? (int)one->uid.len : 100,
                            (const char *)one->uid.data, l->s->uid);
}

static int check_max(struct loading *l)
{
    const struct tide_states *s = l->s;
    const uint32_t had = l->readers[0]->task.max_parallelism;
    if (had < s->parallelism)
        return tide_states_fail(l->s, TIDE_EREFUSED,
                                "operator %.100s: the snapshot has max parallelism %u, less than "
                                "the parallelism %u",
                                s->uid, had, s->parallelism);
    if (had != s->max_parallelism && !s->derived)
        return tide_states_fail(l->s, TIDE_EREFUSED,
                                "operator %.100s: the snapshot has max parallelism %u, the job %u",
                                s->uid, had, s->max_parallelism);
    l->had_parallelism = l->readers[0]->task.parallelism;
    l->max_parallelism = had;
    tide_key_group_range(s->subtask, s->parallelism, had, &l->first, &l->count);
    return 0;
}

/* All key groups of the task, each once; databases come in the order of their key groups. */
static int check_keyed(struct loading *l)
{
    uint64_t next = 0, covered = l->first;
    for (uint32_t i = 0; i < l->n; i++) {
        const struct tide_format_task *t = &l->readers[i]->task;
        if (!t->count) continue;
        if (t->first < next)
            return tide_states_fail(l->s, TIDE_ECORRUPT, "%.200s: has key groups that another has",
                                    l->readers[i]->name);
        next = (uint64_t)t->first + t->count;
        if (t->first <= covered && next > covered) covered = next;
    }
    if (!(l->databases & TIDE_FORMAT_KEYED) || covered >= (uint64_t)l->first + l->count) return 0;
    return tide_states_fail(l->s, TIDE_ECORRUPT,
                            "operator %.100s: key group %llu is in none of the %u databases",
                            l->s->uid, (unsigned long long)covered, l->n);
}

/* Lists that are dealt out need all tasks' lists. */
static int check_own(struct loading *l)
{
    bool deals = l->had_parallelism != l->s->parallelism, any = false, unions = false;
    bool mine = false;
    uint32_t n = 0;
    for (uint32_t i = 0; i < l->n; i++) {
        const struct tide_format_reader *r = l->readers[i];
        if (r->task.count) continue;
        if (any && n && l->readers[i - 1]->task.subtask == r->task.subtask &&
            !l->readers[i - 1]->task.count)
            return tide_states_fail(l->s, TIDE_ECORRUPT, "%.200s: its task has another one",
                                    r->name);
        any = true;
        mine |= r->task.subtask == l->s->subtask;
        n++;
        for (uint32_t k = 0; k < r->n_states; k++)
            unions |= r->states[k].kind == TIDE_UNION;
    }
    if (!(l->databases & TIDE_FORMAT_OWN)) return 0;
    if (n == l->had_parallelism || (!deals && !unions && mine)) return 0;
    if (!any)
        return tide_states_fail(l->s, TIDE_ECORRUPT,
                                "operator %.100s: the states without keys are in none of the %u "
                                "databases",
                                l->s->uid, l->n);
    if (!deals && mine && n == 1)
        return tide_states_fail(l->s, TIDE_EREFUSED,
                                "operator %.100s: has a union of the lists of %u tasks, and is "
                                "given its own alone: let the job's spec say that it keeps union "
                                "list state",
                                l->s->uid, l->had_parallelism);
    return tide_states_fail(l->s, TIDE_ECORRUPT,
                            "operator %.100s: the lists of %u tasks belong together, those of %u "
                            "are there",
                            l->s->uid, l->had_parallelism, n);
}

/* ---- what their states are to this program */

static struct tide_had_schema had_schema(const struct tide_format_state *had)
{
    return (struct tide_had_schema){had->schema, had->version, had->message, had->descriptor};
}

static int judge(struct loading *l, const struct tide_format_reader *r,
                 const struct tide_format_state *had, const struct tide_named *n)
{
    if (had->kind != n->kind)
        return tide_states_fail(
            l->s, TIDE_EREFUSED, "%.200s: state %.100s is of the kind %s there, %s here", r->name,
            n->name, tide_states_kind_name(had->kind), tide_states_kind_name(n->kind));
    const struct tide_had_schema was = had_schema(had);
    char why[WHY_SIZE];
    int rc = tide_evolve_judge(&n->schema, &was, why);
    return rc < 0 ? tide_states_fail(l->s, rc, "%.200s: state %.100s is incompatible: %.250s",
                                     r->name, n->name, why)
                  : rc;
}

static int check_states(struct loading *l)
{
    for (uint32_t i = 0; i < l->n; i++)
        for (uint32_t k = 0; k < l->readers[i]->n_states; k++) {
            const struct tide_format_state *had = &l->readers[i]->states[k];
            const struct tide_named *n = tide_states_find(l->s, had->name);
            if (!n && !l->s->drop_unmatched)
                return tide_states_fail(
                    l->s, TIDE_EREFUSED, "%.200s: state %.*s is not declared, and would be lost",
                    l->readers[i]->name, (int)had->name.len, (const char *)had->name.data);
            int rc = n ? judge(l, l->readers[i], had, n) : 0;
            if (rc < 0) return rc;
        }
    return 0;
}

/* ---- rows */

static int put(struct loading *l, const struct tide_slot *at, const struct tide_row *row,
               struct tide_bytes value)
{
    struct tide_backend *b = tide_kind_is_keyed(l->named->kind) ? l->keyed : l->own;
    if (l->named->kind == TIDE_VALUE) return b->class->put(b, at, value);
    return tide_kind_is_list(l->named->kind) ? b->class->append(b, at, value)
                                             : b->class->put_item(b, at, row->item, value);
}

/* A backend that has a sentence of its own has told it. */
static int put_row(struct loading *l, const struct tide_slot *at, const struct tide_row *row,
                   struct tide_bytes value)
{
    int rc = put(l, at, row, value);
    if (!rc || l->s->why[0]) return rc;
    return tide_states_fail(l->s, rc, "state %.100s: %s", l->named->name, tide_strerror(rc));
}

static int load_row(void *user, const struct tide_row *row)
{
    struct loading *l = user;
    const struct tide_named *n = l->named;
    bool is_keyed = tide_kind_is_keyed(n->kind);
    struct tide_slot at = {n->number, is_keyed ? row->group : 0, row->key};
    if (!l->migrate) return put_row(l, &at, row, row->value);
    void *made = NULL;
    size_t len = 0;
    int rc = tide_evolve_migrate(l->s, "state", n->name, &l->evolution, row->value, &made, &len);
    if (!rc) rc = put_row(l, &at, row, (struct tide_bytes){made, len});
    free(made);
    return rc;
}

static int load_piece(void *user, const struct tide_piece *p)
{
    struct loading *l = user;
    struct tide_format_reader *r = l->of[p->source];
    const uint32_t at = l->at[p->source];
    const struct tide_had_schema was = had_schema(&r->states[at]);
    char why[WHY_SIZE];
    int rc =
        tide_evolve_begin(&l->named->schema, &was, &l->evolution, why); /* as judge() has said */
    l->migrate = rc == 1;
    r->why[0] = l->s->why[0] = '\0';
    rc = rc < 0 ? tide_states_fail(l->s, rc, "state %.100s: %.250s", l->named->name, why)
                : tide_format_rows(r, at, p->first, p->count, load_row, l);
    tide_evolve_end(&l->evolution);
    return rc && r->why[0] ? tide_states_fail(l->s, rc, "%s", r->why) : rc;
}

static int load_state(struct loading *l, struct tide_named *n, uint32_t *start)
{
    l->named = n;
    l->n_parts = 0;
    for (uint32_t i = 0; i < l->n; i++) {
        struct tide_format_reader *r = l->readers[i];
        for (uint32_t k = 0; k < r->n_states; k++) {
            if (!tide_bytes_equal(r->states[k].name, text(n->name))) continue;
            l->of[l->n_parts] = r;
            l->at[l->n_parts] = k;
            l->parts[l->n_parts++] = (struct tide_source_part){r->task.subtask, r->task.first,
                                                               r->task.count, r->states[k].rows};
        }
    }
    struct tide_assign a = {.kind = n->kind,
                            .sources = l->parts,
                            .n_sources = l->n_parts,
                            .had_parallelism = l->had_parallelism,
                            .parallelism = l->s->parallelism,
                            .max_parallelism = l->max_parallelism,
                            .subtask = l->s->subtask};
    return tide_assign(&a, start, load_piece, l);
}

/* ---- the files themselves
 *
 * Of the same key groups under the same backend a native part is opened as it is: its states keep
 * their numbers there, and new ones come behind them. */

static struct tide_format_reader *same_files(struct loading *l)
{
    struct tide_format_reader *one = NULL;
    for (uint32_t i = 0; i < l->n; i++) {
        struct tide_format_reader *r = l->readers[i];
        if (!r->task.count) continue;
        if (one || !r->native || r->native->class != l->s->class || r->task.first != l->first ||
            r->task.count != l->count)
            return NULL;
        one = r;
    }
    for (uint32_t i = 0; one && i < one->n_states; i++) {
        const struct tide_named *n = tide_states_find(l->s, one->states[i].name);
        if (!n || judge(l, one, &one->states[i], n)) return NULL;
    }
    return one;
}

static void number_as(struct tide_states *s, const struct tide_format_reader *r)
{
    uint32_t next = r->n_states;
    for (uint32_t i = 0; i < s->n_items; i++) {
        struct tide_named *n = s->items[i];
        uint32_t k = 0;
        if (!tide_kind_is_keyed(n->kind)) continue;
        while (k < r->n_states && !tide_bytes_equal(r->states[k].name, text(n->name)))
            k++;
        n->number = k < r->n_states ? k : next++;
    }
}

static int place(void *user, const char *directory, char *why)
{
    return tide_native_place(user, directory, false, why);
}

static int open_keyed(struct loading *l)
{
    struct tide_states *s = l->s;
    struct tide_format_reader *r = same_files(l);
    if (!r) return tide_states_open(s, true, l->first, l->count, &l->keyed);
    int rc = tide_native_check(r);
    if (rc) return tide_states_fail(s, rc, "%s", r->why);
    number_as(s, r);
    l->reopened = true;
    rc = tide_states_reopen(s, l->first, l->count, place, r, &l->keyed);
    return rc ? rc : tide_upload_restored(s, r->native);
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct tide_named *const *)a)->name, (*(struct tide_named *const *)b)->name);
}

static int load_all(struct loading *l)
{
    struct tide_states *s = l->s;
    uint32_t start = 0;
    struct tide_named **sorted = malloc((s->n_items + 1) * sizeof(struct tide_named *));
    l->parts = malloc((l->n + 1) * sizeof *l->parts);
    l->of = malloc((l->n + 1) * sizeof(struct tide_format_reader *));
    l->at = malloc((l->n + 1) * sizeof *l->at);
    int rc = sorted && l->parts && l->of && l->at ? 0 : TIDE_ENOMEM;
    if (rc) (void)tide_states_fail(s, rc, "operator %.100s: %s", s->uid, tide_strerror(rc));
    if (!rc) rc = open_keyed(l);
    if (!rc) rc = tide_states_open(s, false, 0, 0, &l->own);
    if (!rc) {
        memcpy(sorted, s->items, s->n_items * sizeof(struct tide_named *));
        qsort(sorted, s->n_items, sizeof(struct tide_named *), by_name);
    }
    for (uint32_t i = 0; !rc && i < s->n_items; i++)
        if (!l->reopened || !tide_kind_is_keyed(sorted[i]->kind))
            rc = load_state(l, sorted[i], &start);
    free(sorted);
    free(l->parts);
    free(l->of);
    free(l->at);
    return rc;
}

/* Those of records in flight behind the others; how many others there are. */
static uint32_t set_apart(struct tide_format_reader **readers, uint32_t n)
{
    uint32_t states = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct tide_format_reader *r = readers[i];
        if (r->n_flows) continue;
        memmove(&readers[states + 1], &readers[states],
                (i - states) * sizeof(struct tide_format_reader *));
        readers[states++] = r;
    }
    return states;
}

int tide_states_load(struct tide_states *s, struct tide_format_reader **readers, uint32_t n)
{
    struct loading l = {.s = s, .readers = readers, .n = n};
    tide_states_drop(s);
    if (!n) return tide_states_ready(s);
    qsort(readers, n, sizeof(struct tide_format_reader *), by_subtask);
    int rc = check_together(&l);
    if (!rc) rc = check_max(&l);
    l.n = set_apart(readers, n);
    if (!rc) rc = check_states(&l);
    if (!rc) rc = check_keyed(&l);
    if (!rc) rc = check_own(&l);
    if (!rc) rc = load_all(&l);
    const struct tide_flights_had had = {readers + l.n, n - l.n, l.had_parallelism,
                                         l.max_parallelism};
    if (!rc) rc = tide_flows_load(s, &had);
    if (rc) {
        if (l.keyed) l.keyed->class->close(l.keyed);
        if (l.own) l.own->class->close(l.own);
        return rc;
    }
    s->keyed = l.keyed;
    s->own = l.own;
    s->max_parallelism = l.max_parallelism;
    s->first = l.first;
    s->count = l.count;
    return 0;
}
