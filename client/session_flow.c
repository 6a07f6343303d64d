/* Flow rounds in a session: what the aligners say, and what happens on the channels
 *
 * The usual way: a trigger goes to the aligner of every task; barriers that the program reads
 * follow; their steps become deliveries. A round that does not wait for all barriers is captured
 * from its snapshot on: ACKABLE says when nothing is missing from it any more, and no ack is taken
 * before.
 *
 * What can go wrong, and what we do:
 * - a task cannot line up (overtaken, cancelled, too late, cut off)  -> declined, kept like an ack;
 *                                                                       ABORT, if it has
 *                                                                       snapshotted
 * - a task that holds its end puts no barrier ahead: when it is restored as ended it has no
 *   in-flight records to put out */
#include "client/session_impl.h"
#include "proto/plant.h"

static void put_barrier(struct tide_session *s, const struct stask *t, enum tide_delivery_type type,
                        uint64_t round, uint32_t flags, bool ahead)
{
    struct tide_barrier b = {.round = round, .flags = flags, .job_check = s->job_check};
    struct tide_delivery d = tide_delivery_of(s, t, type);
    d.round = round;
    d.ahead = ahead;
    tide_barrier_encode(&b, d.barrier);
    tide_session_push(s, &d, NULL);
}

void tide_flow_forward_end(struct tide_session *s, const struct stask *t)
{
    put_barrier(s, t, TIDE_DO_FORWARD, 0, TIDE_BARRIER_END, false);
}

static void forward(struct tide_session *s, const struct stask *t,
                    const struct tide_align_step *step)
{
    bool ahead = step->unaligned && (!t->finished || PLANTED(END_AHEAD));
    put_barrier(s, t, TIDE_DO_FORWARD, step->round, step->flags, ahead);
}

/* In the last round of a job that is to be suspended. */
static void stand_still(struct tide_session *s, struct stask *t, uint64_t round)
{
    struct tide_delivery d = tide_delivery_of(s, t, TIDE_DO_SUSPEND);
    d.round = t->suspended = round;
    tide_session_push(s, &d, NULL);
}

void tide_flow_go_on(struct tide_session *s, struct stask *t)
{
    struct tide_delivery d = tide_delivery_of(s, t, TIDE_DO_RESUME);
    if (!t->suspended) return;
    d.round = t->suspended;
    t->suspended = 0;
    tide_session_push(s, &d, NULL);
}

/* What the aligner knows only now goes with the ack. */
static void keep_figures(struct round_place *place, const struct tide_align_step *step)
{
    place->waits = step->waits;
    place->unaligned = step->unaligned;
    place->align_us = tide_clamp_us(step->align_us);
    place->start_delay_us = tide_clamp_us(step->start_delay_us);
    place->processed = step->processed_bytes;
}

static void snapshot(struct tide_session *s, uint32_t index, const struct tide_align_step *step)
{
    struct round *r = tide_round_find(s, step->round);
    if (!r || r->tasks[index].state != ROUND_NOTHING) return;
    if (r->stop == TIDE__STOP_MODE__STOP_DRAIN && !s->tasks[index].finished) {
        tide_round_decline(
            s, index, r->number,
            tide_bytes_of("the barrier of a round that drains the job came before the end of "
                          "the input: is the end passed on from task to task?"),
            0);
        return;
    }
    r->tasks[index].state = ROUND_ASKED;
    keep_figures(&r->tasks[index], step);
    uint32_t subtask;
    r->tasks[index].finished_operator =
        s->tasks[index].finished &&
        tide_graph_operator(s->graph, s->tasks[index].number, &subtask)->union_state;
    struct tide_delivery d = tide_delivery_of(s, &s->tasks[index], TIDE_DO_SNAPSHOT);
    d.round = r->number;
    d.align_us = step->align_us;
    d.directory = (struct tide_bytes){r->directory->data, r->directory->len};
    d.directory_exists = r->directory_exists;
    d.savepoint = r->savepoint;
    d.full = r->full || r->tasks[index].full;
    d.shares = !r->savepoint && s->version >= 2;
    d.native = r->native;
    d.waits = step->waits;
    d.captures = step->unaligned;
    tide_session_push(s, &d, r->directory);
    if (r->stop == TIDE__STOP_MODE__STOP_SUSPEND) stand_still(s, &s->tasks[index], r->number);
}

