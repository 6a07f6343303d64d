/* The life of an operation, seen from here: `savepoint`, `checkpoint`, `operation`; and what the
 * commands of order.c share.
 *
 * The usual way: trigger it, get its number, wait for it in slices until it is done or failed,
 * showing how far it is where stderr is a terminal.
 *
 * What can go wrong, and what we do:
 * - no daemon at the first try       -> fail at once
 * - the connection breaks later on   -> connect again, for two minutes (or as long as --timeout
 * says): an operation is durable, so it can be waited for across a restart of the daemon. The
 * trigger is repeated with the same key, so that a lost answer does not start a second operation.
 * - --timeout passes, or an interrupt -> say how to go on waiting; the operation itself goes on */
#include <inttypes.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "client/cli/cli.h"

#define SLICE_US 10000000u     /* of one wait */
#define SLICE_BAR_US 500000u   /* with a bar, so that its clock moves */
#define ANSWER_US 10000000u    /* that the daemon may be late */
#define AWAY_US 120000000u     /* that it may be away */
#define PAUSE_FIRST_US 100000u /* between tries to reconnect; doubles */
#define PAUSE_MOST_US 1000000u
#define BAR_PAUSE_US 100000u /* between two looks at a busy operation */
#define BAR_MOST 30          /* columns */
#define BAR_LEAST 8

struct waiting {
    struct cli *cli;
    const char *verb;   /* savepoint, checkpoint, stop, ..., operation */
    uint64_t operation; /* 0: not known yet */
    uint64_t begun;     /* rpc_now() */
    bool bar;           /* stderr is a terminal */
    size_t drawn;       /* columns of the line that stands there */
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = number;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void pause_us(uint64_t us)
{
    struct timespec t = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};
    (void)nanosleep(&t, NULL); /* a signal ends it early, which is what is wanted */
}

/* ---- progress */

static void bar_clear(struct waiting *w)
{
    if (w->drawn) fprintf(stderr, "\r%*s\r", (int)w->drawn, "");
    w->drawn = 0;
}

/* What stands around the bar comes first: the bar takes what the line leaves, up to BAR_MOST. The
 * line is written over the last one in one go, so that it does not flicker. */
static void bar_draw(struct waiting *w, const Tide__Operation *o)
{
    char took[TEXT_MAX], bar[BAR_MOST + 1];
    size_t width = text_terminal_width(stderr), most = BAR_MOST, filled = 0;
    if (!w->bar || width < 2) return;
    char *phase = text_clean(o->phase.len ? o->phase : o->state);
    text_duration(took, rpc_now() - w->begun);
    char *rest = o->tasks ? xprintf("] %u/%u  %s  %s", o->acked, o->tasks, took, phase)
                          : xprintf("]  %s  %s", took, phase);
    size_t around = strlen(w->verb) + 3 + text_width(rest); /* the last column stays free */
    if (around + BAR_MOST > width) most = around + BAR_LEAST < width ? width - around : BAR_LEAST;
    if (o->tasks)
        filled = (size_t)((uint64_t)most * (o->acked < o->tasks ? o->acked : o->tasks) / o->tasks);
    memset(bar, ' ', most);
    memset(bar, '=', filled);
    if (filled < most) bar[filled] = '>';
    bar[most] = '\0';
    char *line = xprintf("%s [%s%s", w->verb, bar, rest);
    size_t length = text_width(line) < width ? text_width(line) : width - 1;
    size_t rub_out = w->drawn > length && w->drawn < width ? w->drawn - length : 0;
    fprintf(stderr, "\r%.*s%*s", (int)(text_cut(line, length) - line), line, (int)rub_out, "");
    fflush(stderr);
    w->drawn = length;
    free(phase);
    free(rest);
    free(line);
}

/* ---- calls that outlive a connection */

/* What the command line said about where the daemon is, for the command that goes on. */
static char *same_daemon(const struct cli *c)
{
    const struct options *o = &c->options;
    if (o->data) return xprintf(" --data %s", o->data);
    if (o->connect && !o->anywhere) return xprintf(" --connect %s", o->connect);
    return xprintf("%s", "");
}

