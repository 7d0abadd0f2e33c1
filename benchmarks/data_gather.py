"""How many windows a second reach a training loop: WindowIndex.gather against braindecode's windows on disk.

    python benchmarks/data_gather.py [--subjects 12] [--batch 128] [--seconds 5] [--repeats 5]
        [--data PLACE] [--lock FILE] [--save]

Both sides read the same simulated recordings (129 channels, 100 Hz, BDF) and give random batches of Challenge 1 windows
as contiguous (B, 129, 200) float32 microvolts, in processes of their own that are ready before the first is measured,
by turns, with a warm page cache. `windows_per_cpu_s` counts the processor time of a side with all its DataLoader
workers (Linux): on a busy machine it is the steadier figure. `--lock` is taken before measuring begins.
"""

import argparse
import fcntl
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from data_build import descendants
from machine import facts, peak_mb, save


def main() -> None:
    options = _options()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        data, cache = options.data or folder / "data", folder / "cache"
        if not data.exists():
            _simulate(data, options.subjects)
        spawn = multiprocessing.get_context("spawn")
        pools = {name: stack.enter_context(ProcessPoolExecutor(1, spawn)) for name in SIDES}
        opened = {name: pools[name].submit(_open, name, data, cache, options.batch).result() for name in SIDES}
        rates: dict[str, list[dict[str, float]]] = {name: [] for name in SIDES}
        if options.lock:
            fcntl.flock(stack.enter_context(options.lock.open("a")), fcntl.LOCK_EX)
        for _ in range(options.repeats):
            for name in SIDES:
                rates[name].append(opened[name] | pools[name].submit(_measure, options.seconds).result())
    result = _summary(rates, options)
    print(json.dumps(result, indent=2))
    if options.save:
        print(save("data_gather", result))


def gather(data: Path, cache: Path, batch: int) -> tuple[int, Callable[[np.random.Generator], object]]:
    """Memory-mapped tiles."""
    index = _prepared(data, cache).train
    return len(index), lambda rng: index.gather(rng.integers(0, len(index), batch))


def slab(data: Path, cache: Path, batch: int) -> tuple[int, Callable[[np.random.Generator], object]]:
    """The covered samples packed in memory, as an engine with room for them does."""
    index = _prepared(data, cache).train
    packed = index.slab()
    out = np.empty((batch, index.n_chans, index.n_times), np.float32)

    def one(rng: np.random.Generator) -> object:
        for window, start in zip(out, packed.start[rng.integers(0, len(index), batch)].tolist(), strict=True):
            window[...] = packed.signal[:, start : start + index.n_times]
        return out

    return len(index), one


