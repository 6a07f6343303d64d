/* File lanes
 *
 * The usual way: the loop appends an item to its lane's queue and starts a thread if all are
 * busy; a thread takes it, runs it, appends it to `finished` and wakes the loop, which calls
 * done() and drop().
 *
 * What can go wrong, and what we do:
 * - the queue is full       -> done(TIDE_EBUSY), from the loop, never from within submit
 * - the limit is over       -> done(TIDE_ETIMEDOUT); the thread that still runs it drops it
 * - all threads of a lane hang -> its queue fills, other lanes do not notice
 * - we close meanwhile      -> the join has a limit; a hung thread keeps what it uses
 *
 * Threads without work for ten seconds end. */
#include "daemon/lanes.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/util.h"
#include "proto/err.h"

#define IDLE_NS 10000000000ull

enum item_state { QUEUED, RUNNING, FINISHED };

struct item {
    struct lane_work *work;
    struct lane *lane;
    struct item *next;            /* in the lane's queue or among the finished; guarded */
    struct item *older, *younger; /* all that await done(); the loop's own */
    uint64_t due_us;
    enum item_state state; /* guarded */
    bool abandoned;        /* guarded: done() was called, the thread drops it */
    volatile int stop;
    int rc;
    char why[LANES_WHY];
};

struct worker {
    pthread_t thread;
    enum { ABSENT, AT_WORK, GONE } state; /* GONE: to be joined */
    struct lane *lane;
};

struct lane {
    struct lane *next;
    struct lanes *all;
    char *root;
    uv_cond_t ready;
    struct item *first, *last;
    unsigned queued, idle;
    struct worker workers[];
};

struct lanes {
    struct lanes_options o;
    uv_async_t wake;
    uv_timer_t limit;
    unsigned handles;
    struct item *oldest, *youngest; /* the loop's own */
    struct lane *lanes;
    unsigned n_lanes;
    bool closed;

    uv_mutex_t lock; /* for lanes' queues and workers, and for what follows */
    struct item *finished, *finished_last;
    bool stop, dead; /* dead: the loop is gone, nobody is to be woken */
};

static uint64_t monotonic_us(void)
{
    return uv_hrtime() / 1000;
}

static void item_free(struct item *i)
{
    i->work->drop(i->work);
    free(i);
}

/* ---- on a thread, with the lock held but for the work itself */

static struct item *lane_take(struct lane *l)
{
    struct item *i = l->first;
    if (!i) return NULL;
    l->first = i->next;
    if (!l->first) l->last = NULL;
    l->queued--;
    i->next = NULL;
    i->state = RUNNING;
    return i;
}

static void finished_add(struct lanes *all, struct item *i)
{
    i->state = FINISHED;
    if (all->finished_last)
        all->finished_last->next = i;
    else
        all->finished = i;
    all->finished_last = i;
}

static void carry_out(struct lanes *all, struct item *i)
{
    uv_mutex_unlock(&all->lock);
    int rc = i->work->run(i->work, &i->stop, i->why);
    uv_mutex_lock(&all->lock);
    i->rc = rc;
    if (!i->abandoned) {
        finished_add(all, i);
        if (!all->dead) (void)uv_async_send(&all->wake);
        return;
    }
    uv_mutex_unlock(&all->lock);
    item_free(i);
    uv_mutex_lock(&all->lock);
}

static void *run(void *arg)
{
    struct worker *me = arg;
    struct lane *l = me->lane;
    struct lanes *all = l->all;
    uv_mutex_lock(&all->lock);
    for (bool timed_out = false; !all->stop && !timed_out;) {
        struct item *i = lane_take(l);
        if (i) {
            carry_out(all, i);
            continue;
        }
        l->idle++;
        timed_out = uv_cond_timedwait(&l->ready, &all->lock, IDLE_NS) == UV_ETIMEDOUT && !l->first;
        l->idle--;
    }
    me->state = GONE;
    uv_mutex_unlock(&all->lock);
    return NULL;
}

/* ---- on the loop */

