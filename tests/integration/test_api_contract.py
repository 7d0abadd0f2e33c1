"""The OpenAPI document against the running service: every operation, by schemathesis with all of its checks."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.api import LiveService, demo_root

pytestmark = [
    pytest.mark.skipif(not importlib.util.find_spec("schemathesis"), reason="schemathesis is not installed"),
    pytest.mark.timeout(600),
]

# A body may be well-formed and still name what is not there (a dataset, a parameter of a model), or come too early.
CONFIG = """
[checks]
positive_data_acceptance.expected-statuses = ["2xx", "304", "401", "403", "404", "409", "422"]
negative_data_rejection.expected-statuses = ["400", "401", "403", "404", "405", "409", "413", "415", "422"]

[parameters]
"query.wait" = 0

[[operations]]
include-path = "/events"
enabled = false  # never ends
"""


def test_every_operation_keeps_its_contract(redis_url: str, tmp_path: Path):
    demo_root(tmp_path / "data")
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    limits = {"EEGQ_REQUESTS_PER_S": "0", "EEGQ_MAX_ACTIVE_JOBS": "0"}
    with LiveService(redis_url, tmp_path, **limits) as service:
        run = subprocess.run(
            [
                sys.executable, "-m", "schemathesis.cli", "--config-file", str(tmp_path / "schemathesis.toml"),
                "run", f"{service.url}/openapi.json", "--checks", "all", "--max-examples", "6", "--seed", "1",
                "--workers", "1",  # CPython before 3.11.9 cannot parse in two threads at once (gh-106905)
                "--header", f"Authorization: Bearer {service.key}", "--request-timeout", "10", "--no-color",
                "--continue-on-failure", "--suppress-health-check", "all",
            ],
            capture_output=True, text=True, timeout=580, cwd=tmp_path,
        )  # fmt: skip
    assert run.returncode == 0, run.stdout[-12_000:] + run.stderr[-2_000:]
