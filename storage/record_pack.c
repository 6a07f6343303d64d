/* Commits as bytes
 *
 * The usual way: one function, fields(), names the fields of each type of record, in order; a coder
 * that writes puts them into a buffer, a coder that reads takes them from one. So what is written
 * and what is read cannot differ.
 *
 * A packed list: per commit the number of its records (u32), then the records; per record its type
 * (u8), its job (16 bytes), its fields. A type with its high bit set has the fields of later
 * formats too, behind the others; records of 0.1.0 have it not, and those fields are 0. Numbers are
 * 8 bytes, little-endian; bytes are a length (u64) and themselves; a list is its length (u64) and
 * its elements.
 *
 * What can go wrong: the bytes may be anything, in spite of the digest above them. Each length
 * meets what is left before it meets memory; the first failure sticks and ends in one code. */
#include "storage/record_pack.h"

#include <string.h>

#include "proto/err.h"

struct coder {
    struct tide_buf *out;       /* writing; NULL: reading */
    struct tide_bytes in;       /* reading: what is left, */
    struct tide_bytes bulk;     /* of the chunks too, */
    struct tide_commit *commit; /* and whose arena lists are made in */
    int rc;
};

static void bad(struct coder *c, int rc)
{
    if (!c->rc) c->rc = rc;
}

static uint64_t take_u64(struct coder *c)
{
    if (c->rc || c->in.len < 8) {
        bad(c, TIDE_ECORRUPT);
        return 0;
    }
    uint64_t n = tide_get_u64(c->in.data);
    c->in = (struct tide_bytes){c->in.data + 8, c->in.len - 8};
    return n;
}

static struct tide_bytes take(struct coder *c, struct tide_bytes *from, uint64_t len)
{
    if (c->rc || len > from->len) {
        bad(c, TIDE_ECORRUPT);
        return (struct tide_bytes){0};
    }
    struct tide_bytes taken = {len ? from->data : NULL, (size_t)len};
    *from = (struct tide_bytes){from->data + len, from->len - (size_t)len};
    return taken;
}

static void num(struct coder *c, uint64_t *n)
{
    if (c->out)
        tide_buf_put_u64(c->out, *n);
    else
        *n = take_u64(c);
}

/* A field of any other integer type goes through a number. */
#define INT(c, field, most)                                                                        \
    do {                                                                                           \
        uint64_t n_ = (uint64_t)(field);                                                           \
        num(c, &n_);                                                                               \
        if (n_ > (most)) bad(c, TIDE_ECORRUPT);                                                    \
        if (!(c)->out) (field) = (c)->rc ? (__typeof__(field))0 : (__typeof__(field))n_;           \
    } while (0)

static void bytes(struct coder *c, struct tide_bytes *b)
{
    if (!c->out) {
        *b = take(c, &c->in, take_u64(c));
        return;
    }
    tide_buf_put_u64(c->out, b->len);
    tide_buf_put(c->out, b->data, b->len);
}

/* A list of n elements, each of at least `least` bytes when packed: the array to be filled when
 * reading, the one that is there when writing. */
static void *list(struct coder *c, const void *array, uint64_t n, size_t size, size_t least)
{
    if (c->out) return (void *)(uintptr_t)array;
    if (c->rc || n > c->in.len / least) {
        bad(c, TIDE_ECORRUPT);
        return NULL;
    }
    void *made = n ? tide_arena_zalloc(&c->commit->arena, (size_t)n * size) : NULL;
    if (n && !made) bad(c, TIDE_ENOMEM);
    return made;
}

static void members(struct coder *c, struct tide_record *r)
{
    INT(c, r->attempt.n_members, UINT32_MAX);
    struct tide_member *all =
        list(c, r->attempt.members, r->attempt.n_members, sizeof *all, 6 * sizeof(uint64_t));
    r->attempt.members = all;
    for (uint32_t i = 0; !c->rc && i < r->attempt.n_members; i++) {
        struct tide_member *m = &all[i];
        bytes(c, &m->worker);
        bytes(c, &m->endpoint);
        bytes(c, &m->boot_id);
        INT(c, m->pid, UINT32_MAX);
        num(c, &m->start_time);
        INT(c, m->n_ranges, UINT32_MAX / 2);
        uint32_t *ranges = list(c, m->ranges, 2 * (uint64_t)m->n_ranges, sizeof *ranges, 8);
        for (uint64_t k = 0; !c->rc && k < 2 * (uint64_t)m->n_ranges; k++) {
            uint64_t bound = c->out ? ranges[k] : 0;
            num(c, &bound);
            if (bound > UINT32_MAX) bad(c, TIDE_ECORRUPT);
            if (!c->out) ranges[k] = (uint32_t)bound;
        }
        m->ranges = ranges;
    }
}

