"""What `eegq doctor` looks at: each check is a function that yields findings. Imports no engine library itself."""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eegq import local_redis
from eegq.client import Client
from eegq.errors import CannotStart, EegqError

LOW_DISK_GB = 5
TORCH = "import json, torch; v = torch.version; print(json.dumps([torch.__version__, v.cuda, v.hip]))"
BRAINDECODE = "import braindecode; print(braindecode.__version__)"
GPU_NODES = ("/dev/kfd", "/dev/dri/renderD128", "/dev/nvidia0")


@dataclass(frozen=True)
class Finding:
    """`verdict` is ok, note or fails."""

    check: str
    verdict: str
    detail: str
    hint: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def examine(gpu: bool) -> Iterator[Finding]:
    yield Finding("python", "ok", f"{platform.python_version()} at {sys.executable}")
    yield from _service()
    yield _redis()
    yield _disk(Path())
    yield _torch()
    yield _braindecode()
    yield from _device_nodes()
    if gpu:
        yield from _device_tests()


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
        return Finding("redis", "ok", local_redis.binary())
    except CannotStart as error:
        return Finding("redis", "note", "no Redis for `eegq up`", str(error).partition("\n")[2].strip())


def _disk(folder: Path) -> Finding:
    free_gb = shutil.disk_usage(folder).free / 1e9
    verdict, hint = ("ok", None) if free_gb > LOW_DISK_GB else ("note", "checkpoints need room: `eegq gc`")
    return Finding("disk", verdict, f"{free_gb:.0f} GB free at {folder.resolve()}", hint)


def _torch() -> Finding:
    answer, error = _python(TORCH)
    if error:
        return Finding("torch", "note", error, "only needed to train here: pip install 'eegq[worker]'")
    version, cuda, hip = json.loads(answer)
    return Finding("torch", "ok", f"{version}, {f'CUDA {cuda}' if cuda else f'ROCm {hip}' if hip else 'CPU only'}")


def _braindecode() -> Finding:
    answer, error = _python(BRAINDECODE)
    if error:
        return Finding("braindecode", "fails", error, f"{sys.executable} -m eegq.mend_torchaudio")
    return Finding("braindecode", "ok", answer)


def _device_nodes() -> Iterator[Finding]:
    for node in GPU_NODES:
        if not Path(node).exists():
            continue
        usable = os.access(node, os.R_OK | os.W_OK)
        group = Path(node).stat().st_gid
        hint = None if usable else f"join group {group}: sudo usermod -aG {group} $USER, then log in again"
        yield Finding(node, "ok" if usable else "fails", "readable and writable" if usable else "not accessible", hint)


def _device_tests() -> Iterator[Finding]:
    """The quick level of the device tests, on the first GPU that answers."""
    probe = _lines([sys.executable, "-m", "worker.devices", "--probe"])
    found = probe[-1] if probe else {}
    device = found.get("device")
    if not device:
        yield Finding("gpu", "note", found.get("reason") or "no answer", "auto jobs run on the CPU pool; docs/rocm.md")
        return
    rows = _lines([sys.executable, "-m", "worker.devices", "--device", device, "--level", "quick"])
    for row in rows:
        if "ok" in row:
            name = f"{device} {row.get('test') or row.get('capability')}"
            yield Finding(name, "ok" if row["ok"] else "fails", str(row.get("detail") or ""))
    if rows and "ok" not in rows[-1]:  # each test is named before it runs
        yield Finding(f"{device} {rows[-1].get('test')}", "fails", "the process died in this test", "docs/rocm.md")


def _python(code: str) -> tuple[str, str | None]:
    """(last line of output, None), or ("", why it failed), from a process of its own."""
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    if done.returncode:
        return "", (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    return done.stdout.strip().splitlines()[-1], None


def _lines(command: list[str]) -> list[dict[str, Any]]:
    """The JSON lines that a command prints; a test that kills its process leaves the ones in front of it."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
