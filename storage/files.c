/* What the daemon does to the bytes of snapshots in local directories.
 *
 * A directory is durable once the one above it is synced; so everything made here is synced with
 * its parent before it is reported. `_metadata` is what makes a directory a snapshot: it appears
 * last, by a rename, and goes first.
 *
 * What can go wrong: the file system, and names. A delete believes nobody but the naming scheme: a
 * file that the scheme does not know was not written under it, stays, and is named. */
#include "storage/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/err.h"

#define PATH_MAX_LEN 4096u
#define WHY 256u

__attribute__((format(printf, 3, 4))) static int say(int rc, char *why, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(why, WHY, format, list);
    va_end(list);
    return rc;
}

static int code_of(int error)
{
    switch (error) {
    case ENOENT:
    case ENOTDIR: return TIDE_ENOTFOUND;
    case EEXIST: return TIDE_EEXIST;
    case ENOSPC:
    case EDQUOT: return TIDE_ENOSPC;
    case ENOMEM: return TIDE_ENOMEM;
    case ENAMETOOLONG:
    case ELOOP: return TIDE_EINVAL;
    default: return TIDE_EIO;
    }
}

/* Of errno, while it is fresh. */
static int failed(const char *path, const char *what, char *why)
{
    int error = errno;
    return say(code_of(error), why, "%.180s: %s: %s", path, what, strerror(error));
}

static int sync_at(int fd, const char *path, char *why)
{
    return fsync(fd) ? failed(path, "cannot be synced", why) : 0;
}

static int open_directory(const char *path)
{
    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int sync_directory(const char *path, char *why)
{
    int fd = open_directory(path);
    if (fd < 0) return failed(path, "cannot be opened", why);
    int rc = sync_at(fd, path, why);
    close(fd);
    return rc;
}

/* A copy without slashes at the end, and where its last component begins. TIDE_EINVAL unless the
 * path is absolute and has one. */
static int split(const char *path, char copy[static PATH_MAX_LEN], char **ret_last, char *why)
{
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/')
        len--;
    if (path[0] != '/' || len < 2 || len >= PATH_MAX_LEN)
        return say(TIDE_EINVAL, why, "%.180s: not an absolute path of at most %u bytes", path,
                   PATH_MAX_LEN - 1);
    memcpy(copy, path, len);
    copy[len] = '\0';
    *ret_last = strrchr(copy, '/') + 1;
    return 0;
}

/* The directory above, in place: copy is cut at its last slash (the root keeps it). */
static void cut(char *copy, char *last)
{
    last[last - 1 == copy ? 0 : -1] = '\0';
}

/* ---- making */

static int make_parents(char *copy, char *why)
{
    for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int rc = 0;
        if (mkdir(copy, 0777) == 0) {
            rc = sync_directory(copy, why);
            char *last = strrchr(copy, '/'), kept = last[1];
            last[last == copy ? 1 : 0] = '\0';
            if (!rc) rc = sync_directory(copy, why);
            last[0] = '/';
            last[1] = kept;
        } else if (errno != EEXIST) {
            rc = failed(copy, "cannot be made", why);
        }
        *slash = '/';
        if (rc) return rc;
    }
    return 0;
}

int tide_files_mkdir(const char *path, char why[static 256])
{
    char copy[PATH_MAX_LEN], *last;
    int rc = split(path, copy, &last, why);
    if (!rc) rc = make_parents(copy, why);
    if (rc) return rc;
    if (mkdir(copy, 0777)) return failed(copy, "cannot be made", why);
    rc = sync_directory(copy, why);
    cut(copy, last);
    return rc ? rc : sync_directory(copy, why);
}

/* ---- _metadata */

static int write_all(int fd, struct tide_bytes image)
{
    for (size_t at = 0; at < image.len;) {
        size_t n = image.len - at > (size_t)1 << 30 ? (size_t)1 << 30 : image.len - at;
        ssize_t wrote = write(fd, image.data + at, n);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) return -1;
        at += (size_t)wrote;
    }
    return 0;
}

