/* What a session says: each function appends one message, or all that waits of its kind, to
 * s->out. Nothing here decides anything; when something may leave is decided by the callers. */
#include <stdlib.h>
#include <string.h>

#include "client/session_impl.h"

static bool link_up(const struct tide_session *s)
{
    return s->link >= LINK_HELLO && s->link < LINK_CLOSING;
}

/* What speaks for a task leaves only in an attempt that this connection knows, under a lease. */
static bool may_speak(const struct tide_session *s)
{
    return s->attached && !s->fenced && s->link == LINK_JOINED;
}

static void put(struct tide_session *s, Tide__FromWorker__MsgCase which, void *message)
{
    Tide__FromWorker m = TIDE__FROM_WORKER__INIT;
    if (!link_up(s)) return;
    m.msg_case = which;
    m.hello = message; /* any member of the union */
    tide_frame_put(&s->out, &m.base);
}

/* ---- ranges of tasks */

typedef bool task_test(const struct tide_session *s, uint32_t index, uint64_t arg);

struct ranges {
    Tide__TaskRange **items;
    size_t n;
};

/* The tasks that pass, as ranges in the arena; none: n is 0. False: no memory. */
static bool ranges_of(const struct tide_session *s, struct tide_arena *arena, task_test *test,
                      uint64_t arg, struct ranges *ret)
{
    size_t n = 0;
    uint32_t next = UINT32_MAX;
    for (uint32_t i = 0; i < s->n_tasks; i++) {
        if (!test(s, i, arg)) continue;
        if (s->tasks[i].number != next) n++;
        next = s->tasks[i].number + 1;
    }
    *ret = (struct ranges){NULL, n};
    if (!n) return true;
    Tide__TaskRange *range = tide_arena_alloc(arena, n * sizeof *range);
    ret->items = tide_arena_alloc(arena, n * sizeof *ret->items);
    if (!range || !ret->items) return false;
    n = 0;
    next = UINT32_MAX;
    for (uint32_t i = 0; i < s->n_tasks; i++) {
        if (!test(s, i, arg)) continue;
        if (s->tasks[i].number != next) {
            range[n] = (Tide__TaskRange)TIDE__TASK_RANGE__INIT;
            range[n].first = s->tasks[i].number;
            ret->items[n] = &range[n];
            n++;
        }
        range[n - 1].count++;
        next = s->tasks[i].number + 1;
    }
    return true;
}

static bool any_task(const struct tide_session *s, uint32_t i, uint64_t arg)
{
    (void)s, (void)i, (void)arg;
    return true;
}

static bool is_ending(const struct tide_session *s, uint32_t i, uint64_t arg)
{
    (void)arg;
    return s->tasks[i].finished && !s->tasks[i].ended;
}

static bool is_ended(const struct tide_session *s, uint32_t i, uint64_t arg)
{
    (void)arg;
    return s->tasks[i].ended;
}

static bool is_finish_due(const struct tide_session *s, uint32_t i, uint64_t arg)
{
    (void)arg;
    return s->tasks[i].finish_due;
}

static bool is_confirmed(const struct tide_session *s, uint32_t i, uint64_t round)
{
    return s->tasks[i].confirm_due && s->tasks[i].done == round;
}

static bool stands_due(const struct tide_session *s, uint32_t i, uint64_t round_index)
{
    const struct round_place *p = &s->rounds[round_index]->tasks[i];
    return p->state == ROUND_NOTHING && p->meet & MEET_STANDS_DUE;
}

static bool has_acked(const struct tide_session *s, uint32_t i, uint64_t round_index)
{
    return s->rounds[round_index]->tasks[i].state == ROUND_ACKED;
}

/* Large lists need more than a frame's arena: one of their own, for the call. */
static void scratch_init(struct tide_arena *a)
{
    tide_arena_init(a, (size_t)1 << 30);
}

static void no_memory(struct tide_session *s)
{
    tide_session_dead(s, TIDE_ENOMEM, "out of memory", __LINE__);
}

/* ---- joining */

