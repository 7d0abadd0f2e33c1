"""Preprocessing inside a submission gives what it gave in training, or says that it cannot."""

import numpy as np
import pytest
import torch

from jobs import spec
from jobs.spec import HBN_CHANNELS
from worker.data.preprocess import Signal, apply
from worker.export.errors import CannotSubmit
from worker.export.steps import preparation

EXACT = [
    (spec.Clip(limit_uv=20.0),),
    (spec.Rereference(),),
    (spec.Rereference(channels=("E3", "Cz")),),
    (spec.Pick(channels=("Cz", "E7", "E2")),),
    (spec.Clip(limit_uv=30.0), spec.Pick(channels=("E9", "E1", "Cz")), spec.Rereference(channels=("Cz",))),
]


def prepared(x: torch.Tensor, channels: tuple[str, ...], steps: tuple) -> torch.Tensor:
    scope = {"x": x, "torch": torch}
    exec("\n".join(preparation(channels, steps).lines), scope)
    return scope["x"]


@pytest.mark.parametrize("steps", EXACT, ids=lambda steps: "+".join(step.step for step in steps))
def test_steps_on_a_window_give_what_they_give_on_the_recording(steps):
    recording = np.random.default_rng(0).normal(0, 15, (129, 600)).astype(np.float32)
    expected = apply(Signal(recording, 100.0, HBN_CHANNELS), steps, None).x[:, 250:450]
    window = torch.from_numpy(recording[:, 250:450])[None]
    np.testing.assert_allclose(prepared(window, HBN_CHANNELS, steps)[0], expected, atol=1e-4)
    assert preparation(HBN_CHANNELS, steps).exact


def test_channels_of_the_spec_are_picked_from_the_challenges():
    window = torch.arange(129.0).repeat(200, 1).T[None]
    assert prepared(window, ("Cz", "E5"), ())[0, :, 0].tolist() == [128.0, 4.0]


@pytest.mark.parametrize("by", ["channel", "recording"])
def test_a_z_score_is_of_the_window_and_says_so(by):
    steps = (spec.ZScore(by=by),)
    z = prepared(torch.randn(2, 129, 200) * 9 + 4, HBN_CHANNELS, steps)
    assert abs(float(z[1].mean())) < 1e-4
    assert abs(float(z[1].std()) - 1) < 1e-2
    made = preparation(HBN_CHANNELS, steps)
    assert not made.exact
    assert "over the 2 s window here" in made.warnings[0]


def test_a_flat_channel_stays_zero():
    assert prepared(torch.zeros(1, 129, 200), HBN_CHANNELS, (spec.ZScore(),)).abs().max() == 0


@pytest.mark.parametrize(
    "step", [spec.Filter(h_freq=40.0), spec.Resample(sfreq=50.0), spec.CustomStep(function="my_steps:fn")]
)
def test_steps_that_need_more_than_a_window_are_refused(step):
    with pytest.raises(CannotSubmit, match=r"needs the signal around the window|code of your own"):
        preparation(HBN_CHANNELS, (step,))
