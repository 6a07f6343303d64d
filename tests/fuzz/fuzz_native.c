/* The index of a native part that somebody else wrote: whatever it holds, it is refused with a
 * reason that begins with its name, or what it says can be: names of files are no way out of a
 * directory, states and key groups are those of one task.
 *
 * Input: the index. */
#include <stdlib.h>
#include <string.h>

#include "state/native.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool fact)
{
    if (!fact) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char why[WHY_SIZE] = "";
    struct tide_format_reader *r;
    int rc = tide_native_open("input", (struct tide_bytes){data, size}, &r, why);
    if (rc) {
        must(rc == TIDE_ENOMEM || strncmp(why, "input: ", 7) == 0);
        return 0;
    }
    const struct tide_format_task *t = &r->task;
    must(t->subtask < t->parallelism && t->parallelism <= t->max_parallelism && t->count);
    must((uint64_t)t->first + t->count <= t->max_parallelism);
    for (uint32_t i = 0; i < r->n_states; i++)
        must(tide_kind_is_keyed(r->states[i].kind) && r->states[i].name.len);
    for (uint32_t i = 0; i < r->native->n_files; i++) {
        const struct tide_native_file *f = &r->native->files[i];
        must(f->name[0] && f->name[0] != '.' && !strchr(f->name, '/'));
        must(!f->is_packed || f->packed.len == f->size);
    }
    (void)tide_native_check(r); /* whoever names files that are not there */
    tide_format_close(r);
    return 0;
}
