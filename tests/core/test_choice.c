/* Promises about what an admin orders a job to be restored from, each as the trace that it leaves.
 */
#include <stdio.h>

#include "tests/core/lib_restore.h"

static Tide__RestoreJob *order_latest(void)
{
    Tide__RestoreJob *m = order_restore();
    m->from_case = TIDE__RESTORE_JOB__FROM_LATEST;
    m->latest = true;
    return m;
}

static Tide__RestoreJob *order_nothing(void)
{
    Tide__RestoreJob *m = order_restore();
    m->from_case = TIDE__RESTORE_JOB__FROM_NOTHING;
    m->nothing = true;
    return m;
}

/* S130: the attempt ends, and the next one restores what was named, each task its own state. */
START_TEST(latest)
{
    static struct play p;
    order_running(&p);
    play_ask_restore(&p, order_latest());
    play_expect(&p, "commit: operation=queued audit\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "to 100: operation restore queued\nload 3\n");
    play_loaded(&p);
    play_expect(&p, "ride: attempt-end job-state=WAITING\nto 1: rewind attempt 1\n"
                    "commit: base=3 job-state=WAITING operation=done\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "");
    play_ask_operation(&p, 100, p.operation);
    play_expect(&p, "to 100: operation restore done\n"
                    "  from: checkpoint 3 of attempt 1\n"
                    "  a: restored: 2 tasks, 2 artifacts, 200 bytes\n"
                    "  b: restored: 1 tasks, 1 artifacts, 100 bytes\n");
    play_join(&p, 1, &order_job, &order_whole);
    play_expect(&p, "to 1: joined\nload 3\n");
    play_settle(&p);
    play_expect(&p, "commit: attempt-end attempt job-state=RESTORING\nmkdir a1000-2\n"
                    "to 1: start attempt 2 from 3, 3 tasks with state or owed, 0 owed, 0 ended\n");
    play_end(&p);
}
END_TEST

/* An older one would repeat effects: only when that is allowed, and then it is on record. It stays
 * what every attempt restores until a newer round completes. */
START_TEST(older)
{
    static struct play p;
    order_running(&p);
    play_ask_restore(&p, order_from(1));
    order_outcome(&p,
                  "to 100: operation restore failed: rounds up to 3 have had their effects, and "
                  "those after 1 would be repeated: only if that is allowed (--allow-repeat)\n"
                  "  from: checkpoint 1 of attempt 1\n"
                  "  refused: rounds up to 3 have had their effects, and those after 1 would be "
                  "repeated: only if that is allowed (--allow-repeat)\n"
                  "  a: restored: 2 tasks, 2 artifacts, 200 bytes\n"
                  "  b: restored: 1 tasks, 1 artifacts, 100 bytes\n");
    play_ask_restore(&p, order_from(1));
    order.allow_repeat = true;
    play_ask_restore(&p, &order);
    play_stored(&p, TIDE_STORED);
    play_stored(&p, TIDE_STORED);
    play_forget(&p);
    play_loaded(&p);
    play_loaded(&p);
    play_expect(&p, "ride: operation=failed\nload 1\n"
                    "ride: attempt-end job-state=WAITING\nto 1: rewind attempt 1\n"
                    "commit: base=1 audit job-state=WAITING operation=done\n");
    order_back(&p, 1);
    ck_assert_uint_eq(p.shelf.jobs[0].last.restored_from, 1);
    /* lost before it has completed a round: again from there */
    play_close(&p, 1);
    play_wait(&p, 12000);
    order_back(&p, 2);
    ck_assert_uint_eq(p.shelf.jobs[0].last.attempt, 3);
    ck_assert_uint_eq(p.shelf.jobs[0].last.restored_from, 1);
    play_end(&p);
}
END_TEST

/* By its place it is the same as by its number. */
START_TEST(by_directory)
{
    static struct play p;
    char directory[200];
    order_running(&p);
    struct tide_bytes d = p.shelf.jobs[0].snapshots[p.shelf.jobs[0].n_snapshots - 1].directory;
    snprintf(directory, sizeof directory, "%.*s/", (int)d.len, (const char *)d.data);
    play_ask_restore(&p, order_in(directory));
    order.dry_run = true;
    play_ask_restore(&p, &order);
    order_outcome(&p, "to 100: operation restore done\n"
                      "  from: checkpoint 3 of attempt 1\n"
                      "  a: restored: 2 tasks, 2 artifacts, 200 bytes\n"
                      "  b: restored: 1 tasks, 1 artifacts, 100 bytes\n");
    ck_assert_uint_eq(p.shelf.jobs[0].base_snapshot, 3);
    play_end(&p);
}
END_TEST

/* A round that is newer than the order is what the next attempt restores; its parent is what it was
 * restored from. */
START_TEST(until_a_newer_round)
{
    static struct play p;
    order_running(&p);
    play_ask_restore(&p, order_from(1));
    order.allow_repeat = true;
    play_ask_restore(&p, &order);
    play_settle(&p);
    play_ask_restore(&p, &order);
    play_settle(&p);
    order_back(&p, 1);
    play_forget(&p);
    uint64_t n = order_checkpoint(&p);
    const struct shelf_job *j = &p.shelf.jobs[0];
    ck_assert_uint_eq(j->snapshots[j->n_snapshots - 1].round, n);
    ck_assert_uint_eq(j->snapshots[j->n_snapshots - 1].parent, 1);
    play_ask_restore(&p, order_latest());
    play_settle(&p);
    order_back(&p, 1);
    ck_assert_uint_eq(j->last.restored_from, n);
    play_end(&p);
}
END_TEST

START_TEST(nothing)
{
    static struct play p;
    order_running(&p);
    play_ask_restore(&p, order_nothing());
    order_outcome(&p,
                  "to 100: operation restore failed: rounds up to 3 have had their effects, and "
                  "those after 0 would be repeated: only if that is allowed (--allow-repeat)\n"
                  "  from: nothing, the job starts afresh\n"
                  "  refused: rounds up to 3 have had their effects, and those after 0 would be "
                  "repeated: only if that is allowed (--allow-repeat)\n");
    Tide__RestoreJob *m = order_nothing();
    m->allow_repeat = true;
    play_ask_restore(&p, m);
    play_settle(&p);
    play_forget(&p);
    play_join(&p, 1, &order_job, &order_whole);
    play_settle(&p);
    play_expect(&p, "to 1: joined\ncommit: attempt-end attempt job-state=RESTORING\nmkdir a1000-2\n"
                    "to 1: start attempt 2 from 0, 0 tasks with state or owed, 0 owed, 0 ended\n");
    play_end(&p);
}
END_TEST

/* The order outlives the daemon at each of its steps: it is taken up again, or what it chose is
 * known. */
START_TEST(survives_a_crash)
{
    static struct play p;
    for (int step = 0; step < 3; step++) {
        order_running(&p);
        Tide__RestoreJob *m = order_from(2);
        m->allow_repeat = true;
        play_ask_restore(&p, m);
        play_stored(&p, TIDE_STORED);
        if (step > 0) play_loaded(&p);
        if (step > 1) play_stored(&p, TIDE_STORED);
        play_crash(&p);
        play_settle(&p);
        play_wait(&p, 12000); /* the grace, or the lease of whoever held the attempt */
        play_settle(&p);
        play_open(&p, 11, TIDE__PEER_KIND__PEER_WORKER);
        play_join(&p, 11, &order_job, &order_whole);
        play_settle(&p);
        ck_assert_uint_eq(p.shelf.jobs[0].last.attempt, 2);
        ck_assert_uint_eq(p.shelf.jobs[0].last.restored_from, 2);
        play_end(&p);
    }
}
END_TEST

/* A dry run says what would happen, and nothing does. */
START_TEST(dry_run)
{
    static struct play p;
    order_running(&p);
    Tide__RestoreJob *m = order_from(2);
    m->dry_run = m->allow_repeat = true;
    play_ask_restore(&p, m);
    play_stored(&p, TIDE_STORED);
    play_forget(&p);
    play_loaded(&p);
    play_expect(&p, "commit: operation=done\n");
    order_outcome(&p, "to 100: operation restore done\n"
                      "  from: checkpoint 2 of attempt 1\n"
                      "  repeats: the effects of the rounds after 2, up to 3\n"
                      "  a: restored: 2 tasks, 2 artifacts, 200 bytes\n"
                      "  b: restored: 1 tasks, 1 artifacts, 100 bytes\n");
    order_checkpoint(&p); /* the attempt goes on */
    play_end(&p);
}
END_TEST

/* What is owed by rounds that are to be undone would be lost: refused, unless it is given up by
 * name. What is owed by the round that is restored, or before, goes out with the Start. */
START_TEST(owed)
{
    static struct play p;
    order_running(&p);
    while (p.round == 3)
        play_wait(&p, 10);
    play_ack(&p, 1, 1, p.round, 0);
    play_ack(&p, 1, 1, p.round, 1);
    play_ack_handle(&p, 1, 2, "part");
    play_settle(&p);
    uint64_t newest = p.round;
    Tide__RestoreJob *m = order_from(2);
    m->allow_repeat = true;
    play_ask_restore(&p, m);
    order_outcome(
        &p, "to 100: operation restore failed: 1 commits of rounds after 2 are owed and would "
            "be lost: let them be confirmed, or abandon them (--abandon-owed)\n"
            "  from: checkpoint 2 of attempt 1\n"
            "  repeats: the effects of the rounds after 2, up to 4\n"
            "  refused: 1 commits of rounds after 2 are owed and would be lost: let them be "
            "confirmed, or abandon them (--abandon-owed)\n"
            "  a: restored: 2 tasks, 2 artifacts, 200 bytes\n"
            "  b: restored: 1 tasks, 1 artifacts, 100 bytes\n");
    ck_assert_uint_eq(newest, 4);
    play_ask_restore(&p, order_latest());
    play_settle(&p);
    order_back(&p, 1);
    ck_assert_uint_eq(p.shelf.jobs[0].n_owed, 1);
    m = order_from(2);
    m->allow_repeat = m->abandon_owed = true;
    play_ask_restore(&p, m);
    play_stored(&p, TIDE_STORED);
    play_forget(&p);
    play_loaded(&p);
    play_expect(&p, "ride: attempt-end job-state=WAITING\nto 1: rewind attempt 2\n"
                    "commit: base=2 audit strike audit job-state=WAITING operation=done\n");
    play_settle(&p);
    ck_assert_uint_eq(p.shelf.jobs[0].n_owed, 0);
    order_back(&p, 1);
    play_end(&p);
}
END_TEST

/* What was confirmed is not owed again behind the base, though the strike was lost and the daemon
 * dies before the next attempt: it would be carried out by an attempt of an older state. */
START_TEST(confirmed_is_not_owed_again)
{
    static struct play p;
    order_running(&p);
    p.rides_lost = true;
    while (p.round == 3)
        play_wait(&p, 10);
    play_ack(&p, 1, 1, p.round, 0);
    play_ack(&p, 1, 1, p.round, 1);
    play_ack_handle(&p, 1, 2, "part");
    play_settle(&p);
    play_confirm(&p, 1, p.round, 0, 3);
    play_settle(&p);
    ck_assert_uint_eq(p.shelf.jobs[0].n_owed, 1);
    Tide__RestoreJob *m = order_from(2);
    m->allow_repeat = true;
    play_ask_restore(&p, m);
    play_stored(&p, TIDE_STORED);
    play_forget(&p);
    play_loaded(&p);
    play_expect(&p, "ride: attempt-end job-state=WAITING\nto 1: rewind attempt 1\n"
                    "commit: base=2 strike audit job-state=WAITING operation=done\n");
    play_stored(&p, TIDE_STORED);
    ck_assert_uint_eq(p.shelf.jobs[0].n_owed, 0);
    play_crash(&p);
    ck_assert_uint_eq(p.shelf.jobs[0].n_owed, 0);
    play_end(&p);
}
END_TEST

/* While a commit of the job is with the store nothing is chosen. */
START_TEST(waits_for_a_commit)
{
    static struct play p;
    order_running(&p);
    while (p.round == 3)
        play_wait(&p, 10);
    play_ask_restore(&p, order_from(3));
    play_stored(&p, TIDE_STORED);
    for (uint32_t t = 0; t < 3; t++)
        play_ack(&p, 1, 1, p.round, t);
    play_forget(&p);
    play_loaded(&p);
    play_expect(&p, "");
    play_stored(&p, TIDE_STORED); /* round 4 has its effects, and 3 is old now */
    play_expect(&p, "to 1: complete 4\ndelete r1\nride: operation=failed\n");
    play_end(&p);
}
END_TEST

/* A job that has ended begins again, when nobody can believe a lease of before any more. */
START_TEST(reopens)
{
    static struct play p;
    static const struct job_options endless = {.sources = 1, .deadline_ms = 60000};
    play_running(&p, &endless);
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_finished(&p, 1, 0, 1);
    play_ack(&p, 1, 1, p.round, 0);
    play_settle(&p);
    ck_assert_int_eq(p.shelf.jobs[0].state, TIDE_JOB_FINISHED);
    play_ask_restore(&p, order_latest());
    order_outcome(
        &p, "to 100: operation restore failed: operator 'a': every task of the job had ended in "
            "the snapshot: there is nothing to go on with\n"
            "  from: checkpoint 1 of attempt 1\n"
            "  a: restored: 1 tasks, 1 artifacts, 100 bytes, 1 tasks had ended\n"
            "  a: refused: every task of the job had ended in the snapshot: there is nothing "
            "to go on with\n");
    Tide__RestoreJob *m = order_nothing();
    m->allow_repeat = true;
    play_ask_restore(&p, m);
    play_settle(&p);
    ck_assert_int_eq(p.shelf.jobs[0].state, TIDE_JOB_WAITING);
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 2, &endless, &(struct join_options){.count = 1, .worker = "w", .pid = 11});
    play_settle(&p);
    ck_assert_uint_eq(p.shelf.jobs[0].last.attempt, 1);
    play_wait(&p, 6000);
    play_heartbeat(&p, 2);
    play_wait(&p, 6000);
    play_settle(&p);
    ck_assert_uint_eq(p.shelf.jobs[0].last.attempt, 2);
    play_end(&p);
}
END_TEST

/* ... also when the daemon has restarted since: a worker that lives yet, with the attempt of
 * before, is no sign of an old copy (seed 1063843). */
START_TEST(reopens_after_a_restart)
{
    static struct play p;
    static const struct job_options endless = {.sources = 1, .deadline_ms = 60000};
    play_running(&p, &endless);
    play_finished(&p, 1, 0, 1);
    play_ack(&p, 1, 1, p.round, 0);
    play_settle(&p);
    ck_assert_int_eq(p.shelf.jobs[0].state, TIDE_JOB_FINISHED);
    play_crash(&p);
    play_settle(&p);
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    Tide__RestoreJob *m = order_nothing();
    m->allow_repeat = true;
    play_ask_restore(&p, m);
    play_settle(&p);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 1, &endless,
              &(struct join_options){.count = 1,
                                     .worker = "w",
                                     .pid = 10,
                                     .attempt = 1,
                                     .told_complete = 1,
                                     .phase = TIDE__WORKER_PHASE__PHASE_RUNNING});
    play_settle(&p);
    ck_assert_int_eq(p.shelf.jobs[0].state, TIDE_JOB_WAITING);
    play_end(&p);
}
END_TEST

