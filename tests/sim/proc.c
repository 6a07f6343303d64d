/* Worker processes: each hosts the shipped session, carries out its deliveries, and runs the tasks
 * of its slot. A supervisor starts one process per slot, and another when that one has died. */

#include "tests/sim/sim.h"

static void timer(struct sim *s, void *arg, uint64_t x);

uint64_t proc_now(const struct sim *s, const struct proc *p)
{
    return s->now + p->clock;
}

bool proc_frozen(struct sim *s, struct proc *p, sim_fn *fn, void *arg, uint64_t x)
{
    if (s->now >= p->thaw_at) return false;
    sim_at(s, p->thaw_at, fn, arg, x);
    return true;
}

bool proc_busy(struct sim *s, struct proc *p, sim_fn *fn, void *arg, uint64_t x)
{
    if (!p->away) return proc_frozen(s, p, fn, arg, x);
    uint64_t until = p->busy_until > p->thaw_at ? p->busy_until : p->thaw_at;
    sim_at(s, (until > s->now ? until : s->now) + 1, fn, arg, x); /* deliveries come first */
    return true;
}

const char *task_name(const struct job *j, uint32_t task)
{
    static char name[4][32];
    static unsigned turn;
    char *n = name[turn++ % 4];
    const struct flow_task *t = &j->flow.task[task % TASKS_MAX];
    snprintf(n, sizeof name[0], "%s%s%s/%u", j->prefix, *j->prefix ? "." : "", j->flow.uid[t->op],
             (unsigned)t->subtask);
    return n;
}

const char *proc_name(const struct proc *p)
{
    static char name[4][32];
    static unsigned turn;
    char *n = name[turn++ % 4];
    snprintf(n, sizeof name[0], "%s%sw%u/%u", p->job->prefix, *p->job->prefix ? "." : "", p->slot,
             p->pid);
    return n;
}

static void arm(struct sim *s, struct proc *p)
{
    uint64_t at = tide_session_deadline(p->session);
    if (at == NEVER) return;
    at = at > p->clock ? at - p->clock : 0;
    if (at < s->now) at = s->now;
    if (at >= p->timer_at) return;
    p->timer_at = at;
    sim_at(s, at, timer, p, at);
}

static void timer(struct sim *s, void *arg, uint64_t x)
{
    struct proc *p = arg;
    if (!p->alive || x != p->timer_at || proc_frozen(s, p, timer, arg, x)) return;
    p->timer_at = NEVER;
    if (tide_session_deadline(p->session) <= proc_now(s, p)) {
        /* a timer that does not move time on, again and again, is a loop that never rests */
        p->idle_ticks = s->now == p->last_tick ? p->idle_ticks + 1 : 0;
        p->last_tick = s->now;
        must(s, p->idle_ticks < 200, "%s: its session wants the same moment again and again",
             proc_name(p));
        tide_session_tick(p->session, proc_now(s, p));
    }
    proc_pump(s, p);
}

static void rewound(struct sim *s, void *arg, uint64_t generation)
{
    struct task *t = arg;
    if (!t->proc->alive || t->generation != generation ||
        proc_busy(s, t->proc, rewound, arg, generation))
        return;
    happens(s, (struct happening){.type = H_DROPS, .worker = log_worker(t->proc)});
    tide_session_rewound(t->proc->session, t->number, proc_now(s, t->proc));
    proc_pump(s, t->proc);
}

static void holder(struct sim *s, struct proc *p, uint32_t pid, uint64_t start_time)
{
    bool gone = true;
    for (struct proc *q = p->job->procs; q; q = q->next)
        if (q->alive && q->pid == pid && q->start_time == start_time && !strcmp(q->boot, p->boot))
            gone = false;
    note(s, "%s: the holder with pid %u is %s", proc_name(p), pid, gone ? "gone" : "there");
    tide_session_holder(p->session, gone, proc_now(s, p));
}

/* Acks come again, from whatever attempt they are: duplicates change nothing, stale ones count
 * nowhere. */
