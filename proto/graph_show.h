/* For proto/graph*.c: how names from a spec, which may hold anything, are shown in a sentence, and
 * the checkpointing numbers as a table. */
#ifndef TIDE_GRAPH_SHOW_H
#define TIDE_GRAPH_SHOW_H

#include "proto/bytes.h"
#include "proto/common.pb-c.h"

struct tide_shown {
    char text[64]; /* in quotes, cut if long, no control characters */
};
struct tide_shown tide_show(struct tide_bytes name);

static inline struct tide_bytes tide_bytes_in(ProtobufCBinaryData d)
{
    return (struct tide_bytes){d.data, d.len};
}

struct tide_checkpointing_field {
    const char *name;
    size_t offset;     /* of the uint32_t, enum or boolean in Tide__Checkpointing */
    uint32_t fallback; /* what 0 stands for */
    uint32_t least;    /* the lowest value but 0 */
    uint32_t most;     /* the highest but TIDE_NONE */
    bool none;         /* TIDE_NONE is a value */
};
#define TIDE_CHECKPOINTING_FIELDS 27
#define TIDE_CHECKPOINTING_FIELDS_1 11 /* so many does version 1 of the protocol know */
#define TIDE_LEASE_MAX_MS 86400000u    /* what both sides of a Join take for a lease */
extern const struct tide_checkpointing_field tide_checkpointing_fields[TIDE_CHECKPOINTING_FIELDS];

/* Fills in defaults and checks the numbers with each other; spec may be NULL (all defaults). */
int tide_checkpointing_fill(const Tide__Checkpointing *spec, Tide__Checkpointing *ret,
                            char why[static 256]);

#endif
