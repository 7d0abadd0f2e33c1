"""Every accelerated model against braindecode's own module, in float64."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import pytest
import torch
from braindecode import models
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from worker.training.fast import accelerate, describe, launch_few, structure

TOLERANCE = 1e-10
CASES: list[tuple[str, dict[str, Any]]] = [
    ("EEGNeX", {}),
    ("EEGNeX", {"kernel_block_1_2": 17, "activation": nn.GELU}),
    ("EEGNet", {}),
    ("EEGNet", {"kernel_length": 17, "D": 3, "pool_mode": "max", "final_layer_with_constraint": True}),
    ("ShallowFBCSPNet", {}),
    ("ShallowFBCSPNet", {"filter_time_length": 24, "n_filters_time": 7, "n_filters_spat": 9, "batch_norm": False}),
    ("Deep4Net", {}),
    ("EEGConformer", {}),
    ("ATCNet", {}),
    ("CTNet", {}),
    ("MSVTNet", {}),
    ("EEGITNet", {}),
    ("AttentionBaseNet", {}),
    ("TCFormer", {}),
    ("SincShallowNet", {}),
    ("SincShallowNet", {"padding": "valid"}),
]
IDS = [name if not kwargs else f"{name}-{next(iter(kwargs))}" for name, kwargs in CASES]


def build(name: str, n_chans: int = 5, n_times: int = 200, **kwargs: Any) -> nn.Module:
    """A model in float64 whose every parameter matters: none is left at zero or one."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = getattr(models, name)(n_chans=n_chans, n_outputs=2, n_times=n_times, sfreq=100, **kwargs).double()
    for parameter in model.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    return model


def pair(name: str, **kwargs: Any) -> tuple[nn.Module, nn.Module]:
    """braindecode's module and an accelerated copy of it."""
    theirs = build(name, **kwargs)
    ours = accelerate(copy.deepcopy(theirs))
    assert describe(ours) is not None
    return theirs, ours


def windows(n_windows: int = 3, n_chans: int = 5, n_times: int = 200) -> torch.Tensor:
    """Signals with an offset, so that padding and means show."""
    generator = torch.Generator().manual_seed(7)
    return torch.randn(n_windows, n_chans, n_times, generator=generator, dtype=torch.float64) + 0.3


def step(model: nn.Module, x: torch.Tensor, seed: int = 3) -> torch.Tensor:
    """Forward and backward, dropout included; the output."""
    torch.manual_seed(seed)
    model.zero_grad()
    out = model(x)
    (out * torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)).sum().backward()
    return out.detach()


def launches(model: nn.Module) -> int:
    """Operations of a forward and backward, views included."""

    class Count(TorchDispatchMode):
        n = 0

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.n += 1
            return function(*args, **(kwargs or {}))

    with Count() as count:
        step(model, windows())
    return count.n


def assert_equal_models(theirs: nn.Module, ours: nn.Module) -> None:
    """Gradients and buffers agree; a gradient that is zero but for rounding is held against the largest one."""
    grads = {name: p.grad for name, p in theirs.named_parameters()}
    largest = max(grad.abs().max() for grad in grads.values() if grad is not None)
    for name, parameter in ours.named_parameters():
        expected = grads[name]
        if expected is None:
            assert parameter.grad is None, name
            continue
        scale = max(expected.abs().max(), 1e-3 * largest)
        assert (parameter.grad - expected).abs().max() <= TOLERANCE * scale, name
    buffers = dict(theirs.named_buffers())
    for name, buffer in ours.named_buffers():
        torch.testing.assert_close(buffer, buffers[name], rtol=TOLERANCE, atol=TOLERANCE)


def assert_close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert (ours - theirs).abs().max() <= TOLERANCE * theirs.abs().max()


@pytest.mark.parametrize(("name", "kwargs"), CASES, ids=IDS)
def test_an_accelerated_model_computes_what_braindecodes_does(name: str, kwargs: dict[str, Any]) -> None:
    theirs, ours = pair(name, **kwargs)
    x = windows()
    for training in (True, False, True):
        theirs.train(training)
        ours.train(training)
        assert_close(step(ours, x), step(theirs, x))
        assert_equal_models(theirs, ours)