void tide_session_send_hello(struct tide_session *s, uint64_t now_us)
{
    Tide__Hello m = TIDE__HELLO__INIT;
    (void)now_us;
    m.version_min = s->graph->version; /* what the job asks for must be known there */
    m.version_max = TIDE_PROTOCOL_MAX;
    m.kind = TIDE__PEER_KIND__PEER_WORKER;
    m.secret = tide_pb(s->secret);
    m.software = tide_pb(s->software);
    put(s, TIDE__FROM_WORKER__MSG_HELLO, &m);
}

/* Rounds that were triggered here, and those that only an external part has heard of. */
static bool join_rounds(struct tide_session *s, struct tide_arena *arena, Tide__Join *m)
{
    uint64_t asked = tide_externals_open(s, 0);
    m->open = tide_arena_zalloc(arena, (size_t)3 * ROUNDS_MAX * sizeof(Tide__OpenRound *));
    if (!m->open) return false;
    for (uint32_t i = 0; m->n_open < 2 * ROUNDS_MAX; asked = tide_externals_open(s, asked)) {
        Tide__OpenRound *open = NULL;
        struct ranges acked = {0};
        for (; i < s->n_rounds && s->rounds[i]->number <= asked; i++) {
            open = tide_arena_alloc(arena, sizeof *open);
            if (!open || !ranges_of(s, arena, has_acked, i, &acked)) return false;
            *open = (Tide__OpenRound)TIDE__OPEN_ROUND__INIT;
            open->round = s->rounds[i]->number;
            open->acked = acked.items;
            open->n_acked = acked.n;
            m->open[m->n_open++] = open;
        }
        if (asked == UINT64_MAX) break;
        if (open && open->round == asked) continue;
        open = tide_arena_alloc(arena, sizeof *open);
        if (!open) return false;
        *open = (Tide__OpenRound)TIDE__OPEN_ROUND__INIT;
        open->round = asked;
        m->open[m->n_open++] = open;
    }
    return true;
}

static bool join_externals(struct tide_session *s, struct tide_arena *arena, Tide__Join *m)
{
    if (!s->n_externals) return true;
    Tide__External *items = tide_arena_alloc(arena, s->n_externals * sizeof *items);
    m->externals = tide_arena_alloc(arena, s->n_externals * sizeof *m->externals);
    if (!items || !m->externals) return false;
    for (uint32_t i = 0; i < s->n_externals; i++) {
        const struct tide_external *e = tide_externals_facts(s, i);
        tide__external__init(&items[i]);
        items[i].kind = e->kind;
        items[i].name = tide_pb(e->name);
        m->externals[m->n_externals++] = &items[i];
    }
    return true;
}

/* Rounds told complete to at least one task that has not carried it out; the same one is listed
 * once. */
static bool join_unconfirmed(struct tide_session *s, struct tide_arena *arena, Tide__Join *m)
{
    uint64_t after = 0;
    m->unconfirmed = tide_arena_alloc(arena, ROUNDS_MAX * sizeof *m->unconfirmed);
    if (!m->unconfirmed) return false;
    while (m->n_unconfirmed < ROUNDS_MAX) {
        uint64_t next = UINT64_MAX;
        for (uint32_t i = 0; i < s->n_tasks; i++) {
            const struct stask *t = &s->tasks[i];
            if (t->done < t->told && t->told > after) next = tide_min(next, t->told);
        }
        if (next == UINT64_MAX) return true;
        m->unconfirmed[m->n_unconfirmed++] = after = next;
    }
    return true;
}

