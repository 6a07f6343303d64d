/* Readers
 *
 * The usual way: the loop queues a question, the thread asks the database and puts it among the
 * answered, the loop calls its done().
 *
 * What can go wrong, and what we do:
 * - too many questions   -> refused by reader_ask(), the asker hears "busy"
 * - one takes too long   -> interrupted, so that it does not keep the write-ahead log from being
 * reset
 * - we stop meanwhile    -> interrupted as well */
#include "daemon/readers.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "daemon/util.h"
#include "proto/arena.h"
#include "proto/err.h"
#include "storage/manifest.h"

#define DIRECTORY_MAX 65536u

struct reader_thread {
    struct reader_options o;
    struct tide_reader *reader; /* used on the thread, interrupted from the loop */
    pthread_t thread;
    uv_async_t wake;
    uv_timer_t limit;
    unsigned handles;
    bool stopped;

    uv_mutex_t lock; /* for what follows */
    uv_cond_t ready;
    struct question *first, *last, *answered, *answered_last, *running;
    unsigned queued;
    uint64_t running_since_us;
    bool stop;
};

void question_free(struct question *q)
{
    if (!q) return;
    free(q->request);
    if (q->response) tide__response__free_unpacked(q->response, NULL);
    tide_buf_release(&q->image);
    tide_buf_release(&q->directory);
    free(q);
}

static uint64_t monotonic_us(void)
{
    return uv_hrtime() / 1000;
}

/* ---- on the thread */

static void answer(struct tide_reader *reader, struct question *q)
{
    struct tide_arena arena;
    tide_arena_init(&arena, TIDE_ARENA_MAX);
    struct tide_bytes bytes = {q->request, q->request_len};
    const Tide__Request *request = tide_unpack(&arena, &tide__request__descriptor, bytes, &q->rc);
    if (request) {
        q->response = tide_reader_answer(reader, request);
        q->rc = q->response ? 0 : TIDE_ENOMEM;
    }
    if (q->rc) (void)snprintf(q->why, sizeof q->why, "%s", tide_strerror(q->rc));
    tide_arena_release(&arena);
}

static void ask(struct tide_reader *reader, struct question *q)
{
    if (q->request) {
        answer(reader, q);
        return;
    }
    tide_buf_init(&q->image, TIDE_MANIFEST_MAX);
    q->rc = tide_reader_manifest(reader, q->round, &q->image, q->why);
    if (q->rc || !q->with_directory) return;
    tide_buf_init(&q->directory, DIRECTORY_MAX);
    q->rc = tide_reader_directory(reader, q->round, &q->directory, q->why);
}

static struct question *take(struct reader_thread *r)
{
    uv_mutex_lock(&r->lock);
    while (!r->first && !r->stop)
        uv_cond_wait(&r->ready, &r->lock);
    struct question *q = r->stop ? NULL : r->first;
    if (q) {
        r->first = q->next;
        if (!r->first) r->last = NULL;
        r->queued--;
        q->next = NULL;
        r->running = q;
        r->running_since_us = monotonic_us();
    }
    uv_mutex_unlock(&r->lock);
    return q;
}

static void *run(void *arg)
{
    struct reader_thread *r = arg;
    struct question *q;
    while ((q = take(r))) {
        q->rc = r->o.settle ? r->o.settle(r->o.settle_user) : 0;
        if (q->rc)
            (void)snprintf(q->why, sizeof q->why,
                           q->rc == TIDE_ENOSPC
                               ? "the database has no room for what is stored already"
                               : "the store is busy: ask again");
        else
            ask(r->reader, q);
        uv_mutex_lock(&r->lock);
        r->running = NULL;
        *(r->answered_last ? &r->answered_last->next : &r->answered) = q;
        r->answered_last = q;
        uv_mutex_unlock(&r->lock);
        (void)uv_async_send(&r->wake);
    }
    return NULL;
}

/* ---- on the loop */

