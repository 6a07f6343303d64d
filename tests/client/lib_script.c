/* Scripts: a worker's program, its trace, and the running of words; the daemon's words are in
 * lib_script_say.c. */
#include <ctype.h>
#include <linux/sockios.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "proto/barrier.h"
#include "tests/client/lib_script_impl.h"

struct script script;

/* ---- the trace */

/* The port, the place of files and every time are masked. */
static void mask(char *text)
{
    char *at, *end;
    if ((at = strstr(text, script.peer.address))) {
        memcpy(at, "ADDRESS", 7);
        memmove(at + 7, at + strlen(script.peer.address),
                strlen(at + strlen(script.peer.address)) + 1);
    }
    while ((at = strstr(text, script.dir))) {
        memcpy(at, "DIR", 3);
        memmove(at + 3, at + strlen(script.dir), strlen(at + strlen(script.dir)) + 1);
    }
    for (at = text; (end = strstr(at, " ms")); at = end + 3) {
        char *from = end;
        while (from > text && isdigit((unsigned char)from[-1]))
            from--;
        if (from == end) continue;
        *from = 'N';
        memmove(from + 1, end, strlen(end) + 1);
        end = from + 1;
    }
}

void script_note(const char *format, ...)
{
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    mask(line);
    size_t len = strlen(script.trace);
    ck_assert_uint_lt(len + strlen(line) + 2, sizeof script.trace);
    snprintf(script.trace + len, sizeof script.trace - len, "%s\n", line);
}

/* ---- the program */

const char *script_name_of(const struct tide_task *t)
{
    return t == script.task[0] ? "a" : "b";
}

static unsigned long long ull(uint64_t n)
{
    return n;
}

static int on_restore(struct tide_task *t, const struct tide_restore *r, void *user)
{
    char buf[64];
    (void)user;
    script_note("%s restore %llu%s", script_name_of(t), ull(r->snapshot), r->ended ? " ended" : "");
    for (uint32_t i = 0; i < r->n_states; i++) {
        struct tide_state_reader *reader;
        size_t n;
        int rc = tide_state_open(r, &r->states[i], &reader);
        if (rc) return rc;
        while (!(rc = tide_state_read(reader, buf, sizeof buf, &n)) && n)
            script_note("%s state %.*s", script_name_of(t), (int)n, buf);
        tide_state_close(reader);
        if (rc) return rc;
    }
    int rc = script_flight_restore(t, r);
    if (rc) return rc;
    return script.late ? TIDE_EAGAIN : 0;
}

static void on_run(struct tide_task *t, void *user)
{
    (void)user;
    script_note("%s run", script_name_of(t));
}

static int on_trigger(struct tide_task *t, uint64_t round, void *user)
{
    (void)user;
    script_note("%s trigger %llu", script_name_of(t), ull(round));
    return 0;
}

static void on_block(struct tide_task *t, uint32_t channel, bool blocked, void *user)
{
    (void)user;
    script_note("%s %s %u", script_name_of(t), blocked ? "block" : "unblock", channel);
}

static void on_forward(struct tide_task *t, const uint8_t barrier[TIDE_BARRIER_SIZE], void *user)
{
    (void)user;
    script_note("%s forward%s%s%s%s %u", script_name_of(t), barrier[8] & 2 ? " cancel" : "",
                barrier[8] & 4 ? " end" : "", barrier[8] & 1 ? " unaligned" : "",
                barrier[8] & 8 ? " counted" : "", barrier[0]);
    if (t != script.task[0] || script.flight) return;
    memcpy(script.barrier, barrier, sizeof script.barrier);
    (void)tide_task_barrier(script.task[1], 0, barrier);
    if (!script.hold) (void)tide_task_barrier(script.task[1], 1, barrier);
}

static int on_snapshot(struct tide_task *t, struct tide_snapshot *snapshot, void *user)
{
    (void)user;
    script_note("%s snapshot %llu%s", script_name_of(t), ull(tide_snapshot_round(snapshot)),
                tide_snapshot_is_savepoint(snapshot) ? " savepoint"
                : tide_snapshot_is_full(snapshot)    ? " full"
                                                     : "");
    (void)tide_snapshot_write(snapshot, script_name_of(t), 1);
    if (!script.defer) return script.snapshot_rc;
    script.given[t == script.task[1]] = snapshot;
    return TIDE_EAGAIN;
}

