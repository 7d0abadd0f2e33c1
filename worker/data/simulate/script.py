"""What happens in a simulated study: who takes part, which recordings there are, and every event.

Either invented by seed, or taken from the metadata of a real release. Knows no signals.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np

CONTRAST_CHANGE, RESTING_STATE = "contrastChangeDetection", "RestingState"
TRAITS = ("p_factor", "attention", "internalizing", "externalizing")
EVENT_COLUMNS = ("onset", "duration", "sample", "value", "event_code", "feedback")
SAMPLES_PER_S = 500  # the rate that the `sample` column of HBN counts in
RESPONSE_S = (1.58, 0.40)  # mean and standard deviation, as in the real releases


@dataclass(frozen=True)
class EventRow:
    onset: str
    value: str
    event_code: str = "n/a"
    feedback: str = "n/a"
    duration: str = "n/a"

    def cells(self) -> tuple[str, ...]:
        sample = "n/a" if self.onset == "n/a" else f"{float(self.onset) * SAMPLES_PER_S:g}"
        return self.onset, self.duration, sample, self.value, self.event_code, self.feedback


@dataclass(frozen=True)
class RecordingScript:
    subject: str
    task: str
    run: int | None
    duration_s: int
    events: tuple[EventRow, ...]

    @property
    def stem(self) -> str:
        return f"sub-{self.subject}_task-{self.task}" + (f"_run-{self.run}" if self.run else "")


@dataclass(frozen=True)
class Study:
    """participants: rows of participants.tsv, `participant_id` first; every cell is text, `n/a` where missing."""

    release: str
    participants: tuple[dict[str, str], ...]
    recordings: tuple[RecordingScript, ...]

    def trait(self, subject: str, name: str) -> float | None:
        row = next(row for row in self.participants if row["participant_id"] == f"sub-{subject}")
        return None if row.get(name, "n/a") == "n/a" else float(row[name])


def invent(subjects: int, seed: int, release: str, tasks: Sequence[str], runs: int, trials: int, rest_s: int) -> Study:
    """A study of one's own; subject i is the same whatever the number of subjects."""
    participants, recordings = [], []
    for i in range(subjects):
        rng = np.random.default_rng([seed, crc32(release.encode()), i])
        label = f"NDARSIM{release}S{seed}N{i:04d}"
        participants.append(_participant(rng, label, release))
        speed = float(rng.normal(0, 0.15))
        if CONTRAST_CHANGE in tasks:
            recordings += [_contrast_change(rng, label, run, trials, speed) for run in range(1, runs + 1)]
        recordings += [_passive(label, task, rest_s) for task in tasks if task != CONTRAST_CHANGE]
    return Study(release, tuple(participants), tuple(recordings))


def from_metadata(root: Path, release: str, subjects: int | None, tasks: Sequence[str]) -> Study:
    """The real events, traits and durations of a BIDS root that need not hold any signal."""
    with (root / "participants.tsv").open(newline="", encoding="utf-8-sig") as file:
        participants = {row["participant_id"]: row for row in csv.DictReader(file, delimiter="\t")}
    folders = sorted(folder for folder in root.glob("sub-*") if folder.name in participants)[:subjects]
    recordings = tuple(script for folder in folders for script in _real_recordings(folder, tasks))
    return Study(release, tuple(participants[folder.name] for folder in folders), recordings)


def _participant(rng: np.random.Generator, label: str, release: str) -> dict[str, str]:
    general = rng.normal()
    traits = {name: f"{0.6 * general + 0.8 * rng.normal():.3f}" for name in TRAITS}
    return {
        "participant_id": f"sub-{label}",
        "release_number": release,
        "sex": str(rng.choice(["F", "M"])),
        "age": f"{rng.uniform(5, 21):.4f}",
        "ehq_total": f"{rng.uniform(-100, 100):.2f}",
        "commercial_use": "Yes",
        "full_pheno": "Yes",
        **traits,
    }


def _contrast_change(rng: np.random.Generator, subject: str, run: int, trials: int, speed: float) -> RecordingScript:
    """Trials as in HBN: a start, a target after some seconds, mostly a press. The last trial has no end."""
    rows = [EventRow("0", "break cnt", "break cnt"), EventRow("2.000", f"contrastChangeB{run}_start", str(93 + run))]
    time_s = 4.0
    for _ in range(trials):
        side = str(rng.choice(["left", "right"]))
        stimulus_s = time_s + float(rng.choice([1.2, 1.6, 2.0]))
        response = float(np.clip(rng.normal(RESPONSE_S[0] + speed, RESPONSE_S[1]), 0.3, 2.4))
        rows += [EventRow(f"{time_s:.3f}", "contrastTrial_start", "5"), _target(stimulus_s, side)]
        if rng.random() < 0.9:
            rows.append(_press(stimulus_s + response, side, right=rng.random() < 0.9))
        time_s = stimulus_s + 2.6 + float(rng.uniform(0, 0.4))
    rows.append(EventRow(f"{time_s:.3f}", "contrastTrial_start", "5"))
    return RecordingScript(subject, CONTRAST_CHANGE, run, int(np.ceil(time_s)) + 2, tuple(rows))


def _target(stimulus_s: float, side: str) -> EventRow:
    return EventRow(f"{stimulus_s:.3f}", f"{side}_target", "8" if side == "left" else "9")


def _press(response_s: float, side: str, right: bool) -> EventRow:
    pressed = side if right else {"left": "right", "right": "left"}[side]
    feedback = "smiley_face" if right else "sad_face"
    return EventRow(f"{response_s:.3f}", f"{pressed}_buttonPress", "12" if pressed == "left" else "13", feedback)


def _passive(subject: str, task: str, duration_s: int) -> RecordingScript:
    eyes = [
        EventRow(f"{2 + 20 * i}", f"instructed_to{'Close' if i % 2 else 'Open'}Eyes", "30" if i % 2 else "20")
        for i in range((duration_s - 2) // 20)
    ]
    rows = (EventRow("0", "break cnt", "break cnt"), *(eyes if task == RESTING_STATE else ()))
    return RecordingScript(subject, task, None, duration_s, rows)


def _real_recordings(folder: Path, tasks: Sequence[str]) -> Iterator[RecordingScript]:
    for path in sorted((folder / "eeg").glob("*_events.tsv")):
        entities = dict(part.split("-", 1) for part in path.name.removesuffix("_events.tsv").split("_"))
        sidecar = path.with_name(path.name.replace("_events.tsv", "_eeg.json"))
        if entities["task"] not in tasks or not sidecar.exists():
            continue
        duration_s = int(np.ceil(json.loads(sidecar.read_text())["RecordingDuration"]))
        run = int(entities["run"]) if "run" in entities else None
        yield RecordingScript(entities["sub"], entities["task"], run, duration_s, tuple(_rows(path)))


def _rows(path: Path) -> Iterator[EventRow]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            optional = {name: row.get(name) or "n/a" for name in ("event_code", "feedback", "duration")}
            yield EventRow(row["onset"], row["value"], **optional)
