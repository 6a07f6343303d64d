/* libtidemark: take part in consistent snapshots of a distributed program.
 *
 * A worker is one process with one connection to tidemarkd; it hosts tasks. The library joins,
 * restores, aligns barriers, writes snapshots, acks and confirms; the program keeps its own loop
 * and its own channels:
 *
 *     struct tide_spec *spec;                     describe the job (the same in every worker)
 *     tide_worker_new(&config, &worker);          one handle
 *     tide_worker_add_task(worker, ...);          the tasks that this process hosts, with callbacks
 *     while (tide_worker_wait(worker, 1000) == 0) nothing;        or, in a loop of one's own:
 *       poll(tide_worker_fd(worker)), then tide_worker_process(worker)
 *
 * Callbacks run on the thread that calls tide_worker_process(), tide_worker_wait(),
 * tide_task_barrier(), tide_task_channel_end() or tide_task_finished(), one at a time, never on
 * another and never inside each other: what a callback causes is delivered after it has returned.
 * One thread per worker handle, except where a function says "any thread". A callback may call
 * everything here but tide_worker_process(), tide_worker_wait() (TIDE_ESTATE) and
 * tide_worker_free().
 *
 * The life of a task: restore, run, then rounds; finished and ended when its input ends; rewind,
 * and again from restore, whenever the attempt is over; stop when the job is. In a regional job a
 * task that has nothing to do with those of a lost worker is told advance instead. A round: trigger
 * (source) or barriers, forward, snapshot; later complete or abort. The last round of a job that an
 * admin stops has, before trigger, drain, or, behind snapshot, suspend. When the job has done its
 * work but commits are still owed, a worker that starts then gets complete, with handles, and stop,
 * and nothing else.
 *
 * Each end of a data channel reads what a peer's `forward` was given and hands it to
 * tide_task_barrier(): barriers, cancel markers and the end of the channel look alike to the
 * program.
 *
 * All functions return 0 or a negative code (tide_strerror); tide_worker_error() has a sentence.
 * None exits, aborts, prints, or blocks without a deadline. TIDE_EBUG: an assertion of the library
 * failed, the handle is dead; free it, report it. The rules follow Apache Flink 2.0's where docs/
 * does not say otherwise.
 *
 * Structs may grow at their end in later versions. Those that a program fills (tide_checkpointing,
 * tide_worker_config, the callbacks) are handed over with the size that they had when the program
 * was compiled: the functions that take one are compiled into the program and add it, and what an
 * older program does not know is 0. So fill them from zeros ({0}, or designated initializers). A
 * binding for another language calls the function that ends in _sized. */
#ifndef TIDEMARK_H
#define TIDEMARK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TIDE_API __attribute__((visibility("default")))
#define TIDE_BARRIER_SIZE 16 /* bytes of a barrier in the program's own channels */
#define TIDE_KEY_SIZE 96     /* of a shared artifact's key, with the NUL that ends it */

struct tide_spec;
struct tide_worker;
struct tide_task;
struct tide_snapshot;
struct tide_coordinator;
struct tide_hook;

TIDE_API const char *tide_version(void); /* "0.1.0" */
/* err.h declares: const char *tide_strerror(int rc); */

/* ---- the job */

enum tide_pattern {
    TIDE_ALL_TO_ALL = 1, /* every task of `from` feeds every task of `to` */
    TIDE_POINTWISE = 2   /* task i feeds task i; equal parallelism */
};

enum tide_round_style {
    TIDE_STYLE_FLOW = 0,      /* barriers travel through the program's channels */
    TIDE_STYLE_RENDEZVOUS = 1 /* all tasks stop at one position: tide_task_position() */
};
#define TIDE_NO_WINDOW UINT32_MAX
#define TIDE_NO_INTERVAL UINT32_MAX

enum tide_barriers { /* how tasks wait for the barriers of a checkpoint */
                     TIDE_BARRIERS_ALIGNED =
                         0, /* a channel is blocked from its barrier until all are there */
                     TIDE_BARRIERS_COUNTED =
                         1, /* nothing is blocked: after a restore some records come again */
                     TIDE_BARRIERS_UNALIGNED =
                         2, /* a barrier goes ahead of what is queued: tide_task_record() */
                     TIDE_BARRIERS_TIMEOUT =
                         3 /* aligned at first, unaligned after aligned_timeout_ms */
};

/* 0 takes the daemon's default; docs/guide.md lists them. All in ms, but for retained,
 * attempts_max and what is said. */
