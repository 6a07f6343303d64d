/* Writing a manifest's image, and reading one with no trust in it.
 *
 * The usual way: put() lays head and chunks out between magic and digest; open() checks everything
 * once, and the walk over the acks cannot fail afterwards.
 *
 * What can go wrong is in the image. The version is looked at before the digest, since a newer
 * version may be laid out otherwise; the digest before anything is unpacked. A right digest is no
 * proof of right contents (anyone can compute one), so every length and number is still checked. */
#include "storage/manifest.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "proto/err.h"
#include "proto/graph.h"

#define MAGIC "TIDEMETA"
#define FRONT 16u  /* magic, version, length of the head */
#define BEHIND 24u /* length of the acks, digest */
/* An empty TaskRange takes two bytes in the head; unpacked, with what the parser needs, about 120.
 */
#define HEAD_GROWS 64u

static void put_front(uint8_t front[static FRONT], size_t head_len)
{
    memcpy(front, MAGIC, 8);
    tide_set_u32(front + 8, TIDE_MANIFEST_VERSION);
    tide_set_u32(front + 12, (uint32_t)head_len);
}

static uint64_t chunks_len(const struct tide_bytes *chunks, size_t n)
{
    uint64_t len = 0;
    for (size_t i = 0; i < n; i++)
        len += chunks[i].len;
    return len;
}

static void put_digest(uint8_t out[static 16], XXH128_hash_t h)
{
    tide_set_u64(out, h.low64);
    tide_set_u64(out + 8, h.high64);
}

void tide_manifest_put_front(struct tide_buf *out, struct tide_bytes head, uint64_t acks_len)
{
    uint8_t front[FRONT];
    if (head.len > TIDE_MANIFEST_HEAD_MAX) {
        if (!out->rc) out->rc = TIDE_ETOOBIG;
        return;
    }
    put_front(front, head.len);
    tide_buf_put(out, front, sizeof front);
    tide_buf_put(out, head.data, head.len);
    tide_buf_put_u64(out, acks_len);
}

void tide_manifest_put(struct tide_buf *out, struct tide_bytes head,
                       const struct tide_bytes *chunks, size_t n_chunks)
{
    uint8_t digest[16];
    size_t start = out->len;
    tide_manifest_put_front(out, head, chunks_len(chunks, n_chunks));
    for (size_t i = 0; i < n_chunks; i++)
        tide_buf_put(out, chunks[i].data, chunks[i].len);
    if (out->rc) return;
    put_digest(digest, XXH3_128bits(out->data + start, out->len - start));
    tide_buf_put(out, digest, sizeof digest);
}

void tide_manifest_digest(struct tide_bytes head, const struct tide_bytes *chunks, size_t n_chunks,
                          uint8_t ret_digest[static 16], uint64_t *ret_len)
{
    XXH3_state_t state;
    uint8_t front[FRONT], len[8];
    uint64_t acks = chunks_len(chunks, n_chunks);
    put_front(front, head.len);
    tide_set_u64(len, acks);
    XXH3_128bits_reset(&state);
    XXH3_128bits_update(&state, front, sizeof front);
    if (head.len) XXH3_128bits_update(&state, head.data, head.len);
    XXH3_128bits_update(&state, len, sizeof len);
    for (size_t i = 0; i < n_chunks; i++)
        if (chunks[i].len) XXH3_128bits_update(&state, chunks[i].data, chunks[i].len);
    put_digest(ret_digest, XXH3_128bits_digest(&state));
    *ret_len = FRONT + head.len + acks + BEHIND;
}

/* ---- reading */

#define WHY 256u /* size of every why here */

