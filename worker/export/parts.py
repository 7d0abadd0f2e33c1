"""One challenge's part of a submission: a class written as text, and the tensors it loads. Knows no zip."""

from dataclasses import dataclass
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn, tensor

from worker.export.finished import FinishedRun, require_fit
from worker.export.operators import untried
from worker.export.plain import Plain, write_out
from worker.export.standin import Challenge, StandIn
from worker.export.steps import Preparation, preparation
from worker.training.build import Shape, build

LIMITS = {"challenge1": (0.0, 2.5)}
"""Seconds within which a response counts, so a prediction outside can only be wrong. Challenge 2 has no such limits."""

CLASS = """class {name}({base}):
    # {origin}
{body}
"""


@dataclass(frozen=True)
class Part:
    """run: None for a constant. exact: its predictions must equal the run's. about: for the report."""

    challenge: Challenge
    code: str
    tensors: dict[str, Tensor]
    run: FinishedRun | None
    exact: bool
    about: dict[str, Any]
    warnings: tuple[str, ...] = ()

    @property
    def limits(self) -> tuple[float, float] | None:
        return LIMITS.get(self.challenge)


def model_part(challenge: Challenge, run: FinishedRun) -> Part:
    """The run's best weights, with the run's preprocessing in front. Raises CannotSubmit."""
    require_fit(run)
    prepared = preparation(run.channels, run.spec.preprocess)
    plain = write_out(trained_model(run), len(run.card["ch_names"]), run.card["n_times"])
    return Part(
        challenge, _network(challenge, run, prepared, plain), plain.tensors, run, prepared.exact,
        {"job": run.name, "model": run.card["name"], "parameters": run.card["n_parameters"], "score": run.scores},
        (*prepared.warnings, *untried(plain.operators), *filter(None, [run.scores["warning"]])),
    )  # fmt: skip


def constant_part(challenge: Challenge, number: StandIn) -> Part:
    code = CLASS.format(name=class_name(challenge), base="Constant", origin=number.origin, body="    pass")
    about = {"job": None, "stand_in": number.value, "origin": number.origin}
    warning = f"{challenge} has no job: every prediction is {number.value:.4g}, {number.origin}"
    return Part(challenge, code, {"value": tensor(number.value)}, None, False, about, (warning,))


def trained_model(run: FinishedRun) -> nn.Module:
    """Built as for training, without a fast path: the plain modules are what is written out."""
    plain = run.spec.model_copy(update={"training": run.spec.training.model_copy(update={"fast_path": False})})
    shape = Shape(tuple(run.card["ch_names"]), run.card["n_times"], run.card["sfreq"])
    model = build(plain, shape, run.own_code).model
    model.load_state_dict(load_file(run.weights))
    return model


def class_name(challenge: Challenge) -> str:
    return challenge.capitalize()


def _network(challenge: Challenge, run: FinishedRun, prepared: Preparation, plain: Plain) -> str:
    methods = []
    if not plain.any_batch:
        methods.append("    any_batch = False")
    if prepared.lines:
        methods.append(_method("prepare(self, x)", (*prepared.lines, "return x")))
    methods.append(_method("compute(self, x, w)", plain.lines))
    if limits := LIMITS.get(challenge):
        methods.append(_method("finish(self, y)", (f"return y.clamp({limits[0]}, {limits[1]})",)))
    origin = f"{run.card['name']} of {run.name!r}: validation NRMSE {run.scores['value']:.4f}"
    return CLASS.format(name=class_name(challenge), base="Network", origin=origin, body="\n\n".join(methods))


def _method(signature: str, lines: tuple[str, ...]) -> str:
    return "\n".join([f"    def {signature}:", *(f"        {line}" for line in lines)])
