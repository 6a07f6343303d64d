/* Writing a snapshot
 *
 * The usual way: bytes gather in memory; an artifact that stays small travels inside the ack. One
 * that grows beyond inline_max becomes the file t<task>-<index> in the round's directory, created
 * exclusively so that nobody's bytes are ever written over, written in blocks of a megabyte, the
 * kernel told to start on each eight. done() syncs what was written, the directory, and the
 * directory above if the round's was made here, and only then acks.
 *
 * If records in flight belong to it (flight.c), done() leaves it waiting; when they are all there
 * whoever comes last, the program or they, writes them as further artifacts, and acks.
 *
 * A shared artifact is a file in any case, s<task>-<index>, since later checkpoints may refer to
 * it: such a reference has no bytes here, only what the session knows of the file.
 *
 * What can go wrong: any failure sticks, and done() declines with it. An ack that is answered
 * FENCED is kept and made again when the lease is back; a rewind drops it. Files of a round that
 * came to nothing are the daemon's to collect.
 *
 * The snapshot callback and done() may be on two threads: each holds one reference. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "client/worker_impl.h"

#define BLOCK ((size_t)1 << 20)
#define SYNC_EVERY ((uint64_t)8 << 20)

struct artifact {
    char *name;
    uint32_t key_group_first, key_group_count;
    uint32_t flight, channel;
    uint64_t size;
    XXH128_hash_t digest;
    bool is_file, by_program; /* the program writes the file */
    uint32_t shared;          /* a Shared */
    char *key;                /* with it */
    uint8_t *inlined;         /* malloc'ed when not a file */
};

struct tide_snapshot {
    struct tide_task *task;
    uint64_t attempt, round, begun_us, align_us;
    atomic_uint refs;
    _Atomic uint64_t sync_us; /* 0: the callback has not returned */
    bool savepoint, full, native, shares, directory_exists, made_directory, any_file, open;
    char *directory;
    struct artifact *items;
    uint32_t n_items, cap_items;
    uint8_t *block; /* of the artifact that is open */
    size_t used, room;
    int fd;         /* of its file, or -1 */
    uint64_t shown; /* bytes, to the daemon */
    uint64_t total, told,
        started; /* bytes of all; of those reported; of this file handed to the disk */
    XXH3_state_t *digest;
    uint8_t *handle;
    size_t handle_len;
    bool has_handle;
    int rc;
    char why[320];
    struct tide_snapshot *next;
    /* guarded by the lock, of one that waits for records in flight: */
    struct tide_snapshot *next_waiting;
    bool waits;            /* in the task's list */
    bool written;          /* the program is done with it */
    bool abandoned;        /* its round came to nothing */
    struct flight *flight; /* all of them; when it waits no more */
    uint64_t persisted;    /* bytes of them that stand in artifacts of the program's */
};

