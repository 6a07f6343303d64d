/* worker OPTION=VALUE...: one task of a job that counts numbers, for the cells of
 * docs/capabilities.md; lib.py has the options and says what must come out.
 *
 *     source (n) ==> [relay (n) ==>] counter (n)     [audit (n)]          ==>: every one to every
 * one
 *
 * Its records have a key and a number, and, from version 2 on, a tag; in unaligned rounds those in
 * flight are kept as a flow of libtidemark-state.
 *
 * Eight streams, dealt out to the sources as a split list, hold the numbers below `end`, each once.
 * A number goes to the counter that owns its key, which keeps how many there were and their sum, as
 * keyed state of libtidemark-state. So whoever can count to `end` knows what the counters must have
 * when all is done, whatever was killed, restored, widened, moved or dealt out anew in between: a
 * record that is lost or comes twice shows in a sum. The channels are those of the word count. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tidemark-state.h>
#include <unistd.h>

#include "channels.h"
#include "wordcount.h"

#define STREAMS 8u
#define KEYS 499u
#define FRAMES_PER_TURN 32
#define TASKS_MAX 16u

struct task {
    const char *job, *address, *uid, *out, *from, *backend, *own;
    uint32_t index, sources, relays, audits, counters, max_parallelism, version, barriers;
    uint64_t end, slow_us;
    uint32_t reverse; /* 1: another program, whose sources go through their streams from the last */
    uint32_t drop;    /* 1: state of operators that the job has not is dropped */
    /* ---- */
    bool source, relay, audit;
    uint32_t inputs, outputs;
    const char *output_uid;
    struct tide_states *states;
    struct tide_named *streams, *count, *seen;
    struct tide_flow *comes,
        *goes; /* NULL: the barriers are aligned, or there are no such channels */
    struct channels *channels;
    struct tide_worker *tide;
    struct tide_task *task;
    uint64_t next[STREAMS]; /* of the streams that are this source's: the number to come; 0: not */
    bool no_more[TASKS_MAX];
    uint32_t inputs_with_data;
    bool running, finished, told, ended;
};

static void must(struct task *t, int rc, const char *what)
{
    if (rc) die("%s: %s: %s", what, tide_strerror(rc), tide_states_error(t->states));
}

/* ---- what is counted. Version 1 keeps 4 bytes of count and 8 of sum; version 2 has 8, 8, and a
 * mark that the first did not know, 7 unless told otherwise. */

struct counted {
    uint64_t n, sum;
    uint32_t mark;
};

static size_t pack(const struct task *t, const struct counted *c, uint8_t out[20])
{
    if (t->version == 1) {
        put_u32(out, (uint32_t)c->n);
        put_u64(out + 4, c->sum);
        return 12;
    }
    put_u64(out, c->n);
    put_u64(out + 8, c->sum);
    put_u32(out + 16, c->mark);
    return 20;
}

static int migrate(uint32_t version, const void *value, size_t len, void **ret_value,
                   size_t *ret_len, void *user)
{
    const uint8_t *p = value;
    uint8_t *wide = malloc(20);
    (void)user;
    if (!wide || version != 1 || len != 12) return free(wide), TIDE_ECORRUPT;
    put_u64(wide, get_u32(p));
    put_u64(wide + 8, get_u64(p + 4));
    put_u32(wide + 16, 7);
    *ret_value = wide;
    *ret_len = 20;
    return 0;
}

static void declare(struct task *t)
{
    /* version 3 is of a program that knows neither of the others */
    struct tide_schema schema = {
        .id = "counted", .version = t->version, .migrate = t->version == 2 ? migrate : NULL};
    if (t->relay || t->audit)
        must(t, tide_states_declare(t->states, "seen", TIDE_SPLIT, NULL, &t->seen), "seen");
    else if (t->source)
        must(t, tide_states_declare(t->states, "streams", TIDE_SPLIT, NULL, &t->streams),
             "streams");
    else
        must(t, tide_states_declare(t->states, "count", TIDE_VALUE, &schema, &t->count), "count");
}

