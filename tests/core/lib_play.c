/* See lib_play.h. */
#include "tests/core/lib_play.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "storage/manifest.h"

static void say(struct play *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct play *p, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(p->trace + p->traced, sizeof p->trace - p->traced, format, args);
    va_end(args);
    ck_assert(n >= 0 && (size_t)n < sizeof p->trace - p->traced);
    p->traced += (size_t)n;
}

static void push(uint64_t *list, size_t *n, uint64_t tag)
{
    ck_assert(*n < 64);
    list[(*n)++] = tag;
}

static uint64_t shift(uint64_t *list, size_t *n)
{
    ck_assert_msg(*n > 0, "nothing of the kind was asked");
    uint64_t tag = list[0];
    memmove(list, list + 1, --*n * sizeof *list);
    return tag;
}

static int text_len(ProtobufCBinaryData b)
{
    return (int)b.len;
}

static void say_part(struct play *p, const Tide__External *e)
{
    say(p, "%s%.*s", e->kind == TIDE__EXTERNAL_KIND__EXTERNAL_COORDINATOR ? "@" : "",
        text_len(e->name), (char *)e->name.data);
}

static void say_ask(struct play *p, const Tide__AskExternal *m)
{
    bool asks = m->phase == TIDE__EXTERNAL_PHASE__EXTERNAL_SNAPSHOT;
    if (asks) p->round = m->round;
    say(p, asks ? "ask " : "acked ");
    say_part(p, m->external);
    say(p, " %" PRIu64, m->round);
    for (size_t i = 0; i < m->n_tasks; i++)
        say(p, " %u+%u", m->tasks[i]->first, m->tasks[i]->count);
}

static void say_to_worker(struct play *p, const Tide__ToWorker *m)
{
    switch (m->msg_case) {
    case TIDE__TO_WORKER__MSG_REFUSED:
        say(p, "refused: %.*s", text_len(m->refused->reason), (char *)m->refused->reason.data);
        break;
    case TIDE__TO_WORKER__MSG_JOINED: say(p, "joined"); break;
    case TIDE__TO_WORKER__MSG_PARKED:
        say(p, "parked behind %.*s", text_len(m->parked->worker), (char *)m->parked->worker.data);
        break;
    case TIDE__TO_WORKER__MSG_ALIVE: say(p, "alive"); break;
    case TIDE__TO_WORKER__MSG_START: {
        Tide__Start *s = tide__start__unpack(NULL, m->start->data.len, m->start->data.data);
        ck_assert_ptr_nonnull(s);
        p->attempt = s->token->attempt;
        p->incarnation = s->token->incarnation;
        p->nonce = s->token->nonce;
        memcpy(p->job_id, s->token->job_id.data, sizeof p->job_id);
        size_t owed = 0;
        for (size_t i = 0; i < s->n_tasks; i++)
            owed += s->tasks[i]->n_owed;
        say(p,
            "start attempt %" PRIu64 " from %" PRIu64
            ", %zu tasks with state or owed, %zu owed, %zu ended%s",
            p->attempt, s->snapshot, s->n_tasks, owed, s->n_ended,
            s->deliver_only ? ", deliver only" : "");
        for (size_t i = 0; i < s->n_externals; i++) {
            say(p, ", ");
            say_part(p, s->externals[i]->external);
            say(p, "=%.*s", text_len(s->externals[i]->data), (char *)s->externals[i]->data.data);
        }
        tide__start__free_unpacked(s, NULL);
        break;
    }
    case TIDE__TO_WORKER__MSG_RUN: say(p, "run"); break;
    case TIDE__TO_WORKER__MSG_RESUMED:
        say(p, "resumed attempt %" PRIu64, m->resumed->attempt);
        break;
    case TIDE__TO_WORKER__MSG_TRIGGER:
        p->round = m->trigger->round;
        say(p, "trigger %s %" PRIu64 "%s%s",
            m->trigger->kind == TIDE__ROUND_KIND__ROUND_SAVEPOINT ? "savepoint" : "checkpoint",
            p->round,
            m->trigger->stop == TIDE__STOP_MODE__STOP_SUSPEND ? ", suspend"
            : m->trigger->stop == TIDE__STOP_MODE__STOP_DRAIN ? ", drain"
                                                              : "",
            m->trigger->full ? ", full" : "");
        break;
    case TIDE__TO_WORKER__MSG_PREPARE:
        p->round = m->prepare->round;
        say(p, "prepare %s %" PRIu64 " window %u",
            m->prepare->kind == TIDE__ROUND_KIND__ROUND_SAVEPOINT ? "savepoint" : "checkpoint",
            p->round, m->prepare->window);
        break;
    case TIDE__TO_WORKER__MSG_CUT:
        say(p, "cut %" PRIu64 " at %" PRIu64, m->cut->round, m->cut->position);
        break;
    case TIDE__TO_WORKER__MSG_SNAPSHOT_NOW:
        say(p, "snapshot now %" PRIu64, m->snapshot_now->round);
        break;
    case TIDE__TO_WORKER__MSG_COMPLETE:
        p->subsumed = m->complete->subsumed;
        say(p, "complete %" PRIu64 "%s%s", m->complete->round,
            m->complete->commits ? "" : ", commits nothing",
            m->complete->n_ended ? ", some ended" : "");
        break;
    case TIDE__TO_WORKER__MSG_ABORT:
        say(p, "abort %" PRIu64 " code %d", m->abort->round, (int)m->abort->code);
        break;
    case TIDE__TO_WORKER__MSG_REWIND: say(p, "rewind attempt %" PRIu64, m->rewind->attempt); break;
    case TIDE__TO_WORKER__MSG_FENCED:
        say(p, "fenced: %.*s", text_len(m->fenced->reason), (char *)m->fenced->reason.data);
        break;
    case TIDE__TO_WORKER__MSG_BYE: say(p, "bye"); break;
    case TIDE__TO_WORKER__MSG_ASK_EXTERNAL: say_ask(p, m->ask_external); break;
    case TIDE__TO_WORKER__MSG_STOP:
        say(p, "stop %.*s", text_len(m->stop->outcome), (char *)m->stop->outcome.data);
        break;
    case TIDE__TO_WORKER__MSG_TURN_UNALIGNED:
        say(p, "turn %" PRIu64 " unaligned", m->turn_unaligned->round);
        break;
    default: say(p, "message %d", (int)m->msg_case);
    }
}

