/* What the files of the session share. Nobody else includes this.
 *
 *   session.c        its life: tasks, connection, lease, time, and the queue of deliveries
 *   session_recv.c   what the daemon says
 *   session_advance.c  ... when another region of the job was rewound
 *   session_send.c   what the worker says: building messages, repeating them
 *   session_round.c  rounds: how they come and end, declines, completion
 *   session_flow.c   flow rounds: aligners and their steps, barriers
 *   session_ack.c    acks
 *   session_share.c  shared artifacts that tasks may refer to
 *   session_meet.c   rendezvous rounds: positions, the cut
 *   session_external.c  coordinators and hooks */
#ifndef TIDE_SESSION_IMPL_H
#define TIDE_SESSION_IMPL_H

#include "client/session.h"
#include "proto/arena.h"
#include "proto/frame.h"
#include "proto/shared.h"

#define ROUNDS_MAX 64u /* open at once; a daemon that begins more is not believed */
#define DECLINES_MAX 65536u
#define QUEUE_MAX (1u << 24) /* deliveries that wait for the application */
#define OUT_MAX ((size_t)TIDE_PARTS_MAX + ((size_t)64 << 20))
#define START_ARENA_MAX ((size_t)256 << 20)
#define ACKS_MAX ((size_t)256 << 20) /* bytes of acks kept for one round */
#define ACK_FULL_MAX (8u << 20)
#define FRAME_GOAL (1u << 20) /* a batch is closed when it has grown beyond this */
#define DIRECTORY_MAX 4095u
#define WELCOME_US 10000000u /* how long the daemon may take to answer Hello */
#define JOINED_US 30000000u  /* and Join */
#define PARKED_CHECK_US 1000000u
#define BEATS 32u /* heartbeats whose sending time is remembered */

/* The connection, from nothing to taking part. */
enum link {
    LINK_DOWN,       /* none; connect at connect_us */
    LINK_CONNECTING, /* the shell is at it */
    LINK_HELLO,      /* Hello is sent */
    LINK_WELCOMED,   /* Welcome came; Join waits for tasks that still rewind */
    LINK_JOINING,    /* Join is sent */
    LINK_JOINED,     /* Joined came: heartbeats go */
    LINK_CLOSING,    /* given up; waits for _disconnected */
    LINK_OVER        /* the session has ended */
};

/* Bytes that several deliveries share. */
struct shared {
    uint32_t refs;
    size_t len;
    uint8_t data[];
};

struct item {
    struct tide_delivery d;
    struct shared *hold; /* what d's views point into; may be NULL */
};

enum round_task {
    ROUND_NOTHING, /* this task has not snapshotted */
    ROUND_ASKED,   /* SNAPSHOT was delivered */
    ROUND_ACKED,
    ROUND_DECLINED
};

enum meet_flag { /* one task's part in a rendezvous round */
                 MEET_REPORTED = 1,
                 MEET_STANDS = 2,
                 MEET_REPORT_DUE = 4, /* to be said on this connection */
                 MEET_STANDS_DUE = 8,
                 MEET_CAPTURING = 16 /* SNAPSHOT was delivered, its callback has not returned */
};

struct round_place { /* one task's part in one round */
    uint64_t bytes;
    uint64_t position;  /* MEET_REPORTED: which */
    uint64_t processed; /* bytes of records processed while barriers were awaited */
    uint32_t align_us, start_delay_us;
    uint8_t state, meet;
    bool waits;             /* the ack is not taken before ACKABLE */
    bool unaligned;         /* did not wait for all barriers */
    bool finished_operator; /* it held its end, and its operator keeps union list state */
    bool full;              /* of this task the daemon wants all, whatever it wants of others */
};

