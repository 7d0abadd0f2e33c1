"""The worker's Celery app: settings are read here and nowhere else. `python -m worker --pool cpu` starts it.

The parent process keeps presence and device health (keeper); the one child is the supervisor (attempt).
"""

import multiprocessing
import os
from functools import cache

from celery.signals import worker_init, worker_process_init, worker_ready, worker_shutting_down

from jobs.dispatch import celery_app
from jobs.job import Pool
from worker import lane
from worker.keeper import Keeper
from worker.services import Services, open_services
from worker.settings import Takes, WorkerSettings
from worker.training.orphan import die_with_parent

settings = WorkerSettings()
redis_url = settings.url()
app = celery_app(redis_url)
app.conf.imports = ("worker.tasks",)

_draining = multiprocessing.Event()  # made before the fork: the child sees what the parent is told


@cache
def services() -> Services:
    """Of this process; never carried over a fork."""
    return open_services(
        settings, app, redis_url, device=chosen_device(), threads=settings.cores(), draining=_draining.is_set
    )


def chosen_device() -> str:
    """The pool's device: what the parent found to work, handed down through the environment."""
    return "cpu" if settings.pool is Pool.CPU else os.environ["EEGQ_CHOSEN_DEVICE"]


@cache
def keeper() -> Keeper:
    """Of the parent process."""
    return Keeper(open_services(settings, app, redis_url, chosen_device(), settings.cores(), _draining.is_set))


@worker_init.connect
def _vet_device(**_: object) -> None:
    keeper().vet()


@worker_ready.connect
def _start_keeper(**_: object) -> None:
    keeper().start()


@worker_process_init.connect
def _child(**_: object) -> None:
    die_with_parent(os.getppid())
    if settings.takes is Takes.JOBS:
        services().prepare_spare()
    if settings.takes is Takes.BATCHES:
        lane.warm(services())


@worker_shutting_down.connect
def _drain(**_: object) -> None:
    _draining.set()
