/* The core's file operations: an action becomes a piece of work for the lane of its root. */
#include "daemon/filework.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/util.h"
#include "storage/files.h"

struct job {
    struct lane_work work;
    const struct filework *files;
    uint64_t tag;
    enum file_op op;
    uint8_t *image;
    size_t image_len;
    struct tide_buf read; /* the lane's until job_done(), as are place and copied */
    char *place;          /* the path without links; NULL: it is not asked for, or not known */
    char *from;
    uint64_t for_us;
    struct tide_export_place copied;
    char path[];
};

static int export(struct job *j, const volatile int *stop, char why[static LANES_WHY])
{
    int rc = tide_files_export(j->from, j->path, j->for_us, stop, &j->copied, why);
    tide_buf_init(&j->read, 24);
    tide_buf_put_u64(&j->read, j->copied.artifact);
    tide_buf_put_u64(&j->read, j->copied.offset);
    tide_buf_put_u64(&j->read, j->copied.bytes);
    return rc ? rc : j->read.rc;
}

static int carry_out(struct job *j, const volatile int *stop, char why[static LANES_WHY])
{
    switch (j->op) {
    case FILE_MKDIR: return tide_files_mkdir(j->path, why);
    case FILE_META_WRITE:
        return tide_files_metadata_write(j->path, (struct tide_bytes){j->image, j->image_len}, why);
    case FILE_META_PUBLISH: return tide_files_metadata_publish(j->path, why);
    case FILE_DELETE_ROUND: return tide_files_delete_round(j->path, why);
    case FILE_DELETE_ATTEMPT: return tide_files_delete_attempt(j->path, why);
    case FILE_DELETE_OWN: return tide_files_delete_own(j->path, why);
    case FILE_DELETE_SHARED: return tide_files_delete_shared(j->path, why);
    case FILE_META_READ: return tide_files_inspect(j->path, stop, &j->read, why);
    case FILE_LOOK:
        return tide_files_whole(j->path, (struct tide_bytes){j->image, j->image_len}, stop, why);
    case FILE_EXPORT_BEGIN:
        return tide_files_export_begin(j->path, (struct tide_bytes){j->image, j->image_len}, why);
    case FILE_EXPORT: return export(j, stop, why);
    case FILE_EXPORT_DROP: return tide_files_export_drop(j->path, why);
    }
    (void)snprintf(why, LANES_WHY, "file operation %d is not known", (int)j->op);
    return TIDE_EBUG;
}

static int job_run(struct lane_work *w, const volatile int *stop, char why[static LANES_WHY])
{
    struct job *j = (struct job *)w;
    int rc = carry_out(j, stop, why);
    if (!rc && (j->op == FILE_MKDIR || j->op == FILE_META_READ)) j->place = realpath(j->path, NULL);
    return rc;
}

static void job_done(struct lane_work *w, int rc, const char *why)
{
    const struct job *j = (const struct job *)w;
    char text[LANES_WHY + 64];
    if (rc == TIDE_ETIMEDOUT || rc == TIDE_EBUSY) /* the lane's words do not name the path */
        (void)snprintf(text, sizeof text, "%.200s: %s", j->path, why);
    else
        (void)snprintf(text, sizeof text, "%s", why);
    struct tide_bytes read = {0};
    if (!rc || rc == TIDE_EAGAIN) read = (struct tide_bytes){j->read.data, j->read.len};
    j->files->done(j->files->user, j->tag, rc, text, read, rc ? NULL : j->place);
}

static void job_drop(struct lane_work *w)
{
    struct job *j = (struct job *)w;
    free(j->image);
    free(j->from);
    tide_buf_release(&j->read);
    free(j->place);
    free(j);
}

static bool lies_below(const char *path, const char *root)
{
    size_t n = root ? strlen(root) : 0;
    return n && strncmp(path, root, n) == 0 && (path[n] == '/' || path[n] == 0);
}

/* One hung mount must not hold up another: the lane is that of the root, or of the directory that
 * the path lies in. */
static void lane_name(const struct filework *f, const char *path, char *out)
{
    char *slash;
    if (lies_below(path, f->state_root)) {
        (void)strcpy(out, f->state_root);
    } else if (lies_below(path, f->savepoint_root)) {
        (void)strcpy(out, f->savepoint_root);
    } else {
        (void)strcpy(out, path);
        slash = strrchr(out, '/');
        if (slash && slash != out) *slash = 0;
    }
}

void filework_submit(const struct filework *f, struct action *a)
{
    size_t n = strlen(a->path) + 1;
    struct job *j = must_alloc(sizeof *j + n);
    char *lane = must_alloc(n); /* a root that the path lies below is no longer than the path */
    bool looks = a->op == FILE_META_READ || a->op == FILE_LOOK;
    j->work =
        (struct lane_work){job_run, job_done, job_drop, looks ? f->inspect_us : f->timeout_us};
    j->files = f;
    j->tag = a->tag;
    j->op = a->op;
    j->image = a->image;
    j->image_len = a->image_len;
    a->image = NULL;
    j->from = a->from;
    a->from = NULL;
    j->for_us = a->for_us;
    j->copied = (struct tide_export_place){a->place[0], a->place[1], a->place[2]};
    memcpy(j->path, a->path, n);
    lane_name(f, j->path, lane);
    lanes_submit(f->lanes, lane, &j->work);
    free(lane);
}
