/* Looking at a directory: is it a snapshot, and whole? The store may know nothing of it, or have
 * the manifest itself.
 *
 * The usual way: `_metadata` opens as a manifest, and every file that it names is there, as long as
 * it says. What is in the files is not read: a restore compares their digests anyway, and a
 * verification can be asked for. What can go wrong is in the directory, and the first trouble is
 * told with the file's name: a snapshot is whole or it is not one. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/err.h"
#include "proto/shared.h"
#include "storage/files.h"
#include "storage/manifest.h"

#define WHY 256u

static int look(int dir, const char *directory, struct tide_bytes path, uint64_t size, char *why)
{
    char name[4096];
    struct stat st;
    if (path.len && path.data[0] == '/') directory = ""; /* of a shared one: it says all */
    if (path.len >= sizeof name) {
        snprintf(why, WHY, "%.180s: a file with a path of %zu bytes", directory, path.len);
        return TIDE_ECORRUPT;
    }
    memcpy(name, path.data, path.len);
    name[path.len] = '\0';
    if (dir < 0 || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW)) {
        int error = dir < 0 ? ENOENT : errno;
        snprintf(why, WHY, "%.150s/%.60s: %s", directory, name,
                 error == ENOENT || error == ENOTDIR ? "is missing" : strerror(error));
        return error == ENOENT || error == ENOTDIR ? TIDE_ENOTFOUND : TIDE_EIO;
    }
    if (S_ISREG(st.st_mode) && (uint64_t)st.st_size == size) return 0;
    if (S_ISREG(st.st_mode))
        snprintf(why, WHY, "%.130s/%.60s: has %jd bytes instead of %" PRIu64, directory, name,
                 (intmax_t)st.st_size, size);
    else
        snprintf(why, WHY, "%.150s/%.60s: is not a file", directory, name);
    return TIDE_ECORRUPT;
}

static int look_at_files(int dir, const char *directory, const struct tide_manifest *m,
                         const volatile int *stop, char *why)
{
    struct tide_manifest_walk walk = {0};
    struct tide_ack_view ack;
    int rc = 0;
    while (!rc && tide_manifest_next(m, &walk, &ack)) {
        struct tide_artifact_place place = {0};
        struct tide_artifact_view v;
        for (uint32_t i = 0; !rc && tide_acks_artifact(&ack, &place, &v); i++) {
            char derived[32];
            struct tide_bytes path = v.path;
            if (v.is_inline) continue;
            if (!path.len)
                path = (struct tide_bytes){(const uint8_t *)derived,
                                           tide_artifact_path(derived, ack.task, i)};
            char where[4096];
            if (v.shared &&
                tide_artifact_where(where, sizeof where, tide_bytes_of(directory), ack.task, i, &v))
                path = tide_bytes_of(where); /* absolute: the directory does not matter */
            rc = look(dir, directory, path, v.size, why);
        }
        if (!rc && *stop) {
            snprintf(why, WHY, "%.180s: nobody waits for it any more", directory);
            rc = TIDE_ECLOSED;
        }
    }
    return rc;
}

/* Where nothing was written there need be no directory. */
static int look_into(const char *directory, const struct tide_manifest *m, const volatile int *stop,
                     char *why)
{
    int dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 && errno != ENOENT) {
        snprintf(why, WHY, "%.180s: cannot be opened: %s", directory, strerror(errno));
        return TIDE_EIO;
    }
    int rc = look_at_files(dir, directory, m, stop, why);
    if (dir >= 0) close(dir);
    return rc;
}

int tide_files_whole(const char *directory, struct tide_bytes image, const volatile int *stop,
                     char why[static 256])
{
    struct tide_manifest m;
    char text[256];
    int rc = tide_manifest_open(&m, image, text);
    if (rc) {
        snprintf(why, WHY, "%.110s: its manifest: %.120s", directory, text);
        return rc;
    }
    rc = look_into(directory, &m, stop, why);
    tide_manifest_close(&m);
    return rc;
}

int tide_files_inspect(const char *directory, const volatile int *stop, struct tide_buf *ret,
                       char why[static 256])
{
    struct tide_manifest m;
    char text[256];
    tide_buf_init(ret, TIDE_MANIFEST_MAX);
    int rc = tide_files_metadata_read(directory, ret, why);
    if (rc) return rc;
    rc = tide_manifest_open(&m, (struct tide_bytes){ret->data, ret->len}, text);
    if (rc) {
        snprintf(why, WHY, "%.120s/" TIDE_METADATA ": %.120s", directory, text);
    } else {
        rc = look_into(directory, &m, stop, why);
        tide_manifest_close(&m);
    }
    if (rc) tide_buf_release(ret);
    return rc;
}
