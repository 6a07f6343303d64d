/* Options, and which stage this process is. See wordcount.h for the whole. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wordcount.h"
#include "worker.h"

static const char usage[] =
    "usage: wordcount source   --index I --input FILE [--rate BYTES] [options]\n"
    "       wordcount splitter --index I [options]\n"
    "       wordcount counter  --index I [options]\n"
    "       wordcount sink     --parts DIR [options]\n"
    "       wordcount sum DIR\n"
    "\n"
    "Each of the first four is one task of a job that counts the words of FILE: one process for "
    "each\n"
    "source, splitter and counter, and one sink, which publishes to DIR. They may start in any "
    "order, and may\n"
    "be killed and started again at any moment. `sum` adds up what was published and prints it as\n"
    "LC_ALL=C tr -cs A-Za-z '\\n' < FILE | LC_ALL=C sort | uniq -c does.\n"
    "\n"
    "options, the same for every process of a job:\n"
    "  --connect ADDRESS  of tidemarkd [127.0.0.1:7460]\n"
    "  --secret FILE      the daemon's shared secret, if it has one\n"
    "  --job NAME         [wordcount]\n"
    "  --restore-from DIR where the job begins if it is new, on the daemon's machine\n"
    "  --sources N, --splitters N, --counters N   how many [2]\n"
    "  --key-groups N     most counters that the job can ever have [128]\n"
    "  --barriers aligned|counted|unaligned|timeout   how tasks wait for them [aligned]\n"
    "  --timeout MS       with `--barriers timeout`: when a checkpoint turns unaligned [100]\n"
    "  --interval MS, --deadline MS, --lease MS, --heartbeat MS, --grace MS\n"
    "                     of the job's checkpoints [500, 10000, and the daemon's defaults]\n"
    "options of this process:\n"
    "  --index I          which of its stage it is, from 0 [0]\n"
    "  --host ADDRESS     IPv4 address to listen on for the other processes [127.0.0.1]\n"
    "  --rate BYTES       of all sources together, a second [0: as fast as it goes]\n"
    "  --room BYTES       that wait at each end of a channel before it is full [1048576]\n"
    "  --slow BYTES       of counts that each counter takes in, a second [0: as fast as it goes]\n"
    "signals: SIGUSR1 declines the next snapshot, after a moment; SIGUSR2 lets a source forget\n"
    "--rate and a counter --slow, and a sink kill itself when it should publish next\n";

enum option_id {
    OPT_CONNECT = 1,
    OPT_SECRET,
    OPT_JOB,
    OPT_RESTORE_FROM,
    OPT_SOURCES,
    OPT_SPLITTERS,
    OPT_COUNTERS,
    OPT_KEY_GROUPS,
    OPT_INTERVAL,
    OPT_DEADLINE,
    OPT_LEASE,
    OPT_HEARTBEAT,
    OPT_GRACE,
    OPT_INDEX,
    OPT_HOST,
    OPT_RATE,
    OPT_SLOW,
    OPT_ROOM,
    OPT_BARRIERS,
    OPT_TIMEOUT,
    OPT_INPUT,
    OPT_PARTS,
    OPT_HELP
};

static const struct option long_options[] = {
    {"connect", required_argument, NULL, OPT_CONNECT},
    {"secret", required_argument, NULL, OPT_SECRET},
    {"job", required_argument, NULL, OPT_JOB},
    {"restore-from", required_argument, NULL, OPT_RESTORE_FROM},
    {"sources", required_argument, NULL, OPT_SOURCES},
    {"splitters", required_argument, NULL, OPT_SPLITTERS},
    {"counters", required_argument, NULL, OPT_COUNTERS},
    {"key-groups", required_argument, NULL, OPT_KEY_GROUPS},
    {"interval", required_argument, NULL, OPT_INTERVAL},
    {"deadline", required_argument, NULL, OPT_DEADLINE},
    {"lease", required_argument, NULL, OPT_LEASE},
    {"heartbeat", required_argument, NULL, OPT_HEARTBEAT},
    {"grace", required_argument, NULL, OPT_GRACE},
    {"index", required_argument, NULL, OPT_INDEX},
    {"host", required_argument, NULL, OPT_HOST},
    {"rate", required_argument, NULL, OPT_RATE},
    {"room", required_argument, NULL, OPT_ROOM},
    {"slow", required_argument, NULL, OPT_SLOW},
    {"barriers", required_argument, NULL, OPT_BARRIERS},
    {"timeout", required_argument, NULL, OPT_TIMEOUT},
    {"input", required_argument, NULL, OPT_INPUT},
    {"parts", required_argument, NULL, OPT_PARTS},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

static uint64_t number(const char *option, const char *text, uint64_t min, uint64_t max)
{
    char *rest;
    errno = 0;
    uint64_t n = strtoull(text, &rest, 10);
    if (errno || *text < '0' || *text > '9' || *rest || n < min || n > max)
        die("--%s %s: must be a number from %llu to %llu", option, text, (unsigned long long)min,
            (unsigned long long)max);
    return n;
}

static uint32_t barriers_of(const char *name)
{
    static const char *const names[] = {"aligned", "counted", "unaligned", "timeout"};
    for (uint32_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) return i; /* as enum tide_barriers */
    die("--barriers %s: must be aligned, counted, unaligned or timeout", name);
}

