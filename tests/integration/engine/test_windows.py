"""A captured window is judged at its end: one that ended in a NaN is taken back whole and runs again, one by one."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from jobs.fault import FaultKind
from jobs.spec import Precision
from tests.integration.engine.conftest import Engine, Supervisor, assert_identical, weights
from worker.training.batches import ResidentBatches
from worker.training.capture import Captured, CapturedStep
from worker.training.drill import Driller
from worker.training.loop import FRUITLESS, Loop
from worker.training.step import Stepper

CPU = torch.device("cpu")
BAD = 5
FIRST = 3  # of the second epoch, and of its window


class Graph:
    """Stands for a CUDA graph: replaying is running. `after` is told which step it was."""

    def __init__(self, step: CapturedStep, after: Callable[[int], None]) -> None:
        self._step, self._after = step, after

    def replay(self) -> None:
        k = int(self._step._stepper.state.step)
        self._step._body()
        self._after(k)


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Loop]:
    """Makes a loop on the stand-in GPU whose windows are captured; `after` is called after each captured step."""
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    monkeypatch.setattr("worker.training.loop.WINDOW_S", 60.0)

    def make(engine: Engine, after: Callable[[Loop, int], None], supervisor: Supervisor, **fields: Any) -> Loop:
        loop = engine.loop(engine.spec(**fields), device="standin", supervisor=supervisor)
        parts, resident = loop.parts, ResidentBatches(loop.parts.data.train, CPU)
        monkeypatch.setattr(CapturedStep, "_capture", lambda step: Graph(step, lambda k: after(loop, k)))
        graph = Captured(lambda: CapturedStep(parts.stepper, resident, parts.schedule, False), None)
        loop.parts = loop._recovery._parts = replace(parts, train=resident, captured=graph)
        return loop

    return make


def spoil(loop: Loop, k: int) -> None:
    if k == BAD:
        with torch.no_grad():
            next(loop.parts.state.model.parameters()).view(-1)[0] = float("nan")


def committed(supervisor: Supervisor) -> list[int]:
    return [k for row in supervisor.of("commit") for k in range(row["first"], row["last"] + 1)]


def untouched(_loop: Loop, _k: int) -> None:
    return


def test_a_value_that_was_bad_once_costs_a_window_and_changes_nothing(
    engine: Engine, captured: Callable[..., Loop]
) -> None:
    sound, spoilt = Supervisor(), Supervisor()
    a = captured(engine, untouched, sound)
    a.run()
    (engine.folder / "runs" / "job").rename(engine.folder / "runs" / "sound")
    b = captured(engine, spoil, spoilt)
    b.run()
    assert not sound.of("warning")
    assert [w["message"] for w in spoilt.of("warning")] == ["steps 3-5 run again, one by one: a value is not finite"]
    assert not spoilt.of("fault")
    assert committed(spoilt) == committed(sound) == list(range(b.parts.steps))
    for of_sound, of_spoilt in zip(sound.of("metrics"), spoilt.of("metrics"), strict=True):
        assert of_spoilt["epoch"] == of_sound["epoch"]
        assert of_spoilt["train_loss"] == pytest.approx(of_sound["train_loss"], rel=1e-3)
    torch.testing.assert_close(weights(b), weights(a), rtol=1e-4, atol=1e-6)


def test_a_step_that_is_bad_every_time_moves_alone(
    engine: Engine, captured: Callable[..., Loop], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    due = Driller.due
    monkeypatch.setattr(Driller, "due", lambda self, first, last: len(seen) > 0 and due(self, first, last))

    def spoil_and_note(loop: Loop, k: int) -> None:
        spoil(loop, k)
        seen.append(True)

    supervisor = Supervisor(answer_ticket=engine.lane())
    loop = captured(engine, spoil_and_note, supervisor, drill=[{"kind": "nan", "step": BAD, "where": "optimizer"}])
    loop.run()
    assert [f["fault"]["kind"] for f in supervisor.of("fault")] == [FaultKind.NON_FINITE]
    assert [(r["first"], r["last"]) for r in supervisor.of("commit") if r["reason"]] == [(BAD, BAD)]
    assert committed(supervisor) == list(range(loop.parts.steps))


def test_an_exception_in_a_captured_window_takes_it_back_too(engine: Engine, captured: Callable[..., Loop]) -> None:
    raised: list[int] = []

    def fail_once(_loop: Loop, k: int) -> None:
        if k == BAD and not raised:
            raised.append(k)
            raise torch.OutOfMemoryError("HIP out of memory. Tried to allocate 2.00 GiB")

    supervisor = Supervisor()
    loop = captured(engine, fail_once, supervisor)
    loop.run()
    assert raised
    assert committed(supervisor) == list(range(loop.parts.steps))
    assert not supervisor.of("fault")


def test_a_graph_that_is_never_right_is_given_up(engine: Engine, captured: Callable[..., Loop]) -> None:
    def always(loop: Loop, _k: int) -> None:
        spoil(loop, BAD)

    supervisor = Supervisor()
    loop = captured(engine, always, supervisor, training={"epochs": 6})
    loop.run()
    assert "not finite" in (loop.parts.captured.why_not or "")
    assert committed(supervisor) == list(range(loop.parts.steps))
    assert [m["epoch"] for m in supervisor.of("metrics")] == [1, 2, 3, 4, 5, 6]
    assert len(supervisor.of("warning")) == FRUITLESS


def test_a_first_step_that_overflows_in_fp16_moves_and_the_window_goes_on(
    engine: Engine, captured: Callable[..., Loop], monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor = Supervisor(answer_ticket=engine.lane())
    loop = captured(engine, untouched, supervisor)
    stepper, state = loop.parts.stepper, loop.parts.state
    stepper.precision = Precision.FP16
    state.scale.fill_(1.0)
    mark = Stepper._mark

    def overflow(self: Stepper, values: list[torch.Tensor]) -> None:
        mark(self, values)
        if self is stepper and int(state.step) == FIRST:
            self._bad.fill_(1)

    monkeypatch.setattr(Stepper, "_mark", overflow)
    loop.run()
    assert committed(supervisor) == list(range(loop.parts.steps))
    assert [f["fault"]["step"] for f in supervisor.of("fault")] == [FIRST]
    assert len(supervisor.of("warning")) == 1


def test_what_is_committed_cannot_be_taken_back(engine: Engine, captured: Callable[..., Loop]) -> None:
    loop = captured(engine, untouched, Supervisor())
    loop._train_window()
    assert loop.k > 0
    before = weights(loop)
    assert not loop.parts.stepper.undo_window()
    assert_identical(weights(loop), before)


@pytest.mark.parametrize("optimizer", ["adamw", "adamax", "sgd"])
@pytest.mark.parametrize("where", ["gradient", "buffer", "loss"])
def test_what_was_once_not_finite_is_still_seen_at_the_end(
    engine: Engine, captured: Callable[..., Loop], optimizer: str, where: str
) -> None:
    """Whatever the optimizer: a bad gradient stays in weights or moments, a bad statistic in its buffer."""
    loop = captured(engine, untouched, Supervisor(), training={"optimizer": optimizer, "gradient_clip": 1.0})
    stepper, state = loop.parts.stepper, loop.parts.state
    rows = [loop.parts.schedule.rows(k) for k in range(4)]
    stepper.open_window()
    for at, row in enumerate(rows):
        x, y = loop.parts.train(row)
        if at == 1 and where == "gradient":
            x = x.clone()
            x[0] = float("inf")
        if at == 1 and where == "loss":
            y = y * float("inf")
        stepper.in_window(x, y)
        if at == 1 and where == "buffer":
            next(b for b in state.model.buffers() if b.is_floating_point())[0] = float("inf")
    stepper.judge_window()
    assert not bool(state.ok)
    assert stepper.undo_window()
    stepper.open_window()
    stepper.judge_window()
    assert bool(state.ok)
    assert int(state.step) == 0


def test_a_rate_that_lies_on_the_device_is_told_as_a_number(engine: Engine) -> None:
    supervisor = Supervisor()
    loop = engine.loop(engine.spec(), supervisor=supervisor)
    for group in loop.parts.state.optimizer.param_groups:
        group["lr"] = torch.tensor(group["lr"])
    loop.run()
    assert [row["lr"] for row in supervisor.of("metrics")] == [pytest.approx(0.001), pytest.approx(0.0005)]


@pytest.mark.parametrize(("model", "moves"), [("EEGMiner", True), ("SCCNet", False)])
def test_a_model_that_moves_its_parameters_is_not_captured(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, model: str, moves: bool
) -> None:
    """A graph would go on writing where they were. What the warm-up changed is put back either way."""
    monkeypatch.setattr(CapturedStep, "_warm_up", lambda step, _device: step._body())
    parts = engine.loop(engine.spec(model=model)).parts
    before = {name: t.clone() for name, t in parts.state.tensors().items()}
    resident = ResidentBatches(parts.data.train, CPU)
    captured = Captured(lambda: CapturedStep(parts.stepper, resident, parts.schedule, False), None)
    assert captured.step() is None  # without a GPU the second one fails too, but for another reason
    assert captured.why_not is not None
    assert ("moves parameters" in captured.why_not) == moves
    after = parts.state.tensors()
    assert [name for name, t in before.items() if not torch.equal(t, after[name])] == []
