/* External parts of a job: the coordinator of an operator, which sends numbered events to its
 * subtasks through the shipped gateway, and hooks, which may fail or hang.
 *
 * A subtask's state counts the events that it has received; the coordinator's those that it has
 * sent to each. In every snapshot the two agree: no event is lost or doubled by a restore. What
 * events travel on is the program's own: ordered, slow at times, and broken with the attempt. */
#include "client/gateway.h"
#include "tests/sim/sim.h"

#define COORDINATOR 0u /* its index in the session of its worker, when it lives there */

struct coordinator_state { /* what it snapshots */
    uint32_t sent[PARALLEL_MAX];
};

struct posted { /* on its way to a subtask */
    struct posted *next;
    uint64_t at, id;
    struct attempt *in;
    uint32_t subtask, number;
    struct coordinator *from;
    uint32_t generation; /* of the sender */
};

struct coordinator { /* in one process */
    struct proc *proc;
    struct tide_gateway *gateway;
    struct coordinator_state state;
    bool running;
    uint64_t attempt;
    struct attempt *in[PARALLEL_MAX]; /* per subtask: in which its line is */
    uint32_t generation;
    struct taken {
        struct taken *next;
        uint64_t round;
        struct coordinator_state state;
    } * taken;
};

/* ---- the plan */

void external_plan(struct sim *s, struct job *j, bool any)
{
    static const char *const names[HOOKS_MAX] = {"lock", "feed"};
    struct externals *e = &j->externals;
    e->op = OPS_MAX;
    if (!any) return;
    if (percent(s, 75)) e->op = (uint32_t)below(s, j->flow.n_ops);
    e->n_hooks = (uint32_t)below(s, HOOKS_MAX + 1);
    if (e->op == OPS_MAX && !e->n_hooks) e->n_hooks = 1;
    e->slot = (uint32_t)below(s, j->slots);
    j->spec.hooks = sim_alloc(s, HOOKS_MAX * sizeof *j->spec.hooks);
    for (uint32_t i = 0; i < e->n_hooks; i++) {
        e->hook_slot[i] = (uint32_t)below(s, j->slots);
        j->spec.hooks[j->spec.n_hooks++] =
            (ProtobufCBinaryData){strlen(names[i]), (uint8_t *)(uintptr_t)names[i]};
    }
    if (e->op != OPS_MAX) j->spec.operators[e->op]->coordinator = true;
    note(s, "job %s: %s%s, %u hooks", j->name,
         e->op != OPS_MAX ? "a coordinator of " : "no coordinator",
         e->op != OPS_MAX ? j->flow.uid[e->op] : "", e->n_hooks);
}

void external_inherit(struct sim *s, struct job *j)
{
    struct externals *e = &j->externals;
    const struct job *like = j->heir_of;
    e->slot = (uint32_t)below(s, j->slots);
    for (uint32_t i = 0; i < e->n_hooks; i++)
        e->hook_slot[i] = (uint32_t)below(s, j->slots);
    j->spec.hooks = like->spec.hooks;
    j->spec.n_hooks = like->spec.n_hooks;
    if (e->op != OPS_MAX) j->spec.operators[e->op]->coordinator = true;
}

static uint32_t first_task(const struct job *j)
{
    for (uint32_t t = 0; t < j->flow.tasks; t++)
        if (j->flow.task[t].op == j->externals.op) return t;
    return 0;
}

static bool has_coordinator(const struct job *j)
{
    return j->externals.op != OPS_MAX;
}

/* ---- birth and end of a process */

void external_start(struct sim *s, struct proc *p)
{
    struct job *j = p->job;
    const struct externals *e = &j->externals;
    int64_t n = 0;
    if (has_coordinator(j) && e->slot == p->slot) {
        struct coordinator *c = p->coordinator = sim_alloc(s, sizeof *c);
        c->proc = p;
        must(s, !tide_gateway_new(j->flow.parallelism[e->op], 1 << 20, &c->gateway), "no gateway");
        n = tide_session_add_external(p->session, false, tide_bytes_of(j->flow.uid[e->op]));
        must(s, n == COORDINATOR, "the coordinator has number %d", (int)n);
    }
    for (uint32_t i = 0; i < e->n_hooks; i++) {
        if (e->hook_slot[i] != p->slot) continue;
        struct tide_bytes name = {j->spec.hooks[i].data, j->spec.hooks[i].len};
        n = tide_session_add_external(p->session, true, name);
        must(s, n >= 0 && n < (int64_t)(HOOKS_MAX + 1), "a hook has number %d", (int)n);
        p->hook_of[n] = i + 1;
    }
}

