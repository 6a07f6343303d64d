#include "tests/storage/lib_fixture.h"

#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "proto/common.pb-c.h"

char dir[64];
struct tide_store *st;
const tide_id job_a = {{0xaa, 1}}, job_b = {{0xbb, 2}};

void setup(void)
{
    /* In memory if there is such a place: these tests open a store thousands of times. */
    strcpy(dir, access("/dev/shm", W_OK) == 0 ? "/dev/shm/tide-storage-XXXXXX"
                                              : "/tmp/tide-storage-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *f)
{
    (void)s, (void)type, (void)f;
    return remove(path);
}

void teardown(void)
{
    tide_mem_set_fault(NULL);
    close_store();
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

struct tide_store_options options(void)
{
    return (struct tide_store_options){.directory = dir,
                                       .now_wall = WALL,
                                       .nonce = 0xfedcba9876543210u,
                                       .new_store_id = {7, 7, 7}};
}

void open_store(void)
{
    char why[512] = "";
    struct tide_store_options o = options();
    int rc = tide_store_open(&o, &st, why);
    ck_assert_msg(rc == 0, "%d %s", rc, why);
}

void close_store(void)
{
    tide_store_close(st);
    st = NULL;
}

char *in_dir(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

struct tide_commit *commit_new(void)
{
    struct tide_commit *c = tide_commit_new(true);
    ck_assert_ptr_nonnull(c);
    return c;
}

static struct tide_record *add(struct tide_commit *c, enum tide_record_type type, tide_id job)
{
    struct tide_record *r = tide_commit_add(c, type, job);
    ck_assert_ptr_nonnull(r);
    return r;
}

void add_job(struct tide_commit *c, tide_id job, const char *name)
{
    struct tide_record *r = add(c, TIDE_REC_JOB, job);
    uint8_t fingerprint[16];
    XXH128_hash_t h = XXH3_128bits("spec", 4);
    tide_set_u64(fingerprint, h.low64);
    tide_set_u64(fingerprint + 8, h.high64);
    r->job_new.name = tide_commit_bytes(c, tide_bytes_of(name));
    r->job_new.spec = tide_bytes_of("spec");
    r->job_new.fingerprint =
        tide_commit_bytes(c, (struct tide_bytes){fingerprint, sizeof fingerprint});
    r->job_new.created_wall = WALL;
}

void add_attempt(struct tide_commit *c, tide_id job, uint64_t attempt, uint64_t restored_from)
{
    static const uint32_t ranges[] = {0, 100, 200, 1};
    static uint64_t external = WALL;
    struct tide_record *r = add(c, TIDE_REC_ATTEMPT, job);
    struct tide_member *m = tide_arena_zalloc(&c->arena, 2 * sizeof *m);
    ck_assert_ptr_nonnull(m);
    m[0] = (struct tide_member){.worker = tide_bytes_of("w1"),
                                .endpoint = tide_bytes_of("h:1"),
                                .boot_id = tide_bytes_of("boot"),
                                .pid = 11,
                                .start_time = 22,
                                .ranges = ranges,
                                .n_ranges = 2};
    m[1] = (struct tide_member){.worker = tide_bytes_of("w2")};
    r->attempt.attempt = attempt;
    r->attempt.incarnation = st->incarnation;
    r->attempt.external = ++external;
    r->attempt.restored_from = restored_from;
    r->attempt.begun_wall = WALL;
    r->attempt.directory = tide_commit_printf(c, "/state/a%" PRIu64, attempt);
    r->attempt.members = m;
    r->attempt.n_members = 2;
}

struct tide_record *add_round(struct tide_commit *c, enum tide_record_type type, tide_id job,
                              uint64_t n)
{
    struct tide_record *r = add(c, type, job);
    r->round.number = n;
    r->round.incarnation = st->incarnation;
    r->round.attempt = 1;
    r->round.kind = TIDE_CHECKPOINT;
    r->round.begun_wall = WALL + n;
    r->round.directory = tide_commit_printf(c, "/state/a1/r%" PRIu64, n);
    if (type == TIDE_REC_ROUND_END) {
        r->round.ended_wall = WALL + n + 5000;
        r->round.complete = true;
    }
    return r;
}

struct tide_bytes make_head(uint64_t round, uint32_t tasks)
{
    Tide__JobSpec spec = TIDE__JOB_SPEC__INIT;
    Tide__Operator op = TIDE__OPERATOR__INIT, *ops[] = {&op};
    Tide__ManifestHead head = TIDE__MANIFEST_HEAD__INIT;
    op.uid = (ProtobufCBinaryData){2, (uint8_t *)"op"};
    op.parallelism = tasks;
    spec.name = (ProtobufCBinaryData){1, (uint8_t *)"a"};
    spec.operators = ops;
    spec.n_operators = 1;
    head.spec = &spec;
    head.round = round;
    head.attempt = 1;
    head.tasks = tasks;
    head.kind = TIDE__ROUND_KIND__ROUND_CHECKPOINT;
    size_t len = tide__manifest_head__get_packed_size(&head);
    uint8_t *data = malloc(len);
    ck_assert_ptr_nonnull(data);
    tide__manifest_head__pack(&head, data);
    return (struct tide_bytes){data, len};
}

struct tide_bytes make_chunk(uint64_t round, uint32_t first, uint32_t tasks)
{
    struct tide_ack_builder b;
    struct tide_buf out;
    size_t len;
    tide_buf_init(&out, (size_t)1 << 30);
    tide_ack_builder_init(&b, (size_t)1 << 30);
    for (uint32_t i = 0; i < tasks;) {
        tide_ack_builder_clear(&b);
        for (uint32_t k = 0; k < 64 && i < tasks; k++, i++) {
            struct tide_ack_file file = {
                .size = 10 + first + i, .digest_low = first + i, .digest_high = ~(uint64_t)i};
            tide_ack_builder_add(&b, first + i, 1, 2, 3, &file, 1);
        }
        size_t at = out.len;
        tide_buf_put_u32(&out, 0);
        tide_ack_builder_put(&b, 1, round, &out);
        ck_assert_int_eq(out.rc, 0);
        tide_set_u32(out.data + at, (uint32_t)(out.len - at - 4));
    }
    tide_ack_builder_release(&b);
    uint8_t *data = tide_buf_take(&out, &len);
    return (struct tide_bytes){data, len};
}

void add_snapshot(struct tide_commit *c, tide_id job, uint64_t round, uint64_t parent,
                  uint32_t tasks)
{
    add_round(c, TIDE_REC_ROUND_END, job, round);
    struct tide_record *r = add(c, TIDE_REC_SNAPSHOT, job);
    struct tide_bytes head = make_head(round, tasks);
    uint32_t half = tasks / 2;
    uint32_t at = c->n_chunks;
    c->chunks = realloc(c->chunks, (at + 2) * sizeof *c->chunks);
    ck_assert_ptr_nonnull(c->chunks);
    c->chunks[at] = make_chunk(round, half, tasks - half); /* not in the order of tasks */
    c->chunks[at + 1] = make_chunk(round, 0, half);
    c->n_chunks = at + 2;
    r->snapshot.round = round;
    r->snapshot.incarnation = st->incarnation;
    r->snapshot.attempt = 1;
    r->snapshot.parent = parent;
    r->snapshot.kind = TIDE_CHECKPOINT;
    r->snapshot.directory = tide_commit_printf(c, "/state/a1/r%" PRIu64, round);
    r->snapshot.begun_wall = WALL + round;
    r->snapshot.completed_wall = WALL + round + 5000;
    r->snapshot.bytes = 1000;
    r->snapshot.artifacts = r->snapshot.tasks = tasks;
    r->snapshot.head = tide_commit_bytes(c, head);
    r->snapshot.chunks = tide_arena_copy(&c->arena, &c->chunks[at], 2 * sizeof *c->chunks);
    r->snapshot.n_chunks = 2;
    free((void *)(uintptr_t)head.data);
}

void add_snapshot_state(struct tide_commit *c, tide_id job, uint64_t round,
                        enum tide_snapshot_state state)
{
    struct tide_record *r = add(c, TIDE_REC_SNAPSHOT_STATE, job);
    r->snapshot_state.round = round;
    r->snapshot_state.state = state;
    r->snapshot_state.wall = WALL;
}

void expect(struct tide_commit *c, enum tide_outcome outcome, const char *error)
{
    tide_store_commit(st, c);
    ck_assert_msg(c->outcome == outcome, "outcome %d: %s", (int)c->outcome, c->error);
    ck_assert_msg(strstr(c->error, error) != NULL, "\"%s\" is not in \"%s\"", error, c->error);
    if (outcome == TIDE_STORED) ck_assert_str_eq(c->error, "");
    tide_commit_free(c);
}

void maintain(void)
{
    int rc;
    while ((rc = tide_store_maintain(st)) > 0)
        ;
    ck_assert_int_eq(rc, 0);
}

int64_t number(const char *sql)
{
    int64_t n = 0;
    (void)tide_store_settle(st);
    int rc = tide_db_pragma(st->db, sql, &n);
    ck_assert_msg(rc == 0, "%s: %s", sql, sqlite3_errmsg(st->db));
    return n;
}

int run(const char *name, void (*add_tests)(TCase *))
{
    Suite *suite = suite_create(name);
    TCase *tc = tcase_create(name);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 120);
    add_tests(tc);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