struct tide_checkpointing {
    uint32_t interval_ms, min_pause_ms, deadline_ms, retained, restore_deadline_ms, lease_ms,
        heartbeat_ms, grace_ms, orphan_limit_ms, progress_ms, attempts_max;
    /* ---- since 0.2.0 */
    uint32_t style;     /* enum tide_round_style */
    uint32_t window;    /* rendezvous: positions, see tide_task_position(); TIDE_NO_WINDOW: none */
    uint32_t alignment; /* enum tide_barriers */
    uint32_t aligned_timeout_ms;  /* of a checkpoint that is to turn unaligned */
    uint32_t max_concurrent;      /* checkpoints under way at once; savepoints do not count */
    uint32_t failure_pause_ms;    /* from an aborted checkpoint to the next periodic one */
    uint32_t failures_max;        /* in a row, at which the attempt ends; 1 tolerates none */
    uint32_t backlog_interval_ms; /* while a source has a backlog; TIDE_NO_INTERVAL: none begin */
    uint32_t deadline_cap_ms;     /* up to which a round that makes progress may take longer */
    uint32_t regional; /* 1: a lost worker rewinds the tasks alone that edges connect with its own,
                          see `advance` */
    /* Checkpoints kept beside the last `retained`: the last one of each of so many hours, days and
     * weeks (UTC, from Monday) that have one. Of all these none stays that is older than so many
     * seconds when another completes, or with which they have more than so many MiB; 0: no limit.
     * The newest `retained_least` (1) stay even so. `tidemark retention` explains. */
    uint32_t retained_hours, retained_days, retained_weeks, retained_age_s, retained_mib,
        retained_least;
};

/* A spec is built, then given to tide_worker_new(), which copies it. The first failure sticks and
 * is returned there, so the calls in between need no check. */
TIDE_API int tide_spec_new(const char *job, struct tide_spec **ret);
TIDE_API void tide_spec_free(struct tide_spec *spec); /* NULL is fine */
TIDE_API int tide_spec_operator(struct tide_spec *spec, const char *uid, uint32_t parallelism,
                                uint32_t max_parallelism /* 0: the default */);
TIDE_API int tide_spec_edge(struct tide_spec *spec, const char *from, const char *to,
                            enum tide_pattern pattern);
/* The operator, added before, has a coordinator: one worker adds it, see below. */
TIDE_API int tide_spec_coordinator(struct tide_spec *spec, const char *uid);
/* The operator, added before, keeps union list state: every one of its tasks gets all pieces on
 * restore, so no snapshot is taken while only part of its tasks have finished. */
TIDE_API int tide_spec_union_state(struct tide_spec *spec, const char *uid);
/* The job has this hook: one worker adds it. 1 to 255 bytes, at most 64 hooks. */
TIDE_API int tide_spec_hook(struct tide_spec *spec, const char *name);
/* If the job is new it begins from the snapshot in this directory, absolute, as the daemon sees it,
 * whoever has taken it; state of operators that the job has not is refused, or dropped. When it is
 * no snapshot, or does not fit, the worker is refused and there is no job. A job that the daemon
 * knows goes on from where it is: then this counts for nothing, so it may stay, go or differ. */
TIDE_API int tide_spec_restore_from(struct tide_spec *spec, const char *directory,
                                    bool allow_unmatched);
TIDE_API int tide_spec_checkpointing_sized(struct tide_spec *spec,
                                           const struct tide_checkpointing *c, size_t size);
static inline int tide_spec_checkpointing(struct tide_spec *spec,
                                          const struct tide_checkpointing *c)
{
    return tide_spec_checkpointing_sized(spec, c, sizeof *c);
}

/* ---- the worker */

struct tide_worker_config {
    const struct tide_spec *spec;
    const char *address;     /* "host:port" or "[v6]:port"; NULL: 127.0.0.1:7460 */
    const char *secret_file; /* NULL: none; must not be readable by others */
    const char *name;        /* this worker's name, stable across its restarts */
    const char *endpoint;    /* what peers need to reach it, opaque; NULL: empty */
    /* Artifacts up to this many bytes travel inside the ack; 0: 4,096; at most 1 MiB. */
    uint32_t inline_max;
    /* True: heartbeats only from process(): call it at least each heartbeat interval. */
    bool no_helper_thread;
    /* Notes for the program's log, on the thread that calls process; NULL: none. */
    void (*log)(const char *text, void *user);
    void *user;
};

/* 0 and *ret; TIDE_EINVAL (what is wrong in why), TIDE_EIO, TIDE_ENOMEM, TIDE_ENOTSUP (config has
 * what a newer header knows and this library does not). Connects later, in process. A name in the
 * address is looked up then, whenever a connection is made, by a thread of the library's: nothing
 * here waits for a name server. */
TIDE_API int tide_worker_new_sized(const struct tide_worker_config *config, size_t size,
                                   struct tide_worker **ret, char why[256]);
static inline int tide_worker_new(const struct tide_worker_config *config, struct tide_worker **ret,
                                  char why[256])
{
    return tide_worker_new_sized(config, sizeof *config, ret, why);
}
/* Leaves, if it still can without waiting, and frees the handle with its tasks. NULL is fine. No
 * other thread may be at the handle any more, and no snapshot may be without its
 * tide_snapshot_done(). */
TIDE_API void tide_worker_free(struct tide_worker *w);

/* Readable when tide_worker_process() has something to do: timers, the connection and acks from
 * other threads included. Never changes during the handle's life. */
TIDE_API int tide_worker_fd(const struct tide_worker *w);
/* Does what there is to do, calling callbacks; does not block. 0; TIDE_EENDED when the job has
 * ended (all `stop` callbacks were called); TIDE_EREFUSED when the daemon refuses this worker for
 * good; TIDE_ENOMEM and TIDE_EBUG when the handle is dead: free it. Anything else is handled inside
 * (a lost connection is retried). */
