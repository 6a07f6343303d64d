/* Promises about snapshots of which the store knows nothing: taken by another daemon, moved, or
 * copied; each as the trace that it leaves. */
#include <stdio.h>

#include "storage/manifest.h"
#include "tests/core/lib_restore.h"

static void ask(struct play *p, Tide__RestoreJob *m)
{
    Tide__Request r = TIDE__REQUEST__INIT;
    r.call_case = TIDE__REQUEST__CALL_RESTORE;
    r.restore = m;
    play_request(p, 100, &r);
}

static void import(struct play *p, const char *directory, bool dry_run)
{
    Tide__ImportSnapshot m = TIDE__IMPORT_SNAPSHOT__INIT;
    Tide__Request r = TIDE__REQUEST__INIT;
    m.job = play_bytes("job");
    m.directory = play_bytes(directory);
    m.label = play_bytes("from there");
    m.dry_run = dry_run;
    r.call_case = TIDE__REQUEST__CALL_IMPORT_SNAPSHOT;
    r.import_snapshot = &m;
    play_request(p, 100, &r);
}

static void dispose(struct play *p, uint64_t snapshot)
{
    Tide__DisposeSnapshot m = TIDE__DISPOSE_SNAPSHOT__INIT;
    Tide__Request r = TIDE__REQUEST__INIT;
    m.snapshot = snapshot;
    r.call_case = TIDE__REQUEST__CALL_DISPOSE;
    r.dispose = &m;
    play_request(p, 100, &r);
}

/* S149: a snapshot that was moved is read in its new place, becomes known under a number of its
 * own, and is restored from there; the next checkpoint leans on nothing of it, those after it may.
 */
