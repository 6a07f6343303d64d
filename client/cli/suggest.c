/* What there is instead of what was not found: the job whose name is nearest, or which jobs and
 * snapshots there are. Asked of the daemon in passing: whatever goes wrong, nothing is suggested.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"

#define PATIENCE_US 1000000u /* with a question that nobody asked */
#define NAMES_SHOWN 5
#define NAME_MOST 64 /* longer names are not compared */
#define FAR 3        /* edits that make it another name */

static const Tide__Response *ask(struct cli *c, Tide__Request *request)
{
    const Tide__Response *answer;
    uint64_t until = rpc_now() + PATIENCE_US;
    return rpc_call(&c->rpc, request, until < c->deadline ? until : c->deadline, &answer) ? NULL
                                                                                          : answer;
}

/* Levenshtein's: letters to change, leave out or put in. */
static unsigned distance(struct tide_bytes a, struct tide_bytes b)
{
    unsigned row[NAME_MOST + 1];
    if (a.len > NAME_MOST || b.len > NAME_MOST) return UINT32_MAX;
    for (unsigned k = 0; k <= b.len; k++)
        row[k] = k;
    for (unsigned i = 0; i < a.len; i++) {
        unsigned diagonal = row[0];
        row[0] = i + 1;
        for (unsigned k = 0; k < b.len; k++) {
            unsigned best = diagonal + (a.data[i] != b.data[k]);
            if (row[k] + 1 < best) best = row[k] + 1;
            if (row[k + 1] + 1 < best) best = row[k + 1] + 1;
            diagonal = row[k + 1];
            row[k + 1] = best;
        }
    }
    return row[b.len];
}

static char *list_names(const Tide__JobList *list)
{
    char *text = xprintf("; %s", list->n_jobs == 1 ? "the only one is" : "there are");
    for (size_t i = 0; i < list->n_jobs && i < NAMES_SHOWN; i++) {
        char *name = text_clean(list->jobs[i]->name);
        char *longer = xprintf("%s%s \"%s\"", text, i ? "," : "", name);
        free(name);
        free(text);
        text = longer;
    }
    if (list->n_jobs <= NAMES_SHOWN) return text;
    char *longer =
        xprintf("%s and %zu more: see 'tidemark jobs'", text, list->n_jobs - NAMES_SHOWN);
    free(text);
    return longer;
}

static char *suggest_job(struct cli *c, ProtobufCBinaryData wanted)
{
    Tide__Request request = TIDE__REQUEST__INIT;
    Tide__ListJobs call = TIDE__LIST_JOBS__INIT;
    unsigned nearest = FAR;
    const Tide__JobSummary *best = NULL;
    request.call_case = TIDE__REQUEST__CALL_LIST_JOBS;
    request.list_jobs = &call;
    const Tide__Response *answer = ask(c, &request);
    if (!answer || answer->result_case != TIDE__RESPONSE__RESULT_JOBS) return xprintf("%s", "");
    const Tide__JobList *list = answer->jobs;
    if (!list->n_jobs) return xprintf("; there are no jobs yet");
    for (size_t i = 0; i < list->n_jobs; i++) {
        struct tide_bytes name = text_view(list->jobs[i]->name);
        if (tide_bytes_equal(name, text_view(wanted)))
            return xprintf("%s", ""); /* the job is there: it is something else that is not */
        unsigned edits = distance(name, text_view(wanted));
        if (edits < nearest && edits < wanted.len) {
            nearest = edits;
            best = list->jobs[i];
        }
    }
    if (!best) return list_names(list);
    char *name = text_clean(best->name), *text = xprintf("; did you mean \"%s\"?", name);
    free(name);
    return text;
}

static char *suggest_snapshot(struct cli *c)
{
    Tide__Request request = TIDE__REQUEST__INIT;
    Tide__ListSnapshots call = TIDE__LIST_SNAPSHOTS__INIT;
    request.call_case = TIDE__REQUEST__CALL_SNAPSHOTS;
    request.snapshots = &call;
    call.limit = 1;
    const Tide__Response *answer = ask(c, &request);
    if (!answer || answer->result_case != TIDE__RESPONSE__RESULT_SNAPSHOTS)
        return xprintf("%s", "");
    if (!answer->snapshots->n_snapshots) return xprintf("; there are no snapshots yet");
    return xprintf("; the newest is %" PRIu64 ": see 'tidemark snapshots'",
                   answer->snapshots->snapshots[0]->snapshot);
}

/* Of a job that is not there nothing can be restored yet: its workers bring it. */
static char *suggest_beginning(struct cli *c, ProtobufCBinaryData wanted)
{
    char *names = suggest_job(c, wanted);
    char *text = xprintf("%s; a new job begins from a snapshot when its workers name it "
                         "(tide_spec_restore_from)",
                         names);
    free(names);
    return text;
}

char *suggest(struct cli *c, const Tide__Request *request)
{
    switch (request->call_case) {
    case TIDE__REQUEST__CALL_SHOW_JOB: return suggest_job(c, request->show_job->job);
    case TIDE__REQUEST__CALL_SAVEPOINT: return suggest_job(c, request->savepoint->job);
    case TIDE__REQUEST__CALL_CHECKPOINT: return suggest_job(c, request->checkpoint->job);
    case TIDE__REQUEST__CALL_HOLD: return suggest_job(c, request->hold->job);
    case TIDE__REQUEST__CALL_RESTORE: return suggest_beginning(c, request->restore->job);
    case TIDE__REQUEST__CALL_IMPORT_SNAPSHOT:
        return suggest_beginning(c, request->import_snapshot->job);
    case TIDE__REQUEST__CALL_RELEASE: return suggest_job(c, request->release->job);
    case TIDE__REQUEST__CALL_STOP: return suggest_job(c, request->stop->job);
    case TIDE__REQUEST__CALL_CANCEL: return suggest_job(c, request->cancel->job);
    case TIDE__REQUEST__CALL_SNAPSHOTS: return suggest_job(c, request->snapshots->job);
    case TIDE__REQUEST__CALL_ROUNDS: return suggest_job(c, request->rounds->job);
    case TIDE__REQUEST__CALL_LINEAGE:
        return request->lineage->job.len ? suggest_job(c, request->lineage->job)
                                         : suggest_snapshot(c);
    case TIDE__REQUEST__CALL_SNAPSHOT:
    case TIDE__REQUEST__CALL_DISPOSE:
    case TIDE__REQUEST__CALL_EXPORT_SNAPSHOT:
    case TIDE__REQUEST__CALL_VERIFY: return suggest_snapshot(c);
    default: return xprintf("%s", "");
    }
}
