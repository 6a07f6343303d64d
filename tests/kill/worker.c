/* A worker that says everything: what is killed around it is judged by what it was told.
 *
 *   worker ADDRESS INDEX WORKERS INTERVAL_MS BYTES
 *
 * It hosts source INDEX and keeper INDEX. The source counts up; the keeper, fed through a queue in
 * which the barrier travels as in any channel, folds each number into a hash. So the state of both
 * in one snapshot is either the same cut of one history, or shows that it is not.
 *
 * One line on stdout for each callback, written before it returns:
 *   restore TASK ATTEMPT SNAPSHOT COUNT HASH      run TASK       trigger TASK ROUND
 *   snapshot TASK ROUND checkpoint|savepoint COUNT HASH          forwards are not told
 *   complete TASK ROUND HANDLE|-                  abort TASK ROUND
 *   rewind TASK REASON     fenced TASK 0|1        stop TASK OUTCOME       note TEXT */
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <tidemark.h>

#define QUEUE 4096u
#define STATE_MAX (1u << 20) /* bytes of a keeper's state */
#define STATE_LARGE                                                                                \
    100000u /* and more travel inside the ack, to fill the journal; fewer in a file */
#define LEASE_MS 60000u

struct item {
    uint64_t number; /* 0: a barrier */
    uint8_t barrier[TIDE_BARRIER_SIZE];
};

static struct {
    char name[32];
    struct tide_task *task;
    uint64_t count, hash;
} source, keeper;
static struct item queue[QUEUE];
static size_t first, end;
static uint64_t state[STATE_MAX / 8];
static size_t state_bytes;
static bool running, blocked;

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    char line[600];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line - 1, format, args);
    va_end(args);
    if (n < 0) return;
    if (n > (int)sizeof line - 2) n = (int)sizeof line - 2;
    line[n++] = '\n';
    if (write(STDOUT_FILENO, line, (size_t)n) != n) exit(3); /* the witness is gone */
}

static uint64_t fold(uint64_t hash, uint64_t number)
{
    hash = (hash ^ number) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 29;
}

static void put(struct item item)
{
    if (end - first == QUEUE) {
        say("note the queue is full");
        exit(3);
    }
    queue[end++ % QUEUE] = item;
}

/* What has arrived at the keeper, as far as it may read. */
static void drain(void)
{
    while (running && !blocked && first < end) {
        struct item item = queue[first++ % QUEUE];
        if (item.number) {
            keeper.count = item.number;
            keeper.hash = fold(keeper.hash, item.number);
        } else {
            (void)tide_task_barrier(keeper.task, 0, item.barrier);
            return; /* from a callback, block comes after it */
        }
    }
}

/* ---- callbacks; user is the task's name */

static int on_restore(struct tide_task *t, const struct tide_restore *r, void *user)
{
    struct tide_state_reader *reader;
    size_t at = 0, n = 1;
    memset(state, 0, sizeof state);
    for (uint32_t i = 0; i < r->n_states; i++) {
        int rc = tide_state_open(r, &r->states[i], &reader);
        if (rc) return rc;
        while (!rc && n && at < sizeof state) {
            rc = tide_state_read(reader, (uint8_t *)state + at, sizeof state - at, &n);
            at += n;
        }
        tide_state_close(reader);
        if (rc) return rc;
    }
    const uint64_t *word = state;
    if (t == source.task) source.count = word[0], source.hash = word[1];
    if (t == keeper.task) keeper.count = word[0], keeper.hash = word[1];
    first = end = 0;
    blocked = false;
    say("restore %s %" PRIu64 " %" PRIu64 " %" PRIu64 " %016" PRIx64, (char *)user, r->attempt,
        r->snapshot, word[0], word[1]);
    return 0;
}

static void on_run(struct tide_task *t, void *user)
{
    (void)t;
    running = true;
    say("run %s", (char *)user);
}

static int on_trigger(struct tide_task *t, uint64_t round, void *user)
{
    (void)t;
    say("trigger %s %" PRIu64, (char *)user, round);
    return 0;
}

static void on_block(struct tide_task *t, uint32_t channel, bool stop, void *user)
{
    (void)t, (void)channel, (void)user;
    blocked = stop;
}

static void on_forward(struct tide_task *t, const uint8_t barrier[TIDE_BARRIER_SIZE], void *user)
{
    struct item item = {0};
    (void)user;
    if (t != source.task) return;
    memcpy(item.barrier, barrier, sizeof item.barrier);
    put(item);
}

