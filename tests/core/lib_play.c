/* See lib_play.h: a core's life, and the host's answers. */
#include "tests/core/lib_play_impl.h"

static uint64_t shift(uint64_t *list, size_t *n)
{
    ck_assert_msg(*n > 0, "nothing of the kind was asked");
    uint64_t tag = list[0];
    memmove(list, list + 1, --*n * sizeof *list);
    return tag;
}
/* The outcome of the oldest that is awaited: those that ride go with it. */
static void shelve(struct play *p, enum tide_outcome outcome)
{
    for (bool last = false; p->held && !last;) {
        struct tide_commit *c = p->held;
        p->held = c->next;
        if (!p->held) p->held_end = &p->held;
        last = c->awaited;
        if (last ? outcome == TIDE_STORED : !p->rides_lost) shelf_apply(&p->shelf, c);
        tide_commit_free(c);
    }
}

static void unhold(struct play *p)
{
    while (p->held) {
        struct tide_commit *c = p->held;
        p->held = c->next;
        tide_commit_free(c);
    }
    p->held_end = &p->held;
}
void play_step(struct play *p, struct event ev)
{
    ev.now_us = p->now_us;
    ev.wall_us = p->wall_us;
    core_step(p->core, &ev, &p->todo);
    play_say_actions(p);
}
/* ---- life */

struct core_config play_config = {.state_root = "/state",
                                  .savepoint_root = "/savepoints",
                                  .store_timeout_us = 30000000,
                                  .jobs_max = 100,
                                  .workers_max = 1000,
                                  .join_memory = 3 << 20,
                                  .software = "test"};

void play_start(struct play *p)
{
    memset(p, 0, sizeof *p);
    p->now_us = 1000000000;
    p->wall_us = UINT64_C(1700000000000000);
    p->held_end = &p->held;
    shelf_init(&p->shelf);
    p->shelf.incarnations[p->shelf.n_incarnations++] = (struct tide_catalog_incarnation){1000, 77};
    actions_init(&p->todo);
    p->incarnations[0] = (struct tide_catalog_incarnation){1000, 77};
    p->catalog = (struct tide_catalog){
        .incarnation = 1000, .nonce = 77, .incarnations = p->incarnations, .n_incarnations = 1};
    memset(p->catalog.store_id.b, 5, 16);
    p->core = core_new(&play_config, &p->catalog, 1);
    play_step(p, (struct event){.type = EV_START});
    play_stored(p, TIDE_STORED); /* the ids */
    play_forget(p);
}

void play_restart(struct play *p, struct tide_catalog *catalog)
{
    core_free(p->core);
    unhold(p);
    p->n_commits = p->n_files = p->n_loads = p->n_sents = 0;
    p->now_us += 1000000;
    if (catalog->n_jobs) memcpy(p->job_id, catalog->jobs[0].id.b, sizeof p->job_id);
    p->core = core_new(&play_config, catalog, 2);
    p->stopped = false;
    play_forget(p);
    play_step(p, (struct event){.type = EV_START});
}

void play_crash(struct play *p)
{
    uint64_t last = p->shelf.incarnations[p->shelf.n_incarnations - 1].number;
    struct tide_catalog catalog = shelf_catalog(&p->shelf, last + 1000, last + 77);
    char why[512];
    ck_assert_int_eq(core_check_catalog(&catalog, why), 0);
    play_restart(p, &catalog);
}

void play_end(struct play *p)
{
    core_free(p->core);
    unhold(p);
    shelf_release(&p->shelf);
    actions_release(&p->todo);
    free(p->image);
}

void play_expect(struct play *p, const char *lines)
{
    ck_assert_str_eq(p->trace, lines);
    play_forget(p);
}

void play_expect_among(struct play *p, const char *const *lines, size_t n)
{
    const char *at = p->trace;
    for (size_t i = 0; i < n; i++) {
        at = strstr(at, lines[i]);
        ck_assert_msg(at, "\"%s\" is not in its place in:\n%s", lines[i], p->trace);
        at += strlen(lines[i]);
    }
    play_forget(p);
}

void play_forget(struct play *p)
{
    p->traced = 0;
    p->trace[0] = '\0';
}

void play_open_version(struct play *p, uint64_t session, Tide__PeerKind kind, uint32_t version)
{
    play_step(p, (struct event){.type = EV_OPEN, .session = session, .peer = {kind, version}});
}

void play_open(struct play *p, uint64_t session, Tide__PeerKind kind)
{
    play_open_version(p, session, kind, TIDE_PROTOCOL_MAX);
}

void play_open_old(struct play *p, uint64_t session, Tide__PeerKind kind, uint32_t version)
{
    play_step(p, (struct event){.type = EV_OPEN, .session = session, .peer = {kind, version}});
}

void play_close(struct play *p, uint64_t session)
{
    play_step(p, (struct event){.type = EV_CLOSED, .session = session, .text = "connection reset"});
}
/* ---- answers */

void play_stored(struct play *p, enum tide_outcome outcome)
{
    shelve(p, outcome);
    play_step(p, (struct event){.type = EV_STORED,
                                .tag = shift(p->commits, &p->n_commits),
                                .outcome = outcome,
                                .text = outcome == TIDE_STORED ? NULL : "a reason"});
}

