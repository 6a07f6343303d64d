/* What lies in a directory is looked at as a whole before it is believed; what was imported is a
 * row like others, but for the round that it never was. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/files.h"
#include "tests/storage/lib_fixture.h"

static char why[256];
static const int go_on = 0;

static void put_bytes(const char *name, const void *data, size_t n)
{
    FILE *f = fopen(in_dir(name), "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(data, 1, n, f), n);
    fclose(f);
}

/* A snapshot of three tasks in the directory s; its image, malloc'ed. */
static struct tide_bytes put_snapshot(void)
{
    static const uint8_t zeros[32];
    struct tide_bytes head = make_head(7, 3), chunk = make_chunk(7, 0, 3);
    struct tide_buf image;
    size_t len;
    tide_buf_init(&image, 1 << 20);
    tide_manifest_put(&image, head, &chunk, 1);
    ck_assert_int_eq(image.rc, 0);
    free((void *)(uintptr_t)head.data);
    free((void *)(uintptr_t)chunk.data);
    ck_assert_int_eq(mkdir(in_dir("s"), 0777), 0);
    put_bytes("s/_metadata", image.data, image.len);
    put_bytes("s/t0-0", zeros, 10);
    put_bytes("s/t1-0", zeros, 11);
    put_bytes("s/t2-0", zeros, 12);
    uint8_t *data = tide_buf_take(&image, &len);
    return (struct tide_bytes){data, len};
}

static void refused(int rc, const char *words)
{
    struct tide_buf got = {0};
    int found = tide_files_inspect(in_dir("s"), &go_on, &got, why);
    ck_assert_msg(found == rc, "%d: %s", found, why);
    ck_assert_msg(strstr(why, words) != NULL, "%s", why);
    ck_assert_ptr_null(got.data);
}

START_TEST(whole)
{
    struct tide_bytes image = put_snapshot();
    struct tide_buf got = {0};
    int stop = 1;
    ck_assert_msg(tide_files_inspect(in_dir("s"), &go_on, &got, why) == 0, "%s", why);
    ck_assert(tide_bytes_equal(image, (struct tide_bytes){got.data, got.len}));
    tide_buf_release(&got);
    ck_assert_int_eq(tide_files_inspect(in_dir("s"), &stop, &got, why), TIDE_ECLOSED);
    free((void *)(uintptr_t)image.data);
}
END_TEST

START_TEST(files_that_are_not_as_they_were)
{
    struct tide_bytes image = put_snapshot();
    put_bytes("s/t1-0", "short", 5);
    refused(TIDE_ECORRUPT, "/s/t1-0: has 5 bytes instead of 11");
    ck_assert_int_eq(unlink(in_dir("s/t1-0")), 0);
    refused(TIDE_ENOTFOUND, "/s/t1-0: is missing");
    ck_assert_int_eq(symlink("t0-0", in_dir("s/t1-0")), 0);
    refused(TIDE_ECORRUPT, "/s/t1-0: is not a file");
    ck_assert_int_eq(unlink(in_dir("s/t1-0")), 0);
    ck_assert_int_eq(mkdir(in_dir("s/t1-0"), 0777), 0);
    refused(TIDE_ECORRUPT, "/s/t1-0: is not a file");
    free((void *)(uintptr_t)image.data);
}
END_TEST

/* Of a checkpoint the store has the manifest; where all is in there, no directory was ever made. */
START_TEST(files_of_a_manifest_that_is_known)
{
    struct tide_bytes image = put_snapshot(), damaged = {image.data, image.len - 1};
    struct tide_buf bare;
    ck_assert_int_eq(unlink(in_dir("s/_metadata")), 0);
    ck_assert_msg(tide_files_whole(in_dir("s"), image, &go_on, why) == 0, "%s", why);
    ck_assert_int_eq(tide_files_whole(in_dir("s"), damaged, &go_on, why), TIDE_ECORRUPT);
    ck_assert_int_eq(unlink(in_dir("s/t1-0")), 0);
    ck_assert_int_eq(tide_files_whole(in_dir("s"), image, &go_on, why), TIDE_ENOTFOUND);
    ck_assert_ptr_nonnull(strstr(why, "/s/t1-0: is missing"));
    ck_assert_int_eq(tide_files_whole(in_dir("t"), image, &go_on, why), TIDE_ENOTFOUND);
    ck_assert_ptr_nonnull(strstr(why, "/t/t0-0: is missing"));
    struct tide_bytes head = make_head(1, 0);
    tide_buf_init(&bare, TIDE_MANIFEST_MAX);
    tide_manifest_put(&bare, head, NULL, 0);
    ck_assert_int_eq(bare.rc, 0);
    ck_assert_msg(
        tide_files_whole(in_dir("t"), (struct tide_bytes){bare.data, bare.len}, &go_on, why) == 0,
        "%s", why);
    tide_buf_release(&bare);
    free((void *)(uintptr_t)head.data);
    free((void *)(uintptr_t)image.data);
}
END_TEST

