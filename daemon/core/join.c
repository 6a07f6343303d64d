/* Workers come and go.
 *
 * The usual way: a worker joins with nothing and is READY with its tasks; when all tasks are
 * there an attempt starts and it is HOLDING. When the attempt ends it is REWINDING until it joins
 * again with nothing.
 *
 * What can go wrong, and what we do:
 * - its connection goes while it holds an attempt -> away: its lease decides; it may come back
 * - its lease is over, or it leaves, or a process on its host shows that it is gone -> lost: the
 *   attempt ends, its tasks are free
 * - another process joins for tasks of a holder that is away -> parked until one of the above
 * - ... of one that is present -> refused, it may try later
 * - a Join names what this store cannot have told -> fenced, and the job is held: somebody has put
 *   an old database back, and nothing of the job can be trusted to be new */
#include <stdio.h>

#include "daemon/core/internal.h"
#include "proto/graph_show.h"

/* ---- the task table */

struct worker *worker_new(struct job *job, struct tide_bytes name)
{
    struct worker *w = core_alloc(sizeof *w);
    w->job = job;
    w->name = core_copy(name);
    w->next = job->workers;
    if (w->next) w->next->prev = w;
    job->workers = w;
    job->n_workers++;
    job->core->n_workers++;
    return w;
}

static void count_standing(struct worker *w, bool add)
{
    struct job *job = w->job;
    uint32_t tasks = add ? w->tasks : 0u - w->tasks, one = add ? 1u : 0u - 1u;
    if (w->standing == STANDS_READY) job->ready_tasks += tasks;
    if (w->standing == STANDS_HOLDING || w->standing == STANDS_REWINDING) job->n_holders += one;
}

void worker_stand(struct worker *w, enum standing standing)
{
    count_standing(w, false);
    w->standing = standing;
    count_standing(w, true);
}

void worker_place(struct worker *w, enum standing standing)
{
    for (uint32_t i = 0; i < w->n_ranges; i++)
        for (uint32_t t = 0; t < w->ranges[2 * i + 1]; t++) {
            core_assert(w->job->host[w->ranges[2 * i] + t] == NULL);
            w->job->host[w->ranges[2 * i] + t] = w;
        }
    external_place(w);
    worker_stand(w, standing);
    /* one that only waits is heard of as well: its host may be gone without a word */
    if (standing == STANDS_READY) worker_renew(w->job->core, w);
}

void worker_release(struct core *c, struct worker *w)
{
    struct job *job = w->job;
    struct session *s = map_get(&c->sessions, w->session);
    if (s && s->worker == w) s->worker = NULL;
    count_standing(w, false);
    if (w->standing != STANDS_PARKED)
        for (uint32_t i = 0; i < w->n_ranges; i++)
            for (uint32_t t = 0; t < w->ranges[2 * i + 1]; t++)
                if (job->host[w->ranges[2 * i] + t] == w) job->host[w->ranges[2 * i] + t] = NULL;
    external_release(w);
    if (w->prev)
        w->prev->next = w->next;
    else
        job->workers = w->next;
    if (w->next) w->next->prev = w->prev;
    job->n_workers--;
    c->n_workers--;
    free((void *)(uintptr_t)w->name.data);
    free((void *)(uintptr_t)w->endpoint.data);
    free((void *)(uintptr_t)w->boot_id.data);
    free(w->ranges);
    free(w->open_rounds);
    free((void *)(uintptr_t)w->hooks.data);
    free(w);
}

uint32_t worker_hosts_until(const struct worker *w, uint32_t task)
{
    size_t low = 0, high = w->standing == STANDS_PARKED ? 0 : w->n_ranges;
    while (low < high) {
        size_t middle = (low + high) / 2;
        uint32_t first = w->ranges[2 * middle], count = w->ranges[2 * middle + 1];
        if (task < first)
            high = middle;
        else if (task - first >= count)
            low = middle + 1;
        else
            return first + count;
    }
    return task;
}

bool worker_hosts(const struct worker *w, uint32_t task)
{
    return worker_hosts_until(w, task) != task;
}

bool ranges_ok(const struct job *job, size_t n, Tide__TaskRange **ranges, const struct worker *of)
{
    uint64_t free_from = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t first = ranges[i]->first, end = first + ranges[i]->count;
        if (ranges[i]->count == 0 || first < free_from || end > job->graph->tasks) return false;
        for (uint64_t t = first, until; of && t < end; t = until)
            if ((until = worker_hosts_until(of, (uint32_t)t)) == t) return false;
        free_from = end;
    }
    return true;
}

