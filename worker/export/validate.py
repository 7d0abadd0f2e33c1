"""Tries a submission.zip out before anybody gets it: a clean folder, a clean process, real windows where there are any.

Knows what must come out, not how the zip was made.
"""

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jobs.spec import HBN_CHANNELS
from worker.data.errors import DataError, StorageUnavailable
from worker.data.prepare import prepare
from worker.export.errors import TriedOutBadly
from worker.export.finished import N_TIMES, FinishedRun
from worker.export.parts import Part
from worker.export.tryout import BATCHES
from worker.training.score import nrmse

UV_PER_V = 1e6
MOST_WINDOWS = 512
SIMULATED_WINDOWS = 64
LIMIT_S = 900.0
SLOWEST_S = 120.0  # a batch of 64 windows, on a busy CPU
TOLERANCE = 0.01  # of the targets' standard deviation: moves an NRMSE in its fifth digit
PLAUSIBLE = {"challenge2": (-5.0, 5.0)}


@dataclass(frozen=True)
class Check:
    """ok: None where it could not be made, and `detail` says why."""

    check: str
    ok: bool | None
    detail: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Given:
    """x_V: (n, 129, 200) volts, as the platform gives it. predicted, target: (n,), None for simulated windows."""

    x_V: Tensor
    predicted: np.ndarray | None
    target: np.ndarray | None
    note: str


def try_out(
    zip_path: Path, parts: Sequence[Part], data_dir: Path, cache_dir: Path, python: str = sys.executable
) -> tuple[list[Check], str]:
    """The checks, and the torch they were made with. Raises TriedOutBadly where it does not run at all."""
    given = {part.challenge: _given(part, data_dir, cache_dir) for part in parts}
    results = _run(zip_path, {challenge: each.x_V for challenge, each in given.items()}, python)
    checks = [check for part in parts for check in _checks(part, given[part.challenge], results[part.challenge])]
    return checks, results["torch"]


def _run(zip_path: Path, inputs: dict[str, Tensor], python: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="eegq-tryout-") as name:
        folder = Path(name)
        with zipfile.ZipFile(zip_path) as archive:
            archive.extractall(folder / "submission")
        (folder / "elsewhere").mkdir()
        torch.save(inputs, folder / "inputs.pt")
        script = Path(__file__).with_name("tryout.py")
        command = [python, "-I", str(script), str(folder / "submission"), str(folder / "inputs.pt"),
                   str(folder / "outputs.pt")]  # fmt: skip
        try:
            done = subprocess.run(command, cwd=folder / "elsewhere", capture_output=True, text=True, timeout=LIMIT_S,
                                  stdin=subprocess.DEVNULL)  # fmt: skip
        except subprocess.TimeoutExpired:
            raise TriedOutBadly(f"the submission did not come to an end within {LIMIT_S:g} s") from None
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"])[-1]
            raise TriedOutBadly(f"the submission does not run in a clean process: {last}")
        return torch.load(folder / "outputs.pt", weights_only=True)


# --- windows -------------------------------------------------------------------------------------------------------


def _given(part: Part, data_dir: Path, cache_dir: Path) -> Given:
    if part.run is None:
        return _simulated("a constant")
    try:
        return _validation_windows(part.run, data_dir, cache_dir)
    except (DataError, StorageUnavailable, OSError, LookupError) as error:
        return _simulated(f"the run's validation windows are not at hand: {error}")


def _validation_windows(run: FinishedRun, data_dir: Path, cache_dir: Path) -> Given:
    """As recorded: the run's own steps are the submission's business."""
    raw = run.spec.model_copy(update={"preprocess": ()})
    data = prepare(raw, run.sources, data_dir, cache_dir, steps_dir=run.own_code)
    index, table = data.validation, run.predictions()
    subjects = np.array(index.subjects)[index.subject]
    if not (np.array_equal(subjects, table["subject"]) and np.allclose(index.onset_s, table["onset_s"], rtol=1e-5)):
        raise LookupError("the data has changed since the run")
    rows = np.unique(np.linspace(0, len(index) - 1, min(len(index), MOST_WINDOWS)).astype(int))
    x_V = torch.zeros(len(rows), len(HBN_CHANNELS), N_TIMES)
    at = [HBN_CHANNELS.index(name) for name in data.ch_names]
    x_V[:, at] = torch.from_numpy(index.gather(rows)) / UV_PER_V
    return Given(
        x_V, table["prediction"][rows], table["target"][rows], f"{len(rows)} of {len(index)} validation windows"
    )


def _simulated(why: str) -> Given:
    noise = torch.randn(SIMULATED_WINDOWS, len(HBN_CHANNELS), N_TIMES, generator=torch.Generator().manual_seed(0))
    return Given(noise * 2e-5, None, None, why)


# --- what must come out --------------------------------------------------------------------------------------------


def _checks(part: Part, given: Given, result: dict[str, Any]) -> Iterator[Check]:
    name, y = part.challenge, result["y"].flatten().double()
    shapes = [[size, 1] for size in BATCHES]
    yield Check(f"{name}: shape", result["shapes"] == shapes, f"(B, 1) for B = {', '.join(map(str, BATCHES))}")
    yield Check(f"{name}: finite", bool(torch.isfinite(y).all()), f"{len(y)} windows")
    yield _range(part, y)
    yield _same(f"{name}: volts or microvolts", result["in_microvolts"], result["y"][: len(result["in_microvolts"])])
    yield _same(f"{name}: alone or in a batch", result["alone"], result["y"][: len(result["alone"])])
    seconds = result["seconds"][-1]
    told = f"{seconds:.3f} s for {BATCHES[-1]} windows, {result['load_s']:.2f} s to load"
    yield Check(f"{name}: time", seconds < SLOWEST_S, told)
    yield _as_in_training(part, given, y.numpy())


def _range(part: Part, y: Tensor) -> Check:
    low, high = part.limits or PLAUSIBLE[part.challenge]
    inside = bool(((y >= low) & (y <= high)).all())
    detail = f"{y.min():.3f} to {y.max():.3f}; {low:g} to {high:g} is {'possible' if part.limits else 'plausible'}"
    return Check(f"{part.challenge}: range", inside, detail)


def _same(name: str, one: Tensor, other: Tensor) -> Check:
    apart = float((one - other).abs().max())
    return Check(name, apart <= 1e-3 * (1.0 + float(other.abs().max())), f"at most {apart:.2g} apart")


def _as_in_training(part: Part, given: Given, y: np.ndarray) -> Check:
    """Equal to predictions.csv, or for steps that cannot be repeated on a window, how good it still is."""
    name = f"{part.challenge}: as in training"
    if given.predicted is None or given.target is None:
        return Check(name, None, given.note)
    predicted = np.clip(given.predicted, *part.limits) if part.limits else given.predicted
    score, trained = nrmse(y, given.target), nrmse(predicted, given.target)
    told = f"NRMSE {score:.4f}, {trained:.4f} in training, on {given.note}"
    if not part.exact:
        return Check(name, None, f"not the same by design: {told}")
    apart = float(np.abs(y - predicted).max())
    return Check(name, apart <= TOLERANCE * float(given.target.std()), f"at most {apart:.2g} apart; {told}")
