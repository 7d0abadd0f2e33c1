"""The Python client: `Client().jobs.create({"task": "challenge1", "dataset": "demo"})`. Speaks HTTP only."""

import builtins
import time
from collections.abc import Generator, Iterator, Mapping
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


class Client:
    """One service. Without arguments: EEGQ_URL and EEGQ_API_KEY, the profile of `eegq login`, or the `eegq up` here.

    Calls that may be repeated are, for up to `retry_for_s`, when the service does not answer. Everything raised is an EegqError.
    """

    def __init__(
        self, url: str | None = None, key: str | None = None, profile: str | None = None, retry_for_s: float = 30.0
    ) -> None:
        self.address = resolve(url, key, profile)
        self.retry_for_s = retry_for_s
        self._http = httpx.Client(**transport.http_options(self.address.url, self.address.key))
        self.jobs = Jobs(self)
        self.datasets = Datasets(self)

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

    def create_submission(self, challenge1: str | None = None, challenge2: str | None = None) -> JSON:
        """Builds and validates submission.zip from one or two succeeded jobs."""
        return self.send(calls.create_submission({"challenge1": challenge1, "challenge2": challenge2}))

    def send(self, call: Call[T]) -> T:
        """Sends one call, again where it may be repeated and did not get through."""
        return tenacity.Retrying(**transport.retry_options(call, self.retry_for_s))(self._send_once, call)

    def run(self, steps: Generator[Call[Any], Any, T]) -> T:
        """Sends the calls that a generator yields and returns what it returns."""
        try:
            call = next(steps)
            while True:
                call = steps.send(self.send(call))
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

    def _send_once(self, call: Call[T]) -> T:
        try:
            response = self._http.request(**transport.request_options(call))
        except httpx.TransportError as error:
            raise transport.unreachable(self.address.url, error) from error
        transport.check(response)
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


class Jobs:
    """`client.jobs`. A job is named by its id, `job_…`."""

    def __init__(self, client: Client) -> None:
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
        return self._client.send(calls.job_events(job_id))

    def metrics(self, job_id: str, name: str | None = None, max_points: int | None = None) -> Any:
        """One row an epoch: a pandas DataFrame where pandas is installed, else a list of dicts."""
        return as_table(self._client.send(calls.job_metrics(job_id, name, max_points)))

    def ledger(self, job_id: str, device: str | None = None) -> Any:
        """Which steps ran where, and why; a DataFrame where pandas is installed."""
        return as_table(self._client.send(calls.job_ledger(job_id, device)))

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

    def read(self, job_id: str, name: str) -> bytes:
        """An artefact's bytes."""
        return self._client.send(calls.read_artifact(job_id, name))

    def download(self, job_id: str, name: str, to: str | Path | None = None) -> Path:
        """An artefact into the file `to` (by default its own name, here)."""
        return self._client.download(calls.artifact_path(job_id, name), Path(to or name))


class Datasets:
    """`client.datasets`: the registered ones."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self) -> builtins.list[JSON]:
        return self._client.send(calls.get_rows("datasets"))

    def preflight(self, name: str) -> JSON:
        """What the last check of the dataset found."""
        return self._client.send(calls.get(f"datasets/{name}/preflight"))
