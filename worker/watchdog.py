"""Watchdog: holds a trainer to its own promises of when it speaks again. Pure: times in, a verdict out."""

from dataclasses import dataclass

LONGEST_LOOK_S = 2.0


@dataclass
class Watchdog:
    """`patience_s` is added to every promise: a busy machine is not a hang. Times are monotonic seconds."""

    patience_s: float = 5.0
    _due: float = float("inf")
    _looked: float | None = None

    def heard(self, next_within_s: float, now: float) -> None:
        self._due = now + next_within_s + self.patience_s

    def expired(self, now: float) -> bool:
        """Time in which nobody looked (this process was stopped, or waited for Redis) is not the trainer's."""
        blind_s = 0.0 if self._looked is None else now - self._looked
        self._looked = now
        if blind_s > LONGEST_LOOK_S:
            self._due += blind_s
        return now > self._due
