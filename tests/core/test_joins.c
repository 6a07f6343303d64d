/* What a Join must be like, and what a worker is told whose Join is not: each as its answer. */
#include <stdio.h>

#include "daemon/core/internal.h"
#include "tests/core/lib_play_impl.h"
#include "tests/core/lib_spec.h"

static struct play p;
static char long_text[5000];

/* A Join that is fine: all tasks of "a2 b1; a>b". What is wrong is then made so. */
static struct {
    struct spec spec;
    Tide__Join m;
    Tide__TaskRange range, *ranges[1], ending, *endings[1];
    Tide__Host host;
    Tide__Token token;
    uint8_t store_id[16], job_id[16];
} join;

static void make(const char *spec)
{
    memset(long_text, 'x', sizeof long_text - 1);
    spec_read(&join.spec, spec);
    tide__join__init(&join.m);
    tide__host__init(&join.host);
    tide__token__init(&join.token);
    tide__task_range__init(&join.range);
    tide__task_range__init(&join.ending);
    join.ranges[0] = &join.range;
    join.endings[0] = &join.ending;
    join.range.count = 3;
    join.m.job = join.spec.spec.name;
    join.m.what_case = TIDE__JOIN__WHAT_SPEC;
    join.m.spec = &join.spec.spec;
    join.m.worker = play_bytes("w");
    join.m.host = &join.host;
    join.host.boot_id = play_bytes("host");
    join.host.pid = 10;
    join.m.n_tasks = 1;
    join.m.tasks = join.ranges;
    memcpy(join.store_id, p.catalog.store_id.b, 16);
    memcpy(join.job_id, p.job_id, 16);
    join.token.store_id = (ProtobufCBinaryData){16, join.store_id};
    join.token.job_id = (ProtobufCBinaryData){16, join.job_id};
    join.token.attempt = p.attempt;
    join.token.incarnation = p.incarnation;
    join.token.nonce = p.nonce;
}

static void send(uint64_t session)
{
    static uint8_t packed[70000];
    struct tide_buf out;
    ck_assert(tide__join__get_packed_size(&join.m) <= sizeof packed);
    size_t len = tide__join__pack(&join.m, packed);
    tide_buf_init(&out, TIDE_FRAME_MAX);
    tide_parts_put(&out, TIDE_PART_JOIN, (struct tide_bytes){packed, len});
    play_feed(&p, session, &out);
    tide_buf_release(&out);
}

/* What has come out: all of it, and the connection is closed. */
static void refused(const char *text)
{
    char want[600];
    snprintf(want, sizeof want, "to 1: refused: %s\nclose 1\n", text);
    play_expect(&p, want);
    play_close(&p, 1);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_forget(&p);
}

static void start(void)
{
    play_start(&p);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    make("a2 b1; a>b");
}

static ProtobufCBinaryData letters(size_t n)
{
    return (ProtobufCBinaryData){n, (uint8_t *)long_text};
}

/* Each text at its limit is taken. */
START_TEST(texts_at_their_limits)
{
    start();
    join.m.worker = letters(255);
    join.m.endpoint = letters(4096);
    join.host.boot_id = letters(255);
    send(1);
    play_settle(&p);
    ck_assert_ptr_nonnull(strstr(p.trace, "to 1: joined\n"));
    play_end(&p);
}
END_TEST

/* What is malformed is told by name, and the job is not made. */
START_TEST(malformed)
{
    static const char no_text[] = "\xff";
    start();
    join.m.worker = letters(0);
    send(1);
    refused("Join: worker is not a name of 1 to 255 bytes");
    join.m.worker = letters(256);
    send(1);
    refused("Join: worker is not a name of 1 to 255 bytes");
    join.m.worker = play_bytes(no_text);
    send(1);
    refused("Join: worker is not a name of 1 to 255 bytes");
    make("a2 b1; a>b");
    join.m.endpoint = letters(4097);
    send(1);
    refused("Join: endpoint is not a text of at most 4,096 bytes");
    join.m.endpoint = play_bytes(no_text);
    send(1);
    refused("Join: endpoint is not a text of at most 4,096 bytes");
    make("a2 b1; a>b");
    join.host.boot_id = letters(256);
    send(1);
    refused("Join: host.boot_id is not a text of at most 255 bytes");
    join.host.boot_id = play_bytes(no_text);
    send(1);
    refused("Join: host.boot_id is not a text of at most 255 bytes");
    make("a2 b1; a>b");
    join.m.n_tasks = 0;
    send(1);
    refused("Join: it hosts no task");
    make("a2 b1; a>b");
    join.m.phase = TIDE__WORKER_PHASE__PHASE_RUNNING + 1;
    send(1);
    refused("Join: phase is none of WorkerPhase");
    make("a2 b1; a>b");
    join.m.token = &join.token;
    join.token.store_id.len = 15;
    send(1);
    refused("Join: the token's store id or job id is not 16 bytes");
    join.token.store_id.len = 16;
    join.token.job_id.len = 0;
    send(1);
    refused("Join: the token's store id or job id is not 16 bytes");
    play_end(&p);
}
END_TEST

