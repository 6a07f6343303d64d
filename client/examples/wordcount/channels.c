/* Data channels, see channels.h
 *
 * The usual way: begin(attempt); peers connect to our listener and say hello; we connect to our
 * downstream peers and say hello; frames go both into our inputs and out of our outputs; drop().
 *
 * What can go wrong, and what we do:
 * - a peer of another attempt says hello  -> close it; it will be rewound or has been replaced
 * - a connection breaks                   -> remember since when; the daemon's rewind follows
 * - a peer sends nonsense                 -> the same, with a line in the log
 * - an output is full                     -> the caller sees it and stops reading input */
#include "channels.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "wordcount.h"

#define HELLO_LEN (JOB_ID_LEN + 8 + 4 + 4) /* job, attempt, from, to */
#define STRANGERS_MAX 32                   /* connections that have not said hello */
#define READ_SIZE (256u << 10)

struct input {
    int fd; /* -1: not connected */
    bool blocked, ended;
    uint8_t *data;
    size_t start, have, cap;
};

struct output {
    int fd;
    bool ended; /* END was put: nothing more */
    uint8_t *data;
    size_t start, len, cap; /* len bytes from start wait to be sent */
};

struct stranger {
    int fd;
    uint32_t have;
    uint8_t hello[FRAME_HEAD + HELLO_LEN];
};

struct channels {
    int listener;
    char endpoint[ENDPOINT_MAX];
    char job_id[JOB_ID_LEN + 1];
    uint64_t attempt; /* 0: none */
    uint32_t self, n_inputs, n_outputs, turn;
    struct input *inputs;
    struct output *outputs;
    struct stranger strangers[STRANGERS_MAX];
    struct pollfd *polls; /* other, listener, strangers, inputs, outputs */
    int64_t cut_since;
};

int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void close_fd(int *fd)
{
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

static void note_cut(struct channels *c)
{
    if (c->cut_since == 0) c->cut_since = now_ms();
}

int channels_new(const char *host, uint32_t self, uint32_t inputs, uint32_t outputs,
                 struct channels **ret)
{
    struct channels *c = must_alloc(sizeof *c);
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t len = sizeof a;
    memset(c, 0, sizeof *c);
    c->self = self, c->n_inputs = inputs, c->n_outputs = outputs;
    c->inputs = must_alloc((inputs + 1) * sizeof *c->inputs);
    c->outputs = must_alloc((outputs + 1) * sizeof *c->outputs);
    c->polls = must_alloc((2 + STRANGERS_MAX + inputs + outputs) * sizeof *c->polls);
    memset(c->inputs, 0, (inputs + 1) * sizeof *c->inputs);
    memset(c->outputs, 0, (outputs + 1) * sizeof *c->outputs);
    for (uint32_t i = 0; i < inputs; i++)
        c->inputs[i].fd = -1;
    for (uint32_t i = 0; i < outputs; i++)
        c->outputs[i].fd = -1;
    for (uint32_t i = 0; i < STRANGERS_MAX; i++)
        c->strangers[i].fd = -1;
    c->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->listener < 0) goto fail;
    errno = EINVAL;
    if (inet_pton(AF_INET, host, &a.sin_addr) != 1) goto fail;
    if (bind(c->listener, (struct sockaddr *)&a, sizeof a) || listen(c->listener, 128)) goto fail;
    if (getsockname(c->listener, (struct sockaddr *)&a, &len)) goto fail;
    snprintf(c->endpoint, sizeof c->endpoint, "%s:%u", host, ntohs(a.sin_port));
    *ret = c;
    return 0;
fail:
    channels_free(c);
    return -1;
}

void channels_free(struct channels *c)
{
    if (!c) return;
    channels_drop(c);
    close_fd(&c->listener);
    for (uint32_t i = 0; i < c->n_inputs; i++)
        free(c->inputs[i].data);
    for (uint32_t i = 0; i < c->n_outputs; i++)
        free(c->outputs[i].data);
    free(c->inputs);
    free(c->outputs);
    free(c->polls);
    free(c);
}

const char *channels_endpoint(const struct channels *c)
{
    return c->endpoint;
}

void channels_drop(struct channels *c)
{
    for (uint32_t i = 0; i < STRANGERS_MAX; i++)
        close_fd(&c->strangers[i].fd);
    for (uint32_t i = 0; i < c->n_inputs; i++) {
        struct input *in = &c->inputs[i];
        close_fd(&in->fd);
        in->blocked = in->ended = false;
        in->start = in->have = 0;
    }
    for (uint32_t i = 0; i < c->n_outputs; i++) {
        struct output *out = &c->outputs[i];
        close_fd(&out->fd);
        out->ended = false;
        out->start = out->len = 0;
    }
    c->attempt = 0;
    c->cut_since = 0;
}

void channels_begin(struct channels *c, const char *job_id, uint64_t attempt)
{
    channels_drop(c);
    snprintf(c->job_id, sizeof c->job_id, "%s", job_id);
    c->attempt = attempt;
}

/* ---- outputs */

