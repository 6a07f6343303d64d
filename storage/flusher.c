/* The usual way: begin() puts the work down and wakes the thread; wait() sleeps until it is done,
 * which it often is by then. */
#include "storage/flusher.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "proto/err.h"
#include "storage/alloc.h"

struct tide_flusher {
    pthread_t thread;
    pthread_mutex_t lock; /* for what follows */
    pthread_cond_t ready, done;
    bool busy, stop;
    int fd;
    uint64_t at;
    struct iovec *iov;
    size_t n;
    int write_fault, sync_fault; /* errno */
    int rc, error;               /* of the work done last */

    bool few;  /* the caller's own: written by begin(), and wait() flushes; */
    int began; /* how the writing went */
};

/* Up to this a thread costs more than it saves: waking one takes longer than writing so much. */
#define FEW ((size_t)64 << 10)

static int (*io_fault)(void);

void tide_flusher_set_fault(int (*fault)(void))
{
    io_fault = fault;
}

static int ask(void)
{
    return io_fault ? io_fault() : 0;
}

static int code_of(int error)
{
    return error == ENOSPC || error == EDQUOT || error == EFBIG ? TIDE_ENOSPC : TIDE_EIO;
}

static int write_all(int fd, uint64_t at, struct iovec *iov, size_t n, int fault)
{
    if (fault) n--; /* all but the last piece gets out */
    while (n) {
        ssize_t wrote = pwritev(fd, iov, n > IOV_MAX ? IOV_MAX : (int)n, (off_t)at);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) return code_of(errno);
        at += (uint64_t)wrote;
        for (; n && (size_t)wrote >= iov->iov_len; iov++, n--)
            wrote -= (ssize_t)iov->iov_len;
        if (!n) break;
        iov->iov_base = (char *)iov->iov_base + wrote;
        iov->iov_len -= (size_t)wrote;
    }
    errno = fault;
    return fault ? code_of(fault) : 0;
}

static int sync_all(int fd, int fault)
{
    if (!fault && !fdatasync(fd)) return 0;
    if (fault) errno = fault;
    return TIDE_EIO;
}

int tide_flusher_write(int fd, uint64_t at, struct iovec *iov, size_t n)
{
    return write_all(fd, at, iov, n, ask());
}

int tide_flusher_sync(int fd)
{
    return sync_all(fd, ask());
}

/* ---- the thread */

static void *run(void *arg)
{
    struct tide_flusher *f = arg;
    pthread_mutex_lock(&f->lock);
    for (;;) {
        while (!f->busy && !f->stop)
            pthread_cond_wait(&f->ready, &f->lock);
        if (!f->busy) break;
        pthread_mutex_unlock(&f->lock); /* the work is ours until it is no longer busy */
        int rc = write_all(f->fd, f->at, f->iov, f->n, f->write_fault);
        if (!rc) rc = sync_all(f->fd, f->sync_fault);
        int error = errno;
        pthread_mutex_lock(&f->lock);
        f->rc = rc;
        f->error = error;
        f->busy = false;
        pthread_cond_signal(&f->done);
    }
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

int tide_flusher_start(struct tide_flusher **ret)
{
    sigset_t all, before;
    struct tide_flusher *f = tide_mem_zalloc(1, sizeof *f);
    if (!f) return TIDE_ENOMEM;
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->ready, NULL);
    pthread_cond_init(&f->done, NULL);
    (void)sigfillset(&all); /* signals are other threads' */
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&f->thread, NULL, run, f);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error) {
        free(f);
        return TIDE_ENOMEM;
    }
    *ret = f;
    return 0;
}

void tide_flusher_stop(struct tide_flusher *f)
{
    if (!f) return;
    pthread_mutex_lock(&f->lock);
    f->stop = true;
    pthread_cond_signal(&f->ready);
    pthread_mutex_unlock(&f->lock);
    pthread_join(f->thread, NULL);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->ready);
    pthread_cond_destroy(&f->done);
    free(f);
}

void tide_flusher_begin(struct tide_flusher *f, int fd, uint64_t at, struct iovec *iov, size_t n)
{
    int write_fault = ask(), sync_fault = write_fault ? 0 : ask();
    size_t len = 0;
    for (size_t i = 0; i < n && len <= FEW; i++)
        len += iov[i].iov_len;
    f->few = len <= FEW;
    if (f->few) { /* the disk begins while the caller does something else */
        f->fd = fd;
        f->sync_fault = sync_fault;
        f->began = write_all(fd, at, iov, n, write_fault);
        if (!f->began) (void)sync_file_range(fd, (off_t)at, (off_t)len, SYNC_FILE_RANGE_WRITE);
        f->error = errno;
        return;
    }
    pthread_mutex_lock(&f->lock);
    f->fd = fd;
    f->at = at;
    f->iov = iov;
    f->n = n;
    f->write_fault = write_fault;
    f->sync_fault = sync_fault;
    f->busy = true;
    pthread_mutex_unlock(&f->lock);
    pthread_cond_signal(&f->ready);
}

int tide_flusher_wait(struct tide_flusher *f)
{
    if (f->few) {
        errno = f->error;
        return f->began ? f->began : sync_all(f->fd, f->sync_fault);
    }
    pthread_mutex_lock(&f->lock);
    while (f->busy)
        pthread_cond_wait(&f->done, &f->lock);
    int rc = f->rc;
    if (rc) errno = f->error;
    pthread_mutex_unlock(&f->lock);
    return rc;
}
