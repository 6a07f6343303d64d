/* The session: everything a worker says and hears, as a pure object. No clock, socket, thread or
 * file: frames and the time go in, deliveries come out. client/worker.c is the shell that carries
 * them out for real programs; the simulator is the other one.
 *
 *   after any call that feeds it:  while (tide_session_next(s, &d)) carry_out(&d);
 *   and:                           call tide_session_tick() at tide_session_deadline()
 *
 * It keeps the lease (counted from when the heartbeat that was answered was *sent*), reconnects
 * with back-off and jitter, repeats what is unanswered, and fences itself: once the lease is over
 * no ack, confirm or token leaves and no trigger, complete or commit is delivered until Resumed,
 * Fenced or Rewind settles it. */
#ifndef TIDE_SESSION_H
#define TIDE_SESSION_H

#include "client/align.h"
#include "proto/ack.h"
#include "proto/barrier.h"
#include "proto/err.h"
#include "proto/graph.h"
#include "proto/worker.pb-c.h"

struct tide_session;

struct tide_session_config {
    const Tide__JobSpec *spec; /* borrowed for the call; checked */
    struct tide_bytes worker;  /* name */
    struct tide_bytes endpoint;
    struct tide_bytes secret;
    struct tide_bytes software;
    struct tide_bytes boot_id; /* host identity, see Host */
    uint32_t pid;
    uint64_t start_time;
    uint64_t seed;                               /* for back-off and jitter */
    uint64_t reconnect_min_us, reconnect_max_us; /* 0: 50 ms and 5 s */
    uint32_t ack_batch;                          /* acks per frame at most; 0: 64 */
    uint64_t ack_delay_us;                       /* longest that an ack waits for company; 0: 500 */
};

/* 0, TIDE_EINVAL (spec, names: why says what), TIDE_ENOMEM. */
int tide_session_new(const struct tide_session_config *c, struct tide_session **ret,
                     char why[static 256]);
void tide_session_free(struct tide_session *s);
/* Adds a task before the first connect. channels: number of its input channels. The returned number
 * is the task's in the graph, or TIDE_ENOTFOUND, TIDE_EEXIST, TIDE_ENOMEM, TIDE_ESTATE. */
int64_t tide_session_add_task(struct tide_session *s, struct tide_bytes uid, uint32_t subtask,
                              uint32_t channels);
/* Adds the operator's coordinator, or a hook, before the first connect. Parts are known by their
 * index, in the order in which they were added. The same codes. */
int64_t tide_session_add_external(struct tide_session *s, bool hook, struct tide_bytes name);
const struct tide_graph *tide_session_graph(const struct tide_session *s);

/* ---- from the connection */
void tide_session_connected(struct tide_session *s, uint64_t now_us);
void tide_session_disconnected(struct tide_session *s, uint64_t now_us);
void tide_session_frame(struct tide_session *s, struct tide_bytes frame, uint64_t now_us);
void tide_session_tick(struct tide_session *s, uint64_t now_us);

/* ---- from the application; tasks by their number in the graph. FENCED where a call speaks for a
 * task whose lease is over; ESTALE when the attempt or round is over. */
int tide_session_restored(struct tide_session *s, uint32_t task, int rc, struct tide_bytes reason,
                          uint64_t now_us);
int tide_session_barrier(struct tide_session *s, uint32_t task, uint32_t channel,
                         const uint8_t barrier[static TIDE_BARRIER_BYTES], uint64_t now_us);
int tide_session_channel_end(struct tide_session *s, uint32_t task, uint32_t channel,
                             uint64_t now_us);
/* A task's input channels, if they differ from what was given at birth; before it answers restored.
 */
int tide_session_channels(struct tide_session *s, uint32_t task, uint32_t channels);
/* A barrier was received and is queued behind records of its channel: the first one that is. It is
 * told by _barrier as well, in its turn or after OVERTAKE. */
