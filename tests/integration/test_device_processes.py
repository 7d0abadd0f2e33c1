"""The device tests as processes of their own: what one that dies, hangs or passes tells, and who acts on it."""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from jobs.device import DeviceHealth, Health, after_clearing, after_fault
from jobs.dispatch import celery_app
from jobs.fault import Fault, FaultKind
from jobs.job import Pool
from tests.conftest import wait_until
from worker.devices import cache, probe
from worker.devices.bootrecord import BootRecords
from worker.devices.probe import choose, examine, failure_of
from worker.devices.shapes import Shapes
from worker.keeper import Keeper
from worker.services import Services, open_services
from worker.settings import WorkerSettings

SMALL = Shapes(batch=2, n_chans=4, n_times=64)
Program = Callable[[str], None]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Puts a program of the test's own in the place of the device tests; it has `say` and its arguments in `args`."""

    def replace(body: str) -> None:
        head = "import json, os, signal, sys, time\nargs = sys.argv[1:]\n"
        head += "say = lambda **row: print(json.dumps(row), flush=True)\n"
        path = tmp_path / "tests_of_its_own.py"
        path.write_text(head + body)
        monkeypatch.setattr(probe, "COMMAND", (sys.executable, str(path)))

    return replace


# --- one process -----------------------------------------------------------------------------------------------------


def test_a_test_that_kills_its_process_is_named(program):
    program('say(test="memory", ok=True, detail="")\nsay(test="copies")\nos.kill(os.getpid(), signal.SIGSEGV)')
    rows = examine("cuda:0", "quick")
    failure = failure_of(rows, "cuda:0")
    assert failure is not None
    assert failure.message == "copies: the test process died (SIGSEGV)"
    assert failure.kind is FaultKind.KILLED


def test_the_drivers_last_words_say_what_it_died_of(program):
    words = "Memory access fault by GPU node-1 (Agent handle: 0x1) on address 0x1000. Reason: Page not present."
    program(f'say(test="convolution")\nprint("{words}", file=sys.stderr, flush=True)\nos.abort()')
    failure = failure_of(examine("cuda:0", "quick"), "cuda:0")
    assert failure is not None
    assert failure.kind is FaultKind.CONTEXT_LOST
    assert words in failure.message


def test_a_test_that_hangs_is_ended_with_all_it_started(program, monkeypatch, tmp_path):
    monkeypatch.setitem(probe.LIMIT_S, "quick", 1.0)
    program(
        'say(test="matmul")\nchild = os.fork()\n'
        f'open("{tmp_path}/pids", "a").write(f"{{os.getpid()}}\\n")\nsignal.pause()'
    )
    failure = failure_of(examine("cuda:0", "quick"), "cuda:0")
    assert failure is not None
    assert failure.kind is FaultKind.HANG
    pids = [int(line) for line in (tmp_path / "pids").read_text().split()]
    wait_until(lambda: not any(running(pid) for pid in pids), what="the hung processes are gone")


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_process_that_the_driver_holds_needs_a_person(program, monkeypatch):
    program('say(test="matmul")')
    monkeypatch.setattr(probe, "_wait", lambda process, limit_s: ((process.wait(), None)[1], True))
    failure = failure_of(examine("cuda:0", "quick"), "cuda:0")
    assert failure is not None
    assert failure.kind is FaultKind.HARDWARE


def test_a_capability_that_kills_its_process_is_not_held_against_the_device(program):
    program('say(test="memory", ok=True, detail="")\nsay(capability="fp16")\nos.kill(os.getpid(), signal.SIGSEGV)')
    rows = examine("cuda:0", "full")
    assert failure_of(rows, "cuda:0") is None
    assert rows[-1]["capability"] == "fp16"
    assert rows[-1]["ok"] is False


def test_what_libraries_print_is_no_result(program):
    program('print("MIOpen(HIP): Warning [SQLiteBase]")\nprint("[]")\nsay(test="memory", ok=True, detail="")')
    assert [row["test"] for row in examine("cuda:0", "quick")] == ["memory"]


@pytest.mark.parametrize("body", ["import nothing_of_that_name", "", "sys.exit(3)"])
def test_a_process_that_tested_nothing_has_not_passed(program, body):
    program(body)
    assert failure_of(examine("cuda:0", "quick"), "cuda:0") is not None


def test_the_stand_in_passes_the_real_tests_and_they_are_kept(tmp_path, program):
    file = tmp_path / "device-tests.json"
    rows = examine("standin:0", "quick", SMALL, file)
    assert failure_of(rows, "standin:0") is None
    assert "convolution" in {row["test"] for row in rows}
    program("sys.exit(3)")
    assert examine("standin:0", "quick", SMALL, file) == rows
    assert failure_of(examine("standin:0", "quick", Shapes(), file), "standin:0") is not None


