"""Puts a study on disk as HBN does: one BIDS root, a folder a subject, sidecars beside every signal.

Knows neither how events are invented nor how signals are made.
"""

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from worker.data.simulate.script import EVENT_COLUMNS, EventRow, RecordingScript, Study


def write_study(root: Path, study: Study) -> None:
    """Everything but the recordings."""
    root.mkdir(parents=True, exist_ok=True)
    description = {
        "Name": f"Simulated HBN-EEG, {study.release}",
        "BIDSVersion": "1.9.0",
        "DatasetType": "raw",
        "License": "CC0",
        "GeneratedBy": [{"Name": "eegq datasets simulate"}],
    }
    (root / "dataset_description.json").write_text(json.dumps(description, indent=2))
    columns = list(study.participants[0]) if study.participants else ["participant_id"]
    rows = ([row.get(column, "n/a") for column in columns] for row in study.participants)
    _write_tsv(root / "participants.tsv", columns, rows)


def recording_folder(root: Path, script: RecordingScript) -> Path:
    return root / f"sub-{script.subject}" / "eeg"


def write_sidecars(root: Path, script: RecordingScript, sfreq: float, ch_names: Sequence[str]) -> None:
    folder = recording_folder(root, script)
    folder.mkdir(parents=True, exist_ok=True)
    sidecar = {
        "TaskName": script.task,
        "EEGReference": "Cz",
        "EEGChannelCount": len(ch_names),
        "SamplingFrequency": sfreq,
        "RecordingDuration": script.duration_s,
        "RecordingType": "continuous",
        "PowerLineFrequency": 60,
        "SoftwareFilters": "n/a",
    }
    (folder / f"{script.stem}_eeg.json").write_text(json.dumps(sidecar, indent=2))
    _write_tsv(folder / f"{script.stem}_channels.tsv", ("name", "type", "units"), ((n, "EEG", "uV") for n in ch_names))
    write_events(folder / f"{script.stem}_events.tsv", script.events)


def write_events(path: Path, rows: Iterable[EventRow]) -> None:
    _write_tsv(path, EVENT_COLUMNS, (row.cells() for row in rows))


def _write_tsv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