static void say_again(struct sim *s, void *arg, uint64_t x)
{
    struct proc *p = arg;
    if (!p->alive || p->over || proc_frozen(s, p, say_again, arg, x)) return;
    if (!p->conn || !p->conn->joined) return;
    note(s, "%s: says something again", proc_name(p));
    net_to_daemon(s, p->conn, p->word);
}

static void sent_beat(struct sim *s, struct proc *p, struct tide_bytes content)
{
    Tide__Heartbeat *m = tide__heartbeat__unpack(NULL, content.len, content.data);
    if (m) p->beat_at[(p->beat = m->sequence) % BEATS] = s->now;
    tide__heartbeat__free_unpacked(m, NULL);
}

/* Looks at what the session sends: whether it joins, and what may be said again. */
static void look_at(struct sim *s, struct proc *p, struct tide_bytes frames)
{
    while (frames.len > TIDE_FRAME_HEADER) {
        struct tide_bytes content,
            body = {frames.data + TIDE_FRAME_HEADER, tide_get_u32(frames.data)};
        uint32_t field = tide_frame_peek(body, &content);
        if (field == 2) p->conn->joined = true;
        if (field == 2) p->join_at = s->now;
        if (field == 3) sent_beat(s, p, content);
        if (field == 200) check_said_position(s, p, content);
        if (field == 201) check_said_standing(s, p, content);
        bool meets = field == 200 || field == 201, acks = field == 6,
             other = ((field >= 4 && field <= 10) || meets || field == 500) && percent(s, 15);
        if (p->hasty && (acks || other) && (!p->word.len || percent(s, 40))) {
            p->word = sim_bytes(s, (struct tide_bytes){frames.data, TIDE_FRAME_HEADER + body.len});
            if (percent(s, 60)) sim_at(s, s->now + below(s, 1500 * MS), say_again, p, 0);
        }
        frames.data += TIDE_FRAME_HEADER + body.len;
        frames.len -= TIDE_FRAME_HEADER + body.len;
    }
}

static void leave(struct sim *s, void *arg, uint64_t x)
{
    struct proc *p = arg;
    (void)x;
    if (p->alive) proc_kill(s, p, "its session is over", false);
}

static void end_process(struct sim *s, struct proc *p, const struct tide_delivery *d)
{
    p->over = true;
    bool ended = d->type == TIDE_DO_STOP || d->rc == TIDE_EENDED;
    /* who hears late of an end that was undone meanwhile is started again */
    if (ended && !p->stale && tide_job_ended(p->job->store.state)) p->job->over = true;
    sim_at(s, s->now + below(s, 20 * MS), leave, p, 0);
}

static void to_task(struct sim *s, struct proc *p, const struct tide_delivery *d)
{
    struct task *t = d->task < TASKS_MAX ? p->task[d->task] : NULL;
    must(s, t, "%s: a delivery for task %u, which it does not host", proc_name(p), d->task);
    switch (d->type) {
    case TIDE_DO_BLOCK:
        if (!t->blocked) t->blocked_since = s->now;
        t->blocked |= 1u << d->channel;
        break;
    case TIDE_DO_UNBLOCK:
        t->blocked &= ~(1u << d->channel);
        p->job->program->wake(s, t, s->now);
        break;
    case TIDE_DO_ENDED: t->ended = true; break;
    case TIDE_DO_REWIND:
        p->job->program->drop(s, t);
        sim_at(s, s->now + (percent(s, 70) ? 0 : below(s, 50 * MS)), rewound, t, t->generation);
        break;
    default: p->job->program->deliver(s, t, d); break;
    }
}

