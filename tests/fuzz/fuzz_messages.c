/* Unpacking anything as any message: never more memory than the arena's maximum, and what was
 * unpacked packs again. The first byte of the input chooses the message, above those a Hello. */
#include <stdlib.h>

#include "daemon/core/core.h"
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
#define TYPES (sizeof types / sizeof types[0])

/* The first frame of a connection: welcomed or refused, and one frame says which. */
static void hello(struct tide_bytes frame)
{
    const struct hello_config config = {.secret = {(const uint8_t *)"secret", 6}};
    struct peer peer = {TIDE__PEER_KIND__PEER_UNSPECIFIED, 0};
    struct tide_buf reply;
    char why[160];
    tide_buf_init(&reply, 4096);
    bool welcome = hello_check(&config, frame, &peer, &reply, why);
    if (reply.rc || reply.len <= 4 || tide_get_u32(reply.data) != reply.len - 4) abort();
    if (welcome != (why[0] == '\0') || welcome != (peer.kind != TIDE__PEER_KIND__PEER_UNSPECIFIED))
        abort();
    tide_buf_release(&reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const ProtobufCMessageDescriptor *type;
    struct tide_arena arena;
    int rc;

    if (size == 0) return 0;
    if (data[0] >= 0x80) {
        hello((struct tide_bytes){data + 1, size - 1});
        return 0;
    }
    type = types[data[0] % TYPES];
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
