"""Single layers whose layout or very presence costs more than their arithmetic.

Knows layers; knows no model.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional

from worker.training.fast import structure

PATH = "fast layout"


def turn_time_last(conv: nn.Module) -> None:
    """Let a convolution along axis 0 of images (time, 1) run along axis 1, features last: 3 x faster on a CPU.

    Its input and output stay as they were.
    """
    if structure.is_plain_conv(conv) and conv.kernel_size[1] == 1 and conv.in_channels > 1:  # type: ignore[index, operator]
        structure.swap_forward(conv, _time_last_forward, PATH)


def make_linear(conv: nn.Module) -> None:
    """Let a convolution be a linear layer where an image is as large as its kernel: one output a feature."""
    if structure.is_plain_conv(conv) and conv.groups == 1 and conv.padding == (0, 0):
        structure.swap_forward(conv, _linear_forward, PATH)


def skip_if_identity(pool: nn.Module) -> None:
    """Let a pooling over one sample at stride 1 hand its input on."""
    if type(pool) is nn.MaxPool2d and _ones(pool.kernel_size) and _ones(pool.stride) and pool.padding in (0, (0, 0)):
        structure.swap_forward(pool, _identity_forward, PATH)


def _time_last_forward(self: Any, x: Tensor) -> Tensor:
    if not structure.is_cpu(x) or isinstance(self.padding, str):
        return structure.original_forward(self, x)
    return _TimeLastConv.apply(x, self.weight, self.bias, [self.padding[1], self.padding[0]])


class _TimeLastConv(Function):
    """Gradients leave contiguous: on a CPU torch 2.13's BatchNorm goes wrong on turned channels-last ones."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, padding: list[int]) -> Tensor:
        turned_x, turned_weight = _features_last(x), weight.transpose(2, 3)
        ctx.save_for_backward(turned_x, turned_weight)
        ctx.padding, ctx.bias_sizes = padding, None if bias is None else list(bias.shape)
        return functional.conv2d(turned_x, turned_weight, bias, padding=padding).transpose(2, 3).contiguous()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        turned_x, turned_weight = ctx.saved_tensors
        grad_x, grad_weight, grad_bias = torch.ops.aten.convolution_backward(
            _features_last(grad), turned_x, turned_weight, ctx.bias_sizes,
            [1, 1], ctx.padding, [1, 1], False, [0, 0], 1,
            [ctx.needs_input_grad[0], True, ctx.bias_sizes is not None],
        )  # fmt: skip
        if grad_x is not None:
            grad_x = grad_x.transpose(2, 3).contiguous()
        return grad_x, grad_weight.transpose(2, 3).contiguous(), grad_bias, None


def _features_last(x: Tensor) -> Tensor:
    return x.transpose(2, 3).contiguous(memory_format=torch.channels_last)


def _linear_forward(self: Any, x: Tensor) -> Tensor:
    if x.shape[2:] != self.kernel_size:
        return structure.original_forward(self, x)
    return functional.linear(x.flatten(1), self.weight.flatten(1), self.bias)[:, :, None, None]


def _identity_forward(self: Any, x: Tensor) -> Tensor:
    return x


def _ones(value: int | tuple[int, ...]) -> bool:
    return value in (1, (1, 1))
