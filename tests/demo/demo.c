/* The demo: a job counts the words of a text while its processes are killed, and the count is
 * right.
 *
 *   demo BUILD WORK INPUT SEED TIMES [BARRIERS]     (tests/demo.sh makes the input and calls this)
 *
 * TIMES: how often the plan is gone through; 0: once, and of it only what takes no time.
 *
 * With BARRIERS (as the option of wordcount) the counters are slower than the sources, so that all
 * queues are full and barriers have much to wait for, or to go ahead of.
 *
 * The usual way: start tidemarkd and seven workers; do everything of the plan, in the seed's order,
 * each once the job runs and a round has completed; let the sources run at full speed, with a last
 * kill; wait for the end; compare with coreutils; stop the daemon.
 *
 * What fails it: a wrong count; a process that ends by itself; a round that should abort and does
 * not; a recovery, or the whole, that takes too long; a savepoint that cannot be taken or verified.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/demo/demo.h"

#define INTERVAL_MS 400
#define DEADLINE_MS 1500
#define FREEZE_MS 2500 /* beyond the deadline, well below the lease */
#define LEASE_MS "5000"
#define SLOWER 16                /* with BARRIERS a counter takes in so much less than is put out */
#define ROOMS 800                /* and channels hold so small a part of the input */
#define SLOW_DEADLINE_MS "60000" /* then a round may take this long */
#define TIMEOUT_MS "200"         /* and turns unaligned after this */
#define PATIENCE_MS 30000        /* for anything that should take a second */
#define TOTAL_MS 175000
#define PACED_S 60 /* the whole input would take this long until the plan is done */
#define SINK (WORKERS - 1)
#define SOURCES 2 /* the first workers */

enum deed {
    ONE_WORKER,
    TWO_WORKERS,
    THE_DAEMON,
    BOTH,
    WILD,
    DECLINE,
    FREEZE,
    REPLACE,
    LAST_MOMENT,
    SAVEPOINT
};
static enum deed plan[] = {ONE_WORKER, ONE_WORKER, ONE_WORKER,  TWO_WORKERS, THE_DAEMON,
                           THE_DAEMON, BOTH,       WILD,        DECLINE,     DECLINE,
                           FREEZE,     REPLACE,    LAST_MOMENT, SAVEPOINT};
#define DEEDS (int)(sizeof plan / sizeof *plan)
static enum deed short_plan[] = {ONE_WORKER, THE_DAEMON, BOTH, DECLINE, LAST_MOMENT, SAVEPOINT};
#define SHORT_DEEDS (int)(sizeof short_plan / sizeof *short_plan)

static const char *build;
static int times;     /* that the plan is gone through */
static bool in_short; /* the short one */
static char address[64], bin_daemon[4096], bin_tool[4096], bin_wordcount[4096];
static char listen_flag[64], rate_flag[32], slow_flag[32], room_flag[32];
static const char *barriers; /* NULL: aligned, and nobody is slow */
static uint64_t random_state, old_attempt, old_completed, old_aborted, savepoint;
static int worker_kills, daemon_kills, freezes, declines, n_replaced;
static uint32_t old_finished;
static int64_t recoveries[1024]; /* ms */
static int n_recoveries;

static uint32_t draw(uint32_t below)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) % below;
}

/* A path below the working directory, kept for the rest of the program. */
static char *in_work(const char *name)
{
    static char *known[32];
    size_t i, dir = strlen(work_dir) + 1;
    for (i = 0; i < sizeof known / sizeof *known && known[i]; i++)
        if (!strcmp(known[i] + dir, name)) return known[i];
    if (i == sizeof known / sizeof *known || asprintf(&known[i], "%s/%s", work_dir, name) < 0)
        fail("out of memory");
    return known[i];
}

/* ---- what is waited for */

static bool attempt_is_new(void)
{
    return watch.attempt > old_attempt;
}

static bool round_completed(void)
{
    return watch.completed > old_completed;
}

static bool round_aborted(void)
{
    return watch.aborted > old_aborted;
}

static bool one_finished(void)
{
    return watch.finished > old_finished;
}

static bool workers_gone(void)
{
    for (int i = 0; i < WORKERS; i++)
        if (procs[i].pid) return false;
    return true;
}

static bool zombie_gone(void)
{
    return procs[ZOMBIE].pid == 0;
}

static bool zombie_knows(void)
{
    return watch.zombie_fenced && watch.zombie_rewound;
}

