"""Errands: small pieces of work beside the jobs that a worker does once: a submission.zip, a dataset's preflight.

An errand may be done twice without harm, so a lost message is mended by asking again. Knows no HTTP and no worker.
"""

import json
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import redis

from jobs import keys
from jobs.connection import away_is_unavailable

KEEP_S = 30 * 24 * 3600
ASK_AGAIN_S = 60.0
GIVE_UP_S = 1800.0


class ErrandKind(StrEnum):
    SUBMISSION = "submission"
    PREFLIGHT = "preflight"


class ErrandState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class Errand:
    """`about` is what was asked; `report` is what the worker found. Times are seconds since the epoch."""

    id: str
    state: ErrandState
    owner: str
    about: dict[str, Any]
    created_at: float
    updated_at: float
    report: dict[str, Any] | None = None
    error: str | None = None

    def overdue(self, now: float) -> bool:
        """Nobody seems to be at it: the message was lost, or whoever had it died."""
        patience_s = {ErrandState.QUEUED: ASK_AGAIN_S, ErrandState.RUNNING: GIVE_UP_S}.get(self.state)
        return patience_s is not None and now - self.updated_at > patience_s


class Errands:
    def __init__(self, client: redis.Redis, kind: ErrandKind) -> None:
        self._redis: Any = client
        self._kind = kind

    def ask(self, errand_id: str, owner: str, about: dict[str, Any], *, anew: bool = False) -> tuple[Errand, bool]:
        """The errand, and whether a worker has to be told. Without `anew` one that is done stays done."""
        found = self.find(errand_id)
        now = time.time()
        settled = found and (found.state is ErrandState.FAILED or (anew and found.state is ErrandState.DONE))
        if found and not settled and not found.overdue(now):
            return found, False
        errand = Errand(errand_id, ErrandState.QUEUED, owner, about, now, now)
        fields = {"state": errand.state, "owner": owner, "about": json.dumps(about), "created_at": now}
        self._write(errand_id, fields, forget=("report", "error"))
        return errand, True

    def find(self, errand_id: str) -> Errand | None:
        with away_is_unavailable():
            row = self._redis.hgetall(self._key(errand_id))
        return _errand(errand_id, row) if row else None

    def start(self, errand_id: str) -> Errand | None:
        """For the worker: what was asked, or None where it is done or forgotten."""
        found = self.find(errand_id)
        if found is None or found.state is ErrandState.DONE:
            return None
        self._write(errand_id, {"state": ErrandState.RUNNING})
        return found

    def finish(self, errand_id: str, report: dict[str, Any]) -> None:
        self._write(errand_id, {"state": ErrandState.DONE, "report": json.dumps(report)}, forget=("error",))

    def fail(self, errand_id: str, error: str) -> None:
        """`error` is for a person: what is wrong and what to do about it."""
        self._write(errand_id, {"state": ErrandState.FAILED, "error": error})

    def _write(self, errand_id: str, fields: dict[str, Any], forget: tuple[str, ...] = ()) -> None:
        key = self._key(errand_id)
        with away_is_unavailable():
            pipe = self._redis.pipeline(transaction=True)
            if forget:
                pipe.hdel(key, *forget)
            pipe.hset(key, mapping={**fields, "updated_at": time.time()})
            pipe.expire(key, KEEP_S)
            pipe.execute()

    def _key(self, errand_id: str) -> str:
        return keys.errand(self._kind, errand_id)


def _errand(errand_id: str, row: dict[str, str]) -> Errand:
    return Errand(
        id=errand_id,
        state=ErrandState(row["state"]),
        owner=row["owner"],
        about=json.loads(row["about"]),
        created_at=float(row["created_at"]),
        updated_at=float(row["updated_at"]),
        report=json.loads(row["report"]) if "report" in row else None,
        error=row.get("error"),
    )