/* ---- leases */

void worker_renew(struct core *c, struct worker *w)
{
    uint64_t lease = w->job->graph->checkpointing.lease_ms * MS;
    if (lease < c->lease_us && !w->started) lease = c->lease_us;
    w->lease_until = c->now + lease + lease / 8;
    w->lease_prolonged = false;
    /* the timer is late only for a lease that is shorter than the one it was armed for */
    struct timer *timer = &w->job->lease_timer;
    if (timer->place && w->lease_until < timer->at)
        timer_set(c, timer, w->lease_until);
    else
        lease_arm(c, w->job);
}

void lease_arm(struct core *c, struct job *job)
{
    uint64_t first = NEVER;
    if (job->lease_timer.place)
        return; /* it fires at the earliest of them as of then, and looks again */
    for (struct worker *w = job->workers; w; w = w->next)
        if (w->standing != STANDS_PARKED && w->lease_until < first) first = w->lease_until;
    timer_set(c, &job->lease_timer, first);
}

void worker_lost(struct core *c, struct worker *w, const char *why)
{
    struct job *job = w->job;
    bool holds = w->standing == STANDS_HOLDING && job->attempt_open;
    core_log(c, LEVEL_WARN, about_worker(w), "job %s: worker %.*s is lost: %s", job->name,
             (int)w->name.len, (const char *)w->name.data, why);
    if (PLANTED(RELEASE_SURVIVORS) && holds) meeting_planted_release(c, w);
    if (PLANTED(ALL_ABORT) && holds)
        for (struct job *other = c->jobs; other; other = other->next)
            round_abort_all(c, other, TIDE__ABORT_CODE__ABORT_WORKER_LOST, why);
    if (PLANTED(LEAVE_OUT) && holds) {
        struct round *r = job->rounds;
        for (uint32_t t = 0; r && r->state == ROUND_COLLECTING && t < job->graph->tasks; t++)
            if (worker_hosts(w, t)) bits_put(&r->acked, t);
        if (r && r->state == ROUND_COLLECTING && r->acked.set >= r->plan.expected)
            round_all_acked(c, r);
    }
    if (w->session) {
        struct session *s = map_get(&c->sessions, w->session);
        core_assert(s != NULL);
        s->worker = NULL;
        act_close(c, w->session);
        w->session = 0;
    }
    if (holds) {
        worker_stand(
            w, STANDS_REWINDING); /* the attempt's end is not to release it: that follows here */
        char *reason = core_printf("worker %.*s is lost: %s", (int)w->name.len,
                                   (const char *)w->name.data, why);
        attempt_fail(c, job, w, reason);
        free(reason);
    }
    worker_release(c, w);
    job_admit_parked(c, job);
    attempt_try(c, job);
}

void worker_closed(struct core *c, struct worker *w, const char *why)
{
    struct job *job = w->job;
    w->session = 0;
    w->told_joined = false;
    if (w->standing == STANDS_PARKED || w->standing == STANDS_READY) {
        worker_release(c, w);
        job_admit_parked(c, job);
        return;
    }
    core_log(c, LEVEL_INFO, about_worker(w), "job %s: worker %.*s is away: %s", job->name,
             (int)w->name.len, (const char *)w->name.data, why);
    if (PLANTED(NO_LEASE)) worker_lost(c, w, why);
}

/* ---- what workers are told */

static void tell_joined(struct core *c, struct worker *w)
{
    const Tide__Checkpointing *cp = &w->job->graph->checkpointing;
    Tide__Joined m = TIDE__JOINED__INIT;
    Tide__ToWorker message = TIDE__TO_WORKER__INIT;
    m.job_id = PB(((struct tide_bytes){w->job->id.b, 16}));
    m.lease_ms = cp->lease_ms;
    m.heartbeat_ms = cp->heartbeat_ms;
    m.orphan_limit_ms = cp->orphan_limit_ms;
    m.progress_ms = cp->progress_ms;
    message.msg_case = TIDE__TO_WORKER__MSG_JOINED;
    message.joined = &m;
    w->told_joined = true;
    send_worker(c, w->session, &message);
}

