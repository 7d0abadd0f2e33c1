"""What a check says of a recording: which check, how bad, and what a person can do about it.

Knows no files; the checks themselves are in preflight.
"""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """note: kept, and said. excluded: in order, but not for this job. failed: a defect; the recording is dropped."""

    NOTE = "note"
    EXCLUDED = "excluded"
    FAILED = "failed"


class Check(StrEnum):
    SIGNAL_MISSING = "signal_missing"
    UNREADABLE = "unreadable"
    TRUNCATED = "truncated"
    SIDECAR_MISSING = "sidecar_missing"
    SIDECAR_DISAGREES = "sidecar_disagrees"
    CHANNELS = "channels"
    UNITS = "units"
    SAMPLING_RATE = "sampling_rate"
    NOT_FINITE = "not_finite"
    FLAT = "flat"
    SATURATED = "saturated"
    TOO_SHORT = "too_short"
    EVENTS_MISSING = "events_missing"
    EVENTS_UNREADABLE = "events_unreadable"
    EVENT_ONSET = "event_onset"
    EVENT_ORDER = "event_order"
    EVENT_DUPLICATE = "event_duplicate"
    EVENT_OUTSIDE = "event_outside"
    EVENT_DURATION = "event_duration"
    NO_TRIALS = "no_trials"
    TARGET_MISSING = "target_missing"
    TARGET_RANGE = "target_range"
    DUPLICATE_RECORDING = "duplicate_recording"
    LISTED = "listed"
    READER_DIED = "reader_died"


@dataclass(frozen=True)
class Finding:
    check: Check
    severity: Severity
    message: str
    event: str | None = None
    remedy: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def of(cls, values: dict[str, Any]) -> "Finding":
        return cls(**{**values, "check": Check(values["check"]), "severity": Severity(values["severity"])})


class BadRecording(Exception):
    """A recording that cannot be used; carries the finding that says why. Never leaves worker.data."""

    def __init__(self, check: Check, message: str, remedy: str | None = None) -> None:
        super().__init__(message)
        self.finding = Finding(check, Severity.FAILED, message, remedy=remedy)
