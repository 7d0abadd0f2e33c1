"""The API under test: in the test's own process, or as the process that people start."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi.testclient import TestClient

from service.app import create_app
from service.patience import PatientProtocol
from service.settings import Auth, Settings
from tests.conftest import wait_until
from tests.redis_server import free_port


def demo_root(data_dir: Path, name: str = "demo") -> None:
    """The least that counts as a BIDS root."""
    (data_dir / name / "sub-1" / "eeg").mkdir(parents=True)
    (data_dir / name / "participants.tsv").write_text("participant_id\nsub-1\n")


def settings(redis_url: str, folder: Path, **changes: Any) -> Settings:
    for name in ("runs", "data"):
        (folder / name).mkdir(exist_ok=True)
    values: dict[str, Any] = {
        "redis_url": redis_url, "runs": folder / "runs", "data": folder / "data", "keys": folder / "keys.json",
        "auth": Auth.OFF, **changes,
    }  # fmt: skip
    return Settings(**values)


def api_client(settings: Settings) -> TestClient:
    """Use it as a context manager, so that the app's start and end run."""
    return TestClient(create_app(settings), base_url="http://127.0.0.1", raise_server_exceptions=False)


@contextmanager
def served(app: Any, lifespan: Any = "off") -> Iterator[int]:
    """The port of a server in a thread."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, http=PatientProtocol, log_level="error", lifespan=lifespan))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started, 60)
    try:
        yield port
    finally:
        server.should_exit = server.force_exit = True
        thread.join(20)


class LiveService:
    """`python -m service` as a process of its own, on a free port of loopback."""

    def __init__(self, redis_url: str, folder: Path, **env: str) -> None:
        for name in ("runs", "data"):
            (folder / name).mkdir(exist_ok=True, parents=True)
        self.folder, self.url = folder, f"http://127.0.0.1:{free_port()}"
        self._env = {
            **os.environ, "EEGQ_REDIS_URL": redis_url, "EEGQ_PORT": self.url.rpartition(":")[2],
            "EEGQ_RUNS": str(folder / "runs"), "EEGQ_DATA": str(folder / "data"),
            "EEGQ_KEYS": str(folder / "keys.json"), **env,
        }  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "LiveService":
        with (self.folder / "service.log").open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-m", "service"], env=self._env, stderr=log)
        wait_until(self._answers, 60, what=f"the service on {self.url}")
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(10)

    @property
    def key(self) -> str:
        """Of the admin that the first start makes."""
        return json.loads((self.folder / "keys.json").read_text())["keys"][0]["key"]

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/livez", timeout=1).status_code == 200
        except httpx.TransportError:
            return False