static void say_response(struct play *p, const Tide__Response *m)
{
    switch (m->result_case) {
    case TIDE__RESPONSE__RESULT_ERROR:
        say(p, "error %d: %.*s", (int)m->error->code, text_len(m->error->text),
            (char *)m->error->text.data);
        break;
    case TIDE__RESPONSE__RESULT_OPERATION:
        p->operation = m->operation->id;
        say(p, "operation %.*s %.*s", text_len(m->operation->kind), (char *)m->operation->kind.data,
            text_len(m->operation->state), (char *)m->operation->state.data);
        if (m->operation->error.len)
            say(p, ": %.*s", text_len(m->operation->error), (char *)m->operation->error.data);
        if (m->operation->snapshot_good)
            say(p, ", snapshot %" PRIu64 " good", m->operation->snapshot);
        for (size_t i = 0; i < m->operation->n_report; i++)
            say(p, "\n  %.*s", text_len(m->operation->report[i]),
                (char *)m->operation->report[i].data);
        break;
    case TIDE__RESPONSE__RESULT_JOBS: say(p, "%zu jobs", m->jobs->n_jobs); break;
    case TIDE__RESPONSE__RESULT_JOB:
        for (size_t i = 0; i < m->job->n_open; i++)
            for (size_t k = 0; k < m->job->open[i]->n_held_by; k++)
                say(p, "[held by %u, %.*s]", m->job->open[i]->held_by[k]->task,
                    text_len(m->job->open[i]->held_by[k]->phase),
                    (char *)m->job->open[i]->held_by[k]->phase.data);
        say(p, "job %.*s, waits for: %.*s", text_len(m->job->summary->state),
            (char *)m->job->summary->state.data, text_len(m->job->waiting_for),
            (char *)m->job->waiting_for.data);
        break;
    default: say(p, "response %d", (int)m->result_case);
    }
}

static void say_send(struct play *p, const struct action *a)
{
    const uint8_t *at = a->blob->data, *end = at + a->blob->len;
    if (a->tell) push(p->sents, &p->n_sents, a->tag);
    if (a->n_sessions == 0) return;
    while (at < end) {
        size_t len = tide_get_u32(at);
        for (uint32_t i = 0; i < a->n_sessions; i++)
            say(p, "%s%" PRIu64, i ? "," : "to ", a->sessions[i]);
        say(p, ": ");
        if (a->sessions[0] >= 100) { /* admins, by the tests' habit */
            Tide__Response *m = tide__response__unpack(NULL, len, at + 4);
            ck_assert_ptr_nonnull(m);
            say_response(p, m);
            tide__response__free_unpacked(m, NULL);
        } else {
            Tide__ToWorker *m = tide__to_worker__unpack(NULL, len, at + 4);
            ck_assert_ptr_nonnull(m);
            say_to_worker(p, m);
            tide__to_worker__free_unpacked(m, NULL);
        }
        say(p, "\n");
        at += 4 + len;
    }
}

