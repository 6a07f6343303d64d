/* What the history checker reads: durable records and messages, as lines of its log. What workers
 * do is told where they do it. */
#include "tests/sim/sim.h"

void happens(struct sim *s, struct happening e)
{
    e.at = s->now;
    const char *wrong = history_add(s->history, &e);
    must(s, !wrong, "invariant %s", wrong ? wrong : "");
}

void check_trouble(struct sim *s, struct job *j)
{
    for (struct job *k = s->jobs; k; k = k->next) {
        if (j && j != k) continue;
        k->resume = false;
        happens(s, (struct happening){.type = H_TROUBLE, .job = k->number});
    }
}

uint32_t log_worker(const struct proc *p)
{
    return log_pid(p->pid);
}

uint32_t log_pid(uint32_t pid)
{
    return pid - FIRST_PID;
}

static uint64_t all_tasks(const struct job *j)
{
    return ((uint64_t)1 << j->flow.tasks) - 1;
}

void log_job(struct sim *s, const struct job *j)
{
    happens(s, (struct happening){
                   .type = H_JOB, .job = j->number, .tasks = all_tasks(j), .n = j->most_apart_us});
}

/* ---- what is durable */

static uint64_t ranges(const uint32_t *pairs, uint32_t n)
{
    uint64_t tasks = 0;
    for (uint32_t k = 0; k < n; k++)
        tasks |= (((uint64_t)1 << pairs[2 * k + 1]) - 1) << pairs[2 * k];
    return tasks;
}

static void attempt(struct sim *s, const struct job *j, const struct tide_record *r)
{
    uint64_t tasks = 0;
    for (uint32_t i = 0; i < r->attempt.n_members; i++)
        tasks |= ranges(r->attempt.members[i].ranges, r->attempt.members[i].n_ranges);
    happens(s, (struct happening){.type = H_ATTEMPT,
                                  .job = j->number,
                                  .attempt = r->attempt.attempt,
                                  .incarnation = r->attempt.incarnation,
                                  .n = r->attempt.external,
                                  .round = r->attempt.restored_from,
                                  .tasks = tasks,
                                  /* to deliver what is owed it restores nothing */
                                  .ordered = j->store.state == TIDE_JOB_STOPPING});
    for (uint32_t i = 0; i < r->attempt.n_members; i++) {
        const struct tide_member *m = &r->attempt.members[i];
        happens(s, (struct happening){.type = H_MEMBER,
                                      .job = j->number,
                                      .attempt = r->attempt.attempt,
                                      .worker = log_pid(m->pid),
                                      .n = m->since,
                                      .tasks = ranges(m->ranges, m->n_ranges)});
    }
}

/* It gives way to another round, or the end of some tasks does not allow it. */
static bool nobodys_fault(int code)
{
    return code == TIDE__ABORT_CODE__ABORT_SUBSUMED || code == TIDE__ABORT_CODE__ABORT_SUPERSEDED ||
           code == TIDE__ABORT_CODE__ABORT_NOT_RUNNING ||
           code == TIDE__ABORT_CODE__ABORT_FINISHED_PARTLY;
}

static void round_end(struct sim *s, const struct job *j, const struct tide_record_round *r)
{
    uint64_t holders = 0;
    if (r->complete || (r->holders_total && !r->n_holders)) return; /* once more, for its figures */
    for (uint32_t i = 0; i < r->n_holders; i++)
        if (r->holders[i].task < 64) holders |= (uint64_t)1 << r->holders[i].task;
    happens(s, (struct happening){.type = H_ABORTED,
                                  .job = j->number,
                                  .round = r->number,
                                  .tasks = holders,
                                  .savepoint = r->kind == TIDE_SAVEPOINT,
                                  .n = nobodys_fault(r->code),
                                  .ordered = r->code != TIDE__ABORT_CODE__ABORT_DEADLINE});
}

static void job_state(struct sim *s, const struct job *j, enum tide_job_state state)
{
    if (state == TIDE_JOB_HELD) happens(s, (struct happening){.type = H_HELD, .job = j->number});
    if (tide_job_ended(state)) happens(s, (struct happening){.type = H_OVER, .job = j->number});
}

