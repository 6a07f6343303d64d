/* A savepoint's directory. Everything in it is checked before it is believed: the manifest by its
 * own digest, an artifact by that of the manifest. */
#include "state/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "proto/shared.h"
#include "state/native.h"

#define BLOCK ((size_t)1 << 20)

static int map(const char *path, struct tide_directory *d, char why[static WHY_SIZE])
{
    struct stat st;
    int rc = TIDE_EIO, fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st)) {
        rc = errno == ENOENT ? TIDE_ENOTFOUND : TIDE_EIO;
        snprintf(why, WHY_SIZE, "%.300s: %s", path, strerror(errno));
    } else if (!S_ISREG(st.st_mode) || st.st_size <= 0) {
        rc = TIDE_ECORRUPT;
        snprintf(why, WHY_SIZE, "%.300s: is not a file, or an empty one", path);
    } else {
        void *image = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (image == MAP_FAILED) {
            snprintf(why, WHY_SIZE, "%.300s: %s", path, strerror(errno));
        } else {
            d->image = image;
            d->len = (size_t)st.st_size;
            rc = 0;
        }
    }
    if (fd >= 0) close(fd);
    return rc;
}

static int open_manifest(const char *path, struct tide_directory *d, char why[static WHY_SIZE])
{
    char reason[256] = "";
    struct tide_bytes image = {d->image, d->len};
    int rc = tide_manifest_open(&d->manifest, image, reason);
    if (!rc) {
        const Tide__ManifestHead *head = d->manifest.head;
        rc = head->spec ? tide_graph_new(head->spec, &d->graph, reason) : TIDE_ECORRUPT;
        if (!head->spec) snprintf(reason, sizeof reason, "it has no spec");
        if (!rc && d->graph->tasks != head->tasks) {
            rc = TIDE_ECORRUPT;
            snprintf(reason, sizeof reason, "it speaks of %u tasks, its spec of %u", head->tasks,
                     d->graph->tasks);
        }
        if (rc) tide_manifest_close(&d->manifest);
    }
    if (rc) snprintf(why, WHY_SIZE, "%.200s: %.255s", path, reason);
    return rc == TIDE_EINVAL ? TIDE_ECORRUPT : rc;
}

int tide_directory_open(const char *path, struct tide_directory *ret, char why[static WHY_SIZE])
{
    char file[4096];
    struct tide_directory d = {0};
    int n = snprintf(file, sizeof file, "%s/_metadata", path);
    if (n < 0 || (size_t)n >= sizeof file - 300) {
        snprintf(why, WHY_SIZE, "%.300s: the name is too long", path);
        return TIDE_EINVAL;
    }
    int rc = map(file, &d, why);
    if (rc) return rc;
    rc = open_manifest(file, &d, why);
    if (!rc) {
        d.path = strdup(path);
        if (d.path) {
            *ret = d;
            return 0;
        }
        rc = TIDE_ENOMEM;
        tide_graph_free(d.graph);
        tide_manifest_close(&d.manifest);
    }
    munmap(d.image, d.len);
    return rc;
}

void tide_directory_close(struct tide_directory *d)
{
    if (!d->image) return;
    tide_graph_free(d->graph);
    tide_manifest_close(&d->manifest);
    munmap(d->image, d->len);
    free(d->path);
    *d = (struct tide_directory){0};
}

int tide_directory_each(const struct tide_directory *d, tide_directory_visit *f, void *user)
{
    struct tide_manifest_walk walk = {0};
    struct tide_ack_view ack;
    struct tide_directory_artifact *a = malloc(sizeof *a);
    int rc = a ? 0 : TIDE_ENOMEM;
    if (a) a->in = d;
    while (!rc && tide_manifest_next(&d->manifest, &walk, &ack)) {
        struct tide_artifact_place place = {0};
        a->op = tide_graph_operator(d->graph, ack.task, &a->subtask);
        for (uint32_t i = 0; !rc && tide_acks_artifact(&ack, &place, &a->view); i++) {
            bool fits = tide_artifact_where(a->file, sizeof a->file, tide_bytes_of(d->path),
                                            ack.task, i, &a->view);
            if (a->view.is_inline) a->file[0] = '\0';
            rc = fits || a->view.is_inline ? f(user, a) : TIDE_EINVAL;
        }
    }
    free(a);
    return rc;
}

bool tide_directory_is_state(const struct tide_directory_artifact *a)
{
    return tide_bytes_equal(a->view.name, tide_bytes_of(TIDE_ARTIFACT_KEYED)) ||
           tide_bytes_equal(a->view.name, tide_bytes_of(TIDE_ARTIFACT_OWN)) ||
           tide_bytes_equal(a->view.name, tide_bytes_of(TIDE_ARTIFACT_NATIVE)) ||
           tide_bytes_equal(a->view.name, tide_bytes_of(TIDE_ARTIFACT_FLIGHT));
}

