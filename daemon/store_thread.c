/* The store thread
 *
 * The usual way: the loop appends to `queue` and wakes the thread; the thread takes the whole
 * queue, commits it, appends it to `finished` and wakes the loop, which hands the outcomes on. For
 * a commit that nobody awaits the thread is not even woken, unless a timer of the loop finds that
 * it has waited long enough.
 *
 * What can go wrong, and what we do:
 * - the store hangs             -> the limit's timer sees that the oldest commit is over it;
 * failed()
 * - the store cannot be maintained, or settled for a reader -> failed()
 * - the loop stops meanwhile    -> what is queued is committed first, riders too */
#include "daemon/store_thread.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "daemon/util.h"
#include "proto/err.h"

#define MAINTAIN_US 5000000u /* maintain at least so often while commits keep coming */

struct list {
    struct tide_commit *first, *last;
};

struct store_thread {
    struct store_thread_options o;
    pthread_t thread;
    uv_async_t wake;
    uv_timer_t limit, ride;
    unsigned handles;
    bool stopped, reported;

    uv_mutex_t lock; /* for what follows */
    uv_cond_t ready;
    struct list queue, finished;
    uint32_t awaited; /* of the queue */
    uint64_t flushes;
    bool flush;               /* riders have waited long enough */
    bool unsettled;           /* readers do not see all that is stored */
    uint64_t settle, settled; /* tickets: the last one asked for, the last one served */
    int settled_rc;           /* how that went */
    bool let_go;              /* nobody waits for that any more */
    uv_cond_t served;
    bool stop, broken;

    _Atomic uint64_t entered_us; /* the thread is in the store since then; 0: it is not */

    /* The thread's own. */
    bool dirty; /* committed to since it was last maintained, */
    bool more;  /* or in the middle of that */
    uint64_t dirty_us;

    /* The loop's own. */
    uint64_t in_flight, oldest_us;
};

static void append(struct list *l, struct tide_commit *first, struct tide_commit *last)
{
    if (!first) return;
    if (l->last)
        l->last->next = first;
    else
        l->first = first;
    l->last = last;
}

static uint64_t monotonic_us(void)
{
    return uv_hrtime() / 1000;
}

/* ---- on the thread */

static void finish(struct store_thread *t, struct list done, bool broken)
{
    uv_mutex_lock(&t->lock);
    append(&t->finished, done.first, done.last);
    if (done.first) t->flushes++, t->unsettled = true;
    if (broken) t->broken = true;
    uv_mutex_unlock(&t->lock);
    (void)uv_async_send(&t->wake);
}

static int enter(struct store_thread *t, int (*call)(void *store))
{
    t->entered_us = monotonic_us();
    int rc = call(t->o.store);
    t->entered_us = 0;
    if (rc < 0 && rc != TIDE_ENOSPC) finish(t, (struct list){0}, true);
    return rc;
}

/* Makes those who asked see all that is stored. */
static void serve(struct store_thread *t, uint64_t ticket)
{
    int rc = enter(t, t->o.settle);
    uv_mutex_lock(&t->lock);
    t->unsettled = rc != 0;
    t->settled = ticket;
    t->settled_rc = rc;
    uv_mutex_unlock(&t->lock);
    uv_cond_broadcast(&t->served);
}

/* One step; the next one follows at once if nothing else is to do. */
static void maintain(struct store_thread *t)
{
    t->more = enter(t, t->o.maintain) > 0;
    t->dirty = t->more;
    if (!t->more) t->dirty_us = monotonic_us();
}

struct work { /* all of it zero: time to maintain */
    struct list group;
    uint64_t ticket; /* of who wants to read; 0: nobody */
};

/* Waits for work. False: stop. */
static bool take(struct store_thread *t, struct work *ret)
{
    bool quiet = false;
    uv_mutex_lock(&t->lock);
    while (!t->awaited && !t->flush && !t->stop && t->settle == t->settled && !quiet)
        if (t->more)
            quiet = true;
        else if (t->dirty)
            quiet = uv_cond_timedwait(&t->ready, &t->lock, t->o.quiet_us * 1000) == UV_ETIMEDOUT;
        else
            uv_cond_wait(&t->ready, &t->lock);
    bool group = t->awaited || t->flush || t->stop;
    *ret = (struct work){.ticket = t->settle == t->settled ? 0 : t->settle};
    if (group) ret->group = t->queue, t->queue = (struct list){0}, t->awaited = 0, t->flush = false;
    bool go_on = ret->group.first || !t->stop;
    uv_mutex_unlock(&t->lock);
    return go_on;
}

static void commit(struct store_thread *t, struct list group)
{
    t->entered_us = monotonic_us();
    t->o.commit(t->o.store, group.first);
    t->entered_us = 0;
    finish(t, group, false);
    if (!t->dirty) t->dirty_us = monotonic_us();
    t->dirty = true;
    t->more = false;
}

static void *run(void *arg)
{
    struct store_thread *t = arg;
    struct work w;
    while (take(t, &w)) {
        if (w.group.first) commit(t, w.group);
        if (w.ticket) serve(t, w.ticket);
        bool quiet = !w.group.first && !w.ticket;
        if (t->dirty && (quiet || monotonic_us() - t->dirty_us > MAINTAIN_US)) maintain(t);
    }
    return NULL;
}

/* ---- on the loop */

static void report(struct store_thread *t, const char *why)
{
    if (t->reported) return;
    t->reported = true;
    t->o.failed(t->o.user, why);
}

