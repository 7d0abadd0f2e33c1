"""A BatchNorm that follows a temporal filter, as a scale and a shift.

Knows filters along time and BatchNorm modules; knows no model.

Letters: F filters, K taps, M = K + 1, R distinct rows of a filter's matrix, U samples out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

from worker.training.fast.moments import Moments
from worker.training.fast.toeplitz import Filters


def batchnorm_affine(bns: Sequence[nn.BatchNorm2d], filters: Filters, moments: Moments | None) -> tuple[Tensor, Tensor]:
    """Scale and shift, (F,) each, that `bns` side by side apply to what the filters make of the signal.

    In training mode running statistics move as the modules' own forwards move them. The modules share eps and whether
    they are affine; `moments` may be None where all are in evaluation mode.
    """
    if moments is None:
        return _joined([_running_affine(bn) for bn in bns])
    scale_F, shift_F, mean_F, var_F = _BatchNormOfRows.apply(
        filters.rows_FRK,
        filters.offset_FR,
        _beside([bn.weight for bn in bns]),
        _beside([bn.bias for bn in bns]),
        filters.counts_R,
        moments.seen_by(filters.band),
        filters.band.n_times_out,
        bns[0].eps,
    )
    parts, start = [], 0
    for bn in bns:
        own = slice(start, start + bn.num_features)
        start = own.stop
        if bn.training:
            track(bn, mean_F[own], var_F[own], moments.n_signals * filters.band.n_times_out)
            parts.append((scale_F[own], shift_F[own]))
        else:
            parts.append(_running_affine(bn))
    return (scale_F, shift_F) if all(bn.training for bn in bns) else _joined(parts)


def running(bn: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Running mean and variance, (F,) each."""
    assert bn.running_mean is not None
    assert bn.running_var is not None
    return bn.running_mean, bn.running_var


@torch.no_grad()
def track(bn: nn.BatchNorm2d, mean_F: Tensor, var_F: Tensor, n_samples: int) -> None:
    """Move `bn`'s running statistics by one batch of biased variance `var_F`, as its own forward does."""
    running_mean_F, running_var_F = running(bn)
    assert bn.num_batches_tracked is not None
    bn.num_batches_tracked.add_(1)
    # momentum None: the cumulative average; a tensor, since reading the counter would wait for the device.
    weight = bn.momentum if bn.momentum is not None else 1.0 / bn.num_batches_tracked.to(mean_F.dtype)
    running_mean_F.lerp_(mean_F, weight)
    running_var_F.lerp_(var_F * (n_samples / (n_samples - 1)), weight)


class _BatchNormOfRows(Function):
    """Rows and offsets -> scale, shift, mean and biased variance, (F,) each; the last two carry no gradient.

    Written out by hand: as separate operations on a few numbers each they would cost more than the products.
    """

    @staticmethod
    def forward(
        ctx: Any,
        rows_FRK: Tensor,
        offset_FR: Tensor | None,
        weight_F: Tensor | None,
        bias_F: Tensor | None,
        counts_R: Tensor | None,
        moments_RKM: Tensor,
        n_times_out: int,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        rows_RFK = rows_FRK.transpose(0, 1)
        spread_RFM = torch.bmm(rows_RFK, moments_RKM)
        spread_RFK, mean_RF = spread_RFM[:, :, :-1], spread_RFM[:, :, -1]
        power_F = (spread_RFK * rows_RFK).sum((0, 2))
        offset_RF = None if offset_FR is None else offset_FR.T
        if offset_RF is not None:
            assert counts_R is not None
            # E[(v + o)^2] = E[v^2] + o (2 E[v] + o), summed over rows alike; from here on mean_RF is E[v + o].
            counts_R1 = counts_R[:, None]
            power_F += (offset_RF * torch.addcmul(2 * mean_RF, offset_RF, counts_R1)).sum(0)
            mean_RF = torch.addcmul(mean_RF, offset_RF, counts_R1)
        mean_F = mean_RF.sum(0) / n_times_out
        var_F = torch.addcmul(power_F / n_times_out, mean_F, mean_F, value=-1).clamp_min_(0)
        rstd_F = (var_F + eps).rsqrt_()
        scale_F = rstd_F.clone() if weight_F is None else weight_F * rstd_F
        ctx.save_for_backward(counts_R, offset_RF, spread_RFK, moments_RKM[:, :, -1], mean_RF, mean_F, rstd_F, scale_F)
        ctx.n_times_out, ctx.is_affine = n_times_out, weight_F is not None
        ctx.mark_non_differentiable(mean_F, var_F)
        ctx.set_materialize_grads(False)
        return scale_F, _shift(bias_F, mean_F, scale_F), mean_F, var_F

    @staticmethod
    def backward(ctx: Any, grad_scale_F: Tensor, grad_shift_F: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        counts_R, offset_RF, spread_RFK, mean_RK, mean_RF, mean_F, rstd_F, scale_F = ctx.saved_tensors
        grad_scale_F = torch.addcmul(grad_scale_F, grad_shift_F, mean_F, value=-1)
        grad_weight_F, grad_bias_F = (grad_scale_F * rstd_F, grad_shift_F) if ctx.is_affine else (None, None)
        # d scale / d power = -scale rstd^2 / 2; power and mean are averages over the output's samples.
        grad_power_F = grad_scale_F * scale_F * rstd_F.square() * (-0.5 / ctx.n_times_out)
        grad_mean_F = grad_shift_F * scale_F * (-1 / ctx.n_times_out)
        grad_mean_F = torch.addcmul(grad_mean_F, mean_F, grad_power_F, value=-2)
        per_mean_RF, grad_offset_FR = grad_mean_F[None], None
        if offset_RF is not None:
            grad_offset_FR = torch.addcmul(counts_R[:, None] * grad_mean_F, mean_RF, grad_power_F, value=2).T
            per_mean_RF = torch.addcmul(grad_mean_F, offset_RF, grad_power_F, value=2)
        grad_rows_RFK = per_mean_RF[:, :, None] * mean_RK[:, None]
        grad_rows_RFK.addcmul_(spread_RFK, grad_power_F[:, None], value=2)
        return grad_rows_RFK.transpose(0, 1), grad_offset_FR, grad_weight_F, grad_bias_F, None, None, None, None


def _running_affine(bn: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    mean_F, var_F = running(bn)
    rstd_F = torch.rsqrt(var_F + bn.eps)
    scale_F = rstd_F if bn.weight is None else bn.weight * rstd_F
    return scale_F, _shift(bn.bias, mean_F, scale_F)


def _joined(parts: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    return _beside([scale_F for scale_F, _ in parts]), _beside([shift_F for _, shift_F in parts])


def _shift(bias_F: Tensor | None, mean_F: Tensor, scale_F: Tensor) -> Tensor:
    return -mean_F * scale_F if bias_F is None else torch.addcmul(bias_F, mean_F, scale_F, value=-1)


def _beside(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 or values[0] is None else torch.cat(values)
