"""How does training time grow with recordings, channels and batch, and what do two jobs at once cost?

    python benchmarks/scaling.py --device cpu --model EEGNeX --parts batch channels recordings jobs

Windows per second of the engine's own steps on synthetic signals; one JSON line a point. `jobs`: two processes at
once against one alone on the same device; on a CPU each of the two takes half the threads.
"""

import argparse
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import torch  # noqa: E402

from benchmarks.synthetic import synthetic  # noqa: E402
from jobs.spec import JobSpec  # noqa: E402
from worker.data.prepared import Prepared  # noqa: E402
from worker.data.windows import Signals, WindowIndex  # noqa: E402
from worker.training.device import device_of  # noqa: E402
from worker.training.parts import Parts, assemble  # noqa: E402

Row = dict[str, Any]


def main() -> None:
    options = parse()
    points = {"batch": by_batch, "channels": by_channels, "recordings": by_recordings, "jobs": by_jobs}
    for part in options.parts:
        for row in points[part](options):
            print(json.dumps({"part": part, "model": options.model, "device": options.device} | row), flush=True)


def by_batch(options: argparse.Namespace) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        data = synthetic(Path(folder), 2 * max(options.batches), 8)
        for batch in options.batches:
            yield {"batch": batch, "windows_per_s": speed(parts_of(options, data, batch), options.seconds)}


def by_channels(options: argparse.Namespace) -> Iterator[Row]:
    for n_chans in options.channels:
        with tempfile.TemporaryDirectory() as folder:
            data = synthetic(Path(folder), 1024, 8, n_chans)
            yield {"n_chans": n_chans, "windows_per_s": speed(parts_of(options, data, 128), options.seconds)}


def by_recordings(options: argparse.Namespace) -> Iterator[Row]:
    """The same windows a recording, so ever more of them: an epoch's time should follow, and nothing else."""
    for n in options.recordings:
        with tempfile.TemporaryDirectory() as folder:
            data = spread(synthetic(Path(folder), 40 * n, 8), Path(folder), n)
            began = time.perf_counter()
            parts = parts_of(options, data, 128)
            ready_s = time.perf_counter() - began
            windows_per_s = speed(parts, options.seconds)
            yield {"recordings": n, "windows": 40 * n, "ready_s": round(ready_s, 2), "windows_per_s": windows_per_s,
                   "epoch_s": round(40 * n / windows_per_s, 2)}  # fmt: skip


def by_jobs(options: argparse.Namespace) -> Iterator[Row]:
    """Two at once against one: a sum above one alone is what sharing wins over one after the other."""
    threads = torch.get_num_threads()
    alone = at_once(options, 1, threads)
    together = at_once(options, 2, max(1, threads // 2) if options.device == "cpu" else threads)
    yield {"alone": alone, "two_at_once": together, "gain": round(sum(together) / sum(alone), 2)}


def at_once(options: argparse.Namespace, n: int, threads: int) -> list[float]:
    context = multiprocessing.get_context("spawn")
    barrier, queue = context.Barrier(n), context.Queue()
    jobs = [context.Process(target=job, args=(options, threads, barrier, queue), daemon=True) for _ in range(n)]
    for process in jobs:
        process.start()
    try:
        return [queue.get(timeout=120) for _ in jobs]
    finally:
        for process in jobs:
            process.terminate()


def job(options: argparse.Namespace, threads: int, barrier: Any, queue: Any) -> None:
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        parts = parts_of(options, synthetic(Path(folder), 1024, 8), 128)
        advance(parts, 4)
        barrier.wait(100)
        queue.put(for_a_while(parts, 3 * options.seconds, 1 if options.device == "cpu" else 50))


def parts_of(options: argparse.Namespace, data: Prepared, batch: int) -> Parts:
    spec = JobSpec.model_validate({"model": options.model, "training": {"batch_size": batch, "epochs": 10_000}})
    return assemble(spec, data, device_of(options.device))


def spread(data: Prepared, folder: Path, n: int) -> Prepared:
    """The training windows' one file under n names, the windows shared out among them."""
    train = data.train
    paths = tuple(folder / f"{i}.f32" for i in range(n))
    for path in paths:
        path.hardlink_to(train.signals.paths[0])
    recording = (np.arange(len(train)) % n).astype(np.int32)
    index: WindowIndex = replace(
        train, recording=recording, recordings=tuple(map(str, range(n))),
        signals=Signals(paths, train.signals.n_times * n, train.n_chans),
    )  # fmt: skip
    return replace(data, train=index)


def speed(parts: Parts, seconds: float) -> float:
    """Windows a second, the median of three rounds of about `seconds` each."""
    advance(parts, 3)
    started = time.perf_counter()
    advance(parts, 3)
    steps = max(1, min(200, int(seconds * 3 / (time.perf_counter() - started))))
    rounds = []
    for _ in range(3):
        started = time.perf_counter()
        advance(parts, steps)
        rounds.append(steps * parts.schedule.batch_size / (time.perf_counter() - started))
    return round(statistics.median(rounds), 1)


def for_a_while(parts: Parts, seconds: float, steps: int) -> float:
    """Windows a second; a fixed time, so that neither of two is left alone with the device."""
    started, n = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        advance(parts, steps)
        n += steps
    return round(n * parts.schedule.batch_size / (time.perf_counter() - started), 1)


def advance(parts: Parts, steps: int) -> None:
    first = int(parts.state.step)
    for _ in parts.enqueue(first, first + steps):
        pass
    assert int(parts.state.step) == first + steps


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", default="EEGNeX")
    parser.add_argument("--parts", nargs="+", default=["batch", "channels", "recordings", "jobs"])
    parser.add_argument("--batches", nargs="+", type=int, default=[8, 32, 128, 512])
    parser.add_argument("--channels", nargs="+", type=int, default=[8, 16, 32, 64, 129])
    parser.add_argument("--recordings", nargs="+", type=int, default=[10, 40, 160, 640])
    parser.add_argument("--seconds", type=float, default=1.0)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
