/* Rounds in a session
 *
 * The usual way: Trigger opens the round and goes to the aligner of every task; their steps become
 * deliveries; each task acks; acks are kept, sent in batches, and sent again after Resumed, until
 * Complete or Abort resolves the round. Complete asks the tasks to publish, each answers, and one
 * Confirm tells the daemon.
 *
 * What can go wrong, and what we do:
 * - a task cannot line up (overtaken, cancelled, too late, cut off)  -> declined, kept like an ack
 * - Abort          -> aligning tasks let go; those that have snapshotted are told; nothing is
 * undone
 * - a commit fails -> asked for again, with a back-off
 * - the job stops  -> a source ends its input before the barrier of a round that drains; a task
 * that has snapshotted for one that suspends stands still, until it hears otherwise or is cut off
 * for longer than the orphan limit
 * - the lease ends -> commits that wait are taken back, to be delivered after Resumed */
#include <stdlib.h>
#include <string.h>

#include "client/session_impl.h"

static struct round *find(struct tide_session *s, uint64_t number)
{
    for (uint32_t i = s->n_rounds; i-- > 0;)
        if (s->rounds[i]->number == number) return s->rounds[i];
    return NULL;
}

/* ---- rounds come and go */

static void round_free(struct round *r)
{
    if (!r) return;
    tide_shared_unref(r->directory);
    tide_buf_release(&r->acks);
    free(r->tasks);
    free(r);
}

static struct round *round_new(struct tide_session *s)
{
    struct round *r = s->spare;
    s->spare = NULL;
    if (r) {
        memset(r->tasks, 0, s->n_tasks * sizeof *r->tasks);
        return r;
    }
    r = calloc(1, sizeof *r);
    if (r) r->tasks = calloc(s->n_tasks ? s->n_tasks : 1, sizeof *r->tasks);
    if (!r || !r->tasks) {
        free(r);
        tide_session_dead(s, TIDE_ENOMEM, "out of memory", __LINE__);
        return NULL;
    }
    tide_buf_init(&r->acks, ACKS_MAX);
    return r;
}

static void remove_at(struct tide_session *s, uint32_t index)
{
    struct round *r = s->rounds[index];
    for (uint32_t i = index + 1; i < s->n_rounds; i++)
        s->rounds[i - 1] = s->rounds[i];
    s->n_rounds--;
    if (s->spare || r->acks.cap > FRAME_GOAL) {
        round_free(r);
        return;
    }
    tide_shared_unref(r->directory);
    tide_buf_clear(&r->acks);
    *r = (struct round){.tasks = r->tasks, .acks = r->acks};
    s->spare = r;
}

static void forget_declines(struct tide_session *s, uint64_t below, uint64_t exactly)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < s->n_declines; i++) {
        if (s->declines[i].round < below || s->declines[i].round == exactly)
            tide_shared_unref(s->declines[i].reason);
        else
            s->declines[kept++] = s->declines[i];
    }
    s->n_declines = kept;
}

static void resolve(struct tide_session *s, uint64_t number)
{
    for (uint32_t i = 0; i < s->n_rounds; i++) {
        if (s->rounds[i]->number != number) continue;
        remove_at(s, i);
        break;
    }
    forget_declines(s, 0, number);
}

void tide_rounds_clear(struct tide_session *s)
{
    while (s->n_rounds)
        remove_at(s, s->n_rounds - 1);
    forget_declines(s, UINT64_MAX, 0);
    s->ack_due_us = s->align_due_us = s->retry_due_us = UINT64_MAX;
    s->flush_due = false;
}

void tide_rounds_free(struct tide_session *s)
{
    tide_rounds_clear(s);
    round_free(s->spare);
    s->spare = NULL;
    free(s->declines);
}

/* ---- declines */

