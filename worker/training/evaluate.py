"""Predictions on validation windows, in eval mode, by the same batches as training. Knows no score (score does)."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from worker.data.windows import WindowIndex
from worker.training.batches import Batches

EVALUATION_BATCH = 256


@torch.no_grad()  # not inference_mode: what a fast forward keeps from one batch to the next serves training too
def predict(model: nn.Module, index: WindowIndex, batches: Batches, alive: Callable[[], None]) -> np.ndarray:
    """(n,) float32, one prediction a window in the index's order. `alive` is called after every batch."""
    model.eval()
    parts = []
    for start in range(0, len(index), EVALUATION_BATCH):
        x, _ = batches(np.arange(start, min(start + EVALUATION_BATCH, len(index))))
        parts.append(model(x).reshape(-1).float())
        alive()
    return torch.cat(parts).cpu().numpy()