static const struct worker *in_the_way(const struct worker *w)
{
    for (uint32_t i = 0; i < w->n_ranges; i++)
        for (uint32_t t = 0; t < w->ranges[2 * i + 1]; t++)
            if (w->job->host[w->ranges[2 * i] + t]) return w->job->host[w->ranges[2 * i] + t];
    uint32_t part;
    return external_in_the_way(w, &part);
}

static void tell_parked(struct core *c, struct worker *w, const struct worker *holder)
{
    Tide__Parked m = TIDE__PARKED__INIT;
    Tide__Host host = TIDE__HOST__INIT;
    Tide__ToWorker message = TIDE__TO_WORKER__INIT;
    host.boot_id = PB(holder->boot_id);
    host.pid = holder->pid;
    host.start_time = holder->start_time;
    m.holder = &host;
    m.worker = PB(holder->name);
    m.wait_ms = (uint32_t)((holder->lease_until > c->now ? holder->lease_until - c->now : 0) / MS);
    message.msg_case = TIDE__TO_WORKER__MSG_PARKED;
    message.parked = &m;
    w->told_joined = true;
    send_worker(c, w->session, &message);
}

void job_tell_joined(struct core *c, struct job *job)
{
    for (struct worker *w = job->workers; w; w = w->next) {
        const struct worker *holder;
        if (!w->session || w->told_joined) continue;
        if (w->standing == STANDS_READY) tell_joined(c, w);
        if (w->standing == STANDS_PARKED && (holder = in_the_way(w))) tell_parked(c, w, holder);
    }
}

void job_admit_parked(struct core *c, struct job *job)
{
    for (struct worker *w = job->workers; w; w = w->next) {
        if (w->standing != STANDS_PARKED) continue;
        w->told_joined = false;
        if (!in_the_way(w)) worker_place(w, STANDS_READY);
    }
    if (job->durable) job_tell_joined(c, job);
    attempt_try(c, job); /* they may have been the last that was missing */
}

/* ---- Join */

static bool well_formed(struct core *c, struct session *s, const Tide__Join *m)
{
    const char *wrong = NULL;
    if (m->worker.len == 0 || m->worker.len > 255 || !tide_text_valid(UNPB(m->worker)))
        wrong = "worker is not a name of 1 to 255 bytes";
    else if (m->endpoint.len > 4096 || !tide_text_valid(UNPB(m->endpoint)))
        wrong = "endpoint is not a text of at most 4,096 bytes";
    else if (m->host && (m->host->boot_id.len > 255 || !tide_text_valid(UNPB(m->host->boot_id))))
        wrong = "host.boot_id is not a text of at most 255 bytes";
    else if (m->n_tasks == 0)
        wrong = "it hosts no task";
    else if (m->n_open > 1024)
        wrong = "more than 1,024 open rounds";
    else if (m->token && (m->token->store_id.len != 16 || m->token->job_id.len != 16))
        wrong = "the token's store id or job id is not 16 bytes";
    else if ((unsigned)m->phase > TIDE__WORKER_PHASE__PHASE_RUNNING)
        wrong = "phase is none of WorkerPhase";
    if (wrong) send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_MALFORMED, "Join: %s", wrong);
    return wrong == NULL;
}

/* What the job asks for must be in the protocol that the connection has. */
static bool speaks(struct core *c, struct session *s, const struct tide_graph *graph)
{
    if (graph->version <= s->version) return true;
    send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_VERSION,
                 "job %s needs version %u of the protocol, this connection has %u",
                 tide_show(graph->name).text, graph->version, s->version);
    return false;
}

/* Until the job has begun, that is. Afterwards, or once an admin has ordered what to restore, where
 * it began is no matter any more; nor is it to a worker that has begun, as the store, an old copy,
 * does not know. */
static bool begins_there(struct core *c, struct session *s, const struct job *job,
                         const struct tide_graph *graph, const Tide__Join *m)
{
    if (job->attempt || m->token || !graph->restore_from.len) return true;
    for (const struct operation *op = job->operations; op; op = op->next)
        if (op->kind == TIDE_OP_RESTORE) return true;
    const struct snapshot *base = job_snapshot(job, job->base.snapshot);
    char *want = import_path(graph->restore_from), *have = NULL;
    if (base)
        have = core_printf("%s", base->directory);
    else if (job->graph->restore_from.len && !job->durable)
        have = import_path(job->graph->restore_from);
    bool same = have && strcmp(want, have) == 0;
    if (!same)
        send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_SPEC,
                     "job %s begins %s%s, as its first worker has said, not from %s", job->name,
                     have ? "from " : "afresh", have ? have : "", want);
    free(want);
    free(have);
    return same;
}

