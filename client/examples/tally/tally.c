/* tally: adds up the numbers in a file, one a line, and may be killed at any moment.
 *
 *     tally NUMBERS TOTAL      TOTAL holds the sum as of the newest complete snapshot */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tidemark.h>
#include <unistd.h>

/* ---- the work: a place in a file and a sum. It knows nothing of snapshots. */

struct state {
    long at;
    long long sum;
};

struct tally {
    FILE *numbers;
    const char *total;   /* name of the file to publish in */
    const char *connect; /* NULL: 127.0.0.1:7460 */
    struct state now;
    struct state ready; /* as of the last snapshot: published when that is complete */
    bool ended, running;
};

static void tally_say(const char *text, void *unused)
{
    (void)unused;
    fprintf(stderr, "tally: %s\n", text);
}

static void tally_open(struct tally *t, int argc, char **argv)
{
    t->numbers = argc == 3 ? fopen(argv[1], "r") : NULL;
    t->total = argv[2];
    t->connect = getenv("TIDEMARK_CONNECT");
    if (t->numbers) return;
    fputs("usage: tally NUMBERS TOTAL, and NUMBERS can be read\n", stderr);
    exit(2);
}

static void tally_reset(struct tally *t, bool ended)
{
    t->now = (struct state){0};
    t->ended = ended;
}

static int tally_go_on(struct tally *t)
{
    fprintf(stderr, "tally: from byte %ld, where the sum was %lld\n", t->now.at, t->now.sum);
    return fseek(t->numbers, t->now.at, SEEK_SET) ? TIDE_EIO : 0;
}

static bool tally_add(struct tally *t) /* false: there are no more numbers */
{
    char line[64];
    if (!fgets(line, sizeof line, t->numbers)) return false;
    t->now.sum += strtoll(line, NULL, 10);
    t->now.at = ftell(t->numbers);
    usleep(1000); /* or it would be over before you can kill it */
    return true;
}

static int tally_publish(struct tally *t) /* may be repeated: the file is replaced as a whole */
{
    char beside[4096];
    snprintf(beside, sizeof beside, "%s.new", t->total);
    FILE *f = fopen(beside, "w");
    if (!f) return TIDE_EIO;
    fprintf(f, "%lld\n", t->ready.sum);
    bool written = fflush(f) == 0 && fsync(fileno(f)) == 0;
    return fclose(f) || !written || rename(beside, t->total) ? TIDE_EIO : 0;
}

/* ---- the worker: what Tidemark calls, and when */

static int on_restore(struct tide_task *task, const struct tide_restore *r, void *user)
{
    struct tally *t = user;
    struct tide_state_reader *reader = NULL;
    size_t n = 0;
    (void)task;
    tally_reset(t, r->ended);
    int rc = r->n_states ? tide_state_open(r, &r->states[0], &reader) : 0;
    if (reader) rc = tide_state_read(reader, &t->now, sizeof t->now, &n);
    if (reader && rc == 0 && n != sizeof t->now) rc = TIDE_ECORRUPT;
    tide_state_close(reader);
    return rc ? rc : tally_go_on(t);
}

static void on_run(struct tide_task *task, void *user)
{
    struct tally *t = user;
    (void)task;
    t->running = !t->ended;
}

static int on_snapshot(struct tide_task *task, struct tide_snapshot *s, void *user)
{
    struct tally *t = user;
    (void)task;
    t->ready = t->now;
    tide_snapshot_write(s, &t->now, sizeof t->now);
    return tide_snapshot_handle(s, &t->ready, sizeof t->ready);
}

static int on_complete(struct tide_task *task, uint64_t round, const void *handle, size_t len,
                       void *user)
{
    struct tally *t = user;
    (void)task, (void)round;
    if (handle && len == sizeof t->ready) memcpy(&t->ready, handle, len); /* owed since before */
    return tally_publish(t);
}

int main(int argc, char **argv)
{
    struct tally t = {0};
    struct tide_spec *spec;
    struct tide_worker *worker;
    struct tide_task *task;
    char why[256];
    tally_open(&t, argc, argv);
    if (tide_spec_new("tally", &spec)) return 1;
    tide_spec_operator(spec, "adder", 1, 0);
    tide_spec_checkpointing(spec, &(struct tide_checkpointing){.interval_ms = 1000});
    struct tide_worker_config config = {.spec = spec, .name = "tally-0", .log = tally_say};
    config.address = t.connect;
    int rc = tide_worker_new(&config, &worker, why);
    tide_spec_free(spec);
    if (rc) return tally_say(why, NULL), 1;
    struct tide_callbacks callbacks = {
        .restore = on_restore, .run = on_run, .snapshot = on_snapshot, .complete = on_complete};
    rc = tide_worker_add_task(worker, "adder", 0, 0, &callbacks, &t, &task);
    while (rc == 0 && (rc = tide_worker_wait(worker, t.running ? 0 : 1000)) == 0)
        if (t.running && !tally_add(&t)) t.running = tide_task_finished(task) != 0;
    tally_say(tide_worker_error(worker), NULL);
    tide_worker_free(worker);
    return rc == TIDE_EENDED ? 0 : 1;
}