static bool join_build(struct tide_session *s, struct tide_arena *arena, Tide__Join *m)
{
    struct ranges tasks, ending, ended;
    if (!ranges_of(s, arena, any_task, 0, &tasks) || !ranges_of(s, arena, is_ending, 0, &ending) ||
        !ranges_of(s, arena, is_ended, 0, &ended))
        return false;
    m->job = s->spec->name;
    m->what_case = TIDE__JOIN__WHAT_SPEC;
    m->spec = s->spec;
    m->worker = tide_pb(s->worker);
    m->endpoint = tide_pb(s->endpoint);
    m->tasks = tasks.items;
    m->n_tasks = tasks.n;
    m->told_complete = s->told_complete;
    m->told_effects = s->told_effects;
    if (!join_externals(s, arena, m)) return false;
    if (!s->attempt) return true;
    m->token = s->start->token;
    m->lowest_pending = s->lowest_pending;
    m->phase = s->phase;
    m->ending = ending.items;
    m->n_ending = ending.n;
    m->ended = ended.items;
    m->n_ended = ended.n;
    return join_rounds(s, arena, m) && join_unconfirmed(s, arena, m);
}

void tide_session_send_join(struct tide_session *s, uint64_t now_us)
{
    Tide__Join m = TIDE__JOIN__INIT;
    Tide__Host host = TIDE__HOST__INIT;
    struct tide_arena arena;
    bool open = s->n_tasks == 0;
    for (uint32_t i = 0; i < s->n_tasks; i++)
        open = open || !s->tasks[i].ended;
    if (!open)
        tide_rounds_clear(s); /* no task takes part: how those rounds ended is nothing to us */
    scratch_init(&arena);
    host.boot_id = tide_pb(s->boot_id);
    host.pid = s->pid;
    host.start_time = s->start_time;
    m.host = &host;
    if (join_build(s, &arena, &m)) {
        size_t len = tide__join__get_packed_size(&m);
        uint8_t *packed = len <= TIDE_PARTS_MAX ? malloc(len ? len : 1) : NULL;
        if (packed) {
            tide__join__pack(&m, packed);
            tide_parts_put(&s->out, TIDE_PART_JOIN, (struct tide_bytes){packed, len});
            s->link = LINK_JOINING;
            s->link_deadline_us = now_us + JOINED_US;
            s->join_us = now_us;
        } else {
            no_memory(s);
        }
        free(packed);
    } else {
        no_memory(s);
    }
    tide_arena_release(&arena);
}

void tide_session_send_beat(struct tide_session *s, uint64_t now_us)
{
    Tide__Heartbeat m = TIDE__HEARTBEAT__INIT;
    m.sequence = ++s->sequence;
    s->beats[s->sequence % BEATS] = now_us;
    s->beat_us = now_us + s->heartbeat_us;
    put(s, TIDE__FROM_WORKER__MSG_HEARTBEAT, &m);
}

void tide_session_send_holder_gone(struct tide_session *s)
{
    Tide__HolderGone m = TIDE__HOLDER_GONE__INIT;
    m.holder = &s->holder;
    put(s, TIDE__FROM_WORKER__MSG_HOLDER_GONE, &m);
}

void tide_session_send_leave(struct tide_session *s, struct tide_bytes reason)
{
    Tide__Leave m = TIDE__LEAVE__INIT;
    m.reason = tide_pb(reason);
    put(s, TIDE__FROM_WORKER__MSG_LEAVE, &m);
}

/* ---- the attempt */

void tide_session_send_external(struct tide_session *s, const struct tide_external *e,
                                uint64_t round, struct tide_bytes data, struct tide_bytes failed)
{
    Tide__ExternalAnswer m = TIDE__EXTERNAL_ANSWER__INIT;
    Tide__ExternalState state = TIDE__EXTERNAL_STATE__INIT;
    Tide__External external = TIDE__EXTERNAL__INIT;
    if (!may_speak(s)) return;
    external.kind = e->kind;
    external.name = tide_pb(e->name);
    state.external = &external;
    state.data = tide_pb(data);
    m.attempt = s->attempt;
    m.round = round;
    m.state = &state;
    m.failed = tide_pb(failed);
    put(s, TIDE__FROM_WORKER__MSG_EXTERNAL, &m);
}

void tide_session_send_restored(struct tide_session *s)
{
    Tide__Restored m = TIDE__RESTORED__INIT;
    struct tide_arena arena;
    struct ranges tasks;
    if (!may_speak(s)) return;
    tide_externals_send_restored(s);
    scratch_init(&arena);
    if (ranges_of(s, &arena, any_task, 0, &tasks)) {
        m.attempt = s->attempt;
        m.tasks = tasks.items;
        m.n_tasks = tasks.n;
        put(s, TIDE__FROM_WORKER__MSG_RESTORED, &m);
    } else {
        no_memory(s);
    }
    tide_arena_release(&arena);
}

