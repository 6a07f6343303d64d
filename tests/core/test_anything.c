/* Anything, in any order: workers and admins that say what they may and what they may not, stale
 * and made-up numbers among it, a store and file lanes that answer in their own time and not always
 * well, crashes. Nothing of it may stop the core or break a fact (core_check, after every step). */
#include <stdio.h>

#include "tests/core/lib_play.h"

#define SEEDS 2000
#define STEPS 500

static struct play p;
static uint64_t state;
static bool open_[8];
static struct job_options job;
static const char *parts;
static unsigned attempts, completed, stops;
static uint64_t had[4];
static char last[65536];
static bool calm; /* most of what comes is as it should be */

static uint32_t draw(uint32_t below)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(state >> 33) % below;
}

static uint64_t worker(void)
{
    return 1 + draw(3);
}

/* Mostly the one that is right. */
static uint64_t near(uint64_t right)
{
    static const int64_t off[] = {1, -1, 5, -3};
    return draw(8) ? right : right + (uint64_t)off[draw(4)];
}

static void join(uint64_t session)
{
    struct join_options o = {.worker = draw(8) ? session == 1 ? "w1" : "w2" : "another",
                             .pid = 10 + draw(3),
                             .phase = (Tide__WorkerPhase)draw(4),
                             .first = session == 1 ? 0 : 2,
                             .count = session == 1 ? 2 : 1,
                             .externals = session == 1 ? parts : NULL};
    if (draw(12) == 0) o.first = draw(4), o.count = draw(4);
    if (draw(3) == 0) o.split = o.count > 1;
    if (draw(20) == 0) o.boot = "elsewhere";
    if (draw(3)) o.attempt = near(p.attempt);
    if (draw(3)) o.phase = TIDE__WORKER_PHASE__PHASE_RUNNING;
    if (draw(3) == 0) o.open_round = near(p.round);
    if (draw(4) == 0) o.told_complete = p.round > 2 ? p.round - draw(3) : 0;
    if (draw(30) == 0) o.externals = "@a lock feed";
    play_join(&p, session, &job, &o);
}

static void say(uint64_t session, Tide__FromWorker__MsgCase which, void *content)
{
    Tide__FromWorker m = TIDE__FROM_WORKER__INIT;
    m.msg_case = which;
    m.heartbeat = content; /* any member of the union */
    play_frame(&p, session, &m);
}

static void odd_words(uint64_t session)
{
    Tide__RestoreFailed failed = TIDE__RESTORE_FAILED__INIT;
    Tide__Barrier barrier = TIDE__BARRIER__INIT;
    Tide__TaskProgress progress = TIDE__TASK_PROGRESS__INIT, *all[1] = {&progress};
    Tide__Backlog backlog = TIDE__BACKLOG__INIT;
    Tide__Leave leave = TIDE__LEAVE__INIT;
    Tide__HolderGone gone = TIDE__HOLDER_GONE__INIT;
    Tide__Host host = TIDE__HOST__INIT;
    switch (draw(6)) {
    case 0:
        failed.attempt = near(p.attempt);
        failed.task = draw(4);
        failed.reason = play_bytes(draw(9) ? "wet" : "\xff");
        say(session, TIDE__FROM_WORKER__MSG_RESTORE_FAILED, &failed);
        break;
    case 1:
        barrier.attempt = near(p.attempt);
        barrier.round = near(p.round);
        progress.task = draw(4);
        progress.phase = (Tide__TaskPhase)draw(8);
        barrier.tasks = all;
        barrier.n_tasks = 1;
        say(session, TIDE__FROM_WORKER__MSG_BARRIER, &barrier);
        break;
    case 2:
    case 3:
        backlog.attempt = near(p.attempt);
        backlog.task = draw(8) ? draw(2) : draw(5);
        backlog.behind = draw(2) == 0;
        say(session, TIDE__FROM_WORKER__MSG_BACKLOG, &backlog);
        break;
    case 4:
        leave.reason = play_bytes("bye");
        if (draw(3) == 0) say(session, TIDE__FROM_WORKER__MSG_LEAVE, &leave);
        break;
    default:
        host.boot_id = play_bytes(draw(4) ? "host" : draw(2) ? "" : "elsewhere");
        host.pid = 10 + draw(3);
        host.start_time = 1;
        gone.holder = draw(8) ? &host : NULL;
        say(session, TIDE__FROM_WORKER__MSG_HOLDER_GONE, &gone);
    }
}

