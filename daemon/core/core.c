/* The door of the core, and its start and end.
 *
 * The usual way: core_new() takes in what the store knows; EV_START reserves ids, ends what the
 * last daemon had begun, takes up deletions and adoptions again; then events come until
 * EV_SHUTDOWN, which waits for commits under way, aborts other rounds, says Bye, and ends in
 * ACT_STOP.
 *
 * Leases: after a start, or when an event comes so late that the process must have stood still,
 * nobody can have been heard; every lease counts as renewed at that moment. That a process stood
 * still shows in timers that are late, so one is due twice per heartbeat while leases run. */
#include <stdio.h>

#include "daemon/core/internal.h"

#define GAP_MIN_US                                                                                 \
    (50 * MS) /* a timer that is later than this and than a heartbeat: the loop stood still */

uint64_t core_random(struct core *c)
{
    /* splitmix64 (Steele, Lea, Flood 2014) */
    uint64_t z = c->rng += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t core_random_below(struct core *c, uint64_t bound)
{
    return core_random(c) % bound;
}

void core_stop(struct core *c, int exit_code, const char *why)
{
    if (c->stopped) return;
    c->stopped = true;
    struct action *x = act(c, ACT_STOP);
    x->exit_code = exit_code;
    x->text = core_printf("%s", why);
}

/* ---- ids: reserved in blocks, so that none is issued twice across a crash */

void core_reserve_ids(struct core *c)
{
    if (c->reserving || c->next_id + ID_BLOCK / 2 <= c->reserved) return;
    c->reserving = true;
    struct tide_commit *commit = tide_commit_new(true);
    core_assert(commit != NULL);
    uint64_t upto = (c->reserved > c->next_id ? c->reserved : c->next_id) + ID_BLOCK;
    struct tide_record *r = tide_commit_add(commit, TIDE_REC_RESERVE, (tide_id){{0}});
    core_assert(r != NULL);
    r->reserve.upto = upto;
    ask_commit(c, commit, ASKED_RESERVE, NULL, upto);
}

uint64_t core_new_id(struct core *c)
{
    core_reserve_ids(c);
    return c->next_id <= c->reserved ? c->next_id++ : 0;
}

struct job *job_find(struct core *c, struct tide_bytes name_or_id)
{
    for (struct job *job = c->jobs; job; job = job->next)
        if (tide_bytes_equal(VIEW(job->name), name_or_id)) return job;
    if (name_or_id.len != 32) return NULL;
    for (struct job *job = c->jobs; job; job = job->next) {
        char hex[33];
        for (int i = 0; i < 16; i++)
            snprintf(hex + 2 * i, 3, "%02x", job->id.b[i]);
        if (memcmp(hex, name_or_id.data, 32) == 0) return job;
    }
    return NULL;
}

/* ---- birth and end */

static void store_too_slow(struct core *c, void *arg)
{
    (void)arg;
    core_stop(c, 1, "the store has not answered within its limit ([store] timeout)");
}

static void watch(struct core *c, void *arg)
{
    uint32_t shortest = 0;
    (void)arg;
    for (const struct job *job = c->jobs; job; job = job->next) {
        uint32_t beat = job->graph->checkpointing.heartbeat_ms;
        if (job->workers && (!shortest || beat < shortest)) shortest = beat;
    }
    if (shortest) timer_set(c, &c->watch_timer, c->now + shortest * MS / 2);
}

static void reserve_again(struct core *c, void *arg)
{
    (void)arg;
    core_reserve_ids(c);
}

struct core *core_new(const struct core_config *config, const struct tide_catalog *catalog,
                      uint64_t seed)
{
    struct core *c = core_alloc(sizeof *c);
    c->config = *config;
    c->config.state_root = core_printf("%s", config->state_root);
    c->config.savepoint_root =
        config->savepoint_root ? core_printf("%s", config->savepoint_root) : NULL;
    c->config.software = core_printf("%s", config->software);
    c->store_id = catalog->store_id;
    c->incarnation = catalog->incarnation;
    if (PLANTED(OLD_INCARNATION) && catalog->n_incarnations > 1)
        c->incarnation = catalog->incarnations[catalog->n_incarnations - 2].number;
    c->nonce = catalog->nonce;
    c->n_incarnations = catalog->n_incarnations;
    c->incarnations = core_alloc((catalog->n_incarnations + 1) * sizeof *c->incarnations);
    if (catalog->n_incarnations)
        memcpy(c->incarnations, catalog->incarnations,
               catalog->n_incarnations * sizeof *c->incarnations);
    c->rng = seed;
    c->next_id = PLANTED(REUSE_ID) && catalog->reserved >= ID_BLOCK
                     ? catalog->reserved - ID_BLOCK + 1
                     : catalog->reserved + 1;
    c->first_id = c->next_id;
    c->reserved = PLANTED(REUSE_ID) ? catalog->reserved : c->next_id - 1;
    c->external = catalog->external;
    c->lease_us = catalog->lease_us;
    c->jobs_end = &c->jobs;
    c->store_timer = (struct timer){.fire = store_too_slow};
    c->reserve_timer = (struct timer){.fire = reserve_again};
    c->watch_timer = (struct timer){.fire = watch};
    c->deadline_told = NEVER;
    tide_arena_init(&c->arena, TIDE_ARENA_MAX);
    tide_arena_init(&c->out, (size_t)1 << 30);
    struct actions none;
    actions_init(&none);
    c->todo = &none; /* loading asks nothing of the host yet */
    for (uint32_t i = 0; i < catalog->n_jobs; i++)
        job_load(c, &catalog->jobs[i]);
    core_assert(none.n == 0);
    actions_release(&none);
    c->todo = NULL;
    return c;
}

static void free_values(struct map *m)
{
    for (size_t i = 0; i < m->cap; i++)
        free(m->slots[i].value);
    free(m->slots);
}

void core_limits(struct core *c, uint32_t jobs_max, uint32_t workers_max, uint64_t join_memory)
{
    c->config.jobs_max = jobs_max;
    c->config.workers_max = workers_max;
    c->config.join_memory = join_memory;
}

void core_free(struct core *c)
{
    if (!c) return;
    struct actions none;
    actions_init(&none);
    c->todo = &none; /* whatever the last rites would say, nobody hears */
    timers_end(c);
    for (size_t i = 0; i < c->sessions.cap; i++) {
        struct session *s = c->sessions.slots[i].value;
        if (s) joining_end(c, s);
    }
    while (c->jobs) {
        struct job *job = c->jobs;
        c->jobs = job->next;
        job_free(job);
    }
    while (c->waiters) {
        struct waiter *w = c->waiters;
        c->waiters = w->next;
        free(w);
    }
    actions_release(&none);
    free_values(&c->sessions);
    free_values(&c->pending);
    free(c->timers.heap);
    free(c->incarnations);
    free((char *)(uintptr_t)c->config.state_root);
    free((char *)(uintptr_t)c->config.savepoint_root);
    free((char *)(uintptr_t)c->config.software);
    tide_arena_release(&c->arena);
    tide_arena_release(&c->out);
    free(c);
}

/* ---- events */

static void start(struct core *c)
{
    core_assert(!c->started);
    c->started = true;
    c->external = c->external > c->wall ? c->external : c->wall;
    core_reserve_ids(c);
    for (struct job *job = c->jobs; job; job = job->next) {
        for (struct worker *w = job->workers; w; w = w->next)
            worker_renew(c, w);
        if (job->adopting) {
            core_log(c, LEVEL_INFO, about_job(job),
                     "job %s: attempt %" PRIu64 " was open; its workers have %u ms to come back",
                     job->name, job->attempt, job->graph->checkpointing.grace_ms);
            timer_set(c, &job->grace_timer, c->now + job->graph->checkpointing.grace_ms * MS);
        }
        for (struct operation *op = job->operations; op; op = op->next)
            op->expires_us = c->now + job->graph->checkpointing.deadline_ms * MS;
        if (job->adopting && job->drain_lost)
            attempt_end(c, job, "the daemon restarted while the job was being drained");
        if (tide_job_ended(job->state)) /* nobody knows here what leases are still believed */
            job->let_go_us = c->now + c->lease_us + c->lease_us / 8;
        /* what the last daemon may have left between the row and the rename */
        const struct operation *stop = stop_taken(job);
        for (struct snapshot *s = job->snapshots; s; s = s->next) {
            if (s->kind != TIDE_SAVEPOINT || s->state != TIDE_RETAINED || s->imported) continue;
            ask_file(c, FILE_META_PUBLISH, s->directory, ASKED_PUBLISH, job, s->round);
            if (stop && stop->snapshot == s->round) job->publishing = s->round;
        }
        trigger_pump(c, job);
        dispose_pump(c, job);
        export_pump(c, job);
        clean_pump(c, job);
        job_finish(c, job);
        if (job->state == TIDE_JOB_STOPPING) attempt_try(c, job);
        order_pump(c, job);
    }
}

static void opened(struct core *c, const struct event *ev)
{
    core_assert(ev->session != 0 && map_get(&c->sessions, ev->session) == NULL);
    struct session *s = core_alloc(sizeof *s);
    s->id = ev->session;
    s->kind = (uint8_t)ev->peer.kind;
    s->version = (uint8_t)ev->peer.version;
    map_put(&c->sessions, s->id, s);
}

static void closed(struct core *c, const struct event *ev)
{
    struct session *s = map_remove(&c->sessions, ev->session);
    if (!s) return;
    if (s->kind == TIDE__PEER_KIND__PEER_ADMIN) operation_unwait(c, s->id);
    if (s->worker) worker_closed(c, s->worker, ev->text ? ev->text : "connection closed");
    joining_end(c, s);
    free(s);
}

static void frame(struct core *c, const struct event *ev)
{
    struct session *s = map_get(&c->sessions, ev->session);
    if (!s) return; /* refused in an earlier frame of the same read */
    if (s->kind == TIDE__PEER_KIND__PEER_ADMIN)
        admin_frame(c, s, ev->bytes);
    else
        worker_frame(c, s, ev->bytes);
}

/* Goes on with the shutdown as far as it can: called once, and after each answer of the store. */
void core_shutdown_step(struct core *c)
{
    if (!c->shutting_down || c->stopped || c->commits) return;
    Tide__Bye bye = TIDE__BYE__INIT;
    Tide__ToWorker message = TIDE__TO_WORKER__INIT;
    bye.reason = PB(VIEW("the daemon shuts down and will be back; go on computing"));
    message.msg_case = TIDE__TO_WORKER__MSG_BYE;
    message.bye = &bye;
    for (size_t i = 0; i < c->sessions.cap; i++) {
        struct session *s = c->sessions.slots[i].value;
        if (s && s->kind == TIDE__PEER_KIND__PEER_WORKER) send_worker(c, s->id, &message);
    }
    core_stop(c, 0, "shut down in good order");
}

static void begin_shutdown(struct core *c)
{
    if (c->shutting_down) return;
    c->shutting_down = true;
    for (struct job *job = c->jobs; job; job = job->next)
        round_abort_all(c, job, TIDE__ABORT_CODE__ABORT_SHUTDOWN, NULL);
    /* what rides unawaited gets a flush to ride on */
    struct tide_commit *flush = tide_commit_new(true);
    core_assert(flush != NULL);
    c->flushing = true;
    ask_commit(c, flush, ASKED_FLUSH, NULL, 0);
}

/* Said once: while the loop catches up, each event comes late, until the timers have run. */
static void stood_still(struct core *c, uint64_t gap)
{
    uint32_t renewed = 0;
    for (struct job *job = PLANTED(GRACE_RUNS_ON) ? NULL : c->jobs; job; job = job->next) {
        /* whoever came meanwhile was not heard; when all are back, nobody is waited for */
        if (job->adopting && job->grace_timer.place)
            timer_set(c, &job->grace_timer, c->now + job->graph->checkpointing.grace_ms * MS);
        if (gap <= job->graph->checkpointing.heartbeat_ms * MS) continue;
        renewed++;
        for (struct worker *w = job->workers; w; w = w->next)
            if (w->standing != STANDS_REWINDING) worker_renew(c, w);
    }
    if (renewed && !c->standstill_said)
        core_log(c, LEVEL_WARN, (struct about){0},
                 "the loop stood still for %" PRIu64 " ms: leases of %" PRIu32
                 " job%s count as renewed",
                 gap / MS, renewed, renewed == 1 ? "" : "s");
    c->standstill_said |= renewed > 0;
}

void core_step(struct core *c, const struct event *ev, struct actions *todo)
{
    if (c->stopped) return;
    c->todo = todo;
    c->now = ev->now_us;
    c->wall = ev->wall_us;
    core_assert(c->started || ev->type == EV_START);
    if (c->deadline_told != NEVER && c->now > c->deadline_told + GAP_MIN_US)
        stood_still(c, c->now - c->deadline_told);
    else
        c->standstill_said = false;
    switch (ev->type) {
    case EV_START: start(c); break;
    case EV_OPEN: opened(c, ev); break;
    case EV_FRAME: frame(c, ev); break;
    case EV_CLOSED: closed(c, ev); break;
    case EV_TIMER: timers_run(c); break;
    case EV_STORED:
    case EV_FILE:
    case EV_MANIFEST:
    case EV_SENT: answered(c, ev); break;
    case EV_SHUTDOWN: begin_shutdown(c); break;
    }
    core_shutdown_step(c);
    if (c->n_workers && !c->watch_timer.place) watch(c, NULL);
    tide_arena_reset(&c->arena);
    tide_arena_reset(&c->out);
    c->deadline_told = core_deadline(c);
    c->todo = NULL;
}

uint64_t core_deadline(const struct core *c)
{
    return c->timers.n ? c->timers.heap[1]->at : NEVER;
}
