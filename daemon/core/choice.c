/* What a job is restored from by an admin's order; and what is imported, which is the same decision
 * without the order to go on from it.
 *
 * The usual way: the manifest of what is named is read, from the store or, if the store knows
 * nothing of it, out of its directory (import.c); then, while no commit of the job is with the
 * store, it is decided whether the job may go on from there, and the attempt ends in the same
 * breath, so that nothing can come in between; one commit says from what the job goes on (its
 * base), what is given up for it, and that the order is done. The job is WAITING then, whatever it
 * was before, and its next attempt restores the base, as does every further one until a round with
 * effects that is newer than the order completes.
 *
 * What can go wrong: the snapshot cannot be read; it does not fit the job's operators (match.c);
 * commits that are owed would be lost; effects would be repeated. The order fails then and changes
 * nothing, and its report has the decision operator by operator, as that of a dry run. If the store
 * does not take the commit, the attempt has ended for nothing: the next one restores what it would
 * have restored without the order. */
#include <stdarg.h>
#include <stdio.h>

#include "daemon/core/internal.h"

struct choice {
    Tide__RestoreJob__FromCase from;
    bool unmatched, repeat, abandon, dry_run;
    bool only_known;   /* an import: nothing goes on from it */
    uint64_t snapshot; /* 0: nothing */
    uint64_t since;    /* the highest id that had been issued when it was decided */
    uint64_t above;    /* effects of rounds above this one would be repeated */
    bool ready;        /* its manifest, if any, is here: it can be decided */
    uint8_t *image;
    size_t image_len;
    char *directory;       /* to be looked at, or NULL */
    struct import *import; /* what is in it */
    struct tide_bytes label;
    struct tide_buf report;
    struct tide_bytes adopted; /* malloc'ed */
    char why[400];             /* the first reason against it; empty: none */
};

static void say(struct choice *ch, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct choice *ch, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    tide_buf_put(&ch->report, text, strlen(text));
    tide_buf_put_u8(&ch->report, '\n');
}

