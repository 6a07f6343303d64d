/* Questions to the host (commits, files, manifests, "is it sent?") and what to do with the answers.
 *
 * The usual way: ask_*() remembers what was asked under a new tag and adds the action; the answer
 * comes as an event with that tag and goes to whoever asked. What can go wrong: the store does not
 * answer within its limit, or answers `unknown`: the process stops without a word to anyone, since
 * nobody can say what is durable. The next start finds out. */
#include "daemon/core/internal.h"

uint64_t ask(struct core *c, enum asked what, struct job *job, uint64_t number)
{
    struct pending *p = core_alloc(sizeof *p);
    *p = (struct pending){
        .what = what, .tag = ++c->next_tag, .since = c->now, .job = job, .number = number};
    map_put(&c->pending, p->tag, p);
    return p->tag;
}

static void arm_store_timer(struct core *c)
{
    timer_set(c, &c->store_timer,
              c->commits ? c->commits->since + c->config.store_timeout_us : NEVER);
}

void ask_commit(struct core *c, struct tide_commit *commit, enum asked what, struct job *job,
                uint64_t number)
{
    core_assert(commit && commit->rc == 0 && commit->awaited);
    commit->tag = ask(c, what, job, number);
    struct pending *p = map_get(&c->pending, commit->tag);
    p->commit = true;
    p->prev = c->commits_last;
    if (c->commits_last)
        c->commits_last->next = p;
    else
        c->commits = p;
    c->commits_last = p;
    if (p == c->commits) arm_store_timer(c);
    act(c, ACT_COMMIT)->commit = commit;
}

void ride_commit(struct core *c, struct tide_commit *commit)
{
    core_assert(commit && commit->rc == 0 && !commit->awaited);
    act(c, ACT_COMMIT)->commit = commit;
}

void ask_file(struct core *c, enum file_op op, const char *path, enum asked what, struct job *job,
              uint64_t number)
{
    uint64_t tag = ask(c, what, job, number);
    struct action *x = act(c, ACT_FILE);
    x->op = op;
    x->path = core_printf("%s", path);
    x->tag = tag;
}

static void unlink_commit(struct core *c, struct pending *p)
{
    if (!p->commit) return;
    if (p->prev)
        p->prev->next = p->next;
    else
        c->commits = p->next;
    if (p->next)
        p->next->prev = p->prev;
    else
        c->commits_last = p->prev;
    arm_store_timer(c);
}

static void reserved(struct core *c, const struct pending *p, enum tide_outcome outcome)
{
    c->reserving = false;
    if (outcome != TIDE_STORED) {
        core_log(c, LEVEL_ERROR, (struct about){0},
                 "no ids could be reserved: the store %s; no round begins until it can",
                 outcome == TIDE_NO_SPACE ? "has no space" : "refused");
        timer_set(c, &c->reserve_timer, c->now + 1000 * MS);
        return;
    }
    c->reserved = p->number;
    for (struct job *job = c->jobs; job; job = job->next) {
        attempt_try(c, job);
        trigger_pump(c, job);
    }
}

static void dispatch(struct core *c, const struct pending *p, const struct event *ev)
{
    struct job *job = p->job;
    switch (p->what) {
    case ASKED_RESERVE: reserved(c, p, ev->outcome); break;
    case ASKED_JOB: job_stored(c, job, ev); break;
    case ASKED_JOB_FROM: job_from(c, job, ev); break;
    case ASKED_ATTEMPT: attempt_stored(c, job, p->number, ev->outcome, ev->text); break;
    case ASKED_ATTEMPT_DIR: attempt_dir_made(c, job, p->number, ev->rc, ev->text); break;
    case ASKED_MANIFEST: attempt_manifest(c, job, ev); break;
    case ASKED_RUNNING: attempt_running(c, job, p->number, ev->outcome); break;
    case ASKED_OPERATION: operation_stored(c, job, p->number, ev->outcome, ev->text); break;
    case ASKED_SAVED: operation_saved(c, job, p->number, ev->outcome); break;
    case ASKED_ROUND_BEGIN:
    case ASKED_METADATA:
    case ASKED_ROUND_COMMIT:
    case ASKED_PUBLISH:
    case ASKED_TRIGGER_SENT:
    case ASKED_COMPLETE_SENT: round_answer(c, job, p, ev); break;
    case ASKED_SAVEPOINT_DIR: prepare_answer(c, job, p->number, ev); break;
    case ASKED_ABORTED: clean_recorded(c, job, p->number, ev->outcome); break;
    case ASKED_DELETE: clean_answer(c, job, p->number, ev->rc, ev->text); break;
    case ASKED_SHARED: share_condemned(c, job, ev->outcome); break;
    case ASKED_DELETE_SHARED: share_deleted(c, job, ev->rc, ev->text); break;
    case ASKED_DELETE_ATTEMPT: break; /* a directory that stays is seen by the next sweep */
    case ASKED_ENDED:
        if (ev->outcome == TIDE_STORED)
            job_ended_stored(c, job);
        else
            job_end_not_stored(c, job);
        break;
    case ASKED_EXPORT_DIRECTORY:
    case ASKED_EXPORT_BEGUN:
    case ASKED_EXPORT_MANIFEST:
    case ASKED_EXPORT:
    case ASKED_EXPORT_PUBLISHED:
    case ASKED_EXPORT_DROPPED: export_answer(c, job, p, ev); break;
    case ASKED_DISPOSED: dispose_stored(c, job, p->number, ev->outcome, ev->text); break;
    case ASKED_RESTORE_PUBLISH: attempt_published(c, job, p->number, ev->rc, ev->text); break;
    case ASKED_RESTORE_BYTES: attempt_bytes(c, job, p->number, ev->rc, ev->text); break;
    case ASKED_RESTORE_LOOK: attempt_looked(c, job, p->number, ev->rc, ev->text); break;
    case ASKED_HELD: order_held(c, job, p->number, ev->outcome); break;
    case ASKED_CHOICE_PUBLISH: choice_published(c, job, ev); break;
    case ASKED_CHOICE_BYTES: choice_bytes(c, job, ev); break;
    case ASKED_CHOICE: choice_manifest(c, job, ev); break;
    case ASKED_DIRECTORY: choice_directory(c, job, ev); break;
    case ASKED_CHOSEN: choice_stored(c, job, ev->outcome, ev->text); break;
    case ASKED_RELEASED: order_released(c, job, ev->outcome, ev->text); break;
    case ASKED_FLUSH: c->flushing = false; break;
    }
}

void answered(struct core *c, const struct event *event)
{
    struct event with = *event, *ev = &with;
    if (!with.text) with.text = with.rc ? tide_strerror(with.rc) : "the store did not take it";
    struct pending *p = map_remove(&c->pending, ev->tag);
    core_assert(p != NULL);
    unlink_commit(c, p);
    if (ev->type == EV_STORED && ev->outcome == TIDE_UNKNOWN)
        core_stop(c, 1, ev->text);
    else
        dispatch(c, p, ev);
    free(p);
}
