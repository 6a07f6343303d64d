/* A worker with one task and no channels, of which a test starts many and freezes one.
 *
 *   worker ADDRESS INDEX WORKERS
 *
 * Rounds every half second with a deadline of 2 s, leases of 10 s: what is frozen shorter than its
 * lease holds rounds, and nothing else. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include <tidemark.h>

static int on_restore(struct tide_task *t, const struct tide_restore *r, void *user)
{
    (void)t, (void)r, (void)user;
    return 0;
}

static int on_snapshot(struct tide_task *t, struct tide_snapshot *s, void *user)
{
    const uint32_t subtask = tide_task_subtask(t);
    (void)user;
    return tide_snapshot_write(s, &subtask, sizeof subtask);
}

static void on_rewind(struct tide_task *t, const char *reason, void *user)
{
    (void)t, (void)user;
    (void)fprintf(stderr, "rewind: %s\n", reason);
}

int main(int argc, char **argv)
{
    static const struct tide_callbacks callbacks = {
        .restore = on_restore, .snapshot = on_snapshot, .rewind = on_rewind};
    const struct tide_checkpointing c = {.interval_ms = 500,
                                         .deadline_ms = 2000,
                                         .lease_ms = 10000,
                                         .heartbeat_ms = 1000,
                                         .retained = 2,
                                         .progress_ms = 100};
    struct tide_spec *spec;
    struct tide_worker *w;
    struct tide_task *task;
    char name[32], why[256];
    if (argc != 4) {
        (void)fprintf(stderr, "usage: worker ADDRESS INDEX WORKERS\n");
        return 2;
    }
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    uint32_t index = (uint32_t)strtoul(argv[2], NULL, 10);
    (void)snprintf(name, sizeof name, "worker-%u", index);
    if (tide_spec_new("frozen", &spec)) return 1;
    (void)tide_spec_operator(spec, "member", (uint32_t)strtoul(argv[3], NULL, 10), 0);
    (void)tide_spec_checkpointing(spec, &c);
    struct tide_worker_config config = {.spec = spec, .address = argv[1], .name = name};
    int rc = tide_worker_new(&config, &w, why);
    tide_spec_free(spec);
    if (rc) return fprintf(stderr, "%s\n", why), 1;
    rc = tide_worker_add_task(w, "member", index, 0, &callbacks, NULL, &task);
    while (!rc)
        rc = tide_worker_wait(w, 1000);
    (void)fprintf(stderr, "ends: %s\n", tide_strerror(rc));
    tide_worker_free(w);
    return rc == TIDE_EENDED ? 0 : 1;
}
