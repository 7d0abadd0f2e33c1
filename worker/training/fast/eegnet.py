"""EEGNet with its linear front evaluated channels first.

Knows braindecode's layout of EEGNet; the mathematics is in spatial_first.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from worker.training.fast import structure
from worker.training.fast.front import Front
from worker.training.fast.layouts import make_linear

PATH = "spatial-first EEGNet"
_FRONT = ("ensuredims", "dimshuffle", "conv_temporal", "bnorm_temporal", "conv_spatial", "bnorm_1", "elu_1", "pool_1")


def accelerate_eegnet(model: Any) -> bool:
    """Swap the forward where the structure is EEGNet's; say whether it was."""
    if type(model).__name__ != "EEGNet" or not _is_eegnet(model):
        return False
    model.fast_pool = _front(model).fused_pool(model.n_times)
    structure.swap_forward(model, forward, PATH)
    if hasattr(model.final_layer, "conv_classifier"):
        make_linear(model.final_layer.conv_classifier)
    return True


def forward(self: Any, x: Tensor) -> Tensor:
    """EEGNet's forward, (B, n_chans, n_times) -> (B, n_outputs)."""
    if not structure.is_window(x, (self.n_chans, self.n_times), self.conv_temporal.weight):
        return structure.original_forward(self, x)
    h = _front(self).evaluate(x, self.fast_pool)
    for name, module in self.named_children():
        if name not in _FRONT:
            h = module(h)
    return h


def _front(model: Any) -> Front:
    temporal, bn = [model.conv_temporal], [model.bnorm_temporal]
    return Front(temporal, bn, model.conv_spatial, model.bnorm_1, model.elu_1, model.pool_1)


def _is_eegnet(model: Any) -> bool:
    names = tuple(name for name, _ in model.named_children())
    return names[: len(_FRONT)] == _FRONT and _front(model).is_plain(model.n_chans)
