/* What an operator with union list state is given when its job goes back to a checkpoint of its
 * own, as the trace that it leaves. */
#include "tests/core/lib_play.h"

static const struct job_options job = {.sources = 2,
                                       .sinks = 1,
                                       .interval_ms = 100,
                                       .deadline_ms = 60000,
                                       .retained = 1,
                                       .union_state = true};
static const struct join_options again = {.count = 3, .worker = "w", .pid = 11};

/* A source has a file of its own and a list; the handle, if any, is to be committed. */
static void ack_source(struct play *p, uint32_t task, const char *handle)
{
    Tide__TaskAck ack;
    Tide__Artifact items[2], *list[2] = {&items[0], &items[1]};
    struct tide_ack_builder b;
    uint8_t packed[256];
    tide__task_ack__init(&ack);
    for (int i = 0; i < 2; i++) {
        tide__artifact__init(list[i]);
        items[i].size = 100;
        items[i].name = play_bytes(i ? "state.own" : "mine");
    }
    ack.task = task;
    ack.n_artifacts = 2;
    ack.artifacts = list;
    if (handle) {
        ack.effect_case = TIDE__TASK_ACK__EFFECT_HANDLE;
        ack.handle = play_bytes(handle);
    }
    size_t len = tide__task_ack__pack(&ack, packed);
    tide_ack_builder_init(&b, 4096);
    tide_ack_builder_add_full(&b, (struct tide_bytes){packed, len});
    play_ack_frame(p, 1, &b);
}

/* S157: lists go to all, what is a program's own stays with its task, and what is owed to a task
 * stands beside what it is given. */
START_TEST(all_see_all_lists)
{
    static struct play p;
    play_running(&p, &job);
    while (p.round == 0)
        play_wait(&p, 10);
    ack_source(&p, 0, "part-1");
    ack_source(&p, 1, NULL);
    play_ack(&p, 1, p.attempt, p.round, 2);
    play_settle(&p);
    play_close(&p, 1);
    play_wait(&p, 12000);
    play_settle(&p);
    play_forget(&p);
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 2, &job, &again);
    play_settle(&p);
    ck_assert_msg(strstr(p.trace, "start attempt 2 from 1, 3 tasks with state or owed, 1 owed, 0 "
                                  "ended, 0: t0-0 t0-1 t1-1, 1: t0-1 t1-0 t1-1\n"),
                  "%s", p.trace);
    play_end(&p);
}
END_TEST

SUITE_MAIN("union", all_see_all_lists)