/* No more open rounds are told than a worker may have. */
START_TEST(open_rounds_are_bounded)
{
    static Tide__OpenRound rounds[1025], *list[1025];
    start();
    for (uint32_t i = 0; i < 1025; i++) {
        tide__open_round__init(&rounds[i]);
        rounds[i].round = i + 1;
        list[i] = &rounds[i];
    }
    join.m.open = list;
    join.m.n_open = 1025;
    send(1);
    refused("Join: more than 1,024 open rounds");
    join.m.n_open = 1024;
    send(1);
    play_settle(&p);
    ck_assert_ptr_nonnull(strstr(p.trace, "to 1: joined\n"));
    play_end(&p);
}
END_TEST

/* A worker that has joined before may name the job's graph by its fingerprint alone. */
START_TEST(by_fingerprint)
{
    uint8_t fingerprint[16];
    struct tide_graph *g = spec_graph("a2 b1; a>b");
    memcpy(fingerprint, g->fingerprint, 16);
    tide_graph_free(g);
    start();
    join.m.what_case = TIDE__JOIN__WHAT_FINGERPRINT;
    join.m.fingerprint = (ProtobufCBinaryData){16, fingerprint};
    send(1);
    refused("job 'job' is not known here: join with its spec");
    make("a2 b1; a>b");
    send(1);
    play_settle(&p);
    play_forget(&p);
    play_close(&p, 1);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    join.m.what_case = TIDE__JOIN__WHAT_FINGERPRINT;
    join.m.fingerprint = (ProtobufCBinaryData){15, fingerprint};
    play_forget(&p);
    send(1);
    refused(
        "the spec of job job has another fingerprint: join with the spec to see the difference");
    join.m.fingerprint.len = 16;
    fingerprint[0] ^= 1;
    send(1);
    refused(
        "the spec of job job has another fingerprint: join with the spec to see the difference");
    fingerprint[0] ^= 1;
    send(1);
    play_settle(&p);
    ck_assert_ptr_nonnull(strstr(p.trace, "to 1: joined\n"));
    play_end(&p);
}
END_TEST

/* What is joined must be one thing: spec and name, range and graph, connection and job. */
START_TEST(that_do_not_fit)
{
    start();
    join.m.what_case = TIDE__JOIN__WHAT__NOT_SET;
    send(1);
    refused("the job's spec is refused: Join brings neither spec nor fingerprint");
    make("a2 b1; a>b");
    join.m.job = play_bytes("other");
    send(1);
    refused("Join is for job 'other', its spec for job 'job'");
    make("a2 b1; a>b");
    join.range.count = 4;
    send(1);
    ck_assert_ptr_nonnull(strstr(p.trace, "refused: "));
    play_settle(&p);
    play_close(&p, 1);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    make("a2 b1; a>b");
    join.m.n_ending = 1;
    join.m.ending = join.endings;
    join.ending.first = 2;
    join.ending.count = 2;
    play_forget(&p);
    send(1);
    ck_assert_ptr_nonnull(strstr(p.trace, "refused: "));
    play_end(&p);
}
END_TEST

/* A connection belongs to the job that it has joined: it joins once, and once more after each
 * Rewind, and no other job. */
