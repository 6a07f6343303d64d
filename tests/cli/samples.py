"""What the played daemon knows: one job of three operators, some rounds, some snapshots."""
from proto import admin_pb2 as admin
from proto import common_pb2 as common

T0 = 1767312000000000  # 2026-01-02 00:00:00 UTC
ID = bytes.fromhex("00112233445566778899aabbccddeeff")
S = 1000000


def gauges():
    return admin.Gauges(
        last_checkpoint_duration=120, last_checkpoint_size=4096, last_checkpoint_full_size=8192,
        last_checkpoint_processed_data=512, last_checkpoint_persisted_data=64,
        last_completed_checkpoint_id=17, last_checkpoint_completed_timestamp=T0 // 1000 + 60000,
        last_checkpoint_external_path=b"/state/a1-1/r17", last_checkpoint_restore_timestamp=-1,
        number_of_in_progress_checkpoints=1, number_of_completed_checkpoints=16,
        number_of_failed_checkpoints=2, total_number_of_checkpoints=19, skipped_periodic_triggers=3,
        number_of_restored_checkpoints=1, failures_in_a_row=2)


def summary(name=b"wordcount", state=b"RUNNING", **more):
    fields = dict(name=name, id=ID, state=state, attempt=3, tasks=4, tasks_present=3, workers=2,
                  last_complete=17, last_complete_wall_us=T0 + 60 * S, created_wall_us=T0)
    fields.update(more)
    return admin.JobSummary(**fields)


def spec():
    return common.JobSpec(
        name=b"wordcount",
        operators=[common.Operator(uid=b"source", parallelism=1),
                   common.Operator(uid=b"count", parallelism=2),
                   common.Operator(uid=b"sink", parallelism=1)],
        edges=[common.Edge(**{"from": b"source"}, to=b"count", pattern=common.EDGE_ALL_TO_ALL),
               common.Edge(**{"from": b"count"}, to=b"sink", pattern=common.EDGE_ALL_TO_ALL)],
        checkpointing=common.Checkpointing(interval_ms=500, retained=2))


def ranges(*pairs):
    return [common.TaskRange(first=f, count=n) for f, n in pairs]


def complete_round(n=17, **more):
    fields = dict(round=n, incarnation=1, attempt=3, kind=common.ROUND_CHECKPOINT, state=b"complete",
                  begun_wall_us=T0 + n * S, ended_wall_us=T0 + n * S + 123456, tasks=4, acked=4,
                  trigger_us=100, acks_us=120000, commit_us=300, notify_us=80, bytes=4096,
                  align_us=110000, job=b"wordcount")
    fields.update(more)
    return admin.RoundInfo(**fields)


def aborted_round(n=16):
    return complete_round(
        n, state=b"aborted", acked=2, bytes=0, align_us=0, acks_us=0, commit_us=0, notify_us=0, ended_wall_us=T0 + n * S + 10 * S,
        reason=b"not all tasks acked within 10 s", code=1, counted=True, held_by_count=2,
        held_by=[admin.RoundHolder(task=1, operator_uid=b"count", subtask=1, worker=b"w2",
                                   phase=b"aligning, 1 channel missing"),
                 admin.RoundHolder(task=2, operator_uid=b"sink", subtask=0, worker=b"w2",
                                   phase=b"waiting for the first barrier")])


def open_round(n=18):
    return complete_round(n, state=b"collecting", ended_wall_us=0, acked=1, bytes=0, align_us=0, acks_us=0, commit_us=0,
                          notify_us=0)


def job_detail():
    return admin.JobDetail(
        summary=summary(), spec=spec(), missing=ranges((2, 1)), ended=ranges((3, 1)),
        workers=[admin.WorkerInfo(name=b"w2", endpoint=b"10.0.0.2:9000", state=b"away",
                                  tasks=ranges((3, 1)), lease_left_ms=1200),
                 admin.WorkerInfo(name=b"w1", endpoint=b"10.0.0.1:9000", state=b"present",
                                  tasks=ranges((0, 2)), lease_left_ms=9500)],
        open=[open_round()], waiting_for=b"a worker for sink/0", gauges=gauges())


def snapshot(n=17, **more):
    fields = dict(snapshot=n, incarnation=1, job=b"wordcount", kind=common.ROUND_CHECKPOINT,
                  state=b"retained", owner=b"system", directory=b"/state/a1-1/r%d" % n, attempt=3,
                  begun_wall_us=T0 + n * S, completed_wall_us=T0 + n * S + 123456, tasks=4, artifacts=4,
                  bytes=5 << 20, manifest_bytes=300, parent=n - 1)
    fields.update(more)
    return admin.SnapshotInfo(**fields)


def savepoint(n=12, **more):
    return snapshot(n, kind=common.ROUND_SAVEPOINT, owner=b"user", label=b"before the upgrade",
                    directory=b"/save/savepoint-001122-12", **more)


def snapshot_tasks(first, count):
    return [admin.SnapshotTask(
        task=i, operator_uid=b"count", subtask=i, ended=i == 3, align_us=12345, sync_us=90, async_us=2000000,
        artifacts=[] if i == 3 else [
            common.Artifact(path=b"t%d-0" % i, size=1 << 20, digest_low=0xabc, digest_high=1, name=b"counts",
                            key_group_first=64 * i, key_group_count=64),
            common.Artifact(inline=b"", size=12, digest_low=2, digest_high=0)])
        for i in range(first, first + count)]


def operation(state=b"running", **more):
    fields = dict(id=7, kind=b"savepoint", job=b"wordcount", state=state, tasks=4, acked=1,
                  phase=b"collecting", progress=1, begun_wall_us=T0, snapshot=21)
    if state in (b"done", b"failed"):
        fields.update(acked=4, phase=b"", ended_wall_us=T0 + 2 * S)
    if state == b"done":
        fields.update(location=b"/save/savepoint-001122-21")
    fields.update(more)
    return admin.Operation(**fields)


def order(kind, state=b"done", **more):
    """An operation that takes no round."""
    fields = dict(kind=kind, tasks=0, acked=0, snapshot=0, location=b"")
    fields.update(more)
    return operation(state, **fields)


def status():
    return admin.Status(
        version=b"0.1.0", store_id=bytes(range(16)), incarnation=1700000000000000, started_wall_us=T0,
        connections=3, workers=2, rounds_complete=16, rounds_aborted=2, refused=1, commits=40, deleting=1,
        delete_failures=0, rss_bytes=12 << 20, store_queue=0, loop_lag_max_us=45678,
        loop_lag=[admin.LagBucket(below_us=1000, count=990), admin.LagBucket(below_us=10000, count=9),
                  admin.LagBucket(below_us=0, count=1)],
        jobs=[admin.JobStatus(name=b"wordcount", state=b"RUNNING", gauges=gauges()),
              admin.JobStatus(name=b"fresh", state=b"WAITING")])
