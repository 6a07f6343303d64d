/* The core behind its sessions: any frames from any of three workers and an admin, in any order,
 * with time passing and connections cut. The store and the file lanes answer at once, and fail when
 * they are told to.
 *
 * Input: steps of a byte (opcode, who), a length of two bytes and that many bytes:
 *   0-3  a frame's body                       4  the next commit (even who) or file (odd) fails;
 *                                                with bytes: they lie in every directory that is
 * read 5    a Join, which becomes a Part with the right digest; a token without a job gets what the
 *        worker would have been given: without these, nothing behind them is seen
 *   6    the connection is cut                7  10 ms pass for each byte of the length, and one */
#include <stdlib.h>
#include <string.h>

#include "daemon/core/core.h"
#include "proto/frame.h"
#include "proto/worker.pb-c.h"
#include "storage/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SESSIONS = 4, STEPS_MAX = 256, ANSWERS_MAX = 1024 };

struct host {
    struct core *core;
    struct actions todo;
    uint64_t now, session[SESSIONS], next_session;
    struct event answers[ANSWERS_MAX]; /* a ring of those that wait */
    size_t first, end;
    struct tide_buf image; /* the manifest of `round`, the newest snapshot */
    uint64_t round;
    struct tide_bytes elsewhere;
    tide_id job; /* the newest, with its newest attempt */
    uint64_t attempt, external;
    enum tide_outcome outcome; /* of the next commit; of those after it: stored */
    int file_rc;               /* of the next file; of those after it: 0 */
    bool stopped;
};

static void answer(struct host *h, struct event ev)
{
    if (h->end - h->first == ANSWERS_MAX) abort();
    h->answers[h->end++ % ANSWERS_MAX] = ev;
}

static void keep(struct host *h, const struct tide_commit *c)
{
    for (const struct tide_record *r = c->first; r; r = r->next) {
        if (r->type == TIDE_REC_SNAPSHOT) {
            tide_buf_clear(&h->image);
            tide_manifest_put(&h->image, r->snapshot.head, r->snapshot.chunks,
                              r->snapshot.n_chunks);
            h->round = r->snapshot.round;
        } else if (r->type == TIDE_REC_ATTEMPT) {
            h->job = r->job;
            h->attempt = r->attempt.attempt;
            h->external = r->attempt.external;
        }
    }
}

static void commit(struct host *h, struct action *a)
{
    struct tide_commit *c = a->commit;
    a->commit = NULL;
    if (c->rc) abort();
    if (h->outcome == TIDE_STORED || !c->awaited) keep(h, c);
    if (c->awaited) {
        answer(h, (struct event){
                      .type = EV_STORED, .tag = c->tag, .outcome = h->outcome, .text = "told to"});
        h->outcome = TIDE_STORED;
    }
    tide_commit_free(c);
}

static void load(struct host *h, const struct action *a)
{
    struct event ev = {.type = EV_MANIFEST, .tag = a->tag, .rc = TIDE_EIO, .text = "none"};
    if (a->round == h->round) {
        ev.rc = 0;
        ev.bytes = (struct tide_bytes){h->image.data, h->image.len};
    }
    answer(h, ev);
}

/* What lies in a directory that is read: what the input said last, or the newest snapshot. */
static struct tide_bytes read_elsewhere(const struct host *h)
{
    if (h->elsewhere.len) return h->elsewhere;
    return (struct tide_bytes){h->image.data, h->image.len};
}

static void carry_out(struct host *h, struct action *a)
{
    switch (a->type) {
    case ACT_COMMIT: commit(h, a); break;
    case ACT_FILE:
        free(a->image);
        a->image = NULL;
        answer(h, (struct event){.type = EV_FILE,
                                 .tag = a->tag,
                                 .rc = h->file_rc,
                                 .text = "told to",
                                 .bytes = h->file_rc || a->op != FILE_META_READ
                                              ? (struct tide_bytes){0}
                                              : read_elsewhere(h)});
        h->file_rc = 0;
        break;
    case ACT_LOAD: load(h, a); break;
    case ACT_SEND:
        if (a->tell) answer(h, (struct event){.type = EV_SENT, .tag = a->tag});
        break;
    case ACT_CLOSE:
        for (int i = 0; i < SESSIONS; i++)
            if (h->session[i] == a->sessions[0]) {
                h->session[i] = 0;
                answer(h, (struct event){
                              .type = EV_CLOSED, .session = a->sessions[0], .text = "closed"});
                break;
            }
        break;
    case ACT_STOP: h->stopped = true; break;
    case ACT_LOG: break;
    }
}

static void one_step(struct host *h, struct event ev)
{
    ev.now_us = h->now;
    ev.wall_us = h->now + UINT64_C(1600000000000000);
    core_step(h->core, &ev, &h->todo);
    for (size_t i = 0; i < h->todo.n && !h->stopped; i++)
        carry_out(h, &h->todo.items[i]);
    actions_clear(&h->todo);
}

/* One event, and then the answers to what it asks for. */
static void step(struct host *h, struct event ev)
{
    if (!h->stopped) one_step(h, ev);
    while (h->first < h->end && !h->stopped)
        one_step(h, h->answers[h->first++ % ANSWERS_MAX]);
}

