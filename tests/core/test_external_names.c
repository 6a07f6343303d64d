/* External parts that are many, that answer with too much, or in the wrong place: each as its
 * trace. */
#include <stdio.h>

#include "tests/core/lib_play_impl.h"
#include "tests/core/lib_spec.h"

static struct play p;

/* Like play_external(), with bytes as they are. */
static void answer(uint64_t session, const char *hook, uint64_t round, uint8_t *data, size_t len)
{
    Tide__External e = TIDE__EXTERNAL__INIT;
    Tide__ExternalState state = TIDE__EXTERNAL_STATE__INIT;
    Tide__ExternalAnswer m = TIDE__EXTERNAL_ANSWER__INIT;
    Tide__FromWorker message = TIDE__FROM_WORKER__INIT;
    e.kind = TIDE__EXTERNAL_KIND__EXTERNAL_HOOK;
    e.name = play_bytes(hook);
    state.external = &e;
    state.data = (ProtobufCBinaryData){len, data};
    m.attempt = p.attempt;
    m.round = round;
    m.state = &state;
    message.msg_case = TIDE__FROM_WORKER__MSG_EXTERNAL;
    message.external = &m;
    play_frame(&p, session, &message);
}

enum { HOOKS = 18 };
static char names[HOOKS][101];

/* One task and many hooks, all in worker 1, with names of that length. */
static void run(uint32_t n, size_t len)
{
    static Tide__External items[HOOKS], *list[HOOKS];
    static ProtobufCBinaryData hooks[HOOKS];
    struct spec s;
    Tide__Join join = TIDE__JOIN__INIT;
    Tide__TaskRange range = TIDE__TASK_RANGE__INIT, *ranges[1] = {&range};
    Tide__Host host = TIDE__HOST__INIT;
    static uint8_t packed[20000];
    struct tide_buf out;
    spec_read(&s, "a1");
    for (uint32_t i = 0; i < n; i++) {
        memset(names[i], 'x', len);
        names[i][len] = '\0';
        names[i][0] = (char)('a' + i);
        hooks[i] = play_bytes(names[i]);
        list[i] = &items[i];
        tide__external__init(&items[i]);
        items[i].kind = TIDE__EXTERNAL_KIND__EXTERNAL_HOOK;
        items[i].name = hooks[i];
    }
    s.spec.n_hooks = n;
    s.spec.hooks = hooks;
    s.checkpointing.interval_ms = 100;
    s.checkpointing.deadline_ms = 1000;
    join.job = s.spec.name;
    join.what_case = TIDE__JOIN__WHAT_SPEC;
    join.spec = &s.spec;
    join.worker = play_bytes("w");
    host.boot_id = play_bytes("host");
    join.host = &host;
    range.count = 1;
    join.n_tasks = 1;
    join.tasks = ranges;
    join.n_externals = n;
    join.externals = list;
    ck_assert(tide__join__get_packed_size(&join) <= sizeof packed);
    size_t size = tide__join__pack(&join, packed);
    play_start(&p);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    tide_buf_init(&out, TIDE_FRAME_MAX);
    tide_parts_put(&out, TIDE_PART_JOIN, (struct tide_bytes){packed, size});
    play_feed(&p, 1, &out);
    tide_buf_release(&out);
    play_settle(&p);
    play_restored(&p, 1, 0, 1);
    for (uint32_t i = 0; i < n; i++)
        answer(1, names[i], 0, NULL, 0);
    play_settle(&p);
    play_wait(&p, 100);
    play_forget(&p);
}

/* S23: of the hooks that hang three are named, or as many as have room. */
START_TEST(three_are_named_S23)
{
    run(5, 1);
    answer(1, "b", 1, NULL, 0);
    play_wait(&p, 1000);
    ck_assert_str_eq(p.reason, "hook 'a', hook 'c', hook 'd' and others had not answered by the "
                               "deadline of 1000 ms");
    play_end(&p);
    run(3, 1);
    answer(1, "a", 1, NULL, 0);
    answer(1, "b", 1, NULL, 0);
    play_wait(&p, 1000);
    ck_assert_str_eq(p.reason, "hook 'c' had not answered by the deadline of 1000 ms");
    play_end(&p);
}
END_TEST

/* S23: nor is one forgotten whose worker is away. */
START_TEST(its_worker_is_away_S23)
{
    run(1, 1);
    play_close(&p, 1);
    play_wait(&p, 1000);
    ck_assert_str_eq(p.reason,
                     "hook 'a' (its worker is away) had not answered by the deadline of 1000 ms");
    PLAY_AMONG(&p, "has not answered, its worker is away]");
    play_end(&p);
}
END_TEST

/* S61: more than the manifest has room for aborts the round, and all is given back. */
START_TEST(too_much_in_all_S61)
{
    static uint8_t data[1 << 20];
    run(HOOKS, 1);
    for (uint32_t i = 0; i < HOOKS && !p.reason[0]; i++)
        answer(1, names[i], 1, data, sizeof data);
    ck_assert_str_eq(p.reason, "its coordinators and hooks gave more than 16 MiB in all");
    play_end(&p);
}
END_TEST

/* An answer without a part is nobody's. */
START_TEST(whose_answer)
{
    Tide__ExternalState state = TIDE__EXTERNAL_STATE__INIT;
    Tide__ExternalAnswer m = TIDE__EXTERNAL_ANSWER__INIT;
    Tide__FromWorker message = TIDE__FROM_WORKER__INIT;
    run(1, 1);
    m.state = &state;
    message.msg_case = TIDE__FROM_WORKER__MSG_EXTERNAL;
    message.external = &m;
    play_frame(&p, 1, &message);
    play_expect(&p, "to 1: refused: ExternalAnswer names no external part\nclose 1\n");
    play_end(&p);
}
END_TEST

SUITE_MAIN("external_names", three_are_named_S23, its_worker_is_away_S23, too_much_in_all_S61,
           whose_answer)
