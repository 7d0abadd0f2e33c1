"""Recordings: which EEG files a job asks for, with their sidecars, subjects and traits.

Lists folders and reads participants.tsv; never opens a signal.
"""

import csv
import hashlib
import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from jobs.datasets import SIGNAL_SUFFIXES, Source
from jobs.spec import JobSpec
from worker.data.errors import DataError, StorageUnavailable, infrastructure
from worker.data.events import MISSING, number

COMPANIONS = {".vhdr": (".eeg", ".vmrk"), ".set": (".fdt",)}
LISTERS = 16
SIDECARS = ("_eeg.json", "_events.tsv", "_channels.tsv")
START_KIT_REMOVES = frozenset(
    {
        "NDARWV769JM7",
        "NDARME789TD2",
        "NDARUA442ZVF",
        "NDARJP304NK1",
        "NDARTY128YLU",
        "NDARDW550GU6",
        "NDARLD243KRE",
        "NDARUJ292JXV",
        "NDARBA381JGH",
    }
)
"""Too few channels or too short, says the challenge's start kit; left out of the two challenges by name."""

_RECORDING = re.compile(r"^(sub-[^_]+(?:_[a-z]+-[^_]+)*)_(?:eeg|events|channels)\.(?:[a-z]+)$")


@dataclass(frozen=True)
class Inventory:
    """Size and time of change of each file of a recording: how a change is seen without reading."""

    files: tuple[tuple[str, int, int], ...]

    def __contains__(self, suffix: str) -> bool:
        return any(name.endswith(suffix) for name, _, _ in self.files)

    def size(self, suffix: str) -> int:
        return next((size for name, size, _ in self.files if name.endswith(suffix)), 0)

    @property
    def bytes(self) -> int:
        return sum(size for name, size, _ in self.files if not name.endswith((".json", ".tsv")))


@dataclass(frozen=True)
class Recording:
    """One continuous EEG file. `path` is the signal's, None where the folder has sidecars only.

    stem: sub-X[_ses-S]_task-T[_run-N], or the file's name where it lies outside BIDS;
    source_path: the BIDS root's, relative to the data folder.
    """

    release: str
    source_path: str
    subject: str
    task: str
    stem: str
    folder: Path
    path: Path | None
    inventory: Inventory

    @property
    def name(self) -> str:
        return self.stem if self.source_path == "." else f"{self.source_path}/{self.stem}"

    def sidecar(self, suffix: str) -> Path:
        return self.folder / f"{self.stem}{suffix}"


@dataclass(frozen=True)
class Participants:
    """participants.tsv of one BIDS root: subject label -> column -> text; missing cells are absent."""

    columns: frozenset[str]
    rows: dict[str, dict[str, str]]

    def trait(self, subject: str, column: str) -> float | None:
        """The number in a column; None where it is missing. Raises DataError where it is text or infinite."""
        text = self.rows.get(subject, {}).get(column)
        value = None if text is None else number(text)
        if value is not None and math.isnan(value):
            message = f"{column} of subject {subject} is {text!r}, not a number"
            raise DataError(message, remedy="choose a numeric column")
        return value


def list_recordings(spec: JobSpec, sources: Sequence[Source], data_dir: Path) -> list[Recording]:
    """The recordings of the tasks, releases and subjects that a spec asks for, sorted by name.

    Raises DataError where none is left, StorageUnavailable where the folder does not answer.
    """
    tasks = set(spec.windows.bids_tasks)
    try:
        everything = [recording for source in sources for recording in _recordings_of(source, data_dir)]
        found = [recording for recording in everything if not tasks or recording.task in tasks]
    except FileNotFoundError as error:
        raise StorageUnavailable(f"{error.filename} is gone; is the data folder mounted?") from error
    except OSError as error:
        raise infrastructure(error) or DataError(f"a folder cannot be listed: {error}") from error
    if not found:
        wanted = f"task {' or '.join(sorted(tasks))}" if tasks else "any task"
        raise DataError(
            f"no recording of {wanted} in {', '.join(source.path for source in sources)}",
            remedy="check `bids_tasks` and that the folders hold sub-*/eeg/*_eeg.{bdf,edf,vhdr,set}",
        )
    return sorted(_of_subjects(spec, found), key=lambda recording: recording.name)


def read_participants(root: Path) -> Participants:
    """participants.tsv of a BIDS root; empty where there is none."""
    path = root / "participants.tsv"
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
    except FileNotFoundError:
        rows = []
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(
            f"participants.tsv is not a table: {error}", remedy="save it as UTF-8, tab-separated"
        ) from error
    except OSError as error:
        raise infrastructure(error) or DataError(f"participants.tsv cannot be read: {error}") from error
    columns = frozenset(rows[0]) if rows else frozenset()
    return Participants(
        columns, {(row.get("participant_id") or "").removeprefix("sub-"): _present(row) for row in rows}
    )


