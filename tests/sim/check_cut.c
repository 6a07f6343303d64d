/* Promises about a snapshot that has become durable: it has what all tasks of its attempt acked,
 * and is a cut that could have happened. */
#include "tests/sim/sim.h"

struct cut {
    struct job *job;
    struct d_snapshot *row;
    struct round *round;
    struct attempt *attempt;
    uint32_t acked, ended; /* tasks */
};

static void read_ack(struct sim *s, struct cut *c, const struct tide_ack_view *ack)
{
    struct job *j = c->job;
    struct tide_artifact_place place = {0};
    struct tide_artifact_view a;
    uint64_t n = c->row->round;
    uint32_t t = ack->task;
    must(s, t < j->flow.tasks, "snapshot %" PRIu64 " has a task %u", n, t);
    must(s, !(c->acked >> t & 1), "snapshot %" PRIu64 " has %s twice", n, task_name(j, t));
    c->acked |= 1u << t;
    struct state *st = &c->row->task[t];
    uint32_t states = 0;
    while (tide_acks_artifact(ack, &place, &a)) {
        if (a.flight) {
            struct flights **f = &c->row->flights[t];
            if (!*f) *f = sim_alloc(s, sizeof **f);
            must(s, a.is_inline && flights_unpack(s, *f, a.flight, a.channel, a.inlined),
                 "snapshot %" PRIu64 ": records in flight of %s cannot be read", n,
                 task_name(j, t));
            continue;
        }
        if (a.shared) {
            pieces_of_snapshot(s, c->row, &a, c->round->full);
            continue;
        }
        states++;
        if (a.is_inline) {
            must(s, a.inlined.len == sizeof *st, "snapshot %" PRIu64 ": %s has %zu bytes of state",
                 n, task_name(j, t), a.inlined.len);
            memcpy(st, a.inlined.data, sizeof *st);
        } else {
            const struct state *file = files_read(s, c->row->directory, t);
            must(s, file, "snapshot %" PRIu64 ": the file of %s is not there", n, task_name(j, t));
            *st = *file;
        }
    }
    must(s, states == 1, "snapshot %" PRIu64 ": %s has %u states", n, task_name(j, t), states);
    must(s, st->task == t, "snapshot %" PRIu64 ": %s has the state of %s", n, task_name(j, t),
         task_name(j, st->task));
}

/* One AckBatch of a chunk; returns the bytes behind it. */
static struct tide_bytes read_batch(struct sim *s, struct cut *c, struct tide_bytes rest)
{
    struct tide_acks acks;
    struct tide_ack_view ack;
    char why[160];
    uint64_t n = c->row->round;
    must(s, rest.len >= 4 && tide_get_u32(rest.data) <= rest.len - 4,
         "snapshot %" PRIu64 ": a chunk is cut short", n);
    struct tide_bytes batch = {rest.data + 4, tide_get_u32(rest.data)};
    int rc = tide_acks_open(&acks, batch, why);
    must(s, rc == 0, "snapshot %" PRIu64 ": acks that cannot be read: %s", n, why);
    must(s, acks.attempt == c->row->attempt && acks.round == n,
         "snapshot %" PRIu64 " of attempt %" PRIu64 " holds acks of round %" PRIu64
         ", attempt %" PRIu64,
         n, c->row->attempt, acks.round, acks.attempt);
    while (tide_acks_next(&acks, &ack))
        read_ack(s, c, &ack);
    return (struct tide_bytes){batch.data + batch.len, rest.len - 4 - batch.len};
}

static void read_acks(struct sim *s, struct cut *c)
{
    for (uint32_t i = 0; i < c->row->n_chunks; i++)
        for (struct tide_bytes rest = c->row->chunks[i]; rest.len;)
            rest = read_batch(s, c, rest);
}

