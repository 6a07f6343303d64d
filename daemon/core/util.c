/* Plumbing of the core: memory, bytes, bitmaps, a map, actions and sending.
 *
 * Memory: the core's own objects are small next to what peers send, which meets its bounds
 * elsewhere. When even they find no memory the process stops; the store makes that safe. */
#include "daemon/core/internal.h"

#include <stdarg.h>
#include <stdio.h>

_Noreturn void core_assert_failed(const char *fact, const char *file, int line)
{
    fprintf(stderr,
            "tidemarkd: internal error: %s:%d: \"%s\" does not hold; stopping, the store is safe\n",
            file, line, fact);
    abort();
}

void *core_alloc(size_t size)
{
    void *p = calloc(1, size ? size : 1);
    core_assert(p != NULL);
    return p;
}

void *core_grow(void *array, size_t n, size_t *cap, size_t item)
{
    if (n < *cap) return array;
    size_t wanted = *cap ? *cap * 2 : 8;
    void *grown = realloc(array, wanted * item);
    core_assert(grown != NULL);
    *cap = wanted;
    return grown;
}

char *core_printf(const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    core_assert(n >= 0);
    char *text = core_alloc((size_t)n + 1);
    vsnprintf(text, (size_t)n + 1, format, again);
    va_end(again);
    return text;
}

struct tide_bytes core_copy(struct tide_bytes from)
{
    uint8_t *data = core_alloc(from.len);
    if (from.len) memcpy(data, from.data, from.len);
    return (struct tide_bytes){data, from.len};
}

char *core_text(struct tide_bytes from)
{
    char *text = core_alloc(from.len + 1);
    if (from.len) memcpy(text, from.data, from.len);
    return text;
}

struct tide_bytes core_text_cut(struct tide_bytes text, size_t max)
{
    if (text.len <= max) return text;
    while (max > 0 && (text.data[max] & 0xc0) == 0x80)
        max--;
    return (struct tide_bytes){text.data, max};
}

/* ---- bitmaps */

void bits_init(struct bits *b, uint32_t size)
{
    *b = (struct bits){core_alloc(((size_t)size / 64 + 1) * sizeof(uint64_t)), size, 0};
}

void bits_release(struct bits *b)
{
    free(b->words);
    *b = (struct bits){0};
}

void bits_clear(struct bits *b)
{
    memset(b->words, 0, ((size_t)b->size / 64 + 1) * sizeof(uint64_t));
    b->set = 0;
}

bool bits_put(struct bits *b, uint32_t i)
{
    core_assert(i < b->size);
    uint64_t bit = UINT64_C(1) << (i & 63);
    if (b->words[i >> 6] & bit) return false;
    b->words[i >> 6] |= bit;
    b->set++;
    return true;
}

void bits_drop(struct bits *b, uint32_t i)
{
    core_assert(i < b->size && bits_get(b, i));
    b->words[i >> 6] &= ~(UINT64_C(1) << (i & 63));
    b->set--;
}

/* The bits of word i that belong to the run. */
static uint64_t run_mask(uint32_t i, uint32_t first, uint32_t last)
{
    uint64_t mask = UINT64_MAX;
    if (i == first >> 6) mask &= UINT64_MAX << (first & 63);
    if (i == last >> 6) mask &= UINT64_MAX >> (63 - (last & 63));
    return mask;
}

bool bits_any(const struct bits *b, uint32_t first, uint32_t n)
{
    uint32_t last = first + n - 1;
    core_assert(n && last >= first && last < b->size);
    for (uint32_t i = first >> 6; i <= last >> 6; i++)
        if (b->words[i] & run_mask(i, first, last)) return true;
    return false;
}

bool bits_all(const struct bits *b, uint32_t first, uint32_t n)
{
    uint32_t last = first + n - 1;
    core_assert(n && last >= first && last < b->size);
    for (uint32_t i = first >> 6; i <= last >> 6; i++)
        if (~b->words[i] & run_mask(i, first, last)) return false;
    return true;
}

void bits_put_run(struct bits *b, uint32_t first, uint32_t n)
{
    uint32_t last = first + n - 1;
    core_assert(!bits_any(b, first, n));
    for (uint32_t i = first >> 6; i <= last >> 6; i++)
        b->words[i] |= run_mask(i, first, last);
    b->set += n;
}

