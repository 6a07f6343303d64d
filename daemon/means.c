/* Descriptors, directories, memory. */
#include "daemon/means.h"

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/log.h"
#include "proto/err.h"

#define DESCRIPTORS_SPARE 128 /* beside the connections */
#define DESCRIPTORS_LEAST 40  /* with fewer libraries end the process without a word */

void means_raise_descriptors(const struct config *c)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max < c->connections + DESCRIPTORS_SPARE)
        log_line(LEVEL_WARN,
                 "[limits] connections is %" PRIu64 ", but the system allows %llu open files only",
                 c->connections, (unsigned long long)limit.rlim_max);
}

int means_enough_descriptors(char why[static CONFIG_WHY])
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= DESCRIPTORS_LEAST) return 0;
    (void)snprintf(why, CONFIG_WHY,
                   "the system allows %llu open files only, at least %d are needed: raise the "
                   "limit (ulimit -n, or LimitNOFILE= of the service)",
                   (unsigned long long)limit.rlim_cur, DESCRIPTORS_LEAST);
    return TIDE_EIO;
}

int means_directory(const char *path, const char *key, char why[static CONFIG_WHY])
{
    struct stat st;
    if (mkdir(path, 0777) < 0 && errno != EEXIST)
        (void)snprintf(why, CONFIG_WHY, "[daemon] %s: %s cannot be made: %s", key, path,
                       strerror(errno));
    else if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
        (void)snprintf(why, CONFIG_WHY, "[daemon] %s: %s is not a directory", key, path);
    else if (access(path, W_OK | X_OK) < 0)
        (void)snprintf(why, CONFIG_WHY, "[daemon] %s: %s: %s", key, path, strerror(errno));
    else
        return 0;
    return TIDE_EIO;
}

void means_keep_memory(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, 32 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, 1 << 30);
    (void)mallopt(M_TOP_PAD, 1 << 20);
    (void)mallopt(M_ARENA_MAX, 2); /* the loop's, and one for all threads */
}

void means_give_memory_back(void)
{
    (void)malloc_trim(0);
}

uint64_t means_resident_bytes(void)
{
    unsigned long long total = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f) return 0;
    int n = fscanf(f, "%llu %llu", &total, &resident);
    (void)fclose(f);
    return n == 2 ? resident * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}
