/* The index of a part is believed no more than a database: names of files are names and nothing
 * else, states and key groups those of one task; each row is checked as it is given out. */
#include "state/native.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/native.pb-c.h"
#include "state/place.h"

#define HEAD 8u
#define GROUPS_MAX (1u << 20)
#define ARENA_MAX ((size_t)256 << 20)
#define FILES_MAX 65536u
#define NAME_MAX_ 64u
#define BLOCK ((size_t)1 << 20)

static const uint8_t magic[4] = {'T', 'D', 'N', 'P'};

static int fail(struct tide_format_reader *r, int rc, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int fail(struct tide_format_reader *r, int rc, const char *format, ...)
{
    char what[300];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    snprintf(r->why, sizeof r->why, "%.200s: %s", r->name, what);
    return rc;
}

static ProtobufCBinaryData pb(struct tide_bytes b)
{
    return (ProtobufCBinaryData){b.len, (uint8_t *)(uintptr_t)b.data};
}

static struct tide_bytes bytes(ProtobufCBinaryData b)
{
    return (struct tide_bytes){b.data, b.len};
}

bool tide_native_artifact(char *ret, size_t size, uint32_t subtask, const char *file)
{
    int n = snprintf(ret, size, TIDE_NATIVE_FILE "%u.%s", subtask, file);
    return n > 0 && (size_t)n < size;
}

/* ---- writing */

static int pack(Tide__NativePart *m, struct tide_buf *ret)
{
    size_t len = tide__native_part__get_packed_size(m);
    tide_buf_put(ret, magic, sizeof magic);
    tide_buf_put_u32(ret, TIDE_NATIVE_VERSION);
    uint8_t *to = tide_buf_extend(ret, len);
    if (to) (void)tide__native_part__pack(m, to);
    return ret->rc;
}

int tide_native_index(const struct tide_format_task *task, const char *backend,
                      const struct tide_format_state *states, uint32_t n_states,
                      const struct tide_native_file *files, uint32_t n_files, struct tide_buf *ret)
{
    Tide__NativePart m = TIDE__NATIVE_PART__INIT;
    Tide__NativeState *s = calloc(n_states + 1, sizeof *s), **all_s = NULL;
    Tide__NativeFile *f = calloc(n_files + 1, sizeof *f), **all_f = NULL;
    all_s = calloc(n_states + 1, sizeof(Tide__NativeState *));
    all_f = calloc(n_files + 1, sizeof(Tide__NativeFile *));
    int rc = s && f && all_s && all_f ? 0 : TIDE_ENOMEM;
    for (uint32_t i = 0; !rc && i < n_states; i++) {
        tide__native_state__init(all_s[i] = &s[i]);
        s[i].name = pb(states[i].name);
        s[i].kind = states[i].kind;
        s[i].schema = pb(states[i].schema);
        s[i].version = states[i].version;
        s[i].message = pb(states[i].message);
        s[i].descriptor = pb(states[i].descriptor);
    }
    for (uint32_t i = 0; !rc && i < n_files; i++) {
        tide__native_file__init(all_f[i] = &f[i]);
        f[i].name = pb(tide_bytes_of(files[i].name));
        f[i].size = files[i].size;
        if (files[i].is_packed) f[i].place_case = TIDE__NATIVE_FILE__PLACE_PACKED;
        if (files[i].is_packed) f[i].packed = pb(files[i].packed);
    }
    m.backend = pb(tide_bytes_of(backend));
    m.operator_ = pb(task->uid);
    m.subtask = task->subtask;
    m.parallelism = task->parallelism;
    m.max_parallelism = task->max_parallelism;
    m.hash = pb(tide_bytes_of(TIDE_STATES_HASH));
    m.key_group_first = task->first;
    m.key_group_count = task->count;
    m.databases = task->databases;
    m.round = task->round;
    m.writer = pb(task->writer);
    m.states = all_s;
    m.n_states = n_states;
    m.files = all_f;
    m.n_files = n_files;
    if (!rc) rc = pack(&m, ret);
    free(s);
    free(f);
    free(all_s);
    free(all_f);
    return rc;
}

/* ---- reading the index */

static bool is_name(struct tide_bytes b, size_t max)
{
    return b.len >= 1 && b.len <= max && tide_text_valid(b);
}

/* A name in a directory, and no way out of it. */
static bool is_file_name(struct tide_bytes b)
{
    if (!b.len || b.len > NAME_MAX_ || b.data[0] == '.') return false;
    for (size_t i = 0; i < b.len; i++) {
        uint8_t c = b.data[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!plain && c != '.' && c != '-' && c != '_') return false;
    }
    return true;
}

static int read_task(struct tide_format_reader *r, const Tide__NativePart *m)
{
    r->task = (struct tide_format_task){.uid = bytes(m->operator_),
                                        .writer = bytes(m->writer),
                                        .subtask = m->subtask,
                                        .parallelism = m->parallelism,
                                        .max_parallelism = m->max_parallelism,
                                        .first = m->key_group_first,
                                        .count = m->key_group_count,
                                        .databases = m->databases,
                                        .round = m->round};
    const struct tide_format_task *t = &r->task;
    if (!is_name(t->uid, 255) || !is_name(t->writer, 255) || t->max_parallelism > GROUPS_MAX ||
        t->parallelism > t->max_parallelism || t->subtask >= t->parallelism || !t->count ||
        t->count > GROUPS_MAX || t->first > GROUPS_MAX ||
        t->first + t->count > t->max_parallelism || !(t->databases & TIDE_FORMAT_KEYED) ||
        t->databases > (TIDE_FORMAT_KEYED | TIDE_FORMAT_OWN) || t->round > INT64_MAX)
        return fail(r, TIDE_ECORRUPT, "what it says about its task cannot be");
    if (tide_bytes_equal(bytes(m->hash), tide_bytes_of(TIDE_STATES_HASH))) return 0;
    return fail(r, TIDE_EVERSION, "its keys are hashed in a way that this library does not know");
}

static int read_states(struct tide_format_reader *r, const Tide__NativePart *m)
{
    if (m->n_states > STATES_MAX)
        return fail(r, TIDE_ECORRUPT, "has more than %u states", STATES_MAX);
    r->states = calloc(m->n_states + 1, sizeof *r->states);
    if (!r->states) return fail(r, TIDE_ENOMEM, "out of memory");
    for (uint32_t i = 0; i < m->n_states; i++) {
        const Tide__NativeState *s = m->states[i];
        bool right = s->kind >= TIDE_VALUE && s->kind <= TIDE_MAP && is_name(bytes(s->name), 255) &&
                     (!s->schema.len || is_name(bytes(s->schema), 255)) &&
                     (s->message.len != 0) == (s->descriptor.len != 0) &&
                     (!s->message.len || is_name(bytes(s->message), 255)) &&
                     s->descriptor.len <= TIDE_STATES_DESCRIPTOR_MAX;
        for (uint32_t k = 0; right && k < i; k++)
            right = !tide_bytes_equal(r->states[k].name, bytes(s->name));
        if (!right)
            return fail(r, TIDE_ECORRUPT, "state %u is described in a way that cannot be", i + 1);
        r->states[i] = (struct tide_format_state){.name = bytes(s->name),
                                                  .kind = (enum tide_states_kind)s->kind,
                                                  .schema = bytes(s->schema),
                                                  .version = s->version,
                                                  .message = bytes(s->message),
                                                  .descriptor = bytes(s->descriptor)};
        r->n_states++;
    }
    return 0;
}

static int read_files(struct tide_format_reader *r, const Tide__NativePart *m)
{
    struct tide_native *n = r->native;
    if (m->n_files > FILES_MAX) return fail(r, TIDE_ECORRUPT, "has more than %u files", FILES_MAX);
    n->files = calloc(m->n_files + 1, sizeof *n->files);
    if (!n->files) return fail(r, TIDE_ENOMEM, "out of memory");
    for (uint32_t i = 0; i < m->n_files; i++) {
        const Tide__NativeFile *f = m->files[i];
        bool is_packed = f->place_case == TIDE__NATIVE_FILE__PLACE_PACKED;
        if (!is_file_name(bytes(f->name)) || (is_packed && f->packed.len != f->size))
            return fail(r, TIDE_ECORRUPT, "file %u is described in a way that cannot be", i + 1);
        n->files[i] = (struct tide_native_file){.size = f->size, .is_packed = is_packed};
        if (is_packed) n->files[i].packed = bytes(f->packed);
        n->files[i].name =
            tide_arena_printf(&r->arena, "%.*s", (int)f->name.len, (const char *)f->name.data);
        if (!n->files[i].name) return fail(r, TIDE_ENOMEM, "out of memory");
        for (uint32_t k = 0; k < i; k++)
            if (!strcmp(n->files[k].name, n->files[i].name))
                return fail(r, TIDE_ECORRUPT, "file %s stands in it twice", n->files[i].name);
        n->n_files++;
    }
    return 0;
}

static int read_index(struct tide_format_reader *r, struct tide_bytes image)
{
    char reason[WHY_SIZE] = "", name[64];
    int rc = TIDE_ECORRUPT;
    if (image.len < HEAD || memcmp(image.data, magic, sizeof magic) != 0)
        return fail(r, TIDE_ECORRUPT, "is not the index of a native snapshot");
    uint32_t version = tide_get_u32(image.data + sizeof magic);
    if (version != TIDE_NATIVE_VERSION)
        return fail(r, version > TIDE_NATIVE_VERSION ? TIDE_EVERSION : TIDE_ECORRUPT,
                    "has version %u; this library reads version %u", version, TIDE_NATIVE_VERSION);
    const Tide__NativePart *m =
        tide_unpack(&r->arena, &tide__native_part__descriptor,
                    (struct tide_bytes){image.data + HEAD, image.len - HEAD}, &rc);
    if (!m)
        return fail(r, rc == TIDE_EPROTO ? TIDE_ECORRUPT : TIDE_ENOMEM,
                    "the index of %zu bytes cannot be unpacked", image.len);
    rc = read_task(r, m);
    if (!rc) rc = read_states(r, m);
    if (!rc) rc = read_files(r, m);
    if (rc) return rc;
    snprintf(name, sizeof name, "%.*s", m->backend.len < sizeof name ? (int)m->backend.len : 63,
             (const char *)m->backend.data);
    r->native->class = tide_backend_find(name, reason);
    if (!r->native->class) return fail(r, TIDE_ENOTSUP, "%.280s", reason);
    return r->native->class->checkpoint
               ? 0
               : fail(r, TIDE_ECORRUPT, "backend %s has no format of its own", name);
}

int tide_native_open(const char *called, struct tide_bytes image, struct tide_format_reader **ret,
                     char why[static WHY_SIZE])
{
    struct tide_format_reader *r = calloc(1, sizeof *r);
    snprintf(why, WHY_SIZE, "%.200s: %s", called, tide_strerror(TIDE_ENOMEM));
    if (!r) return TIDE_ENOMEM;
    tide_arena_init(&r->arena, ARENA_MAX);
    r->name = strdup(called);
    r->native = calloc(1, sizeof *r->native);
    int rc = r->name && r->native ? read_index(r, image) : TIDE_ENOMEM;
    if (!rc) {
        *ret = r;
        return 0;
    }
    if (r->why[0]) memcpy(why, r->why, WHY_SIZE);
    tide_format_close(r);
    return rc;
}

void tide_native_close(struct tide_native *n)
{
    if (!n) return;
    if (n->view) n->class->over(n->view);
    if (n->open) n->class->close(n->open);
    if (n->directory) tide_place_remove(n->directory);
    for (uint32_t i = 0; i < n->n_files; i++) {
        free(n->files[i].path);
        free(n->files[i].key);
    }
    free(n->directory);
    free(n->files);
    free(n);
}

/* ---- its files */

static int found(struct tide_format_reader *r, struct tide_native_file *f, const char *path,
                 struct tide_bytes data, const char *key)
{
    if (f->is_packed || f->path) return fail(r, TIDE_ECORRUPT, "file %s is there twice", f->name);
    if (key && *key) {
        f->key = strdup(key);
        if (!f->key) return fail(r, TIDE_ENOMEM, "%s", tide_strerror(TIDE_ENOMEM));
    }
    if (path) {
        f->path = strdup(path);
        return f->path ? 0 : fail(r, TIDE_ENOMEM, "%s", tide_strerror(TIDE_ENOMEM));
    }
    if (data.len != f->size)
        return fail(r, TIDE_ECORRUPT, "file %s has not the size that it says", f->name);
    f->packed = tide_arena_bytes(&r->arena, data);
    f->is_packed = true;
    return f->packed.data || !data.len ? 0 : fail(r, TIDE_ENOMEM, "%s", tide_strerror(TIDE_ENOMEM));
}

int tide_native_found(struct tide_format_reader *r, const char *artifact, const char *path,
                      struct tide_bytes data, const char *key)
{
    char name[128];
    struct tide_native *n = r->native;
    for (uint32_t i = 0; n && i < n->n_files; i++)
        if (tide_native_artifact(name, sizeof name, r->task.subtask, n->files[i].name) &&
            !strcmp(name, artifact))
            return found(r, &n->files[i], path, data, key);
    return 0;
}

int tide_native_check(struct tide_format_reader *r)
{
    struct stat st;
    for (uint32_t i = 0; r->native && i < r->native->n_files; i++) {
        const struct tide_native_file *f = &r->native->files[i];
        if (f->is_packed) continue;
        if (!f->path) return fail(r, TIDE_ECORRUPT, "its file %s is not in the snapshot", f->name);
        if (stat(f->path, &st)) return fail(r, TIDE_EIO, "%.200s: %s", f->path, strerror(errno));
        if ((uint64_t)st.st_size != f->size)
            return fail(r, TIDE_ECORRUPT, "%.200s has not the size that it says", f->path);
    }
    return 0;
}

static int put_bytes(int fd, const uint8_t *data, size_t len)
{
    while (len) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return -1;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

static int put_copy(int to, const char *from)
{
    int fd = open(from, O_RDONLY | O_CLOEXEC);
    uint8_t *block = malloc(BLOCK);
    ssize_t n = fd < 0 || !block ? -1 : 1;
    while (n > 0) {
        n = read(fd, block, BLOCK);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n > 0 && put_bytes(to, block, (size_t)n))
            n = -1;
    }
    int error = block ? errno : ENOMEM;
    free(block);
    if (fd >= 0) close(fd);
    errno = error;
    return n < 0 ? -1 : 0;
}

static int place_file(const struct tide_native_file *f, const char *path, bool look,
                      char why[static WHY_SIZE])
{
    char *whole = look && !f->is_packed ? realpath(f->path, NULL) : NULL;
    bool linked = !f->is_packed && (whole ? symlink(whole, path) : link(f->path, path)) == 0;
    free(whole);
    if (linked) return 0;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) return tide_place_errno(path, why);
    int rc = f->is_packed ? put_bytes(fd, f->packed.data, f->packed.len) : put_copy(fd, f->path);
    if (rc) rc = tide_place_errno(path, why);
    close(fd);
    return rc;
}

