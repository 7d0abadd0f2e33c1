"""Augmentation follows from the seed and the step alone."""

import pytest
import torch

from jobs.spec import Augmentation
from worker.training.augment import Augment, augment_of
from worker.training.errors import SpecCannotRun

SHAPE = {"n_chans": 6, "n_times": 50, "sfreq": 100.0}
SOME = (
    Augmentation(name="ChannelsDropout", params={"p_drop": 0.5}),
    Augmentation(name="GaussianNoise", probability=1.0, params={"std": 2.0}),
    Augmentation(name="FTSurrogate", probability=0.7),
)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(16, 6, 50, generator=generator) * 10, torch.rand(16, generator=generator)


def augment(*asked: Augmentation, seed: int = 0) -> Augment:
    return augment_of(asked, seed, **SHAPE)


def test_a_step_is_augmented_the_same_way_whatever_was_drawn_before():
    first, second = augment(*SOME), augment(*SOME)
    for k in range(5):
        first(k, *batch())
    torch.manual_seed(99)
    torch.testing.assert_close(first(5, *batch())[0], second(5, *batch())[0], rtol=0, atol=0)


def test_steps_and_seeds_are_augmented_differently():
    x = [augment(*SOME)(k, *batch())[0] for k in (0, 1)] + [augment(*SOME, seed=1)(0, *batch())[0]]
    assert not torch.equal(x[0], x[1])
    assert not torch.equal(x[0], x[2])


def test_the_same_transform_twice_draws_twice():
    noise = Augmentation(name="GaussianNoise", probability=1.0, params={"std": 1.0})
    x, y = batch()
    once, twice = augment(noise)(0, x, y)[0] - x, augment(noise, noise)(0, x, y)[0] - x
    assert not torch.allclose(twice, 2 * once)


def test_without_augmentation_the_batch_is_the_same_object():
    x, y = batch()
    assert augment()(0, x, y) == (x, y)


def test_the_batch_that_came_in_is_left_alone():
    x, y = batch()
    before = x.clone()
    augment(*SOME)(0, x, y)
    assert torch.equal(x, before)


def test_mixup_mixes_the_targets_too():
    mixup = augment(Augmentation(name="Mixup", params={"alpha": 0.4}))
    x = torch.arange(4.0).repeat(50, 6, 1).permute(2, 1, 0).contiguous()
    mixed_x, mixed_y = mixup(0, x, torch.arange(4.0))
    torch.testing.assert_close(mixed_x[:, 0, 0], mixed_y)
    assert not torch.equal(mixed_y, torch.arange(4.0))


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (Augmentation(name="ChannelDropout"), "there is no ChannelDropout for a regression; there are AmplitudeScale"),
        (Augmentation(name="SegmentationReconstruction"), "there is no SegmentationReconstruction"),
        (Augmentation(name="GaussianNoise", params={"sigma": 1}), "does not take"),
        (Augmentation(name="BandRotation"), "cannot be used on 6 channels x 50"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(asked, reason):
    with pytest.raises(SpecCannotRun, match=reason):
        augment(asked)


def test_a_transform_that_draws_from_torchs_generator_is_refused(monkeypatch):
    import braindecode.augmentation as library

    class Careless(library.Transform):
        operation = staticmethod(lambda x, y: (x + torch.randn_like(x), y))

    monkeypatch.setattr(library, "SignFlip", Careless)
    with pytest.raises(SpecCannotRun, match="draws from torch's generator"):
        augment(Augmentation(name="SignFlip", probability=1.0))
