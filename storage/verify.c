/* Verifying a snapshot: every artifact is read, and compared with what the manifest says of it.
 *
 * Trouble with an artifact is a finding, not an error: the first hundred are told, all are counted.
 * An error is what keeps the verification itself from going on: the manifest, memory, being
 * stopped. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "proto/err.h"
#include "proto/shared.h"
#include "storage/alloc.h"
#include "storage/files.h"
#include "storage/manifest.h"

#define PROBLEMS_MAX 100u
#define PIECE ((size_t)1 << 20)

struct verify {
    int dir; /* -1: there is none, which is fine as long as nothing is looked for in it */
    const char *directory;
    const volatile int *stop;
    Tide__VerifyResult *result;
    uint8_t *piece;
    int rc;
};

static bool set(ProtobufCBinaryData *field, struct tide_bytes bytes)
{
    if (!bytes.len) return true;
    field->data = tide_mem_alloc(bytes.len);
    if (!field->data) return false;
    memcpy(field->data, bytes.data, bytes.len);
    field->len = bytes.len;
    return true;
}

__attribute__((format(printf, 4, 5))) static void
problem(struct verify *v, uint32_t task, struct tide_bytes path, const char *format, ...)
{
    char text[160];
    va_list list;
    v->result->problem_count++;
    if (v->result->n_problems == PROBLEMS_MAX) return;
    Tide__VerifyProblem *p = tide_mem_zalloc(1, sizeof *p);
    if (!p) {
        v->rc = TIDE_ENOMEM;
        return;
    }
    tide__verify_problem__init(p);
    v->result->problems[v->result->n_problems++] = p;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    p->task = task;
    if (!set(&p->path, path) || !set(&p->problem, tide_bytes_of(text))) v->rc = TIDE_ENOMEM;
}

static void compare(struct verify *v, uint32_t task, struct tide_bytes path,
                    const struct tide_artifact_view *want, uint64_t size, XXH128_hash_t digest)
{
    v->result->bytes += size;
    if (size != want->size)
        problem(v, task, path, "size %" PRIu64 " instead of %" PRIu64, size, want->size);
    else if (digest.low64 != want->digest_low || digest.high64 != want->digest_high)
        problem(v, task, path, "digest differs");
}

static void verify_open(struct verify *v, int fd, uint32_t task, struct tide_bytes path,
                        const struct tide_artifact_view *want)
{
    struct stat st;
    XXH3_state_t state;
    uint64_t size = 0;
    ssize_t got;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        problem(v, task, path, "not a file");
        return;
    }
    if ((uint64_t)st.st_size != want->size) {
        problem(v, task, path, "size %jd instead of %" PRIu64, (intmax_t)st.st_size, want->size);
        return;
    }
    XXH3_128bits_reset(&state);
    while ((got = read(fd, v->piece, PIECE)) != 0) {
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            problem(v, task, path, "cannot be read: %s", strerror(errno));
            return;
        }
        if (*v->stop) {
            v->rc = TIDE_ECLOSED;
            return;
        }
        XXH3_128bits_update(&state, v->piece, (size_t)got);
        size += (uint64_t)got;
    }
    compare(v, task, path, want, size, XXH3_128bits_digest(&state));
}

static void verify_file(struct verify *v, uint32_t task, struct tide_bytes path,
                        const struct tide_artifact_view *want)
{
    char name[4096];
    if (path.len >= sizeof name) {
        problem(v, task, path, "the path is too long");
        return;
    }
    memcpy(name, path.data, path.len);
    name[path.len] = '\0';
    if (want->shared &&
        !tide_artifact_where(name, sizeof name, tide_bytes_of(v->directory), task, 0, want)) {
        problem(v, task, path, "the path is too long");
        return;
    }
    int dir = want->shared ? AT_FDCWD : v->dir; /* that of the job may be there without ours */
    /* O_NONBLOCK: whatever lies there in place of a file must not hold us. */
    int fd = dir == -1 ? -1 : openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0) {
        verify_open(v, fd, task, path, want);
        close(fd);
    } else if (dir == -1 || errno == ENOENT) {
        problem(v, task, path, "missing");
    } else {
        problem(v, task, path, "cannot be opened: %s", strerror(errno));
    }
}

