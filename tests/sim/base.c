/* What an admin has ordered a job to go on from, and what that does to the outside world.
 *
 * Going back undoes what the rounds in between have published: whoever orders it sees to that
 * before anything is published again, which here is the moment when the first attempt that
 * restores the base is durable; no attempt of before can speak any more by then. What is left is
 * what the states that are restored cover. Going forward again, to a snapshot that has been left
 * behind by an attempt that began from an older one, has somebody publish by hand what was undone,
 * or what that attempt's tasks have dropped. */
#include <inttypes.h>

#include "tests/sim/sim.h"

static uint64_t newest_round(const struct job *j)
{
    uint64_t newest = 0;
    for (const struct d_snapshot *d = j->store.snapshots; d; d = d->next)
        if (d->round > newest) newest = d->round;
    return newest;
}

static void leave_behind(struct job *j, uint64_t from)
{
    for (struct d_snapshot *d = j->store.snapshots; d; d = d->next)
        if (d->round > from) d->left_behind = true;
}

void base_ordered(struct sim *s, struct job *j, const struct tide_record *r)
{
    struct job_store *st = &j->store;
    const struct d_snapshot *d = r->base.snapshot ? store_snapshot(j, r->base.snapshot) : NULL;
    must(s, !r->base.snapshot || (d && d->state == TIDE_RETAINED),
         "job %s is to go on from snapshot %" PRIu64 ", which is not retained", j->name,
         r->base.snapshot);
    must(s, r->base.since >= st->base_since && r->base.since >= newest_round(j),
         "what is ordered to go on from %" PRIu64 " is newer than round %" PRIu64
         " alone, and there is round %" PRIu64,
         r->base.snapshot, r->base.since, newest_round(j));
    leave_behind(j, check_origin_round(j, r->base.snapshot));
    st->base_since = r->base.since;
    st->base_snapshot = r->base.snapshot;
    st->base_unmatched = r->base.unmatched;
    st->base_new = true;
    s->stats->bases++;
}

void base_reopens(struct sim *s, struct job *j)
{
    j->reopened = true;
    if (!j->over) return;
    note(s, "%sjob: begins again", j->prefix);
    j->over = j->done = false;
    for (uint32_t i = 0; i < j->slots; i++)
        sim_at(s, s->now + below(s, 100 * MS), proc_start, j, i);
}

/* What the next attempt has to restore. */
uint64_t base_expected(const struct job *j)
{
    uint64_t newest = 0;
    for (const struct d_snapshot *d = j->store.snapshots; d; d = d->next)
        if ((d->kind == TIDE_CHECKPOINT || d->commits) && d->state == TIDE_RETAINED &&
            d->round > j->store.base_since && d->round > newest)
            newest = d->round;
    return newest ? newest : j->store.base_snapshot;
}

static bool is_within(const record_set *a, const record_set *b)
{
    record_set both = *b;
    set_add(&both, a);
    return !memcmp(&both, b, sizeof both);
}

/* An ack of a round up to the one that is restored names it: it is owed, or was. */
static bool is_named(const struct job *j, const struct part *p)
{
    uint64_t upto = check_origin_round(j, j->store.base_snapshot);
    for (const struct round *r = j->rounds; r; r = r->next) {
        const struct told_state *told = r->number <= upto ? r->task[p->task] : NULL;
        for (uint32_t i = 0; told && i < told->n_parts; i++)
            if (told->parts[i] == p) return true;
    }
    return false;
}

/* Of one sink: what its state covers is published, or will be; nothing else is. */
static void put_right(struct sim *s, struct job *j, uint32_t task, const struct d_snapshot *d,
                      uint64_t from, bool inherited)
{
    record_set none = {0}, have = {0}, rest = {0};
    const record_set *seen = d ? &d->task[task].seen : &none;
    for (struct part *p = j->parts; p; p = p->next) {
        if (p->task != task) continue;
        if (!p->attempt) set_meet(&p->records, seen); /* whoever put it there takes back the rest */
        bool kept = is_within(&p->records, seen) && !set_overlap(&p->records, &have);
        if (p->state == PART_PENDING && !is_named(j, p)) continue;
        if (p->state == PART_PENDING && kept) set_add(&have, &p->records);
        if (p->state != PART_PUBLISHED) continue;
        if (kept)
            set_add(&have, &p->records);
        else
            p->state = PART_FORGOTTEN;
    }
    for (uint32_t i = 0; i < j->flow.sources; i++)
        for (uint32_t n = 0; n < j->flow.records; n++)
            if (set_has(seen, i, n) && !set_has(&have, i, n)) set_put(&rest, i, n);
    if (!set_count(&rest)) return;
    must(s, d->left_behind || inherited,
         "snapshot %" PRIu64 " is restored, of which %u records of %s are neither published nor "
         "pending",
         d->round, set_count(&rest), task_name(j, task));
    struct part *p = sim_alloc(s, sizeof *p);
    *p = (struct part){j->parts, j->n_parts++, task, 0, from, PART_PUBLISHED, rest};
    j->parts = p;
}

/* A commit that is given up is carried out by hand, by whoever has ordered that. */
void base_abandoned(struct sim *s, struct job *j, const struct tide_record *strike)
{
    must(s, j->may_abandon, "a commit of job %s is given up, and nobody has asked for that",
         j->name);
    for (const struct d_owed *o = j->store.owed; o; o = o->next) {
        if (!store_strikes(strike, o)) continue;
        for (size_t i = 0; i + 4 <= o->handle.len; i += 4)
            for (struct part *p = j->parts; p; p = p->next) {
                if (p->id != tide_get_u32(o->handle.data + i) || p->state != PART_PENDING) continue;
                note(s, "%sadmin: carries out part %u of round %" PRIu64 " by hand", j->prefix,
                     p->id, o->round);
                p->state = PART_PUBLISHED;
                set_add(&j->published, &p->records);
            }
    }
}

void base_restored(struct sim *s, struct job *j, uint64_t restored)
{
    uint64_t from = check_origin_round(j, j->store.base_snapshot);
    leave_behind(j, check_origin_round(j, restored));
    if (!j->store.base_new) return;
    j->store.base_new = false;
    /* a copy is restored as what it was copied from */
    const struct d_snapshot *base =
        j->store.base_snapshot ? store_snapshot(j, j->store.base_snapshot) : NULL;
    bool inherited = base && base->origin && base->origin_of != j;
    const struct d_snapshot *d = check_origin(j, base);
    for (uint32_t t = 0; t < j->flow.tasks; t++)
        if (j->flow.task[t].sink) put_right(s, j, t, inherited ? base : d, from, inherited);
    memset(&j->published, 0, sizeof j->published);
    for (struct part *p = j->parts; p; p = p->next)
        if (p->state == PART_PUBLISHED) set_add(&j->published, &p->records);
    for (struct d_snapshot *e = j->store.snapshots; e; e = e->next) /* older ones may branch off */
        e->left_behind = e != d;
    if (j->newest_published > from) j->newest_published = from;
    for (uint32_t t = 0; t < TASKS_MAX; t++)
        if (j->last_effect[t] > from) j->last_effect[t] = from;
    note(s, "%sjob: the outside world is as of snapshot %" PRIu64, j->prefix, from);
}