void bits_or(struct bits *b, const struct bits *other)
{
    uint32_t at = 0, first, count;
    while (bits_run(other, &at, &first, &count))
        for (uint32_t i = first; i < first + count; i++)
            bits_put(b, i);
}

void bits_minus(struct bits *b, const struct bits *other)
{
    core_assert(b->size == other->size);
    b->set = 0;
    for (size_t i = 0; i < (size_t)b->size / 64 + 1; i++) {
        b->words[i] &= ~other->words[i];
        b->set += (uint32_t)__builtin_popcountll(b->words[i]);
    }
}

bool bits_run(const struct bits *b, uint32_t *at, uint32_t *ret_first, uint32_t *ret_count)
{
    uint32_t i = *at;
    while (i < b->size && !bits_get(b, i)) {
        if ((i & 63) == 0 && b->words[i >> 6] == 0)
            i += 64;
        else
            i++;
    }
    if (i >= b->size) {
        *at = b->size;
        return false;
    }
    *ret_first = i;
    while (i < b->size && bits_get(b, i))
        i++;
    *ret_count = i - *ret_first;
    *at = i;
    return true;
}

size_t bits_ranges(const struct bits *b, struct tide_arena *arena, Tide__TaskRange ***ret)
{
    size_t n = 0;
    uint32_t at = 0, first, count;
    while (bits_run(b, &at, &first, &count))
        n++;
    *ret = tide_arena_alloc(arena, (n + 1) * sizeof **ret);
    core_assert(*ret != NULL);
    at = 0;
    for (size_t i = 0; i < n; i++) {
        Tide__TaskRange *range = tide_arena_alloc(arena, sizeof *range);
        core_assert(range && bits_run(b, &at, &first, &count));
        tide__task_range__init(range);
        range->first = first;
        range->count = count;
        (*ret)[i] = range;
    }
    return n;
}

/* ---- map: open addressing, linear probing, at most three quarters full */

static size_t map_place(const struct map *m, uint64_t key)
{
    size_t i = (size_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 20) & (m->cap - 1);
    while (m->slots[i].key && m->slots[i].key != key)
        i = (i + 1) & (m->cap - 1);
    return i;
}

void *map_get(const struct map *m, uint64_t key)
{
    return m->cap && key ? m->slots[map_place(m, key)].value : NULL;
}

void map_put(struct map *m, uint64_t key, void *value)
{
    core_assert(key != 0 && value != NULL);
    if (4 * (m->n + 1) > 3 * m->cap) {
        struct map old = *m;
        m->cap = old.cap ? old.cap * 2 : 16;
        m->slots = core_alloc(m->cap * sizeof *m->slots);
        for (size_t i = 0; i < old.cap; i++)
            if (old.slots[i].key) m->slots[map_place(m, old.slots[i].key)] = old.slots[i];
        free(old.slots);
    }
    size_t i = map_place(m, key);
    if (!m->slots[i].key) m->n++;
    m->slots[i] = (struct map_slot){key, value};
}

void *map_remove(struct map *m, uint64_t key)
{
    if (!m->cap || !key) return NULL;
    size_t i = map_place(m, key);
    void *value = m->slots[i].value;
    if (!m->slots[i].key) return NULL;
    m->slots[i] = (struct map_slot){0};
    m->n--;
    /* what follows in the same run may have been pushed past this slot: place it again */
    for (i = (i + 1) & (m->cap - 1); m->slots[i].key; i = (i + 1) & (m->cap - 1)) {
        struct map_slot moved = m->slots[i];
        m->slots[i] = (struct map_slot){0};
        m->slots[map_place(m, moved.key)] = moved;
    }
    return value;
}

/* ---- actions */

struct blob *blob_new(const void *data, size_t len)
{
    struct blob *b = core_alloc(sizeof *b + len);
    b->refs = 1;
    b->len = len;
    if (len && data) memcpy(b->data, data, len);
    return b;
}

struct blob *blob_ref(struct blob *b)
{
    b->refs++;
    return b;
}

void blob_unref(struct blob *b)
{
    if (b && --b->refs == 0) free(b);
}

