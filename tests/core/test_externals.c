/* Promises about coordinators and hooks, each as the trace it leaves. */
#include <stdio.h>

#include "tests/core/lib_play.h"

static const struct job_options with_both = {.sources = 2,
                                             .sinks = 1,
                                             .interval_ms = 100,
                                             .deadline_ms = 1000,
                                             .coordinator = true,
                                             .hooks = "lock"};

/* Its coordinator and hook live in worker 1, which hosts all tasks. */
static void running_with(struct play *p, const struct job_options *job, const char *externals)
{
    play_start(p);
    play_open(p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(p, 1, job,
              &(struct join_options){.count = 3, .worker = "w", .pid = 10, .externals = externals});
    play_settle(p);
    play_restored(p, 1, 0, 3);
    play_external(p, 1, "@a", 0, NULL, NULL);
    play_external(p, 1, "lock", 0, NULL, NULL);
    play_settle(p);
    play_forget(p);
}

static void running(struct play *p)
{
    running_with(p, &with_both, "@a lock");
}

static void ack_all(struct play *p)
{
    for (uint32_t t = 0; t < 3; t++)
        play_ack(p, 1, p->attempt, p->round, t);
}

/* A job waits until each of its parts is hosted; it runs once each has its state. */
START_TEST(waits_for_its_parts)
{
    static struct play p;
    play_start(&p);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 1, &with_both,
              &(struct join_options){.count = 2, .worker = "w1", .pid = 10, .externals = "@a"});
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 2, &with_both,
              &(struct join_options){.first = 2, .count = 1, .worker = "w2", .pid = 11});
    play_settle(&p);
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_forget(&p);
    play_ask_job(&p, 100);
    play_expect(&p, "to 100: job WAITING, waits for: a worker that hosts hook 'lock'\n");
    play_close(&p, 2);
    play_open(&p, 3, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 3, &with_both,
              &(struct join_options){
                  .first = 2, .count = 1, .worker = "w3", .pid = 12, .externals = "lock"});
    play_settle(&p);
    play_expect(&p, "to 3: joined\ncommit: attempt job-state=RESTORING\nmkdir a1000-1\n"
                    "to 3: start attempt 1 from 0, 0 tasks with state or owed, 0 owed, 0 ended\n"
                    "to 1: start attempt 1 from 0, 0 tasks with state or owed, 0 owed, 0 ended\n");
    play_restored(&p, 1, 0, 2);
    play_restored(&p, 3, 2, 1);
    play_external(&p, 1, "@a", 0, NULL, NULL);
    play_expect(&p, "");
    play_ask_job(&p, 100);
    play_expect(&p, "to 100: job RESTORING, waits for: hook 'lock' to restore\n");
    play_external(&p, 3, "lock", 0, NULL, NULL);
    play_expect(&p, "commit: attempt-run job-state=RUNNING\n");
    play_settle(&p);
    play_expect(&p, "to 3,1: run\n");
    play_end(&p);
}
END_TEST

/* S145: a part that the job has not, one that is named twice, and one that another hosts. */
START_TEST(joins_are_refused_by_name_S145)
{
    static struct play p;
    play_start(&p);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 1, &with_both,
              &(struct join_options){.count = 2, .worker = "w1", .pid = 10, .externals = "@b"});
    play_expect(&p, "commit: job lease\nto 1: refused: Join names the coordinator of 'b', which "
                    "the job does not have\nclose 1\n");
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    play_join(
        &p, 2, &with_both,
        &(struct join_options){.count = 2, .worker = "w1", .pid = 10, .externals = "lock lock"});
    play_expect(&p, "to 2: refused: Join names hook 'lock' twice\nclose 2\n");
    play_open(&p, 3, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 3, &with_both,
              &(struct join_options){.count = 2, .worker = "w1", .pid = 10, .externals = "lock"});
    play_settle(&p);
    play_forget(&p);
    play_open(&p, 4, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 4, &with_both,
              &(struct join_options){
                  .first = 2, .count = 1, .worker = "w2", .pid = 11, .externals = "@a lock"});
    play_expect(&p, "to 4: refused: hook 'lock' of worker w2 is hosted by worker w1, which is "
                    "present\nclose 4\n");
    play_end(&p);
}
END_TEST

