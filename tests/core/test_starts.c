/* Attempts that do not come to run: what cannot be read, who is late, what is cut off; each as the
 * trace it leaves. */
#include <stdio.h>

#include "storage/manifest.h"
#include "tests/core/lib_play.h"

static const struct job_options plain = {
    .sources = 2, .sinks = 1, .interval_ms = 100, .deadline_ms = 60000, .retained = 2};
static const struct join_options whole = {.count = 3, .worker = "w", .pid = 10};
static struct play p;

/* A checkpoint, or a savepoint that is the recovery point; then its worker is another process, and
 * the next attempt has asked for what it restores. */
static void up_to_the_load_of(const struct job_options *job, bool savepoint)
{
    uint32_t tasks = job->sources + job->sinks;
    play_running(&p, job);
    play_open(&p, ADMIN, TIDE__PEER_KIND__PEER_ADMIN);
    if (savepoint) {
        play_ask_savepoint(&p, &(struct ask){.commits = true});
        play_settle(&p);
    } else {
        play_wait(&p, 100);
    }
    play_ack_all(&p, 1, p.round, NULL);
    play_settle(&p);
    play_confirm(&p, 1, p.round, 0, tasks);
    play_settle(&p);
    play_close(&p, 1);
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 2, job, &(struct join_options){.count = tasks, .worker = "w", .pid = 10});
    while (p.n_commits)
        play_stored(&p, TIDE_STORED);
    play_wait(&p, 0);
    while (p.n_commits)
        play_stored(&p, TIDE_STORED);
}

static void up_to_the_load(bool savepoint)
{
    up_to_the_load_of(&plain, savepoint);
}

static void state_is(const char *words)
{
    play_settle(&p);
    play_forget(&p);
    play_ask_job(&p, ADMIN);
    ck_assert_msg(strstr(p.trace, words), "%s", p.trace);
}

/* S107: a manifest that is damaged or gone holds the job, since nothing else may stand for it; one
 * that cannot be read at the moment is tried again. */
START_TEST(manifest_cannot_be_read_S107)
{
    static const int damaged[] = {TIDE_ECORRUPT, TIDE_ENOTFOUND};
    for (size_t i = 0; i < 2; i++) {
        up_to_the_load(false);
        ck_assert_uint_eq(p.n_loads, 1);
        play_not_loaded(&p, damaged[i]);
        state_is("job HELD");
        play_end(&p);
    }
    up_to_the_load(false);
    play_not_loaded(&p, TIDE_EIO);
    state_is("job WAITING, waits for: the next try, in ");
    while (!p.n_loads)
        play_wait(&p, 1000);
    play_loaded(&p);
    state_is("job RESTORING");
    play_end(&p);
}
END_TEST

/* What was read is no manifest: nothing is restored from it. */
START_TEST(manifest_is_none_S107)
{
    up_to_the_load(false);
    struct shelf_job *j = &p.shelf.jobs[0];
    j->images[0] = (struct tide_bytes){j->images[0].data, j->images[0].len - 1};
    play_loaded(&p);
    play_settle(&p);
    play_forget(&p);
    play_wait(&p, 0);
    play_ask_job(&p, ADMIN);
    ck_assert_msg(strstr(p.trace, "job HELD"), "%s", p.trace);
    play_end(&p);
}
END_TEST

/* Nor from one whose graph is another's: its digest is right, and it says so in words. */
START_TEST(manifest_is_of_another_graph_S107)
{
    static uint8_t head[4096];
    struct tide_manifest m;
    struct tide_buf out;
    char why[256];
    up_to_the_load(false);
    struct shelf_job *j = &p.shelf.jobs[0];
    ck_assert_int_eq(tide_manifest_open(&m, j->images[0], why), 0);
    m.head->spec->operators[0]->uid.data[0] = 'z';
    m.head->spec->edges[0]->from.data[0] = 'z';
    size_t len = tide__manifest_head__pack(m.head, head);
    tide_buf_init(&out, 1 << 20);
    tide_manifest_put(&out, (struct tide_bytes){head, len}, &m.acks, 1);
    tide_manifest_close(&m);
    struct tide_bytes before = j->images[0];
    j->images[0] = (struct tide_bytes){out.data, out.len};
    play_loaded(&p);
    state_is("job HELD");
    j->images[0] = before;
    tide_buf_release(&out);
    play_end(&p);
}
END_TEST