int tide_session_announce(struct tide_session *s, uint32_t task, uint32_t channel,
                          const uint8_t barrier[static TIDE_BARRIER_BYTES], uint64_t now_us);
/* A record of so many bytes was taken from the channel. Not 0: it belongs to the snapshot of that
 * round. */
uint64_t tide_session_record(struct tide_session *s, uint32_t task, uint32_t channel, size_t bytes);
/* So many bytes of records were processed, while none was to be captured. */
void tide_session_processed(struct tide_session *s, uint32_t task, uint64_t bytes);
/* For life, before the first connect: records of the channel cannot be kept; in so many outputs a
 * barrier that waits can be put ahead, and _sent is told when it leaves one of them. */
int tide_session_force(struct tide_session *s, uint32_t task, uint32_t channel, bool aligned);
int tide_session_promotable(struct tide_session *s, uint32_t task, uint32_t outputs);
int tide_session_sent(struct tide_session *s, uint32_t task,
                      const uint8_t barrier[static TIDE_BARRIER_BYTES], uint64_t now_us);
struct tide_session_ack {
    uint64_t attempt, round;
    uint32_t task, align_us, sync_us, async_us;
    const struct tide_artifact_view *artifacts; /* borrowed; path empty: derived */
    uint32_t n_artifacts;
    uint64_t persisted; /* bytes of records in flight in artifacts that do not say so */
    bool has_handle;
    struct tide_bytes handle;
};
int tide_session_ack(struct tide_session *s, const struct tide_session_ack *ack, uint64_t now_us);
int tide_session_decline(struct tide_session *s, uint64_t attempt, uint64_t round, uint32_t task,
                         struct tide_bytes reason, uint32_t retry_after_ms, uint64_t now_us);
/* Whether the task may refer to the shared artifact with that key in its ack of that round: path,
 * size and digest in *ret, a view until the next call. TIDE_ENOTFOUND: it may not, or knows none.
 */
int tide_session_share_find(struct tide_session *s, uint32_t task, uint64_t round,
                            struct tide_bytes key, struct tide_artifact_view *ret);
/* The task is uploading: bytes so far, for progress reports. */
int tide_session_progress(struct tide_session *s, uint32_t task, uint64_t round, uint64_t bytes,
                          uint64_t now_us);
/* The task is at a safe point, its positions rising within the attempt. 0: go on. TIDE_EAGAIN:
 * stand there, and ask again when POSITION says so; a SNAPSHOT for this very moment may be among
 * the deliveries. TIDE_ESTALE: the attempt in which it was told to stand is over. TIDE_ESTATE: no
 * attempt that runs, or a job of another style. */
#define TIDE_POSITION_MAX (UINT64_C(1) << 62)
int tide_session_position(struct tide_session *s, uint32_t task, uint64_t position,
                          uint64_t now_us);
/* The state as of a SNAPSHOT is captured, or never will be: the task may change it. Of use in
 * rendezvous rounds only. */
void tide_session_captured(struct tide_session *s, uint32_t task, uint64_t round);
int tide_session_finished(struct tide_session *s, uint32_t task, uint64_t now_us);
/* A source has, or has no longer, more input than it can process. */
int tide_session_backlog(struct tide_session *s, uint32_t task, bool behind);
/* Carried out what the completion of `round` asked of this task. */
int tide_session_confirm(struct tide_session *s, uint32_t task, uint64_t round, uint64_t now_us);
/* It could not be carried out now: COMPLETE is delivered again later, with a back-off. */
int tide_session_commit_failed(struct tide_session *s, uint32_t task, uint64_t round,
                               uint64_t now_us);
/* Of external parts. What answers EXTERNAL_RESTORE, each in turn; a coordinator none from before a
 * REWIND. */
int tide_session_external_restored(struct tide_session *s, uint32_t external, int rc,
                                   struct tide_bytes reason, uint64_t now_us);
/* What answers EXTERNAL_SNAPSHOT: data, or, with rc, why not. The first answer counts. Kept while
 * the worker is cut off. ESTALE: the round is over. */