START_TEST(moved)
{
    static struct play p;
    order_running(&p);
    ask(&p, order_in("/backup/s/"));
    play_expect(&p, "commit: operation=queued audit\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "to 100: operation restore queued\nread s\n");
    play_filed(&p, 0);
    play_expect(&p, "ride: attempt-end job-state=WAITING\nto 1: rewind attempt 1\n"
                    "commit: snapshot=5 imported from /backup/s base=5 job-state=WAITING "
                    "operation=done\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "");
    play_ask_operation(&p, 100, p.operation);
    play_expect(&p, "to 100: operation restore done\n"
                    "  from: checkpoint 3 of 'job', in /backup/s\n"
                    "  a: restored: 2 tasks, 2 artifacts, 200 bytes\n"
                    "  b: restored: 1 tasks, 1 artifacts, 100 bytes\n");
    play_join(&p, 1, &order_job, &order_whole);
    play_expect(&p, "to 1: joined\nread s\n");
    play_filed(&p, 0);
    play_expect(&p, "load 5\n");
    play_settle(&p);
    play_expect(&p, "commit: attempt-end attempt job-state=RESTORING\nmkdir a1000-2\n"
                    "to 1: start attempt 2 from 5, 3 tasks with state or owed, 0 owed, 0 ended\n");
    const struct shelf_job *j = &p.shelf.jobs[0];
    const struct tide_catalog_snapshot *s = &j->snapshots[j->n_snapshots - 1];
    ck_assert(s->imported && !s->commits && s->attempt == 0 && s->parent == 3);
    ck_assert(tide_bytes_equal(s->directory, tide_bytes_of("/backup/s")));
    ck_assert(tide_bytes_equal(shelf_image(&p.shelf, 5), p.elsewhere));
    play_restored(&p, 1, 0, 3);
    play_settle(&p);
    play_forget(&p);
    while (p.round == 3)
        play_wait(&p, 10);
    play_expect(&p, "ride: round-begin\nto 1: trigger checkpoint 6, full\n");
    for (uint32_t t = 0; t < 3; t++)
        play_ack(&p, 1, 2, 6, t);
    play_settle(&p);
    play_confirm(&p, 1, 6, 0, 3);
    play_settle(&p);
    play_forget(&p);
    ck_assert_uint_eq(j->snapshots[j->n_snapshots - 1].parent, 5);
    while (p.round == 6)
        play_wait(&p, 10);
    play_expect(&p, "ride: round-begin\nto 1: trigger checkpoint 7\n");
    play_end(&p);
}
END_TEST

/* S40: a round that aborts does not count: the next one is full again, also after the daemon has
 * died. A savepoint that completes does not count either. S41: one that an admin asks for is full
 * as well. */
START_TEST(full_until_one_is_complete)
{
    static struct play p;
    order_running(&p);
    ask(&p, order_in("/backup/s"));
    play_settle(&p);
    order_back(&p, 1);
    play_forget(&p);
    while (p.round == 3)
        play_wait(&p, 10);
    play_expect(&p, "ride: round-begin\nto 1: trigger checkpoint 6, full\n");
    play_decline(&p, 1, 0, "not now");
    play_settle(&p);
    play_forget(&p);
    play_savepoint(&p, 100, "key");
    play_stored(&p, TIDE_STORED);
    play_settle(&p);
    uint64_t savepoint = p.round;
    for (uint32_t t = 0; t < 3; t++)
        play_ack(&p, 1, 2, savepoint, t);
    play_settle(&p);
    play_crash(&p);
    play_settle(&p);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 1, &order_job,
              &(struct join_options){.count = 3,
                                     .worker = "w",
                                     .pid = 10,
                                     .attempt = 2,
                                     .phase = TIDE__WORKER_PHASE__PHASE_RUNNING});
    play_settle(&p);
    play_forget(&p);
    uint64_t before = p.round;
    while (p.round == before)
        play_wait(&p, 10);
    char line[100];
    snprintf(line, sizeof line, "ride: round-begin\nto 1: trigger checkpoint %d, full\n",
             (int)p.round);
    play_expect(&p, line);
    play_decline(&p, 1, 0, "not now");
    play_settle(&p);
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    Tide__TriggerCheckpoint m = TIDE__TRIGGER_CHECKPOINT__INIT;
    Tide__Request r = TIDE__REQUEST__INIT;
    m.job = play_bytes("job");
    r.call_case = TIDE__REQUEST__CALL_CHECKPOINT;
    r.checkpoint = &m;
    play_request(&p, 100, &r);
    play_forget(&p);
    play_stored(&p, TIDE_STORED);
    ck_assert_ptr_nonnull(strstr(p.trace, ", full\n"));
    play_end(&p);
}
END_TEST

/* What another store has taken undoes all effects of this job: only when that is allowed. A dry run
 * leaves nothing. */
START_TEST(of_another_store)
{
    static struct play p;
    struct tide_bytes image = image_foreign(0);
    order_running(&p);
    p.elsewhere = image;
    ask(&p, order_in("/backup/s"));
    order_outcome(&p,
                  "to 100: operation restore failed: rounds up to 3 have had their effects, and "
                  "those after 0 would be repeated: only if that is allowed (--allow-repeat)\n"
                  "  from: checkpoint 3 of 'job', in /backup/s\n"
                  "  refused: rounds up to 3 have had their effects, and those after 0 would be "
                  "repeated: only if that is allowed (--allow-repeat)\n"
                  "  a: restored: 2 tasks, 2 artifacts, 200 bytes\n"
                  "  b: restored: 1 tasks, 1 artifacts, 100 bytes\n");
    order_in("/backup/s");
    order.allow_repeat = order.dry_run = true;
    ask(&p, &order);
    order_outcome(&p, "to 100: operation restore done\n"
                      "  from: checkpoint 3 of 'job', in /backup/s\n"
                      "  repeats: the effects of the rounds after 0, up to 3\n"
                      "  a: restored: 2 tasks, 2 artifacts, 200 bytes\n"
                      "  b: restored: 1 tasks, 1 artifacts, 100 bytes\n");
    ck_assert_uint_eq(p.shelf.jobs[0].n_snapshots, 3);
    order_in("/backup/s");
    order.allow_repeat = true;
    ask(&p, &order);
    play_settle(&p);
    ck_assert_uint_eq(p.shelf.jobs[0].n_snapshots, 4);
    ck_assert_uint_eq(p.shelf.jobs[0].snapshots[3].parent, 0);
    order_back(&p, 1);
    ck_assert_uint_eq(p.shelf.jobs[0].last.restored_from, p.shelf.jobs[0].base_snapshot);
    image_drop(&p);
}
END_TEST

/* S140: state that no operator of the job wants is refused by name, or left out when that is
 * allowed, and stays left out. */
START_TEST(unmatched)
{
    static struct play p;
    struct tide_bytes image = image_foreign(OTHER_UID);
    order_running(&p);
    p.elsewhere = image;
    order_in("/backup/s");
    order.allow_repeat = true;
    ask(&p, &order);
    order_outcome(
        &p,
        "to 100: operation restore failed: operator 'c': the job has no such operator, and "
        "the state of 1 tasks would be lost unless unmatched state is allowed (--allow-unmatched)\n"
        "  from: checkpoint 3 of 'job', in /backup/s\n"
        "  repeats: the effects of the rounds after 0, up to 3\n"
        "  a: restored: 2 tasks, 2 artifacts, 200 bytes\n"
        "  b: new: it starts without state\n"
        "  c: refused: the job has no such operator, and the state of 1 tasks would be "
        "lost unless unmatched state is allowed (--allow-unmatched)\n");
    order_in("/backup/s");
    order.allow_repeat = order.allow_unmatched = true;
    ask(&p, &order);
    play_settle(&p);
    play_crash(&p);
    play_settle(&p);
    play_wait(&p, 12000);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 1, &order_job, &order_whole);
    play_settle(&p);
    ck_assert_ptr_nonnull(strstr(p.trace, "from 6, 2 tasks with state or owed, 0 owed, 0 ended\n"));
    image_drop(&p);
}
END_TEST

