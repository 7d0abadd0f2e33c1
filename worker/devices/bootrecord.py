"""What a GPU was doing when the machine went down: a record written before a test or a job, removed after it.

A record of an earlier boot means that the boot ended inside it: the device may not work again until a person says so,
else a card that crashes the machine would crash it at every start. Knows no store.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Record:
    """`what` ran on `device`; `boot_id` is the kernel's name for its own run. `reported`: the breaker has it."""

    device: str
    what: str
    boot_id: str
    at: float
    reported: bool = False

    def __str__(self) -> str:
        return f"the machine went down during {self.what}"


@dataclass
class Guard:
    """An open record; its file is locked while its process lives."""

    path: Path
    file: IO[str]


def is_real(device: str) -> bool:
    """Whether it can take the machine with it."""
    return device.startswith(("cuda", "mps"))


def boot_id() -> str:
    """Empty where the system has none: then no record ever names another boot."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


class BootRecords:
    """`folder` must lie on a disk that survives a reboot."""

    def __init__(self, folder: Path, boot: str | None = None) -> None:
        self._folder = folder
        self._boot = boot_id() if boot is None else boot

    def begin(self, device: str, what: str) -> Guard | None:
        """Durable before it returns. None for devices that cannot crash the machine."""
        if not is_real(device) or not self._boot:
            return None
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{device.replace(':', '-')}.{os.getpid()}.{time.monotonic_ns()}.json"
        file = open(path, "w")  # noqa: SIM115 - stays open: its lock says that the process lives
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps(asdict(Record(device, what, self._boot, time.time()))))
        file.flush()
        os.fsync(file.fileno())
        _sync_folder(self._folder)
        return Guard(path, file)

    def end(self, guard: Guard | None) -> None:
        if guard is not None:
            guard.path.unlink(missing_ok=True)
            _sync_folder(self._folder)
            guard.file.close()

    @contextmanager
    def during(self, device: str, what: str) -> Iterator[None]:
        guard = self.begin(device, what)
        try:
            yield
        finally:
            self.end(guard)

    def crashes(self, device: str | None = None) -> list[Record]:
        """Records of earlier boots. Those of this boot whose process died are removed: it was not the machine."""
        found = []
        for path in sorted(self._folder.glob("*.json")):
            record = _read(path)
            if record is None:
                continue
            if record.boot_id == self._boot:
                _remove_if_dead(path)
            elif device in (None, record.device):
                found.append(record)
        return found

    def report(self, device: str) -> None:
        """The breaker knows: the records stay, so that the next start does not touch the device either."""
        for path, record in self._of_earlier_boots(device):
            part = path.with_suffix(".part")
            part.write_text(json.dumps({**asdict(record), "reported": True}))
            os.replace(part, path)

    def forget(self, device: str) -> None:
        """A person has cleared the device."""
        for path, _ in self._of_earlier_boots(device):
            path.unlink(missing_ok=True)

    def _of_earlier_boots(self, device: str) -> list[tuple[Path, Record]]:
        found = [(path, _read(path)) for path in self._folder.glob("*.json")]
        return [(p, r) for p, r in found if r is not None and r.device == device and r.boot_id != self._boot]


def _read(path: Path) -> Record | None:
    """A record cut short by the crash still means one: its name holds the device."""
    try:
        return Record(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        device = path.name.split(".")[0].replace("-", ":")
        return Record(device, "something", "unknown", path.stat().st_mtime)


def _remove_if_dead(path: Path) -> None:
    with open(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
