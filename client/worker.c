/* The handle
 *
 * One fd for the program to poll: an epoll that contains the connection, a timer and an event
 * (other threads have something). process() takes what has arrived, gives the session the time,
 * runs the callbacks that follow, and sends what they caused, acks of one turn together. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "client/worker_impl.h"

const char *tide_version(void)
{
    return TIDE_VERSION;
}

/* ---- birth and end */

static int make_fds(struct tide_worker *w)
{
    struct epoll_event e = {.events = EPOLLIN};
    w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    w->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    w->event_fd =
        eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK); /* readable at once: it wants to connect */
    if (w->epoll_fd < 0 || w->timer_fd < 0 || w->event_fd < 0) return TIDE_EIO;
    if (epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, w->timer_fd, &e) ||
        epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, w->event_fd, &e))
        return TIDE_EIO;
    return 0;
}

static int make_session(struct tide_worker *w, const struct tide_worker_config *c, char why[256])
{
    struct tide_session_config config = {0};
    struct tide_buf secret;
    tide_buf_init(&secret, 8192);
    int rc = tide_spec_message(c->spec, &config.spec);
    if (rc) {
        snprintf(why, 256, "the spec could not be built: %s", tide_strerror(rc));
        return rc;
    }
    if (c->secret_file) rc = tide_host_secret(c->secret_file, &secret, why);
    if (!rc) {
        tide_host_boot_id(w->boot_id, sizeof w->boot_id);
        config.worker = tide_bytes_of(c->name ? c->name : "");
        config.endpoint = tide_bytes_of(c->endpoint ? c->endpoint : "");
        config.secret = (struct tide_bytes){secret.data, secret.len};
        config.software = tide_bytes_of("libtidemark " TIDE_VERSION);
        config.boot_id = tide_bytes_of(w->boot_id);
        config.pid = (uint32_t)getpid();
        config.start_time = tide_host_start_time(config.pid);
        config.seed = tide_host_seed();
        rc = tide_session_new(&config, &w->session, why);
    }
    tide_buf_release(&secret);
    return rc;
}

static int build(struct tide_worker *w, const struct tide_worker_config *c, char why[256])
{
    if (!c->spec || !c->name) {
        snprintf(why, 256, "config.spec and config.name must be set");
        return TIDE_EINVAL;
    }
    if (c->inline_max > INLINE_MAX) {
        snprintf(why, 256, "config.inline_max is %u; at most %u is allowed",
                 (unsigned)c->inline_max, INLINE_MAX);
        return TIDE_EINVAL;
    }
    int rc = make_session(w, c, why);
    if (rc) return rc;
    rc = tide_connect_address(w, c->address ? c->address : "127.0.0.1:7460", why);
    if (rc) return rc;
    rc = make_fds(w);
    if (rc) {
        snprintf(why, 256, "no file descriptor: %s", strerror(errno));
        return rc;
    }
    if (c->no_helper_thread) return 0;
    rc = tide_helper_start(w);
    if (rc) snprintf(why, 256, "the helper thread could not be started");
    return rc;
}

#define LEAST (offsetof(struct tide_worker_config, user) + sizeof(void *)) /* in 0.1.0 */

int tide_worker_new_sized(const struct tide_worker_config *from, size_t size,
                          struct tide_worker **ret, char why[256])
{
    struct tide_worker_config all, *c = &all;
    char unused[256];
    if (!why) why = unused;
    why[0] = '\0';
    if (!from || !ret) return TIDE_EINVAL;
    int rc = tide_sized_copy(&all, sizeof all, from, size, LEAST);
    if (rc) {
        snprintf(why, 256, "config has %zu bytes, which libtidemark " TIDE_VERSION " cannot read",
                 size);
        return rc;
    }
    struct tide_worker *w = calloc(1, sizeof *w);
    if (!w || pthread_mutex_init(&w->lock, NULL)) {
        free(w);
        snprintf(why, 256, "out of memory");
        return TIDE_ENOMEM;
    }
    w->epoll_fd = w->timer_fd = w->event_fd = w->socket_fd = w->stop_fd = -1;
    w->armed_us = UINT64_MAX;
    w->seen_us = tide_now_us();
    w->inline_max = c->inline_max ? c->inline_max : INLINE_DEFAULT;
    w->log = c->log;
    w->user = c->user;
    tide_decoder_init(&w->decoder, TIDE_FRAME_MAX);
    tide_buf_init(&w->out, SEND_MAX);
    rc = build(w, c, why);
    if (rc) {
        if (!why[0]) snprintf(why, 256, "%s", tide_strerror(rc));
        tide_worker_free(w);
        return rc;
    }
    *ret = w;
    return 0;
}