static void open_session(struct host *h, int i)
{
    h->session[i] = ++h->next_session;
    step(h, (struct event){
                .type = EV_OPEN,
                .session = h->session[i],
                .peer = {i == 3 ? TIDE__PEER_KIND__PEER_ADMIN : TIDE__PEER_KIND__PEER_WORKER,
                         TIDE_PROTOCOL_MAX}});
}

/* In steps, so that the core does not take it for a machine that slept. */
static void pass_time(struct host *h, uint64_t us)
{
    for (uint64_t end = h->now + us; h->now < end && !h->stopped;) {
        uint64_t due = core_deadline(h->core);
        h->now = due > h->now && due < end ? due : due <= h->now ? h->now + 1000 : end;
        if (core_deadline(h->core) <= h->now) step(h, (struct event){.type = EV_TIMER});
    }
}

static void feed(struct host *h, int who, struct tide_bytes frame)
{
    if (!h->session[who]) open_session(h, who);
    step(h, (struct event){.type = EV_FRAME, .session = h->session[who], .bytes = frame});
}

/* The token that the daemon has told, in a Join that has none of its own. */
static bool with_token(struct host *h, struct tide_bytes message, struct tide_buf *ret)
{
    static uint8_t store_id[16];
    struct tide_arena arena;
    uint8_t *packed = NULL;
    tide_arena_init(&arena, TIDE_ARENA_MAX);
    Tide__Join *m = tide_unpack(&arena, &tide__join__descriptor, message, NULL);
    if (m && m->token && m->token->job_id.len == 0) {
        m->token->store_id = (ProtobufCBinaryData){16, store_id};
        m->token->job_id = (ProtobufCBinaryData){16, h->job.b};
        m->token->incarnation = 1000;
        m->token->nonce = 7;
        m->token->external = h->external;
        if (!m->token->attempt) m->token->attempt = h->attempt;
        packed = malloc(tide__join__get_packed_size(m));
        if (!packed) abort();
        tide_buf_put(ret, packed, tide__join__pack(m, packed));
        free(packed);
    }
    tide_arena_release(&arena);
    return packed != NULL;
}

static void join(struct host *h, int who, struct tide_bytes message)
{
    struct tide_buf frames, whole;
    tide_buf_init(&frames, TIDE_FRAME_MAX);
    tide_buf_init(&whole, TIDE_FRAME_MAX);
    if (with_token(h, message, &whole)) message = (struct tide_bytes){whole.data, whole.len};
    tide_parts_put(&frames, TIDE_PART_JOIN, message);
    tide_buf_release(&whole);
    for (size_t at = 0; at + TIDE_FRAME_HEADER <= frames.len && !h->stopped;) {
        size_t len = tide_get_u32(frames.data + at);
        at += TIDE_FRAME_HEADER;
        feed(h, who, (struct tide_bytes){frames.data + at, len});
        at += len;
    }
    tide_buf_release(&frames);
}

static void fail_next(struct host *h, int who)
{
    if (who == 0) h->outcome = TIDE_NO_SPACE;
    if (who == 1) h->file_rc = TIDE_ENOSPC;
    if (who == 2) h->outcome = TIDE_REFUSED;
    if (who == 3) h->file_rc = TIDE_EIO;
}

static void cut(struct host *h, int who)
{
    uint64_t gone = h->session[who];
    h->session[who] = 0;
    if (gone) step(h, (struct event){.type = EV_CLOSED, .session = gone, .text = "cut"});
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct core_config config = {.state_root = "/state",
                                       .savepoint_root = "/savepoints",
                                       .store_timeout_us = 30000000,
                                       .jobs_max = 4,
                                       .workers_max = 8,
                                       .software = "fuzz"};
    struct tide_catalog_incarnation incarnation = {1000, 7};
    struct tide_catalog catalog = {.incarnation = 1000,
                                   .nonce = 7,
                                   .reserved = 1000,
                                   .incarnations = &incarnation,
                                   .n_incarnations = 1};
    static struct host h;
    h = (struct host){.now = 1000000, .outcome = TIDE_STORED};
    tide_buf_init(&h.image, (size_t)1 << 30);
    actions_init(&h.todo);
    h.core = core_new(&config, &catalog, 1);
    step(&h, (struct event){.type = EV_START});
    size_t at = 0;
    for (int n = 0; n < STEPS_MAX && size - at >= 3 && !h.stopped; n++) {
        int op = data[at] & 7, who = data[at] >> 3 & 3;
        size_t len = data[at + 1] | (size_t)data[at + 2] << 8;
        at += 3;
        if (len > size - at) len = size - at;
        struct tide_bytes body = {data + at, len};
        switch (op) {
        case 4:
            if (len)
                h.elsewhere = body;
            else
                fail_next(&h, who);
            break;
        case 5: join(&h, who, body); break;
        case 6: cut(&h, who); break;
        case 7: pass_time(&h, (uint64_t)(len + 1) * 10000); break;
        default: feed(&h, who, body);
        }
        at += len;
        if (!h.stopped && core_check(h.core)) abort();
    }
    core_free(h.core);
    tide_buf_release(&h.image);
    actions_release(&h.todo);
    return 0;
}
