/* The door of the checks: what happens is taken apart here and goes to the promises that it is
 * about. docs/simulation.md lists them. */
#include "tests/sim/sim.h"

struct attempt *check_attempt(struct sim *s, struct job *j, uint64_t number)
{
    for (struct attempt *a = j->attempts; a; a = a->next)
        if (a->number == number && !a->past) return a;
    struct attempt *a = sim_alloc(s, sizeof *a);
    a->number = number;
    a->next = j->attempts;
    j->attempts = a;
    return a;
}

struct round *check_round(const struct job *j, uint64_t number)
{
    for (struct round *r = j->rounds; r; r = r->next)
        if (r->number == number && !r->past) return r;
    return NULL;
}

/* A round's number is seen for the first time, or belongs to the same round as before. */
struct round *check_learn_round(struct sim *s, struct job *j, uint64_t number, uint64_t attempt,
                                uint64_t incarnation, const char *where)
{
    struct round *r = check_round(j, number);
    for (const struct job *other = s->jobs; !r && other; other = other->next)
        must(s, !check_round(other, number), "round id %" PRIu64 " is issued to jobs %s and %s",
             number, other->name, j->name);
    for (const struct round *past = j->rounds; !r && past; past = past->next)
        must(s, past->number != number || past->incarnation != incarnation,
             "round id %" PRIu64 " of incarnation %" PRIu64 " is issued twice", number,
             incarnation);
    must(s, incarnation == s->daemon.incarnation,
         "round %" PRIu64 " is of incarnation %" PRIu64 ", this is %" PRIu64, number, incarnation,
         s->daemon.incarnation);
    if (r) {
        must(s, r->attempt == attempt && r->life == s->daemon.life,
             "round id %" PRIu64 " is issued twice: in attempt %" PRIu64
             " and, by %s, in attempt %" PRIu64,
             number, r->attempt, where, attempt);
        return r;
    }
    must(s, number && number <= s->store.reserved,
         "round id %" PRIu64 " is issued, reserved are ids up to %" PRIu64, number,
         s->store.reserved);
    r = sim_alloc(s, sizeof *r);
    *r = (struct round){.next = j->rounds,
                        .job = j,
                        .number = number,
                        .attempt = attempt,
                        .incarnation = incarnation,
                        .life = s->daemon.life,
                        .begun = s->now};
    j->rounds = r;
    happens(s, (struct happening){.type = H_ROUND,
                                  .job = j->number,
                                  .attempt = attempt,
                                  .round = number,
                                  .incarnation = incarnation});
    return r;
}

/* ---- what the daemon says */

static struct tide_bytes after(struct tide_bytes frames)
{
    size_t n = TIDE_FRAME_HEADER + tide_get_u32(frames.data);
    return (struct tide_bytes){frames.data + n, frames.len - n};
}

void check_sent(struct sim *s, struct tide_bytes frames, const uint64_t *sessions, uint32_t n)
{
    struct conn *c = n ? net_find(s, sessions[0]) : NULL;
    if (!c) return;
    if (!c->proc) { /* an admin */
        for (; frames.len > TIDE_FRAME_HEADER; frames = after(frames))
            check_answer(
                s, (struct tide_bytes){frames.data + TIDE_FRAME_HEADER, tide_get_u32(frames.data)});
        return;
    }
    struct job *j = c->proc->job;
    for (uint32_t i = 1; i < n; i++) {
        const struct conn *other = net_find(s, sessions[i]);
        must(s, !other || !other->proc || other->proc->job == j,
             "one message goes to workers of two jobs");
    }
    while (frames.len > TIDE_FRAME_HEADER) {
        struct tide_bytes content,
            body = {frames.data + TIDE_FRAME_HEADER, tide_get_u32(frames.data)};
        switch (tide_frame_peek(body, &content)) {
        case 2: check_sent_refused(s, j, content); break;
        case 3: check_sent_joined(s, content); break;
        case 6: check_sent_start(s, j, content, sessions, n); break;
        case 7:
            old_check_sent(s, j, "Run");
            check_sent_run(s, j, content);
            for (uint32_t i = 0; i < n; i++)
                if (net_find(s, sessions[i])) net_find(s, sessions[i])->running = true;
            break;
        case 8:
            old_check_sent(s, j, "Resumed");
            s->stats->resumed++;
            c->running = true;
            check_sent_resumed(s, j, sessions, n);
            break;
        case 9: check_sent_trigger(s, j, content, sessions, n); break;
        case 10: check_sent_complete(s, j, content, sessions, n); break;
        case 11: check_sent_abort(s, j, content); break;
        case 12: check_sent_rewind(s, j, content, sessions, n); break;
        case 16:
            old_check_sent(s, j, "Advance");
            check_sent_advance(s, j, content, sessions, n);
            break;
        case 200: check_sent_prepare(s, j, content, sessions, n); break;
        case 201: check_sent_cut(s, j, content); break;
        case 202: check_sent_now(s, j, content); break;
        case 15:
            must(s, tide_job_ended(j->store.state), "Stop is sent, and the job is %s in the store",
                 tide_job_state_name(j->store.state));
            j->over = true;
            break;
        default: break;
        }
        frames = after(frames);
    }
}

