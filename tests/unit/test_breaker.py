"""The breaker's rules: what a device may do after faults, tests, reboots and an operator's word."""

from dataclasses import asdict, replace

import pytest

from jobs.device import (
    CALM_S,
    FIRST_RETEST_S,
    LAST_RETEST_S,
    DeviceHealth,
    Health,
    after_clearing,
    after_fault,
    after_pause,
    after_reboot,
    after_start,
    after_tests,
    blames_the_job,
    may_be_tested,
)
from jobs.fault import Fault, FaultKind

GPU = DeviceHealth("cuda:0")
WRONG = Fault(FaultKind.WRONG_RESULT, "matmul: relative error 1.2, allowed 1e-05")


def fault(kind: FaultKind, step: int | None = None) -> Fault:
    return Fault(kind, "made up", step)


def after(*kinds: FaultKind, device: DeviceHealth = GPU, every_s: float = 1.0) -> DeviceHealth:
    for i, kind in enumerate(kinds):
        device = after_fault(device, fault(kind), i * every_s)
    return device


@pytest.mark.parametrize("kind", [FaultKind.DEVICE_LOST, FaultKind.HANG, FaultKind.WRONG_RESULT, FaultKind.HARDWARE])
def test_the_gravest_faults_open_it_at_once(kind):
    assert after(kind).health is Health.QUARANTINED


def test_one_death_makes_it_suspect_and_two_within_ten_minutes_quarantine_it():
    assert after(FaultKind.KILLED).health is Health.SUSPECT
    assert after(FaultKind.KILLED, FaultKind.CONTEXT_LOST, every_s=599).health is Health.QUARANTINED


def test_two_deaths_far_apart_are_two_single_deaths():
    assert after(FaultKind.KILLED, FaultKind.KILLED, every_s=601).health is Health.SUSPECT


def test_a_death_is_remembered_over_passed_tests():
    device = after_tests(after(FaultKind.KILLED), None, 30.0)
    assert device.health is Health.HEALTHY
    assert after_fault(device, fault(FaultKind.KILLED), 60.0).health is Health.QUARANTINED


@pytest.mark.parametrize(
    "kind", [FaultKind.OUT_OF_MEMORY, FaultKind.HOST_MEMORY, FaultKind.STOPPED, FaultKind.USER_CODE]
)
def test_what_is_not_its_doing_never_counts_against_it(kind):
    assert after(*[kind] * 20) == GPU


def batch_faults(*steps: int) -> DeviceHealth:
    device = GPU
    for step in steps:
        device = after_fault(device, fault(FaultKind.KERNEL_FAILED, step), 0.0)
    return device


def test_three_failed_batches_in_a_row_make_it_suspect():
    assert batch_faults(10, 11).health is Health.HEALTHY
    assert batch_faults(10, 11, 12).health is Health.SUSPECT


def test_a_good_step_between_breaks_the_row():
    assert batch_faults(10, 11, 13, 14).health is Health.HEALTHY


def test_five_failed_batches_within_100_steps_make_it_suspect():
    assert batch_faults(0, 20, 40, 60, 80).health is Health.SUSPECT
    assert batch_faults(0, 30, 60, 90, 120, 150).health is Health.HEALTHY


def test_steps_of_another_job_begin_a_new_count():
    assert batch_faults(500, 501, 3, 4).health is Health.HEALTHY


def test_a_suspect_is_tested_at_once_and_the_quarantined_after_a_wait():
    assert may_be_tested(after(FaultKind.KILLED), 0.0)
    quarantined = after(FaultKind.HANG)
    assert not may_be_tested(quarantined, FIRST_RETEST_S - 1)
    assert may_be_tested(quarantined, FIRST_RETEST_S)


def test_the_wait_doubles_with_every_failure_up_to_half_an_hour():
    device, waits = after(FaultKind.HANG), []
    for _ in range(9):
        waits.append(device.retest_at - device.since)
        device = after_tests(device, WRONG, device.retest_at)
    assert waits == [30, 60, 120, 240, 480, 960, LAST_RETEST_S, LAST_RETEST_S, LAST_RETEST_S]