struct round {
    uint64_t number, deadline_us, progress_us;
    bool savepoint, full, native, directory_exists;
    Tide__StopMode stop;
    uint8_t mode; /* enum tide_align_mode */
    struct shared *directory;
    struct round_place *tasks;         /* n_tasks of them */
    bool meets, has_cut, snapshot_now; /* a rendezvous round; how far it is */
    uint32_t window;
    uint64_t cut;
    uint32_t n_meet, n_reported, n_stands; /* tasks of this worker: that take part, that have ... */
    uint32_t meet_left;                    /* that have not come to their snapshot */
    struct tide_buf acks; /* every ack made, in order: struct ack_head and its content */
    size_t sent;          /* so much of it has been sent on this connection */
    uint32_t unsent;      /* acks beyond that */
};

struct ack_head {
    uint32_t task, align_us, sync_us, async_us;
    uint32_t files;    /* this many struct tide_ack_file follow */
    uint32_t full_len; /* or, when not 0, a packed TaskAck of so many bytes */
};

struct decline {
    uint64_t round;
    uint32_t task, retry_after_ms;
    bool gave_up; /* not the task: the round did not work out for it */
    struct shared *reason;
};

struct stask {
    uint32_t number; /* in the graph */
    uint32_t channels, open, promotable;
    struct tide_align *align;
    const Tide__TaskRestore *restore; /* view into start */
    bool restored, rewinding;
    bool restore_due; /* its RESTORE was taken back when the lease was over */
    bool finished;    /* holds its end */
    bool ended;       /* was released from it */
    bool finish_due, confirm_due;
    bool behind, behind_due; /* a source with a backlog; not told yet */
    bool behind_ever;        /* in this attempt: the daemon may believe it still */
    uint64_t end_at;         /* the completion of this round releases it */
    /* Rendezvous rounds: the last safe point of this attempt, if it has reached one. */
    uint64_t at;
    bool has_at;
    bool stands;        /* was told to stand there, and has not called since */
    bool called;        /* was asked to call, and has not since */
    uint64_t stands_us; /* since when it stands; 0: it does not */
    uint64_t stood;     /* the attempt in which it was last told to stand; outlives a rewind */
    /* Commits, in order of rounds: first those owed from before, then this attempt's. */
    uint32_t owed_next;
    uint64_t told;  /* highest round told complete */
    uint64_t want;  /* highest one that asks to publish */
    uint64_t done;  /* carried out up to here */
    uint64_t asked; /* delivered and not answered; 0: none */
    uint64_t retry_us;
    uint32_t retries;
    uint64_t subsumed;     /* told to the program up to here */
    uint64_t drain;        /* for this round it ends its input; 0: none */
    uint64_t suspended;    /* for this round it stands still; 0: it does not */
    bool halted;           /* that round is complete, Stop follows */
    struct shares *shares; /* of session_share.c; NULL: it knows no shared artifact */
};

struct tide_session {
    struct tide_graph *graph;
    Tide__JobSpec *spec; /* in `birth` */
    struct tide_arena birth;
    struct tide_bytes worker, endpoint, secret, software, boot_id; /* in `birth` */
    uint32_t pid;
    uint64_t start_time, random;
    uint64_t reconnect_min_us, reconnect_max_us, ack_delay_us;
    uint32_t ack_batch;

    struct stask *tasks; /* ascending by number */
    uint32_t n_tasks, cap_tasks;
    struct sexternal *externals;
    uint32_t n_externals;
    bool frozen; /* connected once: no further tasks */

    /* the connection */
    enum link link;
    uint64_t connect_us, link_deadline_us;
    uint32_t failures;     /* in a row, for the back-off */
    uint32_t bad_refusals; /* in a row: one side has a bug */
    bool want_connect, want_close;
    struct tide_buf out;
    bool out_given;
    struct tide_arena arena; /* the frame being handled */
    struct tide_joiner joiner;
    uint64_t parked_us; /* next look at the holder; 0: not parked */
    Tide__Host holder;
    uint8_t holder_boot[256];

