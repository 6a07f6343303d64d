/* What the core consists of: its plumbing (memory, bitmaps, timers, questions to the host) and the
 * objects that its files share. What the files do with them stands in internal.h.
 *
 * Ownership: a core owns its jobs and sessions, a job its workers, its rounds, its operations and
 * its trash. Once it is durable a job lives as long as the core, so a pending
 * answer may point to it. */
#ifndef CORE_OBJECTS_H
#define CORE_OBJECTS_H

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/core.h"
#include "daemon/core/match.h"
#include "proto/abort.h"
#include "proto/ack.h"
#include "proto/frame.h"
#include "proto/graph.h"
#include "proto/plant.h"
#include "proto/worker.pb-c.h"
#include "storage/manifest.h"

#define MS UINT64_C(1000)
#define NEVER UINT64_MAX
#define ID_BLOCK UINT64_C(1000)           /* ids reserved at once */
#define CHUNK_MAX ((size_t)128 << 10)     /* of a manifest's acks in the store */
#define ROUND_BYTES_MAX ((size_t)1 << 30) /* acks of one round in memory */
_Static_assert(ROUND_BYTES_MAX + TIDE_FRAME_MAX + TIDE_MANIFEST_HEAD_MAX < TIDE_MANIFEST_MAX,
               "what a round writes can be read");
#define OPERATIONS_QUEUED_MAX 64u
#define SAVEPOINTS_AT_ONCE 4u     /* of a job, under way or with their directory being made */
#define OPERATIONS_REMEMBERED 64u /* that have ended, of a job; the store has all */
#define KEYS_REMEMBERED 1000u     /* with a key, for retries; as many are loaded at the start */
#define REQUEST_MAX ((size_t)16 << 10) /* of an admin, that is kept with its operation */
#define HOLDERS_MAX 100u               /* named in an abort */
#define PROGRESS_MAX 65536u
#define POSITION_MAX (UINT64_C(1) << 62) /* that a task may report */

