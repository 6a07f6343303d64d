/* Coordinators and hooks: what the session delivers to them becomes callbacks, what the program
 * says about them goes to the session.
 *
 * A coordinator has a gateway (gateway.h), which this file drives: a round marks it when it is
 * asked for, the program's tide_coordinator_snapshot() closes it, the daemon's words open it again.
 * The snapshot goes to the session once every event before it is confirmed. Gateways and what waits
 * for them are guarded by the worker's lock; callbacks run without it. */
#include <stdlib.h>
#include <string.h>

#include "client/gateway.h"
#include "client/worker_impl.h"

#define HELD_MAX ((size_t)64 << 20)
#define DATA_MAX ((size_t)1 << 20)

struct tide_part { /* what coordinators and hooks have in common */
    struct tide_worker *worker;
    uint32_t index;
    void *user;
    uint64_t attempt; /* guarded: that it was restored in */
    struct tide_coordinator *coordinator;
    struct tide_hook *hook;
};

struct taken { /* guarded: a snapshot that waits for events */
    struct taken *next;
    uint64_t round;
    size_t n;
    uint8_t data[];
};

struct tide_coordinator {
    struct tide_part part;
    struct tide_coordinator_callbacks callbacks;
    struct tide_gateway *gateway; /* guarded */
    struct taken *taken;
    bool running, failed; /* guarded */
};

struct tide_hook {
    struct tide_part part;
    struct tide_hook_callbacks callbacks;
    struct tide_buf data; /* for the trigger under way */
    bool closed;
};

static struct tide_bytes text_of(const char *reason)
{
    return tide_bytes_of(reason ? reason : "");
}

/* ---- birth and end */

static int add(struct tide_worker *w, bool hook, const char *name, struct tide_part *part)
{
    struct tide_part **parts = realloc(w->parts, (w->n_parts + 1) * sizeof *parts);
    if (!parts) return TIDE_ENOMEM;
    w->parts = parts;
    pthread_mutex_lock(&w->lock);
    int64_t index =
        w->started ? TIDE_ESTATE : tide_session_add_external(w->session, hook, tide_bytes_of(name));
    pthread_mutex_unlock(&w->lock);
    if (index < 0) return (int)index;
    part->worker = w;
    part->index = (uint32_t)index;
    parts[w->n_parts++] = part;
    return 0;
}

static int cannot_add(struct tide_worker *w, const char *what, const char *name, int rc)
{
    tide_worker_say(w, "%s %s cannot be added: %s", what, name,
                    rc == TIDE_ENOTFOUND ? "the spec has none of that name" : tide_strerror(rc));
    return rc;
}

static uint32_t parallelism_of(const struct tide_worker *w, const char *uid)
{
    const struct tide_graph *g = tide_session_graph(w->session);
    for (uint32_t i = 0; i < g->n_operators; i++)
        if (tide_bytes_equal(g->operators[i].uid, tide_bytes_of(uid)))
            return g->operators[i].parallelism;
    return 0;
}

static bool is_regional(const struct tide_worker *w)
{
    return tide_session_graph(w->session)->checkpointing.regional != 0;
}

static void coordinator_free(struct tide_coordinator *c)
{
    while (c->taken) {
        struct taken *t = c->taken;
        c->taken = t->next;
        free(t);
    }
    tide_gateway_free(c->gateway);
    free(c);
}

#define LEAST_COORDINATOR                                                                          \
    (offsetof(struct tide_coordinator_callbacks, stop) + sizeof(void (*)(void)))
#define LEAST_HOOK (offsetof(struct tide_hook_callbacks, close) + sizeof(void (*)(void)))

