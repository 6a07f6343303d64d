/* External parts in a session: coordinators and hooks that live in this worker
 *
 * The usual way: Start restores or resets each, Run lets coordinators go; AskExternal asks for a
 * round; the answer is kept, sent, and sent again after Resumed or when it is asked for again,
 * until the round is over. Then Complete or Abort.
 *
 * What can go wrong, and what we do:
 * - cut off        -> the answer waits for Resumed, as acks do
 * - the round ends -> its answer is too late: the caller is told so
 * - the lease ends -> a question that has not been delivered is answered with that; a completion
 * and a restore are delivered after Resumed
 * - a part cannot go on in the attempt -> said at once, and again after Resumed
 * - another region is rewound -> hooks are restored once more, coordinators go on and hear of it */
#include <stdlib.h>
#include <string.h>

#include "client/session_impl.h"
#include "proto/plant.h"

#define DATA_MAX ((size_t)1 << 20)
#define REASON_MAX 4096u

enum ask_state { ASK_DELIVERED, ASK_ANSWERED, ASK_FAILED };

struct ask { /* a round, of one part */
    uint64_t round;
    enum ask_state state;
    bool over;           /* resolved; how it ended is still to be told, or never will be */
    struct shared *what; /* data, or why it failed */
};

struct sexternal {
    uint32_t number;                  /* in the graph */
    const Tide__ExternalState *state; /* view into start; NULL: reset */
    bool restored, restore_due;
    /* Restores that it was asked for and has not answered: it answers them in turn, and the last
     * one's answer counts. Hooks do not hear of a rewind, and answer those from before it too. */
    uint32_t unanswered;
    /* Of a hook, when another region was rewound, until the attempt runs: it is restored once more
     * from that, NULL: reset. */
    bool again;
    uint64_t again_snapshot;
    struct shared *again_data;
    uint64_t latest;       /* highest round that was asked, or is over */
    uint64_t told, wanted; /* completions that were delivered, and are to be */
    struct shared *failed; /* why it cannot go on in this attempt */
    struct ask asks[ROUNDS_MAX];
    uint32_t n_asks;
};

int64_t tide_session_add_external(struct tide_session *s, bool hook, struct tide_bytes name)
{
    Tide__External e = TIDE__EXTERNAL__INIT;
    if (s->dead) return s->dead;
    if (s->frozen) return TIDE_ESTATE;
    e.kind = hook ? TIDE__EXTERNAL_KIND__EXTERNAL_HOOK : TIDE__EXTERNAL_KIND__EXTERNAL_COORDINATOR;
    e.name = tide_pb(name);
    int64_t number = tide_graph_external(s->graph, &e);
    if (number < 0) return TIDE_ENOTFOUND;
    for (uint32_t i = 0; i < s->n_externals; i++)
        if (s->externals[i].number == number) return TIDE_EEXIST;
    struct sexternal *all = realloc(s->externals, (s->n_externals + 1) * sizeof *all);
    if (!all) return TIDE_ENOMEM;
    s->externals = all;
    all[s->n_externals] = (struct sexternal){.number = (uint32_t)number};
    return s->n_externals++;
}

static const struct tide_external *facts(const struct tide_session *s, uint32_t index)
{
    return &s->graph->externals[s->externals[index].number];
}

static struct tide_delivery delivery(const struct tide_session *s, uint32_t index,
                                     enum tide_delivery_type type, uint64_t round)
{
    return (struct tide_delivery){
        .type = type, .external = index, .attempt = s->attempt, .round = round};
}

static void push(struct tide_session *s, uint32_t index, enum tide_delivery_type type,
                 uint64_t round)
{
    struct tide_delivery d = delivery(s, index, type, round);
    tide_session_push(s, &d, NULL);
}

/* ---- asks */

static struct ask *ask_find(struct sexternal *e, uint64_t round)
{
    for (uint32_t i = 0; i < e->n_asks; i++)
        if (e->asks[i].round == round) return &e->asks[i];
    return NULL;
}

static void ask_remove(struct sexternal *e, const struct ask *a)
{
    uint32_t at = (uint32_t)(a - e->asks);
    tide_shared_unref(a->what);
    e->n_asks--;
    memmove(&e->asks[at], &e->asks[at + 1], (e->n_asks - at) * sizeof e->asks[0]);
}

static void stop_again(struct sexternal *e)
{
    tide_shared_unref(e->again_data);
    e->again_data = NULL;
    e->again = false;
}

