/* The host
 *
 * The usual way: whatever happens becomes an event; host_feed() is the one door through which
 * events reach the core. It stamps the time, steps, and carries the actions out in order. The
 * timer is armed once a turn, before the loop sleeps.
 *
 * The core is told of the time (EV_TIMER) only after a turn in which no input arrived, so that it
 * declares nobody lost whose words lie in our own receive buffers. Peers that never stop talking
 * can put this off for a few turns only.
 *
 * What can go wrong, and what we do:
 * - the store answers "unknown", does not answer, or is another's now -> the process ends at once,
 *   without a word to any peer: what is durable is found out at the next start
 * - SIGTERM, SIGINT -> the core says Bye and asks to stop; queues are flushed, threads joined
 * - a thread hangs at the end -> it is left alone, and the process ends without it */
#include "daemon/host.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <uv.h>

#include "daemon/filework.h"
#include "daemon/lag.h"
#include "daemon/log.h"
#include "daemon/means.h"
#include "daemon/query.h"
#include "daemon/session.h"
#include "daemon/store_thread.h"
#include "daemon/systemd.h"
#include "daemon/util.h"
#include "daemon/where.h"
#include "proto/frame.h"

#define RIDE_US 2000000u /* an unawaited commit waits at most so long for a flush; */
#define QUIET_US                                                                                   \
    2000000u              /* nor is the database written before it was quiet for so long: longer   \
                             than the period of most jobs, so that many rounds share that work */
#define DRAIN_US 2000000u /* for last words at the end */
#define LANES_WAIT_US 2000000u
#define LANE_ROOTS 16
#define QUIET_TURNS_MAX 16      /* turns with input that EV_TIMER waits at most */
#define CHURN ((size_t)1 << 20) /* bytes that came and went: time to give memory back ... */
#define TRIM_MS 500u            /* ... once nothing large has come for so long */

struct pending {
    struct pending *next;
    struct event event;
};

struct host {
    const struct config *config;
    uv_loop_t loop;
    struct core *core;
    struct actions todo;
    struct tide_store *store;
    struct server *server;
    struct store_thread *commits;
    struct lanes *lanes;
    struct filework files;
    struct queries *queries;
    struct tide_arena arena; /* of the request being answered */
    tide_id store_id;
    uint64_t incarnation, nonce;

    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t hurry; /* keeps the loop from sleeping while EV_TIMER is due */
    uv_poll_t timer;
    uv_timer_t trim;
    uv_async_t ask;
    uv_signal_t signals[3];
    struct watchdog watchdog;
    void (*hangup)(void *user);
    void *hangup_user;
    bool with_signals, loop_made, handles_made, closed;
    int timer_fd;
    uint64_t armed_us; /* what the timer is set to */
    bool due;
    unsigned quiet_turns;
    uint64_t inputs, inputs_seen;

    bool stepping, shutting, stopping, hung, told;
    int exit_code;
    struct pending *pending, *pending_last;
    struct lag lag;
    uint64_t started_wall;
    uint64_t resident, resident_at_ms;
    size_t churned; /* bytes of frames and commits since memory was last given back */
    uint64_t asker; /* the session whose WaitOperation is being fed; 0: none */
    bool unknown;   /* ... and the core does not know the operation */
};

/* The end without a word: what has not been told is found in the store at the next start. */
static _Noreturn void die(const char *why)
{
    log_line(LEVEL_ERROR, "stopping at once: %s", why);
    _exit(1);
}

/* ---- memory */

static void on_trim(uv_timer_t *timer)
{
    struct host *h = timer->data;
    h->churned = 0;
    means_give_memory_back();
}

static void memory_churn(struct host *h, size_t bytes)
{
    h->churned += bytes;
    if (h->churned >= CHURN && bytes >= CHURN / 256 && h->handles_made)
        (void)uv_timer_start(&h->trim, on_trim, TRIM_MS, 0);
}

/* ---- the door */

static void host_stop(struct host *h, int code, const char *why);

static void carry_out_commit(struct host *h, struct action *a)
{
    struct tide_commit *c = a->commit;
    a->commit = NULL;
    if (c->rc) die("out of memory for a commit");
    store_thread_submit(h->commits, c);
}

/* An operation that the core has forgotten may still be in the store: its "not found" is kept
 * back, and the question goes there. */