static void decline(struct tide_session *s, uint32_t index, uint64_t number,
                    struct tide_bytes reason, uint32_t retry_after_ms)
{
    struct round *r = find(s, number);
    if (r) {
        if (r->tasks[index].state == ROUND_ACKED || r->tasks[index].state == ROUND_DECLINED) return;
        if (r->meets && r->tasks[index].state == ROUND_NOTHING) r->meet_left--;
        r->tasks[index].state = ROUND_DECLINED;
    }
    if (s->n_declines >= DECLINES_MAX) return; /* one is enough to end a round */
    if (s->n_declines == s->cap_declines) {
        uint32_t cap = s->cap_declines ? s->cap_declines * 2 : 16;
        struct decline *items = realloc(s->declines, cap * sizeof *items);
        if (!items) {
            tide_session_dead(s, TIDE_ENOMEM, "out of memory", __LINE__);
            return;
        }
        s->declines = items;
        s->cap_declines = cap;
    }
    struct decline *d = &s->declines[s->n_declines++];
    *d = (struct decline){number, s->tasks[index].number, retry_after_ms,
                          tide_shared_new(s, reason)};
    tide_session_send_decline(s, d);
}

/* ---- the aligners' steps */

static struct tide_delivery delivery(const struct tide_session *s, const struct stask *t,
                                     enum tide_delivery_type type)
{
    return (struct tide_delivery){.type = type, .task = t->number, .attempt = s->attempt};
}

static void forward(struct tide_session *s, const struct stask *t, uint64_t round, uint32_t flags)
{
    struct tide_barrier b = {.round = round, .flags = flags, .job_check = s->job_check};
    struct tide_delivery d = delivery(s, t, TIDE_DO_FORWARD);
    d.round = round;
    tide_barrier_encode(&b, d.barrier);
    tide_session_push(s, &d, NULL);
}

void tide_rounds_forward_end(struct tide_session *s, const struct stask *t)
{
    forward(s, t, 0, TIDE_BARRIER_END);
}

/* In the last round of a job that is to be suspended. */
static void stand_still(struct tide_session *s, struct stask *t, uint64_t round)
{
    struct tide_delivery d = delivery(s, t, TIDE_DO_SUSPEND);
    d.round = t->suspended = round;
    tide_session_push(s, &d, NULL);
}

static void go_on(struct tide_session *s, struct stask *t)
{
    struct tide_delivery d = delivery(s, t, TIDE_DO_RESUME);
    if (!t->suspended) return;
    d.round = t->suspended;
    t->suspended = 0;
    tide_session_push(s, &d, NULL);
}

static void snapshot(struct tide_session *s, uint32_t index, const struct tide_align_step *step)
{
    struct round *r = find(s, step->round);
    if (!r || r->tasks[index].state != ROUND_NOTHING) return;
    if (r->stop == TIDE__STOP_MODE__STOP_DRAIN && !s->tasks[index].finished) {
        decline(s, index, r->number,
                tide_bytes_of("the barrier of a round that drains the job came before the end of "
                              "the input: is the end passed on from task to task?"),
                0);
        return;
    }
    r->tasks[index].state = ROUND_ASKED;
    struct tide_delivery d = delivery(s, &s->tasks[index], TIDE_DO_SNAPSHOT);
    d.round = r->number;
    d.align_us = step->align_us;
    d.directory = (struct tide_bytes){r->directory->data, r->directory->len};
    d.directory_exists = r->directory_exists;
    d.savepoint = r->savepoint;
    tide_session_push(s, &d, r->directory);
    if (r->stop == TIDE__STOP_MODE__STOP_SUSPEND) stand_still(s, &s->tasks[index], r->number);
}

/* A round that drains the job waits, in a task without an open input, for that task's end. */
static bool must_drain(struct tide_session *s, struct stask *t, uint64_t round)
{
    const struct round *r = find(s, round);
    if (!r || r->stop != TIDE__STOP_MODE__STOP_DRAIN || t->finished) return false;
    struct tide_delivery d = delivery(s, t, TIDE_DO_DRAIN);
    d.round = t->drain = round;
    tide_session_push(s, &d, NULL);
    return true;
}

static void trigger(struct tide_session *s, const struct stask *t, uint64_t round)
{
    struct tide_delivery d = delivery(s, t, TIDE_DO_TRIGGER);
    d.round = round;
    tide_session_push(s, &d, NULL);
    forward(s, t, round, 0);
}