def digest_of(parts: Iterable[object]) -> str:
    """A short key for a sequence of values that print alike when they are alike."""
    return hashlib.sha256("\n".join(str(part) for part in parts).encode()).hexdigest()[:32]


def _present(row: dict[str, str | None]) -> dict[str, str]:
    """Cells that hold something. A row with more cells than the header has the rest under None."""
    return {name: text.strip() for name, text in row.items() if name and text and text.strip() not in MISSING}


def _of_subjects(spec: JobSpec, found: list[Recording]) -> list[Recording]:
    wanted, left_out = spec.dataset.subjects, set(spec.dataset.exclude_subjects)
    subjects = sorted({recording.subject for recording in found} - left_out)
    if isinstance(wanted, int):
        subjects = subjects[:wanted]
    elif wanted is not None:
        if unknown := sorted(set(wanted) - set(subjects)):
            raise DataError(
                f"no recording of subject {', '.join(unknown[:5])}{' ...' if len(unknown) > 5 else ''}",
                remedy="subjects are named without `sub-`, and must have recordings of the tasks asked for",
            )
        subjects = [subject for subject in subjects if subject in set(wanted)]
    if not subjects:
        raise DataError("no subject is left", remedy="see `dataset.subjects` and `dataset.exclude_subjects`")
    return [recording for recording in found if recording.subject in set(subjects)]


def _recordings_of(source: Source, data_dir: Path) -> list[Recording]:
    """Subjects at a time: on a network folder each look is a journey."""
    subjects = _subfolders(data_dir / source.path, "sub-")
    if not subjects:
        return _plain_files(data_dir / source.path, source)
    with ThreadPoolExecutor(LISTERS) as pool:
        return [one for some in pool.map(lambda subject: list(_of_subject(subject, source)), subjects) for one in some]


def _plain_files(folder: Path, source: Source) -> list[Recording]:
    """Signal files side by side, without BIDS names: a subject each, called like the file."""
    with os.scandir(folder) as entries:
        files = {entry.name: entry for entry in entries if not entry.name.startswith(".")}
    signals = [folder / name for end in reversed(SIGNAL_SUFFIXES) for name in sorted(files) if name.endswith(end)]
    return [
        Recording(source.release, source.path, stem, "", stem, folder, path, _inventory(stem, path, files))
        for stem, path in {path.stem: path for path in signals}.items()
    ]


def _of_subject(subject: Path, source: Source) -> Iterator[Recording]:
    for holder in (subject, *_subfolders(subject, "ses-")):
        if (folder := holder / "eeg").is_dir():
            yield from _recordings_in(folder, source)


def _subfolders(folder: Path, prefix: str) -> list[Path]:
    with os.scandir(folder) as entries:
        return sorted(Path(entry.path) for entry in entries if entry.name.startswith(prefix) and entry.is_dir())


def _recordings_in(folder: Path, source: Source) -> Iterator[Recording]:
    with os.scandir(folder) as entries:
        files = {entry.name: entry for entry in entries}
    stems = {match.group(1) for name in files if (match := _RECORDING.match(name))}
    for stem in sorted(stems):
        path = next((folder / f"{stem}_eeg{end}" for end in SIGNAL_SUFFIXES if f"{stem}_eeg{end}" in files), None)
        entities = dict(part.split("-", 1) for part in stem.split("_"))
        inventory = _inventory(stem, path, files)
        yield Recording(
            release=source.release,
            source_path=source.path,
            subject=entities["sub"],
            task=entities.get("task", ""),
            stem=stem,
            folder=folder,
            path=path if path and path.name in inventory else None,
            inventory=inventory,
        )


def _inventory(stem: str, path: Path | None, files: dict[str, os.DirEntry[str]]) -> Inventory:
    suffixes = [*SIDECARS]
    if path is not None:
        part = path.stem.removeprefix(stem)  # _eeg, or nothing outside BIDS
        suffixes += [part + end for end in (path.suffix, *COMPANIONS.get(path.suffix, ()))]
    present = [files[name] for suffix in sorted(suffixes) if (name := stem + suffix) in files]
    return Inventory(tuple(entry for file in present if (entry := _size_and_time(file))))


def _size_and_time(file: os.DirEntry[str]) -> tuple[str, int, int] | None:
    try:
        stat = file.stat()
    except FileNotFoundError:  # a link to content that was never fetched (git-annex)
        return None
    return file.name, stat.st_size, stat.st_mtime_ns