static bool kept_back(struct host *h, const struct action *a)
{
    if (!h->asker || a->n_sessions != 1 || a->sessions[0] != h->asker) return false;
    if (a->blob->len < TIDE_FRAME_HEADER) return false;
    struct tide_arena arena;
    tide_arena_init(&arena, TIDE_ARENA_MAX);
    const Tide__Response *r = tide_unpack(
        &arena, &tide__response__descriptor,
        (struct tide_bytes){a->blob->data + TIDE_FRAME_HEADER, a->blob->len - TIDE_FRAME_HEADER},
        NULL);
    h->unknown = r && r->result_case == TIDE__RESPONSE__RESULT_ERROR &&
                 r->error->code == TIDE__ERROR_CODE__ERROR_NOT_FOUND;
    tide_arena_release(&arena);
    return h->unknown;
}

static void say(const struct action *a)
{
    struct log_fields about = {
        .job = a->job, .worker = a->worker, .attempt = a->attempt, .round = a->round};
    log_about(a->level, &about, "%s", a->text);
}

static void carry_out(struct host *h, struct action *a)
{
    switch (a->type) {
    case ACT_SEND:
        if (kept_back(h, a)) break;
        memory_churn(h, a->blob->len);
        server_send(h->server, a->sessions, a->n_sessions, a->blob, a->tell, a->tag);
        break;
    case ACT_CLOSE: server_finish(h->server, a->sessions[0], "closed by the coordinator"); break;
    case ACT_COMMIT: carry_out_commit(h, a); break;
    case ACT_FILE: filework_submit(&h->files, a); break;
    case ACT_LOAD: queries_load(h->queries, a->round, a->tag); break;
    case ACT_LOG: say(a); break;
    case ACT_STOP: host_stop(h, a->exit_code, a->text); break;
    }
}

static void step(struct host *h, struct event *ev)
{
    if (h->stopping) return;
    ev->now_us = clock_boot_us();
    ev->wall_us = clock_wall_us();
    lag_begin(&h->lag, ev->now_us);
    core_step(h->core, ev, &h->todo);
    for (size_t i = 0; i < h->todo.n; i++)
        carry_out(h, &h->todo.items[i]);
    actions_clear(&h->todo);
}

/* Carrying out an action may bring about an event (what was sent is with the kernel already): it
 * waits for its turn. Such events carry no bytes and no text. */
static void host_feed(struct host *h, struct event *ev)
{
    if (h->stepping) {
        struct pending *p = must_alloc(sizeof *p);
        p->event = *ev;
        *(h->pending_last ? &h->pending_last->next : &h->pending) = p;
        h->pending_last = p;
        return;
    }
    h->stepping = true;
    step(h, ev);
    while (h->pending) {
        struct pending *p = h->pending;
        h->pending = p->next;
        if (!h->pending) h->pending_last = NULL;
        step(h, &p->event);
        free(p);
    }
    h->stepping = false;
}

/* ---- admins: what the core does not answer */

/* Looked up at most once in a while: who asks for the status all the time gets it cheaply. */
static uint64_t resident_bytes(struct host *h)
{
    uint64_t now = uv_now(&h->loop);
    if (h->resident && now - h->resident_at_ms < 100) return h->resident;
    h->resident = means_resident_bytes();
    h->resident_at_ms = now;
    return h->resident;
}

static void answer_status(struct host *h, uint64_t session, uint64_t id)
{
    static const char version[] = TIDE_VERSION;
    struct lag_answer lag;
    Tide__Status status = TIDE__STATUS__INIT;
    Tide__Response response = TIDE__RESPONSE__INIT;
    core_status(h->core, &h->arena, &status);
    status.version = (ProtobufCBinaryData){sizeof version - 1, (uint8_t *)(uintptr_t)version};
    status.store_id = (ProtobufCBinaryData){16, h->store_id.b};
    status.incarnation = h->incarnation;
    status.started_wall_us = h->started_wall;
    status.connections = server_connections(h->server);
    status.refused += server_refused(h->server);
    status.commits = store_thread_flushes(h->commits);
    status.store_queue = store_thread_waiting(h->commits);
    status.rss_bytes = resident_bytes(h);
    lag_answer(&h->lag, &lag, &status);
    response.result_case = TIDE__RESPONSE__RESULT_STATUS;
    response.status = &status;
    respond(h->server, session, id, &response);
}

