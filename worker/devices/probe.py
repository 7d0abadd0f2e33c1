"""Asks a process of its own about this machine's devices: does one compute rightly, and which is the first to?

Imports no torch: a worker's supervisor calls this. What the tests are, worker/devices/suite.py knows.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from jobs.fault import Fault, FaultKind
from worker.devices import cache
from worker.devices.bootrecord import BootRecords
from worker.devices.classify import classify_exit, first_line
from worker.devices.shapes import Shapes

COMMAND = (sys.executable, "-m", "worker.devices")
LIMIT_S = {"quick": 300.0, "full": 900.0, "list": 120.0}  # MIOpen compiles its kernels at their first use
KILL_GRACE_S = 10.0
LAST_WORDS = 4000

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Choice:
    """`device` is None where no accelerator passed; `reason` says why, or why not the ones before it."""

    device: str | None
    reason: str
    kind: str | None = None
    description: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def choose(
    wanted: str = "auto",
    shapes: Shapes | None = None,
    records: BootRecords | None = None,
    cache_file: Path | None = None,
) -> Choice:
    """Never by what the driver claims: by computing and comparing. `wanted` is auto or a device's name.

    A device that took the machine down is not touched; it is named all the same if there is no other, so that its
    worker can say so and wait for a person.
    """
    crashed = {r.device: str(r) for r in records.crashes()} if records else {}
    listed = _ask(["--list"], LIMIT_S["list"])
    found = [d for row in listed.rows for d in row.get("devices", [])]
    if wanted != "auto":
        found = [d for d in found if d["device"] in (wanted, f"{wanted}:0")]
    if not found:
        none = f"torch finds no {'accelerator' if wanted == 'auto' else wanted}"
        return Choice(None, listed.trouble() or next((r["why_none"] for r in listed.rows if "why_none" in r), none))
    reasons: list[str] = []
    for device in found:
        name = device["device"]
        if name in crashed:
            reasons.append(f"{name}: {crashed[name]}")
            continue
        with records.during(name, "its first tests") if records else nullcontext():
            rows = examine(name, "quick", shapes, cache_file)
        failure = failure_of(rows, name)
        if failure is None:
            return Choice(name, "; ".join([*reasons, "its quick tests passed"]), device["kind"], device["description"])
        reasons.append(f"{name}: {failure.message}")
    last_resort = next((d["device"] for d in found if d["device"] in crashed), None)
    return Choice(last_resort, "; ".join(reasons), found[0]["kind"], found[0]["description"])


def examine(
    device: str,
    level: str,
    shapes: Shapes | None = None,
    cache_file: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Rows:
    """One row a test or capability. A death, a hang and a process that cannot be killed are rows too."""
    text = (shapes or Shapes()).to_json()
    key = cache.key_of(device, text) if cache_file else ""
    if cache_file and level == "quick" and (rows := cache.kept(cache_file, key)) is not None:
        return rows
    asked = _ask(["--device", device, "--level", level, "--shapes", text], LIMIT_S[level], env)
    rows = [row for row in asked.rows if "ok" in row or "measure" in row]
    if not asked.ended_well:
        rows.append(_death(asked, device))
    if cache_file and failure_of(rows, device) is None:
        cache.keep(cache_file, key, rows)
    return rows


def failure_of(rows: Rows, device: str) -> Fault | None:
    """What the first failed test says of the device; None if all passed. Capabilities do not count."""
    tests = [row for row in rows if "test" in row]
    if not tests:
        return Fault(FaultKind.KILLED, "no test was run", device=device)
    failed = next((row for row in tests if not row["ok"]), None)
    if failed is None:
        return None
    kind = FaultKind(failed["fault"]) if "fault" in failed else FaultKind.WRONG_RESULT
    return Fault(kind, f"{failed['test']}: {failed['detail']}", device=device)


@dataclass(frozen=True)
class _Asked:
    """`status` is that of Popen; None: it did not end in time; `unkillable`: not even by SIGKILL."""

    rows: Rows
    status: int | None
    last_words: str
    unkillable: bool = False

    @property
    def ended_well(self) -> bool:
        """It said all it had to say: 1 is a failed test."""
        return self.status == 0 or (self.status == 1 and any(row.get("ok") is False for row in self.rows))

    def trouble(self) -> str:
        return "" if self.status == 0 else f"torch cannot be asked for devices: {first_line(self.last_words)}"


def _ask(arguments: list[str], limit_s: float, env: Mapping[str, str] | None = None) -> _Asked:
    command = [*COMMAND, *arguments, "--parent", str(os.getpid())]
    with tempfile.TemporaryFile("w+", errors="replace") as out, tempfile.TemporaryFile("w+", errors="replace") as err:
        process = subprocess.Popen(
            command, stdout=out, stderr=err, stdin=subprocess.DEVNULL, start_new_session=True, env=env
        )
        status, unkillable = _wait(process, limit_s)
        return _Asked(_rows(_text(out)), status, _text(err)[-LAST_WORDS:], unkillable)


def _wait(process: subprocess.Popen, limit_s: float) -> tuple[int | None, bool]:
    """Its status, None if it had to be ended, and whether it could not be."""
    try:
        return process.wait(limit_s), False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    try:
        process.wait(KILL_GRACE_S)
        return None, False
    except subprocess.TimeoutExpired:
        return None, True


def _text(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def _rows(text: str) -> Rows:
    rows = []
    for line in text.splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue  # libraries print too, and a death cuts a line
    return [row for row in rows if isinstance(row, dict)]


def _death(asked: _Asked, device: str) -> dict[str, Any]:
    """The row of the test or capability that was under way."""
    begun = next((row for row in reversed(asked.rows) if "ok" not in row and "measure" not in row), {"test": "start"})
    key = "capability" if "capability" in begun else "test"
    row = {key: begun[key], "ok": False, "seconds": 0.0}
    if asked.status is None:
        held = "; it cannot be killed: the driver holds it" if asked.unkillable else ""
        return {**row, "detail": f"did not end in time{held}", "fault": "hardware" if asked.unkillable else "hang"}
    fault = classify_exit(asked.status, asked.last_words, killed_for_memory=False, accelerator=True, device=device)
    return {
        **row,
        "detail": fault.message.replace("the trainer died", "the test process died"),
        "fault": fault.kind.value,
    }