static bool port_known(void)
{
    FILE *f = fopen(in_work("data/port"), "re");
    unsigned port = 0;
    if (!f) return false;
    if (fscanf(f, "%u", &port) != 1) port = 0;
    fclose(f);
    if (port == 0) return false;
    snprintf(address, sizeof address, "127.0.0.1:%u", port);
    return true;
}

/* It may have been killed a moment ago. */
static bool daemon_listens(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    a.sin_port = htons((uint16_t)atoi(strchr(address, ':') + 1));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool yes = fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0;
    if (fd >= 0) close(fd);
    return yes;
}

static void still_in_time(void)
{
    if (now_ms() > TOTAL_MS * times) fail("it takes longer than %d s", TOTAL_MS * times / 1000);
    if (watch.finished && workers_gone()) fail("the input was used up before the plan was done");
}

/* The job runs, and a round has completed since the last deed. */
static void wait_steady(void)
{
    old_completed = watch.completed;
    if (!pump(round_completed, PATIENCE_MS))
        fail("no round has completed for %d s", PATIENCE_MS / 1000);
    still_in_time();
}

/* ---- starting */

static void start_daemon(void)
{
    struct proc *d = &procs[DAEMON];
    snprintf(d->name, sizeof d->name, "tidemarkd");
    const char *argv[] = {bin_daemon, "--listen", listen_flag, "--data", in_work("data"), NULL};
    memcpy(d->argv, argv, sizeof argv);
    snprintf(listen_flag, sizeof listen_flag, "127.0.0.1:0");
    d->keep = true;
    spawn(d);
    if (!pump(port_known, PATIENCE_MS)) fail("tidemarkd does not listen");
    snprintf(listen_flag, sizeof listen_flag, "%s", address); /* the same after a restart */
    tell("tidemarkd listens on %s, pid %d", address, (int)d->pid);
}

static void start_workers(const char *input, uint64_t bytes)
{
    static const struct {
        const char *name, *stage, *index;
    } kinds[WORKERS] = {{"source 0", "source", "0"},
                        {"source 1", "source", "1"},
                        {"splitter 0", "splitter", "0"},
                        {"splitter 1", "splitter", "1"},
                        {"counter 0", "counter", "0"},
                        {"counter 1", "counter", "1"},
                        {"sink", "sink", "0"}};
    uint64_t rate = bytes / (uint64_t)(PACED_S * times) + 1;
    uint64_t room = barriers ? bytes / ROOMS : 1 << 20;
    snprintf(rate_flag, sizeof rate_flag, "%" PRIu64, barriers ? 0 : rate);
    snprintf(slow_flag, sizeof slow_flag, "%" PRIu64, barriers ? rate / SLOWER + 1 : 0);
    snprintf(room_flag, sizeof room_flag, "%" PRIu64,
             room < 16384     ? 16384
             : room > 1 << 20 ? 1 << 20
                              : room);
    const char *deadline = barriers ? SLOW_DEADLINE_MS : "1500",
               *how = barriers ? barriers : "aligned";
    for (int i = 0; i < WORKERS; i++) {
        struct proc *p = &procs[i];
        const char *argv[] = {bin_wordcount, kinds[i].stage,
                              "--index",     kinds[i].index,
                              "--connect",   address,
                              "--interval",  "400",
                              "--deadline",  deadline,
                              "--lease",     LEASE_MS,
                              "--heartbeat", "500",
                              "--grace",     LEASE_MS,
                              "--input",     input,
                              "--parts",     in_work("parts"),
                              "--barriers",  how,
                              "--timeout",   TIMEOUT_MS,
                              "--room",      room_flag,
                              "--rate",      rate_flag,
                              "--slow",      slow_flag,
                              NULL};
        snprintf(p->name, sizeof p->name, "%s", kinds[i].name);
        memcpy(p->argv, argv, sizeof argv);
        p->keep = true;
        spawn(p);
    }
    tell("7 workers: 2 sources, 2 splitters, 2 counters, 1 sink; a checkpoint every %d ms",
         INTERVAL_MS);
    if (!pump(attempt_is_new, PATIENCE_MS)) fail("the job does not start");
    tell("attempt %" PRIu64 " runs", watch.attempt);
}

/* ---- deeds */

static void kill_one(int i)
{
    struct proc *p = &procs[i];
    if (p->pid == 0) return; /* ended in good order a moment ago */
    tell("kill -9 %s (pid %d), after round %" PRIu64, p->name, (int)p->pid, watch.last_complete);
    p->killed = true;
    kill(p->pid, SIGKILL);
    watch_started(p);
    if (i == DAEMON)
        daemon_kills++;
    else
        worker_kills++;
}

