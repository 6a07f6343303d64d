/* `snapshots`, `snapshot show`, `snapshot verify` and `lineage`. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"

#define PAGE 1000u
#define TASKS_PAGE 10000u
#define LIMIT_DEFAULT 100u

/* ---- snapshots */

static void list_table(struct table *t)
{
    static char completed[TEXT_MAX];
    static const char *titles[] = {"SNAPSHOT", "JOB",  "KIND", "COMPLETED",
                                   "STATE",    "SIZE", "LABEL"};
    static const unsigned char columns[] = {TABLE_RIGHT, TABLE_WIDE,  TABLE_LEFT, TABLE_LEFT,
                                            TABLE_LEFT,  TABLE_RIGHT, TABLE_WIDE};
    titles[3] = show_zoned(completed, "COMPLETED");
    table_init(t, sizeof titles / sizeof *titles, titles, columns);
}

static void list_row(struct table *t, const Tide__SnapshotInfo *s)
{
    char text[TEXT_MAX];
    table_put_u64(t, s->snapshot);
    table_put_data(t, s->job);
    table_put(t, show_kind(s->kind));
    show_time(text, s->completed_wall_us);
    table_put(t, text);
    table_put_data(t, s->state);
    table_put(t, text_size(text, s->bytes));
    table_put_data(t, s->label);
}

static int list_pages(struct cli *c, uint64_t limit, struct json *j, struct table *t,
                      uint64_t *ret_shown, bool *ret_more)
{
    Tide__Request request = TIDE__REQUEST__INIT;
    Tide__ListSnapshots call = TIDE__LIST_SNAPSHOTS__INIT;
    const Tide__Response *answer;
    bool more = true;
    uint64_t shown = 0;
    request.call_case = TIDE__REQUEST__CALL_SNAPSHOTS;
    request.snapshots = &call;
    call.job = cli_data(c->args[0]);
    call.deleted = c->options.all;
    while (more && shown < limit) {
        call.limit = limit - shown > PAGE ? PAGE : (uint32_t)(limit - shown);
        int rc = cli_ask(c, &request, TIDE__RESPONSE__RESULT_SNAPSHOTS, &answer);
        if (rc) return rc;
        const Tide__SnapshotList *page = answer->snapshots;
        uint64_t last = 0;
        for (size_t i = 0; i < page->n_snapshots && shown < limit; i++, shown++) {
            last = page->snapshots[i]->snapshot;
            if (c->options.json)
                show_snapshot_json(j, NULL, page->snapshots[i], NULL);
            else
                list_row(t, page->snapshots[i]);
        }
        /* A daemon that does not move on must not keep us here. */
        more = page->more && last && (!call.before || last < call.before);
        call.before = last;
    }
    *ret_shown = shown;
    *ret_more = more;
    return DONE;
}

int snapshots_list(struct cli *c)
{
    uint64_t limit = c->options.limit_n ? c->options.limit_n : LIMIT_DEFAULT, shown = 0;
    struct json j;
    struct table t;
    bool more = false;
    list_table(&t);
    json_init(&j);
    json_array(&j, "snapshots");
    int rc = list_pages(c, limit, &j, &t, &shown, &more);
    if (!rc && c->options.json) {
        json_end_array(&j);
        json_bool(&j, "more", more);
        table_release(&t);
        return cli_answer(c, &j);
    }
    json_release(&j);
    if (!rc && shown)
        show_print(&t);
    else
        table_release(&t);
    if (!rc && !shown) cli_note("no snapshots");
    if (!rc && more) cli_note("older ones exist: see --limit");
    return rc;
}

/* ---- snapshot show */

