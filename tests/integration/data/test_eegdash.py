"""The trial table equals that of eegdash 0.9.1, the challenge's own tool, on every real recording of R1-R3.

Optional: eegdash brings 36 packages and is not needed to run anything.
"""

import numpy as np
import pandas as pd
import pytest

from jobs.spec import CHALLENGES
from tests.data_factory import real_metadata
from worker.data.events import read_events
from worker.data.trials import trial_table

build_trial_table = pytest.importorskip(
    "eegdash.hbn.windows", reason="OPTIONAL: eegdash is not installed (pip install eegdash==0.9.1)"
).build_trial_table

RULES = CHALLENGES["challenge1"]
COLUMNS = ["trial_start_onset", "trial_stop_onset", "stimulus_onset", "response_onset", "rt_from_stimulus"]


def ours(path):
    events = read_events(path, RULES.mapping.stimulus)
    finished = [trial for trial in trial_table(events, RULES, 1e9) if not np.isnan(trial.stop_s)]
    times = [(t.start_s, t.stop_s, t.stimulus_s, t.response_s, t.response_s - t.stimulus_s) for t in finished]
    return np.array(times).reshape(-1, 5), [trial.correct for trial in finished]


def theirs(path):
    table = build_trial_table(pd.read_csv(path, sep="\t"))
    if table.empty:
        return np.empty((0, 5)), []
    # Where there is no stimulus they still look for a press; it belongs to no response time.
    table.loc[table["stimulus_onset"].isna(), "response_onset"] = np.nan
    correct = [None if pd.isna(stimulus) or value is None else value
               for stimulus, value in zip(table["stimulus_onset"], table["correct"], strict=True)]  # fmt: skip
    return table[COLUMNS].to_numpy(float), correct


@pytest.mark.timeout(900)  # 300 recordings, on a busy machine too
@pytest.mark.parametrize(("release", "usable"), [("R1", 7316), ("R2", 7565), ("R3", 9586)])
def test_every_trial_of_a_real_release_is_the_same(tmp_path, release, usable):
    found = 0
    for path in sorted(real_metadata(release, tmp_path).glob("sub-*/eeg/*contrastChangeDetection*_events.tsv")):
        (times, correct), (their_times, their_correct) = ours(path), theirs(path)
        np.testing.assert_array_equal(times, their_times, err_msg=path.name)
        assert correct == their_correct, path.name
        found += int(np.isfinite(times[:, 4]).sum())
    assert found == usable


def test_a_last_trial_that_ends_with_the_experiment_is_the_same(tmp_path):
    path = tmp_path / "events.tsv"
    path.write_text(
        "onset\tduration\tvalue\tfeedback\n1\tn/a\tcontrastTrial_start\tn/a\n3\tn/a\tleft_target\tn/a\n"
        "4.5\tn/a\tleft_buttonPress\tsmiley_face\n7\tn/a\tend_experiment\tn/a\n9\tn/a\tend_experiment\tn/a\n"
    )
    (times, correct), (their_times, their_correct) = ours(path), theirs(path)
    np.testing.assert_array_equal(times, their_times)
    assert times.tolist() == [[1.0, 9.0, 3.0, 4.5, 1.5]]
    assert correct == their_correct == [True]
