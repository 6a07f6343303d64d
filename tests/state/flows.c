/* flows JOB SOURCES COUNTERS VERSION ADDRESS OUT STOP [FROM]: all tasks of a job whose counters are
 * slow, in one process, with channels that are queues in memory; flows.py has the story.
 *
 * Each source has some of 12 partitions, and of each partition numbers from 0 on; a number goes to
 * the counter that owns its key, and every other one as a mark to all counters. STOP 0: without
 * end; else each partition ends so many numbers after those that its source had when it was
 * restored. A record of VERSION 1 has 12 bytes; version 2 says in 4 more how often it was migrated.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tidemark-state.h>
#include <unistd.h>

#define PARTITIONS 12u
#define KEYS 211u
#define TASKS_MAX 8u
#define QUEUE_MAX 40u
#define INPUT_MAX 12u /* items of an input; the rest wait in the output */

struct record {
    uint32_t key, partition, number, migrated;
};

struct item {
    bool barrier;
    uint8_t bytes[TIDE_BARRIER_SIZE]; /* or a record */
};

struct queue {
    struct item *items;
    size_t n, cap;
    bool blocked;
};

/* From source s to counter c: numbers, marks. */
struct edge {
    struct queue out[2], in[2];
};

struct source {
    struct tide_task *task;
    struct tide_states *states;
    struct tide_named *partitions; /* pairs (partition, next number) */
    struct tide_flow *flows[2];
    uint32_t subtask, n, next[PARTITIONS], last[PARTITIONS], which[PARTITIONS];
    bool running, done;
};

struct counter {
    struct tide_task *task;
    struct tide_states *states;
    struct tide_named *count, *place, *marks;
    struct tide_flow *flows[2];
    uint32_t subtask, turn;
    uint64_t landed, late; /* records that were in flight; that came behind a later one */
    bool running, done;
};

static struct source sources[TASKS_MAX];
static struct counter counters[TASKS_MAX];
static struct edge edges[TASKS_MAX][TASKS_MAX];
static uint32_t n_sources, n_counters, version, stop;
static uint64_t took; /* steps since the last record was taken in */

static void die(const char *what, const char *why)
{
    fprintf(stderr, "flows: %s: %s\n", what, why);
    exit(1);
}

static void must(int rc, const char *what, struct tide_states *s)
{
    if (rc) die(what, s ? tide_states_error(s) : tide_strerror(rc));
}

static size_t record_size(void)
{
    return version == 1 ? 12 : 16;
}

/* ---- queues */

static struct item *insert(struct queue *q, size_t at)
{
    if (q->n == q->cap) {
        q->cap = q->cap ? q->cap * 2 : 64;
        q->items = realloc(q->items, q->cap * sizeof *q->items);
        if (!q->items) die("queue", "out of memory");
    }
    memmove(&q->items[at + 1], &q->items[at], (q->n++ - at) * sizeof *q->items);
    return &q->items[at];
}

static void push(struct queue *q, bool barrier, const void *bytes, size_t n)
{
    struct item *i = insert(q, q->n);
    *i = (struct item){.barrier = barrier};
    memcpy(i->bytes, bytes, n);
}

static struct item take(struct queue *q, size_t at)
{
    struct item i = q->items[at];
    memmove(&q->items[at], &q->items[at + 1], (--q->n - at) * sizeof *q->items);
    return i;
}

static size_t first_barrier(const struct queue *q)
{
    size_t at = 0;
    while (at < q->n && !q->items[at].barrier)
        at++;
    return at;
}

/* A counter's channels: numbers of each source, then marks of each. */
static struct queue *input_of(const struct counter *c, uint32_t channel)
{
    return &edges[channel % n_sources][c->subtask].in[channel / n_sources];
}

static struct queue *output_of(const struct source *s, uint32_t channel)
{
    return &edges[s->subtask][channel % n_counters].out[channel / n_counters];
}

