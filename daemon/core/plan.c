/* What a round asks of which task: from the graph and from who has finished alone, so that a table
 * can test it.
 *
 * The usual way: no task has ended, the sources begin the round when they are triggered, barriers
 * take it to the others, and every task acks. A task that has ended acks by its end, from the
 * beginning on; so does one that ends while the round is under way, by the completion of a round
 * before it: neither fails anything. A task begins the round when nothing live comes before it,
 * whatever its place in the graph. Every worker gets the same trigger, since a task sees by its
 * channels whether it begins; here it is what holders of a round are told apart by.
 *
 * What can go wrong: union list state goes to every task on restore. Without the pieces of those
 * that have finished it would not be whole, and with them they would not have finished: such a
 * snapshot must not be. docs/decisions/plans.md has the reasons. */
#include "daemon/core/internal.h"

void plan_make(struct plan *p, const struct tide_graph *g, const struct bits *ended,
               const struct bits *ending)
{
    *p = (struct plan){.graph = g};
    bits_init(&p->ended, g->tasks);
    bits_or(&p->ended, ended);
    bits_init(&p->ending, g->tasks);
    bits_or(&p->ending, ending);
    bits_init(&p->released, g->tasks);
    bits_init(&p->finished, g->tasks);
    p->expected = g->tasks - p->ended.set;
    p->final = p->ended.set + p->ending.set == g->tasks;
}

void plan_release(struct plan *p)
{
    bits_release(&p->ended);
    bits_release(&p->ending);
    bits_release(&p->released);
    bits_release(&p->finished);
}

/* An edge keeps a task from beginning as long as one of those that it comes from has not ended. */
static bool is_fed(const struct plan *p, const struct tide_edge *e, uint32_t subtask)
{
    const struct tide_operator *from = &p->graph->operators[e->from];
    return e->pattern == TIDE__EDGE_PATTERN__EDGE_ALL_TO_ALL
               ? !bits_all(&p->ended, from->first_task, from->parallelism)
               : !bits_get(&p->ended, from->first_task + subtask);
}

enum plan_role plan_role(const struct plan *p, uint32_t task)
{
    const struct tide_graph *g = p->graph;
    uint32_t subtask, to = (uint32_t)(tide_graph_operator(g, task, &subtask) - g->operators);
    if (bits_get(&p->ended, task)) return PLAN_ENDED;
    for (uint32_t i = 0; i < g->n_edges; i++)
        if (g->edges[i].to == to && is_fed(p, &g->edges[i], subtask)) return PLAN_FOLLOWS;
    return PLAN_BEGINS;
}

void plan_ended_since(struct plan *p, const struct bits *ended, const struct bits *acked)
{
    uint32_t at = 0, first, count;
    while (bits_run(ended, &at, &first, &count))
        for (uint32_t t = first; t < first + count; t++) {
            if (!bits_get(&p->ending, t)) continue;
            if (bits_get(acked, t))
                bits_put(&p->released, t);
            else if (bits_put(&p->ended, t))
                p->expected--;
        }
}

const struct bits *plan_lets_end(const struct plan *p, bool commits)
{
    return commits ? &p->ending : &p->released;
}

void plan_drained(struct plan *p)
{
    for (uint32_t t = 0; t < p->ending.size; t++)
        if (!bits_get(&p->ended, t)) bits_put(&p->ending, t);
    p->final = true;
}

char *plan_partly_finished(const struct plan *p)
{
    const struct tide_graph *g = p->graph;
    for (uint32_t i = 0; i < g->n_operators; i++) {
        const struct tide_operator *op = &g->operators[i];
        uint32_t n = 0;
        if (!op->union_state || PLANTED(UNION_PARTLY)) continue;
        for (uint32_t t = op->first_task; t < op->first_task + op->parallelism; t++)
            n += bits_get(&p->ended, t) || bits_get(&p->ending, t) || bits_get(&p->finished, t);
        if (n && n < op->parallelism)
            return core_printf("operator %.*s keeps union list state, and %u of its %u tasks have "
                               "finished",
                               (int)op->uid.len, (const char *)op->uid.data, n, op->parallelism);
    }
    return NULL;
}
