/* systemd: what it tells a service in the environment, and what it wants to hear from it.
 *
 * Both are datagrams of a few lines whose form is documented and promised to stay (sd_notify(3),
 * systemd.journal-fields(7) and "Native Journal Protocol"), so that libsystemd would be a
 * dependency without a use. Nothing here does anything in a process that systemd did not start. */
#ifndef SYSTEMD_H
#define SYSTEMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* Lines of NAME=value, such as "READY=1". Nobody to tell is fine. */
void systemd_notify(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The journal's socket, when our stderr goes to the journal; otherwise NULL. */
const char *systemd_journal(void);

/* The watchdog: as long as alive() says so, systemd hears of us twice in the time after which it
 * takes us for hung. Without a watchdog in the unit it does nothing. */
struct watchdog {
    uv_timer_t timer;
    bool (*alive)(void *user);
    void *user;
};
void watchdog_open(struct watchdog *w, uv_loop_t *loop, bool (*alive)(void *user), void *user);
void watchdog_close(struct watchdog *w);

#endif
