/* The promises, checked from the history: what was told to whom, what was handed to the store, what
 * was delivered. docs/simulation.md lists them. */
#include <inttypes.h>
#include <stdio.h>

#include "tests/sim/sim.h"

#define DEADLINE_SLACK (60 * MS)
#define STORE_LIMIT (450 * MS)
#define STANDING_SLACK (60 * MS)

struct attempt *check_attempt(struct sim *s, uint64_t number)
{
    for (struct attempt *a = s->attempts; a; a = a->next)
        if (a->number == number) return a;
    struct attempt *a = sim_alloc(s, sizeof *a);
    a->number = number;
    a->next = s->attempts;
    s->attempts = a;
    return a;
}

struct round *check_round(struct sim *s, uint64_t number)
{
    for (struct round *r = s->rounds; r; r = r->next)
        if (r->number == number) return r;
    return NULL;
}

/* A round's number is seen for the first time, or belongs to the same round as before. */
static struct round *learn_round(struct sim *s, uint64_t number, uint64_t attempt,
                                 const char *where)
{
    struct round *r = check_round(s, number);
    if (r) {
        must(s, r->attempt == attempt && r->life == s->daemon.life,
             "round id %" PRIu64 " is issued twice: in attempt %" PRIu64
             " and, by %s, in attempt %" PRIu64,
             number, r->attempt, where, attempt);
        return r;
    }
    must(s, number && number <= s->store.reserved,
         "round id %" PRIu64 " is issued, reserved are ids up to %" PRIu64, number,
         s->store.reserved);
    r = sim_alloc(s, sizeof *r);
    *r = (struct round){.next = s->rounds,
                        .number = number,
                        .attempt = attempt,
                        .life = s->daemon.life,
                        .begun = s->now};
    s->rounds = r;
    return r;
}

/* ---- what the daemon says */

static void sent_start(struct sim *s, struct tide_bytes content, const uint64_t *sessions,
                       uint32_t n)
{
    Tide__Part *part = tide__part__unpack(NULL, content.len, content.data);
    must(s, part && part->count == 1, "a Start that is not one Part");
    Tide__Start *m = tide__start__unpack(NULL, part->data.len, part->data.data);
    must(s, m && m->token, "a Start that cannot be parsed, or without token");
    uint64_t number = m->token->attempt, external = m->token->external, snapshot = m->snapshot;
    bool deliver_only = m->deliver_only;
    struct directory *dir = files_find(s, (const char *)m->directory.data, m->directory.len);
    must(s, deliver_only || (dir && dir->exists),
         "Start of attempt %" PRIu64 " is sent before its directory is made", number);
    tide__start__free_unpacked(m, NULL);
    tide__part__free_unpacked(part, NULL);
    struct attempt *a = check_attempt(s, number);
    must(s, a->row, "Start of attempt %" PRIu64 " is sent before its row is durable", number);
    must(s, number == s->store.attempts,
         "Start of attempt %" PRIu64 " is sent, the newest is %" PRIu64, number, s->store.attempts);
    must(s, external == a->external,
         "attempt %" PRIu64 " is told the number %" PRIu64 ", its row says %" PRIu64, number,
         external, a->external);
    must(s, deliver_only || snapshot == a->restored_from,
         "attempt %" PRIu64 " restores %" PRIu64 ", its row says %" PRIu64, number, snapshot,
         a->restored_from);
    must(s, deliver_only || snapshot >= s->newest_published,
         "attempt %" PRIu64 " restores snapshot %" PRIu64 ", and round %" PRIu64
         " has published its effects",
         number, snapshot, s->newest_published);
    const struct d_snapshot *d = snapshot ? store_snapshot(s, snapshot) : NULL;
    must(s, !snapshot || (d && d->state == TIDE_RETAINED),
         "attempt %" PRIu64 " restores %" PRIu64 ", which is not retained", number, snapshot);
    must(s, !(s->daemon.resume && number != s->daemon.resume_attempt),
         "attempt %" PRIu64 " starts, and all of %" PRIu64 " were there to go on", number,
         s->daemon.resume_attempt);
    for (struct proc *p = s->procs; p; p = p->next) {
        uint64_t stamp, has = p->alive ? tide_session_attempt(p->session) : 0;
        if (!has || has >= number) continue;
        must(s, tide_session_token(p->session, proc_now(s, p), &stamp) != 0,
             "attempt %" PRIu64 " starts while w%u/%u, of attempt %" PRIu64
             ", still believes its lease",
             number, p->slot, p->pid, has);
    }
    for (uint32_t i = 0; i < n; i++) {
        struct conn *c = net_find(s, sessions[i]);
        for (uint32_t t = 0; c && c->proc && t < s->flow.tasks; t++)
            if (c->proc->task[t])
                must(s, a->member_pid[t] == c->proc->pid || !a->member[t],
                     "Start of attempt %" PRIu64 " goes to w%u/%u, its row names pid %u", number,
                     c->proc->slot, c->proc->pid, a->member_pid[t]);
    }
    note(s, "daemon: Start of attempt %" PRIu64 " from %" PRIu64, number, snapshot);
}

