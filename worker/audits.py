"""Audits, the supervisor's half: states that a trainer set aside go to the CPU lane, a verdict comes back.

Knows no step and no state. A lane that has batches to compute is not asked.
"""

import time
from dataclasses import dataclass
from typing import Any

from jobs.audit import AuditTicket, Finding, Verdict
from jobs.dispatch import Bell
from jobs.errors import StoreUnavailable
from jobs.fault import Fault, FaultKind
from jobs.fleet import Fleet
from jobs.job import Checkpoint, Claim
from jobs.tickets import Tickets
from worker.reporter import Reporter
from worker.runfolder import RunFolder
from worker.trainer import Trainer

DEADLINE_S = 60.0
GO_BACK = "the job goes back to its last audited state; the device is closed off until it passes its tests"


@dataclass
class Audits:
    """One of an attempt is under way at most."""

    claim: Claim
    device: str
    folder: RunFolder
    volume: str
    tickets: Tickets
    bell: Bell
    fleet: Fleet
    _open: AuditTicket | None = None

    @property
    def waiting(self) -> bool:
        return self._open is not None

    def send(self, message: dict[str, Any], trainer: Trainer) -> None:
        """Raises StaleFence."""
        ticket = AuditTicket(
            self.claim.job.id, self.claim.attempt, self.claim.fence, message["first"], message["steps"],
            self.folder.relative(message["folder"]), self.volume, time.time() + DEADLINE_S,
        )  # fmt: skip
        try:
            if self.fleet.lanes() and self.tickets.open_audit(ticket, DEADLINE_S):
                self.bell.audit(ticket)
                self._open = ticket
                return
        except StoreUnavailable:
            pass
        trainer.send("audited", agrees=False)

    def collect(self, reporter: Reporter, trainer: Trainer) -> Fault | None:
        """Passes the verdict on, if it has come; a fault if the device computes wrongly."""
        if self._open is None:
            return None
        try:
            verdict = self.tickets.verdict(self._open)
        except StoreUnavailable:
            return None
        if verdict is None:
            if time.time() > self._open.deadline_at:
                self._close(trainer, agrees=False)
            return None
        return self._hear(verdict, self._open, reporter, trainer)

    def _hear(self, verdict: Verdict, ticket: AuditTicket, reporter: Reporter, trainer: Trainer) -> Fault | None:
        data = {**verdict.to_dict(), "first": ticket.first, "steps": ticket.steps, "device": self.device}
        reporter.event("audited", data)
        if verdict.finding is Finding.DEVICE_WRONG:
            self._open = None
            message = f"an audit found wrong numbers: {verdict.detail}"
            return Fault(FaultKind.WRONG_RESULT, message, verdict.step, self.device, GO_BACK)
        if verdict.finding is Finding.AGREES:
            last = ticket.first + ticket.steps - 1
            reporter.audited(Checkpoint(last, f"{ticket.folder}/{last}", self.volume))
        else:
            reporter.event("warning", {"message": f"an audit of step {verdict.step} on {verdict.worker} found "
                                                  f"{verdict.finding}: {verdict.detail}"})  # fmt: skip
        self._close(trainer, verdict.finding is Finding.AGREES)
        return None

    def _close(self, trainer: Trainer, agrees: bool) -> None:
        self._open = None
        trainer.send("audited", agrees=agrees)
