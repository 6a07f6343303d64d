/* What admins may ask, and what they are told when they may not: each as the trace it leaves. */
#include <stdio.h>

#include "tests/core/lib_play.h"

static const struct job_options plain = {.sources = 2, .sinks = 1, .deadline_ms = 1000};
static struct play p;

static void run(void)
{
    play_running(&p, &plain);
    play_open(&p, ADMIN, TIDE__PEER_KIND__PEER_ADMIN);
}

static void told(const char *text)
{
    ck_assert_msg(strstr(p.trace, text), "\"%s\" is not in: %s", text, p.trace);
    play_forget(&p);
}

/* ---- texts and their lengths */

static char long_text[3000];
static const char *of(size_t n)
{
    memset(long_text, 'x', n);
    long_text[n] = '\0';
    long_text[0] = '/';
    return long_text;
}

static void ask(Tide__TriggerSavepoint *m, const char *answer)
{
    Tide__Request r = TIDE__REQUEST__INIT;
    m->job = play_bytes("job");
    r.call_case = TIDE__REQUEST__CALL_SAVEPOINT;
    r.savepoint = m;
    play_request(&p, ADMIN, &r);
    if (p.n_commits) play_stored(&p, TIDE_STORED);
    told(answer);
    play_settle(&p);
    play_forget(&p);
}

/* Each text at its limit is taken, and one byte more is refused, as is what is no text. */
START_TEST(texts_have_limits)
{
    static const char too_long[] = "is too long or not UTF-8";
    static const char taken[] = "operation savepoint ";
    static const struct {
        size_t offset, most;
    } each[] = {{offsetof(Tide__TriggerSavepoint, key), 64},
                {offsetof(Tide__TriggerSavepoint, label), 255},
                {offsetof(Tide__TriggerSavepoint, who), 255},
                {offsetof(Tide__TriggerSavepoint, target), 2048}};
    run();
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        for (size_t more = 0; more < 2; more++) {
            Tide__TriggerSavepoint m = TIDE__TRIGGER_SAVEPOINT__INIT;
            *(ProtobufCBinaryData *)((char *)&m + each[i].offset) =
                play_bytes(of(each[i].most + more));
            ask(&m, more ? too_long : taken);
            play_wait(&p, 1001); /* its round comes to nothing */
            play_settle(&p);
            play_heartbeat(&p, 1);
            play_forget(&p);
        }
        Tide__TriggerSavepoint m = TIDE__TRIGGER_SAVEPOINT__INIT;
        if (i == 0) continue; /* a key is any bytes */
        *(ProtobufCBinaryData *)((char *)&m + each[i].offset) = play_bytes("/\xc0\x80");
        ask(&m, too_long);
    }
    play_end(&p);
}
END_TEST

/* What is kept with an operation is bounded as a whole, whatever it is made of. */
START_TEST(a_request_has_a_limit)
{
    static uint8_t data[20000];
    ProtobufCMessageUnknownField field = {
        .tag = 9000, .wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, .data = data};
    Tide__TriggerSavepoint m = TIDE__TRIGGER_SAVEPOINT__INIT;
    run();
    const size_t len = 16600; /* of the field, in front of it as a varint */
    data[0] = (uint8_t)(0x80 | (len & 0x7f));
    data[1] = (uint8_t)(0x80 | (len >> 7 & 0x7f));
    data[2] = (uint8_t)(len >> 14);
    field.len = 3 + len;
    m.base.n_unknown_fields = 1;
    m.base.unknown_fields = &field;
    ask(&m, "the request has more than 16384 bytes");
    play_end(&p);
}
END_TEST