/* The end of the attempt rides, and may be lost where the order is durable: nobody goes on in it
 * (seed 944056). */
START_TEST(ordered_is_not_gone_on_from)
{
    static struct play p;
    order_running(&p);
    p.rides_lost = true;
    Tide__RestoreJob *m = order_from(2);
    m->allow_repeat = true;
    play_ask_restore(&p, m);
    play_settle(&p);
    ck_assert(!p.shelf.jobs[0].last.ended);
    play_crash(&p);
    play_settle(&p);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    struct join_options back_again = order_whole;
    back_again.attempt = 1;
    back_again.told_complete = 3;
    back_again.phase = TIDE__WORKER_PHASE__PHASE_RUNNING;
    play_forget(&p);
    play_join(&p, 1, &order_job, &back_again);
    play_settle(&p);
    ck_assert_ptr_null(strstr(p.trace, "resumed"));
    ck_assert_ptr_nonnull(strstr(p.trace, "rewind attempt 1"));
    play_end(&p);
}
END_TEST

/* S131: without a snapshot there is nothing to restore; what is not there, or not said, is refused
 * by name. */
START_TEST(nothing_there)
{
    static struct play p;
    play_running(&p, &order_job);
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_ask_restore(&p, order_latest());
    order_outcome(&p, "to 100: operation restore failed: job job has no snapshot yet\n");
    play_ask_restore(&p, order_from(77));
    order_outcome(&p, "to 100: operation restore failed: job job has no snapshot 77\n");
    play_ask_restore(&p, order_in("here"));
    play_expect(&p, "to 100: error 2: the directory is not an absolute path\n");
    play_ask_restore(&p, order_in("/no/\xff"));
    play_expect(&p, "to 100: error 2: the directory is too long (2,048 bytes) or not UTF-8\n");
    play_ask_restore(&p, order_restore());
    play_expect(&p, "to 100: error 2: RestoreJob does not say from what: a snapshot, a directory, "
                    "latest or nothing\n");
    play_end(&p);
}
END_TEST

