/* Planted faults: proof that the simulator can see.
 *
 * Each is one condition at the place where the right rule stands: PLANTED(NAME), which is false in
 * a normal build and true in one with -DTIDE_PLANT_<NAME>. tests/sim/plants.sh reads the list below
 * and makes one build after the other. */
#ifndef TIDE_PLANT_H
#define TIDE_PLANT_H

/* One line each, in no order; a name that is not here does not compile. */
/* clang-format off */
enum tide_plant {
    PLANT_ACK_COUNT, /* acks are counted instead of kept as a set */
    PLANT_TELL_EARLY, /* complete is told before the row is durable */
    PLANT_STALE_ACK, /* the ack of a stale attempt is accepted */
    PLANT_LEAVE_OUT, /* a lost worker is left out of the round */
    PLANT_EARLY_SNAPSHOT, /* a task snapshots before its last barrier */
    PLANT_REUSE_ID, /* round ids are reused after a crash */
    PLANT_NO_LEASE, /* the lease is not enforced */
    PLANT_DELETE_EARLY, /* bytes are deleted before the row says deleting */
    PLANT_DROP_PRECOMMIT, /* a sink drops its pre-commit when the round aborts */
    PLANT_RELEASE_SURVIVORS, /* a lost worker's tasks count as standing at the cut */
    PLANT_CUT_BELOW, /* the cut is below what a task has reported */
    PLANT_STANDING_COUNT, /* who stands at the cut is counted instead of kept as a set */
    PLANT_SNAPSHOT_ANYWHERE, /* who has reached the cut goes on, and snapshots when told */
    PLANT_STAND_ON, /* a task at the cut stands for an absent daemon as long as it takes */
    PLANT_GATEWAY_OPEN, /* a gateway is not closed at the coordinator's snapshot */
    PLANT_RELEASE_EARLY, /* events are let go before the subtask has acked */
    PLANT_HOOK_IGNORED, /* a hook's failure is taken for an answer */
    PLANT_STOP_EARLY, /* a job ends before its effects are confirmed */
    PLANT_HELD_APART, /* a job is HELD in one commit, its stop has failed in another */
    PLANT_DISPOSE_RECOVERY, /* the recovery point may be disposed of */
    PLANT_EXPORT_UNPINNED,  /* a snapshot goes while it is exported */
    PLANT_LOSE_NOTICE, /* a completion is not told again to a worker that comes back */
    PLANT_ABORT_COMMITTING, /* a round aborts after its commit was handed to the store */
    PLANT_STARVE, /* what cannot be deleted holds up rounds for ever */
    PLANT_LOSE_START, /* the start of a round is not told to who was away */
    PLANT_ORPHAN_FLAG, /* an aborted round counts as under way for ever */
    PLANT_CONFIRM_AHEAD, /* a savepoint is told complete ahead of a checkpoint before it */
    PLANT_RESTORE_OLDER, /* an attempt restores the newest checkpoint but one */
    PLANT_STRIKE_ONCE, /* what was confirmed is owed again when its strike was lost */
    PLANT_FORGET_ORDER, /* what an admin has ordered to restore does not outlive the daemon */
    PLANT_UNION_PARTLY, /* a snapshot has part of an operator with union state as finished */
    PLANT_OLD_INCARNATION, /* an incarnation is minted again */
    PLANT_EXTERNAL_AGAIN, /* an external number is minted again */
    PLANT_OLD_COPY_UNSEEN, /* nobody notices that an old copy of the store was put back */
    PLANT_NEVER_SWEPT, /* what aborted rounds have left is never deleted */
    PLANT_GRACE_RUNS_ON, /* a daemon's standstill counts as its workers' absence */
    PLANT_UNNAMED, /* an abort names all who held the round but one */
    PLANT_ALL_ABORT, /* a lost worker aborts the rounds of all jobs */
    PLANT_LOSE_CAPTURED, /* a record that is processed while its channel is captured is not kept */
    PLANT_CAPTURE_SHORT, /* a capture ends before its last barrier */
    PLANT_OVERTAKE_BARRIER, /* a barrier that goes ahead passes barriers too */
    PLANT_READ_ON, /* behind a barrier that waits for a capture its channel is read on */
    PLANT_ACK_UNSENT, /* a task acks while its barrier may still be put ahead in an output */
    PLANT_END_AHEAD, /* a task that has finished puts its barrier ahead of what it has put out */
    PLANT_REWIND_SURVIVOR, /* a regional failover rewinds everybody */
    PLANT_RELEASE_REGION, /* survivors are released from a round's barrier: the rewound are left out of it */
    PLANT_STALE_REGION, /* the ack of a region from before its rewind is accepted */
    PLANT_EVENTS_GONE, /* a coordinator does not hear that its subtasks were rewound without it */
    PLANT_REFER_WHEN_FULL, /* a round that must be full may refer to shared artifacts */
    PLANT_REFER_TO_DELETING, /* a round may refer to a shared artifact that is being deleted */
    PLANT_SHARED_BY_LAST, /* a shared artifact goes when the newest checkpoint makes no use of it */
    PLANT_DROP_FLIGHT, /* records in flight are not handed back on restore */
    PLANT_OLD_PLACE, /* a snapshot that was copied is read where it was written */
    PLANT_NOT_FULL, /* the first checkpoint after a restore from elsewhere may lean on it */
    PLANT_BEGIN_AFRESH, /* a job that cannot begin from where it is to begin is made all the same */
    PLANT_DEAL_PARTLY, /* at another parallelism one task fewer is given what all should see */
    TIDE_PLANTS
};
/* clang-format on */

/* 1 when the name is defined as 1, 0 when it is not defined. */
#define TIDE_PLANT_MARK_1 0,
#define TIDE_PLANT_SECOND(first, second, ...) second
#define TIDE_PLANT_IS_SET(mark) TIDE_PLANT_SECOND(mark 1, 0, 0)
#define TIDE_PLANT_IS_VALUE(value) TIDE_PLANT_IS_SET(TIDE_PLANT_MARK_##value)
#define TIDE_PLANT_IS(name) TIDE_PLANT_IS_VALUE(name)

#define PLANTED(name) (TIDE_PLANT_IS(TIDE_PLANT_##name) && PLANT_##name < TIDE_PLANTS)

#endif
