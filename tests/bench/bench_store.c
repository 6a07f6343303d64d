/* bench_store - what the store alone can do, beside plain writes of the same bytes.
 *
 *   bench_store [DIRECTORY]      (default: a new one below the present directory)
 *
 * First: jobs that complete a round each, all together, again and again, as one group: durable
 * rounds a second. Then single rounds of growing size, each a commit of its own, beside a write and
 * fdatasync over blocks that were there before. A round here is what the core commits: its begin,
 * its end with snapshot and manifest, the one before it to deleting and then deleted, its times. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "proto/err.h"
#include "storage/manifest.h"
#include "storage/store.h"

#define ACK_BYTES 38u
#define CHUNK (1u << 20)

static struct tide_store *store;
static uint64_t incarnation, next_id = 1, external;

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static uint64_t cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void die(const char *what)
{
    fprintf(stderr, "bench_store: %s\n", what);
    exit(1);
}

static tide_id job_id(uint32_t n)
{
    tide_id id = {{0}};
    memcpy(id.b, &n, sizeof n);
    id.b[15] = 1;
    return id;
}

static struct tide_record *add(struct tide_commit *c, enum tide_record_type type, tide_id job)
{
    struct tide_record *r = tide_commit_add(c, type, job);
    if (!r) die("out of memory");
    return r;
}

static void run(struct tide_commit *list)
{
    tide_store_commit(store, list);
    while (list) {
        struct tide_commit *next = list->next;
        if (list->outcome != TIDE_STORED) die(list->error);
        tide_commit_free(list);
        list = next;
    }
}

static void make_jobs(uint32_t from, uint32_t n)
{
    struct tide_commit *c = tide_commit_new(true);
    for (uint32_t i = from; i < from + n; i++) {
        struct tide_record *r = add(c, TIDE_REC_JOB, job_id(i));
        r->job_new.name = tide_commit_printf(c, "job-%u", i);
        r->job_new.spec = tide_bytes_of("spec");
        r->job_new.fingerprint = tide_bytes_of("0123456789abcdef");
        r = add(c, TIDE_REC_ATTEMPT, job_id(i));
        r->attempt.attempt = 1;
        r->attempt.incarnation = incarnation;
        r->attempt.external = ++external;
        r->attempt.directory =
            tide_commit_printf(c, "/var/lib/tidemark/state/job-%u/a%" PRIu64 "-1", i, incarnation);
    }
    run(c);
}

/* previous: the round that this one puts out of use, before: the one whose bytes are gone. */
static struct tide_commit *make_round(uint32_t job, uint32_t tasks, uint64_t previous,
                                      uint64_t before, uint64_t *ret)
{
    struct tide_commit *c = tide_commit_new(true);
    tide_id id = job_id(job);
    uint64_t number = *ret = next_id++;
    size_t left = (size_t)tasks * ACK_BYTES, n = left / CHUNK + 1;
    struct tide_bytes directory = tide_commit_printf(
        c, "/var/lib/tidemark/state/job-%u/a%" PRIu64 "-1/r%" PRIu64, job, incarnation, number);
    c->chunks = calloc(n, sizeof *c->chunks);
    for (size_t i = 0; i < n; i++) {
        size_t len = left < CHUNK ? left : CHUNK;
        uint8_t *data = malloc(len + 1);
        if (!data) die("out of memory");
        memset(data, (int)i, len);
        c->chunks[i] = (struct tide_bytes){data, len};
        left -= len;
    }
    c->n_chunks = (uint32_t)n;
    struct tide_record *r = add(c, TIDE_REC_ROUND_BEGIN, id);
    r->round.number = number;
    r->round.incarnation = incarnation;
    r->round.attempt = 1;
    r->round.kind = TIDE_CHECKPOINT;
    r->round.directory = directory;
    struct tide_record_round begun = r->round;
    r = add(c, TIDE_REC_ROUND_END, id);
    r->round = begun;
    r->round.complete = true;
    r->round.tasks = r->round.acked = tasks;
    r = add(c, TIDE_REC_SNAPSHOT, id);
    r->snapshot.round = number;
    r->snapshot.incarnation = incarnation;
    r->snapshot.attempt = 1;
    r->snapshot.parent = previous;
    r->snapshot.kind = TIDE_CHECKPOINT;
    r->snapshot.directory = directory;
    r->snapshot.tasks = tasks;
    r->snapshot.head = tide_bytes_of("a head");
    r->snapshot.chunks = c->chunks;
    r->snapshot.n_chunks = c->n_chunks;
    if (previous) {
        r = add(c, TIDE_REC_SNAPSHOT_STATE, id);
        r->snapshot_state.round = previous;
        r->snapshot_state.state = TIDE_DELETING;
        r = add(c, TIDE_REC_ROUND_TIMES, id);
        r->times.number = previous;
    }
    if (before) {
        r = add(c, TIDE_REC_SNAPSHOT_STATE, id);
        r->snapshot_state.round = before;
        r->snapshot_state.state = TIDE_DELETED;
    }
    if (c->rc) die("out of memory");
    return c;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void groups(uint32_t first_job, uint32_t jobs, uint32_t tasks, uint32_t times)
{
    uint64_t *previous = calloc(jobs, sizeof *previous), *before = calloc(jobs, sizeof *before),
             spent = 0, cpu = 0;
    uint64_t *each = calloc(times, sizeof *each);
    make_jobs(first_job, jobs);
    for (uint32_t i = 0; i < times; i++) {
        struct tide_commit *list = NULL, **end = &list;
        for (uint32_t k = 0; k < jobs; k++) {
            uint64_t number;
            *end = make_round(first_job + k, tasks, previous[k], before[k], &number);
            end = &(*end)->next;
            before[k] = previous[k];
            previous[k] = number;
        }
        uint64_t begun = now_us(), cpu_begun = cpu_us();
        run(list);
        each[i] = now_us() - begun;
        cpu += cpu_us() - cpu_begun;
        spent += each[i];
    }
    qsort(each, times, sizeof *each, compare);
    printf("%4u jobs x %7u tasks: %8.0f durable rounds/s, group p50 %.2f ms, p99 %.2f ms, CPU %.1f "
           "us a round\n",
           jobs, tasks, (double)jobs * times / ((double)spent / 1e6), (double)each[times / 2] / 1e3,
           (double)each[times * 99 / 100] / 1e3, (double)cpu / times / jobs);
    fflush(stdout);
    free(previous);
    free(before);
    free(each);
}

/* The same bytes, 16 KiB more for the rows, over blocks that were written before. */
static uint64_t floor_us(const char *path, size_t bytes)
{
    size_t len = (bytes / 16384 + 2) * 16384;
    char *data = malloc(len);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    uint64_t best[9];
    if (!data || fd < 0) die("cannot write the yardstick");
    memset(data, 1, len);
    for (int i = -1; i < 9; i++) {
        uint64_t begun = now_us();
        if (pwrite(fd, data, len, 0) != (ssize_t)len || fdatasync(fd))
            die("cannot write the yardstick");
        if (i >= 0) best[i] = now_us() - begun;
    }
    close(fd);
    free(data);
    qsort(best, 9, sizeof *best, compare);
    return best[4];
}

static void singles(uint32_t job, uint32_t tasks, uint32_t times, const char *yardstick)
{
    uint64_t previous = 0, before = 0, each[1024], cpu = 0;
    make_jobs(job, 1);
    for (uint32_t i = 0; i < times; i++) {
        uint64_t number;
        struct tide_commit *c = make_round(job, tasks, previous, before, &number);
        before = previous;
        previous = number;
        uint64_t begun = now_us(), cpu_begun = cpu_us();
        run(c);
        each[i] = now_us() - begun;
        cpu += cpu_us() - cpu_begun;
        if (tide_store_maintain(store) < 0)
            die("the store cannot be maintained"); /* between rounds it is idle */
    }
    /* The first rounds fill the file; what counts is the steady state. */
    qsort(each + times / 4, times - times / 4, sizeof *each, compare);
    uint64_t p50 = each[times / 4 + (times - times / 4) / 2],
             base = floor_us(yardstick, (size_t)tasks * ACK_BYTES);
    printf("%12u tasks: commit p50 %8.2f ms, plain write %8.2f ms, ratio %.2f, CPU %.2f ms\n",
           tasks, (double)p50 / 1e3, (double)base / 1e3, (double)p50 / (double)base,
           (double)cpu / times / 1e3);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    char made[] = "bench-store-XXXXXX", why[512] = "", path[4096];
    const char *directory = argc > 1 ? argv[1] : mkdtemp(made);
    if (!directory) die("cannot make a directory");
    struct tide_store_options o = {
        .directory = directory, .now_wall = 1700000000000000u, .nonce = 1, .journal = 8 << 20};
    if (tide_store_open(&o, &store, why)) die(why);
    struct tide_catalog *c;
    if (tide_store_load(store, &c, why)) die(why);
    incarnation = c->incarnation;
    external = c->external;
    tide_catalog_free(c);
    snprintf(path, sizeof path, "%s/yardstick", directory);
    groups(0, 100, 100, 600);
    groups(1000, 1000, 100, 60);
    static const uint32_t sizes[] = {100, 1000, 10000, 100000, 1000000};
    static const uint32_t times[] = {1000, 1000, 400, 60, 24};
    for (uint32_t i = 0; i < 5; i++)
        singles(100000 + i, sizes[i], times[i], path);
    tide_store_close(store);
    static const char *const left[] = {"yardstick", "tidemark.db", "tidemark.lock", "journal.0",
                                       "journal.1"};
    for (int i = 0; i < 5 && argc < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, left[i]);
        unlink(path);
    }
    if (argc < 2) rmdir(directory);
    return 0;
}
