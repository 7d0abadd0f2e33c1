"""Batches: rows of a WindowIndex as tensors on the device. There is no loader: a batch is a gather.

Knows where signals lie (memory map or device), not which rows come next. Shapes: B windows, C channels, T samples.
"""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from worker.data.windows import WindowIndex

BUDGET_SHARE = 0.5  # of the device's free memory may hold signals


class Batches(Protocol):
    """x: (B, C, T) float32 microvolts, y: (B,) float32."""

    def __call__(self, rows: np.ndarray, shifts: np.ndarray | None = None) -> tuple[Tensor, Tensor]: ...


def batches_of(index: WindowIndex, device: torch.device) -> Batches:
    """Resident on a GPU where what the windows cover fits, else from the memory map."""
    if device.type == "cuda" and index.slab_n_times() * index.n_chans * 4 <= BUDGET_SHARE * free_bytes(device):
        return ResidentBatches(index, device)
    return HostBatches(index, device)


def free_bytes(device: torch.device) -> int:
    return torch.cuda.mem_get_info(device)[0]


class HostBatches:
    """Gathered from the memory map, then copied; to a GPU through pinned memory, while it computes."""

    def __init__(self, index: WindowIndex, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        self._index, self._device, self._dtype = index, device, dtype
        self._pinned = device.type == "cuda"

    def __call__(self, rows: np.ndarray, shifts: np.ndarray | None = None) -> tuple[Tensor, Tensor]:
        return self._up(self._index.gather(rows, shifts)), self._up(self._index.target[rows])

    def _up(self, array: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(array).to(self._dtype)
        if self._pinned:
            tensor = tensor.pin_memory()
        return tensor.to(self._device, non_blocking=self._pinned)


class ResidentBatches:
    """Only the stretches that windows cover, once, on the device; windows overlap in memory as they do in time."""

    def __init__(self, index: WindowIndex, device: torch.device) -> None:
        slab = index.slab()
        self._device, self._centre = device, index.centre_shift
        self._signal_CS = torch.from_numpy(slab.signal).to(device)
        self._start = torch.from_numpy(slab.start).to(device)
        self._target = torch.from_numpy(index.target).to(device)
        self._within = torch.arange(index.n_times, device=device)

    def __call__(self, rows: np.ndarray, shifts: np.ndarray | None = None) -> tuple[Tensor, Tensor]:
        return self.take(self._up(rows), self._up(shifts) if shifts is not None else None)

    def take(self, rows: Tensor, shifts: Tensor | None) -> tuple[Tensor, Tensor]:
        """The same from indices that are on the device already, without a wait: rows and shifts (B,) int64."""
        start = self._start.index_select(0, rows) + (self._centre if shifts is None else shifts)
        at = (start[:, None] + self._within).view(-1)
        x_CBT = self._signal_CS.index_select(1, at).view(len(self._signal_CS), len(rows), -1)
        return x_CBT.transpose(0, 1).contiguous(), self._target.index_select(0, rows)

    def _up(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self._device, non_blocking=True)
