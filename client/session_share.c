/* Shared artifacts that a task may refer to
 *
 * The usual way: a task acks a file as new and shared; when that checkpoint is complete, acks of
 * later ones may refer to the file by its key. What a restore brings of the job's own files may be
 * referred to at once. A file of which the newest complete checkpoint makes no use is forgotten:
 * the daemon may delete it. One of which a round under way makes no use is not referred to.
 *
 * What can go wrong: the round comes to nothing, then its files are the daemon's to collect and are
 * forgotten as well; the daemon wants everything anew, then no key is known for that round. No
 * memory: the key is not known later, and the file is written again. */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "client/session_impl.h"
#include "proto/plant.h"

struct share {
    struct share *next; /* in its bucket */
    uint64_t size, digest_low, digest_high;
    uint64_t since; /* the round for which it was written; 0: an earlier attempt */
    uint64_t used;  /* the newest round whose ack names it, or will, since it was asked for */
    bool complete;  /* the round that brought it is */
    uint32_t key_len;
    char key[];
};

struct shares {
    struct share **buckets;
    size_t n, n_buckets; /* a power of two */
};

static struct share **bucket_of(const struct shares *all, const void *key, size_t len)
{
    return &all->buckets[XXH3_64bits(key, len) & (all->n_buckets - 1)];
}

static struct share *find(const struct shares *all, struct tide_bytes key)
{
    struct share *f = all && key.len ? *bucket_of(all, key.data, key.len) : NULL;
    while (f && (f->key_len != key.len || memcmp(f->key, key.data, key.len) != 0))
        f = f->next;
    return f;
}

static bool grow(struct shares *all)
{
    struct shares more = {.n = all->n, .n_buckets = all->n_buckets ? all->n_buckets * 2 : 16};
    more.buckets = calloc(more.n_buckets, sizeof *more.buckets);
    if (!more.buckets) return false;
    for (size_t i = 0; i < all->n_buckets; i++)
        for (struct share *f = all->buckets[i], *next; f; f = next) {
            struct share **to = bucket_of(&more, f->key, f->key_len);
            next = f->next;
            f->next = *to;
            *to = f;
        }
    free(all->buckets);
    *all = more;
    return true;
}

/* NULL: no memory, and it stays unknown. */
static struct share *add(struct stask *t, struct tide_bytes key)
{
    if (!t->shares) t->shares = calloc(1, sizeof *t->shares);
    struct shares *all = t->shares;
    if (!all || (all->n == all->n_buckets && !grow(all))) return NULL;
    struct share *f = calloc(1, sizeof *f + key.len);
    if (!f) return NULL;
    memcpy(f->key, key.data, key.len);
    f->key_len = (uint32_t)key.len;
    struct share **to = bucket_of(all, f->key, f->key_len);
    f->next = *to;
    *to = f;
    all->n++;
    return f;
}

void tide_share_forget(struct stask *t)
{
    struct shares *all = t->shares;
    for (size_t i = 0; all && i < all->n_buckets; i++)
        for (struct share *f = all->buckets[i], *next; f; f = next) {
            next = f->next;
            free(f);
        }
    if (all) free(all->buckets);
    free(all);
    t->shares = NULL;
}

static void drop(struct shares *all, bool (*gone)(struct share *f, uint64_t round), uint64_t round)
{
    for (size_t i = 0; all && i < all->n_buckets; i++)
        for (struct share **at = &all->buckets[i]; *at;) {
            struct share *f = *at;
            if (!gone(f, round)) {
                at = &f->next;
                continue;
            }
            *at = f->next;
            free(f);
            all->n--;
        }
}

/* ---- what becomes of them */

void tide_share_restored(struct tide_session *s, struct stask *t)
{
    const Tide__Start *m = s->start;
    struct tide_bytes own = tide_of_pb(m->directory);
    tide_share_forget(t);
    while (own.len > 1 && own.data[own.len - 1] != '/')
        own.len--;
    own.len -= own.len > 1;
    /* of another job, or of this one from elsewhere: not ours to go on with */
    if (!t->restore || !tide_bytes_equal(own, tide_of_pb(m->shared_directory))) return;
    for (size_t i = 0; i < t->restore->n_artifacts; i++) {
        const Tide__Artifact *a = t->restore->artifacts[i];
        if (!a->shared || find(t->shares, tide_of_pb(a->path))) continue;
        struct share *f = add(t, tide_of_pb(a->path));
        if (!f) continue;
        f->size = a->size;
        f->digest_low = a->digest_low;
        f->digest_high = a->digest_high;
        f->used = m->snapshot;
        f->complete = true;
    }
}

