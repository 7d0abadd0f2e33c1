"""The service as a process of its own, and `eegq` as a person types it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.conftest import wait_until
from tests.redis_server import free_port


@dataclass(frozen=True)
class LiveService:
    """`folder` holds data/ and runs/ of the service, and is where `eegq` is typed."""

    url: str
    key: str
    folder: Path

    def env(self) -> dict[str, str]:
        return {
            **os.environ, "EEGQ_URL": self.url, "EEGQ_API_KEY": self.key, "NO_COLOR": "1", "COLUMNS": "160",
            "XDG_CONFIG_HOME": str(self.folder / "config"),
        }  # fmt: skip

    def eegq(self, *words: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "eegq", *words],
            cwd=self.folder, env=self.env(), input=stdin, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    def start(self, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "eegq", *words],
            cwd=self.folder, env=self.env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip


@contextmanager
def live_service(redis_url: str, folder: Path) -> Iterator[LiveService]:
    """A service on a free port with keys on; `data/demo` is a dataset."""
    port = free_port()
    settings = {
        "EEGQ_REDIS_URL": redis_url, "EEGQ_PORT": str(port), "EEGQ_KEYS": str(folder / "keys.json"),
        "EEGQ_RUNS": str(folder / "runs"), "EEGQ_DATA": str(folder / "data"),
    }  # fmt: skip
    (folder / "data" / "demo" / "sub-1" / "eeg").mkdir(parents=True)
    (folder / "data" / "demo" / "participants.tsv").write_text("participant_id\nsub-1\n")
    with (folder / "service.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "service"], env={**os.environ, **settings}, stdout=log, stderr=log, cwd=folder
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: ready(url), what="the service is ready")
        key = json.loads((folder / "keys.json").read_text())["keys"][0]["key"]
        yield LiveService(url, key, folder)
    finally:
        process.terminate()
        process.wait(10)


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").is_success
    except httpx.TransportError:
        return False
