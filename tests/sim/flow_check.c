/* What must hold of the dataflow's snapshots: the cut could have happened.
 *
 * On each channel the receiver's state and what is in flight, at its input and at the sender's
 * output, are what the sender had put in before its barrier, record by record. At least once, a
 * receiver may have more, and nothing is in flight. */
#include "tests/sim/sim.h"

bool flow_repeats(const struct job *j)
{
    return j->checkpointing.alignment == TIDE__ALIGNMENT__ALIGN_AT_LEAST_ONCE;
}

struct on_channel { /* one channel of a snapshot */
    struct job *job;
    const struct d_snapshot *snapshot;
    const struct flow_channel *channel;
    const struct pipe *pipe;
    uint32_t number; /* records that stand before what is looked at next */
    uint32_t ends;
};

/* Each record in flight is the next one that was put in. */
static void walk(struct sim *s, struct on_channel *o, uint32_t task, Tide__Flight flight,
                 uint32_t channel)
{
    const struct flights *f = o->snapshot->flights[task];
    for (uint32_t i = 0; f && i < f->n; i++) {
        const struct flying *x = &f->item[i];
        if (x->flight != (uint32_t)flight || x->channel != channel) continue;
        must(s, !o->ends, "snapshot %" PRIu64 ": %s has something in flight behind the end of data",
             o->snapshot->round, task_name(o->job, task));
        if (x->kind == ITEM_END_OF_DATA) {
            o->ends++;
            continue;
        }
        const struct logged *l = channel_logged(o->pipe, o->number++);
        must(s, l && l->source == x->source && l->number == x->number,
             "snapshot %" PRIu64 ": record %u of source %u is in flight from %s to %s, and is not "
             "the one that was put in",
             o->snapshot->round, x->number, x->source, task_name(o->job, o->channel->from),
             task_name(o->job, o->channel->to));
    }
}

/* In the attempt in which its ends were started, both in the same one. */
static const struct pipe *pipe_of(struct sim *s, struct job *j, const struct d_snapshot *d,
                                  uint32_t c)
{
    const struct attempt *a = check_attempt(s, j, d->attempt);
    const struct flow_channel *ch = &j->flow.channel[c];
    uint64_t since = a->since[ch->from];
    must(s, since == a->since[ch->to],
         "attempt %" PRIu64 ": %s was started in attempt %" PRIu64
         ", %s, which it feeds, in %" PRIu64,
         a->number, task_name(j, ch->from), since, task_name(j, ch->to), a->since[ch->to]);
    return &check_attempt(s, j, since ? since : a->number)->pipe[c];
}

static void check_channel(struct sim *s, struct job *j, const struct d_snapshot *d, uint32_t c)
{
    const struct flow_channel *ch = &j->flow.channel[c];
    uint32_t sent = d->task[ch->from].sent[c], got = d->task[ch->to].got[c];
    struct on_channel o = {.job = j,
                           .snapshot = d,
                           .channel = ch,
                           .pipe = pipe_of(s, j, d, c),
                           .number = got,
                           .ends = d->task[ch->to].ends >> ch->input & 1};
    walk(s, &o, ch->to, TIDE__FLIGHT__FLIGHT_INPUT, ch->input);
    walk(s, &o, ch->from, TIDE__FLIGHT__FLIGHT_OUTPUT, ch->output);
    if (flow_repeats(j)) {
        must(s, got >= sent,
             "snapshot %" PRIu64
             ": %s had sent %u to %s at its barrier, which had received only %u",
             d->round, task_name(j, ch->from), sent, task_name(j, ch->to), got);
        return;
    }
    must(s, sent == o.number,
         "snapshot %" PRIu64
         ": %s had sent %u to %s at its barrier, which had received %u, with %u in flight",
         d->round, task_name(j, ch->from), sent, task_name(j, ch->to), got, o.number - got);
    must(s, o.ends == d->task[ch->from].finished,
         "snapshot %" PRIu64 ": the end of %s's data is in it %u times for %s", d->round,
         task_name(j, ch->from), o.ends, task_name(j, ch->to));
    must(s, !(d->ended_mask >> ch->from & 1) || !d->flights[ch->from],
         "snapshot %" PRIu64 ": %s has ended and has records to put out", d->round,
         task_name(j, ch->from));
}

/* Sources and sinks agree, with what is in flight. */
static void check_records(struct sim *s, struct job *j, const struct d_snapshot *d)
{
    const struct flow *f = &j->flow;
    record_set all = {0};
    uint32_t twice = 0;
    for (uint32_t t = 0; t < f->tasks; t++) {
        const struct flights *x = d->flights[t];
        if (f->task[t].sink) {
            twice += set_overlap(&all, &d->task[t].seen);
            set_add(&all, &d->task[t].seen);
        }
        for (uint32_t i = 0; x && i < x->n; i++) {
            if (x->item[i].kind != ITEM_RECORD) continue;
            twice += set_has(&all, x->item[i].source, x->item[i].number);
            set_put(&all, x->item[i].source, x->item[i].number);
        }
    }
    must(s, !twice || flow_repeats(j), "snapshot %" PRIu64 ": one record is in it twice", d->round);
    uint32_t offsets = 0;
    for (uint32_t t = 0; t < f->tasks; t++) {
        if (!f->task[t].source) continue;
        offsets += d->task[t].offset;
        for (uint32_t n = 0; n < d->task[t].offset; n++)
            must(s, set_has(&all, f->task[t].source_number, n),
                 "snapshot %" PRIu64 ": record %u of %s is neither at a sink nor in flight",
                 d->round, n, task_name(j, t));
    }
    must(s, flow_repeats(j) || set_count(&all) == offsets,
         "snapshot %" PRIu64 ": sources put out %u records, sinks hold %u", d->round, offsets,
         set_count(&all));
}

void flow_check_cut(struct sim *s, struct job *j, const struct d_snapshot *d)
{
    for (uint32_t c = 0; c < j->flow.channels; c++)
        check_channel(s, j, d, c);
    check_records(s, j, d);
    must(s,
         !d->unaligned || d->kind == TIDE_SAVEPOINT ||
             j->checkpointing.alignment >= TIDE__ALIGNMENT__ALIGN_UNALIGNED,
         "checkpoint %" PRIu64 " has not waited for all barriers, and its job's are aligned",
         d->round);
    s->stats->unaligned += d->unaligned;
    s->stats->savepoints_unaligned += d->unaligned && d->kind == TIDE_SAVEPOINT;
    s->stats->counted += flow_repeats(j);
}

static uint32_t put_out(const struct job *j, const struct d_snapshot *last, uint32_t source)
{
    for (uint32_t t = 0; t < j->flow.tasks; t++)
        if (j->flow.task[t].source && j->flow.task[t].source_number == source)
            return last->task[t].offset;
    return 0;
}

void flow_check_finished(struct sim *s, struct job *j)
{
    const struct d_snapshot *last = store_snapshot(j, j->store.ended_snapshot);
    for (uint32_t i = 0; i < j->flow.sources; i++) {
        uint32_t all = check_drained(j) ? put_out(j, last, i) : j->flow.records;
        for (uint32_t n = 0; n < all; n++)
            must(s, set_has(&j->published, i, n),
                 "the job is finished, record %u of source %u was never published", n, i);
    }
}
