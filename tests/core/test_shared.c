/* Shared artifacts: which a round may name, what its commit says of them, and when they go. */
#include <inttypes.h>
#include <stdio.h>

#include "tests/core/lib_play.h"

static struct play p;

struct named { /* by the ack of a task */
    char key[96];
    uint64_t digest;
    bool again;
};

/* The file of that task and index, written for that round of the present attempt. */
static struct named fresh(uint64_t round, uint32_t task, uint32_t index)
{
    struct named n = {.digest = round * 100 + task * 10 + index};
    snprintf(n.key, sizeof n.key, "a%" PRIu64 "-%" PRIu64 "/r%" PRIu64 "/s%u-%u", p.incarnation,
             p.attempt, round, task, index);
    return n;
}

static struct named again(struct named n)
{
    n.again = true;
    return n;
}

static void ack(uint32_t task, uint64_t round, const struct named *names, size_t n)
{
    struct tide_ack_builder b;
    uint8_t packed[4096];
    Tide__TaskAck m;
    Tide__Artifact artifacts[16], *pointers[16];
    uint64_t shown = p.round;
    tide__task_ack__init(&m);
    for (size_t i = 0; i < n; i++) {
        tide__artifact__init(&artifacts[i]);
        artifacts[i].place_case = TIDE__ARTIFACT__PLACE_PATH;
        artifacts[i].path = play_bytes(names[i].key);
        artifacts[i].size = 7;
        artifacts[i].digest_low = names[i].digest;
        artifacts[i].shared =
            names[i].again ? TIDE__SHARED__SHARED_AGAIN : TIDE__SHARED__SHARED_NEW;
        pointers[i] = &artifacts[i];
    }
    m.task = task;
    m.n_artifacts = n;
    m.artifacts = pointers;
    size_t len = tide__task_ack__pack(&m, packed);
    tide_ack_builder_init(&b, 8192);
    tide_ack_builder_add_full(&b, (struct tide_bytes){packed, len});
    p.round = round;
    play_ack_frame(&p, 1, &b);
    p.round = shown;
}
#define ACK(task, round, ...)                                                                      \
    ack((task), (round), (const struct named[]){__VA_ARGS__},                                      \
        sizeof((const struct named[]){__VA_ARGS__}) / sizeof(struct named))

static void begin(uint32_t sources, uint32_t retained)
{
    play_running(&p, &(struct job_options){.sources = sources,
                                           .interval_ms = 100,
                                           .deadline_ms = 1000,
                                           .retained = retained,
                                           .max_concurrent = 2});
    play_forget(&p);
}

/* The next round begins, is acked by the one task, and everything that follows happens. */
static uint64_t next_round(void)
{
    play_wait(&p, 100);
    play_heartbeat(&p, 1);
    play_forget(&p);
    return p.round;
}
#define ROUND(...)                                                                                 \
    do {                                                                                           \
        ACK(0, next_round(), __VA_ARGS__);                                                         \
        play_settle(&p);                                                                           \
    } while (0)

/* S122: what checkpoint 1 brought is used by 2 and left by 3. It goes once 2 is gone, and is told
 * to the store before it is deleted; what 3 uses stays. */
START_TEST(a_file_goes_with_its_last_user_S122)
{
    begin(1, 1);
    uint64_t round = next_round();
    struct named one = fresh(round, 0, 0), two = fresh(round, 0, 1);
    ACK(0, round, one, two);
    play_expect(&p, "commit: round-end=complete snapshot shared[2 new, 0 left, 0 again]\n");
    play_settle(&p);
    round = next_round();
    ACK(0, round, again(one), again(two));
    play_expect(&p, "commit: round-end=complete snapshot snapshot-state=deleting 1\n");
    play_settle(&p);
    play_forget(&p);
    round = next_round();
    ACK(0, round, again(two), fresh(round, 0, 0));
    play_expect(&p, "commit: round-end=complete snapshot shared[1 new, 1 left, 0 again]"
                    " snapshot-state=deleting 2\n");
    play_stored(&p, TIDE_STORED);
    ck_assert_int_eq(play_gauges(&p)->last_checkpoint_full_size, 14);
    ck_assert_int_eq(play_gauges(&p)->last_checkpoint_size, 7);
    PLAY_AMONG(&p, "to 1: complete 3\n", "commit: shared-state=1 deleting\n", "delete-own r2\n");
    play_stored(&p, TIDE_STORED); /* deleting */
    play_expect(&p, "delete-shared s0-0\n");
    play_filed(&p, 0);
    play_filed(&p, TIDE_EIO); /* it is tried again */
    play_forget(&p);
    play_wait(&p, 1100);
    PLAY_AMONG(&p, "delete-shared s0-0\n");
    play_settle(&p);
    ROUND(again(two)); /* what nobody waits for rides on this */
    ck_assert_uint_eq(p.shelf.jobs[0].n_shared, 2);
    play_end(&p);
}
END_TEST

