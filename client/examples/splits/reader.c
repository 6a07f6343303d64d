/* A reader: asks the coordinator for a file, adds up its lines, asks for the next. What it has done
 * is published when the snapshot that has it is complete. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "splits.h"

struct state {                                     /* and behind it `done`, in a snapshot */
    char file[sizeof((struct event *)NULL)->file]; /* being read; "": none */
    int64_t at, sum;                               /* where in it, and the sum up to there */
    bool none_left;
    uint64_t done_len;
};

struct reader {
    const struct options *o;
    struct tide_worker *tide;
    struct tide_task *task;
    struct state now;
    char *done; /* a line for each file that was read: its name and sum */
    FILE *f;    /* now.file */
    uint64_t attempt;
    int listener, line; /* line: to the coordinator, -1: none */
    bool running, asked, finished;
};

/* ---- the work */

static int open_file(struct reader *r)
{
    char path[4096];
    if (r->f) fclose(r->f);
    r->f = NULL;
    if (!r->now.file[0]) return 0;
    snprintf(path, sizeof path, "%s/%s", r->o->files, r->now.file);
    r->f = fopen(path, "r");
    return r->f && fseek(r->f, r->now.at, SEEK_SET) == 0 ? 0 : TIDE_EIO;
}

static void file_done(struct reader *r)
{
    char line[300];
    int n = snprintf(line, sizeof line, "%s %lld\n", r->now.file, (long long)r->now.sum);
    r->done = realloc(r->done, r->now.done_len + (size_t)n);
    if (!r->done) die("no memory");
    memcpy(r->done + r->now.done_len, line, (size_t)n);
    r->now.done_len += (size_t)n;
    r->now.file[0] = '\0';
    (void)open_file(r);
}

static void read_line(struct reader *r)
{
    char line[64];
    if (!fgets(line, sizeof line, r->f)) {
        file_done(r);
        return;
    }
    r->now.sum += strtoll(line, NULL, 10);
    r->now.at = ftell(r->f);
    if (r->o->pause_us) usleep(r->o->pause_us);
}

/* ---- results: OUT.INDEX.ROUND is what that round would publish, OUT.INDEX what is published */

static void result_name(const struct reader *r, uint64_t round, char name[static 4096])
{
    if (round)
        snprintf(name, 4096, "%s.%u.%llu", r->o->out, r->o->index, (unsigned long long)round);
    else
        snprintf(name, 4096, "%s.%u", r->o->out, r->o->index);
}

static int result_write(const struct reader *r, uint64_t round)
{
    char name[4096];
    result_name(r, round, name);
    FILE *f = fopen(name, "w");
    if (!f) return TIDE_EIO;
    size_t len = r->now.done_len;
    bool written = len == 0 || fwrite(r->done, 1, len, f) == len;
    written = fflush(f) == 0 && fsync(fileno(f)) == 0 && written;
    return fclose(f) || !written ? TIDE_EIO : 0;
}

/* ---- what Tidemark calls */

static void hang_up(struct reader *r)
{
    if (r->line >= 0) close(r->line);
    r->line = -1;
    r->asked = false;
}

static int read_whole(struct tide_state_reader *from, void *to, size_t n)
{
    size_t got, all = 0;
    int rc = 0;
    while (rc == 0 && all < n && (rc = tide_state_read(from, (char *)to + all, n - all, &got)) == 0)
        if (got == 0)
            return TIDE_ECORRUPT;
        else
            all += got;
    return rc;
}

static int on_restore(struct tide_task *task, const struct tide_restore *from, void *user)
{
    struct reader *r = user;
    struct tide_state_reader *reader = NULL;
    (void)task;
    r->now = (struct state){0};
    r->attempt = from->attempt;
    r->finished = from->ended;
    if (from->n_states == 0) return open_file(r); /* from the beginning; or it had ended */
    int rc = tide_state_open(from, &from->states[0], &reader);
    if (rc == 0) rc = read_whole(reader, &r->now, sizeof r->now);
    if (rc == 0 && from->states[0].size != sizeof r->now + r->now.done_len) rc = TIDE_ECORRUPT;
    if (rc == 0) r->done = realloc(r->done, r->now.done_len + 1);
    if (rc == 0) rc = r->done ? read_whole(reader, r->done, r->now.done_len) : TIDE_ENOMEM;
    tide_state_close(reader);
    fprintf(stderr, "reader %u: as of snapshot %llu, %s\n", r->o->index,
            (unsigned long long)from->snapshot, r->now.file[0] ? r->now.file : "no file");
    return rc ? rc : open_file(r);
}

