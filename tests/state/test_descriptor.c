/* Descriptors of protobuf, as protoc-c makes them of two versions of a type: what is compatible as
 * it is, after migration, and not at all; and what becomes of values. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "state/descriptor.h"
#include "state/format.h"
#include "tests/proto/lib_random.h"
#include "tests/proto/lib_run.h"

static char directory[64];

static void make_directory(void)
{
    strcpy(directory, "/tmp/tide-descriptor-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
}

static void remove_directory(void)
{
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s", directory);
    ck_assert_int_eq(system(command), 0); /* NOLINT */
}

/* The files of a .proto with this body, of which the type is a.T. */
static struct tide_bytes files_of(const char *syntax, const char *body)
{
    char path[100], command[400];
    static uint8_t data[65536];
    snprintf(path, sizeof path, "%s/t.proto", directory);
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fprintf(f, "syntax = \"%s\";\npackage a;\n%s\n", syntax, body);
    ck_assert_int_eq(fclose(f), 0);
    snprintf(command, sizeof command,
             "protoc-c --include_imports --descriptor_set_out=%s/set -I%s %s", directory, directory,
             path);
    ck_assert_int_eq(system(command), 0); /* NOLINT */
    snprintf(path, sizeof path, "%s/set", directory);
    f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    size_t n = fread(data, 1, sizeof data, f);
    ck_assert_int_eq(fclose(f), 0);
    uint8_t *copy = malloc(n + 1);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, data, n);
    return (struct tide_bytes){copy, n};
}

static void release(struct tide_bytes files)
{
    free((void *)(uintptr_t)files.data);
}

struct pair {
    struct tide_bytes files[2];
    struct tide_descriptor *d[2];
};

static void open_pair(struct pair *p, const char *syntax, const char *had, const char *now)
{
    char why[TIDE_DESCRIPTOR_WHY];
    for (unsigned i = 0; i < 2; i++) {
        p->files[i] = files_of(syntax, i ? now : had);
        ck_assert_msg(!tide_descriptor_open(p->files[i], tide_bytes_of("a.T"), &p->d[i], why), "%s",
                      why);
    }
}

static void close_pair(struct pair *p)
{
    for (unsigned i = 0; i < 2; i++) {
        tide_descriptor_close(p->d[i]);
        release(p->files[i]);
    }
}

