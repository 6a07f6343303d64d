/* Promises about snapshots that were copied elsewhere and are restored from there: what becomes
 * known is what was copied, under a number of its own, and the checkpoints after it lean on nothing
 * of it until one is complete. */
#include "tests/sim/sim.h"

const struct d_snapshot *check_origin(const struct job *j, const struct d_snapshot *d)
{
    if (!d || !d->origin) return d;
    if (d->origin_of != j) return d->origin; /* its number says nothing here */
    const struct d_snapshot *row =
        store_snapshot(j, d->origin->round); /* of an old copy, perhaps */
    return row ? row : d->origin;
}

uint64_t check_origin_round(const struct job *j, uint64_t round)
{
    const struct d_snapshot *d = round ? store_snapshot(j, round) : NULL;
    if (d && d->origin && d->origin_of != j) return 0; /* older than all of the job's own */
    d = check_origin(j, d);
    return d ? d->round : round;
}

void check_imported(struct sim *s, struct job *j, uint64_t number)
{
    struct d_snapshot *d = store_snapshot(j, number);
    const struct directory *in = files_find(s, (const char *)d->directory.data, d->directory.len);
    struct tide_buf image;
    must(s, in && in->origin, "snapshot %" PRIu64 " is imported from where nobody put one", number);
    must(s, !d->attempt && !d->commits && number <= s->store.reserved,
         "snapshot %" PRIu64 " is imported as if it had been taken here", number);
    for (const struct job *other = s->jobs; other; other = other->next)
        must(s, !check_round(other, number),
             "snapshot %" PRIu64 " is imported, and is a round of %s", number, other->name);
    tide_buf_init(&image, 4u << 20);
    tide_manifest_put(&image, d->head, d->chunks, d->n_chunks);
    struct tide_bytes bytes = sim_bytes(s, (struct tide_bytes){image.data, image.len});
    tide_buf_release(&image);
    must(s, tide_bytes_equal(bytes, in->image), "snapshot %" PRIu64 " is not what lies in %s",
         number, in->path);
    d->origin = in->origin;
    d->origin_of = in->origin_of;
    s->stats->imports++;
    s->stats->inherited += d->origin_of != j;
    memcpy(d->part, d->origin->part, sizeof d->part);
    if (heir_rescaled(j, d)) {
        for (uint32_t t = 0; t < d->origin_of->flow.tasks; t++)
            must(s, !d->origin->flights[t],
                 "snapshot %" PRIu64 " has records in flight, and is to be restored at another "
                 "parallelism",
                 number);
        heir_states(j, d);
        s->stats->rescaled++;
        return;
    }
    d->acked_mask = d->origin->acked_mask;
    d->ended_mask = d->origin->ended_mask;
    memcpy(d->task, d->origin->task, sizeof d->task);
    memcpy(d->flights, d->origin->flights, sizeof d->flights);
}

/* A job begins from where its first worker has said, or afresh if that has said nothing; the commit
 * that makes it says which. */
void check_born(struct sim *s, const struct job *j, const struct tide_record *made)
{
    const struct tide_bytes *from = NULL;
    bool said = false;
    for (const struct tide_record *r = made; r && r->type != TIDE_REC_BASE; r = r->next)
        if (r->type == TIDE_REC_SNAPSHOT) from = &r->snapshot.directory;
    for (const struct proc *p = j->procs; p; p = p->next)
        said = said || tide_bytes_equal(p->from, from ? *from : (struct tide_bytes){0});
    must(s, said, "job %s begins %s%.*s, and none of its workers has said so", j->name,
         from ? "from " : "afresh", from ? (int)from->len : 0,
         from ? (const char *)from->data : "");
}

/* A job that cannot begin from where it is to begin is no job. */
void check_sent_refused(struct sim *s, const struct job *j, struct tide_bytes content)
{
    static const char cannot[] = "cannot begin from restore_from";
    Tide__Refused *m = tide__refused__unpack(NULL, content.len, content.data);
    must(s, m, "a Refused that cannot be parsed");
    bool begins = !memmem(m->reason.data, m->reason.len, cannot, sizeof cannot - 1);
    tide__refused__free_unpacked(m, NULL);
    must(s, begins || !j->store.made, "job %s is refused its restore_from, and is in the store",
         j->name);
}

/* The daemon may know later than the store that one is complete. */
void check_full(struct sim *s, const struct job *j, uint64_t number, bool savepoint, bool full)
{
    const struct d_snapshot *base =
        j->store.base_snapshot ? store_snapshot(j, j->store.base_snapshot) : NULL;
    bool first = true;
    struct round *r = check_round(j, number);
    if (r) r->full = full;
    if (savepoint || !base || !base->imported) return;
    for (const struct d_snapshot *d = j->store.snapshots; d; d = d->next)
        first = first && (d->kind != TIDE_CHECKPOINT || d->round <= j->store.base_since);
    must(s, !first || full,
         "round %" PRIu64 " may lean on snapshot %" PRIu64 ", which is its user's", number,
         base->round);
}
