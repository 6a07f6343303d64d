/* Under systemd: what it hears from the program and when, what the journal gets, and that nothing
 * of it happens elsewhere. The other end of each socket is this test. */
#include <check.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/systemd.h"
#include "tests/daemon/lib_peer.h"

static char directory[64], at[80], heard[4096];
static int fd;

static void setup(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    (void)strcpy(directory, directory_make());
    (void)snprintf(at, sizeof at, "%s/socket", directory);
    (void)strcpy(a.sun_path, at);
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
}

static void teardown(void)
{
    (void)close(fd);
    directory_remove(directory);
}

/* The next datagram; false: none comes. */
static bool hear(int limit_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, limit_ms) != 1) return false;
    ssize_t n = read(fd, heard, sizeof heard - 1);
    ck_assert_int_gt(n, 0);
    heard[n] = 0;
    return true;
}

static void expect_word(const char *want)
{
    ck_assert_msg(hear(10000), "nothing comes instead of '%s'", want);
    ck_assert_msg(strncmp(heard, want, strlen(want)) == 0, "'%s' instead of '%s'", heard, want);
}

/* ---- notifications */

/* READY comes when a connection can be made, and no earlier. */
START_TEST(it_hears_of_ready_reload_and_stop)
{
    struct child c;
    char want[80];
    (void)setenv("NOTIFY_SOCKET", at, 1);
    child_start(&c, (const char *const[]){"--data", directory, "--listen", "127.0.0.1:0", NULL});
    uint16_t port = port_of(directory);
    (void)snprintf(want, sizeof want, "READY=1\nSTATUS=Listening on port %u", port);
    expect_word(want);
    (void)close(admin_connect(port));
    child_kill(&c, SIGHUP);
    expect_word("RELOADING=1\nMONOTONIC_USEC=");
    expect_word("READY=1");
    child_kill(&c, SIGTERM);
    expect_word("STOPPING=1\n");
    ck_assert_int_eq(child_wait(&c), 0);
    ck_assert(!hear(0));
}
END_TEST

START_TEST(no_ready_from_a_start_that_fails)
{
    struct child c;
    (void)setenv("NOTIFY_SOCKET", at, 1);
    child_start(&c, (const char *const[]){"--data", "/nowhere/at/all", NULL});
    ck_assert_int_eq(child_wait(&c), 1);
    ck_assert(!hear(0));
}
END_TEST

START_TEST(the_watchdog_is_fed)
{
    struct child c;
    (void)setenv("NOTIFY_SOCKET", at, 1);
    (void)setenv("WATCHDOG_USEC", "200000", 1);
    child_start(&c, (const char *const[]){"--data", directory, "--listen", "127.0.0.1:0", NULL});
    expect_word("READY=1");
    for (int i = 0; i < 5; i++)
        expect_word("WATCHDOG=1");
    child_kill(&c, SIGSTOP); /* hangs */
    (void)usleep(100000);    /* what was on its way arrives */
    while (hear(0))
        ;
    ck_assert(!hear(400));
    child_kill(&c, SIGKILL);
    ck_assert_int_eq(child_wait(&c), -SIGKILL);
}
END_TEST

static bool alive;

static bool is_alive(void *user)
{
    if (!alive) uv_stop(user);
    return alive;
}

static void turn(uv_loop_t *loop, struct watchdog *w)
{
    ck_assert_int_eq(uv_loop_init(loop), 0);
    watchdog_open(w, loop, is_alive, loop);
    (void)uv_run(loop, UV_RUN_DEFAULT);
    watchdog_close(w);
    (void)uv_run(loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(loop), 0);
}

START_TEST(whoever_is_not_alive_does_not_feed_it)
{
    uv_loop_t loop;
    struct watchdog w;
    (void)setenv("NOTIFY_SOCKET", at, 1);
    (void)setenv("WATCHDOG_USEC", "20000", 1);
    alive = false;
    turn(&loop, &w);
    ck_assert(!hear(0));
}
END_TEST

START_TEST(a_watchdog_that_is_not_ours)
{
    static const char *const times[] = {"20000", "", "x", "-1", "99999999999999999999999",
                                        "20000x"};
    uv_loop_t loop;
    struct watchdog w;
    (void)setenv("NOTIFY_SOCKET", at, 1);
    (void)setenv("WATCHDOG_USEC", times[_i], 1);
    if (_i == 0) (void)setenv("WATCHDOG_PID", "1", 1);
    alive = true;
    turn(&loop, &w); /* ends at once: there is no timer */
    ck_assert(!hear(0));
}
END_TEST

/* A name that cannot be a socket's leads nowhere, and does no harm. */
START_TEST(odd_names_of_sockets)
{
    char longest[200];
    (void)unsetenv("NOTIFY_SOCKET");
    systemd_notify("READY=1");
    memset(longest, 'x', sizeof longest);
    longest[0] = '/';
    longest[sizeof longest - 1] = 0;
    const char *const names[] = {"", "/", "@", "relative", "vsock:2:1", "/nowhere/at/all", longest};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        (void)setenv("NOTIFY_SOCKET", names[i], 1);
        systemd_notify("READY=1");
    }
    ck_assert(!hear(0));
}
END_TEST

START_TEST(the_abstract_name_space)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    char name[100];
    int n = snprintf(name, sizeof name, "@tide-test-%d", (int)getpid());
    memcpy(a.sun_path + 1, name + 1, (size_t)n - 1);
    (void)close(fd);
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)n);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, size), 0);
    (void)setenv("NOTIFY_SOCKET", name, 1);
    systemd_notify("READY=%d", 1);
    expect_word("READY=1");
}
END_TEST

/* ---- the journal */