    /* the lease */
    uint64_t join_us, beat_us; /* when Join and the next heartbeat were, will be sent */
    uint64_t sequence, answered, beats[BEATS];
    uint64_t lease_us, heartbeat_us, orphan_us, progress_us;
    uint64_t lease_from_us, lease_until_us;
    bool fenced;
    bool attached;    /* Start or Resumed came on this connection */
    uint32_t version; /* of the protocol, on this connection */
    uint64_t cut_us;  /* since when not */

    /* the attempt */
    struct tide_arena start_arena;
    Tide__Start *start; /* kept until the next one */
    uint64_t attempt;   /* 0: none */
    Tide__WorkerPhase phase;
    bool deliver_only;
    bool advancing;     /* to this attempt, which does not run yet */
    uint32_t rewinding; /* tasks that have not dropped what they had */
    uint32_t restoring; /* tasks and external parts that have not answered */
    uint32_t job_check;
    uint64_t told_complete, told_effects, lowest_pending;
    uint64_t subsumed, subsumed_by;   /* highest round out of use, and whose completion said so */
    struct round *rounds[ROUNDS_MAX]; /* ascending */
    uint32_t n_rounds;
    struct round *spare;
    struct decline *declines;
    uint32_t n_declines, cap_declines;
    struct tide_ack_builder batch;
    uint64_t ack_due_us, align_due_us, retry_due_us; /* UINT64_MAX: nothing */
    bool flush_due;                                  /* confirms, ends */

    /* deliveries */
    struct item *queue; /* a ring */
    uint32_t head, n_queue, cap_queue;
    struct shared *given; /* of the delivery handed out last */

    int dead; /* TIDE_EBUG, TIDE_ENOMEM: why nothing works any more */
    char dead_why[96];
};

/* An assertion: false makes the session dead. */
#define must(s, fact) ((fact) ? true : tide_session_dead(s, TIDE_EBUG, #fact, __LINE__))
bool tide_session_dead(struct tide_session *s, int rc, const char *what, int line);

/* ---- session.c */
struct shared *tide_shared_new(struct tide_session *s, struct tide_bytes bytes);
struct shared *tide_shared_ref(struct shared *b);
void tide_shared_unref(struct shared *b);
/* hold (borrowed) is what the views in d point into; may be NULL. */
void tide_session_push(struct tide_session *s, const struct tide_delivery *d, struct shared *hold);
void tide_session_note(struct tide_session *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Drops the queued deliveries for which `drop` says so; it may change the others. */
void tide_session_purge(struct tide_session *s,
                        bool (*drop)(struct tide_session *, struct tide_delivery *));
void tide_session_enter(struct tide_session *s);
/* Gives the connection up; the back-off begins when the shell has closed it. */
void tide_session_close(struct tide_session *s, uint64_t now_us);
void tide_session_end(struct tide_session *s); /* over: nothing more but closing */
void tide_session_detach(struct tide_session *s, uint64_t since_us);
/* True while fenced; fences when the lease has run out. */
bool tide_session_fence(struct tide_session *s, uint64_t now_us);
void tide_session_lease(struct tide_session *s, uint64_t sent_us);
struct stask *tide_session_task(struct tide_session *s, uint32_t number, uint32_t *ret_index);
void tide_session_push_restore(struct tide_session *s, struct stask *t);
void tide_session_one_restored(struct tide_session *s); /* perhaps it was the last */
void tide_session_rewind(struct tide_session *s, struct tide_bytes reason, uint64_t now_us);
static inline uint64_t tide_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}
static inline uint32_t tide_clamp_us(uint64_t us)
{
    return us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}
static inline struct tide_delivery
tide_delivery_of(const struct tide_session *s, const struct stask *t, enum tide_delivery_type type)
{
    return (struct tide_delivery){.type = type, .task = t->number, .attempt = s->attempt};
}
static inline ProtobufCBinaryData tide_pb(struct tide_bytes b)
{
    return (ProtobufCBinaryData){b.len, (uint8_t *)(uintptr_t)b.data};
}
static inline struct tide_bytes tide_of_pb(ProtobufCBinaryData b)
{
    return (struct tide_bytes){b.data, b.len};
}