TIDE_API int tide_worker_process(struct tide_worker *w);
/* Waits at most timeout_ms for something to do, then does it. The same codes. */
TIDE_API int tide_worker_wait(struct tide_worker *w, int timeout_ms);
/* A sentence about the last failure; valid until the next call. Never NULL. */
TIDE_API const char *tide_worker_error(const struct tide_worker *w);
/* The number to stamp on writes to the outside: rises with every attempt, in the whole store.
 * TIDE_EFENCED once the lease is over (then do not write), TIDE_ESTATE without an attempt. Any
 * thread. */
TIDE_API int tide_worker_token(struct tide_worker *w, uint64_t *ret_number);
/* The attempt that the tasks are in: from restore to rewind; 0: none. */
TIDE_API uint64_t tide_worker_attempt(const struct tide_worker *w);
/* 32 hex digits, "" before the first restore; put (job, attempt) first on data connections. */
TIDE_API const char *tide_worker_job_id(const struct tide_worker *w);
/* Peers of the attempt: where the task runs. Valid until the next rewind or advance.
 * TIDE_ENOTFOUND, TIDE_ESTATE. */
TIDE_API int tide_worker_endpoint(const struct tide_worker *w, const char *uid, uint32_t subtask,
                                  const char **ret_endpoint);

/* ---- tasks */

/* What a task restores from; everything in it is valid during the callback. */
enum tide_flight {
    TIDE_FLIGHT_INPUT = 1, /* received, not processed when the snapshot was taken */
    TIDE_FLIGHT_OUTPUT = 2 /* put out, not sent when the barrier went ahead of it */
};
struct tide_state {
    const char *name; /* as given to tide_snapshot_artifact(), "" otherwise */
    uint64_t size;    /* bytes */
    uint32_t key_group_first, key_group_count; /* count 0: not keyed */
    /* private: */
    const void *handle;
    /* in tide_restore.in_flight; since 0.2.0, 0 before: */
    uint32_t flight; /* enum tide_flight */
    uint32_t channel;
    /* of a shared artifact; NULL of others. If it was written by this job, checkpoints may go on
     * referring to it: tide_snapshot_refer(), in which all tasks that got it may. Since 0.2.0. */
    const char *key;
    const void *reserved[2]; /* they stand in an array, so this one cannot grow */
};
struct tide_restore {
    uint64_t snapshot; /* round that it comes from; 0: start afresh */
    uint64_t attempt;
    bool ended; /* the task had reached its end: only forward barriers; no input will be read */
    const struct tide_state *states;
    uint32_t n_states;
    /* ---- since 0.2.0 */
    /* Records that were in flight, in order, at most one entry for a direction and channel:
     * tide_state_open(), then tide_state_next() for each. Those of an input are processed before
     * anything that is received on the channel; those of an output are sent before anything else.
     * Until then they are part of what a round may have to pass over again. */
    const struct tide_state *in_flight;
    uint32_t n_in_flight;
};

/* Every callback but restore and snapshot may be NULL. Those that return int: 0 is done;
 * TIDE_EAGAIN where it says so; anything else is a failure, for which the library says to the
 * daemon what `tide_task_fail_reason` last got, or what it knows itself (the file that could not be
 * read, and why), or the code's text. */
