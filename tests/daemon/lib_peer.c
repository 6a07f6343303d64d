#include "tests/daemon/lib_peer.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/log.h"
#include "proto/frame.h"

#define PATIENCE_MS 30000

static int64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

const char *directory_make(void)
{
    static char path[64];
    (void)strcpy(path, "/tmp/tide-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(path));
    return path;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

void directory_remove(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- a host in a thread */

static void *inside_run(void *arg)
{
    struct inside *in = arg;
    in->exit_code = host_run(in->host);
    return NULL;
}

void inside_start(struct inside *in, const char *directory, const char *settings)
{
    char why[CONFIG_WHY] = "";
    memset(in, 0, sizeof *in);
    config_init(&in->config);
    ck_assert_msg(config_parse(&in->config, "test", tide_bytes_of(settings), why) == 0, "%s", why);
    ck_assert_int_eq(config_set(&in->config, "daemon", "data", directory, "data", why), 0);
    ck_assert_int_eq(config_set(&in->config, "daemon", "listen", "127.0.0.1:0", "listen", why), 0);
    ck_assert_msg(config_finish(&in->config, why) == 0, "%s", why);
    log_open(getenv("TIDE_TEST_LOG") ? LEVEL_DEBUG : LEVEL_ERROR, NULL);
    ck_assert_msg(host_open(&in->config, false, &in->host, why) == 0, "%s", why);
    in->port = host_port(in->host);
    ck_assert_int_eq(pthread_create(&in->thread, NULL, inside_run, in), 0);
}

void inside_stop(struct inside *in)
{
    host_ask_stop(in->host);
    ck_assert_int_eq(pthread_join(in->thread, NULL), 0);
    ck_assert_int_eq(in->exit_code, 0);
    ck_assert(host_close(in->host));
    config_close(&in->config);
}

/* ---- the program as a child */

static const char *program(void)
{
    static char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 16);
    ck_assert(n > 0);
    path[n] = 0;
    for (int i = 0; i < 3; i++) /* build/tests/daemon/test_x */
        *strrchr(path, '/') = 0;
    (void)strcat(path, "/tidemarkd");
    return path;
}

void child_start(struct child *c, const char *const *arguments)
{
    const char *argv[32] = {program()};
    int pipes[2];
    for (size_t i = 0; arguments[i]; i++)
        argv[i + 1] = arguments[i];
    memset(c, 0, sizeof *c);
    ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
    c->pid = fork();
    ck_assert_int_ge(c->pid, 0);
    if (c->pid == 0) {
        (void)dup2(pipes[1], 2);
        (void)dup2(pipes[1], 1);
        (void)unsetenv("JOURNAL_STREAM");
        (void)execv(argv[0], (char **)(uintptr_t)argv);
        _exit(127);
    }
    (void)close(pipes[1]);
    c->err = pipes[0];
}

/* Reads until it closes its stderr, which is when it ends. */
int child_wait(struct child *c)
{
    int64_t until = now_ms() + 3 * PATIENCE_MS;
    int status;
    for (;;) {
        struct pollfd p = {.fd = c->err, .events = POLLIN};
        int64_t left = until - now_ms();
        ck_assert_msg(left > 0 && poll(&p, 1, (int)left) == 1,
                      "tidemarkd does not end; it said: %s", c->said);
        size_t room = sizeof c->said - 1 - c->said_len;
        char spill[256];
        ssize_t n =
            room ? read(c->err, c->said + c->said_len, room) : read(c->err, spill, sizeof spill);
        if (n <= 0) break;
        if (room) c->said_len += (size_t)n;
    }
    (void)close(c->err);
    ck_assert_int_eq(waitpid(c->pid, &status, 0), c->pid);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

void child_kill(struct child *c, int signal)
{
    ck_assert_int_eq(kill(c->pid, signal), 0);
}

uint16_t port_of(const char *directory)
{
    char path[4096];
    int64_t until = now_ms() + 3 * PATIENCE_MS;
    unsigned port = 0;
    (void)snprintf(path, sizeof path, "%s/port", directory);
    while (now_ms() < until) {
        FILE *f = fopen(path, "re");
        int n = f ? fscanf(f, "%u", &port) : 0;
        if (f) (void)fclose(f);
        if (n == 1) return (uint16_t)port;
        (void)usleep(2000);
    }
    ck_abort_msg("no file %s", path);
}

/* ---- a peer */

int peer_connect(uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    ck_assert_int_ge(fd, 0);
    ck_assert_msg(connect(fd, (const struct sockaddr *)&a, sizeof a) == 0, "connect: %s",
                  strerror(errno));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

void peer_send_raw(int fd, const void *data, size_t len)
{
    while (len) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return; /* it has closed: the test sees that when it reads */
        data = (const char *)data + n;
        len -= (size_t)n;
    }
}

void peer_send(int fd, const ProtobufCMessage *message)
{
    struct tide_buf b;
    tide_buf_init(&b, TIDE_FRAME_MAX + 16);
    tide_frame_put(&b, message);
    ck_assert_int_eq(b.rc, 0);
    peer_send_raw(fd, b.data, b.len);
    tide_buf_release(&b);
}

void peer_hello(int fd, Tide__PeerKind kind, const char *secret)
{
    Tide__Hello hello = TIDE__HELLO__INIT;
    Tide__FromWorker m = TIDE__FROM_WORKER__INIT;
    hello.version_min = TIDE_PROTOCOL_MIN;
    hello.version_max = TIDE_PROTOCOL_MAX;
    hello.kind = kind;
    hello.secret = BYTES_OF(secret);
    hello.software = BYTES_OF("test");
    m.msg_case = TIDE__FROM_WORKER__MSG_HELLO;
    m.hello = &hello;
    peer_send(fd, &m.base);
}

/* False: the end, or a reset. */
static bool read_some(int fd, void *to, size_t len)
{
    int64_t until = now_ms() + PATIENCE_MS;
    while (len) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int64_t left = until - now_ms();
        ck_assert_msg(left > 0 && poll(&p, 1, (int)left) == 1, "the daemon says nothing");
        ssize_t n = read(fd, to, len);
        if (n <= 0) return false;
        to = (char *)to + n;
        len -= (size_t)n;
    }
    return true;
}

bool peer_read(int fd, struct tide_buf *ret)
{
    uint8_t head[TIDE_FRAME_HEADER];
    tide_buf_init(ret, TIDE_FRAME_MAX);
    if (!read_some(fd, head, sizeof head)) return false;
    uint32_t len = tide_get_u32(head);
    ck_assert_uint_le(len, TIDE_FRAME_MAX);
    uint8_t *body = tide_buf_extend(ret, len);
    if (len == 0 || read_some(fd, body, len)) return true;
    tide_buf_release(ret);
    return false;
}

Tide__ToWorker *peer_word(int fd)
{
    struct tide_buf b;
    if (!peer_read(fd, &b)) return NULL;
    Tide__ToWorker *m = tide__to_worker__unpack(NULL, b.len, b.data);
    ck_assert_msg(m != NULL, "the daemon sent what is no ToWorker");
    tide_buf_release(&b);
    return m;
}

Tide__Response *peer_answer(int fd)
{
    struct tide_buf b;
    if (!peer_read(fd, &b)) return NULL;
    Tide__Response *m = tide__response__unpack(NULL, b.len, b.data);
    ck_assert_msg(m != NULL, "the daemon sent what is no Response");
    tide_buf_release(&b);
    return m;
}

bool peer_closes(int fd, int limit_ms)
{
    int64_t until = now_ms() + limit_ms;
    char spill[65536];
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int64_t left = until - now_ms();
        if (left <= 0 || poll(&p, 1, (int)left) != 1) return false;
        if (read(fd, spill, sizeof spill) <= 0) return true;
    }
}

void peer_refused(int fd, Tide__RefusedCode code, const char *words)
{
    Tide__ToWorker *m = peer_word(fd);
    ck_assert_msg(m != NULL, "closed without a reason instead of refused: %s", words);
    ck_assert_int_eq(m->msg_case, TIDE__TO_WORKER__MSG_REFUSED);
    ck_assert_int_eq(m->refused->code, code);
    ck_assert_msg(TEXT_IS(m->refused->reason, words), "'%.*s' instead of '%s'",
                  (int)m->refused->reason.len, (const char *)m->refused->reason.data, words);
    tide__to_worker__free_unpacked(m, NULL);
    ck_assert_ptr_null(peer_word(fd));
    (void)close(fd);
}

int admin_connect(uint16_t port)
{
    int fd = peer_connect(port);
    peer_hello(fd, TIDE__PEER_KIND__PEER_ADMIN, "");
    Tide__Response *m = peer_answer(fd);
    ck_assert_ptr_nonnull(m);
    ck_assert_int_eq(m->result_case, TIDE__RESPONSE__RESULT_WELCOME);
    tide__response__free_unpacked(m, NULL);
    return fd;
}

Tide__Response *admin_status(int fd)
{
    Tide__GetStatus status = TIDE__GET_STATUS__INIT;
    Tide__Request m = TIDE__REQUEST__INIT;
    m.call_case = TIDE__REQUEST__CALL_STATUS;
    m.status = &status;
    m.id = 77;
    peer_send(fd, &m.base);
    Tide__Response *answer = peer_answer(fd);
    ck_assert_ptr_nonnull(answer);
    ck_assert_int_eq(answer->result_case, TIDE__RESPONSE__RESULT_STATUS);
    ck_assert_uint_eq(answer->id, 77);
    return answer;
}
