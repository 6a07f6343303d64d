/* What admins and workers say that is refused, and what is said of what has failed: each as its
 * answer. */
#include <inttypes.h>
#include <stdio.h>

#include "tests/core/lib_play.h"

static const struct job_options plain = {.sources = 2, .sinks = 1, .deadline_ms = 1000};
static struct play p;

static void run(const struct job_options *job)
{
    play_running(&p, job);
    play_open(&p, ADMIN, TIDE__PEER_KIND__PEER_ADMIN);
}

/* ---- orders */

static void order(Tide__HoldJob *m, const char *answer)
{
    Tide__Request r = TIDE__REQUEST__INIT;
    m->job = play_bytes("job");
    r.call_case = TIDE__REQUEST__CALL_HOLD;
    r.hold = m;
    play_request(&p, ADMIN, &r);
    play_expect(&p, answer);
}

/* Each text of an order has its limit, and is text; the whole has one too. */
START_TEST(orders_have_limits)
{
    static const char wrong[] = "to 100: error 2: key (64 bytes), who (255) or cause (255) is too "
                                "long or not UTF-8\n";
    static char letters[300];
    static uint8_t data[20000];
    ProtobufCMessageUnknownField field = {
        .tag = 9000, .wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, .data = data};
    memset(letters, 'x', 299);
    run(&plain);
    order(&(Tide__HoldJob){.base = PROTOBUF_C_MESSAGE_INIT(&tide__hold_job__descriptor),
                           .key = {65, (uint8_t *)letters}},
          wrong);
    order(&(Tide__HoldJob){.base = PROTOBUF_C_MESSAGE_INIT(&tide__hold_job__descriptor),
                           .who = {256, (uint8_t *)letters}},
          wrong);
    order(&(Tide__HoldJob){.base = PROTOBUF_C_MESSAGE_INIT(&tide__hold_job__descriptor),
                           .cause = {256, (uint8_t *)letters}},
          wrong);
    order(&(Tide__HoldJob){.base = PROTOBUF_C_MESSAGE_INIT(&tide__hold_job__descriptor),
                           .who = play_bytes("\xff")},
          wrong);
    order(&(Tide__HoldJob){.base = PROTOBUF_C_MESSAGE_INIT(&tide__hold_job__descriptor),
                           .cause = play_bytes("\xff")},
          wrong);
    const size_t len = 16600;
    data[0] = (uint8_t)(0x80 | (len & 0x7f));
    data[1] = (uint8_t)(0x80 | (len >> 7 & 0x7f));
    data[2] = (uint8_t)(len >> 14);
    field.len = 3 + len;
    Tide__HoldJob m = TIDE__HOLD_JOB__INIT;
    m.base.n_unknown_fields = 1;
    m.base.unknown_fields = &field;
    order(&m, wrong);
    m = (Tide__HoldJob)TIDE__HOLD_JOB__INIT;
    m.key = (ProtobufCBinaryData){64, (uint8_t *)letters};
    m.who = m.cause = (ProtobufCBinaryData){255, (uint8_t *)letters};
    order(&m, "commit: operation=queued audit\n");
    play_end(&p);
}
END_TEST

/* A directory to restore from is a text of a bounded length; without any source there is nothing
 * to restore from. */
START_TEST(restores_say_from_what)
{
    static char letters[3000];
    Tide__RestoreJob m = TIDE__RESTORE_JOB__INIT;
    memset(letters, 'x', 2999);
    run(&plain);
    play_ask_restore(&p, &m);
    play_expect(&p, "to 100: error 2: RestoreJob does not say from what: a snapshot, a directory, "
                    "latest or nothing\n");
    m.from_case = TIDE__RESTORE_JOB__FROM_DIRECTORY;
    m.directory = (ProtobufCBinaryData){2049, (uint8_t *)letters};
    play_ask_restore(&p, &m);
    play_expect(&p, "to 100: error 2: the directory is too long (2,048 bytes) or not UTF-8\n");
    m.directory = play_bytes("/\xff");
    play_ask_restore(&p, &m);
    play_expect(&p, "to 100: error 2: the directory is too long (2,048 bytes) or not UTF-8\n");
    play_end(&p);
}
END_TEST

/* ---- stops */

/* S176: a worker of the first version knows no drain, and would snapshot before its input has
 * ended: the drain is refused, a suspension is not. */
