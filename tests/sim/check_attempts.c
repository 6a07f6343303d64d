/* Promises about attempts: who may hold one, what it starts from, and that it goes on when nothing
 * but the daemon was away. */
#include "tests/sim/sim.h"

/* ---- regions: who has nothing to do with the lost goes on */

bool check_survives(const struct attempt *a, const struct proc *p)
{
    for (uint32_t t = 0; t < TASKS_MAX; t++)
        if (p->task[t] && a->member[t] && a->member_pid[t] == p->pid)
            return a->since[t] != a->number;
    return false;
}

/* As far as it can know itself, it has what the newest attempt needs of it. */
static bool is_healthy(struct sim *s, const struct attempt *a, const struct proc *p)
{
    uint64_t stamp;
    if (!p->alive || p->over || p->stale || p->part_failed) return false;
    if (tide_session_token(p->session, proc_now(s, p), &stamp) ||
        tide_session_attempt(p->session) != a->number)
        return false;
    for (uint32_t t = 0; t < TASKS_MAX; t++)
        if (p->task[t] && (!p->task[t]->running || a->member_pid[t] != p->pid)) return false;
    return true;
}

/* The tasks that edges, or a worker in common, connect with those. */
static uint32_t connected(const struct job *j, const struct attempt *a, uint32_t tasks)
{
    for (uint32_t before = 0; before != tasks;) {
        before = tasks;
        for (uint32_t c = 0; c < j->flow.channels; c++) {
            uint32_t ends = 1u << j->flow.channel[c].from | 1u << j->flow.channel[c].to;
            if (tasks & ends) tasks |= ends;
        }
        for (uint32_t t = 0; t < j->flow.tasks; t++)
            for (uint32_t u = 0; tasks >> t & 1 && u < j->flow.tasks; u++)
                if (a->member_pid[t] == a->member_pid[u]) tasks |= 1u << u;
        /* who has a coordinator goes back with whom it lives with */
        for (uint32_t t = 0; t < j->flow.tasks; t++)
            for (uint32_t u = 0; tasks >> t & 1 && u < j->flow.tasks; u++)
                if (j->flow.task[t].op == j->externals.op && j->slot_of[u] == j->externals.slot)
                    tasks |= 1u << u;
    }
    return tasks;
}

/* Whether somebody whom its tasks depend on may be lost, or something else than a loss may have
 * ended the attempt of all. */
static bool may_rewind(struct sim *s, struct job *j, const struct attempt *a, const struct proc *p)
{
    uint32_t tasks = 0;
    if (!j->checkpointing.regional || j->checkpointing.failures_max ||
        j->checkpointing.attempts_max || j->ordered || j->old || j->misread || p->stale ||
        j->settled != s->daemon.life || j->store.state >= TIDE_JOB_STOPPING ||
        s->daemon.asked_down) /* a region that is not there again by then ends it for all anyway */
        return true;
    for (const struct round *r = j->rounds; r; r = r->next) /* the last one of all, perhaps */
        if (r->handed && !r->told_complete && !r->over) return true;
    for (uint32_t t = 0; t < j->flow.tasks; t++)
        if (p->task[t]) tasks |= 1u << t;
    tasks = connected(j, a, tasks);
    for (uint32_t t = 0; t < j->flow.tasks; t++) {
        bool healthy = false;
        for (const struct proc *q = tasks >> t & 1 ? j->procs : NULL; q && !healthy; q = q->next)
            healthy = q->task[t] && is_healthy(s, a, q);
        if (tasks >> t & 1 && !healthy) return true;
    }
    return false;
}

static void region_check_rewind(struct sim *s, struct job *j, const struct proc *p, uint64_t number,
                                const char *why)
{
    const struct attempt *a = check_attempt(s, j, j->store.attempts);
    if (number != a->number || !a->row) return;
    must(s, may_rewind(s, j, a, p),
         "%s is rewound (%s), and everybody whom its tasks have to do with is there", proc_name(p),
         why);
}

