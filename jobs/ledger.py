"""The ledger: where each step was computed. One live row a step; those behind a resumed checkpoint are superseded.

Knows what was committed, not what a step does.
"""

import json
from dataclasses import dataclass
from typing import Any

import redis

from jobs import keys
from jobs.connection import Scripts, away_is_unavailable
from jobs.errors import LedgerGap, ReplayDiffers, StaleFence
from jobs.job import Claim


@dataclass(frozen=True)
class Run:
    """Steps first..last (inclusive) computed by one attempt on one device."""

    attempt: int
    first: int
    last: int
    device: str
    reason: str | None = None
    digest: str | None = None
    superseded: bool = False


class Ledger:
    def __init__(self, client: redis.Redis) -> None:
        self._redis: Any = client
        self._run = Scripts(client)

    def commit(self, claim: Claim, first: int, last: int, device: str, reason: str = "", digest: str = "") -> None:
        """The next steps, in order; sent again it changes nothing. `digest` is of the state after them.

        Raises StaleFence, LedgerGap, ReplayDiffers.
        """
        answer = self._run("commit", claim.job.id, claim.fence, claim.attempt, first, last, device, reason, digest)
        self._check(claim, answer, first)

    def resume(self, claim: Claim, step: int) -> None:
        """The attempt goes on from the state at `step`. Raises StaleFence, LedgerGap."""
        self._check(claim, self._run("resume", claim.job.id, claim.fence, step), step)

    def runs(self, job_id: str) -> list[Run]:
        with away_is_unavailable():
            rows = self._redis.lrange(keys.ledger(job_id), 0, -1)
        return [Run(**json.loads(row)) for row in rows]

    @staticmethod
    def _check(claim: Claim, answer: str, step: int) -> None:
        if answer == "stale":
            raise StaleFence(f"attempt {claim.attempt} of {claim.job.id} is no longer the job's")
        if answer == "differs":
            raise ReplayDiffers(
                f"the steps from {step} on, computed again on the same kind of device, gave another state",
                hint="training.deterministic promises the same bits: the device or the driver does not keep it",
            )
        if answer == "gap":
            raise LedgerGap(f"step {step} of {claim.job.id} does not follow the last committed one")
