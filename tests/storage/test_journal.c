/* The journal alone and under the store: what was stored is there again, from whatever moment the
 * database and the files are; what does not belong together is refused by name. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/journal.h"
#include "storage/record_pack.h"
#include "tests/storage/lib_fixture.h"

/* ---- records as bytes */

static struct tide_record *rec(struct tide_commit *c, enum tide_record_type type)
{
    struct tide_record *r = tide_commit_add(c, type, job_a);
    ck_assert_ptr_nonnull(r);
    return r;
}

/* One of each type, with something in every list. */
static struct tide_commit *one_of_each(void)
{
    static const struct tide_holder holders[] = {
        {7, 1, {(const uint8_t *)"op", 2}, {(const uint8_t *)"w", 1}, {(const uint8_t *)"", 0}},
        {8, 2, {(const uint8_t *)"op", 2}, {NULL, 0}, {(const uint8_t *)"aligning", 8}}};
    static const struct tide_bytes keys[] = {{(const uint8_t *)"a1-1/r4/s0-0", 12},
                                             {(const uint8_t *)"a1-1/r5/s0-1", 12}};
    static const struct tide_shared_file added[] = {
        {{(const uint8_t *)"a1-1/r6/s0-0", 12}, 5, 6, 7},
        {{(const uint8_t *)"a1-1/r6/s0-1", 12}, 6, 7, 8}};
    struct tide_commit *c = commit_new();
    rec(c, TIDE_REC_RESERVE)->reserve.upto = 77;
    rec(c, TIDE_REC_LEASE)->lease.lease_us = 10000000;
    add_job(c, job_a, "alpha");
    struct tide_record *r = rec(c, TIDE_REC_JOB_STATE);
    r->job_state.state = TIDE_JOB_HELD;
    r->job_state.cause = tide_bytes_of("cause");
    add_attempt(c, job_b, 3, 12);
    rec(c, TIDE_REC_ATTEMPT_RUN)->attempt_run.attempt = 3;
    rec(c, TIDE_REC_ATTEMPT_END)->attempt_end.reason = tide_bytes_of("lost");
    add_round(c, TIDE_REC_ROUND_BEGIN, job_a, 5);
    r = add_round(c, TIDE_REC_ROUND_END, job_a, 5);
    r->round.code = 4;
    r->round.holders = holders;
    r->round.n_holders = r->round.holders_total = 2;
    rec(c, TIDE_REC_ROUND_TIMES)->times.notify_us = 9;
    rec(c, TIDE_REC_ROUND_SWEPT)->swept.number = 5;
    add_snapshot(c, job_a, 6, 4, 100);
    add_snapshot_state(c, job_a, 4, TIDE_DELETED);
    r = rec(c, TIDE_REC_OWED);
    r->owed.uid = tide_bytes_of("sink");
    r->owed.handle = tide_bytes_of("handle");
    rec(c, TIDE_REC_STRIKE)->strike.upto = 6;
    r = rec(c, TIDE_REC_OPERATION);
    r->operation.key = tide_bytes_of("key");
    r->operation.state = TIDE_OP_DONE;
    rec(c, TIDE_REC_AUDIT)->audit.who = tide_bytes_of("admin");
    r = rec(c, TIDE_REC_BASE);
    r->base.since = 9;
    r->base.unmatched = true;
    r->base.adopted = tide_bytes_of("pairs");
    r = rec(c, TIDE_REC_SHARED);
    r->shared.round = 6;
    r->shared.directory = tide_bytes_of("/state/job");
    r->shared.added = added;
    r->shared.n_added = 2;
    r->shared.left = r->shared.again = keys;
    r->shared.n_left = 2;
    r->shared.n_again = 1;
    r = rec(c, TIDE_REC_SHARED_STATE);
    r->shared_state.state = TIDE_DELETING;
    r->shared_state.keys = keys;
    r->shared_state.n_keys = 2;
    return c;
}

static struct tide_bytes bulk_of(const struct tide_commit *c, struct tide_buf *out)
{
    for (const struct tide_record *r = c->first; r; r = r->next)
        for (uint32_t i = 0; r->type == TIDE_REC_SNAPSHOT && i < r->snapshot.n_chunks; i++)
            tide_buf_put(out, r->snapshot.chunks[i].data, r->snapshot.chunks[i].len);
    ck_assert_uint_eq(out->len, tide_records_bulk(c, NULL));
    return (struct tide_bytes){out->data, out->len};
}

