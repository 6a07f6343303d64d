/* tidemarkd: the coordinator as a process. Flags, configuration, start and stop. */
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/config.h"
#include "daemon/host.h"
#include "daemon/log.h"
#include "daemon/util.h"
#include "proto/err.h"

static const char usage[] =
    "Usage: tidemarkd [OPTION]...\n"
    "Coordinates consistent snapshots of distributed programs.\n"
    "\n"
    "  --config FILE    read the configuration from FILE\n"
    "                   (default: " CONFIG_DEFAULT_FILE ", if it is there)\n"
    "  --data DIR       keep the store in DIR\n"
    "  --listen IP:PORT accept workers and admins there; port 0 takes any,\n"
    "                   and the file `port` in the data directory tells which\n"
    "  --check-config   check the configuration and end\n"
    "  --help           show this and end\n"
    "  --version        show the version and end\n"
    "\n"
    "Flags win over the file. SIGTERM stops it in good order.\n"
    "Exit codes: 0 stopped in good order, 1 an error, 2 wrong use.\n";

struct flags {
    const char *config, *data, *listen;
    bool check;
    int done; /* -1: go on; otherwise the exit code */
};

static struct flags read_flags(int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"data", required_argument, NULL, 'd'},
                                            {"listen", required_argument, NULL, 'l'},
                                            {"check-config", no_argument, NULL, 'k'},
                                            {"help", no_argument, NULL, 'h'},
                                            {"version", no_argument, NULL, 'v'},
                                            {NULL, 0, NULL, 0}};
    struct flags f = {.done = -1};
    int c;
    while (f.done < 0 && (c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'c': f.config = optarg; break;
        case 'd': f.data = optarg; break;
        case 'l': f.listen = optarg; break;
        case 'k': f.check = true; break;
        case 'h': f.done = fputs(usage, stdout) == EOF; break;
        case 'v': f.done = puts("tidemarkd " TIDE_VERSION) == EOF; break;
        default: (void)fputs("Try 'tidemarkd --help'.\n", stderr); f.done = 2;
        }
    }
    if (f.done < 0 && optind < argc) {
        (void)fprintf(stderr, "tidemarkd: '%s' is no option. Try 'tidemarkd --help'.\n",
                      argv[optind]);
        f.done = 2;
    }
    return f;
}

/* On the command line a path may be relative: to where we are. */
static int set_data(struct config *c, const char *path, char why[static CONFIG_WHY])
{
    char *here = *path && *path != '/' ? getcwd(NULL, 0) : NULL;
    if (!here) return config_set(c, "daemon", "data", path, "--data", why);
    size_t n = strlen(here) + strlen(path) + 2;
    char *whole = must_alloc(n);
    (void)snprintf(whole, n, "%s/%s", strcmp(here, "/") ? here : "", path);
    int rc = config_set(c, "daemon", "data", whole, "--data", why);
    free(whole);
    free(here);
    return rc;
}

static int read_config(struct config *c, const struct flags *f, char why[static CONFIG_WHY])
{
    int rc = config_load(c, f->config ? f->config : CONFIG_DEFAULT_FILE, why);
    if (rc == TIDE_ENOTFOUND && !f->config) rc = 0;
    if (rc == 0 && f->data) rc = set_data(c, f->data, why);
    if (rc == 0 && f->listen) rc = config_set(c, "daemon", "listen", f->listen, "--listen", why);
    return rc ? rc : config_finish(c, why);
}

static int run(const struct config *c, char why[static CONFIG_WHY])
{
    struct host *h;
    int rc = host_open(c, true, &h, why);
    if (rc) return rc;
    int code = host_run(h);
    if (!host_close(h)) {
        log_line(LEVEL_WARN, "a thread hangs in the file system: ending without it");
        _exit(code);
    }
    log_line(LEVEL_INFO, "stopped");
    return code;
}

/* Errors of the start are for whoever types the command: one plain line. */
static int complain(const char *why)
{
    (void)fprintf(stderr, "tidemarkd: %s\n", why);
    return 1;
}

int main(int argc, char **argv)
{
    struct flags f = read_flags(argc, argv);
    struct config c;
    char why[CONFIG_WHY] = "";
    if (f.done >= 0) return f.done;
    config_init(&c);
    int rc = read_config(&c, &f, why);
    log_open((enum log_level)c.log_level, getenv("JOURNAL_STREAM") != NULL);
    if (rc == 0 && f.check)
        (void)puts("tidemarkd: the configuration is in order");
    else if (rc == 0)
        rc = run(&c, why);
    if (rc < 0) rc = complain(why);
    config_close(&c);
    return rc;
}