#define T(fields) "message T { " fields " }"
static const struct {
    const char *syntax, *had, *now;
    int outcome;
    const char *why;
} rows[] = {
    {"proto3", T("int32 n = 1;"), T("int32 n = 1;"), 0, ""},
    {"proto3", T("int32 n = 1;"), T("int32 m = 1;"), 0, ""}, /* names do not matter */
    {"proto3", T("int32 n = 1;"), T("int32 n = 1; string s = 2;"), 0, ""},
    {"proto3", T("int32 n = 1; string s = 2;"), T("int32 n = 1;"), 1, ""},
    {"proto3", T("int32 n = 1;"), T("int64 n = 1;"), 0, ""},
    {"proto3", T("int64 n = 1;"), T("int32 n = 1;"), 1, ""},
    {"proto3", T("uint32 n = 1;"), T("int64 n = 1;"), 0, ""},
    {"proto3", T("uint32 n = 1;"), T("int32 n = 1;"), 1, ""},
    {"proto3", T("int32 n = 1;"), T("uint64 n = 1;"), 1, ""},
    {"proto3", T("bool n = 1;"), T("int32 n = 1;"), 0, ""},
    {"proto3", T("int32 n = 1;"), T("bool n = 1;"), 1, ""},
    {"proto3", T("sint32 n = 1;"), T("sint64 n = 1;"), 0, ""},
    {"proto3", T("sint64 n = 1;"), T("sint32 n = 1;"), 1, ""},
    {"proto3", T("fixed32 n = 1;"), T("sfixed32 n = 1;"), 1, ""},
    {"proto3", T("int32 n = 1;"), T("sint32 n = 1;"), TIDE_EREFUSED,
     "field 1 of 'a.T' ('n') is int32 there, sint32 here"},
    {"proto3", T("int32 n = 1;"), T("string n = 1;"), TIDE_EREFUSED,
     "field 1 of 'a.T' ('n') is int32 there, string here"},
    {"proto3", T("float n = 1; fixed32 m = 2;"), T("double n = 1; fixed64 m = 2;"), TIDE_EREFUSED,
     "field 1 of 'a.T' ('n') is float there, double here; field 2 of 'a.T' ('m') is fixed32 there, "
     "fixed64 here"},
    {"proto3", T("string s = 1;"), T("bytes s = 1;"), 0, ""},
    {"proto3", T("bytes s = 1;"), T("string s = 1;"), 1, ""},
    {"proto3", T("int32 n = 1;"), T("repeated int32 n = 1;"), 0, ""},
    {"proto3", T("repeated int32 n = 1;"), T("int32 n = 1;"), 1, ""},
    {"proto3", T("message I { int32 n = 1; } I i = 1;"), T("message J { int32 k = 1; } J i = 1;"),
     0, ""},
    {"proto3", T("message I { int32 n = 1; } I i = 1;"), T("message I { string n = 1; } I i = 1;"),
     TIDE_EREFUSED, "field 1 of 'a.T.I' ('n') is int32 there, string here"},
    {"proto3", T("message I { int32 n = 1; } I i = 1;"), T("message I { } I i = 1;"), 1, ""},
    {"proto3", T("message I { int32 n = 1; } I i = 1;"), T("bytes i = 1;"), 0, ""},
    {"proto3", T("bytes i = 1;"), T("message I { int32 n = 1; } I i = 1;"), TIDE_EREFUSED,
     "field 1 of 'a.T' ('i') is bytes there, message here"},
    {"proto3", T("T next = 1; int32 n = 2;"), T("T next = 1; int64 n = 2;"), 0, ""},
    {"proto3", T("map<string, int32> m = 1;"), T("map<string, int64> m = 1;"), 0, ""},
    {"proto3", T("map<string, int32> m = 1;"), T("map<int32, int32> m = 1;"), TIDE_EREFUSED,
     "field 1 of 'a.T.MEntry' ('key') is string there, int32 here"},
    {"proto3", T("int32 a = 1;"), T("oneof o { int32 a = 1; int32 b = 2; }"), 0, ""},
    {"proto3", T("int32 a = 1; int32 b = 2;"), T("oneof o { int32 a = 1; int32 b = 2; }"),
     TIDE_EREFUSED, "field 2 of 'a.T' ('b') excludes another one here, and did not there"},
    {"proto3", T("oneof o { int32 a = 1; int32 b = 2; }"), T("int32 a = 1; int32 b = 2;"), 0, ""},
    {"proto3", T("enum E { A = 0; B = 1; } E e = 1;"), T("enum E { A = 0; } E e = 1;"), 0, ""},
    {"proto3", T("enum E { A = 0; B = 1; } E e = 1;"), T("int64 e = 1;"), 0, ""},
    {"proto2", T("enum E { A = 0; B = 1; } optional E e = 1;"),
     T("enum E { A = 0; } optional E e = 1;"), 1, ""},
    {"proto2", T("optional int32 e = 1;"), T("enum E { A = 0; } optional E e = 1;"), 1, ""},
    {"proto2", T("optional int32 n = 1;"), T("optional int32 n = 1 [default = 7];"), 0, ""},
    {"proto2", T("required int32 n = 1;"), T("optional int32 n = 1;"), 0, ""},
    {"proto2", T("optional int32 n = 1;"), T("required int32 n = 1;"), TIDE_EREFUSED,
     "field 1 of 'a.T' ('n') may be missing there, and is required here"},
    {"proto2", T("optional int32 n = 1;"), T("optional int32 n = 1; required int32 m = 2;"),
     TIDE_EREFUSED, "field 2 of 'a.T' ('m') is required, and not there"},
};

