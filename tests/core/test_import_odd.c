/* Manifests of elsewhere that are whole, and say what cannot be, or less than they might: each with
 * what is told of it. */
#include <stdio.h>

#include "storage/manifest.h"
#include "tests/core/lib_play.h"

static const struct job_options job = {
    .sources = 2, .sinks = 1, .interval_ms = 100, .deadline_ms = 60000, .retained = 3};
static struct play p;

static void run(void)
{
    play_running(&p, &job);
    play_open(&p, ADMIN, TIDE__PEER_KIND__PEER_ADMIN);
    play_wait(&p, 100);
    play_ack_all(&p, 1, p.round, NULL);
    play_settle(&p);
    play_confirm(&p, 1, p.round, 0, 3);
    play_settle(&p);
    play_forget(&p);
}

/* What lies elsewhere is the job's own checkpoint, with another head. */
static void put(void (*change)(Tide__ManifestHead *head))
{
    static uint8_t packed[8192];
    struct tide_manifest m;
    struct tide_buf out;
    char why[256];
    ck_assert_int_eq(tide_manifest_open(&m, shelf_image(&p.shelf, 1), why), 0);
    Tide__ManifestHead head = *m.head;
    change(&head);
    ck_assert_uint_le(tide__manifest_head__get_packed_size(&head), sizeof packed);
    size_t len = tide__manifest_head__pack(&head, packed);
    tide_buf_init(&out, 1 << 20);
    tide_manifest_put(&out, (struct tide_bytes){packed, len}, &m.acks, 1);
    ck_assert_int_eq(out.rc, 0);
    p.elsewhere = (struct tide_bytes){out.data, out.len};
    tide_manifest_close(&m);
}

static void import(const char *directory)
{
    Tide__ImportSnapshot m = TIDE__IMPORT_SNAPSHOT__INIT;
    Tide__Request r = TIDE__REQUEST__INIT;
    m.job = play_bytes("job");
    m.directory = play_bytes(directory);
    r.call_case = TIDE__REQUEST__CALL_IMPORT_SNAPSHOT;
    r.import_snapshot = &m;
    play_request(&p, ADMIN, &r);
    play_settle(&p);
}

static void told(void (*change)(Tide__ManifestHead *head), const char *text)
{
    run();
    put(change);
    import("/there/");
    play_forget(&p);
    play_ask_operation(&p, ADMIN, p.operation);
    ck_assert_msg(strstr(p.trace, text), "%s", p.trace);
    free((void *)(uintptr_t)p.elsewhere.data);
    play_end(&p);
}

static void no_number(Tide__ManifestHead *head)
{
    head->round = 0;
}

static void no_kind(Tide__ManifestHead *head)
{
    head->kind = 7;
}

static void no_time(Tide__ManifestHead *head)
{
    head->begun_wall_us = UINT64_MAX;
}

/* The store could not keep it: it is no snapshot, whatever its digest says. */
START_TEST(out_of_range)
{
    told(no_number, "are of round 1, attempt 1, not of round 0, attempt 1");
    told(no_kind, "its kind, number or time is none");
    told(no_time, "its kind, number or time is none");
}
END_TEST

static void no_spec(Tide__ManifestHead *head)
{
    head->spec = NULL;
}

/* Without a graph nobody knows what its tasks are. */
START_TEST(without_a_graph)
{
    told(no_spec, "the snapshot's own spec is refused: there is none");
}
END_TEST

static char letters[300];
static void long_label(Tide__ManifestHead *head)
{
    memset(letters, 'x', sizeof letters - 1);
    head->label = play_bytes(letters);
}

static void no_label(Tide__ManifestHead *head)
{
    head->label = play_bytes("\xff");
}

static void no_ids(Tide__ManifestHead *head)
{
    head->store_id.len = 3;
    head->job_id.len = 0;
}

static void other_job(Tide__ManifestHead *head)
{
    head->job_id.data[0] ^= 1;
}

static Tide__ExternalState nothing, *nothings[1] = {&nothing};
static void nameless_part(Tide__ManifestHead *head)
{
    tide__external_state__init(&nothing);
    head->n_externals = 1;
    head->externals = nothings;
}

/* What does not matter for a restore does not keep it from being one. */
START_TEST(less_than_it_might_say)
{
    told(long_label, "operation import done");
    told(no_label, "operation import done");
    told(no_ids, "operation import done");
    told(other_job, "operation import done");
    told(nameless_part, "operation import done");
}
END_TEST

/* No snapshot lies in the root of everything, nor at a place that depends on who looks. */
START_TEST(where)
{
    run();
    import("/");
    ck_assert_msg(strstr(p.trace, "the directory is not an absolute path"), "%s", p.trace);
    play_forget(&p);
    import("there");
    ck_assert_msg(strstr(p.trace, "the directory is not an absolute path"), "%s", p.trace);
    play_end(&p);
}
END_TEST

SUITE_MAIN("import_odd", out_of_range, without_a_graph, less_than_it_might_say, where)
