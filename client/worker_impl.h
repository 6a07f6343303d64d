/* What the files of the shell share: the part of the library that does I/O around the session.
 *
 *   worker.c    the handle: birth, process(), end
 *   connect.c   the connection: non-blocking, with a deadline
 *   lookup.c    names that become addresses, without waiting
 *   deliver.c   the session's deliveries become callbacks
 *   task.c      what the program says about its tasks
 *   helper.c    the thread that keeps the lease while the program is busy
 *   host.c      which process this is, and whether another one is gone
 *   external.c  coordinators, with their gateways, and hooks
 *   snapshot.c, state.c   writing and reading artifacts
 *   flight.c    records that unaligned rounds pass over
 *   sized.c     structs of the program that may be older or newer than ours
 *
 * One lock guards the session and the connection. It is never held while a callback runs or a
 * file is written. The program's thread and the helper both move bytes; only the
 * program's thread takes deliveries and runs callbacks. */
#ifndef TIDE_WORKER_IMPL_H
#define TIDE_WORKER_IMPL_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "client/session.h"
#include "client/tidemark.h"
#include "proto/frame.h"
#include "proto/shared.h"

#define ADDRESSES_MAX 8u
#define CONNECT_US 10000000u /* how long a connect may take */
#define SEND_MAX ((size_t)1 << 30)
#define INLINE_DEFAULT 4096u
#define INLINE_MAX (1u << 20)

struct held { /* a delivery that waits for tide_task_triggered() */
    struct tide_delivery d;
    char *directory; /* owned; d.directory points to it */
};

struct tide_flights { /* given out */
    const struct flight *flight;
    size_t *at[2]; /* in each lane */
};

struct flight { /* in-flight records of one task in one round */
    struct flight *next;
    uint64_t round, total;
    struct tide_buf *lanes[2]; /* of TIDE_FLIGHT_INPUT, _OUTPUT: by channel */
    uint32_t n_lanes[2];
    int rc; /* sticks */
};

struct tide_task {
    struct tide_worker *worker;
    struct tide_callbacks callbacks;
    void *user;
    uint32_t number, subtask, channels;
    char *fail_reason; /* for the callback under way, or NULL */
    struct held *held; /* begins with a TRIGGER that was answered TIDE_EAGAIN */
    uint32_t n_held, cap_held;
    uint64_t refused;         /* the trigger of this round was refused */
    uint64_t triggered;       /* guarded by the lock: the program has begun this round */
    bool asking;              /* inside tide_task_position(), which asks again by itself */
    struct flight *flights;   /* of rounds whose snapshots wait for them */
    struct flight *capturing; /* one of them: takes the records of tide_task_record() */
    struct flight *filling;   /* one of them: takes those of tide_task_in_flight() */
    int (*write_flights)(struct tide_snapshot *s, struct tide_flights *f, char why[256],
                         void *user); /* NULL: they are kept as they are */
    void *flights_user;
    uint64_t unsaid;               /* bytes processed of which the session does not know */
    struct tide_snapshot *waiting; /* guarded by the lock: not ackable yet */
    bool finish_wanted;            /* guarded by the lock: to be told once the lease is back */
    char state_why[400]; /* guarded by the lock: what reading restored state failed with, or "" */
};

struct peer {
    char *endpoint;
    uint32_t *ranges; /* pairs: first, count */
    uint32_t n_ranges;
};

struct tide_addresses {
    struct sockaddr_storage at[ADDRESSES_MAX];
    socklen_t len[ADDRESSES_MAX];
    uint32_t n;
};

struct tide_worker {
    pthread_mutex_t lock;
    struct tide_session *session; /* guarded */

    /* guarded: the connection */
    struct tide_addresses addresses;
    uint32_t next_address;
    char host[256], port[16], address_text[300];
    bool is_name;               /* to be looked up again when all addresses were tried */
    struct tide_lookup *lookup; /* under way, or NULL */
    int epoll_fd, timer_fd, event_fd, socket_fd;
    bool looking, connecting, wants_write; /* looking: a connect waits for the lookup */
    char trouble[512];                     /* why there is no connection; "" when there is */
    bool trouble_due;                      /* the program has not been told */
    uint64_t connect_deadline_us, armed_us;
    struct tide_decoder decoder;
    struct tide_buf out;          /* what the kernel has not taken yet */
    uint64_t seen_us;             /* when the program's thread last moved bytes */
    struct tide_snapshot *fenced; /* done, but not acked: the lease is over */

    /* the program's thread alone */
    struct tide_task **tasks; /* ascending by number */
    uint32_t n_tasks, cap_tasks;
    struct tide_part **parts; /* by their index in the session */
    uint32_t n_parts;
    bool started, dispatching;
    int over; /* TIDE_EENDED, TIDE_EREFUSED, TIDE_EBUG: what process() answers from now on */
    char error[512];
    uint64_t attempt;
    char job_id[33];
    struct peer *peers;
    uint32_t n_peers;
    void (*log)(const char *text, void *user);
    void *user;
    char boot_id[128];

    uint32_t inline_max; /* constant */
    bool has_helper;
    pthread_t helper;
    int stop_fd;
    _Atomic pthread_t owner; /* the thread inside process(), while dispatching */
    _Atomic bool dispatching_shared;
};

