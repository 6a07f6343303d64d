/* What goes wrong, and when. Each history knows a few kinds of faults only, so that some run deep.
 */

#include "tests/sim/sim.h"

#define JOIN_ANSWER (30 * (uint64_t)SECOND)     /* that long a library waits for one */
#define ATTEMPT_BACKOFF (10 * (uint64_t)SECOND) /* the longest pause between two attempts */
#define CLEANING (66 * (uint64_t)SECOND)        /* the longest between two tries of a deletion */

/* Of any job that has trouble. */
static struct proc *any_proc(struct sim *s)
{
    uint32_t n = 0;
    for (struct job *j = s->jobs; j; j = j->next)
        for (struct proc *p = j->procs; p && !j->calm; p = p->next)
            n += p->alive;
    uint64_t at = below(s, n);
    for (struct job *j = s->jobs; j; j = j->next)
        for (struct proc *p = j->procs; p && !j->calm; p = p->next)
            if (p->alive && at-- == 0) return p;
    return NULL;
}

/* One that may have trouble; NULL: none may. */
static struct job *any_job(struct sim *s)
{
    uint32_t n = 0;
    for (struct job *j = s->jobs; j; j = j->next)
        n += !j->calm;
    uint64_t at = below(s, n);
    for (struct job *j = s->jobs; j; j = j->next)
        if (!j->calm && at-- == 0) return j;
    return NULL;
}

/* A worker stands still for a while; who supervises it may lose patience and start another. */
static void freeze(struct sim *s, struct proc *p)
{
    struct job *j = p->job;
    if (s->now < p->thaw_at) return;
    uint64_t lease = j->checkpointing.lease_ms * (uint64_t)MS;
    uint64_t takes = percent(s, 50) ? between(s, 20 * MS, lease) : between(s, lease, 3 * lease);
    proc_freeze(s, p, s->now + takes);
    if (j->current[p->slot] == p && percent(s, 60))
        sim_at(s, s->now + below(s, takes), proc_start, j, p->slot);
}

static void slow_store(struct sim *s)
{
    uint64_t until = s->now + between(s, 50 * MS, 700 * MS);
    uint64_t kind = below(s, 10);
    if (kind < 5)
        s->store.slow_until = until;
    else if (kind < 8)
        s->store.full_until = until;
    else
        s->store.stuck_until = until;
    note(s, "fault: the store is %s for %" PRIu64 " ms",
         kind < 5   ? "slow"
         : kind < 8 ? "full"
                    : "stuck",
         (until - s->now) / MS);
}

static void bad_files(struct sim *s)
{
    uint64_t until = s->now + between(s, 50 * MS, 1500 * MS);
    uint64_t kind = below(s, 4);
    uint64_t *which[] = {&s->files.slow_until, &s->files.failing_until, &s->files.full_until,
                         &s->files.deaf_until};
    *which[kind] = until;
    note(s, "fault: file lanes are %s for %" PRIu64 " ms",
         (const char *[]){"slow", "failing", "full", "deaf"}[kind], (until - s->now) / MS);
}

/* A savepoint with an alignment of its own, one of those that its job can have. Beside the other
 * draws, so that one kind of request more leaves the histories without it as they were. */
static void ask_alignment(const struct sim *s, const struct job *j, Tide__TriggerSavepoint *m)
{
    uint64_t hundred = ((s->seed * 4096 + s->order) * 0x9e3779b97f4a7c15u >> 32) % 100;
    Tide__Alignment own = j->checkpointing.alignment;
    if (j->program->meets || hundred < 30) return;
    m->how_case = TIDE__TRIGGER_SAVEPOINT__HOW_ALIGNMENT;
    m->alignment = own == TIDE__ALIGNMENT__ALIGN_AT_LEAST_ONCE ? TIDE__ALIGNMENT__ALIGN_ALIGNED
                   : own == TIDE__ALIGNMENT__ALIGN_TIMEOUT && hundred < 50
                       ? TIDE__ALIGNMENT__ALIGN_TIMEOUT
                       : TIDE__ALIGNMENT__ALIGN_UNALIGNED;
}