/* S134: key groups are cut by the max parallelism: another one that the job says is refused; one
 * that it leaves open is the snapshot's from then on, and stands in the snapshots that follow. */
START_TEST(max_parallelism)
{
    static const struct job_options strict = {.sources = 2,
                                              .sinks = 1,
                                              .interval_ms = 100,
                                              .restore_from = "/backup/s",
                                              .max_parallelism = 128};
    static struct play p;
    struct tide_bytes image = image_foreign(OTHER_MAX);
    play_start(&p);
    p.elsewhere = image;
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 1, &strict, &order_whole);
    play_filed(&p, 0);
    play_expect(&p, "read s\n"
                    "to 1: refused: job job cannot begin from restore_from: /backup/s: operator "
                    "'a': the snapshot has max parallelism 512, the job 128\nclose 1\n");
    struct job_options open = strict;
    open.max_parallelism = 0;
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 2, &open, &order_whole);
    play_settle(&p);
    ck_assert_ptr_nonnull(strstr(p.trace, "from 1, 3 tasks with state"));
    ck_assert_ptr_nonnull(strstr(p.trace, ", a cut in 512\n"));
    play_restored(&p, 2, 0, 3);
    play_crash(&p);
    play_settle(&p);
    play_wait(&p, 12000);
    play_open(&p, 3, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 3, &open, &order_whole);
    play_settle(&p);
    play_restored(&p, 3, 0, 3);
    play_settle(&p);
    uint64_t before = p.round;
    while (p.round == before)
        play_wait(&p, 10);
    for (uint32_t t = 0; t < 3; t++)
        play_ack(&p, 3, p.attempt, p.round, t);
    play_settle(&p);
    struct tide_manifest m;
    char why[256];
    ck_assert_int_eq(tide_manifest_open(&m, shelf_image(&p.shelf, p.round), why), 0);
    ck_assert_uint_eq(m.head->spec->operators[0]->max_parallelism, 512);
    ck_assert_uint_eq(m.head->spec->operators[1]->max_parallelism, 0);
    tide_manifest_close(&m);
    image_drop(&p);
}
END_TEST

