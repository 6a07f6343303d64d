/* What ends: `stop`, `cancel`, `snapshot dispose`; and what leaves: `snapshot export`. */
#include <stdlib.h>

#include "client/cli/cli.h"

int stop_job(struct cli *c)
{
    Tide__Request request = TIDE__REQUEST__INIT;
    Tide__StopJob call = TIDE__STOP_JOB__INIT;
    char key[40], who[320], *target;
    if (c->options.checkpoint && c->options.target)
        return cli_misuse("--target is for a savepoint: it does not go with --checkpoint");
    int rc = operation_ready(c, key, who);
    if (!rc) rc = operation_directory(c, c->options.target, "--target", &target);
    if (rc) return rc;
    call.job = cli_data(c->args[0]);
    call.kind = c->options.checkpoint ? TIDE__ROUND_KIND__ROUND_CHECKPOINT
                                      : TIDE__ROUND_KIND__ROUND_SAVEPOINT;
    call.target = cli_data(target);
    call.label = cli_data(c->options.label);
    call.drain = c->options.drain;
    call.supersede = c->options.supersede;
    call.key = cli_data(c->options.key);
    call.who = cli_data(who);
    request.call_case = TIDE__REQUEST__CALL_STOP;
    request.stop = &call;
    rc = operation_run(c, "stop", &request);
    free(target);
    return rc;
}

int cancel_job(struct cli *c)
{
    Tide__Request request = TIDE__REQUEST__INIT;
    Tide__CancelJob call = TIDE__CANCEL_JOB__INIT;
    char key[40], who[320], *target;
    if (!c->options.savepoint && (c->options.target || c->options.label))
        return cli_misuse("--%s is for a savepoint: give --savepoint as well",
                          c->options.target ? "target" : "label");
    int rc = operation_ready(c, key, who);
    if (!rc) rc = operation_directory(c, c->options.target, "--target", &target);
    if (rc) return rc;
    call.job = cli_data(c->args[0]);
    call.savepoint = c->options.savepoint;
    call.target = cli_data(target);
    call.label = cli_data(c->options.label);
    call.key = cli_data(c->options.key);
    call.who = cli_data(who);
    request.call_case = TIDE__REQUEST__CALL_CANCEL;
    request.cancel = &call;
    rc = operation_run(c, "cancel", &request);
    free(target);
    return rc;
}

int snapshot_dispose(struct cli *c)
{
    Tide__Request request = TIDE__REQUEST__INIT;
    Tide__DisposeSnapshot call = TIDE__DISPOSE_SNAPSHOT__INIT;
    char key[40], who[320];
    int rc = cli_number(c->args[0], "a snapshot", &call.snapshot);
    if (!rc) rc = operation_ready(c, key, who);
    if (rc) return rc;
    call.key = cli_data(c->options.key);
    call.who = cli_data(who);
    request.call_case = TIDE__REQUEST__CALL_DISPOSE;
    request.dispose = &call;
    return operation_run(c, "disposal", &request);
}

int snapshot_export(struct cli *c)
{
    Tide__Request request = TIDE__REQUEST__INIT;
    Tide__ExportSnapshot call = TIDE__EXPORT_SNAPSHOT__INIT;
    char key[40], who[320], *directory = NULL;
    int rc = cli_number(c->args[0], "a snapshot", &call.snapshot);
    if (!rc) rc = operation_ready(c, key, who);
    if (!rc) rc = operation_directory(c, c->args[1], "DIR", &directory);
    if (rc) return rc;
    call.directory = cli_data(directory);
    call.key = cli_data(c->options.key);
    call.who = cli_data(who);
    request.call_case = TIDE__REQUEST__CALL_EXPORT_SNAPSHOT;
    request.export_snapshot = &call;
    rc = operation_run(c, "export", &request);
    free(directory);
    return rc;
}
