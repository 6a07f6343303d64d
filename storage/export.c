/* A snapshot becomes a directory of its own: link by link, where that can be, or byte by byte.
 *
 * The usual way: `_metadata.pending` is there, and tells which files there must be; each of them is
 * linked, or copied into a file with `.part` behind its name, and renamed once it is durable. When
 * all are there the directories are synced; `_metadata` comes after that, by a rename. So whoever
 * finds a `_metadata` finds all of it.
 *
 * A call ends after a while and says how far it has come, so that nobody has to guess whether a
 * lane hangs. What was begun before a crash is done again where it is not certain. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "proto/err.h"
#include "proto/shared.h"
#include "proto/worker.pb-c.h"
#include "storage/files.h"
#include "storage/manifest.h"

#define WHY 256u
#define NAME_MAX_LEN (TIDE_ARTIFACT_PATH_MAX + 1)
#define BLOCK ((size_t)1 << 20)

struct exporting {
    const char *from, *to; /* directories */
    int from_fd, to_fd;
    int shared_fd; /* where shared artifacts lie; -1: nowhere */
    struct tide_export_place *place;
    uint64_t until; /* CLOCK_MONOTONIC, us */
    const volatile int *stop;
    char *why;
};

static int say(struct exporting *e, int rc, const char *directory, const char *name,
               const char *what)
{
    snprintf(e->why, WHY, "%.120s/%.60s: %.60s", directory, name, what);
    return rc;
}

/* Of errno, while it is fresh. */
static int failed(struct exporting *e, const char *directory, const char *name)
{
    const int error = errno;
    int rc = error == ENOENT || error == ENOTDIR  ? TIDE_ENOTFOUND
             : error == ENOSPC || error == EDQUOT ? TIDE_ENOSPC
             : error == ENOMEM                    ? TIDE_ENOMEM
             : error == EEXIST                    ? TIDE_EEXIST
                                                  : TIDE_EIO;
    return say(e, rc, directory, name,
               rc == TIDE_ENOTFOUND && directory == e->from ? "is missing" : strerror(error));
}

static uint64_t now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* ---- one file */

/* The directories above it. */
static int make_above(struct exporting *e, char *name)
{
    for (char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int rc = mkdirat(e->to_fd, name, 0777) && errno != EEXIST ? failed(e, e->to, name) : 0;
        *slash = '/';
        if (rc) return rc;
    }
    return 0;
}

/* *ret: the directory that it lies in. In the export nothing is shared any more: what was lies
 * below it under the path that is its key. */
static int check_source(struct exporting *e, const char *name, uint64_t size, int *ret)
{
    struct stat st;
    int rc = fstatat(*ret = e->from_fd, name, &st, AT_SYMLINK_NOFOLLOW);
    if (rc && errno == ENOENT && e->shared_fd >= 0 && tide_shared_key_valid(tide_bytes_of(name)))
        rc = fstatat(*ret = e->shared_fd, name, &st, AT_SYMLINK_NOFOLLOW);
    if (rc) return failed(e, e->from, name);
    if (!S_ISREG(st.st_mode)) return say(e, TIDE_ECORRUPT, e->from, name, "is not a file");
    if ((uint64_t)st.st_size != size)
        return say(e, TIDE_ECORRUPT, e->from, name, "has not the size that the snapshot says");
    return 0;
}

/* From where an earlier call ended, as far as time allows: TIDE_EAGAIN. What was written is durable
 * when this returns, so that the last sync is no longer than the others. */
static int copy_bytes(struct exporting *e, const char *name, int in, int out, uint64_t size)
{
    uint64_t *at = &e->place->offset;
    uint8_t *block = malloc(BLOCK);
    int rc = block ? 0 : say(e, TIDE_ENOMEM, e->to, name, tide_strerror(TIDE_ENOMEM));
    while (!rc && *at < size) {
        ssize_t n = pread(in, block, size - *at < BLOCK ? (size_t)(size - *at) : BLOCK, (off_t)*at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) rc = failed(e, e->from, name);
        if (n == 0) rc = say(e, TIDE_ECORRUPT, e->from, name, "shrank while it was copied");
        for (ssize_t done = 0; !rc && done < n;) {
            ssize_t wrote = pwrite(out, block + done, (size_t)(n - done), (off_t)*at);
            if (wrote < 0 && errno == EINTR) continue;
            if (wrote < 0) {
                rc = failed(e, e->to, name);
            } else {
                done += wrote;
                *at += (uint64_t)wrote;
                e->place->bytes += (uint64_t)wrote;
            }
        }
        if (!rc && *at < size && (*e->stop || now() >= e->until)) rc = TIDE_EAGAIN;
    }
    free(block);
    if ((!rc || rc == TIDE_EAGAIN) && fsync(out)) rc = failed(e, e->to, name);
    return rc;
}

