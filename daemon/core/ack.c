/* Acks: counted into a set, kept as the bytes that came.
 *
 * The usual way: every entry of a batch is a task of this worker that has not acked yet, so the
 * message itself, with its length in front, becomes part of the round's manifest. Tasks that follow
 * each other are set as words of the set, others one by one. When an entry does not count after all
 * (it was acked before, or stands twice), what was set is taken back, and what does count is
 * encoded anew. A batch with a task of another worker is malformed as a whole: nothing of it
 * counts. */
#include "daemon/core/internal.h"

void ack_flush(struct round *r)
{
    if (r->chunk.len == 0) return;
    r->chunks = core_grow(r->chunks, r->n_chunks, &r->chunks_cap, sizeof *r->chunks);
    size_t len;
    uint8_t *data = tide_buf_take(&r->chunk, &len);
    r->chunks[r->n_chunks++] = (struct tide_bytes){data, len};
}

static void keep(struct round *r, struct tide_bytes batch)
{
    if (r->chunk.len && r->chunk.len + batch.len + 4 > CHUNK_MAX) ack_flush(r);
    tide_buf_put_u32(&r->chunk, (uint32_t)batch.len);
    tide_buf_put(&r->chunk, batch.data, batch.len);
    core_assert(r->chunk.rc == 0);
    r->bytes_held += batch.len + 4;
}

static void owe(struct round *r, uint32_t task, struct tide_bytes handle)
{
    struct owed *o = core_alloc(sizeof *o);
    *o = (struct owed){r->number, task, core_copy(handle), NULL};
    *r->handles_end = o;
    r->handles_end = &o->next;
}

