/* `status`: the daemon's counters, and each job's gauges. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"

#define BAR_MOST 40 /* columns of the histogram's longest bar */

/* A double: no counts of a daemon's make it smaller than one of them. */
static double lag_turns(const Tide__Status *s)
{
    double all = 0;
    for (size_t i = 0; i < s->n_loop_lag; i++)
        all += (double)s->loop_lag[i]->count;
    return all;
}

/* Of all turns since the start, so many per mille lagged less than this. 0: there were none. */
static uint64_t lag_quantile(const Tide__Status *s, uint64_t per_mille)
{
    double all = lag_turns(s), below = 0;
    for (size_t i = 0; i < s->n_loop_lag; i++) {
        const Tide__LagBucket *b = s->loop_lag[i];
        below += (double)b->count;
        if (all > 0 && below >= all * (double)per_mille / 1000) {
            bool tighter = s->loop_lag_max_us && s->loop_lag_max_us < b->below_us;
            return tighter || !b->below_us ? s->loop_lag_max_us : b->below_us;
        }
    }
    return 0;
}

static void lag_json(struct json *j, const Tide__Status *s)
{
    json_u64(j, "loop_lag_p50_us", lag_quantile(s, 500));
    json_u64(j, "loop_lag_p99_us", lag_quantile(s, 990));
    json_u64(j, "loop_lag_max_us", s->loop_lag_max_us);
    json_array(j, "loop_lag");
    for (size_t i = 0; i < s->n_loop_lag; i++) {
        json_object(j, NULL);
        json_id(j, "below_us", s->loop_lag[i]->below_us);
        json_u64(j, "count", s->loop_lag[i]->count);
        json_end_object(j);
    }
    json_end_array(j);
}

static int status_json(const struct cli *c, const Tide__Status *s)
{
    struct json j;
    json_init(&j);
    json_object(&j, "status");
    json_data(&j, "version", s->version);
    json_hex(&j, "store_id", s->store_id);
    json_u64(&j, "incarnation", s->incarnation);
    json_id(&j, "started_wall_us", s->started_wall_us);
    json_u64(&j, "connections", s->connections);
    json_u64(&j, "workers", s->workers);
    json_u64(&j, "refused", s->refused);
    json_u64(&j, "rounds_complete", s->rounds_complete);
    json_u64(&j, "rounds_aborted", s->rounds_aborted);
    json_u64(&j, "commits", s->commits);
    json_u64(&j, "store_queue", s->store_queue);
    json_u64(&j, "deleting", s->deleting);
    json_u64(&j, "delete_failures", s->delete_failures);
    json_u64(&j, "rss_bytes", s->rss_bytes);
    lag_json(&j, s);
    json_array(&j, "jobs");
    for (size_t i = 0; i < s->n_jobs; i++) {
        json_object(&j, NULL);
        json_data(&j, "name", s->jobs[i]->name);
        json_data(&j, "state", s->jobs[i]->state);
        show_gauges_json(&j, s->jobs[i]->gauges);
        json_end_object(&j);
    }
    json_end_array(&j);
    json_end_object(&j);
    return cli_answer(c, &j);
}

static void lag_line(const Tide__Status *s)
{
    char p50[TEXT_MAX], p99[TEXT_MAX], most[TEXT_MAX];
    if (!lag_quantile(s, 1000)) return;
    show_line("Loop lag", "p50 below %s, p99 below %s, max %s",
              text_duration(p50, lag_quantile(s, 500)), text_duration(p99, lag_quantile(s, 990)),
              text_duration(most, s->loop_lag_max_us));
}

/* From the first to the last bucket that holds anything; a bar's length is its share. */
static void lag_histogram(const Tide__Status *s)
{
    static const char *const titles[] = {"LAG BELOW", "TURNS", "%", ""};
    static const unsigned char columns[] = {TABLE_RIGHT, TABLE_RIGHT, TABLE_RIGHT, TABLE_LEFT};
    struct table t;
    char text[TEXT_MAX], bar[BAR_MOST + 1];
    double all = lag_turns(s);
    size_t first = s->n_loop_lag, last = 0;
    for (size_t i = 0; i < s->n_loop_lag; i++) {
        if (!s->loop_lag[i]->count) continue;
        if (first > i) first = i;
        last = i;
    }
    if (first > last) return;
    table_init(&t, sizeof titles / sizeof *titles, titles, columns);
    for (size_t i = first; i <= last; i++) {
        const Tide__LagBucket *b = s->loop_lag[i];
        double share = (double)b->count / all;
        table_put(&t, b->below_us ? text_duration(text, b->below_us) : "more");
        table_put_u64(&t, b->count);
        snprintf(text, sizeof text, "%.1f", share * 100);
        table_put(&t, text);
        size_t n = (size_t)(share * BAR_MOST + 0.999);
        memset(bar, '#', n);
        bar[b->count ? n : 0] = '\0';
        table_put(&t, bar);
    }
    putchar('\n');
    show_print(&t);
}

