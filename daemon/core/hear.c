/* What workers say, but for Joins and acks: who may say it, whether it makes sense, and who is
 * told.
 *
 * A worker speaks for its own tasks alone, in texts, after its Join, and in messages of the version
 * of the protocol that its connection has. Anything else is refused, by name. */
#include "daemon/core/internal.h"

/* "Decline" of field 7 of FromWorker; NULL: there is no such message. */
static const char *message_name(uint32_t field)
{
    const ProtobufCFieldDescriptor *f =
        protobuf_c_message_descriptor_get_field(&tide__from_worker__descriptor, field);
    return f ? ((const ProtobufCMessageDescriptor *)f->descriptor)->short_name : NULL;
}

static uint32_t message_version(uint32_t field)
{
    return field <= TIDE__FROM_WORKER__MSG_LEAVE ? 1 : 2;
}

static void heartbeat(struct core *c, struct session *s, const Tide__Heartbeat *m)
{
    Tide__HeartbeatAck alive = TIDE__HEARTBEAT_ACK__INIT;
    Tide__ToWorker message = TIDE__TO_WORKER__INIT;
    /* one that should drop its attempt gets no further lease for it */
    if (s->worker->standing == STANDS_REWINDING) return;
    worker_renew(c, s->worker);
    alive.sequence = m->sequence;
    message.msg_case = TIDE__TO_WORKER__MSG_ALIVE;
    message.alive = &alive;
    send_worker(c, s->id, &message);
}

static void holder_gone(struct core *c, struct session *s, const Tide__HolderGone *m)
{
    if (s->worker->standing != STANDS_PARKED || !m->holder || m->holder->boot_id.len == 0) return;
    if (!tide_bytes_equal(UNPB(m->holder->boot_id), s->worker->boot_id))
        return; /* it cannot know */
    for (struct worker *w = s->worker->job->workers; w; w = w->next) {
        if (w == s->worker || w->session || w->standing == STANDS_PARKED) continue;
        if (w->pid != m->holder->pid || w->start_time != m->holder->start_time ||
            !tide_bytes_equal(w->boot_id, UNPB(m->holder->boot_id)))
            continue;
        worker_lost(c, w, "its process is gone from its host");
        return;
    }
}

static void leave(struct core *c, struct session *s, const Tide__Leave *m)
{
    struct worker *w = s->worker;
    struct tide_bytes reason = core_text_cut(UNPB(m->reason), 200);
    char *why = core_printf("it left: %.*s", (int)reason.len, (const char *)reason.data);
    if (w->standing == STANDS_HOLDING || w->standing == STANDS_REWINDING) {
        worker_lost(c, w, why);
    } else {
        struct job *job = w->job;
        worker_release(c, w);
        act_close(c, s->id);
        job_admit_parked(c, job);
    }
    free(why);
}

static bool is_text(ProtobufCBinaryData text)
{
    return tide_text_valid(UNPB(text));
}

static const char *wrong_position(const struct worker *w, const Tide__Position *p)
{
    if (p->n_task != p->n_position) return "has columns of unequal length";
    for (size_t i = 0; i < p->n_task; i++) {
        if (!worker_hosts(w, p->task[i])) return "names a task of another worker";
        if (p->position[i] > POSITION_MAX) return "has a position above 2^62";
    }
    return NULL;
}

/* A worker speaks for its own tasks alone, and in texts. What is wrong, or NULL. */
static const char *malformed(const struct worker *w, const Tide__FromWorker *m)
{
    static const char task[] = "names a task of another worker",
                      text[] = "has a reason that is not UTF-8 without NUL";
    if (m->msg_case == TIDE__FROM_WORKER__MSG_POSITION) return wrong_position(w, m->position);
    bool own = true, fine = true;
    switch (m->msg_case) {
    case TIDE__FROM_WORKER__MSG_RESTORED:
        own = ranges_ok(w->job, m->restored->n_tasks, m->restored->tasks, w);
        break;
    case TIDE__FROM_WORKER__MSG_RESTORE_FAILED:
        own = worker_hosts(w, m->restore_failed->task);
        fine = is_text(m->restore_failed->reason);
        break;
    case TIDE__FROM_WORKER__MSG_DECLINE:
        own = worker_hosts(w, m->decline->task);
        fine = is_text(m->decline->reason);
        break;
    case TIDE__FROM_WORKER__MSG_BARRIER:
        for (size_t i = 0; i < m->barrier->n_tasks; i++)
            own = own && worker_hosts(w, m->barrier->tasks[i]->task);
        break;
    case TIDE__FROM_WORKER__MSG_FINISHED:
        own = ranges_ok(w->job, m->finished->n_tasks, m->finished->tasks, w);
        break;
    case TIDE__FROM_WORKER__MSG_CONFIRM:
        own = ranges_ok(w->job, m->confirm->n_tasks, m->confirm->tasks, w);
        break;
    case TIDE__FROM_WORKER__MSG_BACKLOG:
        own = worker_hosts(w, m->backlog->task);
        if (own && !tide_graph_operator(w->job->graph, m->backlog->task, NULL)->source)
            return "names a task that is no source";
        break;
    case TIDE__FROM_WORKER__MSG_LEAVE: fine = is_text(m->leave->reason); break;
    case TIDE__FROM_WORKER__MSG_EXTERNAL: {
        const char *wrong = external_malformed(w, m->external);
        if (wrong) return wrong;
        fine = is_text(m->external->failed);
        break;
    }
    case TIDE__FROM_WORKER__MSG_STANDING:
        own = ranges_ok(w->job, m->standing->n_tasks, m->standing->tasks, w);
        break;
    default: break;
    }
    return own ? fine ? NULL : text : task;
}