int tide_worker_add_coordinator_sized(struct tide_worker *w, const char *uid,
                                      const struct tide_coordinator_callbacks *from, size_t size,
                                      void *user, struct tide_coordinator **ret)
{
    if (!w || !uid || !from) return TIDE_EINVAL;
    struct tide_coordinator *c = calloc(1, sizeof *c);
    if (!c) return TIDE_ENOMEM;
    int rc = tide_sized_copy(&c->callbacks, sizeof c->callbacks, from, size, LEAST_COORDINATOR);
    if (!rc && (!c->callbacks.restore || !c->callbacks.snapshot)) rc = TIDE_EINVAL;
    if (!rc && is_regional(w) && c->callbacks.event && !c->callbacks.reset) {
        coordinator_free(c);
        tide_worker_say(w,
                        "the coordinator of %s cannot be added: in a regional job it needs a "
                        "reset callback",
                        uid);
        return TIDE_EINVAL;
    }
    if (!rc) rc = tide_gateway_new(parallelism_of(w, uid), HELD_MAX, &c->gateway);
    if (!rc) rc = add(w, false, uid, &c->part);
    if (rc) {
        coordinator_free(c);
        return cannot_add(w, "the coordinator of", uid, rc);
    }
    c->part.coordinator = c;
    c->part.user = user;
    if (ret) *ret = c;
    return 0;
}

int tide_worker_add_hook_sized(struct tide_worker *w, const char *name,
                               const struct tide_hook_callbacks *from, size_t size, void *user,
                               struct tide_hook **ret)
{
    if (!w || !name || !from) return TIDE_EINVAL;
    struct tide_hook *h = calloc(1, sizeof *h);
    if (!h) return TIDE_ENOMEM;
    tide_buf_init(&h->data, DATA_MAX);
    int rc = tide_sized_copy(&h->callbacks, sizeof h->callbacks, from, size, LEAST_HOOK);
    if (!rc && !h->callbacks.trigger) rc = TIDE_EINVAL;
    if (!rc) rc = add(w, true, name, &h->part);
    if (rc) {
        free(h);
        return cannot_add(w, "hook", name, rc);
    }
    h->part.hook = h;
    h->part.user = user;
    if (ret) *ret = h;
    return 0;
}

struct tide_worker *tide_coordinator_worker(const struct tide_coordinator *c)
{
    return c->part.worker;
}

struct tide_worker *tide_hook_worker(const struct tide_hook *h)
{
    return h->part.worker;
}

static void hook_close(struct tide_hook *h)
{
    if (h->closed) return;
    h->closed = true;
    if (h->callbacks.close) h->callbacks.close(h, h->part.user);
}

void tide_parts_stop(struct tide_worker *w, const char *outcome)
{
    for (uint32_t i = 0; i < w->n_parts; i++) {
        struct tide_coordinator *c = w->parts[i]->coordinator;
        if (w->parts[i]->hook)
            hook_close(w->parts[i]->hook);
        else if (c->callbacks.stop)
            c->callbacks.stop(c, outcome, c->part.user);
    }
}

void tide_parts_free(struct tide_worker *w)
{
    for (uint32_t i = 0; i < w->n_parts; i++)
        if (w->parts[i]->hook) hook_close(w->parts[i]->hook);
    for (uint32_t i = 0; i < w->n_parts; i++) {
        struct tide_hook *h = w->parts[i]->hook;
        if (w->parts[i]->coordinator) coordinator_free(w->parts[i]->coordinator);
        if (h) tide_buf_release(&h->data);
        free(h);
    }
    free(w->parts);
}

/* ---- answers; with the lock held */

static int answer(struct tide_part *p, uint64_t round, int rc, struct tide_bytes what)
{
    return tide_session_external_answer(p->worker->session, p->index, p->attempt, round, rc, what,
                                        tide_now_us());
}

static void drop_taken(struct tide_coordinator *c, uint64_t round) /* 0: all */
{
    for (struct taken **at = &c->taken; *at;) {
        struct taken *t = *at;
        if (round && t->round != round) {
            at = &t->next;
            continue;
        }
        *at = t->next;
        free(t);
    }
}