/* The job that the Join is for, made if it is new; NULL: refused. */
static struct job *join_job(struct core *c, struct session *s, const Tide__Join *m)
{
    char why[256];
    struct job *job = job_find(c, UNPB(m->job));
    if (m->what_case == TIDE__JOIN__WHAT_FINGERPRINT) {
        if (!job)
            send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_NO_JOB,
                         "job %s is not known here: join with its spec",
                         tide_show(UNPB(m->job)).text);
        else if (m->fingerprint.len != 16 ||
                 memcmp(m->fingerprint.data, job->graph->fingerprint, 16) != 0) {
            send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_SPEC,
                         "the spec of job %s has another fingerprint: join with the spec to see "
                         "the difference",
                         job->name);
            job = NULL;
        }
        return job && speaks(c, s, job->graph) ? job : NULL;
    }
    struct tide_graph *graph = NULL;
    int rc =
        m->what_case == TIDE__JOIN__WHAT_SPEC ? tide_graph_new(m->spec, &graph, why) : TIDE_EINVAL;
    if (rc) {
        if (m->what_case != TIDE__JOIN__WHAT_SPEC)
            snprintf(why, sizeof why, "Join brings neither spec nor fingerprint");
        send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_SPEC, "the job's spec is refused: %s", why);
        return NULL;
    }
    if (!tide_bytes_equal(graph->name, UNPB(m->job))) {
        send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_SPEC,
                     "Join is for job %s, its spec for job %s", tide_show(UNPB(m->job)).text,
                     tide_show(graph->name).text);
        job = NULL;
    } else if (!job && c->n_jobs >= c->config.jobs_max) {
        send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_BUSY,
                     "this daemon has its %u jobs ([limits] jobs)", c->config.jobs_max);
    } else if (!speaks(c, s, graph)) {
        job = NULL;
    } else if (!job) {
        return job_new(c, graph);
    } else if (memcmp(graph->fingerprint, job->graph->fingerprint, 16) != 0) {
        tide_graph_difference(job->graph, graph, why);
        send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_SPEC,
                     "the spec differs from the one in force for job %s: %s (changing a job is not "
                     "supported yet)",
                     job->name, why);
        job = NULL;
    } else if (!begins_there(c, s, job, graph, m)) {
        job = NULL;
    }
    tide_graph_free(graph);
    return job;
}

static void refuse_ended(struct core *c, struct session *s, const struct job *job)
{
    char text[400];
    Tide__Refused m = TIDE__REFUSED__INIT;
    Tide__ToWorker message = TIDE__TO_WORKER__INIT;
    snprintf(text, sizeof text, "job %s is %s%s%s", job->name, tide_job_state_name(job->state),
             job->cause ? ": " : "", job->cause ? job->cause : "");
    m.code = TIDE__REFUSED_CODE__REFUSED_JOB_ENDED;
    m.reason = PB(core_text_cut(VIEW(text), sizeof text - 8));
    m.outcome = PB(VIEW(tide_job_state_name(job->state)));
    m.snapshot = job->ended_snapshot;
    message.msg_case = TIDE__TO_WORKER__MSG_REFUSED;
    message.refused = &m;
    send_worker(c, s->id, &message);
    act_close(c, s->id);
}

/* What a Join names that this store cannot have told, in words; NULL: nothing. */
static const char *impossible(const struct core *c, const struct job *job, const Tide__Join *m)
{
    const Tide__Token *t = m->token;
    bool listed = false;
    if (!t || PLANTED(OLD_COPY_UNSEEN)) return NULL;
    if (memcmp(t->job_id.data, job->id.b, 16) != 0) return "a job that this store has not seen";
    for (uint32_t i = 0; i < c->n_incarnations; i++)
        listed |=
            c->incarnations[i].number == t->incarnation && c->incarnations[i].nonce == t->nonce;
    if (!listed) return "an incarnation that this store has not seen";
    if (t->attempt > job->attempt ||
        (t->attempt == job->attempt &&
         (t->incarnation != job->attempt_incarnation || t->nonce != job->attempt_nonce)))
        return "an attempt that this store has not seen";
    if (m->told_complete > job->last_complete ||
        (t->attempt == job->attempt && m->told_effects > put_back_newest(job)))
        return "a completed round that this store does not have";
    if (m->lowest_pending > c->next_id) return "a round that this store has not issued";
    for (size_t i = 0; i < m->n_open; i++)
        if (m->open[i]->round >= c->next_id) return "a round that this store has not issued";
    return NULL;
}

