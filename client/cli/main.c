/* The command `tidemark`: tables of commands and options, the help made from them, and the
 * reading of the command line. Options may stand before or behind the command. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"
#include "client/cli/state_change.h"

#define DEFAULT_ADDRESS "127.0.0.1:7460"
#define DEFAULT_TIMEOUT_US 10000000u

/* Which options a command takes beside the common ones. */
enum {
    OF_ALL = 1,
    OF_LIMIT = 2,
    OF_TASKS = 4,
    OF_WAIT = 8,
    OF_FAILED = 16,
    OF_TRIGGER = 32,
    OF_SAVEPOINT = 64,
    OF_VERBOSE = 128,
    OF_HOLD = 256,
    OF_RELEASE = 512,
    OF_TARGET = 1024,
    OF_FULL = 2048,
    OF_STOP = 4096,
    OF_CANCEL = 8192,
    OF_RESTORE = 16384,
    OF_STATE = 1 << 20,
    OF_WRITE = 1 << 21,
    OF_CSV = 1 << 22,
    OF_CONVERT = 1 << 23,
    OF_MANY = 1 << 30, /* of an option: it may be given more than once */
    OF_FROM = 32768,   /* restore and import */
    OF_IMPORT = 65536
};

static const struct command {
    const char *noun, *verb; /* verb NULL: one word */
    const char *arg;         /* "[X]" may be left out; NULL: none */
    unsigned options;
    bool waits; /* as long as it takes unless --timeout is given */
    int (*run)(struct cli *c);
    const char *about, *more;
    const char *examples; /* lines, without the first word */
    const char *fails;    /* what exit status 1 stands for, beside what it always does */
} commands[] = {
    {"jobs", NULL, NULL, 0, false, jobs_list, "List the jobs.", NULL,
     "jobs\njobs --json --connect 10.0.0.1:7460", NULL},
    {"job", "show", "JOB", 0, false, job_show,
     "Show a job: its workers, its graph, what it waits for.",
     "JOB is its name, or the 32 hexadecimal digits of its id.", "job show wordcount",
     "there is no such job"},
    {"savepoint", NULL, "JOB", OF_TRIGGER | OF_TARGET | OF_SAVEPOINT, true, savepoint_take,
     "Take a savepoint and print its directory.",
     "Waits until the savepoint is durable, also across a restart of the daemon. A savepoint\n"
     "is yours: the system never deletes it. It publishes no effects unless --commits is\n"
     "given. Interrupted, it goes on by itself.",
     "savepoint wordcount --target /backup --label \"before 2.0\"\n"
     "savepoint wordcount --key nightly-$(date +%F)\nsavepoint wordcount --detach\n"
     "savepoint wordcount --alignment unaligned",
     "there is no such job, the savepoint fails, or --timeout is over"},
    {"checkpoint", NULL, "JOB", OF_TRIGGER | OF_FULL, true, checkpoint_take,
     "Take a checkpoint now and print its number.",
     "Waits until it is durable. Interrupted, it goes on by itself.", "checkpoint wordcount",
     "there is no such job, the checkpoint fails, or --timeout is over"},
    {"stop", NULL, "JOB", OF_TRIGGER | OF_TARGET | OF_STOP, true, stop_job,
     "End a job with a last savepoint and print its directory.",
     "What is under way finishes first, and the savepoint's effects are published before the\n"
     "job is SUSPENDED or, drained, FINISHED. If no snapshot comes of it the job goes on.\n"
     "Interrupted, it goes on by itself.",

     "stop wordcount\nstop wordcount --drain --target /backup\nstop wordcount --checkpoint "
     "--supersede",
     "there is no such job, the stop fails, or --timeout is over"},
    {"cancel", NULL, "JOB", OF_TRIGGER | OF_TARGET | OF_CANCEL, true, cancel_job,
     "End a job at once.",
     "It is CANCELLED, whatever it is at; what is not durable is lost. With --savepoint it\n"
     "takes one first and, if that fails, goes on. A SUSPENDED job is given up by it.",
     "cancel wordcount\ncancel wordcount --savepoint --target /backup",
     "there is no such job, it has ended, or the savepoint fails"},
    {"hold", NULL, "JOB", OF_TRIGGER | OF_HOLD, true, order_hold,
     "End a job's attempt and keep it from starting another.",
     "The job is HELD until 'tidemark release'; its workers drop what they have and try again\n"
     "later. What is durable stays as it is.",
     "hold wordcount --cause \"the disk is changed\"",
     "there is no such job, or it is HELD already, ending or ended"},
    {"release", NULL, "JOB", OF_TRIGGER | OF_RELEASE, true, order_release,
     "Let a job start again that is HELD.",
     "It goes on from its newest checkpoint as soon as all its workers are there. One that is\n"
     "HELD since an old copy of the database was put back repeats the effects since that copy:\n"
     "only with --allow-repeat.",
     "release wordcount\nrelease wordcount --abandon-owed",
     "there is no such job, it is not HELD, or effects would be repeated"},
    {"restore", NULL, "JOB", OF_TRIGGER | OF_RELEASE | OF_RESTORE | OF_FROM, true, order_restore,
     "Have a job go on from a snapshot that you choose.",
     "Its attempt ends, and the next one restores what is chosen: as soon as all its workers\n"
     "are there, and again until a newer checkpoint completes. A job that is HELD or has ended\n"
     "begins again. Prints the decision operator by operator.",
     "restore wordcount --latest\nrestore wordcount --snapshot 17 --dry-run\n"
     "restore wordcount --from /mnt/savepoint-8bad97-1-9 --allow-repeat",
     "there is no such job or snapshot, or the job cannot go on from it"},
    {"snapshots", NULL, "[JOB]", OF_ALL | OF_LIMIT, false, snapshots_list,
     "List snapshots, the newest first.", NULL, "snapshots\nsnapshots wordcount --all --limit 1000",
     "there is no such job"},
    {"snapshot", "show", "ID", OF_TASKS, false, snapshot_show, "Show a snapshot.",
     "A snapshot has the number of its round: see 'tidemark snapshots'.",
     "snapshot show 17\nsnapshot show 17 --tasks", "there is no such snapshot"},
    {"snapshot", "verify", "ID", 0, true, snapshot_verify,
     "Read all bytes of a snapshot and compare their digests.", NULL, "snapshot verify 17",
     "there is no such snapshot, or it is damaged"},
    {"snapshot", "dispose", "ID", OF_TRIGGER, true, snapshot_dispose,
     "Delete a savepoint; its row stays.",
     "Waits until its bytes are gone. One that its job needs is refused, with the reason. Of\n"
     "one that was imported the bytes stay: they are yours.",
     "snapshot dispose 17", "there is no such snapshot, it is a checkpoint, or it is needed"},
    {"snapshot", "import", "JOB", OF_TRIGGER | OF_FROM | OF_IMPORT, true, snapshot_import,
     "Make a snapshot known that was moved, or is another daemon's.",
     "It becomes one of the job's under a number of its own; its bytes stay where they are.\n"
     "Prints what restoring it would do, operator by operator, and its number.",
     "snapshot import wordcount --from /mnt/savepoint-8bad97-1-9\n"
     "snapshot import wordcount --from /mnt/savepoint-8bad97-1-9 --dry-run",
     "there is no such job, or what lies there is no snapshot, or not whole"},
    {"snapshot", "export", "ID DIR", OF_TRIGGER, true, snapshot_export,
     "Make a directory of its own of a savepoint or checkpoint.",
     "It refers to nothing outside, may be moved, and any daemon can import it or restore from\n"
     "it. DIR must not be there; its files are hard links where that can be. It has a\n"
     "_metadata when, and only when, it is whole. Interrupted, it goes on by itself.",
     "snapshot export 17 /backup/before-2.0",
     "there is no such snapshot, DIR is there, or there is no room"},
    {"lineage", NULL, "ID|JOB", 0, false, lineage_show,
     "Show which snapshots a snapshot came from.",
     "A name that is a number stands for a snapshot; JOB means the job's newest snapshot.",
     "lineage 17\nlineage wordcount", "there is no such snapshot or job"},
    {"retention", NULL, "JOB", 0, false, retention_explain,
     "Tell why each of a job's snapshots is still there.",
     "NEXT is what becomes of it when the next checkpoint completes, if age does not matter by\n"
     "then: judged by the job's configuration (retained and what begins so).",
     "retention wordcount", "there is no such job"},
    {"rounds", NULL, "JOB", OF_LIMIT | OF_FAILED, false, rounds_list,
     "List a job's rounds, also the failed ones with their reasons.",
     "TRIGGER is until the last trigger was sent, ACKS from then until the last ack, COMMIT\n"
     "from then until the round was durable; ALIGN is how long the slowest task waited for\n"
     "its barriers, IN FLIGHT what an unaligned round kept of records on their way. A narrow\n"
     "terminal gets fewer columns.",
     "rounds wordcount --limit 20\nrounds wordcount --failed", "there is no such job"},
    {"operation", NULL, "ID", OF_WAIT, false, operation_show,
     "Show, or wait for, a savepoint or checkpoint begun before.",
     "ID is what --detach printed, or what an interrupted command named.",
     "operation 7\noperation 7 --wait", "there is no such operation, or it failed"},
    {"state", "ls", "PATH", OF_STATE, false, state_ls,
     "List the states in a savepoint's directory.",
     "Reads what libtidemark-state has written; asks no daemon. PATH may also be one of the\n"
     "directory's databases. Prints a JSON document a line.",
     "state ls /backup/savepoint-3f0a11-7-12", "there is no such savepoint, or it is damaged"},
    {"state", "read", "PATH", OF_STATE | OF_CSV, false, state_read,
     "Print the entries of states in a savepoint's directory.",
     "For each state the line of 'state ls', then one for each value, item or element. What is\n"
     "not plain text stands in members that end in _hex.",
     "state read /backup/savepoint-3f0a11-7-12 --operator count --state totals\n"
     "state read /backup/savepoint-3f0a11-7-12 --csv",
     "there is no such savepoint, or it is damaged"},
    {"state", "write", "PATH", OF_WRITE | OF_CSV, false, state_write,
     "Make a savepoint's directory out of lines on standard input.",
     "Lines are as 'state read' prints them: those that declare states first, then entries.\n"
     "Each operator becomes one task; a job restores it at any parallelism.",
     "state write /backup/edited <lines\nstate write /backup/wider --max-parallelism 1024 <lines",
     "a line cannot be read, or PATH is there already"},
    {"state", "diff", "A B", OF_STATE, false, state_diff,
     "Tell in what the state of two savepoints differs.",
     "Prints what only A has behind a '-', what only B has behind a '+', as 'state read' does;\n"
     "what has changed is both. With --json the member \"in\" says which, a or b. Tasks, key\n"
     "groups and rounds may differ. Exit status 2 also when one of them cannot be read.",
     "state diff /backup/s1 /backup/s2\nstate diff /backup/s1 /backup/s2 --operator count --json",
     "their state differs"},
    {"state", "convert", "FROM TO", OF_CONVERT, false, state_convert,
     "Make a savepoint's directory out of another one's state.",
     "For other numbers of tasks or key groups, under other names, or without what is not\n"
     "wanted any more. FROM is not changed. A rule names an operator by its uid, or a state by\n"
     "UID/NAME; a number is for all operators, or, with UID=, for one.",
     "state convert /backup/s1 /backup/s2 --max-parallelism 1024\n"
     "state convert /backup/s1 /backup/s2 --rename count=totals --drop count/debug",
     "FROM is damaged, has what cannot be converted, or TO is there already"},
    {"status", NULL, NULL, OF_VERBOSE, false, status_show, "Show the daemon's state and counters.",
     NULL, "status\nstatus --verbose\nstatus --json", NULL},
};
#define N_COMMANDS (sizeof commands / sizeof *commands)

