/* What can go wrong: a checkpoint with a file that it has brought does not complete, or is subsumed
 * before another one has used it: then libtidemark says that the key is none, and the file is
 * written once more, under another key. */
#include "state/upload.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "state/place.h"

#define BLOCK ((size_t)1 << 20)

struct tide_shared_file {
    char name[64], key[TIDE_KEY_SIZE];
    uint64_t round; /* the last one in which it was; 0: restored */
};

struct files {
    struct tide_native_file *items;
    uint32_t n, cap;
};

/* ---- what is shared; all under the lock of the states */

static struct tide_shared_file *find(struct tide_states *s, const char *name)
{
    for (uint32_t i = 0; i < s->n_shared; i++)
        if (!strcmp(s->shared[i].name, name)) return &s->shared[i];
    return NULL;
}

static int remember(struct tide_states *s, const char *name, const char *key, uint64_t round)
{
    struct tide_shared_file *f = find(s, name);
    if (!f && s->n_shared == s->cap_shared) {
        uint32_t cap = s->cap_shared ? s->cap_shared * 2 : 32;
        struct tide_shared_file *more = realloc(s->shared, cap * sizeof *more);
        if (!more) return TIDE_ENOMEM;
        s->shared = more;
        s->cap_shared = cap;
    }
    if (!f) f = &s->shared[s->n_shared++];
    snprintf(f->name, sizeof f->name, "%s", name);
    snprintf(f->key, sizeof f->key, "%s", key);
    f->round = round;
    return 0;
}

/* "": not known. */
static void known(struct tide_states *s, const char *name, uint64_t round, char ret[TIDE_KEY_SIZE])
{
    pthread_mutex_lock(&s->lock);
    struct tide_shared_file *f = find(s, name);
    snprintf(ret, TIDE_KEY_SIZE, "%s", f ? f->key : "");
    if (f && f->round < round) f->round = round;
    pthread_mutex_unlock(&s->lock);
}

/* Files that no checkpoint from this round on has any more are forgotten. */
static void prune(struct tide_states *s, uint64_t round)
{
    uint32_t n = 0;
    pthread_mutex_lock(&s->lock);
    for (uint32_t i = 0; i < s->n_shared; i++)
        if (s->shared[i].round >= round) s->shared[n++] = s->shared[i];
    s->n_shared = n;
    pthread_mutex_unlock(&s->lock);
}

int tide_upload_restored(struct tide_states *s, const struct tide_native *from)
{
    int rc = 0;
    for (uint32_t i = 0; !rc && i < from->n_files; i++) {
        const struct tide_native_file *f = &from->files[i];
        if (f->key && from->class->is_fixed(f->name) && strlen(f->key) < TIDE_KEY_SIZE)
            rc = remember(s, f->name, f->key, 0);
    }
    return rc;
}

/* ---- one file */

/* Begins its artifact. 1: it is there already, nothing is to be written. */
static int begin_artifact(const struct tide_upload *u, const struct tide_native_file *f)
{
    char name[256], key[TIDE_KEY_SIZE] = "";
    const uint64_t round = u->task->round;
    struct tide_states *s = u->states;
    if (!tide_native_artifact(name, sizeof name, u->task->subtask, f->name)) return TIDE_EINVAL;
    int rc = tide_snapshot_artifact(u->snapshot, name, u->task->first, u->task->count);
    if (rc || !s->keyed->class->is_fixed(f->name)) return rc;
    known(s, f->name, round, key);
    rc = key[0] ? tide_snapshot_refer(u->snapshot, key) : TIDE_ENOTFOUND;
    if (rc != TIDE_ENOTFOUND) return rc ? rc : 1;
    rc = tide_snapshot_share(u->snapshot, key);
    if (rc || !key[0]) return rc;
    pthread_mutex_lock(&s->lock);
    rc = remember(s, f->name, key, round);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* A file becomes an artifact of its own, or, when it is small, part of the index. */
static int copy(const struct tide_upload *u, struct tide_native_file *f, int fd, uint8_t *block)
{
    uint64_t size = 0;
    int rc = 0;
    while (!rc) {
        ssize_t n = read(fd, block, BLOCK);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return tide_place_errno(f->path, u->why);
        if (n == 0) break;
        if (!f->is_packed)
            rc = tide_snapshot_write(u->snapshot, block, (size_t)n);
        else if (size + (uint64_t)n <= f->size)
            memcpy((uint8_t *)(uintptr_t)f->packed.data + size, block, (size_t)n);
        size += (uint64_t)n;
        if (atomic_load(&u->states->cancelled)) return TIDE_ESTALE;
    }
    if (rc || size == f->size) return rc;
    snprintf(u->why, WHY_SIZE, "%.300s: has changed while it was copied", f->path);
    return TIDE_EIO;
}

static int put_file(const struct tide_upload *u, struct tide_native_file *f, uint8_t *block)
{
    int rc = f->is_packed ? 0 : begin_artifact(u, f);
    if (rc) return rc == 1 ? 0 : rc;
    int fd = open(f->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return tide_place_errno(f->path, u->why);
    rc = copy(u, f, fd, block);
    close(fd);
    return rc;
}

/* ---- all of them */

static void files_release(struct files *f)
{
    for (uint32_t i = 0; i < f->n; i++) {
        free(f->items[i].name);
        free(f->items[i].path);
        free((void *)(uintptr_t)f->items[i].packed.data);
    }
    free(f->items);
}

static int add_file(const struct tide_upload *u, struct files *all, const char *name)
{
    char path[4096];
    struct stat st;
    if (!tide_place_path(path, sizeof path, u->directory, name, 0)) return TIDE_EINVAL;
    if (lstat(path, &st)) return tide_place_errno(path, u->why);
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

static int list_files(const struct tide_upload *u, struct files *ret)
{
    struct dirent *e;
    int rc = 0;
    DIR *d = opendir(u->directory);
    if (!d) return tide_place_errno(u->directory, u->why);
    while (!rc && (e = readdir(d)))
        rc = add_file(u, ret, e->d_name);
    closedir(d);
    return rc;
}

static int put_index(const struct tide_upload *u, const struct files *files)
{
    struct tide_buf index;
    tide_buf_init(&index, TIDE_STATES_BYTES_MAX);
    int rc = tide_native_index(u->task, u->states->keyed->class->name, u->of, u->states->n_keyed,
                               files->items, files->n, &index);
    if (!rc)
        rc = tide_snapshot_artifact(u->snapshot, TIDE_ARTIFACT_NATIVE, u->task->first,
                                    u->task->count);
    if (!rc) rc = tide_snapshot_write(u->snapshot, index.data, index.len);
    tide_buf_release(&index);
    return rc;
}

int tide_upload(const struct tide_upload *u)
{
    struct files files = {0};
    uint8_t *block = malloc(BLOCK);
    int rc = block ? list_files(u, &files) : TIDE_ENOMEM;
    for (uint32_t i = 0; !rc && i < files.n; i++)
        rc = put_file(u, &files.items[i], block);
    if (!rc) rc = put_index(u, &files);
    if (!rc) prune(u->states, u->task->round);
    files_release(&files);
    free(block);
    return rc;
}
