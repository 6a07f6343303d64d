"""The form of each command's JSON, as tidemark(1) promises it: every member is there, and no other.

A form is a type, a dict (an object with exactly these members), a list of one form, or OrNull(form)."""


class OrNull:
    def __init__(self, form):
        self.form = form


U64, I64, TEXT, BOOL = "a number of at least 0", "a number", "text", "a truth value"
ID = TIME = OrNull(U64)
MAYBE = OrNull(TEXT)
RANGE = {"first": U64, "count": U64}

GAUGES = {
    "lastCheckpointDuration": I64, "lastCheckpointSize": I64, "lastCheckpointFullSize": I64,
    "lastCheckpointProcessedData": I64, "lastCheckpointPersistedData": I64,
    "lastCompletedCheckpointId": I64, "lastCheckpointCompletedTimestamp": I64,
    "lastCheckpointExternalPath": TEXT, "lastCheckpointRestoreTimestamp": I64,
    "numberOfInProgressCheckpoints": U64, "numberOfCompletedCheckpoints": U64,
    "numberOfFailedCheckpoints": U64, "totalNumberOfCheckpoints": U64, "skippedPeriodicTriggers": U64,
    "numberOfRestoredCheckpoints": U64, "failuresInARow": U64}
PART = {"kind": TEXT, "name": TEXT}
HOLDER = {
    "task": OrNull(U64), "operator": MAYBE, "subtask": OrNull(U64), "external": OrNull(PART), "worker": MAYBE,
    "phase": TEXT}
ROUND = {
    "round": U64, "job": MAYBE, "kind": TEXT, "style": TEXT, "alignment": TEXT, "unaligned": BOOL, "state": TEXT,
    "incarnation": U64, "attempt": U64, "align_us": U64, "turned_us": OrNull(U64), "processed_bytes": U64,
    "persisted_bytes": U64,
    "operation": ID, "begun_wall_us": TIME, "ended_wall_us": TIME, "tasks": U64, "acked": U64,
    "trigger_us": U64, "acks_us": U64, "commit_us": U64, "notify_us": U64, "bytes": U64, "reason": MAYBE,
    "code": MAYBE, "counted": BOOL,
    "held_by": [HOLDER], "held_by_count": U64}
JOB = {
    "name": TEXT, "id": TEXT, "state": TEXT, "cause": MAYBE, "attempt": ID, "tasks": U64,
    "tasks_present": U64, "workers": U64, "last_complete": ID, "last_complete_wall_us": TIME,
    "created_wall_us": TIME}
CHECKPOINTING = {name: U64 for name in (
    "interval_ms", "min_pause_ms", "deadline_ms", "retained", "restore_deadline_ms", "lease_ms",
    "heartbeat_ms", "grace_ms", "orphan_limit_ms", "progress_ms", "attempts_max", "window",
    "aligned_timeout_ms", "max_concurrent", "failure_pause_ms", "failures_max", "backlog_interval_ms",
    "deadline_cap_ms", "retained_hours", "retained_days", "retained_weeks", "retained_age_s", "retained_mib",
    "retained_least")}
CHECKPOINTING.update(style=TEXT, alignment=TEXT, regional=BOOL)
SPEC = {
    "operators": [{"uid": TEXT, "parallelism": U64, "max_parallelism": U64, "coordinator": BOOL}],
    "edges": [{"from": TEXT, "to": TEXT, "pattern": TEXT}], "hooks": [TEXT], "checkpointing": CHECKPOINTING}
WORKER = {"name": TEXT, "state": TEXT, "endpoint": MAYBE, "lease_left_ms": U64, "tasks": [RANGE]}
JOB_DETAIL = {
    **JOB, "waiting_for": MAYBE, "last_failure": MAYBE, "spec": OrNull(SPEC), "worker_list": [WORKER],
    "externals": [{**PART, "worker": MAYBE, "state": TEXT}], "missing": [RANGE],
    "region_count": U64, "regions": [{"tasks": [RANGE], "state": TEXT, "since": U64, "starts": U64}],
    "ended": [RANGE], "open_rounds": [ROUND], "gauges": GAUGES}
OPERATION = {
    "id": U64, "kind": TEXT, "job": TEXT, "state": TEXT, "snapshot": ID, "location": MAYBE, "error": MAYBE,
    "tasks": U64, "acked": U64, "phase": MAYBE, "begun_wall_us": TIME, "ended_wall_us": TIME,
    "snapshot_good": BOOL, "report": [TEXT]}