def test_after_hours_of_health_the_wait_starts_short_again():
    sick = replace(after(FaultKind.HANG), opened=7)
    healthy = after_tests(sick, None, 1000.0)
    assert after_fault(healthy, fault(FaultKind.HANG), 1000.0 + 60).retest_at == 1060.0 + LAST_RETEST_S
    later = 1000.0 + CALM_S + 1
    assert after_fault(healthy, fault(FaultKind.HANG), later).retest_at == later + FIRST_RETEST_S


def test_passing_closes_it_and_failing_keeps_the_reason():
    assert after_tests(after(FaultKind.HANG), None, 40.0).health.takes_work
    failed = after_tests(after(FaultKind.KILLED), WRONG, 40.0)
    assert (failed.health, failed.reason) == (Health.QUARANTINED, WRONG.message)


def test_memory_filled_by_others_is_no_failure_but_a_reason_to_wait():
    device = after_tests(after(FaultKind.KILLED), fault(FaultKind.OUT_OF_MEMORY), 40.0)
    assert (device.health, device.retest_at, device.opened) == (Health.SUSPECT, 40.0 + FIRST_RETEST_S, 1)


def test_a_card_without_code_in_the_build_is_unsupported_until_a_worker_starts_anew():
    for device in (after(FaultKind.UNSUPPORTED), after_tests(GPU, fault(FaultKind.UNSUPPORTED), 1.0)):
        assert device.health is Health.UNSUPPORTED
        assert not may_be_tested(device, 1e9)
        assert may_be_tested(after_start(device, 2.0), 2.0)


def test_a_worker_that_starts_has_its_device_tested_first():
    assert after_start(GPU, 5.0).health is Health.SUSPECT


@pytest.mark.parametrize("device", [after(FaultKind.HANG), after_pause(GPU, 0.0), after(FaultKind.HARDWARE)])
def test_a_start_ends_no_quarantine_and_no_pause(device):
    assert after_start(device, 5.0) == device


NEED_A_PERSON = [
    after(FaultKind.HARDWARE),
    after_tests(after(FaultKind.KILLED), fault(FaultKind.HARDWARE), 1.0),
    after_reboot(GPU, "its device tests", 1.0),
]


@pytest.mark.parametrize("device", NEED_A_PERSON, ids=["broken", "broken in its tests", "took the machine down"])
def test_only_a_person_brings_it_back(device):
    assert (device.health, device.needs_a_person) == (Health.QUARANTINED, True)
    assert not may_be_tested(device, 1e9)
    assert after_tests(device, None, 1e9) == device
    assert after_fault(device, fault(FaultKind.HANG), 1e9).needs_a_person
    cleared = after_clearing(device, 10.0)
    assert (cleared.health, cleared.needs_a_person) == (Health.SUSPECT, False)
    assert may_be_tested(cleared, 10.0)


def test_a_pause_outlasts_faults_and_tests():
    paused = after_pause(GPU, 1.0)
    assert after_tests(paused, None, 2.0).health is Health.PAUSED
    assert after_fault(paused, fault(FaultKind.KILLED), 2.0).health is Health.PAUSED
    assert not may_be_tested(paused, 1e9)


def test_a_lesser_fault_does_not_soften_a_quarantine():
    assert after(FaultKind.HANG, FaultKind.KERNEL_FAILED, FaultKind.KERNEL_FAILED, FaultKind.KERNEL_FAILED).health is (
        Health.QUARANTINED
    )


def test_a_job_that_dies_on_two_devices_is_to_blame_itself():
    first = after_fault(GPU, fault(FaultKind.KILLED), 0.0, job="job_a")
    assert blames_the_job("job_a", "cuda:1", [first, DeviceHealth("cuda:1")])
    assert not blames_the_job("job_b", "cuda:1", [first])
    assert not blames_the_job("job_a", "cuda:0", [first])
    assert not blames_the_job("", "cuda:1", [replace(first, deaths=())])


def test_a_record_survives_being_written_down():
    device = after_fault(batch_faults(3, 4), fault(FaultKind.KILLED), 5.0, job="job_a")
    assert DeviceHealth.from_dict(asdict(device)) == device


def test_a_record_of_another_version_is_read_as_far_as_it_goes():
    record = {**asdict(after(FaultKind.HANG)), "deaths": [12.5], "batch_faults_in_a_row": 2, "colour": "red"}
    assert DeviceHealth.from_dict(record).health is Health.QUARANTINED