bool tide_directory_is_file(const struct tide_directory_artifact *a)
{
    const size_t n = sizeof TIDE_NATIVE_FILE - 1;
    return a->view.name.len > n && !memcmp(a->view.name.data, TIDE_NATIVE_FILE, n);
}

static int damaged(const struct tide_directory_artifact *a, const char *what,
                   char why[static WHY_SIZE])
{
    snprintf(why, WHY_SIZE, "%.300s: damaged: %s", a->file[0] ? a->file : "inline state", what);
    return TIDE_ECORRUPT;
}

static int compare(const struct tide_directory_artifact *a, XXH128_hash_t have, uint64_t size,
                   char why[static WHY_SIZE])
{
    if (size != a->view.size) return damaged(a, "its size is not the snapshot's", why);
    if (have.low64 != a->view.digest_low || have.high64 != a->view.digest_high)
        return damaged(a, "its digest is not the snapshot's", why);
    return 0;
}

static int check_file(const struct tide_directory_artifact *a, char why[static WHY_SIZE])
{
    uint64_t size = 0;
    ssize_t n = 1;
    int rc = 0, fd = open(a->file, O_RDONLY | O_CLOEXEC);
    uint8_t *block = malloc(BLOCK);
    XXH3_state_t *state = XXH3_createState();
    if (!block || !state) {
        rc = TIDE_ENOMEM;
    } else if (fd < 0) {
        rc = errno == ENOENT ? TIDE_ENOTFOUND : TIDE_EIO;
        snprintf(why, WHY_SIZE, "%.300s: %s", a->file, strerror(errno));
    } else {
        (void)XXH3_128bits_reset(state);
    }
    while (!rc && n && size <= a->view.size) {
        n = read(fd, block, BLOCK);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            rc = TIDE_EIO;
            snprintf(why, WHY_SIZE, "%.300s: %s", a->file, strerror(errno));
            break;
        }
        (void)XXH3_128bits_update(state, block, (size_t)n);
        size += (uint64_t)n;
    }
    if (!rc) rc = compare(a, XXH3_128bits_digest(state), size, why);
    if (fd >= 0) close(fd);
    XXH3_freeState(state);
    free(block);
    return rc;
}

static int check(const struct tide_directory_artifact *a, char why[static WHY_SIZE])
{
    const struct tide_bytes in = a->view.inlined;
    if (a->file[0]) return check_file(a, why);
    return compare(a, XXH3_128bits(in.data, in.len), in.len, why);
}

/* ---- native parts */

struct finding {
    const struct tide_directory_artifact *index;
    struct tide_format_reader *reader;
    char *why;
};

static int find_file(void *user, const struct tide_directory_artifact *a)
{
    char name[256];
    struct finding *f = user;
    const struct tide_bytes called = a->view.name;
    if (a->op != f->index->op || a->subtask != f->index->subtask || called.len >= sizeof name)
        return 0;
    memcpy(name, called.data ? (const char *)called.data : "", called.len);
    name[called.len] = '\0';
    if (!tide_directory_is_file(a)) return 0;
    int rc = check(a, f->why);
    if (rc) return rc;
    rc = tide_native_found(f->reader, name, a->file[0] ? a->file : NULL, a->view.inlined, NULL);
    if (rc) memcpy(f->why, f->reader->why, WHY_SIZE);
    return rc;
}

static int read_native(const struct tide_directory_artifact *a, struct tide_format_reader **ret,
                       char why[static WHY_SIZE])
{
    struct tide_directory mapped = {0};
    struct tide_bytes image = a->view.inlined;
    const char *called = a->file[0] ? a->file : "inline state";
    int rc = a->file[0] ? map(a->file, &mapped, why) : 0;
    if (rc) return rc;
    if (mapped.image) image = (struct tide_bytes){mapped.image, mapped.len};
    struct finding f = {.index = a, .why = why};
    rc = tide_native_open(called, image, &f.reader, why);
    if (mapped.image) munmap(mapped.image, mapped.len);
    if (rc) return rc;
    rc = tide_directory_each(a->in, find_file, &f);
    if (!rc) {
        rc = tide_native_check(f.reader);
        if (rc) memcpy(why, f.reader->why, WHY_SIZE);
    }
    if (rc)
        tide_format_close(f.reader);
    else
        *ret = f.reader;
    return rc;
}

int tide_directory_read(const struct tide_directory_artifact *a, struct tide_format_reader **ret,
                        char why[static WHY_SIZE])
{
    int rc = check(a, why);
    if (rc) return rc;
    if (tide_bytes_equal(a->view.name, tide_bytes_of(TIDE_ARTIFACT_NATIVE)))
        return read_native(a, ret, why);
    if (a->file[0]) return tide_format_open(a->file, ret, why);
    return tide_format_open_bytes("inline state", a->view.inlined, ret, why);
}