static void clear(struct sexternal *e)
{
    stop_again(e);
    while (e->n_asks)
        ask_remove(e, &e->asks[e->n_asks - 1]);
    tide_shared_unref(e->failed);
    *e = (struct sexternal){.number = e->number, .latest = e->latest, .unanswered = e->unanswered};
}

void tide_externals_free(struct tide_session *s)
{
    for (uint32_t i = 0; i < s->n_externals; i++)
        clear(&s->externals[i]);
    free(s->externals);
}

static void send_answer(struct tide_session *s, uint32_t index, const struct ask *a)
{
    if (a->state == ASK_DELIVERED || a->over) return;
    struct tide_bytes what = {a->what->data, a->what->len}, none = {0};
    bool failed = a->state == ASK_FAILED;
    tide_session_send_external(s, facts(s, index), a->round, failed ? none : what,
                               failed ? what : none);
}

/* ---- what the daemon says */

const char *tide_externals_wrong(const struct tide_session *s, const Tide__Start *m)
{
    for (size_t i = 0; i < m->n_externals; i++) {
        const Tide__External *e = m->externals[i]->external;
        int64_t number = e ? tide_graph_external(s->graph, e) : -1;
        bool own = false;
        for (uint32_t k = 0; k < s->n_externals; k++)
            own = own || s->externals[k].number == number;
        if (!own) return "Start restores an external part of another worker";
        if (m->externals[i]->data.len > DATA_MAX) return "Start has too much for an external part";
    }
    return NULL;
}

static void push_restore(struct tide_session *s, uint32_t index)
{
    struct sexternal *e = &s->externals[index];
    struct tide_delivery d = delivery(s, index, TIDE_DO_EXTERNAL_RESTORE, s->start->snapshot);
    struct shared *hold = e->again ? e->again_data : NULL;
    d.start = e->again ? NULL : s->start;
    d.has_data = hold || (!e->again && e->state);
    if (e->again) d.round = e->again_snapshot;
    if (hold)
        d.bytes = (struct tide_bytes){hold->data, hold->len};
    else if (d.has_data)
        d.bytes = tide_of_pb(e->state->data);
    e->restore_due = false;
    e->unanswered++;
    tide_session_push(s, &d, hold);
}

void tide_externals_begin(struct tide_session *s)
{
    for (uint32_t i = 0; i < s->n_externals && !s->deliver_only; i++) {
        struct sexternal *e = &s->externals[i];
        e->told = e->wanted = s->start->snapshot;
        e->latest = 0; /* an old copy of the store may have lower numbers than the attempt before */
        for (size_t k = 0; k < s->start->n_externals; k++)
            if (tide_graph_external(s->graph, s->start->externals[k]->external) == e->number)
                e->state = s->start->externals[k];
        push_restore(s, i);
    }
}

const char *tide_externals_advance_wrong(const struct tide_session *s, const Tide__Advance *m)
{
    for (size_t i = 0; i < m->n_externals; i++) {
        const Tide__External *e = m->externals[i]->external;
        int64_t number = e && e->kind == TIDE__EXTERNAL_KIND__EXTERNAL_HOOK
                             ? tide_graph_external(s->graph, e)
                             : -1;
        bool own = false;
        for (uint32_t k = 0; k < s->n_externals; k++)
            own = own || s->externals[k].number == number;
        if (!own) return "Advance restores what is no hook of this worker";
        if (m->externals[i]->data.len > DATA_MAX) return "Advance has too much for a hook";
    }
    return NULL;
}

/* Its subtasks among those, as runs of their own. */
static void each_lost(struct tide_session *s, uint32_t index, const Tide__Advance *m,
                      enum tide_delivery_type type)
{
    const struct tide_external *f = facts(s, index);
    for (size_t i = 0; i < m->n_rewound; i++) {
        uint64_t first = m->rewound[i]->first, end = first + m->rewound[i]->count;
        if (first < f->first_task) first = f->first_task;
        if (end > (uint64_t)f->first_task + f->tasks) end = (uint64_t)f->first_task + f->tasks;
        if (first >= end) continue;
        struct tide_delivery d = delivery(s, index, type, m->snapshot);
        d.first = (uint32_t)(first - f->first_task);
        d.count = (uint32_t)(end - first);
        tide_session_push(s, &d, NULL);
    }
}

static bool is_hook(const struct tide_session *s, uint32_t index)
{
    return facts(s, index)->kind == TIDE__EXTERNAL_KIND__EXTERNAL_HOOK;
}