/* The command that goes on where this one ends. malloc'ed. */
static char *how_to_go_on(const struct waiting *w)
{
    char *where = same_daemon(w->cli), *text;
    if (w->operation)
        text = xprintf("'tidemark operation %" PRIu64 " --wait%s' goes on waiting", w->operation,
                       where);
    else if (w->cli->options.key)
        text = xprintf("it may have begun: the same command with --key %s finds it",
                       w->cli->options.key);
    else
        text = xprintf("it may have begun");
    free(where);
    return text;
}

static int end_interrupted(struct waiting *w)
{
    int number = (int)interrupted;
    char *how = how_to_go_on(w);
    bar_clear(w);
    fprintf(stderr, "tidemark: interrupted; the %s goes on by itself: %s\n", w->verb, how);
    free(how);
    signal(number, SIG_DFL);
    raise(number);
    return FAILED;
}

static int end_timeout(struct waiting *w)
{
    char after[TEXT_MAX], *how = how_to_go_on(w);
    bar_clear(w);
    int rc = cli_fail(w->cli, "timeout", "the %s has not ended after %s; %s", w->verb,
                      text_duration(after, rpc_now() - w->begun), how);
    free(how);
    return rc;
}

/* Only after a daemon has answered once: without one at the first try there is nothing to go on
 * with. */
static bool worth_another_try(const struct waiting *w, enum rpc_rc rc, const Tide__Response *answer)
{
    const struct rpc *r = &w->cli->rpc;
    if (rc == RPC_OK)
        return w->operation && answer->result_case == TIDE__RESPONSE__RESULT_ERROR &&
               answer->error->code == TIDE__ERROR_CODE__ERROR_BUSY;
    return r->known && (rc == RPC_UNREACHABLE || rc == RPC_LOST || rc == RPC_TIMEOUT ||
                        (rc == RPC_REFUSED && r->busy));
}

static int end_failed(struct waiting *w, enum rpc_rc rc, const Tide__Request *request,
                      const Tide__Response *answer)
{
    struct cli *c = w->cli;
    bar_clear(w);
    if (rc) return cli_fail_call(c, rc);
    if (answer->result_case == TIDE__RESPONSE__RESULT_ERROR)
        return cli_fail_error(c, request, answer->error);
    return cli_fail(c, "protocol", "%s gave an answer that does not fit the question", c->rpc.peer);
}

static int end_away(struct waiting *w)
{
    char *how = how_to_go_on(w);
    int rc =
        cli_fail(w->cli, "unreachable", "%s; given up after 2 minutes: %s", w->cli->rpc.why, how);
    free(how);
    return rc;
}

/* A call whose repetition is harmless: goes on over broken connections. `answer_us` is what the
 * daemon may take. DONE and *ret, or, *ret untouched, the exit code after it was told why. */
static int persist(struct waiting *w, Tide__Request *request, uint64_t answer_us,
                   const Tide__Operation **ret)
{
    struct cli *c = w->cli;
    uint64_t away_until = 0, pause = PAUSE_FIRST_US;
    for (;;) {
        const Tide__Response *answer = NULL;
        uint64_t deadline = earlier(c->deadline, rpc_now() + answer_us);
        enum rpc_rc rc = rpc_call(&c->rpc, request, deadline, &answer);
        if (interrupted) return end_interrupted(w);
        if (rc == RPC_OK && answer->result_case == TIDE__RESPONSE__RESULT_OPERATION) {
            *ret = answer->operation;
            return DONE;
        }
        if (!worth_another_try(w, rc, answer)) return end_failed(w, rc, request, answer);
        uint64_t now = rpc_now();
        if (now >= c->deadline) return end_timeout(w);
        if (!away_until) {
            away_until = c->options.timeout ? RPC_NEVER : now + AWAY_US;
            bar_clear(w);
            fprintf(stderr, "tidemark: %s; trying again\n", rc ? c->rpc.why : "the daemon is busy");
        }
        if (now >= away_until) return end_away(w);
        pause_us(earlier(pause, c->deadline - now));
        if (interrupted) return end_interrupted(w);
        pause = earlier(pause * 2, PAUSE_MOST_US);
    }
}

/* ---- answers */

