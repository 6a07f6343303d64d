/* bench_acks - what an ack costs the coordinator's core, without sockets and without a store.
 *
 *   bench_acks [TASKS [ACKS-PER-FRAME [ROUNDS]]]      (default: 1000000 1000 20)
 *
 * One job on one worker goes through rounds; what the core asks is answered at once. Three orders
 * of the tasks in their frames: as they are numbered, every other one first (no run, still rising),
 * and shuffled. Printed: CPU time per ack, median over the rounds, of the whole step from a frame
 * to a counted batch, and of tide_acks_open() alone. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/core/core.h"
#include "proto/ack.h"
#include "proto/frame.h"
#include "proto/worker.pb-c.h"

enum { ROUNDS_MAX = 1000, QUESTIONS = 64, SESSION = 1 };
enum order { AS_NUMBERED, EVERY_OTHER, SHUFFLED, ORDERS };
static const char *const order_name[ORDERS] = {"as numbered", "every other", "shuffled"};

struct question {
    enum event_type answer;
    uint64_t tag;
};

static struct core *core;
static struct actions todo;
static uint64_t now_us = 1000000000, attempt, round_number, completed;
static struct question questions[QUESTIONS];
static size_t n_questions;

static void die(const char *what)
{
    fprintf(stderr, "bench_acks: %s\n", what);
    exit(1);
}

static double cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* ---- a host that answers everything at once */

static void ask(enum event_type answer, uint64_t tag)
{
    if (n_questions == QUESTIONS) die("the core asks more than it should");
    questions[n_questions++] = (struct question){answer, tag};
}

static void hear(const struct blob *blob)
{
    struct tide_bytes in = {blob->data, blob->len}, frame;
    struct tide_decoder d;
    tide_decoder_init(&d, TIDE_FRAME_MAX);
    while (tide_decoder_next(&d, &in, &frame) == TIDE_FRAME_READY) {
        Tide__ToWorker *m = tide__to_worker__unpack(NULL, frame.len, frame.data);
        if (!m || m->msg_case == TIDE__TO_WORKER__MSG_REFUSED) die("the worker was refused");
        if (m->msg_case == TIDE__TO_WORKER__MSG_START) {
            Tide__Start *s = tide__start__unpack(NULL, m->start->data.len, m->start->data.data);
            if (!s) die("a Start that cannot be read");
            attempt = s->token->attempt;
            tide__start__free_unpacked(s, NULL);
        }
        if (m->msg_case == TIDE__TO_WORKER__MSG_TRIGGER) round_number = m->trigger->round;
        if (m->msg_case == TIDE__TO_WORKER__MSG_COMPLETE) completed = m->complete->round;
        tide__to_worker__free_unpacked(m, NULL);
    }
    tide_decoder_release(&d);
}

static void step(struct event ev)
{
    ev.now_us = now_us;
    ev.wall_us = UINT64_C(1700000000000000) + now_us;
    core_step(core, &ev, &todo);
    for (size_t i = 0; i < todo.n; i++) {
        const struct action *a = &todo.items[i];
        if (a->type == ACT_SEND) hear(a->blob);
        if (a->type == ACT_SEND && a->tell) ask(EV_SENT, a->tag);
        if (a->type == ACT_COMMIT && a->commit->awaited) ask(EV_STORED, a->commit->tag);
        if (a->type == ACT_FILE) ask(EV_FILE, a->tag);
        if (a->type == ACT_STOP) die(a->text);
    }
    actions_clear(&todo);
}

static void settle(void)
{
    while (n_questions) {
        struct question q = questions[0];
        memmove(questions, questions + 1, --n_questions * sizeof *questions);
        step((struct event){.type = q.answer, .tag = q.tag, .outcome = TIDE_STORED});
    }
}

