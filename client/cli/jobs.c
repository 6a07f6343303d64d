/* `jobs` and `job show`. */
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"
#include "proto/graph.h"
#include "storage/record.h"

#define RANGES_SHOWN 12

/* ---- jobs */

static void summary_json(struct json *j, const Tide__JobSummary *s)
{
    json_data(j, "name", s->name);
    json_hex(j, "id", s->id);
    json_data(j, "state", s->state);
    json_text_or_null(j, "cause", s->cause);
    json_id(j, "attempt", s->attempt);
    json_u64(j, "tasks", s->tasks);
    json_u64(j, "tasks_present", s->tasks_present);
    json_u64(j, "workers", s->workers);
    json_id(j, "last_complete", s->last_complete);
    json_id(j, "last_complete_wall_us", s->last_complete_wall_us);
    json_id(j, "created_wall_us", s->created_wall_us);
}

static int jobs_json(const struct cli *c, const Tide__JobList *list)
{
    struct json j;
    json_init(&j);
    json_array(&j, "jobs");
    for (size_t i = 0; i < list->n_jobs; i++) {
        json_object(&j, NULL);
        summary_json(&j, list->jobs[i]);
        json_end_object(&j);
    }
    json_end_array(&j);
    return cli_answer(c, &j);
}

static void jobs_text(const Tide__JobList *list)
{
    static const char *const titles[] = {"JOB",   "STATE",         "ATTEMPT",
                                         "TASKS", "LAST COMPLETE", "AGE"};
    static const unsigned char columns[] = {
        TABLE_WIDE, TABLE_LEFT, TABLE_RIGHT | TABLE_SPARE, TABLE_RIGHT, TABLE_RIGHT | TABLE_SPARE,
        TABLE_RIGHT};
    struct table t;
    char text[TEXT_MAX];
    table_init(&t, sizeof titles / sizeof *titles, titles, columns);
    for (size_t i = 0; i < list->n_jobs; i++) {
        const Tide__JobSummary *s = list->jobs[i];
        table_put_data(&t, s->name);
        table_put_data(&t, s->state);
        if (s->attempt)
            table_put_u64(&t, s->attempt);
        else
            table_put(&t, "-");
        snprintf(text, sizeof text, "%u/%u", s->tasks_present, s->tasks);
        table_put(&t, text);
        if (s->last_complete)
            table_put_u64(&t, s->last_complete);
        else
            table_put(&t, "-");
        table_put(&t, text_age(text, s->last_complete_wall_us));
        if (s->cause.len) {
            char *cause = text_clean(s->cause);
            table_note(&t, cause);
            free(cause);
        }
    }
    show_print(&t);
}

int jobs_list(struct cli *c)
{
    Tide__Request request = TIDE__REQUEST__INIT;
    Tide__ListJobs call = TIDE__LIST_JOBS__INIT;
    const Tide__Response *answer;
    request.call_case = TIDE__REQUEST__CALL_LIST_JOBS;
    request.list_jobs = &call;
    int rc = cli_ask(c, &request, TIDE__RESPONSE__RESULT_JOBS, &answer);
    if (rc) return rc;
    if (c->options.json) return jobs_json(c, answer->jobs);
    if (answer->jobs->n_jobs)
        jobs_text(answer->jobs);
    else
        cli_note("no jobs: one appears when its first worker joins");
    return DONE;
}

/* ---- job show, JSON */

static void ranges_json(struct json *j, const char *key, Tide__TaskRange *const *ranges, size_t n)
{
    json_array(j, key);
    for (size_t i = 0; i < n; i++) {
        json_object(j, NULL);
        json_u64(j, "first", ranges[i]->first);
        json_u64(j, "count", ranges[i]->count);
        json_end_object(j);
    }
    json_end_array(j);
}

