"""From examined recordings to the two sides of a split, ready to train on.

Knows no files but the store's.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from jobs.spec import EventWindows, JobSpec
from worker.data import splits
from worker.data.cutting import n_samples
from worker.data.errors import DataError
from worker.data.plan import Plan
from worker.data.preflight import Examined, Status, describe_target, summarise
from worker.data.prepared import Prepared
from worker.data.store import Meta, Store
from worker.data.windows import Signals, WindowIndex

PREVIEW_CHANNELS = 8


def assemble(plan: Plan, store: Store, examined: list[Examined]) -> tuple[Prepared, list[str]]:
    """Prepared, and the keys of the entries that it maps."""
    kept = [one for one in examined if one.status is Status.KEPT]
    whole = _index(plan, store, kept)
    train_rows, validation_rows, artefact, warnings = _divide(plan.spec, kept, whole)
    train, validation = whole.take(train_rows), whole.take(validation_rows)
    warnings += _target_warnings(plan.spec, train, validation, kept)
    summary = summarise(examined, plan.spec.windows.target)
    preflight = replace(
        summary,
        warnings=tuple(warnings),
        preview=_preview(train, kept[0].meta),
        split={"train_windows": len(train), "validation_windows": len(validation)},
        target={
            **summary.target,
            "train": describe_target(plan.spec.windows.target, train.target),
            "validation": describe_target(plan.spec.windows.target, validation.target),
        },
    )
    keys = [str(one.key) for one in kept]
    meta = kept[0].meta
    assert meta is not None
    digest = _digest(keys, train, validation)
    return Prepared(train, validation, preflight, digest, artefact, meta.ch_names, meta.sfreq, {}), keys


def _index(plan: Plan, store: Store, kept: Sequence[Examined]) -> WindowIndex:
    rules = plan.spec.windows
    cuts = [one.cut for one in kept if one.cut is not None]
    metas = [one.meta for one in kept if one.meta is not None]
    subjects = tuple(sorted({one.recording.subject for one in kept}))
    counts = [len(cut.start) for cut in cuts]
    sfreq = metas[0].sfreq
    size = n_samples(rules.size_s, sfreq)
    crop_s = None if isinstance(rules, EventWindows) else rules.crop_s
    n_times = size if crop_s is None else n_samples(crop_s, sfreq)
    return WindowIndex(
        signals=Signals(
            tuple(store.signal_path(str(one.key)) for one in kept),
            tuple(meta.n_times for meta in metas),
            len(metas[0].ch_names),
        ),
        recording=np.repeat(np.arange(len(kept), dtype=np.int32), counts),
        start=np.concatenate([cut.start for cut in cuts]),
        target=np.concatenate([cut.target for cut in cuts]).astype(np.float32),
        subject=np.repeat([subjects.index(one.recording.subject) for one in kept], counts).astype(np.int32),
        onset_s=np.concatenate([cut.onset_s for cut in cuts]),
        subjects=subjects,
        recordings=tuple(one.recording.name for one in kept),
        n_times=n_times,
        max_shift=size - n_times,
        sfreq=sfreq,
    )


def _divide(
    spec: JobSpec, kept: Sequence[Examined], whole: WindowIndex
) -> tuple[np.ndarray, np.ndarray, dict[str, Any], list[str]]:
    """Rows to train on, rows to validate, the split artefact, warnings."""
    if len(whole.subjects) == 1 and spec.validation.by == "subject":
        train, validation = splits.by_time(whole, spec.validation.fraction)
        warning = "one subject only: the end of its recording is validated; the score says nothing of other people"
        return train, validation, splits.time_artefact(whole, spec.seed, train, validation), [warning]
    sides = [splits.Side(one.recording.name, one.recording.subject, one.recording.release) for one in kept]
    of_people = spec.windows.target != "response_time" and not spec.windows.target.startswith("events.")
    chosen = splits.split(spec.validation, sides, spec.seed, at_least=2 if of_people else 1)  # one value has no spread
    of_recording = {name: i for i, name in enumerate(whole.recordings)}
    train = np.flatnonzero(np.isin(whole.recording, [of_recording[name] for name in chosen.train]))
    validation = np.flatnonzero(np.isin(whole.recording, [of_recording[name] for name in chosen.validation]))
    return train, validation, chosen.to_dict(), []


def _target_warnings(spec: JobSpec, train: WindowIndex, validation: WindowIndex, kept: Sequence[Examined]) -> list[str]:
    """Raises DataError where there is nothing to learn."""
    name, warnings = spec.windows.target, []
    if not len(train) or not len(validation):
        raise DataError("one side of the split has no windows", remedy="ask for more subjects")
    if train.target.std() == 0:
        raise DataError(
            f"{name} is {train.target[0]:g} in every training window: there is nothing to learn",
            remedy="check the target column, or take more subjects",
        )
    if validation.target.std() == 0:
        raise DataError(
            f"{name} is {validation.target[0]:g} in every validation window: a score would not be defined",
            remedy="validate more subjects: a larger validation.fraction, or more subjects in the dataset",
        )
    releases = {(one.recording.subject, one.recording.release) for one in kept}
    if twice := len(releases) - len({subject for subject, _ in releases}):
        warnings.append(f"{twice} subjects appear in more than one release; each is on one side of the split only")
    by_release: dict[str, set[float]] = {}
    for one in kept:
        if one.cut is not None:
            by_release.setdefault(one.recording.release, set()).update(one.cut.target.tolist())
    if len(by_release) > 1 and all(len(values) == 1 for values in by_release.values()):
        warnings.append(f"{name} has one value a release: it tells releases apart, not people")
    return warnings


def preview(plan: Plan, store: Store, examined: Sequence[Examined]) -> dict[str, Any]:
    """Of the first recording that is kept, where no windows are prepared."""
    kept = [one for one in examined if one.status is Status.KEPT][:1]
    return _preview(_index(plan, store, kept), kept[0].meta) if kept else {}


def _preview(index: WindowIndex, meta: Meta | None) -> dict[str, Any]:
    """One window, a few channels, for the report's page."""
    assert meta is not None
    rows = np.linspace(0, index.n_chans - 1, min(PREVIEW_CHANNELS, index.n_chans)).astype(int)
    window = index.gather([0])[0][rows]
    return {
        "recording": index.recordings[index.recording[0]],
        "onset_s": float(index.onset_s[0]),
        "target": float(index.target[0]),
        "sfreq": index.sfreq,
        "ch_names": [meta.ch_names[row] for row in rows],
        "signal": window.round(2).tolist(),
    }


def _digest(keys: Sequence[str], *sides: WindowIndex) -> str:
    digest = hashlib.sha256("\n".join(keys).encode())
    for side in sides:
        for column in (side.recording, side.start, side.target, side.subject):
            digest.update(np.ascontiguousarray(column).data)
        digest.update(f"{side.n_times} {side.max_shift}".encode())
    return digest.hexdigest()
