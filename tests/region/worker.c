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
 * Worker 0 has the operator's coordinator as well, which sends each subtask numbered events, as
 * datagrams to FOLDER/to-<INDEX>; and a hook, which takes its time to restore.
 *
 * One line in FOLDER/log-<INDEX> for each of:
 *   restore COUNT SNAPSHOT ATTEMPT    run    advance ATTEMPT    rewind COUNT    stop OUTCOME
 *   hook SNAPSHOT BYTES    reset SUBTASK SNAPSHOT EVENTS    end EVENTS    gap ...: an event too
 * many or too few */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <tidemark.h>

#define PENDING_MAX 512u
#define WORKERS 2u
#define EVENTS 200u /* for each subtask */
#define MARKS 256u

struct range {
    uint64_t round, first, last;
};

struct event { /* and its answer: the id alone counts */
    uint64_t id, attempt, number;
};

static struct {
    unsigned index;
    uint64_t total, count, cut; /* cut: what snapshots cover so far */
    uint64_t events;            /* that it has had: part of its state */
    int fd;
    struct tide_worker *tide;
    struct range pending[PENDING_MAX];
    uint32_t n_pending;
    bool running, finished;
    const char *folder;
    FILE *log;
} me;

static struct { /* the coordinator, and the hook beside it */
    struct tide_coordinator *self;
    struct tide_hook *hook;
    uint64_t sent[WORKERS];
    struct {
        uint64_t round, sent[WORKERS];
    } marks[MARKS];
    uint32_t n_marks, unanswered; /* the latter: restores of the hook */
    bool running;
} all;

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
    uint64_t state[2] = {0};
    for (uint32_t i = 0; i < r->n_states; i++) {
        struct tide_state_reader *reader;
        size_t n = 0;
        int rc = tide_state_open(r, &r->states[i], &reader);
        if (!rc) rc = tide_state_read(reader, state, sizeof state, &n);
        if (rc || n != sizeof state) return rc ? rc : TIDE_ECORRUPT;
        tide_state_close(reader);
    }
    me.count = state[0];
    me.events = state[1];
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
    const uint64_t state[2] = {me.count, me.events};
    int rc = tide_snapshot_write(s, state, sizeof state);
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
    fprintf(me.log, "end %" PRIu64 "\nstop %s\n", me.events, outcome);
}

/* ---- events of the coordinator, and the hook */

static struct sockaddr_un address_of(unsigned index)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (snprintf(a.sun_path, sizeof a.sun_path, "%s/to-%u", me.folder, index) >=
        (int)sizeof a.sun_path)
        exit(3);
    return a;
}

static bool put(unsigned index, const struct event *e)
{
    struct sockaddr_un to = address_of(index);
    return sendto(me.fd, e, sizeof *e, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof to) ==
           (ssize_t)sizeof *e;
}

static void take(uint64_t number)
{
    if (number != me.events + 1)
        fprintf(me.log, "gap %" PRIu64 " after %" PRIu64 "\n", number, me.events);
    me.events = number;
}

/* What is said in another attempt is not for this one. */
static void hear(void)
{
    struct event e;
    while (me.running && recv(me.fd, &e, sizeof e, MSG_DONTWAIT) == (ssize_t)sizeof e) {
        if (me.index == 0) {
            (void)tide_coordinator_confirm(all.self, e.id, 0);
        } else if (e.attempt == tide_worker_attempt(me.tide)) {
            take(e.number);
            (void)put(0, &e);
        }
    }
}

static void send_events(void)
{
    for (unsigned i = 0; i < WORKERS && all.running; i++) {
        uint64_t next = all.sent[i] + 1;
        if (next > EVENTS) continue;
        if (tide_coordinator_event(all.self, i, &next, sizeof next) == 0) all.sent[i] = next;
    }
}

static int on_event(struct tide_coordinator *c, uint32_t subtask, uint64_t id, const void *data,
                    size_t n, void *user)
{
    struct event e = {.id = id, .attempt = tide_worker_attempt(me.tide)};
    (void)c, (void)user;
    memcpy(&e.number, data, n);
    if (subtask == me.index) {
        take(e.number);
        return 0;
    }
    (void)put(subtask, &e); /* whoever is not there will be reset */
    return TIDE_EAGAIN;
}

static void mark(uint64_t round)
{
    uint32_t at = all.n_marks++ % MARKS;
    all.marks[at].round = round;
    memcpy(all.marks[at].sent, all.sent, sizeof all.sent);
}

