"""How a worker begins: not on a store of another release, and with beats that fit its lease."""

import os
import subprocess
import sys
from pathlib import Path

import redis

from jobs import keys
from worker.settings import WorkerSettings


def test_a_worker_refuses_a_store_of_another_release_and_says_why(client: redis.Redis, redis_url: str) -> None:
    client.set(keys.SCHEMA_KEY, keys.SCHEMA + 1)
    done = subprocess.run(
        [sys.executable, "-m", "worker", "--pool", "cpu"], capture_output=True, text=True, timeout=60,
        env={**os.environ, "EEGQ_REDIS_URL": redis_url, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert done.returncode == 1
    assert "schema" in done.stderr
    assert "finish its jobs with the release that wrote it" in done.stderr


def test_there_are_three_beats_in_a_lease_at_least() -> None:
    assert WorkerSettings(lease_s=3).beat_every_s == 1.0
    assert WorkerSettings(lease_s=30).beat_every_s == 5.0