static void reset(struct coordinator *c)
{
    tide_gateway_reset(c->gateway);
    c->taken = NULL;
    c->running = false;
    c->generation++;
}

void external_free(struct proc *p)
{
    if (p->coordinator) tide_gateway_free(p->coordinator->gateway);
    p->coordinator = NULL;
}

void external_drop(struct proc *p)
{
    if (!p->coordinator) return;
    p->coordinator->generation++;
    p->coordinator->running = false;
    external_free(p);
}

/* ---- events */

static void settle(struct sim *s, struct coordinator *c)
{
    struct tide_session *session = c->proc->session;
    if (tide_gateway_failed(c->gateway)) c->proc->part_failed = true;
    if (tide_gateway_failed(c->gateway))
        (void)tide_session_external_failed(session, COORDINATOR, tide_bytes_of("an event is lost"),
                                           proc_now(s, c->proc));
    for (struct taken **at = &c->taken; *at;) {
        struct taken *t = *at;
        int rc = tide_gateway_settled(c->gateway, t->round);
        if (rc == TIDE_EAGAIN) {
            at = &t->next;
            continue;
        }
        struct tide_bytes state = {(const uint8_t *)&t->state, sizeof t->state};
        if (rc != TIDE_ESTALE)
            (void)tide_session_external_answer(session, COORDINATOR, c->attempt, t->round, rc,
                                               rc ? tide_bytes_of("an event is lost") : state,
                                               proc_now(s, c->proc));
        *at = t->next;
    }
}

static bool is_gone(const struct coordinator *c, const struct posted *e)
{
    return !c->proc->alive || c->generation != e->generation;
}

/* The word of the subtask that it has the event, or that it never will. */
static void confirmed(struct sim *s, void *arg, uint64_t lost)
{
    struct posted *e = arg;
    struct coordinator *c = e->from;
    if (is_gone(c, e) || proc_busy(s, c->proc, confirmed, arg, lost)) return;
    tide_gateway_confirm(c->gateway, e->id, lost != 0);
    settle(s, c);
    proc_pump(s, c->proc);
}

static void arrive(struct sim *s, void *arg, uint64_t x);

static struct task *receiver(const struct job *j, const struct posted *e)
{
    uint32_t number = first_task(j) + e->subtask;
    for (struct proc *p = j->procs; p; p = p->next)
        if (p->alive && p->task[number] && p->task[number]->in == e->in) return p->task[number];
    return NULL;
}

/* A task that holds its end counts on: a restore may take the end back (flow_repeats()). */
static void receive(struct sim *s, struct task *t, struct posted *e)
{
    struct job *j = t->proc->job;
    bool lost = s->now < j->decline_until && percent(s, 3);
    if (!lost && !t->ended) {
        must(s, e->number == t->state.events, "%s gets event %u, and has had %u",
             task_name(j, t->number), e->number, t->state.events);
        t->state.events++;
    }
    if (lost) { /* and with it the channel */
        note(s, "%s: event %u is lost", task_name(j, t->number), e->number);
        e->in->events[e->subtask].broken = e->in->event_lost = true;
        check_attempt(s, j, j->store.attempts)->event_lost = true;
        check_trouble(s, j);
    }
    sim_at(s, s->now + (percent(s, 60) ? 0 : below(s, 10 * MS)), confirmed, e, lost);
}

/* The first of the line, when the subtask can take it. What comes while it does not run waits. */
static void arrive(struct sim *s, void *arg, uint64_t x)
{
    struct posted *e = arg;
    struct event_line *line = &e->in->events[e->subtask];
    struct task *t = receiver(e->from->proc->job, e);
    (void)x;
    if (line->first != e || line->broken) return;
    if (!t) { /* its process is dead, or was rewound: nobody will have it */
        line->broken = true;
        return;
    }
    if (proc_busy(s, t->proc, arrive, arg, x)) return;
    if (!t->running) {
        sim_at(s, s->now + 2 * MS, arrive, arg, x);
        return;
    }
    line->first = e->next;
    receive(s, t, e);
    if (line->first)
        sim_at(s, line->first->at > s->now ? line->first->at : s->now, arrive, line->first, 0);
}

