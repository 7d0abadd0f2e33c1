"""How fast recordings come from BIDS folders into the store, against MNE reading the same files once.

    python benchmarks/data_build.py [--subjects 12] [--events-from ROOT ...] [--budget-gib 8] [--data PLACE] [--save]

The store's side does more than the reading: it digests the content, checks every channel, writes and syncs the
result, cuts and splits the windows. Both sides count the start of the processes that read; on a busy machine the
processor time a recording is the steadier figure. Then a second job on the same data: time to its first batch, in a
fresh process. Peak memory is the largest sum over the processes of a side of their own (not file-backed) memory.

`--events-from` takes the roots of real releases (metadata only) and simulates signals of their real durations.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import statistics
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from machine import facts, save


def main() -> None:
    options = _options()
    folder = Path(tempfile.mkdtemp(dir=options.data and options.data.parent))
    try:
        data = options.data or folder / "data"
        if not data.exists():
            _simulate(data, options)
        files = sorted(data.glob("*/sub-*/eeg/*contrastChangeDetection*_eeg.bdf"))
        result = _measure_all(data, folder / "cache", files, options)
    finally:
        shutil.rmtree(folder)
    print(json.dumps(result, indent=2))
    if options.save:
        print(save("data_build" if not options.events_from else "data_build-real-events", result))


def _measure_all(data: Path, cache: Path, files: list[Path], options: argparse.Namespace) -> dict[str, Any]:
    megabytes = sum(file.stat().st_size for file in files) / 1e6
    sides = {
        "store, 2 builders": lambda: _build(data, cache, 2, options.budget_gib),
        "store, 1 builder": lambda: _build(data, cache, 1, options.budget_gib),
        "MNE, 1 process": lambda: _mne(files, 1),
        "MNE, 2 processes": lambda: _mne(files, 2),
    }
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    until_s = time.monotonic() + options.limit_s
    for _ in range(options.repeats):
        for name, side in sides.items() if time.monotonic() < until_s else ():
            runs[name].append(_timed(side))
    _build(data, cache, 2, options.budget_gib)
    seconds = {name: statistics.median(run["seconds"] for run in many) for name, many in runs.items()}
    return {
        "machine": facts(),
        "recordings": len(files),
        "megabytes": round(megabytes),
        "repeats": len(runs["MNE, 1 process"]),
        "budget_gib": options.budget_gib,
        "recordings_per_s": {name: round(len(files) / s, 1) for name, s in seconds.items()},
        "megabytes_per_s": {name: round(megabytes / s, 1) for name, s in seconds.items()},
        "peak_mb": {name: round(max(run["peak_mb"] for run in many)) for name, many in runs.items()},
        "cpu_s_a_recording": {
            name: round(statistics.median(run["cpu_s"] for run in many) / len(files), 3) for name, many in runs.items()
        },
        "seconds": {name: [round(run["seconds"], 2) for run in many] for name, many in runs.items()},
        "second_job": _in_fresh_process(_second_job, data, cache),
    }


def _build(data: Path, cache: Path, workers: int, budget_gib: float) -> tuple[float, float]:
    shutil.rmtree(cache, ignore_errors=True)
    return _in_fresh_process(_prepare, data, cache, workers, budget_gib)


def _prepare(data: Path, cache: Path, workers: int, budget_gib: float):  # type: ignore[no-untyped-def]
    import braindecode.preprocessing  # noqa: F401  a trainer has it already, for its model

    from jobs.datasets import scan, select
    from jobs.spec import JobSpec
    from worker.data.prepare import prepare

    started_s, started_cpu_s = time.perf_counter(), _cpu_s()
    spec = JobSpec.model_validate({"task": "challenge1", "dataset": "all"})
    prepare(
        spec, select(scan(data), spec.dataset), data, cache,
        memory_budget_bytes=int(budget_gib * 2**30), workers=workers,
    )  # fmt: skip
    return time.perf_counter() - started_s, _cpu_s() - started_cpu_s


def _second_job(data: Path, cache: Path) -> dict[str, float]:
    """In a trainer that has imported what it needs, as a warm spare has: from its orders to its first batch."""
    import numpy as np

    from jobs.datasets import scan, select
    from jobs.spec import JobSpec
    from worker.data.prepare import prepare
    from worker.training.device import device_of
    from worker.training.nursery import warm_up
    from worker.training.parts import assemble

    warm_up()
    started_s, started_cpu_s = time.perf_counter(), time.process_time()
    spec = JobSpec.model_validate({"task": "challenge1", "dataset": "all"})
    found = prepare(spec, select(scan(data), spec.dataset), data, cache)
    prepared_s = time.perf_counter() - started_s
    parts = assemble(spec, found, device_of("cpu"))
    parts.train(np.random.default_rng(0).integers(0, len(found.train), 128))
    return {
        "prepared_s": round(prepared_s, 3),
        "first_batch_s": round(time.perf_counter() - started_s, 3),
        "cpu_s": round(time.process_time() - started_cpu_s, 3),
        "train_windows": len(found.train),
    }


def _mne(files: list[Path], processes: int) -> tuple[float, float]:
    started_s, started_cpu_s = time.perf_counter(), _cpu_s()
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(_read, files, chunksize=max(1, len(files) // processes // 4)))
    return time.perf_counter() - started_s, _cpu_s() - started_cpu_s


def _cpu_s() -> float:
    """Processor time of this process and of its children that have ended."""
    return sum(os.times()[:4])


def _read(path: Path) -> float:
    import mne

    return float(mne.io.read_raw_bdf(path, preload=True, verbose="error").get_data()[0, 0])


def _in_fresh_process(function, *arguments):  # type: ignore[no-untyped-def]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def _timed(side) -> dict[str, float]:  # type: ignore[no-untyped-def]
    peak, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            peak[0] = max(peak[0], sum(memory_mb(pid, "RssAnon") for pid in descendants(os.getpid())))

    watcher = threading.Thread(target=watch)
    watcher.start()
    seconds, cpu_s = side()
    done.set()
    watcher.join()
    return {"seconds": seconds, "cpu_s": cpu_s, "peak_mb": peak[0]}


def descendants(pid: int) -> list[int]:
    try:
        children = [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += [int(c) for c in (task / "children").read_text().split()]
    except OSError:
        return []
    children = sorted(set(children))
    return children + [below for child in children for below in descendants(child)]


def memory_mb(pid: int, key: str) -> float:
    """RssAnon: what is no file's; VmRSS: the mapped pages of files too."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{key}:")) / 1024


def _simulate(data: Path, options: argparse.Namespace) -> None:
    from worker.data.simulate import simulate

    if not options.events_from:
        simulate(data / "demo", options.subjects, runs=3, trials=60, tasks=("contrastChangeDetection",))
    for root in options.events_from:
        release = root.name
        simulate(data / release, None, release=release, tasks=("contrastChangeDetection",), events_from=root)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--subjects", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--events-from", type=Path, nargs="+", default=[])
    parser.add_argument("--budget-gib", type=float, default=8.0)
    parser.add_argument("--limit-s", type=float, default=1800.0, help="no further repeat is begun after this")
    parser.add_argument("--data", type=Path, help="recordings, simulated where they are not there yet, and kept")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/")
    return parser.parse_args()


if __name__ == "__main__":
    main()