void tide_round_snapshot(struct tide_session *s, uint32_t index, uint64_t number, uint64_t align_us)
{
    const struct tide_align_step step = {.round = number, .align_us = align_us};
    snapshot(s, index, &step);
}

static void ackable(struct tide_session *s, uint32_t index, const struct tide_align_step *step)
{
    struct round *r = tide_round_find(s, step->round);
    if (!r || r->tasks[index].state != ROUND_ASKED) return;
    keep_figures(&r->tasks[index], step);
    struct tide_delivery d = tide_delivery_of(s, &s->tasks[index], TIDE_DO_ACKABLE);
    d.round = r->number;
    tide_session_push(s, &d, NULL);
}

/* The aligner gives it up. What was snapshotted for it will not be used. */
static void discard(struct tide_session *s, uint32_t index, const struct tide_align_step *step)
{
    const struct round *r = tide_round_find(s, step->round);
    bool asked = r && r->tasks[index].state == ROUND_ASKED;
    if (!step->reason) return; /* the daemon's word is on its way, or was the cause */
    tide_round_give_up(s, index, step->round, tide_bytes_of(step->reason));
    if (!asked) return;
    struct tide_delivery d = tide_delivery_of(s, &s->tasks[index], TIDE_DO_ABORT);
    d.round = step->round;
    tide_session_push(s, &d, NULL);
}

/* A round that drains the job waits, in a task without an open input, for that task's end. */
static bool must_drain(struct tide_session *s, struct stask *t, uint64_t round)
{
    const struct round *r = tide_round_find(s, round);
    if (!r || r->stop != TIDE__STOP_MODE__STOP_DRAIN || t->finished) return false;
    struct tide_delivery d = tide_delivery_of(s, t, TIDE_DO_DRAIN);
    d.round = t->drain = round;
    tide_session_push(s, &d, NULL);
    return true;
}

static void trigger(struct tide_session *s, const struct stask *t,
                    const struct tide_align_step *step)
{
    struct tide_delivery d = tide_delivery_of(s, t, TIDE_DO_TRIGGER);
    d.round = step->round;
    tide_session_push(s, &d, NULL);
    forward(s, t, step);
}

void tide_flow_drained(struct tide_session *s, uint32_t index, uint64_t now_us)
{
    struct stask *t = &s->tasks[index];
    const struct round *r = tide_round_find(s, t->drain);
    struct tide_align_step step = {.round = t->drain};
    bool late = r && now_us >= r->deadline_us;
    t->drain = 0;
    if (!r || r->tasks[index].state != ROUND_NOTHING) return;
    if (late) {
        tide_round_give_up(s, index, r->number, tide_bytes_of("the round's time is over"));
        return;
    }
    trigger(s, t, &step);
    snapshot(s, index, &step);
}

