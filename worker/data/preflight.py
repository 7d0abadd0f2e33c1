"""Preflight: every check of a recording, as findings, and the report that they add up to.

Judges what others have read; opens no file but sidecars. The checks are pure in what they are given.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np

from jobs import spec
from jobs.spec import EventWindows, FixedWindows
from worker.data.cutting import Cut
from worker.data.errors import DataError
from worker.data.events import MISSING, Events
from worker.data.findings import Check, Finding, Severity
from worker.data.recordings import START_KIT_REMOVES, Recording
from worker.data.store import Meta

BAD_CHANNELS_SHARE = 0.2  # flat or saturated: below it a note, above it the recording is dropped
PLAUSIBLE_UV = (0.02, 1e5)  # median standard deviation of the channels; outside, the unit is wrong
DURATION_TOLERANCE_S = 1.5
HISTOGRAM_BINS = 30


class Status(StrEnum):
    KEPT = "kept"
    EXCLUDED = "excluded"
    FAILED = "failed"


@dataclass(frozen=True)
class Examined:
    """A recording with all that was found of it. key and meta: its entry in the store, where it could be built."""

    recording: Recording
    findings: tuple[Finding, ...]
    key: str | None = None
    meta: Meta | None = None
    cut: Cut | None = None

    @property
    def status(self) -> Status:
        severities = {finding.severity for finding in self.findings}
        if Severity.EXCLUDED in severities:
            return Status.EXCLUDED
        return Status.FAILED if Severity.FAILED in severities else Status.KEPT


@dataclass(frozen=True)
class PreflightReport:
    """Plain values only; `to_dict` is the JSON that the API gives, `to_html` the page that a person reads."""

    recordings: tuple[dict[str, Any], ...]
    counts: dict[str, int]
    findings: dict[str, dict[str, int]]
    trial_drops: dict[str, int]
    target: dict[str, Any]
    channels: dict[str, Any]
    warnings: tuple[str, ...] = ()
    preview: dict[str, Any] = field(default_factory=dict)
    split: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {"schema": 1, **self.__dict__}

    @classmethod
    def of(cls, values: dict[str, Any]) -> "PreflightReport":
        known = {name: value for name, value in values.items() if name != "schema"}
        return cls(**{**known, "recordings": tuple(known["recordings"]), "warnings": tuple(known["warnings"])})

    def to_html(self) -> str:
        from worker.data.page import render

        return render(self)


def check_listing(recording: Recording, task: spec.JobSpec) -> Iterator[Finding]:
    """What the folder alone tells."""
    if isinstance(task.task, str) and recording.subject in START_KIT_REMOVES:
        yield Finding(Check.LISTED, Severity.EXCLUDED, "the challenge's start kit leaves this subject out")
    if recording.path is None:
        remedy = "fetch the signal (a link of git-annex points nowhere) or leave the recording out"
        yield Finding(Check.SIGNAL_MISSING, Severity.FAILED, "sidecars without a signal file", remedy=remedy)
    absent = [suffix for suffix in ("_eeg.json", "_channels.tsv") if suffix not in recording.inventory]
    if absent:
        yield Finding(
            Check.SIDECAR_MISSING, Severity.NOTE, f"no {' and no '.join(absent)}; the signal file is believed"
        )


def check_events(events: Events, rules: EventWindows) -> Iterator[Finding]:
    """The event table itself, before trials are made of it."""
    wanted = {*rules.mapping.stimulus, *rules.mapping.response, rules.trial_start, rules.trial_end} - {None}
    relevant = np.isin(events.label, sorted(str(label) for label in wanted))
    lost = np.flatnonzero(np.isnan(events.onset_s))
    for row in lost[relevant[lost]][:1]:
        yield Finding(
            Check.EVENT_ONSET,
            Severity.FAILED,
            f"{int(relevant[lost].sum())} events that trials are made of have no onset",
            event=_named(events, row),
            remedy="write the onset in seconds; trials around it cannot be told apart",
        )
    if len(others := lost[~relevant[lost]]):
        yield Finding(
            Check.EVENT_ONSET, Severity.NOTE, f"{len(others)} events have no onset", _named(events, others[0])
        )
    onset_s = events.onset_s[np.isfinite(events.onset_s)]
    if (np.diff(onset_s) < 0).any():
        yield Finding(Check.EVENT_ORDER, Severity.NOTE, "rows are not in order of time; they are sorted by onset")
    seen = Counter(zip(events.onset_s[relevant].tolist(), events.label[relevant].tolist(), strict=True))
    if repeated := [pair for pair, times in seen.items() if times > 1]:
        event = f"{repeated[0][1]} at {repeated[0][0]:g} s"
        yield Finding(
            Check.EVENT_DUPLICATE, Severity.NOTE, f"{len(repeated)} events are there twice; one counts", event
        )
    durations = events.columns.get("duration", ())
    if durations and all(text in MISSING for text in durations):
        yield Finding(Check.EVENT_DURATION, Severity.NOTE, "every duration is n/a; windows are of the spec's size")


def check_signal(recording: Recording, meta: Meta, rules: EventWindows | FixedWindows) -> Iterator[Finding]:
    """What was seen while the signal was read."""
    yield from meta.findings
    if not meta.n_times:
        return
    yield from _check_channels(recording, meta)
    yield from _check_sidecar(recording, meta)
    if rules.sfreq is not None and meta.original_sfreq < rules.sfreq:
        yield Finding(Check.SAMPLING_RATE, Severity.NOTE, f"upsampled from {meta.original_sfreq:g} Hz")
    if isinstance(rules, FixedWindows) and meta.n_times < round(rules.size_s * meta.sfreq):
        message = f"{meta.n_times / meta.sfreq:.1f} s are shorter than one window of {rules.size_s:g} s"
        yield Finding(Check.TOO_SHORT, Severity.FAILED, message)


def check_trials(events: Events, cut: Cut, duration_s: float) -> Iterator[Finding]:
    """What came of the events, once the length of the recording is known."""
    outside = np.flatnonzero((events.onset_s < 0) | (events.onset_s > duration_s))
    if len(outside):
        message = f"{len(outside)} events lie outside the {duration_s:.1f} s of the recording"
        yield Finding(Check.EVENT_OUTSIDE, Severity.NOTE, message, event=_named(events, outside[0]))
    if not len(cut.start):
        why = "; ".join(f"{n} x {reason}" for reason, n in cut.drops) or "no event opens a trial"
        yield Finding(
            Check.NO_TRIALS,
            Severity.FAILED,
            f"no usable trial among {cut.n_trials}: {why}",
            remedy="compare `mapping` with the events of this recording",
        )
    if zero := int((cut.target == 0).sum()):
        yield Finding(Check.TARGET_RANGE, Severity.NOTE, f"{zero} usable trials with a target of exactly 0")


def check_duplicates(examined: Sequence[Examined]) -> list[Examined]:
    """The same signal twice: the first is kept. It is a defect, but for one recording in two copies of a release."""
    first: dict[str, Recording] = {}
    result = []
    for one in examined:
        if one.meta is None or one.status is Status.EXCLUDED:
            result.append(one)
            continue
        original = first.setdefault(one.meta.content, one.recording)
        findings = one.findings if original is one.recording else (*one.findings, _duplicate(one.recording, original))
        result.append(replace(one, findings=findings))
    return result


def check_rates(examined: Sequence[Examined]) -> list[Examined]:
    """A batch has one rate and one set of channels: those of most recordings. Only `sfreq: null` can differ."""
    shapes = Counter((one.meta.sfreq, one.meta.ch_names) for one in examined if one.meta and one.meta.n_times)
    if len(shapes) < 2:
        return list(examined)
    common = shapes.most_common(1)[0][0]
    return [_of_common_shape(one, common) for one in examined]


def judge(examined: Sequence[Examined], rule: spec.Preflight) -> None:
    """Raises DataError where the spec is strict and a recording failed, or where too many did."""
    failed = [one for one in examined if one.status is Status.FAILED]
    eligible = [one for one in examined if one.status is not Status.EXCLUDED]
    if failed and (rule.strict or len(failed) > rule.max_dropped * len(eligible)):
        first = next(finding for finding in failed[0].findings if finding.severity is Severity.FAILED)
        share = "" if rule.strict else f" ({len(failed)} of {len(eligible)} recordings fail, more than max_dropped)"
        raise DataError(
            f"{first.check}: {first.message}{share}",
            recording=failed[0].recording.name,
            event=first.event,
            remedy=first.remedy or "leave the recording out, or allow it with `preflight`",
        )
    if not any(one.status is Status.KEPT for one in examined):
        reasons = Counter(finding.message for one in examined for finding in one.findings if one.status != Status.KEPT)
        raise DataError(f"no recording is left: {'; '.join(f'{n} x {why}' for why, n in reasons.most_common(3))}")


def summarise(examined: Sequence[Examined], target_name: str) -> PreflightReport:
    """The report of all recordings, but for what only the split can tell."""
    kept = [one for one in examined if one.status is Status.KEPT]
    cuts = [one.cut for one in kept if one.cut is not None]
    drops = Counter({reason: 0 for cut in cuts for reason, _ in cut.drops})
    for cut in cuts:
        drops.update(dict(cut.drops))
    findings: dict[str, Counter[str]] = {}
    for one in examined:
        for finding in one.findings:
            findings.setdefault(finding.check, Counter())[finding.severity] += 1
    return PreflightReport(
        recordings=tuple(_row(one) for one in examined),
        counts={
            "recordings": len(examined),
            **{str(status): sum(one.status is status for one in examined) for status in Status},
            "subjects": len({one.recording.subject for one in kept}),
            "trials": sum(cut.n_trials for cut in cuts),
            "windows": sum(len(cut.start) for cut in cuts),
        },
        findings={str(check): {str(s): n for s, n in counts.items()} for check, counts in sorted(findings.items())},
        trial_drops={str(reason): n for reason, n in drops.items()},
        target=describe_target(target_name, np.concatenate([cut.target for cut in cuts]) if cuts else np.empty(0)),
        channels=_channels(kept),
    )


def describe_target(name: str, values: np.ndarray) -> dict[str, Any]:
    if not len(values):
        return {"name": name, "n": 0}
    counts, edges = np.histogram(values, HISTOGRAM_BINS)
    return {
        "name": name,
        "n": len(values),
        "mean": float(values.mean()),
        "sd": float(values.std()),
        "min": float(values.min()),
        "max": float(values.max()),
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
    }


def _check_channels(recording: Recording, meta: Meta) -> Iterator[Finding]:
    n = len(meta.channel_sd_uv)
    reference = _sidecar(recording).get("EEGReference", "Cz")
    flat = [name for name in meta.flat if name != reference]
    for check, names, what in ((Check.FLAT, flat, "flat"), (Check.SATURATED, meta.saturated, "saturated")):
        if names:
            severity = Severity.FAILED if len(names) > BAD_CHANNELS_SHARE * n else Severity.NOTE
            some = ", ".join(names[:6]) + (" ..." if len(names) > 6 else "")
            yield Finding(check, severity, f"{len(names)} of {n} channels are {what}: {some}")
    alive = [sd for sd in meta.channel_sd_uv if sd > 0]
    typical = float(np.median(alive)) if alive else 0.0
    if alive and not PLAUSIBLE_UV[0] <= typical <= PLAUSIBLE_UV[1]:
        remedy = "check the unit in the file's header"
        yield Finding(Check.UNITS, Severity.FAILED, f"a typical channel has {typical:.3g} uV", remedy=remedy)


def _check_sidecar(recording: Recording, meta: Meta) -> Iterator[Finding]:
    sidecar = _sidecar(recording)
    sfreq, duration_s = sidecar.get("SamplingFrequency"), sidecar.get("RecordingDuration")
    actual_s = meta.original_n_times / meta.original_sfreq
    said = []
    if isinstance(sfreq, int | float) and abs(sfreq - meta.original_sfreq) > 0.01:
        said.append(f"{sfreq:g} Hz for {meta.original_sfreq:g} Hz")
    if isinstance(duration_s, int | float) and abs(duration_s - actual_s) > DURATION_TOLERANCE_S:
        said.append(f"{duration_s:g} s for {actual_s:g} s")
    if said:
        yield Finding(Check.SIDECAR_DISAGREES, Severity.NOTE, f"_eeg.json says {' and '.join(said)}; the signal counts")


def _sidecar(recording: Recording) -> dict[str, Any]:
    if "_eeg.json" not in recording.inventory:
        return {}
    try:
        values = json.loads(recording.sidecar("_eeg.json").read_text(errors="replace"))
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _of_common_shape(one: Examined, common: tuple[float, tuple[str, ...]]) -> Examined:
    if one.meta is None or not one.meta.n_times or (one.meta.sfreq, one.meta.ch_names) == common:
        return one
    message = f"{one.meta.sfreq:g} Hz where most recordings have {common[0]:g} Hz"
    finding = Finding(Check.SAMPLING_RATE, Severity.FAILED, message, remedy="give `sfreq` to have all resampled")
    return replace(one, findings=(*one.findings, finding))


def _duplicate(recording: Recording, original: Recording) -> Finding:
    copy = recording.stem == original.stem and recording.source_path != original.source_path
    severity = Severity.EXCLUDED if copy else Severity.FAILED
    remedy = None if copy else "one of the two is not what its name says"
    return Finding(Check.DUPLICATE_RECORDING, severity, f"the same signal as {original.name}", remedy=remedy)


def _named(events: Events, row: int) -> str:
    onset_s = events.onset_s[row]
    return f"row {row + 1}: {events.label[row]} at {'n/a' if np.isnan(onset_s) else f'{onset_s:g} s'}"


def _row(one: Examined) -> dict[str, Any]:
    cut, meta = one.cut, one.meta
    return {
        "name": one.recording.name,
        "release": one.recording.release,
        "subject": one.recording.subject,
        "task": one.recording.task,
        "status": str(one.status),
        "findings": [finding.to_dict() for finding in one.findings],
        "duration_s": round(meta.n_times / meta.sfreq, 3) if meta and meta.n_times else None,
        "trials": cut.n_trials if cut else 0,
        "windows": len(cut.start) if cut else 0,
        "trial_drops": {str(reason): n for reason, n in cut.drops} if cut else {},
    }


def _channels(kept: Sequence[Examined]) -> dict[str, Any]:
    """Median over recordings of each channel's standard deviation, before the spec's own steps."""
    sds = [one.meta.channel_sd_uv for one in kept if one.meta is not None]
    if not sds or len({len(sd) for sd in sds}) != 1:
        return {}
    flat: Counter[str] = Counter(name for one in kept if one.meta for name in one.meta.flat)
    return {"median_sd_uv": np.median(np.array(sds), axis=0).round(3).tolist(), "flat": dict(flat.most_common(20))}