/* ---- session_send.c: each appends to out when the link is up */
void tide_session_send_hello(struct tide_session *s, uint64_t now_us);
void tide_session_send_join(struct tide_session *s, uint64_t now_us);
void tide_session_send_beat(struct tide_session *s, uint64_t now_us);
void tide_session_send_restored(struct tide_session *s);
void tide_session_send_external(struct tide_session *s, const struct tide_external *e,
                                uint64_t round, struct tide_bytes data, struct tide_bytes failed);
void tide_session_send_restore_failed(struct tide_session *s, uint32_t task,
                                      struct tide_bytes reason);
void tide_session_send_decline(struct tide_session *s, const struct decline *d);
void tide_session_send_advanced(struct tide_session *s);
void tide_session_send_holder_gone(struct tide_session *s);
void tide_session_send_leave(struct tide_session *s, struct tide_bytes reason);
void tide_session_send_acks(struct tide_session *s);
void tide_session_send_confirms(struct tide_session *s);
void tide_session_send_finished(struct tide_session *s);
void tide_session_send_progress(struct tide_session *s, struct round *r);
void tide_session_send_positions(struct tide_session *s, struct round *r); /* those that are due */
void tide_session_send_standing(struct tide_session *s, struct round *r);
/* All that waits and may leave now. */
void tide_session_send_due(struct tide_session *s);
void tide_session_repeat(struct tide_session *s); /* after Resumed */

/* ---- session_round.c */
void tide_rounds_trigger(struct tide_session *s, const Tide__Trigger *m, uint64_t now_us);
void tide_rounds_complete(struct tide_session *s, const Tide__Complete *m, uint64_t now_us);
void tide_rounds_abort(struct tide_session *s, uint64_t number, uint64_t now_us);
void tide_rounds_lowest(struct tide_session *s, uint64_t lowest);
void tide_rounds_clear(struct tide_session *s);
void tide_rounds_free(struct tide_session *s);
void tide_rounds_tick(struct tide_session *s, uint64_t now_us);
uint64_t tide_rounds_deadline(const struct tide_session *s);
/* Delivers the next thing that the task's completed rounds ask for, if anything. */
void tide_rounds_commit_next(struct tide_session *s, struct stask *t, uint64_t now_us);
void tide_rounds_commit_all(struct tide_session *s, uint64_t now_us);
/* Commits that were asked for are asked for again, later: the lease is over. */
void tide_rounds_fenced(struct tide_session *s);

struct round *tide_round_find(struct tide_session *s, uint64_t number);
/* A round begins; NULL when it is known, or over, or cannot be. */
struct round *tide_round_open(struct tide_session *s, uint64_t number, struct tide_bytes directory,
                              uint32_t left_ms, uint64_t now_us);
void tide_round_decline(struct tide_session *s, uint32_t index, uint64_t number,
                        struct tide_bytes reason, uint32_t retry_after_ms);
/* The round did not work out for the task, which has not failed. */
void tide_round_give_up(struct tide_session *s, uint32_t index, uint64_t number,
                        struct tide_bytes reason);

/* ---- session_flow.c */
void tide_flow_trigger(struct tide_session *s, struct round *r, const Tide__Trigger *m,
                       uint64_t now_us);
void tide_flow_turn(struct tide_session *s, uint64_t round, uint64_t now_us);
/* Carries out what the aligner says. at_once: the task has no open channel, a trigger began the
 * round. */
void tide_flow_steps(struct tide_session *s, uint32_t index, bool at_once);
void tide_flow_forward_end(struct tide_session *s, const struct stask *t);
/* The round for which the task stands still came to nothing. */
void tide_flow_go_on(struct tide_session *s, struct stask *t);
/* The task has told its end: a round that waited for it goes on. */
void tide_flow_drained(struct tide_session *s, uint32_t index, uint64_t now_us);
void tide_flow_tick(struct tide_session *s, uint64_t now_us);
void tide_round_snapshot(struct tide_session *s, uint32_t index, uint64_t number,
                         uint64_t align_us);

