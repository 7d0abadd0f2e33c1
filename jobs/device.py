"""DeviceHealth and the breaker's rules. Pure: faults, tests and times in, the next health out."""

from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, Self

from jobs.fault import Fault, FaultKind, Scope


class Health(StrEnum):
    HEALTHY = "healthy"
    SUSPECT = "suspect"  # must pass its tests before it works again
    QUARANTINED = "quarantined"
    UNSUPPORTED = "unsupported"
    PAUSED = "paused"  # by an operator

    @property
    def takes_work(self) -> bool:
        return self is Health.HEALTHY


OPENS_AT_ONCE = {FaultKind.DEVICE_LOST, FaultKind.HARDWARE, FaultKind.HANG, FaultKind.WRONG_RESULT}
BLAMES_THE_JOB = {FaultKind.OUT_OF_MEMORY, FaultKind.TOO_LARGE, FaultKind.HOST_MEMORY}
BLAMABLE = {Scope.BATCH, Scope.DEVICE}
FIRST_RETEST_S, LAST_RETEST_S = 30.0, 1800.0
CALM_S = 6 * 3600.0  # healthy for so long, the wait starts at the first length again
DEATH_WINDOW_S = 600.0
DEATHS_TO_QUARANTINE = 2
BATCH_FAULTS_IN_A_ROW = 3
BATCH_FAULTS, BATCH_WINDOW_STEPS = 5, 100


@dataclass(frozen=True)
class Death:
    """A trainer that died on the device (epoch seconds), and whose it was."""

    at: float
    job: str = ""


@dataclass(frozen=True)
class DeviceHealth:
    """What we believe of a device.

    `retest_at` (epoch seconds): when a closed-off device may be tested again. `batch_faults`: the training steps of
    its last failed batches. `needs_a_person`: no test brings it back.
    """

    device: str
    health: Health = Health.HEALTHY
    reason: str | None = None
    since: float = 0.0
    opened: int = 0
    retest_at: float | None = None
    deaths: tuple[Death, ...] = ()
    batch_faults: tuple[int, ...] = ()
    needs_a_person: bool = False

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Self:
        """From what `asdict` made of it; fields of another version are left out."""
        known = {f.name: record[f.name] for f in fields(cls) if f.name in record}
        known["health"] = Health(known.get("health", Health.HEALTHY))
        known["deaths"] = tuple(Death(**death) for death in known.get("deaths", ()) if isinstance(death, dict))
        known["batch_faults"] = tuple(known.get("batch_faults", ()))
        return cls(**known)


def after_fault(device: DeviceHealth, fault: Fault, now: float, job: str = "") -> DeviceHealth:
    """The breaker opens at once on a lost or broken device, a hang or wrong numbers; else on 2 deaths in 10 minutes.

    A single death, 3 failed batches in a row or 5 within 100 steps make the device suspect. Out of memory never
    counts against it.
    """
    if fault.scope not in BLAMABLE or fault.kind in BLAMES_THE_JOB:
        return device
    if fault.kind is FaultKind.UNSUPPORTED:
        return _close(device, Health.UNSUPPORTED, fault.message, now)
    if fault.scope is Scope.BATCH:
        return _after_batch_fault(device, fault, now)
    deaths = (*(d for d in device.deaths if now - d.at < DEATH_WINDOW_S), Death(now, job))
    device = replace(device, deaths=deaths)
    if fault.kind is FaultKind.HARDWARE:
        return _needs_a_person(device, f"{fault.kind}: {fault.message}", now)
    quarantine = fault.kind in OPENS_AT_ONCE or len(deaths) >= DEATHS_TO_QUARANTINE
    return _open(device, Health.QUARANTINED if quarantine else Health.SUSPECT, f"{fault.kind}: {fault.message}", now)


