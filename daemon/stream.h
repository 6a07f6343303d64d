/* Connected sockets, as many as there may be, behind one handle of the loop.
 *
 * Why not uv_tcp_t: it takes 256 bytes for each connection, and most connections say nothing for
 * long. Here a stream is a descriptor in an epoll set, and the set is what the loop watches; what
 * a stream has to send is kept beside it while there is something.
 *
 * What it is not: it knows no frames, no limits and no time. Codes are 0 or libuv's (negative). */
#ifndef STREAM_H
#define STREAM_H

#include <stdbool.h>
#include <uv.h>

#include "daemon/core/core.h"

/* Belongs to the caller, who keeps it until a later turn of the loop than that of its close. */
struct stream {
    struct stream_output *output; /* NULL: all is with the kernel */
    int fd;                       /* -1: closed */
};

struct streams_events {
    void *user;
    /* A connection, taken by whom is called; or the code of why one could not be accepted. */
    void (*connection)(void *user, int fd_or_code);
    void (*readable)(void *user, struct stream *s); /* something, or the end; again until read */
    void (*flushed)(void *user, struct stream *s, int code); /* its queue is empty, or it failed */
    void (*sent)(void *user, void *tag);                     /* or will never be */
    void (*closed)(void *user);                              /* see streams_close() */
};

struct streams {
    struct streams_events on;
    uv_poll_t poll;
    int epoll, listener, spare;
};

/* The address is bound, and listened at later. After a failure there is nothing to close. */
int streams_open(struct streams *v, uv_loop_t *loop, const struct sockaddr *address,
                 const struct streams_events *on);
int streams_listen(struct streams *v, int backlog);
void streams_stop_listening(struct streams *v); /* twice is fine */
uint16_t streams_port(const struct streams *v);
/* All streams are closed before; the loop lets go of it later, and then closed() is called. */
void streams_close(struct streams *v);

/* Takes the descriptor, also when it fails; s->fd is -1 then. */
int stream_open(struct streams *v, struct stream *s, int fd);
/* Nothing is told of it any more, but of what is still queued: by stream_release(). */
void stream_close(struct streams *v, struct stream *s);
void stream_release(struct streams *v, struct stream *s);

/* Bytes read; 0: nothing there; UV_EOF or another code. */
ssize_t stream_read(struct stream *s, void *buffer, size_t len);
/* Bytes that the kernel takes at once, 0 also while others are queued; or a code. */
ssize_t stream_try(struct stream *s, const void *bytes, size_t len);
/* The rest of a blob, which is referred to, behind what is queued. sent(tag) follows. */
int stream_queue(struct streams *v, struct stream *s, struct blob *blob, size_t from, bool large,
                 void *tag);
/* Bytes that are queued, but for those of large blobs. */
size_t stream_queued(const struct stream *s);
bool stream_busy(const struct stream *s); /* something is queued, large or not */
int stream_shutdown(struct stream *s);    /* our side */
/* "1.2.3.4 port 5" of the peer. */
void stream_peer(const struct stream *s, char out[static 80]);

#endif