static void operation_json(struct json *j, const Tide__Operation *o)
{
    json_object(j, "operation");
    json_u64(j, "id", o->id);
    json_data(j, "kind", o->kind);
    json_data(j, "job", o->job);
    json_data(j, "state", o->state);
    json_id(j, "snapshot", o->snapshot);
    json_text_or_null(j, "location", o->location);
    json_text_or_null(j, "error", o->error);
    json_u64(j, "tasks", o->tasks);
    json_u64(j, "acked", o->acked);
    json_text_or_null(j, "phase", o->phase);
    json_id(j, "begun_wall_us", o->begun_wall_us);
    json_id(j, "ended_wall_us", o->ended_wall_us);
    json_bool(j, "snapshot_good", o->snapshot_good);
    json_array(j, "report");
    for (size_t i = 0; i < o->n_report; i++)
        json_data(j, NULL, o->report[i]);
    json_end_array(j);
    json_end_object(j);
}

static int answer_json(const struct cli *c, const Tide__Operation *o)
{
    struct json j;
    json_init(&j);
    operation_json(&j, o);
    return cli_answer(c, &j);
}

static bool has_ended(const Tide__Operation *o)
{
    return cli_is(o->state, "done") || cli_is(o->state, "failed");
}

static int say_failed(const Tide__Operation *o)
{
    char *kind = text_clean(o->kind), *job = text_clean(o->job), *error = text_clean(o->error);
    fprintf(stderr, "tidemark: %s of %s failed: %s\n", *kind ? kind : "operation",
            *job ? job : "the job", *error ? error : "no reason was given");
    if (o->snapshot_good) {
        char *location = text_clean(o->location);
        fprintf(stderr, "tidemark: snapshot %" PRIu64 " is good%s%s\n", o->snapshot,
                *location ? ": " : "", location);
        free(location);
    }
    free(kind);
    free(job);
    free(error);
    return FAILED;
}

/* Of an order it is the answer; beside a snapshot's directory or number it is a remark. */
static void say_report(const Tide__Operation *o)
{
    for (size_t i = 0; i < o->n_report; i++) {
        char *line = text_clean(o->report[i]);
        fprintf(o->tasks ? stderr : stdout, "%s%s\n", o->tasks ? "tidemark: " : "", line);
        free(line);
    }
}

/* Of one that has ended. */
static int conclude(struct waiting *w, const Tide__Operation *o)
{
    char took[TEXT_MAX];
    bool failed = cli_is(o->state, "failed");
    bar_clear(w);
    if (w->cli->options.json) {
        int rc = answer_json(w->cli, o);
        return failed ? say_failed(o) : rc;
    }
    say_report(o);
    if (failed) return say_failed(o);
    if (cli_is(o->kind, "export")) {
        char *place = text_clean(o->location);
        printf("%s\n", place);
        free(place);
        return DONE;
    }
    if (cli_is(o->kind, "import") && o->snapshot) printf("snapshot %" PRIu64 "\n", o->snapshot);
    if (!o->tasks || cli_is(o->kind, "dispose"))
        return DONE; /* an order: that it is done says it all */
    char *location = text_clean(o->location), *job = text_clean(o->job),
         *kind = text_clean(o->kind);
    if (w->bar && o->ended_wall_us > o->begun_wall_us && o->begun_wall_us)
        fprintf(stderr, "%s %" PRIu64 " of %s took %s\n", kind, o->snapshot, job,
                text_duration(took, o->ended_wall_us - o->begun_wall_us));
    if (!o->location.len || cli_is(o->kind, "checkpoint") || w->cli->options.checkpoint)
        printf("%" PRIu64 "\n", o->snapshot);
    else if (isatty(STDOUT_FILENO))
        printf("%s\n", location);
    else
        printf("%.*s\n", (int)o->location.len,
               (const char *)o->location.data); /* for programs, as it is */
    free(location);
    free(job);
    free(kind);
    return DONE;
}

/* ---- waiting */

