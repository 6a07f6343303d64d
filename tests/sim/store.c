/* The fake store: a model in memory of what is durable, and a thread that takes its time.
 *
 * The usual way: commits queue up; an awaited one makes the thread take all that is queued, as one
 * group with one flush; when it is over each commit is durable as a whole, and whoever awaits one
 * is told.
 *
 * What can go wrong: slow; full (that commit changes nothing); refused; an I/O error (every outcome
 * of the group is unknown, and the group durable or not); no answer at all; a crash (what was
 * queued is lost, what was flying is durable or not). */
#include <stdlib.h>

#include "tests/sim/sim.h"

void store_init(struct sim *s)
{
    struct store *st = &s->store;
    st->queue_end = &st->queue;
    for (size_t i = 0; i < sizeof st->store_id.b; i++)
        st->store_id.b[i] = (uint8_t)rnd(s);
}

struct job *store_job(struct sim *s, const struct tide_record *r)
{
    struct job *j = s->jobs;
    while (j && !(r->type == TIDE_REC_JOB
                      ? tide_bytes_equal(r->job_new.name, tide_bytes_of(j->name))
                      : j->store.made && !memcmp(&r->job, &j->store.id, sizeof r->job)))
        j = j->next;
    must(s, j, "a record of a job that does not exist");
    return j;
}

struct d_snapshot *store_snapshot(const struct job *j, uint64_t round)
{
    for (struct d_snapshot *d = j->store.snapshots; d; d = d->next)
        if (d->round == round) return d;
    return NULL;
}

struct d_round *store_round(const struct job *j, uint64_t round)
{
    for (struct d_round *d = j->store.rounds; d; d = d->next)
        if (d->r.number == round) return d;
    return NULL;
}

/* ---- applying one record; a record that the real store would refuse is a broken promise of the
 * core */

static struct d_round *round_row(struct sim *s, struct job *j, const struct tide_record *r)
{
    struct d_round *d = store_round(j, r->round.number);
    if (d) {
        must(s, r->type == TIDE_REC_ROUND_END, "round %" PRIu64 " begins twice in the store",
             r->round.number);
        must(s, !d->ended || (!d->r.complete && !r->round.complete),
             "round %" PRIu64 " gets a second end in the store", r->round.number);
        must(s, d->r.attempt == r->round.attempt, "round %" PRIu64 " changes its attempt",
             r->round.number);
        d->swept = false;
        if (d->ended)
            return d; /* aborted again, since a worker still names it: the first reason stays */
    } else {
        d = sim_alloc(s, sizeof *d);
        d->next = j->store.rounds;
        j->store.rounds = d;
    }
    d->r = r->round;
    d->r.directory = sim_bytes(s, r->round.directory);
    d->r.reason = sim_bytes(s, r->round.reason);
    d->r.holders = NULL;
    d->r.n_holders = 0;
    return d;
}

static void apply_snapshot(struct sim *s, struct job *j, const struct tide_record *r)
{
    uint64_t n = r->snapshot.round;
    must(s, !store_snapshot(j, n), "snapshot %" PRIu64 " is inserted twice", n);
    struct d_snapshot *d = sim_alloc(s, sizeof *d);
    struct d_snapshot **at = &j->store.snapshots;
    while (*at && (*at)->round > r->snapshot.round) /* a savepoint may complete late */
        at = &(*at)->next;
    *d = (struct d_snapshot){.next = *at,
                             .round = n,
                             .incarnation = r->snapshot.incarnation,
                             .attempt = r->snapshot.attempt,
                             .parent = r->snapshot.parent,
                             .begun_wall = r->snapshot.begun_wall,
                             .completed_wall = r->snapshot.completed_wall,
                             .bytes = r->snapshot.bytes,
                             .kind = r->snapshot.kind,
                             .state = TIDE_RETAINED,
                             .directory = sim_bytes(s, r->snapshot.directory),
                             .ended = sim_bytes(s, r->snapshot.ended),
                             .head = sim_bytes(s, r->snapshot.head),
                             .n_chunks = r->snapshot.n_chunks,
                             .style = r->snapshot.style,
                             .unaligned = r->snapshot.unaligned,
                             .commits = r->snapshot.commits,
                             .imported = r->snapshot.imported,
                             .shared = r->snapshot.shared,
                             .taken_as = r->snapshot.kind,
                             .durable_at = s->now};
    if (d->imported) d->kind = TIDE_SAVEPOINT;
    d->chunks = sim_alloc(s, (d->n_chunks + 1) * sizeof *d->chunks);
    for (uint32_t i = 0; i < d->n_chunks; i++)
        d->chunks[i] = sim_bytes(s, r->snapshot.chunks[i]);
    *at = d;
}

