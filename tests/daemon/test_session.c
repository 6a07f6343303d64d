/* Sessions over real sockets: what is refused, with which words, and that the others do not notice.
 */
#include <arpa/inet.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/frame.h"
#include "tests/daemon/lib_peer.h"

static struct inside in;
static const char *directory;

static void start(const char *settings)
{
    directory = directory_make();
    inside_start(&in, directory, settings);
}

/* Somebody else is served as before; then all is given back. */
static void stop(uint64_t refused)
{
    int fd = admin_connect(in.port);
    uint32_t connections = 0;
    for (int i = 0; i < 1000 && connections != 1; i++) {
        Tide__Response *m = admin_status(fd);
        ck_assert_uint_eq(m->status->refused, refused);
        connections = m->status->connections;
        tide__response__free_unpacked(m, NULL);
        if (connections != 1) (void)usleep(10000); /* others are still being closed */
    }
    ck_assert_uint_eq(connections, 1);
    (void)close(fd);
    inside_stop(&in);
    directory_remove(directory);
}

static uint32_t connections_of(int fd)
{
    Tide__Response *m = admin_status(fd);
    uint32_t connections = m->status->connections;
    tide__response__free_unpacked(m, NULL);
    return connections;
}

static void send_header(int fd, uint32_t len)
{
    uint8_t head[TIDE_FRAME_HEADER];
    tide_set_u32(head, len);
    peer_send_raw(fd, head, sizeof head);
}

START_TEST(hello_is_welcomed)
{
    start("");
    int worker = peer_connect(in.port);
    peer_hello(worker, TIDE__PEER_KIND__PEER_WORKER, "");
    Tide__ToWorker *m = peer_word(worker);
    ck_assert_ptr_nonnull(m);
    ck_assert_int_eq(m->msg_case, TIDE__TO_WORKER__MSG_WELCOME);
    ck_assert_uint_eq(m->welcome->version, TIDE_PROTOCOL_MAX);
    ck_assert_uint_eq(m->welcome->store_id.len, 16);
    ck_assert_uint_gt(m->welcome->incarnation, 0);
    ck_assert_uint_eq(m->welcome->frame_max, TIDE_FRAME_MAX);
    tide__to_worker__free_unpacked(m, NULL);
    (void)close(worker);
    stop(0);
}
END_TEST

/* Any split of the byte stream is the same stream. */
START_TEST(one_byte_at_a_time)
{
    struct tide_buf b;
    Tide__Hello hello = TIDE__HELLO__INIT;
    Tide__Request m = TIDE__REQUEST__INIT;
    Tide__GetStatus status = TIDE__GET_STATUS__INIT;
    start("");
    tide_buf_init(&b, 4096);
    hello.version_min = TIDE_PROTOCOL_MIN;
    hello.version_max = TIDE_PROTOCOL_MAX;
    hello.kind = TIDE__PEER_KIND__PEER_ADMIN;
    m.call_case = TIDE__REQUEST__CALL_HELLO;
    m.hello = &hello;
    tide_frame_put(&b, &m.base);
    m.call_case = TIDE__REQUEST__CALL_STATUS;
    m.status = &status;
    m.id = 5;
    tide_frame_put(&b, &m.base);
    int fd = peer_connect(in.port);
    for (size_t i = 0; i < b.len; i++) {
        peer_send_raw(fd, b.data + i, 1);
        (void)usleep(200);
    }
    tide_buf_release(&b);
    Tide__Response *answer = peer_answer(fd);
    ck_assert_int_eq(answer->result_case, TIDE__RESPONSE__RESULT_WELCOME);
    tide__response__free_unpacked(answer, NULL);
    answer = peer_answer(fd);
    ck_assert_int_eq(answer->result_case, TIDE__RESPONSE__RESULT_STATUS);
    ck_assert_uint_eq(answer->id, 5);
    tide__response__free_unpacked(answer, NULL);
    (void)close(fd);
    stop(0);
}
END_TEST

START_TEST(a_first_frame_over_the_limit)
{
    start("");
    int fd = peer_connect(in.port);
    send_header(fd, TIDE_FRAME_MAX_HELLO + 1);
    peer_refused(fd, TIDE__REFUSED_CODE__REFUSED_TOO_LONG, "a frame of more than 65536 bytes");
    stop(1);
}
END_TEST

START_TEST(a_later_frame_over_the_limit)
{
    start("");
    int fd = admin_connect(in.port);
    send_header(fd, TIDE_FRAME_MAX + 1);
    peer_refused(fd, TIDE__REFUSED_CODE__REFUSED_TOO_LONG, "a frame of more than 16777216 bytes");
    stop(1);
}
END_TEST

