"""SincShallowNet with its band-pass filters evaluated channels first.

Knows braindecode's layout of SincShallowNet; the mathematics is in spatial_first.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from worker.training.fast import structure
from worker.training.fast.max_norm import used_weight
from worker.training.fast.spatial_first import Branch, one_stage
from worker.training.fast.tail import finish, fused_pool

PATH = "spatial-first SincShallowNet"


def accelerate_sinc(model: Any) -> bool:
    """Swap the forward where the structure is SincShallowNet's; say whether it was."""
    if type(model).__name__ != "SincShallowNet" or not _is_sinc(model):
        return False
    left, right = _padding(model.sinc_filter_layer)
    n_times_out = model.n_times + left + right - model.sinc_filter_layer.kernel_size + 1
    model.fast_pool = fused_pool(model.temporal_aggregation[1], model.temporal_aggregation[2], n_times_out)
    structure.swap_forward(model, forward, PATH)
    return True


def forward(self: Any, x: Tensor) -> Tensor:
    """SincShallowNet's forward, (B, n_chans, n_times) -> (B, n_outputs)."""
    sinc, (filter_bn, spatial) = self.sinc_filter_layer, self.depthwiseconv
    if not structure.is_window(x, (self.n_chans, self.n_times), spatial.weight):
        return structure.original_forward(self, x)
    bn, activation, pool, *rest = self.temporal_aggregation
    with torch.autocast(x.device.type, enabled=False):
        kernels_FK = sinc.build_sinc_filters()[0, :, 0].T
        branch = Branch(kernels_FK, *_padding(sinc), filter_bn)
        y_SBU, shift_SU = one_stage(x.contiguous(), [branch], used_weight(spatial).flatten(1))
        h = finish(y_SBU, shift_SU, bn, activation, pool, self.fast_pool)
    for module in rest:
        h = module(h)
    return self.final_layer(h)


def _padding(sinc: Any) -> tuple[int, int]:
    return (sinc.kernel_size // 2, sinc.kernel_size // 2) if sinc.padding == "same" else (0, 0)


def _is_sinc(model: Any) -> bool:
    filter_bn, spatial = model.depthwiseconv
    return (
        model.sinc_filter_layer.padding in ("same", "valid")
        and structure.is_batchnorm(filter_bn, model.sinc_filter_layer.num_filters)
        and structure.is_depthwise_spatial(spatial, filter_bn.num_features, model.n_chans)
        and structure.is_batchnorm(model.temporal_aggregation[0], spatial.out_channels)
    )