static void wait_for_operation(struct host *h, uint64_t session, const Tide__Request *request,
                               struct tide_bytes frame)
{
    h->asker = session;
    h->unknown = false;
    host_feed(h, &(struct event){.type = EV_FRAME, .session = session, .bytes = frame});
    h->asker = 0;
    if (h->unknown) queries_request(h->queries, session, request, frame);
}

static void on_request(struct host *h, uint64_t session, struct tide_bytes frame)
{
    int rc = 0;
    const Tide__Request *request = tide_unpack(&h->arena, &tide__request__descriptor, frame, &rc);
    if (!request || frame.len == 0)
        server_refuse(h->server, session, TIDE__REFUSED_CODE__REFUSED_MALFORMED,
                      rc == TIDE_ETOOBIG ? "a Request that would take more than 4 MiB unpacked"
                                         : "a frame that is not a Request");
    else if (request->call_case == TIDE__REQUEST__CALL_HELLO)
        server_refuse(h->server, session, TIDE__REFUSED_CODE__REFUSED_STATE, "a second Hello");
    else if (request->call_case == TIDE__REQUEST__CALL__NOT_SET)
        server_refuse(h->server, session, TIDE__REFUSED_CODE__REFUSED_UNSUPPORTED,
                      "a Request without a call that this version knows");
    else if (request->id == 0)
        server_refuse(h->server, session, TIDE__REFUSED_CODE__REFUSED_MALFORMED,
                      "a Request without an id: it is at least 1");
    else if (request->call_case == TIDE__REQUEST__CALL_WAIT)
        wait_for_operation(h, session, request, frame);
    else if (core_answers(request->call_case))
        host_feed(h, &(struct event){.type = EV_FRAME, .session = session, .bytes = frame});
    else if (request->call_case == TIDE__REQUEST__CALL_STATUS)
        answer_status(h, session, request->id);
    else
        queries_request(h->queries, session, request, frame);
    tide_arena_reset(&h->arena);
}

/* ---- what the parts tell */

static void on_input(void *user)
{
    struct host *h = user;
    h->inputs++;
}

static void on_open(void *user, uint64_t session, struct peer peer)
{
    struct host *h = user;
    log_line(LEVEL_DEBUG, "session %" PRIu64 " opened by %s", session,
             peer.kind == TIDE__PEER_KIND__PEER_WORKER ? "a worker" : "an admin");
    host_feed(h, &(struct event){.type = EV_OPEN, .session = session, .peer = peer});
}

static void on_frame(void *user, uint64_t session, Tide__PeerKind kind, struct tide_bytes frame)
{
    struct host *h = user;
    struct tide_bytes content;
    if (h->stopping) return;
    if (kind == TIDE__PEER_KIND__PEER_ADMIN)
        on_request(h, session, frame);
    else if (tide_frame_peek(frame, &content) == 1)
        server_refuse(h->server, session, TIDE__REFUSED_CODE__REFUSED_STATE, "a second Hello");
    else
        host_feed(h, &(struct event){.type = EV_FRAME, .session = session, .bytes = frame});
}

static void on_session_closed(void *user, uint64_t session, Tide__PeerKind kind, const char *why)
{
    struct host *h = user;
    log_line(LEVEL_DEBUG, "session %" PRIu64 " closed: %s", session, why);
    if (kind == TIDE__PEER_KIND__PEER_ADMIN && !h->stopping) queries_forget(h->queries, session);
    host_feed(h, &(struct event){.type = EV_CLOSED, .session = session, .text = why});
}

static void on_sent(void *user, uint64_t tag)
{
    host_feed(user, &(struct event){.type = EV_SENT, .tag = tag});
}

static void on_file(void *user, uint64_t tag, int rc, const char *why, struct tide_bytes bytes,
                    const char *place)
{
    host_feed(
        user,
        &(struct event){
            .type = EV_FILE, .tag = tag, .rc = rc, .text = why, .bytes = bytes, .place = place});
}

static void on_loaded(void *user, uint64_t tag, int rc, const char *why, struct tide_bytes image)
{
    host_feed(user, &(struct event){
                        .type = EV_MANIFEST, .tag = tag, .rc = rc, .text = why, .bytes = image});
}

