"""From a spec and its sources to windows ready to train on: the whole data side of a job, in order.

Knows no model and no queue; reports through a callable.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jobs.datasets import Source
from jobs.spec import HBN_CHANNELS, EventWindows, JobSpec
from worker.data import preprocess, splits
from worker.data.builder import Processing, Request
from worker.data.building import Built, build_all
from worker.data.cutting import Cut, cut_events, cut_fixed, n_samples
from worker.data.errors import DataError, StorageFull, infrastructure
from worker.data.events import Events, read_events
from worker.data.eviction import evict
from worker.data.findings import BadRecording, Check, Finding, Severity
from worker.data.preflight import (
    Examined,
    PreflightReport,
    Status,
    check_duplicates,
    check_events,
    check_listing,
    check_rates,
    check_signal,
    check_trials,
    describe_target,
    judge,
    summarise,
)
from worker.data.reading import open_signal
from worker.data.recordings import Participants, Recording, digest_of, list_recordings, read_participants
from worker.data.saved import load, save
from worker.data.store import VERSION, Lease, Meta, Store
from worker.data.trials import trial_table
from worker.data.windows import Signals, WindowIndex

Report = Callable[[str, dict[str, Any]], None]
DEFAULT_BUDGET_BYTES = 4 << 30
PREVIEW_CHANNELS = 8


@dataclass(frozen=True)
class Prepared:
    """What a job trains on.

    digest: of contents, preprocessing, windows and split; equal digests mean equal batches for equal rows.
    split: the split artefact. custom_sources: file name -> source of the user's own steps.
    """

    train: WindowIndex
    validation: WindowIndex
    preflight: PreflightReport
    digest: str
    split: dict[str, Any]
    ch_names: tuple[str, ...]
    sfreq: float
    custom_sources: dict[str, str]
    lease: Lease | None = None


def prepare(
    spec: JobSpec,
    sources: Sequence[Source],
    data_dir: Path,
    cache_dir: Path,
    report: Report = lambda phase, detail: None,
    memory_budget_bytes: int = DEFAULT_BUDGET_BYTES,
    workers: int = os.cpu_count() or 1,
    steps_dir: Path | None = None,
    cache_limit_bytes: int | None = None,
) -> Prepared:
    """Reads each recording once, or not at all where that was done before, and returns the job's windows.

    report("preprocessing", {"recordings_done", "recordings", "eta_s"}) while recordings are built; the builders keep
    within the memory budget. What no job uses is evicted where the store exceeds its limit or the disk is full.
    Raises DataError (the job fails), StorageUnavailable (wait and try again).
    """
    arguments = (spec, sources, data_dir, cache_dir, report, memory_budget_bytes, workers, steps_dir)
    try:
        found = _prepare(*arguments)
    except StorageFull:
        if not evict(cache_dir, 0).freed_bytes:
            raise
        found = _prepare(*arguments)
    if cache_limit_bytes is not None:
        evict(cache_dir, cache_limit_bytes)
    return found


def check(
    spec: JobSpec,
    sources: Sequence[Source],
    data_dir: Path,
    cache_dir: Path,
    report: Report = lambda phase, detail: None,
    memory_budget_bytes: int = DEFAULT_BUDGET_BYTES,
    workers: int = os.cpu_count() or 1,
    steps_dir: Path | None = None,
) -> PreflightReport:
    """Preflight alone: the same reading and the same checks, but no verdict and no split."""
    try:
        plan = _plan(spec, sources, data_dir, steps_dir)
        store = Store(cache_dir)
        examined = _examine(plan, store, report, memory_budget_bytes, workers)
        return summarise(examined, spec.windows.target)
    except OSError as error:
        raise infrastructure(error) or DataError(f"a file cannot be read: {error}") from error


def _prepare(
    spec: JobSpec,
    sources: Sequence[Source],
    data_dir: Path,
    cache_dir: Path,
    report: Report,
    memory_budget_bytes: int,
    workers: int,
    steps_dir: Path | None,
) -> Prepared:
    try:
        plan = _plan(spec, sources, data_dir, steps_dir)
        store = Store(cache_dir)
        if (known := load(store, plan.key)) is not None:
            return replace(known, custom_sources=plan.custom_sources)
        examined = _examine(plan, store, report, memory_budget_bytes, workers)
        judge(examined, spec.preflight)
        saved = save(store, plan.key, *_assemble(plan, store, examined))
        return replace(saved, custom_sources=plan.custom_sources)
    except OSError as error:
        raise infrastructure(error) or DataError(f"a file cannot be read: {error}") from error


@dataclass(frozen=True)
class _Plan:
    """All that a job's windows follow from; `key` is its digest."""

    spec: JobSpec
    recordings: tuple[Recording, ...]
    participants: dict[str, Participants]
    processing: Processing
    custom_sources: dict[str, str]
    steps_dir: Path | None

    @property
    def key(self) -> str:
        inventories = [(r.name, r.source_path, r.inventory) for r in self.recordings]
        traits = [(path, sorted(p.rows.items())) for path, p in sorted(self.participants.items())]
        spec = self.spec
        parts = (spec.task, spec.windows, spec.dataset, spec.validation, spec.preflight, spec.seed)
        return digest_of([VERSION, *parts, self.processing, inventories, traits])

    def identity(self, recording: Recording) -> str:
        files = [file for file in recording.inventory.files if not file[0].endswith((".json", ".tsv"))]
        return digest_of([VERSION, recording.source_path, recording.stem, files, self.processing])


