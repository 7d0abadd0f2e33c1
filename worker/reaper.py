"""The reaper: takes jobs back from workers that no longer beat, and rings pools whose bell was lost. Two may run.

Beside it, in a thread, alerts are sent: it is the one process that runs nobody's code and that jobs do not keep busy.
"""

import signal
import sys
import threading

import structlog

from jobs.alert import networks_of
from jobs.connection import connect
from jobs.dispatch import Bell, celery_app
from jobs.errors import StoreUnavailable
from jobs.fleet import Fleet
from jobs.job import Pool
from jobs.outbox import Outbox
from jobs.spec import Placement
from jobs.store import JobStore
from worker.alerts import Messenger
from worker.settings import WorkerSettings

EVERY_S = 2.0

log = structlog.get_logger()


def sweep(store: JobStore, fleet: Fleet, bell: Bell, lease_s: float) -> list[str]:
    """One round; the ids it took back."""
    reaped = store.reap(lease_s)
    auto = fleet.backlog(Placement.AUTO).depth
    for pool in Pool:
        wanted = min(fleet.backlog(pool).depth + auto, max(1, fleet.ready(pool)))
        for _ in range(wanted - fleet.rings(pool)):
            bell.ring(Placement(pool.value))
    return reaped


def main() -> int:
    settings = WorkerSettings()
    client = connect(settings.url())
    store, fleet, bell = JobStore(client), Fleet(client), Bell(celery_app(settings.url()))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    Messenger(store, Outbox(client), networks_of(settings.alert_networks), stop).start()
    while not stop.is_set():
        try:
            for job_id in sweep(store, fleet, bell, settings.lease_s):
                log.info("reaped", job=job_id)
        except StoreUnavailable as error:
            log.warning("redis_away", error=str(error))
        stop.wait(min(EVERY_S, settings.lease_s / 3))
    return 0


if __name__ == "__main__":
    sys.exit(main())
