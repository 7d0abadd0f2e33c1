"""Waiting for a job's next change without holding a thread. Knows the hub, not HTTP."""

import asyncio
from collections.abc import Callable

from anyio import to_thread

from jobs.job import Job
from service.hub import EventHub


def etag(job: Job) -> str:
    """Steps moved to another pool are written to the ledger without an event, so they count too."""
    return f'"{job.revision}-{job.batches_moved}"'


async def newer(hub: EventHub, read: Callable[[str], Job], job_id: str, known: str | None, wait_s: float) -> Job:
    """The job, at once if its ETag is not `known`, else after its next change, its end or `wait_s`."""
    deadline = asyncio.get_running_loop().time() + wait_s
    with hub.listen(job_id) as news:
        job = await to_thread.run_sync(read, job_id)
        seen = known or etag(job)
        while etag(job) == seen and not job.state.final:
            left_s = deadline - asyncio.get_running_loop().time()
            if left_s <= 0 or not await news.arrive(left_s):
                break
            news.clear()
            job = await to_thread.run_sync(read, job_id)
    return job