/* An event is lost: the coordinator's state and that of its subtasks differ. */
static void look_for_loss(struct tide_coordinator *c)
{
    if (!tide_gateway_failed(c->gateway) || c->failed) return;
    c->failed = true;
    (void)tide_session_external_failed(c->part.worker->session, c->part.index,
                                       tide_bytes_of("an event that it had sent is lost"),
                                       tide_now_us());
}

/* Snapshots for which there is nothing to wait for any more. */
static void settle(struct tide_coordinator *c)
{
    look_for_loss(c);
    for (struct taken **at = &c->taken; *at;) {
        struct taken *t = *at;
        int rc = tide_gateway_settled(c->gateway, t->round);
        if (rc == TIDE_EAGAIN) {
            at = &t->next;
            continue;
        }
        if (rc != TIDE_ESTALE)
            (void)answer(&c->part, t->round, rc,
                         rc ? tide_bytes_of("an event that it had sent is lost")
                            : (struct tide_bytes){t->data, t->n});
        *at = t->next;
        free(t);
    }
}

static int fail_round(struct tide_coordinator *c, uint64_t round, int rc, struct tide_bytes reason)
{
    tide_gateway_open(c->gateway, round);
    drop_taken(c, round);
    return answer(&c->part, round, rc, reason);
}

/* ---- what the program says */

int tide_coordinator_restored(struct tide_coordinator *c, int rc, const char *reason)
{
    struct tide_worker *w = c->part.worker;
    pthread_mutex_lock(&w->lock);
    int result = tide_session_external_restored(w->session, c->part.index, rc, text_of(reason),
                                                tide_now_us());
    pthread_mutex_unlock(&w->lock);
    tide_worker_wake(w);
    return result;
}

int tide_coordinator_event(struct tide_coordinator *c, uint32_t subtask, const void *data, size_t n)
{
    struct tide_worker *w = c->part.worker;
    int rc = TIDE_ESTATE;
    if (!c->callbacks.event) return TIDE_EINVAL;
    pthread_mutex_lock(&w->lock);
    if (c->running) rc = tide_gateway_put(c->gateway, subtask, (struct tide_bytes){data, n});
    pthread_mutex_unlock(&w->lock);
    if (!rc) tide_worker_wake(w);
    return rc;
}

int tide_coordinator_confirm(struct tide_coordinator *c, uint64_t event, int rc)
{
    struct tide_worker *w = c->part.worker;
    pthread_mutex_lock(&w->lock);
    tide_gateway_confirm(c->gateway, event, rc != 0);
    settle(c);
    pthread_mutex_unlock(&w->lock);
    tide_worker_wake(w);
    return 0;
}

int tide_coordinator_snapshot(struct tide_coordinator *c, uint64_t round, const void *data,
                              size_t n)
{
    struct tide_worker *w = c->part.worker;
    if (n > DATA_MAX) return TIDE_ETOOBIG;
    struct taken *t = malloc(sizeof *t + n);
    if (!t) return TIDE_ENOMEM;
    *t = (struct taken){.round = round, .n = n};
    if (n) memcpy(t->data, data, n);
    pthread_mutex_lock(&w->lock);
    bool closed = tide_gateway_close(c->gateway, round), twice = false;
    for (const struct taken *other = c->taken; other; other = other->next)
        twice = twice || other->round == round;
    if (closed && !twice) {
        t->next = c->taken;
        c->taken = t;
        settle(c);
    } else {
        free(t);
    }
    pthread_mutex_unlock(&w->lock);
    tide_worker_wake(w);
    return closed ? 0 : TIDE_ESTALE;
}

int tide_coordinator_failed(struct tide_coordinator *c, uint64_t round, const char *reason)
{
    struct tide_worker *w = c->part.worker;
    pthread_mutex_lock(&w->lock);
    int rc = round ? fail_round(c, round, TIDE_EIO, text_of(reason))
                   : tide_session_external_failed(w->session, c->part.index, text_of(reason),
                                                  tide_now_us());
    pthread_mutex_unlock(&w->lock);
    tide_worker_wake(w);
    return rc;
}

