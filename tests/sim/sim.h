/* The simulator: the shipped core, sessions and aligners in one process, under a seeded scheduler.
 *
 * Time is a number, every random draw comes from the seed, and everything that is real elsewhere
 * (network, store, files, processes) is played here. One history runs like this:
 *
 *   sched.c  the queue of what happens when, randomness, trace
 *   plan.c   what the seed decides: how many jobs, what each is and asks for
 *   host.c   the daemon's process: feeds the core, carries its actions out, crashes between any two
 *   store.c  the durable model: applies commits, makes the catalog for a restart
 *   files.c  file lanes and what lies in the directories
 *   net.c    connections: delays, cuts, half-open ones
 *   proc.c   worker processes: a session each, and the supervisor that restarts them
 *   flow.c   a program for them to run: a dataflow of counters, and the outside world of its sinks
 *   pieces.c files that several checkpoints of a job share
 *   meet.c   others: solvers and stores, whose tasks meet at one position
 *   heir.c   jobs that begin from what another has left
 *   old.c    an old copy of the store, put back
 *   trouble.c  trouble of one job that the others must not feel, and strangers
 *   fault.c  what goes wrong, and when
 *   check.c  the door of the checks; check_*.c: the promises, one family each
 *   wire.c   frames as text, for the trace
 *   story.c  what a person is told of a broken promise
 *   main.c   options, seeds, statistics
 *
 * job.h has what belongs to one job; this header has the world around the jobs.
 *
 * All memory of a history but the core's and the sessions' own comes from one pool, which is
 * forgotten as a whole at its end. */
#ifndef SIM_H
#define SIM_H

#include "tests/sim/check.h"
#include "tests/sim/job.h"
#include "tests/sim/sched.h"

/* ---- the store */

struct d_incarnation {
    uint64_t number, nonce;
};
struct store {
    /* durable; what is about one job is in its struct job_store */
    uint64_t reserved, external, lease_us;
    uint64_t external_ever, incarnation_ever; /* the highest, whatever was put back */
    struct d_incarnation incarnations[256];
    uint32_t n_incarnations;
    tide_id store_id;
    /* in flight */
    struct tide_commit *queue, **queue_end, *flying;
    bool busy;
    uint64_t handed_at; /* when the oldest awaited commit came; 0: none */
    /* faults */
    uint64_t slow_until, full_until, stuck_until;
    bool unknown_next;
    bool dropped;           /* records that rode unawaited were lost since the store was full */
    bool dropped_operation; /* what has become of an operation was among the lost */
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
    bool moved;                  /* by its user, elsewhere */
    bool gone;                   /* deleted, whether it was there or not */
    struct tide_bytes image;     /* of a copy: its _metadata; nothing: none */
    struct d_snapshot *origin;   /* ... and of what, */
    struct tide_bytes coming;    /* of an export: what will be its _metadata */
    struct d_snapshot *exported; /* ... all files are there: of what */
    struct job *exported_of;     /* whose it is */
    struct job *origin_of;       /* whose it is */
    bool late; /* made after its deletion, perhaps: an upload, or an operation that had timed out */
    struct file *files;
    struct piece *pieces; /* files that several snapshots share; by their names in it */
};
struct file_job {
    struct file_job *next;
    enum file_op op;
    const char *path, *from;
    uint64_t tag, life, place;
    struct tide_bytes image;
    bool done; /* executed, or never will be */
    bool late; /* executed after nobody waited for it any more */
};
struct files {
    struct directory *directories;
    struct file_job *jobs;
    bool unpublished; /* a _metadata could not be put in place */
    uint32_t copies, exports;
    uint64_t slow_until, failing_until, full_until, deaf_until;
    uint32_t cursed_percent; /* so many directories can never be deleted */
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
};

/* ---- all of it */

struct sim_stats {
    uint64_t histories, finished, held, rounds, complete, aborted, daemon_crashes, worker_crashes,
        attempts, resumed, advances, fenced, deleted, savepoints, published, parts_dropped,
        refused_acks, events, steps, deliver, met, events_sent, in_flight, unaligned,
        savepoints_unaligned, counted;
    uint64_t abort_codes[16];
    uint64_t pieces_new, pieces_again;
    uint64_t bases, refused_orders, imports, exports, inherited, rescaled;
    uint64_t suspended, drained, cancelled, told_ended, disposed, failed;
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
    struct history *history; /* what the history checker has read so far */
    struct story *story;     /* the trace's lines so far */

    uint64_t faults_end, give_up_at, calm_since;
    bool calm, done;
    uint32_t climate; /* which faults this history knows: bits of enum climate */
    uint64_t lag_until;

