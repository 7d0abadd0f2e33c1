"""Connections that keep the service waiting: let go after a while, and no burden to the others until then."""

import asyncio
import os
import select
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse, StreamingResponse

from jobs.connection import connect
from jobs.job import Claim, Pool
from jobs.store import JobStore
from service import body, patience
from service.app import create_app
from tests.conftest import wait_until
from tests.integration.api import LiveService, demo_root, served, settings

SPEC = {"task": "challenge1", "dataset": "demo", "placement": "cpu"}
GET = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
STREAMS = 100
LORISES = 200


class App:
    """Sends without end at /endless, a word elsewhere; `left` counts the endless answers that were given up."""

    left = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        endless = scope["path"] == "/endless"
        answer = StreamingResponse(self._endless()) if endless else PlainTextResponse("word")
        await answer(scope, receive, send)

    async def _endless(self) -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 65536
                await asyncio.sleep(0)  # or the loop would never hear of the connection's end
        finally:
            self.left += 1


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "HEAD_S", 0.5)
    monkeypatch.setattr(patience, "STALLED_S", 0.5)


@contextmanager
def talking_to(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(20)
        yield connection


def everything_until_its_end(connection: socket.socket) -> bytes:
    """Fails where the other side does not close the connection."""
    received = b""
    try:
        while chunk := connection.recv(65536):
            received += chunk
    except ConnectionResetError:
        pass
    return received


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: he", GET + b"GET /aga"])
def test_a_request_that_does_not_come_whole_is_let_go(sent: bytes) -> None:
    with served(App()) as port, talking_to(port) as connection:
        connection.sendall(sent)
        assert (b"word" in everything_until_its_end(connection)) == sent.startswith(GET)


@pytest.mark.usefixtures("impatient")
def test_a_byte_now_and_then_wins_no_time() -> None:
    with served(App()) as port, talking_to(port) as connection:
        sent = 0
        while not select.select([connection], [], [], 0.05)[0]:
            connection.sendall(b"G")
            sent += 1
            assert sent < 200


@pytest.mark.usefixtures("impatient")
def test_a_client_that_takes_nothing_is_let_go() -> None:
    app = App()
    with served(app) as port, talking_to(port) as connection:
        connection.sendall(GET.replace(b"/ ", b"/endless ", 1))
        wait_until(lambda: app.left == 1)
        everything_until_its_end(connection)


@pytest.mark.usefixtures("impatient")
def test_a_client_that_goes_on_taking_is_kept() -> None:
    app = App()
    with served(app) as port, talking_to(port) as connection:
        connection.sendall(GET.replace(b"/ ", b"/endless ", 1))
        for _ in range(400):  # many times what the buffers hold
            assert connection.recv(1 << 20)
        assert app.left == 0


def test_a_body_that_does_not_come_is_a_408(redis_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "MAX_S", 0.2)
    head = b"POST /jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n"
    with served(create_app(settings(redis_url, folder)), "on") as port, talking_to(port) as connection:
        connection.sendall(head + b'{"task"')
        answer = everything_until_its_end(connection)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"urn:eegq:body-too-slow" in answer


# --- many of them at once, against the process that people start ---------------------------------------------------


@pytest.fixture
def service(redis_url: str, tmp_path: Path) -> Iterator[LiveService]:
    demo_root(tmp_path / "data")
    with LiveService(redis_url, tmp_path, EEGQ_AUTH="off", EEGQ_REQUESTS_PER_S="0") as live:
        yield live


@pytest.fixture
def claim(service: LiveService, redis_url: str) -> Claim:
    httpx.post(f"{service.url}/jobs", json=SPEC, timeout=60).raise_for_status()
    claim = JobStore(connect(redis_url)).claim(Pool.CPU, worker="w", device="cpu", lease_s=600)
    assert claim is not None
    return claim


def open_files(service: LiveService) -> int:
    assert service.process is not None
    return len(os.listdir(f"/proc/{service.process.pid}/fd"))


def streams(service: LiveService) -> int:
    return httpx.get(f"{service.url}/readyz", timeout=60).json()["streams"]


def test_a_hundred_clients_that_never_read_block_nobody_and_leave_nothing(
    service: LiveService, claim: Claim, redis_url: str
) -> None:
    before = open_files(service)
    ask = f"GET /jobs/{claim.job.id}/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n".encode()
    port = int(service.url.rpartition(":")[2])
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(STREAMS)]
    for connection in silent:
        connection.sendall(ask)
    wait_until(lambda: streams(service) == STREAMS, 60)
    store = JobStore(connect(redis_url))
    for number in range(1, 201):
        store.report(claim, number, [("warning", {"message": "x" * 4000}, {})])
    with httpx.stream(
        "GET", f"{service.url}/jobs/{claim.job.id}/events", headers={"Accept": "text/event-stream"}, timeout=60
    ) as reader:
        got = sum(line == "event: warning" for line in _until(reader.iter_lines(), 200, "event: warning"))
    assert got == 200
    assert all(httpx.get(f"{service.url}/jobs/{claim.job.id}", timeout=60).status_code == 200 for _ in range(50))
    for connection in silent:
        connection.close()
    wait_until(lambda: streams(service) == 0, 60)
    # what stays open are connections to Redis, one a thread at most
    wait_until(lambda: open_files(service) < before + STREAMS // 2, 60, what="the connections are closed")


def _until(lines: Iterator[str], n: int, wanted: str) -> Iterator[str]:
    """Lines up to and with the n-th that is `wanted`."""
    for line in lines:
        yield line
        n -= line == wanted
        if n == 0:
            return


def test_hundreds_of_half_sent_requests_block_nobody(service: LiveService) -> None:
    port = int(service.url.rpartition(":")[2])
    half = [socket.create_connection(("127.0.0.1", port)) for _ in range(LORISES)]
    for number, connection in enumerate(half):
        connection.sendall(b"POST /jobs HTTP/1.1\r\nHost: 127.0.0.1\r\n" + (b"X-A: b\r\n" if number % 2 else b""))
    for _ in range(20):
        assert httpx.post(f"{service.url}/jobs", json=SPEC, timeout=60).status_code == 202
    for connection in half:
        assert everything_until_its_end(_patiently(connection)) in (b"",)
        connection.close()
    wait_until(lambda: httpx.get(f"{service.url}/livez", timeout=60).status_code == 200)


def _patiently(connection: socket.socket) -> socket.socket:
    connection.settimeout(60)
    return connection


def test_one_key_cannot_hold_all_streams(redis_url: str, folder: Path) -> None:
    app = create_app(settings(redis_url, folder, max_streams=4))
    with served(app, "on") as port:
        url = f"http://127.0.0.1:{port}"
        job = httpx.post(f"{url}/jobs", json=SPEC, timeout=60).json()["id"]
        ask = f"GET /jobs/{job}/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n".encode()
        held = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
        for connection in held:
            connection.sendall(ask)
        wait_until(lambda: httpx.get(f"{url}/readyz", timeout=60).json()["streams"] == 2)
        refused = httpx.get(f"{url}/jobs/{job}/events", headers={"Accept": "text/event-stream"})
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        assert not app.state.backend.hub.full("somebody else")
        for connection in held:
            connection.close()
        wait_until(lambda: httpx.get(f"{url}/readyz", timeout=60).json()["streams"] == 0)