static int on_complete(struct tide_task *t, uint64_t round, const void *handle, size_t len,
                       void *user)
{
    (void)user;
    script_note("%s complete %llu%s%.*s", script_name_of(t), ull(round), handle ? " handle " : "",
                (int)len, handle ? (const char *)handle : "");
    int rc = script.complete_rc;
    if (script.once) script.complete_rc = 0;
    return rc;
}

static void on_abort(struct tide_task *t, uint64_t round, void *user)
{
    (void)user;
    script_note("%s abort %llu", script_name_of(t), ull(round));
}

static void on_ended(struct tide_task *t, void *user)
{
    (void)user;
    script_note("%s ended", script_name_of(t));
}

static void on_rewind(struct tide_task *t, const char *reason, void *user)
{
    (void)user;
    script_note("%s rewind: %s", script_name_of(t), reason);
}

static void on_stop(struct tide_task *t, const char *outcome, void *user)
{
    (void)user;
    script_note("%s stop: %s", script_name_of(t), outcome);
}

static void on_fenced(struct tide_task *t, bool fenced, void *user)
{
    (void)user;
    script_note("%s %s", script_name_of(t), fenced ? "fenced" : "unfenced");
}

static void on_subsumed(struct tide_task *t, uint64_t round, void *user)
{
    (void)user;
    script_note("%s subsumed %llu", script_name_of(t), ull(round));
}

static int on_drain(struct tide_task *t, uint64_t round, void *user)
{
    (void)user;
    script_note("%s drain %llu", script_name_of(t), ull(round));
    return script.drain_rc;
}

static void on_suspend(struct tide_task *t, bool suspended, void *user)
{
    (void)user;
    script_note("%s %s", script_name_of(t), suspended ? "stand still" : "go on");
}

static void on_position(struct tide_task *t, void *user)
{
    (void)user;
    script_note("%s position", script_name_of(t));
}

static void on_advance(struct tide_task *t, uint64_t attempt, void *user)
{
    (void)user;
    script_note("%s advance %llu", script_name_of(t), ull(attempt));
}

static void on_log(const char *text, void *user)
{
    (void)user;
    script_note("note %s", text);
}

static void open_worker(void)
{
    static const struct tide_callbacks callbacks = {
        on_restore, on_run,      on_trigger, on_block, on_forward, on_snapshot, on_complete,
        on_abort,   on_ended,    on_rewind,  on_stop,  on_fenced,  on_subsumed, on_drain,
        on_suspend, on_position, NULL,       NULL,     on_advance};
    struct tide_callbacks flying = callbacks;
    flying.overtake_input = script_flight_input;
    flying.overtake_output = script_flight_output;
    const struct tide_callbacks *call = script.flight ? &flying : &callbacks;
    char why[256];
    struct tide_spec *spec;
    ck_assert_int_eq(tide_spec_new("job", &spec), 0);
    (void)tide_spec_operator(spec, "a", 1, 0);
    (void)tide_spec_operator(spec, "b", 1, 0);
    (void)tide_spec_edge(spec, "a", "b", TIDE_ALL_TO_ALL);
    if (script.flight)
        (void)tide_spec_checkpointing(
            spec, &(struct tide_checkpointing){.alignment = TIDE_BARRIERS_UNALIGNED});
    if (script.window)
        (void)tide_spec_checkpointing(
            spec,
            &(struct tide_checkpointing){.style = TIDE_STYLE_RENDEZVOUS, .window = script.window});
    struct tide_worker_config c = {.spec = spec,
                                   .address = script.peer.address,
                                   .name = "w1",
                                   .endpoint = "here",
                                   .no_helper_thread = true,
                                   .log = on_log};
    if (script.regional) {
        (void)tide_spec_operator(spec, "c", 3, 0);
        (void)tide_spec_checkpointing(spec, &(struct tide_checkpointing){.regional = 1});
    }
    if (script.parts) script_parts_spec(spec);
    ck_assert_msg(tide_worker_new(&c, &script.w, why) == 0, "%s", why);
    tide_spec_free(spec);
    ck_assert_int_eq(tide_worker_add_task(script.w, "a", 0, 0, call, NULL, &script.task[0]), 0);
    ck_assert_int_eq(tide_worker_add_task(script.w, "b", 0, 2, call, NULL, &script.task[1]), 0);
    for (unsigned i = 0; i < 2 && script.promotable; i++)
        ck_assert_int_eq(tide_task_promotable(script.task[i], script.promotable), 0);
    if (script.parts) script_parts_add();
}

