/* What a job is restored from by an admin's order.
 *
 * The usual way: the manifest of what is named is read; then, while no commit of the job is with
 * the store, it is decided whether the job may go on from there, and the attempt ends in the same
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
    uint64_t snapshot; /* 0: nothing */
    uint64_t since;    /* the highest id that had been issued when it was decided */
    uint64_t above;    /* effects of rounds above this one would be repeated */
    bool ready;        /* its manifest, if any, is here: it can be decided */
    uint8_t *image;
    size_t image_len;
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
    free((void *)(uintptr_t)ch->adopted.data);
    tide_buf_release(&ch->report);
    free(ch);
    job->choice = NULL;
}

bool choice_wants(const struct job *job, uint64_t snapshot)
{
    return job->choice && job->choice->snapshot == snapshot;
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

static uint64_t newest_effects(const struct job *job)
{
    uint64_t newest = 0;
    for (const struct snapshot *s = job->snapshots; s; s = s->next)
        if (s->commits) newest = s->round;
    return newest;
}

/* Effects that were published after what is restored will be published again. */
static void look_at_effects(const struct job *job, struct choice *ch)
{
    uint64_t newest = newest_effects(job);
    if (ch->from == TIDE__RESTORE_JOB__FROM_LATEST || newest <= ch->above) return;
    if (ch->repeat)
        say(ch, "repeats: the effects of the rounds after %" PRIu64 ", up to %" PRIu64, ch->above,
            newest);
    else
        refuse(ch,
               "rounds up to %" PRIu64 " have had their effects, and those after %" PRIu64
               " would be repeated: only if that is allowed",
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
               " are owed and would be lost: let them be confirmed, or abandon them",
               lost, ch->above);
}

static void look_at_operators(struct job *job, struct choice *ch)
{
    struct tide_manifest m;
    struct match match;
    struct match_wish wish = {.unmatched = ch->unmatched, .report = &ch->report};
    char why[256];
    int rc = tide_manifest_open(&m, (struct tide_bytes){ch->image, ch->image_len}, why);
    if (!rc) {
        rc = match_new(&match, job->graph, &m, &wish, why);
        if (rc == TIDE_EINVAL && !ch->why[0]) snprintf(ch->why, sizeof ch->why, "%s", why);
        if (!rc) {
            ch->adopted = match.adopted;
            match.adopted = (struct tide_bytes){0};
            match_release(&match);
        }
        tide_manifest_close(&m);
    }
    if (rc && rc != TIDE_EINVAL) refuse(ch, "snapshot %" PRIu64 ": %s", ch->snapshot, why);
}

static void look_at_all(struct job *job, struct choice *ch)
{
    const struct snapshot *s = ch->snapshot ? job_snapshot(job, ch->snapshot) : NULL;
    if (ch->snapshot && (!s || s->state != TIDE_RETAINED || s->disposing)) {
        refuse(ch, "snapshot %" PRIu64 " of job %s is not there any more", ch->snapshot, job->name);
        return;
    }
    if (s)
        say(ch, "from: %s %" PRIu64 " of attempt %" PRIu64, tide_kind_name(s->kind), s->round,
            s->attempt);
    else
        say(ch, "from: nothing, the job starts afresh");
    look_at_effects(job, ch);
    look_at_owed(job, ch);
    if (s) look_at_operators(job, ch);
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
    uint64_t newest = newest_effects(job);
    if (ch->from == TIDE__RESTORE_JOB__FROM_LATEST || newest <= ch->above) return;
    char *detail =
        core_printf("operation %" PRIu64 ", the rounds after %" PRIu64 ", up to %" PRIu64,
                    job->order->id, ch->above, newest);
    operation_audit(c, commit, job, who, "repeat effects", detail);
    free(detail);
}

static void carry_out(struct core *c, struct job *job)
{
    struct choice *ch = job->choice;
    const Tide__Request *m = order_request(c, job->order);
    struct tide_bytes who = m && m->restore ? UNPB(m->restore->who) : (struct tide_bytes){0};
    struct tide_commit *commit = tide_commit_new(true);
    core_assert(commit != NULL);
    job->order->snapshot = ch->snapshot;
    ch->since = c->next_id - 1;
    if (!ch->dry_run) {
        attempt_end_ordered(c, job, "an admin has ordered what to restore");
        record_base(commit, job, ch);
        record_strikes(job, commit); /* what is not owed must not be again, behind the base */
        record_repeat(c, commit, job, ch, who);
        if (ch->abandon) order_record_abandon(c, commit, job, job->order, who);
        job_record_state(c, commit, job, TIDE_JOB_WAITING);
    }
    operation_record_done(c, commit, job, job->order);
    ask_commit(c, commit, ASKED_CHOSEN, job, job->order->id);
}

void choice_pump(struct core *c, struct job *job)
{
    struct choice *ch = job->choice;
    if (!ch->ready || job_committing(job)) return;
    ch->ready = false; /* once */
    char *forbidden = choice_forbidden(job);
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
    if (!ch) return;
    if (outcome != TIDE_STORED) {
        give_up(c, job, core_printf("it could not be stored: %s", text ? text : ""));
        return;
    }
    if (!ch->dry_run) {
        free((void *)(uintptr_t)job->base.adopted.data);
        job->base = (struct base){ch->since, ch->snapshot, ch->unmatched, ch->adopted};
        ch->adopted = (struct tide_bytes){0};
        if (ch->abandon) order_abandon(job);
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

void choice_manifest(struct core *c, struct job *job, const struct event *ev)
{
    struct choice *ch = job->choice;
    if (!ch) return;
    if (ev->rc) {
        give_up(c, job,
                core_printf("snapshot %" PRIu64 " cannot be read: %s", ch->snapshot,
                            ev->text ? ev->text : tide_strerror(ev->rc)));
        return;
    }
    ch->image = core_alloc(ev->bytes.len);
    memcpy(ch->image, ev->bytes.data, ev->bytes.len);
    ch->image_len = ev->bytes.len;
    ch->ready = true;
    choice_pump(c, job);
}

/* Of this job, in that very place. */
static const struct snapshot *snapshot_in(const struct job *job, struct tide_bytes directory)
{
    while (directory.len > 1 && directory.data[directory.len - 1] == '/')
        directory.len--;
    for (const struct snapshot *s = job->snapshots; s; s = s->next)
        if (s->state == TIDE_RETAINED && tide_bytes_equal(directory, tide_bytes_of(s->directory)))
            return s;
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
        s = snapshot_in(job, UNPB(m->directory));
        if (!s)
            return core_printf("none of job %s's snapshots is in %.*s: what another job or store "
                               "has taken, or was moved, cannot be restored yet",
                               job->name, (int)m->directory.len, (const char *)m->directory.data);
        ch->snapshot = s->round;
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

void choice_begin(struct core *c, struct job *job)
{
    const Tide__Request *request = order_request(c, job->order);
    const Tide__RestoreJob *m = request ? request->restore : NULL;
    struct choice *ch = job->choice = core_alloc(sizeof *ch);
    tide_buf_init(&ch->report, (size_t)8 << 20);
    char *why = choice_forbidden(job);
    if (!why && !m) why = core_printf("the order as it was stored cannot be read");
    if (!why) {
        ch->from = m->from_case;
        ch->unmatched = m->allow_unmatched;
        ch->repeat = m->allow_repeat;
        ch->abandon = m->abandon_owed;
        ch->dry_run = m->dry_run;
        why = resolve(job, m, ch);
    }
    if (why) {
        give_up(c, job, why);
    } else if (ch->snapshot) {
        uint64_t tag = ask(c, ASKED_CHOICE, job, ch->snapshot);
        struct action *x = act(c, ACT_LOAD);
        x->round = ch->snapshot;
        x->tag = tag;
    } else {
        ch->ready = true;
        choice_pump(c, job);
    }
}
