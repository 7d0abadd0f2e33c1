"""A whole stack with keys, and the system's Chromium in front of it; skipped where there is none."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from jobs.job import JobState, Pool
from tests.browser.dashboard import Dashboard, keys_file
from tests.conftest import wait_until
from tests.stack import Stack, make_data, tiny

ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PATIENCE_S = 240.0  # importing torch on a busy machine takes its time
EPOCHS = 12
FAULT_STEP = 7
WORKERS = ("reaper-1", "cpu-1", "gpu-1", "batch-1")


@pytest.fixture(scope="package")
def chromium() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def stack(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Redis and the API."""
    folder = tmp_path_factory.mktemp("browser")
    settings = {"EEGQ_AUTH": "on", "EEGQ_KEYS": str(keys_file(folder))}
    stack = Stack(folder, make_data(tmp_path_factory.mktemp("data")), lease_s=5.0, settings=settings)
    stack.start("api")
    wait_until(lambda: "listens" in (folder / "api.log").read_text(), PATIENCE_S)
    yield stack
    stack.close()


@pytest.fixture(scope="package")
def workers(stack: Stack) -> None:
    """Both pools, the lane for single batches and a reaper."""
    for name in WORKERS:
        stack.start(name)
    wait_until(lambda: stack.fleet.ready(Pool.GPU) and stack.fleet.ready(Pool.CPU), PATIENCE_S)


@pytest.fixture(scope="package")
def drilled(stack: Stack, workers: None) -> str:
    """A job on the stand-in GPU that runs out of memory at one step; not waited for."""
    drill = [{"kind": "oom", "step": FAULT_STEP, "times": 2}]
    return stack.submit(tiny(EPOCHS, placement="gpu", drill=drill, tags=("group:pair",)), owner="admin")


@pytest.fixture(scope="package")
def pair(stack: Stack, drilled: str) -> tuple[str, str]:
    """It and another one, both succeeded."""
    other = stack.submit(tiny(2, seed=1, tags=("group:pair",)), owner="admin")
    for job_id in (drilled, other):
        assert stack.wait(job_id, PATIENCE_S).state is JobState.SUCCEEDED
    return drilled, other


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
