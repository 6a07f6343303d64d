/* What a host may say at a time when it is nobody's any more, and what the core makes of it. */
#include <stdio.h>

#include "daemon/core/internal.h"
#include "tests/core/lib_play_impl.h"

static const struct job_options plain = {.sources = 2, .sinks = 1, .deadline_ms = 1000};
static struct play p;

/* Frames of a session that has been refused, and its end, may be on their way still. */
START_TEST(sessions_that_are_gone)
{
    static uint8_t byte[1];
    play_start(&p);
    play_close(&p, 5); /* before there was any */
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_close(&p, 6);
    play_close(&p, 1);
    play_close(&p, 1);
    play_step(&p, (struct event){.type = EV_FRAME, .session = 1, .bytes = {byte, 1}});
    play_expect(&p, "");
    play_end(&p);
}
END_TEST

/* A session that ends without a word of why has ended. */
START_TEST(no_reason_is_given)
{
    play_running(&p, &plain);
    play_step(&p, (struct event){.type = EV_CLOSED, .session = 1});
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_ask_job(&p, 100);
    play_expect(&p, "to 100: job RUNNING, waits for: \n");
    play_wait(&p, 12000);
    ck_assert_ptr_nonnull(strstr(p.trace, "attempt-end"));
    play_end(&p);
}
END_TEST

/* A failure without words has those of its code; a refusal of the store some too. */
START_TEST(no_words_are_given)
{
    struct job_options job = plain;
    job.interval_ms = 100;
    play_running(&p, &job);
    play_wait(&p, 100);
    play_ack_all(&p, 1, 1, NULL);
    ck_assert_uint_eq(p.n_commits, 1);
    play_step(&p, (struct event){.type = EV_STORED, .tag = p.commits[0], .outcome = TIDE_REFUSED});
    ck_assert_str_eq(p.reason, "the store did not take it: the store did not take it");
    play_end(&p);

    play_running(&p, &plain);
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_savepoint(&p, 100, "k");
    play_stored(&p, TIDE_STORED);
    play_step(&p, (struct event){.type = EV_FILE, .tag = p.files[0], .rc = TIDE_ENOSPC});
    char want[200];
    snprintf(want, sizeof want, "its directory could not be made: %s", tide_strerror(TIDE_ENOSPC));
    ck_assert_str_eq(p.reason, want);
    play_end(&p);
}
END_TEST

/* Once it has said that it stops, nothing is heard any more, whatever comes. */
START_TEST(nothing_after_the_stop)
{
    play_running(&p, &plain);
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_savepoint(&p, 100, "k");
    play_stored(&p, TIDE_UNKNOWN);
    ck_assert(p.stopped);
    play_forget(&p);
    play_savepoint(&p, 100, "other");
    play_heartbeat(&p, 1);
    play_close(&p, 1);
    play_shutdown(&p);
    play_expect(&p, "");
    play_end(&p);
}
END_TEST

/* The map of sessions: keys that are there twice, that are not there, that have come and gone in
 * every order; each is found, or not, as a list would have it. */
START_TEST(a_map_is_as_a_list)
{
    enum { KEYS = 300 };
    static char values[KEYS];
    bool there[KEYS + 1] = {false};
    struct map m = {0};
    uint64_t rng = 5;
    ck_assert_ptr_null(map_get(&m, 1));
    ck_assert_ptr_null(map_remove(&m, 1));
    for (int i = 0; i < 20000; i++) {
        rng = rng * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint64_t key = 1 + (rng >> 33) % KEYS;
        void *value = &values[key - 1];
        if (rng >> 63) {
            map_put(&m, key, value);
            there[key] = true;
        } else {
            ck_assert_ptr_eq(map_remove(&m, key), there[key] ? value : NULL);
            there[key] = false;
        }
        uint64_t other = 1 + (rng >> 20) % KEYS;
        ck_assert_ptr_eq(map_get(&m, other), there[other] ? &values[other - 1] : NULL);
    }
    size_t n = 0;
    for (int key = 1; key <= KEYS; key++)
        n += there[key];
    ck_assert_uint_eq(m.n, n);
    ck_assert_ptr_null(map_get(&m, 0));
    ck_assert_ptr_null(map_remove(&m, 0));
    free(m.slots);
}
END_TEST

SUITE_MAIN("host", sessions_that_are_gone, no_reason_is_given, no_words_are_given,
           nothing_after_the_stop, a_map_is_as_a_list)
