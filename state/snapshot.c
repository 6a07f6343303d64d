/* From the states of a task to the databases of a snapshot.
 *
 * The task's thread freezes the backend, which is all that it does; a thread of its own writes what
 * was frozen and ends with tide_snapshot_done(). What comes to little is made in memory and handed
 * to libtidemark as bytes, which then may travel inside the ack; the rest is written by SQLite into
 * the file that libtidemark names, and libtidemark reads it once, for the digest.
 *
 * A native snapshot has the keyed states as files of the backend's own: the task's thread makes a
 * checkpoint, the other one copies its files and writes their index (native.h).
 *
 * A task whose states are dropped meanwhile (the attempt is over) gives up what is being written,
 * and so does the writer of a round that has come to nothing.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "state/native.h"
#include "state/place.h"

#define SMALL (64u << 10) /* bytes of keys and values that are made in memory */
#define BLOCK ((size_t)1 << 20)
#define LOOK_EVERY ((uint64_t)4 << 20) /* and after so many, whether the round still lives */

struct saving {
    struct tide_states *s; /* its list of states does not change any more */
    struct tide_frozen *keyed, *own;
    char *checkpoint; /* in the place of `keyed`: a directory with the backend's files */
    struct tide_snapshot *snapshot; /* NULL: tide_states_save() */
    uint64_t round;
    struct tide_format_writer *writer;
    uint64_t bytes;         /* counted by is_small() */
    uint64_t written, told; /* bytes of the part under way, and what the daemon was told */
    char why[WHY_SIZE];
};

static uint64_t size_of(const struct tide_row *row)
{
    return (uint64_t)row->key.len + row->item.len + row->value.len + 16;
}

static int put_row(void *user, const struct tide_row *row)
{
    struct saving *a = user;
    if (atomic_load(&a->s->cancelled)) return TIDE_ESTALE;
    a->written += size_of(row);
    if (a->snapshot && a->written - a->told >= LOOK_EVERY) {
        a->told = a->written;
        int rc = tide_snapshot_progress(a->snapshot, a->written);
        if (rc) return rc;
    }
    return tide_format_row(a->writer, row);
}

static int count_row(void *user, const struct tide_row *row)
{
    struct saving *a = user;
    a->bytes += size_of(row);
    return a->bytes > SMALL;
}

static bool has_kind(const struct tide_states *s, bool keyed)
{
    for (uint32_t i = 0; i < s->n_items; i++)
        if (tide_kind_is_keyed(s->items[i]->kind) == keyed) return true;
    return false;
}

static int walk(struct saving *a, const struct tide_named *n, tide_row_visit *f)
{
    const bool keyed = tide_kind_is_keyed(n->kind);
    const struct tide_backend *b = tide_named_backend(n);
    return b->class->walk(keyed ? a->keyed : a->own, n->number, tide_kind_is_list(n->kind), 0,
                          UINT32_MAX, f, a, a->why);
}

static void thaw(struct saving *a)
{
    if (a->checkpoint) tide_place_remove(a->checkpoint);
    free(a->checkpoint);
    if (a->keyed) a->s->keyed->class->over(a->keyed);
    if (a->own) a->s->own->class->over(a->own);
}

static bool is_small(struct saving *a, bool keyed)
{
    int rc = 0;
    a->bytes = 0;
    for (uint32_t i = 0; !rc && i < a->s->n_items; i++)
        if (tide_kind_is_keyed(a->s->items[i]->kind) == keyed)
            rc = walk(a, a->s->items[i], count_row);
    return rc == 0;
}

static struct tide_format_task task_of(const struct saving *a, bool keyed)
{
    const struct tide_states *s = a->s;
    struct tide_format_task task = {.uid = tide_bytes_of(s->uid),
                                    .writer = tide_bytes_of(tide_version()),
                                    .subtask = s->subtask,
                                    .parallelism = s->parallelism,
                                    .max_parallelism = s->max_parallelism,
                                    .first = keyed ? s->first : 0,
                                    .count = keyed ? s->count : 0,
                                    .databases = (has_kind(s, true) ? TIDE_FORMAT_KEYED : 0) |
                                                 (has_kind(s, false) ? TIDE_FORMAT_OWN : 0),
                                    .round = a->round};
    if (!task.databases) task.databases = keyed ? TIDE_FORMAT_KEYED : TIDE_FORMAT_OWN;
    return task;
}

