/* Matching, in three walks: over the acks, to see which operators of the snapshot have state; over
 * the two lists of operators, which are both sorted by uid, to decide about each; over the job's
 * edges, to see that nothing that has ended would get input again.
 *
 * The usual way: the graphs are the same, and everything is restored. What can go wrong, and what
 * follows, is told operator by operator, so that one look at a dry run shows all of it. */
#include "daemon/core/match.h"

#include <stdarg.h>
#include <stdio.h>

#include "daemon/core/internal.h"
#include "proto/graph_show.h"

/* Less than one Start may have, which in the worst case has all of it. */
#define DEALT_MAX (TIDE_PARTS_MAX / 2)
#define DEALT_EACH 80u /* bytes of an artifact in a Start besides its bytes, name and path */

struct tally { /* one operator of the snapshot */
    uint32_t with_state, ended, artifacts;
    uint64_t bytes;
    bool coordinator;
    struct match_run run;
    /* if its state is not handed on as it is: */
    uint32_t by_groups, to_all, flights; /* artifacts; flights: raw bytes of records in flight */
    uint64_t dealt;                      /* bytes that the tasks are told, together */
    struct tide_shown whole;             /* an artifact that cannot be divided */
    uint32_t whole_task;
    bool is_whole, is_foreign; /* is_foreign: it has key groups that were not its task's */
};

struct matching {
    struct match *match;
    const struct tide_graph *job;
    struct tide_graph *have; /* the snapshot's */
    const struct tide_manifest *m;
    struct tally *tallies;
    bool same;         /* both graphs are */
    struct bits ended; /* tasks of the job that stay ended */
    struct tide_buf adopted;
    struct tide_buf *report;
    bool unmatched, refused;
    char *why; /* 256 bytes */
};

