"""The Celery tasks: doorbells that translate and delegate. No logic."""

from typing import Any

from jobs.audit import AuditTicket
from jobs.batch import BatchTicket
from jobs.dispatch import EXPECT_BATCHES, RUN_AUDIT, RUN_BATCH, RUN_ERRAND, RUN_JOB
from jobs.errands import ErrandKind
from worker import attempt, errands, lane
from worker.app import app, services


@app.task(name=RUN_JOB)
def run_job(pool: str) -> None:
    """Pool `pool` has work; the store decides which job it is, or that there is none any more."""
    attempt.run(services())


@app.task(name=RUN_BATCH)
def run_batch(ticket: dict[str, Any]) -> None:
    lane.run(BatchTicket.from_dict(ticket), services())


@app.task(name=RUN_AUDIT)
def run_audit(ticket: dict[str, Any]) -> None:
    lane.audit(AuditTicket.from_dict(ticket), services())


@app.task(name=EXPECT_BATCHES)
def expect_batches(job_id: str) -> None:
    lane.expect(job_id, services())


@app.task(name=RUN_ERRAND[ErrandKind.SUBMISSION])
def build_submission(errand_id: str) -> None:
    errands.run(ErrandKind.SUBMISSION, errand_id, services())


@app.task(name=RUN_ERRAND[ErrandKind.PREFLIGHT])
def preflight_dataset(errand_id: str) -> None:
    errands.run(ErrandKind.PREFLIGHT, errand_id, services())
