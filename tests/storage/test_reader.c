/* What admins are told is what the store holds. */
#include <string.h>

#include "tests/storage/lib_fixture.h"

static struct tide_reader *reader;

/* alpha: snapshots 10 <- 11 <- 12 (100 tasks), round 13 aborted, 14 under way, operation 5; beta:
 * nothing. */
static void fill(void)
{
    char why[512] = "";
    open_store();
    struct tide_commit *c = commit_new();
    add_job(c, job_a, "alpha");
    add_job(c, job_b, "beta");
    add_attempt(c, job_a, 1, 0);
    add_snapshot(c, job_a, 10, 0, 100);
    stored(c);
    c = commit_new();
    add_attempt(c, job_a, 2, 10);
    add_snapshot(c, job_a, 11, 10, 100);
    c->last->snapshot.attempt = 2;
    add_snapshot(c, job_a, 12, 11, 100);
    c->last->snapshot.attempt = 2;
    c->last->snapshot.label = tide_bytes_of("before the move");
    add_snapshot_state(c, job_a, 10, TIDE_DELETING);
    add_snapshot_state(c, job_a, 10, TIDE_DELETED);
    struct tide_holder h = {.task = 3,
                            .subtask = 1,
                            .uid = tide_bytes_of("op"),
                            .worker = tide_bytes_of("w1"),
                            .phase = tide_bytes_of("aligning")};
    struct tide_record *r = add_round(c, TIDE_REC_ROUND_END, job_a, 13);
    r->round.complete = false;
    r->round.reason = tide_bytes_of("deadline");
    r->round.tasks = 100;
    r->round.acked = 99;
    r->round.holders = &h;
    r->round.n_holders = r->round.holders_total = 1;
    add_round(c, TIDE_REC_ROUND_BEGIN, job_a, 14);
    r = tide_commit_add(c, TIDE_REC_OPERATION, job_a);
    r->operation.id = 5;
    r->operation.kind = TIDE_OP_SAVEPOINT;
    r->operation.state = TIDE_OP_FAILED;
    r->operation.error = tide_bytes_of("no room");
    r->operation.snapshot = 13;
    r->operation.begun_wall = 1;
    r->operation.ended_wall = 2;
    stored(c);
    ck_assert_int_eq(tide_store_settle(st), 0);
    ck_assert_msg(tide_reader_open(dir, &reader, why) == 0, "%s", why);
}

static void done(void)
{
    tide_reader_close(reader);
}

static bool is(ProtobufCBinaryData b, const char *text)
{
    return tide_bytes_equal((struct tide_bytes){b.data, b.len}, tide_bytes_of(text));
}

static ProtobufCBinaryData text(const char *t)
{
    return (ProtobufCBinaryData){strlen(t), (uint8_t *)(uintptr_t)t};
}

static Tide__Response *ask(Tide__Request *q, Tide__Request__CallCase call,
                           Tide__Response__ResultCase want)
{
    q->call_case = call;
    Tide__Response *a = tide_reader_answer(reader, q);
    ck_assert_ptr_nonnull(a);
    ck_assert_int_eq(a->result_case, want);
    return a;
}

static void drop(Tide__Response *a)
{
    tide__response__free_unpacked(a, NULL);
}

static void error(Tide__Request *q, Tide__Request__CallCase call, Tide__ErrorCode code,
                  const char *words)
{
    Tide__Response *a = ask(q, call, TIDE__RESPONSE__RESULT_ERROR);
    ck_assert_int_eq(a->error->code, code);
    ck_assert_msg(memmem(a->error->text.data, a->error->text.len, words, strlen(words)) != NULL,
                  "%.*s", (int)a->error->text.len, (const char *)a->error->text.data);
    drop(a);
}