void tide_externals_advance(struct tide_session *s, const Tide__Advance *m)
{
    for (uint32_t i = 0; i < s->n_externals; i++) {
        struct sexternal *e = &s->externals[i];
        if (!is_hook(s, i)) {
            if (!PLANTED(EVENTS_GONE)) each_lost(s, i, m, TIDE_DO_EXTERNAL_LOST);
            continue;
        }
        stop_again(e);
        e->again = true;
        e->again_snapshot = m->snapshot;
        e->restored = false;
        for (size_t k = 0; k < m->n_externals; k++)
            if (tide_graph_external(s->graph, m->externals[k]->external) == e->number)
                e->again_data = tide_shared_new(s, tide_of_pb(m->externals[k]->data));
        push_restore(s, i);
    }
}

void tide_externals_advanced(struct tide_session *s)
{
    for (uint32_t i = 0; i < s->n_externals; i++) {
        stop_again(&s->externals[i]);
        if (!is_hook(s, i)) push(s, i, TIDE_DO_EXTERNAL_READY, 0);
    }
}

void tide_externals_run(struct tide_session *s)
{
    for (uint32_t i = 0; i < s->n_externals; i++)
        push(s, i, TIDE_DO_EXTERNAL_RUN, 0);
}

static const char *asked(struct tide_session *s, uint32_t index, const Tide__AskExternal *m)
{
    struct sexternal *e = &s->externals[index];
    struct ask *a = ask_find(e, m->round);
    if (a) {
        send_answer(s, index, a);
        return NULL;
    }
    if (m->round < s->lowest_pending || m->round <= e->latest) return NULL; /* over */
    while (e->n_asks && e->asks[0].over)
        ask_remove(e, &e->asks[0]);
    if (e->n_asks == ROUNDS_MAX) return "it asks for too many rounds at once";
    e->asks[e->n_asks++] = (struct ask){.round = m->round};
    e->latest = m->round;
    push(s, index, TIDE_DO_EXTERNAL_SNAPSHOT, m->round);
    return NULL;
}

static const char *released(struct tide_session *s, uint32_t index, const Tide__AskExternal *m)
{
    const struct tide_external *f = facts(s, index);
    for (size_t i = 0; i < m->n_tasks; i++) {
        uint32_t first = m->tasks[i]->first - f->first_task, count = m->tasks[i]->count;
        if (first >= f->tasks || count > f->tasks - first)
            return "AskExternal names tasks of another operator";
        struct tide_delivery d = delivery(s, index, TIDE_DO_EXTERNAL_RELEASE, m->round);
        d.first = first;
        d.count = count;
        tide_session_push(s, &d, NULL);
    }
    return NULL;
}

const char *tide_externals_ask(struct tide_session *s, const Tide__AskExternal *m)
{
    int64_t number = m->external ? tide_graph_external(s->graph, m->external) : -1;
    uint32_t index = 0;
    while (index < s->n_externals && s->externals[index].number != number)
        index++;
    if (index == s->n_externals) return "AskExternal names a part that does not live here";
    if (!m->round || s->phase != TIDE__WORKER_PHASE__PHASE_RUNNING)
        return "AskExternal before Run, or without a round";
    if (m->phase == TIDE__EXTERNAL_PHASE__EXTERNAL_RELEASE) return released(s, index, m);
    if (m->phase != TIDE__EXTERNAL_PHASE__EXTERNAL_SNAPSHOT)
        return "AskExternal with an unknown phase";
    return asked(s, index, m);
}

/* Completions that may be delivered now. */
static void complete_now(struct tide_session *s)
{
    if (s->fenced || s->phase != TIDE__WORKER_PHASE__PHASE_RUNNING) return;
    for (uint32_t i = 0; i < s->n_externals; i++) {
        struct sexternal *e = &s->externals[i];
        if (e->wanted <= e->told) continue;
        e->told = e->wanted;
        push(s, i, TIDE_DO_EXTERNAL_COMPLETE, e->told);
    }
}

/* It holds back nothing for that round any more. */
static void release_all(struct tide_session *s, uint32_t index, uint64_t round)
{
    struct tide_delivery d = delivery(s, index, TIDE_DO_EXTERNAL_RELEASE, round);
    d.count = UINT32_MAX;
    tide_session_push(s, &d, NULL);
}

void tide_externals_complete(struct tide_session *s, uint64_t round)
{
    for (uint32_t i = 0; i < s->n_externals; i++) {
        struct sexternal *e = &s->externals[i];
        const struct ask *a = ask_find(e, round);
        /* Of several only the newest is told as complete: an older savepoint's that comes behind
         * it, or one that was still to be told, must not stay closed. */
        uint64_t untold = round <= e->wanted    ? (a ? round : 0)
                          : e->wanted > e->told ? e->wanted
                                                : 0;
        if (a) ask_remove(e, a);
        if (untold && !is_hook(s, i)) release_all(s, i, untold);
        if (round > e->wanted) e->wanted = round;
        if (round > e->latest) e->latest = round;
    }
    complete_now(s);
}

