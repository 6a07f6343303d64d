/* The host: a loop around the core. It owns everything that runs.
 *
 * Order of calls: host_open(), host_run() once, host_close(). host_open() returns when the port
 * is open and the file `port` tells it. */
#ifndef HOST_H
#define HOST_H

#include "daemon/config.h"

struct host;

/* config is borrowed until host_close(). 0 and *ret, or a negative code and a sentence for people.
 */
int host_open(const struct config *config, bool signals, struct host **ret,
              char why[static CONFIG_WHY]);
uint16_t host_port(const struct host *h);
/* SIGHUP, told on the loop, of a host that has signals. */
void host_on_hangup(struct host *h, void (*hangup)(void *user), void *user);
/* The borrowed configuration has changed, by config_adopt(): what follows from it does. On the loop
 * only. */
void host_apply(struct host *h);
/* Returns the exit code once the core has stopped and every handle is closed. */
int host_run(struct host *h);
/* As SIGTERM does: an orderly stop. From any thread. */
void host_ask_stop(struct host *h);
/* False: something hangs, so that its memory could not be given back; end the process. */
bool host_close(struct host *h);

#endif
