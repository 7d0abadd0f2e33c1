"""One simulated dataset for every test with real processes."""

from pathlib import Path

import pytest

from tests.stack import make_data


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("data"))
