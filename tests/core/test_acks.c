/* Promises about batches of acks: the first ack of a task counts, whichever form and wherever it
 * stands; a batch with one entry that may not be there counts for nothing. */
#include <stdio.h>

#include "storage/manifest.h"
#include "tests/core/lib_play.h"

static const struct job_options six = {.sources = 6, .deadline_ms = 1000, .interval_ms = 100};

static void add(struct tide_ack_builder *b, uint32_t task, const char *handle)
{
    struct tide_ack_file file = {100, 1, 2};
    uint8_t packed[256];
    Tide__TaskAck ack;
    if (!handle) {
        tide_ack_builder_add(b, task, 1, 2, 3, &file, 1);
        return;
    }
    tide__task_ack__init(&ack);
    ack.task = task;
    ack.effect_case = TIDE__TASK_ACK__EFFECT_HANDLE;
    ack.handle = (ProtobufCBinaryData){strlen(handle), (uint8_t *)(uintptr_t)handle};
    tide_ack_builder_add_full(b, (struct tide_bytes){packed, tide__task_ack__pack(&ack, packed)});
}

/* The tasks as digits; one after '+' comes as a full ack with a handle. */
static void send(struct play *p, uint64_t session, const char *tasks)
{
    struct tide_ack_builder b;
    tide_ack_builder_init(&b, 65536);
    for (; *tasks; tasks++) {
        bool full = *tasks == '+';
        tasks += full;
        add(&b, (uint32_t)(*tasks - '0'), full ? "commit" : NULL);
    }
    play_ack_frame(p, session, &b);
}

static void run_on_two(struct play *p, const struct job_options *job, uint32_t first_has)
{
    play_start(p);
    play_open(p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(p, 1, job,
              &(struct join_options){
                  .count = first_has, .split = first_has / 2, .worker = "w1", .pid = 10});
    play_open(p, 2, TIDE__PEER_KIND__PEER_WORKER);
    play_join(
        p, 2, job,
        &(struct join_options){
            .first = first_has, .count = job->sources - first_has, .worker = "w2", .pid = 11});
    play_settle(p);
    play_restored(p, 1, 0, first_has);
    play_restored(p, 2, first_has, job->sources - first_has);
    play_settle(p);
    play_wait(p, 100);
    play_forget(p);
}

static uint32_t owed(const struct play *p)
{
    struct tide_manifest m;
    struct tide_manifest_walk walk = {0};
    struct tide_ack_view ack;
    char why[256];
    uint32_t n = 0;
    int rc = tide_manifest_open(&m, (struct tide_bytes){p->image, p->image_len}, why);
    ck_assert_msg(rc == 0, "%s", why); /* each task stands in it once */
    while (tide_manifest_next(&m, &walk, &ack))
        n += ack.has_handle;
    tide_manifest_close(&m);
    return n;
}

static const char *const all_missing =
    "commit: round-end=aborted[a.0 has not acted on its trigger, its worker is away]"
    "[a.1 has not acted on its trigger, its worker is away]"
    "[a.2 has not acted on its trigger, its worker is away]"
    "[a.3 has not acted on its trigger, its worker is away]"
    "[a.4 has not acted on its trigger][a.5 has not acted on its trigger]\n";

START_TEST(a_stranger_anywhere_and_nothing_counts)
{
    static struct play p;
    static const char *const batches[] = {"4",    "014",  "410",     "23456", "0011223344",
                                          "0+14", "01+4", "00123+5", "01239", "3210+9"};
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
        run_on_two(&p, &six, 4);
        send(&p, 1, batches[i]);
        char expected[200];
        const char *stranger = strpbrk(batches[i], "45679");
        snprintf(expected, sizeof expected,
                 "to 1: refused: AckBatch: task %c is not hosted by this worker\nclose 1\n",
                 *stranger);
        play_expect(&p, expected);
        play_close(&p, 1);
        play_wait(&p, 1000);
        ck_assert_msg(strncmp(p.trace, all_missing, strlen(all_missing)) == 0, "%s: %s", batches[i],
                      p.trace);
        play_end(&p);
    }
}
END_TEST

