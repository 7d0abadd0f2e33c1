"""Trainers that were forked: the supervisor's own children, as if it had started them itself."""

import os
import signal
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import StaleFence
from tests.conftest import wait_until
from tests.stack import is_running, parents
from worker.nursery import Nursery
from worker.services import Services
from worker.settings import WorkerSettings
from worker.trainer import Trainer, nothing

pytestmark = pytest.mark.skipif(not Nursery.possible("cpu"), reason="only Linux hands orphans to a subreaper")


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    yield nursery
    nursery.close()


@pytest.fixture
def gpu_worker() -> Services:
    """Of a real GPU's worker only what trainers need; none of them gets orders, so none touches a device."""
    held: Any = dict.fromkeys((field.name for field in fields(Services) if field.default is MISSING), None)
    return Services(**held | {"settings": WorkerSettings(), "device": "cuda:0", "draining": lambda: False})


@pytest.fixture
def trainer(nursery: Nursery) -> Iterator[Trainer]:
    trainer = nursery.trainer(lambda: None)
    assert trainer is not None
    yield trainer
    trainer.stop(term_grace_s=0)


def test_a_forked_trainer_is_a_child_of_the_supervisor_in_a_group_of_its_own(trainer: Trainer) -> None:
    assert dict(parents())[trainer.pid] == os.getpid()
    assert os.getpgid(trainer.pid) == trainer.pid


def test_how_a_forked_trainer_died_is_known(trainer: Trainer) -> None:
    os.kill(trainer.pid, signal.SIGSEGV)
    assert trainer.wait() == -signal.SIGSEGV


def test_the_pipe_of_a_dead_trainer_is_closed_though_the_nursery_lives(trainer: Trainer, nursery: Nursery) -> None:
    os.kill(trainer.pid, signal.SIGKILL)
    wait_until(lambda: trainer.poll(0.1)[1], what="the end of the pipe")
    assert nursery.alive


def test_whoever_stops_waiting_while_it_warms_up_leaves_a_sound_nursery() -> None:
    nursery = Nursery()

    def lose_the_lease() -> None:
        raise StaleFence("the job is somebody else's")

    with pytest.raises(StaleFence):
        nursery.trainer(lose_the_lease)
    trainer = nursery.trainer(lambda: None)
    assert trainer is not None
    assert trainer.alive
    nursery.close()
    trainer.stop(term_grace_s=0)


def test_a_trainer_that_nobody_waits_for_any_more_is_never_taken_for_another() -> None:
    nursery = Nursery()
    first = nursery.trainer(lambda: None)
    assert first is not None
    first.stop(term_grace_s=0)
    os.kill(nursery._process.pid, signal.SIGSTOP)

    def lose_the_lease() -> None:
        raise StaleFence("the job is somebody else's")

    with pytest.raises(StaleFence):
        nursery.trainer(lose_the_lease)
    assert not nursery.alive


def test_a_nursery_that_died_bears_nobody_and_keeps_nobody_waiting() -> None:
    nursery = Nursery()
    os.kill(nursery._process.pid, signal.SIGKILL)
    assert nursery.trainer(lambda: None) is None


def test_an_accelerators_trainer_is_never_forked_and_the_next_one_waits_ready(gpu_worker: Services) -> None:
    gpu_worker.prepare_spare()
    spare = gpu_worker._spare
    first = gpu_worker.take_trainer(nothing)
    gpu_worker.prepare_spare()
    second = gpu_worker.take_trainer(nothing)
    assert first is spare
    assert second.pid != first.pid
    assert gpu_worker._nursery is None
    for trainer in (first, second):
        command = Path(f"/proc/{trainer.pid}/cmdline").read_text()
        assert "--channel" in command, "started by itself, not forked"
        os.kill(trainer.pid, signal.SIGABRT)
        assert trainer.wait() == -signal.SIGABRT


def test_a_spare_that_died_while_it_waited_is_replaced(gpu_worker: Services) -> None:
    gpu_worker.prepare_spare()
    os.kill(gpu_worker._spare.pid, signal.SIGKILL)
    wait_until(lambda: not gpu_worker._spare.alive, what="the end of the spare")
    trainer = gpu_worker.take_trainer(nothing)
    assert trainer.alive
    trainer.stop(term_grace_s=0)


def test_trainers_end_with_their_pipe(nursery: Nursery) -> None:
    trainer = nursery.trainer(lambda: None)
    assert trainer is not None
    trainer._channel.close()
    wait_until(lambda: not is_running(trainer.pid), what="the trainer has ended")
    assert trainer.wait() == 0