START_TEST(snapshots)
{
    fill();
    Tide__Request q = TIDE__REQUEST__INIT;
    Tide__ListSnapshots list = TIDE__LIST_SNAPSHOTS__INIT;
    q.snapshots = &list;
    for (int i = 0; i < 3; i++) { /* of all jobs, by name, by id */
        list.job = text(i == 0 ? "" : i == 1 ? "alpha" : "AA010000000000000000000000000000");
        Tide__Response *a =
            ask(&q, TIDE__REQUEST__CALL_SNAPSHOTS, TIDE__RESPONSE__RESULT_SNAPSHOTS);
        ck_assert_uint_eq(a->snapshots->n_snapshots, 2);
        const Tide__SnapshotInfo *s = a->snapshots->snapshots[0];
        ck_assert(s->snapshot == 12 && s->parent == 11 && s->tasks == 100 && s->attempt == 2 &&
                  s->bytes == 1000);
        ck_assert(is(s->job, "alpha") && is(s->state, "retained") && is(s->owner, "system"));
        ck_assert(is(s->label, "before the move") && is(s->directory, "/state/a1/r12"));
        ck_assert_uint_eq(s->kind, TIDE__ROUND_KIND__ROUND_CHECKPOINT);
        ck_assert(!a->snapshots->more);
        drop(a);
        list.deleted = 1;
        list.limit = 2;
        list.before = 12;
        a = ask(&q, TIDE__REQUEST__CALL_SNAPSHOTS, TIDE__RESPONSE__RESULT_SNAPSHOTS);
        ck_assert_uint_eq(a->snapshots->n_snapshots, 2);
        ck_assert(is(a->snapshots->snapshots[1]->state, "deleted") && !a->snapshots->more);
        drop(a);
        list.limit = 1;
        a = ask(&q, TIDE__REQUEST__CALL_SNAPSHOTS, TIDE__RESPONSE__RESULT_SNAPSHOTS);
        ck_assert(a->snapshots->n_snapshots == 1 && a->snapshots->more);
        drop(a);
        list = (Tide__ListSnapshots)TIDE__LIST_SNAPSHOTS__INIT;
    }
    list.job = text("beta");
    Tide__Response *a = ask(&q, TIDE__REQUEST__CALL_SNAPSHOTS, TIDE__RESPONSE__RESULT_SNAPSHOTS);
    ck_assert_uint_eq(a->snapshots->n_snapshots, 0);
    drop(a);
    list.job = text("gamma");
    error(&q, TIDE__REQUEST__CALL_SNAPSHOTS, TIDE__ERROR_CODE__ERROR_NOT_FOUND,
          "there is no job \"gamma\"");
    list.limit = 1001;
    error(&q, TIDE__REQUEST__CALL_SNAPSHOTS, TIDE__ERROR_CODE__ERROR_INVALID, "1001 is above 1000");
    done();
}
END_TEST

START_TEST(one_snapshot)
{
    fill();
    Tide__Request q = TIDE__REQUEST__INIT;
    Tide__ShowSnapshot show = TIDE__SHOW_SNAPSHOT__INIT;
    q.snapshot = &show;
    show.snapshot = 12;
    Tide__Response *a = ask(&q, TIDE__REQUEST__CALL_SNAPSHOT, TIDE__RESPONSE__RESULT_SNAPSHOT);
    ck_assert(a->snapshot->info->snapshot == 12 && a->snapshot->n_tasks == 0);
    drop(a);
    show.first_task = 48;
    show.limit = 4;
    a = ask(&q, TIDE__REQUEST__CALL_SNAPSHOT, TIDE__RESPONSE__RESULT_SNAPSHOT);
    ck_assert(a->snapshot->n_tasks == 4 && a->snapshot->more);
    for (uint32_t i = 0; i < 4; i++) {
        const Tide__SnapshotTask *t = a->snapshot->tasks[i];
        ck_assert(t->task == 48 + i && t->subtask == 48 + i && is(t->operator_uid, "op") &&
                  !t->ended);
        ck_assert(t->n_artifacts == 1 && t->artifacts[0]->size == 58 + i &&
                  t->artifacts[0]->digest_low == 48 + i);
        ck_assert_int_eq(t->artifacts[0]->place_case, TIDE__ARTIFACT__PLACE_PATH);
    }
    ck_assert(is(a->snapshot->tasks[2]->artifacts[0]->path, "t50-0"));
    drop(a);
    show.first_task = 99;
    a = ask(&q, TIDE__REQUEST__CALL_SNAPSHOT, TIDE__RESPONSE__RESULT_SNAPSHOT);
    ck_assert(a->snapshot->n_tasks == 1 && !a->snapshot->more);
    drop(a);
    show.first_task = UINT32_MAX;
    a = ask(&q, TIDE__REQUEST__CALL_SNAPSHOT, TIDE__RESPONSE__RESULT_SNAPSHOT);
    ck_assert(a->snapshot->n_tasks == 0 && !a->snapshot->more);
    drop(a);
    show.snapshot = 10; /* deleted: the row is what is left */
    a = ask(&q, TIDE__REQUEST__CALL_SNAPSHOT, TIDE__RESPONSE__RESULT_SNAPSHOT);
    ck_assert(is(a->snapshot->info->state, "deleted") && a->snapshot->n_tasks == 0);
    drop(a);
    show.limit = 10001;
    error(&q, TIDE__REQUEST__CALL_SNAPSHOT, TIDE__ERROR_CODE__ERROR_INVALID, "10001 tasks");
    show.snapshot = UINT64_MAX;
    error(&q, TIDE__REQUEST__CALL_SNAPSHOT, TIDE__ERROR_CODE__ERROR_NOT_FOUND,
          "no snapshot 18446744073709551615");
    done();
}
END_TEST

