"""The client for asyncio: the same methods as eegq.client, awaited; the docstrings are there."""

import asyncio
import builtins
import time
from collections.abc import AsyncIterator, Generator, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
import tenacity

from eegq import calls, transport
from eegq.calls import JSON, Call
from eegq.downloads import Download
from eegq.errors import RateLimited, ServiceUnreachable, Unavailable
from eegq.frames import as_table
from eegq.profiles import resolve
from eegq.resources import Event, Job, Page
from eegq.sse import EventParser

T = TypeVar("T")


class AsyncClient:
    """As eegq.Client, for asyncio."""

    def __init__(
        self, url: str | None = None, key: str | None = None, profile: str | None = None, retry_for_s: float = 30.0
    ) -> None:
        self.address = resolve(url, key, profile)
        self.retry_for_s = retry_for_s
        self._http = httpx.AsyncClient(**transport.http_options(self.address.url, self.address.key))
        self.jobs = AsyncJobs(self)
        self.datasets = AsyncDatasets(self)

    async def pools(self) -> list[JSON]:
        return await self.send(calls.get_rows("pools"))

    async def devices(self) -> list[JSON]:
        return await self.send(calls.get_rows("devices"))

    async def models(self) -> list[JSON]:
        return await self.send(calls.get_rows("models"))

    async def leaderboard(self) -> Any:
        return await self.send(calls.get("leaderboard"))

    async def create_submission(self, challenge1: str | None = None, challenge2: str | None = None) -> JSON:
        return await self.send(calls.create_submission({"challenge1": challenge1, "challenge2": challenge2}))

    async def send(self, call: Call[T]) -> T:
        return await tenacity.AsyncRetrying(**transport.retry_options(call, self.retry_for_s))(self._send_once, call)

    async def run(self, steps: Generator[Call[Any], Any, T]) -> T:
        try:
            call = next(steps)
            while True:
                call = steps.send(await self.send(call))
        except StopIteration as end:
            return end.value

    async def download(self, path: str, to: Path) -> Path:
        download = Download(path, to)
        retrying = tenacity.AsyncRetrying(**transport.retry_options(download.call, self.retry_for_s))
        return await retrying(self._download_once, download)

    async def follow(self, job_id: str, after: str = "") -> AsyncIterator[Event]:
        parser, failures = EventParser(after), 0
        while True:
            try:
                async for event in self._stream_once(calls.events_path(job_id), parser):
                    failures = 0
                    yield event
                    if event.type in calls.LAST_EVENTS:
                        return
                if (await self.send(calls.retrieve_job(job_id))).final:
                    return
            except (ServiceUnreachable, Unavailable, RateLimited):
                failures += 1
                if failures > transport.STREAM_RECONNECTS:
                    raise
                await asyncio.sleep(transport.reconnect_wait_s(failures))

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def _send_once(self, call: Call[T]) -> T:
        try:
            response = await self._http.request(**transport.request_options(call))
        except httpx.TransportError as error:
            raise transport.unreachable(self.address.url, error) from error
        transport.check(response)
        return call.parse(response)

    async def _download_once(self, download: Download) -> Path:
        try:
            async with self._http.stream(**transport.request_options(download.call)) as response:
                if not response.is_success:
                    await response.aread()
                    transport.check(response)
                return await download.write_async(response)
        except httpx.TransportError as error:
            raise transport.unreachable(self.address.url, error) from error

    async def _stream_once(self, path: str, parser: EventParser) -> AsyncIterator[Event]:
        try:
            async with self._http.stream("GET", path, **transport.stream_options(parser.last_id)) as response:
                if not response.is_success:
                    await response.aread()
                    transport.check(response)
                async for line in response.aiter_lines():
                    if event := parser.feed(line):
                        yield event
        except httpx.TransportError as error:
            raise transport.unreachable(self.address.url, error) from error


class AsyncJobs:
    """`client.jobs`, as eegq.client.Jobs."""

    def __init__(self, client: AsyncClient) -> None:
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
        return await self._client.send(calls.job_events(job_id))

    async def metrics(self, job_id: str, name: str | None = None, max_points: int | None = None) -> Any:
        return as_table(await self._client.send(calls.job_metrics(job_id, name, max_points)))

    async def ledger(self, job_id: str, device: str | None = None) -> Any:
        return as_table(await self._client.send(calls.job_ledger(job_id, device)))

    async def steps_by_device(self, job_id: str) -> dict[str, int]:
        return await self._client.send(calls.steps_by_device(job_id))

    async def checkpoints(self, job_id: str) -> builtins.list[JSON]:
        return await self._client.send(calls.job_checkpoints(job_id))

    async def logs(self, job_id: str, offset: int = 0) -> str:
        return (await self._client.send(calls.job_logs(job_id, offset))).decode(errors="replace")

    async def artifacts(self, job_id: str) -> builtins.list[JSON]:
        return await self._client.send(calls.job_artifacts(job_id))

    async def read(self, job_id: str, name: str) -> bytes:
        return await self._client.send(calls.read_artifact(job_id, name))

    async def download(self, job_id: str, name: str, to: str | Path | None = None) -> Path:
        return await self._client.download(calls.artifact_path(job_id, name), Path(to or name))


class AsyncDatasets:
    """`client.datasets`, as eegq.client.Datasets."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def list(self) -> builtins.list[JSON]:
        return await self._client.send(calls.get_rows("datasets"))

    async def preflight(self, name: str) -> JSON:
        return await self._client.send(calls.get(f"datasets/{name}/preflight"))
