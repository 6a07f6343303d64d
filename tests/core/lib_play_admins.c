/* What admins ask of the job. */
#include "tests/core/lib_play_impl.h"

#define CALL(p, session, which, field, message)                                                    \
    do {                                                                                           \
        Tide__Request r = TIDE__REQUEST__INIT;                                                     \
        r.call_case = TIDE__REQUEST__CALL_##which;                                                 \
        r.field = message;                                                                         \
        play_request(p, session, &r);                                                              \
    } while (0)

static ProtobufCBinaryData job_of(const struct ask *o)
{
    return play_bytes(o->job ? o->job : "job");
}

void play_request(struct play *p, uint64_t session, Tide__Request *m)
{
    struct tide_buf out;
    m->id = ++p->requests;
    tide_buf_init(&out, TIDE_FRAME_MAX);
    tide_frame_put(&out, &m->base);
    play_feed(p, session, &out);
    tide_buf_release(&out);
}

void play_ask_savepoint(struct play *p, const struct ask *o)
{
    Tide__TriggerSavepoint m = TIDE__TRIGGER_SAVEPOINT__INIT;
    m.job = job_of(o);
    m.key = play_bytes(o->key);
    m.target = play_bytes(o->target);
    m.commits = o->commits;
    m.native = o->native;
    CALL(p, ADMIN, SAVEPOINT, savepoint, &m);
}

void play_ask_checkpoint(struct play *p, const struct ask *o)
{
    Tide__TriggerCheckpoint m = TIDE__TRIGGER_CHECKPOINT__INIT;
    m.job = job_of(o);
    m.key = play_bytes(o->key);
    m.full = o->full;
    CALL(p, ADMIN, CHECKPOINT, checkpoint, &m);
}

void play_ask_stop(struct play *p, const struct ask *o)
{
    Tide__StopJob m = TIDE__STOP_JOB__INIT;
    m.job = job_of(o);
    m.key = play_bytes(o->key);
    m.target = play_bytes(o->target);
    m.kind = o->checkpoint ? TIDE__ROUND_KIND__ROUND_CHECKPOINT : 0;
    m.drain = o->drain;
    m.supersede = o->supersede;
    CALL(p, ADMIN, STOP, stop, &m);
}

void play_ask_cancel(struct play *p, const struct ask *o)
{
    Tide__CancelJob m = TIDE__CANCEL_JOB__INIT;
    m.job = job_of(o);
    m.key = play_bytes(o->key);
    m.savepoint = o->savepoint;
    CALL(p, ADMIN, CANCEL, cancel, &m);
}

void play_ask_export(struct play *p, const struct ask *o)
{
    Tide__ExportSnapshot m = TIDE__EXPORT_SNAPSHOT__INIT;
    m.snapshot = o->snapshot;
    m.directory = play_bytes(o->target);
    m.key = play_bytes(o->key);
    CALL(p, ADMIN, EXPORT_SNAPSHOT, export_snapshot, &m);
}

void play_ask_dispose(struct play *p, const struct ask *o)
{
    Tide__DisposeSnapshot m = TIDE__DISPOSE_SNAPSHOT__INIT;
    m.snapshot = o->snapshot;
    m.key = play_bytes(o->key);
    CALL(p, ADMIN, DISPOSE, dispose, &m);
}

void play_ask_hold(struct play *p, const struct ask *o)
{
    Tide__HoldJob m = TIDE__HOLD_JOB__INIT;
    m.job = job_of(o);
    m.key = play_bytes(o->key);
    m.cause = play_bytes(o->cause);
    m.who = play_bytes("me@here");
    CALL(p, ADMIN, HOLD, hold, &m);
}

void play_ask_release(struct play *p, const struct ask *o)
{
    Tide__ReleaseJob m = TIDE__RELEASE_JOB__INIT;
    m.job = job_of(o);
    m.who = play_bytes("me@here");
    m.abandon_owed = o->abandon;
    m.allow_repeat = o->repeat;
    CALL(p, ADMIN, RELEASE, release, &m);
}

void play_ask_restore(struct play *p, Tide__RestoreJob *m)
{
    m->job = play_bytes("job");
    m->who = play_bytes("me@here");
    CALL(p, ADMIN, RESTORE, restore, m);
}

void play_savepoint(struct play *p, uint64_t session, const char *key)
{
    Tide__TriggerSavepoint m = TIDE__TRIGGER_SAVEPOINT__INIT;
    m.job = play_bytes("job");
    m.key = play_bytes(key);
    CALL(p, session, SAVEPOINT, savepoint, &m);
}

void play_ask_job(struct play *p, uint64_t session)
{
    Tide__ShowJob m = TIDE__SHOW_JOB__INIT;
    m.job = play_bytes("job");
    CALL(p, session, SHOW_JOB, show_job, &m);
}

void play_ask_operation(struct play *p, uint64_t session, uint64_t operation)
{
    Tide__WaitOperation m = TIDE__WAIT_OPERATION__INIT;
    m.operation = operation;
    CALL(p, session, WAIT, wait, &m);
}
