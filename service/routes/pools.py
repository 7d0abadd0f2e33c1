"""Pools, workers and devices: what waits, who works, and whom we trust to."""

import time
from typing import Annotated

from fastapi import APIRouter, Path

from jobs.device import DeviceHealth, after_clearing, after_pause
from jobs.fleet import Worker
from jobs.job import JobState, Pool
from jobs.spec import Placement
from service.deps import Admin, Backend, BackendDep, Reader
from service.errors import NotFound
from service.schemas import DeviceView, Listing, PoolView, WorkerView

router = APIRouter(tags=["pools"])
DeviceId = Annotated[str, Path(max_length=128)]


@router.get("/pools")
def pools(backend: BackendDep, _: Reader) -> Listing[PoolView]:
    """What waits in each pool, for how long, and the workers that beat."""
    workers = backend.fleet.workers()
    running = [job.attempts[-1].pool for job in backend.store.page(state=JobState.RUNNING, limit=1000) if job.attempts]
    return Listing(data=[_pool(backend, placement, workers, running) for placement in Placement])


def _pool(backend: Backend, placement: Placement, workers: list[Worker], running: list[Pool]) -> PoolView:
    backlog = backend.fleet.backlog(placement)
    members = [worker for worker in workers if worker.pool == placement.value]
    return PoolView(
        pool=placement,
        depth=backlog.depth,
        oldest_s=backlog.oldest_s,
        running=sum(pool == placement.value for pool in running),
        workers=[WorkerView(**vars(worker)) for worker in members],
        advice=_advice(placement, members, backlog.depth),
    )


def _advice(placement: Placement, members: list[Worker], depth: int) -> str | None:
    if placement is Placement.AUTO or any(worker.ready for worker in members):
        return None
    if placement is Placement.CPU:
        return "0 CPU workers: start one with `python -m worker --pool cpu`"
    waiting = f"; {depth} jobs wait for a GPU alone" if depth else ""
    if members:
        return f"no GPU worker is ready, see /devices; auto jobs run on the CPU pool{waiting}"
    return f"0 GPU workers; auto jobs run on the CPU pool{waiting}"


@router.get("/devices")
def devices(backend: BackendDep, _: Reader) -> Listing[DeviceView]:
    """Every device ever seen: its health, why, and its last tests."""
    return Listing(data=[_device(health, tests) for health, tests in backend.fleet.devices()])


@router.get("/devices/{device_id}")
def device(device_id: DeviceId, backend: BackendDep, _: Reader) -> DeviceView:
    return _device(_known(backend, device_id), backend.fleet.tests(device_id))


@router.post("/devices/{device_id}/pause")
def pause(device_id: DeviceId, backend: BackendDep, _: Admin) -> DeviceView:
    """It takes no new job until it is cleared."""
    _known(backend, device_id)
    health = backend.fleet.change(device_id, lambda known: after_pause(known, time.time()))
    return _device(health, backend.fleet.tests(device_id))


@router.post("/devices/{device_id}/clear")
def clear(device_id: DeviceId, backend: BackendDep, _: Admin) -> DeviceView:
    """Ends a pause or a quarantine: the device works again once it has passed its tests."""
    _known(backend, device_id)
    health = backend.fleet.change(device_id, lambda known: after_clearing(known, time.time()))
    return _device(health, backend.fleet.tests(device_id))


def _known(backend: Backend, device_id: str) -> DeviceHealth:
    found = {health.device: health for health, _ in backend.fleet.devices()}
    if device_id not in found:
        raise NotFound(f"no device {device_id!r}", f"known: {', '.join(found) or 'none yet'}")
    return found[device_id]


def _device(health: DeviceHealth, tests: list[dict]) -> DeviceView:
    return DeviceView.model_validate({**vars(health), "tests": tests})