/* The answer is no: the first reason becomes the order's error, the report has all. */
static void refuse(struct choice *ch, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void refuse(struct choice *ch, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (!ch->why[0]) memcpy(ch->why, text, sizeof ch->why);
    say(ch, "refused: %s", text);
}

void choice_free(struct job *job)
{
    struct choice *ch = job->choice;
    if (!ch) return;
    free(ch->image);
    free(ch->directory);
    free((void *)(uintptr_t)ch->label.data);
    import_free(ch->import);
    free((void *)(uintptr_t)ch->adopted.data);
    tide_buf_release(&ch->report);
    free(ch);
    job->choice = NULL;
}

bool choice_wants(const struct job *job, uint64_t snapshot)
{
    return job->choice && job->choice->snapshot == snapshot;
}

const struct import *choice_import(const struct job *job)
{
    return job->choice ? job->choice->import : NULL;
}

static void keep_report(struct job *job)
{
    struct operation *op = job->order;
    free((void *)(uintptr_t)op->report.data);
    op->report = core_copy((struct tide_bytes){job->choice->report.data, job->choice->report.len});
}

static void give_up(struct core *c, struct job *job, char *why)
{
    keep_report(job);
    choice_free(job);
    order_failed(c, job, why);
    attempt_try(c, job);
}

/* ---- the decision */

char *choice_forbidden(const struct job *job)
{
    if (job->state != TIDE_JOB_STOPPING && (!job->end_asked || tide_job_ended(job->state)))
        return NULL;
    return core_printf("job %s is ending: its last snapshot is complete", job->name);
}

/* Effects that an old copy of the database has forgotten. Its own latest snapshot is not newer. */
static bool repeats_forgotten(const struct job *job, const struct choice *ch)
{
    uint64_t told = put_back_holds(job) ? put_back_told(job->cause) : 0;
    return put_back_holds(job) && (told == 0 || told > ch->above);
}

static void look_at_forgotten(const struct job *job, struct choice *ch)
{
    char *rounds = put_back_rounds(job, ch->above), *why = put_back_refusal(job, ch->above);
    if (ch->repeat)
        say(ch, "repeats: the effects of %s", rounds);
    else
        refuse(ch, "%s", why);
    free(rounds);
    free(why);
}

/* Effects that were published after what is restored will be published again. */
static void look_at_effects(const struct job *job, struct choice *ch)
{
    uint64_t newest = put_back_newest(job);
    if (repeats_forgotten(job, ch)) {
        look_at_forgotten(job, ch);
        return;
    }
    if (ch->from == TIDE__RESTORE_JOB__FROM_LATEST || newest <= ch->above) return;
    if (ch->repeat)
        say(ch, "repeats: the effects of the rounds after %" PRIu64 ", up to %" PRIu64, ch->above,
            newest);
    else
        refuse(ch,
               "rounds up to %" PRIu64 " have had their effects, and those after %" PRIu64
               " would be repeated: only if that is allowed (--allow-repeat)",
               newest, ch->above);
}

/* Commits of rounds that are to be undone cannot be carried out by what is restored. */
static void look_at_owed(const struct job *job, struct choice *ch)
{
    uint32_t lost = 0;
    for (const struct owed *o = job->owed; o; o = o->next) {
        uint32_t subtask;
        const struct tide_operator *op = tide_graph_operator(job->graph, o->task, &subtask);
        if (ch->abandon)
            say(ch, "abandons: the commit owed to %.*s[%u] by round %" PRIu64, (int)op->uid.len,
                (const char *)op->uid.data, subtask, o->round);
        lost += o->round > ch->above;
    }
    if (lost && !ch->abandon)
        refuse(ch,
               "%u commits of rounds after %" PRIu64
               " are owed and would be lost: let them be confirmed, or abandon them "
               "(--abandon-owed)",
               lost, ch->above);
}

/* What is made known although it does not match may be restored later, with unmatched state
 * allowed: its ended tasks are those of that restore. */
static int match_as_allowed(struct match *match, const struct job *job,
                            const struct tide_manifest *m)
{
    struct match_wish wish = {.unmatched = true};
    char why[256];
    return match_new(match, job->graph, m, &wish, why);
}

static void look_at_operators(struct job *job, struct choice *ch)
{
    struct tide_manifest m;
    struct match match;
    struct match_wish wish = {.unmatched = ch->unmatched, .report = &ch->report};
    char why[256];
    struct tide_bytes image =
        ch->import ? import_image(ch->import) : (struct tide_bytes){ch->image, ch->image_len};
    int rc = tide_manifest_open(&m, image, why);
    if (!rc) {
        rc = match_new(&match, job->graph, &m, &wish, why);
        if (rc == TIDE_EINVAL && !ch->why[0] && !ch->only_known)
            snprintf(ch->why, sizeof ch->why, "%s", why);
        if (rc == TIDE_EINVAL && ch->only_known) rc = match_as_allowed(&match, job, &m);
        if (!rc && ch->import) import_keep_ended(ch->import, job, &m, &match);
        if (!rc) {
            ch->adopted = match.adopted;
            match.adopted = (struct tide_bytes){0};
            match_release(&match);
        }
        tide_manifest_close(&m);
    }
    if (rc && rc != TIDE_EINVAL && ch->import)
        refuse(ch, "%.120s/_metadata: %s", ch->directory, why);
    else if (rc && rc != TIDE_EINVAL)
        refuse(ch, "snapshot %" PRIu64 ": %s", ch->snapshot, why);
}

static void look_at_all(struct job *job, struct choice *ch)
{
    const struct snapshot *s = ch->snapshot ? job_snapshot(job, ch->snapshot) : NULL;
    if (ch->snapshot && (!s || s->state != TIDE_RETAINED || s->disposing)) {
        refuse(ch, "snapshot %" PRIu64 " of job %s is not there any more", ch->snapshot, job->name);
        return;
    }
    if (ch->import && import_goes(job->core, ch->import)) {
        refuse(ch, "what is in %.200s is being disposed of", ch->directory);
        return;
    }
    if (ch->import)
        say(ch, "from: %s, in %s", import_words(ch->import), ch->directory);
    else if (s && s->imported)
        say(ch, "from: %s %" PRIu64 ", imported from %s", tide_kind_name(s->kind), s->round,
            s->directory);
    else if (s)
        say(ch, "from: %s %" PRIu64 " of attempt %" PRIu64, tide_kind_name(s->kind), s->round,
            s->attempt);
    else
        say(ch, "from: nothing, the job starts afresh");
    if (!ch->only_known) {
        look_at_effects(job, ch);
        look_at_owed(job, ch);
    }
    if (s || ch->import) look_at_operators(job, ch);
}

/* ---- carrying it out */

static void record_base(struct tide_commit *commit, struct job *job, const struct choice *ch)
{
    struct tide_record *r = tide_commit_add(commit, TIDE_REC_BASE, job->id);
    core_assert(r != NULL);
    r->base.since = ch->since;
    r->base.snapshot = ch->snapshot;
    r->base.unmatched = ch->unmatched;
    r->base.adopted = tide_commit_bytes(commit, ch->adopted);
}

static void record_repeat(struct core *c, struct tide_commit *commit, struct job *job,
                          const struct choice *ch, struct tide_bytes who)
{
    uint64_t newest = put_back_newest(job);
    if (repeats_forgotten(job, ch)) {
        put_back_record(c, commit, job, ch->above, who);
        return;
    }
    if (ch->from == TIDE__RESTORE_JOB__FROM_LATEST || newest <= ch->above) return;
    char *detail =
        core_printf("operation %" PRIu64 ", the rounds after %" PRIu64 ", up to %" PRIu64,
                    job->order->id, ch->above, newest);
    operation_audit(c, commit, job, who, "repeat effects", detail);
    free(detail);
}

/* What was read becomes a snapshot of the job in the same commit. */
static bool record_import(struct core *c, struct tide_commit *commit, struct job *job)
{
    struct choice *ch = job->choice;
    struct operation *op = job->order;
    if (!ch->import || ch->dry_run) return true;
    if (!import_record(c, commit, job, ch->import, ch->label)) return false;
    ch->snapshot = import_id(ch->import);
    free((void *)(uintptr_t)op->location.data);
    op->location = core_copy(VIEW(ch->directory));
    return true;
}

static void carry_out(struct core *c, struct job *job)
{
    struct choice *ch = job->choice;
    const Tide__Request *m = order_request(c, job->order);
    bool restores = m && m->call_case == TIDE__REQUEST__CALL_RESTORE;
    struct tide_bytes who = restores ? UNPB(m->restore->who) : (struct tide_bytes){0};
    struct tide_commit *commit = tide_commit_new(true);
    core_assert(commit != NULL);
    if (!record_import(c, commit, job)) {
        tide_commit_free(commit);
        give_up(c, job, core_printf("no number can be had at the moment: try again"));
        return;
    }
    job->order->snapshot = ch->snapshot;
    ch->since = c->next_id - 1;
    if (!ch->dry_run && !ch->only_known) {
        attempt_end_ordered(c, job, "an admin has ordered what to restore");
        record_base(commit, job, ch);
        record_strikes(job, commit); /* what is not owed must not be again, behind the base */
        record_repeat(c, commit, job, ch, who);
        stop_record_held(job, commit);
        if (ch->abandon) order_record_abandon(c, commit, job, job->order, who);
        job_record_state(c, commit, job, TIDE_JOB_WAITING);
        job->order_flies = true;
    }
    operation_record_done(c, commit, job, job->order);
    ask_commit(c, commit, ASKED_CHOSEN, job, job->order->id);
}

void choice_pump(struct core *c, struct job *job)
{
    struct choice *ch = job->choice;
    if (!ch->ready || job_committing(job)) return;
    ch->ready = false; /* once */
    char *forbidden = ch->only_known ? NULL : choice_forbidden(job);
    if (forbidden) {
        give_up(c, job, forbidden);
        return;
    }
    look_at_all(job, ch);
    core_assert(ch->report.rc == 0);
    if (ch->why[0]) {
        give_up(c, job, core_printf("%s", ch->why));
        return;
    }
    keep_report(job);
    carry_out(c, job);
}

void choice_stored(struct core *c, struct job *job, enum tide_outcome outcome, const char *text)
{
    struct choice *ch = job->choice;
    core_assert(ch != NULL);
    job->order_flies = false;
    if (outcome != TIDE_STORED) {
        give_up(c, job, core_printf("it could not be stored: %s", text));
        return;
    }
    if (ch->import && !ch->dry_run) import_add(c, job, ch->import);
    if (!ch->dry_run && !ch->only_known) {
        free((void *)(uintptr_t)job->base.adopted.data);
        job->base = (struct base){ch->since, ch->snapshot, ch->unmatched, ch->adopted};
        ch->adopted = (struct tide_bytes){0};
        job_adopt(job);
        if (ch->abandon) order_abandon(job);
        stop_held_stored(c, job);
        job_reopen(job);
        core_log(c, LEVEL_INFO, about_job(job),
                 "job %s: an admin has ordered that it goes on from %s %" PRIu64, job->name,
                 ch->snapshot ? "snapshot" : "nothing:", ch->snapshot);
    }
    choice_free(job);
    order_done(c, job);
    job_admit_parked(c, job);
    attempt_try(c, job);
}

/* ---- the beginning */

static void load(struct core *c, struct job *job)
{
    uint64_t snapshot = job->choice->snapshot;
    uint64_t tag = ask(c, ASKED_CHOICE, job, snapshot);
    struct action *x = act(c, ACT_LOAD);
    x->round = snapshot;
    x->tag = tag;
}

/* What is its user's may have been moved, or changed: it is looked at as an attempt would, before
 * one that is well is ended for it. */
static void look_into(struct core *c, struct job *job, enum file_op op, enum asked what)
{
    const struct snapshot *s = job_snapshot(job, job->choice->snapshot);
    if (s)
        ask_file(c, op, s->directory, what, job, s->round);
    else
        load(c, job); /* and it will be told that it has gone */
}

void choice_bytes(struct core *c, struct job *job, const struct event *ev)
{
    struct choice *ch = job->choice;
    core_assert(ch != NULL);
    if (ev->rc)
        give_up(c, job,
                core_printf("snapshot %" PRIu64 " cannot be read: %s", ch->snapshot, ev->text));
    else
        load(c, job);
}

/* The _metadata of a savepoint of our own is in its place, which it may not have been. */
void choice_published(struct core *c, struct job *job, const struct event *ev)
{
    core_assert(job->choice != NULL);
    if (ev->rc)
        choice_bytes(c, job, ev);
    else
        look_into(c, job, FILE_META_READ, ASKED_CHOICE_BYTES);
}

void choice_manifest(struct core *c, struct job *job, const struct event *ev)
{
    struct choice *ch = job->choice;
    core_assert(ch != NULL);
    if (ev->rc) {
        give_up(c, job,
                core_printf("snapshot %" PRIu64 " cannot be read: %s", ch->snapshot, ev->text));
        return;
    }
    ch->image = core_alloc(ev->bytes.len);
    memcpy(ch->image, ev->bytes.data, ev->bytes.len);
    ch->image_len = ev->bytes.len;
    const struct snapshot *s = job_snapshot(job, ch->snapshot);
    if (s && s->imported && ch->from != TIDE__RESTORE_JOB__FROM_LATEST)
        ch->above = import_origin(c, job, ev->bytes);
    ch->ready = true;
    choice_pump(c, job);
}

void choice_directory(struct core *c, struct job *job, const struct event *ev)
{
    struct choice *ch = job->choice;
    char why[300];
    core_assert(ch != NULL);
    ch->import = import_new(ch->directory, ev, why);
    if (!ch->import) {
        give_up(c, job, core_printf("%s", why));
        return;
    }
    ch->above = import_own_round(c, job, ch->import);
    ch->ready = true;
    choice_pump(c, job);
}

/* Of this job, in that very place. */
static const struct snapshot *snapshot_in(const struct job *job, const char *directory)
{
    for (const struct snapshot *s = job->snapshots; s; s = s->next)
        if (s->state == TIDE_RETAINED && strcmp(directory, s->directory) == 0) return s;
    return NULL;
}

/* What is named, or why it cannot be. */
static char *resolve(struct job *job, const Tide__RestoreJob *m, struct choice *ch)
{
    const struct snapshot *s;
    switch (m->from_case) {
    case TIDE__RESTORE_JOB__FROM_NOTHING: return NULL;
    case TIDE__RESTORE_JOB__FROM_LATEST:
        s = job_recovery_point(job);
        if (!s && job->base.snapshot)
            return core_printf("job %s was to go on from snapshot %" PRIu64
                               ", which is not there any more",
                               job->name, job->base.snapshot);
        if (!s && !job->base.since) return core_printf("job %s has no snapshot yet", job->name);
        ch->snapshot = s ? s->round : 0;
        break;
    case TIDE__RESTORE_JOB__FROM_DIRECTORY:
        ch->directory = import_path(UNPB(m->directory));
        s = snapshot_in(job, ch->directory);
        if (s) ch->snapshot = s->round;
        break;
    default:
        s = job_snapshot(job, m->snapshot);
        if (!s || s->state != TIDE_RETAINED)
            return core_printf("job %s has no snapshot %" PRIu64, job->name, m->snapshot);
        ch->snapshot = m->snapshot;
    }
    ch->above = ch->snapshot;
    return NULL;
}

/* What the request asks for; malloc'ed: why that cannot be. */
static char *read_request(struct job *job, const Tide__Request *m, struct choice *ch)
{
    if (m && m->call_case == TIDE__REQUEST__CALL_IMPORT_SNAPSHOT) {
        const Tide__ImportSnapshot *i = m->import_snapshot;
        const struct snapshot *s;
        ch->only_known = true;
        ch->dry_run = i->dry_run;
        ch->label = core_copy(UNPB(i->label));
        ch->from = TIDE__RESTORE_JOB__FROM_DIRECTORY;
        ch->directory = import_path(UNPB(i->directory));
        s = snapshot_in(job, ch->directory);
        return s ? core_printf("what is in %s is snapshot %" PRIu64 " of job %s already",
                               ch->directory, s->round, job->name)
                 : NULL;
    }
    if (!m) return core_printf("the order as it was stored cannot be read");
    ch->from = m->restore->from_case;
    ch->unmatched = m->restore->allow_unmatched;
    ch->repeat = m->restore->allow_repeat;
    ch->abandon = m->restore->abandon_owed;
    ch->dry_run = m->restore->dry_run;
    return resolve(job, m->restore, ch);
}

void choice_begin(struct core *c, struct job *job)
{
    struct choice *ch = job->choice = core_alloc(sizeof *ch);
    tide_buf_init(&ch->report, (size_t)8 << 20);
    bool imports = job->order->kind == TIDE_OP_IMPORT;
    char *why = imports ? NULL : choice_forbidden(job);
    if (!why) why = read_request(job, order_request(c, job->order), ch);
    if (why) {
        give_up(c, job, why);
    } else if (ch->snapshot) {
        const struct snapshot *s = job_snapshot(job, ch->snapshot);
        if (s && s->imported)
            look_into(c, job, FILE_META_READ, ASKED_CHOICE_BYTES);
        else if (s && s->kind == TIDE_SAVEPOINT)
            look_into(c, job, FILE_META_PUBLISH, ASKED_CHOICE_PUBLISH);
        else
            load(c, job);
    } else if (ch->directory) {
        ask_file(c, FILE_META_READ, ch->directory, ASKED_DIRECTORY, job, 0);
    } else {
        ch->ready = true;
        choice_pump(c, job);
    }
}