void tide_session_send_advanced(struct tide_session *s)
{
    Tide__Advanced m = TIDE__ADVANCED__INIT;
    if (!may_speak(s)) return;
    m.attempt = s->attempt;
    put(s, TIDE__FROM_WORKER__MSG_ADVANCED, &m);
}

void tide_session_send_restore_failed(struct tide_session *s, uint32_t task,
                                      struct tide_bytes reason)
{
    Tide__RestoreFailed m = TIDE__RESTORE_FAILED__INIT;
    if (!may_speak(s)) return;
    m.attempt = s->attempt;
    m.task = task;
    m.reason = tide_pb(reason);
    put(s, TIDE__FROM_WORKER__MSG_RESTORE_FAILED, &m);
}

void tide_session_send_decline(struct tide_session *s, const struct decline *d)
{
    Tide__Decline m = TIDE__DECLINE__INIT;
    if (!may_speak(s)) return;
    m.attempt = s->attempt;
    m.round = d->round;
    m.task = d->task;
    m.retry_after_ms = d->retry_after_ms;
    m.gave_up = d->gave_up && s->version >= 2;
    if (d->reason) m.reason = (ProtobufCBinaryData){d->reason->len, d->reason->data};
    put(s, TIDE__FROM_WORKER__MSG_DECLINE, &m);
}

/* ---- what is batched */

static void acks_frame(struct tide_session *s, const struct round *r)
{
    if (!s->batch.entries) return;
    tide_ack_builder_put_frame(&s->batch, s->attempt, r->number, &s->out);
    tide_ack_builder_clear(&s->batch);
}

static size_t batch_len(const struct tide_ack_builder *b)
{
    size_t len = b->full.len;
    for (unsigned i = 0; i < sizeof b->columns / sizeof b->columns[0]; i++)
        len += b->columns[i].len;
    return len;
}

static void acks_of_round(struct tide_session *s, struct round *r)
{
    tide_ack_builder_clear(&s->batch);
    while (r->sent < r->acks.len) {
        struct ack_head head;
        const uint8_t *at = r->acks.data + r->sent;
        memcpy(&head, at, sizeof head);
        at += sizeof head;
        size_t len = head.full_len;
        if (len) {
            if (len + batch_len(&s->batch) > ACK_FULL_MAX) acks_frame(s, r);
            tide_ack_builder_add_full(&s->batch, (struct tide_bytes){at, len});
        } else {
            len = head.files * sizeof(struct tide_ack_file);
            tide_ack_builder_add(&s->batch, head.task, head.align_us, head.sync_us, head.async_us,
                                 (const struct tide_ack_file *)(const void *)at, head.files);
        }
        r->sent += sizeof head + ((len + 7) & ~(size_t)7);
        if (s->batch.entries >= s->ack_batch || batch_len(&s->batch) > FRAME_GOAL) acks_frame(s, r);
    }
    acks_frame(s, r);
    r->unsent = 0;
}

void tide_session_send_acks(struct tide_session *s)
{
    if (!may_speak(s)) return;
    for (uint32_t i = 0; i < s->n_rounds; i++)
        if (s->rounds[i]->unsent) acks_of_round(s, s->rounds[i]);
    s->ack_due_us = UINT64_MAX;
}