static void tell_first(struct counter *c, uint32_t channel)
{
    struct queue *q = input_of(c, channel);
    size_t at = first_barrier(q);
    uint8_t barrier[TIDE_BARRIER_SIZE];
    if (at == q->n) return;
    memcpy(barrier, q->items[at].bytes, sizeof barrier);
    must(tide_task_announce(c->task, channel, barrier), "announce", NULL);
}

/* ---- sources */

static void put_partitions(struct source *s)
{
    must(tide_list_clear(s->partitions, NULL, 0), "partitions", s->states);
    for (uint32_t i = 0; i < s->n; i++) {
        uint32_t pair[2] = {s->which[i], s->next[i]};
        must(tide_list_add(s->partitions, NULL, 0, pair, sizeof pair), "partitions", s->states);
    }
}

static void get_partitions(struct source *s)
{
    s->n = (uint32_t)tide_list_count(s->partitions, NULL, 0);
    for (uint32_t i = 0; i < s->n; i++) {
        uint32_t pair[2];
        const void *data = NULL;
        size_t len = 0;
        must(tide_list_get(s->partitions, NULL, 0, i, &data, &len), "partitions", s->states);
        memcpy(pair, data, sizeof pair);
        s->which[i] = pair[0];
        s->next[i] = pair[1];
        s->last[i] = stop ? pair[1] + stop : UINT32_MAX;
    }
}

static int source_restore(struct tide_task *t, const struct tide_restore *r, void *user)
{
    struct source *s = user;
    for (uint32_t ch = 0; ch < 2 * n_counters; ch++)
        output_of(s, ch)->n = 0;
    int rc = tide_states_restore(s->states, r);
    if (rc) {
        tide_task_fail_reason(t, tide_states_error(s->states));
        fprintf(stderr, "flows: %s\n", tide_states_error(s->states));
        return rc;
    }
    for (uint32_t p = 0; !r->snapshot && p < PARTITIONS; p++) {
        uint32_t pair[2] = {p, 0};
        if (p % n_sources == s->subtask)
            must(tide_list_add(s->partitions, NULL, 0, pair, sizeof pair), "new", s->states);
    }
    get_partitions(s);
    s->done = r->ended;
    return 0;
}

static void source_run(struct tide_task *t, void *user)
{
    struct source *s = user;
    struct tide_flow_record r;
    uint32_t n = 0;
    (void)t;
    if (s->running) return;
    for (unsigned k = 0; k < 2; k++)
        for (; tide_flow_next(s->flows[k], &r) == 0; n++)
            push(output_of(s, r.channel), false, r.data, r.len);
    s->running = true;
    fprintf(stderr, "flows: source %u puts out %u records again\n", s->subtask, n);
}

static void source_forward(struct tide_task *t, const uint8_t barrier[TIDE_BARRIER_SIZE],
                           void *user)
{
    (void)t;
    for (uint32_t ch = 0; ch < 2 * n_counters; ch++)
        push(output_of(user, ch), true, barrier, TIDE_BARRIER_SIZE);
}

static void source_overtake(struct tide_task *t, const uint8_t barrier[TIDE_BARRIER_SIZE],
                            bool queued, void *user)
{
    for (uint32_t ch = 0; !queued && ch < 2 * n_counters; ch++) {
        struct queue *q = output_of(user, ch);
        size_t at = q->n;
        while (at && !q->items[at - 1].barrier)
            at--;
        for (size_t i = at; i < q->n; i++)
            (void)tide_task_in_flight(t, TIDE_FLIGHT_OUTPUT, ch, q->items[i].bytes, record_size());
        struct item *i = insert(q, at);
        *i = (struct item){.barrier = true};
        memcpy(i->bytes, barrier, TIDE_BARRIER_SIZE);
    }
}

static int source_snapshot(struct tide_task *t, struct tide_snapshot *snapshot, void *user)
{
    struct source *s = user;
    (void)t;
    put_partitions(s);
    return tide_states_snapshot(s->states, snapshot);
}

static void source_rewind(struct tide_task *t, const char *reason, void *user)
{
    (void)t, (void)reason;
    ((struct source *)user)->running = false;
}

