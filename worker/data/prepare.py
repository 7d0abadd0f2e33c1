"""From a spec and its sources to windows ready to train on: the whole data side of a job, in order.

Knows no model and no queue; reports through a callable.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from jobs.datasets import Source
from jobs.spec import JobSpec
from worker.data.assemble import assemble, preview
from worker.data.errors import DataError, StorageFull, infrastructure
from worker.data.eviction import evict
from worker.data.examine import Report, examine
from worker.data.plan import make_plan
from worker.data.preflight import Examined, PreflightReport, judge, summarise
from worker.data.prepared import Prepared, load, save
from worker.data.store import Store

DEFAULT_BUDGET_BYTES = 4 << 30

__all__ = ["Prepared", "Report", "check", "prepare"]


def prepare(
    spec: JobSpec,
    sources: Sequence[Source],
    data_dir: Path,
    cache_dir: Path,
    report: Report = lambda phase, detail: None,
    memory_budget_bytes: int = DEFAULT_BUDGET_BYTES,
    workers: int = os.cpu_count() or 1,
    steps_dir: Path | None = None,
    cache_limit_bytes: int | None = None,
) -> Prepared:
    """Reads each recording once, or not at all where that was done before, and returns the job's windows.

    report("preprocessing", {"recordings_done", "recordings", "eta_s"}) while recordings are built; the builders keep
    within the memory budget. What no job uses is evicted where the store exceeds its limit or the disk is full.
    Raises DataError (the job fails), StorageUnavailable (wait and try again).
    """
    arguments = (spec, sources, data_dir, cache_dir, report, memory_budget_bytes, workers, steps_dir)
    try:
        found = _prepare(*arguments)
    except StorageFull:
        if not evict(cache_dir, 0).freed_bytes:
            raise
        found = _prepare(*arguments)
    if cache_limit_bytes is not None:
        evict(cache_dir, cache_limit_bytes)
    return found


def check(
    spec: JobSpec,
    sources: Sequence[Source],
    data_dir: Path,
    cache_dir: Path,
    report: Report = lambda phase, detail: None,
    memory_budget_bytes: int = DEFAULT_BUDGET_BYTES,
    workers: int = os.cpu_count() or 1,
    steps_dir: Path | None = None,
) -> PreflightReport:
    """Preflight alone: the same reading and the same checks, but no split; what would fail a job is a warning."""
    try:
        plan = make_plan(spec, sources, data_dir, steps_dir)
        store = Store(cache_dir)
        examined = examine(plan, store, report, memory_budget_bytes, workers)
        summary = summarise(examined, spec.windows.target)
        return replace(summary, warnings=_verdict(examined, spec), preview=preview(plan, store, examined))
    except OSError as error:
        raise infrastructure(error) or DataError(f"a file cannot be read: {error}") from error


def _verdict(examined: Sequence[Examined], spec: JobSpec) -> tuple[str, ...]:
    try:
        judge(examined, spec.preflight)
    except DataError as error:
        return (f"a job would fail: {error}",)
    return ()


def _prepare(
    spec: JobSpec,
    sources: Sequence[Source],
    data_dir: Path,
    cache_dir: Path,
    report: Report,
    memory_budget_bytes: int,
    workers: int,
    steps_dir: Path | None,
) -> Prepared:
    try:
        plan = make_plan(spec, sources, data_dir, steps_dir)
        store = Store(cache_dir)
        if (known := load(store, plan.key)) is not None:
            return replace(known, custom_sources=plan.custom_sources)
        examined = examine(plan, store, report, memory_budget_bytes, workers)
        judge(examined, spec.preflight)
        saved = save(store, plan.key, *assemble(plan, store, examined))
        return replace(saved, custom_sources=plan.custom_sources)
    except OSError as error:
        raise infrastructure(error) or DataError(f"a file cannot be read: {error}") from error
