"""The examples that train, run as printed against a service of `eegq up`."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import wait_until

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def up_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which `eegq up` runs with a small simulated dataset `demo`."""
    folder = tmp_path_factory.mktemp("up")
    simulate = ["-m", "worker.data.simulate", "data/demo", "--subjects", "12", "--runs", "1", "--trials", "25"]
    subprocess.run([sys.executable, *simulate], cwd=folder, check=True, capture_output=True)
    up = subprocess.Popen(
        [sys.executable, "-m", "eegq", "up", "--port", "0", "--no-gpu"], cwd=folder, stderr=subprocess.PIPE
    )
    wait_until((folder / ".eegq" / "up.json").exists, 60, what="eegq up is ready")
    yield folder
    up.terminate()
    up.wait(60)


def run_example(folder: Path, name: str) -> str:
    env = {**os.environ, "EPOCHS": "1", "MPLBACKEND": "agg", "XDG_CONFIG_HOME": str(folder / "config")}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)], cwd=folder, env=env, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_quickstart_submits_both_challenges_plots_and_builds_a_submission(up_folder: Path) -> None:
    said = run_example(up_folder, "quickstart.py")
    assert "challenge1: NRMSE" in said
    assert "challenge2: NRMSE" in said
    out = up_folder / "quickstart"
    assert (out / "learning_curves.png").stat().st_size > 5000
    assert (out / "submission.zip").read_bytes()[:2] == b"PK"


def test_pretraining_hands_its_weights_to_the_next_job(up_folder: Path) -> None:
    said = run_example(up_folder, "pretrain_finetune.py")
    assert "fine-tuned: NRMSE" in said
    assert "from scratch: NRMSE" in said


def test_the_ported_script_is_a_spec_of_less_than_20_lines_that_the_service_takes(up_folder: Path) -> None:
    spec = (EXAMPLES / "ported.md").read_text().partition("```json\n")[2].partition("```")[0]
    assert len(spec.splitlines()) < 20
    command = [sys.executable, "-m", "eegq", "submit", "-", "--dry-run"]
    done = subprocess.run(command, cwd=up_folder, input=spec, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["spec"]["model"]["name"] == "EEGNeX"


def test_reproducing_a_job_gives_the_same_bits(up_folder: Path) -> None:
    eegq = [sys.executable, "-m", "eegq"]
    settings = ["--set", "training.epochs=1", "--set", "placement=cpu", "--set", "training.deterministic=true"]
    submit = subprocess.run([*eegq, "submit", "-q", "--wait", *settings], cwd=up_folder, capture_output=True, text=True)
    assert submit.returncode == 0, submit.stderr
    command = [*eegq, "reproduce", submit.stdout.strip()]
    done = subprocess.run(command, cwd=up_folder, capture_output=True, text=True)
    report = json.loads(done.stdout)
    assert report["identical"], report
    assert report["differences"] == {}
