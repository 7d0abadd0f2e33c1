"""Keeper: threads of the worker's parent process that say "I live" and have a suspect device tested.

Knows no job. While the device is not healthy the worker does not count for its pool.
"""

import os
import threading
import time
from contextlib import suppress
from typing import Any

from jobs.device import after_reboot, after_start, after_tests, may_be_tested
from jobs.errors import StoreUnavailable
from jobs.job import Pool
from worker.devices import cache
from worker.devices.bootrecord import is_real
from worker.devices.probe import examine, failure_of
from worker.devices.readings import read
from worker.services import Services
from worker.settings import Takes

BEAT_S = 5.0
PATIENCE_S = 1.0


class Keeper(threading.Thread):
    def __init__(self, services: Services) -> None:
        super().__init__(name="keeper", daemon=True)
        self._services = services
        self._beat = threading.Thread(target=self._beat_for_ever, name="presence", daemon=True)
        self._crashed = False

    # --- before work ----------------------------------------------------------------------------------------------

    def vet(self) -> None:
        """Before the worker takes any work: a device that took the machine down is quarantined, any other real one
        must pass its tests first. Waits for Redis."""
        if self._services.settings.pool is not Pool.GPU:
            return
        while True:
            try:
                self._vet()
                return
            except StoreUnavailable:
                time.sleep(PATIENCE_S)

    def _vet(self) -> None:
        services, records = self._services, self._services.boot_records
        crashes = records.crashes(services.device)
        self._crashed = bool(crashes)
        unreported = [record.what for record in crashes if not record.reported]
        if unreported:
            services.fleet.change(services.device, lambda d: after_reboot(d, ", ".join(unreported), time.time()))
            records.report(services.device)
        if is_real(services.device):
            services.fleet.change(services.device, lambda d: after_start(d, time.time()))

    # --- while it works -------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Tests take long, so the beat has a thread of its own."""
        self._beat.start()
        if self._services.settings.pool is not Pool.GPU:
            return
        while not self._services.draining():
            with suppress(StoreUnavailable):
                self._forget_crashes_if_cleared()
                self._test_if_due()
            time.sleep(PATIENCE_S)

    def _beat_for_ever(self) -> None:
        while not self._services.draining():
            with suppress(StoreUnavailable):
                self.beat()
                self._services.file_the_rest()
            time.sleep(BEAT_S)
        with suppress(StoreUnavailable):
            self._services.fleet.beat(self._services.name, self._services.settings.pool, False, self._info())

    def beat(self) -> None:
        services = self._services
        ready = services.settings.takes is Takes.JOBS and services.fleet.device(services.device).health.takes_work
        services.fleet.beat(services.name, services.settings.pool, ready, self._info())

    def _info(self) -> dict[str, Any]:
        services = self._services
        readings = read(services.device)
        return {"pid": os.getpid(), "device": services.device, "threads": services.threads, "volume": services.volume,
                "takes": services.settings.takes, "readings": readings.to_dict() if readings else {}}  # fmt: skip

    def _forget_crashes_if_cleared(self) -> None:
        if self._crashed and not self._services.fleet.device(self._services.device).needs_a_person:
            self._services.boot_records.forget(self._services.device)
            self._crashed = False

    def _test_if_due(self) -> None:
        services = self._services
        if not may_be_tested(services.fleet.device(services.device), time.time()):
            return
        cache.forget(services.tests_cache)
        with services.boot_records.during(services.device, "its device tests"):
            rows = examine(services.device, "full")
        failure = failure_of(rows, services.device)
        services.fleet.change(services.device, lambda d: after_tests(d, failure, time.time()), rows)
        self.beat()
        services.ring_for_the_rest()
