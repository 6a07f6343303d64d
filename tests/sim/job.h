/* Jobs in the simulator: what each is made of, what runs in its workers, what the store holds of it
 * and what the checks remember. One daemon has one to three. */
#ifndef SIM_JOB_H
#define SIM_JOB_H

#include "tests/sim/sched.h"

#define JOBS_DRAWN 3u
#define JOBS_MAX (JOBS_DRAWN + 1) /* an heir */
#define OPS_MAX 3u
#define PARALLEL_MAX 3u
#define TASKS_MAX (OPS_MAX * PARALLEL_MAX)
#define CHANNELS_MAX 27u
#define SOURCES_MAX 6u
#define RECORDS_MAX 128u /* per source */
#define WORDS (RECORDS_MAX / 64)
#define SLOTS_MAX 4u
#define PENDING_MAX 128u
#define HOOKS_MAX 2u
#define FIRST_PID 100u
#define BEATS 64u /* heartbeats whose time is remembered */

struct job;

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
    uint64_t value;  /* solvers: what the steps, `offset` of them, have made */
    uint32_t events; /* received from the coordinator */
    uint32_t none;   /* 0: states are compared as bytes, so there is no hole */
    record_set seen; /* sinks: every record that this state covers */
};

struct flow_channel {
    uint32_t from, to; /* tasks */
    uint32_t input;    /* number among the receiver's inputs */
    uint32_t output;   /* and among the sender's outputs */
    bool slow;         /* what is put into it waits at the sender */
    bool aligned;      /* its receiver keeps none of its records */
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
enum part_state {
    PART_PENDING,
    PART_PUBLISHED,
    PART_DROPPED,
    PART_FORGOTTEN /* published, as the store remembers no more */
};
struct part {
    struct part *next;
    uint32_t id, task;
    uint64_t attempt, round;
    enum part_state state;
    record_set records;
};

enum item_kind { ITEM_RECORD, ITEM_END_OF_DATA, ITEM_BARRIER, ITEM_HALO };
struct item {
    struct item *next;
    uint64_t sent_at, at; /* leaves the sender's output; readable from then on */
    enum item_kind kind;
    uint32_t source, number;
    uint64_t value;        /* HALO: of step `number` */
    bool announced, moved; /* a barrier: told to the session; put ahead, as another item */
    uint8_t barrier[TIDE_BARRIER_BYTES];
};

/* Records, and ends of data, that were in flight when a task snapshotted: channels.c. */
struct flying {
    uint32_t flight, channel; /* a Flight; by the task's own numbers */
    uint32_t kind, source, number;
};
struct flights {
    struct flights *next;
    uint64_t round;
    struct flying *item;
    uint32_t n, cap;
};

struct logged {
    uint32_t source, number;
};
struct channel_log {
    struct logged *item;
    uint32_t n, cap;
};

struct pipe { /* one channel in one attempt */
    struct item *first, **last;
    uint32_t length;
    uint64_t last_at, last_sent;
    /* records that the receiver had got before the attempt; that it restored as in flight; that
     * were put in */
    uint32_t got_before;
    struct channel_log before, log;
    struct task *reader; /* once it has restored */
    bool broken;
};

struct task { /* one task in one process */
    struct proc *proc;
    uint32_t number;
    bool restored, running, ended;
    bool gone; /* what it is to restore is not there */
    uint64_t attempt;
    struct attempt *in; /* its pipes */
    struct state state;
    struct piece *pieces; /* files that it shares with later snapshots */
    record_set fresh;     /* sinks: not in any part yet */
    struct {
        struct part *part;
        uint64_t round;
    } pending[PENDING_MAX];
    uint32_t n_pending;
    uint32_t blocked; /* inputs, by the task's own numbers */
    bool told_finished, behind;
    struct flights *flights, *capture; /* of rounds that it snapshotted; of the one it captures */
    struct upload *uploads;            /* of rounds that are not acked */
    bool promotable, slow;
    uint64_t next_read; /* slow: not before */
    bool draining;      /* it is to end its input */
    uint64_t suspended; /* it is to stand still behind its snapshot of this round; 0: it is not */
    uint64_t wedged_until, next_record, turn_at;
    uint64_t blocked_since; /* when the first of its inputs was blocked */
    /* solvers: in this step */
    bool said, called; /* the halos are sent; asked to call tide_session_position() */
    uint32_t heard;    /* inputs whose halo has come */
    uint64_t halo[4];
    uint32_t generation; /* rises with every restore and rewind: late uploads see it */
};

/* ---- processes and connections */

struct conn {
    struct conn *next;
    uint64_t session, life; /* life: of the daemon that accepted it */
    struct proc *proc;      /* NULL: an admin */
    bool open_d, open_w;    /* as each side sees it */
    bool hole_d, hole_w;    /* what is sent to the daemon (to the worker) vanishes */
    bool welcomed, joined;  /* joined: a Join was sent on it */
    bool running;           /* a Run was sent back */
    bool stranger;          /* whose frames may be nonsense */
    /* a round that its worker is to be told complete, having come back; since when; in which
     * attempt */
    uint64_t owes, owes_since, owes_in;
    uint64_t at_d, at_w;   /* when the last byte sent so far arrives */
    uint64_t triggers[32]; /* the last rounds whose Trigger was sent on it */
    uint32_t n_triggers;
};

struct coordinator;
struct posted;
struct event_line { /* from a coordinator to a subtask, in one attempt */
    struct posted *first, *last;
    uint64_t last_at;
    bool broken;
};

struct proc {
    struct proc *next; /* of the same job */
    struct job *job;
    uint32_t slot, pid;
    uint64_t start_time;
    char boot[16];
    struct tide_bytes from;       /* where its job is to begin, as it says; nothing: afresh */
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
    struct coordinator *coordinator; /* external.c; it lives elsewhere: NULL */
    uint32_t hook_of[HOOKS_MAX + 1]; /* by the session's number of the part: which hook, from 1 */
    uint64_t last_tick;
    uint32_t idle_ticks, pumps, connects;
    bool hasty;             /* says again, at odd moments, what it has said; the protocol lets it */
    struct tide_bytes word; /* the frame that it may say again */
    uint64_t join_at, beat, beat_at[BEATS]; /* when it sent its Join, and its last heartbeats */
    uint64_t lease_until;                   /* as the wire shows it */
    bool stopped;           /* was told that the job has ended: its session holds no token then */
    uint64_t told_complete; /* the newest round of its attempt that it was told complete */
    bool stale;             /* lives since before an old copy of the store was put back (old.c) */
    uint64_t token_incarnation; /* of the attempt that it has */
    bool part_failed;           /* its hook could not be restored when others were rewound */
    bool told_rewind;           /* the daemon has said something that may end its attempt */
};

/* ---- the history, as the checker keeps it */

struct attempt {
    struct attempt *next;
    uint64_t number, external, incarnation;
    struct pipe pipe[CHANNELS_MAX];
    struct event_line events[PARALLEL_MAX];
    bool event_lost;   /* so that it will end */
    bool past;         /* of before an old copy was put back, which does not know it */
    bool row;          /* durable */
    bool rewound;      /* somebody was told so */
    uint32_t restored; /* tasks that have restored */
    uint32_t member_pid[TASKS_MAX];
    uint64_t member_start[TASKS_MAX];
    bool member[TASKS_MAX];
    uint64_t since[TASKS_MAX]; /* the attempt in which it was started: its pipes are that one's */
    uint64_t from[TASKS_MAX];  /* the snapshot that it was restored from */
    uint64_t restored_from;
    bool start_sent;
};

struct told_state { /* what a task acked a round with */
    bool acked;
    struct proc *by;
    struct state state;
    const struct flights *flights;
    uint32_t n_parts;
    struct part *parts[PENDING_MAX];
};

struct round {
    struct round *next; /* of the same job */
    struct job *job;
    uint64_t number, attempt, incarnation, life;
    Tide__RoundKind kind;
    uint64_t begun, left_us;
    bool past; /* as an attempt's */
    bool triggered, told_complete, told_abort;
    bool handed;            /* its completion is with the store, or durable */
    bool over;              /* aborted, or its daemon died */
    bool full;              /* told to refer to nothing */
    bool has_cut, told_now; /* rendezvous rounds */
    uint64_t cut;
    struct {
        bool reported, stands;
        uint64_t position;
        uint32_t offset; /* where it stands */
    } meet[TASKS_MAX];
    struct {
        bool answered, failed, bare; /* bare: without data */
    } hook[HOOKS_MAX];
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
    /* imported: to the checks a savepoint of somebody's, whatever it was taken as, and a copy of
     * this one */
    enum tide_kind taken_as;
    struct d_snapshot *origin;
    struct job *origin_of;        /* whose that is: another job's, perhaps */
    uint32_t acked_mask;          /* tasks of which it has acks */
    bool disposed;                /* its user does not want it any more */
    bool left_behind;             /* an attempt has begun from an older one */
    uint32_t ended_mask;          /* tasks ended once it is restored */
    struct state task[TASKS_MAX]; /* what its artifacts say, or the end of a task that had ended */
    struct tide_bytes part[HOOKS_MAX + 1]; /* what the coordinator and the hooks gave */
    struct flights *flights[TASKS_MAX];    /* likewise; NULL: none */
    uint64_t shared;                       /* as in the record */
    struct piece *pieces;                  /* files that it refers to, by their paths */
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

/* What the store holds of one job. */
struct job_store {
    bool made;
    tide_id id;
    struct tide_bytes name, spec, cause;
    enum tide_job_state state;
    uint64_t created_wall, ended_snapshot, attempts;
    uint64_t base_since, base_snapshot; /* what was ordered to go on from */
    bool base_unmatched;
    bool base_new; /* no attempt has restored it yet */
    struct tide_catalog_attempt last;
    struct d_round *rounds;         /* newest first */
    struct d_snapshot *snapshots;   /* newest first */
    struct d_owed *owed;            /* newest first */
    struct d_operation *operations; /* newest first */
    struct d_piece *pieces;         /* newest first */
};

/* ---- programs and jobs */

/* What a job's tasks run. Each kind has a file of its own: flow.c is the first. */
struct program {
    const char *name;
    bool meets; /* its rounds are rendezvous rounds: the library knows of no channels */
    /* Draws the job's graph: operators, edges, tasks, channels. */
    void (*plan)(struct sim *s, struct job *j);
    /* One delivery to a task: RESTORE to REWIND, but not BLOCK and UNBLOCK. */
    void (*deliver)(struct sim *s, struct task *t, const struct tide_delivery *d);
    /* The task has lost all it had: rewound, or its process is dead. */
    void (*drop)(struct sim *s, struct task *t);
    /* Something has changed from `when` on: an input is open again, an item is there. */
    void (*wake)(struct sim *s, struct task *t, uint64_t when);
    /* The states of a snapshot fit together: a cut that could have happened. */
    void (*check_cut)(struct sim *s, struct job *j, const struct d_snapshot *snapshot);
    /* The job is finished: what must have happened in the outside world by now. */
    void (*check_finished)(struct sim *s, struct job *j);
};

struct reference {
    struct reference *next;
    uint64_t value[256][TASKS_MAX];
};

struct job {
    struct job *next;
    uint32_t number;         /* from 0 */
    char name[8], prefix[8]; /* prefix: of names in the trace, when there are several jobs */
    /* the plan: plan.c draws it from the seed, nothing changes it later */
    const struct program *program;
    Tide__Checkpointing checkpointing;
    Tide__JobSpec spec;
    struct flow flow;
    uint32_t slots, slot_of[TASKS_MAX];
    uint32_t stride;             /* meet.c: positions of a step; 0: it counts none */
    struct reference *reference; /* meet.c: what all tasks have at each step */
    uint64_t reference_last[TASKS_MAX];
    struct externals {
        uint32_t op, slot; /* the operator that has a coordinator, or OPS_MAX; where it lives */
        uint32_t n_hooks, hook_slot[HOOKS_MAX];
    } externals;
    uint32_t inline_percent, upload_max_ms;
    uint64_t most_apart_us; /* between two snapshots while nothing is wrong; 0: no promise */
    bool pieces;            /* its tasks have files that several checkpoints share */
    bool portable;          /* its states may be divided among more tasks, or fewer */
    struct job *heir_of;    /* it begins from a copy of what that one has left; NULL: afresh */
    bool calm; /* nothing goes wrong with its workers and tasks: others' trouble is not its own */
    /* processes */
    struct proc *procs, *current[SLOTS_MAX];
    bool over;  /* nobody is restarted any more */
    bool begun; /* an heir: its workers have been started */
    /* faults */
    uint64_t fail_restore_until, decline_until;
    uint64_t mute_until; /* the outside world does not answer */
    /* durable */
    struct job_store store;
    /* history */
    struct attempt *attempts;
    struct round *rounds;
    struct part *parts;
    uint32_t n_parts;
    record_set published;
    uint64_t last_effect[TASKS_MAX]; /* round for which each task last published something new */
    uint64_t newest_published;
    bool ordered;     /* an admin's order may be under way */
    bool misread;     /* a manifest was read badly, which holds it */
    bool may_abandon; /* ... that gives up what is owed */
    bool reopened;    /* it had ended, and goes on by an order */
    bool resume;      /* the attempt of before the daemon was away must go on */
    uint64_t resume_attempt;
    uint64_t settled; /* the daemon's life in which all its workers were last known to be back */
    bool may_hold;    /* one has joined whose open rounds the copy cannot know */
    bool old;         /* an old copy of its rows was put back */
    bool must_hold;   /* ... and a worker has joined that knows more */
    bool done;
    const char *waits_for; /* what keeps the history from ending well */
};

/* plan.c: all that a seed decides before the history begins */
void plan_jobs(struct sim *s);

/* proc.c */
void proc_start(struct sim *s, void *arg, uint64_t slot); /* arg: the job */
void proc_kill(struct sim *s, struct proc *p, const char *why, bool vanish);
void proc_leave(struct sim *s, struct proc *p);
void proc_freeze(struct sim *s, struct proc *p, uint64_t until);
void proc_pump(struct sim *s, struct proc *p);
uint64_t proc_now(const struct sim *s, const struct proc *p);
/* Each true: frozen (or in a callback), and fn is put off until it is not. */
bool proc_frozen(struct sim *s, struct proc *p, sim_fn *fn, void *arg, uint64_t x);
bool proc_busy(struct sim *s, struct proc *p, sim_fn *fn, void *arg, uint64_t x);
void proc_frame(struct sim *s, struct proc *p, struct tide_bytes frame);
/* For people; good for the next few calls. */
const char *proc_name(const struct proc *p);
const char *task_name(const struct job *j, uint32_t task);

/* base.c */
void base_ordered(struct sim *s, struct job *j, const struct tide_record *r);
void base_reopens(struct sim *s, struct job *j); /* a job that had ended begins again */
uint64_t base_expected(const struct job *j);
void base_restored(struct sim *s, struct job *j, uint64_t restored); /* an attempt is durable */
void base_abandoned(struct sim *s, struct job *j, const struct tide_record *strike);

/* external.c: coordinators and hooks */
void external_plan(struct sim *s, struct job *j, bool any);
void external_inherit(struct sim *s, struct job *j); /* the same parts, perhaps elsewhere */
void external_start(struct sim *s, struct proc *p);
void external_deliver(struct sim *s, struct proc *p, const struct tide_delivery *d);
void external_advance(struct proc *p, uint64_t attempt);
void external_drop(struct proc *p); /* its process is dead */
void external_free(struct proc *p); /* the history is over */

/* order.c */
void order_something(struct sim *s, struct job *j);
void order_calm(struct sim *s, struct job *j);                  /* from now on nothing stays held */
bool order_may_copy(struct sim *s, const struct d_snapshot *d); /* all of it is there */
bool order_may_release(const struct job *j); /* it is HELD, and by a cause that a release ends */

/* heir.c */
void heir_plan(struct sim *s, struct job *j, struct job *like);
void heir_begin(struct sim *s, struct job *j); /* unless it has */
void heir_refused(struct sim *s, struct job *j, struct tide_bytes text);
/* The snapshot is a copy of another job's, which had other parallelisms: then channels begin anew,
 * and several states may be one task's. */
bool heir_rescaled(const struct job *j, const struct d_snapshot *d);
void heir_channels(const struct job *j, const struct d_snapshot *d, uint32_t task,
                   struct state *st);
void heir_states(struct job *j, struct d_snapshot *d); /* what a copy has of the heir's tasks */

/* stop.c */
void stop_something(struct sim *s, struct job *j);

/* flow.c */
extern const struct program flow_program;
void flow_rebuild(struct flow *f); /* its parallelisms are others */
/* meet.c */
extern const struct program meet_program;

/* channels.c */
struct flights *flights_of(struct sim *s, struct task *t, uint64_t round);
void flights_add(struct sim *s, struct flights *f, Tide__Flight flight, uint32_t channel,
                 const struct item *i);
uint32_t flights_pack(struct sim *s, const struct flights *f, struct tide_artifact_view *views);
bool flights_unpack(struct sim *s, struct flights *f, uint32_t flight, uint32_t channel,
                    struct tide_bytes bytes);
bool flights_equal(const struct flights *a, const struct flights *b); /* NULL: none */
#define FLIGHTS_MAX (2 * CHANNELS_MAX)                                /* artifacts of one task */
void channel_put(struct sim *s, struct task *t, uint32_t channel, const struct item *what);
void channel_put_all(struct sim *s, struct task *t, const struct item *what);
bool channels_room(const struct task *t);
void channels_put_ahead(struct sim *s, struct task *t, const struct tide_delivery *d);
struct item *channel_next(struct sim *s, struct task *t, uint32_t input);
void channels_announce(struct sim *s, struct task *t);
struct item *channel_overtake(struct sim *s, struct task *t, uint32_t input, struct flights *kept);
void channels_restore(struct sim *s, struct task *t, const struct flights *f);
const struct logged *channel_logged(const struct pipe *p, uint32_t n);

/* flow_check.c */
void flow_check_cut(struct sim *s, struct job *j, const struct d_snapshot *d);
void flow_check_finished(struct sim *s, struct job *j);
bool flow_repeats(const struct job *j); /* records may come again: at least once */

/* records.c: sets of records */
bool set_has(const record_set *r, uint32_t source, uint32_t number);
void set_put(record_set *r, uint32_t source, uint32_t number);
bool set_overlap(const record_set *a, const record_set *b);
void set_add(record_set *a, const record_set *b);
void set_meet(record_set *a, const record_set *b); /* what is in both */
uint32_t set_count(const record_set *r);

#endif
