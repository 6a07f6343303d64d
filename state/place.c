#include "state/place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/err.h"

#define PATH 4096

int tide_place_errno(const char *path, char why[static WHY_SIZE])
{
    int error = errno;
    snprintf(why, WHY_SIZE, "%.300s: %s", path, strerror(error));
    return error == ENOSPC || error == EDQUOT ? TIDE_ENOSPC : TIDE_EIO;
}

bool tide_place_path(char *ret, size_t size, const char *directory, const char *name, uint64_t n)
{
    int len = n ? snprintf(ret, size, "%s/%s-%llu", directory, name, (unsigned long long)n)
                : snprintf(ret, size, "%s/%s", directory, name);
    return len > 0 && (size_t)len < size;
}

static bool is_dots(const char *name)
{
    return !strcmp(name, ".") || !strcmp(name, "..");
}

void tide_place_remove(const char *directory)
{
    char path[PATH];
    struct dirent *e;
    DIR *d = opendir(directory);
    if (!d) return;
    while ((e = readdir(d)))
        if (!is_dots(e->d_name) && tide_place_path(path, sizeof path, directory, e->d_name, 0))
            (void)unlink(path);
    closedir(d);
    (void)rmdir(directory);
}

static bool is_ours(const char *name)
{
    return !strcmp(name, "db") || !strncmp(name, "checkpoint-", 11) || !strncmp(name, "part-", 5);
}

int tide_place_take(const char *directory, int *ret_lock, char why[static WHY_SIZE])
{
    char path[PATH];
    struct dirent *e;
    if (mkdir(directory, 0777) && errno != EEXIST) return tide_place_errno(directory, why);
    if (!tide_place_path(path, sizeof path, directory, "lock", 0)) return TIDE_EINVAL;
    int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (lock < 0) return tide_place_errno(path, why);
    if (flock(lock, LOCK_EX | LOCK_NB)) {
        close(lock);
        snprintf(why, WHY_SIZE, "%.300s: another task has this directory", directory);
        return TIDE_EBUSY;
    }
    DIR *d = opendir(directory);
    while (d && (e = readdir(d)))
        if (is_ours(e->d_name) && tide_place_path(path, sizeof path, directory, e->d_name, 0))
            tide_place_remove(path);
    if (d) closedir(d);
    *ret_lock = lock;
    return 0;
}
