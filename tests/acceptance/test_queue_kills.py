"""Whatever is killed, frozen or unplugged: an accepted job ends once, with the weights of an unharmed run."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.storm import weights
from jobs.job import JobState, Outcome
from tests.conftest import wait_until
from tests.stack import Stack, is_running, tiny

EPOCHS = 25


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("kills"), tiny_data)
    for name in ("reaper-1", "cpu-1"):
        stack.start(name)
    yield stack
    stack.close()


@pytest.fixture(scope="module")
def unharmed(stack: Stack) -> str:
    """The weights of a run that nobody touched."""
    return weights(stack, stack.wait(stack.submit(tiny(EPOCHS)), 120))


def ends_as_if_nothing_had_been(stack: Stack, job_id: str, unharmed: str) -> None:
    job = stack.wait(job_id, 120)
    assert job.state is JobState.SUCCEEDED, job.error
    assert weights(stack, job) == unharmed
    assert stack.live_steps(job_id) == list(range(job.progress["steps"]))
    assert stack.seqs(job_id) == list(range(1, job.revision + 1))


def with_a_checkpoint(stack: Stack) -> str:
    job_id = stack.submit(tiny(EPOCHS))
    stack.until(job_id, lambda job: job.checkpoint is not None)
    return job_id


def test_a_killed_trainer_is_replaced_from_its_checkpoint(stack: Stack, unharmed: str) -> None:
    job_id = with_a_checkpoint(stack)
    os.kill(stack.trainer(job_id), signal.SIGKILL)
    ends_as_if_nothing_had_been(stack, job_id, unharmed)
    first, second = stack.store.get(job_id).attempts
    assert (first.outcome, first.fault.exit_status) == (Outcome.REQUEUED, -9)
    assert second.resumed_at > 0


def test_a_killed_supervisor_costs_a_lease(stack: Stack, unharmed: str) -> None:
    job_id = with_a_checkpoint(stack)
    trainer = stack.trainer(job_id)
    os.kill(stack.supervisor("cpu-1"), signal.SIGKILL)
    wait_until(lambda: not is_running(trainer), what="the trainer dies with its supervisor")
    ends_as_if_nothing_had_been(stack, job_id, unharmed)
    assert stack.store.get(job_id).attempts[0].outcome is Outcome.LOST


def test_a_supervisor_that_slept_past_its_lease_can_write_nothing(stack: Stack, unharmed: str) -> None:
    job_id = with_a_checkpoint(stack)
    sleeper = stack.supervisor("cpu-1")
    stack.start("cpu-2")
    os.kill(sleeper, signal.SIGSTOP)
    stack.until(job_id, lambda job: len(job.attempts) == 2)
    zombie = stack.store.get(job_id).attempts[0]
    os.kill(sleeper, signal.SIGCONT)
    ends_as_if_nothing_had_been(stack, job_id, unharmed)
    stack.kill("cpu-2")
    job = stack.store.get(job_id)
    assert zombie.fence < job.fence
    assert (stack.runs / job_id / "results" / ".fence").read_text() == str(job.fence)
    assert not list((stack.runs / job_id).glob(f".results.{zombie.fence}*"))


@pytest.mark.parametrize("away_s", [1, 8])
def test_training_goes_on_while_redis_is_away(stack: Stack, unharmed: str, away_s: float) -> None:
    job_id = with_a_checkpoint(stack)
    stack.redis.kill()
    time.sleep(away_s)  # the outage is what is tested
    stack.redis.start()
    ends_as_if_nothing_had_been(stack, job_id, unharmed)
    assert len(stack.store.get(job_id).attempts) == 1


def test_after_a_power_cut_the_job_goes_on(stack: Stack, unharmed: str) -> None:
    job_id = with_a_checkpoint(stack)
    stack.power_cut()
    stack.redis.start()
    for name in ("reaper-1", "cpu-1"):
        stack.start(name)
    ends_as_if_nothing_had_been(stack, job_id, unharmed)
    assert stack.store.get(job_id).attempts[1].resumed_at > 0


def test_an_ended_job_is_filed_though_its_supervisor_died_at_that_moment(stack: Stack) -> None:
    job_id = stack.submit(tiny(1))
    stack.store.cancel(job_id)  # perhaps before a worker had it, perhaps not: files there must be
    wait_until(lambda: (stack.runs / job_id / "job.json").exists() and job_id not in stack.store.unfiled())