def _plan(spec: JobSpec, sources: Sequence[Source], data_dir: Path, steps_dir: Path | None) -> _Plan:
    recordings = tuple(list_recordings(spec, sources, data_dir))
    roots = sorted({recording.source_path for recording in recordings})
    participants = {root: read_participants(data_dir / root) for root in roots}
    _require_target(spec, participants)
    custom = preprocess.sources_of(spec.preprocess, steps_dir)
    processing = Processing(
        channels=_channels(spec, recordings),
        sfreq=spec.windows.sfreq,
        steps=json.dumps([step.model_dump(mode="json") for step in spec.preprocess]),
        steps_digest=preprocess.source_digest(custom) if custom else "",
        version=VERSION,
    )
    return _Plan(spec, recordings, participants, processing, custom, steps_dir)


def _require_target(spec: JobSpec, participants: dict[str, Participants]) -> None:
    if not _is_trait(spec):
        return
    columns = sorted(set().union(*(each.columns for each in participants.values())))
    if spec.windows.target not in columns:
        raise DataError(
            f"no column {spec.windows.target!r} in participants.tsv",
            remedy=f"columns are {', '.join(columns) or 'none: the file is missing or empty'}",
        )


def _is_trait(spec: JobSpec) -> bool:
    return spec.windows.target != "response_time" and not spec.windows.target.startswith("events.")


def _channels(spec: JobSpec, recordings: Sequence[Recording]) -> tuple[str, ...]:
    if spec.windows.channels == "hbn":
        return HBN_CHANNELS
    if spec.windows.channels != "all":
        return tuple(spec.windows.channels)
    for recording in recordings:
        if recording.path is not None:
            try:
                return open_signal(recording.path).ch_names
            except BadRecording:
                continue
    raise DataError("no recording can be opened to see which channels there are")


# --- every recording, looked at ------------------------------------------------------------------------------------


def _examine(plan: _Plan, store: Store, report: Report, memory_budget_bytes: int, workers: int) -> list[Examined]:
    looked_at = [_look(plan, recording) for recording in plan.recordings]
    wanted = [one.recording for one in looked_at if one.status is not Status.EXCLUDED and one.recording.path]
    built = _build(plan, store, wanted, report, memory_budget_bytes, workers)
    read = check_duplicates([_with_entry(store, one, built) for one in looked_at])
    return [_cut(plan, one) for one in check_rates(read)]


def _look(plan: _Plan, recording: Recording) -> Examined:
    findings = list(check_listing(recording, plan.spec))
    if _is_trait(plan.spec) and _trait(plan, recording) is None:
        message = f"{plan.spec.windows.target} of this subject is missing"
        findings.append(Finding(Check.TARGET_MISSING, Severity.EXCLUDED, message))
    return Examined(recording, tuple(findings))


