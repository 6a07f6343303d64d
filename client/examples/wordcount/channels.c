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
#define BARRIER_LEN 16u
#define LEFT_MAX 256u

struct input {
    int fd;                    /* -1: not connected */
    bool blocked, ended, told; /* told: of the first barrier in data */
    uint8_t *data;
    size_t start, have, cap;
    uint32_t worked; /* bytes of which the sender was not told */
};

struct output {
    int fd;
    bool ended; /* END was put: nothing more */
    uint8_t *data;
    size_t start, len, cap; /* len bytes from start wait to be sent */
    size_t rest;            /* so many of them belong to a frame that is partly sent */
    size_t ahead;           /* bytes sent that the receiver has not worked on */
    bool greeted;           /* it has said what it was restored with */
    uint8_t told[4];        /* what it says of that, as far as it has come */
    uint32_t n_told;
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
    uint32_t room;
    bool ahead;                          /* barriers go ahead */
    uint8_t left[LEFT_MAX][BARRIER_LEN]; /* barriers that were sent and not told of */
    uint32_t n_left;
};

int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static uint32_t frame_len(const uint8_t *head)
{
    return FRAME_HEAD + get_u32(head);
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
    c->room = OUTPUT_ROOM;
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
        in->blocked = in->ended = in->told = false;
        in->start = in->have = in->worked = 0;
    }
    c->n_left = 0;
    for (uint32_t i = 0; i < c->n_outputs; i++) {
        struct output *out = &c->outputs[i];
        close_fd(&out->fd);
        out->ended = false;
        out->start = out->len = out->rest = out->ahead = out->n_told = 0;
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
    o->start = o->len = o->rest = o->n_told = 0;
    o->ahead = c->room; /* nothing goes out until the receiver has said what it has */
    o->greeted = false;
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
    return c->outputs[out].fd < 0 || c->outputs[out].len >= c->room;
}

bool channels_any_full(const struct channels *c)
{
    for (uint32_t i = 0; i < c->n_outputs; i++)
        if (channels_full(c, i)) return true;
    return false;
}

bool channels_empty(const struct channels *c)
{
    for (uint32_t i = 0; i < c->n_outputs; i++)
        if (c->outputs[i].len) return false;
    return true;
}

static bool is_barrier(const uint8_t *head)
{
    return head[4] == FRAME_BARRIER;
}

/* Whether it takes room in the receiver's queue. */
static bool is_counted(const uint8_t *head)
{
    return head[4] != FRAME_BARRIER && head[4] != FRAME_HELLO;
}

/* How much may be sent: what lies ahead of the receiver is bounded, but for barriers. */
static size_t output_allowed(const struct channels *c, const struct output *o)
{
    if (!c->ahead) return o->len;
    size_t n = o->rest, ahead = o->ahead;
    while (n < o->len) {
        const uint8_t *head = o->data + o->start + n;
        if (is_counted(head) && ahead >= c->room) break;
        if (is_counted(head)) ahead += frame_len(head);
        n += frame_len(head);
    }
    return n;
}

/* The kernel has taken n bytes more. */
static void output_sent(struct channels *c, struct output *o, size_t n)
{
    while (n > 0) {
        const uint8_t *head = o->data + o->start;
        size_t whole = o->rest ? o->rest : frame_len(head), part = n < whole ? n : whole;
        if (!o->rest && is_counted(head)) o->ahead += whole;
        if (!o->rest && is_barrier(head) && c->ahead && c->n_left < LEFT_MAX)
            memcpy(c->left[c->n_left++], head + FRAME_HEAD, BARRIER_LEN);
        o->rest = whole - part;
        o->start += part;
        o->len -= part;
        n -= part;
    }
}

static void output_cut(struct channels *c, struct output *o)
{
    close_fd(&o->fd);
    o->start = o->len = o->rest = 0;
    if (!o->ended) note_cut(c);
}

static void output_flush(struct channels *c, struct output *o)
{
    size_t allowed;
    while (o->fd >= 0 && (allowed = output_allowed(c, o)) > 0) {
        ssize_t n = send(o->fd, o->data + o->start, allowed, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == ENOTCONN)) return;
        if (n < 0) {
            output_cut(c, o);
            return;
        }
        output_sent(c, o, (size_t)n);
    }
    if (!o->len) o->start = 0;
}