/* Savepoints do not lie where the daemon cleans, under whatever name it is told. */
START_TEST(targets)
{
    static const struct {
        const char *target, *answer;
    } each[] = {{"here", "the target \"here\" is not an absolute path"},
                {"/state", "the target lies in the directory of checkpoints, /state"},
                {"/state/job", "the target lies in the directory of checkpoints, /state"},
                {"/stateless", "operation savepoint "},
                {"/s", "operation savepoint "}};
    run();
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        Tide__TriggerSavepoint m = TIDE__TRIGGER_SAVEPOINT__INIT;
        m.target = play_bytes(each[i].target);
        ask(&m, each[i].answer);
    }
    play_end(&p);
}
END_TEST

/* S176: a daemon without a directory for savepoints takes them where it is told, and no others; a
 * checkpoint needs none. */
START_TEST(no_place_is_configured_S176)
{
    Tide__TriggerSavepoint m = TIDE__TRIGGER_SAVEPOINT__INIT;
    play_config.savepoint_root = NULL;
    run();
    ask(&m, "no target is given and none is configured ([daemon] savepoints)");
    m.target = play_bytes("/there");
    ask(&m, "operation savepoint ");
    play_ask_stop(&p, &(struct ask){0});
    told("no target is given and none is configured ([daemon] savepoints)");
    play_ask_checkpoint(&p, &(struct ask){0});
    play_stored(&p, TIDE_STORED);
    told("operation checkpoint ");
    play_end(&p);
}
END_TEST

/* ---- who may ask what */

/* An admin of the first version is not taken for one that knows more. */
START_TEST(calls_have_versions)
{
    Tide__Request r = TIDE__REQUEST__INIT;
    Tide__HoldJob m = TIDE__HOLD_JOB__INIT;
    run();
    play_open_version(&p, 101, TIDE__PEER_KIND__PEER_ADMIN, 1);
    play_ask_job(&p, 101);
    told("to 101: job RUNNING");
    m.job = play_bytes("job");
    r.call_case = TIDE__REQUEST__CALL_HOLD;
    r.hold = &m;
    play_request(&p, 101, &r);
    told("close 101\n");
    play_end(&p);
}
END_TEST

/* The host passes on what the core answers itself, and nothing else. */
START_TEST(what_the_core_answers)
{
    static const Tide__Request__CallCase own[] = {
        TIDE__REQUEST__CALL_LIST_JOBS,      TIDE__REQUEST__CALL_SHOW_JOB,
        TIDE__REQUEST__CALL_SAVEPOINT,      TIDE__REQUEST__CALL_CHECKPOINT,
        TIDE__REQUEST__CALL_WAIT,           TIDE__REQUEST__CALL_HOLD,
        TIDE__REQUEST__CALL_RELEASE,        TIDE__REQUEST__CALL_RESTORE,
        TIDE__REQUEST__CALL_STOP,           TIDE__REQUEST__CALL_CANCEL,
        TIDE__REQUEST__CALL_DISPOSE,        TIDE__REQUEST__CALL_IMPORT_SNAPSHOT,
        TIDE__REQUEST__CALL_EXPORT_SNAPSHOT};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        ck_assert(core_answers(own[i]));
    ck_assert(!core_answers(TIDE__REQUEST__CALL_HELLO));
    ck_assert(!core_answers(TIDE__REQUEST__CALL_STATUS));
    ck_assert(!core_answers(TIDE__REQUEST__CALL__NOT_SET));
    Tide__Request r = TIDE__REQUEST__INIT;
    Tide__GetStatus m = TIDE__GET_STATUS__INIT;
    run();
    r.call_case = TIDE__REQUEST__CALL_STATUS;
    r.status = &m;
    play_request(&p, ADMIN, &r);
    told("this call is not supported yet");
    play_end(&p);
}
END_TEST

