"""BatchNorm's batch statistics of a temporal filter's output, computed from the moments of its input.

Knows filters along time and BatchNorm modules; knows no model.

Letters: B windows, C channels, T samples in, U samples out, F filters, K taps, R distinct rows of a filter's matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional

from worker.training.fast.toeplitz import Band


@dataclass(frozen=True)
class Moments:
    """First and second moments of a batch over windows and channels. They depend on data alone: no gradient.

    Raw second moments: an offset of n standard deviations, common to all channels, costs n^2 roundings in the variance.
    """

    mean_T: Tensor
    second_TT: Tensor
    n_signals: int

    def seen_by(self, band: Band) -> RowMoments:
        """The moments of what the taps of each distinct row read, summed over the rows that are alike."""
        padded_WW = functional.pad(self.second_TT, (band.left, band.right, band.left, band.right))
        n_columns = padded_WW.shape[0]
        second_UKK = padded_WW.as_strided((band.n_times_out, band.n_taps, band.n_taps), (n_columns + 1, n_columns, 1))
        mean_UK = functional.pad(self.mean_T, (band.left, band.right)).unfold(0, band.n_taps, 1)
        return RowMoments(_sum_alike(mean_UK, band), _sum_alike(second_UKK, band), band, self.n_signals)


@dataclass(frozen=True)
class RowMoments:
    """Moments of a band's taps: sums over the rows that are alike, averages over windows and channels."""

    mean_RK: Tensor
    second_RKK: Tensor
    band: Band
    n_signals: int

    def of_output(self, rows_FRK: Tensor, offset_FR: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean and biased variance, (F,) each, of the filtered signal plus offset."""
        mean_FR, power_F = _OutputMoments.apply(rows_FRK, self.mean_RK, self.second_RKK)
        if offset_FR is not None:
            times_R = self.band.row_counts(offset_FR)
            power_F = power_F + (offset_FR * torch.addcmul(2 * mean_FR, offset_FR, times_R)).sum(1)
            mean_FR = torch.addcmul(mean_FR, offset_FR, times_R)
        mean_F = mean_FR.sum(1) / self.band.n_times_out
        return mean_F, (power_F / self.band.n_times_out - mean_F.square()).clamp_min(0)


def signal_moments(x_BCT: Tensor) -> Moments:
    """Moments of (B, C, T) windows: two products, whatever the number of filters that follow."""
    signals_NT = x_BCT.detach().reshape(-1, x_BCT.shape[-1])
    n_signals = signals_NT.shape[0]
    ones = signals_NT.new_ones(1, n_signals)
    return Moments((ones @ signals_NT)[0] / n_signals, signals_NT.T @ signals_NT / n_signals, n_signals)


def batchnorm_affine(
    bns: Sequence[nn.BatchNorm2d], rows_FRK: Tensor, offset_FR: Tensor | None, moments: Moments | None, band: Band
) -> tuple[Tensor, Tensor]:
    """Scale and shift, (F,) each, that `bns` side by side apply to the filtered signal.

    Running statistics move as the modules' own forwards move them. `moments` may be None where all are in evaluation
    mode.
    """
    batch = None if moments is None else moments.seen_by(band).of_output(rows_FRK, offset_FR)
    parts, start = [], 0
    for bn in bns:
        own = slice(start, start + bn.num_features)
        start = own.stop
        if bn.training:
            assert moments is not None
            assert batch is not None
            mean_F, var_F = batch[0][own], batch[1][own]
            track(bn, mean_F.detach(), var_F.detach(), moments.n_signals * band.n_times_out)
        else:
            mean_F, var_F = running(bn)
        parts.append(_affine(bn, mean_F, var_F))
    if len(parts) == 1:
        return parts[0]
    return torch.cat([scale_F for scale_F, _ in parts]), torch.cat([shift_F for _, shift_F in parts])


def _affine(bn: nn.BatchNorm2d, mean_F: Tensor, var_F: Tensor) -> tuple[Tensor, Tensor]:
    scale_F = torch.rsqrt(var_F + bn.eps)
    if bn.weight is None:
        return scale_F, -mean_F * scale_F
    scale_F = bn.weight * scale_F
    return scale_F, torch.addcmul(bn.bias, mean_F, scale_F, value=-1)


@torch.no_grad()
def track(bn: nn.BatchNorm2d, mean_F: Tensor, var_F: Tensor, n_samples: int) -> None:
    """Move `bn`'s running statistics by one batch of biased variance `var_F`, as its own forward does."""
    assert bn.running_mean is not None
    assert bn.running_var is not None
    assert bn.num_batches_tracked is not None
    bn.num_batches_tracked.add_(1)
    # momentum None: the cumulative average; a tensor, since reading the counter would wait for the device.
    weight = bn.momentum if bn.momentum is not None else 1.0 / bn.num_batches_tracked.to(mean_F.dtype)
    bn.running_mean.lerp_(mean_F, weight)
    bn.running_var.lerp_(var_F * (n_samples / (n_samples - 1)), weight)


def running(bn: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Running mean and variance, (F,) each."""
    assert bn.running_mean is not None
    assert bn.running_var is not None
    return bn.running_mean, bn.running_var


class _OutputMoments(Function):
    """The output's mean a row, (F, R), and its power (F,), summed over rows alike. The moments are data."""

    @staticmethod
    def forward(ctx: Any, rows_FRK: Tensor, mean_RK: Tensor, second_RKK: Tensor) -> tuple[Tensor, Tensor]:
        rows_RFK = rows_FRK.transpose(0, 1)
        spread_RFK = torch.bmm(rows_RFK, second_RKK)
        ctx.save_for_backward(spread_RFK, mean_RK)
        return (rows_FRK * mean_RK).sum(2), (spread_RFK * rows_RFK).sum((0, 2))

    @staticmethod
    def backward(ctx: Any, grad_FR: Tensor, grad_F: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        spread_RFK, mean_RK = ctx.saved_tensors
        grad_FRK = grad_FR[:, :, None] * mean_RK
        return torch.addcmul(grad_FRK, spread_RFK.transpose(0, 1), grad_F[:, None, None], value=2), None, None


def _sum_alike(per_row: Tensor, band: Band) -> Tensor:
    alike = per_row[band.n_first : band.n_first + band.n_alike].sum(0, keepdim=True)
    if band.n_first + band.n_last == 0:
        return alike
    return torch.cat([per_row[: band.n_first], alike, per_row[band.n_first + band.n_alike :]])