/* A manifest that cannot be read fails the order; the attempt goes on. */
START_TEST(unreadable)
{
    static struct play p;
    order_running(&p);
    play_ask_restore(&p, order_from(3));
    play_stored(&p, TIDE_STORED);
    play_forget(&p);
    play_not_loaded(&p, TIDE_EIO);
    play_expect(&p, "ride: operation=failed\n");
    order_outcome(&p, "to 100: operation restore failed: snapshot 3 cannot be read: a reason\n");
    order_checkpoint(&p);
    play_end(&p);
}
END_TEST

/* Files of a savepoint have gone: an order to restore it fails, as its dry run does, and the
 * attempt that is well goes on. */
START_TEST(savepoint_is_not_whole)
{
    static struct play p;
    order_running(&p);
    play_savepoint(&p, 100, "s");
    play_settle(&p);
    play_ack_all(&p, 1, p.round, NULL);
    play_settle(&p);
    uint64_t savepoint = p.round;
    for (int step = 0; step < 4; step++) {
        Tide__RestoreJob *m = order_from(savepoint);
        m->dry_run = step & 1;
        play_ask_restore(&p, m);
        play_stored(&p, TIDE_STORED);
        ck_assert_uint_eq(p.n_loads, 0);
        if (step & 2) play_filed(&p, 0); /* its _metadata is there */
        play_filed(&p, TIDE_ENOTFOUND);
        ck_assert_uint_eq(p.n_loads, 0);
        play_settle(&p);
        play_forget(&p);
        play_ask_operation(&p, 100, p.operation);
        ck_assert_msg(strstr(p.trace, "restore failed: snapshot 5 cannot be read: "), "%s",
                      p.trace);
    }
    ck_assert_uint_eq(savepoint, 5);
    ck_assert_uint_eq(p.shelf.jobs[0].last.attempt, 1);
    order_checkpoint(&p);
    play_end(&p);
}
END_TEST