static const struct option {
    const char *name, *arg; /* arg NULL: a flag */
    char letter;            /* 0: none */
    unsigned of;            /* 0: common to all commands */
    size_t offset;
    const char *about;
} options[] = {
    {"target", "DIR", 0, OF_TARGET, offsetof(struct options, target),
     "make the savepoint's directory in DIR"},
    {"label", "TEXT", 0, OF_TARGET | OF_IMPORT, offsetof(struct options, label),
     "a name for people"},
    {"commits", NULL, 0, OF_SAVEPOINT, offsetof(struct options, commits),
     "publish effects, as a checkpoint does: the job goes\nback to it until a later round does so"},
    {"native", NULL, 0, OF_SAVEPOINT, offsetof(struct options, native),
     "in the formats of the tasks' own backends, not as\ndatabases that anyone can read: quicker"},
    {"alignment", "MODE", 0, OF_SAVEPOINT, offsetof(struct options, alignment),
     "how tasks wait for barriers: aligned (default),\nunaligned, timeout, at-least-once"},
    {"full", NULL, 0, OF_FULL, offsetof(struct options, full),
     "refer to no file of an earlier snapshot"},
    {"drain", NULL, 0, OF_STOP, offsetof(struct options, drain),
     "sources end their input first: nothing is left to do"},
    {"checkpoint", NULL, 0, OF_STOP, offsetof(struct options, checkpoint),
     "take a checkpoint instead, and print its number"},
    {"supersede", NULL, 0, OF_STOP, offsetof(struct options, supersede),
     "abort what is under way instead of letting it finish"},
    {"savepoint", NULL, 0, OF_CANCEL, offsetof(struct options, savepoint),
     "take a savepoint first, and print its directory"},
    {"cause", "TEXT", 0, OF_HOLD, offsetof(struct options, cause),
     "why, for whoever looks at the job"},
    {"snapshot", "N", 0, OF_RESTORE, offsetof(struct options, snapshot), "go on from snapshot N"},
    {"from", "DIR", 0, OF_FROM, offsetof(struct options, from),
     "the snapshot that is in DIR, on the daemon's machine,\nwhoever has taken it"},
    {"latest", NULL, 0, OF_RESTORE, offsetof(struct options, latest),
     "go on from where the job would go on by itself"},
    {"nothing", NULL, 0, OF_RESTORE, offsetof(struct options, nothing), "start afresh"},
    {"allow-unmatched", NULL, 0, OF_RESTORE, offsetof(struct options, allow_unmatched),
     "drop the state of operators that the job has not"},
    {"allow-repeat", NULL, 0, OF_RELEASE, offsetof(struct options, allow_repeat),
     "even if effects of later rounds will be repeated"},
    {"dry-run", NULL, 0, OF_FROM, offsetof(struct options, dry_run), "only say what would happen"},
    {"abandon-owed", NULL, 0, OF_RELEASE, offsetof(struct options, abandon_owed),
     "give up commits that workers have not confirmed:\nthe outside never sees them"},
    {"operator", "UID", 0, OF_STATE, offsetof(struct options, operator_uid),
     "only the states of this operator"},
    {"state", "NAME", 0, OF_STATE, offsetof(struct options, state), "only the state of this name"},
    {"csv", NULL, 0, OF_CSV, offsetof(struct options, csv),
     "CSV (RFC 4180) in the place of JSON lines, with the\nsame names"},
    {"rename", "OLD=NEW", 0, OF_CONVERT | OF_MANY, offsetof(struct options, renames),
     "call an operator, or a state (UID/NAME=NEW), NEW"},
    {"drop", "WHAT", 0, OF_CONVERT | OF_MANY, offsetof(struct options, drops),
     "leave out an operator, or a state (UID/NAME)"},
    {"parallelism", "[UID=]N", 0, OF_CONVERT | OF_MANY, offsetof(struct options, parallelism),
     "deal state out to N tasks (default: as many as there)"},
    {"job", "NAME", 0, OF_WRITE | OF_CONVERT, offsetof(struct options, job),
     "the job that it is of (default: \"written\", or FROM's)"},
    {"max-parallelism", "[UID=]N", 0, OF_WRITE | OF_CONVERT | OF_MANY,
     offsetof(struct options, max_parallelism),
     "cut keys into N key groups (default: as the lines or\nFROM say, or 128)"},
    {"key", "KEY", 0, OF_TRIGGER, offsetof(struct options, key),
     "a retry with the same KEY finds the first try"},
    {"detach", NULL, 0, OF_TRIGGER, offsetof(struct options, detach),
     "do not wait: print the operation's number"},
    {"all", NULL, 0, OF_ALL, offsetof(struct options, all), "also those whose bytes are deleted"},
    {"failed", NULL, 0, OF_FAILED, offsetof(struct options, failed), "only those that aborted"},
    {"limit", "N", 0, OF_LIMIT, offsetof(struct options, limit), "list at most N (default 100)"},
    {"tasks", NULL, 0, OF_TASKS, offsetof(struct options, tasks), "also every task's artifacts"},
    {"wait", NULL, 0, OF_WAIT, offsetof(struct options, wait), "wait until it has ended"},
    {"verbose", NULL, 0, OF_VERBOSE, offsetof(struct options, verbose),
     "also the histogram of the loop's lag"},
    {"json", NULL, 0, 0, offsetof(struct options, json), "print one JSON document"},
    {"connect", "HOST:PORT", 0, 0, offsetof(struct options, connect),
     "the daemon's address (default $TIDEMARK_CONNECT\nor " DEFAULT_ADDRESS ")"},
    {"data", "DIR", 0, 0, offsetof(struct options, data),
     "or its data directory, where it tells its address"},
    {"secret-file", "FILE", 0, 0, offsetof(struct options, secret_file),
     "the secret that the daemon asks for\n(default $TIDEMARK_SECRET_FILE)"},
    {"timeout", "TIME", 0, 0, offsetof(struct options, timeout),
     "give up after TIME: 10 or 10s, 500ms, 5m, 1h"},
    {"help", NULL, 'h', 0, offsetof(struct options, help), "print this help"},
    {"version", NULL, 0, 0, offsetof(struct options, version), "print the version"},
};
#define N_OPTIONS (sizeof options / sizeof *options)
_Static_assert(N_OPTIONS <= 64, "struct words has a bit for each option");

