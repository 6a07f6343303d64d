/* What tests of regional failover share. */
#include "tests/core/lib_regions.h"

#include <stdio.h>

const struct job_options region_columns = {.sources = 3,
                                           .sinks = 3,
                                           .pointwise = true,
                                           .regional = true,
                                           .interval_ms = 100,
                                           .deadline_ms = 60000};
const struct job_options region_apart = {
    .sources = 3, .regional = true, .interval_ms = 100, .deadline_ms = 60000};

void region_join(struct play *p, uint64_t session, const struct job_options *job, uint32_t task)
{
    char name[8];
    snprintf(name, sizeof name, "w%u", task);
    play_open(p, session, TIDE__PEER_KIND__PEER_WORKER);
    play_join(p, session, job,
              &(struct join_options){
                  .first = task,
                  .count = 1,
                  .worker = name,
                  .pid = 10 + (uint32_t)session,
                  .externals = task == 0 && (job->hooks || job->coordinator)
                                   ? job->hooks ? job->coordinator ? "@a lock" : "lock" : "@a"
                                   : NULL});
}

void region_running(struct play *p, const struct job_options *job, uint32_t tasks)
{
    play_start(p);
    for (uint32_t t = 0; t < tasks; t++)
        region_join(p, t + 1, job, t);
    play_settle(p);
    for (uint32_t t = 0; t < tasks; t++)
        play_restored(p, t + 1, t, 1);
    if (job->coordinator) play_external(p, 1, "@a", 0, NULL, NULL);
    if (job->hooks) play_external(p, 1, "lock", 0, NULL, NULL);
    play_settle(p);
    play_forget(p);
}

void region_round(struct play *p, uint32_t tasks)
{
    play_wait(p, 100);
    for (uint32_t t = 0; t < tasks; t++)
        play_ack(p, t + 1, p->attempt, p->round, t);
    play_settle(p);
    play_forget(p);
}

void region_again(struct play *p, uint64_t session, const struct job_options *job,
                  struct join_options join, const char *name)
{
    join.worker = name;
    play_open(p, session, TIDE__PEER_KIND__PEER_WORKER);
    play_join(p, session, job, &join);
}
