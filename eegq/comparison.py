"""Groups of jobs side by side: mean and spread of their scores, and the fields in which their specs differ."""

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from eegq import specs
from eegq.errors import UsageError
from eegq.resources import Job

if TYPE_CHECKING:
    from eegq.client import Client


def grouped(client: "Client", names: Sequence[str]) -> dict[str, list[Job]]:
    """Jobs by group; a job's id stands for itself. Raises UsageError for a group without jobs."""
    groups = {name: _members(client, name) for name in names}
    if empty := [name for name, jobs in groups.items() if not jobs]:
        raise UsageError(f"no jobs in group {', '.join(empty)} (`eegq submit --group` makes one)")
    return groups


def compare(groups: Mapping[str, Sequence[Job]]) -> list[dict[str, Any]]:
    """One row a group and distinct spec: number of jobs, mean, sample standard deviation, min and max of the score."""
    bundles = [(name, jobs) for name, members in groups.items() for jobs in _by_spec(members)]
    varied = specs.differences([jobs[0].spec for _, jobs in bundles])
    return [_row(name, jobs, varied) for name, jobs in bundles]


def _members(client: "Client", name: str) -> list[Job]:
    if name.startswith("job_"):
        return [client.jobs.retrieve(name)]
    return client.jobs.list(None, tag=specs.group_tag(name))


def _by_spec(jobs: Sequence[Job]) -> list[list[Job]]:
    """Jobs that differ in nothing but seed and tags stand together."""
    bundles: list[list[Job]] = []
    for job in jobs:
        for bundle in bundles:
            if not specs.differences([bundle[0].spec, job.spec]):
                bundle.append(job)
                break
        else:
            bundles.append([job])
    return bundles


def _row(name: str, jobs: Sequence[Job], varied: Sequence[str]) -> dict[str, Any]:
    scores = [job.best.value for job in jobs if job.best and job.best.value is not None]
    baselines = [job.best.baseline for job in jobs if job.best and job.best.baseline is not None]
    return {
        "group": name,
        "spec": {path: specs.field_of(jobs[0].spec, path) for path in varied},
        "jobs": len(jobs),
        "scored": len(scores),
        "mean": statistics.fmean(scores) if scores else None,
        "spread": statistics.stdev(scores) if len(scores) > 1 else None,
        "min": min(scores, default=None),
        "max": max(scores, default=None),
        "baseline": statistics.fmean(baselines) if baselines else None,
        "ids": [job.id for job in jobs],
    }