static const char *const delivery_name[] = {[TIDE_DO_CONNECT] = "connect",
                                            [TIDE_DO_SEND] = "send",
                                            [TIDE_DO_CLOSE] = "close",
                                            [TIDE_DO_RESTORE] = "restore",
                                            [TIDE_DO_RUN] = "run",
                                            [TIDE_DO_TRIGGER] = "trigger",
                                            [TIDE_DO_BLOCK] = "block",
                                            [TIDE_DO_UNBLOCK] = "unblock",
                                            [TIDE_DO_FORWARD] = "forward",
                                            [TIDE_DO_SNAPSHOT] = "snapshot",
                                            [TIDE_DO_OVERTAKE] = "overtake",
                                            [TIDE_DO_PROMOTE] = "promote",
                                            [TIDE_DO_ACKABLE] = "ackable",
                                            [TIDE_DO_POSITION] = "position",
                                            [TIDE_DO_COMPLETE] = "complete",
                                            [TIDE_DO_ABORT] = "abort",
                                            [TIDE_DO_SUBSUMED] = "subsumed",
                                            [TIDE_DO_DRAIN] = "drain",
                                            [TIDE_DO_SUSPEND] = "suspend",
                                            [TIDE_DO_RESUME] = "resume",
                                            [TIDE_DO_ENDED] = "ended",
                                            [TIDE_DO_REWIND] = "rewind",
                                            [TIDE_DO_FENCED] = "fenced",
                                            [TIDE_DO_UNFENCED] = "unfenced",
                                            [TIDE_DO_STOP] = "stop",
                                            [TIDE_DO_REFUSED] = "refused",
                                            [TIDE_DO_CHECK_HOLDER] = "check holder",
                                            [TIDE_DO_NOTE] = "note",
                                            [TIDE_DO_EXTERNAL_RESTORE] = "restore",
                                            [TIDE_DO_EXTERNAL_RUN] = "run",
                                            [TIDE_DO_EXTERNAL_SNAPSHOT] = "snapshot",
                                            [TIDE_DO_EXTERNAL_RELEASE] = "release",
                                            [TIDE_DO_EXTERNAL_COMPLETE] = "complete",
                                            [TIDE_DO_EXTERNAL_ABORT] = "abort",
                                            [TIDE_DO_EXTERNAL_REWIND] = "rewind",
                                            [TIDE_DO_EXTERNAL_LOST] = "lost",
                                            [TIDE_DO_EXTERNAL_READY] = "ready",
                                            [TIDE_DO_ADVANCE] = "advance"};

/* What the library tells its program: "w0/101 tells sink/2: complete round 7". */
static void note_delivery(struct sim *s, const struct proc *p, const struct tide_delivery *d)
{
    const char *what = delivery_name[d->type];
    char who[48], more[100] = "";
    if (!s->trace || d->type < TIDE_DO_CLOSE) return;
    if (d->type >= TIDE_DO_EXTERNAL_RESTORE)
        snprintf(who, sizeof who, "part %u", (unsigned)d->external);
    else
        snprintf(who, sizeof who, "%s", task_name(p->job, d->task));
    if (d->type == TIDE_DO_ADVANCE) {
        note(s, "%s goes on in attempt %" PRIu64, proc_name(p), d->attempt);
        return;
    }
    if ((d->type >= TIDE_DO_FENCED && d->type < TIDE_DO_EXTERNAL_RESTORE) ||
        d->type == TIDE_DO_CLOSE) {
        note(s, "%s: %s%s%.*s", proc_name(p), d->type == TIDE_DO_NOTE ? "" : what,
             d->text.len && d->type != TIDE_DO_NOTE ? ": " : "", (int)d->text.len,
             d->text.len ? (const char *)d->text.data : "");
        return;
    }
    if (d->type == TIDE_DO_BLOCK || d->type == TIDE_DO_UNBLOCK)
        snprintf(more, sizeof more, " channel %u", (unsigned)d->channel);
    else if (d->type == TIDE_DO_RESTORE || d->type == TIDE_DO_EXTERNAL_RESTORE)
        snprintf(more, sizeof more, " attempt %" PRIu64, d->attempt);
    else if (d->round)
        snprintf(more, sizeof more, " round %" PRIu64, d->round);
    note(s, "%s tells %s: %s%s%s%s%s%s", proc_name(p), who, what, more,
         d->has_handle ? ", owed" : "", d->ahead ? ", ahead" : "", d->captures ? ", captures" : "",
         d->waits ? ", waits" : "");
}

