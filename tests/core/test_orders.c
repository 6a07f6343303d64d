/* Promises about what admins order: hold and release, each as the trace that it leaves. */
#include "tests/core/lib_play.h"

static const struct job_options job = {.sources = 2, .sinks = 1, .deadline_ms = 60000};
static const struct join_options whole = {.count = 3, .worker = "w", .pid = 10};

static void running(struct play *p)
{
    play_running(p, &job);
    play_open(p, 100, TIDE__PEER_KIND__PEER_ADMIN);
}

/* Durable with its cause before the order counts as done; the attempt ends, whoever comes with
 * nothing is to try later, and what it held is free. */
START_TEST(held)
{
    static struct play p;
    running(&p);
    play_ask_hold(&p, &(struct ask){.key = "k", .cause = "disk to be changed"});
    play_expect(&p, "commit: operation=queued audit\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "to 100: operation hold queued\n"
                    "ride: attempt-end job-state=WAITING\n"
                    "to 1: rewind attempt 1\n"
                    "commit: job-state=HELD operation=done\n");
    play_join(&p, 1, &job, &whole);
    play_expect(&p, "to 1: refused: job job is held: disk to be changed\nclose 1\n");
    play_ask_operation(&p, 100, p.operation);
    play_expect(&p, "to 100: operation hold running\n");
    play_stored(&p, TIDE_STORED);
    play_ask_operation(&p, 100, p.operation);
    play_expect(&p, "to 100: operation hold done\n");
    ck_assert_int_eq(p.shelf.jobs[0].state, TIDE_JOB_HELD);
    ck_assert(tide_bytes_equal(p.shelf.jobs[0].cause, tide_bytes_of("disk to be changed")));
    play_wait(&p, 20000);
    play_expect(&p, "");
    play_end(&p);
}
END_TEST

/* Whoever waits for the job is told to try later, too. */
START_TEST(held_while_waiting)
{
    static struct play p;
    play_start(&p);
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 1, &job, &(struct join_options){.count = 2, .worker = "w1", .pid = 10});
    play_settle(&p);
    play_forget(&p);
    play_ask_hold(&p, &(struct ask){.key = "k", .cause = ""});
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "commit: operation=queued audit\n"
                    "to 100: operation hold queued\n"
                    "to 1: refused: job job is held: an admin has ordered it\nclose 1\n"
                    "commit: job-state=HELD operation=done\n");
    play_end(&p);
}
END_TEST

/* A hold that the store did not take holds all the same, and is stored as soon as it can be. */
START_TEST(held_without_space)
{
    static struct play p;
    running(&p);
    play_ask_hold(&p, &(struct ask){.key = "k", .cause = "why"});
    play_stored(&p, TIDE_STORED);
    play_forget(&p);
    play_stored(&p, TIDE_NO_SPACE);
    play_expect(&p, "");
    play_wait(&p, 1000);
    play_expect(&p, "commit: job-state=HELD operation=done\n");
    play_stored(&p, TIDE_STORED);
    play_ask_operation(&p, 100, p.operation);
    play_expect(&p, "to 100: operation hold done\n");
    play_end(&p);
}
END_TEST

/* A retry finds the first try's operation, also when it has long been done. */
START_TEST(held_once)
{
    static struct play p;
    running(&p);
    play_ask_hold(&p, &(struct ask){.key = "k", .cause = "why"});
    play_settle(&p);
    play_forget(&p);
    play_ask_hold(&p, &(struct ask){.key = "k", .cause = "why"});
    play_expect(&p, "to 100: operation hold done\n");
    play_ask_hold(&p, &(struct ask){.key = "other", .cause = "why"});
    play_expect(&p, "to 100: error 3: job job is HELD already: why\n");
    play_end(&p);
}
END_TEST

/* A round whose commit is with the store decides how the job goes on: the order waits for it. */
START_TEST(hold_waits_for_a_commit)
{
    static struct play p;
    static const struct job_options periodic = {
        .sources = 2, .sinks = 1, .interval_ms = 100, .deadline_ms = 60000};
    play_running(&p, &periodic);
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_wait(&p, 101);
    for (uint32_t t = 0; t < 3; t++)
        play_ack(&p, 1, 1, p.round, t);
    play_forget(&p);
    play_ask_hold(&p, &(struct ask){.key = "k", .cause = "why"});
    play_expect(&p, "commit: operation=queued audit\n");
    uint64_t commit = p.commits[0];
    p.commits[0] = p.commits[1];
    p.commits[1] = commit;
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "to 100: operation hold queued\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "to 1: complete 1\n"
                    "ride: attempt-end job-state=WAITING\n"
                    "to 1: rewind attempt 1\n"
                    "commit: job-state=HELD operation=done\n");
    play_end(&p);
}
END_TEST

/* Between the order and its outcome the daemon dies: the order is carried out by the next one. */
START_TEST(hold_survives_a_crash)
{
    static struct play p;
    running(&p);
    play_ask_hold(&p, &(struct ask){.key = "k", .cause = "why"});
    play_stored(&p, TIDE_STORED);
    play_crash(&p);
    play_expect(&p, "commit: reserve\n"
                    "ride: attempt-end job-state=WAITING\n"
                    "commit: job-state=HELD operation=done\n");
    play_settle(&p);
    play_forget(&p);
    /* one that is HELD stays so; its last attempt is not adopted */
    play_crash(&p);
    play_expect(&p, "commit: reserve\n");
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_settle(&p);
    play_forget(&p);
    play_ask_job(&p, ADMIN);
    play_expect(&p, "to 100: job HELD, waits for: \n");
    play_end(&p);
}
END_TEST

