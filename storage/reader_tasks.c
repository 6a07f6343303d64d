/* The tasks of a snapshot for ShowSnapshot: a window of task numbers, out of the manifest.
 *
 * Acks stand in the manifest in the order in which they came. One walk keeps a view of each that
 * falls into the window; they become messages in the order of their tasks. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "proto/err.h"
#include "proto/graph.h"
#include "storage/alloc.h"
#include "storage/manifest.h"
#include "storage/reader.h"

#define TASKS_MAX 10000u

struct window {
    struct tide_manifest manifest;
    struct tide_graph *graph; /* NULL: the manifest's spec does not hold; uids are then left out */
    uint32_t first, n;
    struct tide_ack_view *acks; /* n of them */
    bool *acked, *ended;
};

static void mark(struct window *w, Tide__TaskRange **ranges, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < ranges[i]->count; k++) {
            uint32_t task = ranges[i]->first + k;
            if (task >= w->first && task - w->first < w->n) w->ended[task - w->first] = true;
        }
}

static void fill_artifact(struct tide_answer *a, Tide__Artifact *to,
                          const struct tide_artifact_view *v, const struct tide_ack_view *ack,
                          uint32_t index)
{
    char derived[32];
    to->size = v->size;
    to->digest_low = v->digest_low;
    to->digest_high = v->digest_high;
    to->key_group_first = v->key_group_first;
    to->key_group_count = v->key_group_count;
    to->shared = (Tide__Shared)v->shared;
    tide_answer_set(a, &to->name, v->name);
    if (v->is_inline) {
        to->place_case = TIDE__ARTIFACT__PLACE_INLINE;
        to->inline_ = (ProtobufCBinaryData){0};
        return;
    }
    struct tide_bytes path = v->path;
    if (!path.len)
        path = (struct tide_bytes){(const uint8_t *)derived,
                                   tide_artifact_path(derived, ack->task, index)};
    to->place_case = TIDE__ARTIFACT__PLACE_PATH;
    to->path = (ProtobufCBinaryData){0};
    tide_answer_set(a, &to->path, path);
}

static void fill_artifacts(struct tide_answer *a, Tide__SnapshotTask *t,
                           const struct tide_ack_view *ack)
{
    struct tide_artifact_place place = {0};
    struct tide_artifact_view v;
    if (!ack->artifacts) return;
    t->artifacts = tide_answer_new(a, ack->artifacts, sizeof *t->artifacts);
    if (!t->artifacts) return;
    while (t->n_artifacts < ack->artifacts && tide_acks_artifact(ack, &place, &v)) {
        Tide__Artifact *to = tide_answer_new(a, 1, sizeof *to);
        if (!to) return;
        tide__artifact__init(to);
        fill_artifact(a, to, &v, ack, (uint32_t)t->n_artifacts);
        t->artifacts[t->n_artifacts++] = to;
    }
}

static void fill_tasks(struct tide_answer *a, Tide__SnapshotDetail *detail, const struct window *w)
{
    if (!w->n) return;
    detail->tasks = tide_answer_new(a, w->n, sizeof *detail->tasks);
    for (uint32_t i = 0; i < w->n && !tide_answer_ends(a); i++) {
        if (i && a->bytes > TIDE_ANSWER_MAX) {
            detail->more = 1;
            return;
        }
        Tide__SnapshotTask *t = tide_answer_new(a, 1, sizeof *t);
        if (!t) return;
        tide__snapshot_task__init(t);
        detail->tasks[detail->n_tasks++] = t;
        t->task = w->first + i;
        t->ended = w->ended[i];
        const struct tide_operator *o =
            w->graph ? tide_graph_operator(w->graph, t->task, &t->subtask) : NULL;
        if (o) tide_answer_set(a, &t->operator_uid, o->uid);
        if (!w->acked[i]) continue;
        t->align_us = w->acks[i].align_us;
        t->sync_us = w->acks[i].sync_us;
        t->async_us = w->acks[i].async_us;
        fill_artifacts(a, t, &w->acks[i]);
    }
}

static void walk(struct tide_answer *a, Tide__SnapshotDetail *detail, const Tide__ShowSnapshot *q,
                 struct window *w)
{
    const Tide__ManifestHead *head = w->manifest.head;
    struct tide_manifest_walk place = {0};
    struct tide_ack_view ack;
    char why[256];
    uint32_t left = q->first_task < head->tasks ? head->tasks - q->first_task : 0;
    w->first = q->first_task;
    w->n = left < q->limit ? left : q->limit;
    detail->more = left > w->n;
    w->acks = tide_answer_new(a, w->n, sizeof *w->acks);
    w->acked = tide_answer_new(a, w->n, sizeof *w->acked);
    w->ended = tide_answer_new(a, w->n, sizeof *w->ended);
    if (tide_answer_ends(a)) return;
    while (tide_manifest_next(&w->manifest, &place, &ack)) {
        if (ack.task < w->first || ack.task - w->first >= w->n) continue;
        w->acks[ack.task - w->first] = ack;
        w->acked[ack.task - w->first] = true;
    }
    mark(w, head->ended, head->n_ended);
    mark(w, head->ending, head->n_ending);
    if (head->spec && tide_graph_new(head->spec, &w->graph, why) == TIDE_ENOMEM)
        a->no_memory = true;
    fill_tasks(a, detail, w);
}

void tide_answer_tasks(struct tide_answer *a, Tide__SnapshotDetail *detail,
                       const Tide__ShowSnapshot *q)
{
    struct window w = {0};
    struct tide_buf image = {0};
    char why[256];
    if (q->limit > TASKS_MAX) {
        tide_answer_error(a, TIDE__ERROR_CODE__ERROR_INVALID,
                          "a limit of %" PRIu32 " tasks is above %u, the most at once", q->limit,
                          TASKS_MAX);
        return;
    }
    int rc = tide_reader_manifest(a->r, q->snapshot, &image, why);
    if (rc == TIDE_ENOTFOUND) return; /* deleted: the row is all there is */
    if (!rc) {
        rc = tide_manifest_open(&w.manifest, (struct tide_bytes){image.data, image.len}, why);
        if (!rc) walk(a, detail, q, &w);
        if (!rc) tide_manifest_close(&w.manifest);
    }
    if (rc == TIDE_ENOMEM) a->no_memory = true;
    if (rc == TIDE_ECLOSED) tide_answer_sqlite(a, SQLITE_INTERRUPT);
    if (rc) tide_answer_error(a, TIDE__ERROR_CODE__ERROR_INTERNAL, "%s", why);
    tide_graph_free(w.graph);
    free(w.acks);
    free(w.acked);
    free(w.ended);
    tide_buf_release(&image);
}
