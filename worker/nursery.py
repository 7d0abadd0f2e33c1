"""Nursery, the supervisor's side: a process that has the libraries in memory and forks trainers. Knows no job."""

import ctypes
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from worker.trainer import Trainer
from worker.training.protocol import Channel, PipeClosed, pair
from worker.training.reports import START_S

PR_SET_CHILD_SUBREAPER = 36
LOOK_S = 0.1


class Nursery:
    """Must be started from the main thread, like a trainer."""

    def __init__(self) -> None:
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._sock, theirs = socket.socketpair()
        self._channel, self._warm = Channel(self._sock), False
        command = [
            sys.executable, "-m", "worker.training", "--nursery", str(theirs.fileno()), "--parent", str(os.getpid()),
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], start_new_session=True, stdin=subprocess.DEVNULL
        )
        theirs.close()

    @staticmethod
    def possible(device: str) -> bool:
        """Where trainers compute on the CPU, the stand-in's too: an accelerator's runtime does not survive a fork."""
        return sys.platform == "linux" and device.startswith(("cpu", "standin"))

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def trainer(self, meanwhile: Callable[[], None]) -> Trainer | None:
        """A new one, or None where the nursery fails. `meanwhile` is called often; it may raise."""
        if not self._warm:
            self._warm = self._hear(meanwhile) is not None
        channel, theirs = pair()
        born = None
        try:
            with suppress(OSError):
                socket.send_fds(self._sock, [b"1"], [theirs.fileno()])
                born = self._hear(meanwhile)
        finally:
            theirs.close()
            if born is None:  # it may still bear one: nobody must take that for the next
                channel.close()
                self.close()
        return None if born is None else Trainer(channel, Forked(born["pid"]))

    def _hear(self, meanwhile: Callable[[], None]) -> dict[str, Any] | None:
        """The next thing it says, or None where it has gone or takes too long."""
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            meanwhile()
            with suppress(PipeClosed):
                if said := self._channel.poll(LOOK_S):
                    return said[0]
                continue
            return None
        return None

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._sock.close()


class Forked:
    """A child that was forked for this process, seen like a Popen."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status: int | None = None

    def poll(self) -> int | None:
        """Its exit status once it has ended."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = os.waitstatus_to_exitcode(status) if pid else None
        return self._status