struct tide_callbacks {
    /* Take the state, open channels. TIDE_EAGAIN: tide_task_restored() follows, from any thread. */
    int (*restore)(struct tide_task *t, const struct tide_restore *r, void *user);
    /* Every task of the job has restored: process. A task that was restored as ended is told as
     * well; forward with the end of the channel follows, for its outputs. */
    void (*run)(struct tide_task *t, void *user);
    /* For a task without an open input: a round begins. 0: forward and snapshot follow now.
     * TIDE_EAGAIN: they follow when the program calls tide_task_triggered(), any thread. NULL: as
     * 0. */
    int (*trigger)(struct tide_task *t, uint64_t round, void *user);
    /* Stop, or go on, reading an input channel. What was read before and not yet processed stays
     * unprocessed. */
    void (*block)(struct tide_task *t, uint32_t channel, bool blocked, void *user);
    /* Put these 16 bytes into every output channel, now, behind what was sent before and before
     * anything else. Comes before the snapshot of the same round. */
    void (*forward)(struct tide_task *t, const uint8_t barrier[TIDE_BARRIER_SIZE], void *user);
    /* Write the state as of now: tide_snapshot_write() and friends. 0: written, the library acks.
     * TIDE_EAGAIN: tide_snapshot_done() follows, from any thread; the task goes on meanwhile.
     * Other: declines the round. */
    int (*snapshot)(struct tide_task *t, struct tide_snapshot *s, void *user);
    /* The round is durable: publish what was pre-committed up to it. handle: NULL, or (after a
     * restore) the commit handle that is owed since before. Must be idempotent. 0: the library
     * confirms. TIDE_EAGAIN: tide_task_confirm() follows. Other: asked again later, with a
     * back-off. NULL: as 0. */
    int (*complete)(struct tide_task *t, uint64_t round, const void *handle, size_t handle_len,
                    void *user);
    /* The round came to nothing. What was pre-committed for it stays pending: the next complete
     * covers it. */
    void (*abort)(struct tide_task *t, uint64_t round, void *user);
    /* The end that tide_task_finished() told is durable, and what the round published is confirmed;
     * forward has been given the end of the channel. Close the outputs; nothing but rewind and
     * stop comes after. */
    void (*ended)(struct tide_task *t, void *user);
    /* The attempt is over: close channels, drop all state; restore will be called again, and only
     * that discards what was pre-committed after its snapshot. Ends `fenced` as well. */
    void (*rewind)(struct tide_task *t, const char *reason, void *user);
    /* The job has ended. */
    void (*stop)(struct tide_task *t, const char *outcome, void *user);
    /* The lease is over (true), or was renewed in time (false): what speaks to the outside waits.
     */
    void (*fenced)(struct tide_task *t, bool fenced, void *user);
    /* ---- since 0.2.0 */
    /* The checkpoint of that round is out of use, and so are all before it: they are being deleted,
     * and what the program keeps elsewhere for them may go. Comes after the complete of the round
     * that took its place; again and again until that is confirmed. NULL: as if done. */
    void (*subsumed)(struct tide_task *t, uint64_t round, void *user);
    /* For a task without an open input: the job is to be drained, its last round waits for this.
     * End your input here: put out what says so to the tasks behind (the largest watermark, say,
     * and the end of data), then call tide_task_finished(), now or later; the others follow as at
     * any end of input. trigger, forward and snapshot come then. If the round aborts, rewind does.
     * 0: done, or begun. Other: declines the round. NULL: declines, the program cannot be drained.
     */
    int (*drain)(struct tide_task *t, uint64_t round, void *user);
    /* True: the snapshot just taken is to be the last, the job is to be suspended with it. Stand
     * still: read no input, put nothing out. stop follows when all is durable and published; what
     * were computed meanwhile would be thrown away. False: that round came to nothing, or the
     * daemon is away too long: go on. NULL: as if done. */
    void (*suspend)(struct tide_task *t, bool suspended, void *user);
    /* Rendezvous rounds: tide_task_position() may have another answer now. For programs that come
     * to a safe point only when somebody asks them to: call it at the next one, or from here. */
    void (*position)(struct tide_task *t, void *user);
    /* Unaligned rounds, see tide_task_record(). The barrier that was announced on the channel goes
     * ahead: take it out of the queue, give each record in front of it to
     * tide_task_in_flight(TIDE_FLIGHT_INPUT), in order (they stay queued, and are processed in
     * their turn), then the barrier to tide_task_barrier(). NULL: the task's channels are all kept
     * aligned. */
    void (*overtake_input)(struct tide_task *t, uint32_t channel, void *user);
    /* Instead of `forward`: put these 16 bytes into every output ahead of the records that wait
     * there, but behind any barrier that does, and give the records that they pass to
     * tide_task_in_flight(TIDE_FLIGHT_OUTPUT), in order (they are sent nevertheless, behind).
     * queued: forward was given a barrier of the same round before (tide_same_round): where it
     * still waits it moves, as these bytes; where it has left, nothing is to be done. NULL:
     * `forward` is called, behind everything, which is right but slow. */
    void (*overtake_output)(struct tide_task *t, const uint8_t barrier[TIDE_BARRIER_SIZE],
                            bool queued, void *user);
    /* Regional jobs: a worker was lost, and no edge leads between its tasks and this one, so these
     * are restored and this one goes on: its state, channels and tide_worker_token() stay. The
     * round that was under way has aborted. The attempt has this number from now on: channels that
     * are opened from here on say it, and tide_worker_endpoint() knows where the others run now.
     * NULL: as if done. */
    void (*advance)(struct tide_task *t, uint64_t attempt, void *user);
};

/* Adds a task before the first process(). channels: its input channels, numbered from 0 by the
 * program. The task lives as long as the worker. */
TIDE_API int tide_worker_add_task_sized(struct tide_worker *w, const char *uid, uint32_t subtask,
                                        uint32_t channels, const struct tide_callbacks *callbacks,
                                        size_t size, void *user, struct tide_task **ret);
static inline int tide_worker_add_task(struct tide_worker *w, const char *uid, uint32_t subtask,
                                       uint32_t channels, const struct tide_callbacks *callbacks,
                                       void *user, struct tide_task **ret)
{
    return tide_worker_add_task_sized(w, uid, subtask, channels, callbacks, sizeof *callbacks, user,
                                      ret);
}
TIDE_API uint32_t tide_task_subtask(const struct tide_task *t);
TIDE_API struct tide_worker *tide_task_worker(const struct tide_task *t);

/* A barrier was read from an input channel (any 16 bytes that a peer's forward was given). May call
 * block, forward, snapshot before it returns (called from a callback: after that one has returned).
 * TIDE_EPROTO: not a barrier of this job. TIDE_ESTATE: no attempt. After `stop` it is dropped. */
TIDE_API int tide_task_barrier(struct tide_task *t, uint32_t channel,
                               const uint8_t barrier[TIDE_BARRIER_SIZE]);