void tide_flow_steps(struct tide_session *s, uint32_t index, bool at_once)
{
    struct stask *t = &s->tasks[index];
    struct tide_align_step step;
    struct tide_delivery d;
    while (tide_align_next(t->align, &step)) {
        if (t->ended) continue; /* its outputs have had their END */
        switch (step.what) {
        case TIDE_ALIGN_BLOCK:
        case TIDE_ALIGN_UNBLOCK:
            d = tide_delivery_of(s, t,
                                 step.what == TIDE_ALIGN_BLOCK ? TIDE_DO_BLOCK : TIDE_DO_UNBLOCK);
            d.channel = step.channel;
            tide_session_push(s, &d, NULL);
            break;
        case TIDE_ALIGN_FORWARD:
            if (!at_once)
                forward(s, t, &step);
            else if (!must_drain(s, t, step.round))
                trigger(s, t, &step);
            break;
        case TIDE_ALIGN_SNAPSHOT:
            if (t->drain != step.round) snapshot(s, index, &step);
            break;
        case TIDE_ALIGN_CANCEL:
            put_barrier(s, t, TIDE_DO_FORWARD, step.round, TIDE_BARRIER_CANCEL, false);
            break;
        case TIDE_ALIGN_DISCARD: discard(s, index, &step); break;
        case TIDE_ALIGN_ENDED: at_once = true; break;
        case TIDE_ALIGN_OVERTAKE:
            d = tide_delivery_of(s, t, TIDE_DO_OVERTAKE);
            d.channel = step.channel;
            d.round = step.round;
            tide_session_push(s, &d, NULL);
            break;
        case TIDE_ALIGN_PROMOTE:
            put_barrier(s, t, TIDE_DO_PROMOTE, step.round, step.flags, true);
            break;
        case TIDE_ALIGN_ACKABLE: ackable(s, index, &step); break;
        }
    }
    s->align_due_us = tide_min(s->align_due_us, tide_align_deadline(t->align, s->orphan_us));
}

/* ---- what the daemon says */

void tide_flow_trigger(struct tide_session *s, struct round *r, const Tide__Trigger *m,
                       uint64_t now_us)
{
    uint64_t timeout_us = (uint64_t)m->aligned_timeout_ms * 1000,
             age_us = (uint64_t)m->age_ms * 1000;
    r->mode = (uint8_t)m->alignment;
    /* a task that has to stand still, or comes to its end, cannot capture */
    if (m->stop != TIDE__STOP_MODE__STOP_NOT) r->mode = TIDE_ALIGN_ALIGNED;
    const struct tide_align_trigger t = {
        .round = r->number,
        .deadline_us = r->deadline_us,
        .mode = (enum tide_align_mode)r->mode,
        .switch_us = now_us + (timeout_us > age_us ? timeout_us - age_us : 0)};
    for (uint32_t i = 0; i < s->n_tasks; i++) {
        struct stask *task = &s->tasks[i];
        if (task->ended) continue;
        (void)tide_align_trigger(task->align, &t, now_us);
        tide_flow_steps(s, i, task->open == 0);
    }
}

void tide_flow_turn(struct tide_session *s, uint64_t round, uint64_t now_us)
{
    const struct round *r = tide_round_find(s, round);
    if (!r || r->meets) return; /* over by now */
    for (uint32_t i = 0; i < s->n_tasks; i++) {
        if (s->tasks[i].ended) continue;
        (void)tide_align_turn(s->tasks[i].align, round, now_us);
        tide_flow_steps(s, i, false);
    }
}

/* ---- what the application says */

static bool cut_off(const struct tide_session *s, uint64_t now_us)
{
    return s->attempt && !s->attached && now_us >= s->cut_us && now_us - s->cut_us >= s->orphan_us;
}

/* All of them: what waited behind the one that is given up may have begun. */
static void give_up_aligning(struct tide_session *s, uint32_t index, uint64_t now_us)
{
    struct tide_align *align = s->tasks[index].align;
    struct tide_align_view view;
    for (tide_align_look(align, 0, &view); view.round; tide_align_look(align, 0, &view)) {
        (void)tide_align_abort(align, view.round, false,
                               "cut off from the daemon for longer than the orphan limit", now_us);
        tide_flow_steps(s, index, false);
    }
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
    if (b.flags & TIDE_BARRIER_END) return tide_session_channel_end(s, task, channel, now_us);
    if (t->ended) return 0; /* its outputs have had their END */
    tide_session_fence(s, now_us);
    int rc = b.flags & TIDE_BARRIER_CANCEL
                 ? tide_align_cancel(t->align, channel, b.round, now_us)
                 : tide_align_barrier(t->align, channel, b.round, b.flags, now_us);
    tide_flow_steps(s, index, false);
    if (cut_off(s, now_us)) give_up_aligning(s, index, now_us);
    return rc;
}