int tide_native_place(struct tide_format_reader *r, const char *directory, bool look,
                      char why[static WHY_SIZE])
{
    char path[4096];
    int rc = 0;
    for (uint32_t i = 0; !rc && i < r->native->n_files; i++) {
        int n = snprintf(path, sizeof path, "%s/%s", directory, r->native->files[i].name);
        if (n < 0 || (size_t)n >= sizeof path) return TIDE_EINVAL;
        rc = place_file(&r->native->files[i], path, look, why);
    }
    return rc;
}

/* ---- rows */

static int open_files(struct tide_format_reader *r)
{
    struct tide_native *n = r->native;
    const char *parent = n->scratch ? n->scratch : getenv("TMPDIR"); /* NOLINT(concurrency-*) */
    char path[4096];
    int rc = tide_native_check(r);
    if (rc) return rc;
    int len = snprintf(path, sizeof path, "%s/part-XXXXXX", parent && *parent ? parent : "/tmp");
    if (len < 0 || (size_t)len >= sizeof path) return fail(r, TIDE_EINVAL, "the name is too long");
    if (n->scratch) (void)mkdir(n->scratch, 0777); /* the memory backend has made none */
    if (!mkdtemp(path)) return tide_place_errno(path, r->why);
    n->directory = strdup(path);
    if (!n->directory) {
        (void)rmdir(path);
        return fail(r, TIDE_ENOMEM, "%s", tide_strerror(TIDE_ENOMEM));
    }
    char reason[WHY_SIZE] = "";
    const struct tide_backend_config config = {.n_states = r->n_states,
                                               .first = r->task.first,
                                               .count = r->task.count,
                                               .mode = TIDE_BACKEND_READ,
                                               .directory = n->directory,
                                               .why = reason};
    rc = tide_native_place(r, n->directory, true, reason);
    if (!rc) rc = n->class->open(&config, &n->open);
    if (!rc) rc = n->class->freeze(n->open, &n->view);
    if (rc) return fail(r, rc, "%.290s", reason[0] ? reason : tide_strerror(rc));
    return 0;
}

