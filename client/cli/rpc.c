/* The life of a call
 *
 * The usual way: connect, Hello, Welcome, then per call one Request and the Response with its id.
 *
 * What can go wrong, and what we do: nobody listens, the daemon refuses, closes, is silent until
 * the deadline, or answers what cannot be parsed -> the connection is closed and the call says
 * which it was, in a code and a sentence. Whether a try is repeated is for the caller to decide;
 * nothing is repeated here. */
#include "client/cli/rpc.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "client/cli/text.h"
#include "proto/err.h"

#define SECRET_MAX 4096
#define ARENA_MAX ((size_t)512 << 20) /* an answer about 10,000 tasks unpacks to some 10 MiB */

uint64_t rpc_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void rpc_init(struct rpc *r, const char *address, const char *data, const char *secret_file)
{
    memset(r, 0, sizeof *r);
    r->address = address;
    r->data = data;
    r->secret_file = secret_file;
    r->fd = -1;
    tide_decoder_init(&r->decoder, TIDE_FRAME_MAX);
    tide_arena_init(&r->arena, ARENA_MAX);
}

static void hang_up(struct rpc *r)
{
    if (r->fd >= 0) close(r->fd);
    r->fd = -1;
    r->rest = (struct tide_bytes){0};
    tide_decoder_release(&r->decoder);
    tide_decoder_init(&r->decoder, TIDE_FRAME_MAX);
}

void rpc_close(struct rpc *r)
{
    hang_up(r);
    tide_decoder_release(&r->decoder);
    tide_arena_release(&r->arena);
}

__attribute__((format(printf, 2, 3))) static void give_up(struct rpc *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(r->why, sizeof r->why, format, args);
    va_end(args);
    hang_up(r);
}

/* Says why, hangs up, and is the code. */
#define fail(r, rc, ...) (give_up(r, __VA_ARGS__), (rc))

/* ---- where the daemon is */

struct address {
    char host[256], port[8];
};

static bool address_parse(const char *text, struct address *ret, char why[static RPC_WHY])
{
    const char *colon = strrchr(text, ':'), *host = text;
    uint64_t port;
    size_t n = colon ? (size_t)(colon - text) : 0;
    if (n >= 2 && text[0] == '[' && colon[-1] == ']') {
        host++;
        n -= 2;
    } else if (n && memchr(text, ':', n)) {
        n = 0; /* an IPv6 address without brackets: which colon is it? */
    }
    if (n == 0 || n >= sizeof ret->host || !text_parse_u64(colon + 1, &port) || port < 1 ||
        port > 65535) {
        snprintf(why, RPC_WHY,
                 "'%.300s' is not an address: give HOST:PORT or [IPV6]:PORT, "
                 "such as 127.0.0.1:7460",
                 text);
        return false;
    }
    memcpy(ret->host, host, n);
    ret->host[n] = '\0';
    snprintf(ret->port, sizeof ret->port, "%u", (unsigned)port);
    return true;
}

bool rpc_address_valid(const char *address, char why[static RPC_WHY])
{
    struct address parsed;
    return address_parse(address, &parsed, why);
}

/* Reads a small file whole, without the line end; the length, or -1 with errno. */
static ssize_t read_small(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) return -1;
    size_t have = 0;
    ssize_t n;
    while ((n = read(fd, out + have, size - have)) > 0)
        have += (size_t)n;
    int saved = n < 0 ? errno : have == size ? EFBIG : 0;
    close(fd);
    if (saved) {
        errno = saved;
        return -1;
    }
    while (have && (out[have - 1] == '\n' || out[have - 1] == '\r'))
        have--;
    return (ssize_t)have;
}

/* Who listens on every address is reached on this machine's own. */
static void reach(struct address *a)
{
    if (strcmp(a->host, "0.0.0.0") == 0) strcpy(a->host, "127.0.0.1");
    if (strcmp(a->host, "::") == 0) strcpy(a->host, "::1");
}

/* The files `address` and `port` in the data directory change with every start of a daemon that
 * listens on any port, so they are read anew for each connection. Other tools write a port alone:
 * then it is one of this machine. */
static enum rpc_rc locate(struct rpc *r, struct address *ret)
{
    static const char *const names[] = {"address", "port"};
    char path[PATH_MAX], said[300], text[320];
    ssize_t n = -1;
    if (r->address) {
        if (!address_parse(r->address, ret, r->why)) return RPC_SETUP;
        snprintf(r->peer, sizeof r->peer, "%s", r->address);
        return RPC_OK;
    }
    for (size_t i = 0; i < 2 && n < 0; i++) {
        if ((size_t)snprintf(path, sizeof path, "%s/%s", r->data, names[i]) >= sizeof path)
            return fail(r, RPC_SETUP, "the path given by --data is too long");
        n = read_small(path, said, sizeof said - 1);
        if (n < 0 && errno != ENOENT) break;
    }
    if (n < 0)
        return fail(r, RPC_UNREACHABLE,
                    "cannot read %s: %s; is tidemarkd running on this data directory?", path,
                    strerror(errno));
    said[n] = '\0';
    snprintf(text, sizeof text, strchr(said, ':') ? "%s" : "127.0.0.1:%s", said);
    if (!address_parse(text, ret, r->why))
        return fail(r, RPC_UNREACHABLE, "%s holds neither an address nor a port", path);
    reach(ret);
    snprintf(r->peer, sizeof r->peer, strchr(ret->host, ':') ? "[%s]:%s" : "%s:%s", ret->host,
             ret->port);
    return RPC_OK;
}

