"""The run folder runs/<id>/: plain files, readable with any editor. Knows the layout, not what runs.

The runs folder has an id, so that a checkpoint is never looked for on another machine's disk.
"""

import errno
import json
import os
import secrets
import shutil
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jobs.job import Claim, Job, JobState
from jobs.ledger import Run
from worker.versions import versions


def volume_id(runs: Path) -> str:
    """The id of this runs folder, made on first use."""
    runs.mkdir(parents=True, exist_ok=True)
    path = runs / ".volume"
    try:
        with open(path, "x") as file:
            file.write(secrets.token_hex(8))
    except FileExistsError:
        pass
    return path.read_text().strip()


class RunFolder:
    def __init__(self, runs: Path, job_id: str) -> None:
        self.path = (runs / job_id).resolve()
        self._runs = runs.resolve()

    def prepare(self, claim: Claim) -> None:
        """spec.json, and metrics cut back to the checkpoint that the attempt resumes from. Raises OSError.

        Everybody with a key may read spec.json, and an alert's address can be a secret: alerts are left out.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        job = claim.job
        self._write("spec.json", {
            "spec": job.spec.model_dump(mode="json", exclude={"alerts"}), "sources": list(job.sources),
            "seed": job.spec.seed, "versions": versions(),
        })  # fmt: skip
        step = job.checkpoint.step if job.checkpoint else 0
        self._write_lines("metrics.jsonl", [row for row in self.metrics() if row["step"] <= step])

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def metrics_file(self) -> Path:
        return self.path / "metrics.jsonl"

    def metrics(self) -> list[dict[str, Any]]:
        """A line that a full disk or a kill cut short is left out: the step behind it is trained again."""
        if not self.metrics_file.exists():
            return []
        rows = []
        for line in self.metrics_file.read_text().splitlines():
            with suppress(json.JSONDecodeError):
                rows.append(json.loads(line))
        return rows

    def add_metrics(self, row: dict[str, Any]) -> None:
        """Raises OSError."""
        with open(self.metrics_file, "a") as file:
            file.write(json.dumps(row) + "\n")

    def relative(self, path: str) -> str:
        """A path below the runs folder, as checkpoints and tickets carry it."""
        return os.path.relpath(path, self._runs)

    def forget_before(self, fence: int) -> None:
        """Earlier attempts' checkpoints, once this attempt has published one of its own."""
        for folder in (self.path / "checkpoints").glob("[0-9]*"):
            if int(folder.name) < fence:
                shutil.rmtree(folder, ignore_errors=True)

    def adopt_results(self, fence: int) -> None:
        """What the attempt set aside becomes `results`, unless a later attempt was here. Raises OSError.

        A folder cannot be renamed onto one that holds something, so a zombie that wakes up in between changes nothing.
        """
        staged, results = self.path / f".results.{fence}", self.path / "results"
        there = self._fence_of_results()
        if not staged.exists() or there > fence:
            return
        (staged / ".fence").write_text(str(fence))
        for path in (*staged.iterdir(), staged):
            _sync(path)
        with suppress(FileNotFoundError):
            os.rename(results, self.path / f".results.{there}.{os.getpid()}")
        with suppress(FileExistsError):
            _rename_to_new(staged, results)
        _sync(self.path)

    def close(self, job: Job, events: list[dict[str, Any]], ledger: list[Run]) -> None:
        """What the store knows becomes files: the service can rebuild its list from them. Raises OSError."""
        self.path.mkdir(parents=True, exist_ok=True)
        if not job.state.final and self._has_ended():
            return
        self._write_lines("events.jsonl", events)
        self._write_lines("ledger.jsonl", [asdict(run) for run in ledger])
        if job.state.final:
            self._close_for_good(job)
        self._write("job.json", job_record(job))

    def _close_for_good(self, job: Job) -> None:
        """Of the checkpoints the last one published stays, for a retry with more epochs; of results, a winner's."""
        if job.state is JobState.SUCCEEDED:
            self.adopt_results(job.fence)
        else:
            self._bar_results(job.fence)
        last = (self._runs / job.checkpoint.path) if job.checkpoint else None
        for path in [*self.path.glob("checkpoints/*/*"), *self.path.glob(".results.*"), self.path / "batches"]:
            if path != last:
                shutil.rmtree(path, ignore_errors=True)
        for folder in self.path.glob("checkpoints/*"):
            with suppress(OSError):
                folder.rmdir()

    def _bar_results(self, fence: int) -> None:
        """A job that did not succeed has no results, nor can an attempt that was lost still hand some in."""
        results = self.path / "results"
        shutil.rmtree(results, ignore_errors=True)
        results.mkdir(exist_ok=True)
        (results / ".fence").write_text(str(fence))

    def _fence_of_results(self) -> int:
        path = self.path / "results" / ".fence"
        return int(path.read_text() or 0) if path.exists() else 0

    def _has_ended(self) -> bool:
        path = self.path / "job.json"
        return path.exists() and JobState(json.loads(path.read_text())["state"]).final

    def _write(self, name: str, content: Any) -> None:
        part = self.path / f".{name}.{os.getpid()}"
        part.write_text(json.dumps(content, indent=2) + "\n")
        os.replace(part, self.path / name)

    def _write_lines(self, name: str, rows: list[dict[str, Any]]) -> None:
        part = self.path / f".{name}.{os.getpid()}"
        part.write_text("".join(json.dumps(row) + "\n" for row in rows))
        os.replace(part, self.path / name)


def _rename_to_new(folder: Path, name: Path) -> None:
    """Raises FileExistsError where there is something."""
    try:
        os.rename(folder, name)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise FileExistsError(str(name)) from error
        raise


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def job_record(job: Job) -> dict[str, Any]:
    """The job as plain JSON."""
    record = asdict(job)
    record["spec"] = job.spec.model_dump(mode="json")
    return record