/* The channel has ended in good order (its peer was told `ended`, or sent nothing more by
 * agreement). */
TIDE_API int tide_task_channel_end(struct tide_task *t, uint32_t channel);
/* ---- Unaligned rounds. A barrier need not wait behind the records of a slow program: it goes
 * ahead of them, and what it passes becomes part of the snapshot. A job asks for it by
 * tide_checkpointing.alignment; a task takes part by having overtake_input, and calling
 * tide_task_record(); a task that has not waits for all its barriers, and the others do not. The
 * library says what to keep and when; records are the program's own bytes, which come back as they
 * were. What is in the channel but not in the state is a record, so the end of data that tasks tell
 * each other as well; barriers are none. */

/* A record is taken from the channel, and processed next. Before each one, in such a task: it is
 * kept when a round asks for it. Costs next to nothing otherwise. TIDE_EINVAL: no such channel.
 * What fails in keeping it fails the round. */
TIDE_API int tide_task_record(struct tide_task *t, uint32_t channel, const void *data, size_t n);
/* A barrier (any 16 bytes that a peer's forward or overtake_output was given) has been received and
 * waits in the channel's queue, behind records. Of each channel the first one that does; the next
 * one when that has been handed to tide_task_barrier(). May call overtake_output, snapshot and
 * overtake_input before it returns. Without this call a barrier waits its turn in the queue. */
TIDE_API int tide_task_announce(struct tide_task *t, uint32_t channel,
                                const uint8_t barrier[TIDE_BARRIER_SIZE]);
/* In overtake_input and overtake_output alone: a record that the barrier passes; copied. channel:
 * of an output, as the program numbers them, below 65,536. */
TIDE_API int tide_task_in_flight(struct tide_task *t, enum tide_flight flight, uint32_t channel,
                                 const void *data, size_t n);
/* Rounds with a timeout. In so many of the task's outputs a barrier waits that overtake_output can
 * still put ahead; when it has left one of them, tide_task_sent() says so. The round is acked when
 * it has left all, or when the timeout is over. Before the first process(). */
TIDE_API int tide_task_promotable(struct tide_task *t, uint32_t outputs);
TIDE_API int tide_task_sent(struct tide_task *t, const uint8_t barrier[TIDE_BARRIER_SIZE]);
/* Keeps records in flight in a way of the program's, or of a library's such as libtidemark-state,
 * that can be read elsewhere than where they were. When a snapshot is written, and all its records
 * are known, and if there are any, `write` puts them into artifacts (tide_snapshot_artifact() and
 * so on), which come back in tide_restore.states. It takes each from tide_flights_next(). On the
 * thread that calls tide_worker_process() or tide_snapshot_done(). Another answer than 0, or a
 * record that was not taken, declines the round. Without this call they are kept as they are,
 * channel by channel, for the same channel of the same task: tide_restore.in_flight. Before the
 * first process(). */
struct tide_flights;
TIDE_API int tide_task_keep_flights(struct tide_task *t,
                                    int (*write)(struct tide_snapshot *s, struct tide_flights *f,
                                                 char why[256], void *user),
                                    void *user);
/* The next record of a channel, a view; false at the end. */
TIDE_API bool tide_flights_next(struct tide_flights *f, enum tide_flight flight, uint32_t channel,
                                const void **ret_data, size_t *ret_n);
/* Bytes of all of them together. */
TIDE_API uint64_t tide_flights_bytes(const struct tide_flights *f);
/* The records of this channel are never kept: its barriers are always waited for. Before the first
 * process(). */
TIDE_API int tide_task_keep_aligned(struct tide_task *t, uint32_t channel);
/* Whether two barriers are of one round. */
TIDE_API bool tide_same_round(const uint8_t a[TIDE_BARRIER_SIZE],
                              const uint8_t b[TIDE_BARRIER_SIZE]);

/* The task has reached the end of its input. It goes on taking part in rounds until `ended`. While
 * the lease is over it is kept and told later. Unaligned rounds: call it when all that the task has
 * put out has left its outputs, since from then on its barriers go behind what waits there: of a
 * task that has ended nothing in flight is kept. TIDE_ESTATE: before run. */
TIDE_API int tide_task_finished(struct tide_task *t);
/* A source (a task without input channels) has, or has no longer, more input than it can process at
 * the moment. While one has, backlog_interval_ms holds in place of interval_ms. Ends with the
 * attempt. TIDE_EINVAL: no source; TIDE_ESTATE: no attempt. */
