/* Records in flight, on the side of the program that restores. As with states, all is decided first
 * without a look at a record: whether each flow that had some is declared, in the same direction,
 * and can be read. Then each task looks at all records and takes those that are routed to it. */
#include <stdlib.h>
#include <string.h>

#include "state/assign.h"
#include "state/format.h"

struct landing {
    struct tide_states *s;
    const struct tide_flights_had *had;
    struct tide_format_reader *reader; /* the one under way */
    const struct tide_format_flow *of; /* its flow */
    struct tide_flow *flow;
    struct tide_evolution evolution;
    bool migrate, alone;
};

static struct tide_flow *find(const struct tide_states *s, struct tide_bytes name)
{
    for (uint32_t i = 0; i < s->n_flows; i++)
        if (tide_bytes_equal(tide_bytes_of(s->flows[i]->name), name)) return s->flows[i];
    return NULL;
}

/* ---- what they are to this program */

static struct tide_had_schema had_schema(const struct tide_format_flow *had)
{
    return (struct tide_had_schema){had->schema, had->version, had->message, had->descriptor};
}

static int judge(struct landing *l, const struct tide_format_reader *r,
                 const struct tide_format_flow *had, const struct tide_flow *f)
{
    const bool copies = had->route == TIDE_FLOW_BROADCAST;
    const struct tide_had_schema was = had_schema(had);
    char why[WHY_SIZE];
    if (had->direction != f->config.direction)
        return tide_states_fail(l->s, TIDE_EREFUSED,
                                "%.200s: flow %.100s is of %ss there, of %ss here", r->name,
                                f->name, had->direction == TIDE_FLIGHT_OUTPUT ? "output" : "input",
                                had->direction == TIDE_FLIGHT_OUTPUT ? "input" : "output");
    if (copies != (f->config.route == TIDE_FLOW_BROADCAST))
        return tide_states_fail(l->s, TIDE_EREFUSED,
                                "%.200s: flow %.100s is %s there, %s here, and which records are "
                                "copies of others nobody knows",
                                r->name, f->name, tide_flow_route_name(had->route),
                                tide_flow_route_name(f->config.route));
    int rc = tide_evolve_judge(&f->schema, &was, why);
    return rc < 0 ? tide_states_fail(l->s, rc, "%.200s: flow %.100s is incompatible: %.250s",
                                     r->name, f->name, why)
                  : rc;
}

static int judge_all(struct landing *l)
{
    for (uint32_t i = 0; i < l->had->n; i++) {
        const struct tide_format_reader *r = l->had->readers[i];
        if (i && l->had->readers[i - 1]->task.subtask == r->task.subtask)
            return tide_states_fail(l->s, TIDE_ECORRUPT, "%.200s: its task has another one",
                                    r->name);
        for (uint32_t k = 0; k < r->n_flows; k++) {
            const struct tide_format_flow *had = &r->flows[k];
            struct tide_flow *f = had->records ? find(l->s, had->name) : NULL;
            if (!had->records) continue;
            if (!f && !l->s->drop_unmatched)
                return tide_states_fail(l->s, TIDE_EREFUSED,
                                        "%.200s: flow %.*s is not declared, and its %llu records "
                                        "in flight would be lost",
                                        r->name, (int)had->name.len, (const char *)had->name.data,
                                        (unsigned long long)had->records);
            int rc = f ? judge(l, r, had, f) : 0;
            if (rc < 0) return rc;
        }
    }
    return 0;
}

/* ---- records */

static int add(struct landing *l, struct tide_bytes record, const struct tide_flight_place *p,
               uint32_t channel)
{
    struct tide_flow *f = l->flow;
    if (f->n_records == f->cap_records) {
        size_t cap = f->cap_records ? f->cap_records * 2 : 16;
        struct tide_flow_record *more = realloc(f->records, cap * sizeof *more);
        if (!more) return TIDE_ENOMEM;
        f->records = more;
        f->cap_records = cap;
    }
    f->records[f->n_records++] = (struct tide_flow_record){
        (const void *)(uintptr_t)f->bytes.len, record.len, f->config.first_channel + channel,
        p->had_subtask, l->of->first_channel + p->had_channel};
    tide_buf_put(&f->bytes, record.data, record.len);
    return f->bytes.rc;
}

