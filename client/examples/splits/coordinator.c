/* The coordinator: hands out files, one at a time, to whichever reader has nothing to do.
 *
 * What it remembers is how many it has handed out. That number and what the readers remember are
 * one cut in every snapshot, since all it says to them goes through tide_coordinator_event(). */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "splits.h"

struct line {
    int fd;           /* -1: no channel */
    uint64_t unknown; /* the event that the reader has not answered yet; 0: none */
};

struct coordinator {
    struct tide_worker *tide;
    struct tide_coordinator *self;
    struct dirent **files;
    uint64_t n_files, next; /* next: the state */
    uint32_t readers;
    struct line lines[READERS_MAX];
};

static void hang_up(struct coordinator *c)
{
    for (uint32_t i = 0; i < c->readers; i++) {
        if (c->lines[i].fd >= 0) close(c->lines[i].fd);
        c->lines[i] = (struct line){.fd = -1};
    }
}

/* All parts begin anew, from the last snapshot. */
static void lost(struct coordinator *c, uint32_t reader)
{
    struct line *line = &c->lines[reader];
    if (line->fd >= 0) close(line->fd);
    line->fd = -1;
    if (line->unknown) /* whether it has the event, nobody knows */
        (void)tide_coordinator_confirm(c->self, line->unknown, TIDE_EIO);
    else
        (void)tide_coordinator_failed(c->self, 0, "there is no channel to a reader");
}

/* ---- what Tidemark calls */

static int on_restore(struct tide_coordinator *self, uint64_t snapshot, const void *data, size_t n,
                      void *user)
{
    struct coordinator *c = user;
    (void)self;
    c->next = 0;
    if (data && n != sizeof c->next) return TIDE_ECORRUPT;
    if (data) memcpy(&c->next, data, n);
    fprintf(stderr, "coordinator: %llu files are handed out as of snapshot %llu\n",
            (unsigned long long)c->next, (unsigned long long)snapshot);
    return 0;
}

/* Everybody has restored, so every reader listens, and knows of this attempt. */
static void on_run(struct tide_coordinator *self, void *user)
{
    struct coordinator *c = user;
    struct hello hello = {.attempt = tide_worker_attempt(c->tide)};
    const char *endpoint;
    (void)self;
    hang_up(c);
    memcpy(hello.job_id, tide_worker_job_id(c->tide), JOB_ID_LEN);
    for (uint32_t i = 0; i < c->readers; i++) {
        int rc = tide_worker_endpoint(c->tide, OPERATOR, i, &endpoint);
        c->lines[i].fd = rc ? -1 : channel_connect(endpoint);
        if (c->lines[i].fd < 0 || !channel_put(c->lines[i].fd, &hello, sizeof hello)) lost(c, i);
    }
}

/* Called at once after tide_coordinator_event(), or, while a round is under way, once the reader
 * has taken its snapshot. */
static int on_event(struct tide_coordinator *self, uint32_t subtask, uint64_t number,
                    const void *data, size_t n, void *user)
{
    struct coordinator *c = user;
    struct line *line = &c->lines[subtask];
    struct event event = {.number = number};
    (void)self;
    memcpy(event.file, data, n);
    if (line->fd < 0 || !channel_put(line->fd, &event, sizeof event)) return TIDE_EIO;
    line->unknown = number;
    return TIDE_EAGAIN; /* sent is not received: the reader will say so */
}

static int on_snapshot(struct tide_coordinator *self, uint64_t round, void *user)
{
    struct coordinator *c = user;
    return tide_coordinator_snapshot(self, round, &c->next, sizeof c->next);
}

static void on_rewind(struct tide_coordinator *self, const char *reason, void *user)
{
    (void)self;
    fprintf(stderr, "coordinator: back: %s\n", reason);
    hang_up(user);
}

/* ---- the work */

/* Event and state change in one go: no callback runs between the two. */
static void hand_out(struct coordinator *c, uint32_t reader)
{
    static const char none[1] = "";
    const char *file = c->next < c->n_files ? c->files[c->next]->d_name : none;
    int rc = tide_coordinator_event(c->self, reader, file, strlen(file) + 1);
    if (rc == 0 && file != none) c->next++;
}

static void hear(struct coordinator *c, uint32_t reader)
{
    struct line *line = &c->lines[reader];
    uint64_t number;
    if (!channel_get(line->fd, &number, sizeof number)) {
        lost(c, reader);
    } else if (number == 0) {
        hand_out(c, reader);
    } else {
        line->unknown = 0;
        (void)tide_coordinator_confirm(c->self, number, 0);
    }
}

void coordinator_fds(const struct coordinator *c, struct pollfd *fds)
{
    for (uint32_t i = 0; i < c->readers; i++)
        fds[i] = (struct pollfd){.fd = c->lines[i].fd, .events = POLLIN};
}

void coordinator_serve(struct coordinator *c, const struct pollfd *fds)
{
    for (uint32_t i = 0; i < c->readers; i++)
        if (fds[i].revents) hear(c, i);
}

static int only_files(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

struct coordinator *coordinator_new(struct tide_worker *tide, const struct options *o)
{
    static const struct tide_coordinator_callbacks callbacks = {.restore = on_restore,
                                                                .run = on_run,
                                                                .snapshot = on_snapshot,
                                                                .event = on_event,
                                                                .rewind = on_rewind};
    struct coordinator *c = calloc(1, sizeof *c);
    if (!c) die("no memory");
    c->tide = tide;
    c->readers = o->readers;
    for (uint32_t i = 0; i < c->readers; i++)
        c->lines[i].fd = -1;
    int n = scandir(o->files, &c->files, only_files, alphasort);
    if (n < 0) die(o->files);
    c->n_files = (uint64_t)n;
    if (!tide_worker_add_coordinator(tide, OPERATOR, &callbacks, c, &c->self)) return c;
    fprintf(stderr, "coordinator: %s\n", tide_worker_error(tide));
    exit(1);
}

void coordinator_free(struct coordinator *c)
{
    if (!c) return;
    hang_up(c);
    for (uint64_t i = 0; i < c->n_files; i++)
        free(c->files[i]);
    free(c->files);
    free(c);
}
