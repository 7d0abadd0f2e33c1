"""Writes jobs/catalogue.json: `python -m worker.training.catalogue > jobs/catalogue.json`.

Builds and runs every braindecode model to find what it needs; nothing here is used while training.
"""

import inspect
import json
import multiprocessing
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import braindecode
import torch
from braindecode.models.util import models_dict
from torch import nn

SHAPE_ARGUMENTS = {"n_chans", "n_outputs", "n_times", "chs_info", "input_window_seconds", "sfreq"}
N_CHANS, N_TIMES, SFREQ = 129, 200, 100.0
TRIED_N_CHANS = (1, 2, 4, 8, 16, 19, 32, 62, 64, 128, 129, 256)
TRIED_N_TIMES = (200, 400, 500, 800, 1000, 2000, 3000)
BATCH, STEPS, THREADS = 32, 5, 2
SLOW_S = 0.5
LIMIT_S = 600
TOO_LONG = f"a trial takes over {LIMIT_S // 60} minutes on a CPU"
JSON_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", tuple: "array", list: "array"}


@dataclass(frozen=True)
class Shape:
    """`chs_info`: the model is told the channels' positions."""

    n_chans: int
    n_times: int
    chs_info: bool

    def windows(self, n: int) -> torch.Tensor:
        return torch.randn(n, self.n_chans, self.n_times)


def main() -> None:
    warnings.filterwarnings("ignore")
    torch.set_num_threads(THREADS)
    versions = {"braindecode": braindecode.__version__, "torch": torch.__version__}
    print(as_text(versions, [_in_a_process(name) for name in sorted(models_dict)]))


def as_text(versions: dict[str, str], models: list[dict[str, Any]]) -> str:
    """JSON with one model a line, so that a change of one shows as one."""
    head = json.dumps(versions)[:-1]
    return head + ', "models": [\n' + ",\n".join(json.dumps(model) for model in models) + "\n]}"


def describe(name: str) -> dict[str, Any]:
    """One entry of the catalogue, found by trial at HBN's shape (129 channels, 200 samples, 100 Hz)."""
    entry: dict[str, Any] = {"name": name, "params": _params(models_dict[name]), "works": False, "reason": None}
    shape, reason = _where_it_works(name)
    if shape is None:
        return {**entry, "reason": reason}

    def works(**change: Any) -> bool:
        return _error(name, replace(shape, **change)) is None

    chans = [n for n in TRIED_N_CHANS if (n <= N_CHANS or not shape.chs_info) and works(n_chans=n)]
    model = _build(name, shape)
    return {
        **entry,
        "works": True,
        "needs_chs_info": shape.chs_info,
        "n_times_min": _smallest(lambda n: works(n_times=n), shape.n_times),
        "n_chans_min": min(chans),
        "n_chans_max": None if max(chans) == max(TRIED_N_CHANS) or shape.chs_info else max(chans),
        "n_params": sum(p.numel() for p in model.parameters()),
        "batch_failover": _random_by_dropout_alone(model, shape),
        "step_ms": _step_ms(model, shape),
    }


def _in_a_process(name: str) -> dict[str, Any]:
    """A model that hangs or kills its process is an entry too."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def answer_aside() -> None:
        with redirect_stdout(sys.stderr):  # some models print
            sender.send(describe(name))

    process = context.Process(target=answer_aside, daemon=True)
    process.start()
    answer = receiver.recv() if receiver.poll(LIMIT_S) and process.exitcode in (None, 0) else None
    process.kill()
    process.join()
    print(name, "works" if answer and answer["works"] else "does not work", file=sys.stderr)
    return answer or {"name": name, "params": _params(models_dict[name]), "works": False, "reason": TOO_LONG}


def _where_it_works(name: str) -> tuple[Shape | None, str | None]:
    """The first of the tried shapes at which a step can be made, or why it cannot at HBN's."""
    first = None
    for n_chans in (N_CHANS, N_CHANS - 1):  # some know 128 channels and no reference
        for n_times in TRIED_N_TIMES:
            for needs_chs_info in (False, True):
                shape = Shape(n_chans, n_times, needs_chs_info)
                error = _error(name, shape)
                if error is None:
                    return shape, None
                first = first or (error if needs_chs_info else None)
    return None, first


