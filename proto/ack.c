/* The AckBatch: one walk that checks and adds up, and one that reads for those who want each entry.
 *
 * tide_acks_open() looks at every byte that tide_acks_next() and tide_acks_artifact() will read:
 * varints end within their column, counts add up to the length of the size and digest columns,
 * full entries are well formed down to their artifacts. So the second walk needs no bounds of its
 * own, and a batch is refused as a whole before any of its entries counts. What the sums and the
 * run of tasks say needs no second walk, or one over the tasks alone. Nothing allocates. */
#include "proto/ack.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "proto/err.h"
#include "proto/frame.h"
#include "proto/shared.h"
#include "proto/wire.h"

#define KEY_GROUPS_MAX (1u << 20)
#define CHANNELS_MAX 65536u
#define FLIGHT_LAST 2u
#define SHARED_LAST 2u

/* Fields of AckBatch, TaskAck and Artifact, as in worker.proto and common.proto. */
enum { BATCH_ATTEMPT = 1, BATCH_ROUND = 2, BATCH_TASK = 3, BATCH_FULL = 15 };
enum { ACK_TASK = 1, ACK_ALIGN, ACK_SYNC, ACK_ASYNC, ACK_ARTIFACT, ACK_HANDLE };
enum { ACK_UNALIGNED = 100, ACK_START_DELAY, ACK_PROCESSED, ACK_PERSISTED, ACK_FINISHED_OPERATOR };
enum {
    FILE_INLINE = 1,
    FILE_PATH,
    FILE_SIZE,
    FILE_LOW,
    FILE_HIGH,
    FILE_NAME,
    FILE_GROUP,
    FILE_GROUPS,
    FILE_FLIGHT = 100,
    FILE_CHANNEL,
    FILE_SHARED = 400
};

/* Columns are fields 3 to 10; these are their places in arrays. */
enum { TASK, ALIGN, SYNC, ASYNC, COUNT, SIZE, LOW, HIGH, COLUMNS };
static const char *const column_name[COLUMNS] = {
    "task", "align_us", "sync_us", "async_us", "artifacts", "size", "digest_low", "digest_high"};

__attribute__((format(printf, 2, 3))) static int refuse(char why[static 160], const char *format,
                                                        ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why, 160, format, args);
    va_end(args);
    return TIDE_EPROTO;
}

/* ---- checking */

struct batch { /* what the top level of the message holds */
    uint64_t attempt, round;
    struct tide_bytes column[COLUMNS];
    bool seen[COLUMNS];
    uint32_t full;
    uint64_t bytes, artifacts; /* sizes and number of the artifacts of all entries */
    uint64_t shared;           /* those of them that are */
    char *why;
};

static bool add_size(struct batch *b, uint64_t size)
{
    return !__builtin_add_overflow(b->bytes, size, &b->bytes);
}

/* Every component has a name of its own: nothing leads out of the directory, or to itself. */
static bool path_safe(struct tide_bytes path)
{
    size_t from = 0;

    if (path.len > TIDE_ARTIFACT_PATH_MAX || !tide_text_valid(path)) return false;
    for (size_t i = 0; i <= path.len; i++) {
        if (i < path.len && path.data[i] != '/') continue;
        size_t n = i - from;
        if (n == 0 || (n == 1 && path.data[from] == '.')) return false;
        if (n == 2 && path.data[from] == '.' && path.data[from + 1] == '.') return false;
        from = i + 1;
    }
    return true;
}

static uint32_t artifact_type(uint32_t number)
{
    switch (number) {
    case FILE_INLINE:
    case FILE_PATH:
    case FILE_NAME: return TIDE_WIRE_LEN;
    case FILE_LOW:
    case FILE_HIGH: return TIDE_WIRE_64;
    default: return TIDE_WIRE_VARINT;
    }
}

