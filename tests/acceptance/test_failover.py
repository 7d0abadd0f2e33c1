"""A stand-in GPU that fails: batches and jobs go to the CPU pool and come back as if nothing had been."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch import equal

from jobs.device import DeviceHealth
from jobs.job import Job, JobState, Pool
from jobs.spec import JobSpec
from tests.conftest import wait_until
from tests.stack import Stack, tiny

DEVICE = "standin:0"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("failover"), tiny_data, lease_s=5.0, settings={"EEGQ_STAY_S": "0"})
    for name in ("reaper-1", "cpu-1", "gpu-1", "batch-1"):
        stack.start(name)
    wait_until(lambda: stack.fleet.ready(Pool.GPU) and stack.fleet.ready(Pool.CPU), 60)
    yield stack
    stack.close()


@pytest.fixture(autouse=True)
def _a_healthy_device(stack: Stack) -> None:
    stack.fleet.change(DEVICE, lambda _: DeviceHealth(DEVICE))


@pytest.fixture(scope="module")
def unharmed(stack: Stack) -> Job:
    return stack.wait(stack.submit(on_gpu()), 120)


def on_gpu(**fields: object) -> JobSpec:
    return tiny(epochs=fields.pop("epochs", 12), placement="gpu", **fields)


def assert_same_result(stack: Stack, job: Job, reference: Job) -> None:
    a, b = (load_file(stack.runs / j.id / "results" / "weights.safetensors") for j in (job, reference))
    assert all(equal(a[name], b[name]) for name in b)
    steps = stack.live_steps(job.id)
    assert steps == list(range(len(steps)))
    assert stack.seqs(job.id) == list(range(1, len(stack.seqs(job.id)) + 1))


def test_failed_batches_run_on_the_cpu_pool_and_leave_no_trace(stack: Stack, unharmed: Job) -> None:
    drills = [
        {"kind": "oom", "step": 7, "times": 2},
        {"kind": "nan", "step": 19, "where": "optimizer"},
        {"kind": "oom", "step": 31, "where": "backward", "times": 2},
    ]
    job = stack.wait(stack.submit(on_gpu(drill=drills)), 120)
    assert (job.state, job.batches_moved, job.requeues) == (JobState.SUCCEEDED, 3, 0)
    moved = [(r.first, r.device, r.reason) for r in stack.ledger.runs(job.id) if r.reason]
    assert moved == [(7, "cpu", "out_of_memory"), (19, "cpu", "non_finite"), (31, "cpu", "out_of_memory")]
    assert_same_result(stack, job, unharmed)


@pytest.mark.parametrize("kind", ["abort", "segfault", "sticky"])
def test_a_dead_device_moves_the_job_to_the_cpu_pool(stack: Stack, unharmed: Job, kind: str) -> None:
    job = stack.wait(stack.submit(on_gpu(drill=[{"kind": kind, "step": 25}])), 120)
    assert job.state is JobState.SUCCEEDED
    assert [a.pool for a in job.attempts][:2] == [Pool.GPU, Pool.CPU]
    assert_same_result(stack, job, unharmed)


def test_a_moved_job_goes_back_once_the_device_has_passed_its_tests(stack: Stack) -> None:
    job_id = stack.submit(on_gpu(epochs=400, drill=[{"kind": "abort", "step": 25}]))
    job = stack.until(job_id, lambda j: [a.pool for a in j.attempts] == [Pool.GPU, Pool.CPU, Pool.GPU], 120)
    assert stack.fleet.device(DEVICE).health.takes_work
    assert job.attempts[2].resumed_at > job.attempts[1].resumed_at
    stack.store.cancel(job_id)
    stack.wait(job_id, 60)


def test_failover_never_keeps_the_job_on_the_gpu_pool(stack: Stack) -> None:
    job_id = stack.submit(on_gpu(failover="never", drill=[{"kind": "sticky", "step": 25}]))
    job = stack.until(job_id, lambda j: j.requeues, 120)
    assert job.pool == "gpu"
    stack.store.cancel(job_id)
    stack.wait(job_id, 60)


def test_both_challenges_run_at_once_one_on_each_pool(stack: Stack) -> None:
    first = stack.submit(on_gpu())
    second = stack.submit(tiny(epochs=3, task="challenge2"))
    jobs = [stack.wait(job_id, 120) for job_id in (first, second)]
    assert [j.state for j in jobs] == [JobState.SUCCEEDED] * 2
    assert [j.attempts[0].pool for j in jobs] == [Pool.GPU, Pool.CPU]
    assert jobs[0].started_at < jobs[1].finished_at
    assert jobs[1].started_at < jobs[0].finished_at


def test_a_gpus_own_way_to_start_a_trainer_ends_the_same(stack: Stack, unharmed: Job) -> None:
    """Executed, not forked from a nursery as the stand-in's are."""
    stack.kill("gpu-1", signal.SIGTERM)
    stack.processes["gpu-1"].wait(30)
    stack.start("gpu-1", EEGQ_WARM_SPARE="false")
    test_a_dead_device_moves_the_job_to_the_cpu_pool(stack, unharmed, "abort")
