/* Rendezvous rounds: all tasks stop at one position, and each takes its snapshot there.
 *
 * The usual way, all of it in COLLECTING: Prepare to everybody; each task says its position, once,
 * and goes on; with the last of them the cut is fixed, at the largest + window, which none can have
 * passed; each says when it stands there; with the last of them SnapshotNow, and acks as in any
 * round.
 *
 * Positions and standings are sets, as acks are: nothing said twice counts twice. A task that holds
 * its end has reached every position behind its last one: its worker says so for it. What can go
 * wrong is what can go wrong in any round; a task that cannot reach the cut declines.
 *
 * How long tasks stood, the first until the last, is noted: unless the job says how long a pause it
 * wants, the period leaves the tasks alone for as long (trigger.c). Where they come to safe points
 * only now and then, and stand there since there is no window, rounds behind each other would
 * otherwise have the job stand nearly always. */
#include "daemon/core/internal.h"

void meeting_begin(struct round *r)
{
    const struct tide_graph *graph = r->job->graph;
    if (graph->checkpointing.style != TIDE__ROUND_STYLE__STYLE_RENDEZVOUS) return;
    r->meeting = core_alloc(sizeof *r->meeting);
    bits_init(&r->meeting->reported, graph->tasks);
    bits_init(&r->meeting->standing, graph->tasks);
}

void meeting_free(struct round *r)
{
    if (!r->meeting) return;
    bits_release(&r->meeting->reported);
    bits_release(&r->meeting->standing);
    free(r->meeting);
    r->meeting = NULL;
}

bool meeting_may_ack(const struct round *r)
{
    return !r->meeting || r->meeting->snapshot_now;
}

uint64_t meeting_position(const struct round *r)
{
    return r->meeting ? r->meeting->cut : 0;
}

/* ---- what workers are told */

static void tell(struct core *c, struct round *r, uint64_t session, const Tide__ToWorker *m,
                 uint64_t tag)
{
    if (session)
        send_worker(c, session, m);
    else
        send_holders(c, r->job, m, tag);
}

static void send_prepare(struct core *c, struct round *r, uint64_t session)
{
    struct job *job = r->job;
    Tide__Prepare m = TIDE__PREPARE__INIT;
    Tide__ToWorker message = TIDE__TO_WORKER__INIT;
    m.attempt = r->attempt;
    m.round = r->number;
    m.incarnation = c->incarnation;
    m.kind = (Tide__RoundKind)r->kind;
    m.left_ms = round_left_ms(c, r);
    m.directory = PB(VIEW(r->directory));
    m.directory_exists = r->kind == TIDE_SAVEPOINT;
    m.lowest_pending = job_lowest_pending(job);
    m.window = job->graph->checkpointing.window;
    m.stop = (Tide__StopMode)r->stop;
    m.full = r->full;
    m.n_full_tasks = share_full_tasks(r, &c->out, &m.full_tasks);
    m.native = r->native;
    message.msg_case = TIDE__TO_WORKER__MSG_PREPARE;
    message.prepare = &m;
    tell(c, r, session, &message, session ? 0 : ask(c, ASKED_TRIGGER_SENT, job, r->number));
}

static void send_cut(struct core *c, struct round *r, uint64_t session)
{
    Tide__Cut m = TIDE__CUT__INIT;
    Tide__ToWorker message = TIDE__TO_WORKER__INIT;
    m.attempt = r->attempt;
    m.round = r->number;
    m.position = r->meeting->cut;
    message.msg_case = TIDE__TO_WORKER__MSG_CUT;
    message.cut = &m;
    tell(c, r, session, &message, 0);
}

static void send_snapshot_now(struct core *c, struct round *r, uint64_t session)
{
    Tide__SnapshotNow m = TIDE__SNAPSHOT_NOW__INIT;
    Tide__ToWorker message = TIDE__TO_WORKER__INIT;
    m.attempt = r->attempt;
    m.round = r->number;
    message.msg_case = TIDE__TO_WORKER__MSG_SNAPSHOT_NOW;
    message.snapshot_now = &m;
    tell(c, r, session, &message, 0);
}

void meeting_trigger(struct core *c, struct round *r, uint64_t session)
{
    send_prepare(c, r, session);
    if (r->meeting->cut_fixed) send_cut(c, r, session);
    if (r->meeting->snapshot_now) send_snapshot_now(c, r, session);
}

/* ---- what they say */

bool meeting_everybody(const struct round *r, const struct bits *in)
{
    uint32_t at = 0, first, count, n = in->set;
    if (n >= r->job->graph->tasks) return true;
    while (bits_run(&r->plan.ended, &at, &first, &count))
        for (uint32_t t = first; t < first + count; t++)
            n += !bits_get(in, t);
    return n == r->job->graph->tasks;
}

static void fix_cut(struct core *c, struct round *r)
{
    struct meeting *m = r->meeting;
    m->cut = m->highest + r->job->graph->checkpointing.window;
    if (PLANTED(CUT_BELOW) && m->highest) m->cut = m->highest - 1;
    m->cut_fixed = true;
    send_cut(c, r, 0);
    if (r->operation) operation_changed(c, r->operation);
}

