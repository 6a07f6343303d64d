/* Promises about rendezvous rounds: the cut is one that all can reach, fixed when all have said
 * where they are; nothing is snapshotted before all stand there. What tasks have said is taken from
 * what their workers send. */
#include "tests/sim/sim.h"

static struct round *round_of(struct sim *s, struct job *j, uint64_t number, const char *what)
{
    struct round *r = check_round(j, number);
    must(s, r && r->triggered, "%s of round %" PRIu64 ", which was not prepared", what, number);
    must(s, !r->told_complete && !r->told_abort, "%s of round %" PRIu64 " after its end was told",
         what, number);
    return r;
}

/* Ended as the store has it: nothing is asked of it any more. */
static bool has_ended(const struct job *j, uint32_t task)
{
    const struct d_snapshot *from = store_snapshot(j, j->store.last.restored_from);
    for (const struct d_snapshot *d = j->store.snapshots; d; d = d->next)
        if (d->attempt == j->store.attempts && (d->kind == TIDE_CHECKPOINT || d->commits))
            return d->ended_mask >> task & 1;
    return from && from->ended_mask >> task & 1; /* an older one than others, perhaps */
}

void check_sent_prepare(struct sim *s, struct job *j, struct tide_bytes content,
                        const uint64_t *sessions, uint32_t n)
{
    Tide__Prepare *m = tide__prepare__unpack(NULL, content.len, content.data);
    must(s, m, "a Prepare that cannot be parsed");
    struct check_begun begun = {
        .number = m->round,
        .attempt = m->attempt,
        .incarnation = m->incarnation,
        .left_us = m->left_ms * (uint64_t)MS,
        .directory = sim_bytes(s, (struct tide_bytes){m->directory.data, m->directory.len}),
        .sessions = sessions,
        .n_sessions = n};
    bool savepoint = m->kind == TIDE__ROUND_KIND__ROUND_SAVEPOINT, full = m->full;
    tide__prepare__free_unpacked(m, NULL);
    check_begun(s, j, &begun, "Prepare");
    check_full(s, j, begun.number, savepoint, full);
    for (const struct round *r = j->rounds; r; r = r->next)
        must(s,
             r->number == begun.number || r->past || r->over || !r->triggered ||
                 r->life != s->daemon.life || store_snapshot(j, r->number),
             "round %" PRIu64 " is prepared beside round %" PRIu64, begun.number, r->number);
}

void check_sent_cut(struct sim *s, struct job *j, struct tide_bytes content)
{
    Tide__Cut *m = tide__cut__unpack(NULL, content.len, content.data);
    must(s, m, "a Cut that cannot be parsed");
    uint64_t number = m->round, position = m->position, window = j->checkpointing.window;
    tide__cut__free_unpacked(m, NULL);
    struct round *r = round_of(s, j, number, "Cut");
    if (window == TIDE_NONE) window = 0;
    if (j->checkpointing.window == 0) window = 2;
    for (uint32_t t = 0; t < j->flow.tasks; t++) {
        if (has_ended(j, t)) continue;
        must(s, r->meet[t].reported,
             "the cut of round %" PRIu64 " is fixed, and %s has not reported", number,
             task_name(j, t));
        must(s, r->meet[t].position + window <= position,
             "the cut of round %" PRIu64 " is at %" PRIu64 ", %s may go on to %" PRIu64, number,
             position, task_name(j, t), r->meet[t].position + window);
    }
    must(s, !r->has_cut || r->cut == position, "round %" PRIu64 " has two cuts", number);
    if (!r->has_cut)
        happens(s, (struct happening){.type = H_STEP, .job = j->number, .round = number});
    if (!r->has_cut) note(s, "daemon: Cut of round %" PRIu64 " at %" PRIu64, number, position);
    r->has_cut = true;
    r->cut = position;
}

void check_sent_now(struct sim *s, struct job *j, struct tide_bytes content)
{
    Tide__SnapshotNow *m = tide__snapshot_now__unpack(NULL, content.len, content.data);
    must(s, m, "a SnapshotNow that cannot be parsed");
    uint64_t number = m->round;
    tide__snapshot_now__free_unpacked(m, NULL);
    struct round *r = round_of(s, j, number, "SnapshotNow");
    for (uint32_t t = 0; t < j->flow.tasks; t++)
        must(s, r->meet[t].stands || has_ended(j, t),
             "round %" PRIu64 " is to be snapshotted, and %s does not stand at its cut", number,
             task_name(j, t));
    if (!r->told_now)
        happens(s, (struct happening){.type = H_STEP, .job = j->number, .round = number});
    if (!r->told_now) note(s, "daemon: SnapshotNow of round %" PRIu64, number);
    r->told_now = true;
}

/* ---- what workers say */

void check_said_position(struct sim *s, struct proc *p, struct tide_bytes content)
{
    Tide__Position *m = tide__position__unpack(NULL, content.len, content.data);
    must(s, m && m->n_task == m->n_position, "a Position that cannot be parsed");
    struct round *r = check_round(p->job, m->round);
    for (size_t i = 0; r && i < m->n_task && m->attempt == r->attempt; i++) {
        uint32_t t = m->task[i];
        must(s, t < p->job->flow.tasks && p->task[t], "a Position of a task of another worker");
        must(s, !r->meet[t].reported || r->meet[t].position == m->position[i],
             "%s reports two positions in round %" PRIu64, task_name(p->job, t), r->number);
        if (!r->meet[t].reported && !r->has_cut) log_task(s, p->task[t], H_SAID, r->number);
        r->meet[t].reported = true;
        r->meet[t].position = m->position[i];
    }
    tide__position__free_unpacked(m, NULL);
}

void check_said_standing(struct sim *s, struct proc *p, struct tide_bytes content)
{
    Tide__Standing *m = tide__standing__unpack(NULL, content.len, content.data);
    must(s, m, "a Standing that cannot be parsed");
    struct round *r = check_round(p->job, m->round);
    for (size_t i = 0; r && i < m->n_tasks && m->attempt == r->attempt; i++)
        for (uint32_t t = m->tasks[i]->first; t - m->tasks[i]->first < m->tasks[i]->count; t++) {
            const struct task *task = t < TASKS_MAX ? p->task[t] : NULL;
            must(s, task, "a Standing of a task of another worker");
            must(s,
                 task->told_finished || task->ended ||
                     (uint64_t)task->state.offset * p->job->stride == r->cut,
                 "%s says that it stands at %" PRIu64 ", and is at step %u", task_name(p->job, t),
                 r->cut, task->state.offset);
            if (!r->meet[t].stands && !r->told_now) log_task(s, task, H_SAID, r->number);
            r->meet[t].stands = true;
            r->meet[t].offset = task->state.offset;
        }
    tide__standing__free_unpacked(m, NULL);
}

/* What a task acks is what it had where it stood. One that has ended, and does not know it yet,
 * acks in vain. */
void check_met(struct sim *s, const struct task *t, const struct round *r, const struct state *st)
{
    if (has_ended(t->proc->job, t->number)) return;
    must(s, r->meet[t->number].stands && r->meet[t->number].offset == st->offset,
         "%s acks round %" PRIu64 " with step %u, and stood at step %u",
         task_name(t->proc->job, t->number), r->number, st->offset, r->meet[t->number].offset);
}