static void note_recovery(int64_t since)
{
    if (n_recoveries < 1024) recoveries[n_recoveries++] = since;
}

static void wait_recovered(int64_t killed_at)
{
    if (!pump(attempt_is_new, PATIENCE_MS))
        fail("the job does not run again after %d s", PATIENCE_MS / 1000);
    int64_t took = watch.ran_at - killed_at;
    tell("   -> all back at snapshot %" PRIu64 ", attempt %" PRIu64 " runs after %.2f s",
         watch.snapshot, watch.attempt, (double)took / 1000);
    note_recovery(took);
    still_in_time();
}

static void do_workers(int n)
{
    int64_t at = now_ms();
    for (int i = 0; i < n; i++) {
        if (i > 0) (void)pump(NULL, (int)draw(300)); /* perhaps in the middle of the recovery */
        old_attempt = watch.attempt;
        kill_one((int)draw(WORKERS));
    }
    wait_recovered(at);
}

static void do_daemon(void)
{
    int64_t at = now_ms();
    old_completed = watch.completed;
    uint64_t attempt = watch.attempt;
    kill_one(DAEMON);
    if (!pump(round_completed, PATIENCE_MS))
        fail("no round has completed for %d s after the daemon's restart", PATIENCE_MS / 1000);
    int64_t took = watch.completed_at - at;
    tell("   -> started again; round %" PRIu64 " completes after %.2f s, %s", watch.last_complete,
         (double)took / 1000,
         watch.attempt == attempt ? "the workers had gone on computing" : "in a new attempt");
    note_recovery(took);
}

static void do_both(void)
{
    int64_t at = now_ms();
    old_attempt = watch.attempt;
    kill_one(DAEMON);
    kill_one((int)draw(WORKERS));
    wait_recovered(at);
}

/* One after the other, without waiting for anything. */
static void do_wild(void)
{
    int n = 3 + (int)draw(3);
    int64_t at = 0;
    for (int i = 0; i < n; i++) {
        if (i > 0) (void)pump(NULL, (int)draw(250));
        old_completed = watch.completed;
        at = now_ms();
        kill_one((int)draw(WORKERS + 1));
    }
    if (!pump(round_completed, PATIENCE_MS))
        fail("no round has completed for %d s", PATIENCE_MS / 1000);
    tell("   -> attempt %" PRIu64 "; round %" PRIu64 " completes after %.2f s", watch.attempt,
         watch.last_complete, (double)(watch.completed_at - at) / 1000);
    note_recovery(watch.completed_at - at);
}

/* A worker that stands still for longer than its lease and is replaced meanwhile. When it goes on
 * it believes that it is still the one, until the daemon tells it. */
static void do_replace(void)
{
    struct proc *p = &procs[draw(WORKERS)], *z = &procs[ZOMBIE];
    tell("%s (pid %d) is frozen, and another process started in its place", p->name, (int)p->pid);
    kill(p->pid, SIGSTOP);
    FILE *log = z->log;
    *z = *p;
    z->log = log;
    z->keep = false;
    z->killed = true;
    snprintf(z->name, sizeof z->name, "zombie");
    watch.zombie_fenced = watch.zombie_rewound = false;
    old_attempt = watch.attempt;
    int64_t at = now_ms();
    spawn(p);
    if (!pump(attempt_is_new, PATIENCE_MS)) fail("%s is not replaced", p->name);
    tell("   -> waited for the lease of the old one; attempt %" PRIu64 " runs after %.2f s",
         watch.attempt, (double)(watch.ran_at - at) / 1000);
    wait_steady();
    kill(z->pid, SIGCONT);
    tell("the old %s goes on", p->name);
    if (!pump(zombie_knows, PATIENCE_MS))
        fail("the old %s does not notice: see zombie.log", p->name);
    tell("   -> it sees by itself that its lease is over, and drops all it has; kill -9");
    kill(z->pid, SIGKILL);
    if (!pump(zombie_gone, PATIENCE_MS)) fail("the old %s does not die", p->name);
    worker_kills++;
    n_replaced++;
}

