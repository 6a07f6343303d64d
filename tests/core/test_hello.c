/* The first frame of a connection: who is welcomed, and what the others are told. */
#include <check.h>
#include <stdio.h>

#include "daemon/core/internal.h"
#include "tests/core/lib_play.h"

static const struct row {
    const char *what;
    Tide__PeerKind kind;
    uint32_t least, most; /* versions that are offered */
    const char *secret, *software;
    const char *want; /* the daemon's secret */
    const char *why;  /* NULL: welcome */
    Tide__RefusedCode code;
    uint32_t version;
} rows[] = {
    {"a worker", TIDE__PEER_KIND__PEER_WORKER, 1, TIDE_PROTOCOL_MAX, "", "lib", "", NULL, 0,
     TIDE_PROTOCOL_MAX},
    {"an admin", TIDE__PEER_KIND__PEER_ADMIN, 1, TIDE_PROTOCOL_MAX, "", "cli", "", NULL, 0,
     TIDE_PROTOCOL_MAX},
    {"one that knows more than we", TIDE__PEER_KIND__PEER_WORKER, 1, 999, "", "", "", NULL, 0,
     TIDE_PROTOCOL_MAX},
    {"one that knows less", TIDE__PEER_KIND__PEER_ADMIN, 1, 1, "", "", "", NULL, 0, 1},
    {"neither", 7, 1, 1, "", "", "", "Hello.kind is 7: neither worker (1) nor admin (2)",
     TIDE__REFUSED_CODE__REFUSED_MALFORMED, 0},
    {"one from the future", TIDE__PEER_KIND__PEER_WORKER, 900, 999, "", "", "",
     "protocol versions 900 to 999 are offered, this daemon speaks 1 to 2",
     TIDE__REFUSED_CODE__REFUSED_VERSION, 0},
    {"one from before all versions", TIDE__PEER_KIND__PEER_ADMIN, 0, 0, "", "", "",
     "protocol versions 0 to 0 are offered, this daemon speaks 1 to 2",
     TIDE__REFUSED_CODE__REFUSED_VERSION, 0},
    {"no versions at all", TIDE__PEER_KIND__PEER_WORKER, 2, 1, "", "", "",
     "protocol versions 2 to 1 are offered, this daemon speaks 1 to 2",
     TIDE__REFUSED_CODE__REFUSED_VERSION, 0},
    {"the secret", TIDE__PEER_KIND__PEER_WORKER, 1, 2, "open", "", "open", NULL, 0,
     TIDE_PROTOCOL_MAX},
    {"none where one is needed", TIDE__PEER_KIND__PEER_ADMIN, 1, 2, "", "", "open",
     "a secret is needed: give the daemon's secret file", TIDE__REFUSED_CODE__REFUSED_SECRET, 0},
    {"another", TIDE__PEER_KIND__PEER_ADMIN, 1, 2, "opem", "", "open",
     "the secret is wrong: compare the secret files of both sides",
     TIDE__REFUSED_CODE__REFUSED_SECRET, 0},
    {"its beginning", TIDE__PEER_KIND__PEER_WORKER, 1, 2, "ope", "", "open",
     "the secret is wrong: compare the secret files of both sides",
     TIDE__REFUSED_CODE__REFUSED_SECRET, 0},
    {"it again and again", TIDE__PEER_KIND__PEER_WORKER, 1, 2, "openopen", "", "open",
     "the secret is wrong: compare the secret files of both sides",
     TIDE__REFUSED_CODE__REFUSED_SECRET, 0},
    {"one where none is needed", TIDE__PEER_KIND__PEER_WORKER, 1, 2, "open", "", "", NULL, 0,
     TIDE_PROTOCOL_MAX},
    {"a long name", TIDE__PEER_KIND__PEER_WORKER, 1, 2, "",
     "0123456789012345678901234567890123456789012345678901234567890123456789", "",
     "Hello.software is not a text of at most 64 bytes", TIDE__REFUSED_CODE__REFUSED_MALFORMED, 0},
    {"a name that is no text", TIDE__PEER_KIND__PEER_ADMIN, 1, 2, "", "\xff\xfe", "",
     "Hello.software is not a text of at most 64 bytes", TIDE__REFUSED_CODE__REFUSED_MALFORMED, 0},
};

static struct hello_config config_of(const char *secret)
{
    struct hello_config config = {.incarnation = 9, .nonce = 5, .secret = tide_bytes_of(secret)};
    memset(config.store_id.b, 3, 16);
    return config;
}