/* Reads one Artifact message; NULL, or what is wrong. */
static const char *artifact_read(struct tide_bytes message, struct tide_artifact_view *ret)
{
    struct tide_wire w = tide_wire_of(message);
    struct tide_wire_field f;
    struct tide_artifact_view a = {.size = 0};

    while (tide_wire_next(&w, &f)) {
        if (f.number > FILE_GROUPS && f.number != FILE_FLIGHT && f.number != FILE_CHANNEL &&
            f.number != FILE_SHARED)
            continue;
        if (f.type != artifact_type(f.number)) return "has a field of another type";
        if ((f.number == FILE_GROUP || f.number == FILE_GROUPS) && f.value > KEY_GROUPS_MAX)
            return "has key groups out of range";
        switch (f.number) {
        case FILE_INLINE: /* the later one of a oneof counts */
            a.inlined = f.bytes;
            a.is_inline = true;
            a.path = (struct tide_bytes){NULL, 0};
            break;
        case FILE_PATH:
            a.path = f.bytes;
            a.is_inline = false;
            a.inlined = (struct tide_bytes){NULL, 0};
            break;
        case FILE_SIZE: a.size = f.value; break;
        case FILE_LOW: a.digest_low = f.value; break;
        case FILE_HIGH: a.digest_high = f.value; break;
        case FILE_NAME: a.name = f.bytes; break;
        case FILE_GROUP: a.key_group_first = (uint32_t)f.value; break;
        case FILE_GROUPS: a.key_group_count = (uint32_t)f.value; break;
        case FILE_FLIGHT:
            if (f.value > FLIGHT_LAST) return "is in flight in an unknown way";
            a.flight = (uint32_t)f.value;
            break;
        case FILE_CHANNEL:
            if (f.value >= CHANNELS_MAX) return "is of a channel out of range";
            a.channel = (uint32_t)f.value;
            break;
        case FILE_SHARED:
            if (f.value > SHARED_LAST) return "is shared in an unknown way";
            a.shared = (uint32_t)f.value;
            break;
        default: break;
        }
    }
    if (w.bad) return "is malformed";
    *ret = a;
    return NULL;
}

static const char *artifact_check(const struct tide_artifact_view *a)
{
    if (a->is_inline && a->size != a->inlined.len)
        return "has a size that is not that of its bytes";
    if (a->path.len && !path_safe(a->path)) return "has a path that is not relative, plain UTF-8";
    if (a->shared && (a->flight || !tide_shared_key_valid(a->path)))
        return "is shared and no file of a round's directory, a<n>-<n>/r<n>/s<n>-<n>";
    if (a->name.len > TIDE_ARTIFACT_NAME_MAX) return "has too long a name";
    if (!tide_text_valid(a->name)) return "has a name that is not UTF-8 without NUL";
    if (a->key_group_first + a->key_group_count > KEY_GROUPS_MAX)
        return "has key groups out of range";
    return NULL;
}

static int full_artifact(struct batch *b, uint32_t index, struct tide_bytes message)
{
    struct tide_artifact_view a;
    const char *wrong;

    if (index >= TIDE_ARTIFACTS_PER_ACK_MAX)
        return refuse(b->why, "a full ack has more than %u artifacts", TIDE_ARTIFACTS_PER_ACK_MAX);
    wrong = artifact_read(message, &a);
    if (wrong == NULL) wrong = artifact_check(&a);
    if (wrong == NULL && !add_size(b, a.size)) wrong = "brings the sizes above 2^64";
    if (wrong)
        return refuse(b->why, "full ack %" PRIu32 ": artifact %" PRIu32 " %s", b->full, index,
                      wrong);
    b->shared += a.shared != 0;
    return 0;
}

static int full_check(struct batch *b, struct tide_bytes message)
{
    struct tide_wire w = tide_wire_of(message);
    struct tide_wire_field f;
    uint32_t artifacts = 0;
    int rc;

    while (tide_wire_next(&w, &f)) {
        bool later = f.number >= ACK_UNALIGNED && f.number <= ACK_FINISHED_OPERATOR;
        if (f.number > ACK_HANDLE && !later) continue;
        bool number = f.number < ACK_ARTIFACT || later, wide = later && f.number != ACK_START_DELAY;
        if (f.type != (number ? TIDE_WIRE_VARINT : TIDE_WIRE_LEN))
            return refuse(b->why, "full ack %" PRIu32 ": field %" PRIu32 " has another type",
                          b->full, f.number);
        if (number && !wide && f.value > UINT32_MAX)
            return refuse(b->why, "full ack %" PRIu32 ": field %" PRIu32 " is above 32 bits",
                          b->full, f.number);
        if (f.number == ACK_HANDLE && f.bytes.len > TIDE_HANDLE_MAX)
            return refuse(b->why,
                          "full ack %" PRIu32 ": the handle has %zu bytes, at most %u are "
                          "allowed",
                          b->full, f.bytes.len, TIDE_HANDLE_MAX);
        if (f.number == ACK_ARTIFACT) {
            rc = full_artifact(b, artifacts++, f.bytes);
            if (rc) return rc;
        }
    }
    if (w.bad) return refuse(b->why, "full ack %" PRIu32 " is malformed", b->full);
    b->artifacts += artifacts;
    b->full++;
    return 0;
}