/* S119: what two files were used by is gone: both go, told to the store at once. */
START_TEST(both_go_with_one_commit_S119)
{
    begin(1, 1);
    uint64_t round = next_round();
    ACK(0, round, fresh(round, 0, 0), fresh(round, 0, 1));
    play_settle(&p);
    round = next_round();
    ACK(0, round, fresh(round, 0, 0));
    play_stored(&p, TIDE_STORED);
    PLAY_AMONG(&p, "commit: shared-state=2 deleting\n");
    play_stored(&p, TIDE_NO_SPACE);  /* nothing has changed: asked again later, and not deleted */
    ck_assert_uint_eq(p.n_files, 1); /* the checkpoint's own */
    play_forget(&p);
    play_wait(&p, 1100);
    PLAY_AMONG(&p, "commit: shared-state=2 deleting\n");
    play_end(&p);
}
END_TEST

/* S127: while an older checkpoint is retained its files stay, though newer ones do without. */
START_TEST(what_is_retained_keeps_its_files_S127)
{
    begin(1, 2);
    uint64_t round = next_round();
    struct named one = fresh(round, 0, 0), two;
    ACK(0, round, one);
    play_settle(&p);
    round = next_round();
    two = fresh(round, 0, 0);
    ACK(0, round, two);
    play_settle(&p);
    ck_assert_uint_eq(p.shelf.jobs[0].n_shared, 2); /* 1 is retained */
    ROUND(again(two));
    ROUND(again(two));
    ck_assert_uint_eq(p.shelf.jobs[0].n_shared, 1); /* and gone */
    ck_assert_uint_eq(p.shelf.jobs[0].shared[0].first, 2);
    play_end(&p);
}
END_TEST

/* A round that names what it may not aborts, says which task and file, and the next asks that task
 * for everything, until a checkpoint is complete. */
static void refused(struct named n, const char *why)
{
    char text[300];
    uint64_t round = next_round();
    ACK(1, round, n);
    snprintf(text, sizeof text, "a[1] %s the shared artifact %s, %s",
             n.again ? "refers to" : "brings", n.key, why);
    ck_assert_str_eq(p.reason, text);
    play_settle(&p);
    play_forget(&p);
    play_wait(&p, 100);
    play_heartbeat(&p, 1);
    char trigger[80];
    snprintf(trigger, sizeof trigger, "to 1: trigger checkpoint %" PRIu64 ", all of tasks 1\n",
             p.round);
    PLAY_AMONG(&p, trigger);
    ACK(0, p.round, fresh(p.round, 0, 0));
    ACK(1, p.round, fresh(p.round, 1, 0));
    play_settle(&p);
    play_forget(&p);
}

START_TEST(what_is_refused_aborts_the_round)
{
    begin(2, 1);
    uint64_t round = next_round();
    struct named one = fresh(round, 0, 0), other = one, gone;
    ACK(0, round, one);
    ACK(1, round, fresh(round, 1, 0));
    play_settle(&p);
    refused(again(fresh(round, 1, 7)), "which is not known");
    gone = again(one);
    refused(gone, "which is not known"); /* that checkpoint had none of it, and it is deleted */
    round = p.round;
    other = again(fresh(round, 0, 0));
    other.digest++;
    refused(other, "which has another size or digest");
    refused(fresh(round, 1, 1), "which is not in the round's directory");
    play_end(&p);
}
END_TEST

/* Two tasks cannot both have written one file; both may refer to it. */
START_TEST(tasks_share_a_file_and_write_it_once)
{
    begin(2, 1);
    uint64_t round = next_round();
    struct named one = fresh(round, 0, 0);
    ACK(0, round, one);
    ACK(1, round, one);
    ck_assert_ptr_nonnull(strstr(p.reason, "a key that is taken"));
    play_settle(&p);
    round = next_round();
    one = fresh(round, 0, 0);
    ACK(0, round, one);
    ACK(1, round, fresh(round, 1, 0));
    play_settle(&p);
    round = next_round();
    ACK(0, round, again(one));
    play_forget(&p);
    ACK(1, round, again(one));
    play_expect(&p, "commit: round-end=complete snapshot shared[0 new, 1 left, 0 again]"
                    " snapshot-state=deleting 2\n");
    play_end(&p);
}
END_TEST

