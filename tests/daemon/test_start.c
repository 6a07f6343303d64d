/* Starting and stopping the program: each error is one clear line and exit code 1, wrong flags 2.
 */
#include <arpa/inet.h>
#include <check.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/daemon/lib_peer.h"

static char directory[64], data[80], conf[80];

static void setup(void)
{
    (void)strcpy(directory, directory_make());
    (void)snprintf(data, sizeof data, "%s/data", directory);
    (void)snprintf(conf, sizeof conf, "%s/conf", directory);
}

static void teardown(void)
{
    directory_remove(directory);
}

static void write_conf(const char *text)
{
    FILE *f = fopen(conf, "we");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs(text, f), 0);
    ck_assert_int_eq(fclose(f), 0);
}

/* Runs to its end; what it said must be `said`, with %s for the test's directory. */
static void expect(int code, const char *said, const char *const *arguments)
{
    struct child c;
    char want[1024], *to = want;
    for (const char *p = said; *p; p++)
        if (p[0] == '%')
            to += sprintf(to, "%s", directory);
        else
            *to++ = *p;
    *to = 0;
    child_start(&c, arguments);
    int got = child_wait(&c);
    ck_assert_str_eq(c.said, want);
    ck_assert_int_eq(got, code);
}
#define RUN(code, said, ...) expect(code, said, (const char *const[]){__VA_ARGS__, NULL})

START_TEST(flags)
{
    struct child c;
    RUN(0, "tidemarkd " TIDE_VERSION "\n", "--version");
    child_start(&c, (const char *const[]){"--help", NULL});
    ck_assert_int_eq(child_wait(&c), 0);
    ck_assert_ptr_eq(strstr(c.said, "Usage: tidemarkd [OPTION]..."), c.said);
    RUN(2, "tidemarkd: 'stray' is no option. Try 'tidemarkd --help'.\n", "stray");
    child_start(&c, (const char *const[]){"--nonsense", NULL});
    ck_assert_int_eq(child_wait(&c), 2);
    ck_assert_ptr_nonnull(strstr(c.said, "unrecognized option '--nonsense'"));
    child_start(&c, (const char *const[]){"--data", NULL});
    ck_assert_int_eq(child_wait(&c), 2);
    ck_assert_ptr_nonnull(strstr(c.said, "option '--data' requires an argument"));
}
END_TEST

START_TEST(configuration)
{
    RUN(1, "tidemarkd: %/conf: cannot be read: No such file or directory\n", "--config", conf);
    write_conf("[daemon]\nlisten = 127.0.0.1:0\nlsten = 1\n");
    RUN(1, "tidemarkd: %/conf:3: unknown key 'lsten' in [daemon]\n", "--config", conf, "--data",
        data);
    ck_assert_int_lt(access(data, F_OK), 0); /* nothing was begun */
    RUN(1, "tidemarkd: %/conf:3: unknown key 'lsten' in [daemon]\n", "--config", conf,
        "--check-config");
    write_conf("[daemon]\nlisten = 0.0.0.0:0\n");
    RUN(1,
        "tidemarkd: [daemon] listen: 0.0.0.0:0 can be reached from other machines, so a secret is "
        "needed: set [daemon] secret-file\n",
        "--config", conf, "--data", data);
    write_conf("[daemon]\nlisten = 127.0.0.1:0\n");
    RUN(1,
        "tidemarkd: --listen: [daemon] listen: 'here' is not an address: write IP:PORT, such as "
        "127.0.0.1:7460 or [::1]:7460 (names are not looked up; port 0 takes any)\n",
        "--config", conf, "--listen", "here");
}
END_TEST

