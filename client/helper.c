/* The helper thread: keeps the lease while the program is busy.
 *
 * It wakes every half heartbeat. If the program's thread has been at the handle since, there is
 * nothing to do. Otherwise the helper stands in for it: reads, lets the session have the time
 * (which sends heartbeats and connects again), writes. Deliveries wait for the program's thread; no
 * callback ever runs here. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <sys/eventfd.h>

#include "client/worker_impl.h"

static int wait_ms(uint64_t from_us, uint64_t to_us, uint64_t most_us)
{
    uint64_t us = to_us > from_us ? to_us - from_us : 0;
    if (us > most_us) us = most_us;
    return (int)(us / 1000) + 1;
}

static void *help(void *arg)
{
    struct tide_worker *w = arg;
    for (;;) {
        struct pollfd fds[2] = {{.fd = w->stop_fd, .events = POLLIN}, {.fd = -1}};
        pthread_mutex_lock(&w->lock);
        uint64_t now = tide_now_us(), half = tide_session_heartbeat_us(w->session) / 2;
        int ms = wait_ms(now, w->seen_us + half, half);
        if (now >= w->seen_us + half) {
            tide_connect_io(w);
            if (tide_session_waits(w->session)) tide_worker_kick(w);
            tide_connect_arm(w);
            fds[1].fd = w->socket_fd;
            fds[1].events = w->connecting || w->wants_write ? POLLIN | POLLOUT : POLLIN;
            ms = wait_ms(now, tide_session_deadline(w->session), half);
        }
        pthread_mutex_unlock(&w->lock);
        if (poll(fds, 2, ms) > 0 && fds[0].revents) return NULL;
    }
}

int tide_helper_start(struct tide_worker *w)
{
    sigset_t all, old;
    w->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->stop_fd < 0) return TIDE_EIO;
    sigfillset(&all); /* signals are the program's */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&w->helper, NULL, help, w);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc) return TIDE_ENOMEM;
    w->has_helper = true;
    return 0;
}

void tide_helper_stop(struct tide_worker *w)
{
    uint64_t one = 1;
    if (w->has_helper) {
        (void)!write(w->stop_fd, &one, sizeof one);
        pthread_join(w->helper, NULL);
        w->has_helper = false;
    }
    if (w->stop_fd >= 0) close(w->stop_fd);
    w->stop_fd = -1;
}
