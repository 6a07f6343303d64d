/* Every record is applied and read back; what the store refuses, it refuses by name and changes
 * nothing. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/storage/lib_fixture.h"

static struct tide_catalog *load(void)
{
    char why[512] = "";
    struct tide_catalog *c = NULL;
    int rc = tide_store_load(st, &c, why);
    ck_assert_msg(rc == 0, "%s", why);
    return c;
}

static bool is(struct tide_bytes b, const char *text)
{
    return tide_bytes_equal(b, tide_bytes_of(text));
}

static struct tide_record *rec(struct tide_commit *c, enum tide_record_type type)
{
    struct tide_record *r = tide_commit_add(c, type, job_a);
    ck_assert_ptr_nonnull(r);
    return r;
}

/* A job with attempt 1. */
static void begin_job(void)
{
    struct tide_commit *c = commit_new();
    add_job(c, job_a, "alpha");
    add_attempt(c, job_a, 1, 0);
    stored(c);
}

START_TEST(fresh_store)
{
    open_store();
    struct tide_catalog *c = load();
    ck_assert_uint_eq(c->n_jobs, 0);
    ck_assert_uint_eq(c->n_incarnations, 1);
    ck_assert_uint_eq(c->incarnation, WALL + 1);
    ck_assert_uint_eq(c->incarnations[0].nonce, 0xfedcba9876543210u);
    ck_assert_uint_eq(c->nonce, 0xfedcba9876543210u);
    ck_assert_uint_eq(c->store_id.b[0], 7);
    ck_assert_uint_eq(c->reserved | c->external | c->lease_us, 0);
    tide_catalog_free(c);
    ck_assert_int_eq(number("PRAGMA page_size"), 16384);
    ck_assert_int_eq(number("PRAGMA synchronous"), 1); /* the journal is what is durable */
    ck_assert_int_eq(number("PRAGMA foreign_keys"), 1);
    ck_assert_int_eq(number("PRAGMA secure_delete"), 0);
    ck_assert_int_eq(number("PRAGMA user_version"), tide_schema_version());
}
END_TEST

/* Another start on the same store: the id stays, the incarnation rises, also when the clock was put
 * back. */
START_TEST(incarnations_rise)
{
    char why[512];
    open_store();
    uint64_t first = st->incarnation;
    close_store();
    struct tide_store_options o = options();
    o.now_wall = 5;
    o.nonce = 99;
    memset(o.new_store_id, 1, 16);
    ck_assert_int_eq(tide_store_open(&o, &st, why), 0);
    struct tide_catalog *c = load();
    ck_assert_uint_eq(c->incarnation, first + 1);
    ck_assert_uint_eq(c->n_incarnations, 2);
    ck_assert_uint_eq(c->incarnations[0].number, first);
    ck_assert_uint_eq(c->incarnations[1].nonce, 99);
    ck_assert_uint_eq(c->store_id.b[0], 7);
    tide_catalog_free(c);
}
END_TEST

START_TEST(reserve_and_lease_keep_the_maximum)
{
    open_store();
    struct tide_commit *c = commit_new();
    rec(c, TIDE_REC_RESERVE)->reserve.upto = 1000;
    rec(c, TIDE_REC_RESERVE)->reserve.upto = 10;
    rec(c, TIDE_REC_LEASE)->lease.lease_us = 77;
    rec(c, TIDE_REC_LEASE)->lease.lease_us = 7;
    stored(c);
    struct tide_catalog *cat = load();
    ck_assert_uint_eq(cat->reserved, 1000);
    ck_assert_uint_eq(cat->lease_us, 77);
    tide_catalog_free(cat);
}
END_TEST