static struct counted get(struct task *t, const uint8_t key[8])
{
    struct counted c = {0, 0, 7};
    const void *data = NULL;
    size_t len = 0;
    int rc = tide_value_get(t->count, key, 8, &data, &len);
    if (rc == TIDE_ENOTFOUND) return c;
    must(t, rc, "a count");
    const uint8_t *p = data;
    if (len != (t->version == 1 ? 12u : 20u)) die("a count of %zu bytes", len);
    c.n = t->version == 1 ? get_u32(p) : get_u64(p);
    c.sum = get_u64(p + (t->version == 1 ? 4 : 8));
    if (t->version != 1) c.mark = get_u32(p + 16);
    return c;
}

static void key_of(uint64_t number, uint8_t key[8])
{
    tide_states_key_of_int((int64_t)(number * 2654435761u % KEYS), key);
}

static void count(struct task *t, uint64_t number)
{
    uint8_t key[8], value[20];
    key_of(number, key);
    struct counted c = get(t, key);
    c.n++;
    c.sum += number;
    must(t, tide_value_put(t->count, key, 8, value, pack(t, &c, value)), "count");
    if (t->slow_us) usleep((unsigned)t->slow_us);
}

static int tell_key(const void *key, size_t len, void *user)
{
    struct task *t = user;
    struct counted c = get(t, key);
    (void)len;
    FILE *f = fopen(t->out, "a");
    if (!f) die("%s cannot be written", t->out);
    fprintf(f, "%llu %llu %llu %u\n", (unsigned long long)get_u64(key), (unsigned long long)c.n,
            (unsigned long long)c.sum, c.mark);
    return fclose(f) ? TIDE_EIO : 0;
}

/* ---- records: 8 bytes of key, 8 of number, and in version 2 a tag of 4 */

#define TAG 11u

static uint32_t record_size(const struct task *t)
{
    return t->version == 1 ? 16 : 20;
}

static int record_key(const void *record, size_t len, const void **ret_key, size_t *ret_len,
                      void *user)
{
    (void)user;
    if (len < 16) return TIDE_ECORRUPT;
    *ret_key = record;
    *ret_len = 8;
    return 0;
}

static int migrate_record(uint32_t version, const void *value, size_t len, void **ret_value,
                          size_t *ret_len, void *user)
{
    uint8_t *wide = malloc(20);
    (void)user;
    if (!wide || version != 1 || len != 16) return free(wide), TIDE_ECORRUPT;
    memcpy(wide, value, 16);
    put_u32(wide + 16, TAG);
    *ret_value = wide;
    *ret_len = 20;
    return 0;
}

/* Records come to a counter by their keys, to a relay in any way. */
static void declare_flow(struct task *t, const char *name, bool output, struct tide_flow **ret)
{
    const bool keyed = output ? strcmp(t->output_uid, "counter") == 0 : !t->relay;
    struct tide_schema schema = {
        .id = "record", .version = t->version, .migrate = t->version == 2 ? migrate_record : NULL};
    struct tide_flow_config c = {.direction = output ? TIDE_FLIGHT_OUTPUT : TIDE_FLIGHT_INPUT,
                                 .route = keyed ? TIDE_FLOW_KEYED : TIDE_FLOW_SPLIT,
                                 .channels = output ? t->outputs : t->inputs,
                                 .key = keyed ? record_key : NULL,
                                 .max_parallelism = output && keyed ? t->max_parallelism : 0,
                                 .schema = &schema};
    must(t, tide_states_flow(t->states, name, &c, ret), name);
}

static void put(struct task *t, uint32_t to, const void *record)
{
    memcpy(channels_put_begin(t->channels, to, record_size(t)), record, record_size(t));
    channels_put_commit(t->channels, to, FRAME_DATA, record_size(t));
}

static uint32_t counter_of(const struct task *t, const uint8_t *record)
{
    return tide_key_group_owner(tide_states_key_group(record, 8, t->max_parallelism), t->counters,
                                t->max_parallelism);
}

