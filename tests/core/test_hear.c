/* What workers say that cannot be, in words, and what their connection hears: each as its trace. */
#include <stdio.h>

#include "tests/core/lib_play_impl.h"

static const struct job_options plain = {
    .sources = 2, .sinks = 1, .interval_ms = 100, .deadline_ms = 60000};
static struct play p;

/* Tasks 0 and 1 in worker 1, task 2 in worker 2, a round under way. */
static void run(void)
{
    play_running_on_two(&p, &plain, 2);
    play_wait(&p, 100);
    play_forget(&p);
}

static void bytes(uint64_t session, const void *data, size_t len)
{
    play_step(&p, (struct event){.type = EV_FRAME, .session = session, .bytes = {data, len}});
}

static void refused(const char *text)
{
    ck_assert_msg(strstr(p.trace, "to 1: refused: ") && strstr(p.trace, text) &&
                      strstr(p.trace, "close 1\n"),
                  "%s", p.trace);
    play_end(&p);
}

/* Frames that are none, or of a later version; the round is none the worse for it. */
START_TEST(no_frames)
{
    static const uint8_t later[] = {0xfa, 0x3f, 0}; /* field 1023, nothing in it */
    static const uint8_t broken[] = {0x1a, 0x7f, 1};
    run();
    bytes(1, "", 0);
    refused("a frame that cannot be parsed");
    run();
    bytes(1, later, sizeof later);
    refused("a message that this version does not know (field 1023 of FromWorker)");
    run();
    bytes(1, broken, sizeof broken);
    refused("cannot be parsed");
}
END_TEST

/* A small frame that unpacks to much memory is refused before it has it. */
START_TEST(too_big_in_memory)
{
    enum { N = 100000 };
    static uint8_t packed[4 * N];
    static Tide__TaskProgress none = TIDE__TASK_PROGRESS__INIT;
    static Tide__TaskProgress *tasks[N];
    Tide__Barrier m = TIDE__BARRIER__INIT;
    Tide__FromWorker message = TIDE__FROM_WORKER__INIT;
    for (uint32_t i = 0; i < N; i++)
        tasks[i] = &none;
    m.attempt = 1;
    m.round = 1;
    m.n_tasks = N;
    m.tasks = tasks;
    message.msg_case = TIDE__FROM_WORKER__MSG_BARRIER;
    message.barrier = &m;
    ck_assert(tide__from_worker__get_packed_size(&message) <= sizeof packed);
    size_t len = tide__from_worker__pack(&message, packed);
    run();
    bytes(1, packed, len);
    refused("a message that unpacks to more than 4 MiB");
}
END_TEST

/* Nobody reports the progress of another's tasks, not even among its own. */
START_TEST(tasks_of_another)
{
    Tide__TaskProgress each[3], *tasks[3];
    Tide__Barrier m = TIDE__BARRIER__INIT;
    Tide__FromWorker message = TIDE__FROM_WORKER__INIT;
    for (uint32_t i = 0; i < 3; i++) {
        tide__task_progress__init(&each[i]);
        tasks[i] = &each[i];
    }
    each[0].task = 0;
    each[1].task = 2;
    each[2].task = 1;
    m.attempt = 1;
    m.round = 1;
    m.n_tasks = 3;
    m.tasks = tasks;
    message.msg_case = TIDE__FROM_WORKER__MSG_BARRIER;
    message.barrier = &m;
    run();
    play_frame(&p, 1, &message);
    refused("Barrier");
    run();
    play_finished(&p, 1, 1, 2);
    refused("TaskFinished");
    run();
    play_confirm(&p, 1, 1, 2, 1);
    refused("Confirm");
    run();
    play_backlog(&p, 1, 2, true);
    refused("Backlog");
    run();
    play_decline(&p, 1, 2, "why");
    refused("Decline");
}
END_TEST

/* A worker that was told to drop its attempt prolongs no lease by its heartbeats, and what it says
 * of the attempt is not heard. */
START_TEST(rewinding)
{
    run();
    play_close(&p, 2);
    play_wait(&p, 11250);
    play_settle(&p);
    ck_assert_ptr_nonnull(strstr(p.trace, "to 1: rewind attempt 1\n"));
    play_forget(&p);
    play_heartbeat(&p, 1);
    play_finished(&p, 1, 0, 1);
    play_ack(&p, 1, 1, 1, 0);
    play_backlog(&p, 1, 0, true);
    play_expect(&p, "");
    play_end(&p);
}
END_TEST

SUITE_MAIN("hear", no_frames, too_big_in_memory, tasks_of_another, rewinding)
