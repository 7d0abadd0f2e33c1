"""The real events of HBN-EEG R1-R3, counted independently of this project."""

import csv
import json

import numpy as np
import pytest

from jobs.spec import CHALLENGES
from tests.data_factory import job, prepared, real_metadata
from worker.data.cutting import cut_events
from worker.data.events import read_events
from worker.data.simulate import simulate
from worker.data.trials import Drop, trial_table

RULES = CHALLENGES["challenge1"]


def durations_s(root):
    for path in sorted(root.glob("sub-*/eeg/*contrastChangeDetection*_events.tsv")):
        sidecar = path.with_name(path.name.replace("_events.tsv", "_eeg.json"))
        yield path, float(json.loads(sidecar.read_text())["RecordingDuration"])


@pytest.mark.parametrize(
    ("release", "trials", "usable", "past_the_end", "mean_s", "sd_s", "zeros"),
    [
        ("R1", 8536, 7316, 1, 1.561, 0.404, 0),
        ("R2", 8938, 7565, 1, 1.597, 0.400, 1),
        ("R3", 11596, 9586, 0, 1.576, 0.409, 2),
    ],
)
def test_usable_trials_and_their_response_times_are_exactly_the_known_ones(
    tmp_path, release, trials, usable, past_the_end, mean_s, sd_s, zeros
):
    """Through the trial table and braindecode's windows, at the length that the real recordings have."""
    finished, windows, outside, response_s = 0, 0, 0, []
    for path, duration_s in durations_s(real_metadata(release, tmp_path)):
        events = read_events(path, RULES.mapping.stimulus)
        table = trial_table(events, RULES, duration_s)
        cut = cut_events(table, RULES, 100.0, round(duration_s * 100))
        finished += sum(trial.drop is not Drop.UNFINISHED for trial in table)
        response_s += [trial.target for trial in table if trial.drop is None]
        windows += len(cut.start)
        outside += dict(cut.drops).get(Drop.OUTSIDE, 0)
    response_s = np.array(response_s)
    assert (finished, len(response_s)) == (trials, usable)
    assert (windows, outside) == (usable - past_the_end, past_the_end)
    assert (round(response_s.mean(), 3), round(response_s.std(), 3)) == (mean_s, sd_s)
    assert response_s.max() <= 2.5
    assert int((response_s == 0).sum()) == zeros


@pytest.mark.timeout(900)  # 300 recordings, on a busy machine too
def test_a_whole_real_release_goes_from_folders_to_windows(tmp_path):
    """R1 with two simulated channels: 293 recordings through builders, store, braindecode and split.

    Simulated recordings last whole seconds, so the window that real R1 loses past the end is inside here.
    """
    simulate(
        tmp_path / "data" / "R1", subjects=None, events_from=real_metadata("R1", tmp_path),
        tasks=("contrastChangeDetection",), ch_names=("E1", "Cz"),
    )  # fmt: skip
    found = prepared(tmp_path / "data", job(dataset="r1", windows={"channels": ["E1", "Cz"]}), workers=2)
    assert found.preflight.counts["kept"] == 293
    assert found.preflight.counts["windows"] == len(found.train) + len(found.validation) == 7316
    target = np.concatenate([found.train.target, found.validation.target])
    assert (round(float(target.mean()), 3), round(float(target.std()), 3)) == (1.561, 0.404)


@pytest.mark.timeout(900)  # 300 recordings, on a busy machine too
def test_externalizing_is_missing_where_it_is_missing(tmp_path):
    root = real_metadata("R1", tmp_path)
    with (root / "participants.tsv").open(newline="") as file:
        rows = {row["participant_id"]: row["externalizing"] for row in csv.DictReader(file, delimiter="\t")}
    simulate(tmp_path / "data" / "R1", None, events_from=root, tasks=("RestingState",), ch_names=("E1", "Cz"))
    found = prepared(tmp_path / "data", job("challenge2", dataset="r1", windows={"channels": ["E1", "Cz"]}), workers=2)
    resting = {f"sub-{row['subject']}": row["status"] for row in found.preflight.recordings}
    missing = {subject for subject in resting if rows[subject] == "n/a"}
    assert missing
    assert {subject for subject, status in resting.items() if status == "excluded"} == missing
    index = found.train
    for subject, target in zip(index.subject, index.target, strict=True):
        assert target == pytest.approx(float(rows[f"sub-{index.subjects[subject]}"]))
