#include "storage/retention.h"

#define SECOND_US 1000000u
#define HOUR_US (3600u * (uint64_t)SECOND_US)
#define DAY_US (24 * HOUR_US)
#define MONDAY (4 * DAY_US) /* 1970 began on a Thursday */

struct tide_retention tide_retention_of(const Tide__Checkpointing *c)
{
    return (struct tide_retention){.latest = c->retained,
                                   .hours = c->retained_hours,
                                   .days = c->retained_days,
                                   .weeks = c->retained_weeks,
                                   .least = c->retained_least,
                                   .age_us = (uint64_t)c->retained_age_s * SECOND_US,
                                   .bytes = (uint64_t)c->retained_mib << 20};
}

/* The last one of each period, for the youngest periods that have one. */
static void periods(struct tide_kept *k, size_t n, uint32_t most, uint64_t length, uint64_t begins,
                    unsigned why)
{
    uint64_t last = UINT64_MAX;
    for (size_t i = n; i-- > 0 && most;) {
        uint64_t period = (k[i].completed_wall + length - begins) / length;
        if (period == last) continue;
        last = period;
        k[i].why |= why;
        most--;
    }
}

void tide_retention_judge(const struct tide_retention *r, uint64_t now_wall, struct tide_kept *k,
                          size_t n)
{
    const unsigned always = TIDE_STAYS_NEWEST | TIDE_STAYS_OWED | TIDE_STAYS_LEAST,
                   limited = TIDE_STAYS_LATEST | TIDE_STAYS_HOUR | TIDE_STAYS_DAY | TIDE_STAYS_WEEK;
    uint64_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        size_t rank = n - 1 - i;
        k[i].why = (rank == 0 ? TIDE_STAYS_NEWEST : 0) | (k[i].owed ? TIDE_STAYS_OWED : 0) |
                   (rank < r->least ? TIDE_STAYS_LEAST : 0) |
                   (rank < r->latest ? TIDE_STAYS_LATEST : 0);
    }
    periods(k, n, r->hours, HOUR_US, 0, TIDE_STAYS_HOUR);
    periods(k, n, r->days, DAY_US, 0, TIDE_STAYS_DAY);
    periods(k, n, r->weeks, 7 * DAY_US, MONDAY, TIDE_STAYS_WEEK);
    for (size_t i = n; i-- > 0;) {
        if (!k[i].why) {
            k[i].stays = false;
            continue;
        }
        bool old = r->age_us && now_wall > k[i].completed_wall &&
                   now_wall - k[i].completed_wall > r->age_us;
        bool much = r->bytes && (bytes > r->bytes || k[i].bytes > r->bytes - bytes);
        if (old) k[i].why |= TIDE_GOES_AGE;
        if (much) k[i].why |= TIDE_GOES_BYTES;
        k[i].stays = (k[i].why & always) || ((k[i].why & limited) && !old && !much);
        if (k[i].stays) bytes = k[i].bytes > UINT64_MAX - bytes ? UINT64_MAX : bytes + k[i].bytes;
    }
}
