"""The traps of windowing, each next to what this project does instead."""

import mne
import numpy as np
import pytest
from braindecode.datasets import BaseConcatDataset, RawDataset
from braindecode.preprocessing import create_windows_from_events

from jobs.spec import CHALLENGES, FixedWindows
from worker.data.cutting import cut_events, cut_fixed
from worker.data.events import Events
from worker.data.trials import Drop, trial_table

RULES = CHALLENGES["challenge1"]
SFREQ, N_TIMES = 100.0, 6000
STIMULI_S = [4.0, 12.0, 20.0, 28.0, 36.0, 44.0]


def recording(durations_s: list[float], label: str = "left_target") -> BaseConcatDataset:
    raw = mne.io.RawArray(np.zeros((1, N_TIMES)), mne.create_info(["E1"], SFREQ, "eeg"), verbose="error")
    raw.set_annotations(mne.Annotations(STIMULI_S, durations_s, [label] * len(STIMULI_S)))
    return BaseConcatDataset([RawDataset(raw)])


def hbn_events(stimuli_s: list[float] = STIMULI_S) -> Events:
    rows = []
    for stimulus_s in stimuli_s:
        rows += [(stimulus_s - 2, "contrastTrial_start"), (stimulus_s, "left_target")]
        rows += [(stimulus_s + 1.5, "left_buttonPress")]
    rows.append((stimuli_s[-1] + 4, "contrastTrial_start"))
    return Events(np.array([onset for onset, _ in rows]), np.array([label for _, label in rows]), {})


def cut(events: Events, n_times: int = N_TIMES):
    return cut_events(trial_table(events, RULES, n_times / SFREQ), RULES, SFREQ, n_times)


def test_the_naive_call_on_events_without_duration_cannot_compute_a_length():
    with pytest.raises(ValueError, match="arange: cannot compute length"):
        create_windows_from_events(recording([0.0] * 6), 0, 0)


def test_the_naive_call_on_nan_durations_cannot_compute_a_length():
    with pytest.raises(ValueError, match="arange: cannot compute length"):
        create_windows_from_events(recording([float("nan")] * 6), 0, 0)


def test_the_naive_offsets_on_two_second_events_give_three_windows_a_trial():
    windows = create_windows_from_events(
        recording([2.0] * 6), 50, 250, window_size_samples=200, window_stride_samples=100, on_last_window="drop"
    )
    assert len(windows) == 3 * len(STIMULI_S)


def test_one_nan_among_durations_silently_loses_windows():
    durations_s = [2.0] * 6
    durations_s[2] = float("nan")
    windows = create_windows_from_events(
        recording(durations_s), 0, 0, window_size_samples=100, window_stride_samples=100, on_last_window="drop",
        accepted_bads_ratio=0.5,
    )  # fmt: skip
    assert len(windows) == 2 * 5


def test_a_window_past_the_end_costs_the_naive_caller_the_whole_recording():
    with pytest.raises(ValueError, match="too large"):
        create_windows_from_events(recording([0.0] * 6), 50, 2000, window_size_samples=200, window_stride_samples=200)


def test_here_the_same_events_give_one_window_a_trial():
    found = cut(hbn_events())
    assert found.start.tolist() == [round(s * SFREQ) + 50 for s in STIMULI_S]
    assert found.target.tolist() == [1.5] * 6


def test_here_a_trial_past_the_end_is_dropped_by_name_and_the_others_stay():
    found = cut(hbn_events(), n_times=4600)  # the last window would need sample 4650
    assert len(found.start) == 5
    assert dict(found.drops) == {Drop.UNFINISHED: 1, Drop.OUTSIDE: 1}
    assert found.n_trials == 7


def test_here_a_window_may_end_with_the_recording():
    assert len(cut(hbn_events(), n_times=4650).start) == 6
    assert len(cut(hbn_events(), n_times=4649).start) == 5


def test_here_two_stimuli_on_one_sample_are_one_window():
    found = cut(hbn_events([4.0, 12.0, 12.001]))
    assert len(found.start) == 2
    assert found.n_trials == len(found.start) + sum(n for _, n in found.drops)


@pytest.mark.parametrize("n_times", [400, 401, 599, 600, 601, 12_345])
def test_fixed_windows_are_those_that_fit(n_times):
    found = cut_fixed(FixedWindows(), 0.3, SFREQ, n_times)
    assert found.start.tolist() == list(range(0, n_times - 400 + 1, 200))
    assert set(found.target) == {0.3}


def test_starts_agree_with_rounding_for_onsets_between_samples():
    rng = np.random.default_rng(0)
    stimuli_s = np.cumsum(rng.uniform(5, 9, 200)).round(3).tolist()
    found = cut(hbn_events(stimuli_s), n_times=int(stimuli_s[-1] * 100) + 1000)
    np.testing.assert_array_equal(found.start, np.rint(np.array(stimuli_s) * SFREQ) + 50)
