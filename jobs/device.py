"""DeviceHealth and the breaker's rules. Pure: faults and times in, the next health out."""

from dataclasses import dataclass, replace
from enum import StrEnum

from jobs.fault import Fault, FaultKind


class Health(StrEnum):
    HEALTHY = "healthy"
    SUSPECT = "suspect"  # must pass its tests before it works again
    QUARANTINED = "quarantined"
    UNSUPPORTED = "unsupported"
    PAUSED = "paused"  # by an operator

    @property
    def takes_work(self) -> bool:
        return self is Health.HEALTHY


OPENS_AT_ONCE = {FaultKind.DEVICE_LOST, FaultKind.HANG, FaultKind.WRONG_RESULT}
BLAMES_THE_JOB = {FaultKind.OUT_OF_MEMORY, FaultKind.HOST_MEMORY}
FIRST_RETEST_S, LAST_RETEST_S = 30.0, 1800.0
DEATH_WINDOW_S = 600.0
DEATHS_TO_QUARANTINE = 2
BATCH_FAULTS_IN_A_ROW = 3


@dataclass(frozen=True)
class DeviceHealth:
    """What we believe of a device; `retest_at` is when a closed-off device may be tested again (epoch seconds)."""

    device: str
    health: Health = Health.HEALTHY
    reason: str | None = None
    since: float = 0.0
    opened: int = 0
    retest_at: float | None = None
    deaths: tuple[float, ...] = ()
    batch_faults_in_a_row: int = 0
    needs_a_person: bool = False


def after_fault(device: DeviceHealth, fault: Fault, now: float) -> DeviceHealth:
    """The breaker opens at once on a lost device, a hang or wrong numbers, else on 2 deaths in 10 minutes or 3 failed
    batches in a row; any single death makes the device suspect. Out of memory never counts against it."""
    if fault.kind in BLAMES_THE_JOB:
        return device
    if fault.kind is FaultKind.UNSUPPORTED:
        return replace(device, health=Health.UNSUPPORTED, reason=fault.message, since=now, retest_at=None)
    if fault.kind in (FaultKind.KERNEL_FAILED, FaultKind.NON_FINITE):
        row = device.batch_faults_in_a_row + 1
        device = replace(device, batch_faults_in_a_row=row)
        return _open(device, Health.SUSPECT, fault, now) if row >= BATCH_FAULTS_IN_A_ROW else device
    deaths = (*(t for t in device.deaths if now - t < DEATH_WINDOW_S), now)
    device = replace(device, deaths=deaths)
    quarantine = fault.kind in OPENS_AT_ONCE or len(deaths) >= DEATHS_TO_QUARANTINE
    return _open(device, Health.QUARANTINED if quarantine else Health.SUSPECT, fault, now)


def after_good_batch(device: DeviceHealth) -> DeviceHealth:
    return replace(device, batch_faults_in_a_row=0)


def after_tests(device: DeviceHealth, passed: bool, reason: str | None, now: float) -> DeviceHealth:
    """Passing closes the breaker; failing doubles the wait up to half an hour."""
    if device.needs_a_person or device.health is Health.PAUSED:
        return device
    if passed:
        return DeviceHealth(device.device, since=now, deaths=device.deaths, opened=device.opened)
    return replace(
        device, health=Health.QUARANTINED, reason=reason, since=now, opened=device.opened + 1,
        retest_at=now + _wait_s(device.opened + 1),
    )  # fmt: skip


def after_pause(device: DeviceHealth, now: float) -> DeviceHealth:
    return replace(device, health=Health.PAUSED, reason="paused by an operator", since=now, retest_at=None)


def after_clearing(device: DeviceHealth, now: float) -> DeviceHealth:
    """A person vouches for it, or ends its pause: it is believed again once it has passed its tests."""
    return DeviceHealth(device.device, health=Health.SUSPECT, reason="cleared by an operator", since=now, retest_at=now)


def may_be_tested(device: DeviceHealth, now: float) -> bool:
    """Suspect devices at once, quarantined ones when their wait is over."""
    if device.needs_a_person:
        return False
    if device.health is Health.SUSPECT:
        return True
    return device.health is Health.QUARANTINED and device.retest_at is not None and now >= device.retest_at


def _open(device: DeviceHealth, health: Health, fault: Fault, now: float) -> DeviceHealth:
    opened = device.opened + 1
    return replace(
        device, health=health, reason=f"{fault.kind}: {fault.message}", since=now, opened=opened,
        retest_at=now + _wait_s(opened) if health is Health.QUARANTINED else now,
    )  # fmt: skip


def _wait_s(opened: int) -> float:
    return min(LAST_RETEST_S, FIRST_RETEST_S * 2 ** max(0, opened - 1))
