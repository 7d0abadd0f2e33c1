import numpy as np
import pytest

from jobs.spec import CHALLENGES, EventMapping, EventWindows
from worker.data.events import Events
from worker.data.trials import Drop, trial_table

RULES = CHALLENGES["challenge1"]
START, TARGET, PRESS = "contrastTrial_start", "left_target", "right_buttonPress"


def events(*rows: tuple[float, str], **columns: tuple[str, ...]) -> Events:
    return Events(np.array([onset for onset, _ in rows]), np.array([label for _, label in rows]), columns)


def one_trial(*rows: tuple[float, str], rules: EventWindows = RULES, **columns: tuple[str, ...]):
    padded = {name: (*values, "n/a") for name, values in columns.items()}
    table = trial_table(events(*rows, (100.0, START), **padded), rules, 200.0)
    assert len(table) == 2
    return table[0]


def test_response_time_is_from_the_first_stimulus_to_the_first_response_after_it():
    trial = one_trial((0, START), (2, TARGET), (3, "right_target"), (3.5, PRESS), (4, "left_buttonPress"))
    assert (trial.stimulus_s, trial.response_s, trial.target) == (2, 3.5, 1.5)
    assert trial.drop is None


def test_a_press_before_the_stimulus_is_no_response():
    assert one_trial((0, START), (1, PRESS), (2, TARGET)).drop is Drop.NO_RESPONSE


def test_a_press_at_the_stimulus_is_a_response_of_zero_seconds():
    trial = one_trial((0, START), (2, TARGET), (2, PRESS))
    assert (trial.target, trial.drop) == (0.0, None)


def test_a_press_in_the_next_trial_is_not_this_trials():
    table = trial_table(events((0, START), (2, TARGET), (5, START), (5.5, PRESS), (9, START)), RULES, 20.0)
    assert [trial.drop for trial in table] == [Drop.NO_RESPONSE, Drop.NO_STIMULUS, Drop.UNFINISHED]


def test_a_wrong_answer_stays():
    rows = ((0, START), (2, TARGET), (3, PRESS))
    assert one_trial(*rows, feedback=("n/a", "n/a", "sad_face")).correct is False
    assert one_trial(*rows, feedback=("n/a", "n/a", "smiley_face")).correct is True
    assert one_trial(*rows, feedback=("n/a", "n/a", "non_target")).correct is None
    assert one_trial(*rows, feedback=("n/a", "n/a", "sad_face")).drop is None


def test_the_last_trial_ends_at_end_experiment_or_is_dropped():
    rows = ((0, START), (2, TARGET), (3, PRESS))
    assert [trial.drop for trial in trial_table(events(*rows), RULES, 20.0)] == [Drop.UNFINISHED]
    assert [trial.drop for trial in trial_table(events(*rows, (9, "end_experiment")), RULES, 20.0)] == [None]


def test_without_a_named_end_the_last_trial_ends_with_the_recording():
    rules = RULES.model_copy(update={"trial_end": None})
    assert trial_table(events((0, START), (2, TARGET), (3, PRESS)), rules, 20.0)[0].drop is None


def test_a_late_response_is_dropped_by_name():
    assert one_trial((0, START), (2, TARGET), (4.6, PRESS)).drop is Drop.LATE_RESPONSE


def test_without_a_trial_start_every_stimulus_opens_a_trial():
    rules = EventWindows(mapping=EventMapping(stimulus=("square",), response=("rt",)))
    table = trial_table(events((1, "square"), (1.4, "rt"), (2, "square"), (3, "square"), (3.3, "rt")), rules, 5.0)
    assert [trial.drop for trial in table] == [None, Drop.NO_RESPONSE, None]
    assert [round(trial.target, 6) for trial in table if trial.drop is None] == [0.4, 0.3]


def test_the_order_of_rows_does_not_matter():
    rows = [(0.0, START), (2.0, TARGET), (3.0, PRESS), (5.0, START)]
    assert trial_table(events(*rows[::-1]), RULES, 9.0) == pytest.approx(trial_table(events(*rows), RULES, 9.0))


def test_events_there_twice_change_no_usable_trial():
    rows = [(0.0, START), (2.0, TARGET), (3.0, PRESS), (5.0, START), (6.0, TARGET), (7.0, PRESS), (9.0, START)]
    usable = [t for t in trial_table(events(*rows), RULES, 20.0) if t.drop is None]
    doubled = [t for t in trial_table(events(*(row for row in rows for _ in "ab")), RULES, 20.0) if t.drop is None]
    assert [t.target for t in doubled] == [t.target for t in usable] == [1.0, 1.0]


def test_the_target_may_be_a_column_of_the_events():
    rules = RULES.model_copy(update={"target": "events.load", "mapping": EventMapping(stimulus=(TARGET,))})
    assert one_trial((0, START), (2, TARGET), rules=rules, load=("n/a", "3.5")).target == 3.5
    assert one_trial((0, START), (2, TARGET), rules=rules, load=("n/a", "n/a")).drop is Drop.NO_TARGET
    assert one_trial((0, START), (2, TARGET), rules=rules).drop is Drop.NO_TARGET


def test_no_events_make_no_trials():
    assert trial_table(events(), RULES, 10.0) == []