START_TEST(the_configuration_is_printed_as_a_file)
{
    struct child c;
    write_conf("[limits]\njobs = 7\n");
    child_start(
        &c, (const char *const[]){"--config", conf, "--check-config", "--listen", "[::1]:0", NULL});
    ck_assert_int_eq(child_wait(&c), 0);
    const char *parts[] = {"# ", conf,
                           "\n\n[daemon]\nlisten = [::1]:0\n#data = /var/lib/tidemark\n",
                           "\n[limits]\n#connections = 10000\njobs = 7\n",
                           "#verify-timeout = 1h\n\n# the configuration is in order\n"};
    const char *from = c.said;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        from = strstr(from, parts[i]);
        ck_assert_msg(from != NULL, "no '%s' in: %s", parts[i], c.said);
        from += strlen(parts[i]);
    }
    /* What it prints says the same again. */
    char before[sizeof c.said];
    (void)strcpy(before, c.said);
    write_conf(before);
    child_start(&c, (const char *const[]){"--config", conf, "--check-config", NULL});
    ck_assert_int_eq(child_wait(&c), 0);
    ck_assert_str_eq(c.said, before);
    child_start(&c,
                (const char *const[]){"--config", "daemon/tidemarkd.conf", "--check-config", NULL});
    ck_assert_int_eq(child_wait(&c), 0);
}
END_TEST

START_TEST(every_error_is_told)
{
    write_conf("[daemon]\nlsten = 1\n\n[limits]\njobs = 0\njobs = 1\n[nonsense]\n"
               "[store]\ntimeout = 1\n");
    const char *said = "tidemarkd: %/conf:2: unknown key 'lsten' in [daemon]\n"
                       "tidemarkd: %/conf:5: [limits] jobs: '0' is out of bounds: at least 1, at "
                       "most 100000\n"
                       "tidemarkd: %/conf:6: [limits] jobs: set before, in line 5\n"
                       "tidemarkd: %/conf:7: unknown section [nonsense]: known are [daemon], "
                       "[limits], [store], [files] and [queries]\n"
                       "tidemarkd: %/conf:9: [store] timeout: '1' is not a time with its unit such "
                       "as 500ms, 10s, 5m or 1h (a comment needs a line of its own)\n"
                       "tidemarkd: --listen: [daemon] listen: 'x' is not an address: write "
                       "IP:PORT, such as 127.0.0.1:7460 or [::1]:7460 (names are not looked up; "
                       "port 0 takes any)\n";
    RUN(1, said, "--config", conf, "--listen", "x", "--check-config");
    RUN(1, said, "--config", conf, "--listen", "x", "--data", data);
    ck_assert_int_lt(access(data, F_OK), 0);
    write_conf("[daemon]\nstate = /x\nsavepoints = /x\nlisten = 0.0.0.0:1\n");
    RUN(1,
        "tidemarkd: [daemon] state and savepoints: both are /x; each needs its own directory\n"
        "tidemarkd: [daemon] listen: 0.0.0.0:1 can be reached from other machines, so a secret is "
        "needed: set [daemon] secret-file\n",
        "--config", conf, "--check-config");
}
END_TEST

START_TEST(a_secret_that_everybody_reads)
{
    char text[300], path[80];
    (void)snprintf(path, sizeof path, "%s/secret", directory);
    (void)snprintf(text, sizeof text, "[daemon]\nlisten = 127.0.0.1:0\nsecret-file = %s\n", path);
    write_conf(text);
    FILE *f = fopen(path, "we");
    ck_assert_ptr_nonnull(f);
    (void)fputs("secret\n", f);
    (void)fclose(f);
    ck_assert_int_eq(chmod(path, 0604), 0);
    RUN(1,
        "tidemarkd: [daemon] secret-file: %/secret: everybody on this machine may read or write "
        "it; "
        "run: chmod o-rw '%/secret'\n",
        "--config", conf, "--data", data);
}
END_TEST

START_TEST(a_port_in_use)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t len = sizeof a;
    char listen_at[64], want[200];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    ck_assert_int_eq(listen(fd, 1), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    (void)snprintf(listen_at, sizeof listen_at, "127.0.0.1:%u", ntohs(a.sin_port));
    (void)snprintf(want, sizeof want, "tidemarkd: [daemon] listen: %s: address already in use\n",
                   listen_at);
    RUN(1, want, "--data", data, "--listen", listen_at);
    (void)close(fd);
}
END_TEST