/* One message per round that was reached: nearly always one for all tasks. */
void tide_session_send_confirms(struct tide_session *s)
{
    struct tide_arena arena;
    if (!may_speak(s)) return;
    scratch_init(&arena);
    for (uint32_t i = 0; i < s->n_tasks; i++) {
        Tide__Confirm m = TIDE__CONFIRM__INIT;
        struct ranges tasks;
        if (!s->tasks[i].confirm_due) continue;
        m.attempt = s->attempt;
        m.round = s->tasks[i].done;
        if (!ranges_of(s, &arena, is_confirmed, m.round, &tasks)) {
            no_memory(s);
            break;
        }
        m.tasks = tasks.items;
        m.n_tasks = tasks.n;
        put(s, TIDE__FROM_WORKER__MSG_CONFIRM, &m);
        for (uint32_t k = i; k < s->n_tasks; k++)
            if (s->tasks[k].done == m.round) s->tasks[k].confirm_due = false;
    }
    tide_arena_release(&arena);
}

void tide_session_send_finished(struct tide_session *s)
{
    Tide__TaskFinished m = TIDE__TASK_FINISHED__INIT;
    struct tide_arena arena;
    struct ranges tasks;
    if (!may_speak(s)) return;
    scratch_init(&arena);
    if (!ranges_of(s, &arena, is_finish_due, 0, &tasks)) {
        no_memory(s);
    } else if (tasks.n) {
        m.attempt = s->attempt;
        m.tasks = tasks.items;
        m.n_tasks = tasks.n;
        put(s, TIDE__FROM_WORKER__MSG_FINISHED, &m);
        for (uint32_t i = 0; i < s->n_tasks; i++)
            s->tasks[i].finish_due = false;
    }
    tide_arena_release(&arena);
}

static void send_backlogs(struct tide_session *s)
{
    for (uint32_t i = 0; i < s->n_tasks; i++) {
        struct stask *t = &s->tasks[i];
        Tide__Backlog m = TIDE__BACKLOG__INIT;
        if (!t->behind_due) continue;
        t->behind_due = false;
        if (s->version < 2) continue; /* a daemon that knows nothing of it */
        m.attempt = s->attempt;
        m.task = t->number;
        m.behind = t->behind;
        put(s, TIDE__FROM_WORKER__MSG_BACKLOG, &m);
    }
}

void tide_session_send_due(struct tide_session *s)
{
    if (!may_speak(s)) return;
    tide_session_send_acks(s);
    if (s->flush_due) {
        s->flush_due = false;
        tide_session_send_confirms(s);
        tide_session_send_finished(s);
        tide_meet_send(s);
        send_backlogs(s);
    }
}

/* Everything that the daemon may not have got; it drops what it had. */
void tide_session_repeat(struct tide_session *s)
{
    if (s->phase == TIDE__WORKER_PHASE__PHASE_RESTORED) tide_session_send_restored(s);
    for (uint32_t i = 0; i < s->n_rounds; i++) {
        struct round *r = s->rounds[i];
        r->sent = 0;
        r->unsent = r->acks.len ? 1 : 0;
        if (r->progress_us != UINT64_MAX) r->progress_us = 0; /* at the next tick */
        tide_meet_repeat(s, r);
    }
    for (uint32_t i = 0; i < s->n_declines; i++)
        tide_session_send_decline(s, &s->declines[i]);
    tide_externals_repeat(s);
    for (uint32_t i = 0; i < s->n_tasks; i++) {
        struct stask *t = &s->tasks[i];
        t->confirm_due = t->done != 0;
        t->finish_due = t->finished && !t->ended;
        t->behind_due = t->behind_ever && !t->finished;
    }
    s->flush_due = true;
    tide_session_send_due(s);
}

/* ---- rendezvous rounds */

void tide_session_send_positions(struct tide_session *s, struct round *r)
{
    Tide__Position m = TIDE__POSITION__INIT;
    struct tide_arena arena;
    if (!may_speak(s)) return;
    scratch_init(&arena);
    m.task = tide_arena_alloc(&arena, s->n_tasks * sizeof *m.task);
    m.position = tide_arena_alloc(&arena, s->n_tasks * sizeof *m.position);
    if (!m.task || !m.position) {
        no_memory(s);
        tide_arena_release(&arena);
        return;
    }
    for (uint32_t i = 0; i < s->n_tasks; i++) {
        if (r->tasks[i].state != ROUND_NOTHING || !(r->tasks[i].meet & MEET_REPORT_DUE)) continue;
        r->tasks[i].meet &= (uint8_t)~MEET_REPORT_DUE;
        m.task[m.n_task] = s->tasks[i].number;
        m.position[m.n_task++] = r->tasks[i].position;
    }
    m.attempt = s->attempt;
    m.round = r->number;
    m.n_position = m.n_task;
    if (m.n_task) put(s, TIDE__FROM_WORKER__MSG_POSITION, &m);
    tide_arena_release(&arena);
}

