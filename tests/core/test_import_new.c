/* Promises about jobs that are new and begin from what another has left, each as the trace that it
 * leaves. */
#include <stdio.h>

#include "tests/core/lib_restore.h"

/* A job that is new begins from there, and the row of the job, the snapshot and what it goes on
 * from are one commit: at no moment is there a job that would begin from nothing. */
START_TEST(new_job)
{
    static const struct job_options begins = {
        .sources = 2, .sinks = 1, .interval_ms = 100, .restore_from = "/backup/s"};
    static struct play p;
    struct tide_bytes image = image_foreign(0);
    for (int step = 0; step < 3; step++) {
        play_start(&p);
        p.elsewhere = image;
        play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
        play_join(&p, 1, &begins, &order_whole);
        play_expect(&p, "read s\n");
        if (step > 0) {
            play_filed(&p, 0);
            play_expect(&p, "commit: job lease snapshot=1 imported from /backup/s base=1\n");
        }
        if (step > 1) {
            play_stored(&p, TIDE_STORED);
            play_expect(&p, "to 1: joined\nread s\n");
        }
        play_crash(&p);
        play_settle(&p);
        play_forget(&p);
        play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
        /* for a job that is known it counts no more, and is no difference */
        play_join(&p, 2, step > 1 ? &order_job : &begins, &order_whole);
        if (step > 1) {
            ck_assert_ptr_nonnull(strstr(p.trace, "refused: the spec differs"));
            play_open(&p, 3, TIDE__PEER_KIND__PEER_WORKER);
            struct job_options again = begins;
            again.restore_from = NULL;
            play_join(&p, 3, &again, &order_whole);
        }
        play_settle(&p);
        ck_assert_ptr_nonnull(strstr(p.trace, ", 3 tasks with state or owed, 0 owed, 0 ended"));
        ck_assert_uint_eq(p.shelf.n_jobs, 1);
        ck_assert_uint_eq(p.shelf.jobs[0].n_snapshots, 1);
        play_end(&p);
    }
    free((void *)(uintptr_t)image.data);
}
END_TEST

/* S161: at another parallelism each task gets its part: the keys that are its own, all lists. So
 * does every attempt until a checkpoint of the job's own is complete, which is at its parallelism.
 * What the sink has stays the sink's. */
START_TEST(another_parallelism)
{
    static const struct job_options begins = {
        .sources = 3, .sinks = 1, .interval_ms = 100, .restore_from = "/backup/s"};
    static const struct join_options all = {.count = 4, .worker = "w", .pid = 10};
    static struct play p;
    struct tide_bytes image = image_foreign(NAMED);
    play_start(&p);
    p.elsewhere = image;
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 1, &begins, &all);
    play_settle(&p);
    ck_assert_ptr_nonnull(
        strstr(p.trace, "start attempt 1 from 1, 4 tasks with state or owed, 0 owed, 0 ended, "
                        "0: t0-0 t0-1 t1-1, 1: t0-0 t0-1 t1-0 t1-1, 2: t0-1 t1-0 t1-1\n"));
    play_forget(&p);
    play_close(&p, 1);
    play_wait(&p, 12000);
    play_settle(&p);
    play_forget(&p);
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 2, &begins, &all);
    play_settle(&p);
    ck_assert_ptr_nonnull(
        strstr(p.trace, "start attempt 2 from 1, 4 tasks with state or owed, 0 owed, 0 ended, "
                        "0: t0-0 t0-1 t1-1, 1: t0-0 t0-1 t1-0 t1-1, 2: t0-1 t1-0 t1-1\n"));
    image_drop(&p);
}
END_TEST

/* The sources' bytes are their program's own, without key groups: the job does not begin. */
START_TEST(another_parallelism_refused)
{
    static const struct job_options begins = {
        .sources = 3, .sinks = 1, .interval_ms = 100, .restore_from = "/backup/s"};
    static const struct join_options all = {.count = 4, .worker = "w", .pid = 10};
    static struct play p;
    struct tide_bytes image = image_foreign(0);
    play_start(&p);
    p.elsewhere = image;
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 1, &begins, &all);
    play_settle(&p);
    ck_assert_ptr_nonnull(strstr(p.trace, "begin from restore_from: /backup/s: operator 'a': the "
                                          "snapshot has parallelism 2, the job 3, and artifact '' "
                                          "of task 0 is without key groups: nobody knows how"));
    ck_assert_uint_eq(p.shelf.n_jobs, 0);
    image_drop(&p);
}
END_TEST

