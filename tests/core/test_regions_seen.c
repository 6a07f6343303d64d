/* Regions as people see them, and as a daemon that restarts finds them. */
#include <stdio.h>

#include "tests/core/lib_regions.h"

/* A region is a column of pointwise edges; people see which one waits for what. */
START_TEST(people_see_regions)
{
    static struct play p;
    region_running(&p, &region_columns, 6);
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_leave(&p, 3);
    play_settle(&p);
    play_forget(&p);
    play_ask_job(&p, 100);
    play_expect(
        &p, "to 100: job WAITING, waits for: worker w5, which holds attempt 1, to drop it, "
            "or its lease (11250 ms left)\n"
            "  region of 0: running, since 1, start 1\n  region of 1: running, since 1, start 1\n"
            "  region of 2: waiting, since 0, start 1\n");
    play_join(&p, 6, &region_columns,
              &(struct join_options){.first = 5, .count = 1, .worker = "w5", .pid = 16});
    play_forget(&p);
    play_ask_job(&p, 100);
    play_expect(
        &p, "to 100: job WAITING, waits for: workers for 1 of its 6 tasks\n"
            "  region of 0: running, since 1, start 1\n  region of 1: running, since 1, start 1\n"
            "  region of 2: waiting, since 0, start 1\n");
    region_join(&p, 7, &region_columns, 2);
    play_settle(&p);
    play_forget(&p);
    play_restored(&p, 6, 5, 1);
    play_restored(&p, 7, 2, 1);
    play_ask_job(&p, 100);
    play_expect(
        &p, "to 100: job RESTORING, waits for: worker w4, whose region goes on, to advance\n"
            "  region of 0: running, since 1, start 1\n  region of 1: running, since 1, start 1\n"
            "  region of 2: restoring, since 2, start 2\n");
    play_end(&p);
}
END_TEST

/* Where all tasks are one region nobody is left to go on: everybody is rewound, as ever. So it is
 * in a job that does not ask for it. */
START_TEST(one_region_is_all)
{
    static struct play p;
    struct job_options one = region_columns;
    one.pointwise = false;
    region_running(&p, &one, 6);
    play_leave(&p, 3);
    play_expect(&p, "close 3\nride: attempt-end job-state=WAITING\nto 6: rewind attempt 1\n"
                    "to 5: rewind attempt 1\nto 4: rewind attempt 1\nto 2: rewind attempt 1\n"
                    "to 1: rewind attempt 1\n");
    play_end(&p);
    struct job_options all = region_apart;
    all.regional = false;
    region_running(&p, &all, 3);
    play_leave(&p, 3);
    play_expect(&p, "close 3\nride: attempt-end job-state=WAITING\n"
                    "to 2: rewind attempt 1\nto 1: rewind attempt 1\n");
    play_end(&p);
}
END_TEST

/* The daemon restarts. Before attempt 2 is durable attempt 1 is open, and not all of it comes back;
 * after it has been told, survivors may come with either. */
START_TEST(restart_in_between)
{
    static struct play p;
    region_running(&p, &region_apart, 3);
    play_leave(&p, 3);
    region_join(&p, 4, &region_apart, 2);
    play_crash(&p);
    play_forget(&p);
    region_again(&p, 5, &region_apart,
                 (struct join_options){.first = 0,
                                       .count = 1,
                                       .pid = 11,
                                       .attempt = 1,
                                       .phase = TIDE__WORKER_PHASE__PHASE_RUNNING},
                 "w0");
    region_join(&p, 6, &region_apart, 2); /* comes with nothing */
    play_wait(&p, 11300);
    ck_assert_ptr_nonnull(strstr(p.trace, "to 5: rewind attempt 1\n"));
    play_end(&p);

    region_running(&p, &region_apart, 3);
    play_leave(&p, 3);
    region_join(&p, 4, &region_apart, 2);
    play_settle(&p);
    play_crash(&p);
    play_settle(&p);
    play_forget(&p);
    region_again(&p, 5, &region_apart,
                 (struct join_options){.first = 0,
                                       .count = 1,
                                       .pid = 11,
                                       .attempt = 1,
                                       .phase = TIDE__WORKER_PHASE__PHASE_RUNNING},
                 "w0");
    region_again(&p, 6, &region_apart,
                 (struct join_options){.first = 1,
                                       .count = 1,
                                       .pid = 12,
                                       .attempt = 2,
                                       .phase = TIDE__WORKER_PHASE__PHASE_RUNNING},
                 "w1");
    play_expect(&p, "to 5: joined\nto 6: joined\n");
    region_again(&p, 7, &region_apart,
                 (struct join_options){.first = 2,
                                       .count = 1,
                                       .pid = 14,
                                       .attempt = 2,
                                       .phase = TIDE__WORKER_PHASE__PHASE_RESTORED},
                 "w2");
    play_expect(&p, "to 7: joined\nto 5: resumed attempt 1\nto 5: run\n"
                    "to 5: advance attempt 1 to 2, rewound 2+1 from 0, 3 peers\n"
                    "to 6: resumed attempt 2\nto 7: resumed attempt 2\n");
    play_advanced(&p, 5, 2);
    play_settle(&p);
    play_expect(&p, "commit: attempt-run job-state=RUNNING\nto 5,6,7: run\n");
    play_end(&p);
}
END_TEST

/* People see at most a hundred of them, and who is away. */
START_TEST(many_regions)
{
    static struct play p;
    struct job_options many = region_apart;
    many.sources = 150;
    play_start(&p);
    region_again(&p, 1, &many, (struct join_options){.first = 0, .count = 75, .pid = 1}, "w1");
    region_again(&p, 2, &many, (struct join_options){.first = 75, .count = 75, .pid = 2}, "w2");
    play_settle(&p);
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_restored(&p, 1, 0, 75);
    play_restored(&p, 2, 75, 75);
    play_settle(&p);
    play_close(&p, 2);
    play_forget(&p);
    play_ask_job(&p, 100);
    ck_assert_ptr_nonnull(strstr(p.trace, "region of 74: running, since 1, start 1\n"));
    ck_assert_ptr_nonnull(strstr(p.trace, "region of 99: away, since 1, start 1\n"));
    ck_assert_ptr_null(strstr(p.trace, "region of 100:"));
    play_end(&p);
    struct job_options one = region_columns;
    one.pointwise = false;
    region_running(&p, &one, 6);
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_ask_job(&p, 100);
    play_expect(&p, "to 100: job RUNNING, waits for: \n  region of 0: running, since 1, start 1\n");
    play_leave(&p, 6);
    play_forget(&p);
    play_ask_job(&p, 100);
    ck_assert_ptr_nonnull(strstr(p.trace, "region of 0: waiting"));
    play_end(&p);
}
END_TEST

/* While the next attempt's row is being stored some hold it already who have not run: what the job
 * waits for is the store, not them (seed 891455). */
START_TEST(shown_while_an_attempt_is_stored)
{
    static struct play p;
    region_running(&p, &region_apart, 3);
    play_leave(&p, 2);
    play_settle(&p);
    region_join(&p, 12, &region_apart, 1);
    play_open(&p, ADMIN, TIDE__PEER_KIND__PEER_ADMIN);
    play_forget(&p);
    play_ask_job(&p, ADMIN);
    ck_assert_msg(strstr(p.trace, "WAITING, waits for: the store") != NULL, "%s", p.trace);
    play_settle(&p);
    play_end(&p);
}
END_TEST

SUITE_MAIN("regions_seen", shown_while_an_attempt_is_stored, people_see_regions, one_region_is_all,
           restart_in_between, many_regions)