def after_tests(device: DeviceHealth, failure: Fault | None, now: float) -> DeviceHealth:
    """Passing (no failure) closes the breaker; failing doubles the wait up to half an hour.

    A device whose memory others have filled has not failed: it is tested again after the shortest wait.
    """
    if device.needs_a_person or device.health is Health.PAUSED:
        return device
    if failure is None:
        return DeviceHealth(device.device, since=now, deaths=device.deaths, opened=device.opened)
    if failure.kind is FaultKind.UNSUPPORTED:
        return _close(device, Health.UNSUPPORTED, failure.message, now)
    if failure.kind is FaultKind.HARDWARE:
        return _needs_a_person(device, failure.message, now)
    if failure.kind is FaultKind.OUT_OF_MEMORY:
        return replace(device, health=Health.SUSPECT, reason=failure.message, since=now, retest_at=now + FIRST_RETEST_S)
    return _open(device, Health.QUARANTINED, failure.message, now)


def after_start(device: DeviceHealth, now: float) -> DeviceHealth:
    """A worker has started on it, perhaps with another driver or build: it is tested before it works."""
    if device.health in (Health.HEALTHY, Health.UNSUPPORTED) and not device.needs_a_person:
        return replace(device, health=Health.SUSPECT, reason="not tested since its worker started", retest_at=now)
    return device


def after_reboot(device: DeviceHealth, what: str, now: float) -> DeviceHealth:
    """The machine went down while the device was busy with `what`: it could do so at every start."""
    return _needs_a_person(device, f"the machine went down during {what}", now)


def after_pause(device: DeviceHealth, now: float) -> DeviceHealth:
    return _close(device, Health.PAUSED, "paused by an operator", now)


def after_clearing(device: DeviceHealth, now: float) -> DeviceHealth:
    """A person vouches for it, or ends its pause: it is believed again once it has passed its tests."""
    return DeviceHealth(device.device, health=Health.SUSPECT, reason="cleared by an operator", since=now, retest_at=now)


def may_be_tested(device: DeviceHealth, now: float) -> bool:
    """Suspect devices at once, quarantined ones when their wait is over."""
    due = device.retest_at is not None and now >= device.retest_at
    return due and not device.needs_a_person and device.health in (Health.SUSPECT, Health.QUARANTINED)


def blames_the_job(job: str, device: str, others: list[DeviceHealth]) -> bool:
    """Whether this job has lately killed a trainer on another device too: then it is the job."""
    return any(job and other.device != device and any(d.job == job for d in other.deaths) for other in others)


def _after_batch_fault(device: DeviceHealth, fault: Fault, now: float) -> DeviceHealth:
    """Steps that run backwards belong to another job or to a replay: the count begins anew."""
    last = device.batch_faults[-1] if device.batch_faults else -1
    step = last + 1 if fault.step is None else fault.step
    earlier = tuple(s for s in device.batch_faults if 0 < step - s < BATCH_WINDOW_STEPS) if step > last else ()
    steps = (*earlier, step)
    in_a_row = len(steps) >= BATCH_FAULTS_IN_A_ROW and steps[-1] - steps[-BATCH_FAULTS_IN_A_ROW] < BATCH_FAULTS_IN_A_ROW
    device = replace(device, batch_faults=steps)
    if in_a_row or len(steps) >= BATCH_FAULTS:
        return _open(device, Health.SUSPECT, f"{fault.kind}: {fault.message}", now)
    return device


def _open(device: DeviceHealth, health: Health, reason: str, now: float) -> DeviceHealth:
    """Never softer than it was: a fault of a job still under way ends no quarantine and no pause."""
    if device.needs_a_person or device.health in (Health.PAUSED, Health.UNSUPPORTED):
        return device
    if device.health is Health.QUARANTINED:
        health = Health.QUARANTINED
    calm = device.health is Health.HEALTHY and now - device.since > CALM_S
    opened = 1 if calm else device.opened + 1
    wait_s = min(LAST_RETEST_S, FIRST_RETEST_S * 2 ** (opened - 1)) if health is Health.QUARANTINED else 0.0
    return replace(
        device, health=health, reason=reason, since=now, opened=opened, retest_at=now + wait_s, batch_faults=()
    )


def _needs_a_person(device: DeviceHealth, reason: str, now: float) -> DeviceHealth:
    return replace(_close(device, Health.QUARANTINED, reason, now), opened=device.opened + 1, needs_a_person=True)


def _close(device: DeviceHealth, health: Health, reason: str, now: float) -> DeviceHealth:
    """No test reopens it; a person or a new start does."""
    return replace(device, health=health, reason=reason, since=now, retest_at=None)
