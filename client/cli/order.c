/* What is ordered of a job as a whole: `hold`, `release`. */
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
    call.key = cli_data(c->options.key);
    call.who = cli_data(who);
    request.call_case = TIDE__REQUEST__CALL_RELEASE;
    request.release = &call;
    return operation_run(c, "release", &request);
}
