"""Augmentation: braindecode's transforms on a batch, their numbers drawn from (seed, step) alone.

The transforms draw with numpy on the host, so every device, a repeated step and a moved batch see the same numbers.
Knows no state and no data set.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from jobs.spec import Augmentation
from worker.training import order
from worker.training.errors import SpecCannotRun

NEED_CLASSES = {"SegmentationReconstruction"}
TRIED_BATCH = 4


class Augment:
    """The transforms in the spec's order, each reseeded at every step."""

    def __init__(self, transforms: Sequence[Any], seed: int) -> None:
        self._transforms, self._seed = tuple(transforms), seed

    def __call__(self, k: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """x: (B, n_chans, n_times) microvolts, y: (B,), of step k, in and out."""
        for place, transform in enumerate(self._transforms):
            key = int(order.key(order.AUGMENT, self._seed, k, place))
            transform.rng.seed([key & 0xFFFFFFFF, key >> 32])
            x, y = transform(x, y)
            if isinstance(y, tuple):  # Mixup: both targets and the first one's share
                first, second, share = y
                y = share * first + (1 - share) * second
        return x, y


def augment_of(asked: Sequence[Augmentation], seed: int, n_chans: int, n_times: int, sfreq: float) -> Augment:
    """Builds the transforms and tries them on noise. Raises SpecCannotRun."""
    if not asked:
        return Augment((), seed)
    import braindecode.augmentation as library

    augment = Augment([_transform(library, one, sfreq) for one in asked], seed)
    try:
        _try_out(augment, torch.randn(TRIED_BATCH, n_chans, n_times), torch.rand(TRIED_BATCH))
    except Exception as error:
        names = ", ".join(one.name for one in asked)
        raise SpecCannotRun(f"augment: {names} cannot be used on {n_chans} channels x {n_times}: {error}") from error
    return augment


def _transform(library: Any, asked: Augmentation, sfreq: float) -> Any:
    cls = getattr(library, asked.name, None)
    if not (inspect.isclass(cls) and issubclass(cls, library.Transform)) or asked.name in NEED_CLASSES:
        known = ", ".join(sorted(name for name in dir(library) if _is_usable(library, name)))
        raise SpecCannotRun(f"augment: there is no {asked.name} for a regression; there are {known}")
    takes = inspect.signature(cls.__init__).parameters
    given = {"probability": asked.probability, "sfreq": sfreq}
    try:
        return cls(**{name: value for name, value in given.items() if name in takes} | asked.params)
    except Exception as error:
        raise SpecCannotRun(f"augment: {asked.name} does not take {asked.params}: {error}") from error


def _is_usable(library: Any, name: str) -> bool:
    cls = getattr(library, name)
    return inspect.isclass(cls) and name not in {*NEED_CLASSES, "Transform", "Compose"}


def _try_out(augment: Augment, x: Tensor, y: Tensor) -> None:
    """Twice, with torch's own generator in two places: what comes out must be the same, and of the same shape."""
    outputs = []
    with torch.random.fork_rng(devices=[]):
        for seed in (1, 2):
            torch.manual_seed(seed)
            outputs.append(augment(0, x, y))
    (first, first_y), (second, second_y) = outputs
    if first.shape != x.shape or first_y.shape != y.shape:
        raise ValueError(f"windows come out as {tuple(first.shape[1:])}")
    if not (torch.equal(first, second) and torch.equal(first_y, second_y)):
        raise ValueError("it draws from torch's generator, so a step could not be repeated")