static void keep_reason(struct play *p, const struct tide_record *r)
{
    struct tide_bytes why = r->type == TIDE_REC_ROUND_END && !r->round.complete ? r->round.reason
                            : r->type == TIDE_REC_ATTEMPT_END ? r->attempt_end.reason
                                                              : (struct tide_bytes){0};
    if (why.len)
        snprintf(p->reason, sizeof p->reason, "%.*s", (int)why.len, (const char *)why.data);
}

static void say_commit(struct play *p, struct tide_commit *c)
{
    static const char *const names[] = {"",
                                        "reserve",
                                        "lease",
                                        "job",
                                        "job-state",
                                        "attempt",
                                        "attempt-run",
                                        "attempt-end",
                                        "round-begin",
                                        "round-end",
                                        "round-times",
                                        "swept",
                                        "snapshot",
                                        "snapshot-state",
                                        "owed",
                                        "strike",
                                        "operation",
                                        "audit",
                                        "base"};
    say(p, c->awaited ? "commit:" : "ride:");
    for (const struct tide_record *r = c->first; r; r = r->next) {
        say(p, " %s", names[r->type]);
        keep_reason(p, r);
        if (r->type == TIDE_REC_JOB_STATE) say(p, "=%s", tide_job_state_name(r->job_state.state));
        if (r->type == TIDE_REC_ROUND_END)
            say(p, "=%s", r->round.complete ? "complete" : "aborted");
        if (r->type == TIDE_REC_ROUND_END && !r->round.complete && r->round.n_holders)
            for (uint32_t i = 0; i < r->round.n_holders; i++)
                say(p, "[%.*s.%u %.*s]", (int)r->round.holders[i].uid.len,
                    (const char *)r->round.holders[i].uid.data, r->round.holders[i].subtask,
                    (int)r->round.holders[i].phase.len,
                    (const char *)r->round.holders[i].phase.data);
        if (r->type == TIDE_REC_SNAPSHOT_STATE)
            say(p, "=%s %" PRIu64, tide_snapshot_state_name(r->snapshot_state.state),
                r->snapshot_state.round);
        if (r->type == TIDE_REC_OPERATION)
            say(p, "=%s", tide_operation_state_name(r->operation.state));
        if (r->type == TIDE_REC_BASE) say(p, "=%" PRIu64, r->base.snapshot);
        if (r->type == TIDE_REC_SNAPSHOT && r->snapshot.style == TIDE_RENDEZVOUS) {
            Tide__ManifestHead *head =
                tide__manifest_head__unpack(NULL, r->snapshot.head.len, r->snapshot.head.data);
            ck_assert_ptr_nonnull(head);
            ck_assert_int_eq(head->style, TIDE__ROUND_STYLE__STYLE_RENDEZVOUS);
            say(p, "[of position %" PRIu64 "]", head->position);
            tide__manifest_head__free_unpacked(head, NULL);
        }
        if (r->type == TIDE_REC_SNAPSHOT && r->snapshot.commits) say(p, " with effects");
        if (r->type == TIDE_REC_SNAPSHOT) {
            struct tide_buf image;
            tide_buf_init(&image, 1u << 24);
            tide_manifest_put(&image, r->snapshot.head, r->snapshot.chunks, r->snapshot.n_chunks);
            ck_assert_int_eq(image.rc, 0);
            free(p->image);
            p->image = tide_buf_take(&image, &p->image_len);
        }
    }
    say(p, "\n");
    if (c->awaited) push(p->commits, &p->n_commits, c->tag);
    *p->held_end = c;
    p->held_end = &c->next;
    c->next = NULL;
}

/* The outcome of the oldest that is awaited: those that ride go with it. */
static void shelve(struct play *p, enum tide_outcome outcome)
{
    for (bool last = false; p->held && !last;) {
        struct tide_commit *c = p->held;
        p->held = c->next;
        if (!p->held) p->held_end = &p->held;
        last = c->awaited;
        if (outcome == TIDE_STORED || !last) shelf_apply(&p->shelf, c);
        tide_commit_free(c);
    }
}

