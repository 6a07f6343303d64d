/* Records in flight, on their way into a snapshot: the database that libtidemark asks for when it
 * has all of them (tide_task_keep_flights).
 *
 * It is a database of its own, since the states are frozen and written while records still come. */
#include <stdio.h>

#include "state/format.h"

#define SMALL (64u << 10) /* bytes of records that are made into a database in memory */

struct keeping {
    struct tide_states *s;
    struct tide_format_writer *writer;
    struct tide_flights *flights;
    char *why;
};

static uint32_t max_of(const struct tide_flow *f)
{
    if (f->config.route != TIDE_FLOW_KEYED) return 0;
    return f->config.direction == TIDE_FLIGHT_OUTPUT ? f->max_parallelism
                                                     : f->states->max_parallelism;
}

static int put_records(struct keeping *k, struct tide_flow *f)
{
    const struct tide_flow_config *c = &f->config;
    struct tide_flight_row row = {0};
    const void *data, *key = NULL;
    size_t len, key_len = 0;
    for (uint32_t ch = c->first_channel; ch - c->first_channel < c->channels; ch++)
        while (tide_flights_next(k->flights, c->direction, ch, &data, &len)) {
            int rc = c->key ? c->key(data, len, &key, &key_len, c->user) : 0;
            if (rc) {
                snprintf(k->why, 256, "flow %.100s: a record has no key (%d)", f->name, rc);
                return TIDE_EINVAL;
            }
            row.channel = ch;
            row.key = (struct tide_bytes){key, key_len};
            row.group = c->key ? tide_states_key_group(key, key_len, max_of(f)) : 0;
            row.record = (struct tide_bytes){data, len};
            rc = tide_format_record(k->writer, &row);
            if (rc) return rc;
        }
    return 0;
}

static int put_flow(struct keeping *k, struct tide_flow *f)
{
    const struct tide_flow_config *c = &f->config;
    struct tide_format_flow flow = {.name = tide_bytes_of(f->name),
                                    .peer = tide_bytes_of(c->peer ? c->peer : ""),
                                    .direction = c->direction,
                                    .route = c->route,
                                    .first_channel = c->first_channel,
                                    .channels = c->channels,
                                    .max_parallelism = max_of(f),
                                    .schema = tide_bytes_of(f->schema.id ? f->schema.id : ""),
                                    .version = f->schema.version,
                                    .message =
                                        tide_bytes_of(f->schema.message ? f->schema.message : ""),
                                    .descriptor = {f->schema.descriptor, f->schema.descriptor_len}};
    int rc = tide_format_flow(k->writer, &flow);
    return rc ? rc : put_records(k, f);
}

/* path NULL: in memory. */
static int write_database(struct keeping *k, uint64_t round, const char *path, uint8_t **ret_data,
                          size_t *ret_len)
{
    const struct tide_states *s = k->s;
    char why[WHY_SIZE] = "";
    struct tide_format_task task = {.uid = tide_bytes_of(s->uid),
                                    .writer = tide_bytes_of(tide_version()),
                                    .subtask = s->subtask,
                                    .parallelism = s->parallelism,
                                    .max_parallelism = s->max_parallelism,
                                    .databases = TIDE_FORMAT_FLIGHT,
                                    .round = round};
    for (uint32_t i = 0; i < s->n_items; i++)
        task.databases |=
            tide_kind_is_keyed(s->items[i]->kind) ? TIDE_FORMAT_KEYED : TIDE_FORMAT_OWN;
    int rc = tide_format_create(path, &task, &k->writer, why);
    for (uint32_t i = 0; !rc && i < s->n_flows; i++)
        rc = put_flow(k, s->flows[i]);
    if (rc && k->why[0]) /* no failure of the writer's */
        tide_format_abandon(k->writer);
    else if (k->writer) {
        int end = tide_format_finish(k->writer, ret_data, ret_len, why);
        rc = rc ? rc : end;
    }
    if (!k->why[0]) snprintf(k->why, 256, "%.250s", why);
    return rc;
}

static int keep(struct tide_snapshot *snapshot, struct tide_flights *flights, char why[256],
                void *user)
{
    struct keeping k = {.s = user, .flights = flights, .why = why};
    const uint64_t round = tide_snapshot_round(snapshot);
    char path[4096];
    uint8_t *data = NULL;
    size_t len = 0;
    int rc = tide_snapshot_artifact(snapshot, TIDE_ARTIFACT_FLIGHT, 0, 0);
    if (!rc && tide_flights_bytes(flights) > SMALL) {
        rc = tide_snapshot_file(snapshot, path, sizeof path);
        return rc ? rc : write_database(&k, round, path, NULL, NULL);
    }
    if (!rc) rc = write_database(&k, round, NULL, &data, &len);
    if (!rc) rc = tide_snapshot_write(snapshot, data, len);
    sqlite3_free(data);
    return rc;
}

int tide_states_keep_flights(struct tide_states *s, struct tide_task *task)
{
    if (!s || !task) return TIDE_EINVAL;
    if (!s->n_flows)
        return tide_states_fail(s, TIDE_EINVAL, "operator %.100s: has declared no flow", s->uid);
    int rc = tide_task_keep_flights(task, keep, s);
    return rc ? tide_states_fail(s, rc, "operator %.100s: too late to keep records in flight",
                                 s->uid)
              : 0;
}