static int fail(struct tide_snapshot *s, int rc, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int fail(struct tide_snapshot *s, int rc, const char *format, ...)
{
    va_list args;
    if (s->rc) return s->rc;
    va_start(args, format);
    vsnprintf(s->why, sizeof s->why, format, args);
    va_end(args);
    return s->rc = rc;
}

static int fail_errno(struct tide_snapshot *s, const char *what, const char *name)
{
    int rc = errno == ENOSPC || errno == EDQUOT ? TIDE_ENOSPC
             : errno == EEXIST                  ? TIDE_EEXIST
                                                : TIDE_EIO;
    return fail(s, rc, "cannot %s %.100s/%s: %s", what, s->directory, name, strerror(errno));
}

static void release(struct tide_snapshot *s)
{
    if (!s || atomic_fetch_sub(&s->refs, 1) != 1) return;
    for (uint32_t i = 0; i < s->n_items; i++) {
        free(s->items[i].name);
        free(s->items[i].key);
        free(s->items[i].inlined);
    }
    if (s->fd >= 0) close(s->fd);
    XXH3_freeState(s->digest);
    tide_flight_drop(s->flight);
    free(s->items);
    free(s->block);
    free(s->handle);
    free(s->directory);
    free(s);
}

/* ---- files */

/* Of the file of the artifact that is open. */
static void file_name(const struct tide_snapshot *s, char name[static 32])
{
    (void)tide_artifact_path(name, s->task->number, s->n_items - 1);
    if (s->items[s->n_items - 1].shared) name[0] = 's';
}

static int make_directory(struct tide_snapshot *s)
{
    if (s->directory_exists || s->any_file) return 0;
    if (mkdir(s->directory, 0777) == 0)
        s->made_directory = true;
    else if (errno != EEXIST)
        return fail_errno(s, "make", "");
    return 0;
}

/* The artifact has outgrown the ack. */
static int become_file(struct tide_snapshot *s)
{
    char name[32];
    struct artifact *a = &s->items[s->n_items - 1];
    if (make_directory(s)) return s->rc;
    uint8_t *block = realloc(s->block, BLOCK);
    if (!block) return fail(s, TIDE_ENOMEM, "out of memory");
    s->block = block;
    s->room = BLOCK;
    file_name(s, name);
    int dir = open(s->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) return fail_errno(s, "open", "");
    s->fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    int error = errno;
    close(dir);
    errno = error;
    if (s->fd < 0) return fail_errno(s, "create", name);
    a->is_file = s->any_file = true;
    s->started = 0;
    return 0;
}

/* Whoever writes for a round that has come to nothing is told, and may stop. */
static int report(struct tide_snapshot *s, uint64_t bytes)
{
    struct tide_worker *w = s->task->worker;
    if (bytes > s->shown) s->shown = bytes; /* what is read back was counted before */
    pthread_mutex_lock(&w->lock);
    int rc = tide_session_progress(w->session, s->task->number, s->round, s->shown, tide_now_us());
    pthread_mutex_unlock(&w->lock);
    return rc == TIDE_ESTALE ? fail(s, rc, "the round is over") : 0;
}

static int report_total(struct tide_snapshot *s)
{
    if (s->total - s->told < SYNC_EVERY) return 0;
    s->told = s->total;
    return report(s, s->total);
}

int tide_snapshot_progress(struct tide_snapshot *s, uint64_t bytes)
{
    if (!s) return TIDE_EINVAL;
    return s->rc ? s->rc : report(s, s->total + bytes);
}

static int put_block(struct tide_snapshot *s)
{
    char name[32];
    size_t done = 0;
    while (done < s->used) {
        ssize_t n = write(s->fd, s->block + done, s->used - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            file_name(s, name);
            return fail_errno(s, "write", name);
        }
        done += (size_t)n;
    }
    s->used = 0;
    s->total += done;
    s->started += done;
    if (s->started >= SYNC_EVERY) { /* so that the final sync finds little left */
        (void)sync_file_range(s->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
        s->started = 0;
    }
    return report_total(s);
}

/* What the program has written by itself: its size and its digest. */
static int read_back(struct tide_snapshot *s, struct artifact *a, const char *name)
{
    for (;;) {
        ssize_t n = pread(s->fd, s->block, s->room, (off_t)a->size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_errno(s, "read", name);
        if (n == 0) return 0;
        (void)XXH3_128bits_update(s->digest, s->block, (size_t)n);
        a->size += (uint64_t)n;
        s->total += (uint64_t)n;
        if (report_total(s)) return s->rc;
    }
}

static int close_artifact(struct tide_snapshot *s)
{
    if (!s->open || s->rc) return s->rc;
    struct artifact *a = &s->items[s->n_items - 1];
    s->open = false;
    if (a->by_program) {
        char called[32];
        file_name(s, called);
        if (read_back(s, a, called)) return s->rc;
    }
    a->digest = XXH3_128bits_digest(s->digest);
    if (!a->is_file) {
        a->inlined = malloc(s->used + 1);
        if (!a->inlined) return fail(s, TIDE_ENOMEM, "out of memory");
        if (s->used) memcpy(a->inlined, s->block, s->used);
        s->used = 0;
        return 0;
    }
    char name[32];
    file_name(s, name);
    if (s->used && put_block(s)) return s->rc;
    if (fsync(s->fd)) return fail_errno(s, "sync", name);
    int rc = close(s->fd);
    s->fd = -1;
    return rc ? fail_errno(s, "close", name) : 0;
}

static int sync_directory(struct tide_snapshot *s, const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return fail_errno(s, "open", "");
    int rc = fsync(fd) ? fail_errno(s, "sync", "") : 0;
    close(fd);
    return rc;
}

static int sync_directories(struct tide_snapshot *s)
{
    if (!s->any_file || sync_directory(s, s->directory) || !s->made_directory) return s->rc;
    char *slash = strrchr(s->directory, '/');
    if (!slash || slash == s->directory) return sync_directory(s, "/");
    *slash = '\0';
    (void)sync_directory(s, s->directory);
    *slash = '/';
    return s->rc;
}

/* ---- what the program calls */

uint64_t tide_snapshot_round(const struct tide_snapshot *s)
{
    return s->round;
}

bool tide_snapshot_is_savepoint(const struct tide_snapshot *s)
{
    return s->savepoint;
}

bool tide_snapshot_is_full(const struct tide_snapshot *s)
{
    return s->full || s->savepoint;
}

bool tide_snapshot_is_native(const struct tide_snapshot *s)
{
    return s->native;
}

int tide_snapshot_artifact(struct tide_snapshot *s, const char *name, uint32_t key_group_first,
                           uint32_t key_group_count)
{
    if (close_artifact(s)) return s->rc;
    if (s->n_items == TIDE_ARTIFACTS_PER_ACK_MAX)
        return fail(s, TIDE_ETOOBIG, "more than %u artifacts", TIDE_ARTIFACTS_PER_ACK_MAX);
    struct tide_bytes text = tide_bytes_of(name ? name : "");
    if (text.len > 255 || !tide_text_valid(text))
        return fail(s, TIDE_EINVAL, "an artifact's name must be at most 255 bytes of UTF-8");
    if (s->n_items == s->cap_items) {
        uint32_t cap = s->cap_items ? s->cap_items * 2 : 4;
        struct artifact *items = realloc(s->items, cap * sizeof *items);
        if (!items) return fail(s, TIDE_ENOMEM, "out of memory");
        s->items = items;
        s->cap_items = cap;
    }
    struct artifact *a = &s->items[s->n_items];
    *a = (struct artifact){.name = strdup(name ? name : ""),
                           .key_group_first = key_group_first,
                           .key_group_count = key_group_count};
    if (!a->name) return fail(s, TIDE_ENOMEM, "out of memory");
    s->n_items++;
    s->open = true;
    if (!s->digest) s->digest = XXH3_createState();
    if (!s->digest) return fail(s, TIDE_ENOMEM, "out of memory");
    (void)XXH3_128bits_reset(s->digest);
    return 0;
}

int tide_snapshot_write(struct tide_snapshot *s, const void *data, size_t n)
{
    const uint8_t *from = data;
    uint32_t inline_max = s->task->worker->inline_max;
    if (s->rc) return s->rc;
    if (!s->open && tide_snapshot_artifact(s, "", 0, 0)) return s->rc;
    if (!n) return 0;
    struct artifact *a = &s->items[s->n_items - 1];
    if (a->by_program) return fail(s, TIDE_ESTATE, "the artifact is a file of the program's");
    (void)XXH3_128bits_update(s->digest, data, n);
    a->size += n;
    if (!a->is_file && a->size > inline_max && become_file(s)) return s->rc;
    if (!a->is_file && s->room < inline_max) {
        uint8_t *block = realloc(s->block, inline_max);
        if (!block) return fail(s, TIDE_ENOMEM, "out of memory");
        s->block = block;
        s->room = inline_max;
    }
    while (n) {
        size_t part = s->room - s->used < n ? s->room - s->used : n;
        memcpy(s->block + s->used, from, part);
        s->used += part;
        from += part;
        n -= part;
        if (s->used == s->room && a->is_file && put_block(s)) return s->rc;
    }
    return 0;
}

int tide_snapshot_file(struct tide_snapshot *s, char *ret_path, size_t size)
{
    char name[32];
    if (s->rc) return s->rc;
    if (!s->open && tide_snapshot_artifact(s, "", 0, 0)) return s->rc;
    struct artifact *a = &s->items[s->n_items - 1];
    if (a->size || a->by_program)
        return fail(s, TIDE_ESTATE, "the artifact has bytes already, it cannot become a file");
    file_name(s, name);
    int n = ret_path ? snprintf(ret_path, size, "%s/%s", s->directory, name) : -1;
    if (n < 0 || (size_t)n >= size) return fail(s, TIDE_EINVAL, "no room for the path of %s", name);
    if (!a->is_file && become_file(s)) return s->rc;
    a->by_program = true;
    return 0;
}

int tide_snapshot_share(struct tide_snapshot *s, char ret_key[TIDE_KEY_SIZE])
{
    char key[TIDE_SHARED_KEY_SIZE];
    struct tide_bytes directory = tide_bytes_of(s->directory);
    ret_key[0] = '\0';
    if (s->rc) return s->rc;
    if (!s->open && tide_snapshot_artifact(s, "", 0, 0)) return s->rc;
    struct artifact *a = &s->items[s->n_items - 1];
    if (a->size || a->is_file)
        return fail(s, TIDE_ESTATE, "the artifact has bytes already, it cannot be shared");
    size_t len = s->shares ? tide_shared_key(key, directory, s->task->number, s->n_items - 1) : 0;
    if (!len) return 0; /* it belongs to this snapshot alone */
    a->key = strdup(key);
    if (!a->key) return fail(s, TIDE_ENOMEM, "out of memory");
    a->shared = TIDE__SHARED__SHARED_NEW;
    memcpy(ret_key, key, len + 1);
    return become_file(s);
}

int tide_snapshot_refer(struct tide_snapshot *s, const char *key)
{
    struct tide_worker *w = s->task->worker;
    struct tide_artifact_view found;
    if (s->rc) return s->rc;
    if (!key) return fail(s, TIDE_EINVAL, "a reference without a key");
    if (s->open && (s->items[s->n_items - 1].size || s->items[s->n_items - 1].is_file))
        return fail(s, TIDE_ESTATE, "the artifact has bytes already, it cannot be another");
    pthread_mutex_lock(&w->lock);
    int rc =
        tide_session_share_find(w->session, s->task->number, s->round, tide_bytes_of(key), &found);
    pthread_mutex_unlock(&w->lock);
    if (rc) return rc == TIDE_ENOTFOUND ? rc : fail(s, rc, "%s", tide_strerror(rc));
    if (!s->open && tide_snapshot_artifact(s, "", 0, 0)) return s->rc;
    struct artifact *a = &s->items[s->n_items - 1];
    a->key = strdup(key);
    if (!a->key) return fail(s, TIDE_ENOMEM, "out of memory");
    a->shared = found.shared;
    a->size = found.size;
    a->digest = (XXH128_hash_t){found.digest_low, found.digest_high};
    s->open = false; /* nothing is to be written */
    return 0;
}

int tide_snapshot_handle(struct tide_snapshot *s, const void *data, size_t n)
{
    if (s->rc) return s->rc;
    if (n > TIDE_HANDLE_MAX)
        return fail(s, TIDE_ETOOBIG, "a commit handle of %zu bytes; at most %u are allowed", n,
                    TIDE_HANDLE_MAX);
    uint8_t *copy = malloc(n + 1);
    if (!copy) return fail(s, TIDE_ENOMEM, "out of memory");
    if (n) memcpy(copy, data, n);
    free(s->handle);
    s->handle = copy;
    s->handle_len = n;
    s->has_handle = true;
    return 0;
}

/* ---- the end */

static uint32_t clamp_us(uint64_t us)
{
    return us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

/* Under the lock. */
static int ack(struct tide_snapshot *s, uint64_t now_us)
{
    struct tide_artifact_view few[4] = {0}, *views = few;
    uint64_t took = now_us - s->begun_us, sync = atomic_load(&s->sync_us);
    if (!sync || sync > took) sync = took;
    if (s->n_items > 4) views = calloc(s->n_items, sizeof *views);
    if (!views) return TIDE_ENOMEM;
    for (uint32_t i = 0; i < s->n_items; i++) {
        const struct artifact *a = &s->items[i];
        views[i] = (struct tide_artifact_view){.size = a->size,
                                               .digest_low = a->digest.low64,
                                               .digest_high = a->digest.high64,
                                               .is_inline = !a->is_file && !a->shared,
                                               .shared = a->shared,
                                               .name = tide_bytes_of(a->name),
                                               .key_group_first = a->key_group_first,
                                               .key_group_count = a->key_group_count,
                                               .flight = a->flight,
                                               .channel = a->channel};
        if (a->shared) views[i].path = tide_bytes_of(a->key);
        if (views[i].is_inline) views[i].inlined = (struct tide_bytes){a->inlined, (size_t)a->size};
    }
    struct tide_session_ack m = {.attempt = s->attempt,
                                 .round = s->round,
                                 .task = s->task->number,
                                 .align_us = clamp_us(s->align_us),
                                 .sync_us = clamp_us(sync),
                                 .async_us = clamp_us(took - sync),
                                 .artifacts = views,
                                 .n_artifacts = s->n_items,
                                 .persisted = s->persisted,
                                 .has_handle = s->has_handle,
                                 .handle = {s->handle, s->handle_len}};
    int rc = tide_session_ack(s->task->worker->session, &m, now_us);
    if (views != few) free(views);
    return rc;
}

static int decline(struct tide_snapshot *s, int rc, const char *reason, uint32_t retry_after_ms)
{
    char text[600];
    if (!reason) reason = s->why[0] ? s->why : tide_strerror(rc);
    int n = snprintf(text, sizeof text, "%s", reason);
    struct tide_bytes bytes = {(uint8_t *)text, n < (int)sizeof text ? (size_t)n : sizeof text - 1};
    if (!tide_text_valid(bytes)) bytes = tide_bytes_of(tide_strerror(rc));
    return tide_session_decline(s->task->worker->session, s->attempt, s->round, s->task->number,
                                bytes, retry_after_ms, tide_now_us());
}

/* ---- records in flight */

static void put_flight(struct tide_snapshot *s)
{
    struct flight *f = s->flight;
    if (!f || s->rc) return;
    if (f->rc) {
        fail(s, f->rc, "records in flight could not be kept: %s", tide_strerror(f->rc));
        return;
    }
    if (s->task->write_flights) {
        char why[256];
        int rc = tide_flight_hand_out(s->task, f, s, why);
        if (rc)
            fail(s, rc, "records in flight could not be kept: %s",
                 why[0] ? why : tide_strerror(rc));
        s->persisted = f->total;
        (void)close_artifact(s);
        return;
    }
    for (unsigned k = 0; k < 2; k++)
        for (uint32_t i = 0; i < f->n_lanes[k]; i++) {
            const struct tide_buf *lane = &f->lanes[k][i];
            if (!lane->len || tide_snapshot_artifact(s, "", 0, 0)) continue;
            s->items[s->n_items - 1].flight = k + 1;
            s->items[s->n_items - 1].channel = i;
            (void)tide_snapshot_write(s, lane->data, lane->len);
        }
    (void)close_artifact(s);
}

/* Under the lock. */
static void stop_waiting(struct tide_snapshot *s)
{
    struct tide_snapshot **at = &s->task->waiting;
    while (*at && *at != s)
        at = &(*at)->next_waiting;
    if (*at) *at = s->next_waiting;
    s->waits = false;
}

/* ---- done */

/* All is written, or has failed: syncs, acks or declines, and lets go of it. */
static int finish(struct tide_snapshot *s, int rc, const char *reason, uint32_t retry_after_ms)
{
    struct tide_worker *w = s->task->worker;
    if (!rc) put_flight(s);
    if (!rc && !s->rc) (void)sync_directories(s);
    if (!rc && s->rc) {
        rc = s->rc;
        reason = s->why;
    }
    int result = rc;
    pthread_mutex_lock(&w->lock);
    if (!rc) {
        result = s->abandoned ? TIDE_ESTALE : ack(s, tide_now_us());
        if (result && result != TIDE_ESTALE && result != TIDE_EFENCED)
            (void)decline(s, result, NULL, 0); /* too big, no memory: the round need not wait */
    } else {
        (void)decline(s, rc, reason, retry_after_ms);
    }
    bool kept = result == TIDE_EFENCED && !rc;
    if (kept) {
        s->next = w->fenced;
        w->fenced = s;
    }
    pthread_mutex_unlock(&w->lock);
    if (!kept) release(s);
    bool own = atomic_load(&w->dispatching_shared) &&
               pthread_equal(atomic_load(&w->owner), pthread_self());
    if (!own) tide_worker_kick(w);
    return result;
}

int tide_snapshot_done(struct tide_snapshot *s, int rc, const char *reason, uint32_t retry_after_ms)
{
    if (!s) return TIDE_EINVAL;
    struct tide_worker *w = s->task->worker;
    if (!rc) (void)close_artifact(s);
    pthread_mutex_lock(&w->lock);
    bool waits = s->waits && !rc && !s->rc;
    if (waits)
        s->written = true; /* goes on when its records are there */
    else if (s->waits)
        stop_waiting(s);
    pthread_mutex_unlock(&w->lock);
    return waits ? 0 : finish(s, rc, reason, retry_after_ms);
}

void tide_snapshot_ackable(struct tide_task *t, uint64_t round)
{
    struct tide_worker *w = t->worker;
    struct flight *f = tide_flight_take(t, round);
    pthread_mutex_lock(&w->lock);
    struct tide_snapshot *s = t->waiting;
    while (s && s->round != round)
        s = s->next_waiting;
    if (s) {
        stop_waiting(s);
        s->flight = f;
    }
    bool written = s && s->written;
    pthread_mutex_unlock(&w->lock);
    if (!s) tide_flight_drop(f); /* it was declined */
    if (written) (void)finish(s, 0, NULL, 0);
}

void tide_snapshot_abandon(struct tide_task *t, uint64_t round)
{
    struct tide_worker *w = t->worker;
    struct tide_snapshot *over = NULL;
    pthread_mutex_lock(&w->lock);
    for (struct tide_snapshot *s = t->waiting, *next; s; s = next) {
        next = s->next_waiting;
        if (round && s->round != round) continue;
        stop_waiting(s);
        s->abandoned = true;
        if (!s->written) continue; /* the program will be told */
        s->next = over;
        over = s;
    }
    pthread_mutex_unlock(&w->lock);
    for (struct tide_snapshot *next; over; over = next) {
        next = over->next;
        release(over);
    }
    if (round)
        tide_flight_drop(tide_flight_take(t, round));
    else
        tide_flight_forget(t);
}

void tide_snapshot_unfenced(struct tide_worker *w)
{
    struct tide_snapshot *list, *next;
    pthread_mutex_lock(&w->lock);
    list = w->fenced;
    w->fenced = NULL;
    for (; list; list = next) {
        next = list->next;
        if (ack(list, tide_now_us()) == TIDE_EFENCED) {
            list->next = w->fenced;
            w->fenced = list;
        } else {
            release(list);
        }
    }
    pthread_mutex_unlock(&w->lock);
}

void tide_snapshot_forget(struct tide_worker *w)
{
    pthread_mutex_lock(&w->lock);
    struct tide_snapshot *list = w->fenced, *next;
    w->fenced = NULL;
    pthread_mutex_unlock(&w->lock);
    for (; list; list = next) {
        next = list->next;
        release(list);
    }
}

static struct tide_snapshot *begin(struct tide_task *t, const struct tide_delivery *d)
{
    struct tide_snapshot *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->directory = malloc(d->directory.len + 1);
    if (!s->directory) {
        free(s);
        return NULL;
    }
    memcpy(s->directory, d->directory.data, d->directory.len);
    s->directory[d->directory.len] = '\0';
    s->task = t;
    s->attempt = d->attempt;
    s->round = d->round;
    s->align_us = d->align_us;
    s->savepoint = d->savepoint;
    s->full = d->full;
    s->shares = d->shares;
    s->native = d->native || !d->savepoint;
    s->directory_exists = d->directory_exists;
    s->fd = -1;
    s->begun_us = tide_now_us();
    atomic_init(&s->refs, 2);
    atomic_init(&s->sync_us, 0);
    return s;
}

void tide_snapshot_run(struct tide_task *t, const struct tide_delivery *d)
{
    struct tide_worker *w = t->worker;
    struct flight *f = d->waits ? tide_flight_of(t, d->round) : NULL;
    struct tide_snapshot *s = d->waits && !f ? NULL : begin(t, d);
    if (!s) {
        pthread_mutex_lock(&w->lock);
        (void)tide_session_decline(w->session, d->attempt, d->round, t->number,
                                   tide_bytes_of(tide_strerror(TIDE_ENOMEM)), 0, tide_now_us());
        pthread_mutex_unlock(&w->lock);
        tide_flight_drop(tide_flight_take(t, d->round));
        return;
    }
    if (d->waits) {
        pthread_mutex_lock(&w->lock);
        s->waits = true;
        s->next_waiting = t->waiting;
        t->waiting = s;
        pthread_mutex_unlock(&w->lock);
    } else {
        s->flight = tide_flight_take(t, d->round); /* what the barrier has passed in outputs */
    }
    if (d->captures) t->capturing = f;
    int rc = t->callbacks.snapshot(t, s, t->user);
    uint64_t took = tide_now_us() - s->begun_us;
    atomic_store(&s->sync_us, took ? took : 1);
    if (rc != TIDE_EAGAIN) (void)tide_snapshot_done(s, rc, rc ? t->fail_reason : NULL, 0);
    release(s);
}
