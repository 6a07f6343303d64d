/* What people are told of the regions of a job while it is not whole: each as its answer. */
#include <stdio.h>

#include "tests/core/lib_play.h"

/* Two regions: tasks 0 and 2 in worker 1, tasks 1 and 3 in worker 2. */
static const struct job_options columns = {.sources = 2,
                                           .sinks = 2,
                                           .pointwise = true,
                                           .regional = true,
                                           .interval_ms = 100,
                                           .deadline_ms = 60000};
static struct play p;

static void join_one(uint64_t session, uint32_t task, const char *name)
{
    play_open(&p, session, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, session, &columns,
              &(struct join_options){
                  .first = task, .count = 1, .worker = name, .pid = 10 + (uint32_t)session});
}

static void run(void)
{
    static const char *const names[] = {"w0", "w1", "w2", "w3"};
    play_start(&p);
    play_open(&p, ADMIN, TIDE__PEER_KIND__PEER_ADMIN);
    for (uint32_t t = 0; t < 4; t++)
        join_one(t + 1, t, names[t]);
    play_settle(&p);
    for (uint32_t t = 0; t < 4; t++)
        play_restored(&p, t + 1, t, 1);
    play_settle(&p);
    play_forget(&p);
}

static void regions_are(const char *first, const char *second)
{
    char want[300];
    play_forget(&p);
    play_ask_job(&p, ADMIN);
    snprintf(want, sizeof want, "  region of 0: %s\n  region of 1: %s\n", first, second);
    ck_assert_msg(strstr(p.trace, want), "%s", p.trace);
    play_forget(&p);
}

/* One of its workers is cut off, then lost; the other is told to drop its tasks, does so, and
 * waits; whoever takes the lost one's place restores. */
START_TEST(from_away_to_running)
{
    run();
    play_wait(&p, 100);
    for (uint32_t t = 0; t < 4; t++)
        play_ack(&p, t + 1, 1, p.round, t);
    play_settle(&p);
    regions_are("running, since 1, start 1", "running, since 1, start 1");
    play_close(&p, 2);
    regions_are("running, since 1, start 1", "away, since 1, start 1");
    for (int s = 0; s < 12; s++) {
        play_wait(&p, 1000);
        for (uint64_t session = 1; session < 5; session++)
            if (session != 2) play_heartbeat(&p, session);
        play_settle(&p);
    }
    PLAY_AMONG(&p, "to 4: rewind attempt 1\n");
    regions_are("running, since 1, start 1", "waiting, since 0, start 1");
    join_one(5, 1, "w1"); /* in the place of the lost one */
    regions_are("running, since 1, start 1", "rewinding, since 0, start 1");
    play_join(&p, 4, &columns,
              &(struct join_options){.first = 3, .count = 1, .worker = "w3", .pid = 14});
    play_settle(&p);
    regions_are("running, since 1, start 1", "restoring, since 2, start 2");
    play_restored(&p, 4, 3, 1);
    play_restored(&p, 5, 1, 1);
    play_advanced(&p, 1, 2);
    play_advanced(&p, 3, 2);
    play_settle(&p);
    regions_are("running, since 1, start 1", "running, since 2, start 2");
    play_end(&p);
}
END_TEST

SUITE_MAIN("region_words", from_away_to_running)
