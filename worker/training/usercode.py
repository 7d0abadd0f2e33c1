"""The user's own models and steps: copied into the run's folder once, and the copy is what every attempt runs.

Knows no model and no step: files of Python source.
"""

import os
import shutil
from pathlib import Path

from jobs.spec import CustomStep, JobSpec

FOLDER = "code"


def adopt(spec: JobSpec, mounted: Path | None, run_folder: Path) -> Path | None:
    """The run's own copy of the mounted folder's *.py; None where the spec uses none of it, or nothing is mounted."""
    copy = run_folder / FOLDER
    if copy.is_dir():
        return copy
    if mounted is None or not _uses_own_code(spec):
        return None
    beside = run_folder / f".{FOLDER}.{os.getpid()}"
    beside.mkdir(parents=True)
    for path in sorted(mounted.glob("*.py")):
        shutil.copyfile(path, beside / path.name)
    os.replace(beside, copy)
    return copy


def _uses_own_code(spec: JobSpec) -> bool:
    return ":" in spec.model.name or any(isinstance(step, CustomStep) for step in spec.preprocess)
