/* The server and its sessions: bytes in, frames out, and the other way round.
 *
 * What it is not: it knows no message but Hello and Refused. A session is welcomed here, then each
 * of its frames is handed on, until it is gone, which is told exactly once.
 *
 * Nothing in `server_events` but frame(), open() and closed() may be called while one of the
 * functions below is under way; sent() may. A session that is given up by server_send() or
 * server_finish() is told as closed on a later turn. */
#ifndef SESSION_H
#define SESSION_H

#include <stdbool.h>
#include <uv.h>

#include "daemon/core/core.h"

struct server;

struct server_options {
    uv_loop_t *loop; /* borrowed */
    uint32_t connections;
    uint64_t output_queue, input_memory; /* bytes: for a session, for all */
    uint64_t hello_timeout_us, idle_timeout_us;
};

struct server_events {
    void *user;
    void (*input)(void *user); /* bytes have arrived, on whichever session */
    void (*open)(void *user, uint64_t session, struct peer peer);
    void (*frame)(void *user, uint64_t session, Tide__PeerKind kind, struct tide_bytes frame);
    void (*closed)(void *user, uint64_t session, Tide__PeerKind kind, const char *why);
    void (*sent)(void *user, uint64_t tag);
    void (*drained)(void *user); /* see server_drain() */
};

/* Binds the address. 0 or a code of libuv. */
int server_open(const struct server_options *o, const struct server_events *events,
                const struct sockaddr *address, struct server **ret);
/* What Welcome says and Hello must bring; before server_listen(). The secret is borrowed. */
void server_welcome_with(struct server *s, const struct hello_config *hello);
int server_listen(struct server *s);
/* Other limits from now on; the loop in o does not count. Who is over one already is not closed. */
void server_limits(struct server *s, const struct server_options *o);
uint16_t server_port(const struct server *s);

/* The same bytes to each of the welcomed sessions among ids; others are passed over. With `tell`,
 * sent(tag) follows when all of it is with the kernel or its session is gone, at the earliest
 * before this returns. */
void server_send(struct server *s, const uint64_t *ids, size_t n, struct blob *blob, bool tell,
                 uint64_t tag);
/* Takes no more from the session and closes it once what was sent is out. */
void server_finish(struct server *s, uint64_t id, const char *why /* static */);
/* Refused with a reason, logged and counted, then server_finish(). */
void server_refuse(struct server *s, uint64_t id, Tide__RefusedCode code, const char *reason);

uint32_t server_connections(const struct server *s);
uint64_t server_refused(const struct server *s);

/* Listens no more, finishes all sessions, and calls drained() when all are gone, or limit_us is
 * over. */
void server_drain(struct server *s, uint64_t limit_us);
void server_stop_listening(struct server *s);
/* Closes whatever is left, without a word; freed by the loop. */
void server_close(struct server *s);

#endif
