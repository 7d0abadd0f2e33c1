"""prepare(): from folders to batches, with real files and real builder processes."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.data_factory import FEW_CHANNELS, SHARED, job, prepared, small
from worker.data.errors import DataError
from worker.data.reading import open_signal, read_microvolts


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("prepare") / "data"
    small(folder / "demo", subjects=5, trials=8, rest_s=14)
    return folder


@pytest.fixture(scope="module")
def challenge1(data):
    return prepared(data, job())


@pytest.fixture(scope="module")
def challenge2(data):
    return prepared(data, job("challenge2"))


def original(data: Path, name: str) -> np.ndarray:
    folder, stem = name.split("/")
    header = open_signal(data / folder / stem.split("_")[0] / "eeg" / f"{stem}_eeg.bdf")
    return read_microvolts(header, FEW_CHANNELS)


def test_challenge1_windows_are_the_signal_half_a_second_after_each_stimulus(data, challenge1):
    index = challenge1.train
    assert (index.n_chans, index.n_times, index.max_shift, index.sfreq) == (8, 200, 0, 100.0)
    rows = np.arange(len(index))
    for row, window in zip(rows, index.gather(rows), strict=True):
        recording = original(data, index.recordings[index.recording[row]])
        start = round(index.onset_s[row] * 100) + 50
        assert index.start[row] == start
        np.testing.assert_array_equal(window, recording[:, start : start + 200])


def test_every_trial_is_a_window_or_a_named_drop(challenge1):
    report = challenge1.preflight
    assert report.counts["windows"] == report.counts["trials"] - sum(report.trial_drops.values())
    assert report.counts["windows"] == len(challenge1.train) + len(challenge1.validation) > 0


def test_response_times_are_those_of_the_events(challenge1):
    target = np.concatenate([challenge1.train.target, challenge1.validation.target])
    assert 0.3 <= target.min() < target.max() <= 2.4


def test_challenge2_windows_are_four_seconds_every_two_with_room_for_a_crop(data, challenge2):
    index = challenge2.train
    assert (index.n_times, index.max_shift) == (200, 200)
    assert index.start[index.recording == index.recording[0]].tolist() == [0, 200, 400, 600, 800, 1000]
    recording = original(data, index.recordings[index.recording[0]])
    np.testing.assert_array_equal(index.gather([0])[0], recording[:, 100:300])
    np.testing.assert_array_equal(index.gather([0], np.array([200]))[0], recording[:, 200:400])


def test_challenge2_targets_are_the_subjects_traits(data, challenge2):
    lines = (data / "demo" / "participants.tsv").read_text().splitlines()
    column = lines[0].split("\t").index("externalizing")
    traits = {line.split("\t")[0]: float(line.split("\t")[column]) for line in lines[1:]}
    index = challenge2.train
    for subject, target in zip(index.subject, index.target, strict=True):
        assert target == pytest.approx(traits[f"sub-{index.subjects[subject]}"])


def test_no_subject_is_trained_on_and_validated(challenge1):
    train = {challenge1.train.subjects[i] for i in challenge1.train.subject}
    validation = {challenge1.validation.subjects[i] for i in challenge1.validation.subject}
    assert train
    assert validation
    assert not train & validation
    assert train == set(challenge1.split["train_subjects"])


def test_a_second_job_reads_no_recording(data, challenge1):
    again = prepared(data, job(), report=lambda phase, detail: pytest.fail("a recording was built again"))
    assert again.digest == challenge1.digest
    np.testing.assert_array_equal(again.train.gather([0, 1]), challenge1.train.gather([0, 1]))
    assert again.preflight.to_dict() == challenge1.preflight.to_dict()


def test_other_windows_on_the_same_recordings_read_no_recording(data, challenge1):
    shorter = job(windows={"size_s": 1.0})
    again = prepared(data, shorter, report=lambda phase, detail: pytest.fail("a recording was built again"))
    assert again.train.n_times == 100
    assert again.digest != challenge1.digest


def test_another_seed_is_another_split_of_the_same_windows(data, challenge1):
    others = [prepared(data, job(seed=seed)) for seed in (1, 2, 3)]
    assert len({tuple(other.split["validation_subjects"]) for other in (challenge1, *others)}) > 1
    assert {other.preflight.counts["windows"] for other in others} == {challenge1.preflight.counts["windows"]}


def test_progress_counts_recordings(data, tmp_path):
    seen = []
    prepared(data, job(), cache_dir=tmp_path / "cache", report=lambda phase, detail: seen.append((phase, detail)))
    assert [phase for phase, _ in seen] == ["preprocessing"] * 5
    assert [detail["recordings_done"] for _, detail in seen] == [1, 2, 3, 4, 5]
    assert {detail["recordings"] for _, detail in seen} == {5}
    assert seen[-1][1]["eta_s"] == 0


def test_a_changed_file_is_read_again(tmp_path):
    data = tmp_path / "data"
    small(data / "demo", subjects=2)
    first = prepared(data, job())
    path = min((data / "demo").glob("sub-*/eeg/*contrast*.bdf"))
    content = bytearray(path.read_bytes())
    content[-3000:] = bytes(3000)
    path.write_bytes(content)
    seen = []
    second = prepared(data, job(), report=lambda phase, detail: seen.append(detail))
    assert len(seen) == 1
    assert second.digest != first.digest


def test_a_moved_file_is_recognised_by_its_content(tmp_path):
    data = tmp_path / "data"
    small(data / "demo", subjects=2)
    first = prepared(data, job())
    (data / "demo").rename(data / "renamed")
    second = prepared(data, job(dataset="renamed"))
    assert second.train.signals.paths == first.train.signals.paths


def test_the_first_n_subjects_and_named_ones(data, challenge1):
    subjects = sorted(challenge1.train.subjects)
    few = prepared(data, job(dataset={"name": "demo", "subjects": 3}))
    assert list(few.train.subjects) == subjects[:3]
    named = prepared(data, job(dataset={"name": "demo", "subjects": subjects[2:4]}))
    assert list(named.train.subjects) == subjects[2:4]
    fewer = prepared(data, job(dataset={"name": "demo", "exclude_subjects": subjects[:1]}))
    assert list(fewer.train.subjects) == subjects[1:]


def test_channels_come_in_the_order_asked_for(data, challenge1):
    swapped = prepared(data, job(windows={"channels": ["Cz", "E3", "E1"]}))
    whole = dict(zip(FEW_CHANNELS, challenge1.train.gather([0])[0], strict=True))
    for name, trace in zip(("Cz", "E3", "E1"), swapped.train.gather([0])[0], strict=True):
        np.testing.assert_array_equal(trace, whole[name])


def test_all_channels_are_those_of_the_first_recording(data):
    assert prepared(data, job(windows={"channels": "all"})).ch_names == FEW_CHANNELS


def test_a_trigger_channel_is_no_signal(tmp_path):
    data = tmp_path / "data"
    small(data / "demo", subjects=2, ch_names=(*FEW_CHANNELS, "Status"))
    assert prepared(data, job(windows={"channels": "all"})).ch_names == FEW_CHANNELS


def test_another_rate_is_resampled(tmp_path):
    data = tmp_path / "data"
    small(data / "demo", subjects=2, sfreq=200)
    found = prepared(data, job())
    assert (found.sfreq, found.train.n_times) == (100.0, 200)
    kept = prepared(data, job(windows={"sfreq": None}))
    assert (kept.sfreq, kept.train.n_times) == (200.0, 400)
    # The same stretch of time at half the rate: nearly every other sample, as simulated EEG is below 50 Hz.
    slow, fast = found.train.gather([0])[0], kept.train.gather([0])[0][:, ::2]
    assert np.corrcoef(slow[0], fast[0])[0, 1] > 0.98


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (job(windows={"bids_tasks": ["surroundSupp"]}), "no recording of task surroundSupp"),
        (job("challenge2", windows={"target": "shoe_size"}), "no column 'shoe_size'"),
        (job("challenge2", windows={"target": "sex"}), "not a number"),
        (job(dataset={"name": "demo", "subjects": ["NOBODY", "NEMO"]}), "no recording of subject NEMO, NOBODY"),
        (job(validation={"by": "release", "releases": ["R9"]}), "no recording of release R9"),
        (job("challenge2", validation={"by": "fold", "folds": 5}), "in every validation window"),
        (job(windows={"mapping": {"stimulus": ["beep"], "response": ["boop"]}}), "no usable trial"),
        (job(preprocess=[{"step": "filter", "h_freq": 60}]), "not below half of 100 Hz"),
        (job(preprocess=[{"step": "custom", "function": "my_steps:fn"}]), "custom steps are off"),
    ],
)
def test_what_cannot_work_fails_with_a_reason(data, spec, message):
    with pytest.raises(DataError, match=message):
        prepared(data, spec)


def test_a_constant_target_is_nothing_to_learn(tmp_path):
    data = tmp_path / "data"
    root = small(data / "demo", subjects=3)
    lines = (root / "participants.tsv").read_text().splitlines()
    column = lines[0].split("\t").index("externalizing")
    cells = [line.split("\t") for line in lines]
    for row in cells[1:]:
        row[column] = "0.5"
    (root / "participants.tsv").write_text("\n".join("\t".join(row) for row in cells))
    with pytest.raises(DataError, match="nothing to learn"):
        prepared(data, job("challenge2"))


def test_a_missing_target_excludes_the_subject_and_is_never_replaced(tmp_path):
    data = tmp_path / "data"
    root = small(data / "demo", subjects=5)
    lines = (root / "participants.tsv").read_text().splitlines()
    column = lines[0].split("\t").index("externalizing")
    cells = [line.split("\t") for line in lines]
    cells[1][column] = "n/a"
    (root / "participants.tsv").write_text("\n".join("\t".join(row) for row in cells))
    found = prepared(data, job("challenge2", preflight={"strict": True}))
    assert len(found.train.subjects) == 4
    assert (found.preflight.counts["excluded"], found.preflight.counts["failed"]) == (1, 0)


def test_two_copies_of_a_release_do_not_leak(tmp_path):
    data = tmp_path / "data"
    small(data / "R1", subjects=4)
    shutil.copytree(data / "R1", data / "R1_mini", ignore=shutil.ignore_patterns("*N0002", "*N0003"))
    found = prepared(data, job(dataset="all"))
    assert found.preflight.counts["kept"] == 4
    assert found.preflight.counts["excluded"] == 2


def test_one_subject_is_split_by_time_and_warned_about(tmp_path):
    data = tmp_path / "data"
    small(data / "demo", subjects=1, trials=12)
    found = prepared(data, job())
    assert found.split["by"] == "time"
    assert "one subject only" in found.preflight.warnings[0]
    last = (found.train.recording[-1], found.train.start[-1] + 200)
    assert last <= (found.validation.recording[0], found.validation.start[0])


@pytest.mark.skipif(not SHARED.exists(), reason="REAL EEG NOT FOUND: set EEGQ_SHARED_DATA")
def test_a_real_recording_is_cut_from_square_to_press(tmp_path):
    folder = tmp_path / "data" / "eeglab" / "sub-01" / "eeg"
    folder.mkdir(parents=True)
    for suffix in (".set", ".fdt"):
        shutil.copy(SHARED / "eeglab-sample" / f"eeglab_data{suffix}", folder / f"sub-01_task-visual_eeg{suffix}")
    rules = {"kind": "events", "mapping": {"stimulus": ["square"], "response": ["rt"]}, "size_s": 1.0}
    spec = job(dataset="eeglab").model_validate(
        {"task": {**rules, "sfreq": 128, "channels": "all"}, "dataset": "eeglab"}
    )
    found = prepared(tmp_path / "data", spec)
    target = np.concatenate([found.train.target, found.validation.target])
    assert (found.train.n_chans, found.train.n_times, found.sfreq) == (32, 128, 128.0)
    assert (len(target), round(float(target.mean()), 3), round(float(target.std()), 3)) == (74, 0.418, 0.058)
    assert found.preflight.trial_drops == {"no response at or after the stimulus": 6}


def test_importing_the_data_side_is_cheap():
    code = (
        "import sys, worker.data, worker.data.prepare;"
        "sys.exit(any(m in sys.modules for m in ('torch', 'mne', 'braindecode', 'pandas', 'matplotlib')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