START_TEST(garbage_instead_of_a_hello)
{
    start("");
    int fd = peer_connect(in.port);
    send_header(fd, 5);
    peer_send_raw(fd, "\xff\xff\xff\xff\xff", 5);
    peer_refused(fd, TIDE__REFUSED_CODE__REFUSED_MALFORMED, "the first frame is not a Hello");
    fd = peer_connect(in.port);
    send_header(fd, 0);
    peer_refused(fd, TIDE__REFUSED_CODE__REFUSED_MALFORMED, "the first frame is not a Hello");
    fd = peer_connect(in.port); /* another protocol altogether: its letters are an absurd length */
    peer_send_raw(fd, "GET / HTTP/1.1\r\n\r\n", 18);
    peer_refused(fd, TIDE__REFUSED_CODE__REFUSED_TOO_LONG, "a frame of more than 65536 bytes");
    stop(3);
}
END_TEST

START_TEST(garbage_from_an_admin)
{
    start("");
    int fd = admin_connect(in.port);
    send_header(fd, 3);
    peer_send_raw(fd, "\x12\x7f\x00", 3);
    peer_refused(fd, TIDE__REFUSED_CODE__REFUSED_MALFORMED, "a frame that is not a Request");
    fd = admin_connect(in.port);
    send_header(fd, 0);
    peer_refused(fd, TIDE__REFUSED_CODE__REFUSED_MALFORMED, "a frame that is not a Request");
    fd = admin_connect(in.port);
    send_header(fd, 3);
    peer_send_raw(fd, "\x90\x03\x05", 3); /* an id and nothing else */
    peer_refused(fd, TIDE__REFUSED_CODE__REFUSED_UNSUPPORTED,
                 "a Request without a call that this version knows");
    fd = admin_connect(in.port);
    Tide__GetStatus status = TIDE__GET_STATUS__INIT;
    Tide__Request m = TIDE__REQUEST__INIT;
    m.call_case = TIDE__REQUEST__CALL_STATUS;
    m.status = &status;
    peer_send(fd, &m.base);
    peer_refused(fd, TIDE__REFUSED_CODE__REFUSED_MALFORMED,
                 "a Request without an id: it is at least 1");
    stop(4);
}
END_TEST

/* 16 MiB of empty sub-messages would unpack to very much more than that. */
START_TEST(a_frame_that_unpacks_to_too_much)
{
    start("");
    size_t n = 4u << 20;
    uint8_t *body = malloc(n);
    ck_assert_ptr_nonnull(body);
    for (size_t i = 0; i < n; i += 2)
        body[i] = 0x62, body[i + 1] = 0; /* Request.status, again and again */
    int fd = admin_connect(in.port);
    send_header(fd, (uint32_t)n);
    peer_send_raw(fd, body, n);
    free(body);
    peer_refused(fd, TIDE__REFUSED_CODE__REFUSED_MALFORMED,
                 "a Request that would take more than 4 MiB unpacked");
    stop(1);
}
END_TEST

START_TEST(two_hellos)
{
    start("");
    int fd = admin_connect(in.port);
    peer_hello(fd, TIDE__PEER_KIND__PEER_ADMIN, "");
    peer_refused(fd, TIDE__REFUSED_CODE__REFUSED_STATE, "a second Hello");
    fd = peer_connect(in.port);
    peer_hello(fd, TIDE__PEER_KIND__PEER_WORKER, "");
    tide__to_worker__free_unpacked(peer_word(fd), NULL);
    peer_hello(fd, TIDE__PEER_KIND__PEER_WORKER, "");
    peer_refused(fd, TIDE__REFUSED_CODE__REFUSED_STATE, "a second Hello");
    stop(2);
}
END_TEST

START_TEST(hello_never_comes)
{
    start("[limits]\nhello-timeout = 1s\n");
    int silent = peer_connect(in.port), half = peer_connect(in.port);
    send_header(half, 100);
    peer_refused(silent, TIDE__REFUSED_CODE__REFUSED_STATE,
                 "no Hello came in time ([limits] hello-timeout)");
    peer_refused(half, TIDE__REFUSED_CODE__REFUSED_STATE,
                 "no Hello came in time ([limits] hello-timeout)");
    stop(2);
}
END_TEST

START_TEST(an_admin_that_falls_silent)
{
    start("[limits]\nidle-timeout = 2s\n");
    int fd = admin_connect(in.port);
    for (int i = 0; i < 6; i++) { /* a word renews it */
        (void)usleep(400000);
        tide__response__free_unpacked(admin_status(fd), NULL);
    }
    peer_refused(fd, TIDE__REFUSED_CODE__REFUSED_STATE,
                 "nothing was said for too long ([limits] idle-timeout)");
    stop(1);
}
END_TEST

