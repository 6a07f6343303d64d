/* The simulator: the shipped core, sessions and aligners in one process, under a seeded scheduler.
 *
 * Time is a number, every random draw comes from the seed, and everything that is real elsewhere
 * (network, store, files, processes) is played here. One history runs like this:
 *
 *   sched.c  the queue of what happens when, randomness, trace
 *   host.c   the daemon's process: feeds the core, carries its actions out, crashes between any two
 *   store.c  the durable model: applies commits, makes the catalog for a restart
 *   files.c  file lanes and what lies in the directories
 *   net.c    connections: delays, cuts, half-open ones
 *   proc.c   worker processes: a session each, and the supervisor that restarts them
 *   flow.c   the dataflow of counters that the workers run, and the outside world of its sinks
 *   fault.c  what goes wrong, and when
 *   check.c  the promises, checked from the history alone
 *   main.c   options, seeds, statistics
 *
 * All memory of a history but the core's and the sessions' own comes from one pool, which is
 * forgotten as a whole at its end. */
#ifndef SIM_H
#define SIM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "client/session.h"
#include "daemon/core/core.h"
#include "proto/frame.h"
#include "proto/plant.h"
#include "storage/manifest.h"
#include "storage/record.h"
#include "storage/store.h"

#define MS 1000u
#define SECOND 1000000u
#define NEVER UINT64_MAX

#define OPS_MAX 3u
#define PARALLEL_MAX 3u
#define TASKS_MAX (OPS_MAX * PARALLEL_MAX)
#define CHANNELS_MAX 27u
#define SOURCES_MAX 6u
#define RECORDS_MAX 128u /* per source */
#define WORDS (RECORDS_MAX / 64)
#define SLOTS_MAX 4u
#define PENDING_MAX 128u

struct sim;
typedef void sim_fn(struct sim *s, void *arg, uint64_t x);

/* ---- the dataflow */

typedef struct {
    uint64_t word[SOURCES_MAX][WORDS];
} record_set; /* which records of which source */

/* What a task snapshots, as plain bytes. Channels are numbered in the whole graph. */
struct state {
    uint32_t task, offset; /* offset: records that a source has put out */
    uint32_t sent[CHANNELS_MAX], got[CHANNELS_MAX];
    uint32_t ends; /* inputs (by the task's own numbers) on which the data has ended */
    uint32_t finished;
    record_set seen; /* sinks: every record that this state covers */
};

struct flow_channel {
    uint32_t from, to; /* tasks */
    uint32_t input;    /* number among the receiver's inputs */
};

struct flow_task {
    uint32_t op, subtask;
    uint32_t n_in, in[CHANNELS_MAX], n_out, out[CHANNELS_MAX];
    bool source, sink;
    uint32_t source_number;
};

struct flow {
    uint32_t n_ops, parallelism[OPS_MAX];
    char uid[OPS_MAX][8];
    bool edge[OPS_MAX][OPS_MAX], pointwise[OPS_MAX][OPS_MAX];
    uint32_t tasks; /* numbered as the graph does */
    struct flow_task task[TASKS_MAX];
    uint32_t channels;
    struct flow_channel channel[CHANNELS_MAX];
    uint32_t sources, records; /* records: that each source has */
    bool finite;               /* sources tell their end */
};

/* A part: what a sink has pre-committed in the outside world, whole or not at all. */
enum part_state { PART_PENDING, PART_PUBLISHED, PART_DROPPED };
struct part {
    struct part *next;
    uint32_t id, task;
    uint64_t attempt, round;
    enum part_state state;
    record_set records;
};

enum item_kind { ITEM_RECORD, ITEM_END_OF_DATA, ITEM_BARRIER };
struct item {
    struct item *next;
    uint64_t at; /* readable from then on */
    enum item_kind kind;
    uint32_t source, number;
    uint8_t barrier[TIDE_BARRIER_BYTES];
};

struct pipe { /* one channel in one attempt */
    struct item *first, **last;
    uint32_t length;
    uint64_t last_at;
    struct task *reader; /* once it has restored */
    bool broken;
};