/* Finds head and acks, and compares the digest. */
static int split(struct tide_bytes image, struct tide_bytes *head, struct tide_bytes *acks,
                 char *why)
{
    if (image.len < FRONT + BEHIND || memcmp(image.data, MAGIC, 8) != 0) {
        snprintf(why, WHY, "not a manifest: %zu bytes that do not start with %s", image.len, MAGIC);
        return TIDE_ECORRUPT;
    }
    uint32_t version = tide_get_u32(image.data + 8), head_len = tide_get_u32(image.data + 12);
    if (version != TIDE_MANIFEST_VERSION) {
        snprintf(why, WHY, "the manifest has version %" PRIu32 ", this program reads version %u",
                 version, TIDE_MANIFEST_VERSION);
        return TIDE_EVERSION;
    }
    size_t room = image.len - FRONT - BEHIND;
    if (head_len > room || head_len > TIDE_MANIFEST_HEAD_MAX) {
        snprintf(why, WHY, "the manifest's head of %" PRIu32 " bytes does not fit into %zu bytes",
                 head_len, image.len);
        return TIDE_ECORRUPT;
    }
    const uint8_t *p = image.data + FRONT + head_len;
    uint64_t acks_len = tide_get_u64(p);
    if (acks_len != room - head_len) {
        snprintf(why, WHY, "the manifest is %zu bytes long, its lengths say %" PRIu64, image.len,
                 (uint64_t)FRONT + head_len + BEHIND + acks_len);
        return TIDE_ECORRUPT;
    }
    uint8_t digest[16];
    put_digest(digest, XXH3_128bits(image.data, image.len - 16));
    if (memcmp(digest, image.data + image.len - 16, 16) != 0) {
        snprintf(why, WHY, "the manifest's digest does not match its %zu bytes: it is damaged",
                 image.len);
        return TIDE_ECORRUPT;
    }
    *head = (struct tide_bytes){image.data + FRONT, head_len};
    *acks = (struct tide_bytes){p + 8, (size_t)acks_len};
    return 0;
}

/* A bit per task: it stands in the acks or in `ended`. */
struct seen {
    uint8_t *bits;
    uint32_t tasks, n;
};

static bool seen_add(struct seen *s, uint32_t task)
{
    uint8_t bit = (uint8_t)(1u << (task % 8));
    if (s->bits[task / 8] & bit) return false;
    s->bits[task / 8] |= bit;
    s->n++;
    return true;
}

static int bad_ranges(Tide__TaskRange **ranges, size_t n, uint32_t tasks, const char *what,
                      char *why)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t first = ranges[i]->first, count = ranges[i]->count;
        if (count >= 1 && first < tasks && count <= tasks - first) continue;
        snprintf(why, WHY,
                 "the manifest's list of %s tasks names %" PRIu32 " tasks from %" PRIu32
                 " on, of %" PRIu32,
                 what, count, first, tasks);
        return TIDE_ECORRUPT;
    }
    return 0;
}

static int see_ended(const Tide__ManifestHead *head, struct seen *seen, char *why)
{
    int rc = bad_ranges(head->ended, head->n_ended, head->tasks, "ended", why);
    if (!rc) rc = bad_ranges(head->ending, head->n_ending, head->tasks, "ending", why);
    if (rc) return rc;
    for (size_t i = 0; i < head->n_ended; i++)
        for (uint32_t k = 0; k < head->ended[i]->count; k++)
            if (!seen_add(seen, head->ended[i]->first + k)) {
                snprintf(why, WHY, "task %" PRIu32 " stands twice among the manifest's ended tasks",
                         head->ended[i]->first + k);
                return TIDE_ECORRUPT;
            }
    return 0;
}

static int see_batch(const Tide__ManifestHead *head, struct tide_bytes body, size_t at,
                     struct seen *seen, char *why)
{
    struct tide_acks acks;
    struct tide_ack_view ack;
    char detail[160];
    int rc = tide_acks_open(&acks, body, detail);
    if (rc) {
        snprintf(why, WHY, "the acks %zu bytes into the manifest's acks: %s", at, detail);
        return rc == TIDE_ENOMEM ? rc : TIDE_ECORRUPT;
    }
    if (acks.round != head->round || acks.attempt != head->attempt) {
        snprintf(why, WHY,
                 "the acks %zu bytes into the manifest's acks are of round %" PRIu64
                 ", attempt %" PRIu64 ", not of round %" PRIu64 ", attempt %" PRIu64,
                 at, acks.round, acks.attempt, head->round, head->attempt);
        return TIDE_ECORRUPT;
    }
    while (tide_acks_next(&acks, &ack)) {
        if (ack.task >= head->tasks) {
            snprintf(why, WHY,
                     "the manifest has an ack of task %" PRIu32 ", there are %" PRIu32 " tasks",
                     ack.task, head->tasks);
            return TIDE_ECORRUPT;
        }
        if (!seen_add(seen, ack.task)) {
            snprintf(why, WHY, "task %" PRIu32 " stands twice in the manifest", ack.task);
            return TIDE_ECORRUPT;
        }
    }
    return 0;
}