static void on_limit(uv_timer_t *timer)
{
    struct store_thread *t = timer->data;
    if (!t->in_flight) return;
    uint64_t age = monotonic_us() - t->oldest_us;
    if (age >= t->o.timeout_us) {
        char why[160];
        (void)snprintf(why, sizeof why, "the store has not answered for %.1f s ([store] timeout)",
                       (double)age / 1e6);
        report(t, why);
        return;
    }
    (void)uv_timer_start(&t->limit, on_limit, (t->o.timeout_us - age) / 1000 + 1, 0);
}

/* No awaited commit came that the riders could have gone with. */
static void on_ride(uv_timer_t *timer)
{
    struct store_thread *t = timer->data;
    uv_mutex_lock(&t->lock);
    t->flush = t->queue.first != NULL;
    uv_mutex_unlock(&t->lock);
    uv_cond_signal(&t->ready);
}

static void deliver(struct store_thread *t)
{
    uv_mutex_lock(&t->lock);
    struct tide_commit *first = t->finished.first;
    bool broken = t->broken;
    t->finished = (struct list){0};
    uv_mutex_unlock(&t->lock);
    for (const struct tide_commit *c = first; c; c = c->next)
        t->in_flight--;
    if (first) t->oldest_us = monotonic_us(); /* what is left came not much earlier */
    if (first) t->o.done(t->o.user, first);
    if (broken) report(t, "the database cannot be written");
}

static void on_wake(uv_async_t *wake)
{
    deliver(wake->data);
}

struct store_thread *store_thread_start(const struct store_thread_options *o)
{
    struct store_thread *t = must_alloc(sizeof *t);
    sigset_t all, before;
    t->o = *o;
    t->wake.data = t->limit.data = t->ride.data = t;
    if (uv_async_init(o->loop, &t->wake, on_wake) || uv_timer_init(o->loop, &t->limit) ||
        uv_timer_init(o->loop, &t->ride) || uv_mutex_init(&t->lock) || uv_cond_init(&t->ready) ||
        uv_cond_init(&t->served))
        die_for_want("open files or memory");
    t->handles = 3;
    (void)sigfillset(&all); /* signals are the loop's */
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&t->thread, NULL, run, t)) die_for_want("threads or memory");
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return t;
}

void store_thread_submit(struct store_thread *t, struct tide_commit *c)
{
    bool awaited = c->awaited; /* the thread may be through with it before we are */
    c->next = NULL;
    if (t->in_flight++ == 0) {
        t->oldest_us = monotonic_us();
        if (!uv_is_active((uv_handle_t *)&t->limit))
            (void)uv_timer_start(&t->limit, on_limit, t->o.timeout_us / 1000 + 1, 0);
    }
    uv_mutex_lock(&t->lock);
    append(&t->queue, c, c);
    if (awaited) t->awaited++;
    uv_mutex_unlock(&t->lock);
    if (awaited)
        uv_cond_signal(&t->ready);
    else if (!uv_is_active((uv_handle_t *)&t->ride))
        (void)uv_timer_start(&t->ride, on_ride, t->o.ride_us / 1000 + 1, 0);
}

int store_thread_settle(struct store_thread *t)
{
    uint64_t until = monotonic_us() + t->o.timeout_us;
    int rc = 0;
    uv_mutex_lock(&t->lock);
    uint64_t ticket = t->unsettled ? ++t->settle : 0;
    if (ticket) uv_cond_signal(&t->ready);
    while (!rc && t->settled < ticket) {
        uint64_t now = monotonic_us();
        if (t->let_go || t->stop || t->broken || now >= until)
            rc = TIDE_EBUSY;
        else
            (void)uv_cond_timedwait(&t->served, &t->lock, (until - now) * 1000);
    }
    if (!rc && ticket) rc = t->settled_rc;
    uv_mutex_unlock(&t->lock);
    return rc;
}

void store_thread_let_go(struct store_thread *t)
{
    uv_mutex_lock(&t->lock);
    t->let_go = true;
    uv_mutex_unlock(&t->lock);
    uv_cond_broadcast(&t->served);
}

uint64_t store_thread_waiting(const struct store_thread *t)
{
    return t->in_flight;
}

uint64_t store_thread_flushes(const struct store_thread *t)
{
    struct store_thread *mutable = (struct store_thread *)(uintptr_t)t;
    uv_mutex_lock(&mutable->lock);
    uint64_t n = t->flushes;
    uv_mutex_unlock(&mutable->lock);
    return n;
}

uint64_t store_thread_busy_us(const struct store_thread *t)
{
    uint64_t since = t->entered_us, now = monotonic_us();
    return since && now > since ? now - since : 0;
}

/* The thread hangs and may still come back to what it knows. */
static void on_closed_keep(uv_handle_t *handle)
{
    (void)handle;
}

static void on_closed(uv_handle_t *handle)
{
    struct store_thread *t = handle->data;
    if (--t->handles) return;
    uv_mutex_destroy(&t->lock);
    uv_cond_destroy(&t->ready);
    uv_cond_destroy(&t->served);
    free(t);
}

bool store_thread_stop(struct store_thread *t)
{
    struct timespec until;
    if (!t || t->stopped) return true;
    t->stopped = true;
    uv_mutex_lock(&t->lock);
    t->stop = true;
    uv_mutex_unlock(&t->lock);
    uv_cond_signal(&t->ready);
    uv_cond_broadcast(&t->served);
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += (time_t)(t->o.timeout_us / 1000000 + 1);
    bool ended = pthread_timedjoin_np(t->thread, NULL, &until) == 0;
    if (ended) deliver(t);
    uv_close((uv_handle_t *)&t->wake, ended ? on_closed : on_closed_keep);
    uv_close((uv_handle_t *)&t->limit, ended ? on_closed : on_closed_keep);
    uv_close((uv_handle_t *)&t->ride, ended ? on_closed : on_closed_keep);
    return ended;
}
