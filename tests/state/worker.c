/* worker JOB SUBTASK PARALLELISM VERSION PORT OUT [SAVEPOINT]: one task of a job that counts, with
 * every kind of state; state.py has the story.
 *
 * At step i all tasks look at the number i; the one that owns its key counts it. So what they have
 * together after n steps is known to whoever can count to n. VERSION 2 keeps its counts in 8 bytes,
 * version 1 in 4. With SAVEPOINT a job that starts afresh begins with what the savepoint has, and
 * ends 500 steps later; it is read by the library or, with "daemon:" before it, handed out by the
 * daemon. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tidemark-state.h>
#include <unistd.h>

#define KEYS 997u
#define NOTE 2000u

struct counter {
    struct tide_states *states;
    struct tide_named *count, *first, *parity, *note, *chores, *members, *place;
    uint32_t subtask, version;
    uint64_t step, end, seen;             /* seen: members, when it was last restored */
    const char *out, *savepoint, *handed; /* handed: the same, out by the daemon */
    bool running, finished;
};

static void die(const char *what, const char *why)
{
    fprintf(stderr, "worker: %s: %s\n", what, why);
    exit(1);
}

static void must(struct counter *c, int rc, const char *what)
{
    if (rc) die(what, tide_states_error(c->states));
}

static int widen(uint32_t version, const void *value, size_t len, void **ret_value, size_t *ret_len,
                 void *user)
{
    uint64_t *wide = malloc(sizeof *wide);
    uint32_t narrow;
    (void)user;
    if (!wide || version != 1 || len != sizeof narrow) return free(wide), TIDE_ECORRUPT;
    memcpy(&narrow, value, sizeof narrow);
    *wide = narrow;
    *ret_value = wide;
    *ret_len = sizeof *wide;
    return 0;
}

static void declare(struct counter *c)
{
    struct tide_schema schema = {
        .id = "count", .version = c->version, .migrate = c->version == 2 ? widen : NULL};
    must(c, tide_states_declare(c->states, "count", TIDE_VALUE, &schema, &c->count), "count");
    must(c, tide_states_declare(c->states, "first", TIDE_LIST, NULL, &c->first), "first");
    must(c, tide_states_declare(c->states, "parity", TIDE_MAP, NULL, &c->parity), "parity");
    must(c, tide_states_declare(c->states, "note", TIDE_VALUE, NULL, &c->note), "note");
    must(c, tide_states_declare(c->states, "chores", TIDE_SPLIT, NULL, &c->chores), "chores");
    must(c, tide_states_declare(c->states, "members", TIDE_UNION, NULL, &c->members), "members");
    must(c, tide_states_declare(c->states, "place", TIDE_BROADCAST, NULL, &c->place), "place");
}

/* ---- counting */

static uint64_t number(struct counter *c, int rc, const void *data, size_t len)
{
    uint64_t n = 0;
    if (rc == TIDE_ENOTFOUND) return 0;
    must(c, rc, "a number");
    memcpy(&n, data, len < sizeof n ? len : sizeof n);
    return n;
}

/* So much that a snapshot outgrows what is made in memory. */
static void fill_note(uint8_t note[NOTE], const uint8_t key[8])
{
    for (size_t i = 0; i < NOTE; i++)
        note[i] = (uint8_t)(key[i % 8] + i);
}

static void count(struct counter *c, uint64_t i)
{
    uint8_t key[8], note[NOTE];
    const char *parity = i % 2 ? "odd" : "even";
    const void *data = NULL;
    size_t len = 0;
    tide_states_key_of_int((int64_t)(i * 2654435761u % KEYS), key);
    int rc = tide_value_get(c->count, key, 8, &data, &len);
    if (rc == TIDE_EINVAL) return; /* another task's */
    uint64_t n = number(c, rc, data, len) + 1;
    must(c, tide_value_put(c->count, key, 8, &n, c->version == 1 ? 4 : 8), "count");
    if (tide_list_count(c->first, key, 8) < 3)
        must(c, tide_list_add(c->first, key, 8, &i, sizeof i), "first");
    rc = tide_map_get(c->parity, key, 8, parity, strlen(parity), &data, &len);
    n = number(c, rc, data, len) + 1;
    must(c, tide_map_put(c->parity, key, 8, parity, strlen(parity), &n, sizeof n), "parity");
    fill_note(note, key);
    must(c, tide_value_put(c->note, key, 8, note, sizeof note), "note");
}