static uint32_t owner_of(uint32_t key)
{
    const uint32_t max = tide_states_max_parallelism(counters[0].states);
    return tide_key_group_owner(tide_states_key_group(&key, 4, max), n_counters, max);
}

static bool is_full(const struct source *s)
{
    for (uint32_t ch = 0; ch < 2 * n_counters; ch++)
        if (output_of(s, ch)->n >= QUEUE_MAX) return true;
    return false;
}

static bool is_empty(const struct source *s)
{
    for (uint32_t ch = 0; ch < 2 * n_counters; ch++)
        if (output_of(s, ch)->n) return false;
    return true;
}

static void produce(struct source *s)
{
    bool more = false;
    for (uint32_t i = 0; i < s->n && !is_full(s); i++) {
        if (s->next[i] == s->last[i]) continue;
        struct record r = {.partition = s->which[i], .number = s->next[i]++};
        r.key = (r.partition * 7919u + r.number * 104729u) % KEYS;
        push(output_of(s, owner_of(r.key)), false, &r, record_size());
        for (uint32_t c = 0; r.number % 2 == 0 && c < n_counters; c++)
            push(output_of(s, n_counters + c), false, &r, record_size());
    }
    for (uint32_t i = 0; i < s->n; i++)
        more |= s->next[i] != s->last[i];
    if (!more && is_empty(s) && !s->done) {
        s->done = true;
        must(tide_task_finished(s->task), "finished", NULL);
    }
}

/* ---- counters */

static uint64_t number_of(struct tide_named *n, const void *key, size_t len, struct tide_states *s)
{
    const void *data = NULL;
    size_t size = 0;
    uint64_t number = 0;
    int rc = tide_value_get(n, key, len, &data, &size);
    if (rc == TIDE_ENOTFOUND) return 0;
    must(rc, "get", s);
    memcpy(&number, data, sizeof number);
    return number;
}

/* place: of each key and partition, one more than the number that came last. */
static void count(struct counter *c, const struct record *r)
{
    uint32_t both[2] = {r->partition, 0};
    const void *data = NULL;
    size_t len = 0;
    uint32_t before = 0;
    uint64_t n = number_of(c->count, &r->key, 4, c->states) + 1;
    must(tide_value_put(c->count, &r->key, 4, &n, sizeof n), "count", c->states);
    int rc = tide_map_get(c->place, &r->key, 4, both, 4, &data, &len);
    if (rc == 0) memcpy(&before, data, sizeof before);
    if (r->number < before) c->late++;
    before = r->number + 1;
    must(tide_map_put(c->place, &r->key, 4, both, 4, &before, sizeof before), "place", c->states);
}

static void mark(struct counter *c, const struct record *r)
{
    const void *data = NULL;
    size_t len = 0;
    uint64_t n = 0;
    int rc = tide_map_get(c->marks, NULL, 0, &r->partition, 4, &data, &len);
    if (rc == 0) memcpy(&n, data, sizeof n);
    n++;
    must(tide_map_put(c->marks, NULL, 0, &r->partition, 4, &n, sizeof n), "marks", c->states);
}

static void process(struct counter *c, unsigned flow, const void *data)
{
    struct record r = {0};
    memcpy(&r, data, record_size());
    if (flow)
        mark(c, &r);
    else
        count(c, &r);
}

static int counter_restore(struct tide_task *t, const struct tide_restore *r, void *user)
{
    struct counter *c = user;
    for (uint32_t ch = 0; ch < 2 * n_sources; ch++) {
        input_of(c, ch)->n = 0;
        input_of(c, ch)->blocked = false;
    }
    int rc = tide_states_restore(c->states, r);
    if (rc) {
        tide_task_fail_reason(t, tide_states_error(c->states));
        fprintf(stderr, "flows: %s\n", tide_states_error(c->states));
        return rc;
    }
    c->landed = c->late = 0;
    c->done = r->ended;
    return 0;
}

