/* Shared artifacts: files that several checkpoints of a job use.
 *
 * The usual way: an ack declares a file as new, or refers to one that an earlier checkpoint has
 * brought. When the round commits, the same commit says which files are new, which the checkpoint
 * before it used and this one does not, and which are used again. A file lives while a retained
 * checkpoint stands between the first and the last that use it; then it goes from retained to
 * deleting, is deleted, and its row says deleted. What aborted rounds have written is not known
 * here: it goes with their directories.
 *
 * What can go wrong: a task refers to what is not known, is not retained any more, or differs from
 * what it says, or brings a key that is taken: the round aborts and names task and file, and the
 * next asks that task for everything. A savepoint, and a round that must be full, refer to nothing.
 *
 * Known files are in a table by key, of jobs that have some. What the newest checkpoint uses is
 * marked open; a round in progress has a list of what it names, and holds that. */
#include <stdio.h>
#include <xxhash.h>

#include "daemon/core/internal.h"
#include "proto/shared.h"

#define RETRY_MIN_US (1000 * MS)
#define RETRY_MAX_US (60000 * MS)

enum share_state {
    SHARE_FRESH = 1, /* of a round in progress: nobody else knows it */
    SHARE_RETAINED,
    SHARE_CONDEMNED, /* that it is deleting is being stored */
    SHARE_DELETING
};

struct share {
    struct share *next;  /* in its bucket */
    struct share *after; /* of those that are deleting */
    char *directory;     /* where its key begins: owned by the table */
    uint64_t size, digest_low, digest_high;
    uint64_t first, last; /* checkpoints that use it; open: up to the newest */
    uint64_t mark;        /* the round whose list was walked last */
    uint64_t not_before;
    uint32_t named; /* so often in the lists of rounds in progress */
    uint32_t tries;
    enum share_state state;
    bool open;
    uint32_t key_len;
    char key[];
};

struct shares {
    struct share **buckets;
    size_t n, n_buckets; /* a power of two */
    char **directories;  /* few: the job's, and what it was under another state root */
    size_t n_directories, directories_cap;
    uint64_t newest;                    /* checkpoint that is complete */
    bool dirty;                         /* something may have become of no use */
    bool condemning;                    /* ... and that is being stored */
    uint64_t condemn_after;             /* no sooner: the store has refused */
    struct share *doomed, **doomed_end; /* deleting */
    struct share *deleting;             /* one of them: its deletion is with the lanes */
    struct timer timer;
};

static struct tide_bytes key_of(const struct share *f)
{
    return (struct tide_bytes){(const uint8_t *)f->key, f->key_len};
}

/* ---- the table */

static struct share **bucket_of(const struct shares *all, struct tide_bytes key)
{
    return &all->buckets[XXH3_64bits(key.data, key.len) & (all->n_buckets - 1)];
}

static struct share *find(const struct shares *all, struct tide_bytes key)
{
    struct share *f = all ? *bucket_of(all, key) : NULL;
    while (f && !tide_bytes_equal(key_of(f), key))
        f = f->next;
    return f;
}

/* Each, in the order of the table, which is the same in each history. */
static struct share *walk(const struct shares *all, size_t *bucket, const struct share *f)
{
    struct share *next = f ? f->next : NULL;
    while (!next && *bucket < all->n_buckets)
        next = all->buckets[(*bucket)++];
    return next;
}
#define EACH(f, all)                                                                               \
    for (size_t bucket_ = 0, once_ = 1; once_; once_ = 0)                                          \
        for (struct share *f = walk((all), &bucket_, NULL); f; f = walk((all), &bucket_, f))

static void grow(struct shares *all)
{
    struct shares more = {.n_buckets = all->n_buckets ? all->n_buckets * 2 : 16};
    more.buckets = core_alloc(more.n_buckets * sizeof *more.buckets);
    for (size_t i = 0; i < all->n_buckets; i++)
        for (struct share *f = all->buckets[i], *next; f; f = next) {
            struct share **to = bucket_of(&more, key_of(f));
            next = f->next;
            f->next = *to;
            *to = f;
        }
    free(all->buckets);
    all->buckets = more.buckets;
    all->n_buckets = more.n_buckets;
}

static void pump_again(struct core *c, void *arg)
{
    share_pump(c, arg);
}

