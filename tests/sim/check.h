/* The checks: everything that happens is told here. Nothing here looks into the core or a session,
 * but for what a worker itself believes of its lease. docs/simulation.md lists the promises and
 * which file holds which. */
#ifndef SIM_CHECK_H
#define SIM_CHECK_H

#include "tests/sim/job.h"
#include "tests/sim/lib_history.h"

/* log.c: the log that the history checker reads. `at` is filled in. */
void happens(struct sim *s, struct happening e);
/* A job's workers, or the way to them, have trouble; NULL: all jobs. */
void check_trouble(struct sim *s, struct job *j);
uint32_t log_worker(const struct proc *p); /* its number there */
uint32_t log_pid(uint32_t pid);
void log_job(struct sim *s, const struct job *j);
void log_durable(struct sim *s, const struct tide_commit *c);
void log_known(struct sim *s, struct job *j);
void log_round(struct sim *s, const struct job *j, enum happening_type type, uint64_t number);
void log_attempt(struct sim *s, const struct job *j, enum happening_type type, uint64_t number);
void log_task(struct sim *s, const struct task *t, enum happening_type type, uint64_t round);
void log_lease(struct sim *s, const struct proc *p, uint64_t sent_at);

/* check.c and check_*.c */

/* An attempt is made when it is first heard of; a round: NULL, never heard of in this job. */
struct attempt *check_attempt(struct sim *s, struct job *j, uint64_t number);
struct round *check_round(const struct job *j, uint64_t number);
void check_sent(struct sim *s, struct tide_bytes frames, const uint64_t *sessions, uint32_t n);
void check_handed(struct sim *s, const struct tide_commit *c);
void check_durable(struct sim *s, const struct tide_commit *c);
void check_file(struct sim *s, enum file_op op, const char *path, bool executing);
void check_acked(struct sim *s, struct task *t, uint64_t attempt, uint64_t round,
                 const struct state *st, const struct flights *flights, struct part *const *parts,
                 uint32_t n_parts);
/* Whether the state of the part's task in that snapshot names it. */
bool check_named(const struct job *j, uint64_t snapshot, const struct part *p);
/* What a worker says of its tasks in a rendezvous round. */
void check_said_position(struct sim *s, struct proc *p, struct tide_bytes content);
void check_said_standing(struct sim *s, struct proc *p, struct tide_bytes content);
void check_delivery(struct sim *s, struct proc *p, const struct tide_delivery *d);
void check_restored(struct sim *s, struct task *t, const struct tide_delivery *d,
                    const struct state *st, const struct flights *flights);
void check_publish(struct sim *s, struct task *t, struct part *p, const struct tide_delivery *d);
void check_steady(struct sim *s, bool attached); /* the daemon is about to be away */
void check_crashed(struct sim *s);
void check_tick(struct sim *s); /* now and then: deadlines */
bool check_lively(struct sim *s);
const char *check_waits_for(const struct sim *s); /* what keeps the history from ending well */
void check_end(struct sim *s);

/* ---- between the files of checks */

/* check.c: a round's number is seen for the first time, or belongs to the same round as before. */
struct round *check_learn_round(struct sim *s, struct job *j, uint64_t number, uint64_t attempt,
                                uint64_t incarnation, const char *where);
/* check_attempts.c */
void check_sent_start(struct sim *s, struct job *j, struct tide_bytes content,
                      const uint64_t *sessions, uint32_t n);
void check_sent_rewind(struct sim *s, struct job *j, struct tide_bytes content,
                       const uint64_t *sessions, uint32_t n);
void check_sent_advance(struct sim *s, struct job *j, struct tide_bytes content,
                        const uint64_t *sessions, uint32_t n);
