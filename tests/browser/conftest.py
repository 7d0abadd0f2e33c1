"""A whole stack with keys, and the system's Chromium in front of it; skipped where there is none."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.dashboard import Dashboard, keys_file
from tests.conftest import wait_until
from tests.stack import Stack, make_data

ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
WORKERS = ("reaper-1", "cpu-1", "gpu-1", "batch-1")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def stack(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The API answers at once; the workers come while the first tests run."""
    folder = tmp_path_factory.mktemp("browser")
    settings = {"EEGQ_AUTH": "on", "EEGQ_KEYS": str(keys_file(folder))}
    stack = Stack(folder, make_data(tmp_path_factory.mktemp("data")), lease_s=5.0, settings=settings)
    stack.start("api")
    for name in WORKERS:
        stack.start(name)
    wait_until(lambda: "listens" in (folder / "api.log").read_text(), 60)
    yield stack
    stack.close()


@pytest.fixture
def visitor(stack: Stack, chromium: Any) -> Iterator[Dashboard]:
    """A browser that was never here; a test fails of whatever its pages complained about."""
    context = chromium.new_context(accept_downloads=True)
    dashboard = Dashboard(stack, context)
    yield dashboard
    context.close()
    assert dashboard.complaints == []


@pytest.fixture
def dashboard(visitor: Dashboard) -> Dashboard:
    """Logged in."""
    visitor.log_in()
    return visitor
