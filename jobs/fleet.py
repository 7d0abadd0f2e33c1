"""Fleet: the workers that beat and the health of their devices, as kept in Redis. The rules are in jobs/device.py."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import redis

from jobs import keys
from jobs.connection import Scripts, away_is_unavailable
from jobs.device import DeviceHealth
from jobs.job import Pool

WORKER_TTL_S = 15.0


@dataclass(frozen=True)
class Worker:
    """`info` is what it says of itself: pid, devices, versions, slots."""

    name: str
    pool: Pool
    ready: bool
    seen_at: float
    info: dict[str, Any]


@dataclass(frozen=True)
class Backlog:
    """A pool's queue: how many jobs wait and for how long the oldest has (seconds)."""

    depth: int
    oldest_s: float | None


class Fleet:
    def __init__(self, client: redis.Redis) -> None:
        self._redis: Any = client
        self._run = Scripts(client)

    def beat(self, name: str, pool: Pool, ready: bool, info: dict[str, Any]) -> None:
        self._run("worker", name, pool, int(ready), int(WORKER_TTL_S * 1000), json.dumps(info))

    def workers(self) -> list[Worker]:
        with away_is_unavailable():
            names = self._redis.zrange(keys.PREFIX + "workers", 0, -1)
            pipe = self._redis.pipeline(transaction=False)
            for name in names:
                pipe.hgetall(keys.worker(name))
            rows = pipe.execute()
        return [
            Worker(r["name"], Pool(r["pool"]), r["ready"] == "1", int(r["seen_ms"]) / 1000, json.loads(r["info"]))
            for r in rows
            if r
        ]

    def info(self, name: str) -> dict[str, Any]:
        """What a worker said of itself at its last beat; empty where that was too long ago."""
        with away_is_unavailable():
            text = self._redis.hget(keys.worker(name), "info")
        return json.loads(text) if text else {}

    def ready(self, pool: Pool) -> int:
        """How many workers of the pool beat and may take work."""
        with away_is_unavailable():
            return int(self._redis.zcount(keys.workers(pool), time.time() * 1000, "+inf"))

    def lanes(self) -> int:
        """How many workers beat that compute single batches for other pools."""
        now = time.time()
        return sum(w.info.get("takes") == "batches" and now - w.seen_at < WORKER_TTL_S for w in self.workers())

    def backlog(self, pool: str) -> Backlog:
        """`pool` is gpu, cpu or auto."""
        with away_is_unavailable():
            owners = self._redis.zrange(keys.owners(pool), 0, -1)
            pipe = self._redis.pipeline(transaction=False)
            for owner in owners:
                pipe.zcard(keys.pending(pool, owner))
                pipe.zrange(keys.pending(pool, owner), 0, 0)
            rows = pipe.execute()
            oldest = [self._redis.hget(keys.job(ids[0]), "queued_ms") for ids in rows[1::2] if ids]
        waits = [time.time() - int(ms) / 1000 for ms in oldest if ms]
        return Backlog(sum(rows[::2]), max(waits) if waits else None)

    def rings(self, pool: Pool) -> int:
        """Rings on the pool's Celery queue that no worker has heard."""
        with away_is_unavailable():
            return int(self._redis.llen(keys.CELERY_PREFIX + pool.value))

    def oldest_beat_s(self, lease_s: float) -> float | None:
        """Seconds since the running job that was silent the longest last beat; None while nothing runs."""
        with away_is_unavailable():
            first = self._redis.zrange(keys.LEASES, 0, 0, withscores=True)
        return max(0.0, time.time() + lease_s - first[0][1] / 1000) if first else None

    def step_counts(self) -> dict[tuple[str, str], int]:
        """Steps by (device, outcome); the outcome is committed, moved or superseded."""
        with away_is_unavailable():
            rows = self._redis.hgetall(keys.STEP_COUNTS)
        return {(field.rpartition(" ")[0], field.rpartition(" ")[2]): int(n) for field, n in rows.items()}

    def requeue_counts(self) -> dict[str, int]:
        """Requeues by the kind of fault."""
        with away_is_unavailable():
            return {reason: int(n) for reason, n in self._redis.hgetall(keys.REQUEUE_COUNTS).items()}

    # --- devices --------------------------------------------------------------------------------------------------

    def device(self, device_id: str) -> DeviceHealth:
        return self._device(device_id)[0]

    def devices(self) -> list[tuple[DeviceHealth, list[dict[str, Any]]]]:
        """Every device ever seen with its last tests."""
        with away_is_unavailable():
            ids = sorted(self._redis.smembers(keys.DEVICES))
        return [(self.device(device_id), self.tests(device_id)) for device_id in ids]

    def tests(self, device_id: str) -> list[dict[str, Any]]:
        with away_is_unavailable():
            text = self._redis.hget(keys.device(device_id), "tests")
        return json.loads(text) if text else []

    def change(
        self, device_id: str, rule: Callable[[DeviceHealth], DeviceHealth], tests: list[dict[str, Any]] | None = None
    ) -> DeviceHealth:
        """Applies a pure rule of jobs/device.py; if somebody else wrote in between, applies it to what they wrote."""
        while True:
            device, version = self._device(device_id)
            after = rule(device)
            record = json.dumps(asdict(after))
            text = json.dumps(tests) if tests is not None else ""
            if self._run("device", device_id, version, after.health, record, text) == "ok":
                return after

    def _device(self, device_id: str) -> tuple[DeviceHealth, str]:
        with away_is_unavailable():
            version, record = self._redis.hmget(keys.device(device_id), "version", "record")
        if record is None:
            return DeviceHealth(device_id), version or "0"
        return DeviceHealth.from_dict(json.loads(record)), version
