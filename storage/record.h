/* Records: what a commit consists of. Each is self-contained (nothing needs to be read to apply
 * it), and one function in storage/ applies them all. The core makes them, the store thread
 * carries them out; nothing here does I/O. */
#ifndef TIDE_RECORD_H
#define TIDE_RECORD_H

#include "proto/arena.h"
#include "proto/bytes.h"

typedef struct {
    uint8_t b[16];
} tide_id; /* of a store or a job */

enum tide_job_state {
    TIDE_JOB_WAITING = 1,
    TIDE_JOB_RESTORING,
    TIDE_JOB_RUNNING,
    TIDE_JOB_STOPPING,
    TIDE_JOB_HELD,
    TIDE_JOB_SUSPENDED,
    TIDE_JOB_FINISHED,
    TIDE_JOB_CANCELLED,
    TIDE_JOB_FAILED
};
enum tide_kind { TIDE_CHECKPOINT = 1, TIDE_SAVEPOINT = 2 }; /* as Tide__RoundKind */
enum tide_snapshot_state { TIDE_RETAINED = 1, TIDE_DELETING, TIDE_DELETED };
enum tide_operation_kind {
    TIDE_OP_CHECKPOINT = 1, /* these two as enum tide_kind */
    TIDE_OP_SAVEPOINT,
    TIDE_OP_STOP,
    TIDE_OP_CANCEL,
    TIDE_OP_RESTORE,
    TIDE_OP_DISPOSE,
    TIDE_OP_HOLD,
    TIDE_OP_RELEASE,
    TIDE_OP_IMPORT,
    TIDE_OP_EXPORT
};
enum tide_operation_state { TIDE_OP_QUEUED = 1, TIDE_OP_RUNNING, TIDE_OP_DONE, TIDE_OP_FAILED };
/* How a round was taken; numbered as RoundStyle, Alignment, StopMode of common.proto. */
enum tide_style { TIDE_FLOW, TIDE_RENDEZVOUS };
enum tide_alignment { TIDE_ALIGNED, TIDE_AT_LEAST_ONCE, TIDE_UNALIGNED, TIDE_ALIGNED_TIMEOUT };
enum tide_stop { TIDE_STOP_NOT, TIDE_STOP_SUSPEND, TIDE_STOP_DRAIN };

/* Upper-case names as people see them; "?" for a number outside. */
const char *tide_job_state_name(enum tide_job_state s);
const char *tide_kind_name(enum tide_kind k);                     /* checkpoint, savepoint */
const char *tide_snapshot_state_name(enum tide_snapshot_state s); /* retained, deleting, deleted */
const char *
tide_operation_state_name(enum tide_operation_state s); /* queued, running, done, failed */
const char *tide_operation_kind_name(enum tide_operation_kind k); /* checkpoint, ..., import */
const char *tide_style_name(enum tide_style s);                   /* flow, rendezvous */
const char *tide_alignment_name(enum tide_alignment a); /* aligned, ..., aligned with timeout */
const char *tide_stop_name(enum tide_stop s);           /* no, suspend, drain */
static inline bool tide_job_ended(enum tide_job_state s)
{
    return s >= TIDE_JOB_SUSPENDED;
}

