/* Flows: what the channels of a task carry, and what of it was restored. */
#include <stdlib.h>
#include <string.h>

#include "state/impl.h"

#define RESTORED_MAX ((size_t)1 << 40)

void tide_flow_drop(struct tide_flow *f)
{
    free(f->records);
    f->records = NULL;
    f->n_records = f->cap_records = f->taken = 0;
    tide_buf_release(&f->bytes);
}

void tide_flow_free(struct tide_flow *f)
{
    if (!f) return;
    tide_flow_drop(f);
    tide_evolve_free(&f->schema);
    free((void *)(uintptr_t)f->config.peer);
    free(f->name);
    free(f);
}

/* ---- declaring */

static bool overlaps(const struct tide_flow_config *a, const struct tide_flow_config *b)
{
    return a->direction == b->direction && a->first_channel < b->first_channel + b->channels &&
           b->first_channel < a->first_channel + a->channels;
}

static int check(struct tide_states *s, const char *name, const struct tide_flow_config *c)
{
    if (!tide_states_is_name(name))
        return tide_states_fail(s, TIDE_EINVAL, "a flow's name must be 1 to 255 bytes of UTF-8");
    if (s->keyed || s->own)
        return tide_states_fail(s, TIDE_ESTATE, "flow %.100s: declared too late", name);
    if (c->direction != TIDE_FLIGHT_INPUT && c->direction != TIDE_FLIGHT_OUTPUT)
        return tide_states_fail(s, TIDE_EINVAL, "flow %.100s: neither of inputs nor of outputs",
                                name);
    if (!tide_flow_route_name(c->route))
        return tide_states_fail(s, TIDE_EINVAL, "flow %.100s: there is no route %d", name,
                                (int)c->route);
    if ((c->route == TIDE_FLOW_KEYED) != (c->key != NULL))
        return tide_states_fail(s, TIDE_EINVAL,
                                "flow %.100s: a keyed one has a key function, no other has", name);
    if (!c->channels || c->first_channel > TIDE_FLOW_CHANNELS_MAX ||
        c->channels > TIDE_FLOW_CHANNELS_MAX - c->first_channel)
        return tide_states_fail(s, TIDE_EINVAL,
                                "flow %.100s: has at least one channel, and none above %u", name,
                                TIDE_FLOW_CHANNELS_MAX - 1);
    if (c->max_parallelism && (c->route != TIDE_FLOW_KEYED || c->direction != TIDE_FLIGHT_OUTPUT ||
                               c->max_parallelism < c->channels || c->max_parallelism > 1u << 20))
        return tide_states_fail(s, TIDE_EINVAL,
                                "flow %.100s: a max parallelism of %u for %u channels", name,
                                c->max_parallelism, c->channels);
    if (c->peer && !tide_states_is_name(c->peer))
        return tide_states_fail(s, TIDE_EINVAL, "flow %.100s: its peer is no operator's uid", name);
    for (uint32_t i = 0; i < s->n_flows; i++) {
        if (!strcmp(s->flows[i]->name, name))
            return tide_states_fail(s, TIDE_EEXIST, "flow %.100s: declared twice", name);
        if (overlaps(&s->flows[i]->config, c))
            return tide_states_fail(s, TIDE_EINVAL, "flow %.100s: has channels of flow %.100s",
                                    name, s->flows[i]->name);
    }
    return s->n_flows < STATES_MAX
               ? 0
               : tide_states_fail(s, TIDE_ETOOBIG, "more than %u flows", STATES_MAX);
}

static int make(struct tide_states *s, const char *name, const struct tide_flow_config *c,
                struct tide_flow *f)
{
    f->states = s;
    f->config = *c;
    f->config.schema = NULL;
    f->config.peer = c->peer ? strdup(c->peer) : NULL;
    f->name = strdup(name);
    tide_buf_init(&f->bytes, RESTORED_MAX);
    if (c->route == TIDE_FLOW_KEYED && c->direction == TIDE_FLIGHT_OUTPUT)
        f->max_parallelism =
            c->max_parallelism ? c->max_parallelism : tide_max_parallelism_default(c->channels);
    if (!f->name || (c->peer && !f->config.peer)) return TIDE_ENOMEM;
    return c->schema ? tide_evolve_copy(s, "flow", name, c->schema, &f->schema) : 0;
}

int tide_states_flow_sized(struct tide_states *s, const char *name,
                           const struct tide_flow_config *config, size_t size,
                           struct tide_flow **ret)
{
    struct tide_flow_config c = {0};
    if (!s || !ret || !config || size < sizeof c) return TIDE_EINVAL;
    int rc = tide_states_copy_sized(&c, sizeof c, config, size);
    if (rc) return tide_states_fail(s, rc, "the flow has what this library does not know");
    rc = check(s, name, &c);
    if (rc) return rc;
    struct tide_flow **flows = realloc(s->flows, (s->n_flows + 1) * sizeof(struct tide_flow *));
    if (!flows) return TIDE_ENOMEM;
    s->flows = flows;
    struct tide_flow *f = calloc(1, sizeof *f);
    if (!f) return TIDE_ENOMEM;
    rc = make(s, name, &c, f);
    if (rc) {
        tide_flow_free(f);
        return rc;
    }
    s->flows[s->n_flows++] = f;
    *ret = f;
    return 0;
}

/* ---- what was restored */

int tide_flow_next(struct tide_flow *f, struct tide_flow_record *ret)
{
    if (!f || !ret) return TIDE_EINVAL;
    if (f->taken == f->n_records) {
        tide_flow_drop(f);
        return TIDE_ENOTFOUND;
    }
    *ret = f->records[f->taken++];
    ret->data = f->bytes.data + (uintptr_t)ret->data;
    return 0;
}