static int top_level(struct batch *b, struct tide_bytes body)
{
    struct tide_wire w = tide_wire_of(body);
    struct tide_wire_field f;

    while (tide_wire_next(&w, &f)) {
        if (f.number == BATCH_ATTEMPT || f.number == BATCH_ROUND) {
            if (f.type != TIDE_WIRE_VARINT)
                return refuse(b->why, "the attempt or the round has another type");
            *(f.number == BATCH_ATTEMPT ? &b->attempt : &b->round) = f.value;
        } else if (f.number >= BATCH_TASK && f.number < BATCH_TASK + COLUMNS) {
            uint32_t c = f.number - BATCH_TASK;
            if (f.type != TIDE_WIRE_LEN)
                return refuse(b->why, "the column %s is not packed", column_name[c]);
            if (b->seen[c])
                return refuse(b->why, "the column %s comes in more than one piece", column_name[c]);
            b->seen[c] = true;
            b->column[c] = f.bytes;
        } else if (f.number == BATCH_FULL) {
            if (f.type != TIDE_WIRE_LEN) return refuse(b->why, "a full ack has another type");
            int rc = full_check(b, f.bytes);
            if (rc) return rc;
        }
    }
    if (w.bad) return refuse(b->why, "the batch is malformed or cut off");
    if (b->attempt == 0) return refuse(b->why, "the batch names no attempt");
    if (b->round == 0) return refuse(b->why, "the batch names no round");
    return 0;
}

/* How many tasks from `at` on are v, v + 1, ... as nearly all workers send them; *at moves behind
 * them. What is expected is written and compared, which waits for nothing that was read before. */
static int64_t tasks_in_order(const uint8_t **at, const uint8_t *end, uint64_t v)
{
    const uint8_t *p = *at;
    uint64_t from = v;

    for (; end - p >= 8 && v < 1u << 28; v++) {
        unsigned width = v < 1u << 7 ? 1 : v < 1u << 14 ? 2 : v < 1u << 21 ? 3 : 4;
        uint64_t all = (UINT64_C(1) << 8 * width) - 1;
        uint64_t bytes = (v & 0x7f) | (v & 0x3f80) << 1 | (v & 0x1fc000) << 2 | v >> 21 << 24;
        if ((tide_wire_load(p) & all) != (bytes | (TIDE_WIRE_MORE & all >> 8))) break;
        p += width;
    }
    *at = p;
    return (int64_t)(v - from);
}

/* The tasks; -1: not all are numbers of 32 bits. *ret_run: each is the one before plus 1. */
static int64_t column_tasks(struct tide_bytes column, uint32_t *ret_first, bool *ret_run)
{
    const struct tide_wire w = tide_wire_of(column);
    const uint8_t *at = w.at, *end = w.end, *begin = at;
    uint64_t v = 0, first = 0, differs = 0;
    int64_t n = 0;

    if (at != end && tide_wire_varint(&begin, end, &first) && first <= UINT32_MAX)
        n = tasks_in_order(&at, end, first);
    for (; at != end; n++) {
        if (!tide_wire_varint(&at, end, &v) || v > UINT32_MAX) return -1;
        differs |= v ^ (first + (uint64_t)n);
    }
    *ret_first = (uint32_t)first;
    *ret_run = n > 0 && differs == 0;
    return n;
}

/* Whether a number of more than four bytes begins in the first five of these eight. */
static uint64_t long_number(uint64_t more)
{
    return more & more >> 8 & more >> 16 & more >> 24;
}

/* Counts the numbers of a column if all have at most four bytes, as nearly all have; false: not so,
 * or it is cut off. It need not know where each begins: a number ends with each byte that says so,
 * and four that do not, in a row, are too many. */