static void word(uint64_t session)
{
    static const char *const names[] = {"@a", "lock", "feed", "@b", "nobody"};
    uint32_t task = session == 1 ? draw(2) : 2;
    if (draw(15) == 0) task = draw(5);
    switch (draw(14)) {
    case 0: play_restored(&p, session, task, 1); break;
    case 1: play_restored(&p, session, session == 1 ? 0 : 2, session == 1 ? 2 : 1); break;
    case 2:
    case 3:
    case 4: play_ack(&p, session, near(p.attempt), near(p.round), task); break;
    case 5: play_ack_handle(&p, session, task, "publish"); break;
    case 6:
        if (draw(4) == 0) play_decline(&p, session, task, draw(9) ? "no" : "");
        break;
    case 7:
        play_confirm(&p, session, near(p.round), session == 1 ? 0 : 2, session == 1 ? 2 : 1);
        break;
    case 8:
        if (draw(6) == 0) play_finished(&p, session, task, 1);
        break;
    case 9: play_position(&p, session, task, draw(20)); break;
    case 10: play_standing(&p, session, task, 1); break;
    case 11: play_heartbeat(&p, session); break;
    case 12:
        play_external(&p, session, names[draw(5)], near(p.round), draw(3) ? "bytes" : NULL,
                      draw(6) ? NULL : "no");
        break;
    default: odd_words(session);
    }
}

/* As a worker that keeps the rules would. */
static void good(uint64_t session)
{
    uint32_t first = session == 1 ? 0 : 2, count = session == 1 ? 2 : 1;
    struct join_options o = {.worker = session == 1 ? "w1" : "w2",
                             .pid = 10,
                             .first = first,
                             .count = count,
                             .externals = session == 1 ? parts : NULL};
    if (!open_[session]) {
        play_open(&p, session, TIDE__PEER_KIND__PEER_WORKER);
        open_[session] = true;
        if (had[session] == p.attempt && p.attempt && draw(4)) {
            o.attempt = p.attempt;
            o.phase = TIDE__WORKER_PHASE__PHASE_RUNNING;
            o.open_round = draw(2) ? p.round : 0;
        }
        play_join(&p, session, &job, &o);
        return;
    }
    had[session] = p.attempt;
    switch (draw(10)) {
    case 0: play_restored(&p, session, first, count); break;
    case 1:
        for (uint32_t t = first; t < first + count; t++)
            if (draw(2))
                play_ack(&p, session, p.attempt, p.round, t);
            else
                play_ack_handle(&p, session, t, "publish");
        break;
    case 2: play_confirm(&p, session, p.round, first, count); break;
    case 3: play_heartbeat(&p, session); break;
    case 4:
        if (session == 1 && job.coordinator) play_external(&p, 1, "@a", p.round, "state", NULL);
        break;
    case 5:
        if (session == 1 && job.hooks) {
            play_external(&p, 1, "lock", p.round, NULL, NULL);
            if (job.hooks[4]) play_external(&p, 1, "feed", p.round, "fed", NULL);
        }
        break;
    case 6:
        for (uint32_t t = first; t < first + count && job.window; t++)
            play_position(&p, session, t, 7);
        break;
    case 7:
        if (job.window) play_standing(&p, session, first, count);
        break;
    case 8:
        if (job.coordinator && session == 1) play_external(&p, 1, "@a", 0, NULL, NULL);
        if (job.hooks && session == 1) play_external(&p, 1, "lock", 0, NULL, NULL);
        break;
    default:
        if (strstr(last, "rewind") || draw(30) == 0) play_join(&p, session, &job, &o);
    }
}