static void expect_welcome(const struct row *row, struct tide_bytes reply)
{
    Tide__Welcome *m;
    Tide__ToWorker *worker = NULL;
    Tide__Response *admin = NULL;
    if (row->kind == TIDE__PEER_KIND__PEER_ADMIN) {
        admin = tide__response__unpack(NULL, reply.len, reply.data);
        ck_assert_int_eq(admin->result_case, TIDE__RESPONSE__RESULT_WELCOME);
        m = admin->welcome;
    } else {
        worker = tide__to_worker__unpack(NULL, reply.len, reply.data);
        ck_assert_int_eq(worker->msg_case, TIDE__TO_WORKER__MSG_WELCOME);
        m = worker->welcome;
    }
    ck_assert_uint_eq(m->version, row->version);
    ck_assert_uint_eq(m->incarnation, 9);
    ck_assert_uint_eq(m->nonce, 5);
    ck_assert_uint_eq(m->store_id.len, 16);
    ck_assert_uint_eq(m->frame_max, TIDE_FRAME_MAX);
    if (admin) tide__response__free_unpacked(admin, NULL);
    if (worker) tide__to_worker__free_unpacked(worker, NULL);
}

static void expect_refused(const struct row *row, struct tide_bytes reply)
{
    Tide__Refused *m;
    Tide__ToWorker *worker = NULL;
    Tide__Response *admin = NULL;
    if (row->kind == TIDE__PEER_KIND__PEER_ADMIN) {
        admin = tide__response__unpack(NULL, reply.len, reply.data);
        ck_assert_int_eq(admin->result_case, TIDE__RESPONSE__RESULT_REFUSED);
        m = admin->refused;
    } else {
        worker = tide__to_worker__unpack(NULL, reply.len, reply.data);
        ck_assert_int_eq(worker->msg_case, TIDE__TO_WORKER__MSG_REFUSED);
        m = worker->refused;
    }
    ck_assert_int_eq(m->code, row->code);
    ck_assert_uint_eq(m->reason.len, strlen(row->why));
    ck_assert_mem_eq(m->reason.data, row->why, m->reason.len);
    if (admin) tide__response__free_unpacked(admin, NULL);
    if (worker) tide__to_worker__free_unpacked(worker, NULL);
}

START_TEST(each_row)
{
    const struct row *row = &rows[_i];
    struct hello_config config = config_of(row->want);
    Tide__Hello hello = TIDE__HELLO__INIT;
    Tide__FromWorker message = TIDE__FROM_WORKER__INIT; /* a Request's first field is the same */
    struct peer peer = {0};
    struct tide_buf reply;
    char why[160];
    uint8_t packed[512];
    hello.kind = row->kind;
    hello.version_min = row->least;
    hello.version_max = row->most;
    hello.secret = play_bytes(row->secret);
    hello.software = play_bytes(row->software);
    message.msg_case = TIDE__FROM_WORKER__MSG_HELLO;
    message.hello = &hello;
    size_t len = tide__from_worker__pack(&message, packed);
    tide_buf_init(&reply, TIDE_FRAME_MAX);
    bool welcome = hello_check(&config, (struct tide_bytes){packed, len}, &peer, &reply, why);
    struct tide_bytes body = {reply.data + 4, reply.len - 4}; /* behind its length */
    ck_assert_int_eq(reply.rc, 0);
    ck_assert_uint_eq(tide_get_u32(reply.data), body.len);
    ck_assert_msg(welcome == !row->why, "%s: %s", row->what, why);
    if (row->why) {
        ck_assert_str_eq(why, row->why);
        expect_refused(row, body);
    } else {
        expect_welcome(row, body);
        ck_assert_int_eq(peer.kind, row->kind);
        ck_assert_uint_eq(peer.version, row->version);
    }
    tide_buf_release(&reply);
}
END_TEST

static void refused(const ProtobufCMessage *m, const char *text)
{
    struct hello_config config = config_of("");
    struct peer peer = {0};
    struct tide_buf reply;
    char why[160];
    uint8_t packed[512];
    size_t len = m ? protobuf_c_message_pack(m, packed) : 3;
    if (!m) memcpy(packed, "\xff\xff\xff", 3);
    tide_buf_init(&reply, TIDE_FRAME_MAX);
    ck_assert(!hello_check(&config, (struct tide_bytes){packed, len}, &peer, &reply, why));
    ck_assert_str_eq(why, text);
    ck_assert_uint_gt(reply.len, 4);
    tide_buf_release(&reply);
}

/* What is no Hello, or more than one: a worker that has sent more than it may know already is not
 * read on, since what it speaks is not agreed upon; an admin's request may have its id beside it.
 */
START_TEST(something_else_comes_first)
{
    Tide__Hello hello = TIDE__HELLO__INIT;
    Tide__Request request = TIDE__REQUEST__INIT;
    Tide__ListJobs list = TIDE__LIST_JOBS__INIT;
    refused(NULL, "the first frame is not a Hello");
    request.call_case = TIDE__REQUEST__CALL_LIST_JOBS;
    request.list_jobs = &list;
    refused(&request.base, "the first frame is not a Hello");
    hello.kind = TIDE__PEER_KIND__PEER_WORKER;
    hello.version_min = hello.version_max = 1;
    request.call_case = TIDE__REQUEST__CALL_HELLO;
    request.hello = &hello;
    request.id = 7;
    refused(&request.base, "the first frame of a worker is not a Hello alone");
}
END_TEST

ROWS_MAIN("hello", each_row, sizeof rows / sizeof *rows, something_else_comes_first)