def _build(
    plan: _Plan, store: Store, wanted: Sequence[Recording], report: Report, memory_budget_bytes: int, workers: int
) -> dict[str, Built]:
    """By name of recording: what the store has already, and what is built now."""
    requests = {
        recording.name: Request(
            str(recording.path),
            plan.identity(recording),
            plan.processing,
            str(plan.steps_dir) if plan.steps_dir else None,
        )
        for recording in wanted
    }
    done = {name: Built(r, key) for name, r in requests.items() if (key := store.find(r.identity))}
    names = {request.identity: name for name, request in requests.items()}
    missing = [recording for recording in wanted if recording.name not in done]
    sizes = [recording.inventory.bytes for recording in missing]
    started_s = time.monotonic()
    answers = build_all([requests[r.name] for r in missing], store.folder, sizes, memory_budget_bytes, workers)
    for n, answer in enumerate(answers, 1):
        done[names[answer.request.identity]] = answer
        eta_s = (time.monotonic() - started_s) / n * (len(missing) - n)
        detail = {"recordings_done": len(done), "recordings": len(wanted), "eta_s": round(eta_s, 1)}
        report("preprocessing", detail)
    return done


def _with_entry(store: Store, one: Examined, built: dict[str, Built]) -> Examined:
    answer = built.get(one.recording.name)
    if answer is None:
        return one
    if answer.key is None:
        finding = Finding(Check.UNREADABLE, Severity.FAILED, str(answer.problem), remedy="fetch the file again")
        return replace(one, findings=(*one.findings, finding))
    return replace(one, key=answer.key, meta=store.meta(answer.key))


def _cut(plan: _Plan, one: Examined) -> Examined:
    """The windows of a recording whose signal is there, and what the checks of signal and events say."""
    if one.meta is None:
        return one
    rules = plan.spec.windows
    findings = [*one.findings, *check_signal(one.recording, one.meta, rules)]
    cut = None
    if isinstance(rules, EventWindows):
        events, problems = _events(one.recording, one.meta, rules)
        findings += problems
        if events is not None and one.meta.n_times:
            duration_s = one.meta.n_times / one.meta.sfreq
            cut = cut_events(trial_table(events, rules, duration_s), rules, one.meta.sfreq, one.meta.n_times)
            findings += check_trials(events, cut, duration_s)
            cut = _with_trait(plan, one.recording, cut)
    elif one.meta.n_times >= n_samples(rules.size_s, one.meta.sfreq or 1):
        cut = cut_fixed(rules, float(_trait(plan, one.recording) or 0.0), one.meta.sfreq, one.meta.n_times)
    return replace(one, findings=tuple(findings), cut=cut)


def _events(recording: Recording, meta: Meta, rules: EventWindows) -> tuple[Events | None, list[Finding]]:
    """From events.tsv, else from the signal file itself."""
    wanted = (*rules.mapping.stimulus, *rules.mapping.response)
    if "_events.tsv" not in recording.inventory:
        inside = [(onset_s, label) for onset_s, label in meta.annotations if label in wanted]
        if not inside:
            message = "no events.tsv, and none of the mapping's events in the signal file"
            return None, [Finding(Check.EVENTS_MISSING, Severity.FAILED, message, remedy="put events.tsv beside it")]
        events = Events(
            np.array([onset for onset, _ in meta.annotations]), np.array([label for _, label in meta.annotations]), {}
        )
        note = Finding(Check.EVENTS_MISSING, Severity.NOTE, "no events.tsv; events are those in the signal file")
        return events, [note, *check_events(events, rules)]
    try:
        events = read_events(recording.sidecar("_events.tsv"), wanted)
    except ValueError as error:
        return None, [Finding(Check.EVENTS_UNREADABLE, Severity.FAILED, f"events.tsv: {error}")]
    return events, list(check_events(events, rules))


def _trait(plan: _Plan, recording: Recording) -> float | None:
    return plan.participants[recording.source_path].trait(recording.subject, plan.spec.windows.target)


def _with_trait(plan: _Plan, recording: Recording, cut: Cut) -> Cut:
    if not _is_trait(plan.spec):
        return cut
    trait = _trait(plan, recording)
    return replace(cut, target=np.full(len(cut.start), np.nan if trait is None else trait))


# --- from recordings to the two sides ------------------------------------------------------------------------------


def _assemble(plan: _Plan, store: Store, examined: list[Examined]) -> tuple[Prepared, list[str]]:
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
        preview=_preview(train, kept),
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


def _index(plan: _Plan, store: Store, kept: Sequence[Examined]) -> WindowIndex:
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
    chosen = splits.split(spec.validation, sides, spec.seed)
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
        warnings.append(f"{name} is the same in every validation window: its NRMSE is not defined")
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


def _preview(index: WindowIndex, kept: Sequence[Examined]) -> dict[str, Any]:
    """One window, a few channels, for the report's page."""
    meta = kept[0].meta
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