START_TEST(a_data_directory_in_use)
{
    struct child first;
    char want[200];
    child_start(&first, (const char *const[]){"--data", data, "--listen", "127.0.0.1:0", NULL});
    uint16_t port = port_of(data);
    (void)snprintf(want, sizeof want,
                   "tidemarkd: %%/data/tidemark.lock: another daemon has this data directory, "
                   "process %d\n",
                   (int)first.pid);
    RUN(1, want, "--data", data, "--listen", "127.0.0.1:0");
    ck_assert_uint_eq(port_of(data), port); /* the first one's */
    child_kill(&first, SIGTERM);
    ck_assert_int_eq(child_wait(&first), 0);
}
END_TEST

START_TEST(directories_that_cannot_be)
{
    char text[300], nowhere[120];
    (void)snprintf(nowhere, sizeof nowhere, "%s/no/where", directory);
    RUN(1, "tidemarkd: [daemon] data: %/no/where cannot be made: No such file or directory\n",
        "--data", nowhere, "--listen", "127.0.0.1:0");
    (void)snprintf(text, sizeof text, "[daemon]\nstate = %s\n", conf);
    write_conf(text);
    RUN(1, "tidemarkd: [daemon] state: %/conf is not a directory\n", "--config", conf, "--data",
        data, "--listen", "127.0.0.1:0");
    RUN(1, "tidemarkd: [daemon] data: %/conf is not a directory\n", "--data", conf, "--listen",
        "127.0.0.1:0");
}
END_TEST

START_TEST(a_store_that_is_none)
{
    char path[120];
    struct child c;
    ck_assert_int_eq(mkdir(data, 0755), 0);
    (void)snprintf(path, sizeof path, "%s/tidemark.db", data);
    FILE *f = fopen(path, "we");
    for (int i = 0; i < 1000; i++)
        (void)fputs("this is no database ", f);
    (void)fclose(f);
    child_start(&c, (const char *const[]){"--data", data, "--listen", "127.0.0.1:0", NULL});
    ck_assert_int_eq(child_wait(&c), 1);
    ck_assert_msg(strstr(c.said, path) != NULL, "%s", c.said);
    ck_assert_ptr_eq(strchr(c.said, '\n'), c.said + c.said_len - 1); /* one line */
}
END_TEST

static void runs_and_stops(int signal)
{
    struct child c;
    char port[120], address[120], wants[40], says[40] = "";
    (void)snprintf(port, sizeof port, "%s/port", data);
    (void)snprintf(address, sizeof address, "%s/address", data);
    child_start(&c, (const char *const[]){"--data", data, "--listen", "127.0.0.1:0", NULL});
    (void)snprintf(wants, sizeof wants, "127.0.0.1:%u\n", (unsigned)port_of(data));
    FILE *f = fopen(address, "re"); /* is there before the port is */
    ck_assert_ptr_nonnull(f);
    ck_assert_ptr_nonnull(fgets(says, sizeof says, f));
    ck_assert_str_eq(says, wants);
    (void)fclose(f);
    int fd = admin_connect(port_of(data));
    Tide__Response *m = admin_status(fd);
    ck_assert(TEXT_IS(m->status->version, TIDE_VERSION));
    ck_assert_uint_eq(m->status->connections, 1);
    ck_assert_uint_gt(m->status->rss_bytes, 1000000);
    ck_assert_uint_eq(m->status->n_loop_lag, 22);
    ck_assert_uint_eq(m->status->loop_lag[0]->below_us, 16);
    tide__response__free_unpacked(m, NULL);
    child_kill(&c, signal);
    ck_assert(peer_closes(fd, 5000));
    (void)close(fd);
    ck_assert_int_eq(child_wait(&c), 0);
    ck_assert_ptr_nonnull(strstr(c.said, "stopping in good order\n"));
    ck_assert_ptr_nonnull(strstr(c.said, "info  stopped\n"));
    ck_assert_int_lt(access(port, F_OK), 0);
    ck_assert_int_lt(access(address, F_OK), 0);
}

START_TEST(stops_in_good_order)
{
    runs_and_stops(SIGTERM);
    runs_and_stops(SIGINT);
}
END_TEST

/* ---- reload */

static struct child reloading;

static void write_secret(const char *text, mode_t mode)
{
    char path[100];
    (void)snprintf(path, sizeof path, "%s/secret", directory);
    FILE *f = fopen(path, "we");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs(text, f), 0);
    ck_assert_int_eq(fclose(f), 0);
    ck_assert_int_eq(chmod(path, mode), 0);
}

