"""Keeps the store within its size: what no job uses goes, the least recently used first.

Knows the store's folders and its leases; never touches an entry that a living process has leased.
"""

import fcntl
import json
import os
import shutil
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from worker.data.store import Store, locked

LEFTOVER_AGE_S = 3600.0


@dataclass(frozen=True)
class Evicted:
    entries: int
    freed_bytes: int
    kept_bytes: int


@dataclass(frozen=True)
class _Entry:
    path: Path
    bytes: int
    used_s: float


def evict(cache_dir: Path, limit_bytes: int) -> Evicted:
    """Removes unused entries until the store is within the limit, and what killed builders left behind.

    A limit of 0 removes everything that is not in use. `kept_bytes` may exceed the limit where jobs use more.
    """
    store = Store(cache_dir)
    with locked(store.folder / "locks" / "evict.lock"):
        _remove_leftovers(store)
        used = _leased(store)
        entries = [*_entries(store.folder / "signals"), *_entries(store.folder / "prepared")]
        kept_bytes, freed_bytes, n = sum(entry.bytes for entry in entries), 0, 0
        unused = [entry for entry in entries if f"{entry.path.parent.name}/{entry.path.name}" not in used]
        for entry in sorted(unused, key=lambda entry: entry.used_s):
            if kept_bytes <= limit_bytes:
                break
            _remove(entry.path)
            kept_bytes, freed_bytes, n = kept_bytes - entry.bytes, freed_bytes + entry.bytes, n + 1
        _remove_pointers(store)
    return Evicted(n, freed_bytes, kept_bytes)


def _leased(store: Store) -> set[str]:
    """What living processes use. A lease that can be locked belongs to nobody any more."""
    used: set[str] = set()
    for path in (store.folder / "leases").iterdir():
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                used.update(json.load(file))
            else:
                path.unlink(missing_ok=True)
    return used


def _entries(folder: Path) -> list[_Entry]:
    found = []
    for path in folder.iterdir():
        if not path.name.startswith("."):
            size = sum(file.stat().st_size for file in path.iterdir())
            found.append(_Entry(path, size, path.stat().st_mtime))
    return found


def _remove(path: Path) -> None:
    """Gone at once for whoever looks for it; maps that are open stay valid."""
    hidden = path.with_name(f".evicted-{uuid.uuid4().hex}")
    os.rename(path, hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def _remove_leftovers(store: Store) -> None:
    for path in (store.folder / "signals").glob(".building-*"):
        with locked(store.lock_path(path.name.removeprefix(".building-")), wait=False) as free:
            if free:
                shutil.rmtree(path, ignore_errors=True)
    for folder in ("signals", "prepared", "sources"):
        for path in (store.folder / folder).glob(".*"):
            old = time.time() - path.stat().st_mtime > LEFTOVER_AGE_S
            if old and not path.name.startswith(".building-"):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _remove_pointers(store: Store) -> None:
    for path in (store.folder / "sources").glob("*.json"):
        if store.find(path.stem) is None:
            path.unlink(missing_ok=True)