/* Figures for people: what a worker makes up may not overflow, nor be more than the store keeps. */
static void add_flight(struct round *r, bool unaligned, uint64_t processed, uint64_t persisted,
                       uint32_t align_us)
{
    const uint64_t most = INT64_MAX;
    /* a source waits for no barrier, and may have records in its outputs all the same */
    r->unaligned = r->unaligned || unaligned || persisted;
    if (align_us > r->align_us) r->align_us = align_us;
    r->processed = processed > most - r->processed ? most : r->processed + processed;
    r->persisted = persisted > most - r->persisted ? most : r->persisted + persisted;
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
static void keep_some(struct round *r, struct tide_acks *acks)
{
    struct tide_ack_builder again;
    struct tide_ack_view ack;
    struct tide_buf message;
    tide_ack_builder_init(&again, TIDE_FRAME_MAX);
    tide_buf_init(&message, TIDE_FRAME_MAX);
    while (tide_acks_next(acks, &ack)) {
        if (bits_get(&r->plan.ended, ack.task)) continue;
        if (PLANTED(ACK_COUNT)) {
            r->planted_count++;
            if (bits_get(&r->acked, ack.task)) continue;
        }
        if (!bits_put(&r->acked, ack.task)) continue;
        r->bytes += ack.bytes;
        r->artifacts += ack.artifacts;
        if (ack.has_handle) owe(r, ack.task, ack.handle);
        if (ack.finished_operator) bits_put(&r->plan.finished, ack.task);
        if (acks->shared) share_ack(r, &ack);
        add_flight(r, ack.unaligned, ack.processed_bytes, ack.persisted_bytes, ack.align_us);
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

/* Of a batch: every entry counts and is set, or nothing is and the slow way finds out which. */
enum tally { ALL_COUNT, SOME_COUNT, A_STRANGER };

static void take_back(struct round *r, struct tide_acks acks, uint32_t n)
{
    struct tide_ack_task ack;
    while (n-- > 0) {
        bool more = tide_acks_next_task(&acks, &ack);
        core_assert(more);
        bits_drop(&r->acked, ack.task);
    }
}

static enum tally tally_each(struct round *r, const struct worker *w, const struct tide_acks *acks,
                             uint32_t *ret_stranger)
{
    struct tide_acks walk = *acks;
    struct tide_ack_task ack;
    uint32_t from = 0, end = 0, n = 0;
    enum tally tally = ALL_COUNT;
    while (tide_acks_next_task(&walk, &ack)) {
        if (ack.task < from || ack.task >= end) {
            from = ack.task;
            end = worker_hosts_until(w, from);
        }
        if (end == from) {
            *ret_stranger = ack.task;
            tally = A_STRANGER;
            break;
        }
        if (tally == SOME_COUNT) continue; /* only strangers matter now */
        if (!bits_get(&r->plan.ended, ack.task) && bits_put(&r->acked, ack.task))
            n++;
        else
            tally = SOME_COUNT;
    }
    if (tally != ALL_COUNT) take_back(r, *acks, n);
    return tally;
}

/* Tasks that follow each other: a few words of the set instead of each. */
static enum tally tally_run(struct round *r, const struct worker *w, const struct tide_acks *acks,
                            uint32_t *ret_stranger)
{
    uint32_t first = acks->first, n = acks->entries;
    if (worker_hosts_until(w, first) - first < n) return tally_each(r, w, acks, ret_stranger);
    if (bits_any(&r->acked, first, n) || bits_any(&r->plan.ended, first, n)) return SOME_COUNT;
    bits_put_run(&r->acked, first, n);
    return ALL_COUNT;
}

static void keep_all(struct round *r, const struct tide_acks *acks)
{
    struct tide_acks walk = *acks;
    struct tide_ack_task ack;
    r->bytes += acks->bytes;
    r->artifacts += acks->artifacts;
    if (PLANTED(ACK_COUNT)) r->planted_count += acks->entries;
    keep(r, acks->body);
    add_flight(r, false, 0, 0, tide_acks_align_most(acks));
    struct tide_acks sharing = *acks;
    struct tide_ack_view whole;
    while (acks->shared && tide_acks_next(&sharing, &whole))
        share_ack(r, &whole);
    while (!acks->run && acks->entries > acks->columns && tide_acks_next_task(&walk, &ack)) {
        if (ack.has_handle) owe(r, ack.task, ack.handle);
        if (ack.finished_operator) bits_put(&r->plan.finished, ack.task);
        add_flight(r, ack.unaligned, ack.processed_bytes, ack.persisted_bytes, ack.align_us);
    }
}

/* Tasks turn by timers of their own; the first that says so is as good as the order to turn. */
static void note_turn(const struct core *c, struct round *r)
{
    if (r->unaligned && r->alignment == TIDE_ALIGNED_TIMEOUT && !r->turned_us)
        r->turned_us = c->now - r->begun_us;
}

/* The round under way that it is of. Of an attempt or a round that is over it changes nothing: the
 * sender will hear or has heard. */
static struct round *wanted_by(const struct worker *w, const struct tide_acks *acks)
{
    const struct job *job = w->job;
    struct round *r = job_round(job, acks->round);
    bool stale = !worker_speaks(w, acks->attempt) || (r && acks->attempt != r->attempt);
    if (PLANTED(STALE_REGION) && job->graph->checkpointing.regional && job->rounds &&
        acks->attempt < w->since) {
        stale = false;
        r = job->rounds;
    }
    if (PLANTED(STALE_ACK) && job->rounds && acks->attempt < job->attempt) {
        stale = false;
        r = job->rounds;
    }
    return r && !stale && (r->state == ROUND_ASKING || r->state == ROUND_COLLECTING) ? r : NULL;
}

static uint64_t sum(uint64_t a, uint64_t b)
{
    return b > INT64_MAX - a ? INT64_MAX : a + b;
}

/* Of a round that has aborted: what was measured fills in its row, of each task once. */
static void too_late(struct core *c, const struct worker *w, struct tide_acks *acks)
{
    struct job *job = w->job;
    struct trash *t = clean_aborted(job, acks->round);
    struct tide_ack_view ack;
    bool more = false;
    if (!t || acks->attempt != t->attempt || !worker_speaks(w, t->attempt)) return;
    while (tide_acks_next(acks, &ack)) {
        if (ack.task >= t->acked.size || !worker_hosts(w, ack.task) ||
            !bits_put(&t->acked, ack.task))
            continue;
        t->facts.bytes = sum(t->facts.bytes, ack.bytes);
        t->facts.processed_bytes = sum(t->facts.processed_bytes, ack.processed_bytes);
        t->facts.persisted_bytes = sum(t->facts.persisted_bytes, ack.persisted_bytes);
        t->facts.unaligned |= ack.unaligned || ack.persisted_bytes;
        if (ack.align_us > t->facts.align_us) t->facts.align_us = ack.align_us;
        more = true;
    }
    if (more) clean_figures(c, job, t);
}

void ack_batch(struct core *c, struct session *s, struct tide_bytes body)
{
    struct worker *w = s->worker;
    struct tide_acks acks;
    char why[160];
    uint32_t stranger;
    if (tide_acks_open(&acks, body, why)) {
        send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_MALFORMED, "AckBatch: %s", why);
        return;
    }
    struct round *r = wanted_by(w, &acks);
    if (!r) {
        too_late(c, w, &acks);
        return;
    }
    if (!meeting_may_ack(r)) {
        send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_STATE,
                     "AckBatch of round %" PRIu64 " before its SnapshotNow", r->number);
        return;
    }
    if (acks.bytes > INT64_MAX - r->bytes) { /* of a round they are stored as one signed number */
        send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_MALFORMED,
                     "AckBatch: the files of this round would be more than 2^63 - 1 bytes");
        return;
    }
    enum tally tally =
        acks.run ? tally_run(r, w, &acks, &stranger) : tally_each(r, w, &acks, &stranger);
    if (tally == A_STRANGER) {
        send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_MALFORMED,
                     "AckBatch: task %u is not hosted by this worker", stranger);
        return;
    }
    uint32_t before = r->acked.set;
    if (tally == ALL_COUNT)
        keep_all(r, &acks);
    else
        keep_some(r, &acks);
    if (share_refuses(c, r)) return;
    if (tally == ALL_COUNT || r->acked.set > before) r->progress_us = c->now;
    note_turn(c, r);
    external_acked(c, r);
    if (r->operation) operation_changed(c, r->operation);
    if (r->bytes_held > ROUND_BYTES_MAX)
        round_abort(
            c, r, TIDE__ABORT_CODE__ABORT_NO_SPACE,
            "its acks are more than 1 GiB: let tasks write files instead of inline artifacts");
    else if (r->state == ROUND_COLLECTING &&
             (PLANTED(ACK_COUNT) ? r->planted_count : r->acked.set) >= r->plan.expected)
        round_all_acked(c, r);
}
