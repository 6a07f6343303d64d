/* bench - what a durable round costs, beside what it must cost on this machine at least.
 *
 * For each number of connections and tasks it starts a tidemarkd of its own, joins that many
 * workers from this process, and then measures in pairs: a run of tests/bench/floor.c in mode
 * `reuse`, a run of the daemon, and so on, so that whatever else the machine does falls on both. A
 * round is timed as in floor.c: from the first trigger handed to the kernel to the last complete
 * read by the workers' process. Printed are medians over the pairs of each run's median and 99th
 * percentile. With --idle it measures what the daemon costs while nothing happens: idle.c. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/daemon.h"
#include "tests/bench/idle.h"
#include "tests/bench/peers.h"

enum { SIZES_MAX = 16, PAIRS_MAX = 100, WARMUP = 3 };
enum { TOTAL, TRIGGER, ACKS, COMMIT, NOTIFY, PHASES };

struct size {
    uint32_t connections, tasks;
};
static struct size sizes[SIZES_MAX] = {
    {1, 100}, {100, 1000}, {100, 10000}, {1000, 100000}, {100, 1000000}};
static unsigned n_sizes = 5;

static struct {
    const char *daemon, *floor, *json;
    uint32_t pairs, rounds, batch;
    bool verbose, idle;
} options = {.json = "bench.json", .pairs = 5, .batch = 1000};

struct figures { /* us; medians over the pairs */
    double p50, p99, floor_p50, floor_p99, phase[PHASES], floor_phase[PHASES];
    double rss, rss_idle;         /* bytes per task */
    double cpu_loop, cpu_threads; /* a round */
};

/* ---- numbers */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double part(double *values, size_t n, double of)
{
    qsort(values, n, sizeof *values, ascending);
    size_t at = (size_t)((double)n * of);
    return values[at < n ? at : n - 1];
}

/* ---- runs */

static uint32_t rounds_of(struct size s)
{
    if (options.rounds) return options.rounds;
    return s.tasks >= 1000000 ? 20 : s.tasks >= 50000 ? 50 : 200;
}

static double field(const char *line, const char *name)
{
    const char *at = strstr(line, name);
    if (!at) die("floor says no %s: %s", name, line);
    return strtod(at + strlen(name), NULL);
}

static void run_floor(struct size s, const struct daemon *d, double ret[2], double phases[PHASES])
{
    char command[1024], line[1024] = "";
    snprintf(command, sizeof command, "%s -m reuse -w %u -n %u -r %u -u %d -f '%s/floor'",
             options.floor, s.connections, s.tasks, rounds_of(s), WARMUP, d->directory);
    FILE *f = popen(command, "r");
    if (!f || !fgets(line, sizeof line, f) || pclose(f) != 0) die("'%s' failed", command);
    ret[0] = field(line, " total_p50=");
    ret[1] = field(line, " total_p99=");
    phases[TRIGGER] = field(line, " trigger_p50=");
    phases[ACKS] = field(line, " acks_p50=");
    phases[COMMIT] = field(line, " commit_p50=");
    phases[NOTIFY] = field(line, " notify_p50=");
}

static void run_daemon(struct size s, struct peers *p, double ret[2], double phases[PHASES])
{
    uint32_t n = rounds_of(s);
    struct round_times *times = calloc(n + WARMUP, sizeof *times);
    double *values = calloc(n, sizeof *values);
    if (!times || !values) die("out of memory");
    peers_rounds(p, n + WARMUP, times);
    for (int phase = 0; phase < PHASES; phase++) {
        for (uint32_t i = 0; i < n; i++) {
            const struct round_times *t = &times[i + WARMUP];
            const uint64_t all[PHASES] = {t->total, t->trigger, t->acks, t->commit, t->notify};
            values[i] = (double)all[phase];
        }
        phases[phase] = part(values, n, 0.5);
        if (phase == TOTAL) ret[1] = part(values, n, 0.99);
    }
    ret[0] = phases[TOTAL];
    free(times);
    free(values);
}

