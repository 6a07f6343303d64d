/* See the header. */
#include "tests/proto/lib_acks.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "proto/arena.h"

static ProtobufCBinaryData data_of(struct tide_arena *a, const char *text)
{
    return (ProtobufCBinaryData){strlen(text), tide_arena_copy(a, text, strlen(text))};
}

static Tide__Artifact *random_artifact(struct rng *r, struct tide_arena *a)
{
    Tide__Artifact *f = tide_arena_alloc(a, sizeof *f);
    tide__artifact__init(f);
    f->size = rng_any(r, 40);
    f->digest_low = rng_next(r);
    f->digest_high = rng_next(r);
    switch (rng_below(r, 4)) {
    case 0:
        f->place_case = TIDE__ARTIFACT__PLACE_PATH;
        f->path =
            data_of(a, tide_arena_printf(a, "dir-%u/p%u", rng_below(r, 9), rng_below(r, 999)));
        break;
    case 1:
        f->place_case = TIDE__ARTIFACT__PLACE_INLINE;
        f->inline_.len = rng_below(r, 40);
        f->inline_.data = tide_arena_alloc(a, f->inline_.len);
        rng_fill(r, f->inline_.data, f->inline_.len);
        f->size = f->inline_.len;
        break;
    default: break; /* derived */
    }
    if (rng_below(r, 2)) f->name = data_of(a, "état");
    if (rng_below(r, 2)) {
        f->key_group_first = rng_below(r, 128);
        f->key_group_count = rng_below(r, 128);
    }
    if (rng_below(r, 2)) {
        f->flight = rng_below(r, 3);
        f->channel = rng_below(r, 65536);
    }
    return f;
}

static void add_random_full(struct rng *r, struct tide_arena *a, struct tide_ack_builder *b)
{
    Tide__TaskAck ack;
    Tide__Artifact *list[5];

    tide__task_ack__init(&ack);
    ack.task = (uint32_t)rng_any(r, 32);
    ack.align_us = (uint32_t)rng_any(r, 32);
    ack.sync_us = (uint32_t)rng_any(r, 20);
    ack.async_us = (uint32_t)rng_any(r, 20);
    ack.n_artifacts = rng_below(r, 5);
    ack.artifacts = list;
    if (rng_below(r, 2)) {
        ack.unaligned = rng_below(r, 2) != 0;
        ack.start_delay_us = (uint32_t)rng_any(r, 32);
        ack.processed_bytes = rng_any(r, 64);
        ack.persisted_bytes = rng_any(r, 64);
    }
    for (size_t i = 0; i < ack.n_artifacts; i++)
        list[i] = random_artifact(r, a);
    if (rng_below(r, 2)) {
        ack.effect_case = TIDE__TASK_ACK__EFFECT_HANDLE;
        ack.handle = data_of(a, rng_below(r, 2) ? "commit me" : "");
    }
    size_t size = tide__task_ack__get_packed_size(&ack);
    uint8_t *packed = tide_arena_alloc(a, size);
    tide__task_ack__pack(&ack, packed);
    tide_ack_builder_add_full(b, (struct tide_bytes){packed, size});
}

void random_batch(struct rng *r, uint32_t columns_max, uint32_t full_max, struct tide_buf *out)
{
    struct tide_ack_builder b;
    struct tide_arena a;
    uint32_t columns = rng_below(r, columns_max + 1), full = rng_below(r, full_max + 1);

    tide_ack_builder_init(&b, TIDE_ARENA_MAX);
    tide_arena_init(&a, TIDE_ARENA_MAX);
    bool run = rng_below(r, 2);
    uint32_t first = (uint32_t)rng_any(r, 31);
    for (uint32_t i = 0; i < columns; i++) {
        struct tide_ack_file files[4];
        uint32_t n = rng_below(r, 4);
        for (uint32_t k = 0; k < n; k++)
            files[k] = (struct tide_ack_file){rng_any(r, 50), rng_next(r), rng_next(r)};
        tide_ack_builder_add(&b, run ? first + i : (uint32_t)rng_any(r, 32),
                             (uint32_t)rng_any(r, 32), (uint32_t)rng_any(r, 32),
                             (uint32_t)rng_any(r, 32), files, n);
    }
    for (uint32_t i = 0; i < full; i++)
        add_random_full(r, &a, &b);
    ck_assert_uint_eq(b.entries, columns + full);
    tide_ack_builder_put(&b, 1 + rng_any(r, 63), 1 + rng_any(r, 63), out);
    ck_assert_int_eq(out->rc, 0);
    tide_ack_builder_release(&b);
    tide_arena_release(&a);
}

/* Reads every byte of v, so that a sanitizer sees those outside. */
static void within(struct tide_bytes v, struct tide_bytes body)
{
    static volatile uint8_t sink;
    if (v.len == 0) return;
    ck_assert(v.data >= body.data);
    ck_assert_uint_le((size_t)(v.data - body.data), body.len - v.len);
    for (size_t i = 0; i < v.len; i++)
        sink = v.data[i];
    (void)sink;
}

