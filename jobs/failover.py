"""decide(): what follows from a fault. Pure: the attempt applies the answer, the store writes it down."""

from dataclasses import dataclass

from jobs.fault import Fault, FaultKind, Scope
from jobs.job import Pool
from jobs.spec import Failover

CRASH_BUDGET = 3
BATCH_FAULT_BUDGET = 5
STAY_S = 60.0  # on the CPU before a job may go back to a GPU, so that it does not flap


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


def decide(
    fault: Fault, *, pool: Pool, policy: Failover, crashes: int = 0, batches_moved: int | None = None
) -> Decision:
    """The table in docs/hybrid.md as code.

    `crashes` counts process deaths since the last newer checkpoint; `batches_moved` those moved in the last 100
    steps, None where the step is lost already because its trainer has ended.
    """
    if fault.scope is Scope.JOB:
        return Fail(fault)
    if fault.kind is FaultKind.NON_FINITE and pool is Pool.CPU:
        return Fail(Fault(FaultKind.DIVERGED, fault.message, fault.step, fault.device, fault.hint))
    if fault.scope is Scope.ATTEMPT and fault.kind is not FaultKind.HOST_MEMORY:
        return Requeue(pool, backoff=fault.kind is not FaultKind.STOPPED)
    if fault.scope is Scope.BATCH and _may_move(pool, policy, batches_moved):
        return HandOff()
    return _move_job(fault, pool, policy, crashes)


def _may_move(pool: Pool, policy: Failover, batches_moved: int | None) -> bool:
    allowed = pool is Pool.GPU and policy is Failover.BATCH_AND_JOB
    return allowed and batches_moved is not None and batches_moved < BATCH_FAULT_BUDGET


def _move_job(fault: Fault, pool: Pool, policy: Failover, crashes: int) -> Decision:
    """Away from the GPU unless the user forbids it or the host's memory is to blame; not for ever."""
    if crashes + 1 >= CRASH_BUDGET:
        message = f"crashed {crashes + 1} times without a newer checkpoint; last: {fault.kind}: {fault.message}"
        return Fail(Fault(FaultKind.POISON, message, fault.step, fault.device, fault.hint, fault.exit_status))
    stays = policy is Failover.NEVER or fault.kind is FaultKind.HOST_MEMORY
    return Requeue(pool if stays else Pool.CPU, crashed=True)