static struct figures measure(struct size s)
{
    double p50[4][PAIRS_MAX], phase[2][PHASES][PAIRS_MAX], cpu[2][PAIRS_MAX];
    struct figures f = {0};
    const struct daemon *d = daemon_start(options.daemon, options.json);
    double before = daemon_memory("VmRSS:");
    struct peers *p = peers_open(d->port, s.connections, s.tasks, options.batch, 0);
    nanosleep(&(struct timespec){.tv_sec = 1}, NULL); /* what the join took is given back */
    daemon_memory_peak_reset();
    for (uint32_t i = 0; i < options.pairs; i++) {
        double floor_run[2] = {0}, run[2] = {0}, floor_phases[PHASES] = {0}, phases[PHASES];
        run_floor(s, d, floor_run, floor_phases);
        peers_heartbeat(p);
        struct cpu from = daemon_cpu();
        run_daemon(s, p, run, phases);
        struct cpu upto = daemon_cpu();
        double rounds = rounds_of(s) + WARMUP + 1;
        cpu[0][i] = (upto.loop - from.loop) / rounds / 1e3;
        cpu[1][i] = (upto.others - from.others) / rounds / 1e3;
        if (options.verbose)
            fprintf(stderr,
                    "%u/%u pair %u: floor %.0f (p99 %.0f), daemon %.0f (p99 %.0f), CPU a round "
                    "%.0f loop, %.0f threads\n",
                    s.connections, s.tasks, i + 1, floor_run[0], floor_run[1], run[0], run[1],
                    cpu[0][i], cpu[1][i]);
        p50[0][i] = run[0], p50[1][i] = run[1], p50[2][i] = floor_run[0], p50[3][i] = floor_run[1];
        for (int k = 0; k < PHASES; k++)
            phase[0][k][i] = phases[k], phase[1][k][i] = floor_phases[k];
    }
    f.rss = (daemon_memory("VmHWM:") - before) / s.tasks;
    nanosleep(&(struct timespec){.tv_sec = 2}, NULL); /* what is written behind is written */
    f.rss_idle = (daemon_memory("VmRSS:") - before) / s.tasks;
    peers_close(p);
    daemon_remove();
    f.p50 = part(p50[0], options.pairs, 0.5);
    f.p99 = part(p50[1], options.pairs, 0.5);
    f.floor_p50 = part(p50[2], options.pairs, 0.5);
    f.floor_p99 = part(p50[3], options.pairs, 0.5);
    f.cpu_loop = part(cpu[0], options.pairs, 0.5);
    f.cpu_threads = part(cpu[1], options.pairs, 0.5);
    for (int k = 0; k < PHASES; k++) {
        f.phase[k] = part(phase[0][k], options.pairs, 0.5);
        f.floor_phase[k] = part(phase[1][k], options.pairs, 0.5);
    }
    return f;
}

/* ---- telling */

static void print_head(void)
{
    printf(
        "%u pairs of runs, floor and daemon in turn; times in us, medians over the runs\n\n"
        "| connections, tasks | round p50 | p99 | floor p50 | p99 | ratio | of p99 |"
        " trigger | acks | commit | notify | CPU loop | threads | bytes per task, round | idle |\n"
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
        options.pairs);
}

static void print_row(struct size s, const struct figures *f)
{
    printf("| %u, %u | %.0f | %.0f | %.0f | %.0f | %.2f | %.2f | %.0f | %.0f | %.0f | %.0f | %.0f "
           "| %.0f | %.0f | %.0f |\n",
           s.connections, s.tasks, f->p50, f->p99, f->floor_p50, f->floor_p99,
           f->p50 / f->floor_p50, f->p99 / f->floor_p99, f->phase[TRIGGER], f->phase[ACKS],
           f->phase[COMMIT], f->phase[NOTIFY], f->cpu_loop, f->cpu_threads, f->rss, f->rss_idle);
    printf("| its floor | | | | | | | %.0f | %.0f | %.0f | %.0f | | | | |\n",
           f->floor_phase[TRIGGER], f->floor_phase[ACKS], f->floor_phase[COMMIT],
           f->floor_phase[NOTIFY]);
    fflush(stdout);
}

