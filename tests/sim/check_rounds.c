/* Promises about rounds: what is told of them, in which order, and until when. */
#include "tests/sim/sim.h"

#define DEADLINE_SLACK (60 * MS)
#define STORE_LIMIT (450 * MS)
#define STANDING_SLACK (60 * MS)
#define TOLD_SLACK (100 * MS)

void check_begun(struct sim *s, struct job *j, const struct check_begun *b, const char *what)
{
    char where[20];
    snprintf(where, sizeof where, "a %s", what);
    old_check_sent(s, j, what);
    struct round *r = check_learn_round(s, j, b->number, b->attempt, b->incarnation, where);
    must(s, !r->told_complete && !r->told_abort,
         "%s of round %" PRIu64 " is sent after its end was told", what, b->number);
    j->settled = s->daemon.life;
    must(s, b->attempt == j->store.attempts && check_attempt(s, j, b->attempt)->row,
         "round %" PRIu64 " is triggered in attempt %" PRIu64
         ", the newest in the store is %" PRIu64,
         b->number, b->attempt, j->store.attempts);
    if (!r->triggered) {
        happens(s, (struct happening){.type = H_ROUND,
                                      .job = j->number,
                                      .attempt = b->attempt,
                                      .round = b->number,
                                      .incarnation = b->incarnation,
                                      .n = b->left_us});
        r->begun = s->now;
        r->left_us = b->left_us;
        note(s, "daemon: %s of round %" PRIu64 " into %.*s", what, b->number, (int)b->directory.len,
             (const char *)b->directory.data);
    }
    r->triggered = true;
    for (uint32_t i = 0; i < b->n_sessions; i++) {
        struct conn *c = net_find(s, b->sessions[i]);
        if (c) c->triggers[c->n_triggers++ % 32] = b->number;
    }
}

void check_sent_trigger(struct sim *s, struct job *j, struct tide_bytes content,
                        const uint64_t *sessions, uint32_t n)
{
    Tide__Trigger *m = tide__trigger__unpack(NULL, content.len, content.data);
    must(s, m, "a Trigger that cannot be parsed");
    struct check_begun begun = {
        .number = m->round,
        .attempt = m->attempt,
        .incarnation = m->incarnation,
        .left_us = m->left_ms * (uint64_t)MS,
        .directory = sim_bytes(s, (struct tide_bytes){m->directory.data, m->directory.len}),
        .sessions = sessions,
        .n_sessions = n};
    bool savepoint = m->kind == TIDE__ROUND_KIND__ROUND_SAVEPOINT, full = m->full;
    tide__trigger__free_unpacked(m, NULL);
    check_begun(s, j, &begun, "Trigger");
    check_full(s, j, begun.number, savepoint, full);
}

/* What the task that is owed it was restored from. */
static uint64_t restored_from(struct sim *s, struct job *j, const struct d_owed *o)
{
    const struct attempt *a = check_attempt(s, j, j->store.attempts);
    for (uint32_t t = 0; t < j->flow.tasks; t++)
        if (j->flow.task[t].subtask == o->subtask &&
            tide_bytes_equal(o->uid, tide_bytes_of(j->flow.uid[j->flow.task[t].op])))
            return a->from[t];
    return a->restored_from;
}

/* Whether what is owed from before the attempt holds back its own completions. */
static bool owed_before(struct sim *s, struct job *j)
{
    for (const struct d_owed *o = j->store.owed; o; o = o->next)
        if (o->round <= restored_from(s, j, o)) return true;
    return false;
}

/* Whether an earlier round is under way, a savepoint with effects perhaps: a later savepoint is
 * told behind it, and with it all that is later still. */
static bool earlier_round(const struct sim *s, const struct job *j, uint64_t round)
{
    for (const struct round *r = j->rounds; r; r = r->next)
        if (r->number < round && r->triggered && !r->past && !r->over &&
            r->life == s->daemon.life && !store_snapshot(j, r->number))
            return true;
    return false;
}

/* Whether part of the attempt may be over, since who ran it is lost: what that will be owed when it
 * begins again holds completions back, and what its survivors have not heard comes with Advance. */
static bool may_have_a_gap(struct sim *s, struct job *j)
{
    const struct attempt *a = check_attempt(s, j, j->store.attempts);
    uint32_t there = 0;
    for (const struct proc *p = j->procs; p; p = p->next)
        for (uint32_t t = 0; t < j->flow.tasks; t++)
            if (p->alive && s->now < p->lease_until && p->pid == a->member_pid[t]) there |= 1u << t;
    return j->checkpointing.regional && there != (1u << j->flow.tasks) - 1;
}