static void counter_run(struct tide_task *t, void *user)
{
    struct counter *c = user;
    struct tide_flow_record r;
    (void)t;
    if (c->running) return;
    for (unsigned k = 0; k < 2; k++)
        while (tide_flow_next(c->flows[k], &r) == 0) {
            process(c, k, r.data);
            c->landed++;
        }
    c->running = true;
    fprintf(stderr, "flows: counter %u had %llu records in flight\n", c->subtask,
            (unsigned long long)c->landed);
}

static void counter_block(struct tide_task *t, uint32_t channel, bool blocked, void *user)
{
    (void)t;
    input_of(user, channel)->blocked = blocked;
}

static void counter_overtake(struct tide_task *t, uint32_t channel, void *user)
{
    struct counter *c = user;
    struct queue *q = input_of(c, channel);
    size_t at = first_barrier(q);
    if (at == q->n) return;
    for (size_t i = 0; i < at; i++)
        (void)tide_task_in_flight(t, TIDE_FLIGHT_INPUT, channel, q->items[i].bytes, record_size());
    struct item i = take(q, at);
    (void)tide_task_barrier(t, channel, i.bytes);
    tell_first(c, channel);
}

static int counter_snapshot(struct tide_task *t, struct tide_snapshot *snapshot, void *user)
{
    (void)t;
    return tide_states_snapshot(((struct counter *)user)->states, snapshot);
}

static void counter_rewind(struct tide_task *t, const char *reason, void *user)
{
    (void)t, (void)reason;
    ((struct counter *)user)->running = false;
}

static void counter_forward(struct tide_task *t, const uint8_t barrier[TIDE_BARRIER_SIZE],
                            void *user)
{
    (void)t, (void)barrier, (void)user;
}

/* One record, or barrier, of the next channel that has one. */
static void work(struct counter *c)
{
    for (uint32_t i = 0; i < 2 * n_sources; i++) {
        uint32_t channel = c->turn++ % (2 * n_sources);
        struct queue *q = input_of(c, channel);
        if (!q->n || q->blocked) continue;
        struct item item = take(q, 0);
        took = 0;
        if (item.barrier) {
            must(tide_task_barrier(c->task, channel, item.bytes), "barrier", NULL);
            tell_first(c, channel);
            return;
        }
        must(tide_task_record(c->task, channel, item.bytes, record_size()), "record", NULL);
        process(c, channel / n_sources, item.bytes);
        return;
    }
}

/* ---- the network: from outputs to inputs, as long as there is room */

static void move(struct source *s, uint32_t c, unsigned k)
{
    struct queue *out = &edges[s->subtask][c].out[k], *in = &edges[s->subtask][c].in[k];
    while (out->n && (in->n < INPUT_MAX || out->items[0].barrier)) {
        struct item i = take(out, 0);
        bool first = i.barrier && first_barrier(in) == in->n;
        push(in, i.barrier, i.bytes, sizeof i.bytes);
        if (first) tell_first(&counters[c], k * n_sources + s->subtask);
    }
}

/* ---- the program */

static int key_of(const void *record, size_t len, const void **ret_key, size_t *ret_len, void *user)
{
    (void)user;
    if (len != record_size()) return TIDE_ECORRUPT;
    *ret_key = record;
    *ret_len = 4;
    return 0;
}

static int migrate(uint32_t had, const void *value, size_t len, void **ret_value, size_t *ret_len,
                   void *user)
{
    struct record *r = calloc(1, sizeof *r);
    (void)user;
    if (!r || had != 1 || len != 12) return free(r), TIDE_ECORRUPT;
    memcpy(r, value, len);
    r->migrated = 1;
    *ret_value = r;
    *ret_len = sizeof *r;
    return 0;
}

static struct tide_states *states_of(const char *uid, uint32_t subtask, uint32_t parallelism)
{
    struct tide_states_config c = {.uid = uid, .subtask = subtask, .parallelism = parallelism};
    struct tide_states *s;
    char why[256];
    if (tide_states_new(&c, &s, why)) die("states", why);
    return s;
}

