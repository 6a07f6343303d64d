/* The configuration: what is accepted, what each error says, and that the sample file, the table
 * of keys and the defaults are one. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/config.h"
#include "daemon/core/core.h"
#include "proto/err.h"

static struct config c;
static char why[CONFIG_WHY];

static void setup(void)
{
    config_init(&c);
    why[0] = 0;
}

static void teardown(void)
{
    config_close(&c);
}

static int parse(const char *text)
{
    return config_parse(&c, "f.conf", tide_bytes_of(text), why);
}

static const struct {
    const char *text, *why;
} wrong[] = {
    {"x = 1\n", "f.conf:1: key 'x' stands before the first [section]"},
    {"\n[daemon]\nlisten\n", "f.conf:3: 'listen' is neither a [section] nor key = value"},
    {"[nonsense]\n", "f.conf:1: unknown section [nonsense]: known are [daemon], [limits], [store], "
                     "[files] and [queries]"},
    {"[daemon\n", "f.conf:1: '[daemon' is not a section: write [name]"},
    {"[]\n", "f.conf:1: '[]' is not a section: write [name]"},
    {"[store]\ntime-out = 1s\n", "f.conf:2: unknown key 'time-out' in [store]"},
    {"[store]\nlisten = 1\n", "f.conf:2: unknown key 'listen' in [store]; it belongs to [daemon]"},
    {"[limits]\njobs = 1\n# c\njobs = 2\n", "f.conf:4: [limits] jobs: set before, in line 2"},
    {"[limits]\njobs = many\n", "f.conf:2: [limits] jobs: 'many' is not a whole number such as 100 "
                                "(a comment needs a line of its own)"},
    {"[limits]\njobs = 5 # five\n",
     "f.conf:2: [limits] jobs: '5 # five' is not a whole number such "
     "as 100 (a comment needs a line of its own)"},
    {"[limits]\njobs = -1\n", "f.conf:2: [limits] jobs: '-1' is not a whole number such as 100 (a "
                              "comment needs a line of its own)"},
    {"[limits]\njobs =\n", "f.conf:2: [limits] jobs: '' is not a whole number such as 100 (a "
                           "comment needs a line of its own)"},
    {"[limits]\njobs = 0\n", "f.conf:2: [limits] jobs: '0' is out of bounds: at least 1, at most "
                             "100000"},
    {"[limits]\njobs = 1K\n", "f.conf:2: [limits] jobs: '1K' is not a whole number such as 100 (a "
                              "comment needs a line of its own)"},
    {"[limits]\njobs = 18446744073709551617\n",
     "f.conf:2: [limits] jobs: '18446744073709551617' is not a whole number such as 100 (a comment "
     "needs a line of its own)"},
    {"[limits]\noutput-queue = 63K\n",
     "f.conf:2: [limits] output-queue: '63K' is out of bounds: at least 64K, at most 4G"},
    {"[limits]\noutput-queue = 1T\n", "f.conf:2: [limits] output-queue: '1T' is not a size such as "
                                      "64K, 16M or 1G (a comment needs a line of its own)"},
    {"[limits]\noutput-queue = 18014398509481985K\n",
     "f.conf:2: [limits] output-queue: '18014398509481985K' is not a size such as 64K, 16M or 1G "
     "(a "
     "comment needs a line of its own)"},
    {"[store]\ntimeout = 10\n", "f.conf:2: [store] timeout: '10' is not a time with its unit such "
                                "as 500ms, 10s, 5m or 1h (a comment needs a line of its own)"},
    {"[store]\ntimeout = 999ms\n",
     "f.conf:2: [store] timeout: '999ms' is out of bounds: at least 1s, at most 1h"},
    {"[daemon]\nlog-level = loud\n",
     "f.conf:2: [daemon] log-level: 'loud' is none of error, warn, info and debug"},
    {"[daemon]\nlisten = localhost:1\n",
     "f.conf:2: [daemon] listen: 'localhost:1' is not an address: write IP:PORT, such as "
     "127.0.0.1:7460 or [::1]:7460 (names are not looked up; port 0 takes any)"},
    {"[daemon]\ndata =\n", "f.conf:2: [daemon] data: has no value"},
    {"[daemon]\nstate = here\n", "f.conf:2: [daemon] state: 'here' is not an absolute path"},
    {"[daemon]\r\nlog-level = \xff\r\n", "f.conf:2: the line is not valid UTF-8"},
};

START_TEST(each_error_names_file_line_and_key)
{
    ck_assert_int_eq(parse(wrong[_i].text), TIDE_EINVAL);
    ck_assert_str_eq(why, wrong[_i].why);
}
END_TEST

static const char *const addresses[] = {
    "127.0.0.1",
    "127.0.0.1:",
    ":7460",
    "127.0.0.1:65536",
    "127.0.0.1:7x",
    "::1:7460",
    "[::1]",
    "[::1:7460",
    "[]:1",
    "256.0.0.1:1",
    "[127.0.0.1]:1",
    "127.0.0.1:-1",
    "1111111111111111111111111111111111111111111111111111111111111111111111111111111:1"};

START_TEST(bad_addresses_are_refused)
{
    ck_assert_int_eq(config_set(&c, "daemon", "listen", addresses[_i], "--listen", why),
                     TIDE_EINVAL);
    ck_assert_ptr_nonnull(strstr(why, "--listen: [daemon] listen: '"));
}
END_TEST

START_TEST(values_are_taken_whole)
{
    ck_assert_int_eq(parse("; comment\n\n\t[ limits ]\r\n  jobs\t=  7  \n"
                           "output-queue = 2M\nhello-timeout = 1500ms\nidle-timeout=2m\n"
                           "[daemon]\nlisten = [::1]:0\nstate = /a = b # c ; d\nlog-level = debug"),
                     0);
    ck_assert_uint_eq(c.jobs, 7);
    ck_assert_uint_eq(c.output_queue, 2u << 20);
    ck_assert_uint_eq(c.hello_timeout, 1500000);
    ck_assert_uint_eq(c.idle_timeout, 120000000);
    ck_assert_str_eq(c.state, "/a = b # c ; d");
    ck_assert_uint_eq(c.log_level, LEVEL_DEBUG);
    ck_assert_int_eq(config_finish(&c, why), 0);
    ck_assert_int_eq(c.address.ss_family, AF_INET6);
    ck_assert_str_eq(c.savepoints, "/var/lib/tidemark/savepoints");
}
END_TEST

/* No silent cut: a long path arrives whole, one that is too long is refused with its length. */
START_TEST(long_values_are_not_cut)
{
    char text[4096] = "[daemon]\nstate = /";
    size_t start = strlen(text), path = start - 1;
    memset(text + start, 'x', 2999);
    ck_assert_int_eq(parse(text), 0);
    ck_assert_str_eq(c.state, text + path);
    memset(text + start, 'x', 3000);
    ck_assert_int_eq(parse(text), TIDE_EINVAL);
    ck_assert_str_eq(
        why, "f.conf:2: [daemon] state: the path has 3001 bytes, at most 3000 are possible");
}
END_TEST