static void do_decline(void)
{
    struct proc *p = &procs[draw(WORKERS - 1)]; /* not the sink: it is to have acked */
    old_aborted = watch.aborted;
    tell("%s is told to decline the next round", p->name);
    kill(p->pid, SIGUSR1);
    declines++;
    if (!pump(round_aborted, PATIENCE_MS)) fail("no round was aborted though %s declined", p->name);
    tell("   -> round %" PRIu64 " aborted; what the sink had written for it waits for the next",
         watch.last_aborted);
    if (declines % 2) return;
    tell("and now, before there is a next one:"); /* what the sink had written is dropped */
    do_workers(1);
}

static void do_freeze(void)
{
    struct proc *p = &procs[draw(WORKERS)];
    uint64_t attempt = watch.attempt;
    old_aborted = watch.aborted;
    tell("%s is frozen for %.1f s, longer than a round may take (%.1f s)", p->name,
         (double)FREEZE_MS / 1000, (double)DEADLINE_MS / 1000);
    kill(p->pid, SIGSTOP);
    (void)pump(NULL, FREEZE_MS);
    kill(p->pid, SIGCONT);
    freezes++;
    if (!pump(round_aborted, PATIENCE_MS))
        fail("no round was aborted though %s was frozen", p->name);
    tell("   -> round %" PRIu64 " aborted by its deadline%s", watch.last_aborted,
         watch.attempt == attempt ? "; nobody had to go back" : "");
}

/* The round is durable, the sink has been told, and dies before it has renamed anything. */
static void do_last_moment(void)
{
    struct proc *p = &procs[SINK];
    uint64_t owed = watch.owed;
    int64_t at = now_ms();
    old_attempt = watch.attempt;
    tell("the sink is to kill itself between the next snapshot and its publishing");
    p->killed = true;
    kill(p->pid, SIGUSR2);
    worker_kills++;
    if (!pump(attempt_is_new, PATIENCE_MS))
        fail("the job does not run again after %d s", PATIENCE_MS / 1000);
    wait_steady();
    if (watch.owed == owed && !barriers) fail("nothing was owed though the sink had not published");
    if (watch.owed == owed) { /* what was meant for the sink was passed by the barrier */
        tell("   -> nothing had reached it; attempt %" PRIu64 " runs after %.2f s", watch.attempt,
             (double)(watch.ran_at - at) / 1000);
        return;
    }
    tell("   -> attempt %" PRIu64 " was handed what was owed, and runs; %.2f s", watch.attempt,
         (double)(watch.ran_at - at) / 1000);
}

static void verify_savepoint(void)
{
    char number[24];
    snprintf(number, sizeof number, "%" PRIu64, savepoint);
    const char *argv[] = {bin_tool, "snapshot", "verify", number, "--connect", address, NULL};
    if (!pump(daemon_listens, PATIENCE_MS)) fail("tidemarkd does not listen");
    if (pump_child(spawn_command(argv, in_work("verify.out")), PATIENCE_MS) != 0)
        fail("tidemark snapshot verify %s: see verify.out", number);
}

static void take_savepoint(const char *alignment)
{
    char text[4096] = "";
    const char *argv[] = {bin_tool,
                          "savepoint",
                          "wordcount",
                          "--json",
                          "--connect",
                          address,
                          "--target",
                          in_work("savepoints"),
                          alignment ? "--alignment" : NULL,
                          alignment,
                          NULL};
    tell("$ tidemark savepoint wordcount%s%s", alignment ? " --alignment " : "",
         alignment ? alignment : "");
    int64_t at = now_ms();
    if (pump_child(spawn_command(argv, in_work("savepoint.out")), 2 * PATIENCE_MS) != 0)
        fail("the savepoint failed: see savepoint.out");
    FILE *f = fopen(in_work("savepoint.out"), "re");
    if (f) {
        size_t n = fread(text, 1, sizeof text - 1, f);
        text[n] = '\0';
        fclose(f);
    }
    const char *p = strstr(text, "\"snapshot\":");
    if (p) savepoint = strtoull(p + strlen("\"snapshot\":"), NULL, 10);
    if (savepoint == 0) fail("the savepoint has no number: see savepoint.out");
    tell("   -> snapshot %" PRIu64 " is the user's, after %.2f s", savepoint,
         (double)(now_ms() - at) / 1000);
    verify_savepoint();
    tell("   -> tidemark snapshot verify %" PRIu64 ": every byte is there", savepoint);
}

/* Behind slow counters an aligned one takes as long as the queues. */
static void do_savepoint(void)
{
    bool ahead = barriers && strcmp(barriers, "aligned") != 0;
    if (!ahead || !in_short) take_savepoint(NULL);
    if (ahead) take_savepoint("unaligned");
}

