"""The processes that `eegq up` starts: each in a session of its own, on a leash, ended by TERM and then KILL.

Knows nothing of what they do. Must be used from the main thread: the leash is tied to the thread that started it.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from eegq.errors import ChildDied

LEASH = Path(__file__).with_name("leash.py")
STOPPING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
HANDLED = STOPPING | {signal.SIGCHLD}


@dataclass(frozen=True)
class Child:
    name: str
    process: subprocess.Popen
    log: Path
    may_end: bool

    def tail(self, lines: int = 12) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Children:
    """Starts, watches and ends processes; they are ended in the reverse order of their start."""

    def __init__(self, logs: Path) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self._logs = logs
        self._being_stopped: set[str] = set()
        self.running: list[Child] = []

    def start(
        self, name: str, command: Sequence[str], env: Mapping[str, str], stdin: bytes = b"", may_end: bool = False
    ) -> Child:
        """Starts `command` with `env` on top of this process's environment; output goes to `<name>.log`."""
        log = self._logs / f"{name}.log"
        with signals_blocked(), log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **env},
                start_new_session=True,
            )
            child = Child(name, process, log, may_end)
            self.running.append(child)
        assert process.stdin is not None
        with suppress(BrokenPipeError), process.stdin:
            process.stdin.write(stdin)
        return child

    def check(self) -> None:
        """Raises ChildDied for the first child that has ended and should not have."""
        for child in self.running:
            status = child.process.poll()
            if status is not None and not child.may_end and child.name not in self._being_stopped:
                raise ChildDied(child.name, status, child.log, child.tail())

    def stop(self, child: Child, timeout_s: float) -> None:
        self._being_stopped.add(child.name)
        self._end([child], time.monotonic() + timeout_s)

    def stop_all(self, timeout_s: float) -> None:
        """TERM to all but the first-started, then to that one (the others report to it), then KILL to what is left."""
        deadline = time.monotonic() + timeout_s
        self._end(self.running[:0:-1], deadline)
        self._end(self.running[:1], max(deadline, time.monotonic() + 5.0))

    def _end(self, children: Sequence[Child], deadline: float) -> None:
        for child in children:
            with suppress(ProcessLookupError):
                child.process.terminate()
        for child in children:
            with suppress(subprocess.TimeoutExpired):
                child.process.wait(max(0.0, deadline - time.monotonic()))
            _kill_group(child)
            child.process.wait()
            self.running.remove(child)

    def kill_all(self, signum: int = 0, frame: FrameType | None = None) -> None:
        """KILL to everything at once; also what a second Ctrl-C does while the first one's clean-up waits."""
        for child in self.running:
            _kill_group(child)


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Ctrl-C waits until a child that was started is also known."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def watched(children: Children, stop_within_s: float) -> Iterator[None]:
    """Inside, whatever is being waited for, Ctrl-C, TERM and HUP raise KeyboardInterrupt and the death of a child
    raises ChildDied. On leaving all children are ended."""
    before = {signum: signal.signal(signum, _interrupt) for signum in STOPPING}
    before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: children.check())
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for signum in STOPPING:  # from here on the clean-up is not to be interrupted, only to be hurried
            signal.signal(signum, children.kill_all)
        children.stop_all(stop_within_s)
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _kill_group(child: Child) -> None:
    """Also after a clean end: what a child leaves in its group would be nobody's."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.process.pid, signal.SIGKILL)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
