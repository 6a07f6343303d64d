/* Snapshots that become directories of their own, which any daemon can take in.
 *
 * The usual way: once the operation is durable its directory is made, and that is durable before
 * anything is written there, so that a daemon that is started again knows what is its own. Then the
 * manifest is loaded and written beside its place; a lane links or copies the files, for a while at
 * a time; and the manifest is renamed to where it belongs. From when it is asked for until it has
 * ended the snapshot stays: it neither goes out of use nor is disposed of.
 *
 * What can go wrong: a file is gone, or there is no room, or the directory is there already. Then
 * the operation fails, and what it has written goes, unless nobody knows what a lane still writes.
 * A daemon that dies takes it up again when it starts, from the beginning. */
#include <stdio.h>

#include "daemon/core/internal.h"

#define SLICE_US (500 * MS)
#define MIB ((uint64_t)1 << 20)

static bool is_open(const struct operation *op)
{
    return op->kind == TIDE_OP_EXPORT && op->state < TIDE_OP_DONE;
}

bool export_wants(const struct job *job, uint64_t snapshot)
{
    for (const struct operation *op = job->operations; op; op = op->next)
        if (is_open(op) && op->snapshot == snapshot) return !PLANTED(EXPORT_UNPINNED);
    return false;
}

const char *export_phase(struct core *c, const struct job *job, const struct operation *op)
{
    const struct snapshot *s = job_snapshot(job, op->snapshot);
    if (op->state == TIDE_OP_QUEUED) return "waiting for the store";
    if (op->state != TIDE_OP_RUNNING) return "";
    if (op->failing) return "deleting what was copied";
    if (!s || !op->copying) return "beginning";
    char *text = tide_arena_printf(&c->out, "copying, %" PRIu64 " of %" PRIu64 " MiB",
                                   op->copied / MIB, s->bytes / MIB + (s->bytes % MIB != 0));
    return text ? text : "copying";
}

/* ---- asking */

static const char *may_not(const struct snapshot *s)
{
    return s->state != TIDE_RETAINED || s->disposing || s->subsuming
               ? "it is being deleted: another one is newer, or its user has asked for it"
               : NULL;
}

void export_asked(struct core *c, struct session *s, const Tide__Request *m,
                  struct tide_bytes frame)
{
    struct tide_bytes directory = UNPB(m->export_snapshot->directory);
    struct wish wish = {.session = s->id,
                        .id = m->id,
                        .call = frame,
                        .asks = "order",
                        .kind = TIDE_OP_EXPORT,
                        .target = directory,
                        .key = UNPB(m->export_snapshot->key),
                        .who = UNPB(m->export_snapshot->who)};
    char why[300];
    struct job *job;
    for (job = c->jobs; job; job = job->next)
        if (operation_again(c, job, &wish)) return;
    const struct snapshot *snapshot = snapshot_named(c, m->export_snapshot->snapshot, &job);
    if (!snapshot) {
        admin_error(c, s->id, m->id, TIDE__ERROR_CODE__ERROR_NOT_FOUND,
                    "there is no snapshot %" PRIu64 ", or it is deleted already",
                    m->export_snapshot->snapshot);
        return;
    }
    wish.job = VIEW(job->name);
    wish.detail = tide_arena_printf(&c->out, ", snapshot %" PRIu64, snapshot->round);
    Tide__ErrorCode code = admin_wish_wrong(c, &wish, job, why);
    if (!code && directory.len < 2) {
        code = TIDE__ERROR_CODE__ERROR_INVALID;
        snprintf(why, sizeof why, "no directory is given");
    }
    if (!code && may_not(snapshot)) {
        code = TIDE__ERROR_CODE__ERROR_STATE;
        snprintf(why, sizeof why, "snapshot %" PRIu64 ": %s", snapshot->round, may_not(snapshot));
    }
    struct operation *op = code ? NULL : operation_new(c, job, &wish);
    if (code) admin_error(c, s->id, m->id, code, "%s", why);
    if (op) op->snapshot = snapshot->round;
}

/* ---- carrying it out */

/* Fails it when what it has written is gone; nobody knows what a lane that has not answered does,
 * and what it writes there is no snapshot without a _metadata. */
static void give_up(struct core *c, struct job *job, struct operation *op, int rc, const char *why)
{
    char *directory = core_text(op->target);
    free(op->failing);
    op->failing = core_printf("%s", why);
    if (rc == TIDE_ETIMEDOUT || !op->location.len)
        operation_fail(c, job, op, NULL, why);
    else
        ask_file(c, FILE_EXPORT_DROP, directory, ASKED_EXPORT_DROPPED, job, op->id);
    free(directory);
}

static void load(struct core *c, struct job *job, const struct operation *op)
{
    uint64_t tag = ask(c, ASKED_EXPORT_MANIFEST, job, op->id);
    struct action *x = act(c, ACT_LOAD);
    x->round = op->snapshot;
    x->tag = tag;
}

static void begin(struct core *c, struct job *job, struct operation *op)
{
    const struct snapshot *s = job_snapshot(job, op->snapshot);
    op->state = TIDE_OP_RUNNING;
    if (!s || may_not(s)) {
        give_up(c, job, op, 0, s ? may_not(s) : "the snapshot is deleted");
    } else if (op->location.len) { /* made by an earlier daemon */
        load(c, job, op);
    } else {
        char *directory = core_text(op->target);
        ask_file(c, FILE_MKDIR, directory, ASKED_EXPORT_DIRECTORY, job, op->id);
        free(directory);
    }
    operation_changed(c, op);
}