/* ---- what it has, at the end */

struct telling {
    struct counter *c;
    FILE *out;
};

static int tell_item(const void *item, size_t item_len, const void *value, size_t len, void *user)
{
    struct telling *t = user;
    fprintf(t->out, " %.*s:%llu", (int)item_len, (const char *)item,
            (unsigned long long)number(t->c, 0, value, len));
    return 0;
}

static int tell_key(const void *key, size_t key_len, void *user)
{
    struct telling *t = user;
    struct counter *c = t->c;
    const void *data = NULL;
    size_t len = 0;
    uint8_t note[NOTE];
    int rc = tide_value_get(c->count, key, key_len, &data, &len);
    fprintf(t->out, "key %llu %llu", (unsigned long long)number(c, 0, key, key_len),
            (unsigned long long)number(c, rc, data, len));
    for (uint64_t i = 0; i < tide_list_count(c->first, key, key_len); i++) {
        rc = tide_list_get(c->first, key, key_len, i, &data, &len);
        fprintf(t->out, " %llu", (unsigned long long)number(c, rc, data, len));
    }
    must(c, tide_map_each(c->parity, key, key_len, tell_item, t), "parity");
    fill_note(note, key);
    rc = tide_value_get(c->note, key, key_len, &data, &len);
    must(c, rc, "note");
    if (len != sizeof note || memcmp(data, note, len) != 0) die("note", "it is another");
    fputc('\n', t->out);
    return 0;
}

static void tell(struct counter *c)
{
    const void *data = NULL;
    size_t len = 0;
    struct telling t = {c, fopen(c->out, "w")};
    if (!t.out) die(c->out, "cannot be written");
    must(c, tide_keys_each(c->count, tell_key, &t), "keys");
    for (uint64_t i = 0; i < tide_list_count(c->chores, NULL, 0); i++) {
        int rc = tide_list_get(c->chores, NULL, 0, i, &data, &len);
        fprintf(t.out, "chore %llu\n", (unsigned long long)number(c, rc, data, len));
    }
    fprintf(t.out, "members %llu\n", (unsigned long long)c->seen);
    fprintf(t.out, "step %llu\n", (unsigned long long)c->step);
    if (fclose(t.out)) die(c->out, "cannot be written");
}

/* ---- the worker */

/* Whoever took part in the snapshot stands in it once. */
static void look_at_members(struct counter *c)
{
    const void *data = NULL;
    size_t len = 0;
    uint64_t them = 0;
    c->seen = tide_list_count(c->members, NULL, 0);
    for (uint64_t i = 0; i < c->seen; i++) {
        int rc = tide_list_get(c->members, NULL, 0, i, &data, &len);
        uint64_t member = number(c, rc, data, len);
        if (member >= c->seen || them >> member & 1) die("members", "one is missing");
        them |= UINT64_C(1) << member;
    }
    fprintf(stderr, "worker: sees %llu members\n", (unsigned long long)c->seen);
}

static int on_restore(struct tide_task *task, const struct tide_restore *r, void *user)
{
    struct counter *c = user;
    const void *data = NULL;
    size_t len = 0;
    int rc = r->snapshot || !c->savepoint ? tide_states_restore(c->states, r)
                                          : tide_states_restore_directory(c->states, c->savepoint);
    if (rc) {
        tide_task_fail_reason(task, tide_states_error(c->states));
        fprintf(stderr, "worker: %s\n", tide_states_error(c->states));
        return rc;
    }
    look_at_members(c);
    if (c->handed && !r->snapshot) die("restore", "the daemon has handed nothing out");
    for (uint64_t i = 0; !r->snapshot && !c->savepoint && i < 4; i++) {
        uint64_t chore = c->subtask * 4u + i;
        must(c, tide_list_add(c->chores, NULL, 0, &chore, sizeof chore), "chores");
    }
    rc = tide_map_get(c->place, NULL, 0, "step", 4, &data, &len);
    c->step = number(c, rc, data, len);
    rc = tide_map_get(c->place, NULL, 0, "end", 3, &data, &len);
    if (rc == 0)
        c->end = number(c, rc, data, len);
    else if (c->handed || (c->savepoint && !r->snapshot))
        c->end = c->step + 500;
    c->finished = r->ended;
    fprintf(stderr, "worker: attempt %llu begins with snapshot %llu at step %llu\n",
            (unsigned long long)r->attempt, (unsigned long long)r->snapshot,
            (unsigned long long)c->step);
    return 0;
}