static int on_coordinator_restore(struct tide_coordinator *c, uint64_t snapshot, const void *data,
                                  size_t n, void *user)
{
    (void)c, (void)user;
    memset(all.sent, 0, sizeof all.sent);
    if (data && n != sizeof all.sent) return TIDE_ECORRUPT;
    if (data) memcpy(all.sent, data, n);
    mark(data ? snapshot : 0);
    return 0;
}

static void on_coordinator_run(struct tide_coordinator *c, void *user)
{
    (void)c, (void)user;
    all.running = true;
}

static int on_coordinator_snapshot(struct tide_coordinator *c, uint64_t round, void *user)
{
    (void)user;
    mark(round);
    return tide_coordinator_snapshot(c, round, all.sent, sizeof all.sent);
}

static void on_reset(struct tide_coordinator *c, uint32_t subtask, uint64_t snapshot, void *user)
{
    uint64_t known = snapshot ? UINT64_MAX : 0;
    (void)c, (void)user;
    for (uint32_t i = 0; i < MARKS && i < all.n_marks; i++)
        if (all.marks[i].round == snapshot) known = all.marks[i].sent[subtask];
    if (known == UINT64_MAX) fprintf(me.log, "gap snapshot %" PRIu64 "\n", snapshot);
    fprintf(me.log, "reset %u %" PRIu64 " %" PRIu64 "\n", subtask, snapshot, known);
    all.sent[subtask] = known;
}

static int on_hook_trigger(struct tide_hook *h, uint64_t round, void *user)
{
    (void)user;
    return tide_hook_data(h, &round, sizeof round);
}

static int hook_restores(uint64_t snapshot, uint64_t bytes)
{
    fprintf(me.log, "hook %" PRIu64 " %" PRIu64 "\n", snapshot, bytes);
    all.unanswered++;
    return TIDE_EAGAIN;
}

static int on_hook_restore(struct tide_hook *h, uint64_t snapshot, const void *data, size_t n,
                           void *user)
{
    uint64_t bytes = 0;
    (void)h, (void)user;
    if (n == sizeof bytes) memcpy(&bytes, data, n);
    return hook_restores(snapshot, bytes);
}

static int on_hook_reset(struct tide_hook *h, void *user)
{
    (void)h, (void)user;
    return hook_restores(0, 0);
}

static int add_parts(struct tide_worker *w)
{
    static const struct tide_coordinator_callbacks coordinator = {.restore = on_coordinator_restore,
                                                                  .run = on_coordinator_run,
                                                                  .snapshot =
                                                                      on_coordinator_snapshot,
                                                                  .event = on_event,
                                                                  .reset = on_reset};
    static const struct tide_hook_callbacks hook = {
        .trigger = on_hook_trigger, .restore = on_hook_restore, .reset = on_hook_reset};
    int rc = tide_worker_add_coordinator(w, "count", &coordinator, NULL, &all.self);
    return rc ? rc : tide_worker_add_hook(w, "ledger", &hook, NULL, &all.hook);
}

static bool listens(void)
{
    struct sockaddr_un a = address_of(me.index);
    (void)unlink(a.sun_path);
    me.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return me.fd >= 0 && bind(me.fd, (struct sockaddr *)&a, sizeof a) == 0;
}

/* ---- the work */

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
    while ((rc = tide_worker_wait(w, me.running && !me.finished ? 1 : 10)) == 0) {
        uint64_t now = now_us();
        hear();
        for (; all.unanswered; all.unanswered--)
            (void)tide_hook_done(all.hook, 0, 0, NULL, 0, NULL);
        if (!me.running || me.finished || now < next) continue;
        next = now + pause_us;
        if (me.count < me.total) me.count++;
        if (me.index == 0 && me.count % 8 == 0) send_events();
        if (me.count == me.total && me.index == 0) send_events();
        if (me.count == me.total && me.events == EVENTS && (me.index || all.sent[1] == EVENTS))
            me.finished = tide_task_finished(t) == 0;
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
    if (!me.log || !listens()) return 3;
    setvbuf(me.log, NULL, _IOLBF, 0);
    (void)tide_spec_new("regions", &spec);
    (void)tide_spec_operator(spec, "count", (uint32_t)atoi(argv[3]), 0);
    (void)tide_spec_coordinator(spec, "count");
    (void)tide_spec_hook(spec, "ledger");
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
    me.tide = w;
    if (!rc && me.index == 0) rc = add_parts(w);
    if (!rc) rc = work(w, t, (uint64_t)atoll(argv[5]));
    if (rc != TIDE_EENDED) fprintf(stderr, "worker: %s\n", tide_worker_error(w));
    tide_worker_free(w);
    fclose(me.log);
    return rc == TIDE_EENDED ? 0 : 1;
}