/* What changes nothing, whatever the jobs are at. */
static void look(struct sim *s, struct conn *c, const struct job *j)
{
    Tide__Request r = TIDE__REQUEST__INIT;
    Tide__ListJobs list = TIDE__LIST_JOBS__INIT;
    Tide__ShowJob show = TIDE__SHOW_JOB__INIT;
    struct tide_buf b;
    r.id = s->order + 1;
    if (percent(s, 30)) {
        r.call_case = TIDE__REQUEST__CALL_LIST_JOBS;
        r.list_jobs = &list;
    } else {
        r.call_case = TIDE__REQUEST__CALL_SHOW_JOB;
        r.show_job = &show;
        show.job = (ProtobufCBinaryData){strlen(j->name), (uint8_t *)(uintptr_t)j->name};
    }
    tide_buf_init(&b, 4096);
    tide_frame_put(&b, &r.base);
    net_to_daemon(s, c, sim_bytes(s, (struct tide_bytes){b.data, b.len}));
    tide_buf_release(&b);
}

static void ask(struct sim *s)
{
    struct conn *c = net_admin(s);
    if (!c) return;
    Tide__Request r = TIDE__REQUEST__INIT;
    Tide__TriggerSavepoint savepoint = TIDE__TRIGGER_SAVEPOINT__INIT;
    Tide__TriggerCheckpoint checkpoint = TIDE__TRIGGER_CHECKPOINT__INIT;
    const struct job *j = any_job(s);
    if (!j) return; /* there is always one */
    look(s, c, j);
    r.id = s->order + 1;
    char key[32];
    snprintf(key, sizeof key, "key%u", (unsigned)below(s, 100));
    ProtobufCBinaryData job = {strlen(j->name), (uint8_t *)j->name}, who = {3, (uint8_t *)"sim"},
                        k = {strlen(key), (uint8_t *)key};
    if (percent(s, 80)) {
        r.call_case = TIDE__REQUEST__CALL_SAVEPOINT;
        r.savepoint = &savepoint;
        savepoint.job = job;
        savepoint.who = who;
        savepoint.key = k;
        savepoint.commits = percent(s, 30);
        ask_alignment(s, j, &savepoint);
    } else {
        r.call_case = TIDE__REQUEST__CALL_CHECKPOINT;
        r.checkpoint = &checkpoint;
        checkpoint.job = job;
        checkpoint.who = who;
        checkpoint.key = k;
    }
    struct tide_buf b;
    tide_buf_init(&b, 4096);
    tide_frame_put(&b, &r.base);
    struct tide_bytes frames = sim_bytes(s, (struct tide_bytes){b.data, b.len});
    tide_buf_release(&b);
    note(s, "admin: asks for a %s%s%s%s", r.savepoint ? "savepoint" : "checkpoint",
         savepoint.commits ? ", with its effects" : "", savepoint.how_case ? ", " : "",
         savepoint.how_case ? tide_alignment_name((enum tide_alignment)savepoint.alignment) : "");
    net_to_daemon(s, c, frames);
}

/* One draw per statement: compilers differ in the order of arguments. */
static void cut(struct sim *s, struct conn *c, uint32_t seen_percent)
{
    bool daemon_sees = percent(s, seen_percent), worker_sees = percent(s, seen_percent);
    net_cut(s, c, daemon_sees, worker_sees);
}

/* Never for a shorter time than it is stuck already: it looks again when that is over. */
static void wedge(struct task *t, uint64_t until)
{
    if (t && until > t->wedged_until) t->wedged_until = until;
}

static void to_a_worker(struct sim *s, uint32_t kind)
{
    struct proc *p = any_proc(s);
    uint32_t task;
    if (!p) return;
    struct job *j = p->job;
    struct conn *c = p->conn;
    check_trouble(s, j);
    switch (kind) {
    case CL_KILL:
        if (percent(s, 8)) { /* all at once */
            for (struct proc *q = j->procs; q; q = q->next)
                proc_kill(s, q, "the power is out", false);
            break;
        }
        if (percent(s, 25) && s->now >= p->thaw_at && !p->over)
            proc_leave(s, p);
        else
            proc_kill(s, p, "killed", false);
        break;
    case CL_VANISH: proc_kill(s, p, "its host is gone", true); break;
    case CL_FREEZE: freeze(s, p); break;
    case CL_CUT:
        if (c) cut(s, c, 50);
        break;
    case CL_DARK:
        p->dark_until = s->now + between(s, 20 * MS, j->checkpointing.lease_ms * 2 * (uint64_t)MS);
        note(s, "fault: %s cannot reach the daemon until %" PRIu64 " ms", proc_name(p),
             in_trace(p->dark_until));
        if (p->conn) cut(s, p->conn, 30);
        break;
    case CL_STORM: trouble_storm(s, p); break;
    case CL_WEDGE:
        task = (uint32_t)below(s, j->flow.tasks);
        wedge(p->task[task], s->now + between(s, 50 * MS, SECOND));
        break;
    default: break;
    }
}

