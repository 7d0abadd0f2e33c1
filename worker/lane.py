"""The batch lane, the supervisor's half: take a ticket, have the warm process compute it, answer.

Knows no step. A ticket that is late, taken or fenced off is dropped without a word: its trainer goes on by itself.
"""

import os
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

from jobs.audit import AuditTicket, Finding, Verdict
from jobs.batch import BatchResult, BatchTicket
from worker.services import Services
from worker.training.protocol import PipeClosed, pair

_process: "LaneProcess | None" = None


def run(ticket: BatchTicket, services: Services) -> None:
    if ticket.volume != services.volume or not services.tickets.take(ticket, services.name):
        return
    result = _compute(ticket, services)
    services.tickets.answer(ticket, result)


def audit(ticket: AuditTicket, services: Services) -> None:
    if ticket.volume != services.volume or not services.tickets.take(ticket, services.name):
        return
    folder = services.settings.runs.resolve() / ticket.folder
    answer = _ask(ticket, services, "audit", first=ticket.first, steps=ticket.steps, folder=str(folder))
    unsettled = {"finding": Finding.UNSETTLED, "step": ticket.first, "error": 0.0, "detail": answer.get("error", "")}
    verdict = Verdict.from_dict({**answer.get("verdict", unsettled), "worker": services.name})
    services.tickets.answer(ticket, verdict)


def expect(job_id: str, services: Services) -> None:
    """Has the process build the job's model and open its data while nothing waits."""
    warm(services)
    assert _process is not None
    _process.expect(job_id)


def warm(services: Services) -> None:
    """Starts the process before the first ticket, so that no step pays for the imports."""
    global _process
    if _process is None or not _process.alive:
        _process = LaneProcess(services)


def _compute(ticket: BatchTicket, services: Services) -> BatchResult:
    runs = services.settings.runs.resolve()
    answer = _ask(ticket, services, "ticket", step=ticket.step, before=str(runs / ticket.checkpoint),
                  after=str(runs / ticket.answer))  # fmt: skip
    return BatchResult(
        ticket.id, answer["ok"], ticket.answer if answer["ok"] else None, answer.get("digest"), answer.get("error"),
        services.name, "cpu", answer.get("step_s", 0.0),
    )  # fmt: skip


def _ask(ticket: BatchTicket | AuditTicket, services: Services, type: str, **fields: Any) -> dict[str, Any]:
    global _process
    warm(services)
    assert _process is not None
    answer = _process.ask(ticket.deadline_at, type, job=ticket.job_id, **fields)
    if answer is None:
        _process.kill()
        _process = None
        return {"ok": False, "error": "the lane's process died or ran out of time"}
    return answer


class LaneProcess:
    def __init__(self, services: Services) -> None:
        self._channel, theirs = pair()
        settings = services.settings
        command = [
            sys.executable, "-m", "worker.training.lane",
            "--channel", str(theirs.fileno()), "--parent", str(os.getpid()),
            "--threads", str(services.threads), "--runs", str(settings.runs.resolve()),
            "--data", str(settings.data.resolve()), "--cache", str(settings.cache.resolve()),
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True
        )
        theirs.close()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def expect(self, job_id: str) -> None:
        """A process that has gone is found out by the next ticket."""
        with suppress(PipeClosed):
            self._channel.send("expect", job=job_id)

    def ask(self, deadline_at: float, type: str, **fields: Any) -> dict[str, Any] | None:
        """The answer, or None when there is none before the deadline."""
        try:
            self._channel.send(type, **fields)
            return self._next(deadline_at)
        except PipeClosed:
            return None

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._channel.close()

    def _next(self, deadline_at: float) -> dict | None:
        while (left := deadline_at - time.time()) > 0:
            if messages := self._channel.poll(left):
                return messages[0]
        return None
