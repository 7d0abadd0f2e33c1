"""Small simulated datasets, specs that fit them, and where the real metadata lies: for tests of worker.data."""

import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from jobs.datasets import Source, scan, select
from jobs.spec import CHALLENGES, JobSpec
from worker.data.preflight import PreflightReport
from worker.data.prepare import Prepared, check, prepare
from worker.data.simulate import simulate

FEW_CHANNELS = ("E1", "E2", "E3", "E4", "E5", "E6", "E7", "Cz")
SHARED = Path(os.environ.get("EEGQ_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def small(root: Path, **changes: Any) -> Path:
    """A dataset of 8 channels that is written in well under a second."""
    options = {"subjects": 4, "runs": 1, "trials": 6, "rest_s": 12, "ch_names": FEW_CHANNELS, **changes}
    simulate(root, **options)
    return root


def job(task: str = "challenge1", dataset: str = "demo", **changes: Any) -> JobSpec:
    """A challenge on the few channels of a small dataset; `changes` of the window rules come as `windows`."""
    rules = CHALLENGES[task].model_dump(mode="json") | {"channels": FEW_CHANNELS} | changes.pop("windows", {})
    return JobSpec.model_validate({"task": rules, "dataset": dataset, **changes})


def sources(data_dir: Path, spec: JobSpec) -> tuple[Source, ...]:
    return select(scan(data_dir), spec.dataset)


def prepared(data_dir: Path, spec: JobSpec, **changes: Any) -> Prepared:
    """prepare(), with the cache beside the data."""
    cache_dir = changes.pop("cache_dir", data_dir.parent / "cache")
    return prepare(spec, sources(data_dir, spec), data_dir, cache_dir, **{"workers": 1, **changes})


def checked(data_dir: Path, spec: JobSpec, cache_dir: Path | None = None) -> PreflightReport:
    return check(spec, sources(data_dir, spec), data_dir, cache_dir or data_dir.parent / "cache", workers=1)


def row(report: PreflightReport, stem: str) -> dict[str, Any]:
    return next(row for row in report.recordings if row["name"].endswith(stem))


def real_metadata(release: str, into: Path) -> Path:
    """Unpacks the real metadata of a release; skips the test, loudly, where it is not at hand."""
    archive = SHARED / "hbn-metadata" / f"{release}.tar.xz"
    if not archive.exists():
        pytest.skip("REAL HBN METADATA NOT FOUND: set EEGQ_SHARED_DATA to the folder that holds hbn-metadata/")
    with tarfile.open(archive) as tar:
        tar.extractall(into, filter="data")
    return into / release