/* ---- what it hears */

static void ranges_text(char *to, size_t size, size_t n, Tide__TaskRange **ranges)
{
    to[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(to);
        snprintf(to + len, size - len, " %u+%u", ranges[i]->first, ranges[i]->count);
    }
}

static void hear_join(const Tide__Join *j)
{
    static const char *const phases[] = {"nothing", "starting", "restored", "running"};
    char text[256] = "", more[64];
    if (j->token)
        snprintf(text, sizeof text, " attempt %llu %s", ull(j->token->attempt), phases[j->phase]);
    for (size_t i = 0; i < j->n_open; i++) {
        size_t len = strlen(text);
        ranges_text(more, sizeof more, j->open[i]->n_acked, j->open[i]->acked);
        snprintf(text + len, sizeof text - len, " open %llu%s%s", ull(j->open[i]->round),
                 more[0] ? " acked" : "", more);
    }
    size_t len = strlen(text);
    if (j->told_complete)
        snprintf(text + len, sizeof text - len, " told %llu", ull(j->told_complete));
    len = strlen(text);
    if (j->told_effects != j->told_complete)
        snprintf(text + len, sizeof text - len, " effects %llu", ull(j->told_effects));
    for (size_t i = 0; i < j->n_unconfirmed; i++) {
        len = strlen(text);
        snprintf(text + len, sizeof text - len, " unconfirmed %llu", ull(j->unconfirmed[i]));
    }
    snprintf(script.boot_id, sizeof script.boot_id, "%.*s", (int)j->host->boot_id.len,
             (char *)j->host->boot_id.data);
    script_note("> join%s", text);
}

static void hear_acks(struct tide_bytes body)
{
    struct tide_acks r;
    struct tide_ack_view v;
    char why[160], text[512] = "";
    ck_assert_msg(tide_acks_open(&r, body, why) == 0, "%s", why);
    while (tide_acks_next(&r, &v)) {
        size_t len = strlen(text);
        snprintf(text + len, sizeof text - len, " %u", v.task);
        if (script.flight) script_flight_ack(&v, text + strlen(text), sizeof text - strlen(text));
    }
    script_note("> ack %llu:%s", ull(r.round), text);
}

static void hear(const struct heard *h)
{
    char text[64] = "";
    const Tide__FromWorker *m = h->m;
    Tide__HeartbeatAck alive = TIDE__HEARTBEAT_ACK__INIT;
    switch (h->what) {
    case TIDE__FROM_WORKER__MSG_HELLO:
        script_note("> hello");
        script.greeted = script.said_hello = true;
        break;
    case TIDE__FROM_WORKER__MSG_JOIN: hear_join(h->join); break;
    case TIDE__FROM_WORKER__MSG_HEARTBEAT:
        alive.sequence = m->heartbeat->sequence;
        if (!script.mute) script_say(TIDE__TO_WORKER__MSG_ALIVE, &alive);
        break;
    case TIDE__FROM_WORKER__MSG_RESTORED: script_note("> restored"); break;
    case TIDE__FROM_WORKER__MSG_RESTORE_FAILED:
        script_note("> restore failed %u: %.*s", m->restore_failed->task,
                    (int)m->restore_failed->reason.len, (char *)m->restore_failed->reason.data);
        break;
    case TIDE__FROM_WORKER__MSG_ACK: hear_acks(h->ack); break;
    case TIDE__FROM_WORKER__MSG_DECLINE:
        script_note("> decline %llu task %u: %.*s", ull(m->decline->round), m->decline->task,
                    (int)m->decline->reason.len, (char *)m->decline->reason.data);
        break;
    case TIDE__FROM_WORKER__MSG_FINISHED:
        ranges_text(text, sizeof text, m->finished->n_tasks, m->finished->tasks);
        script_note("> finished%s", text);
        break;
    case TIDE__FROM_WORKER__MSG_POSITION:
        for (size_t i = 0; i < m->position->n_task; i++) {
            size_t len = strlen(text);
            snprintf(text + len, sizeof text - len, " %u at %llu", m->position->task[i],
                     ull(m->position->position[i]));
        }
        script_note("> position %llu:%s", ull(m->position->round), text);
        break;
    case TIDE__FROM_WORKER__MSG_STANDING:
        ranges_text(text, sizeof text, m->standing->n_tasks, m->standing->tasks);
        script_note("> standing %llu:%s", ull(m->standing->round), text);
        break;
    case TIDE__FROM_WORKER__MSG_CONFIRM:
        ranges_text(text, sizeof text, m->confirm->n_tasks, m->confirm->tasks);
        script_note("> confirm %llu:%s", ull(m->confirm->round), text);
        break;
    case TIDE__FROM_WORKER__MSG_HOLDER_GONE: script_note("> holder gone"); break;
    case TIDE__FROM_WORKER__MSG_LEAVE: script_note("> leave"); break;
    case TIDE__FROM_WORKER__MSG_ADVANCED:
        script_note("> advanced %llu", ull(m->advanced->attempt));
        break;
    case TIDE__FROM_WORKER__MSG_EXTERNAL: {
        const Tide__ExternalState *state = m->external->state;
        bool hook = state->external->kind == TIDE__EXTERNAL_KIND__EXTERNAL_HOOK;
        script_note("> %s%.*s %llu%s%.*s%s%.*s", hook ? "" : "@", (int)state->external->name.len,
                    (char *)state->external->name.data, ull(m->external->round),
                    state->data.len ? " " : "", (int)state->data.len, (char *)state->data.data,
                    m->external->failed.len ? " failed: " : "", (int)m->external->failed.len,
                    (char *)m->external->failed.data);
        break;
    }
    default: break; /* progress comes when it comes */
    }
}

