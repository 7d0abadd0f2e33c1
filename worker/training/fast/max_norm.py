"""The weight that a layer uses, with a max-norm constraint evaluated in a few operations.

Knows braindecode's max-norm parametrization; knows no layer's arithmetic.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.utils import parametrize


def used_weight(layer: nn.Module) -> Tensor:
    """`layer.weight`; where it is max-normed by a parametrization, with a gradient written by hand.

    The gradient of torch's renorm is some twenty operations on a few numbers.
    """
    if not parametrize.is_parametrized(layer, "weight"):
        return layer.weight  # type: ignore[return-value]
    steps: Any = layer.parametrizations["weight"]  # type: ignore[index]
    if len(steps) != 1 or type(steps[0]).__name__ != "MaxNormParametrize":
        return layer.weight  # type: ignore[return-value]
    return _MaxNorm.apply(steps.original, steps[0].max_norm)


class _MaxNorm(Function):
    """torch.renorm(weight, p=2, dim=0, maxnorm): rows longer than max_norm scaled by max_norm / (norm + 1e-7)."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, max_norm: float) -> Tensor:
        rows = weight.flatten(1)
        norm_N1 = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
        factor_N1 = torch.where(norm_N1 > max_norm, max_norm / (norm_N1 + 1e-7), 1.0)
        ctx.save_for_backward(rows, norm_N1, factor_N1)
        ctx.max_norm = max_norm
        return (rows * factor_N1).view_as(weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        rows, norm_N1, factor_N1 = ctx.saved_tensors
        grad_rows = grad.flatten(1)
        along_N1 = (rows * grad_rows).sum(1, keepdim=True)
        shrink_N1 = torch.where(norm_N1 > ctx.max_norm, -factor_N1 / ((norm_N1 + 1e-7) * norm_N1), 0.0)
        return torch.addcmul(factor_N1 * grad_rows, rows, shrink_N1 * along_N1).view_as(grad), None