int channels_connect(struct channels *c, uint32_t out, const char *endpoint)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    char host[ENDPOINT_MAX];
    const char *colon = strrchr(endpoint, ':');
    struct output *o = &c->outputs[out];
    int one = 1;
    if (!colon || (size_t)(colon - endpoint) >= sizeof host) return -1;
    snprintf(host, sizeof host, "%.*s", (int)(colon - endpoint), endpoint);
    char *rest = NULL;
    unsigned long port = strtoul(colon + 1, &rest, 10);
    if (inet_pton(AF_INET, host, &a.sin_addr) != 1 || *rest || port == 0 || port > 65535) return -1;
    a.sin_port = htons((uint16_t)port);

    close_fd(&o->fd);
    o->start = o->len = 0;
    o->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (o->fd < 0) return -1;
    (void)setsockopt(o->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(o->fd, (struct sockaddr *)&a, sizeof a) && errno != EINPROGRESS) {
        close_fd(&o->fd);
        note_cut(c);
        return 0;
    }
    uint8_t *p = channels_put_begin(c, out, HELLO_LEN);
    memcpy(p, c->job_id, JOB_ID_LEN);
    put_u64(p + JOB_ID_LEN, c->attempt);
    put_u32(p + JOB_ID_LEN + 8, c->self);
    put_u32(p + JOB_ID_LEN + 12, out);
    channels_put_commit(c, out, FRAME_HELLO, HELLO_LEN);
    return 0;
}

uint8_t *channels_put_begin(struct channels *c, uint32_t out, uint32_t max)
{
    struct output *o = &c->outputs[out];
    size_t need = FRAME_HEAD + (size_t)max;
    if (o->start + o->len + need > o->cap && o->start > 0) {
        memmove(o->data, o->data + o->start, o->len);
        o->start = 0;
    }
    if (o->len + need > o->cap) {
        size_t cap = o->cap ? o->cap : READ_SIZE;
        while (cap < o->len + need)
            cap *= 2;
        o->data = must_realloc(o->data, cap);
        o->cap = cap;
    }
    return o->data + o->start + o->len + FRAME_HEAD;
}

void channels_put_commit(struct channels *c, uint32_t out, enum frame_type type, uint32_t len)
{
    struct output *o = &c->outputs[out];
    uint8_t *head = o->data + o->start + o->len;
    if (o->fd < 0 || o->ended) return;
    put_u32(head, len);
    head[4] = (uint8_t)type;
    o->len += FRAME_HEAD + len;
    if (type == FRAME_END) o->ended = true;
}

void channels_put_all(struct channels *c, enum frame_type type, const void *body, uint32_t len)
{
    for (uint32_t i = 0; i < c->n_outputs; i++) {
        uint8_t *p = channels_put_begin(c, i, len);
        if (len) memcpy(p, body, len);
        channels_put_commit(c, i, type, len);
    }
}

bool channels_full(const struct channels *c, uint32_t out)
{
    return c->outputs[out].fd < 0 || c->outputs[out].len >= OUTPUT_ROOM;
}

bool channels_any_full(const struct channels *c)
{
    for (uint32_t i = 0; i < c->n_outputs; i++)
        if (channels_full(c, i)) return true;
    return false;
}

static void output_flush(struct channels *c, struct output *o)
{
    while (o->fd >= 0 && o->len > 0) {
        ssize_t n = send(o->fd, o->data + o->start, o->len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == ENOTCONN)) return;
        if (n < 0) {
            close_fd(&o->fd);
            o->start = o->len = 0;
            if (!o->ended) note_cut(c);
            return;
        }
        o->start += (size_t)n;
        o->len -= (size_t)n;
    }
    o->start = 0;
}

/* ---- inputs */

void channels_block(struct channels *c, uint32_t channel, bool blocked)
{
    c->inputs[channel].blocked = blocked;
}

void channels_refuse(struct channels *c, uint32_t channel, const char *why)
{
    struct input *in = &c->inputs[channel];
    say("input channel %u refused: %s", channel, why);
    close_fd(&in->fd);
    in->start = in->have = 0;
    note_cut(c);
}

/* Whether a whole frame lies in the buffer. */
static bool input_has_frame(const struct input *in)
{
    if (in->have < FRAME_HEAD) return false;
    return in->have - FRAME_HEAD >= get_u32(in->data + in->start);
}

bool channels_next(struct channels *c, struct frame *ret)
{
    for (uint32_t k = 0; k < c->n_inputs; k++) {
        uint32_t i = (c->turn + k) % c->n_inputs;
        struct input *in = &c->inputs[i];
        if (in->blocked || !input_has_frame(in)) continue;
        const uint8_t *p = in->data + in->start;
        *ret = (struct frame){p[4], i, p + FRAME_HEAD, get_u32(p)};
        in->start += FRAME_HEAD + ret->len;
        in->have -= FRAME_HEAD + ret->len;
        if (ret->type == FRAME_END) in->ended = true;
        c->turn = i + 1;
        return true;
    }
    return false;
}

