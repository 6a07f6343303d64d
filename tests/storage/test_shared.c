/* Shared artifacts in the catalogue: which snapshots use them, and that nothing that a retained one
 * uses is ever marked for deletion, whoever asks for it. */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/files.h"
#include "tests/storage/lib_fixture.h"

static struct tide_record *rec(struct tide_commit *c, enum tide_record_type type)
{
    struct tide_record *r = tide_commit_add(c, type, job_a);
    ck_assert_ptr_nonnull(r);
    return r;
}

/* Checkpoint `round` brings `added` (or nothing), and makes no more use of `left`. */
static struct tide_commit *checkpoint(uint64_t round, uint64_t before, const char *added,
                                      const char *left)
{
    struct tide_commit *c = commit_new();
    struct tide_shared_file *file = tide_arena_zalloc(&c->arena, sizeof *file);
    struct tide_bytes *key = tide_arena_zalloc(&c->arena, sizeof *key);
    add_snapshot(c, job_a, round, before, 2);
    c->last->snapshot.shared = 1;
    struct tide_record *r = rec(c, TIDE_REC_SHARED);
    r->shared.round = round;
    r->shared.before = before;
    r->shared.directory = tide_bytes_of("/state/alpha");
    r->shared.added = file;
    r->shared.left = key;
    if (added) {
        *file = (struct tide_shared_file){tide_bytes_of(added), 100, 7, UINT64_MAX};
        r->shared.n_added = 1;
    }
    if (left) {
        *key = tide_bytes_of(left);
        r->shared.n_left = 1;
    }
    return c;
}

static struct tide_commit *state(const char *key, enum tide_snapshot_state to)
{
    struct tide_commit *c = commit_new();
    struct tide_bytes *keys = tide_arena_zalloc(&c->arena, sizeof *keys);
    struct tide_record *r = rec(c, TIDE_REC_SHARED_STATE);
    *keys = tide_bytes_of(key);
    r->shared_state.state = to;
    r->shared_state.wall = WALL;
    r->shared_state.keys = keys;
    r->shared_state.n_keys = 1;
    return c;
}

static struct tide_commit *again(uint64_t round, const char *key)
{
    struct tide_commit *c = commit_new();
    struct tide_bytes *keys = tide_arena_zalloc(&c->arena, sizeof *keys);
    struct tide_record *r = rec(c, TIDE_REC_SHARED);
    *keys = tide_bytes_of(key);
    r->shared.round = round;
    r->shared.before = round - 1;
    r->shared.again = keys;
    r->shared.n_again = 1;
    return c;
}

static void gone(uint64_t round)
{
    struct tide_commit *c = commit_new();
    add_snapshot_state(c, job_a, round, TIDE_DELETING);
    stored(c);
    c = commit_new();
    add_snapshot_state(c, job_a, round, TIDE_DELETED);
    stored(c);
}

static void begin(void)
{
    open_store();
    struct tide_commit *c = commit_new();
    add_job(c, job_a, "alpha");
    add_attempt(c, job_a, 1, 0);
    stored(c);
}

#define ONE "a1-1/r3/s0-0"
#define TWO "a1-1/r4/s0-0"

/* S122, S125: what 3 brought is used by 3 alone, what 4 brought by 4 and 5: each goes when no
 * retained checkpoint between its first and last is left, and not before; its row stays. */
START_TEST(a_file_lives_as_long_as_its_range_S122_S125)
{
    begin();
    stored(checkpoint(3, 0, ONE, NULL));
    expect(state(ONE, TIDE_DELETING), TIDE_REFUSED,
           "shared artifact: " ONE ": a shared artifact that a snapshot uses is not deleted");
    stored(checkpoint(4, 3, TWO, ONE));
    ck_assert_int_eq(number("SELECT last FROM shared_use WHERE first = 3"), 3);
    ck_assert_int_eq(number("SELECT count(*) FROM shared_use WHERE last IS NULL"), 1);
    stored(checkpoint(5, 4, NULL, NULL));
    expect(state(ONE, TIDE_DELETING), TIDE_REFUSED,
           "shared artifact: " ONE ": a shared artifact that a snapshot uses is not deleted");
    gone(3);
    stored(state(ONE, TIDE_DELETING));
    gone(4);
    expect(state(TWO, TIDE_DELETING), TIDE_REFUSED,
           "shared artifact: " TWO ": a shared artifact that a snapshot uses is not deleted");
    expect(state(TWO, TIDE_DELETED), TIDE_REFUSED,
           "shared artifact: " TWO ": a shared artifact goes from retained to deleting to deleted, "
           "not otherwise");
    stored(state(ONE, TIDE_DELETED));
    ck_assert_int_eq(number("SELECT count(*) FROM shared WHERE state = 'deleted'"), 1);
    ck_assert_int_eq(number("SELECT count(*) FROM shared_artifacts WHERE used_by = 'alpha 4-'"), 1);
    close_store();
    open_store();
    struct tide_catalog *cat;
    char why[512];
    ck_assert_int_eq(tide_store_load(st, &cat, why), 0);
    ck_assert_uint_eq(cat->jobs[0].n_shared, 1); /* of what is deleted only the row is left */
    const struct tide_catalog_shared *s = &cat->jobs[0].shared[0];
    ck_assert(tide_bytes_equal(s->file.key, tide_bytes_of(TWO)));
    ck_assert_uint_eq(s->file.size, 100);
    ck_assert_uint_eq(s->file.digest_low, 7);
    ck_assert_uint_eq(s->file.digest_high, UINT64_MAX);
    ck_assert(tide_bytes_equal(s->directory, tide_bytes_of("/state/alpha")));
    ck_assert_int_eq(s->state, TIDE_RETAINED);
    ck_assert_uint_eq(s->first, 4);
    ck_assert_uint_eq(s->last, 0);
    ck_assert_uint_eq(cat->jobs[0].snapshots[0].shared, 1);
    tide_catalog_free(cat);
}
END_TEST