START_TEST(the_first_of_a_task_counts)
{
    static struct play p;
    static const struct {
        const char *batches[3];
        uint32_t owed;
    } cases[] = {
        {{"0123", "", ""}, 0},      {{"3210", "", ""}, 0},       {{"00112233", "", ""}, 0},
        {{"01", "0123", ""}, 0},    {{"12", "21", "0123"}, 0},   {{"0+0123", "", ""}, 0},
        {{"+00123", "", ""}, 0},    {{"12", "+0+1+2+3", ""}, 2}, {{"+0+0+1+2+3", "", ""}, 4},
        {{"0", "01", "123"}, 0},    {{"+3+2+1", "12", "01"}, 3}, {{"33", "2233", "0123"}, 0},
        {{"3", "+2+2", "0101"}, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        run_on_two(&p, &six, 4);
        send(&p, 2, "45");
        for (int k = 0; k < 3 && *cases[i].batches[k]; k++) {
            play_expect(&p, "");
            send(&p, 1, cases[i].batches[k]);
        }
        ck_assert_msg(strncmp(p.trace, "commit: round-end=complete snapshot", 35) == 0, "%zu: %s",
                      i, p.trace);
        ck_assert_msg(owed(&p) == cases[i].owed, "case %zu: %u owed", i, owed(&p));
        play_end(&p);
    }
}
END_TEST

/* Batches as they come, against a list of who has acked. */
START_TEST(any_order_ends_with_each_once)
{
    enum { TASKS = 300, FIRST = 170 };
    static struct play p;
    struct job_options job = six;
    uint64_t random = 5;
    job.sources = TASKS;
    job.deadline_ms = 1000000;
    for (int round = 0; round < 30; round++) {
        bool acked[TASKS] = {0};
        uint32_t n_acked = 0, n_owed = 0;
        run_on_two(&p, &job, FIRST);
        while (n_acked < TASKS) {
            struct tide_ack_builder b;
            random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            uint32_t r = (uint32_t)(random >> 33), first = r & 1 ? 0 : FIRST,
                     tasks = r & 1 ? FIRST : TASKS - FIRST, at = (r >> 1) % tasks,
                     n = 1 + (r >> 9) % (r & 64 ? 100 : 5);
            play_expect(&p, "");
            tide_ack_builder_init(&b, 65536);
            for (uint32_t i = 0; i < n; i++) {
                uint32_t task = first + (r & 128 ? at + i * 7 : at + i) % tasks;
                bool full = r & 256 && !(r & 1);
                add(&b, task, full ? "commit" : NULL);
                n_owed += full && !acked[task];
                n_acked += !acked[task];
                acked[task] = true;
            }
            play_ack_frame(&p, r & 1 ? 1 : 2, &b);
        }
        ck_assert_msg(strncmp(p.trace, "commit: round-end=complete snapshot", 35) == 0, "%s",
                      p.trace);
        ck_assert_uint_eq(owed(&p), n_owed);
        play_end(&p);
    }
}
END_TEST

/* Each batch is within bounds, all of them are not: the sum must not wrap. */
START_TEST(sizes_beyond_all_disks)
{
    static struct play p;
    run_on_two(&p, &six, 4);
    for (uint32_t task = 0; task < 2; task++) {
        struct tide_ack_file file = {UINT64_C(1) << 62, 1, 2};
        struct tide_ack_builder b;
        play_expect(&p, "");
        tide_ack_builder_init(&b, 65536);
        tide_ack_builder_add(&b, task, 1, 2, 3, &file, 1);
        play_ack_frame(&p, 1, &b);
    }
    play_expect(&p, "to 1: refused: AckBatch: the files of this round would be more than 2^63 - 1 "
                    "bytes\nclose 1\n");
    play_end(&p);
}
END_TEST

SUITE_MAIN("acks", a_stranger_anywhere_and_nothing_counts, the_first_of_a_task_counts,
           any_order_ends_with_each_once, sizes_beyond_all_disks)
