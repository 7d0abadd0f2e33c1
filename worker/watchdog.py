"""Watchdog: holds a trainer to its own promises of when it speaks again. Pure: times in, a verdict out."""

from dataclasses import dataclass


@dataclass
class Watchdog:
    """`patience_s` is added to every promise: a busy machine is not a hang. Times are monotonic seconds."""

    patience_s: float = 5.0
    _due: float = float("inf")

    def heard(self, next_within_s: float, now: float) -> None:
        self._due = now + next_within_s + self.patience_s

    def expired(self, now: float) -> bool:
        return now > self._due