static void free_list(struct tide_commit *list)
{
    while (list) {
        struct tide_commit *next = list->next;
        tide_commit_free(list);
        list = next;
    }
}

START_TEST(every_type_comes_back)
{
    open_store();
    struct tide_commit *c = one_of_each(), *again = NULL;
    struct tide_buf packed, repacked, bulk;
    unsigned seen = 0;
    tide_buf_init(&packed, 1 << 20);
    tide_buf_init(&repacked, 1 << 20);
    tide_buf_init(&bulk, 1 << 20);
    c->next = commit_new(); /* and an empty one */
    tide_records_pack(&packed, c, NULL);
    ck_assert_int_eq(packed.rc, 0);
    struct tide_bytes all = {packed.data, packed.len}, chunks = bulk_of(c, &bulk);
    ck_assert_int_eq(tide_records_unpack(all, chunks, &again), 0);
    tide_records_pack(&repacked, again, NULL);
    ck_assert_uint_eq(repacked.len, packed.len);
    ck_assert_mem_eq(repacked.data, packed.data, packed.len);
    for (const struct tide_record *r = again->first; r; r = r->next) {
        seen |= 1u << r->type;
        if (r->type == TIDE_REC_ROUND_END && r->round.code == 4) {
            ck_assert_uint_eq(r->round.n_holders, 2);
            ck_assert(tide_bytes_equal(r->round.holders[1].phase, tide_bytes_of("aligning")));
        }
        if (r->type == TIDE_REC_ATTEMPT) {
            ck_assert_uint_eq(r->attempt.n_members, 2);
            ck_assert_uint_eq(r->attempt.members[0].ranges[2], 200);
        }
        if (r->type == TIDE_REC_SNAPSHOT) {
            ck_assert_uint_ge(r->snapshot.n_chunks, 1);
            ck_assert_mem_eq(r->snapshot.chunks[0].data, chunks.data, r->snapshot.chunks[0].len);
        }
        if (r->type == TIDE_REC_SHARED) {
            ck_assert_uint_eq(r->shared.added[1].digest_high, 8);
            ck_assert(tide_bytes_equal(r->shared.left[1], tide_bytes_of("a1-1/r5/s0-1")));
            ck_assert_uint_eq(r->shared.n_again, 1);
        }
    }
    ck_assert_uint_eq(seen, (2u << TIDE_REC_SHARED_STATE) - 2); /* one of each */
    free_list(again);
    free_list(c);
    tide_buf_release(&packed);
    tide_buf_release(&repacked);
    tide_buf_release(&bulk);
}
END_TEST

/* A record of 0.1.0 has no high bit in its type, and ends before the fields of later formats. */
START_TEST(records_of_the_first_format)
{
    open_store();
    struct tide_commit *c = commit_new(), *again = NULL;
    struct tide_buf packed;
    const size_t later = 9 * sizeof(uint64_t); /* style to turned_us */
    tide_buf_init(&packed, 1 << 20);
    struct tide_record *r = add_round(c, TIDE_REC_ROUND_BEGIN, job_a, 5);
    r->round.style = TIDE_RENDEZVOUS;
    r->round.persisted_bytes = 9;
    tide_records_pack(&packed, c, NULL);
    ck_assert_uint_eq(packed.data[4], (unsigned)TIDE_REC_ROUND_BEGIN | 0x80u);
    packed.data[4] = TIDE_REC_ROUND_BEGIN;
    struct tide_bytes all = {packed.data, packed.len - later};
    ck_assert_int_eq(tide_records_unpack(all, (struct tide_bytes){0}, &again), 0);
    ck_assert_uint_eq(again->first->round.number, 5);
    ck_assert_uint_eq(again->first->round.begun_wall, r->round.begun_wall);
    ck_assert_int_eq(again->first->round.style, TIDE_FLOW);
    ck_assert_uint_eq(again->first->round.persisted_bytes, 0);
    free_list(again);
    /* with its fields it would be too long */
    all.len = packed.len;
    ck_assert_int_eq(tide_records_unpack(all, (struct tide_bytes){0}, &again), TIDE_ECORRUPT);
    tide_commit_free(c);
    tide_buf_release(&packed);
}
END_TEST

