/* A manifest comes back as it was written; one that was changed anywhere does not come back at all.
 */
#include <string.h>

#include "tests/storage/lib_fixture.h"

#define ROUND 9

static struct tide_buf image;

static struct tide_bytes view(void)
{
    return (struct tide_bytes){image.data, image.len};
}

static void build(Tide__ManifestHead *head, const struct tide_bytes *chunks, size_t n)
{
    size_t len = tide__manifest_head__get_packed_size(head);
    uint8_t *data = malloc(len + 1);
    ck_assert_ptr_nonnull(data);
    tide__manifest_head__pack(head, data);
    tide_buf_init(&image, (size_t)1 << 30);
    tide_manifest_put(&image, (struct tide_bytes){data, len}, chunks, n);
    ck_assert_int_eq(image.rc, 0);
    uint8_t digest[16];
    uint64_t bytes;
    tide_manifest_digest((struct tide_bytes){data, len}, chunks, n, digest, &bytes);
    ck_assert_uint_eq(bytes, image.len);
    ck_assert_mem_eq(digest, image.data + image.len - 16, 16);
    free(data);
}

static Tide__ManifestHead head_of(uint32_t tasks)
{
    Tide__ManifestHead head = TIDE__MANIFEST_HEAD__INIT;
    head.round = ROUND;
    head.attempt = 1;
    head.tasks = tasks;
    return head;
}

static void drop(struct tide_bytes *chunks, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free((void *)(uintptr_t)chunks[i].data);
    tide_buf_release(&image);
}

START_TEST(round_trip)
{
    Tide__ManifestHead head = head_of(203);
    Tide__TaskRange ended = TIDE__TASK_RANGE__INIT, *ranges[] = {&ended};
    ended.first = 200;
    ended.count = 3;
    head.ended = ranges;
    head.n_ended = 1;
    struct tide_bytes chunks[] = {make_chunk(ROUND, 100, 100), make_chunk(ROUND, 0, 100)};
    build(&head, chunks, 2);
    struct tide_manifest m;
    char why[256] = "";
    ck_assert_msg(tide_manifest_open(&m, view(), why) == 0, "%s", why);
    ck_assert_uint_eq(m.head->tasks, 203);
    struct tide_manifest_walk w = {0};
    struct tide_ack_view ack;
    uint32_t n = 0;
    while (tide_manifest_next(&m, &w, &ack)) {
        ck_assert_uint_eq(ack.task, n < 100 ? 100 + n : n - 100); /* as stored */
        struct tide_artifact_place place = {0};
        struct tide_artifact_view v;
        ck_assert(tide_acks_artifact(&ack, &place, &v));
        ck_assert_uint_eq(v.size, 10 + ack.task);
        ck_assert_uint_eq(v.digest_low, ack.task);
        ck_assert(!tide_acks_artifact(&ack, &place, &v));
        n++;
    }
    ck_assert_uint_eq(n, 200);
    ck_assert(!tide_manifest_next(&m, &w, &ack));
    tide_manifest_close(&m);
    drop(chunks, 2);
}
END_TEST

START_TEST(every_flipped_bit_and_every_cut_is_refused)
{
    Tide__ManifestHead head = head_of(10);
    struct tide_bytes chunks[] = {make_chunk(ROUND, 0, 10)};
    build(&head, chunks, 1);
    struct tide_manifest m;
    for (size_t bit = 0; bit < image.len * 8; bit++) {
        char why[256] = "";
        image.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        int rc = tide_manifest_open(&m, view(), why);
        ck_assert_msg(rc == TIDE_ECORRUPT || rc == TIDE_EVERSION, "bit %zu: %d", bit, rc);
        ck_assert(why[0] != '\0');
        image.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t len = 0; len < image.len; len++) {
        char why[256] = "";
        uint8_t *copy = malloc(len + 1); /* so that reading past the end shows */
        memcpy(copy, image.data, len);
        ck_assert_int_eq(tide_manifest_open(&m, (struct tide_bytes){copy, len}, why),
                         TIDE_ECORRUPT);
        free(copy);
    }
    drop(chunks, 1);
}
END_TEST

static void refused(Tide__ManifestHead *head, struct tide_bytes *chunks, size_t n,
                    const char *words)
{
    struct tide_manifest m;
    char why[256] = "";
    build(head, chunks, n);
    ck_assert_int_eq(tide_manifest_open(&m, view(), why), TIDE_ECORRUPT);
    ck_assert_msg(strstr(why, words) != NULL, "\"%s\"", why);
    drop(chunks, n);
}

START_TEST(tasks_must_stand_once)
{
    Tide__ManifestHead head = head_of(10);
    refused(&head, (struct tide_bytes[]){make_chunk(ROUND, 0, 10), make_chunk(ROUND, 4, 1)}, 2,
            "task 4 stands twice");
    refused(&head, (struct tide_bytes[]){make_chunk(ROUND, 0, 5), make_chunk(ROUND, 6, 3)}, 2,
            "task 5 is missing in the manifest, as are 1 others of 10");
    refused(&head, (struct tide_bytes[]){make_chunk(ROUND, 0, 11)}, 1,
            "ack of task 10, there are 10");
    refused(&head, (struct tide_bytes[]){make_chunk(ROUND + 1, 0, 10)}, 1, "are of round 10");
    Tide__TaskRange range = TIDE__TASK_RANGE__INIT, *ranges[] = {&range};
    head.ended = ranges;
    head.n_ended = 1;
    range.first = 9;
    range.count = 1;
    refused(&head, (struct tide_bytes[]){make_chunk(ROUND, 0, 10)}, 1, "task 9 stands twice");
    range.count = UINT32_MAX;
    refused(&head, (struct tide_bytes[]){make_chunk(ROUND, 0, 9)}, 1, "ended tasks names");
    head.n_ended = 0;
    head.tasks = UINT32_MAX;
    refused(&head, (struct tide_bytes[]){make_chunk(ROUND, 0, 10)}, 1, "the limit is");
}
END_TEST

START_TEST(version)
{
    Tide__ManifestHead head = head_of(0);
    build(&head, NULL, 0);
    struct tide_manifest m;
    char why[256] = "";
    ck_assert_int_eq(tide_manifest_open(&m, view(), why), 0);
    tide_manifest_close(&m);
    image.data[8] = 2;
    ck_assert_int_eq(tide_manifest_open(&m, view(), why), TIDE_EVERSION);
    ck_assert_ptr_nonnull(strstr(why, "version 2, this program reads version 1"));
    drop(NULL, 0);
}
END_TEST

START_TEST(names)
{
    ck_assert_str_eq(tide_job_state_name(TIDE_JOB_FAILED), "FAILED");
    ck_assert_str_eq(tide_job_state_name((enum tide_job_state)99), "?");
    ck_assert_str_eq(tide_kind_name(TIDE_SAVEPOINT), "savepoint");
    ck_assert_str_eq(tide_snapshot_state_name(TIDE_DELETED), "deleted");
    ck_assert_str_eq(tide_operation_state_name(TIDE_OP_QUEUED), "queued");
    for (int i = 1; i <= 9; i++)
        ck_assert_int_eq(
            tide_job_state_of(tide_bytes_of(tide_job_state_name((enum tide_job_state)i))), i);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, round_trip);
    tcase_add_test(tc, every_flipped_bit_and_every_cut_is_refused);
    tcase_add_test(tc, tasks_must_stand_once);
    tcase_add_test(tc, version);
    tcase_add_test(tc, names);
}

int main(void)
{
    return run("manifest", add_tests);
}