TIDE_API int tide_task_backlog(struct tide_task *t, bool behind);
/* The task of a rendezvous job is at a safe point: what its peers sent before this position has
 * been applied, what it sent itself is on its way, and its state may be taken as it is. Positions
 * are numbers that all tasks count alike, such as the step, and rise within an attempt; 0 always in
 * programs that count none, with TIDE_NO_WINDOW. A task calls this at every safe point, and does
 * what it says:
 *   0            go on.
 *   TIDE_EAGAIN  stand here: compute nothing, apply nothing, send nothing, let
 *                tide_worker_wait() have the thread, and call again, with the same position.
 *   TIDE_ESTALE  the attempt in which the task was told to stand is over: leave the loop. `rewind`
 *                has been called, `restore` will be or has been.
 *   others       as tide_worker_process(); TIDE_ESTATE: no attempt runs, or the job's style is
 * another; TIDE_EINVAL: a position below the one before, or above 2^62. A round asks for the
 * position, which changes nothing; lets each task go on at most tide_checkpointing.window positions
 * from there (2 by default); and makes all stand at one, which none has passed. When all do,
 * `snapshot` is called from in here, and the task goes on. No task stands longer than the round
 * lasts, or than the orphan limit without a daemon. So in a solver:
 *
 *     for (;; step++) {
 *         while ((rc = tide_task_position(task, step)) == TIDE_EAGAIN)
 *             if (tide_worker_wait(worker, 1000)) return ...;
 *         if (rc || step == steps) break;
 *         exchange(step);     while it waits, listens at tide_worker_fd(): tide_worker_process()
 *         compute(step);
 *     }
 *
 * Whoever counts in strides takes a multiple of the stride as window. After tide_task_finished() a
 * task counts as standing wherever the others meet. */
TIDE_API int tide_task_position(struct tide_task *t, uint64_t position);
/* What follows a callback that answered TIDE_EAGAIN; any thread. TIDE_ESTALE: too late, the attempt
 * or the round is over. TIDE_EFENCED (confirm): the commit will be asked for again. */
TIDE_API int tide_task_restored(struct tide_task *t, int rc, const char *reason);
TIDE_API int tide_task_triggered(struct tide_task *t, uint64_t round);
TIDE_API int tide_task_confirm(struct tide_task *t, uint64_t round);
/* Why the callback that is about to fail fails; copied. */
TIDE_API void tide_task_fail_reason(struct tide_task *t, const char *reason);

/* ---- coordinators and hooks
 *
 * Parts of a job outside its tasks: each lives in one worker, is restored with the tasks, and takes
 * part in rounds before them. Callbacks that return int answer as those of tasks: 0, TIDE_EAGAIN
 * (the answer follows, from any thread), or a failure. */

/* The coordinator of an operator directs its subtasks by events: which input to read next, say. Its
 * state and theirs agree in every snapshot: what it has sent before its own is part of theirs, what
 * it sends later is not. */
struct tide_coordinator_callbacks {
    /* Take the state of `snapshot`, or (snapshot 0 or data NULL) begin afresh; no event may be sent
     * yet. TIDE_EAGAIN: tide_coordinator_restored() follows. */
    int (*restore)(struct tide_coordinator *c, uint64_t snapshot, const void *data, size_t n,
                   void *user);
    /* Everybody has restored: events may be sent. NULL: as if done. */
    void (*run)(struct tide_coordinator *c, void *user);
    /* A round begins: call tide_coordinator_snapshot(), now (and return 0; without it, it has no
     * bytes) or later (TIDE_EAGAIN). Other: the round aborts. */
    int (*snapshot)(struct tide_coordinator *c, uint64_t round, void *user);
    /* Bring this to the subtask, in order with those before it for the same subtask, on a channel
     * of the program's own. 0: it has it: its next snapshot will know of it. TIDE_EAGAIN:
     * tide_coordinator_confirm() follows. Other: it is lost, and the attempt ends, since the two
     * sides differ from now on. NULL: the coordinator sends no events. */
    int (*event)(struct tide_coordinator *c, uint32_t subtask, uint64_t event, const void *data,
                 size_t n, void *user);
    /* The round is durable; it came to nothing. NULL: as if done. */
    void (*complete)(struct tide_coordinator *c, uint64_t round, void *user);
    void (*abort)(struct tide_coordinator *c, uint64_t round, void *user);
    /* The attempt is over: restore will be called again. NULL: as if done. */
    void (*rewind)(struct tide_coordinator *c, const char *reason, void *user);
    /* The job has ended. NULL: as if done. */
    void (*stop)(struct tide_coordinator *c, const char *outcome, void *user);
    /* ---- regional jobs, in which a coordinator with `event` has this */
    /* The subtask is restored from that snapshot (0: it starts afresh), and the coordinator goes on
     * as it is: what it has sent to the subtask after its own snapshot for that round is lost. Send
     * it again, from here or later; it waits until the subtask runs. An `event` for a subtask that
     * cannot be reached any more is best answered by TIDE_EAGAIN, and never confirmed: this, or
     * rewind, follows. */
    void (*reset)(struct tide_coordinator *c, uint32_t subtask, uint64_t snapshot, void *user);
};

/* Adds the coordinator of an operator to this worker, before the first process(). */
TIDE_API int tide_worker_add_coordinator_sized(struct tide_worker *w, const char *uid,
                                               const struct tide_coordinator_callbacks *callbacks,
                                               size_t size, void *user,
                                               struct tide_coordinator **ret);
