"""Checks of a module's structure, and the swap of one module's forward.

Knows torch modules; knows no mathematics. A path is taken where every check of it holds, never by a class's name alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

DTYPES = (torch.float32, torch.float64)


def is_plain_conv(module: object) -> bool:
    """A Conv2d with nothing but a kernel, zero padding and perhaps a bias."""
    return (
        isinstance(module, nn.Conv2d)
        and type(module).forward is nn.Conv2d.forward
        and module.stride == (1, 1)
        and module.dilation == (1, 1)
        and module.padding_mode == "zeros"
        and not _has_hooks(module)
    )


def is_temporal_conv(module: object, n_in: int, time_axis: int = 1) -> bool:
    """A Conv2d along time alone, without bias, stride, dilation or groups."""
    return (
        is_plain_conv(module)
        and isinstance(module, nn.Conv2d)
        and module.in_channels == n_in
        and module.groups == 1
        and module.bias is None
        and module.kernel_size[1 - time_axis] == 1
        and (module.padding in ("same", "valid") or module.padding[1 - time_axis] == 0)
    )


def is_depthwise_spatial(module: object, n_filters: int, n_chans: int, time_axis: int = 1) -> bool:
    """A Conv2d over all channels, one group a temporal filter, without bias or padding."""
    return (
        is_plain_conv(module)
        and isinstance(module, nn.Conv2d)
        and module.in_channels == module.groups == n_filters
        and module.bias is None
        and module.kernel_size == ((n_chans, 1) if time_axis == 1 else (1, n_chans))
        and module.padding in ((0, 0), "valid")
    )


def is_batchnorm(module: object, n_features: int) -> bool:
    """A BatchNorm2d that tracks running statistics; affine or not, any momentum."""
    return (
        type(module) is nn.BatchNorm2d
        and module.num_features == n_features
        and module.track_running_stats
        and not _has_hooks(module)
    )


def is_window(x: Tensor, window: tuple[int, int], weight: Tensor) -> bool:
    """A batch the fast forward is written for: shape (n_chans, n_times), the weights' precision, no variable."""
    return x.ndim == 3 and x.shape[1:] == window and x.dtype == weight.dtype in DTYPES and not x.requires_grad


def is_image(x: Tensor, window: tuple[int, int], weight: Tensor) -> bool:
    """The same as images (B, 1, n_chans, n_times)."""
    return x.ndim == 4 and x.shape[1] == 1 and is_window(x[:, 0], window, weight)


def is_cpu(x: Tensor) -> bool:
    """Whether passes over memory cost more than launches of operations."""
    return x.device.type == "cpu"


def padding_of(conv: nn.Conv2d, time_axis: int = 1) -> tuple[int, int]:
    """Zeros in front of and behind the window."""
    reach = conv.dilation[time_axis] * (conv.kernel_size[time_axis] - 1)
    if conv.padding == "same":
        return reach // 2, reach - reach // 2
    if isinstance(conv.padding, str):
        return 0, 0
    return conv.padding[time_axis], conv.padding[time_axis]


def swap_forward(module: nn.Module, forward: Callable[..., Tensor], path: str) -> None:
    """Give this one module another forward; its parameters, buffers and class stay. Copies and pickles carry it."""
    module.forward = partial(forward, module)  # type: ignore[method-assign]
    module.fast_path = path  # type: ignore[assignment]


def original_forward(module: nn.Module, *args: Any) -> Any:
    """The forward of the module's class, for a batch that the fast one is not written for."""
    return type(module).forward(module, *args)


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)
