"""A front of temporal filters and a depthwise spatial filter, evaluated with the channels summed first.

Knows tensors and BatchNorm modules; knows no model.

temporal convolution -> BatchNorm -> depthwise spatial convolution is linear in the signal once the batch statistics are
known, so the order can be turned: C channels shrink to F * D signals before anything runs along time.

Letters: B windows, C channels, T samples in, U samples out, F temporal filters, D spatial filters each, S = F * D.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional

from worker.training.fast.batchnorm import batchnorm_affine
from worker.training.fast.moments import Moments, signal_moments
from worker.training.fast.toeplitz import Band, ChainedBand, Filters


@dataclass(frozen=True)
class Branch:
    """Temporal filters of one length, the zeros put around the window for them, and the BatchNorm that follows."""

    kernels_FK: Tensor
    left: int
    right: int
    bn: nn.BatchNorm2d


def one_stage(x_BCT: Tensor, branches: Sequence[Branch], spatial_SC: Tensor) -> tuple[Tensor, Tensor]:
    """Temporal branches side by side, then a depthwise spatial convolution.

    Returns (S, B, U) and a shift (S, U) that is still to be added to it.
    """
    filters = _side_by_side(branches, x_BCT.shape[-1])
    bns = [branch.bn for branch in branches]
    scale_F, shift_F = batchnorm_affine(bns, filters, _moments_if(x_BCT, bns))
    shift_FU = shift_F[:, None].expand(-1, filters.band.n_times_out)
    return _mix_then_filter(x_BCT, spatial_SC, filters.matrix(), scale_F, shift_FU)


def two_stages(
    x_BCT: Tensor,
    first_GK: Tensor,
    first_bn: nn.BatchNorm2d,
    second_FGK: Tensor,
    second_bn: nn.BatchNorm2d,
    spatial_SC: Tensor,
    chain: ChainedBand,
) -> tuple[Tensor, Tensor]:
    """Two 'same' temporal convolutions, each with a BatchNorm, then a depthwise spatial convolution; as one_stage."""
    moments = _moments_if(x_BCT, [first_bn, second_bn])
    scale_G, shift_G = batchnorm_affine(
        [first_bn], Filters(first_GK[:, None], chain.first), moments if first_bn.training else None
    )
    filters = chain.compose(second_FGK, first_GK * scale_G[:, None], shift_G)
    scale_F, shift_F = batchnorm_affine([second_bn], filters, moments if second_bn.training else None)
    assert filters.offset_FR is not None
    shift_FR = torch.addcmul(shift_F[:, None], scale_F[:, None], filters.offset_FR)
    return _mix_then_filter(x_BCT, spatial_SC, filters.matrix(), scale_F, chain.both.spread_rows(shift_FR))


def _side_by_side(branches: Sequence[Branch], n_times: int) -> Filters:
    """All branches' filters, padded with zero taps to one length and aligned."""
    left = max(branch.left for branch in branches)
    right = max(branch.right for branch in branches)
    first = branches[0]
    n_times_out = n_times + first.left + first.right - first.kernels_FK.shape[1] + 1
    band = Band(n_times, n_times + left + right - n_times_out + 1, left, right)
    padded = [functional.pad(b.kernels_FK, (left - b.left, right - b.right)) for b in branches]
    return Filters((padded[0] if len(padded) == 1 else torch.cat(padded))[:, None], band)


def _moments_if(x_BCT: Tensor, bns: Sequence[nn.BatchNorm2d]) -> Moments | None:
    return signal_moments(x_BCT) if any(bn.training for bn in bns) else None


def _mix_then_filter(
    x_BCT: Tensor, spatial_SC: Tensor, matrix_FUT: Tensor, scale_F: Tensor, shift_FU: Tensor
) -> tuple[Tensor, Tensor]:
    """scale * matrix @ (spatial @ x), (S, B, U), and the shift seen through the spatial weights, (S, U)."""
    spatial_FDC = spatial_SC.view(matrix_FUT.shape[0], -1, spatial_SC.shape[1])
    scaled_FDC = spatial_FDC * scale_F[:, None, None]
    shift_FDU = spatial_FDC.sum(2, keepdim=True) * shift_FU[:, None]
    return _MixThenFilter.apply(x_BCT, scaled_FDC.flatten(0, 1), matrix_FUT), shift_FDU.flatten(0, 1)


class _MixThenFilter(Function):
    """Not differentiable in x: a training step has no use for that gradient, and it would cost as much as the rest."""

    @staticmethod
    def forward(ctx: Any, x_BCT: Tensor, spatial_SC: Tensor, matrix_FUT: Tensor) -> Tensor:
        n_windows, n_chans, n_times = x_BCT.shape
        n_filters, n_times_out, _ = matrix_FUT.shape
        n_signals = spatial_SC.shape[0]
        mixed_SBT = torch.bmm(spatial_SC.expand(n_windows, n_signals, n_chans), x_BCT).transpose(0, 1).contiguous()
        y_FNU = torch.bmm(mixed_SBT.view(n_filters, -1, n_times), matrix_FUT.transpose(1, 2))
        ctx.save_for_backward(x_BCT, matrix_FUT, mixed_SBT)
        return y_FNU.view(n_signals, n_windows, n_times_out)

    @staticmethod
    def backward(ctx: Any, grad_SBU: Tensor) -> tuple[None, Tensor, Tensor]:  # type: ignore[override]
        x_BCT, matrix_FUT, mixed_SBT = ctx.saved_tensors
        n_signals, n_windows, n_times = mixed_SBT.shape
        n_filters, n_times_out, _ = matrix_FUT.shape
        grad_FNU = grad_SBU.reshape(n_filters, -1, n_times_out)
        grad_matrix_FUT = torch.bmm(grad_FNU.transpose(1, 2), mixed_SBT.view(n_filters, -1, n_times))
        grad_mixed_SBT = torch.bmm(grad_FNU, matrix_FUT).view(n_signals, n_windows, n_times)
        grad_spatial_SC = torch.bmm(grad_mixed_SBT.transpose(0, 1), x_BCT.transpose(1, 2)).sum(0)
        return None, grad_spatial_SC, grad_matrix_FUT