START_TEST(a_nul_does_not_hide_what_follows)
{
    static const char text[] = "[daemon]\nstate = /a\0b\n";
    struct tide_bytes bytes = {(const uint8_t *)text, sizeof text - 1};
    ck_assert_int_eq(config_parse(&c, "f.conf", bytes, why), TIDE_EINVAL);
    ck_assert_str_eq(why, "f.conf:2: the line is not valid UTF-8");
}
END_TEST

START_TEST(files_that_cannot_be_read)
{
    ck_assert_int_eq(config_load(&c, "/nonexistent/x.conf", why), TIDE_ENOTFOUND);
    ck_assert_str_eq(why, "/nonexistent/x.conf: cannot be read: No such file or directory");
    ck_assert_int_eq(config_load(&c, "/", why), TIDE_EINVAL);
    ck_assert_str_eq(why, "/: cannot be read: Is a directory");
    ck_assert_int_eq(config_load(&c, "/dev/zero", why), TIDE_EINVAL);
    ck_assert_str_eq(why, "/dev/zero: larger than 1048576 bytes");
}
END_TEST

/* ---- what concerns more than one key */

static char secret[] = "/tmp/tide-secret-XXXXXX";

static void make_secret(const char *text, mode_t mode)
{
    int fd = mkstemp(secret);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    ck_assert_int_eq(fchmod(fd, mode), 0);
    ck_assert_int_eq(close(fd), 0);
    ck_assert_int_eq(config_set(&c, "daemon", "secret-file", secret, "x", why), 0);
}