enum tide_record_type {
    TIDE_REC_RESERVE = 1, /* ids up to and including `upto` may be issued */
    TIDE_REC_LEASE,       /* a lease of this length may be granted */
    TIDE_REC_JOB,         /* a new job with its graph */
    TIDE_REC_JOB_STATE,
    TIDE_REC_ATTEMPT,     /* a new attempt, before its first Start */
    TIDE_REC_ATTEMPT_RUN, /* all tasks have restored */
    TIDE_REC_ATTEMPT_END,
    TIDE_REC_ROUND_BEGIN,
    TIDE_REC_ROUND_END,      /* complete or aborted; also writes what ROUND_BEGIN would have */
    TIDE_REC_ROUND_TIMES,    /* commit and notify time, known only afterwards */
    TIDE_REC_ROUND_SWEPT,    /* what an aborted round had left behind is gone */
    TIDE_REC_SNAPSHOT,       /* with its manifest; retained */
    TIDE_REC_SNAPSHOT_STATE, /* to deleting, then deleted */
    TIDE_REC_OWED,           /* a commit owed to a task */
    TIDE_REC_STRIKE,         /* confirmed: owed commits of a task up to a round are done */
    TIDE_REC_OPERATION,      /* inserted or replaced as a whole */
    TIDE_REC_AUDIT,
    TIDE_REC_BASE,        /* what an admin has ordered a job to go on from */
    TIDE_REC_SHARED,      /* which shared artifacts a checkpoint uses, as far as that has changed */
    TIDE_REC_SHARED_STATE /* of shared artifacts: to deleting, then deleted */
};

struct tide_shared_file { /* key: as in proto/shared.h */
    struct tide_bytes key;
    uint64_t size, digest_low, digest_high;
};

struct tide_holder { /* a task that had not acked when its round aborted */
    uint32_t task, subtask;
    struct tide_bytes uid, worker, phase;
};

struct tide_member { /* one worker of an attempt; ranges are pairs (first, count) */
    struct tide_bytes worker, endpoint, boot_id;
    uint32_t pid;
    uint64_t start_time;
    const uint32_t *ranges;
    uint32_t n_ranges;
    uint64_t since; /* the attempt in which it was started; 0: this one */
};

/* All views point into the commit's arena (or into its chunks). Times *_wall are us since 1970,
 * *_us durations in us. */
struct tide_record {
    enum tide_record_type type;
    struct tide_record *next;
    tide_id job;
    union {
        struct {
            uint64_t upto;
        } reserve;
        struct {
            uint64_t lease_us;
        } lease;
        struct {
            struct tide_bytes name, spec, fingerprint;
            uint64_t created_wall;
        } job_new;
        struct {
            enum tide_job_state state;
            struct tide_bytes cause;
            uint64_t snapshot;
            uint64_t wall;
        } job_state;
        struct {
            uint64_t attempt, incarnation, external, restored_from, begun_wall;
            struct tide_bytes directory;
            const struct tide_member *members;
            uint32_t n_members;
        } attempt;
        struct {
            uint64_t attempt, wall;
        } attempt_run;
        struct {
            uint64_t attempt, wall;
            struct tide_bytes reason;
        } attempt_end;
        struct tide_record_round {
            uint64_t number, incarnation, attempt, operation; /* operation 0: periodic */
            enum tide_kind kind;
            struct tide_bytes directory;
            uint64_t begun_wall, ended_wall;
            bool complete; /* the rest: ROUND_END only */
            int code;      /* Tide__AbortCode when aborted */
            struct tide_bytes reason;
            uint32_t tasks, acked;
            uint64_t trigger_us, acks_us, bytes;
            const struct tide_holder *holders;
            uint32_t n_holders; /* the first hundred */
            uint32_t holders_total;
            enum tide_style style;
            enum tide_alignment alignment;
            enum tide_stop stop;
            bool unaligned; /* some task did not wait for all barriers */
            bool counted;   /* aborted: as a failure, against the job's tolerance */
            uint64_t processed_bytes, persisted_bytes;
            uint64_t align_us;  /* the longest of its tasks */
            uint64_t turned_us; /* since its begin: it turned unaligned; 0: it did not */
        } round;
        struct {
            uint64_t number, commit_us, notify_us;
        } times;
        struct {
            uint64_t number;
        } swept;
        struct {
            uint64_t round, incarnation, attempt, parent;
            enum tide_kind kind;
            struct tide_bytes directory, label;
            uint64_t begun_wall, completed_wall, bytes, artifacts;
            uint32_t tasks;
            struct tide_bytes ended; /* ranges (first, count) as pairs of u32 LE: tasks ended once
                                        it is restored */
            struct tide_bytes head;  /* the packed ManifestHead */
            const struct tide_bytes *chunks;
            uint32_t n_chunks; /* acks, see manifest.h */
            enum tide_style style;
            bool unaligned;
            bool commits;    /* a savepoint that published effects */
            bool imported;   /* not taken by the job in this store: `round` is an id of its own, and
                                there is no attempt */
            uint64_t shared; /* of its artifacts: those that are */
        } snapshot;
        struct {
            uint64_t round;
            enum tide_snapshot_state state;
            uint64_t wall;
            bool disposed; /* deleting: its user has asked for it */
        } snapshot_state;
        struct {
            uint64_t round;
            struct tide_bytes uid, handle;
            uint32_t subtask;
        } owed;
        struct {
            uint64_t upto;
            struct tide_bytes uid;
            uint32_t subtask;
        } strike;
        struct {
            uint64_t id, snapshot, begun_wall, ended_wall;
            enum tide_operation_kind kind;
            enum tide_operation_state state;
            struct tide_bytes key, target, location, error, label;
            struct tide_bytes
                request;              /* the packed Request, to be taken up again after a restart */
            struct tide_bytes report; /* lines for people */
            bool snapshot_good;       /* of a stop: its snapshot is complete */
        } operation;
        struct {
            struct tide_bytes who, what, detail;
            uint64_t wall;
        } audit;
        struct {
            uint64_t since;    /* only rounds above this id are newer than what is ordered, */
            uint64_t snapshot; /* which is this one; 0: nothing, the job starts afresh */
            bool unmatched;    /* state of operators that the job has not is dropped */
            struct tide_bytes adopted; /* max parallelisms of the snapshot's that hold for the job:
                                          pairs (operator, number) of u32 LE */
        } base;
        struct {
            uint64_t round;  /* the checkpoint: added ones are its own, and used from here on */
            uint64_t before; /* the checkpoint before it: the last that uses those it leaves */
            struct tide_bytes directory; /* absolute: where keys begin */
            const struct tide_shared_file *added;
            const struct tide_bytes *left, *again; /* keys; again: had been left, used once more */
            uint32_t n_added, n_left, n_again;
        } shared;
        struct {
            enum tide_snapshot_state state;
            uint64_t wall;
            const struct tide_bytes *keys;
            uint32_t n_keys;
        } shared_state;
    };
};