static void on_stored(void *user, struct tide_commit *list)
{
    struct host *h = user;
    for (const struct tide_commit *c = list; c; c = c->next)
        if (c->outcome == TIDE_UNKNOWN || c->fenced) die(c->error);
    while (list) {
        struct tide_commit *c = list;
        list = c->next;
        for (uint32_t i = 0; i < c->n_chunks; i++)
            memory_churn(h, c->chunks[i].len);
        if (c->awaited)
            host_feed(
                h, &(struct event){
                       .type = EV_STORED, .tag = c->tag, .outcome = c->outcome, .text = c->error});
        else if (c->outcome != TIDE_STORED)
            log_line(LEVEL_WARN, "a record that nobody waits for was not stored: %s", c->error);
        tide_commit_free(c);
    }
}

static void on_store_failed(void *user, const char *why)
{
    (void)user;
    die(why);
}

/* ---- time */

static void arm(struct host *h)
{
    uint64_t at = core_deadline(h->core);
    /* An alarm that rings too early only costs a turn; setting it anew each time costs more. */
    if (h->due || at >= h->armed_us) return;
    struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(at / 1000000), .tv_nsec = (long)(at % 1000000) * 1000}};
    if (at == 0) when.it_value.tv_nsec = 1; /* all zero would switch it off */
    if (timerfd_settime(h->timer_fd, TFD_TIMER_ABSTIME, &when, NULL) < 0) die("timerfd_settime");
    h->armed_us = at;
}

static void on_hurry(uv_idle_t *idle)
{
    (void)idle;
}

static void on_alarm(uv_poll_t *poll, int status, int events)
{
    struct host *h = poll->data;
    uint64_t times;
    (void)events;
    if (status < 0 || read(h->timer_fd, &times, sizeof times) != (ssize_t)sizeof times) return;
    h->armed_us = UINT64_MAX;
    h->due = true;
    h->quiet_turns = 0;
    h->inputs_seen = UINT64_MAX; /* the turn that we are in does not count */
    (void)uv_idle_start(&h->hurry, on_hurry);
}

/* After the loop has asked for input. */
static void on_check(uv_check_t *check)
{
    struct host *h = check->data;
    if (!h->due) return;
    bool quiet = h->inputs == h->inputs_seen;
    h->inputs_seen = h->inputs;
    if (!quiet && h->quiet_turns++ < QUIET_TURNS_MAX) return;
    h->due = false;
    (void)uv_idle_stop(&h->hurry);
    uint64_t at = core_deadline(h->core);
    if (at > clock_boot_us()) return;
    lag_begin(&h->lag, at);
    host_feed(h, &(struct event){.type = EV_TIMER});
}

/* Before the loop sleeps. */
static void on_prepare(uv_prepare_t *prepare)
{
    struct host *h = prepare->data;
    if (h->lag.since_us) lag_end(&h->lag, clock_boot_us());
    if (!h->stopping) arm(h);
}

/* ---- the end */

static void shut_down(struct host *h, const char *why)
{
    if (h->shutting || h->stopping) return;
    h->shutting = true;
    log_line(LEVEL_INFO, "%s: stopping in good order", why);
    systemd_notify("STOPPING=1\nSTATUS=Stopping");
    server_stop_listening(h->server);
    host_feed(h, &(struct event){.type = EV_SHUTDOWN});
}

static const int signal_numbers[] = {SIGTERM, SIGINT, SIGHUP};

static void on_signal(uv_signal_t *handle, int number)
{
    struct host *h = handle->data;
    if (number != SIGHUP)
        shut_down(h, number == SIGINT ? "SIGINT" : "SIGTERM");
    else if (h->hangup && !h->shutting && !h->stopping)
        h->hangup(h->hangup_user);
}

void host_on_hangup(struct host *h, void (*hangup)(void *user), void *user)
{
    h->hangup = hangup;
    h->hangup_user = user;
}

/* A loop that turns proves nothing about the store's thread; past the limit it is to be missed. */
static bool store_answers(void *user)
{
    struct host *h = user;
    return !h->commits || store_thread_busy_us(h->commits) < h->config->store_timeout;
}

