"""How long a trainer waits for a batch that it sent to the CPU pool."""

from worker.training.handoff import deadline_s


def test_a_batch_is_waited_for_half_a_minute_at_least():
    assert deadline_s(0.0) == deadline_s(0.5) == 30.0


def test_a_slow_model_is_given_ten_times_its_step():
    assert deadline_s(12.0) == 120.0
