"""Initial weights: those of an earlier job or of an uploaded file, by globs over tensor names. Knows no training."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from jobs.spec import Init
from worker.training.errors import SpecCannotRun
from worker.training.state import took


@torch.no_grad()
def load(model: nn.Module, init: Init, runs_dir: Path | None) -> frozenset[str]:
    """Copies what `init` names and the model has; the tensors' names. Raises SpecCannotRun."""
    path = _file(init, runs_dir)
    if not path.is_file():
        raise SpecCannotRun(f"init: there are no weights of {init.job or init.weights}")
    weights, own = load_file(path), model.state_dict()
    chosen = {name for name in own if name in weights and took(init, name)}
    for name in chosen:
        if own[name].shape != weights[name].shape:
            raise SpecCannotRun(
                f"init: {name} has shape {tuple(weights[name].shape)}, the model wants {tuple(own[name].shape)}; "
                "exclude it to start it fresh"
            )
        own[name].copy_(weights[name])
    if not chosen:
        raise SpecCannotRun("init: no tensor of these weights has a name that this model knows")
    return frozenset(chosen)


@torch.no_grad()
def start_at_mean(model: nn.Module, mean: float, taken: frozenset[str] = frozenset()) -> bool:
    """Sets the bias of the last layer with one output to `mean`; whether there is such a layer, and it was not taken.

    The start kit spends its first epochs on this one number: response times lie around 1.6 s. So does a job that takes
    weights from another target without their head.
    """
    layers = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d)]
    if not layers:
        return False
    name, last = layers[-1]
    if last.bias is None or last.bias.numel() != 1 or f"{name}.bias" in taken:
        return False
    last.bias.fill_(mean)
    return True


def _file(init: Init, runs_dir: Path | None) -> Path:
    if runs_dir is None:
        raise SpecCannotRun("init needs the runs folder")
    if init.job:
        return runs_dir / init.job / "results" / "weights.safetensors"
    return runs_dir / "uploads" / f"{init.weights}.safetensors"