static void sent_trigger(struct sim *s, struct tide_bytes content)
{
    Tide__Trigger *m = tide__trigger__unpack(NULL, content.len, content.data);
    must(s, m, "a Trigger that cannot be parsed");
    struct tide_bytes dir = sim_bytes(s, (struct tide_bytes){m->directory.data, m->directory.len});
    uint64_t number = m->round, attempt = m->attempt, left = m->left_ms * (uint64_t)MS;
    tide__trigger__free_unpacked(m, NULL);
    struct round *r = learn_round(s, number, attempt, "a Trigger");
    must(s, !r->told_complete && !r->told_abort,
         "round %" PRIu64 " is triggered after its end was told", number);
    must(s, attempt == s->store.attempts && check_attempt(s, attempt)->row,
         "round %" PRIu64 " is triggered in attempt %" PRIu64
         ", the newest in the store is %" PRIu64,
         number, attempt, s->store.attempts);
    if (!r->triggered) {
        r->begun = s->now;
        r->left_us = left;
        note(s, "daemon: Trigger of round %" PRIu64 " into %.*s", number, (int)dir.len,
             (const char *)dir.data);
    }
    r->triggered = true;
}

static void sent_complete(struct sim *s, struct tide_bytes content)
{
    Tide__Complete *m = tide__complete__unpack(NULL, content.len, content.data);
    must(s, m, "a Complete that cannot be parsed");
    uint64_t number = m->round;
    tide__complete__free_unpacked(m, NULL);
    struct round *r = check_round(s, number);
    must(s, r && store_snapshot(s, number),
         "Complete of round %" PRIu64 " is sent, and its row is not durable", number);
    must(s, !r->told_abort, "round %" PRIu64 " is told complete after it was told aborted", number);
    /* what is owed from before the attempt has its effects before those of the attempt */
    for (const struct d_owed *o = s->store.owed;
         store_snapshot(s, number)->kind == TIDE_CHECKPOINT && o; o = o->next)
        must(s,
             o->round > check_attempt(s, s->store.attempts)->restored_from || o->round == number ||
                 !check_owed(s, o),
             "Complete of round %" PRIu64 " is sent while round %" PRIu64
             " is owed from before the attempt",
             number, o->round);
    if (!r->told_complete) note(s, "daemon: Complete of round %" PRIu64, number);
    r->told_complete = true;
}

static void sent_abort(struct sim *s, struct tide_bytes content)
{
    Tide__Abort *m = tide__abort__unpack(NULL, content.len, content.data);
    must(s, m, "an Abort that cannot be parsed");
    uint64_t number = m->round;
    int code = (int)m->code;
    tide__abort__free_unpacked(m, NULL);
    struct round *r = check_round(s, number);
    must(s, !store_snapshot(s, number),
         "round %" PRIu64 " is told aborted, and its snapshot is durable", number);
    if (!r) return;
    must(s, !r->told_complete, "round %" PRIu64 " is told aborted after it was told complete",
         number);
    must(s, !r->handed || r->life != s->daemon.life,
         "round %" PRIu64 " is told aborted while its commit is with the store", number);
    if (!r->told_abort) note(s, "daemon: Abort of round %" PRIu64 ", code %d", number, code);
    r->told_abort = r->over = true;
}

