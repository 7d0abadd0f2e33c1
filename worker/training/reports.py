"""Reports: what the engine has to say, to a supervisor through the pipe or to a terminal. Knows no numbers' meaning."""

import json
import sys
import time
from pathlib import Path
from typing import Any, Protocol

from worker.training.protocol import Channel

START_S = 600.0  # imports, preprocessing of one recording, the first step
COMPUTE_S = 30.0  # between sync windows, an evaluation batch
DISK_S = 120.0  # a checkpoint to a slow disk
QUIET = {"commit", "progress", "checkpoint", "hello", "alive", "preprocessing"}  # on a terminal


class Reports(Protocol):
    """`tell` promises the next message within `next_within_s`; `orders` returns what was asked meanwhile;
    `answer` waits for the answer to a ticket."""

    def tell(self, type: str, next_within_s: float = COMPUTE_S, **fields: Any) -> None: ...

    def orders(self) -> list[dict[str, Any]]: ...

    def answer(self, step: int, timeout_s: float) -> dict[str, Any] | None: ...


class PipeReports:
    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._orders: list[dict[str, Any]] = []

    def tell(self, type: str, next_within_s: float = COMPUTE_S, **fields: Any) -> None:
        self._channel.send(type, next_within_s=next_within_s, **fields)

    def orders(self) -> list[dict[str, Any]]:
        orders, self._orders = [*self._orders, *self._channel.poll()], []
        return orders

    def answer(self, step: int, timeout_s: float) -> dict[str, Any] | None:
        """The answer to the ticket of `step`, or None in time; other orders wait for `orders()`."""
        until = time.monotonic() + timeout_s
        while (left := until - time.monotonic()) > 0:
            for order in self._channel.poll(left):
                if order["type"] == "answer" and order["step"] == step:
                    return order
                self._orders.append(order)
        return None


class TerminalReports:
    """For a trainer that runs alone: one line a phase, an epoch, a warning; and metrics.jsonl, begun anew."""

    def __init__(self, metrics_file: Path) -> None:
        self._started = time.monotonic()
        self._orders: list[dict[str, Any]] = []
        self._metrics_file = metrics_file
        metrics_file.parent.mkdir(parents=True, exist_ok=True)
        metrics_file.unlink(missing_ok=True)

    def tell(self, type: str, next_within_s: float = COMPUTE_S, **fields: Any) -> None:
        if type == "metrics":
            with self._metrics_file.open("a") as file:
                file.write(json.dumps({**fields, "at": time.time()}) + "\n")
        if type == "checkpoint":
            self._orders.append({"type": "published", "step": fields["step"]})
        if type in QUIET:
            return
        shown = " ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in fields.items())
        print(f"{time.monotonic() - self._started:7.1f}s {type}: {shown}", file=sys.stderr, flush=True)

    def orders(self) -> list[dict[str, Any]]:
        orders, self._orders = self._orders, []
        return orders

    def answer(self, step: int, timeout_s: float) -> dict[str, Any] | None:
        return None
