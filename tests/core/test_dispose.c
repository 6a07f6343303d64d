/* Savepoints that are disposed of while something else happens, each as the trace it leaves. */
#include <stdio.h>

#include "tests/core/lib_play.h"
#include "tests/core/lib_spec.h"

static const struct job_options plain = {
    .sources = 2, .sinks = 1, .deadline_ms = 60000, .retained = 3};
static struct play p;

static uint64_t savepoint(void)
{
    play_ask_savepoint(&p, &(struct ask){0});
    play_settle(&p);
    play_ack_all(&p, 1, p.round, NULL);
    play_settle(&p);
    play_forget(&p);
    return p.round;
}

static void checkpoint(uint64_t session)
{
    play_ask_checkpoint(&p, &(struct ask){0});
    play_settle(&p);
    play_ack_all(&p, session, p.round, NULL);
    play_settle(&p);
    play_confirm(&p, session, p.round, 0, 3);
    play_settle(&p);
    play_forget(&p);
}

static void run(void)
{
    play_running(&p, &plain);
    play_open(&p, ADMIN, TIDE__PEER_KIND__PEER_ADMIN);
}

static void restore(uint64_t snapshot)
{
    Tide__RestoreJob m = TIDE__RESTORE_JOB__INIT;
    m.from_case = TIDE__RESTORE_JOB__FROM_SNAPSHOT;
    m.snapshot = snapshot;
    m.allow_repeat = true;
    play_ask_restore(&p, &m);
}

static void join_and_restore(void)
{
    play_join(&p, 1, &plain, &(struct join_options){.count = 3, .worker = "w", .pid = 10});
    play_settle(&p);
    play_restored(&p, 1, 0, 3);
    play_settle(&p);
    play_forget(&p);
}

static void outcome(uint64_t operation, const char *line)
{
    play_forget(&p);
    play_ask_operation(&p, ADMIN, operation);
    play_expect(&p, line);
}

/* What an order is about to restore stays until that is decided; whoever asked before the order
 * was looked at hears of it later. */
START_TEST(an_order_wants_it)
{
    run();
    uint64_t s = savepoint();
    restore(s);
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "commit: operation=queued audit\nto 100: operation restore queued\n"
                    "publish savepoint-c15c02-1000-1\n");
    play_ask_dispose(&p, &(struct ask){.snapshot = s});
    play_expect(&p, "to 100: error 3: an order that job job goes on from snapshot 2 is being "
                    "carried out\n");
    play_end(&p);

    run();
    s = savepoint();
    play_ask_cancel(&p, &(struct ask){0});
    play_settle(&p);
    play_forget(&p);
    restore(s); /* the job has ended, so it does not need the savepoint ... */
    play_ask_dispose(&p, &(struct ask){.snapshot = s});
    play_expect(&p, "commit: operation=queued audit\ncommit: operation=queued audit\n");
    play_stored(&p, TIDE_STORED); /* ... but the order does, and comes first */
    play_stored(&p, TIDE_STORED);
    uint64_t disposes = p.operation;
    play_settle(&p);
    outcome(disposes, "to 100: operation dispose failed: an order that job job goes on from "
                      "snapshot 2 is being carried out\n");
    play_end(&p);
}
END_TEST

/* An attempt that restores it needs it; once a later round has had its effects nobody does, though
 * the attempt has come from there. */
START_TEST(an_attempt_restores_it)
{
    run();
    checkpoint(1);
    uint64_t s = savepoint();
    restore(s);
    play_settle(&p);
    play_forget(&p);
    play_ask_dispose(&p, &(struct ask){.snapshot = s});
    play_expect(&p, "to 100: error 3: job job goes on from snapshot 4 until a later round with "
                    "effects is complete\n");
    join_and_restore();
    checkpoint(1);
    play_ask_dispose(&p, &(struct ask){.snapshot = s});
    play_settle(&p);
    outcome(p.operation, "to 100: operation dispose done\n");
    play_end(&p);
}
END_TEST

/* Its job is ordered to start afresh: as long as the attempt that had come from the savepoint has
 * not been followed by the next, it stays. */
START_TEST(until_the_next_attempt)
{
    Tide__RestoreJob m = TIDE__RESTORE_JOB__INIT;
    run();
    uint64_t s = savepoint();
    restore(s);
    play_settle(&p);
    join_and_restore();
    m.from_case = TIDE__RESTORE_JOB__FROM_NOTHING;
    m.nothing = true;
    play_ask_restore(&p, &m);
    play_settle(&p);
    play_forget(&p);
    play_ask_dispose(&p, &(struct ask){.snapshot = s});
    play_expect(&p, "to 100: error 3: job job restores snapshot 2\n");
    join_and_restore();
    play_ask_dispose(&p, &(struct ask){.snapshot = s});
    play_settle(&p);
    outcome(p.operation, "to 100: operation dispose done\n");
    play_end(&p);
}
END_TEST

