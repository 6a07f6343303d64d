/* The opening exchange: checks a client's first frame. */
#include <stdio.h>

#include "daemon/core/internal.h"

static bool refuse(struct tide_buf *reply, Tide__PeerKind kind, Tide__RefusedCode code,
                   const char *why)
{
    Tide__Refused refused = TIDE__REFUSED__INIT;
    refused.code = code;
    refused.reason = PB(VIEW(why));
    if (kind == TIDE__PEER_KIND__PEER_ADMIN) {
        Tide__Response response = TIDE__RESPONSE__INIT;
        response.result_case = TIDE__RESPONSE__RESULT_REFUSED;
        response.refused = &refused;
        tide_frame_put(reply, &response.base);
    } else {
        Tide__ToWorker message = TIDE__TO_WORKER__INIT;
        message.msg_case = TIDE__TO_WORKER__MSG_REFUSED;
        message.refused = &refused;
        tide_frame_put(reply, &message.base);
    }
    return false;
}

static void welcome(const struct hello_config *config, struct peer peer, struct tide_buf *reply)
{
    Tide__Welcome m = TIDE__WELCOME__INIT;
    m.version = peer.version;
    m.store_id = PB(((struct tide_bytes){config->store_id.b, 16}));
    m.incarnation = config->incarnation;
    m.nonce = config->nonce;
    m.frame_max = TIDE_FRAME_MAX;
    if (peer.kind == TIDE__PEER_KIND__PEER_ADMIN) {
        Tide__Response response = TIDE__RESPONSE__INIT;
        response.result_case = TIDE__RESPONSE__RESULT_WELCOME;
        response.welcome = &m;
        tide_frame_put(reply, &response.base);
    } else {
        Tide__ToWorker message = TIDE__TO_WORKER__INIT;
        message.msg_case = TIDE__TO_WORKER__MSG_WELCOME;
        message.welcome = &m;
        tide_frame_put(reply, &message.base);
    }
}

/* Takes the same time wherever the first difference is. */
static bool same_secret(struct tide_bytes want, struct tide_bytes got)
{
    core_assert(want.len > 0);
    uint8_t difference = want.len != got.len;
    for (size_t i = 0; i < got.len; i++)
        difference |= (uint8_t)(got.data[i] ^ want.data[i % want.len]);
    return difference == 0;
}

bool hello_check(const struct hello_config *config, struct tide_bytes frame, struct peer *ret_peer,
                 struct tide_buf *reply, char why[static 160])
{
    struct tide_arena arena;
    Tide__RefusedCode code = TIDE__REFUSED_CODE__REFUSED_MALFORMED;
    struct peer peer = {TIDE__PEER_KIND__PEER_UNSPECIFIED, 0};
    tide_arena_init(&arena, 256u << 10);
    /* field 1 of FromWorker and of Request alike; a Request may have more beside it */
    const Tide__Request *m = tide_unpack(&arena, &tide__request__descriptor, frame, NULL);
    const Tide__Hello *hello = m && m->call_case == TIDE__REQUEST__CALL_HELLO ? m->hello : NULL;
    struct tide_bytes content;
    why[0] = '\0';
    if (!hello) {
        snprintf(why, 160, "the first frame is not a Hello");
    } else if (hello->kind != TIDE__PEER_KIND__PEER_WORKER &&
               hello->kind != TIDE__PEER_KIND__PEER_ADMIN) {
        snprintf(why, 160, "Hello.kind is %d: neither worker (1) nor admin (2)", (int)hello->kind);
    } else if (hello->kind == TIDE__PEER_KIND__PEER_WORKER &&
               tide_frame_peek(frame, &content) != 1) {
        snprintf(why, 160, "the first frame of a worker is not a Hello alone");
    } else if (hello->version_min > TIDE_PROTOCOL_MAX || hello->version_max < TIDE_PROTOCOL_MIN ||
               hello->version_min > hello->version_max) {
        snprintf(why, 160, "protocol versions %u to %u are offered, this daemon speaks %u to %u",
                 hello->version_min, hello->version_max, TIDE_PROTOCOL_MIN, TIDE_PROTOCOL_MAX);
        code = TIDE__REFUSED_CODE__REFUSED_VERSION;
    } else if (config->secret.len && !same_secret(config->secret, UNPB(hello->secret))) {
        snprintf(why, 160,
                 hello->secret.len ? "the secret is wrong: compare the secret files of both sides"
                                   : "a secret is needed: give the daemon's secret file");
        code = TIDE__REFUSED_CODE__REFUSED_SECRET;
    } else if (hello->software.len > 64 || !tide_text_valid(UNPB(hello->software))) {
        snprintf(why, 160, "Hello.software is not a text of at most 64 bytes");
    }
    if (hello) {
        peer.kind = hello->kind;
        peer.version =
            hello->version_max < TIDE_PROTOCOL_MAX ? hello->version_max : TIDE_PROTOCOL_MAX;
    }
    tide_arena_release(&arena);
    if (why[0]) return refuse(reply, peer.kind, code, why);
    *ret_peer = peer;
    welcome(config, peer, reply);
    return true;
}
