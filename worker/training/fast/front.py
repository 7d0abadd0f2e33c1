"""The front that many models share: temporal filters, BatchNorm, depthwise spatial filter, BatchNorm, activation, pool.

Knows the modules of a front; knows no model: eegnet.py and blocks.py say where a model keeps them.

Letters: B windows, C channels, T samples, S features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from worker.training.fast import structure
from worker.training.fast.constant import Constant
from worker.training.fast.max_norm import used_weight
from worker.training.fast.spatial_first import Branch, one_stage
from worker.training.fast.tail import finish, fused_pool


@dataclass(frozen=True)
class Front:
    """The modules of a front in the order they act; time is axis 1 of an image (1, time), or axis 0 of (time, 1)."""

    temporal: Sequence[nn.Conv2d]
    temporal_bns: Sequence[nn.BatchNorm2d]
    spatial: nn.Conv2d
    bn: nn.BatchNorm2d
    activation: nn.Module
    pool: nn.Module | None
    time_axis: int = 1
    # Zeros that a module of its own puts around the window for each temporal convolution.
    pads: Sequence[tuple[int, int]] | None = None

    def is_plain(self, n_chans: int) -> bool:
        """Whether every module is of the kind that the fast evaluation stands for."""
        n_filters = sum(conv.out_channels for conv in self.temporal)
        return (
            all(structure.is_temporal_conv(conv, 1, self.time_axis) for conv in self.temporal)
            and all(
                structure.is_batchnorm(bn, conv.out_channels)
                for conv, bn in zip(self.temporal, self.temporal_bns, strict=True)
            )
            and len({(bn.eps, bn.affine) for bn in self.temporal_bns}) == 1
            and structure.is_depthwise_spatial(self.spatial, n_filters, n_chans, self.time_axis)
            and structure.is_batchnorm(self.bn, self.spatial.out_channels)
            and len({left + right - _taps(conv, self.time_axis) for conv, (left, right) in self._padded()}) == 1
        )

    def fused_pool(self, n_times: int) -> Constant | None:
        """What `evaluate` is to be given as `pool_UV` for windows of n_times."""
        conv, (left, right) = self._padded()[0]
        n_times_out = n_times + left + right - _taps(conv, self.time_axis) + 1
        return fused_pool(self.activation, self.pool, n_times_out, self.time_axis)

    def evaluate(self, x_BCT: Tensor, pool_UV: Constant | None) -> Tensor:
        """What the modules make of windows (B, C, T), as images (B, S, 1, V) or (B, S, V, 1)."""
        branches = [
            Branch(conv.weight.flatten(1), left, right, bn)
            for (conv, (left, right)), bn in zip(self._padded(), self.temporal_bns, strict=True)
        ]
        with torch.autocast(x_BCT.device.type, enabled=False):
            y_SBU, shift_SU = one_stage(x_BCT.contiguous(), branches, used_weight(self.spatial).flatten(1))
            return finish(y_SBU, shift_SU, self.bn, self.activation, self.pool, pool_UV, self.time_axis)

    def _padded(self) -> list[tuple[nn.Conv2d, tuple[int, int]]]:
        pads = self.pads or [structure.padding_of(conv, self.time_axis) for conv in self.temporal]
        return list(zip(self.temporal, pads, strict=True))


def _taps(conv: nn.Conv2d, time_axis: int) -> int:
    return conv.kernel_size[time_axis]
