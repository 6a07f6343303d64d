/* See lib_shelf.h. */
#include "tests/core/lib_shelf.h"

#include <check.h>
#include <string.h>

#include "storage/manifest.h"

void shelf_init(struct shelf *s)
{
    memset(s, 0, sizeof *s);
    tide_arena_init(&s->arena, (size_t)256 << 20);
}

void shelf_release(struct shelf *s)
{
    tide_arena_release(&s->arena);
}

static struct tide_bytes keep(struct shelf *s, struct tide_bytes from)
{
    struct tide_bytes kept = tide_arena_bytes(&s->arena, from);
    ck_assert(kept.data || !from.len);
    return kept;
}

static struct shelf_job *job_of(struct shelf *s, tide_id id)
{
    for (uint32_t i = 0; i < s->n_jobs; i++)
        if (memcmp(s->jobs[i].id.b, id.b, sizeof id.b) == 0) return &s->jobs[i];
    ck_assert_uint_lt(s->n_jobs, 2);
    s->jobs[s->n_jobs] = (struct shelf_job){.id = id, .state = TIDE_JOB_WAITING};
    return &s->jobs[s->n_jobs++];
}

static void apply_attempt(struct shelf *s, struct shelf_job *j, const struct tide_record *r)
{
    struct tide_member *members =
        tide_arena_alloc(&s->arena, (r->attempt.n_members + 1) * sizeof *members);
    ck_assert_ptr_nonnull(members);
    for (uint32_t i = 0; i < r->attempt.n_members; i++) {
        const struct tide_member *m = &r->attempt.members[i];
        members[i] = *m;
        members[i].worker = keep(s, m->worker);
        members[i].endpoint = keep(s, m->endpoint);
        members[i].boot_id = keep(s, m->boot_id);
        members[i].ranges =
            tide_arena_copy(&s->arena, m->ranges, (size_t)m->n_ranges * 2 * sizeof *m->ranges);
    }
    uint64_t nonce = 0;
    for (uint32_t i = 0; i < s->n_incarnations; i++)
        if (s->incarnations[i].number == r->attempt.incarnation) nonce = s->incarnations[i].nonce;
    j->last = (struct tide_catalog_attempt){.attempt = r->attempt.attempt,
                                            .incarnation = r->attempt.incarnation,
                                            .nonce = nonce,
                                            .external = r->attempt.external,
                                            .restored_from = r->attempt.restored_from,
                                            .directory = keep(s, r->attempt.directory),
                                            .members = members,
                                            .n_members = r->attempt.n_members};
    if (r->attempt.external > s->external) s->external = r->attempt.external;
}

static void apply_snapshot(struct shelf *s, struct shelf_job *j, const struct tide_record *r)
{
    struct tide_buf image;
    uint32_t at = j->n_snapshots++;
    ck_assert_uint_lt(at, SHELF_MAX);
    for (; at && j->snapshots[at - 1].round > r->snapshot.round; at--) {
        j->snapshots[at] = j->snapshots[at - 1];
        j->images[at] = j->images[at - 1];
    }
    j->snapshots[at] = (struct tide_catalog_snapshot){.round = r->snapshot.round,
                                                      .incarnation = r->snapshot.incarnation,
                                                      .attempt = r->snapshot.attempt,
                                                      .parent = r->snapshot.parent,
                                                      .completed_wall = r->snapshot.completed_wall,
                                                      .begun_wall = r->snapshot.begun_wall,
                                                      .bytes = r->snapshot.bytes,
                                                      .kind = r->snapshot.kind,
                                                      .state = TIDE_RETAINED,
                                                      .directory = keep(s, r->snapshot.directory),
                                                      .ended = keep(s, r->snapshot.ended),
                                                      .style = r->snapshot.style,
                                                      .unaligned = r->snapshot.unaligned,
                                                      .commits = r->snapshot.commits,
                                                      .imported = r->snapshot.imported,
                                                      .shared = r->snapshot.shared};
    tide_buf_init(&image, (size_t)64 << 20);
    tide_manifest_put(&image, r->snapshot.head, r->snapshot.chunks, r->snapshot.n_chunks);
    ck_assert_int_eq(image.rc, 0);
    j->images[at] = keep(s, (struct tide_bytes){image.data, image.len});
    tide_buf_release(&image);
}

static void apply_snapshot_state(struct shelf_job *j, const struct tide_record *r)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < j->n_snapshots; i++) {
        struct tide_catalog_snapshot *s = &j->snapshots[i];
        bool it = s->round == r->snapshot_state.round;
        if (it) s->state = r->snapshot_state.state;
        if (s->round > j->completed && !s->imported) j->completed = s->round;
        if (it && s->kind == TIDE_CHECKPOINT && !s->imported && s->round > j->subsumed)
            j->subsumed = s->round;
        if (s->state == TIDE_DELETED &&
            (s->kind != TIDE_SAVEPOINT || s->imported || s->attempt != j->last.attempt))
            continue;
        j->images[kept] = j->images[i];
        j->snapshots[kept++] = *s;
    }
    j->n_snapshots = kept;
}

