"""The shelf: every dataset a job may name, found below the data folder or registered by a person.

The folder is looked through at most once in ten seconds, and again at once when a name is not known.
"""

import time
from pathlib import Path
from threading import Lock

from jobs import spec
from jobs.datasets import Dataset, Source, UnknownDataset, scan, select
from jobs.registry import Registry
from service.errors import DataFolderAway

FRESH_S = 10.0


class Shelf:
    def __init__(self, data_dir: Path, registry: Registry) -> None:
        self._data_dir, self._registry = data_dir, registry
        self._lock = Lock()
        self._found: tuple[Dataset, ...] = ()
        self._looked_at = float("-inf")

    def found(self, *, anew: bool = False) -> tuple[Dataset, ...]:
        """Those below the data folder; none where there is no such folder. Raises DataFolderAway."""
        asked_at = time.monotonic()
        with self._lock:
            # whoever waited while somebody else looked takes what was found, if the look began after the question
            if self._looked_at < (asked_at if anew else asked_at - FRESH_S):
                looked_at = time.monotonic()
                self._found = self._scan()
                self._looked_at = looked_at
            return self._found

    def _scan(self) -> tuple[Dataset, ...]:
        try:
            return scan(self._data_dir) if self._data_dir.exists() else ()
        except OSError as error:
            raise DataFolderAway(f"the data folder cannot be listed: {error.strerror}") from error

    def datasets(self, *, anew: bool = False) -> list[Dataset]:
        """Registered names come before found ones of the same name."""
        by_name = {dataset.name: dataset for dataset in (*self.found(anew=anew), *self._registry.datasets())}
        return [by_name[name] for name in sorted(by_name)]

    def select(self, wanted: spec.Dataset) -> tuple[Source, ...]:
        """The BIDS roots a job asks for. Raises UnknownDataset."""
        try:
            return select(self.datasets(), wanted)
        except UnknownDataset:
            return select(self.datasets(anew=True), wanted)

    def register(self, name: str, sources: list[str]) -> Dataset:
        """Groups datasets that were found under one name. Raises UnknownDataset."""
        found = {dataset.name: dataset for dataset in self.found(anew=True)}
        if missing := [source for source in sources if source not in found]:
            known = ", ".join(found) or "none: the data folder holds no BIDS dataset"
            raise UnknownDataset(f"nothing called {', '.join(missing)} lies below the data folder; there: {known}")
        roots = dict.fromkeys(root for source in sources for root in found[source].sources)
        return self._registry.register(name, tuple(roots))
