"""The store on a real Redis: what a job's life may and may not do."""

import time

import pytest

from jobs.device import DeviceHealth, Health
from jobs.errors import IdempotencyConflict, LedgerGap, QuotaExceeded, StaleFence, UnknownJob, WrongState
from jobs.fault import Fault, FaultKind
from jobs.fleet import Fleet
from jobs.job import Checkpoint, Claim, JobState, Order, Outcome, Pool
from jobs.ledger import Ledger
from jobs.spec import JobSpec, Placement
from jobs.store import JobStore
from tests.conftest import wait_until

LOST = Fault(FaultKind.KILLED, "signal 9")


def claim(store: JobStore, pool: Pool = Pool.CPU, worker: str = "w", lease_s: float = 30) -> Claim | None:
    return store.claim(pool, worker=worker, device=f"{worker}-{pool}", lease_s=lease_s)


def submit(store: JobStore, owner: str = "default", **fields) -> str:
    return store.submit(JobSpec.model_validate({"dataset": "demo", **fields}), owner=owner)[0].id


def test_a_submitted_job_is_queued_and_tells_so(store, queued_job):
    assert queued_job.state is JobState.QUEUED
    assert [e["type"] for e in store.events(queued_job.id)] == ["submitted"]


def test_the_same_key_and_body_give_the_same_job(store, spec):
    first, made = store.submit(spec, idempotency_key="k")
    again, made_again = store.submit(spec, idempotency_key="k")
    assert made
    assert not made_again
    assert first.id == again.id


def test_the_same_key_with_another_body_is_a_conflict(store, spec):
    store.submit(spec, idempotency_key="k")
    with pytest.raises(IdempotencyConflict):
        store.submit(spec.model_copy(update={"seed": 1}), idempotency_key="k")


def test_a_quota_of_active_jobs_holds(store, spec):
    store.submit(spec, max_active=1)
    with pytest.raises(QuotaExceeded):
        store.submit(spec, max_active=1)


def test_one_job_is_claimed_once(store, queued_job):
    assert claim(store) is not None
    assert claim(store) is None


def test_priority_comes_before_age(store):
    submit(store)
    urgent = submit(store, priority=5)
    assert claim(store).job.id == urgent


def test_owners_take_turns(store):
    for _ in range(3):
        submit(store, owner="many")
    submit(store, owner="one")
    assert {claim(store).job.owner, claim(store).job.owner} == {"many", "one"}


def test_an_auto_job_waits_for_a_gpu_that_beats_but_not_for_one_that_has_gone(store, client):
    Fleet(client).beat("g", Pool.GPU, True, {})
    submit(store)
    assert claim(store, Pool.CPU) is None
    Fleet(client).beat("g", Pool.GPU, False, {})
    assert claim(store, Pool.CPU) is not None


def test_an_auto_job_that_waited_long_enough_goes_to_the_cpu(store, client):
    Fleet(client).beat("g", Pool.GPU, True, {})
    submit(store, gpu_wait_s=0)
    assert claim(store, Pool.CPU) is not None


def test_a_quarantined_device_takes_nothing(store, client, queued_job):
    from jobs.device import after_fault

    Fleet(client).change("w-gpu", lambda d: after_fault(d, Fault(FaultKind.HANG, "stuck"), 0.0))
    assert claim(store, Pool.GPU) is None
    assert claim(store, Pool.CPU) is not None


def test_a_requeued_job_keeps_its_place(store):
    first = submit(store)
    taken = claim(store)
    submit(store)
    store.requeue(taken, Placement.AUTO, LOST)
    assert claim(store).job.id == first


def test_a_requeue_sent_twice_happens_once(store, running_job):
    store.requeue(running_job, Placement.CPU, LOST, crashed=True)
    store.requeue(running_job, Placement.CPU, LOST, crashed=True)
    job = store.get(running_job.job.id)
    assert (job.state, job.pool, job.crashes, job.requeues) == (JobState.QUEUED, Placement.CPU, 1, 1)
    assert job.attempts[0].outcome is Outcome.REQUEUED


def test_a_newer_checkpoint_renews_the_crash_budget(store, running_job):
    store.requeue(running_job, Placement.CPU, LOST, crashed=True)
    again = claim(store)
    store.publish(again, Checkpoint(10, "runs/x/10", "vol"))
    assert store.get(again.job.id).crashes == 0


def test_a_zombie_can_write_nothing(store, running_job):
    assert store.reap(30) == []  # the first reap after a start extends the leases
    store.beat(running_job, lease_s=0)
    wait_until(lambda: store.reap(30) == [running_job.job.id])
    for write in (
        lambda: store.beat(running_job, 30),
        lambda: store.report(running_job, 1, [("x", {}, {})]),
        lambda: store.publish(running_job, Checkpoint(1, "p", "v")),
        lambda: store.settle(running_job, JobState.SUCCEEDED),
        lambda: store.requeue(running_job, Placement.CPU, LOST),
    ):
        with pytest.raises(StaleFence):
            write()
    assert store.get(running_job.job.id).state is JobState.QUEUED