static void apply_strike(struct shelf_job *j, const struct tide_record *r)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < j->n_owed; i++) {
        const struct tide_catalog_owed *o = &j->owed[i];
        if (o->round <= r->strike.upto && o->subtask == r->strike.subtask &&
            tide_bytes_equal(o->uid, r->strike.uid))
            continue;
        j->owed[kept++] = *o;
    }
    j->n_owed = kept;
}

static void apply_operation(struct shelf *s, struct shelf_job *j, const struct tide_record *r)
{
    uint32_t at = 0;
    while (at < j->n_operations && j->operations[at].id != r->operation.id)
        at++;
    ck_assert_uint_lt(at, SHELF_MAX);
    if (at == j->n_operations) j->n_operations++;
    j->operations[at] =
        (struct tide_catalog_operation){.id = r->operation.id,
                                        .snapshot = r->operation.snapshot,
                                        .begun_wall = r->operation.begun_wall,
                                        .ended_wall = r->operation.ended_wall,
                                        .kind = r->operation.kind,
                                        .state = r->operation.state,
                                        .key = keep(s, r->operation.key),
                                        .target = keep(s, r->operation.target),
                                        .location = keep(s, r->operation.location),
                                        .error = keep(s, r->operation.error),
                                        .label = keep(s, r->operation.label),
                                        .request = keep(s, r->operation.request),
                                        .report = keep(s, r->operation.report),
                                        .snapshot_good = r->operation.snapshot_good};
}

static void apply_round(struct shelf *s, struct shelf_job *j, const struct tide_record *r)
{
    uint32_t at = 0;
    while (at < j->n_rounds && j->rounds[at].round.number != r->round.number)
        at++;
    ck_assert_uint_lt(at, SHELF_MAX);
    if (at == j->n_rounds) j->n_rounds++;
    j->rounds[at] =
        (struct tide_catalog_round){.round = r->round, .ended = r->type == TIDE_REC_ROUND_END};
    j->rounds[at].round.directory = keep(s, r->round.directory);
    j->rounds[at].round.reason = keep(s, r->round.reason);
    j->rounds[at].round.holders = NULL;
    j->rounds[at].round.n_holders = 0;
    if (r->type == TIDE_REC_ROUND_END && r->round.complete) /* a catalog lists what is unsettled */
        j->rounds[at] = j->rounds[--j->n_rounds];
}

/* A file that the store knows, with that key. */
static struct tide_catalog_shared *shared_of(struct shelf_job *j, struct tide_bytes key)
{
    for (uint32_t i = 0; i < j->n_shared; i++)
        if (tide_bytes_equal(j->shared[i].file.key, key)) return &j->shared[i];
    ck_abort_msg("no shared artifact %.*s", (int)key.len, (const char *)key.data);
}

static void apply_shared(struct shelf *s, struct shelf_job *j, const struct tide_record *r)
{
    for (uint32_t i = 0; i < r->shared.n_added; i++) {
        ck_assert_uint_lt(j->n_shared, SHELF_MAX);
        struct tide_catalog_shared *f = &j->shared[j->n_shared++];
        *f = (struct tide_catalog_shared){.file = r->shared.added[i],
                                          .directory = keep(s, r->shared.directory),
                                          .state = TIDE_RETAINED,
                                          .first = r->shared.round};
        f->file.key = keep(s, f->file.key);
    }
    for (uint32_t i = 0; i < r->shared.n_left; i++) {
        ck_assert_uint_eq(shared_of(j, r->shared.left[i])->last, 0);
        shared_of(j, r->shared.left[i])->last = r->shared.before;
    }
    for (uint32_t i = 0; i < r->shared.n_again; i++) {
        struct tide_catalog_shared *f = shared_of(j, r->shared.again[i]);
        ck_assert(f->last && f->state == TIDE_RETAINED);
        f->last = 0;
    }
}

static void apply_shared_state(struct shelf_job *j, const struct tide_record *r)
{
    for (uint32_t i = 0; i < r->shared_state.n_keys; i++) {
        struct tide_catalog_shared *f = shared_of(j, r->shared_state.keys[i]);
        ck_assert_int_eq(r->shared_state.state, f->state + 1);
        f->state = r->shared_state.state;
        if (f->state == TIDE_DELETED) *f = j->shared[--j->n_shared];
    }
}

static void drop_round(struct shelf_job *j, uint64_t number)
{
    for (uint32_t i = 0; i < j->n_rounds; i++)
        if (j->rounds[i].round.number == number) {
            memmove(&j->rounds[i], &j->rounds[i + 1], (j->n_rounds - i - 1) * sizeof *j->rounds);
            j->n_rounds--;
            return;
        }
}

