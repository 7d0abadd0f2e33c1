"""decide(): what follows from a fault. Pure: the attempt applies the answer, the store writes it down."""

from dataclasses import dataclass

from jobs.fault import Fault, FaultKind, Scope
from jobs.job import Pool
from jobs.spec import Failover

CRASH_BUDGET = 3
BATCH_FAULT_BUDGET = 5


@dataclass(frozen=True)
class HandOff:
    """The batch goes to `cpu.batch`; the attempt waits for the state after it."""


@dataclass(frozen=True)
class Requeue:
    """The job goes back to a pool, from its last checkpoint.

    `crashed` spends the crash budget; `backoff` asks for a jittered delay first.
    """

    pool: Pool
    crashed: bool = False
    backoff: bool = False


@dataclass(frozen=True)
class Fail:
    """The job ends here, with the reason."""

    fault: Fault


Decision = HandOff | Requeue | Fail


def decide(fault: Fault, *, pool: Pool, policy: Failover, crashes: int = 0, batch_faults: int = 0) -> Decision:
    """The table in docs/hybrid.md as code.

    `crashes` counts process deaths since the last newer checkpoint; `batch_faults` counts batches moved in the
    last 100 steps of this attempt.
    """
    if fault.scope is Scope.JOB:
        return Fail(fault)
    if fault.scope is Scope.ATTEMPT:
        return _requeue_attempt(fault, pool, crashes)
    if fault.scope is Scope.BATCH and pool is Pool.GPU:
        return _move_batch(fault, policy, batch_faults, crashes)
    return _move_job(fault, pool, policy, crashes)


def _requeue_attempt(fault: Fault, pool: Pool, crashes: int) -> Decision:
    if fault.kind is FaultKind.HOST_MEMORY:
        return _spend(fault, pool, crashes)
    return Requeue(pool, backoff=fault.kind is not FaultKind.STOPPED)


def _move_batch(fault: Fault, policy: Failover, batch_faults: int, crashes: int) -> Decision:
    if policy is Failover.BATCH_AND_JOB and batch_faults < BATCH_FAULT_BUDGET:
        return HandOff()
    return _move_job(fault, Pool.GPU, policy, crashes)


def _move_job(fault: Fault, pool: Pool, policy: Failover, crashes: int) -> Decision:
    """A device fault: away from the GPU unless the user forbids it. On the CPU it can only be the job's own crash."""
    if fault.kind is FaultKind.NON_FINITE and pool is Pool.CPU:
        return Fail(Fault(FaultKind.DIVERGED, fault.message, fault.step, fault.device, fault.hint))
    if pool is Pool.GPU and policy is not Failover.NEVER:
        return _spend(fault, Pool.CPU, crashes)
    return _spend(fault, pool, crashes)


def _spend(fault: Fault, pool: Pool, crashes: int) -> Decision:
    if crashes + 1 >= CRASH_BUDGET:
        message = f"crashed {crashes + 1} times without a newer checkpoint; last: {fault.kind}: {fault.message}"
        return Fail(Fault(FaultKind.POISON, message, fault.step, fault.device, fault.hint, fault.exit_status))
    return Requeue(pool, crashed=True)