void tide_share_acked(struct tide_session *s, struct stask *t, const struct tide_session_ack *ack)
{
    (void)s;
    for (uint32_t i = 0; i < ack->n_artifacts; i++) {
        const struct tide_artifact_view *v = &ack->artifacts[i];
        if (!v->shared) continue;
        struct share *f = find(t->shares, v->path);
        if (!f && v->shared == TIDE__SHARED__SHARED_NEW) {
            f = add(t, v->path);
            if (!f) continue;
            f->size = v->size;
            f->digest_low = v->digest_low;
            f->digest_high = v->digest_high;
            f->since = ack->round;
        }
        if (f && ack->round > f->used) f->used = ack->round;
    }
}

static bool is_unused(struct share *f, uint64_t round)
{
    if (f->since == round) f->complete = true;
    return f->complete && f->used < round;
}

static bool came_to_nothing(struct share *f, uint64_t round)
{
    return f->since == round;
}

void tide_share_complete(struct tide_session *s, uint64_t number)
{
    const struct round *r = tide_round_find(s, number);
    if (!r || r->savepoint) return; /* savepoints share nothing */
    for (uint32_t i = 0; i < s->n_tasks; i++)
        if (s->tasks[i].shares && r->tasks[i].state == ROUND_ACKED)
            drop(s->tasks[i].shares, is_unused, number);
}

void tide_share_abort(struct tide_session *s, uint64_t number)
{
    for (uint32_t i = 0; i < s->n_tasks; i++)
        if (s->tasks[i].shares) drop(s->tasks[i].shares, came_to_nothing, number);
}

/* ---- referring */

void tide_share_full(struct tide_session *s, struct round *r, size_t n,
                     Tide__TaskRange *const *ranges)
{
    for (size_t k = 0; k < n; k++)
        for (uint32_t i = 0; i < s->n_tasks; i++)
            if (s->tasks[i].number >= ranges[k]->first &&
                s->tasks[i].number - ranges[k]->first < ranges[k]->count)
                r->tasks[i].full = true;
}

/* An earlier round of the task is under way and makes no use of it: once that is complete the
 * daemon may delete it, perhaps before it hears of this one. */
static bool is_left(const struct tide_session *s, const struct share *f, uint32_t index,
                    uint64_t round)
{
    for (uint32_t k = 0; k < s->n_rounds; k++) {
        const struct round *r = s->rounds[k];
        enum round_task state = r->tasks[index].state;
        if (!r->savepoint && r->number < round && r->number > f->used &&
            (state == ROUND_ASKED || state == ROUND_ACKED))
            return true;
    }
    return false;
}

int tide_session_share_find(struct tide_session *s, uint32_t task, uint64_t round,
                            struct tide_bytes key, struct tide_artifact_view *ret)
{
    uint32_t index;
    if (s->dead) return s->dead;
    const struct stask *t = tide_session_task(s, task, &index);
    if (!t) return TIDE_EINVAL;
    const struct round *r = tide_round_find(s, round);
    bool full = r && (r->full || r->tasks[index].full) && !PLANTED(REFER_WHEN_FULL);
    if (!r || r->savepoint || full || s->version < 2) return TIDE_ENOTFOUND;
    struct share *f = find(t->shares, key);
    if (!f || !f->complete || is_left(s, f, index, round)) return TIDE_ENOTFOUND;
    if (round > f->used) f->used = round;
    *ret = (struct tide_artifact_view){.size = f->size,
                                       .digest_low = f->digest_low,
                                       .digest_high = f->digest_high,
                                       .path = {(const uint8_t *)f->key, f->key_len},
                                       .shared = TIDE__SHARED__SHARED_AGAIN};
    return 0;
}
