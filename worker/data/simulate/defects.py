"""Known defects, planted on purpose in a simulated dataset: for tests and for drills.

Works on a dataset that is already on disk; knows nothing of the checks that should find them.
"""

import csv
import shutil
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path

import numpy as np

from worker.data.reading import open_signal, read_microvolts
from worker.data.simulate.bdf import write_bdf
from worker.data.simulate.layout import write_events
from worker.data.simulate.script import EventRow


class Defect(StrEnum):
    NAN = "nan"
    FLAT_CHANNEL = "flat_channel"
    FLAT_SIGNAL = "flat_signal"
    SATURATED_CHANNEL = "saturated_channel"
    WRONG_COUNT = "wrong_count"
    WRONG_UNIT = "wrong_unit"
    TRUNCATED = "truncated"
    NOT_EEG = "not_eeg"
    MISSING_SIGNAL = "missing_signal"
    MISSING_EVENTS = "missing_events"
    MISSING_SIDECAR = "missing_sidecar"
    EVENTS_PAST_END = "events_past_end"
    NA_ONSETS = "na_onsets"
    NA_DURATIONS = "na_durations"
    UNSORTED_EVENTS = "unsorted_events"
    DUPLICATE_EVENTS = "duplicate_events"
    DUPLICATE_RECORDING = "duplicate_recording"
    NO_MATCHING_EVENTS = "no_matching_events"


def plant(root: Path, defects: Sequence[Defect]) -> dict[Defect, str]:
    """Each defect in another recording with trials; returns which recording got which. The first one stays sound.

    Raises ValueError where there are too few recordings.
    """
    paths = sorted(root.glob("sub-*/eeg/*contrastChangeDetection*_eeg.bdf"))
    if len(paths) <= len(defects):
        raise ValueError(f"{len(defects)} defects need more contrastChangeDetection recordings than the {len(paths)}")
    planted = dict(zip(defects, paths[1:], strict=False))
    for defect, path in planted.items():
        damage(path, defect)
    return {defect: path.name.removesuffix("_eeg.bdf") for defect, path in planted.items()}


def damage(path: Path, defect: Defect) -> None:
    """One defect in one recording; `path` is its BDF file."""
    _DAMAGE[defect](path)


def _nan(path: Path) -> None:
    """BDF cannot hold NaN, so the recording becomes a BrainVision file."""
    eeg, sfreq, ch_names = _read(path)
    eeg[3 % len(eeg), 100:110] = np.nan
    write_brainvision(path.with_suffix(".vhdr"), eeg, sfreq, ch_names)
    path.unlink()


def _flat_channel(path: Path) -> None:
    _edit(path, lambda eeg: np.concatenate([np.zeros_like(eeg[:1]), eeg[1:]]))


def _flat_signal(path: Path) -> None:
    _edit(path, np.zeros_like)


def _saturated_channel(path: Path) -> None:
    _edit(path, lambda eeg: np.concatenate([np.clip(eeg[:1], -1, 1), eeg[1:]]))


def _wrong_unit(path: Path) -> None:
    """Microvolts where the header says millivolts would be ten thousand times too small."""
    _edit(path, lambda eeg: eeg * 3e-4)


def _wrong_count(path: Path) -> None:
    eeg, sfreq, ch_names = _read(path)
    write_bdf(path, eeg[2:], sfreq, ch_names[2:])


def _truncated(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * 0.6))


def _not_eeg(path: Path) -> None:
    path.write_bytes(b"<html>404 not found</html>")


def _missing_signal(path: Path) -> None:
    path.unlink()


def _missing_events(path: Path) -> None:
    _events_path(path).unlink()


def _missing_sidecar(path: Path) -> None:
    for suffix in ("_eeg.json", "_channels.tsv"):
        path.with_name(path.name.replace("_eeg.bdf", suffix)).unlink()


def _events_past_end(path: Path) -> None:
    """Two usable trials more: one past the end, and one whose window begins inside and ends past it."""
    end_s = open_signal(path).n_times / open_signal(path).sfreq

    def add(rows: list[EventRow]) -> list[EventRow]:
        for stimulus_s in (end_s - 0.8, end_s + 5):
            rows.append(EventRow(f"{stimulus_s - 0.5:.3f}", "contrastTrial_start", "5"))
            rows.append(EventRow(f"{stimulus_s:.3f}", "left_target", "8"))
            rows.append(EventRow(f"{stimulus_s + 1.5:.3f}", "left_buttonPress", "12", "smiley_face"))
        return [*rows, EventRow(f"{end_s + 9:.3f}", "contrastTrial_start", "5")]

    _edit_events(path, add)