void script_turn(int ms)
{
    struct heard h;
    if (script.unattended) {
        usleep((useconds_t)ms * 1000);
    } else if (!script.over) {
        int rc = tide_worker_wait(script.w, ms);
        script.over = rc != 0;
        if (rc) script_note("over %d: %s", rc, tide_worker_error(script.w));
    }
    while (peer_next(&script.peer, &h)) {
        hear(&h);
        heard_free(&h);
    }
    if (script.was_up && script.peer.fd < 0) script_note("> closed");
    if (script.peer.fd < 0) script.greeted = script.said_hello = false;
    script.was_up = script.peer.fd >= 0;
}

uint64_t script_number(const char *arg, uint64_t otherwise)
{
    return arg[0] ? strtoull(arg, NULL, 0) : otherwise;
}

uint64_t script_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* What the kernel has not sent yet: the worker was not quick enough. */
static bool is_under_way(void)
{
    int left = 0;
    return script.peer.fd >= 0 && ioctl(script.peer.fd, SIOCOUTQNSD, &left) == 0 && left > 0;
}

/* Until nothing happens any more. */
void script_settle(void)
{
    unsigned quiet = 0;
    while (quiet < 2) {
        size_t before = strlen(script.trace);
        script_turn(1);
        quiet = strlen(script.trace) == before && !is_under_way() ? quiet + 1 : 0;
    }
}

static void until(const char *what)
{
    uint64_t end = script_now_ms() + 20000;
    while (!strstr(script.trace, what) && script_now_ms() < end)
        script_turn(5);
    if (!strstr(script.trace, what)) script_note("NEVER CAME: %s", what);
}

/* Until a connection has said Hello that was not answered yet. */
static void w_hello(char **arg)
{
    uint64_t end = script_now_ms() + 20000;
    (void)arg;
    while (!script.greeted && script_now_ms() < end)
        script_turn(5);
    if (!script.greeted) script_note("NEVER CAME: > hello");
    script.greeted = false;
}

/* ---- words of the program */

static void w_hold(char **arg)
{
    (void)arg;
    script.hold = true;
}

static void w_feed(char **arg) /* what was held */
{
    (void)arg;
    script.hold = false;
    script_note("barrier %d", tide_task_barrier(script.task[1], 1, script.barrier));
}

/* barrier CHANNEL ROUND [cancel|end|unaligned|counted|unknown|two|other]: one that the program made
 * up. */
