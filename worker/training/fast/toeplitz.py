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

    def spread_rows(self, values_FR: Tensor) -> Tensor:
        """One value a distinct row -> one value a row, (F, U)."""
        first, alike, last = values_FR.split([self.n_first, 1, self.n_last], dim=1)
        return torch.cat([first, alike.expand(-1, self.n_alike), last], dim=1)

    def diagonals(self, padded_FUW: Tensor) -> Tensor:
        """The taps (F, U, K) of a matrix whose columns include the padding, as a view."""
        n_columns = self.n_times + self.left + self.right
        shape = (padded_FUW.shape[0], self.n_times_out, self.n_taps)
        return padded_FUW.as_strided(shape, (self.n_times_out * n_columns, n_columns + 1, 1))


@dataclass(frozen=True)
class Filters:
    """Temporal filters by the distinct rows of their matrices, and what each row adds to the filtered signal."""

    rows_FRK: Tensor
    band: Band
    offset_FR: Tensor | None = None
    # How many rows each distinct one stands for; wanted with an offset.
    counts_R: Tensor | None = None

    def matrix(self) -> Tensor:
        """The matrices (F, U, T)."""
        return _FilterMatrix.apply(self.rows_FRK, self.band)


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
        first, alike, last = _split_rows(
            band.diagonals(functional.pad(grad_FUT, (band.left, band.right)).contiguous()), band
        )
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
        self.row_counts_R = Constant(torch.tensor([1] * left + [self.both.n_alike] + [1] * right))

    def compose(self, second_FGK: Tensor, first_GK: Tensor, shift_G: Tensor) -> Filters:
        """The sum over g of second_fg after (first_g + shift_g)."""
        n_filters, _, n_taps = second_FGK.shape
        used_RK = self.used_taps_RK.like(first_GK)
        with_shift_GX = torch.cat([first_GK, shift_G[:, None]], dim=1)
        products_FKX = torch.matmul(second_FGK.transpose(1, 2), with_shift_GX)
        # Row j shifted right by j: products of taps i and j land in column i + j.
        shifted_FKM = functional.pad(products_FKX[:, :, :n_taps], (0, n_taps)).flatten(1)
        shifted_FKM = shifted_FKM[:, : n_taps * (2 * n_taps - 1)].view(n_filters, n_taps, 2 * n_taps - 1)
        offset_FR = torch.matmul(products_FKX[:, :, n_taps], used_RK.T)
        return Filters(torch.matmul(used_RK, shifted_FKM), self.both, offset_FR, self.row_counts_R.like(first_GK))


def _used_taps(band: Band) -> Tensor:
    """(R, K) of ones and zeros: which taps of the second filter a distinct row uses."""
    u_R = torch.cat([torch.arange(band.left + 1), torch.arange(band.n_times - band.right, band.n_times)])
    position_RK = u_R[:, None] + torch.arange(band.n_taps) - band.left
    return (position_RK >= 0) & (position_RK < band.n_times)
