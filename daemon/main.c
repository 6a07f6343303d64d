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
#include "daemon/systemd.h"
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
    "  --check-config   print the configuration, or all that is wrong with it, and end\n"
    "  --help           show this and end\n"
    "  --version        show the version and end\n"
    "\n"
    "Flags win over the file. SIGTERM stops it in good order, SIGHUP makes it read\n"
    "the file again.\n"
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

/* Each error is told by c->error. */
static int read_config(struct config *c, const struct flags *f)
{
    char why[CONFIG_WHY];
    int rc = config_load(c, f->config ? f->config : CONFIG_DEFAULT_FILE, why);
    if (rc == TIDE_ENOTFOUND && f->config) c->error(why);
    if (rc == TIDE_ENOTFOUND && !f->config) rc = 0;
    int data = f->data ? set_data(c, f->data, why) : 0;
    int listen = f->listen ? config_set(c, "daemon", "listen", f->listen, "--listen", why) : 0;
    if (rc || data || listen) return rc ? rc : data ? data : listen;
    return config_finish(c, why);
}

/* Errors of the start are for whoever types the command: one plain line each. */
static void complain(const char *why)
{
    (void)fprintf(stderr, "tidemarkd: %s\n", why);
}

/* ---- reload */

struct daemon {
    const struct flags *flags;
    struct config config;
    struct host *host;
};

static void log_error(const char *why)
{
    log_line(LEVEL_ERROR, "reload: %s", why);
}

static void log_difference(const char *key, const char *value, bool taken)
{
    if (taken)
        log_line(LEVEL_INFO, "reload: %s is %s from now on", key, *value ? value : "none");
    else
        log_line(LEVEL_WARN, "reload: %s is %s only after a restart", key, value);
}

/* SIGHUP. A configuration with an error is refused as a whole. */
static void reload(void *user)
{
    struct daemon *d = user;
    struct config next;
    char why[CONFIG_WHY];
    systemd_notify("RELOADING=1\nMONOTONIC_USEC=%" PRIu64, uv_hrtime() / 1000);
    config_init(&next);
    next.error = log_error;
    int rc = read_config(&next, d->flags);
    if (rc == 0) rc = config_adopt(&d->config, &next, log_difference, why);
    if (rc == 0) {
        host_apply(d->host);
        log_set_level((enum log_level)d->config.log_level);
        log_line(LEVEL_INFO, "SIGHUP: the configuration was read again");
    } else {
        log_line(LEVEL_ERROR, "SIGHUP: the configuration has errors; the one before stays");
    }
    config_close(&next);
    systemd_notify("READY=1");
}

/* ---- a life */

static int run(struct daemon *d)
{
    char why[CONFIG_WHY] = "";
    int rc = host_open(&d->config, true, &d->host, why);
    if (rc) {
        complain(why);
        return 1;
    }
    host_on_hangup(d->host, reload, d);
    systemd_notify("READY=1\nSTATUS=Listening on port %u", (unsigned)host_port(d->host));
    int code = host_run(d->host);
    if (!host_close(d->host)) {
        log_line(LEVEL_WARN, "a thread hangs in the file system: ending without it");
        _exit(code);
    }
    log_line(LEVEL_INFO, "stopped");
    return code;
}

/* What it prints is a configuration file again. */
static int check(const struct config *c, const struct flags *f)
{
    const char *path = f->config ? f->config : CONFIG_DEFAULT_FILE;
    bool there = f->config || access(path, F_OK) == 0;
    (void)printf("# %s%s\n\n", path, there ? "" : " is not there");
    return !config_write(c, stdout) || puts("\n# the configuration is in order") == EOF ||
           fflush(stdout) == EOF;
}

int main(int argc, char **argv)
{
    struct flags f = read_flags(argc, argv);
    struct daemon d = {.flags = &f};
    if (f.done >= 0) return f.done;
    config_init(&d.config);
    d.config.error = complain;
    int rc = read_config(&d.config, &f) ? 1 : 0;
    log_open((enum log_level)d.config.log_level, systemd_journal());
    if (rc == 0) rc = f.check ? check(&d.config, &f) : run(&d);
    config_close(&d.config);
    return rc;
}
