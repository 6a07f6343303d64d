/* Fake file lanes, and the directories that they and the workers work on.
 *
 * The usual way: an operation is carried out after a while and answered. What can go wrong: slow,
 * an error, no space, the lane's limit passes (answered with TIMEDOUT, and carried out later or
 * never), a crash (carried out or not, answered to nobody). */

#include "tests/sim/sim.h"

static uint64_t path_hash(const char *path, size_t len)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < len; i++)
        h = (h ^ (uint8_t)path[i]) * 0x100000001b3u;
    return h;
}

struct directory *files_find(struct sim *s, const char *path, size_t len)
{
    uint64_t hash = path_hash(path, len);
    for (struct directory *d = s->files.directories; d; d = d->next)
        if (d->hash == hash) return d;
    return NULL;
}

static struct directory *directory_make(struct sim *s, const char *path, size_t len)
{
    struct directory *d = files_find(s, path, len);
    if (!d) {
        d = sim_alloc(s, sizeof *d);
        char *copy = sim_alloc(s, len + 1);
        memcpy(copy, path, len);
        d->path = copy;
        d->hash = path_hash(path, len);
        d->next = s->files.directories;
        s->files.directories = d;
    }
    d->exists = true;
    return d;
}

static bool has_children(struct sim *s, const struct directory *parent)
{
    size_t n = strlen(parent->path);
    for (struct directory *d = s->files.directories; d; d = d->next)
        if (d->exists && !strncmp(d->path, parent->path, n) && d->path[n] == '/') return true;
    return false;
}

/* A snapshot that is exported is there for as long as anybody waits for it; savepoints are moved by
 * their users, and an old copy of the store knows of what is gone. */
static int export(struct sim *s, struct file_job *j, struct directory *d)
{
    struct directory *from = files_find(s, j->from, strlen(j->from));
    if (!d || !d->exists) return TIDE_ENOTFOUND;
    must(s, !from || !from->gone || j->late || s->old.done || s->store.dropped,
         "%s is deleted, and is being exported", j->from);
    if (!from || !from->exists) return TIDE_ENOTFOUND;
    if (j->place < 3) {
        j->place++;
        return TIDE_EAGAIN;
    }
    d->files = from->files;
    for (struct job *of = s->jobs; of; of = of->next)
        for (struct d_snapshot *o = of->store.snapshots; o; o = o->next)
            if (o->directory.len == strlen(j->from) &&
                !memcmp(o->directory.data, j->from, o->directory.len)) {
                d->exported = o->origin ? o->origin : o;
                d->exported_of = o->origin ? o->origin_of : of;
            }
    return 0;
}

static int execute(struct sim *s, struct file_job *j)
{
    check_file(s, j->op, j->path, true);
    struct directory *d = files_find(s, j->path, strlen(j->path));
    switch (j->op) {
    case FILE_MKDIR:
        if (d && d->exists) return TIDE_EEXIST;
        directory_make(s, j->path, strlen(j->path));
        return 0;
    case FILE_META_WRITE:
        if (!d || !d->exists) return TIDE_ENOTFOUND;
        if (d->pending) return TIDE_EEXIST;
        d->pending = true;
        return 0;
    case FILE_META_PUBLISH:
        if (!d || !d->exists || (!d->pending && !d->published)) return TIDE_ENOTFOUND;
        if (d->coming.len && d->pending) { /* from now on it is there for whoever looks */
            must(s, d->exported, "%s becomes a snapshot, and is not whole", d->path);
            d->image = d->coming;
            d->origin = d->exported;
            d->origin_of = d->exported_of;
            s->stats->exports++;
        }
        d->published = true;
        d->pending = false;
        return 0;
    case FILE_DELETE_ROUND:
        if (!d || !d->exists) {
            d = directory_make(s, j->path, strlen(j->path));
            d->exists = false;
            d->gone = true;
            return 0;
        }
        d->gone = true;
        d->exists = d->pending = d->published = false;
        d->files = NULL;
        d->pieces = NULL;
        s->stats->deleted++;
        return 0;
    case FILE_DELETE_OWN:
        if (!d) return 0;
        d->gone = true;
        d->pending = d->published = false;
        d->files = NULL;
        if (!d->pieces) d->exists = false;
        s->stats->deleted++;
        return 0;
    case FILE_DELETE_SHARED: return pieces_delete(s, j->path);
    case FILE_DELETE_ATTEMPT:
        if (d && d->exists && !has_children(s, d)) d->exists = false;
        return 0;
    case FILE_LOOK: return d && d->gone ? TIDE_ENOTFOUND : 0;
    case FILE_META_READ:
        return d && d->exists && (d->image.len || d->published) ? 0 : TIDE_ENOTFOUND;
    case FILE_EXPORT_BEGIN:
        if (!d || !d->exists) return TIDE_ENOTFOUND;
        if (d->published) return 0;
        d->coming = j->image;
        d->pending = true;
        return 0;
    case FILE_EXPORT: return export(s, j, d);
    case FILE_EXPORT_DROP:
        if (d && d->published) return TIDE_EEXIST;
        if (d) d->exists = d->pending = false;
        return 0;
    }
    return TIDE_EINVAL;
}