static void say(struct matching *g, struct tide_bytes uid, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void say(struct matching *g, struct tide_bytes uid, const char *format, ...)
{
    char text[400];
    va_list args;
    if (!g->report) return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    tide_buf_put(g->report, uid.data, uid.len);
    tide_buf_put(g->report, ": ", 2);
    tide_buf_put(g->report, text, strlen(text));
    tide_buf_put_u8(g->report, '\n');
}

/* The answer is no; the first reason is told as the answer, all of them in the report. */
static void refuse(struct matching *g, struct tide_bytes uid, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void refuse(struct matching *g, struct tide_bytes uid, const char *format, ...)
{
    char text[200];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (!g->refused) snprintf(g->why, 256, "operator %.40s: %s", tide_show(uid).text, text);
    g->refused = true;
    say(g, uid, "refused: %s", text);
}

/* ---- what the snapshot holds */

static void tally_ended(struct matching *g, size_t n, Tide__TaskRange **ranges)
{
    for (size_t i = 0; i < n; i++)
        for (uint32_t t = 0; t < ranges[i]->count; t++) {
            const struct tide_operator *op =
                tide_graph_operator(g->have, ranges[i]->first + t, NULL);
            g->tallies[op - g->have->operators].ended++;
        }
}

static void tally_externals(struct matching *g)
{
    for (size_t i = 0; i < g->m->head->n_externals; i++) {
        const Tide__External *e = g->m->head->externals[i]->external;
        int64_t task = e && e->kind == TIDE__EXTERNAL_KIND__EXTERNAL_COORDINATOR
                           ? tide_graph_task(g->have, UNPB(e->name), 0)
                           : -1;
        if (task < 0) continue;
        const struct tide_operator *op = tide_graph_operator(g->have, (uint32_t)task, NULL);
        g->tallies[op - g->have->operators].coordinator = true;
    }
}

/* What each task takes its part of, if it is given all: lists, and records in flight that say
 * where they belong. */
static bool is_for_all(const struct tide_artifact_view *a)
{
    return !a->key_group_count && !a->flight &&
           (tide_bytes_equal(a->name, tide_bytes_of(TIDE_ARTIFACT_OWN)) ||
            tide_bytes_equal(a->name, tide_bytes_of(TIDE_ARTIFACT_FLIGHT)));
}

static uint32_t targets(const struct match_run *r, uint32_t task,
                        const struct tide_artifact_view *a, uint32_t *ret_first)
{
    *ret_first = r->to;
    if (r->to == TIDE_NONE) return 0;
    if (r->way != MATCH_SAME && is_for_all(a)) return r->parallelism;
    *ret_first = r->to + (task - r->first);
    if (r->way != MATCH_DIVIDED) return 1;
    if (!a->key_group_count || a->key_group_first >= r->max_parallelism) return 0;
    uint32_t last = a->key_group_first + a->key_group_count - 1;
    if (last >= r->max_parallelism) last = r->max_parallelism - 1;
    uint32_t low = tide_key_group_owner(a->key_group_first, r->parallelism, r->max_parallelism);
    *ret_first = r->to + low;
    return tide_key_group_owner(last, r->parallelism, r->max_parallelism) - low + 1;
}

/* Whoever keeps bytes of their own without key groups has not said how they could be divided, and
 * what would come of handing them out in another way nobody would notice. */
static void tally_dealt(struct tally *t, uint32_t task, const struct tide_artifact_view *a)
{
    uint32_t first, own, count;
    bool divided = t->run.way == MATCH_DIVIDED;
    tide_key_group_range(task - t->run.first, t->run.count, t->run.max_parallelism, &own, &count);
    bool foreign = a->key_group_count && (a->key_group_first < own ||
                                          a->key_group_first + a->key_group_count > own + count);
    if (divided && !t->is_whole && !a->flight &&
        (foreign || (!a->key_group_count && !is_for_all(a)))) {
        t->is_whole = true;
        t->is_foreign = foreign;
        t->whole = tide_show(a->name);
        t->whole_task = task - t->run.first;
    }
    t->by_groups += divided && a->key_group_count;
    t->to_all += is_for_all(a);
    t->dealt += (uint64_t)targets(&t->run, task, a, &first) *
                (DEALT_EACH + a->name.len + a->path.len + (a->is_inline ? a->size : 0));
}

static void tally_acks(struct matching *g)
{
    struct tide_manifest_walk walk = {0};
    struct tide_ack_view ack;
    const struct tide_operator *op = g->have->operators;
    while (tide_manifest_next(g->m, &walk, &ack)) {
        struct tide_artifact_place place = {0};
        struct tide_artifact_view view;
        if (ack.task < op->first_task || ack.task - op->first_task >= op->parallelism)
            op = tide_graph_operator(g->have, ack.task, NULL);
        struct tally *t = &g->tallies[op - g->have->operators];
        t->with_state += ack.artifacts > 0;
        t->artifacts += ack.artifacts;
        while (tide_acks_artifact(&ack, &place, &view)) {
            t->bytes += view.size;
            t->flights += view.flight != 0;
            if (t->run.way != MATCH_SAME) tally_dealt(t, ack.task, &view);
        }
    }
}

static bool is_empty(const struct tally *t)
{
    return !t->with_state && !t->coordinator;
}

/* ---- operator by operator */

static void plan_run(struct matching *g, const struct tide_operator *have, struct match_run *run)
{
    int64_t task = tide_graph_task(g->job, have->uid, 0);
    const struct tide_operator *job =
        task < 0 ? NULL : tide_graph_operator(g->job, (uint32_t)task, NULL);
    *run = (struct match_run){have->first_task, have->parallelism, TIDE_NONE, MATCH_SAME, 0, 0};
    if (!job) return;
    run->to = job->first_task;
    run->parallelism = job->parallelism;
    run->max_parallelism = have->max_parallelism; /* what the artifacts are cut by */
    if (have->parallelism != job->parallelism)
        run->way = MATCH_DIVIDED;
    else if ((have->union_state || job->union_state) && job->parallelism > 1)
        run->way = MATCH_UNION;
}

static bool same_graph(const struct tide_graph *a, const struct tide_graph *b)
{
    bool same = a->n_operators == b->n_operators && a->n_edges == b->n_edges;
    for (uint32_t i = 0; same && i < a->n_operators; i++)
        same = a->operators[i].parallelism == b->operators[i].parallelism &&
               tide_bytes_equal(a->operators[i].uid, b->operators[i].uid);
    for (uint32_t i = 0; same && i < a->n_edges; i++)
        same = a->edges[i].from == b->edges[i].from && a->edges[i].to == b->edges[i].to &&
               a->edges[i].pattern == b->edges[i].pattern;
    return same;
}

static bool has_flights(const struct tide_manifest *m)
{
    struct tide_manifest_walk walk = {0};
    struct tide_ack_view ack;
    while (tide_manifest_next(m, &walk, &ack)) {
        struct tide_artifact_place place = {0};
        struct tide_artifact_view view;
        while (tide_acks_artifact(&ack, &place, &view))
            if (tide_bytes_equal(view.name, tide_bytes_of(TIDE_ARTIFACT_FLIGHT))) return true;
    }
    return false;
}

/* In another graph a record that was in flight may belong to another task than it did, also at the
 * same parallelism. */
static void plan_runs(struct matching *g)
{
    g->same = same_graph(g->have, g->job);
    const bool routed = !g->same && has_flights(g->m);
    for (uint32_t i = 0; i < g->have->n_operators; i++) {
        struct match_run *run = &g->tallies[i].run;
        plan_run(g, &g->have->operators[i], run);
        if (run->way == MATCH_SAME && run->to != TIDE_NONE && routed && run->parallelism > 1)
            run->way = MATCH_UNION;
    }
}

/* In the order of the snapshot's tasks. */
static void add_run(struct matching *g, const struct tally *t)
{
    g->match->runs[g->match->n_runs++] = t->run;
    g->match->divides |= t->run.way != MATCH_SAME && t->run.to != TIDE_NONE;
}

static void unknown(struct matching *g, const struct tide_operator *have, const struct tally *t)
{
    add_run(g, t);
    if (is_empty(t))
        say(g, have->uid, "skipped: the job has no such operator, and it had no state");
    else if (g->unmatched)
        say(g, have->uid, "dropped: %u tasks had %" PRIu64 " bytes of state%s", t->with_state,
            t->bytes, t->coordinator ? ", and its coordinator had some" : "");
    else
        refuse(g, have->uid,
               "the job has no such operator, and the state of %u tasks would be lost unless "
               "unmatched state is allowed (--allow-unmatched)",
               t->with_state);
}

/* Key groups are cut by the max parallelism, so the snapshot's number is what holds from now on. */
static bool max_fits(struct matching *g, const struct tide_operator *have,
                     const struct tide_operator *job)
{
    if (have->max_parallelism < job->parallelism) {
        refuse(g, have->uid, "the snapshot has max parallelism %u, less than the parallelism %u",
               have->max_parallelism, job->parallelism);
        return false;
    }
    if (!job->max_chosen) {
        if (have->max_parallelism == job->max_parallelism) return true;
        refuse(g, have->uid, "the snapshot has max parallelism %u, the job %u",
               have->max_parallelism, job->max_parallelism);
        return false;
    }
    if (have->max_parallelism == tide_max_parallelism_default(job->parallelism)) return true;
    tide_buf_put_u32(&g->adopted, (uint32_t)(job - g->job->operators));
    tide_buf_put_u32(&g->adopted, have->max_parallelism);
    return true;
}

static void keep_ended(struct matching *g, uint32_t have_first, uint32_t job_first, size_t n,
                       Tide__TaskRange **ranges, uint32_t count)
{
    for (size_t i = 0; i < n; i++)
        for (uint32_t t = 0; t < ranges[i]->count; t++) {
            uint32_t task = ranges[i]->first + t;
            if (task >= have_first && task - have_first < count)
                bits_put(&g->ended, job_first + (task - have_first));
        }
}

/* Whether each task of the job can be given its part. */
static bool divides(struct matching *g, const struct tide_operator *have, const struct tally *t,
                    const struct tide_operator *job)
{
    char both[80];
    snprintf(both, sizeof both, "the snapshot has parallelism %u, the job %u", have->parallelism,
             job->parallelism);
    if (t->is_whole)
        refuse(g, have->uid, "%s, and artifact %.42s of task %u %s", both, t->whole.text,
               t->whole_task,
               t->is_foreign ? "has key groups that were not the task's"
                             : "is without key groups: nobody knows how to divide it");
    else if (t->run.way == MATCH_DIVIDED && t->ended && t->ended < have->parallelism)
        refuse(g, have->uid, "%s, and %u of the former had ended: only all or none can have", both,
               t->ended);
    else if (t->dealt > DEALT_MAX)
        refuse(g, have->uid,
               "its tasks would have to be told %" PRIu64 " bytes of artifacts together, and a "
               "restore has room for %u: keep less inline, or use fewer tasks",
               t->dealt, DEALT_MAX);
    else
        return true;
    return false;
}

static void show_dealt(const struct tally *t, char *out, size_t size)
{
    int n = 0;
    out[0] = '\0';
    if (t->run.way == MATCH_DIVIDED) n = snprintf(out, size, ", from %u tasks", t->run.count);
    if (t->by_groups)
        n += snprintf(out + n, size - (size_t)n, ", %u by their key groups", t->by_groups);
    if (t->to_all) snprintf(out + n, size - (size_t)n, ", %u to all tasks", t->to_all);
}

static void both(struct matching *g, const struct tide_operator *have, const struct tally *t,
                 const struct tide_operator *job)
{
    const Tide__ManifestHead *head = g->m->head;
    add_run(g, t);
    if (is_empty(t) && !t->ended) {
        say(g, have->uid, "restored: it had no state");
        return;
    }
    if (!max_fits(g, have, job) || !divides(g, have, t, job)) return;
    if (t->coordinator && !job->coordinator && !g->unmatched) {
        refuse(g, have->uid,
               "it has no coordinator any more, whose state would be lost unless "
               "unmatched state is allowed (--allow-unmatched)");
        return;
    }
    if (t->run.way == MATCH_DIVIDED) {
        if (t->ended) bits_put_run(&g->ended, job->first_task, job->parallelism); /* all had */
    } else {
        keep_ended(g, have->first_task, job->first_task, head->n_ended, head->ended,
                   have->parallelism);
        keep_ended(g, have->first_task, job->first_task, head->n_ending, head->ending,
                   have->parallelism);
    }
    char ended[60] = "", max[60] = "", dealt[120];
    show_dealt(t, dealt, sizeof dealt);
    if (t->ended) snprintf(ended, sizeof ended, ", %u tasks had ended", t->ended);
    if (have->max_parallelism != job->max_parallelism)
        snprintf(max, sizeof max, ", max parallelism %u as there", have->max_parallelism);
    say(g, have->uid, "restored: %u tasks, %u artifacts, %" PRIu64 " bytes%s%s%s", job->parallelism,
        t->artifacts, t->bytes, dealt, ended, max);
}

static void each_operator(struct matching *g)
{
    uint32_t i = 0, k = 0;
    while (i < g->have->n_operators || k < g->job->n_operators) {
        const struct tide_operator *have = i < g->have->n_operators ? &g->have->operators[i] : NULL;
        const struct tide_operator *job = k < g->job->n_operators ? &g->job->operators[k] : NULL;
        int order = !have ? 1 : !job ? -1 : tide_bytes_compare(have->uid, job->uid);
        if (order < 0)
            unknown(g, have, &g->tallies[i]);
        else if (order > 0)
            say(g, job->uid, "new: it starts without state");
        else
            both(g, have, &g->tallies[i], job);
        i += order <= 0;
        k += order >= 0;
    }
}

/* ---- what holds between operators */

static bool all_ended(const struct matching *g, const struct tide_operator *op)
{
    for (uint32_t t = 0; t < op->parallelism; t++)
        if (!bits_get(&g->ended, op->first_task + t)) return false;
    return true;
}

static bool some_ended(const struct matching *g, const struct tide_operator *op)
{
    return bits_any(&g->ended, op->first_task, op->parallelism);
}

/* The edge was there in the snapshot: what had ended had read all that came along it, also if the
 * daemon had not heard yet that whoever feeds it had ended. */
static bool had_edge(const struct matching *g, const struct tide_edge *e)
{
    for (uint32_t i = 0; i < g->have->n_edges; i++) {
        const struct tide_edge *had = &g->have->edges[i];
        if (tide_bytes_equal(g->have->operators[had->from].uid, g->job->operators[e->from].uid) &&
            tide_bytes_equal(g->have->operators[had->to].uid, g->job->operators[e->to].uid))
            return true;
    }
    return false;
}

/* A task that has ended reads no input: whoever is put before it must have ended too. */
static void each_edge(struct matching *g)
{
    for (uint32_t i = 0; i < g->job->n_edges; i++) {
        const struct tide_edge *e = &g->job->edges[i];
        const struct tide_operator *from = &g->job->operators[e->from],
                                   *to = &g->job->operators[e->to];
        bool fits = true;
        if (had_edge(g, e)) continue;
        if (e->pattern == TIDE__EDGE_PATTERN__EDGE_ALL_TO_ALL)
            fits = !some_ended(g, to) || all_ended(g, from);
        else
            for (uint32_t t = 0; fits && t < to->parallelism; t++)
                fits = !bits_get(&g->ended, to->first_task + t) ||
                       bits_get(&g->ended, from->first_task + t);
        if (!fits)
            refuse(g, to->uid, "it had ended in the snapshot, and %s, which feeds it, had not",
                   tide_show(from->uid).text);
    }
    if (g->ended.set == g->job->tasks)
        refuse(g, g->job->operators[0].uid,
               "every task of the job had ended in the snapshot: there is nothing to go on with");
}

/* Channels are numbered by the edges, and so is what was under way in them, unless it is kept as
 * records that say where they belong. */
static void each_channel(struct matching *g)
{
    for (uint32_t i = 0; !g->same && i < g->have->n_operators; i++) {
        const struct tally *t = &g->tallies[i];
        if (!t->flights || t->run.to == TIDE_NONE) continue;
        refuse(g, g->have->operators[i].uid,
               "records that were under way are kept as bytes of its channels, and the job's graph "
               "is another: only an aligned snapshot, or one with records that say where they "
               "belong, can be restored");
        return;
    }
}

static void each_hook(struct matching *g)
{
    for (size_t i = 0; i < g->m->head->n_externals; i++) {
        const Tide__External *e = g->m->head->externals[i]->external;
        if (!e || e->kind != TIDE__EXTERNAL_KIND__EXTERNAL_HOOK) continue;
        if (tide_graph_external(g->job, e) >= 0) continue;
        if (g->unmatched)
            say(g, UNPB(e->name), "dropped: the job has no such hook");
        else
            refuse(g, UNPB(e->name),
                   "the job has no such hook, and its state would be lost unless "
                   "unmatched state is allowed (--allow-unmatched)");
    }
}

/* ---- the whole */

static int own_graph(struct matching *g)
{
    char text[256];
    const Tide__ManifestHead *head = g->m->head;
    int rc = head->spec ? tide_graph_new(head->spec, &g->have, text) : TIDE_EINVAL;
    if (rc) {
        snprintf(g->why, 256, "the snapshot's own spec is refused: %.200s",
                 head->spec ? text : "there is none");
        return rc == TIDE_EINVAL ? TIDE_ECORRUPT : rc;
    }
    if (g->have->tasks == head->tasks) return 0;
    snprintf(g->why, 256, "the snapshot's manifest speaks of %u tasks, its spec of %u", head->tasks,
             g->have->tasks);
    return TIDE_ECORRUPT;
}

int match_new(struct match *ret, const struct tide_graph *job, const struct tide_manifest *m,
              const struct match_wish *wish, char why[static 256])
{
    struct matching g = {.match = ret,
                         .job = job,
                         .m = m,
                         .report = wish->report,
                         .unmatched = wish->unmatched,
                         .why = why};
    *ret = (struct match){0};
    int rc = own_graph(&g);
    if (!rc) {
        bits_init(&g.ended, job->tasks);
        tide_buf_init(&g.adopted, (size_t)TIDE_OPERATORS_MAX * 8);
        ret->runs = core_alloc(g.have->n_operators * sizeof *ret->runs);
        g.tallies = core_alloc(g.have->n_operators * sizeof *g.tallies);
        plan_runs(&g);
        tally_ended(&g, m->head->n_ended, m->head->ended);
        tally_ended(&g, m->head->n_ending, m->head->ending);
        tally_externals(&g);
        tally_acks(&g);
        each_operator(&g);
        if (!wish->again) each_edge(&g);
        each_channel(&g);
        each_hook(&g);
        core_assert(g.adopted.rc == 0);
        ret->adopted = core_copy((struct tide_bytes){g.adopted.data, g.adopted.len});
        tide_buf_release(&g.adopted);
        bits_release(&g.ended);
        free(g.tallies);
        if (g.refused) rc = TIDE_EINVAL;
    }
    tide_graph_free(g.have);
    if (rc) match_release(ret);
    return rc;
}

void match_release(struct match *m)
{
    free(m->runs);
    free((void *)(uintptr_t)m->adopted.data);
    *m = (struct match){0};
}

static const struct match_run *run_of(struct match *m, uint32_t task)
{
    const struct match_run *r = &m->runs[m->last];
    if (task < r->first || task - r->first >= r->count) {
        uint32_t low = 0, high = m->n_runs; /* the last run that begins at or before task */
        while (high - low > 1) {
            uint32_t middle = low + (high - low) / 2;
            if (m->runs[middle].first <= task)
                low = middle;
            else
                high = middle;
        }
        m->last = low;
        r = &m->runs[low];
    }
    return task - r->first < r->count ? r : NULL;
}

uint32_t match_task(struct match *m, uint32_t task)
{
    const struct match_run *r = run_of(m, task);
    return !r || r->to == TIDE_NONE || r->way == MATCH_DIVIDED ? TIDE_NONE
                                                               : r->to + (task - r->first);
}

enum match_way match_way(struct match *m, uint32_t task)
{
    const struct match_run *r = run_of(m, task);
    return r ? r->way : MATCH_SAME;
}

uint32_t match_artifact(struct match *m, uint32_t task, const struct tide_artifact_view *a,
                        uint32_t *ret_first)
{
    const struct match_run *r = run_of(m, task);
    return r ? targets(r, task, a, ret_first) : 0;
}

void match_ended(struct match *m, const Tide__ManifestHead *head, struct bits *ended)
{
    for (size_t i = 0; i < head->n_ended + head->n_ending; i++) {
        const Tide__TaskRange *r =
            i < head->n_ended ? head->ended[i] : head->ending[i - head->n_ended];
        for (uint32_t t = 0; t < r->count; t++) {
            uint32_t task = r->first + t;
            const struct match_run *run = run_of(m, task);
            if (!run || run->to == TIDE_NONE) continue;
            if (run->way != MATCH_DIVIDED) bits_put(ended, run->to + (task - run->first));
            if (run->way != MATCH_DIVIDED || task != run->first) continue; /* all had: once */
            for (uint32_t k = 0; k < run->parallelism; k++)
                bits_put(ended, run->to + k);
        }
    }
}