static void apply_attempt(struct sim *s, struct job *j, const struct tide_record *r)
{
    struct job_store *st = &j->store;
    must(s, r->attempt.attempt > st->attempts,
         "attempt %" PRIu64 " was issued before (highest: %" PRIu64 ")", r->attempt.attempt,
         st->attempts);
    must(s, r->attempt.external > s->store.external_ever,
         "external number %" PRIu64 " is not above %" PRIu64, r->attempt.external,
         s->store.external_ever);
    must(s, st->attempts == 0 || st->last.ended || s->store.dropped,
         "attempt %" PRIu64 " begins before %" PRIu64 " has ended", r->attempt.attempt,
         st->attempts);
    struct tide_catalog_attempt a = {.attempt = r->attempt.attempt,
                                     .incarnation = r->attempt.incarnation,
                                     .external = r->attempt.external,
                                     .restored_from = r->attempt.restored_from,
                                     .directory = sim_bytes(s, r->attempt.directory),
                                     .n_members = r->attempt.n_members};
    for (uint32_t i = 0; i < s->store.n_incarnations; i++)
        if (s->store.incarnations[i].number == a.incarnation)
            a.nonce = s->store.incarnations[i].nonce;
    struct tide_member *members = sim_alloc(s, (a.n_members + 1) * sizeof *members);
    for (uint32_t i = 0; i < a.n_members; i++) {
        const struct tide_member *m = &r->attempt.members[i];
        members[i] = *m;
        members[i].worker = sim_bytes(s, m->worker);
        members[i].endpoint = sim_bytes(s, m->endpoint);
        members[i].boot_id = sim_bytes(s, m->boot_id);
        struct tide_bytes ranges = {(const uint8_t *)m->ranges, (size_t)m->n_ranges * 8};
        members[i].ranges = (const uint32_t *)(const void *)sim_bytes(s, ranges).data;
    }
    a.members = members;
    st->last = a;
    st->attempts = a.attempt;
    s->store.external = s->store.external_ever = a.external;
}

static void apply_snapshot_state(struct sim *s, struct job *j, const struct tide_record *r)
{
    struct d_snapshot *d = store_snapshot(j, r->snapshot_state.round);
    must(s, d, "snapshot %" PRIu64 " changes its state and does not exist",
         r->snapshot_state.round);
    must(s, r->snapshot_state.state == d->state + 1u, "snapshot %" PRIu64 " goes from %s to %s",
         d->round, tide_snapshot_state_name(d->state),
         tide_snapshot_state_name(r->snapshot_state.state));
    d->state = r->snapshot_state.state;
}

static void apply_owed(struct sim *s, struct job *j, const struct tide_record *r)
{
    struct d_owed *o = sim_alloc(s, sizeof *o);
    *o = (struct d_owed){j->store.owed, r->owed.round, sim_bytes(s, r->owed.uid),
                         sim_bytes(s, r->owed.handle), r->owed.subtask};
    j->store.owed = o;
}

bool store_strikes(const struct tide_record *r, const struct d_owed *o)
{
    return o->round <= r->strike.upto && o->subtask == r->strike.subtask &&
           tide_bytes_equal(o->uid, r->strike.uid);
}