static const char *const op_name[] = {[FILE_MKDIR] = "mkdir",
                                      [FILE_META_WRITE] = "write _metadata",
                                      [FILE_META_PUBLISH] = "publish _metadata",
                                      [FILE_DELETE_ROUND] = "delete round",
                                      [FILE_DELETE_ATTEMPT] = "delete attempt",
                                      [FILE_DELETE_OWN] = "delete own files of",
                                      [FILE_DELETE_SHARED] = "delete shared file",
                                      [FILE_META_READ] = "read _metadata",
                                      [FILE_LOOK] = "look into",
                                      [FILE_EXPORT_BEGIN] = "begin export",
                                      [FILE_EXPORT] = "export",
                                      [FILE_EXPORT_DROP] = "drop export"};

static void answer(struct sim *s, struct file_job *j, int rc)
{
    note(s, "files: %s %s%s%s", op_name[j->op], j->path, rc ? ": " : "",
         rc ? tide_strerror(rc) : "");
    if (rc && j->op == FILE_META_PUBLISH) s->files.unpublished = true;
    struct event ev = {
        .type = EV_FILE, .tag = j->tag, .rc = rc, .text = rc ? "a planted fault" : NULL};
    if (!rc && j->op == FILE_META_READ) ev.bytes = files_find(s, j->path, strlen(j->path))->image;
    struct tide_buf place;
    tide_buf_init(&place, 24);
    for (unsigned i = 0; i < 3; i++)
        tide_buf_put_u64(&place, j->place);
    if (rc == TIDE_EAGAIN) ev.bytes = (struct tide_bytes){place.data, place.len};
    daemon_feed(s, ev);
    tide_buf_release(&place);
}

/* Some directories can never be deleted; which, is in their names. */
bool files_cursed(const struct sim *s, const char *path)
{
    uint32_t h = 2166136261u;
    for (const char *p = path; *p; p++)
        h = (h ^ (uint8_t)*p) * 16777619u;
    return s->files.cursed_percent && (h >> 8) % 100 < s->files.cursed_percent;
}

static bool is_cursed(struct sim *s, const struct file_job *j)
{
    if (j->op == FILE_DELETE_ROUND || j->op == FILE_DELETE_OWN) return files_cursed(s, j->path);
    if (j->op != FILE_DELETE_SHARED) return false;
    char *directory = (char *)(uintptr_t)sim_text(s, j->path);
    *strrchr(directory, '/') = '\0';
    return files_cursed(s, directory);
}

static void finish(struct sim *s, void *arg, uint64_t x)
{
    struct file_job *j = arg;
    if (!s->daemon.up || s->daemon.life != j->life || daemon_frozen(s, finish, arg, x)) return;
    int rc;
    j->done = true;
    if (is_cursed(s, j)) {
        rc = TIDE_EIO; /* for ever */
    } else if (s->now < s->files.full_until &&
               (j->op <= FILE_META_WRITE || j->op >= FILE_EXPORT_BEGIN) && percent(s, 70)) {
        rc = TIDE_ENOSPC;
    } else if (s->now < s->files.failing_until && percent(s, 60)) {
        rc = TIDE_EIO;
        if (percent(s, 30)) execute(s, j); /* done, and the sync failed */
    } else {
        rc = execute(s, j);
    }
    answer(s, j, rc);
}

static void finish_late(struct sim *s, void *arg, uint64_t x)
{
    struct file_job *j = arg;
    (void)x;
    if (j->done) return;
    j->done = j->late = true;
    note(s, "files: %s %s, late", op_name[j->op], j->path);
    execute(s, j);
    struct directory *d = files_find(s, j->path, strlen(j->path));
    if (d && j->op == FILE_MKDIR) d->late = true;
}

static void time_out(struct sim *s, void *arg, uint64_t x)
{
    struct file_job *j = arg;
    if (!s->daemon.up || s->daemon.life != j->life || daemon_frozen(s, time_out, arg, x)) return;
    answer(s, j, TIDE_ETIMEDOUT);
}

