"""Prepared: what a job trains on; and how it is kept, so that a second job reads neither events nor signals again.

Knows nothing of how it comes about.
"""

import json
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from worker.data.errors import StorageUnavailable
from worker.data.preflight import PreflightReport
from worker.data.store import Lease, Store, sync_folder, write_whole
from worker.data.windows import Signals, WindowIndex

COLUMNS = ("recording", "start", "target", "subject", "onset_s")


@dataclass(frozen=True)
class Prepared:
    """What a job trains on.

    digest: of contents, preprocessing, windows and split; equal digests mean equal batches for equal rows.
    split: the split artefact. custom_sources: file name -> source of the user's own steps.
    """

    train: WindowIndex
    validation: WindowIndex
    preflight: PreflightReport
    digest: str
    split: dict[str, Any]
    ch_names: tuple[str, ...]
    sfreq: float
    custom_sources: dict[str, str]
    lease: Lease | None = None


def save(store: Store, key: str, prepared: Prepared, entries: list[str]) -> Prepared:
    """Writes it and takes a lease on its entries. Raises StorageUnavailable where one was evicted meanwhile."""
    beside = store.prepared_folder(f".saving-{uuid.uuid4().hex[:12]}")
    beside.mkdir()
    try:
        with (beside / "index.npz").open("wb") as file:
            arrays: dict[str, Any] = _arrays("train", prepared.train) | _arrays("validation", prepared.validation)
            np.savez(file, **arrays)
            os.fsync(file.fileno())
        write_whole(beside / "prepared.json", json.dumps(_values(prepared, entries)).encode())
        sync_folder(beside)
        _put(beside, store.prepared_folder(key))
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    leased = load(store, key)
    if leased is None:
        raise StorageUnavailable("the store was cleaned while this job was being prepared")
    return leased


def load(store: Store, key: str) -> Prepared | None:
    """What was saved, with a lease on its entries; None where it was not, or where an entry is gone."""
    folder = store.prepared_folder(key)
    try:
        values = json.loads((folder / "prepared.json").read_text())
    except (FileNotFoundError, ValueError):
        return None
    lease = store.lease([*values["entries"]], prepared=key)
    if not all(store.has(entry) for entry in values["entries"]):
        lease.close()
        return None
    signals = Signals(
        tuple(store.signal_path(entry) for entry in values["entries"]),
        tuple(values["recording_n_times"]),
        len(values["ch_names"]),
    )
    with np.load(folder / "index.npz") as arrays:
        train, validation = (_index(side, arrays, values, signals) for side in ("train", "validation"))
    return Prepared(
        train,
        validation,
        PreflightReport.of(values["preflight"]),
        values["digest"],
        values["split"],
        tuple(values["ch_names"]),
        values["sfreq"],
        {},
        lease,
    )


def _values(prepared: Prepared, entries: list[str]) -> dict[str, Any]:
    return {
        "entries": entries,
        "recording_n_times": prepared.train.signals.n_times,
        "preflight": prepared.preflight.to_dict(),
        "digest": prepared.digest,
        "split": prepared.split,
        "ch_names": prepared.ch_names,
        "sfreq": prepared.sfreq,
        "subjects": prepared.train.subjects,
        "recordings": prepared.train.recordings,
        "n_times": prepared.train.n_times,
        "max_shift": prepared.train.max_shift,
    }


def _arrays(side: str, index: WindowIndex) -> dict[str, np.ndarray]:
    return {f"{side}.{column}": getattr(index, column) for column in COLUMNS}


def _index(side: str, arrays: Any, values: dict[str, Any], signals: Signals) -> WindowIndex:
    return WindowIndex(
        signals=signals,
        **{column: arrays[f"{side}.{column}"] for column in COLUMNS},
        subjects=tuple(values["subjects"]),
        recordings=tuple(values["recordings"]),
        n_times=values["n_times"],
        max_shift=values["max_shift"],
        sfreq=values["sfreq"],
    )


def _put(built: Path, place: Path) -> None:
    """The newest wins: an older one may name entries that are gone."""
    shutil.rmtree(place, ignore_errors=True)
    try:
        os.rename(built, place)
    except OSError:  # another process was faster, with the same content
        if not (place / "prepared.json").exists():
            raise
