/* A snapshot and a job, operator by operator: whether the job can be restored from it, what happens
 * to each operator's state, and which task gets which task's.
 *
 * Operators are known by their uids, so a task's number in the snapshot may be another in the job.
 * Pure: a manifest and a graph go in. */
#ifndef CORE_MATCH_H
#define CORE_MATCH_H

#include "proto/graph.h"
#include "storage/manifest.h"

enum match_way {
    MATCH_SAME,   /* each task's state is that of one task of the job */
    MATCH_UNION,  /* the same, but lists of which each task is to see all */
    MATCH_DIVIDED /* the parallelisms differ: each task of the job gets what concerns it */
};
struct match_run { /* tasks first to first + count - 1 of the snapshot are those of the job from
                      `to` */
    uint32_t first, count, to; /* to TIDE_NONE: their state is dropped */
    enum match_way way;
    uint32_t parallelism, max_parallelism; /* of the job's operator, if not MATCH_SAME */
};

struct match {
    struct match_run *runs; /* ascending, all tasks of the snapshot */
    uint32_t n_runs;
    struct tide_bytes adopted; /* max parallelisms of the snapshot's that hold for the job: pairs
                                  (operator of the job, number) of u32 LE; malloc'ed */
    uint32_t last;             /* the run that was found last */
    bool divides;              /* some run is not MATCH_SAME */
};

/* 0 and *ret; TIDE_EINVAL: the job cannot be restored from it, why names the first operator that
 * forbids it; TIDE_ECORRUPT: the manifest's own graph is none. */
struct match_wish {
    bool unmatched;          /* state of operators that the job has not is dropped */
    bool again;              /* it was decided before: what has ended is not looked at once more */
    struct tide_buf *report; /* gets a line, ended by \n, for each operator, also when the answer is
                                no; NULL: no report */
};
int match_new(struct match *ret, const struct tide_graph *job, const struct tide_manifest *m,
              const struct match_wish *wish, char why[static 256]);
void match_release(struct match *m);
/* Adds the tasks of the job that had ended in the snapshot, or ended with it. */
struct bits;
void match_ended(struct match *m, const Tide__ManifestHead *head, struct bits *ended);
/* The job's number of a task of the snapshot; TIDE_NONE: it has none, or has many. */
uint32_t match_task(struct match *m, uint32_t task);
/* How what the task left finds its way into the job. */
enum match_way match_way(struct match *m, uint32_t task);
/* Which tasks of the job get an artifact of a task of the snapshot: *ret_first and those that
 * follow. How many: 0, it is dropped. */
uint32_t match_artifact(struct match *m, uint32_t task, const struct tide_artifact_view *a,
                        uint32_t *ret_first);

#endif
