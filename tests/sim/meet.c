/* Programs whose tasks meet: their rounds are rendezvous rounds.
 *
 * A solver: its tasks stand in a line or a ring and compute step by step. In each step a task sends
 * its value to its neighbours, waits for theirs, and makes its next value of all of them; then it
 * is at a safe point, and its position is the step. A store: its tasks have nothing to do with each
 * other, count no positions, and may stand at any moment.
 *
 * Whatever happens, the value of a task at a step is known: who ever missed a message, took one
 * twice or one too many, has another. */
#include "tests/sim/sim.h"

#define ROWS 256u /* steps of the reference that are made at once */

/* ---- the plan */

static void link(struct flow *f, uint32_t from, uint32_t to)
{
    struct flow_task *a = &f->task[from], *b = &f->task[to];
    uint32_t c = f->channels++;
    f->channel[c] =
        (struct flow_channel){.from = from, .to = to, .input = b->n_in, .output = a->n_out};
    a->out[a->n_out++] = c;
    b->in[b->n_in++] = c;
}

static void plan(struct sim *s, struct job *j)
{
    static const char *const uids[] = {"grid", "rim"}; /* in their order */
    struct flow *f = &j->flow;
    f->n_ops = percent(s, 70) ? 1 : 2;
    for (uint32_t o = 0; o < f->n_ops; o++) {
        f->parallelism[o] = (uint32_t)between(s, 1, PARALLEL_MAX);
        snprintf(f->uid[o], sizeof f->uid[o], "%s", uids[o]);
        for (uint32_t i = 0; i < f->parallelism[o]; i++)
            f->task[f->tasks++] = (struct flow_task){.op = o, .subtask = i};
    }
    bool store = percent(s, 25);
    for (uint32_t t = 0; !store && t + 1 < f->tasks; t++) {
        link(f, t, t + 1);
        link(f, t + 1, t);
    }
    if (!store && f->tasks > 2 && percent(s, 50)) {
        link(f, f->tasks - 1, 0);
        link(f, 0, f->tasks - 1);
    }
    f->finite = percent(s, 45);
    f->records = (uint32_t)between(s, 5, RECORDS_MAX - 1); /* steps */
    j->stride = store ? 0 : percent(s, 80) ? 1 : (uint32_t)between(s, 2, 5);
    j->checkpointing.style = TIDE__ROUND_STYLE__STYLE_RENDEZVOUS;
    j->checkpointing.window = store            ? TIDE_NONE
                              : percent(s, 40) ? 0
                                               : j->stride * (uint32_t)between(s, 1, 3);
    if (!store && !j->checkpointing.window && j->stride > 1)
        j->checkpointing.window = j->stride; /* the default is no multiple */
}

static bool is_store(const struct job *j)
{
    return j->stride == 0;
}

/* ---- the values */

static uint64_t mix(uint64_t value, uint64_t with)
{
    value = (value ^ with) * 0x9e3779b97f4a7c15u;
    return value ^ value >> 31;
}

static uint64_t first_value(uint32_t task)
{
    return mix(task + 1, 0);
}

/* What each task has at a step, computed anew. */
static uint64_t reference(struct sim *s, struct job *j, uint32_t task, uint32_t step)
{
    const struct flow *f = &j->flow;
    struct reference **at = &j->reference;
    for (uint32_t row = 0;; row += ROWS, at = &(*at)->next) {
        if (!*at) {
            struct reference *r = *at = sim_alloc(s, sizeof *r);
            for (uint32_t i = 0; i < ROWS; i++)
                for (uint32_t t = 0; t < f->tasks; t++) {
                    const uint64_t *old = i ? r->value[i - 1] : j->reference_last;
                    uint64_t v = mix(old[t], row + i);
                    for (uint32_t k = 0; k < f->task[t].n_in; k++)
                        v = mix(v, old[f->channel[f->task[t].in[k]].from]);
                    r->value[i][t] = row + i ? v : first_value(t);
                }
            memcpy(j->reference_last, r->value[ROWS - 1], sizeof j->reference_last);
        }
        if (step - row < ROWS) return (*at)->value[step - row][task];
    }
}

/* ---- channels: the pipes of the attempt, as a dataflow's */

static void wake(struct sim *s, struct task *t, uint64_t when);

