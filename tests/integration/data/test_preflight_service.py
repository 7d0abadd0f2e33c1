"""A preflight through the service: a name that a person gave, a worker that looks, a report and a page to read."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from eegq import Client
from tests.data_factory import small
from tests.stack import Stack
from worker.data.simulate.defects import Defect, plant

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def stack(tmp_path) -> Iterator[Stack]:
    plant(small(tmp_path / "data" / "lab" / "ours", subjects=3), [Defect.TRUNCATED])
    stack = Stack(tmp_path / "stack", tmp_path / "data")
    for name in ("api-1", "errand-1"):
        stack.start(name)
    yield stack
    stack.close()


def test_a_named_dataset_is_looked_through_and_its_page_fetched(stack, tmp_path):
    url = f"http://127.0.0.1:{stack.api_port}"
    client = Client(url, retry_for_s=120)
    client.datasets.list()  # tried again until the service answers
    assert httpx.post(f"{url}/v1/datasets", json={"name": "named", "source": "ours"}).status_code == 201
    windows = {"kind": "fixed", "bids_tasks": ["RestingState"], "channels": ["E1", "E2", "Cz"]}
    report = client.datasets.preflight("named", windows)["report"]
    assert (report["counts"]["kept"], report["counts"]["subjects"]) == (3, 3)
    assert report["preview"]["ch_names"] == ["E1", "E2", "Cz"]
    page = client.datasets.download_page("named", tmp_path / "page.html")
    assert Path(page).read_text().count("<svg") == 3  # no trials in windows of fixed length