void files_do(struct sim *s, const struct action *a)
{
    const enum file_op op = a->op;
    struct file_job *j = sim_alloc(s, sizeof *j);
    *j = (struct file_job){.next = s->files.jobs,
                           .op = op,
                           .path = sim_text(s, a->path),
                           .from = sim_text(s, a->from ? a->from : ""),
                           .tag = a->tag,
                           .life = s->daemon.life,
                           .place = a->place[0]};
    if (op == FILE_EXPORT_BEGIN)
        j->image = sim_bytes(s, (struct tide_bytes){a->image, a->image_len});
    s->files.jobs = j;
    check_file(s, op, j->path, false);
    uint64_t takes = between(s, 200, 3 * MS);
    if (s->now < s->files.slow_until) takes = between(s, 10 * MS, 400 * MS);
    if (s->now < s->files.deaf_until) {
        sim_at(s, s->now + 500 * MS, time_out, j, 0);
        if (percent(s, 50)) sim_at(s, s->now + between(s, 600 * MS, 2 * SECOND), finish_late, j, 0);
        return;
    }
    sim_at(s, s->now + takes, finish, j, 0);
}

void files_crash(struct sim *s)
{
    for (struct file_job *j = s->files.jobs; j; j = j->next) {
        if (!j->done && percent(s, 50)) execute(s, j);
        j->done = true;
    }
    s->files.jobs = NULL;
}

/* ---- what others do */

const struct directory *files_copy(struct sim *s, struct job *j, struct d_snapshot *d, bool damaged)
{
    char path[40];
    struct tide_buf image;
    const struct directory *from = files_find(s, (const char *)d->directory.data, d->directory.len);
    snprintf(path, sizeof path, "/copies/%u", (unsigned)++s->files.copies);
    struct directory *to = directory_make(s, path, strlen(path));
    tide_buf_init(&image, 1u << 20);
    tide_manifest_put(&image, d->head, d->chunks, d->n_chunks);
    to->image = sim_bytes(s, (struct tide_bytes){image.data, image.len});
    if (damaged) to->image.len = below(s, to->image.len);
    tide_buf_release(&image);
    to->published = true;
    to->origin = d->origin ? d->origin : d;
    to->origin_of = d->origin ? d->origin_of : j;
    to->files = from ? from->files : NULL;
    return to;
}

const struct directory *files_move(struct sim *s, struct job *j, struct d_snapshot *d)
{
    const struct directory *to = files_copy(s, j, d, false);
    struct directory *from = files_find(s, (const char *)d->directory.data, d->directory.len);
    from->exists = from->published = false;
    from->moved = true;
    return to;
}

void files_move_back(struct sim *s)
{
    for (struct directory *d = s->files.directories; d; d = d->next) {
        if (!d->moved) continue;
        d->moved = false;
        d->exists = d->published = !d->gone;
    }
}

/* ---- what workers do */

int files_make(struct sim *s, struct tide_bytes directory, bool exists)
{
    const char *path = (const char *)directory.data;
    struct directory *d = files_find(s, path, directory.len);
    if (d && d->exists) return 0;
    if (exists) return TIDE_ENOTFOUND;
    size_t parent = directory.len;
    while (parent && path[parent - 1] != '/')
        parent--;
    must(s, parent, "a round's directory has no directory above it");
    struct directory *above = files_find(s, path, parent - 1);
    if (!above || !above->exists) return TIDE_ENOTFOUND;
    d = directory_make(s, path, directory.len);
    d->late = d->gone;
    return 0;
}

int files_write(struct sim *s, struct tide_bytes directory, bool exists, uint32_t task,
                const struct state *st)
{
    int rc = files_make(s, directory, exists);
    if (rc) return rc;
    struct directory *d = files_find(s, (const char *)directory.data, directory.len);
    for (struct file *f = d->files; f; f = f->next)
        must(s, f->task != task, "%s/t%u-0 is written twice", d->path, (unsigned)task);
    struct file *f = sim_alloc(s, sizeof *f);
    *f = (struct file){d->files, task, *st};
    d->files = f;
    return 0;
}

const struct state *files_read(struct sim *s, struct tide_bytes directory, uint32_t task)
{
    struct directory *d = files_find(s, (const char *)directory.data, directory.len);
    if (!d || !d->exists) return NULL;
    for (struct file *f = d->files; f; f = f->next)
        if (f->task == task) return &f->state;
    return NULL;
}