SNAPSHOT = {
    "snapshot": U64, "job": TEXT, "kind": TEXT, "style": TEXT, "state": TEXT, "owner": TEXT, "label": MAYBE,
    "directory": MAYBE, "parent": ID, "incarnation": U64, "attempt": U64, "begun_wall_us": TIME,
    "completed_wall_us": TIME, "tasks": U64, "artifacts": U64, "bytes": U64, "manifest_bytes": U64,
    "owed": U64, "imported": BOOL}
ARTIFACT = {
    "name": MAYBE, "path": MAYBE, "bytes": U64, "xxh3_128": TEXT, "key_group_first": U64,
    "key_group_count": U64}
TASK = {
    "task": U64, "operator": TEXT, "subtask": U64, "ended": BOOL, "align_us": U64, "sync_us": U64,
    "async_us": U64, "artifacts": [ARTIFACT]}
STATUS = {
    "version": TEXT, "store_id": TEXT, "incarnation": U64, "started_wall_us": TIME, "connections": U64,
    "workers": U64, "refused": U64, "rounds_complete": U64, "rounds_aborted": U64, "commits": U64,
    "store_queue": U64, "deleting": U64, "delete_failures": U64, "rss_bytes": U64,
    "loop_lag_p50_us": U64, "loop_lag_p99_us": U64, "loop_lag_max_us": U64,
    "loop_lag": [{"below_us": OrNull(U64), "count": U64}],
    "jobs": [{"name": TEXT, "state": TEXT, "gauges": GAUGES}]}

FORMS = {
    "jobs": {"jobs": [JOB]},
    "job show": {"job": JOB_DETAIL},
    "savepoint": {"operation": OPERATION},
    "checkpoint": {"operation": OPERATION},
    "stop": {"operation": OPERATION},
    "cancel": {"operation": OPERATION},
    "snapshot dispose": {"operation": OPERATION},
    "snapshot import": {"operation": OPERATION},
    "snapshot export": {"operation": OPERATION},
    "hold": {"operation": OPERATION},
    "release": {"operation": OPERATION},
    "restore": {"operation": OPERATION},
    "operation": {"operation": OPERATION},
    "snapshots": {"snapshots": [SNAPSHOT], "more": BOOL},
    "snapshot show": {"snapshot": SNAPSHOT},
    "snapshot show --tasks": {"snapshot": SNAPSHOT, "tasks": [TASK]},
    "snapshot verify": {
        "snapshot": U64, "ok": BOOL, "artifacts": U64, "bytes": U64, "problem_count": U64,
        "problems": [{"task": U64, "path": MAYBE, "problem": TEXT}]},
    "lineage": {"lineage": [{**SNAPSHOT, "relation": MAYBE}]},
    "retention": {"retention": [{"snapshot": U64, "kind": TEXT, "completed_wall_us": TIME, "bytes": U64,
                                 "stays": BOOL, "why": [TEXT]}]},
    "rounds": {"rounds": [ROUND], "more": BOOL},
    "status": {"status": STATUS}}
LOCAL = {"state ls", "state read", "state write", "state convert", "state diff"}  # ask no daemon, and print a document a line: tests/state/state.py
COMMANDS = {command.partition(" --")[0] for command in FORMS} | LOCAL
ERROR = {"error": {"code": TEXT, "text": TEXT}}


def check(value, form, at="$"):
    """Raises AssertionError that says where the value leaves the form."""
    if isinstance(form, OrNull):
        if value is not None:
            check(value, form.form, at)
    elif isinstance(form, dict):
        assert isinstance(value, dict), "%s is no object: %r" % (at, value)
        assert set(value) == set(form), "%s: %s" % (at, sorted(set(value) ^ set(form)))
        for name in form:
            check(value[name], form[name], at + "." + name)
    elif isinstance(form, list):
        assert isinstance(value, list), "%s is no list: %r" % (at, value)
        for i, item in enumerate(value):
            check(item, form[0], "%s[%d]" % (at, i))
    else:
        kinds = {U64: (int, lambda v: v >= 0), I64: (int, lambda v: True), TEXT: (str, lambda v: True),
                 BOOL: (bool, lambda v: True)}
        kind, holds = kinds[form]
        assert type(value) is kind and holds(value), "%s is not %s: %r" % (at, form, value)


def names(form):
    """All names of members in the form."""
    if isinstance(form, OrNull):
        return names(form.form)
    if isinstance(form, list):
        return names(form[0])
    if isinstance(form, dict):
        return set(form).union(*(names(f) for f in form.values()))
    return set()