static int on_snapshot(struct tide_task *t, struct tide_snapshot *s, void *user)
{
    uint64_t *word = state, round = tide_snapshot_round(s);
    char handle[32];
    size_t size = 16;
    word[0] = source.count, word[1] = source.hash;
    if (t == keeper.task) {
        word[0] = keeper.count, word[1] = keeper.hash;
        for (size_t i = 2; i < state_bytes / 8; i++)
            word[i] = fold(word[i - 1], i);
        size = state_bytes;
        (void)tide_snapshot_handle(s, handle,
                                   (size_t)snprintf(handle, sizeof handle, "%" PRIu64, round));
    }
    say("snapshot %s %" PRIu64 " %s %" PRIu64 " %016" PRIx64, (char *)user, round,
        tide_snapshot_is_savepoint(s) ? "savepoint" : "checkpoint", word[0], word[1]);
    return tide_snapshot_write(s, word, size);
}

static int on_complete(struct tide_task *t, uint64_t round, const void *handle, size_t len,
                       void *user)
{
    (void)t;
    say("complete %s %" PRIu64 " %.*s", (char *)user, round, handle ? (int)len : 1,
        handle ? (const char *)handle : "-");
    return 0;
}

static void on_abort(struct tide_task *t, uint64_t round, void *user)
{
    (void)t;
    say("abort %s %" PRIu64, (char *)user, round);
}

static void on_rewind(struct tide_task *t, const char *reason, void *user)
{
    (void)t;
    running = false;
    say("rewind %s %s", (char *)user, reason);
}

static void on_stop(struct tide_task *t, const char *outcome, void *user)
{
    (void)t;
    running = false;
    say("stop %s %s", (char *)user, outcome);
}

static void on_fenced(struct tide_task *t, bool fenced, void *user)
{
    (void)t;
    say("fenced %s %d", (char *)user, fenced);
}

static void on_log(const char *text, void *user)
{
    (void)user;
    say("note %s", text);
}

/* ---- */

static struct tide_spec *describe(uint32_t workers, uint32_t interval)
{
    const struct tide_checkpointing c = {.interval_ms = interval,
                                         .retained = 2,
                                         .deadline_ms = 10000,
                                         .lease_ms = LEASE_MS,
                                         .heartbeat_ms = 200,
                                         .grace_ms = LEASE_MS,
                                         .orphan_limit_ms = 100};
    struct tide_spec *spec;
    if (tide_spec_new("kill", &spec)) exit(3);
    (void)tide_spec_operator(spec, "keeper", workers, 0);
    (void)tide_spec_operator(spec, "source", workers, 0);
    (void)tide_spec_edge(spec, "source", "keeper", TIDE_POINTWISE);
    (void)tide_spec_checkpointing(spec, &c);
    return spec;
}

int main(int argc, char **argv)
{
    static const struct tide_callbacks callbacks = {.restore = on_restore,
                                                    .run = on_run,
                                                    .trigger = on_trigger,
                                                    .block = on_block,
                                                    .forward = on_forward,
                                                    .snapshot = on_snapshot,
                                                    .complete = on_complete,
                                                    .abort = on_abort,
                                                    .rewind = on_rewind,
                                                    .stop = on_stop,
                                                    .fenced = on_fenced};
    char name[32], why[256];
    struct tide_worker *w;
    if (argc != 6 || (state_bytes = strtoul(argv[5], NULL, 10)) < 16 || state_bytes > STATE_MAX) {
        (void)fprintf(stderr, "usage: worker ADDRESS INDEX WORKERS INTERVAL_MS BYTES\n");
        return 2;
    }
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    uint32_t index = (uint32_t)strtoul(argv[2], NULL, 10);
    snprintf(name, sizeof name, "worker-%u", index);
    snprintf(source.name, sizeof source.name, "source-%u", index);
    snprintf(keeper.name, sizeof keeper.name, "keeper-%u", index);
    struct tide_spec *spec =
        describe((uint32_t)strtoul(argv[3], NULL, 10), (uint32_t)strtoul(argv[4], NULL, 10));
    struct tide_worker_config config = {.spec = spec,
                                        .address = argv[1],
                                        .name = name,
                                        .inline_max = state_bytes < STATE_LARGE ? 64 : STATE_MAX,
                                        .log = on_log};
    int rc = tide_worker_new(&config, &w, why);
    tide_spec_free(spec);
    if (!rc)
        rc = tide_worker_add_task(w, "source", index, 0, &callbacks, source.name, &source.task);
    if (!rc)
        rc = tide_worker_add_task(w, "keeper", index, 1, &callbacks, keeper.name, &keeper.task);
    while (!rc) {
        rc = tide_worker_wait(w, 2);
        if (!running) continue;
        source.hash = fold(source.hash, ++source.count);
        put((struct item){.number = source.count});
        drain();
    }
    say("note ends: %s", tide_strerror(rc));
    tide_worker_free(w);
    return rc == TIDE_EENDED ? 0 : 1;
}
