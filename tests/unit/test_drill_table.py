"""`eegq drill` says what happened, for a batch that moved and for a job that did."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from eegq.cli.drilled import HEADINGS, rows_of, totals
from eegq.resources import Event, Job

BEGAN = datetime(2026, 11, 25, 12, tzinfo=UTC)


def events(*told: tuple[float, str, dict[str, Any]]) -> list[Event]:
    return [
        Event(id=str(i), type=kind, data=data, at=BEGAN + timedelta(seconds=at))
        for i, (at, kind, data) in enumerate(told)
    ]


BATCH = events(
    (0, "claimed", {"number": 1, "device": "standin:0"}),
    (2, "fault", {"kind": "out_of_memory", "device": "standin:0", "step": 25}),
    (2, "handed_off", {"step": 25, "reason": "out_of_memory"}),
    (2.4, "batch_returned", {"step": 25, "device": "cpu", "seconds": 0.4, "step_s": 0.1, "ok": True}),
    (9, "succeeded", {}),
)
JOB = events(
    (0, "claimed", {"number": 1, "device": "standin:0"}),
    (3, "requeued", {"pool": "cpu", "fault": {"kind": "killed", "message": "the trainer died (SIGABRT)"}}),
    (3.1, "claimed", {"number": 2, "device": "cpu", "resumed_at": 20}),
    (4.5, "phase", {"phase": "training"}),
    (9, "succeeded", {}),
)
LEDGER = [
    {"attempt": 1, "first": 0, "last": 19, "device": "standin:0"},
    {"attempt": 1, "first": 20, "last": 24, "device": "standin:0", "superseded": True},
    {"attempt": 2, "first": 20, "last": 119, "device": "cpu"},
]


def test_a_moved_batch_is_told_with_what_it_took() -> None:
    assert [2.4, "batch came back", "cpu", 25, 0.4] in rows_of(BATCH)
    assert [row[1] for row in rows_of(BATCH)][1:3] == ["fault: out_of_memory", "batch to the CPU pool"]


def test_a_moved_job_is_told_with_what_it_cost() -> None:
    job = Job(id="job_1", status="succeeded")
    assert totals(job, JOB, LEDGER) == {
        "recovered": "yes", "seconds in moves": 1.5, "steps replayed": 5, "steps that count": 120,
        "of them on cpu": 100, "of them on standin:0": 20,
    }  # fmt: skip


def test_a_job_that_did_not_recover_says_so() -> None:
    assert totals(Job(id="job_1", status="failed"), [], [])["recovered"] == "no: failed"


@pytest.mark.parametrize("told", [BATCH, JOB])
def test_every_row_fits_the_headings(told: list[Event]) -> None:
    assert {len(row) for row in rows_of(told)} == {len(HEADINGS)}