static void unhold(struct play *p)
{
    while (p->held) {
        struct tide_commit *c = p->held;
        p->held = c->next;
        tide_commit_free(c);
    }
    p->held_end = &p->held;
}

static void say_actions(struct play *p)
{
    static const char *const ops[] = {"",        "mkdir",  "write-metadata",
                                      "publish", "delete", "delete-attempt"};
    for (size_t i = 0; i < p->todo.n; i++) {
        struct action *a = &p->todo.items[i];
        switch (a->type) {
        case ACT_SEND: say_send(p, a); break;
        case ACT_CLOSE: say(p, "close %" PRIu64 "\n", a->sessions[0]); break;
        case ACT_COMMIT:
            say_commit(p, a->commit);
            a->commit = NULL;
            break;
        case ACT_FILE:
            say(p, "%s %s\n", ops[a->op], strrchr(a->path, '/') + 1);
            push(p->files, &p->n_files, a->tag);
            break;
        case ACT_LOAD:
            say(p, "load %" PRIu64 "\n", a->round);
            p->load_rounds[p->n_loads] = a->round;
            push(p->loads, &p->n_loads, a->tag);
            break;
        case ACT_LOG: break;
        case ACT_STOP:
            say(p, "stop %d: %s\n", a->exit_code, a->text);
            p->stopped = true;
            break;
        }
    }
    actions_clear(&p->todo);
    const char *broken = p->stopped ? NULL : core_check(p->core);
    ck_assert_msg(!broken, "%s", broken ? broken : "");
}

static void step(struct play *p, struct event ev)
{
    ev.now_us = p->now_us;
    ev.wall_us = p->wall_us;
    core_step(p->core, &ev, &p->todo);
    say_actions(p);
}

/* ---- life */

static const struct core_config config = {.state_root = "/state",
                                          .savepoint_root = "/savepoints",
                                          .store_timeout_us = 30000000,
                                          .jobs_max = 100,
                                          .workers_max = 1000,
                                          .join_memory = 3 << 20,
                                          .software = "test"};

void play_start(struct play *p)
{
    memset(p, 0, sizeof *p);
    p->now_us = 1000000000;
    p->wall_us = UINT64_C(1700000000000000);
    p->held_end = &p->held;
    shelf_init(&p->shelf);
    p->shelf.incarnations[p->shelf.n_incarnations++] = (struct tide_catalog_incarnation){1000, 77};
    actions_init(&p->todo);
    p->incarnations[0] = (struct tide_catalog_incarnation){1000, 77};
    p->catalog = (struct tide_catalog){
        .incarnation = 1000, .nonce = 77, .incarnations = p->incarnations, .n_incarnations = 1};
    memset(p->catalog.store_id.b, 5, 16);
    p->core = core_new(&config, &p->catalog, 1);
    step(p, (struct event){.type = EV_START});
    play_stored(p, TIDE_STORED); /* the ids */
    play_forget(p);
}

void play_restart(struct play *p, struct tide_catalog *catalog)
{
    core_free(p->core);
    unhold(p);
    p->n_commits = p->n_files = p->n_loads = p->n_sents = 0;
    p->now_us += 1000000;
    if (catalog->n_jobs) memcpy(p->job_id, catalog->jobs[0].id.b, sizeof p->job_id);
    p->core = core_new(&config, catalog, 2);
    p->stopped = false;
    play_forget(p);
    step(p, (struct event){.type = EV_START});
}

void play_crash(struct play *p)
{
    uint64_t last = p->shelf.incarnations[p->shelf.n_incarnations - 1].number;
    struct tide_catalog catalog = shelf_catalog(&p->shelf, last + 1000, last + 77);
    char why[512];
    ck_assert_int_eq(core_check_catalog(&catalog, why), 0);
    play_restart(p, &catalog);
}

void play_end(struct play *p)
{
    core_free(p->core);
    unhold(p);
    shelf_release(&p->shelf);
    actions_release(&p->todo);
    free(p->image);
}

void play_expect(struct play *p, const char *lines)
{
    ck_assert_str_eq(p->trace, lines);
    play_forget(p);
}

void play_forget(struct play *p)
{
    p->traced = 0;
    p->trace[0] = '\0';
}

void play_open(struct play *p, uint64_t session, Tide__PeerKind kind)
{
    step(p, (struct event){.type = EV_OPEN, .session = session, .peer = {kind, TIDE_PROTOCOL_MAX}});
}

void play_close(struct play *p, uint64_t session)
{
    step(p, (struct event){.type = EV_CLOSED, .session = session, .text = "connection reset"});
}