static bool column_short(struct tide_bytes column, int64_t *ret)
{
    const struct tide_wire w = tide_wire_of(column);
    const uint8_t *at = w.at, *end = w.end;
    uint64_t more, wrong = 0;
    int64_t n = 0;
    int row = 0;

    for (; end - at >= 16; at += 8) {
        more = tide_wire_load(at) & TIDE_WIRE_MORE;
        wrong |= long_number(more) | long_number(tide_wire_load(at + 5) & TIDE_WIRE_MORE);
        n += (int64_t)(((more ^ TIDE_WIRE_MORE) >> 7) * UINT64_C(0x0101010101010101) >> 56);
    }
    /* long_number() has looked at rows that begin before `at`, three bytes into what is left */
    for (; at != end; at++) {
        row = *at & 0x80 ? row + 1 : 0;
        wrong |= row > 3;
        n += row == 0;
    }
    *ret = n;
    return wrong == 0 && row == 0;
}

/* How many numbers of 32 bits the column holds, or -1. */
static int64_t column_numbers(struct tide_bytes column)
{
    const struct tide_wire w = tide_wire_of(column);
    const uint8_t *at = w.at, *end = w.end;
    uint64_t v;
    int64_t n = 0;

    if (column_short(column, &n)) return n;
    for (n = 0; at != end; n++)
        if (!tide_wire_varint(&at, end, &v) || v > UINT32_MAX) return -1;
    return n;
}

/* The same of the numbers of artifacts, which it adds up; *ret_most is the largest if it is above
 * 127. A column of less than 2^24 bytes sums to less than 2^56. */
static int64_t column_counts(struct tide_bytes column, uint64_t *ret_sum, uint32_t *ret_most)
{
    const struct tide_wire w = tide_wire_of(column);
    const uint8_t *at = w.at, *end = w.end;
    uint64_t sum = 0, v;
    uint32_t most = 0;
    int64_t n = 0;

    while (at != end) {
        if (end - at >= 8 && !((v = tide_wire_load(at)) & TIDE_WIRE_MORE)) {
            v = (v & UINT64_C(0x00ff00ff00ff00ff)) + (v >> 8 & UINT64_C(0x00ff00ff00ff00ff));
            sum += v * UINT64_C(0x0001000100010001) >> 48;
            at += 8;
            n += 8;
            continue;
        }
        if (!tide_wire_varint(&at, end, &v) || v > UINT32_MAX) return -1;
        sum += v;
        if (v > most) most = (uint32_t)v;
        n++;
    }
    *ret_sum = sum;
    *ret_most = most;
    return n;
}

static int64_t column_sizes(struct batch *b, struct tide_bytes column)
{
    const struct tide_wire w = tide_wire_of(column);
    const uint8_t *at = w.at, *end = w.end;
    uint64_t v;
    int64_t n = 0;

    for (; at != end; n++)
        if (!tide_wire_varint(&at, end, &v) || !add_size(b, v)) return -1;
    return n;
}

static int columns_entries(struct batch *b, struct tide_acks *r, uint64_t *ret_artifacts)
{
    int64_t n, entries = 0;
    uint32_t most = 0;

    for (int c = TASK; c <= COUNT; c++) {
        if (c == TASK)
            n = entries = column_tasks(b->column[c], &r->first, &r->run);
        else if (c == COUNT)
            n = column_counts(b->column[c], ret_artifacts, &most);
        else
            n = column_numbers(b->column[c]);
        if (n < 0)
            return refuse(b->why, "the column %s holds something else than 32-bit numbers",
                          column_name[c]);
        if (n != entries)
            return refuse(b->why, "the column %s has %" PRId64 " entries, task has %" PRId64,
                          column_name[c], n, entries);
    }
    if (most > TIDE_ARTIFACTS_PER_ACK_MAX)
        return refuse(b->why, "an ack has %" PRIu32 " artifacts, at most %u are allowed", most,
                      TIDE_ARTIFACTS_PER_ACK_MAX);
    r->columns = (uint32_t)entries;
    return 0;
}