void check_sent_advance(struct sim *s, struct job *j, struct tide_bytes content,
                        const uint64_t *sessions, uint32_t n)
{
    Tide__Advance *m = tide__advance__unpack(NULL, content.len, content.data);
    must(s, m && m->token, "an Advance that cannot be parsed, or without token");
    uint64_t number = m->token->attempt, from = m->from, snapshot = m->snapshot;
    uint32_t rewound = 0;
    for (size_t i = 0; i < m->n_rewound; i++)
        for (uint32_t t = 0; t < m->rewound[i]->count; t++)
            rewound |= 1u << (m->rewound[i]->first + t);
    tide__advance__free_unpacked(m, NULL);
    const struct attempt *a = check_attempt(s, j, number);
    must(s, a->row && number == j->store.attempts && from < number,
         "Advance from attempt %" PRIu64 " to %" PRIu64 ", the newest durable one is %" PRIu64,
         from, number, j->store.attempts);
    must(s, snapshot == a->restored_from,
         "Advance says that snapshot %" PRIu64 " is restored, attempt %" PRIu64
         " restores %" PRIu64,
         snapshot, number, a->restored_from);
    for (uint32_t t = 0; t < j->flow.tasks; t++)
        must(s, (rewound >> t & 1) == (a->since[t] == number),
             "Advance to attempt %" PRIu64 " says that %s is %s", number, task_name(j, t),
             rewound >> t & 1 ? "rewound" : "not rewound");
    for (uint32_t i = 0; i < n; i++) {
        const struct conn *c = net_find(s, sessions[i]);
        must(s, !c || !c->proc || check_survives(a, c->proc) || c->proc->stale,
             "%s is to advance to attempt %" PRIu64 ", in which it is to be started",
             proc_name(c->proc), number);
    }
    s->stats->advances++;
}

/* A survivor has advanced: what it says from now on is of that attempt. */
void check_advanced(struct sim *s, struct proc *p, const struct tide_delivery *d)
{
    p->part_failed = false;
    for (uint32_t t = 0; t < TASKS_MAX; t++) {
        if (!p->task[t]) continue;
        must(s, p->task[t]->running || p->stale, "%s advances, and does not run",
             task_name(p->job, t));
        p->task[t]->attempt = d->attempt;
    }
    uint64_t stamp;
    if (p->stale) return; /* what it holds is not what the store knows, perhaps */
    if (tide_session_token(p->session, proc_now(s, p), &stamp)) return;
    happens(s, (struct happening){.type = H_HOLDS,
                                  .job = p->job->number,
                                  .worker = log_worker(p),
                                  .attempt = d->attempt});
}

/* Whether what the task publishes in that attempt is its own affair in the newest one, too. */
bool check_published_in(struct sim *s, const struct task *t, uint64_t attempt)
{
    struct job *j = t->proc->job;
    const struct attempt *a = check_attempt(s, j, j->store.attempts);
    return attempt == a->number ||
           (a->member_pid[t->number] == t->proc->pid && a->since[t->number] <= attempt &&
            a->since[t->number] != a->number);
}

