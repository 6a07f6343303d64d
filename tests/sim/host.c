/* The daemon's process: hosts the core as daemon/ does, and dies between any two actions. */
#include <stdlib.h>

#include "tests/sim/sim.h"

#define STORE_TIMEOUT (400 * MS)

static void timer(struct sim *s, void *arg, uint64_t x);

bool daemon_frozen(struct sim *s, sim_fn *fn, void *arg, uint64_t x)
{
    if (s->now >= s->daemon.thaw_at) return false;
    sim_at(s, s->daemon.thaw_at, fn, arg, x);
    return true;
}

static void arm(struct sim *s)
{
    uint64_t at = core_deadline(s->daemon.core);
    if (at == NEVER) return;
    at = at > s->daemon.clock ? at - s->daemon.clock : 0;
    if (at < s->now) at = s->now;
    if (at >= s->daemon.timer_at) return;
    s->daemon.timer_at = at;
    sim_at_late(s, at, timer, NULL, s->daemon.life);
}

static void timer(struct sim *s, void *arg, uint64_t life)
{
    struct daemon *d = &s->daemon;
    if (!d->up || life != d->life) return;
    if (s->now < d->thaw_at) { /* behind all input that waits as well */
        sim_at_late(s, d->thaw_at, timer, arg, life);
        return;
    }
    if (s->now < d->timer_at) return; /* superseded */
    d->timer_at = NEVER;
    uint64_t at = core_deadline(d->core);
    if (at != NEVER && at <= s->now + d->clock)
        daemon_feed(s, (struct event){.type = EV_TIMER});
    else
        arm(s);
}

static void sent(struct sim *s, void *arg, uint64_t tag)
{
    uint64_t life = (uint64_t)(uintptr_t)arg;
    if (!s->daemon.up || s->daemon.life != life || daemon_frozen(s, sent, arg, tag)) return;
    daemon_feed(s, (struct event){.type = EV_SENT, .tag = tag});
}

static void act_send(struct sim *s, struct action *a)
{
    struct tide_bytes frames = {a->blob->data, a->blob->len};
    must(s, !s->daemon.silent, "the daemon speaks after an unknown outcome");
    check_sent(s, frames, a->sessions, a->n_sessions);
    for (uint32_t i = 0; i < a->n_sessions; i++) {
        struct conn *c = net_find(s, a->sessions[i]);
        if (c && c->open_d) net_to_worker(s, c, frames);
    }
    if (a->tell) {
        void *life = (void *)(uintptr_t)s->daemon.life;
        sim_at(s, s->now + below(s, percent(s, 5) ? 30 * MS : 200), sent, life, a->tag);
    }
}

/* Returns false when the process has stopped. */
static bool carry_out(struct sim *s, struct action *a)
{
    struct conn *c;
    switch (a->type) {
    case ACT_SEND: act_send(s, a); break;
    case ACT_CLOSE:
        c = a->n_sessions ? net_find(s, a->sessions[0]) : NULL;
        if (c && c->open_d) net_close_by_daemon(s, c);
        break;
    case ACT_COMMIT:
        check_handed(s, a->commit);
        store_submit(s, a->commit);
        a->commit = NULL;
        break;
    case ACT_FILE: files_do(s, a); break;
    case ACT_LOAD: store_load(s, a->round, a->tag); break;
    case ACT_LOG: note(s, "daemon: %s", a->text); break;
    case ACT_STOP:
        note(s, "daemon: stops (%d): %s", a->exit_code, a->text);
        daemon_crash(s, "it stopped by itself", false);
        return false;
    }
    return true;
}

void daemon_feed(struct sim *s, struct event ev)
{
    struct daemon *d = &s->daemon;
    ev.now_us = s->now + d->clock;
    ev.wall_us = s->now + d->wall;
    if (ev.type == EV_STORED && ev.outcome == TIDE_UNKNOWN) d->silent = true;
    core_step(d->core, &ev, &d->todo);
    s->stats->steps++;
    uint64_t life = d->life;
    for (size_t i = 0; i < d->todo.n; i++) {
        if (d->doomed && percent(s, 12)) {
            daemon_crash(s, "a planted crash between two actions", percent(s, 10));
            return;
        }
        if (!carry_out(s, &d->todo.items[i])) return;
        if (life != d->life) return;
    }
    must(s, !d->silent, "the daemon goes on after an unknown outcome");
    actions_clear(&d->todo);
    if (d->doomed && percent(s, 12)) {
        daemon_crash(s, "a planted crash behind an action", percent(s, 10));
        return;
    }
    if (++d->steps % 64 == 0) {
        const char *wrong = core_check(d->core);
        must(s, !wrong, "core_check: %s", wrong ? wrong : "");
    }
    arm(s);
}

