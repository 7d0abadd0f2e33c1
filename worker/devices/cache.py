"""Results of quick tests, kept for ten minutes in a small file: a job need not wait for what was just found out.

Only passes are kept. Knows no test; the key says on what they were run.
"""

import hashlib
import json
import os
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from worker.devices.bootrecord import boot_id

LIFE_S = 600.0
DRIVERS = (
    Path("/proc/driver/nvidia/version"),
    Path("/sys/module/amdgpu/version"),
    Path("/sys/module/amdgpu/srcversion"),
)
MATTERS = ("HSA_", "HIP_", "ROCR_", "CUDA_", "MIOPEN_", "PYTORCH_", "TORCH_")  # variables that change what is tested


def key_of(device: str, shapes_json: str) -> str:
    """Of the device, the software it runs on and the shapes."""
    try:
        torch_version = version("torch")
    except PackageNotFoundError:
        torch_version = ""
    drivers = [path.read_text() for path in DRIVERS if path.exists()]
    settings = sorted((k, v) for k, v in os.environ.items() if k.startswith(MATTERS))
    parts = [device, shapes_json, torch_version, drivers, settings, boot_id()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def kept(file: Path, key: str) -> list[dict[str, Any]] | None:
    """Rows of a pass not older than ten minutes."""
    entry = _read(file).get(key)
    return entry["rows"] if entry and 0 <= time.time() - entry["at"] < LIFE_S else None


def keep(file: Path, key: str, rows: list[dict[str, Any]]) -> None:
    entries = {k: e for k, e in _read(file).items() if 0 <= time.time() - e["at"] < LIFE_S}
    _write(file, {**entries, key: {"at": time.time(), "rows": rows}})


def forget(file: Path) -> None:
    """After a fault nothing that was found before it counts."""
    file.unlink(missing_ok=True)


def _read(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError):
        return {}


def _write(file: Path, entries: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}")
    part.write_text(json.dumps(entries))
    os.replace(part, file)