/* Stops the process when a fact about our own code is wrong; never compiled out. */
#define core_assert(fact)                                                                          \
    do {                                                                                           \
        if (!(fact)) core_assert_failed(#fact, __FILE__, __LINE__);                                \
    } while (0)
_Noreturn void core_assert_failed(const char *fact, const char *file, int line);

/* ---- util.c: memory, bytes, bitmaps, a map, random numbers */

void *core_alloc(size_t size);                                    /* zeroed, never NULL */
void *core_grow(void *array, size_t n, size_t *cap, size_t item); /* room for n + 1 items */
char *core_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
struct tide_bytes core_copy(struct tide_bytes from); /* malloc'ed data */
char *core_text(struct tide_bytes from);             /* malloc'ed C string */
/* The longest beginning of at most max bytes that does not end within a character. */
struct tide_bytes core_text_cut(struct tide_bytes text, size_t max);
#define VIEW(text) tide_bytes_of(text)
#define PB(bytes)                                                                                  \
    ((ProtobufCBinaryData){.len = (bytes).len, .data = (uint8_t *)(uintptr_t)(bytes).data})
#define UNPB(binary) ((struct tide_bytes){.data = (binary).data, .len = (binary).len})

struct bits {
    uint64_t *words;
    uint32_t size, set; /* set: how many are 1 */
};
void bits_init(struct bits *b, uint32_t size);
void bits_release(struct bits *b);
void bits_clear(struct bits *b);
static inline bool bits_get(const struct bits *b, uint32_t i)
{
    return b->words[i >> 6] >> (i & 63) & 1;
}
bool bits_put(struct bits *b, uint32_t i);  /* false: was set already */
void bits_drop(struct bits *b, uint32_t i); /* it is set */
/* Of a run of n, at least 1: whether one is set, or all are; to set all, none of which is. */
bool bits_any(const struct bits *b, uint32_t first, uint32_t n);
bool bits_all(const struct bits *b, uint32_t first, uint32_t n);
void bits_put_run(struct bits *b, uint32_t first, uint32_t n);
void bits_or(struct bits *b, const struct bits *other);
void bits_minus(struct bits *b, const struct bits *other);
/* The next run of ones at or after *at; moves *at behind it. */
bool bits_run(const struct bits *b, uint32_t *at, uint32_t *ret_first, uint32_t *ret_count);
/* Its runs as TaskRange messages in the arena. */
size_t bits_ranges(const struct bits *b, struct tide_arena *arena, Tide__TaskRange ***ret);

struct map_slot {
    uint64_t key;
    void *value;
};
struct map {
    struct map_slot *slots;
    size_t n, cap;
}; /* keys at least 1, values not NULL */
void *map_get(const struct map *m, uint64_t key);
void map_put(struct map *m, uint64_t key, void *value);
void *map_remove(struct map *m, uint64_t key);

/* ---- timer.c: a heap of timers */

struct core;
struct timer {
    uint64_t at;
    uint32_t place; /* in the heap, from 1; 0: not armed */
    void (*fire)(struct core *c, void *arg);
    void *arg;
};
struct timers {
    struct timer **heap;
    size_t n, cap;
};
void timer_set(struct core *c, struct timer *t, uint64_t at);
void timer_clear(struct core *c, struct timer *t);
void timers_run(struct core *c); /* all that are due, in order of time */
/* None is armed any more, nor will be: what they stand in is freed piece by piece. */
void timers_end(struct core *c);

/* ---- pending.c: questions to the host and what to do with the answers */

enum asked {
    ASKED_RESERVE = 1,
    ASKED_JOB,
    ASKED_ATTEMPT,
    ASKED_ATTEMPT_DIR,
    ASKED_MANIFEST,
    ASKED_RUNNING,
    ASKED_OPERATION,
    ASKED_SAVED,
    ASKED_ROUND_BEGIN,
    ASKED_SAVEPOINT_DIR,
    ASKED_METADATA,
    ASKED_ROUND_COMMIT,
    ASKED_PUBLISH,
    ASKED_ABORTED,
    ASKED_DELETE,
    ASKED_DELETE_ATTEMPT,
    ASKED_SHARED,
    ASKED_DELETE_SHARED,
    ASKED_ENDED,
    ASKED_DISPOSED,
    ASKED_EXPORT_DIRECTORY,
    ASKED_EXPORT_BEGUN,
    ASKED_EXPORT_MANIFEST,
    ASKED_EXPORT,
    ASKED_EXPORT_PUBLISHED,
    ASKED_EXPORT_DROPPED,
    ASKED_RESTORE_PUBLISH,
    ASKED_RESTORE_BYTES,
    ASKED_RESTORE_LOOK,
    ASKED_HELD,
    ASKED_RELEASED,
    ASKED_CHOICE_PUBLISH,
    ASKED_CHOICE_BYTES,
    ASKED_CHOICE,
    ASKED_DIRECTORY,
    ASKED_JOB_FROM,
    ASKED_CHOSEN,
    ASKED_FLUSH,
    ASKED_TRIGGER_SENT,
    ASKED_COMPLETE_SENT
};
struct job;
struct pending {
    enum asked what;
    bool commit; /* awaited from the store */
    uint64_t tag, since;
    struct job *job;
    uint64_t number;             /* the round, attempt or operation it is about */
    struct pending *next, *prev; /* commits: oldest first */
};
uint64_t ask(struct core *c, enum asked what, struct job *job, uint64_t number);
void ask_commit(struct core *c, struct tide_commit *commit, enum asked what, struct job *job,
                uint64_t number);
void ride_commit(struct core *c, struct tide_commit *commit); /* unawaited */
void ask_file(struct core *c, enum file_op op, const char *path, enum asked what, struct job *job,
              uint64_t number);
void answered(struct core *c,
              const struct event *ev); /* EV_STORED, EV_FILE, EV_MANIFEST, EV_SENT */

/* ---- the objects */

enum standing {
    STANDS_PARKED = 1, /* waits for the tasks of a holder that is away */
    STANDS_READY,      /* hosts its tasks, holds no attempt */
    STANDS_HOLDING,    /* holds an attempt: has got its Start, or may have */
    STANDS_REWINDING /* was told to drop its attempt, or should be: holds it until it says so or its
                        lease is over */
};

struct worker {
    struct job *job;
    struct worker *next, *prev; /* in job->workers */
    enum standing standing;
    uint64_t session;        /* 0: away */
    uint8_t version;         /* of the protocol, as it spoke last */
    uint64_t newest_session; /* that it ever joined on; they rise */
    struct tide_bytes name, endpoint, boot_id;
    uint32_t pid;
    uint64_t start_time;
    uint32_t *ranges; /* pairs (first, count), ascending, disjoint */
    uint32_t n_ranges, tasks;
    uint64_t attempt;        /* held, as it was last told; 0: none */
    uint64_t since;          /* the attempt in which it was started: the least that it may name */
    uint64_t shown;          /* the highest that it has shown to hold */
    uint64_t ran;            /* the attempt in which it was last told to run; 0: it was not */
    bool going;              /* for region.c: it is to be rewound */
    struct tide_bytes hooks; /* of a survivor: what its next Advance restores its hooks from */
    Tide__WorkerPhase phase; /* of that attempt */
    bool started;            /* its Start was sent by this daemon, or before it */
    bool back;               /* adoption: it has joined again */
    bool told_joined;
    uint64_t lease_until;
    bool lease_prolonged; /* since it was last heard */
    uint64_t told_complete;
    uint64_t *open_rounds; /* to be resolved when it resumes */
    uint32_t n_open;
    uint32_t *externals; /* numbers of the external parts that live in it, ascending */
    uint32_t n_externals;
};

/* An external part of a job; what it is stands in the graph. */
struct external {
    struct worker *host; /* who hosts or holds it; NULL: nobody */
    bool restored;       /* in the job's attempt */
};

struct snapshot {
    uint64_t round, incarnation, attempt, parent, completed_wall, bytes;
    uint64_t shared; /* of its artifacts: those that are */
    enum tide_kind kind;
    enum tide_snapshot_state state;
    bool commits;  /* its completion published effects: the newest such is the recovery point */
    bool imported; /* no round of the job's has its number, and its bytes are its user's */
    bool subsuming, disposing; /* a commit that makes it deleting is with the store */
    char *directory;
    struct tide_bytes ended; /* as in the record */
    struct snapshot *next;   /* ascending by round */
};

struct owed {
    uint64_t round;
    uint32_t task;
    struct tide_bytes handle;
    struct owed *next; /* ascending by round */
};

struct operation {
    uint64_t id, snapshot, begun_wall, ended_wall, progress;
    enum tide_operation_kind kind;
    enum tide_operation_state state;
    struct tide_bytes key, target, location, error, label;
    struct tide_bytes request; /* orders: the packed Request */
    struct tide_bytes report;  /* lines, each ended by \n */
    bool snapshot_good;        /* of a stop: its snapshot is complete */
    bool durable;
    bool unsaved;        /* has failed, and that is not durable: nobody is told yet */
    uint64_t expires_us; /* queued: fails if its round has not begun by then */
    char *directory;     /* of a savepoint whose round has not begun: made, or being made */
    bool preparing;
    enum tide_kind takes; /* the kind of its round; 0: none */
    enum tide_stop stop;  /* what follows that round */
    bool commits;         /* it publishes effects */
    bool full;            /* it refers to no artifact of an earlier snapshot */
    bool native;          /* a savepoint in the tasks' own formats */
    bool aligns;          /* a savepoint that has an alignment of its own */
    enum tide_alignment alignment;
    bool supersede;         /* a stop: rounds under way are aborted */
    char *failing;          /* an export: why, while what it has written is deleted */
    bool copying;           /* an export: its files are being copied */
    uint64_t place[3];      /* ... how far, as FILE_EXPORT has it */
    uint64_t copied;        /* ... bytes */
    struct operation *next; /* oldest first */
};

/* A savepoint that is deleted: whoever was away when its round completed is still to be told. */
struct gone {
    uint64_t round;
    bool commits;
    struct gone *next;
};

struct waiter {
    struct core *core;
    uint64_t session, request, operation, seen_progress;
    struct timer timer;
    struct waiter *next;
};

enum round_state {
    ROUND_OPENING = 1, /* a savepoint's intent is being stored */
    ROUND_ASKING,      /* external parts are asked; tasks do not know of it */
    ROUND_COLLECTING,
    ROUND_FINALIZING, /* a savepoint's _metadata is being written */
    ROUND_READY,      /* the commit of another round of the job is with the store */
    ROUND_COMMITTING
};

struct progress {
    uint32_t task;
    Tide__TaskPhase phase;
    uint32_t missing, first_missing;
    uint64_t bytes, position;
};

struct plan { /* of a round: see plan.c */
    const struct tide_graph *graph;
    struct bits ended;    /* not expected to ack: their end is their ack */
    struct bits ending;   /* held their end when it began */
    struct bits released; /* of those: another round has ended them since, behind their acks */
    struct bits finished; /* of operators with union list state: held their end when they acked */
    uint32_t expected;    /* acks */
    bool final;           /* every task has ended or holds its end */
};

struct meeting { /* of a rendezvous round */
    struct bits reported, standing;
    uint32_t planted_count; /* see proto/plant.h */
    uint64_t highest, cut;  /* highest: of those reported */
    bool cut_fixed, snapshot_now;
    uint64_t stood_since, stood_us; /* the first task; until the last stood, too */
};

struct part { /* an external one, of a round */
    bool asked, answered;
    struct tide_bytes data; /* malloc'ed; NULL: none */
};

struct asking { /* of a round of a job with external parts */
    uint32_t answered;
    size_t bytes;
    struct bits released; /* tasks of which their coordinator was told that they have acked */
    struct part parts[];
};

struct round {
    struct job *job;
    struct round *next; /* ascending by number */
    struct timer timer; /* its deadline */
    uint64_t number, attempt;
    enum tide_kind kind;
    enum round_state state;
    enum tide_stop stop;         /* the job stops once it is complete */
    bool commits;                /* its completion publishes effects */
    bool full;                   /* it refers to no artifact of an earlier snapshot */
    bool native;                 /* a savepoint in the tasks' own formats */
    struct operation *operation; /* NULL: periodic */
    char *directory;
    uint64_t begun_us, begun_wall, deadline_us;
    uint64_t progress_us, cap_us; /* the deadline moves along with progress, up to the cap */
    enum tide_alignment alignment;
    uint32_t aligned_timeout_ms;
    bool turned;                                /* tasks were told to turn unaligned */
    bool spared;                                /* the task that declined it has not failed */
    uint64_t triggered_us, acked_us, stored_us; /* 0: not yet */
    struct plan plan;
    struct bits acked;
    struct meeting *meeting;   /* NULL: a round of a flow */
    struct asking *asking;     /* external.c; NULL: the job has no external parts */
    struct tide_buf chunk;     /* being filled */
    struct tide_bytes *chunks; /* full ones, each malloc'ed */
    uint32_t n_chunks;
    size_t chunks_cap, bytes_held;
    uint64_t bytes, artifacts;
    uint64_t shared_bytes; /* of what was written for earlier ones */
    uint64_t shared;       /* of its artifacts: those that are; in which: see share.c */
    struct share **shares; /* what its acks name, once per task */
    size_t n_shares, shares_cap;
    char *share_wrong; /* one names what it may not */
    uint32_t share_wrong_task;
    uint64_t parent; /* of its snapshot, once it is asked for */
    bool has_parent;
    uint64_t processed, persisted; /* bytes of records, while barriers were awaited */
    bool unaligned;                /* some task did not wait for all of them */
    uint64_t turned_us;            /* since its begin: it turned unaligned; 0: it did not */
    uint32_t align_us;             /* the longest of its tasks */
    struct owed *handles, **handles_end;
    const struct owed *strikes; /* the first of job->strikes that its commit repeats */
    uint32_t planted_count;     /* see proto/plant.h: what a wrong coordinator would go by */
    struct progress *progress;  /* ascending by task */
    size_t n_progress, progress_cap;
};

/* Something whose bytes are to go: a snapshot that is deleting, or what an aborted round left. */
struct trash {
    uint64_t round, attempt;
    bool snapshot;
    bool shares; /* a snapshot: files that later ones may use lie in its directory */
    struct tide_record_round facts; /* of an aborted round; its directory and reason are owned */
    struct tide_holder *holders;    /* of facts, with what they name; until it is recorded */
    bool recorded;                  /* that it has aborted is durable */
    bool recording;                 /* a commit that says so is with the store */
    uint64_t later;    /* of an aborted round: those from here on began after its end */
    struct bits acked; /* tasks whose figures it has; empty: of before the daemon's start */
    char *directory;
    uint64_t not_before;
    uint32_t tries;
    bool leave; /* its directory is another's: it was there before, or it was imported */
    bool busy;
    struct trash *next;
};

/* What an admin has ordered a job to go on from: that is its recovery point until a round with
 * effects completes that is newer than the order. */
struct base {
    uint64_t since;    /* only rounds above it are newer; 0: none was ordered */
    uint64_t snapshot; /* 0: nothing */
    bool unmatched;
    struct tide_bytes adopted; /* as in the record */
};

enum start_step { START_NOT = 0, START_LOADING, START_STORING };

/* How an attempt ended. The record rode on some flush, or was lost with it. */
struct attempt_end {
    uint64_t attempt, wall; /* wall 0: when it is recorded */
    char *reason;
    struct attempt_end *next;
};

/* How often a region was started since the daemon's start, and in which attempt last. */
struct region_starts {
    uint64_t attempt;
    uint32_t n;
};

struct job {
    struct core *core;
    struct job *next;
    tide_id id;
    char *name;
    struct tide_graph *graph;
    enum tide_job_state state;
    char *cause;      /* HELD, FAILED */
    char *doubt;      /* why it is to be HELD once the store has it, or NULL */
    bool held_stored; /* that it is HELD is durable */
    bool durable;
    uint64_t created_wall, ended_snapshot;
    enum tide_job_state end_asked; /* its end is with the store; 0: not */
    uint64_t ended_wall;           /* when that was asked */

    struct worker *workers;
    struct worker **host; /* per task: who hosts or holds it */
    uint32_t n_workers, n_holders, ready_tasks;
    struct region_starts *starts; /* of a regional job, as many as it has regions */
    struct external *externals;   /* as many as the graph has */

    /* the attempt */
    uint64_t attempt; /* highest ever */
    bool attempt_open, adopting, deliver_only;
    bool gap; /* part of its workers have been rewound, and the next attempt is not told yet */
    bool grace_again; /* the grace time was prolonged */
    uint64_t attempt_incarnation, attempt_nonce, external, restored_from;
    char *directory; /* of the attempt */
    enum start_step starting;
    struct attempt_end
        *ends; /* newest first: repeated in the next attempt's commit until that is stored */
    bool attempt_refused, attempt_stored, attempt_dir_made, run_asked;
    uint8_t *image; /* manifest to restore from, from its load to Start */
    size_t image_len;
    struct bits restored;
    uint32_t failed_attempts; /* in a row, without a completed round */
    char *last_failure;       /* why the last of them ended, or could not begin; or NULL */
    uint64_t not_before;      /* back-off of the next attempt */

    /* tasks that reached the end of their input */
    struct bits ending, ended;

    /* rounds */
    struct round *rounds;  /* under way, ascending by number */
    uint64_t next_trigger; /* when the period wants the next; NEVER: not at all */
    uint64_t last_complete_us, last_failed_us, hold_until;
    uint64_t stood_us;        /* for how long tasks stood in the last one that is complete */
    uint32_t planted_orphans; /* see proto/plant.h */
    struct bits backlog;      /* sources that have more input than they can process */
    uint64_t last_complete;   /* highest round of the job that is complete, of either kind */
    uint64_t subsumed;        /* highest checkpoint that is out of use */
    uint64_t publishing; /* the last savepoint of a job that stops: its _metadata is on its way */
    bool drain_lost;     /* a round that drained was under way when the daemon died */
    uint64_t known_upto; /* highest round of which the store had a row at the start */
    uint64_t times_round, times_commit_us; /* until notify_us is known too */
    uint64_t unsent_complete;              /* this round's completion and all behind it wait: see
                                              notify.c */
    struct snapshot *snapshots;
    struct owed *owed;
    struct owed
        *strikes; /* confirmed; repeated in the next round's commit, since a ride may be lost */
    struct operation *operations;
    struct operation *order; /* one of them that is being carried out: see order.c */
    bool abandons;           /* ... and gives up what is owed */
    struct choice *choice;   /* ... and decides what is restored: see choice.c */
    bool order_flies;        /* that it is not HELD, by that order, is with the store */
    struct base base;
    struct import *birth; /* what it begins from, until it is durable: see import.c */
    uint64_t let_go_us;   /* by then whoever held an attempt when the job ended has no lease */
    struct trash *trash;
    struct shares *shares;   /* see share.c; NULL: it has no shared artifact */
    struct bits doubtful;    /* tasks that have named one which they may not; of size 0: none has */
    uint64_t doubtful_since; /* rounds from here on ask them for everything */
    struct tide_record_round
        *begun; /* rounds without an end, from the store, until the start event */
    uint32_t n_begun;
    bool deleting;     /* one deletion is with the lanes */
    struct gone *gone; /* of the present attempt */

    struct timer end_timer, start_timer, grace_timer, restore_timer, trigger_timer, lease_timer,
        clean_timer, release_timer, save_timer;
    Tide__Gauges gauges; /* path is owned by a snapshot or static */
};

struct session {
    uint64_t id;
    struct worker *worker;
    struct joining *joining; /* while a Join is coming in; otherwise NULL */
    uint8_t kind, version;   /* as struct peer */
    bool joined;             /* a Join was accepted or parked on it */
};

struct core {
    struct core_config config;
    tide_id store_id;
    uint64_t incarnation, nonce;
    struct tide_catalog_incarnation *incarnations;
    uint32_t n_incarnations;
    uint64_t rng;
    uint64_t now, wall, deadline_told;
    bool standstill_said; /* the loop has not caught up yet */
    struct actions *todo; /* during a step */
    uint64_t first_id;    /* of this daemon's life: rounds from here on it knows itself */
    uint64_t next_id, reserved;
    bool reserving;
    uint64_t external, lease_us;
    struct map sessions;
    size_t joins_held; /* bytes of Joins of which parts are missing */
    uint32_t n_workers;
    struct job *jobs, **jobs_end;
    uint32_t n_jobs;
    struct timers timers;
    bool ending; /* core_free() is at it */
    struct map pending;
    uint64_t next_tag;
    struct pending *commits, *commits_last; /* awaited, oldest first */
    struct timer store_timer, reserve_timer, watch_timer;
    struct waiter *waiters;
    struct tide_arena arena; /* for what the event at hand unpacks to */
    struct tide_arena out;   /* for what is being made for it: our own, not a peer's size */
    bool started, shutting_down, flushing, stopped;
    uint64_t rounds_complete, rounds_aborted, delete_failures;
};

#endif
