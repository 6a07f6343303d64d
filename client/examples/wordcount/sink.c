/* Sink: publishes the increments, exactly once, by a commit in two phases
 *
 * Published is what lies in the directory under a name part-...; whoever reads those may believe
 * them. Each line is "increment total word".
 *
 *   data arrives   -> open-<attempt>      being written; worth nothing
 *   snapshot of r  -> pending-<r>         written, synced, renamed: phase one, cannot fail any more
 *   complete of r  -> part-<r>            renamed: phase two; so are all pending ones before r
 *
 * What can go wrong, and what we do:
 * - round r aborts         -> pending-<r> stays: the next round that completes covers it
 * - the attempt ends       -> a restore from snapshot s drops what is newer than s; its words come
 * again
 * - we die between complete and rename -> the snapshot's commit handle names what is pending; the
 *                             daemon hands it to us after the restore, and again until we confirm
 * - complete comes twice   -> the rename is done already: fine
 *
 * Only names that this attempt has written, or that a handle tells, are published, never what
 * merely lies in the directory: it may come from a process that was replaced and does not know it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wordcount.h"
#include "worker.h"

#define PENDING_MAX 8192u /* rounds whose handle still fits: 64 KiB */
#define INCREMENT_HEAD 20u
#define WRITE_SIZE (256u << 10)
#define NAME_MAX_LEN 64

struct sink {
    int dir;  /* the directory of the parts */
    int file; /* open-<attempt>, -1: nothing written since the last snapshot */
    uint64_t attempt;
    uint8_t *buf; /* not written yet */
    size_t len;
    uint64_t pending[PENDING_MAX]; /* rounds pre-committed and not published, ascending */
    uint32_t n_pending;
};

static void part_name(char out[NAME_MAX_LEN], const char *kind, uint64_t number)
{
    snprintf(out, NAME_MAX_LEN, "%s-%020" PRIu64, kind, number);
}

/* A write that fails leaves nothing to stand on; a restart begins at the last snapshot. */
static void sink_write(struct sink *s)
{
    size_t at = 0;
    while (at < s->len) {
        ssize_t n = write(s->file, s->buf + at, s->len - at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) die("cannot write: %s", strerror(errno));
        at += (size_t)n;
    }
    s->len = 0;
}

