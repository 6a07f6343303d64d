/* Unpacking anything as any message: never more memory than the arena's maximum, and what was
 * unpacked packs again. The first byte of the input chooses the message. */
#include <stdlib.h>

#include "proto/admin.pb-c.h"
#include "proto/arena.h"
#include "proto/err.h"
#include "proto/manifest.pb-c.h"
#include "proto/worker.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const ProtobufCMessageDescriptor *const types[] = {
    &tide__from_worker__descriptor,  &tide__to_worker__descriptor, &tide__request__descriptor,
    &tide__response__descriptor,     &tide__join__descriptor,      &tide__start__descriptor,
    &tide__manifest_head__descriptor};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const ProtobufCMessageDescriptor *type;
    struct tide_arena arena;
    int rc;

    if (size == 0) return 0;
    type = types[data[0] % (sizeof types / sizeof types[0])];
    tide_arena_init(&arena, TIDE_ARENA_MAX);
    ProtobufCMessage *m = tide_unpack(&arena, type, (struct tide_bytes){data + 1, size - 1}, &rc);
    if (arena.used > TIDE_ARENA_MAX) abort();
    if (m == NULL && rc != TIDE_EPROTO && rc != TIDE_ETOOBIG) abort();
    if (m) {
        size_t len = protobuf_c_message_get_packed_size(m);
        uint8_t *packed = malloc(len ? len : 1);
        if (packed == NULL || protobuf_c_message_pack(m, packed) != len) abort();
        free(packed);
    }
    tide_arena_release(&arena);
    return 0;
}
