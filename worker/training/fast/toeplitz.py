"""Convolutions along time written as matrices, built from their few distinct rows.

Knows shapes and padding; knows no model, no batch and no normalisation.

Letters: F filters, G filters of a first stage, R distinct rows, K taps, T samples in, U samples out, W T with padding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional

from worker.training.fast.constant import Constant


@dataclass(frozen=True)
class Band:
    """Where a convolution's taps sit in its matrix: row u holds them in columns u - left ... u - left + n_taps - 1.

    Rows are alike but for the first `n_first` and the last `n_last`, which have taps of their own.
    """

    n_times: int
    n_taps: int
    left: int
    right: int
    n_first: int = 0
    n_last: int = 0

    @property
    def n_times_out(self) -> int:
        return self.n_times + self.left + self.right - self.n_taps + 1

    @property
    def n_alike(self) -> int:
        return self.n_times_out - self.n_first - self.n_last

    def row_counts(self, like: Tensor) -> Tensor:
        """How many rows each distinct row stands for, (R,)."""
        counts_R = like.new_ones(self.n_first + 1 + self.n_last)
        counts_R[self.n_first : self.n_first + 1].fill_(self.n_alike)  # a fill, since a graph takes no host value
        return counts_R

    def spread_rows(self, values_FR: Tensor) -> Tensor:
        """One value a distinct row -> one value a row, (F, U)."""
        first, alike, last = values_FR.split([self.n_first, 1, self.n_last], dim=1)
        return torch.cat([first, alike.expand(-1, self.n_alike), last], dim=1)

    def diagonals(self, padded_FUW: Tensor) -> Tensor:
        """The taps (F, U, K) of a matrix whose columns include the padding, as a view."""
        n_columns = self.n_times + self.left + self.right
        shape = (padded_FUW.shape[0], self.n_times_out, self.n_taps)
        return padded_FUW.as_strided(shape, (self.n_times_out * n_columns, n_columns + 1, 1))


def filter_matrix(rows_FRK: Tensor, band: Band) -> Tensor:
    """The (F, U, T) matrices whose distinct rows are `rows_FRK`, R = n_first + 1 + n_last."""
    return _FilterMatrix.apply(rows_FRK, band)


class _FilterMatrix(Function):
    """Strided copies both ways: a gather's gradient would be a scatter, which costs more than all the rest."""

    @staticmethod
    def forward(ctx: Any, rows_FRK: Tensor, band: Band) -> Tensor:
        n_filters = rows_FRK.shape[0]
        padded_FUW = rows_FRK.new_zeros(n_filters, band.n_times_out, band.n_times + band.left + band.right)
        first, alike, last = _split_rows(band.diagonals(padded_FUW), band)
        alike.copy_(rows_FRK[:, band.n_first : band.n_first + 1])
        if band.n_first + band.n_last:
            first.copy_(rows_FRK[:, : band.n_first])
            last.copy_(rows_FRK[:, band.n_first + 1 :])
        ctx.band = band
        return padded_FUW[:, :, band.left : band.left + band.n_times]

    @staticmethod
    def backward(ctx: Any, grad_FUT: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        band = ctx.band
        first, alike, last = _split_rows(band.diagonals(functional.pad(grad_FUT, (band.left, band.right))), band)
        if band.n_first + band.n_last == 0:
            return alike.sum(1, keepdim=True), None
        return torch.cat([first, alike.sum(1, keepdim=True), last], dim=1), None


def _split_rows(taps_FUK: Tensor, band: Band) -> tuple[Tensor, Tensor, Tensor]:
    last = band.n_first + band.n_alike
    return taps_FUK[:, : band.n_first], taps_FUK[:, band.n_first : last], taps_FUK[:, last:]


class ChainedBand:
    """Two 'same' convolutions of n_taps each, one after the other, as one band of 2 n_taps - 1 taps.

    The second one reads zeros outside the window, not what the first would give there. So the first `left` and last
    `right` rows miss some products of taps: row u uses the second's tap j only where 0 <= u + j - left < n_times.
    """

    def __init__(self, n_times: int, n_taps: int) -> None:
        left = (n_taps - 1) // 2
        right = n_taps - 1 - left
        self.first = Band(n_times, n_taps, left, right)
        self.both = Band(n_times, 2 * n_taps - 1, 2 * left, 2 * right, n_first=left, n_last=right)
        self.used_taps_RK = Constant(_used_taps(self.first))

    def rows(self, second_FGK: Tensor, first_GK: Tensor) -> Tensor:
        """The distinct rows (F, R, 2K - 1) of sum over g of second_fg after first_g."""
        n_filters, _, n_taps = second_FGK.shape
        products_FKK = torch.matmul(second_FGK.transpose(1, 2), first_GK)
        # Row j shifted right by j: products of taps i and j land in column i + j.
        shifted_FKM = functional.pad(products_FKK, (0, n_taps)).reshape(n_filters, -1)
        shifted_FKM = shifted_FKM[:, : n_taps * (2 * n_taps - 1)].view(n_filters, n_taps, 2 * n_taps - 1)
        return torch.matmul(self.used_taps_RK.like(first_GK), shifted_FKM)

    def response_to_constant(self, second_FK: Tensor) -> Tensor:
        """What the distinct rows of the second filter make of a constant 1 inside the window, (F, R)."""
        return torch.matmul(second_FK, self.used_taps_RK.like(second_FK).T)


def _used_taps(band: Band) -> Tensor:
    """(R, K) of ones and zeros: which taps of the second filter a distinct row uses."""
    u_R = torch.cat([torch.arange(band.left + 1), torch.arange(band.n_times - band.right, band.n_times)])
    position_RK = u_R[:, None] + torch.arange(band.n_taps) - band.left
    return (position_RK >= 0) & (position_RK < band.n_times)