static void status_lines(const Tide__Status *s)
{
    char id[64], text[TEXT_MAX], ago[TEXT_MAX];
    char *version = text_clean(s->version);
    show_line("Daemon", "tidemarkd %s", version);
    show_line("Store", "%s, incarnation %" PRIu64, text_hex(id, s->store_id, 16), s->incarnation);
    show_line("Started", "%s (%s)", text_time(text, s->started_wall_us),
              text_ago(ago, s->started_wall_us));
    show_line("Connections", "%u, %u of them workers; %" PRIu64 " refused", s->connections,
              s->workers, s->refused);
    show_line("Rounds", "%" PRIu64 " complete, %" PRIu64 " aborted", s->rounds_complete,
              s->rounds_aborted);
    show_line("Commits", "%" PRIu64 ", %" PRIu64 " waiting", s->commits, s->store_queue);
    show_line("Deleting", "%" PRIu64 ", %" PRIu64 " tries failed", s->deleting, s->delete_failures);
    if (s->rss_bytes) show_line("Memory", "%s", text_size(text, s->rss_bytes));
    lag_line(s);
    free(version);
}

static void jobs_text(const Tide__Status *s)
{
    static const char *const titles[] = {"JOB",  "STATE", "LAST", "AGE",
                                         "TOOK", "SIZE",  "DONE", "FAILED"};
    static const unsigned char columns[] = {TABLE_WIDE,
                                            TABLE_LEFT,
                                            TABLE_RIGHT,
                                            TABLE_RIGHT,
                                            TABLE_RIGHT | TABLE_SPARE,
                                            TABLE_RIGHT | TABLE_SPARE,
                                            TABLE_RIGHT,
                                            TABLE_RIGHT};
    struct table t;
    char text[TEXT_MAX];
    table_init(&t, sizeof titles / sizeof *titles, titles, columns);
    for (size_t i = 0; i < s->n_jobs; i++) {
        const Tide__JobStatus *job = s->jobs[i];
        Tide__Gauges none = TIDE__GAUGES__INIT;
        const Tide__Gauges *g = job->gauges ? job->gauges : &none;
        bool any = g->last_completed_checkpoint_id > 0;
        table_put_data(&t, job->name);
        table_put_data(&t, job->state);
        if (any)
            table_put_u64(&t, (uint64_t)g->last_completed_checkpoint_id);
        else
            table_put(&t, "-");
        int64_t at = g->last_checkpoint_completed_timestamp;
        table_put(&t, any && at > 0 ? text_age(text, (uint64_t)at * 1000) : "-");
        int64_t took = g->last_checkpoint_duration;
        table_put(&t, any && took >= 0 ? text_duration(text, (uint64_t)took * 1000) : "-");
        table_put(&t, any && g->last_checkpoint_size >= 0
                          ? text_size(text, (uint64_t)g->last_checkpoint_size)
                          : "-");
        table_put_u64(&t, g->number_of_completed_checkpoints);
        table_put_u64(&t, g->number_of_failed_checkpoints);
    }
    putchar('\n');
    show_print(&t);
}

int status_show(struct cli *c)
{
    Tide__Request request = TIDE__REQUEST__INIT;
    Tide__GetStatus call = TIDE__GET_STATUS__INIT;
    const Tide__Response *answer;
    request.call_case = TIDE__REQUEST__CALL_STATUS;
    request.status = &call;
    int rc = cli_ask(c, &request, TIDE__RESPONSE__RESULT_STATUS, &answer);
    if (rc) return rc;
    if (c->options.json) return status_json(c, answer->status);
    status_lines(answer->status);
    if (c->options.verbose) lag_histogram(answer->status);
    if (answer->status->n_jobs) jobs_text(answer->status);
    return DONE;
}
