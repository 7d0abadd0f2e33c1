"""Fixtures of every test: a real Redis, a store on it, and jobs that climb from spec to running."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch comes: tests run in several processes on few cores

import pytest
import redis

from jobs.connection import connect
from jobs.job import Claim, Job, Pool
from jobs.spec import JobSpec
from jobs.store import JobStore
from tests.redis_server import RedisServer


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.stop()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """An empty database."""
    redis.Redis(port=redis_server.port).flushall()
    return redis_server.url


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    client = connect(redis_url)
    yield client
    client.close()


@pytest.fixture
def store(client: redis.Redis) -> JobStore:
    store = JobStore(client)
    store.open()
    return store


@pytest.fixture
def spec() -> JobSpec:
    return JobSpec.model_validate({"task": "challenge1", "dataset": "demo"})


@pytest.fixture
def queued_job(store: JobStore, spec: JobSpec) -> Job:
    return store.submit(spec)[0]


@pytest.fixture
def running_job(store: JobStore, queued_job: Job) -> Claim:
    claim = store.claim(Pool.CPU, worker="w1", device="cpu", lease_s=30)
    assert claim is not None
    return claim


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    folder.mkdir()
    return folder


def wait_until(predicate: Callable[[], object], timeout_s: float = 20.0, what: str = "") -> None:
    """Returns as soon as the predicate is true; fails after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if predicate():
            return
        time.sleep(0.02)
    raise AssertionError(f"not within {timeout_s} s: {what or predicate}")