START_TEST(job_and_attempt)
{
    open_store();
    begin_job();
    struct tide_commit *c = commit_new();
    struct tide_record *r = rec(c, TIDE_REC_JOB_STATE);
    r->job_state.state = TIDE_JOB_HELD;
    r->job_state.cause = tide_bytes_of("the disk is full");
    r->job_state.snapshot = 5;
    r->job_state.wall = WALL;
    r = rec(c, TIDE_REC_ATTEMPT_RUN);
    r->attempt_run.attempt = 1;
    r->attempt_run.wall = WALL;
    r = rec(c, TIDE_REC_BASE);
    r->base.since = 9;
    r->base.unmatched = true;
    r->base.adopted = tide_bytes_of("pairs");
    stored(c);

    struct tide_catalog *cat = load();
    ck_assert_uint_eq(cat->n_jobs, 1);
    struct tide_catalog_job *j = &cat->jobs[0];
    ck_assert_mem_eq(j->id.b, job_a.b, 16);
    ck_assert(is(j->name, "alpha") && is(j->spec, "spec") && is(j->cause, "the disk is full"));
    ck_assert_int_eq(j->state, TIDE_JOB_HELD);
    ck_assert_uint_eq(j->ended_snapshot, 5);
    ck_assert(j->base_since == 9 && j->base_snapshot == 0 && j->base_unmatched);
    ck_assert(is(j->base_adopted, "pairs"));
    ck_assert_uint_eq(j->created_wall, WALL);
    ck_assert_uint_eq(j->attempts, 1);
    struct tide_catalog_attempt *a = &j->last;
    ck_assert_uint_eq(a->incarnation, st->incarnation);
    ck_assert_uint_eq(a->nonce, st->nonce);
    ck_assert_uint_eq(a->external, cat->external);
    ck_assert(cat->external > WALL && a->running && !a->ended && is(a->directory, "/state/a1"));
    ck_assert_uint_eq(a->n_members, 2);
    const struct tide_member *m = &a->members[0];
    ck_assert(is(m->worker, "w1") && is(m->endpoint, "h:1") && is(m->boot_id, "boot"));
    ck_assert(m->pid == 11 && m->start_time == 22 && m->n_ranges == 2);
    static const uint32_t ranges[] = {0, 100, 200, 1};
    ck_assert_mem_eq(m->ranges, ranges, sizeof ranges);
    ck_assert_uint_eq(a->members[1].n_ranges, 0);
    tide_catalog_free(cat);

    c = commit_new();
    r = rec(c, TIDE_REC_ATTEMPT_END);
    r->attempt_end.attempt = 1;
    r->attempt_end.wall = WALL + 1;
    r->attempt_end.reason = tide_bytes_of("worker w1 is lost");
    add_attempt(c, job_a, 2, 0);
    stored(c);
    cat = load();
    ck_assert_uint_eq(cat->jobs[0].attempts, 2);
    ck_assert(!cat->jobs[0].last.running);
    tide_catalog_free(cat);
    ck_assert_int_eq(number("SELECT ended_wall FROM attempt WHERE number = 1"), WALL + 1);
}
END_TEST