START_TEST(lineage)
{
    fill();
    Tide__Request q = TIDE__REQUEST__INIT;
    Tide__Lineage l = TIDE__LINEAGE__INIT;
    q.lineage = &l;
    for (int i = 0; i < 2; i++) {
        l.snapshot = i ? 12 : 0;
        l.job = text(i ? "" : "alpha");
        Tide__Response *a = ask(&q, TIDE__REQUEST__CALL_LINEAGE, TIDE__RESPONSE__RESULT_LINEAGE);
        ck_assert_uint_eq(a->lineage->n_steps, 3);
        ck_assert(a->lineage->steps[0]->info->snapshot == 12 &&
                  is(a->lineage->steps[0]->relation, "follows"));
        ck_assert(a->lineage->steps[1]->info->snapshot == 11 &&
                  is(a->lineage->steps[1]->relation, "restored-from"));
        ck_assert(a->lineage->steps[2]->info->snapshot == 10 &&
                  a->lineage->steps[2]->relation.len == 0);
        drop(a);
    }
    l.job = text("beta");
    l.snapshot = 0;
    error(&q, TIDE__REQUEST__CALL_LINEAGE, TIDE__ERROR_CODE__ERROR_NOT_FOUND, "no snapshot yet");
    l.snapshot = 77;
    error(&q, TIDE__REQUEST__CALL_LINEAGE, TIDE__ERROR_CODE__ERROR_NOT_FOUND, "no snapshot 77");
    done();
}
END_TEST

START_TEST(rounds)
{
    fill();
    Tide__Request q = TIDE__REQUEST__INIT;
    Tide__ListRounds list = TIDE__LIST_ROUNDS__INIT;
    q.rounds = &list;
    list.job = text("alpha");
    Tide__Response *a = ask(&q, TIDE__REQUEST__CALL_ROUNDS, TIDE__RESPONSE__RESULT_ROUNDS);
    ck_assert_uint_eq(a->rounds->n_rounds, 5);
    ck_assert(a->rounds->rounds[0]->round == 14 && is(a->rounds->rounds[0]->state, "collecting"));
    const Tide__RoundInfo *r = a->rounds->rounds[1];
    ck_assert(r->round == 13 && is(r->state, "aborted") && is(r->reason, "deadline") &&
              is(r->job, "alpha"));
    ck_assert(r->tasks == 100 && r->acked == 99 && r->held_by_count == 1 && r->n_held_by == 1);
    ck_assert(r->held_by[0]->task == 3 && is(r->held_by[0]->worker, "w1") &&
              is(r->held_by[0]->phase, "aligning"));
    ck_assert(is(a->rounds->rounds[2]->state, "complete"));
    drop(a);
    list.before = 13;
    list.limit = 2;
    a = ask(&q, TIDE__REQUEST__CALL_ROUNDS, TIDE__RESPONSE__RESULT_ROUNDS);
    ck_assert(a->rounds->n_rounds == 2 && a->rounds->more && a->rounds->rounds[0]->round == 12);
    drop(a);
    done();
}
END_TEST

