"""Hand-off, the supervisor's half: a trainer's ticket goes to `cpu.batch`, the answer comes back to its pipe.

At most one batch of an attempt is on its way. Knows no step and no state.
"""

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from jobs.batch import BatchTicket
from jobs.dispatch import Bell
from jobs.errors import StoreUnavailable
from jobs.job import Claim
from jobs.spec import Failover
from jobs.tickets import Tickets
from worker.reporter import Reporter
from worker.runfolder import RunFolder
from worker.trainer import Trainer


@dataclass
class HandOffs:
    """`volume` names the runs folder, so that a lane on another machine does not look for files it cannot see."""

    claim: Claim
    folder: RunFolder
    volume: str
    tickets: Tickets
    bell: Bell
    _open: BatchTicket | None = None
    _since: float = 0.0

    @property
    def waiting(self) -> bool:
        return self._open is not None

    def expect(self) -> None:
        """A job begins on an accelerator: the lane makes ready now, so that no ticket waits for that."""
        if self.claim.job.spec.failover is Failover.BATCH_AND_JOB:
            with suppress(StoreUnavailable):
                self.bell.expect(self.claim.job.id)

    def send(self, message: dict[str, Any], reporter: Reporter, trainer: Trainer) -> None:
        """Raises StaleFence. Without Redis the trainer is told at once, and runs the batch itself."""
        ticket = BatchTicket(
            self.claim.job.id, self.claim.attempt, self.claim.fence, message["step"],
            self.folder.relative(message["before"]), self.folder.relative(message["after"]), self.volume,
            time.time() + message["deadline_s"], message["reason"],
        )  # fmt: skip
        reporter.event("handed_off", {"step": ticket.step, "reason": ticket.reason})
        try:
            self.tickets.open(ticket, message["deadline_s"])
            self.bell.ticket(ticket)
        except StoreUnavailable:
            trainer.send("answer", step=ticket.step, ok=False)
            return
        self._open, self._since = ticket, time.monotonic()

    def collect(self, reporter: Reporter, trainer: Trainer) -> None:
        """Passes the answer on, if it has come."""
        if self._open is None:
            return
        try:
            result = self.tickets.result(self._open)
        except StoreUnavailable:
            return
        if result is not None:
            seconds = round(time.monotonic() - self._since, 3)
            reporter.event("batch_returned", {"step": self._open.step, "device": result.device, "ok": result.ok,
                                              "seconds": seconds, "step_s": result.step_s})  # fmt: skip
            trainer.send("answer", step=self._open.step, ok=result.ok, device=result.device,
                         step_s=result.step_s)  # fmt: skip
            self._open = None
        elif time.time() > self._open.deadline_at:
            self._open = None
