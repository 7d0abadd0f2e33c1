"""What a batch's statistics need of its signals: moments over windows and channels, and how a filter's taps see them.

Knows signals and bands; knows no BatchNorm and no model.

Letters: B windows, C channels, N = B * C signals, T samples in, U samples out, K taps, R distinct rows of a matrix.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
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

    def seen_by(self, band: Band) -> Tensor:
        """What the taps of each distinct row read, summed over the rows that are alike: (R, K, K + 1), the mean last.

        Beside each other, since one product of the taps then meets both.
        """
        padded_WW = functional.pad(self.second_TT, (band.left, band.right, band.left, band.right))
        n_columns = padded_WW.shape[0]
        second_UKK = padded_WW.as_strided((band.n_times_out, band.n_taps, band.n_taps), (n_columns + 1, n_columns, 1))
        mean_UK = functional.pad(self.mean_T, (band.left, band.right)).unfold(0, band.n_taps, 1)
        return torch.cat([_sum_alike(second_UKK, band), _sum_alike(mean_UK, band)[:, :, None]], dim=2)


def signal_moments(x_BCT: Tensor) -> Moments:
    """Moments of (B, C, T) windows: one product, whatever the number of filters that follow."""
    signals_NT = x_BCT.detach().reshape(-1, x_BCT.shape[-1])
    n_signals, n_times = signals_NT.shape
    unread = signals_NT.new_empty(n_times, n_times)
    second_TT = torch.addmm(unread, signals_NT.T, signals_NT, beta=0, alpha=1 / n_signals)
    return Moments(signals_NT.mean(0), second_TT, n_signals)


def _sum_alike(per_row: Tensor, band: Band) -> Tensor:
    alike = per_row[band.n_first : band.n_first + band.n_alike].sum(0, keepdim=True)
    if band.n_first + band.n_last == 0:
        return alike
    return torch.cat([per_row[: band.n_first], alike, per_row[band.n_first + band.n_alike :]])
