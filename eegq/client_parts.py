"""What hangs on a Client: jobs, datasets, submissions, weights. Each method is one call, or a generator of calls."""

import builtins
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eegq import calls
from eegq.calls import JSON
from eegq.frames import as_table
from eegq.resources import Event, Job, Page

if TYPE_CHECKING:
    from eegq.client import Client


class Jobs:
    """`client.jobs`. A job is named by its id, `job_…`."""

    def __init__(self, client: "Client") -> None:
        self._client = client

    def create(self, spec: Mapping[str, Any], idempotency_key: str | None = None) -> Job:
        """Submits a job; every field of the spec has a default. Sent twice with one key, it makes one job."""
        return self._client.send(calls.create_job(spec, idempotency_key))

    def check(self, spec: Mapping[str, Any]) -> JSON:
        """The spec with every default and the recordings it would take, as checked by the service."""
        return self._client.send(calls.dry_run(spec))

    def retrieve(self, job_id: str) -> Job:
        return self._client.send(calls.retrieve_job(job_id))

    def list(self, limit: int | None = 20, **filters: str | None) -> builtins.list[Job]:
        """Newest first; filters: status, pool, model, tag, created_after. `limit` None takes all."""
        return self._client.run(calls.every_job(limit, filters))

    def page(self, after: str | None = None, limit: int = 20, **filters: str | None) -> Page:
        return self._client.send(calls.list_jobs(after, limit, **filters))

    def cancel(self, job_id: str) -> Job:
        return self._client.send(calls.act_on_job(job_id, "cancel"))

    def pause(self, job_id: str) -> Job:
        """Checkpoints and holds the job until `resume`."""
        return self._client.send(calls.act_on_job(job_id, "pause"))

    def resume(self, job_id: str) -> Job:
        return self._client.send(calls.act_on_job(job_id, "resume"))

    def retry(self, job_id: str, epochs: int | str | None = None, idempotency_key: str | None = None) -> Job:
        """A new job from the spec of an ended one; with `epochs` (`+50`: that many more) on from its last state."""
        return self._client.send(calls.retry_job(job_id, epochs, idempotency_key))

    def delete(self, job_id: str) -> None:
        self._client.send(calls.delete_job(job_id))

    def wait(self, job_id: str, timeout_s: float | None = None) -> Job:
        """Returns the job once it has succeeded. Raises JobFailed, JobCancelled, WaitTimeout."""
        return self._client.run(calls.wait(job_id, timeout_s, time.monotonic))

    def stream(self, job_id: str, after: str = "") -> Iterator[Event]:
        """Events as they come, until the job's end; `after` resumes behind an event's id."""
        return self._client.follow(job_id, after)

    def events(self, job_id: str) -> builtins.list[Event]:
        return self._client.run(calls.every_event(job_id))

    def metrics(self, job_id: str, name: str | None = None, max_points: int | None = None) -> Any:
        """One row an epoch: a pandas DataFrame where pandas is installed, else a list of dicts."""
        return as_table(self._client.send(calls.job_metrics(job_id, name, max_points)))

    def ledger(self, job_id: str, device: str | None = None) -> Any:
        """Which steps ran where, and why; a DataFrame where pandas is installed."""
        return as_table(self.runs_of_steps(job_id, device))

    def runs_of_steps(self, job_id: str, device: str | None = None) -> builtins.list[JSON]:
        """`ledger` as plain dicts: {attempt, first, last, device, reason, superseded}."""
        return self._client.send(calls.job_ledger(job_id, device))

    def steps_by_device(self, job_id: str) -> dict[str, int]:
        """How many of its steps each device computed; steps that were repeated count once."""
        return self._client.send(calls.steps_by_device(job_id))

    def checkpoints(self, job_id: str) -> builtins.list[JSON]:
        return self._client.send(calls.job_checkpoints(job_id))

    def logs(self, job_id: str, offset: int = 0) -> str:
        """The trainer's output, from byte `offset` on."""
        return self._client.send(calls.job_logs(job_id, offset)).decode(errors="replace")

    def artifacts(self, job_id: str) -> builtins.list[JSON]:
        """Name, size and address of everything the job made."""
        return self._client.send(calls.job_artifacts(job_id))

    def alerts(self, job_id: str) -> builtins.list[JSON]:
        """What was or is to be told of the job, to whom, and how the last try went."""
        return self._client.send(calls.job_alerts(job_id))

    def read(self, job_id: str, name: str) -> bytes:
        """An artefact's bytes."""
        return self._client.send(calls.read_artifact(job_id, name))

    def download(self, job_id: str, name: str, to: str | Path | None = None) -> Path:
        """An artefact into the file `to` (by default its own name, here)."""
        return self._client.download(calls.artifact_path(job_id, name), Path(to or name))


class Datasets:
    """`client.datasets`: the registered ones."""

    def __init__(self, client: "Client") -> None:
        self._client = client

    def list(self) -> builtins.list[JSON]:
        return self._client.send(calls.get_rows("datasets"))

    def preflight(self, name: str, task: Any = "challenge1") -> JSON:
        """Has a worker look through the recordings and waits for its report. Raises ErrandFailed."""
        return self._client.run(calls.preflight_until_done(name, task))

    def download_page(self, name: str, to: str | Path = "preflight.html") -> Path:
        """The last preflight's report, as a page with pictures."""
        return self._client.download(calls.preflight_page_path(name), Path(to))


class Submissions:
    """`client.submissions`: zips in the challenge's form."""

    def __init__(self, client: "Client") -> None:
        self._client = client

    def create(self, challenge1: str | None = None, challenge2: str | None = None) -> JSON:
        """Builds and tries out submission.zip from one or two succeeded jobs, and waits. Raises ErrandFailed."""
        jobs = {"challenge1": challenge1, "challenge2": challenge2}
        return self._client.run(calls.submission_until_done(jobs))

    def download(self, submission_id: str, to: str | Path = "submission.zip") -> Path:
        return self._client.download(calls.submission_zip_path(submission_id), Path(to))


class Weights:
    """`client.weights`: safetensors files that a job's `init` may name."""

    def __init__(self, client: "Client") -> None:
        self._client = client

    def list(self) -> builtins.list[JSON]:
        return self._client.send(calls.get_rows("weights"))

    def upload(self, name: str, file: str | Path) -> JSON:
        return self._client.send(calls.upload_weights(name, Path(file).read_bytes()))