/* Coordinators first, then hooks, then the barriers: so no coordinator knows more than its tasks.
 */
START_TEST(coordinators_hooks_barriers)
{
    static struct play p;
    running(&p);
    play_wait(&p, 100);
    play_expect(&p, "ride: round-begin\nto 1: ask @a 1\n");
    play_external(&p, 1, "lock", 1, "early", NULL); /* nobody has asked it */
    play_expect(&p, "");
    play_external(&p, 1, "@a", 1, "7", NULL);
    play_expect(&p, "to 1: ask lock 1\n");
    play_external(&p, 1, "@a", 1, "8", NULL); /* said again: the first counts */
    play_expect(&p, "");
    play_external(&p, 1, "lock", 1, NULL, NULL);
    play_expect(&p, "to 1: trigger checkpoint 1\n");
    play_ack(&p, 1, 1, 1, 0);
    play_ack(&p, 1, 1, 1, 2);
    play_expect(&p, "");
    play_wait(&p, 0);
    play_expect(&p, "to 1: acked @a 1 0+1\n");
    play_ack(&p, 1, 1, 1, 1);
    play_expect(&p, "commit: round-end=complete snapshot\n");
    play_wait(&p, 0);
    play_expect(&p, "to 1: acked @a 1 1+1\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "to 1: complete 1\n");
    play_end(&p);
}
END_TEST

/* S59: completion needs tasks, coordinators and hooks; of these only who gave data has any when the
 * snapshot is restored, S143: who has none is reset. */
START_TEST(data_comes_back_S59_S143)
{
    static struct play p;
    running(&p);
    play_wait(&p, 100);
    play_external(&p, 1, "@a", 1, "7", NULL);
    play_external(&p, 1, "lock", 1, NULL, NULL);
    ack_all(&p);
    play_settle(&p);
    play_close(&p, 1);
    play_wait(&p, 12000);
    play_settle(&p);
    play_forget(&p);
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 2, &with_both,
              &(struct join_options){.count = 3, .worker = "w", .pid = 11, .externals = "lock @a"});
    play_settle(&p);
    play_expect(&p,
                "to 2: joined\nload 1\ncommit: attempt-end attempt job-state=RESTORING\n"
                "mkdir a1000-2\nto 2: start attempt 2 from 1, 3 tasks with state or owed, 0 owed, "
                "0 ended, @a=7\n");
    play_end(&p);
}
END_TEST

/* S146: a hook that fails at a trigger aborts its round alone, and is named; S61: what had been
 * collected goes with it, and the next round asks anew. */
START_TEST(a_failing_hook_aborts_S61_S146)
{
    static struct play p;
    running(&p);
    play_wait(&p, 100);
    play_external(&p, 1, "@a", 1, "7", NULL);
    play_forget(&p);
    play_external(&p, 1, "lock", 1, NULL, "no lock");
    play_expect(&p, "commit: round-end=aborted[lock.2 has not answered]\nto 1: abort 1 code 12\n");
    ck_assert_str_eq(p.reason, "hook 'lock' failed: no lock");
    play_settle(&p);
    play_forget(&p);
    play_external(&p, 1, "lock", 1, "late", NULL);
    play_expect(&p, "");
    play_wait(&p, 100);
    play_expect(&p, "ride: round-begin\nto 1: ask @a 2\n");
    play_external(&p, 1, "@a", 2, "8", NULL);
    play_external(&p, 1, "lock", 2, "held", NULL);
    ack_all(&p);
    play_settle(&p);
    play_forget(&p);
    play_end(&p);
}
END_TEST