static void carry_out(struct sim *s, struct proc *p, const struct tide_delivery *d)
{
    uint64_t now = proc_now(s, p);
    check_delivery(s, p, d);
    s->stats->deliver++;
    note_delivery(s, p, d);
    switch (d->type) {
    case TIDE_DO_CONNECT: net_connect(s, p); break;
    case TIDE_DO_SEND:
        if (!p->conn) break;
        look_at(s, p, d->bytes);
        net_to_daemon(s, p->conn, d->bytes);
        break;
    case TIDE_DO_CLOSE:
        if (p->conn) net_close_by_worker(s, p->conn);
        if (p->conn) p->cut_at = s->now;
        p->conn = NULL;
        p->connects++; /* one that is being opened is not wanted any more */
        tide_session_disconnected(p->session, now);
        break;
    case TIDE_DO_FENCED:
        p->fenced = true;
        s->stats->fenced++;
        break;
    case TIDE_DO_UNFENCED: p->fenced = false; break;
    case TIDE_DO_STOP: end_process(s, p, d); break;
    case TIDE_DO_REFUSED:
        heir_refused(s, p->job, d->text);
        end_process(s, p, d);
        break;
    case TIDE_DO_CHECK_HOLDER: holder(s, p, d->pid, d->start_time); break;
    case TIDE_DO_NOTE: break;
    case TIDE_DO_ADVANCE:
        check_advanced(s, p, d);
        external_advance(p, d->attempt);
        break;
    default:
        if (d->type >= TIDE_DO_EXTERNAL_RESTORE)
            external_deliver(s, p, d);
        else
            to_task(s, p, d);
    }
}

/* The program is back from a callback: it lets the session have the time before it goes on. */
static void back(struct sim *s, void *arg, uint64_t x)
{
    struct proc *p = arg;
    if (!p->alive || x != p->busy_until || proc_frozen(s, p, back, arg, x)) return;
    p->away = false;
    tide_session_tick(p->session, proc_now(s, p));
    proc_pump(s, p);
}

static void stay_away(struct sim *s, struct proc *p)
{
    p->away = true;
    p->busy_until = s->now + between(s, MS, p->job->checkpointing.lease_ms * 3 * (uint64_t)MS / 2);
    note(s, "%s: in a callback until %" PRIu64 " ms", proc_name(p), in_trace(p->busy_until));
    check_trouble(s, p->job); /* it may miss deadlines */
    sim_at(s, p->busy_until, back, p, p->busy_until);
}

void proc_pump(struct sim *s, struct proc *p)
{
    struct tide_delivery d;
    if (p->pumping || !p->alive) return;
    p->pumping = true;
    for (int i = 0;
         !p->away ? tide_session_next(p->session, &d) : tide_session_next_io(p->session, &d); i++) {
        must(s, i < 10000, "%s: the session's deliveries do not end", proc_name(p));
        carry_out(s, p, &d);
        bool long_one =
            d.type >= TIDE_DO_RESTORE && d.type <= TIDE_DO_REWIND && s->climate & CL_WEDGE;
        if (long_one && !s->calm && !p->job->calm && below(s, 400) == 0) stay_away(s, p);
    }
    p->pumping = false;
    if (++p->pumps % 64 == 0) {
        const char *wrong = tide_session_check(p->session);
        must(s, !wrong, "tide_session_check: %s", wrong ? wrong : "");
    }
    arm(s, p);
}

/* What it would name in a Join: what comes when its lease is over it does not hear. */
static void hear_complete(struct sim *s, struct proc *p, struct tide_bytes content)
{
    uint64_t stamp;
    bool held = tide_session_token(p->session, proc_now(s, p), &stamp) == 0;
    Tide__Complete *m = tide__complete__unpack(NULL, content.len, content.data);
    if (m && held && m->attempt == tide_session_attempt(p->session) && m->round > p->told_complete)
        p->told_complete = m->round;
    tide__complete__free_unpacked(m, NULL);
}