void play_not_filed(struct play *p, int rc, const char *why)
{
    struct tide_bytes read = {0};
    if (p->n_files && p->file_ops[0] == FILE_META_READ && !rc) read = p->elsewhere;
    memmove(p->file_ops, p->file_ops + 1, sizeof p->file_ops - sizeof *p->file_ops);
    play_step(p, (struct event){.type = EV_FILE,
                                .tag = shift(p->files, &p->n_files),
                                .rc = rc,
                                .text = why,
                                .bytes = read,
                                .place = rc ? NULL : p->place});
}

void play_copied(struct play *p, uint64_t artifact, uint64_t offset, uint64_t bytes)
{
    struct tide_buf b;
    tide_buf_init(&b, 24);
    tide_buf_put_u64(&b, artifact);
    tide_buf_put_u64(&b, offset);
    tide_buf_put_u64(&b, bytes);
    memmove(p->file_ops, p->file_ops + 1, sizeof p->file_ops - sizeof *p->file_ops);
    play_step(p, (struct event){.type = EV_FILE,
                                .tag = shift(p->files, &p->n_files),
                                .rc = TIDE_EAGAIN,
                                .bytes = {b.data, b.len}});
    tide_buf_release(&b);
}

void play_filed(struct play *p, int rc)
{
    play_not_filed(p, rc, rc ? "a reason" : NULL);
}

void play_loaded(struct play *p)
{
    struct tide_bytes image = shelf_image(&p->shelf, p->load_rounds[0]);
    if (!image.data) image = (struct tide_bytes){p->image, p->image_len};
    memmove(p->load_rounds, p->load_rounds + 1, (p->n_loads - 1) * sizeof *p->load_rounds);
    play_step(p, (struct event){
                     .type = EV_MANIFEST, .tag = shift(p->loads, &p->n_loads), .bytes = image});
}

void play_not_loaded(struct play *p, int rc)
{
    memmove(p->load_rounds, p->load_rounds + 1, (p->n_loads - 1) * sizeof *p->load_rounds);
    play_step(p, (struct event){.type = EV_MANIFEST,
                                .tag = shift(p->loads, &p->n_loads),
                                .rc = rc,
                                .text = "a reason"});
}

void play_sent(struct play *p)
{
    play_step(p, (struct event){.type = EV_SENT, .tag = shift(p->sents, &p->n_sents)});
}

void play_wait(struct play *p, uint64_t ms)
{
    uint64_t until = p->now_us + ms * 1000;
    while (!p->stopped && core_deadline(p->core) <= until) {
        if (core_deadline(p->core) > p->now_us) {
            p->wall_us += core_deadline(p->core) - p->now_us;
            p->now_us = core_deadline(p->core);
        }
        play_step(p, (struct event){.type = EV_TIMER});
    }
    p->wall_us += until - p->now_us;
    p->now_us = until;
}

void play_shutdown(struct play *p)
{
    play_step(p, (struct event){.type = EV_SHUTDOWN});
}

void play_settle(struct play *p)
{
    while (!p->stopped && (p->n_commits || p->n_files || p->n_loads || p->n_sents)) {
        if (p->n_commits)
            play_stored(p, TIDE_STORED);
        else if (p->n_files)
            play_filed(p, 0);
        else if (p->n_loads)
            play_loaded(p);
        else
            play_sent(p);
    }
}

void play_running(struct play *p, const struct job_options *job)
{
    play_start(p);
    play_open_old(p, 1, TIDE__PEER_KIND__PEER_WORKER, job->old ? 1 : TIDE_PROTOCOL_MAX);
    play_join(p, 1, job,
              &(struct join_options){.count = job->sources + job->sinks, .worker = "w", .pid = 10});
    play_settle(p);
    play_restored(p, 1, 0, job->sources + job->sinks);
    play_settle(p);
    play_forget(p);
}

void play_running_on_two(struct play *p, const struct job_options *job, uint32_t first_has)
{
    uint32_t rest = job->sources + job->sinks - first_has;
    play_start(p);
    play_open(p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(p, 1, job, &(struct join_options){.count = first_has, .worker = "w1", .pid = 10});
    play_open(p, 2, TIDE__PEER_KIND__PEER_WORKER);
    play_join(p, 2, job,
              &(struct join_options){.first = first_has, .count = rest, .worker = "w2", .pid = 11});
    play_settle(p);
    play_restored(p, 1, 0, first_has);
    play_restored(p, 2, first_has, rest);
    play_settle(p);
    play_forget(p);
}

const Tide__Gauges *play_gauges(struct play *p)
{
    static struct tide_arena arena;
    static bool made;
    Tide__Status status = TIDE__STATUS__INIT;
    if (!made) tide_arena_init(&arena, 1u << 20);
    made = true;
    tide_arena_reset(&arena);
    core_status(p->core, &arena, &status);
    ck_assert_uint_eq(status.n_jobs, 1);
    return status.jobs[0]->gauges;
}
