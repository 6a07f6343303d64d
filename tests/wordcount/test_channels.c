/* The example's data channels: what arrives is what was sent, whatever the kernel makes of it; only
 * the right peer of the right attempt is let in; nonsense is refused before it meets memory. */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/examples/wordcount/channels.h"
#include "client/examples/wordcount/wordcount.h"

#define JOB "0123456789abcdef0123456789abcdef"
#define TURNS 2000

static struct channels *up, *down; /* up has one output: down, which has two inputs */

static void setup(void)
{
    ck_assert_int_eq(channels_new("127.0.0.1", 1, 0, 1, &up), 0);
    ck_assert_int_eq(channels_new("127.0.0.1", 0, 2, 0, &down), 0);
    channels_begin(up, JOB, 7);
    channels_begin(down, JOB, 7);
    ck_assert_int_eq(channels_connect(up, 0, channels_endpoint(down)), 0);
}

static void teardown(void)
{
    channels_free(up);
    channels_free(down);
}

static void turn(bool read)
{
    (void)channels_wait(up, -1, true, 0);
    (void)channels_wait(down, -1, read, 1);
}

static void put(uint32_t len, uint8_t fill)
{
    memset(channels_put_begin(up, 0, len), fill, len);
    channels_put_commit(up, 0, FRAME_DATA, len);
}

static bool next(struct frame *f)
{
    for (int i = 0; i < TURNS; i++) {
        if (channels_next(down, f)) return true;
        turn(true);
    }
    return false;
}

/* A connection of our own that says this. */
static int stranger(const void *bytes, size_t len)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    a.sin_port = htons((uint16_t)atoi(strchr(channels_endpoint(down), ':') + 1));
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    ck_assert_int_eq(send(fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
    return fd;
}

/* Whether the other side closes the connection soon. */
static bool is_closed(int fd)
{
    char c;
    for (int i = 0; i < 50; i++) {
        turn(true);
        ssize_t n = recv(fd, &c, 1, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno == ECONNRESET)) return true;
    }
    return false;
}

static size_t hello(uint8_t out[64], const char *job, uint64_t attempt, uint32_t from, uint32_t to)
{
    put_u32(out, 48);
    out[4] = FRAME_HELLO;
    memcpy(out + 5, job, 32);
    put_u64(out + 37, attempt);
    put_u32(out + 45, from);
    put_u32(out + 49, to);
    return 53;
}

START_TEST(frames_of_all_sizes)
{
    static const uint32_t sizes[] = {0, 1, 16, 4096, 262139, 262144, 700000, FRAME_MAX};
    struct frame f;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        put(sizes[i], (uint8_t)(i + 1));
    channels_put_all(up, FRAME_END, NULL, 0);
    put(1, 0); /* behind the end: nothing */
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        ck_assert(next(&f));
        ck_assert_uint_eq(f.type, FRAME_DATA);
        ck_assert_uint_eq(f.channel, 1);
        ck_assert_uint_eq(f.len, sizes[i]);
        for (uint32_t k = 0; k < f.len; k++)
            if (f.body[k] != i + 1) ck_abort_msg("byte %u of frame %zu differs", k, i);
    }
    ck_assert(next(&f));
    ck_assert_uint_eq(f.type, FRAME_END);
    channels_drop(up);
    for (int i = 0; i < 20; i++)
        turn(true);
    ck_assert(!channels_next(down, &f));
    ck_assert_int_eq(channels_cut(down), 0); /* it had ended in good order */
}
END_TEST

START_TEST(blocked_channel_gives_nothing)
{
    struct frame f;
    put(3, 1);
    put(3, 2);
    ck_assert(next(&f));
    channels_block(down, 1, true); /* the second frame has been read already */
    for (int i = 0; i < 20; i++)
        turn(true);
    ck_assert(!channels_next(down, &f));
    channels_block(down, 1, false);
    ck_assert(next(&f));
    ck_assert_uint_eq(f.body[0], 2);
}
END_TEST

