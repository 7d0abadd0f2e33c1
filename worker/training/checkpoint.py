"""Checkpoints: the state at step k on disk, whole or not at all. Written in the background, two are kept.

A folder holds state.safetensors and state.json (scalars and the digest). Knows names and bytes, not their meaning.
"""

import hashlib
import json
import os
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from worker.training.errors import CheckpointDamaged

KEPT = 2


@dataclass(frozen=True)
class Written:
    """A checkpoint that is safe on disk; `seconds` is what writing took."""

    step: int
    path: Path
    digest: str
    seconds: float


def write(folder: Path, tensors: dict[str, Tensor], scalars: dict[str, Any]) -> str:
    """Makes `folder` appear complete (write, fsync, rename, fsync of the parent); its SHA-256."""
    data = save({name: t.contiguous() for name, t in tensors.items()})
    digest = hashlib.sha256(data).hexdigest()
    parts = folder.with_name(f".{folder.name}.{os.getpid()}")
    parts.mkdir(parents=True, exist_ok=True)
    _write_synced(parts / "state.safetensors", data)
    _write_synced(parts / "state.json", json.dumps({**scalars, "digest": digest}).encode())
    if folder.exists():
        shutil.rmtree(folder)
    os.replace(parts, folder)
    _sync_folder(folder.parent)
    return digest


def read(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors on the CPU and the scalars. Raises CheckpointDamaged."""
    try:
        scalars = json.loads((folder / "state.json").read_bytes())
        data = (folder / "state.safetensors").read_bytes()
        if hashlib.sha256(data).hexdigest() != scalars["digest"]:
            raise CheckpointDamaged(f"{folder.name}: the digest does not match")
        return load(data), scalars
    except (FileNotFoundError, KeyError, ValueError, SafetensorError) as error:
        raise CheckpointDamaged(f"{folder.name}: {error}") from error


class Writer:
    """Writes one checkpoint at a time in a thread; `done()` hands over what has become durable since the last call."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._thread: threading.Thread | None = None
        self._finished: list[Written] = []
        self._error: OSError | None = None

    @property
    def busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def start(self, step: int, tensors: dict[str, Tensor], scalars: dict[str, Any]) -> None:
        """Copies the tensors now and writes them later; waits for the write before it."""
        self.wait()
        host = {name: t.detach().to("cpu", copy=True) for name, t in tensors.items()}
        self._thread = threading.Thread(target=self._write, args=(step, host, scalars), name="checkpoint")
        self._thread.start()

    def wait(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def done(self) -> list[Written]:
        """Raises OSError if the last write failed (a full disk)."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        finished, self._finished = self._finished, []
        return finished

    def _write(self, step: int, tensors: dict[str, Tensor], scalars: dict[str, Any]) -> None:
        started = time.monotonic()
        path = self._folder / str(step)
        try:
            digest = write(path, tensors, scalars)
            self._prune()
        except OSError as error:
            self._error = error
            return
        self._finished.append(Written(step, path, digest, time.monotonic() - started))

    def _prune(self) -> None:
        steps = sorted(int(p.name) for p in self._folder.iterdir() if p.name.isdigit())
        for step in steps[:-KEPT]:
            shutil.rmtree(self._folder / str(step), ignore_errors=True)


def fingerprint(device_kind: str, deterministic: bool) -> dict[str, Any]:
    """What must be equal for two runs to be bit-identical."""
    return {
        "torch": torch.__version__,
        "device_kind": device_kind,
        "threads": torch.get_num_threads(),
        "tf32": [torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32],
        "deterministic": deterministic,
    }


def _write_synced(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