def test_reports_sent_twice_are_told_once(store, running_job):
    messages = [("epoch", {"n": 1}, {"phase": "training"}), ("epoch", {"n": 2}, {})]
    store.report(running_job, 1, messages)
    store.report(running_job, 1, [*messages, ("epoch", {"n": 3}, {})])
    told = [e["data"]["n"] for e in store.events(running_job.job.id) if e["type"] == "epoch"]
    assert told == [1, 2, 3]
    assert store.get(running_job.job.id).phase == "training"


def test_events_are_numbered_without_gaps(store, running_job):
    store.settle(running_job, JobState.SUCCEEDED)
    assert [e["seq"] for e in store.events(running_job.job.id)] == [1, 2, 3]


def test_cancel_is_at_once_when_queued_and_a_flag_when_running(store, queued_job):
    assert store.cancel(queued_job.id).state is JobState.CANCELLED
    running = submit(store)
    taken = claim(store)
    assert store.cancel(running).cancel_requested
    assert store.beat(taken, 30) is Order.CANCEL
    store.settle(taken, JobState.CANCELLED)
    assert store.cancel(running).state is JobState.CANCELLED


def test_a_job_cancelled_while_its_worker_is_dead_ends_cancelled(store, running_job):
    store.cancel(running_job.job.id)
    store.reap(30)
    store.beat(running_job, lease_s=0)
    wait_until(lambda: store.reap(30))
    assert store.get(running_job.job.id).state is JobState.CANCELLED


def test_a_finished_job_cannot_be_cancelled(store, running_job):
    store.settle(running_job, JobState.SUCCEEDED)
    with pytest.raises(WrongState):
        store.cancel(running_job.job.id)


def test_a_held_job_is_not_claimed_until_it_is_resumed(store, queued_job):
    store.pause(queued_job.id)
    assert claim(store) is None
    store.resume(queued_job.id)
    assert claim(store) is not None


def test_only_ended_jobs_are_deleted(store, running_job):
    with pytest.raises(WrongState):
        store.delete(running_job.job.id)
    store.settle(running_job, JobState.FAILED, LOST)
    store.delete(running_job.job.id)
    with pytest.raises(UnknownJob):
        store.get(running_job.job.id)


def test_pages_are_newest_first(store):
    ids = [submit(store) for _ in range(3)]
    assert {j.id for j in store.page(limit=10)} == set(ids)
    page = store.page(limit=2)
    rest = store.page(limit=2, before=page[-1].id)
    assert [j.id for j in page + rest] == [j.id for j in store.page(limit=10)]
    assert store.page(state=JobState.RUNNING) == []


def test_a_checkpoint_on_another_volume_is_not_claimed(store, running_job):
    store.publish(running_job, Checkpoint(3, "p", "volume-a"))
    store.requeue(running_job, Placement.CPU, LOST)
    assert store.claim(Pool.CPU, worker="w", device="cpu", lease_s=9, volume="volume-b") is None
    assert store.claim(Pool.CPU, worker="w", device="cpu", lease_s=9, volume="volume-a") is not None


def moved_to_the_cpu(store) -> Claim:
    submit(store)
    store.requeue(claim(store, Pool.GPU), Placement.CPU, LOST, crashed=True)
    again = claim(store, Pool.CPU)
    store.publish(again, Checkpoint(5, "p", ""))
    store.report(again, 1, [("phase", {"phase": "training"}, {"phase": "training"})])
    return again


def test_a_moved_job_goes_back_when_a_healthy_gpu_is_idle(store, client):
    moved = moved_to_the_cpu(store)
    assert store.beat(moved, 30, stay_s=0) is None
    Fleet(client).beat("g", Pool.GPU, True, {})
    assert store.beat(moved, 30, stay_s=60) is None
    assert store.beat(moved, 30, stay_s=0) is Order.MOVE_UP


def test_a_moved_job_stays_while_another_waits_for_the_gpu_or_works_on_it(store, client):
    moved = moved_to_the_cpu(store)
    Fleet(client).beat("g", Pool.GPU, True, {})
    submit(store, placement="gpu")
    assert store.beat(moved, 30, stay_s=0) is None
    other = claim(store, Pool.GPU)
    assert store.beat(moved, 30, stay_s=0) is None
    store.settle(other, JobState.SUCCEEDED)
    assert store.beat(moved, 30, stay_s=0) is Order.MOVE_UP


def test_a_moved_job_stays_while_no_gpu_is_believed_healthy(store, client):
    moved, fleet = moved_to_the_cpu(store), Fleet(client)
    fleet.beat("g", Pool.GPU, True, {"device": "cuda:0"})
    fleet.change("cuda:0", lambda _: DeviceHealth("cuda:0", Health.SUSPECT))
    assert store.beat(moved, 30, stay_s=0) is None
    fleet.change("cuda:0", lambda _: DeviceHealth("cuda:0"))
    assert store.beat(moved, 30, stay_s=0) is Order.MOVE_UP


