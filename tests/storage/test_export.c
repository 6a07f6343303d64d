/* A snapshot's directory becomes another one: by links or copies, at once or bit by bit, and never
 * one that is a snapshot before it is whole. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/worker.pb-c.h"
#include "storage/files.h"
#include "storage/manifest.h"
#include "tests/storage/lib_fixture.h"

#define BIG ((size_t)5 << 20)

static char why[256], from[256], to[256];
static int stop;
static bool shares; /* the last file lies where an earlier checkpoint has written it */
static bool apart;  /* the two lie on different file systems */

int __real_linkat(int from_dir, const char *old, int to_dir, const char *new, int flags);
int __wrap_linkat(int from_dir, const char *old, int to_dir, const char *new, int flags);
int __wrap_linkat(int from_dir, const char *old, int to_dir, const char *new, int flags)
{
    if (!apart) return __real_linkat(from_dir, old, to_dir, new, flags);
    struct stat s; /* which is looked at first */
    errno = fstatat(to_dir, new, &s, AT_SYMLINK_NOFOLLOW) == 0 ? EEXIST : EXDEV;
    return -1;
}

static const char *const names[] = {"t0-0", "t1-0", "sub/deep/file", "a1-1/r3/s2-0"};
static const size_t sizes[] = {10, 0, BIG, 3};

static void path_of(char *path, unsigned i)
{
    snprintf(path, 400, "%s/%s", i == 3 && shares ? in_dir("job") : from, names[i]);
}

static void fill(unsigned i)
{
    char path[400];
    path_of(path, i);
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    for (size_t n = 0; n < sizes[i]; n++)
        putc((int)(n * 7 + n / 255 + i), f);
    fclose(f);
}

/* Three tasks: one with a file, one with an empty one, one with an inline artifact and two files
 * that have paths. */
static struct tide_bytes put_snapshot(void)
{
    struct tide_ack_builder acks;
    struct tide_ack_file file = {10, 1, 2}, empty = {0, 3, 4};
    struct tide_bytes head = make_head(7, 3);
    struct tide_buf batch, chunk, packed, image;
    Tide__TaskAck ack;
    Tide__Artifact artifacts[3], *pointers[3] = {artifacts, artifacts + 1, artifacts + 2};
    size_t len;
    tide__task_ack__init(&ack);
    for (unsigned i = 0; i < 3; i++) {
        tide__artifact__init(&artifacts[i]);
        artifacts[i].place_case = i ? TIDE__ARTIFACT__PLACE_PATH : TIDE__ARTIFACT__PLACE_INLINE;
        const char *text = i ? names[i + 1] : "abc";
        ProtobufCBinaryData data = {strlen(text), (uint8_t *)(uintptr_t)text};
        if (i)
            artifacts[i].path = data;
        else
            artifacts[i].inline_ = data;
        artifacts[i].size = i ? sizes[i + 1] : 3;
        if (i == 2 && shares) artifacts[i].shared = TIDE__SHARED__SHARED_AGAIN;
    }
    ack.task = 2;
    ack.artifacts = pointers;
    ack.n_artifacts = 3;
    tide_buf_init(&packed, 4096), tide_buf_init(&batch, 4096), tide_buf_init(&chunk, 4096);
    tide_buf_init(&image, 65536);
    (void)tide__task_ack__pack(&ack,
                               tide_buf_extend(&packed, tide__task_ack__get_packed_size(&ack)));
    tide_ack_builder_init(&acks, 65536);
    tide_ack_builder_add(&acks, 0, 0, 0, 0, &file, 1);
    tide_ack_builder_add(&acks, 1, 0, 0, 0, &empty, 1);
    tide_ack_builder_add_full(&acks, (struct tide_bytes){packed.data, packed.len});
    tide_ack_builder_put(&acks, 1, 7, &batch);
    tide_buf_put_u32(&chunk, (uint32_t)batch.len);
    tide_buf_put(&chunk, batch.data, batch.len);
    struct tide_bytes all = {chunk.data, chunk.len};
    tide_manifest_put(&image, head, &all, 1);
    ck_assert_int_eq(image.rc, 0);
    free((void *)(uintptr_t)head.data);
    tide_buf_release(&packed), tide_buf_release(&batch), tide_buf_release(&chunk);
    tide_ack_builder_release(&acks);
    snprintf(from, sizeof from, "%s", in_dir("job/a1-2/r7"));
    snprintf(to, sizeof to, "%s", in_dir("out/x"));
    ck_assert_int_eq(tide_files_mkdir(in_dir("job/a1-2/r7/sub/deep"), why), 0);
    ck_assert_int_eq(tide_files_mkdir(in_dir(shares ? "job/a1-1/r3" : "job/a1-2/r7/a1-1/r3"), why),
                     0);
    for (unsigned i = 0; i < 4; i++)
        fill(i);
    uint8_t *data = tide_buf_take(&image, &len);
    return (struct tide_bytes){data, len};
}

