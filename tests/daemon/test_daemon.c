/* The whole daemon, as workers and admins meet it: a scripted worker runs rounds, the daemon is
 * killed between any two steps, and the rounds go on. */
#include <check.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/daemon/lib_worker.h"

static char data[64], port_file[80];
static struct child daemon_;
static struct script w;

static void daemon_start(void)
{
    (void)unlink(port_file); /* of the one that was killed */
    child_start(&daemon_, (const char *const[]){"--data", data, "--listen", "127.0.0.1:0", NULL});
}

static void daemon_kill(void)
{
    child_kill(&daemon_, SIGKILL);
    ck_assert_int_eq(child_wait(&daemon_), -SIGKILL);
}

static void daemon_stop(void)
{
    child_kill(&daemon_, SIGTERM);
    ck_assert(peer_closes(w.fd, 10000));
    script_close(&w);
    int code = child_wait(&daemon_);
    ck_assert_msg(code == 0, "it ended with %d and said: %s", code, daemon_.said);
    ck_assert_msg(strstr(daemon_.said, "info  stopped\n") != NULL, "%s", daemon_.said);
}

static void setup(void)
{
    (void)strcpy(data, directory_make());
    (void)snprintf(port_file, sizeof port_file, "%s/port", data);
    memset(&w, 0, sizeof w);
    w.job = "words";
    w.interval_ms = 100;
    w.lease_ms = 5000;
    w.fd = -1;
    daemon_start();
    script_connect(&w, port_of(data));
}

static void teardown(void)
{
    script_release(&w);
    directory_remove(data);
}

/* Killed and started again, with the worker back. */
static enum resolved restart(void)
{
    daemon_kill();
    script_close(&w);
    daemon_start();
    script_connect(&w, port_of(data));
    return script_resume(&w);
}

START_TEST(rounds_complete)
{
    uint64_t last = 0;
    ck_assert_uint_eq(script_begin(&w), 0);
    for (int i = 0; i < 5; i++) {
        uint64_t round = script_round(&w);
        ck_assert_uint_gt(round, last);
        last = round;
    }
    script_heartbeat(&w, 9);
    child_kill(&daemon_, SIGTERM);
    Tide__ToWorker *m = peer_word(w.fd);
    if (m->msg_case == TIDE__TO_WORKER__MSG_TRIGGER) { /* on a busy machine: of the next round */
        tide__to_worker__free_unpacked(m, NULL);
        m = peer_word(w.fd);
    }
    ck_assert_int_eq(m->msg_case, TIDE__TO_WORKER__MSG_ALIVE);
    ck_assert_uint_eq(m->alive->sequence, 9);
    tide__to_worker__free_unpacked(m, NULL);
    /* a round may be under way: it aborts, then Bye, then the end */
    m = peer_word(w.fd);
    while (m && m->msg_case != TIDE__TO_WORKER__MSG_BYE) {
        ck_assert(m->msg_case == TIDE__TO_WORKER__MSG_TRIGGER ||
                  m->msg_case == TIDE__TO_WORKER__MSG_ABORT);
        tide__to_worker__free_unpacked(m, NULL);
        m = peer_word(w.fd);
    }
    ck_assert_ptr_nonnull(m);
    tide__to_worker__free_unpacked(m, NULL);
    ck_assert_ptr_null(peer_word(w.fd));
    script_close(&w);
    ck_assert_int_eq(child_wait(&daemon_), 0);
}
END_TEST

/* whatever the daemon was at when it was killed, the attempt goes on. */
START_TEST(killed_between_rounds)
{
    (void)script_begin(&w);
    uint64_t round = script_round(&w);
    ck_assert_int_eq(restart(), WAS_NONE);
    ck_assert_uint_gt(script_round(&w), round);
    daemon_stop();
}
END_TEST

START_TEST(killed_before_the_ack)
{
    (void)script_begin(&w);
    (void)script_round(&w);
    uint64_t round = script_trigger(&w, NULL, 0);
    ck_assert_int_eq(restart(), WAS_ABORTED);
    ck_assert_uint_gt(script_round(&w), round); /* no number is used twice */
    daemon_stop();
}
END_TEST

