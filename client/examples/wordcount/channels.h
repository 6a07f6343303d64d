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
 * In a job of unaligned rounds a barrier goes ahead of frames that wait, in the buffers at both
 * ends; so that it meets most of them there, the kernel's are kept small, and input is read ahead.
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
#define OUTPUT_ROOM (1u << 20) /* an output that holds this much is full, unless told otherwise */
#define JOB_ID_LEN 32u
#define ENDPOINT_MAX 64u

enum frame_type {
    FRAME_NOTHING, /* the empty place of a barrier that went ahead */
    FRAME_HELLO,
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
bool channels_empty(const struct channels *c); /* nothing waits in any output */

/* ---- barriers that go ahead. A frame that is passed is handed over whole, with its head. */
typedef void channels_passed(void *arg, uint32_t channel, const uint8_t *frame, uint32_t len);
/* Before the first attempt. A job of unaligned rounds: */
void channels_go_ahead(struct channels *c);
/* Bytes that an output holds before it is full, and that are sent ahead; OUTPUT_ROOM at first. */
void channels_room(struct channels *c, uint32_t room);
/* The next barrier that has come and not been told of yet, the first one of its channel; false:
 * none.
 */
bool channels_barrier_came(struct channels *c, uint32_t *ret_channel, uint8_t ret_barrier[16]);
/* Takes the first barrier of the channel out of its place. */
bool channels_overtake_input(struct channels *c, uint32_t channel, uint8_t ret_barrier[16],
                             channels_passed *passed, void *arg);
/* Puts a barrier ahead in an output: behind what is partly sent, and behind other barriers. With
 * `same`: the one for which that says so moves, if it waits there still. */
typedef bool channels_same(const uint8_t a[16], const uint8_t b[16]);
void channels_overtake_output(struct channels *c, uint32_t out, const uint8_t barrier[16],
                              channels_same *same, channels_passed *passed, void *arg);
/* The next barrier that the kernel has taken from an output; false: none since the last time. */
bool channels_barrier_left(struct channels *c, uint8_t ret_barrier[16]);
/* Frames that were passed, after a restore: in front of what comes on an input; behind the hello of
 * an output. */
void channels_restore_input(struct channels *c, uint32_t channel, const uint8_t *frames,
                            size_t len);
void channels_restore_output(struct channels *c, uint32_t out, const uint8_t *frames, size_t len);

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