static void show_lines(const Tide__SnapshotInfo *s)
{
    char text[TEXT_MAX], ago[TEXT_MAX];
    char *job = text_clean(s->job), *state = text_clean(s->state), *owner = text_clean(s->owner);
    char *directory = text_clean(s->directory), *label = text_clean(s->label);
    show_line("Snapshot", "%" PRIu64, s->snapshot);
    if (s->imported)
        show_line("Job", "%s, imported", job);
    else
        show_line("Job", "%s, attempt %" PRIu64, job, s->attempt);
    show_line("Kind", "%s, owned by the %s", show_kind(s->kind), owner);
    if (*label) show_line("Label", "%s", label);
    show_line("State", "%s", state);
    show_line(s->imported ? "Imported" : "Completed", "%s (%s)",
              text_time(text, s->completed_wall_us), text_ago(ago, s->completed_wall_us));
    if (s->imported && s->begun_wall_us)
        show_line("Taken", "%s", text_time(text, s->begun_wall_us));
    if (!s->imported && s->completed_wall_us > s->begun_wall_us && s->begun_wall_us)
        show_line("Took", "%s", text_duration(text, s->completed_wall_us - s->begun_wall_us));
    show_line("Tasks", "%u", s->tasks);
    show_line("Artifacts", "%" PRIu64 ", %s", s->artifacts, text_size(text, s->bytes));
    show_line("Manifest", "%s", text_size(text, s->manifest_bytes));
    if (s->parent)
        show_line("Parent", "%" PRIu64, s->parent);
    else
        show_line("Parent", "none");
    if (s->owed) show_line("Owed commits", "%u", s->owed);
    show_line("Directory", "%s", *directory ? directory : "-");
    free(job);
    free(state);
    free(owner);
    free(directory);
    free(label);
}

static void task_json(struct json *j, const Tide__SnapshotTask *task)
{
    char digest[40];
    json_object(j, NULL);
    json_u64(j, "task", task->task);
    json_data(j, "operator", task->operator_uid);
    json_u64(j, "subtask", task->subtask);
    json_bool(j, "ended", task->ended);
    json_u64(j, "align_us", task->align_us);
    json_u64(j, "sync_us", task->sync_us);
    json_u64(j, "async_us", task->async_us);
    json_array(j, "artifacts");
    for (size_t i = 0; i < task->n_artifacts; i++) {
        const Tide__Artifact *a = task->artifacts[i];
        bool file = a->place_case == TIDE__ARTIFACT__PLACE_PATH;
        snprintf(digest, sizeof digest, "%016" PRIx64 "%016" PRIx64, a->digest_high, a->digest_low);
        json_object(j, NULL);
        json_text_or_null(j, "name", a->name);
        json_text_or_null(j, "path", file ? a->path : cli_data(NULL));
        json_u64(j, "bytes", a->size);
        json_text(j, "xxh3_128", digest);
        json_u64(j, "key_group_first", a->key_group_first);
        json_u64(j, "key_group_count", a->key_group_count);
        json_end_object(j);
    }
    json_end_array(j);
    json_end_object(j);
}

/* How long it aligned, stood still, and then wrote: once per task. */
static void task_times(struct table *t, const Tide__SnapshotTask *task, bool first)
{
    const uint32_t times[] = {task->align_us, task->sync_us, task->async_us};
    char text[TEXT_MAX];
    for (size_t i = 0; i < 3; i++)
        table_put(t, first && !task->ended ? text_duration(text, times[i]) : "-");
}

static void task_rows(struct table *t, const Tide__SnapshotTask *task)
{
    char *uid = text_clean(task->operator_uid), *name = xprintf("%s/%u", uid, task->subtask);
    char text[TEXT_MAX];
    for (size_t i = 0; i == 0 || i < task->n_artifacts; i++) {
        const Tide__Artifact *a = i < task->n_artifacts ? task->artifacts[i] : NULL;
        table_put_u64(t, task->task);
        table_put(t, name);
        if (a)
            table_put(t, text_size(text, a->size));
        else
            table_put(t, task->ended ? "ended" : "-");
        if (a && a->key_group_count)
            snprintf(text, sizeof text, "%" PRIu64 "-%" PRIu64, (uint64_t)a->key_group_first,
                     (uint64_t)a->key_group_first + a->key_group_count - 1);
        table_put(t, a && a->key_group_count ? text : "-");
        if (a)
            table_put_data(t, a->name);
        else
            table_put(t, "-");
        if (a && a->place_case == TIDE__ARTIFACT__PLACE_PATH)
            table_put_data(t, a->path);
        else
            table_put(t, a ? "(inline)" : "-");
        task_times(t, task, i == 0);
    }
    free(uid);
    free(name);
}

