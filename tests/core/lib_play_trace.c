/* What the core does, as the text that tests expect: one line for each action. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "storage/manifest.h"
#include "tests/core/lib_play_impl.h"

static void say(struct play *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct play *p, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(p->trace + p->traced, sizeof p->trace - p->traced, format, args);
    va_end(args);
    ck_assert(n >= 0 && (size_t)n < sizeof p->trace - p->traced);
    p->traced += (size_t)n;
}
static void push(uint64_t *list, size_t *n, uint64_t tag)
{
    ck_assert(*n < 64);
    list[(*n)++] = tag;
}
static int text_len(ProtobufCBinaryData b)
{
    return (int)b.len;
}

static void say_part(struct play *p, const Tide__External *e)
{
    say(p, "%s%.*s", e->kind == TIDE__EXTERNAL_KIND__EXTERNAL_COORDINATOR ? "@" : "",
        text_len(e->name), (char *)e->name.data);
}

static void say_ask(struct play *p, const Tide__AskExternal *m)
{
    bool asks = m->phase == TIDE__EXTERNAL_PHASE__EXTERNAL_SNAPSHOT;
    if (asks) p->round = m->round;
    say(p, asks ? "ask " : "acked ");
    say_part(p, m->external);
    say(p, " %" PRIu64, m->round);
    for (size_t i = 0; i < m->n_tasks; i++)
        say(p, " %u+%u", m->tasks[i]->first, m->tasks[i]->count);
}

static void say_advance(struct play *p, const Tide__Advance *m)
{
    say(p, "advance attempt %" PRIu64 " to %" PRIu64 ", rewound", m->from, m->token->attempt);
    for (size_t i = 0; i < m->n_rewound; i++)
        say(p, " %u+%u", m->rewound[i]->first, m->rewound[i]->count);
    say(p, " from %" PRIu64 ", %zu peers", m->snapshot, m->n_peers);
    for (size_t i = 0; i < m->n_externals; i++) {
        say(p, ", ");
        say_part(p, m->externals[i]->external);
        say(p, "=%.*s", text_len(m->externals[i]->data), (char *)m->externals[i]->data.data);
    }
}

/* What a task is given that is not its own alone. */
static void say_named(struct play *p, const Tide__TaskRestore *task)
{
    if (!task->n_artifacts || !task->artifacts[0]->name.len) return;
    say(p, ", %u:", task->task);
    for (size_t i = 0; i < task->n_artifacts; i++)
        say(p, " %.*s", text_len(task->artifacts[i]->path), (char *)task->artifacts[i]->path.data);
}