/* Who comes back is told the newest completion that it has not heard of, without being asked. */
void check_sent_resumed(struct sim *s, struct job *j, const uint64_t *sessions, uint32_t n)
{
    uint64_t newest = 0;
    for (const struct d_snapshot *d = j->store.snapshots; d; d = d->next)
        if ((d->kind == TIDE_CHECKPOINT || d->commits) && d->attempt == j->store.attempts &&
            d->round > newest)
            newest = d->round;
    for (uint32_t i = 0; i < n; i++) {
        struct conn *c = net_find(s, sessions[i]);
        if (!c || !c->proc || c->proc->stale || newest <= c->proc->told_complete) continue;
        c->owes = owed_before(s, j) || earlier_round(s, j, newest) ? 0 : newest;
        c->owes_since = s->now;
        c->owes_in = j->store.attempts;
    }
}

void check_sent_complete(struct sim *s, struct job *j, struct tide_bytes content,
                         const uint64_t *sessions, uint32_t n)
{
    Tide__Complete *m = tide__complete__unpack(NULL, content.len, content.data);
    must(s, m, "a Complete that cannot be parsed");
    uint64_t number = m->round;
    bool commits = m->commits;
    tide__complete__free_unpacked(m, NULL);
    struct round *r = check_round(j, number);
    must(s, r && store_snapshot(j, number),
         "Complete of round %" PRIu64 " is sent, and its row is not durable", number);
    must(s, !r->told_abort, "round %" PRIu64 " is told complete after it was told aborted", number);
    /* what is owed from before the attempt has its effects before those of the attempt */
    for (const struct d_owed *o = j->store.owed; commits && o; o = o->next)
        must(s, o->round > restored_from(s, j, o) || o->round == number || !check_owed(j, o),
             "Complete of round %" PRIu64 " is sent while round %" PRIu64
             " is owed from before the attempt",
             number, o->round);
    for (uint32_t i = 0; i < n; i++) {
        struct conn *c = net_find(s, sessions[i]);
        if (c && number >= c->owes) c->owes = 0;
    }
    log_round(s, j, H_SAY_COMPLETE, number);
    if (!r->told_complete) note(s, "daemon: Complete of round %" PRIu64, number);
    r->told_complete = true;
}

void check_sent_abort(struct sim *s, struct job *j, struct tide_bytes content)
{
    Tide__Abort *m = tide__abort__unpack(NULL, content.len, content.data);
    must(s, m, "an Abort that cannot be parsed");
    uint64_t number = m->round;
    int code = (int)m->code;
    tide__abort__free_unpacked(m, NULL);
    struct round *r = check_round(j, number);
    log_round(s, j, H_SAY_ABORT, number);
    must(s, !store_snapshot(j, number),
         "round %" PRIu64 " is told aborted, and its snapshot is durable", number);
    if (!r) return;
    must(s, !r->told_complete, "round %" PRIu64 " is told aborted after it was told complete",
         number);
    must(s, !r->handed || r->life != s->daemon.life,
         "round %" PRIu64 " is told aborted while its commit is with the store", number);
    if (!r->told_abort) note(s, "daemon: Abort of round %" PRIu64 ", code %d", number, code);
    r->told_abort = r->over = true;
}

/* ---- now and then */

static uint64_t check_deadline_ms(const Tide__Checkpointing *cp)
{
    return cp->deadline_cap_ms > cp->deadline_ms ? cp->deadline_cap_ms : cp->deadline_ms;
}

/* Tasks whose end is durable: it stands for their ack in whatever round is under way. */
static uint32_t ended_by(const struct job *j, uint64_t attempt)
{
    uint32_t ended = 0;
    for (const struct d_snapshot *d = j->store.snapshots; d; d = d->next)
        if (d->attempt == attempt && (d->kind == TIDE_CHECKPOINT || d->commits))
            ended |= d->ended_mask;
    return ended;
}

