/* Admins' questions that the store answers: any Request gets one Response, and of a bounded size,
 * from a store that holds a bit of everything.
 *
 * Input: a Request's bytes. The daemon asks a reader only what it is for; here it is asked all. */
#include "tests/storage/lib_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tide_reader *reader;

static void end(void)
{
    tide_reader_close(reader);
    teardown();
}

/* alpha: snapshots 10 (deleted) <- 11 <- 12, round 13 aborted, 14 under way, operation 5. */
START_TEST(fill)
{
    char why[512];
    struct tide_holder h = {.task = 3, .subtask = 1};
    setup();
    open_store();
    struct tide_commit *c = commit_new();
    add_job(c, job_a, "alpha");
    add_job(c, job_b, "beta");
    add_attempt(c, job_a, 1, 0);
    for (uint64_t round = 10; round <= 12; round++)
        add_snapshot(c, job_a, round, round > 10 ? round - 1 : 0, 7);
    c->last->snapshot.label = tide_bytes_of("before the move");
    stored(c);
    c = commit_new();
    add_snapshot_state(c, job_a, 10, TIDE_DELETING);
    add_snapshot_state(c, job_a, 10, TIDE_DELETED);
    h.uid = h.worker = h.phase = tide_bytes_of("op");
    struct tide_record *r = add_round(c, TIDE_REC_ROUND_END, job_a, 13);
    r->round.complete = false;
    r->round.reason = tide_bytes_of("deadline");
    r->round.holders = &h;
    r->round.n_holders = r->round.holders_total = 1;
    add_round(c, TIDE_REC_ROUND_BEGIN, job_a, 14);
    r = tide_commit_add(c, TIDE_REC_OPERATION, job_a);
    r->operation.id = 5;
    r->operation.kind = TIDE_OP_SAVEPOINT;
    r->operation.state = TIDE_OP_DONE;
    r->operation.snapshot = 12;
    r->operation.begun_wall = r->operation.ended_wall = 1;
    stored(c);
    if (tide_store_settle(st) || tide_reader_open(dir, &reader, why)) abort();
    (void)atexit(end);
}
END_TEST

/* The fixture asserts with Check, which wants to be running. */
static void begin(void)
{
    Suite *s = suite_create("fill");
    TCase *t = tcase_create("fill");
    tcase_add_test(t, fill);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_SILENT);
    srunner_free(r);
    if (!reader) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tide_arena arena;
    if (!reader) begin();
    tide_arena_init(&arena, TIDE_ARENA_MAX);
    Tide__Request *q =
        tide_unpack(&arena, &tide__request__descriptor, (struct tide_bytes){data, size}, NULL);
    if (q) {
        Tide__Response *a = tide_reader_answer(reader, q);
        if (!a || a->result_case == TIDE__RESPONSE__RESULT__NOT_SET) abort();
        if (a->result_case == TIDE__RESPONSE__RESULT_ERROR && a->error->text.len == 0) abort();
        if (tide__response__get_packed_size(a) > 1u << 20) abort();
        tide__response__free_unpacked(a, NULL);
    }
    tide_arena_release(&arena);
    return 0;
}
