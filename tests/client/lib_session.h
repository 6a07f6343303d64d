/* A session under test: a made-up daemon speaks to it in one call per message, and everything that
 * it says or asks for is written into a trace, one line each.
 *
 * The job has a source `a` (task 0, no channel) and `b` (task 1, two channels); this worker hosts
 * both. */
#ifndef TESTS_CLIENT_SESSION_H
#define TESTS_CLIENT_SESSION_H

#include "client/session.h"
#include "proto/frame.h"

#define JOB_ID "0123456789abcdef"

struct bench {
    struct tide_session *s;
    uint64_t now; /* us */
    char trace[65536];
    struct tide_bytes last_join;         /* as sent last; owned */
    uint8_t barrier[TIDE_BARRIER_BYTES]; /* of the last FORWARD */
    uint64_t lowest;                     /* what Trigger says of it; 0: its round */
};

extern struct bench bench;
/* Of jobs opened from here on: not 0: their rounds are rendezvous rounds with this window. */
extern uint32_t bench_window;
/* Of jobs opened from here on: a's coordinator (part 0) and the hook `lock` (part 1) live here too.
 */
extern bool bench_externals;
/* Of jobs opened from here on: a keeps union list state. */
extern bool bench_union;

/* Of jobs opened from here on: regional, with three tasks of an operator `c` in other workers,
 * which has the coordinator in place of a. */
extern bool bench_regional;

void bench_open(void);  /* a new session, not connected */
void bench_close(void); /* frees it, after its own check */
void bench_pump(void);  /* takes all deliveries into the trace */
/* Lets the time come, ticking at every deadline on the way, and pumps. */
void bench_until(uint64_t us);
void bench_say(Tide__ToWorker__MsgCase which, void *message); /* feeds one message, and pumps */

/* The daemon's messages. */
void say_welcome(void);
void say_joined(void); /* lease 3 s, heartbeat 1 s, orphan limit 0.5 s, progress 0.4 s */
void say_alive(uint64_t sequence);
void say_start(uint64_t attempt);
void say_start_message(const Tide__Start *m);
void start_init(Tide__Start *m, Tide__Token *token, uint64_t attempt);
void say_run(uint64_t attempt);
void advance_init(Tide__Advance *m, Tide__Token *token, uint64_t from, uint64_t to);
void say_advance(uint64_t from, uint64_t to, uint64_t snapshot); /* c[1] and c[2] are rewound */
void say_resumed(uint64_t attempt);
void say_trigger(uint64_t attempt, uint64_t round);
void say_trigger_as(uint64_t attempt, uint64_t round, Tide__Alignment alignment,
                    uint32_t aligned_timeout_ms, uint32_t age_ms);
void say_turn(uint64_t attempt, uint64_t round);
void say_complete(uint64_t attempt, uint64_t round, bool commits);
void say_ended(uint64_t attempt, uint64_t round, uint32_t first, uint32_t count);
void say_abort(uint64_t attempt, uint64_t round);
void say_rewind(uint64_t attempt);
/* part: "@a" or "lock"; count 0: it is asked, otherwise so many tasks have acked. */
void say_ask(uint64_t attempt, uint64_t round, const char *part, uint32_t first, uint32_t count);
void say_refused(Tide__RefusedCode code);

/* From nothing to a running attempt 1; the trace is empty then. */
void bench_run(void);
/* The connection breaks and is there again, up to the answer to Join; the trace is kept. */
void bench_reconnect(void);
/* A barrier of this job on a channel of task 1. */
int bench_barrier(uint32_t channel, uint64_t round, uint32_t flags);
int bench_ack(uint32_t task, uint64_t round);

/* Shortcuts that tests share. */
void flush(void); /* the end of a turn */
void cut(void);   /* the connection breaks */
int confirm(uint32_t task, uint64_t round);
void snapshot_both(
    uint64_t round);  /* both tasks up to their snapshots of the round; empties the trace */
void join_once(void); /* a new session, up to Join; empties the trace */

#endif