void export_pump(struct core *c, struct job *job)
{
    if (c->shutting_down) return;
    for (struct operation *op = job->operations; op; op = op->next)
        if (op->kind == TIDE_OP_EXPORT && op->state == TIDE_OP_QUEUED && op->durable)
            begin(c, job, op);
}

static void directory_made(struct core *c, struct job *job, struct operation *op,
                           const struct event *ev)
{
    if (ev->rc) {
        give_up(c, job, op, ev->rc, ev->text);
        return;
    }
    op->location = core_copy(op->target);
    struct tide_commit *commit = tide_commit_new(true);
    core_assert(commit != NULL);
    operation_record(commit, job, op);
    ask_commit(c, commit, ASKED_EXPORT_BEGUN, job, op->id);
}

static void manifest_loaded(struct core *c, struct job *job, struct operation *op,
                            const struct event *ev)
{
    if (ev->rc) {
        give_up(c, job, op, ev->rc, ev->text);
        return;
    }
    char *directory = core_text(op->target);
    uint64_t tag = ask(c, ASKED_EXPORT, job, op->id);
    struct action *x = act(c, ACT_FILE);
    x->op = FILE_EXPORT_BEGIN;
    x->path = directory;
    x->tag = tag;
    x->image = core_alloc(ev->bytes.len + 1);
    if (ev->bytes.len) memcpy(x->image, ev->bytes.data, ev->bytes.len);
    x->image_len = ev->bytes.len;
}

/* What is copied until the next answer. */
static void copy_on(struct core *c, struct job *job, struct operation *op)
{
    const struct snapshot *s = job_snapshot(job, op->snapshot);
    if (!s) {
        give_up(c, job, op, 0, "the snapshot is deleted");
        return;
    }
    uint64_t tag = ask(c, ASKED_EXPORT, job, op->id);
    struct action *x = act(c, ACT_FILE);
    x->op = FILE_EXPORT;
    x->path = core_text(op->target);
    x->from = core_printf("%s", s->directory);
    memcpy(x->place, op->place, sizeof x->place);
    x->for_us = SLICE_US;
    x->tag = tag;
    op->copying = true;
}

static void copied(struct core *c, struct job *job, struct operation *op, const struct event *ev)
{
    const bool first = !op->copying;
    char *directory;
    if (ev->rc && ev->rc != TIDE_EAGAIN) {
        give_up(c, job, op, ev->rc, ev->text);
        return;
    }
    if (ev->bytes.len == sizeof op->place) {
        for (unsigned i = 0; i < 3; i++)
            op->place[i] = tide_get_u64(ev->bytes.data + i * 8);
        op->copied = op->place[2];
    }
    if (first || ev->rc == TIDE_EAGAIN) {
        copy_on(c, job, op);
    } else {
        directory = core_text(op->target);
        ask_file(c, FILE_META_PUBLISH, directory, ASKED_EXPORT_PUBLISHED, job, op->id);
        free(directory);
    }
    operation_changed(c, op);
}

static void published(struct core *c, struct job *job, struct operation *op, const struct event *ev)
{
    if (ev->rc) {
        give_up(c, job, op, ev->rc, ev->text);
        return;
    }
    op->state = TIDE_OP_DONE;
    op->ended_wall = c->wall;
    struct tide_commit *commit = tide_commit_new(false);
    core_assert(commit != NULL);
    operation_record(commit, job, op);
    ride_commit(c, commit);
    core_log(c, LEVEL_INFO, about_job(job), "job %s: snapshot %" PRIu64 " is exported to %.*s",
             job->name, op->snapshot, (int)op->target.len, (const char *)op->target.data);
    operation_changed(c, op);
}

static void dropped(struct core *c, struct job *job, struct operation *op, const struct event *ev)
{
    char *text = ev->rc ? core_printf("%s (%s: no snapshot, and to be deleted by hand)",
                                      op->failing, ev->text)
                        : core_printf("%s", op->failing);
    free((void *)(uintptr_t)op->location.data);
    op->location = (struct tide_bytes){0};
    operation_fail(c, job, op, NULL, text);
    free(text);
}

void export_answer(struct core *c, struct job *job, const struct pending *p, const struct event *ev)
{
    struct operation *op = operation_find(job, p->number);
    core_assert(op && op->state == TIDE_OP_RUNNING);
    if (c->shutting_down) return; /* the next daemon takes it up */
    switch (p->what) {
    case ASKED_EXPORT_DIRECTORY: directory_made(c, job, op, ev); break;
    case ASKED_EXPORT_BEGUN:
        if (ev->outcome == TIDE_STORED)
            load(c, job, op);
        else
            give_up(c, job, op, 0, "it could not be stored");
        break;
    case ASKED_EXPORT_MANIFEST: manifest_loaded(c, job, op, ev); break;
    case ASKED_EXPORT: copied(c, job, op, ev); break;
    case ASKED_EXPORT_PUBLISHED: published(c, job, op, ev); break;
    default: dropped(c, job, op, ev);
    }
}
