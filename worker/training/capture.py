"""The captured step: gather, forward, backward and optimizer as one CUDA or HIP graph, replayed without the host.

The same step function as everywhere; it stays right because a step reads k, rows and learning rate from the device, and
because its window is judged. Knows no fault: whoever sees one drops the graph and captures again.
"""

from collections.abc import Callable

import numpy as np
import torch

from worker.training.batches import ResidentBatches
from worker.training.order import Schedule
from worker.training.step import Stepper

WARM_UP = 3
TABLE_ROWS = 256


class Captured:
    """The step's graph, made on first use. `why_not` says why steps run one by one instead."""

    def __init__(self, make: "Callable[[], CapturedStep]", why_not: str | None) -> None:
        self._make, self.why_not = make, why_not
        self._step: CapturedStep | None = None

    def step(self) -> "CapturedStep | None":
        """The graph, or None where there can be none."""
        if self.why_not is None and self._step is None:
            try:
                self._step = self._make()
            except Exception as error:  # noqa: BLE001 - a step that cannot be captured runs eagerly, and says so
                self.why_not = f"{type(error).__name__}: {error}"
        return self._step

    def compile(self, stepper: Stepper) -> str | None:
        """Captures the compiled step instead; why not, where it cannot be compiled: then the plain one stays."""
        plain, self._step = self._step, None
        stepper.compile(True)
        if self.step() is not None:
            return None
        reason, self.why_not = self.why_not, None
        stepper.compile(False)
        self._step = plain
        return reason

    def give_up(self, why: str) -> None:
        """Steps run one by one from here on."""
        self._step, self.why_not = None, why

    def drop(self) -> None:
        """After a fault: its memory may be what the device lacks."""
        self._step = None


class CapturedStep:
    """Replays the step over a table of rows that is uploaded once a window of steps."""

    def __init__(self, stepper: Stepper, batches: ResidentBatches, schedule: Schedule, crops: bool) -> None:
        device = stepper.state.device
        self._stepper, self._batches = stepper, batches
        self._rows = torch.zeros(TABLE_ROWS, schedule.batch_size, dtype=torch.int64, device=device)
        self._shifts = torch.zeros_like(self._rows) if crops else None
        self._cursor = torch.zeros(1, dtype=torch.int64, device=device)
        self._graph = self._capture()

    def load(self, rows: np.ndarray, shifts: np.ndarray | None) -> None:
        """rows and shifts: (n, B) for the next n <= TABLE_ROWS replays."""
        self._rows[: len(rows)].copy_(torch.from_numpy(rows).pin_memory(), non_blocking=True)
        if self._shifts is not None and shifts is not None:
            self._shifts[: len(shifts)].copy_(torch.from_numpy(shifts).pin_memory(), non_blocking=True)
        self._cursor.zero_()

    def replay(self) -> None:
        """One step, at the table's next rows; the device may be behind."""
        self._graph.replay()

    def _capture(self) -> torch.cuda.CUDAGraph:
        """Warm-up runs real steps, so the state is put back afterwards, in place."""
        state = self._stepper.state
        before = {name: t.clone() for name, t in state.tensors().items()}
        places = [t.data_ptr() for t in state.changing()]
        try:
            self._warm_up(state.device)
            if places != [t.data_ptr() for t in state.changing()]:
                raise RuntimeError("a step moves parameters to other memory, which a graph would not see")
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self._body()
        finally:
            self._stepper.restart(before)
        self._cursor.zero_()
        return graph

    def _warm_up(self, device: torch.device) -> None:
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self._body()
        torch.cuda.current_stream(device).wait_stream(stream)

    def _body(self) -> None:
        rows = self._rows.index_select(0, self._cursor).view(-1)
        shifts = self._shifts.index_select(0, self._cursor).view(-1) if self._shifts is not None else None
        self._stepper.in_window(*self._batches.take(rows, shifts))
        self._cursor.add_(1)
