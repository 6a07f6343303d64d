/* What a seed decides before the history begins: how many jobs the daemon has, what each is, who
 * runs it, and which faults there are.
 *
 * A new kind of job, or a new member of its spec, is drawn here: plan_job() chooses the program,
 * the program's own plan() its graph, plan_spec() what the job asks of the daemon. */
#include "tests/sim/sim.h"

static void plan_spec(struct sim *s, struct job *j)
{
    struct flow *f = &j->flow;
    Tide__Checkpointing *c = &j->checkpointing;
    tide__job_spec__init(&j->spec);
    c->heartbeat_ms = (uint32_t)between(s, 80, 250);
    c->lease_ms = c->heartbeat_ms * (uint32_t)between(s, 3, 6);
    c->interval_ms = (uint32_t)between(s, 40, 300);
    c->min_pause_ms = percent(s, 50) ? 0 : (uint32_t)between(s, 1, 80);
    c->deadline_ms = (uint32_t)between(s, 250, 1200);
    c->restore_deadline_ms = (uint32_t)between(s, 800, 2000);
    c->retained = (uint32_t)between(s, 1, 3);
    if (percent(s, 10)) c->retained_hours = (uint32_t)between(s, 1, 2);
    if (percent(s, 10)) c->retained_age_s = 1;
    if (percent(s, 10)) c->retained_least = (uint32_t)between(s, 1, 4);
    c->grace_ms = (uint32_t)between(s, 600, 1500);
    c->orphan_limit_ms = (uint32_t)between(s, 60, 400);
    c->progress_ms = (uint32_t)between(s, 50, 300);
    bool one_by_one = j->program->meets || c->alignment >= TIDE__ALIGNMENT__ALIGN_UNALIGNED;
    if (percent(s, 40) && !one_by_one) c->max_concurrent = (uint32_t)between(s, 2, 4);
    if (percent(s, 25)) c->failure_pause_ms = (uint32_t)between(s, 1, 200);
    if (percent(s, 20)) c->failures_max = (uint32_t)between(s, 1, 3);
    if (percent(s, 25))
        c->backlog_interval_ms =
            percent(s, 40) ? TIDE_NONE : c->interval_ms + (uint32_t)below(s, 300);
    if (percent(s, 10)) c->attempts_max = (uint32_t)between(s, 3, 8);
    if (percent(s, 30)) c->deadline_cap_ms = c->deadline_ms + (uint32_t)below(s, 1500);
    j->spec.name = (ProtobufCBinaryData){strlen(j->name), (uint8_t *)j->name};
    j->spec.checkpointing = c;
    j->spec.operators = sim_alloc(s, OPS_MAX * sizeof *j->spec.operators);
    j->spec.edges = sim_alloc(s, OPS_MAX * OPS_MAX * sizeof *j->spec.edges);
    for (uint32_t o = 0; o < f->n_ops; o++) {
        Tide__Operator *op = j->spec.operators[j->spec.n_operators++] = sim_alloc(s, sizeof *op);
        tide__operator__init(op);
        op->uid = (ProtobufCBinaryData){strlen(f->uid[o]), (uint8_t *)f->uid[o]};
        op->parallelism = f->parallelism[o];
    }
    for (uint32_t a = 0; a < f->n_ops; a++)
        for (uint32_t b = 0; b < f->n_ops; b++) {
            if (!f->edge[a][b]) continue;
            Tide__Edge *e = j->spec.edges[j->spec.n_edges++] = sim_alloc(s, sizeof *e);
            tide__edge__init(e);
            e->from = j->spec.operators[a]->uid;
            e->to = j->spec.operators[b]->uid;
            e->pattern = f->pointwise[a][b] ? TIDE__EDGE_PATTERN__EDGE_POINTWISE
                                            : TIDE__EDGE_PATTERN__EDGE_ALL_TO_ALL;
        }
}

/* Drawn beside the other draws, so that one kind of job more leaves those of the others as they
 * were. */
static uint64_t of_hundred(const struct sim *s, const struct job *j)
{
    return ((s->seed * JOBS_DRAWN + j->number + 1) * 0x9e3779b97f4a7c15u >> 32) % 100;
}

static bool is_regional(const struct sim *s, const struct job *j)
{
    uint64_t x = (s->seed * JOBS_DRAWN + j->number + 1) * 0xd6e8feb86659fd93u;
    return ((x ^ x >> 32) * 0xd6e8feb86659fd93u >> 32) % 4 == 0;
}

/* Each column of subtasks has workers of its own: two of them, where there are enough. */
static void plan_columns(struct job *j)
{
    uint32_t columns = 0, used = 0, number[SLOTS_MAX] = {0};
    for (uint32_t o = 0; o < j->flow.n_ops; o++)
        if (j->flow.parallelism[o] > columns) columns = j->flow.parallelism[o];
    for (uint32_t i = 0; i < j->flow.tasks; i++) {
        const struct flow_task *t = &j->flow.task[i];
        uint32_t slot = t->subtask + (t->op % 2) * columns;
        j->slot_of[i] = slot < SLOTS_MAX ? slot : t->subtask;
        used |= 1u << j->slot_of[i];
    }
    j->slots = 0;
    for (uint32_t k = 0; k < SLOTS_MAX; k++)
        if (used >> k & 1) number[k] = j->slots++;
    for (uint32_t i = 0; i < j->flow.tasks; i++)
        j->slot_of[i] = number[j->slot_of[i]];
}

/* Nothing goes wrong with its workers and tasks: no round of it aborts, and they come as planned,
 * whatever others have. */