/* A digest stands above them; nevertheless they may be anything. */
START_TEST(bytes_that_are_no_records)
{
    open_store();
    struct tide_commit *c = one_of_each(), *got = NULL;
    struct tide_buf packed, bulk;
    tide_buf_init(&packed, 1 << 20);
    tide_buf_init(&bulk, 1 << 20);
    tide_records_pack(&packed, c, NULL);
    struct tide_bytes chunks = bulk_of(c, &bulk);
    for (size_t n = 1; n < packed.len; n++) {
        uint8_t *cut = malloc(n); /* of its own, so that a byte too many is seen */
        ck_assert_ptr_nonnull(cut);
        memcpy(cut, packed.data, n);
        ck_assert_int_eq(tide_records_unpack((struct tide_bytes){cut, n}, chunks, &got),
                         TIDE_ECORRUPT);
        free(cut);
    }
    for (size_t i = 0; i < packed.len; i++)
        for (int bit = 0; bit < 8; bit += 7) {
            packed.data[i] ^= (uint8_t)(1 << bit);
            int rc =
                tide_records_unpack((struct tide_bytes){packed.data, packed.len}, chunks, &got);
            ck_assert(rc == 0 || rc == TIDE_ECORRUPT || rc == TIDE_ENOMEM);
            if (rc == 0) free_list(got);
            packed.data[i] ^= (uint8_t)(1 << bit);
        }
    struct tide_bytes less = {chunks.data, chunks.len - 1};
    ck_assert_int_eq(tide_records_unpack((struct tide_bytes){packed.data, packed.len}, less, &got),
                     TIDE_ECORRUPT);
    tide_commit_free(c);
    tide_buf_release(&packed);
    tide_buf_release(&bulk);
}
END_TEST

/* ---- under the store */

static void shell(const char *format, const char *a, const char *b)
{
    char command[512];
    snprintf(command, sizeof command, format, a, b);
    ck_assert_msg(system(command) == 0, "%s", command);
}

static char kept[80]; /* a copy of the directory, as a crash at that moment would leave it */

static void keep(const char *files)
{
    char command[512];
    snprintf(kept, sizeof kept, "%s.kept", dir);
    snprintf(command, sizeof command, "mkdir -p %s && cd %s && cp %s %s/", kept, dir, files, kept);
    ck_assert_msg(system(command) == 0, "%s", command);
}

/* Opens the copy; what it must hold: the jobs' rounds from 1 up to n. */
static void copy_has(int64_t n)
{
    char here[sizeof dir];
    struct tide_store *open = st;
    strcpy(here, dir);
    strcpy(dir, kept);
    open_store();
    ck_assert_int_eq(number("SELECT count(*) FROM snapshot"), n);
    ck_assert_int_eq(number("SELECT coalesce(max(round), 0) FROM snapshot"), n);
    ck_assert_int_eq(
        number("SELECT count(*) FROM snapshot s WHERE manifest_parts <> (SELECT count(*)"
               " FROM manifest WHERE snapshot = s.round)"),
        0);
    close_store();
    strcpy(dir, here);
    st = open;
    shell("rm -rf %s%s", kept, "");
}

static void copy_is_refused(int want, const char *words)
{
    char here[sizeof dir], why[512] = "";
    struct tide_store_options o = options();
    struct tide_store *none = NULL;
    strcpy(here, dir);
    strcpy(dir, kept);
    ck_assert_int_eq(tide_store_open(&o, &none, why), want);
    ck_assert_msg(strstr(why, words) != NULL, "\"%s\" is not in \"%s\"", words, why);
    ck_assert_msg(strstr(why, "journal.") != NULL, "%s", why);
    strcpy(dir, here);
    shell("rm -rf %s%s", kept, "");
}

static void add_rounds(uint64_t first, uint64_t n, uint32_t tasks)
{
    for (uint64_t i = first; i < first + n; i++) {
        struct tide_commit *c = commit_new();
        if (i == 1) {
            add_job(c, job_a, "alpha");
            add_attempt(c, job_a, 1, 0);
        }
        add_snapshot(c, job_a, i, 0, tasks);
        stored(c);
    }
}

