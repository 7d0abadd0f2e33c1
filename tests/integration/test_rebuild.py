"""A store that forgot everything gets its jobs back from the run folders."""

from pathlib import Path

import redis

from jobs.fault import Fault, FaultKind
from jobs.job import Checkpoint, JobState, Outcome, Pool
from jobs.ledger import Ledger
from jobs.restore import Restore
from jobs.spec import JobSpec, Placement
from jobs.store import JobStore
from service.rebuild import rebuild
from worker.archive import file_job, file_the_rest


def ended_job(store: JobStore, ledger: Ledger) -> str:
    """One crash, then a failure."""
    job, _ = store.submit(JobSpec(placement=Placement.CPU, priority=3), owner="ann")
    for attempt in (1, 2):
        claim = store.claim(Pool.CPU, worker="w", device="cpu", lease_s=30)
        assert claim
        ledger.commit(claim, 8 * (attempt - 1), 8 * attempt - 1, "cpu")
        store.publish(claim, Checkpoint(8 * attempt, f"{job.id}/checkpoints/1/8", ""))
        if attempt == 1:
            store.requeue(claim, Placement.CPU, Fault(FaultKind.KILLED, "signal 9", exit_status=-9), crashed=True)
    store.settle(claim, JobState.FAILED, Fault(FaultKind.DATA, "no trials"), {"a": 1})
    return job.id


def test_an_ended_job_comes_back_as_it_was(store: JobStore, client: redis.Redis, tmp_path: Path) -> None:
    ledger = Ledger(client)
    job_id = ended_job(store, ledger)
    file_job(store, ledger, tmp_path, job_id)
    before, events, runs = store.get(job_id), store.events(job_id), ledger.runs(job_id)
    client.flushall()
    assert rebuild(tmp_path, Restore(client)) == [job_id]
    assert store.get(job_id) == before
    assert store.events(job_id) == events
    assert ledger.runs(job_id) == runs
    assert [job.id for job in store.page(state=JobState.FAILED)] == [job_id]
    assert rebuild(tmp_path, Restore(client)) == [], "what is there is left alone"


def test_a_job_that_had_not_ended_is_queued_from_its_checkpoint(
    store: JobStore, client: redis.Redis, tmp_path: Path
) -> None:
    ledger = Ledger(client)
    job, _ = store.submit(JobSpec(placement=Placement.CPU))
    claim = store.claim(Pool.CPU, worker="w", device="cpu", lease_s=30)
    assert claim
    ledger.commit(claim, 0, 7, "cpu")
    store.publish(claim, Checkpoint(8, "p", ""))
    store.requeue(claim, Placement.CPU, Fault(FaultKind.STOPPED, "drain"))
    file_job(store, ledger, tmp_path, job.id)
    client.flushall()
    rebuild(tmp_path, Restore(client))
    again = store.claim(Pool.CPU, worker="w", device="cpu", lease_s=30)
    assert again
    assert (again.job.checkpoint.step, again.attempt) == (8, 2)
    assert again.fence > claim.fence + 1, "whoever held it before can write nothing"
    ledger.resume(again, 8)
    ledger.commit(again, 8, 9, "cpu")
    store.settle(again, JobState.SUCCEEDED)
    assert [e["seq"] for e in store.events(job.id)] == list(range(1, store.get(job.id).revision + 1))


def test_whoever_comes_by_files_what_has_ended(store: JobStore, client: redis.Redis, tmp_path: Path) -> None:
    job, _ = store.submit(JobSpec())
    store.cancel(job.id)
    assert store.unfiled() == [job.id]
    file_the_rest(store, Ledger(client), tmp_path, "v")
    assert store.unfiled() == []
    assert (tmp_path / job.id / "job.json").exists()


def test_results_of_a_lost_attempt_never_become_the_jobs(store: JobStore, client: redis.Redis, tmp_path: Path) -> None:
    from worker.runfolder import RunFolder

    job, _ = store.submit(JobSpec(placement=Placement.CPU))
    folder = RunFolder(tmp_path, job.id)
    claims = []
    for _ in range(2):
        claim = store.claim(Pool.CPU, worker="w", device="cpu", lease_s=30)
        assert claim
        claims.append(claim)
        staged = folder.path / f".results.{claim.fence}"
        staged.mkdir(parents=True)
        (staged / "scores.json").write_text(str(claim.fence))
        if len(claims) == 1:
            store.requeue(claim, Placement.CPU, Fault(FaultKind.KILLED, ""))
    zombie, winner = claims
    folder.adopt_results(zombie.fence)
    folder.adopt_results(winner.fence)
    folder.adopt_results(zombie.fence)
    assert (folder.path / "results" / "scores.json").read_text() == str(winner.fence)
    store.settle(winner, JobState.FAILED, Fault(FaultKind.DATA, "x"))
    file_job(store, Ledger(client), tmp_path, job.id)
    folder.adopt_results(zombie.fence)
    assert not (folder.path / "results" / "scores.json").exists(), "a job that failed has no results"
    assert store.get(job.id).attempts[0].outcome is Outcome.REQUEUED