uint64_t tide_now_us(void); /* CLOCK_BOOTTIME */

/* ---- connect.c; all under the lock */
int tide_connect_address(struct tide_worker *w, const char *address, char why[static 256]);
/* Moves bytes both ways, lets the session have the time, carries out what it wants of the
 * connection. */
void tide_connect_io(struct tide_worker *w);
/* Carries out SEND, CLOSE or CONNECT. */
void tide_connect_carry(struct tide_worker *w, const struct tide_delivery *d);
void tide_connect_arm(struct tide_worker *w); /* the timer, for when there is something to do */
void tide_connect_close(struct tide_worker *w);
void tide_worker_kick(struct tide_worker *w); /* makes the handle's fd readable; any thread */

/* ---- lookup.c */
/* False: the host is a name. */
bool tide_lookup_numeric(const char *host, const char *port, struct tide_addresses *ret);
/* event_fd (borrowed) becomes readable when it is done. NULL: no memory, thread or descriptor. */
struct tide_lookup *tide_lookup_start(const char *host, const char *port, int event_fd);
bool tide_lookup_done(const struct tide_lookup *l);
/* Takes l, which is done. NULL and the addresses, or why there are none (static). */
const char *tide_lookup_take(struct tide_lookup *l, struct tide_addresses *ret);
void tide_lookup_drop(struct tide_lookup *l); /* takes l; waits for nothing; NULL is fine */

/* ---- external.c; on the program's thread, without the lock but where it is said */
void tide_parts_deliver(struct tide_worker *w, const struct tide_delivery *d);
/* Events that may go become callbacks, with the lock held but during these. True: there were some.
 */
bool tide_parts_events(struct tide_worker *w);
void tide_parts_advance(struct tide_worker *w, uint64_t attempt);
void tide_parts_stop(struct tide_worker *w, const char *outcome);
void tide_parts_free(struct tide_worker *w);

/* ---- deliver.c; on the program's thread, without the lock */
void tide_deliver(struct tide_worker *w, const struct tide_delivery *d);
void tide_deliver_held(struct tide_worker *w);   /* rounds that tide_task_triggered() let go */
void tide_deliver_forget(struct tide_worker *w); /* frees what deliveries left behind */
/* The first delivery of an attempt brings what all may ask about it; false: no memory. */
bool tide_deliver_begin(struct tide_worker *w, const struct tide_delivery *d);
void tide_worker_wake(struct tide_worker *w); /* unless it is the program's thread, in a callback */
struct tide_task *tide_worker_find(const struct tide_worker *w, uint32_t number);
/* Runs callbacks for all that waits, if they do not run already. */
void tide_worker_pump(struct tide_worker *w);
void tide_worker_say(struct tide_worker *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- helper.c */
int tide_helper_start(struct tide_worker *w);
void tide_helper_stop(struct tide_worker *w);

/* ---- host.c */
void tide_host_boot_id(char *out, size_t size); /* "" if unknown */
uint64_t tide_host_start_time(uint32_t pid); /* 0: there is no such process, or it cannot be told */
bool tide_host_gone(uint32_t pid, uint64_t start_time);
uint64_t tide_host_seed(void);
/* 0 and the secret (malloc'ed), or a code and why. */
int tide_host_secret(const char *path, struct tide_buf *ret, char why[static 256]);

/* ---- snapshot.c */
void tide_snapshot_run(struct tide_task *t, const struct tide_delivery *d);
void tide_snapshot_ackable(struct tide_task *t, uint64_t round); /* its records are all there */
void tide_snapshot_abandon(struct tide_task *t, uint64_t round); /* 0: all of the task */
void tide_snapshot_unfenced(struct tide_worker *w); /* acks again what was answered FENCED */
void tide_snapshot_forget(struct tide_worker *w);

/* ---- flight.c; on the program's thread */
struct flight *tide_flight_of(struct tide_task *t, uint64_t round);
struct flight *tide_flight_take(struct tide_task *t, uint64_t round); /* NULL: there is none */
void tide_flight_drop(struct flight *f);                              /* NULL is fine */
void tide_flight_forget(struct tide_task *t);
/* The program puts them into artifacts of its own. On failure why says more, or is empty. */
int tide_flight_hand_out(struct tide_task *t, struct flight *f, struct tide_snapshot *s,
                         char why[static 256]);
void tide_flight_ahead(struct tide_task *t, uint64_t round,
                       const uint8_t barrier[TIDE_BARRIER_SIZE], bool queued);
void tide_flight_overtake(struct tide_task *t, const struct tide_delivery *d);
void tide_task_said(struct tide_task *t); /* under the lock: tells the session what is unsaid */

/* ---- state.c */
struct tide_source { /* what tide_state.handle points to */
    struct tide_task *task;
    const Tide__Artifact *artifact;
    struct tide_bytes directory;
};

/* ---- sized.c */
/* Copies a struct that the program filled, as the program's header had it, into ours: what it does
 * not know becomes 0. TIDE_EINVAL: shorter than it ever was; TIDE_ENOTSUP: it says something that
 * only a newer library knows. */
int tide_sized_copy(void *to, size_t to_size, const void *from, size_t from_size, size_t least);

/* ---- spec.c */
int tide_spec_message(const struct tide_spec *spec, const Tide__JobSpec **ret);

#endif