static void fence(struct core *c, struct session *s, const char *reason)
{
    Tide__Fenced m = TIDE__FENCED__INIT;
    Tide__ToWorker message = TIDE__TO_WORKER__INIT;
    m.reason = PB(VIEW(reason));
    message.msg_case = TIDE__TO_WORKER__MSG_FENCED;
    message.fenced = &m;
    send_worker(c, s->id, &message);
}

/* Whose token it is, if it is one that this job never gave. */
static const char *other_token(const struct core *c, const struct job *job, const Tide__Token *t)
{
    if (!t) return NULL;
    if (memcmp(t->store_id.data, c->store_id.b, 16) != 0) return "its token is of another store";
    for (const struct job *other = c->jobs; other; other = other->next)
        if (other != job && memcmp(t->job_id.data, other->id.b, 16) == 0)
            return "its token is of another job";
    return NULL;
}

/* Somebody has put an old copy of the database back. The worker forgets what it knows only when
 * the job is durably HELD: until then it is the only witness, and comes again. */
static void hold_for(struct core *c, struct session *s, struct job *job, const Tide__Join *m,
                     const char *beyond)
{
    char *cause = put_back_cause(job, m, beyond);
    if (job->durable) {
        job_hold(c, job, cause);
    } else {
        free(job->doubt);
        job->doubt = core_printf("%s", cause);
    }
    if (job->held_stored && !job->order_flies)
        fence(c, s, cause);
    else
        send_refused(c, s,
                     job->state == TIDE_JOB_HELD ? TIDE__REFUSED_CODE__REFUSED_HELD
                                                 : TIDE__REFUSED_CODE__REFUSED_BUSY,
                     "job %s: %s", job->name, cause);
    s->joined = true;
    free(cause);
}

static bool same_process(const struct worker *w, const Tide__Join *m)
{
    if (!tide_bytes_equal(w->name, UNPB(m->worker))) return false;
    /* who does not say where it runs is known by its token alone */
    if (!m->host || m->host->boot_id.len == 0) return w->boot_id.len == 0 && m->token != NULL;
    return tide_bytes_equal(w->boot_id, UNPB(m->host->boot_id)) && w->pid == m->host->pid &&
           w->start_time == m->host->start_time;
}

static void take_over(struct worker *w, struct session *s, const Tide__Join *m)
{
    free((void *)(uintptr_t)w->endpoint.data);
    free(w->open_rounds);
    w->endpoint = core_copy(UNPB(m->endpoint));
    w->open_rounds = core_alloc((m->n_open + 1) * sizeof *w->open_rounds);
    w->n_open = (uint32_t)m->n_open;
    for (size_t i = 0; i < m->n_open; i++)
        w->open_rounds[i] = m->open[i]->round;
    w->told_complete = m->told_complete;
    w->session = w->newest_session = s->id;
    w->version = s->version;
    s->worker = w;
}

/* A Join that lay in an older connection of a process that has joined on a newer one since. */
static bool overtaken(const struct job *job, const struct session *s, const Tide__Join *m)
{
    for (const struct worker *w = job->workers; w; w = w->next)
        if (w->newest_session > s->id && same_process(w, m)) return true;
    return false;
}

/* Detaches whatever connection the worker had before. */
static void leave_session(struct core *c, struct worker *w, const struct session *but)
{
    struct session *s = map_get(&c->sessions, w->session);
    if (!s || s == but) return;
    s->worker = NULL;
    act_close(c, s->id);
    w->session = 0;
}

static bool same_ranges(const struct worker *w, const Tide__Join *m)
{
    if (w->n_ranges != m->n_tasks) return false;
    for (uint32_t i = 0; i < w->n_ranges; i++)
        if (w->ranges[2 * i] != m->tasks[i]->first || w->ranges[2 * i + 1] != m->tasks[i]->count)
            return false;
    return true;
}

