/* The core behind its sessions: any frames from any of three workers and an admin, in any order,
 * with time passing and connections cut. The store and the file lanes answer at once.
 *
 * Input: steps of an opcode byte, a length of two bytes and that many bytes of a frame's body. */
#include <stdlib.h>
#include <string.h>

#include "daemon/core/core.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SESSIONS = 4, STEPS_MAX = 256, ANSWERS_MAX = 1024 };

struct host {
    struct core *core;
    struct actions todo;
    uint64_t now, session[SESSIONS], next_session;
    struct event answers[ANSWERS_MAX]; /* a ring of those that wait */
    size_t first, end;
    bool stopped;
};

static void answer(struct host *h, struct event ev)
{
    if (h->end - h->first == ANSWERS_MAX) abort();
    h->answers[h->end++ % ANSWERS_MAX] = ev;
}

static void commit(struct host *h, struct action *a)
{
    struct tide_commit *c = a->commit;
    a->commit = NULL;
    if (c->rc) abort();
    if (c->awaited)
        answer(h, (struct event){.type = EV_STORED, .tag = c->tag, .outcome = TIDE_STORED});
    tide_commit_free(c);
}

static void carry_out(struct host *h, struct action *a)
{
    switch (a->type) {
    case ACT_COMMIT: commit(h, a); break;
    case ACT_FILE:
        free(a->image);
        a->image = NULL;
        answer(h, (struct event){.type = EV_FILE, .tag = a->tag});
        break;
    case ACT_LOAD:
        answer(h,
               (struct event){.type = EV_MANIFEST, .tag = a->tag, .rc = TIDE_EIO, .text = "none"});
        break;
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
    step(h, (struct event){.type = EV_OPEN,
                           .session = h->session[i],
                           .kind = i == 3 ? TIDE__PEER_KIND__PEER_ADMIN
                                          : TIDE__PEER_KIND__PEER_WORKER});
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
    h = (struct host){.now = 1000000};
    actions_init(&h.todo);
    h.core = core_new(&config, &catalog, 1);
    step(&h, (struct event){.type = EV_START});
    size_t at = 0;
    for (int n = 0; n < STEPS_MAX && size - at >= 3 && !h.stopped; n++) {
        int op = data[at] & 7, who = data[at] >> 3 & 3;
        size_t len = data[at + 1] | (size_t)data[at + 2] << 8;
        at += 3;
        if (len > size - at) len = size - at;
        if (op == 7) {
            pass_time(&h, (uint64_t)(len + 1) * 10000);
        } else if (op == 6 && h.session[who]) {
            uint64_t gone = h.session[who];
            h.session[who] = 0;
            step(&h, (struct event){.type = EV_CLOSED, .session = gone, .text = "cut"});
        } else {
            if (!h.session[who]) open_session(&h, who);
            step(&h, (struct event){
                         .type = EV_FRAME, .session = h.session[who], .bytes = {data + at, len}});
        }
        at += len;
        if (!h.stopped && core_check(h.core)) abort();
    }
    core_free(h.core);
    actions_release(&h.todo);
    return 0;
}
