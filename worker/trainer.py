"""Trainer: the process that computes, seen from outside. Started early as a warm spare, told later what to run.

It has a process group of its own and dies with this process. Knows no store, and not who forked it (worker/nursery.py).
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, Self

from worker.training.protocol import Channel, PipeClosed, pair

TERM_GRACE_S = 10.0
KILL_GRACE_S = 30.0
LAST_WORDS = 16_000  # the stacks that faulthandler writes are long


def nothing() -> None:
    return


class Process(Protocol):
    """A child of this process."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...


class Trainer:
    def __init__(self, channel: Channel, process: Process) -> None:
        self._channel, self._process = channel, process
        self._log: Path | None = None
        self._log_start = 0
        self._oom_kills = oom_kills()

    @classmethod
    def spawn(cls) -> Self:
        """Must be called from the main thread: the kernel ties the trainer's life to the thread that started it."""
        channel, theirs = pair()
        command = [
            sys.executable, "-m", "worker.training", "--channel", str(theirs.fileno()), "--parent", str(os.getpid()),
        ]  # fmt: skip
        process = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], start_new_session=True, stdin=subprocess.DEVNULL
        )
        theirs.close()
        return cls(channel, process)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def start(self, argv: list[str], log: Path) -> None:
        """Gives it its orders; from here on it writes to `log`."""
        self._log, self._log_start = log, log.stat().st_size if log.exists() else 0
        self._oom_kills = oom_kills()
        self.send("start", argv=argv, log=str(log))

    def send(self, type: str, **fields: Any) -> None:
        """A trainer that has gone is found out by `poll`."""
        try:
            self._channel.send(type, **fields)
        except PipeClosed:
            return

    def poll(self, timeout_s: float) -> tuple[list[dict[str, Any]], bool]:
        """Messages, and whether the pipe is closed: then it has ended or is about to."""
        try:
            return self._channel.poll(timeout_s), False
        except PipeClosed:
            return [], True

    def wait(self, meanwhile: Callable[[], None] = nothing) -> int | None:
        """Its exit status, like Popen's: negative is a signal. Ends what a closed pipe left running; None where even
        that fails. `meanwhile` is called often."""
        if not self._ends_within(TERM_GRACE_S, meanwhile):
            self.stop(meanwhile=meanwhile)
        self._signal_group(signal.SIGKILL)
        self._channel.close()
        return self._process.poll()

    def stop(self, term_grace_s: float = TERM_GRACE_S, meanwhile: Callable[[], None] = nothing) -> bool:
        """TERM to the group, then KILL; whether it died. A process stuck in the driver survives even that."""
        for sig, grace_s in ((signal.SIGTERM, term_grace_s), (signal.SIGKILL, KILL_GRACE_S)):
            self._signal_group(sig)
            if self._ends_within(grace_s, meanwhile):
                self._signal_group(signal.SIGKILL)
                return True
        return False

    def _ends_within(self, grace_s: float, meanwhile: Callable[[], None]) -> bool:
        until = time.monotonic() + grace_s
        while self.alive and time.monotonic() < until:
            meanwhile()
            time.sleep(0.02)
        return not self.alive

    def dump_stacks(self) -> None:
        """Every thread's stack goes to its log."""
        if self.alive:
            os.kill(self.pid, signal.SIGUSR1)
            time.sleep(0.2)

    def last_words(self) -> str:
        """The end of what this trainer wrote."""
        if self._log is None or not self._log.exists():
            return ""
        with open(self._log, "rb") as file:
            file.seek(max(self._log_start, self._log.stat().st_size - LAST_WORDS))
            return file.read().decode(errors="replace")

    def was_killed_for_memory(self) -> bool:
        return oom_kills() > self._oom_kills

    def _signal_group(self, sig: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, sig)
        except ProcessLookupError:
            return


def oom_kills(root: Path = Path("/")) -> int:
    """How often the kernel has killed for memory: in this cgroup where that is counted, else on this machine."""
    group = next((line[3:].strip() for line in _lines(root / "proc/self/cgroup") if line.startswith("0::")), "/")
    mounted = root / "sys/fs/cgroup"
    for counts in (mounted / group.lstrip("/") / "memory.events", mounted / "memory.events", root / "proc/vmstat"):
        kills = [int(line.split()[1]) for line in _lines(counts) if line.startswith("oom_kill ")]
        if kills:
            return kills[0]
    return 0


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