START_TEST(rounds)
{
    open_store();
    begin_job();
    struct tide_commit *c = commit_new();
    add_round(c, TIDE_REC_ROUND_BEGIN, job_a, 10);
    add_round(c, TIDE_REC_ROUND_BEGIN, job_a, 11);
    stored(c);

    c = commit_new();
    struct tide_holder h = {.task = 3,
                            .subtask = 1,
                            .uid = tide_bytes_of("count"),
                            .worker = tide_bytes_of("w1"),
                            .phase = tide_bytes_of("uploading")};
    struct tide_record *r = add_round(c, TIDE_REC_ROUND_END, job_a, 11);
    r->round.complete = false;
    r->round.code = 1;
    r->round.reason = tide_bytes_of("deadline");
    r->round.tasks = 9;
    r->round.acked = 8;
    r->round.trigger_us = 1;
    r->round.acks_us = 2;
    r->round.bytes = 3;
    r->round.holders = &h;
    r->round.n_holders = r->round.holders_total = 1;
    r = add_round(c, TIDE_REC_ROUND_END, job_a, 12); /* its begin never became durable */
    r->round.complete = false;
    r->round.reason = tide_bytes_of("the daemon restarted");
    add_round(c, TIDE_REC_ROUND_END, job_a, 13);
    r = rec(c, TIDE_REC_ROUND_TIMES);
    r->times.number = 13;
    r->times.commit_us = 100;
    r->times.notify_us = 200;
    rec(c, TIDE_REC_ROUND_SWEPT)->swept.number = 12;
    stored(c);

    struct tide_catalog *cat = load();
    struct tide_catalog_job *j = &cat->jobs[0];
    ck_assert_uint_eq(j->n_rounds, 2); /* 12 is swept, 13 is complete */
    ck_assert(j->rounds[0].round.number == 10 && !j->rounds[0].ended);
    ck_assert(j->rounds[0].round.begun_wall == WALL + 10 &&
              is(j->rounds[0].round.directory, "/state/a1/r10"));
    struct tide_record_round *got = &j->rounds[1].round;
    ck_assert(got->number == 11 && j->rounds[1].ended && got->code == 1 &&
              is(got->reason, "deadline"));
    ck_assert(got->tasks == 9 && got->acked == 8 && got->trigger_us == 1 && got->acks_us == 2 &&
              got->bytes == 3);
    ck_assert(got->attempt == 1 && got->incarnation == st->incarnation &&
              got->kind == TIDE_CHECKPOINT);
    tide_catalog_free(cat);
    ck_assert_int_eq(number("SELECT notify_us FROM round WHERE number = 13"), 200);
    ck_assert_int_eq(number("SELECT task FROM round_holder WHERE round = 11"), 3);
}
END_TEST

/* Aborted twice: the first reason stays, the sweep is due again. Otherwise an end is final. */
START_TEST(round_ends_once)
{
    open_store();
    begin_job();
    struct tide_commit *c = commit_new();
    struct tide_record *r = add_round(c, TIDE_REC_ROUND_END, job_a, 20);
    r->round.complete = false;
    r->round.reason = tide_bytes_of("first");
    rec(c, TIDE_REC_ROUND_SWEPT)->swept.number = 20;
    add_round(c, TIDE_REC_ROUND_END, job_a, 21);
    stored(c);
    c = commit_new();
    r = add_round(c, TIDE_REC_ROUND_END, job_a, 20);
    r->round.complete = false;
    r->round.reason = tide_bytes_of("second");
    stored(c);
    ck_assert_int_eq(number("SELECT reason = 'first' AND swept = 0 FROM round WHERE number = 20"),
                     1);
    c = commit_new();
    add_round(c, TIDE_REC_ROUND_END, job_a, 20);
    expect(c, TIDE_REFUSED, "has ended before");
    c = commit_new();
    r = add_round(c, TIDE_REC_ROUND_END, job_a, 21);
    r->round.complete = false;
    expect(c, TIDE_REFUSED, "has ended before");
    ck_assert_int_eq(number("SELECT count(*) FROM round WHERE state = 'complete'"), 1);
}
END_TEST