def _error(name: str, shape: Shape) -> str | None:
    """Why a training step cannot be made at that shape; None where it can."""
    try:
        y = _build(name, shape)(shape.windows(2))
        if y.numel() != 2:
            return f"gives {tuple(y.shape)} for 2 windows, not one value each"
        y.sum().backward()
    except Exception as error:  # noqa: BLE001 - whatever a model raises is the finding
        return _in_short(error)
    return None if torch.isfinite(y).all() else "gives values that are not finite"


def _in_short(error: Exception) -> str:
    if "http" in str(error):
        return "it fetches files from a hub when it is built"
    first_line = (str(error) or type(error).__name__).splitlines()[0]
    return first_line if len(first_line) <= 160 else first_line[:159] + "…"


def _build(name: str, shape: Shape) -> nn.Module:
    torch.manual_seed(0)
    known: dict[str, Any] = {"n_chans": shape.n_chans, "n_outputs": 1, "n_times": shape.n_times, "sfreq": SFREQ}
    if shape.chs_info:
        known["chs_info"] = _hbn_positions()[: shape.n_chans]
    return models_dict[name](**known).train()


@cache
def _hbn_positions() -> list[dict[str, Any]]:
    import mne

    montage = mne.channels.make_standard_montage("GSN-HydroCel-129")
    info = mne.create_info(montage.ch_names, SFREQ, "eeg").set_montage(montage)
    return info["chs"]


def _smallest(works: Callable[[int], bool], largest: int) -> int:
    """By halving: a model that works at n samples is taken to work at more."""
    low, high = 0, largest
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if works(middle) else (middle, high)
    return high


def _random_by_dropout_alone(model: nn.Module, shape: Shape) -> bool:
    """Whether a step can be repeated on another device: nn.Dropout's masks come from counters, other randomness not."""
    drops = [m for m in model.modules() if isinstance(m, nn.Dropout)]
    kept = [m.p for m in drops]
    for m in drops:
        m.p = 0.0
    x = shape.windows(4)
    outputs = []
    for seed in (1, 2):
        state = {k: v.clone() for k, v in model.state_dict().items()}
        torch.manual_seed(seed)
        with torch.no_grad():
            outputs.append(model(x))
        model.load_state_dict(state)
    for m, p in zip(drops, kept, strict=True):
        m.p = p
    return torch.equal(*outputs)


def _step_ms(model: nn.Module, shape: Shape) -> float:
    """Of 32 windows; where two alone take long, 16 times theirs, as 32 might not fit into memory."""
    two_s = _step_s(model, shape.windows(2), 2)
    seconds = two_s * BATCH / 2 if two_s > SLOW_S else _step_s(model, shape.windows(BATCH), STEPS)
    return round(seconds * 1000, 1)


def _step_s(model: nn.Module, x: torch.Tensor, steps: int) -> float:
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        model(x).sum().backward()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def _params(model: type) -> list[dict[str, Any]]:
    """Arguments that JSON can give; shapes come from the windows and layers (activations) cannot be named."""
    found = []
    for parameter in inspect.signature(model).parameters.values():
        if parameter.name in SHAPE_ARGUMENTS or parameter.kind is parameter.VAR_KEYWORD:
            continue
        if not parameter.name.startswith("_") and _json_can(parameter.default):
            found.append({"name": parameter.name, "type": _type(parameter), "default": parameter.default})
    return found


def _json_can(default: Any) -> bool:
    try:
        json.dumps(default, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def _type(parameter: inspect.Parameter) -> str:
    """A default of None says nothing, so such an argument takes anything."""
    return JSON_TYPES.get(type(parameter.default), "any")


if __name__ == "__main__":
    main()
