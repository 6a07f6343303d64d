/* What more than one command shows: rounds, snapshots, gauges, in text and in JSON. The JSON names
 * are documented in tidemark(1) and stable. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/cli/cli.h"
#include "proto/abort.h"
#include "storage/record.h"

#define HOLDERS_SHOWN 8

const char *show_kind(Tide__RoundKind kind)
{
    switch (kind) {
    case TIDE__ROUND_KIND__ROUND_CHECKPOINT: return "checkpoint";
    case TIDE__ROUND_KIND__ROUND_SAVEPOINT: return "savepoint";
    default: return "unknown";
    }
}

void show_time(char out[static TEXT_MAX], uint64_t wall_us)
{
    time_t t = (time_t)(wall_us / 1000000), now = time(NULL);
    struct tm then, today;
    if (!wall_us || !localtime_r(&t, &then) || !localtime_r(&now, &today)) {
        strcpy(out, "-");
        return;
    }
    bool same = then.tm_year == today.tm_year && then.tm_yday == today.tm_yday;
    if (!strftime(out, TEXT_MAX, same ? "%H:%M:%S" : "%Y-%m-%d %H:%M", &then)) strcpy(out, "-");
    if (same) {
        size_t n = strlen(out);
        snprintf(out + n, TEXT_MAX - n, ".%03u", (unsigned)(wall_us / 1000 % 1000));
    }
}

const char *show_zoned(char out[static TEXT_MAX], const char *title)
{
    time_t now = time(NULL);
    struct tm local;
    char zone[16] = "";
    if (localtime_r(&now, &local)) (void)strftime(zone, sizeof zone, "%Z", &local);
    snprintf(out, TEXT_MAX, *zone ? "%s (%s)" : "%s", title, zone);
    return out;
}

void show_line(const char *label, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("%-16s", label);
    vprintf(format, args);
    putchar('\n');
    va_end(args);
}

void show_print(struct table *t)
{
    table_print(t, stdout, text_terminal_width(stdout));
    table_release(t);
}

/* The names are those that Flink's users know (its metrics, section "Checkpointing"). */
void show_gauges_json(struct json *j, const Tide__Gauges *g)
{
    Tide__Gauges none = TIDE__GAUGES__INIT;
    none.last_checkpoint_duration = none.last_checkpoint_size = none.last_checkpoint_full_size = -1;
    none.last_completed_checkpoint_id = none.last_checkpoint_completed_timestamp = -1;
    none.last_checkpoint_restore_timestamp = -1;
    none.last_checkpoint_processed_data = none.last_checkpoint_persisted_data = -1;
    none.last_checkpoint_external_path = cli_data("n/a");
    if (!g) g = &none;
    json_object(j, "gauges");
    json_i64(j, "lastCheckpointDuration", g->last_checkpoint_duration);
    json_i64(j, "lastCheckpointSize", g->last_checkpoint_size);
    json_i64(j, "lastCheckpointFullSize", g->last_checkpoint_full_size);
    json_i64(j, "lastCheckpointProcessedData", g->last_checkpoint_processed_data);
    json_i64(j, "lastCheckpointPersistedData", g->last_checkpoint_persisted_data);
    json_i64(j, "lastCompletedCheckpointId", g->last_completed_checkpoint_id);
    json_i64(j, "lastCheckpointCompletedTimestamp", g->last_checkpoint_completed_timestamp);
    json_data(j, "lastCheckpointExternalPath",
              g->last_checkpoint_external_path.len ? g->last_checkpoint_external_path
                                                   : cli_data("n/a"));
    json_i64(j, "lastCheckpointRestoreTimestamp", g->last_checkpoint_restore_timestamp);
    json_u64(j, "numberOfInProgressCheckpoints", g->number_of_in_progress_checkpoints);
    json_u64(j, "numberOfCompletedCheckpoints", g->number_of_completed_checkpoints);
    json_u64(j, "numberOfFailedCheckpoints", g->number_of_failed_checkpoints);
    json_u64(j, "totalNumberOfCheckpoints", g->total_number_of_checkpoints);
    json_u64(j, "skippedPeriodicTriggers", g->skipped_periodic_triggers);
    json_u64(j, "numberOfRestoredCheckpoints", g->number_of_restored_checkpoints);
    json_u64(j, "failuresInARow", g->failures_in_a_row);
    json_end_object(j);
}

/* ---- rounds */