/* ---- workers */

static void feed(struct play *p, uint64_t session, const struct tide_buf *frames)
{
    struct tide_decoder d;
    struct tide_bytes in = {frames->data, frames->len}, body;
    tide_decoder_init(&d, TIDE_FRAME_MAX);
    ck_assert_int_eq(frames->rc, 0);
    while (tide_decoder_next(&d, &in, &body) == TIDE_FRAME_READY)
        step(p, (struct event){.type = EV_FRAME, .session = session, .bytes = body});
    tide_decoder_release(&d);
}

void play_frame(struct play *p, uint64_t session, const Tide__FromWorker *m)
{
    struct tide_buf out;
    tide_buf_init(&out, TIDE_FRAME_MAX);
    tide_frame_put(&out, &m->base);
    feed(p, session, &out);
    tide_buf_release(&out);
}

ProtobufCBinaryData play_bytes(const char *text)
{
    return (ProtobufCBinaryData){text ? strlen(text) : 0, (uint8_t *)(uintptr_t)text};
}

enum { PARTS = 4, PART_NAME = 16 };
struct parts { /* named by a list in one text */
    char text[PARTS][PART_NAME];
    ProtobufCBinaryData names[PARTS];
    Tide__External items[PARTS], *pointers[PARTS];
    size_t n;
};

static void name_parts(struct parts *to, const char *list)
{
    to->n = 0;
    while (list && *list) {
        size_t len = strcspn(list, " "), i = to->n++;
        ck_assert(len < PART_NAME && i < PARTS);
        bool coordinator = *list == '@';
        memcpy(to->text[i], list + coordinator, len - coordinator);
        to->text[i][len - coordinator] = '\0';
        to->names[i] = play_bytes(to->text[i]);
        tide__external__init(&to->items[i]);
        to->items[i].kind = coordinator ? TIDE__EXTERNAL_KIND__EXTERNAL_COORDINATOR
                                        : TIDE__EXTERNAL_KIND__EXTERNAL_HOOK;
        to->items[i].name = to->names[i];
        to->pointers[i] = &to->items[i];
        list += len + strspn(list + len, " ");
    }
}

void play_external(struct play *p, uint64_t session, const char *part, uint64_t round,
                   const char *data, const char *failed)
{
    struct parts named;
    Tide__ExternalState state = TIDE__EXTERNAL_STATE__INIT;
    Tide__ExternalAnswer m = TIDE__EXTERNAL_ANSWER__INIT;
    Tide__FromWorker message = TIDE__FROM_WORKER__INIT;
    name_parts(&named, part);
    state.external = named.pointers[0];
    state.data = play_bytes(data ? data : "");
    m.attempt = p->attempt;
    m.round = round;
    m.state = &state;
    m.failed = play_bytes(failed ? failed : "");
    message.msg_case = TIDE__FROM_WORKER__MSG_EXTERNAL;
    message.external = &m;
    play_frame(p, session, &message);
}

void play_join_spec(struct play *p, uint64_t session, Tide__JobSpec *spec,
                    const struct join_options *o)
{
    Tide__Join join = TIDE__JOIN__INIT;
    Tide__TaskRange range = TIDE__TASK_RANGE__INIT, rest = range, *ranges[2] = {&range, &rest};
    Tide__Host host = TIDE__HOST__INIT;
    Tide__Token token = TIDE__TOKEN__INIT;
    Tide__OpenRound open = TIDE__OPEN_ROUND__INIT, *opens[1] = {&open};
    join.what_case = TIDE__JOIN__WHAT_SPEC;
    join.spec = spec;
    join.job = spec->name;
    join.worker = play_bytes(o->worker);
    host.boot_id = play_bytes(o->boot ? o->boot : "host");
    host.pid = o->pid;
    host.start_time = 1;
    join.host = &host;
    range.first = o->first;
    range.count = o->split ? o->split : o->count;
    rest.first = o->first + o->split;
    rest.count = o->count - o->split;
    join.n_tasks = o->split ? 2 : 1;
    join.tasks = ranges;
    join.phase = o->phase;
    join.told_complete = o->told_complete;
    join.lowest_pending = o->lowest_pending;
    if (o->attempt) {
        token.store_id = (ProtobufCBinaryData){16, p->catalog.store_id.b};
        token.job_id =
            (ProtobufCBinaryData){16, o->job_id ? (uint8_t *)(uintptr_t)o->job_id : p->job_id};
        token.attempt = o->attempt;
        token.incarnation = p->incarnation;
        token.nonce = p->nonce;
        join.token = &token;
    }
    if (o->open_round) {
        open.round = o->open_round;
        join.n_open = 1;
        join.open = opens;
    }
    struct parts hosts;
    name_parts(&hosts, o->externals);
    join.n_externals = hosts.n;
    join.externals = hosts.pointers;
    uint8_t packed[4096];
    ck_assert(tide__join__get_packed_size(&join) <= sizeof packed);
    size_t len = tide__join__pack(&join, packed);
    struct tide_buf out;
    tide_buf_init(&out, TIDE_FRAME_MAX);
    tide_parts_put(&out, TIDE_PART_JOIN, (struct tide_bytes){packed, len});
    feed(p, session, &out);
    tide_buf_release(&out);
}

