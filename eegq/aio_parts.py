"""What hangs on an AsyncClient: jobs, datasets, submissions, weights. Docstrings: eegq.client_parts."""

import builtins
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eegq import calls
from eegq.calls import JSON
from eegq.frames import as_table
from eegq.resources import Event, Job, Page

if TYPE_CHECKING:
    from eegq.aio import AsyncClient


class AsyncJobs:
    """`client.jobs`, as eegq.client.Jobs."""

    def __init__(self, client: "AsyncClient") -> None:
        self._client = client

    async def create(self, spec: Mapping[str, Any], idempotency_key: str | None = None) -> Job:
        return await self._client.send(calls.create_job(spec, idempotency_key))

    async def check(self, spec: Mapping[str, Any]) -> JSON:
        return await self._client.send(calls.dry_run(spec))

    async def retrieve(self, job_id: str) -> Job:
        return await self._client.send(calls.retrieve_job(job_id))

    async def list(self, limit: int | None = 20, **filters: str | None) -> builtins.list[Job]:
        return await self._client.run(calls.every_job(limit, filters))

    async def page(self, after: str | None = None, limit: int = 20, **filters: str | None) -> Page:
        return await self._client.send(calls.list_jobs(after, limit, **filters))

    async def cancel(self, job_id: str) -> Job:
        return await self._client.send(calls.act_on_job(job_id, "cancel"))

    async def pause(self, job_id: str) -> Job:
        return await self._client.send(calls.act_on_job(job_id, "pause"))

    async def resume(self, job_id: str) -> Job:
        return await self._client.send(calls.act_on_job(job_id, "resume"))

    async def retry(self, job_id: str, epochs: int | str | None = None, idempotency_key: str | None = None) -> Job:
        return await self._client.send(calls.retry_job(job_id, epochs, idempotency_key))

    async def delete(self, job_id: str) -> None:
        await self._client.send(calls.delete_job(job_id))

    async def wait(self, job_id: str, timeout_s: float | None = None) -> Job:
        return await self._client.run(calls.wait(job_id, timeout_s, time.monotonic))

    def stream(self, job_id: str, after: str = "") -> AsyncIterator[Event]:
        return self._client.follow(job_id, after)

    async def events(self, job_id: str) -> builtins.list[Event]:
        return await self._client.run(calls.every_event(job_id))

    async def metrics(self, job_id: str, name: str | None = None, max_points: int | None = None) -> Any:
        return as_table(await self._client.send(calls.job_metrics(job_id, name, max_points)))

    async def ledger(self, job_id: str, device: str | None = None) -> Any:
        return as_table(await self.runs_of_steps(job_id, device))

    async def runs_of_steps(self, job_id: str, device: str | None = None) -> builtins.list[JSON]:
        return await self._client.send(calls.job_ledger(job_id, device))

    async def steps_by_device(self, job_id: str) -> dict[str, int]:
        return await self._client.send(calls.steps_by_device(job_id))

    async def checkpoints(self, job_id: str) -> builtins.list[JSON]:
        return await self._client.send(calls.job_checkpoints(job_id))

    async def logs(self, job_id: str, offset: int = 0) -> str:
        return (await self._client.send(calls.job_logs(job_id, offset))).decode(errors="replace")

    async def artifacts(self, job_id: str) -> builtins.list[JSON]:
        return await self._client.send(calls.job_artifacts(job_id))

    async def alerts(self, job_id: str) -> builtins.list[JSON]:
        return await self._client.send(calls.job_alerts(job_id))

    async def read(self, job_id: str, name: str) -> bytes:
        return await self._client.send(calls.read_artifact(job_id, name))

    async def download(self, job_id: str, name: str, to: str | Path | None = None) -> Path:
        return await self._client.download(calls.artifact_path(job_id, name), Path(to or name))


class AsyncDatasets:
    """`client.datasets`, as eegq.client.Datasets."""

    def __init__(self, client: "AsyncClient") -> None:
        self._client = client

    async def list(self) -> builtins.list[JSON]:
        return await self._client.send(calls.get_rows("datasets"))

    async def preflight(self, name: str, task: Any = "challenge1") -> JSON:
        return await self._client.run(calls.preflight_until_done(name, task))

    async def download_page(self, name: str, to: str | Path = "preflight.html") -> Path:
        return await self._client.download(calls.preflight_page_path(name), Path(to))


class AsyncSubmissions:
    """`client.submissions`, as eegq.client_parts.Submissions."""

    def __init__(self, client: "AsyncClient") -> None:
        self._client = client

    async def create(self, challenge1: str | None = None, challenge2: str | None = None) -> JSON:
        jobs = {"challenge1": challenge1, "challenge2": challenge2}
        return await self._client.run(calls.submission_until_done(jobs))

    async def download(self, submission_id: str, to: str | Path = "submission.zip") -> Path:
        return await self._client.download(calls.submission_zip_path(submission_id), Path(to))


class AsyncWeights:
    """`client.weights`, as eegq.client_parts.Weights."""

    def __init__(self, client: "AsyncClient") -> None:
        self._client = client

    async def list(self) -> builtins.list[JSON]:
        return await self._client.send(calls.get_rows("weights"))

    async def upload(self, name: str, file: str | Path) -> JSON:
        return await self._client.send(calls.upload_weights(name, Path(file).read_bytes()))
