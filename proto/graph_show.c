/* Names in sentences, and the table of checkpointing numbers. The defaults stand in common.proto
 * for people; here they take effect. */
#include "proto/graph_show.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proto/err.h"

struct tide_shown tide_show(struct tide_bytes name)
{
    struct tide_shown s;
    const size_t room = sizeof s.text - sizeof "'...'";
    bool cut = name.len > room;
    size_t n = cut ? room : name.len;
    char *to = s.text;

    /* a name is not cut within a character */
    while (cut && n > 0 && (name.data[n] & 0xc0) == 0x80)
        n--;
    bool text = tide_text_valid((struct tide_bytes){name.data, n});
    *to++ = '\'';
    for (size_t i = 0; i < n; i++) {
        uint8_t c = name.data[i];
        *to++ = c < 0x20 || c == 0x7f || (c >= 0x80 && !text) ? '?' : (char)c;
    }
    (void)snprintf(to, sizeof "'...'", cut ? "...'" : "'");
    return s;
}

#define FIELD(name, fallback, least)                                                               \
    {                                                                                              \
#name, offsetof(Tide__Checkpointing, name), fallback, least                                \
    }
const struct tide_checkpointing_field tide_checkpointing_fields[TIDE_CHECKPOINTING_FIELDS] = {
    FIELD(interval_ms, 0, 10),
    FIELD(min_pause_ms, 0, 1),
    FIELD(deadline_ms, 600000, 1),
    FIELD(retained, 1, 1),
    FIELD(restore_deadline_ms, 600000, 1),
    FIELD(lease_ms, 10000, 1),
    FIELD(heartbeat_ms, 1000, 10),
    FIELD(grace_ms, 10000, 1),
    FIELD(orphan_limit_ms, 1000, 1),
    FIELD(progress_ms, 1000, 10),
    FIELD(attempts_max, 0, 1),
};

int tide_checkpointing_fill(const Tide__Checkpointing *spec, Tide__Checkpointing *ret,
                            char why[static 256])
{
    tide__checkpointing__init(ret);
    for (size_t i = 0; i < TIDE_CHECKPOINTING_FIELDS; i++) {
        const struct tide_checkpointing_field *f = &tide_checkpointing_fields[i];
        uint32_t v = 0;
        if (spec) memcpy(&v, (const char *)spec + f->offset, sizeof v);
        if (v > 0 && v < f->least) {
            (void)snprintf(why, 256,
                           "%s is %" PRIu32 ": it must be at least %" PRIu32
                           ", or 0 for the default",
                           f->name, v, f->least);
            return TIDE_EINVAL;
        }
        if (v == 0) v = f->fallback;
        memcpy((char *)ret + f->offset, &v, sizeof v);
    }
    if (ret->lease_ms > TIDE_LEASE_MAX_MS) {
        (void)snprintf(why, 256, "lease_ms is %" PRIu32 ": it must be at most %u, a day",
                       ret->lease_ms, TIDE_LEASE_MAX_MS);
        return TIDE_EINVAL;
    }
    if (ret->lease_ms / 3 < ret->heartbeat_ms) {
        (void)snprintf(why, 256,
                       "lease_ms is %" PRIu32 " with a heartbeat_ms of %" PRIu32
                       ": a lease must be at least three heartbeats",
                       ret->lease_ms, ret->heartbeat_ms);
        return TIDE_EINVAL;
    }
    return 0;
}
