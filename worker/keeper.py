"""Keeper: a thread of the worker's parent process that says "I live" and has a suspect device tested.

Knows no job. While the device is not healthy the worker does not count for its pool.
"""

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import Any

from jobs.device import after_tests, may_be_tested
from jobs.errors import StoreUnavailable
from jobs.job import Pool
from worker.services import Services

BEAT_S = 5.0
TEST_TIMEOUT_S = 180.0


class Keeper(threading.Thread):
    def __init__(self, services: Services) -> None:
        super().__init__(name="keeper", daemon=True)
        self._services = services
        self._beat = threading.Thread(target=self._beat_for_ever, name="presence", daemon=True)

    def run(self) -> None:
        """Tests take long, so the beat has a thread of its own."""
        self._beat.start()
        if self._services.settings.pool is not Pool.GPU:
            return
        while not self._services.draining():
            with suppress(StoreUnavailable):
                self._test_if_due()
            time.sleep(1.0)

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
        ready = not services.settings.lane and services.fleet.device(services.device).health.takes_work
        services.fleet.beat(services.name, services.settings.pool, ready, self._info())

    def _info(self) -> dict[str, Any]:
        services = self._services
        return {"pid": os.getpid(), "device": services.device, "threads": services.threads, "volume": services.volume,
                "lane": services.settings.lane}  # fmt: skip

    def _test_if_due(self) -> None:
        services = self._services
        if not may_be_tested(services.fleet.device(services.device), time.time()):
            return
        results = test_device(services.device, "full")
        failed = [r for r in results if not r["ok"]]
        reason = f"{failed[0]['test']}: {failed[0]['detail']}" if failed else None
        passed = bool(results) and not failed
        services.fleet.change(services.device, lambda d: after_tests(d, passed, reason, time.time()), results)
        self.beat()
        services.ring_for_the_rest()


def test_device(device: str, level: str) -> list[dict[str, Any]]:
    """One row a test, from a process of its own; a test that kills it is named by the line in front of it."""
    command = [sys.executable, "-m", "worker.devices", "--device", device, "--level", level]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TEST_TIMEOUT_S, stdin=subprocess.DEVNULL)
        output, status = done.stdout, str(done.returncode)
    except subprocess.TimeoutExpired as error:
        output, status = (error.stdout or b"").decode(), "timeout"
    rows = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    begun = [r["test"] for r in rows if "ok" not in r]
    ended = [r for r in rows if "ok" in r]
    if status != "0" and len(begun) > len(ended):
        ended.append({"test": begun[-1], "ok": False, "detail": f"the test process died ({status})", "seconds": 0.0})
    return ended
