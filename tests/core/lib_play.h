/* A stage for the core: events go in by short calls, every action comes out as a line of text, so
 * that a test reads as the trace it expects. Commits, files and sends are answered by the test, so
 * that every order can be played. */
#ifndef LIB_PLAY_H
#define LIB_PLAY_H

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/core.h"
#include "proto/ack.h"
#include "proto/frame.h"
#include "proto/worker.pb-c.h"
#include "tests/core/lib_shelf.h"

struct play {
    struct core *core;
    struct actions todo;
    uint64_t now_us, wall_us;
    char trace[65536];
    size_t traced;
    uint64_t commits[256], files[256], loads[64],
        sents[256]; /* tags not answered yet, oldest first */
    size_t n_commits, n_files, n_loads, n_sents;
    struct tide_commit *held, **held_end; /* commits not stored yet, oldest first */
    struct shelf shelf;                   /* what is stored */
    bool rides_lost;                      /* what nobody waits for is not, the store being full */
    uint64_t load_rounds[64];
    enum file_op file_ops[256];
    struct tide_bytes elsewhere; /* borrowed: the _metadata of every directory that is read */
    const char *place;           /* where what is read or made next lies, without links */
    struct tide_catalog catalog;
    struct tide_catalog_incarnation incarnations[2];
    uint8_t *image; /* manifest of the newest stored snapshot */
    size_t image_len;
    uint64_t attempt, incarnation, nonce; /* of the last Start */
    uint8_t job_id[16];
    uint64_t round;     /* of the last Trigger or Prepare */
    uint64_t operation; /* of the last Operation */
    char phase[60];     /* ... and what it was doing */
    uint64_t subsumed;  /* of the last Complete */
    uint64_t requests;
    uint32_t tasks;       /* of the job that was joined last */
    uint32_t shown_acked; /* of the newest round under way, when an admin was last shown the job */
    uint32_t row_acked;   /* in the row of the last round that began or ended */
    struct tide_record_round row; /* that row; what it points to is gone */
    char reason[300];             /* of the last round that aborted, or attempt that ended */
    uint32_t standstills;         /* that were logged */
    bool stopped;
};

/* One operator `a` with `sources` tasks and, if sinks > 0, one `b` fed by all of them. */
struct job_options {
    uint32_t sources, sinks, interval_ms, deadline_ms, retained, lease_ms;
    uint32_t attempts_max;
    uint32_t window;  /* not 0: rendezvous rounds */
    bool coordinator; /* of `a` */
    bool union_state; /* of `a` */
    bool pointwise;   /* from `a` to `b` */
    bool regional;
    const char *hooks;        /* "lock feed"; NULL: none */
    const char *restore_from; /* where it begins when it is new; NULL: afresh */
    bool allow_unmatched;
    uint32_t max_parallelism; /* of `a`; 0: the daemon chooses */
    uint32_t min_pause_ms, max_concurrent, failure_pause_ms, failures_max, backlog_interval_ms,
        deadline_cap_ms, aligned_timeout_ms; /* the last: rounds that turn unaligned then */
    uint32_t retained_hours, retained_age_s, retained_least;
    bool at_least_once;
    bool old; /* its workers speak version 1 */
};

extern struct core_config play_config; /* of every core that is made from then on */
void play_start(struct play *p);
void play_restart(struct play *p, struct tide_catalog *catalog); /* a new core on what is given */
void play_crash(struct play *p); /* a new core on what is stored; what is not is lost */
void play_end(struct play *p);

/* Asserts that exactly these lines came out since the last call, each ended by \n. */
void play_expect(struct play *p, const char *lines);
/* These lines came out in this order, among others; forgets all. */
void play_expect_among(struct play *p, const char *const *lines, size_t n);
#define PLAY_AMONG(p, ...)                                                                         \
    play_expect_among(p, (const char *const[]){__VA_ARGS__},                                       \
                      sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))
void play_forget(struct play *p); /* drops what came out */

void play_open(struct play *p, uint64_t session, Tide__PeerKind kind);
void play_open_old(struct play *p, uint64_t session, Tide__PeerKind kind, uint32_t version);
void play_open_version(struct play *p, uint64_t session, Tide__PeerKind kind, uint32_t version);
void play_close(struct play *p, uint64_t session);
struct join_options {
    uint32_t first, count, split; /* split: told as two ranges, the first of so many tasks */
    const char *worker, *boot;
    uint32_t pid;
    uint64_t attempt, told_complete, open_round; /* attempt 0: with nothing */
    uint64_t lowest_pending;
    const uint8_t *job_id; /* 16 bytes, of its token; NULL: the job's */
    Tide__WorkerPhase phase;
    const char *endpoint;
    const char *externals; /* that it hosts: "@a lock" is a's coordinator and a hook */
};
void play_join(struct play *p, uint64_t session, const struct job_options *job,
               const struct join_options *join);
void play_join_spec(struct play *p, uint64_t session, Tide__JobSpec *spec,
                    const struct join_options *join);
void play_frame(struct play *p, uint64_t session, const Tide__FromWorker *m);
void play_restored(struct play *p, uint64_t session, uint32_t first, uint32_t count);
void play_advanced(struct play *p, uint64_t session, uint64_t attempt);
void play_ack(struct play *p, uint64_t session, uint64_t attempt, uint64_t round, uint32_t task);
/* All tasks of the job, on one worker; handle: of the last task, that it asks to be committed;
 * NULL: none. */
