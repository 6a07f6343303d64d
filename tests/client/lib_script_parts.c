/* The external parts of a script whose first word is `parts`, a's coordinator @a, or `regional`,
 * c's coordinator @c: it and the hook lock live in its worker too. */
#include <stdio.h>

#include "tests/client/lib_script_impl.h"

static unsigned long long ull(uint64_t n)
{
    return n;
}

static const char *who(void)
{
    return script.regional ? "@c" : "@a";
}

static int on_restore(struct tide_coordinator *c, uint64_t snapshot, const void *data, size_t n,
                      void *user)
{
    (void)c, (void)user;
    script_note("%s restore %llu%s%.*s", who(), ull(snapshot), data ? " " : "", (int)n,
                data ? (const char *)data : "");
    return script.late ? TIDE_EAGAIN : script.restore_rc;
}

static void on_run(struct tide_coordinator *c, void *user)
{
    (void)c, (void)user;
    script_note("%s run", who());
}

static int on_snapshot(struct tide_coordinator *c, uint64_t round, void *user)
{
    (void)user;
    script_note("%s snapshot %llu", who(), ull(round));
    if (script.part_rc) return script.part_rc;
    return tide_coordinator_snapshot(c, round, "state", 5);
}

static int on_event(struct tide_coordinator *c, uint32_t subtask, uint64_t event, const void *data,
                    size_t n, void *user)
{
    (void)c, (void)user;
    script_note("%s event %llu to %u: %.*s", who(), ull(event), subtask, (int)n,
                (const char *)data);
    return script.event_rc;
}

static void on_complete(struct tide_coordinator *c, uint64_t round, void *user)
{
    (void)c, (void)user;
    script_note("%s complete %llu", who(), ull(round));
}

static void on_abort(struct tide_coordinator *c, uint64_t round, void *user)
{
    (void)c, (void)user;
    script_note("%s abort %llu", who(), ull(round));
}

static void on_rewind(struct tide_coordinator *c, const char *reason, void *user)
{
    (void)c, (void)user;
    script_note("%s rewind: %s", who(), reason);
}

static void on_stop(struct tide_coordinator *c, const char *outcome, void *user)
{
    (void)c, (void)user;
    script_note("%s stop: %s", who(), outcome);
}

static void on_subtask_reset(struct tide_coordinator *c, uint32_t subtask, uint64_t snapshot,
                             void *user)
{
    (void)c, (void)user;
    script_note("%s reset %u to %llu", who(), subtask, ull(snapshot));
}

static int on_trigger(struct tide_hook *h, uint64_t round, void *user)
{
    (void)user;
    script_note("lock trigger %llu", ull(round));
    if (script.part_rc) return script.part_rc;
    return tide_hook_data(h, "held", 4);
}

static int on_hook_restore(struct tide_hook *h, uint64_t snapshot, const void *data, size_t n,
                           void *user)
{
    (void)h, (void)user;
    script_note("lock restore %llu %.*s", ull(snapshot), (int)n, (const char *)data);
    return script.restore_rc;
}

static int on_reset(struct tide_hook *h, void *user)
{
    (void)h, (void)user;
    script_note("lock reset");
    return script.restore_rc;
}

static void on_close(struct tide_hook *h, void *user)
{
    (void)h, (void)user;
    if (script.w) script_note("lock close");
}

void script_parts_spec(struct tide_spec *spec)
{
    ck_assert_int_eq(tide_spec_coordinator(spec, who() + 1), 0);
    ck_assert_int_eq(tide_spec_hook(spec, "lock"), 0);
}

void script_parts_add(void)
{
    static const struct tide_coordinator_callbacks coordinator = {
        on_restore, on_run,    on_snapshot, on_event,        on_complete,
        on_abort,   on_rewind, on_stop,     on_subtask_reset};
    static const struct tide_hook_callbacks hook = {on_trigger, on_hook_restore, on_reset,
                                                    on_close};
    ck_assert_int_eq(
        tide_worker_add_coordinator(script.w, who() + 1, &coordinator, NULL, &script.coordinator),
        0);
    ck_assert_int_eq(tide_worker_add_hook(script.w, "lock", &hook, NULL, &script.hook), 0);
}

