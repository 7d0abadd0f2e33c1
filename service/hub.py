"""The hub: one blocking read of the store's common event stream wakes every client that waits for news of a job.

It carries no events: whoever is woken reads the store, so a lost or doubled wake-up does no harm.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis.asyncio
import structlog
from redis.exceptions import RedisError

from jobs import keys

log = structlog.get_logger("service")
BLOCK_MS = 3000  # redis-py gives up on a silent socket after 5 s
AWAY_S = 0.5
ALL = "*"


class News:
    """Set by the hub, cleared by its reader before it reads the store: nothing falls in between."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def clear(self) -> None:
        self._event.clear()

    def tell(self) -> None:
        self._event.set()

    async def arrive(self, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return False
        return True


class EventHub:
    def __init__(self, client: "redis.asyncio.Redis", max_listeners: int) -> None:
        self._redis: Any = client
        self._max = max_listeners
        self._news: dict[str, set[News]] = defaultdict(set)
        self._streams: Counter[str] = Counter()

    @property
    def streams(self) -> int:
        return self._streams.total()

    def full(self, caller: str) -> bool:
        """For one key: half of all is the most it may hold, so that others are never shut out by it."""
        return self._streams.total() >= self._max or self._streams[caller] >= max(1, self._max // 2)

    @contextmanager
    def stream(self, caller: str, job_id: str = ALL) -> Iterator[News]:
        """`listen`, counted as one of the caller's streams."""
        self._streams[caller] += 1
        try:
            with self.listen(job_id) as news:
                yield news
        finally:
            self._streams[caller] -= 1
            self._streams += Counter()  # forgets zeros

    @contextmanager
    def listen(self, job_id: str = ALL) -> Iterator[News]:
        """News of one job, or of any."""
        news = News()
        self._news[job_id].add(news)
        try:
            yield news
        finally:
            self._news[job_id].discard(news)
            if not self._news[job_id]:
                del self._news[job_id]

    async def run(self) -> None:
        """Until cancelled. After an absence of Redis everybody is woken, for whatever they missed."""
        last = None
        while True:
            try:
                last = await self._follow(last or await self._newest())
            except RedisError as error:
                log.warning("events", away=str(error))
                await asyncio.sleep(AWAY_S)
                self._tell_all()

    async def _newest(self) -> str:
        """An id of its own instead of `$`, which would skip what comes between two reads."""
        entries = await self._redis.xrevrange(keys.ALL_EVENTS, count=1)
        return entries[0][0] if entries else "0-0"

    async def _follow(self, last: str) -> str:
        for _, entries in await self._redis.xread({keys.ALL_EVENTS: last}, block=BLOCK_MS, count=1000) or ():
            for entry_id, fields in entries:
                last = entry_id
                for news in (*self._news.get(fields["job"], ()), *self._news.get(ALL, ())):
                    news.tell()
        return last

    def _tell_all(self) -> None:
        for listeners in self._news.values():
            for news in listeners:
                news.tell()