/* The receiver tells how much it was restored with, then how much it has worked on. */
static void output_listen(struct channels *c, struct output *o)
{
    while (o->fd >= 0) {
        ssize_t n = recv(o->fd, o->told + o->n_told, sizeof o->told - o->n_told, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == ENOTCONN)) return;
        if (n <= 0) {
            output_cut(c, o);
            return;
        }
        o->n_told += (uint32_t)n;
        if (o->n_told < sizeof o->told) continue;
        size_t said = get_u32(o->told);
        if (o->greeted)
            o->ahead -= said < o->ahead ? said : o->ahead;
        else
            o->ahead = said;
        o->greeted = true;
        o->n_told = 0;
    }
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

/* What was restored takes up room like what is sent, or each restore would lengthen the queue.
 * False: it cannot be said. */
static bool input_greet(const struct channels *c, struct input *in)
{
    uint8_t told[4];
    put_u32(told, (uint32_t)in->have); /* what is left of it */
    in->worked = 0;
    return !c->ahead || send(in->fd, told, sizeof told, MSG_NOSIGNAL | MSG_DONTWAIT) == 4;
}

/* Not for each frame: a quarter of what may be sent ahead. */
static void input_worked(const struct channels *c, struct input *in, uint32_t n)
{
    uint8_t told[4];
    in->worked += n;
    if (!c->ahead || in->fd < 0 || (in->worked < c->room / 4 && input_has_frame(in))) return;
    put_u32(told, in->worked);
    if (send(in->fd, told, sizeof told, MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof told) in->worked = 0;
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
        if (ret->type == FRAME_BARRIER) in->told = false;
        if (ret->type == FRAME_NOTHING) return channels_next(c, ret);
        c->turn = i + 1;
        if (ret->type != FRAME_BARRIER) input_worked(c, in, FRAME_HEAD + ret->len);
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
    size_t want = in->have + (c->room < READ_SIZE ? c->room : READ_SIZE);
    if (in->have >= FRAME_HEAD) { /* a frame longer than a read: make room for all of it */
        size_t frame = FRAME_HEAD + (size_t)get_u32(in->data);
        if (frame > want) want = frame;
    }
    if (want > in->cap) {
        in->data = must_realloc(in->data, want);
        in->cap = want;
    }
    ssize_t n = recv(in->fd, in->data + in->have, want - in->have, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) { /* what has arrived stays readable */
        close_fd(&in->fd);
        if (!in->ended) note_cut(c);
        return;
    }
    in->have += (size_t)n;
    (void)input_refused(c, i);
}

/* ---- barriers that go ahead */

void channels_go_ahead(struct channels *c)
{
    c->ahead = true;
}

void channels_room(struct channels *c, uint32_t room)
{
    c->room = room;
}

/* The first barrier in the buffer that is there in whole; NULL: none. */
static uint8_t *input_barrier(const struct input *in)
{
    const uint8_t *end = in->data + in->start + in->have;
    for (uint8_t *p = in->data + in->start;
         (size_t)(end - p) >= FRAME_HEAD && (size_t)(end - p) >= frame_len(p); p += frame_len(p))
        if (p[4] == FRAME_BARRIER && get_u32(p) == BARRIER_LEN) return p;
    return NULL;
}

bool channels_barrier_came(struct channels *c, uint32_t *ret_channel, uint8_t ret_barrier[16])
{
    for (uint32_t i = 0; c->ahead && i < c->n_inputs; i++) {
        struct input *in = &c->inputs[i];
        const uint8_t *p = in->told || !in->have ? NULL : input_barrier(in);
        if (!p) continue;
        in->told = true;
        *ret_channel = i;
        memcpy(ret_barrier, p + FRAME_HEAD, BARRIER_LEN);
        return true;
    }
    return false;
}

bool channels_overtake_input(struct channels *c, uint32_t channel, uint8_t ret_barrier[16],
                             channels_passed *passed, void *arg)
{
    struct input *in = &c->inputs[channel];
    uint8_t *barrier = input_barrier(in);
    if (!barrier) return false;
    for (const uint8_t *p = in->data + in->start; p < barrier; p += frame_len(p))
        if (p[4] != FRAME_NOTHING) passed(arg, channel, p, frame_len(p));
    memcpy(ret_barrier, barrier + FRAME_HEAD, BARRIER_LEN);
    barrier[4] = FRAME_NOTHING;
    in->told = false;
    return true;
}

/* Where in the output a barrier goes that goes ahead: behind the frame that is partly sent, the
 * hello, and every barrier before `until`. */
static size_t place_ahead(const struct output *o, size_t until)
{
    size_t place = o->start + o->rest;
    for (size_t at = place; at < until; at += frame_len(o->data + at)) {
        uint8_t type = o->data[at + 4];
        if (type == FRAME_BARRIER || type == FRAME_HELLO) place = at + frame_len(o->data + at);
    }
    return place;
}

void channels_overtake_output(struct channels *c, uint32_t out, const uint8_t barrier[16],
                              channels_same *same, channels_passed *passed, void *arg)
{
    struct output *o = &c->outputs[out];
    const uint32_t whole = FRAME_HEAD + BARRIER_LEN;
    size_t end = o->start + o->len, old = end;
    if (o->fd < 0 || o->ended) return;
    for (size_t at = o->start + o->rest; same && at < end; at += frame_len(o->data + at))
        if (o->data[at + 4] == FRAME_BARRIER && same(o->data + at + FRAME_HEAD, barrier)) old = at;
    if (same && old == end) return; /* it has left */
    if (!same) {                    /* a new one: first behind everything */
        uint8_t *p = channels_put_begin(c, out, BARRIER_LEN);
        memcpy(p, barrier, BARRIER_LEN);
        channels_put_commit(c, out, FRAME_BARRIER, BARRIER_LEN);
        old = o->start + o->len - whole;
    }
    size_t place = place_ahead(o, old);
    for (size_t at = place; at < old; at += frame_len(o->data + at))
        passed(arg, out, o->data + at, frame_len(o->data + at));
    memmove(o->data + place + whole, o->data + place, old - place);
    put_u32(o->data + place, BARRIER_LEN);
    o->data[place + 4] = FRAME_BARRIER;
    memcpy(o->data + place + FRAME_HEAD, barrier, BARRIER_LEN);
}

bool channels_barrier_left(struct channels *c, uint8_t ret_barrier[16])
{
    if (!c->n_left) return false;
    memcpy(ret_barrier, c->left[--c->n_left], BARRIER_LEN);
    return true;
}

void channels_restore_input(struct channels *c, uint32_t channel, const uint8_t *frames, size_t len)
{
    struct input *in = &c->inputs[channel];
    if (in->have + len > in->cap) {
        in->data = must_realloc(in->data, in->have + len);
        in->cap = in->have + len;
    }
    if (len) memcpy(in->data + in->have, frames, len); /* nothing has been read yet: start is 0 */
    in->have += len;
}

void channels_restore_output(struct channels *c, uint32_t out, const uint8_t *frames, size_t len)
{
    struct output *o = &c->outputs[out];
    if (o->fd < 0) return; /* cut: the rewind is on its way */
    (void)channels_put_begin(c, out, (uint32_t)len);
    if (len) memcpy(o->data + o->start + o->len, frames, len);
    o->len += len;
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
    if (input_greet(c, &c->inputs[from])) return;
    close_fd(&c->inputs[from].fd);
    note_cut(c);
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
        bool want = !in->blocked && (c->ahead || (read && !input_has_frame(in)));
        ins[i] = (struct pollfd){want ? in->fd : -1, POLLIN, 0};
    }
    for (uint32_t i = 0; i < c->n_outputs; i++) {
        const struct output *o = &c->outputs[i];
        short events = (short)((output_allowed(c, o) ? POLLOUT : 0) | (c->ahead ? POLLIN : 0));
        outs[i] = (struct pollfd){events ? o->fd : -1, events, 0};
    }
    if (read && has_ready_frame(c)) timeout_ms = 0;
    if (poll(p, n, timeout_ms) <= 0) return false;

    if (p[1].revents) accept_all(c);
    for (uint32_t i = 0; i < STRANGERS_MAX; i++)
        if (p[2 + i].revents) stranger_read(c, &c->strangers[i]);
    for (uint32_t i = 0; i < c->n_inputs; i++)
        if (ins[i].revents) input_read(c, i);
    for (uint32_t i = 0; i < c->n_outputs; i++)
        if (outs[i].revents) {
            if (c->ahead) output_listen(c, &c->outputs[i]);
            output_flush(c, &c->outputs[i]);
        }
    return p[0].revents != 0;
}

int64_t channels_cut(const struct channels *c)
{
    return c->cut_since;
}