START_TEST(an_open_address_needs_a_secret)
{
    ck_assert_int_eq(parse("[daemon]\nlisten = 0.0.0.0:7460\n"), 0);
    ck_assert_int_eq(config_finish(&c, why), TIDE_EINVAL);
    ck_assert_str_eq(why, "[daemon] listen: 0.0.0.0:7460 can be reached from other machines, so a "
                          "secret is needed: set [daemon] secret-file");
    make_secret("s3cret\n", 0640);
    ck_assert_int_eq(config_finish(&c, why), 0);
    ck_assert_uint_eq(c.secret_len, 6);
    ck_assert_mem_eq(c.secret, "s3cret", 6);
    (void)unlink(secret);
}
END_TEST

START_TEST(a_secret_that_everybody_reads_is_none)
{
    char want[400];
    make_secret("s3cret\n", 0644);
    ck_assert_int_eq(config_finish(&c, why), TIDE_EINVAL);
    (void)snprintf(want, sizeof want,
                   "[daemon] secret-file: %s: everybody on this machine may read or write it; run: "
                   "chmod o-rw '%s'",
                   secret, secret);
    ck_assert_str_eq(why, want);
    (void)unlink(secret);
}
END_TEST

START_TEST(secrets_have_bounds)
{
    char want[400], text[CONFIG_SECRET_MAX + 3];
    make_secret("\n", 0600);
    ck_assert_int_eq(config_finish(&c, why), TIDE_EINVAL);
    (void)snprintf(want, sizeof want, "[daemon] secret-file: %s: empty", secret);
    ck_assert_str_eq(why, want);
    memset(text, 's', sizeof text);
    text[sizeof text - 1] = 0;
    (void)unlink(secret);
    (void)strcpy(secret, "/tmp/tide-secret-XXXXXX");
    make_secret(text, 0600);
    ck_assert_int_eq(config_finish(&c, why), TIDE_EINVAL);
    (void)snprintf(want, sizeof want, "[daemon] secret-file: %s: longer than 4096 bytes", secret);
    ck_assert_str_eq(why, want);
    (void)unlink(secret);
    ck_assert_int_eq(config_set(&c, "daemon", "secret-file", "/tmp", "x", why), 0);
    ck_assert_int_eq(config_finish(&c, why), TIDE_EINVAL);
    ck_assert_str_eq(why, "[daemon] secret-file: /tmp: not a regular file");
}
END_TEST

START_TEST(state_and_savepoints_are_two_places)
{
    ck_assert_int_eq(parse("[daemon]\nstate = /x\nsavepoints = /x/\n"), 0);
    ck_assert_int_eq(config_finish(&c, why), TIDE_EINVAL);
    ck_assert_str_eq(why,
                     "[daemon] state and savepoints: both are /x; each needs its own directory");
}
END_TEST

