"""Connections to Redis and the Lua scripts, with Redis' failures turned into one error. Knows no job."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, OutOfMemoryError, ReadOnlyError, ResponseError, TimeoutError
from redis.retry import Retry

from jobs.errors import StoreUnavailable
from jobs.keys import PREFIX

AWAY = (ConnectionError, TimeoutError, OutOfMemoryError, ReadOnlyError)
# A pooled connection that Redis closed meanwhile is opened again; a timeout is not tried twice, or it would be two.
_ONCE_IF_CLOSED = Retry(NoBackoff(), 1, supported_errors=(ConnectionError,))
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
        retry=_ONCE_IF_CLOSED,
    )


def connect_async(url: str, timeout_s: float = 5.0) -> "redis.asyncio.Redis":
    """The same for an event loop; a blocking read may block for less than `timeout_s` only."""
    return redis.asyncio.Redis.from_url(
        url, decode_responses=True, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, socket_keepalive=True
    )


def with_credentials(url: str, username: str | None, password_file: Path | None) -> str:
    """The URL with the user's name and the password that the file holds; as it is where no file is given."""
    if password_file is None:
        return url
    parts = urlsplit(url)
    secret = f"{quote(username or '', safe='')}:{quote(password_file.read_text().strip(), safe='')}"
    return urlunsplit(parts._replace(netloc=f"{secret}@{parts.netloc.rpartition('@')[2]}"))


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