static struct shares *table(struct job *job)
{
    if (job->shares) return job->shares;
    struct shares *all = job->shares = core_alloc(sizeof *all);
    all->timer = (struct timer){.fire = pump_again, .arg = job};
    all->newest = job->subsumed;
    for (const struct snapshot *s = job->snapshots; s; s = s->next)
        if (s->kind == TIDE_CHECKPOINT && !s->imported && s->round > all->newest)
            all->newest = s->round;
    all->doomed_end = &all->doomed;
    grow(all);
    return all;
}

static char *directory_in(struct shares *all, struct tide_bytes directory)
{
    for (size_t i = 0; i < all->n_directories; i++)
        if (tide_bytes_equal(VIEW(all->directories[i]), directory)) return all->directories[i];
    all->directories = core_grow(all->directories, all->n_directories, &all->directories_cap,
                                 sizeof *all->directories);
    return all->directories[all->n_directories++] = core_text(directory);
}

static struct share *add(struct job *job, const struct tide_shared_file *file,
                         struct tide_bytes directory, enum share_state state)
{
    struct shares *all = table(job);
    if (all->n == all->n_buckets) grow(all);
    struct share *f = core_alloc(sizeof *f + file->key.len), **to;
    memcpy(f->key, file->key.data, file->key.len);
    f->key_len = (uint32_t)file->key.len;
    f->directory = directory_in(all, directory);
    f->size = file->size;
    f->digest_low = file->digest_low;
    f->digest_high = file->digest_high;
    f->state = state;
    to = bucket_of(all, key_of(f));
    f->next = *to;
    *to = f;
    all->n++;
    return f;
}

static void forget(struct shares *all, struct share *f)
{
    struct share **at = bucket_of(all, key_of(f));
    while (*at != f)
        at = &(*at)->next;
    *at = f->next;
    all->n--;
    free(f);
}

static void doom(struct shares *all, struct share *f)
{
    f->state = SHARE_DELETING;
    *all->doomed_end = f;
    all->doomed_end = &f->after;
}

void share_load(struct job *job, const struct tide_catalog_job *from)
{
    for (uint32_t i = 0; i < from->n_shared; i++) {
        const struct tide_catalog_shared *x = &from->shared[i];
        struct share *f = add(job, &x->file, x->directory, SHARE_RETAINED);
        if (x->state == TIDE_DELETING) doom(job->shares, f);
        f->first = x->first;
        f->last = x->last;
        f->open = x->last == 0;
        job->shares->dirty = true;
    }
}

void share_free(struct job *job)
{
    struct shares *all = job->shares;
    if (!all) return;
    for (size_t i = 0; i < all->n_buckets; i++)
        for (struct share *f = all->buckets[i], *next; f; f = next) {
            next = f->next;
            free(f);
        }
    for (size_t i = 0; i < all->n_directories; i++)
        free(all->directories[i]);
    free(all->directories);
    free(all->buckets);
    free(all);
    job->shares = NULL;
}

/* ---- what acks say */

static void wrong(struct round *r, uint32_t task, const struct tide_artifact_view *v,
                  const char *what)
{
    uint32_t subtask;
    if (r->share_wrong) return; /* the first counts */
    const struct tide_operator *op = tide_graph_operator(r->job->graph, task, &subtask);
    r->share_wrong = core_printf("%.*s[%u] %s the shared artifact %.*s, %s", (int)op->uid.len,
                                 (const char *)op->uid.data, subtask,
                                 v->shared == TIDE__SHARED__SHARED_NEW ? "brings" : "refers to",
                                 (int)v->path.len, (const char *)v->path.data, what);
    r->share_wrong_task = task;
}

/* Whether it lies in the round's own directory. */
static bool is_in(const struct round *r, struct tide_bytes key)
{
    char own[TIDE_SHARED_KEY_SIZE];
    size_t len = tide_shared_key(own, VIEW(r->directory), 0, 0);
    size_t front = len ? (size_t)(strrchr(own, '/') - own) + 1 : 0;
    return front && key.len > front && memcmp(own, key.data, front) == 0;
}

static void name(struct round *r, struct share *f)
{
    r->shares = core_grow(r->shares, r->n_shares, &r->shares_cap, sizeof *r->shares);
    r->shares[r->n_shares++] = f;
    f->named++;
}