static int wait_until_ended(struct waiting *w)
{
    Tide__Request request = TIDE__REQUEST__INIT;
    Tide__WaitOperation call = TIDE__WAIT_OPERATION__INIT;
    const Tide__Operation *o = NULL;
    struct cli *c = w->cli;
    request.call_case = TIDE__REQUEST__CALL_WAIT;
    request.wait = &call;
    call.operation = w->operation;
    for (;;) {
        uint64_t now = rpc_now();
        if (now >= c->deadline) return end_timeout(w);
        uint64_t slice = earlier(w->bar ? SLICE_BAR_US : SLICE_US, c->deadline - now);
        call.timeout_ms = (uint32_t)(slice / 1000 + 1);
        o = NULL;
        int rc = persist(w, &request, slice + ANSWER_US, &o);
        if (!o) return rc;
        if (has_ended(o)) return conclude(w, o);
        call.seen_progress = w->bar ? o->progress : 0;
        bar_draw(w, o);
        if (w->bar) pause_us(BAR_PAUSE_US);
        if (interrupted) return end_interrupted(w);
    }
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

/* user@host, for the audit. */
static void who_am_i(char out[static 320])
{
    char host[128] = "";
    const struct passwd *user = getpwuid(geteuid());
    if (gethostname(host, sizeof host - 1)) strcpy(host, "unknown");
    if (user)
        snprintf(out, 320, "%.128s@%s", user->pw_name, host);
    else
        snprintf(out, 320, "uid %u@%s", (unsigned)geteuid(), host);
    if (!tide_text_valid(tide_bytes_of(out))) strcpy(out, "unknown");
}

/* Without a key of the user's each run of the command is an operation of its own. */
static int choose_key(struct cli *c, char out[static 40])
{
    uint8_t random[16];
    if (c->options.key) return DONE;
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return cli_fail(c, "setup", "no random bytes for the operation's key");
    text_hex(out, (ProtobufCBinaryData){sizeof random, random}, sizeof random);
    c->options.key = out;
    return DONE;
}

/* Triggers and, unless detached, waits. */
static int trigger(struct waiting *w, Tide__Request *request)
{
    const Tide__Operation *o = NULL;
    struct cli *c = w->cli;
    catch_signals();
    w->begun = rpc_now();
    w->bar = text_terminal_width(stderr) > 0 && !c->options.detach;
    int rc = persist(w, request, ANSWER_US, &o);
    if (!o) return rc;
    w->operation = o->id;
    if (!c->options.detach) return has_ended(o) ? conclude(w, o) : wait_until_ended(w);
    if (c->options.json)
        rc = answer_json(c, o);
    else
        printf("%" PRIu64 "\n", o->id);
    return rc;
}

int operation_ready(struct cli *c, char key[static 40], char who[static 320])
{
    who_am_i(who);
    return choose_key(c, key);
}

int operation_run(struct cli *c, const char *verb, Tide__Request *request)
{
    struct waiting w = {.cli = c, .verb = verb};
    return trigger(&w, request);
}

int operation_directory(struct cli *c, const char *given, const char *option, char **ret)
{
    *ret = NULL;
    if (!given) return DONE;
    if (given[0] == '/') {
        *ret = xprintf("%s", given);
        return DONE;
    }
    /* The daemon has another working directory: what a person means is this one. */
    char *here = getcwd(NULL, 0);
    if (!here)
        return cli_fail(c, "setup", "%s is relative, and the working directory is gone", option);
    const char *relative = given;
    while (strncmp(relative, "./", 2) == 0)
        relative += 2;
    *ret = strcmp(relative, ".") == 0 || !*relative ? xprintf("%s", here)
                                                    : xprintf("%s/%s", here, relative);
    free(here);
    return DONE;
}

/* The option's word into the call; absent: the usual one. */
static int savepoint_alignment(const struct cli *c, Tide__TriggerSavepoint *call)
{
    static const char *const words[] = {"aligned", "at-least-once", "unaligned", "timeout"};
    const char *word = c->options.alignment;
    if (!word) return DONE;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(word, words[i]) != 0) continue;
        call->how_case = TIDE__TRIGGER_SAVEPOINT__HOW_ALIGNMENT;
        call->alignment = (Tide__Alignment)i;
        return DONE;
    }
    return cli_misuse("--alignment '%s' must be aligned, unaligned, timeout or at-least-once",
                      word);
}

