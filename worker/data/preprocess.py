"""The ordered preprocessing steps of a spec, on one recording in microvolts.

Knows no files but the folder of the user's own steps, whose source is part of the key of what is built with it.
"""

import hashlib
import importlib
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from jobs import spec
from worker.data.errors import DataError, StepFailed

BLOCK_CHANS = 16  # channels filtered at once: MNE works in float64


@dataclass(frozen=True)
class Signal:
    """x: (n_chans, n_times) float32, microvolts until a z-score."""

    x: np.ndarray
    sfreq: float
    ch_names: tuple[str, ...]


def apply(signal: Signal, steps: Sequence[spec.PreprocessStep], steps_dir: Path | None) -> Signal:
    """All steps in order. Raises DataError where a step cannot be done on this signal, StepFailed for a custom one."""
    for step in steps:
        signal = _STEPS[step.step](signal, step, steps_dir)
    return signal


def resample(signal: Signal, sfreq: float) -> Signal:
    """FFT resampling with MNE's anti-aliasing; unchanged where the rate is right already."""
    if sfreq == signal.sfreq:
        return signal
    import mne

    x = _by_block(signal.x, lambda block: mne.filter.resample(block, up=sfreq, down=signal.sfreq, verbose="error"))
    return replace(signal, x=x, sfreq=sfreq)


def sources_of(steps: Sequence[spec.PreprocessStep], steps_dir: Path | None) -> dict[str, str]:
    """File name -> source of every module in the folder that custom steps come from; empty without custom steps.

    Whole, because a step may import its neighbours. Raises DataError where the folder is not mounted.
    """
    modules = {step.function.split(":")[0] for step in steps if isinstance(step, spec.CustomStep)}
    if not modules:
        return {}
    if steps_dir is None or not steps_dir.is_dir():
        raise DataError("custom steps are off here", remedy="the operator mounts a folder of steps to turn them on")
    if missing := sorted(module for module in modules if not (steps_dir / f"{module}.py").is_file()):
        raise DataError(f"no {missing[0]}.py in the folder of custom steps")
    return {path.name: path.read_text() for path in sorted(steps_dir.glob("*.py"))}


def source_digest(sources: dict[str, str]) -> str:
    return hashlib.sha256("\0".join(part for pair in sorted(sources.items()) for part in pair).encode()).hexdigest()


def _filter(signal: Signal, step: spec.Filter, _: Path | None) -> Signal:
    import mne

    if step.h_freq is not None and step.h_freq >= signal.sfreq / 2:
        raise DataError(
            f"a low-pass edge of {step.h_freq:g} Hz is not below half of {signal.sfreq:g} Hz",
            remedy="lower `h_freq` or leave it out",
        )
    edges = (signal.sfreq, step.l_freq, step.h_freq)
    return replace(signal, x=_by_block(signal.x, lambda b: mne.filter.filter_data(b, *edges, verbose="error")))


def _rereference(signal: Signal, step: spec.Rereference, _: Path | None) -> Signal:
    rows = slice(None) if step.channels == "average" else _rows(signal, step.channels)
    return replace(signal, x=signal.x - signal.x[rows].mean(axis=0, dtype=np.float64).astype(np.float32))


def _clip(signal: Signal, step: spec.Clip, _: Path | None) -> Signal:
    return replace(signal, x=np.clip(signal.x, -step.limit_uv, step.limit_uv))


def _zscore(signal: Signal, step: spec.ZScore, _: Path | None) -> Signal:
    """A flat channel stays zero instead of becoming NaN."""
    axis = 1 if step.by == "channel" else None
    mean = signal.x.mean(axis=axis, keepdims=True, dtype=np.float64)
    sd = signal.x.std(axis=axis, keepdims=True, dtype=np.float64)
    return replace(signal, x=((signal.x - mean) / np.where(sd > 0, sd, 1)).astype(np.float32))


def _resample(signal: Signal, step: spec.Resample, _: Path | None) -> Signal:
    return resample(signal, step.sfreq)


def _pick(signal: Signal, step: spec.Pick, _: Path | None) -> Signal:
    return replace(signal, x=signal.x[_rows(signal, step.channels)], ch_names=tuple(step.channels))


def _custom(signal: Signal, step: spec.CustomStep, steps_dir: Path | None) -> Signal:
    assert steps_dir is not None, "sources_of has checked it"
    module_name, function_name = step.function.split(":")
    try:
        function = getattr(_load(steps_dir, module_name), function_name)
        x = np.asarray(function(signal.x.copy(), signal.sfreq, **step.params), np.float32)
    except Exception as error:
        raise StepFailed(f"{step.function} raised {error!r}", details=traceback.format_exc()) from error
    if x.shape != signal.x.shape:
        raise StepFailed(f"{step.function} returned shape {x.shape} for {signal.x.shape}")
    if not np.isfinite(x).all():
        raise StepFailed(f"{step.function} returned NaN or infinity")
    return replace(signal, x=x)


_STEPS: dict[str, Callable[[Signal, Any, Path | None], Signal]] = {
    "filter": _filter,
    "rereference": _rereference,
    "clip": _clip,
    "zscore": _zscore,
    "resample": _resample,
    "pick": _pick,
    "custom": _custom,
}


def _load(folder: Path, name: str) -> ModuleType:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return importlib.import_module(name)


def _rows(signal: Signal, names: Sequence[str]) -> list[int]:
    if missing := [name for name in names if name not in signal.ch_names]:
        raise DataError(
            f"no channel {missing[0]} to work on", remedy=f"channels are {', '.join(signal.ch_names[:5])}..."
        )
    return [signal.ch_names.index(name) for name in names]


def _by_block(x: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    blocks = (function(x[i : i + BLOCK_CHANS].astype(np.float64)) for i in range(0, len(x), BLOCK_CHANS))
    return np.concatenate([block.astype(np.float32) for block in blocks])