def test_what_was_kept_is_forgotten_after_ten_minutes_and_after_a_fault(tmp_path, monkeypatch):
    file, rows = tmp_path / "device-tests.json", [{"test": "memory", "ok": True}]
    cache.keep(file, "key", rows)
    assert cache.kept(file, "key") == rows
    now = time.time()
    with monkeypatch.context() as later:
        later.setattr(cache.time, "time", lambda: now + cache.LIFE_S + 1)
        assert cache.kept(file, "key") is None
    cache.forget(file)
    assert cache.kept(file, "key") is None


def test_another_driver_setting_is_another_key(monkeypatch):
    before = cache.key_of("cuda:0", "{}")
    monkeypatch.setenv("HSA_OVERRIDE_GFX_VERSION", "10.3.0")
    assert cache.key_of("cuda:0", "{}") != before


def test_a_failure_is_not_kept(tmp_path, program):
    program('say(test="memory", ok=False, detail="wrong")\nsys.exit(1)')
    examine("cuda:0", "quick", SMALL, tmp_path / "device-tests.json")
    assert not (tmp_path / "device-tests.json").exists()


# --- which device ----------------------------------------------------------------------------------------------------

TWO_CARDS = """
if "--list" in args:
    say(devices=[dict(device=f"cuda:{i}", kind="rocm", description=f"card {i}") for i in range(2)])
else:
    good = args[args.index("--device") + 1] == "cuda:1"
    say(test="matmul", ok=good, detail="fine" if good else "relative error 1.1")
    sys.exit(not good)
"""


def test_the_first_card_that_computes_rightly_is_chosen(program):
    program(TWO_CARDS)
    choice = choose("auto")
    assert (choice.device, choice.kind, choice.description) == ("cuda:1", "rocm", "card 1")
    assert "cuda:0: matmul: relative error 1.1" in choice.reason


def test_a_card_asked_for_by_name_has_no_substitute(program):
    program(TWO_CARDS)
    assert choose("cuda:0").device is None


def test_a_card_that_took_the_machine_down_is_passed_over(program, tmp_path):
    program(TWO_CARDS.replace('== "cuda:1"', 'in ("cuda:0", "cuda:1")'))
    BootRecords(tmp_path, "an earlier boot").begin("cuda:0", "its device tests")
    records = BootRecords(tmp_path, "this boot")
    assert choose("auto", records=records).device == "cuda:1"
    alone = choose("cuda:0", records=records)
    assert alone.device == "cuda:0"
    assert "the machine went down" in alone.reason


def test_a_driver_that_dies_when_asked_for_its_cards_leaves_none(program):
    program('print("hipErrorNoBinaryForGpu: Unable to find code object", file=sys.stderr, flush=True)\nos.abort()')
    choice = choose("auto")
    assert choice.device is None
    assert "hipErrorNoBinaryForGpu" in choice.reason


# --- the keeper acts on it -------------------------------------------------------------------------------------------


@pytest.fixture
def stopping() -> threading.Event:
    return threading.Event()


@pytest.fixture
def services(redis_url: str, tmp_path: Path, client: redis.Redis, stopping: threading.Event) -> Services:
    """A GPU worker's, on a card called cuda:0."""
    settings = WorkerSettings(pool=Pool.GPU, runs=tmp_path / "runs", cache=tmp_path / "cache", worker_name="w1")
    return open_services(settings, celery_app(redis_url), redis_url, "cuda:0", 1, stopping.is_set)


@pytest.fixture
def keeper(services: Services, stopping: threading.Event) -> Iterator[Keeper]:
    """Its threads end with the test: they would beat and file in the Redis of those that follow."""
    keeper = Keeper(services)
    yield keeper
    stopping.set()
    for thread in (keeper, keeper._beat):
        if thread.is_alive():
            thread.join()


PASSES = 'say(test="matmul", ok=True, detail="fine")'


def health(services: Services) -> DeviceHealth:
    return services.fleet.device(services.device)


def test_a_worker_that_starts_takes_no_work_before_its_device_has_passed(keeper, services, program):
    program(PASSES)
    keeper.vet()
    assert health(services).health is Health.SUSPECT
    keeper._test_if_due()
    assert health(services).health is Health.HEALTHY
    assert services.fleet.tests("cuda:0") == [{"test": "matmul", "ok": True, "detail": "fine"}]


def test_a_suspect_device_that_fails_is_quarantined_and_says_why(keeper, services, program):
    program('say(test="matmul", ok=False, detail="relative error 1.1")\nsys.exit(1)')
    services.blame_device(Fault(FaultKind.CONTEXT_LOST, "gone"))
    keeper._test_if_due()
    assert health(services).health is Health.QUARANTINED
    assert health(services).reason == "matmul: relative error 1.1"
    keeper._test_if_due()  # its wait has not passed: nothing happens
    assert health(services).opened == 2


