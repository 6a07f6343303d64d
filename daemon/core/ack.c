/* Acks: counted into a set, kept as the bytes that came.
 *
 * The usual way: every entry of a batch is a task of this worker that has not acked yet, so the
 * message itself, with its length in front, becomes part of the round's manifest. When some
 * entries do not count (they were acked before), what does is encoded anew. A batch with a task of
 * another worker is malformed as a whole, before any entry counts. */
#include "daemon/core/internal.h"

static void flush_chunk(struct round *r)
{
    if (r->chunk.len == 0) return;
    r->chunks = core_grow(r->chunks, r->n_chunks, &r->chunks_cap, sizeof *r->chunks);
    size_t len;
    uint8_t *data = tide_buf_take(&r->chunk, &len);
    r->chunks[r->n_chunks++] = (struct tide_bytes){data, len};
}

static void keep(struct round *r, struct tide_bytes batch)
{
    if (r->chunk.len && r->chunk.len + batch.len + 4 > CHUNK_MAX) flush_chunk(r);
    tide_buf_put_u32(&r->chunk, (uint32_t)batch.len);
    tide_buf_put(&r->chunk, batch.data, batch.len);
    core_assert(r->chunk.rc == 0);
    r->bytes_held += batch.len + 4;
}

static void count(struct round *r, const struct tide_ack_view *ack)
{
    r->bytes += ack->bytes;
    r->artifacts += ack->artifacts;
    if (!ack->has_handle) return;
    struct owed *o = core_alloc(sizeof *o);
    *o = (struct owed){r->number, ack->task, core_copy(ack->handle), NULL};
    *r->handles_end = o;
    r->handles_end = &o->next;
}

static void add_again(struct tide_ack_builder *again, const struct tide_ack_view *ack)
{
    struct tide_artifact_place place = {0};
    struct tide_artifact_view view;
    if (ack->full) {
        tide_ack_builder_add_full(again, ack->message);
        return;
    }
    struct tide_ack_file *files = core_alloc(((size_t)ack->artifacts + 1) * sizeof *files);
    for (uint32_t i = 0; tide_acks_artifact(ack, &place, &view); i++)
        files[i] = (struct tide_ack_file){view.size, view.digest_low, view.digest_high};
    tide_ack_builder_add(again, ack->task, ack->align_us, ack->sync_us, ack->async_us, files,
                         ack->artifacts);
    free(files);
}

/* Some entries do not count: keep the others, in a batch of their own. */
static void keep_some(struct round *r, struct tide_acks *acks, const struct job *job)
{
    struct tide_ack_builder again;
    struct tide_ack_view ack;
    struct tide_buf message;
    tide_ack_builder_init(&again, TIDE_FRAME_MAX);
    tide_buf_init(&message, TIDE_FRAME_MAX);
    while (tide_acks_next(acks, &ack)) {
        if (bits_get(&job->ended, ack.task)) continue;
        if (PLANTED(ACK_COUNT)) {
            r->planted_count++;
            if (bits_get(&r->acked, ack.task)) continue;
        }
        if (!bits_put(&r->acked, ack.task)) continue;
        count(r, &ack);
        add_again(&again, &ack);
    }
    if (again.entries) {
        tide_ack_builder_put(&again, acks->attempt, acks->round, &message);
        core_assert(message.rc == 0);
        keep(r, (struct tide_bytes){message.data, message.len});
    }
    tide_buf_release(&message);
    tide_ack_builder_release(&again);
}

/* Whether every entry counts; *ret_stranger: the first task that this worker does not host. */
static bool all_count(const struct job *job, const struct round *r, const struct worker *w,
                      struct tide_acks acks, int64_t *ret_stranger)
{
    struct tide_ack_view ack;
    bool all = true;
    uint32_t last = UINT32_MAX;
    *ret_stranger = -1;
    while (tide_acks_next(&acks, &ack)) {
        if (!worker_hosts(w, ack.task)) {
            *ret_stranger = ack.task;
            return false;
        }
        /* in rising order no task stands twice; otherwise the slow way finds out */
        if ((last != UINT32_MAX && ack.task <= last) || bits_get(&r->acked, ack.task) ||
            bits_get(&job->ended, ack.task))
            all = false;
        last = ack.task;
    }
    return all;
}

void ack_batch(struct core *c, struct session *s, struct tide_bytes body)
{
    struct worker *w = s->worker;
    struct job *job = w->job;
    struct round *r = job->round;
    struct tide_acks acks, again;
    struct tide_ack_view ack;
    char why[160];
    int64_t stranger;
    if (tide_acks_open(&acks, body, why)) {
        send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_MALFORMED, "AckBatch: %s", why);
        return;
    }
    bool stale =
        acks.attempt != w->attempt || w->attempt != job->attempt || w->standing != STANDS_HOLDING;
    bool late = !r || acks.round != r->number;
    if (PLANTED(STALE_ACK) && r && acks.attempt < job->attempt) stale = late = false;
    /* of an attempt or a round that is over: it changes nothing, the sender will hear or has heard
     */
    if (stale || late || r->state != ROUND_COLLECTING) return;
    bool all = all_count(job, r, w, acks, &stranger);
    if (stranger >= 0) {
        send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_MALFORMED,
                     "AckBatch: task %u is not hosted by this worker", (uint32_t)stranger);
        return;
    }
    again = acks;
    if (all) {
        while (tide_acks_next(&acks, &ack)) {
            bits_put(&r->acked, ack.task);
            count(r, &ack);
            if (PLANTED(ACK_COUNT)) r->planted_count++;
        }
        keep(r, body);
    } else {
        keep_some(r, &again, job);
    }
    if (r->operation) operation_changed(c, r->operation);
    if (r->bytes_held > ROUND_BYTES_MAX)
        round_abort(
            c, job, TIDE__ABORT_CODE__ABORT_NO_SPACE,
            "its acks are more than 1 GiB: let tasks write files instead of inline artifacts");
    else if ((PLANTED(ACK_COUNT) ? r->planted_count : r->acked.set) >= r->expected) {
        flush_chunk(r);
        round_all_acked(c, job);
    }
}