static void feed(const struct tide_buf *frames)
{
    struct tide_bytes in = {frames->data, frames->len}, frame;
    struct tide_decoder d;
    if (frames->rc) die("a frame could not be made");
    tide_decoder_init(&d, TIDE_FRAME_MAX);
    while (tide_decoder_next(&d, &in, &frame) == TIDE_FRAME_READY)
        step((struct event){.type = EV_FRAME, .session = SESSION, .bytes = frame});
    tide_decoder_release(&d);
}

/* ---- a job that runs */

static ProtobufCBinaryData text(const char *s)
{
    return (ProtobufCBinaryData){.len = strlen(s), .data = (uint8_t *)(uintptr_t)s};
}

static void join(uint32_t tasks)
{
    Tide__Operator op = TIDE__OPERATOR__INIT, *ops[] = {&op};
    Tide__Checkpointing rules = TIDE__CHECKPOINTING__INIT;
    Tide__JobSpec spec = TIDE__JOB_SPEC__INIT;
    Tide__TaskRange range = TIDE__TASK_RANGE__INIT, *ranges[] = {&range};
    Tide__Join m = TIDE__JOIN__INIT;
    uint8_t packed[1024];
    struct tide_buf out;
    op.uid = text("task");
    op.parallelism = tasks;
    rules.interval_ms = 50; /* no lease ends meanwhile */
    rules.lease_ms = 300000;
    spec.name = m.job = text("bench");
    spec.operators = ops;
    spec.n_operators = 1;
    spec.checkpointing = &rules;
    range.count = tasks;
    m.what_case = TIDE__JOIN__WHAT_SPEC;
    m.spec = &spec;
    m.worker = text("worker");
    m.endpoint = text("127.0.0.1:1");
    m.tasks = ranges;
    m.n_tasks = 1;
    size_t len = tide__join__pack(&m, packed);
    tide_buf_init(&out, TIDE_FRAME_MAX);
    tide_parts_put(&out, TIDE_PART_JOIN, (struct tide_bytes){packed, len});
    feed(&out);
    tide_buf_release(&out);
}

static void restored(uint32_t tasks)
{
    Tide__TaskRange range = TIDE__TASK_RANGE__INIT, *ranges[] = {&range};
    Tide__Restored m = TIDE__RESTORED__INIT;
    Tide__FromWorker message = TIDE__FROM_WORKER__INIT;
    struct tide_buf out;
    range.count = tasks;
    m.attempt = attempt;
    m.tasks = ranges;
    m.n_tasks = 1;
    message.msg_case = TIDE__FROM_WORKER__MSG_RESTORED;
    message.restored = &m;
    tide_buf_init(&out, TIDE_FRAME_MAX);
    tide_frame_put(&out, &message.base);
    feed(&out);
    tide_buf_release(&out);
}

static void start(uint32_t tasks)
{
    static const struct core_config config = {.state_root = "/state",
                                              .store_timeout_us = 30000000,
                                              .jobs_max = 1,
                                              .workers_max = 1,
                                              .software = "bench"};
    struct tide_catalog_incarnation incarnation = {1000, 77};
    struct tide_catalog catalog = {
        .incarnation = 1000, .nonce = 77, .incarnations = &incarnation, .n_incarnations = 1};
    memset(catalog.store_id.b, 5, sizeof catalog.store_id.b);
    actions_init(&todo);
    core = core_new(&config, &catalog, 1);
    step((struct event){.type = EV_START});
    settle();
    step((struct event){.type = EV_OPEN,
                        .session = SESSION,
                        .peer = {TIDE__PEER_KIND__PEER_WORKER, TIDE_PROTOCOL_MAX}});
    join(tasks);
    settle();
    if (!attempt) die("the job does not start");
    restored(tasks);
    settle();
}

static void begin_round(void)
{
    uint64_t before = round_number;
    for (int i = 0; i < 10 && round_number == before; i++) {
        uint64_t at = core_deadline(core);
        if (at > now_us && at != UINT64_MAX) now_us = at;
        step((struct event){.type = EV_TIMER});
    }
    if (round_number == before) die("no round begins");
}

/* ---- acks */