START_TEST(killed_after_the_ack)
{
    char directory[4096];
    (void)script_begin(&w);
    uint64_t round = script_trigger(&w, directory, sizeof directory);
    script_ack(&w, round, directory, "x");
    (void)usleep((useconds_t)(_i * 700)); /* around the moment when it is committed */
    enum resolved was = restart();
    ck_assert(was == WAS_COMPLETE || was == WAS_ABORTED);
    if (was == WAS_COMPLETE) script_confirm(&w, round);
    ck_assert_uint_gt(script_round(&w), round);
    daemon_stop();
}
END_TEST

START_TEST(killed_before_the_confirm)
{
    char directory[4096];
    (void)script_begin(&w);
    uint64_t round = script_trigger(&w, directory, sizeof directory);
    script_ack(&w, round, directory, "x");
    script_complete(&w, round);
    enum resolved was = restart();
    ck_assert(was == WAS_NONE);
    ck_assert_uint_eq(w.told_complete, round);
    script_confirm(&w, round);
    ck_assert_uint_gt(script_round(&w), round);
    daemon_stop();
}
END_TEST

START_TEST(killed_before_restored)
{
    script_join(&w);
    tide__to_worker__free_unpacked(script_expect(&w, TIDE__TO_WORKER__MSG_JOINED), NULL);
    tide__start__free_unpacked(script_start(&w), NULL);
    uint64_t attempt = w.token->attempt;
    daemon_kill();
    script_close(&w);
    daemon_start();
    script_connect(&w, port_of(data));
    script_join(&w); /* in phase starting: that attempt is over */
    Tide__ToWorker *m = peer_word(w.fd);
    while (m->msg_case == TIDE__TO_WORKER__MSG_JOINED) {
        tide__to_worker__free_unpacked(m, NULL);
        m = peer_word(w.fd);
    }
    ck_assert_int_eq(m->msg_case, TIDE__TO_WORKER__MSG_REWIND);
    tide__to_worker__free_unpacked(m, NULL);
    script_forget(&w);
    (void)script_begin(&w);
    ck_assert_uint_gt(w.token->attempt, attempt);
    (void)script_round(&w);
    daemon_stop();
}
END_TEST

/* Four kills in a row, the store's numbers only ever rise. */
START_TEST(killed_again_and_again)
{
    uint64_t last = 0;
    (void)script_begin(&w);
    for (int i = 0; i < 4; i++) {
        uint64_t round = script_round(&w);
        ck_assert_uint_gt(round, last);
        last = round;
        ck_assert_int_eq(restart(), WAS_NONE);
    }
    ck_assert_uint_gt(script_round(&w), last);
    daemon_stop();
}
END_TEST

/* A worker that comes anew gets the newest snapshot with its artifacts. */
START_TEST(a_new_worker_restores)
{
    (void)script_begin(&w);
    (void)script_round(&w);
    uint64_t last = script_round(&w), attempt = w.token->attempt;
    script_leave(&w);
    (void)peer_closes(w.fd, 500);
    script_close(&w);
    script_forget(&w);
    w.boot++;
    script_connect(&w, port_of(data));
    script_join(&w);
    tide__to_worker__free_unpacked(script_expect(&w, TIDE__TO_WORKER__MSG_JOINED), NULL);
    Tide__Start *start = script_start(&w);
    ck_assert_uint_eq(start->snapshot, last);
    ck_assert_uint_gt(start->token->attempt, attempt);
    ck_assert_uint_eq(start->n_tasks, 1);
    ck_assert_uint_eq(start->tasks[0]->task, 0);
    ck_assert_uint_eq(start->tasks[0]->n_artifacts, 1);
    ck_assert(TEXT_IS(start->tasks[0]->artifacts[0]->path, "t0-0"));
    char path[4200], bytes[64] = "", want[32];
    (void)snprintf(path, sizeof path, "%.*s/t0-0", (int)start->snapshot_directory.len,
                   (const char *)start->snapshot_directory.data);
    FILE *f = fopen(path, "re");
    ck_assert_ptr_nonnull(f);
    ck_assert_ptr_nonnull(fgets(bytes, sizeof bytes, f));
    (void)fclose(f);
    (void)snprintf(want, sizeof want, "state %llu", (unsigned long long)last);
    ck_assert_str_eq(bytes, want);
    tide__start__free_unpacked(start, NULL);
    script_restored(&w);
    script_run(&w);
    ck_assert_uint_gt(script_round(&w), last);
    daemon_stop();
}
END_TEST

