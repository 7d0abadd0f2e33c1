"""What `eegq doctor` finds: the service as this client sees it, then the machine, as the worker's own doctor sees it.

Imports no engine library: what needs one runs in `python -m worker.devices.doctor`, a process of its own.
"""

import json
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from eegq import local_redis
from eegq.client import Client
from eegq.errors import CannotStart, EegqError

MACHINE = [sys.executable, "-W", "ignore", "-m", "worker.devices.doctor"]


@dataclass(frozen=True)
class Finding:
    """`verdict` is ok, note or fails; `hint` says what to do."""

    check: str
    verdict: str
    detail: str
    hint: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def examine(gpu: bool) -> Iterator[Finding]:
    """With `gpu` the device tests too and, for an AMD card that fails them, the search for settings: minutes."""
    yield Finding("python", "ok", f"{platform.python_version()} at {sys.executable}")
    yield from _service()
    yield _redis()
    yield from _machine(gpu)


def _service() -> Iterator[Finding]:
    client = Client()
    where = f"{client.address.url} ({client.address.source})"
    try:
        pools = client.pools()
    except EegqError as error:
        yield Finding("service", "note", f"{where}: {error}", "start one with `eegq up`, or `eegq login URL`")
        return
    yield Finding("service", "ok", where)
    for pool in pools:
        ready = sum(1 for worker in pool.get("workers", []) if worker.get("ready"))
        yield Finding(f"{pool['pool']} pool", "ok", f"{ready} workers, {pool['depth']} waiting", pool.get("advice"))


def _redis() -> Finding:
    try:
        return Finding("redis-server", "ok", local_redis.binary())
    except CannotStart as error:
        return Finding("redis-server", "note", "none for `eegq up`", str(error).partition("\n")[2].strip())


def _machine(gpu: bool) -> Iterator[Finding]:
    """Its `redis` is the one a worker of this machine would use: only a worker's environment can name it."""
    command = [*MACHINE, *(["--gpu"] if gpu else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        for line in process.stdout:
            finding = Finding(**json.loads(line))
            if finding.check != "redis":
                yield finding
        said = process.stderr.read().strip().splitlines()
    if process.returncode not in (0, 1) or (process.returncode == 1 and said):
        yield Finding("machine", "note", said[-1] if said else f"exit status {process.returncode}",
                      "only needed to train here: pip install 'eegq[worker]'")  # fmt: skip