/* Whose attempt it has taken, if it has. */
static void heard_start(struct proc *p, struct tide_bytes content)
{
    Tide__Part *part = tide__part__unpack(NULL, content.len, content.data);
    Tide__Start *m = part && part->count == 1
                         ? tide__start__unpack(NULL, part->data.len, part->data.data)
                         : NULL;
    if (m && m->token && m->token->attempt == tide_session_attempt(p->session))
        p->token_incarnation = m->token->incarnation;
    tide__start__free_unpacked(m, NULL);
    tide__part__free_unpacked(part, NULL);
}

static void heard_advance(struct proc *p, struct tide_bytes content)
{
    Tide__Advance *m = tide__advance__unpack(NULL, content.len, content.data);
    if (m && m->token && m->token->attempt == tide_session_attempt(p->session))
        p->token_incarnation = m->token->incarnation;
    tide__advance__free_unpacked(m, NULL);
}

static void has_lease(struct sim *s, struct proc *p, uint64_t sent_at)
{
    uint64_t until = sent_at + p->job->checkpointing.lease_ms * (uint64_t)MS;
    if (until > p->lease_until) p->lease_until = until;
    log_lease(s, p, sent_at);
}

static void hear_beat(struct sim *s, struct proc *p, struct tide_bytes content)
{
    Tide__HeartbeatAck *m = tide__heartbeat_ack__unpack(NULL, content.len, content.data);
    if (m && m->sequence && p->beat - m->sequence < BEATS)
        has_lease(s, p, p->beat_at[m->sequence % BEATS]);
    tide__heartbeat_ack__free_unpacked(m, NULL);
}

void proc_frame(struct sim *s, struct proc *p, struct tide_bytes frame)
{
    struct tide_bytes content;
    if (!p->alive) return;
    uint32_t field = tide_frame_peek(frame, &content);
    /* Start, Rewind, Fenced, Stop: words after which an attempt may end */
    if (field == 6 || field == 12 || field == 13 || field == 15 || field == 2)
        p->told_rewind = true;
    const struct conn *on = p->conn;
    if (field == 3) has_lease(s, p, p->join_at);
    if (field == 15 || field == 2) p->stopped = true;
    if (field == 5) hear_beat(s, p, content);
    tide_session_frame(p->session, frame, proc_now(s, p));
    if (field == 6) heard_start(p, content);
    if (field == 16) heard_advance(p, content);
    proc_pump(s, p);
    /* unless the lease turned out to be over, and the connection is closed unheard */
    if (field == 10 && p->conn == on) hear_complete(s, p, content);
}

/* ---- the supervisor */

static void session_open(struct sim *s, struct proc *p)
{
    char name[16], endpoint[32], why[256];
    snprintf(name, sizeof name, "w%u", (unsigned)p->slot);
    snprintf(endpoint, sizeof endpoint, "w%u:%u", (unsigned)p->slot, (unsigned)p->pid);
    struct tide_session_config c = {.spec = &p->job->spec,
                                    .worker = tide_bytes_of(name),
                                    .endpoint = tide_bytes_of(endpoint),
                                    .software = tide_bytes_of("simulated"),
                                    .boot_id = tide_bytes_of(p->boot),
                                    .pid = p->pid,
                                    .start_time = p->start_time,
                                    .seed = rnd(s),
                                    .reconnect_min_us = 5 * MS,
                                    .reconnect_max_us = 150 * MS,
                                    .ack_batch = (uint32_t)below(s, 3),
                                    .ack_delay_us = percent(s, 50) ? 0 : between(s, 1, 5 * MS)};
    p->from = (struct tide_bytes){c.spec->restore_from.data, c.spec->restore_from.len};
    int rc = tide_session_new(&c, &p->session, why);
    must(s, rc == 0, "tide_session_new: %d, %s", rc, why);
}

/* Which of its inputs a task keeps aligned, and whether its outputs let a barrier go ahead later.
 */
