/* The promises about what is durable: a snapshot that is complete is a cut that could have
 * happened, made by the workers of its attempt, all of them; what a restorable snapshot needs is
 * never given up. */
#include <inttypes.h>
#include <stdio.h>

#include "tests/sim/sim.h"

/* ---- one snapshot, from its manifest */

struct cut {
    struct d_snapshot *row;
    struct round *round;
    struct attempt *attempt;
    uint32_t acked, ended; /* tasks */
};

static void read_ack(struct sim *s, struct cut *c, const struct tide_ack_view *ack)
{
    struct tide_artifact_place place = {0};
    struct tide_artifact_view a;
    uint64_t n = c->row->round;
    uint32_t t = ack->task;
    must(s, t < s->flow.tasks, "snapshot %" PRIu64 " has a task %u", n, t);
    must(s, !(c->acked >> t & 1), "snapshot %" PRIu64 " has %s twice", n, task_name(s, t));
    c->acked |= 1u << t;
    must(s, ack->artifacts == 1 && tide_acks_artifact(ack, &place, &a),
         "snapshot %" PRIu64 ": %s has %u artifacts", n, task_name(s, t), ack->artifacts);
    struct state *st = &c->row->task[t];
    if (a.is_inline) {
        must(s, a.inlined.len == sizeof *st, "snapshot %" PRIu64 ": %s has %zu bytes of state", n,
             task_name(s, t), a.inlined.len);
        memcpy(st, a.inlined.data, sizeof *st);
    } else {
        const struct state *file = files_read(s, c->row->directory, t);
        must(s, file, "snapshot %" PRIu64 ": the file of %s is not there", n, task_name(s, t));
        *st = *file;
    }
    must(s, st->task == t, "snapshot %" PRIu64 ": %s has the state of %s", n, task_name(s, t),
         task_name(s, st->task));
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
static void read_manifest(struct sim *s, const struct cut *c)
{
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
                 m.head->tasks == s->flow.tasks;
    tide_manifest_close(&m);
    must(s, right, "the head of the manifest of snapshot %" PRIu64 " is another's", c->row->round);
}

/* Tasks without an ack had ended before: their last state is that of the snapshot before. */
static void take_over_ended(struct sim *s, struct cut *c)
{
    struct d_snapshot *before = c->row->next;
    while (before && before->attempt != c->row->attempt &&
           before->round != c->attempt->restored_from)
        before = before->next;
    for (uint32_t t = 0; t < s->flow.tasks; t++) {
        if (c->acked >> t & 1) continue;
        must(s, before && before->ended_mask >> t & 1,
             "snapshot %" PRIu64 " of attempt %" PRIu64 " leaves out %s", c->row->round,
             c->row->attempt, task_name(s, t));
        c->row->task[t] = before->task[t];
    }
    if (!before) return;
    must(s, (before->ended_mask & ~c->row->ended_mask) == 0,
         "snapshot %" PRIu64 ": tasks that had ended are back", c->row->round);
}

/* Every ack was given by the worker that the attempt's row names, for this round, with these bytes.
 */
static void check_acks(struct sim *s, const struct cut *c)
{
    for (uint32_t t = 0; t < s->flow.tasks; t++) {
        if (!(c->acked >> t & 1)) continue;
        const struct told_state *told = c->round->task[t];
        const struct attempt *a = c->attempt;
        must(s, told && told->acked, "snapshot %" PRIu64 " is complete and %s never acked it",
             c->row->round, task_name(s, t));
        must(s,
             a->member[t] && told->by->pid == a->member_pid[t] &&
                 told->by->start_time == a->member_start[t],
             "snapshot %" PRIu64 ": %s was acked by pid %u, not by a worker of attempt %" PRIu64,
             c->row->round, task_name(s, t), told->by->pid, a->number);
        must(s, !memcmp(&told->state, &c->row->task[t], sizeof told->state),
             "snapshot %" PRIu64 ": the state of %s is not what it acked with", c->row->round,
             task_name(s, t));
        if (c->row->ended_mask >> t & 1)
            must(s, told->state.finished, "snapshot %" PRIu64 " calls %s ended, and it is not",
                 c->row->round, task_name(s, t));
    }
}

/* The cut could have happened: what was received is what was sent, nothing is under way. */
static void check_cut(struct sim *s, const struct cut *c)
{
    const struct flow *f = &s->flow;
    for (uint32_t i = 0; i < f->channels; i++) {
        const struct flow_channel *ch = &f->channel[i];
        uint32_t sent = c->row->task[ch->from].sent[i], got = c->row->task[ch->to].got[i];
        must(s, sent == got,
             "snapshot %" PRIu64 ": %s had sent %u to %s at its barrier, which had received %u",
             c->row->round, task_name(s, ch->from), sent, task_name(s, ch->to), got);
    }
    record_set all = {0};
    for (uint32_t t = 0; t < f->tasks; t++) {
        if (!f->task[t].sink) continue;
        must(s, !set_overlap(&all, &c->row->task[t].seen),
             "snapshot %" PRIu64 ": two sinks hold one record", c->row->round);
        set_add(&all, &c->row->task[t].seen);
    }
    uint32_t offsets = 0;
    for (uint32_t t = 0; t < f->tasks; t++)
        if (f->task[t].source) offsets += c->row->task[t].offset;
    must(s, set_count(&all) == offsets,
         "snapshot %" PRIu64 ": sources put out %u records, sinks hold %u", c->row->round, offsets,
         set_count(&all));
}

/* All that a sink's state covers is published, or in what the completion owes. */
static void check_effects(struct sim *s, const struct cut *c)
{
    for (uint32_t t = 0; t < s->flow.tasks; t++) {
        const struct flow_task *f = &s->flow.task[t];
        if (!f->sink) continue;
        record_set covered = {0};
        for (struct part *p = s->parts; p; p = p->next)
            if (p->task == t && p->state == PART_PUBLISHED) set_add(&covered, &p->records);
        const struct told_state *told = c->round->task[t];
        for (uint32_t i = 0; c->row->kind == TIDE_SAVEPOINT && told && i < told->n_parts; i++)
            set_add(&covered,
                    &told->parts[i]->records); /* pending: the next checkpoint owes them */
        for (struct d_owed *o = s->store.owed; o; o = o->next) {
            bool mine = o->subtask == f->subtask && o->uid.len == strlen(s->flow.uid[f->op]) &&
                        !memcmp(o->uid.data, s->flow.uid[f->op], o->uid.len);
            for (size_t i = 0; mine && i + 4 <= o->handle.len; i += 4)
                for (struct part *p = s->parts; p; p = p->next)
                    if (p->id == tide_get_u32(o->handle.data + i)) {
                        must(s, p->state != PART_DROPPED,
                             "snapshot %" PRIu64 " owes a part that was dropped", c->row->round);
                        set_add(&covered, &p->records);
                    }
        }
        must(s, !memcmp(&covered, &c->row->task[t].seen, sizeof covered),
             "snapshot %" PRIu64 ": of %u records that %s holds %u are published or owed",
             c->row->round, set_count(&c->row->task[t].seen), task_name(s, t), set_count(&covered));
    }
}

static void check_snapshot(struct sim *s, uint64_t number)
{
    struct cut c = {.row = store_snapshot(s, number), .round = check_round(s, number)};
    must(s, c.round, "snapshot %" PRIu64 " is durable, and no round of that number was begun",
         number);
    c.attempt = check_attempt(s, c.row->attempt);
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
    take_over_ended(s, &c);
    check_acks(s, &c);
    check_cut(s, &c);
    check_effects(s, &c);
    read_manifest(s, &c);
    s->stats->complete++;
    s->stats->savepoints += c.row->kind == TIDE_SAVEPOINT;
}

/* ---- all that is durable, after each commit */

/* A strike may be lost (the store was full); the commit is owed in truth while one of its parts is
 * pending. */
bool check_owed(struct sim *s, const struct d_owed *o)
{
    for (size_t i = 0; i + 4 <= o->handle.len; i += 4)
        for (const struct part *p = s->parts; p; p = p->next)
            if (p->id == tide_get_u32(o->handle.data + i) && p->state != PART_PUBLISHED)
                return true;
    return false;
}

static void check_retention(struct sim *s)
{
    const struct d_snapshot *newest = NULL;
    for (const struct d_snapshot *d = s->store.snapshots; d; d = d->next) {
        if (d->kind == TIDE_SAVEPOINT)
            must(s, d->state == TIDE_RETAINED, "savepoint %" PRIu64 " is %s", d->round,
                 tide_snapshot_state_name(d->state));
        else if (!newest || d->round > newest->round)
            newest = d;
        if (d->state == TIDE_RETAINED) continue;
        for (const struct d_owed *o = s->store.owed; o; o = o->next)
            must(s, o->round != d->round || !check_owed(s, o),
                 "snapshot %" PRIu64 " is %s and commits are owed from it", d->round,
                 tide_snapshot_state_name(d->state));
    }
    if (newest)
        must(s, newest->state == TIDE_RETAINED, "the newest checkpoint, %" PRIu64 ", is %s",
             newest->round, tide_snapshot_state_name(newest->state));
}

static void learn_attempt(struct sim *s, const struct tide_record *r)
{
    struct attempt *a = check_attempt(s, r->attempt.attempt);
    a->row = true;
    a->external = r->attempt.external;
    a->incarnation = r->attempt.incarnation;
    a->restored_from = r->attempt.restored_from;
    s->stats->attempts++;
    for (uint32_t i = 0; i < r->attempt.n_members; i++) {
        const struct tide_member *m = &r->attempt.members[i];
        for (uint32_t k = 0; k < m->n_ranges; k++)
            for (uint32_t t = m->ranges[2 * k]; t < m->ranges[2 * k] + m->ranges[2 * k + 1]; t++) {
                must(s, t < s->flow.tasks && !a->member[t], "attempt %" PRIu64 " has task %u twice",
                     a->number, t);
                a->member[t] = true;
                a->member_pid[t] = m->pid;
                a->member_start[t] = m->start_time;
            }
    }
    /* one that only delivers what is owed, after the end of all tasks, needs no others */
    for (uint32_t t = 0; t < s->flow.tasks && s->store.state != TIDE_JOB_STOPPING; t++)
        must(s, a->member[t], "attempt %" PRIu64 " begins without %s", a->number, task_name(s, t));
}

/* With a new checkpoint go all that the job does not keep, but for those from which commits are
 * owed. */
static void check_kept(struct sim *s)
{
    uint32_t kept = 0;
    for (const struct d_snapshot *d = s->store.snapshots; d; d = d->next) {
        bool owed = d->kind != TIDE_CHECKPOINT || d->state != TIDE_RETAINED;
        for (const struct d_owed *o = s->store.owed; o && !owed; o = o->next)
            owed = o->round == d->round;
        kept += !owed;
    }
    must(s, kept <= s->checkpointing.retained, "%u checkpoints are retained, the job keeps %u",
         kept, s->checkpointing.retained);
}

void check_durable(struct sim *s, const struct tide_commit *c)
{
    bool newest = false;
    for (const struct tide_record *r = c->first; r; r = r->next) {
        switch (r->type) {
        case TIDE_REC_ATTEMPT: learn_attempt(s, r); break;
        case TIDE_REC_SNAPSHOT:
            check_snapshot(s, r->snapshot.round);
            newest = newest || r->snapshot.kind == TIDE_CHECKPOINT;
            break;
        case TIDE_REC_ROUND_END:
            s->stats->rounds++;
            must(s, r->round.complete == (store_snapshot(s, r->round.number) != NULL),
                 "round %" PRIu64 " is recorded as %s, against its snapshot", r->round.number,
                 r->round.complete ? "complete" : "aborted");
            if (r->round.complete) break;
            s->stats->aborted++;
            s->stats->abort_codes[(unsigned)r->round.code % 16]++;
            must(s,
                 r->round.code != TIDE__ABORT_CODE__ABORT_DEADLINE ||
                     r->round.kind == TIDE_SAVEPOINT || r->round.holders_total > 0,
                 "round %" PRIu64 " missed its deadline and nobody is named", r->round.number);
            break;
        default: break;
        }
    }
    check_retention(s);
    if (newest) check_kept(s);
}

/* ---- files */

static uint64_t trailing_number(const char *path)
{
    const char *at = strrchr(path, '/');
    uint64_t n = 0;
    if (!at) return 0;
    for (at++; *at && (*at < '0' || *at > '9'); at++)
        continue;
    for (; *at >= '0' && *at <= '9'; at++)
        n = n * 10 + (uint64_t)(*at - '0');
    return n;
}

void check_file(struct sim *s, enum file_op op, const char *path, bool executing)
{
    size_t len = strlen(path);
    if (op != FILE_DELETE_ROUND) return;
    for (const struct d_snapshot *d = s->store.snapshots; d; d = d->next) {
        if (d->directory.len != len || memcmp(d->directory.data, path, len)) continue;
        must(s, d->state != TIDE_RETAINED,
             "%s of snapshot %" PRIu64 " %s deleted, and its row says retained", path, d->round,
             executing ? "is being" : "is to be");
        return;
    }
    for (const struct d_round *r = s->store.rounds; r; r = r->next) {
        if (r->r.directory.len != len || memcmp(r->r.directory.data, path, len)) continue;
        must(s, (r->ended || s->store.dropped) && !r->r.complete,
             "%s is to be deleted, and round %" PRIu64 " is not over in the store", path,
             r->r.number);
        return;
    }
    const struct round *lost = s->store.dropped ? check_round(s, trailing_number(path)) : NULL;
    must(s, lost && lost->over,
         "%s is to be deleted, and the store knows nothing of round %" PRIu64, path,
         trailing_number(path));
}