static void on_ask(uv_async_t *handle)
{
    shut_down(handle->data, "asked to stop");
}

void host_ask_stop(struct host *h)
{
    (void)uv_async_send(&h->ask);
}

/* Ends everything that runs; the loop then runs out of handles. */
static void close_all(struct host *h)
{
    if (h->closed) return;
    h->closed = true;
    h->stopping = true;
    if (h->commits) store_thread_let_go(h->commits);
    if (h->queries && !queries_stop(h->queries)) h->hung = true;
    if (!lanes_close(h->lanes, LANES_WAIT_US)) h->hung = true;
    if (!store_thread_stop(h->commits)) h->hung = true;
    server_close(h->server);
    h->server = NULL;
    h->commits = NULL;
    h->lanes = NULL;
    if (!h->handles_made) return;
    uv_close((uv_handle_t *)&h->prepare, NULL);
    uv_close((uv_handle_t *)&h->check, NULL);
    uv_close((uv_handle_t *)&h->hurry, NULL);
    uv_close((uv_handle_t *)&h->timer, NULL);
    uv_close((uv_handle_t *)&h->trim, NULL);
    uv_close((uv_handle_t *)&h->ask, NULL);
    watchdog_close(&h->watchdog);
    for (size_t i = 0; h->with_signals && i < 3; i++)
        uv_close((uv_handle_t *)&h->signals[i], NULL);
    if (!h->with_signals) return;
    /* libuv puts their default actions back: the store is still to be closed in good order. */
    (void)signal(SIGHUP, SIG_IGN);
    (void)signal(SIGTERM, SIG_IGN);
    (void)signal(SIGINT, SIG_IGN);
}

static void on_drained(void *user)
{
    close_all(user);
}

/* ACT_STOP. With code 0 last words go out first; any other code is a stop without a word. */
static void host_stop(struct host *h, int code, const char *why)
{
    if (h->stopping) return;
    if (code) {
        log_line(LEVEL_ERROR, "stopping at once: %s", why ? why : "the coordinator asks for it");
        _exit(code);
    }
    h->stopping = true;
    h->exit_code = code;
    if (why && *why) log_line(LEVEL_INFO, "stopping: %s", why);
    server_drain(h->server, DRAIN_US);
}

/* ---- the start */

static int __attribute__((format(printf, 3, 4)))
fail(int rc, char why[static CONFIG_WHY], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why, CONFIG_WHY, format, args);
    va_end(args);
    return rc;
}

static int open_store(struct host *h, struct tide_catalog **ret, char why[static CONFIG_WHY])
{
    struct tide_store_options o = {
        .directory = h->config->data, .now_wall = clock_wall_us(), .journal = h->config->journal};
    char text[512] = "";
    if (getrandom(&o.nonce, sizeof o.nonce, 0) != (ssize_t)sizeof o.nonce ||
        getrandom(o.new_store_id, sizeof o.new_store_id, 0) != (ssize_t)sizeof o.new_store_id)
        return fail(TIDE_EIO, why, "no random numbers from the system: %s", strerror(errno));
    int rc = tide_store_open(&o, &h->store, text);
    if (rc == 0 && *tide_store_note(h->store))
        log_line(LEVEL_WARN, "%s", tide_store_note(h->store));
    if (rc == 0) rc = tide_store_load(h->store, ret, text);
    if (rc) return fail(rc, why, "%s", *text ? text : tide_strerror(rc));
    rc = core_check_catalog(*ret, text);
    if (rc)
        return fail(rc, why,
                    "%s/tidemark.db: is damaged: %s; restore it from a backup, or move it away to "
                    "start with an empty store",
                    h->config->data, text);
    h->store_id = (*ret)->store_id;
    h->incarnation = (*ret)->incarnation;
    h->nonce = (*ret)->nonce;
    return 0;
}

static void commit_list(void *store, struct tide_commit *list)
{
    tide_store_commit(store, list);
}

static int settle_store(void *store)
{
    return tide_store_settle(store);
}

static int settle_for_reader(void *user)
{
    return store_thread_settle(((struct host *)user)->commits);
}

static int maintain_store(void *store)
{
    return tide_store_maintain(store);
}