void tide_externals_abort(struct tide_session *s, uint64_t round)
{
    for (uint32_t i = 0; i < s->n_externals; i++) {
        struct sexternal *e = &s->externals[i];
        const struct ask *a = ask_find(e, round);
        if (round > e->latest) e->latest = round; /* it will not be asked after that */
        if (!a) continue;
        ask_remove(e, a);
        push(s, i, TIDE_DO_EXTERNAL_ABORT, round);
    }
}

void tide_externals_lowest(struct tide_session *s, uint64_t lowest)
{
    for (uint32_t i = 0; i < s->n_externals; i++)
        for (uint32_t k = 0; k < s->externals[i].n_asks; k++) {
            struct ask *a = &s->externals[i].asks[k];
            if (a->round >= lowest || a->over) continue;
            a->over = true;
            release_all(s, i, a->round);
        }
}

void tide_externals_unasked(struct tide_session *s, uint32_t index)
{
    s->externals[index].unanswered--;
}

void tide_externals_rewind(struct tide_session *s, struct shared *reason)
{
    for (uint32_t i = 0; i < s->n_externals; i++) {
        clear(&s->externals[i]);
        if (!is_hook(s, i)) s->externals[i].unanswered = 0;
        struct tide_delivery d = delivery(s, i, TIDE_DO_EXTERNAL_REWIND, 0);
        d.text = (struct tide_bytes){reason->data, reason->len};
        tide_session_push(s, &d, reason);
    }
}

/* ---- the lease and the connection */

static void answer(struct tide_session *s, uint32_t index, struct ask *a, enum ask_state state,
                   struct tide_bytes what)
{
    a->what = tide_shared_new(s, what);
    if (!a->what) return;
    a->state = state;
    send_answer(s, index, a);
}

static bool take_back(struct tide_session *s, struct tide_delivery *d)
{
    if (d->type < TIDE_DO_EXTERNAL_RESTORE) return false;
    struct sexternal *e = &s->externals[d->external];
    struct ask *a = ask_find(e, d->round);
    switch (d->type) {
    case TIDE_DO_EXTERNAL_RESTORE:
        tide_externals_unasked(s, d->external);
        return e->restore_due = true;
    case TIDE_DO_EXTERNAL_COMPLETE: e->told = d->round - 1; return true;
    case TIDE_DO_EXTERNAL_SNAPSHOT:
        if (a && a->state == ASK_DELIVERED)
            answer(s, d->external, a, ASK_FAILED,
                   tide_bytes_of("the lease was over before it could be asked"));
        return true;
    default: return false;
    }
}

void tide_externals_fenced(struct tide_session *s)
{
    if (s->n_externals) tide_session_purge(s, take_back);
}

void tide_externals_resumed(struct tide_session *s)
{
    for (uint32_t i = 0; i < s->n_externals; i++)
        if (s->externals[i].restore_due) push_restore(s, i);
    complete_now(s);
}

void tide_externals_send_restored(struct tide_session *s)
{
    for (uint32_t i = 0; i < s->n_externals; i++)
        tide_session_send_external(s, facts(s, i), 0, (struct tide_bytes){0},
                                   (struct tide_bytes){0});
}

void tide_externals_repeat(struct tide_session *s)
{
    for (uint32_t i = 0; i < s->n_externals; i++) {
        const struct sexternal *e = &s->externals[i];
        for (uint32_t k = 0; k < e->n_asks; k++)
            send_answer(s, i, &e->asks[k]);
        if (e->again && e->restored)
            tide_session_send_external(s, facts(s, i), 0, (struct tide_bytes){0},
                                       (struct tide_bytes){0});
        if (e->failed)
            tide_session_send_external(s, facts(s, i), 0, (struct tide_bytes){0},
                                       (struct tide_bytes){e->failed->data, e->failed->len});
    }
}

uint64_t tide_externals_open(const struct tide_session *s, uint64_t after)
{
    uint64_t next = UINT64_MAX;
    for (uint32_t i = 0; i < s->n_externals; i++)
        for (uint32_t k = 0; k < s->externals[i].n_asks; k++) {
            const struct ask *a = &s->externals[i].asks[k];
            if (!a->over && a->round > after && a->round < next) next = a->round;
        }
    return next;
}