int tide_hook_data(struct tide_hook *h, const void *data, size_t n)
{
    if (n > DATA_MAX) return TIDE_ETOOBIG;
    tide_buf_clear(&h->data);
    tide_buf_put(&h->data, data, n);
    return h->data.rc;
}

int tide_hook_done(struct tide_hook *h, uint64_t round, int rc, const void *data, size_t n,
                   const char *reason)
{
    struct tide_worker *w = h->part.worker;
    struct tide_bytes bytes = {data, n}, what = rc ? text_of(reason) : bytes;
    pthread_mutex_lock(&w->lock);
    int result = round ? answer(&h->part, round, rc, what)
                       : tide_session_external_restored(w->session, h->part.index, rc,
                                                        text_of(reason), tide_now_us());
    pthread_mutex_unlock(&w->lock);
    tide_worker_wake(w);
    return result;
}

/* ---- what the session delivers */

static int restore(struct tide_part *p, const struct tide_delivery *d)
{
    static const uint8_t nothing[1];
    const void *data = d->has_data ? d->bytes.len ? d->bytes.data : nothing : NULL;
    struct tide_coordinator *c = p->coordinator;
    struct tide_hook *h = p->hook;
    pthread_mutex_lock(&p->worker->lock);
    p->attempt = d->attempt;
    pthread_mutex_unlock(&p->worker->lock);
    if (c) return c->callbacks.restore(c, data ? d->round : 0, data, d->bytes.len, p->user);
    if (data)
        return h->callbacks.restore ? h->callbacks.restore(h, d->round, data, d->bytes.len, p->user)
                                    : 0;
    return h->callbacks.reset ? h->callbacks.reset(h, p->user) : 0;
}

static void ask_coordinator(struct tide_coordinator *c, uint64_t round)
{
    struct tide_worker *w = c->part.worker;
    pthread_mutex_lock(&w->lock);
    int rc = tide_gateway_mark(c->gateway, round);
    pthread_mutex_unlock(&w->lock);
    if (!rc) rc = c->callbacks.snapshot(c, round, c->part.user);
    if (rc == TIDE_EAGAIN) return;
    if (!rc) {
        (void)tide_coordinator_snapshot(c, round, NULL, 0); /* unless it was called already */
        return;
    }
    pthread_mutex_lock(&w->lock);
    (void)fail_round(c, round, rc, (struct tide_bytes){0});
    pthread_mutex_unlock(&w->lock);
}

static void ask_hook(struct tide_hook *h, uint64_t round)
{
    tide_buf_clear(&h->data);
    int rc = h->callbacks.trigger(h, round, h->part.user);
    if (rc != TIDE_EAGAIN) (void)tide_hook_done(h, round, rc, h->data.data, h->data.len, NULL);
}

static void to_hook(struct tide_hook *h, const struct tide_delivery *d)
{
    if (d->type == TIDE_DO_EXTERNAL_SNAPSHOT) ask_hook(h, d->round);
}

static void reset(struct tide_coordinator *c, bool running)
{
    pthread_mutex_lock(&c->part.worker->lock);
    tide_gateway_reset(c->gateway);
    drop_taken(c, 0);
    c->running = running;
    c->failed = false;
    pthread_mutex_unlock(&c->part.worker->lock);
}

static void release(struct tide_coordinator *c, const struct tide_delivery *d)
{
    pthread_mutex_lock(&c->part.worker->lock);
    if (d->count == UINT32_MAX || d->type != TIDE_DO_EXTERNAL_RELEASE) {
        tide_gateway_open(c->gateway, d->round);
        drop_taken(c, d->round);
    } else {
        tide_gateway_release(c->gateway, d->round, d->first, d->count);
    }
    pthread_mutex_unlock(&c->part.worker->lock);
}

/* Before anything is said about them in the new attempt: what the program sends from now on waits
 * until they run. */
