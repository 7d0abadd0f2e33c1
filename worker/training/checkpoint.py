"""Checkpoints: the state at step k on disk, whole or not at all. Written in the background.

One may go only when a later one is where the job would resume: until somebody confirms that, it stays.

A folder holds state.safetensors and state.json (scalars and the digest). Knows names and bytes, not their meaning.
"""

import hashlib
import json
import os
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from worker.training.errors import CheckpointDamaged

UNCONFIRMED = 4  # so many may lie there before the writer waits: a queue that is away must not fill the disk


@dataclass(frozen=True)
class Written:
    """A checkpoint that is safe on disk; `seconds` is what writing took."""

    step: int
    path: Path
    digest: str
    seconds: float


def write(folder: Path, tensors: dict[str, Tensor], scalars: dict[str, Any]) -> str:
    """Makes `folder` appear complete (write, fsync, rename, fsync of the parent); its SHA-256.

    One that is there is left alone: a step has one state, and the job may be about to resume there.
    """
    if folder.exists():
        return json.loads((folder / "state.json").read_bytes())["digest"]
    data = save({name: t.contiguous() for name, t in tensors.items()})
    digest = hashlib.sha256(data).hexdigest()
    parts = folder.with_name(f".{folder.name}.{os.getpid()}")
    parts.mkdir(parents=True, exist_ok=True)
    _write_synced(parts / "state.safetensors", data)
    _write_synced(parts / "state.json", json.dumps({**scalars, "digest": digest}).encode())
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


def read_or_older(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The checkpoint, or where it is damaged the newest sound one of the same attempt. Raises CheckpointDamaged."""
    try:
        return read(folder)
    except CheckpointDamaged as error:
        for step in sorted(_steps(folder.parent), reverse=True):
            if step < int(folder.name):
                with suppress(CheckpointDamaged):
                    return read(folder.parent / str(step))
        raise error


class Writer:
    """Writes one checkpoint at a time in a thread; `done()` hands over what has become durable since the last call."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._thread: threading.Thread | None = None
        self._finished: list[Written] = []
        self._error: OSError | None = None
        self._confirmed = -1

    @property
    def busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    @property
    def behind(self) -> bool:
        """Whether too many wait to be confirmed."""
        return sum(step > self._confirmed for step in _steps(self._folder)) >= UNCONFIRMED

    def confirm(self, step: int) -> None:
        """The job resumes at `step` or later: what is older may go, but for one to fall back on."""
        self._confirmed = max(self._confirmed, step)

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
        older = [step for step in sorted(_steps(self._folder)) if step < self._confirmed]
        for step in older[:-1]:
            shutil.rmtree(self._folder / str(step), ignore_errors=True)


def digest_of(tensors: dict[str, Tensor], fingerprint: dict[str, Any]) -> str:
    """Of weights and moments, after that of what must be equal for them to be equal bit for bit."""
    state = hashlib.sha256()
    for name in sorted(tensors):
        if name.startswith(("model.", "optim.")):
            state.update(tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    where = hashlib.sha256(json.dumps(fingerprint, sort_keys=True).encode())
    return f"{where.hexdigest()[:8]}:{state.hexdigest()[:32]}"


def fingerprint(device_kind: str, deterministic: bool) -> dict[str, Any]:
    """What must be equal for two runs to be bit-identical."""
    return {
        "torch": torch.__version__,
        "device_kind": device_kind,
        "threads": torch.get_num_threads(),
        "tf32": [torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32],
        "deterministic": deterministic,
    }


def _steps(folder: Path) -> list[int]:
    return [int(p.name) for p in folder.iterdir() if p.name.isdigit()] if folder.exists() else []


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
