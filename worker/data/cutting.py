"""Where windows start: braindecode's functions, given anchors, a mapping, a size and a stride, and never a guess.

Works on lengths and onsets alone; braindecode sees a recording of one silent channel. Knows no signals.
"""

from dataclasses import dataclass

import numpy as np

from jobs.spec import EventWindows, FixedWindows
from worker.data.trials import Drop, Trial

ANCHOR = "anchor"


@dataclass(frozen=True)
class Cut:
    """Windows of one recording: start (n,) int64 samples, target (n,) float64, onset_s (n,) float64.

    drops: how many trials gave no window, and why; n_trials = n + all drops for windows of events.
    """

    start: np.ndarray
    target: np.ndarray
    onset_s: np.ndarray
    n_trials: int = 0
    drops: tuple[tuple[Drop, int], ...] = ()


def n_samples(seconds: float, sfreq: float) -> int:
    return round(seconds * sfreq)


def cut_events(trials: list[Trial], rules: EventWindows, sfreq: float, n_times: int) -> Cut:
    """One window a usable trial, `start_s` after its stimulus. Every other trial is a named drop."""
    offset, size = n_samples(rules.start_s, sfreq), n_samples(rules.size_s, sfreq)
    drops = [trial.drop for trial in trials if trial.drop is not None]
    usable = [trial for trial in trials if trial.drop is None]
    anchors = np.array([np.rint(trial.stimulus_s * sfreq) for trial in usable], np.int64)
    inside = (anchors >= 0) & (anchors < n_times) & (anchors + offset >= 0) & (anchors + offset + size <= n_times)
    fresh = np.ones(len(anchors), bool)
    fresh[1:] = anchors[1:] != anchors[:-1]
    drops += [Drop.OUTSIDE] * int((~inside).sum()) + [Drop.SAME_SAMPLE] * int((inside & ~fresh).sum())
    kept = [trial for trial, keep in zip(usable, inside & fresh, strict=True) if keep]
    start = _event_starts([trial.stimulus_s for trial in kept], offset, size, sfreq, n_times)
    assert len(start) == len(trials) - len(drops), "windows == trials - named drops"
    return Cut(
        start,
        np.array([trial.target for trial in kept], np.float64),
        np.array([trial.stimulus_s for trial in kept], np.float64),
        len(trials),
        tuple((reason, drops.count(reason)) for reason in Drop if reason in drops),
    )


def cut_fixed(rules: FixedWindows, target: float, sfreq: float, n_times: int) -> Cut:
    """Windows of `size_s` every `stride_s`; the rest at the end is left out. The recording is at least one long."""
    from braindecode.preprocessing import create_fixed_length_windows

    windows = create_fixed_length_windows(
        _silent(sfreq, n_times),
        window_size_samples=n_samples(rules.size_s, sfreq),
        window_stride_samples=n_samples(rules.stride_s, sfreq),
        on_last_window="drop",
    )
    start = windows.datasets[0].metadata["i_start_in_trial"].to_numpy(np.int64)
    return Cut(start, np.full(len(start), target), start / sfreq)


def _event_starts(onset_s: list[float], offset: int, size: int, sfreq: float, n_times: int) -> np.ndarray:
    """Anchors of duration zero: the window runs from anchor + offset to anchor + offset + size, once."""
    from braindecode.preprocessing import create_windows_from_events

    if not onset_s:
        return np.empty(0, np.int64)
    windows = create_windows_from_events(
        _silent(sfreq, n_times, onset_s),
        trial_start_offset_samples=offset,
        trial_stop_offset_samples=offset + size,
        window_size_samples=size,
        window_stride_samples=size,
        mapping={ANCHOR: 0},
        on_last_window="drop",
    )
    return windows.datasets[0].metadata["i_start_in_trial"].to_numpy(np.int64)


def _silent(sfreq: float, n_times: int, anchors_s: list[float] | None = None):  # type: ignore[no-untyped-def]
    import mne
    from braindecode.datasets import BaseConcatDataset, RawDataset

    info = mne.create_info(["silent"], sfreq, "eeg")
    raw = mne.io.RawArray(np.zeros((1, n_times)), info, verbose="error")
    if anchors_s is not None:
        raw.set_annotations(mne.Annotations(anchors_s, [0.0] * len(anchors_s), [ANCHOR] * len(anchors_s)))
    return BaseConcatDataset([RawDataset(raw)])