int tide_session_announce(struct tide_session *s, uint32_t task, uint32_t channel,
                          const uint8_t barrier[static TIDE_BARRIER_BYTES], uint64_t now_us)
{
    tide_session_enter(s);
    struct tide_barrier b;
    uint32_t index;
    struct stask *t = tide_session_task(s, task, &index);
    if (s->dead) return s->dead;
    if (!t || channel >= t->channels) return TIDE_EINVAL;
    if (!s->attempt) return TIDE_ESTATE;
    if (s->link == LINK_OVER) return 0;
    if (tide_barrier_decode(barrier, &b) || b.job_check != s->job_check) return TIDE_EPROTO;
    if (t->ended || b.flags & (TIDE_BARRIER_CANCEL | TIDE_BARRIER_END)) return 0;
    tide_session_fence(s, now_us);
    int rc = tide_align_announce(t->align, channel, b.round, b.flags, now_us);
    tide_flow_steps(s, index, false);
    return rc;
}

int tide_session_sent(struct tide_session *s, uint32_t task,
                      const uint8_t barrier[static TIDE_BARRIER_BYTES], uint64_t now_us)
{
    tide_session_enter(s);
    struct tide_barrier b;
    uint32_t index;
    const struct stask *t = tide_session_task(s, task, &index);
    if (s->dead) return s->dead;
    if (!t) return TIDE_EINVAL;
    if (!s->attempt) return TIDE_ESTATE;
    if (tide_barrier_decode(barrier, &b)) return TIDE_EPROTO;
    int rc = tide_align_sent(t->align, b.round, now_us);
    tide_flow_steps(s, index, false);
    return rc;
}

uint64_t tide_session_record(struct tide_session *s, uint32_t task, uint32_t channel, size_t bytes)
{
    const struct stask *t = tide_session_task(s, task, NULL);
    if (!t || s->dead || !tide_align_record(t->align, channel, bytes)) return 0;
    if (PLANTED(LOSE_CAPTURED)) return 0;
    return tide_align_capturing(t->align);
}

void tide_session_processed(struct tide_session *s, uint32_t task, uint64_t bytes)
{
    const struct stask *t = tide_session_task(s, task, NULL);
    if (t) tide_align_processed(t->align, bytes);
}

int tide_session_force(struct tide_session *s, uint32_t task, uint32_t channel, bool aligned)
{
    const struct stask *t = tide_session_task(s, task, NULL);
    if (s->dead) return s->dead;
    return t ? tide_align_force(t->align, channel, aligned) : TIDE_EINVAL;
}

int tide_session_promotable(struct tide_session *s, uint32_t task, uint32_t outputs)
{
    struct stask *t = tide_session_task(s, task, NULL);
    if (s->dead) return s->dead;
    if (!t) return TIDE_EINVAL;
    t->promotable = outputs;
    tide_align_promotable(t->align, t->finished ? 0 : outputs);
    return 0;
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
    tide_flow_steps(s, index, false);
    return rc;
}

/* ---- time */

void tide_flow_tick(struct tide_session *s, uint64_t now_us)
{
    bool cut = cut_off(s, now_us);
    s->align_due_us = UINT64_MAX;
    for (uint32_t i = 0; i < s->n_tasks; i++) {
        (void)tide_align_tick(s->tasks[i].align, now_us, s->orphan_us);
        tide_flow_steps(s, i, false);
        if (cut) give_up_aligning(s, i, now_us);
        if (cut) tide_flow_go_on(s, &s->tasks[i]); /* nobody waits for an absent daemon */
    }
    if (s->attempt && !s->attached && !cut)
        s->align_due_us = tide_min(s->align_due_us, s->cut_us + s->orphan_us);
}