START_TEST(nobody_of_version_1_drains_S176)
{
    play_start(&p);
    play_open(&p, ADMIN, TIDE__PEER_KIND__PEER_ADMIN);
    play_open_version(&p, 1, TIDE__PEER_KIND__PEER_WORKER, 1);
    play_join(&p, 1, &plain, &(struct join_options){.count = 2, .worker = "old", .pid = 10});
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 2, &plain,
              &(struct join_options){.first = 2, .count = 1, .worker = "new", .pid = 11});
    play_settle(&p);
    play_restored(&p, 1, 0, 2);
    play_restored(&p, 2, 2, 1);
    play_settle(&p);
    play_ask_stop(&p, &(struct ask){.drain = true});
    play_settle(&p);
    play_forget(&p);
    play_ask_operation(&p, ADMIN, p.operation);
    play_expect(&p, "to 100: operation stop failed: worker old speaks version 1 of the protocol, "
                    "which knows no drain: suspend the job, or cancel it\n");
    play_ask_stop(&p, &(struct ask){0});
    play_settle(&p);
    PLAY_AMONG(&p, "trigger savepoint", ", suspend\n");
    play_end(&p);
}
END_TEST

/* A stop whose effects nobody carries out names what is owed: five of them, and how many more. */
START_TEST(what_is_owed_is_named)
{
    run(&(struct job_options){.sources = 1, .sinks = 7, .deadline_ms = 1000});
    play_ask_stop(&p, &(struct ask){.checkpoint = true});
    play_settle(&p);
    play_ack(&p, 1, p.attempt, p.round, 0);
    for (uint32_t t = 1; t < 8; t++)
        play_ack_handle(&p, 1, t, "part");
    play_settle(&p);
    play_close(&p, 1);
    play_wait(&p, 11250);
    play_settle(&p);
    play_wait(&p, 600000);
    play_settle(&p);
    play_forget(&p);
    play_ask_operation(&p, ADMIN, p.operation);
    ck_assert_msg(strstr(p.trace, "commits owed: b[0] of round 2, b[1] of round 2, b[2] of round "
                                  "2, b[3] of round 2, b[4] of round 2 and 2 more"),
                  "%s", p.trace);
    play_end(&p);
}
END_TEST

/* A stop that supersedes takes the place of what waits as well as of what is under way. */
START_TEST(what_waits_is_superseded)
{
    run(&plain);
    play_ask_checkpoint(&p, &(struct ask){.key = "a"});
    play_settle(&p);
    play_ask_checkpoint(&p, &(struct ask){.key = "b"});
    play_settle(&p);
    uint64_t waits = p.operation;
    play_ask_stop(&p, &(struct ask){.checkpoint = true, .supersede = true});
    play_settle(&p);
    uint64_t stop = p.operation;
    play_forget(&p);
    play_ask_operation(&p, ADMIN, waits);
    char want[200];
    snprintf(want, sizeof want,
             "to 100: operation checkpoint failed: operation %" PRIu64
             ", which stops the job, took its place\n",
             stop);
    play_expect(&p, want);
    play_end(&p);
}
END_TEST

/* ---- what workers say */

/* A worker that is back with a round open that was completed, and was disposed of since, hears that
 * it is complete. */
START_TEST(an_open_round_that_is_gone)
{
    run(&plain);
    play_ask_savepoint(&p, &(struct ask){0});
    play_settle(&p);
    uint64_t round = p.round;
    play_close(&p, 1); /* it does not hear how it ends ... */
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    struct join_options back = {.count = 3,
                                .worker = "w",
                                .pid = 10,
                                .attempt = 1,
                                .open_round = round,
                                .phase = TIDE__WORKER_PHASE__PHASE_RUNNING};
    play_join(&p, 1, &plain, &back);
    play_ack_all(&p, 1, round, NULL);
    play_close(&p, 1); /* ... though it has acked */
    play_settle(&p);
    play_ask_dispose(&p, &(struct ask){.snapshot = round});
    play_settle(&p);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_forget(&p);
    play_join(&p, 1, &plain, &back);
    char want[200];
    snprintf(want, sizeof want, "to 1: complete %" PRIu64 ", commits nothing\n", round);
    ck_assert_msg(strstr(p.trace, want), "%s", p.trace);
    play_end(&p);
}
END_TEST

SUITE_MAIN("said", orders_have_limits, restores_say_from_what, nobody_of_version_1_drains_S176,
           what_is_owed_is_named, what_waits_is_superseded, an_open_round_that_is_gone)
