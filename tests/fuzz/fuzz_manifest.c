/* A manifest from anywhere. The digest at its end is made right, or nothing behind it would be
 * seen.
 *
 * Input: the image without its digest; or, when it does not begin like one, its parts: two bytes of
 * length and the head, then chunks, each behind two bytes of length as well. Of these the image is
 * made as the daemon makes it, in both ways that it has. */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "proto/err.h"
#include "storage/manifest.h"

#define CHUNKS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void open_and_walk(struct tide_bytes image)
{
    char why[256] = "";
    struct tide_manifest m;
    struct tide_manifest_walk walk = {0};
    struct tide_ack_view ack;
    uint64_t tasks = 0;
    int rc = tide_manifest_open(&m, image, why);
    if (rc && why[0] == '\0') abort();
    if (rc) return;
    for (; tide_manifest_next(&m, &walk, &ack); tasks++)
        if (ack.task >= m.head->tasks) abort();
    if (tasks > m.head->tasks) abort();
    tide_manifest_close(&m);
}

static struct tide_bytes take(struct tide_bytes *in)
{
    struct tide_bytes part = {0};
    if (in->len < 2) return part;
    part.len = in->data[0] | (size_t)in->data[1] << 8;
    if (part.len > in->len - 2) part.len = in->len - 2;
    part.data = in->data + 2;
    in->data += 2 + part.len;
    in->len -= 2 + part.len;
    return part;
}

/* A chunk is a run of batches, each behind four bytes of length: here one. */
static void from_parts(struct tide_bytes in)
{
    struct tide_bytes head = take(&in), chunks[CHUNKS_MAX];
    struct tide_buf bodies[CHUNKS_MAX], image;
    uint8_t digest[16];
    uint64_t len;
    size_t n = 0;
    for (; n < CHUNKS_MAX && in.len >= 2; n++) {
        struct tide_bytes batch = take(&in);
        tide_buf_init(&bodies[n], batch.len + 4);
        tide_buf_put_u32(&bodies[n], (uint32_t)batch.len);
        tide_buf_put(&bodies[n], batch.data, batch.len);
        chunks[n] = (struct tide_bytes){bodies[n].data, bodies[n].len};
    }
    tide_buf_init(&image, (size_t)1 << 30);
    tide_manifest_put(&image, head, chunks, n);
    tide_manifest_digest(head, chunks, n, digest, &len);
    if (image.rc || image.len != len || memcmp(image.data + len - 16, digest, 16) != 0) abort();
    open_and_walk((struct tide_bytes){image.data, image.len});
    for (size_t i = 0; i < n; i++)
        tide_buf_release(&bodies[i]);
    tide_buf_release(&image);
}

static void as_it_is(struct tide_bytes in)
{
    uint8_t *image = malloc(in.len + 16);
    if (!image) return;
    memcpy(image, in.data, in.len);
    XXH128_hash_t digest = XXH3_128bits(image, in.len);
    tide_set_u64(image + in.len, digest.low64);
    tide_set_u64(image + in.len + 8, digest.high64);
    open_and_walk((struct tide_bytes){image, in.len + 16});
    free(image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    if (data[0] == 'T')
        as_it_is((struct tide_bytes){data, size});
    else
        from_parts((struct tide_bytes){data, size});
    return 0;
}
