/* What admins ask that the core does not answer
 *
 * The usual way: a request becomes a question for the reader thread, whose answer goes back as it
 * is. The verification of a snapshot is two steps: the reader fetches the manifest, then a lane
 * reads the bytes. Manifests that the core wants have a reader of their own, so that a long list
 * for an admin does not hold up a restore.
 *
 * What can go wrong, and what we do:
 * - too many questions at once -> answered as busy
 * - the database is slow       -> interrupted and answered by the reader's limit
 * - the asker hangs up         -> its verification is told to stop, other answers find no session
 */
#include "daemon/query.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/readers.h"
#include "daemon/util.h"
#include "proto/err.h"
#include "proto/frame.h"
#include "storage/files.h"

#define VERIFY_LANE "verify" /* no path: a lane of its own */
#define VERIFY_MAX 16

struct verify {
    struct lane_work work;
    struct queries *queries;
    struct verify *next;
    uint64_t session, id, round;
    struct tide_buf image, directory;
    Tide__VerifyResult *result; /* the lane's until done() */
    char why[LANES_WHY];
};

struct queries {
    struct queries_options o;
    struct reader_thread *for_admins, *for_core;
    struct verify *verifies; /* awaited */
    unsigned n_verifies;
};

/* ---- answers */

static struct blob *response_blob(Tide__Response *response)
{
    struct tide_buf frame;
    struct blob *blob = NULL;
    tide_buf_init(&frame, TIDE_FRAME_MAX + TIDE_FRAME_HEADER);
    tide_frame_put(&frame, &response->base);
    if (frame.rc == 0) blob = blob_new(frame.data, frame.len);
    tide_buf_release(&frame);
    return blob;
}

void respond(struct server *server, uint64_t session, uint64_t id, Tide__Response *response)
{
    response->id = id;
    struct blob *blob = response_blob(response);
    if (!blob) {
        respond_error(server, session, id, TIDE__ERROR_CODE__ERROR_INVALID,
                      "the answer is larger than a frame: ask for less at a time");
        return;
    }
    server_send(server, &session, 1, blob, false, 0);
    blob_unref(blob);
}

