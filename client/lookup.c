/* Looking up a name
 *
 * A name server may take half a minute to answer, or not to answer, and the C library offers no way
 * to ask it without waiting. So each lookup has a thread that does nothing else, and belongs to
 * itself: whoever asked takes the answer when there is one, or lets go and never waits for it. The
 * thread signals the handle's event, of which it has a descriptor of its own. An address in numbers
 * needs none of this. */
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/worker_impl.h"

struct tide_lookup {
    atomic_uint refs; /* the asker's, the thread's */
    atomic_bool done; /* what is below is the asker's from then on */
    char host[256], port[16];
    int event_fd;
    const char *failure;
    struct tide_addresses found;
};

/* NULL and the addresses, or why there are none. */
static const char *ask(const char *host, const char *port, int flags, struct tide_addresses *ret)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | flags};
    struct addrinfo *list = NULL;
    int rc = getaddrinfo(host, port, &hints, &list);
    ret->n = 0;
    if (rc) return gai_strerror(rc);
    for (const struct addrinfo *a = list; a && ret->n < ADDRESSES_MAX; a = a->ai_next) {
        if (a->ai_addrlen > sizeof ret->at[0]) continue;
        memcpy(&ret->at[ret->n], a->ai_addr, a->ai_addrlen);
        ret->len[ret->n++] = a->ai_addrlen;
    }
    freeaddrinfo(list);
    return ret->n ? NULL : "leads nowhere";
}

bool tide_lookup_numeric(const char *host, const char *port, struct tide_addresses *ret)
{
    return ask(host, port, AI_NUMERICHOST, ret) == NULL;
}

static void unref(struct tide_lookup *l)
{
    if (atomic_fetch_sub(&l->refs, 1) != 1) return;
    close(l->event_fd);
    free(l);
}

static void *look(void *arg)
{
    struct tide_lookup *l = arg;
    uint64_t one = 1;
    l->failure = ask(l->host, l->port, 0, &l->found);
    atomic_store(&l->done, true);
    (void)!write(l->event_fd, &one, sizeof one);
    unref(l);
    return NULL;
}

struct tide_lookup *tide_lookup_start(const char *host, const char *port, int event_fd)
{
    sigset_t all, old;
    pthread_t thread;
    struct tide_lookup *l = calloc(1, sizeof *l);
    if (!l) return NULL;
    l->event_fd = fcntl(event_fd, F_DUPFD_CLOEXEC, 0);
    if (l->event_fd < 0) {
        free(l);
        return NULL;
    }
    strncpy(l->host, host, sizeof l->host - 1);
    strncpy(l->port, port, sizeof l->port - 1);
    atomic_init(&l->done, false);
    atomic_init(&l->refs, 2);
    sigfillset(&all); /* signals are the program's */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&thread, NULL, look, l);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc == 0) {
        pthread_detach(thread);
        return l;
    }
    close(l->event_fd);
    free(l);
    return NULL;
}

bool tide_lookup_done(const struct tide_lookup *l)
{
    return atomic_load(&l->done);
}

const char *tide_lookup_take(struct tide_lookup *l, struct tide_addresses *ret)
{
    const char *failure = l->failure;
    if (!failure) *ret = l->found;
    unref(l);
    return failure;
}

void tide_lookup_drop(struct tide_lookup *l)
{
    if (l) unref(l);
}