static int columns_check(struct batch *b, struct tide_acks *r)
{
    uint64_t artifacts = 0;
    int rc = columns_entries(b, r, &artifacts);

    if (rc) return rc;
    int64_t n = column_sizes(b, b->column[SIZE]);
    if (n < 0) return refuse(b->why, "the column size is malformed or adds up to more than 2^64");
    if ((uint64_t)n != artifacts)
        return refuse(b->why, "the column size has %" PRId64 " entries for %" PRIu64 " artifacts",
                      n, artifacts);
    for (int c = LOW; c <= HIGH; c++)
        if (b->column[c].len != artifacts * 8)
            return refuse(b->why, "the column %s has %zu bytes for %" PRIu64 " artifacts",
                          column_name[c], b->column[c].len, artifacts);
    b->artifacts += artifacts;
    return 0;
}

int tide_acks_open(struct tide_acks *r, struct tide_bytes body, char why[static 160])
{
    struct batch b = {.why = why};
    struct tide_acks a = {.body = body};

    why[0] = '\0';
    if (body.len > TIDE_FRAME_MAX) return refuse(why, "the batch is longer than a frame may be");
    int rc = top_level(&b, body);
    if (rc == 0) rc = columns_check(&b, &a);
    if (rc) return rc;
    a.attempt = b.attempt;
    a.round = b.round;
    a.bytes = b.bytes;
    a.artifacts = b.artifacts;
    a.shared = b.shared;
    a.entries = a.columns + b.full;
    if (b.full) a.run = false;
    a.task = b.column[TASK].data;
    a.align = b.column[ALIGN].data;
    a.sync = b.column[SYNC].data;
    a.async = b.column[ASYNC].data;
    a.count = b.column[COUNT].data;
    a.size = b.column[SIZE].data;
    a.low = b.column[LOW].data;
    a.high = b.column[HIGH].data;
    *r = a;
    return 0;
}

/* ---- reading what has been checked */

static inline uint64_t checked_varint(const uint8_t **at)
{
    const uint8_t *p = *at;
    uint64_t v = *p & 0x7f;

    for (unsigned shift = 7; *p++ >= 0x80; shift += 7)
        v |= (uint64_t)(*p & 0x7f) << shift;
    *at = p;
    return v;
}

static void next_column(struct tide_acks *r, struct tide_ack_view *ret)
{
    struct tide_ack_view v = {.task = (uint32_t)checked_varint(&r->task)};

    v.align_us = (uint32_t)checked_varint(&r->align);
    v.sync_us = (uint32_t)checked_varint(&r->sync);
    v.async_us = (uint32_t)checked_varint(&r->async);
    v.artifacts = (uint32_t)checked_varint(&r->count);
    v.sizes = r->size;
    v.lows = r->low;
    v.highs = r->high;
    for (uint32_t i = 0; i < v.artifacts; i++)
        v.bytes += checked_varint(&r->size);
    if (v.artifacts) {
        r->low += (size_t)v.artifacts * 8;
        r->high += (size_t)v.artifacts * 8;
    }
    *ret = v;
}

/* The entry in a TaskAck that has been checked. */
static void read_full(struct tide_bytes message, struct tide_ack_view *ret)
{
    struct tide_wire w = tide_wire_of(message);
    struct tide_wire_field f;
    struct tide_ack_view v = {.full = true, .message = message};
    struct tide_artifact_view a;

    while (tide_wire_next(&w, &f)) {
        switch (f.number) {
        case ACK_TASK: v.task = (uint32_t)f.value; break;
        case ACK_ALIGN: v.align_us = (uint32_t)f.value; break;
        case ACK_SYNC: v.sync_us = (uint32_t)f.value; break;
        case ACK_ASYNC: v.async_us = (uint32_t)f.value; break;
        case ACK_ARTIFACT:
            if (artifact_read(f.bytes, &a)) break;
            v.artifacts++;
            v.bytes += a.size;
            break;
        case ACK_HANDLE:
            v.has_handle = true;
            v.handle = f.bytes;
            break;
        case ACK_UNALIGNED: v.unaligned = f.value != 0; break;
        case ACK_START_DELAY: v.start_delay_us = (uint32_t)f.value; break;
        case ACK_PROCESSED: v.processed_bytes = f.value; break;
        case ACK_PERSISTED: v.persisted_bytes = f.value; break;
        case ACK_FINISHED_OPERATOR: v.finished_operator = f.value != 0; break;
        default: break;
        }
    }
    *ret = v;
}