/* S152: what had ended in the snapshot would be fed again: refused. */
START_TEST(ended_and_fed)
{
    static struct play p;
    struct tide_bytes image = image_foreign(ENDED_SINK | NO_EDGE);
    order_running(&p);
    p.elsewhere = image;
    order_in("/backup/s");
    order.allow_repeat = true;
    ask(&p, &order);
    order_outcome(
        &p, "to 100: operation restore failed: operator 'b': it had ended in the snapshot, and "
            "'a', which feeds it, had not\n"
            "  from: checkpoint 3 of 'job', in /backup/s\n"
            "  repeats: the effects of the rounds after 0, up to 3\n"
            "  a: restored: 2 tasks, 2 artifacts, 200 bytes\n"
            "  b: restored: 1 tasks, 1 artifacts, 100 bytes, 1 tasks had ended\n"
            "  b: refused: it had ended in the snapshot, and 'a', which feeds it, had not\n");
    image_drop(&p);
}
END_TEST

/* What cannot be read, is damaged, or is not there fails the order with the file's name; the
 * attempt goes on. */
START_TEST(unreadable)
{
    static struct play p;
    order_running(&p);
    ask(&p, order_in("/backup/s"));
    play_stored(&p, TIDE_STORED);
    play_forget(&p);
    play_not_filed(&p, TIDE_ECORRUPT, "/backup/s/t1-0: has 3 bytes instead of 100");
    play_expect(&p, "ride: operation=failed\n");
    order_outcome(&p,
                  "to 100: operation restore failed: /backup/s/t1-0: has 3 bytes instead of 100\n");
    ask(&p, order_in("/backup/s"));
    play_stored(&p, TIDE_STORED);
    p.elsewhere.len--;
    play_filed(&p, 0);
    play_settle(&p);
    play_forget(&p);
    play_ask_operation(&p, 100, p.operation);
    ck_assert_ptr_nonnull(
        strstr(p.trace, "restore failed: /backup/s/_metadata: the manifest is 299 bytes long"));
    order_checkpoint(&p);
    ck_assert_uint_eq(p.shelf.jobs[0].last.attempt, 1);
    play_end(&p);
}
END_TEST

/* Moved once more before it is restored: the job is HELD, since nothing else may take its place. */
START_TEST(gone_again)
{
    static struct play p;
    order_running(&p);
    ask(&p, order_in("/backup/s"));
    play_settle(&p);
    play_forget(&p);
    play_join(&p, 1, &order_job, &order_whole);
    play_not_filed(&p, TIDE_ENOTFOUND, "/backup/s: cannot be opened: No such file or directory");
    play_expect(&p, "to 1: joined\nread s\ncommit: job-state=HELD\n");
    play_settle(&p);
    ck_assert(tide_bytes_equal(
        p.shelf.jobs[0].cause,
        tide_bytes_of("the job goes on from checkpoint 5, which is not in /backup/s any more: "
                      "/backup/s: cannot be opened: No such file or directory")));
    play_end(&p);
}
END_TEST