static void set_up_channels(struct sim *s, struct task *t)
{
    const struct job *j = t->proc->job;
    const struct flow_task *f = &j->flow.task[t->number];
    for (uint32_t i = 0; i < f->n_in; i++)
        if (j->flow.channel[f->in[i]].aligned)
            (void)tide_session_force(t->proc->session, t->number, i, true);
    t->promotable = f->n_out && percent(s, 70);
    t->slow = percent(s, 25);
    if (t->promotable) (void)tide_session_promotable(t->proc->session, t->number, f->n_out);
}

void proc_start(struct sim *s, void *arg, uint64_t slot)
{
    struct job *j = arg;
    if (j->over ||
        (j->current[slot] && j->current[slot]->alive && s->now >= j->current[slot]->thaw_at))
        return;
    struct proc *p = sim_alloc(s, sizeof *p), *old = j->current[slot];
    *p = (struct proc){.next = j->procs,
                       .job = j,
                       .slot = (uint32_t)slot,
                       .pid = ++s->next_pid,
                       .alive = true,
                       .timer_at = NEVER};
    p->start_time = 1000 + p->pid * 7;
    p->hasty = percent(s, 25);
    p->clock = between(s, SECOND, 100 * (uint64_t)SECOND);
    /* on the same host, or elsewhere */
    if (old && percent(s, 60))
        memcpy(p->boot, old->boot, sizeof p->boot);
    else
        snprintf(p->boot, sizeof p->boot, "host%u", (unsigned)(percent(s, 50) ? 0 : p->pid));
    j->procs = p;
    j->current[slot] = p;
    note(s, "%s: starts on %s", proc_name(p), p->boot);
    session_open(s, p);
    for (uint32_t i = 0; i < j->flow.tasks; i++) {
        if (j->slot_of[i] != slot) continue;
        const struct flow_task *f = &j->flow.task[i];
        int64_t n = tide_session_add_task(p->session, tide_bytes_of(j->flow.uid[f->op]), f->subtask,
                                          j->program->meets ? 0 : f->n_in);
        must(s, n == (int64_t)i, "task %s has number %d instead of %u", task_name(j, i), (int)n, i);
        struct task *t = p->task[i] = sim_alloc(s, sizeof *t);
        *t = (struct task){.proc = p, .number = i, .turn_at = NEVER};
        set_up_channels(s, t);
    }
    external_start(s, p);
    tide_session_tick(p->session, proc_now(s, p));
    proc_pump(s, p);
}

void proc_kill(struct sim *s, struct proc *p, const char *why, bool vanish)
{
    struct job *j = p->job;
    if (!p->alive) return;
    check_trouble(s, j);
    note(s, "%s: dies: %s%s", proc_name(p), why, vanish ? ", without a word to its peers" : "");
    s->stats->worker_crashes++;
    p->alive = false;
    happens(s, (struct happening){.type = H_DROPS, .worker = log_worker(p)});
    for (uint32_t i = 0; i < TASKS_MAX; i++)
        if (p->task[i]) j->program->drop(s, p->task[i]);
    external_drop(p);
    net_proc_gone(s, p, vanish);
    tide_session_free(p->session);
    p->session = NULL;
    if (j->current[p->slot] == p && !j->over)
        sim_at(s, s->now + between(s, 5 * MS, s->calm || percent(s, 70) ? 50 * MS : 600 * MS),
               proc_start, j, p->slot);
}

/* Ends in good order: says so, and goes a little later. */
void proc_leave(struct sim *s, struct proc *p)
{
    note(s, "%s: leaves", proc_name(p));
    happens(s, (struct happening){.type = H_DROPS, .worker = log_worker(p)});
    tide_session_leave(p->session, tide_bytes_of("its host is to be restarted"), proc_now(s, p));
    p->over = true;
    proc_pump(s, p);
    sim_at(s, s->now + below(s, 20 * MS), leave, p, 0);
}

void proc_freeze(struct sim *s, struct proc *p, uint64_t until)
{
    note(s, "%s: stands still until %" PRIu64 " ms", proc_name(p), in_trace(until));
    p->thaw_at = until;
}