static void say_to_worker(struct play *p, const Tide__ToWorker *m)
{
    switch (m->msg_case) {
    case TIDE__TO_WORKER__MSG_REFUSED:
        say(p, "refused: %.*s", text_len(m->refused->reason), (char *)m->refused->reason.data);
        break;
    case TIDE__TO_WORKER__MSG_JOINED: say(p, "joined"); break;
    case TIDE__TO_WORKER__MSG_PARKED:
        say(p, "parked behind %.*s", text_len(m->parked->worker), (char *)m->parked->worker.data);
        break;
    case TIDE__TO_WORKER__MSG_ALIVE: say(p, "alive"); break;
    case TIDE__TO_WORKER__MSG_START: {
        Tide__Start *s = tide__start__unpack(NULL, m->start->data.len, m->start->data.data);
        ck_assert_ptr_nonnull(s);
        p->attempt = s->token->attempt;
        p->incarnation = s->token->incarnation;
        p->nonce = s->token->nonce;
        memcpy(p->job_id, s->token->job_id.data, sizeof p->job_id);
        size_t owed = 0;
        for (size_t i = 0; i < s->n_tasks; i++)
            owed += s->tasks[i]->n_owed;
        say(p,
            "start attempt %" PRIu64 " from %" PRIu64
            ", %zu tasks with state or owed, %zu owed, %zu ended%s",
            p->attempt, s->snapshot, s->n_tasks, owed, s->n_ended,
            s->deliver_only ? ", deliver only" : "");
        for (size_t i = 0; i < s->n_tasks; i++)
            say_named(p, s->tasks[i]);
        for (size_t i = 0; i < s->n_cut; i++)
            say(p, ", %.*s cut in %u", text_len(s->cut[i]->uid), (char *)s->cut[i]->uid.data,
                s->cut[i]->max_parallelism);
        for (size_t i = 0; i < s->n_externals; i++) {
            say(p, ", ");
            say_part(p, s->externals[i]->external);
            say(p, "=%.*s", text_len(s->externals[i]->data), (char *)s->externals[i]->data.data);
        }
        tide__start__free_unpacked(s, NULL);
        break;
    }
    case TIDE__TO_WORKER__MSG_RUN: say(p, "run"); break;
    case TIDE__TO_WORKER__MSG_RESUMED:
        say(p, "resumed attempt %" PRIu64, m->resumed->attempt);
        break;
    case TIDE__TO_WORKER__MSG_TRIGGER:
        p->round = m->trigger->round;
        say(p, "trigger %s %" PRIu64 "%s%s%s%s%s",
            m->trigger->kind == TIDE__ROUND_KIND__ROUND_SAVEPOINT ? "savepoint" : "checkpoint",
            p->round,
            m->trigger->stop == TIDE__STOP_MODE__STOP_SUSPEND ? ", suspend"
            : m->trigger->stop == TIDE__STOP_MODE__STOP_DRAIN ? ", drain"
                                                              : "",
            m->trigger->full ? ", full" : "", m->trigger->native ? ", native" : "",
            m->trigger->alignment ? ", " : "",
            m->trigger->alignment ? tide_alignment_name((enum tide_alignment)m->trigger->alignment)
                                  : "");
        for (size_t i = 0; i < m->trigger->n_full_tasks; i++)
            say(p, "%s%u", i ? " " : ", all of tasks ", m->trigger->full_tasks[i]->first);
        break;
    case TIDE__TO_WORKER__MSG_PREPARE:
        p->round = m->prepare->round;
        say(p, "prepare %s %" PRIu64 " window %u",
            m->prepare->kind == TIDE__ROUND_KIND__ROUND_SAVEPOINT ? "savepoint" : "checkpoint",
            p->round, m->prepare->window);
        break;
    case TIDE__TO_WORKER__MSG_CUT:
        say(p, "cut %" PRIu64 " at %" PRIu64, m->cut->round, m->cut->position);
        break;
    case TIDE__TO_WORKER__MSG_SNAPSHOT_NOW:
        say(p, "snapshot now %" PRIu64, m->snapshot_now->round);
        break;
    case TIDE__TO_WORKER__MSG_COMPLETE:
        p->subsumed = m->complete->subsumed;
        say(p, "complete %" PRIu64 "%s%s", m->complete->round,
            m->complete->commits ? "" : ", commits nothing",
            m->complete->n_ended ? ", some ended" : "");
        break;
    case TIDE__TO_WORKER__MSG_ABORT:
        say(p, "abort %" PRIu64 " code %d", m->abort->round, (int)m->abort->code);
        break;
    case TIDE__TO_WORKER__MSG_REWIND: say(p, "rewind attempt %" PRIu64, m->rewind->attempt); break;
    case TIDE__TO_WORKER__MSG_FENCED:
        say(p, "fenced: %.*s", text_len(m->fenced->reason), (char *)m->fenced->reason.data);
        break;
    case TIDE__TO_WORKER__MSG_BYE: say(p, "bye"); break;
    case TIDE__TO_WORKER__MSG_ASK_EXTERNAL: say_ask(p, m->ask_external); break;
    case TIDE__TO_WORKER__MSG_STOP:
        say(p, "stop %.*s", text_len(m->stop->outcome), (char *)m->stop->outcome.data);
        break;
    case TIDE__TO_WORKER__MSG_ADVANCE: say_advance(p, m->advance); break;
    case TIDE__TO_WORKER__MSG_TURN_UNALIGNED:
        say(p, "turn %" PRIu64 " unaligned", m->turn_unaligned->round);
        break;
    default: say(p, "message %d", (int)m->msg_case);
    }
}