static void sent_rewind(struct sim *s, struct tide_bytes content)
{
    Tide__Rewind *m = tide__rewind__unpack(NULL, content.len, content.data);
    must(s, m, "a Rewind that cannot be parsed");
    uint64_t number = m->attempt;
    char why[100];
    snprintf(why, sizeof why, "%.*s", (int)m->reason.len, (const char *)m->reason.data);
    tide__rewind__free_unpacked(m, NULL);
    note(s, "daemon: Rewind of attempt %" PRIu64 ": %s", number, why);
    check_attempt(s, number)->rewound = true;
    must(s, !(s->daemon.resume && number == s->daemon.resume_attempt),
         "attempt %" PRIu64 " is rewound (%s), and all of it were there to go on", number, why);
}

static void sent_run(struct sim *s, struct tide_bytes content)
{
    Tide__Run *m = tide__run__unpack(NULL, content.len, content.data);
    must(s, m, "a Run that cannot be parsed");
    uint64_t number = m->attempt;
    tide__run__free_unpacked(m, NULL);
    for (uint32_t t = 0; t < s->flow.tasks; t++)
        must(s, check_attempt(s, number)->restored >> t & 1,
             "Run of attempt %" PRIu64 ", and %s has not restored", number, task_name(s, t));
}

static void sent_joined(struct sim *s, struct tide_bytes content)
{
    Tide__Joined *m = tide__joined__unpack(NULL, content.len, content.data);
    must(s, m, "a Joined that cannot be parsed");
    uint64_t lease = m->lease_ms * (uint64_t)MS;
    tide__joined__free_unpacked(m, NULL);
    must(s, lease <= s->store.lease_us,
         "a lease of %" PRIu64 " us is granted, durable is one of %" PRIu64, lease,
         s->store.lease_us);
}

void check_sent(struct sim *s, struct tide_bytes frames, const uint64_t *sessions, uint32_t n)
{
    struct conn *c = n ? net_find(s, sessions[0]) : NULL;
    if (!c || !c->proc) return; /* an admin */
    while (frames.len > TIDE_FRAME_HEADER) {
        struct tide_bytes content,
            body = {frames.data + TIDE_FRAME_HEADER, tide_get_u32(frames.data)};
        switch (tide_frame_peek(body, &content)) {
        case 3: sent_joined(s, content); break;
        case 6: sent_start(s, content, sessions, n); break;
        case 7:
            sent_run(s, content);
            for (uint32_t i = 0; i < n; i++)
                if (net_find(s, sessions[i])) net_find(s, sessions[i])->running = true;
            break;
        case 8: s->stats->resumed++; break;
        case 9: sent_trigger(s, content); break;
        case 10: sent_complete(s, content); break;
        case 11: sent_abort(s, content); break;
        case 12: sent_rewind(s, content); break;
        case 15:
            must(s, tide_job_ended(s->store.state), "Stop is sent, and the job is %s in the store",
                 tide_job_state_name(s->store.state));
            s->job_over = true;
            break;
        default: break;
        }
        frames.data += TIDE_FRAME_HEADER + body.len;
        frames.len -= TIDE_FRAME_HEADER + body.len;
    }
}

/* ---- what the daemon hands to the store */

void check_handed(struct sim *s, const struct tide_commit *c)
{
    for (const struct tide_record *r = c->first; r; r = r->next) {
        struct round *round;
        switch (r->type) {
        case TIDE_REC_ROUND_BEGIN:
            learn_round(s, r->round.number, r->round.attempt, "its begin record");
            break;
        case TIDE_REC_ROUND_END:
            round = check_round(s, r->round.number);
            if (!round || r->round.complete) break;
            must(s, !round->handed || round->life != s->daemon.life,
                 "round %" PRIu64 " is recorded as aborted while its completion is with the store",
                 round->number);
            round->over = true;
            break;
        case TIDE_REC_SNAPSHOT:
            round = check_round(s, r->snapshot.round);
            must(s, round, "a snapshot of round %" PRIu64 ", which was never begun",
                 r->snapshot.round);
            must(s, !round->over, "round %" PRIu64 " is to be complete, and was aborted",
                 round->number);
            round->handed = true;
            break;
        default: break;
        }
    }
}