static void expect_secret(const char *secret, bool welcome)
{
    int fd = peer_connect(port_of(data));
    peer_hello(fd, TIDE__PEER_KIND__PEER_ADMIN, secret);
    Tide__Response *m = peer_answer(fd);
    ck_assert_ptr_nonnull(m);
    ck_assert_int_eq(m->result_case,
                     welcome ? TIDE__RESPONSE__RESULT_WELCOME : TIDE__RESPONSE__RESULT_REFUSED);
    tide__response__free_unpacked(m, NULL);
    (void)close(fd);
}

/* Tells it to reload and waits for the line that ends it; its lines since are in said. */
static void reload(const char *last)
{
    child_kill(&reloading, SIGHUP);
    reloading.said_len = 0;
    memset(reloading.said, 0, sizeof reloading.said);
    while (!strstr(reloading.said, "SIGHUP:")) {
        ssize_t n = read(reloading.err, reloading.said + reloading.said_len,
                         sizeof reloading.said - 1 - reloading.said_len);
        ck_assert_msg(n > 0, "it ended and said: %s", reloading.said);
        reloading.said_len += (size_t)n;
    }
    ck_assert_msg(strstr(reloading.said, last) != NULL, "%s", reloading.said);
}

static void expect_said(const char *text)
{
    ck_assert_msg(strstr(reloading.said, text) != NULL, "no '%s' in: %s", text, reloading.said);
}

static const char done[] = "SIGHUP: the configuration was read again\n",
                  refused[] = "SIGHUP: the configuration has errors; the one before stays\n";

static void write_settings(const char *format, ...)
{
    char text[2048];
    va_list args;
    int n = snprintf(text, sizeof text, "[daemon]\nlisten = 127.0.0.1:0\nsecret-file = %s/secret\n",
                     directory);
    va_start(args, format);
    (void)vsnprintf(text + n, sizeof text - (size_t)n, format, args);
    va_end(args);
    write_conf(text);
}

START_TEST(a_reload_changes_what_it_can)
{
    write_secret("first\n", 0600);
    write_settings("");
    child_start(&reloading, (const char *const[]){"--config", conf, "--data", data, NULL});
    expect_secret("first", true);

    write_secret("second\n", 0600); /* the same file, another content */
    write_settings("log-level = debug\nstate = /elsewhere\n[limits]\nhello-timeout = 200ms\n"
                   "[store]\ntimeout = 5s\n");
    int silent = peer_connect(port_of(data));
    reload(done);
    expect_said("info  reload: the secret is another from now on\n");
    expect_said("info  reload: [daemon] log-level is debug from now on\n");
    expect_said("info  reload: [limits] hello-timeout is 200ms from now on\n");
    expect_said("warn  reload: [daemon] state is /elsewhere only after a restart\n");
    expect_said("warn  reload: [store] timeout is 5s only after a restart\n");
    expect_secret("first", false);
    expect_secret("second", true);
    peer_refused(silent, TIDE__REFUSED_CODE__REFUSED_STATE,
                 "no Hello came in time ([limits] hello-timeout)");
    /* What waits for a restart is said each time; what was taken is not. */
    reload(done);
    ck_assert_ptr_null(strstr(reloading.said, "from now on"));
    expect_said("[daemon] state is /elsewhere only after a restart\n");
    child_kill(&reloading, SIGTERM);
    ck_assert_int_eq(child_wait(&reloading), 0);
}
END_TEST

START_TEST(a_reload_with_errors_changes_nothing)
{
    char said[200];
    write_secret("first\n", 0600);
    write_settings("");
    child_start(&reloading, (const char *const[]){"--config", conf, "--data", data, NULL});
    expect_secret("first", true);

    write_secret("second\n", 0600);
    write_settings("log-level = loud\n[limits]\njob = 1\n");
    reload(refused);
    (void)snprintf(said, sizeof said, "error reload: %s:4: [daemon] log-level: 'loud' is none",
                   conf);
    expect_said(said);
    (void)snprintf(said, sizeof said, "error reload: %s:6: unknown key 'job' in [limits]\n", conf);
    expect_said(said);
    expect_secret("first", true);

    write_settings("");
    write_secret("second\n", 0644);
    reload(refused);
    expect_said("everybody on this machine may read or write it");
    expect_secret("first", true);

    ck_assert_int_eq(unlink(conf), 0);
    reload(refused);
    expect_said("cannot be read: No such file or directory\n");
    expect_secret("first", true);
    child_kill(&reloading, SIGTERM);
    ck_assert_int_eq(child_wait(&reloading), 0);
}
END_TEST