/* The start of a round reaches whoever has to act on it, also one that was away meanwhile. */
static void check_told(struct sim *s, const struct job *j, const struct round *r)
{
    uint32_t ended = ended_by(j, r->attempt);
    for (const struct proc *p = j->procs; p; p = p->next) {
        const struct conn *c = p->conn;
        bool told = false, acts = false;
        if (!p->alive || !c || !c->open_d || !c->running || p->session == NULL) continue;
        for (uint32_t i = 0; i < 32; i++)
            told = told || c->triggers[i] == r->number;
        for (uint32_t t = 0; t < j->flow.tasks; t++)
            acts = acts ||
                   (p->task[t] && p->task[t]->attempt == r->attempt && p->task[t]->running &&
                    !p->task[t]->ended && !(ended >> t & 1) && !(r->task[t] && r->task[t]->acked));
        must(s, told || !acts, "round %" PRIu64 " is under way, and %s was not told", r->number,
             proc_name(p));
    }
}

/* No task stands still for an absent daemon, nor for a round whose time is over. */
static void check_standing(struct sim *s, const struct proc *p, const struct task *t)
{
    const struct job *j = p->job;
    const Tide__Checkpointing *cp = &j->checkpointing;
    /* behind the last round of a job that is suspended it stands until it is told to stop; an old
     * copy of the store may know nothing of that */
    bool stopping = j->store.state == TIDE_JOB_STOPPING || tide_job_ended(j->store.state) ||
                    (p->stale && p->told_complete >= t->suspended);
    if (t->suspended && stopping) return;
    uint64_t from = t->blocked_since, orphan = cp->orphan_limit_ms * (uint64_t)MS;
    if (from < p->thaw_at) from = p->thaw_at;
    if (from < t->wedged_until) from = t->wedged_until;
    if (from < p->busy_until) from = p->busy_until;
    /* where nobody moves in between, it may stand for one round after the other */
    const struct round *newest = j->rounds;
    if (j->program->meets && newest && from < newest->begun) from = newest->begun;
    /* without a trigger it learns by its heartbeats that it is cut off */
    uint64_t most =
        (check_deadline_ms(cp) + cp->lease_ms / 2 + cp->heartbeat_ms) * (uint64_t)MS + orphan;
    must(s, s->now <= from + most + STANDING_SLACK,
         "%s has stood still for longer than any round may last", task_name(j, t->number));
    if (p->conn) return;
    if (from < p->cut_at) from = p->cut_at;
    must(s, s->now <= from + orphan + STANDING_SLACK,
         "%s stands still, cut off for longer than the orphan limit", task_name(j, t->number));
}

static void check_job(struct sim *s, const struct job *j)
{
    for (const struct proc *p = j->procs; p; p = p->next)
        for (uint32_t i = 0; p->alive && !p->over && s->now >= p->thaw_at &&
                             s->now >= p->busy_until && i < j->flow.tasks;
             i++)
            if (p->task[i] && p->task[i]->running && p->task[i]->blocked && !p->task[i]->ended)
                check_standing(s, p, p->task[i]);
    struct daemon *d = &s->daemon;
    uint64_t since = d->thaw_at > d->started_at ? d->thaw_at : d->started_at;
    if (!d->up || s->now < d->thaw_at) return;
    for (struct round *r = j->rounds; r; r = r->next) {
        if (!r->triggered || r->over || r->handed || r->life != d->life) continue;
        uint64_t end = r->begun + r->left_us;
        if (end < since) end = since;
        check_told(s, j, r);
        must(s, s->now <= end + DEADLINE_SLACK,
             "round %" PRIu64 " is past its deadline, neither aborted nor with the store",
             r->number);
    }
}

void check_tick(struct sim *s)
{
    happens(s, (struct happening){.type = H_TICK});
    for (const struct job *j = s->jobs; j; j = j->next)
        check_job(s, j);
    struct daemon *d = &s->daemon;
    uint64_t since = d->thaw_at > d->started_at ? d->thaw_at : d->started_at;
    for (const struct conn *c = s->conns; c; c = c->next)
        must(s,
             !c->owes || !c->open_d || c->life != d->life || c->hole_w || s->now < since ||
                 check_attempt(s, c->proc->job, c->owes_in)->rewound ||
                 c->owes_in != c->proc->job->store.attempts ||
                 s->now < c->owes_since + TOLD_SLACK || may_have_a_gap(s, c->proc->job),
             "%s has come back, and is not told that round %" PRIu64 " is complete",
             proc_name(c->proc), c->owes);
    uint64_t handed = s->store.handed_at;
    if (!d->up || s->now < d->thaw_at) return;
    if (handed && handed < since) handed = since;
    must(s, !handed || s->now <= handed + STORE_LIMIT,
         "the store does not answer, and the daemon goes on");
}