void play_ack_all(struct play *p, uint64_t session, uint64_t round, const char *handle);
void play_ack_frame(struct play *p, uint64_t session,
                    struct tide_ack_builder *b); /* of the round */
void play_ack_handle(struct play *p, uint64_t session, uint32_t task, const char *handle);
void play_decline(struct play *p, uint64_t session, uint32_t task, const char *reason);
void play_confirm(struct play *p, uint64_t session, uint64_t round, uint32_t first, uint32_t count);
void play_finished(struct play *p, uint64_t session, uint32_t first, uint32_t count);
void play_position(struct play *p, uint64_t session, uint32_t task, uint64_t position);
void play_standing(struct play *p, uint64_t session, uint32_t first, uint32_t count);
void play_heartbeat(struct play *p, uint64_t session);
void play_leave(struct play *p, uint64_t session);
void play_backlog(struct play *p, uint64_t session, uint32_t task, bool behind);
/* An external part ("@a", "lock") answers for that round: with data, or with why it could not. */
void play_external(struct play *p, uint64_t session, const char *part, uint64_t round,
                   const char *data, const char *failed);

enum { ADMIN = 100 }; /* the admin's session; what has a smaller number is a worker's */
struct ask {
    const char *key, *target, *cause;
    const char *job; /* NULL: "job" */
    uint64_t snapshot;
    bool commits, native, full, checkpoint, drain, supersede, savepoint, abandon, repeat;
};
void play_ask_savepoint(struct play *p, const struct ask *o);  /* key, target, commits */
void play_ask_checkpoint(struct play *p, const struct ask *o); /* key, full */
void play_ask_stop(struct play *p,
                   const struct ask *o); /* key, target, checkpoint, drain, supersede */
void play_ask_cancel(struct play *p, const struct ask *o);  /* key, savepoint */
void play_ask_export(struct play *p, const struct ask *o);  /* snapshot, target, key */
void play_ask_dispose(struct play *p, const struct ask *o); /* snapshot, key */
void play_ask_hold(struct play *p, const struct ask *o);    /* key, cause */
void play_ask_release(struct play *p, const struct ask *o); /* abandon, repeat */
void play_ask_restore(struct play *p, Tide__RestoreJob *m); /* job and who are filled in */
void play_savepoint(struct play *p, uint64_t session, const char *key);
void play_ask_job(struct play *p, uint64_t session);
void play_ask_operation(struct play *p, uint64_t session, uint64_t operation);
void play_request(struct play *p, uint64_t session, Tide__Request *m); /* with an id of its own */
ProtobufCBinaryData play_bytes(const char *text);

/* ---- the host's answers */

void play_stored(struct play *p, enum tide_outcome outcome); /* answers the oldest commit */
void play_filed(struct play *p, int rc);                     /* answers the oldest file operation */
void play_not_filed(struct play *p, int rc,
                    const char *why); /* ... with a failure in these words */
/* ... that an export is so far, and not at its end */
void play_copied(struct play *p, uint64_t artifact, uint64_t offset, uint64_t bytes);
void play_loaded(struct play *p);             /* answers the oldest load from the last snapshot */
void play_not_loaded(struct play *p, int rc); /* ... with a failure */
void play_sent(struct play *p);
void play_wait(struct play *p, uint64_t ms); /* time passes, timers fire when they are due */
void play_shutdown(struct play *p);
void play_settle(struct play *p); /* answers all that is asked, well, until nothing is */

/* Of the job; valid until the next call. */
const Tide__Gauges *play_gauges(struct play *p);

/* A job of two sources and one sink on one worker, running; interval 0. */
void play_running(struct play *p, const struct job_options *job);
/* The same on two: worker w1 of session 1 has the first tasks, w2 of session 2 the others. */
void play_running_on_two(struct play *p, const struct job_options *job, uint32_t first_has);

/* A test for each row of a table, by its number in _i, and others. */
#define ROWS_MAIN(name, each, n, ...)                                                              \
    int main(void)                                                                                 \
    {                                                                                              \
        const TTest *const others[] = {__VA_ARGS__};                                               \
        Suite *suite = suite_create(name);                                                         \
        TCase *all = tcase_create(name);                                                           \
        tcase_add_loop_test(all, each, 0, (int)(n));                                               \
        for (size_t i = 0; i < sizeof others / sizeof *others; i++)                                \
            tcase_add_test(all, others[i]);                                                        \
        tcase_set_timeout(all, 60);                                                                \
        suite_add_tcase(suite, all);                                                               \
        SRunner *runner = srunner_create(suite);                                                   \
        srunner_run_all(runner, CK_NORMAL);                                                        \
        int failed = srunner_ntests_failed(runner);                                                \
        srunner_free(runner);                                                                      \
        return failed != 0;                                                                        \
    }

#define SUITE_MAIN(name, ...)                                                                      \
    int main(void)                                                                                 \
    {                                                                                              \
        const TTest *const tests[] = {__VA_ARGS__};                                                \
        Suite *suite = suite_create(name);                                                         \
        TCase *all = tcase_create(name);                                                           \
        for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)                                  \
            tcase_add_test(all, tests[i]);                                                         \
        tcase_set_timeout(all, 60);                                                                \
        suite_add_tcase(suite, all);                                                               \
        SRunner *runner = srunner_create(suite);                                                   \
        srunner_run_all(runner, CK_NORMAL);                                                        \
        int failed = srunner_ntests_failed(runner);                                                \
        srunner_free(runner);                                                                      \
        return failed != 0;                                                                        \
    }

#endif