static void checkpointing_json(struct json *j, const Tide__Checkpointing *k)
{
    json_object(j, "checkpointing");
    json_u64(j, "interval_ms", k->interval_ms);
    json_u64(j, "min_pause_ms", k->min_pause_ms);
    json_u64(j, "deadline_ms", k->deadline_ms);
    json_u64(j, "retained", k->retained);
    json_u64(j, "restore_deadline_ms", k->restore_deadline_ms);
    json_u64(j, "lease_ms", k->lease_ms);
    json_u64(j, "heartbeat_ms", k->heartbeat_ms);
    json_u64(j, "grace_ms", k->grace_ms);
    json_u64(j, "orphan_limit_ms", k->orphan_limit_ms);
    json_u64(j, "progress_ms", k->progress_ms);
    json_u64(j, "attempts_max", k->attempts_max);
    json_text(j, "style", tide_style_name((enum tide_style)k->style));
    json_u64(j, "window", k->window);
    json_text(j, "alignment", tide_alignment_name((enum tide_alignment)k->alignment));
    json_u64(j, "aligned_timeout_ms", k->aligned_timeout_ms);
    json_u64(j, "max_concurrent", k->max_concurrent);
    json_u64(j, "failure_pause_ms", k->failure_pause_ms);
    json_u64(j, "failures_max", k->failures_max);
    json_u64(j, "backlog_interval_ms", k->backlog_interval_ms);
    json_u64(j, "deadline_cap_ms", k->deadline_cap_ms);
    json_bool(j, "regional", k->regional);
    json_u64(j, "retained_hours", k->retained_hours);
    json_u64(j, "retained_days", k->retained_days);
    json_u64(j, "retained_weeks", k->retained_weeks);
    json_u64(j, "retained_age_s", k->retained_age_s);
    json_u64(j, "retained_mib", k->retained_mib);
    json_u64(j, "retained_least", k->retained_least);
    json_end_object(j);
}

static void spec_json(struct json *j, const Tide__JobSpec *spec, const struct tide_graph *g)
{
    if (!spec) {
        json_null(j, "spec");
        return;
    }
    Tide__Checkpointing none = TIDE__CHECKPOINTING__INIT;
    json_object(j, "spec");
    json_array(j, "operators");
    for (size_t i = 0; i < spec->n_operators; i++) {
        json_object(j, NULL);
        json_data(j, "uid", spec->operators[i]->uid);
        json_u64(j, "parallelism", spec->operators[i]->parallelism);
        json_u64(j, "max_parallelism", spec->operators[i]->max_parallelism);
        json_bool(j, "coordinator", spec->operators[i]->coordinator);
        json_end_object(j);
    }
    json_end_array(j);
    json_array(j, "edges");
    for (size_t i = 0; i < spec->n_edges; i++) {
        const Tide__Edge *e = spec->edges[i];
        json_object(j, NULL);
        json_data(j, "from", e->from);
        json_data(j, "to", e->to);
        json_text(j, "pattern",
                  e->pattern == TIDE__EDGE_PATTERN__EDGE_POINTWISE ? "pointwise" : "all_to_all");
        json_end_object(j);
    }
    json_end_array(j);
    json_array(j, "hooks");
    for (size_t i = 0; i < spec->n_hooks; i++)
        json_data(j, NULL, spec->hooks[i]);
    json_end_array(j);
    /* With the defaults filled in where the graph could be made. */
    checkpointing_json(j, g                     ? &g->checkpointing
                          : spec->checkpointing ? spec->checkpointing
                                                : &none);
    json_end_object(j);
}

