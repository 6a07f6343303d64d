/* solver: heat on a plate, step by step, by several processes that exchange halos; any of them may
 * be killed at any moment, and the result is the same, bit for bit.
 *
 *     solver BLOCK --blocks N --out FILE [OPTION...]   one of N processes; leaves FILE.BLOCK
 *     solver plain --out FILE [OPTION...]              alone, without Tidemark, to compare with
 *
 *     --size CELLS     a side of the plate [256]       --steps N         [1000]
 *     --interval MS    between snapshots [200]         --connect HOST:PORT [127.0.0.1:7460]
 *     --pause US       in each step, or it would be over before anybody can look [0]
 *
 * A solver has no channels whose barriers could be aligned, so its rounds are rendezvous rounds:
 * at the end of each step it says where it is, by tide_task_position(), and stands there when it is
 * told so. The files: grid.c is the work, peers.c the halos; this is how the two become a worker.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tidemark.h>
#include <unistd.h>

#include "grid.h"
#include "peers.h"

struct solver {
    struct grid grid;
    struct peers *peers;
    struct tide_worker *tide;
    struct tide_task *task;
    uint64_t step, attempt; /* attempt: 0 while it may not compute */
    bool finished;
    uint64_t written; /* the first round that has the result; 0: none yet */
    int rc;           /* of tide_worker_process(): not 0 when all is over */

    uint32_t block, blocks, size, steps, pause_us, interval_ms;
    const char *out, *connect;
};

