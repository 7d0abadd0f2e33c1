"""The client for asyncio: the same methods as eegq.client, awaited; the docstrings are there."""

import asyncio
from collections.abc import AsyncIterator, Generator
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
import tenacity

from eegq import calls, transport
from eegq.aio_parts import AsyncDatasets, AsyncJobs, AsyncSubmissions, AsyncWeights
from eegq.calls import JSON, Call, Pause
from eegq.downloads import Download
from eegq.errors import RateLimited, ServiceUnreachable, Unavailable
from eegq.profiles import resolve
from eegq.resources import Event
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
        self.submissions = AsyncSubmissions(self)
        self.weights = AsyncWeights(self)

    async def pools(self) -> list[JSON]:
        return await self.send(calls.get_rows("pools"))

    async def devices(self) -> list[JSON]:
        return await self.send(calls.get_rows("devices"))

    async def models(self) -> list[JSON]:
        return await self.send(calls.get_rows("models"))

    async def leaderboard(self) -> Any:
        return await self.send(calls.get("leaderboard"))

    async def alert_secret(self, anew: bool = False) -> str:
        return await self.send(calls.alert_secret(anew))

    async def send(self, call: Call[T]) -> T:
        return await tenacity.AsyncRetrying(**transport.retry_options(call, self.retry_for_s))(self._send_once, call)

    async def run(self, steps: Generator[Any, Any, T]) -> T:
        try:
            step = next(steps)
            while True:
                step = steps.send(await self._take(step))
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

    async def _take(self, step: Call[Any] | Pause) -> Any:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        return await self.send(step)

    async def _send_once(self, call: Call[T]) -> T:
        try:
            response = await self._http.request(**transport.request_options(call))
        except httpx.TransportError as error:
            raise transport.unreachable(self.address.url, error) from error
        transport.check(response, call.also_fine)
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