/* ... unless an admin has ordered meanwhile that it goes on from another. */
START_TEST(gone_again_and_not_wanted)
{
    static struct play p;
    order_running(&p);
    ask(&p, order_in("/backup/s"));
    play_settle(&p);
    play_forget(&p);
    play_join(&p, 1, &order_job, &order_whole);
    play_expect(&p, "to 1: joined\nread s\n");
    ask(&p, order_from(3));
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "commit: operation=queued audit\nto 100: operation restore queued\nload 3\n");
    play_loaded(&p);
    play_expect(&p, "commit: base=3 job-state=WAITING operation=done\n");
    play_not_filed(&p, TIDE_ENOTFOUND, "/backup/s: cannot be opened: No such file or directory");
    play_expect(&p, "");
    play_settle(&p);
    play_expect(&p, "load 3\ncommit: attempt-end attempt job-state=RESTORING\nmkdir a1000-2\n"
                    "to 1: start attempt 2 from 3, 3 tasks with state or owed, 0 owed, 0 ended\n");
    play_end(&p);
}
END_TEST

/* ... and a hold that the store had no space for is not stored behind the order that ends it. */
START_TEST(gone_again_without_space)
{
    static struct play p;
    order_running(&p);
    ask(&p, order_in("/backup/s"));
    play_settle(&p);
    play_join(&p, 1, &order_job, &order_whole);
    play_not_filed(&p, TIDE_ENOTFOUND, "/backup/s: cannot be opened: No such file or directory");
    play_stored(&p, TIDE_NO_SPACE);
    play_wait(&p, 900);
    ask(&p, order_from(3));
    play_stored(&p, TIDE_STORED);
    play_loaded(&p);
    play_forget(&p);
    play_wait(&p, 1500);
    play_expect(&p, "");
    play_stored(&p, TIDE_STORED);
    ck_assert_int_eq(p.shelf.jobs[0].state, TIDE_JOB_WAITING);
    play_wait(&p, 3000);
    ck_assert_int_eq(p.shelf.jobs[0].state, TIDE_JOB_WAITING);
    play_end(&p);
}
END_TEST

/* The order outlives the daemon at each of its steps. */
START_TEST(survives_a_crash)
{
    static struct play p;
    for (int step = 0; step < 3; step++) {
        order_running(&p);
        ask(&p, order_in("/backup/s"));
        play_stored(&p, TIDE_STORED);
        if (step > 0) play_filed(&p, 0);
        if (step > 1) play_stored(&p, TIDE_STORED);
        play_crash(&p);
        play_settle(&p);
        play_wait(&p, 12000);
        play_settle(&p);
        order_back(&p, 11);
        const struct shelf_job *j = &p.shelf.jobs[0];
        ck_assert_uint_eq(j->last.attempt, 2);
        ck_assert_uint_eq(j->n_snapshots, 4);
        ck_assert_uint_eq(j->last.restored_from, j->snapshots[3].round);
        ck_assert(j->snapshots[3].imported);
        play_end(&p);
    }
}
END_TEST

/* Made known without going on from it: the report says what a restore would do. It can be restored
 * by its number, and only once is it known. S148: it is not claimed, so it stays when newer ones
 * put checkpoints out of use; when its user disposes of it the row goes, and no byte is touched. */