struct walking {
    struct tide_format_reader *r;
    uint32_t state;
    uint64_t first, count;
    struct tide_buf key; /* of a list, its next position */
    uint64_t position;
    bool in_list;
    tide_row_visit *f;
    void *user;
};

/* The items of a list follow each other, from 0 on. */
static int check_position(struct walking *w, const struct tide_row *row)
{
    struct tide_bytes key = {w->key.data, w->key.len};
    if (!w->in_list || !tide_bytes_equal(key, row->key)) {
        tide_buf_clear(&w->key);
        if (row->key.len) tide_buf_put(&w->key, row->key.data, row->key.len);
        w->in_list = true;
        w->position = 0;
    }
    if (w->key.rc) return w->key.rc;
    return row->item.len == 8 && tide_position_of_item(row->item.data) == w->position++
               ? 0
               : TIDE_ECORRUPT;
}

static int see_row(void *user, const struct tide_row *row)
{
    struct walking *w = user;
    struct tide_row shown = *row;
    const struct tide_format_state *s = &w->r->states[w->state];
    bool right = row->group >= w->first && row->group - w->first < w->count &&
                 row->group ==
                     tide_states_key_group(row->key.data, row->key.len, w->r->task.max_parallelism);
    int rc = right ? 0 : TIDE_ECORRUPT;
    if (s->kind == TIDE_VALUE && row->item.len) rc = TIDE_ECORRUPT;
    if (!rc && s->kind == TIDE_LIST) rc = check_position(w, row);
    if (rc)
        return fail(w->r, rc, "state %.*s: a row cannot be", (int)s->name.len,
                    (const char *)s->name.data);
    if (s->kind != TIDE_MAP) shown.item = (struct tide_bytes){0};
    return w->f(w->user, &shown);
}

int tide_native_rows(struct tide_format_reader *r, uint32_t state, uint64_t first, uint64_t count,
                     tide_row_visit *f, void *user)
{
    struct tide_native *n = r->native;
    char reason[WHY_SIZE] = "";
    if (state >= r->n_states) return fail(r, TIDE_EINVAL, "has no state %u", state);
    int rc = n->view ? 0 : open_files(r);
    if (rc || !count || first > UINT32_MAX) return rc;
    if (count > UINT32_MAX) count = UINT32_MAX;
    struct walking w = {r, state, first, count, {0}, 0, false, f, user};
    tide_buf_init(&w.key, TIDE_STATES_BYTES_MAX);
    rc = n->class->walk(n->view, state, r->states[state].kind == TIDE_LIST, (uint32_t)first,
                        (uint32_t)count, see_row, &w, reason);
    tide_buf_release(&w.key);
    if (rc && reason[0]) (void)fail(r, rc, "%.290s", reason);
    return rc;
}
