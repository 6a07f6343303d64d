/* What the files of the core do for each other; objects.h has what they do it with. Nothing outside
 * daemon/core/ includes either.
 *
 * Reading order: core.c (the door and the start), job.c (a job's states), join.c (workers come and
 * go), hear.c (what they say), attempt.c, region.c and restore.c (an execution of the job),
 * trigger.c (when rounds begin), plan.c, round.c, ack.c, progress.c, abort.c and notify.c (one
 * round), rendezvous.c (its other style), clean.c (what may be deleted), admin.c (what people ask).
 * util.c, timer.c and pending.c are plumbing. */
#ifndef CORE_INTERNAL_H
#define CORE_INTERNAL_H

#include "daemon/core/objects.h"

/* ---- core.c */
uint64_t core_random(struct core *c);
uint64_t core_random_below(struct core *c, uint64_t bound); /* bound at least 1 */
void core_reserve_ids(struct core *c);
uint64_t core_new_id(struct core *c); /* 0: none is reserved at the moment */
void core_stop(struct core *c, int exit_code, const char *why);
/* What a line is about, for whoever filters a log by it. The text names it too, for people. */
struct about {
    const struct job *job;
    const struct worker *worker;
    uint64_t attempt, round;
};
struct about about_job(const struct job *job);
struct about about_round(const struct job *job, uint64_t round);
struct about about_worker(const struct worker *w);
void core_log(struct core *c, enum log_level level, struct about about, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void core_shutdown_step(struct core *c);
struct job *job_find(struct core *c, struct tide_bytes name_or_id);

/* ---- util.c: sending */
void send_worker(struct core *c, uint64_t session, const Tide__ToWorker *message);
void send_refused(struct core *c, struct session *s, Tide__RefusedCode code, const char *format,
                  ...) __attribute__((format(printf, 4, 5)));
/* To every worker of the job that holds its open attempt and is present; tag 0: nobody wants to
 * know. */
void send_holders(struct core *c, struct job *job, const Tide__ToWorker *message, uint64_t tag);
struct blob *pack_frame(const ProtobufCMessage *message);
struct action *act(struct core *c, enum action_type type);
void act_send(struct core *c, uint64_t session, struct blob *blob); /* takes the reference */
void act_close(struct core *c, uint64_t session);

/* ---- parts.c */
/* True when the Join is whole, in *ret until joining_end(). What is wrong has been refused. */
bool joining_add(struct core *c, struct session *s, struct tide_bytes part, struct tide_bytes *ret);
void joining_end(struct core *c, struct session *s); /* fine when there is none */

/* ---- put_back.c: an old copy of the database */
/* The newest round with effects that the store knows. */
uint64_t put_back_newest(const struct job *job);
/* What the worker's Join proves, as a cause; malloc'ed. */
char *put_back_cause(const struct job *job, const Tide__Join *m, const char *beyond);
bool put_back_is(const char *cause); /* such a cause; NULL: no */
/* The highest round with effects that such a cause names; 0: none. */
uint64_t put_back_told(const char *cause);
bool put_back_holds(const struct job *job);
/* The rounds whose effects repeat if the job goes on from this one, in words; malloc'ed. */
char *put_back_rounds(const struct job *job, uint64_t above);
char *put_back_refusal(const struct job *job, uint64_t above); /* malloc'ed */
/* The audit of an order, the one under way, that has them repeated. */
void put_back_record(struct core *c, struct tide_commit *commit, struct job *job, uint64_t above,
                     struct tide_bytes who);

/* ---- hear.c */
void worker_frame(struct core *c, struct session *s, struct tide_bytes frame);

/* ---- join.c */
void join_part(struct core *c, struct session *s, struct tide_bytes part);
void job_refuse_held(struct core *c, struct session *s, const struct job *job);
void worker_closed(struct core *c, struct worker *w, const char *why);
void worker_lost(struct core *c, struct worker *w, const char *why);
void worker_release(struct core *c, struct worker *w); /* forgets it; its session stays */
void worker_renew(struct core *c, struct worker *w);
struct worker *worker_new(struct job *job, struct tide_bytes name);
void worker_place(struct worker *w, enum standing standing); /* into the task table */
void worker_stand(struct worker *w,
                  enum standing standing); /* moves between the ways to stand there */
bool worker_hosts(const struct worker *w, uint32_t task);
/* The end of the range of its tasks in which this one stands; the task itself: it hosts it not. */
uint32_t worker_hosts_until(const struct worker *w, uint32_t task);
bool ranges_ok(const struct job *job, size_t n, Tide__TaskRange **ranges, const struct worker *of);
void lease_arm(struct core *c, struct job *job);
void job_admit_parked(struct core *c, struct job *job);
void job_tell_joined(struct core *c, struct job *job);

/* ---- job.c */
struct job *job_new(struct core *c, struct tide_graph *graph);          /* takes the graph */
void job_from(struct core *c, struct job *job, const struct event *ev); /* restore_from is read */
void job_stored(struct core *c, struct job *job, const struct event *ev);
/* The max parallelisms that hold: the spec's, and where it leaves them open, the base's. */
void job_adopt(struct job *job);
void job_free(struct job *job);
/* A new job that the store did not take: as if nobody had asked; its workers may try again. */
void job_forget(struct core *c, struct job *job, Tide__RefusedCode code, const char *why);
void job_load(struct core *c, const struct tide_catalog_job *from);
void job_hold(struct core *c, struct job *job, const char *cause);
void job_record_state(struct core *c, struct tide_commit *commit, struct job *job,
                      enum tide_job_state state);
void job_move(struct job *job, enum tide_job_state to);
void job_finish(struct core *c, struct job *job); /* STOPPING and nothing owed: end it */
void job_end(struct core *c, struct job *job, enum tide_job_state state);
void job_fail(struct core *c, struct job *job, const char *cause);
void job_ended_stored(struct core *c, struct job *job);
void job_end_not_stored(struct core *c, struct job *job);
uint64_t job_lowest_pending(const struct job *job);
struct round *job_round(const struct job *job, uint64_t number); /* under way */
struct round *job_round_of(const struct job *job, const struct operation *op);
struct round *job_committing(const struct job *job); /* whose commit is with the store */
/* The newest snapshot that published effects: what an attempt restores unless an operator orders
 * another. NULL: none. */
const struct snapshot *job_recovery_point(const struct job *job);
void job_reopen(struct job *job); /* WAITING, whatever it was */
/* Every task has ended in the snapshot that it would go on from. */
bool job_all_ended(const struct job *job);
struct snapshot *job_snapshot(const struct job *job, uint64_t round);
/* What keeps it from running, in words, in the core's arena; "" when it runs. */
const char *job_waits_for(struct core *c, const struct job *job);
/* One that hosts tasks and speaks version 1 of the protocol; NULL: none does. */
const struct worker *job_old_worker(const struct job *job);

/* ---- attempt.c */
void attempt_try(struct core *c, struct job *job);
void attempt_end(struct core *c, struct job *job, const char *reason);
/* As an admin wants it: no failure of the job's, and none before it counts any more. */
void attempt_end_ordered(struct core *c, struct job *job, const char *reason);
void attempt_end_unrecorded(struct job *job); /* it has ended, and the store does not say so */
void attempt_ends_free(struct job *job);
void attempt_stored(struct core *c, struct job *job, uint64_t attempt, enum tide_outcome outcome,
                    const char *text);
void attempt_dir_made(struct core *c, struct job *job, uint64_t attempt, int rc, const char *text);
void attempt_bytes(struct core *c, struct job *job, uint64_t round, int rc, const char *text);
void attempt_published(struct core *c, struct job *job, uint64_t round, int rc, const char *text);
void attempt_looked(struct core *c, struct job *job, uint64_t round, int rc, const char *text);
void attempt_manifest(struct core *c, struct job *job, const struct event *ev);
void attempt_running(struct core *c, struct job *job, uint64_t attempt, enum tide_outcome outcome);
void attempt_all_restored(struct core *c, struct job *job); /* perhaps: then it may run */
void attempt_restored(struct core *c, struct worker *w, const Tide__Restored *m);
void attempt_restore_failed(struct core *c, struct worker *w, const Tide__RestoreFailed *m);
void attempt_rejoined(struct core *c, struct worker *w); /* adoption, or a mere reconnect */
void attempt_timers_init(struct job *job);
void attempt_try_again_later(struct core *c, struct job *job);
void attempt_drop_image(struct job *job);
/* Counts one that has failed, and keeps why for whoever looks at the job. NULL: all is well again.
 */
void attempt_failed(struct job *job, const char *why);
void attempt_record_end(const struct job *job, struct tide_commit *commit,
                        const struct attempt_end *e);
/* The row of `attempt` is durable, and the ends before it with it; or it is not there, and cannot
 * end. */
void attempt_settle_ends(struct job *job, uint64_t attempt, bool stored);
/* That it has ended, for the record that follows; once. */
void attempt_add_end(struct job *job, uint64_t wall, const char *reason);
/* Tells the worker so, or, if it was not started, it is READY again. */
void attempt_let_go(struct core *c, struct worker *w, const char *reason);
void tell_rewind(struct core *c, struct worker *w, const char *reason);

/* ---- region.c */
/* It cannot go on with this worker, which holds it or is just being lost; NULL: with those that
 * were to be restored. In a regional job the others go on, if there are any. */
void attempt_fail(struct core *c, struct job *job, struct worker *w, const char *reason);
/* It held the job's attempt before the one that is being started, and goes on. */
bool region_survives(const struct worker *w);
uint32_t region_survivors(const struct job *job);
/* Drops what is set of tasks that are to be restored. */
void region_drop(const struct job *job, struct bits *b);
void region_put(const struct job *job, struct bits *b); /* ... sets those of survivors */
/* What the hooks of survivors are restored from, once it is known. False: for one of them it is
 * more than a frame can hold. */
bool region_keep_hooks(struct core *c, struct job *job, const Tide__ManifestHead *head);
/* Whether those who have not been told to advance can be told in one frame. */
bool region_fits(struct core *c, struct job *job);
void region_advance(struct core *c, struct worker *w); /* it is present and behind */
void region_advance_all(struct core *c, struct job *job);
void region_advanced(struct core *c, struct worker *w, const Tide__Advanced *m);
void region_started(const struct worker *w); /* in the job's attempt: counted, for people */
/* Who has not confirmed the attempt; NULL: nobody. */
const struct worker *region_behind(const struct job *job);
/* The lowest attempt that one of the job's workers was started in. */
uint64_t region_oldest(const struct job *job);
void region_show(struct core *c, const struct job *job, Tide__JobDetail *m);
/* Whether what the worker says under that attempt is said in the one under way. */
bool worker_speaks(const struct worker *w, uint64_t attempt);

/* ---- restore.c */
/* Sends Start to all members that are to be restored. m: NULL to start afresh. Malloc'ed: for whom
 * it would be too long, and nobody is told anything. */
char *restore_send_starts(struct core *c, struct job *job, const struct tide_manifest *m,
                          struct match *match);

/* ---- decide.c */
enum begin { BEGIN_NOTHING, BEGIN_REQUEST, BEGIN_LAST, BEGIN_PERIODIC };
struct request { /* for a round; its turn has not come */
    uint64_t id; /* the smaller the older */
    bool savepoint;
};
struct decide {
    uint64_t now;
    uint32_t setting_up;              /* rounds that tasks do not know of yet */
    uint32_t checkpoints, savepoints; /* under way */
    uint32_t max_concurrent;          /* checkpoints */
    uint32_t deleting;                /* snapshots out of use whose bytes are still there */
    const struct request *requests;   /* in any order */
    size_t n_requests;
    bool at_end;          /* every task holds its end: a last checkpoint is wanted */
    bool last_under_way;  /* and is there */
    uint64_t periodic_at; /* NEVER: no period */
    uint64_t completed_us, min_pause_us, failed_us, failure_pause_us; /* since 0: never */
    uint64_t not_before; /* a task has declined until then */
};
struct decision {
    enum begin what;
    uint64_t request; /* id */
    uint64_t again;   /* NOTHING: time alone may change it then; NEVER: it cannot */
};
struct decision decide(const struct decide *d);

/* ---- prepare.c: what a savepoint needs before its round begins */
void prepare_pump(struct core *c, struct job *job); /* makes directories for those that wait */
void prepare_answer(struct core *c, struct job *job, uint64_t operation, const struct event *ev);
/* What was made is not wanted. */
void prepare_drop(struct core *c, struct job *job, struct operation *op);

/* ---- trigger.c */
void trigger_pump(struct core *c, struct job *job); /* begin whatever may begin now */
void trigger_backlog(struct core *c, struct job *job, uint32_t task, bool behind);
void trigger_running(struct core *c, struct job *job); /* the job has come to RUNNING */
void trigger_init(struct job *job);

/* ---- plan.c: who takes part in a round, and how */
enum plan_role {
    PLAN_ENDED = 1, /* its end is its ack */
    PLAN_BEGINS,    /* nothing live comes before it: it acts on the trigger */
    PLAN_FOLLOWS    /* waits for barriers */
};
/* Of a round that begins now: from the tasks that have ended, and those that hold their end. */
void plan_make(struct plan *p, const struct tide_graph *g, const struct bits *ended,
               const struct bits *ending);
void plan_release(struct plan *p);
enum plan_role plan_role(const struct plan *p, uint32_t task);
/* A round before this one is complete, and with it these tasks have ended. Of those that this round
 * knew to hold their end, and that have not acked, the end is the ack. The others have taken their
 * snapshot before that round's, and will ack. */
void plan_ended_since(struct plan *p, const struct bits *ended, const struct bits *acked);
/* Which of those that held their end stay ended when the round is restored: all, if it has effects;
 * otherwise those that another round has ended: the others have what they pre-committed to publish
 * yet. */
const struct bits *plan_lets_end(const struct plan *p, bool commits);
void plan_drained(struct plan *p); /* every task has reached its end before its snapshot */
/* What keeps its snapshot from being, once all have acked; malloc'ed; NULL: nothing. */
char *plan_partly_finished(const struct plan *p);

/* ---- round.c, abort.c, progress.c and notify.c */
/* Tasks that have acked, those by their end among them. */
uint32_t round_acked(const struct round *r);
struct tide_record_round *round_record(struct core *c, struct tide_commit *commit,
                                       const struct round *r, enum tide_record_type type);
void round_deadline(struct core *c, void *round);
uint32_t round_left_ms(const struct core *c, const struct round *r);
/* False: no id is reserved at the moment; whoever reserves them asks again. */
bool round_begin(struct core *c, struct job *job, enum tide_kind kind, struct operation *op);
/* Its directory could not be made: a round that aborts as it begins. */
void round_stillborn(struct core *c, struct job *job, struct operation *op, int rc,
                     const char *reason);
void round_trigger(struct core *c, struct round *r, uint64_t session); /* 0: to all holders */
/* reason: NULL takes the code's words. */
void round_abort(struct core *c, struct round *r, Tide__AbortCode code, const char *reason);
/* All of the job but the one whose commit is with the store. */
void round_abort_all(struct core *c, struct job *job, Tide__AbortCode code, const char *reason);
void round_asked(struct core *c, struct round *r); /* one more external part has answered */
void round_all_acked(struct core *c, struct round *r);
void round_answer(struct core *c, struct job *job, const struct pending *p, const struct event *ev);
void round_decline(struct core *c, struct worker *w, const Tide__Decline *m);
void round_progress(struct core *c, struct worker *w, const Tide__Barrier *m);
void round_free(struct core *c, struct round *r); /* takes it out of its job */
uint32_t round_in_progress(const struct job *job);
/* Ends the attempt when more rounds in a row have failed than the job tolerates. */
bool round_failures_end(struct core *c, struct job *job);
void notify_remember(struct job *job, uint64_t round, bool commits); /* it is deleted */
void notify_forget(struct job *job);
void round_resolve(struct core *c, struct worker *w); /* tell it how its open rounds ended */
void round_confirm(struct core *c, struct worker *w, const Tide__Confirm *m);
void round_finished(struct core *c, struct worker *w, size_t n, Tide__TaskRange **ranges);
/* That what is owed there was confirmed. */
void record_strike(struct job *job, struct tide_commit *commit, const struct owed *o);
/* ... and that of all that was confirmed, once more, since a ride may be lost. */
void record_strikes(struct job *job, struct tide_commit *commit);
void round_send_abort(struct core *c, struct job *job, uint64_t round, Tide__AbortCode code,
                      const char *reason, uint64_t session);
void round_send_complete(struct core *c, struct job *job, uint64_t round);
/* Completions that have waited are told, as far as nothing stands before them any more. */
void round_release(struct core *c, struct job *job);
bool round_holds(const struct round *r); /* its commit is with the store */
bool round_stops(const struct round *r); /* the job stops when it completes */
uint32_t round_holders(const struct round *r, struct tide_arena *arena, struct tide_holder **ret,
                       uint32_t *ret_total);

/* ---- external.c; parts by their number in the graph */
struct external_words { /* "hook lock", "the coordinator of source" */
    char text[96];
};
struct external_words external_words(const struct tide_external *e);
void external_init(struct job *job);
/* Whether a Join names parts that the job has, each once; what is wrong, or, with w, they are its
 * own from now on. */
bool external_take(struct job *job, struct worker *w, const Tide__Join *m, char why[static 256]);
/* Whether a worker that is back names those that it had; after a restart, whatever nobody has. */
bool external_back(struct worker *w, const Tide__Join *m);
void external_place(struct worker *w);
void external_release(struct worker *w);
struct worker *external_in_the_way(const struct worker *w, uint32_t *ret_index);
/* One that no worker of this standing hosts. */
bool external_missing(const struct job *job, enum standing standing, uint32_t *ret_index);
void external_begin_attempt(struct job *job);
void external_back_restored(const struct worker *w); /* into an attempt that is being restored */
bool external_not_restored(const struct job *job, uint32_t *ret_index);
/* What the snapshot has of its parts, as bytes of a Start (or, hooks alone, of an Advance). */
void external_put_states(const struct worker *w, const Tide__ManifestHead *head, bool hooks_alone,
                         struct tide_buf *out);
void external_begin_round(struct round *r);
void external_free_round(struct round *r);
/* Asks those whose turn it is. True: all have answered. */
bool external_ask(struct core *c, struct round *r);
void external_resume(struct core *c, struct worker *w);
const char *external_malformed(const struct worker *w, const Tide__ExternalAnswer *m);
void external_answer(struct core *c, struct worker *w, const Tide__ExternalAnswer *m);
size_t external_states(const struct round *r, struct tide_arena *arena, Tide__ExternalState ***ret);
void external_acked(struct core *c, struct round *r); /* tasks have: coordinators will be told */
/* The parts that have not answered, in the shape of tasks behind the job's last: see storage.md. */
uint32_t external_holders(const struct round *r, struct tide_arena *arena, struct tide_holder *ret,
                          uint32_t most, uint32_t *ret_total);
/* The holder says it as the message has it. */
void external_holder(Tide__RoundHolder *h, struct tide_arena *arena);
char *external_deadline_words(const struct round *r, uint32_t ms);
void external_show(struct core *c, const struct job *job, Tide__JobDetail *m);

/* ---- rendezvous.c: of a round without a meeting each says what holds for flows */
void meeting_begin(struct round *r); /* when its job takes such rounds */
void meeting_free(struct round *r);
void meeting_trigger(struct core *c, struct round *r, uint64_t session); /* as round_trigger() */
void meeting_reported(struct core *c, struct session *s, const Tide__Position *p);
void meeting_stand(struct core *c, struct session *s, const Tide__Standing *p);
void meeting_planted_release(struct core *c, struct worker *w); /* see proto/plant.h */
bool meeting_may_ack(const struct round *r);
uint64_t meeting_position(const struct round *r); /* where all stood; 0: nowhere */
/* Whether the task, which has not acked, keeps the round from its next step. */
bool meeting_holds(const struct round *r, uint32_t task);
/* "n tasks had not acked by the deadline of 1000 ms" and the names */
char *meeting_late(const struct round *r, uint32_t n, const char *names);
const char *meeting_phase(const struct round *r); /* "collecting acks" */
const char *meeting_words(const struct round *r, const struct progress *p, const char *away,
                          struct tide_arena *arena);
bool meeting_everybody(const struct round *r, const struct bits *in); /* but for ended tasks */

/* ---- ack.c */
void ack_batch(struct core *c, struct session *s, struct tide_bytes body);
void ack_flush(struct round *r); /* its last chunk is full enough */

/* ---- clean.c */
void clean_add_snapshot(struct job *job, const struct snapshot *s);
/* What an aborted round left; the facts are copied. It is swept once its end is durable. */
void clean_add_round(struct job *job, const struct tide_record_round *facts, bool recorded,
                     bool recording);
/* What an aborted round has left; NULL: nothing, or it is not known here. */
struct trash *clean_aborted(const struct job *job, uint64_t round);
void clean_keep_acked(struct job *job, uint64_t round, struct bits *acked); /* takes them */
/* Its facts have changed: they are recorded again. */
void clean_figures(struct core *c, struct job *job, const struct trash *t);
/* The job ends: workers that were told so may be writing for a moment. */
void clean_later(struct core *c, struct job *job);
/* The directory of that aborted round is not its own: it is not touched. */
void clean_leave(struct job *job, uint64_t round);
void clean_recorded(struct core *c, struct job *job, uint64_t round, enum tide_outcome outcome);
void clean_pump(struct core *c, struct job *job);
void clean_answer(struct core *c, struct job *job, uint64_t round, int rc, const char *text);
void clean_init(struct job *job);
/* Marks what the new checkpoint puts out of use, in its commit. */
/* What the round puts out of use by completing, into its commit. */
void clean_subsume(struct core *c, const struct round *r, struct tide_commit *commit);
void clean_subsumed(struct job *job); /* that commit is stored */
void clean_free(struct job *job);
uint64_t clean_backlog(const struct core *c);
/* Snapshots whose bytes are still to be deleted, but for those that could not be at the first try:
 * these must not hold up rounds. */
uint32_t clean_deleting(const struct job *job);

/* ---- share.c: shared artifacts; of a job and a round without any each does nothing */
void share_load(struct job *job, const struct tide_catalog_job *from);
void share_free(struct job *job);
/* What an ack that counts says of them. */
void share_ack(struct round *r, const struct tide_ack_view *ack);
/* Whether one of its acks named what it may not: then the round has aborted, and is gone. */
bool share_refuses(struct core *c, struct round *r);
/* The tasks that the round asks for everything. */
size_t share_full_tasks(const struct round *r, struct tide_arena *arena, Tide__TaskRange ***ret);
void share_let_go(struct round *r);                             /* it is over */
void share_record(struct tide_commit *commit, struct round *r); /* in the commit of the round */
void share_complete(struct round *r);                           /* that commit is stored */
void share_changed(struct job *job); /* a snapshot has gone: some may be of no more use */
void share_pump(struct core *c, struct job *job);
void share_condemned(struct core *c, struct job *job, enum tide_outcome outcome);
void share_deleted(struct core *c, struct job *job, int rc, const char *text);
uint64_t share_backlog(const struct job *job); /* files that are still to be deleted */

/* ---- alignment.c */
void alignment_choose(struct round *r);
/* A savepoint of the job cannot be taken like that, and why; false: it can. */
bool alignment_wrong(const struct job *job, uint32_t alignment, char why[static 300]);
/* What a savepoint has come to that was to go ahead of its barriers, for its operation. */
void alignment_report(const struct round *r);
/* Why it cannot at the moment, malloc'ed; NULL: it can. */
char *alignment_impossible(const struct job *job, const struct operation *op);

/* ---- operation.c */

/* What an admin asks for, borrowed from the request. */
struct wish {
    uint64_t session, id; /* whom to answer, and which request of theirs */
    struct tide_bytes job, target, key, who, label;
    struct tide_bytes call; /* the packed Request, if it is to be kept */
    enum tide_operation_kind kind;
    enum tide_kind takes; /* the kind of round it asks for; 0: none */
    bool aligns;          /* a savepoint with an alignment of its own, as the message has it */
    uint32_t alignment;
    const char *asks, *detail; /* for the audit; NULL: "trigger", nothing */
};
/* Whether it repeats an earlier one with the same key: then that one's operation is the answer. */
bool operation_again(struct core *c, struct job *job, const struct wish *wish);
/* A queued one, its row and the audit on their way, answered when they are durable; NULL: there are
 * too many, or there is no id at the moment, and the asker knows. */
struct operation *operation_new(struct core *c, struct job *job, const struct wish *wish);
void operation_saved(struct core *c, struct job *job, uint64_t operation,
                     enum tide_outcome outcome);
void operation_stored(struct core *c, struct job *job, uint64_t operation,
                      enum tide_outcome outcome, const char *text);
struct operation *operation_find(struct job *job, uint64_t id);
/* What its request asks of it, from the packed bytes. */
void operation_read(struct core *c, struct operation *op);
void operation_free(struct operation *op);
void operation_changed(struct core *c, struct operation *op);
void operation_record(struct tide_commit *commit, struct job *job, const struct operation *op);
/* As it will be once the commit is stored; the operation itself is left alone. */
void operation_record_done(struct core *c, struct tide_commit *commit, struct job *job,
                           const struct operation *op);
void operation_fail(struct core *c, struct job *job, struct operation *op,
                    struct tide_commit *commit, const char *error);
/* ... that some other commit is to hold, by operation_record(); told once operation_saved(). */
void operation_fail_later(struct core *c, struct job *job, struct operation *op, const char *error);
void operation_audit(struct core *c, struct tide_commit *commit, struct job *job,
                     struct tide_bytes who, const char *what, const char *detail);
void operation_wait(struct core *c, uint64_t session, uint64_t request,
                    const Tide__WaitOperation *m);
void operation_unwait(struct core *c, uint64_t session); /* the session is gone */

/* ---- order.c */
void order_asked(struct core *c, struct session *s, const Tide__Request *m,
                 struct tide_bytes frame);
void order_pump(struct core *c, struct job *job); /* the next one, if it may be carried out now */
const char *order_phase(const struct job *job, const struct operation *op);
void order_held(struct core *c, struct job *job, uint64_t order, enum tide_outcome outcome);
void order_released(struct core *c, struct job *job, enum tide_outcome outcome, const char *text);
/* That all commits owed are given up, each named in the audit; and that they are. */
void order_record_abandon(struct core *c, struct tide_commit *commit, struct job *job,
                          const struct operation *op, struct tide_bytes who);
void order_abandon(struct job *job);
/* What was asked; NULL: it cannot be read any more. */
const Tide__Request *order_request(struct core *c, const struct operation *op);
/* The one that is being carried out has ended. */
void order_done(struct core *c, struct job *job);
void order_failed(struct core *c, struct job *job, char *why); /* takes why */
/* ---- stop.c */
void stop_asked(struct core *c, struct session *s, const Tide__Request *m, struct tide_bytes frame);
/* Whether a wish for a round comes too late, since the job is being stopped: its asker knows. */
bool stop_refuses(struct core *c, const struct job *job, const struct wish *wish);
struct operation *stop_open(const struct job *job);  /* a stop or cancel that has not ended */
struct operation *stop_taken(const struct job *job); /* one whose last snapshot is complete */
bool stop_cancels(const struct job *job);            /* the job is to end at once */
/* Before rounds are begun. True: none may. */
bool stop_pump(struct core *c, struct job *job);
void stop_complete(struct core *c, struct round *r);
void stop_published(struct core *c, struct job *job, const char *failed);
void stop_aborted(struct core *c, struct job *job, enum tide_stop stop, const char *reason);
enum tide_job_state stop_outcome(const struct job *job);
char *stop_cause(const struct job *job); /* malloc'ed; NULL: it ends by itself */
/* The outcome of every operation that ends with the job: into its commit, and once that is stored.
 */
void stop_record_end(struct job *job, struct tide_commit *commit);
void stop_ended(struct core *c, struct job *job);
/* The job is to be HELD: the stop that had its snapshot has failed. That is in the commit that says
 * HELD, and in whatever takes its place, by stop_record_held(); once stored it is told. */
void stop_held(struct core *c, struct job *job, const char *cause);
bool stop_is_held(const struct operation *op); /* ... and is not stored yet */
void stop_record_held(struct job *job, struct tide_commit *commit);
void stop_held_stored(struct core *c, struct job *job);
void stop_failed(struct core *c, struct job *job, const char *why); /* holds the job */

/* ---- dispose.c */
void dispose_asked(struct core *c, struct session *s, const Tide__Request *m,
                   struct tide_bytes frame);
void dispose_pump(struct core *c, struct job *job);
void dispose_stored(struct core *c, struct job *job, uint64_t round, enum tide_outcome outcome,
                    const char *text);
/* Of whichever job; NULL: there is none. */
struct snapshot *snapshot_named(struct core *c, uint64_t round, struct job **ret);
/* Its bytes are gone; with: the commit that says so, NULL: it was durable before. */
void dispose_gone(struct core *c, struct job *job, uint64_t round, struct tide_commit *with);

/* ---- export.c */
void export_asked(struct core *c, struct session *s, const Tide__Request *m,
                  struct tide_bytes frame);
void export_pump(struct core *c, struct job *job);
void export_answer(struct core *c, struct job *job, const struct pending *p,
                   const struct event *ev);
bool export_wants(const struct job *job, uint64_t snapshot); /* it has to stay */
const char *export_phase(struct core *c, const struct job *job, const struct operation *op);

/* ---- choice.c */
char *choice_forbidden(const struct job *job); /* no restore can be ordered now; NULL: it can */
void choice_begin(struct core *c, struct job *job); /* job->order is a restore */
void choice_pump(struct core *c, struct job *job);  /* decides, if that can be done now */
void choice_published(struct core *c, struct job *job, const struct event *ev);
void choice_bytes(struct core *c, struct job *job, const struct event *ev);
void choice_manifest(struct core *c, struct job *job, const struct event *ev);
void choice_directory(struct core *c, struct job *job, const struct event *ev);
void choice_stored(struct core *c, struct job *job, enum tide_outcome outcome, const char *text);
void choice_free(struct job *job);
/* What an order under way has found in a directory; NULL: nothing. */
const struct import *choice_import(const struct job *job);
bool choice_wants(const struct job *job, uint64_t snapshot);

/* ---- import.c: snapshots of which the store knows nothing */
struct import;
char *import_path(struct tide_bytes directory); /* without slashes at the end; malloc'ed */
/* From the answer to FILE_META_READ; NULL: it is no snapshot, for the reason in why. */
struct import *import_new(const char *directory, const struct event *ev, char why[static 300]);
void import_free(struct import *im);
struct tide_bytes import_image(const struct import *im);
const char *import_words(const struct import *im); /* "savepoint 7 of 'job'" */
const char *import_directory(const struct import *im);
/* The round that it is a copy of, when this job took it here; 0: another job's, or store's. */
uint64_t import_own_round(const struct core *c, const struct job *job, const struct import *im);
uint64_t import_origin(const struct core *c, const struct job *job, struct tide_bytes image);
void import_keep_ended(struct import *im, const struct job *job, const struct tide_manifest *m,
                       struct match *match);
/* Puts it into the commit, under a new number. False: no number can be had at the moment. */
bool import_record(struct core *c, struct tide_commit *commit, struct job *job, struct import *im,
                   struct tide_bytes label);
uint64_t import_id(const struct import *im);
void import_add(struct core *c, struct job *job, const struct import *im); /* that is stored */
/* Whether the job's next checkpoint may refer to nothing of an earlier snapshot. */
bool import_wants_full(const struct job *job);
/* Another job that has, or is about to have, an import of the same directory; NULL: none. */
const struct job *import_user(const struct core *c, const struct snapshot *of);
/* A snapshot in that directory is being deleted, or about to be. */
bool import_goes(const struct core *c, const struct import *im);

/* ---- admin.c */
void admin_trigger(struct core *c, const struct wish *wish);
/* What is wrong with a wish, in words; 0: nothing. */
Tide__ErrorCode admin_wish_wrong(struct core *c, const struct wish *wish, const struct job *job,
                                 char why[static 300]);
void admin_frame(struct core *c, struct session *s, struct tide_bytes frame);
void admin_answer(struct core *c, uint64_t session, uint64_t request, Tide__Response *response);
void admin_error(struct core *c, uint64_t session, uint64_t request, Tide__ErrorCode code,
                 const char *format, ...) __attribute__((format(printf, 5, 6)));
/* A name or path from a request, as it can stand in an answer: any bytes may have come. */
struct tide_bytes admin_sayable(struct tide_bytes text);

#endif
