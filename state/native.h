/* Native snapshots: the files of a backend as artifacts, and an index of them (proto/native.proto)
 * that says whose state they are. Small files stand in the index.
 *
 * A reader of a part is a tide_format_reader like one of a database: whoever reads state need not
 * know which it is. It has to be told where the files are (tide_native_found()), and opens them
 * when rows are asked for. */
#ifndef TIDE_STATE_NATIVE_H
#define TIDE_STATE_NATIVE_H

#include "state/format.h"

#define TIDE_NATIVE_VERSION 1
#define TIDE_NATIVE_PACKED (64u << 10) /* files up to this size stand in the index */
#define TIDE_NATIVE_FILE "state.file." /* names of artifacts begin with it */

struct tide_native_file {
    char *name;
    uint64_t size;
    bool is_packed;
    struct tide_bytes packed;
    char *path; /* malloc'ed: where it is; NULL: packed, or not known yet */
    char *key;  /* malloc'ed: of a shared artifact; or NULL */
};

struct tide_native {
    const struct tide_backend_class *class;
    struct tide_native_file *files;
    uint32_t n_files;
    const char *scratch;       /* where it may make a directory; NULL: TMPDIR, or /tmp */
    char *directory;           /* the one that it has made */
    struct tide_backend *open; /* there, to be read */
    struct tide_frozen *view;
};

/* ---- writing */

/* The index. files: with path NULL and not packed, those that are artifacts of their own. */
int tide_native_index(const struct tide_format_task *task, const char *backend,
                      const struct tide_format_state *states, uint32_t n_states,
                      const struct tide_native_file *files, uint32_t n_files, struct tide_buf *ret);
/* The name of a file's artifact; false: no room. */
bool tide_native_artifact(char *ret, size_t size, uint32_t subtask, const char *file);

/* ---- reading */

/* An index, whose bytes are copied. TIDE_ECORRUPT, TIDE_EVERSION, TIDE_ENOTSUP (a backend that this
 * build has not), and why, which begins with the name. */
int tide_native_open(const char *name, struct tide_bytes image, struct tide_format_reader **ret,
                     char why[static WHY_SIZE]);
/* The artifact of this name is the file at path, or these bytes, and has this key (NULL: none). A
 * reader to whom it is nothing takes no notice. */
int tide_native_found(struct tide_format_reader *r, const char *artifact, const char *path,
                      struct tide_bytes bytes, const char *key);
/* Whether all files are there, with the right sizes. */
int tide_native_check(struct tide_format_reader *r);
/* Puts the files into an empty directory, under their names: as links where that can be, otherwise
 * copied; look: as symbolic links, for one who only looks at them. */
int tide_native_place(struct tide_format_reader *r, const char *directory, bool look,
                      char why[static WHY_SIZE]);
int tide_native_rows(struct tide_format_reader *r, uint32_t state, uint64_t first, uint64_t count,
                     tide_row_visit *f, void *user);
void tide_native_close(struct tide_native *n); /* NULL is fine */

#endif
