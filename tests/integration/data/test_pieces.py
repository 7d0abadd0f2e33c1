"""The user's own steps through prepare(), and the two commands of worker.data."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.data_factory import job, prepared, small
from worker.data.errors import StepFailed
from worker.data.simulate.defects import Defect, plant

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pieces") / "data"
    small(folder / "demo", subjects=3)
    return folder


def with_steps(*steps: dict):
    return job(preprocess=list(steps))


def test_steps_are_applied_in_order_and_share_nothing_with_the_raw_signal(data):
    raw = prepared(data, job())
    clipped = prepared(data, with_steps({"step": "clip", "limit_uv": 5}, {"step": "zscore", "by": "recording"}))
    assert np.abs(raw.train.gather([0])).max() > 5
    stored = clipped.train.gather(np.arange(len(clipped.train)))
    assert np.abs(stored).max() == pytest.approx(np.abs(stored.min()), rel=0.2)
    assert np.abs(stored).max() < 5
    assert clipped.digest != raw.digest


def test_windows_follow_a_resample_step(data):
    found = prepared(data, with_steps({"step": "resample", "sfreq": 50}))
    assert (found.sfreq, found.train.n_times) == (50.0, 100)
    assert found.train.start[0] == round(found.train.onset_s[0] * 50) + 25


def test_windows_have_the_channels_that_a_pick_step_leaves(data):
    found = prepared(data, with_steps({"step": "pick", "channels": ["E2", "Cz"]}))
    assert found.ch_names == ("E2", "Cz")
    assert found.train.gather([0]).shape == (1, 2, 200)


def test_a_changed_custom_step_is_built_anew_and_its_source_is_kept(data, tmp_path):
    spec = with_steps({"step": "custom", "function": "own_steps:fn", "params": {"gain": 2}})
    (tmp_path / "own_steps.py").write_text("def fn(x, sfreq, gain):\n    return x * gain\n")
    doubled = prepared(data, spec, steps_dir=tmp_path)
    assert doubled.custom_sources == {"own_steps.py": (tmp_path / "own_steps.py").read_text()}
    np.testing.assert_allclose(doubled.train.gather([0]), prepared(data, job()).train.gather([0]) * 2, rtol=1e-6)
    (tmp_path / "own_steps.py").write_text("def fn(x, sfreq, gain):\n    return -x * gain\n")
    turned = prepared(data, spec, steps_dir=tmp_path)
    np.testing.assert_array_equal(turned.train.gather([0]), -doubled.train.gather([0]))
    assert turned.digest != doubled.digest


def test_a_custom_step_that_raises_fails_the_job_with_its_traceback(data, tmp_path):
    (tmp_path / "broken.py").write_text("def fn(x, sfreq):\n    return x[:, :10] @ missing_name\n")
    with pytest.raises(StepFailed, match="NameError") as caught:
        prepared(data, with_steps({"step": "custom", "function": "broken:fn"}), steps_dir=tmp_path)
    assert 'broken.py", line 2, in fn' in caught.value.details
    assert caught.value.recording.endswith("_eeg.bdf")


def command(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "worker.data", *arguments], cwd=ROOT, capture_output=True, text=True
    )


def test_check_prints_the_report_and_writes_the_page(tmp_path):
    data = tmp_path / "data"
    plant(small(data / "demo", subjects=3), [Defect.TRUNCATED])
    rules = json.dumps(job().model_dump(mode="json")["task"])
    page = tmp_path / "page.html"
    ended = command(
        "check", "--data", str(data), "--cache", str(tmp_path / "cache"), "--task", rules, "--html", str(page)
    )
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout)
    assert report["counts"]["failed"] == 1
    assert report["warnings"][0].startswith("a job would fail: demo/")
    assert json.loads(ended.stderr.splitlines()[0])["phase"] == "preprocessing"
    assert page.read_text().count("<svg") == 4


def test_check_takes_what_a_service_asked_for(tmp_path):
    """A dataset's name that a person gave is not on the disk: its sources come with it."""
    small(tmp_path / "data" / "lab" / "ours", subjects=2)
    spec = job(dataset="named-by-hand").model_dump(mode="json")
    asked = {"spec": spec, "sources": [{"release": "R1", "path": "lab/ours"}]}
    (tmp_path / "asked.json").write_text(json.dumps(asked))
    folders = ["--data", str(tmp_path / "data"), "--cache", str(tmp_path / "cache")]
    ended = command("check", "--spec", str(tmp_path / "asked.json"), *folders)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["counts"]["kept"] == 2


def test_check_of_an_unknown_dataset_says_which_there_are(tmp_path):
    small(tmp_path / "data" / "mine", subjects=1)
    ended = command("check", "--data", str(tmp_path / "data"), "--cache", str(tmp_path / "cache"))
    assert ended.returncode == 1
    assert "known: all, mine" in json.loads(ended.stdout)["error"]


def test_gc_frees_what_nobody_uses(data, tmp_path):
    found = prepared(data, job(), cache_dir=tmp_path / "cache")
    assert json.loads(command("gc", "--cache", str(tmp_path / "cache")).stdout)["freed_bytes"] == 0
    found.lease.close()
    assert json.loads(command("gc", "--cache", str(tmp_path / "cache")).stdout)["kept_bytes"] == 0