/* Cut at each byte, each byte changed: it is never believed. */
START_TEST(metadata_that_is_not_as_it_was)
{
    struct tide_bytes image = put_snapshot();
    uint8_t *copy = malloc(image.len + 1);
    ck_assert_ptr_nonnull(copy);
    for (size_t n = 0; n < image.len; n++) {
        put_bytes("s/_metadata", image.data, n);
        refused(TIDE_ECORRUPT, "/s/_metadata: ");
        memcpy(copy, image.data, image.len);
        copy[n] ^= 0x40;
        put_bytes("s/_metadata", copy, image.len);
        refused(n >= 8 && n < 12 ? TIDE_EVERSION : TIDE_ECORRUPT, "/s/_metadata: ");
    }
    memcpy(copy, image.data, image.len);
    copy[image.len] = 0;
    put_bytes("s/_metadata", copy, image.len + 1);
    refused(TIDE_ECORRUPT, "/s/_metadata: ");
    ck_assert_int_eq(unlink(in_dir("s/_metadata")), 0);
    put_bytes("s/_metadata.pending", image.data, image.len);
    refused(TIDE_ENOTFOUND, "s: cannot read _metadata: No such file or directory");
    char from[200];
    snprintf(from, sizeof from, "%s", in_dir("s"));
    ck_assert_int_eq(rename(from, in_dir("elsewhere")), 0);
    refused(TIDE_ENOTFOUND, "s: cannot be opened: No such file or directory");
    free(copy);
    free((void *)(uintptr_t)image.data);
}
END_TEST

/* ---- rows */

/* The snapshot record alone, without the end of a round. */
static struct tide_record *add_import(struct tide_commit *c, uint64_t id, uint64_t parent)
{
    add_snapshot(c, job_a, id, parent, 2);
    struct tide_record *end = c->first, *r = c->last;
    while (end->next != r)
        end = end->next;
    *end = (struct tide_record){.type = TIDE_REC_RESERVE, .job = job_a, .next = r};
    r->snapshot.attempt = 0;
    r->snapshot.imported = true;
    r->snapshot.directory = tide_bytes_of("/mnt/s");
    return r;
}

START_TEST(imported)
{
    open_store();
    struct tide_commit *c = commit_new();
    add_job(c, job_a, "a");
    add_attempt(c, job_a, 1, 0);
    add_snapshot(c, job_a, 5, 0, 2);
    stored(c);
    c = commit_new();
    add_import(c, 8, 5);
    stored(c);
    ck_assert_int_eq(number("SELECT count(*) FROM snapshot WHERE round = 8 AND attempt IS NULL AND"
                            " owner = 'user' AND imported = 1 AND taken IS NULL"),
                     1);
    ck_assert_int_eq(number("SELECT count(*) FROM lineage WHERE snapshot = 8 AND parent = 5"
                            " AND relation = 'copied-from'"),
                     1);
    close_store();
    open_store();
    struct tide_catalog *catalog;
    char text[512];
    ck_assert_int_eq(tide_store_load(st, &catalog, text), 0);
    const struct tide_catalog_job *j = &catalog->jobs[0];
    ck_assert_uint_eq(j->n_snapshots, 2);
    ck_assert(j->snapshots[1].imported && j->snapshots[1].attempt == 0);
    ck_assert_uint_eq(j->snapshots[1].parent, 5);
    ck_assert_uint_eq(j->completed, 5); /* no round of the job's */
    tide_catalog_free(catalog);
    struct tide_reader *r;
    struct tide_buf directory = {0}, image = {0};
    ck_assert_int_eq(tide_reader_open(dir, &r, text), 0);
    tide_buf_init(&directory, 100);
    ck_assert_int_eq(tide_reader_directory(r, 8, &directory, why), 0);
    ck_assert(tide_bytes_equal((struct tide_bytes){directory.data, directory.len},
                               tide_bytes_of("/mnt/s")));
    ck_assert_int_eq(tide_reader_directory(r, 9, &directory, why), TIDE_ENOTFOUND);
    ck_assert_int_eq(tide_reader_manifest(r, 8, &image, why), 0);
    tide_buf_release(&directory);
    tide_buf_release(&image);
    tide_reader_close(r);
    /* it is its user's */
    c = commit_new();
    add_snapshot_state(c, job_a, 8, TIDE_DELETING);
    expect(c, TIDE_REFUSED, "belongs to the user");
    c = commit_new();
    add_snapshot_state(c, job_a, 8, TIDE_DELETING);
    c->last->snapshot_state.disposed = true;
    add_snapshot_state(c, job_a, 8, TIDE_DELETED);
    stored(c);
    ck_assert_int_eq(number("SELECT count(*) FROM manifest WHERE snapshot = 8"), 0);
}
END_TEST

START_TEST(what_makes_no_sense_is_refused)
{
    open_store();
    struct tide_commit *c = commit_new();
    add_job(c, job_a, "a");
    add_attempt(c, job_a, 1, 0);
    stored(c);
    c = commit_new();
    add_import(c, 8, 0)->snapshot.attempt = 1;
    expect(c, TIDE_REFUSED, "CHECK constraint failed");
    c = commit_new();
    add_import(c, 8, 0)->snapshot.commits = true;
    expect(c, TIDE_REFUSED, "CHECK constraint failed");
    c = commit_new();
    struct tide_record *r = add_import(c, 8, 0); /* of no round, and not imported */
    r->snapshot.imported = false;
    r->snapshot.attempt = 1;
    expect(c, TIDE_REFUSED, "FOREIGN KEY constraint failed");
    c = commit_new();
    add_import(c, 8, 0);
    stored(c);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, whole);
    tcase_add_test(tc, files_that_are_not_as_they_were);
    tcase_add_test(tc, files_of_a_manifest_that_is_known);
    tcase_add_test(tc, metadata_that_is_not_as_it_was);
    tcase_add_test(tc, imported);
    tcase_add_test(tc, what_makes_no_sense_is_refused);
}

int main(void)
{
    return run("import", add_tests);
}
