/* What is made is there, what is deleted was ours, what is damaged is found. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "storage/files.h"
#include "tests/storage/lib_fixture.h"

static char why[256];

static bool there(const char *name)
{
    struct stat s;
    return lstat(in_dir(name), &s) == 0;
}

static void put(const char *name, const char *text)
{
    FILE *f = fopen(in_dir(name), "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
}

START_TEST(mkdir_is_exclusive)
{
    ck_assert_msg(tide_files_mkdir(in_dir("x/y/a1-2"), why) == 0, "%s", why);
    ck_assert(there("x/y/a1-2"));
    ck_assert_int_eq(tide_files_mkdir(in_dir("x/y/a1-2/"), why), TIDE_EEXIST);
    ck_assert_ptr_nonnull(strstr(why, "a1-2: cannot be made: File exists"));
    put("file", "");
    ck_assert_int_eq(tide_files_mkdir(in_dir("file/z"), why), TIDE_ENOTFOUND);
    ck_assert_int_eq(tide_files_mkdir("relative", why), TIDE_EINVAL);
    ck_assert_int_eq(tide_files_mkdir("/", why), TIDE_EINVAL);
}
END_TEST

START_TEST(metadata)
{
    struct tide_buf got = {0};
    struct tide_bytes text = tide_bytes_of("the image");
    ck_assert_int_eq(tide_files_metadata_write(in_dir("nowhere"), text, why), TIDE_ENOTFOUND);
    ck_assert_int_eq(tide_files_mkdir(in_dir("r1"), why), 0);
    ck_assert_int_eq(tide_files_metadata_publish(in_dir("r1"), why), TIDE_ENOTFOUND);
    ck_assert_int_eq(tide_files_metadata_write(in_dir("r1"), text, why), 0);
    ck_assert_int_eq(tide_files_metadata_write(in_dir("r1"), text, why), TIDE_EEXIST);
    ck_assert(there("r1/_metadata.pending") && !there("r1/_metadata"));
    ck_assert_int_eq(tide_files_metadata_read(in_dir("r1"), &got, why), TIDE_ENOTFOUND);
    ck_assert_int_eq(tide_files_metadata_publish(in_dir("r1"), why), 0);
    ck_assert_int_eq(tide_files_metadata_publish(in_dir("r1"), why), 0);
    ck_assert(!there("r1/_metadata.pending") && there("r1/_metadata"));
    ck_assert_int_eq(tide_files_metadata_read(in_dir("r1"), &got, why), 0);
    ck_assert(tide_bytes_equal((struct tide_bytes){got.data, got.len}, text));
    tide_buf_release(&got);
    tide_buf_init(&got, 3);
    ck_assert_int_eq(tide_files_metadata_read(in_dir("r1"), &got, why), TIDE_ETOOBIG);
    /* Never over another's. */
    ck_assert_int_eq(tide_files_metadata_write(in_dir("r1"), tide_bytes_of("other"), why), 0);
    ck_assert_int_eq(tide_files_metadata_publish(in_dir("r1"), why), TIDE_EEXIST);
}
END_TEST

START_TEST(delete_round)
{
    ck_assert_int_eq(tide_files_delete_round(in_dir("r7"), why), 0); /* missing is fine */
    ck_assert_int_eq(tide_files_mkdir(in_dir("a1-1/r7"), why), 0);
    static const char *const known[] = {"a1-1/r7/t0-0", "a1-1/r7/t12-3", "a1-1/r7/t12-4.part",
                                        "a1-1/r7/_metadata", "a1-1/r7/_metadata.pending"};
    static const char *const unknown[] = {"a1-1/r7/precious", "a1-1/r7/t1", "a1-1/r7/t1-",
                                          "a1-1/r7/t1-2.partial", "a1-1/r7/tx-1"};
    for (int i = 0; i < 5; i++) {
        put(known[i], "x");
        put(unknown[i], "x");
    }
    ck_assert_int_eq(tide_files_delete_round(in_dir("a1-1/r7"), why), TIDE_EEXIST);
    ck_assert_msg(strstr(why, "it stays") != NULL, "%s", why);
    for (int i = 0; i < 5; i++) {
        ck_assert(!there(known[i]));
        ck_assert(there(unknown[i]));
        ck_assert_int_eq(unlink(in_dir(unknown[i])), 0);
    }
    ck_assert_int_eq(tide_files_delete_attempt(in_dir("a1-1"), why), 0);
    ck_assert(there("a1-1")); /* not empty yet */
    ck_assert_int_eq(tide_files_delete_round(in_dir("a1-1/r7"), why), 0);
    ck_assert(!there("a1-1/r7"));
    ck_assert_int_eq(tide_files_delete_attempt(in_dir("a1-1"), why), 0);
    ck_assert(!there("a1-1"));
    ck_assert_int_eq(tide_files_delete_attempt(in_dir("a1-1"), why), 0);
}
END_TEST