char *show_part(const Tide__External *e)
{
    if (!e) return xprintf("a part without a name");
    char *name = text_clean(e->name);
    char *text = xprintf(
        "%s %s", e->kind == TIDE__EXTERNAL_KIND__EXTERNAL_HOOK ? "hook" : "the coordinator of",
        name);
    free(name);
    return text;
}

void show_part_json(struct json *j, const Tide__External *e)
{
    bool hook = e && e->kind == TIDE__EXTERNAL_KIND__EXTERNAL_HOOK;
    json_text(j, "kind", hook ? "hook" : "coordinator");
    json_data(j, "name", e ? e->name : (ProtobufCBinaryData){0});
}

static void holders_json(struct json *j, const Tide__RoundInfo *r)
{
    json_array(j, "held_by");
    for (size_t i = 0; i < r->n_held_by; i++) {
        const Tide__RoundHolder *h = r->held_by[i];
        json_object(j, NULL);
        if (h->external) {
            json_null(j, "task");
            json_null(j, "operator");
            json_null(j, "subtask");
            json_object(j, "external");
            show_part_json(j, h->external);
            json_end_object(j);
        } else {
            json_u64(j, "task", h->task);
            json_data(j, "operator", h->operator_uid);
            json_u64(j, "subtask", h->subtask);
            json_null(j, "external");
        }
        json_text_or_null(j, "worker", h->worker);
        json_data(j, "phase", h->phase);
        json_end_object(j);
    }
    json_end_array(j);
    json_u64(j, "held_by_count", r->held_by_count);
}

void show_round_json(struct json *j, const char *key, const Tide__RoundInfo *r)
{
    json_object(j, key);
    json_u64(j, "round", r->round);
    json_text_or_null(j, "job", r->job);
    json_text(j, "kind", show_kind(r->kind));
    json_text(j, "style", tide_style_name((enum tide_style)r->style));
    json_text(j, "alignment", tide_alignment_name((enum tide_alignment)r->alignment));
    json_bool(j, "unaligned", r->unaligned);
    json_data(j, "state", r->state);
    json_u64(j, "incarnation", r->incarnation);
    json_u64(j, "attempt", r->attempt);
    json_id(j, "operation", r->operation);
    json_id(j, "begun_wall_us", r->begun_wall_us);
    json_id(j, "ended_wall_us", r->ended_wall_us);
    json_u64(j, "tasks", r->tasks);
    json_u64(j, "acked", r->acked);
    json_u64(j, "trigger_us", r->trigger_us);
    json_u64(j, "acks_us", r->acks_us);
    json_u64(j, "commit_us", r->commit_us);
    json_u64(j, "notify_us", r->notify_us);
    json_u64(j, "bytes", r->bytes);
    json_u64(j, "align_us", r->align_us);
    json_id(j, "turned_us", r->turned_us);
    json_u64(j, "processed_bytes", r->processed_bytes);
    json_u64(j, "persisted_bytes", r->persisted_bytes);
    json_text_or_null(j, "reason", r->reason);
    json_text_or_null(j, "code", cli_data(r->code ? tide_abort_of(r->code)->name : ""));
    json_bool(j, "counted", r->counted);
    holders_json(j, r);
    json_end_object(j);
}

void show_rounds_table(struct table *t)
{
    static char begun[TEXT_MAX];
    static const char *titles[] = {"ROUND",  "STATE", "BEGUN", "TOOK", "TRIGGER", "ACKS",
                                   "COMMIT", "ACKED", "SIZE",  "KIND", "ALIGN",   "IN FLIGHT"};
    static const unsigned char columns[] = {TABLE_RIGHT,
                                            TABLE_LEFT,
                                            TABLE_LEFT,
                                            TABLE_RIGHT,
                                            TABLE_RIGHT | TABLE_SPARE,
                                            TABLE_RIGHT | TABLE_SPARE,
                                            TABLE_RIGHT | TABLE_SPARE,
                                            TABLE_RIGHT,
                                            TABLE_RIGHT | TABLE_SPARE,
                                            TABLE_LEFT | TABLE_SPARE,
                                            TABLE_RIGHT | TABLE_SPARE,
                                            TABLE_RIGHT | TABLE_SPARE};
    titles[2] = show_zoned(begun, "BEGUN");
    table_init(t, sizeof titles / sizeof *titles, titles, columns);
}

static char *show_task(const Tide__RoundHolder *h)
{
    char *uid = text_clean(h->operator_uid);
    char *text = xprintf("%s/%u", uid, h->subtask);
    free(uid);
    return text;
}