START_TEST(another_job)
{
    start();
    join.range.count = 2;
    send(1);
    play_settle(&p);
    play_forget(&p);
    send(1);
    refused("a second Join, which is for the answer to Rewind alone");
    send(1);
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    join.m.worker = play_bytes("v");
    join.range.first = 2;
    join.range.count = 1;
    send(2);
    play_settle(&p);
    play_close(&p, 2);
    play_wait(&p, 6000);
    play_heartbeat(&p, 1);
    play_wait(&p, 6000);
    play_settle(&p);
    PLAY_AMONG(&p, "to 1: rewind attempt 1\n");
    make("a2 b1; a>b");
    join.spec.spec.name = join.m.job = play_bytes("other");
    send(1);
    PLAY_AMONG(&p, "to 1: refused: this connection has joined job job: use another for job other\n",
               "close 1\n");
    play_end(&p);
}
END_TEST

/* A daemon has so many jobs and workers, and no more. */
START_TEST(limits)
{
    play_config.jobs_max = 1;
    play_config.workers_max = 1;
    start();
    join.range.count = 2;
    send(1);
    play_settle(&p);
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    play_forget(&p);
    make("a2 b1; a>b");
    join.m.worker = play_bytes("v");
    join.range.first = 2;
    join.range.count = 1;
    send(2);
    ck_assert_ptr_nonnull(strstr(p.trace, "to 2: refused: this daemon has its 1 workers"));
    play_end(&p);

    play_config.workers_max = 100;
    start();
    send(1);
    play_settle(&p);
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    play_forget(&p);
    make("a2 b1; a>b");
    join.spec.spec.name = join.m.job = play_bytes("other");
    send(2);
    play_expect(&p, "to 2: refused: this daemon has its 1 jobs ([limits] jobs)\nclose 2\n");
    play_end(&p);
}
END_TEST

/* What a job asks for must be in the protocol of the connection, by spec or by fingerprint. */
START_TEST(versions)
{
    uint8_t fingerprint[16];
    struct tide_graph *g = spec_graph("a2 b1; a>b; lock");
    memcpy(fingerprint, g->fingerprint, 16);
    tide_graph_free(g);
    play_start(&p);
    play_open_version(&p, 1, TIDE__PEER_KIND__PEER_WORKER, 1);
    make("a2 b1; a>b; lock");
    send(1);
    play_expect(&p, "to 1: refused: job 'job' needs version 2 of the protocol, this connection has "
                    "1\nclose 1\n");
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    send(2);
    play_settle(&p);
    play_open_version(&p, 3, TIDE__PEER_KIND__PEER_WORKER, 1);
    play_forget(&p);
    send(3);
    play_expect(&p, "to 3: refused: job 'job' needs version 2 of the protocol, this connection has "
                    "1\nclose 3\n");
    play_open_version(&p, 4, TIDE__PEER_KIND__PEER_WORKER, 1);
    join.m.what_case = TIDE__JOIN__WHAT_FINGERPRINT;
    join.m.fingerprint = (ProtobufCBinaryData){16, fingerprint};
    send(4);
    play_expect(&p, "to 4: refused: job 'job' needs version 2 of the protocol, this connection has "
                    "1\nclose 4\n");
    play_end(&p);
}
END_TEST

/* A token of another store or another job is nobody's, and is told so. */
START_TEST(strange_tokens)
{
    play_running(&p, &(struct job_options){.sources = 2, .sinks = 1, .deadline_ms = 1000});
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    make("a2 b1; a>b");
    join.m.token = &join.token;
    join.store_id[0] ^= 1;
    join.spec.checkpointing.deadline_ms = 1000;
    send(2);
    ck_assert_msg(strstr(p.trace, "its token is of another store"), "%s", p.trace);
    play_end(&p);
}
END_TEST

/* A job of tasks 0 to 2 that runs attempt 1 under incarnation 1000, and a daemon after that one. */
static void back_after_a_restart(void)
{
    play_running(&p, &(struct job_options){.sources = 2, .sinks = 1, .deadline_ms = 1000});
    play_crash(&p);
    play_settle(&p);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_forget(&p);
    make("a2 b1; a>b");
    join.spec.checkpointing.deadline_ms = 1000;
    join.m.token = &join.token;
    join.m.phase = TIDE__WORKER_PHASE__PHASE_RUNNING;
    join.host.start_time = 1;
}

