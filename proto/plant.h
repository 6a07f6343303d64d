/* Planted faults: proof that the simulator can see.
 *
 * Each is one condition at the place where the right rule stands, always false in a normal build
 * and true in a build with -DTIDE_PLANT_<NAME>, which tests/sim/plants.sh makes one after the
 * other. */
#ifndef TIDE_PLANT_H
#define TIDE_PLANT_H

#define PLANTED(name) (TIDE_PLANTED_##name != 0)

enum tide_plant {
#ifdef TIDE_PLANT_ACK_COUNT
    TIDE_PLANTED_ACK_COUNT = 1, /* acks are counted instead of kept as a set */
#else
    TIDE_PLANTED_ACK_COUNT = 0,
#endif
#ifdef TIDE_PLANT_TELL_EARLY
    TIDE_PLANTED_TELL_EARLY = 1, /* complete is told before the row is durable */
#else
    TIDE_PLANTED_TELL_EARLY = 0,
#endif
#ifdef TIDE_PLANT_STALE_ACK
    TIDE_PLANTED_STALE_ACK = 1, /* the ack of a stale attempt is accepted */
#else
    TIDE_PLANTED_STALE_ACK = 0,
#endif
#ifdef TIDE_PLANT_LEAVE_OUT
    TIDE_PLANTED_LEAVE_OUT = 1, /* a lost worker is left out of the round */
#else
    TIDE_PLANTED_LEAVE_OUT = 0,
#endif
#ifdef TIDE_PLANT_EARLY_SNAPSHOT
    TIDE_PLANTED_EARLY_SNAPSHOT = 1, /* a task snapshots before its last barrier */
#else
    TIDE_PLANTED_EARLY_SNAPSHOT = 0,
#endif
#ifdef TIDE_PLANT_REUSE_ID
    TIDE_PLANTED_REUSE_ID = 1, /* round ids are reused after a crash */
#else
    TIDE_PLANTED_REUSE_ID = 0,
#endif
#ifdef TIDE_PLANT_NO_LEASE
    TIDE_PLANTED_NO_LEASE = 1, /* the lease is not enforced */
#else
    TIDE_PLANTED_NO_LEASE = 0,
#endif
#ifdef TIDE_PLANT_DELETE_EARLY
    TIDE_PLANTED_DELETE_EARLY = 1, /* bytes are deleted before the row says deleting */
#else
    TIDE_PLANTED_DELETE_EARLY = 0,
#endif
#ifdef TIDE_PLANT_DROP_PRECOMMIT
    TIDE_PLANTED_DROP_PRECOMMIT = 1, /* a sink drops its pre-commit when the round aborts */
#else
    TIDE_PLANTED_DROP_PRECOMMIT = 0,
#endif
#ifdef TIDE_PLANT_RELEASE_SURVIVORS
    TIDE_PLANTED_RELEASE_SURVIVORS = 1, /* a lost worker's tasks count as standing at the cut */
#else
    TIDE_PLANTED_RELEASE_SURVIVORS = 0,
#endif
#ifdef TIDE_PLANT_CUT_BELOW
    TIDE_PLANTED_CUT_BELOW = 1, /* the cut is below what a task has reported */
#else
    TIDE_PLANTED_CUT_BELOW = 0,
#endif
#ifdef TIDE_PLANT_STANDING_COUNT
    TIDE_PLANTED_STANDING_COUNT = 1, /* who stands at the cut is counted instead of kept as a set */
#else
    TIDE_PLANTED_STANDING_COUNT = 0,
#endif
#ifdef TIDE_PLANT_GATEWAY_OPEN
    TIDE_PLANTED_GATEWAY_OPEN = 1, /* a gateway is not closed at the coordinator's snapshot */
#else
    TIDE_PLANTED_GATEWAY_OPEN = 0,
#endif
#ifdef TIDE_PLANT_RELEASE_EARLY
    TIDE_PLANTED_RELEASE_EARLY = 1, /* events are let go before the subtask has acked */
#else
    TIDE_PLANTED_RELEASE_EARLY = 0,
#endif
#ifdef TIDE_PLANT_HOOK_IGNORED
    TIDE_PLANTED_HOOK_IGNORED = 1, /* a hook's failure is taken for an answer */
#else
    TIDE_PLANTED_HOOK_IGNORED = 0,
#endif
#ifdef TIDE_PLANT_STOP_EARLY
    TIDE_PLANTED_STOP_EARLY = 1, /* a job ends before its effects are confirmed */
#else
    TIDE_PLANTED_STOP_EARLY = 0,
#endif
#ifdef TIDE_PLANT_DISPOSE_RECOVERY
    TIDE_PLANTED_DISPOSE_RECOVERY = 1, /* the recovery point may be disposed of */
#else
    TIDE_PLANTED_DISPOSE_RECOVERY = 0,
#endif
#ifdef TIDE_PLANT_LOSE_NOTICE
    TIDE_PLANTED_LOSE_NOTICE = 1, /* a completion is not told again to a worker that comes back */
#else
    TIDE_PLANTED_LOSE_NOTICE = 0,
#endif
#ifdef TIDE_PLANT_ABORT_COMMITTING
    TIDE_PLANTED_ABORT_COMMITTING = 1, /* a round aborts after its commit was handed to the store */
#else
    TIDE_PLANTED_ABORT_COMMITTING = 0,
#endif
#ifdef TIDE_PLANT_STARVE
    TIDE_PLANTED_STARVE = 1, /* what cannot be deleted holds up rounds for ever */
#else
    TIDE_PLANTED_STARVE = 0,
#endif
#ifdef TIDE_PLANT_LOSE_START
    TIDE_PLANTED_LOSE_START = 1, /* the start of a round is lost at times, and not told again */
#else
    TIDE_PLANTED_LOSE_START = 0,
#endif
#ifdef TIDE_PLANT_ORPHAN_FLAG
    TIDE_PLANTED_ORPHAN_FLAG = 1, /* an aborted round counts as under way for ever */
#else
    TIDE_PLANTED_ORPHAN_FLAG = 0,
#endif
#ifdef TIDE_PLANT_CONFIRM_AHEAD
    TIDE_PLANTED_CONFIRM_AHEAD =
        1 /* a savepoint is told complete ahead of a checkpoint before it */
#else
    TIDE_PLANTED_CONFIRM_AHEAD = 0
#endif
};

#endif