int savepoint_take(struct cli *c)
{
    Tide__Request request = TIDE__REQUEST__INIT;
    Tide__TriggerSavepoint call = TIDE__TRIGGER_SAVEPOINT__INIT;
    struct waiting w = {.cli = c, .verb = "savepoint"};
    char key[40], who[320];
    char *target;
    int rc = savepoint_alignment(c, &call);
    if (!rc) rc = choose_key(c, key);
    if (!rc) rc = operation_directory(c, c->options.target, "--target", &target);
    if (rc) return rc;
    who_am_i(who);
    call.job = cli_data(c->args[0]);
    call.target = cli_data(target);
    call.commits = c->options.commits;
    call.native = c->options.native;
    call.label = cli_data(c->options.label);
    call.key = cli_data(c->options.key);
    call.who = cli_data(who);
    request.call_case = TIDE__REQUEST__CALL_SAVEPOINT;
    request.savepoint = &call;
    rc = trigger(&w, &request);
    free(target);
    return rc;
}

int checkpoint_take(struct cli *c)
{
    Tide__Request request = TIDE__REQUEST__INIT;
    Tide__TriggerCheckpoint call = TIDE__TRIGGER_CHECKPOINT__INIT;
    struct waiting w = {.cli = c, .verb = "checkpoint"};
    char key[40], who[320];
    int rc = choose_key(c, key);
    if (rc) return rc;
    who_am_i(who);
    call.job = cli_data(c->args[0]);
    call.full = c->options.full;
    call.key = cli_data(c->options.key);
    call.who = cli_data(who);
    request.call_case = TIDE__REQUEST__CALL_CHECKPOINT;
    request.checkpoint = &call;
    return trigger(&w, &request);
}

/* ---- operation */

static void operation_lines(const Tide__Operation *o)
{
    char text[TEXT_MAX], ago[TEXT_MAX];
    char *kind = text_clean(o->kind), *job = text_clean(o->job), *state = text_clean(o->state);
    char *phase = text_clean(o->phase), *location = text_clean(o->location),
         *error = text_clean(o->error);
    show_line("Operation", "%" PRIu64 ", %s of %s", o->id, kind, job);
    show_line("State", "%s%s%s", state, *phase ? ": " : "", phase);
    show_line("Begun", "%s (%s)", text_time(text, o->begun_wall_us),
              text_ago(ago, o->begun_wall_us));
    if (o->ended_wall_us > o->begun_wall_us)
        show_line("Took", "%s", text_duration(text, o->ended_wall_us - o->begun_wall_us));
    if (o->tasks) show_line("Acked", "%u of %u tasks", o->acked, o->tasks);
    if (o->snapshot) show_line("Snapshot", "%" PRIu64, o->snapshot);
    if (*location) show_line("Directory", "%s", location);
    if (*error) show_line("Error", "%s", error);
    for (size_t i = 0; i < o->n_report; i++) {
        char *line = text_clean(o->report[i]);
        show_line(i ? "" : "Report", "%s", line);
        free(line);
    }
    free(kind);
    free(job);
    free(state);
    free(phase);
    free(location);
    free(error);
}

int operation_show(struct cli *c)
{
    Tide__Request request = TIDE__REQUEST__INIT;
    Tide__WaitOperation call = TIDE__WAIT_OPERATION__INIT;
    const Tide__Response *answer;
    struct waiting w = {.cli = c, .verb = "operation"};
    int rc = cli_number(c->args[0], "an operation", &w.operation);
    if (rc) return rc;
    w.begun = rpc_now();
    if (c->options.wait) {
        catch_signals();
        w.bar = text_terminal_width(stderr) > 0;
        return wait_until_ended(&w);
    }
    request.call_case = TIDE__REQUEST__CALL_WAIT;
    request.wait = &call;
    call.operation = w.operation;
    call.timeout_ms = 1; /* as it is now */
    rc = cli_ask(c, &request, TIDE__RESPONSE__RESULT_OPERATION, &answer);
    if (rc) return rc;
    const Tide__Operation *o = answer->operation;
    if (c->options.json)
        rc = answer_json(c, o);
    else
        operation_lines(o);
    return cli_is(o->state, "failed") ? FAILED : rc;
}