static void apply_strike(struct job *j, const struct tide_record *r)
{
    for (struct d_owed **o = &j->store.owed; *o;) {
        if (store_strikes(r, *o))
            *o = (*o)->next;
        else
            o = &(*o)->next;
    }
}

static void apply_operation(struct sim *s, struct job *j, const struct tide_record *r)
{
    struct d_operation *d = j->store.operations;
    while (d && d->o.id != r->operation.id)
        d = d->next;
    if (!d) {
        d = sim_alloc(s, sizeof *d);
        d->next = j->store.operations;
        j->store.operations = d;
    }
    d->o = (struct tide_catalog_operation){.id = r->operation.id,
                                           .snapshot = r->operation.snapshot,
                                           .begun_wall = r->operation.begun_wall,
                                           .ended_wall = r->operation.ended_wall,
                                           .kind = r->operation.kind,
                                           .state = r->operation.state,
                                           .key = sim_bytes(s, r->operation.key),
                                           .target = sim_bytes(s, r->operation.target),
                                           .location = sim_bytes(s, r->operation.location),
                                           .error = sim_bytes(s, r->operation.error),
                                           .label = sim_bytes(s, r->operation.label),
                                           .request = sim_bytes(s, r->operation.request),
                                           .report = sim_bytes(s, r->operation.report),
                                           .snapshot_good = r->operation.snapshot_good};
}

static void apply_job(struct sim *s, struct job *j, const struct tide_record *r)
{
    struct job_store *st = &j->store;
    switch (r->type) {
    case TIDE_REC_JOB:
        must(s, !st->made, "job %s is made twice", j->name);
        st->made = true;
        st->id = r->job;
        st->state = TIDE_JOB_WAITING;
        st->name = sim_bytes(s, r->job_new.name);
        st->spec = sim_bytes(s, r->job_new.spec);
        st->created_wall = r->job_new.created_wall;
        break;
    case TIDE_REC_JOB_STATE:
        if (tide_job_ended(st->state) && r->job_state.state == TIDE_JOB_WAITING && st->base_new)
            base_reopens(s, j);
        else
            must(s,
                 !tide_job_ended(st->state) || r->job_state.state == st->state ||
                     (st->state == TIDE_JOB_SUSPENDED && r->job_state.state == TIDE_JOB_CANCELLED),
                 "job %s has ended as %s and becomes %s", j->name, tide_job_state_name(st->state),
                 tide_job_state_name(r->job_state.state));
        must(s,
             st->state != TIDE_JOB_HELD || r->job_state.state == TIDE_JOB_HELD ||
                 r->job_state.state == TIDE_JOB_WAITING ||
                 r->job_state.state == TIDE_JOB_STOPPING ||
                 r->job_state.state == TIDE_JOB_CANCELLED,
             "job %s is HELD and becomes %s", j->name, tide_job_state_name(r->job_state.state));
        s->stats->held += st->state != TIDE_JOB_HELD && r->job_state.state == TIDE_JOB_HELD;
        st->state = r->job_state.state;
        st->cause = sim_bytes(s, r->job_state.cause);
        if (r->job_state.snapshot) st->ended_snapshot = r->job_state.snapshot;
        break;
    case TIDE_REC_ATTEMPT:
        must(s, st->state != TIDE_JOB_HELD, "attempt %" PRIu64 " of job %s begins, and it is HELD",
             r->attempt.attempt, j->name);
        apply_attempt(s, j, r);
        break;
    case TIDE_REC_BASE: base_ordered(s, j, r); break;
    case TIDE_REC_ATTEMPT_RUN:
        if (st->last.attempt == r->attempt_run.attempt) st->last.running = true;
        break;
    case TIDE_REC_ATTEMPT_END:
        if (st->last.attempt == r->attempt_end.attempt) st->last.ended = true;
        break;
    default: break;
    }
}

