/* What the program says about its tasks. Each call takes the lock, tells the session, and, on the
 * program's thread, runs the callbacks that follow; from another thread it wakes the handle. */
#include <stdlib.h>
#include <string.h>

#include "client/worker_impl.h"

#define LOOK_US 1000u /* between two looks at the connection, of a program that computes */
#define LEAST (offsetof(struct tide_callbacks, fenced) + sizeof(void *)) /* in 0.1.0 */

static bool has_room(struct tide_worker *w)
{
    if (w->n_tasks < w->cap_tasks) return true;
    uint32_t cap = w->cap_tasks ? w->cap_tasks * 2 : 8;
    struct tide_task **tasks = realloc(w->tasks, cap * sizeof *tasks);
    if (!tasks) return false;
    w->tasks = tasks;
    w->cap_tasks = cap;
    return true;
}

/* The task's number, or a code. */
static int64_t number_of(struct tide_worker *w, const char *uid, uint32_t subtask,
                         uint32_t channels)
{
    pthread_mutex_lock(&w->lock);
    int64_t number = tide_session_add_task(w->session, tide_bytes_of(uid), subtask, channels);
    pthread_mutex_unlock(&w->lock);
    return number;
}

int tide_worker_add_task_sized(struct tide_worker *w, const char *uid, uint32_t subtask,
                               uint32_t channels, const struct tide_callbacks *from, size_t size,
                               void *user, struct tide_task **ret)
{
    struct tide_callbacks callbacks;
    if (!w || !uid || !from) return TIDE_EINVAL;
    int rc = tide_sized_copy(&callbacks, sizeof callbacks, from, size, LEAST);
    if (rc) {
        tide_worker_say(
            w, "callbacks have %zu bytes, which libtidemark " TIDE_VERSION " cannot read", size);
        return rc;
    }
    if (!callbacks.restore || !callbacks.snapshot) {
        tide_worker_say(w, "task %s[%u] has no restore or no snapshot callback", uid,
                        (unsigned)subtask);
        return TIDE_EINVAL;
    }
    struct tide_task *t = has_room(w) ? calloc(1, sizeof *t) : NULL;
    int64_t number = w->started ? TIDE_ESTATE
                     : !t       ? TIDE_ENOMEM
                                : number_of(w, uid, subtask, channels);
    if (number < 0) {
        tide_worker_say(w, "task %s[%u] cannot be added: %s", uid, (unsigned)subtask,
                        tide_strerror((int)number));
        free(t);
        return (int)number;
    }
    t->worker = w;
    t->callbacks = callbacks;
    t->user = user;
    t->number = (uint32_t)number;
    t->subtask = subtask;
    t->channels = channels;
    /* a task that cannot say which records it reads waits for all its barriers */
    for (uint32_t i = 0; i < channels && !callbacks.overtake_input; i++)
        (void)tide_session_force(w->session, t->number, i, true);
    uint32_t at = w->n_tasks++;
    while (at > 0 && w->tasks[at - 1]->number > t->number) {
        w->tasks[at] = w->tasks[at - 1];
        at--;
    }
    w->tasks[at] = t;
    if (ret) *ret = t;
    return 0;
}

uint32_t tide_task_subtask(const struct tide_task *t)
{
    return t->subtask;
}

struct tide_worker *tide_task_worker(const struct tide_task *t)
{
    return t->worker;
}

void tide_task_fail_reason(struct tide_task *t, const char *reason)
{
    free(t->fail_reason);
    t->fail_reason = reason ? strdup(reason) : NULL;
}

/* ---- the program's thread */

int tide_task_barrier(struct tide_task *t, uint32_t channel,
                      const uint8_t barrier[TIDE_BARRIER_SIZE])
{
    struct tide_worker *w = t->worker;
    pthread_mutex_lock(&w->lock);
    tide_task_said(t);
    int rc = tide_session_barrier(w->session, t->number, channel, barrier, tide_now_us());
    pthread_mutex_unlock(&w->lock);
    tide_worker_pump(w);
    return rc;
}

bool tide_same_round(const uint8_t a[TIDE_BARRIER_SIZE], const uint8_t b[TIDE_BARRIER_SIZE])
{
    struct tide_barrier x, y;
    return !tide_barrier_decode(a, &x) && !tide_barrier_decode(b, &y) && x.round == y.round;
}