uint32_t walk_in_bounds(struct tide_acks acks, struct tide_bytes body)
{
    struct tide_acks tasks = acks;
    struct tide_ack_view v;
    struct tide_ack_task t;
    struct tide_artifact_view f;
    uint64_t all_bytes = 0, all_files = 0;
    uint32_t n = 0;
    bool run = acks.entries > 0;

    while (tide_acks_next(&acks, &v)) {
        struct tide_artifact_place place = {0};
        uint64_t bytes = 0;
        uint32_t files = 0;
        ck_assert(tide_acks_next_task(&tasks, &t));
        ck_assert(t.task == v.task && t.has_handle == v.has_handle);
        ck_assert(t.handle.data == v.handle.data && t.handle.len == v.handle.len);
        run = run && !v.full && v.task == (uint64_t)acks.first + n;
        n++;
        within(v.handle, body);
        within(v.message, body);
        while (tide_acks_artifact(&v, &place, &f)) {
            within(f.path, body);
            within(f.inlined, body);
            within(f.name, body);
            bytes += f.size;
            files++;
        }
        if (files != v.artifacts) ck_abort_msg("%u artifacts instead of %u", files, v.artifacts);
        if (bytes != v.bytes) ck_abort_msg("sizes do not add up");
        all_bytes += bytes;
        all_files += files;
    }
    ck_assert(!tide_acks_next_task(&tasks, &t));
    if (all_bytes != acks.bytes || all_files != acks.artifacts) ck_abort_msg("sums are wrong");
    if (run != acks.run) ck_abort_msg("a run that is none, or one that is not seen");
    if (n != acks.entries) ck_abort_msg("%u entries instead of %u", n, acks.entries);
    return n;
}

static bool same(struct tide_bytes a, ProtobufCBinaryData b)
{
    return tide_bytes_equal(a, (struct tide_bytes){b.data, b.len});
}

static void compare_column(const Tide__AckBatch *m, size_t i, size_t *file,
                           const struct tide_ack_view *v)
{
    struct tide_artifact_place place = {0};
    struct tide_artifact_view f;
    ck_assert(!v->full && !v->has_handle);
    ck_assert_uint_eq(v->task, m->task[i]);
    ck_assert_uint_eq(v->align_us, m->align_us[i]);
    ck_assert_uint_eq(v->sync_us, m->sync_us[i]);
    ck_assert_uint_eq(v->async_us, m->async_us[i]);
    ck_assert_uint_eq(v->artifacts, m->artifacts[i]);
    for (; tide_acks_artifact(v, &place, &f); ++*file) {
        ck_assert_uint_lt(*file, m->n_size);
        ck_assert_uint_eq(f.size, m->size[*file]);
        ck_assert_uint_eq(f.digest_low, m->digest_low[*file]);
        ck_assert_uint_eq(f.digest_high, m->digest_high[*file]);
        ck_assert(f.path.len == 0 && f.name.len == 0 && !f.is_inline && f.key_group_count == 0);
    }
}

static void compare_full(const Tide__TaskAck *m, const struct tide_ack_view *v)
{
    struct tide_artifact_place place = {0};
    struct tide_artifact_view f;
    size_t i = 0;
    ck_assert(v->full);
    ck_assert_uint_eq(v->task, m->task);
    ck_assert_uint_eq(v->align_us, m->align_us);
    ck_assert_uint_eq(v->sync_us, m->sync_us);
    ck_assert_uint_eq(v->async_us, m->async_us);
    ck_assert_uint_eq(v->artifacts, m->n_artifacts);
    ck_assert(v->unaligned == m->unaligned);
    ck_assert_uint_eq(v->start_delay_us, m->start_delay_us);
    ck_assert_uint_eq(v->processed_bytes, m->processed_bytes);
    ck_assert_uint_eq(v->persisted_bytes, m->persisted_bytes);
    ck_assert_int_eq(v->has_handle, m->effect_case == TIDE__TASK_ACK__EFFECT_HANDLE);
    if (v->has_handle) ck_assert(same(v->handle, m->handle));
    for (; tide_acks_artifact(v, &place, &f); i++) {
        const Tide__Artifact *a = m->artifacts[i];
        ck_assert_uint_eq(f.size, a->size);
        ck_assert_uint_eq(f.digest_low, a->digest_low);
        ck_assert_uint_eq(f.digest_high, a->digest_high);
        ck_assert(same(f.name, a->name));
        ck_assert_uint_eq(f.key_group_first, a->key_group_first);
        ck_assert_uint_eq(f.key_group_count, a->key_group_count);
        ck_assert_uint_eq(f.flight, (unsigned)a->flight);
        ck_assert_uint_eq(f.channel, a->channel);
        ck_assert_int_eq(f.is_inline, a->place_case == TIDE__ARTIFACT__PLACE_INLINE);
        if (f.is_inline) ck_assert(same(f.inlined, a->inline_));
        if (a->place_case == TIDE__ARTIFACT__PLACE_PATH) ck_assert(same(f.path, a->path));
        if (a->place_case != TIDE__ARTIFACT__PLACE_PATH) ck_assert_uint_eq(f.path.len, 0);
    }
    ck_assert_uint_eq(i, m->n_artifacts);
}

void compare_with_unpack(struct tide_acks acks, struct tide_bytes body)
{
    struct tide_arena a;
    struct tide_ack_view v;
    size_t file = 0;

    tide_arena_init(&a, SIZE_MAX);
    Tide__AckBatch *m = tide_unpack(&a, &tide__ack_batch__descriptor, body, NULL);
    ck_assert_ptr_nonnull(m);
    ck_assert_uint_eq(acks.attempt, m->attempt);
    ck_assert_uint_eq(acks.round, m->round);
    ck_assert_uint_eq(acks.entries, m->n_task + m->n_full);
    for (size_t i = 0; i < m->n_task; i++) {
        ck_assert(tide_acks_next(&acks, &v));
        compare_column(m, i, &file, &v);
    }
    ck_assert_uint_eq(file, m->n_size);
    for (size_t i = 0; i < m->n_full; i++) {
        ck_assert(tide_acks_next(&acks, &v));
        compare_full(m->full[i], &v);
    }
    ck_assert(!tide_acks_next(&acks, &v));
    tide_arena_release(&a);
}
