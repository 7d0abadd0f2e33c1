"""Preflight: what all checks add up to, whether the job may go on, and the report.

Knows recordings that have been examined; opens no file.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np

from jobs import spec
from worker.data.cutting import Cut
from worker.data.errors import DataError
from worker.data.findings import Check, Finding, Severity
from worker.data.recordings import Recording
from worker.data.store import Meta

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