/* ---- bytes with a deadline */

/* Waits for the socket. 0, or the errno; ETIMEDOUT at the deadline, EINTR after a signal. */
static int await(int fd, short events, uint64_t deadline)
{
    struct pollfd p = {.fd = fd, .events = events};
    int timeout = -1;
    if (deadline != RPC_NEVER) {
        uint64_t now = rpc_now();
        uint64_t left_ms = deadline > now ? (deadline - now + 999) / 1000 : 0;
        timeout = left_ms > INT_MAX ? INT_MAX : (int)left_ms;
    }
    int n = poll(&p, 1, timeout);
    return n > 0 ? 0 : n == 0 ? ETIMEDOUT : errno;
}

static int connect_one(const struct addrinfo *a, uint64_t deadline, int *ret)
{
    const int on = 1, idle = 10, interval = 5, probes = 3;
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol);
    if (fd < 0) return errno;
    int error = connect(fd, a->ai_addr, a->ai_addrlen) ? errno : 0;
    if (error == EINPROGRESS) {
        socklen_t n = sizeof error;
        do
            error = await(fd, POLLOUT, deadline);
        while (error == EINTR);
        if (!error && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n)) error = errno;
    }
    if (error) {
        close(fd);
        return error;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    /* Some answers (verify) take as long as they take: a dead machine must show all the same. */
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    *ret = fd;
    return 0;
}

static enum rpc_rc open_socket(struct rpc *r, uint64_t deadline)
{
    struct address at;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list;
    enum rpc_rc rc = locate(r, &at);
    if (rc) return rc;
    int error = getaddrinfo(at.host, at.port, &hints, &list);
    if (error)
        return fail(r, RPC_UNREACHABLE, "cannot find the address of '%s': %s", at.host,
                    error == EAI_SYSTEM ? strerror(errno) : gai_strerror(error));
    error = EADDRNOTAVAIL;
    for (const struct addrinfo *a = list; a && error; a = a->ai_next)
        error = connect_one(a, deadline, &r->fd);
    freeaddrinfo(list);
    if (error)
        return fail(r, RPC_UNREACHABLE, "cannot connect to %s: %s; is tidemarkd running?", r->peer,
                    strerror(error));
    return RPC_OK;
}

static enum rpc_rc lost(struct rpc *r, int error)
{
    if (error == ETIMEDOUT)
        return fail(r, RPC_TIMEOUT, "no answer from %s in time; see --timeout", r->peer);
    return fail(r, RPC_LOST, "the connection to %s broke: %s", r->peer,
                error ? strerror(error) : "the daemon closed it");
}

/* EINTR ends the call: signals are only ever caught to end the program. */
static enum rpc_rc send_all(struct rpc *r, struct tide_bytes bytes, uint64_t deadline)
{
    while (bytes.len) {
        ssize_t n = send(r->fd, bytes.data, bytes.len, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) return lost(r, errno);
        if (n < 0) {
            int error = await(r->fd, POLLOUT, deadline);
            if (error) return lost(r, error);
            continue;
        }
        bytes.data += n;
        bytes.len -= (size_t)n;
    }
    return RPC_OK;
}

static enum rpc_rc send_request(struct rpc *r, const Tide__Request *q, uint64_t deadline)
{
    struct tide_buf frame;
    tide_buf_init(&frame, TIDE_FRAME_MAX);
    tide_frame_put(&frame, &q->base);
    enum rpc_rc rc = RPC_OK;
    if (frame.rc)
        rc = fail(r, RPC_SETUP, "the request is too large: %s", tide_strerror(frame.rc));
    else
        rc = send_all(r, (struct tide_bytes){frame.data, frame.len}, deadline);
    tide_buf_release(&frame);
    return rc;
}

/* The next frame, unpacked. */
static enum rpc_rc receive(struct rpc *r, uint64_t deadline, const Tide__Response **ret)
{
    struct tide_bytes body;
    enum tide_frame_next next;
    while ((next = tide_decoder_next(&r->decoder, &r->rest, &body)) == TIDE_FRAME_MORE) {
        ssize_t n = recv(r->fd, r->input, sizeof r->input, 0);
        if (n == 0) return lost(r, 0);
        if (n < 0 && errno != EAGAIN) return lost(r, errno);
        if (n < 0) {
            int error = await(r->fd, POLLIN, deadline);
            if (error) return lost(r, error);
            continue;
        }
        r->rest = (struct tide_bytes){r->input, (size_t)n};
    }
    if (next != TIDE_FRAME_READY)
        return fail(r, RPC_BROKEN, "%s sends frames that are too long: is it tidemarkd?", r->peer);
    tide_arena_reset(&r->arena);
    int rc;
    *ret = tide_unpack(&r->arena, &tide__response__descriptor, body, &rc);
    if (*ret) return RPC_OK;
    return fail(r, RPC_BROKEN, "what %s answers is not Tidemark's protocol (%s): is it tidemarkd?",
                r->peer, tide_strerror(rc));
}