static void put(struct sim *s, struct task *t, uint32_t channel, uint64_t value)
{
    struct pipe *p = &t->in->pipe[channel];
    t->state.sent[channel]++;
    if (p->broken) return;
    struct item *i = sim_alloc(s, sizeof *i);
    *i = (struct item){.kind = ITEM_HALO, .number = t->state.offset, .value = value};
    i->at = s->now + (percent(s, 5) ? below(s, 40 * MS) : between(s, 50, 2 * MS));
    if (i->at < p->last_at) i->at = p->last_at;
    p->last_at = i->at;
    if (!p->first) p->last = &p->first;
    *p->last = i;
    p->last = &i->next;
    if (p->reader) wake(s, p->reader, i->at);
}

/* Whether all halos of the step are there; of a neighbour that is ahead, what is of the next step
 * stays where it is. */
static bool hear_all(struct sim *s, struct task *t)
{
    struct job *j = t->proc->job;
    const struct flow_task *f = &j->flow.task[t->number];
    bool all = true;
    for (uint32_t k = 0; k < f->n_in; k++) {
        struct pipe *p = &t->in->pipe[f->in[k]];
        if (t->heard >> k & 1) continue;
        if (!p->first || p->first->at > s->now) {
            if (p->first) wake(s, t, p->first->at);
            all = false;
            continue;
        }
        must(s, p->first->number == t->state.offset, "%s at step %u reads what is of step %u",
             task_name(j, t->number), t->state.offset, p->first->number);
        t->halo[k] = p->first->value;
        t->heard |= 1u << k;
        t->state.got[f->in[k]]++;
        p->first = p->first->next;
    }
    return all;
}

/* ---- a task's turn */

static void finish_if_done(struct sim *s, struct task *t)
{
    struct job *j = t->proc->job;
    if (!j->flow.finite || t->state.offset < j->flow.records || t->told_finished) return;
    int rc = tide_session_finished(t->proc->session, t->number, proc_now(s, t->proc));
    t->told_finished = rc == 0;
    if (!rc) t->state.finished = 1;
    note(s, "%s has reached its end%s%s", task_name(j, t->number), rc ? ": " : "",
         rc ? tide_strerror(rc) : "");
    if (rc) wake(s, t, s->now + 20 * MS);
    proc_pump(s, t->proc);
}

/* At the end of a step, and again when the library has said that its answer may be another. */
static void safe_point(struct sim *s, struct task *t)
{
    struct job *j = t->proc->job;
    uint64_t position = (uint64_t)t->state.offset * j->stride;
    t->called = false;
    int rc = tide_session_position(t->proc->session, t->number, position, proc_now(s, t->proc));
    must(s, rc == 0 || rc == TIDE_EAGAIN || rc == TIDE_ESTATE || rc == TIDE_ESTALE,
         "%s at %" PRIu64 ": %s", task_name(j, t->number), position, tide_strerror(rc));
    t->called = rc == TIDE_ESTALE; /* it stood in an attempt that is over: nobody has heard this */
    bool stands = rc == TIDE_EAGAIN;
    if (stands != (t->blocked != 0))
        note(s, "%s: %s at %" PRIu64, task_name(j, t->number), stands ? "stands" : "goes on",
             position);
    if (stands && !t->blocked) t->blocked_since = s->now;
    t->blocked = stands;
    t->next_record = s->now + (s->calm ? between(s, MS, 5 * MS) : between(s, MS, 30 * MS));
    wake(s, t, t->next_record);
    proc_pump(s, t->proc);
}

static void step(struct sim *s, struct task *t)
{
    const struct flow_task *f = &t->proc->job->flow.task[t->number];
    if (!t->said)
        for (uint32_t o = 0; o < f->n_out; o++)
            put(s, t, f->out[o], t->state.value);
    t->said = true;
    if (!hear_all(s, t)) return;
    uint64_t value = mix(t->state.value, t->state.offset + 1);
    for (uint32_t k = 0; k < f->n_in; k++)
        value = mix(value, t->halo[k]);
    t->state.value = value;
    t->state.offset++;
    t->heard = 0;
    t->said = false;
    safe_point(s, t);
}

static void turn(struct sim *s, void *arg, uint64_t x)
{
    struct task *t = arg;
    if (!t->proc->alive || x != t->turn_at) return;
    t->turn_at = NEVER;
    if (!t->running || t->ended || t->suspended) return;
    uint64_t until = t->proc->away ? t->proc->busy_until + 1 : s->now;
    if (until < t->proc->thaw_at) until = t->proc->thaw_at;
    if (until < t->wedged_until) until = t->wedged_until;
    if (until > s->now) {
        wake(s, t, until);
        return;
    }
    const struct job *j = t->proc->job;
    bool at_rest = t->blocked || !t->said;
    if (t->called && at_rest)
        safe_point(s, t);
    else if (!t->blocked && j->flow.finite && t->state.offset >= j->flow.records)
        finish_if_done(s, t);
    else if (!t->blocked && s->now >= t->next_record)
        step(s, t);
    else if (!t->blocked)
        wake(s, t, t->next_record);
}