/* The worker is of that attempt, and goes on in it as it was started before. */
bool check_survives(const struct attempt *a, const struct proc *p);
void check_advanced(struct sim *s, struct proc *p, const struct tide_delivery *d);
bool check_published_in(struct sim *s, const struct task *t, uint64_t attempt);
void check_sent_run(struct sim *s, struct job *j, struct tide_bytes content);
void check_sent_joined(struct sim *s, struct tide_bytes content);
void check_attempt_row(struct sim *s, struct job *j, const struct tide_record *r);
/* check_rounds.c */
void check_sent_trigger(struct sim *s, struct job *j, struct tide_bytes content,
                        const uint64_t *sessions, uint32_t n);
struct check_begun {
    uint64_t number, attempt, incarnation, left_us;
    struct tide_bytes directory;
    const uint64_t *sessions;
    uint32_t n_sessions;
};
void check_begun(struct sim *s, struct job *j, const struct check_begun *b, const char *what);
void check_sent_complete(struct sim *s, struct job *j, struct tide_bytes content,
                         const uint64_t *sessions, uint32_t n);
void check_sent_resumed(struct sim *s, struct job *j, const uint64_t *sessions, uint32_t n);
void check_sent_abort(struct sim *s, struct job *j, struct tide_bytes content);
/* check_meet.c */
void check_sent_prepare(struct sim *s, struct job *j, struct tide_bytes content,
                        const uint64_t *sessions, uint32_t n);
void check_sent_cut(struct sim *s, struct job *j, struct tide_bytes content);
void check_sent_now(struct sim *s, struct job *j, struct tide_bytes content);
void check_met(struct sim *s, const struct task *t, const struct round *r, const struct state *st);
/* check_stop.c */
void check_job_ended(struct sim *s, struct job *j); /* it is durable */
bool check_drained(const struct job *j);            /* its sources were told to end their input */
void check_stopping(struct sim *s, const struct job *j, const struct tide_commit *c);
void check_operation(struct sim *s, const struct job *j, const struct tide_record *r);
void check_answer(struct sim *s, struct tide_bytes body);
/* check_import.c */
void check_imported(struct sim *s, struct job *j, uint64_t number);
/* What it is a copy of; itself: it is none. NULL stays NULL. */
void check_born(struct sim *s, const struct job *j, const struct tide_record *made);
void check_sent_refused(struct sim *s, const struct job *j, struct tide_bytes content);
const struct d_snapshot *check_origin(const struct job *j, const struct d_snapshot *d);
uint64_t check_origin_round(const struct job *j, uint64_t round);
/* Of a round that is begun; asked: somebody may have asked for it. */
void check_full(struct sim *s, const struct job *j, uint64_t number, bool savepoint, bool full);
/* check_cut.c */
void check_snapshot(struct sim *s, struct job *j, uint64_t number);
/* external.c: what parts gave is there, and agrees with the tasks' states; part 0 is the
 * coordinator, then hooks */
void check_externals(struct sim *s, struct job *j, struct d_snapshot *row, const struct round *r,
                     const Tide__ManifestHead *head);
void check_hook(struct sim *s, struct job *j, uint32_t hook, uint64_t round, bool failed,
                bool bare);
void check_part_restored(struct sim *s, struct job *j, uint32_t part,
                         const struct tide_delivery *d);
/* check_effects.c */
void check_undone(struct sim *s, const struct job *j);        /* what to go on from is durable */
bool check_owed(const struct job *j, const struct d_owed *o); /* in truth: it is not published */
bool check_effects_done(struct sim *s, struct job *j);
/* check_kept.c */
/* A savepoint goes, and may. */
void check_disposed(struct sim *s, struct job *j, const struct tide_record *r);
void check_retention(struct sim *s, const struct job *j);
bool check_stuck(struct sim *s, const struct d_snapshot *d); /* it can never be deleted */
bool check_clean(struct sim *s, const struct job *j);        /* what is out of use is gone */
void check_kept(struct sim *s, const struct job *j);
/* check_lively.c: false; why the history may not end yet, for people */
bool check_not_yet(struct job *j, const char *why);

#endif