/* The next TaskAck; there is one. */
static struct tide_bytes next_full(struct tide_acks *r)
{
    struct tide_wire w = tide_wire_of(r->body);
    struct tide_wire_field f;

    w.at += r->full_at;
    while (tide_wire_next(&w, &f) && f.number != BATCH_FULL)
        continue;
    r->full_at = (size_t)(w.at - r->body.data);
    return f.bytes;
}

bool tide_acks_next(struct tide_acks *r, struct tide_ack_view *ret)
{
    if (r->done == r->entries) return false;
    if (r->done++ < r->columns)
        next_column(r, ret);
    else
        read_full(next_full(r), ret);
    return true;
}

bool tide_acks_next_task(struct tide_acks *r, struct tide_ack_task *ret)
{
    if (r->done == r->entries) return false;
    if (r->done++ < r->columns) {
        *ret = (struct tide_ack_task){.task = (uint32_t)checked_varint(&r->task)};
        return true;
    }
    struct tide_wire w = tide_wire_of(next_full(r));
    struct tide_wire_field f;
    *ret = (struct tide_ack_task){.task = 0};
    while (tide_wire_next(&w, &f)) {
        switch (f.number) {
        case ACK_TASK: ret->task = (uint32_t)f.value; break;
        case ACK_ALIGN: ret->align_us = (uint32_t)f.value; break;
        case ACK_HANDLE:
            ret->has_handle = true;
            ret->handle = f.bytes;
            break;
        case ACK_UNALIGNED: ret->unaligned = f.value != 0; break;
        case ACK_PROCESSED: ret->processed_bytes = f.value; break;
        case ACK_PERSISTED: ret->persisted_bytes = f.value; break;
        case ACK_FINISHED_OPERATOR: ret->finished_operator = f.value != 0; break;
        default: break;
        }
    }
    return true;
}

uint32_t tide_acks_align_most(const struct tide_acks *r)
{
    const uint8_t *at = r->align;
    uint64_t most = 0;

    for (uint32_t i = r->done; i < r->columns; i++) {
        uint64_t v = checked_varint(&at);
        if (v > most) most = v;
    }
    return (uint32_t)most;
}

bool tide_acks_artifact(const struct tide_ack_view *ack, struct tide_artifact_place *place,
                        struct tide_artifact_view *ret)
{
    struct tide_wire w;
    struct tide_wire_field f;

    if (place->index >= ack->artifacts) return false;
    if (!ack->full) {
        const size_t at = (size_t)place->index * 8;
        const uint8_t *sizes = place->index ? place->sizes : ack->sizes;
        *ret = (struct tide_artifact_view){.size = checked_varint(&sizes),
                                           .digest_low = tide_get_u64(ack->lows + at),
                                           .digest_high = tide_get_u64(ack->highs + at)};
        place->sizes = sizes;
        place->index++;
        return true;
    }
    w = tide_wire_of(ack->message);
    w.at += place->at;
    while (tide_wire_next(&w, &f)) {
        if (f.number != ACK_ARTIFACT) continue;
        place->at = (size_t)(w.at - ack->message.data);
        place->index++;
        return artifact_read(f.bytes, ret) == NULL;
    }
    return false;
}

size_t tide_artifact_path(char path[static 32], uint32_t task, uint32_t index)
{
    return (size_t)snprintf(path, 32, "t%" PRIu32 "-%" PRIu32, task, index);
}

/* ---- building */

void tide_ack_builder_init(struct tide_ack_builder *b, size_t max)
{
    for (int c = 0; c < COLUMNS; c++)
        tide_buf_init(&b->columns[c], max);
    tide_buf_init(&b->full, max);
    b->entries = 0;
}

void tide_ack_builder_release(struct tide_ack_builder *b)
{
    for (int c = 0; c < COLUMNS; c++)
        tide_buf_release(&b->columns[c]);
    tide_buf_release(&b->full);
    b->entries = 0;
}

void tide_ack_builder_clear(struct tide_ack_builder *b)
{
    for (int c = 0; c < COLUMNS; c++)
        tide_buf_clear(&b->columns[c]);
    tide_buf_clear(&b->full);
    b->entries = 0;
}