/* Killed with the database any way behind: without its WAL, or with that of a while ago. */
START_TEST(the_database_catches_up)
{
    open_store();
    add_rounds(1, 5, 20);
    keep("tidemark.db journal.*");
    copy_has(5);
    add_rounds(6, 1, 30000); /* a large manifest, only in the journal */
    keep("tidemark.db journal.*");
    copy_has(6);
    keep("tidemark.db*");
    maintain();
    add_rounds(7, 3, 30000);
    shell("cp %s/journal.* %s/", dir, kept); /* an older database, the journal of now */
    copy_has(9);
    keep("tidemark.db tidemark.db-wal journal.*");
    copy_has(9);
}
END_TEST

/* Both files are used in turn, and again; at each moment the whole is there. */
START_TEST(the_files_take_turns)
{
    struct stat s[2];
    open_store();
    uint64_t n = 1;
    for (int turn = 0; turn < 8; turn++) {
        for (int i = 0; i < 12; i++, n++)
            add_rounds(n, 1, 60000);
        if (turn % 2) maintain();
        keep("tidemark.db tidemark.db-wal journal.*");
        copy_has((int64_t)n - 1);
    }
    ck_assert_int_eq(stat(in_dir("journal.0"), &s[0]), 0);
    ck_assert_int_eq(stat(in_dir("journal.1"), &s[1]), 0);
    ck_assert_int_gt(s[0].st_size, 16 << 20);
    ck_assert_int_gt(s[1].st_size, 16 << 20);
    ck_assert_int_lt(s[0].st_size + s[1].st_size, 80 << 20); /* 96 rounds of 2 MB went through */
}
END_TEST

START_TEST(what_does_not_belong_together_is_refused)
{
    open_store();
    add_rounds(1, 3, 20);
    keep("tidemark.db journal.*");
    shell("mv %s %s.old", kept, kept);
    close_store();
    open_store(); /* what was in the journal is in the database, the journal begins anew */
    add_rounds(4, 40, 20);
    maintain();
    close_store();
    open_store();
    add_rounds(44, 2, 20);
    keep("journal.*");
    shell("cp %s.old/tidemark.db %s/", kept, kept);
    copy_is_refused(TIDE_ECORRUPT, "goes on at entry 44 where the database ends at");
    keep("journal.*"); /* no database at all */
    copy_is_refused(TIDE_ECORRUPT, "another store");
    /* Without the journal the old database is as good as it was. */
    shell("mkdir %s%s", kept, "");
    shell("cp %s.old/tidemark.db %s/", kept, kept);
    copy_has(0);
    shell("rm -rf %s.old%s", kept, "");
}
END_TEST

/* Two histories that began as one: the numbers fit, the journal of the one does not continue the
 * other. */
START_TEST(another_history_is_refused)
{
    open_store();
    add_rounds(1, 3, 20);
    close_store();
    keep("tidemark.db");
    open_store();
    add_rounds(4, 1, 20);
    close_store();
    shell("cp %s/tidemark.db %s/longer.db", dir, kept);
    shell("cp %s/tidemark.db %s/", kept, dir);
    shell("rm %s/journal.0 %s/journal.1", dir, dir);
    open_store();
    add_rounds(40, 3, 20);
    shell("cp %s/journal.* %s/", dir, kept);
    shell("mv %s/longer.db %s/tidemark.db", kept, kept);
    copy_is_refused(TIDE_ECORRUPT, "continues another history");
}
END_TEST

/* Whatever byte is changed or torn: what is read is what was stored, up to some entry, and never
 * less than somebody was told: behind an entry that was never finished there is none. */
START_TEST(damage_is_the_end_or_is_refused)
{
    open_store();
    add_rounds(1, 6, 5);
    keep("tidemark.db journal.0");
    shell("mv %s %s.old", kept, kept);
    for (int i = 0; i < 120; i++) {
        char path[160];
        shell("cp -r %s.old %s", kept, kept);
        snprintf(path, sizeof path, "%s/journal.0", kept);
        int fd = open(path, O_RDWR), entry = i / 20;
        uint8_t header[88], byte;
        off_t start = entry * 4096; /* each entry has one block */
        ck_assert_int_eq(pread(fd, header, sizeof header, start), sizeof header);
        uint64_t len = sizeof header + tide_get_u64(header + 40) + tide_get_u64(header + 48);
        ck_assert_uint_lt(len, 4096);
        off_t at = start + (off_t)(len - 1) * (i % 20) / 19; /* from the first byte to the last */
        ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
        byte ^= (uint8_t)(1 << i % 8);
        ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
        bool torn = i % 3 == 0;
        if (torn) ck_assert_int_eq(ftruncate(fd, at), 0);
        close(fd);
        if (torn || entry == 5)
            copy_has(entry);
        else
            copy_is_refused(TIDE_ECORRUPT, "behind that is needed");
        shell("rm -rf %s%s", kept, "");
    }
    shell("rm -rf %s.old%s", kept, "");
}
END_TEST

