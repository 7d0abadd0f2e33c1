"""Simulated datasets in HBN's layout: real-looking EEG in which the target leaves a trace of known strength.

Challenge 1: the response time scales a wave after the stimulus. Challenge 2: externalizing scales resting alpha.
Knows nothing of training; `python -m worker.data.simulate FOLDER` does the same from a shell.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np

from jobs.spec import CHALLENGES, HBN_CHANNELS, EventWindows
from worker.data.events import Events, number
from worker.data.simulate.bdf import write_bdf
from worker.data.simulate.layout import recording_folder, write_sidecars, write_study
from worker.data.simulate.script import (
    CONTRAST_CHANGE,
    RESPONSE_S,
    RESTING_STATE,
    RecordingScript,
    Study,
    from_metadata,
    invent,
)
from worker.data.simulate.signals import Trace, simulate_eeg
from worker.data.trials import trial_table

DEMO = {"subjects": 12, "runs": 2, "trials": 24, "rest_s": 60}


@dataclass(frozen=True)
class Simulated:
    """What was written: a BIDS root with that many subjects, recordings and bytes of signal."""

    root: Path
    subjects: int
    recordings: int
    bytes: int


def simulate(
    path: Path,
    subjects: int | None = DEMO["subjects"],
    seed: int = 0,
    effect: float = 1.0,
    *,
    release: str = "R1",
    tasks: Sequence[str] = (CONTRAST_CHANGE, RESTING_STATE),
    runs: int = DEMO["runs"],
    trials: int = DEMO["trials"],
    rest_s: int = DEMO["rest_s"],
    ch_names: Sequence[str] = HBN_CHANNELS,
    sfreq: int = 100,
    events_from: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Simulated:
    """Writes one BIDS root; the same arguments give the same bytes.

    effect 0 leaves no trace of the target. `events_from` is a BIDS root whose real events, traits and durations are
    used; `subjects` then takes the first so many, None all of them.
    """
    if events_from is None:
        study = invent(subjects or DEMO["subjects"], seed, release, tasks, runs, trials, rest_s)
    else:
        study = from_metadata(events_from, release, subjects, tasks)
    write_study(path, study)
    written = 0
    for done, script in enumerate(study.recordings, 1):
        written += _write_recording(path, study, script, seed, effect, ch_names, sfreq)
        progress(done, len(study.recordings))
    return Simulated(path, len(study.participants), len(study.recordings), written)


def _write_recording(
    root: Path, study: Study, script: RecordingScript, seed: int, effect: float, ch_names: Sequence[str], sfreq: int
) -> int:
    write_sidecars(root, script, sfreq, ch_names)
    own_seed = (seed, crc32(f"{study.release}/{script.stem}".encode()))
    eeg = simulate_eeg(len(ch_names), script.duration_s * sfreq, sfreq, _trace(study, script, effect), own_seed)
    path = recording_folder(root, script) / f"{script.stem}_eeg.bdf"
    write_bdf(path, eeg, sfreq, ch_names)
    return path.stat().st_size


def _trace(study: Study, script: RecordingScript, effect: float) -> Trace:
    if script.task != CONTRAST_CHANGE:
        return Trace(np.empty(0), np.empty(0), study.trait(script.subject, "externalizing"), effect)
    rules = CHALLENGES["challenge1"]
    assert isinstance(rules, EventWindows)
    events = Events(
        np.array([number(row.onset) for row in script.events]), np.array([row.value for row in script.events]), {}
    )
    trials = [trial for trial in trial_table(events, rules, script.duration_s) if trial.drop is None]
    response_z = (np.array([trial.target for trial in trials]) - RESPONSE_S[0]) / RESPONSE_S[1]
    return Trace(np.array([trial.stimulus_s for trial in trials]), response_z, None, effect)