START_TEST(snapshot_and_its_end)
{
    open_store();
    begin_job();
    struct tide_commit *c = commit_new();
    add_snapshot(c, job_a, 30, 0, 10);
    c->last->snapshot.ended = tide_bytes_of("12345678");
    struct tide_record *r = rec(c, TIDE_REC_OWED);
    r->owed.round = 30;
    r->owed.uid = tide_bytes_of("sink");
    r->owed.subtask = 4;
    r->owed.handle = tide_bytes_of("handle");
    stored(c);
    c = commit_new();
    add_snapshot(c, job_a, 31, 30, 10);
    stored(c);

    struct tide_catalog *cat = load();
    struct tide_catalog_job *j = &cat->jobs[0];
    ck_assert_uint_eq(j->n_snapshots, 2);
    ck_assert(j->snapshots[0].round == 30 && j->snapshots[0].owed == 1 &&
              j->snapshots[0].parent == 0);
    ck_assert(is(j->snapshots[0].ended, "12345678") &&
              is(j->snapshots[0].directory, "/state/a1/r30"));
    ck_assert(j->snapshots[1].round == 31 && j->snapshots[1].parent == 30 &&
              j->snapshots[1].attempt == 1);
    ck_assert(j->snapshots[1].state == TIDE_RETAINED && j->snapshots[1].bytes == 1000);
    ck_assert(j->n_owed == 1 && is(j->owed[0].uid, "sink") && is(j->owed[0].handle, "handle"));
    ck_assert(j->owed[0].subtask == 4 && j->owed[0].round == 30);
    tide_catalog_free(cat);

    c = commit_new();
    add_snapshot_state(c, job_a, 30, TIDE_DELETED);
    expect(c, TIDE_REFUSED, "from retained to deleting to deleted");
    c = commit_new();
    add_snapshot_state(c, job_a, 30, TIDE_DELETING);
    expect(c, TIDE_REFUSED, "owed commits");
    c = commit_new(); /* another subtask's strike leaves it */
    r = rec(c, TIDE_REC_STRIKE);
    r->strike.upto = 40;
    r->strike.uid = tide_bytes_of("sink");
    r->strike.subtask = 5;
    stored(c);
    ck_assert_int_eq(number("SELECT count(*) FROM owed"), 1);
    c = commit_new();
    r = rec(c, TIDE_REC_STRIKE);
    r->strike.upto = 30;
    r->strike.uid = tide_bytes_of("sink");
    r->strike.subtask = 4;
    add_snapshot_state(c, job_a, 30, TIDE_DELETING);
    stored(c);
    c = commit_new();
    add_snapshot_state(c, job_a, 30, TIDE_DELETED);
    stored(c);
    c = commit_new();
    add_snapshot_state(c, job_a, 30, TIDE_DELETING);
    expect(c, TIDE_REFUSED, "from retained to deleting to deleted");
    c = commit_new();
    add_snapshot_state(c, job_a, 99, TIDE_DELETED);
    expect(c, TIDE_REFUSED, "no such snapshot");
    ck_assert_int_eq(number("SELECT count(*) FROM manifest WHERE snapshot = 30"), 0);
    ck_assert_int_eq(number("SELECT count(*) FROM snapshot"), 2);
    cat = load();
    ck_assert_uint_eq(cat->jobs[0].n_snapshots, 1);
    ck_assert_uint_eq(cat->jobs[0].subsumed, 30);
    ck_assert_uint_ge(cat->jobs[0].completed, 30);
    tide_catalog_free(cat);
}
END_TEST

START_TEST(savepoints_are_the_users)
{
    open_store();
    begin_job();
    struct tide_commit *c = commit_new();
    add_snapshot(c, job_a, 30, 0, 2);
    c->last->snapshot.kind = TIDE_SAVEPOINT;
    stored(c);
    c = commit_new();
    add_snapshot_state(c, job_a, 30, TIDE_DELETING);
    expect(c, TIDE_REFUSED, "belongs to the user");
}
END_TEST

/* Who goes on since an earlier attempt may ask what became of a savepoint of it, also when it has
 * been disposed of; of those before it nobody asks. */
START_TEST(deleted_savepoints_that_survivors_may_ask_for)
{
    open_store();
    begin_job();
    struct tide_commit *c = commit_new();
    add_attempt(c, job_a, 2, 0);
    add_attempt(c, job_a, 3, 0);
    struct tide_member members[2] = {c->last->attempt.members[0], c->last->attempt.members[1]};
    members[0].since = 2;
    c->last->attempt.members = members;
    for (uint64_t n = 1; n <= 3; n++) {
        add_snapshot(c, job_a, 30 + n, 0, 2);
        c->last->snapshot.kind = TIDE_SAVEPOINT;
        c->last->snapshot.attempt = n;
    }
    stored(c);
    for (int i = 0; i < 2; i++) {
        c = commit_new();
        for (uint64_t n = 1; n <= 3; n++) {
            add_snapshot_state(c, job_a, 30 + n, i ? TIDE_DELETED : TIDE_DELETING);
            c->last->snapshot_state.disposed = true;
        }
        stored(c);
    }
    struct tide_catalog *cat = load();
    ck_assert_uint_eq(cat->jobs[0].n_snapshots, 2);
    ck_assert_uint_eq(cat->jobs[0].snapshots[0].round, 32);
    tide_catalog_free(cat);
}
END_TEST