static void say_response(struct play *p, const Tide__Response *m)
{
    switch (m->result_case) {
    case TIDE__RESPONSE__RESULT_ERROR:
        say(p, "error %d: %.*s", (int)m->error->code, text_len(m->error->text),
            (char *)m->error->text.data);
        break;
    case TIDE__RESPONSE__RESULT_OPERATION:
        p->operation = m->operation->id;
        snprintf(p->phase, sizeof p->phase, "%.*s", text_len(m->operation->phase),
                 (char *)m->operation->phase.data);
        say(p, "operation %.*s %.*s", text_len(m->operation->kind), (char *)m->operation->kind.data,
            text_len(m->operation->state), (char *)m->operation->state.data);
        if (m->operation->error.len)
            say(p, ": %.*s", text_len(m->operation->error), (char *)m->operation->error.data);
        if (m->operation->snapshot_good)
            say(p, ", snapshot %" PRIu64 " good", m->operation->snapshot);
        for (size_t i = 0; i < m->operation->n_report; i++)
            say(p, "\n  %.*s", text_len(m->operation->report[i]),
                (char *)m->operation->report[i].data);
        break;
    case TIDE__RESPONSE__RESULT_JOBS: say(p, "%zu jobs", m->jobs->n_jobs); break;
    case TIDE__RESPONSE__RESULT_JOB:
        if (m->job->n_open) p->shown_acked = m->job->open[m->job->n_open - 1]->acked;
        for (size_t i = 0; i < m->job->n_open; i++)
            for (size_t k = 0; k < m->job->open[i]->n_held_by; k++)
                say(p, "[held by %u, %.*s]", m->job->open[i]->held_by[k]->task,
                    text_len(m->job->open[i]->held_by[k]->phase),
                    (char *)m->job->open[i]->held_by[k]->phase.data);
        say(p, "job %.*s, waits for: %.*s", text_len(m->job->summary->state),
            (char *)m->job->summary->state.data, text_len(m->job->waiting_for),
            (char *)m->job->waiting_for.data);
        for (size_t i = 0; i < m->job->n_regions; i++)
            say(p, "\n  region of %u: %.*s, since %" PRIu64 ", start %u",
                m->job->regions[i]->tasks[0]->first, text_len(m->job->regions[i]->state),
                (char *)m->job->regions[i]->state.data, m->job->regions[i]->since,
                m->job->regions[i]->starts);
        break;
    default: say(p, "response %d", (int)m->result_case);
    }
}

static void say_send(struct play *p, const struct action *a)
{
    const uint8_t *at = a->blob->data, *end = at + a->blob->len;
    if (a->tell) push(p->sents, &p->n_sents, a->tag);
    if (a->n_sessions == 0) return;
    while (at < end) {
        size_t len = tide_get_u32(at);
        for (uint32_t i = 0; i < a->n_sessions; i++)
            say(p, "%s%" PRIu64, i ? "," : "to ", a->sessions[i]);
        say(p, ": ");
        if (a->sessions[0] >= 100) { /* admins, by the tests' habit */
            Tide__Response *m = tide__response__unpack(NULL, len, at + 4);
            ck_assert_ptr_nonnull(m);
            say_response(p, m);
            tide__response__free_unpacked(m, NULL);
        } else {
            Tide__ToWorker *m = tide__to_worker__unpack(NULL, len, at + 4);
            ck_assert_ptr_nonnull(m);
            say_to_worker(p, m);
            tide__to_worker__free_unpacked(m, NULL);
        }
        say(p, "\n");
        at += 4 + len;
    }
}

static void keep_reason(struct play *p, const struct tide_record *r)
{
    struct tide_bytes why = r->type == TIDE_REC_ROUND_END && !r->round.complete ? r->round.reason
                            : r->type == TIDE_REC_ATTEMPT_END ? r->attempt_end.reason
                                                              : (struct tide_bytes){0};
    if (why.len)
        snprintf(p->reason, sizeof p->reason, "%.*s", (int)why.len, (const char *)why.data);
}