@pytest.mark.parametrize(("name", "kwargs"), CASES, ids=IDS)
def test_the_path_for_other_devices_is_exact_too(
    name: str, kwargs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(structure, "is_cpu", lambda x: False)
    theirs, ours = pair(name, **kwargs)
    assert_close(step(ours, windows()), step(theirs, windows()))
    assert_equal_models(theirs, ours)


@pytest.mark.parametrize("name", ["ShallowFBCSPNet", "Deep4Net", "EEGConformer"])
def test_the_path_of_few_launches_is_exact_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(structure, "is_cpu", lambda x: False)
    theirs, ours = pair(name)
    many = launches(copy.deepcopy(ours))
    launch_few(ours)
    assert launches(copy.deepcopy(ours)) < many
    assert_close(step(ours, windows()), step(theirs, windows()))
    assert_equal_models(theirs, ours)


@pytest.mark.parametrize(("name", "kwargs"), CASES, ids=IDS)
def test_weights_travel_both_ways(name: str, kwargs: dict[str, Any]) -> None:
    theirs, ours = pair(name, **kwargs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [n for n, _ in ours.named_buffers()] == [n for n, _ in theirs.named_buffers()]
    fresh = build(name, **kwargs)
    fresh.load_state_dict({key: value + 0.01 for key, value in theirs.state_dict().items()})
    ours.load_state_dict(fresh.state_dict())
    assert_close(ours.eval()(windows()), fresh.eval()(windows()))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    n_windows=st.integers(2, 5),
    n_chans=st.integers(1, 7),
    n_times=st.integers(40, 90),
    n_taps=st.integers(1, 40),
    depth=st.integers(1, 3),
)
def test_eegnex_of_any_shape_is_exact(n_windows: int, n_chans: int, n_times: int, n_taps: int, depth: int) -> None:
    theirs, ours = pair(
        "EEGNeX",
        n_chans=n_chans,
        n_times=n_times,
        kernel_block_1_2=n_taps,
        depth_multiplier=depth,
        filter_1=3,
        filter_2=5,
    )
    x = windows(n_windows, n_chans, n_times)
    assert_close(step(ours, x), step(theirs, x))
    assert_equal_models(theirs, ours)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    n_windows=st.integers(2, 5),
    n_chans=st.integers(1, 7),
    n_times=st.integers(40, 90),
    n_taps=st.integers(1, 100),
    depth=st.integers(1, 3),
)
def test_eegnet_of_any_shape_is_exact(n_windows: int, n_chans: int, n_times: int, n_taps: int, depth: int) -> None:
    theirs, ours = pair("EEGNet", n_chans=n_chans, n_times=n_times, kernel_length=n_taps, D=depth, F1=3)
    x = windows(n_windows, n_chans, n_times)
    assert_close(step(ours, x), step(theirs, x))
    assert_equal_models(theirs, ours)