START_TEST(each_row)
{
    struct pair p;
    char why[TIDE_DESCRIPTOR_WHY];
    make_directory();
    open_pair(&p, rows[_i].syntax, rows[_i].had, rows[_i].now);
    int rc = tide_descriptor_compare(p.d[0], p.d[1], why);
    ck_assert_msg(rc == rows[_i].outcome, "%s to %s: %d, %s", rows[_i].had, rows[_i].now, rc, why);
    if (rc < 0) ck_assert_str_eq(why, rows[_i].why);
    ck_assert_int_eq(tide_descriptor_compare(p.d[1], p.d[1], why), 0);
    close_pair(&p);
    remove_directory();
}
END_TEST

/* ---- values: bytes as protobuf has them, in hexadecimal */

static const struct {
    const char *had, *now, *value, *made; /* made: or why not */
} values[] = {
    {T("int32 n = 1; string s = 2; int32 m = 3;"), T("int32 n = 1; int32 m = 3;"),
     "0805120378797a1807", "08051807"},
    {T("int32 n = 1; string s = 2;"), T("int32 n = 1;"), "08052001", "08052001"}, /* nobody's */
    {T("message I { int32 n = 1; int32 m = 2; } I i = 1;"),
     T("message I { int32 n = 1; } I i = 1;"), "0a0408051006", "0a020805"},
    {T("repeated T t = 1; int32 n = 2;"), T("repeated T t = 1;"), "0a060a021805100110020a00",
     "0a040a0218050a00"}, /* 18 05 is nobody's */
    {T("int64 n = 1;"), T("int32 n = 1;"), "08ffffffff07", "08ffffffff07"},
    {T("int64 n = 1;"), T("int32 n = 1;"), "088080808008",
     "field 1 ('n') has a number that does not fit"},
    {T("int64 n = 1;"), T("int32 n = 1;"), "0880808080f8ffffffff01", "0880808080f8ffffffff01"},
    {T("int32 n = 1;"), T("uint32 n = 1;"), "08ffffffffffffffffff01",
     "field 1 ('n') has a number that does not fit"},
    {T("uint32 n = 1;"), T("bool n = 1;"), "0802", "field 1 ('n') has a number that does not fit"},
    {T("sint64 n = 1;"), T("sint32 n = 1;"), "08ffffffff0f", "08ffffffff0f"},
    {T("sint64 n = 1;"), T("sint32 n = 1;"), "088080808010",
     "field 1 ('n') has a number that does not fit"},
    {T("fixed32 n = 1;"), T("sfixed32 n = 1;"), "0d00000080",
     "field 1 ('n') has a number that does not fit"},
    {T("fixed32 n = 1;"), T("sfixed32 n = 1;"), "0d00000070", "0d00000070"},
    {T("bytes s = 1;"), T("string s = 1;"), "0a02c3a4", "0a02c3a4"},
    {T("bytes s = 1;"), T("string s = 1;"), "0a02c328", "field 1 ('s') has bytes that are no text"},
    {T("repeated int32 n = 1;"), T("int32 n = 1;"), "0a0105", "0805"},
    {T("repeated int32 n = 1;"), T("int32 n = 1;"), "0805", "0805"},
    {T("repeated int32 n = 1;"), T("int32 n = 1;"), "0a020506",
     "field 1 ('n') has more than one value"},
    {T("repeated int32 n = 1;"), T("int32 n = 1;"), "08050806",
     "field 1 ('n') has more than one value"},
    {T("repeated int64 n = 1;"), T("repeated int32 n = 1;"), "0a05ffffffff07", "0a05ffffffff07"},
    {T("repeated int64 n = 1;"), T("repeated int32 n = 1;"), "0a058080808080",
     "field 1 ('n') is not of its schema"}, /* cut off */
    {T("string s = 1; int32 n = 2;"), T("string s = 1;"), "0d00000080",
     "field 1 ('s') is not of its schema"},
    {T("string s = 1; int32 n = 2;"), T("string s = 1;"), "0a05", "it is no message of protobuf"},
    {T("int32 n = 1; int32 m = 2;"), T("int32 n = 1;"), "", ""},
};