static bool there(const char *name)
{
    struct stat s;
    return lstat(in_dir(name), &s) == 0;
}

static void is_whole(struct tide_bytes image, bool linked)
{
    struct tide_buf got = {0};
    ck_assert_msg(tide_files_inspect(to, &stop, &got, why) == 0, "%s", why);
    ck_assert_int_eq(tide_bytes_equal(image, (struct tide_bytes){got.data, got.len}), !shares);
    struct tide_manifest m;
    struct tide_manifest_walk walk = {0};
    struct tide_ack_view ack;
    ck_assert_int_eq(tide_manifest_open(&m, (struct tide_bytes){got.data, got.len}, why), 0);
    while (tide_manifest_next(&m, &walk, &ack)) {
        struct tide_artifact_place at = {0};
        struct tide_artifact_view v;
        while (tide_acks_artifact(&ack, &at, &v))
            ck_assert_uint_eq(v.shared, 0);
    }
    tide_manifest_close(&m);
    tide_buf_release(&got);
    for (unsigned i = 0; i < 4; i++) {
        char command[900], path[400];
        struct stat a, b;
        path_of(path, i);
        snprintf(command, sizeof command, "cmp -s %s %s/%s", path, to, names[i]);
        ck_assert_int_eq(system(command), 0);
        ck_assert_int_eq(stat(path, &a), 0);
        snprintf(command, sizeof command, "%s/%s", to, names[i]);
        ck_assert_int_eq(stat(command, &b), 0);
        ck_assert_int_eq(a.st_ino == b.st_ino && a.st_dev == b.st_dev, linked);
    }
    ck_assert(!there("out/x/sub/deep/file.part") && !there("out/x/_metadata.pending"));
}

static void begin(struct tide_bytes image)
{
    ck_assert_msg(tide_files_mkdir(to, why) == 0, "%s", why);
    ck_assert_msg(tide_files_export_begin(to, image, why) == 0, "%s", why);
}

/* In calls that have no time: each comes a little further. */
static unsigned copy_bit_by_bit(struct tide_export_place *place)
{
    for (unsigned calls = 1;; calls++) {
        struct tide_export_place before = *place;
        int rc = tide_files_export(from, to, 0, &stop, place, why);
        if (rc == 0) return calls;
        ck_assert_msg(rc == TIDE_EAGAIN, "%d: %s", rc, why);
        ck_assert(place->artifact > before.artifact || place->offset > before.offset);
        ck_assert(!there("out/x/_metadata"));
    }
}

START_TEST(linked_or_copied)
{
    for (int way = 0; way < 8; way++) {
        const bool copies = way & 1, slowly = way & 2;
        struct tide_export_place place = {0};
        shares = way & 4;
        apart = copies;
        struct tide_bytes image = put_snapshot();
        begin(image);
        if (slowly)
            ck_assert_uint_ge(copy_bit_by_bit(&place), copies ? 8 : 4);
        else
            ck_assert_msg(tide_files_export(from, to, 1u << 30, &stop, &place, why) == 0, "%s",
                          why);
        ck_assert_uint_eq(place.bytes, 13 + BIG);
        ck_assert(!there("out/x/_metadata"));
        ck_assert_int_eq(tide_files_metadata_publish(to, why), 0);
        is_whole(image, !copies);
        /* done once more, as after a crash: nothing changes */
        place = (struct tide_export_place){0};
        ck_assert_int_eq(tide_files_export_begin(to, image, why), 0);
        ck_assert(!there("out/x/_metadata.pending"));
        ck_assert_int_eq(tide_files_export(from, to, 1u << 30, &stop, &place, why), 0);
        ck_assert_int_eq(tide_files_metadata_publish(to, why), 0);
        is_whole(image, !copies);
        ck_assert_int_eq(tide_files_export_drop(to, why), TIDE_EEXIST);
        is_whole(image, !copies);
        free((void *)(uintptr_t)image.data);
        char command[600], job[256];
        snprintf(job, sizeof job, "%s", in_dir("job"));
        snprintf(command, sizeof command, "rm -r %s %s", job, to);
        ck_assert_int_eq(system(command), 0);
    }
}
END_TEST

