"""The spec's preprocessing as lines of a torch module: what can be done to a 2 s window alone.

Training ran these steps on whole recordings. Those that look at one moment only come out the same; a z-score does
not, which the caller is told; the rest is refused. x is (B, n_chans, n_times) in microvolts. Knows no files.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from jobs import spec
from jobs.spec import HBN_CHANNELS
from worker.export.errors import CannotSubmit

NEEDS_MORE = "needs the signal around the window, and the challenge gives 2 s only"


@dataclass(frozen=True)
class Preparation:
    """lines: statements that change `x`. exact: whether they give what training had. warnings: for a person."""

    lines: tuple[str, ...]
    exact: bool
    warnings: tuple[str, ...]


def preparation(channels: Sequence[str], steps: Sequence[spec.PreprocessStep]) -> Preparation:
    """From the challenge's 129 channels to `channels`, and then the steps in order. Raises CannotSubmit."""
    lines, warnings, present = [], [], list(channels)
    if present != list(HBN_CHANNELS):
        lines.append(f"x = x[:, {[HBN_CHANNELS.index(name) for name in present]}]")
    for step in steps:
        match step:
            case spec.Pick():
                lines.append(f"x = x[:, {[present.index(name) for name in step.channels]}]")
                present = list(step.channels)
            case spec.Clip():
                lines.append(f"x = x.clamp({-step.limit_uv!r}, {step.limit_uv!r})")
            case spec.Rereference():
                rows = "" if step.channels == "average" else f"[:, {[present.index(name) for name in step.channels]}]"
                lines.append(f"x = x - x{rows}.mean(dim=1, keepdim=True)")
            case spec.ZScore():
                over = "2" if step.by == "channel" else "(1, 2)"
                lines.append(f"sd = x.std(dim={over}, keepdim=True, unbiased=False)")
                lines.append(f"x = (x - x.mean(dim={over}, keepdim=True)) / torch.where(sd > 0, sd, 1.0)")
                warnings.append(
                    f"zscore by {step.by} was over whole recordings in training and is over the 2 s window here"
                )
            case spec.Resample(sfreq=100.0):
                pass
            case spec.CustomStep():
                raise CannotSubmit(f"preprocess: {step.function} is code of your own for whole recordings")
            case _:
                raise CannotSubmit(f"preprocess: `{step.step}` {NEEDS_MORE}; train without it")
    return Preparation(tuple(lines), not warnings, tuple(warnings))
