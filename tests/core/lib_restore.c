/* What tests of orders to restore share. */
#include "tests/core/lib_restore.h"

#include "proto/graph.h"
#include "storage/manifest.h"

const struct job_options order_job = {
    .sources = 2, .sinks = 1, .interval_ms = 100, .deadline_ms = 60000, .retained = 3};
const struct join_options order_whole = {.count = 3, .worker = "w", .pid = 10};

Tide__RestoreJob order;

Tide__RestoreJob *order_restore(void)
{
    tide__restore_job__init(&order);
    order.job = play_bytes("job");
    order.who = play_bytes("me@here");
    return &order;
}

Tide__RestoreJob *order_from(uint64_t snapshot)
{
    Tide__RestoreJob *m = order_restore();
    m->from_case = TIDE__RESTORE_JOB__FROM_SNAPSHOT;
    m->snapshot = snapshot;
    return m;
}

Tide__RestoreJob *order_in(const char *directory)
{
    Tide__RestoreJob *m = order_restore();
    m->from_case = TIDE__RESTORE_JOB__FROM_DIRECTORY;
    m->directory = play_bytes(directory);
    return m;
}

void order_outcome(struct play *p, const char *lines)
{
    play_settle(p);
    play_forget(p);
    play_ask_operation(p, 100, p->operation);
    play_expect(p, lines);
}

uint64_t order_checkpoint(struct play *p)
{
    uint64_t before = p->round;
    while (p->round == before)
        play_wait(p, 10);
    for (uint32_t t = 0; t < 3; t++)
        play_ack(p, 1, p->attempt, p->round, t);
    play_settle(p);
    play_confirm(p, 1, p->round, 0, 3);
    play_settle(p);
    play_forget(p);
    return p->round;
}

void order_running(struct play *p)
{
    play_running(p, &order_job);
    play_open(p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    for (uint64_t n = 1; n <= 3; n++)
        ck_assert_uint_eq(order_checkpoint(p), n);
    p->elsewhere = shelf_image(&p->shelf, 3);
}

void order_back(struct play *p, uint64_t session)
{
    if (session != 1) play_open(p, session, TIDE__PEER_KIND__PEER_WORKER);
    play_join(p, session, &order_job, &order_whole);
    play_settle(p);
    play_restored(p, session, 0, 3);
    play_settle(p);
}

/* The sources have keys and lists by libtidemark-state, the sink has bytes of its own. */
static void put_named_acks(struct tide_buf *out, uint64_t attempt, uint64_t round)
{
    static const char *const names[2] = {"state.keyed", "state.own"};
    struct tide_ack_builder b;
    struct tide_ack_file file = {100, 1, 2};
    struct tide_buf batch;
    tide_ack_builder_init(&b, 4096);
    tide_ack_builder_add(&b, 2, 1, 2, 3, &file, 1);
    for (uint32_t t = 0; t < 2; t++) {
        uint8_t packed[256];
        Tide__TaskAck ack;
        Tide__Artifact items[2], *list[2] = {&items[0], &items[1]};
        tide__task_ack__init(&ack);
        for (int i = 0; i < 2; i++) {
            tide__artifact__init(list[i]);
            items[i].size = 100;
            items[i].name = play_bytes(names[i]);
        }
        tide_key_group_range(t, 2, 128, &items[0].key_group_first, &items[0].key_group_count);
        ack.task = t;
        ack.n_artifacts = 2;
        ack.artifacts = list;
        size_t len = tide__task_ack__pack(&ack, packed);
        tide_ack_builder_add_full(&b, (struct tide_bytes){packed, len});
    }
    tide_buf_init(&batch, 4096);
    tide_ack_builder_put(&b, attempt, round, &batch);
    tide_buf_put_u32(out, (uint32_t)batch.len);
    tide_buf_put(out, batch.data, batch.len);
    ck_assert_int_eq(out->rc, 0);
    tide_buf_release(&batch);
    tide_ack_builder_release(&b);
}

struct tide_bytes image_changed(struct tide_bytes image, unsigned how)
{
    static uint8_t head[4096];
    struct tide_manifest m;
    struct tide_buf out;
    char why[256];
    Tide__TaskRange ended = TIDE__TASK_RANGE__INIT, *ranges[1] = {&ended};
    ck_assert_int_eq(tide_manifest_open(&m, image, why), 0);
    if (how & OTHER_STORE) m.head->store_id.data[0] ^= 1;
    if (how & OTHER_MAX) m.head->spec->operators[0]->max_parallelism = 512;
    if (how & OTHER_UID) m.head->spec->operators[1]->uid.data[0] = 'c';
    if (how & OTHER_UID) m.head->spec->edges[0]->to.data[0] = 'c';
    if (how & NO_EDGE) m.head->spec->n_edges = 0;
    if (how & NO_KIND) m.head->kind = 0;
    if (how & (ENDED_SINK | ENDED_SOURCE)) {
        ended.first = how & ENDED_SINK ? 2 : 0;
        ended.count = 1;
        m.head->n_ending = 1;
        m.head->ending = ranges;
    }
    ck_assert_uint_le(tide__manifest_head__get_packed_size(m.head), sizeof head);
    size_t len = tide__manifest_head__pack(m.head, head);
    struct tide_buf named;
    tide_buf_init(&named, 4096);
    put_named_acks(&named, m.head->attempt, m.head->round);
    struct tide_bytes acks = how & NAMED ? (struct tide_bytes){named.data, named.len} : m.acks;
    tide_buf_init(&out, 1 << 20);
    tide_manifest_put(&out, (struct tide_bytes){head, len}, &acks, 1);
    ck_assert_int_eq(out.rc, 0);
    tide_buf_release(&named);
    tide_manifest_close(&m);
    return (struct tide_bytes){out.data, out.len};
}

struct tide_bytes image_foreign(unsigned how)
{
    static struct play other;
    order_running(&other);
    struct tide_bytes image = image_changed(other.elsewhere, how | OTHER_STORE);
    play_end(&other);
    return image;
}

void image_drop(struct play *p)
{
    free((void *)(uintptr_t)p->elsewhere.data);
    play_end(p);
}