/* S220, S221, S224: the history has no length that could be too short: a page of one has the
 * newest, and says that there is more; page by page all are had, each once, as they are had at
 * once. */
START_TEST(history_page_by_page_S221)
{
    fill();
    uint64_t all[16], before = 0;
    size_t n = 0, pages = 0;
    Tide__Request q = TIDE__REQUEST__INIT;
    Tide__ListRounds list = TIDE__LIST_ROUNDS__INIT;
    q.rounds = &list;
    list.job = text("alpha");
    Tide__Response *a = ask(&q, TIDE__REQUEST__CALL_ROUNDS, TIDE__RESPONSE__RESULT_ROUNDS);
    ck_assert(!a->rounds->more);
    while (n < a->rounds->n_rounds) {
        all[n] = a->rounds->rounds[n]->round;
        n++;
    }
    drop(a);
    list.limit = 1;
    do {
        list.before = before;
        a = ask(&q, TIDE__REQUEST__CALL_ROUNDS, TIDE__RESPONSE__RESULT_ROUNDS);
        ck_assert_uint_eq(a->rounds->n_rounds, 1);
        before = a->rounds->rounds[0]->round;
        ck_assert_uint_eq(before, all[pages++]);
        ck_assert_int_eq(a->rounds->more, pages < n);
        drop(a);
    } while (pages < n);
    done();
}
END_TEST

/* S223, S226: an answer is read when it is asked for, and is the asker's own: what is done to it
 * changes none that comes after. */
START_TEST(answers_are_the_askers_own_S223)
{
    fill();
    Tide__Request q = TIDE__REQUEST__INIT;
    Tide__ListRounds list = TIDE__LIST_ROUNDS__INIT;
    q.rounds = &list;
    list.job = text("alpha");
    for (int twice = 0; twice < 2; twice++) {
        Tide__Response *a = ask(&q, TIDE__REQUEST__CALL_ROUNDS, TIDE__RESPONSE__RESULT_ROUNDS);
        Tide__RoundInfo *r = a->rounds->rounds[1];
        ck_assert(r->round == 13 && is(r->reason, "deadline") && r->acked == 99);
        r->round = r->acked = 0;
        memset(r->reason.data, 'x', r->reason.len);
        drop(a);
    }
    done();
}
END_TEST

START_TEST(operation_and_others)
{
    fill();
    Tide__Request q = TIDE__REQUEST__INIT;
    Tide__WaitOperation wait = TIDE__WAIT_OPERATION__INIT;
    q.wait = &wait;
    wait.operation = 5;
    Tide__Response *a = ask(&q, TIDE__REQUEST__CALL_WAIT, TIDE__RESPONSE__RESULT_OPERATION);
    const Tide__Operation *o = a->operation;
    ck_assert(o->id == 5 && is(o->state, "failed") && is(o->error, "no room") &&
              is(o->kind, "savepoint"));
    ck_assert(o->tasks == 100 && o->acked == 99 && o->snapshot == 13 && is(o->job, "alpha"));
    drop(a);
    wait.operation = 6;
    error(&q, TIDE__REQUEST__CALL_WAIT, TIDE__ERROR_CODE__ERROR_NOT_FOUND, "no operation 6");
    error(&q, TIDE__REQUEST__CALL_STATUS, TIDE__ERROR_CODE__ERROR_UNSUPPORTED,
          "not answered by the store");
    done();
}
END_TEST

