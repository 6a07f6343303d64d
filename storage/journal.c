/* The journal
 *
 * The usual way: an entry is gathered from where its parts lie, written behind the last one with
 * one call, and flushed. When a file is full the other one is begun, if the database has durably
 * what stands in it.
 *
 * At start both files are walked, each up to where its chain breaks, and what the database does not
 * have yet is replayed, in order. Entries are torn only at the end: nothing is appended before the
 * entry before it is flushed.
 *
 * What can go wrong, and what we do:
 * - no room, or an entry that is not to count after all -> its magic is overwritten, and flushed
 * - the process ends before that -> a start applies it if it can; nobody was told either way
 * - the flush fails    -> nobody knows what a crash will leave: the store stops
 * - a gap, or entries of another store -> the database was replaced by another one: refused at
 * start
 * - an entry is damaged -> it ends the chain, as one that was never finished does; if another one
 *   that is needed stands behind it, refused at start */
#include "storage/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <xxhash.h>

#include "proto/err.h"
#include "storage/alloc.h"
#include "storage/flusher.h"
#include "storage/record_pack.h"

#define BLOCK 4096u
#define HEADER 88u
#define HASHED 72u /* of the header: what is before the digest */
#define VERSION 1u
#define FILE_LEAST ((uint64_t)32 << 20) /* a file this long is full */
#define FILE_MOST ((uint64_t)4 << 30)   /* and never longer than this */
#define PACKED_MAX ((size_t)1 << 30)
#define MAGIC "TIDEJRNL"
#define NOT_OURS                                                                                   \
    "; put back the tidemark.db that belongs to it, or move journal.0 and journal.1 away to go "   \
    "on without what only they hold"

struct file {
    char path[4096];
    int fd;
    uint64_t size, end;            /* bytes in the file, of the chain in it */
    struct tide_journal_mark last; /* entry of that */
};

struct tide_journal {
    struct file files[2];
    int now; /* the file in use */
    tide_id store;
    struct tide_journal_mark last;
    uint64_t released; /* a sequence */
    uint64_t largest;  /* entry, so far */
    struct tide_buf packed;
    struct iovec *iov; /* grows, kept */
    size_t iov_cap;

    struct tide_flusher *flusher; /* NULL: not started, nothing can be appended */
    struct file *under_way;       /* where an entry is being written; NULL: none is */
    uint8_t header[HEADER];       /* of that entry */
    uint64_t len, bulk_at;
};

static uint64_t padded(uint64_t n)
{
    return (n + BLOCK - 1) / BLOCK * BLOCK;
}

static int code_of(int error)
{
    return error == ENOSPC || error == EDQUOT || error == EFBIG ? TIDE_ENOSPC : TIDE_EIO;
}

/* ---- files */