static int copy_file(struct exporting *e, int dir, const char *name, uint64_t size)
{
    char part[NAME_MAX_LEN + 8];
    (void)snprintf(part, sizeof part, "%s.part", name);
    int in = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (in < 0) return failed(e, e->from, name);
    int out = openat(e->to_fd, part,
                     O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC | (e->place->offset ? 0 : O_TRUNC),
                     0666);
    int rc = out < 0 ? failed(e, e->to, part) : copy_bytes(e, name, in, out, size);
    if (!rc && renameat(e->to_fd, part, e->to_fd, name)) rc = failed(e, e->to, name);
    close(in);
    if (out >= 0) close(out);
    return rc;
}

static bool cannot_link(int error)
{
    return error == EXDEV || error == EPERM || error == EACCES || error == EMLINK ||
           error == ENOTSUP || error == ENOSYS;
}

static int export_file(struct exporting *e, char *name, uint64_t size)
{
    struct stat st;
    int dir, rc = check_source(e, name, size, &dir);
    if (!rc) rc = make_above(e, name);
    if (rc) return rc;
    if (!e->place->offset && linkat(dir, name, e->to_fd, name, 0) == 0) {
        e->place->bytes += size;
        return 0;
    }
    if (!e->place->offset &&
        errno == EEXIST) { /* before a crash; a copy is there when it is whole */
        if (fstatat(e->to_fd, name, &st, AT_SYMLINK_NOFOLLOW)) return failed(e, e->to, name);
        if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != size)
            return say(e, TIDE_EEXIST, e->to, name, "is something else");
        e->place->bytes += size;
        return 0;
    }
    if (!e->place->offset && !cannot_link(errno)) return failed(e, e->to, name);
    return copy_file(e, dir, name, size);
}

/* ---- all of them */

typedef int visit(struct exporting *e, char *name, uint64_t size);

/* From place->artifact on, counted over the whole manifest. */
static int each_file(struct exporting *e, const struct tide_manifest *m, visit *f)
{
    struct tide_manifest_walk walk = {0};
    struct tide_ack_view ack;
    uint64_t n = 0;
    int rc = 0;
    while (!rc && tide_manifest_next(m, &walk, &ack)) {
        struct tide_artifact_place place = {0};
        struct tide_artifact_view v;
        for (uint32_t i = 0; !rc && tide_acks_artifact(&ack, &place, &v); i++, n++) {
            char name[NAME_MAX_LEN + 32];
            if (n < e->place->artifact) continue;
            if (!v.is_inline) {
                if (v.path.len) {
                    memcpy(name, v.path.data, v.path.len); /* at most TIDE_ARTIFACT_PATH_MAX */
                    name[v.path.len] = '\0';
                } else {
                    (void)tide_artifact_path(name, ack.task, i);
                }
                rc = f(e, name, v.size);
            }
            if (rc) break;
            e->place->artifact = n + 1;
            e->place->offset = 0;
            if (e->until && (*e->stop || now() >= e->until)) rc = TIDE_EAGAIN;
        }
    }
    return rc;
}