static void say_commit(struct play *p, struct tide_commit *c)
{
    static const char *const names[] = {"",
                                        "reserve",
                                        "lease",
                                        "job",
                                        "job-state",
                                        "attempt",
                                        "attempt-run",
                                        "attempt-end",
                                        "round-begin",
                                        "round-end",
                                        "round-times",
                                        "swept",
                                        "snapshot",
                                        "snapshot-state",
                                        "owed",
                                        "strike",
                                        "operation",
                                        "audit",
                                        "base",
                                        "shared",
                                        "shared-state"};
    say(p, c->awaited ? "commit:" : "ride:");
    for (const struct tide_record *r = c->first; r; r = r->next) {
        say(p, " %s", names[r->type]);
        keep_reason(p, r);
        if (r->type == TIDE_REC_ROUND_BEGIN || r->type == TIDE_REC_ROUND_END)
            p->row_acked = r->round.acked, p->row = r->round;
        if (r->type == TIDE_REC_JOB_STATE) say(p, "=%s", tide_job_state_name(r->job_state.state));
        if (r->type == TIDE_REC_ROUND_END)
            say(p, "=%s", r->round.complete ? "complete" : "aborted");
        if (r->type == TIDE_REC_ROUND_END && !r->round.complete && r->round.n_holders)
            for (uint32_t i = 0; i < r->round.n_holders; i++)
                say(p, "[%.*s.%u %.*s]", (int)r->round.holders[i].uid.len,
                    (const char *)r->round.holders[i].uid.data, r->round.holders[i].subtask,
                    (int)r->round.holders[i].phase.len,
                    (const char *)r->round.holders[i].phase.data);
        if (r->type == TIDE_REC_SNAPSHOT_STATE)
            say(p, "=%s %" PRIu64, tide_snapshot_state_name(r->snapshot_state.state),
                r->snapshot_state.round);
        if (r->type == TIDE_REC_OPERATION)
            say(p, "=%s", tide_operation_state_name(r->operation.state));
        if (r->type == TIDE_REC_BASE) say(p, "=%" PRIu64, r->base.snapshot);
        if (r->type == TIDE_REC_SHARED)
            say(p, "[%u new, %u left, %u again]", r->shared.n_added, r->shared.n_left,
                r->shared.n_again);
        if (r->type == TIDE_REC_SHARED_STATE)
            say(p, "=%u %s", r->shared_state.n_keys,
                tide_snapshot_state_name(r->shared_state.state));
        if (r->type == TIDE_REC_SNAPSHOT && r->snapshot.style == TIDE_RENDEZVOUS) {
            Tide__ManifestHead *head =
                tide__manifest_head__unpack(NULL, r->snapshot.head.len, r->snapshot.head.data);
            ck_assert_ptr_nonnull(head);
            ck_assert_int_eq(head->style, TIDE__ROUND_STYLE__STYLE_RENDEZVOUS);
            say(p, "[of position %" PRIu64 "]", head->position);
            tide__manifest_head__free_unpacked(head, NULL);
        }
        if (r->type == TIDE_REC_SNAPSHOT && r->snapshot.commits) say(p, " with effects");
        if (r->type == TIDE_REC_SNAPSHOT && r->snapshot.imported)
            say(p, "=%" PRIu64 " imported from %.*s", r->snapshot.round,
                (int)r->snapshot.directory.len, (const char *)r->snapshot.directory.data);
        if (r->type == TIDE_REC_SNAPSHOT) {
            struct tide_buf image;
            tide_buf_init(&image, 1u << 24);
            tide_manifest_put(&image, r->snapshot.head, r->snapshot.chunks, r->snapshot.n_chunks);
            ck_assert_int_eq(image.rc, 0);
            free(p->image);
            p->image = tide_buf_take(&image, &p->image_len);
        }
    }
    say(p, "\n");
    if (c->awaited) push(p->commits, &p->n_commits, c->tag);
    *p->held_end = c;
    p->held_end = &c->next;
    c->next = NULL;
}
void play_say_actions(struct play *p)
{
    static const char *const ops[] = {[FILE_MKDIR] = "mkdir",
                                      [FILE_META_WRITE] = "write-metadata",
                                      [FILE_META_PUBLISH] = "publish",
                                      [FILE_DELETE_ROUND] = "delete",
                                      [FILE_DELETE_ATTEMPT] = "delete-attempt",
                                      [FILE_DELETE_OWN] = "delete-own",
                                      [FILE_DELETE_SHARED] = "delete-shared",
                                      [FILE_META_READ] = "read",
                                      [FILE_LOOK] = "look",
                                      [FILE_EXPORT_BEGIN] = "export-begin",
                                      [FILE_EXPORT] = "export",
                                      [FILE_EXPORT_DROP] = "export-drop"};
    for (size_t i = 0; i < p->todo.n; i++) {
        struct action *a = &p->todo.items[i];
        switch (a->type) {
        case ACT_SEND: say_send(p, a); break;
        case ACT_CLOSE: say(p, "close %" PRIu64 "\n", a->sessions[0]); break;
        case ACT_COMMIT:
            say_commit(p, a->commit);
            a->commit = NULL;
            break;
        case ACT_FILE:
            say(p, "%s %s", ops[a->op], strrchr(a->path, '/') + 1);
            if (a->from)
                say(p, " from %s at %" PRIu64 ",%" PRIu64, strrchr(a->from, '/') + 1, a->place[0],
                    a->place[1]);
            say(p, "\n");
            p->file_ops[p->n_files] = a->op;
            push(p->files, &p->n_files, a->tag);
            break;
        case ACT_LOAD:
            say(p, "load %" PRIu64 "\n", a->round);
            p->load_rounds[p->n_loads] = a->round;
            push(p->loads, &p->n_loads, a->tag);
            break;
        case ACT_LOG: p->standstills += strstr(a->text, "the loop stood still") == a->text; break;
        case ACT_STOP:
            say(p, "stop %d: %s\n", a->exit_code, a->text);
            p->stopped = true;
            break;
        }
    }
    actions_clear(&p->todo);
    const char *broken = p->stopped ? NULL : core_check(p->core);
    ck_assert_msg(!broken, "%s", broken ? broken : "");
}