static void holds_the_job(const char *text)
{
    ck_assert_msg(strstr(p.trace, text), "%s", p.trace);
    play_settle(&p);
    play_open(&p, ADMIN, TIDE__PEER_KIND__PEER_ADMIN);
    play_forget(&p);
    play_ask_job(&p, ADMIN);
    ck_assert_msg(strstr(p.trace, "job HELD"), "%s", p.trace);
    play_end(&p);
}

/* An attempt that this store gave to nobody under that incarnation, effects that it has not
 * published, an incarnation whose random bits were others: an old copy was put back. */
START_TEST(what_only_a_later_store_knows)
{
    back_after_a_restart();
    join.token.incarnation = p.shelf.incarnations[1].number;
    join.token.nonce = p.shelf.incarnations[1].nonce;
    send(1);
    holds_the_job("knows of an attempt that this store has not seen: an old copy");

    back_after_a_restart();
    join.token.nonce ^= 1;
    send(1);
    holds_the_job("knows of an incarnation that this store has not seen: an old copy");

    back_after_a_restart();
    join.m.told_effects = 5;
    send(1);
    holds_the_job(
        "knows of a completed round that this store does not have, and was told of effects "
        "up to round 5: an old copy");
}
END_TEST

static void fails_with(const char *text)
{
    play_settle(&p);
    play_forget(&p);
    play_ask_operation(&p, ADMIN, p.operation);
    ck_assert_msg(strstr(p.trace, text), "%s", p.trace);
}

/* A job that is held for an old copy goes on only if effects may be repeated, and the rounds are
 * named: also after another restart, when nobody is left who knows them. */
START_TEST(nobody_repeats_effects_unasked)
{
    static const char refusal[] =
        "failed: an old copy of the database was put back, and effects would be repeated: only if "
        "that is allowed (--allow-repeat); those of the rounds after 0, up to 5 or further";
    Tide__RestoreJob latest = TIDE__RESTORE_JOB__INIT;
    latest.from_case = TIDE__RESTORE_JOB__FROM_NOTHING;
    back_after_a_restart();
    join.m.told_effects = 5;
    send(1);
    play_settle(&p);
    play_crash(&p);
    play_settle(&p);
    play_open(&p, ADMIN, TIDE__PEER_KIND__PEER_ADMIN);
    play_ask_release(&p, &(struct ask){0});
    fails_with(refusal);
    play_ask_restore(&p, &latest);
    fails_with(refusal);
    latest.allow_repeat = latest.dry_run = true;
    play_ask_restore(&p, &latest);
    fails_with("operation restore done");
    play_ask_release(&p, &(struct ask){.repeat = true});
    play_settle(&p);
    play_forget(&p);
    play_ask_job(&p, ADMIN);
    ck_assert_msg(strstr(p.trace, "job WAITING"), "%s", p.trace);
    play_end(&p);
}
END_TEST

/* What holds the job was not stored and is handed to the store again: an order that came meanwhile
 * is not taken for the hold's, and has its own end. */
START_TEST(held_again_beside_an_order)
{
    Tide__RestoreJob m = TIDE__RESTORE_JOB__INIT;
    m.from_case = TIDE__RESTORE_JOB__FROM_DIRECTORY;
    m.directory = play_bytes("/elsewhere");
    back_after_a_restart();
    play_open(&p, ADMIN, TIDE__PEER_KIND__PEER_ADMIN);
    join.m.told_effects = 5;
    send(1);
    play_stored(&p, TIDE_NO_SPACE);
    play_ask_restore(&p, &m);
    play_stored(&p, TIDE_STORED);
    play_forget(&p);
    play_wait(&p, 1000);
    play_expect(&p, "commit: job-state=HELD\n");
    play_stored(&p, TIDE_STORED);
    play_forget(&p);
    play_ask_operation(&p, ADMIN, p.operation);
    play_expect(&p, "to 100: operation restore running\n");
    play_filed(&p, TIDE_ENOTFOUND);
    fails_with("operation restore failed");
    play_end(&p);
}
END_TEST