/* A large manifest of a deleted snapshot is freed when idle, not in the path of commits. */
START_TEST(large_manifest_goes_when_idle)
{
    open_store();
    begin_job();
    struct tide_commit *c = commit_new();
    add_snapshot(c, job_a, 30, 0, 20000);
    stored(c);
    ck_assert_int_gt(number("SELECT count(*) FROM manifest WHERE part > 0"), 0);
    c = commit_new();
    add_snapshot_state(c, job_a, 30, TIDE_DELETING);
    add_snapshot_state(c, job_a, 30, TIDE_DELETED);
    stored(c);
    ck_assert_int_gt(number("SELECT count(*) FROM manifest"), 0);
    maintain();
    ck_assert_int_eq(number("SELECT count(*) FROM manifest"), 0);
    ck_assert_int_eq(number("SELECT manifest_parts FROM snapshot"), 0);
    maintain();
}
END_TEST

/* Its chunks never reach the database if it is gone before anybody could read it. */
START_TEST(large_manifest_never_written)
{
    open_store();
    begin_job();
    for (uint64_t n = 30; n < 33; n++) {
        struct tide_commit *c = commit_new();
        add_snapshot(c, job_a, n, 0, 20000);
        stored(c);
    }
    struct tide_commit *c = commit_new();
    add_snapshot_state(c, job_a, 31, TIDE_DELETING);
    add_snapshot_state(c, job_a, 31, TIDE_DELETED);
    stored(c);
    ck_assert_int_eq(number("SELECT count(*) FROM manifest WHERE snapshot = 31"), 0);
    ck_assert_int_eq(number("SELECT manifest_parts FROM snapshot WHERE round = 31"), 0);
    ck_assert_int_eq(number("SELECT count(*) FROM manifest"), 6);
    char why[512];
    struct tide_reader *reader;
    ck_assert_int_eq(tide_reader_open(dir, &reader, why), 0);
    for (uint64_t n = 30; n < 33; n += 2) {
        struct tide_buf image = {0};
        ck_assert_msg(tide_reader_manifest(reader, n, &image, why) == 0, "%s", why);
        tide_buf_release(&image);
    }
    tide_reader_close(reader);
}
END_TEST

START_TEST(operations)
{
    open_store();
    begin_job();
    struct tide_commit *c = commit_new();
    for (uint64_t id = 1; id <= 1010; id++) {
        struct tide_record *r = rec(c, TIDE_REC_OPERATION);
        r->operation.id = id;
        r->operation.kind = TIDE_OP_SAVEPOINT;
        r->operation.state = id == 2 ? TIDE_OP_RUNNING : TIDE_OP_DONE;
        r->operation.begun_wall = WALL;
        r->operation.ended_wall = id == 2 ? 0 : WALL + 1;
        r->operation.key = tide_commit_printf(c, "key %" PRIu64, id);
    }
    stored(c);
    struct tide_catalog *cat = load();
    struct tide_catalog_job *j = &cat->jobs[0];
    ck_assert_uint_eq(j->n_operations,
                      1001); /* the newest 1,000 with a key, and the one not ended */
    ck_assert_uint_eq(j->operations[0].id, 2);
    ck_assert_uint_eq(j->operations[1].id, 11);
    ck_assert(is(j->operations[1].key, "key 11"));
    tide_catalog_free(cat);

    c = commit_new(); /* replaced as a whole */
    struct tide_record *r = rec(c, TIDE_REC_OPERATION);
    r->operation.id = 2;
    r->operation.kind = TIDE_OP_SAVEPOINT;
    r->operation.state = TIDE_OP_FAILED;
    r->operation.begun_wall = WALL;
    r->operation.ended_wall = WALL + 9;
    r->operation.error = tide_bytes_of("no room");
    r->operation.target = tide_bytes_of("/t");
    r->operation.label = tide_bytes_of("l");
    r->operation.snapshot = 44;
    stored(c);
    ck_assert_int_eq(
        number("SELECT state = 'failed' AND error = 'no room' AND snapshot = 44 AND key IS NULL"
               " FROM operation WHERE id = 2"),
        1);
    cat = load();
    ck_assert_uint_eq(cat->jobs[0].n_operations, 1000);
    tide_catalog_free(cat);
}
END_TEST