static void take_record(struct task *t, const uint8_t *record, size_t len)
{
    if (len != record_size(t) || (len > 16 && get_u32(record + 16) != TAG))
        die("a record of %zu bytes", len);
    if (t->relay)
        put(t, counter_of(t, record), record);
    else
        count(t, get_u64(record + 8));
}

/* What was in flight when the snapshot was taken: first of all. */
static void take_flow(struct task *t)
{
    struct tide_flow_record record;
    int rc = TIDE_ENOTFOUND;
    while (t->goes && (rc = tide_flow_next(t->goes, &record)) == 0)
        put(t, record.channel, record.data);
    if (rc != TIDE_ENOTFOUND) must(t, rc, "what was in flight");
    while (t->comes && (rc = tide_flow_next(t->comes, &record)) == 0)
        take_record(t, record.data, record.len);
    if (rc != TIDE_ENOTFOUND) must(t, rc, "what was in flight");
}

/* ---- what a source puts out */

static void produce(struct task *t)
{
    bool left = false;
    for (uint32_t i = 0; i < STREAMS; i++) {
        const uint32_t s = t->reverse ? STREAMS - 1 - i : i;
        if (!t->next[s]) continue;
        uint64_t number = t->next[s] - 1;
        if (number >= t->end) continue;
        left = true;
        uint8_t record[20];
        key_of(number, record);
        put_u64(record + 8, number);
        put_u32(record + 16, TAG);
        uint32_t to = t->relays ? (uint32_t)(number % t->relays) : counter_of(t, record);
        if (channels_full(t->channels, to)) continue;
        put(t, to, record);
        t->next[s] += STREAMS;
    }
    if (left) return;
    channels_put_all(t->channels, FRAME_NO_MORE, NULL, 0);
    t->finished = true;
}

static void take_streams(struct task *t, bool afresh)
{
    memset(t->next, 0, sizeof t->next);
    for (uint32_t s = t->index; afresh && s < STREAMS; s += t->sources)
        t->next[s] = s + 1;
    uint64_t n = afresh ? 0 : tide_list_count(t->streams, NULL, 0);
    for (uint64_t i = 0; i < n; i++) {
        const void *data = NULL;
        size_t len = 0;
        must(t, tide_list_get(t->streams, NULL, 0, i, &data, &len), "streams");
        if (len != 8) die("a stream of %zu bytes", len);
        uint64_t next = get_u64(data);
        t->next[(next - 1) % STREAMS] = next;
    }
}

/* ---- what the library asks */

static int on_restore(struct tide_task *task, const struct tide_restore *r, void *user)
{
    struct task *t = user;
    channels_begin(t->channels, tide_worker_job_id(t->tide), r->attempt);
    memset(t->no_more, 0, sizeof t->no_more);
    t->inputs_with_data = t->inputs;
    t->running = t->finished = t->told = false;
    t->ended = r->ended;
    int rc = tide_states_restore(t->states, r);
    if (rc) {
        tide_task_fail_reason(task, tide_states_error(t->states));
        say("refused: %s", tide_states_error(t->states));
        return rc;
    }
    if (t->source) take_streams(t, r->snapshot == 0);
    say("attempt %llu begins with snapshot %llu", (unsigned long long)r->attempt,
        (unsigned long long)r->snapshot);
    return 0;
}

static void on_run(struct tide_task *task, void *user)
{
    struct task *t = user;
    const char *endpoint;
    (void)task;
    if (t->running) return;
    for (uint32_t i = 0; i < t->outputs; i++) {
        if (tide_worker_endpoint(t->tide, t->output_uid, i, &endpoint) ||
            channels_connect(t->channels, i, endpoint))
            die("no way to %s %u", t->output_uid, i);
    }
    t->running = true;
    take_flow(t);
    if (t->ended) channels_put_all(t->channels, FRAME_END, NULL, 0);
}

static void on_block(struct tide_task *task, uint32_t channel, bool blocked, void *user)
{
    (void)task;
    channels_block(((struct task *)user)->channels, channel, blocked);
}