static void carry(struct sim *s, struct coordinator *c, const struct tide_gateway_event *from)
{
    struct posted *e = sim_alloc(s, sizeof *e);
    *e = (struct posted){.id = from->id,
                         .in = c->in[from->subtask],
                         .subtask = from->subtask,
                         .number = tide_get_u32(from->bytes.data),
                         .from = c,
                         .generation = c->generation};
    struct event_line *line = &e->in->events[e->subtask];
    e->at = s->now + (percent(s, 5) ? below(s, 60 * MS) : between(s, 50, 3 * MS));
    if (e->at < line->last_at) e->at = line->last_at;
    line->last_at = e->at;
    if (!line->first) {
        line->first = e;
        sim_at(s, e->at, arrive, e, 0);
    } else {
        line->last->next = e;
    }
    line->last = e;
}

static void carry_all(struct sim *s, struct coordinator *c)
{
    struct tide_gateway_event e;
    while (c->running && tide_gateway_next(c->gateway, &e))
        carry(s, c, &e);
    const char *wrong = tide_gateway_check(c->gateway);
    must(s, !wrong, "tide_gateway_check: %s", wrong ? wrong : "");
}

static void send(struct sim *s, void *arg, uint64_t generation)
{
    struct coordinator *c = arg;
    struct job *j = c->proc->job;
    if (!c->proc->alive || c->generation != generation || !c->running ||
        proc_busy(s, c->proc, send, arg, generation))
        return;
    uint32_t subtask = (uint32_t)below(s, j->flow.parallelism[j->externals.op]);
    uint8_t number[4];
    tide_set_u32(number, c->state.sent[subtask]);
    int rc = tide_gateway_put(c->gateway, subtask, (struct tide_bytes){number, 4});
    must(s, rc == 0 || rc == TIDE_EBUSY, "tide_gateway_put: %s", tide_strerror(rc));
    if (!rc) c->state.sent[subtask]++;
    carry_all(s, c);
    sim_at(s, s->now + between(s, MS, 40 * MS), send, arg, generation);
}

/* ---- what the session delivers to a coordinator */

static void restored(struct sim *s, struct proc *p, uint32_t index)
{
    bool fails = s->now < p->job->fail_restore_until && percent(s, 15);
    p->part_failed = fails;
    (void)tide_session_external_restored(p->session, index, fails ? TIDE_EIO : 0,
                                         tide_bytes_of(fails ? "a planted fault" : ""),
                                         proc_now(s, p));
}

struct later { /* an answer that takes its time */
    struct proc *proc;
    uint32_t index, generation;
    uint64_t round, attempt;
    bool fails, bare;
};

static void coordinator_takes(struct sim *s, void *arg, uint64_t x)
{
    struct later *l = arg;
    struct coordinator *c = l->proc->coordinator;
    if (!l->proc->alive || c->generation != l->generation ||
        proc_busy(s, l->proc, coordinator_takes, arg, x))
        return;
    if (l->fails) {
        tide_gateway_open(c->gateway, l->round);
        carry_all(s, c);
        (void)tide_session_external_answer(l->proc->session, COORDINATOR, l->attempt, l->round,
                                           TIDE_EIO, tide_bytes_of("a planted fault"),
                                           proc_now(s, l->proc));
    } else if (tide_gateway_close(c->gateway, l->round)) {
        struct taken *t = sim_alloc(s, sizeof *t);
        *t = (struct taken){c->taken, l->round, c->state};
        c->taken = t;
        settle(s, c);
    }
    proc_pump(s, l->proc);
}

static void ask_coordinator(struct sim *s, struct coordinator *c, uint64_t round)
{
    int rc = tide_gateway_mark(c->gateway, round);
    must(s, rc == 0, "tide_gateway_mark of round %" PRIu64 ": %s", round, tide_strerror(rc));
    struct later *l = sim_alloc(s, sizeof *l);
    *l = (struct later){.proc = c->proc,
                        .generation = c->generation,
                        .round = round,
                        .attempt = c->attempt,
                        .fails = s->now < c->proc->job->decline_until && percent(s, 10)};
    sim_at(s, s->now + (percent(s, 60) ? 0 : below(s, 25 * MS)), coordinator_takes, l, 0);
}

/* They begin again, with what they had in that snapshot; what they had been sent since is sent
 * again. */