static void apply_record(struct sim *s, struct job *j, const struct tide_record *r)
{
    struct d_round *round;
    switch (r->type) {
    case TIDE_REC_ROUND_BEGIN: round_row(s, j, r); break;
    case TIDE_REC_ROUND_END: round_row(s, j, r)->ended = true; break;
    case TIDE_REC_ROUND_SWEPT:
        round = store_round(j, r->swept.number);
        if (round) round->swept = true;
        break;
    case TIDE_REC_SNAPSHOT: apply_snapshot(s, j, r); break;
    case TIDE_REC_SNAPSHOT_STATE: apply_snapshot_state(s, j, r); break;
    case TIDE_REC_OWED: apply_owed(s, j, r); break;
    case TIDE_REC_STRIKE: apply_strike(j, r); break;
    case TIDE_REC_OPERATION: apply_operation(s, j, r); break;
    case TIDE_REC_ROUND_TIMES: break;
    case TIDE_REC_SHARED: pieces_changed(s, j, r); break;
    case TIDE_REC_SHARED_STATE: pieces_moved(s, j, r); break;
    default: apply_job(s, j, r); break;
    }
}

/* Records of no job, or of one. */
static void apply_any(struct sim *s, const struct tide_record *r)
{
    switch (r->type) {
    case TIDE_REC_RESERVE:
        if (r->reserve.upto > s->store.reserved) s->store.reserved = r->reserve.upto;
        break;
    case TIDE_REC_LEASE:
        if (r->lease.lease_us > s->store.lease_us) s->store.lease_us = r->lease.lease_us;
        break;
    case TIDE_REC_AUDIT: break;
    default: apply_record(s, store_job(s, r), r); break;
    }
}

/* What the real store answers with refused: a row that is not there. */
static bool refuses(struct sim *s, const struct tide_commit *c)
{
    uint64_t attempt = 0, ended = 0;
    for (const struct tide_record *r = c->first; r; r = r->next) {
        const struct d_round *round;
        if (r->type == TIDE_REC_RESERVE || r->type == TIDE_REC_LEASE || r->type == TIDE_REC_AUDIT)
            continue;
        if (r->type == TIDE_REC_ATTEMPT) attempt = r->attempt.attempt;
        if (r->type == TIDE_REC_ROUND_END) ended = r->round.number;
        if (r->type != TIDE_REC_ATTEMPT_RUN && r->type != TIDE_REC_ATTEMPT_END &&
            r->type != TIDE_REC_ROUND_TIMES && r->type != TIDE_REC_ROUND_SWEPT)
            continue; /* of a job that is made by this commit, perhaps */
        struct job *j = store_job(s, r);
        if (r->type == TIDE_REC_ATTEMPT_RUN || r->type == TIDE_REC_ATTEMPT_END) {
            uint64_t n =
                r->type == TIDE_REC_ATTEMPT_RUN ? r->attempt_run.attempt : r->attempt_end.attempt;
            if (n != attempt && !check_attempt(s, j, n)->row) return true;
        }
        if (r->type == TIDE_REC_ROUND_TIMES && !store_round(j, r->times.number) &&
            r->times.number != ended)
            return true;
        if (r->type != TIDE_REC_ROUND_SWEPT) continue;
        round = store_round(j, r->swept.number);
        if ((!round || !round->ended || round->r.complete) && r->swept.number != ended) return true;
    }
    return false;
}

static void apply(struct sim *s, const struct tide_commit *c)
{
    must(s, c->rc == 0, "a commit with rc %d was handed to the store", c->rc);
    bool abandons = false;
    for (const struct tide_record *r = c->first; r; r = r->next)
        abandons = abandons || (r->type == TIDE_REC_AUDIT &&
                                tide_bytes_equal(r->audit.what, tide_bytes_of("abandon commit")));
    for (const struct tide_record *r = c->first; r; r = r->next) {
        if (abandons && r->type == TIDE_REC_STRIKE) base_abandoned(s, store_job(s, r), r);
        apply_any(s, r);
    }
    check_durable(s, c);
}

/* ---- the thread */