/* The batch at w bytes into the acks; false: none fits there. */
static bool batch_at(struct tide_bytes acks, size_t at, struct tide_bytes *ret)
{
    if (acks.len - at < 4) return false;
    uint32_t len = tide_get_u32(acks.data + at);
    if (len > acks.len - at - 4) return false;
    *ret = (struct tide_bytes){acks.data + at + 4, len};
    return true;
}

static int see_tasks(struct tide_manifest *m, char *why)
{
    struct seen seen = {.tasks = m->head->tasks};
    struct tide_bytes body;
    if (seen.tasks > TIDE_TASKS_MAX) {
        snprintf(why, WHY, "the manifest speaks of %" PRIu32 " tasks, the limit is %u", seen.tasks,
                 TIDE_TASKS_MAX);
        return TIDE_ECORRUPT;
    }
    seen.bits = tide_arena_zalloc(&m->arena, seen.tasks / 8 + 1);
    if (!seen.bits) {
        snprintf(why, WHY, "out of memory for a manifest of %" PRIu32 " tasks", seen.tasks);
        return TIDE_ENOMEM;
    }
    int rc = see_ended(m->head, &seen, why);
    for (size_t at = 0; !rc && at < m->acks.len; at += 4 + body.len) {
        if (!batch_at(m->acks, at, &body)) {
            snprintf(why, WHY,
                     "the manifest's acks end within an entry, %zu bytes from their start", at);
            return TIDE_ECORRUPT;
        }
        rc = see_batch(m->head, body, at, &seen, why);
    }
    if (rc || seen.n == seen.tasks) return rc;
    uint32_t task = 0;
    while (seen.bits[task / 8] >> (task % 8) & 1)
        task++;
    snprintf(why, WHY,
             "task %" PRIu32 " is missing in the manifest, as are %" PRIu32 " others of %" PRIu32,
             task, seen.tasks - seen.n - 1, seen.tasks);
    return TIDE_ECORRUPT;
}

int tide_manifest_open(struct tide_manifest *m, struct tide_bytes image, char why[static 256])
{
    struct tide_bytes head;
    *m = (struct tide_manifest){.image = image};
    int rc = split(image, &head, &m->acks, why);
    tide_arena_init(&m->arena, TIDE_ARENA_MAX + (rc ? 0 : HEAD_GROWS * head.len));
    if (rc) return rc;
    int unpack_rc = TIDE_ECORRUPT;
    m->head = tide_unpack(&m->arena, &tide__manifest_head__descriptor, head, &unpack_rc);
    if (!m->head) {
        rc = unpack_rc == TIDE_EPROTO ? TIDE_ECORRUPT : TIDE_ENOMEM;
        snprintf(why, WHY, "the manifest's head of %zu bytes cannot be unpacked: %s", head.len,
                 tide_strerror(unpack_rc));
    } else {
        rc = see_tasks(m, why);
    }
    if (rc) tide_manifest_close(m);
    return rc;
}

void tide_manifest_close(struct tide_manifest *m)
{
    tide_arena_release(&m->arena);
    m->head = NULL;
    m->acks = m->image = (struct tide_bytes){0};
}

bool tide_manifest_next(const struct tide_manifest *m, struct tide_manifest_walk *w,
                        struct tide_ack_view *ret)
{
    struct tide_bytes body;
    char why[160];
    for (;;) {
        if (w->open && tide_acks_next(&w->acks, ret)) return true;
        w->open = false;
        if (!m->acks.len || !batch_at(m->acks, w->at, &body)) return false;
        w->at += 4 + body.len;
        w->open = tide_acks_open(&w->acks, body, why) == 0;
    }
}
