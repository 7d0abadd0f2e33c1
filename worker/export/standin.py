"""A number for the challenge that has no job: the mean of its target over the subjects that the other job trained on.

Reads events and participants.tsv, never a signal.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from jobs.spec import EventWindows, JobSpec
from worker.data.errors import DataError, StorageUnavailable
from worker.data.events import read_events
from worker.data.recordings import Recording, list_recordings, read_participants
from worker.data.trials import trial_table
from worker.export.finished import FinishedRun

Challenge = Literal["challenge1", "challenge2"]

HBN_MEANS = {"challenge1": 1.578, "challenge2": 0.101}
"""Response time (s) and externalizing over the labels of HBN's releases R1 to R3; for when there is no data at hand."""


@dataclass(frozen=True)
class StandIn:
    value: float
    origin: str


def training_mean(challenge: Challenge, run: FinishedRun, data_dir: Path) -> StandIn:
    """`run` is the job of the other challenge."""
    spec = run.spec.model_copy(update={"task": challenge})
    try:
        values = _values(spec, run, data_dir)
    except (DataError, StorageUnavailable, OSError):
        values = []
    if not values:
        return StandIn(HBN_MEANS[challenge], "the mean of HBN's releases R1 to R3, for this data has no such labels")
    return StandIn(
        float(np.mean(values)), f"the mean of {len(values)} labels of the subjects that {run.name!r} trained on"
    )


def _values(spec: JobSpec, run: FinishedRun, data_dir: Path) -> list[float]:
    trained_on = set(run.train_subjects())
    if isinstance(spec.windows, EventWindows):
        recordings = [r for r in list_recordings(spec, run.sources, data_dir) if r.subject in trained_on]
        return [target for recording in recordings for target in _targets(recording, spec.windows)]
    tables = [read_participants(data_dir / source.path) for source in run.sources]
    traits = {s: table.trait(s, spec.windows.target) for table in tables for s in trained_on & table.rows.keys()}
    return [trait for trait in traits.values() if trait is not None]


def _targets(recording: Recording, rules: EventWindows) -> list[float]:
    """Of every usable trial; whether its window lies within the signal is not looked at."""
    try:
        events = read_events(recording.sidecar("_events.tsv"), rules.mapping.stimulus)
    except (ValueError, FileNotFoundError):
        return []
    return [trial.target for trial in trial_table(events, rules, np.inf) if trial.drop is None]