/* What starts after the release waits for whoever may hold the attempt of before. */
START_TEST(released)
{
    static struct play p;
    running(&p);
    play_ask_hold(&p, &(struct ask){.key = "k", .cause = "why"});
    play_settle(&p);
    play_forget(&p);
    play_ask_release(&p, &(struct ask){0});
    play_expect(&p, "commit: operation=queued audit\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "to 100: operation release queued\n"
                    "commit: job-state=WAITING operation=done\n");
    play_stored(&p, TIDE_STORED);
    play_ask_operation(&p, 100, p.operation);
    play_expect(&p, "to 100: operation release done\n");
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 2, &job, &(struct join_options){.count = 3, .worker = "x", .pid = 11});
    play_expect(&p, "to 2: refused: a task of worker x is hosted by worker w, which is present\n"
                    "close 2\n");
    play_join(&p, 1, &job, &whole);
    play_expect(&p, "to 1: joined\n"
                    "commit: attempt-end attempt job-state=RESTORING\nmkdir a1000-2\n");
    play_end(&p);
}
END_TEST

/* After a restart of the daemon nobody knows that the leases of before are over. */
START_TEST(released_after_a_restart)
{
    static struct play p;
    running(&p);
    play_ask_hold(&p, &(struct ask){.key = "k", .cause = "why"});
    play_settle(&p);
    play_crash(&p);
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_settle(&p);
    play_ask_release(&p, &(struct ask){0});
    play_settle(&p);
    play_forget(&p);
    play_open(&p, 11, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 11, &job, &(struct join_options){.count = 3, .worker = "w", .pid = 12});
    play_expect(&p, "to 11: parked behind w\n");
    play_wait(&p, 11300);
    play_expect(&p, "to 11: joined\ncommit: attempt job-state=RESTORING\nmkdir a2000-2\n");
    play_end(&p);
}
END_TEST

/* A release that could not be stored has not happened. */
START_TEST(release_not_stored)
{
    static struct play p;
    running(&p);
    play_ask_hold(&p, &(struct ask){.key = "k", .cause = "why"});
    play_settle(&p);
    play_ask_release(&p, &(struct ask){0});
    play_stored(&p, TIDE_STORED);
    play_forget(&p);
    play_stored(&p, TIDE_REFUSED);
    play_expect(&p, "ride: operation=failed\n");
    play_ask_job(&p, ADMIN);
    play_expect(&p, "to 100: job HELD, waits for: \n");
    play_ask_release(&p, &(struct ask){0});
    play_settle(&p);
    play_forget(&p);
    play_ask_job(&p, ADMIN);
    play_expect(&p, "to 100: job WAITING, waits for: worker w, which holds attempt 1, to drop it, "
                    "or its lease (11250 ms left)\n");
    play_ask_release(&p, &(struct ask){0});
    play_expect(&p, "to 100: error 3: job job is WAITING, not HELD\n");
    play_end(&p);
}
END_TEST

/* One checkpoint with a commit owed to the sink, and the job held. */
static void held_with_owed(struct play *p)
{
    static const struct job_options periodic = {
        .sources = 2, .sinks = 1, .interval_ms = 100, .deadline_ms = 60000};
    play_running(p, &periodic);
    play_open(p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_wait(p, 101);
    play_ack(p, 1, 1, p->round, 0);
    play_ack(p, 1, 1, p->round, 1);
    play_ack_handle(p, 1, 2, "part");
    play_settle(p);
    play_ask_hold(p, &(struct ask){.key = "k", .cause = "why"});
    play_settle(p);
    play_forget(p);
}

/* What is owed stays owed, and goes out with the next Start ... */
START_TEST(released_with_owed)
{
    static struct play p;
    held_with_owed(&p);
    play_ask_release(&p, &(struct ask){0});
    play_settle(&p);
    ck_assert_uint_eq(p.shelf.jobs[0].n_owed, 1);
    play_forget(&p);
    play_join(&p, 1, &job, &whole);
    play_forget(&p);
    play_end(&p);
}
END_TEST

/* ... unless it is given up, by name. */
START_TEST(released_without_owed)
{
    static struct play p;
    held_with_owed(&p);
    play_ask_release(&p, &(struct ask){.abandon = true});
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "commit: operation=queued audit\n"
                    "to 100: operation release queued\n"
                    "commit: strike audit job-state=WAITING operation=done\n");
    play_stored(&p, TIDE_STORED);
    ck_assert_uint_eq(p.shelf.jobs[0].n_owed, 0);
    play_end(&p);
}
END_TEST

/* What must not be asked for is refused by name, and changes nothing. */
START_TEST(wrong_orders)
{
    static struct play p;
    char long_text[300];
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    running(&p);
    play_ask_release(&p, &(struct ask){0});
    play_expect(&p, "to 100: error 3: job job is RUNNING, not HELD\n");
    play_ask_hold(&p, &(struct ask){.key = "k", .cause = long_text});
    play_expect(&p, "to 100: error 2: key (64 bytes), who (255) or cause (255) is too long or not "
                    "UTF-8\n");
    Tide__HoldJob m = TIDE__HOLD_JOB__INIT;
    Tide__Request r = TIDE__REQUEST__INIT;
    m.job = play_bytes("nobody");
    r.call_case = TIDE__REQUEST__CALL_HOLD;
    r.hold = &m;
    play_request(&p, 100, &r);
    play_expect(&p, "to 100: error 1: there is no job \"nobody\"\n");
    play_end(&p);
}
END_TEST

SUITE_MAIN("orders", held, held_while_waiting, held_without_space, held_once,
           hold_waits_for_a_commit, hold_survives_a_crash, released, released_after_a_restart,
           release_not_stored, released_with_owed, released_without_owed, wrong_orders)