static void wake(struct sim *s, struct task *t, uint64_t when)
{
    if (!t->running || when >= t->turn_at) return;
    t->turn_at = when < s->now ? s->now : when;
    sim_at(s, t->turn_at, turn, t, t->turn_at);
}

/* ---- deliveries: states are restored, uploaded and confirmed as those of a dataflow */

static void restored(struct sim *s, struct task *t, const struct tide_delivery *d)
{
    flow_program.deliver(s, t, d);
    if (!t->state.offset) t->state.value = first_value(t->number);
}

static void capture(struct sim *s, struct task *t, const struct tide_delivery *d)
{
    must(s, t->blocked || t->told_finished, "%s is snapshotted in the middle of a step",
         task_name(t->proc->job, t->number));
    flow_program.deliver(s, t, d);
    tide_session_captured(t->proc->session, t->number, d->round);
}

static void deliver(struct sim *s, struct task *t, const struct tide_delivery *d)
{
    const struct job *j = t->proc->job;
    switch (d->type) {
    case TIDE_DO_RESTORE: restored(s, t, d); break;
    case TIDE_DO_RUN:
        t->running = true;
        t->called = j->flow.finite || percent(s, 70); /* one may, and who has ended must */
        t->next_record = s->now + below(s, 20 * MS);
        wake(s, t, s->now);
        break;
    case TIDE_DO_FORWARD: break; /* the end of a channel of which it knows */
    case TIDE_DO_SNAPSHOT: capture(s, t, d); break;
    case TIDE_DO_POSITION:
        t->called = true;
        wake(s, t, s->now + (percent(s, 80) ? 0 : below(s, 20 * MS)));
        break;
    default: flow_program.deliver(s, t, d); break;
    }
}

static void drop(struct sim *s, struct task *t)
{
    flow_program.drop(s, t);
}

/* ---- what must hold of it */

static void check_cut(struct sim *s, struct job *j, const struct d_snapshot *d)
{
    const struct flow *f = &j->flow;
    Tide__ManifestHead *head = tide__manifest_head__unpack(NULL, d->head.len, d->head.data);
    must(s,
         head && head->style == TIDE__ROUND_STYLE__STYLE_RENDEZVOUS && d->style == TIDE_RENDEZVOUS,
         "snapshot %" PRIu64 " does not say how it was taken", d->round);
    uint64_t position = head->position;
    tide__manifest_head__free_unpacked(head, NULL);
    for (uint32_t t = 0; t < f->tasks; t++) {
        const struct state *st = &d->task[t];
        bool ended = f->finite && st->offset == f->records;
        must(s, is_store(j) || ended || (uint64_t)st->offset * j->stride == position,
             "snapshot %" PRIu64 " is of position %" PRIu64 ", the state of %s of step %u",
             d->round, position, task_name(j, t), st->offset);
        must(s, !ended || is_store(j) || position >= (uint64_t)f->records * j->stride,
             "snapshot %" PRIu64 " is of position %" PRIu64 ", which %s has passed", d->round,
             position, task_name(j, t));
        must(s, st->value == reference(s, j, t, st->offset),
             "snapshot %" PRIu64 ": the value of %s at step %u is not what it must be", d->round,
             task_name(j, t), st->offset);
        for (uint32_t i = 0; i < f->channels; i++) {
            const struct flow_channel *ch = &f->channel[i];
            must(s, ch->from != t || st->sent[i] == st->offset,
                 "snapshot %" PRIu64 ": %s has sent %u messages at step %u", d->round,
                 task_name(j, t), st->sent[i], st->offset);
            must(s, ch->to != t || st->got[i] == st->offset,
                 "snapshot %" PRIu64 ": %s has received %u messages at step %u", d->round,
                 task_name(j, t), st->got[i], st->offset);
        }
    }
    s->stats->met++;
}

static void check_finished(struct sim *s, struct job *j)
{
    const struct d_snapshot *d = store_snapshot(j, j->store.ended_snapshot);
    for (uint32_t t = 0; t < j->flow.tasks; t++)
        must(s, d && d->task[t].offset == j->flow.records,
             "the job is finished, and %s has not come to its last step", task_name(j, t));
}

const struct program meet_program = {.name = "meeting",
                                     .meets = true,
                                     .plan = plan,
                                     .deliver = deliver,
                                     .drop = drop,
                                     .wake = wake,
                                     .check_cut = check_cut,
                                     .check_finished = check_finished};