/* first_channel of marks is behind the numbers' channels, as many. */
static void declare_flows(struct tide_states *s, enum tide_flight direction, uint32_t channels,
                          const char *peer, struct tide_flow *flows[2])
{
    struct tide_schema schema = {
        .id = "record", .version = version, .migrate = version == 2 ? migrate : NULL};
    struct tide_flow_config c = {.direction = direction,
                                 .route = TIDE_FLOW_KEYED,
                                 .channels = channels,
                                 .key = key_of,
                                 .peer = peer,
                                 .schema = &schema};
    must(tide_states_flow(s, "numbers", &c, &flows[0]), "numbers", s);
    c.route = TIDE_FLOW_BROADCAST;
    c.key = NULL;
    c.first_channel = channels;
    must(tide_states_flow(s, "marks", &c, &flows[1]), "marks", s);
}

static void add_sources(struct tide_worker *w)
{
    const struct tide_callbacks callbacks = {.restore = source_restore,
                                             .run = source_run,
                                             .forward = source_forward,
                                             .snapshot = source_snapshot,
                                             .rewind = source_rewind,
                                             .overtake_output = source_overtake};
    for (uint32_t i = 0; i < n_sources; i++) {
        struct source *s = &sources[i];
        s->subtask = i;
        s->states = states_of("source", i, n_sources);
        must(tide_states_declare(s->states, "partitions", TIDE_SPLIT, NULL, &s->partitions),
             "partitions", s->states);
        declare_flows(s->states, TIDE_FLIGHT_OUTPUT, n_counters, "counter", s->flows);
        must(tide_worker_add_task(w, "source", i, 0, &callbacks, s, &s->task), "task", NULL);
        must(tide_states_keep_flights(s->states, s->task), "flights", s->states);
    }
}

static void add_counters(struct tide_worker *w)
{
    const struct tide_callbacks callbacks = {.restore = counter_restore,
                                             .run = counter_run,
                                             .block = counter_block,
                                             .forward = counter_forward,
                                             .snapshot = counter_snapshot,
                                             .rewind = counter_rewind,
                                             .overtake_input = counter_overtake};
    for (uint32_t i = 0; i < n_counters; i++) {
        struct counter *c = &counters[i];
        c->subtask = i;
        c->states = states_of("counter", i, n_counters);
        must(tide_states_declare(c->states, "count", TIDE_VALUE, NULL, &c->count), "a", c->states);
        must(tide_states_declare(c->states, "place", TIDE_MAP, NULL, &c->place), "b", c->states);
        must(tide_states_declare(c->states, "marks", TIDE_BROADCAST, NULL, &c->marks), "c",
             c->states);
        declare_flows(c->states, TIDE_FLIGHT_INPUT, n_sources, "source", c->flows);
        must(tide_worker_add_task(w, "counter", i, 2 * n_sources, &callbacks, c, &c->task), "task",
             NULL);
        must(tide_states_keep_flights(c->states, c->task), "flights", c->states);
    }
}

/* ---- what they have at the end */

struct telling {
    FILE *out;
    struct counter *c;
};

static int tell_key(const void *key, size_t len, void *user)
{
    struct telling *t = user;
    uint32_t k;
    memcpy(&k, key, sizeof k);
    fprintf(t->out, "key %u %llu\n", k,
            (unsigned long long)number_of(t->c->count, key, len, t->c->states));
    return 0;
}

static int tell_mark(const void *item, size_t item_len, const void *value, size_t len, void *user)
{
    struct telling *t = user;
    uint32_t partition;
    uint64_t n;
    (void)item_len, (void)len;
    memcpy(&partition, item, sizeof partition);
    memcpy(&n, value, sizeof n);
    fprintf(t->out, "mark %u %u %llu\n", t->c->subtask, partition, (unsigned long long)n);
    return 0;
}