static void record(struct sim *s, const struct job *j, const struct tide_record *r)
{
    const struct d_snapshot *d;
    switch (r->type) {
    case TIDE_REC_ATTEMPT: attempt(s, j, r); break;
    case TIDE_REC_ROUND_END: round_end(s, j, &r->round); break;
    case TIDE_REC_BASE:
        happens(s,
                (struct happening){.type = H_ORDERED, .job = j->number, .round = r->base.snapshot});
        break;
    case TIDE_REC_JOB_STATE: job_state(s, j, r->job_state.state); break;
    case TIDE_REC_SNAPSHOT:
        d = store_snapshot(j, r->snapshot.round);
        happens(s, (struct happening){.type = d->imported ? H_KNOWN : H_SNAPSHOT,
                                      .job = j->number,
                                      .attempt = d->attempt,
                                      .round = d->round,
                                      .tasks = d->acked_mask,
                                      .ended = all_tasks(j) & ~(uint64_t)d->acked_mask,
                                      .n = d->ended_mask,
                                      .savepoint = d->kind == TIDE_SAVEPOINT});
        break;
    case TIDE_REC_SNAPSHOT_STATE:
        happens(s, (struct happening){.type = r->snapshot_state.state == TIDE_DELETING ? H_DELETING
                                                                                       : H_DELETED,
                                      .job = j->number,
                                      .round = r->snapshot_state.round,
                                      .ordered = r->snapshot_state.disposed});
        break;
    default: break;
    }
}

void log_durable(struct sim *s, const struct tide_commit *c)
{
    for (const struct tide_record *r = c->first; r; r = r->next)
        if (r->type != TIDE_REC_RESERVE && r->type != TIDE_REC_LEASE && r->type != TIDE_REC_AUDIT)
            record(s, store_job(s, r), r);
}

/* What an old copy knows, once it is put back. */
void log_known(struct sim *s, struct job *j)
{
    for (struct attempt *a = j->attempts; a; a = a->next) {
        if (a->past || !a->row) continue;
        happens(s, (struct happening){.type = H_KNOWN,
                                      .job = j->number,
                                      .attempt = a->number,
                                      .incarnation = a->incarnation,
                                      .n = a->restored_from,
                                      .tasks = all_tasks(j)});
        for (uint32_t t = 0; t < j->flow.tasks; t++)
            if (a->member[t])
                happens(s, (struct happening){.type = H_MEMBER,
                                              .job = j->number,
                                              .attempt = a->number,
                                              .worker = log_pid(a->member_pid[t]),
                                              .tasks = (uint64_t)1 << t});
    }
    if (j->store.made) job_state(s, j, j->store.state);
    if (j->store.base_new)
        happens(s, (struct happening){
                       .type = H_ORDERED, .job = j->number, .round = j->store.base_snapshot});
    for (struct d_snapshot *d = j->store.snapshots; d; d = d->next)
        if (d->state != TIDE_DELETED)
            happens(s, (struct happening){.type = H_KNOWN,
                                          .job = j->number,
                                          .attempt = d->attempt,
                                          .round = d->round,
                                          .incarnation = d->incarnation,
                                          .tasks = d->acked_mask,
                                          .n = d->ended_mask,
                                          .savepoint = d->kind == TIDE_SAVEPOINT,
                                          .ordered = d->state == TIDE_DELETING});
}

/* ---- what is told */

void log_round(struct sim *s, const struct job *j, enum happening_type type, uint64_t number)
{
    happens(s, (struct happening){.type = type, .job = j->number, .round = number});
}

void log_attempt(struct sim *s, const struct job *j, enum happening_type type, uint64_t number)
{
    happens(s, (struct happening){.type = type, .job = j->number, .attempt = number});
}

/* ---- what workers do */

void log_task(struct sim *s, const struct task *t, enum happening_type type, uint64_t round)
{
    happens(s, (struct happening){.type = type,
                                  .job = t->proc->job->number,
                                  .worker = log_worker(t->proc),
                                  .task = t->number,
                                  .attempt = t->attempt,
                                  .round = round});
}

/* The lease as whoever sees the wire must see it: it lasts from when that was sent that is
 * answered. */
void log_lease(struct sim *s, const struct proc *p, uint64_t sent_at)
{
    happens(s, (struct happening){.type = H_LEASE,
                                  .worker = log_worker(p),
                                  .n = sent_at + p->job->checkpointing.lease_ms * (uint64_t)MS});
}