int tide_session_external_answer(struct tide_session *s, uint32_t external, uint64_t attempt,
                                 uint64_t round, int rc, struct tide_bytes what, uint64_t now_us);
/* The part cannot go on in the attempt: the daemon ends it. */
int tide_session_external_failed(struct tide_session *s, uint32_t external,
                                 struct tide_bytes reason, uint64_t now_us);
/* The task has dropped what it had, after REWIND; when all have, the session joins anew. */
int tide_session_rewound(struct tide_session *s, uint32_t task, uint64_t now_us);
/* Answer to CHECK_HOLDER. */
void tide_session_holder(struct tide_session *s, bool gone, uint64_t now_us);
void tide_session_leave(struct tide_session *s, struct tide_bytes reason, uint64_t now_us);

/* ---- what to do now */
enum tide_delivery_type {
    TIDE_DO_CONNECT = 1, /* open a connection; answer with _connected or _disconnected */
    TIDE_DO_SEND,        /* bytes: whole frames, view until the next call that feeds the session */
    TIDE_DO_CLOSE,       /* close the connection; answer with _disconnected */
    TIDE_DO_RESTORE,     /* task: restore what `restore` says; answer with _restored */
    TIDE_DO_RUN,         /* task: go */
    TIDE_DO_TRIGGER, /* task (no open input): a round begins; FORWARD and SNAPSHOT follow at once */
    TIDE_DO_BLOCK,
    TIDE_DO_UNBLOCK,  /* task, channel */
    TIDE_DO_FORWARD,  /* task: put `barrier` (may be a cancel marker) into every output; if `ahead`,
                         ahead of the records that wait there, which belong to the snapshot */
    TIDE_DO_SNAPSHOT, /* task, round, directory: snapshot; answer with _ack or _decline. If
                         `captures`, records of channels without a barrier belong to it from now on.
                         If `waits`, no _ack before ACKABLE */
    TIDE_DO_OVERTAKE, /* task, channel: the barrier that is queued there goes ahead, what it passes
                         belongs to the snapshot; answer with _barrier */
    TIDE_DO_PROMOTE,  /* task: as FORWARD with `ahead`, for outputs in which it waits already */
    TIDE_DO_ACKABLE,  /* task, round: nothing is missing from the snapshot any more */
    TIDE_DO_POSITION, /* task: _position may have another answer now: ask at the next safe point */
    TIDE_DO_COMPLETE, /* task, round, handle (if has_handle: owed from before a restore): publish up
                         to round; answer with _confirm */
    TIDE_DO_ABORT, /* task, round: what was written for it will not be used; undo nothing outside */
    TIDE_DO_SUBSUMED, /* task, round: that checkpoint, and those before it, are out of use */
    TIDE_DO_DRAIN,    /* task (no open input), round: end your input now, then _finished; the round
                         goes on from there, or _decline */
    TIDE_DO_SUSPEND,  /* task, round: has given what it had for the round that ends the job: stand
                         still until STOP, RESUME or REWIND */
    TIDE_DO_RESUME,   /* task: that round came to nothing, go on */
    TIDE_DO_ENDED,    /* task: its end is durable, it may end */
    TIDE_DO_REWIND,   /* task: drop everything; answer with _rewound */
    TIDE_DO_FENCED,   /* all: the lease is over (text); computing goes on, speaking to the outside
                         waits */
    TIDE_DO_UNFENCED, /* all: it was renewed in the same attempt */
    TIDE_DO_STOP,     /* all: the job has ended (text: outcome); the session is over. What waits
                         before it is delivered under the lease, or not at all */
    TIDE_DO_REFUSED,  /* text: the daemon refuses this worker for good (rc says which); the session
                         is over */
    TIDE_DO_CHECK_HOLDER, /* is the process (pid, start_time) gone on this host? answer with _holder
                           */
    TIDE_DO_NOTE, /* text for the application's log: connection lost, parked, reconnecting ... */
    /* Of an external part, and all that follow. */
    TIDE_DO_EXTERNAL_RESTORE,  /* from `bytes` (has_data), or reset; answer with _external_restored.
                                  start is NULL when another region was rewound, for hooks
                                */
    TIDE_DO_EXTERNAL_RUN,      /* go */
    TIDE_DO_EXTERNAL_SNAPSHOT, /* round: answer with _external_answer */
    TIDE_DO_EXTERNAL_RELEASE,  /* round: its operator's subtasks `first` to `first + count - 1` have
                                  acked it; count UINT32_MAX: it is over, how is told separately */
    TIDE_DO_EXTERNAL_COMPLETE, /* round */
    TIDE_DO_EXTERNAL_ABORT,    /* round that it was asked for */
    TIDE_DO_EXTERNAL_REWIND,   /* the attempt is over (text) */
    TIDE_DO_EXTERNAL_LOST,     /* of a coordinator: its subtasks `first` to `first + count - 1` are
                                  rewound to `round` (0: they start afresh); what was sent to them
                                  since is lost, and what is sent now waits for EXTERNAL_READY */
    TIDE_DO_EXTERNAL_READY,    /* they run again */
    TIDE_DO_ADVANCE /* all: another region was rewound, the attempt has another number; bytes: the
                       packed Advance, which has been checked */
};
struct tide_delivery {
    enum tide_delivery_type type;
    uint32_t task, channel;
    uint32_t external, first, count;
    uint64_t round, attempt, align_us;
    struct tide_bytes bytes, directory, text, handle;
    bool directory_exists, has_handle, savepoint, full, native, ahead, captures, waits, has_data;
    bool shares; /* SNAPSHOT: its files may be shared with later checkpoints */
    uint8_t barrier[TIDE_BARRIER_BYTES];
    const Tide__Start *start;         /* RESTORE: whole message, view until rewind or stop */
    const Tide__TaskRestore *restore; /* RESTORE: NULL when there is nothing for this task */
    bool task_ended;                  /* RESTORE: it had ended in that snapshot */
    uint32_t pid;
    uint64_t start_time;
    int rc;
};
/* What a delivery's views point to lives until the next call of this (bytes of SEND: until the next
 * call that feeds the session; start and restore: as above). */