/* The same manifest, but each of so many tasks has so many bytes inline. */
static struct tide_buf with_inline(struct tide_bytes from, uint32_t tasks, size_t each)
{
    static uint8_t head[4096];
    struct tide_manifest m;
    struct tide_buf out, acks;
    char why[256];
    Tide__Artifact a, *artifacts[1] = {&a};
    ck_assert_int_eq(tide_manifest_open(&m, from, why), 0);
    tide__artifact__init(&a);
    a.place_case = TIDE__ARTIFACT__PLACE_INLINE;
    a.inline_.data = calloc(1, each);
    a.inline_.len = a.size = each;
    uint8_t *packed = malloc(each + 1000);
    tide_buf_init(&acks, (size_t)1 << 30);
    for (uint32_t t = 0; t < tasks; t++) {
        struct tide_ack_builder b;
        Tide__TaskAck ack;
        size_t at = acks.len;
        tide__task_ack__init(&ack);
        ack.task = t;
        ack.artifacts = artifacts;
        ack.n_artifacts = 1;
        tide_ack_builder_init(&b, each * 2);
        tide_ack_builder_add_full(&b,
                                  (struct tide_bytes){packed, tide__task_ack__pack(&ack, packed)});
        tide_buf_put_u32(&acks, 0);
        tide_ack_builder_put(&b, m.head->attempt, m.head->round, &acks);
        ck_assert_int_eq(acks.rc, 0);
        tide_set_u32(acks.data + at, (uint32_t)(acks.len - at - 4));
        tide_ack_builder_release(&b);
    }
    struct tide_bytes chunk = {acks.data, acks.len};
    size_t len = tide__manifest_head__pack(m.head, head);
    tide_buf_init(&out, (size_t)1 << 30);
    tide_manifest_put(&out, (struct tide_bytes){head, len}, &chunk, 1);
    ck_assert_int_eq(out.rc, 0);
    tide_manifest_close(&m);
    tide_buf_release(&acks);
    free(a.inline_.data);
    free(packed);
    return out;
}

/* What one worker would be told is longer than a Start may be: nobody is told anything, and the job
 * is held with the worker's name instead of failing for ever. */
START_TEST(too_much_for_one_worker)
{
    struct job_options wide = plain;
    wide.sources = 17;
    up_to_the_load_of(&wide, false);
    struct shelf_job *j = &p.shelf.jobs[0];
    struct tide_bytes before = j->images[0];
    struct tide_buf out = with_inline(before, 18, (size_t)15 << 20);
    j->images[0] = (struct tide_bytes){out.data, out.len};
    play_loaded(&p);
    play_forget(&p);
    play_settle(&p);
    ck_assert_msg(!strstr(p.trace, "start attempt"), "%s", p.trace);
    state_is("job HELD");
    ck_assert_msg(
        tide_bytes_equal(
            j->cause,
            tide_bytes_of("what worker w would restore of snapshot 1 is longer than 256 MiB")),
        "%.*s", (int)j->cause.len, (const char *)j->cause.data);
    j->images[0] = before;
    tide_buf_release(&out);
    play_end(&p);
}
END_TEST

/* Whether a savepoint's bytes are still in their place is looked at first: if that fails, it is
 * tried again, and if they are gone, the job is held. */
START_TEST(savepoint_cannot_be_looked_at)
{
    up_to_the_load(true);
    ck_assert_uint_eq(p.n_files, 1);
    play_filed(&p, TIDE_EIO);
    state_is("job WAITING, waits for: the next try, in ");
    while (!p.n_files)
        play_wait(&p, 1000);
    play_filed(&p, TIDE_ENOTFOUND);
    state_is("job HELD");
    play_end(&p);
}
END_TEST

/* The job is cancelled, held or loses its worker while the bytes are on their way. */
START_TEST(too_late_to_start)
{
    up_to_the_load(false);
    play_ask_cancel(&p, &(struct ask){0});
    play_stored(&p, TIDE_STORED); /* and its end is with the store */
    play_loaded(&p);
    state_is("job CANCELLED");
    play_end(&p);

    up_to_the_load(true);
    play_ask_cancel(&p, &(struct ask){0});
    play_stored(&p, TIDE_STORED);
    play_filed(&p, 0);
    ck_assert_uint_eq(p.n_loads, 0);
    state_is("job CANCELLED");
    play_end(&p);

    up_to_the_load(false);
    play_ask_hold(&p, &(struct ask){.cause = "why"});
    play_stored(&p, TIDE_STORED);
    play_loaded(&p);
    state_is("job HELD");
    play_end(&p);

    up_to_the_load(false);
    play_close(&p, 2);
    play_loaded(&p);
    state_is("job WAITING, waits for: workers for 3 of its 3 tasks");
    play_open(&p, 3, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 3, &plain, &whole);
    state_is("job RESTORING");
    play_end(&p);
}
END_TEST