void play_join(struct play *p, uint64_t session, const struct job_options *job,
               const struct join_options *o)
{
    Tide__Operator a = TIDE__OPERATOR__INIT, b = TIDE__OPERATOR__INIT, *operators[2] = {&a, &b};
    Tide__Edge edge = TIDE__EDGE__INIT, *edges[1] = {&edge};
    Tide__Checkpointing cp = TIDE__CHECKPOINTING__INIT;
    Tide__JobSpec spec = TIDE__JOB_SPEC__INIT;
    a.uid = play_bytes("a");
    a.parallelism = job->sources;
    b.uid = play_bytes("b");
    b.parallelism = job->sinks;
    edge.from = play_bytes("a");
    edge.to = play_bytes("b");
    edge.pattern = TIDE__EDGE_PATTERN__EDGE_ALL_TO_ALL;
    cp.interval_ms = job->interval_ms;
    cp.deadline_ms = job->deadline_ms;
    cp.retained = job->retained;
    cp.lease_ms = job->lease_ms;
    cp.min_pause_ms = job->min_pause_ms;
    cp.max_concurrent = job->max_concurrent;
    cp.failure_pause_ms = job->failure_pause_ms;
    cp.failures_max = job->failures_max;
    cp.backlog_interval_ms = job->backlog_interval_ms;
    cp.deadline_cap_ms = job->deadline_cap_ms;
    if (job->aligned_timeout_ms) cp.alignment = TIDE__ALIGNMENT__ALIGN_TIMEOUT;
    cp.aligned_timeout_ms = job->aligned_timeout_ms;
    if (job->window) cp.style = TIDE__ROUND_STYLE__STYLE_RENDEZVOUS;
    cp.window = job->window;
    spec.name = play_bytes("job");
    spec.n_operators = job->sinks ? 2 : 1;
    spec.operators = operators;
    spec.n_edges = job->sinks ? 1 : 0;
    spec.edges = edges;
    spec.checkpointing = &cp;
    struct parts hooks;
    name_parts(&hooks, job->hooks);
    a.coordinator = job->coordinator;
    a.union_state = job->union_state;
    spec.n_hooks = hooks.n;
    spec.hooks = hooks.names;
    play_join_spec(p, session, &spec, o);
}

static Tide__TaskRange *range_of(Tide__TaskRange *r, uint32_t first, uint32_t count)
{
    tide__task_range__init(r);
    r->first = first;
    r->count = count;
    return r;
}

void play_restored(struct play *p, uint64_t session, uint32_t first, uint32_t count)
{
    Tide__TaskRange range, *ranges[1] = {range_of(&range, first, count)};
    Tide__Restored m = TIDE__RESTORED__INIT;
    Tide__FromWorker message = TIDE__FROM_WORKER__INIT;
    m.attempt = p->attempt;
    m.n_tasks = 1;
    m.tasks = ranges;
    message.msg_case = TIDE__FROM_WORKER__MSG_RESTORED;
    message.restored = &m;
    play_frame(p, session, &message);
}

static void put_builder(struct play *p, uint64_t session, struct tide_ack_builder *b,
                        uint64_t attempt, uint64_t round)
{
    struct tide_buf out;
    tide_buf_init(&out, TIDE_FRAME_MAX);
    tide_ack_builder_put_frame(b, attempt, round, &out);
    feed(p, session, &out);
    tide_buf_release(&out);
    tide_ack_builder_release(b);
}

void play_ack(struct play *p, uint64_t session, uint64_t attempt, uint64_t round, uint32_t task)
{
    struct tide_ack_builder b;
    struct tide_ack_file file = {100, 1, 2};
    tide_ack_builder_init(&b, 4096);
    tide_ack_builder_add(&b, task, 1, 2, 3, &file, 1);
    put_builder(p, session, &b, attempt, round);
}

