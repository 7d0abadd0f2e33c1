"""Services: what a worker process holds while it lives: connections, its device, its warm spare. Knows no job."""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from celery import Celery

from jobs.connection import connect
from jobs.device import after_fault
from jobs.dispatch import Bell
from jobs.errands import ErrandKind, Errands
from jobs.errors import StoreUnavailable
from jobs.fault import Fault, Scope
from jobs.fleet import Fleet
from jobs.job import Pool
from jobs.ledger import Ledger
from jobs.spec import Placement
from jobs.store import JobStore
from jobs.tickets import Tickets
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

    def take_trainer(self) -> Trainer:
        """The warm spare if it lives, else a fresh one."""
        spare, self._spare = self._spare, None
        return spare if spare is not None and spare.alive else Trainer()

    def prepare_spare(self) -> None:
        if self.settings.warm_spare and self._spare is None and not self.draining():
            self._spare = Trainer()

    def blame_device(self, fault: Fault) -> None:
        """The breaker hears of a fault on this worker's accelerator."""
        if self.settings.pool is Pool.GPU and fault.scope in BLAMED:
            self.fleet.change(self.device, lambda device: after_fault(device, fault, time.time()))

    def ring(self, pool: Placement) -> None:
        """A ring that is lost is made up for by the reaper."""
        try:
            self.bell.ring(pool)
        except StoreUnavailable:
            return

    def ring_for_the_rest(self) -> None:
        """One ring took one job: if more wait, ring again."""
        try:
            waiting = self.fleet.backlog(self.settings.pool).depth + self.fleet.backlog(Placement.AUTO).depth
        except StoreUnavailable:
            return
        if waiting:
            self.ring(Placement(self.settings.pool.value))


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