static int sync_at(struct exporting *e, const char *name)
{
    int fd = openat(e->to_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 || fsync(fd) ? failed(e, e->to, name) : 0;
    if (fd >= 0) close(fd);
    return rc;
}

/* The directories above a file that are not the export's own. */
static int sync_above(struct exporting *e, char *name, uint64_t size)
{
    int rc = 0;
    (void)size;
    for (char *slash = strchr(name, '/'); !rc && slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        rc = sync_at(e, name);
        *slash = '/';
    }
    return rc;
}

static int sync_all(struct exporting *e, const struct tide_manifest *m)
{
    struct tide_export_place from_the_start = {0}, *place = e->place;
    e->place = &from_the_start;
    e->until = 0;
    int rc = each_file(e, m, sync_above);
    e->place = place;
    return rc ? rc : sync_at(e, ".");
}

/* ---- the manifest */

/* One batch, with nothing that is shared. */
static void put_unshared(struct tide_buf *out, struct tide_bytes batch, struct tide_arena *arena)
{
    Tide__AckBatch *m = tide_unpack(arena, &tide__ack_batch__descriptor, batch, NULL);
    for (size_t i = 0; m && i < m->n_full; i++)
        for (size_t k = 0; k < m->full[i]->n_artifacts; k++)
            m->full[i]->artifacts[k]->shared = TIDE__SHARED__SHARED_NOT;
    size_t len = m ? tide__ack_batch__get_packed_size(m) : 0;
    tide_buf_put_u32(out, (uint32_t)len);
    uint8_t *room = m ? tide_buf_extend(out, len) : NULL;
    if (room)
        (void)tide__ack_batch__pack(m, room);
    else
        out->rc = TIDE_ENOMEM;
    tide_arena_reset(arena);
}

/* ret gets the image as the export has it, or nothing when it is the same. */
static int unshare(struct tide_bytes image, struct tide_buf *ret, char *why)
{
    struct tide_manifest m;
    struct tide_acks acks;
    struct tide_arena arena;
    struct tide_buf chunk;
    uint64_t shared = 0;
    char text[160];
    int rc = tide_manifest_open(&m, image, why);
    if (rc) return rc;
    tide_arena_init(&arena, (size_t)1 << 30);
    tide_buf_init(&chunk, TIDE_MANIFEST_MAX);
    tide_buf_init(ret, TIDE_MANIFEST_MAX);
    for (size_t at = 0;
         at < m.acks.len && !chunk.rc;) { /* it was opened: lengths and batches hold */
        struct tide_bytes batch = {m.acks.data + at + 4, tide_get_u32(m.acks.data + at)};
        const bool some = tide_acks_open(&acks, batch, text) == 0 && acks.shared;
        if (some)
            put_unshared(&chunk, batch, &arena);
        else
            tide_buf_put(&chunk, m.acks.data + at, batch.len + 4);
        shared += some;
        at += batch.len + 4;
    }
    struct tide_bytes head = {image.data + 16, tide_get_u32(image.data + 12)};
    struct tide_bytes all = {chunk.data, chunk.len};
    if (shared && !chunk.rc) tide_manifest_put(ret, head, &all, 1);
    rc = chunk.rc ? chunk.rc : ret->rc;
    if (rc) snprintf(why, WHY, "the manifest: %s", tide_strerror(rc));
    tide_buf_release(&chunk);
    tide_arena_release(&arena);
    tide_manifest_close(&m);
    return rc;
}

static int begin(const char *directory, struct tide_bytes image, char *why)
{
    struct tide_buf there;
    char ignored[256];
    char *pending = malloc(strlen(directory) + sizeof "/" TIDE_METADATA_PENDING);
    if (!pending) {
        snprintf(why, WHY, "%.180s: %s", directory, tide_strerror(TIDE_ENOMEM));
        return TIDE_ENOMEM;
    }
    (void)sprintf(pending, "%s/" TIDE_METADATA_PENDING, directory);
    tide_buf_init(&there, image.len + 1);
    int rc = tide_files_metadata_read(directory, &there, ignored);
    const bool done = !rc && tide_bytes_equal((struct tide_bytes){there.data, there.len}, image);
    tide_buf_release(&there);
    rc = 0;
    if (!done) { /* what an earlier daemon had begun to write may be half of it */
        if (unlink(pending) && errno != ENOENT) {
            snprintf(why, WHY, "%.180s: %.60s", pending, strerror(errno));
            rc = TIDE_EIO;
        } else {
            rc = tide_files_metadata_write(directory, image, why);
        }
    }
    free(pending);
    return rc;
}

int tide_files_export_begin(const char *directory, struct tide_bytes image, char why[static 256])
{
    struct tide_buf unshared;
    int rc = unshare(image, &unshared, why);
    if (rc) return rc;
    if (unshared.len) image = (struct tide_bytes){unshared.data, unshared.len};
    rc = begin(directory, image, why);
    tide_buf_release(&unshared);
    return rc;
}

/* `_metadata.pending`, or, when it was renamed before a crash, `_metadata`. */
static int open_manifest(const char *to, struct tide_buf *image, struct tide_manifest *ret,
                         char why[static 256])
{
    char text[256];
    tide_buf_init(image, TIDE_MANIFEST_MAX);
    int rc = tide_files_pending_read(to, image, why);
    if (rc == TIDE_ENOTFOUND) {
        tide_buf_init(image, TIDE_MANIFEST_MAX);
        rc = tide_files_metadata_read(to, image, why);
    }
    if (rc) return rc;
    rc = tide_manifest_open(ret, (struct tide_bytes){image->data, image->len}, text);
    if (rc) {
        snprintf(why, WHY, "%.120s/" TIDE_METADATA_PENDING ": %.100s", to, text);
        tide_buf_release(image);
    }
    return rc;
}

int tide_files_export(const char *from, const char *to, uint64_t for_us, const volatile int *stop,
                      struct tide_export_place *place, char why[static 256])
{
    struct tide_buf image;
    struct tide_manifest m;
    int rc = open_manifest(to, &image, &m, why);
    if (rc) return rc;
    struct exporting e = {.from = from, .to = to, .place = place, .stop = stop, .why = why};
    e.until = now() + for_us;
    struct tide_bytes shared = tide_shared_directory(tide_bytes_of(from));
    char *above = shared.len ? strndup((const char *)shared.data, shared.len) : NULL;
    e.shared_fd = above ? open(above, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    free(above);
    e.from_fd = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    e.to_fd = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (e.from_fd < 0)
        rc = failed(&e, from, ".");
    else if (e.to_fd < 0)
        rc = failed(&e, to, ".");
    if (!rc) rc = each_file(&e, &m, export_file);
    if (!rc) rc = sync_all(&e, &m);
    if (rc == TIDE_EAGAIN && *stop) {
        snprintf(why, WHY, "%.180s: nobody waits for it any more", to);
        rc = TIDE_ECLOSED;
    }
    if (e.shared_fd >= 0) close(e.shared_fd);
    if (e.from_fd >= 0) close(e.from_fd);
    if (e.to_fd >= 0) close(e.to_fd);
    tide_manifest_close(&m);
    tide_buf_release(&image);
    return rc;
}

/* ---- giving up */

static int remove_file(struct exporting *e, char *name, uint64_t size)
{
    char part[NAME_MAX_LEN + 40];
    (void)size;
    (void)snprintf(part, sizeof part, "%s.part", name);
    (void)unlinkat(e->to_fd, part, 0);
    (void)unlinkat(e->to_fd, name, 0);
    for (char *slash = strrchr(name, '/'); slash; slash = strrchr(name, '/')) {
        *slash = '\0'; /* goes with the last file in it */
        (void)unlinkat(e->to_fd, name, AT_REMOVEDIR);
    }
    return 0;
}

int tide_files_export_drop(const char *directory, char why[static 256])
{
    struct tide_buf image;
    struct tide_manifest m;
    struct tide_export_place place = {0};
    struct exporting e = {.to = directory, .place = &place, .why = why};
    e.to_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (e.to_fd < 0) return errno == ENOENT ? 0 : failed(&e, directory, ".");
    int rc = 0;
    if (faccessat(e.to_fd, TIDE_METADATA, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
        rc = say(&e, TIDE_EEXIST, directory, TIDE_METADATA, "it is a snapshot");
    } else {
        if (open_manifest(directory, &image, &m, why) == 0) {
            (void)each_file(&e, &m, remove_file);
            tide_manifest_close(&m);
            tide_buf_release(&image);
        }
        (void)unlinkat(e.to_fd, TIDE_METADATA_PENDING, 0);
        if (rmdir(directory) && errno != ENOENT) rc = failed(&e, directory, ".");
    }
    close(e.to_fd);
    return rc;
}