static int job_json(const struct cli *c, const Tide__JobDetail *d, const struct tide_graph *g)
{
    struct json j;
    json_init(&j);
    json_object(&j, "job");
    summary_json(&j, d->summary);
    json_text_or_null(&j, "waiting_for", d->waiting_for);
    json_text_or_null(&j, "last_failure", d->last_failure);
    spec_json(&j, d->spec, g);
    json_array(&j, "worker_list");
    for (size_t i = 0; i < d->n_workers; i++) {
        const Tide__WorkerInfo *w = d->workers[i];
        json_object(&j, NULL);
        json_data(&j, "name", w->name);
        json_data(&j, "state", w->state);
        json_text_or_null(&j, "endpoint", w->endpoint);
        json_u64(&j, "lease_left_ms", w->lease_left_ms);
        ranges_json(&j, "tasks", w->tasks, w->n_tasks);
        json_end_object(&j);
    }
    json_end_array(&j);
    json_array(&j, "externals");
    for (size_t i = 0; i < d->n_externals; i++) {
        json_object(&j, NULL);
        show_part_json(&j, d->externals[i]->external);
        json_text_or_null(&j, "worker", d->externals[i]->worker);
        json_data(&j, "state", d->externals[i]->state);
        json_end_object(&j);
    }
    json_end_array(&j);
    json_u64(&j, "region_count", d->regions_count);
    json_array(&j, "regions");
    for (size_t i = 0; i < d->n_regions; i++) {
        json_object(&j, NULL);
        ranges_json(&j, "tasks", d->regions[i]->tasks, d->regions[i]->n_tasks);
        json_data(&j, "state", d->regions[i]->state);
        json_u64(&j, "since", d->regions[i]->since);
        json_u64(&j, "starts", d->regions[i]->starts);
        json_end_object(&j);
    }
    json_end_array(&j);
    ranges_json(&j, "missing", d->missing, d->n_missing);
    ranges_json(&j, "ended", d->ended, d->n_ended);
    json_array(&j, "open_rounds");
    for (size_t i = 0; i < d->n_open; i++)
        show_round_json(&j, NULL, d->open[i]);
    json_end_array(&j);
    show_gauges_json(&j, d->gauges);
    json_end_object(&j);
    return cli_answer(c, &j);
}

/* ---- job show, text */

/* "count/0-3": the task range in words; it may run over several operators. */
static void range_words(FILE *out, const struct tide_graph *g, uint32_t first, uint32_t count)
{
    const char *comma = "";
    while (count) {
        uint32_t subtask, n = count;
        const struct tide_operator *o = g ? tide_graph_operator(g, first, &subtask) : NULL;
        if (o && o->parallelism - subtask < n) n = o->parallelism - subtask;
        char *uid =
            o ? text_clean((ProtobufCBinaryData){o->uid.len, (uint8_t *)(uintptr_t)o->uid.data})
              : xprintf("task");
        uint32_t from = o ? subtask : first;
        if (n > 1)
            fprintf(out, "%s%s/%u-%u", comma, uid, from, from + n - 1);
        else
            fprintf(out, "%s%s/%u", comma, uid, from);
        free(uid);
        comma = ", ";
        first += n;
        count -= n;
    }
}

static char *ranges_words(const struct tide_graph *g, Tide__TaskRange *const *ranges, size_t n)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    if (!out) return xprintf("-");
    for (size_t i = 0; i < n && i < RANGES_SHOWN; i++) {
        if (i) fputs(", ", out);
        range_words(out, g, ranges[i]->first, ranges[i]->count);
    }
    if (n > RANGES_SHOWN) fprintf(out, " and %zu more ranges", n - RANGES_SHOWN);
    if (n == 0) fputs("-", out);
    fclose(out);
    return text;
}

static uint64_t ranges_count(Tide__TaskRange *const *ranges, size_t n)
{
    uint64_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += ranges[i]->count;
    return count;
}

/* Nobody is missing where nothing will run. */
static bool has_ended(const Tide__JobSummary *s)
{
    return cli_is(s->state, "FINISHED") || cli_is(s->state, "CANCELLED") ||
           cli_is(s->state, "FAILED") || cli_is(s->state, "SUSPENDED");
}

static void job_lines(const Tide__JobDetail *d, const struct tide_graph *g)
{
    const Tide__JobSummary *s = d->summary;
    char id[64], text[TEXT_MAX], ago[TEXT_MAX];
    char *name = text_clean(s->name), *state = text_clean(s->state), *cause = text_clean(s->cause);
    char *waiting = text_clean(d->waiting_for), *failure = text_clean(d->last_failure);
    show_line("Job", "%s", name);
    show_line("Id", "%s", text_hex(id, s->id, 16));
    show_line("State", "%s%s%s%s", state, *cause ? " (" : "", cause, *cause ? ")" : "");
    if (*waiting) show_line("Waiting for", "%s", waiting);
    if (*failure) show_line("Last failure", "%s", failure);
    show_line("Created", "%s (%s)", text_time(text, s->created_wall_us),
              text_ago(ago, s->created_wall_us));
    if (s->attempt)
        show_line("Attempt", "%llu", (unsigned long long)s->attempt);
    else
        show_line("Attempt", "none yet");
    show_line("Tasks", "%u, %u present on %u worker%s", s->tasks, s->tasks_present, s->workers,
              s->workers == 1 ? "" : "s");
    if (d->n_missing && !has_ended(s)) {
        char *missing = ranges_words(g, d->missing, d->n_missing);
        show_line("Missing", "%s", missing);
        free(missing);
    }
    if (d->n_ended) {
        char *ended = ranges_words(g, d->ended, d->n_ended);
        show_line("At their end", "%llu: %s",
                  (unsigned long long)ranges_count(d->ended, d->n_ended), ended);
        free(ended);
    }
    if (s->last_complete)
        show_line("Last complete", "round %llu, %s", (unsigned long long)s->last_complete,
                  text_ago(ago, s->last_complete_wall_us));
    else
        show_line("Last complete", "none yet");
    free(name);
    free(state);
    free(cause);
    free(waiting);
    free(failure);
}