static uint32_t index_of(const struct tide_session *s, const struct round *r)
{
    uint32_t i = 0;
    while (s->rounds[i] != r)
        i++;
    return i;
}

void tide_session_send_standing(struct tide_session *s, struct round *r)
{
    Tide__Standing m = TIDE__STANDING__INIT;
    struct tide_arena arena;
    struct ranges tasks;
    if (!may_speak(s)) return;
    scratch_init(&arena);
    if (!ranges_of(s, &arena, stands_due, index_of(s, r), &tasks)) {
        no_memory(s);
    } else if (tasks.n) {
        m.attempt = s->attempt;
        m.round = r->number;
        m.tasks = tasks.items;
        m.n_tasks = tasks.n;
        put(s, TIDE__FROM_WORKER__MSG_STANDING, &m);
        for (uint32_t i = 0; i < s->n_tasks; i++)
            r->tasks[i].meet &= (uint8_t)~MEET_STANDS_DUE;
    }
    tide_arena_release(&arena);
}

/* ---- progress */

static bool progress_of(const struct tide_session *s, const struct round *r, uint32_t i,
                        Tide__TaskProgress *p)
{
    const struct stask *t = &s->tasks[i];
    struct tide_align_view view;
    *p = (Tide__TaskProgress)TIDE__TASK_PROGRESS__INIT;
    p->task = t->number;
    if (t->ended || r->tasks[i].state == ROUND_ACKED || r->tasks[i].state == ROUND_DECLINED)
        return false;
    tide_align_look(t->align, r->number, &view);
    if (r->tasks[i].state == ROUND_ASKED && !view.missing) {
        p->bytes = r->tasks[i].bytes;
        p->phase =
            p->bytes ? TIDE__TASK_PHASE__TASK_UPLOADING : TIDE__TASK_PHASE__TASK_SNAPSHOTTING;
        return true;
    }
    if (r->meets) {
        p->phase = r->tasks[i].meet & MEET_STANDS ? TIDE__TASK_PHASE__TASK_STANDING
                                                  : TIDE__TASK_PHASE__TASK_WAITING;
        p->position = t->at;
        return true;
    }
    p->phase = TIDE__TASK_PHASE__TASK_WAITING;
    if (view.round) {
        p->phase = TIDE__TASK_PHASE__TASK_ALIGNING;
        p->channels_missing = view.missing;
        p->channel_first = view.first_missing;
    }
    return true;
}

void tide_session_send_progress(struct tide_session *s, struct round *r)
{
    enum { MOST = 8192 }; /* tasks in one message */
    Tide__Barrier m = TIDE__BARRIER__INIT;
    struct tide_arena arena;
    if (!may_speak(s)) return;
    scratch_init(&arena);
    uint32_t room = s->n_tasks < MOST ? s->n_tasks : MOST;
    Tide__TaskProgress *items = tide_arena_alloc(&arena, room * sizeof *items);
    m.tasks = tide_arena_alloc(&arena, room * sizeof *m.tasks);
    m.attempt = s->attempt;
    m.round = r->number;
    for (uint32_t i = 0; items && m.tasks && i < s->n_tasks; i++) {
        if (!progress_of(s, r, i, &items[m.n_tasks])) continue;
        m.tasks[m.n_tasks] = &items[m.n_tasks];
        if (++m.n_tasks < room) continue;
        put(s, TIDE__FROM_WORKER__MSG_BARRIER, &m);
        m.n_tasks = 0;
    }
    if (items && m.tasks && m.n_tasks) put(s, TIDE__FROM_WORKER__MSG_BARRIER, &m);
    tide_arena_release(&arena);
}