static void order(Tide__Request *r)
{
    static Tide__StopJob stop;
    static Tide__CancelJob cancel;
    static Tide__HoldJob hold;
    static Tide__ReleaseJob release;
    static Tide__DisposeSnapshot dispose;
    tide__stop_job__init(&stop), tide__cancel_job__init(&cancel), tide__hold_job__init(&hold);
    tide__release_job__init(&release), tide__dispose_snapshot__init(&dispose);
    stop.job = cancel.job = hold.job = release.job = play_bytes(draw(12) ? "job" : "none");
    stop.key = cancel.key = dispose.key = play_bytes(draw(3) ? "" : draw(2) ? "k1" : "k2");
    stop.drain = draw(3) == 0;
    stop.supersede = draw(2) == 0;
    stop.kind = (Tide__RoundKind)(draw(8) ? draw(3) : 7);
    stop.target = play_bytes(draw(6) ? "" : draw(2) ? "/t" : "t");
    cancel.savepoint = draw(2) == 0;
    hold.cause = play_bytes(draw(3) ? "" : "maintenance");
    release.abandon_owed = draw(2) == 0;
    release.allow_repeat = draw(2) == 0;
    dispose.snapshot = p.round > 4 ? p.round - draw(5) : draw(3);
    static Tide__RestoreJob restore;
    static char where[100];
    tide__restore_job__init(&restore);
    restore.job = stop.job;
    restore.key = stop.key;
    restore.from_case = (Tide__RestoreJob__FromCase)(draw(9) ? 4 + draw(4) : 0);
    snprintf(where, sizeof where, "/savepoints/savepoint-%u", draw(5));
    if (restore.from_case == TIDE__RESTORE_JOB__FROM_SNAPSHOT)
        restore.snapshot = dispose.snapshot;
    else if (restore.from_case == TIDE__RESTORE_JOB__FROM_DIRECTORY)
        restore.directory = play_bytes(draw(4) ? where : draw(2) ? "/copies/one" : "relative");
    else if (restore.from_case == TIDE__RESTORE_JOB__FROM_LATEST)
        restore.latest = true;
    else if (restore.from_case == TIDE__RESTORE_JOB__FROM_NOTHING)
        restore.nothing = true;
    restore.allow_repeat = draw(2) == 0;
    restore.abandon_owed = draw(2) == 0;
    restore.allow_unmatched = draw(2) == 0;
    restore.dry_run = draw(3) == 0;
    static Tide__ImportSnapshot import;
    tide__import_snapshot__init(&import);
    import.job = stop.job;
    import.key = stop.key;
    import.directory = play_bytes(draw(3) ? where : draw(2) ? "/copies/two" : "");
    import.label = play_bytes(draw(3) ? "" : "label");
    import.dry_run = draw(3) == 0;
    switch (draw(11)) {
    case 10:
        r->call_case = TIDE__REQUEST__CALL_IMPORT_SNAPSHOT;
        r->import_snapshot = &import;
        break;
    case 7:
    case 8:
    case 9:
        r->call_case = TIDE__REQUEST__CALL_RESTORE;
        r->restore = &restore;
        break;
    case 0:
        r->call_case = TIDE__REQUEST__CALL_STOP;
        r->stop = &stop;
        break;
    case 1:
        r->call_case = draw(3) ? TIDE__REQUEST__CALL_RELEASE : TIDE__REQUEST__CALL_CANCEL;
        if (r->call_case == TIDE__REQUEST__CALL_CANCEL)
            r->cancel = &cancel;
        else
            r->release = &release;
        break;
    case 2:
        r->call_case = TIDE__REQUEST__CALL_HOLD;
        r->hold = &hold;
        break;
    case 3:
    case 4:
        r->call_case = TIDE__REQUEST__CALL_RELEASE;
        r->release = &release;
        break;
    default: r->call_case = TIDE__REQUEST__CALL_DISPOSE; r->dispose = &dispose;
    }
}

static void admin(void)
{
    Tide__Request r = TIDE__REQUEST__INIT;
    Tide__TriggerSavepoint save = TIDE__TRIGGER_SAVEPOINT__INIT;
    Tide__TriggerCheckpoint check = TIDE__TRIGGER_CHECKPOINT__INIT;
    Tide__WaitOperation wait = TIDE__WAIT_OPERATION__INIT;
    Tide__ListJobs list = TIDE__LIST_JOBS__INIT;
    Tide__ShowJob show = TIDE__SHOW_JOB__INIT;
    save.job = check.job = show.job = play_bytes(draw(15) ? "job" : "none");
    switch (draw(8)) {
    case 0:
        save.target = play_bytes(draw(4) ? "" : draw(3) ? "/elsewhere" : "/state/x");
        save.commits = draw(2) == 0;
        save.key = play_bytes(draw(3) ? "" : "key");
        r.call_case = TIDE__REQUEST__CALL_SAVEPOINT;
        r.savepoint = &save;
        break;
    case 1:
        check.full = draw(2) == 0;
        r.call_case = TIDE__REQUEST__CALL_CHECKPOINT;
        r.checkpoint = &check;
        break;
    case 2:
    case 3:
        wait.operation = near(p.operation);
        wait.timeout_ms = draw(2) ? draw(500) : 0;
        wait.seen_progress = draw(4);
        r.call_case = TIDE__REQUEST__CALL_WAIT;
        r.wait = &wait;
        break;
    case 4:
        r.call_case = TIDE__REQUEST__CALL_LIST_JOBS;
        r.list_jobs = &list;
        break;
    case 5:
        r.call_case = TIDE__REQUEST__CALL_SHOW_JOB;
        r.show_job = &show;
        break;
    default:
        if (draw(3)) return;
        order(&r);
    }
    play_request(&p, 101, &r);
}

static void crash(void)
{
    play_crash(&p);
    memset(open_, 0, sizeof open_);
}