static void plan_calm(struct sim *s, struct job *j)
{
    Tide__Checkpointing *c = &j->checkpointing;
    j->upload_max_ms = 40;
    c->deadline_ms = (uint32_t)between(s, 900, 1500);
    c->deadline_cap_ms = c->backlog_interval_ms = c->attempts_max = 0;
    j->most_apart_us = (2 * c->interval_ms + c->min_pause_ms + c->deadline_ms) * (uint64_t)MS;
    note(s, "job %s: nothing goes wrong with it", j->name);
}

static void tell_plan(struct sim *s, const struct job *j)
{
    note(s,
         "job %s: a %s of %u operators, %u tasks, %u channels, %u workers, %u records per source%s",
         j->name, j->program->name, j->flow.n_ops, j->flow.tasks, j->flow.channels, j->slots,
         j->flow.records, j->flow.finite ? "" : ", endless");
}

static void plan_workers(struct sim *s, struct job *j)
{
    j->slots = (uint32_t)between(s, 1, j->flow.tasks < SLOTS_MAX ? j->flow.tasks : SLOTS_MAX);
    for (uint32_t i = 0; i < j->flow.tasks; i++)
        j->slot_of[i] = i < j->slots ? i : (uint32_t)below(s, j->slots);
    if (j->checkpointing.regional && percent(s, 80)) plan_columns(j);
}

static void plan_job(struct sim *s, struct job *j)
{
    j->program = of_hundred(s, j) < 15 ? &meet_program : &flow_program;
    tide__checkpointing__init(&j->checkpointing);
    j->checkpointing.regional = !j->program->meets && is_regional(s, j);
    j->program->plan(s, j);
    j->portable = !j->program->meets && of_hundred(s, j) % 2;
    j->pieces = !j->program->meets && of_hundred(s, j) / 2 % 5 < 2;
    plan_workers(s, j);
    plan_spec(s, j);
    uint64_t of = of_hundred(s, j);
    if (of >= 85 && !j->checkpointing.regional)
        j->spec.operators[of % j->spec.n_operators]->union_state = true;
    external_plan(s, j, of % 10 < 3);
    j->inline_percent = percent(s, 50) ? 100 : (uint32_t)below(s, 101);
    j->upload_max_ms = percent(s, 80) ? 40 : 300;
    if (j->calm) plan_calm(s, j);
    log_job(s, j);
    for (uint32_t i = 0; i < j->slots; i++)
        sim_at(s, s->now + below(s, 100 * MS), proc_start, j, i);
    tell_plan(s, j);
}

static void begin_heir(struct sim *s, void *arg, uint64_t x)
{
    (void)x;
    heir_begin(s, arg);
}

/* In one history of five somebody takes over, later, what one of the jobs has left. */
static void plan_heir(struct sim *s)
{
    uint64_t x = (s->seed + 1) * 0xa0761d6478bd642fu;
    x = (x ^ x >> 32) * 0xa0761d6478bd642fu >> 32;
    if (x % 5) return;
    struct job *like = s->jobs, **end = &s->jobs, *j = sim_alloc(s, sizeof *j);
    for (uint32_t i = 0; i < x / 5 % s->n_jobs; i++)
        like = like->next;
    while (*end)
        end = &(*end)->next;
    *end = j;
    j->number = s->n_jobs++;
    snprintf(j->name, sizeof j->name, "heir");
    memcpy(j->prefix, j->name, sizeof j->prefix);
    heir_plan(s, j, like);
    plan_workers(s, j);
    plan_spec(s, j);
    for (uint32_t o = 0; o < j->spec.n_operators; o++)
        j->spec.operators[o]->union_state = like->spec.operators[o]->union_state;
    external_inherit(s, j);
    j->inline_percent = like->inline_percent;
    j->upload_max_ms = 40;
    log_job(s, j);
    sim_at(s, s->now + between(s, 200 * MS, 5 * SECOND), begin_heir, j, 0);
    tell_plan(s, j);
}

void plan_jobs(struct sim *s)
{
    static const char *const names[JOBS_DRAWN] = {"red", "blue", "green"};
    uint64_t kind = below(s, 100);
    s->now = BEGIN;
    s->next_pid = FIRST_PID;
    store_init(s);
    s->daemon.clock = between(s, SECOND, 1000 * (uint64_t)SECOND);
    s->daemon.wall = (uint64_t)1700000000 * SECOND;
    s->n_jobs = kind < 75 ? 1 : kind < 94 ? 2 : 3;
    fault_draw(s);
    /* one job's trouble does not move another's rounds */
    bool calm = s->n_jobs > 1 && percent(s, 50);
    if (calm && percent(s, 60)) s->climate &= ~(uint32_t)(CL_WEATHER | CL_LAG);
    note(s, "seed %" PRIu64 ": jobs: %u, faults: %s", s->seed, s->n_jobs, fault_words(s));
    struct job **end = &s->jobs;
    for (uint32_t i = 0; i < s->n_jobs; i++) {
        struct job *j = *end = sim_alloc(s, sizeof *j);
        end = &j->next;
        j->number = i;
        j->calm = !s->climate || (calm && i + 1 == s->n_jobs);
        snprintf(j->name, sizeof j->name, "%s", s->n_jobs == 1 ? "job" : names[i]);
        if (s->n_jobs > 1) memcpy(j->prefix, j->name, sizeof j->prefix);
        plan_job(s, j);
    }
    plan_heir(s);
    sim_at(s, s->now + below(s, 100 * MS), daemon_start, NULL, 0);
    fault_plan(s);
}