static void brought(struct round *r, uint32_t task, const struct tide_artifact_view *v)
{
    struct tide_shared_file file = {v->path, v->size, v->digest_low, v->digest_high};
    if (!is_in(r, v->path))
        wrong(r, task, v, "which is not in the round's directory");
    else if (find(r->job->shares, v->path))
        wrong(r, task, v, "a key that is taken");
    else
        name(r, add(r->job, &file, tide_shared_directory(VIEW(r->directory)), SHARE_FRESH));
}

static void referred(struct round *r, uint32_t task, const struct tide_artifact_view *v)
{
    struct share *f = find(r->job->shares, v->path);
    if (r->full && !PLANTED(REFER_WHEN_FULL))
        wrong(r, task, v, "and the round must be full");
    else if (!f || f->state == SHARE_FRESH)
        wrong(r, task, v, "which is not known");
    else if (f->state != SHARE_RETAINED && !PLANTED(REFER_TO_DELETING))
        wrong(r, task, v, "which is being deleted");
    else if (f->size != v->size || f->digest_low != v->digest_low ||
             f->digest_high != v->digest_high)
        wrong(r, task, v, "which has another size or digest");
    else if (!tide_bytes_equal(VIEW(f->directory), tide_shared_directory(VIEW(r->directory))))
        wrong(r, task, v, "which lies under another state root");
    else
        name(r, f);
}

void share_ack(struct round *r, const struct tide_ack_view *ack)
{
    struct tide_artifact_place place = {0};
    struct tide_artifact_view v;
    if (!ack->full) return;
    while (tide_acks_artifact(ack, &place, &v)) {
        if (!v.shared) continue;
        r->shared++;
        if (v.shared == TIDE__SHARED__SHARED_AGAIN) r->shared_bytes += v.size;
        if (r->kind == TIDE_SAVEPOINT)
            wrong(r, ack->task, &v, "and a savepoint must stand for itself");
        else if (v.shared == TIDE__SHARED__SHARED_NEW)
            brought(r, ack->task, &v);
        else
            referred(r, ack->task, &v);
    }
}

bool share_refuses(struct core *c, struct round *r)
{
    struct job *job = r->job;
    if (!r->share_wrong) return false;
    if (!job->doubtful.size) bits_init(&job->doubtful, job->graph->tasks);
    bits_put(&job->doubtful, r->share_wrong_task);
    job->doubtful_since = c->next_id;
    char *why = r->share_wrong;
    r->share_wrong = NULL;
    round_abort(c, r, TIDE__ABORT_CODE__ABORT_SHARED, why);
    free(why);
    return true;
}

size_t share_full_tasks(const struct round *r, struct tide_arena *arena, Tide__TaskRange ***ret)
{
    *ret = NULL;
    return r->kind == TIDE_CHECKPOINT && r->job->doubtful.set
               ? bits_ranges(&r->job->doubtful, arena, ret)
               : 0;
}

/* The round is over: it holds nothing any more. */
void share_let_go(struct round *r)
{
    struct shares *all = r->job->shares;
    for (size_t i = 0; i < r->n_shares; i++) {
        struct share *f = r->shares[i];
        f->named--;
        if (f->state == SHARE_FRESH && !f->named) forget(all, f);
        all->dirty = true;
    }
    free(r->shares);
    free(r->share_wrong);
    r->shares = NULL;
    r->n_shares = 0;
}

/* ---- the commit */

static void mark(struct round *r)
{
    for (size_t i = 0; i < r->n_shares; i++)
        r->shares[i]->mark = r->number;
}

/* What the checkpoint before it used, and it does not. */
static bool is_left(const struct share *f, const struct round *r)
{
    return f->state == SHARE_RETAINED && f->open && f->mark != r->number;
}

struct change { /* being put together */
    struct tide_shared_file *added;
    struct tide_bytes *left, *again;
    uint32_t n_added, n_left, n_again;
};

static void list_named(struct tide_commit *commit, const struct round *r, struct change *to)
{
    for (size_t i = 0; i < r->n_shares; i++) {
        struct share *f = r->shares[i];
        if (f->mark == r->number) continue; /* several tasks name it */
        f->mark = r->number;
        if (f->state == SHARE_FRESH)
            to->added[to->n_added++] = (struct tide_shared_file){
                tide_commit_bytes(commit, key_of(f)), f->size, f->digest_low, f->digest_high};
        else if (!f->open)
            to->again[to->n_again++] = tide_commit_bytes(commit, key_of(f));
    }
}