START_TEST(only_directories_of_the_scheme)
{
    static const char *const wrong[] = {"r",
                                        "r7x",
                                        "x7",
                                        "savepoint-12345-1-1",
                                        "savepoint-12345g-1-1",
                                        "savepoint-123456-1-",
                                        "savepoint-123456-1"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ck_assert_int_eq(tide_files_mkdir(in_dir(wrong[i]), why), 0);
        ck_assert_int_eq(tide_files_delete_round(in_dir(wrong[i]), why), TIDE_EINVAL);
        ck_assert_int_eq(tide_files_delete_attempt(in_dir(wrong[i]), why), TIDE_EINVAL);
        ck_assert(there(wrong[i]));
    }
    ck_assert_int_eq(tide_files_mkdir(in_dir("savepoint-0a1b2c-7-12"), why), 0);
    ck_assert_int_eq(tide_files_delete_round(in_dir("savepoint-0a1b2c-7-12"), why), 0);
    ck_assert(!there("savepoint-0a1b2c-7-12"));
    /* A link in a round's place leads nowhere; one in an artifact's place is removed, not followed.
     */
    ck_assert_int_eq(tide_files_mkdir(in_dir("r8"), why), 0);
    put("r8/t0-0", "x");
    ck_assert_int_eq(symlink("r8", in_dir("r9")), 0);
    ck_assert_int_ne(tide_files_delete_round(in_dir("r9"), why), 0);
    ck_assert(there("r8/t0-0"));
    ck_assert_int_eq(symlink("../file", in_dir("r8/t1-0")), 0);
    put("file", "x");
    ck_assert_int_eq(tide_files_delete_round(in_dir("r8"), why), 0);
    ck_assert(there("file") && !there("r8"));
}
END_TEST

/* ---- verifying */

#define TASKS 5u

static struct tide_buf image;

static void make_snapshot(void)
{
    struct tide_ack_builder b;
    struct tide_buf chunk;
    tide_buf_init(&chunk, 1 << 20);
    tide_ack_builder_init(&b, 1 << 20);
    ck_assert_int_eq(tide_files_mkdir(in_dir("r5"), why), 0);
    for (uint32_t i = 0; i < TASKS; i++) {
        char name[32], text[32];
        snprintf(name, sizeof name, "r5/t%" PRIu32 "-0", i);
        snprintf(text, sizeof text, "state of task %" PRIu32, i);
        put(name, text);
        XXH128_hash_t h = XXH3_128bits(text, strlen(text));
        tide_ack_builder_add(&b, i, 0, 0, 0,
                             &(struct tide_ack_file){strlen(text), h.low64, h.high64}, 1);
    }
    tide_buf_put_u32(&chunk, 0);
    tide_ack_builder_put(&b, 1, 5, &chunk);
    tide_set_u32(chunk.data, (uint32_t)chunk.len - 4);
    tide_ack_builder_release(&b);
    struct tide_bytes head = make_head(5, TASKS), part = {chunk.data, chunk.len};
    tide_buf_init(&image, 1 << 20);
    tide_manifest_put(&image, head, &part, 1);
    free((void *)(uintptr_t)head.data);
    tide_buf_release(&chunk);
}

static Tide__VerifyResult *verify(int want, int stop)
{
    Tide__VerifyResult *v = NULL;
    int rc =
        tide_files_verify(in_dir("r5"), (struct tide_bytes){image.data, image.len}, &stop, &v, why);
    ck_assert_msg(rc == want, "%d: %s", rc, why);
    return v;
}

static void problem(const Tide__VerifyResult *v, size_t i, uint32_t task, const char *path,
                    const char *text)
{
    ck_assert_uint_lt(i, v->n_problems);
    const Tide__VerifyProblem *p = v->problems[i];
    ck_assert_uint_eq(p->task, task);
    ck_assert(
        tide_bytes_equal((struct tide_bytes){p->path.data, p->path.len}, tide_bytes_of(path)));
    ck_assert_msg(
        tide_bytes_equal((struct tide_bytes){p->problem.data, p->problem.len}, tide_bytes_of(text)),
        "%.*s", (int)p->problem.len, (const char *)p->problem.data);
}

START_TEST(verify_finds)
{
    make_snapshot();
    Tide__VerifyResult *v = verify(0, 0);
    ck_assert_uint_eq(v->artifacts, TASKS);
    ck_assert_uint_eq(v->bytes, TASKS * 15);
    ck_assert_uint_eq(v->problem_count, 0);
    tide__verify_result__free_unpacked(v, NULL);

    unlink(in_dir("r5/t0-0"));
    put("r5/t1-0", "state of task");
    put("r5/t2-0", "state of tasK 2");
    unlink(in_dir("r5/t3-0"));
    mkdir(in_dir("r5/t3-0"), 0700);
    v = verify(0, 0);
    ck_assert_uint_eq(v->problem_count, 4);
    problem(v, 0, 0, "t0-0", "missing");
    problem(v, 1, 1, "t1-0", "size 13 instead of 15");
    problem(v, 2, 2, "t2-0", "digest differs");
    problem(v, 3, 3, "t3-0", "not a file");
    tide__verify_result__free_unpacked(v, NULL);

    ck_assert_ptr_null(verify(TIDE_ECLOSED, 1));
    image.data[20] ^= 1;
    ck_assert_ptr_null(verify(TIDE_ECORRUPT, 0));
    tide_buf_release(&image);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, mkdir_is_exclusive);
    tcase_add_test(tc, metadata);
    tcase_add_test(tc, delete_round);
    tcase_add_test(tc, only_directories_of_the_scheme);
    tcase_add_test(tc, verify_finds);
}

int main(void)
{
    return run("files", add_tests);
}
