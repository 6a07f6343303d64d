/* The walk of an AckBatch against any bytes: what open accepts yields entries that lie within the
 * batch, protobuf-c reads the same from it, and the builder gives it back. */
#include <stdlib.h>
#include <string.h>

#include "proto/ack.h"
#include "proto/arena.h"
#include "proto/worker.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool fact)
{
    if (!fact) abort();
}

static void within(struct tide_bytes v, struct tide_bytes body)
{
    if (v.len == 0) return;
    must(v.data >= body.data && v.len <= body.len);
    must((size_t)(v.data - body.data) <= body.len - v.len);
}

static bool same(struct tide_bytes a, ProtobufCBinaryData b)
{
    return tide_bytes_equal(a, (struct tide_bytes){b.data, b.len});
}

static void check_artifact(const struct tide_artifact_view *f, const Tide__Artifact *a,
                           struct tide_bytes body)
{
    within(f->path, body);
    within(f->inlined, body);
    within(f->name, body);
    must(f->size == a->size && f->digest_low == a->digest_low && f->digest_high == a->digest_high);
    must(same(f->name, a->name));
    must(f->is_inline == (a->place_case == TIDE__ARTIFACT__PLACE_INLINE));
    if (f->is_inline) must(same(f->inlined, a->inline_));
    if (a->place_case == TIDE__ARTIFACT__PLACE_PATH) must(same(f->path, a->path));
    if (f->path.data == NULL) return;
    must(memchr(f->path.data, 0, f->path.len) == NULL);
    must(f->path.len == 0 || f->path.data[0] != '/');
}

static void check_entry(const struct tide_ack_view *v, const Tide__AckBatch *m, uint32_t i,
                        struct tide_bytes body)
{
    const Tide__TaskAck *full = i < m->n_task ? NULL : m->full[i - m->n_task];
    struct tide_artifact_place place = {0};
    struct tide_artifact_view f;
    uint64_t bytes = 0;

    must(v->full == (full != NULL));
    must(v->task == (full ? full->task : m->task[i]));
    must(v->async_us == (full ? full->async_us : m->async_us[i]));
    must(v->artifacts == (full ? full->n_artifacts : m->artifacts[i]));
    within(v->handle, body);
    within(v->message, body);
    for (uint32_t k = 0; k < v->artifacts; k++) {
        must(tide_acks_artifact(v, &place, &f));
        if (full) check_artifact(&f, full->artifacts[k], body);
        bytes += f.size;
    }
    must(!tide_acks_artifact(v, &place, &f) && bytes == v->bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tide_bytes body = {data, size};
    struct tide_acks acks, tasks;
    struct tide_ack_view v;
    struct tide_ack_task t;
    struct tide_arena arena;
    uint64_t bytes = 0, artifacts = 0;
    bool run;
    char why[160];

    if (tide_acks_open(&acks, body, why)) {
        must(why[0] != '\0');
        return 0;
    }
    tide_arena_init(&arena, SIZE_MAX);
    Tide__AckBatch *m = tide_unpack(&arena, &tide__ack_batch__descriptor, body, NULL);
    must(m != NULL);
    must(acks.attempt == m->attempt && acks.round == m->round);
    must(acks.entries == m->n_task + m->n_full);
    tasks = acks;
    run = acks.entries > 0 && m->n_full == 0;
    for (uint32_t i = 0; i < acks.entries; i++) {
        must(tide_acks_next(&acks, &v));
        check_entry(&v, m, i, body);
        must(tide_acks_next_task(&tasks, &t) && t.task == v.task && t.has_handle == v.has_handle);
        must(t.handle.data == v.handle.data && t.handle.len == v.handle.len);
        bytes += v.bytes;
        artifacts += v.artifacts;
        run = run && v.task == (uint64_t)acks.first + i;
    }
    must(!tide_acks_next(&acks, &v) && !tide_acks_next_task(&tasks, &t));
    must(acks.bytes == bytes && acks.artifacts == artifacts && acks.run == run);
    tide_arena_release(&arena);
    return 0;
}