static void checkpointing_lines(const Tide__Checkpointing *k)
{
    char a[TEXT_MAX], b[TEXT_MAX];
    if (k->interval_ms)
        show_line("Checkpoints", "every %s, %u retained",
                  text_duration(a, (uint64_t)k->interval_ms * 1000), k->retained);
    else
        show_line("Checkpoints", "only when asked for, %u retained", k->retained);
    if (k->style == TIDE__ROUND_STYLE__STYLE_RENDEZVOUS && k->window)
        show_line("Rounds", "rendezvous, within %u positions", k->window);
    else if (k->style == TIDE__ROUND_STYLE__STYLE_RENDEZVOUS)
        show_line("Rounds", "rendezvous, without positions");
    if (k->regional) show_line("Failover", "regional: a lost worker rewinds its region alone");
    show_line("Limits", "round %s, lease %s", text_duration(a, (uint64_t)k->deadline_ms * 1000),
              text_duration(b, (uint64_t)k->lease_ms * 1000));
}

static void operators_text(const struct tide_graph *g)
{
    static const char *const titles[] = {"OPERATOR", "TASKS", "MAX", "FROM"};
    static const unsigned char columns[] = {TABLE_WIDE, TABLE_RIGHT, TABLE_RIGHT, TABLE_WIDE};
    struct table t;
    table_init(&t, sizeof titles / sizeof *titles, titles, columns);
    for (uint32_t i = 0; i < g->n_operators; i++) {
        const struct tide_operator *o = &g->operators[i];
        struct tide_buf from;
        tide_buf_init(&from, 65536);
        table_put_data(&t, (ProtobufCBinaryData){o->uid.len, (uint8_t *)(uintptr_t)o->uid.data});
        table_put_u64(&t, o->parallelism);
        table_put_u64(&t, o->max_parallelism);
        for (uint32_t e = 0; e < g->n_edges; e++) {
            if (g->edges[e].to != i) continue;
            struct tide_bytes uid = g->operators[g->edges[e].from].uid;
            if (from.len) tide_buf_put(&from, ", ", 2);
            tide_buf_put(&from, uid.data, uid.len);
        }
        table_put_data(&t, (ProtobufCBinaryData){from.len, from.data});
        tide_buf_release(&from);
    }
    putchar('\n');
    show_print(&t);
}

static void workers_text(const Tide__JobDetail *d, const struct tide_graph *g)
{
    static const char *const titles[] = {"WORKER", "STATE", "LEASE", "TASKS", "ENDPOINT"};
    static const unsigned char columns[] = {TABLE_WIDE, TABLE_LEFT, TABLE_RIGHT, TABLE_WIDE,
                                            TABLE_WIDE};
    struct table t;
    char text[TEXT_MAX];
    table_init(&t, sizeof titles / sizeof *titles, titles, columns);
    for (size_t i = 0; i < d->n_workers; i++) {
        const Tide__WorkerInfo *w = d->workers[i];
        char *tasks = ranges_words(g, w->tasks, w->n_tasks);
        table_put_data(&t, w->name);
        table_put_data(&t, w->state);
        table_put(&t,
                  w->lease_left_ms ? text_duration(text, (uint64_t)w->lease_left_ms * 1000) : "-");
        table_put(&t, tasks);
        table_put_data(&t, w->endpoint);
        free(tasks);
    }
    putchar('\n');
    show_print(&t);
}

