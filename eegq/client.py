"""The Python client: `Client().jobs.create({"task": "challenge1", "dataset": "demo"})`. Speaks HTTP only."""

import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
import tenacity

from eegq import calls, transport
from eegq.calls import JSON, Call, Pause
from eegq.client_parts import Datasets, Jobs, Submissions, Weights
from eegq.downloads import Download
from eegq.errors import RateLimited, ServiceUnreachable, Unavailable
from eegq.profiles import resolve
from eegq.resources import Event
from eegq.sse import EventParser

T = TypeVar("T")


class Client:
    """One service. Without arguments: EEGQ_URL and EEGQ_API_KEY, the profile of `eegq login`, or the `eegq up` here.

    Calls that may be repeated are, for up to `retry_for_s`, when the service does not answer.
    Everything raised is an EegqError.
    """

    def __init__(
        self, url: str | None = None, key: str | None = None, profile: str | None = None, retry_for_s: float = 30.0
    ) -> None:
        self.address = resolve(url, key, profile)
        self.retry_for_s = retry_for_s
        self._http = httpx.Client(**transport.http_options(self.address.url, self.address.key))
        self.jobs = Jobs(self)
        self.datasets = Datasets(self)
        self.submissions = Submissions(self)
        self.weights = Weights(self)

    def pools(self) -> list[JSON]:
        """Per pool: depth, age of the oldest job, workers."""
        return self.send(calls.get_rows("pools"))

    def devices(self) -> list[JSON]:
        """Every device ever seen, with its health."""
        return self.send(calls.get_rows("devices"))

    def models(self) -> list[JSON]:
        return self.send(calls.get_rows("models"))

    def leaderboard(self) -> Any:
        return self.send(calls.get("leaderboard"))

    def alert_secret(self, anew: bool = False) -> str:
        """What signs the alerts of one's jobs (eegq.alerts.read checks it); `anew` makes another one."""
        return self.send(calls.alert_secret(anew))

    def send(self, call: Call[T]) -> T:
        """Sends one call, again where it may be repeated and did not get through."""
        return tenacity.Retrying(**transport.retry_options(call, self.retry_for_s))(self._send_once, call)

    def run(self, steps: Generator[Any, Any, T]) -> T:
        """Sends the calls that a generator yields, waits where it says so, and returns what it returns."""
        try:
            step = next(steps)
            while True:
                step = steps.send(self._take(step))
        except StopIteration as end:
            return end.value

    def download(self, path: str, to: Path) -> Path:
        """Fetches `path` into the file `to`; a transfer that is cut off goes on where it stopped."""
        download = Download(path, to)
        retrying = tenacity.Retrying(**transport.retry_options(download.call, self.retry_for_s))
        return retrying(self._download_once, download)

    def follow(self, job_id: str, after: str = "") -> Iterator[Event]:
        """A job's events as they come, reconnecting behind the last one, until the job's end."""
        parser, failures = EventParser(after), 0
        while True:
            try:
                for event in self._stream_once(calls.events_path(job_id), parser):
                    failures = 0
                    yield event
                    if event.type in calls.LAST_EVENTS:
                        return
                if self.send(calls.retrieve_job(job_id)).final:
                    return
            except (ServiceUnreachable, Unavailable, RateLimited):
                failures += 1
                if failures > transport.STREAM_RECONNECTS:
                    raise
                time.sleep(transport.reconnect_wait_s(failures))

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _take(self, step: Call[Any] | Pause) -> Any:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        return self.send(step)

    def _send_once(self, call: Call[T]) -> T:
        try:
            response = self._http.request(**transport.request_options(call))
        except httpx.TransportError as error:
            raise transport.unreachable(self.address.url, error) from error
        transport.check(response, call.also_fine)
        return call.parse(response)

    def _download_once(self, download: Download) -> Path:
        try:
            with self._http.stream(**transport.request_options(download.call)) as response:
                if not response.is_success:
                    response.read()
                    transport.check(response)
                return download.write(response, response.iter_bytes())
        except httpx.TransportError as error:
            raise transport.unreachable(self.address.url, error) from error

    def _stream_once(self, path: str, parser: EventParser) -> Iterator[Event]:
        try:
            with self._http.stream("GET", path, **transport.stream_options(parser.last_id)) as response:
                if not response.is_success:
                    response.read()
                    transport.check(response)
                yield from filter(None, map(parser.feed, response.iter_lines()))
        except httpx.TransportError as error:
            raise transport.unreachable(self.address.url, error) from error