void tide_ack_builder_add(struct tide_ack_builder *b, uint32_t task, uint32_t align_us,
                          uint32_t sync_us, uint32_t async_us, const struct tide_ack_file *files,
                          uint32_t n)
{
    if (n > TIDE_ARTIFACTS_PER_ACK_MAX) {
        b->full.rc = TIDE_ETOOBIG;
        return;
    }
    tide_buf_put_varint(&b->columns[TASK], task);
    tide_buf_put_varint(&b->columns[ALIGN], align_us);
    tide_buf_put_varint(&b->columns[SYNC], sync_us);
    tide_buf_put_varint(&b->columns[ASYNC], async_us);
    tide_buf_put_varint(&b->columns[COUNT], n);
    for (uint32_t i = 0; i < n; i++) {
        tide_buf_put_varint(&b->columns[SIZE], files[i].size);
        tide_buf_put_u64(&b->columns[LOW], files[i].digest_low);
        tide_buf_put_u64(&b->columns[HIGH], files[i].digest_high);
    }
    b->entries++;
}

static void put_tag(struct tide_buf *out, uint32_t number, uint32_t type)
{
    tide_buf_put_varint(out, number << 3 | type);
}

void tide_ack_builder_add_full(struct tide_ack_builder *b, struct tide_bytes task_ack)
{
    put_tag(&b->full, BATCH_FULL, TIDE_WIRE_LEN);
    tide_buf_put_varint(&b->full, task_ack.len);
    tide_buf_put(&b->full, task_ack.data, task_ack.len);
    b->entries++;
}

static size_t varint_size(uint64_t v)
{
    size_t n = 1;
    while (v >>= 7)
        n++;
    return n;
}

/* The length of the message; a failure of any part is in *ret_rc. */
static size_t batch_size(const struct tide_ack_builder *b, uint64_t attempt, uint64_t round,
                         int *ret_rc)
{
    size_t size = b->full.len;

    *ret_rc = b->full.rc;
    if (attempt) size += 1 + varint_size(attempt);
    if (round) size += 1 + varint_size(round);
    for (int c = 0; c < COLUMNS; c++) {
        size_t len = b->columns[c].len;
        if (*ret_rc == 0) *ret_rc = b->columns[c].rc;
        if (len) size += 1 + varint_size(len) + len;
    }
    if (*ret_rc == 0 && size > TIDE_FRAME_MAX - 16) *ret_rc = TIDE_ETOOBIG;
    return size;
}

static void put_message(const struct tide_ack_builder *b, uint64_t attempt, uint64_t round,
                        struct tide_buf *out)
{
    if (attempt) {
        put_tag(out, BATCH_ATTEMPT, TIDE_WIRE_VARINT);
        tide_buf_put_varint(out, attempt);
    }
    if (round) {
        put_tag(out, BATCH_ROUND, TIDE_WIRE_VARINT);
        tide_buf_put_varint(out, round);
    }
    for (uint32_t c = 0; c < COLUMNS; c++) {
        if (b->columns[c].len == 0) continue;
        put_tag(out, BATCH_TASK + c, TIDE_WIRE_LEN);
        tide_buf_put_varint(out, b->columns[c].len);
        tide_buf_put(out, b->columns[c].data, b->columns[c].len);
    }
    tide_buf_put(out, b->full.data, b->full.len);
}

void tide_ack_builder_put(const struct tide_ack_builder *b, uint64_t attempt, uint64_t round,
                          struct tide_buf *out)
{
    int rc;

    (void)batch_size(b, attempt, round, &rc);
    if (rc && out->rc == 0) out->rc = rc;
    put_message(b, attempt, round, out);
}

void tide_ack_builder_put_frame(const struct tide_ack_builder *b, uint64_t attempt, uint64_t round,
                                struct tide_buf *out)
{
    enum { FROM_WORKER_ACK = 6 };
    int rc;
    size_t size = batch_size(b, attempt, round, &rc);

    if (rc && out->rc == 0) out->rc = rc;
    if (out->rc) return;
    tide_buf_put_u32(out, (uint32_t)(1 + varint_size(size) + size));
    put_tag(out, FROM_WORKER_ACK, TIDE_WIRE_LEN);
    tide_buf_put_varint(out, size);
    put_message(b, attempt, round, out);
}
