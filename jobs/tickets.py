"""Tickets: batches on their way to another pool. One taker, one answer, none after the deadline or a newer fence.

Knows no step: what is computed lies in checkpoints.
"""

import json
from typing import Any

import redis

from jobs import keys
from jobs.batch import BatchResult, BatchTicket
from jobs.connection import Scripts, away_is_unavailable
from jobs.errors import StaleFence


class Tickets:
    def __init__(self, client: redis.Redis) -> None:
        self._redis: Any = client
        self._run = Scripts(client)

    def open(self, ticket: BatchTicket, deadline_s: float) -> None:
        """Raises StaleFence."""
        text = json.dumps(ticket.to_dict())
        if self._run("ticket", "open", *self._who(ticket), text, int(deadline_s * 1000)) == "stale":
            raise StaleFence(f"attempt {ticket.attempt} of {ticket.job_id} is no longer the job's")

    def take(self, ticket: BatchTicket, worker: str) -> bool:
        """Whether this worker is the one to compute it."""
        return self._run("ticket", "take", *self._who(ticket), worker) == "ok"

    def answer(self, ticket: BatchTicket, result: BatchResult) -> bool:
        """Whether the answer was still wanted."""
        text = json.dumps(result.to_dict())
        return self._run("ticket", "answer", *self._who(ticket), result.worker, text) == "ok"

    def result(self, ticket: BatchTicket) -> BatchResult | None:
        with away_is_unavailable():
            text = self._redis.hget(keys.ticket(ticket.id), "result")
        return BatchResult.from_dict(json.loads(text)) if text else None

    @staticmethod
    def _who(ticket: BatchTicket) -> tuple[str, str, int]:
        return ticket.id, ticket.job_id, ticket.fence