static struct server_options server_options(struct host *h)
{
    const struct config *c = h->config;
    return (struct server_options){.loop = &h->loop,
                                   .connections = (uint32_t)c->connections,
                                   .output_queue = c->output_queue,
                                   .input_memory = c->input_memory,
                                   .hello_timeout_us = c->hello_timeout,
                                   .idle_timeout_us = c->idle_timeout};
}

static int open_server(struct host *h, char why[static CONFIG_WHY])
{
    const struct config *c = h->config;
    struct server_options o = server_options(h);
    struct server_events events = {.user = h,
                                   .input = on_input,
                                   .open = on_open,
                                   .frame = on_frame,
                                   .closed = on_session_closed,
                                   .sent = on_sent,
                                   .drained = on_drained};
    int rc = server_open(&o, &events, (const struct sockaddr *)&c->address, &h->server);
    if (rc == 0) return 0;
    return fail(TIDE_EIO, why, "[daemon] listen: %s: %s", c->listen, uv_strerror(rc));
}

static int open_parts(struct host *h, char why[static CONFIG_WHY])
{
    const struct config *c = h->config;
    struct store_thread_options s = {
        .loop = &h->loop,
        .store = h->store,
        .commit = commit_list,
        .settle = settle_store,
        .maintain = maintain_store,
        .ride_us = c->store_timeout / 2 < RIDE_US ? c->store_timeout / 2 : RIDE_US,
        .timeout_us = c->store_timeout,
        .quiet_us = QUIET_US,
        .user = h,
        .done = on_stored,
        .failed = on_store_failed};
    struct lanes_options l = {.loop = &h->loop,
                              .threads = (unsigned)c->lanes,
                              .queue = (unsigned)c->lane_queue,
                              .roots = LANE_ROOTS};
    h->commits = store_thread_start(&s);
    h->lanes = lanes_open(&l);
    h->files = (struct filework){.lanes = h->lanes,
                                 .state_root = c->state,
                                 .savepoint_root = c->savepoints,
                                 .timeout_us = c->file_timeout,
                                 .inspect_us = c->inspect_timeout,
                                 .user = h,
                                 .done = on_file};
    struct queries_options q = {.loop = &h->loop,
                                .config = c,
                                .server = h->server,
                                .lanes = h->lanes,
                                .user = h,
                                .settle = settle_for_reader,
                                .loaded = on_loaded};
    char text[512] = "";
    int rc = queries_open(&q, &h->queries, text);
    return rc ? fail(rc, why, "%s", *text ? text : tide_strerror(rc)) : 0;
}

static void open_core(struct host *h, const struct tide_catalog *catalog)
{
    const struct config *c = h->config;
    uint64_t seed = h->nonce ^ clock_boot_us();
    struct core_config o = {.state_root = c->state,
                            .savepoint_root = c->savepoints,
                            .store_timeout_us = c->store_timeout,
                            .jobs_max = (uint32_t)c->jobs,
                            .workers_max = (uint32_t)c->workers,
                            .join_memory = c->input_memory,
                            .software = "tidemarkd " TIDE_VERSION};
    h->core = core_new(&o, catalog, seed);
}

static int open_handles(struct host *h, char why[static CONFIG_WHY])
{
    h->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (h->timer_fd < 0)
        return fail(TIDE_EIO, why, "no timer from the system: %s", strerror(errno));
    h->prepare.data = h->check.data = h->hurry.data = h->timer.data = h->trim.data = h->ask.data =
        h;
    if (uv_prepare_init(&h->loop, &h->prepare) || uv_check_init(&h->loop, &h->check) ||
        uv_idle_init(&h->loop, &h->hurry) || uv_poll_init(&h->loop, &h->timer, h->timer_fd) ||
        uv_timer_init(&h->loop, &h->trim) || uv_async_init(&h->loop, &h->ask, on_ask) ||
        uv_prepare_start(&h->prepare, on_prepare) || uv_check_start(&h->check, on_check) ||
        uv_poll_start(&h->timer, UV_READABLE, on_alarm))
        die("the event loop could not be set up");
    for (size_t i = 0; h->with_signals && i < 3; i++) {
        h->signals[i].data = h;
        if (uv_signal_init(&h->loop, &h->signals[i]) ||
            uv_signal_start(&h->signals[i], on_signal, signal_numbers[i]))
            die("the event loop could not be set up");
    }
    watchdog_open(&h->watchdog, &h->loop, store_answers, h);
    h->handles_made = true;
    h->armed_us = UINT64_MAX;
    return 0;
}

