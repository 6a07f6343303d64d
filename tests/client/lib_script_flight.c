/* The queues of a script whose first word is `flight`: b's two inputs, and an output of each task.
 * Barriers and records come into them as the script says, and are taken when it says so; the
 * library may put a barrier ahead. */
#include <stdio.h>
#include <xxhash.h>

#include "proto/barrier.h"
#include "tests/client/lib_script_impl.h"

#define QUEUE_MAX 16u
#define LANE_MAX 256u

struct item {
    bool barrier;
    char text[32];
    uint8_t bytes[TIDE_BARRIER_SIZE];
};

struct queue {
    struct item items[QUEUE_MAX];
    size_t n;
};

static struct queue inputs[2], outputs[2]; /* of b; of a and b */

void script_flight_begin(void)
{
    memset(inputs, 0, sizeof inputs);
    memset(outputs, 0, sizeof outputs);
}

static unsigned index_of(const struct tide_task *t)
{
    return t == script.task[1];
}

static struct item *add(struct queue *q)
{
    ck_assert_uint_lt(q->n, QUEUE_MAX);
    q->items[q->n] = (struct item){.barrier = false};
    return &q->items[q->n++];
}

static struct item shift(struct queue *q, size_t at)
{
    struct item first = q->items[at];
    memmove(&q->items[at], &q->items[at + 1], (q->n - at - 1) * sizeof *q->items);
    q->n--;
    return first;
}

static size_t first_barrier(const struct queue *q)
{
    size_t at = 0;
    while (at < q->n && !q->items[at].barrier)
        at++;
    return at;
}

static void make_barrier(uint8_t *bytes, const char *round, const char *flag)
{
    struct tide_barrier b = {.round = script_number(round, 0),
                             .job_check = tide_job_check((const uint8_t *)ID)};
    if (strcmp(flag, "unaligned") == 0) b.flags = TIDE_BARRIER_UNALIGNED;
    if (strcmp(flag, "counted") == 0) b.flags = TIDE_BARRIER_COUNTED;
    if (strcmp(flag, "cancel") == 0) b.flags = TIDE_BARRIER_CANCEL;
    tide_barrier_encode(&b, bytes);
}

/* The first barrier of a queue is told of. */
static void tell(uint32_t channel)
{
    const struct queue *q = &inputs[channel];
    size_t at = first_barrier(q);
    if (at == q->n) return;
    uint8_t bytes[TIDE_BARRIER_SIZE];
    memcpy(bytes, q->items[at].bytes, sizeof bytes);
    int rc = tide_task_announce(script.task[1], channel, bytes);
    if (rc) script_note("announce %d", rc);
}

static void pass(struct tide_task *t, enum tide_flight kind, uint32_t channel,
                 const struct queue *q, size_t until)
{
    for (size_t i = 0; i < until; i++) {
        if (q->items[i].barrier) continue;
        int rc = tide_task_in_flight(t, kind, channel, q->items[i].text, strlen(q->items[i].text));
        if (rc) script_note("in flight %d", rc);
    }
}

/* ---- what the library asks for */

void script_flight_input(struct tide_task *t, uint32_t channel, void *user)
{
    struct queue *q = &inputs[channel];
    size_t at = first_barrier(q);
    (void)user;
    script_note("%s overtake input %u", script_name_of(t), channel);
    if (at == q->n) return;
    pass(t, TIDE_FLIGHT_INPUT, channel, q, at);
    struct item barrier = shift(q, at);
    (void)tide_task_barrier(t, channel, barrier.bytes);
    tell(channel);
}

/* A barrier that waits has its place behind all records; one that is put ahead is gone. */
void script_flight_output(struct tide_task *t, const uint8_t barrier[TIDE_BARRIER_SIZE],
                          bool queued, void *user)
{
    struct queue *q = &outputs[index_of(t)];
    (void)user;
    script_note("%s overtake output%s%s %u", script_name_of(t), queued ? " queued" : "",
                barrier[8] & 1 ? " unaligned" : "", barrier[0]);
    pass(t, TIDE_FLIGHT_OUTPUT, 0, q, q->n);
}

static int read_flight(const struct tide_task *t, const struct tide_restore *r,
                       const struct tide_state *s)
{
    struct tide_state_reader *reader;
    const void *record;
    size_t n;
    int rc = tide_state_open(r, s, &reader);
    if (rc) return rc;
    while (!(rc = tide_state_next(reader, &record, &n)) && record)
        script_note("%s in flight %s %u: %.*s", script_name_of(t),
                    s->flight == TIDE_FLIGHT_INPUT ? "in" : "out", s->channel, (int)n,
                    (const char *)record);
    tide_state_close(reader);
    return rc;
}

int script_flight_restore(struct tide_task *t, const struct tide_restore *r)
{
    for (uint32_t i = 0; i < r->n_in_flight; i++) {
        int rc = read_flight(t, r, &r->in_flight[i]);
        if (rc) return rc;
    }
    return 0;
}

/* ---- what the daemon hears and says */

void script_flight_ack(const struct tide_ack_view *v, char *to, size_t size)
{
    struct tide_artifact_place place = {0};
    struct tide_artifact_view a;
    size_t n = 0;
    if (v->unaligned) n += (size_t)snprintf(to + n, size - n, " unaligned");
    if (v->processed_bytes)
        n += (size_t)snprintf(to + n, size - n, " processed %u", (unsigned)v->processed_bytes);
    while (tide_acks_artifact(v, &place, &a)) {
        if (!a.flight) continue;
        n +=
            (size_t)snprintf(to + n, size - n, " %s %u [", a.flight == 1 ? "in" : "out", a.channel);
        ck_assert(a.is_inline);
        for (size_t at = 0; at + 8 <= a.inlined.len;) {
            size_t len = tide_get_u32(a.inlined.data + at);
            n += (size_t)snprintf(to + n, size - n, "%s%.*s", at ? " " : "", (int)len,
                                  (const char *)a.inlined.data + at + 8);
            at += 8 + len;
        }
        n += (size_t)snprintf(to + n, size - n, "]");
    }
    ck_assert_uint_lt(n, size);
}

