/* What is ordered of a job as a whole: `hold`, `release`, `restore`; and `snapshot import`. */
#include <stdlib.h>

#include "client/cli/cli.h"

int order_hold(struct cli *c)
{
    Tide__Request request = TIDE__REQUEST__INIT;
    Tide__HoldJob call = TIDE__HOLD_JOB__INIT;
    char key[40], who[320];
    int rc = operation_ready(c, key, who);
    if (rc) return rc;
    call.job = cli_data(c->args[0]);
    call.cause = cli_data(c->options.cause);
    call.key = cli_data(c->options.key);
    call.who = cli_data(who);
    request.call_case = TIDE__REQUEST__CALL_HOLD;
    request.hold = &call;
    return operation_run(c, "hold", &request);
}

int order_release(struct cli *c)
{
    Tide__Request request = TIDE__REQUEST__INIT;
    Tide__ReleaseJob call = TIDE__RELEASE_JOB__INIT;
    char key[40], who[320];
    int rc = operation_ready(c, key, who);
    if (rc) return rc;
    call.job = cli_data(c->args[0]);
    call.abandon_owed = c->options.abandon_owed;
    call.allow_repeat = c->options.allow_repeat;
    call.key = cli_data(c->options.key);
    call.who = cli_data(who);
    request.call_case = TIDE__REQUEST__CALL_RELEASE;
    request.release = &call;
    return operation_run(c, "release", &request);
}

/* *ret: what the call's directory points to, malloc'ed, or NULL */
static int choose_source(struct cli *c, Tide__RestoreJob *call, char **ret)
{
    const struct options *o = &c->options;
    *ret = NULL;
    if ((o->snapshot != NULL) + (o->from != NULL) + o->latest + o->nothing != 1)
        return cli_misuse("give one of --snapshot N, --from DIR, --latest and --nothing");
    if (o->from) {
        int rc = operation_directory(c, o->from, "--from", ret);
        call->from_case = TIDE__RESTORE_JOB__FROM_DIRECTORY;
        call->directory = cli_data(*ret);
        return rc;
    }
    if (o->latest) {
        call->from_case = TIDE__RESTORE_JOB__FROM_LATEST;
        call->latest = true;
    } else if (o->nothing) {
        call->from_case = TIDE__RESTORE_JOB__FROM_NOTHING;
        call->nothing = true;
    } else {
        call->from_case = TIDE__RESTORE_JOB__FROM_SNAPSHOT;
        return cli_number(o->snapshot, "a snapshot", &call->snapshot);
    }
    return DONE;
}

int order_restore(struct cli *c)
{
    Tide__Request request = TIDE__REQUEST__INIT;
    Tide__RestoreJob call = TIDE__RESTORE_JOB__INIT;
    char key[40], who[320], *directory;
    int rc = choose_source(c, &call, &directory);
    if (!rc) rc = operation_ready(c, key, who);
    if (rc) {
        free(directory);
        return rc;
    }
    call.job = cli_data(c->args[0]);
    call.allow_unmatched = c->options.allow_unmatched;
    call.allow_repeat = c->options.allow_repeat;
    call.abandon_owed = c->options.abandon_owed;
    call.dry_run = c->options.dry_run;
    call.key = cli_data(c->options.key);
    call.who = cli_data(who);
    request.call_case = TIDE__REQUEST__CALL_RESTORE;
    request.restore = &call;
    rc = operation_run(c, "restore", &request);
    free(directory);
    return rc;
}

int snapshot_import(struct cli *c)
{
    Tide__Request request = TIDE__REQUEST__INIT;
    Tide__ImportSnapshot call = TIDE__IMPORT_SNAPSHOT__INIT;
    char key[40], who[320], *directory = NULL;
    if (!c->options.from) return cli_misuse("--from DIR is missing: where the snapshot lies");
    int rc = operation_directory(c, c->options.from, "--from", &directory);
    if (!rc) rc = operation_ready(c, key, who);
    if (rc) {
        free(directory);
        return rc;
    }
    call.job = cli_data(c->args[0]);
    call.directory = cli_data(directory);
    call.label = cli_data(c->options.label);
    call.dry_run = c->options.dry_run;
    call.key = cli_data(c->options.key);
    call.who = cli_data(who);
    request.call_case = TIDE__REQUEST__CALL_IMPORT_SNAPSHOT;
    request.import_snapshot = &call;
    rc = operation_run(c, "import", &request);
    free(directory);
    return rc;
}
