"""What the kernel's log says of GPUs: NVIDIA's Xid numbers, amdgpu's resets and timeouts. Imports no torch.

Read where the process may (root, or CAP_SYSLOG in a container); elsewhere there is nothing, and that is no error.
"""

import os
import re
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

KMSG = Path("/dev/kmsg")
ABOUT_GPUS = re.compile(r"NVRM|\bXid\b|amdgpu|\[drm|amdkfd|\bkfd\b")
XID = re.compile(r"NVRM: Xid \((?P<at>[^)]*)\): (?P<number>\d+)")
XID_MEANING = {
    48: "double-bit memory error",
    79: "fallen off the bus",
    94: "contained memory error",
    95: "uncontained memory error",
    119: "the card's own processor does not answer",
    120: "error of the card's own processor",
}
AMD_LOST = re.compile(r"GPU reset.*failed|GPU Recovery Failed|device lost from bus|Uncorrectable hardware error", re.I)
AMD_RESET = re.compile(
    r"ring \S+ timeout|GPU reset begin|MES failed to respond|\[gfxhub\d*\] page fault|GPU reset", re.I
)


@dataclass(frozen=True)
class Hint:
    """A line that matters. `broken`: the hardware is to blame and a person must look; `text` is the line."""

    text: str
    broken: bool
    xid: int | None = None

    def __str__(self) -> str:
        meaning = XID_MEANING.get(self.xid or 0)
        return f"kernel log: {self.text}" + (f" ({meaning})" if meaning else "")


def hints(since: float) -> list[Hint]:
    """What the kernel said of GPUs since a time (epoch seconds), worst first."""
    return judge(lines(since))


def judge(kernel_lines: Iterable[str]) -> list[Hint]:
    """The hints in these lines, worst first."""
    found = [hint for line in kernel_lines if (hint := _hint(line)) is not None]
    return sorted(found, key=lambda hint: not hint.broken)


def lines(since: float) -> list[str]:
    """The kernel's lines about GPUs since a time (epoch seconds); none where they may not be read."""
    for read in (_kmsg, _journal):
        found = read(since)
        if found is not None:
            return [line for line in found if ABOUT_GPUS.search(line)]
    return []


def _hint(line: str) -> Hint | None:
    line = line.strip()
    if match := XID.search(line):
        number = int(match["number"])
        return Hint(line, number in XID_MEANING, number)
    if AMD_LOST.search(line):
        return Hint(line, True)
    if ("amdgpu" in line or "kfd" in line) and AMD_RESET.search(line):
        return Hint(line, False)
    return None


def _kmsg(since: float, path: Path = KMSG) -> list[str] | None:
    """Records are `priority,number,microseconds since boot,flags;text`. Each read gives one; the end is EAGAIN."""
    oldest_us = (time.clock_gettime(time.CLOCK_BOOTTIME) - (time.time() - since)) * 1e6
    found = []
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        while record := _next(fd):
            head, _, text = record.partition(";")
            if float(head.split(",")[2]) >= oldest_us:
                found.append(text.splitlines()[0] if text else "")
    except PermissionError:
        return None
    finally:
        os.close(fd)
    return found


def _next(fd: int) -> str | None:
    while True:
        try:
            return os.read(fd, 8192).decode(errors="replace") or None
        except BlockingIOError:
            return None
        except BrokenPipeError:
            continue  # the record was overwritten while we read: go on with the next


def _journal(since: float) -> list[str] | None:
    command = ["journalctl", "--dmesg", "--output", "cat", "--no-pager", "--since", f"@{since:.0f}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.splitlines() if done.returncode == 0 else None