/* fly ROUND aligned|counted|unaligned|timeout [TIMEOUT_MS [AGE_MS]]: a trigger. */
static void w_fly(char **arg)
{
    static const char *const modes[] = {"aligned", "counted", "unaligned", "timeout"};
    Tide__Trigger m = TIDE__TRIGGER__INIT;
    char where[100];
    unsigned mode = 0;
    while (mode < 4 && strcmp(modes[mode], arg[1]) != 0)
        mode++;
    m.round = script_number(arg[0], 0);
    m.attempt = 1;
    m.left_ms = 60000;
    m.kind = TIDE__ROUND_KIND__ROUND_CHECKPOINT;
    m.alignment = mode < 4 ? (Tide__Alignment)mode : (Tide__Alignment)script_number(arg[1], 9);
    m.aligned_timeout_ms = (uint32_t)script_number(arg[2], 0);
    m.age_ms = (uint32_t)script_number(arg[3], 0);
    snprintf(where, sizeof where, "%s/r%llu", script.dir, (unsigned long long)m.round);
    m.directory = pb_text(where);
    script_say(TIDE__TO_WORKER__MSG_TRIGGER, &m);
}

static void w_turn(char **arg) /* turn ROUND [ATTEMPT] */
{
    Tide__TurnUnaligned m = TIDE__TURN_UNALIGNED__INIT;
    m.round = script_number(arg[0], 0);
    m.attempt = script_number(arg[1], 1);
    script_say(TIDE__TO_WORKER__MSG_TURN_UNALIGNED, &m);
}

/* flown in|out CHANNEL TEXT [cut|short|flags|digest]: the next Start has this record for b, or
 * what is left of it. */
static void w_flown(char **arg)
{
    static uint8_t lanes[3][LANE_MAX];
    static size_t used;
    uint8_t *lane = lanes[used++ % 3];
    Tide__Artifact a;
    tide__artifact__init(&a);
    size_t len = strlen(arg[2]), n = 8 + len;
    memset(lane, 0, LANE_MAX);
    tide_set_u32(lane, (uint32_t)len);
    memcpy(lane + 8, arg[2], len);
    if (strcmp(arg[3], "cut") == 0) n -= 1;
    if (strcmp(arg[3], "short") == 0) n = 5;
    if (strcmp(arg[3], "flags") == 0) lane[4] = 1;
    XXH128_hash_t h = XXH3_128bits(lane, n);
    a.flight = arg[0][0] == 'i' ? TIDE__FLIGHT__FLIGHT_INPUT : TIDE__FLIGHT__FLIGHT_OUTPUT;
    a.channel = (uint32_t)script_number(arg[1], 0);
    a.size = n;
    a.digest_low = h.low64 ^ (strcmp(arg[3], "digest") == 0);
    a.digest_high = h.high64;
    a.place_case = TIDE__ARTIFACT__PLACE_INLINE;
    a.inline_ = (ProtobufCBinaryData){n, lane};
    script_start_add(&a);
}

/* ---- words of the program */

static void w_put(char **arg) /* put CHANNEL TEXT: a record comes into b's queue */
{
    snprintf(add(&inputs[script_number(arg[0], 0)])->text, 32, "%s", arg[1]);
}

static void w_come(char **arg) /* come CHANNEL ROUND [FLAG]: a barrier does */
{
    uint32_t channel = (uint32_t)script_number(arg[0], 0);
    struct queue *q = &inputs[channel];
    bool first = first_barrier(q) == q->n;
    struct item *i = add(q);
    i->barrier = true;
    make_barrier(i->bytes, arg[1], arg[2]);
    if (first) tell(channel);
}

static void w_take(char **arg) /* take CHANNEL: what is first there is processed */
{
    uint32_t channel = (uint32_t)script_number(arg[0], 0);
    ck_assert_uint_gt(inputs[channel].n, 0);
    struct item i = shift(&inputs[channel], 0);
    if (i.barrier) {
        int rc = tide_task_barrier(script.task[1], channel, i.bytes);
        if (rc) script_note("barrier %d", rc);
        tell(channel);
        return;
    }
    int rc = tide_task_record(script.task[1], channel, i.text, strlen(i.text));
    script_note("b takes %s%s", i.text, rc ? ", and that fails" : "");
}

static void w_queue(char **arg) /* queue TASK TEXT: a record waits in its output */
{
    snprintf(add(&outputs[arg[0][0] == 'b'])->text, 32, "%s", arg[1]);
}

static void w_sent(char **arg) /* sent TASK ROUND: its barrier has left an output */
{
    uint8_t bytes[TIDE_BARRIER_SIZE];
    make_barrier(bytes, arg[1], "");
    int rc = tide_task_sent(script.task[arg[0][0] == 'b'], bytes);
    if (rc) script_note("sent %d", rc);
}

const struct word flight_words[] = {
    {"fly", w_fly},   {"turn", w_turn},   {"flown", w_flown}, {"put", w_put}, {"come", w_come},
    {"take", w_take}, {"queue", w_queue}, {"sent", w_sent},   {NULL, NULL},
};
