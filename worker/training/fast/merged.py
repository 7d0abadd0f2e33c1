"""Models whose temporal convolution meets a full spatial one with nothing in between: both as one, by Fourier.

Knows braindecode's layouts of ShallowFBCSPNet, Deep4Net and EEGConformer; the mathematics is in fourier.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.training.fast import structure
from worker.training.fast.fourier import FourierConv
from worker.training.fast.layouts import make_linear, skip_if_identity, turn_time_last


def accelerate_merged(model: Any) -> bool:
    """Swap the forward where the structure is a known one; say whether it was."""
    name = type(model).__name__
    if name in ("ShallowFBCSPNet", "Deep4Net") and model.split_first_layer:
        block, forward, time_axis = model.conv_time_spat, _combined_forward, 0
        convs = (block.conv_time, block.conv_spat)
    elif name == "EEGConformer":
        block, forward, time_axis = model.patch_embedding.shallownet, _sequence_forward, 1
        convs = (block[0], block[1])
    else:
        return False
    if not _is_pair(*convs, model.n_chans, time_axis):
        return False
    block.fast_window = (model.n_chans, model.n_times)
    block.fast_conv = FourierConv(model.n_times, convs[0].kernel_size[time_axis])
    block.launches_few = False
    structure.swap_forward(block, forward, f"Fourier {name}")
    if name in ("ShallowFBCSPNet", "Deep4Net"):
        make_linear(model.final_layer.conv_classifier)
    if name == "Deep4Net":
        for layer in model.children():
            turn_time_last(layer)
            skip_if_identity(layer)
    return True


def launch_few(model: nn.Module) -> None:
    """For steps that are launched operation by operation on a device that is done before the next one comes.

    One convolution with the merged kernels: more arithmetic than by Fourier, less than braindecode's two, and about as
    many launches as those.
    """
    for module in model.modules():
        if hasattr(module, "launches_few"):
            module.launches_few = True  # type: ignore[assignment]


def _combined_forward(self: Any, x: Tensor) -> Tensor:
    """braindecode's CombinedConv: images (B, 1, n_times, n_chans) -> (B, O, U, 1)."""
    if not structure.is_image(x.transpose(2, 3), self.fast_window, self.conv_time.weight):
        return structure.original_forward(self, x)
    return _merged(self, x[:, 0].transpose(1, 2), self.conv_time, self.conv_spat).unsqueeze(3)


def _sequence_forward(self: Any, x: Tensor) -> Tensor:
    """A Sequential that begins with both convolutions: (B, 1, n_chans, n_times) -> (B, O, 1, U)."""
    if not structure.is_image(x, self.fast_window, self[0].weight):
        return structure.original_forward(self, x)
    h = _merged(self, x[:, 0], self[0], self[1]).unsqueeze(2)
    for module in list(self)[2:]:
        h = module(h)
    return h


def _merged(block: Any, x_BCT: Tensor, temporal: nn.Conv2d, spatial: nn.Conv2d) -> Tensor:
    """Both convolutions and their biases, (B, O, U)."""
    temporal_FK, spatial_OFC = temporal.weight.flatten(1), spatial.weight.flatten(2)
    with torch.autocast(x_BCT.device.type, enabled=False):
        weight_OCK = torch.matmul(spatial_OFC.transpose(1, 2), temporal_FK)
        bias_O = _bias(temporal, spatial_OFC, spatial)
        if block.launches_few and not structure.is_cpu(x_BCT):
            return functional.conv1d(x_BCT, weight_OCK, bias_O)
        y_BOU = block.fast_conv(x_BCT, weight_OCK)
        return y_BOU if bias_O is None else y_BOU + bias_O[:, None]


def _bias(temporal: nn.Conv2d, spatial_OFC: Tensor, spatial: nn.Conv2d) -> Tensor | None:
    if temporal.bias is None:
        return spatial.bias
    seen_OF = spatial_OFC.sum(2)
    return seen_OF @ temporal.bias if spatial.bias is None else torch.addmv(spatial.bias, seen_OF, temporal.bias)


def _is_pair(temporal: Any, spatial: Any, n_chans: int, time_axis: int) -> bool:
    return (
        structure.is_plain_conv(temporal)
        and structure.is_plain_conv(spatial)
        and temporal.in_channels == 1
        and temporal.kernel_size[1 - time_axis] == 1
        and spatial.in_channels == temporal.out_channels
        and spatial.kernel_size == ((n_chans, 1) if time_axis == 1 else (1, n_chans))
        and spatial.groups == 1
        and structure.padding_of(temporal, time_axis) == (0, 0)
        and structure.padding_of(spatial, 1 - time_axis) == (0, 0)
    )