static inline int tide_worker_add_coordinator(struct tide_worker *w, const char *uid,
                                              const struct tide_coordinator_callbacks *callbacks,
                                              void *user, struct tide_coordinator **ret)
{
    return tide_worker_add_coordinator_sized(w, uid, callbacks, sizeof *callbacks, user, ret);
}
TIDE_API struct tide_worker *tide_coordinator_worker(const struct tide_coordinator *c);
TIDE_API int tide_coordinator_restored(struct tide_coordinator *c, int rc, const char *reason);
/* Sends an event, of at most 1 MiB, which is copied: `event` follows, on the thread that calls
 * process, as soon as the rounds under way let it through. Any thread. TIDE_ESTATE: not between run
 * and rewind. TIDE_EBUSY: more than 64 MiB wait; when a round is over there is room again. */
TIDE_API int tide_coordinator_event(struct tide_coordinator *c, uint32_t subtask, const void *data,
                                    size_t n);
/* What follows an `event` that answered TIDE_EAGAIN; rc not 0: it is lost. Any thread. */
TIDE_API int tide_coordinator_confirm(struct tide_coordinator *c, uint64_t event, int rc);
/* The state as of now, at most 1 MiB: every event that was sent before this call is before the
 * snapshot, every later one behind it. Any thread, if that decides which is which. TIDE_ESTALE: the
 * round is over. TIDE_ETOOBIG. */
TIDE_API int tide_coordinator_snapshot(struct tide_coordinator *c, uint64_t round, const void *data,
                                       size_t n);
/* It cannot: the round aborts; with round 0 it cannot go on at all: the attempt ends, everybody is
 * restored. Any thread. */
TIDE_API int tide_coordinator_failed(struct tide_coordinator *c, uint64_t round,
                                     const char *reason);

/* A hook does something outside at each round, before any barrier goes out: takes a snapshot of
 * another system, or makes one begin, say. */
struct tide_hook_callbacks {
    /* A round begins. 0: done; the answer has the bytes that tide_hook_data() last got in this
     * callback, or none. TIDE_EAGAIN: tide_hook_done() follows. Other: the round aborts. */
    int (*trigger)(struct tide_hook *h, uint64_t round, void *user);
    /* The snapshot that is restored has bytes of this hook. TIDE_EAGAIN: tide_hook_done() follows,
     * with round 0, for each such call, in their order: another restore or reset may come before
     * that. NULL: as 0. */
    int (*restore)(struct tide_hook *h, uint64_t snapshot, const void *data, size_t n, void *user);
    /* There is no snapshot, or it has nothing of this hook. NULL: as 0. In a regional job restore
     * or reset come also when part of the tasks is restored, elsewhere perhaps. */
    int (*reset)(struct tide_hook *h, void *user);
    /* The job has ended, or the worker is freed; called once. NULL: as if done. */
    void (*close)(struct tide_hook *h, void *user);
};
TIDE_API int tide_worker_add_hook_sized(struct tide_worker *w, const char *name,
                                        const struct tide_hook_callbacks *callbacks, size_t size,
                                        void *user, struct tide_hook **ret);
static inline int tide_worker_add_hook(struct tide_worker *w, const char *name,
                                       const struct tide_hook_callbacks *callbacks, void *user,
                                       struct tide_hook **ret)
{
    return tide_worker_add_hook_sized(w, name, callbacks, sizeof *callbacks, user, ret);
}
TIDE_API struct tide_worker *tide_hook_worker(const struct tide_hook *h);
/* Bytes for the round, at most 1 MiB, copied; from the trigger callback. */
TIDE_API int tide_hook_data(struct tide_hook *h, const void *data, size_t n);
/* What follows a callback that answered TIDE_EAGAIN: bytes, or, with rc, why not. Any thread.
 * TIDE_ESTALE: the round is over. */
TIDE_API int tide_hook_done(struct tide_hook *h, uint64_t round, int rc, const void *data, size_t n,
                            const char *reason);

/* Reading restored state: the bytes are digested on the way; TIDE_ECORRUPT at the end when they
 * differ. */
struct tide_state_reader;
TIDE_API int tide_state_open(const struct tide_restore *r, const struct tide_state *s,
                             struct tide_state_reader **ret);
/* At most n bytes; *ret_n 0 at the end. A wrong digest shows with the last byte: TIDE_ECORRUPT
 * instead of it, and *ret_n 0. Believe nothing before the end was reached. */
TIDE_API int tide_state_read(struct tide_state_reader *r, void *buf, size_t n, size_t *ret_n);
/* Of records that were in flight: the next one, a view until the next call; *ret_data NULL at the
 * end. Not to be mixed with tide_state_read(). */
TIDE_API int tide_state_next(struct tide_state_reader *r, const void **ret_data, size_t *ret_n);
/* The file that it reads, for programs that then want it as a file; NULL: it is none. Read it to
 * the end first. */
TIDE_API const char *tide_state_path(const struct tide_state_reader *r);
TIDE_API void tide_state_close(struct tide_state_reader *r);

/* Writing a snapshot, in the snapshot callback or, after TIDE_EAGAIN, on any one thread at a time
 * until tide_snapshot_done(). Failures stick: checking once, at done, is enough. */
