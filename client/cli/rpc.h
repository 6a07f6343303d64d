/* The admin's side of a connection to tidemarkd: blocking, with a deadline on everything.
 *
 * rpc_init(), then rpc_call() as often as one likes: it connects when there is no connection, and
 * after a failure the next call connects anew. One call is under way at a time. rpc_close() ends
 * it. */
#ifndef TIDE_CLI_RPC_H
#define TIDE_CLI_RPC_H

#include "proto/admin.pb-c.h"
#include "proto/arena.h"
#include "proto/frame.h"

#define RPC_NEVER UINT64_MAX
#define RPC_WHY 640

enum rpc_rc {
    RPC_OK,
    RPC_SETUP,       /* something on this side, such as the secret's file */
    RPC_UNREACHABLE, /* nobody answers at the address */
    RPC_LOST,        /* the connection broke before the answer */
    RPC_TIMEOUT,     /* the deadline passed before the answer */
    RPC_REFUSED,     /* the daemon will not talk to us */
    RPC_BROKEN,      /* what came back is not the protocol */
    RPC_OTHER        /* another store than before answers: what we know is not about it */
};

struct rpc {
    const char *address;     /* HOST:PORT, borrowed; NULL: read from data */
    const char *data;        /* the daemon's data directory, borrowed; used without address */
    const char *secret_file; /* borrowed; NULL: none */
    int fd;                  /* -1: not connected */
    struct tide_decoder decoder;
    struct tide_arena arena; /* holds the response being looked at */
    uint64_t last_id;
    bool known;           /* a daemon has answered before: */
    uint8_t store_id[16]; /* its store */
    uint32_t version;     /* of the protocol, on this connection */
    bool busy;            /* with RPC_REFUSED: it may have room later */
    char peer[300];       /* the address in use, for messages */
    char why[RPC_WHY];    /* after a failure: one sentence */
    uint8_t input[16384];
    struct tide_bytes rest; /* of input, not decoded yet */
};

uint64_t rpc_now(void); /* us on the clock of the deadlines */

/* False, with the reason, if it is not HOST:PORT or [IPV6]:PORT. */
bool rpc_address_valid(const char *address, char why[static RPC_WHY]);

void rpc_init(struct rpc *r, const char *address, const char *data, const char *secret_file);
void rpc_close(struct rpc *r);
/* Sends the request (its id is set here) and waits for its response. *ret is a view, dead after the
 * next call. Response.error is an answer like others. */
enum rpc_rc rpc_call(struct rpc *r, Tide__Request *request, uint64_t deadline,
                     const Tide__Response **ret);

#endif
