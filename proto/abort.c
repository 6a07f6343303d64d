/* The table of reasons for which rounds abort. What counts follows Flink's
 * CheckpointFailureManager: what a task, the disk or the deadline did to a round counts, what the
 * coordinator or a failover did to it does not. */
#include "proto/abort.h"

#include "proto/worker.pb-c.h"

#define REASON(code, name, text, counts) [TIDE__ABORT_CODE__##code] = {name, text, counts}
static const struct tide_abort reasons[] = {
    REASON(ABORT_UNSPECIFIED, "unknown", "for a reason that this version does not know", false),
    REASON(ABORT_DEADLINE, "deadline", "not all tasks acked in time", true),
    REASON(ABORT_DECLINED, "declined", "a task declined", true),
    REASON(ABORT_WORKER_LOST, "worker-lost", "the attempt ended", false),
    REASON(ABORT_NO_SPACE, "no-space", "the store or a directory has no room", true),
    REASON(ABORT_STORAGE, "storage", "its directory or metadata could not be written", true),
    REASON(ABORT_RESTARTED, "restarted", "the daemon restarted", false),
    REASON(ABORT_SHUTDOWN, "shutdown", "the daemon shuts down", false),
    REASON(ABORT_REFUSED, "refused", "the store refused its commit", true),
    REASON(ABORT_SUBSUMED, "subsumed", "a newer round completed first", false),
    REASON(ABORT_SUPERSEDED, "superseded", "a stop took its place", false),
    REASON(ABORT_NOT_RUNNING, "not-running", "not all tasks that it needs were running", false),
    REASON(ABORT_EXTERNAL, "external", "an operator's coordinator or a hook failed", true),
    REASON(ABORT_FINISHED_PARTLY, "finished-partly",
           "an operator with union list state is partly finished", false),
    REASON(ABORT_CANCELLED, "cancelled", "the job is being cancelled, or an admin asked for it",
           false),
    REASON(ABORT_IO, "io", "an I/O error while it was prepared", true),
    REASON(ABORT_SHARED, "shared", "a task referred to a shared artifact to which it may not",
           true),
};

const struct tide_abort *tide_abort_of(uint32_t code)
{
    return &reasons[code < sizeof reasons / sizeof *reasons && reasons[code].name ? code : 0];
}