/* The daemon stands still for longer than the lease, while the worker's words pile up in its
 * receive buffer: it reads them all before it declares anyone lost. */
START_TEST(frozen_for_longer_than_the_lease)
{
    w.lease_ms = 3000;
    w.interval_ms = 500;
    (void)script_begin(&w);
    uint64_t attempt = w.token->attempt, round = script_round(&w);
    child_kill(&daemon_, SIGSTOP);
    for (uint64_t i = 1; i <= 8; i++) {
        script_heartbeat(&w, i);
        (void)usleep(500000);
    }
    child_kill(&daemon_, SIGCONT);
    ck_assert_uint_gt(script_round(&w), round);
    ck_assert_uint_eq(w.token->attempt, attempt);
    daemon_stop();
}
END_TEST

/* ---- admins */

static Tide__Response *call(int fd, Tide__Request__CallCase kind, void *content)
{
    static uint64_t id = 100;
    Tide__Request m = TIDE__REQUEST__INIT;
    m.call_case = kind;
    m.list_jobs = content; /* a union of pointers */
    m.id = ++id;
    peer_send(fd, &m.base);
    Tide__Response *answer = peer_answer(fd);
    ck_assert_ptr_nonnull(answer);
    ck_assert_uint_eq(answer->id, id);
    return answer;
}

/* Takes part in all that comes until a savepoint has completed, which may run beside checkpoints;
 * its round. */
static uint64_t until_saved(void)
{
    uint64_t saved = 0, round;
    unsigned open = 0;
    bool complete = false;
    while (!complete || open) {
        char directory[4096];
        Tide__ToWorker *m = peer_word(w.fd);
        ck_assert_msg(m != NULL, "the daemon closed the connection");
        if (m->msg_case == TIDE__TO_WORKER__MSG_TRIGGER) {
            round = m->trigger->round;
            (void)snprintf(directory, sizeof directory, "%.*s", (int)m->trigger->directory.len,
                           (const char *)m->trigger->directory.data);
            if (strstr(directory, "/savepoints/")) saved = round;
            script_ack(&w, round, directory, "saved");
            open++;
        } else if (m->msg_case == TIDE__TO_WORKER__MSG_COMPLETE) {
            round = m->complete->round;
            script_confirm(&w, round);
            if (round > w.told_complete) w.told_complete = round;
            if (round == saved) complete = true;
            open--;
        } else {
            ck_assert_msg(m->msg_case == TIDE__TO_WORKER__MSG_ALIVE, "word %d", (int)m->msg_case);
        }
        tide__to_worker__free_unpacked(m, NULL);
    }
    return saved;
}

/* Asks for a savepoint and takes part in it. */
static uint64_t savepoint(int admin, uint64_t *ret_operation)
{
    Tide__TriggerSavepoint m = TIDE__TRIGGER_SAVEPOINT__INIT;
    Tide__Request request = TIDE__REQUEST__INIT;
    m.job = BYTES_OF("words");
    m.key = BYTES_OF("the key");
    m.who = BYTES_OF("tester");
    request.call_case = TIDE__REQUEST__CALL_SAVEPOINT;
    request.savepoint = &m;
    request.id = 1;
    peer_send(admin, &request.base);
    uint64_t round = until_saved();
    Tide__Response *answer = peer_answer(admin);
    ck_assert_int_eq(answer->result_case, TIDE__RESPONSE__RESULT_OPERATION);
    *ret_operation = answer->operation->id;
    tide__response__free_unpacked(answer, NULL);
    return round;
}