static void do_plan(enum deed *deeds, int n)
{
    for (int i = n - 1; i > 0; i--) {
        int k = (int)draw((uint32_t)i + 1);
        enum deed swap = deeds[i];
        deeds[i] = deeds[k], deeds[k] = swap;
    }
    for (int i = 0; i < n; i++) {
        wait_steady();
        (void)pump(NULL, (int)draw(600));
        switch (deeds[i]) {
        case ONE_WORKER: do_workers(1); break;
        case TWO_WORKERS: do_workers(2); break;
        case THE_DAEMON: do_daemon(); break;
        case BOTH: do_both(); break;
        case WILD: do_wild(); break;
        case REPLACE: do_replace(); break;
        case LAST_MOMENT: do_last_moment(); break;
        case DECLINE: do_decline(); break;
        case FREEZE:
            if (!barriers) do_freeze(); /* its deadline would be too far away */
            break;
        case SAVEPOINT: do_savepoint(); break;
        }
    }
}

/* ---- the end */

static void full_speed(void)
{
    wait_steady();
    old_finished = watch.finished;
    tell("all may run as fast as they can");
    for (int i = 0; i < (barriers ? SINK : SOURCES); i++) {
        for (int k = 0; procs[i].argv[k]; k++) /* also for one that is started again */
            if (strcmp(procs[i].argv[k], "--rate") == 0) procs[i].argv[k] = NULL;
        if (procs[i].pid) kill(procs[i].pid, SIGUSR2);
    }
    (void)pump(NULL, (int)draw(400));
    kill_one((int)draw(WORKERS));
    if (draw(2)) kill_one(DAEMON);
    if (!pump(one_finished, PATIENCE_MS)) fail("no source comes to its end");
    (void)pump(NULL, (int)draw(100)); /* some have ended for good by now, others have not */
    kill_one((int)draw(WORKERS));
}

static void wait_end(void)
{
    if (!pump(workers_gone, TOTAL_MS * times - (int)now_ms())) fail("the job does not end");
    for (int i = 0; i < WORKERS; i++)
        if (procs[i].code != 0) fail("%s ended with code %d", procs[i].name, procs[i].code);
    tell("the input is used up, the last round (%" PRIu64 ") complete, the job FINISHED",
         watch.last_complete);
}

/* Parts that are being written, or wait to be published. */
static int leftovers(void)
{
    const struct dirent *e;
    int n = 0;
    DIR *d = opendir(in_work("parts"));
    if (!d) return 1;
    while ((e = readdir(d)))
        if (e->d_name[0] != '.' && strncmp(e->d_name, "part-", 5) != 0) n++;
    closedir(d);
    return n;
}