START_TEST(audit)
{
    open_store();
    struct tide_commit *c = commit_new();
    struct tide_record *r = tide_commit_add(c, TIDE_REC_AUDIT, (tide_id){{0}});
    r->audit.who = tide_bytes_of("ann@host");
    r->audit.what = tide_bytes_of("savepoint");
    r->audit.wall = WALL;
    stored(c);
    ck_assert_int_eq(
        number("SELECT count(*) FROM audit_log WHERE who = 'ann@host' AND job IS NULL"), 1);
}
END_TEST

START_TEST(what_makes_no_sense_is_refused)
{
    open_store();
    begin_job();
    struct tide_commit *c = commit_new();
    add_job(c, job_b, "alpha");
    expect(c, TIDE_REFUSED, "job: UNIQUE constraint failed: job.name");
    c = commit_new();
    tide_commit_add(c, TIDE_REC_JOB_STATE, job_b)->job_state.state = TIDE_JOB_RUNNING;
    expect(c, TIDE_REFUSED, "no such job");
    c = commit_new();
    add_attempt(c, job_b, 1, 0);
    expect(c, TIDE_REFUSED, "attempt");
    c = commit_new();
    rec(c, TIDE_REC_ROUND_TIMES)->times.number = 4;
    expect(c, TIDE_REFUSED, "no such round");
    c = commit_new();
    rec(c, TIDE_REC_RESERVE)->reserve.upto = UINT64_MAX;
    expect(c, TIDE_REFUSED, "too large");
    c = commit_new(); /* a snapshot whose round has no row */
    add_snapshot(c, job_a, 30, 0, 2);
    c->first = c->first->next;
    expect(c, TIDE_REFUSED, "FOREIGN KEY");
    c = commit_new();
    add_snapshot(c, job_a, 30, 29, 2);
    expect(c, TIDE_REFUSED, "snapshot: FOREIGN KEY");
    c = commit_new();
    rec(c, (enum tide_record_type)77);
    expect(c, TIDE_REFUSED, "unknown type 77");
    c = commit_new();
    c->rc = TIDE_ENOMEM;
    expect(c, TIDE_NO_SPACE, "no memory");
    ck_assert_int_eq(number("SELECT count(*) FROM round"), 0);
    ck_assert_int_eq(number("SELECT count(*) FROM manifest"), 0);
}
END_TEST

START_TEST(one_bad_commit_of_a_group)
{
    open_store();
    begin_job();
    struct tide_commit *c[5];
    for (int i = 0; i < 5; i++) {
        c[i] = commit_new();
        add_snapshot(c[i], job_a, i == 2 ? 40 : 40 + (uint64_t)i, 0,
                     3); /* the third repeats the first */
        if (i) c[i - 1]->next = c[i];
    }
    tide_store_commit(st, c[0]);
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(c[i]->outcome, i == 2 ? TIDE_REFUSED : TIDE_STORED);
        ck_assert_int_eq(c[i]->error[0] != '\0', i == 2);
        tide_commit_free(c[i]);
    }
    ck_assert_int_eq(number("SELECT count(*) FROM snapshot"), 4);
}
END_TEST

