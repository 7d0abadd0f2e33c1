"""The models a job may ask for and what is known of them without torch: names of parameters, shapes, cost.

Knows only jobs/catalogue.json, which `python -m worker.training.catalogue` writes by trying every model.
"""

import difflib
import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jobs import spec
from jobs.errors import SpecRefused, UnknownModel

SHAPE_ARGUMENTS = ("n_chans", "n_outputs", "n_times", "chs_info", "input_window_seconds", "sfreq")
TRIED_N_CHANS = 129
ACCEPTS = {
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "array": (list, tuple),
}


@dataclass(frozen=True)
class Parameter:
    """`type` is JSON's word for it, or `any`."""

    name: str
    type: str
    default: Any


@dataclass(frozen=True)
class CatalogueModel:
    """Shapes and cost hold for the default parameters, one output, 129 channels and 100 Hz.

    `batch_failover`: all its randomness is plain dropout, so a single step can be repeated on another device.
    `step_ms`: forward and backward of 32 windows of 200 samples on two CPU threads.
    """

    name: str
    params: tuple[Parameter, ...]
    works: bool
    reason: str | None = None
    needs_chs_info: bool = False
    n_times_min: int = 1
    n_chans_min: int = 1
    n_chans_max: int | None = None
    n_params: int | None = None
    batch_failover: bool = False
    step_ms: float | None = None


@dataclass(frozen=True)
class Catalogue:
    braindecode: str
    models: dict[str, CatalogueModel]

    def find(self, name: str) -> CatalogueModel:
        """Raises UnknownModel."""
        if name in self.models:
            return self.models[name]
        by_lower_case = {known.lower(): known for known in self.models}
        near = [by_lower_case[n] for n in difflib.get_close_matches(name.lower(), by_lower_case, n=3, cutoff=0.5)]
        hint = f"did you mean {', '.join(near)}? " if near else ""
        raise UnknownModel(f"no model {name!r} in braindecode {self.braindecode}", hint=f"{hint}GET /models lists them")

    def check(self, wanted: spec.Model, n_chans: int | None, n_times: int | None) -> None:
        """Shapes are None where only the recordings tell. Raises UnknownModel, SpecRefused."""
        model = self.find(wanted.name)
        for name, value in wanted.params.items():
            _check_param(model, name, value)
        if wanted.params:
            return  # what is known of shapes was tried with the defaults
        if not model.works and n_chans == TRIED_N_CHANS:
            raise SpecRefused(f"{model.name} does not run as it is: {model.reason}", "/model/name")
        _check_shape(model, n_chans, n_times)


@cache
def load() -> Catalogue:
    data = json.loads((files("jobs") / "catalogue.json").read_text())
    models = [
        CatalogueModel(**{**row, "params": tuple(Parameter(**p) for p in row["params"])}) for row in data["models"]
    ]
    return Catalogue(data["braindecode"], {model.name: model for model in models})


def _check_param(model: CatalogueModel, name: str, value: Any) -> None:
    pointer = f"/model/params/{name}"
    if name in SHAPE_ARGUMENTS:
        raise SpecRefused(f"{name} is filled in from the windows", pointer, hint="change `task` instead")
    known = {parameter.name: parameter for parameter in model.params}
    if name not in known:
        names = ", ".join(known) or "none"
        raise SpecRefused(f"{model.name} has no parameter {name!r}", pointer, hint=f"it has: {names}")
    accepts = ACCEPTS.get(known[name].type)
    fits = accepts is None or value is None or (isinstance(value, accepts) and (bool in accepts or value is not True))
    if not fits:
        raise SpecRefused(f"{name} takes a JSON {known[name].type}, like {known[name].default!r}", pointer)


def _check_shape(model: CatalogueModel, n_chans: int | None, n_times: int | None) -> None:
    if n_times is not None and n_times < model.n_times_min:
        raise SpecRefused(
            f"{model.name} needs windows of at least {model.n_times_min} samples; these have {n_times}",
            "/task",
            hint="longer windows, a higher sfreq, or another model",
        )
    most = model.n_chans_max
    if n_chans is not None and (n_chans < model.n_chans_min or (most is not None and n_chans > most)):
        range_ = f"{model.n_chans_min} to {most}" if most else f"at least {model.n_chans_min}"
        raise SpecRefused(
            f"{model.name} takes {range_} channels; these windows have {n_chans}",
            "/model/name",
            hint="pick channels with a `pick` step, or another model",
        )