void share_record(struct tide_commit *commit, struct round *r)
{
    struct job *job = r->job;
    const struct shares *all = job->shares;
    struct change to = {0};
    size_t n = r->n_shares + 1;
    if (!all || r->kind != TIDE_CHECKPOINT) return;
    to.added = tide_arena_zalloc(&commit->arena, n * sizeof *to.added);
    to.again = tide_arena_zalloc(&commit->arena, n * sizeof *to.again);
    to.left = tide_arena_zalloc(&commit->arena, (all->n + 1) * sizeof *to.left);
    core_assert(to.added && to.again && to.left);
    list_named(commit, r, &to);
    EACH(f, all)
    if (is_left(f, r)) to.left[to.n_left++] = tide_commit_bytes(commit, key_of(f));
    if (!to.n_added && !to.n_left && !to.n_again) return;
    struct tide_record *rec = tide_commit_add(commit, TIDE_REC_SHARED, job->id);
    core_assert(rec != NULL);
    rec->shared.round = r->number;
    rec->shared.before = all->newest;
    rec->shared.directory = tide_commit_bytes(commit, tide_shared_directory(VIEW(r->directory)));
    rec->shared.added = to.added;
    rec->shared.n_added = to.n_added;
    rec->shared.left = to.left;
    rec->shared.n_left = to.n_left;
    rec->shared.again = to.again;
    rec->shared.n_again = to.n_again;
}

void share_complete(struct round *r)
{
    struct job *job = r->job;
    struct shares *all = job->shares;
    if (r->kind != TIDE_CHECKPOINT) return;
    if (job->doubtful.set && r->number >= job->doubtful_since) bits_clear(&job->doubtful);
    if (!all) return;
    mark(r);
    EACH(f, all)
    if (is_left(f, r)) {
        f->open = false;
        f->last = all->newest;
        all->dirty = true;
    }
    for (size_t i = 0; i < r->n_shares; i++) {
        struct share *f = r->shares[i];
        if (f->state == SHARE_FRESH) {
            f->state = SHARE_RETAINED;
            f->first = r->number;
        }
        f->open = true;
    }
    if (r->number > all->newest) all->newest = r->number;
}

/* ---- cleaning */

static bool is_used(const struct job *job, const struct share *f)
{
    if (f->named) return true;
    for (const struct snapshot *s = job->snapshots; s; s = s->next)
        if (s->shared && !s->imported && s->state == TIDE_RETAINED && s->round >= f->first &&
            (f->open || s->round <= f->last))
            return true;
    return false;
}

void share_changed(struct job *job)
{
    if (job->shares) job->shares->dirty = true;
}

static bool is_condemnable(const struct job *job, const struct share *f)
{
    if (f->state != SHARE_RETAINED) return false;
    return PLANTED(SHARED_BY_LAST) ? !f->open && !f->named : !is_used(job, f);
}

static struct tide_record *record_state(struct core *c, struct job *job, struct tide_commit *commit,
                                        enum tide_snapshot_state state, struct tide_bytes *keys,
                                        uint32_t n)
{
    struct tide_record *rec = tide_commit_add(commit, TIDE_REC_SHARED_STATE, job->id);
    core_assert(rec != NULL);
    rec->shared_state.state = state;
    rec->shared_state.wall = c->wall;
    rec->shared_state.keys = keys;
    rec->shared_state.n_keys = n;
    core_assert(commit->rc == 0);
    return rec;
}

/* One commit for all that has become of no use. */
static void condemn(struct core *c, struct job *job)
{
    struct shares *all = job->shares;
    uint32_t n = 0;
    if (!all->dirty || all->condemning || all->condemn_after > c->now) return;
    all->dirty = false;
    EACH(f, all)
    if (is_condemnable(job, f)) n++;
    if (!n) return;
    struct tide_commit *commit = tide_commit_new(true);
    core_assert(commit != NULL);
    struct tide_bytes *keys = tide_arena_zalloc(&commit->arena, n * sizeof *keys);
    core_assert(keys != NULL);
    n = 0;
    EACH(f, all)
    if (is_condemnable(job, f)) {
        keys[n++] = tide_commit_bytes(commit, key_of(f));
        f->state = SHARE_CONDEMNED;
    }
    record_state(c, job, commit, TIDE_DELETING, keys, n);
    all->condemning = true;
    ask_commit(c, commit, ASKED_SHARED, job, 0);
}

