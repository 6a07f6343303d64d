/* Schemas: whether values that an older program wrote can be read by this one, and how. The rule is
 * written for people in docs/state-format.md. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state/impl.h"

void tide_evolve_free(struct tide_schema *s)
{
    free((void *)(uintptr_t)s->id);
    s->id = NULL;
}

int tide_evolve_copy(struct tide_states *s, const char *what, const char *name,
                     const struct tide_schema *from, struct tide_schema *ret)
{
    if (!tide_states_is_name(from->id) || from->reads_from > from->version)
        return tide_states_fail(s, TIDE_EINVAL,
                                "%s %.100s: a schema's id must be 1 to 255 bytes of UTF-8, and the "
                                "versions that it reads not above its own",
                                what, name);
    *ret = *from;
    ret->id = strdup(from->id);
    return ret->id ? 0 : tide_states_fail(s, TIDE_ENOMEM, "%s", tide_strerror(TIDE_ENOMEM));
}

/* What was written without a schema is version 0 of any. */
int tide_evolve_judge(const struct tide_schema *schema, const struct tide_had_schema *had,
                      char why[static WHY_SIZE])
{
    const uint32_t version = had->id.len ? had->version : 0;
    if (!schema->id && !had->id.len) return 0;
    if (!schema->id || (had->id.len && !tide_bytes_equal(had->id, tide_bytes_of(schema->id)))) {
        snprintf(why, WHY_SIZE, "its schema is %.*s there, %.60s here", (int)had->id.len,
                 (const char *)had->id.data, schema->id ? schema->id : "none");
        return TIDE_EREFUSED;
    }
    if (version == schema->version) return 0;
    if (schema->reads_from && version >= schema->reads_from && version < schema->version) return 0;
    if (schema->migrate) return 1;
    if (had->id.len)
        snprintf(why, WHY_SIZE,
                 "version %u of schema %.60s, which this program does not migrate to version %u",
                 version, schema->id, schema->version);
    else
        snprintf(why, WHY_SIZE,
                 "it was written without a schema, which is version 0, and this program does not "
                 "migrate that to version %u of schema %.60s",
                 schema->version, schema->id);
    return TIDE_EREFUSED;
}

int tide_evolve_migrate(struct tide_states *s, const char *what, const char *name,
                        const struct tide_schema *schema, uint32_t version, struct tide_bytes value,
                        void **ret, size_t *ret_len)
{
    void *made = NULL;
    size_t len = 0;
    int rc = schema->migrate(version, value.data, value.len, &made, &len, schema->user);
    if (rc) {
        free(made);
        return tide_states_fail(s, TIDE_EREFUSED,
                                "%s %.100s: a value of version %u of its schema could not be "
                                "migrated to version %u (%d)",
                                what, name, version, schema->version, rc);
    }
    if (len > TIDE_STATES_BYTES_MAX || (!made && len)) {
        free(made);
        return tide_states_fail(s, TIDE_ETOOBIG, "%s %.100s: a value was migrated to %zu bytes",
                                what, name, len);
    }
    *ret = made;
    *ret_len = len;
    return 0;
}