struct task { /* one task in one process */
    struct proc *proc;
    uint32_t number;
    bool restored, running, ended;
    uint64_t attempt;
    struct attempt *in; /* its pipes */
    struct state state;
    record_set fresh; /* sinks: not in any part yet */
    struct {
        struct part *part;
        uint64_t round;
    } pending[PENDING_MAX];
    uint32_t n_pending;
    uint32_t blocked; /* inputs, by the task's own numbers */
    bool told_finished;
    uint64_t wedged_until, next_record, turn_at;
    uint64_t blocked_since; /* when the first of its inputs was blocked */
    uint32_t generation;    /* rises with every restore and rewind: late uploads see it */
};

/* ---- processes and connections */

struct conn {
    struct conn *next;
    uint64_t session, life; /* life: of the daemon that accepted it */
    struct proc *proc;      /* NULL: an admin */
    bool open_d, open_w;    /* as each side sees it */
    bool hole_d, hole_w;    /* what is sent to the daemon (to the worker) vanishes */
    bool welcomed, joined,
        running;         /* joined: a Join was sent on it; running: a Run was sent back */
    uint64_t at_d, at_w; /* when the last byte sent so far arrives */
};

struct proc {
    struct proc *next;
    uint32_t slot, pid;
    uint64_t start_time;
    char boot[16];
    bool alive, over;             /* over: told to stop, or refused for good */
    uint64_t thaw_at, dark_until; /* dark: cannot reach the daemon */
    uint64_t cut_at;              /* when it last lost its connection */
    uint64_t busy_until; /* in a callback: a helper thread keeps the connection, deliveries wait */
    uint64_t clock;      /* its clock is that much ahead of ours */
    struct tide_session *session;
    struct conn *conn;
    uint64_t timer_at;
    bool pumping, fenced, away; /* away: in a callback that takes long */
    struct task *task[TASKS_MAX];
    uint64_t last_tick;
    uint32_t idle_ticks, pumps, connects;
    bool hasty;             /* says again, at odd moments, what it has said; the protocol lets it */
    struct tide_bytes word; /* the frame that it may say again */
    bool told_rewind;       /* the daemon has said something that may end its attempt */
};

/* ---- the history, as the checker keeps it */

struct attempt {
    struct attempt *next;
    uint64_t number, external, incarnation;
    struct pipe pipe[CHANNELS_MAX];
    bool row;          /* durable */
    bool rewound;      /* somebody was told so */
    uint32_t restored; /* tasks that have restored */
    uint32_t member_pid[TASKS_MAX];
    uint64_t member_start[TASKS_MAX];
    bool member[TASKS_MAX];
    uint64_t restored_from;
    bool start_sent;
};

struct told_state { /* what a task acked a round with */
    bool acked;
    struct proc *by;
    struct state state;
    uint32_t n_parts;
    struct part *parts[PENDING_MAX];
};

struct round {
    struct round *next;
    uint64_t number, attempt, incarnation, life;
    Tide__RoundKind kind;
    uint64_t begun, left_us;
    bool triggered, told_complete, told_abort;
    bool handed; /* its completion is with the store, or durable */
    bool over;   /* aborted, or its daemon died */
    struct told_state *task[TASKS_MAX];
};

/* ---- the durable model */

struct d_round {
    struct d_round *next;
    struct tide_record_round r;
    bool ended, swept;
};
struct d_snapshot {
    struct d_snapshot *next;
    uint64_t round, incarnation, attempt, parent, begun_wall, completed_wall, bytes;
    enum tide_kind kind;
    enum tide_snapshot_state state;
    struct tide_bytes directory, ended, head, *chunks;
    uint32_t n_chunks;
    enum tide_style style;
    bool unaligned, commits, imported;
    uint64_t durable_at;
    uint32_t ended_mask;          /* tasks ended once it is restored */
    struct state task[TASKS_MAX]; /* what its artifacts say, or the end of a task that had ended */
};
struct d_owed {
    struct d_owed *next;
    uint64_t round;
    struct tide_bytes uid, handle;
    uint32_t subtask;
};
struct d_operation {
    struct d_operation *next;
    struct tide_catalog_operation o;
};
struct d_incarnation {
    uint64_t number, nonce;
};