static void old_store(struct sim *s)
{
    if (s->old.done) return;
    if (!s->old.copy) {
        old_copy(s);
    } else if (percent(s, 40)) {
        s->old.wanted = true;
        daemon_crash(s, "its store is to be replaced", false);
    }
}

static void stand_still(struct sim *s, void *arg, uint64_t life)
{
    struct daemon *d = &s->daemon;
    (void)arg;
    if (!d->up || d->life != life || s->now < d->thaw_at || s->calm) return;
    d->thaw_at = s->now + between(s, 20 * MS, 2500 * MS);
    happens(s, (struct happening){.type = H_AWAY, .n = d->thaw_at});
    check_steady(s, true);
    note(s, "fault: the daemon stands still until %" PRIu64 " ms", in_trace(d->thaw_at));
}

/* It stands still again, while those who had been there are on their way back. */
void fault_restarted(struct sim *s)
{
    if (s->climate & CL_PAUSE && s->daemon.life > 1 && percent(s, 40))
        sim_at(s, s->now + below(s, 300 * MS), stand_still, NULL, s->daemon.life);
}

static void strike(struct sim *s, uint32_t kind)
{
    struct daemon *d = &s->daemon;
    struct job *j = any_job(s);
    if (!j) return;
    if (kind & CL_WEATHER) happens(s, (struct happening){.type = H_WEATHER});
    switch (kind) {
    case CL_CRASH: d->doomed = d->up; break;
    case CL_DOWN: daemon_shutdown(s); break;
    case CL_PAUSE: stand_still(s, NULL, d->life); break;
    case CL_STORE: slow_store(s); break;
    case CL_UNKNOWN: s->store.unknown_next = true; break;
    case CL_FILES: bad_files(s); break;
    case CL_DECLINE:
        check_trouble(s, j);
        if (percent(s, 70))
            j->decline_until = s->now + between(s, 20 * MS, 400 * MS);
        else
            j->fail_restore_until = s->now + between(s, 100 * MS, SECOND);
        break;
    case CL_ADMIN: ask(s); break;
    case CL_ORDER: order_something(s, j); break;
    case CL_STOP: stop_something(s, j); break;
    case CL_LAG:
        s->lag_until = s->now + between(s, 50 * MS, 500 * MS);
        check_trouble(s, NULL);
        break;
    case CL_CLOCK:
        /* no owner file tells of ids that only the lost database knew: time must be above them */
        d->wall += percent(s, 50) || s->climate & CL_OLD
                       ? between(s, 0, 1000 * (uint64_t)SECOND)
                       : (uint64_t)0 - between(s, 0, 50 * (uint64_t)SECOND);
        break;
    case CL_OLD: old_store(s); break;
    case CL_STRANGER: trouble_stranger(s); break;
    default: to_a_worker(s, kind); break;
    }
}

static void next_fault(struct sim *s, void *arg, uint64_t x)
{
    (void)arg;
    bool over = true;
    for (const struct job *j = s->jobs; j; j = j->next)
        over = over && j->over;
    if (s->now >= s->faults_end || over) return;
    uint32_t kind;
    do
        kind = 1u << below(s, CL_KINDS);
    while (!(s->climate & kind));
    strike(s, kind);
    sim_at(s, s->now + between(s, 5 * MS, x), next_fault, arg, x);
}

static void calm_job(struct sim *s, struct job *j)
{
    j->fail_restore_until = j->decline_until = j->mute_until = 0;
    for (struct proc *p = j->procs; p; p = p->next) {
        p->dark_until = 0;
        for (uint32_t i = 0; i < TASKS_MAX; i++)
            if (p->task[i] && p->task[i]->wedged_until > s->now) {
                p->task[i]->wedged_until = s->now;
                if (j->program->meets) j->program->wake(s, p->task[i], s->now); /* it may stand */
            }
    }
    /* a zombie that was replaced is taken down in the end, as supervisors do */
    for (struct proc *p = j->procs; p; p = p->next)
        if (p->alive && j->current[p->slot] != p && percent(s, 70))
            proc_kill(s, p, "it was replaced", false);
}