START_TEST(a_savepoint)
{
    char path[4200];
    uint64_t operation;
    int admin = admin_connect(port_of(data));
    (void)script_begin(&w);
    (void)script_round(&w);
    uint64_t round = savepoint(admin, &operation);
    Tide__WaitOperation wait = TIDE__WAIT_OPERATION__INIT;
    wait.operation = operation;
    wait.timeout_ms = 10000;
    Tide__Response *m = call(admin, TIDE__REQUEST__CALL_WAIT, &wait);
    ck_assert_int_eq(m->result_case, TIDE__RESPONSE__RESULT_OPERATION);
    ck_assert_msg(TEXT_IS(m->operation->state, "done"), "%.*s", (int)m->operation->state.len,
                  (const char *)m->operation->state.data);
    ck_assert_uint_eq(m->operation->snapshot, round);
    (void)snprintf(path, sizeof path, "%.*s/_metadata", (int)m->operation->location.len,
                   (const char *)m->operation->location.data);
    ck_assert_msg(access(path, R_OK) == 0, "%s", path);
    tide__response__free_unpacked(m, NULL);
    /* an operation from before a restart is known too, by the core or by the store */
    (void)close(admin);
    (void)restart();
    admin = admin_connect(port_of(data));
    m = call(admin, TIDE__REQUEST__CALL_WAIT, &wait);
    ck_assert_int_eq(m->result_case, TIDE__RESPONSE__RESULT_OPERATION);
    ck_assert(TEXT_IS(m->operation->state, "done"));
    tide__response__free_unpacked(m, NULL);
    wait.operation = 4711;
    m = call(admin, TIDE__REQUEST__CALL_WAIT, &wait);
    ck_assert_int_eq(m->result_case, TIDE__RESPONSE__RESULT_ERROR);
    ck_assert_int_eq(m->error->code, TIDE__ERROR_CODE__ERROR_NOT_FOUND);
    tide__response__free_unpacked(m, NULL);
    (void)close(admin);
    daemon_stop();
}
END_TEST

START_TEST(lists_and_verification)
{
    char path[4200];
    int admin = admin_connect(port_of(data));
    w.interval_ms = 1000;
    (void)script_begin(&w);
    uint64_t round = script_round(&w);
    Tide__ListSnapshots list = TIDE__LIST_SNAPSHOTS__INIT;
    Tide__Response *m = call(admin, TIDE__REQUEST__CALL_SNAPSHOTS, &list);
    ck_assert_int_eq(m->result_case, TIDE__RESPONSE__RESULT_SNAPSHOTS);
    ck_assert_uint_ge(m->snapshots->n_snapshots, 1);
    ck_assert_uint_eq(m->snapshots->snapshots[0]->snapshot, round);
    (void)snprintf(path, sizeof path, "%.*s/t0-0", (int)m->snapshots->snapshots[0]->directory.len,
                   (const char *)m->snapshots->snapshots[0]->directory.data);
    tide__response__free_unpacked(m, NULL);
    Tide__VerifySnapshot verify = TIDE__VERIFY_SNAPSHOT__INIT;
    verify.snapshot = round;
    m = call(admin, TIDE__REQUEST__CALL_VERIFY, &verify);
    ck_assert_msg(m->result_case == TIDE__RESPONSE__RESULT_VERIFIED, "%.*s",
                  (int)m->error->text.len, (const char *)m->error->text.data);
    ck_assert_uint_eq(m->verified->artifacts, 1);
    ck_assert_uint_eq(m->verified->problem_count, 0);
    tide__response__free_unpacked(m, NULL);
    ck_assert_int_eq(truncate(path, 1), 0);
    m = call(admin, TIDE__REQUEST__CALL_VERIFY, &verify);
    ck_assert_int_eq(m->result_case, TIDE__RESPONSE__RESULT_VERIFIED);
    ck_assert_uint_eq(m->verified->problem_count, 1);
    tide__response__free_unpacked(m, NULL);
    Tide__ListJobs jobs = TIDE__LIST_JOBS__INIT;
    m = call(admin, TIDE__REQUEST__CALL_LIST_JOBS, &jobs);
    ck_assert_uint_eq(m->jobs->n_jobs, 1);
    ck_assert(TEXT_IS(m->jobs->jobs[0]->name, "words"));
    ck_assert(TEXT_IS(m->jobs->jobs[0]->state, "RUNNING"));
    tide__response__free_unpacked(m, NULL);
    (void)close(admin);
    daemon_stop();
}
END_TEST