START_TEST(what_is_written_is_read_again)
{
    char text[8192] = "";
    FILE *out = fmemopen(text, sizeof text, "w");
    ck_assert_int_eq(parse("[daemon]\ndata = /a b /\nlisten = [::1]:0\n[limits]\njobs = 7\n"), 0);
    ck_assert_int_eq(config_finish(&c, why), 0);
    ck_assert_str_eq(c.data, "/a b ");
    ck_assert(out && config_write(&c, out) && fclose(out) == 0);
    config_close(&c);
    config_init(&c);
    ck_assert_msg(parse(text) == 0 && config_finish(&c, why) == 0, "%s", why);
    ck_assert_str_eq(c.data, "/a b ");
    ck_assert_str_eq(c.listen, "[::1]:0");
    ck_assert_uint_eq(c.jobs, 7);
}
END_TEST

/* ---- the sample file */

static const char *sample(void)
{
    static char text[65536];
    FILE *f = fopen("daemon/tidemarkd.conf", "re");
    ck_assert_msg(f != NULL, "run from the top of the tree");
    size_t n = fread(text, 1, sizeof text - 1, f);
    ck_assert(n > 0 && n < sizeof text - 1);
    text[n] = 0;
    (void)fclose(f);
    return text;
}

START_TEST(every_known_key_is_in_the_file_with_its_default)
{
    const char *section, *key, *text = sample();
    char value[64], line[200], head[80];
    size_t n = 0;
    for (; config_key(n, &section, &key, value); n++) {
        (void)snprintf(head, sizeof head, "\n[%s]\n", section);
        const char *from = strstr(text, head);
        ck_assert_msg(from != NULL, "no [%s]", section);
        const char *to = strstr(from + 2, "\n[");
        (void)snprintf(line, sizeof line, "\n#%s =%s%s\n", key, *value ? " " : "", value);
        const char *at = strstr(from, line);
        ck_assert_msg(at != NULL && (!to || at < to), "[%s] %s: no line '%s'", section, key,
                      line + 1);
    }
    ck_assert_uint_ge(n, 20);
}
END_TEST

/* With its lines switched on, the file is valid, changes nothing, and sets every key. */
START_TEST(every_key_of_the_file_is_known)
{
    static char on[65536];
    const char *text = sample(), *section, *key;
    size_t n = 0, keys = 0;
    char value[64];
    for (const char *p = text; *p; p++) {
        bool line_start = p == text || p[-1] == '\n';
        if (line_start && *p == '#' && p[1] >= 'a' && p[1] <= 'z') {
            keys++;
            continue;
        }
        on[n++] = *p;
    }
    struct config defaults;
    config_init(&defaults);
    ck_assert_msg(parse(on) == 0, "%s", why);
    for (size_t i = 0; config_key(i, &section, &key, value); i++, keys--)
        ck_assert_msg(c.lines[i] != 0, "[%s] %s is not set by the file", section, key);
    ck_assert_uint_eq(keys, 0);
    ck_assert_str_eq(c.listen, defaults.listen);
    ck_assert_str_eq(c.data, defaults.data);
    ck_assert_mem_eq(&c.log_level, &defaults.log_level,
                     offsetof(struct config, address) - offsetof(struct config, log_level));
    config_close(&defaults);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("config");
    TCase *t = tcase_create("config");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, each_error_names_file_line_and_key, 0, sizeof wrong / sizeof *wrong);
    tcase_add_loop_test(t, bad_addresses_are_refused, 0, sizeof addresses / sizeof *addresses);
    tcase_add_test(t, values_are_taken_whole);
    tcase_add_test(t, long_values_are_not_cut);
    tcase_add_test(t, a_nul_does_not_hide_what_follows);
    tcase_add_test(t, files_that_cannot_be_read);
    tcase_add_test(t, an_open_address_needs_a_secret);
    tcase_add_test(t, a_secret_that_everybody_reads_is_none);
    tcase_add_test(t, secrets_have_bounds);
    tcase_add_test(t, state_and_savepoints_are_two_places);
    tcase_add_test(t, what_is_written_is_read_again);
    tcase_add_test(t, every_known_key_is_in_the_file_with_its_default);
    tcase_add_test(t, every_key_of_the_file_is_known);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