struct outcome {
    uint64_t tag, life;
    struct round *round; /* whose completion it was not, or NULL */
    enum tide_outcome outcome;
};

static void tell(struct sim *s, void *arg, uint64_t x)
{
    struct outcome *o = arg;
    if (!s->daemon.up || s->daemon.life != o->life || daemon_frozen(s, tell, arg, x)) return;
    if (o->round) {
        o->round->handed = false;
        log_round(s, o->round->job, H_REFUSED, o->round->number);
    }
    note(s, "store: commit %" PRIu64 " %s", o->tag,
         (const char *[]){"?", "stored", "refused", "no space", "unknown"}[o->outcome]);
    daemon_feed(s, (struct event){.type = EV_STORED,
                                  .tag = o->tag,
                                  .outcome = o->outcome,
                                  .text = o->outcome == TIDE_STORED ? NULL : "a planted fault"});
}

static void land(struct sim *s, void *arg, uint64_t life);

static void take_off(struct sim *s)
{
    struct store *st = &s->store;
    bool awaited = false;
    for (struct tide_commit *c = st->queue; c; c = c->next)
        awaited = awaited || c->awaited;
    if (st->busy || !awaited) return;
    st->busy = true;
    st->flying = st->queue;
    st->queue = NULL;
    st->queue_end = &st->queue;
    uint64_t takes = between(s, 100, 2 * MS);
    if (s->now < st->slow_until) takes = between(s, 5 * MS, 300 * MS);
    if (s->now < st->stuck_until) takes = st->stuck_until - s->now + below(s, 10 * MS);
    sim_at(s, s->now + takes, land, NULL, s->daemon.life);
}

static enum tide_outcome fate(struct sim *s)
{
    if (s->now < s->store.full_until && percent(s, 70))
        return percent(s, 90) ? TIDE_NO_SPACE : TIDE_REFUSED;
    return TIDE_STORED;
}

static void land(struct sim *s, void *arg, uint64_t life)
{
    struct store *st = &s->store;
    (void)arg;
    if (life != s->daemon.life || !st->busy) return;
    bool unknown = st->unknown_next, durable = !unknown || percent(s, 50);
    st->unknown_next = false;
    struct tide_commit *c = st->flying, *next;
    st->flying = NULL;
    st->busy = false;
    st->handed_at = 0;
    for (struct tide_commit *q = st->queue; q; q = q->next)
        if (q->awaited) st->handed_at = s->now;
    for (; c; c = next) {
        next = c->next;
        bool refused = refuses(s, c);
        enum tide_outcome outcome = refused ? TIDE_REFUSED : unknown ? TIDE_UNKNOWN : fate(s);
        if (outcome == TIDE_STORED || (outcome == TIDE_UNKNOWN && durable)) apply(s, c);
        if (!c->awaited && outcome != TIDE_STORED) st->dropped = true;
        for (const struct tide_record *r = c->first; r && outcome != TIDE_STORED; r = r->next)
            st->dropped_operation = st->dropped_operation || r->type == TIDE_REC_OPERATION;
        if (refused) note(s, "store: refuses a commit");
        if (c->awaited) {
            struct outcome *o = sim_alloc(s, sizeof *o);
            struct round *round = NULL;
            for (const struct tide_record *r = c->first;
                 r && (outcome == TIDE_NO_SPACE || outcome == TIDE_REFUSED); r = r->next)
                if (r->type == TIDE_REC_SNAPSHOT && !r->snapshot.imported)
                    round = check_round(store_job(s, r), r->snapshot.round);
            *o = (struct outcome){c->tag, life, round, outcome};
            sim_at(s, s->now + below(s, MS), tell, o, 0);
        }
        tide_commit_free(c);
    }
    take_off(s);
}

void store_submit(struct sim *s, struct tide_commit *c)
{
    struct store *st = &s->store;
    c->next = NULL;
    *st->queue_end = c;
    st->queue_end = &c->next;
    if (c->awaited && !st->handed_at) st->handed_at = s->now;
    take_off(s);
}

