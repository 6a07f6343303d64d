/* Planted faults: what a simulator must be able to see. PLANTED(NAME) is 0 in every normal build;
 * -DTIDE_PLANT=TIDE_FAULT_<NAME> turns exactly one on. docs/simulation.md lists them. */
#ifndef TIDE_PLANT_H
#define TIDE_PLANT_H

enum tide_fault {
    TIDE_FAULT_NONE,
    TIDE_FAULT_ACK_COUNT,        /* acks counted instead of kept as a set */
    TIDE_FAULT_TELL_EARLY,       /* complete told before the row is durable */
    TIDE_FAULT_STALE_ACK,        /* a stale attempt's ack accepted */
    TIDE_FAULT_LEAVE_OUT,        /* a lost worker left out of the round */
    TIDE_FAULT_EARLY_SNAPSHOT,   /* a task snapshots before its last barrier */
    TIDE_FAULT_REUSE_ID,         /* a round id reused after a crash */
    TIDE_FAULT_NO_LEASE,         /* the lease not enforced */
    TIDE_FAULT_DELETE_EARLY,     /* a deletion before the row says deleting */
    TIDE_FAULT_DROP_PRECOMMIT,   /* a pre-commit dropped on abort */
    TIDE_FAULT_ABORT_COMMITTING  /* a round aborted after its commit was handed to the store */
};

#ifdef TIDE_PLANT
#define PLANTED(name) (TIDE_PLANT == TIDE_FAULT_##name)
#else
#define PLANTED(name) 0
#endif

#endif