/* Of a survivor it may be older than the job's; what its hooks were to be restored from has not
 * outlived a restart. */
static bool token_fits(const struct worker *w, const Tide__Join *m)
{
    const struct job *job = w->job;
    const Tide__Token *t = m->token;
    if (!worker_speaks(w, t->attempt)) return false;
    if (t->attempt < job->attempt) return !job->adopting || !m->n_externals;
    return t->incarnation == job->attempt_incarnation;
}

static void join_with_attempt(struct core *c, struct session *s, struct job *job,
                              const Tide__Join *m)
{
    struct worker *w = job->workers;
    while (w && !(same_process(w, m) &&
                  (w->standing == STANDS_HOLDING || w->standing == STANDS_REWINDING)))
        w = w->next;
    bool current = w && token_fits(w, m) && same_ranges(w, m) && external_back(w, m);
    s->joined = true;
    if (w) {
        leave_session(c, w, s);
        take_over(w, s, m);
    }
    if (!current) {
        Tide__Rewind rewind = TIDE__REWIND__INIT;
        Tide__ToWorker message = TIDE__TO_WORKER__INIT;
        rewind.attempt = m->token->attempt;
        rewind.reason = PB(VIEW("the attempt that it joined with is over"));
        message.msg_case = TIDE__TO_WORKER__MSG_REWIND;
        message.rewind = &rewind;
        send_worker(c, s->id, &message);
        return;
    }
    w->phase = m->phase;
    w->attempt = w->shown = m->token->attempt; /* it has not got the Advance, if it is older */
    worker_renew(c, w);
    tell_joined(c, w);
    for (size_t i = 0; i < m->n_ending && ranges_ok(job, m->n_ending, m->ending, w); i++)
        for (uint32_t t = 0; t < m->ending[i]->count; t++)
            if (!bits_get(&job->ended, m->ending[i]->first + t))
                bits_put(&job->ending, m->ending[i]->first + t);
    attempt_rejoined(c, w);
}

static void refuse_hosted(struct core *c, struct session *s, const struct worker *w,
                          const struct worker *holder)
{
    uint32_t part;
    bool is_part = external_in_the_way(w, &part) == holder;
    send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_TASKS,
                 "%s of worker %.*s is hosted by worker %.*s, which is present",
                 is_part ? external_words(&w->job->graph->externals[part]).text : "a task",
                 (int)w->name.len, (const char *)w->name.data, (int)holder->name.len,
                 (const char *)holder->name.data);
}

/* What is known of the process, from this connection or an earlier one. */
static struct worker *same_before(const struct session *s, const struct job *job,
                                  const Tide__Join *m)
{
    struct worker *old = s->worker && s->worker->job == job ? s->worker : job->workers;
    while (old && old != s->worker && !same_process(old, m))
        old = old->next;
    return old;
}

/* The newest process of a name is the one that waits: those before it are dead, as a rule, and each
 * would hold the tasks for a lease of its own before anybody knew. */
static void take_the_place_of(struct core *c, const struct worker *newest)
{
    for (struct worker *w = newest->job->workers, *next; w; w = next) {
        next = w->next;
        if (w == newest || w->standing != STANDS_PARKED || !tide_bytes_equal(w->name, newest->name))
            continue;
        leave_session(c, w, NULL);
        worker_release(c, w);
    }
}