void tide_worker_free(struct tide_worker *w)
{
    struct tide_delivery d;
    if (!w) return;
    tide_helper_stop(w);
    if (w->session) {
        tide_session_leave(w->session, tide_bytes_of("the program let go of its handle"),
                           tide_now_us());
        while (tide_session_next_io(w->session, &d))
            tide_connect_carry(w, &d);
    }
    tide_connect_close(w);
    tide_lookup_drop(w->lookup);
    tide_snapshot_forget(w);
    tide_deliver_forget(w);
    tide_parts_free(w);
    tide_session_free(w->session);
    tide_decoder_release(&w->decoder);
    tide_buf_release(&w->out);
    if (w->epoll_fd >= 0) close(w->epoll_fd);
    if (w->timer_fd >= 0) close(w->timer_fd);
    if (w->event_fd >= 0) close(w->event_fd);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

/* ---- a turn */

static void drain(int fd)
{
    uint64_t count;
    (void)!read(fd, &count, sizeof count);
}

/* The callback before it may have taken longer than the lease lasts. */
static bool next_delivery(struct tide_worker *w, struct tide_delivery *ret)
{
    tide_session_look(w->session, tide_now_us());
    return tide_session_next(w->session, ret);
}

/* Delivers until nothing waits. The lock is held on entry and on return, but not meanwhile. */
static void deliver_all(struct tide_worker *w)
{
    struct tide_delivery d;
    do {
        while (next_delivery(w, &d)) {
            if (d.type == TIDE_DO_SEND || d.type == TIDE_DO_CLOSE || d.type == TIDE_DO_CONNECT) {
                tide_connect_carry(w, &d);
                continue;
            }
            pthread_mutex_unlock(&w->lock);
            tide_deliver(w, &d);
            pthread_mutex_lock(&w->lock);
        }
    } while (tide_parts_events(w));
}

/* Why there is no connection. The lock is held on entry and on return, but not meanwhile. */
static void tell_trouble(struct tide_worker *w)
{
    char text[sizeof w->trouble];
    if (!w->trouble_due) return;
    w->trouble_due = false;
    strcpy(text, w->trouble);
    pthread_mutex_unlock(&w->lock);
    tide_worker_say(w, "%s", text);
    if (w->log) w->log(text, w->user);
    pthread_mutex_lock(&w->lock);
}

static void set_dispatching(struct tide_worker *w, bool on)
{
    w->dispatching = on;
    if (on) atomic_store(&w->owner, pthread_self());
    atomic_store(&w->dispatching_shared, on);
}

void tide_worker_pump(struct tide_worker *w)
{
    if (w->dispatching) return; /* the loop that called the callback that called us goes on */
    set_dispatching(w, true);
    pthread_mutex_lock(&w->lock);
    deliver_all(w);
    tide_connect_arm(w);
    pthread_mutex_unlock(&w->lock);
    set_dispatching(w, false);
}

static int how_it_stands(struct tide_worker *w)
{
    const char *why;
    int rc = tide_session_failed(w->session, &why);
    if (rc && !w->over) {
        w->over = rc;
        tide_worker_say(w, "%s: %s", tide_strerror(rc), why);
    }
    return w->over;
}

int tide_worker_process(struct tide_worker *w)
{
    if (w->dispatching) return TIDE_ESTATE; /* from a callback: the turn under way does it */
    if (w->over) return w->over;
    if (!w->n_tasks) {
        tide_worker_say(w, "no task was added");
        return TIDE_ESTATE;
    }
    w->started = true;
    set_dispatching(w, true);
    tide_deliver_held(w);
    pthread_mutex_lock(&w->lock);
    w->seen_us = tide_now_us();
    drain(w->event_fd);
    drain(w->timer_fd);
    tide_connect_io(w);
    deliver_all(w);
    tell_trouble(w);
    tide_session_flush(w->session, tide_now_us());
    deliver_all(w);
    w->armed_us = UINT64_MAX; /* it was drained */
    tide_connect_arm(w);
    int rc = how_it_stands(w);
    pthread_mutex_unlock(&w->lock);
    set_dispatching(w, false);
    return rc;
}

int tide_worker_wait(struct tide_worker *w, int timeout_ms)
{
    struct epoll_event e;
    if (w->over) return w->over;
    if (w->started && epoll_wait(w->epoll_fd, &e, 1, timeout_ms) == 0) return 0;
    return tide_worker_process(w);
}

int tide_worker_fd(const struct tide_worker *w)
{
    return w->epoll_fd;
}

const char *tide_worker_error(const struct tide_worker *w)
{
    return w->error;
}

/* ---- what the program asks */

int tide_worker_token(struct tide_worker *w, uint64_t *ret_number)
{
    pthread_mutex_lock(&w->lock);
    int rc = tide_session_token(w->session, tide_now_us(), ret_number);
    pthread_mutex_unlock(&w->lock);
    return rc;
}

uint64_t tide_worker_attempt(const struct tide_worker *w)
{
    return w->attempt;
}

const char *tide_worker_job_id(const struct tide_worker *w)
{
    return w->job_id;
}

int tide_worker_endpoint(const struct tide_worker *w, const char *uid, uint32_t subtask,
                         const char **ret_endpoint)
{
    if (!w->attempt) return TIDE_ESTATE;
    int64_t number = tide_graph_task(tide_session_graph(w->session), tide_bytes_of(uid), subtask);
    if (number < 0) return TIDE_ENOTFOUND;
    for (uint32_t i = 0; i < w->n_peers; i++) {
        const struct peer *p = &w->peers[i];
        for (uint32_t k = 0; k < p->n_ranges; k++) {
            if ((uint32_t)number - p->ranges[2 * k] >= p->ranges[2 * k + 1]) continue;
            *ret_endpoint = p->endpoint;
            return 0;
        }
    }
    return TIDE_ENOTFOUND;
}