void tide_rounds_drained(struct tide_session *s, uint32_t index, uint64_t now_us)
{
    struct stask *t = &s->tasks[index];
    const struct round *r = find(s, t->drain);
    struct tide_align_step step = {.round = t->drain};
    bool late = r && now_us >= r->deadline_us;
    t->drain = 0;
    if (!r || r->tasks[index].state != ROUND_NOTHING) return;
    if (late) {
        decline(s, index, r->number, tide_bytes_of("the round's time is over"), 0);
        return;
    }
    trigger(s, t, r->number);
    snapshot(s, index, &step);
}

/* at_once: the task has no open channel, a trigger began the round. */
static void carry_steps(struct tide_session *s, uint32_t index, bool at_once)
{
    struct stask *t = &s->tasks[index];
    struct tide_align_step step;
    struct tide_delivery d;
    while (tide_align_next(t->align, &step)) {
        if (t->ended) continue; /* its outputs have had their END */
        switch (step.what) {
        case TIDE_ALIGN_BLOCK:
        case TIDE_ALIGN_UNBLOCK:
            d = delivery(s, t, step.what == TIDE_ALIGN_BLOCK ? TIDE_DO_BLOCK : TIDE_DO_UNBLOCK);
            d.channel = step.channel;
            tide_session_push(s, &d, NULL);
            break;
        case TIDE_ALIGN_FORWARD:
            if (!at_once)
                forward(s, t, step.round, 0);
            else if (!must_drain(s, t, step.round))
                trigger(s, t, step.round);
            break;
        case TIDE_ALIGN_SNAPSHOT:
            if (t->drain != step.round) snapshot(s, index, &step);
            break;
        case TIDE_ALIGN_CANCEL: forward(s, t, step.round, TIDE_BARRIER_CANCEL); break;
        case TIDE_ALIGN_DISCARD:
            if (step.reason) decline(s, index, step.round, tide_bytes_of(step.reason), 0);
            break;
        case TIDE_ALIGN_ENDED: at_once = true; break;
        case TIDE_ALIGN_OVERTAKE:
        case TIDE_ALIGN_PROMOTE:
        case TIDE_ALIGN_ACKABLE: break; /* of rounds that are not aligned */
        }
    }
    s->align_due_us = tide_min(s->align_due_us, tide_align_deadline(t->align, s->orphan_us));
}

/* ---- for session_meet.c */

struct round *tide_round_find(struct tide_session *s, uint64_t number)
{
    return find(s, number);
}

void tide_round_decline(struct tide_session *s, uint32_t index, uint64_t number,
                        struct tide_bytes reason)
{
    decline(s, index, number, reason, 0);
}

void tide_round_snapshot(struct tide_session *s, uint32_t index, uint64_t number, uint64_t align_us)
{
    const struct tide_align_step step = {.round = number, .align_us = align_us};
    snapshot(s, index, &step);
}

/* ---- what the daemon says */

/* The round came to nothing. */
static void over(struct tide_session *s, uint64_t number)
{
    for (uint32_t i = 0; i < s->n_tasks; i++) {
        struct stask *t = &s->tasks[i];
        if (t->drain == number) t->drain = 0;
        if (t->suspended == number) go_on(s, t);
    }
}

struct round *tide_round_open(struct tide_session *s, uint64_t number, struct tide_bytes directory,
                              uint32_t left_ms, uint64_t now_us)
{
    if (number < s->lowest_pending || find(s, number)) return NULL;
    while (s->n_rounds && s->rounds[0]->number < s->lowest_pending) {
        over(s, s->rounds[0]->number);
        remove_at(s, 0); /* nobody told how they ended, and nobody will */
    }
    if (s->n_rounds == ROUNDS_MAX || (s->n_rounds && s->rounds[s->n_rounds - 1]->number > number)) {
        tide_session_note(s, "the daemon began round %llu out of order, or too many at once",
                          (unsigned long long)number);
        tide_session_close(s, now_us);
        return NULL;
    }
    struct round *r = round_new(s);
    if (!r) return NULL;
    r->directory = tide_shared_new(s, directory);
    r->number = number;
    r->deadline_us = now_us + (uint64_t)left_ms * 1000;
    r->progress_us = now_us + s->progress_us;
    s->rounds[s->n_rounds++] = r;
    return r->directory ? r : NULL;
}

