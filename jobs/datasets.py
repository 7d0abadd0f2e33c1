"""Datasets below the mounted data folder: which BIDS roots are there and what a job may call them.

A folder that holds signal files and no BIDS root is a dataset too: each file is a recording of a subject of its own.

Looks at names of files and folders only; knows nothing of what the recordings hold.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from jobs import spec
from jobs.errors import UnknownDataset

MAX_DEPTH = 4
ALL = "all"
HBN_ACCESSIONS = {
    **{f"ds{5505 + i:06d}": f"R{i + 1}" for i in range(8)},  # ds005505..ds005512
    **{f"ds{5514 + i:06d}": f"R{i + 9}" for i in range(3)},  # ds005514..ds005516
}
SIGNAL_SUFFIXES = (".bdf", ".edf", ".vhdr", ".set")  # in this order where a recording lies there in several formats
_ACCESSION = re.compile(r"ds\d{6}")
_RELEASE = re.compile(r"(?<![a-z])r(1[01]|[1-9])(?!\d)", re.IGNORECASE)


@dataclass(frozen=True)
class Source:
    """One BIDS root. `path` is relative to the data folder, with forward slashes; `.` is the folder itself."""

    release: str
    path: str


@dataclass(frozen=True)
class Dataset:
    name: str
    sources: tuple[Source, ...]


def scan(data_dir: str | os.PathLike[str]) -> tuple[Dataset, ...]:
    """Every BIDS root up to four folders deep, folders that hold several of them, and `all`; sorted by name.

    Raises OSError where a folder cannot be listed: an unreachable share must not look like an empty one.
    """
    data_dir = Path(data_dir)
    roots = sorted(_roots(data_dir, PurePosixPath(".")))
    if not roots:
        return ()
    sources = {root: Source(_release(_folder_name(data_dir, root)), str(root)) for root in roots}
    groups: dict[PurePosixPath, tuple[Source, ...]] = {root: (sources[root],) for root in roots}
    for folder in {parent for root in roots for parent in root.parents if parent.name}:
        inside = [root for root in roots if folder in root.parents]
        if len(inside) > 1:
            groups[folder] = tuple(sources[root] for root in inside)
    named = [Dataset(name, groups[folder]) for folder, name in _names(data_dir, groups).items()]
    return tuple(sorted([*named, Dataset(ALL, tuple(sources.values()))], key=lambda dataset: dataset.name))


def select(datasets: Sequence[Dataset], wanted: spec.Dataset) -> tuple[Source, ...]:
    """The BIDS roots that a job asks for. Raises UnknownDataset, which names those that there are."""
    by_name = {dataset.name: dataset for dataset in datasets}
    if wanted.name not in by_name:
        known = ", ".join(sorted(by_name)) or "none: the data folder holds no BIDS dataset"
        raise UnknownDataset(f"unknown dataset {wanted.name!r}; known: {known}")
    sources = by_name[wanted.name].sources
    known_releases = {source.release for source in sources}
    if missing := [release for release in wanted.releases if release not in known_releases]:
        known = ", ".join(sorted(known_releases))
        raise UnknownDataset(f"dataset {wanted.name!r} has no release {', '.join(missing)}; known: {known}")
    return tuple(source for source in sources if not wanted.releases or source.release in wanted.releases)


def _roots(data_dir: Path, folder: PurePosixPath) -> Iterator[PurePosixPath]:
    with os.scandir(data_dir / folder) as entries:
        inside = {entry.name: entry for entry in entries if not entry.name.startswith(".")}
    if _is_root(inside):
        yield folder
        return
    below = [name for name, entry in inside.items() if entry.is_dir()] if len(folder.parts) < MAX_DEPTH else []
    roots = [root for name in below for root in _roots(data_dir, folder / name)]
    yield from roots
    if not roots and any(name.endswith(SIGNAL_SUFFIXES) for name in inside):
        yield folder


def _is_root(inside: dict[str, os.DirEntry[str]]) -> bool:
    if "dataset_description.json" in inside or "participants.tsv" in inside:
        return True
    return any(name.startswith("sub-") and entry.is_dir() for name, entry in inside.items())


def _release(folder_name: str) -> str:
    accession = _ACCESSION.search(folder_name)
    if accession and accession.group() in HBN_ACCESSIONS:
        return HBN_ACCESSIONS[accession.group()]
    release = _RELEASE.search(folder_name)
    return f"R{release.group(1)}" if release else folder_name


def _names(data_dir: Path, groups: dict[PurePosixPath, tuple[Source, ...]]) -> dict[PurePosixPath, str]:
    """A slug each; where two folders share one, the parents' names are put in front, and then a number."""
    slugs = {folder: _slug(_folder_name(data_dir, folder)) for folder in sorted(groups)}
    count = Counter([ALL, *slugs.values()])
    names: dict[PurePosixPath, str] = {}
    for folder, slug in slugs.items():
        name = slug if count[slug] == 1 else _slug("-".join(folder.parts) or slug)
        taken, number, free = {ALL, *names.values()}, 2, name
        while free in taken:
            free, number = f"{name[:60]}-{number}", number + 1
        names[folder] = free
    return names


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")[:64] or "dataset"


def _folder_name(data_dir: Path, folder: PurePosixPath) -> str:
    return folder.name or data_dir.resolve().name