/* Somebody else mints an incarnation on the file: this one writes nothing any more. */
START_TEST(incarnation_theft)
{
    open_store();
    begin_job();
    ck_assert_int_eq(tide_store_settle(st), 0);
    sqlite3 *thief;
    ck_assert_int_eq(sqlite3_open(st->path, &thief), SQLITE_OK);
    char sql[128];
    snprintf(sql, sizeof sql, "INSERT INTO incarnation VALUES (%" PRIu64 ", 1, 1)",
             st->incarnation + 1);
    ck_assert_int_eq(sqlite3_exec(thief, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(thief);
    struct tide_commit *a = commit_new(), *b = commit_new();
    add_round(a, TIDE_REC_ROUND_BEGIN, job_a, 5);
    add_round(b, TIDE_REC_ROUND_BEGIN, job_a, 6);
    a->next = b;
    tide_store_commit(st, a);
    ck_assert(a->outcome == TIDE_REFUSED && b->outcome == TIDE_REFUSED && a->fenced && b->fenced);
    ck_assert_ptr_nonnull(strstr(a->error, "another daemon"));
    tide_commit_free(a);
    tide_commit_free(b);
    ck_assert_int_eq(number("SELECT count(*) FROM round"), 0);
}
END_TEST

static void must_not_open(int want, const char *words)
{
    char why[512] = "";
    struct tide_store *other = NULL;
    struct tide_store_options o = options();
    int rc = tide_store_open(&o, &other, why);
    ck_assert_msg(rc == want, "%d: %s", rc, why);
    ck_assert_msg(strstr(why, words) && strstr(why, dir), "\"%s\"", why);
    ck_assert_ptr_null(other);
}

START_TEST(two_daemons)
{
    open_store();
    must_not_open(TIDE_EBUSY, "another daemon has this data directory, process ");
    close_store();
    open_store();
}
END_TEST

START_TEST(newer_version)
{
    open_store();
    sqlite3_exec(st->db, "PRAGMA user_version = 999", NULL, NULL, NULL);
    close_store();
    must_not_open(TIDE_EVERSION, "newer version");
}
END_TEST

START_TEST(foreign_database)
{
    sqlite3 *db;
    ck_assert_int_eq(sqlite3_open(in_dir("tidemark.db"), &db), SQLITE_OK);
    sqlite3_exec(db, "CREATE TABLE mine (x)", NULL, NULL, NULL);
    sqlite3_close(db);
    must_not_open(TIDE_ECORRUPT, "another program");
}
END_TEST

START_TEST(not_a_database)
{
    FILE *f = fopen(in_dir("tidemark.db"), "w");
    for (int i = 0; i < 5000; i++)
        fputs("what is this? ", f);
    fclose(f);
    must_not_open(TIDE_ECORRUPT, "restore it from a backup");
}
END_TEST

/* Each page in turn is overwritten: the store must say so, or (a page that holds nothing) open. */
START_TEST(damaged_pages)
{
    open_store();
    begin_job();
    struct tide_commit *c = commit_new();
    add_snapshot(c, job_a, 30, 0, 20000);
    stored(c);
    close_store();
    char path[256], junk[16384];
    strcpy(path, in_dir("tidemark.db"));
    struct stat s;
    ck_assert_int_eq(stat(path, &s), 0);
    FILE *f = fopen(path, "rb");
    char *whole = malloc((size_t)s.st_size);
    ck_assert_uint_eq(fread(whole, 1, (size_t)s.st_size, f), (size_t)s.st_size);
    fclose(f);
    memset(junk, 0x5a, sizeof junk);
    int refused = 0, opened = 0;
    for (off_t at = 0; at < s.st_size; at += 16384) {
        int fd = open(path, O_WRONLY | O_TRUNC);
        ck_assert_int_eq(write(fd, whole, (size_t)s.st_size), s.st_size);
        ck_assert_int_eq(pwrite(fd, junk, 16384, at), 16384);
        close(fd);
        unlink(in_dir("tidemark.db-wal"));
        unlink(in_dir("tidemark.db-shm"));
        char why[512] = "";
        struct tide_store_options o = options();
        int rc = tide_store_open(&o, &st, why);
        if (rc) {
            ck_assert_msg(rc == TIDE_ECORRUPT, "%d: %s", rc, why);
            ck_assert_msg(strstr(why, path) && strstr(why, "restore it from a backup"), "%s", why);
            refused++;
        } else {
            opened++;
            close_store();
        }
    }
    free(whole);
    ck_assert_int_gt(refused, 25);
    /* Overflow pages of a BLOB carry only a link: that of the last is not looked at by SQLite, its
     * bytes are the manifest digest's business. */
    ck_assert_int_le(opened, 3);
}
END_TEST

/* The journal has its size before the first commit, and neither log grows as long as somebody
 * maintains them. */
START_TEST(logs_keep_their_size)
{
    char why[512];
    struct stat s;
    struct tide_store_options o = options();
    o.journal = 4 << 20;
    ck_assert_int_eq(tide_store_open(&o, &st, why), 0);
    ck_assert_int_eq(stat(in_dir("journal.0"), &s), 0);
    ck_assert_int_eq(s.st_size, 4 << 20);
    begin_job();
    for (uint64_t i = 0; i < 3000; i++) {
        struct tide_commit *c = commit_new();
        add_snapshot(c, job_a, 100 + i, i ? 99 + i : 0, 10);
        stored(c);
        maintain();
    }
    ck_assert_int_eq(stat(in_dir("journal.0"), &s), 0);
    ck_assert_int_le(s.st_size, 33 << 20);
    ck_assert_int_eq(stat(in_dir("tidemark.db-wal"), &s), 0);
    ck_assert_int_le(s.st_size, 10 << 20);
}
END_TEST

/* All of it is there after the next start. */
START_TEST(reopened)
{
    open_store();
    begin_job();
    struct tide_commit *c = commit_new();
    add_snapshot(c, job_a, 30, 0, 10);
    stored(c);
    close_store();
    open_store();
    struct tide_catalog *cat = load();
    ck_assert(cat->n_jobs == 1 && cat->jobs[0].n_snapshots == 1);
    ck_assert(cat->jobs[0].last.incarnation < cat->incarnation);
    tide_catalog_free(cat);
    ck_assert_int_eq(access(in_dir("tidemark.lock"), F_OK), 0);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, fresh_store);
    tcase_add_test(tc, incarnations_rise);
    tcase_add_test(tc, reserve_and_lease_keep_the_maximum);
    tcase_add_test(tc, job_and_attempt);
    tcase_add_test(tc, rounds);
    tcase_add_test(tc, round_ends_once);
    tcase_add_test(tc, snapshot_and_its_end);
    tcase_add_test(tc, savepoints_are_the_users);
    tcase_add_test(tc, deleted_savepoints_that_survivors_may_ask_for);
    tcase_add_test(tc, large_manifest_goes_when_idle);
    tcase_add_test(tc, large_manifest_never_written);
    tcase_add_test(tc, operations);
    tcase_add_test(tc, audit);
    tcase_add_test(tc, what_makes_no_sense_is_refused);
    tcase_add_test(tc, one_bad_commit_of_a_group);
    tcase_add_test(tc, incarnation_theft);
    tcase_add_test(tc, two_daemons);
    tcase_add_test(tc, newer_version);
    tcase_add_test(tc, foreign_database);
    tcase_add_test(tc, not_a_database);
    tcase_add_test(tc, damaged_pages);
    tcase_add_test(tc, logs_keep_their_size);
    tcase_add_test(tc, reopened);
}

int main(void)
{
    return run("store", add_tests);
}