/* ---- what workers do and hear */

void check_acked(struct sim *s, struct task *t, uint64_t attempt, uint64_t round,
                 const struct state *st, struct part *const *parts, uint32_t n_parts)
{
    struct round *r = check_round(s, round);
    must(s, r && r->attempt == attempt,
         "%s acks round %" PRIu64 " of attempt %" PRIu64 ", which was never begun",
         task_name(s, t->number), round, attempt);
    struct told_state *told = r->task[t->number];
    must(s, !told, "%s acks round %" PRIu64 " twice", task_name(s, t->number), round);
    told = r->task[t->number] = sim_alloc(s, sizeof *told);
    told->acked = true;
    told->by = t->proc;
    told->state = *st;
    told->n_parts = n_parts;
    for (uint32_t i = 0; i < n_parts; i++)
        told->parts[i] = parts[i];
}

void check_delivery(struct sim *s, struct proc *p, const struct tide_delivery *d)
{
    const struct round *r;
    uint64_t stamp;
    switch (d->type) {
    case TIDE_DO_RESTORE:
        p->told_rewind = false;
        must(s, tide_session_token(p->session, proc_now(s, p), &stamp) == 0,
             "%s is to restore without a lease", task_name(s, d->task));
        break;
    case TIDE_DO_REWIND:
        must(s, p->told_rewind, "w%u/%u rewinds, and nobody told it to", p->slot, p->pid);
        break;
    case TIDE_DO_COMPLETE:
        r = check_round(s, d->round);
        must(s, store_snapshot(s, d->round),
             "%s hears complete of round %" PRIu64 ", which is not durable", task_name(s, d->task),
             d->round);
        must(s, !r->told_abort, "%s hears complete of round %" PRIu64 ", which was aborted",
             task_name(s, d->task), d->round);
        must(s,
             tide_session_token(p->session, proc_now(s, p), &stamp) == 0 ||
                 tide_job_ended(s->store.state),
             "%s hears complete without a lease", task_name(s, d->task));
        break;
    case TIDE_DO_ABORT:
        must(s, !store_snapshot(s, d->round),
             "%s hears abort of round %" PRIu64 ", which is durable", task_name(s, d->task),
             d->round);
        break;
    case TIDE_DO_STOP:
        must(s, tide_job_ended(s->store.state), "w%u/%u is stopped, and the job has not ended",
             p->slot, p->pid);
        break;
    default: break;
    }
}

/* What a task restores is what the snapshot holds of it; what a sink has not published is owed to
 * it. */
void check_restored(struct sim *s, struct task *t, const struct tide_delivery *d,
                    const struct state *st)
{
    uint64_t n = d->start->snapshot;
    const struct d_snapshot *snapshot = n ? store_snapshot(s, n) : NULL;
    must(s, !n || snapshot, "%s restores snapshot %" PRIu64 ", which does not exist",
         task_name(s, t->number), n);
    bool ended = snapshot && snapshot->ended_mask >> t->number & 1;
    must(s, d->task_ended == ended, "%s is told that it had %s", task_name(s, t->number),
         d->task_ended ? "ended, and it had not" : "not ended, and it had");
    if (ended) return;
    struct state fresh = {.task = t->number};
    const struct state *want = snapshot ? &snapshot->task[t->number] : &fresh;
    must(s, !memcmp(want, st, sizeof *st),
         "%s restores a state that is not its own in snapshot %" PRIu64, task_name(s, t->number),
         n);
    if (!s->flow.task[t->number].sink) return;
    record_set covered = {0};
    for (struct part *p = s->parts; p; p = p->next) {
        if (p->task != t->number) continue;
        bool owed = false;
        for (size_t o = 0; d->restore && o < d->restore->n_owed; o++)
            for (size_t i = 0; i + 4 <= d->restore->owed[o]->handle.len; i += 4)
                owed = owed || tide_get_u32(d->restore->owed[o]->handle.data + i) == p->id;
        if (p->state == PART_PUBLISHED || owed) set_add(&covered, &p->records);
    }
    must(s, !memcmp(&covered, &st->seen, sizeof covered),
         "%s restores %u records from snapshot %" PRIu64 ", of which %u are published or owed",
         task_name(s, t->number), set_count(&st->seen), n, set_count(&covered));
}

