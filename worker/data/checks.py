"""The checks of one recording: its listing, its signal, its events, its trials; each yields findings.

Judges what others have read and opens no file but eeg.json. Pure in what it is given.
"""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from jobs.spec import EventWindows, FixedWindows, JobSpec
from worker.data.cutting import Cut
from worker.data.events import MISSING, Events
from worker.data.findings import Check, Finding, Severity
from worker.data.recordings import START_KIT_REMOVES, Recording
from worker.data.store import Meta

BAD_CHANNELS_SHARE = 0.2  # flat or saturated: below it a note, above it the recording is dropped
PLAUSIBLE_UV = (0.02, 1e5)  # median standard deviation of the channels; outside, the unit is wrong
DURATION_TOLERANCE_S = 1.5


def check_listing(recording: Recording, spec: JobSpec) -> Iterator[Finding]:
    """What the folder alone tells."""
    if isinstance(spec.task, str) and recording.subject in START_KIT_REMOVES:
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
    sidecar = read_sidecar(recording)
    if meta.channel_sd_uv:
        yield from _check_channels(sidecar, meta)
        yield from _check_sidecar(sidecar, meta)
    if not meta.n_times:
        return
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


def _check_channels(sidecar: dict[str, Any], meta: Meta) -> Iterator[Finding]:
    n = len(meta.channel_sd_uv)
    reference = sidecar.get("EEGReference", "Cz")
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


def _check_sidecar(sidecar: dict[str, Any], meta: Meta) -> Iterator[Finding]:
    sfreq, duration_s = sidecar.get("SamplingFrequency"), sidecar.get("RecordingDuration")
    actual_s = meta.original_n_times / meta.original_sfreq
    said = []
    if isinstance(sfreq, int | float) and abs(sfreq - meta.original_sfreq) > 0.01:
        said.append(f"{sfreq:g} Hz for {meta.original_sfreq:g} Hz")
    if isinstance(duration_s, int | float) and abs(duration_s - actual_s) > DURATION_TOLERANCE_S:
        said.append(f"{duration_s:g} s for {actual_s:g} s")
    if said:
        yield Finding(Check.SIDECAR_DISAGREES, Severity.NOTE, f"_eeg.json says {' and '.join(said)}; the signal counts")


def read_sidecar(recording: Recording) -> dict[str, Any]:
    if "_eeg.json" not in recording.inventory:
        return {}
    try:
        values = json.loads(recording.sidecar("_eeg.json").read_text(errors="replace"))
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _named(events: Events, row: int) -> str:
    onset_s = events.onset_s[row]
    return f"row {row + 1}: {events.label[row]} at {'n/a' if np.isnan(onset_s) else f'{onset_s:g} s'}"
