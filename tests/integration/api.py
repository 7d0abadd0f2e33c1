"""The API in one process with a test's Redis: app, client and files of runs, made the way the service makes them."""

from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Auth, Settings


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
