/* What the store hands over at start is looked at before it is believed: SQLite finds damage of its
 * structures, not a bit that was flipped in a row. Whatever the core takes for granted in a catalog
 * is checked here, so that job_load() may assert it. */
#include <stdio.h>

#include "daemon/core/internal.h"

#define WHY 256u

static int check_members(const struct tide_catalog_job *j, uint32_t tasks, char *why)
{
    int rc = 0;
    struct bits hosted;
    bits_init(&hosted, tasks);
    for (uint32_t i = 0; !rc && i < j->last.n_members; i++) {
        const struct tide_member *m = &j->last.members[i];
        int len = m->worker.len > 80 ? 80 : (int)m->worker.len;
        const char *name = (const char *)m->worker.data;
        if (m->n_ranges == 0) {
            snprintf(why, WHY, "worker %.*s hosts no task", len, name);
            rc = TIDE_ECORRUPT;
        }
        uint64_t before = 0; /* the end of the range before */
        for (uint32_t k = 0; !rc && k < m->n_ranges; k++) {
            uint64_t first = m->ranges[2 * k], end = first + m->ranges[2 * k + 1];
            if (end == first || first < before) {
                snprintf(why, WHY, "the tasks of worker %.*s are in no rising order", len, name);
                rc = TIDE_ECORRUPT;
            } else if (end > tasks) {
                snprintf(why, WHY, "worker %.*s hosts tasks %" PRIu64 "-%" PRIu64 ", of %" PRIu32,
                         len, name, first, end - 1, tasks);
                rc = TIDE_ECORRUPT;
            }
            for (uint64_t t = first; !rc && t < end; t++)
                if (!bits_put(&hosted, (uint32_t)t)) {
                    snprintf(why, WHY, "task %" PRIu64 " is hosted twice, by worker %.*s too", t,
                             len, name);
                    rc = TIDE_ECORRUPT;
                }
            before = end;
        }
    }
    bits_release(&hosted);
    return rc;
}

static int check_job(const struct tide_catalog_job *j, struct tide_arena *arena, char *why)
{
    struct tide_graph *graph = NULL;
    int rc;
    Tide__JobSpec *spec = tide_unpack(arena, &tide__job_spec__descriptor, j->spec, &rc);
    if (!spec) {
        snprintf(why, WHY, "its spec cannot be unpacked: %s", tide_strerror(rc));
        return rc == TIDE_EPROTO ? TIDE_ECORRUPT : rc;
    }
    rc = tide_graph_new(spec, &graph, why);
    if (rc) return rc == TIDE_EINVAL ? TIDE_ECORRUPT : rc;
    if (tide_bytes_equal(graph->name, j->name)) {
        rc = check_members(j, graph->tasks, why);
    } else {
        snprintf(why, WHY, "its spec is that of job %.*s",
                 graph->name.len > 80 ? 80 : (int)graph->name.len, (const char *)graph->name.data);
        rc = TIDE_ECORRUPT;
    }
    tide_graph_free(graph);
    return rc;
}

int core_check_catalog(const struct tide_catalog *catalog, char why[static 512])
{
    char text[WHY] = "";
    struct tide_arena arena;
    int rc = 0;
    tide_arena_init(&arena, (size_t)1 << 30);
    for (uint32_t i = 0; !rc && i < catalog->n_jobs; i++) {
        const struct tide_catalog_job *j = &catalog->jobs[i];
        rc = check_job(j, &arena, text);
        if (rc)
            snprintf(why, 512, "job %.*s: %s", j->name.len > 80 ? 80 : (int)j->name.len,
                     (const char *)j->name.data, text);
        tide_arena_reset(&arena);
    }
    tide_arena_release(&arena);
    return rc;
}