static void on_forward(struct tide_task *task, const uint8_t barrier[TIDE_BARRIER_SIZE], void *user)
{
    struct task *t = user;
    (void)task;
    if (!t->ended) channels_put_all(t->channels, FRAME_BARRIER, barrier, TIDE_BARRIER_SIZE);
}

/* Frames other than those with records need not be kept: a source that has no more says so again.
 */
static void passed(struct task *t, enum tide_flight where, uint32_t channel, const uint8_t *frame,
                   uint32_t len)
{
    if (frame[4] == FRAME_DATA)
        (void)tide_task_in_flight(t->task, where, channel, frame + FRAME_HEAD, len - FRAME_HEAD);
}

static void passed_input(void *arg, uint32_t channel, const uint8_t *frame, uint32_t len)
{
    passed(arg, TIDE_FLIGHT_INPUT, channel, frame, len);
}

static void passed_output(void *arg, uint32_t channel, const uint8_t *frame, uint32_t len)
{
    passed(arg, TIDE_FLIGHT_OUTPUT, channel, frame, len);
}

static void on_overtake_input(struct tide_task *task, uint32_t channel, void *user)
{
    struct task *t = user;
    uint8_t barrier[TIDE_BARRIER_SIZE];
    if (channels_overtake_input(t->channels, channel, barrier, passed_input, t))
        (void)tide_task_barrier(task, channel, barrier);
}

static void on_overtake_output(struct tide_task *task, const uint8_t barrier[TIDE_BARRIER_SIZE],
                               bool queued, void *user)
{
    struct task *t = user;
    (void)task;
    for (uint32_t i = 0; i < t->outputs && !t->ended; i++)
        channels_overtake_output(t->channels, i, barrier, queued ? tide_same_round : NULL,
                                 passed_output, t);
}

static int on_snapshot(struct tide_task *task, struct tide_snapshot *snapshot, void *user)
{
    struct task *t = user;
    uint8_t next[8];
    (void)task;
    if (t->seen) must(t, tide_list_add(t->seen, NULL, 0, "round", 5), "seen");
    if (t->source) must(t, tide_list_clear(t->streams, NULL, 0), "streams");
    for (uint32_t s = 0; t->source && s < STREAMS; s++) {
        if (!t->next[s]) continue;
        put_u64(next, t->next[s]);
        must(t, tide_list_add(t->streams, NULL, 0, next, 8), "streams");
    }
    return tide_states_snapshot(t->states, snapshot);
}

static void on_ended(struct tide_task *task, void *user)
{
    struct task *t = user;
    (void)task;
    t->ended = true;
    channels_put_all(t->channels, FRAME_END, NULL, 0);
}

static void on_rewind(struct tide_task *task, const char *reason, void *user)
{
    struct task *t = user;
    (void)task;
    say("rewind: %s", reason);
    channels_drop(t->channels);
    t->running = false;
}

static void on_log(const char *text, void *user)
{
    (void)user;
    say("%s", text);
}

/* ---- the loop */

static void no_more(struct task *t, uint32_t channel)
{
    if (t->no_more[channel]) return;
    t->no_more[channel] = true;
    if (--t->inputs_with_data) return;
    t->finished = true;
    if (t->relay) channels_put_all(t->channels, FRAME_NO_MORE, NULL, 0);
    if (t->relay) return;
    (void)unlink(t->out);
    must(t, tide_keys_each(t->count, tell_key, t), "keys");
}

static void take(struct task *t, const struct frame *f)
{
    if (t->ended) return;
    if (f->type == FRAME_DATA) (void)tide_task_record(t->task, f->channel, f->body, f->len);
    switch (f->type) {
    case FRAME_DATA: take_record(t, f->body, f->len); return;
    case FRAME_BARRIER: (void)tide_task_barrier(t->task, f->channel, f->body); return;
    case FRAME_NO_MORE: no_more(t, f->channel); return;
    case FRAME_END:
        no_more(t, f->channel);
        (void)tide_task_channel_end(t->task, f->channel);
        return;
    default: die("an unknown frame came");
    }
}