/* Another worker that was told of more is heard too; whoever only imitates the words is not. */
START_TEST(what_the_cause_tells)
{
    ck_assert_uint_eq(
        put_back_told("worker w knows of it, and was told of effects up to round 17: an old copy "
                      "of the database may have been put back"),
        17);
    ck_assert_uint_eq(put_back_told("worker w, and was told of effects up to round 17"), 0);
    ck_assert_uint_eq(put_back_told("17: an old copy of the database may have been put back"), 0);
    ck_assert(!put_back_is(NULL) && !put_back_is("a new disk"));
    back_after_a_restart();
    join.m.told_effects = 5;
    send(1);
    play_settle(&p);
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    join.m.told_effects = 9;
    send(2);
    play_settle(&p);
    ck_assert_msg(strstr((const char *)p.shelf.jobs[0].cause.data, "up to round 9: "), "%.*s",
                  (int)p.shelf.jobs[0].cause.len, (const char *)p.shelf.jobs[0].cause.data);
    play_end(&p);
}
END_TEST

/* A token of another job of this store is nobody's; a worker that is another process, or hosts
 * other tasks than it did, does not go on with the attempt. */
START_TEST(who_is_not_who_it_was)
{
    uint8_t first[16];
    back_after_a_restart();
    memcpy(first, join.job_id, 16);
    join.range.count = 2;
    send(1);
    PLAY_AMONG(&p, "to 1: rewind attempt 1\n");
    play_end(&p);

    back_after_a_restart();
    join.host.start_time = 2;
    send(1);
    PLAY_AMONG(&p, "to 1: rewind attempt 1\n");
    play_end(&p);

    back_after_a_restart();
    send(1);
    play_settle(&p);
    PLAY_AMONG(&p, "to 1: resumed attempt 1\n");
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    play_forget(&p);
    join.spec.spec.name = join.m.job = play_bytes("other");
    send(2);
    ck_assert_msg(strstr(p.trace, "its token is of another job"), "%s", p.trace);
    play_end(&p);
}
END_TEST

/* A Join that is small on the wire and large in memory is refused before it has it. */
START_TEST(too_big_in_memory)
{
    enum { N = 60000 };
    static Tide__TaskRange none = TIDE__TASK_RANGE__INIT;
    static Tide__TaskRange *list[N];
    static uint8_t big[N * 4];
    struct tide_buf out;
    start();
    for (uint32_t i = 0; i < N; i++)
        list[i] = &none;
    join.m.tasks = list;
    join.m.n_tasks = N;
    size_t len = tide__join__pack(&join.m, big);
    tide_buf_init(&out, TIDE_FRAME_MAX);
    tide_parts_put(&out, TIDE_PART_JOIN, (struct tide_bytes){big, len});
    play_feed(&p, 1, &out);
    tide_buf_release(&out);
    PLAY_AMONG(&p, "to 1: refused: Join ", "close 1\n");
    play_end(&p);
}
END_TEST

/* A new job that the store does not take is as if nobody had joined it, whichever others there are;
 * its name may be used again. */
START_TEST(not_stored)
{
    static const char *const names[] = {"one", "two", "three"};
    play_start(&p);
    for (uint32_t i = 0; i < 3; i++) {
        play_open(&p, i + 1, TIDE__PEER_KIND__PEER_WORKER);
        make("a2 b1; a>b");
        join.spec.spec.name = join.m.job = play_bytes(names[i]);
        send(i + 1);
    }
    play_stored(&p, TIDE_STORED);
    play_forget(&p);
    play_stored(&p, TIDE_REFUSED); /* one in the middle ... */
    PLAY_AMONG(&p, "to 2: refused: job two could not be stored: a reason\n", "close 2\n");
    play_stored(&p, TIDE_REFUSED); /* ... and the last */
    PLAY_AMONG(&p, "to 3: refused: job three could not be stored: a reason\n", "close 3\n");
    play_open(&p, 4, TIDE__PEER_KIND__PEER_WORKER);
    make("a2 b1; a>b");
    join.spec.spec.name = join.m.job = play_bytes("three");
    send(4);
    play_settle(&p);
    PLAY_AMONG(&p, "to 4: joined\n");
    play_end(&p);
}
END_TEST

SUITE_MAIN("joins", not_stored, what_only_a_later_store_knows, nobody_repeats_effects_unasked,
           held_again_beside_an_order, what_the_cause_tells, who_is_not_who_it_was,
           too_big_in_memory, texts_at_their_limits, malformed, open_rounds_are_bounded,
           by_fingerprint, that_do_not_fit, another_job, limits, versions, strange_tokens)