/* What a restore reads is the same as what was checked. */
static void read_manifest(struct sim *s, struct cut *c)
{
    struct job *j = c->job;
    struct tide_buf image;
    struct tide_manifest m;
    char why[256];
    tide_buf_init(&image, 4u << 20);
    tide_manifest_put(&image, c->row->head, c->row->chunks, c->row->n_chunks);
    struct tide_bytes bytes = sim_bytes(s, (struct tide_bytes){image.data, image.len});
    tide_buf_release(&image);
    int rc = tide_manifest_open(&m, bytes, why);
    must(s, rc == 0, "the manifest of snapshot %" PRIu64 " cannot be read: %s", c->row->round, why);
    bool right = m.head->round == c->row->round && m.head->attempt == c->row->attempt &&
                 m.head->tasks == j->flow.tasks;
    if (right) check_externals(s, j, c->row, c->round, m.head);
    tide_manifest_close(&m);
    must(s, right, "the head of the manifest of snapshot %" PRIu64 " is another's", c->row->round);
}

static bool publishes(const struct d_snapshot *d)
{
    return d->kind == TIDE_CHECKPOINT || d->commits;
}

/* Tasks without an ack had ended before: their last state is that of the snapshot before. */
static void take_over_ended(struct sim *s, struct cut *c)
{
    struct job *j = c->job;
    struct d_snapshot *before = c->row->next;
    /* a round with effects ended them; a savepoint without may stand between */
    while (before && before->round != c->attempt->restored_from &&
           (!publishes(before) || before->attempt != c->row->attempt))
        before = before->next;
    for (uint32_t t = 0; t < j->flow.tasks; t++) {
        if (c->acked >> t & 1) continue;
        must(s, before && before->ended_mask >> t & 1,
             "snapshot %" PRIu64 " of attempt %" PRIu64 " leaves out %s", c->row->round,
             c->row->attempt, task_name(j, t));
        c->row->task[t] = before->task[t];
    }
    if (!before) return;
    /* one that had acked a savepoint before it was released is restored from there, and ends again
     */
    uint32_t back = publishes(c->row) ? 0 : c->acked;
    must(s, (before->ended_mask & ~c->row->ended_mask & ~back) == 0,
         "snapshot %" PRIu64 ": tasks that had ended are back", c->row->round);
}

/* Every ack was given by the worker that the attempt's row names, for this round, with these bytes.
 */
static void check_acks(struct sim *s, const struct cut *c)
{
    struct job *j = c->job;
    for (uint32_t t = 0; t < j->flow.tasks; t++) {
        if (!(c->acked >> t & 1)) continue;
        const struct told_state *told = c->round->task[t];
        const struct attempt *a = c->attempt;
        must(s, told && told->acked, "snapshot %" PRIu64 " is complete and %s never acked it",
             c->row->round, task_name(j, t));
        must(s,
             a->member[t] && told->by->pid == a->member_pid[t] &&
                 told->by->start_time == a->member_start[t],
             "snapshot %" PRIu64 ": %s was acked by pid %u, not by a worker of attempt %" PRIu64,
             c->row->round, task_name(j, t), told->by->pid, a->number);
        must(s, !memcmp(&told->state, &c->row->task[t], sizeof told->state),
             "snapshot %" PRIu64 ": the state of %s is not what it acked with", c->row->round,
             task_name(j, t));
        must(s, flights_equal(told->flights, c->row->flights[t]),
             "snapshot %" PRIu64 ": the records in flight of %s are not what it acked with",
             c->row->round, task_name(j, t));
        if (c->row->ended_mask >> t & 1)
            must(s, told->state.finished, "snapshot %" PRIu64 " calls %s ended, and it is not",
                 c->row->round, task_name(j, t));
    }
}

/* Where every task gets all pieces on restore, all tasks of the operator have finished or none. One
 * that had not told its end when it acked is not called ended: it is restored, and ends again. */
static void check_union(struct sim *s, const struct cut *c)
{
    struct job *j = c->job;
    for (uint32_t o = 0; o < j->flow.n_ops; o++) {
        uint32_t n = 0, called = 0;
        if (!j->spec.operators[o]->union_state) continue;
        for (uint32_t t = 0; t < j->flow.tasks; t++)
            if (j->flow.task[t].op == o) {
                n += c->row->task[t].finished;
                called += c->row->ended_mask >> t & 1;
            }
        must(s, !n || !called || n == j->flow.parallelism[o],
             "snapshot %" PRIu64 " has %u tasks of %s finished, which keeps union list state",
             c->row->round, n, j->flow.uid[o]);
    }
}

