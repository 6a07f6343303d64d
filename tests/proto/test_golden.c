/* The bytes of every message that travels, as another implementation wrote them: they are read
 * without anything unknown, and written again byte for byte. Every field of every message occurs
 * in one of them, so that none can change its number or its type unseen. */
#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "proto/ack.h"
#include "proto/admin.pb-c.h"
#include "proto/arena.h"
#include "proto/frame.h"
#include "proto/manifest.pb-c.h"
#include "proto/worker.pb-c.h"
#include "tests/proto/lib_run.h"

#define FOLDER "tests/golden/wire"
#define FILE_MAX 65536

static const ProtobufCMessageDescriptor *const roots[] = {
    &tide__from_worker__descriptor,  &tide__to_worker__descriptor, &tide__join__descriptor,
    &tide__start__descriptor,        &tide__request__descriptor,   &tide__response__descriptor,
    &tide__manifest_head__descriptor};
#define ROOTS (sizeof roots / sizeof roots[0])

/* Fields that occurred, by their descriptors, which are unique. */
static const ProtobufCFieldDescriptor *seen[1000];
static size_t n_seen;

static bool was_seen(const ProtobufCFieldDescriptor *f)
{
    for (size_t i = 0; i < n_seen; i++)
        if (seen[i] == f) return true;
    return false;
}

static size_t field_count(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    const char *at = (const char *)m + f->offset;
    const char *quantifier = (const char *)m + f->quantifier_offset;
    static const uint64_t zero;

    if (f->label == PROTOBUF_C_LABEL_REPEATED) return *(const size_t *)(const void *)quantifier;
    if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        return *(const uint32_t *)(const void *)quantifier == f->id;
    switch (f->type) {
    case PROTOBUF_C_TYPE_MESSAGE: return *(void *const *)(const void *)at != NULL;
    case PROTOBUF_C_TYPE_BYTES: return ((const ProtobufCBinaryData *)(const void *)at)->len > 0;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_FIXED64: return memcmp(at, &zero, 8) != 0;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_BOOL:
    case PROTOBUF_C_TYPE_ENUM: return memcmp(at, &zero, 4) != 0;
    default: ck_abort_msg("%s has a type that no message here uses", f->name); return 0;
    }
}

static void look(const ProtobufCMessage *m)
{
    ck_assert_msg(m->n_unknown_fields == 0, "%s has unknown fields", m->descriptor->name);
    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
        size_t n = field_count(m, f);
        if (n == 0) continue;
        if (!was_seen(f)) seen[n_seen++] = f;
        if (f->type != PROTOBUF_C_TYPE_MESSAGE) continue;
        const void *at = (const char *)m + f->offset;
        if (f->label == PROTOBUF_C_LABEL_REPEATED)
            for (size_t k = 0; k < n; k++)
                look((*(ProtobufCMessage *const *const *)at)[k]);
        else
            look(*(ProtobufCMessage *const *)at);
    }
}

static void expect_all(const ProtobufCMessageDescriptor *type)
{
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &type->fields[i];
        ck_assert_msg(was_seen(f), "no golden file holds %s.%s", type->name, f->name);
        if (f->type == PROTOBUF_C_TYPE_MESSAGE) expect_all(f->descriptor);
    }
}

/* The bytes of a .hex file; lines that begin with # are for people. */
static size_t read_hex(const char *name, uint8_t bytes[FILE_MAX])
{
    char path[600], line[4096];
    unsigned byte;
    int used;
    size_t n = 0;
    snprintf(path, sizeof path, FOLDER "/%s", name);
    FILE *file = fopen(path, "r");
    ck_assert_msg(file != NULL, "%s cannot be read: run the tests from the top folder", path);
    while (fgets(line, sizeof line, file)) {
        if (line[0] == '#') continue;
        for (const char *at = line; sscanf(at, " %2x%n", &byte, &used) == 1; at += used) {
            ck_assert_uint_lt(n, FILE_MAX);
            bytes[n++] = (uint8_t)byte;
        }
    }
    fclose(file);
    return n;
}