static void start_thread(struct worker *w)
{
    sigset_t every, before;
    if (w->state == GONE) (void)pthread_join(w->thread, NULL);
    w->state = AT_WORK;
    (void)sigfillset(&every); /* signals are the loop's */
    (void)pthread_sigmask(SIG_SETMASK, &every, &before);
    if (pthread_create(&w->thread, NULL, run, w)) w->state = ABSENT;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* With the lock held: somebody will take what is queued. */
static void lane_wake(struct lane *l)
{
    if (l->idle >= l->queued) {
        uv_cond_signal(&l->ready);
        return;
    }
    for (unsigned i = 0; i < l->all->o.threads; i++)
        if (l->workers[i].state != AT_WORK) {
            start_thread(&l->workers[i]);
            return;
        }
}

static struct lane *lane_of(struct lanes *all, const char *root)
{
    for (struct lane *l = all->lanes; l; l = l->next)
        if (strcmp(l->root, root) == 0) return l;
    if (all->n_lanes == all->o.roots) return all->lanes; /* the latest made: shared from here on */
    struct lane *l = must_alloc(sizeof *l + all->o.threads * sizeof *l->workers);
    l->all = all;
    l->root = must_copy(root);
    if (uv_cond_init(&l->ready)) abort();
    for (unsigned i = 0; i < all->o.threads; i++)
        l->workers[i].lane = l;
    l->next = all->lanes;
    all->lanes = l;
    all->n_lanes++;
    return l;
}

static void await_remove(struct lanes *all, struct item *i)
{
    *(i->older ? &i->older->younger : &all->oldest) = i->younger;
    *(i->younger ? &i->younger->older : &all->youngest) = i->older;
    i->older = i->younger = NULL;
}

/* Kept in the order of due times; most limits are alike, so the place is near the end. */
static void await_add(struct lanes *all, struct item *i)
{
    struct item *after = all->youngest;
    while (after && after->due_us > i->due_us)
        after = after->older;
    i->older = after;
    i->younger = after ? after->younger : all->oldest;
    *(after ? &after->younger : &all->oldest) = i;
    *(i->younger ? &i->younger->older : &all->youngest) = i;
}

static void queue_remove(struct lane *l, struct item *gone)
{
    struct item *before = NULL, **at = &l->first;
    while (*at && *at != gone)
        before = *at, at = &(*at)->next;
    if (!*at) return;
    *at = gone->next;
    if (l->last == gone) l->last = before;
    l->queued--;
}

/* Calls done() before the work has ended by itself. False: it ended this very moment, and its own
 * result counts. */
static bool give_up(struct lanes *all, struct item *i, int rc, const char *why)
{
    uv_mutex_lock(&all->lock);
    enum item_state state = i->state;
    if (state == FINISHED) {
        uv_mutex_unlock(&all->lock);
        return false;
    }
    if (state == QUEUED) queue_remove(i->lane, i);
    uv_mutex_unlock(&all->lock);
    await_remove(all, i);
    __atomic_store_n(&i->stop, 1, __ATOMIC_RELAXED);
    i->work->done(i->work, rc, why);
    if (state == QUEUED) {
        item_free(i);
        return true;
    }
    uv_mutex_lock(&all->lock);
    i->abandoned = true; /* if it has ended since, deliver() drops it, otherwise its thread */
    uv_mutex_unlock(&all->lock);
    return true;
}

static void on_limit(uv_timer_t *timer);

static void arm(struct lanes *all)
{
    if (!all->oldest || all->closed) {
        if (!all->closed) (void)uv_timer_stop(&all->limit);
        return;
    }
    uint64_t now = monotonic_us();
    uint64_t left = all->oldest->due_us > now ? all->oldest->due_us - now : 0;
    (void)uv_timer_start(&all->limit, on_limit, left / 1000 + 1, 0);
}

static void on_limit(uv_timer_t *timer)
{
    struct lanes *all = timer->data;
    uint64_t now = monotonic_us();
    struct item *i = all->oldest;
    while (i && i->due_us <= now) {
        struct item *younger = i->younger;
        char why[LANES_WHY];
        (void)snprintf(why, sizeof why, "took longer than %.1f s",
                       (double)i->work->timeout_us / 1e6);
        /* done() may submit and cancel others: start over after it */
        i = give_up(all, i, TIDE_ETIMEDOUT, why) ? all->oldest : younger;
    }
    arm(all);
}

static void deliver(struct lanes *all)
{
    uv_mutex_lock(&all->lock);
    struct item *i = all->finished;
    all->finished = all->finished_last = NULL;
    uv_mutex_unlock(&all->lock);
    while (i) {
        struct item *next = i->next;
        if (!i->abandoned) {
            await_remove(all, i);
            if (!all->closed) i->work->done(i->work, i->rc, i->why);
        }
        item_free(i);
        i = next;
    }
    arm(all);
}

static void on_wake(uv_async_t *wake)
{
    deliver(wake->data);
}

struct lanes *lanes_open(const struct lanes_options *o)
{
    struct lanes *all = must_alloc(sizeof *all);
    all->o = *o;
    all->wake.data = all->limit.data = all;
    if (uv_async_init(o->loop, &all->wake, on_wake) || uv_timer_init(o->loop, &all->limit) ||
        uv_mutex_init(&all->lock))
        die_for_want("open files or memory");
    all->handles = 2;
    return all;
}

void lanes_submit(struct lanes *all, const char *root, struct lane_work *w)
{
    struct item *i = must_alloc(sizeof *i);
    struct lane *l = lane_of(all, root);
    i->work = w;
    i->lane = l;
    i->due_us = monotonic_us() + w->timeout_us;
    await_add(all, i);
    uv_mutex_lock(&all->lock);
    if (l->queued >= all->o.queue) {
        i->rc = TIDE_EBUSY;
        (void)snprintf(i->why, sizeof i->why,
                       "%u file operations are waiting below %.150s already ([files] queue)",
                       l->queued, root);
        finished_add(all, i);
        (void)uv_async_send(&all->wake);
    } else {
        *(l->last ? &l->last->next : &l->first) = i;
        l->last = i;
        l->queued++;
        lane_wake(l);
    }
    uv_mutex_unlock(&all->lock);
    if (all->oldest == i) arm(all);
}

void lanes_cancel(struct lanes *all, struct lane_work *w)
{
    for (struct item *i = all->oldest; i; i = i->younger)
        if (i->work == w) {
            (void)give_up(all, i, TIDE_ECLOSED, "nobody waits for it any more");
            arm(all);
            return;
        }
}

/* ---- the end */

static bool join_all(struct lane *l, const struct timespec *until)
{
    bool all_ended = true;
    for (unsigned i = 0; i < l->all->o.threads; i++) {
        struct worker *w = &l->workers[i];
        uv_mutex_lock(&l->all->lock);
        bool there = w->state != ABSENT;
        uv_mutex_unlock(&l->all->lock);
        if (there && pthread_timedjoin_np(w->thread, NULL, until)) {
            (void)pthread_detach(w->thread);
            all_ended = false;
        }
    }
    return all_ended;
}

static void lanes_free(struct lanes *all)
{
    while (all->lanes) {
        struct lane *l = all->lanes;
        all->lanes = l->next;
        while (l->first) {
            struct item *i = l->first;
            l->first = i->next;
            item_free(i);
        }
        uv_cond_destroy(&l->ready);
        free(l->root);
        free(l);
    }
    uv_mutex_destroy(&all->lock);
    free(all);
}

static void on_closed_free(uv_handle_t *handle)
{
    struct lanes *all = handle->data;
    if (--all->handles == 0) lanes_free(all);
}

/* A hung thread still uses the lanes: they stay. */
static void on_closed_keep(uv_handle_t *handle)
{
    (void)handle;
}

bool lanes_close(struct lanes *all, uint64_t wait_us)
{
    struct timespec until;
    bool ended = true;
    if (!all || all->closed) return true;
    all->closed = true;
    uv_mutex_lock(&all->lock);
    all->stop = true;
    for (struct item *i = all->oldest; i; i = i->younger)
        __atomic_store_n(&i->stop, 1, __ATOMIC_RELAXED);
    for (struct lane *l = all->lanes; l; l = l->next)
        uv_cond_broadcast(&l->ready);
    uv_mutex_unlock(&all->lock);
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += (time_t)(wait_us / 1000000 + 1);
    for (struct lane *l = all->lanes; l; l = l->next)
        ended = join_all(l, &until) && ended;
    if (ended) {
        deliver(all);
    } else {
        uv_mutex_lock(&all->lock);
        all->dead = true;
        uv_mutex_unlock(&all->lock);
    }
    uv_close((uv_handle_t *)&all->wake, ended ? on_closed_free : on_closed_keep);
    uv_close((uv_handle_t *)&all->limit, ended ? on_closed_free : on_closed_keep);
    return ended;
}