void store_crash(struct sim *s)
{
    struct store *st = &s->store;
    bool durable = percent(s, 50);
    if (st->flying) note(s, "store: the flying group is %s", durable ? "durable" : "lost");
    struct tide_commit *next;
    for (struct tide_commit *c = st->flying; c; c = next) {
        next = c->next;
        if (durable && !refuses(s, c)) apply(s, c);
        tide_commit_free(c);
    }
    for (struct tide_commit *c = st->queue; c; c = next) {
        next = c->next;
        tide_commit_free(c);
    }
    st->flying = st->queue = NULL;
    st->queue_end = &st->queue;
    st->busy = st->unknown_next = false;
    st->handed_at = 0;
}

/* ---- reading */

struct loading {
    uint64_t round, tag, life;
    int rc;
};

static void loaded(struct sim *s, void *arg, uint64_t x)
{
    struct loading *l = arg;
    if (!s->daemon.up || s->daemon.life != l->life || daemon_frozen(s, loaded, arg, x)) return;
    struct d_snapshot *d = NULL;
    for (struct job *j = s->jobs; j && !d; j = j->next)
        d = store_snapshot(j, l->round);
    if (!d && !l->rc) l->rc = TIDE_ENOTFOUND;
    struct tide_buf image;
    tide_buf_init(&image, 1u << 20);
    if (!l->rc) tide_manifest_put(&image, d->head, d->chunks, d->n_chunks);
    note(s, "store: the manifest of snapshot %" PRIu64 "%s%s", l->round, l->rc ? ": " : " is read",
         l->rc ? tide_strerror(l->rc) : "");
    struct event ev = {
        .type = EV_MANIFEST, .tag = l->tag, .rc = l->rc, .bytes = {image.data, image.len}};
    if (l->rc) ev.text = "a planted fault";
    /* the bytes are borrowed for the call; in a jump out they belong to the history */
    struct tide_bytes copy = sim_bytes(s, ev.bytes);
    tide_buf_release(&image);
    ev.bytes = copy;
    daemon_feed(s, ev);
}

void store_load(struct sim *s, uint64_t round, uint64_t tag)
{
    struct loading *l = sim_alloc(s, sizeof *l);
    bool fails = s->now < s->store.slow_until && percent(s, 30);
    int rc = !fails           ? 0
             : percent(s, 50) ? TIDE_ECORRUPT
                              : TIDE_EIO; /* for once: it is read badly */
    for (struct job *j = s->jobs; j; j = j->next)
        j->misread = j->misread || (rc == TIDE_ECORRUPT && store_snapshot(j, round));
    *l = (struct loading){round, tag, s->daemon.life, rc};
    sim_at(s, s->now + between(s, 100, 3 * MS), loaded, l, 0);
}

/* ---- the catalog for a start: what storage/load gives */

/* Not deleted, or a savepoint of which a worker may still ask. */
static bool is_known(const struct job_store *st, const struct d_snapshot *d)
{
    return d->state != TIDE_DELETED ||
           (d->kind == TIDE_SAVEPOINT && !d->imported && d->attempt == st->last.attempt);
}