static void sink_open(struct sink *s)
{
    char name[NAME_MAX_LEN];
    part_name(name, "open", s->attempt);
    s->file = openat(s->dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (s->file < 0) die("cannot create %s: %s", name, strerror(errno));
}

static void sink_data(struct worker *w, void *self, const struct frame *f)
{
    struct sink *s = self;
    const uint8_t *p = f->body, *end = f->body + f->len;
    (void)w;
    if (s->file < 0) sink_open(s);
    while ((size_t)(end - p) >= INCREMENT_HEAD) {
        uint64_t increment = get_u64(p), total = get_u64(p + 8);
        uint32_t len = get_u32(p + 16);
        p += INCREMENT_HEAD;
        if (len > (size_t)(end - p)) break;
        if (s->len + len + 64 > WRITE_SIZE + FRAME_MAX) sink_write(s);
        s->len +=
            (size_t)sprintf((char *)s->buf + s->len, "%" PRIu64 " %" PRIu64 " ", increment, total);
        memcpy(s->buf + s->len, p, len);
        s->len += len;
        s->buf[s->len++] = '\n';
        p += len;
    }
    if (p != end) die("counter %u sent a damaged frame", f->channel);
    if (s->len >= WRITE_SIZE) sink_write(s);
}

/* ---- phase one */

static int sink_snapshot(struct worker *w, void *self, struct tide_snapshot *snapshot)
{
    struct sink *s = self;
    uint64_t round = tide_snapshot_round(snapshot);
    char from[NAME_MAX_LEN], to[NAME_MAX_LEN];
    uint8_t handle[PENDING_MAX * 8];
    (void)w;
    if (s->file >= 0) {
        if (s->n_pending == PENDING_MAX) return TIDE_ETOOBIG; /* declines; nothing is lost */
        part_name(from, "open", s->attempt);
        part_name(to, "pending", round);
        sink_write(s);
        if (fsync(s->file) || close(s->file) || renameat(s->dir, from, s->dir, to) || fsync(s->dir))
            die("cannot write %s: %s", to, strerror(errno));
        s->file = -1;
        s->pending[s->n_pending++] = round;
    }
    if (s->n_pending == 0) return 0; /* nothing to publish: no handle */
    for (uint32_t i = 0; i < s->n_pending; i++)
        put_u64(handle + 8 * i, s->pending[i]);
    return tide_snapshot_handle(snapshot, handle, 8 * (size_t)s->n_pending);
}

/* ---- phase two */

/* 1: published now, 0: was so already, negative: it is nowhere. */
static int publish(struct sink *s, uint64_t round)
{
    char from[NAME_MAX_LEN], to[NAME_MAX_LEN];
    part_name(from, "pending", round);
    part_name(to, "part", round);
    if (renameat(s->dir, from, s->dir, to) == 0) return 1;
    if (errno == ENOENT && faccessat(s->dir, to, F_OK, 0) == 0) return 0;
    say("cannot publish %s: %s", to, strerror(errno));
    return TIDE_EIO;
}

static int sink_complete(struct worker *w, void *self, uint64_t round, const void *handle,
                         size_t len)
{
    struct sink *s = self;
    uint32_t parts = 0;
    (void)w;
    if (die_next) raise(SIGKILL);          /* the worst moment: durable, told, and not published */
    for (size_t i = 0; i < len / 8; i++) { /* owed since before the restore */
        int rc = publish(s, get_u64((const uint8_t *)handle + 8 * i));
        if (rc < 0) return rc;
        parts += (uint32_t)rc;
    }
    uint32_t n = 0;
    if (!handle) {
        for (; n < s->n_pending && s->pending[n] <= round; n++) {
            int rc = publish(s, s->pending[n]);
            if (rc < 0) return rc;
            parts += (uint32_t)rc;
        }
    }
    if (parts && fsync(s->dir)) return TIDE_EIO;
    s->n_pending -= n;
    memmove(s->pending, s->pending + n, s->n_pending * sizeof *s->pending);
    say("complete round %" PRIu64 ", published %u parts%s", round, parts, handle ? ", owed" : "");
    return 0;
}

/* ---- attempts */

static void sink_drop(struct worker *w, void *self)
{
    struct sink *s = self;
    (void)w;
    if (s->file >= 0) close(s->file);
    s->file = -1;
    s->len = 0;
    s->n_pending = 0;
}

static int sink_restore(struct worker *w, void *self, const struct tide_restore *r)
{
    struct sink *s = self;
    const struct dirent *e;
    unsigned dropped = 0;
    sink_drop(w, s);
    s->attempt = r->attempt;
    DIR *d = fdopendir(openat(s->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!d) return TIDE_EIO;
    while ((e = readdir(d))) {
        uint64_t number;
        bool newer = sscanf(e->d_name, "pending-%" SCNu64, &number) == 1 && number > r->snapshot;
        if (!newer && strncmp(e->d_name, "open-", 5) != 0) continue;
        if (unlinkat(s->dir, e->d_name, 0) == 0) dropped++;
    }
    closedir(d);
    if (dropped) say("dropped %u parts newer than snapshot %" PRIu64, dropped, r->snapshot);
    return 0;
}

static void sink_free(void *self)
{
    struct sink *s = self;
    if (s->file >= 0) close(s->file);
    close(s->dir);
    free(s->buf);
    free(s);
}

void sink_stage(const struct options *o, struct stage *stage)
{
    struct sink *s = must_alloc(sizeof *s);
    memset(s, 0, sizeof *s);
    s->file = -1;
    s->buf = must_alloc(WRITE_SIZE + FRAME_MAX + 64);
    if (mkdir(o->parts, 0777) && errno != EEXIST)
        die("cannot make %s: %s", o->parts, strerror(errno));
    s->dir = open(o->parts, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dir < 0) die("cannot open %s: %s", o->parts, strerror(errno));
    *stage = (struct stage){
        .uid = "sink",
        .inputs = o->plan.counters,
        .self = s,
        .restore = sink_restore,
        .data = sink_data,
        .snapshot = sink_snapshot,
        .complete = sink_complete,
        .drop = sink_drop,
        .free = sink_free,
    };
}
