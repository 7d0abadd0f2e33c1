"""Audits, the trainer's half: which steps are to be computed again elsewhere, and the states around them as files.

Off the critical path: a copy to the host around an audited step, files from a thread. Knows no queue and no verdict's
consequences.
"""

import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from worker.training import checkpoint
from worker.training.parts import Parts
from worker.training.reports import Reports

AFTER_A_CHANGE = 3  # the first steps on a device
Scalars = Callable[[], dict[str, Any]]


@dataclass
class Audit:
    """States at `first` and after each audited step, on the host until they are written."""

    first: int
    length: int
    states: list[tuple[int, dict[str, Tensor], dict[str, Any]]] = field(default_factory=list)

    @property
    def steps(self) -> int:
        return len(self.states) - 1

    @property
    def last(self) -> int:
        return self.first + self.steps - 1


class Audits:
    """One at a time. `every_s` 0 means none; the steps after the start on a device come first."""

    def __init__(self, parts: Parts, folder: Path, reports: Reports, every_s: float) -> None:
        self._parts, self._folder, self._reports, self._every_s = parts, folder, reports, every_s
        self._possible = every_s > 0 and can_be_audited(parts)
        self._length, self._due_at = AFTER_A_CHANGE, time.monotonic()
        self._taking: Audit | None = None
        self._written: Audit | None = None
        self._asked: Audit | None = None
        self._thread: threading.Thread | None = None
        self._kept: Path | None = None

    def takes(self, k: int, scalars: Scalars) -> bool:
        """Whether step k is to be audited, and so has to be run alone; keeps the state before it."""
        if self._taking is None and self._is_due():
            self._taking = Audit(k, self._length)
            self._copy(k, scalars)
        return self._taking is not None

    def keep(self, k: int, scalars: Scalars) -> None:
        """After an audited step: the state is now the one at k. The last step of an epoch ends an audit, because
        the epoch's score follows before the next step."""
        audit = self._taking
        assert audit is not None
        self._copy(k, scalars)
        if audit.steps == audit.length or k % self._parts.schedule.steps_per_epoch == 0:
            self._taking, self._due_at = None, time.monotonic() + self._every_s
            self._thread = threading.Thread(target=self._write, args=(audit,), name="audit")
            self._thread.start()

    def drop(self) -> None:
        """The step failed: it is computed elsewhere anyway."""
        self._taking = None

    def ask(self) -> None:
        """Asks for the verdict on what has been written since."""
        audit, self._written = self._written, None
        if audit is not None:
            self._asked = audit
            self._reports.tell("audit", first=audit.first, steps=audit.steps, folder=str(self._folder))

    def finish(self) -> None:
        """The run ends: what was taken is still asked for."""
        if self._thread is not None:
            self._thread.join()
        self.ask()

    def hear(self, agrees: bool) -> None:
        """The answer. Of states that were right the one before the last step stays: a point to go back to."""
        audit, self._asked = self._asked, None
        if audit is None:
            return
        if agrees:
            self._length = 1
            if self._kept is not None:
                shutil.rmtree(self._kept, ignore_errors=True)
            self._kept = self._folder / str(audit.last)
        for k, _, _ in audit.states:
            if self._folder / str(k) != self._kept:
                shutil.rmtree(self._folder / str(k), ignore_errors=True)
        self._due_at = time.monotonic() + self._every_s

    def _is_due(self) -> bool:
        busy = self._asked or self._written or (self._thread is not None and self._thread.is_alive())
        return self._possible and not busy and time.monotonic() >= self._due_at

    def _copy(self, k: int, scalars: Scalars) -> None:
        assert self._taking is not None
        tensors = {name: t.detach().to("cpu", copy=True) for name, t in self._parts.state.tensors().items()}
        self._taking.states.append((k, tensors, {**scalars(), "precision": self._parts.stepper.precision.value}))

    def _write(self, audit: Audit) -> None:
        """A disk that takes no audit will not take the next checkpoint either, and that is told."""
        with suppress(OSError):
            for k, tensors, scalars in audit.states:
                checkpoint.write(self._folder / str(k), tensors, scalars)
                tensors.clear()
            self._written = audit


def can_be_audited(parts: Parts) -> bool:
    """On an accelerator, where the step can be repeated elsewhere and its gradient is seen in the first moments."""
    training = parts.spec.training
    has_moments = training.optimizer != "sgd" or training.momentum > 0
    return parts.device.is_accelerator and parts.built.moves_batches and has_moments