/* How long it may sleep. */
static int work(struct task *t)
{
    struct frame f;
    if (!t->running) return 100;
    if (t->source && !t->finished && !t->ended) {
        for (int i = 0; i < (t->slow_us ? 1 : 16) && !t->finished; i++)
            produce(t);
        return 1;
    }
    for (int i = 0; i < FRAMES_PER_TURN && t->running; i++) {
        if (t->finished && !t->told && channels_empty(t->channels)) {
            t->told = true;
            (void)tide_task_finished(t->task);
        }
        if (channels_any_full(t->channels) && !t->ended) return 100;
        if (!channels_next(t->channels, &f)) return 100;
        take(t, &f);
    }
    return 0;
}

static void tell_barriers(struct task *t)
{
    uint8_t barrier[TIDE_BARRIER_SIZE];
    uint32_t channel;
    while (t->running && !t->ended && channels_barrier_came(t->channels, &channel, barrier))
        (void)tide_task_announce(t->task, channel, barrier);
    while (channels_barrier_left(t->channels, barrier))
        (void)tide_task_sent(t->task, barrier);
}

static int loop(struct task *t)
{
    int rc = 0;
    while (!rc) {
        int sleep_ms = work(t);
        bool read = t->running && t->finished == t->told;
        bool process = channels_wait(t->channels, tide_worker_fd(t->tide), read, sleep_ms);
        tell_barriers(t);
        if (process) rc = tide_worker_process(t->tide);
    }
    say("%s", tide_worker_error(t->tide));
    return rc == TIDE_EENDED ? 0 : 1;
}

/* ---- what it is */

static const char *value_of(const char *arg, const char *name)
{
    size_t n = strlen(name);
    return strncmp(arg, name, n) == 0 && arg[n] == '=' ? arg + n + 1 : NULL;
}

static void read_options(struct task *t, int argc, char **argv)
{
    struct {
        const char *name, **text;
        uint32_t *number;
        uint64_t *large;
    } const options[] = {{"job", &t->job, NULL, NULL},
                         {"address", &t->address, NULL, NULL},
                         {"uid", &t->uid, NULL, NULL},
                         {"out", &t->out, NULL, NULL},
                         {"from", &t->from, NULL, NULL},
                         {"backend", &t->backend, NULL, NULL},
                         {"own", &t->own, NULL, NULL},
                         {"index", NULL, &t->index, NULL},
                         {"relays", NULL, &t->relays, NULL},
                         {"audits", NULL, &t->audits, NULL},
                         {"drop", NULL, &t->drop, NULL},
                         {"reverse", NULL, &t->reverse, NULL},
                         {"sources", NULL, &t->sources, NULL},
                         {"counters", NULL, &t->counters, NULL},
                         {"max", NULL, &t->max_parallelism, NULL},
                         {"version", NULL, &t->version, NULL},
                         {"barriers", NULL, &t->barriers, NULL},
                         {"end", NULL, NULL, &t->end},
                         {"slow", NULL, NULL, &t->slow_us}};
    for (int i = 1; i < argc; i++) {
        bool known = false;
        for (size_t k = 0; k < sizeof options / sizeof *options; k++) {
            const char *value = value_of(argv[i], options[k].name);
            if (!value) continue;
            known = true;
            if (options[k].text) *options[k].text = value;
            if (options[k].number) *options[k].number = (uint32_t)strtoul(value, NULL, 10);
            if (options[k].large) *options[k].large = strtoull(value, NULL, 10);
        }
        if (!known) die("%s: unknown", argv[i]);
    }
    if (!t->uid || !t->out || t->sources > TASKS_MAX || t->counters > TASKS_MAX)
        die("uid, out, sources and counters are needed");
    t->source = strcmp(t->uid, "source") == 0;
    t->relay = strcmp(t->uid, "relay") == 0;
    t->output_uid = t->source && t->relays ? "relay" : "counter";
    t->audit = strcmp(t->uid, "audit") == 0;
    t->inputs = t->source || t->audit ? 0 : t->relays && !t->relay ? t->relays : t->sources;
    t->outputs = t->source && t->relays ? t->relays : t->source || t->relay ? t->counters : 0;
}

