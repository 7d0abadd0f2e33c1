"""Archive: an ended job becomes files in its run folder, even where whoever ended it died or had no disk.

Knows the store and the folder, not how a job is run.
"""

from contextlib import suppress
from pathlib import Path

from jobs.errors import UnknownJob
from jobs.ledger import Ledger
from jobs.store import JobStore
from worker.runfolder import RunFolder

MOST_EVENTS = 10_000


def file_job(store: JobStore, ledger: Ledger, runs: Path, job_id: str) -> None:
    """Its record, events and ledger as of now. Raises OSError."""
    job = store.get(job_id)
    RunFolder(runs, job_id).close(job, store.events(job_id, limit=MOST_EVENTS), ledger.runs(job_id))
    if job.state.final:
        store.filed(job_id)


def file_the_rest(store: JobStore, ledger: Ledger, runs: Path, volume: str) -> None:
    """Every job that has ended unfiled, but for those whose files lie on another volume."""
    for job_id in store.unfiled():
        try:
            checkpoint = store.get(job_id).checkpoint
        except UnknownJob:
            store.filed(job_id)
            continue
        if checkpoint is None or checkpoint.volume == volume:
            with suppress(OSError):
                file_job(store, ledger, runs, job_id)