static const ProtobufCMessageDescriptor *type_of(const char *name)
{
    for (size_t i = 0; i < ROOTS; i++) {
        size_t n = strlen(roots[i]->short_name);
        if (strncmp(name, roots[i]->short_name, n) == 0 && name[n] == '.') return roots[i];
    }
    ck_abort_msg("%s is named after no message", name);
    return NULL;
}

START_TEST(every_message_both_ways)
{
    static uint8_t bytes[FILE_MAX], again[FILE_MAX];
    unsigned files = 0;
    DIR *dir = opendir(FOLDER);
    ck_assert_msg(dir != NULL, FOLDER " cannot be read: run the tests from the top folder");
    for (struct dirent *e; (e = readdir(dir));) {
        struct tide_arena a;
        size_t len = strlen(e->d_name);
        if (len < 4 || strcmp(e->d_name + len - 4, ".hex") != 0) continue;
        size_t n = read_hex(e->d_name, bytes);
        tide_arena_init(&a, TIDE_ARENA_MAX);
        ProtobufCMessage *m =
            tide_unpack(&a, type_of(e->d_name), (struct tide_bytes){bytes, n}, NULL);
        ck_assert_msg(m != NULL, "%s does not unpack", e->d_name);
        look(m);
        ck_assert_msg(protobuf_c_message_get_packed_size(m) == n, "%s: another length", e->d_name);
        protobuf_c_message_pack(m, again);
        ck_assert_msg(memcmp(bytes, again, n) == 0, "%s: other bytes", e->d_name);
        tide_arena_release(&a);
        files++;
    }
    closedir(dir);
    ck_assert_uint_ge(files, 54);
    for (size_t i = 0; i < ROOTS; i++)
        expect_all(roots[i]);
}
END_TEST

/* The values stand in the file's text; here the walk reads them and the builder writes them. */
START_TEST(the_ack_batch)
{
    static uint8_t bytes[FILE_MAX];
    struct tide_bytes body = {bytes, read_hex("FromWorker.ack.hex", bytes)}, content;
    struct tide_acks acks;
    struct tide_ack_view v;
    struct tide_ack_builder b;
    struct tide_buf out;
    char why[160];
    static const struct tide_ack_file files[] = {
        {4096, 1, 4}, {18446744073709, UINT64_MAX, 5}, {0, 3, 1ull << 63}};

    ck_assert_uint_eq(tide_frame_peek(body, &content), 6);
    ck_assert_int_eq(tide_acks_open(&acks, content, why), 0);
    ck_assert_uint_eq(acks.round, 1000001);
    ck_assert_uint_eq(acks.entries, 5);
    tide_ack_builder_init(&b, FILE_MAX);
    tide_buf_init(&out, FILE_MAX);
    tide_ack_builder_add(&b, 0, 10, 1, 4, files, 1);
    tide_ack_builder_add(&b, 1, 0, 2, 500, NULL, 0);
    tide_ack_builder_add(&b, 300, 70000, 3, UINT32_MAX, files + 1, 2);
    for (int i = 0; tide_acks_next(&acks, &v); i++) {
        ck_assert_int_eq(v.full, i >= 3);
        if (v.full) tide_ack_builder_add_full(&b, v.message);
    }
    tide_ack_builder_put_frame(&b, 5, 1000001, &out);
    ck_assert_uint_eq(out.len, 4 + body.len);
    ck_assert_uint_eq(tide_get_u32(out.data), body.len);
    ck_assert_mem_eq(out.data + 4, bytes, body.len);
    tide_ack_builder_release(&b);
    tide_buf_release(&out);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("golden");
    add_test(s, every_message_both_ways);
    add_test(s, the_ack_batch);
    return run_suite(s);
}