/* Two at once, and one of them twice: each is its own. */
START_TEST(several_at_once)
{
    run();
    uint64_t s = savepoint(), t = savepoint();
    play_ask_dispose(&p, &(struct ask){.snapshot = s, .key = "a"});
    play_ask_dispose(&p, &(struct ask){.snapshot = t, .key = "b"});
    play_ask_dispose(&p, &(struct ask){.snapshot = t, .key = "c"});
    for (int i = 0; i < 3; i++)
        play_stored(&p, TIDE_STORED);
    play_forget(&p);
    play_stored(&p, TIDE_REFUSED); /* the first snapshot stays; its operation alone has failed */
    play_settle(&p);
    PLAY_AMONG(&p, "operation=failed", "delete savepoint-", "snapshot-state=deleted",
               " operation=done operation=done\n");
    play_ask_dispose(&p, &(struct ask){.snapshot = s, .key = "a"});
    play_expect(&p, "to 100: operation dispose failed: it could not be stored: a reason\n");
    play_end(&p);
}
END_TEST

/* The daemon dies when one of two requests for the same savepoint has been carried out: the next
 * one finds nothing left to do. */
START_TEST(it_is_gone_already)
{
    run();
    uint64_t s = savepoint();
    play_ask_dispose(&p, &(struct ask){.snapshot = s, .key = "a"});
    play_ask_dispose(&p, &(struct ask){.snapshot = s, .key = "b"});
    play_settle(&p); /* the end of both rides on some later commit */
    struct shelf_job *j = &p.shelf.jobs[0];
    play_savepoint(&p, ADMIN, "next");
    play_settle(&p);
    struct tide_catalog_operation *last = NULL;
    for (uint32_t i = 0; i < j->n_operations; i++)
        if (j->operations[i].kind == TIDE_OP_DISPOSE) last = &j->operations[i];
    ck_assert_int_eq(last->state, TIDE_OP_DONE);
    last->state = TIDE_OP_QUEUED; /* as if the second had come with the last commit before */
    uint64_t id = last->id;
    play_forget(&p);
    play_crash(&p);
    ck_assert_ptr_null(strstr(p.trace, "delete"));
    ck_assert_ptr_nonnull(strstr(p.trace, "ride: operation=done\n"));
    play_open(&p, ADMIN, TIDE__PEER_KIND__PEER_ADMIN);
    outcome(id, "to 100: operation dispose done\n");
    play_end(&p);
}
END_TEST

/* A request that is not well formed is refused before anything is looked at. */
START_TEST(malformed)
{
    static char long_key[66];
    run();
    uint64_t s = savepoint();
    memset(long_key, 'k', 65);
    play_ask_dispose(&p, &(struct ask){.snapshot = s, .key = long_key});
    play_expect(&p, "to 100: error 2: key (64 bytes), label (255), who (255) or target (2,048) is "
                    "too long or not UTF-8\n");
    play_end(&p);
}
END_TEST

static void order(struct tide_bytes directory)
{
    Tide__RestoreJob m = TIDE__RESTORE_JOB__INIT;
    Tide__Request r = TIDE__REQUEST__INIT;
    m.job = play_bytes("other");
    m.from_case = TIDE__RESTORE_JOB__FROM_DIRECTORY;
    m.directory = (ProtobufCBinaryData){directory.len, (uint8_t *)(uintptr_t)directory.data};
    r.call_case = TIDE__REQUEST__CALL_RESTORE;
    r.restore = &m;
    play_request(&p, ADMIN, &r);
}

static void another_job(void)
{
    struct spec spec;
    spec_read(&spec, "a2 b1; a>b");
    spec.spec.name = play_bytes("other");
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    play_join_spec(&p, 2, &spec.spec, &(struct join_options){.count = 3, .worker = "v", .pid = 11});
    play_settle(&p);
}

/* Another job has what is in the savepoint's directory as a snapshot of its own: it stays until
 * that job has ended, or has disposed of that. */
