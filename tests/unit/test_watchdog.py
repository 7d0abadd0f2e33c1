"""The watchdog: a promise that is broken, and time that does not count."""

from worker.watchdog import Watchdog


def test_a_broken_promise_is_seen_after_the_patience():
    dog = Watchdog(patience_s=5)
    dog.heard(30, now=0)
    assert not any(dog.expired(t) for t in range(0, 36))
    assert dog.expired(36)


def test_the_time_in_which_the_supervisor_itself_was_stopped_is_not_the_trainers():
    dog = Watchdog(patience_s=5)
    dog.heard(30, now=0)
    assert not dog.expired(1)
    assert not dog.expired(500)
    assert not any(dog.expired(500 + t) for t in range(1, 35))
    assert dog.expired(535)


def test_a_word_in_time_renews_the_promise():
    dog = Watchdog(patience_s=5)
    dog.heard(30, now=0)
    dog.heard(10, now=29)
    assert not dog.expired(44)
    assert dog.expired(45)