static void subtasks_lost(struct sim *s, struct coordinator *c, const struct tide_delivery *d)
{
    struct job *j = c->proc->job;
    const struct d_snapshot *from = d->round ? store_snapshot(j, d->round) : NULL;
    struct coordinator_state then = {0};
    must(s, !d->round || (from && from->part[0].len == sizeof then),
         "subtasks go back to snapshot %" PRIu64 ", which has no bytes of the coordinator",
         d->round);
    if (from) memcpy(&then, from->part[0].data, sizeof then);
    tide_gateway_reset_subtasks(c->gateway, d->first, d->count);
    tide_gateway_pause_subtasks(c->gateway, d->first, d->count);
    for (uint32_t i = d->first; i < d->first + d->count; i++) {
        c->in[i] = check_attempt(s, j, d->attempt);
        c->state.sent[i] = then.sent[i];
    }
    settle(s, c);
}

static void to_coordinator(struct sim *s, struct coordinator *c, const struct tide_delivery *d)
{
    switch (d->type) {
    case TIDE_DO_EXTERNAL_RESTORE:
        reset(c);
        c->attempt = d->attempt;
        for (uint32_t i = 0; i < PARALLEL_MAX; i++)
            c->in[i] = check_attempt(s, c->proc->job, d->attempt);
        c->state = (struct coordinator_state){0};
        must(s, !d->has_data || d->bytes.len == sizeof c->state,
             "the coordinator restores %zu bytes", d->bytes.len);
        if (d->has_data) memcpy(&c->state, d->bytes.data, sizeof c->state);
        check_part_restored(s, c->proc->job, 0, d);
        restored(s, c->proc, COORDINATOR);
        break;
    case TIDE_DO_EXTERNAL_RUN:
        c->running = true;
        sim_at(s, s->now + below(s, 20 * MS), send, c, c->generation);
        break;
    case TIDE_DO_EXTERNAL_SNAPSHOT: ask_coordinator(s, c, d->round); break;
    case TIDE_DO_EXTERNAL_RELEASE:
        if (d->count == UINT32_MAX)
            tide_gateway_open(c->gateway, d->round);
        else
            tide_gateway_release(c->gateway, d->round, d->first, d->count);
        carry_all(s, c);
        break;
    case TIDE_DO_EXTERNAL_COMPLETE:
    case TIDE_DO_EXTERNAL_ABORT:
        tide_gateway_open(c->gateway, d->round);
        carry_all(s, c);
        break;
    case TIDE_DO_EXTERNAL_LOST: subtasks_lost(s, c, d); break;
    case TIDE_DO_EXTERNAL_READY:
        tide_gateway_resume(c->gateway);
        carry_all(s, c);
        break;
    case TIDE_DO_EXTERNAL_REWIND: reset(c); break;
    default: break;
    }
}

/* ---- and to a hook */

static void hook_answers(struct sim *s, void *arg, uint64_t x)
{
    struct later *l = arg;
    struct proc *p = l->proc;
    if (!p->alive || proc_busy(s, p, hook_answers, arg, x)) return;
    uint8_t data[8];
    tide_set_u64(data, l->round);
    struct tide_bytes what = l->fails  ? tide_bytes_of("a planted fault")
                             : l->bare ? (struct tide_bytes){0}
                                       : (struct tide_bytes){data, sizeof data};
    int rc = tide_session_external_answer(p->session, l->index, l->attempt, l->round,
                                          l->fails ? TIDE_EIO : 0, what, proc_now(s, p));
    if (!rc) check_hook(s, p->job, p->hook_of[l->index] - 1, l->round, l->fails, l->bare);
    proc_pump(s, p);
}

static void to_hook(struct sim *s, struct proc *p, const struct tide_delivery *d)
{
    struct job *j = p->job;
    if (d->type == TIDE_DO_EXTERNAL_RESTORE) {
        check_part_restored(s, j, p->hook_of[d->external], d);
        restored(s, p, d->external);
    }
    if (d->type != TIDE_DO_EXTERNAL_SNAPSHOT) return;
    if (s->now < j->decline_until && percent(s, 15)) {
        note(s, "%s: its hook hangs in round %" PRIu64, proc_name(p), d->round);
        return;
    }
    struct later *l = sim_alloc(s, sizeof *l);
    *l = (struct later){.proc = p,
                        .index = d->external,
                        .round = d->round,
                        .attempt = d->attempt,
                        .fails = s->now < j->decline_until && percent(s, 25),
                        .bare = percent(s, 30)};
    sim_at(s, s->now + (percent(s, 60) ? 0 : below(s, 25 * MS)), hook_answers, l, 0);
}

