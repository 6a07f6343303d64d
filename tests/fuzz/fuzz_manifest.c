/* A manifest from anywhere. The digest at its end is made right, or nothing behind it would be
 * seen. */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "proto/err.h"
#include "storage/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char why[256] = "";
    struct tide_manifest m;
    uint8_t *image = malloc(size + 16);
    if (!image) return 0;
    if (size) memcpy(image, data, size);
    XXH128_hash_t digest = XXH3_128bits(image, size);
    tide_set_u64(image + size, digest.low64);
    tide_set_u64(image + size + 8, digest.high64);
    int rc = tide_manifest_open(&m, (struct tide_bytes){image, size + 16}, why);
    if (rc && why[0] == '\0') abort();
    if (rc == 0) {
        struct tide_manifest_walk walk = {0};
        struct tide_ack_view ack;
        uint64_t tasks = 0;
        for (; tide_manifest_next(&m, &walk, &ack); tasks++)
            if (ack.task >= m.head->tasks) abort();
        if (tasks > m.head->tasks) abort();
        tide_manifest_close(&m);
    }
    free(image);
    return 0;
}
