"""A convolution of many channels over a whole window, evaluated frequency by frequency.

Knows signals and kernels; knows no model.

A circular correlation of period T equals the plain one wherever the kernel does not run past the window: exactly the
samples that a convolution without padding gives. One product with the T sines and cosines replaces n_taps products
with every channel, and the signal's own transform needs no gradient. On matrices a transform of a few hundred samples
is faster as a product than as a fast transform, and its layout is free.

Letters: B windows, C channels, O outputs, K taps, T samples in, U = T - K + 1 samples out, Q frequencies.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from worker.training.fast.constant import Constant


class FourierConv:
    """The sums over c and k of weight[o, c, k] x[b, c, u + k], (B, C, T) -> (B, O, U), for one T and one K."""

    def __init__(self, n_times: int, n_taps: int) -> None:
        self.n_times_out = n_times - n_taps + 1
        angle_QT = 2 * math.pi / n_times * torch.outer(torch.arange(n_times // 2 + 1), torch.arange(n_times)).double()
        cos_QT, sin_QT = angle_QT.cos(), angle_QT.sin()
        # Real and imaginary parts alternate along the first axis of every basis.
        self.signal = Constant(_alternate(cos_QT, -sin_QT))
        # (X_re + i X_im) (V_re + i V_im): what X_re meets for the real and imaginary result, and what X_im meets.
        cos_QK, sin_QK = cos_QT[:, :n_taps], sin_QT[:, :n_taps]
        self.kernel_re = Constant(_alternate(cos_QK, sin_QK))
        self.kernel_im = Constant(_alternate(-sin_QK, cos_QK))
        share_Q1 = _shares(n_times)
        cos_QU, sin_QU = cos_QT[:, : self.n_times_out], sin_QT[:, : self.n_times_out]
        self.inverse = Constant(_alternate(share_Q1 * cos_QU, -share_Q1 * sin_QU))

    def __call__(self, x_BCT: Tensor, weight_OCK: Tensor) -> Tensor:
        bases = [basis.like(x_BCT) for basis in (self.signal, self.kernel_re, self.kernel_im, self.inverse)]
        return _FourierConv.apply(x_BCT, weight_OCK, *bases)


class _FourierConv(Function):
    """Not differentiable in x."""

    @staticmethod
    def forward(
        ctx: Any,
        x_BCT: Tensor,
        weight_OCK: Tensor,
        signal: Tensor,
        kernel_re: Tensor,
        kernel_im: Tensor,
        inverse: Tensor,
    ) -> Tensor:
        n_windows, n_chans, n_times = x_BCT.shape
        n_out, _, n_taps = weight_OCK.shape
        n_freqs = signal.shape[0] // 2
        x_Q2BC = (signal @ x_BCT.reshape(-1, n_times).T).view(n_freqs, 2, n_windows, n_chans)
        taps_KOC = weight_OCK.reshape(-1, n_taps).T
        of_re_Q2OC = (kernel_re @ taps_KOC).view(n_freqs, 2 * n_out, n_chans)
        of_im_Q2OC = (kernel_im @ taps_KOC).view(n_freqs, 2 * n_out, n_chans)
        y_QB2O = torch.bmm(x_Q2BC[:, 0], of_re_Q2OC.transpose(1, 2))
        y_QB2O.baddbmm_(x_Q2BC[:, 1], of_im_Q2OC.transpose(1, 2))
        y_Q2BO = y_QB2O.view(n_freqs, n_windows, 2, n_out).transpose(1, 2).reshape(2 * n_freqs, -1)
        ctx.save_for_backward(x_Q2BC, kernel_re, kernel_im, inverse)
        return (y_Q2BO.T @ inverse).view(n_windows, n_out, -1)

    @staticmethod
    def backward(ctx: Any, grad_BOU: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x_Q2BC, kernel_re, kernel_im, inverse = ctx.saved_tensors
        n_freqs, _, n_windows, n_chans = x_Q2BC.shape
        n_out, n_times_out = grad_BOU.shape[1:]
        grad_Q2BO = (inverse @ grad_BOU.reshape(-1, n_times_out).T).view(n_freqs, 2, n_windows, n_out)
        grad_QB2O = grad_Q2BO.transpose(1, 2).reshape(n_freqs, n_windows, 2 * n_out)
        of_re_Q2OC = torch.bmm(grad_QB2O.transpose(1, 2), x_Q2BC[:, 0])
        of_im_Q2OC = torch.bmm(grad_QB2O.transpose(1, 2), x_Q2BC[:, 1])
        grad_KOC = kernel_re.T @ of_re_Q2OC.view(2 * n_freqs, -1) + kernel_im.T @ of_im_Q2OC.view(2 * n_freqs, -1)
        return None, grad_KOC.T.reshape(n_out, n_chans, -1), None, None, None, None


class FourierTimeConv:
    """The sums over i and k of weight[o, i, k] x[i, b, t + k dilation - left], zeros beyond the window: a 'same'
    convolution of I features, (I, B, T) -> (O, B, T), for one T, K and dilation.

    The period only has to keep the taps of one end from reaching the other.
    """

    def __init__(self, n_times: int, n_taps: int, dilation: int) -> None:
        reach = (n_taps - 1) * dilation
        left = reach // 2
        period = n_times + reach - left
        self.n_times, self.n_freqs = n_times, period // 2 + 1
        angle_Q = 2 * math.pi / period * torch.arange(self.n_freqs).double()
        angle_QT = torch.outer(angle_Q, torch.arange(n_times).double())
        angle_QK = torch.outer(angle_Q, (torch.arange(n_taps) * dilation - left).double())
        self.signal = Constant(_alternate(angle_QT.cos(), -angle_QT.sin()))
        # (V_re + i V_im) X as [[V_re, -V_im], [V_im, V_re]] on the parts of X.
        re_QK, im_QK = angle_QK.cos(), angle_QK.sin()
        self.kernel = Constant(torch.stack([re_QK, -im_QK, im_QK, re_QK], dim=1).flatten(0, 1))
        share_Q1 = _shares(period)
        self.inverse = Constant(_alternate(share_Q1 * angle_QT.cos(), -share_Q1 * angle_QT.sin()))

    def __call__(self, x_IBT: Tensor, weight_OIK: Tensor) -> Tensor:
        signal, kernel, inverse = (basis.like(x_IBT) for basis in (self.signal, self.kernel, self.inverse))
        n_in, n_windows, n_times = x_IBT.shape
        n_out, _, n_taps = weight_OIK.shape
        n_freqs = self.n_freqs
        x_QIB = (signal @ x_IBT.reshape(-1, n_times).T).view(n_freqs, 2 * n_in, n_windows)
        parts_Q22OI = (kernel @ weight_OIK.reshape(-1, n_taps).T).view(n_freqs, 2, 2, n_out, n_in)
        weight_QOI = parts_Q22OI.transpose(2, 3).reshape(n_freqs, 2 * n_out, 2 * n_in)
        y_QOB = torch.bmm(weight_QOI, x_QIB)
        return (y_QOB.view(2 * n_freqs, -1).T @ inverse).view(n_out, n_windows, n_times)

    def n_products(self, n_in: int, n_out: int) -> int:
        """Multiplications a window: the transforms there and back, and four for each product of complex numbers."""
        n_freqs = self.n_freqs
        return 2 * n_freqs * self.n_times * (n_in + n_out) + 4 * n_freqs * n_in * n_out


def _alternate(real_QX: Tensor, imaginary_QX: Tensor) -> Tensor:
    return torch.stack([real_QX, imaginary_QX], dim=1).flatten(0, 1)


def _shares(n_times: int) -> Tensor:
    """What each frequency contributes to a real signal: all but the first, and the last of an even T, count twice."""
    share_Q1 = torch.full((n_times // 2 + 1, 1), 2 / n_times, dtype=torch.float64)
    share_Q1[0] = 1 / n_times
    if n_times % 2 == 0:
        share_Q1[-1] = 1 / n_times
    return share_Q1
