/* Structs that grow
 *
 * tide_worker_config, tide_callbacks and tide_checkpointing get new members at their end. The
 * macros in tidemark.h hand over how long the struct was when the program was compiled, so that one
 * soname serves them all: an older program's struct is shorter, and what it does not know is 0; a
 * newer one's is longer, and what we do not know must be 0. */
#include <string.h>

#include "client/worker_impl.h"

int tide_sized_copy(void *to, size_t to_size, const void *from, size_t from_size, size_t least)
{
    if (from_size < least) return TIDE_EINVAL;
    for (size_t i = to_size; i < from_size; i++)
        if (((const uint8_t *)from)[i]) return TIDE_ENOTSUP;
    memset(to, 0, to_size);
    memcpy(to, from, from_size < to_size ? from_size : to_size);
    return 0;
}
