"""Models and batches that the fast forwards are not written for are left to braindecode."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from tests.unit.test_fast_models import assert_close, build, pair, windows
from worker.training.fast import accelerate, describe


def with_bias(model: Any) -> None:
    model.conv_temporal.bias = nn.Parameter(torch.zeros(model.F1, dtype=torch.float64))


def with_stride(model: Any) -> None:
    model.conv_temporal.stride = (1, 2)


def with_circular_padding(model: Any) -> None:
    model.conv_temporal.padding_mode = "circular"


def with_instance_norm(model: Any) -> None:
    model.bnorm_temporal = nn.InstanceNorm2d(model.F1).double()


def with_activation_between(model: Any) -> None:
    model.bnorm_temporal = nn.Sequential(model.bnorm_temporal, nn.ELU())


def with_a_hook(model: Any) -> None:
    model.conv_spatial.register_forward_hook(lambda module, args, out: 2 * out)


def with_untracked_statistics(model: Any) -> None:
    model.bnorm_temporal = nn.BatchNorm2d(model.F1, track_running_stats=False).double()


@pytest.mark.parametrize(
    "change",
    [
        with_bias,
        with_stride,
        with_circular_padding,
        with_instance_norm,
        with_activation_between,
        with_a_hook,
        with_untracked_statistics,
    ],
)
def test_another_structure_is_left_alone(change: Any) -> None:
    model = build("EEGNet")
    change(model)
    forward = model.forward
    assert accelerate(model) is model
    assert describe(model) is None
    assert model.forward == forward


@pytest.mark.parametrize("name", ["EEGTCNet", "SCCNet", "TSception", "BDTCN", "FBCNet"])
def test_a_model_without_such_a_front_is_left_alone(name: str) -> None:
    assert describe(accelerate(build(name))) is None


def test_a_module_that_only_bears_the_name_is_left_alone() -> None:
    class EEGNeX(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    assert describe(accelerate(EEGNeX())) is None


def test_a_window_shorter_than_the_kernel_is_left_to_braindecode() -> None:
    assert describe(accelerate(build("EEGNeX", n_times=60))) is None


@pytest.mark.parametrize("name", ["EEGNeX", "EEGNet", "ShallowFBCSPNet", "ATCNet", "SincShallowNet", "TCFormer"])
def test_a_gradient_with_respect_to_the_signal_is_right(name: str) -> None:
    theirs, ours = pair(name)
    grads = []
    for model in (theirs, ours):
        x = windows().requires_grad_()
        model.eval()(x).sum().backward()
        grads.append(x.grad)
    assert_close(grads[1], grads[0])


def test_windows_of_another_length_take_braindecodes_path() -> None:
    theirs, ours = pair("EEGNeX", n_times=200)
    x = windows(n_times=201)
    assert_close(ours.eval()(x), theirs.eval()(x))


def test_a_batch_of_another_precision_fails_as_braindecodes_does() -> None:
    _, ours = pair("EEGNet")
    with pytest.raises(RuntimeError):
        ours(windows().float())


def test_accelerating_twice_changes_nothing() -> None:
    theirs, ours = pair("EEGNet")
    again = accelerate(copy.deepcopy(ours))
    assert_close(again.eval()(windows()), theirs.eval()(windows()))
