/* Acks and declines of a session: taken from the application, kept until the round is resolved,
 * since they may have to be said again. */
#include <string.h>

#include "client/session_impl.h"

/* What is left of it goes into columns. Those have no place for the figures of rounds that do not
 * wait, nor for a start delay, which in a job of aligned rounds is not worth three times the bytes.
 */
static bool is_plain(const struct tide_session_ack *a, const struct round_place *place, bool flows)
{
    if (a->has_handle || a->persisted || place->unaligned || place->finished_operator) return false;
    if (flows && (place->start_delay_us || place->processed)) return false;
    for (uint32_t i = 0; i < a->n_artifacts; i++) {
        const struct tide_artifact_view *v = &a->artifacts[i];
        if (v->is_inline || v->path.len || v->name.len || v->key_group_count || v->flight ||
            v->shared)
            return false;
    }
    return true;
}

static int pack_full(const struct tide_session_ack *a, const struct round_place *place,
                     struct tide_buf *acks)
{
    Tide__TaskAck m;
    struct tide_arena arena;
    int rc = TIDE_ENOMEM;
    tide__task_ack__init(&m);
    tide_arena_init(&arena, (size_t)64 << 20);
    Tide__Artifact *items = tide_arena_alloc(&arena, (a->n_artifacts + 1) * sizeof *items);
    m.artifacts = tide_arena_alloc(&arena, (a->n_artifacts + 1) * sizeof *m.artifacts);
    m.task = a->task;
    m.align_us = a->align_us;
    m.sync_us = a->sync_us;
    m.async_us = a->async_us;
    m.unaligned = place->unaligned;
    m.finished_operator = place->finished_operator;
    m.start_delay_us = place->start_delay_us;
    m.processed_bytes = place->processed;
    m.persisted_bytes = a->persisted;
    if (!items || !m.artifacts) goto out;
    for (uint32_t i = 0; i < a->n_artifacts; i++) {
        const struct tide_artifact_view *v = &a->artifacts[i];
        Tide__Artifact *f = m.artifacts[i] = &items[i];
        tide__artifact__init(f);
        f->size = v->size;
        f->digest_low = v->digest_low;
        f->digest_high = v->digest_high;
        f->name = tide_pb(v->name);
        f->key_group_first = v->key_group_first;
        f->key_group_count = v->key_group_count;
        f->flight = (Tide__Flight)v->flight;
        f->channel = v->channel;
        f->shared = (Tide__Shared)v->shared;
        if (v->flight) m.persisted_bytes += v->size;
        f->place_case = v->is_inline ? TIDE__ARTIFACT__PLACE_INLINE : TIDE__ARTIFACT__PLACE_PATH;
        char path[32];
        struct tide_bytes name = v->path;
        if (!name.len) {
            size_t len = tide_artifact_path(path, a->task, i);
            name = tide_arena_bytes(&arena, (struct tide_bytes){(uint8_t *)path, len});
            if (!name.data) goto out;
        }
        if (v->is_inline)
            f->inline_ = tide_pb(v->inlined);
        else
            f->path = tide_pb(name);
    }
    m.n_artifacts = a->n_artifacts;
    if (a->has_handle) {
        m.effect_case = TIDE__TASK_ACK__EFFECT_HANDLE;
        m.handle = tide_pb(a->handle);
    }
    size_t len = tide__task_ack__get_packed_size(&m);
    rc = TIDE_ETOOBIG;
    if (len > ACK_FULL_MAX) goto out;
    struct ack_head head = {a->task, a->align_us, a->sync_us, a->async_us, 0, (uint32_t)len};
    tide_buf_put(acks, &head, sizeof head);
    uint8_t *to = tide_buf_extend(acks, (len + 7) & ~(size_t)7);
    if (to) {
        memset(to + len, 0, ((len + 7) & ~(size_t)7) - len);
        tide__task_ack__pack(&m, to);
    }
    rc = acks->rc;
out:
    tide_arena_release(&arena);
    return rc;
}

static int pack_plain(const struct tide_session_ack *a, struct tide_buf *acks)
{
    struct ack_head head = {a->task, a->align_us, a->sync_us, a->async_us, a->n_artifacts, 0};
    tide_buf_put(acks, &head, sizeof head);
    for (uint32_t i = 0; i < a->n_artifacts; i++) {
        const struct tide_artifact_view *v = &a->artifacts[i];
        struct tide_ack_file file = {v->size, v->digest_low, v->digest_high};
        tide_buf_put(acks, &file, sizeof file);
    }
    return acks->rc;
}

int tide_session_ack(struct tide_session *s, const struct tide_session_ack *ack, uint64_t now_us)
{
    tide_session_enter(s);
    uint32_t index;
    if (s->dead) return s->dead;
    if (!tide_session_task(s, ack->task, &index)) return TIDE_EINVAL;
    if (ack->n_artifacts > TIDE_ARTIFACTS_PER_ACK_MAX || ack->handle.len > TIDE_HANDLE_MAX)
        return TIDE_ETOOBIG;
    struct round *r = tide_round_find(s, ack->round);
    if (!s->attempt || ack->attempt != s->attempt || !r || s->link == LINK_OVER) return TIDE_ESTALE;
    if (r->tasks[index].state == ROUND_ACKED) return 0;
    const struct round_place *place = &r->tasks[index];
    if (place->state != ROUND_ASKED) return TIDE_ESTALE;
    if (place->waits) return TIDE_ESTATE; /* ACKABLE was not delivered */
    if (tide_session_fence(s, now_us)) return TIDE_EFENCED;
    size_t before = r->acks.len;
    struct tide_session_ack full = *ack;
    if (place->unaligned) full.align_us = place->align_us;
    int rc = is_plain(&full, place, r->mode != TIDE_ALIGN_ALIGNED)
                 ? pack_plain(&full, &r->acks)
                 : pack_full(&full, place, &r->acks);
    if (rc) { /* nothing of it may stay */
        r->acks.len = before;
        r->acks.rc = 0;
        return rc;
    }
    tide_share_acked(s, &s->tasks[index], ack);
    r->tasks[index].state = ROUND_ACKED;
    r->unsent++;
    if (r->unsent >= s->ack_batch)
        tide_session_send_acks(s);
    else
        s->ack_due_us = tide_min(s->ack_due_us, now_us + s->ack_delay_us);
    return 0;
}

int tide_session_decline(struct tide_session *s, uint64_t attempt, uint64_t round, uint32_t task,
                         struct tide_bytes reason, uint32_t retry_after_ms, uint64_t now_us)
{
    tide_session_enter(s);
    uint32_t index;
    if (s->dead) return s->dead;
    if (!tide_session_task(s, task, &index)) return TIDE_EINVAL;
    const struct round *r = tide_round_find(s, round);
    if (!s->attempt || attempt != s->attempt || !r || s->link == LINK_OVER) return TIDE_ESTALE;
    if (r->tasks[index].state == ROUND_ACKED) return TIDE_ESTALE;
    tide_session_fence(s, now_us); /* kept till Resumed, like those of the aligner */
    tide_round_decline(s, index, round, reason, retry_after_ms);
    return 0;
}

int tide_session_progress(struct tide_session *s, uint32_t task, uint64_t round, uint64_t bytes,
                          uint64_t now_us)
{
    tide_session_enter(s);
    uint32_t index;
    (void)now_us;
    if (s->dead) return s->dead;
    if (!tide_session_task(s, task, &index)) return TIDE_EINVAL;
    struct round *r = tide_round_find(s, round);
    if (!r) return TIDE_ESTALE;
    r->tasks[index].bytes = bytes;
    return 0;
}
