"""Alerts from the event to the receiver: kept with the event, sent at least once, never into the operator's network."""

import base64
import hashlib
import hmac
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from jobs import keys
from jobs.alert import Network, networks_of
from jobs.failover import Requeue
from jobs.fault import Fault, FaultKind
from jobs.job import Claim, JobState, Pool
from jobs.outbox import DeliveryState, Outbox
from jobs.spec import JobSpec, Placement
from jobs.store import JobStore
from tests.conftest import wait_until
from worker import alerts
from worker.alerts import Messenger

LOOPBACK = networks_of("127.0.0.0/8")
LOST = Fault(FaultKind.CONTEXT_LOST, "the GPU is gone")


@dataclass
class Receiver:
    """Answers with the statuses it was given, then with 200; what it heard is kept."""

    statuses: list[int] = field(default_factory=list)
    heard: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?a=b"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    it = Receiver()
    it.hold.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            it.heard.append((self.path, {k.lower(): v for k, v in self.headers.items()}, content))
            it.hold.wait(20)
            self.send_response(it.statuses.pop(0) if it.statuses else 200)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    it.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield it
    it.hold.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def outbox(client) -> Outbox:
    return Outbox(client)


@pytest.fixture
def start(store, outbox) -> Iterator[Callable[[tuple[Network, ...]], None]]:
    stop = threading.Event()
    started: list[Messenger] = []

    def run(allowed: tuple[Network, ...]) -> None:
        started.append(Messenger(store, outbox, allowed, stop))
        started[-1].start()

    yield run
    stop.set()
    for messenger in started:
        messenger.join(20)


def running(store: JobStore, *told: dict[str, Any]) -> Claim:
    store.submit(JobSpec.model_validate({"dataset": "demo", "placement": "cpu", "alerts": told}), owner="ann")
    claim = store.claim(Pool.CPU, worker="w", device="cpu", lease_s=30)
    assert claim is not None
    return claim


def ended(store: JobStore, *told: dict[str, Any]) -> str:
    claim = running(store, *told)
    store.settle(claim, JobState.SUCCEEDED)
    return claim.job.id


def states(outbox: Outbox, job_id: str) -> list[str]:
    return [delivery.state for delivery in outbox.of_job(job_id)]


# --- the outbox ---------------------------------------------------------------------------------------------------


def test_the_end_of_a_job_is_in_the_outbox_at_once_for_each_who_wants_it(store, outbox):
    job_id = ended(store, {"url": "https://a.org/x"}, {"url": "https://b.org/y", "on": ["failover"]})
    assert [(d.job_id, d.alert, d.news.type) for d in outbox.take(60, 10)] == [(job_id, 0, "succeeded")]


def test_a_job_without_alerts_tells_nobody(store, outbox, client):
    ended(store)
    assert outbox.take(60, 10) == []
    assert not client.exists(keys.PREFIX + "alerts")


def test_a_delivery_that_nobody_settled_comes_again_under_the_same_id(store, outbox):
    ended(store, {"url": "https://a.org/x"})
    first = outbox.take(0.05, 10)
    again: list[Any] = []
    wait_until(lambda: again.extend(outbox.take(60, 10)) or again)
    assert [d.news.id for d in again] == [d.news.id for d in first]
    assert again[0].tries == 2
    outbox.sent(again[0], "HTTP 200")
    assert states(outbox, first[0].job_id) == [DeliveryState.SENT]


def test_a_requeue_after_a_fault_is_a_failover_and_a_stopped_worker_is_none(store, outbox):
    claim = running(store, {"url": "https://a.org/x", "on": ["failover"]})
    store.requeue(claim, Placement.CPU, Fault(FaultKind.STOPPED, "the worker was told to drain"))
    assert outbox.of_job(claim.job.id) == []
    claim = store.claim(Pool.CPU, worker="w", device="cpu", lease_s=30)
    store.requeue(claim, Requeue(Pool.CPU).pool, LOST)
    [delivery] = outbox.of_job(claim.job.id)
    assert (delivery.news.type, delivery.news.data["fault"]["kind"]) == ("requeued", "context_lost")


def test_of_an_attempts_moved_batches_the_first_is_told(store, outbox):
    claim = running(store, {"url": "https://a.org/x"})
    moved = [("handed_off", {"step": step, "reason": "out_of_memory"}, {}) for step in (3, 5, 9)]
    store.report(claim, 1, moved)
    assert [d.news.data["step"] for d in outbox.of_job(claim.job.id)] == [3]


def test_the_deliveries_of_a_deleted_job_are_forgotten(store, outbox, client):
    job_id = ended(store, {"url": "https://a.org/x"})
    store.delete(job_id)
    assert outbox.take(60, 10) == []
    assert not client.exists(keys.PREFIX + "alerts", keys.alerts(job_id))


# --- sending ------------------------------------------------------------------------------------------------------


