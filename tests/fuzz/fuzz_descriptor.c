/* Two sets of descriptors and a value that somebody else wrote: they are refused with a reason, or
 * compared, and a value that was converted has not grown.
 *
 * Input: 2 bytes length (little-endian) of the first set, it; the same of the second; the value.
 * The type is a.T. */
#include <stdlib.h>
#include <string.h>

#include "proto/err.h"
#include "state/descriptor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tide_bytes part(const uint8_t **data, size_t *size)
{
    size_t n = *size < 2 ? 0 : (size_t)(*data)[0] | (size_t)(*data)[1] << 8;
    size_t skip = *size < 2 ? *size : 2;
    if (n > *size - skip) n = *size - skip;
    struct tide_bytes b = {*data + skip, n};
    *data += skip + n;
    *size -= skip + n;
    return b;
}

static void convert(const struct tide_descriptor *had, const struct tide_descriptor *now,
                    struct tide_bytes value)
{
    char why[TIDE_DESCRIPTOR_WHY] = "";
    struct tide_buf out;
    tide_buf_init(&out, (size_t)1 << 20);
    int rc = tide_descriptor_convert(had, now, value, &out, why);
    if (rc && !why[0]) abort();
    if (!rc && out.len > value.len * 2 + 16) abort(); /* only lengths may take more bytes */
    tide_buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tide_bytes first = part(&data, &size), second = part(&data, &size);
    struct tide_descriptor *had = NULL, *now = NULL;
    char why[TIDE_DESCRIPTOR_WHY] = "";
    int rc = tide_descriptor_open(first, tide_bytes_of("a.T"), &had, why);
    if (!rc) rc = tide_descriptor_open(second, tide_bytes_of("a.T"), &now, why);
    if (rc && !why[0]) abort();
    if (!rc) {
        rc = tide_descriptor_compare(had, now, why);
        if (rc < 0 && !why[0]) abort();
        if (rc == 1) convert(had, now, (struct tide_bytes){data, size});
        if (tide_descriptor_compare(now, now, why) < 0 && why[0] == '\0') abort();
    }
    tide_descriptor_close(had);
    tide_descriptor_close(now);
    return 0;
}
