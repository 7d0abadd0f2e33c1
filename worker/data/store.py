"""Preprocessed signals on local disk: built once, memory-mapped, shared by every job and worker of the machine.

    signals/KEY/signal.f32   (n_tiles, n_chans, 64) float32: 64 samples of every channel, then the next 64; the last
                             tile is padded with zeros. A window is one stretch of the file, and nearly in order.
    signals/KEY/meta.json    Meta; KEY is a digest of the file's content and of all that was done to it
    sources/ID.json          ID is a digest of path, size, time of change and preprocessing: content not read again
    prepared/KEY/            the windows of a job, by a digest of everything they follow from
    leases/                  one file a process that uses entries, locked as long as it lives
    locks/                   256 locks for builders

A signal is written beside its place, synced and renamed: a killed build leaves nothing half-valid. Knows no MNE.
"""

import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from worker.data.errors import DataError, infrastructure
from worker.data.findings import Finding

TILE_TIMES = 64
VERSION = 1  # part of every key: raise it when what is stored changes


@dataclass(frozen=True)
class Meta:
    """What was found while a recording was built. `n_times` 0: it could not be, and `findings` says why.

    channel_sd_uv, flat and saturated are those of the signal before the spec's own steps.
    """

    content: str
    ch_names: tuple[str, ...] = ()
    sfreq: float = 0.0
    n_times: int = 0
    original_sfreq: float = 0.0
    original_n_times: int = 0
    channel_sd_uv: tuple[float, ...] = ()
    flat: tuple[str, ...] = ()
    saturated: tuple[str, ...] = ()
    annotations: tuple[tuple[float, str], ...] = ()
    findings: tuple[Finding, ...] = ()

    def to_json(self) -> str:
        return json.dumps({**asdict(self), "findings": [finding.to_dict() for finding in self.findings]})

    @classmethod
    def of(cls, text: str) -> "Meta":
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in json.loads(text).items()
        }
        values["findings"] = tuple(Finding.of(finding) for finding in values["findings"])
        values["annotations"] = tuple((onset_s, label) for onset_s, label in values["annotations"])
        return cls(**values)


class Store:
    """The store in one folder. Any number of processes may use it at the same time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with _disk_faults():
            for name in ("signals", "sources", "prepared", "leases", "locks"):
                (folder / name).mkdir(parents=True, exist_ok=True)

    def find(self, identity: str) -> str | None:
        """The key of what was built from a source, None where it was not or is no longer there."""
        try:
            key = json.loads((self.folder / "sources" / f"{identity}.json").read_text())["key"]
        except (FileNotFoundError, ValueError):
            return None
        return key if self.has(key) else None

    def has(self, key: str) -> bool:
        return (self._entry(key) / "meta.json").exists()

    def point(self, identity: str, key: str) -> None:
        """Not synced: a pointer that a power cut takes is found again by content."""
        write_whole(self.folder / "sources" / f"{identity}.json", json.dumps({"key": key}).encode(), sync=False)

    def meta(self, key: str) -> Meta:
        return Meta.of((self._entry(key) / "meta.json").read_text())

    def signal_path(self, key: str) -> Path:
        return self._entry(key) / "signal.f32"

    def prepared_folder(self, key: str) -> Path:
        return self.folder / "prepared" / key

    @contextmanager
    def building(self, identity: str) -> Iterator[Path]:
        """A lock on one source, and an empty folder to build it in; waits while another process builds it."""
        with locked(self.lock_path(identity)):
            folder = self.folder / "signals" / f".building-{identity}"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def add(self, key: str, built: Path, meta: Meta) -> None:
        """Puts what was built in `built` in its place. Whoever comes second finds it there and leaves it."""
        write_whole(built / "meta.json", meta.to_json().encode())
        sync_folder(built)
        try:
            os.rename(built, self._entry(key))
        except OSError:
            if not self.has(key):
                raise
        sync_folder(self.folder / "signals")

    def lease(self, keys: Iterable[str], prepared: str) -> "Lease":
        """Marks entries as used until the lease is closed or its process is gone. They may be gone already: look."""
        return Lease(self.folder, keys, prepared)

    def lock_path(self, identity: str) -> Path:
        return self.folder / "locks" / f"{identity[:2]}.lock"

    def _entry(self, key: str) -> Path:
        return self.folder / "signals" / key


class Lease:
    """Entries in use. The lock on its file goes with the process, however it ends."""

    def __init__(self, folder: Path, keys: Iterable[str], prepared: str) -> None:
        used = sorted({f"signals/{key}" for key in keys} | {f"prepared/{prepared}"})
        self._path = folder / "leases" / f"{uuid.uuid4().hex}.json"
        with locked(folder / "locks" / "evict.lock"):
            self._file: IO[str] = self._path.open("w")
            fcntl.flock(self._file, fcntl.LOCK_EX)
            json.dump(used, self._file)
            self._file.flush()
        for name in used:
            with suppress(FileNotFoundError):
                os.utime(folder / name)  # the least recently used is evicted first

    def close(self) -> None:
        self._path.unlink(missing_ok=True)
        self._file.close()


def write_tiles(path: Path, signal: np.ndarray) -> None:
    """signal: (n_chans, n_times) float32. Synced before it returns."""
    n_chans, n_times = signal.shape
    step = TILE_TIMES * 64
    with path.open("wb") as file:
        for start in range(0, n_times, step):
            part = signal[:, start : start + step]
            n_tiles = -(-part.shape[1] // TILE_TIMES)
            padded = np.zeros((n_chans, n_tiles * TILE_TIMES), np.float32)
            padded[:, : part.shape[1]] = part
            file.write(np.ascontiguousarray(padded.reshape(n_chans, n_tiles, TILE_TIMES).transpose(1, 0, 2)).data)
        file.flush()
        os.fsync(file.fileno())


def open_tiles(path: Path, n_chans: int, n_times: int) -> np.ndarray:
    """(n_tiles, n_chans, 64), memory-mapped, read-only. Raises DataError where the file is not that long."""
    n_tiles = -(-n_times // TILE_TIMES)
    try:
        return np.memmap(path, np.float32, "r", shape=(n_tiles, n_chans, TILE_TIMES))
    except ValueError as error:
        raise DataError(
            f"a stored signal is damaged: {error}", remedy="remove the cache folder; it is rebuilt"
        ) from error


def write_whole(path: Path, content: bytes, sync: bool = True) -> None:
    """All of it or nothing: written beside its place, synced, renamed."""
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        if sync:
            os.fsync(file.fileno())
    os.replace(beside, path)


def sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[bool]:
    """An exclusive lock between processes; yields False instead of waiting where asked to."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


@contextmanager
def _disk_faults() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise infrastructure(error) or error from error
