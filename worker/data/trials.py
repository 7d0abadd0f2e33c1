"""The trial table: which stimulus and which response belong to each trial, by the rules of the challenge.

Knows no files and no samples; times are seconds from the start of the recording.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from jobs.spec import EventWindows
from worker.data.events import MISSING, Events, number

NAN = float("nan")
FEEDBACK = {"smiley_face": True, "sad_face": False}


class Drop(StrEnum):
    """Why a trial gives no window."""

    UNFINISHED = "the last trial has no end"
    NO_STIMULUS = "no stimulus"
    NO_RESPONSE = "no response at or after the stimulus"
    LATE_RESPONSE = "response later than max_response_s"
    NO_TARGET = "the target column holds no number"
    OUTSIDE = "the window runs past the recording"
    SAME_SAMPLE = "another trial's stimulus falls on the same sample"


@dataclass(frozen=True)
class Trial:
    """start_s <= time < stop_s. `response_s` is NaN without a response, `stimulus_s` without a stimulus.

    target: seconds from stimulus to response, or the number in the target column of the stimulus's row;
    drop: why the trial is unusable, None where it is usable.
    """

    start_s: float
    stop_s: float
    stimulus_s: float
    response_s: float
    correct: bool | None
    target: float
    drop: Drop | None


def trial_table(events: Events, rules: EventWindows, duration_s: float) -> list[Trial]:
    """Trials in order of time; the length of the list is the number of openings of a trial in the events.

    A trial runs from its `trial_start` to the next one, the last one to the last `trial_end`. Where the rules name
    such an event and the recording has none after it, the last trial is unfinished; where they name none, it ends
    with the recording. Its stimulus is the first in it, its response the first at or after the stimulus.
    """
    events = events.sorted()
    stimuli = events.rows_of(rules.mapping.stimulus)
    responses = events.rows_of(rules.mapping.response)
    openings = stimuli if rules.trial_start is None else events.rows_of([rules.trial_start])
    starts = events.onset_s[openings]
    stops = np.append(starts[1:], _end(events, rules, starts, duration_s))
    return [_trial(events, rules, start, stop, stimuli, responses) for start, stop in zip(starts, stops, strict=True)]


def _end(events: Events, rules: EventWindows, starts: np.ndarray, duration_s: float) -> list[float]:
    if not len(starts):
        return []
    if rules.trial_end is None:
        return [max(duration_s, float(starts[-1]))]
    ends = events.onset_s[events.rows_of([rules.trial_end])]
    return [float(ends[-1]) if len(ends) and ends[-1] > starts[-1] else NAN]


def _trial(
    events: Events, rules: EventWindows, start: float, stop: float, stimuli: np.ndarray, responses: np.ndarray
) -> Trial:
    if np.isnan(stop):
        return Trial(start, NAN, NAN, NAN, None, NAN, Drop.UNFINISHED)
    stimulus = _first(events.onset_s, stimuli, start, stop)
    if stimulus is None:
        return Trial(start, stop, NAN, NAN, None, NAN, Drop.NO_STIMULUS)
    stimulus_s = float(events.onset_s[stimulus])
    response = _first(events.onset_s, responses, stimulus_s, stop)
    response_s = NAN if response is None else float(events.onset_s[response])
    target = _target(events, rules, stimulus, response_s - stimulus_s)
    correct = None if response is None else _correct(events, response)
    drop = _why_unusable(rules, response_s - stimulus_s, target)
    return Trial(start, stop, stimulus_s, response_s, correct, target, drop)


def _first(onset_s: np.ndarray, rows: np.ndarray, start: float, stop: float) -> int | None:
    """The first of the rows in [start, stop); rows are in order of time."""
    i = int(np.searchsorted(onset_s[rows], start, side="left"))
    return int(rows[i]) if i < len(rows) and onset_s[rows[i]] < stop else None


def _target(events: Events, rules: EventWindows, stimulus: int, response_time: float) -> float:
    if rules.target == "response_time":
        return response_time
    if rules.target.startswith("events."):
        column = events.columns.get(rules.target.removeprefix("events."))
        return NAN if column is None else number(column[stimulus])
    return 0.0  # a trait: the subject's, filled in by whoever knows the subject


def _correct(events: Events, response: int) -> bool | None:
    feedback = events.columns.get("feedback")
    return None if feedback is None or feedback[response] in MISSING else FEEDBACK.get(feedback[response])


def _why_unusable(rules: EventWindows, response_time: float, target: float) -> Drop | None:
    if rules.mapping.response and np.isnan(response_time):
        return Drop.NO_RESPONSE
    if rules.max_response_s is not None and response_time > rules.max_response_s:
        return Drop.LATE_RESPONSE
    return Drop.NO_TARGET if np.isnan(target) else None
