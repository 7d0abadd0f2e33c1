"""EEGNeX with its linear front evaluated channels first.

Knows braindecode's layout of EEGNeX; the mathematics is in spatial_first.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.training.fast import structure
from worker.training.fast.max_norm import used_weight
from worker.training.fast.spatial_first import two_stages
from worker.training.fast.tail import finish, fused_pool
from worker.training.fast.time_conv import is_time_conv, time_conv
from worker.training.fast.toeplitz import ChainedBand

PATH = "spatial-first EEGNeX"


def accelerate_eegnex(model: Any) -> bool:
    """Swap the forward where the structure is EEGNeX's; say whether it was."""
    if type(model).__name__ != "EEGNeX" or not _is_eegnex(model):
        return False
    model.fast_chain = ChainedBand(model.n_times, model.block_1[1].kernel_size[1])
    model.fast_pool = fused_pool(model.block_3[2], model.block_3[3], model.n_times)
    structure.swap_forward(model, forward, PATH)
    return True


def forward(self: Any, x: Tensor) -> Tensor:
    """EEGNeX's forward, (B, n_chans, n_times) -> (B, n_outputs)."""
    if not structure.is_window(x, (self.n_chans, self.n_times), self.block_1[1].weight):
        return structure.original_forward(self, x)
    with torch.autocast(x.device.type, enabled=False):
        h = _blocks_4_and_5(self, _blocks_1_to_3(self, x.contiguous()))
        return functional.linear(h, used_weight(self.final_layer), self.final_layer.bias)


def _blocks_1_to_3(self: Any, x: Tensor) -> Tensor:
    spatial, bn, activation, pool, dropout = self.block_3
    first, second = self.block_1[1].weight.flatten(1), self.block_2[0].weight.squeeze(2)
    y_SBT, shift_ST = two_stages(
        x, first, self.block_1[2], second, self.block_2[1], used_weight(spatial).flatten(1), self.fast_chain
    )
    return dropout(finish(y_SBT, shift_ST, bn, activation, pool, self.fast_pool))


def _blocks_4_and_5(self: Any, h: Tensor) -> Tensor:
    fourth, fourth_bn = self.block_4
    fifth, fifth_bn, activation, pool, dropout, flatten = self.block_5
    h = time_conv(h.squeeze(2).transpose(0, 1), fourth)
    # One image whose height is the batch: BatchNorm sees the same numbers.
    h = time_conv(fourth_bn(h[None]).squeeze(0), fifth)
    h = h.transpose(0, 1).contiguous().unsqueeze(2)
    return flatten(dropout(pool(activation(fifth_bn(h)))))


def _is_eegnex(model: Any) -> bool:
    _, first, first_bn = model.block_1
    second, second_bn = model.block_2
    spatial, spatial_bn, *_ = model.block_3
    n_first, n_second = first.out_channels, second.out_channels
    return (
        structure.is_temporal_conv(first, 1)
        and structure.is_batchnorm(first_bn, n_first)
        and structure.is_temporal_conv(second, n_first)
        and structure.is_batchnorm(second_bn, n_second)
        and structure.is_depthwise_spatial(spatial, n_second, model.n_chans)
        and structure.is_batchnorm(spatial_bn, spatial.out_channels)
        and first.padding == second.padding == "same"
        and first.kernel_size == second.kernel_size
        and first.kernel_size[1] <= model.n_times
        and type(model.final_layer).forward is nn.Linear.forward
        and is_time_conv(model.block_4[0])
        and is_time_conv(model.block_5[0])
    )