/* The next frame is too long: refused from its header, before it meets memory. */
static bool input_refused(struct channels *c, uint32_t i)
{
    const struct input *in = &c->inputs[i];
    if (in->have < FRAME_HEAD || get_u32(in->data + in->start) <= FRAME_MAX) return false;
    channels_refuse(c, i, "frame too long");
    return true;
}

static void input_read(struct channels *c, uint32_t i)
{
    struct input *in = &c->inputs[i];
    if (input_refused(c, i)) return;
    if (in->start > 0) memmove(in->data, in->data + in->start, in->have);
    in->start = 0;
    size_t want = in->have + READ_SIZE;
    if (in->have >= FRAME_HEAD) { /* a frame longer than a read: make room for all of it */
        size_t frame = FRAME_HEAD + (size_t)get_u32(in->data);
        if (frame > want) want = frame;
    }
    if (want > in->cap) {
        in->data = must_realloc(in->data, want);
        in->cap = want;
    }
    ssize_t n = recv(in->fd, in->data + in->have, in->cap - in->have, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) { /* what has arrived stays readable */
        close_fd(&in->fd);
        if (!in->ended) note_cut(c);
        return;
    }
    in->have += (size_t)n;
    (void)input_refused(c, i);
}

/* ---- those who have not said hello */

static void accept_all(struct channels *c)
{
    for (;;) {
        int one = 1;
        int fd = accept4(c->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        uint32_t slot = 0;
        while (slot < STRANGERS_MAX && c->strangers[slot].fd >= 0)
            slot++;
        if (slot == STRANGERS_MAX) { /* all silent: the first makes room */
            slot = 0;
            close_fd(&c->strangers[0].fd);
        }
        c->strangers[slot].fd = fd;
        c->strangers[slot].have = 0;
    }
}

static void stranger_read(struct channels *c, struct stranger *s)
{
    const uint32_t whole = FRAME_HEAD + HELLO_LEN;
    ssize_t n = recv(s->fd, s->hello + s->have, whole - s->have, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
        close_fd(&s->fd);
        return;
    }
    s->have += (uint32_t)n;
    if (s->have < whole) return;

    const uint8_t *p = s->hello + FRAME_HEAD;
    uint32_t from = get_u32(p + JOB_ID_LEN + 8), to = get_u32(p + JOB_ID_LEN + 12);
    bool known = get_u32(s->hello) == HELLO_LEN && s->hello[4] == FRAME_HELLO && c->attempt != 0 &&
                 memcmp(p, c->job_id, JOB_ID_LEN) == 0 && get_u64(p + JOB_ID_LEN) == c->attempt &&
                 to == c->self && from < c->n_inputs && c->inputs[from].fd < 0 &&
                 !c->inputs[from].ended;
    if (!known) {
        close_fd(&s->fd);
        return;
    }
    c->inputs[from].fd = s->fd;
    s->fd = -1;
}

/* ---- the loop's one wait */

static bool has_ready_frame(const struct channels *c)
{
    for (uint32_t i = 0; i < c->n_inputs; i++)
        if (!c->inputs[i].blocked && input_has_frame(&c->inputs[i])) return true;
    return false;
}

bool channels_wait(struct channels *c, int other_fd, bool read, int timeout_ms)
{
    struct pollfd *p = c->polls;
    struct pollfd *ins = p + 2 + STRANGERS_MAX, *outs = ins + c->n_inputs;
    nfds_t n = 2 + STRANGERS_MAX + c->n_inputs + c->n_outputs;
    for (uint32_t i = 0; i < c->n_outputs; i++)
        output_flush(c, &c->outputs[i]);

    p[0] = (struct pollfd){other_fd, POLLIN, 0};
    p[1] = (struct pollfd){c->listener, POLLIN, 0};
    for (uint32_t i = 0; i < STRANGERS_MAX; i++)
        p[2 + i] = (struct pollfd){c->strangers[i].fd, POLLIN, 0};
    for (uint32_t i = 0; i < c->n_inputs; i++) {
        const struct input *in = &c->inputs[i];
        bool want = read && !in->blocked && !input_has_frame(in);
        ins[i] = (struct pollfd){want ? in->fd : -1, POLLIN, 0};
    }
    for (uint32_t i = 0; i < c->n_outputs; i++) {
        const struct output *o = &c->outputs[i];
        outs[i] = (struct pollfd){o->len ? o->fd : -1, POLLOUT, 0};
    }
    if (read && has_ready_frame(c)) timeout_ms = 0;
    if (poll(p, n, timeout_ms) <= 0) return false;

    if (p[1].revents) accept_all(c);
    for (uint32_t i = 0; i < STRANGERS_MAX; i++)
        if (p[2 + i].revents) stranger_read(c, &c->strangers[i]);
    for (uint32_t i = 0; i < c->n_inputs; i++)
        if (ins[i].revents) input_read(c, i);
    for (uint32_t i = 0; i < c->n_outputs; i++)
        if (outs[i].revents) output_flush(c, &c->outputs[i]);
    return p[0].revents != 0;
}

int64_t channels_cut(const struct channels *c)
{
    return c->cut_since;
}