/* ---- help */

static void help_option(const struct option *o)
{
    char left[40];
    snprintf(left, sizeof left, "%s--%s%s%s", o->letter ? "-h, " : "", o->name, o->arg ? " " : "",
             o->arg ? o->arg : "");
    int n = (int)strcspn(o->about, "\n");
    printf("  %-22s %.*s\n", left, n, o->about);
    if (o->about[n]) printf("  %-22s %s\n", "", o->about + n + 1);
}

static void help_options(unsigned of)
{
    for (size_t i = 0; i < N_OPTIONS; i++)
        if (of ? (options[i].of & of) != 0 : options[i].of == 0) help_option(&options[i]);
}

static void usage_of(const struct command *k, char out[static 64])
{
    snprintf(out, 64, "%s%s%s%s%s", k->noun, k->verb ? " " : "", k->verb ? k->verb : "",
             k->arg ? " " : "", k->arg ? k->arg : "");
}

static void help_examples(const char *lines)
{
    printf("\nExamples:\n");
    while (*lines) {
        int n = (int)strcspn(lines, "\n");
        printf("  tidemark %.*s\n", n, lines);
        lines += n + (lines[n] == '\n');
    }
}

static int help_command(const struct command *k)
{
    char usage[64];
    usage_of(k, usage);
    printf("Usage: tidemark %s [option ...]\n\n%s\n", usage, k->about);
    if (k->more) printf("%s\n", k->more);
    if (k->options) {
        printf("\nOptions:\n");
        help_options(k->options);
    }
    printf("\nCommon options:\n");
    help_options(0);
    help_examples(k->examples);
    printf("\nExit status:\n  0  done\n  1  failed; standard error says why\n");
    if (k->fails) printf("     (also when %s)\n", k->fails);
    printf("  2  misused; nothing was asked\n");
    return DONE;
}