const struct tide_external *tide_externals_facts(const struct tide_session *s, uint32_t index)
{
    return facts(s, index);
}

/* ---- what the application says */

static struct tide_bytes reason_of(int rc, struct tide_bytes reason)
{
    if (!reason.len || !tide_text_valid(reason)) reason = tide_bytes_of(tide_strerror(rc));
    if (reason.len > REASON_MAX) reason.len = REASON_MAX;
    return tide_text_valid(reason) ? reason : tide_bytes_of(tide_strerror(rc));
}

int tide_session_external_restored(struct tide_session *s, uint32_t index, int rc,
                                   struct tide_bytes reason, uint64_t now_us)
{
    tide_session_enter(s);
    if (s->dead) return s->dead;
    if (index >= s->n_externals) return TIDE_EINVAL;
    struct sexternal *e = &s->externals[index];
    bool newest = !e->unanswered || --e->unanswered == 0;
    if ((s->phase != TIDE__WORKER_PHASE__PHASE_STARTING && !e->again) || s->rewinding ||
        s->deliver_only || s->link == LINK_OVER)
        return TIDE_ESTALE;
    if (!newest || e->restored || e->restore_due) return 0;
    tide_session_fence(s, now_us);
    if (e->again && rc) {
        if (!e->failed) e->failed = tide_shared_new(s, reason_of(rc, reason));
        if (e->failed)
            tide_session_send_external(s, facts(s, index), 0, (struct tide_bytes){0},
                                       reason_of(rc, reason));
        return 0;
    }
    if (e->again) {
        e->restored = true;
        tide_session_send_external(s, facts(s, index), 0, (struct tide_bytes){0},
                                   (struct tide_bytes){0});
        return 0;
    }
    if (rc) { /* the daemon ends the attempt; cut off, a Join in phase starting does the same */
        tide_session_send_external(s, facts(s, index), 0, (struct tide_bytes){0},
                                   reason_of(rc, reason));
        return 0;
    }
    e->restored = true;
    tide_session_one_restored(s);
    return 0;
}

int tide_session_external_answer(struct tide_session *s, uint32_t index, uint64_t attempt,
                                 uint64_t round, int rc, struct tide_bytes what, uint64_t now_us)
{
    tide_session_enter(s);
    if (s->dead) return s->dead;
    if (index >= s->n_externals) return TIDE_EINVAL;
    if (!rc && what.len > DATA_MAX) return TIDE_ETOOBIG;
    struct ask *a = ask_find(&s->externals[index], round);
    if (!s->attempt || attempt != s->attempt || !a || a->over || s->link == LINK_OVER)
        return TIDE_ESTALE;
    if (a->state == ASK_DELIVERED) tide_session_fence(s, now_us); /* it is kept till Resumed */
    /* The first one counts, which may be what the end of the lease has said just now. */
    if (a->state != ASK_DELIVERED) return s->dead;
    answer(s, index, a, rc ? ASK_FAILED : ASK_ANSWERED, rc ? reason_of(rc, what) : what);
    return s->dead;
}

int tide_session_external_failed(struct tide_session *s, uint32_t index, struct tide_bytes reason,
                                 uint64_t now_us)
{
    tide_session_enter(s);
    if (s->dead) return s->dead;
    if (index >= s->n_externals) return TIDE_EINVAL;
    struct sexternal *e = &s->externals[index];
    if (!s->attempt || s->phase != TIDE__WORKER_PHASE__PHASE_RUNNING || s->link == LINK_OVER)
        return TIDE_ESTALE;
    if (e->failed) return 0; /* once until it is reset */
    tide_session_fence(s, now_us);
    reason = reason_of(TIDE_EIO, reason);
    e->failed = tide_shared_new(s, reason);
    tide_session_send_external(s, facts(s, index), 0, (struct tide_bytes){0}, reason);
    return s->dead;
}

const char *tide_externals_check(const struct tide_session *s)
{
    for (uint32_t i = 0; i < s->n_externals; i++) {
        const struct sexternal *e = &s->externals[i];
        if (!s->attempt && e->n_asks) return "a part is asked without an attempt";
        if (e->told > e->wanted) return "a part was told more than is complete";
        for (uint32_t k = 0; k < e->n_asks; k++) {
            if (k && e->asks[k].round <= e->asks[k - 1].round) return "asks out of order";
            if (!e->asks[k].what != (e->asks[k].state == ASK_DELIVERED))
                return "an answer without bytes";
        }
    }
    return NULL;
}