static void on_run(struct tide_task *task, void *user)
{
    struct counter *c = user;
    (void)task;
    c->running = !c->finished;
}

static void on_rewind(struct tide_task *task, const char *reason, void *user)
{
    struct counter *c = user;
    (void)task, (void)reason;
    c->running = false;
}

static int on_snapshot(struct tide_task *task, struct tide_snapshot *s, void *user)
{
    struct counter *c = user;
    uint64_t self = c->subtask;
    (void)task;
    must(c, tide_list_clear(c->members, NULL, 0), "members");
    must(c, tide_list_add(c->members, NULL, 0, &self, sizeof self), "members");
    must(c, tide_map_put(c->place, NULL, 0, "step", 4, &c->step, sizeof c->step), "place");
    if (c->end != UINT64_MAX)
        must(c, tide_map_put(c->place, NULL, 0, "end", 3, &c->end, sizeof c->end), "place");
    return tide_states_snapshot(c->states, s);
}

static int go_on(struct counter *c, struct tide_worker *worker, struct tide_task *task)
{
    int rc = tide_worker_wait(worker, c->running ? 0 : 1000);
    if (rc || !c->running) return rc;
    rc = tide_task_position(task, c->step);
    if (rc == TIDE_EAGAIN) return tide_worker_wait(worker, 1000);
    if (rc == TIDE_ESTALE) return 0;
    if (rc) return rc;
    if (c->step < c->end) {
        count(c, c->step++);
        usleep(500);
        return 0;
    }
    tell(c);
    c->running = false;
    rc = tide_task_finished(task);
    return rc == TIDE_ESTALE ? 0 : rc; /* the attempt has just ended: it is restored */
}

int main(int argc, char **argv)
{
    struct counter c = {.end = UINT64_MAX};
    struct tide_spec *spec;
    struct tide_worker *worker;
    struct tide_task *task;
    char why[256], name[32];
    if (argc < 7) die("usage", "worker JOB SUBTASK PARALLELISM VERSION ADDRESS OUT [SAVEPOINT]");
    struct tide_states_config states = {.uid = "count", .subtask = (uint32_t)atoi(argv[2])};
    states.parallelism = (uint32_t)atoi(argv[3]);
    c.version = (uint32_t)atoi(argv[4]);
    c.subtask = states.subtask;
    states.backend = getenv("BACKEND");
    states.directory = getenv("DIRECTORY");
    c.out = argv[6];
    c.savepoint = argv[7];
    if (c.savepoint && !strncmp(c.savepoint, "daemon:", 7)) c.handed = c.savepoint + 7;
    if (c.handed) c.savepoint = NULL;
    if (tide_states_new(&states, &c.states, why)) die("states", why);
    declare(&c);
    if (tide_spec_new(argv[1], &spec)) return 1;
    tide_spec_operator(spec, "count", states.parallelism, 0); /* as in the snapshot */
    tide_spec_union_state(spec, "count");
    if (c.handed) tide_spec_restore_from(spec, c.handed, false);
    tide_spec_checkpointing(
        spec,
        &(struct tide_checkpointing){.interval_ms = 200,
                                     .lease_ms = 6000, /* a sanitizer with RocksDB takes its time */
                                     .heartbeat_ms = 500,
                                     .grace_ms = 1000,
                                     .style = TIDE_STYLE_RENDEZVOUS});
    snprintf(name, sizeof name, "count-%u", c.subtask);
    struct tide_worker_config config = {.spec = spec, .name = name, .address = argv[5]};
    if (tide_worker_new(&config, &worker, why)) die("worker", why);
    tide_spec_free(spec);
    struct tide_callbacks callbacks = {.restore = on_restore, .run = on_run};
    callbacks.snapshot = on_snapshot;
    callbacks.rewind = on_rewind;
    int rc = tide_worker_add_task(worker, "count", c.subtask, 0, &callbacks, &c, &task);
    while (rc == 0)
        rc = go_on(&c, worker, task);
    if (rc != TIDE_EENDED) fprintf(stderr, "worker: %s\n", tide_worker_error(worker));
    tide_states_free(c.states);
    tide_worker_free(worker);
    return rc == TIDE_EENDED ? 0 : 1;
}