static int help_all(void)
{
    char usage[64];
    printf("Usage: tidemark COMMAND [argument] [option ...]\n\n"
           "Asks tidemarkd about jobs, rounds and snapshots, takes snapshots, stops "
           "jobs.\n\nCommands:\n");
    for (size_t i = 0; i < N_COMMANDS; i++) {
        usage_of(&commands[i], usage);
        printf("  %-22s %s\n", usage, commands[i].about);
    }
    printf("\nOptions of a command are told by 'tidemark COMMAND --help'. Common options:\n");
    help_options(0);
    printf("\nExit status: 0 done, 1 failed, 2 misused.\n");
    return DONE;
}

/* ---- ways to end */

void cli_note(const char *text)
{
    (void)fflush(stdout);
    fprintf(stderr, "%s\n", text);
}

int cli_misuse(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("tidemark: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return MISUSED;
}

int cli_fail(const struct cli *c, const char *code, const char *format, ...)
{
    va_list args;
    char *text;
    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    if (n < 0) return FAILED;
    fprintf(stderr, "tidemark: %s\n", text);
    if (c->options.json) {
        struct json j;
        json_init(&j);
        json_object(&j, "error");
        json_text(&j, "code", code);
        json_text(&j, "text", text);
        json_end_object(&j);
        (void)json_print(&j, stdout);
        json_release(&j);
    }
    free(text);
    return FAILED;
}

int cli_fail_call(const struct cli *c, enum rpc_rc rc)
{
    static const char *const codes[] = {
        [RPC_OK] = "none",          [RPC_SETUP] = "setup",      [RPC_UNREACHABLE] = "unreachable",
        [RPC_LOST] = "unreachable", [RPC_TIMEOUT] = "timeout",  [RPC_REFUSED] = "refused",
        [RPC_BROKEN] = "protocol",  [RPC_OTHER] = "other_store"};
    return cli_fail(c, codes[rc], "%s", c->rpc.why);
}

int cli_fail_error(struct cli *c, const Tide__Request *request, const Tide__Error *error)
{
    static const char *const codes[] = {"internal", "not_found", "invalid",    "state",
                                        "busy",     "internal",  "unsupported"};
    size_t code = (size_t)error->code < sizeof codes / sizeof *codes ? (size_t)error->code : 0;
    char *text = text_clean(error->text);
    bool missing = error->code == TIDE__ERROR_CODE__ERROR_NOT_FOUND;
    char *instead = missing ? suggest(c, request) : xprintf("%s", "");
    (void)cli_fail(c, codes[code], "%s%s",
                   *text ? text : "the daemon reports an error without a text", instead);
    free(instead);
    free(text);
    return FAILED;
}

int cli_ask(struct cli *c, Tide__Request *request, Tide__Response__ResultCase want,
            const Tide__Response **ret)
{
    enum rpc_rc rc = rpc_call(&c->rpc, request, c->deadline, ret);
    if (rc) return cli_fail_call(c, rc);
    if ((*ret)->result_case == TIDE__RESPONSE__RESULT_ERROR)
        return cli_fail_error(c, request, (*ret)->error);
    if ((*ret)->result_case != want)
        return cli_fail(c, "protocol", "%s gave an answer that does not fit the question",
                        c->rpc.peer);
    return DONE;
}

int cli_answer(const struct cli *c, struct json *j)
{
    int rc = j->out.rc;
    if (rc)
        (void)cli_fail(c, "internal", "the answer is too large: %s", tide_strerror(rc));
    else
        (void)json_print(j, stdout); /* main() finds a failure of the stream */
    json_release(j);
    return rc ? FAILED : DONE;
}

int cli_number(const char *arg, const char *what, uint64_t *ret)
{
    if (text_parse_u64(arg, ret) && *ret) return DONE;
    return cli_misuse("'%s' is not the number of %s", arg, what);
}

ProtobufCBinaryData cli_data(const char *text)
{
    return (ProtobufCBinaryData){text ? strlen(text) : 0, (uint8_t *)(uintptr_t)text};
}

bool cli_is(ProtobufCBinaryData data, const char *text)
{
    return data.len == strlen(text) && memcmp(data.data, text, data.len) == 0;
}

/* ---- the command line */

struct words {
    const char *word[8];
    size_t n;
    uint64_t given; /* bit i: options[i] */
};

static const struct option *find_option(const char *name, size_t len)
{
    for (size_t i = 0; i < N_OPTIONS; i++)
        if (strlen(options[i].name) == len && memcmp(options[i].name, name, len) == 0)
            return &options[i];
    return NULL;
}

static int set_option(const char *arg, const char *next, struct options *ret, struct words *w,
                      int *used)
{
    const char *name = arg + 2, *equals = strchr(name, '=');
    size_t len = equals ? (size_t)(equals - name) : strlen(name);
    const struct option *o = strcmp(arg, "-h") == 0 ? find_option("help", 4)
                             : arg[1] == '-'        ? find_option(name, len)
                                                    : NULL;
    if (!o) return cli_misuse("unknown option '%s'; see 'tidemark --help'", arg);
    w->given |= UINT64_C(1) << (o - options);
    *used = 1;
    if (!o->arg) {
        if (equals) return cli_misuse("--%s takes no value", o->name);
        *(bool *)((char *)ret + o->offset) = true;
        return DONE;
    }
    const char *value = equals ? equals + 1 : next;
    if (!value || !*value)
        return cli_misuse("--%s needs a value: --%s %s", o->name, o->name, o->arg);
    struct many *many = (struct many *)(void *)((char *)ret + o->offset);
    if (!(o->of & OF_MANY))
        *(const char **)((char *)ret + o->offset) = value;
    else if (many->n < sizeof many->item / sizeof *many->item)
        many->item[many->n++] = value;
    else
        return cli_misuse("--%s is given more than %u times", o->name, many->n);
    *used = equals ? 1 : 2;
    return DONE;
}

/* Sorts the arguments into options and words. */
static int read_arguments(int argc, char **argv, struct options *ret, struct words *w)
{
    bool only_words = false;
    for (int i = 1, used; i < argc; i += used) {
        const char *arg = argv[i];
        used = 1;
        if (!only_words && strcmp(arg, "--") == 0) {
            only_words = true;
        } else if (!only_words && arg[0] == '-' && arg[1]) {
            int rc = set_option(arg, i + 1 < argc ? argv[i + 1] : NULL, ret, w, &used);
            if (rc) return rc;
        } else if (w->n == sizeof w->word / sizeof *w->word) {
            return cli_misuse("too many arguments");
        } else {
            w->word[w->n++] = arg;
        }
    }
    return DONE;
}

/* "job show" and the like: *ret NULL after the reason was told. */
static int find_command(const struct words *w, const struct command **ret, size_t *ret_words)
{
    bool noun = false;
    char verbs[64] = "";
    for (size_t i = 0; i < N_COMMANDS; i++) {
        const struct command *k = &commands[i];
        if (strcmp(k->noun, w->word[0]) != 0) continue;
        noun = true;
        if (!k->verb || (w->n > 1 && strcmp(k->verb, w->word[1]) == 0)) {
            *ret = k;
            *ret_words = k->verb ? 2 : 1;
            return DONE;
        }
        size_t n = strlen(verbs);
        snprintf(verbs + n, sizeof verbs - n, "%s%s", n ? " or " : "", k->verb);
    }
    if (!noun) return cli_misuse("unknown command '%s'; see 'tidemark --help'", w->word[0]);
    if (w->n > 1)
        return cli_misuse("unknown command '%s %s': expected %s %s", w->word[0], w->word[1],
                          w->word[0], verbs);
    return cli_misuse("'%s' needs a further word: %s %s", w->word[0], w->word[0], verbs);
}

static int check_words(const struct command *k, const struct words *w, size_t first, struct cli *c)
{
    char usage[64];
    usage_of(k, usage);
    for (size_t i = 0; i < N_OPTIONS; i++)
        if ((w->given >> i & 1) && options[i].of && !(options[i].of & k->options))
            return cli_misuse("--%s does not go with this command; see 'tidemark %s%s%s --help'",
                              options[i].name, k->noun, k->verb ? " " : "", k->verb ? k->verb : "");
    const char *second = k->arg ? strchr(k->arg, ' ') : NULL; /* "FROM TO" */
    size_t have = w->n - first, most = second ? 2 : k->arg ? 1 : 0;
    size_t least = k->arg && k->arg[0] != '[' ? most : 0;
    if (have < least)
        return cli_misuse("%s is missing: tidemark %s", have && second ? second + 1 : k->arg,
                          usage);
    if (have > most)
        return cli_misuse("'%s' is too much: tidemark %s", w->word[first + most], usage);
    for (size_t i = 0; i < have; i++) {
        c->args[i] = w->word[first + i];
        if (!*c->args[i])
            return cli_misuse("%s is empty: tidemark %s", i ? second + 1 : k->arg, usage);
    }
    return DONE;
}

/* What can be wrong about values is found before anything is sent. */
static int check_values(struct options *o)
{
    char why[RPC_WHY];
    if (o->connect && o->data) return cli_misuse("give --connect or --data, not both");
    if (o->timeout && (!text_parse_duration(o->timeout, &o->timeout_us) || !o->timeout_us))
        return cli_misuse("--timeout '%s' is not a time: give 10 or 10s, 500ms, 5m, 1h",
                          o->timeout);
    const char *wrong = change_number_wrong(&o->max_parallelism);
    if (wrong) return cli_misuse("--max-parallelism is 1 to 1048576, not '%s'", wrong);
    wrong = change_number_wrong(&o->parallelism);
    if (wrong) return cli_misuse("--parallelism is 1 to 1048576, not '%s'", wrong);
    for (uint32_t i = 0; i < o->renames.n; i++)
        if (!strchr(o->renames.item[i], '='))
            return cli_misuse("--rename needs OLD=NEW, not '%s'", o->renames.item[i]);
    if (o->job &&
        (!*o->job || strlen(o->job) > 255 || *o->job == '.' ||
         strspn(o->job, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") !=
             strlen(o->job)))
        return cli_misuse("--job is no name of a job: '%s'", o->job);
    if (o->limit && (!text_parse_u64(o->limit, &o->limit_n) || !o->limit_n))
        return cli_misuse("--limit '%s' is not a number above 0", o->limit);
    if (o->cause && strlen(o->cause) > 255) return cli_misuse("--cause is longer than 255 bytes");
    if (o->cause && !tide_text_valid(tide_bytes_of(o->cause)))
        return cli_misuse("--cause is not UTF-8");
    if (o->key && strlen(o->key) > 64) return cli_misuse("--key is longer than 64 bytes");
    if (o->label && strlen(o->label) > 255) return cli_misuse("--label is longer than 255 bytes");
    if (o->label && !tide_text_valid(tide_bytes_of(o->label)))
        return cli_misuse("--label is not UTF-8");
    if (o->key && !tide_text_valid(tide_bytes_of(o->key))) return cli_misuse("--key is not UTF-8");
    if (!o->connect && !o->data) {
        o->anywhere = true;
        const char *env = getenv("TIDEMARK_CONNECT");
        o->connect = env && *env ? env : DEFAULT_ADDRESS;
    }
    if (!o->secret_file) {
        const char *env = getenv("TIDEMARK_SECRET_FILE");
        o->secret_file = env && *env ? env : NULL;
    }
    if (o->connect && !rpc_address_valid(o->connect, why)) return cli_misuse("%s", why);
    return DONE;
}

static int run(const struct command *k, struct cli *c)
{
    struct options *o = &c->options;
    bool waits = (k->waits || o->wait) && !o->detach;
    uint64_t timeout = o->timeout ? o->timeout_us : waits ? RPC_NEVER : DEFAULT_TIMEOUT_US;
    uint64_t now = rpc_now();
    c->deadline = timeout < RPC_NEVER - now ? now + timeout : RPC_NEVER;
    rpc_init(&c->rpc, o->connect, o->data, o->secret_file);
    int rc = k->run(c);
    rpc_close(&c->rpc);
    return rc;
}

int main(int argc, char **argv)
{
    static struct cli c = {.options.timeout_us = RPC_NEVER};
    struct words w = {.n = 0};
    const struct command *k = NULL;
    size_t first = 0;
    int rc = read_arguments(argc, argv, &c.options, &w);
    if (!rc && c.options.version) {
        printf("tidemark %s\n", TIDE_VERSION);
    } else if (!rc && w.n == 0) {
        if (!c.options.help)
            rc = cli_misuse("a command is missing; see 'tidemark --help'");
        else
            rc = help_all();
    } else if (!rc) {
        rc = find_command(&w, &k, &first);
        if (!rc && c.options.help) {
            rc = help_command(k);
        } else {
            if (!rc) rc = check_words(k, &w, first, &c);
            if (!rc) rc = check_values(&c.options);
            if (!rc) rc = run(k, &c);
        }
    }
    if (fflush(stdout) || ferror(stdout)) {
        fprintf(stderr, "tidemark: cannot write the answer: %s\n", strerror(errno));
        return FAILED;
    }
    return rc;
}