void actions_init(struct actions *a)
{
    *a = (struct actions){0};
}

void actions_clear(struct actions *a)
{
    for (size_t i = 0; i < a->n; i++) {
        struct action *x = &a->items[i];
        blob_unref(x->blob);
        tide_commit_free(x->commit);
        free(x->sessions);
        free(x->path);
        free(x->from);
        free(x->image);
        free(x->text);
        free(x->job);
        free(x->worker);
    }
    a->n = 0;
}

void actions_release(struct actions *a)
{
    actions_clear(a);
    free(a->items);
    *a = (struct actions){0};
}

struct action *act(struct core *c, enum action_type type)
{
    struct actions *a = c->todo;
    a->items = core_grow(a->items, a->n, &a->cap, sizeof *a->items);
    struct action *x = &a->items[a->n++];
    *x = (struct action){.type = type};
    return x;
}

void act_send(struct core *c, uint64_t session, struct blob *blob)
{
    struct action *x = act(c, ACT_SEND);
    x->blob = blob;
    x->sessions = core_alloc(sizeof *x->sessions);
    x->sessions[0] = session;
    x->n_sessions = 1;
}

void act_close(struct core *c, uint64_t session)
{
    struct action *x = act(c, ACT_CLOSE);
    x->sessions = core_alloc(sizeof *x->sessions);
    x->sessions[0] = session;
    x->n_sessions = 1;
}

struct about about_job(const struct job *job)
{
    return (struct about){.job = job, .attempt = job->attempt};
}

struct about about_round(const struct job *job, uint64_t round)
{
    return (struct about){.job = job, .attempt = job->attempt, .round = round};
}

struct about about_worker(const struct worker *w)
{
    return (struct about){.job = w->job, .attempt = w->attempt, .worker = w};
}

void core_log(struct core *c, enum log_level level, struct about about, const char *format, ...)
{
    va_list args;
    char text[512];
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    struct action *x = act(c, ACT_LOG);
    x->level = level;
    x->text = core_printf("%s", text);
    if (about.job) x->job = core_printf("%s", about.job->name);
    if (about.worker) x->worker = core_text(about.worker->name);
    x->attempt = about.attempt;
    x->round = about.round;
}

/* ---- sending */

struct blob *pack_frame(const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    struct blob *b = blob_new(NULL, TIDE_FRAME_HEADER + len);
    tide_set_u32(b->data, (uint32_t)len);
    protobuf_c_message_pack(message, b->data + TIDE_FRAME_HEADER);
    return b;
}

void send_worker(struct core *c, uint64_t session, const Tide__ToWorker *message)
{
    if (session) act_send(c, session, pack_frame(&message->base));
}

void send_holders(struct core *c, struct job *job, const Tide__ToWorker *message, uint64_t tag)
{
    struct action *x = act(c, ACT_SEND);
    x->blob = pack_frame(&message->base);
    x->sessions = core_alloc((job->n_workers + 1) * sizeof *x->sessions);
    x->tell = tag != 0;
    x->tag = tag;
    for (struct worker *w = job->workers; w; w = w->next)
        if (w->standing == STANDS_HOLDING && w->attempt == job->attempt && w->session)
            x->sessions[x->n_sessions++] = w->session;
}

void send_refused(struct core *c, struct session *s, Tide__RefusedCode code, const char *format,
                  ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);

    Tide__Refused refused = TIDE__REFUSED__INIT;
    refused.code = code;
    refused.reason = PB(core_text_cut(VIEW(text), sizeof text - 8)); /* snprintf cuts anywhere */
    if (s->kind == TIDE__PEER_KIND__PEER_ADMIN) {
        Tide__Response response = TIDE__RESPONSE__INIT;
        response.result_case = TIDE__RESPONSE__RESULT_REFUSED;
        response.refused = &refused;
        act_send(c, s->id, pack_frame(&response.base));
    } else {
        Tide__ToWorker message = TIDE__TO_WORKER__INIT;
        message.msg_case = TIDE__TO_WORKER__MSG_REFUSED;
        message.refused = &refused;
        send_worker(c, s->id, &message);
    }
    act_close(c, s->id);
    core_log(c, LEVEL_INFO, (struct about){0}, "connection %" PRIu64 " refused: %s", s->id, text);
}
