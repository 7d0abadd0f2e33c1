"""The README's curl lines, run as printed in a folder where `eegq up` runs; only the port is another one."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import wait_until

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
LINES = re.search(r"## With curl\n.*?```bash\n(.*?)```", README, re.DOTALL)[1]  # type: ignore[index]
PRINTED_ADDRESS = "http://127.0.0.1:8000"
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """`eegq up` with a small dataset `demo`, and `.venv/bin/eegq` as after `make up`."""
    folder = tmp_path_factory.mktemp("readme")
    simulate = ["-m", "worker.data.simulate", "data/demo", "--subjects", "6", "--runs", "1", "--trials", "12"]
    subprocess.run([sys.executable, *simulate], cwd=folder, check=True, capture_output=True)
    command = folder / ".venv/bin/eegq"
    command.parent.mkdir(parents=True)
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m eegq "$@"\n')
    command.chmod(0o755)
    up = subprocess.Popen([str(command), "up", "--port", "0", "--no-gpu"], cwd=folder, stderr=subprocess.DEVNULL)
    wait_until((folder / ".eegq/up.json").exists, 60, what="eegq up is ready")
    yield folder
    up.terminate()
    up.wait(60)


@pytest.fixture(scope="module")
def answers(folder: Path) -> dict[str, str]:
    """What each command wrote, by its line."""
    url = json.loads((folder / ".eegq/up.json").read_text())["url"]
    assert PRINTED_ADDRESS in LINES
    lines = [line for line in LINES.replace(PRINTED_ADDRESS, url).splitlines() if line and line[0] != "#"]
    script = "set -euo pipefail\n" + "\n".join(f"{line}\nprintf '\\036'" for line in lines)
    environment = {**os.environ, "XDG_CONFIG_HOME": str(folder / "config")}
    done = subprocess.run(["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    return dict(zip(lines, done.stdout.split("\036"), strict=False))


def answer(answers: dict[str, str], part: str) -> str:
    return next(text for line, text in answers.items() if part in line)


def test_the_events_end_with_the_job(answers: dict[str, str]) -> None:
    types = re.findall(r"^event: (\w+)", answer(answers, "/events"), re.MULTILINE)
    assert types[0] == "submitted"
    assert types[-1] == "succeeded"


def test_the_job_and_what_it_made_are_there(answers: dict[str, str], folder: Path) -> None:
    job = json.loads(next(text for line, text in answers.items() if line.endswith("/jobs/$JOB")))
    assert job["status"] == "succeeded"
    assert job["best"]["baseline"] > 0
    assert json.loads(answer(answers, "/metrics"))
    assert json.loads(answer(answers, "/ledger"))
    assert "weights.safetensors" in answer(answers, "$JOB/artifacts")
    assert json.loads((folder / "scores.json").read_text())["value"] == pytest.approx(job["best"]["value"])
    assert (folder / "weights.pt").read_bytes()[:2] == b"PK"


def test_a_job_asked_for_twice_is_made_once(folder: Path, answers: dict[str, str]) -> None:
    assert "EEGNet" in answer(answers, "Idempotency-Key")
    listed = subprocess.run([".venv/bin/eegq", "ls", "-o", "json"], cwd=folder, capture_output=True, text=True)
    assert sorted(job["spec"]["model"]["name"] for job in json.loads(listed.stdout)) == ["EEGNet", "SCCNet"]


def test_no_answer_is_a_problem(answers: dict[str, str]) -> None:
    assert {line: text for line, text in answers.items() if re.search(r'"status": ?[45]\d\d', text)} == {}