static void die(const char *what)
{
    fprintf(stderr, "solver: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- the result: written with the last snapshot, published when that is complete */

static void result_name(const struct solver *s, const char *end, char name[static 4096])
{
    snprintf(name, 4096, "%s.%u%s", s->out, s->block, end);
}

static int result_write(struct solver *s)
{
    char name[4096];
    result_name(s, ".new", name);
    FILE *f = fopen(name, "w");
    if (!f) return TIDE_EIO;
    size_t cells = (size_t)s->grid.rows * s->grid.size;
    bool written = fwrite(grid_row(&s->grid, 1), sizeof(double), cells, f) == cells;
    written = fflush(f) == 0 && fsync(fileno(f)) == 0 && written;
    return fclose(f) || !written ? TIDE_EIO : 0;
}

static int result_publish(const struct solver *s) /* may be repeated */
{
    char from[4096], to[4096];
    result_name(s, ".new", from);
    result_name(s, "", to);
    return rename(from, to) && access(to, F_OK) ? TIDE_EIO : 0;
}

/* ---- what Tidemark calls */

/* The state: the step, and the block as of that step. */
static int on_restore(struct tide_task *task, const struct tide_restore *r, void *user)
{
    struct solver *s = user;
    struct tide_state_reader *reader = NULL;
    char *to = (char *)&s->step;
    size_t n, left = sizeof s->step, block = (size_t)s->grid.rows * s->grid.size * sizeof(double);
    (void)task;
    s->step = s->written = 0;
    s->finished = r->ended;
    grid_begin(&s->grid);
    if (r->n_states == 0) return 0; /* from the beginning; or it had ended, and nothing is left */
    if (r->states[0].size != left + block) return TIDE_ECORRUPT;
    int rc = tide_state_open(r, &r->states[0], &reader);
    while (rc == 0 && (rc = tide_state_read(reader, to, left, &n)) == 0 && n) {
        to += n;
        left -= n;
        if (left == 0 && to == (char *)(&s->step + 1)) {
            to = (char *)grid_row(&s->grid, 1);
            left = block;
        }
    }
    tide_state_close(reader);
    fprintf(stderr, "solver %u: restored at step %llu\n", s->block, (unsigned long long)s->step);
    return rc;
}

static void on_run(struct tide_task *task, void *user)
{
    struct solver *s = user;
    const char *above = NULL;
    (void)task;
    s->attempt = tide_worker_attempt(s->tide);
    if (s->block > 0) (void)tide_worker_endpoint(s->tide, "block", s->block - 1, &above);
    peers_begin(s->peers, tide_worker_job_id(s->tide), s->attempt, above);
}

/* Called from within tide_task_position(), that is at a safe point, and in every block at the same
 * step. (A large state would be copied here, and written by a thread: TIDE_EAGAIN.) */
static int on_snapshot(struct tide_task *task, struct tide_snapshot *snapshot, void *user)
{
    struct solver *s = user;
    (void)task;
    tide_snapshot_write(snapshot, &s->step, sizeof s->step);
    int rc = tide_snapshot_write(snapshot, grid_row(&s->grid, 1),
                                 (size_t)s->grid.rows * s->grid.size * sizeof(double));
    if (rc || s->step < s->steps) return rc;
    rc = result_write(s); /* pre-commit: under a name that nobody reads */
    if (!s->written) s->written = tide_snapshot_round(snapshot);
    return rc ? rc : tide_snapshot_handle(snapshot, "result", 6);
}

static int on_complete(struct tide_task *task, uint64_t round, const void *handle, size_t len,
                       void *user)
{
    struct solver *s = user;
    (void)task, (void)len;
    bool here = s->written && round >= s->written;
    return handle || here ? result_publish(s) : 0; /* handle: owed since before a restore */
}

static void on_rewind(struct tide_task *task, const char *reason, void *user)
{
    struct solver *s = user;
    (void)task;
    fprintf(stderr, "solver %u: back from step %llu: %s\n", s->block, (unsigned long long)s->step,
            reason);
    peers_drop(s->peers);
    s->attempt = 0;
}

/* ---- the loop */

/* The halos of this step. False: the attempt is over, or all is. */
static bool exchange(struct solver *s)
{
    uint64_t attempt = s->attempt;
    peers_exchange(s->peers, s->step, grid_row(&s->grid, 1), grid_row(&s->grid, s->grid.rows));
    while (!peers_done(s->peers)) {
        /* listening to the daemon all the while: it may be that a neighbour has died */
        if (!peers_wait(s->peers, tide_worker_fd(s->tide), 1000)) continue;
        s->rc = tide_worker_process(s->tide);
        if (s->rc || s->attempt != attempt) return false;
    }
    size_t bytes = s->grid.size * sizeof(double);
    const void *above = peers_row(s->peers, ABOVE), *below = peers_row(s->peers, BELOW);
    if (above) memcpy(grid_row(&s->grid, 0), above, bytes);
    if (below) memcpy(grid_row(&s->grid, s->grid.rows + 1), below, bytes);
    return true;
}

/* What came for this step is in the block, what we had to say about it is on its way: here we may
 * be stopped. False as above. */
static bool safe_point(struct solver *s)
{
    int rc;
    while ((rc = tide_task_position(s->task, s->step)) == TIDE_EAGAIN)
        if ((s->rc = tide_worker_wait(s->tide, 1000))) return false;
    return rc == 0;
}

/* From where the block stands to the last step, or until we are told to go back. */
static void solve(struct solver *s)
{
    while (safe_point(s)) {
        if (s->step == s->steps) {
            s->finished = tide_task_finished(s->task) == 0;
            return;
        }
        if (!exchange(s)) return;
        grid_step(&s->grid);
        s->step++;
        if (s->pause_us) usleep(s->pause_us);
    }
}

static int work(struct solver *s)
{
    while (s->rc == 0)
        if (s->attempt && !s->finished)
            solve(s);
        else
            s->rc = tide_worker_wait(s->tide, 1000);
    if (s->rc == TIDE_EENDED) return 0;
    fprintf(stderr, "solver %u: %s\n", s->block, tide_worker_error(s->tide));
    return 1;
}

static void join(struct solver *s)
{
    static const struct tide_callbacks callbacks = {.restore = on_restore,
                                                    .run = on_run,
                                                    .snapshot = on_snapshot,
                                                    .complete = on_complete,
                                                    .rewind = on_rewind};
    struct tide_spec *spec;
    char name[32], why[256];
    if (tide_spec_new("solver", &spec)) die("the job");
    tide_spec_operator(spec, "block", s->blocks, 0);
    tide_spec_checkpointing(spec, &(struct tide_checkpointing){.style = TIDE_STYLE_RENDEZVOUS,
                                                               .interval_ms = s->interval_ms});
    snprintf(name, sizeof name, "solver-%u", s->block);
    struct tide_worker_config config = {
        .spec = spec, .address = s->connect, .name = name, .endpoint = peers_endpoint(s->peers)};
    int rc = tide_worker_new(&config, &s->tide, why);
    tide_spec_free(spec);
    if (!rc) rc = tide_worker_add_task(s->tide, "block", s->block, 0, &callbacks, s, &s->task);
    if (!rc) return;
    fprintf(stderr, "solver: %s\n", why[0] ? why : tide_strerror(rc));
    exit(1);
}

/* ---- options */

static uint32_t number(const char *text, const char *what, uint32_t least)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (text[0] >= '0' && text[0] <= '9' && !*end && n >= least && n <= 100000000)
        return (uint32_t)n;
    fprintf(stderr, "solver: %s %s: must be a number of at least %u\n", what, text, least);
    exit(2);
}

static bool parse(struct solver *s, int argc, char **argv)
{
    static const struct option options[] = {
        {"blocks", required_argument, NULL, 'b'},   {"size", required_argument, NULL, 's'},
        {"steps", required_argument, NULL, 'n'},    {"out", required_argument, NULL, 'o'},
        {"connect", required_argument, NULL, 'c'},  {"pause", required_argument, NULL, 'p'},
        {"interval", required_argument, NULL, 'i'}, {NULL, 0, NULL, 0}};
    int which;
    while ((which = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (which) {
        case 'b': s->blocks = number(optarg, "--blocks", 1); break;
        case 's': s->size = number(optarg, "--size", 3); break;
        case 'n': s->steps = number(optarg, "--steps", 1); break;
        case 'o': s->out = optarg; break;
        case 'c': s->connect = optarg; break;
        case 'p': s->pause_us = number(optarg, "--pause", 0); break;
        case 'i': s->interval_ms = number(optarg, "--interval", 10); break;
        default: exit(2);
        }
    }
    if (optind + 1 != argc || !s->out) {
        fprintf(stderr, "usage: solver BLOCK|plain --out FILE [--blocks N] [--size CELLS] [--steps "
                        "N] [--pause US] [--interval MS] [--connect HOST:PORT]\n");
        exit(2);
    }
    if (!strcmp(argv[optind], "plain")) return false;
    s->block = number(argv[optind], "block", 0);
    if (s->block < s->blocks && s->blocks <= s->size) return true;
    fprintf(stderr, "solver: block %u of %u, and %u rows: there is no such block\n", s->block,
            s->blocks, s->size);
    exit(2);
}

int main(int argc, char **argv)
{
    struct solver s = {.blocks = 1, .size = 256, .steps = 1000, .interval_ms = 200};
    bool joins = parse(&s, argc, argv);
    if (!joins) s.blocks = 1;
    if (!grid_new(&s.grid, s.size, s.block, s.blocks)) die("no memory for the plate");
    if (!joins) {
        grid_begin(&s.grid);
        for (uint32_t i = 0; i < s.steps; i++)
            grid_step(&s.grid);
        int rc = result_write(&s);
        if (rc || result_publish(&s)) die(s.out);
        grid_free(&s.grid);
        return 0;
    }
    s.peers = peers_new(s.block, s.blocks, s.size * sizeof(double));
    if (!s.peers) die("cannot listen");
    join(&s);
    int code = work(&s);
    tide_worker_free(s.tide);
    peers_free(s.peers);
    grid_free(&s.grid);
    return code;
}