struct store {
    /* durable */
    uint64_t reserved, external, lease_us;
    struct d_incarnation incarnations[256];
    uint32_t n_incarnations;
    bool job;
    tide_id job_id;
    struct tide_bytes name, spec, cause;
    enum tide_job_state state;
    uint64_t created_wall, ended_snapshot, attempts;
    struct tide_catalog_attempt last;
    struct d_round *rounds;         /* newest first */
    struct d_snapshot *snapshots;   /* newest first */
    struct d_owed *owed;            /* newest first */
    struct d_operation *operations; /* newest first */
    /* in flight */
    struct tide_commit *queue, **queue_end, *flying;
    bool busy;
    uint64_t handed_at; /* when the oldest awaited commit came; 0: none */
    /* faults */
    uint64_t slow_until, full_until, stuck_until;
    bool unknown_next;
    bool dropped; /* records that rode unawaited were lost since the store was full */
    tide_id store_id;
};

/* ---- files */

struct file {
    struct file *next;
    uint32_t task;
    struct state state;
};
struct directory {
    struct directory *next;
    const char *path;
    uint64_t hash;
    bool exists, pending, published;
    struct file *files;
};
struct file_job {
    struct file_job *next;
    enum file_op op;
    const char *path;
    uint64_t tag, life;
    bool done; /* executed, or never will be */
};
struct files {
    struct directory *directories;
    struct file_job *jobs;
    bool unpublished; /* a _metadata could not be put in place */
    uint64_t slow_until, failing_until, full_until, deaf_until;
};

/* ---- the daemon */

struct daemon {
    bool up;
    uint64_t life; /* counts starts */
    struct core *core;
    struct actions todo;
    uint64_t clock, wall; /* ahead of ours */
    uint64_t next_session, timer_at, thaw_at, started_at;
    uint64_t incarnation, nonce;
    bool doomed;     /* crashes at one of the next action boundaries */
    bool silent;     /* an outcome was unknown: not a word any more */
    bool asked_down; /* SIGTERM */
    uint32_t steps;
    bool resume; /* the attempt of before the crash must go on */
    uint64_t resume_attempt;
};

/* ---- all of it */

struct sim_stats {
    uint64_t histories, finished, held, rounds, complete, aborted, daemon_crashes, worker_crashes,
        attempts, resumed, fenced, deleted, savepoints, published, parts_dropped, refused_acks,
        events, steps, deliver;
    uint64_t abort_codes[16];
};

struct event_entry {
    uint64_t at, order;
    sim_fn *fn;
    void *arg;
    uint64_t x;
};

struct sim {
    uint64_t seed, now, rng[4], order, hash;
    bool trace, quiet; /* quiet: the trace is hashed, not printed */
    struct event_entry *heap;
    uint32_t heap_n, heap_cap;
    struct pool_block *pool;
    jmp_buf out;
    char broken[320];
    struct sim_stats *stats;

    uint64_t faults_end, give_up_at;
    bool calm, done;
    uint32_t climate; /* which faults this history knows: bits of enum climate */
    Tide__Checkpointing checkpointing;
    Tide__JobSpec spec;
    struct flow flow;
    uint32_t slots, slot_of[TASKS_MAX];
    struct proc *current[SLOTS_MAX];
    bool job_over; /* nobody is restarted any more */
    uint32_t next_pid, inline_percent, upload_max_ms;

    struct daemon daemon;
    struct store store;
    struct files files;
    struct conn *conns;
    struct proc *procs;

    /* history */
    struct attempt *attempts;
    struct round *rounds;
    struct part *parts;
    uint32_t n_parts;
    record_set published;
    uint64_t last_effect[TASKS_MAX]; /* round for which each task last published something new */
    uint64_t newest_published, calm_since, lag_until, wake_stuck;
    uint64_t fail_restore_until, decline_until;
    struct conn *admin;
    const char *waits_for; /* what keeps the history from ending well */
};