static void w_barrier(char **arg)
{
    uint8_t bytes[TIDE_BARRIER_SIZE];
    struct tide_barrier b = {.round = script_number(arg[1], 0),
                             .job_check = tide_job_check((const uint8_t *)ID)};
    if (strcmp(arg[2], "cancel") == 0) b.flags = TIDE_BARRIER_CANCEL;
    if (strcmp(arg[2], "end") == 0) b.flags = TIDE_BARRIER_END;
    if (strcmp(arg[2], "unaligned") == 0) b.flags = TIDE_BARRIER_UNALIGNED;
    if (strcmp(arg[2], "counted") == 0) b.flags = TIDE_BARRIER_COUNTED;
    if (strcmp(arg[2], "unknown") == 0) b.flags = 16;
    if (strcmp(arg[2], "two") == 0) b.flags = TIDE_BARRIER_UNALIGNED | TIDE_BARRIER_COUNTED;
    if (strcmp(arg[2], "other") == 0) b.job_check++;
    tide_barrier_encode(&b, bytes);
    int rc = tide_task_barrier(script.task[1], (uint32_t)script_number(arg[0], 0), bytes);
    script_note("barrier %d", rc);
}

static void w_end(char **arg)
{
    uint32_t channel = (uint32_t)script_number(arg[0], 0);
    script_note("channel end %d", tide_task_channel_end(script.task[1], channel));
}

static void w_defer(char **arg)
{
    (void)arg;
    script.defer = true;
}

static void w_done(char **arg) /* done TASK [RC] */
{
    unsigned i = arg[0][0] == 'b';
    struct tide_snapshot *snapshot = script.given[i];
    script.given[i] = NULL;
    script_note(
        "done %s %d", arg[0],
        tide_snapshot_done(snapshot, -(int)script_number(arg[1], 0), arg[1][0] ? "no" : NULL, 0));
}

static void w_late(char **arg)
{
    (void)arg;
    script.late = true;
}

static void w_restored(char **arg) /* restored TASK [RC]: after `late` */
{
    script_note("restored %s %d", arg[0],
                tide_task_restored(script.task[arg[0][0] == 'b'], -(int)script_number(arg[1], 0),
                                   "no room"));
}

static void w_confirm(char **arg)
{
    script_note("confirm %s %d", arg[0],
                tide_task_confirm(script.task[arg[0][0] == 'b'], script_number(arg[1], 0)));
}

static void w_answers(char **arg) /* answers complete|snapshot|drain RC: all tasks; "first": once */
{
    int rc = -(int)script_number(arg[1], 0);
    script.once = strcmp(arg[2], "first") == 0;
    if (arg[0][0] == 'c')
        script.complete_rc = rc;
    else if (arg[0][0] == 'd')
        script.drain_rc = rc;
    else
        script.snapshot_rc = rc;
}

static void w_finished(char **arg)
{
    script_note("finished %s %d", arg[0], tide_task_finished(script.task[arg[0][0] == 'b']));
}

/* The program calls nothing but what the script says. */
static void w_unattended(char **arg)
{
    (void)arg;
    script.unattended = true;
}

static void w_at(char **arg) /* at TASK POSITION */
{
    script_note("at %s %s: %d", arg[0], arg[1],
                tide_task_position(script.task[arg[0][0] == 'b'], script_number(arg[1], 0)));
}

static void w_token(char **arg)
{
    uint64_t n = 0;
    (void)arg;
    int rc = tide_worker_token(script.w, &n);
    script_note("token %d %llu", rc, ull(n));
}

static void w_max(char **arg)
{
    (void)arg;
    script_note("max %u %u", tide_task_max_parallelism(script.task[0]),
                tide_task_max_parallelism(script.task[1]));
}

/* ---- running */

static void w_until(char **arg)
{
    char what[200] = "";
    for (unsigned i = 0; i < ARGS && arg[i][0]; i++) {
        size_t len = strlen(what);
        snprintf(what + len, sizeof what - len, "%s%s", i ? " " : "", arg[i]);
    }
    until(what);
}

static void w_wait(char **arg)
{
    uint64_t end = script_now_ms() + script_number(arg[0], 0);
    while (script_now_ms() < end)
        script_turn(5);
}

static void run_words(const char *text);

