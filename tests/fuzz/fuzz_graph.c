/* Any JobSpec is refused with a sentence, or numbered so that numbers and names agree, and its
 * canonical bytes give the same graph again. */
#include <stdlib.h>
#include <string.h>

#include "proto/arena.h"
#include "proto/err.h"
#include "proto/graph.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool fact)
{
    if (!fact) abort();
}

static void check_numbers(const struct tide_graph *g)
{
    uint32_t tasks = 0, subtask;

    for (uint32_t i = 0; i < g->n_operators; i++) {
        const struct tide_operator *o = &g->operators[i];
        must(o->first_task == tasks && o->parallelism <= o->max_parallelism);
        must(i == 0 || tide_bytes_compare(g->operators[i - 1].uid, o->uid) < 0);
        tasks += o->parallelism;
        must(tide_graph_operator(g, tasks - 1, &subtask) == o && subtask == o->parallelism - 1);
        must(tide_graph_task(g, o->uid, subtask) == tasks - 1);
    }
    must(tasks == g->tasks && tasks <= TIDE_TASKS_MAX &&
         tide_graph_operator(g, tasks, NULL) == NULL);
    for (uint32_t i = 0; i < g->n_edges; i++) {
        must(g->edges[i].from < g->n_operators && g->edges[i].to < g->n_operators);
        must(!g->operators[g->edges[i].to].source);
    }
}

static struct tide_graph *graph_of(struct tide_bytes bytes, char why[static 256])
{
    struct tide_arena arena;
    struct tide_graph *g = NULL;

    tide_arena_init(&arena, TIDE_ARENA_MAX);
    Tide__JobSpec *spec = tide_unpack(&arena, &tide__job_spec__descriptor, bytes, NULL);
    if (spec) {
        int rc = tide_graph_new(spec, &g, why);
        must(rc == 0 || (rc == TIDE_EINVAL && why[0] && g == NULL));
    }
    tide_arena_release(&arena);
    return g;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[256];
    struct tide_graph *g = graph_of((struct tide_bytes){data, size}, text);

    if (g == NULL) return 0;
    check_numbers(g);
    struct tide_graph *again = graph_of((struct tide_bytes){g->spec_bytes, g->spec_len}, text);
    if (again) { /* else it took more than the arena holds, which the canonical form may */
        must(memcmp(again->fingerprint, g->fingerprint, 16) == 0);
        again->fingerprint[0] ^= 1; /* so that the whole comparison runs */
        tide_graph_difference(g, again, text);
        must(text[0] != '\0');
        tide_graph_free(again);
    }
    tide_graph_free(g);
    return 0;
}