START_TEST(imported)
{
    static struct play p;
    struct tide_bytes image = image_foreign(OTHER_UID);
    order_running(&p);
    p.elsewhere = image;
    import(&p, "/backup/s", true);
    order_outcome(&p,
                  "to 100: operation import done\n"
                  "  from: checkpoint 3 of 'job', in /backup/s\n"
                  "  a: restored: 2 tasks, 2 artifacts, 200 bytes\n"
                  "  b: new: it starts without state\n"
                  "  c: refused: the job has no such operator, and the state of 1 tasks would be "
                  "lost unless unmatched state is allowed (--allow-unmatched)\n");
    ck_assert_uint_eq(p.shelf.jobs[0].n_snapshots, 3);
    import(&p, "/backup/s", false);
    play_stored(&p, TIDE_STORED);
    play_forget(&p);
    play_filed(&p, 0);
    play_expect(&p, "commit: snapshot=6 imported from /backup/s operation=done\n");
    play_settle(&p);
    import(&p, "/backup/s/", false);
    order_outcome(&p,
                  "to 100: operation import failed: what is in /backup/s is snapshot 6 of job job "
                  "already\n");
    for (int i = 0; i < 4; i++)
        order_checkpoint(&p);
    ck_assert_uint_eq(p.shelf.jobs[0].last.attempt, 1);
    const struct shelf_job *j = &p.shelf.jobs[0];
    for (uint32_t i = 0; i < j->n_snapshots; i++) {
        const struct tide_catalog_snapshot *s = &j->snapshots[i];
        ck_assert(s->round > 3 && (s->round != 6 || s->state == TIDE_RETAINED));
    }
    ck_assert_uint_eq(j->subsumed, j->completed - 3);
    ask(&p, order_from(6)); /* it is not there at the moment: what runs goes on */
    play_stored(&p, TIDE_STORED);
    play_not_filed(&p, TIDE_ENOTFOUND, "/backup/s/_metadata: is missing");
    order_outcome(&p, "to 100: operation restore failed: snapshot 6 cannot be read: "
                      "/backup/s/_metadata: is missing\n");
    ask(&p, order_from(6));
    play_settle(&p);
    play_forget(&p);
    play_ask_operation(&p, 100, p.operation);
    ck_assert_ptr_nonnull(strstr(p.trace, "  from: checkpoint 6, imported from /backup/s\n"));
    ck_assert_ptr_nonnull(strstr(p.trace, "those after 0 would be repeated"));
    order_from(6);
    order.allow_repeat = order.allow_unmatched = true;
    ask(&p, &order);
    play_settle(&p);
    order_back(&p, 1);
    ck_assert_uint_eq(p.shelf.jobs[0].last.restored_from, 6);
    play_forget(&p);
    dispose(&p, 6);
    play_expect(&p, "to 100: error 3: job job goes on from snapshot 6 until a later round with "
                    "effects is complete\n");
    order_checkpoint(&p);
    dispose(&p, 6);
    play_stored(&p, TIDE_STORED);
    play_forget(&p);
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "ride: snapshot-state=deleted 6 operation=done\n");
    image_drop(&p);
}
END_TEST

/* Made known before the job fits it: which of its tasks had ended is known of it all the same, also
 * to the next daemon, whose rounds do not wait for them. */
START_TEST(ended_and_unmatched)
{
    static struct play p;
    struct tide_bytes image = image_foreign(OTHER_UID | ENDED_SOURCE);
    order_running(&p);
    p.elsewhere = image;
    import(&p, "/backup/s", false);
    play_settle(&p);
    uint64_t known = p.shelf.jobs[0].snapshots[p.shelf.jobs[0].n_snapshots - 1].round;
    order_from(known);
    order.allow_repeat = order.allow_unmatched = true;
    ask(&p, &order);
    play_settle(&p);
    order_back(&p, 1);
    ck_assert_uint_eq(p.shelf.jobs[0].last.restored_from, known);
    uint64_t before = p.round;
    play_crash(&p);
    play_settle(&p);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 1, &order_job,
              &(struct join_options){.count = 3,
                                     .worker = "w",
                                     .pid = 10,
                                     .attempt = p.attempt,
                                     .phase = TIDE__WORKER_PHASE__PHASE_RUNNING});
    play_settle(&p);
    play_wait(&p, 200);
    uint64_t round = p.round;
    ck_assert_uint_gt(round, before);
    play_ack(&p, 1, p.attempt, round, 1);
    play_ack(&p, 1, p.attempt, round, 2);
    play_settle(&p);
    const struct shelf_job *j = &p.shelf.jobs[0];
    ck_assert_uint_eq(j->snapshots[j->n_snapshots - 1].round, round);
    image_drop(&p);
}
END_TEST

SUITE_MAIN("import", moved, full_until_one_is_complete, of_another_store, unmatched,
           max_parallelism, ended_and_fed, unreadable, gone_again, gone_again_and_not_wanted,
           gone_again_without_space, survives_a_crash, imported, ended_and_unmatched)
