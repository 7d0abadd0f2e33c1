"""BatchNorm, ELU and average pooling over time in one pass each way.

Knows signals laid out (S, B, U); knows no model.

Letters: S signals (features), B windows, U samples in, V samples after pooling.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

from worker.training.fast import structure
from worker.training.fast.batchnorm import running, track
from worker.training.fast.constant import Constant

_PART_BYTES = 1 << 20  # what a core's cache holds beside its neighbours: temporaries of this size never reach memory


def finish(
    y_SBU: Tensor,
    shift_SU: Tensor,
    bn: nn.BatchNorm2d,
    activation: nn.Module,
    pool: nn.Module | None,
    pool_UV: Constant | None,
    time_axis: int = 1,
) -> Tensor:
    """pool(activation(bn(y + shift))) as images (B, S, 1, V), or (B, S, V, 1) where time is axis 0 of an image."""
    if pool_UV is not None and structure.is_cpu(y_SBU):
        return _images(norm_elu_pool(y_SBU, shift_SU, bn, pool_UV.like(y_SBU)), time_axis)
    # On other devices kernels for whole layers exist, and launches cost more than passes over memory.
    shifted_SBU = y_SBU + shift_SU[:, None]
    if pool_UV is not None and time_axis == 1:
        # One image whose height is the batch: every layer sees the same numbers, and the layout stays.
        return _images(pool(activation(bn(shifted_SBU[None]))).squeeze(0), time_axis)  # type: ignore[misc]
    h = activation(bn(_images(shifted_SBU, time_axis)))
    return h if pool is None else pool(h)


def fused_pool(activation: nn.Module, pool: nn.Module | None, n_times: int, time_axis: int = 1) -> Constant | None:
    """The pooling as a matrix (U, V) where norm_elu_pool can stand for the modules, else None."""
    is_elu = type(activation) is nn.ELU and activation.alpha == 1
    if not is_elu or type(pool) is not nn.AvgPool2d:
        return None
    impulses = torch.eye(n_times, dtype=torch.float64)
    pooled = pool(impulses[None, :, None] if time_axis == 1 else impulses[None, :, :, None])
    return Constant(pooled.reshape(n_times, -1))


def norm_elu_pool(y_SBU: Tensor, shift_SU: Tensor, bn: nn.BatchNorm2d, pool_UV: Tensor) -> Tensor:
    """pool(ELU(bn(y + shift))), (S, B, V), with `bn`'s running statistics moved as its own forward moves them.

    `pool_UV` is the pooling as a matrix. ELU's alpha is 1.
    """
    if bn.training:
        mean_S, var_S = _statistics(y_SBU.detach(), shift_SU.detach())
        track(bn, mean_S, var_S, y_SBU.shape[1] * y_SBU.shape[2])
    else:
        mean_S, var_S = running(bn)
    rstd_S = torch.rsqrt(var_S + bn.eps)
    weight_S = bn.weight if bn.weight is not None else torch.ones_like(rstd_S)
    bias_S = bn.bias if bn.bias is not None else torch.zeros_like(rstd_S)
    return _NormEluPool.apply(y_SBU, shift_SU, weight_S, bias_S, mean_S, rstd_S, pool_UV, bn.training)


def _statistics(y_SBU: Tensor, shift_SU: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of y + shift, (S,) each; y's own mean is near zero, the shift's is taken off first."""
    n_windows, n_times = y_SBU.shape[1:]
    mean_SU = y_SBU.sum(1) / n_windows
    power_S = torch.linalg.vector_norm(y_SBU, dim=(1, 2)).square() / (n_windows * n_times)
    mean_S, shift_mean_S = mean_SU.mean(1), shift_SU.mean(1)
    centred_SU = shift_SU - shift_mean_S[:, None]
    var_S = power_S - mean_S.square() + (centred_SU * (2 * mean_SU + centred_SU)).mean(1)
    return mean_S + shift_mean_S, var_S.clamp_min(0)


