"""submission.zip from one or two finished runs: written, tried out, and only then put in its place.

Reads top to bottom. Knows no queue.
"""

import hashlib
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from worker.export.errors import CannotSubmit, TriedOutBadly
from worker.export.finished import FinishedRun, read_run
from worker.export.parts import Part, constant_part, model_part
from worker.export.standin import Challenge, training_mean
from worker.export.validate import Check, try_out
from worker.export.zipped import write_zip

PLATFORM = {"torch": "2.2.2", "numpy": "2.2.6", "braindecode": "1.2.0"}
"""The challenge's list. numpy 2.2 and torch 2.2 do not work together: Tensor.numpy() fails there."""


@dataclass(frozen=True)
class Folders:
    data: Path
    cache: Path


def build_submission(
    runs: dict[Challenge, Path], out: Path, folders: Folders, python: str = sys.executable
) -> dict[str, Any]:
    """Writes `out` and returns the report. Raises ExportError with the reason; then there is no file at `out`."""
    finished = {challenge: read_run(folder) for challenge, folder in runs.items()}
    parts = [_part(challenge, finished, folders.data) for challenge in get_args(Challenge)]
    beside = out.with_name(f".{out.name}.{os.getpid()}")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        write_zip(parts, beside)
        checks, torch_version = try_out(beside, parts, folders.data, folders.cache, python)
        _require_all(checks)
        os.replace(beside, out)
    finally:
        beside.unlink(missing_ok=True)
    return _report(parts, checks, torch_version, out)


def _part(challenge: Challenge, finished: dict[Challenge, FinishedRun], data_dir: Path) -> Part:
    if challenge in finished:
        return model_part(challenge, finished[challenge])
    if not finished:
        raise CannotSubmit("name a run for challenge1, challenge2 or both")
    return constant_part(challenge, training_mean(challenge, next(iter(finished.values())), data_dir))


def _require_all(checks: list[Check]) -> None:
    if failed := [check for check in checks if check.ok is False]:
        raise TriedOutBadly("; ".join(f"{check.check}: {check.detail}" for check in failed))


def _report(parts: list[Part], checks: list[Check], torch_version: str, out: Path) -> dict[str, Any]:
    content = out.read_bytes()
    return {
        **{part.challenge: part.about for part in parts},
        "warnings": [warning for part in parts for warning in part.warnings],
        "checks": [check.to_dict() for check in checks],
        "tried_with": {"torch": torch_version, "python": platform.python_version()},
        "platform": PLATFORM,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