static void subtasks_lost(struct tide_coordinator *c, const struct tide_delivery *d)
{
    pthread_mutex_lock(&c->part.worker->lock);
    tide_gateway_reset_subtasks(c->gateway, d->first, d->count);
    tide_gateway_pause_subtasks(c->gateway, d->first, d->count);
    pthread_mutex_unlock(&c->part.worker->lock);
    for (uint32_t i = 0; c->callbacks.reset && i < d->count; i++)
        c->callbacks.reset(c, d->first + i, d->round, c->part.user);
    pthread_mutex_lock(&c->part.worker->lock);
    settle(c); /* what an answer waited for may have been among it */
    pthread_mutex_unlock(&c->part.worker->lock);
}

static void subtasks_ready(struct tide_coordinator *c)
{
    pthread_mutex_lock(&c->part.worker->lock);
    tide_gateway_resume(c->gateway);
    pthread_mutex_unlock(&c->part.worker->lock);
}

static void to_coordinator(struct tide_coordinator *c, const struct tide_delivery *d)
{
    const struct tide_coordinator_callbacks *call = &c->callbacks;
    char text[512];
    size_t n = d->text.len < sizeof text ? d->text.len : sizeof text - 1;
    switch (d->type) {
    case TIDE_DO_EXTERNAL_RUN:
        reset(c, true);
        if (call->run) call->run(c, c->part.user);
        break;
    case TIDE_DO_EXTERNAL_SNAPSHOT: ask_coordinator(c, d->round); break;
    case TIDE_DO_EXTERNAL_RELEASE: release(c, d); break;
    case TIDE_DO_EXTERNAL_COMPLETE:
        release(c, d);
        if (call->complete) call->complete(c, d->round, c->part.user);
        break;
    case TIDE_DO_EXTERNAL_ABORT:
        release(c, d);
        if (call->abort) call->abort(c, d->round, c->part.user);
        break;
    case TIDE_DO_EXTERNAL_LOST: subtasks_lost(c, d); break;
    case TIDE_DO_EXTERNAL_READY: subtasks_ready(c); break;
    case TIDE_DO_EXTERNAL_REWIND:
        reset(c, false);
        if (n) memcpy(text, d->text.data, n);
        text[n] = '\0';
        if (call->rewind) call->rewind(c, text, c->part.user);
        break;
    default: break;
    }
}

void tide_parts_deliver(struct tide_worker *w, const struct tide_delivery *d)
{
    struct tide_part *p = w->parts[d->external];
    if (d->type == TIDE_DO_EXTERNAL_RESTORE) {
        int rc = !d->start || tide_deliver_begin(w, d) ? restore(p, d) : TIDE_ENOMEM;
        if (rc == TIDE_EAGAIN) return;
        pthread_mutex_lock(&w->lock);
        (void)tide_session_external_restored(w->session, p->index, rc, (struct tide_bytes){0},
                                             tide_now_us());
        pthread_mutex_unlock(&w->lock);
    } else if (p->coordinator) {
        to_coordinator(p->coordinator, d);
    } else {
        to_hook(p->hook, d);
    }
}

void tide_parts_advance(struct tide_worker *w, uint64_t attempt)
{
    pthread_mutex_lock(&w->lock);
    for (uint32_t i = 0; i < w->n_parts; i++)
        w->parts[i]->attempt = attempt;
    pthread_mutex_unlock(&w->lock);
}

bool tide_parts_events(struct tide_worker *w)
{
    bool any = false;
    for (uint32_t i = 0; i < w->n_parts; i++) {
        struct tide_coordinator *c = w->parts[i]->coordinator;
        struct tide_gateway_event e;
        while (c && c->running && tide_gateway_next(c->gateway, &e)) {
            pthread_mutex_unlock(&w->lock);
            int rc =
                c->callbacks.event(c, e.subtask, e.id, e.bytes.data, e.bytes.len, c->part.user);
            pthread_mutex_lock(&w->lock);
            if (rc != TIDE_EAGAIN) tide_gateway_confirm(c->gateway, e.id, rc != 0);
            settle(c);
            any = true;
        }
    }
    return any;
}