static void join_with_nothing(struct core *c, struct session *s, struct job *job,
                              const Tide__Join *m)
{
    struct worker *old = same_before(s, job, m);
    if (old) {
        bool held = old->standing == STANDS_HOLDING && job->attempt_open;
        leave_session(c, old, s);
        if (s->worker == old) s->worker = NULL;
        old->session =
            0; /* whatever the attempt's end says is not for the one that has come anew */
        char *why = core_printf("worker %.*s joined again with nothing", (int)old->name.len,
                                (const char *)old->name.data);
        if (held) worker_stand(old, STANDS_REWINDING); /* the end is not to release it */
        if (held) attempt_fail(c, job, old, why);
        worker_release(c, old);
        free(why);
        job_admit_parked(c, job);
    }
    struct worker *w = worker_new(job, UNPB(m->worker));
    w->ranges = core_alloc(m->n_tasks * 2 * sizeof *w->ranges);
    w->n_ranges = (uint32_t)m->n_tasks;
    for (size_t i = 0; i < m->n_tasks; i++) {
        w->ranges[2 * i] = m->tasks[i]->first;
        w->ranges[2 * i + 1] = m->tasks[i]->count;
        w->tasks += m->tasks[i]->count;
    }
    if (m->host) {
        w->boot_id = core_copy(UNPB(m->host->boot_id));
        w->pid = m->host->pid;
        w->start_time = m->host->start_time;
    }
    char wrong[256];
    core_assert(external_take(job, w, m, wrong)); /* join() has looked */
    w->standing = STANDS_PARKED;                  /* until it has its place */
    const struct worker *holder = in_the_way(w);
    if (holder && holder->session) {
        refuse_hosted(c, s, w, holder);
        worker_release(c, w);
        return;
    }
    take_over(w, s, m);
    s->joined = true;
    take_the_place_of(c, w);
    if (!holder) worker_place(w, STANDS_READY);
    if (job->durable) job_tell_joined(c, job);
    attempt_try(c, job);
}

void job_refuse_held(struct core *c, struct session *s, const struct job *job)
{
    send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_HELD, "job %s is held: %s", job->name,
                 job->cause);
}

/* What it held is free, if it comes with nothing; it tries again later. */
static void join_held(struct core *c, struct session *s, struct job *job, const Tide__Join *m)
{
    struct worker *old = m->token ? NULL : same_before(s, job, m);
    if (old) {
        leave_session(c, old, s);
        worker_release(c, old);
    }
    job_refuse_held(c, s, job);
}

static void join(struct core *c, struct session *s, struct tide_bytes bytes)
{
    int rc;
    Tide__Join *m = tide_unpack(&c->arena, &tide__join__descriptor, bytes, &rc);
    if (!m) {
        send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_MALFORMED,
                     rc == TIDE_ETOOBIG ? "Join unpacks to more than 4 MiB"
                                        : "Join cannot be parsed");
        return;
    }
    if (!well_formed(c, s, m)) return;
    if (m->spare) {
        send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_UNSUPPORTED,
                     "spare workers are not supported yet");
        return;
    }
    if (c->shutting_down) {
        send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_BUSY, "the daemon shuts down");
        return;
    }
    if (c->n_workers >= c->config.workers_max) {
        send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_BUSY,
                     "this daemon has its %u workers ([limits] workers)", c->config.workers_max);
        return;
    }
    struct job *job = join_job(c, s, m);
    if (!job) return;
    if (tide_job_ended(job->state)) {
        refuse_ended(c, s, job);
        return;
    }
    if (s->worker && s->worker->job != job) {
        send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_STATE,
                     "this connection has joined job %s: use another for job %s",
                     s->worker->job->name, job->name);
        return;
    }
    if (!ranges_ok(job, m->n_tasks, m->tasks, NULL) ||
        !ranges_ok(job, m->n_ending, m->ending, NULL)) {
        send_refused(
            c, s, TIDE__REFUSED_CODE__REFUSED_TASKS,
            "Join names tasks that job %s does not have (it has %u), or in no rising order",
            job->name, job->graph->tasks);
        return;
    }
    char wrong[256];
    if (!external_take(job, NULL, m, wrong)) {
        send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_TASKS, "%s", wrong);
        return;
    }
    const char *other = other_token(c, job, m->token);
    if (other) {
        fence(c, s, other);
        s->joined = true;
        return;
    }
    const char *beyond = impossible(c, job, m);
    if (beyond) {
        hold_for(c, s, job, m, beyond);
        return;
    }
    if (overtaken(job, s, m))
        act_close(c, s->id);
    else if (job->state == TIDE_JOB_HELD)
        join_held(c, s, job, m);
    else if (m->token)
        join_with_attempt(c, s, job, m);
    else
        join_with_nothing(c, s, job, m);
}

void join_part(struct core *c, struct session *s, struct tide_bytes part)
{
    /* one whose attempt is over has nothing that a Join could contradict */
    if (s->worker && s->worker->standing != STANDS_REWINDING) {
        send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_STATE,
                     "a second Join, which is for the answer to Rewind alone");
        return;
    }
    struct tide_bytes whole;
    if (!joining_add(c, s, part, &whole)) return;
    join(c, s, whole);
    joining_end(c, s);
}
