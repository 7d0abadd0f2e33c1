"""Registry: names that people gave to datasets, on top of those found below the data folder.

Knows no files: whoever scans the folder passes what is there.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import redis

from jobs import keys
from jobs.connection import away_is_unavailable
from jobs.datasets import Dataset, Source


class Registry:
    def __init__(self, client: redis.Redis) -> None:
        self._redis: Any = client

    def register(self, name: str, sources: Sequence[Source]) -> Dataset:
        """Registering a name again replaces what it stood for."""
        with away_is_unavailable():
            self._redis.hset(keys.DATASETS, name, json.dumps([asdict(source) for source in sources]))
        return Dataset(name, tuple(sources))

    def forget(self, name: str) -> bool:
        with away_is_unavailable():
            return bool(self._redis.hdel(keys.DATASETS, name))

    def datasets(self) -> list[Dataset]:
        with away_is_unavailable():
            rows = self._redis.hgetall(keys.DATASETS)
        return [Dataset(name, tuple(Source(**s) for s in json.loads(text))) for name, text in sorted(rows.items())]