START_TEST(another_job_goes_on_from_it)
{
    run();
    uint64_t s = savepoint();
    p.elsewhere = shelf_image(&p.shelf, s);
    another_job();
    order(tide_bytes_of("/savepoints/savepoint-c15c02-1000-1"));
    play_settle(&p);
    play_forget(&p);
    play_ask_operation(&p, ADMIN, p.operation);
    ck_assert_msg(strstr(p.trace, "operation restore done"), "%s", p.trace);
    play_forget(&p);
    play_ask_dispose(&p, &(struct ask){.snapshot = s});
    play_expect(&p, "to 100: error 3: job other goes on from what is in its directory\n");
    play_ask_cancel(&p, &(struct ask){.job = "other"});
    play_settle(&p);
    play_ask_dispose(&p, &(struct ask){.snapshot = s});
    play_settle(&p);
    outcome(p.operation, "to 100: operation dispose done\n");
    play_end(&p);
}
END_TEST

/* It is named by a link, and by an order that has only looked at it so far: the directory counts.
 */
START_TEST(another_job_is_about_to)
{
    run();
    p.place = "/disk/savepoint-c15c02-1000-1"; /* /savepoints is a link */
    uint64_t s = savepoint();
    p.elsewhere = shelf_image(&p.shelf, s);
    another_job();
    order(tide_bytes_of("/links/newest"));
    play_stored(&p, TIDE_STORED);
    uint64_t restore = p.operation;
    play_filed(&p, 0);
    play_forget(&p);
    play_ask_dispose(&p, &(struct ask){.snapshot = s});
    play_expect(&p, "to 100: error 3: job other goes on from what is in its directory\n");
    play_settle(&p);
    play_ask_operation(&p, ADMIN, restore);
    ck_assert_msg(strstr(p.trace, "operation restore done"), "%s", p.trace);
    play_forget(&p);
    play_ask_dispose(&p, &(struct ask){.snapshot = s});
    play_expect(&p, "to 100: error 3: job other goes on from what is in its directory\n");
    p.place = NULL;
    play_end(&p);
}
END_TEST

/* It is disposed of while an order looks at it. */
START_TEST(another_job_is_too_late)
{
    run();
    uint64_t s = savepoint();
    p.elsewhere = shelf_image(&p.shelf, s);
    another_job();
    order(tide_bytes_of("/savepoints/savepoint-c15c02-1000-1"));
    play_stored(&p, TIDE_STORED);
    uint64_t restore = p.operation;
    play_ask_dispose(&p, &(struct ask){.snapshot = s});
    play_stored(&p, TIDE_STORED);
    play_filed(&p, 0);
    play_settle(&p);
    play_forget(&p);
    play_ask_operation(&p, ADMIN, restore);
    ck_assert_msg(strstr(p.trace, "is being disposed of"), "%s", p.trace);
    p.elsewhere = (struct tide_bytes){0};
    play_end(&p);
}
END_TEST

static void newborn(uint64_t session)
{
    struct spec spec;
    spec_read(&spec, "a2 b1; a>b");
    spec.spec.name = play_bytes("other");
    spec.spec.restore_from = play_bytes("/savepoints/savepoint-c15c02-1000-1");
    play_open(&p, session, TIDE__PEER_KIND__PEER_WORKER);
    play_join_spec(&p, session, &spec.spec,
                   &(struct join_options){.count = 3, .worker = "v", .pid = 11});
}

/* A new job begins from it, and that is not durable yet; or it is being deleted when the job has
 * looked at it: then there is no such job. */
START_TEST(a_job_is_born_from_it)
{
    run();
    uint64_t s = savepoint();
    p.elsewhere = shelf_image(&p.shelf, s);
    newborn(2);
    play_filed(&p, 0);
    play_forget(&p);
    play_ask_dispose(&p, &(struct ask){.snapshot = s});
    play_expect(&p, "to 100: error 3: job other goes on from what is in its directory\n");
    play_settle(&p);
    play_end(&p);

    run();
    s = savepoint();
    p.elsewhere = shelf_image(&p.shelf, s);
    newborn(2);
    play_ask_dispose(&p, &(struct ask){.snapshot = s});
    play_stored(&p, TIDE_STORED);
    play_forget(&p);
    play_filed(&p, 0);
    play_expect(&p, "to 2: refused: job other cannot begin from restore_from: "
                    "/savepoints/savepoint-c15c02-1000-1: it is being disposed of\nclose 2\n");
    play_stored(&p, TIDE_STORED);
    newborn(3); /* its bytes are there yet, and not for long */
    play_forget(&p);
    play_not_filed(&p, 0, NULL);
    play_settle(&p);
    p.elsewhere = (struct tide_bytes){0};
    play_end(&p);
}
END_TEST

SUITE_MAIN("dispose", a_job_is_born_from_it, another_job_goes_on_from_it, another_job_is_about_to,
           another_job_is_too_late, an_order_wants_it, an_attempt_restores_it,
           until_the_next_attempt, several_at_once, it_is_gone_already, malformed)