/* S146: one that fails to restore fails the attempt; a coordinator that cannot go on ends it. */
START_TEST(a_failing_restore_ends_the_attempt_S146)
{
    static struct play p;
    play_start(&p);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 1, &with_both,
              &(struct join_options){.count = 3, .worker = "w", .pid = 10, .externals = "@a lock"});
    play_settle(&p);
    play_restored(&p, 1, 0, 3);
    play_external(&p, 1, "@a", 0, NULL, NULL);
    play_forget(&p);
    play_external(&p, 1, "lock", 0, NULL, "damaged");
    play_expect(&p, "ride: attempt-end job-state=WAITING\nto 1: rewind attempt 1\n");
    ck_assert_str_eq(p.reason, "hook 'lock' could not restore: damaged");
    play_end(&p);
    running(&p);
    play_external(&p, 1, "@a", 0, NULL, "an event is lost");
    play_expect(&p, "ride: attempt-end job-state=WAITING\nto 1: rewind attempt 1\n");
    ck_assert_str_eq(p.reason, "the coordinator of 'a' cannot go on: an event is lost");
    play_external(&p, 1, "@a", 0, NULL, "an event is lost"); /* reported once */
    play_expect(&p, "");
    play_end(&p);
}
END_TEST

/* S23, S25: a hook that hangs is named when the deadline comes; the queue goes on, and when it
 * answers at last no task is triggered. */
START_TEST(a_hanging_hook_is_named_S23_S25)
{
    static struct play p;
    running(&p);
    play_wait(&p, 100);
    play_external(&p, 1, "@a", 1, NULL, NULL);
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_savepoint(&p, 100, "k");
    play_settle(&p);
    play_wait(&p, 500);
    play_ask_operation(&p, 100, p.operation);
    play_forget(&p);
    for (int i = 0; i < 5; i++) {
        play_wait(&p, 100);
        play_heartbeat(&p, 1);
    }
    play_settle(&p);
    ck_assert_ptr_nonnull(
        strstr(p.trace, "round-end=aborted[lock.2 has not answered]\nto 1: abort 1 code 1\n"));
    ck_assert_str_eq(p.reason, "hook 'lock' had not answered by the deadline of 1000 ms");
    ck_assert_ptr_nonnull(strstr(p.trace, "to 1: ask @a 3\n")); /* the savepoint's turn */
    play_forget(&p);
    play_external(&p, 1, "lock", 1, NULL, NULL);
    play_expect(&p, "");
    play_end(&p);
}
END_TEST

/* S62: tasks that ack before they were triggered: the round completes as soon as the last part has
 * answered; coordinators had before. */
START_TEST(early_acks_count_S62)
{
    static struct play p;
    running(&p);
    play_wait(&p, 100);
    play_external(&p, 1, "@a", 1, "7", NULL);
    ack_all(&p);
    play_forget(&p);
    play_external(&p, 1, "lock", 1, NULL, NULL);
    play_expect(&p, "to 1: trigger checkpoint 1\ncommit: round-end=complete snapshot\n");
    play_stored(&p, TIDE_STORED);
    play_wait(&p, 0);
    play_expect(&p, "to 1: complete 1\n");
    play_end(&p);
}
END_TEST

/* S76: a round that is aborted while its parts are being asked asks no further one. */
START_TEST(an_aborted_round_asks_nobody_S76)
{
    static struct play p;
    struct job_options job = with_both;
    job.interval_ms = 0;
    running_with(&p, &job, "@a lock");
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_savepoint(&p, 100, "k");
    play_stored(&p, TIDE_STORED); /* the operation */
    play_filed(&p, 0);            /* its directory */
    play_forget(&p);
    play_stored(&p, TIDE_REFUSED); /* its intent */
    ck_assert_ptr_nonnull(strstr(p.trace, "to 1: abort"));
    ck_assert_ptr_null(strstr(p.trace, "ask"));
    play_end(&p);

    running(&p);
    play_wait(&p, 100);
    play_forget(&p);
    play_shutdown(&p);
    ck_assert_ptr_nonnull(strstr(p.trace, "to 1: abort 1 code 7\n"));
    play_forget(&p);
    play_external(&p, 1, "@a", 1, "7", NULL);
    play_expect(&p, "");
    play_end(&p);
}
END_TEST