/* ---- what the daemon hands to the store, and what is durable */

void check_handed(struct sim *s, const struct tide_commit *c)
{
    for (const struct tide_record *r = c->first; r; r = r->next) {
        struct round *round;
        struct job *j;
        switch (r->type) {
        case TIDE_REC_ROUND_BEGIN:
            check_learn_round(s, store_job(s, r), r->round.number, r->round.attempt,
                              r->round.incarnation, "its begin record");
            break;
        case TIDE_REC_ROUND_END:
            j = store_job(s, r);
            round = check_round(j, r->round.number);
            if (!round || r->round.complete) break;
            /* so many in a row end the attempt */
            if (r->round.counted && j->checkpointing.failures_max)
                happens(s, (struct happening){.type = H_TROUBLE, .job = j->number});
            must(s, !round->handed || round->life != s->daemon.life,
                 "round %" PRIu64 " is recorded as aborted while its completion is with the store",
                 round->number);
            round->over = true;
            log_round(s, round->job, H_SAY_ABORT, round->number);
            break;
        case TIDE_REC_SNAPSHOT:
            if (r->snapshot.imported) break; /* of a job that this commit makes, perhaps */
            j = store_job(s, r);
            round = check_round(j, r->snapshot.round);
            must(s, round, "a snapshot of round %" PRIu64 ", which was never begun",
                 r->snapshot.round);
            must(s, !round->over, "round %" PRIu64 " is to be complete, and was aborted",
                 round->number);
            round->handed = true;
            log_round(s, j, H_HANDED, round->number);
            break;
        default: break;
        }
    }
}

static void round_ended(struct sim *s, const struct job *j, const struct tide_record_round *r)
{
    s->stats->rounds++;
    must(s, r->complete == (store_snapshot(j, r->number) != NULL),
         "round %" PRIu64 " is recorded as %s, against its snapshot", r->number,
         r->complete ? "complete" : "aborted");
    if (r->complete) return;
    s->stats->aborted++;
    s->stats->abort_codes[(unsigned)r->code % 16]++;
    must(s,
         r->code != TIDE__ABORT_CODE__ABORT_DEADLINE || r->kind == TIDE_SAVEPOINT ||
             r->holders_total > 0 ||
             memmem(r->reason.data, r->reason.len, "commit still waited", 19),
         "round %" PRIu64 " missed its deadline and nobody is named", r->number);
}