def test_json_is_signed_with_the_owners_secret(store, outbox, start, receiver):
    job_id = ended(store, {"url": receiver.url})
    start(LOOPBACK)
    wait_until(lambda: states(outbox, job_id) == [DeliveryState.SENT])
    [(path, headers, content)] = receiver.heard
    assert path == "/hook?a=b"
    assert headers["host"] == f"127.0.0.1:{receiver.port}"
    told = json.loads(content)
    assert (told["type"], told["job"]["id"], told["id"]) == ("job.succeeded", job_id, headers["webhook-id"])
    key = base64.b64decode(outbox.secret("ann").removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + content
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


def test_text_is_one_line_as_ntfy_takes_it(store, outbox, start, receiver):
    job_id = ended(store, {"url": receiver.url, "format": "text"})
    start(LOOPBACK)
    wait_until(lambda: receiver.heard)
    [(_, headers, content)] = receiver.heard
    assert headers["content-type"] == "text/plain; charset=utf-8"
    assert content.decode() == f"{job_id} (SCCNet on demo) succeeded"


def test_a_receiver_that_fails_hears_it_again_and_in_the_end_once(store, outbox, start, receiver, monkeypatch):
    monkeypatch.setattr(alerts, "AGAIN_AFTER_S", (0.01,) * 7)
    receiver.statuses = [500, 429]
    job_id = ended(store, {"url": receiver.url})
    start(LOOPBACK)
    wait_until(lambda: states(outbox, job_id) == [DeliveryState.SENT])
    assert len({headers["webhook-id"] for _, headers, _ in receiver.heard}) == 1
    assert len(receiver.heard) == 3


def test_a_receiver_that_always_fails_is_given_up_with_the_reason(store, outbox, start, receiver, monkeypatch):
    monkeypatch.setattr(alerts, "AGAIN_AFTER_S", (0.01, 0.01))
    receiver.statuses = [503] * 9
    job_id = ended(store, {"url": receiver.url})
    start(LOOPBACK)
    wait_until(lambda: states(outbox, job_id) == [DeliveryState.GIVEN_UP])
    assert (len(receiver.heard), outbox.of_job(job_id)[0].note) == (3, "HTTP 503")


def test_a_redirect_is_not_followed(store, outbox, start, receiver):
    receiver.statuses = [307]
    job_id = ended(store, {"url": receiver.url})
    start(LOOPBACK)
    wait_until(lambda: states(outbox, job_id) == [DeliveryState.GIVEN_UP])
    assert len(receiver.heard) == 1
    assert "redirects are not followed" in str(outbox.of_job(job_id)[0].note)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f000001", "127.1", "[::ffff:127.0.0.1]"])
def test_nothing_is_sent_into_the_operators_network(store, outbox, start, receiver, host):
    job_id = ended(store, {"url": f"http://{host}:{receiver.port}/"})
    start(())
    wait_until(lambda: states(outbox, job_id) == [DeliveryState.GIVEN_UP])
    assert receiver.heard == []
    assert "EEGQ_ALERT_NETWORKS" in str(outbox.of_job(job_id)[0].note)


def test_a_name_is_looked_up_once_and_its_answer_is_what_is_connected_to(store, outbox, start, receiver, monkeypatch):
    """A name that is public when it is checked and loopback when it is used: DNS rebinding."""
    asked: list[str] = []
    connected: list[Any] = []
    look_up = socket.getaddrinfo

    def rebinding(host: Any, port: Any, *args: Any, **more: Any) -> Any:
        if host != "evil.example":
            return look_up(host, port, *args, **more)
        asked.append(host)
        address = "93.184.216.34" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    def connect(address: Any, *_: Any) -> Any:
        connected.append(address)
        raise ConnectionRefusedError("refused")

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    monkeypatch.setattr(alerts.socket, "create_connection", connect)
    outcome = alerts.post(*_arguments(store, outbox, "http://evil.example/x"), ())
    assert outcome == alerts.Failed("refused")
    assert asked == ["evil.example"]
    assert connected == [("93.184.216.34", 80)]


def test_a_name_of_which_one_address_is_private_is_refused(store, outbox, monkeypatch):
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in ("93.184.216.34", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    outcome = alerts.post(*_arguments(store, outbox, "http://evil.example/x"), ())
    assert isinstance(outcome, alerts.Failed)
    assert outcome.for_good


def _arguments(store: JobStore, outbox: Outbox, url: str) -> tuple[Any, ...]:
    job = store.get(ended(store, {"url": url}))
    [delivery] = outbox.take(60, 1)
    return job.spec.alerts[0], delivery, job, outbox.secret("ann")


def test_a_receiver_that_never_answers_keeps_no_other_waiting(store, outbox, start, receiver, monkeypatch):
    monkeypatch.setattr(alerts, "LIMIT_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        stuck = [ended(store, {"url": f"http://127.0.0.1:{silent.getsockname()[1]}/"}) for _ in range(3)]
        job_id = ended(store, {"url": receiver.url})
        start(LOOPBACK)
        wait_until(lambda: states(outbox, job_id) == [DeliveryState.SENT])
        wait_until(lambda: all(outbox.of_job(one)[0].note for one in stuck))
        assert [state for one in stuck for state in states(outbox, one)] == [DeliveryState.WAITING] * 3


def test_an_alert_outlives_the_reaper_that_was_killed_while_it_sent_it(store, outbox, client, redis_url, receiver):
    environment = {**os.environ, "EEGQ_REDIS_URL": redis_url, "EEGQ_ALERT_NETWORKS": "127.0.0.0/8"}
    command = [sys.executable, "-m", "worker.reaper"]
    receiver.hold.clear()
    job_id = ended(store, {"url": receiver.url})
    first = subprocess.Popen(command, env=environment)
    wait_until(lambda: receiver.heard)
    first.kill()
    first.wait()
    receiver.hold.set()
    [delivery] = outbox.of_job(job_id)
    assert delivery.state is DeliveryState.WAITING
    client.zadd(keys.PREFIX + "alerts", {delivery.news.id: 0})  # its lease is over
    second = subprocess.Popen(command, env=environment)
    try:
        wait_until(lambda: states(outbox, job_id) == [DeliveryState.SENT])
    finally:
        second.terminate()
        second.wait(20)
    assert {headers["webhook-id"] for _, headers, _ in receiver.heard} == {delivery.news.id}
