"""Errands, named datasets and pages of jobs on a real Redis."""

import pytest

from jobs.datasets import Source
from jobs.errands import ASK_AGAIN_S, ErrandKind, Errands, ErrandState
from jobs.errors import UnknownJob
from jobs.job import JobState, Pool
from jobs.registry import Registry
from jobs.spec import JobSpec


@pytest.fixture
def errands(client) -> Errands:
    return Errands(client, ErrandKind.SUBMISSION)


def test_an_errand_is_told_once_and_kept_when_done(errands):
    assert errands.ask("x", "ann", {"a": 1})[1]
    assert not errands.ask("x", "ann", {"a": 1})[1]
    assert errands.start("x").about == {"a": 1}
    errands.finish("x", {"ok": True})
    errand, tell = errands.ask("x", "ann", {"a": 1})
    assert (errand.state, errand.report, tell) == (ErrandState.DONE, {"ok": True}, False)
    assert errands.start("x") is None


def test_an_errand_that_is_asked_for_anew_forgets_its_report(errands):
    errands.ask("x", "ann", {})
    errands.finish("x", {"ok": True})
    errand, tell = errands.ask("x", "ann", {}, anew=True)
    assert tell
    assert errands.find("x").report is None
    assert errand.state is ErrandState.QUEUED


def test_an_errand_whose_message_was_lost_is_told_again(errands):
    errand, _ = errands.ask("x", "ann", {})
    assert not errand.overdue(errand.updated_at + ASK_AGAIN_S - 1)
    assert errand.overdue(errand.updated_at + ASK_AGAIN_S + 1)


def test_a_name_can_be_given_changed_and_taken_back(client):
    registry = Registry(client)
    registry.register("x", [Source("R1", "a")])
    registry.register("x", [Source("R1", "a"), Source("R2", "b")])
    assert [len(d.sources) for d in registry.datasets()] == [2]
    assert registry.forget("x")
    assert not registry.forget("x")


def test_pages_hold_still_while_jobs_change_their_state(store):
    ids = [store.submit(JobSpec(seed=i))[0].id for i in range(6)]
    first = store.page(state=JobState.QUEUED, limit=2)
    store.cancel(first[-1].id)
    rest = store.page(state=JobState.QUEUED, before=first[-1].id, limit=10)
    assert {j.id for j in first} | {j.id for j in rest} == set(ids)
    assert len(first) + len(rest) == 6


def test_a_filter_looks_past_the_first_page(store):
    wanted = store.submit(JobSpec(seed=1))[0].id
    for _ in range(5):
        store.submit(JobSpec())
    assert [j.id for j in store.page(limit=2, match=lambda job: job.spec.seed == 1)] == [wanted]


def test_a_page_behind_a_deleted_job_is_refused(store):
    job = store.submit(JobSpec())[0]
    store.cancel(job.id)
    store.delete(job.id)
    with pytest.raises(UnknownJob):
        store.page(before=job.id)


def test_a_report_of_nan_is_a_report_of_null(store, running_job):
    store.report(running_job, 1, [("metrics", {"loss": float("nan")}, {"best": {"value": float("inf")}})])
    assert store.events(running_job.job.id)[-1]["data"] == {"loss": None}
    assert store.get(running_job.job.id).best in ({"value": None}, {})
    store.settle(running_job, JobState.SUCCEEDED)
    assert store.claim(Pool.CPU, worker="w", device="cpu", lease_s=1) is None
