/* The data channels of one task: TCP connections that carry frames and barriers.
 *
 * Tidemark moves no data. How the tasks of a program talk to each other is the program's own
 * affair; this is one simple way. An upstream task connects to each downstream task and opens with
 * a hello that names (job, attempt, sender, receiver); any other attempt is refused, so that a
 * process that has been replaced without knowing it can send nothing to the new attempt. Then come
 * frames:
 *
 *   4 bytes  length of the body, little-endian        1 byte  type        ...  body
 *
 * Everything is non-blocking. A task that does not read lets the kernel's buffers fill, then the
 * sender's output buffer; a sender whose output buffer is full stops reading its own input. That
 * chain is the back-pressure, and blocking a channel for a barrier is done with it.
 *
 * A cut connection is no error here: either the peer died, and the daemon will rewind
 * us, or the attempt is over anyway. Only FRAME_END says that a channel ended in good order. */
#ifndef WORDCOUNT_CHANNELS_H
#define WORDCOUNT_CHANNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_HEAD 5u
#define FRAME_MAX (1u << 20)   /* longest body; a longer one is refused */
#define OUTPUT_ROOM (1u << 20) /* an output that holds this much is full */
#define JOB_ID_LEN 32u
#define ENDPOINT_MAX 64u

enum frame_type {
    FRAME_HELLO = 1,
    FRAME_DATA,
    FRAME_BARRIER, /* 16 bytes that only libtidemark understands */
    FRAME_NO_MORE, /* no data follows; barriers still may */
    FRAME_END      /* nothing follows */
};

struct frame {
    enum frame_type type;
    uint32_t channel;
    const uint8_t *body; /* a view, dead after the next call on the channels */
    uint32_t len;
};

struct channels;

/* Listens on any port of `host`; `self` is the subtask that peers must ask for. 0, or -1 with errno
 * set. */
int channels_new(const char *host, uint32_t self, uint32_t inputs, uint32_t outputs,
                 struct channels **ret);
void channels_free(struct channels *c);
const char *channels_endpoint(const struct channels *c); /* "host:port": what peers need */

/* A new attempt: drops every connection, and accepts only those of this attempt from now on. */
void channels_begin(struct channels *c, const char *job_id, uint64_t attempt);
/* No attempt: drops every connection and accepts none. */
void channels_drop(struct channels *c);
/* Opens output `out`. 0, or -1 when the endpoint makes no sense; a failed connection shows in
 * channels_cut(). */
int channels_connect(struct channels *c, uint32_t out, const char *endpoint);

/* Appending to outputs. The body is written in place: begin gives room for `max` bytes, commit
 * tells how many there are. To an output that is cut or ended nothing is sent. */
uint8_t *channels_put_begin(struct channels *c, uint32_t out, uint32_t max);
void channels_put_commit(struct channels *c, uint32_t out, enum frame_type type, uint32_t len);
/* The same small frame to every output. */
void channels_put_all(struct channels *c, enum frame_type type, const void *body, uint32_t len);
bool channels_full(const struct channels *c, uint32_t out);
bool channels_any_full(const struct channels *c);

void channels_block(struct channels *c, uint32_t channel, bool blocked);
/* The next frame of an input that is not blocked, taking turns; false when there is none. */
bool channels_next(struct channels *c, struct frame *ret);
/* The peer broke the rules: stop listening to it. */
void channels_refuse(struct channels *c, uint32_t channel, const char *why);

/* Waits at most timeout_ms (-1: forever) for something to do, reads and writes what can be read and
 * written, and returns whether other_fd is readable. read: whether more input is wanted. */
bool channels_wait(struct channels *c, int other_fd, bool read, int timeout_ms);
/* Since when (CLOCK_MONOTONIC, ms) a connection has been cut that had not ended; 0: none is. */
int64_t channels_cut(const struct channels *c);

int64_t now_ms(void);

#endif
