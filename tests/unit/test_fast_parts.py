"""The pieces of the fast forwards against the plain operations they stand for, gradients included, in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrize import register_parametrization

from worker.training.fast import structure
from worker.training.fast.fourier import FourierConv, FourierTimeConv
from worker.training.fast.layouts import make_linear, skip_if_identity, turn_time_last
from worker.training.fast.max_norm import used_weight
from worker.training.fast.moments import signal_moments
from worker.training.fast.tail import fused_pool, norm_elu_pool
from worker.training.fast.time_conv import time_conv
from worker.training.fast.toeplitz import Band, ChainedBand, Filters


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def assert_same(fast: Callable[..., Tensor], plain: Callable[..., Tensor], *inputs: Tensor) -> None:
    """Same output, and same gradients with respect to every input that wants one."""
    results = []
    for function in (fast, plain):
        leaves = [x.clone().requires_grad_() for x in inputs]
        out = function(*leaves)
        grads = torch.autograd.grad((out * randn(*out.shape, seed=9)).sum(), leaves)
        results.append((out, *grads))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@settings(max_examples=30, deadline=None)
@given(n_times=st.integers(1, 30), n_taps=st.integers(1, 12), left=st.integers(0, 12), right=st.integers(0, 12))
def test_a_filter_matrix_is_the_convolution(n_times: int, n_taps: int, left: int, right: int) -> None:
    if n_times + left + right < n_taps:
        return
    x = randn(4, n_times)
    assert_same(
        lambda kernels: torch.matmul(x, Filters(kernels[:, None], Band(n_times, n_taps, left, right)).matrix().mT),
        lambda kernels: functional.conv1d(functional.pad(x, (left, right))[:, None], kernels[:, None]).transpose(0, 1),
        randn(3, n_taps),
    )


@settings(max_examples=30, deadline=None)
@given(n_taps=st.integers(1, 14), more=st.integers(0, 20))
def test_a_chained_band_is_one_convolution_after_another(n_taps: int, more: int) -> None:
    n_times = n_taps + more
    x, chain = randn(4, 1, n_times), ChainedBand(n_times, n_taps)

    def fast(second: Tensor, first: Tensor, shift: Tensor) -> Tensor:
        filters = chain.compose(second, first, shift)
        assert filters.offset_FR is not None
        return torch.matmul(x[:, 0], filters.matrix().mT) + chain.both.spread_rows(filters.offset_FR)[:, None]

    def plain(second: Tensor, first: Tensor, shift: Tensor) -> Tensor:
        h = functional.conv1d(x, first[:, None], padding="same") + shift[:, None]
        return functional.conv1d(h, second, padding="same").transpose(0, 1)

    assert_same(fast, plain, randn(3, 2, n_taps, seed=1), randn(2, n_taps, seed=2), randn(2, seed=3))


def test_moments_are_means_over_windows_and_channels() -> None:
    x = randn(3, 4, 5)
    moments = signal_moments(x)
    torch.testing.assert_close(moments.mean_T, x.mean((0, 1)))
    torch.testing.assert_close(moments.second_TT, torch.einsum("bct,bcs->ts", x, x) / 12)


@settings(max_examples=20, deadline=None)
@given(n_times=st.integers(1, 40), n_taps=st.integers(1, 16), n_out=st.integers(1, 4))
def test_a_fourier_convolution_is_the_convolution(n_times: int, n_taps: int, n_out: int) -> None:
    if n_taps > n_times:
        return
    x, conv = randn(2, 3, n_times), FourierConv(n_times, n_taps)
    assert_same(lambda w: conv(x, w), lambda w: functional.conv1d(x, w), randn(n_out, 3, n_taps))


@pytest.mark.parametrize("on_cpu", [True, False])
@settings(max_examples=15, deadline=None)
@given(n_times=st.integers(1, 20), n_taps=st.integers(1, 9), dilation=st.integers(1, 4))
def test_a_time_convolution_is_the_convolution(on_cpu: bool, n_times: int, n_taps: int, dilation: int) -> None:
    conv = nn.Conv2d(3, 2, (1, n_taps), padding="same", dilation=(1, dilation), bias=False).double()

    def fast(x: Tensor, weight: Tensor) -> Tensor:
        twin = nn.Conv2d(3, 2, (1, n_taps), padding="same", dilation=(1, dilation), bias=False)
        del twin.weight
        twin.weight = weight
        return time_conv(x, twin)

    def plain(x: Tensor, weight: Tensor) -> Tensor:
        return (
            functional.conv2d(x.transpose(0, 1)[:, :, None], weight, padding="same", dilation=(1, dilation))
            .squeeze(2)
            .transpose(0, 1)
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structure, "is_cpu", lambda x: on_cpu)
        assert_same(fast, plain, randn(3, 2, n_times), conv.weight.detach())


@settings(max_examples=40, deadline=None)
@given(n_times=st.integers(1, 40), n_taps=st.integers(1, 16), dilation=st.integers(1, 4))
def test_a_fourier_convolution_along_time_is_the_convolution(n_times: int, n_taps: int, dilation: int) -> None:
    """With taps that reach further than the window, too."""

    def plain(x: Tensor, weight: Tensor) -> Tensor:
        return functional.conv1d(x.transpose(0, 1), weight, padding="same", dilation=dilation).transpose(0, 1)

    assert_same(FourierTimeConv(n_times, n_taps, dilation), plain, randn(3, 2, n_times), randn(2, 3, n_taps))


def test_a_cpu_takes_the_frequencies_where_they_are_less_work() -> None:
    eegnex, long_window = FourierTimeConv(50, 16, 2), FourierTimeConv(1000, 16, 2)
    assert eegnex.n_products(64, 32) < 64 * 32 * 16 * 50 / 2
    assert long_window.n_products(64, 32) > 64 * 32 * 16 * 1000


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_norm_elu_pool_is_the_three_layers(training: bool, affine: bool) -> None:
    pool = nn.AvgPool2d((1, 4), padding=(0, 1))
    matrix = fused_pool(nn.ELU(), pool, 21)
    assert matrix is not None
    fast_bn, plain_bn = (nn.BatchNorm2d(3, affine=affine, momentum=0.2).double().train(training) for _ in range(2))
    assert_same(
        lambda y, shift: norm_elu_pool(y, shift, fast_bn, matrix.like(y)),
        lambda y, shift: pool(functional.elu(plain_bn((y + shift[:, None])[None])))[0],
        randn(3, 50, 21),
        randn(3, 21, seed=1),
    )
    torch.testing.assert_close(fast_bn.state_dict(), plain_bn.state_dict())


def test_a_max_normed_weight_is_torchs_renorm() -> None:
    class MaxNormParametrize(nn.Module):
        max_norm = 1.5

        def forward(self, weight: Tensor) -> Tensor:
            return weight.renorm(p=2, dim=0, maxnorm=self.max_norm)

    def normed(read: Callable[[nn.Module], Tensor]) -> Callable[[Tensor], Tensor]:
        def function(weight: Tensor) -> Tensor:
            layer = nn.Linear(4, 6).double()
            register_parametrization(layer, "weight", MaxNormParametrize(), unsafe=True)
            del layer.parametrizations.weight.original
            layer.parametrizations.weight.original = weight
            return read(layer)

        return function

    weight = randn(6, 4) * torch.linspace(0.1, 2, 6, dtype=torch.float64)[:, None]
    assert_same(normed(used_weight), normed(lambda layer: layer.weight), weight)


def test_a_turned_convolution_is_the_convolution() -> None:
    conv = nn.Conv2d(3, 4, (5, 1)).double()
    plain = nn.Conv2d(3, 4, (5, 1)).double()
    plain.load_state_dict(conv.state_dict())
    turn_time_last(conv)
    assert "forward" in vars(conv)
    assert_same(conv, plain, randn(2, 3, 9, 1))


def test_a_classifier_as_large_as_the_image_is_linear() -> None:
    conv, plain = nn.Conv2d(3, 2, (5, 1)).double(), nn.Conv2d(3, 2, (5, 1)).double()
    plain.load_state_dict(conv.state_dict())
    make_linear(conv)
    assert_same(conv, plain, randn(2, 3, 5, 1))
    assert_same(conv, plain, randn(2, 3, 7, 1))  # a larger image: still the convolution


def test_only_a_pool_that_does_nothing_is_skipped() -> None:
    nothing, something = nn.MaxPool2d((1, 1), stride=(1, 1)), nn.MaxPool2d((2, 1), stride=(1, 1))
    for pool in (nothing, something):
        skip_if_identity(pool)
    x = randn(1, 1, 4, 1)
    assert nothing(x) is x
    assert something(x).shape == (1, 1, 3, 1)