/* A job is known by its name or by its id in hex; what is neither is said as it was asked. */
START_TEST(a_job_by_its_id)
{
    char id[33], other[33];
    run();
    for (int i = 0; i < 16; i++)
        snprintf(id + 2 * i, 3, "%02x", p.job_id[i]);
    memcpy(other, id, sizeof other);
    other[31] = other[31] == '0' ? '1' : '0';
    play_ask_checkpoint(&p, &(struct ask){.job = id});
    play_stored(&p, TIDE_STORED);
    told("operation checkpoint ");
    play_ask_checkpoint(&p, &(struct ask){.job = other});
    told("there is no job");
    play_ask_checkpoint(&p, &(struct ask){.job = "\xff"});
    told("there is no job \"?\"");
    play_end(&p);
}
END_TEST

/* ---- operations */

/* A cancel that is under way is not asked for twice, and one of a job that has ended not at all. */
START_TEST(one_cancel)
{
    run();
    play_ask_cancel(&p, &(struct ask){.key = "a"});
    play_ask_cancel(&p, &(struct ask){.key = "b"});
    told("is being ");
    play_stored(&p, TIDE_STORED); /* it is asked for: the end goes to the store */
    play_ask_cancel(&p, &(struct ask){.key = "c"});
    told("to 100: error");
    play_settle(&p);
    play_forget(&p);
    play_ask_cancel(&p, &(struct ask){.key = "d"});
    play_expect(&p, "to 100: error 3: job job is CANCELLED\n");
    play_end(&p);
}
END_TEST

/* So many may wait for operations at once; one more is told so. Whoever hangs up waits no more. */
START_TEST(waiters_are_bounded)
{
    Tide__WaitOperation m = TIDE__WAIT_OPERATION__INIT;
    Tide__Request r = TIDE__REQUEST__INIT;
    run();
    play_savepoint(&p, ADMIN, "k");
    play_stored(&p, TIDE_STORED);
    play_open(&p, 101, TIDE__PEER_KIND__PEER_ADMIN);
    m.operation = p.operation;
    m.timeout_ms = 1000;
    r.call_case = TIDE__REQUEST__CALL_WAIT;
    r.wait = &m;
    play_forget(&p);
    int n = 0;
    while (!p.traced && n++ < 100000)
        play_request(&p, n % 2 ? 101 : ADMIN, &r);
    told("requests wait for operations already");
    play_close(&p, 101);
    play_request(&p, ADMIN, &r);
    play_expect(&p, "");
    play_end(&p);
}
END_TEST

static const char *phase_of(uint64_t operation)
{
    play_ask_operation(&p, ADMIN, operation);
    play_forget(&p);
    return p.phase;
}

/* Whoever asks hears how far it is, each step of the way. */
START_TEST(phases_of_a_stop)
{
    run();
    play_ask_stop(&p, &(struct ask){0});
    play_stored(&p, TIDE_STORED);
    uint64_t stop = p.operation;
    ck_assert_str_eq(phase_of(stop), "preparing");
    play_filed(&p, 0);
    ck_assert_str_eq(phase_of(stop), "beginning");
    play_stored(&p, TIDE_STORED);
    ck_assert_str_eq(phase_of(stop), "collecting acks");
    play_ack_all(&p, 1, p.round, "part");
    ck_assert_str_eq(phase_of(stop), "writing metadata");
    play_filed(&p, 0);
    ck_assert_str_eq(phase_of(stop), "committing");
    play_stored(&p, TIDE_STORED);
    ck_assert_str_eq(phase_of(stop), "waiting for effects to be confirmed");
    play_confirm(&p, 1, p.round, 0, 3);
    ck_assert_str_eq(phase_of(stop), "publishing");
    play_filed(&p, 0);
    ck_assert_str_eq(phase_of(stop), "ending the job");
    play_settle(&p);
    ck_assert_str_eq(phase_of(stop), "");
    play_end(&p);
}
END_TEST

/* A round whose acks are there waits while another's commit is with the store, and so does a job
 * whose attempt has ended meanwhile; both are said. */