/* A new address waits for a restart: until then the old one keeps what protects it. */
START_TEST(a_reload_does_not_open_a_port_to_everybody)
{
    write_secret("first\n", 0600);
    write_settings("");
    child_start(&reloading, (const char *const[]){"--config", conf, "--data", data, "--listen",
                                                  "0.0.0.0:0", NULL});
    expect_secret("first", true);
    write_conf("[daemon]\n");
    reload(refused);
    expect_said("0.0.0.0:0 can be reached from other machines");
    expect_secret("first", true);
    expect_secret("", false);
    child_kill(&reloading, SIGTERM);
    ck_assert_int_eq(child_wait(&reloading), 0);
}
END_TEST

/* The file `port` of a daemon that was killed is gone before the next one listens, and stays gone
 * if that one cannot start. */
START_TEST(a_port_file_that_was_left_behind)
{
    char port[120];
    struct child c;
    (void)snprintf(port, sizeof port, "%s/port", data);
    ck_assert_int_eq(mkdir(data, 0755), 0);
    FILE *f = fopen(port, "we");
    (void)fputs("1\n", f);
    (void)fclose(f);
    char text[300];
    (void)snprintf(text, sizeof text, "[daemon]\nstate = %s\n", conf); /* no directory */
    write_conf(text);
    child_start(&c, (const char *const[]){"--config", conf, "--data", data, "--listen",
                                          "127.0.0.1:0", NULL});
    ck_assert_int_eq(child_wait(&c), 1);
    ck_assert_int_lt(access(port, F_OK), 0);
}
END_TEST

START_TEST(starts_again_after_kill)
{
    struct child c;
    uint64_t incarnation = 0;
    for (int i = 0; i < 4; i++) {
        child_start(&c, (const char *const[]){"--data", data, "--listen", "127.0.0.1:0", NULL});
        int fd = -1;
        /* the file may still be the killed one's: it is replaced before the port is open */
        for (int k = 0; k < 500 && fd < 0; k++) {
            struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port_of(data))};
            a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            fd = socket(AF_INET, SOCK_STREAM, 0);
            if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0) break;
            (void)close(fd);
            fd = -1;
            (void)usleep(10000);
        }
        ck_assert_int_ge(fd, 0);
        (void)close(fd);
        fd = admin_connect(port_of(data));
        Tide__Response *m = admin_status(fd);
        ck_assert_uint_gt(m->status->incarnation, incarnation);
        incarnation = m->status->incarnation;
        tide__response__free_unpacked(m, NULL);
        (void)close(fd);
        child_kill(&c, i < 3 ? SIGKILL : SIGTERM);
        ck_assert_int_eq(child_wait(&c), i < 3 ? -SIGKILL : 0);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("start");
    TCase *t = tcase_create("start");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, flags);
    tcase_add_test(t, configuration);
    tcase_add_test(t, a_secret_that_everybody_reads);
    tcase_add_test(t, a_port_in_use);
    tcase_add_test(t, a_data_directory_in_use);
    tcase_add_test(t, directories_that_cannot_be);
    tcase_add_test(t, a_store_that_is_none);
    tcase_add_test(t, the_configuration_is_printed_as_a_file);
    tcase_add_test(t, every_error_is_told);
    tcase_add_test(t, a_reload_changes_what_it_can);
    tcase_add_test(t, a_reload_with_errors_changes_nothing);
    tcase_add_test(t, a_reload_does_not_open_a_port_to_everybody);
    tcase_add_test(t, a_port_file_that_was_left_behind);
    tcase_add_test(t, stops_in_good_order);
    tcase_add_test(t, starts_again_after_kill);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
