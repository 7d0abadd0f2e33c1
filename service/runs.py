"""The runs folder as the API shows it: artefacts by name, metrics, logs, checkpoints, sizes.

Reads plain files that workers wrote; knows no Redis.
"""

import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from jobs.finite import finite

ARTIFACTS = {
    "weights.safetensors": "results/weights.safetensors",
    "weights.pt": "results/weights.pt",
    "predictions.csv": "results/predictions.csv",
    "subjects.csv": "results/subjects.csv",
    "scores.json": "results/scores.json",
    "model.json": "results/model.json",
    "metrics.jsonl": "metrics.jsonl",
    "log.txt": "log.txt",
    "spec.json": "spec.json",
    "preflight.json": "preflight.json",
    "preflight.html": "preflight.html",
    "split.json": "split.json",
    "submission.zip": "submission.zip",
}
TAIL_CHUNK = 64 * 1024


@dataclass(frozen=True)
class File:
    name: str
    path: Path
    size_bytes: int
    modified_at: float


@dataclass(frozen=True)
class StoredCheckpoint:
    step: int
    fence: int
    size_bytes: int
    written_at: float


class Runs:
    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def artifact(self, run_id: str, name: str) -> File | None:
        """None where the name is not on the list or the file is not there; a link out of the folder is not there."""
        path = self._inside(run_id, ARTIFACTS[name]) if name in ARTIFACTS else None
        if path is None:
            return None
        stat = path.stat()
        return File(name, path, stat.st_size, stat.st_mtime)

    def artifacts(self, run_id: str) -> list[File]:
        return [file for name in ARTIFACTS if (file := self.artifact(run_id, name))]

    def rows(self, run_id: str, name: str) -> list[dict[str, Any]]:
        """A file of JSON lines; a last line that is still being written is left out."""
        path = self._inside(run_id, name)
        lines = path.read_text(errors="replace").splitlines() if path else []
        return [finite(row) for line in lines if (row := _parsed(line)) is not None]

    def scores(self, run_id: str) -> dict[str, Any] | None:
        path = self._inside(run_id, ARTIFACTS["scores.json"])
        return finite(json.loads(path.read_text())) if path else None

    def tail(self, run_id: str, n_lines: int) -> str:
        """The last lines of the log, read from its end."""
        path = self._inside(run_id, "log.txt")
        if path is None:
            return ""
        with path.open("rb") as file:
            left, blocks = file.seek(0, os.SEEK_END), [b""]
            while left > 0 and sum(block.count(b"\n") for block in blocks) <= n_lines:
                size = min(TAIL_CHUNK, left)
                left = file.seek(left - size)
                blocks.insert(0, file.read(size))
        return "".join(b"".join(blocks).decode(errors="replace").splitlines(keepends=True)[-n_lines:])

    def checkpoints(self, run_id: str) -> list[StoredCheckpoint]:
        """Oldest step first. Folders are `checkpoints/<fence>/<step>`."""
        found = []
        for folder in (self.root / run_id / "checkpoints").glob("*/*"):
            if folder.name.isdigit() and folder.parent.name.isdigit():
                size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
                found.append(StoredCheckpoint(int(folder.name), int(folder.parent.name), size, folder.stat().st_mtime))
        return sorted(found, key=lambda c: (c.step, c.fence))

    def delete(self, run_id: str) -> None:
        shutil.rmtree(self.root / run_id, ignore_errors=True)

    def _inside(self, run_id: str, name: str) -> Path | None:
        """None where there is no such file, or a link leads out of the run's folder."""
        path = (self.root / run_id / name).resolve()
        return path if path.is_relative_to(self.root / run_id) and path.is_file() else None


def newest_per_step(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """An attempt that resumed repeats rows; the later one stands."""
    return [row for _, row in sorted({row.get("step", i): row for i, row in enumerate(rows)}.items())]


def thinned(rows: Sequence[dict[str, Any]], max_points: int) -> list[dict[str, Any]]:
    """Evenly spaced rows, the first and the last among them."""
    if len(rows) <= max_points:
        return list(rows)
    if max_points == 1:
        return [rows[-1]]
    last = len(rows) - 1
    return [rows[round(i * last / (max_points - 1))] for i in range(max_points)]


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        return None
    return row if isinstance(row, dict) else None


class FolderSize:
    """The size of the runs folder, measured in the background at most once a minute."""

    EVERY_S = 60.0

    def __init__(self, root: Path) -> None:
        self._root, self._lock = root, Lock()
        self._measured_at = float("-inf")
        self._bytes: int | None = None

    def bytes(self) -> int | None:
        """As last measured; None before the first measurement has ended."""
        with self._lock:
            due = time.monotonic() - self._measured_at > self.EVERY_S
            if due:
                self._measured_at = time.monotonic()
        if due:
            Thread(target=self._measure, daemon=True).start()
        return self._bytes

    def _measure(self) -> None:
        self._bytes = sum(_sizes(self._root))


def _sizes(folder: Path) -> Iterator[int]:
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                yield os.lstat(os.path.join(parent, name)).st_size
            except FileNotFoundError:
                continue  # replaced while we looked