static void round_(struct coder *c, struct tide_record_round *o)
{
    num(c, &o->number);
    num(c, &o->incarnation);
    num(c, &o->attempt);
    num(c, &o->operation);
    INT(c, o->kind, UINT8_MAX);
    bytes(c, &o->directory);
    num(c, &o->begun_wall);
    num(c, &o->ended_wall);
    INT(c, o->complete, 1u);
    INT(c, o->code, (uint64_t)INT32_MAX);
    bytes(c, &o->reason);
    INT(c, o->tasks, UINT32_MAX);
    INT(c, o->acked, UINT32_MAX);
    num(c, &o->trigger_us);
    num(c, &o->acks_us);
    num(c, &o->bytes);
    INT(c, o->holders_total, UINT32_MAX);
    INT(c, o->n_holders, UINT32_MAX);
    struct tide_holder *all = list(c, o->holders, o->n_holders, sizeof *all, 5 * sizeof(uint64_t));
    o->holders = all;
    for (uint32_t i = 0; !c->rc && i < o->n_holders; i++) {
        INT(c, all[i].task, UINT32_MAX);
        INT(c, all[i].subtask, UINT32_MAX);
        bytes(c, &all[i].uid);
        bytes(c, &all[i].worker);
        bytes(c, &all[i].phase);
    }
}

static void snapshot(struct coder *c, struct tide_record *r)
{
    num(c, &r->snapshot.round);
    num(c, &r->snapshot.incarnation);
    num(c, &r->snapshot.attempt);
    num(c, &r->snapshot.parent);
    INT(c, r->snapshot.kind, UINT8_MAX);
    bytes(c, &r->snapshot.directory);
    bytes(c, &r->snapshot.label);
    num(c, &r->snapshot.begun_wall);
    num(c, &r->snapshot.completed_wall);
    num(c, &r->snapshot.bytes);
    num(c, &r->snapshot.artifacts);
    INT(c, r->snapshot.tasks, UINT32_MAX);
    bytes(c, &r->snapshot.ended);
    bytes(c, &r->snapshot.head);
    INT(c, r->snapshot.n_chunks, UINT32_MAX);
    struct tide_bytes *all = list(c, r->snapshot.chunks, r->snapshot.n_chunks, sizeof *all, 8);
    r->snapshot.chunks = all;
    for (uint32_t i = 0; !c->rc && i < r->snapshot.n_chunks; i++) {
        uint64_t len = all[i].len;
        num(c, &len);
        if (!c->out) all[i] = take(c, &c->bulk, len);
    }
}

static const struct tide_bytes *keys(struct coder *c, const struct tide_bytes *from, uint32_t n)
{
    struct tide_bytes *all = list(c, from, n, sizeof *all, sizeof(uint64_t));
    for (uint32_t i = 0; !c->rc && i < n; i++)
        bytes(c, &all[i]);
    return all;
}

static void shared(struct coder *c, struct tide_record *r)
{
    num(c, &r->shared.round);
    num(c, &r->shared.before);
    bytes(c, &r->shared.directory);
    INT(c, r->shared.n_added, UINT32_MAX);
    struct tide_shared_file *all =
        list(c, r->shared.added, r->shared.n_added, sizeof *all, 4 * sizeof(uint64_t));
    r->shared.added = all;
    for (uint32_t i = 0; !c->rc && i < r->shared.n_added; i++) {
        bytes(c, &all[i].key);
        num(c, &all[i].size);
        num(c, &all[i].digest_low);
        num(c, &all[i].digest_high);
    }
    INT(c, r->shared.n_left, UINT32_MAX);
    r->shared.left = keys(c, r->shared.left, r->shared.n_left);
    INT(c, r->shared.n_again, UINT32_MAX);
    r->shared.again = keys(c, r->shared.again, r->shared.n_again);
}