START_TEST(manifest)
{
    fill();
    struct tide_buf image = {0};
    struct tide_manifest m;
    char why[256] = "";
    ck_assert_msg(tide_reader_manifest(reader, 12, &image, why) == 0, "%s", why);
    ck_assert_msg(tide_manifest_open(&m, (struct tide_bytes){image.data, image.len}, why) == 0,
                  "%s", why);
    ck_assert_uint_eq(m.head->round, 12);
    tide_manifest_close(&m);
    tide_buf_release(&image);
    ck_assert_int_eq(tide_reader_manifest(reader, 10, &image, why), TIDE_ENOTFOUND);
    ck_assert_int_eq(tide_reader_manifest(reader, 99, &image, why), TIDE_ENOTFOUND);
    struct tide_buf small;
    tide_buf_init(&small, 100);
    ck_assert_int_eq(tide_reader_manifest(reader, 12, &small, why), TIDE_ENOMEM);
    /* A manifest of several parts; then one of them is not what it was. */
    struct tide_commit *c = commit_new();
    add_snapshot(c, job_a, 20, 12, 20000);
    stored(c);
    ck_assert_int_eq(tide_reader_manifest(reader, 20, &image, why), TIDE_ENOTFOUND); /* not yet */
    ck_assert_int_eq(tide_store_settle(st), 0);
    ck_assert_int_eq(number("SELECT manifest_parts FROM snapshot WHERE round = 20"), 3);
    ck_assert_int_eq(tide_reader_manifest(reader, 20, &image, why), 0);
    tide_buf_release(&image);
    sqlite3_exec(
        st->db,
        "UPDATE manifest SET data = zeroblob(length(data)) WHERE snapshot = 20 AND part = 2", NULL,
        NULL, NULL);
    ck_assert_int_eq(tide_reader_manifest(reader, 20, &image, why), TIDE_ECORRUPT);
    sqlite3_exec(st->db, "DELETE FROM manifest WHERE snapshot = 20 AND part = 1", NULL, NULL, NULL);
    ck_assert_int_eq(tide_reader_manifest(reader, 20, &image, why), TIDE_ECORRUPT);
    Tide__Request q = TIDE__REQUEST__INIT;
    Tide__ShowSnapshot show = TIDE__SHOW_SNAPSHOT__INIT;
    q.snapshot = &show;
    show.snapshot = 20;
    show.limit = 1;
    error(&q, TIDE__REQUEST__CALL_SNAPSHOT, TIDE__ERROR_CODE__ERROR_INTERNAL, "is damaged");
    done();
}
END_TEST

/* A reader cannot write, and one that was told to stop answers the next question all the same. */
/* Whoever looks after its files would miss some and call it damaged. */
START_TEST(what_is_being_deleted_lies_nowhere)
{
    struct tide_buf image = {0}, directory = {0};
    char why[256] = "";
    fill();
    tide_buf_init(&directory, 4096);
    ck_assert_int_eq(tide_reader_directory(reader, 11, &directory, why), 0);
    ck_assert_uint_gt(directory.len, 0);
    struct tide_commit *c = commit_new();
    add_snapshot_state(c, job_a, 11, TIDE_DELETING);
    stored(c);
    ck_assert_int_eq(tide_store_settle(st), 0);
    ck_assert_int_eq(tide_reader_manifest(reader, 11, &image, why), 0); /* its list is there yet */
    ck_assert_int_eq(tide_reader_directory(reader, 11, &directory, why), TIDE_ENOTFOUND);
    ck_assert_str_eq(why, "snapshot 11 is deleted");
    tide_buf_release(&image);
    tide_buf_release(&directory);
    done();
}
END_TEST

START_TEST(apart)
{
    char why[512] = "";
    fill();
    tide_reader_interrupt(reader);
    Tide__Request q = TIDE__REQUEST__INIT;
    Tide__ListRounds list = TIDE__LIST_ROUNDS__INIT;
    q.rounds = &list;
    drop(ask(&q, TIDE__REQUEST__CALL_ROUNDS, TIDE__RESPONSE__RESULT_ROUNDS));
    done();
    struct tide_reader *none = NULL;
    ck_assert_int_eq(tide_reader_open("/nowhere", &none, why), TIDE_EIO);
    ck_assert_ptr_nonnull(strstr(why, "/nowhere/tidemark.db: cannot be opened"));
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, snapshots);
    tcase_add_test(tc, one_snapshot);
    tcase_add_test(tc, lineage);
    tcase_add_test(tc, rounds);
    tcase_add_test(tc, history_page_by_page_S221);
    tcase_add_test(tc, answers_are_the_askers_own_S223);
    tcase_add_test(tc, operation_and_others);
    tcase_add_test(tc, manifest);
    tcase_add_test(tc, what_is_being_deleted_lies_nowhere);
    tcase_add_test(tc, apart);
}

int main(void)
{
    return run("reader", add_tests);
}
