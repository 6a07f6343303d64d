/* From the states of a task to the databases of a snapshot.
 *
 * The task's thread freezes the backend, which is all that it does; a thread of its own writes what
 * was frozen and ends with tide_snapshot_done(). What comes to little is made in memory and handed
 * to libtidemark as bytes, which then may travel inside the ack; the rest is written by SQLite into
 * the file that libtidemark names, and libtidemark reads it once, for the digest.
 *
 * A native snapshot has the keyed states as files of the backend's own: the task's thread makes a
 * checkpoint, the other one copies its files and writes their index (upload.h).
 *
 * A task whose states are dropped meanwhile (the attempt is over) gives up what is being written,
 * and so does the writer of a round that has come to nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "state/place.h"
#include "state/upload.h"

#define SMALL (64u << 10)              /* bytes of keys and values that are made in memory */
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

static int put_native(struct saving *a)
{
    struct tide_states *s = a->s;
    const struct tide_format_task task = task_of(a, true);
    struct tide_format_state *of = calloc(s->n_keyed, sizeof *of);
    const struct tide_upload u = {s, a->snapshot, a->checkpoint, &task, of, a->why};
    if (!of) return TIDE_ENOMEM;
    for (uint32_t i = 0; i < s->n_items; i++)
        if (tide_kind_is_keyed(s->items[i]->kind)) of[s->items[i]->number] = state_of(s->items[i]);
    int rc = tide_upload(&u);
    free(of);
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
