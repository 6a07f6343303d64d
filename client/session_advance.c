/* Another region of the job was rewound, and this worker is not in it
 *
 * The usual way: the rounds under way have aborted; Advance gives the attempt its new number.
 * Tasks, channels, state and the number for writes to the outside stay as they are; what is to be
 * said is said under the new number. Hooks are restored or reset as in any restore; coordinators
 * hear which of their subtasks have lost what was sent to them. When the region has restored, Run
 * says so.
 *
 * What can go wrong: the connection breaks before Advance has come: Resumed, in the old attempt,
 * and Advance follow. It comes again: it is confirmed again. */
#include "client/session_impl.h"

static bool same_job(const struct tide_session *s, const Tide__Token *k)
{
    const Tide__Token *had = s->start->token;
    return tide_bytes_equal(tide_of_pb(k->store_id), tide_of_pb(had->store_id)) &&
           tide_bytes_equal(tide_of_pb(k->job_id), tide_of_pb(had->job_id));
}

static const char *wrong_advance(const struct tide_session *s, const Tide__Advance *m)
{
    if (!m->token || !same_job(s, m->token)) return "Advance with another job's token, or none";
    if (m->token->attempt <= m->from) return "Advance to no later attempt";
    if (!tide_directory_valid(tide_of_pb(m->directory))) return "Advance without a directory";
    if (s->phase != TIDE__WORKER_PHASE__PHASE_RUNNING) return "Advance before Run";
    if (!tide_ranges_fit(s, m->n_rewound, m->rewound))
        return "Advance names tasks that do not exist";
    for (size_t i = 0; i < m->n_peers; i++)
        if (!tide_ranges_fit(s, m->peers[i]->n_tasks, m->peers[i]->tasks))
            return "Advance names peers' tasks that do not exist";
    for (size_t i = 0; i < m->n_rewound; i++)
        for (uint32_t k = 0; k < s->n_tasks; k++)
            if (s->tasks[k].number - m->rewound[i]->first < m->rewound[i]->count)
                return "Advance rewinds a task of this worker";
    return tide_externals_advance_wrong(s, m);
}

static void go_on(struct tide_session *s, const Tide__Advance *m, struct tide_bytes content)
{
    struct shared *hold = tide_shared_new(s, content);
    Tide__Token *k = s->start->token;
    if (!hold) return;
    k->attempt = s->attempt = m->token->attempt;
    k->incarnation = m->token->incarnation;
    k->nonce = m->token->nonce; /* the number for writes to the outside is its tasks' own */
    s->advancing = true;
    s->bad_refusals = 0;
    tide_rounds_lowest(s, m->lowest_pending);
    struct tide_delivery d = {
        .type = TIDE_DO_ADVANCE, .attempt = s->attempt, .bytes = {hold->data, hold->len}};
    tide_session_push(s, &d, hold);
    tide_shared_unref(hold);
    tide_externals_advance(s, m);
    tide_session_send_advanced(s);
}

void tide_session_on_advance(struct tide_session *s, struct tide_bytes content, uint64_t now_us)
{
    struct tide_arena arena;
    int rc;
    tide_arena_init(&arena, START_ARENA_MAX);
    const Tide__Advance *m = tide_unpack(&arena, &tide__advance__descriptor, content, &rc);
    const char *wrong = m                   ? NULL
                        : rc == TIDE_EPROTO ? "Advance cannot be read"
                                            : "Advance takes too much memory";
    if (m && s->attached && m->from == s->attempt) {
        wrong = wrong_advance(s, m);
        if (!wrong) go_on(s, m, content);
    } else if (m && s->attached && m->token && m->token->attempt == s->attempt) {
        tide_session_send_advanced(s);
    }
    if (wrong) tide_session_broken(s, wrong, now_us);
    tide_arena_release(&arena);
}