void check_sent_start(struct sim *s, struct job *j, struct tide_bytes content,
                      const uint64_t *sessions, uint32_t n)
{
    Tide__Part *part = tide__part__unpack(NULL, content.len, content.data);
    must(s, part && part->count == 1, "a Start that is not one Part");
    Tide__Start *m = tide__start__unpack(NULL, part->data.len, part->data.data);
    must(s, m && m->token, "a Start that cannot be parsed, or without token");
    uint64_t number = m->token->attempt, external = m->token->external, snapshot = m->snapshot;
    bool deliver_only = m->deliver_only;
    struct tide_bytes in =
        sim_bytes(s, (struct tide_bytes){m->snapshot_directory.data, m->snapshot_directory.len});
    struct directory *dir = files_find(s, (const char *)m->directory.data, m->directory.len);
    must(s, deliver_only || (dir && dir->exists),
         "Start of attempt %" PRIu64 " is sent before its directory is made", number);
    tide__start__free_unpacked(m, NULL);
    tide__part__free_unpacked(part, NULL);
    old_check_sent(s, j, "Start");
    struct attempt *a = check_attempt(s, j, number);
    must(s, a->row, "Start of attempt %" PRIu64 " is sent before its row is durable", number);
    must(s, number == j->store.attempts,
         "Start of attempt %" PRIu64 " is sent, the newest is %" PRIu64, number, j->store.attempts);
    must(s, external == a->external,
         "attempt %" PRIu64 " is told the number %" PRIu64 ", its row says %" PRIu64, number,
         external, a->external);
    must(s, deliver_only || snapshot == a->restored_from,
         "attempt %" PRIu64 " restores %" PRIu64 ", its row says %" PRIu64, number, snapshot,
         a->restored_from);
    must(s, deliver_only || check_origin_round(j, snapshot) >= j->newest_published,
         "attempt %" PRIu64 " restores snapshot %" PRIu64 ", and round %" PRIu64
         " has published its effects",
         number, snapshot, j->newest_published);
    const struct d_snapshot *d = snapshot ? store_snapshot(j, snapshot) : NULL;
    must(s, !snapshot || (d && d->state == TIDE_RETAINED),
         "attempt %" PRIu64 " restores %" PRIu64 ", which is not retained", number, snapshot);
    must(s, !snapshot || tide_bytes_equal(in, d->directory),
         "attempt %" PRIu64 " restores %" PRIu64 " from %.*s, and it lies in %.*s", number,
         snapshot, (int)in.len, (const char *)in.data, d ? (int)d->directory.len : 0,
         d ? (const char *)d->directory.data : "");
    must(s, !(j->resume && number != j->resume_attempt),
         "attempt %" PRIu64 " starts, and all of %" PRIu64 " were there to go on", number,
         j->resume_attempt);
    for (struct proc *p = j->procs; p; p = p->next) {
        uint64_t stamp, has = p->alive ? tide_session_attempt(p->session) : 0;
        if (!has || has >= number || p->stale || check_survives(a, p)) continue;
        must(s, tide_session_token(p->session, proc_now(s, p), &stamp) != 0,
             "attempt %" PRIu64 " starts while %s, of attempt %" PRIu64
             ", still believes its lease",
             number, proc_name(p), has);
    }
    for (uint32_t i = 0; i < n; i++) {
        struct conn *c = net_find(s, sessions[i]);
        for (uint32_t t = 0; c && c->proc && t < j->flow.tasks; t++)
            if (c->proc->task[t])
                must(s, a->member_pid[t] == c->proc->pid || !a->member[t],
                     "Start of attempt %" PRIu64 " goes to %s, its row names pid %u", number,
                     proc_name(c->proc), a->member_pid[t]);
    }
    log_attempt(s, j, H_START, number);
    note(s, "daemon: Start of attempt %" PRIu64 " from snapshot %" PRIu64, number, snapshot);
}

void check_sent_rewind(struct sim *s, struct job *j, struct tide_bytes content,
                       const uint64_t *sessions, uint32_t n)
{
    Tide__Rewind *m = tide__rewind__unpack(NULL, content.len, content.data);
    must(s, m, "a Rewind that cannot be parsed");
    uint64_t number = m->attempt;
    char why[100];
    snprintf(why, sizeof why, "%.*s", (int)m->reason.len, (const char *)m->reason.data);
    tide__rewind__free_unpacked(m, NULL);
    note(s, "daemon: Rewind of attempt %" PRIu64 ": %s", number, why);
    log_attempt(s, j, H_REWIND, number);
    check_attempt(s, j, number)->rewound = true;
    for (uint32_t i = 0; i < n; i++) {
        const struct conn *c = net_find(s, sessions[i]);
        if (c && c->proc) region_check_rewind(s, j, c->proc, number, why);
    }
    must(s, !(j->resume && number == j->resume_attempt),
         "attempt %" PRIu64 " is rewound (%s), and all of it were there to go on", number, why);
}

