"""Bad input, bad weather: always problem+json, never a stack trace, never a hang."""

import signal
import time

import pytest
import redis
from fastapi.testclient import TestClient

from service.app import create_app
from tests.integration.api import api_client, settings
from tests.redis_server import RedisServer

SPEC = {"task": "challenge1", "dataset": "demo"}
JSON = {"Content-Type": "application/json"}
PROBLEM = "application/problem+json"
HANG_S = 10.0  # the service gives Redis 0.9 s; a busy machine may add to that


@pytest.fixture
def own_redis(tmp_path):
    """A Redis that the test may stop."""
    server = RedisServer(tmp_path / "redis").start()
    yield server
    if server.process and server.process.poll() is None:
        server.process.send_signal(signal.SIGCONT)
        server.stop()


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b'{"task": ', JSON, 422),
        (b'{"seed": NaN}', JSON, 422),
        (b'{"metadata": {}, "model": {"params": {"x": Infinity}}}', JSON, 422),
        (b'{"training": {"lr": 1e999}}', JSON, 422),
        (b"[" * 60_000, JSON, 422),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, JSON, 422),
        (b'{"seed": ' + b"9" * 10_000 + b"}", JSON, 422),
        (b"\xff\xfe", JSON, 422),
        (b"null", JSON, 422),
        (b"", JSON, 422),
        (b'{"tags": "' + b"x" * 70_000 + b'"}', JSON, 413),
        (b"{}", {"Content-Type": "text/plain"}, 415),
        (b"task=challenge1", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ],
)
def test_a_bad_body_is_a_problem_that_says_so(api, content, headers, status):
    answer = api.post("/jobs", content=content, headers=headers)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, PROBLEM)
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"]


def test_a_forgotten_content_type_gets_a_hint(api):
    answer = api.post("/jobs", content=b"{}", headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert "--json" in answer.json()["hint"]


def test_errors_point_at_the_field(api):
    body = {"training": {"lr": "fast", "epochs": -1}, "colour": "red"}
    errors = api.post("/jobs", json=body).json()["errors"]
    assert {error["pointer"] for error in errors} == {"/training/lr", "/training/epochs", "/colour"}


def test_unknown_addresses_and_methods_are_problems_too(api):
    for method, path, status in (("GET", "/nothing", 404), ("PATCH", "/jobs", 405), ("GET", "/jobs/a/b/c", 404)):
        answer = api.request(method, path)
        assert (answer.status_code, answer.headers["Content-Type"]) == (status, PROBLEM)
    assert "GET" in api.patch("/jobs").headers["Allow"]


def test_a_bug_is_a_500_without_its_trace(api, monkeypatch):
    monkeypatch.setattr("service.routes.jobs.door.admit", lambda *_: 1 / 0)
    answer = api.post("/jobs", json=SPEC)
    assert (answer.status_code, answer.headers["Content-Type"]) == (500, PROBLEM)
    assert "division" not in answer.text


def test_a_request_id_that_was_given_is_kept(api):
    assert api.get("/livez", headers={"X-Request-ID": "abc-1"}).headers["X-Request-ID"] == "abc-1"
    assert api.get("/livez", headers={"X-Request-ID": "a b\n"}).headers["X-Request-ID"].startswith("req_")


def test_redis_that_is_gone_is_a_503_without_a_hang(own_redis, folder):
    with api_client(settings(own_redis.url, folder)) as api:
        job = api.post("/jobs", json=SPEC).json()
        own_redis.kill()
        _everything_is_a_503(api, job["id"])
        own_redis.start()
        assert api.get(f"/jobs/{job['id']}").json()["status"] == "queued"
        assert api.post("/jobs", json=SPEC).status_code == 202


def test_redis_that_is_silent_is_a_503_without_a_hang(own_redis, folder):
    with api_client(settings(own_redis.url, folder)) as api:
        job = api.post("/jobs", json=SPEC).json()
        own_redis.process.send_signal(signal.SIGSTOP)
        _everything_is_a_503(api, job["id"])


def test_redis_without_memory_refuses_with_a_503_and_what_it_holds_stays(own_redis, folder):
    redis_itself = redis.Redis(port=own_redis.port)
    with api_client(settings(own_redis.url, folder)) as api:
        job = api.post("/jobs", json=SPEC).json()
        redis_itself.config_set("maxmemory", 1)
        answer = api.post("/jobs", json=SPEC)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        redis_itself.config_set("maxmemory", 0)
        assert api.get(f"/jobs/{job['id']}").json()["status"] == "queued"
        assert api.post("/jobs", json=SPEC).status_code == 202
        assert len(api.get("/jobs").json()["data"]) == 2


def _everything_is_a_503(api: TestClient, job_id: str) -> None:
    for method, path in (("POST", "/jobs"), ("GET", "/jobs"), ("GET", f"/jobs/{job_id}?wait=20"), ("GET", "/readyz"),
                         ("GET", "/metrics"), ("GET", "/pools"), ("POST", f"/jobs/{job_id}/cancel")):  # fmt: skip
        started = time.monotonic()
        answer = api.request(method, path, json=SPEC if path == "/jobs" and method == "POST" else None)
        assert time.monotonic() - started < HANG_S, path
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1"), path
        assert api.get("/livez").status_code == 200


def test_the_service_starts_before_redis(own_redis, folder):
    own_redis.kill()
    with api_client(settings(own_redis.url, folder)) as api:
        assert api.get("/jobs").status_code == 503
        own_redis.start()
        assert api.get("/jobs").status_code == 200


def test_a_bell_that_is_not_heard_does_not_fail_the_submit(api, store, monkeypatch):
    from jobs.dispatch import Bell
    from jobs.errors import StoreUnavailable

    def deaf(*_):
        raise StoreUnavailable("the broker does not answer")

    monkeypatch.setattr(Bell, "ring", deaf)
    answer = api.post("/jobs", json=SPEC)
    assert answer.status_code == 202
    assert store.get(answer.json()["id"])


def test_a_data_folder_that_cannot_be_listed_is_not_an_empty_one(api, monkeypatch):
    def away(_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("service.shelf.scan", away)
    assert api.post("/jobs", json={**SPEC, "dataset": "late"}).status_code == 503


def test_every_operation_documents_its_problems(redis_url, folder):
    document = create_app(settings(redis_url, folder)).openapi()
    assert "HTTPValidationError" not in document["components"]["schemas"]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert PROBLEM in operation["responses"]["500"]["content"], path