void respond_error(struct server *server, uint64_t session, uint64_t id, Tide__ErrorCode code,
                   const char *text)
{
    Tide__Error error = TIDE__ERROR__INIT;
    Tide__Response response = TIDE__RESPONSE__INIT;
    error.code = code;
    error.text = (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
    response.result_case = TIDE__RESPONSE__RESULT_ERROR;
    response.error = &error;
    response.id = id;
    struct blob *blob = response_blob(&response);
    if (!blob) return;
    server_send(server, &session, 1, blob, false, 0);
    blob_unref(blob);
}

static Tide__ErrorCode code_of(int rc)
{
    switch (rc) {
    case TIDE_ENOTFOUND: return TIDE__ERROR_CODE__ERROR_NOT_FOUND;
    case TIDE_EINVAL: return TIDE__ERROR_CODE__ERROR_INVALID;
    case TIDE_EBUSY:
    case TIDE_ETIMEDOUT: return TIDE__ERROR_CODE__ERROR_BUSY;
    case TIDE_ENOTSUP: return TIDE__ERROR_CODE__ERROR_UNSUPPORTED;
    default: return TIDE__ERROR_CODE__ERROR_INTERNAL;
    }
}

static void answer_failure(const struct queries *qs, uint64_t session, uint64_t id, int rc,
                           const char *why)
{
    respond_error(qs->o.server, session, id, code_of(rc), *why ? why : tide_strerror(rc));
}

/* ---- lists and details */

static void on_answer(void *user, struct question *q)
{
    const struct queries *qs = user;
    if (q->response && !q->timed_out)
        respond(qs->o.server, q->session, q->id, q->response);
    else
        answer_failure(qs, q->session, q->id, q->rc, q->why);
    question_free(q);
}

static void ask(struct queries *qs, struct question *q)
{
    if (reader_ask(qs->for_admins, q)) return;
    answer_failure(qs, q->session, q->id, TIDE_EBUSY,
                   "too many questions are waiting for the database ([queries] queue): try later");
    question_free(q);
}

/* ---- verification */

static int verify_run(struct lane_work *w, const volatile int *stop, char why[static LANES_WHY])
{
    struct verify *v = (struct verify *)w;
    struct tide_bytes image = {v->image.data, v->image.len};
    char *directory = strndup((const char *)v->directory.data, v->directory.len);
    if (!directory) return TIDE_ENOMEM;
    int rc = tide_files_verify(directory, image, stop, &v->result, why);
    free(directory);
    return rc;
}

static void verify_forget(struct verify *v)
{
    struct verify **at = &v->queries->verifies;
    while (*at && *at != v)
        at = &(*at)->next;
    if (!*at) return;
    *at = v->next;
    v->queries->n_verifies--;
}

static struct question *question_new(uint64_t session, uint64_t id);

/* The verdict, unless the snapshot has been put out of use meanwhile. */
static void on_verified(void *user, struct question *q)
{
    const struct queries *qs = user;
    if (q->rc == TIDE_ENOTFOUND)
        answer_failure(qs, q->session, q->id, q->rc, q->why);
    else
        respond(qs->o.server, q->session, q->id, q->response);
    question_free(q);
}

/* What was missing may have been deleted behind our back: is it still a snapshot? */
static void verify_doubt(struct verify *v)
{
    struct question *q = question_new(v->session, v->id);
    q->round = v->round;
    q->with_directory = true;
    q->done = on_verified;
    q->response = must_alloc(sizeof *q->response);
    tide__response__init(q->response);
    q->response->result_case = TIDE__RESPONSE__RESULT_VERIFIED;
    q->response->verified = v->result;
    v->result = NULL;
    ask(v->queries, q);
}

static void verify_done(struct lane_work *w, int rc, const char *why)
{
    struct verify *v = (struct verify *)w;
    Tide__Response response = TIDE__RESPONSE__INIT;
    verify_forget(v);
    if (rc) {
        answer_failure(v->queries, v->session, v->id, rc, why);
        return;
    }
    if (v->result->problem_count) {
        verify_doubt(v);
        return;
    }
    response.result_case = TIDE__RESPONSE__RESULT_VERIFIED;
    response.verified = v->result;
    respond(v->queries->o.server, v->session, v->id, &response);
}

static void verify_drop(struct lane_work *w)
{
    struct verify *v = (struct verify *)w;
    if (v->result) tide__verify_result__free_unpacked(v->result, NULL);
    tide_buf_release(&v->image);
    tide_buf_release(&v->directory);
    free(v);
}

static void on_verify_manifest(void *user, struct question *q)
{
    struct queries *qs = user;
    if (q->rc || qs->n_verifies >= VERIFY_MAX) {
        if (!q->rc)
            (void)snprintf(q->why, sizeof q->why, "%d snapshots are being verified: try later",
                           VERIFY_MAX);
        answer_failure(qs, q->session, q->id, q->rc ? q->rc : TIDE_EBUSY, q->why);
        question_free(q);
        return;
    }
    struct verify *v = must_alloc(sizeof *v);
    v->work =
        (struct lane_work){verify_run, verify_done, verify_drop, qs->o.config->verify_timeout};
    v->queries = qs;
    v->session = q->session;
    v->id = q->id;
    v->round = q->round;
    v->image = q->image;
    v->directory = q->directory;
    q->image = q->directory = (struct tide_buf){0};
    question_free(q);
    v->next = qs->verifies;
    qs->verifies = v;
    qs->n_verifies++;
    lanes_submit(qs->o.lanes, VERIFY_LANE, &v->work);
}

void queries_forget(struct queries *qs, uint64_t session)
{
    for (struct verify *v = qs->verifies, *next; v; v = next) {
        next = v->next;
        if (v->session == session) lanes_cancel(qs->o.lanes, &v->work);
    }
}

/* ---- the door */

static struct question *question_new(uint64_t session, uint64_t id)
{
    struct question *q = must_alloc(sizeof *q);
    q->session = session;
    q->id = id;
    q->done = on_answer;
    return q;
}

void queries_request(struct queries *qs, uint64_t session, const Tide__Request *request,
                     struct tide_bytes bytes)
{
    struct question *q = question_new(session, request->id);
    switch (request->call_case) {
    case TIDE__REQUEST__CALL_SNAPSHOTS:
    case TIDE__REQUEST__CALL_SNAPSHOT:
    case TIDE__REQUEST__CALL_LINEAGE:
    case TIDE__REQUEST__CALL_ROUNDS:
    case TIDE__REQUEST__CALL_WAIT:
        q->request = must_alloc(bytes.len);
        q->request_len = bytes.len;
        memcpy(q->request, bytes.data, bytes.len);
        break;
    case TIDE__REQUEST__CALL_VERIFY:
        q->round = request->verify->snapshot;
        q->with_directory = true;
        q->done = on_verify_manifest;
        break;
    default:
        answer_failure(qs, session, request->id, TIDE_ENOTSUP, "this call is not supported yet");
        question_free(q);
        return;
    }
    ask(qs, q);
}

static void on_loaded(void *user, struct question *q)
{
    const struct queries *qs = user;
    qs->o.loaded(qs->o.user, q->tag, q->rc, q->why,
                 (struct tide_bytes){q->rc ? NULL : q->image.data, q->rc ? 0 : q->image.len});
    question_free(q);
}

void queries_load(struct queries *qs, uint64_t round, uint64_t tag)
{
    struct question *q = question_new(0, 0);
    q->round = round;
    q->tag = tag;
    q->done = on_loaded;
    (void)reader_ask(qs->for_core, q); /* its queue has no bound: the core asks once for each job */
}

int queries_open(const struct queries_options *o, struct queries **ret, char why[static 512])
{
    struct queries *qs = must_alloc(sizeof *qs);
    qs->o = *o;
    struct reader_options r = {.settle = o->settle,
                               .settle_user = o->user,
                               .loop = o->loop,
                               .directory = o->config->data,
                               .queue = (unsigned)o->config->query_queue,
                               .timeout_us = o->config->query_timeout,
                               .user = qs};
    int rc = reader_start(&r, &qs->for_admins, why);
    r.queue = UINT32_MAX;
    r.timeout_us = o->config->file_timeout;
    if (rc == 0) rc = reader_start(&r, &qs->for_core, why);
    if (rc == 0) {
        *ret = qs;
        return 0;
    }
    (void)queries_stop(qs);
    queries_free(qs);
    return rc;
}

bool queries_stop(struct queries *qs)
{
    if (!qs) return true;
    bool admins = reader_stop(qs->for_admins), core = reader_stop(qs->for_core);
    qs->for_admins = qs->for_core = NULL;
    return admins && core;
}

void queries_free(struct queries *qs)
{
    free(qs);
}