void check_durable(struct sim *s, const struct tide_commit *c)
{
    struct job *newest = NULL, *j;
    for (const struct tide_record *r = c->first; r; r = r->next) {
        switch (r->type) {
        case TIDE_REC_JOB: check_born(s, store_job(s, r), r); break;
        case TIDE_REC_ATTEMPT: check_attempt_row(s, store_job(s, r), r); break;
        case TIDE_REC_SNAPSHOT:
            j = store_job(s, r);
            if (r->snapshot.imported) {
                check_imported(s, j, r->snapshot.round);
                break;
            }
            check_snapshot(s, j, r->snapshot.round);
            if (r->snapshot.kind == TIDE_CHECKPOINT) newest = j;
            break;
        case TIDE_REC_ROUND_END: round_ended(s, store_job(s, r), &r->round); break;
        case TIDE_REC_SNAPSHOT_STATE: check_disposed(s, store_job(s, r), r); break;
        case TIDE_REC_BASE: check_undone(s, store_job(s, r)); break;
        case TIDE_REC_OPERATION: check_operation(s, store_job(s, r), r); break;
        case TIDE_REC_JOB_STATE:
            if (tide_job_ended(r->job_state.state)) check_job_ended(s, store_job(s, r));
            break;
        default: break;
        }
    }
    log_durable(s, c);
    for (j = s->jobs; j; j = j->next) {
        check_retention(s, j);
        check_stopping(s, j, c);
    }
    if (newest) check_kept(s, newest);
}

/* ---- what workers do and hear */

void check_acked(struct sim *s, struct task *t, uint64_t attempt, uint64_t round,
                 const struct state *st, const struct flights *flights, struct part *const *parts,
                 uint32_t n_parts)
{
    struct job *j = t->proc->job;
    struct round *r = check_round(j, round);
    /* both numbers may have come again since an old copy was put back */
    if (t->proc->stale && (!r || r->attempt != attempt ||
                           t->proc->token_incarnation != check_attempt(s, j, attempt)->incarnation))
        return;
    must(s, r && r->attempt == attempt,
         "%s acks round %" PRIu64 " of attempt %" PRIu64 ", which was never begun",
         task_name(j, t->number), round, attempt);
    struct told_state *told = r->task[t->number];
    if (j->program->meets) check_met(s, t, r, st);
    must(s, !told, "%s acks round %" PRIu64 " twice", task_name(j, t->number), round);
    told = r->task[t->number] = sim_alloc(s, sizeof *told);
    told->acked = true;
    told->by = t->proc;
    told->state = *st;
    told->flights = flights;
    told->n_parts = n_parts;
    for (uint32_t i = 0; i < n_parts; i++)
        told->parts[i] = parts[i];
    log_task(s, t, H_ACKED, round);
}

void check_delivery(struct sim *s, struct proc *p, const struct tide_delivery *d)
{
    struct job *j = p->job;
    const struct round *r;
    uint64_t stamp;
    if (d->type == TIDE_DO_RESTORE && d->start->token->incarnation >= s->old.from) p->stale = false;
    if (d->type == TIDE_DO_COMPLETE && p->task[d->task])
        log_task(s, p->task[d->task], H_HEARD, d->round);
    if (p->stale) return;
    switch (d->type) {
    case TIDE_DO_RESTORE:
        p->told_rewind = false;
        happens(s, (struct happening){.type = H_HOLDS,
                                      .job = j->number,
                                      .worker = log_worker(p),
                                      .attempt = d->attempt});
        must(s, tide_session_token(p->session, proc_now(s, p), &stamp) == 0,
             "%s is to restore without a lease", task_name(j, d->task));
        break;
    case TIDE_DO_REWIND:
        must(s, p->told_rewind, "%s rewinds, and nobody told it to", proc_name(p));
        break;
    case TIDE_DO_COMPLETE:
        r = check_round(j, d->round);
        must(s, store_snapshot(j, d->round),
             "%s hears complete of round %" PRIu64 ", which is not durable", task_name(j, d->task),
             d->round);
        must(s, !r->told_abort, "%s hears complete of round %" PRIu64 ", which was aborted",
             task_name(j, d->task), d->round);
        /* behind Stop, too, what came before it is told under the lease: the daemon waits it out */
        must(s,
             tide_session_token(p->session, proc_now(s, p), &stamp) == 0 ||
                 (p->stopped && s->now < p->lease_until),
             "%s hears complete without a lease", task_name(j, d->task));
        break;
    case TIDE_DO_ABORT:
        must(s, !store_snapshot(j, d->round),
             "%s hears abort of round %" PRIu64 ", which is durable", task_name(j, d->task),
             d->round);
        break;
    case TIDE_DO_STOP:
        must(s, tide_job_ended(j->store.state) || j->reopened,
             "%s is stopped, and the job has not ended", proc_name(p));
        break;
    default: break;
    }
}