void share_condemned(struct core *c, struct job *job, enum tide_outcome outcome)
{
    struct shares *all = job->shares;
    EACH(f, all)
    {
        if (f->state != SHARE_CONDEMNED) continue;
        if (outcome == TIDE_STORED)
            doom(all, f);
        else
            f->state = SHARE_RETAINED;
    }
    all->condemning = false;
    if (outcome != TIDE_STORED) {
        all->dirty = true;
        all->condemn_after = c->now + RETRY_MIN_US;
    }
    share_pump(c, job);
}

/* One at a time; those that could not be deleted wait, and hold up no other. */
static void delete_next(struct core *c, struct job *job, uint64_t *first)
{
    struct shares *all = job->shares;
    for (struct share *f = all->deleting ? NULL : all->doomed; f; f = f->after) {
        if (f->not_before > c->now) {
            if (f->not_before < *first) *first = f->not_before;
            continue;
        }
        char *path = core_printf("%s/%.*s", f->directory, (int)f->key_len, f->key);
        all->deleting = f;
        ask_file(c, FILE_DELETE_SHARED, path, ASKED_DELETE_SHARED, job, 0);
        free(path);
        return;
    }
}

void share_pump(struct core *c, struct job *job)
{
    struct shares *all = job->shares;
    uint64_t first = NEVER;
    if (!all) return;
    condemn(c, job);
    if (all->dirty && !all->condemning) first = all->condemn_after;
    delete_next(c, job, &first);
    timer_set(c, &all->timer, first);
}

static void record_deleted(struct core *c, struct job *job, const struct share *f)
{
    struct tide_commit *commit = tide_commit_new(false);
    core_assert(commit != NULL);
    struct tide_bytes *key = tide_arena_zalloc(&commit->arena, sizeof *key);
    core_assert(key != NULL);
    *key = tide_commit_bytes(commit, key_of(f));
    record_state(c, job, commit, TIDE_DELETED, key, 1);
    ride_commit(c, commit);
}

/* Its attempt's directory goes when nothing is left in it, and it is not the job's present one. */
static void delete_attempt(struct core *c, struct job *job, const struct share *f)
{
    const char *dash = memchr(f->key, '-', f->key_len), *slash = memchr(f->key, '/', f->key_len);
    core_assert(dash && slash && dash < slash);
    uint64_t attempt = strtoull(dash + 1, NULL, 10);
    if (attempt >= job->attempt) return;
    char *path = core_printf("%s/%.*s", f->directory, (int)(slash - f->key), f->key);
    ask_file(c, FILE_DELETE_ATTEMPT, path, ASKED_DELETE_ATTEMPT, job, attempt);
    free(path);
}

static void undoom(struct shares *all, struct share *f)
{
    struct share **at = &all->doomed;
    while (*at != f)
        at = &(*at)->after;
    *at = f->after;
    if (!*at) all->doomed_end = at;
}

void share_deleted(struct core *c, struct job *job, int rc, const char *text)
{
    struct shares *all = job->shares;
    struct share *f = all->deleting;
    core_assert(f != NULL);
    all->deleting = NULL;
    if (rc == 0) {
        record_deleted(c, job, f);
        delete_attempt(c, job, f);
        undoom(all, f);
        if (!PLANTED(REFER_TO_DELETING) || !f->named) forget(all, f);
    } else {
        uint64_t delay = RETRY_MIN_US << (f->tries < 6 ? f->tries : 6);
        f->tries++;
        f->not_before = c->now + (delay < RETRY_MAX_US ? delay : RETRY_MAX_US);
        c->delete_failures++;
        core_log(c, LEVEL_WARN, about_job(job), "job %s: %s/%.*s could not be deleted (try %u): %s",
                 job->name, f->directory, (int)f->key_len, f->key, f->tries, text);
    }
    share_pump(c, job);
}

uint64_t share_backlog(const struct job *job)
{
    uint64_t n = 0;
    for (const struct share *f = job->shares ? job->shares->doomed : NULL; f; f = f->after)
        n++;
    return n;
}