static size_t unhex(const char *text, uint8_t *to)
{
    size_t n = strlen(text) / 2;
    for (size_t i = 0; i < n; i++) {
        unsigned byte;
        ck_assert_int_eq(sscanf(text + 2 * i, "%2x", &byte), 1);
        to[i] = (uint8_t)byte;
    }
    return n;
}

START_TEST(each_value)
{
    struct pair p;
    char why[TIDE_DESCRIPTOR_WHY];
    uint8_t value[64], want[64];
    struct tide_buf out;
    const char *made = values[_i].made;
    make_directory();
    open_pair(&p, "proto3", values[_i].had, values[_i].now);
    ck_assert_int_eq(tide_descriptor_compare(p.d[0], p.d[1], why), 1);
    tide_buf_init(&out, 1000);
    size_t n = unhex(values[_i].value, value);
    int rc = tide_descriptor_convert(p.d[0], p.d[1], (struct tide_bytes){value, n}, &out, why);
    if (strspn(made, "0123456789abcdef") == strlen(made)) {
        ck_assert_msg(rc == 0, "%s: %s", values[_i].value, why);
        n = unhex(made, want);
        ck_assert_uint_eq(out.len, n);
        if (n) ck_assert_mem_eq(out.data, want, n);
    } else {
        ck_assert_int_eq(rc, TIDE_EREFUSED);
        ck_assert_str_eq(why, made);
    }
    tide_buf_release(&out);
    close_pair(&p);
    remove_directory();
}
END_TEST

/* Of a set that is cut, or has a byte changed, nothing crashes, and what is read still compares. */
START_TEST(damaged_sets)
{
    struct tide_descriptor *d, *whole;
    char why[TIDE_DESCRIPTOR_WHY];
    make_directory();
    struct tide_bytes files =
        files_of("proto3", "enum E { A = 0; } message U { E e = 1; }"
                           "message T { message I { U u = 1; } repeated I i = 1; oneof o { int32 n "
                           "= 2; E e = 3; } }");
    ck_assert_int_eq(tide_descriptor_open(files, tide_bytes_of("a.T"), &whole, why), 0);
    ck_assert_int_eq(tide_descriptor_open(files, tide_bytes_of("a.E"), &d, why), TIDE_EINVAL);
    ck_assert_str_eq(why, "it has no message 'a.E'");
    uint8_t *data = (uint8_t *)(uintptr_t)files.data;
    unsigned refused = 0;
    for (size_t i = 0; i < files.len; i++) {
        struct tide_bytes part = {files.data, i};
        if (!tide_descriptor_open(part, tide_bytes_of("a.T"), &d, why))
            ck_abort_msg("cut at %zu", i);
        for (unsigned bit = 0; bit < 8; bit++) {
            data[i] ^= (uint8_t)(1u << bit);
            int rc = tide_descriptor_open(files, tide_bytes_of("a.T"), &d, why);
            if (!rc) rc = tide_descriptor_compare(d, d, why);
            refused += rc != 0;
            if (rc != TIDE_EINVAL) tide_descriptor_close(d);
            data[i] ^= (uint8_t)(1u << bit);
        }
    }
    ck_assert_uint_gt(refused, 100);
    tide_descriptor_close(whole);
    release(files);
    remove_directory();
}
END_TEST

/* ---- a state with descriptors, saved by one program and restored by another */

static struct tide_states *with(const struct tide_schema *schema, struct tide_named **ret)
{
    struct tide_states_config c = {.uid = "op", .parallelism = 1};
    struct tide_states *s;
    char why[256];
    ck_assert_int_eq(tide_states_new(&c, &s, why), 0);
    ck_assert_msg(!tide_states_declare(s, "total", TIDE_VALUE, schema, ret), "%s",
                  tide_states_error(s));
    return s;
}

static struct tide_schema schema_of(struct tide_bytes files, uint32_t version)
{
    return (struct tide_schema){.id = "total",
                                .version = version,
                                .message = "a.T",
                                .descriptor = files.data,
                                .descriptor_len = files.len};
}