/* A worker that is away is asked again when it is back, and told again who has acked; when its
 * lease is over it is lost, and the part with it. */
START_TEST(asked_again_after_a_reconnect)
{
    static struct play p;
    running(&p);
    play_wait(&p, 100);
    play_close(&p, 1);
    play_forget(&p);
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    struct join_options back = {.count = 3,
                                .worker = "w",
                                .pid = 10,
                                .attempt = p.attempt,
                                .phase = TIDE__WORKER_PHASE__PHASE_RUNNING,
                                .externals = "lock @a"};
    play_join(&p, 2, &with_both, &back);
    play_expect(&p, "to 2: joined\nto 2: resumed attempt 1\nto 2: run\nto 2: ask @a 1\n");
    play_external(&p, 2, "@a", 1, "7", NULL);
    play_external(&p, 2, "lock", 1, NULL, NULL);
    play_ack(&p, 2, 1, 1, 0);
    play_wait(&p, 0);
    play_close(&p, 2);
    play_forget(&p);
    play_open(&p, 3, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 3, &with_both, &back);
    play_wait(&p, 0);
    play_expect(&p, "to 3: joined\nto 3: resumed attempt 1\nto 3: run\n"
                    "to 3: trigger checkpoint 1\nto 3: acked @a 1 0+1\n");
    back.externals = "@a";
    play_close(&p, 3);
    play_open(&p, 4, TIDE__PEER_KIND__PEER_WORKER);
    play_forget(&p);
    play_join(&p, 4, &with_both, &back); /* it cannot have lost one of them */
    play_expect(&p, "to 4: rewind attempt 1\n");
    play_end(&p);
}
END_TEST

/* What an answer may not say. */
START_TEST(malformed_answers_are_refused)
{
    static struct play p;
    running_with(&p, &with_both, "@a lock");
    play_external(&p, 1, "feed", 1, NULL, NULL);
    play_expect(&p, "to 1: refused: ExternalAnswer names a part that this worker does not host\n"
                    "close 1\n");
    play_end(&p);
    running(&p);
    Tide__ExternalAnswer m = TIDE__EXTERNAL_ANSWER__INIT;
    Tide__FromWorker message = TIDE__FROM_WORKER__INIT;
    message.msg_case = TIDE__FROM_WORKER__MSG_EXTERNAL;
    message.external = &m;
    play_frame(&p, 1, &message);
    play_expect(&p, "to 1: refused: ExternalAnswer names no external part\nclose 1\n");
    play_end(&p);
    running(&p);
    static char big[(1 << 20) + 2];
    memset(big, 'x', sizeof big - 1);
    play_external(&p, 1, "lock", 1, big, NULL);
    play_expect(&p, "to 1: refused: ExternalAnswer has more than 1 MiB of data\nclose 1\n");
    play_end(&p);
    running(&p);
    play_external(&p, 1, "lock", 1, NULL, "\xff");
    play_expect(&p, "to 1: refused: ExternalAnswer has a reason that is not UTF-8 without NUL\n"
                    "close 1\n");
    play_end(&p);
}
END_TEST

/* All of them together may give 16 MiB, and not a byte more: 15 hooks and a coordinator that give
 * all they may, and then a hook that gives a byte. */