void tide_rounds_trigger(struct tide_session *s, const Tide__Trigger *m, uint64_t now_us)
{
    struct round *r = tide_round_open(s, m->round, tide_of_pb(m->directory), m->left_ms, now_us);
    if (!r) return;
    r->savepoint = m->kind == TIDE__ROUND_KIND__ROUND_SAVEPOINT;
    r->directory_exists = m->directory_exists;
    r->stop = m->stop;
    for (uint32_t i = 0; i < s->n_tasks; i++) {
        struct stask *t = &s->tasks[i];
        if (t->ended) continue;
        struct tide_align_trigger trigger = {.round = r->number, .deadline_us = r->deadline_us};
        (void)tide_align_trigger(t->align, &trigger, now_us);
        carry_steps(s, i, t->open == 0);
    }
}

void tide_rounds_abort(struct tide_session *s, uint64_t number, uint64_t now_us)
{
    const struct round *r = find(s, number);
    for (uint32_t i = 0; i < s->n_tasks; i++) {
        struct stask *t = &s->tasks[i];
        (void)tide_align_abort(t->align, number, true, NULL, now_us);
        carry_steps(s, i, false);
        if (!r || (r->tasks[i].state != ROUND_ASKED && r->tasks[i].state != ROUND_ACKED)) continue;
        struct tide_delivery d = delivery(s, t, TIDE_DO_ABORT);
        d.round = number;
        tide_session_push(s, &d, NULL);
    }
    over(s, number);
    resolve(s, number);
    tide_meet_resolved(s);
}

/* Rounds below are resolved: aligners let go of them. How each ended is told separately, perhaps
 * after this. */
void tide_rounds_lowest(struct tide_session *s, uint64_t lowest)
{
    if (lowest <= s->lowest_pending) return;
    s->lowest_pending = lowest;
    forget_declines(s, lowest, 0);
    for (uint32_t i = 0; i < s->n_rounds && s->rounds[i]->number < lowest; i++)
        s->rounds[i]->progress_us = UINT64_MAX;
    tide_meet_lowest(s);
    for (uint32_t i = 0; i < s->n_tasks; i++) {
        tide_align_lowest(s->tasks[i].align, lowest);
        carry_steps(s, i, false);
    }
}

void tide_rounds_complete(struct tide_session *s, const Tide__Complete *m, uint64_t now_us)
{
    resolve(s, m->round);
    tide_meet_resolved(s);
    if (m->round > s->told_complete) s->told_complete = m->round;
    if (m->subsumed > s->subsumed) {
        s->subsumed = m->subsumed;
        s->subsumed_by = m->round;
    }
    for (uint32_t i = 0; i < s->n_tasks; i++) {
        struct stask *t = &s->tasks[i];
        if (m->round > t->told) t->told = m->round;
        if (t->suspended == m->round) { /* it stands still until Stop */
            t->suspended = 0;
            t->halted = true;
        }
        if (m->commits && !t->ended && m->round > t->want) t->want = m->round;
        if (t->done >= m->round) t->confirm_due = s->flush_due = true; /* told again */
    }
    tide_rounds_lowest(s, m->lowest_pending);
    tide_rounds_commit_all(s, now_us);
}

/* ---- commits */

static bool commits_now(const struct tide_session *s)
{
    if (!s->attempt || s->fenced || s->rewinding || s->link == LINK_OVER) return false;
    return s->deliver_only || s->phase == TIDE__WORKER_PHASE__PHASE_RUNNING;
}

static const Tide__Owed *owed_next(const struct stask *t)
{
    if (!t->restore || t->owed_next >= t->restore->n_owed) return NULL;
    return t->restore->owed[t->owed_next];
}

static void release_if_ended(struct tide_session *s, struct stask *t)
{
    if (t->ended || !t->end_at || t->done < t->end_at) return;
    t->ended = t->finished = true;
    (void)tide_align_reset(t->align, t->channels); /* behind the END no barrier may follow */
    tide_rounds_forward_end(s, t);
    struct tide_delivery d = delivery(s, t, TIDE_DO_ENDED);
    d.round = t->end_at;
    tide_session_push(s, &d, NULL);
}

