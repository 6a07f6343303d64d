#include "tests/bench/daemon.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/peers.h"

static struct daemon running;

void daemon_remove(void)
{
    char command[300];
    if (running.pid > 0) {
        kill(running.pid, SIGTERM);
        waitpid(running.pid, NULL, 0);
    }
    running.pid = 0;
    if (running.directory[0] == '\0') return;
    snprintf(command, sizeof command, "rm -rf '%s'", running.directory);
    if (system(command) != 0) fprintf(stderr, "bench: cannot remove %s\n", running.directory);
    running.directory[0] = '\0';
}

void daemon_kill(void)
{
    if (running.pid > 0) kill(running.pid, SIGKILL);
}

const struct daemon *daemon_start(const char *program, const char *beside)
{
    char file[300], port[16] = "", conf[300];
    struct daemon *d = &running;
    *d = (struct daemon){0};
    snprintf(d->directory, sizeof d->directory, "%s.XXXXXX", beside);
    if (!mkdtemp(d->directory)) die("%s: %s", d->directory, strerror(errno));
    char *absolute = realpath(d->directory, NULL);
    if (!absolute || strlen(absolute) >= sizeof d->directory)
        die("%s: path too long", d->directory);
    strcpy(d->directory, absolute);
    free(absolute);
    snprintf(conf, sizeof conf, "%s/conf", d->directory);
    FILE *f = fopen(conf, "w");
    if (!f) die("%s: %s", conf, strerror(errno));
    fprintf(f, "[daemon]\nlisten = 127.0.0.1:0\ndata = %s/data\nlog-level = warn\n", d->directory);
    fclose(f);

    d->pid = fork();
    if (d->pid < 0) die("fork: %s", strerror(errno));
    if (d->pid == 0) {
        execl(program, program, "--config", conf, (char *)NULL);
        die("%s: %s", program, strerror(errno));
    }
    snprintf(file, sizeof file, "%s/data/port", d->directory);
    for (int i = 0; i < 1000 && d->port == 0; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
        if (waitpid(d->pid, NULL, WNOHANG) != 0) die("the daemon has ended at its start");
        f = fopen(file, "r");
        if (f && fgets(port, sizeof port, f)) d->port = (uint16_t)strtoul(port, NULL, 10);
        if (f) fclose(f);
    }
    if (d->port == 0) die("the daemon names no port in %s", file);
    return d;
}

double daemon_memory(const char *key)
{
    char path[64], line[256];
    double kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)running.pid);
    FILE *f = fopen(path, "r");
    if (!f) die("%s: %s", path, strerror(errno));
    while (fgets(line, sizeof line, f))
        if (strncmp(line, key, strlen(key)) == 0) kib = strtod(line + strlen(key), NULL);
    fclose(f);
    return kib * 1024;
}

void daemon_memory_peak_reset(void)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/clear_refs", (int)running.pid);
    FILE *f = fopen(path, "w");
    if (!f || fputs("5", f) < 0 || fclose(f) != 0) die("%s: %s", path, strerror(errno));
}

struct cpu daemon_cpu(void)
{
    struct cpu cpu = {0};
    char path[300], line[64] = "";
    snprintf(path, sizeof path, "/proc/%d/task", (int)running.pid);
    DIR *threads = opendir(path);
    if (!threads) die("%s: %s", path, strerror(errno));
    for (const struct dirent *e; (e = readdir(threads));) {
        snprintf(path, sizeof path, "/proc/%d/task/%.20s/schedstat", (int)running.pid, e->d_name);
        FILE *f = *e->d_name == '.' ? NULL : fopen(path, "r");
        if (!f) continue; /* a thread that has just ended */
        bool loop = strtol(e->d_name, NULL, 10) == running.pid;
        if (fgets(line, sizeof line, f)) *(loop ? &cpu.loop : &cpu.others) += strtod(line, NULL);
        fclose(f);
    }
    closedir(threads);
    return cpu;
}