static struct tide_format_state state_of(const struct tide_named *n)
{
    return (struct tide_format_state){
        .name = tide_bytes_of(n->name),
        .kind = n->kind,
        .schema = tide_bytes_of(n->schema.id ? n->schema.id : ""),
        .message = tide_bytes_of(n->schema.message ? n->schema.message : ""),
        .descriptor = {n->schema.descriptor, n->schema.descriptor_len},
        .version = n->schema.version};
}

/* One database: the keyed states, or the others. path NULL: in memory. */
static int write_part(struct saving *a, bool keyed, const char *path, uint8_t **ret_data,
                      size_t *ret_len)
{
    const struct tide_states *s = a->s;
    const struct tide_format_task task = task_of(a, keyed);
    int rc = tide_format_create(path, &task, &a->writer, a->why);
    if (rc) return rc;
    a->written = a->told = 0;
    for (uint32_t i = 0; !rc && i < s->n_items; i++) {
        const struct tide_named *n = s->items[i];
        if (tide_kind_is_keyed(n->kind) != keyed) continue;
        const struct tide_format_state state = state_of(n);
        rc = tide_format_state(a->writer, &state);
        if (!rc) rc = walk(a, n, put_row);
    }
    if (rc == TIDE_ESTALE) {
        tide_format_abandon(a->writer);
        snprintf(a->why, sizeof a->why, "%s",
                 atomic_load(&a->s->cancelled) ? "the attempt is over" : "the round is over");
        return rc;
    }
    int end = tide_format_finish(a->writer, ret_data, ret_len, a->why);
    return rc ? rc : end;
}

static int put_part(struct saving *a, bool keyed)
{
    char path[4096];
    uint8_t *data = NULL;
    size_t len = 0;
    if (!has_kind(a->s, keyed)) return 0;
    int rc = tide_snapshot_artifact(a->snapshot, keyed ? TIDE_ARTIFACT_KEYED : TIDE_ARTIFACT_OWN,
                                    keyed ? a->s->first : 0, keyed ? a->s->count : 0);
    if (rc) return rc;
    if (!is_small(a, keyed)) {
        rc = tide_snapshot_file(a->snapshot, path, sizeof path);
        return rc ? rc : write_part(a, keyed, path, NULL, NULL);
    }
    rc = write_part(a, keyed, NULL, &data, &len);
    if (!rc) rc = tide_snapshot_write(a->snapshot, data, len);
    sqlite3_free(data);
    return rc;
}

/* ---- native parts */

static int look_whether_over(const struct saving *a)
{
    return atomic_load(&a->s->cancelled) ? TIDE_ESTALE : 0;
}

/* A file becomes an artifact of its own, or, when it is small, part of the index. */
static int put_file(struct saving *a, struct tide_native_file *f, uint8_t *block)
{
    char name[256];
    uint64_t size = 0;
    ssize_t n = 1;
    int fd = open(f->path, O_RDONLY | O_CLOEXEC), rc = 0;
    if (fd < 0) return tide_place_errno(f->path, a->why);
    if (!f->is_packed) {
        rc = tide_native_artifact(name, sizeof name, a->s->subtask, f->name) ? 0 : TIDE_EINVAL;
        if (!rc) rc = tide_snapshot_artifact(a->snapshot, name, a->s->first, a->s->count);
    }
    while (!rc && n > 0) {
        n = read(fd, block, BLOCK);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n < 0)
            rc = tide_place_errno(f->path, a->why);
        else if (n == 0)
            break;
        else if (f->is_packed && size + (uint64_t)n <= f->size)
            memcpy((uint8_t *)(uintptr_t)f->packed.data + size, block, (size_t)n);
        else if (!f->is_packed)
            rc = tide_snapshot_write(a->snapshot, block, (size_t)n);
        size += (uint64_t)n;
        if (!rc) rc = look_whether_over(a);
    }
    close(fd);
    if (!rc && size != f->size) {
        snprintf(a->why, sizeof a->why, "%.300s: has changed while it was copied", f->path);
        rc = TIDE_EIO;
    }
    return rc;
}