void daemon_hello(struct sim *s, struct conn *c, struct tide_bytes frame)
{
    struct hello_config config = {
        s->store.store_id, s->daemon.incarnation, s->daemon.nonce, {NULL, 0}};
    struct tide_buf reply;
    struct peer peer;
    char why[160];
    tide_buf_init(&reply, 4096);
    bool ok = hello_check(&config, frame, &peer, &reply, why);
    struct tide_bytes bytes = sim_bytes(s, (struct tide_bytes){reply.data, reply.len});
    tide_buf_release(&reply);
    must(s, ok || c->stranger, "a Hello is refused: %s", why);
    net_to_worker(s, c, bytes);
    if (!ok) {
        net_close_by_daemon(s, c);
        return;
    }
    c->welcomed = true;
    daemon_feed(s, (struct event){.type = EV_OPEN, .session = c->session, .peer = peer});
}

void daemon_start(struct sim *s, void *arg, uint64_t x)
{
    struct daemon *d = &s->daemon;
    (void)arg;
    (void)x;
    if (d->up) return;
    old_put_back(s);
    struct tide_catalog catalog;
    store_catalog(s, &catalog);
    d->up = true;
    d->life++;
    d->timer_at = NEVER;
    d->started_at = s->now;
    d->doomed = d->silent = d->asked_down = false;
    d->thaw_at = 0;
    d->incarnation = catalog.incarnation;
    if (s->old.done && !s->old.from) s->old.from = d->incarnation;
    d->nonce = catalog.nonce;
    happens(s, (struct happening){.type = H_UP, .incarnation = d->incarnation});
    struct core_config config = {.state_root = "/state",
                                 .savepoint_root = "/savepoints",
                                 .store_timeout_us = STORE_TIMEOUT,
                                 .jobs_max = 10,
                                 .workers_max = 100,
                                 .software = "simulated"};
    note(s, "daemon: life %" PRIu64 " begins, incarnation %" PRIu64, d->life, d->incarnation);
    d->core = core_new(&config, &catalog, rnd(s));
    daemon_feed(s, (struct event){.type = EV_START});
    fault_restarted(s);
}

void daemon_crash(struct sim *s, const char *why, bool vanish)
{
    struct daemon *d = &s->daemon;
    if (!d->up) return;
    note(s, "daemon: dies: %s%s", why, vanish ? ", without a word to its peers" : "");
    check_crashed(s);
    happens(s, (struct happening){.type = H_WEATHER});
    happens(s, (struct happening){.type = H_DOWN});
    if (vanish) check_trouble(s, NULL); /* its peers find out too late, perhaps */
    s->stats->daemon_crashes++;
    actions_clear(&d->todo);
    core_free(d->core);
    d->core = NULL;
    d->up = false;
    d->silent = false;
    net_daemon_gone(s, vanish);
    store_crash(s);
    files_crash(s);
    for (struct job *j = s->jobs; j; j = j->next)
        j->must_hold = j->must_hold && j->store.state == TIDE_JOB_HELD; /* who knew may be dead */
    /* what was flying may have become durable just now: the end of the attempt, or of the job */
    for (struct job *j = s->jobs; j; j = j->next)
        j->resume = j->resume && j->resume_attempt == j->store.attempts && !j->store.last.ended &&
                    j->store.state == TIDE_JOB_RUNNING;
    uint64_t down =
        percent(s, 70) ? between(s, 5 * MS, 150 * MS) : between(s, 150 * MS, 3 * SECOND);
    if (s->calm) down = between(s, 5 * MS, 50 * MS);
    sim_at(s, s->now + down, daemon_start, NULL, 0);
}

void daemon_shutdown(struct sim *s)
{
    struct daemon *d = &s->daemon;
    if (!d->up || d->asked_down || s->now < d->thaw_at) return;
    d->asked_down = true;
    daemon_feed(s, (struct event){.type = EV_SHUTDOWN});
}