void tide_rounds_commit_next(struct tide_session *s, struct stask *t, uint64_t now_us)
{
    if (!commits_now(s) || t->asked || now_us < t->retry_us) return;
    const Tide__Owed *owed = owed_next(t);
    struct tide_delivery d = delivery(s, t, TIDE_DO_COMPLETE);
    if (owed) {
        d.has_handle = true;
        d.handle = tide_of_pb(owed->handle);
        d.round = t->asked = owed->round;
        tide_session_push(s, &d, NULL);
        return;
    }
    if (t->want > t->done) {
        d.round = t->asked = t->want;
        tide_session_push(s, &d, NULL);
        return;
    }
    if (t->told > t->done) { /* nothing to publish */
        t->done = t->told;
        t->confirm_due = s->flush_due = true;
    }
    if (!t->ended && t->subsumed < s->subsumed && t->done >= s->subsumed_by) {
        d.type = TIDE_DO_SUBSUMED;
        d.round = t->subsumed = s->subsumed;
        tide_session_push(s, &d, NULL);
    }
    release_if_ended(s, t);
}

void tide_rounds_commit_all(struct tide_session *s, uint64_t now_us)
{
    for (uint32_t i = 0; i < s->n_tasks; i++)
        tide_rounds_commit_next(s, &s->tasks[i], now_us);
}

int tide_session_confirm(struct tide_session *s, uint32_t task, uint64_t round, uint64_t now_us)
{
    tide_session_enter(s);
    struct stask *t = tide_session_task(s, task, NULL);
    if (s->dead) return s->dead;
    if (!t) return TIDE_EINVAL;
    if (!s->attempt || s->rewinding || s->link == LINK_OVER) return TIDE_ESTALE;
    if (tide_session_fence(s, now_us)) return TIDE_EFENCED;
    const Tide__Owed *owed = owed_next(t);
    if (!owed && round <= t->done) return 0;
    if (owed ? round != owed->round : round > t->want) return TIDE_ESTALE;
    if (owed) t->owed_next++;
    t->done = round;
    if (t->asked <= round) t->asked = 0;
    t->retry_us = t->retries = 0;
    t->confirm_due = s->flush_due = true;
    tide_rounds_commit_next(s, t, now_us);
    return 0;
}

int tide_session_commit_failed(struct tide_session *s, uint32_t task, uint64_t round,
                               uint64_t now_us)
{
    tide_session_enter(s);
    struct stask *t = tide_session_task(s, task, NULL);
    if (s->dead) return s->dead;
    if (!t) return TIDE_EINVAL;
    if (!t->asked || t->asked != round) return TIDE_ESTALE;
    uint64_t wait_us = (uint64_t)100000 << (t->retries < 6 ? t->retries : 6);
    t->retries++;
    t->asked = 0;
    t->retry_us = now_us + tide_min(wait_us, 5000000);
    s->retry_due_us = tide_min(s->retry_due_us, t->retry_us);
    return 0;
}

static bool speaks_outside(struct tide_session *s, struct tide_delivery *d)
{
    uint32_t index;
    struct stask *t = tide_session_task(s, d->task, &index);
    switch (d->type) {
    case TIDE_DO_COMPLETE: return true;
    case TIDE_DO_RESTORE: /* it may drop what is outside: delivered after Resumed */
        if (t) t->restore_due = true;
        return t != NULL;
    case TIDE_DO_SUBSUMED: /* likewise */
        if (t) t->subsumed = 0;
        return true;
    case TIDE_DO_DRAIN:
    case TIDE_DO_TRIGGER:
        if (!t) return false;
        if (d->type == TIDE_DO_DRAIN) t->drain = 0;
        decline(s, index, d->round,
                tide_bytes_of("the lease was over before the round could begin"), 0);
        return true;
    default: return false;
    }
}

/* What a trigger that was just taken back would have brought: its barrier becomes a cancel marker.
 */