START_TEST(behind_a_commit)
{
    run();
    play_ask_checkpoint(&p, &(struct ask){.key = "c"});
    play_settle(&p);
    uint64_t first = p.round;
    play_ask_savepoint(&p, &(struct ask){.key = "s"});
    play_settle(&p);
    uint64_t second = p.round, savepoint = p.operation;
    play_ack_all(&p, 1, second, NULL);
    play_filed(&p, 0); /* its commit is with the store */
    play_ack_all(&p, 1, first, NULL);
    ck_assert_str_eq(phase_of(savepoint), "committing");
    play_ask_checkpoint(&p, &(struct ask){.key = "c"});
    ck_assert_str_eq(p.phase, "waiting for another round's commit");
    play_close(&p, 1);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 1, &plain, &(struct join_options){.count = 3, .worker = "w", .pid = 10});
    play_forget(&p);
    play_ask_job(&p, ADMIN);
    char want[100];
    snprintf(want, sizeof want, "job WAITING, waits for: the commit of round %u\n",
             (unsigned)second);
    told(want);
    play_end(&p);
}
END_TEST

/* A job whose last commits are with the store ends as it is: it is cancelled no more, and goes on
 * from nothing else. */
START_TEST(too_late)
{
    Tide__RestoreJob m = TIDE__RESTORE_JOB__INIT;
    run();
    play_finished(&p, 1, 0, 3);
    play_settle(&p);
    play_ack_all(&p, 1, p.round, NULL);
    while (!strstr(p.trace, "job-state=FINISHED"))
        play_stored(&p, TIDE_STORED);
    play_forget(&p);
    play_ask_cancel(&p, &(struct ask){0});
    play_expect(&p, "to 100: error 3: job job is FINISHED\n");
    m.from_case = TIDE__RESTORE_JOB__FROM_NOTHING;
    m.nothing = true;
    play_ask_restore(&p, &m);
    play_expect(&p, "to 100: error 3: job job is ending: its last snapshot is complete\n");
    play_ask_hold(&p, &(struct ask){.key = "h"});
    play_expect(&p, "to 100: error 3: job job is ending: its last snapshot is complete\n");
    play_end(&p);

    run();
    play_ask_cancel(&p, &(struct ask){0});
    play_stored(&p, TIDE_STORED); /* the end is with the store */
    play_forget(&p);
    play_ask_restore(&p, &m);
    play_expect(&p, "to 100: error 3: job job is ending: its last snapshot is complete\n");
    play_end(&p);
}
END_TEST

/* 64 requests wait for a job that does not run; one more is told so, by name. A daemon that stops
 * takes none. */
START_TEST(a_queue_has_a_limit)
{
    play_start(&p);
    play_open(&p, ADMIN, TIDE__PEER_KIND__PEER_ADMIN);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 1, &plain, &(struct join_options){.count = 1, .worker = "w", .pid = 10});
    play_settle(&p);
    for (int i = 0; i < 64; i++) {
        play_ask_checkpoint(&p, &(struct ask){0});
        play_settle(&p);
    }
    play_forget(&p);
    play_ask_checkpoint(&p, &(struct ask){0});
    play_expect(&p, "to 100: error 4: 64 requests are waiting for job job already\n");
    play_wait(&p, 1001); /* they have waited for as long as a round may take */
    play_settle(&p);
    play_forget(&p);
    play_ask_checkpoint(&p, &(struct ask){0});
    play_expect(&p, "commit: operation=queued audit\n");
    play_shutdown(&p);
    play_forget(&p);
    play_ask_checkpoint(&p, &(struct ask){0});
    play_expect(&p, "to 100: error 4: not at this moment: try again\n");
    play_end(&p);
}
END_TEST

SUITE_MAIN("admins", a_queue_has_a_limit, phases_of_a_stop, behind_a_commit, too_late,
           texts_have_limits, a_request_has_a_limit, targets, no_place_is_configured_S176,
           calls_have_versions, what_the_core_answers, a_job_by_its_id, one_cancel,
           waiters_are_bounded)
