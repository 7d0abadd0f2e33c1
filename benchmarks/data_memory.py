"""Whether R1-R3 prepare and train within 8 GiB: real events, traits and durations, signals of that size.

    python benchmarks/data_memory.py --events-from R1 R2 R3 --folder PLACE [--limit-gib 8] [--save]

PLACE needs 40 GB for all three. Every signal is a stretch of one simulated recording, beginning elsewhere in each, so
that 16 GB are written in minutes. A job of one epoch is run by the trainer alone. Where control groups can be made
(Linux, root) it runs in one with that limit, which counts the page cache too: the kernel kills what goes past it.
Peaks are the largest sum over the trainer and its readers: `own_mb` of memory that is no file's, `resident_mb` with
the pages of files that they map. A second job on the same data is timed to the end of its preparing.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import facts, save

ROOT = Path(__file__).resolve().parents[1]
GROUPS = Path("/sys/fs/cgroup/memory")
SFREQ = 100
TEMPLATE_S = 3600
GIB = 2**30


def main() -> None:
    options = _options()
    data = options.folder / "data"
    if not data.exists():
        _write(data, options.events_from, options.subjects)
    files = list(data.glob("*/sub-*/eeg/*_eeg.bdf"))
    result: dict[str, Any] = {
        "machine": facts(),
        "releases": [root.name for root in options.events_from],
        "subjects_a_release": options.subjects or "all",
        "recordings": len(files),
        "gigabytes": round(sum(file.stat().st_size for file in files) / 1e9, 2),
        "limit_gib": options.limit_gib if GROUPS.exists() else None,
        "first job": _train(options, "first"),
        "second job": _train(options, "second"),
    }
    result["store_gigabytes"] = round(sum(f.stat().st_size for f in options.folder.rglob("signal.f32")) / 1e9, 2)
    print(json.dumps(result, indent=2))
    if options.save:
        print(save("data_memory", result))


def _write(data: Path, roots: list[Path], subjects: int | None) -> None:
    from jobs.spec import HBN_CHANNELS
    from worker.data.simulate.layout import recording_folder, write_sidecars, write_study
    from worker.data.simulate.script import CONTRAST_CHANGE, from_metadata

    header, seconds = _template(data.parent)
    rng = np.random.default_rng(0)
    for root in roots:
        study = from_metadata(root, root.name, subjects, (CONTRAST_CHANGE,))
        write_study(data / root.name, study)
        for script in study.recordings:
            write_sidecars(data / root.name, script, SFREQ, HBN_CHANNELS)
            first = rng.integers(0, len(seconds) - script.duration_s)
            path = recording_folder(data / root.name, script) / f"{script.stem}_eeg.bdf"
            with path.open("wb") as file:
                file.write(header[:236] + str(script.duration_s).ljust(8).encode() + header[244:])
                file.write(seconds[first : first + script.duration_s].data)


def _template(folder: Path) -> tuple[bytes, np.ndarray]:
    """The header of a BDF file, and its records of one second: (n, bytes of a record)."""
    from jobs.spec import HBN_CHANNELS
    from worker.data.simulate.bdf import HEADER_BYTES, write_bdf
    from worker.data.simulate.signals import Trace, simulate_eeg

    folder.mkdir(parents=True, exist_ok=True)
    path, trace = folder / "template.bdf", Trace(np.empty(0), np.empty(0), None, 0.0)
    write_bdf(path, simulate_eeg(129, TEMPLATE_S * SFREQ, SFREQ, trace, (0,)), SFREQ, HBN_CHANNELS)
    content = path.read_bytes()
    path.unlink()
    n_bytes = HEADER_BYTES * (len(HBN_CHANNELS) + 1)
    return content[:n_bytes], np.frombuffer(content[n_bytes:], np.uint8).reshape(TEMPLATE_S, -1)


def _train(options: argparse.Namespace, name: str) -> dict[str, Any]:
    spec = options.folder / f"{name}.json"
    spec.write_text(json.dumps({"task": "challenge1", "dataset": "all", "training": {"epochs": 1}}))
    places = [f"--{place}={options.folder / place}" for place in ("data", "cache", "runs")]
    command = [sys.executable, "-W", "ignore", "-m", "worker.training", str(spec), "--device", "cpu", *places]
    with _group(options.limit_gib) as group:
        started_s = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=ROOT, stderr=subprocess.PIPE, text=True, preexec_fn=lambda: group.enter(os.getpid())
        )
        watch = _Watch(process.pid)
        lines = []
        assert process.stderr is not None
        for line in process.stderr:
            lines.append((time.perf_counter() - started_s, line.rstrip()))
        status = process.wait()
        peaks = watch.end()
        return {
            "status": status,
            "prepared_after_s": next((round(at, 1) for at, line in lines if "phase=loading" in line), None),
            "training_after_s": next((round(at, 1) for at, line in lines if "phase=training" in line), None),
            "seconds": round(time.perf_counter() - started_s, 1),
            **peaks,
            **group.peak(),
            "last_words": lines[-1][1][-400:] if lines else "",
        }


class _group:
    """A memory control group with a limit, where one can be made; else nothing."""

    def __init__(self, limit_gib: float) -> None:
        self._limit, self._path = int(limit_gib * GIB), GROUPS / f"eegq-{os.getpid()}"

    def __enter__(self) -> "_group":
        try:
            self._path.mkdir()
            (self._path / "memory.limit_in_bytes").write_text(str(self._limit))
        except OSError:
            self._path = Path()
        return self

    def enter(self, pid: int) -> None:
        if self._path.name:
            (self._path / "cgroup.procs").write_text(str(pid))

    def peak(self) -> dict[str, Any]:
        if not self._path.name:
            return {}
        most = int((self._path / "memory.max_usage_in_bytes").read_text())
        return {"group_peak_mb": round(most / 2**20), "limit_reached_times": self._number("memory.failcnt")}

    def _number(self, name: str) -> int:
        return int((self._path / name).read_text())

    def __exit__(self, *_: object) -> None:
        if self._path.name:
            self._path.rmdir()


class _Watch:
    def __init__(self, pid: int) -> None:
        self._pid, self._done, self._peaks = pid, threading.Event(), {"own_mb": 0, "resident_mb": 0}
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> dict[str, int]:
        self._done.set()
        self._thread.join()
        return self._peaks

    def _run(self) -> None:
        from data_build import descendants, memory_mb

        while not self._done.wait(0.1):
            pids = [self._pid, *descendants(self._pid)]
            for name, key in (("own_mb", "RssAnon"), ("resident_mb", "VmRSS")):
                self._peaks[name] = max(self._peaks[name], round(sum(memory_mb(pid, key) for pid in pids)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--events-from", type=Path, nargs="+", required=True, help="BIDS roots with real metadata")
    parser.add_argument("--folder", type=Path, required=True, help="where recordings, store and runs go; kept")
    parser.add_argument("--subjects", type=int, help="of each release; default all")
    parser.add_argument("--limit-gib", type=float, default=8.0)
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/")
    return parser.parse_args()


if __name__ == "__main__":
    main()