static void on_run(struct tide_task *task, void *user)
{
    struct reader *r = user;
    (void)task;
    r->running = true;
}

static int on_snapshot(struct tide_task *task, struct tide_snapshot *s, void *user)
{
    struct reader *r = user;
    uint64_t round = tide_snapshot_round(s);
    (void)task;
    tide_snapshot_write(s, &r->now, sizeof r->now);
    tide_snapshot_write(s, r->done, r->now.done_len);
    int rc = result_write(r, round);
    return rc ? rc : tide_snapshot_handle(s, &round, sizeof round);
}

static int on_complete(struct tide_task *task, uint64_t round, const void *handle, size_t len,
                       void *user)
{
    char from[4096], to[4096];
    (void)task;
    if (handle && len == sizeof round) memcpy(&round, handle, len); /* owed since before */
    result_name(user, round, from);
    result_name(user, 0, to);
    if (access(from, F_OK)) return 0; /* done before */
    return rename(from, to) ? TIDE_EIO : 0;
}

static void on_abort(struct tide_task *task, uint64_t round, void *user)
{
    char name[4096];
    (void)task;
    result_name(user, round, name);
    (void)unlink(name);
}

static void on_rewind(struct tide_task *task, const char *reason, void *user)
{
    struct reader *r = user;
    (void)task;
    fprintf(stderr, "reader %u: back: %s\n", r->o->index, reason);
    hang_up(r);
    r->attempt = 0;
    r->running = false;
}

/* ---- the loop */

static void hear_hello(struct reader *r)
{
    struct hello hello;
    hang_up(r);
    r->line = channel_accept(r->listener);
    if (r->line >= 0 && channel_get(r->line, &hello, sizeof hello) && hello.attempt == r->attempt &&
        !memcmp(hello.job_id, tide_worker_job_id(r->tide), JOB_ID_LEN))
        return;
    hang_up(r); /* a coordinator of another attempt */
}

/* First the state, then the answer: the coordinator takes it for what the next snapshot has. */
static void hear_event(struct reader *r)
{
    struct event event;
    if (!channel_get(r->line, &event, sizeof event)) {
        hang_up(r);
        return;
    }
    r->asked = false;
    r->now.none_left = !event.file[0];
    memcpy(r->now.file, event.file, sizeof r->now.file);
    r->now.at = r->now.sum = 0;
    if (open_file(r)) die(r->now.file);
    if (!channel_put(r->line, &event.number, sizeof event.number)) hang_up(r);
}

static void ask(struct reader *r)
{
    uint64_t nothing = 0;
    if (r->asked || r->line < 0) return;
    r->asked = true;
    if (!channel_put(r->line, &nothing, sizeof nothing)) hang_up(r);
}

void reader_fds(const struct reader *r, struct pollfd fds[static READER_FDS])
{
    fds[0] = (struct pollfd){.fd = r->line, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = r->attempt ? r->listener : -1, .events = POLLIN};
}

void reader_serve(struct reader *r, const struct pollfd fds[static READER_FDS])
{
    if (fds[0].revents) hear_event(r);
    if (fds[1].revents) hear_hello(r);
}

bool reader_work(struct reader *r)
{
    if (!r->running || r->finished) return false;
    if (r->f)
        read_line(r);
    else if (r->now.none_left)
        r->finished = tide_task_finished(r->task) == 0;
    else
        ask(r);
    return r->f != NULL;
}

struct reader *reader_new(struct tide_worker *tide, const struct options *o, int listener)
{
    static const struct tide_callbacks callbacks = {.restore = on_restore,
                                                    .run = on_run,
                                                    .snapshot = on_snapshot,
                                                    .complete = on_complete,
                                                    .abort = on_abort,
                                                    .rewind = on_rewind};
    struct reader *r = calloc(1, sizeof *r);
    if (!r) die("no memory");
    *r = (struct reader){.o = o, .tide = tide, .listener = listener, .line = -1};
    if (!tide_worker_add_task(tide, OPERATOR, o->index, 0, &callbacks, r, &r->task)) return r;
    fprintf(stderr, "reader %u: %s\n", o->index, tide_worker_error(tide));
    exit(1);
}

void reader_free(struct reader *r)
{
    hang_up(r);
    if (r->f) fclose(r->f);
    free(r->done);
    free(r);
}