def test_a_moved_job_stays_until_it_is_past_the_step_that_failed(store, client):
    submit(store)
    fallen = claim(store, Pool.GPU)
    Ledger(client).commit(fallen, 0, 24, "cuda:0")
    store.publish(fallen, Checkpoint(20, "p", ""))
    store.requeue(fallen, Placement.CPU, LOST, crashed=True)
    moved = claim(store, Pool.CPU)
    store.report(moved, 1, [("phase", {"phase": "training"}, {"phase": "training"})])
    Fleet(client).beat("g", Pool.GPU, True, {})
    store.publish(moved, Checkpoint(25, "p", ""))
    assert store.beat(moved, 30, stay_s=0) is None
    store.publish(moved, Checkpoint(26, "p", ""))
    assert store.beat(moved, 30, stay_s=0) is Order.MOVE_UP


def test_a_job_that_asked_for_the_cpu_stays_there(store, client):
    submit(store, placement="cpu")
    taken = claim(store, Pool.CPU)
    store.publish(taken, Checkpoint(5, "p", ""))
    Fleet(client).beat("g", Pool.GPU, True, {})
    assert store.beat(taken, 30, stay_s=0) is None


def test_the_ledger_refuses_gaps_and_repeats_nothing(store, client, running_job):
    ledger = Ledger(client)
    ledger.commit(running_job, 0, 9, "cpu")
    ledger.commit(running_job, 0, 9, "cpu")
    ledger.commit(running_job, 10, 19, "cpu")
    with pytest.raises(LedgerGap):
        ledger.commit(running_job, 21, 22, "cpu")
    assert [(r.first, r.last) for r in ledger.runs(running_job.job.id)] == [(0, 19)]


def test_resuming_supersedes_the_rows_behind_the_checkpoint(store, client, running_job):
    ledger = Ledger(client)
    ledger.commit(running_job, 0, 19, "cpu")
    store.publish(running_job, Checkpoint(12, "p", ""))
    store.requeue(running_job, Placement.CPU, LOST)
    again = claim(store)
    ledger.resume(again, 12)
    ledger.commit(again, 12, 19, "cpu")
    rows = [(r.attempt, r.first, r.last, r.superseded) for r in ledger.runs(again.job.id)]
    assert rows == [(1, 0, 11, False), (1, 12, 19, True), (2, 12, 19, False)]


def test_a_store_of_another_schema_is_refused(store, client):
    from jobs import keys
    from jobs.errors import SchemaMismatch

    client.set(keys.SCHEMA_KEY, 99)
    with pytest.raises(SchemaMismatch):
        store.open()


def test_a_backoff_ends_though_nobody_claims(store, client, running_job):
    store.requeue(running_job, Placement.CPU, LOST, delay_s=0.05)
    assert Fleet(client).backlog(Pool.CPU).depth == 0
    wait_until(lambda: store.reap(30) == [] and Fleet(client).backlog(Pool.CPU).depth == 1)


def test_the_key_of_a_deleted_job_is_free_again(store, spec):
    first, _ = store.submit(spec, idempotency_key="k")
    store.cancel(first.id)
    store.delete(first.id)
    again, made = store.submit(spec, idempotency_key="k")
    assert made and again.id != first.id


def test_a_retry_from_the_beginning_is_not_one_from_the_last_state(store, spec):
    store.submit(spec, idempotency_key="k", parent_id="job_p")
    with pytest.raises(IdempotencyConflict):
        store.submit(spec, idempotency_key="k", parent_id="job_p", checkpoint=Checkpoint(8, "p", ""))


def test_after_an_outage_shorter_than_a_lease_nothing_is_reaped(store, running_job):
    """Whoever could not beat meanwhile gets a whole lease more, once."""
    store.reap(0.2)
    store.beat(running_job, 0.2)
    time.sleep(0.3)  # nobody beats and nobody reaps: Redis was away
    assert store.reap(0.2) == []
    wait_until(lambda: store.reap(0.2) == [running_job.job.id], timeout_s=5)


def test_an_attempt_that_begins_before_a_damaged_checkpoint_forgets_it(store, client, running_job):
    ledger = Ledger(client)
    ledger.commit(running_job, 0, 15, "cpu")
    store.publish(running_job, Checkpoint(16, "p", ""))
    store.requeue(running_job, Placement.CPU, LOST)
    again = claim(store)
    ledger.resume(again, 8)
    assert store.get(again.job.id).checkpoint is None
    assert [(r.first, r.last) for r in ledger.runs(again.job.id) if not r.superseded] == [(0, 7)]


def test_rings_are_counted_as_celery_keeps_them(client, redis_url):
    from jobs.dispatch import Bell, celery_app

    assert Fleet(client).rings(Pool.CPU) == 0
    Bell(celery_app(redis_url)).ring(Placement.CPU)
    assert Fleet(client).rings(Pool.CPU) == 1