static void restored(struct tide_states *s, struct tide_named *n, const char *path, const char *hex)
{
    uint8_t want[64];
    const void *data = NULL;
    size_t len = 0;
    ck_assert_msg(!tide_states_restore_files(s, &path, 1), "%s", tide_states_error(s));
    ck_assert_int_eq(tide_value_get(n, "k", 1, &data, &len), 0);
    size_t size = unhex(hex, want);
    ck_assert_uint_eq(len, size);
    ck_assert_mem_eq(data, want, size);
    tide_states_free(s);
}

static void refused(struct tide_states *s, const char *path, const char *why)
{
    char want[500];
    ck_assert_int_eq(tide_states_restore_files(s, &path, 1), TIDE_EREFUSED);
    snprintf(want, sizeof want, why, path);
    ck_assert_str_eq(tide_states_error(s), want);
    tide_states_free(s);
}

static int keep(uint32_t version, const void *value, size_t len, void **ret, size_t *ret_len,
                void *user)
{
    (void)user, (void)value, (void)len;
    uint8_t *made = malloc(2);
    if (!made || version != 1) return free(made), 1;
    memcpy(made, "\x08\x09", 2);
    *ret = made;
    *ret_len = 2;
    return 0;
}

START_TEST(values_of_a_state_evolve_by_their_descriptors)
{
    struct tide_named *n;
    char path[100];
    make_directory();
    snprintf(path, sizeof path, "%s/state", directory);
    struct tide_bytes old = files_of("proto3", T("int32 n = 1; string s = 2;")),
                      less = files_of("proto3", T("int64 n = 1;")),
                      more = files_of("proto3", T("int32 n = 1; string s = 2; bool b = 3;")),
                      other = files_of("proto3", T("string n = 1;"));
    struct tide_schema v = schema_of(old, 1);
    struct tide_states *s = with(&v, &n);
    ck_assert_int_eq(tide_value_put(n, "k", 1, "\x08\x05\x12\x01x", 5), 0);
    ck_assert_int_eq(tide_states_save(s, path, true), 0);
    tide_states_free(s);
    s = with(&v, &n);
    restored(s, n, path, "0805120178");
    v = schema_of(more, 2);
    s = with(&v, &n);
    restored(s, n, path, "0805120178");
    v = schema_of(less, 2);
    s = with(&v, &n);
    restored(s, n, path, "0805");
    v = schema_of(other, 2);
    refused(with(&v, &n), path,
            "%s: state total is incompatible: field 1 of 'a.T' ('n') is int32 there, string here");
    v = schema_of(other, 1); /* no new version, but another type */
    refused(with(&v, &n), path,
            "%s: state total is incompatible: field 1 of 'a.T' ('n') is int32 there, string here");
    v = schema_of(other, 2);
    v.migrate = keep; /* the program's affair */
    s = with(&v, &n);
    restored(s, n, path, "0809");
    v = (struct tide_schema){.id = "total", .version = 1};
    s = with(&v, &n);
    restored(s, n, path, "0805120178");
    v = schema_of(old, 1);
    v.message = "a.U";
    struct tide_states_config c = {.uid = "op", .parallelism = 1};
    ck_assert_int_eq(tide_states_new(&c, &s, NULL), 0);
    ck_assert_int_eq(tide_states_declare(s, "total", TIDE_VALUE, &v, &n), TIDE_EINVAL);
    ck_assert_str_eq(tide_states_error(s),
                     "state total: its descriptor cannot be used: it has no message 'a.U'");
    v.descriptor_len = 0;
    ck_assert_int_eq(tide_states_declare(s, "total", TIDE_VALUE, &v, &n), TIDE_EINVAL);
    tide_states_free(s);
    release(old);
    release(less);
    release(more);
    release(other);
    remove_directory();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("state_descriptor");
    add_loop_test(s, each_row, (int)(sizeof rows / sizeof *rows));
    add_loop_test(s, each_value, (int)(sizeof values / sizeof *values));
    add_test(s, damaged_sets);
    add_test(s, values_of_a_state_evolve_by_their_descriptors);
    return run_suite(s);
}