void play_ack_frame(struct play *p, uint64_t session, struct tide_ack_builder *b)
{
    put_builder(p, session, b, p->attempt, p->round);
}

void play_ack_handle(struct play *p, uint64_t session, uint32_t task, const char *handle)
{
    struct tide_ack_builder b;
    uint8_t packed[256];
    Tide__TaskAck ack;
    tide__task_ack__init(&ack);
    ack.task = task;
    ack.effect_case = TIDE__TASK_ACK__EFFECT_HANDLE;
    ack.handle = play_bytes(handle);
    size_t len = tide__task_ack__pack(&ack, packed);
    tide_ack_builder_init(&b, 4096);
    tide_ack_builder_add_full(&b, (struct tide_bytes){packed, len});
    put_builder(p, session, &b, p->attempt, p->round);
}

void play_decline(struct play *p, uint64_t session, uint32_t task, const char *reason)
{
    Tide__Decline m = TIDE__DECLINE__INIT;
    Tide__FromWorker message = TIDE__FROM_WORKER__INIT;
    m.attempt = p->attempt;
    m.round = p->round;
    m.task = task;
    m.reason = play_bytes(reason);
    message.msg_case = TIDE__FROM_WORKER__MSG_DECLINE;
    message.decline = &m;
    play_frame(p, session, &message);
}

void play_confirm(struct play *p, uint64_t session, uint64_t round, uint32_t first, uint32_t count)
{
    Tide__TaskRange range, *ranges[1] = {range_of(&range, first, count)};
    Tide__Confirm m = TIDE__CONFIRM__INIT;
    Tide__FromWorker message = TIDE__FROM_WORKER__INIT;
    m.attempt = p->attempt;
    m.round = round;
    m.n_tasks = 1;
    m.tasks = ranges;
    message.msg_case = TIDE__FROM_WORKER__MSG_CONFIRM;
    message.confirm = &m;
    play_frame(p, session, &message);
}

void play_finished(struct play *p, uint64_t session, uint32_t first, uint32_t count)
{
    Tide__TaskRange range, *ranges[1] = {range_of(&range, first, count)};
    Tide__TaskFinished m = TIDE__TASK_FINISHED__INIT;
    Tide__FromWorker message = TIDE__FROM_WORKER__INIT;
    m.attempt = p->attempt;
    m.n_tasks = 1;
    m.tasks = ranges;
    message.msg_case = TIDE__FROM_WORKER__MSG_FINISHED;
    message.finished = &m;
    play_frame(p, session, &message);
}

void play_position(struct play *p, uint64_t session, uint32_t task, uint64_t position)
{
    Tide__Position m = TIDE__POSITION__INIT;
    Tide__FromWorker message = TIDE__FROM_WORKER__INIT;
    m.attempt = p->attempt;
    m.round = p->round;
    m.n_task = m.n_position = 1;
    m.task = &task;
    m.position = &position;
    message.msg_case = TIDE__FROM_WORKER__MSG_POSITION;
    message.position = &m;
    play_frame(p, session, &message);
}

void play_standing(struct play *p, uint64_t session, uint32_t first, uint32_t count)
{
    Tide__TaskRange range, *ranges[1] = {range_of(&range, first, count)};
    Tide__Standing m = TIDE__STANDING__INIT;
    Tide__FromWorker message = TIDE__FROM_WORKER__INIT;
    m.attempt = p->attempt;
    m.round = p->round;
    m.n_tasks = 1;
    m.tasks = ranges;
    message.msg_case = TIDE__FROM_WORKER__MSG_STANDING;
    message.standing = &m;
    play_frame(p, session, &message);
}

void play_heartbeat(struct play *p, uint64_t session)
{
    Tide__Heartbeat m = TIDE__HEARTBEAT__INIT;
    Tide__FromWorker message = TIDE__FROM_WORKER__INIT;
    m.sequence = 1;
    message.msg_case = TIDE__FROM_WORKER__MSG_HEARTBEAT;
    message.heartbeat = &m;
    play_frame(p, session, &message);
}

void play_request(struct play *p, uint64_t session, Tide__Request *m)
{
    struct tide_buf out;
    m->id = ++p->requests;
    tide_buf_init(&out, TIDE_FRAME_MAX);
    tide_frame_put(&out, &m->base);
    feed(p, session, &out);
    tide_buf_release(&out);
}