class _NormEluPool(Function):
    """With n = scale * y + offset and e = exp(min(n, 0)): ELU(n) = max(n, 0) + e - 1, and e is its derivative."""

    @staticmethod
    def forward(
        ctx: Any,
        y_SBU: Tensor,
        shift_SU: Tensor,
        weight_S: Tensor,
        bias_S: Tensor,
        mean_S: Tensor,
        rstd_S: Tensor,
        pool_UV: Tensor,
        batch_statistics: bool,
    ) -> Tensor:
        n_signals, n_windows, n_times = y_SBU.shape
        scale_S = weight_S * rstd_S
        centred_SU = shift_SU - mean_S[:, None]
        offset_SU = torch.addcmul(bias_S[:, None], centred_SU, scale_S[:, None])
        slope_SBU = torch.empty_like(y_SBU)
        pooled_SBV = y_SBU.new_empty(n_signals, n_windows, pool_UV.shape[1])
        for part in _parts(y_SBU):
            n = torch.addcmul(offset_SU[part, None], y_SBU[part], scale_S[part, None, None])
            slope = torch.clamp_max(n, 0, out=slope_SBU[part]).exp_()
            n.relu_().add_(slope)
            torch.mm(n.view(-1, n_times), pool_UV, out=pooled_SBV[part].view(-1, pool_UV.shape[1]))
        ctx.save_for_backward(y_SBU, slope_SBU, centred_SU, weight_S, rstd_S, pool_UV)
        ctx.batch_statistics = batch_statistics
        return pooled_SBV.sub_(pool_UV.sum(0))

    @staticmethod
    def backward(ctx: Any, grad_SBV: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        y_SBU, slope_SBU, centred_SU, weight_S, rstd_S, pool_UV = ctx.saved_tensors
        n_windows, n_times = y_SBU.shape[1:]
        grad_SBU = torch.empty_like(y_SBU)
        product_S = torch.empty_like(rstd_S)
        for part in _parts(y_SBU):
            rows = grad_SBU[part].view(-1, n_times)
            torch.mm(grad_SBV[part].reshape(-1, pool_UV.shape[1]), pool_UV.T, out=rows)
            grad = grad_SBU[part].mul_(slope_SBU[part])
            product_S[part] = (grad * y_SBU[part]).sum((1, 2))
        grad_SU = grad_SBU.sum(1)
        grad_bias_S = grad_SU.sum(1)
        grad_weight_S = rstd_S * (product_S + (grad_SU * centred_SU).sum(1))
        scale_S = weight_S * rstd_S
        if not ctx.batch_statistics:
            grad_SBU.mul_(scale_S[:, None, None])
            return grad_SBU, grad_SU * scale_S[:, None], grad_weight_S, grad_bias_S, None, None, None, None
        # The gradient through the batch's own mean and variance: linear in y, with a constant a sample.
        n_samples = n_windows * n_times
        slope_of_y_S = -scale_S * rstd_S * grad_weight_S / n_samples
        constant_SU = slope_of_y_S[:, None] * centred_SU - (scale_S * grad_bias_S / n_samples)[:, None]
        for part in _parts(y_SBU):
            grad = grad_SBU[part].mul_(scale_S[part, None, None]).add_(constant_SU[part, None])
            grad.addcmul_(y_SBU[part], slope_of_y_S[part, None, None])
        return grad_SBU, grad_SBU.sum(1), grad_weight_S, grad_bias_S, None, None, None, None


def _images(h_SBV: Tensor, time_axis: int) -> Tensor:
    return h_SBV.transpose(0, 1).contiguous().unsqueeze(2 if time_axis == 1 else 3)


def _parts(y_SBU: Tensor) -> list[slice]:
    """Slices of signals that fit a cache."""
    n_signals = y_SBU.shape[0]
    per_part = max(1, _PART_BYTES * n_signals // (y_SBU.numel() * y_SBU.element_size()))
    return [slice(start, min(start + per_part, n_signals)) for start in range(0, n_signals, per_part)]