@pytest.mark.parametrize("name", ["EEGNeX", "EEGNet", "ShallowFBCSPNet", "EEGConformer"])
def test_fifty_training_steps_end_in_the_same_place(name: str) -> None:
    for after, before in zip(*fifty_steps(name, torch.optim.SGD, lr=1e-3, momentum=0.9), strict=True):
        torch.testing.assert_close(after, before, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("name", ["EEGNeX", "EEGNet", "ShallowFBCSPNet"])
def test_adam_magnifies_rounding_but_no_further(name: str) -> None:
    # It divides by a gradient's size, so one that is zero but for rounding still moves its parameter: not by much.
    for after, before in zip(*fifty_steps(name, torch.optim.AdamW, lr=1e-3), strict=True):
        torch.testing.assert_close(after, before, rtol=1e-8, atol=1e-8)


def fifty_steps(name: str, optimizer_class: Any, **kwargs: Any) -> list[list[torch.Tensor]]:
    """Parameters and buffers of both models after fifty steps on the same batches."""
    generator = torch.Generator().manual_seed(1)
    batches = torch.randn(50, 3, 3, 200, generator=generator, dtype=torch.float64)
    models_ = pair(name, n_chans=3)
    for model in models_:
        torch.manual_seed(2)
        optimizer = optimizer_class(model.parameters(), **kwargs)
        for x in batches:
            optimizer.zero_grad()
            (model(x) - x.mean((1, 2))[:, None]).square().mean().backward()
            optimizer.step()
    return [list(model.state_dict().values()) for model in reversed(models_)]


@pytest.mark.parametrize("name", ["EEGNeX", "EEGNet"])
@pytest.mark.parametrize("momentum", [None, 0.3])
def test_running_statistics_follow_any_momentum(name: str, momentum: float | None) -> None:
    theirs, ours = pair(name)
    for model in (theirs, ours):
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = momentum
        for _ in range(3):
            step(model, windows())
    assert_equal_models(theirs, ours)


@pytest.mark.parametrize("name", ["EEGNeX", "EEGNet", "TCFormer"])
def test_a_frozen_batchnorm_stays_frozen(name: str) -> None:
    theirs, ours = pair(name)
    for model in (theirs, ours):
        next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d)).eval()
    assert_close(step(ours, windows()), step(theirs, windows()))
    assert_equal_models(theirs, ours)


def test_float32_stays_within_rounding_even_with_a_large_offset() -> None:
    theirs, ours = pair("EEGNeX", n_chans=16, drop_prob=0.0)
    x = windows(8, 16) + 10.0
    expected = theirs(x)
    assert (ours.float()(x.float()) - expected).abs().max() < 1e-4 * expected.abs().max()


def test_a_copy_is_a_model_of_its_own() -> None:
    _, ours = pair("EEGNet")
    twin = copy.deepcopy(ours)
    x = windows()
    before = ours.eval()(x)
    for parameter in twin.parameters():
        parameter.data.zero_()
    assert describe(twin) == describe(ours)
    assert torch.equal(ours(x), before)
    assert not torch.equal(twin.eval()(x), before)


def test_a_pickled_model_still_computes_the_same() -> None:
    _, ours = pair("ShallowFBCSPNet")
    twin = pickle.loads(pickle.dumps(ours))
    assert twin.conv_time_spat.forward.args[0] is twin.conv_time_spat
    assert_close(twin.eval()(windows()), ours.eval()(windows()))


def test_dropout_that_is_put_in_later_is_the_one_called() -> None:
    class Counting(nn.Module):
        calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            Counting.calls += 1
            assert x.is_contiguous()
            return x

    _, ours = pair("EEGNeX")
    ours.block_3[4], ours.block_5[4] = Counting(), Counting()
    step(ours, windows())
    assert Counting.calls == 2


@pytest.mark.parametrize("name", ["EEGNeX", "EEGNet", "ShallowFBCSPNet"])
def test_a_compiler_sees_one_graph(name: str) -> None:
    _, ours = pair(name)
    compiled = torch.compile(copy.deepcopy(ours).eval(), backend="eager", fullgraph=True)
    assert_close(compiled(windows()), ours.eval()(windows()))


@pytest.mark.parametrize("on_cpu", [True, False])
@pytest.mark.parametrize("name", ["EEGNeX", "EEGNet", "ShallowFBCSPNet", "EEGConformer"])
def test_a_training_step_reads_nothing_back_from_the_device(
    name: str, on_cpu: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Fake tensors hold no values: whatever would wait for the device, or take its shape from data, raises.
    monkeypatch.setattr(structure, "is_cpu", lambda x: on_cpu)
    _, ours = pair(name)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    for module in ours.modules():
        for store in (module._parameters, module._buffers):
            store.update({key: mode.from_tensor(tensor) for key, tensor in store.items() if tensor is not None})
    with mode:
        ours(mode.from_tensor(windows())).sum().backward()
    assert all(parameter.grad is not None for parameter in ours.parameters())