bool tide_session_next(struct tide_session *s, struct tide_delivery *ret);
/* Only SEND, CLOSE and CONNECT, which tide_session_next() also returns, before anything else: for a
 * thread that keeps the connection while the application is busy with a delivery. */
bool tide_session_next_io(struct tide_session *s, struct tide_delivery *ret);
bool tide_session_waits(const struct tide_session *s); /* deliveries wait for the application */
/* Before each delivery that may come late: when the lease is over, what it needs is not delivered.
 */
void tide_session_look(struct tide_session *s, uint64_t now_us);
/* The end of a turn: acks, confirms and ends that wait for company leave now. */
void tide_session_flush(struct tide_session *s, uint64_t now_us);
/* 0, or why nothing works any more: TIDE_EBUG (an assertion failed), TIDE_ENOMEM. */
int tide_session_failed(const struct tide_session *s, const char **ret_why);
uint64_t tide_session_deadline(const struct tide_session *s); /* UINT64_MAX: never */

/* Whether the lease is held now; the number to stamp on writes to the outside. 0, TIDE_EFENCED,
 * TIDE_ESTATE. */
int tide_session_token(const struct tide_session *s, uint64_t now_us, uint64_t *ret_external);
/* A heartbeat now, for a helper thread; the lease will count from now_us. */
void tide_session_heartbeat(struct tide_session *s, uint64_t now_us);
uint64_t tide_session_heartbeat_us(const struct tide_session *s); /* between two heartbeats */
uint64_t tide_session_attempt(const struct tide_session *s);      /* 0: none */
/* Names a broken invariant, or NULL. For tests and the simulator. */
const char *tide_session_check(const struct tide_session *s);

#endif
