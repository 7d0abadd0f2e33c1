"""Where a job goes after its device computed wrongly, or cannot hold its batch; and audits give way to batches."""

import time

import pytest

from jobs.audit import AuditTicket, Finding, Verdict
from jobs.batch import BatchTicket
from jobs.errors import StaleFence
from jobs.fault import Fault, FaultKind
from jobs.fleet import Fleet
from jobs.job import Checkpoint, Claim, Pool
from jobs.ledger import Ledger
from jobs.spec import JobSpec, Placement
from jobs.store import JobStore
from jobs.tickets import Tickets

WRONG = Fault(FaultKind.WRONG_RESULT, "an audit found wrong numbers", 31, "cuda:0")
TOO_LARGE = Fault(FaultKind.TOO_LARGE, "a batch of 128 needs 7.1 GB", 0, "cuda:0")


@pytest.fixture
def on_gpu(store: JobStore) -> Claim:
    store.submit(JobSpec.model_validate({"placement": "gpu"}))
    claim = store.claim(Pool.GPU, worker="g", device="cuda:0", lease_s=30)
    assert claim is not None
    return claim


def claimed_by_cpu(store: JobStore) -> Claim:
    claim = store.claim(Pool.CPU, worker="c", device="cpu", lease_s=30)
    assert claim is not None
    return claim


def test_after_wrong_numbers_a_job_goes_back_to_its_last_audited_state(store, client, on_gpu):
    Ledger(client).commit(on_gpu, 0, 39, "cuda:0")
    store.audited(on_gpu, Checkpoint(20, "audited/20", ""))
    store.publish(on_gpu, Checkpoint(40, "checkpoints/1/40", ""))
    store.requeue(on_gpu, Placement.CPU, WRONG, crashed=True)
    assert claimed_by_cpu(store).job.checkpoint == Checkpoint(20, "audited/20", "")


def test_without_an_audited_state_it_begins_again(store, on_gpu):
    store.publish(on_gpu, Checkpoint(40, "checkpoints/1/40", ""))
    store.requeue(on_gpu, Placement.CPU, WRONG, crashed=True)
    assert claimed_by_cpu(store).job.checkpoint is None


def test_other_faults_resume_at_the_last_checkpoint(store, on_gpu):
    store.audited(on_gpu, Checkpoint(20, "audited/20", ""))
    store.publish(on_gpu, Checkpoint(40, "checkpoints/1/40", ""))
    store.requeue(on_gpu, Placement.CPU, Fault(FaultKind.KILLED, "died"), crashed=True)
    assert claimed_by_cpu(store).job.checkpoint == Checkpoint(40, "checkpoints/1/40", "")


def test_a_job_whose_batch_never_fits_does_not_go_back_to_the_gpu(store, client, on_gpu):
    store.requeue(on_gpu, Placement.CPU, TOO_LARGE, crashed=True)
    moved = claimed_by_cpu(store)
    store.report(moved, 1, [("phase", {"phase": "training"}, {"phase": "training"})])
    store.publish(moved, Checkpoint(50, "p", ""))
    Fleet(client).beat("g", Pool.GPU, True, {})
    assert store.beat(moved, 30, stay_s=0) is None


def audit_of(claim: Claim, first: int) -> AuditTicket:
    return AuditTicket(claim.job.id, claim.attempt, claim.fence, first, 1, "f", "v", time.time() + 30)


def batch_of(claim: Claim, step: int) -> BatchTicket:
    return BatchTicket(claim.job.id, claim.attempt, claim.fence, step, "b", "a", "v", time.time() + 30, "oom")


def test_an_audit_is_not_opened_while_a_batch_waits(client, on_gpu):
    tickets = Tickets(client)
    tickets.open(batch_of(on_gpu, 3), 30)
    assert not tickets.open_audit(audit_of(on_gpu, 2), 30)


def test_a_batch_is_opened_while_an_audit_is_under_way(client, on_gpu):
    tickets = Tickets(client)
    assert tickets.open_audit(audit_of(on_gpu, 2), 30)
    tickets.open(batch_of(on_gpu, 3), 30)
    assert tickets.take(batch_of(on_gpu, 3), "b1")


def test_an_audit_that_was_answered_makes_way_for_the_next(client, on_gpu):
    tickets, first = Tickets(client), audit_of(on_gpu, 2)
    assert tickets.open_audit(first, 30)
    assert not tickets.open_audit(audit_of(on_gpu, 9), 30)
    assert tickets.take(first, "b1")
    verdict = Verdict(Finding.AGREES, 2, 0.0, worker="b1")
    assert tickets.answer(first, verdict)
    assert tickets.verdict(first) == verdict
    assert tickets.open_audit(audit_of(on_gpu, 9), 30)


def test_an_attempt_that_was_superseded_opens_no_audit(store, client, on_gpu):
    store.requeue(on_gpu, Placement.CPU, WRONG)
    with pytest.raises(StaleFence):
        Tickets(client).open_audit(audit_of(on_gpu, 2), 30)


def test_a_lane_is_a_worker_that_beats_and_takes_batches(client):
    fleet = Fleet(client)
    fleet.beat("c", Pool.CPU, True, {"takes": "jobs"})
    assert fleet.lanes() == 0
    fleet.beat("b", Pool.CPU, False, {"takes": "batches"})
    assert fleet.lanes() == 1