/* Wherever a crash has ended it, and whatever is left half-written, the next try makes it whole. */
START_TEST(after_a_crash_anywhere)
{
    struct tide_bytes image = put_snapshot();
    apart = true;
    for (unsigned at = 0;; at++) {
        struct tide_export_place place = {0}, fresh = {0};
        int rc = TIDE_EAGAIN;
        begin(image);
        for (unsigned i = 0; rc == TIDE_EAGAIN && i < at; i++)
            rc = tide_files_export(from, to, 0, &stop, &place, why);
        FILE *f = fopen(in_dir("out/x/_metadata.pending"), "r+"); /* half of it is not durable */
        ck_assert_ptr_nonnull(f);
        ck_assert_int_eq(ftruncate(fileno(f), 40), 0);
        fclose(f);
        if (there("out/x/sub/deep/file.part"))
            ck_assert_int_eq(truncate(in_dir("out/x/sub/deep/file.part"), 1000), 0);
        ck_assert_int_eq(tide_files_export_begin(to, image, why), 0);
        ck_assert_msg(tide_files_export(from, to, 1u << 30, &stop, &fresh, why) == 0, "%s", why);
        ck_assert_int_eq(tide_files_metadata_publish(to, why), 0);
        is_whole(image, false);
        char command[300];
        snprintf(command, sizeof command, "rm -r %s", to);
        ck_assert_int_eq(system(command), 0);
        if (rc == 0) break;
    }
    free((void *)(uintptr_t)image.data);
}
END_TEST

static void refused(int rc, const char *words)
{
    struct tide_export_place place = {0};
    int found = tide_files_export(from, to, 1u << 30, &stop, &place, why);
    ck_assert_msg(found == rc && strstr(why, words), "%d: %s", found, why);
}

START_TEST(what_is_not_as_it_was)
{
    struct tide_bytes image = put_snapshot();
    struct tide_export_place place = {0};
    begin(image);
    ck_assert_int_eq(truncate(in_dir("job/a1-2/r7/sub/deep/file"), 5), 0);
    refused(TIDE_ECORRUPT, "/r7/sub/deep/file: has not the size that the snapshot says");
    ck_assert_int_eq(unlink(in_dir("job/a1-2/r7/sub/deep/file")), 0);
    refused(TIDE_ENOTFOUND, "/r7/sub/deep/file: is missing");
    ck_assert_int_eq(symlink("../other", in_dir("job/a1-2/r7/sub/deep/file")), 0);
    refused(TIDE_ECORRUPT, "/r7/sub/deep/file: is not a file");
    /* all that was written goes, and nothing else does */
    ck_assert(there("out/x/t0-0"));
    ck_assert_int_eq(tide_files_export_drop(to, why), 0);
    ck_assert(!there("out/x") && there("out") && there("job/a1-2/r7/t0-0"));
    ck_assert_int_eq(tide_files_export_drop(to, why), 0);
    begin(image);
    FILE *f = fopen(in_dir("out/x/mine"), "w");
    fclose(f);
    refused(TIDE_ECORRUPT, "is not a file");
    ck_assert_int_ne(tide_files_export_drop(to, why), 0);
    ck_assert(there("out/x/mine") && !there("out/x/t0-0"));
    stop = 1;
    ck_assert_int_eq(tide_files_export_begin(to, image, why), 0);
    ck_assert_int_eq(tide_files_export(from, to, 1u << 30, &stop, &place, why), TIDE_ECLOSED);
    stop = 0;
    f = fopen(in_dir("out/x/_metadata.pending"), "w");
    fputs("TIDEMETA and nothing more than that", f);
    fclose(f);
    refused(TIDE_ECORRUPT, "/out/x/_metadata.pending: ");
    free((void *)(uintptr_t)image.data);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, linked_or_copied);
    tcase_add_test(tc, after_a_crash_anywhere);
    tcase_add_test(tc, what_is_not_as_it_was);
}

int main(void)
{
    return run("export", add_tests);
}