/* ---- words of the program */

static void w_event(char **arg) /* event SUBTASK TEXT */
{
    int rc = tide_coordinator_event(script.coordinator, (uint32_t)script_number(arg[0], 0), arg[1],
                                    strlen(arg[1]));
    if (rc) script_note("event %d", rc);
}

static void w_got(char **arg) /* got EVENT [RC] */
{
    (void)tide_coordinator_confirm(script.coordinator, script_number(arg[0], 0),
                                   -(int)script_number(arg[1], 0));
}

static void w_taken(char **arg) /* taken ROUND TEXT */
{
    script_note("taken %d", tide_coordinator_snapshot(script.coordinator, script_number(arg[0], 0),
                                                      arg[1], strlen(arg[1])));
}

static void w_failed(char **arg) /* failed ROUND */
{
    script_note("failed %d",
                tide_coordinator_failed(script.coordinator, script_number(arg[0], 0), "no"));
}

static void w_hooked(char **arg) /* hooked ROUND [RC] */
{
    script_note("hooked %d", tide_hook_done(script.hook, script_number(arg[0], 0),
                                            -(int)script_number(arg[1], 0), "late", 4, "no"));
}

static void w_part(char **arg) /* part restore|snapshot|event RC: what its callbacks answer */
{
    int rc = -(int)script_number(arg[1], 0);
    *(arg[0][0] == 'r'   ? &script.restore_rc
      : arg[0][0] == 's' ? &script.part_rc
                         : &script.event_rc) = rc;
}

static void w_coordinator_restored(char **arg) /* @restored [RC]: after `late` */
{
    script_note("@restored %d", tide_coordinator_restored(script.coordinator,
                                                          -(int)script_number(arg[0], 0), "no"));
}

/* ---- and of the daemon */

static Tide__External external_of(const char *name)
{
    Tide__External e = TIDE__EXTERNAL__INIT;
    e.kind = name[0] == '@' ? TIDE__EXTERNAL_KIND__EXTERNAL_COORDINATOR
                            : TIDE__EXTERNAL_KIND__EXTERNAL_HOOK;
    e.name = pb_text(name + (name[0] == '@'));
    return e;
}

static void say_ask(char **arg, Tide__ExternalPhase phase, size_t n_tasks)
{
    Tide__AskExternal m = TIDE__ASK_EXTERNAL__INIT;
    Tide__External e = external_of(arg[1]);
    Tide__TaskRange range = TIDE__TASK_RANGE__INIT, *ranges[1] = {&range};
    m.attempt = script.regional ? tide_worker_attempt(script.w) : 1;
    m.round = script_number(arg[0], 0);
    m.external = &e;
    m.phase = phase;
    m.left_ms = 60000;
    m.n_tasks = n_tasks;
    m.tasks = ranges;
    range.first = (uint32_t)script_number(arg[2], 0);
    range.count = (uint32_t)script_number(arg[3], 1);
    script_say(TIDE__TO_WORKER__MSG_ASK_EXTERNAL, &m);
}

static void w_ask(char **arg) /* ask ROUND PART [PHASE] */
{
    say_ask(arg, (Tide__ExternalPhase)script_number(arg[2], 1), 0);
}

static void w_acked(char **arg) /* acked ROUND PART [FIRST [COUNT]] */
{
    say_ask(arg, TIDE__EXTERNAL_PHASE__EXTERNAL_RELEASE, 1);
}

const struct word part_words[] = {
    {"event", w_event},   {"got", w_got},       {"taken", w_taken},
    {"failed", w_failed}, {"hooked", w_hooked}, {"part", w_part},
    {"ask", w_ask},       {"acked", w_acked},   {"@restored", w_coordinator_restored},
    {NULL, NULL},
};

/* ---- what is in Start: gave PART DATA */

Tide__ExternalState *script_gave(char **arg)
{
    static Tide__External external;
    static Tide__ExternalState state;
    static char name[100], data[100];
    snprintf(name, sizeof name, "%s", arg[0]);
    snprintf(data, sizeof data, "%s", arg[1]);
    external = external_of(name);
    tide__external_state__init(&state);
    state.external = &external;
    state.data = pb_text(data);
    return &state;
}