static bool of_declined(struct tide_session *s, struct tide_delivery *d)
{
    uint32_t index;
    if (d->type != TIDE_DO_FORWARD && d->type != TIDE_DO_SNAPSHOT) return false;
    const struct round *r = d->round ? find(s, d->round) : NULL;
    if (!r || !tide_session_task(s, d->task, &index)) return false;
    if (r->tasks[index].state != ROUND_DECLINED || s->tasks[index].open) return false;
    if (d->type == TIDE_DO_SNAPSHOT) return true;
    struct tide_barrier b = {d->round, TIDE_BARRIER_CANCEL, s->job_check};
    tide_barrier_encode(&b, d->barrier);
    return false;
}

void tide_rounds_fenced(struct tide_session *s)
{
    tide_session_purge(s, speaks_outside);
    tide_session_purge(s, of_declined);
    tide_meet_fenced(s);
    for (uint32_t i = 0; i < s->n_tasks; i++)
        s->tasks[i].asked = 0;
}

/* ---- what the application says */

static bool cut_off(const struct tide_session *s, uint64_t now_us)
{
    return s->attempt && !s->attached && now_us >= s->cut_us && now_us - s->cut_us >= s->orphan_us;
}

static void give_up_aligning(struct tide_session *s, uint32_t index, uint64_t now_us)
{
    struct tide_align_view view;
    tide_align_look(s->tasks[index].align, 0, &view);
    if (!view.round) return;
    (void)tide_align_abort(s->tasks[index].align, view.round, false,
                           "cut off from the daemon for longer than the orphan limit", now_us);
    carry_steps(s, index, false);
}

int tide_session_barrier(struct tide_session *s, uint32_t task, uint32_t channel,
                         const uint8_t barrier[static TIDE_BARRIER_BYTES], uint64_t now_us)
{
    tide_session_enter(s);
    struct tide_barrier b;
    uint32_t index;
    struct stask *t = tide_session_task(s, task, &index);
    if (s->dead) return s->dead;
    if (!t || channel >= t->channels) return TIDE_EINVAL;
    if (!s->attempt) return TIDE_ESTATE;
    if (s->link == LINK_OVER) return 0; /* peers learn of the end in their own time */
    if (tide_barrier_decode(barrier, &b) || b.job_check != s->job_check) return TIDE_EPROTO;
    if (b.flags & (TIDE_BARRIER_UNALIGNED | TIDE_BARRIER_COUNTED)) return TIDE_EPROTO; /* not yet */
    if (b.flags & TIDE_BARRIER_END) return tide_session_channel_end(s, task, channel, now_us);
    if (t->ended) return 0; /* its outputs have had their END */
    tide_session_fence(s, now_us);
    int rc = b.flags & TIDE_BARRIER_CANCEL
                 ? tide_align_cancel(t->align, channel, b.round, now_us)
                 : tide_align_barrier(t->align, channel, b.round, b.flags, now_us);
    carry_steps(s, index, false);
    if (cut_off(s, now_us)) give_up_aligning(s, index, now_us);
    return rc;
}

int tide_session_channel_end(struct tide_session *s, uint32_t task, uint32_t channel,
                             uint64_t now_us)
{
    tide_session_enter(s);
    uint32_t index;
    struct stask *t = tide_session_task(s, task, &index);
    if (s->dead) return s->dead;
    if (!t || channel >= t->channels) return TIDE_EINVAL;
    if (!s->attempt) return TIDE_ESTATE;
    if (s->link == LINK_OVER) return 0; /* peers learn of the end in their own time */
    int rc = tide_align_end(t->align, channel, now_us);
    t->open = tide_align_open(t->align);
    carry_steps(s, index, false);
    return rc;
}

static bool is_plain(const struct tide_session_ack *a)
{
    if (a->has_handle) return false;
    for (uint32_t i = 0; i < a->n_artifacts; i++) {
        const struct tide_artifact_view *v = &a->artifacts[i];
        if (v->is_inline || v->path.len || v->name.len || v->key_group_count) return false;
    }
    return true;
}

