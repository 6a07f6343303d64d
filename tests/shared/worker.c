/* A worker whose state is a set of files that never change, as those of an LSM tree: each round
 * adds one, and some merge old ones into a new one; the others are referred to.
 *
 *   worker ADDRESS FOLDER
 *
 * One line in FOLDER/log for each of:
 *   restore SNAPSHOT FILES    round ROUND new N again N full 0|1    stop OUTCOME */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <tidemark.h>

#define FILES_MAX 8u
#define WORDS 4096u /* of a file */

struct file {
    uint64_t id;
    char key[TIDE_KEY_SIZE]; /* "": it is not shared yet */
};

static struct {
    struct file files[FILES_MAX];
    uint32_t n;
    uint64_t next;
    FILE *log;
} me = {.next = 1};

static uint64_t word(uint64_t id, uint32_t i)
{
    return (id * 0x9e3779b97f4a7c15u) ^ ((uint64_t)i << 32 | i);
}

static int take(const struct tide_restore *r, const struct tide_state *s)
{
    static uint64_t words[WORDS];
    struct tide_state_reader *reader;
    struct file *f = &me.files[me.n];
    size_t n = 0;
    if (me.n == FILES_MAX || sscanf(s->name, "file %" SCNu64, &f->id) != 1) return TIDE_ECORRUPT;
    int rc = tide_state_open(r, s, &reader);
    if (!rc) rc = tide_state_read(reader, words, sizeof words, &n);
    if (rc || n != sizeof words) return rc ? rc : TIDE_ECORRUPT;
    tide_state_close(reader);
    for (uint32_t i = 0; i < WORDS; i++)
        if (words[i] != word(f->id, i)) return TIDE_ECORRUPT;
    f->key[0] = '\0';
    if (s->key) memcpy(f->key, s->key, strlen(s->key) + 1);
    if (f->id >= me.next) me.next = f->id + 1;
    me.n++;
    return 0;
}

static int on_restore(struct tide_task *t, const struct tide_restore *r, void *user)
{
    (void)t, (void)user;
    me.n = 0;
    me.next = 1;
    for (uint32_t i = 0; i < r->n_states; i++) {
        int rc = take(r, &r->states[i]);
        if (rc) return rc;
    }
    fprintf(me.log, "restore %" PRIu64 " %u\n", r->snapshot, me.n);
    return 0;
}

static void grow(void)
{
    if (me.n == FILES_MAX) { /* merged into one */
        memmove(me.files, me.files + 5, (me.n - 5) * sizeof *me.files);
        me.n -= 5;
    }
    me.files[me.n++] = (struct file){.id = me.next++};
}

static int put(struct tide_snapshot *s, struct file *f, uint32_t *written, uint32_t *again)
{
    char name[40];
    snprintf(name, sizeof name, "file %" PRIu64, f->id);
    int rc = tide_snapshot_artifact(s, name, 0, 0);
    if (!rc) rc = f->key[0] ? tide_snapshot_refer(s, f->key) : TIDE_ENOTFOUND;
    if (rc != TIDE_ENOTFOUND) {
        *again += rc == 0;
        return rc;
    }
    rc = tide_snapshot_share(s, f->key);
    for (uint32_t i = 0; i < WORDS && !rc; i++) {
        uint64_t w = word(f->id, i);
        rc = tide_snapshot_write(s, &w, sizeof w);
    }
    (*written)++;
    return rc;
}

static int on_snapshot(struct tide_task *t, struct tide_snapshot *s, void *user)
{
    (void)t, (void)user;
    uint32_t written = 0, again = 0;
    int rc = 0;
    grow();
    for (uint32_t i = 0; i < me.n && !rc; i++)
        rc = put(s, &me.files[i], &written, &again);
    fprintf(me.log, "round %" PRIu64 " new %u again %u full %d\n", tide_snapshot_round(s), written,
            again, tide_snapshot_is_full(s));
    return rc;
}

static void on_stop(struct tide_task *t, const char *outcome, void *user)
{
    (void)t, (void)user;
    fprintf(me.log, "stop %s\n", outcome);
}

int main(int argc, char **argv)
{
    static const struct tide_callbacks callbacks = {
        .restore = on_restore, .snapshot = on_snapshot, .stop = on_stop};
    char why[256] = "", log[600];
    struct tide_spec *spec;
    struct tide_worker *w;
    if (argc != 3) return 2;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(log, sizeof log, "%s/log", argv[2]);
    me.log = fopen(log, "a");
    if (!me.log) return 3;
    setvbuf(me.log, NULL, _IOLBF, 0);
    (void)tide_spec_new("tree", &spec);
    (void)tide_spec_operator(spec, "tree", 1, 0);
    (void)tide_spec_checkpointing(
        spec, &(struct tide_checkpointing){
                  .interval_ms = 50, .retained = 2, .lease_ms = 6000, .heartbeat_ms = 500});
    struct tide_worker_config config = {.spec = spec, .address = argv[1], .name = "w"};
    int rc = tide_worker_new(&config, &w, why);
    tide_spec_free(spec);
    if (rc) {
        fprintf(stderr, "worker: %s: %s\n", tide_strerror(rc), why);
        return 1;
    }
    rc = tide_worker_add_task(w, "tree", 0, 0, &callbacks, NULL, &(struct tide_task *){NULL});
    while (!rc)
        rc = tide_worker_wait(w, 1000);
    if (rc != TIDE_EENDED) fprintf(stderr, "worker: %s\n", tide_worker_error(w));
    tide_worker_free(w);
    fclose(me.log);
    return rc == TIDE_EENDED ? 0 : 1;
}
