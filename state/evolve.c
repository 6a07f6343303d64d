/* Schemas: whether values that an older program wrote can be read by this one, and how. The rule is
 * written for people in docs/state-format.md. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state/descriptor.h"
#include "state/impl.h"

void tide_evolve_free(struct tide_schema *s)
{
    free((void *)(uintptr_t)s->id);
    free((void *)(uintptr_t)s->message);
    free((void *)(uintptr_t)s->descriptor);
    *s = (struct tide_schema){0};
}

static struct tide_bytes files_of(const struct tide_schema *s)
{
    return (struct tide_bytes){s->descriptor, s->descriptor_len};
}

static int check_descriptor(struct tide_states *s, const char *what, const char *name,
                            const struct tide_schema *from)
{
    char why[TIDE_DESCRIPTOR_WHY] = "";
    struct tide_descriptor *d = NULL;
    if (!from->message && !from->descriptor) return 0;
    if (!tide_states_is_name(from->message) || !from->descriptor || !from->descriptor_len ||
        from->descriptor_len > TIDE_STATES_DESCRIPTOR_MAX)
        return tide_states_fail(s, TIDE_EINVAL,
                                "%s %.100s: a message's name goes with a descriptor of at most %u "
                                "bytes",
                                what, name, TIDE_STATES_DESCRIPTOR_MAX);
    int rc = tide_descriptor_open(files_of(from), tide_bytes_of(from->message), &d, why);
    tide_descriptor_close(d);
    return rc ? tide_states_fail(s, rc, "%s %.100s: its descriptor cannot be used: %.200s", what,
                                 name, why)
              : 0;
}

int tide_evolve_copy(struct tide_states *s, const char *what, const char *name,
                     const struct tide_schema *from, struct tide_schema *ret)
{
    if (!tide_states_is_name(from->id) || from->reads_from > from->version)
        return tide_states_fail(s, TIDE_EINVAL,
                                "%s %.100s: a schema's id must be 1 to 255 bytes of UTF-8, and the "
                                "versions that it reads not above its own",
                                what, name);
    int rc = check_descriptor(s, what, name, from);
    if (rc) return rc;
    *ret = *from;
    ret->id = strdup(from->id);
    ret->message = from->message ? strdup(from->message) : NULL;
    void *files = from->message ? malloc(from->descriptor_len) : NULL;
    if (files) memcpy(files, from->descriptor, from->descriptor_len);
    ret->descriptor = files;
    if (ret->id && (!from->message || (ret->message && files))) return 0;
    tide_evolve_free(ret);
    return tide_states_fail(s, TIDE_ENOMEM, "%s", tide_strerror(TIDE_ENOMEM));
}

/* ---- what older values are */

static int by_descriptor(const struct tide_schema *schema, const struct tide_had_schema *had,
                         struct tide_evolution *ret, char why[static WHY_SIZE])
{
    char text[TIDE_DESCRIPTOR_WHY] = "";
    int rc = tide_descriptor_open(had->descriptor, had->message, &ret->had, text);
    if (rc) {
        snprintf(why, WHY_SIZE, "its descriptor there cannot be used: %.200s", text);
        return rc == TIDE_EINVAL ? TIDE_ECORRUPT : rc;
    }
    rc = tide_descriptor_open(files_of(schema), tide_bytes_of(schema->message), &ret->now, text);
    if (!rc) rc = tide_descriptor_compare(ret->had, ret->now, text);
    if (rc < 0) snprintf(why, WHY_SIZE, "%s", text);
    if (rc != 1) tide_evolve_end(ret);
    return rc;
}

static int by_program(const struct tide_schema *schema, const struct tide_had_schema *had,
                      uint32_t version, char why[static WHY_SIZE])
{
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

/* What was written without a schema is version 0 of any. A version that the program migrates is its
 * affair; of the others protobuf's rules decide, if both sides have descriptors. */
int tide_evolve_begin(const struct tide_schema *schema, const struct tide_had_schema *had,
                      struct tide_evolution *ret, char why[static WHY_SIZE])
{
    const uint32_t version = had->id.len ? had->version : 0;
    *ret = (struct tide_evolution){.schema = schema, .version = version};
    if (!schema->id && !had->id.len) return 0;
    if (!schema->id || (had->id.len && !tide_bytes_equal(had->id, tide_bytes_of(schema->id)))) {
        snprintf(why, WHY_SIZE, "its schema is %.*s there, %.60s here",
                 had->id.len ? (int)had->id.len : 4,
                 had->id.len ? (const char *)had->id.data : "none",
                 schema->id ? schema->id : "none");
        return TIDE_EREFUSED;
    }
    const bool read =
        version == schema->version ||
        (schema->reads_from && version >= schema->reads_from && version < schema->version);
    if (had->descriptor.len && schema->message && (read || !schema->migrate))
        return by_descriptor(schema, had, ret, why);
    return read ? 0 : by_program(schema, had, version, why);
}

void tide_evolve_end(struct tide_evolution *e)
{
    tide_descriptor_close(e->had);
    tide_descriptor_close(e->now);
    e->had = e->now = NULL;
}

int tide_evolve_judge(const struct tide_schema *schema, const struct tide_had_schema *had,
                      char why[static WHY_SIZE])
{
    struct tide_evolution e;
    int rc = tide_evolve_begin(schema, had, &e, why);
    tide_evolve_end(&e);
    return rc;
}

/* ---- values */

static int convert(struct tide_states *s, const char *what, const char *name,
                   const struct tide_evolution *e, struct tide_bytes value, void **ret,
                   size_t *ret_len)
{
    char why[TIDE_DESCRIPTOR_WHY];
    struct tide_buf out;
    tide_buf_init(&out, TIDE_STATES_BYTES_MAX);
    int rc = tide_descriptor_convert(e->had, e->now, value, &out, why);
    if (rc) {
        tide_buf_release(&out);
        return tide_states_fail(s, rc, "%s %.100s: a value cannot be migrated: %.250s", what, name,
                                why);
    }
    *ret = out.data;
    *ret_len = out.len;
    return 0;
}

int tide_evolve_migrate(struct tide_states *s, const char *what, const char *name,
                        const struct tide_evolution *e, struct tide_bytes value, void **ret,
                        size_t *ret_len)
{
    const struct tide_schema *schema = e->schema;
    void *made = NULL;
    size_t len = 0;
    if (e->had) return convert(s, what, name, e, value, ret, ret_len);
    int rc = schema->migrate(e->version, value.data, value.len, &made, &len, schema->user);
    if (rc) {
        free(made);
        return tide_states_fail(s, TIDE_EREFUSED,
                                "%s %.100s: a value of version %u of its schema could not be "
                                "migrated to version %u (%d)",
                                what, name, e->version, schema->version, rc);
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