enum climate {
    CL_KILL = 1 << 0,     /* workers are killed */
    CL_VANISH = 1 << 1,   /* workers vanish with their host: nobody gets a FIN */
    CL_FREEZE = 1 << 2,   /* workers stand still, and may be replaced meanwhile */
    CL_CUT = 1 << 3,      /* connections are cut, noticed by both sides or by one */
    CL_DARK = 1 << 4,     /* a worker cannot reach the daemon for a while */
    CL_CRASH = 1 << 5,    /* the daemon crashes at an action boundary */
    CL_DOWN = 1 << 6,     /* the daemon is shut down in good order */
    CL_PAUSE = 1 << 7,    /* the daemon stands still */
    CL_STORE = 1 << 8,    /* the store is slow, full, or does not answer */
    CL_UNKNOWN = 1 << 9,  /* an outcome is unknown */
    CL_FILES = 1 << 10,   /* file lanes are slow or fail */
    CL_WEDGE = 1 << 11,   /* a task does not read */
    CL_DECLINE = 1 << 12, /* tasks decline, restores fail */
    CL_ADMIN = 1 << 13,   /* savepoints and checkpoints by hand */
    CL_LAG = 1 << 14,     /* the network is slow at times */
    CL_CLOCK = 1 << 15,   /* the wall clock jumps */
    CL_ALL = (1 << 16) - 1
};

/* sched.c */
uint64_t rnd(struct sim *s);
uint64_t below(struct sim *s, uint64_t n);                    /* 0 to n - 1 */
uint64_t between(struct sim *s, uint64_t low, uint64_t high); /* both included */
bool percent(struct sim *s, uint32_t p);
void sim_at(struct sim *s, uint64_t when, sim_fn *fn, void *arg, uint64_t x);
void sim_at_late(struct sim *s, uint64_t when, sim_fn *fn, void *arg,
                 uint64_t x); /* after all else of that time */