static void welcome_with_secret(struct host *h)
{
    struct hello_config hello = {.store_id = h->store_id,
                                 .incarnation = h->incarnation,
                                 .nonce = h->nonce,
                                 .secret = {h->config->secret, h->config->secret_len}};
    server_welcome_with(h->server, &hello);
}

void host_apply(struct host *h)
{
    struct server_options o = server_options(h);
    means_raise_descriptors(h->config);
    server_limits(h->server, &o);
    welcome_with_secret(h);
    core_limits(h->core, (uint32_t)h->config->jobs, (uint32_t)h->config->workers,
                h->config->input_memory);
}

/* Everything is there: the core hears of its start, then peers may come. */
static int start_core(struct host *h, const struct tide_catalog *catalog,
                      char why[static CONFIG_WHY])
{
    const struct config *c = h->config;
    welcome_with_secret(h);
    open_core(h, catalog);
    host_feed(h, &(struct event){.type = EV_START});
    int code = server_listen(h->server);
    if (code) return fail(TIDE_EIO, why, "[daemon] listen: %s: %s", c->listen, uv_strerror(code));
    h->told = true;
    int rc = where_tell(c, server_port(h->server), why);
    if (rc) return rc;
    log_line(LEVEL_INFO,
             "tidemarkd " TIDE_VERSION " ready: port %u, data %s, incarnation %" PRIu64 ", %" PRIu32
             " jobs",
             (unsigned)server_port(h->server), c->data, h->incarnation, catalog->n_jobs);
    return 0;
}

static int begin(struct host *h, char why[static CONFIG_WHY])
{
    const struct config *c = h->config;
    struct tide_catalog *catalog = NULL;
    int rc = means_directory(c->data, "data", why);
    if (rc == 0) rc = open_server(h, why); /* a port in use is told before anything is changed */
    if (rc == 0) rc = open_store(h, &catalog, why);
    if (rc == 0) {
        where_untell(c); /* of a daemon that was killed */
        rc = means_directory(c->state, "state", why);
    }
    if (rc == 0) rc = means_directory(c->savepoints, "savepoints", why);
    if (rc == 0) rc = open_handles(h, why);
    if (rc == 0) rc = open_parts(h, why);
    if (rc == 0 && catalog) rc = start_core(h, catalog, why);
    tide_catalog_free(catalog);
    return rc;
}

int host_open(const struct config *config, bool signals, struct host **ret,
              char why[static CONFIG_WHY])
{
    means_raise_descriptors(config);
    int rc = means_enough_descriptors(why);
    if (rc) return rc;
    means_keep_memory();
    struct host *h = must_alloc(sizeof *h);
    h->config = config;
    h->with_signals = signals;
    h->timer_fd = -1;
    h->started_wall = clock_wall_us();
    actions_init(&h->todo);
    tide_arena_init(&h->arena, TIDE_ARENA_MAX);
    (void)signal(SIGPIPE, SIG_IGN);
    if (signals) (void)signal(SIGHUP, SIG_IGN); /* until the loop takes it */
    if (uv_loop_init(&h->loop)) die("the event loop could not be set up");
    h->loop_made = true;
    rc = begin(h, why);
    if (rc) {
        close_all(h);
        (void)uv_run(&h->loop, UV_RUN_DEFAULT);
        (void)host_close(h);
        return rc;
    }
    *ret = h;
    return 0;
}

uint16_t host_port(const struct host *h)
{
    return server_port(h->server);
}

int host_run(struct host *h)
{
    (void)uv_run(&h->loop, UV_RUN_DEFAULT);
    return h->exit_code;
}

bool host_close(struct host *h)
{
    if (!h) return true;
    if (h->told) where_untell(h->config);
    if (h->hung) return false;
    queries_free(h->queries);
    if (h->core) core_free(h->core);
    actions_release(&h->todo);
    tide_arena_release(&h->arena);
    tide_store_close(h->store);
    if (h->timer_fd >= 0) (void)close(h->timer_fd);
    bool clean = uv_loop_close(&h->loop) == 0;
    free(h);
    return clean;
}
