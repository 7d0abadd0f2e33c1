"""News of every job at once: `GET /events`, which never ends."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from service.app import create_app
from tests.integration.api import served, settings
from tests.redis_server import RedisServer

SPEC = {"task": "challenge1", "dataset": "demo", "placement": "cpu"}


@pytest.fixture
def own_redis(tmp_path) -> Iterator[RedisServer]:
    """A Redis that the test may stop."""
    server = RedisServer(tmp_path / "redis").start()
    yield server
    if server.process is not None and server.process.poll() is None:
        server.stop()


@pytest.fixture
def url(own_redis, folder) -> Iterator[str]:
    with served(create_app(settings(own_redis.url, folder)), "on") as port:
        yield f"http://127.0.0.1:{port}"


def listening(url: str, **headers: str) -> Any:
    return httpx.stream("GET", f"{url}/events", headers=headers, timeout=60)


def news(answer: httpx.Response) -> Iterator[dict[str, Any]]:
    """What comes after the greeting, which says that the stream is open."""
    lines = answer.iter_lines()
    assert next(lines) == "retry: 2000"
    for line in lines:
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def submit(url: str) -> str:
    return httpx.post(f"{url}/jobs", json=SPEC, timeout=60).json()["id"]


def test_a_stream_begins_with_what_happens_from_now_on(url):
    submit(url)
    with listening(url) as answer:
        job_id = submit(url)
        first = next(news(answer))
    assert (first["job"], first["type"]) == (job_id, "submitted")


def test_a_stream_resumes_behind_the_last_event_seen(url):
    with listening(url) as answer:
        jobs = [submit(url) for _ in range(3)]
        seen = next(news(answer))
    assert seen["job"] == jobs[0]
    with listening(url, **{"Last-Event-ID": seen["id"]}) as answer:
        following = news(answer)
        assert [next(following)["job"] for _ in range(2)] == jobs[1:]


def test_a_stream_outlives_redis(url, own_redis):
    with listening(url) as answer:
        following = news(answer)
        first = submit(url)
        assert next(following)["job"] == first
        own_redis.kill()
        assert next(following)["type"] == "unavailable"
        own_redis.start()
        assert next(following)["type"] == "available"
        second = submit(url)
        assert next(following)["job"] == second


def test_an_id_that_is_none_is_refused(url):
    refused = httpx.get(f"{url}/events", headers={"Last-Event-ID": "yesterday"}, timeout=60)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "Last-Event-ID")
