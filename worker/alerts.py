"""Alerts on their way out: a thread beside the reaper takes them from the outbox, sends them, and tries again later.

It never follows a redirect and connects to the very address that it looked up and found to be allowed, so that no name
can lead it into the operator's network. Knows no job beyond what is told of it.
"""

import base64
import hashlib
import hmac
import http.client
import random
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import structlog

from jobs.alert import Alert, Network, body, may_be_told, split
from jobs.errors import StoreUnavailable, UnknownJob
from jobs.job import Job
from jobs.outbox import SECRET_PREFIX, Delivery, Outbox
from jobs.store import JobStore

AT_ONCE = 8
LIMIT_S = 10.0
SLOW_S = 5.0
LEFT_ALONE_S = 60.0
LEASE_S = 60.0
LOOK_EVERY_S = 1.0
AGAIN_AFTER_S = (5, 30, 120, 600, 3600, 4 * 3600, 12 * 3600)
WORTH_ANOTHER_TRY = {408, 425, 429, *range(500, 600)}

log = structlog.get_logger()


@dataclass(frozen=True)
class Sent:
    status: int


@dataclass(frozen=True)
class Failed:
    reason: str
    for_good: bool = False


class Messenger(threading.Thread):
    """Several may run beside each other: a delivery is taken by one at a time."""

    def __init__(self, store: JobStore, outbox: Outbox, allowed: tuple[Network, ...], stop: threading.Event) -> None:
        super().__init__(name="alerts", daemon=True)
        self._store, self._outbox, self._allowed, self._stopping = store, outbox, allowed, stop
        self._silent: dict[str, float] = {}

    def run(self) -> None:
        """A receiver that is slow holds one of the places, not the others."""
        under_way: set[Future[None]] = set()
        with ThreadPoolExecutor(AT_ONCE, "alert") as pool:
            while not self._stopping.is_set():
                under_way = {future for future in under_way if not future.done()}
                under_way |= {pool.submit(self.deliver, delivery) for delivery in self._take(AT_ONCE - len(under_way))}
                if not under_way:
                    self._stopping.wait(LOOK_EVERY_S)
                wait(under_way, LOOK_EVERY_S, FIRST_COMPLETED)

    def _take(self, most: int) -> list[Delivery]:
        try:
            return self._outbox.take(LEASE_S, most)
        except StoreUnavailable:
            return []

    def deliver(self, delivery: Delivery) -> None:
        """One try. While Redis is away it stays unsettled, and comes again after its lease."""
        with suppress(StoreUnavailable, UnknownJob):
            job = self._store.get(delivery.job_id)
            outcome = self._try(job.spec.alerts[delivery.alert], delivery, job)
            log.info("alert", job=job.id, attempt=len(job.attempts), delivery=delivery.news.id, outcome=str(outcome))
            self._settle(delivery, outcome)

    def _try(self, alert: Alert, delivery: Delivery, job: Job) -> Sent | Failed:
        """A host that let us wait in vain is left alone for a while, so that others' alerts need not wait for it."""
        host = str(split(alert.url).hostname)
        if time.monotonic() < self._silent.get(host, 0.0):
            return Failed(f"{host} did not answer a moment ago")
        began = time.monotonic()
        try:
            outcome = post(alert, delivery, job, self._outbox.secret(job.owner), self._allowed)
        except Exception as error:
            log.exception("alert", job=job.id, delivery=delivery.news.id)
            return Failed(f"{type(error).__name__}: {error}", for_good=True)
        if isinstance(outcome, Failed) and time.monotonic() - began > SLOW_S:
            now = time.monotonic()
            self._silent = {name: until for name, until in self._silent.items() if until > now}
            self._silent[host] = now + LEFT_ALONE_S
        return outcome

    def _settle(self, delivery: Delivery, outcome: Sent | Failed) -> None:
        match outcome:
            case Sent(status):
                self._outbox.sent(delivery, f"HTTP {status}")
            case Failed(reason, for_good) if for_good or delivery.tries > len(AGAIN_AFTER_S):
                self._outbox.give_up(delivery, reason)
            case Failed(reason):
                self._outbox.again(delivery, reason, AGAIN_AFTER_S[delivery.tries - 1] * random.uniform(0.8, 1.2))


# --- one delivery -------------------------------------------------------------------------------------------------


def post(alert: Alert, delivery: Delivery, job: Job, secret: str, allowed: tuple[Network, ...]) -> Sent | Failed:
    content_type, content = body(delivery.news, summary(job), alert.format)
    headers = {"Content-Type": content_type, "User-Agent": "eegq", **signed(delivery.news.id, content, secret)}
    url = split(alert.url)
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    try:
        with connected(url.scheme, str(url.hostname), url.port, allowed) as connection:
            connection.request("POST", path, content, headers)
            status = connection.getresponse().status
    except _Refused as error:
        return Failed(str(error), for_good=True)
    except (OSError, http.client.HTTPException) as error:
        return Failed(str(error) or type(error).__name__)
    if 200 <= status < 300:
        return Sent(status)
    note = " (redirects are not followed)" if 300 <= status < 400 else ""
    return Failed(f"HTTP {status}{note}", for_good=status not in WORTH_ANOTHER_TRY)


def summary(job: Job) -> dict[str, Any]:
    """What is told of a job."""
    return {
        "id": job.id,
        "owner": job.owner,
        "status": job.state,
        "model": job.spec.model.name,
        "dataset": job.spec.dataset.name,
        "tags": job.spec.tags,
        "metadata": job.spec.metadata,
        "best": job.best,
        "error": job.error.to_dict() if job.error else None,
        "attempts": len(job.attempts),
        "batches_moved": job.batches_moved,
        "requeues": job.requeues,
    }


def signed(delivery_id: str, content: bytes, secret: str, now: float | None = None) -> dict[str, str]:
    """The headers of the Standard Webhooks specification: HMAC-SHA256 over id, time and body."""
    moment = str(int(time.time() if now is None else now))
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    digest = hmac.new(key, f"{delivery_id}.{moment}.".encode() + content, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"webhook-id": delivery_id, "webhook-timestamp": moment, "webhook-signature": signature}


class _Refused(Exception):
    """The address may not be told."""


@contextmanager
def connected(
    scheme: str, host: str, port: int | None, allowed: tuple[Network, ...]
) -> Iterator[http.client.HTTPConnection]:
    """A connection that ends after LIMIT_S, whatever the other side does. Raises _Refused, OSError."""
    usual = {"http": 80, "https": 443}[scheme]
    sock = socket.create_connection((_looked_up(host, port or usual, allowed), port or usual), LIMIT_S)
    if scheme == "https":  # the certificate must be the name's, not the address's
        sock = ssl.create_default_context().wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    ender = threading.Timer(LIMIT_S, _cut, [sock])
    ender.daemon = True
    ender.start()
    try:
        if isinstance(sock, ssl.SSLSocket):
            sock.do_handshake()
        connection = http.client.HTTPConnection(host, port)
        connection.default_port, connection.sock = usual, sock
        yield connection
    finally:
        ender.cancel()
        sock.close()


def _looked_up(host: str, port: int, allowed: tuple[Network, ...]) -> str:
    """The one address that is then connected to. A name of which any address is not allowed is refused."""
    try:
        found = [str(row[4][0]) for row in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except UnicodeError as error:
        raise _Refused(f"{host} is no name of a host") from error
    if not all(may_be_told(address, allowed) for address in found):
        raise _Refused(f"{host} is not public; the operator allows other networks by EEGQ_ALERT_NETWORKS")
    return found[0]


def _cut(sock: socket.socket) -> None:
    with suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