void check_publish(struct sim *s, struct task *t, struct part *p, const struct tide_delivery *d)
{
    must(s, p->task == t->number, "%s publishes a part of %s", task_name(s, t->number),
         task_name(s, p->task));
    uint64_t round = d->round;
    must(s, d->attempt == s->store.attempts,
         "%s of attempt %" PRIu64 " publishes in attempt %" PRIu64, task_name(s, t->number),
         d->attempt, s->store.attempts);
    must(s, p->state != PART_DROPPED, "%s publishes part %u, which was dropped",
         task_name(s, t->number), p->id);
    must(s, p->round <= round, "%s publishes part %u of round %" PRIu64 " for round %" PRIu64,
         task_name(s, t->number), p->id, p->round, round);
    if (p->state == PART_PUBLISHED) return;
    must(s, !set_overlap(&s->published, &p->records),
         "%s publishes records a second time, in part %u", task_name(s, t->number), p->id);
    must(s, round >= s->last_effect[t->number],
         "%s publishes for round %" PRIu64 " after round %" PRIu64, task_name(s, t->number), round,
         s->last_effect[t->number]);
    s->last_effect[t->number] = round;
    p->state = PART_PUBLISHED;
    set_add(&s->published, &p->records);
    s->stats->published++;
    if (round > s->newest_published) s->newest_published = round;
}

/* ---- crash and return */

/* The attempt must go on whatever happens to the daemon, if nothing else goes wrong: all of its
 * workers compute and hold it, and can be reached. */
void check_steady(struct sim *s, bool attached)
{
    struct daemon *d = &s->daemon;
    uint64_t number = s->store.attempts;
    struct attempt *a = check_attempt(s, number);
    d->resume_attempt = number;
    d->resume = number && s->store.last.running && !s->store.last.ended && !a->rewound &&
                s->store.state == TIDE_JOB_RUNNING && s->now >= s->lag_until;
    for (uint32_t t = 0; d->resume && t < s->flow.tasks; t++) {
        bool there = false;
        for (struct proc *p = s->procs; p; p = p->next)
            there =
                there || (p->alive && !p->over && s->now >= p->thaw_at && s->now >= p->busy_until &&
                          s->now >= p->dark_until && p->pid == a->member_pid[t] && p->conn &&
                          p->conn->open_w && !p->conn->hole_w && !p->conn->hole_d && p->task[t] &&
                          p->task[t]->running && p->task[t]->attempt == number &&
                          (!attached || p->conn->running));
        d->resume = there;
    }
}

void check_crashed(struct sim *s)
{
    for (struct round *r = s->rounds; r; r = r->next)
        if (r->life == s->daemon.life) r->over = true;
    check_steady(s, false);
}

/* ---- now and then */

/* No task stands still for an absent daemon, nor for a round whose time is over. */
static void check_standing(struct sim *s, const struct proc *p, const struct task *t)
{
    const Tide__Checkpointing *cp = &s->checkpointing;
    uint64_t from = t->blocked_since, orphan = cp->orphan_limit_ms * (uint64_t)MS;
    if (from < p->thaw_at) from = p->thaw_at;
    if (from < t->wedged_until) from = t->wedged_until;
    if (from < p->busy_until) from = p->busy_until;
    /* without a trigger it learns by its heartbeats that it is cut off */
    uint64_t most = (cp->deadline_ms + cp->lease_ms / 2 + cp->heartbeat_ms) * (uint64_t)MS + orphan;
    must(s, s->now <= from + most + STANDING_SLACK,
         "%s has stood still for longer than any round may last", task_name(s, t->number));
    if (p->conn) return;
    if (from < p->cut_at) from = p->cut_at;
    must(s, s->now <= from + orphan + STANDING_SLACK,
         "%s stands still, cut off for longer than the orphan limit", task_name(s, t->number));
}