void check_sent_run(struct sim *s, struct job *j, struct tide_bytes content)
{
    Tide__Run *m = tide__run__unpack(NULL, content.len, content.data);
    must(s, m, "a Run that cannot be parsed");
    uint64_t number = m->attempt;
    tide__run__free_unpacked(m, NULL);
    for (uint32_t t = 0; t < j->flow.tasks; t++)
        must(s, check_attempt(s, j, number)->restored >> t & 1,
             "Run of attempt %" PRIu64 ", and %s has not restored", number, task_name(j, t));
    log_attempt(s, j, H_RUN, number);
}

void check_sent_joined(struct sim *s, struct tide_bytes content)
{
    Tide__Joined *m = tide__joined__unpack(NULL, content.len, content.data);
    must(s, m, "a Joined that cannot be parsed");
    uint64_t lease = m->lease_ms * (uint64_t)MS;
    tide__joined__free_unpacked(m, NULL);
    must(s, lease <= s->store.lease_us,
         "a lease of %" PRIu64 " us is granted, durable is one of %" PRIu64, lease,
         s->store.lease_us);
}

/* ---- its row */

void check_attempt_row(struct sim *s, struct job *j, const struct tide_record *r)
{
    struct attempt *a = check_attempt(s, j, r->attempt.attempt);
    a->row = true;
    a->external = r->attempt.external;
    a->incarnation = r->attempt.incarnation;
    a->restored_from = r->attempt.restored_from;
    s->stats->attempts++;
    must(s, a->restored_from == base_expected(j),
         "attempt %" PRIu64 " restores %" PRIu64 ", it has to restore %" PRIu64, a->number,
         a->restored_from, base_expected(j));
    base_restored(s, j, a->restored_from);
    for (uint32_t i = 0; i < r->attempt.n_members; i++) {
        const struct tide_member *m = &r->attempt.members[i];
        for (uint32_t k = 0; k < m->n_ranges; k++)
            for (uint32_t t = m->ranges[2 * k]; t < m->ranges[2 * k] + m->ranges[2 * k + 1]; t++) {
                must(s, t < j->flow.tasks && !a->member[t], "attempt %" PRIu64 " has task %u twice",
                     a->number, t);
                a->member[t] = true;
                a->member_pid[t] = m->pid;
                a->member_start[t] = m->start_time;
                a->since[t] = m->since ? m->since : a->number;
                a->from[t] = check_attempt(s, j, a->since[t])->restored_from;
                if (!m->since) continue;
                must(s, j->checkpointing.regional && m->since < a->number,
                     "attempt %" PRIu64 " has %s as started in attempt %" PRIu64, a->number,
                     task_name(j, t), m->since);
                must(s, check_attempt(s, j, m->since)->member_pid[t] == m->pid,
                     "attempt %" PRIu64 " has another process for %s than attempt %" PRIu64
                     ", in which it was started",
                     a->number, task_name(j, t), m->since);
                a->restored |= 1u << t;
            }
    }
    /* one that only delivers what is owed, after the end of all tasks, needs no others */
    for (uint32_t t = 0; t < j->flow.tasks && j->store.state != TIDE_JOB_STOPPING; t++)
        must(s, a->member[t], "attempt %" PRIu64 " begins without %s", a->number, task_name(j, t));
}

/* ---- what its tasks restore */

bool check_named(const struct job *j, uint64_t snapshot, const struct part *p)
{
    uint64_t number = check_origin_round(j, snapshot);
    const struct round *r = number ? j->rounds : NULL; /* one that an old copy knows not, perhaps */
    while (r && r->number != number)
        r = r->next;
    const struct told_state *told = r ? r->task[p->task] : NULL;
    for (uint32_t i = 0; told && i < told->n_parts; i++)
        if (told->parts[i] == p) return true;
    return false;
}

/* What a task restores is what the snapshot holds of it; what a sink has not published is owed to
 * it. */