int tide_task_channel_end(struct tide_task *t, uint32_t channel)
{
    struct tide_worker *w = t->worker;
    pthread_mutex_lock(&w->lock);
    tide_task_said(t);
    int rc = tide_session_channel_end(w->session, t->number, channel, tide_now_us());
    pthread_mutex_unlock(&w->lock);
    tide_worker_pump(w);
    return rc;
}

int tide_task_finished(struct tide_task *t)
{
    struct tide_worker *w = t->worker;
    pthread_mutex_lock(&w->lock);
    int rc = tide_session_finished(w->session, t->number, tide_now_us());
    if (rc == TIDE_EFENCED) { /* told once the lease is back */
        t->finish_wanted = true;
        rc = 0;
    }
    pthread_mutex_unlock(&w->lock);
    tide_worker_pump(w);
    return rc;
}

/* A program that computes and never waits hears of rounds here, and not only when the helper thread
 * stands in for it. */
static void look(struct tide_worker *w)
{
    uint64_t now = tide_now_us();
    if (w->dispatching || now - w->seen_us < LOOK_US) return;
    w->seen_us = now;
    tide_connect_io(w);
}

uint32_t tide_task_max_parallelism(const struct tide_task *t)
{
    if (!t) return 0;
    struct tide_worker *w = t->worker;
    pthread_mutex_lock(&w->lock);
    uint32_t max =
        tide_graph_operator(tide_session_graph(w->session), t->number, NULL)->max_parallelism;
    pthread_mutex_unlock(&w->lock);
    return max;
}

int tide_task_position(struct tide_task *t, uint64_t position)
{
    struct tide_worker *w = t->worker;
    bool more, within = w->dispatching;
    int rc;
    if (w->over) return w->over;
    t->asking = !within; /* in a callback: what follows comes when that has returned */
    do {
        pthread_mutex_lock(&w->lock);
        look(w);
        rc = tide_session_position(w->session, t->number, position, tide_now_us());
        more = tide_session_waits(w->session);
        pthread_mutex_unlock(&w->lock);
        tide_worker_pump(w); /* a snapshot, perhaps: then the answer is another */
    } while (rc == TIDE_EAGAIN && more && !within);
    t->asking = false;
    if (rc == TIDE_EINVAL)
        tide_worker_say(w, "a position below one that the task has reached, or above 2^62");
    return rc;
}

int tide_task_backlog(struct tide_task *t, bool behind)
{
    struct tide_worker *w = t->worker;
    pthread_mutex_lock(&w->lock);
    int rc = tide_session_backlog(w->session, t->number, behind);
    pthread_mutex_unlock(&w->lock);
    tide_worker_pump(w);
    return rc;
}

/* ---- any thread */

void tide_worker_wake(struct tide_worker *w)
{
    bool own = atomic_load(&w->dispatching_shared) &&
               pthread_equal(atomic_load(&w->owner), pthread_self());
    if (!own) tide_worker_kick(w);
}

int tide_task_restored(struct tide_task *t, int rc, const char *reason)
{
    struct tide_worker *w = t->worker;
    pthread_mutex_lock(&w->lock);
    struct tide_bytes text = tide_bytes_of(reason ? reason : t->state_why);
    if (text.len > 4096) text.len = 4096;
    if (!tide_text_valid(text)) text.len = 0;
    int result = tide_session_restored(w->session, t->number, rc, text, tide_now_us());
    pthread_mutex_unlock(&w->lock);
    tide_worker_wake(w);
    return result;
}

int tide_task_triggered(struct tide_task *t, uint64_t round)
{
    struct tide_worker *w = t->worker;
    pthread_mutex_lock(&w->lock);
    t->triggered = round;
    pthread_mutex_unlock(&w->lock);
    tide_worker_wake(w);
    return 0;
}

int tide_task_confirm(struct tide_task *t, uint64_t round)
{
    struct tide_worker *w = t->worker;
    pthread_mutex_lock(&w->lock);
    int rc = tide_session_confirm(w->session, t->number, round, tide_now_us());
    pthread_mutex_unlock(&w->lock);
    tide_worker_wake(w);
    return rc;
}