static void arrange(uint32_t *order, uint32_t tasks, enum order how)
{
    uint64_t random = 1;
    for (uint32_t i = 0; i < tasks; i++)
        order[i] = how != EVERY_OTHER    ? i
                   : i < (tasks + 1) / 2 ? 2 * i
                                         : 2 * (i - (tasks + 1) / 2) + 1;
    for (uint32_t i = tasks; how == SHUFFLED && i > 1; i--) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint32_t k = (uint32_t)((random >> 33) % i), moved = order[k];
        order[k] = order[i - 1];
        order[i - 1] = moved;
    }
}

static void encode(struct tide_buf *out, const uint32_t *order, uint32_t tasks, uint32_t batch)
{
    struct tide_ack_builder builder;
    uint64_t random = 7;
    tide_ack_builder_init(&builder, TIDE_FRAME_MAX);
    tide_buf_clear(out);
    for (uint32_t i = 0; i < tasks; i++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint32_t r = (uint32_t)(random >> 32);
        struct tide_ack_file file = {100000 + r % 3000000, random, random ^ (random << 21)};
        tide_ack_builder_add(&builder, order[i], 200 + r % 3000, 300 + r % 9000, 5000 + r % 40000,
                             &file, 1);
        if (builder.entries < batch && i + 1 < tasks) continue;
        tide_ack_builder_put_frame(&builder, attempt, round_number, out);
        tide_ack_builder_clear(&builder);
    }
    tide_ack_builder_release(&builder);
}

static double open_all(const struct tide_buf *frames)
{
    struct tide_bytes in = {frames->data, frames->len}, frame, content;
    struct tide_decoder d;
    struct tide_acks acks;
    char why[160];
    double from = cpu_ns();
    tide_decoder_init(&d, TIDE_FRAME_MAX);
    while (tide_decoder_next(&d, &in, &frame) == TIDE_FRAME_READY)
        if (!tide_frame_peek(frame, &content) || tide_acks_open(&acks, content, why)) die(why);
    tide_decoder_release(&d);
    return cpu_ns() - from;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(enum order how, uint32_t tasks, uint32_t batch, uint32_t rounds)
{
    double whole[ROUNDS_MAX], opening[ROUNDS_MAX];
    uint32_t *order = malloc(tasks * sizeof *order);
    struct tide_buf frames;
    if (!order) die("out of memory");
    tide_buf_init(&frames, SIZE_MAX / 2);
    arrange(order, tasks, how);
    for (uint32_t i = 0; i < rounds; i++) {
        begin_round();
        encode(&frames, order, tasks, batch);
        opening[i] = open_all(&frames) / tasks;
        double from = cpu_ns();
        feed(&frames);
        whole[i] = (cpu_ns() - from) / tasks;
        settle();
        if (completed != round_number) die("a round is not complete");
    }
    qsort(whole, rounds, sizeof *whole, ascending);
    qsort(opening, rounds, sizeof *opening, ascending);
    printf("%-12s %7.2f ns an ack, opening alone %7.2f ns, %zu bytes an ack\n", order_name[how],
           whole[rounds / 2], opening[rounds / 2], frames.len / tasks);
    tide_buf_release(&frames);
    free(order);
}

static uint32_t number(const char *from, uint32_t max)
{
    char *end;
    unsigned long v = strtoul(from, &end, 10);
    if (end == from || *end || v == 0 || v > max)
        die("usage: bench_acks [TASKS [ACKS-PER-FRAME [ROUNDS]]]");
    return (uint32_t)v;
}

int main(int argc, char **argv)
{
    uint32_t tasks = argc > 1 ? number(argv[1], 1u << 20) : 1000000;
    uint32_t batch = argc > 2 ? number(argv[2], 100000) : 1000;
    uint32_t rounds = argc > 3 ? number(argv[3], ROUNDS_MAX) : 20;
    start(tasks);
    for (enum order how = 0; how < ORDERS; how++)
        measure(how, tasks, batch, rounds);
    core_free(core);
    actions_release(&todo);
    return 0;
}
