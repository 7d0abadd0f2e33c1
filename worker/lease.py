"""Lease: beaten by the supervisor while it holds a job. Knows nothing of what the job does."""

import time
from dataclasses import dataclass

from jobs.errors import StoreUnavailable
from jobs.job import Claim, Order
from jobs.store import JobStore


@dataclass
class Lease:
    """A lost Redis is waited for: training goes on, and the reaper extends every lease after an outage."""

    store: JobStore
    claim: Claim
    lease_s: float
    beat_s: float
    stay_s: float
    _beaten_at: float = 0.0

    def keep(self) -> None:
        """A beat where one is due, while orders do not matter any more. Raises StaleFence."""
        self.beat_if_due()

    def beat_if_due(self) -> Order | None:
        """What the attempt is told to do, if anything. Raises StaleFence."""
        now = time.monotonic()
        if now - self._beaten_at < self.beat_s:
            return None
        self._beaten_at = now
        try:
            return self.store.beat(self.claim, self.lease_s, self.stay_s)
        except StoreUnavailable:
            return None
