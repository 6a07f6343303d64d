/* Snapshots that are exported, each as the trace it leaves. */
#include <stdio.h>

#include "tests/core/lib_play.h"
#include "tests/core/lib_spec.h"

static const struct job_options plain = {
    .sources = 2, .sinks = 1, .deadline_ms = 60000, .retained = 1};
static struct play p;

static uint64_t checkpoint(void)
{
    play_ask_checkpoint(&p, &(struct ask){0});
    play_settle(&p);
    play_ack_all(&p, 1, p.round, NULL);
    play_settle(&p);
    play_confirm(&p, 1, p.round, 0, 3);
    play_settle(&p);
    play_forget(&p);
    return p.round;
}

static void run(void)
{
    play_running(&p, &plain);
    play_open(&p, ADMIN, TIDE__PEER_KIND__PEER_ADMIN);
}

static void outcome(const char *line)
{
    play_forget(&p);
    play_ask_operation(&p, ADMIN, p.operation);
    play_expect(&p, line);
}

static void export(uint64_t snapshot, const char *directory)
{
    play_ask_export(&p, &(struct ask){.snapshot = snapshot, .target = directory, .key = "k"});
}

/* Up to where files are copied. */
static void begin(uint64_t snapshot)
{
    export(snapshot, "/out/x");
    play_stored(&p, TIDE_STORED);
    play_filed(&p, 0);
    play_stored(&p, TIDE_STORED);
    play_loaded(&p);
    play_filed(&p, 0);
    play_forget(&p);
}