void play_savepoint(struct play *p, uint64_t session, const char *key)
{
    Tide__TriggerSavepoint m = TIDE__TRIGGER_SAVEPOINT__INIT;
    Tide__Request r = TIDE__REQUEST__INIT;
    m.job = play_bytes("job");
    m.key = play_bytes(key);
    r.call_case = TIDE__REQUEST__CALL_SAVEPOINT;
    r.savepoint = &m;
    play_request(p, session, &r);
}

void play_ask_job(struct play *p, uint64_t session)
{
    Tide__ShowJob m = TIDE__SHOW_JOB__INIT;
    Tide__Request r = TIDE__REQUEST__INIT;
    m.job = play_bytes("job");
    r.call_case = TIDE__REQUEST__CALL_SHOW_JOB;
    r.show_job = &m;
    play_request(p, session, &r);
}

void play_ask_operation(struct play *p, uint64_t session, uint64_t operation)
{
    Tide__WaitOperation m = TIDE__WAIT_OPERATION__INIT;
    Tide__Request r = TIDE__REQUEST__INIT;
    m.operation = operation;
    r.call_case = TIDE__REQUEST__CALL_WAIT;
    r.wait = &m;
    play_request(p, session, &r);
}

/* ---- answers */

void play_stored(struct play *p, enum tide_outcome outcome)
{
    shelve(p, outcome);
    step(p, (struct event){.type = EV_STORED,
                           .tag = shift(p->commits, &p->n_commits),
                           .outcome = outcome,
                           .text = outcome == TIDE_STORED ? NULL : "a reason"});
}

void play_filed(struct play *p, int rc)
{
    step(p, (struct event){.type = EV_FILE,
                           .tag = shift(p->files, &p->n_files),
                           .rc = rc,
                           .text = rc ? "a reason" : NULL});
}

void play_loaded(struct play *p)
{
    struct tide_bytes image = shelf_image(&p->shelf, p->load_rounds[0]);
    if (!image.data) image = (struct tide_bytes){p->image, p->image_len};
    memmove(p->load_rounds, p->load_rounds + 1, (p->n_loads - 1) * sizeof *p->load_rounds);
    step(p,
         (struct event){.type = EV_MANIFEST, .tag = shift(p->loads, &p->n_loads), .bytes = image});
}

void play_not_loaded(struct play *p, int rc)
{
    memmove(p->load_rounds, p->load_rounds + 1, (p->n_loads - 1) * sizeof *p->load_rounds);
    step(p, (struct event){.type = EV_MANIFEST,
                           .tag = shift(p->loads, &p->n_loads),
                           .rc = rc,
                           .text = "a reason"});
}

void play_sent(struct play *p)
{
    step(p, (struct event){.type = EV_SENT, .tag = shift(p->sents, &p->n_sents)});
}

void play_wait(struct play *p, uint64_t ms)
{
    uint64_t until = p->now_us + ms * 1000;
    while (!p->stopped && core_deadline(p->core) <= until) {
        if (core_deadline(p->core) > p->now_us) {
            p->wall_us += core_deadline(p->core) - p->now_us;
            p->now_us = core_deadline(p->core);
        }
        step(p, (struct event){.type = EV_TIMER});
    }
    p->wall_us += until - p->now_us;
    p->now_us = until;
}

void play_shutdown(struct play *p)
{
    step(p, (struct event){.type = EV_SHUTDOWN});
}

void play_settle(struct play *p)
{
    while (!p->stopped && (p->n_commits || p->n_files || p->n_loads || p->n_sents)) {
        if (p->n_commits)
            play_stored(p, TIDE_STORED);
        else if (p->n_files)
            play_filed(p, 0);
        else if (p->n_loads)
            play_loaded(p);
        else
            play_sent(p);
    }
}

void play_running(struct play *p, const struct job_options *job)
{
    play_start(p);
    play_open(p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(p, 1, job,
              &(struct join_options){.count = job->sources + job->sinks, .worker = "w", .pid = 10});
    play_settle(p);
    play_restored(p, 1, 0, job->sources + job->sinks);
    play_settle(p);
    play_forget(p);
}

const Tide__Gauges *play_gauges(struct play *p)
{
    static struct tide_arena arena;
    static bool made;
    Tide__Status status = TIDE__STATUS__INIT;
    if (!made) tide_arena_init(&arena, 1u << 20);
    made = true;
    tide_arena_reset(&arena);
    core_status(p->core, &arena, &status);
    ck_assert_uint_eq(status.n_jobs, 1);
    return status.jobs[0]->gauges;
}
