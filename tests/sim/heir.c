/* Jobs that are new and begin from what another one has left: somebody copies a snapshot of a job
 * while that goes on, and gives the copy's directory to a program of the same operators, perhaps at
 * another parallelism, as its restore_from.
 *
 * The usual way: the daemon reads the copy before anything of the heir is stored; what it restores
 * are the states of the other job, operator by operator, and what they cover counts as published.
 * What can go wrong: the copy is damaged, is not there, does not fit the heir's graph, or is of a
 * job that had ended: its workers are refused with the reason, nothing is left of the heir, and who
 * supervises it chooses another copy, or none. Workers of before and after that disagree: some are
 * refused until they agree. */
#include "tests/sim/sim.h"

/* ---- the plan */

/* Another parallelism, where states can be divided: neither of sources, which count by themselves,
 * nor where a coordinator has counted. */
static void rescale(struct sim *s, struct job *j)
{
    struct flow *f = &j->flow;
    bool fed[OPS_MAX] = {false}, changed = false;
    for (uint32_t a = 0; a < f->n_ops; a++)
        for (uint32_t b = 0; b < f->n_ops; b++)
            fed[b] = fed[b] || f->edge[a][b];
    for (uint32_t o = 0; o < f->n_ops; o++) {
        if (!fed[o] || o == j->externals.op || percent(s, 40)) continue;
        uint32_t before = f->parallelism[o];
        f->parallelism[o] = (uint32_t)between(s, 1, PARALLEL_MAX);
        changed = changed || f->parallelism[o] != before;
    }
    if (changed) flow_rebuild(f);
}

/* After the plans of the others: `like` has its own already. */
void heir_plan(struct sim *s, struct job *j, struct job *like)
{
    const Tide__Checkpointing *its = &like->checkpointing;
    j->heir_of = like;
    j->program = like->program;
    j->flow = like->flow;
    j->stride = like->stride;
    j->portable = like->portable;
    j->externals = like->externals;
    tide__checkpointing__init(&j->checkpointing);
    j->checkpointing.regional = its->regional;
    j->checkpointing.alignment = its->alignment;
    j->checkpointing.aligned_timeout_ms = its->aligned_timeout_ms;
    j->checkpointing.style = its->style;
    j->checkpointing.window = its->window;
    if (j->portable && !j->program->meets && percent(s, 60)) rescale(s, j);
}

/* ---- its birth */

static void give(struct job *j, const char *path)
{
    j->spec.restore_from = (ProtobufCBinaryData){strlen(path), (uint8_t *)(uintptr_t)path};
}

/* What there is to begin from at the moment; nothing: afresh. */
static void choose(struct sim *s, struct job *j)
{
    static const char nowhere[] = "/copies/none";
    uint32_t n = 0;
    struct d_snapshot *from = NULL;
    give(j, "");
    for (struct d_snapshot *d = j->heir_of->store.snapshots; d; d = d->next)
        if (order_may_copy(s, d) && below(s, ++n) == 0) from = d;
    if (!s->calm && percent(s, 5))
        give(j, nowhere);
    else if (from)
        give(j, files_copy(s, j->heir_of, from, !s->calm && percent(s, 5))->path);
    note(s, "job %s is to begin %s%.*s", j->name, j->spec.restore_from.len ? "from " : "afresh",
         (int)j->spec.restore_from.len, (const char *)j->spec.restore_from.data);
}

void heir_begin(struct sim *s, struct job *j)
{
    if (j->begun) return;
    j->begun = true;
    choose(s, j);
    for (uint32_t i = 0; i < j->slots; i++)
        sim_at(s, s->now + below(s, 100 * MS), proc_start, j, i);
}

static bool says(struct tide_bytes text, const char *what)
{
    return text.len && memmem(text.data, text.len, what, strlen(what));
}

/* A worker is refused: its supervisor reads why. */
void heir_refused(struct sim *s, struct job *j, struct tide_bytes text)
{
    if (!j->heir_of || j->store.attempts) return;
    if (says(text, "cannot begin from restore_from")) {
        if (percent(s, 50))
            choose(s, j);
        else
            give(j, "");
    } else if (says(text, ", as its first worker has said")) {
        give(j, ""); /* it begins as it has begun */
    }
}

/* ---- what it restores */

bool heir_rescaled(const struct job *j, const struct d_snapshot *d)
{
    const struct flow *a = &j->flow, *b = d && d->origin ? &d->origin_of->flow : a;
    for (uint32_t o = 0; o < a->n_ops; o++)
        if (a->parallelism[o] != b->parallelism[o]) return true;
    return false;
}

/* Of an operator of the origin: all of its tasks had put out their last. */
static bool all_finished(const struct d_snapshot *origin, const struct flow *f, uint32_t op)
{
    for (uint32_t t = 0; t < f->tasks; t++)
        if (f->task[t].op == op && !origin->task[t].finished) return false;
    return true;
}

static uint32_t first_of(const struct flow *f, uint32_t op)
{
    uint32_t t = 0;
    while (f->task[t].op != op)
        t++;
    return t;
}

/* Whether the task has put out its last when it has restored. */
static bool finished(const struct job *j, const struct d_snapshot *d, uint32_t task)
{
    const struct flow_task *t = &j->flow.task[task];
    const struct flow *had = &d->origin_of->flow;
    if (had->parallelism[t->op] != j->flow.parallelism[t->op])
        return all_finished(d->origin, had, t->op);
    return d->origin->task[first_of(had, t->op) + t->subtask].finished;
}

/* Channels begin anew; what has come to its end on them shows in who fed them. */
void heir_channels(const struct job *j, const struct d_snapshot *d, uint32_t task, struct state *st)
{
    const struct flow_task *t = &j->flow.task[task];
    memset(st->sent, 0, sizeof st->sent);
    memset(st->got, 0, sizeof st->got);
    st->task = task;
    st->finished = finished(j, d, task);
    st->ends = 0;
    for (uint32_t i = 0; i < t->n_in; i++)
        if (finished(j, d, j->flow.channel[t->in[i]].from)) st->ends |= 1u << i;
}

/* Which of the origin's tasks hands its state to the task. */
static bool hands(const struct job *j, const struct flow *had, uint32_t from, uint32_t task)
{
    const struct flow_task *a = &had->task[from], *b = &j->flow.task[task];
    return a->op == b->op && a->subtask % j->flow.parallelism[b->op] == b->subtask;
}

/* What the snapshot, a copy of the other job's, has of the heir's tasks. */
void heir_states(struct job *j, struct d_snapshot *d)
{
    const struct flow *had = &d->origin_of->flow;
    d->acked_mask = d->ended_mask = 0;
    for (uint32_t t = 0; t < j->flow.tasks; t++) {
        uint32_t op = j->flow.task[t].op, n = 0, ended = 0;
        struct state *st = &d->task[t];
        *st = (struct state){.task = t};
        for (uint32_t from = 0; from < had->tasks; from++) {
            const struct state *its = &d->origin->task[from];
            if (had->task[from].op == op) n++, ended += d->origin->ended_mask >> from & 1;
            if (!hands(j, had, from, t)) continue;
            if (had->parallelism[op] == j->flow.parallelism[op]) {
                *st = *its;
                if (d->origin->ended_mask >> from & 1) d->ended_mask |= 1u << t;
            } else {
                set_add(&st->seen, &its->seen);
            }
        }
        if (had->parallelism[op] != j->flow.parallelism[op] && n && ended == n)
            d->ended_mask |= 1u << t;
        heir_channels(j, d, t, st);
    }
    d->acked_mask = (1u << j->flow.tasks) - 1;
}