/* Its directory is durable before anything is written there, and its _metadata comes last. */
START_TEST(an_export)
{
    run();
    uint64_t s = checkpoint();
    export(s, "/out/x");
    play_expect(&p, "commit: operation=queued audit\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "mkdir x\nto 100: operation export running\n");
    play_filed(&p, 0);
    play_expect(&p, "commit: operation=running\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "load 2\n");
    play_loaded(&p);
    play_expect(&p, "export-begin x\n");
    play_filed(&p, 0);
    play_expect(&p, "export x from r2 at 0,0\n");
    play_copied(&p, 3, 70, 900);
    play_expect(&p, "export x from r2 at 3,70\n");
    play_filed(&p, 0);
    play_expect(&p, "publish x\n");
    play_filed(&p, 0);
    play_expect(&p, "ride: operation=done\n");
    outcome("to 100: operation export done\n");
    play_forget(&p);
    export(s, "/out/x"); /* the same key */
    play_expect(&p, "to 100: operation export done\n");
    play_end(&p);
}
END_TEST

/* Newer checkpoints come while it is copied; it goes out of use with the first one after the end.
 */
START_TEST(it_stays_meanwhile)
{
    run();
    uint64_t s = checkpoint();
    begin(s);
    play_ask_checkpoint(&p, &(struct ask){0});
    play_stored(&p, TIDE_STORED);
    play_forget(&p);
    play_ack_all(&p, 1, p.round, NULL);
    ck_assert_ptr_null(strstr(p.trace, "deleting"));
    play_stored(&p, TIDE_STORED);
    play_ask_dispose(&p, &(struct ask){.snapshot = s});
    play_filed(&p, 0);
    play_filed(&p, 0);
    play_settle(&p);
    play_forget(&p);
    play_ask_checkpoint(&p, &(struct ask){0});
    play_settle(&p);
    play_ack_all(&p, 1, p.round, NULL);
    ck_assert_ptr_nonnull(strstr(p.trace, "snapshot-state=deleting 2"));
    play_end(&p);

    run(); /* nor is a savepoint disposed of */
    play_ask_savepoint(&p, &(struct ask){0});
    play_settle(&p);
    play_ack_all(&p, 1, p.round, NULL);
    play_settle(&p);
    s = p.round;
    export(s, "/out/x");
    play_forget(&p);
    play_ask_dispose(&p, &(struct ask){.snapshot = s});
    play_expect(&p, "to 100: error 3: snapshot 2 is being exported\n");
    play_end(&p);
}
END_TEST

/* What goes wrong is told, and what was written goes; a directory that was there is left alone. */
START_TEST(failures)
{
    run();
    uint64_t s = checkpoint();
    export(s, "/out/x");
    play_stored(&p, TIDE_STORED);
    play_forget(&p);
    play_not_filed(&p, TIDE_EEXIST, "/out/x: cannot be made: File exists");
    play_expect(&p, "ride: operation=failed\n");
    outcome("to 100: operation export failed: /out/x: cannot be made: File exists\n");
    play_end(&p);

    run();
    s = checkpoint();
    begin(s);
    play_filed(&p, TIDE_ENOSPC);
    play_expect(&p, "export-drop x\n");
    play_filed(&p, 0);
    play_expect(&p, "ride: operation=failed\n");
    outcome("to 100: operation export failed: a reason\n");
    play_end(&p);

    run(); /* what nobody knows the end of is not touched */
    s = checkpoint();
    begin(s);
    play_filed(&p, TIDE_ETIMEDOUT);
    play_expect(&p, "ride: operation=failed\n");
    play_end(&p);

    run();
    s = checkpoint();
    begin(s);
    play_filed(&p, TIDE_EIO);
    play_filed(&p, TIDE_EIO);
    outcome("to 100: operation export failed: a reason (a reason: no snapshot, and to be deleted "
            "by hand)\n");
    play_end(&p);

    run();
    s = checkpoint();
    export(s, "/out/x");
    play_stored(&p, TIDE_STORED);
    play_filed(&p, 0);
    play_forget(&p);
    play_stored(&p, TIDE_REFUSED);
    play_expect(&p, "export-drop x\n");
    play_filed(&p, 0);
    outcome("to 100: operation export failed: it could not be stored\n");
    play_end(&p);

    run();
    s = checkpoint();
    export(s, "/out/x");
    play_stored(&p, TIDE_STORED);
    play_filed(&p, 0);
    play_stored(&p, TIDE_STORED);
    play_forget(&p);
    play_not_loaded(&p, TIDE_ECORRUPT);
    play_expect(&p, "export-drop x\n");
    play_end(&p);
}
END_TEST

/* A daemon that dies takes it up again: in its own directory, once that is durable. */
START_TEST(across_a_restart)
{
    run();
    uint64_t s = checkpoint();
    begin(s);
    play_crash(&p);
    play_expect(&p, "commit: reserve\nload 2\n");
    play_loaded(&p);
    play_expect(&p, "export-begin x\n");
    play_filed(&p, 0);
    play_expect(&p, "export x from r2 at 0,0\n");
    play_filed(&p, 0);
    play_filed(&p, 0);
    play_expect(&p, "publish x\nride: operation=done\n");
    play_end(&p);

    run(); /* before that it begins afresh */
    s = checkpoint();
    export(s, "/out/x");
    play_stored(&p, TIDE_STORED);
    play_filed(&p, 0);
    play_forget(&p);
    play_crash(&p);
    play_expect(&p, "commit: reserve\nmkdir x\n");
    play_end(&p);
}
END_TEST

/* What cannot be is refused at once. */
START_TEST(what_is_refused)
{
    run();
    uint64_t s = checkpoint();
    export(77, "/out/x");
    play_expect(&p, "to 100: error 1: there is no snapshot 77, or it is deleted already\n");
    export(s, "out/x");
    play_expect(&p, "to 100: error 2: the target \"out/x\" is not an absolute path\n");
    export(s, "");
    play_expect(&p, "to 100: error 2: no directory is given\n");
    export(s, "/state/x");
    play_expect(&p, "to 100: error 2: the target lies in the directory of checkpoints, /state, "
                    "which the daemon cleans\n");
    play_end(&p);

    run(); /* it goes already when it is asked for */
    s = checkpoint();
    play_ask_checkpoint(&p, &(struct ask){0});
    play_settle(&p);
    play_ack_all(&p, 1, p.round, NULL);
    play_forget(&p);
    export(s, "/out/x");
    play_expect(&p, "to 100: error 3: snapshot 2: it is being deleted: another one is newer, or "
                    "its user has asked for it\n");
    play_end(&p);
}
END_TEST

SUITE_MAIN("export", an_export, it_stays_meanwhile, failures, across_a_restart, what_is_refused)
