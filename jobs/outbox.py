"""Outbox: alerts that are to be sent. The scripts put them in together with the event they tell of.

Whoever takes a delivery has it for a lease; one that is not settled by then comes again, under the same id.
"""

import base64
import json
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import redis

from jobs import keys
from jobs.alert import News
from jobs.connection import Scripts, away_is_unavailable

SECRET_PREFIX = "whsec_"  # of the Standard Webhooks specification, as is the signature


class DeliveryState(StrEnum):
    WAITING = "waiting"
    SENT = "sent"
    GIVEN_UP = "given_up"


@dataclass(frozen=True)
class Delivery:
    """One event for one of a job's alerts. `note` says how the last try went; times are seconds since the epoch."""

    job_id: str
    alert: int
    news: News
    state: DeliveryState
    tries: int
    note: str | None = None
    told_at: float | None = None


class Outbox:
    def __init__(self, client: redis.Redis) -> None:
        self._redis: Any = client
        self._run = Scripts(client)

    def take(self, lease_s: float, most: int) -> list[Delivery]:
        """Deliveries that are due, the longest due first; each counts as tried."""
        flat = self._run("alert", "take", int(lease_s * 1000), most)
        return [_delivery(name, json.loads(text)) for name, text in zip(flat[::2], flat[1::2], strict=True)]

    def sent(self, delivery: Delivery, note: str) -> None:
        self._settle(delivery, DeliveryState.SENT, note)

    def again(self, delivery: Delivery, note: str, after_s: float) -> None:
        self._settle(delivery, DeliveryState.WAITING, note, after_s)

    def give_up(self, delivery: Delivery, note: str) -> None:
        self._settle(delivery, DeliveryState.GIVEN_UP, note)

    def of_job(self, job_id: str) -> list[Delivery]:
        """What was or is to be told of a job, oldest first."""
        with away_is_unavailable():
            rows = self._redis.hgetall(keys.alerts(job_id))
        found = [_delivery(f"{job_id}.{field}", json.loads(text)) for field, text in rows.items()]
        return sorted(found, key=lambda delivery: (delivery.news.at, delivery.news.id))

    def counts(self) -> dict[str, int]:
        """Deliveries that were settled, by how."""
        with away_is_unavailable():
            return {state: int(n) for state, n in self._redis.hgetall(keys.ALERT_COUNTS).items()}

    def secret(self, owner: str, *, anew: bool = False) -> str:
        """What signs the owner's alerts; made at its first use."""
        made = SECRET_PREFIX + base64.b64encode(secrets.token_bytes(24)).decode()
        with away_is_unavailable():
            if anew:
                self._redis.hset(keys.ALERT_SECRETS, owner, made)
            else:
                self._redis.hsetnx(keys.ALERT_SECRETS, owner, made)
            return self._redis.hget(keys.ALERT_SECRETS, owner)

    def _settle(self, delivery: Delivery, state: DeliveryState, note: str, after_s: float = 0.0) -> None:
        self._run("alert", "settle", delivery.news.id, state, note, int(after_s * 1000))


def _delivery(name: str, row: dict[str, Any]) -> Delivery:
    return Delivery(
        job_id=name.partition(".")[0],
        alert=int(name.rpartition(".")[2]) - 1,
        news=News(name, row["type"], row["at"] / 1000, json.loads(row["data"])),
        state=DeliveryState(row["state"]),
        tries=row["tries"],
        note=row.get("note"),
        told_at=row["told"] / 1000 if "told" in row else None,
    )