/* How a commit ended. A store that says anything but these has a bug. */
enum tide_outcome {
    TIDE_STORED = 1, /* durable */
    TIDE_REFUSED,    /* another incarnation owns the store, or a constraint forbids it: nothing was
                        changed */
    TIDE_NO_SPACE,   /* no room on the disk, or no memory: nothing was changed */
    TIDE_UNKNOWN     /* an I/O error: stop without a word to anyone */
};

/* A commit owns its records, through its arena, and its chunks. Made by tide_commit_new(), ended
 * by tide_commit_free(). A failed allocation sticks in rc. */
struct tide_commit {
    struct tide_arena arena;
    struct tide_record *first, *last;
    struct tide_bytes *chunks; /* malloc'ed array; each data malloc'ed: owned */
    uint32_t n_chunks;
    uint64_t tag; /* the core's, comes back with the outcome */
    bool awaited; /* false: rides on whichever flush comes next, nobody is told */
    int rc;
    struct tide_commit *next; /* for whoever queues commits */
    enum tide_outcome outcome;
    bool fenced;     /* refused since another incarnation owns the store: stop */
    char error[200]; /* outcome other than stored: what went wrong */
};

struct tide_commit *tide_commit_new(bool awaited); /* NULL: no memory */
void tide_commit_free(struct tide_commit *c);
/* A zeroed record, appended; NULL after a failure (sticks in rc). */
struct tide_record *tide_commit_add(struct tide_commit *c, enum tide_record_type type, tide_id job);
/* Copies into the commit's arena; an empty view after a failure (sticks in rc). */
struct tide_bytes tide_commit_bytes(struct tide_commit *c, struct tide_bytes from);
struct tide_bytes tide_commit_printf(struct tide_commit *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