START_TEST(the_limit_of_connections)
{
    start("[limits]\nconnections = 3\n");
    int fds[3];
    for (int i = 0; i < 3; i++)
        fds[i] = admin_connect(in.port);
    int fd = peer_connect(in.port);
    peer_refused(fd, TIDE__REFUSED_CODE__REFUSED_BUSY,
                 "the limit of connections is reached ([limits] connections): try later");
    for (int i = 0; i < 2; i++)
        (void)close(fds[i]);
    while (connections_of(fds[2]) > 1) /* until the daemon has seen it there is no room */
        (void)usleep(1000);
    (void)close(fds[2]);
    stop(1);
}
END_TEST

/* Headers that announce much are charged before the bytes come. */
START_TEST(the_limit_of_partial_frames)
{
    start("[limits]\ninput-memory = 32M\n");
    int fds[3], other = admin_connect(in.port);
    for (int i = 0; i < 3; i++) {
        fds[i] = admin_connect(in.port);
        send_header(fds[i], TIDE_FRAME_MAX);
        peer_send_raw(fds[i], "x", 1);
        (void)connections_of(other); /* by the second answer it has seen what came before */
        (void)connections_of(other);
    }
    peer_refused(fds[2], TIDE__REFUSED_CODE__REFUSED_BUSY,
                 "too much is arriving at once ([limits] input-memory): try later");
    (void)close(fds[0]);
    while (connections_of(other) > 2)
        (void)usleep(1000);
    fds[2] = admin_connect(in.port);
    send_header(fds[2], TIDE_FRAME_MAX);
    peer_send_raw(fds[2], "x", 1);
    ck_assert(!peer_closes(fds[2], 100)); /* there is room again */
    (void)close(fds[1]);
    (void)close(fds[2]);
    (void)close(other);
    stop(1);
}
END_TEST

/* It asks and asks and never reads: cut off once its queue passes the limit. */
START_TEST(a_peer_that_does_not_read)
{
    start("[limits]\noutput-queue = 64K\n");
    struct tide_buf b;
    Tide__GetStatus status = TIDE__GET_STATUS__INIT;
    Tide__Request m = TIDE__REQUEST__INIT;
    tide_buf_init(&b, 1u << 20);
    m.call_case = TIDE__REQUEST__CALL_STATUS;
    m.status = &status;
    m.id = 1;
    for (int i = 0; i < 1000; i++)
        tide_frame_put(&b, &m.base);
    int fd = admin_connect(in.port);
    for (int i = 0; i < 400; i++) /* ends early when it is cut off */
        if (send(fd, b.data, b.len, MSG_NOSIGNAL) < 0) break;
    tide_buf_release(&b);
    int other = admin_connect(in.port);
    for (int i = 0; i < 3000; i++) {
        Tide__Response *answer = admin_status(other);
        uint32_t connections = answer->status->connections;
        tide__response__free_unpacked(answer, NULL);
        if (connections == 1) break;
        ck_assert_int_lt(i, 2999);
        (void)usleep(10000);
    }
    (void)close(other);
    (void)close(fd);
    stop(0);
}
END_TEST

/* More questions at once than may wait: each gets its answer, some of them "busy". */
START_TEST(more_questions_than_may_wait)
{
    enum { N = 500 };
    static bool answered[N + 1];
    struct tide_buf b;
    Tide__ListSnapshots list = TIDE__LIST_SNAPSHOTS__INIT;
    Tide__Request m = TIDE__REQUEST__INIT;
    unsigned busy = 0, fine = 0;
    start("[queries]\nqueue = 1\n");
    tide_buf_init(&b, 1u << 20);
    m.call_case = TIDE__REQUEST__CALL_SNAPSHOTS;
    m.snapshots = &list;
    for (m.id = 1; m.id <= N; m.id++)
        tide_frame_put(&b, &m.base);
    int fd = admin_connect(in.port);
    peer_send_raw(fd, b.data, b.len);
    tide_buf_release(&b);
    for (int i = 0; i < N; i++) {
        Tide__Response *answer = peer_answer(fd);
        ck_assert_ptr_nonnull(answer);
        ck_assert(answer->id >= 1 && answer->id <= N && !answered[answer->id]);
        answered[answer->id] = true;
        if (answer->result_case == TIDE__RESPONSE__RESULT_ERROR) {
            ck_assert_int_eq(answer->error->code, TIDE__ERROR_CODE__ERROR_BUSY);
            busy++;
        } else {
            ck_assert_int_eq(answer->result_case, TIDE__RESPONSE__RESULT_SNAPSHOTS);
            fine++;
        }
        tide__response__free_unpacked(answer, NULL);
    }
    ck_assert_uint_ge(fine, 1);
    ck_assert_uint_ge(busy, 1);
    (void)close(fd);
    stop(0);
}
END_TEST