static int pack_full(const struct tide_session_ack *a, struct tide_buf *acks)
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
    struct round *r = find(s, ack->round);
    if (!s->attempt || ack->attempt != s->attempt || !r || s->link == LINK_OVER) return TIDE_ESTALE;
    if (r->tasks[index].state == ROUND_ACKED) return 0;
    if (r->tasks[index].state != ROUND_ASKED) return TIDE_ESTALE;
    if (tide_session_fence(s, now_us)) return TIDE_EFENCED;
    size_t before = r->acks.len;
    int rc = is_plain(ack) ? pack_plain(ack, &r->acks) : pack_full(ack, &r->acks);
    if (rc) { /* nothing of it may stay */
        r->acks.len = before;
        r->acks.rc = 0;
        return rc;
    }
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
    const struct round *r = find(s, round);
    if (!s->attempt || attempt != s->attempt || !r || s->link == LINK_OVER) return TIDE_ESTALE;
    if (r->tasks[index].state == ROUND_ACKED) return TIDE_ESTALE;
    tide_session_fence(s, now_us); /* kept till Resumed, like those of the aligner */
    decline(s, index, round, reason, retry_after_ms);
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
    struct round *r = find(s, round);
    if (!r) return TIDE_ESTALE;
    r->tasks[index].bytes = bytes;
    return 0;
}

int tide_session_finished(struct tide_session *s, uint32_t task, uint64_t now_us)
{
    tide_session_enter(s);
    uint32_t index;
    struct stask *t = tide_session_task(s, task, &index);
    if (s->dead) return s->dead;
    if (!t) return TIDE_EINVAL;
    if (!s->attempt || s->phase != TIDE__WORKER_PHASE__PHASE_RUNNING || s->link == LINK_OVER)
        return TIDE_ESTATE;
    if (tide_session_fence(s, now_us)) return TIDE_EFENCED;
    if (t->finished) return 0;
    t->finished = t->finish_due = s->flush_due = true;
    if (t->drain) tide_rounds_drained(s, index, now_us);
    tide_meet_finished(s, index, now_us);
    return 0;
}

/* ---- time */

static void tick_aligners(struct tide_session *s, uint64_t now_us)
{
    bool cut = cut_off(s, now_us);
    s->align_due_us = UINT64_MAX;
    for (uint32_t i = 0; i < s->n_tasks; i++) {
        (void)tide_align_tick(s->tasks[i].align, now_us, s->orphan_us);
        carry_steps(s, i, false);
        if (cut) give_up_aligning(s, i, now_us);
        if (cut) go_on(s, &s->tasks[i]); /* nobody waits for an absent daemon */
    }
    if (s->attempt && !s->attached && !cut)
        s->align_due_us = tide_min(s->align_due_us, s->cut_us + s->orphan_us);
}

void tide_rounds_tick(struct tide_session *s, uint64_t now_us)
{
    if (!s->attempt) return;
    if (now_us >= s->align_due_us) tick_aligners(s, now_us);
    tide_meet_tick(s, now_us);
    if (now_us >= s->retry_due_us) {
        s->retry_due_us = UINT64_MAX;
        for (uint32_t i = 0; i < s->n_tasks; i++) {
            struct stask *t = &s->tasks[i];
            if (t->retry_us > now_us) s->retry_due_us = tide_min(s->retry_due_us, t->retry_us);
            tide_rounds_commit_next(s, t, now_us);
        }
    }
    for (uint32_t i = 0; s->attached && i < s->n_rounds; i++) {
        struct round *r = s->rounds[i];
        if (now_us < r->progress_us) continue;
        tide_session_send_progress(s, r);
        r->progress_us = now_us + s->progress_us;
    }
}

uint64_t tide_rounds_deadline(const struct tide_session *s)
{
    if (!s->attempt) return UINT64_MAX;
    uint64_t at = tide_min(s->align_due_us, s->fenced ? UINT64_MAX : s->retry_due_us);
    at = tide_min(at, tide_meet_deadline(s));
    for (uint32_t i = 0; s->attached && i < s->n_rounds; i++)
        at = tide_min(at, s->rounds[i]->progress_us);
    return at;
}