    struct job *jobs;
    uint32_t n_jobs, next_pid;
    struct daemon daemon;
    struct store store;
    struct files files;
    struct conn *conns, *admin;
    struct {
        struct copy *copy;
        uint64_t from;     /* the first incarnation since then */
        bool wanted, done; /* it is put back before the next start; it was */
    } old;
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
    CL_OLD = 1 << 16,     /* an old copy of the store is put back */
    CL_ORDER = 1 << 17,   /* jobs are held and released */
    CL_WEATHER = CL_CRASH | CL_DOWN | CL_PAUSE | CL_STORE | CL_UNKNOWN | CL_FILES | CL_OLD,
    CL_STORM = 1 << 18,    /* a worker reconnects without end */
    CL_STRANGER = 1 << 19, /* somebody speaks nonsense */
    CL_STOP = 1 << 20,     /* jobs are stopped and cancelled, savepoints disposed of */
    CL_KINDS = 21
};

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
struct job *store_job(struct sim *s, const struct tide_record *r); /* of a record of a job */
struct d_snapshot *store_snapshot(const struct job *j, uint64_t round);
bool store_strikes(const struct tide_record *strike, const struct d_owed *o);
struct d_round *store_round(const struct job *j, uint64_t round);

/* files.c */
bool files_cursed(const struct sim *s, const char *path); /* can never be deleted */
void files_do(struct sim *s, const struct action *a);
void files_crash(struct sim *s);
int files_make(struct sim *s, struct tide_bytes directory, bool exists); /* a round's */
int files_write(struct sim *s, struct tide_bytes directory, bool exists, uint32_t task,
                const struct state *st);
const struct state *files_read(struct sim *s, struct tide_bytes directory, uint32_t task);
struct directory *files_find(struct sim *s, const char *path, size_t len);
/* Somebody copies the directory of a snapshot of the job elsewhere, with the _metadata that belongs
 * into it, or part of that. */
const struct directory *files_copy(struct sim *s, struct job *j, struct d_snapshot *d,
                                   bool damaged);
/* Its user moves a savepoint, or a copy; in the end everything is back. */
const struct directory *files_move(struct sim *s, struct job *j, struct d_snapshot *d);
void files_move_back(struct sim *s);

/* pieces.c */
#define PIECES_MAX 8u
/* Writes what is new and says what the ack of that round has to say; returns how many. */
uint32_t pieces_put(struct sim *s, struct task *t, uint64_t round, struct tide_bytes directory,
                    struct tide_artifact_view *views);
bool pieces_restored(struct sim *s, struct task *t, const struct tide_delivery *d,
                     const Tide__Artifact *a); /* false: it is not there, which may be */
int pieces_delete(struct sim *s, const char *path);
void pieces_changed(struct sim *s, struct job *j, const struct tide_record *r);
void pieces_moved(struct sim *s, struct job *j, const struct tide_record *r);
void pieces_catalog(struct sim *s, const struct job_store *st, struct tide_catalog_job *j);
void pieces_copy(struct sim *s, struct job_store *st); /* its rows become its own */
void pieces_of_snapshot(struct sim *s, struct d_snapshot *d, const struct tide_artifact_view *a,
                        bool full);
void pieces_check_deletion(struct sim *s, enum file_op op, const char *path);
bool pieces_clean(struct sim *s, const struct job *j);

/* net.c */
void net_connect(struct sim *s, struct proc *p);
struct conn *net_admin(struct sim *s);
struct conn *net_stranger(struct sim *s, bool hello); /* a peer who belongs to nobody */
void net_to_daemon(struct sim *s, struct conn *c, struct tide_bytes frames);
void net_to_worker(struct sim *s, struct conn *c, struct tide_bytes frames);
void net_close_by_daemon(struct sim *s, struct conn *c);
void net_close_by_worker(struct sim *s, struct conn *c);
void net_cut(struct sim *s, struct conn *c, bool daemon_sees, bool worker_sees);
struct conn *net_find(struct sim *s, uint64_t session);
void net_daemon_gone(struct sim *s, bool vanish);
void net_proc_gone(struct sim *s, struct proc *p, bool vanish);

/* old.c */
void old_copy(struct sim *s);     /* takes one */
void old_put_back(struct sim *s); /* does so when it is wanted; the daemon is down */
void old_joins(struct sim *s, struct proc *p, struct tide_bytes content); /* a Join has come */
void old_check_sent(struct sim *s, const struct job *j, const char *what);

/* wire.c: a frame without its header; for people; good until the next call */
const char *wire_text(const struct job *j, struct tide_bytes frame, bool to_daemon);

/* story.c */
void story_keep(struct sim *s, const char *line, size_t len);
void story_end(struct sim *s, const struct place *at);
void story_free(struct sim *s);

/* trouble.c */
void trouble_storm(struct sim *s, struct proc *p);
void trouble_stranger(struct sim *s);

/* fault.c */
void fault_draw(struct sim *s);               /* which kinds this history knows */
const char *fault_words(const struct sim *s); /* ... in words; good until the next call */
void fault_plan(struct sim *s);
void fault_restarted(struct sim *s); /* the daemon */
void fault_calm(struct sim *s);

#endif