static int elsewhere(struct landing *l)
{
    return tide_states_fail(
        l->s, TIDE_EREFUSED,
        "%.200s: flow %.100s is routed otherwise than there, and this task is given its own "
        "records alone: restore it into a job with another graph or parallelism",
        l->reader->name, l->flow->name);
}

static int route(struct landing *l, const struct tide_flight_row *row, struct tide_bytes record)
{
    const struct tide_states *s = l->s;
    const struct tide_flow_config *c = &l->flow->config;
    const uint32_t max =
        c->direction == TIDE_FLIGHT_OUTPUT ? l->flow->max_parallelism : l->had->max_parallelism;
    struct tide_flight_place p = {.output = c->direction == TIDE_FLIGHT_OUTPUT,
                                  .route = c->route,
                                  .had_subtask = l->reader->task.subtask,
                                  .had_parallelism = l->had->parallelism,
                                  .had_channel = row->channel - l->of->first_channel,
                                  .had_channels = l->of->channels};
    const void *key = NULL;
    size_t key_len = 0;
    uint32_t first, step;
    int rc = c->key ? c->key(record.data, record.len, &key, &key_len, c->user) : 0;
    if (rc)
        return tide_states_fail(l->s, TIDE_EREFUSED,
                                "%.200s: flow %.100s: a record has no key (%d)", l->reader->name,
                                l->flow->name, rc);
    if (c->key) p.group = tide_states_key_group(key, key_len, max);
    if (!tide_assign_flight(&p, s->parallelism, l->had->max_parallelism, s->subtask))
        return l->alone ? elsewhere(l) : 0;
    tide_assign_channels(&p, c->channels, max, &first, &step);
    for (uint32_t ch = first; !rc && ch < c->channels; ch += step)
        rc = add(l, record, &p, ch);
    return rc ? tide_states_fail(l->s, rc, "flow %.100s: %s", l->flow->name, tide_strerror(rc)) : 0;
}

static int land(void *user, const struct tide_flight_row *row)
{
    struct landing *l = user;
    void *made = NULL;
    size_t len = 0;
    if (!l->migrate) return route(l, row, row->record);
    int rc =
        tide_evolve_migrate(l->s, "flow", l->flow->name, &l->evolution, row->record, &made, &len);
    if (!rc) rc = route(l, row, (struct tide_bytes){made, len});
    free(made);
    return rc;
}

/* A max parallelism that was left open is the snapshot's: that of the tasks that read. */
static void adopt_max(struct tide_flow *f, const struct tide_format_flow *had)
{
    if (f->config.direction == TIDE_FLIGHT_OUTPUT && f->config.route == TIDE_FLOW_KEYED &&
        !f->config.max_parallelism && had->max_parallelism >= f->config.channels)
        f->max_parallelism = had->max_parallelism;
}

static int land_flow(struct landing *l, uint32_t number)
{
    struct tide_states *s = l->s;
    const struct tide_had_schema was = had_schema(l->of);
    char why[WHY_SIZE];
    int rc =
        tide_evolve_begin(&l->flow->schema, &was, &l->evolution, why); /* as judge() has said */
    l->migrate = rc == 1;
    adopt_max(l->flow, l->of);
    l->reader->why[0] = '\0';
    rc = rc < 0 ? tide_states_fail(s, rc, "flow %.100s: %.250s", l->flow->name, why)
                : tide_format_records(l->reader, number, land, l);
    tide_evolve_end(&l->evolution);
    return rc && l->reader->why[0] ? tide_states_fail(s, rc, "%s", l->reader->why) : rc;
}

int tide_flows_load(struct tide_states *s, const struct tide_flights_had *had)
{
    struct landing l = {.s = s, .had = had};
    int rc = judge_all(&l);
    l.alone = had->n == 1 && had->parallelism == s->parallelism && s->parallelism > 1 &&
              had->readers[0]->task.subtask == s->subtask;
    for (uint32_t i = 0; !rc && i < had->n; i++) {
        l.reader = had->readers[i];
        for (uint32_t k = 0; !rc && k < l.reader->n_flows; k++) {
            l.of = &l.reader->flows[k];
            l.flow = find(s, l.of->name);
            if (!l.flow || !l.of->records) continue;
            rc = land_flow(&l, k);
        }
    }
    for (uint32_t i = 0; rc && i < s->n_flows; i++)
        tide_flow_drop(s->flows[i]);
    return rc;
}