/* A savepoint stands for itself, and so does a checkpoint that must be full. */
START_TEST(savepoints_and_full_rounds_refer_to_nothing)
{
    begin(1, 1);
    uint64_t round = next_round();
    struct named one = fresh(round, 0, 0);
    ACK(0, round, one);
    play_settle(&p);
    play_open(&p, ADMIN, TIDE__PEER_KIND__PEER_ADMIN);
    play_ask_checkpoint(&p, &(struct ask){.key = "k", .full = true});
    play_settle(&p);
    ACK(0, p.round, again(one));
    ck_assert_ptr_nonnull(strstr(p.reason, "and the round must be full"));
    play_settle(&p);
    play_savepoint(&p, ADMIN, "s");
    play_settle(&p);
    ACK(0, p.round, again(one));
    ck_assert_ptr_nonnull(strstr(p.reason, "and a savepoint must stand for itself"));
    play_end(&p);
}
END_TEST

/* The first of two rounds under way completes without a file that the second has acked already: it
 * stays, and is used again. */
START_TEST(a_round_under_way_holds_what_it_names)
{
    begin(1, 1);
    uint64_t round = next_round();
    struct named one = fresh(round, 0, 0);
    ACK(0, round, one);
    play_settle(&p);
    next_round();
    round = next_round();
    ck_assert_uint_eq(round, 3);
    ACK(0, 2, fresh(2, 0, 0));
    ACK(0, 3, again(one));
    play_stored(&p, TIDE_STORED);
    PLAY_AMONG(&p,
               "commit: round-end=complete snapshot shared[1 new, 1 left, 0 again]"
               " snapshot-state=deleting 1\n",
               "commit: round-end=complete snapshot shared[0 new, 1 left, 1 again]"
               " snapshot-state=deleting 2\n");
    play_settle(&p);
    ROUND(again(one));
    ROUND(again(one));
    ck_assert_uint_eq(p.shelf.jobs[0].n_shared, 1);
    ck_assert_uint_eq(p.shelf.jobs[0].shared[0].first, 1);
    play_end(&p);
}
END_TEST

/* S79: what an aborted round has written goes with its directory, shared or not, once a later round
 * has completed, and no round may refer to it. */
START_TEST(an_aborted_round_leaves_nothing_S79)
{
    begin(2, 1);
    uint64_t round = next_round();
    struct named one = fresh(round, 0, 0);
    ACK(0, round, one);
    play_decline(&p, 1, 1, "no");
    play_settle(&p);
    ck_assert_uint_eq(p.shelf.jobs[0].n_shared, 0);
    round = next_round();
    ACK(0, round, fresh(round, 0, 0));
    play_forget(&p);
    ACK(1, round, fresh(round, 1, 0));
    play_stored(&p, TIDE_STORED);
    PLAY_AMONG(&p, "delete r1\n");
    play_settle(&p);
    refused(again(one), "which is not known");
    play_end(&p);
}
END_TEST

/* S128: a daemon that starts knows each file once, and goes on with its deletion. */
START_TEST(a_restart_goes_on_S128)
{
    begin(1, 1);
    uint64_t round = next_round();
    struct named one = fresh(round, 0, 0);
    ACK(0, round, one);
    play_settle(&p);
    round = next_round();
    ACK(0, round, fresh(round, 0, 0));
    play_stored(&p, TIDE_STORED);
    while (p.n_commits)
        play_stored(&p, TIDE_STORED);
    ck_assert_int_eq(p.shelf.jobs[0].shared[0].state, TIDE_DELETING);
    play_crash(&p);
    PLAY_AMONG(&p, "delete-shared s0-0\n");
    play_end(&p);
}
END_TEST

SUITE_MAIN("shared", a_file_goes_with_its_last_user_S122, what_is_retained_keeps_its_files_S127,
           what_is_refused_aborts_the_round, tasks_share_a_file_and_write_it_once,
           savepoints_and_full_rounds_refer_to_nothing, a_round_under_way_holds_what_it_names,
           an_aborted_round_leaves_nothing_S79, both_go_with_one_commit_S119,
           a_restart_goes_on_S128)