static void catalog_job(struct sim *s, const struct job_store *st, struct tide_catalog_job *j)
{
    *j = (struct tide_catalog_job){.id = st->id,
                                   .name = st->name,
                                   .spec = st->spec,
                                   .cause = st->cause,
                                   .state = st->state,
                                   .created_wall = st->created_wall,
                                   .ended_snapshot = st->ended_snapshot,
                                   .base_since = st->base_since,
                                   .base_snapshot = st->base_snapshot,
                                   .base_unmatched = st->base_unmatched,
                                   .attempts = st->attempts,
                                   .last = st->last};
    uint32_t n = 0;
    for (struct d_snapshot *d = st->snapshots; d; d = d->next)
        n += is_known(st, d);
    j->snapshots = sim_alloc(s, (n + 1) * sizeof *j->snapshots);
    j->n_snapshots = n;
    for (struct d_snapshot *d = st->snapshots; d; d = d->next) {
        if (d->round > j->completed && !d->imported) j->completed = d->round;
        if (d->kind == TIDE_CHECKPOINT && d->state != TIDE_RETAINED && d->round > j->subsumed)
            j->subsumed = d->round;
        if (!is_known(st, d)) continue;
        struct tide_catalog_snapshot *c = &j->snapshots[--n];
        *c = (struct tide_catalog_snapshot){.round = d->round,
                                            .incarnation = d->incarnation,
                                            .attempt = d->attempt,
                                            .parent = d->parent,
                                            .completed_wall = d->completed_wall,
                                            .begun_wall = d->begun_wall,
                                            .bytes = d->bytes,
                                            .kind = d->taken_as,
                                            .state = d->state,
                                            .directory = d->directory,
                                            .ended = d->ended,
                                            .style = d->style,
                                            .unaligned = d->unaligned,
                                            .commits = d->commits,
                                            .imported = d->imported,
                                            .shared = d->shared};
        for (struct d_owed *o = st->owed; o; o = o->next)
            c->owed += o->round == d->round;
    }
    for (struct d_owed *o = st->owed; o; o = o->next)
        j->n_owed++;
    j->owed = sim_alloc(s, (j->n_owed + 1) * sizeof *j->owed);
    n = j->n_owed;
    for (struct d_owed *o = st->owed; o; o = o->next)
        j->owed[--n] = (struct tide_catalog_owed){o->round, o->uid, o->handle, o->subtask};
    for (struct d_round *r = st->rounds; r; r = r->next)
        j->n_rounds += !r->ended || (!r->r.complete && !r->swept);
    j->rounds = sim_alloc(s, (j->n_rounds + 1) * sizeof *j->rounds);
    n = j->n_rounds;
    for (struct d_round *r = st->rounds; r; r = r->next)
        if (!r->ended || (!r->r.complete && !r->swept))
            j->rounds[--n] = (struct tide_catalog_round){r->r, r->ended};
    for (struct d_operation *o = st->operations; o; o = o->next)
        j->n_operations++;
    j->operations = sim_alloc(s, (j->n_operations + 1) * sizeof *j->operations);
    n = j->n_operations;
    for (struct d_operation *o = st->operations; o; o = o->next)
        j->operations[--n] = o->o;
    pieces_catalog(s, st, j);
}

struct tide_catalog *store_catalog(struct sim *s, struct tide_catalog *c)
{
    struct store *st = &s->store;
    must(s, st->n_incarnations < 256, "more than 256 starts of the daemon");
    uint64_t last = st->n_incarnations ? st->incarnations[st->n_incarnations - 1].number : 0;
    uint64_t wall = s->now + s->daemon.wall;
    struct d_incarnation mine = {wall > last ? wall : last + 1, rnd(s) | 1};
    must(s, mine.number > st->incarnation_ever, "incarnation %" PRIu64 " is not above %" PRIu64,
         mine.number, st->incarnation_ever);
    st->incarnation_ever = mine.number;
    st->incarnations[st->n_incarnations++] = mine;
    *c = (struct tide_catalog){.store_id = st->store_id,
                               .incarnation = mine.number,
                               .nonce = mine.nonce,
                               .reserved = st->reserved,
                               .external = st->external,
                               .lease_us = st->lease_us,
                               .n_incarnations = st->n_incarnations};
    c->incarnations = sim_alloc(s, st->n_incarnations * sizeof *c->incarnations);
    for (uint32_t i = 0; i < st->n_incarnations; i++)
        c->incarnations[i] = (struct tide_catalog_incarnation){st->incarnations[i].number,
                                                               st->incarnations[i].nonce};
    c->jobs = sim_alloc(s, (s->n_jobs + 1) * sizeof *c->jobs);
    for (struct job *j = s->jobs; j; j = j->next)
        if (j->store.made) catalog_job(s, &j->store, &c->jobs[c->n_jobs++]);
    return c;
}
