/* splits: a coordinator hands out files to readers that add up their lines; any of the processes
 * may be killed at any moment, and each file is counted exactly once.
 *
 *     splits INDEX --files DIR --out FILE [OPTION...]
 *
 * One of --readers processes, which leaves FILE.INDEX: a line for each file, with its sum. The
 * first has the coordinator as well, the last the ledger, FILE.ledger.
 *
 *     --readers N      [2]                        --interval MS    between snapshots [200]
 *     --pause US       for each line [0]          --connect HOST:PORT [127.0.0.1:7460]
 *
 * Which reader gets which file is decided while the job runs, and not by a task: so there is state
 * beside that of the tasks, and a conversation that must not be cut in two by a snapshot.
 * coordinator.c shows how that goes; ledger.c a hook, that is, something to be done outside at each
 * round; reader.c the tasks. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "splits.h"

void die(const char *what)
{
    fprintf(stderr, "splits: %s: %s\n", what, strerror(errno));
    exit(1);
}

static struct tide_worker *join(const struct options *o, const char *endpoint)
{
    struct tide_spec *spec;
    struct tide_worker *tide;
    char why[256], name[32];
    snprintf(name, sizeof name, "splits-%u", o->index);
    if (tide_spec_new("splits", &spec)) die("the job");
    tide_spec_operator(spec, OPERATOR, o->readers, 0);
    tide_spec_coordinator(spec, OPERATOR);
    tide_spec_hook(spec, HOOK);
    tide_spec_checkpointing(spec, &(struct tide_checkpointing){.interval_ms = o->interval_ms});
    struct tide_worker_config config = {
        .spec = spec, .address = o->connect, .name = name, .endpoint = endpoint};
    int rc = tide_worker_new(&config, &tide, why);
    tide_spec_free(spec);
    if (!rc) return tide;
    fprintf(stderr, "splits: %s\n", why);
    exit(1);
}

static int work(struct tide_worker *tide, struct reader *r, struct coordinator *c, uint32_t readers)
{
    struct pollfd fds[1 + READER_FDS + READERS_MAX];
    int rc = 0;
    while (rc == 0) {
        bool more = reader_work(r);
        fds[0] = (struct pollfd){.fd = tide_worker_fd(tide), .events = POLLIN};
        reader_fds(r, fds + 1);
        if (c) coordinator_fds(c, fds + 1 + READER_FDS);
        if (poll(fds, 1 + READER_FDS + (c ? readers : 0), more ? 0 : 1000) <= 0) continue;
        reader_serve(r, fds + 1);
        if (c) coordinator_serve(c, fds + 1 + READER_FDS);
        if (fds[0].revents) rc = tide_worker_process(tide);
    }
    fprintf(stderr, "splits: %s\n", tide_worker_error(tide));
    return rc == TIDE_EENDED ? 0 : 1;
}

static uint32_t number(const char *text, const char *what, uint32_t least)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (text[0] >= '0' && text[0] <= '9' && !*end && n >= least && n <= 100000000)
        return (uint32_t)n;
    fprintf(stderr, "splits: %s %s: must be a number of at least %u\n", what, text, least);
    exit(2);
}

static void parse(struct options *o, int argc, char **argv)
{
    static const struct option options[] = {{"files", required_argument, NULL, 'f'},
                                            {"out", required_argument, NULL, 'o'},
                                            {"readers", required_argument, NULL, 'r'},
                                            {"connect", required_argument, NULL, 'c'},
                                            {"interval", required_argument, NULL, 'i'},
                                            {"pause", required_argument, NULL, 'p'},
                                            {NULL, 0, NULL, 0}};
    int which;
    while ((which = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (which) {
        case 'f': o->files = optarg; break;
        case 'o': o->out = optarg; break;
        case 'r': o->readers = number(optarg, "--readers", 1); break;
        case 'c': o->connect = optarg; break;
        case 'i': o->interval_ms = number(optarg, "--interval", 10); break;
        case 'p': o->pause_us = number(optarg, "--pause", 0); break;
        default: exit(2);
        }
    }
    if (optind + 1 != argc || !o->files || !o->out) {
        fprintf(stderr, "usage: splits INDEX --files DIR --out FILE [--readers N] [--interval MS] "
                        "[--pause US] [--connect HOST:PORT]\n");
        exit(2);
    }
    o->index = number(argv[optind], "reader", 0);
    if (o->index < o->readers && o->readers <= READERS_MAX) return;
    fprintf(stderr, "splits: reader %u of %u: there are at most %u\n", o->index, o->readers,
            (unsigned)READERS_MAX);
    exit(2);
}

int main(int argc, char **argv)
{
    struct options o = {.readers = 2, .interval_ms = 200};
    char endpoint[32];
    parse(&o, argc, argv);
    int listener = channel_listen(endpoint);
    struct tide_worker *tide = join(&o, endpoint);
    struct reader *r = reader_new(tide, &o, listener);
    struct coordinator *c = o.index == 0 ? coordinator_new(tide, &o) : NULL;
    struct ledger *l = o.index + 1 == o.readers ? ledger_new(tide, &o) : NULL;
    int code = work(tide, r, c, o.readers);
    tide_worker_free(tide);
    ledger_free(l);
    coordinator_free(c);
    reader_free(r);
    close(listener);
    return code;
}
