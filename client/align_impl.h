/* What the files of the aligner share. Nobody else includes this.
 *
 *   align.c            its life, steps, what is known of rounds, the calls, time
 *   align_line.c       barriers that line up: begin, progress, snapshot, give up
 *   align_unaligned.c  announcements, turning, capture, barriers that wait, outputs
 *   align_tracker.c    counted rounds */
#ifndef TIDE_ALIGN_IMPL_H
#define TIDE_ALIGN_IMPL_H

#include "client/align.h"

#define ROUNDS_FEW 8u   /* room at birth: a job has one or two in flight */
#define ROUNDS_MAX 128u /* remembered at most */
#define NO_CHANNEL UINT32_MAX

enum channel_flag { ENDED = 1, BLOCKED = 2, FORCED = 4 };

struct channel {
    uint64_t last;      /* highest round whose barrier came: it has had all live ones up to it */
    uint64_t parked;    /* a barrier that waits until the capture under way is over; 0: none */
    uint64_t announced; /* a barrier that is queued in the channel; 0: none */
    uint8_t flags;
    uint8_t parked_flags;
};

enum state {
    KNOWN,     /* by its trigger, an announcement or advice; no barrier yet */
    ALIGNING,  /* begun, not snapshotted */
    CAPTURING, /* snapshotted at its first barriers; others are awaited */
    SENDING,   /* snapshotted; its barrier waits in outputs that may promote it */
    OVER
};

struct round {
    uint64_t number, deadline_us, switch_us;
    uint64_t trigger_us, start_us, last_us;      /* first barrier, last barrier */
    uint64_t ready_us;                           /* since when only its trigger is missing */
    uint64_t bytes_before, processed, persisted; /* persisted: captured */
    uint32_t missing, forced_missing;            /* open channels without its barrier */
    uint32_t outputs;                            /* in which its barrier waits */
    uint8_t state, mode;
    bool triggered, counted, ready;
    bool unaligned; /* does not wait for barriers, but of forced channels */
    bool passed;    /* was snapshotted before its last barrier */
    bool silent;    /* over; downstream has had its barrier or its cancel marker */
};

struct step {
    uint64_t round;
    const char *reason;
    uint32_t channel;
    uint8_t what, flags;
    bool unaligned, waits;
    bool figures; /* tells those of its round */
};

struct tide_align {
    struct channel *channel;
    uint32_t channels, open, forced; /* forced: open ones among them */
    uint32_t promotable;
    uint32_t n_announced, n_parked;

    uint64_t current;   /* the round that aligns or captures and is not counted; 0: none */
    uint64_t capturing; /* current, if it captures; 0: no */
    uint64_t bytes, persisted;

    uint64_t newest; /* highest round of which a barrier came: older ones that have not begun cannot
                        line up any more */
    uint64_t lowest; /* rounds below are resolved */
    struct round *rounds; /* ascending */
    uint32_t n_rounds, cap_rounds;

    struct step *steps, nowhere; /* nowhere: takes what there is no memory for */
    uint32_t n_steps, cap_steps, next;
    uint64_t now_us;
    int rc; /* no memory: nothing works any more */
};

extern const char tide_align_overtaken[];

/* ---- align.c */
int tide_align_enter(struct tide_align *a, uint64_t now_us);
struct step *tide_align_say(struct tide_align *a, enum tide_align_do what, uint64_t round,
                            uint32_t channel, const char *reason);
/* With the figures of r. */
struct step *tide_align_say_of(struct tide_align *a, enum tide_align_do what,
                               const struct round *r);
struct round *tide_align_find(struct tide_align *a, uint64_t round);
/* NULL: there is no room for one that is older than all; then it counts as resolved. Moves the
 * rounds: pointers to them are dead. */
struct round *tide_align_remember(struct tide_align *a, uint64_t round);
static inline bool tide_align_resolved(const struct tide_align *a, uint64_t round)
{
    return round < a->lowest;
}

/* ---- align_line.c */
static inline bool is_live(const struct round *r)
{
    return r->state == ALIGNING || r->state == CAPTURING;
}
/* A barrier is taken from a channel. */
void tide_align_take(struct tide_align *a, uint32_t channel, struct round *r, uint32_t flags);
/* channel: the one whose barrier begins it, or NO_CHANNEL. */
void tide_align_begin(struct tide_align *a, struct round *r, uint32_t channel);
/* Whatever is ready is snapshotted, or finished; in order of rounds. */
void tide_align_progress(struct tide_align *a);
/* Ends a round under way. keep: a channel that stays blocked. */
void tide_align_give_up(struct tide_align *a, uint64_t round, const char *reason, uint32_t keep);
/* It is over for this task, with its snapshot or without; what waited for that has its turn. */
void tide_align_leave(struct tide_align *a, struct round *r, uint32_t keep);
/* A round that never began here and cannot line up any more. */
void tide_align_skip(struct tide_align *a, struct round *r, const char *reason);
void tide_align_unblock(struct tide_align *a, uint32_t keep);
void tide_align_answer_once(struct tide_align *a, struct round *r);

/* ---- align_unaligned.c */
/* True: the barrier of another round than the one that is captured; it waits, its channel is
 * blocked. */
bool tide_align_park(struct tide_align *a, uint32_t channel, struct round *r, uint32_t flags);
void tide_align_unpark(struct tide_align *a);      /* the capture is over */
void tide_align_unpark_over(struct tide_align *a); /* those whose rounds are over */
void tide_align_forget_announced(struct tide_align *a, uint32_t channel);
/* It does not wait for barriers any more. */
void tide_align_turn_round(struct round *r);
/* Turned by time: if it is such a round and its time has come. */
void tide_align_time(struct tide_align *a, struct round *r);
/* Announced barriers of a round that is captured go ahead; one that is unaligned may begin by its
 * announcements. */
void tide_align_consider(struct tide_align *a);
void tide_align_captured(struct tide_align *a, struct round *r);
void tide_align_tick_outputs(struct tide_align *a, struct round *r);

/* ---- align_tracker.c */
void tide_align_count(struct tide_align *a, struct round *r); /* it is counted from now on */
void tide_align_count_room(struct tide_align *a); /* one more begins: the oldest may have to go */
/* Rounds that the channel has skipped: this one's barrier came, theirs never will. */
void tide_align_skipped_on(struct tide_align *a, uint32_t channel, uint64_t round);
void tide_align_drop_older(struct tide_align *a, uint64_t round);

#endif