void check_tick(struct sim *s)
{
    for (const struct proc *p = s->procs; p; p = p->next)
        for (uint32_t i = 0; p->alive && !p->over && s->now >= p->thaw_at &&
                             s->now >= p->busy_until && i < s->flow.tasks;
             i++)
            if (p->task[i] && p->task[i]->running && p->task[i]->blocked && !p->task[i]->ended)
                check_standing(s, p, p->task[i]);
    struct daemon *d = &s->daemon;
    uint64_t since = d->thaw_at > d->started_at ? d->thaw_at : d->started_at;
    if (!d->up || s->now < d->thaw_at) return;
    for (struct round *r = s->rounds; r; r = r->next) {
        if (!r->triggered || r->over || r->handed || r->life != d->life) continue;
        uint64_t end = r->begun + r->left_us;
        if (end < since) end = since;
        must(s, s->now <= end + DEADLINE_SLACK,
             "round %" PRIu64 " is past its deadline, neither aborted nor with the store",
             r->number);
    }
    uint64_t handed = s->store.handed_at;
    if (handed && handed < since) handed = since;
    must(s, !handed || s->now <= handed + STORE_LIMIT,
         "the store does not answer, and the daemon goes on");
}

/* Why the history may not end yet, for people. */
static bool not_yet(struct sim *s, const char *why)
{
    s->waits_for = why;
    return false;
}

static bool effects_done(struct sim *s)
{
    for (const struct d_snapshot *d = s->store.snapshots; d; d = d->next) {
        if (d->kind != TIDE_SAVEPOINT || s->files.unpublished)
            continue; /* that waits for a restart */
        struct directory *dir = files_find(s, (const char *)d->directory.data, d->directory.len);
        must(s, dir && dir->exists, "savepoint %" PRIu64 " is retained, its directory is gone",
             d->round);
        if (!dir->published) return not_yet(s, "a savepoint's _metadata is not in its place");
    }
    for (const struct d_snapshot *d = s->store.snapshots; d; d = d->next) {
        const struct round *r = check_round(s, d->round);
        if (d->kind == TIDE_SAVEPOINT) continue;
        for (uint32_t t = 0; t < s->flow.tasks; t++) {
            const struct told_state *told = r->task[t];
            for (uint32_t i = 0; told && i < told->n_parts; i++)
                if (told->parts[i]->state == PART_PENDING)
                    return not_yet(s, "a completed round has not had its effects");
        }
    }
    return true;
}

/* Done: the job is finished and everybody gone, or a checkpoint that began after the last fault has
 * had its effects. */
bool check_lively(struct sim *s)
{
    static const char stop_failed[] = "the last snapshot is good, the stop failed";
    if (s->store.state == TIDE_JOB_HELD) {
        bool known = s->store.cause.len > sizeof stop_failed &&
                     !memcmp(s->store.cause.data, stop_failed, sizeof stop_failed - 1);
        must(s, known, "the job is HELD: %.*s", (int)s->store.cause.len,
             (const char *)s->store.cause.data);
        s->stats->held++;
        return true;
    }
    if (!s->calm) return false;
    if (s->flow.finite || s->store.state == TIDE_JOB_FINISHED) {
        for (struct proc *p = s->procs; p; p = p->next)
            if (p->alive && s->current[p->slot] == p)
                return not_yet(s, "workers were not told of the end of the job");
        return (s->store.state == TIDE_JOB_FINISHED || not_yet(s, "the job is not finished")) &&
               effects_done(s);
    }
    for (const struct d_snapshot *d = s->store.snapshots; d; d = d->next)
        if (d->kind == TIDE_CHECKPOINT && check_round(s, d->round)->begun > s->calm_since &&
            s->now > d->durable_at + 100 * MS)
            return effects_done(s);
    return not_yet(s, "no new checkpoint has completed");
}

void check_end(struct sim *s)
{
    if (s->store.state != TIDE_JOB_FINISHED) return;
    s->stats->finished++;
    for (const struct d_owed *o = s->store.owed; o; o = o->next)
        must(s, !check_owed(s, o) && s->store.dropped,
             "the job is finished and commits are still owed");
    for (uint32_t i = 0; i < s->flow.sources; i++)
        for (uint32_t n = 0; n < s->flow.records; n++)
            must(s, set_has(&s->published, i, n),
                 "the job is finished, record %u of source %u was never published", n, i);
}