/* The first answer brings the snapshot, and with --tasks every further one the next tasks. */
static int show_pages(struct cli *c, uint64_t id, struct json *j, struct table *t)
{
    Tide__Request request = TIDE__REQUEST__INIT;
    Tide__ShowSnapshot call = TIDE__SHOW_SNAPSHOT__INIT;
    const Tide__Response *answer;
    request.call_case = TIDE__REQUEST__CALL_SNAPSHOT;
    request.snapshot = &call;
    call.snapshot = id;
    call.limit = c->options.tasks ? TASKS_PAGE : 0;
    for (bool more = true, first = true; more; first = false) {
        int rc = cli_ask(c, &request, TIDE__RESPONSE__RESULT_SNAPSHOT, &answer);
        if (rc) return rc;
        const Tide__SnapshotDetail *d = answer->snapshot;
        if (!d->info)
            return cli_fail(c, "protocol", "the daemon's answer about the snapshot is empty");
        if (first && c->options.json)
            show_snapshot_json(j, "snapshot", d->info, NULL);
        else if (first)
            show_lines(d->info);
        if (first && c->options.json && c->options.tasks) json_array(j, "tasks");
        for (size_t i = 0; c->options.tasks && i < d->n_tasks; i++) {
            if (c->options.json)
                task_json(j, d->tasks[i]);
            else
                task_rows(t, d->tasks[i]);
        }
        uint32_t next = d->n_tasks ? d->tasks[d->n_tasks - 1]->task + 1 : 0;
        more = c->options.tasks && d->more && next > call.first_task;
        call.first_task = next;
    }
    return DONE;
}

int snapshot_show(struct cli *c)
{
    static const char *const titles[] = {"TASK", "OPERATOR", "SIZE", "KEY GROUPS", "NAME",
                                         "PATH", "ALIGNED",  "SYNC", "ASYNC"};
    static const unsigned char columns[] = {TABLE_RIGHT,
                                            TABLE_WIDE,
                                            TABLE_RIGHT,
                                            TABLE_RIGHT | TABLE_SPARE,
                                            TABLE_WIDE,
                                            TABLE_WIDE,
                                            TABLE_RIGHT | TABLE_SPARE,
                                            TABLE_RIGHT | TABLE_SPARE,
                                            TABLE_RIGHT | TABLE_SPARE};
    struct json j;
    struct table t;
    uint64_t id;
    int rc = cli_number(c->args[0], "a snapshot: see 'tidemark snapshots'", &id);
    if (rc) return rc;
    json_init(&j);
    table_init(&t, sizeof titles / sizeof *titles, titles, columns);
    rc = show_pages(c, id, &j, &t);
    if (!rc && c->options.json) {
        if (c->options.tasks) json_end_array(&j);
        table_release(&t);
        return cli_answer(c, &j);
    }
    json_release(&j);
    if (!rc && t.n_cells) {
        putchar('\n');
        show_print(&t);
    } else {
        table_release(&t);
    }
    return rc;
}

/* ---- snapshot verify */

static int verify_json(const struct cli *c, uint64_t id, const Tide__VerifyResult *v)
{
    struct json j;
    json_init(&j);
    json_u64(&j, "snapshot", id);
    json_bool(&j, "ok", v->problem_count == 0 && v->n_problems == 0);
    json_u64(&j, "artifacts", v->artifacts);
    json_u64(&j, "bytes", v->bytes);
    json_u64(&j, "problem_count", v->problem_count);
    json_array(&j, "problems");
    for (size_t i = 0; i < v->n_problems; i++) {
        json_object(&j, NULL);
        json_u64(&j, "task", v->problems[i]->task);
        json_text_or_null(&j, "path", v->problems[i]->path);
        json_data(&j, "problem", v->problems[i]->problem);
        json_end_object(&j);
    }
    json_end_array(&j);
    return cli_answer(c, &j);
}