struct files {
    struct tide_native_file *items;
    uint32_t n, cap;
};

static void files_release(struct files *f)
{
    for (uint32_t i = 0; i < f->n; i++) {
        free(f->items[i].name);
        free(f->items[i].path);
        free((void *)(uintptr_t)f->items[i].packed.data);
    }
    free(f->items);
}

static int add_file(struct saving *a, struct files *all, const char *name)
{
    char path[4096];
    struct stat st;
    if (!tide_place_path(path, sizeof path, a->checkpoint, name, 0)) return TIDE_EINVAL;
    if (lstat(path, &st)) return tide_place_errno(path, a->why);
    if (!S_ISREG(st.st_mode)) return 0;
    if (all->n == all->cap) {
        uint32_t cap = all->cap ? all->cap * 2 : 16;
        struct tide_native_file *items = realloc(all->items, cap * sizeof *items);
        if (!items) return TIDE_ENOMEM;
        all->items = items;
        all->cap = cap;
    }
    struct tide_native_file *f = &all->items[all->n++];
    *f = (struct tide_native_file){.name = strdup(name),
                                   .path = strdup(path),
                                   .size = (uint64_t)st.st_size,
                                   .is_packed = (uint64_t)st.st_size <= TIDE_NATIVE_PACKED};
    if (f->is_packed) f->packed = (struct tide_bytes){malloc((size_t)f->size + 1), (size_t)f->size};
    return f->name && f->path && (!f->is_packed || f->packed.data) ? 0 : TIDE_ENOMEM;
}

static int list_files(struct saving *a, struct files *ret)
{
    struct dirent *e;
    int rc = 0;
    DIR *d = opendir(a->checkpoint);
    if (!d) return tide_place_errno(a->checkpoint, a->why);
    while (!rc && (e = readdir(d)))
        rc = add_file(a, ret, e->d_name);
    closedir(d);
    return rc;
}

static int put_index(struct saving *a, const struct files *files)
{
    struct tide_states *s = a->s;
    const struct tide_format_task task = task_of(a, true);
    struct tide_buf index;
    struct tide_format_state *states = calloc(s->n_keyed, sizeof *states);
    if (!states) return TIDE_ENOMEM;
    for (uint32_t i = 0; i < s->n_items; i++)
        if (tide_kind_is_keyed(s->items[i]->kind))
            states[s->items[i]->number] = state_of(s->items[i]);
    tide_buf_init(&index, TIDE_STATES_BYTES_MAX);
    int rc = tide_native_index(&task, s->keyed->class->name, states, s->n_keyed, files->items,
                               files->n, &index);
    if (!rc) rc = tide_snapshot_artifact(a->snapshot, TIDE_ARTIFACT_NATIVE, s->first, s->count);
    if (!rc) rc = tide_snapshot_write(a->snapshot, index.data, index.len);
    tide_buf_release(&index);
    free(states);
    return rc;
}

static int put_native(struct saving *a)
{
    struct files files = {0};
    uint8_t *block = malloc(BLOCK);
    int rc = block ? list_files(a, &files) : TIDE_ENOMEM;
    for (uint32_t i = 0; !rc && i < files.n; i++)
        rc = put_file(a, &files.items[i], block);
    if (!rc) rc = put_index(a, &files);
    files_release(&files);
    free(block);
    return rc;
}