static void operation(struct coder *c, struct tide_record *r)
{
    num(c, &r->operation.id);
    num(c, &r->operation.snapshot);
    num(c, &r->operation.begun_wall);
    num(c, &r->operation.ended_wall);
    INT(c, r->operation.kind, UINT8_MAX);
    INT(c, r->operation.state, UINT8_MAX);
    bytes(c, &r->operation.key);
    bytes(c, &r->operation.target);
    bytes(c, &r->operation.location);
    bytes(c, &r->operation.error);
    bytes(c, &r->operation.label);
}

static void fields(struct coder *c, struct tide_record *r)
{
    switch (r->type) {
    case TIDE_REC_RESERVE: num(c, &r->reserve.upto); return;
    case TIDE_REC_LEASE: num(c, &r->lease.lease_us); return;
    case TIDE_REC_JOB:
        bytes(c, &r->job_new.name);
        bytes(c, &r->job_new.spec);
        bytes(c, &r->job_new.fingerprint);
        num(c, &r->job_new.created_wall);
        return;
    case TIDE_REC_JOB_STATE:
        INT(c, r->job_state.state, UINT8_MAX);
        bytes(c, &r->job_state.cause);
        num(c, &r->job_state.snapshot);
        num(c, &r->job_state.wall);
        return;
    case TIDE_REC_ATTEMPT:
        num(c, &r->attempt.attempt);
        num(c, &r->attempt.incarnation);
        num(c, &r->attempt.external);
        num(c, &r->attempt.restored_from);
        num(c, &r->attempt.begun_wall);
        bytes(c, &r->attempt.directory);
        members(c, r);
        return;
    case TIDE_REC_ATTEMPT_RUN:
        num(c, &r->attempt_run.attempt);
        num(c, &r->attempt_run.wall);
        return;
    case TIDE_REC_ATTEMPT_END:
        num(c, &r->attempt_end.attempt);
        num(c, &r->attempt_end.wall);
        bytes(c, &r->attempt_end.reason);
        return;
    case TIDE_REC_ROUND_BEGIN:
    case TIDE_REC_ROUND_END: round_(c, &r->round); return;
    case TIDE_REC_ROUND_TIMES:
        num(c, &r->times.number);
        num(c, &r->times.commit_us);
        num(c, &r->times.notify_us);
        return;
    case TIDE_REC_ROUND_SWEPT: num(c, &r->swept.number); return;
    case TIDE_REC_SNAPSHOT: snapshot(c, r); return;
    case TIDE_REC_SNAPSHOT_STATE:
        num(c, &r->snapshot_state.round);
        INT(c, r->snapshot_state.state, UINT8_MAX);
        num(c, &r->snapshot_state.wall);
        return;
    case TIDE_REC_OWED:
        num(c, &r->owed.round);
        bytes(c, &r->owed.uid);
        bytes(c, &r->owed.handle);
        INT(c, r->owed.subtask, UINT32_MAX);
        return;
    case TIDE_REC_STRIKE:
        num(c, &r->strike.upto);
        bytes(c, &r->strike.uid);
        INT(c, r->strike.subtask, UINT32_MAX);
        return;
    case TIDE_REC_OPERATION: operation(c, r); return;
    case TIDE_REC_AUDIT:
        bytes(c, &r->audit.who);
        bytes(c, &r->audit.what);
        bytes(c, &r->audit.detail);
        num(c, &r->audit.wall);
        return;
    case TIDE_REC_BASE:
        num(c, &r->base.since);
        num(c, &r->base.snapshot);
        INT(c, r->base.unmatched, 1u);
        bytes(c, &r->base.adopted);
        return;
    case TIDE_REC_SHARED: shared(c, r); return;
    case TIDE_REC_SHARED_STATE:
        INT(c, r->shared_state.state, UINT8_MAX);
        num(c, &r->shared_state.wall);
        INT(c, r->shared_state.n_keys, UINT32_MAX);
        r->shared_state.keys = keys(c, r->shared_state.keys, r->shared_state.n_keys);
        return;
    }
    bad(c, TIDE_ECORRUPT);
}

/* What format 2 (0.2.0) added. A later format adds a function of its own, and a bit. */
#define FORMAT_2 0x80u

