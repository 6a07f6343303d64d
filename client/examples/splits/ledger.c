/* The hook: writes a line into a ledger outside at each round, before any reader takes a snapshot,
 * and takes back what is behind the line of the snapshot that is restored. Its bytes in a snapshot
 * are the number of that line. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "splits.h"

#define LINE 32 /* bytes of each */

struct ledger {
    FILE *f;
    uint64_t lines;
};

static int write_line(struct ledger *l, uint64_t round)
{
    if (fseek(l->f, (long)l->lines * LINE, SEEK_SET)) return TIDE_EIO;
    fprintf(l->f, "%10llu round %14llu\n", (unsigned long long)l->lines + 1,
            (unsigned long long)round);
    if (fflush(l->f) || fsync(fileno(l->f))) return TIDE_EIO;
    l->lines++;
    return 0;
}

static int cut_to(struct ledger *l, uint64_t lines)
{
    l->lines = lines;
    return ftruncate(fileno(l->f), (off_t)lines * LINE) || fsync(fileno(l->f)) ? TIDE_EIO : 0;
}

/* ---- what Tidemark calls */

static int on_trigger(struct tide_hook *h, uint64_t round, void *user)
{
    struct ledger *l = user;
    int rc = write_line(l, round);
    return rc ? rc : tide_hook_data(h, &l->lines, sizeof l->lines);
}

static int on_restore(struct tide_hook *h, uint64_t snapshot, const void *data, size_t n,
                      void *user)
{
    struct ledger *l = user;
    unsigned long long line, round;
    uint64_t lines;
    (void)h;
    if (n != sizeof lines) return TIDE_ECORRUPT;
    memcpy(&lines, data, n);
    if (lines == 0 || fseek(l->f, (long)(lines - 1) * LINE, SEEK_SET) ||
        fscanf(l->f, "%llu round %llu", &line, &round) != 2 || line != lines || round != snapshot) {
        fprintf(stderr, "ledger: line %llu is not that of snapshot %llu\n",
                (unsigned long long)lines, (unsigned long long)snapshot);
        return TIDE_ECORRUPT;
    }
    fprintf(stderr, "ledger: cut to line %llu, of snapshot %llu\n", line, round);
    return cut_to(l, lines);
}

static int on_reset(struct tide_hook *h, void *user)
{
    (void)h;
    return cut_to(user, 0);
}

struct ledger *ledger_new(struct tide_worker *tide, const struct options *o)
{
    static const struct tide_hook_callbacks callbacks = {
        .trigger = on_trigger, .restore = on_restore, .reset = on_reset};
    struct ledger *l = calloc(1, sizeof *l);
    char name[4096];
    if (!l) die("no memory");
    snprintf(name, sizeof name, "%s.ledger", o->out);
    l->f = fopen(name, "a+"); /* "r+" does not create it, "w+" would empty it */
    if (l->f) l->f = freopen(name, "r+", l->f);
    if (!l->f) die(name);
    if (!tide_worker_add_hook(tide, HOOK, &callbacks, l, NULL)) return l;
    fprintf(stderr, "ledger: %s\n", tide_worker_error(tide));
    exit(1);
}

void ledger_free(struct ledger *l)
{
    if (!l) return;
    fclose(l->f);
    free(l);
}