int tide_files_metadata_write(const char *directory, struct tide_bytes image, char why[static 256])
{
    int dir = open_directory(directory);
    if (dir < 0) return failed(directory, "cannot be opened", why);
    int fd = openat(dir, TIDE_METADATA_PENDING,
                    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    int rc = fd < 0 ? failed(directory, "cannot make " TIDE_METADATA_PENDING, why) : 0;
    if (!rc && (write_all(fd, image) || fsync(fd))) {
        rc = failed(directory, "cannot write " TIDE_METADATA_PENDING, why);
        unlinkat(dir, TIDE_METADATA_PENDING, 0);
    }
    if (fd >= 0) close(fd);
    /* The row that is committed next relies on finding it, after a power cut too. */
    if (!rc) rc = sync_at(dir, directory, why);
    close(dir);
    return rc;
}

int tide_files_metadata_publish(const char *directory, char why[static 256])
{
    int rc = 0, dir = open_directory(directory);
    if (dir < 0) return failed(directory, "cannot be opened", why);
    /* Never over one that is there. Not every file system can promise that by itself. */
    int moved = renameat2(dir, TIDE_METADATA_PENDING, dir, TIDE_METADATA, RENAME_NOREPLACE);
    if (moved && (errno == EINVAL || errno == ENOSYS)) {
        if (faccessat(dir, TIDE_METADATA, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
            errno = EEXIST;
        else
            moved = renameat(dir, TIDE_METADATA_PENDING, dir, TIDE_METADATA);
    }
    if (moved &&
        !(errno == ENOENT && faccessat(dir, TIDE_METADATA, F_OK, AT_SYMLINK_NOFOLLOW) == 0))
        rc = failed(directory, "cannot rename " TIDE_METADATA_PENDING " to " TIDE_METADATA, why);
    if (!rc) rc = sync_at(dir, directory, why);
    close(dir);
    return rc;
}

static int unreadable(const char *directory, const char *name, char *why)
{
    char what[40];
    int error = errno;
    snprintf(what, sizeof what, "cannot read %s", name);
    errno = error;
    return failed(directory, what, why);
}

static int read_named(const char *directory, const char *name, struct tide_buf *ret, char *why)
{
    int rc = 0, dir = open_directory(directory);
    struct stat st;
    if (dir < 0) return failed(directory, "cannot be opened", why);
    if (!ret->max) tide_buf_init(ret, (size_t)16 << 30);
    tide_buf_clear(ret);
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    close(dir);
    if (fd < 0 || fstat(fd, &st)) {
        rc = unreadable(directory, name, why);
    } else if (!S_ISREG(st.st_mode)) {
        rc = say(TIDE_ECORRUPT, why, "%.180s/%s: not a file", directory, name);
    } else if ((uintmax_t)st.st_size > ret->max) {
        rc = say(TIDE_ETOOBIG, why, "%.180s/%s: %jd bytes are more than %zu", directory, name,
                 (intmax_t)st.st_size, ret->max);
    }
    size_t left = rc ? 0 : (size_t)st.st_size;
    uint8_t *to = left ? tide_buf_extend(ret, left) : NULL;
    if (left && !to)
        rc = say(TIDE_ENOMEM, why, "%.180s/%s: no memory for %zu bytes", directory, name, left);
    while (!rc && left) {
        ssize_t got = read(fd, to, left > (size_t)1 << 30 ? (size_t)1 << 30 : left);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) rc = unreadable(directory, name, why);
        if (got == 0)
            rc = say(TIDE_ECORRUPT, why, "%.180s/%s: shrank while it was read", directory, name);
        if (got > 0) to += got, left -= (size_t)got;
    }
    if (fd >= 0) close(fd);
    if (rc) tide_buf_release(ret);
    return rc;
}

int tide_files_metadata_read(const char *directory, struct tide_buf *ret, char why[static 256])
{
    return read_named(directory, TIDE_METADATA, ret, why);
}

int tide_files_pending_read(const char *directory, struct tide_buf *ret, char why[static 256])
{
    return read_named(directory, TIDE_METADATA_PENDING, ret, why);
}

/* ---- deleting */

static const char *digits(const char *p)
{
    const char *from = p;
    while (*p >= '0' && *p <= '9')
        p++;
    return p > from ? p : NULL;
}

/* What begins with two numbers, and what follows them. */
static const char *two_numbers(const char *name, char front)
{
    const char *p = name[0] == front ? digits(name + 1) : NULL;
    return p && *p == '-' ? digits(p + 1) : NULL;
}

/* t<digits>-<digits>, perhaps with .part */
static bool is_artifact(const char *name)
{
    const char *p = two_numbers(name, 't');
    return p && (*p == '\0' || strcmp(p, ".part") == 0);
}

/* s<digits>-<digits> */
static bool is_shared(const char *name)
{
    const char *p = two_numbers(name, 's');
    return p && *p == '\0';
}

/* r<digits>, or savepoint-<6 hex digits of the job's id>-<incarnation>-<digits> */
static bool is_round(const char *name)
{
    static const char front[] = "savepoint-";
    const char *p = name[0] == 'r' ? digits(name + 1) : NULL;
    if (strncmp(name, front, sizeof front - 1) == 0) {
        p = name + sizeof front - 1;
        p = strspn(p, "0123456789abcdef") == 6 && p[6] == '-' ? digits(p + 7) : NULL;
        if (p) p = *p == '-' ? digits(p + 1) : NULL;
    }
    return p && *p == '\0';
}

static bool is_attempt(const char *name)
{
    const char *p = two_numbers(name, 'a');
    return p && *p == '\0';
}

static int remove_file(int dir, const char *directory, const char *name, char *why)
{
    if (unlinkat(dir, name, 0) == 0 || errno == ENOENT) return 0;
    int error = errno;
    return say(error == EISDIR || error == EPERM ? TIDE_EEXIST : code_of(error), why,
               "%.150s/%.80s: cannot be deleted: %s", directory, name, strerror(error));
}

/* Everything that the scheme knows, shared artifacts if they are to go too. The first trouble is
 * kept and the rest goes on. */
static int remove_known(int dir, const char *directory, bool shared_too, char *why)
{
    struct dirent *e;
    int first = 0, copy = dup(dir);
    DIR *list = copy < 0 ? NULL : fdopendir(copy);
    if (!list) {
        if (copy >= 0) close(copy);
        return failed(directory, "cannot be listed", why);
    }
    char trouble[WHY];
    while (errno = 0, (e = readdir(list))) {
        int rc = 0;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        if (is_shared(e->d_name) && !shared_too) continue;
        if (is_artifact(e->d_name) || is_shared(e->d_name) ||
            strcmp(e->d_name, TIDE_METADATA_PENDING) == 0)
            rc = remove_file(dir, directory, e->d_name, trouble);
        else
            rc = say(TIDE_EEXIST, trouble,
                     "%.150s/%.80s: not a name that Tidemark gives; it stays, remove it by hand",
                     directory, e->d_name);
        if (rc && !first) memcpy(why, trouble, WHY);
        if (!first) first = rc;
    }
    if (errno && !first) first = failed(directory, "cannot be listed", why);
    closedir(list);
    return first;
}

static int remove_directory(const char *path, bool full_is_fine, char *why)
{
    char copy[PATH_MAX_LEN], *last;
    int rc = split(path, copy, &last, why);
    if (rc) return rc;
    if (rmdir(copy)) {
        if (errno == ENOENT || (full_is_fine && (errno == ENOTEMPTY || errno == EEXIST))) return 0;
        rc = failed(copy, "cannot be removed", why);
        return rc;
    }
    cut(copy, last);
    return sync_directory(copy, why);
}

static int delete_round(const char *directory, bool shared_too, char *why)
{
    char copy[PATH_MAX_LEN], *last;
    int rc = split(directory, copy, &last, why);
    if (rc) return rc;
    if (!is_round(last))
        return say(TIDE_EINVAL, why, "%.180s: not the directory of a round", directory);
    int dir = open(copy, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (dir < 0) return errno == ENOENT ? 0 : failed(copy, "cannot be opened", why);
    /* First of all, and durably, it is no snapshot any more. */
    rc = remove_file(dir, copy, TIDE_METADATA, why);
    if (!rc) rc = sync_at(dir, copy, why);
    if (!rc) rc = remove_known(dir, copy, shared_too, why);
    close(dir);
    return rc ? rc : remove_directory(copy, !shared_too, why);
}

int tide_files_delete_round(const char *directory, char why[static 256])
{
    return delete_round(directory, true, why);
}

int tide_files_delete_own(const char *directory, char why[static 256])
{
    return delete_round(directory, false, why);
}

int tide_files_delete_shared(const char *path, char why[static 256])
{
    char copy[PATH_MAX_LEN], *last, name[PATH_MAX_LEN];
    int rc = split(path, copy, &last, why);
    if (rc) return rc;
    if (!is_shared(last))
        return say(TIDE_EINVAL, why, "%.180s: not the name of a shared artifact", path);
    memcpy(name, last, strlen(last) + 1);
    cut(copy, last);
    const char *above = strrchr(copy, '/');
    if (!above || !is_round(above + 1))
        return say(TIDE_EINVAL, why, "%.180s: not in the directory of a round", path);
    int dir = open(copy, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (dir < 0) return errno == ENOENT ? 0 : failed(copy, "cannot be opened", why);
    rc = remove_file(dir, copy, name, why);
    if (!rc) rc = sync_at(dir, copy, why);
    close(dir);
    return rc ? rc : remove_directory(copy, true, why);
}

int tide_files_delete_attempt(const char *directory, char why[static 256])
{
    char copy[PATH_MAX_LEN], *last;
    int rc = split(directory, copy, &last, why);
    if (rc) return rc;
    if (!is_attempt(last))
        return say(TIDE_EINVAL, why, "%.180s: not the directory of an attempt", directory);
    return remove_directory(copy, true, why);
}