static bool later_checkpoint(const struct job *j, uint64_t round)
{
    for (const struct d_snapshot *d = j->store.snapshots; d; d = d->next)
        if (publishes(d) && d->round > round) return true;
    return false;
}

/* All that a sink's state covers is published, or in what the completion owes. */
static void check_effects(struct sim *s, const struct cut *c)
{
    struct job *j = c->job;
    for (uint32_t t = 0; t < j->flow.tasks; t++) {
        const struct flow_task *f = &j->flow.task[t];
        if (!f->sink) continue;
        record_set covered = {0};
        for (struct part *p = j->parts; p; p = p->next)
            if (p->task == t && p->state == PART_PUBLISHED) set_add(&covered, &p->records);
        const struct told_state *told = c->round->task[t];
        for (uint32_t i = 0; !publishes(c->row) && told && i < told->n_parts; i++)
            set_add(&covered,
                    &told->parts[i]->records); /* pending: the next checkpoint owes them */
        for (struct d_owed *o = j->store.owed; o; o = o->next) {
            bool mine = o->subtask == f->subtask && o->uid.len == strlen(j->flow.uid[f->op]) &&
                        !memcmp(o->uid.data, j->flow.uid[f->op], o->uid.len);
            for (size_t i = 0; mine && i + 4 <= o->handle.len; i += 4)
                for (struct part *p = j->parts; p; p = p->next)
                    if (p->id == tide_get_u32(o->handle.data + i)) {
                        must(s, p->state != PART_DROPPED,
                             "snapshot %" PRIu64 " owes a part that was dropped", c->row->round);
                        set_add(&covered, &p->records);
                    }
        }
        /* a savepoint may complete after a later checkpoint, which covers more */
        if (!publishes(c->row) && later_checkpoint(j, c->row->round))
            set_meet(&covered, &c->row->task[t].seen);
        must(s, !memcmp(&covered, &c->row->task[t].seen, sizeof covered),
             "snapshot %" PRIu64 ": of %u records that %s holds %u are published or owed",
             c->row->round, set_count(&c->row->task[t].seen), task_name(j, t), set_count(&covered));
    }
}

void check_snapshot(struct sim *s, struct job *j, uint64_t number)
{
    struct cut c = {.job = j, .row = store_snapshot(j, number), .round = check_round(j, number)};
    must(s, c.round, "snapshot %" PRIu64 " is durable, and no round of that number was begun",
         number);
    c.attempt = check_attempt(s, j, c.row->attempt);
    must(s, !c.round->told_abort,
         "round %" PRIu64 " was told aborted, and now its snapshot is durable", number);
    must(s, c.round->attempt == c.row->attempt,
         "snapshot %" PRIu64 " is of attempt %" PRIu64 ", its round of %" PRIu64, number,
         c.row->attempt, c.round->attempt);
    must(s, c.attempt->row, "snapshot %" PRIu64 ": attempt %" PRIu64 " is not in the store", number,
         c.row->attempt);
    for (size_t i = 0; i + 8 <= c.row->ended.len; i += 8) {
        uint32_t first = tide_get_u32(c.row->ended.data + i),
                 count = tide_get_u32(c.row->ended.data + i + 4);
        for (uint32_t t = first; t < first + count; t++)
            c.row->ended_mask |= 1u << t;
    }
    read_acks(s, &c);
    c.row->acked_mask = c.acked;
    take_over_ended(s, &c);
    check_acks(s, &c);
    j->program->check_cut(s, j, c.row);
    check_union(s, &c);
    check_effects(s, &c);
    read_manifest(s, &c);
    s->stats->complete++;
    s->stats->savepoints += c.row->kind == TIDE_SAVEPOINT;
}