static void *write_thread(void *user)
{
    struct saving *a = user;
    struct tide_states *s = a->s;
    int rc = a->checkpoint ? put_native(a) : put_part(a, true);
    if (rc == TIDE_ESTALE && !a->why[0])
        snprintf(a->why, sizeof a->why, "%s",
                 atomic_load(&s->cancelled) ? "the attempt is over" : "the round is over");
    if (!rc) rc = put_part(a, false);
    thaw(a);
    (void)tide_snapshot_done(a->snapshot, rc, rc && a->why[0] ? a->why : NULL, 0);
    free(a);
    pthread_mutex_lock(&s->lock);
    s->writing--;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* Records in flight that were restored and nobody has yet taken would be in no snapshot. */
static int check_taken(struct tide_states *s)
{
    for (uint32_t i = 0; i < s->n_flows; i++) {
        const struct tide_flow *f = s->flows[i];
        if (f->taken < f->n_records)
            return tide_states_fail(s, TIDE_ESTATE,
                                    "flow %.100s: %zu restored records in flight are not taken yet",
                                    f->name, f->n_records - f->taken);
    }
    return 0;
}

/* Everything as of now: a checkpoint of the keyed states, or a view of them; a view of the others.
 */
static int freeze(struct saving *a, bool native)
{
    char path[4096];
    struct tide_states *s = a->s;
    int rc;
    if (!native) {
        rc = s->keyed->class->freeze(s->keyed, &a->keyed);
    } else if (!tide_place_path(path, sizeof path, s->directory, "checkpoint", a->round)) {
        rc = TIDE_EINVAL;
    } else {
        a->checkpoint = strdup(path);
        rc = a->checkpoint ? s->keyed->class->checkpoint(s->keyed, path) : TIDE_ENOMEM;
    }
    return rc ? rc : s->own->class->freeze(s->own, &a->own);
}

/* round: of a snapshot that may be native; 0: of none. */
static int begin(struct tide_states *s, uint64_t round, bool native, struct saving **ret)
{
    int rc = check_taken(s);
    if (!rc) rc = tide_states_ready(s);
    if (rc) return rc;
    struct saving *a = calloc(1, sizeof *a);
    if (!a) return TIDE_ENOMEM;
    a->s = s;
    s->why[0] = '\0';
    a->round = round;
    rc = freeze(a, native);
    if (rc) {
        thaw(a);
        free(a);
        if (s->why[0]) return rc;
        return tide_states_fail(s, rc, "operator %.100s: the states cannot be frozen: %s", s->uid,
                                tide_strerror(rc));
    }
    *ret = a;
    return 0;
}

static int start_thread(struct saving *a)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, old;
    int error = pthread_attr_init(&attributes);
    if (error) return error;
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all); /* signals are the program's */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    error = pthread_create(&thread, &attributes, write_thread, a);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attributes);
    return error;
}

int tide_states_snapshot(struct tide_states *s, struct tide_snapshot *snapshot)
{
    struct saving *a = NULL;
    if (!s || !snapshot) return TIDE_EINVAL;
    int rc = tide_states_ready(s);
    const bool native =
        !rc && s->n_keyed && s->class->checkpoint && tide_snapshot_is_native(snapshot);
    if (!rc) rc = begin(s, tide_snapshot_round(snapshot), native, &a);
    if (rc) return rc;
    a->snapshot = snapshot;
    pthread_mutex_lock(&s->lock);
    s->writing++;
    pthread_mutex_unlock(&s->lock);
    int error = start_thread(a);
    if (!error) return TIDE_EAGAIN;
    thaw(a);
    free(a);
    pthread_mutex_lock(&s->lock);
    s->writing--;
    pthread_mutex_unlock(&s->lock);
    return tide_states_fail(s, TIDE_ENOMEM, "no thread to write the snapshot: %s", strerror(error));
}

int tide_states_save(struct tide_states *s, const char *path, bool keyed)
{
    struct saving *a = NULL;
    if (!s || !path) return TIDE_EINVAL;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        return tide_states_fail(s, errno == EEXIST ? TIDE_EEXIST : TIDE_EIO, "%.300s: %s", path,
                                strerror(errno));
    close(fd);
    int rc = begin(s, 0, false, &a);
    if (!rc) {
        rc = write_part(a, keyed, path, NULL, NULL);
        if (rc && a->why[0])
            (void)tide_states_fail(s, rc, "%s", a->why);
        else if (rc)
            (void)tide_states_fail(s, rc, "%.200s: %s", path, tide_strerror(rc));
        thaw(a);
        free(a);
    }
    if (rc) (void)unlink(path);
    return rc;
}
