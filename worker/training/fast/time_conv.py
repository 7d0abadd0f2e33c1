"""A convolution along time of a few features: frequency by frequency where a CPU has less to do so, else as one
product and shifted sums.

Knows signals laid out (features, windows, samples); knows no model.

Letters: I features in, O features out, K taps, B windows, T samples.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional

from worker.training.fast import structure
from worker.training.fast.fourier import FourierTimeConv


def time_conv(x_IBT: Tensor, conv: nn.Conv2d) -> Tensor:
    """`conv`, a 'same' convolution along the last axis without bias, on (I, B, T) -> (O, B, T)."""
    weight_OIK, dilation = conv.weight.squeeze(2), conv.dilation[1]
    if structure.is_cpu(x_IBT):  # elsewhere launches are what costs
        n_out, n_in, n_taps = weight_OIK.shape
        n_times = x_IBT.shape[2]
        fourier = _fourier(n_times, n_taps, dilation)
        if fourier.n_products(n_in, n_out) < n_out * n_in * n_taps * n_times:
            return fourier(x_IBT, weight_OIK)
    return _TimeConv.apply(x_IBT, weight_OIK, dilation)


def is_time_conv(module: object) -> bool:
    """Whether `time_conv` can stand for the module."""
    return (
        isinstance(module, nn.Conv2d)
        and type(module).forward is nn.Conv2d.forward
        and module.kernel_size[0] == 1
        and module.stride == (1, 1)
        and module.groups == 1
        and module.padding == "same"
        and module.padding_mode == "zeros"
        and module.bias is None
    )


@lru_cache(maxsize=8)
def _fourier(n_times: int, n_taps: int, dilation: int) -> FourierTimeConv:
    return FourierTimeConv(n_times, n_taps, dilation)


class _TimeConv(Function):
    """Every tap's product in one matrix product of O * K rows: where O < I, less memory than the unfolded input."""

    @staticmethod
    def forward(ctx: Any, x_IBT: Tensor, weight_OIK: Tensor, dilation: int) -> Tensor:
        n_out, n_in, n_taps = weight_OIK.shape
        n_windows, n_times = x_IBT.shape[1:]
        taps_KOI = weight_OIK.permute(2, 0, 1).reshape(-1, n_in)
        reach = (n_taps - 1) * dilation
        left = reach // 2
        if structure.is_cpu(x_IBT):
            products_KOBT = (taps_KOI @ x_IBT.reshape(n_in, -1)).view(n_taps, n_out, n_windows, n_times)
            y_OBT = _sum_shifted(products_KOBT, dilation, left)
        else:
            padded_IBW = functional.pad(x_IBT, (left, reach - left)).contiguous()
            products_KOBW = (taps_KOI @ padded_IBW.view(n_in, -1)).view(n_taps, n_out, n_windows, n_times + reach)
            tap_stride, *strides = products_KOBW.stride()
            shape = (n_taps, n_out, n_windows, n_times)
            y_OBT = products_KOBW.as_strided(shape, (tap_stride + dilation, *strides)).sum(0)
        ctx.save_for_backward(x_IBT, taps_KOI)
        ctx.shape = (n_taps, n_out, n_in, dilation, left)
        return y_OBT

    @staticmethod
    def backward(ctx: Any, grad_OBT: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        x_IBT, taps_KOI = ctx.saved_tensors
        n_taps, n_out, n_in, dilation, left = ctx.shape
        n_windows, n_times = x_IBT.shape[1:]
        reach = (n_taps - 1) * dilation
        padded_OBW = functional.pad(grad_OBT, (reach - left, left)).contiguous()
        # Tap k meets grad[t + left - k * dilation]: taps in reverse order walk forwards through the padded gradient.
        shape = (n_taps, n_out, n_windows, n_times)
        n_columns = n_times + reach
        reversed_KOBT = padded_OBW.as_strided(shape, (dilation, n_windows * n_columns, n_columns, 1))
        grads_KO_N = reversed_KOBT.reshape(n_taps * n_out, -1)
        reversed_KOI = taps_KOI.view(n_taps, n_out, n_in).flip(0).reshape(n_taps * n_out, n_in)
        grad_x_IBT = (reversed_KOI.T @ grads_KO_N).view(n_in, n_windows, n_times)
        grad_taps_KOI = (grads_KO_N @ x_IBT.reshape(n_in, -1).T).view(n_taps, n_out, n_in).flip(0)
        return grad_x_IBT, grad_taps_KOI.permute(1, 2, 0), None


def _sum_shifted(products_KOBT: Tensor, dilation: int, left: int) -> Tensor:
    """The sum over k of products[k] read k * dilation - left samples later, zeros beyond the window."""
    n_taps, *shape, n_times = products_KOBT.shape
    y_OBT = products_KOBT.new_zeros(*shape, n_times)
    for tap in range(n_taps):
        shift = tap * dilation - left
        start, stop = max(0, -shift), n_times - max(0, shift)
        if start < stop:
            y_OBT[:, :, start:stop].add_(products_KOBT[tap, :, :, start + shift : stop + shift])
    return y_OBT