static void joined_frame(struct core *c, struct session *s, const Tide__FromWorker *m)
{
    struct worker *w = s->worker;
    const char *wrong = malformed(w, m);
    if (wrong) {
        send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_MALFORMED, "%s %s",
                     message_name((uint32_t)m->msg_case), wrong);
        return;
    }
    switch (m->msg_case) {
    case TIDE__FROM_WORKER__MSG_HEARTBEAT: heartbeat(c, s, m->heartbeat); break;
    case TIDE__FROM_WORKER__MSG_RESTORED: attempt_restored(c, w, m->restored); break;
    case TIDE__FROM_WORKER__MSG_RESTORE_FAILED:
        attempt_restore_failed(c, w, m->restore_failed);
        break;
    case TIDE__FROM_WORKER__MSG_DECLINE: round_decline(c, w, m->decline); break;
    case TIDE__FROM_WORKER__MSG_BARRIER: round_progress(c, w, m->barrier); break;
    case TIDE__FROM_WORKER__MSG_FINISHED:
        if (worker_speaks(w, m->finished->attempt))
            round_finished(c, w, m->finished->n_tasks, m->finished->tasks);
        break;
    case TIDE__FROM_WORKER__MSG_CONFIRM: round_confirm(c, w, m->confirm); break;
    case TIDE__FROM_WORKER__MSG_POSITION: meeting_reported(c, s, m->position); break;
    case TIDE__FROM_WORKER__MSG_STANDING: meeting_stand(c, s, m->standing); break;
    case TIDE__FROM_WORKER__MSG_BACKLOG:
        if (worker_speaks(w, m->backlog->attempt))
            trigger_backlog(c, w->job, m->backlog->task, m->backlog->behind);
        break;
    case TIDE__FROM_WORKER__MSG_EXTERNAL: external_answer(c, w, m->external); break;
    case TIDE__FROM_WORKER__MSG_ADVANCED: region_advanced(c, w, m->advanced); break;
    case TIDE__FROM_WORKER__MSG_HOLDER_GONE: holder_gone(c, s, m->holder_gone); break;
    case TIDE__FROM_WORKER__MSG_LEAVE: leave(c, s, m->leave); break;
    default:
        send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_STATE, "%s is not for this moment",
                     message_name((uint32_t)m->msg_case));
    }
}

void worker_frame(struct core *c, struct session *s, struct tide_bytes frame)
{
    struct tide_bytes content;
    uint32_t field = tide_frame_peek(frame, &content);
    if (field == TIDE__FROM_WORKER__MSG_JOIN) {
        join_part(c, s, content);
        return;
    }
    if (field != 0 && !message_name(field)) {
        send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_UNSUPPORTED,
                     "a message that this version does not know (field %u of FromWorker)", field);
        return;
    }
    if (field == 0) {
        send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_MALFORMED, "a frame that cannot be parsed");
        return;
    }
    if (message_version(field) > s->version) {
        send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_STATE,
                     "%s is of version %u of the protocol, this connection has %u",
                     message_name(field), message_version(field), s->version);
        return;
    }
    if (!s->joined) {
        send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_STATE, "%s before Join",
                     message_name(field));
        return;
    }
    if (!s->worker) return; /* lost, or its attempt is over: it has been told, and will join anew */
    if (field == TIDE__FROM_WORKER__MSG_ACK) {
        ack_batch(c, s, content);
        return;
    }
    int rc;
    Tide__FromWorker *m = tide_unpack(&c->arena, &tide__from_worker__descriptor, frame, &rc);
    if (!m || m->msg_case == TIDE__FROM_WORKER__MSG__NOT_SET)
        send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_MALFORMED,
                     !m && rc == TIDE_ETOOBIG ? "a message that unpacks to more than 4 MiB"
                                              : "a frame that cannot be parsed");
    else
        joined_frame(c, s, m);
}