/* A store that does not take the order: the next attempt restores what it would have anyway. */
START_TEST(not_stored)
{
    static struct play p;
    order_running(&p);
    Tide__RestoreJob *m = order_from(1);
    m->allow_repeat = true;
    play_ask_restore(&p, m);
    play_stored(&p, TIDE_STORED);
    play_loaded(&p);
    play_stored(&p, TIDE_NO_SPACE);
    order_back(&p, 1);
    ck_assert_uint_eq(p.shelf.jobs[0].last.restored_from, 3);
    ck_assert_uint_eq(p.shelf.jobs[0].base_since, 0);
    play_end(&p);
}
END_TEST

/* A savepoint lets nobody end: who holds its end there has to publish what it pre-committed for it
 * when it is restored (seed 4134). Who is ended by a checkpoint before it stays so. */
START_TEST(ends_of_a_savepoint)
{
    static struct play p;
    for (int by_a_checkpoint = 0; by_a_checkpoint < 2; by_a_checkpoint++) {
        order_running(&p);
        play_finished(&p, 1, 0, 2);
        if (by_a_checkpoint) order_checkpoint(&p);
        play_savepoint(&p, 100, "k");
        play_settle(&p);
        play_wait(&p, 0);
        uint64_t savepoint = p.round;
        for (uint32_t t = 0; t < 3; t++)
            play_ack(&p, 1, p.attempt, savepoint, t);
        play_settle(&p);
        play_forget(&p);
        play_ask_restore(&p, order_from(savepoint));
        play_settle(&p);
        play_join(&p, 1, &order_job, &order_whole);
        play_settle(&p);
        ck_assert_msg(strstr(p.trace, by_a_checkpoint ? ", 1 ended\n" : ", 0 ended\n"), "%s",
                      p.trace);
        play_end(&p);
    }
}
END_TEST

SUITE_MAIN("choice", ends_of_a_savepoint, latest, older, by_directory, until_a_newer_round, nothing,
           survives_a_crash, dry_run, owed, confirmed_is_not_owed_again, waits_for_a_commit,
           reopens, reopens_after_a_restart, ordered_is_not_gone_on_from, nothing_there, unreadable,
           savepoint_is_not_whole, not_stored)
