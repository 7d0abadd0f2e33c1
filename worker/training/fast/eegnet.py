"""EEGNet with its linear front evaluated channels first.

Knows braindecode's layout of EEGNet; the mathematics is in spatial_first.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from worker.training.fast import structure
from worker.training.fast.spatial_first import one_stage
from worker.training.fast.toeplitz import Band

PATH = "spatial-first EEGNet"
_FRONT = ("ensuredims", "dimshuffle", "conv_temporal", "bnorm_temporal", "conv_spatial", "bnorm_1", "elu_1", "pool_1")


def accelerate_eegnet(model: nn.Module) -> bool:
    """Swap the forward where the structure is EEGNet's; say whether it was."""
    if type(model).__name__ != "EEGNet" or not _is_eegnet(model):
        return False
    structure.swap_forward(model, forward, PATH)
    return True


def forward(self: Any, x: Tensor) -> Tensor:
    """EEGNet's forward, (B, n_chans, n_times) -> (B, n_outputs)."""
    temporal = self.conv_temporal
    if not structure.is_window(x, self.n_chans, self.n_times, temporal.weight):
        return structure.original_forward(self, x)
    padding = temporal.padding[1]
    band = Band(self.n_times, temporal.kernel_size[1], padding, padding)
    with torch.autocast(x.device.type, enabled=False):
        y_SBU = one_stage(x, temporal.weight[:, 0, 0], self.bnorm_temporal, self.conv_spatial.weight[:, 0, :, 0], band)
    # One "window" whose height is the batch: BatchNorm, activation and pooling along time see the same numbers.
    h = self.pool_1(self.elu_1(self.bnorm_1(y_SBU[None]))).permute(2, 1, 0, 3).contiguous()
    for name, module in self.named_children():
        if name not in _FRONT:
            h = module(h)
    return h


def _is_eegnet(model: Any) -> bool:
    if tuple(name for name, _ in model.named_children())[: len(_FRONT)] != _FRONT:
        return False
    temporal, spatial = model.conv_temporal, model.conv_spatial
    half = (0, temporal.kernel_size[1] // 2)
    return (
        structure.is_temporal_conv(temporal, 1, padding=(half,))
        and structure.is_batchnorm(model.bnorm_temporal, temporal.out_channels)
        and structure.is_depthwise_spatial(spatial, temporal.out_channels, model.n_chans)
        and structure.is_batchnorm(model.bnorm_1, spatial.out_channels)
        and isinstance(model.elu_1, structure.ELEMENTWISE)
        and structure.is_time_pool(model.pool_1)
    )