START_TEST(an_entry_says_what_it_is_about)
{
    struct log_fields about = {
        .job = "words", .worker = "w\n1=2", .attempt = 3, .round = 18446744073709551615u};
    log_open(LEVEL_INFO, at);
    log_about(LEVEL_WARN, &about, "job %s: lost\nJOB=other", "words");
    ck_assert(hear(0));
    ck_assert_str_eq(heard, "PRIORITY=4\nSYSLOG_IDENTIFIER=tidemarkd\n"
                            "MESSAGE=job words: lost?JOB=other\nJOB=words\nATTEMPT=3\n"
                            "ROUND=18446744073709551615\nWORKER=w?1=2\n");
    log_line(LEVEL_ERROR, "plain");
    ck_assert(hear(0));
    ck_assert_str_eq(heard, "PRIORITY=3\nSYSLOG_IDENTIFIER=tidemarkd\nMESSAGE=plain\n");
    log_line(LEVEL_DEBUG, "not wanted");
    ck_assert(!hear(0));
    log_set_level(LEVEL_DEBUG);
    log_line(LEVEL_DEBUG, "wanted now");
    ck_assert(hear(0));
}
END_TEST

START_TEST(an_entry_has_bounds)
{
    static char text[5000];
    memset(text, 'x', sizeof text - 1);
    struct log_fields about = {
        .job = text, .worker = text, .peer = text, .attempt = 1, .round = UINT64_MAX};
    log_open(LEVEL_INFO, at);
    log_about(LEVEL_INFO, &about, "%s", text);
    ck_assert(hear(0));
    ck_assert_ptr_nonnull(strstr(heard, "x...\nJOB=xxx"));
    ck_assert_ptr_nonnull(strstr(heard, "\nWORKER=xxx"));
    ck_assert_ptr_nonnull(strstr(heard, "x\nPEER=xxx"));
    ck_assert_uint_lt(strlen(heard), 2048);
    ck_assert_int_eq(heard[strlen(heard) - 1], '\n');
}
END_TEST

/* What log_line() writes to stderr. */
static const char *on_stderr(const char *text)
{
    static char said[2048];
    int pipes[2], before = dup(2);
    ck_assert_int_eq(pipe(pipes), 0);
    (void)dup2(pipes[1], 2);
    log_line(LEVEL_WARN, "%s", text);
    (void)dup2(before, 2);
    (void)close(before);
    (void)close(pipes[1]);
    ssize_t n = read(pipes[0], said, sizeof said - 1);
    (void)close(pipes[0]);
    said[n < 0 ? 0 : n] = 0;
    return said;
}

START_TEST(a_journal_that_is_gone_is_replaced_by_stderr)
{
    log_open(LEVEL_INFO, at);
    ck_assert_str_eq(on_stderr("to the journal"), "");
    ck_assert(hear(0));
    (void)unlink(at);
    ck_assert_str_eq(on_stderr("to\tstderr"), "<4>to?stderr\n");
    log_open(LEVEL_INFO, NULL);
    const char *line = on_stderr("as text");
    ck_assert_msg(strstr(line, "Z warn  as text\n") != NULL, "%s", line);
}
END_TEST

/* Nobody reads: the daemon waits a moment for each line, and goes on. */
START_TEST(a_journal_that_hangs_costs_lines_only)
{
    log_open(LEVEL_INFO, at);
    int lines = 0;
    struct timespec from, to;
    do {
        (void)clock_gettime(CLOCK_MONOTONIC, &from);
        ck_assert_str_eq(on_stderr("into a full queue"), "");
        (void)clock_gettime(CLOCK_MONOTONIC, &to);
    } while (to.tv_sec * 1000 + to.tv_nsec / 1000000 - from.tv_sec * 1000 - from.tv_nsec / 1000000 <
                 50 &&
             ++lines < 100000);
    ck_assert_int_lt(lines, 100000); /* one of them had to wait, and ended */
}
END_TEST

START_TEST(only_a_stderr_that_is_the_journals)
{
    struct stat st;
    char text[80];
    (void)unsetenv("JOURNAL_STREAM");
    ck_assert_ptr_null(systemd_journal());
    ck_assert_int_eq(fstat(2, &st), 0);
    (void)snprintf(text, sizeof text, "%llu:%llu", (unsigned long long)st.st_dev,
                   (unsigned long long)st.st_ino);
    (void)setenv("JOURNAL_STREAM", text, 1);
    ck_assert_str_eq(systemd_journal(), "/run/systemd/journal/socket");
    (void)snprintf(text, sizeof text, "%llu:%llu", (unsigned long long)st.st_dev,
                   (unsigned long long)st.st_ino + 1);
    (void)setenv("JOURNAL_STREAM", text, 1);
    ck_assert_ptr_null(systemd_journal());
    (void)setenv("JOURNAL_STREAM", "nonsense", 1);
    ck_assert_ptr_null(systemd_journal());
}
END_TEST

int main(void)
{
    Suite *s = suite_create("systemd");
    TCase *t = tcase_create("systemd");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, it_hears_of_ready_reload_and_stop);
    tcase_add_test(t, no_ready_from_a_start_that_fails);
    tcase_add_test(t, the_watchdog_is_fed);
    tcase_add_test(t, whoever_is_not_alive_does_not_feed_it);
    tcase_add_loop_test(t, a_watchdog_that_is_not_ours, 0, 6);
    tcase_add_test(t, odd_names_of_sockets);
    tcase_add_test(t, the_abstract_name_space);
    tcase_add_test(t, an_entry_says_what_it_is_about);
    tcase_add_test(t, an_entry_has_bounds);
    tcase_add_test(t, a_journal_that_is_gone_is_replaced_by_stderr);
    tcase_add_test(t, a_journal_that_hangs_costs_lines_only);
    tcase_add_test(t, only_a_stderr_that_is_the_journals);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
