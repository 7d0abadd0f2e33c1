"""Stopping on purpose: drain, Ctrl-C, cancel, pause, a full disk."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks.storm import weights
from jobs.fault import FaultKind
from jobs.job import JobState
from tests.conftest import wait_until
from tests.stack import Stack, is_running, parents, tiny

EPOCHS = 25


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("stops"), tiny_data)
    for name in ("reaper-1", "cpu-1"):
        stack.start(name)
    yield stack
    stack.close()


def training(stack: Stack, epochs: int = EPOCHS) -> str:
    job_id = stack.submit(tiny(epochs))
    stack.wait_training(job_id)
    return job_id


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_told_to_stop_gives_its_job_back_with_a_checkpoint(stack: Stack, number: int) -> None:
    job_id = training(stack)
    worker = stack.processes["cpu-1"]
    os.killpg(worker.pid, number) if number == signal.SIGINT else worker.send_signal(number)  # as Ctrl-C does
    worker.wait(30)
    job = stack.store.get(job_id)
    assert (job.state, job.crashes, job.attempts[0].fault.kind) == (JobState.QUEUED, 0, FaultKind.STOPPED)
    assert job.checkpoint.step == len(stack.live_steps(job_id)), "no step has to be repeated"
    stack.start("cpu-1")
    assert stack.wait(job_id, 90).state is JobState.SUCCEEDED
    assert not any(run.superseded for run in stack.ledger.runs(job_id))


@pytest.fixture
def twice(stack: Stack) -> Iterator[Stack]:
    """With a second worker and an API."""
    for name in ("cpu-2", "api-1"):
        stack.start(name)
    yield stack
    for name in ("cpu-2", "api-1"):
        stack.kill(name)


@pytest.mark.timeout(300)
def test_a_rolling_restart_of_workers_and_api_repeats_no_step_and_spends_no_attempt(twice: Stack) -> None:
    stack = twice
    url = f"http://127.0.0.1:{stack.api_port}"
    wait_until(lambda: answers(url), what="the API", timeout_s=60)
    ids = []
    for number, name in enumerate(("cpu-1", "api-1", "cpu-2")):
        ids += [submitted(url, f"rolling-{number}-{n}") for n in range(2)]
        wait_until(
            lambda begun=ids: any(stack.store.get(job_id).phase == "training" for job_id in begun), 60, "one trains"
        )
        stack.processes[name].send_signal(signal.SIGTERM)
        stack.processes[name].wait(60)
        stack.start(name)
        wait_until(lambda: answers(url), what="the API", timeout_s=60)
    jobs = [stack.wait(job_id, 240) for job_id in ids]
    assert {job.state for job in jobs} == {JobState.SUCCEEDED}
    assert sum(job.crashes for job in jobs) == 0
    assert not any(run.superseded for job_id in ids for run in stack.ledger.runs(job_id))


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/livez", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def submitted(url: str, key: str) -> str:
    """The same key again until there is an answer, as a client does."""
    while True:
        try:
            body = tiny(EPOCHS).model_dump(mode="json")
            answer = httpx.post(f"{url}/jobs", json=body, headers={"Idempotency-Key": key}, timeout=5)
            return answer.raise_for_status().json()["id"]
        except httpx.TransportError:
            continue


def test_a_running_job_is_cancelled_within_seconds(stack: Stack) -> None:
    job_id = training(stack)
    trainer, asked = stack.trainer(job_id), time.monotonic()
    stack.store.cancel(job_id)
    assert stack.wait(job_id, 10).state is JobState.CANCELLED
    assert time.monotonic() - asked < 10
    wait_until(lambda: not is_running(trainer), what="the trainer has ended")


def test_a_job_is_cancelled_while_its_worker_still_loads_the_libraries(stack: Stack) -> None:
    """The nursery is stopped, as if its imports took for ever."""
    stack.kill("cpu-1")
    stack.start("cpu-1")
    wait_until(lambda: nursery_of(stack), what="a nursery", timeout_s=60)
    os.kill(nursery_of(stack)[0], signal.SIGSTOP)
    job_id = stack.submit(tiny(EPOCHS))
    stack.until(job_id, lambda job: job.state is JobState.RUNNING)
    stack.store.cancel(job_id)
    assert stack.wait(job_id, 20).state is JobState.CANCELLED
    os.kill(nursery_of(stack)[0], signal.SIGCONT)
    assert stack.wait(stack.submit(tiny(1)), 120).state is JobState.SUCCEEDED


def nursery_of(stack: Stack) -> list[int]:
    supervisor = stack.supervisor("cpu-1")
    return [pid for pid, parent in parents() if parent == supervisor]


def test_a_job_whose_worker_died_is_cancelled_without_it(stack: Stack) -> None:
    job_id = training(stack)
    stack.kill("cpu-1")
    waiting = stack.submit(tiny(1))
    assert stack.store.cancel(waiting).state is JobState.CANCELLED
    stack.store.cancel(job_id)
    assert stack.wait(job_id, 15).state is JobState.CANCELLED
    stack.start("cpu-1")


def test_a_paused_job_waits_and_goes_on_where_it_was(stack: Stack) -> None:
    job_id = training(stack)
    stack.store.pause(job_id)
    job = stack.until(job_id, lambda job: job.state is JobState.QUEUED, 20)
    assert job.held
    step = job.checkpoint.step
    other = stack.submit(tiny(1))
    assert stack.wait(other).state is JobState.SUCCEEDED, "the worker is free for others"
    assert stack.store.get(job_id).state is JobState.QUEUED
    stack.store.resume(job_id)
    job = stack.wait(job_id, 90)
    assert (job.state, job.attempts[-1].resumed_at) == (JobState.SUCCEEDED, step)


def test_fifty_epochs_more_begin_at_the_parents_last_state(stack: Stack) -> None:
    parent = stack.wait(stack.submit(tiny(4)), 60)
    child = stack.submit(tiny(8), parent_id=parent.id, checkpoint=parent.checkpoint)
    job = stack.wait(child, 60)
    assert (job.state, job.attempts[0].resumed_at) == (JobState.SUCCEEDED, parent.checkpoint.step)
    assert stack.live_steps(child) == list(range(parent.checkpoint.step, job.progress["steps"]))


def test_a_damaged_checkpoint_costs_work_not_the_job(stack: Stack) -> None:
    unharmed = weights(stack, stack.wait(stack.submit(tiny(20)), 60))
    job_id = stack.submit(tiny(20))
    stack.until(job_id, lambda job: job.checkpoint is not None)
    stack.store.pause(job_id)
    job = stack.until(job_id, lambda job: job.state is JobState.QUEUED, 20)
    for path in (stack.runs / job_id / "checkpoints").glob("*/*/state.safetensors"):
        path.write_bytes(b"not what it was")
    stack.store.resume(job_id)
    job = stack.wait(job_id, 60)
    assert job.state is JobState.SUCCEEDED, job.error
    assert weights(stack, job) == unharmed
    assert stack.live_steps(job_id) == list(range(job.progress["steps"]))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("mounting a small file system is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_pauses_the_job_until_there_is_room(stack: Stack, small_disk: Path) -> None:
    stack.kill("cpu-1", signal.SIGTERM)
    stack.processes["cpu-1"].wait(30)
    kept, stack.runs = stack.runs, small_disk
    stack.start("cpu-1")
    try:
        job_id = stack.submit(tiny(300))
        stack.until(job_id, lambda job: job.checkpoint is not None)
        ballast = small_disk / "ballast"
        fill(ballast)
        job = stack.until(job_id, lambda job: job.last_reason == FaultKind.STORAGE, 60)
        ballast.unlink()
        steps = (job.checkpoint.step, 0)[0]
        job = stack.until(job_id, lambda job: job.phase == "training" and job.attempts[-1].number > 1, 60)
        assert job.attempts[-1].resumed_at >= steps
        stack.store.cancel(job_id)
        assert stack.wait(job_id, 20).state is JobState.CANCELLED
    finally:
        stack.kill("cpu-1")
        stack.runs = kept
        stack.start("cpu-1")


def fill(path: Path) -> None:
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"0" * 4096)
        except OSError:
            return