/* The row or the directory of an attempt cannot be had: it is tried again. */
START_TEST(an_attempt_without_a_row)
{
    up_to_the_load(false);
    play_loaded(&p);
    play_stored(&p, TIDE_NO_SPACE);
    state_is("job WAITING, waits for: the next try, in ");
    play_wait(&p, 2000);
    state_is("job RESTORING");
    play_end(&p);
}
END_TEST

/* Those that have not restored in time are named, five of them. */
START_TEST(late_restores_are_named)
{
    const struct job_options wide = {.sources = 7, .deadline_ms = 1000};
    play_start(&p);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 1, &wide, &(struct join_options){.count = 7, .worker = "w", .pid = 10});
    play_settle(&p);
    for (int s = 0; s < 605; s++) {
        play_wait(&p, 1000);
        play_heartbeat(&p, 1);
    }
    ck_assert_str_eq(p.reason, "7 tasks had not restored within 600000 ms: a[0] a[1] a[2] a[3] "
                               "a[4] ...");
    play_end(&p);
}
END_TEST

/* A daemon that stops ends no attempt any more, however long its last commits take. */
START_TEST(nothing_ends_while_it_stops_S19)
{
    play_running(&p, &plain);
    play_wait(&p, 100);
    play_shutdown(&p);
    play_forget(&p);
    play_wait(&p, 20000); /* longer than the lease */
    ck_assert_ptr_null(strstr(p.trace, "attempt-end"));
    ck_assert_ptr_null(strstr(p.trace, "rewind"));
    play_end(&p);

    play_running(&p, &plain);
    play_wait(&p, 100);
    play_crash(&p); /* the next one waits for the worker ... */
    play_settle(&p);
    play_shutdown(&p); /* ... and is stopped itself */
    play_forget(&p);
    play_wait(&p, 20000);
    ck_assert_ptr_null(strstr(p.trace, "attempt-end"));
    play_end(&p);
}
END_TEST

/* Those that do not come back after a restart are named, as many as have room. */
START_TEST(who_is_not_back_is_named)
{
    static char name[3][201];
    play_start(&p);
    for (uint32_t i = 0; i < 3; i++) {
        memset(name[i], 'u' + (int)i, 200);
        play_open(&p, i + 1, TIDE__PEER_KIND__PEER_WORKER);
        play_join(&p, i + 1, &plain,
                  &(struct join_options){.first = i, .count = 1, .worker = name[i], .pid = 10 + i});
    }
    play_settle(&p);
    for (uint32_t i = 0; i < 3; i++)
        play_restored(&p, i + 1, i, 1);
    play_settle(&p);
    play_crash(&p);
    play_settle(&p);
    play_open(&p, 9, TIDE__PEER_KIND__PEER_WORKER); /* somebody comes, and says nothing */
    play_wait(&p, 600000);
    ck_assert_msg(strstr(p.reason, "not back within "), "%s", p.reason);
    int n = 0;
    for (uint32_t i = 0; i < 3; i++)
        n += strstr(p.reason, name[i]) != NULL;
    ck_assert_msg(n == 1, "%s", p.reason);
    play_end(&p);
}
END_TEST

