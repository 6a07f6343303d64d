/* Rounds in a session: how they come, end, and what their completion asks for
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

struct round *tide_round_find(struct tide_session *s, uint64_t number)
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
                    struct tide_bytes reason, uint32_t retry_after_ms, bool gave_up)
{
    struct round *r = tide_round_find(s, number);
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
    *d = (struct decline){number, s->tasks[index].number, retry_after_ms, gave_up,
                          tide_shared_new(s, reason)};
    tide_session_send_decline(s, d);
}

void tide_round_decline(struct tide_session *s, uint32_t index, uint64_t number,
                        struct tide_bytes reason, uint32_t retry_after_ms)
{
    decline(s, index, number, reason, retry_after_ms, false);
}

void tide_round_give_up(struct tide_session *s, uint32_t index, uint64_t number,
                        struct tide_bytes reason)
{
    decline(s, index, number, reason, 0, true);
}

/* ---- what the daemon says */

/* The round came to nothing. */
static void over(struct tide_session *s, uint64_t number)
{
    for (uint32_t i = 0; i < s->n_tasks; i++) {
        struct stask *t = &s->tasks[i];
        if (t->drain == number) t->drain = 0;
        if (t->suspended == number) tide_flow_go_on(s, t);
    }
}

struct round *tide_round_open(struct tide_session *s, uint64_t number, struct tide_bytes directory,
                              uint32_t left_ms, uint64_t now_us)
{
    if (number < s->lowest_pending || tide_round_find(s, number)) return NULL;
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
    r->full = m->full;
    tide_share_full(s, r, m->n_full_tasks, m->full_tasks);
    r->native = m->native;
    r->directory_exists = m->directory_exists;
    r->stop = m->stop;
    tide_flow_trigger(s, r, m, now_us);
}

void tide_rounds_abort(struct tide_session *s, uint64_t number, uint64_t now_us)
{
    const struct round *r = tide_round_find(s, number);
    for (uint32_t i = 0; i < s->n_tasks; i++) {
        struct stask *t = &s->tasks[i];
        (void)tide_align_abort(t->align, number, true, NULL, now_us);
        tide_flow_steps(s, i, false);
        if (!r || (r->tasks[i].state != ROUND_ASKED && r->tasks[i].state != ROUND_ACKED)) continue;
        struct tide_delivery d = tide_delivery_of(s, t, TIDE_DO_ABORT);
        d.round = number;
        tide_session_push(s, &d, NULL);
    }
    tide_externals_abort(s, number);
    tide_share_abort(s, number);
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
    tide_externals_lowest(s, lowest);
    for (uint32_t i = 0; i < s->n_tasks; i++) {
        tide_align_lowest(s->tasks[i].align, lowest);
        tide_flow_steps(s, i, false);
    }
}

void tide_rounds_complete(struct tide_session *s, const Tide__Complete *m, uint64_t now_us)
{
    tide_share_complete(s, m->round);
    resolve(s, m->round);
    tide_meet_resolved(s);
    tide_externals_complete(s, m->round);
    if (m->round > s->told_complete) s->told_complete = m->round;
    if (m->commits && m->round > s->told_effects) s->told_effects = m->round;
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
    tide_flow_forward_end(s, t);
    struct tide_delivery d = tide_delivery_of(s, t, TIDE_DO_ENDED);
    d.round = t->end_at;
    tide_session_push(s, &d, NULL);
}

void tide_rounds_commit_next(struct tide_session *s, struct stask *t, uint64_t now_us)
{
    if (!commits_now(s) || t->asked || now_us < t->retry_us) return;
    const Tide__Owed *owed = owed_next(t);
    struct tide_delivery d = tide_delivery_of(s, t, TIDE_DO_COMPLETE);
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
        tide_round_give_up(s, index, d->round,
                           tide_bytes_of("the lease was over before the round could begin"));
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
    const struct round *r = d->round ? tide_round_find(s, d->round) : NULL;
    if (!r || !tide_session_task(s, d->task, &index)) return false;
    if (r->tasks[index].state != ROUND_DECLINED || s->tasks[index].open) return false;
    if (d->type == TIDE_DO_SNAPSHOT) return true;
    struct tide_barrier b = {d->round, TIDE_BARRIER_CANCEL, s->job_check};
    tide_barrier_encode(&b, d->barrier);
    d->ahead = false;
    return false;
}

void tide_rounds_fenced(struct tide_session *s)
{
    tide_session_purge(s, speaks_outside);
    tide_session_purge(s, of_declined);
    if (s->link != LINK_OVER) tide_meet_fenced(s); /* otherwise who stands there hears Stop */
    tide_externals_fenced(s);
    for (uint32_t i = 0; i < s->n_tasks; i++)
        s->tasks[i].asked = 0;
}

/* ---- what the application says */

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
    tide_align_promotable(t->align, 0); /* see session_flow.c */
    if (t->drain) tide_flow_drained(s, index, now_us);
    tide_meet_finished(s, index, now_us);
    return 0;
}

int tide_session_backlog(struct tide_session *s, uint32_t task, bool behind)
{
    tide_session_enter(s);
    struct stask *t = tide_session_task(s, task, NULL);
    if (s->dead) return s->dead;
    if (!t || !tide_graph_operator(s->graph, task, NULL)->source) return TIDE_EINVAL;
    if (!s->attempt || s->link == LINK_OVER) return TIDE_ESTATE;
    if (t->behind == behind || t->finished) return 0;
    t->behind = behind;
    t->behind_due = t->behind_ever = s->flush_due = true;
    tide_session_send_due(s);
    return 0;
}

/* ---- time */

void tide_rounds_tick(struct tide_session *s, uint64_t now_us)
{
    if (!s->attempt) return;
    if (now_us >= s->align_due_us) tide_flow_tick(s, now_us);
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