/* Workers of a job that is new must agree on where it begins; once it has begun that is past. */
START_TEST(workers_disagree)
{
    static const struct job_options begins = {
        .sources = 2, .sinks = 1, .interval_ms = 100, .restore_from = "/backup/s"};
    static const struct join_options first = {.count = 1, .worker = "v", .pid = 10},
                                     second = {.first = 1, .count = 2, .worker = "w", .pid = 11};
    static struct play p;
    struct tide_bytes image = image_foreign(0);
    struct job_options other = begins, afresh = begins;
    other.restore_from = "/backup/t";
    afresh.restore_from = NULL;
    play_start(&p);
    p.elsewhere = image;
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 1, &begins, &first);
    play_forget(&p);
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 2, &other, &second);
    play_expect(&p, "to 2: refused: job job begins from /backup/s, as its first worker has said, "
                    "not from /backup/t\nclose 2\n");
    play_settle(&p);
    play_forget(&p);
    play_open(&p, 3, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 3, &other, &second);
    play_expect(&p, "to 3: refused: job job begins from /backup/s, as its first worker has said, "
                    "not from /backup/t\nclose 3\n");
    play_open(&p, 4, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 4, &afresh, &second); /* it says nothing, and goes along */
    play_settle(&p);
    play_restored(&p, 1, 0, 1);
    play_restored(&p, 4, 1, 2);
    play_settle(&p);
    ck_assert_uint_eq(p.shelf.jobs[0].last.attempt, 1);
    play_forget(&p);
    play_close(&p, 4);
    play_wait(&p, 12000);
    play_open(&p, 5, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 5, &other, &second);
    ck_assert_ptr_nonnull(strstr(p.trace, "to 5: joined\n"));
    play_end(&p);
    /* nor does one that comes first, and says nothing, decide it unseen */
    play_start(&p);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 1, &afresh, &first);
    play_settle(&p);
    play_forget(&p);
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 2, &begins, &second);
    play_expect(&p, "to 2: refused: job job begins afresh, as its first worker has said, not from "
                    "/backup/s\nclose 2\n");
    p.elsewhere = image;
    image_drop(&p);
}
END_TEST

/* ... and from what is no snapshot, or does not fit, it does not begin: nothing is left, and the
 * next Join may be right. */
START_TEST(new_job_refused)
{
    static const struct job_options begins = {
        .sources = 2, .sinks = 1, .restore_from = "/backup/s/", .interval_ms = 100};
    static struct play p;
    struct tide_bytes image = image_foreign(OTHER_UID), odd = image_changed(image, NO_KIND);
    play_start(&p);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 1, &begins, &order_whole);
    play_not_filed(&p, TIDE_ENOTFOUND, "/backup/s: cannot be opened: No such file or directory");
    play_expect(&p, "read s\n"
                    "to 1: refused: job job cannot begin from restore_from: /backup/s: cannot be "
                    "opened: No such file or directory\nclose 1\n");
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 2, &begins, &order_whole);
    p.elsewhere = odd;
    play_filed(&p, 0);
    play_expect(&p, "read s\n"
                    "to 2: refused: job job cannot begin from restore_from: "
                    "/backup/s/_metadata: its kind, number or time is none\nclose 2\n");
    p.elsewhere = image;
    play_open(&p, 3, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 3, &begins, &order_whole);
    play_filed(&p, 0);
    play_expect(&p, "read s\n"
                    "to 3: refused: job job cannot begin from restore_from: /backup/s: operator "
                    "'c': the job has no such operator, and the state of 1 tasks would be lost "
                    "unless unmatched state is allowed (--allow-unmatched)\nclose 3\n");
    struct job_options drops = begins;
    drops.allow_unmatched = true;
    play_open(&p, 4, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 4, &drops, &order_whole);
    play_filed(&p, 0);
    play_expect(&p, "read s\ncommit: job lease snapshot=1 imported from /backup/s base=1\n");
    play_stored(&p, TIDE_NO_SPACE);
    play_expect(&p, "to 4: refused: job job could not be stored: a reason\nclose 4\n");
    ck_assert_uint_eq(p.shelf.n_jobs, 0);
    play_open(&p, 5, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 5, &drops, &order_whole);
    play_close(&p, 5); /* its worker goes meanwhile: the job is there all the same */
    play_settle(&p);
    ck_assert_uint_eq(p.shelf.n_jobs, 1);
    free((void *)(uintptr_t)odd.data);
    image_drop(&p);
}
END_TEST

SUITE_MAIN("import_new", new_job, another_parallelism, another_parallelism_refused,
           workers_disagree, new_job_refused)
