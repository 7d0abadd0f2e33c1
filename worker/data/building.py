"""Runs builders: as many processes as cores and memory allow, each fed one recording at a time.

Knows no signals; hands out requests and takes answers.
"""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.data import errors
from worker.data.builder import Request
from worker.data.errors import DataError, StorageUnavailable

BASE_BYTES = 300 << 20  # a builder with MNE loaded
DECODED_PER_FILE_BYTE = {".bdf": 4 / 3, ".edf": 2.0, ".vhdr": 2.0, ".set": 1.0}
COPIES = 4.0  # float32 copies of a recording at the peak, float64 blocks included

_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Built:
    """key: of the entry; None where the process died on it or the file cannot be opened, and `problem` says so."""

    request: Request
    key: str | None
    problem: str | None = None


def build_all(
    requests: Sequence[Request], cache_dir: Path, file_bytes: Sequence[int], memory_budget_bytes: int, workers: int
) -> Iterator[Built]:
    """Answers in the order in which they come. Raises DataError where a step fails, StorageUnavailable.

    Leaving early (an error, a closed generator) kills the builders; what they were building leaves no trace.
    """
    if not requests:
        return
    n = min(workers, len(requests), _how_many_fit(requests, file_bytes, memory_budget_bytes))
    waiting: queue.SimpleQueue[Request] = queue.SimpleQueue()
    for request in requests:
        waiting.put(request)
    answers: queue.SimpleQueue[Built | Exception] = queue.SimpleQueue()
    builders = [_Builder(cache_dir, waiting, answers) for _ in range(n)]
    try:
        for _ in requests:
            answer = answers.get()
            if isinstance(answer, Exception):
                raise answer
            yield answer
    finally:
        for builder in builders:
            builder.stop()


def peak_bytes(suffix: str, file_bytes: int) -> int:
    """What a builder holds at most while it works on a file of that size."""
    return int(BASE_BYTES + COPIES * DECODED_PER_FILE_BYTE[suffix] * file_bytes)


def _how_many_fit(requests: Sequence[Request], file_bytes: Sequence[int], memory_budget_bytes: int) -> int:
    peaks = [
        (peak_bytes(Path(request.path).suffix, size), request.path)
        for request, size in zip(requests, file_bytes, strict=True)
    ]
    largest, path = max(peaks)
    if largest > memory_budget_bytes:
        raise DataError(
            f"reading it needs {largest / 2**30:.1f} GiB of memory, and {memory_budget_bytes / 2**30:.1f} are allowed",
            recording=Path(path).name,
            remedy="raise the memory budget of the worker or leave the recording out",
        )
    return int(memory_budget_bytes // largest)


class _Builder:
    """One builder process and the thread that feeds it; a process that dies is replaced by the next request."""

    def __init__(self, cache_dir: Path, waiting: "queue.SimpleQueue[Request]", answers: "queue.SimpleQueue") -> None:
        self._cache_dir, self._waiting, self._answers = cache_dir, waiting, answers
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True, name="builder")
        self._thread.start()

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.kill()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stopped:
                request = self._waiting.get_nowait()
                self._answers.put(_read(request, self._ask(request)))
        except queue.Empty:
            pass
        except (DataError, StorageUnavailable, OSError) as error:
            self._answers.put(error)
        finally:
            self._close()

    def _ask(self, request: Request) -> dict[str, Any]:
        process = self._started()
        if process is None:
            return {"died": "stopped"}
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(request.to_json() + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if line:
            return json.loads(line)
        self._close()
        return {"died": f"the reader ended with status {process.returncode}"}

    def _started(self) -> "subprocess.Popen[str] | None":
        with self._lock:
            if self._process is None and not self._stopped:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "worker.data.builder", str(self._cache_dir)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    env=_environment(),
                )
            return self._process

    def _close(self) -> None:
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            assert process.stdout is not None
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()


def _environment() -> dict[str, str]:
    path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _read(request: Request, answer: dict[str, Any]) -> Built:
    if "key" in answer:
        return Built(request, answer["key"])
    if "errno" in answer:
        fault = errors.infrastructure(OSError(answer["errno"], answer["message"]))
        assert fault is not None
        raise fault
    if "error" in answer:
        raise getattr(errors, answer.pop("error"))(**{**answer, "recording": Path(request.path).name})
    return Built(request, None, answer.get("unreadable") or answer["died"])