START_TEST(full_output_waits_for_the_reader)
{
    struct frame f;
    int n = 0, got = 0;
    channels_block(down, 1, true);
    for (int i = 0; i < TURNS && n < 200; i++) {
        if (!channels_full(up, 0)) {
            put(100000, 5);
            n++;
        }
        turn(true);
    }
    ck_assert(channels_full(up, 0)); /* the kernel's buffers are full too */
    ck_assert_int_lt(n, 200);
    channels_block(down, 1, false);
    while (got < n && next(&f))
        got++;
    ck_assert_int_eq(got, n);
    ck_assert(!channels_full(up, 0));
}
END_TEST

START_TEST(only_this_attempt)
{
    uint8_t h[64];
    struct frame f;
    put(1, 1);
    ck_assert(next(&f)); /* channel 1 is taken, 0 is free */
    const struct {
        const char *job;
        uint64_t attempt;
        uint32_t from, to;
    } wrong[] = {{JOB, 6, 0, 0},          {JOB, 8, 0, 0},
                 {JOB, 0, 0, 0},          {JOB, 7, 2, 0},
                 {JOB, 7, 0, 1},          {JOB, 7, 1, 0},
                 {JOB, 7, UINT32_MAX, 0}, {"ffffffffffffffffffffffffffffffff", 7, 0, 0}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        size_t len = hello(h, wrong[i].job, wrong[i].attempt, wrong[i].from, wrong[i].to);
        int fd = stranger(h, len);
        ck_assert_msg(is_closed(fd), "hello %zu was accepted", i);
        close(fd);
    }
    int fd = stranger(h, hello(h, JOB, 7, 0, 0));
    ck_assert(!is_closed(fd));
    channels_drop(down); /* no attempt: nobody */
    ck_assert(is_closed(fd));
    close(fd);
    fd = stranger(h, hello(h, JOB, 0, 0, 0));
    ck_assert(is_closed(fd));
    close(fd);
}
END_TEST

START_TEST(nonsense_is_refused)
{
    uint8_t bytes[128];
    memset(bytes, 0xff, sizeof bytes);
    int fd = stranger(bytes, sizeof bytes); /* no hello */
    ck_assert(is_closed(fd));
    close(fd);
    size_t len = hello(bytes, JOB, 7, 0, 0);
    put_u32(bytes + len, FRAME_MAX + 1); /* a good hello, then a frame too long */
    bytes[len + 4] = FRAME_DATA;
    fd = stranger(bytes, len + 5);
    ck_assert(is_closed(fd));
    ck_assert_int_ne(channels_cut(down), 0);
    close(fd);
    ck_assert_int_eq(channels_connect(up, 0, "nowhere"), -1);
    ck_assert_int_eq(channels_connect(up, 0, "127.0.0.1:0"), -1);
    ck_assert_int_eq(channels_connect(up, 0, "127.0.0.1:65536"), -1);
    ck_assert_int_eq(channels_connect(up, 0, "127.0.0.1:80x"), -1);
    ck_assert_int_eq(channels_connect(up, 0, "1.2.3.4.5:80"), -1);
}
END_TEST

START_TEST(silent_strangers_make_room)
{
    int fds[40];
    struct frame f;
    for (int i = 0; i < 40; i++) {
        fds[i] = stranger("x", 1);
        turn(true);
    }
    put(2, 9); /* the peer said hello long ago, or does so now */
    ck_assert(next(&f));
    for (int i = 0; i < 40; i++)
        close(fds[i]);
}
END_TEST

START_TEST(cut_connection_shows)
{
    struct frame f;
    put(1, 1);
    ck_assert(next(&f));
    channels_drop(up);
    for (int i = 0; i < TURNS && !channels_cut(down); i++)
        turn(true);
    ck_assert_int_ne(channels_cut(down), 0);
    channels_begin(down, JOB, 8);
    ck_assert_int_eq(channels_cut(down), 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("channels");
    TCase *t = tcase_create("channels");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, frames_of_all_sizes);
    tcase_add_test(t, blocked_channel_gives_nothing);
    tcase_add_test(t, full_output_waits_for_the_reader);
    tcase_add_test(t, only_this_attempt);
    tcase_add_test(t, nonsense_is_refused);
    tcase_add_test(t, silent_strangers_make_room);
    tcase_add_test(t, cut_connection_shows);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
