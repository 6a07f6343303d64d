/* The history checker: what must always hold of jobs, rounds and snapshots, whoever coordinates
 * them.
 *
 * It consumes a log of what could be seen from outside, at the boundaries: what is durable, what is
 * told, what workers hear, do and publish, what is deleted. It knows the ten sentences of "What
 * must always hold" and nothing of how they are kept; it looks at no object of the daemon, a
 * session, or the simulator, and includes nothing of them. Each finding begins with the number of
 * its sentence.
 *
 * The simulator feeds it while a history runs; test_history.c feeds it logs that break each
 * sentence. */
#ifndef SIM_HISTORY_H
#define SIM_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

/* Times in us, on one clock for all. Jobs are numbered from 0, tasks of a job from 0 to 63, workers
 * (processes, each new one another) from 1. Sets of tasks are bits. */
enum happening_type {
    H_JOB = 1, /* job; tasks; n: at most so long from one snapshot to the next while nothing at all
                  is wrong (0: no promise) */
    /* the daemon */
    H_UP,   /* starts: incarnation */
    H_DOWN, /* dies, or has stopped */
    H_AWAY, /* stands still until n */
    /* what is durable */
    H_ATTEMPT,  /* job, attempt, incarnation, n: external number, round: restored snapshot; tasks */
    H_MEMBER,   /* job, attempt, worker, tasks: of the attempt's membership; n: it goes on as it was
                   started in that earlier attempt (0: it is started) */
    H_ABORTED,  /* job, round; by its deadline: ordered is false, tasks: whom it names as holders;
                   otherwise: ordered; n: 1 if a later one stands for it */
    H_SNAPSHOT, /* job, attempt, round; tasks: whose acks it has; ended: that had ended before; n:
                   that have ended once it is restored (bits, too); savepoint */
    H_DELETING, /* job, round: of its snapshot; ordered: by its user */
    H_DELETED,
    H_ORDERED, /* job, round: an admin has ordered that it goes on from that snapshot (0: afresh) */
    H_HELD,    /* job */
    H_OVER,    /* job: it has ended, one way or the other */
    /* what the daemon does and says */
    H_ROUND,        /* a round is heard of for the first time: job, attempt, round, incarnation, n:
                       its deadline, or 0 while it has none; savepoint */
    H_STEP,         /* job, round: asks for the next thing, of every task, that has a place in it */
    H_HANDED,       /* job, round: its completion is with the store */
    H_REFUSED,      /* job, round: ... which has not taken it */
    H_START,        /* job, attempt: is told to a worker */
    H_RUN,          /* job, attempt: is told to go */
    H_SAY_COMPLETE, /* job, round */
    H_SAY_ABORT,    /* ... or its abort is with the store */
    H_REWIND,       /* job, attempt: is over, somebody is told */
    /* what workers do and hear */
    H_LEASE,   /* worker, n: its lease lasts until then, at least as it must see it */
    H_HOLDS,   /* worker, job, attempt: it restores for it */
    H_DROPS,   /* worker: it holds nothing any more, or is dead */
    H_WRITTEN, /* worker, job, round, task: bytes of that round are where they belong */
    H_ACKED,   /* worker, job, attempt, round, task: the library took the ack */
    H_SAID,    /* worker, job, attempt, round, task: what the round has asked for so far */
    H_HEARD,   /* worker, job, round, task: complete was delivered */
    H_CONFIRMED,
    H_PUBLISHED, /* worker, job, attempt, round, task; n: which effect */
    H_GONE,      /* job, round: what was written for it is deleted */
    H_STUCK,     /* job, round: the disk will never let it go */
    /* the world */
    H_TROUBLE,  /* job: something goes wrong with its workers or between them and the daemon */
    H_WEATHER,  /* the daemon, its store or its files have trouble: that of all jobs */
    H_TICK,     /* now and then: what should have happened by now? */
    H_PUT_BACK, /* an old copy of what is durable is put back: numbers issued since stay issued, all
                   else is as H_KNOWN says */
    H_KNOWN,    /* after that, first the copy's attempts (round 0; n: restored this snapshot), then
                   its snapshots, as H_SNAPSHOT */
    H_FINE,     /* job: no trouble any more; n: it must have a new snapshot by then, or be over */
    H_END /* the log ends, at rest; n: what happened in the last n us may be under way still */
};
#define H_ALL UINT32_MAX

struct happening {
    enum happening_type type;
    uint64_t at;
    uint32_t job, task, worker;
    uint64_t attempt, incarnation, round, n, tasks, ended;
    bool savepoint, ordered;
};

struct history;
struct history *history_new(void); /* NULL: no memory */
void history_free(struct history *h);
void history_begin(struct history *h); /* an empty log; keeps the memory */
/* NULL, or which sentence is broken and how; good until the next call. */
const char *history_add(struct history *h, const struct happening *e);
/* What H_END would find wrong now: NULL, or what is to be waited for. */
const char *history_unsettled(struct history *h, uint32_t job, uint64_t at, uint64_t n);

#endif