/* A hook that does not restore is named when all tasks have; so is a task with a long name. */
START_TEST(late_parts_are_named)
{
    static char uid[256];
    const struct job_options hooked = {
        .sources = 2, .sinks = 1, .deadline_ms = 1000, .hooks = "lock"};
    play_start(&p);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 1, &hooked,
              &(struct join_options){.count = 3, .worker = "w", .pid = 10, .externals = "lock"});
    play_settle(&p);
    play_restored(&p, 1, 0, 3);
    for (int s = 0; s < 605; s++) {
        play_wait(&p, 1000);
        play_heartbeat(&p, 1);
    }
    ck_assert_str_eq(p.reason, "hook 'lock' had not restored within 600000 ms");
    play_end(&p);

    Tide__Operator op = TIDE__OPERATOR__INIT, *operators[1] = {&op};
    Tide__Checkpointing cp = TIDE__CHECKPOINTING__INIT;
    Tide__JobSpec spec = TIDE__JOB_SPEC__INIT;
    memset(uid, 'u', 255);
    op.uid = play_bytes(uid);
    op.parallelism = 2;
    spec.name = play_bytes("job");
    spec.n_operators = 1;
    spec.operators = operators;
    spec.checkpointing = &cp;
    play_start(&p);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join_spec(&p, 1, &spec, &(struct join_options){.count = 2, .worker = "w", .pid = 10});
    play_settle(&p);
    for (int s = 0; s < 605; s++) {
        play_wait(&p, 1000);
        play_heartbeat(&p, 1);
    }
    ck_assert_ptr_nonnull(strstr(p.reason, "2 tasks had not restored within 600000 ms: uuu"));
    play_end(&p);
}
END_TEST

/* What is ordered while the bytes are on their way is what holds. */
START_TEST(ordered_meanwhile)
{
    Tide__RestoreJob m = TIDE__RESTORE_JOB__INIT;
    up_to_the_load(false);
    m.from_case = TIDE__RESTORE_JOB__FROM_NOTHING;
    m.nothing = m.allow_repeat = true;
    play_ask_restore(&p, &m);
    play_stored(&p, TIDE_STORED);
    play_stored(&p, TIDE_STORED);
    play_forget(&p);
    play_loaded(&p);
    play_settle(&p);
    PLAY_AMONG(&p, "to 2: start attempt 2 from 0, ");
    play_end(&p);

    up_to_the_load(false);
    m.from_case = TIDE__RESTORE_JOB__FROM_LATEST;
    play_ask_restore(&p, &m);
    play_stored(&p, TIDE_STORED);
    ck_assert_uint_eq(p.n_loads, 2);
    play_forget(&p);
    play_loaded(&p); /* the attempt's: the order comes first */
    ck_assert_ptr_null(strstr(p.trace, "start"));
    play_settle(&p);
    PLAY_AMONG(&p, "to 2: start attempt 2 from 1, ");
    play_end(&p);
}
END_TEST

/* S175: effects that are still owed when the job stops: whoever comes to carry them out has as long
 * as a restore may take; the job is held then, and does not count as failed. */
START_TEST(deliveries_have_a_time_S175)
{
    struct job_options job = plain;
    job.interval_ms = 0;
    job.attempts_max = 1;
    play_running(&p, &job);
    play_open(&p, ADMIN, TIDE__PEER_KIND__PEER_ADMIN);
    play_ask_stop(&p, &(struct ask){.checkpoint = true});
    play_settle(&p);
    play_ack_all(&p, 1, p.round, "part");
    play_settle(&p);
    play_close(&p, 1);
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 2, &job, &whole);
    play_settle(&p);
    play_wait(&p, 0);
    play_settle(&p);
    PLAY_AMONG(&p, "to 2: start attempt 2 from ", ", deliver only");
    play_restored(&p, 2, 0, 3);
    play_settle(&p);
    play_close(&p, 2); /* it is cut off for a moment */
    play_open(&p, 3, TIDE__PEER_KIND__PEER_WORKER);
    play_forget(&p);
    play_join(&p, 3, &job,
              &(struct join_options){.count = 3,
                                     .worker = "w",
                                     .pid = 10,
                                     .attempt = 2,
                                     .phase = TIDE__WORKER_PHASE__PHASE_RUNNING});
    play_settle(&p);
    PLAY_AMONG(&p, "to 3: resumed attempt 2\n");
    for (int s = 0; s < 605; s++) {
        play_wait(&p, 1000);
        play_heartbeat(&p, 3);
    }
    ck_assert_str_eq(p.reason, "the commits still owed were not confirmed within 600000 ms");
    state_is("job HELD");
    play_end(&p);
}
END_TEST

SUITE_MAIN("starts", manifest_is_of_another_graph_S107, too_much_for_one_worker,
           late_parts_are_named, ordered_meanwhile, deliveries_have_a_time_S175,
           manifest_cannot_be_read_S107, manifest_is_none_S107, savepoint_cannot_be_looked_at,
           too_late_to_start, an_attempt_without_a_row, late_restores_are_named,
           nothing_ends_while_it_stops_S19, who_is_not_back_is_named)