def braindecode_lazy(data: Path, cache: Path, batch: int, workers: int = 0):  # type: ignore[no-untyped-def]
    """What the challenge's start kit does: windows read from the files, a DataLoader that shuffles."""
    from torch.utils.data import DataLoader

    windows = _braindecode_windows(data)
    windows.transform = _microvolts
    loader = DataLoader(windows, batch, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
    batches = _endless(loader)
    return len(windows), lambda rng: next(batches)


def braindecode_lazy_2_workers(data: Path, cache: Path, batch: int):  # type: ignore[no-untyped-def]
    return braindecode_lazy(data, cache, batch, workers=2)


SIDES = {side.__name__: side for side in (gather, slab, braindecode_lazy, braindecode_lazy_2_workers)}


def _microvolts(x: np.ndarray) -> np.ndarray:
    return (x * 1e6).astype(np.float32)


def _endless(loader):  # type: ignore[no-untyped-def]
    while True:
        for batch in loader:
            if len(batch[0]) == loader.batch_size:
                yield batch[0]


def _braindecode_windows(data: Path):  # type: ignore[no-untyped-def]
    import mne
    from braindecode.datasets import BaseConcatDataset, RawDataset
    from braindecode.preprocessing import create_windows_from_events

    from jobs.spec import CHALLENGES, EventWindows
    from worker.data.events import read_events
    from worker.data.trials import trial_table

    rules = CHALLENGES["challenge1"]
    assert isinstance(rules, EventWindows)
    recordings = []
    for path in sorted(data.glob("demo/sub-*/eeg/*contrastChangeDetection*_eeg.bdf")):
        raw = mne.io.read_raw_bdf(path, preload=False, verbose="error")
        events = read_events(path.with_name(path.name.replace("_eeg.bdf", "_events.tsv")), rules.mapping.stimulus)
        table = [trial for trial in trial_table(events, rules, raw.times[-1]) if trial.drop is None]
        onsets = [trial.stimulus_s for trial in table]
        raw.set_annotations(mne.Annotations(onsets, [0.0] * len(onsets), ["anchor"] * len(onsets)))
        recordings.append(RawDataset(raw))
    return create_windows_from_events(
        BaseConcatDataset(recordings), 50, 250, window_size_samples=200, window_stride_samples=200,
        mapping={"anchor": 0}, on_last_window="drop", preload=False,
    )  # fmt: skip


def _prepared(data: Path, cache: Path):  # type: ignore[no-untyped-def]
    from jobs.datasets import scan, select
    from jobs.spec import JobSpec
    from worker.data.prepare import prepare

    spec = JobSpec.model_validate(
        {"task": "challenge1", "dataset": "demo", "validation": {"by": "subject", "fraction": 0.05}}
    )
    return prepare(spec, select(scan(data), spec.dataset), data, cache)


def _simulate(data: Path, subjects: int) -> None:
    from worker.data.simulate import simulate

    simulate(data / "demo", subjects=subjects, runs=3, trials=24, tasks=("contrastChangeDetection",))


_SIDE: dict[str, Any] = {}


def _open(name: str, data: Path, cache: Path, batch: int) -> dict[str, float]:
    """In the side's own process: everything up to its first batch, and a few more."""
    started_s = time.perf_counter()
    n_windows, one = SIDES[name](data, cache, batch)
    rng = np.random.default_rng(0)
    one(rng)
    first_batch_s = time.perf_counter() - started_s
    for _ in range(3):
        assert tuple(np.shape(one(rng))) == (batch, 129, 200)
    _SIDE.update(one=one, rng=rng, batch=batch)
    return {"windows": n_windows, "first_batch_s": first_batch_s}


def _measure(seconds: float) -> dict[str, float]:
    started_s, started_cpu_s, n = time.perf_counter(), _cpu_s(), 0
    while time.perf_counter() - started_s < seconds:
        _SIDE["one"](_SIDE["rng"])
        n += _SIDE["batch"]
    return {
        "windows_per_s": n / (time.perf_counter() - started_s),
        "windows_per_cpu_s": n / (_cpu_s() - started_cpu_s),
        "peak_mb": peak_mb(),
    }


def _cpu_s() -> float:
    """Processor time of this process and of those below it that live."""
    pids = [os.getpid(), *descendants(os.getpid())]
    ticks = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13] for pid in pids]
    return sum(int(user) + int(system) for user, system in ticks) / os.sysconf("SC_CLK_TCK")


def _summary(rates: dict[str, list[dict[str, float]]], options: argparse.Namespace) -> dict[str, object]:
    median = {
        name: {key: round(statistics.median(run[key] for run in runs), 3) for key in runs[0]}
        for name, runs in rates.items()
    }

    def over_best_braindecode(side: str, unit: str) -> float:
        best = max(median[name][unit] for name in median if name.startswith("braindecode"))
        return round(median[side][unit] / best, 1)

    return {
        "machine": facts(),
        "batch": options.batch,
        "repeats": len(rates["gather"]),
        "median": median,
        "over_best_braindecode": {
            f"{side}, {unit}": over_best_braindecode(side, unit)
            for side in ("gather", "slab")
            for unit in ("windows_per_s", "windows_per_cpu_s")
        },
        "all_windows_per_s": {name: [round(run["windows_per_s"]) for run in runs] for name, runs in rates.items()},
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--subjects", type=int, default=12)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--lock", type=Path, help="file to lock while measuring, on a machine that others use")
    parser.add_argument("--data", type=Path, help="recordings, simulated where they are not there yet, and kept")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/")
    return parser.parse_args()


if __name__ == "__main__":
    main()