static void tell(const char *path)
{
    FILE *out = fopen(path, "w");
    if (!out) die(path, "cannot be written");
    for (uint32_t i = 0; i < n_sources; i++)
        for (uint32_t k = 0; k < sources[i].n; k++)
            fprintf(out, "partition %u %u\n", sources[i].which[k], sources[i].next[k]);
    for (uint32_t i = 0; i < n_counters; i++) {
        struct telling t = {out, &counters[i]};
        must(tide_keys_each(counters[i].count, tell_key, &t), "keys", counters[i].states);
        must(tide_map_each(counters[i].marks, NULL, 0, tell_mark, &t), "marks", counters[i].states);
        fprintf(out, "landed %llu\nlate %llu\n", (unsigned long long)counters[i].landed,
                (unsigned long long)counters[i].late);
    }
    if (fclose(out)) die(path, "cannot be written");
}

static bool all_running(void)
{
    for (uint32_t i = 0; i < n_sources; i++)
        if (!sources[i].running) return false;
    for (uint32_t i = 0; i < n_counters; i++)
        if (!counters[i].running) return false;
    return true;
}

/* When the sources have ended and nothing has come for a while, all is counted. */
static bool all_counted(void)
{
    bool over = true;
    for (uint32_t i = 0; i < n_sources; i++)
        over &= sources[i].done;
    return over && took++ > 100;
}

static int step(struct tide_worker *w, const char *out)
{
    int rc = tide_worker_wait(w, all_running() ? 0 : 1000);
    if (rc || !all_running()) return rc;
    for (uint32_t i = 0; i < n_sources; i++)
        if (!sources[i].done) produce(&sources[i]);
    for (uint32_t i = 0; all_running() && i < n_sources; i++)
        for (uint32_t c = 0; c < 2 * n_counters; c++)
            move(&sources[i], c % n_counters, c / n_counters);
    for (uint32_t i = 0; all_running() && i < n_counters; i++)
        work(&counters[i]);
    if (all_running() && !counters[0].done && all_counted()) {
        tell(out);
        for (uint32_t i = 0; i < n_counters; i++) {
            counters[i].done = true;
            must(tide_task_finished(counters[i].task), "finished", NULL);
        }
    }
    usleep(stop ? 100 : 500);
    return 0;
}

int main(int argc, char **argv)
{
    struct tide_spec *spec;
    struct tide_worker *worker;
    char why[256];
    if (argc < 8) die("usage", "flows JOB SOURCES COUNTERS VERSION ADDRESS OUT STOP [FROM]");
    n_sources = (uint32_t)atoi(argv[2]);
    n_counters = (uint32_t)atoi(argv[3]);
    version = (uint32_t)atoi(argv[4]);
    stop = (uint32_t)atoi(argv[7]);
    if (n_sources > TASKS_MAX || n_counters > TASKS_MAX) die("usage", "too many tasks");
    if (tide_spec_new(argv[1], &spec)) return 1;
    tide_spec_operator(spec, "source", n_sources, 0);
    tide_spec_operator(spec, "counter", n_counters, 0);
    tide_spec_edge(spec, "source", "counter", TIDE_ALL_TO_ALL);
    if (argv[8]) tide_spec_restore_from(spec, argv[8], false);
    tide_spec_checkpointing(spec,
                            &(struct tide_checkpointing){.interval_ms = 100,
                                                         .lease_ms = 1500,
                                                         .heartbeat_ms = 500,
                                                         .grace_ms = 1000,
                                                         .alignment = TIDE_BARRIERS_UNALIGNED});
    struct tide_worker_config config = {.spec = spec, .name = "all", .address = argv[5]};
    if (tide_worker_new(&config, &worker, why)) die("worker", why);
    tide_spec_free(spec);
    add_sources(worker);
    add_counters(worker);
    int rc = 0;
    while (rc == 0)
        rc = step(worker, argv[6]);
    if (rc != TIDE_EENDED) fprintf(stderr, "flows: %s\n", tide_worker_error(worker));
    for (uint32_t i = 0; i < n_sources; i++)
        tide_states_free(sources[i].states);
    for (uint32_t i = 0; i < n_counters; i++)
        tide_states_free(counters[i].states);
    tide_worker_free(worker);
    return rc == TIDE_EENDED ? 0 : 1;
}
