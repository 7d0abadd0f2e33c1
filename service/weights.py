"""Uploaded weights: safetensors files by name below the runs folder, checked to be such before they are kept.

Reads the header only; never a pickle.
"""

import asyncio
import json
import os
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.errors import BodyTooLarge, BodyTooSlow, MalformedBody

MAX_BYTES = 2 * 1024**3
QUIET_S = 30.0
MAX_HEADER_BYTES = 10 * 1024**2


@dataclass(frozen=True)
class Weights:
    """`tensors` is name -> [dtype, shape]."""

    name: str
    size: int
    uploaded_at: float
    tensors: dict[str, list[Any]]


class WeightsFolder:
    """`<runs>/weights/<name>.safetensors`."""

    def __init__(self, runs: Path) -> None:
        self._folder = runs / "weights"

    def find(self, name: str) -> Weights | None:
        path = self._path(name)
        return _weights(path) if path.is_file() else None

    def all(self) -> list[Weights]:
        return [_weights(path) for path in sorted(self._folder.glob("*.safetensors"))]

    def delete(self, name: str) -> bool:
        path = self._path(name)
        if not path.is_file():
            return False
        path.unlink()
        return True

    async def keep(self, name: str, chunks: AsyncIterator[bytes]) -> Weights:
        """Raises MalformedBody, BodyTooLarge, BodyTooSlow; nothing is kept of a file that is refused."""
        self._folder.mkdir(parents=True, exist_ok=True)
        draft = self._folder / f".{secrets.token_hex(8)}"
        try:
            await _write(draft, chunks)
            _tensors(draft)
            os.replace(draft, self._path(name))
        finally:
            draft.unlink(missing_ok=True)
        return _weights(self._path(name))

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.safetensors"


async def _write(path: Path, chunks: AsyncIterator[bytes]) -> None:
    written = 0
    with path.open("wb") as file:
        async for chunk in _in_time(chunks):
            written += len(chunk)
            if written > MAX_BYTES:
                raise BodyTooLarge(f"weights may have {MAX_BYTES} bytes")
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


async def _in_time(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Raises BodyTooSlow where nothing comes for a while."""
    while True:
        try:
            async with asyncio.timeout(QUIET_S):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise BodyTooSlow(f"nothing came for {QUIET_S:g} s") from None
        yield chunk


def _weights(path: Path) -> Weights:
    stat = path.stat()
    return Weights(path.stem, stat.st_size, stat.st_mtime, _tensors(path))


def _tensors(path: Path) -> dict[str, list[Any]]:
    """From the header: eight bytes of its length, then JSON of name -> dtype, shape, data_offsets."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
            raise MalformedBody("this is not a safetensors file")
        try:
            header = json.loads(file.read(length))
            header.pop("__metadata__", None)
            end = max(int(entry["data_offsets"][1]) for entry in header.values())
            tensors = {name: [entry["dtype"], entry["shape"]] for name, entry in header.items()}
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
            raise MalformedBody("this is not a safetensors file") from error
    if end != size - 8 - length:
        raise MalformedBody("this safetensors file is not whole")
    return tensors
