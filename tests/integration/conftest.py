"""Fixtures of the API's tests: one app on the test's Redis, with a demo dataset and folders of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.integration.api import api_client, demo_root, settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Holds runs/, data/ (with the dataset `demo`) and keys.json of the app under test."""
    demo_root(tmp_path / "data")
    return tmp_path


@pytest.fixture
def api(redis_url: str, folder: Path) -> Iterator[TestClient]:
    """Without keys, as on one's own machine."""
    with api_client(settings(redis_url, folder)) as client:
        yield client
