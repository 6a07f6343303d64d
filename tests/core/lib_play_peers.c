/* What workers say to the core. */
#include "tests/core/lib_play_impl.h"

void play_feed(struct play *p, uint64_t session, const struct tide_buf *frames)
{
    struct tide_decoder d;
    struct tide_bytes in = {frames->data, frames->len}, body;
    tide_decoder_init(&d, TIDE_FRAME_MAX);
    ck_assert_int_eq(frames->rc, 0);
    while (tide_decoder_next(&d, &in, &body) == TIDE_FRAME_READY)
        play_step(p, (struct event){.type = EV_FRAME, .session = session, .bytes = body});
    tide_decoder_release(&d);
}

void play_frame(struct play *p, uint64_t session, const Tide__FromWorker *m)
{
    struct tide_buf out;
    tide_buf_init(&out, TIDE_FRAME_MAX);
    tide_frame_put(&out, &m->base);
    play_feed(p, session, &out);
    tide_buf_release(&out);
}

ProtobufCBinaryData play_bytes(const char *text)
{
    return (ProtobufCBinaryData){text ? strlen(text) : 0, (uint8_t *)(uintptr_t)text};
}

enum { PARTS = 20, PART_NAME = 16 };
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
    join.endpoint = play_bytes(o->endpoint ? o->endpoint : "");
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
    uint8_t packed[8192];
    ck_assert(tide__join__get_packed_size(&join) <= sizeof packed);
    size_t len = tide__join__pack(&join, packed);
    struct tide_buf out;
    tide_buf_init(&out, TIDE_FRAME_MAX);
    tide_parts_put(&out, TIDE_PART_JOIN, (struct tide_bytes){packed, len});
    play_feed(p, session, &out);
    tide_buf_release(&out);
}

void play_join(struct play *p, uint64_t session, const struct job_options *job,
               const struct join_options *o)
{
    Tide__Operator a = TIDE__OPERATOR__INIT, b = TIDE__OPERATOR__INIT, *operators[2] = {&a, &b};
    Tide__Edge edge = TIDE__EDGE__INIT, *edges[1] = {&edge};
    Tide__Checkpointing cp = TIDE__CHECKPOINTING__INIT;
    Tide__JobSpec spec = TIDE__JOB_SPEC__INIT;
    p->tasks = job->sources + job->sinks;
    a.uid = play_bytes("a");
    a.parallelism = job->sources;
    b.uid = play_bytes("b");
    b.parallelism = job->sinks;
    edge.from = play_bytes("a");
    edge.to = play_bytes("b");
    edge.pattern =
        job->pointwise ? TIDE__EDGE_PATTERN__EDGE_POINTWISE : TIDE__EDGE_PATTERN__EDGE_ALL_TO_ALL;
    cp.regional = job->regional;
    cp.interval_ms = job->interval_ms;
    cp.deadline_ms = job->deadline_ms;
    cp.retained = job->retained;
    cp.retained_hours = job->retained_hours;
    cp.retained_age_s = job->retained_age_s;
    cp.retained_least = job->retained_least;
    cp.lease_ms = job->lease_ms;
    cp.attempts_max = job->attempts_max;
    cp.min_pause_ms = job->min_pause_ms;
    cp.max_concurrent = job->max_concurrent;
    cp.failure_pause_ms = job->failure_pause_ms;
    cp.failures_max = job->failures_max;
    cp.backlog_interval_ms = job->backlog_interval_ms;
    cp.deadline_cap_ms = job->deadline_cap_ms;
    if (job->aligned_timeout_ms) cp.alignment = TIDE__ALIGNMENT__ALIGN_TIMEOUT;
    if (job->at_least_once) cp.alignment = TIDE__ALIGNMENT__ALIGN_AT_LEAST_ONCE;
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
    spec.restore_from = play_bytes(job->restore_from);
    spec.allow_unmatched = job->allow_unmatched;
    a.max_parallelism = job->max_parallelism;
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

void play_advanced(struct play *p, uint64_t session, uint64_t attempt)
{
    Tide__Advanced m = TIDE__ADVANCED__INIT;
    Tide__FromWorker message = TIDE__FROM_WORKER__INIT;
    m.attempt = attempt;
    message.msg_case = TIDE__FROM_WORKER__MSG_ADVANCED;
    message.advanced = &m;
    play_frame(p, session, &message);
}

static void put_builder(struct play *p, uint64_t session, struct tide_ack_builder *b,
                        uint64_t attempt, uint64_t round)
{
    struct tide_buf out;
    tide_buf_init(&out, TIDE_FRAME_MAX);
    tide_ack_builder_put_frame(b, attempt, round, &out);
    play_feed(p, session, &out);
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

void play_ack_all(struct play *p, uint64_t session, uint64_t round, const char *handle)
{
    uint64_t shown = p->round;
    p->round = round;
    for (uint32_t t = 0; t < p->tasks; t++)
        if (handle && t == p->tasks - 1)
            play_ack_handle(p, session, t, handle);
        else
            play_ack(p, session, p->attempt, round, t);
    p->round = shown;
}

void play_backlog(struct play *p, uint64_t session, uint32_t task, bool behind)
{
    Tide__Backlog m = TIDE__BACKLOG__INIT;
    Tide__FromWorker message = TIDE__FROM_WORKER__INIT;
    m.attempt = p->attempt;
    m.task = task;
    m.behind = behind;
    message.msg_case = TIDE__FROM_WORKER__MSG_BACKLOG;
    message.backlog = &m;
    play_frame(p, session, &message);
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

void play_leave(struct play *p, uint64_t session)
{
    Tide__Leave m = TIDE__LEAVE__INIT;
    Tide__FromWorker message = TIDE__FROM_WORKER__INIT;
    message.msg_case = TIDE__FROM_WORKER__MSG_LEAVE;
    message.leave = &m;
    play_frame(p, session, &message);
}
