/* Joins that are coming in, part by part.
 *
 * The usual way: one part, and the Join is whole. What can go wrong: the parts do not make a whole;
 * the last one does not come; those of many connections together are more than the daemon keeps of
 * what has arrived in part. An idle connection owns nothing here. */
#include "daemon/core/internal.h"

#define PARTS_US (60 * 1000 * MS) /* from the first part to the last */

struct joining {
    struct tide_joiner joiner;
    struct core *core;
    struct session *session;
    struct timer late;
    size_t held; /* its share of core.joins_held */
};

void joining_end(struct core *c, struct session *s)
{
    struct joining *j = s->joining;
    if (!j) return;
    timer_clear(c, &j->late);
    c->joins_held -= j->held;
    tide_joiner_release(&j->joiner);
    free(j);
    s->joining = NULL;
}

static void too_late(struct core *c, void *arg)
{
    struct joining *j = arg;
    struct session *s = j->session;
    send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_STATE,
                 "Join: its last part did not come within 60 s of the first");
    joining_end(c, s);
}

static void begin(struct core *c, struct session *s)
{
    struct joining *j = s->joining = core_alloc(sizeof *j);
    *j = (struct joining){.core = c, .session = s, .late = {.fire = too_late, .arg = j}};
    tide_joiner_init(&j->joiner, TIDE_PARTS_MAX);
    timer_set(c, &j->late, c->now + PARTS_US);
}

bool joining_add(struct core *c, struct session *s, struct tide_bytes part, struct tide_bytes *ret)
{
    if (!s->joining) begin(c, s);
    struct joining *j = s->joining;
    int rc = tide_joiner_add(&j->joiner, part);
    if (rc > 0) {
        *ret = (struct tide_bytes){j->joiner.bytes.data, j->joiner.bytes.len};
        return true;
    }
    c->joins_held += j->joiner.bytes.len - j->held;
    j->held = j->joiner.bytes.len;
    if (rc < 0)
        send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_MALFORMED,
                     "Join: its parts do not make a whole: %s", tide_strerror(rc));
    else if (c->config.join_memory && c->joins_held > c->config.join_memory)
        send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_BUSY,
                     "Join: too much is arriving at once ([limits] input-memory): try later");
    else
        return false;
    joining_end(c, s);
    return false;
}
