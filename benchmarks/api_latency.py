"""How long do submits, polls and events take under load? `python -m benchmarks.api_latency [--seconds 20]`

A real Redis (appendfsync always) and a real service on this machine, the load from this process on the same cores.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import facts
from jobs.connection import connect
from jobs.job import Claim, Pool
from jobs.store import JobStore
from tests.integration.api import LiveService, demo_root
from tests.redis_server import RedisServer

SPEC = {"task": "challenge1", "dataset": "demo", "placement": "cpu"}
STREAMS = 100
CONNECTIONS = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--per-s", type=float, default=100.0)
    arguments = parser.parse_args()
    print(json.dumps({"machine": facts()}), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        redis_server = RedisServer(Path(folder) / "redis").start()
        demo_root(Path(folder) / "data")
        try:
            limits = {"EEGQ_REQUESTS_PER_S": "0", "EEGQ_MAX_ACTIVE_JOBS": "0"}
            with LiveService(redis_server.url, Path(folder), **limits) as service:
                asyncio.run(measure(service, JobStore(connect(redis_server.url)), arguments))
        finally:
            redis_server.stop()


async def measure(service: LiveService, store: JobStore, arguments: argparse.Namespace) -> None:
    host, _, port = service.url.removeprefix("http://").partition(":")
    caller = Caller(host, int(port), service.key)
    answer = await (await caller.connect())("POST", "/jobs", SPEC)
    claim = store.claim(Pool.CPU, worker="w", device="cpu", lease_s=600)
    assert claim is not None
    submit, poll = ("POST", "/jobs", SPEC), ("GET", f"/jobs/{answer['id']}", None)
    per_s, seconds = arguments.per_s, arguments.seconds
    await at_a_rate(caller, submit, 20, 2)  # warm
    show("POST /jobs", await at_a_rate(caller, submit, per_s, seconds))
    show("GET /jobs/{id}", await at_a_rate(caller, poll, per_s, seconds))
    delays: list[float] = []
    followers = [asyncio.create_task(follow(caller, answer["id"], delays)) for _ in range(STREAMS)]
    reporter = asyncio.create_task(report(store, claim, seconds))
    show(f"GET /jobs/{{id}}, {STREAMS} streams open", await at_a_rate(caller, poll, per_s, seconds))
    await reporter
    for follower in followers:
        follower.cancel()
    show(f"event to each of {STREAMS} streams", delays)


@dataclass(frozen=True)
class Caller:
    """HTTP/1.1 by hand: a client library would take more of the shared cores than the service."""

    host: str
    port: int
    key: str

    def request(self, method: str, path: str, body: Any = None, accept: str = "application/json") -> bytes:
        content = json.dumps(body).encode() if body is not None else b""
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nAuthorization: Bearer {self.key}\r\n"
            f"Accept: {accept}\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        return head.encode() + content

    async def connect(self) -> Callable[..., Awaitable[Any]]:
        reader, writer = await asyncio.open_connection(self.host, self.port)

        async def call(*request: Any) -> Any:
            writer.write(self.request(*request))
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            assert head.split()[1].startswith("2"), head
            length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
            return json.loads(await reader.readexactly(length))

        return call


async def at_a_rate(caller: Caller, request: tuple, per_s: float, seconds: float) -> list[float]:
    """Seconds each call took, counted from when it was due: a late start is latency too."""
    start, numbers = time.perf_counter() + 0.5, iter(range(int(per_s * seconds)))
    taken: list[float] = []

    async def work() -> None:
        call = await caller.connect()
        for number in numbers:
            due = start + number / per_s
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            await call(*request)
            taken.append(time.perf_counter() - due)

    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
    return taken


async def follow(caller: Caller, job_id: str, delays: list[float]) -> None:
    began = time.time()
    reader, writer = await asyncio.open_connection(caller.host, caller.port)
    writer.write(caller.request("GET", f"/jobs/{job_id}/events", accept="text/event-stream"))
    async for line in reader:
        if line.startswith(b"data: ") and (event := json.loads(line[6:]))["type"] == "progress":
            sent_at = event["data"].get("sent_at") or event["at"]
            if sent_at > began:
                delays.append(time.time() - sent_at)


async def report(store: JobStore, claim: Claim, seconds: float) -> None:
    for number in range(1, int(2 * seconds) + 1):
        message = ("progress", {"sent_at": time.time()}, {})
        await asyncio.to_thread(store.report, claim, number, [message])
        await asyncio.sleep(0.5)


def show(what: str, seconds: list[float]) -> None:
    ms = sorted(1000 * s for s in seconds)
    p99 = ms[int(0.99 * (len(ms) - 1))]
    print(f"{what}: n={len(ms)} p50={statistics.median(ms):.1f} ms p99={p99:.1f} ms max={ms[-1]:.1f} ms", flush=True)


if __name__ == "__main__":
    main()