static void externals_text(const Tide__JobDetail *d)
{
    static const char *const titles[] = {"PART", "STATE", "WORKER"};
    static const unsigned char columns[] = {TABLE_WIDE, TABLE_LEFT, TABLE_WIDE};
    struct table t;
    table_init(&t, sizeof titles / sizeof *titles, titles, columns);
    for (size_t i = 0; i < d->n_externals; i++) {
        char *part = show_part(d->externals[i]->external);
        table_put(&t, part);
        table_put_data(&t, d->externals[i]->state);
        table_put_data(&t, d->externals[i]->worker);
        free(part);
    }
    putchar('\n');
    show_print(&t);
}

static void regions_text(const Tide__JobDetail *d, const struct tide_graph *g)
{
    static const char *const titles[] = {"REGION", "STATE", "SINCE", "STARTS", "TASKS"};
    static const unsigned char columns[] = {TABLE_RIGHT, TABLE_LEFT, TABLE_RIGHT, TABLE_RIGHT,
                                            TABLE_WIDE};
    struct table t;
    table_init(&t, sizeof titles / sizeof *titles, titles, columns);
    for (size_t i = 0; i < d->n_regions; i++) {
        const Tide__RegionInfo *r = d->regions[i];
        char *tasks = ranges_words(g, r->tasks, r->n_tasks);
        table_put_u64(&t, i);
        table_put_data(&t, r->state);
        if (r->since)
            table_put_u64(&t, r->since);
        else
            table_put(&t, "-");
        table_put_u64(&t, r->starts);
        table_put(&t, tasks);
        free(tasks);
    }
    putchar('\n');
    show_print(&t);
    if (d->regions_count > d->n_regions) printf("and %zu more\n", d->regions_count - d->n_regions);
}

static void job_text(const Tide__JobDetail *d, const struct tide_graph *g)
{
    job_lines(d, g);
    if (g) {
        checkpointing_lines(&g->checkpointing);
        operators_text(g);
    }
    if (d->n_workers) workers_text(d, g);
    if (d->n_externals) externals_text(d);
    if (d->n_regions) regions_text(d, g);
    if (d->n_open) {
        struct table t;
        show_rounds_table(&t);
        show_rounds(d->open, d->n_open, &t);
        printf("\nUnder way\n");
        show_print(&t);
    }
}

/* By their first task: workers come and go, the order in which they are shown stays. */
static int by_task(const void *a, const void *b)
{
    const Tide__WorkerInfo *x = *(Tide__WorkerInfo *const *)a, *y = *(Tide__WorkerInfo *const *)b;
    uint32_t first_x = x->n_tasks ? x->tasks[0]->first : UINT32_MAX;
    uint32_t first_y = y->n_tasks ? y->tasks[0]->first : UINT32_MAX;
    if (first_x != first_y) return first_x < first_y ? -1 : 1;
    return tide_bytes_compare(text_view(x->name), text_view(y->name));
}

int job_show(struct cli *c)
{
    Tide__Request request = TIDE__REQUEST__INIT;
    Tide__ShowJob call = TIDE__SHOW_JOB__INIT;
    const Tide__Response *answer;
    struct tide_graph *graph = NULL;
    char why[256];
    call.job = cli_data(c->args[0]);
    request.call_case = TIDE__REQUEST__CALL_SHOW_JOB;
    request.show_job = &call;
    int rc = cli_ask(c, &request, TIDE__RESPONSE__RESULT_JOB, &answer);
    if (rc) return rc;
    const Tide__JobDetail *d = answer->job;
    if (!d->summary) return cli_fail(c, "protocol", "the daemon's answer about the job is empty");
    /* Names the tasks; without it they are shown by number. */
    if (d->spec && tide_graph_new(d->spec, &graph, why)) graph = NULL;
    if (d->n_workers) qsort(d->workers, d->n_workers, sizeof d->workers[0], by_task);
    if (c->options.json)
        rc = job_json(c, d, graph);
    else
        job_text(d, graph);
    tide_graph_free(graph);
    return rc;
}