static void take_option(struct options *o, int id, const char *name, const char *value)
{
    struct plan *p = &o->plan;
    struct tide_checkpointing *c = &p->checkpointing;
    const uint64_t ms_max = 86400000;
    switch (id) {
    case OPT_CONNECT: o->connect = value; break;
    case OPT_SECRET: o->secret_file = value; break;
    case OPT_JOB: p->job = value; break;
    case OPT_RESTORE_FROM: p->restore_from = value; break;
    case OPT_SOURCES: p->sources = (uint32_t)number(name, value, 1, PARALLELISM_MAX); break;
    case OPT_SPLITTERS: p->splitters = (uint32_t)number(name, value, 1, PARALLELISM_MAX); break;
    case OPT_COUNTERS: p->counters = (uint32_t)number(name, value, 1, PARALLELISM_MAX); break;
    case OPT_KEY_GROUPS: p->max_parallelism = (uint32_t)number(name, value, 1, 32768); break;
    case OPT_INTERVAL: c->interval_ms = (uint32_t)number(name, value, 10, ms_max); break;
    case OPT_DEADLINE: c->deadline_ms = (uint32_t)number(name, value, 10, ms_max); break;
    case OPT_LEASE: c->lease_ms = (uint32_t)number(name, value, 10, ms_max); break;
    case OPT_HEARTBEAT: c->heartbeat_ms = (uint32_t)number(name, value, 10, ms_max); break;
    case OPT_GRACE: c->grace_ms = (uint32_t)number(name, value, 10, ms_max); break;
    case OPT_INDEX: o->index = (uint32_t)number(name, value, 0, PARALLELISM_MAX - 1); break;
    case OPT_HOST: o->host = value; break;
    case OPT_RATE: o->rate = number(name, value, 0, (uint64_t)1 << 40); break;
    case OPT_SLOW: o->slow = number(name, value, 0, (uint64_t)1 << 40); break;
    case OPT_ROOM: o->room = (uint32_t)number(name, value, 4096, 1 << 20); break;
    case OPT_BARRIERS: c->alignment = barriers_of(value); break;
    case OPT_TIMEOUT: c->aligned_timeout_ms = (uint32_t)number(name, value, 1, ms_max); break;
    case OPT_INPUT: o->input = value; break;
    case OPT_PARTS: o->parts = value; break;
    case OPT_HELP: fputs(usage, stdout); exit(0);
    default: fputs("try wordcount --help\n", stderr); exit(2);
    }
}

static void on_signal(int signal)
{
    if (signal == SIGUSR1) decline_next = 1;
    if (signal == SIGUSR2) full_speed = die_next = 1;
}

/* Finds the stage by its name, checks what it needs, and fills it in. */
static void choose_stage(const char *name, const struct options *o, struct stage *stage)
{
    const struct {
        const char *name;
        uint32_t tasks;
        void (*make)(const struct options *o, struct stage *stage);
    } stages[] = {
        {"source", o->plan.sources, source_stage},
        {"splitter", o->plan.splitters, splitter_stage},
        {"counter", o->plan.counters, counter_stage},
        {"sink", 1, sink_stage},
    };
    char who[64];
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        if (strcmp(name, stages[i].name) != 0) continue;
        snprintf(who, sizeof who, "%s %u", name, o->index);
        say_who(who);
        if (o->index >= stages[i].tasks)
            die("--index %u: there are only %u", o->index, stages[i].tasks);
        if (stages[i].make == source_stage && !o->input) die("--input is missing");
        if (stages[i].make == sink_stage && !o->parts) die("--parts is missing");
        stages[i].make(o, stage);
        return;
    }
    die("%s: not a stage; try wordcount --help", name);
}

int main(int argc, char **argv)
{
    struct options o = {
        .plan = {"wordcount", NULL, 2, 2, 2, 128, {.interval_ms = 500, .deadline_ms = 10000}},
        .host = "127.0.0.1",
        .room = OUTPUT_ROOM,
    };
    struct stage stage;
    struct sigaction action = {.sa_handler = on_signal};
    int id, which = 0;
    while ((id = getopt_long(argc, argv, "", long_options, &which)) != -1)
        take_option(&o, id, id == '?' ? "" : long_options[which].name, optarg);
    if (optind < argc && strcmp(argv[optind], "sum") == 0 && optind + 2 == argc)
        return sum_parts(argv[optind + 1]);
    if (optind + 1 != argc) {
        fputs(usage, stderr);
        return 2;
    }
    if (o.plan.checkpointing.alignment != TIDE_BARRIERS_TIMEOUT)
        o.plan.checkpointing.aligned_timeout_ms = 0;
    else if (!o.plan.checkpointing.aligned_timeout_ms)
        o.plan.checkpointing.aligned_timeout_ms = 100;
    if (o.plan.max_parallelism < o.plan.counters)
        die("--key-groups %u: fewer than counters", o.plan.max_parallelism);
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGUSR2, &action, NULL);
    choose_stage(argv[optind], &o, &stage);
    int code = worker_run(&o, &stage);
    stage.free(stage.self);
    return code;
}
