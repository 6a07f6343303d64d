/* What tests of regional failover share: jobs with regions, and their workers. */
#ifndef LIB_REGIONS_H
#define LIB_REGIONS_H

#include "tests/core/lib_play.h"

/* Three regions of a source and a sink each: tasks 0 and 3, 1 and 4, 2 and 5. */
extern const struct job_options region_columns;
/* Three tasks without edges, each a region. */
extern const struct job_options region_apart;

/* A worker with that task, and with task 0 what lives outside tasks. */
void region_join(struct play *p, uint64_t session, const struct job_options *job, uint32_t task);
/* Task i in the worker of session i + 1. */
void region_running(struct play *p, const struct job_options *job, uint32_t tasks);
void region_round(struct play *p, uint32_t tasks);
/* Joins with what it has, on a connection of its own. */
void region_again(struct play *p, uint64_t session, const struct job_options *job,
                  struct join_options join, const char *name);

#endif
