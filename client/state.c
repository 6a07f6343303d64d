/* Reading restored state. The bytes are digested on the way, so that damage shows at the end of the
 * last read at the latest, before the program believes what it has. What fails is remembered with
 * the file's name: the daemon is told that when the program has no better reason. */
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

struct tide_state_reader {
    struct tide_task *task;
    char *path;     /* NULL: inline */
    int fd;         /* -1: inline */
    uint8_t *bytes; /* inline: a copy */
    uint64_t size, at;
    uint64_t low, high; /* the digest expected */
    XXH3_state_t *digest;
    uint8_t *record; /* of tide_state_next() */
    size_t room;
    int rc; /* sticks */
};

static int fail(struct tide_state_reader *r, int rc, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int fail(struct tide_state_reader *r, int rc, const char *format, ...)
{
    char what[128];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    pthread_mutex_lock(&r->task->worker->lock);
    snprintf(r->task->state_why, sizeof r->task->state_why, "%.260s: %s",
             r->path ? r->path : "inline state", what);
    pthread_mutex_unlock(&r->task->worker->lock);
    return rc;
}

void tide_state_close(struct tide_state_reader *r)
{
    if (!r) return;
    if (r->fd >= 0) close(r->fd);
    XXH3_freeState(r->digest);
    free(r->bytes);
    free(r->record);
    free(r->path);
    free(r);
}

static int open_file(struct tide_state_reader *r, const struct tide_source *from)
{
    struct stat st;
    size_t dir = from->directory.len, name = from->artifact->path.len;
    r->path = malloc(dir + name + 2);
    if (!r->path) return TIDE_ENOMEM;
    memcpy(r->path, from->directory.data, dir);
    r->path[dir] = '/';
    memcpy(r->path + dir + 1, from->artifact->path.data, name);
    r->path[dir + 1 + name] = '\0';
    r->fd = open(r->path, O_RDONLY | O_CLOEXEC);
    if (r->fd < 0)
        return fail(r, errno == ENOENT ? TIDE_ENOTFOUND : TIDE_EIO, "%s", strerror(errno));
    if (fstat(r->fd, &st)) return fail(r, TIDE_EIO, "%s", strerror(errno));
    if (!S_ISREG(st.st_mode)) return fail(r, TIDE_ECORRUPT, "not a file");
    if ((uint64_t)st.st_size != r->size)
        return fail(r, TIDE_ECORRUPT, "damaged: %llu bytes, the snapshot has %llu",
                    (unsigned long long)st.st_size, (unsigned long long)r->size);
    (void)posix_fadvise(r->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    return 0;
}

int tide_state_open(const struct tide_restore *restore, const struct tide_state *s,
                    struct tide_state_reader **ret)
{
    int rc = TIDE_ENOMEM;
    if (!restore || !s || !s->handle || !ret) return TIDE_EINVAL;
    const struct tide_source *from = s->handle;
    const Tide__Artifact *a = from->artifact;
    struct tide_state_reader *r = calloc(1, sizeof *r);
    if (!r) return TIDE_ENOMEM;
    r->fd = -1;
    r->task = from->task;
    r->size = a->size;
    r->low = a->digest_low;
    r->high = a->digest_high;
    r->digest = XXH3_createState();
    if (!r->digest) goto fail;
    (void)XXH3_128bits_reset(r->digest);
    if (a->place_case == TIDE__ARTIFACT__PLACE_INLINE) {
        r->bytes = malloc(a->inline_.len + 1);
        if (!r->bytes) goto fail;
        if (a->inline_.len) memcpy(r->bytes, a->inline_.data, a->inline_.len);
    } else {
        rc = open_file(r, from);
        if (rc) goto fail;
    }
    *ret = r;
    return 0;
fail:
    tide_state_close(r);
    return rc;
}

const char *tide_state_path(const struct tide_state_reader *r)
{
    return r ? r->path : NULL;
}

static int at_end(struct tide_state_reader *r)
{
    uint8_t more;
    XXH128_hash_t have = XXH3_128bits_digest(r->digest);
    if (have.low64 != r->low || have.high64 != r->high)
        return fail(r, TIDE_ECORRUPT, "damaged: its digest is not the snapshot's");
    if (r->fd < 0) return 0;
    ssize_t n = read(r->fd, &more, 1);
    if (n < 0) return fail(r, TIDE_EIO, "%s", strerror(errno));
    return n ? fail(r, TIDE_ECORRUPT, "damaged: it has grown while it was read") : 0;
}

int tide_state_read(struct tide_state_reader *r, void *buf, size_t n, size_t *ret_n)
{
    size_t have = 0;
    if (!r || (!buf && n) || !ret_n) return TIDE_EINVAL;
    *ret_n = 0;
    if (r->rc) return r->rc;
    if (n > r->size - r->at) n = (size_t)(r->size - r->at);
    while (have < n && r->fd >= 0) {
        ssize_t got = read(r->fd, (uint8_t *)buf + have, n - have);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return r->rc = fail(r, TIDE_EIO, "%s", strerror(errno));
        if (got == 0)
            return r->rc = fail(r, TIDE_ECORRUPT, "damaged: it became shorter while it was read");
        have += (size_t)got;
    }
    if (r->fd < 0 && n) {
        memcpy(buf, r->bytes + r->at, n);
        have = n;
    }
    (void)XXH3_128bits_update(r->digest, buf, have);
    r->at += have;
    /* with the last byte, so that one who reads exactly the size learns it as well */
    if (r->at == r->size) {
        r->rc = at_end(r);
        if (r->rc) return r->rc;
    }
    *ret_n = have;
    return 0;
}

/* Exactly n bytes. */
static int read_all(struct tide_state_reader *r, void *buf, size_t n)
{
    size_t got;
    int rc = tide_state_read(r, buf, n, &got);
    if (!rc && got != n) rc = r->rc = fail(r, TIDE_ECORRUPT, "it ends within a record");
    return rc;
}

int tide_state_next(struct tide_state_reader *r, const void **ret_data, size_t *ret_n)
{
    uint8_t head[8];
    if (!r || !ret_data || !ret_n) return TIDE_EINVAL;
    *ret_data = NULL;
    *ret_n = 0;
    if (r->rc || r->at == r->size) return r->rc;
    int rc = read_all(r, head, sizeof head);
    if (rc) return rc;
    const size_t n = tide_get_u32(head);
    if (n > r->size - r->at)
        return r->rc = fail(r, TIDE_ECORRUPT, "a record is longer than what is left");
    if (n > r->room || !r->record) {
        uint8_t *record = realloc(r->record, n + 1);
        if (!record) return r->rc = TIDE_ENOMEM;
        r->record = record;
        r->room = n;
    }
    rc = read_all(r, r->record, n);
    if (rc) return rc;
    *ret_data = r->record;
    *ret_n = n;
    return 0;
}