int snapshot_verify(struct cli *c)
{
    Tide__Request request = TIDE__REQUEST__INIT;
    Tide__VerifySnapshot call = TIDE__VERIFY_SNAPSHOT__INIT;
    const Tide__Response *answer;
    char text[TEXT_MAX];
    uint64_t id;
    int rc = cli_number(c->args[0], "a snapshot: see 'tidemark snapshots'", &id);
    if (rc) return rc;
    request.call_case = TIDE__REQUEST__CALL_VERIFY;
    request.verify = &call;
    call.snapshot = id;
    rc = cli_ask(c, &request, TIDE__RESPONSE__RESULT_VERIFIED, &answer);
    if (rc) return rc;
    const Tide__VerifyResult *v = answer->verified;
    bool ok = v->problem_count == 0 && v->n_problems == 0;
    if (c->options.json) {
        rc = verify_json(c, id, v);
    } else if (ok) {
        printf("snapshot %" PRIu64 " is good: %" PRIu64 " artifact%s, %s read\n", id, v->artifacts,
               v->artifacts == 1 ? "" : "s", text_size(text, v->bytes));
    }
    for (size_t i = 0; i < v->n_problems && !c->options.json; i++) {
        char *path = text_clean(v->problems[i]->path),
             *problem = text_clean(v->problems[i]->problem);
        if (strcmp(path, "_metadata") != 0) printf("task %u: ", v->problems[i]->task);
        printf("%s%s%s\n", path, *path ? ": " : "", problem);
        free(path);
        free(problem);
    }
    if (ok) return rc;
    (void)fflush(stdout);
    fprintf(stderr,
            "tidemark: snapshot %" PRIu64 " is damaged: %" PRIu64 " problem%s in %" PRIu64
            " artifact%s\n",
            id, v->problem_count, v->problem_count == 1 ? "" : "s", v->artifacts,
            v->artifacts == 1 ? "" : "s");
    return FAILED;
}

/* ---- lineage */

static void lineage_table(const Tide__LineageList *list)
{
    char completed[TEXT_MAX];
    const char *titles[] = {"SNAPSHOT", "JOB", "KIND", "COMPLETED", "STATE", "SIZE", "FROM"};
    static const unsigned char columns[] = {TABLE_RIGHT, TABLE_WIDE,  TABLE_LEFT, TABLE_LEFT,
                                            TABLE_LEFT,  TABLE_RIGHT, TABLE_LEFT};
    struct table t;
    char text[TEXT_MAX];
    titles[3] = show_zoned(completed, "COMPLETED");
    table_init(&t, sizeof titles / sizeof *titles, titles, columns);
    for (size_t i = 0; i < list->n_steps; i++) {
        const Tide__SnapshotInfo *s = list->steps[i]->info;
        const ProtobufCBinaryData relation = list->steps[i]->relation;
        const char *how = cli_is(relation, "restored-from") ? "restored from"
                          : cli_is(relation, "copied-from") ? "copied from"
                                                            : "follows";
        if (!s) continue;
        table_put_u64(&t, s->snapshot);
        table_put_data(&t, s->job);
        table_put(&t, show_kind(s->kind));
        show_time(text, s->completed_wall_us);
        table_put(&t, text);
        table_put_data(&t, s->state);
        table_put(&t, text_size(text, s->bytes));
        if (s->parent) snprintf(text, sizeof text, "%s %" PRIu64, how, s->parent);
        table_put(&t, s->parent ? text : s->imported ? "elsewhere" : "the start");
    }
    show_print(&t);
}

int lineage_show(struct cli *c)
{
    Tide__Request request = TIDE__REQUEST__INIT;
    Tide__Lineage call = TIDE__LINEAGE__INIT;
    const Tide__Response *answer;
    request.call_case = TIDE__REQUEST__CALL_LINEAGE;
    request.lineage = &call;
    /* 32 hex digits may all be decimal ones, but then they do not fit into a number. */
    if (!text_parse_u64(c->args[0], &call.snapshot))
        call.job = cli_data(c->args[0]);
    else if (!call.snapshot)
        return cli_misuse("0 is not the number of a snapshot");
    int rc = cli_ask(c, &request, TIDE__RESPONSE__RESULT_LINEAGE, &answer);
    if (rc) return rc;
    const Tide__LineageList *list = answer->lineage;
    if (!c->options.json) {
        if (list->n_steps)
            lineage_table(list);
        else
            cli_note("no snapshots");
        return DONE;
    }
    struct json j;
    json_init(&j);
    json_array(&j, "lineage");
    for (size_t i = 0; i < list->n_steps; i++) {
        char *relation = text_clean(list->steps[i]->relation);
        if (list->steps[i]->info) show_snapshot_json(&j, NULL, list->steps[i]->info, relation);
        free(relation);
    }
    json_end_array(&j);
    return cli_answer(c, &j);
}