static void write_json(const struct figures *figures)
{
    FILE *f = fopen(options.json, "w");
    if (!f) die("%s: %s", options.json, strerror(errno));
    fprintf(f, "{\n  \"pairs\": %u,\n  \"rounds\": [\n", options.pairs);
    for (unsigned i = 0; i < n_sizes; i++) {
        const struct figures *g = &figures[i];
        fprintf(f,
                "    {\"connections\": %u, \"tasks\": %u, \"p50_us\": %.1f, \"p99_us\": %.1f, "
                "\"floor_p50_us\": %.1f, \"floor_p99_us\": %.1f, \"ratio\": %.3f, "
                "\"cpu_loop_us\": %.1f, \"cpu_threads_us\": %.1f, "
                "\"rss_bytes_per_task\": %.1f, \"rss_bytes_per_task_idle\": %.1f, "
                "\"phases_us\": {\"trigger\": %.1f, \"acks\": %.1f, \"commit\": %.1f, \"notify\": "
                "%.1f}}%s\n",
                sizes[i].connections, sizes[i].tasks, g->p50, g->p99, g->floor_p50, g->floor_p99,
                g->p50 / g->floor_p50, g->cpu_loop, g->cpu_threads, g->rss, g->rss_idle,
                g->phase[TRIGGER], g->phase[ACKS], g->phase[COMMIT], g->phase[NOTIFY],
                i + 1 < n_sizes ? "," : "");
    }
    fprintf(f, "  ]\n}\n");
    if (fclose(f) != 0) die("%s: %s", options.json, strerror(errno));
}

/* ---- the command line */

static void usage(int code)
{
    fprintf(
        code ? stderr : stdout,
        "usage: bench --daemon PATH --floor PATH [--json FILE] [--sizes W/N,W/N...] [--pairs N]\n"
        "             [--rounds N] [--batch ACKS] [--verbose]\n"
        "       bench --idle --daemon PATH [--json FILE]\n");
    exit(code);
}

static uint32_t number(const char *text, uint32_t max)
{
    char *end;
    errno = 0;
    unsigned long v = strtoul(text, &end, 10);
    if (errno || end == text || *end || v == 0 || v > max)
        die("'%s' is not a number from 1 to %u", text, max);
    return (uint32_t)v;
}

static void parse_sizes(char *list)
{
    n_sizes = 0;
    for (char *item = strtok(list, ","); item; item = strtok(NULL, ",")) {
        char *slash = strchr(item, '/');
        if (!slash || n_sizes == SIZES_MAX)
            die("'%s': sizes are CONNECTIONS/TASKS, at most %d", item, SIZES_MAX);
        *slash = '\0';
        sizes[n_sizes].connections = number(item, 50000);
        sizes[n_sizes].tasks = number(slash + 1, 1u << 20);
        if (sizes[n_sizes].tasks < sizes[n_sizes].connections) die("fewer tasks than connections");
        n_sizes++;
    }
}

static void parse(int argc, char **argv)
{
    static const struct option names[] = {{"daemon", required_argument, NULL, 'd'},
                                          {"floor", required_argument, NULL, 'f'},
                                          {"json", required_argument, NULL, 'j'},
                                          {"sizes", required_argument, NULL, 's'},
                                          {"pairs", required_argument, NULL, 'p'},
                                          {"rounds", required_argument, NULL, 'r'},
                                          {"batch", required_argument, NULL, 'b'},
                                          {"verbose", no_argument, NULL, 'v'},
                                          {"idle", no_argument, NULL, 'i'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    for (int c; (c = getopt_long(argc, argv, "h", names, NULL)) != -1;) {
        switch (c) {
        case 'd': options.daemon = optarg; break;
        case 'f': options.floor = optarg; break;
        case 'j': options.json = optarg; break;
        case 's': parse_sizes(optarg); break;
        case 'p': options.pairs = number(optarg, PAIRS_MAX); break;
        case 'r': options.rounds = number(optarg, 100000); break;
        case 'b': options.batch = number(optarg, 100000); break;
        case 'v': options.verbose = true; break;
        case 'i': options.idle = true; break;
        case 'h': usage(0); break;
        default: usage(2);
        }
    }
    if (!options.daemon || (!options.floor && !options.idle) || optind != argc) usage(2);
}

static void stopped(int signal_number)
{
    (void)signal_number;
    daemon_kill();
    _exit(1);
}

int main(int argc, char **argv)
{
    struct figures figures[SIZES_MAX];
    struct rlimit files;
    parse(argc, argv);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGINT, stopped);
    signal(SIGTERM, stopped);
    signal(SIGPIPE, SIG_IGN);
    atexit(daemon_remove);
    if (options.idle) {
        idle_measure(options.daemon, options.json);
        return 0;
    }
    print_head();
    for (unsigned i = 0; i < n_sizes; i++) {
        figures[i] = measure(sizes[i]);
        print_row(sizes[i], &figures[i]);
    }
    write_json(figures);
    printf("\n%s written\n", options.json);
    return 0;
}
