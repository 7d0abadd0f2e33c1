"""Reporter: an outbox of what an attempt has to write, sent in order. A broker outage only makes it longer.

Every entry is idempotent under the fence, so sending one again after a lost reply is harmless. Knows no trainer.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from jobs.errors import StoreUnavailable
from jobs.job import Checkpoint, Claim
from jobs.ledger import Ledger
from jobs.store import JobStore

FLUSH_EVERY_S = 0.5
AT_ONCE = {"phase", "fault", "handed_off", "batch_returned", "audited", "warning", "metrics"}

Write = Callable[[], None]


class Reporter:
    def __init__(self, store: JobStore, ledger: Ledger, claim: Claim) -> None:
        self._store, self._ledger, self._claim = store, ledger, claim
        self._outbox: deque[Write] = deque()
        self._events: list[tuple[str, dict[str, Any], dict[str, Any]]] = []
        self._steps: tuple[int, int, str] | None = None
        self._told = 0
        self._flushed_at = 0.0
        self._urgent = False

    def event(self, type: str, data: dict[str, Any], fields: dict[str, Any] | None = None) -> None:
        """Neighbouring `progress` events become one: only the last is of interest."""
        if type == "progress" and self._events and self._events[-1][0] == "progress":
            self._events.pop()
        self._events.append((type, data, fields or {}))
        self._urgent |= type in AT_ONCE

    def steps(self, first: int, last: int, device: str, reason: str = "", digest: str = "") -> None:
        """Committed steps; neighbouring windows on one device become one row, up to one with a digest."""
        special = bool(reason or digest)
        if not special and self._steps and self._steps[1] == first - 1 and self._steps[2] == device:
            self._steps = (self._steps[0], last, device)
            return
        self._seal_steps()
        if special:
            self._outbox.append(lambda: self._ledger.commit(self._claim, first, last, device, reason, digest))
        else:
            self._steps = (first, last, device)

    def resumed(self, step: int) -> None:
        self._outbox.append(lambda: self._ledger.resume(self._claim, step))

    def checkpoint(self, checkpoint: Checkpoint, then: Write) -> None:
        """Published after the rows of its steps; `then` follows once it is."""
        self._seal_steps()
        self._outbox.append(lambda: self._store.publish(self._claim, checkpoint))
        self._outbox.append(then)

    def audited(self, checkpoint: Checkpoint) -> None:
        """The device was right at this checkpoint's step: should it be wrong later, the job goes back there."""
        self._seal_steps()
        self._outbox.append(lambda: self._store.audited(self._claim, checkpoint))

    def then(self, write: Write) -> None:
        """Once all before it is written under the fence, so a zombie never gets there. It must bear a repetition."""
        self._seal_events()
        self._outbox.append(write)

    def forget(self) -> None:
        """What was not sent yet has not happened: the job goes on from its last published checkpoint."""
        self._outbox.clear()
        self._events.clear()
        self._steps = None

    def flush_if_due(self) -> None:
        """Raises StaleFence."""
        if self._urgent or time.monotonic() - self._flushed_at >= FLUSH_EVERY_S:
            self.flush()

    def flush(self) -> bool:
        """Sends all there is; whether the outbox is empty. Raises StaleFence."""
        self._flushed_at, self._urgent = time.monotonic(), False
        self._seal_steps()
        self._seal_events()
        while self._outbox:
            try:
                self._outbox[0]()
            except StoreUnavailable:
                return False
            self._outbox.popleft()
        return True

    def _seal_steps(self) -> None:
        if self._steps is not None:
            first, last, device = self._steps
            self._outbox.append(lambda: self._ledger.commit(self._claim, first, last, device))
            self._steps = None

    def _seal_events(self) -> None:
        if self._events:
            events, first = self._events, self._told + 1
            self._told += len(events)
            self._events = []
            self._outbox.append(lambda: self._store.report(self._claim, first, events))