static struct tide_spec *describe(const struct task *t)
{
    struct tide_spec *spec;
    if (tide_spec_new(t->job, &spec)) die("no memory");
    (void)tide_spec_operator(spec, "source", t->sources, t->max_parallelism);
    (void)tide_spec_operator(spec, "counter", t->counters, t->max_parallelism);
    if (t->audits) (void)tide_spec_operator(spec, "audit", t->audits, t->max_parallelism);
    if (t->relays) (void)tide_spec_operator(spec, "relay", t->relays, t->max_parallelism);
    if (t->relays) (void)tide_spec_edge(spec, "relay", "counter", TIDE_ALL_TO_ALL);
    (void)tide_spec_edge(spec, "source", t->relays ? "relay" : "counter", TIDE_ALL_TO_ALL);
    (void)tide_spec_checkpointing(spec, &(struct tide_checkpointing){.interval_ms = 3600000,
                                                                     .deadline_ms = 30000,
                                                                     .lease_ms = 1500,
                                                                     .heartbeat_ms = 500,
                                                                     .grace_ms = 1000,
                                                                     .alignment = t->barriers});
    if (t->from) (void)tide_spec_restore_from(spec, t->from, t->drop);
    return spec;
}

int main(int argc, char **argv)
{
    static const struct tide_callbacks callbacks = {.restore = on_restore,
                                                    .run = on_run,
                                                    .block = on_block,
                                                    .forward = on_forward,
                                                    .snapshot = on_snapshot,
                                                    .ended = on_ended,
                                                    .rewind = on_rewind,
                                                    .overtake_input = on_overtake_input,
                                                    .overtake_output = on_overtake_output};
    struct task t = {.job = "job", .version = 1, .end = 20000, .max_parallelism = 128};
    char why[256] = "", name[64];
    read_options(&t, argc, argv);
    snprintf(name, sizeof name, "%s-%u", t.uid, t.index);
    say_who(name);
    if (channels_new("127.0.0.1", t.index, t.inputs, t.outputs, &t.channels))
        die("cannot listen: %s", strerror(errno));
    channels_room(t.channels, t.slow_us ? 1024 : 65536);
    if (t.barriers == TIDE_BARRIERS_UNALIGNED) channels_go_ahead(t.channels);
    const uint32_t own = t.source  ? t.sources
                         : t.relay ? t.relays
                         : t.audit ? t.audits
                                   : t.counters;
    if (tide_states_new(&(struct tide_states_config){.uid = t.uid,
                                                     .subtask = t.index,
                                                     .parallelism = own,
                                                     .max_parallelism = t.max_parallelism,
                                                     .backend = t.backend,
                                                     .directory = t.own},
                        &t.states, why))
        die("states: %s", why);
    declare(&t);
    const bool ahead = t.barriers == TIDE_BARRIERS_UNALIGNED;
    if (ahead && t.outputs) declare_flow(&t, "out", true, &t.goes);
    if (ahead && t.inputs) declare_flow(&t, "in", false, &t.comes);
    struct tide_spec *spec = describe(&t);
    struct tide_worker_config config = {.spec = spec,
                                        .name = name,
                                        .address = t.address,
                                        .endpoint = channels_endpoint(t.channels),
                                        .log = on_log};
    if (tide_worker_new(&config, &t.tide, why)) die("%s", why);
    tide_spec_free(spec);
    if (tide_worker_add_task(t.tide, t.uid, t.index, t.inputs, &callbacks, &t, &t.task))
        die("cannot host %s", name);
    if (ahead && !t.audit) must(&t, tide_states_keep_flights(t.states, t.task), "flights");
    int code = loop(&t);
    tide_states_free(t.states);
    tide_worker_free(t.tide);
    channels_free(t.channels);
    return code;
}