def test_the_keepers_thread_brings_a_suspect_back(keeper, services, program):
    program(PASSES)
    services.blame_device(Fault(FaultKind.CONTEXT_LOST, "gone"))
    keeper.start()
    wait_until(lambda: health(services).health is Health.HEALTHY, what="the device is healthy again")


def test_a_machine_that_went_down_in_a_test_is_told_to_the_breaker_and_the_device_left_alone(keeper, services, program):
    program("sys.exit(3)")
    BootRecords(services.settings.cache / "boot", "an earlier boot").begin("cuda:0", "its device tests")
    keeper.vet()
    assert (health(services).health, health(services).needs_a_person) == (Health.QUARANTINED, True)
    keeper._forget_crashes_if_cleared()
    keeper._test_if_due()
    assert health(services).reason == "the machine went down during its device tests"
    assert len(services.boot_records.crashes("cuda:0")) == 1


def test_a_device_cleared_by_a_person_is_tested_and_the_crash_forgotten(keeper, services, program):
    program(PASSES)
    BootRecords(services.settings.cache / "boot", "an earlier boot").begin("cuda:0", "its device tests")
    keeper.vet()
    services.fleet.change("cuda:0", lambda d: after_clearing(d, time.time()))
    keeper._forget_crashes_if_cleared()
    keeper._test_if_due()
    assert health(services).health is Health.HEALTHY
    assert services.boot_records.crashes() == []


def test_a_second_start_after_the_crash_still_waits_for_a_person(services, program):
    program(PASSES)
    BootRecords(services.settings.cache / "boot", "an earlier boot").begin("cuda:0", "job job_a")
    for _ in range(2):
        keeper = Keeper(services)
        keeper.vet()
        keeper._forget_crashes_if_cleared()
        keeper._test_if_due()
    assert health(services).needs_a_person
    assert health(services).opened == 1


def test_a_test_that_takes_the_machine_down_is_on_record_while_it_runs(keeper, services, program):
    program(f'say(test="matmul", ok=True, detail=str(os.listdir("{services.settings.cache}/boot")))')
    keeper.vet()
    keeper._test_if_due()
    (row,) = services.fleet.tests("cuda:0")
    assert "cuda-0." in row["detail"]
    assert list((services.settings.cache / "boot").iterdir()) == []


def test_a_job_that_killed_another_card_too_does_not_count_against_this_one(services):
    fault = Fault(FaultKind.KILLED, "died")
    services.fleet.change("cuda:1", lambda d: after_fault(d, fault, time.time(), "job_a"))
    services.blame_device(fault, "job_a")
    assert health(services).health is Health.HEALTHY
    services.blame_device(fault, "job_b")
    assert health(services).health is Health.SUSPECT


def test_a_fault_makes_kept_results_worthless(services):
    cache.keep(services.tests_cache, "key", [{"test": "memory", "ok": True}])
    services.blame_device(Fault(FaultKind.KERNEL_FAILED, "miopenStatusUnknownError", 3))
    assert cache.kept(services.tests_cache, "key") is None


def test_the_stand_in_needs_no_test_to_start(redis_url, tmp_path):
    settings = WorkerSettings(pool=Pool.GPU, runs=tmp_path / "runs", cache=tmp_path / "cache", worker_name="w1")
    services = open_services(settings, celery_app(redis_url), redis_url, "standin:0", 1, lambda: False)
    Keeper(services).vet()
    assert services.fleet.device("standin:0").health is Health.HEALTHY


def test_a_beat_says_what_the_card_reads(keeper, services, monkeypatch):
    from worker import keeper as module
    from worker.devices.readings import Readings

    monkeypatch.setattr(module, "read", lambda device: Readings(memory_used_bytes=5, temperature_c=64.0))
    keeper.beat()
    (worker,) = services.fleet.workers()
    assert worker.info["readings"] == {"memory_used_bytes": 5, "temperature_c": 64.0}


def test_a_machine_without_a_gpu_says_why_on_the_probes_last_line(tmp_path, monkeypatch, capfd):
    from worker.devices.__main__ import main

    monkeypatch.setenv("EEGQ_CACHE", str(tmp_path))
    assert main(["--probe"]) == 1
    last = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert last["device"] is None
    assert "torch" in last["reason"]


def test_what_the_device_said_at_the_last_beat_goes_with_the_metrics(services):
    assert services.readings() == {}
    services.fleet.beat(services.name, Pool.GPU, True, {"readings": {"temperature_c": 61.0, "power_w": 120.0}})
    assert services.readings() == {"device_temperature_c": 61.0, "device_power_w": 120.0}