/* ---- the opening exchange */

static enum rpc_rc read_secret(struct rpc *r, char secret[static SECRET_MAX], size_t *ret_len)
{
    struct stat st;
    *ret_len = 0;
    if (!r->secret_file) return RPC_OK;
    ssize_t n = read_small(r->secret_file, secret, SECRET_MAX);
    if (n < 0)
        return fail(r, RPC_SETUP, "cannot read the secret in %s: %s", r->secret_file,
                    strerror(errno));
    if (n == 0) return fail(r, RPC_SETUP, "the secret's file %s is empty", r->secret_file);
    if (stat(r->secret_file, &st) == 0 && (st.st_mode & (S_IROTH | S_IWOTH)))
        return fail(r, RPC_SETUP, "the secret in %s can be read by everyone: chmod o-rwx it",
                    r->secret_file);
    *ret_len = (size_t)n;
    return RPC_OK;
}

static enum rpc_rc refused(struct rpc *r, const Tide__Refused *refusal)
{
    char *reason = text_clean(refusal->reason);
    bool secret = refusal->code == TIDE__REFUSED_CODE__REFUSED_SECRET;
    r->busy = refusal->code == TIDE__REFUSED_CODE__REFUSED_BUSY;
    (void)fail(r, RPC_REFUSED, "%s refuses: %.400s%s", r->peer,
               *reason ? reason : "without a reason", secret ? " (--secret-file)" : "");
    free(reason);
    return RPC_REFUSED;
}

static enum rpc_rc welcomed(struct rpc *r, const Tide__Response *answer)
{
    if (answer->result_case == TIDE__RESPONSE__RESULT_REFUSED) return refused(r, answer->refused);
    if (answer->result_case != TIDE__RESPONSE__RESULT_WELCOME ||
        answer->welcome->store_id.len != 16)
        return fail(r, RPC_BROKEN, "%s does not answer as tidemarkd does", r->peer);
    const Tide__Welcome *w = answer->welcome;
    if (w->version < TIDE_PROTOCOL_MIN || w->version > TIDE_PROTOCOL_MAX)
        return fail(r, RPC_BROKEN, "%s speaks version %u of the protocol, this program %u to %u",
                    r->peer, w->version, TIDE_PROTOCOL_MIN, TIDE_PROTOCOL_MAX);
    r->version = w->version;
    if (r->known && memcmp(r->store_id, w->store_id.data, 16) != 0)
        return fail(r, RPC_OTHER,
                    "%s is now a daemon with another store: it cannot know the operation", r->peer);
    memcpy(r->store_id, w->store_id.data, 16);
    r->known = true;
    return RPC_OK;
}

static enum rpc_rc greet(struct rpc *r, uint64_t deadline)
{
    char secret[SECRET_MAX];
    Tide__Hello hello = TIDE__HELLO__INIT;
    Tide__Request request = TIDE__REQUEST__INIT;
    const Tide__Response *answer;
    size_t n;
    enum rpc_rc rc = read_secret(r, secret, &n);
    if (rc) return rc;
    hello.version_min = TIDE_PROTOCOL_MIN;
    hello.version_max = TIDE_PROTOCOL_MAX;
    hello.kind = TIDE__PEER_KIND__PEER_ADMIN;
    hello.secret = (ProtobufCBinaryData){n, (uint8_t *)secret};
    hello.software = (ProtobufCBinaryData){sizeof "tidemark " TIDE_VERSION - 1,
                                           (uint8_t *)(uintptr_t) "tidemark " TIDE_VERSION};
    request.call_case = TIDE__REQUEST__CALL_HELLO;
    request.hello = &hello;
    rc = send_request(r, &request, deadline);
    explicit_bzero(secret, sizeof secret);
    if (!rc) rc = receive(r, deadline, &answer);
    return rc ? rc : welcomed(r, answer);
}

enum rpc_rc rpc_call(struct rpc *r, Tide__Request *request, uint64_t deadline,
                     const Tide__Response **ret)
{
    const Tide__Response *answer;
    enum rpc_rc rc = RPC_OK;
    r->busy = false;
    if (r->fd < 0) {
        rc = open_socket(r, deadline);
        if (!rc) rc = greet(r, deadline);
    }
    if (rc) return rc;
    request->id = ++r->last_id;
    rc = send_request(r, request, deadline);
    while (!rc && !(rc = receive(r, deadline, &answer))) {
        if (answer->result_case == TIDE__RESPONSE__RESULT_REFUSED)
            return refused(r, answer->refused);
        if (answer->id != request->id) continue; /* late, of a call given up */
        *ret = answer;
        return RPC_OK;
    }
    return rc;
}