bool sim_step(struct sim *s);
void *sim_alloc(struct sim *s, size_t size); /* zeroed, lives as long as the history */
char *sim_text(struct sim *s, const char *text);
struct tide_bytes sim_bytes(struct sim *s, struct tide_bytes from);
void note(struct sim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
_Noreturn void broken(struct sim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define must(s, fact, ...)                                                                         \
    do {                                                                                           \
        if (!(fact)) broken((s), __VA_ARGS__);                                                     \
    } while (0)
void sim_reset(struct sim *s, uint64_t seed); /* a new history; keeps heap and pool */
void sim_release(struct sim *s);

/* host.c */
void daemon_start(struct sim *s, void *arg, uint64_t x);
void daemon_crash(struct sim *s, const char *why, bool vanish);
void daemon_feed(struct sim *s, struct event ev);
void daemon_shutdown(struct sim *s);
bool daemon_frozen(struct sim *s, sim_fn *fn, void *arg,
                   uint64_t x); /* true: put off until it thaws */
void daemon_hello(struct sim *s, struct conn *c, struct tide_bytes frame);

/* store.c */
void store_init(struct sim *s);
void store_submit(struct sim *s, struct tide_commit *c);
void store_crash(struct sim *s);
struct tide_catalog *store_catalog(struct sim *s, struct tide_catalog *c);
void store_load(struct sim *s, uint64_t round, uint64_t tag);
struct d_snapshot *store_snapshot(struct sim *s, uint64_t round);
struct d_round *store_round(struct sim *s, uint64_t round);

/* files.c */
void files_do(struct sim *s, enum file_op op, const char *path, uint64_t tag);
void files_crash(struct sim *s);
int files_write(struct sim *s, struct tide_bytes directory, bool exists, uint32_t task,
                const struct state *st);
const struct state *files_read(struct sim *s, struct tide_bytes directory, uint32_t task);
struct directory *files_find(struct sim *s, const char *path, size_t len);

/* net.c */
void net_connect(struct sim *s, struct proc *p);
struct conn *net_admin(struct sim *s);
void net_to_daemon(struct sim *s, struct conn *c, struct tide_bytes frames);
void net_to_worker(struct sim *s, struct conn *c, struct tide_bytes frames);
void net_close_by_daemon(struct sim *s, struct conn *c);
void net_close_by_worker(struct sim *s, struct conn *c);
void net_cut(struct sim *s, struct conn *c, bool daemon_sees, bool worker_sees);
struct conn *net_find(struct sim *s, uint64_t session);
void net_daemon_gone(struct sim *s, bool vanish);
void net_proc_gone(struct sim *s, struct proc *p, bool vanish);

/* proc.c */
void proc_start(struct sim *s, void *arg, uint64_t slot);
void proc_kill(struct sim *s, struct proc *p, const char *why, bool vanish);
void proc_leave(struct sim *s, struct proc *p);
void proc_freeze(struct sim *s, struct proc *p, uint64_t until);
void proc_pump(struct sim *s, struct proc *p);
uint64_t proc_now(const struct sim *s, const struct proc *p);
bool proc_busy(struct sim *s, struct proc *p, sim_fn *fn, void *arg,
               uint64_t x); /* frozen, or in a callback */
bool proc_frozen(struct sim *s, struct proc *p, sim_fn *fn, void *arg, uint64_t x);
void proc_frame(struct sim *s, struct proc *p, struct tide_bytes frame);
const char *task_name(struct sim *s, uint32_t task);

/* flow.c */
void flow_plan(struct sim *s);
void flow_restore(struct sim *s, struct task *t, const struct tide_delivery *d);
void flow_run(struct sim *s, struct task *t);
void flow_forward(struct sim *s, struct task *t, const uint8_t barrier[TIDE_BARRIER_BYTES]);
void flow_snapshot(struct sim *s, struct task *t, const struct tide_delivery *d);
void flow_complete(struct sim *s, struct task *t, const struct tide_delivery *d);
void flow_abort(struct sim *s, struct task *t, uint64_t round);
void flow_drop(struct sim *s, struct task *t); /* rewound or dead */
void flow_wake(struct sim *s, struct task *t, uint64_t when);
bool set_has(const record_set *r, uint32_t source, uint32_t number);
void set_put(record_set *r, uint32_t source, uint32_t number);
bool set_overlap(const record_set *a, const record_set *b);
void set_add(record_set *a, const record_set *b);
uint32_t set_count(const record_set *r);

/* fault.c */
void fault_plan(struct sim *s);
void fault_calm(struct sim *s);

/* check.c: everything that happens is told here; nothing here looks into the core or a session,
 * but for what a worker itself believes of its lease. */
struct attempt *check_attempt(struct sim *s, uint64_t number); /* made when first heard of */
struct round *check_round(struct sim *s, uint64_t number);     /* NULL: never heard of */
void check_sent(struct sim *s, struct tide_bytes frames, const uint64_t *sessions, uint32_t n);
void check_handed(struct sim *s, const struct tide_commit *c);
void check_durable(struct sim *s, const struct tide_commit *c);
void check_file(struct sim *s, enum file_op op, const char *path, bool executing);
void check_acked(struct sim *s, struct task *t, uint64_t attempt, uint64_t round,
                 const struct state *st, struct part *const *parts, uint32_t n_parts);
void check_delivery(struct sim *s, struct proc *p, const struct tide_delivery *d);
void check_restored(struct sim *s, struct task *t, const struct tide_delivery *d,
                    const struct state *st);
void check_publish(struct sim *s, struct task *t, struct part *p, const struct tide_delivery *d);
void check_steady(struct sim *s, bool attached); /* the daemon is about to be away */
void check_crashed(struct sim *s);
void check_tick(struct sim *s);                         /* now and then: deadlines */
bool check_owed(struct sim *s, const struct d_owed *o); /* not struck, and not published either */
bool check_lively(struct sim *s);
void check_end(struct sim *s);

#endif