static void verify_ack(struct verify *v, const struct tide_ack_view *ack)
{
    struct tide_artifact_place place = {0};
    struct tide_artifact_view want;
    for (uint32_t i = 0; !v->rc && tide_acks_artifact(ack, &place, &want); i++) {
        char derived[32];
        struct tide_bytes path = want.path;
        if (*v->stop) v->rc = TIDE_ECLOSED;
        v->result->artifacts++;
        if (want.is_inline) {
            compare(v, ack->task, tide_bytes_of("(inline)"), &want, want.inlined.len,
                    XXH3_128bits(want.inlined.data, want.inlined.len));
            continue;
        }
        if (!path.len)
            path = (struct tide_bytes){(const uint8_t *)derived,
                                       tide_artifact_path(derived, ack->task, i)};
        verify_file(v, ack->task, path, &want);
    }
}

/* The copy of the manifest that a savepoint has in its directory. */
static void verify_metadata(struct verify *v, const char *directory, struct tide_bytes image)
{
    const struct tide_bytes path = tide_bytes_of(TIDE_METADATA);
    struct tide_buf have = {0};
    struct tide_manifest m;
    char why[256];
    /* A byte more than it should have tells that it is too long. */
    tide_buf_init(&have, image.len + 1);
    int rc = tide_files_metadata_read(directory, &have, why);
    if (rc == TIDE_ENOMEM) {
        v->rc = rc;
    } else if (rc == TIDE_ENOTFOUND) {
        problem(v, 0, path, "missing");
    } else if (rc == TIDE_ETOOBIG) {
        problem(v, 0, path, "longer than the %zu bytes that were written", image.len);
    } else if (rc) {
        problem(v, 0, path, "%.150s", why);
    } else if (!tide_bytes_equal(image, (struct tide_bytes){have.data, have.len})) {
        rc = tide_manifest_open(&m, (struct tide_bytes){have.data, have.len}, why);
        if (!rc) tide_manifest_close(&m);
        problem(v, 0, path, "%.150s", rc ? why : "is another snapshot's");
    }
    v->result->bytes += have.len;
    tide_buf_release(&have);
}

int tide_files_verify(const char *directory, struct tide_bytes image, const volatile int *stop,
                      Tide__VerifyResult **ret, char why[static 256])
{
    struct tide_manifest m;
    struct tide_manifest_walk walk = {0};
    struct tide_ack_view ack;
    struct verify v = {.stop = stop, .dir = -1, .directory = directory};
    int rc = tide_manifest_open(&m, image, why);
    if (rc) return rc;
    v.result = tide_mem_zalloc(1, sizeof *v.result);
    v.piece = tide_mem_alloc(PIECE);
    if (v.result) {
        tide__verify_result__init(v.result);
        v.result->problems = tide_mem_zalloc(PROBLEMS_MAX, sizeof *v.result->problems);
    }
    if (!v.result || !v.piece || !v.result->problems) v.rc = TIDE_ENOMEM;
    if (!v.rc) v.dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (!v.rc && v.dir < 0 && errno != ENOENT) {
        snprintf(why, 256, "%.180s: cannot be opened: %s", directory, strerror(errno));
        v.rc = TIDE_EIO;
    } else if (!v.rc) {
        while (!v.rc && tide_manifest_next(&m, &walk, &ack))
            verify_ack(&v, &ack);
        if (!v.rc && m.head->kind == TIDE__ROUND_KIND__ROUND_SAVEPOINT)
            verify_metadata(&v, directory, image);
        if (v.rc)
            snprintf(why, 256, "%.180s: verification ended early: %s", directory,
                     tide_strerror(v.rc));
    } else {
        snprintf(why, 256, "%.180s: no memory to verify it", directory);
    }
    if (v.dir >= 0) close(v.dir);
    free(v.piece);
    tide_manifest_close(&m);
    if (v.rc) {
        if (v.result) tide__verify_result__free_unpacked(v.result, NULL);
        return v.rc;
    }
    *ret = v.result;
    return 0;
}
