"""Connections to Redis and the Lua scripts, with Redis' failures turned into one error. Knows no job."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, OutOfMemoryError, ReadOnlyError, ResponseError, TimeoutError
from redis.retry import Retry

from jobs.errors import StoreUnavailable
from jobs.keys import PREFIX

AWAY = (ConnectionError, TimeoutError, OutOfMemoryError, ReadOnlyError)
AWAY_REPLIES = ("OOM", "LOADING", "READONLY", "MISCONF", "MASTERDOWN")


def connect(url: str, timeout_s: float = 5.0) -> redis.Redis:
    """A client that answers within `timeout_s` or fails; retrying is left to whoever knows what a repeat means."""
    return redis.Redis.from_url(
        url,
        decode_responses=True,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        socket_keepalive=True,
        health_check_interval=10,
        retry=Retry(NoBackoff(), 1),
    )


@contextmanager
def away_is_unavailable() -> Iterator[None]:
    """Raises StoreUnavailable where Redis is gone, loading, read-only or out of memory."""
    try:
        yield
    except AWAY as error:
        raise StoreUnavailable(f"Redis does not answer: {error}") from error
    except ResponseError as error:
        if any(word in str(error) for word in AWAY_REPLIES):
            raise StoreUnavailable(f"Redis refuses: {error}") from error
        raise


@cache
def source(name: str) -> str:
    folder = files("jobs") / "scripts"
    return (folder / "prelude.lua").read_text() + "\n" + (folder / f"{name}.lua").read_text()


class Scripts:
    """The scripts of jobs/scripts, callable by name: `scripts("claim", "gpu", ...)`."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._registered: dict[str, Callable[..., Any]] = {}

    def __call__(self, name: str, *args: Any) -> Any:
        if name not in self._registered:
            self._registered[name] = self._client.register_script(source(name))
        with away_is_unavailable():
            return self._registered[name](keys=[PREFIX], args=list(args))