static void fields_2(struct coder *c, struct tide_record *r)
{
    switch (r->type) {
    case TIDE_REC_ROUND_BEGIN:
    case TIDE_REC_ROUND_END:
        INT(c, r->round.style, UINT8_MAX);
        INT(c, r->round.alignment, UINT8_MAX);
        INT(c, r->round.stop, UINT8_MAX);
        INT(c, r->round.unaligned, 1u);
        INT(c, r->round.counted, 1u);
        num(c, &r->round.processed_bytes);
        num(c, &r->round.persisted_bytes);
        num(c, &r->round.align_us);
        num(c, &r->round.turned_us);
        return;
    case TIDE_REC_SNAPSHOT:
        INT(c, r->snapshot.style, UINT8_MAX);
        INT(c, r->snapshot.unaligned, 1u);
        INT(c, r->snapshot.commits, 1u);
        INT(c, r->snapshot.imported, 1u);
        num(c, &r->snapshot.shared);
        return;
    case TIDE_REC_SNAPSHOT_STATE: INT(c, r->snapshot_state.disposed, 1u); return;
    case TIDE_REC_ATTEMPT: /* members have been read into memory of the commit's */
        for (uint32_t i = 0; !c->rc && i < r->attempt.n_members; i++)
            num(c, &((struct tide_member *)(uintptr_t)r->attempt.members)[i].since);
        return;
    case TIDE_REC_OPERATION:
        bytes(c, &r->operation.request);
        bytes(c, &r->operation.report);
        INT(c, r->operation.snapshot_good, 1u);
        return;
    default: return;
    }
}

void tide_records_pack(struct tide_buf *out, const struct tide_commit *first,
                       const struct tide_commit *past)
{
    struct coder c = {.out = out};
    for (const struct tide_commit *i = first; i != past; i = i->next) {
        uint32_t n = 0;
        for (const struct tide_record *r = i->first; r; r = r->next)
            n++;
        tide_buf_put_u32(out, n);
        for (struct tide_record *r = i->first; r; r = r->next) {
            tide_buf_put_u8(out, (uint8_t)((unsigned)r->type | FORMAT_2));
            tide_buf_put(out, r->job.b, sizeof r->job.b);
            fields(&c, r);
            fields_2(&c, r);
        }
    }
    if (c.rc && !out->rc) out->rc = c.rc;
}

uint64_t tide_records_bulk(const struct tide_commit *first, const struct tide_commit *past)
{
    uint64_t len = 0;
    for (const struct tide_commit *c = first; c != past; c = c->next)
        for (const struct tide_record *r = c->first; r; r = r->next)
            for (uint32_t i = 0; r->type == TIDE_REC_SNAPSHOT && i < r->snapshot.n_chunks; i++)
                len += r->snapshot.chunks[i].len;
    return len;
}

static void unpack_commit(struct coder *c)
{
    unsigned kind;
    tide_id job;
    struct tide_bytes front = take(c, &c->in, 4);
    uint32_t n = c->rc ? 0 : tide_get_u32(front.data);
    for (uint32_t i = 0; i < n && !c->rc; i++) {
        front = take(c, &c->in, 1 + sizeof job.b);
        if (c->rc) return;
        kind = front.data[0];
        memcpy(job.b, front.data + 1, sizeof job.b);
        struct tide_record *r =
            tide_commit_add(c->commit, (enum tide_record_type)(kind & ~FORMAT_2), job);
        if (!r) {
            bad(c, TIDE_ENOMEM);
            return;
        }
        fields(c, r);
        if (kind & FORMAT_2) fields_2(c, r);
    }
}

int tide_records_unpack(struct tide_bytes packed, struct tide_bytes bulk, struct tide_commit **ret)
{
    struct coder c = {.in = packed, .bulk = bulk};
    struct tide_commit *first = NULL, **end = &first;
    while (!c.rc && c.in.len) {
        *end = c.commit = tide_commit_new(false);
        if (!c.commit) {
            bad(&c, TIDE_ENOMEM);
            break;
        }
        end = &c.commit->next;
        unpack_commit(&c);
    }
    if (!c.rc && c.bulk.len) bad(&c, TIDE_ECORRUPT);
    if (!c.rc) {
        *ret = first;
        return 0;
    }
    while (first) {
        struct tide_commit *next = first->next;
        tide_commit_free(first);
        first = next;
    }
    return c.rc;
}