START_TEST(the_secret)
{
    char path[64] = "/tmp/tide-secret-XXXXXX", settings[128];
    int file = mkstemp(path);
    ck_assert_int_eq(write(file, "open sesame\n", 12), 12);
    (void)close(file);
    (void)snprintf(settings, sizeof settings, "[daemon]\nsecret-file = %s\n", path);
    start(settings);
    int fd = peer_connect(in.port);
    peer_hello(fd, TIDE__PEER_KIND__PEER_WORKER, "open sesame!");
    peer_refused(fd, TIDE__REFUSED_CODE__REFUSED_SECRET,
                 "the secret is wrong: compare the secret files of both sides");
    fd = peer_connect(in.port);
    peer_hello(fd, TIDE__PEER_KIND__PEER_WORKER, "");
    peer_refused(fd, TIDE__REFUSED_CODE__REFUSED_SECRET,
                 "a secret is needed: give the daemon's secret file");
    fd = peer_connect(in.port);
    peer_hello(fd, TIDE__PEER_KIND__PEER_ADMIN, "open sesame");
    Tide__Response *m = peer_answer(fd);
    ck_assert_int_eq(m->result_case, TIDE__RESPONSE__RESULT_WELCOME);
    tide__response__free_unpacked(m, NULL);
    m = admin_status(fd);
    ck_assert_uint_eq(m->status->refused, 2);
    tide__response__free_unpacked(m, NULL);
    (void)close(fd);
    inside_stop(&in);
    (void)unlink(path);
    directory_remove(directory);
}
END_TEST

/* Connections that come and go, some with a reset, leave nothing behind. */
START_TEST(come_and_go)
{
    start("");
    for (int i = 0; i < 200; i++) {
        int fd = peer_connect(in.port);
        struct linger reset = {1, 0};
        if (i % 3)
            peer_hello(fd, i % 2 ? TIDE__PEER_KIND__PEER_ADMIN : TIDE__PEER_KIND__PEER_WORKER, "");
        if (i % 4 == 1) send_header(fd, 1000);
        if (i % 5 == 0) (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        (void)close(fd);
    }
    stop(0);
}
END_TEST

/* The end, while sessions are in every state. */
START_TEST(stopping_with_sessions)
{
    start("");
    int silent = peer_connect(in.port), admin = admin_connect(in.port);
    int worker = peer_connect(in.port), busy = admin_connect(in.port);
    peer_hello(worker, TIDE__PEER_KIND__PEER_WORKER, "");
    tide__to_worker__free_unpacked(peer_word(worker), NULL);
    send_header(busy, 1000);
    host_ask_stop(in.host);
    Tide__ToWorker *m = peer_word(worker);
    ck_assert_ptr_nonnull(m);
    ck_assert_int_eq(m->msg_case, TIDE__TO_WORKER__MSG_BYE);
    tide__to_worker__free_unpacked(m, NULL);
    ck_assert(peer_closes(worker, 10000));
    ck_assert(peer_closes(silent, 10000));
    ck_assert(peer_closes(admin, 10000));
    ck_assert(peer_closes(busy, 10000));
    (void)close(silent), (void)close(admin), (void)close(worker), (void)close(busy);
    inside_stop(&in);
    directory_remove(directory);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("sessions");
    TCase *t = tcase_create("sessions");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, hello_is_welcomed);
    tcase_add_test(t, one_byte_at_a_time);
    tcase_add_test(t, a_first_frame_over_the_limit);
    tcase_add_test(t, a_later_frame_over_the_limit);
    tcase_add_test(t, garbage_instead_of_a_hello);
    tcase_add_test(t, garbage_from_an_admin);
    tcase_add_test(t, a_frame_that_unpacks_to_too_much);
    tcase_add_test(t, two_hellos);
    tcase_add_test(t, hello_never_comes);
    tcase_add_test(t, an_admin_that_falls_silent);
    tcase_add_test(t, the_limit_of_connections);
    tcase_add_test(t, the_limit_of_partial_frames);
    tcase_add_test(t, a_peer_that_does_not_read);
    tcase_add_test(t, more_questions_than_may_wait);
    tcase_add_test(t, the_secret);
    tcase_add_test(t, come_and_go);
    tcase_add_test(t, stopping_with_sessions);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