/* Time on a CPU of all threads of the daemon so far, in ns. */
static uint64_t cpu_ns(void)
{
    char pattern[64];
    glob_t found;
    uint64_t sum = 0;
    (void)snprintf(pattern, sizeof pattern, "/proc/%d/task/*/schedstat", (int)daemon_.pid);
    ck_assert_int_eq(glob(pattern, 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        unsigned long long ns = 0;
        FILE *f = fopen(found.gl_pathv[i], "re");
        if (!f) continue; /* a lane's thread that has ended */
        if (fscanf(f, "%llu", &ns) == 1) sum += ns;
        (void)fclose(f);
    }
    globfree(&found);
    return sum;
}

/* With a job at an interval of a second the daemon hardly uses a CPU: it waits, it does not poll.
 */
START_TEST(idle_cost)
{
    w.interval_ms = 1000;
    (void)script_begin(&w);
    (void)script_round(&w);
    uint64_t before = cpu_ns();
    for (int i = 0; i < 4; i++)
        (void)script_round(&w);
    uint64_t used_us = (cpu_ns() - before) / 1000;
    if (getenv("TIDE_TEST_LOG"))
        (void)fprintf(stderr, "us in 4 s: %llu\n", (unsigned long long)used_us);
    /* 0.1 % would be 4 ms; sanitizers and slow machines get some room. A loop that polls uses more.
     */
    ck_assert_uint_le(used_us, 40000);
    daemon_stop();
}
END_TEST

static uint64_t lag_max_us(int fd)
{
    uint64_t turns = 0;
    Tide__Response *m = admin_status(fd);
    for (size_t i = 0; i < m->status->n_loop_lag; i++)
        turns += m->status->loop_lag[i]->count;
    ck_assert_uint_gt(turns, 0);
    uint64_t most = m->status->loop_lag_max_us;
    tide__response__free_unpacked(m, NULL);
    return most;
}

/* A loop that stood still while an alarm was due, here that of the next round, shows it. */
START_TEST(the_lag_counts_from_when_an_alarm_was_due)
{
    w.lease_ms = 120000;
    (void)script_begin(&w);
    (void)script_round(&w);
    int fd = admin_connect(port_of(data));
    uint64_t before, after;
    int tries = 0; /* when we are late, the round has begun and no alarm is due */
    do {
        before = lag_max_us(fd);
        child_kill(&daemon_, SIGSTOP);
        (void)usleep(100000u + 1000000u + (useconds_t)before);
        child_kill(&daemon_, SIGCONT);
        (void)script_round(&w);
        after = lag_max_us(fd);
    } while (after < before + 900000u && ++tries < 8);
    ck_assert_uint_ge(after, before + 900000u);
    (void)close(fd);
    daemon_stop();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("daemon");
    TCase *t = tcase_create("daemon");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, rounds_complete);
    tcase_add_test(t, killed_between_rounds);
    tcase_add_test(t, killed_before_the_ack);
    tcase_add_loop_test(t, killed_after_the_ack, 0, 8);
    tcase_add_test(t, killed_before_the_confirm);
    tcase_add_test(t, killed_before_restored);
    tcase_add_test(t, killed_again_and_again);
    tcase_add_test(t, a_new_worker_restores);
    tcase_add_test(t, frozen_for_longer_than_the_lease);
    tcase_add_test(t, a_savepoint);
    tcase_add_test(t, lists_and_verification);
    tcase_add_test(t, idle_cost);
    tcase_add_test(t, the_lag_counts_from_when_an_alarm_was_due);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
