/* Promises about the outside world: what is published, once, in order, and by whom; what is owed.
 */
#include "tests/sim/sim.h"

void check_publish(struct sim *s, struct task *t, struct part *p, const struct tide_delivery *d)
{
    struct job *j = t->proc->job;
    must(s, p->task == t->number, "%s publishes a part of %s", task_name(j, t->number),
         task_name(j, p->task));
    uint64_t round = d->round;
    if (p->state == PART_FORGOTTEN) return;
    bool newer = d->attempt > j->store.attempts; /* than what an old copy knows */
    if (t->proc->stale && (newer || (t->in && t->in->past) || !store_snapshot(j, round))) {
        if (p->state == PART_PENDING) p->state = PART_FORGOTTEN;
        return;
    }
    must(s, check_published_in(s, t, d->attempt),
         "%s of attempt %" PRIu64 " publishes in attempt %" PRIu64, task_name(j, t->number),
         d->attempt, j->store.attempts);
    must(s, p->state != PART_DROPPED, "%s publishes part %u, which was dropped",
         task_name(j, t->number), p->id);
    must(s, p->round <= round, "%s publishes part %u of round %" PRIu64 " for round %" PRIu64,
         task_name(j, t->number), p->id, p->round, round);
    if (p->state == PART_PUBLISHED) return;
    must(s, j->store.state != TIDE_JOB_SUSPENDED && j->store.state != TIDE_JOB_FINISHED,
         "%s publishes part %u, and the job is %s", task_name(j, t->number), p->id,
         tide_job_state_name(j->store.state));
    must(s, !set_overlap(&j->published, &p->records) || flow_repeats(j),
         "%s publishes records a second time, in part %u", task_name(j, t->number), p->id);
    must(s, round >= j->last_effect[t->number],
         "%s publishes for round %" PRIu64 " after round %" PRIu64, task_name(j, t->number), round,
         j->last_effect[t->number]);
    happens(s, (struct happening){.type = H_PUBLISHED,
                                  .job = j->number,
                                  .worker = log_worker(t->proc),
                                  .task = t->number,
                                  .attempt = d->attempt,
                                  .round = round});
    note(s, "%s publishes part %u of round %" PRIu64 " for round %" PRIu64 ": %u records",
         task_name(j, t->number), p->id, p->round, round, set_count(&p->records));
    j->last_effect[t->number] = round;
    p->state = PART_PUBLISHED;
    set_add(&j->published, &p->records);
    s->stats->published++;
    if (round > j->newest_published) j->newest_published = round;
}

/* A strike may be lost (the store was full); the commit is owed in truth while one of its parts is
 * pending. */
bool check_owed(const struct job *j, const struct d_owed *o)
{
    for (size_t i = 0; i + 4 <= o->handle.len; i += 4)
        for (const struct part *p = j->parts; p; p = p->next)
            if (p->id == tide_get_u32(o->handle.data + i) && p->state != PART_PUBLISHED)
                return true;
    return false;
}

/* Of rounds that an order undoes nothing is owed any more: it would go to an attempt of an older
 * state. */
void check_undone(struct sim *s, const struct job *j)
{
    for (const struct d_owed *o = j->store.owed; o; o = o->next)
        must(s, o->round <= j->store.base_snapshot,
             "job %s goes on from snapshot %" PRIu64 ", and a commit of round %" PRIu64 " is owed",
             j->name, j->store.base_snapshot, o->round);
}

bool check_effects_done(struct sim *s, struct job *j)
{
    for (const struct d_snapshot *d = j->store.snapshots; d; d = d->next) {
        if (d->kind != TIDE_SAVEPOINT || d->state != TIDE_RETAINED || s->files.unpublished)
            continue; /* that waits for a restart */
        struct directory *dir = files_find(s, (const char *)d->directory.data, d->directory.len);
        must(s, dir && dir->exists, "savepoint %" PRIu64 " is retained, its directory is gone",
             d->round);
        if (!dir->published) return check_not_yet(j, "a savepoint's _metadata is not in its place");
    }
    for (const struct d_snapshot *d = j->store.snapshots; d; d = d->next) {
        const struct round *r = check_round(j, d->round);
        if ((d->kind == TIDE_SAVEPOINT && !d->commits) || j->store.state == TIDE_JOB_CANCELLED ||
            j->store.state == TIDE_JOB_FAILED)
            continue; /* what that leaves unpublished stays so */
        for (uint32_t t = 0; t < j->flow.tasks; t++) {
            const struct told_state *told = r->task[t];
            for (uint32_t i = 0; told && i < told->n_parts; i++)
                if (told->parts[i]->state == PART_PENDING)
                    return check_not_yet(j, "a completed round has not had its effects");
        }
    }
    return true;
}
