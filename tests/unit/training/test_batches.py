"""Batches are the same wherever the signals lie, and a captured window of steps is the same as steps one by one."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks.synthetic import index as synthetic_index
from benchmarks.synthetic import synthetic
from jobs.spec import JobSpec
from worker.data.windows import WindowIndex
from worker.training import batches as batches_module
from worker.training import capture
from worker.training.batches import HostBatches, ResidentBatches, batches_of
from worker.training.capture import Captured, CapturedStep
from worker.training.device import device_of
from worker.training.evaluate import EVALUATION_BATCH, predict
from worker.training.parts import Parts, assemble, why_not_captured

CPU = torch.device("cpu")


@pytest.fixture
def index(tmp_path: Path) -> WindowIndex:
    """Windows that overlap, lie apart and are out of order, with room for crops."""
    plain = synthetic_index(tmp_path / "signals.f32", 40, 3)
    start = np.array([0, 500, 130, 7000, 7050, 3000, 120, 6000], np.int64)
    return replace(plain.take(np.arange(len(start))), start=start, n_times=100, max_shift=20)


@pytest.mark.parametrize("shifts", [None, np.array([0, 20, 7, 13, 1], np.int64)])
def test_resident_batches_are_those_of_the_memory_map(index: WindowIndex, shifts: np.ndarray | None) -> None:
    rows = np.array([7, 0, 3, 3, 4])
    host, resident = HostBatches(index, CPU)(rows, shifts), ResidentBatches(index, CPU)(rows, shifts)
    for ours, theirs in zip(resident, host, strict=True):
        assert torch.equal(ours, theirs)
        assert ours.is_contiguous()


def test_only_what_windows_cover_is_resident(index: WindowIndex) -> None:
    covered = 250 + 120 + 170 + 120 + 120  # 0-250, 500-620, 7000-7170, 3000-3120, 6000-6120
    assert ResidentBatches(index, CPU)._signal_CS.shape == (3, covered)


@pytest.mark.parametrize(("free", "kind"), [(1e9, "resident"), (1e3, "host")])
def test_signals_go_to_the_gpu_where_half_its_free_memory_holds_them(
    index: WindowIndex, free: float, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches_module, "free_bytes", lambda device: free)
    monkeypatch.setattr(batches_module, "ResidentBatches", lambda index, device: "resident")
    monkeypatch.setattr(batches_module, "HostBatches", lambda index, device: "host")
    assert batches_of(index, torch.device("cuda")) == kind
    assert batches_of(index, CPU) == "host"


def test_every_window_is_predicted_once_in_order_and_in_evaluation_mode(tmp_path: Path) -> None:
    n = EVALUATION_BATCH + 9
    index = synthetic_index(tmp_path / "signals.f32", n, 2)

    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert not self.training
            return x.mean((1, 2))[:, None]

    beats: list[None] = []
    model = Net().train()
    predicted = predict(model, index, HostBatches(index, CPU), alive=lambda: beats.append(None))
    np.testing.assert_allclose(predicted, index.gather(np.arange(n)).mean((1, 2)), rtol=1e-4, atol=1e-6)
    assert len(beats) == 2


@pytest.mark.parametrize("model", ["EEGNet", "ShallowFBCSPNet"])
def test_a_model_that_is_evaluated_first_can_be_trained_then(tmp_path: Path, model: str) -> None:
    data = synthetic(tmp_path, 16, 8, n_chans=4)
    spec = JobSpec.model_validate({"model": model, "training": {"batch_size": 8, "epochs": 1}})
    parts = assemble(spec, data, device_of("cpu"))
    predict(parts.state.model, data.validation, parts.validation, alive=lambda: None)
    assert [*parts.enqueue(0, 2)] == [1, 2]
    assert int(parts.state.step) == 2


class Graph:
    """Stands for a CUDA graph: replaying is running."""

    def __init__(self, replay: Any) -> None:
        self.replay = replay


def capture_on_cpu(self: CapturedStep) -> Any:
    """CapturedStep's own order of events, without a GPU."""
    state = self._stepper.state
    before = {name: t.clone() for name, t in state.tensors().items()}
    for _ in range(capture.WARM_UP):
        self._body()
    self._stepper.restart(before)
    self._cursor.zero_()
    return Graph(self._body)


def parts_of(folder: Path, optimizer: str, max_shift: int, captured: bool) -> Parts:
    data = synthetic(folder, 60, 10, n_chans=4)
    train = replace(data.train, n_times=180, max_shift=max_shift)
    data = replace(data, train=train, validation=replace(data.validation, n_times=180, max_shift=max_shift))
    spec = JobSpec.model_validate({
        "model": "EEGNet", "training": {"batch_size": 8, "epochs": 5, "optimizer": optimizer, "lr": 1e-2},
    })  # fmt: skip
    parts = assemble(spec, data, device_of("cpu"))
    if captured:
        resident = ResidentBatches(train, CPU)
        make = lambda: CapturedStep(parts.stepper, resident, parts.schedule, max_shift > 0)  # noqa: E731
        parts = replace(parts, train=resident, captured=Captured(make, None))
    return parts


@pytest.mark.parametrize("max_shift", [0, 20])
@pytest.mark.parametrize("optimizer", ["adamw", "adamax", "sgd"])
def test_captured_steps_are_the_steps_one_by_one(
    tmp_path: Path, optimizer: str, max_shift: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CapturedStep, "_capture", capture_on_cpu)
    monkeypatch.setattr(Tensor, "pin_memory", lambda self: self)
    plain, captured = (parts_of(tmp_path, optimizer, max_shift, captured=c) for c in (False, True))
    for first, last in ((0, 3), (3, 7), (7, 9)):  # an epoch has seven steps, and a window ends with it
        for parts in (plain, captured):
            assert [*parts.enqueue(first, last)] == [*range(first + 1, last + 1)]
    assert captured.captured.why_not is None
    torch.testing.assert_close(captured.state.tensors(), plain.state.tensors(), rtol=1e-5, atol=1e-6)


def test_a_run_says_why_it_has_no_graph(tmp_path: Path) -> None:
    parts = parts_of(tmp_path, "adamw", 0, captured=True)
    resident, built = cast(ResidentBatches, parts.train), parts.built
    assert why_not_captured(parts.spec, built, resident) is None
    reasons = {
        why_not_captured(parts.spec, built, HostBatches(parts.data.train, CPU)),
        why_not_captured(parts.spec, replace(built, moves_batches=False), resident),
        why_not_captured(
            parts.spec.model_copy(update={"training": parts.spec.training.model_copy(update={"deterministic": True})}),
            built,
            resident,
        ),
    }
    assert None not in reasons
    assert len(reasons) == 3
