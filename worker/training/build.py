"""Builds the model that a spec names, at the windows' shape, with counted dropout and its exact fast path.

Knows shapes, not data. Weights are drawn from the job's seed, so every process builds the same model.
"""

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from jobs.spec import JobSpec
from worker.training.dropout import count_dropout, draws_elsewhere
from worker.training.errors import SpecCannotRun, UserCodeFailed
from worker.training.fast import accelerate, describe

_IMPORTED: set[str] = set()  # names of modules that came from a folder of own models


@dataclass(frozen=True)
class Shape:
    """What a model must fit: channels in order, samples a window, Hz."""

    ch_names: tuple[str, ...]
    n_times: int
    sfreq: float

    @property
    def n_chans(self) -> int:
        return len(self.ch_names)


@dataclass(frozen=True)
class Built:
    """`moves_batches`: all its randomness is counted, so a step repeats on any device. `fast`: name of the path."""

    model: nn.Module
    moves_batches: bool
    fast: str | None
    n_parameters: int


def build(spec: JobSpec, shape: Shape, user_code: Path | None = None) -> Built:
    """The model on the CPU, in the mode it will be trained in.

    Raises SpecCannotRun where it cannot be built or does not give one number a window, UserCodeFailed for own models.
    """
    torch.manual_seed(spec.seed)
    model = own_model(spec, shape, user_code) if ":" in spec.model.name else braindecode_model(spec, shape)
    x = torch.zeros(2, shape.n_chans, shape.n_times).normal_(generator=torch.Generator().manual_seed(0)) * 10
    _must_give_one_number(spec, model, x)
    count_dropout(model, spec.seed)
    moves = not draws_elsewhere(model, x)
    if spec.training.fast_path:
        model = accelerate(model)
    return Built(model, moves, describe(model), sum(p.numel() for p in model.parameters()))


def braindecode_model(spec: JobSpec, shape: Shape) -> nn.Module:
    import braindecode.models

    cls = getattr(braindecode.models, spec.model.name)
    arguments: dict[str, Any] = {
        "n_chans": shape.n_chans,
        "n_outputs": 1,
        "n_times": shape.n_times,
        "sfreq": shape.sfreq,
    }
    for needs_montage in (False, True):
        extra = {"chs_info": chs_info(shape)} if needs_montage else {}
        try:
            return cls(**arguments, **extra, **spec.model.params)
        except Exception as error:  # noqa: BLE001 - a model may raise anything at a shape it cannot take
            reason = error
            if "chs_info" not in str(error):
                break
    raise SpecCannotRun(
        f"{spec.model.name} cannot be built for {shape.n_chans} channels x {shape.n_times} samples at "
        f"{shape.sfreq:g} Hz: {reason}"
    )


def chs_info(shape: Shape) -> list[dict]:
    """Channel positions, for the models that ask for them: HBN's net, else the 10-05 system."""
    import mne

    info = mne.create_info(list(shape.ch_names), shape.sfreq, "eeg")
    montage = "GSN-HydroCel-129" if "E1" in shape.ch_names else "standard_1005"
    info.set_montage(montage, on_missing="ignore", match_case=False, match_alias={"Cz": "Cz"})
    return info["chs"]


def own_model(spec: JobSpec, shape: Shape, user_code: Path | None) -> nn.Module:
    """`my_models:Net` from the operator's folder, called as braindecode calls its own."""
    module_name, class_name = spec.model.name.split(":")
    if user_code is None:
        raise SpecCannotRun(f"{spec.model.name}: this service mounts no folder of own models")
    if not (user_code / f"{module_name}.py").is_file():
        raise SpecCannotRun(f"{spec.model.name}: there is no {module_name}.py in the folder of own models")
    try:
        module = _import_anew(user_code, module_name)
        return getattr(module, class_name)(
            n_chans=shape.n_chans, n_outputs=1, n_times=shape.n_times, sfreq=shape.sfreq, **spec.model.params
        )
    except Exception as error:
        raise UserCodeFailed(f"{spec.model.name}: {type(error).__name__}: {error}") from error


def _import_anew(folder: Path, name: str) -> ModuleType:
    """The module and those beside it from this folder, whatever another job of this process had under their names."""
    for stale in [m for m in sys.modules if m in _IMPORTED]:
        del sys.modules[stale]
    _IMPORTED.update(path.stem for path in folder.glob("*.py") if path.stem not in sys.modules)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    return importlib.import_module(name)


def _must_give_one_number(spec: JobSpec, model: nn.Module, x: Tensor) -> None:
    model.eval()
    try:
        with torch.no_grad():
            y = model(x)
    except Exception as error:
        kind = UserCodeFailed if ":" in spec.model.name else SpecCannotRun
        raise kind(f"{spec.model.name} fails at {tuple(x.shape[1:])} (n_chans, n_times): {error}") from error
    if y.numel() != len(x):
        raise SpecCannotRun(f"{spec.model.name} gives {tuple(y.shape[1:])} a window; one number is needed")
