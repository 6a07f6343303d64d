#include "client/cli/state_change.h"

#include <stdlib.h>
#include <string.h>

/* Does text begin with the operator's uid, or with UID/NAME? Behind it: *ret. */
static bool begins(const char *text, struct tide_bytes uid, struct tide_bytes state,
                   const char **ret)
{
    if (strncmp(text, (const char *)uid.data, uid.len) != 0) return false;
    text += uid.len;
    if (state.len) {
        if (*text++ != '/' || strncmp(text, (const char *)state.data, state.len) != 0) return false;
        text += state.len;
    }
    *ret = text;
    return true;
}

bool change_drops(struct change *c, struct tide_bytes uid, struct tide_bytes state)
{
    bool found = false;
    const char *rest;
    for (uint32_t i = 0; i < c->drops->n; i++) {
        if (!begins(c->drops->item[i], uid, state, &rest) || *rest) continue;
        c->drops_used |= 1u << i;
        found = true;
    }
    return found;
}

struct tide_bytes change_name(struct change *c, struct tide_bytes uid, struct tide_bytes state)
{
    struct tide_bytes name = state.len ? state : uid;
    const char *rest;
    for (uint32_t i = 0; i < c->renames->n; i++) {
        if (!begins(c->renames->item[i], uid, state, &rest) || *rest != '=') continue;
        c->renames_used |= 1u << i;
        name = tide_bytes_of(rest + 1);
    }
    return name;
}

const char *change_unused(const struct change *c)
{
    for (uint32_t i = 0; i < c->renames->n; i++)
        if (!(c->renames_used >> i & 1)) return c->renames->item[i];
    for (uint32_t i = 0; i < c->drops->n; i++)
        if (!(c->drops_used >> i & 1)) return c->drops->item[i];
    return NULL;
}

static const char *number_at(const char *rule)
{
    const char *equals = strrchr(rule, '=');
    return equals ? equals + 1 : rule;
}

uint32_t change_number(const struct many *rules, struct tide_bytes uid, uint32_t *ret_used)
{
    uint64_t all = 0, own = 0;
    const char *rest;
    for (uint32_t i = 0; i < rules->n; i++) {
        const char *rule = rules->item[i], *number = number_at(rule);
        if (number == rule) {
            (void)text_parse_u64(rule, &all);
        } else if (begins(rule, uid, (struct tide_bytes){0}, &rest) && rest + 1 == number) {
            (void)text_parse_u64(number, &own);
        } else {
            continue;
        }
        *ret_used |= 1u << i;
    }
    return (uint32_t)(own ? own : all);
}

const char *change_number_wrong(const struct many *rules)
{
    uint64_t n;
    for (uint32_t i = 0; i < rules->n; i++)
        if (!text_parse_u64(number_at(rules->item[i]), &n) || !n || n > 1u << 20)
            return rules->item[i];
    return NULL;
}