/* The store and the lanes answer, well or not. */
static void answers(void)
{
    static const enum tide_outcome outcomes[] = {TIDE_NO_SPACE, TIDE_REFUSED};
    static const int codes[] = {TIDE_EIO, TIDE_ENOSPC, TIDE_ENOTFOUND, TIDE_EEXIST};
    if (p.n_commits && draw(2))
        play_stored(&p, draw(calm ? 60 : 15) ? TIDE_STORED : outcomes[draw(2)]);
    if (p.n_files && !p.stopped && draw(2))
        play_filed(&p, draw(calm ? 40 : 10) ? 0 : codes[draw(4)]);
    if (p.n_loads && !p.stopped && draw(2)) {
        if (draw(10))
            play_loaded(&p);
        else
            play_not_loaded(&p, draw(2) ? TIDE_EIO : TIDE_ECORRUPT);
    }
    if (p.n_sents && !p.stopped) play_sent(&p);
}

/* What lies elsewhere: what was stored last, a part of that, or nothing. */
static void elsewhere(void)
{
    static uint8_t bytes[65536];
    size_t n = p.image_len < sizeof bytes ? p.image_len : 0;
    if (n) memcpy(bytes, p.image, n);
    if (n && draw(6) == 0) n = draw((uint32_t)n);
    if (n && draw(6) == 0) bytes[draw((uint32_t)n)] ^= 1;
    p.elsewhere = (struct tide_bytes){bytes, n};
}

static void one(void)
{
    uint64_t session = worker();
    if (p.stopped || p.n_commits > 30 || p.n_files > 30) {
        crash();
        return;
    }
    uint32_t what = draw(100);
    if (draw(10) == 0) elsewhere();
    if (calm ? what < 45 : what < 25) {
        good(1 + draw(2));
    } else if (calm ? what < 47 : what < 50) {
        if (!open_[session])
            play_open(&p, session, TIDE__PEER_KIND__PEER_WORKER), join(session);
        else
            word(session);
        open_[session] = true;
    } else if (what < 53 && open_[session] && (!calm || draw(8) == 0)) {
        play_close(&p, session);
        open_[session] = false;
    } else if (what < 58 && open_[session] && (!calm || draw(8) == 0)) {
        join(session);
    } else if (what < 68) {
        if (!open_[0]) play_open(&p, 101, TIDE__PEER_KIND__PEER_ADMIN);
        open_[0] = true;
        admin();
    } else if (what < 69 && draw(4) == 0) {
        crash();
    } else if (what < 70 && draw(8) == 0) {
        play_shutdown(&p);
    } else if (what < 82) {
        play_wait(&p, draw(10) ? draw(60) : draw(4000));
    } else {
        answers();
    }
    for (uint32_t n = calm ? draw(5) : 0; n && !p.stopped; n--)
        answers();
    if (p.traced) strcpy(last, p.trace);
    attempts += strstr(p.trace, ": run\n") != NULL;
    completed += strstr(p.trace, ": complete ") != NULL;
    stops += strstr(p.trace, ": stop ") != NULL;
    if (!p.stopped) play_forget(&p);
}

START_TEST(nothing_breaks)
{
    for (uint32_t seed = (uint32_t)_i * (SEEDS / 8); seed < (uint32_t)(_i + 1) * (SEEDS / 8);
         seed++) {
        state = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
        memset(open_, 0, sizeof open_);
        job = (struct job_options){.sources = 2,
                                   .sinks = 1,
                                   .interval_ms = draw(3) ? 50 : 0,
                                   .deadline_ms = 500,
                                   .retained = 1 + draw(3),
                                   .lease_ms = 3000};
        if (draw(4) == 0) job.window = 2;
        job.coordinator = draw(3) == 0;
        if (draw(3) == 0) job.hooks = draw(2) ? "lock" : "lock feed";
        if (draw(10) == 0) job.restore_from = "/copies/three";
        static char text[64];
        snprintf(text, sizeof text, "%s%s%s", job.coordinator ? "@a" : "",
                 job.coordinator && job.hooks ? " " : "", job.hooks ? job.hooks : "");
        parts = text[0] ? text : NULL;
        calm = draw(4) != 0;
        memset(had, 0, sizeof had);
        play_start(&p);
        for (int i = 0; i < STEPS; i++)
            one();
        play_end(&p);
    }
    ck_assert_uint_gt(attempts, 20); /* or it tests nothing */
    ck_assert_uint_gt(completed, 5);
    ck_assert_uint_gt(stops, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("anything");
    TCase *all = tcase_create("anything");
    tcase_add_loop_test(all, nothing_breaks, 0, 8);
    tcase_set_timeout(all, 120);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
