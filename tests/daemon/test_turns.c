/* Whoever says much does not keep the others waiting: a server on a loop that the test turns, peers
 * whose words lie in the kernel before it does. */
#include <arpa/inet.h>
#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/session.h"
#include "proto/frame.h"
#include "tests/daemon/lib_peer.h"

static struct {
    uv_loop_t loop;
    struct server *server;
    uint64_t session[2];
    uint32_t opened, frames[2];
    uint32_t before; /* frames of the first when the second was heard */
} stage;

static void input(void *user)
{
    (void)user;
}

static void opened(void *user, uint64_t session, struct peer peer)
{
    (void)user;
    (void)peer;
    ck_assert_uint_lt(stage.opened, 2);
    stage.session[stage.opened++] = session;
}

static void frame(void *user, uint64_t session, Tide__PeerKind kind, struct tide_bytes bytes)
{
    (void)user;
    (void)kind;
    (void)bytes;
    if (session == stage.session[1] && stage.frames[1] == 0) stage.before = stage.frames[0];
    stage.frames[session == stage.session[1]]++;
}

static void closed(void *user, uint64_t session, Tide__PeerKind kind, const char *why)
{
    (void)user;
    (void)session;
    (void)kind;
    (void)why;
}

static void sent(void *user, uint64_t tag)
{
    (void)user;
    (void)tag;
}

static int join(Tide__PeerKind kind)
{
    uint32_t before = stage.opened;
    int fd = peer_connect(server_port(stage.server));
    peer_hello(fd, kind, "");
    while (stage.opened == before)
        (void)uv_run(&stage.loop, UV_RUN_ONCE);
    (void)uv_run(&stage.loop, UV_RUN_NOWAIT); /* the kernel forgets who was ready before */
    return fd;
}

static void start(void)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct server_options o = {.loop = &stage.loop,
                               .connections = 10,
                               .output_queue = 1 << 20,
                               .input_memory = 64 << 20,
                               .hello_timeout_us = 10000000,
                               .idle_timeout_us = 10000000};
    struct server_events on = {
        .input = input, .open = opened, .frame = frame, .closed = closed, .sent = sent};
    struct hello_config hello = {.incarnation = 1, .nonce = 1};
    memset(&stage, 0, sizeof stage);
    ck_assert_int_eq(uv_loop_init(&stage.loop), 0);
    ck_assert_int_eq(server_open(&o, &on, (struct sockaddr *)&any, &stage.server), 0);
    server_welcome_with(stage.server, &hello);
    ck_assert_int_eq(server_listen(stage.server), 0);
}

static void stop(int first, int second)
{
    (void)close(first);
    (void)close(second);
    server_close(stage.server);
    (void)uv_run(&stage.loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&stage.loop), 0);
}

/* As many frames as the kernel takes; returns how many. */
static uint32_t flood(int fd, size_t len)
{
    uint32_t n = 0;
    uint8_t *bytes = calloc(1, TIDE_FRAME_HEADER + len);
    ck_assert_ptr_nonnull(bytes);
    tide_set_u32(bytes, (uint32_t)len);
    while (n < 20000 &&
           send(fd, bytes, TIDE_FRAME_HEADER + len, MSG_DONTWAIT) == (ssize_t)(len + 4))
        n++;
    free(bytes);
    return n;
}

/* One frame of the second while so many of the first have arrived before it. */
static void hear_both(Tide__PeerKind kind, size_t len, uint32_t at_least, uint32_t at_most)
{
    start();
    int first = join(kind), second = join(TIDE__PEER_KIND__PEER_WORKER);
    uint32_t n = flood(first, len);
    ck_assert_uint_ge(n, at_least);
    peer_send_raw(second, "\1\0\0\0x", 5);
    while (stage.frames[1] == 0)
        (void)uv_run(&stage.loop, UV_RUN_ONCE);
    ck_assert_msg(stage.before <= at_most, "%u of %u frames came before it", stage.before, n);
    for (int i = 0; i < 100000 && stage.frames[0] < n; i++)
        (void)uv_run(&stage.loop, UV_RUN_NOWAIT);
    ck_assert_uint_eq(stage.frames[0], n); /* none is lost */
    ck_assert_uint_eq(stage.frames[1], 1);
    stop(first, second);
}

START_TEST(an_admin_that_floods)
{
    hear_both(TIDE__PEER_KIND__PEER_ADMIN, 4, 5000, 512 + 1024 / 8);
}
END_TEST

START_TEST(a_worker_that_floods_with_small_words)
{
    hear_both(TIDE__PEER_KIND__PEER_WORKER, 4, 5000, 512 + 4096 / 8);
}
END_TEST

START_TEST(a_worker_with_much_to_say)
{
    hear_both(TIDE__PEER_KIND__PEER_WORKER, 30000, 10, 512 / 30 + 3);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("turns");
    TCase *all = tcase_create("turns");
    tcase_add_test(all, an_admin_that_floods);
    tcase_add_test(all, a_worker_that_floods_with_small_words);
    tcase_add_test(all, a_worker_with_much_to_say);
    tcase_set_timeout(all, 60);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