/* Faults stop: what is slow is fast again, what is cut off comes back, what is full has room. */
static void calm(struct sim *s, void *arg, uint64_t x)
{
    (void)arg;
    (void)x;
    fault_calm(s);
}

/* Until when a job must have made a snapshot that began after the last fault, or be at its end.
 * docs/simulation.md says what each part stands for. */
static uint64_t well_by(struct sim *s, const struct job *j)
{
    const Tide__Checkpointing *c = &j->checkpointing;
    bool deaf = false;
    for (const struct proc *p = j->procs; p; p = p->next)
        deaf = deaf || (p->alive && p->conn && (p->conn->hole_d || p->conn->hole_w));
    uint64_t lease = c->lease_ms * (uint64_t)MS;
    if (lease < s->store.lease_us) lease = s->store.lease_us;
    uint64_t again = 3 * SECOND + lease * 9 / 8 + c->grace_ms * MS + /* until the next attempt */
                     ATTEMPT_BACKOFF + c->restore_deadline_ms * MS;
    bool meets = c->style == TIDE__ROUND_STYLE__STYLE_RENDEZVOUS && !c->min_pause_ms;
    uint32_t rounds = meets ? 3 : 2; /* a pause as long as tasks stood */
    uint64_t round = (c->interval_ms + c->min_pause_ms + rounds * c->deadline_ms) * (uint64_t)MS;
    uint64_t input = j->flow.finite ? 5 * MS * j->flow.records + round + 2 * (uint64_t)SECOND : 0;
    return s->now + again + round + input + (deaf ? JOIN_ANSWER : 0);
}

void fault_calm(struct sim *s)
{
    note(s, "fault: no more");
    s->calm = true;
    s->calm_since = s->now;
    s->daemon.doomed = false;
    s->store.slow_until = s->store.full_until = s->store.unknown_next = 0;
    s->files.slow_until = s->files.failing_until = s->files.full_until = s->files.deaf_until = 0;
    s->lag_until = 0;
    files_move_back(s);
    for (struct job *j = s->jobs; j; j = j->next) {
        if (j->heir_of) heir_begin(s, j);
        calm_job(s, j);
        order_calm(s, j);
        uint64_t by = well_by(s, j);
        happens(s, (struct happening){.type = H_FINE, .job = j->number, .n = by});
        if (by + CLEANING > s->give_up_at) s->give_up_at = by + CLEANING;
    }
}

const char *fault_words(const struct sim *s)
{
    static const char *const of[CL_KINDS] = {
        "kills",       "vanishing hosts", "frozen workers", "cuts",        "dark workers",
        "crashes",     "shutdowns",       "standstills",    "a bad store", "unknown outcomes",
        "bad files",   "wedged tasks",    "declines",       "savepoints",  "a slow network",
        "wall clocks", "old copies",      "orders",         "storms",      "strangers",
        "stops"};
    static char words[400];
    size_t n = 0;
    words[0] = '\0';
    for (uint32_t i = 0; i < CL_KINDS; i++)
        if (s->climate >> i & 1 && n < sizeof words)
            n += (size_t)snprintf(words + n, sizeof words - n, "%s%s", n ? ", " : "", of[i]);
    return n ? words : "none";
}

void fault_draw(struct sim *s)
{
    uint32_t kinds = (uint32_t)between(s, 0, 8);
    for (uint32_t i = 0; i < kinds; i++)
        s->climate |= 1u << below(s, CL_KINDS);
    /* a job that is held since an old copy was put back is not for orders to release */
    if (s->climate & CL_OLD) s->climate &= ~(uint32_t)CL_ORDER;
    /* nobody but the daemon has trouble: no attempt may end */
    if (percent(s, 12)) s->climate &= CL_WEATHER & ~(uint32_t)CL_OLD;
    if (s->climate & CL_FILES && percent(s, 50))
        s->files.cursed_percent = (uint32_t)between(s, 10, 60);
}

void fault_plan(struct sim *s)
{
    bool longer = percent(s, 10);
    s->faults_end = s->now + between(s, 300 * MS, longer ? 20 * SECOND : 5 * SECOND);
    sim_at(s, s->faults_end, calm, NULL, 0);
    uint64_t from = s->now + below(s, SECOND), apart = between(s, 30 * MS, 600 * MS);
    if (s->climate) sim_at(s, from, next_fault, NULL, apart);
}