static void apply(struct shelf *s, const struct tide_record *r)
{
    if (r->type == TIDE_REC_RESERVE) {
        if (r->reserve.upto > s->reserved) s->reserved = r->reserve.upto;
        return;
    }
    if (r->type == TIDE_REC_LEASE) {
        if (r->lease.lease_us > s->lease_us) s->lease_us = r->lease.lease_us;
        return;
    }
    struct shelf_job *j = job_of(s, r->job);
    switch (r->type) {
    case TIDE_REC_JOB:
        j->name = keep(s, r->job_new.name);
        j->spec = keep(s, r->job_new.spec);
        j->created_wall = r->job_new.created_wall;
        break;
    case TIDE_REC_JOB_STATE:
        j->state = r->job_state.state;
        j->cause = keep(s, r->job_state.cause);
        j->ended_snapshot = r->job_state.snapshot;
        break;
    case TIDE_REC_ATTEMPT: apply_attempt(s, j, r); break;
    case TIDE_REC_ATTEMPT_RUN: j->last.running = true; break;
    case TIDE_REC_ATTEMPT_END:
        if (j->last.attempt == r->attempt_end.attempt) j->last.ended = true;
        break;
    case TIDE_REC_ROUND_BEGIN:
    case TIDE_REC_ROUND_END: apply_round(s, j, r); break;
    case TIDE_REC_ROUND_SWEPT: drop_round(j, r->swept.number); break;
    case TIDE_REC_SNAPSHOT: apply_snapshot(s, j, r); break;
    case TIDE_REC_SNAPSHOT_STATE: apply_snapshot_state(j, r); break;
    case TIDE_REC_OWED:
        ck_assert_uint_lt(j->n_owed, SHELF_MAX);
        j->owed[j->n_owed++] = (struct tide_catalog_owed){r->owed.round, keep(s, r->owed.uid),
                                                          keep(s, r->owed.handle), r->owed.subtask};
        break;
    case TIDE_REC_STRIKE: apply_strike(j, r); break;
    case TIDE_REC_OPERATION: apply_operation(s, j, r); break;
    case TIDE_REC_BASE:
        j->base_since = r->base.since;
        j->base_snapshot = r->base.snapshot;
        j->base_unmatched = r->base.unmatched;
        j->base_adopted = keep(s, r->base.adopted);
        break;
    case TIDE_REC_SHARED: apply_shared(s, j, r); break;
    case TIDE_REC_SHARED_STATE: apply_shared_state(j, r); break;
    default: break;
    }
}

void shelf_apply(struct shelf *s, const struct tide_commit *c)
{
    for (const struct tide_record *r = c->first; r; r = r->next)
        apply(s, r);
}

struct tide_catalog shelf_catalog(struct shelf *s, uint64_t incarnation, uint64_t nonce)
{
    s->incarnations[s->n_incarnations++] = (struct tide_catalog_incarnation){incarnation, nonce};
    for (uint32_t i = 0; i < s->n_jobs; i++) {
        struct shelf_job *j = &s->jobs[i];
        s->catalog_jobs[i] = (struct tide_catalog_job){.id = j->id,
                                                       .name = j->name,
                                                       .spec = j->spec,
                                                       .cause = j->cause,
                                                       .state = j->state,
                                                       .created_wall = j->created_wall,
                                                       .ended_snapshot = j->ended_snapshot,
                                                       .base_since = j->base_since,
                                                       .base_snapshot = j->base_snapshot,
                                                       .base_unmatched = j->base_unmatched,
                                                       .base_adopted = j->base_adopted,
                                                       .attempts = j->last.attempt,
                                                       .last = j->last,
                                                       .snapshots = j->snapshots,
                                                       .n_snapshots = j->n_snapshots,
                                                       .subsumed = j->subsumed,
                                                       .completed = j->completed,
                                                       .owed = j->owed,
                                                       .n_owed = j->n_owed,
                                                       .rounds = j->rounds,
                                                       .n_rounds = j->n_rounds,
                                                       .operations = j->operations,
                                                       .n_operations = j->n_operations,
                                                       .shared = j->shared,
                                                       .n_shared = j->n_shared};
    }
    struct tide_catalog c = {.incarnation = incarnation,
                             .nonce = nonce,
                             .reserved = s->reserved,
                             .external = s->external,
                             .lease_us = s->lease_us,
                             .incarnations = s->incarnations,
                             .n_incarnations = s->n_incarnations,
                             .jobs = s->catalog_jobs,
                             .n_jobs = s->n_jobs};
    memset(c.store_id.b, 5, sizeof c.store_id.b);
    return c;
}

struct tide_bytes shelf_image(const struct shelf *s, uint64_t round)
{
    for (uint32_t i = 0; i < s->n_jobs; i++)
        for (uint32_t k = 0; k < s->jobs[i].n_snapshots; k++)
            if (s->jobs[i].snapshots[k].round == round) return s->jobs[i].images[k];
    return (struct tide_bytes){0};
}
