"""What cannot be captured or compiled runs as it did before, and says why."""

from typing import Any, cast

import pytest
import torch

from worker.training.capture import Captured, CapturedStep
from worker.training.device import device_of
from worker.training.step import Stepper


class Compiler:
    """Stands for a stepper: remembers whether it compiles."""

    on = False

    def compile(self, on: bool) -> None:
        self.on = on


def step(name: str) -> CapturedStep:
    return cast(CapturedStep, name)


def test_a_step_that_cannot_be_captured_runs_one_by_one_and_says_why() -> None:
    def make() -> CapturedStep:
        raise RuntimeError("operation not permitted when stream is capturing")

    captured = Captured(make, None)
    assert captured.step() is None
    assert captured.why_not == "RuntimeError: operation not permitted when stream is capturing"


def test_what_the_compiler_cannot_do_leaves_the_plain_graph() -> None:
    stepper = Compiler()

    def make() -> CapturedStep:
        if stepper.on:
            raise RuntimeError("InductorError: PassManager::run failed")
        return step("plain")

    captured = Captured(make, None)
    assert captured.step() == "plain"
    assert captured.compile(cast(Stepper, stepper)) == "RuntimeError: InductorError: PassManager::run failed"
    assert not stepper.on
    assert captured.step() == "plain"
    assert captured.why_not is None


def test_a_compiled_step_takes_the_place_of_the_plain_one() -> None:
    stepper = Compiler()
    captured = Captured(lambda: step("compiled" if stepper.on else "plain"), None)
    assert captured.step() == "plain"
    assert captured.compile(cast(Stepper, stepper)) is None
    assert captured.step() == "compiled"


def test_a_dropped_step_is_captured_again_on_next_use() -> None:
    made: list[Any] = []
    captured = Captured(lambda: made.append(len(made)) or step(str(len(made))), None)  # type: ignore[func-returns-value]
    assert (captured.step(), captured.step()) == ("1", "1")
    captured.drop()
    assert captured.step() == "2"


def test_what_can_have_no_graph_is_never_captured() -> None:
    def make() -> CapturedStep:
        raise AssertionError("was captured")

    assert Captured(make, "the signals are not resident on a GPU").step() is None


def test_the_second_gpu_becomes_the_current_one_before_anything_is_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    """And only where training begins: who lists the GPUs touches none of them."""
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    device = device_of("cuda:1")
    assert not chosen
    device.make_current()
    assert chosen == [torch.device("cuda:1")]
    assert device_of("cuda").torch == torch.device("cuda:0")
