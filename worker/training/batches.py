"""Batches: rows of a WindowIndex as tensors on the device. There is no loader: a batch is a gather.

Knows where signals lie (memory map or device), not which rows come next.
"""

import numpy as np
import torch
from torch import Tensor

from worker.data.windows import WindowIndex


class HostBatches:
    """Gathered from the memory map, then copied. `x`: (B, n_chans, n_times) float32, `y`: (B,) float32."""

    def __init__(self, index: WindowIndex, device: torch.device) -> None:
        self._index, self._device = index, device
        self._pinned = device.type == "cuda"

    def __call__(self, rows: np.ndarray, shifts: np.ndarray | None = None) -> tuple[Tensor, Tensor]:
        return self._up(self._index.gather(rows, shifts)), self._up(self._index.target[rows])

    def _up(self, array: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(array)
        if self._pinned:
            tensor = tensor.pin_memory()
        return tensor.to(self._device, non_blocking=self._pinned)
