"""Where the same bits are promised, steps that are computed again are compared with what they gave before."""

import pytest

from jobs.errors import ReplayDiffers
from jobs.ledger import Ledger

SAME, OTHER, ELSEWHERE = "f1:aaaa", "f1:bbbb", "f2:bbbb"


@pytest.fixture
def ledger(client) -> Ledger:
    return Ledger(client)


def replayed(ledger: Ledger, claim, digest: str, device: str = "cuda:0", reason: str = "") -> None:
    """Steps 20..29 a second time; the first time they were computed on cuda:0 and gave SAME."""
    ledger.commit(claim, 0, 29, "cuda:0", digest=SAME)
    ledger.resume(claim, 20)
    ledger.commit(claim, 20, 24, device, reason)
    ledger.commit(claim, 25, 29, device, digest=digest)


def test_a_replay_that_gives_the_same_is_as_if_it_had_not_been(ledger, running_job):
    replayed(ledger, running_job, SAME)
    assert [(r.first, r.last, r.superseded, r.digest) for r in ledger.runs(running_job.job.id)] == [
        (0, 19, False, None), (20, 29, True, SAME), (20, 24, False, None), (25, 29, False, SAME),
    ]  # fmt: skip


def test_a_replay_that_gives_another_state_is_refused(ledger, running_job):
    with pytest.raises(ReplayDiffers):
        replayed(ledger, running_job, OTHER)


@pytest.mark.parametrize(
    ("digest", "device", "reason"),
    [(ELSEWHERE, "cuda:0", ""), (OTHER, "cpu", ""), (OTHER, "cuda:0", "out_of_memory")],
    ids=["other software", "another device", "a batch moved"],
)
def test_what_was_not_promised_is_not_compared(ledger, running_job, digest, device, reason):
    replayed(ledger, running_job, digest, device, reason)
    assert ledger.runs(running_job.job.id)[-1].digest == digest
