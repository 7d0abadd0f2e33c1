"""BatchNorm's batch statistics of a linear map's output, computed from the moments of its input.

Knows linear maps along time and BatchNorm modules; knows no model.

Letters: B windows, C channels, T samples in, U samples out, F filters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function


@dataclass(frozen=True)
class Moments:
    """First and second moments of a batch over windows and channels. They depend on data alone: no gradient.

    Raw second moments: an offset of n standard deviations, common to all channels, costs n^2 roundings in the variance.
    """

    mean_T: Tensor
    second_TT: Tensor
    n_signals: int


def signal_moments(x_BCT: Tensor) -> Moments:
    """Moments of (B, C, T) windows: two products, whatever the number of filters that follow."""
    signals_NT = x_BCT.detach().reshape(-1, x_BCT.shape[-1])
    n_signals = signals_NT.shape[0]
    ones = signals_NT.new_ones(1, n_signals)
    return Moments((ones @ signals_NT)[0] / n_signals, signals_NT.T @ signals_NT / n_signals, n_signals)


def batchnorm_affine(
    bn: nn.BatchNorm2d, matrix_FUT: Tensor, offset_FU: Tensor | None, moments: Moments | None
) -> tuple[Tensor, Tensor]:
    """Scale and shift, (F,) each, that `bn` applies to matrix @ x + offset; running statistics move as `bn` moves them.

    `moments` may be None where `bn` is in evaluation mode.
    """
    if not bn.training:
        mean_F, var_F = bn.running_mean, bn.running_var
    else:
        assert moments is not None
        mean_F, var_F = output_moments(matrix_FUT, offset_FU, moments)
        _track(bn, mean_F.detach(), var_F.detach(), moments.n_signals * matrix_FUT.shape[1])
    assert mean_F is not None
    assert var_F is not None
    scale_F = torch.rsqrt(var_F + bn.eps)
    if bn.weight is None:
        return scale_F, -mean_F * scale_F
    scale_F = bn.weight * scale_F
    return scale_F, torch.addcmul(bn.bias, mean_F, scale_F, value=-1)


def output_moments(matrix_FUT: Tensor, offset_FU: Tensor | None, moments: Moments) -> tuple[Tensor, Tensor]:
    """Mean and biased variance, (F,) each, of matrix @ x + offset over windows, channels and samples."""
    mean_FU, power_F = _MapMoments.apply(matrix_FUT, moments.mean_T, moments.second_TT)
    n_times_out = matrix_FUT.shape[1]
    power_F = power_F / n_times_out
    if offset_FU is not None:
        power_F = power_F + (offset_FU * (2 * mean_FU + offset_FU)).mean(1)
        mean_FU = mean_FU + offset_FU
    mean_F = mean_FU.mean(1)
    return mean_F, (power_F - mean_F.square()).clamp_min(0)


class _MapMoments(Function):
    """E[matrix x] (F, U) and the sum over u of E[(matrix x)_u^2] (F,). The moments are constants here."""

    @staticmethod
    def forward(ctx: Any, matrix_FUT: Tensor, mean_T: Tensor, second_TT: Tensor) -> tuple[Tensor, Tensor]:
        spread_FUT = torch.matmul(matrix_FUT, second_TT)
        ctx.save_for_backward(spread_FUT, mean_T)
        return torch.matmul(matrix_FUT, mean_T), (spread_FUT * matrix_FUT).sum((1, 2))

    @staticmethod
    def backward(ctx: Any, grad_FU: Tensor, grad_F: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        spread_FUT, mean_T = ctx.saved_tensors
        grad_FUT = torch.addcmul(grad_FU[:, :, None] * mean_T, spread_FUT, grad_F[:, None, None], value=2)
        return grad_FUT, None, None


@torch.no_grad()
def _track(bn: nn.BatchNorm2d, mean_F: Tensor, var_F: Tensor, n_samples: int) -> None:
    assert bn.running_mean is not None
    assert bn.running_var is not None
    assert bn.num_batches_tracked is not None
    bn.num_batches_tracked.add_(1)
    # momentum None: the cumulative average; a tensor, since reading the counter would wait for the device.
    weight = bn.momentum if bn.momentum is not None else 1.0 / bn.num_batches_tracked.to(mean_F.dtype)
    bn.running_mean.lerp_(mean_F, weight)
    bn.running_var.lerp_(var_F * (n_samples / (n_samples - 1)), weight)