static void on_limit(uv_timer_t *timer)
{
    struct reader_thread *r = timer->data;
    uint64_t next_us = r->o.timeout_us;
    bool more;
    uv_mutex_lock(&r->lock);
    if (r->running) {
        uint64_t age = monotonic_us() - r->running_since_us;
        if (age >= r->o.timeout_us) {
            /* with the lock held, so that the next question is not hit in its place */
            r->running->timed_out = true;
            tide_reader_interrupt(r->reader);
            next_us = 100000; /* again, should it not have been heard */
        } else {
            next_us = r->o.timeout_us - age;
        }
    }
    more = r->running || r->first;
    uv_mutex_unlock(&r->lock);
    if (more) (void)uv_timer_start(&r->limit, on_limit, next_us / 1000 + 1, 0);
}

static void on_wake(uv_async_t *wake)
{
    struct reader_thread *r = wake->data;
    uv_mutex_lock(&r->lock);
    struct question *q = r->answered;
    r->answered = r->answered_last = NULL;
    uv_mutex_unlock(&r->lock);
    while (q) {
        struct question *next = q->next;
        q->next = NULL;
        if (q->timed_out) {
            q->rc = TIDE_ETIMEDOUT;
            (void)snprintf(q->why, sizeof q->why,
                           "the database needed longer than %.1f s ([queries] timeout)",
                           (double)r->o.timeout_us / 1e6);
        }
        if (r->stopped)
            question_free(q);
        else
            q->done(r->o.user, q);
        q = next;
    }
}

int reader_start(const struct reader_options *o, struct reader_thread **ret, char why[static 512])
{
    struct tide_reader *reader;
    int rc = tide_reader_open(o->directory, &reader, why);
    if (rc) return rc;
    struct reader_thread *r = must_alloc(sizeof *r);
    sigset_t all, before;
    r->o = *o;
    r->reader = reader;
    r->wake.data = r->limit.data = r;
    if (uv_async_init(o->loop, &r->wake, on_wake) || uv_timer_init(o->loop, &r->limit) ||
        uv_mutex_init(&r->lock) || uv_cond_init(&r->ready))
        die_for_want("open files or memory");
    r->handles = 2;
    (void)sigfillset(&all); /* signals are the loop's */
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&r->thread, NULL, run, r)) die_for_want("threads or memory");
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    *ret = r;
    return 0;
}

bool reader_ask(struct reader_thread *r, struct question *q)
{
    q->next = NULL;
    uv_mutex_lock(&r->lock);
    bool room = r->queued < r->o.queue && !r->stop;
    if (room) {
        *(r->last ? &r->last->next : &r->first) = q;
        r->last = q;
        r->queued++;
    }
    uv_mutex_unlock(&r->lock);
    if (!room) return false;
    uv_cond_signal(&r->ready);
    if (!uv_is_active((uv_handle_t *)&r->limit))
        (void)uv_timer_start(&r->limit, on_limit, r->o.timeout_us / 1000 + 1, 0);
    return true;
}

/* The thread hangs and may still come back to what it knows. */
static void on_closed_keep(uv_handle_t *handle)
{
    (void)handle;
}

static void on_closed(uv_handle_t *handle)
{
    struct reader_thread *r = handle->data;
    if (--r->handles) return;
    uv_mutex_destroy(&r->lock);
    uv_cond_destroy(&r->ready);
    free(r);
}

bool reader_stop(struct reader_thread *r)
{
    struct timespec until;
    if (!r || r->stopped) return true;
    r->stopped = true;
    uv_mutex_lock(&r->lock);
    r->stop = true;
    struct question *q = r->first;
    r->first = r->last = NULL;
    if (r->running) tide_reader_interrupt(r->reader);
    uv_mutex_unlock(&r->lock);
    uv_cond_signal(&r->ready);
    while (q) {
        struct question *next = q->next;
        question_free(q);
        q = next;
    }
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 5;
    bool ended = pthread_timedjoin_np(r->thread, NULL, &until) == 0;
    if (ended) {
        on_wake(&r->wake);
        tide_reader_close(r->reader);
    }
    uv_close((uv_handle_t *)&r->wake, ended ? on_closed : on_closed_keep);
    uv_close((uv_handle_t *)&r->limit, ended ? on_closed : on_closed_keep);
    return ended;
}
