/* Starting and stopping the program: each error is one clear line and exit code 1, wrong flags 2.
 */
#include <arpa/inet.h>
#include <check.h>
#include <signal.h>
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
    RUN(0, "tidemarkd: the configuration is in order\n", "--config", conf, "--check-config");
    RUN(1,
        "tidemarkd: --listen: [daemon] listen: 'here' is not an address: write IP:PORT, such as "
        "127.0.0.1:7460 or [::1]:7460 (names are not looked up; port 0 takes any)\n",
        "--config", conf, "--listen", "here");
    RUN(0, "tidemarkd: the configuration is in order\n", "--config", "daemon/tidemarkd.conf",
        "--check-config");
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
    tcase_add_test(t, stops_in_good_order);
    tcase_add_test(t, starts_again_after_kill);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
