/* A database of state that somebody else wrote: whatever the file holds, it is refused with a
 * reason that begins with its name, or every row that is given out obeys the format.
 *
 * Input: the file. */
#include <stdlib.h>
#include <string.h>

#include "state/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    struct tide_format_reader *reader;
    uint64_t rows;
    uint32_t group;
    bool is_keyed;
};

static int see_row(void *user, const struct tide_row *row)
{
    struct seen *s = user;
    const struct tide_format_task *t = &s->reader->task;
    s->rows++;
    if (!s->is_keyed) return 0;
    if (row->group < s->group || row->group < t->first || row->group - t->first >= t->count)
        abort();
    if (tide_states_key_group(row->key.data, row->key.len, t->max_parallelism) != row->group)
        abort();
    s->group = row->group;
    return 0;
}

struct flying {
    const struct tide_format_flow *flow;
    uint32_t channel;
};

static int see_record(void *user, const struct tide_flight_row *row)
{
    struct flying *f = user;
    const uint32_t max = f->flow->max_parallelism;
    if (row->channel < f->channel || row->channel < f->flow->first_channel ||
        row->channel - f->flow->first_channel >= f->flow->channels)
        abort();
    if (max && tide_states_key_group(row->key.data, row->key.len, max) != row->group) abort();
    f->channel = row->channel;
    return 0;
}

static void is_told(int rc, const char *why)
{
    if (rc != TIDE_ENOMEM && strncmp(why, "input: ", 7) != 0) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char why[WHY_SIZE] = "";
    struct tide_format_reader *r;
    int rc = tide_format_open_bytes("input", (struct tide_bytes){data, size}, &r, why);
    if (rc) {
        is_told(rc, why);
        return 0;
    }
    for (uint32_t i = 0; i < r->n_states; i++) {
        const struct tide_format_state *s = &r->states[i];
        struct seen seen = {.reader = r, .is_keyed = tide_kind_is_keyed(s->kind)};
        rc = tide_format_rows(r, i, seen.is_keyed ? r->task.first : 0,
                              seen.is_keyed ? r->task.count : s->rows, see_row, &seen);
        if (rc) is_told(rc, r->why);
        if (!rc && seen.rows != s->rows) abort();
    }
    for (uint32_t i = 0; i < r->n_flows; i++) {
        struct flying f = {&r->flows[i], 0};
        rc = tide_format_records(r, i, see_record, &f);
        if (rc) is_told(rc, r->why);
    }
    tide_format_close(r);
    return 0;
}