static int open_file(struct file *f, const char *directory, int nr, char why[static 512])
{
    struct stat st;
    int n = snprintf(f->path, sizeof f->path, "%s/journal.%d", directory, nr);
    if (n < 0 || (size_t)n >= sizeof f->path) {
        snprintf(why, 512, "the data directory's name is too long: %.300s", directory);
        return TIDE_EINVAL;
    }
    f->fd = open(f->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (f->fd < 0 || fstat(f->fd, &st)) {
        snprintf(why, 512, "%.300s: cannot be opened: %s", f->path, strerror(errno));
        return code_of(errno);
    }
    if (!S_ISREG(st.st_mode)) {
        snprintf(why, 512, "%.300s: is not a file", f->path);
        return TIDE_EIO;
    }
    f->size = (uint64_t)st.st_size;
    return 0;
}

int tide_journal_open(const char *directory, struct tide_journal **ret, char why[static 512])
{
    struct tide_journal *j = tide_mem_zalloc(1, sizeof *j);
    if (!j) {
        snprintf(why, 512, "%.300s: out of memory", directory);
        return TIDE_ENOMEM;
    }
    j->files[0].fd = j->files[1].fd = -1;
    tide_buf_init(&j->packed, PACKED_MAX);
    int rc = open_file(&j->files[0], directory, 0, why);
    if (!rc) rc = open_file(&j->files[1], directory, 1, why);
    if (rc) {
        tide_journal_close(j);
        return rc;
    }
    *ret = j;
    return 0;
}

void tide_journal_close(struct tide_journal *j)
{
    if (!j) return;
    tide_flusher_stop(j->flusher);
    for (int i = 0; i < 2; i++)
        if (j->files[i].fd >= 0) close(j->files[i].fd);
    tide_buf_release(&j->packed);
    free(j->iov);
    free(j);
}

static int read_all(int fd, uint64_t at, void *data, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(fd, (char *)data + done, len - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return TIDE_EIO;
        done += (size_t)n;
    }
    return 0;
}

/* An entry that found no room may stand there whole but for its padding, one that does not count
 * stands there whole: it must not be found. */
static int forget(const struct file *f)
{
    static const uint8_t zeros[8];
    struct stat st;
    if (fstat(f->fd, &st)) return TIDE_EIO;
    if ((uint64_t)st.st_size <= f->end) return 0;
    return pwrite(f->fd, zeros, sizeof zeros, (off_t)f->end) == (ssize_t)sizeof zeros
               ? tide_flusher_sync(f->fd)
               : TIDE_EIO;
}

/* ---- reading */

struct entry {
    struct tide_journal_mark mark;
    uint64_t records, bulk;
    uint8_t store[16], previous[16];
    struct tide_bytes image; /* the whole of it, not padded */
};

static uint64_t entry_len(const struct entry *e)
{
    return padded(HEADER + e->records + e->bulk);
}

static bool follows(const struct entry *e, const struct tide_journal_mark *m)
{
    return e->mark.sequence == m->sequence + 1 && memcmp(e->previous, m->digest, 16) == 0;
}

/* What stands at f->end, digest compared, read into image. False: no entry, the chain ends here. */
static bool next_entry(struct file *f, struct tide_buf *image, struct entry *ret, int *rc)
{
    tide_buf_clear(image);
    if (f->size < f->end + HEADER) return false;
    uint8_t *header = tide_buf_extend(image, HEADER);
    if (!header) {
        *rc = image->rc;
        return false;
    }
    if ((*rc = read_all(f->fd, f->end, header, HEADER))) return false;
    *ret = (struct entry){.mark.sequence = tide_get_u64(header + 32),
                          .records = tide_get_u64(header + 40),
                          .bulk = tide_get_u64(header + 48)};
    memcpy(ret->store, header + 16, sizeof ret->store);
    memcpy(ret->previous, header + 56, sizeof ret->previous);
    memcpy(ret->mark.digest, header + HASHED, sizeof ret->mark.digest);
    uint64_t left = f->size - f->end - HEADER;
    if (memcmp(header, MAGIC, 8) || tide_get_u32(header + 8) != VERSION || !ret->mark.sequence ||
        (f->last.sequence && !follows(ret, &f->last)) || ret->records > left ||
        ret->bulk > left - ret->records || ret->records > PACKED_MAX)
        return false;
    size_t len = (size_t)(ret->records + ret->bulk);
    uint8_t *rest = tide_buf_extend(image, len);
    if (!rest) {
        *rc = image->rc;
        return false;
    }
    if ((*rc = read_all(f->fd, f->end + HEADER, rest, len))) return false;
    XXH3_state_t state;
    XXH3_128bits_reset(&state);
    XXH3_128bits_update(&state, image->data, HASHED);
    XXH3_128bits_update(&state, rest, len);
    XXH128_hash_t h = XXH3_128bits_digest(&state);
    ret->image = (struct tide_bytes){image->data, image->len};
    return tide_get_u64(ret->mark.digest) == h.low64 &&
           tide_get_u64(ret->mark.digest + 8) == h.high64;
}

static void free_list(struct tide_commit *list)
{
    while (list) {
        struct tide_commit *next = list->next;
        tide_commit_free(list);
        list = next;
    }
}

static int take_entry(const struct tide_journal *j, const struct file *f, const struct entry *e,
                      tide_journal_take *take, void *user, char why[static 512])
{
    struct tide_journal_place place = {(int)(f - j->files), f->end + HEADER + e->records};
    struct tide_commit *list = NULL;
    struct tide_bytes records = {e->image.data + HEADER, (size_t)e->records};
    struct tide_bytes bulk = {records.data + records.len, (size_t)e->bulk};
    int rc = tide_records_unpack(records, bulk, &list);
    if (rc)
        snprintf(why, 512, "%.300s: entry %" PRIu64 ": %s", f->path, e->mark.sequence,
                 rc == TIDE_ENOMEM ? "out of memory" : "holds what this version does not know");
    else
        rc = take(user, &e->mark, place, list, why);
    free_list(list);
    return rc;
}

/* Whether an entry may stand where the database ends at `above`. */
static int belongs(const struct tide_journal *j, const struct file *f, const struct entry *e,
                   const struct tide_journal_mark *above, char why[static 512])
{
    if (memcmp(e->store, j->store.b, sizeof e->store) != 0)
        snprintf(why, 512, "%.150s: holds commits of another store than tidemark.db" NOT_OURS,
                 f->path);
    else if (e->mark.sequence > above->sequence + 1)
        snprintf(why, 512,
                 "%.150s: goes on at entry %" PRIu64
                 " where the database ends at %" PRIu64 NOT_OURS,
                 f->path, e->mark.sequence, above->sequence);
    else if (e->mark.sequence == above->sequence + 1 && !follows(e, above))
        snprintf(
            why, 512,
            "%.150s: continues another history of the store than tidemark.db has, which ends at "
            "entry %" PRIu64 NOT_OURS,
            f->path, above->sequence);
    else
        return 0;
    return TIDE_ECORRUPT;
}

/* Walks one file's chain and takes what is behind *above, which moves. */
static int replay_file(struct tide_journal *j, struct file *f, struct tide_journal_mark *above,
                       tide_journal_take *take, void *user, char why[static 512])
{
    struct tide_buf image;
    struct entry e;
    int rc = 0;
    tide_buf_init(&image, (size_t)FILE_MOST);
    f->end = 0;
    f->last = (struct tide_journal_mark){0};
    while (!rc && next_entry(f, &image, &e, &rc)) {
        rc = belongs(j, f, &e, above, why);
        if (!rc && e.mark.sequence == above->sequence + 1) {
            rc = take_entry(j, f, &e, take, user, why);
            if (rc) break;
            *above = e.mark;
        }
        f->end += entry_len(&e);
        f->last = e.mark;
    }
    if (rc && !*why)
        snprintf(why, 512, "%.300s: cannot be read: %s", f->path,
                 rc == TIDE_ENOMEM ? "out of memory" : strerror(errno));
    tide_buf_release(&image);
    return rc;
}

/* The sequence of a file's first entry; 0: it has none. */
static int first_of(struct file *f, uint64_t *ret)
{
    struct tide_buf image;
    struct entry e;
    int rc = 0;
    tide_buf_init(&image, (size_t)FILE_MOST);
    f->end = 0;
    f->last = (struct tide_journal_mark){0};
    *ret = next_entry(f, &image, &e, &rc) ? e.mark.sequence : 0;
    tide_buf_release(&image);
    return rc;
}

/* Whether an entry above the last one that was taken stands behind the end of a chain. */
static int look_behind(struct tide_journal *j, const struct file *f, uint64_t above,
                       char why[static 512])
{
    struct tide_buf image;
    struct entry e;
    struct file at = *f;
    int rc = 0;
    bool needed = false;
    tide_buf_init(&image, (size_t)FILE_MOST);
    at.last = (struct tide_journal_mark){0};
    for (; !rc && !needed && at.end < at.size; at.end += BLOCK)
        needed = next_entry(&at, &image, &e, &rc) && e.mark.sequence > above &&
                 memcmp(e.store, j->store.b, sizeof e.store) == 0;
    tide_buf_release(&image);
    if (rc)
        snprintf(why, 512, "%.300s: cannot be read: %s", f->path,
                 rc == TIDE_ENOMEM ? "out of memory" : strerror(errno));
    if (rc || !needed) return rc;
    snprintf(why, 512,
             "%.150s: is damaged %" PRIu64 " bytes from its start, and entry %" PRIu64
             " behind that is needed" NOT_OURS,
             f->path, f->end, e.mark.sequence);
    return TIDE_ECORRUPT;
}

/* The entry at the end of a file's chain is one that take() refused. If it is the last one it was
 * being taken back when the process ended: that is finished now. */
static int drop_last(struct tide_journal *j, const struct file *f, uint64_t above)
{
    char later[512];
    for (int i = 0; i < 2; i++)
        if (look_behind(j, &j->files[i], above + 1, later)) return TIDE_ECORRUPT;
    return forget(f) ? TIDE_EIO : 0;
}

int tide_journal_replay(struct tide_journal *j, tide_id store, struct tide_journal_mark above,
                        tide_journal_take *take, void *user, char why[static 512])
{
    uint64_t first[2];
    why[0] = '\0';
    j->store = store;
    for (int i = 0; i < 2; i++) {
        int rc = first_of(&j->files[i], &first[i]);
        if (!rc) continue;
        snprintf(why, 512, "%.300s: cannot be read: %s", j->files[i].path,
                 rc == TIDE_ENOMEM ? "out of memory" : strerror(errno));
        return rc;
    }
    int older = first[0] <= first[1] ? 0 : 1; /* one without an entry, 0, may come first as well */
    int rc = 0;
    for (int i = 0; i < 2 && !rc; i++) {
        struct file *f = &j->files[i ? !older : older];
        rc = replay_file(j, f, &above, take, user, why);
        if (rc == TIDE_EREFUSED) rc = drop_last(j, f, above.sequence);
    }
    for (int i = 0; i < 2 && !rc; i++)
        rc = look_behind(j, &j->files[i], above.sequence, why);
    return rc;
}

/* ---- appending */

/* Written blocks up to prime: overwriting them flushes faster than growing. Best effort. */
static int prime_file(struct file *f, uint64_t prime)
{
    static const uint8_t zeros[64 * 1024];
    if (f->size > FILE_LEAST && f->size > prime && ftruncate(f->fd, (off_t)FILE_LEAST) == 0)
        f->size = FILE_LEAST;
    if (f->size >= prime) return 0;
    for (uint64_t at = f->size; at < prime;) {
        size_t n = prime - at < sizeof zeros ? (size_t)(prime - at) : sizeof zeros;
        struct iovec iov = {(void *)(uintptr_t)zeros, n};
        int rc = tide_flusher_write(f->fd, at, &iov, 1);
        if (rc == TIDE_ENOSPC) break;
        if (rc) return rc;
        at += n;
        f->size = at;
    }
    return tide_flusher_sync(f->fd);
}

int tide_journal_start(struct tide_journal *j, tide_id store, struct tide_journal_mark last,
                       uint64_t prime)
{
    j->store = store;
    j->last = last;
    j->released = last.sequence;
    j->now = 0;
    for (int i = 0; i < 2; i++) {
        j->files[i].end = 0;
        j->files[i].last = (struct tide_journal_mark){0};
        int rc = prime_file(&j->files[i], padded(prime));
        if (rc) return rc;
    }
    return j->flusher ? 0 : tide_flusher_start(&j->flusher);
}

struct tide_journal_mark tide_journal_last(const struct tide_journal *j)
{
    return j->last;
}

static uint64_t full_at(const struct tide_journal *j)
{
    uint64_t full = j->largest > FILE_LEAST / 4 ? 4 * j->largest : FILE_LEAST;
    return full < FILE_MOST ? full : FILE_MOST;
}

static bool is_free(const struct tide_journal *j, const struct file *f)
{
    return f->last.sequence <= j->released;
}

bool tide_journal_tight(const struct tide_journal *j)
{
    return j->files[j->now].end >= full_at(j) && !is_free(j, &j->files[!j->now]);
}

void tide_journal_release(struct tide_journal *j, uint64_t sequence)
{
    if (sequence > j->released) j->released = sequence;
}

/* The file for an entry of len bytes, set back to its start if it begins anew. */
static struct file *place_for(struct tide_journal *j, uint64_t len)
{
    struct file *f = &j->files[j->now], *other = &j->files[!j->now];
    if (is_free(j, f)) { /* nothing in it is needed: the same blocks again, still in the cache */
        f->end = 0;
    } else if (f->end + len > full_at(j) && is_free(j, other)) {
        j->now = !j->now;
        f = other;
        f->end = 0;
    }
    return f->end + len > FILE_MOST ? NULL : f;
}

static bool room_for(struct tide_journal *j, size_t n)
{
    if (n <= j->iov_cap) return true;
    struct iovec *grown = tide_mem_realloc(j->iov, 2 * n * sizeof *grown);
    if (!grown) return false;
    j->iov = grown;
    j->iov_cap = 2 * n;
    return true;
}

/* Gathers header, records, chunks and padding; returns how many pieces, 0: no memory. */
static size_t gather(struct tide_journal *j, const struct tide_commit *first,
                     const struct tide_commit *past, size_t pad)
{
    static const uint8_t zeros[BLOCK];
    size_t n = 3;
    for (const struct tide_commit *c = first; c != past; c = c->next)
        for (const struct tide_record *r = c->first; r; r = r->next)
            if (r->type == TIDE_REC_SNAPSHOT) n += r->snapshot.n_chunks;
    if (!room_for(j, n)) return 0;
    XXH3_state_t state;
    XXH3_128bits_reset(&state);
    XXH3_128bits_update(&state, j->header, HASHED);
    XXH3_128bits_update(&state, j->packed.data, j->packed.len);
    n = 0;
    j->iov[n++] = (struct iovec){j->header, HEADER};
    j->iov[n++] = (struct iovec){j->packed.data, j->packed.len};
    for (const struct tide_commit *c = first; c != past; c = c->next)
        for (const struct tide_record *r = c->first; r; r = r->next)
            for (uint32_t i = 0; r->type == TIDE_REC_SNAPSHOT && i < r->snapshot.n_chunks; i++) {
                struct tide_bytes chunk = r->snapshot.chunks[i];
                if (!chunk.len) continue;
                XXH3_128bits_update(&state, chunk.data, chunk.len);
                j->iov[n++] = (struct iovec){(void *)(uintptr_t)chunk.data, chunk.len};
            }
    if (pad) j->iov[n++] = (struct iovec){(void *)(uintptr_t)zeros, pad};
    XXH128_hash_t h = XXH3_128bits_digest(&state);
    tide_set_u64(j->header + HASHED, h.low64);
    tide_set_u64(j->header + HASHED + 8, h.high64);
    return n;
}

int tide_journal_begin(struct tide_journal *j, const struct tide_commit *first,
                       const struct tide_commit *past)
{
    uint8_t *header = j->header;
    tide_buf_clear(&j->packed);
    tide_records_pack(&j->packed, first, past);
    if (j->packed.rc) return j->packed.rc;
    uint64_t bulk = tide_records_bulk(first, past), all = HEADER + j->packed.len + bulk;
    struct file *f = place_for(j, padded(all));
    if (!f) return TIDE_ENOSPC;
    memset(header, 0, HEADER);
    memcpy(header, MAGIC, 8);
    tide_set_u32(header + 8, VERSION);
    memcpy(header + 16, j->store.b, sizeof j->store.b);
    tide_set_u64(header + 32, j->last.sequence + 1);
    tide_set_u64(header + 40, j->packed.len);
    tide_set_u64(header + 48, bulk);
    memcpy(header + 56, j->last.digest, sizeof j->last.digest);
    size_t n = gather(j, first, past, (size_t)(padded(all) - all));
    if (!n) return TIDE_ENOMEM;
    j->under_way = f;
    j->len = padded(all);
    j->bulk_at = f->end + HEADER + j->packed.len;
    tide_flusher_begin(j->flusher, f->fd, f->end, j->iov, n);
    return 0;
}

int tide_journal_end(struct tide_journal *j, bool keep, struct tide_journal_place *ret)
{
    struct file *f = j->under_way;
    j->under_way = NULL;
    int rc = tide_flusher_wait(j->flusher);
    if (rc == TIDE_EIO) return rc;
    if (rc || !keep) return forget(f) ? TIDE_EIO : rc;
    *ret = (struct tide_journal_place){(int)(f - j->files), j->bulk_at};
    f->end += j->len;
    if (f->size < f->end) f->size = f->end;
    if (j->largest < j->len) j->largest = j->len;
    j->last.sequence++;
    memcpy(j->last.digest, j->header + HASHED, sizeof j->last.digest);
    f->last = j->last;
    return 0;
}

int tide_journal_read(const struct tide_journal *j, struct tide_journal_place place, void *data,
                      size_t len)
{
    return read_all(j->files[place.file].fd, place.at, data, len);
}
