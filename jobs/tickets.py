"""Tickets: batches on their way to another pool. One taker, one answer, none after the deadline or a newer fence.

Knows no step: what is computed lies in checkpoints.
"""

import json
from typing import Any

import redis

from jobs import keys
from jobs.audit import AuditTicket, Verdict
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

    def open_audit(self, ticket: AuditTicket, deadline_s: float) -> bool:
        """Whether the lane was idle: an audit never makes a batch wait in line. Raises StaleFence."""
        text = json.dumps(ticket.to_dict())
        answer = self._run("ticket", "audit", *self._who(ticket), text, int(deadline_s * 1000))
        if answer == "stale":
            raise StaleFence(f"attempt {ticket.attempt} of {ticket.job_id} is no longer the job's")
        return answer == "ok"

    def take(self, ticket: BatchTicket | AuditTicket, worker: str) -> bool:
        """Whether this worker is the one to compute it."""
        return self._run("ticket", "take", *self._who(ticket), worker) == "ok"

    def answer(self, ticket: BatchTicket | AuditTicket, result: BatchResult | Verdict) -> bool:
        """Whether the answer was still wanted."""
        text = json.dumps(result.to_dict())
        return self._run("ticket", "answer", *self._who(ticket), result.worker, text) == "ok"

    def result(self, ticket: BatchTicket) -> BatchResult | None:
        found = self._answer(ticket.id)
        return BatchResult.from_dict(found) if found else None

    def verdict(self, ticket: AuditTicket) -> Verdict | None:
        found = self._answer(ticket.id)
        return Verdict.from_dict(found) if found else None

    def _answer(self, ticket_id: str) -> dict[str, Any] | None:
        with away_is_unavailable():
            text = self._redis.hget(keys.ticket(ticket_id), "result")
        return json.loads(text) if text else None

    @staticmethod
    def _who(ticket: BatchTicket | AuditTicket) -> tuple[str, str, int]:
        return ticket.id, ticket.job_id, ticket.fence