static void compare(pid_t reference)
{
    const char *sum[] = {bin_wordcount, "sum", in_work("parts"), NULL};
    const char *cmp[] = {"/usr/bin/cmp", in_work("counted"), in_work("expected"), NULL};
    if (pump_child(spawn_command(sum, in_work("counted")), PATIENCE_MS) != 0)
        fail("the published parts do not add up: see the end of %s", in_work("counted"));
    tell("%" PRIu64 " parts were published; waiting for coreutils to count the same text",
         watch.parts);
    int code = pump_child(reference, TOTAL_MS * times - (int)now_ms());
    if (code != 0) fail("tr | sort | uniq -c has not ended well (%d)", code);
    if (pump_child(spawn_command(cmp, in_work("cmp.out")), PATIENCE_MS) != 0)
        fail("the count differs from that of coreutils: diff %s %s", in_work("expected"),
             in_work("counted"));
    if (leftovers()) fail("there are parts that were neither published nor dropped");
    tell("   -> the same, byte for byte");
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* How long barriers took, by kind; of savepoints the aligned one is the slowest. */
static void show_times(void)
{
    char kind[32] = "", state[32] = "", line[4096];
    int64_t took[4096], savepoints[4096];
    size_t n = 0, n_savepoints = 0;
    const char *argv[] = {bin_tool,    "rounds", "wordcount", "--limit", "4000",
                          "--connect", address,  "--json",    NULL};
    if (pump_child(spawn_command(argv, in_work("rounds.out")), PATIENCE_MS) != 0)
        fail("tidemark rounds: see rounds.out");
    FILE *f = fopen(in_work("rounds.out"), "re");
    while (f && fgets(line, sizeof line, f)) {
        long long us;
        (void)sscanf(line, " \"kind\": \"%31[a-z]", kind);
        (void)sscanf(line, " \"state\": \"%31[a-z]", state);
        if (sscanf(line, " \"acks_us\": %lld", &us) != 1 || strcmp(state, "complete") != 0)
            continue;
        if (strcmp(kind, "savepoint") == 0 && n_savepoints < 4096)
            savepoints[n_savepoints++] = us / 1000;
        else if (n < 4096)
            took[n++] = us / 1000;
    }
    if (f) fclose(f);
    qsort(took, n, sizeof *took, by_size);
    qsort(savepoints, n_savepoints, sizeof *savepoints, by_size);
    if (!n || !n_savepoints) fail("no complete rounds are listed: see rounds.out");
    tell("from trigger to last ack, behind slow counters: %zu checkpoints (%s) %.2f s median, %.2f "
         "s worst; %zu savepoints %.2f to %.2f s",
         n, barriers, (double)took[n / 2] / 1000, (double)took[n - 1] / 1000, n_savepoints,
         (double)savepoints[0] / 1000, (double)savepoints[n_savepoints - 1] / 1000);
}

static void stop_daemon(void)
{
    struct proc *d = &procs[DAEMON];
    verify_savepoint();
    tell("the savepoint outlives the job and is still whole; stopping tidemarkd");
    d->keep = false;
    kill(d->pid, SIGTERM);
    int64_t until = now_ms() + PATIENCE_MS;
    while (d->pid && now_ms() < until)
        (void)pump(NULL, 20);
    if (d->pid) fail("tidemarkd does not stop");
    if (d->code != 0) fail("tidemarkd ended with code %d", d->code);
}

static pid_t start_reference(const char *input)
{
    static char *command;
    if (asprintf(&command,
                 "export LC_ALL=C; nice tr -cs A-Za-z '\\n' < '%s' | nice sort -T '%s' | uniq -c",
                 input, work_dir) < 0)
        fail("out of memory");
    const char *argv[] = {"/bin/sh", "-c", command, NULL};
    return spawn_command(argv, in_work("expected"));
}

static void on_signal(int number)
{
    (void)number;
    kill_all();
    _exit(1);
}

int main(int argc, char **argv)
{
    struct stat st;
    if (argc != 6 && argc != 7) {
        fprintf(stderr, "usage: demo BUILD WORK INPUT SEED TIMES [BARRIERS]\n");
        return 2;
    }
    build = argv[1], work_dir = argv[2];
    times = atoi(argv[5]);
    barriers = argv[6]; /* or the NULL at the end */
    in_short = times == 0;
    if (times < 1 || times > 1000) times = 1;
    random_state = strtoull(argv[4], NULL, 10) * 2654435761u + 1;
    for (int i = 0; i < PROCS; i++)
        procs[i].out = -1;
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    signal(SIGHUP, on_signal);
    snprintf(bin_daemon, sizeof bin_daemon, "%s/tidemarkd", build);
    snprintf(bin_tool, sizeof bin_tool, "%s/tidemark", build);
    snprintf(bin_wordcount, sizeof bin_wordcount, "%s/client/examples/wordcount/wordcount", build);
    if (stat(argv[3], &st)) fail("cannot find %s", argv[3]);
    if (mkdir(in_work("savepoints"), 0777)) fail("cannot write to %s", work_dir);

    (void)now_ms();
    pid_t reference = start_reference(argv[3]);
    start_daemon();
    start_workers(argv[3], (uint64_t)st.st_size);
    for (int i = 0; i < times && !in_short; i++)
        do_plan(plan, DEEDS);
    if (in_short) do_plan(short_plan, SHORT_DEEDS);
    full_speed();
    wait_end();
    compare(reference);
    if (barriers) show_times();
    stop_daemon();

    qsort(recoveries, (size_t)n_recoveries, sizeof *recoveries, by_size);
    printf(
        "demo: OK: %" PRIu64 " bytes; %" PRIu64 " rounds complete, %" PRIu64
        " aborted without loss (%d declined, %d past the deadline); %d kill -9 (%d workers, %d "
        "daemon), %d replaced while frozen; recovery %.2f s median, %.2f s worst; %.0f s in all\n",
        (uint64_t)st.st_size, watch.completed, watch.aborted, declines, freezes,
        worker_kills + daemon_kills, worker_kills, daemon_kills, n_replaced,
        (double)recoveries[n_recoveries / 2] / 1000, (double)recoveries[n_recoveries - 1] / 1000,
        (double)now_ms() / 1000);
    return 0;
}