/* A key names one file for ever; a range is ended once; what is not retained is not used again. */
START_TEST(what_is_refused)
{
    begin();
    stored(checkpoint(3, 0, ONE, NULL));
    expect(checkpoint(4, 3, ONE, NULL), TIDE_REFUSED,
           "shared artifact: " ONE ": UNIQUE constraint failed: shared.job, shared.key");
    expect(checkpoint(4, 3, NULL, TWO), TIDE_REFUSED, "shared artifact: " TWO ": it is not in use");
    expect(again(4, ONE), TIDE_REFUSED, "shared artifact: " ONE ": it is not known, or in use");
    stored(checkpoint(4, 3, TWO, ONE));
    stored(again(5, ONE));
    ck_assert_int_eq(number("SELECT count(*) FROM shared_use WHERE last IS NULL"), 2);
    stored(checkpoint(6, 4, NULL, ONE));
    gone(3);
    gone(4);
    stored(state(ONE, TIDE_DELETING));
    expect(again(7, ONE), TIDE_REFUSED,
           "shared artifact: " ONE ": a shared artifact that is not retained is not used again");
}
END_TEST

static void touch(const char *name)
{
    FILE *f = fopen(in_dir(name), "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fclose(f), 0);
}

static bool is_there(const char *name)
{
    return access(in_dir(name), F_OK) == 0;
}

/* A snapshot's files go, those that are shared stay until each is deleted by itself, and the
 * directory goes with the last; what an aborted round has left goes as a whole. */
START_TEST(files_S79)
{
    char why[256];
    ck_assert_int_eq(mkdir(in_dir("a1-1"), 0777) | mkdir(in_dir("a1-1/r3"), 0777) |
                         mkdir(in_dir("a1-1/r4"), 0777),
                     0);
    touch("a1-1/r3/t0-0");
    touch("a1-1/r3/s0-1");
    touch("a1-1/r3/s1-0");
    touch("a1-1/r4/s0-0");
    touch("a1-1/r4/t0-1");
    ck_assert_int_eq(tide_files_delete_own(in_dir("a1-1/r3"), why), 0);
    ck_assert(!is_there("a1-1/r3/t0-0") && is_there("a1-1/r3/s0-1") && is_there("a1-1/r3/s1-0"));
    ck_assert_int_eq(tide_files_delete_own(in_dir("a1-1/r3"), why), 0);
    ck_assert_int_eq(tide_files_delete_shared(in_dir("a1-1/r3/s0-1"), why), 0);
    ck_assert_int_eq(tide_files_delete_shared(in_dir("a1-1/r3/s0-1"), why), 0);
    ck_assert(is_there("a1-1/r3/s1-0"));
    ck_assert_int_eq(tide_files_delete_shared(in_dir("a1-1/r3/t0-0"), why), TIDE_EINVAL);
    ck_assert_int_eq(tide_files_delete_shared(in_dir("a1-1/s0-0"), why), TIDE_EINVAL);
    ck_assert_int_eq(tide_files_delete_shared(in_dir("a1-1/r3/s1-0"), why), 0);
    ck_assert(!is_there("a1-1/r3"));
    ck_assert_int_eq(tide_files_delete_shared(in_dir("a1-1/r3/s1-0"), why), 0);
    ck_assert_int_eq(tide_files_delete_round(in_dir("a1-1/r4"), why), 0);
    ck_assert(!is_there("a1-1/r4") && is_there("a1-1"));
    ck_assert_int_eq(tide_files_delete_attempt(in_dir("a1-1"), why), 0);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_test(t, a_file_lives_as_long_as_its_range_S122_S125);
    tcase_add_test(t, what_is_refused);
    tcase_add_test(t, files_S79);
}

int main(void)
{
    return run("shared", add);
}