/* ---- session_share.c: of a task that shares nothing all of it does nothing */
void tide_share_restored(struct tide_session *s, struct stask *t); /* what its Start brought */
void tide_share_acked(struct tide_session *s, struct stask *t, const struct tide_session_ack *ack);
void tide_share_complete(struct tide_session *s, uint64_t number); /* before it is resolved */
void tide_share_abort(struct tide_session *s, uint64_t number);
void tide_share_forget(struct stask *t);
/* The daemon wants full snapshots of these tasks. */
void tide_share_full(struct tide_session *s, struct round *r, size_t n,
                     Tide__TaskRange *const *ranges);

/* ---- session_meet.c: of a session that knows no rendezvous round all of it does nothing */
void tide_meet_prepare(struct tide_session *s, const Tide__Prepare *m, uint64_t now_us);
/* NULL, or how the daemon broke the protocol. */
const char *tide_meet_cut(struct tide_session *s, const Tide__Cut *m);
const char *tide_meet_snapshot_now(struct tide_session *s, const Tide__SnapshotNow *m,
                                   uint64_t now_us);
void tide_meet_resolved(struct tide_session *s); /* a round is over */
void tide_meet_lowest(struct tide_session *s);
void tide_meet_finished(struct tide_session *s, uint32_t index, uint64_t now_us);
void tide_meet_fenced(struct tide_session *s);
void tide_meet_send(struct tide_session *s); /* all that is due */
void tide_meet_repeat(struct tide_session *s, struct round *r);
void tide_meet_tick(struct tide_session *s, uint64_t now_us);
uint64_t tide_meet_deadline(const struct tide_session *s);

/* ---- session_external.c */
const char *tide_externals_wrong(const struct tide_session *s, const Tide__Start *m);
void tide_externals_begin(struct tide_session *s); /* restores or resets them */
void tide_externals_run(struct tide_session *s);
/* NULL, or how the daemon broke the protocol. */
const char *tide_externals_ask(struct tide_session *s, const Tide__AskExternal *m);
void tide_externals_complete(struct tide_session *s, uint64_t round);
void tide_externals_abort(struct tide_session *s, uint64_t round);
void tide_externals_lowest(struct tide_session *s, uint64_t lowest);
void tide_externals_unasked(struct tide_session *s,
                            uint32_t index); /* a restore was not delivered */
void tide_externals_rewind(struct tide_session *s, struct shared *reason);
/* Another region was rewound: hooks are restored, coordinators told of subtasks; NULL, or how the
 * daemon broke the protocol, and nothing has changed. */
const char *tide_externals_advance_wrong(const struct tide_session *s, const Tide__Advance *m);
void tide_externals_advance(struct tide_session *s, const Tide__Advance *m);
void tide_externals_advanced(struct tide_session *s); /* the attempt runs */
void tide_externals_fenced(struct tide_session *s);
void tide_externals_resumed(struct tide_session *s);
void tide_externals_send_restored(struct tide_session *s);
void tide_externals_repeat(struct tide_session *s);
/* The lowest round above `after` that a part was asked for and that is open; UINT64_MAX: none. */
uint64_t tide_externals_open(const struct tide_session *s, uint64_t after);
const struct tide_external *tide_externals_facts(const struct tide_session *s, uint32_t index);
const char *tide_externals_check(const struct tide_session *s);
void tide_externals_free(struct tide_session *s);

/* ---- session_advance.c */
void tide_session_on_advance(struct tide_session *s, struct tide_bytes content, uint64_t now_us);

/* ---- session_recv.c */
void tide_session_broken(struct tide_session *s, const char *what, uint64_t now_us);
bool tide_ranges_fit(const struct tide_session *s, size_t n, Tide__TaskRange *const *ranges);
bool tide_directory_valid(struct tide_bytes d);
void tide_session_receive(struct tide_session *s, struct tide_bytes frame, uint64_t now_us);

#endif