static void note_holders(const Tide__RoundInfo *r, struct table *t)
{
    size_t shown = r->n_held_by < HOLDERS_SHOWN ? r->n_held_by : HOLDERS_SHOWN;
    size_t count = r->held_by_count > r->n_held_by ? r->held_by_count : r->n_held_by;
    for (size_t i = 0; i < shown; i++) {
        const Tide__RoundHolder *h = r->held_by[i];
        char *who = h->external ? show_part(h->external) : show_task(h);
        char *worker = text_clean(h->worker), *phase = text_clean(h->phase);
        char *line = xprintf("held by %s%s%s%s%s", who, *worker ? " on " : "", worker,
                             *phase ? ": " : "", phase);
        table_note(t, line);
        free(who);
        free(worker);
        free(phase);
        free(line);
    }
    if (count > shown) {
        char *line = xprintf("and %zu more", count - shown);
        table_note(t, line);
        free(line);
    }
}

/* 0: still under way. The end is stamped when the store gets the round, so the commit may come on
 * top. */
static uint64_t round_took(const Tide__RoundInfo *r)
{
    uint64_t phases = r->trigger_us + r->acks_us + r->commit_us;
    if (r->ended_wall_us <= r->begun_wall_us) return 0;
    uint64_t wall = r->ended_wall_us - r->begun_wall_us;
    return wall > phases ? wall : phases;
}

/* A phase that was not reached, or is not over, has no duration. */
static void put_phase(struct table *t, uint64_t us)
{
    char text[TEXT_MAX];
    table_put(t, us ? text_duration(text, us) : "-");
}

/* With how it waited for its barriers, when that is not the usual way. */
static void put_kind(struct table *t, const Tide__RoundInfo *r)
{
    char text[TEXT_MAX + 64], after[TEXT_MAX];
    const char *how = r->alignment == TIDE__ALIGNMENT__ALIGN_AT_LEAST_ONCE ? ", at least once"
                      : r->unaligned                                       ? ", unaligned"
                                                                           : "";
    snprintf(text, sizeof text, "%s%s%s%s", show_kind(r->kind), how,
             *how && r->turned_us ? " after " : "",
             *how && r->turned_us ? text_duration(after, r->turned_us) : "");
    table_put(t, text);
}

void show_rounds(Tide__RoundInfo *const *rounds, size_t n, struct table *t)
{
    char text[TEXT_MAX];
    for (size_t i = 0; i < n; i++) {
        const Tide__RoundInfo *r = rounds[i];
        uint64_t took = round_took(r);
        table_put_u64(t, r->round);
        table_put_data(t, r->state);
        show_time(text, r->begun_wall_us);
        table_put(t, text);
        put_phase(t, took);
        put_phase(t, r->trigger_us);
        put_phase(t, r->acks_us);
        put_phase(t, r->commit_us);
        snprintf(text, sizeof text, "%u/%u", r->acked, r->tasks);
        table_put(t, r->tasks ? text : "-");
        table_put(t, cli_is(r->state, "complete") ? text_size(text, r->bytes) : "-");
        put_kind(t, r);
        put_phase(t, r->align_us);
        table_put(t, r->persisted_bytes ? text_size(text, r->persisted_bytes) : "-");
        if (r->reason.len) {
            char *reason = text_clean(r->reason);
            table_note(t, reason);
            free(reason);
        }
        note_holders(r, t);
    }
}

/* ---- snapshots */

void show_snapshot_json(struct json *j, const char *key, const Tide__SnapshotInfo *s,
                        const char *relation)
{
    json_object(j, key);
    json_u64(j, "snapshot", s->snapshot);
    json_data(j, "job", s->job);
    json_text(j, "kind", show_kind(s->kind));
    json_text(j, "style", tide_style_name((enum tide_style)s->style));
    json_data(j, "state", s->state);
    json_data(j, "owner", s->owner);
    json_text_or_null(j, "label", s->label);
    json_text_or_null(j, "directory", s->directory);
    json_id(j, "parent", s->parent);
    json_u64(j, "incarnation", s->incarnation);
    json_u64(j, "attempt", s->attempt);
    json_id(j, "begun_wall_us", s->begun_wall_us);
    json_id(j, "completed_wall_us", s->completed_wall_us);
    json_u64(j, "tasks", s->tasks);
    json_u64(j, "artifacts", s->artifacts);
    json_u64(j, "bytes", s->bytes);
    json_u64(j, "manifest_bytes", s->manifest_bytes);
    json_u64(j, "owed", s->owed);
    json_bool(j, "imported", s->imported);
    if (relation) json_text_or_null(j, "relation", cli_data(relation));
    json_end_object(j);
}
