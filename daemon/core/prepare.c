/* The directory of a savepoint, made before its round begins.
 *
 * A round holds up those behind it until it is triggered, since barriers leave in order of rounds;
 * a target that hangs must not. So the directory is made while the request waits for its turn, a
 * few at a time, and the round begins when it is there. It is named by the operation. What can go
 * wrong: it cannot be made, or is there already, then a round is recorded that aborts as it begins;
 * the request is given up meanwhile, then the empty directory goes again. */
#include "daemon/core/internal.h"

static char *directory_of(const struct core *c, const struct job *job, const struct operation *op)
{
    struct tide_bytes target = op->target.len ? op->target : VIEW(c->config.savepoint_root);
    const uint8_t *id = job->id.b;
    return core_printf("%.*s/savepoint-%02x%02x%02x-%" PRIu64 "-%" PRIu64, (int)target.len,
                       (const char *)target.data, id[0], id[1], id[2], c->incarnation, op->id);
}

void prepare_pump(struct core *c, struct job *job)
{
    uint32_t n = 0;
    for (const struct operation *op = job->operations; op; op = op->next)
        n += op->directory != NULL;
    for (const struct round *r = job->rounds; r; r = r->next)
        n += r->kind == TIDE_SAVEPOINT;
    for (struct operation *op = job->operations; op && n < SAVEPOINTS_AT_ONCE; op = op->next) {
        if (op->takes != TIDE_SAVEPOINT || op->state != TIDE_OP_QUEUED || !op->durable ||
            op->directory)
            continue;
        op->directory = directory_of(c, job, op);
        op->preparing = true;
        ask_file(c, FILE_MKDIR, op->directory, ASKED_SAVEPOINT_DIR, job, op->id);
        operation_changed(c, op);
        n++;
    }
}

/* The lane leaves a directory that is not empty. */
static void remove_directory(struct core *c, struct job *job, struct operation *op)
{
    ask_file(c, FILE_DELETE_ATTEMPT, op->directory, ASKED_DELETE_ATTEMPT, job, job->attempt);
    free(op->directory);
    op->directory = NULL;
}

void prepare_drop(struct core *c, struct job *job, struct operation *op)
{
    if (op->directory && !op->preparing) remove_directory(c, job, op);
}

void prepare_answer(struct core *c, struct job *job, uint64_t operation, const struct event *ev)
{
    struct operation *op = operation_find(job, operation);
    core_assert(op && op->preparing);
    op->preparing = false;
    if (ev->place) { /* by which it is known, whatever link leads there */
        free(op->directory);
        op->directory = core_printf("%s", ev->place);
    }
    if (op->state != TIDE_OP_QUEUED) { /* given up meanwhile */
        if (ev->rc) {
            free(op->directory);
            op->directory = NULL;
        } else {
            remove_directory(c, job, op);
        }
    } else if (ev->rc) {
        round_stillborn(c, job, op, ev->rc, ev->text);
    }
    trigger_pump(c, job);
}
