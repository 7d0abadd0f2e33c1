"""submission.zip from jobs named by id: which challenge each is for is in its spec."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from eegq.errors import UsageError

if TYPE_CHECKING:
    from eegq.client import Client


def fetch_submission(client: "Client", job_ids: Sequence[str], to: Path) -> Path:
    """Has the zip built and tried out, then downloads it. Raises UsageError, ErrandFailed."""
    chosen: dict[str, str] = {}
    for job_id in job_ids:
        task = client.jobs.retrieve(job_id).spec.get("task")
        if not isinstance(task, str):
            raise UsageError(f"{job_id} was trained on windows of its own; a submission takes challenge jobs")
        if task in chosen:
            raise UsageError(f"{chosen[task]} and {job_id} are both for {task}")
        chosen[task] = job_id
    made = client.submissions.create(**chosen)
    return client.submissions.download(made["id"], to)