TIDE_API uint64_t tide_snapshot_round(const struct tide_snapshot *s);
TIDE_API bool tide_snapshot_is_savepoint(const struct tide_snapshot *s);
/* It must stand for itself: nothing in it may lean on bytes that an earlier snapshot has written.
 * So it is with savepoints, with checkpoints that an admin asks for as full ones, and with those
 * after a restore from elsewhere, until one has completed. */
TIDE_API bool tide_snapshot_is_full(const struct tide_snapshot *s);
/* It may be in whatever format is quickest for the program, such as the files of its database: so
 * it is with checkpoints, and with savepoints that an admin asks for as native ones. Otherwise it
 * is to be in one that outlives the program and others can read. Since 0.2.0. */
TIDE_API bool tide_snapshot_is_native(const struct tide_snapshot *s);
/* Begins a further artifact; without it everything goes into one. */
TIDE_API int tide_snapshot_artifact(struct tide_snapshot *s, const char *name,
                                    uint32_t key_group_first, uint32_t key_group_count);
TIDE_API int tide_snapshot_write(struct tide_snapshot *s, const void *data, size_t n);
/* Instead of writing: the artifact becomes an empty file of this path, which the program (or a
 * library of its, such as a database) fills by itself until the next artifact or done. It is then
 * read once, for its size and digest, and synced. Nothing else may be left beside it. */
TIDE_API int tide_snapshot_file(struct tide_snapshot *s, char *ret_path, size_t size);
/* Shared artifacts: files that later checkpoints of the job refer to instead of writing them again,
 * which makes a checkpoint incremental; since 0.2.0. A task that keeps files that never change,
 * such as those of an LSM tree, does for each of them
 *
 *     tide_snapshot_artifact(s, name, first, count);
 *     rc = known ? tide_snapshot_refer(s, file->key) : TIDE_ENOTFOUND;
 *     if (rc == TIDE_ENOTFOUND) {
 *         tide_snapshot_share(s, file->key);
 *         then tide_snapshot_write(), or tide_snapshot_file(), as ever
 *     }
 *
 * and so does right by every round: in one that must be full, and in savepoints, no key is known.
 * The daemon keeps the file until no snapshot uses it any more, whoever wrote it and when.
 *
 * tide_snapshot_share: right behind tide_snapshot_artifact(), before anything is written. The
 * artifact becomes a file, whatever its size, and ret_key the key by which later checkpoints may
 * refer to it: a string of the library's, the same for ever, unique in the job. "": it belongs to
 * this snapshot alone, as in a savepoint, and is written as others are. Keys come back with the
 * state on restore. */
TIDE_API int tide_snapshot_share(struct tide_snapshot *s, char ret_key[TIDE_KEY_SIZE]);
/* Instead of writing: the artifact is the file with that key, of which this task has said in a
 * checkpoint that is complete, or which was part of what it has restored. Name and key groups are
 * those given now. TIDE_ENOTFOUND: it may not be referred to (the round that brought it is not
 * complete or came to nothing, the newest complete checkpoint of the task makes no use of it, or
 * this round must be full); nothing has failed: write it, or share it anew, as this same artifact.
 * What was referred to in a checkpoint needs no file of the program's any more. */
TIDE_API int tide_snapshot_refer(struct tide_snapshot *s, const char *key);
/* How many bytes of that file there are by now, for the daemon, which shows it; since 0.2.0.
 * TIDE_ESTALE: the round is over, and nobody will want what is written: stop, and call
 * tide_snapshot_done(). tide_snapshot_write() answers it, too, every few MiB. */
TIDE_API int tide_snapshot_progress(struct tide_snapshot *s, uint64_t bytes);
/* Opaque bytes, at most 64 KiB, that come back in `complete` after a restore: what to publish. */
TIDE_API int tide_snapshot_handle(struct tide_snapshot *s, const void *data, size_t n);
/* Ends it: 0 syncs and acks, anything else declines (reason may be NULL; retry_after_ms 0: no
 * wish). Takes s, whatever it answers: 0; what failed in writing (the round was declined);
 * TIDE_ESTALE when the round is over; TIDE_EFENCED when the lease is: then the ack is kept, and
 * made when the lease is back. Waits for the disk, not for the daemon. Any thread. */
TIDE_API int tide_snapshot_done(struct tide_snapshot *s, int rc, const char *reason,
                                uint32_t retry_after_ms);

/* ---- key groups (rules as Flink 2.0's, on XXH3-64; libtidemark-state has a key group function of
 * its own) */
TIDE_API uint32_t tide_key_group(const void *key, size_t len, uint32_t max_parallelism);
TIDE_API uint32_t tide_key_group_owner(uint32_t key_group, uint32_t parallelism,
                                       uint32_t max_parallelism);
TIDE_API void tide_key_group_range(uint32_t subtask, uint32_t parallelism, uint32_t max_parallelism,
                                   uint32_t *ret_first, uint32_t *ret_count);
TIDE_API uint32_t tide_max_parallelism_default(uint32_t parallelism);
/* Of the task's operator: what the spec says or, where it says 0, what the snapshot had that the
 * job began from, otherwise the default. It may have changed whenever restore is called. */
TIDE_API uint32_t tide_task_max_parallelism(const struct tide_task *t);

#ifdef __cplusplus
}
#endif
#endif