static struct tide_commit *refused(void)
{
    struct tide_commit *c = commit_new();
    struct tide_record *r =
        tide_commit_add(c, TIDE_REC_JOB_STATE, job_b); /* there is no such job */
    ck_assert_ptr_nonnull(r);
    r->job_state.state = TIDE_JOB_HELD;
    return c;
}

/* Written and flushed before the database has refused it: taken out again, and its place is free
 * for the next one. */
START_TEST(what_is_refused_leaves_the_journal)
{
    struct tide_journal_mark before;
    open_store();
    add_rounds(1, 2, 20);
    before = tide_journal_last(st->journal);
    expect(refused(), TIDE_REFUSED, "no such job");
    ck_assert_uint_eq(tide_journal_last(st->journal).sequence, before.sequence);
    keep("tidemark.db journal.*");
    copy_has(2);
    add_rounds(3, 2, 20);
    keep("tidemark.db journal.*");
    copy_has(4);
}
END_TEST

/* What the database has to follow after that may find no room: that is no doubt, and no end. */
START_TEST(what_follows_a_refusal_finds_the_disk_full)
{
    open_store();
    add_rounds(1, 1, 20);
    maintain();
    add_rounds(2, 99, 20);
    expect(refused(), TIDE_REFUSED, "no such job");
    ck_assert_int_eq(sqlite3_exec(st->db, "PRAGMA max_page_count = 1", NULL, NULL, NULL), 0);
    struct tide_commit *c = commit_new();
    add_snapshot(c, job_a, 101, 0, 20);
    expect(c, TIDE_NO_SPACE, "");
    sqlite3_exec(st->db, "PRAGMA max_page_count = 1000000", NULL, NULL, NULL);
    add_rounds(101, 1, 20);
    ck_assert_int_eq(number("SELECT count(*) FROM snapshot"), 101);
}
END_TEST

/* As the one above leaves it when it is killed in between. */
static void append_only(struct tide_commit *c)
{
    struct tide_journal_place place;
    ck_assert_int_eq(tide_journal_begin(st->journal, c, NULL), 0);
    ck_assert_int_eq(tide_journal_end(st->journal, true, &place), 0);
    tide_commit_free(c);
}

START_TEST(a_start_finishes_what_was_being_taken_back)
{
    open_store();
    add_rounds(1, 3, 20);
    append_only(refused());
    keep("tidemark.db journal.*");
    char here[sizeof dir];
    strcpy(here, dir);
    strcpy(dir, kept);
    struct tide_store *left = st;
    for (uint64_t start = 0; start < 2; start++) {
        open_store();
        ck_assert_msg((strstr(tide_store_note(st), "no such job") != NULL) == (start == 0), "%s",
                      tide_store_note(st));
        ck_assert_int_eq(number("SELECT count(*) FROM snapshot"), 3 + (int64_t)start);
        add_rounds(4 + start, 1, 20);
        close_store();
    }
    strcpy(dir, here);
    st = left;
    shell("rm -rf %s%s", kept, "");

    struct tide_commit *c = commit_new(); /* but behind it stands another one */
    add_snapshot(c, job_a, 4, 0, 20);
    append_only(c);
    keep("tidemark.db journal.*");
    copy_is_refused(TIDE_ECORRUPT, "no such job");
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, what_is_refused_leaves_the_journal);
    tcase_add_test(tc, what_follows_a_refusal_finds_the_disk_full);
    tcase_add_test(tc, a_start_finishes_what_was_being_taken_back);
    tcase_add_test(tc, every_type_comes_back);
    tcase_add_test(tc, records_of_the_first_format);
    tcase_add_test(tc, bytes_that_are_no_records);
    tcase_add_test(tc, the_database_catches_up);
    tcase_add_test(tc, the_files_take_turns);
    tcase_add_test(tc, what_does_not_belong_together_is_refused);
    tcase_add_test(tc, another_history_is_refused);
    tcase_add_test(tc, damage_is_the_end_or_is_refused);
}

int main(void)
{
    return run("journal", add_tests);
}
