"""Services: what a worker process holds while it lives: connections, its device, its warm spare. Knows no job."""

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celery import Celery

from jobs.connection import connect
from jobs.device import after_fault, blames_the_job
from jobs.dispatch import Bell
from jobs.errands import ErrandKind, Errands
from jobs.errors import StoreUnavailable
from jobs.fault import Fault, Scope
from jobs.fleet import Fleet
from jobs.job import Claim, Pool
from jobs.ledger import Ledger
from jobs.spec import Placement
from jobs.store import JobStore
from jobs.tickets import Tickets
from worker.archive import file_job, file_the_rest
from worker.devices import cache
from worker.devices.bootrecord import BootRecords
from worker.nursery import Nursery
from worker.runfolder import volume_id
from worker.settings import WorkerSettings
from worker.trainer import Trainer

BLAMED = {Scope.DEVICE, Scope.BATCH}


@dataclass
class Services:
    settings: WorkerSettings
    name: str
    device: str
    threads: int
    volume: str
    store: JobStore
    ledger: Ledger
    fleet: Fleet
    tickets: Tickets
    bell: Bell
    errands: dict[ErrandKind, Errands]
    draining: Callable[[], bool]
    _spare: Trainer | None = None
    _nursery: Nursery | None = None

    def claim(self) -> Claim | None:
        """The next job for this worker; None too while Redis is away: the reaper rings again."""
        settings = self.settings
        try:
            return self.store.claim(
                settings.pool, worker=self.name, device=self.device, lease_s=settings.lease_s, volume=self.volume
            )
        except StoreUnavailable:
            return None

    def take_trainer(self, meanwhile: Callable[[], None]) -> Trainer:
        """From the nursery or the warm spare if they live, else a fresh one. `meanwhile` is called often."""
        self.prepare_spare()
        trainer, self._spare = self._spare, None
        if self._nursery is not None:
            trainer = self._nursery.trainer(meanwhile)
        return trainer if trainer is not None and trainer.alive else Trainer.spawn()

    def prepare_spare(self) -> None:
        """So that the next trainer need not wait for its libraries."""
        if not self.settings.warm_spare or self.draining():
            return
        if not Nursery.possible(self.device):
            self._spare = self._spare or Trainer.spawn()
        elif self._nursery is None or not self._nursery.alive:
            self._nursery = Nursery()

    @property
    def boot_records(self) -> BootRecords:
        """What this machine's devices are busy with, in case it goes down."""
        return BootRecords(self.settings.cache / "boot")

    @property
    def tests_cache(self) -> Path:
        return self.settings.cache / "device-tests.json"

    def compiler_works(self) -> bool:
        """Whether torch.compile gave the right numbers in this device's last tests."""
        if self.settings.pool is not Pool.GPU:
            return False
        return any(row.get("capability") == "compile" and row["ok"] for row in self.fleet.tests(self.device))

    def readings(self) -> dict[str, Any]:
        """Memory, temperature and power of the device as of the worker's last beat, `device_` before their names."""
        try:
            info = self.fleet.info(self.name)
        except StoreUnavailable:
            return {}
        return {f"device_{name}": value for name, value in info.get("readings", {}).items()}

    def blame_device(self, fault: Fault, job_id: str = "") -> None:
        """The breaker hears of a fault on this worker's accelerator, unless the job kills every device it is given."""
        if self.settings.pool is not Pool.GPU or fault.scope not in BLAMED:
            return
        cache.forget(self.tests_cache)
        if not blames_the_job(job_id, self.device, [health for health, _ in self.fleet.devices()]):
            self.fleet.change(self.device, lambda device: after_fault(device, fault, time.time(), job_id))

    def file(self, job_id: str) -> None:
        """The job's record as files; what fails here is made up for by the keeper."""
        with suppress(StoreUnavailable, OSError):
            file_job(self.store, self.ledger, self.settings.runs, job_id)

    def file_the_rest(self) -> None:
        file_the_rest(self.store, self.ledger, self.settings.runs, self.volume)

    def ring(self, pool: Placement) -> None:
        """A ring that is lost is made up for by the reaper."""
        try:
            self.bell.ring(pool)
        except StoreUnavailable:
            return

    def ring_for_the_rest(self) -> None:
        """One ring took one job: if more wait and no ring does, ring again."""
        pool = self.settings.pool
        try:
            waiting = self.fleet.backlog(pool).depth + self.fleet.backlog(Placement.AUTO).depth
            rung = self.fleet.rings(pool)
        except StoreUnavailable:
            return
        if waiting and not rung:
            self.ring(Placement(pool.value))


def open_services(
    settings: WorkerSettings, celery: Celery, redis_url: str, device: str, threads: int, draining: Callable[[], bool]
) -> Services:
    client = connect(redis_url)
    return Services(
        settings, worker_name(settings), device, threads, volume_id(settings.runs), JobStore(client), Ledger(client),
        Fleet(client), Tickets(client), Bell(celery),
        {kind: Errands(client, kind) for kind in ErrandKind}, draining,
    )  # fmt: skip


def worker_name(settings: WorkerSettings) -> str:
    return settings.worker_name or f"{settings.pool}@{socket.gethostname()}"