void check_restored(struct sim *s, struct task *t, const struct tide_delivery *d,
                    const struct state *st, const struct flights *flights)
{
    struct job *j = t->proc->job;
    if (t->proc->stale) return;
    uint64_t n = d->start->snapshot;
    const struct d_snapshot *snapshot = n ? store_snapshot(j, n) : NULL;
    must(s, !n || snapshot, "%s restores snapshot %" PRIu64 ", which does not exist",
         task_name(j, t->number), n);
    bool ended = snapshot && snapshot->ended_mask >> t->number & 1;
    must(s, d->task_ended == ended, "%s is told that it had %s", task_name(j, t->number),
         d->task_ended ? "ended, and it had not" : "not ended, and it had");
    must(s, flights_equal(flights, snapshot ? snapshot->flights[t->number] : NULL),
         "%s restores other records in flight than snapshot %" PRIu64 " has of it",
         task_name(j, t->number), n);
    if (ended) return;
    struct state fresh = {.task = t->number};
    const struct state *want = snapshot ? &snapshot->task[t->number] : &fresh;
    must(s, !memcmp(want, st, sizeof *st),
         "%s restores a state that is not its own in snapshot %" PRIu64, task_name(j, t->number),
         n);
    if (!j->flow.task[t->number].sink) return;
    record_set covered = {0};
    for (struct part *p = j->parts; p; p = p->next) {
        if (p->task != t->number) continue;
        bool owed = false;
        for (size_t o = 0; d->restore && o < d->restore->n_owed; o++)
            for (size_t i = 0; i + 4 <= d->restore->owed[o]->handle.len; i += 4)
                owed = owed || tide_get_u32(d->restore->owed[o]->handle.data + i) == p->id;
        /* what it had pre-committed for a savepoint stands in its state, to be published later */
        const struct d_snapshot *of = check_origin(j, snapshot);
        bool kept = of && of->kind == TIDE_SAVEPOINT && !of->commits && p->state == PART_PENDING &&
                    check_named(j, n, p); /* not one of a process that woke too late */
        if (p->state == PART_PUBLISHED || owed || kept) set_add(&covered, &p->records);
    }
    must(s, !memcmp(&covered, &st->seen, sizeof covered),
         "%s restores %u records from snapshot %" PRIu64 ", of which %u are published or owed",
         task_name(j, t->number), set_count(&st->seen), n, set_count(&covered));
}

/* ---- crash and return */

/* The attempt must go on whatever happens to the daemon, if nothing else goes wrong: all of its
 * workers compute and hold it, and can be reached. */
static void steady(struct sim *s, struct job *j, bool attached)
{
    uint64_t number = j->store.attempts;
    struct attempt *a = check_attempt(s, j, number);
    j->resume_attempt = number;
    /* with a tolerance for failures, the rounds that time out end it */
    j->resume = number && !j->ordered && !j->checkpointing.failures_max && j->store.last.running &&
                !j->store.last.ended && !a->rewound && !a->event_lost &&
                j->store.state == TIDE_JOB_RUNNING && s->now >= s->lag_until;
    for (uint32_t t = 0; j->resume && t < j->flow.tasks; t++) {
        bool there = false;
        for (struct proc *p = j->procs; p; p = p->next)
            there =
                there || (p->alive && !p->over && s->now >= p->thaw_at && s->now >= p->busy_until &&
                          s->now >= p->dark_until && p->pid == a->member_pid[t] && p->conn &&
                          p->conn->open_w && !p->conn->hole_w && !p->conn->hole_d && p->task[t] &&
                          p->task[t]->running && p->task[t]->attempt == number &&
                          (!attached || p->conn->running));
        j->resume = there;
    }
}

void check_steady(struct sim *s, bool attached)
{
    for (struct job *j = s->jobs; j; j = j->next)
        steady(s, j, attached);
}

void check_crashed(struct sim *s)
{
    for (struct job *j = s->jobs; j; j = j->next)
        for (struct round *r = j->rounds; r; r = r->next)
            if (r->life == s->daemon.life) r->over = true;
    check_steady(s, false);
}