START_TEST(sixteen_mib_in_all)
{
    static struct play p;
    static char big[(1 << 20) + 1];
    struct job_options job = with_both;
    char hooks[128] = "", externals[160] = "@a", name[8];
    for (int i = 0; i < 16; i++)
        snprintf(hooks + strlen(hooks), sizeof hooks - strlen(hooks), "%sh%02d", i ? " " : "", i);
    snprintf(externals, sizeof externals, "@a %s", hooks);
    job.hooks = hooks;
    memset(big, 'x', sizeof big - 1);
    for (int one_more = 0; one_more < 2; one_more++) {
        play_start(&p);
        play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
        play_join(
            &p, 1, &job,
            &(struct join_options){.count = 3, .worker = "w", .pid = 10, .externals = externals});
        play_settle(&p);
        play_restored(&p, 1, 0, 3);
        play_external(&p, 1, "@a", 0, NULL, NULL);
        for (int i = 0; i < 16; i++) {
            snprintf(name, sizeof name, "h%02d", i);
            play_external(&p, 1, name, 0, NULL, NULL);
        }
        play_settle(&p);
        play_wait(&p, 100);
        play_external(&p, 1, "@a", 1, big, NULL);
        for (int i = 0; i < 15; i++) {
            snprintf(name, sizeof name, "h%02d", i);
            play_external(&p, 1, name, 1, big, NULL);
        }
        play_forget(&p);
        play_external(&p, 1, "h15", 1, one_more ? "x" : NULL, NULL);
        if (one_more)
            play_expect(&p, "commit: round-end=aborted\nto 1: abort 1 code 12\n");
        else
            play_expect(&p, "to 1: trigger checkpoint 1\n");
        if (one_more)
            ck_assert_str_eq(p.reason, "its coordinators and hooks gave more than 16 MiB in all");
        play_end(&p);
    }
}
END_TEST

/* A rendezvous asks them first, too: nobody is to be stopped for what a hook still has to do. An
 * answer that fails aborts it before any task has heard of it, and who has acked is told in between
 * as in any round. */
START_TEST(a_rendezvous_asks_them_first)
{
    static struct play p;
    struct job_options job = with_both;
    job.window = 2;
    running_with(&p, &job, "@a lock");
    play_wait(&p, 100);
    play_expect(&p, "ride: round-begin\nto 1: ask @a 1\n");
    play_position(&p, 1, 0, 7); /* nobody has asked for that */
    play_external(&p, 1, "@a", 1, "7", NULL);
    play_expect(&p, "to 1: ask lock 1\n");
    play_external(&p, 1, "lock", 1, NULL, "locked");
    play_expect(&p, "commit: round-end=aborted[lock.2 has not answered]\nto 1: abort 1 code 12\n");
    ck_assert_str_eq(p.reason, "hook 'lock' failed: locked");
    play_settle(&p);
    play_forget(&p);
    play_wait(&p, 100);
    play_external(&p, 1, "@a", 2, "8", NULL);
    play_external(&p, 1, "lock", 2, "tag", NULL);
    play_expect(&p, "ride: round-begin\nto 1: ask @a 2\nto 1: ask lock 2\n"
                    "to 1: prepare checkpoint 2 window 2\n");
    for (uint32_t t = 0; t < 3; t++)
        play_position(&p, 1, t, 7);
    play_standing(&p, 1, 0, 3);
    play_expect(&p, "to 1: cut 2 at 9\nto 1: snapshot now 2\n");
    play_ack(&p, 1, 1, 2, 0);
    play_wait(&p, 0);
    play_expect(&p, "to 1: acked @a 2 0+1\n");
    play_ack(&p, 1, 1, 2, 1);
    play_ack(&p, 1, 1, 2, 2);
    play_settle(&p);
    play_close(&p, 1);
    play_wait(&p, 12000);
    play_settle(&p);
    play_forget(&p);
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 2, &job,
              &(struct join_options){.count = 3, .worker = "w", .pid = 11, .externals = "@a lock"});
    play_settle(&p);
    ck_assert_ptr_nonnull(strstr(p.trace, "@a=8"));
    ck_assert_ptr_nonnull(strstr(p.trace, "lock=tag"));
    play_end(&p);
}
END_TEST

SUITE_MAIN("externals", waits_for_its_parts, joins_are_refused_by_name_S145,
           coordinators_hooks_barriers, data_comes_back_S59_S143, a_failing_hook_aborts_S61_S146,
           a_failing_restore_ends_the_attempt_S146, a_hanging_hook_is_named_S23_S25,
           early_acks_count_S62, an_aborted_round_asks_nobody_S76, asked_again_after_a_reconnect,
           malformed_answers_are_refused, sixteen_mib_in_all, a_rendezvous_asks_them_first)