static void somebody_stands(const struct core *c, struct meeting *m)
{
    if (!m->stood_since) m->stood_since = c->now;
}

static void all_stand(struct core *c, struct round *r)
{
    r->meeting->stood_us = c->now - r->meeting->stood_since;
    r->meeting->snapshot_now = true;
    send_snapshot_now(c, r, 0);
    if (r->operation) operation_changed(c, r->operation);
}

/* The round under way that the message is of; NULL: none, and it has been refused if it must be. */
static struct round *meant(struct core *c, struct session *s, uint64_t attempt, uint64_t round,
                           const char *message)
{
    const struct worker *w = s->worker;
    struct round *r = job_round(w->job, round);
    if (!r || attempt != w->attempt || attempt != w->job->attempt || attempt != r->attempt ||
        w->standing != STANDS_HOLDING || r->state != ROUND_COLLECTING)
        return NULL; /* it was on its way */
    if (r->meeting) return r;
    send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_STATE,
                 "%s of round %" PRIu64 ", which is no rendezvous round", message, round);
    return NULL;
}

void meeting_reported(struct core *c, struct session *s, const Tide__Position *p)
{
    struct round *r = meant(c, s, p->attempt, p->round, "Position");
    if (!r || r->meeting->cut_fixed) return;
    struct meeting *m = r->meeting;
    for (size_t i = 0; i < p->n_task; i++) {
        if (bits_get(&r->plan.ended, p->task[i]) || !bits_put(&m->reported, p->task[i])) continue;
        r->progress_us = c->now;
        if (!r->job->graph->checkpointing.window) somebody_stands(c, m); /* that is where it is */
        if (p->position[i] > m->highest) m->highest = p->position[i];
    }
    if (meeting_everybody(r, &m->reported)) fix_cut(c, r);
}

void meeting_stand(struct core *c, struct session *s, const Tide__Standing *p)
{
    struct round *r = meant(c, s, p->attempt, p->round, "Standing");
    if (!r || r->meeting->snapshot_now) return;
    struct meeting *m = r->meeting;
    if (!m->cut_fixed) {
        send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_STATE,
                     "Standing of round %" PRIu64 " before its Cut", r->number);
        return;
    }
    for (size_t i = 0; i < p->n_tasks; i++)
        for (uint32_t t = 0; t < p->tasks[i]->count; t++) {
            m->planted_count++;
            somebody_stands(c, m);
            if (!bits_get(&r->plan.ended, p->tasks[i]->first + t) &&
                bits_put(&m->standing, p->tasks[i]->first + t))
                r->progress_us = c->now;
        }
    if (meeting_everybody(r, &m->standing) ||
        (PLANTED(STANDING_COUNT) && m->planted_count >= r->plan.expected))
        all_stand(c, r);
}

void meeting_planted_release(struct core *c, struct worker *w)
{
    struct round *r = w->job->rounds;
    if (!r || !PLANTED(RELEASE_SURVIVORS)) return;
    if (!r->meeting || !r->meeting->cut_fixed || r->meeting->snapshot_now) return;
    for (uint32_t t = 0; t < w->job->graph->tasks; t++)
        if (worker_hosts(w, t) && !bits_get(&r->plan.ended, t)) bits_put(&r->meeting->standing, t);
    if (meeting_everybody(r, &r->meeting->standing)) all_stand(c, r);
}

/* ---- who holds it */

bool meeting_holds(const struct round *r, uint32_t task)
{
    const struct meeting *m = r->meeting;
    if (!m || m->snapshot_now || r->state != ROUND_COLLECTING) return true;
    return !bits_get(m->cut_fixed ? &m->standing : &m->reported, task);
}

char *meeting_late(const struct round *r, uint32_t n, const char *names)
{
    const struct meeting *m = r->meeting;
    unsigned ms = (unsigned)((r->deadline_us - r->begun_us) / MS);
    if (!m || m->snapshot_now)
        return core_printf("%u tasks had not acked by the deadline of %u ms%s", n, ms, names);
    if (m->cut_fixed)
        return core_printf("%u tasks did not stand at the cut by the deadline of %u ms%s", n, ms,
                           names);
    return core_printf("%u tasks had not said where they are by the deadline of %u ms%s", n, ms,
                       names);
}

const char *meeting_phase(const struct round *r)
{
    const struct meeting *m = r->meeting;
    if (!m || m->snapshot_now) return "collecting acks";
    return m->cut_fixed ? "stopping tasks" : "collecting positions";
}

const char *meeting_words(const struct round *r, const struct progress *p, const char *away,
                          struct tide_arena *arena)
{
    const struct meeting *m = r->meeting;
    bool at = p && p->position;
    if (m->snapshot_now) return tide_arena_printf(arena, "standing at %" PRIu64 "%s", m->cut, away);
    if (m->cut_fixed && at)
        return tide_arena_printf(arena, "at %" PRIu64 ", on its way to %" PRIu64 "%s", p->position,
                                 m->cut, away);
    if (m->cut_fixed) return tide_arena_printf(arena, "on its way to %" PRIu64 "%s", m->cut, away);
    return tide_arena_printf(arena, "not at a safe point yet%s", away);
}
