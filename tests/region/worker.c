/* A worker of a job with regions, as plain as one can be: what is killed around it is judged by
 * what it writes.
 *
 *   worker ADDRESS INDEX WORKERS TOTAL PAUSE_US FOLDER
 *
 * It hosts subtask INDEX of one operator without edges, so a region of its own. The task counts to
 * TOTAL, one number every PAUSE_US; its state is how far it is. With each snapshot it pre-commits
 * the numbers since the one before, and publishes them by a file FOLDER/<INDEX>-<first>-<last>,
 * which is made whole or not at all, and made again with the same content.
 *
 * One line in FOLDER/log-<INDEX> for each of:
 *   restore COUNT SNAPSHOT ATTEMPT    run    advance ATTEMPT    rewind COUNT    stop OUTCOME */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <tidemark.h>

#define PENDING_MAX 512u

struct range {
    uint64_t round, first, last;
};

static struct {
    unsigned index;
    uint64_t total, count, cut; /* cut: what snapshots cover so far */
    struct range pending[PENDING_MAX];
    uint32_t n_pending;
    bool running, finished;
    const char *folder;
    FILE *log;
} me;

static void publish(const struct range *r)
{
    char name[600], hidden[620];
    snprintf(name, sizeof name, "%s/%u-%" PRIu64 "-%" PRIu64, me.folder, me.index, r->first,
             r->last);
    snprintf(hidden, sizeof hidden, "%s.%d", name, (int)getpid());
    FILE *f = fopen(hidden, "w");
    if (!f || fclose(f) || rename(hidden, name)) exit(3);
}

static int on_restore(struct tide_task *t, const struct tide_restore *r, void *user)
{
    (void)t, (void)user;
    me.count = 0;
    for (uint32_t i = 0; i < r->n_states; i++) {
        struct tide_state_reader *reader;
        size_t n = 0;
        int rc = tide_state_open(r, &r->states[i], &reader);
        if (!rc) rc = tide_state_read(reader, &me.count, sizeof me.count, &n);
        if (rc || n != sizeof me.count) return rc ? rc : TIDE_ECORRUPT;
        tide_state_close(reader);
    }
    me.cut = me.count;
    me.n_pending = 0;
    me.finished = false;
    fprintf(me.log, "restore %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", me.count, r->snapshot,
            r->attempt);
    return 0;
}

static void on_run(struct tide_task *t, void *user)
{
    (void)t, (void)user;
    me.running = true;
    fprintf(me.log, "run\n");
}

/* The handle names all that is pending: what an aborted round has left goes with the next one. */
static int on_snapshot(struct tide_task *t, struct tide_snapshot *s, void *user)
{
    (void)t, (void)user;
    if (me.count > me.cut) {
        if (me.n_pending == PENDING_MAX) return TIDE_EBUSY;
        me.pending[me.n_pending++] = (struct range){tide_snapshot_round(s), me.cut + 1, me.count};
        me.cut = me.count;
    }
    int rc = tide_snapshot_write(s, &me.count, sizeof me.count);
    if (!rc && me.n_pending)
        rc = tide_snapshot_handle(s, me.pending, me.n_pending * sizeof me.pending[0]);
    return rc;
}

static int on_complete(struct tide_task *t, uint64_t round, const void *handle, size_t n,
                       void *user)
{
    (void)t, (void)user;
    const struct range *owed = handle;
    uint32_t kept = 0;
    for (size_t i = 0; i < n / sizeof *owed; i++)
        publish(&owed[i]);
    for (uint32_t i = 0; i < me.n_pending; i++) {
        if (me.pending[i].round <= round)
            publish(&me.pending[i]);
        else
            me.pending[kept++] = me.pending[i];
    }
    me.n_pending = kept;
    return 0;
}

static void on_advance(struct tide_task *t, uint64_t attempt, void *user)
{
    (void)t, (void)user;
    fprintf(me.log, "advance %" PRIu64 "\n", attempt);
}

static void on_rewind(struct tide_task *t, const char *reason, void *user)
{
    (void)t, (void)reason, (void)user;
    me.running = false;
    fprintf(me.log, "rewind %" PRIu64 "\n", me.count);
}

static void on_stop(struct tide_task *t, const char *outcome, void *user)
{
    (void)t, (void)user;
    fprintf(me.log, "stop %s\n", outcome);
}

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static int work(struct tide_worker *w, struct tide_task *t, uint64_t pause_us)
{
    uint64_t next = 0;
    int rc;
    while ((rc = tide_worker_wait(w, me.running && !me.finished ? 1 : 1000)) == 0) {
        uint64_t now = now_us();
        if (!me.running || me.finished || now < next) continue;
        next = now + pause_us;
        if (me.count < me.total) me.count++;
        if (me.count == me.total) me.finished = tide_task_finished(t) == 0;
    }
    return rc;
}

int main(int argc, char **argv)
{
    static const struct tide_callbacks callbacks = {.restore = on_restore,
                                                    .run = on_run,
                                                    .snapshot = on_snapshot,
                                                    .complete = on_complete,
                                                    .rewind = on_rewind,
                                                    .stop = on_stop,
                                                    .advance = on_advance};
    char why[256] = "", name[32], log[600];
    struct tide_spec *spec;
    struct tide_worker *w;
    struct tide_task *t;
    if (argc != 7) return 2;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    me.index = (unsigned)atoi(argv[2]);
    me.total = (uint64_t)atoll(argv[4]);
    me.folder = argv[6];
    snprintf(name, sizeof name, "w%u", me.index);
    snprintf(log, sizeof log, "%s/log-%u", me.folder, me.index);
    me.log = fopen(log, "a");
    if (!me.log) return 3;
    setvbuf(me.log, NULL, _IOLBF, 0);
    (void)tide_spec_new("regions", &spec);
    (void)tide_spec_operator(spec, "count", (uint32_t)atoi(argv[3]), 0);
    (void)tide_spec_checkpointing(
        spec, &(struct tide_checkpointing){
                  .interval_ms = 40, .lease_ms = 6000, .heartbeat_ms = 500, .regional = 1});
    struct tide_worker_config config = {.spec = spec, .address = argv[1], .name = name};
    int rc = tide_worker_new(&config, &w, why);
    tide_spec_free(spec);
    if (rc) {
        fprintf(stderr, "worker: %s: %s\n", tide_strerror(rc), why);
        return 1;
    }
    rc = tide_worker_add_task(w, "count", me.index, 0, &callbacks, NULL, &t);
    if (!rc) rc = work(w, t, (uint64_t)atoll(argv[5]));
    if (rc != TIDE_EENDED) fprintf(stderr, "worker: %s\n", tide_worker_error(w));
    tide_worker_free(w);
    fclose(me.log);
    return rc == TIDE_EENDED ? 0 : 1;
}