void external_advance(struct proc *p, uint64_t attempt)
{
    if (p->coordinator) p->coordinator->attempt = attempt;
}

void external_deliver(struct sim *s, struct proc *p, const struct tide_delivery *d)
{
    if (p->coordinator && d->external == COORDINATOR)
        to_coordinator(s, p->coordinator, d);
    else
        to_hook(s, p, d);
}

/* ---- promises */

void check_hook(struct sim *s, struct job *j, uint32_t hook, uint64_t round, bool failed, bool bare)
{
    struct round *r = check_round(j, round);
    if (!r && s->old.done) return; /* asked by a daemon whose store is gone */
    must(s, r, "hook %u is asked for round %" PRIu64 ", which was never begun", hook, round);
    if (r->hook[hook].answered) return; /* the first one counts */
    r->hook[hook].answered = true;
    r->hook[hook].failed = failed;
    r->hook[hook].bare = bare;
}

void check_part_restored(struct sim *s, struct job *j, uint32_t part, const struct tide_delivery *d)
{
    const struct d_snapshot *from = d->round ? store_snapshot(j, d->round) : NULL;
    must(s, !d->round || from, "a part restores snapshot %" PRIu64 ", which does not exist",
         d->round);
    const struct tide_bytes none = {0}, *want = from ? &from->part[part] : &none;
    must(s, d->has_data == (want->data != NULL) && tide_bytes_equal(*want, d->bytes),
         "part %u restores what it did not give for snapshot %" PRIu64, part, d->round);
}

static void check_events(struct sim *s, const struct job *j, const struct d_snapshot *row)
{
    struct coordinator_state state;
    must(s, row->part[0].len == sizeof state, "snapshot %" PRIu64 ": the coordinator has %zu bytes",
         row->round, row->part[0].len);
    memcpy(&state, row->part[0].data, sizeof state);
    for (uint32_t i = 0; i < j->flow.parallelism[j->externals.op]; i++) {
        const struct state *task = &row->task[first_task(j) + i];
        must(s, task->finished || task->events == state.sent[i],
             "snapshot %" PRIu64 ": the coordinator has sent %u events to %s, which has had %u",
             row->round, state.sent[i], task_name(j, first_task(j) + i), task->events);
        s->stats->events_sent += state.sent[i];
    }
}

void check_externals(struct sim *s, struct job *j, struct d_snapshot *row, const struct round *r,
                     const Tide__ManifestHead *head)
{
    bool had[HOOKS_MAX] = {false};
    for (size_t i = 0; i < head->n_externals; i++) {
        const Tide__ExternalState *e = head->externals[i];
        struct tide_bytes data = sim_bytes(s, (struct tide_bytes){e->data.data, e->data.len});
        if (e->external->kind == TIDE__EXTERNAL_KIND__EXTERNAL_COORDINATOR) {
            row->part[0] = data;
            continue;
        }
        uint32_t hook = 0;
        while (hook < j->externals.n_hooks &&
               !tide_bytes_equal(
                   (struct tide_bytes){e->external->name.data, e->external->name.len},
                   (struct tide_bytes){j->spec.hooks[hook].data, j->spec.hooks[hook].len}))
            hook++;
        must(s, hook < j->externals.n_hooks,
             "snapshot %" PRIu64 " has a hook that is not the job's", row->round);
        had[hook] = true;
        row->part[1 + hook] = data;
        must(s, data.len == 8 && tide_get_u64(data.data) == row->round,
             "snapshot %" PRIu64 " has what hook %u gave for another round", row->round, hook);
    }
    for (uint32_t i = 0; i < j->externals.n_hooks; i++) {
        must(s, r->hook[i].answered, "snapshot %" PRIu64 " is complete and hook %u never answered",
             row->round, i);
        must(s, !r->hook[i].failed, "snapshot %" PRIu64 " is complete and hook %u failed",
             row->round, i);
        must(s, r->hook[i].bare != had[i], "snapshot %" PRIu64 ": hook %u gave %s", row->round, i,
             r->hook[i].bare ? "nothing" : "data, and they are not there");
    }
    if (has_coordinator(j)) check_events(s, j, row);
}
