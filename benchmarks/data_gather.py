"""How many windows a second reach a training loop: WindowIndex.gather against braindecode's windows on disk.

    python benchmarks/data_gather.py [--subjects 12] [--batch 128] [--seconds 5] [--repeats 5] [--data PLACE] [--save]

Both sides read the same simulated recordings (129 channels, 100 Hz, BDF), give random batches of Challenge 1 windows
as contiguous (B, 129, 200) float32 microvolts, and run in processes of their own, alternating, in one call, with a
warm page cache. `windows_per_own_cpu_s` counts the main process's processor time only, without DataLoader workers: on
a busy machine it is the steadier figure for the sides that have none.
"""

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from machine import facts, peak_mb, save


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        data, cache = options.data or Path(folder) / "data", Path(folder) / "cache"
        if not data.exists():
            _simulate(data, options.subjects)
        rates: dict[str, list[dict[str, float]]] = {name: [] for name in SIDES}
        until_s = time.monotonic() + options.limit_s
        for _ in range(options.repeats):
            for name in SIDES if time.monotonic() < until_s else ():
                rates[name].append(_in_own_process(name, data, cache, options.batch, options.seconds))
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


def _in_own_process(name: str, data: Path, cache: Path, batch: int, seconds: float) -> dict[str, float]:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measure, name, data, cache, batch, seconds).result()


def _measure(name: str, data: Path, cache: Path, batch: int, seconds: float) -> dict[str, float]:
    rng = np.random.default_rng(0)
    started_s = time.perf_counter()
    n_windows, one = SIDES[name](data, cache, batch)
    one(rng)
    first_batch_s = time.perf_counter() - started_s
    for _ in range(3):
        assert tuple(np.shape(one(rng))) == (batch, 129, 200)
    started_s, started_cpu_s, n = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - started_s < seconds:
        one(rng)
        n += batch
    return {
        "windows_per_s": n / (time.perf_counter() - started_s),
        "windows_per_own_cpu_s": n / (time.process_time() - started_cpu_s),
        "windows": n_windows,
        "first_batch_s": first_batch_s,
        "peak_mb": peak_mb(),
    }


def _summary(rates: dict[str, list[dict[str, float]]], options: argparse.Namespace) -> dict[str, object]:
    median = {
        name: {key: round(statistics.median(run[key] for run in runs), 3) for key in runs[0]}
        for name, runs in rates.items()
    }
    best = max(median[name]["windows_per_s"] for name in median if name.startswith("braindecode"))
    return {
        "machine": facts(),
        "batch": options.batch,
        "repeats": len(rates["gather"]),
        "median": median,
        "gather_over_best_braindecode": round(median["gather"]["windows_per_s"] / best, 1),
        "slab_over_best_braindecode": round(median["slab"]["windows_per_s"] / best, 1),
        "all_windows_per_s": {name: [round(run["windows_per_s"]) for run in runs] for name, runs in rates.items()},
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--subjects", type=int, default=12)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--limit-s", type=float, default=600.0, help="no further repeat is begun after this")
    parser.add_argument("--data", type=Path, help="recordings, simulated where they are not there yet, and kept")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/")
    return parser.parse_args()


if __name__ == "__main__":
    main()
