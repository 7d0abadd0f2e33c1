"""The run folder runs/<id>/: plain files, readable with any editor. Knows the layout, not what runs.

The runs folder has an id, so that a checkpoint is never looked for on another machine's disk.
"""

import json
import os
import secrets
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jobs.job import Claim, Job
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
        """spec.json, and metrics cut back to the checkpoint that the attempt resumes from."""
        self.path.mkdir(parents=True, exist_ok=True)
        job = claim.job
        self._write("spec.json", {
            "spec": job.spec.model_dump(mode="json"), "sources": list(job.sources), "seed": job.spec.seed,
            "versions": versions(),
        })  # fmt: skip
        step = job.checkpoint.step if job.checkpoint else 0
        kept = [row for row in self.metrics() if row["step"] <= step]
        self.metrics_file.write_text("".join(json.dumps(row) + "\n" for row in kept))

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def metrics_file(self) -> Path:
        return self.path / "metrics.jsonl"

    def metrics(self) -> list[dict[str, Any]]:
        if not self.metrics_file.exists():
            return []
        return [json.loads(line) for line in self.metrics_file.read_text().splitlines()]

    def add_metrics(self, row: dict[str, Any]) -> None:
        with open(self.metrics_file, "a") as file:
            file.write(json.dumps(row) + "\n")

    def relative(self, path: str) -> str:
        """A path below the runs folder, as checkpoints and tickets carry it."""
        return os.path.relpath(path, self._runs)

    def close(self, job: Job, events: list[dict[str, Any]], ledger: list[Run]) -> None:
        """What the store knows becomes files: the service can rebuild its list from them."""
        self._write("job.json", job_record(job))
        self._write_lines("events.jsonl", events)
        self._write_lines("ledger.jsonl", [asdict(run) for run in ledger])
        for folder in ("checkpoints", "batches"):
            self._keep_last(self.path / folder) if folder == "checkpoints" else shutil.rmtree(
                self.path / folder, ignore_errors=True
            )

    def _keep_last(self, checkpoints: Path) -> None:
        """Of the checkpoints only the newest stays, for a retry with more epochs."""
        found = sorted(checkpoints.glob("*/[0-9]*"), key=lambda p: (int(p.name), int(p.parent.name)))
        for path in found[:-1]:
            shutil.rmtree(path, ignore_errors=True)

    def _write(self, name: str, content: Any) -> None:
        part = self.path / f".{name}.{os.getpid()}"
        part.write_text(json.dumps(content, indent=2) + "\n")
        os.replace(part, self.path / name)

    def _write_lines(self, name: str, rows: list[dict[str, Any]]) -> None:
        part = self.path / f".{name}.{os.getpid()}"
        part.write_text("".join(json.dumps(row) + "\n" for row in rows))
        os.replace(part, self.path / name)


def job_record(job: Job) -> dict[str, Any]:
    """The job as plain JSON."""
    record = asdict(job)
    record["spec"] = job.spec.model_dump(mode="json")
    return record
