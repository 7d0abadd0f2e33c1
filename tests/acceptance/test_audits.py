"""A stand-in GPU that computes wrongly without a word: with audits the job goes back and ends as if it had not."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch import equal

from jobs.device import DeviceHealth
from jobs.fault import FaultKind
from jobs.job import Job, JobState, Pool
from tests.conftest import wait_until
from tests.stack import Stack, tiny

DEVICE = "standin:0"
FLIPPED = [{"kind": "bitflip", "step": 1, "where": "optimizer"}]


def started(folder: Path, data: Path, audit_every_s: float) -> Stack:
    settings = {"EEGQ_AUDIT_EVERY_S": str(audit_every_s), "EEGQ_STAY_S": "3600"}
    stack = Stack(folder, data, lease_s=5.0, settings=settings)
    for name in ("reaper-1", "cpu-1", "gpu-1", "batch-1"):
        stack.start(name)
    wait_until(lambda: stack.fleet.ready(Pool.GPU) and stack.fleet.ready(Pool.CPU), 120)
    return stack


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Iterator[Stack]:
    stack = started(tmp_path_factory.mktemp("audited"), tiny_data, 60.0)
    yield stack
    stack.close()


@pytest.fixture(scope="module")
def trusting(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Iterator[Stack]:
    stack = started(tmp_path_factory.mktemp("trusting"), tiny_data, 0.0)
    yield stack
    stack.close()


@pytest.fixture(autouse=True)
def _a_healthy_device(audited: Stack) -> None:
    audited.fleet.change(DEVICE, lambda _: DeviceHealth(DEVICE))


@pytest.fixture(scope="module")
def unharmed(audited: Stack) -> Job:
    return audited.wait(audited.submit(tiny(epochs=12, placement="gpu")), 240)


def same_weights(a: tuple[Stack, Job], b: tuple[Stack, Job]) -> bool:
    one, other = (load_file(stack.runs / job.id / "results" / "weights.safetensors") for stack, job in (a, b))
    return all(equal(one[name], other[name]) for name in other)


def test_a_device_that_computes_wrongly_is_found_out_and_the_job_ends_as_if_it_had_not(
    audited: Stack, unharmed: Job
) -> None:
    job = audited.wait(audited.submit(tiny(epochs=12, placement="gpu", drill=FLIPPED)), 240)
    assert job.state is JobState.SUCCEEDED
    assert [a.pool for a in job.attempts] == [Pool.GPU, Pool.CPU]
    fault = job.attempts[0].fault
    assert fault is not None
    assert (fault.kind, fault.step) == (FaultKind.WRONG_RESULT, 1)
    assert any(run.superseded and run.device == DEVICE for run in audited.ledger.runs(job.id))
    assert (audited.fleet.device(DEVICE).reason or "").startswith("wrong_result")
    steps = audited.live_steps(job.id)
    assert steps == list(range(len(steps)))
    assert same_weights((audited, job), (audited, unharmed))


def test_a_sound_device_agrees_and_the_job_stays(audited: Stack, unharmed: Job) -> None:
    verdicts = [e["data"] for e in audited.store.events(unharmed.id) if e["type"] == "audited"]
    assert [(v["finding"], v["first"], v["steps"]) for v in verdicts] == [("agrees", 0, 3)]
    assert [a.pool for a in unharmed.attempts] == [Pool.GPU]


def test_without_audits_nobody_notices(trusting: Stack, audited: Stack, unharmed: Job) -> None:
    job = trusting.wait(trusting.submit(tiny(epochs=12, placement="gpu", drill=FLIPPED)), 240)
    assert (job.state, len(job.attempts)) == (JobState.SUCCEEDED, 1)
    assert not same_weights((trusting, job), (audited, unharmed))