/* up hello|joined|started|restored|running [LEASE HEARTBEAT]: and the trace begins there. */
static void w_up(char **arg)
{
    static const char *const phases[] = {"hello",   "welcomed", "joined",
                                         "started", "restored", "running"};
    unsigned phase = 0;
    char joined[64];
    while (strcmp(phases[phase], arg[0]) != 0)
        ck_assert_uint_lt(++phase, 6);
    snprintf(joined, sizeof joined, "joined %s %s %s %s", arg[1], arg[2], arg[1][0] ? ID : "",
             arg[3]);
    w_hello(arg);
    if (phase > 0) run_words("welcome; until > join");
    if (phase > 1) run_words(joined);
    if (phase == 3) run_words("late; start 1");
    if (phase > 3) run_words("start 1; until > restored");
    if (phase > 4) run_words("run 1; until b run");
    script.trace[0] = '\0';
}

/* again [ATTEMPT [LOWEST]]: answers the worker that comes back, up to Resumed. */
static void w_again(char **arg)
{
    char words[64];
    run_words("hello; welcome");
    snprintf(words, sizeof words, "joined; resumed %s %s", arg[0], arg[1]);
    run_words(words);
}

static const struct word words[] = {
    {"up", w_up},
    {"again", w_again},
    {"hello", w_hello},
    {"until", w_until},
    {"wait", w_wait},
    {"hold", w_hold},
    {"feed", w_feed},
    {"barrier", w_barrier},
    {"end", w_end},
    {"defer", w_defer},
    {"done", w_done},
    {"late", w_late},
    {"restored", w_restored},
    {"confirm", w_confirm},
    {"answers", w_answers},
    {"finished", w_finished},
    {"at", w_at},
    {"unattended", w_unattended},
    {"token", w_token},
    {"max", w_max},
    {NULL, NULL},
};

static bool call_word(const struct word *table, char **args)
{
    for (; table->name; table++) {
        if (strcmp(table->name, args[0]) != 0) continue;
        table->call(args + 1);
        if (!script.batching) script_settle();
        return true;
    }
    return false;
}

static void run_word(char *text)
{
    char *args[ARGS + 1], *save = NULL;
    unsigned n = 0;
    for (char *at = strtok_r(text, " \n", &save); at; at = strtok_r(NULL, " \n", &save)) {
        ck_assert_uint_lt(n, ARGS);
        args[n++] = at;
    }
    for (unsigned i = n; i <= ARGS; i++)
        args[i] = "";
    if (!n) return;
    if (call_word(words, args) || call_word(daemon_words, args)) return;
    if (script.parts && call_word(part_words, args)) return;
    if (script.flight && call_word(flight_words, args)) return;
    ck_abort_msg("the script has a word that nobody knows: %s", args[0]);
}

static void run_words(const char *text)
{
    char copy[2048], *save = NULL;
    ck_assert_uint_lt(strlen(text), sizeof copy);
    strcpy(copy, text);
    for (char *at = strtok_r(copy, ";", &save); at; at = strtok_r(NULL, ";", &save))
        run_word(at);
}

const char *script_run(const char *text)
{
    char command[100];
    memset(&script, 0, sizeof script);
    if (sscanf(text, " meet %u;", &script.window) == 1) text = strchr(text, ';') + 1;
    script.flight = sscanf(text, " flight %u;", &script.promotable) == 1;
    if (script.flight) text = strchr(text, ';') + 1;
    script_flight_begin();
    strcpy(script.dir, "/tmp/tidemark-script-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(script.dir));
    script_start_init();
    peer_open(&script.peer);
    while (*text == ' ')
        text++;
    script.regional = strncmp(text, "regional;", 9) == 0;
    script.parts = script.regional || strncmp(text, "parts;", 6) == 0;
    open_worker();
    run_words(script.parts ? strchr(text, ';') + 1 : text);
    uint64_t end = script_now_ms() + 20000;
    while (!script.over && !script.said_hello && script_now_ms() < end)
        script_turn(5);
    if (!script.over && !script.said_hello) script_note("NEVER CAME BACK");
    script_settle();
    for (unsigned i = 0; i < 2; i++)
        if (script.given[i]) (void)tide_snapshot_done(script.given[i], TIDE_EIO, NULL, 0);
    struct tide_worker *w = script.w;
    script.w = NULL;
    tide_worker_free(w);
    peer_close(&script.peer);
    snprintf(command, sizeof command, "rm -rf %s", script.dir);
    ck_assert_int_eq(system(command), 0);
    return script.trace;
}