def _na_onsets(path: Path) -> None:
    def lose(rows: list[EventRow]) -> list[EventRow]:
        targets = [i for i, row in enumerate(rows) if row.value.endswith("_target")]
        return [EventRow("n/a", row.value) if i in targets[:2] else row for i, row in enumerate(rows)]

    _edit_events(path, lose)


def _na_durations(path: Path) -> None:
    _edit_events(path, lambda rows: [EventRow(row.onset, row.value, row.event_code, row.feedback) for row in rows])


def _unsorted_events(path: Path) -> None:
    _edit_events(path, lambda rows: rows[::-1])


def _duplicate_events(path: Path) -> None:
    _edit_events(path, lambda rows: [row for row in rows for _ in range(2)])


def _duplicate_recording(path: Path) -> None:
    """The signal of the dataset's first recording, under this one's name."""
    shutil.copy(min(path.parents[2].glob("sub-*/eeg/*contrastChangeDetection*_eeg.bdf")), path)


def _no_matching_events(path: Path) -> None:
    _edit_events(path, lambda rows: [EventRow(row.onset, f"other_{row.value}") for row in rows])


_DAMAGE: dict[Defect, Callable[[Path], None]] = {
    Defect.NAN: _nan,
    Defect.FLAT_CHANNEL: _flat_channel,
    Defect.FLAT_SIGNAL: _flat_signal,
    Defect.SATURATED_CHANNEL: _saturated_channel,
    Defect.WRONG_COUNT: _wrong_count,
    Defect.WRONG_UNIT: _wrong_unit,
    Defect.TRUNCATED: _truncated,
    Defect.NOT_EEG: _not_eeg,
    Defect.MISSING_SIGNAL: _missing_signal,
    Defect.MISSING_EVENTS: _missing_events,
    Defect.MISSING_SIDECAR: _missing_sidecar,
    Defect.EVENTS_PAST_END: _events_past_end,
    Defect.NA_ONSETS: _na_onsets,
    Defect.NA_DURATIONS: _na_durations,
    Defect.UNSORTED_EVENTS: _unsorted_events,
    Defect.DUPLICATE_EVENTS: _duplicate_events,
    Defect.DUPLICATE_RECORDING: _duplicate_recording,
    Defect.NO_MATCHING_EVENTS: _no_matching_events,
}


def _read(path: Path) -> tuple[np.ndarray, int, tuple[str, ...]]:
    header = open_signal(path)
    return read_microvolts(header, header.ch_names), round(header.sfreq), header.ch_names


def _edit(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    eeg, sfreq, ch_names = _read(path)
    write_bdf(path, change(eeg), sfreq, ch_names)


def _events_path(path: Path) -> Path:
    return path.with_name(path.name.replace("_eeg.bdf", "_events.tsv"))


def _edit_events(path: Path, change: Callable[[list[EventRow]], list[EventRow]]) -> None:
    with _events_path(path).open(newline="") as file:
        rows = [
            EventRow(row["onset"], row["value"], row["event_code"], row["feedback"], row["duration"])
            for row in csv.DictReader(file, delimiter="\t")
        ]
    write_events(_events_path(path), change(rows))


def write_brainvision(path: Path, eeg: np.ndarray, sfreq: int, ch_names: Sequence[str]) -> None:
    """See https://www.brainproducts.com/support-resources/brainvision-core-data-format-1-0/."""
    channels = "\n".join(f"Ch{i}={name},,1,uV" for i, name in enumerate(ch_names, 1))
    path.write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={path.with_suffix('.eeg').name}\nMarkerFile={path.with_suffix('.vmrk').name}\n"
        f"DataFormat=BINARY\nDataOrientation=MULTIPLEXED\nNumberOfChannels={len(ch_names)}\n"
        f"SamplingInterval={1_000_000 // sfreq}\n\n[Binary Infos]\nBinaryFormat=IEEE_FLOAT_32\n\n"
        f"[Channel Infos]\n{channels}\n"
    )
    path.with_suffix(".vmrk").write_text(
        "Brain Vision Data Exchange Marker File, Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={path.with_suffix('.eeg').name}\n\n[Marker Infos]\nMk1=New Segment,,1,1,0\n"
    )
    eeg.T.astype("<f4").tofile(path.with_suffix(".eeg"))
