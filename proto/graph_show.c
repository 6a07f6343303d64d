/* Names in sentences, and the table of checkpointing numbers. The defaults stand in common.proto
 * for people; here they take effect. */
#include "proto/graph_show.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "proto/err.h"
#include "proto/graph.h"

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

#define FIELD(name, fallback, least, most, none)                                                   \
    {                                                                                              \
#name, offsetof(Tide__Checkpointing, name), fallback, least, most, none                    \
    }
#define ANY UINT32_MAX
/* The first ones are those of version 1. */
const struct tide_checkpointing_field tide_checkpointing_fields[TIDE_CHECKPOINTING_FIELDS] = {
    FIELD(interval_ms, 0, 10, ANY, false),
    FIELD(min_pause_ms, 0, 1, ANY, false),
    FIELD(deadline_ms, 600000, 1, ANY, false),
    FIELD(retained, 1, 1, ANY, false),
    FIELD(restore_deadline_ms, 600000, 1, ANY, false),
    FIELD(lease_ms, 10000, 1, ANY, false),
    FIELD(heartbeat_ms, 1000, 10, ANY, false),
    FIELD(grace_ms, 10000, 1, ANY, false),
    FIELD(orphan_limit_ms, 1000, 1, ANY, false),
    FIELD(progress_ms, 1000, 10, ANY, false),
    FIELD(attempts_max, 0, 1, ANY, false),
    FIELD(style, 0, 1, TIDE__ROUND_STYLE__STYLE_RENDEZVOUS, false),
    FIELD(window, 2, 1, 1000000, true),
    FIELD(alignment, 0, 1, TIDE__ALIGNMENT__ALIGN_TIMEOUT, false),
    FIELD(aligned_timeout_ms, 0, 1, ANY, false),
    FIELD(max_concurrent, 1, 1, 50, false),
    FIELD(failure_pause_ms, 0, 1, ANY, false),
    FIELD(failures_max, 0, 1, ANY, false),
    FIELD(backlog_interval_ms, 0, 10, ANY, true),
    FIELD(deadline_cap_ms, 0, 1, ANY, false),
    FIELD(regional, 0, 1, 1, false),
    FIELD(retained_hours, 0, 1, ANY, false),
    FIELD(retained_days, 0, 1, ANY, false),
    FIELD(retained_weeks, 0, 1, ANY, false),
    FIELD(retained_age_s, 0, 1, ANY, false),
    FIELD(retained_mib, 0, 1, ANY, false),
    FIELD(retained_least, 1, 1, ANY, false),
};

static int refuse(char why[static 256], const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static int refuse(char why[static 256], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why, 256, format, args);
    va_end(args);
    return TIDE_EINVAL;
}

static int fill_field(const struct tide_checkpointing_field *f, const Tide__Checkpointing *spec,
                      Tide__Checkpointing *ret, char why[static 256])
{
    uint32_t v = 0;
    if (spec) memcpy(&v, (const char *)spec + f->offset, sizeof v);
    bool none = f->none && v == TIDE_NONE;
    if (v > 0 && v < f->least)
        return refuse(why,
                      "%s is %" PRIu32 ": it must be at least %" PRIu32 ", or 0 for the default",
                      f->name, v, f->least);
    if (v > f->most && !none)
        return refuse(why, "%s is %" PRIu32 ": it must be at most %" PRIu32, f->name, v, f->most);
    if (v == 0) v = f->fallback;
    if (none) v = 0;
    memcpy((char *)ret + f->offset, &v, sizeof v);
    return 0;
}

/* The numbers of version 2 with each other, and what they stand for when they are absent. */
static int check_together(Tide__Checkpointing *c, const Tide__Checkpointing *spec,
                          char why[static 256])
{
    bool unaligned = c->alignment == TIDE__ALIGNMENT__ALIGN_UNALIGNED ||
                     c->alignment == TIDE__ALIGNMENT__ALIGN_TIMEOUT;
    if (c->style == TIDE__ROUND_STYLE__STYLE_RENDEZVOUS && c->alignment != 0)
        return refuse(why, "rendezvous rounds have no barriers to align: leave alignment out");
    if (c->style == TIDE__ROUND_STYLE__STYLE_RENDEZVOUS && c->max_concurrent > 1)
        return refuse(why, "max_concurrent is %" PRIu32 ": rendezvous rounds come one at a time",
                      c->max_concurrent);
    if (unaligned && c->max_concurrent > 1)
        return refuse(why,
                      "max_concurrent is %" PRIu32
                      ": checkpoints that may be unaligned come one at a time",
                      c->max_concurrent);
    if ((c->alignment == TIDE__ALIGNMENT__ALIGN_TIMEOUT) != (c->aligned_timeout_ms > 0))
        return refuse(why, "aligned_timeout_ms and alignment ALIGN_TIMEOUT belong together");
    if (spec && spec->backlog_interval_ms && spec->backlog_interval_ms != TIDE_NONE &&
        c->backlog_interval_ms < c->interval_ms)
        return refuse(
            why, "backlog_interval_ms is %" PRIu32 ": it must be at least interval_ms, %" PRIu32,
            c->backlog_interval_ms, c->interval_ms);
    if (!spec || !spec->backlog_interval_ms) c->backlog_interval_ms = c->interval_ms;
    if (!c->deadline_cap_ms) c->deadline_cap_ms = c->deadline_ms;
    if (c->deadline_cap_ms < c->deadline_ms)
        return refuse(why,
                      "deadline_cap_ms is %" PRIu32 ": it must be at least deadline_ms, %" PRIu32,
                      c->deadline_cap_ms, c->deadline_ms);
    return 0;
}

int tide_checkpointing_fill(const Tide__Checkpointing *spec, Tide__Checkpointing *ret,
                            char why[static 256])
{
    tide__checkpointing__init(ret);
    for (size_t i = 0; i < TIDE_CHECKPOINTING_FIELDS; i++) {
        int rc = fill_field(&tide_checkpointing_fields[i], spec, ret, why);
        if (rc) return rc;
    }
    if (ret->lease_ms > TIDE_LEASE_MAX_MS)
        return refuse(why, "lease_ms is %" PRIu32 ": it must be at most %u, a day", ret->lease_ms,
                      TIDE_LEASE_MAX_MS);
    if (ret->lease_ms / 3 < ret->heartbeat_ms)
        return refuse(why,
                      "lease_ms is %" PRIu32 " with a heartbeat_ms of %" PRIu32
                      ": a lease must be at least three heartbeats",
                      ret->lease_ms, ret->heartbeat_ms);
    return check_together(ret, spec, why);
}
