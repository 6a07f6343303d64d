/* A made-up daemon without a thread and without a will: what it hears is taken message by message,
 * what it says is said to the byte. For tests in which the order of everything is given. */
#ifndef TESTS_CLIENT_PEER_H
#define TESTS_CLIENT_PEER_H

#include <string.h>

#include "proto/ack.h"
#include "proto/frame.h"
#include "proto/worker.pb-c.h"

struct peer {
    int listen_fd, fd; /* fd: -1 while nobody is connected */
    char address[64];
    unsigned connections; /* accepted so far */
    bool deaf;            /* accepts and reads nothing */
    bool gone;            /* the other end has closed */
    struct tide_decoder decoder;
    struct tide_buf in;
    struct tide_joiner joiner;
};

struct heard {
    Tide__FromWorker__MsgCase what;
    Tide__FromWorker *m;   /* NULL for Join and AckBatch */
    Tide__Join *join;      /* once its last part is here */
    struct tide_bytes ack; /* the AckBatch */
};

void peer_open(struct peer *p);
void peer_close(struct peer *p);
void peer_cut(struct peer *p); /* closes the connection that there is */
/* True, and the next message; false when there is none now, or the worker has closed the connection
 * (fd is -1 then). Called without a connection it accepts one. */
bool peer_next(struct peer *p, struct heard *ret);
void heard_free(struct heard *h);

void peer_say(struct peer *p, Tide__ToWorker__MsgCase which, void *message);
void peer_raw(struct peer *p, const void *data, size_t n); /* as it is, no frame around it */
/* Start in parts; bytes: what the parts hold together. */
void peer_start(struct peer *p, const Tide__Start *m);

static inline ProtobufCBinaryData pb_text(const char *t)
{
    return (ProtobufCBinaryData){t ? strlen(t) : 0, (uint8_t *)(uintptr_t)t};
}

#endif
