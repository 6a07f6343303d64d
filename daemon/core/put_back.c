/* An old copy of the database that was put back: the cause for which a job is HELD then, and what
 * must be allowed before it goes on.
 *
 * The copy does not know what it has forgotten. A worker that proves its age was told of rounds
 * with effects; the highest is kept in the cause, which is durable, since the worker forgets. Who
 * lets such a job go on has effects repeated, and says that they may be. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/internal.h"

static const char tail[] = ": an old copy of the database may have been put back";
static const char told_words[] = ", and was told of effects up to round ";

uint64_t put_back_newest(const struct job *job)
{
    uint64_t newest = 0;
    for (const struct snapshot *s = job->snapshots; s; s = s->next)
        if (s->commits) newest = s->round;
    return newest;
}

char *put_back_cause(const struct job *job, const Tide__Join *m, const char *beyond)
{
    uint64_t told = m->told_effects ? m->told_effects : m->told_complete;
    char text[80] = "";
    if (told > put_back_newest(job)) snprintf(text, sizeof text, "%s%" PRIu64, told_words, told);
    return core_printf("worker %.*s knows of %s%s%s", (int)m->worker.len, (char *)m->worker.data,
                       beyond, text, tail);
}

/* Where the cause's last part begins; NULL: it is another cause. */
static const char *tail_of(const char *cause)
{
    size_t len = cause ? strlen(cause) : 0;
    const char *at = len >= sizeof tail - 1 ? cause + len - (sizeof tail - 1) : NULL;
    return at && strcmp(at, tail) == 0 ? at : NULL;
}

bool put_back_is(const char *cause)
{
    return tail_of(cause) != NULL;
}

/* The number that stands right before the last part, behind its words. */
uint64_t put_back_told(const char *cause)
{
    const char *end = tail_of(cause), *at = end;
    size_t words = sizeof told_words - 1;
    while (at && at > cause && at[-1] >= '0' && at[-1] <= '9')
        at--;
    if (!at || at == end || (size_t)(at - cause) < words ||
        memcmp(at - words, told_words, words) != 0)
        return 0;
    return strtoull(at, NULL, 10);
}

bool put_back_holds(const struct job *job)
{
    return job->state == TIDE_JOB_HELD && put_back_is(job->cause);
}

char *put_back_rounds(const struct job *job, uint64_t above)
{
    uint64_t told = put_back_told(job->cause), newest = put_back_newest(job);
    if (told > above)
        return core_printf("the rounds after %" PRIu64 ", up to %" PRIu64
                           " or further: this copy does not know them all",
                           above, told);
    return core_printf("the rounds after %" PRIu64 ": this copy knows of none after %" PRIu64,
                       above, newest);
}

char *put_back_refusal(const struct job *job, uint64_t above)
{
    char *rounds = put_back_rounds(job, above);
    char *why = core_printf("an old copy of the database was put back, and effects would be "
                            "repeated: only if that is allowed (--allow-repeat); those of %s",
                            rounds);
    free(rounds);
    return why;
}

void put_back_record(struct core *c, struct tide_commit *commit, struct job *job, uint64_t above,
                     struct tide_bytes who)
{
    char *rounds = put_back_rounds(job, above);
    char *detail = core_printf("operation %" PRIu64 ", %s", job->order->id, rounds);
    operation_audit(c, commit, job, who, "repeat effects", detail);
    free(detail);
    free(rounds);
}
