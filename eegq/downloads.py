"""One artefact on its way into a file: whole or not at all, and going on where a transfer was cut off."""

import os
from collections.abc import Iterable
from pathlib import Path

import httpx

from eegq.calls import Call


class Download:
    """Bytes go into `<name>.part`; `to` appears when they are complete."""

    def __init__(self, path: str, to: Path) -> None:
        self._path, self._to = path, to
        self._part = to.with_name(f"{to.name}.part")
        to.parent.mkdir(parents=True, exist_ok=True)
        self._part.unlink(missing_ok=True)

    @property
    def call(self) -> Call[None]:
        """The request for what is still missing."""
        have = self._part.stat().st_size if self._part.exists() else 0
        return Call("GET", self._path, lambda response: None, headers={"Range": f"bytes={have}-"} if have else {})

    def open_mode(self, response: httpx.Response) -> str:
        """Append to what is there only where the service really sends the rest."""
        return "ab" if response.status_code == httpx.codes.PARTIAL_CONTENT else "wb"

    def write(self, response: httpx.Response, chunks: Iterable[bytes]) -> Path:
        with self._part.open(self.open_mode(response)) as file:
            for chunk in chunks:
                file.write(chunk)
        return self.finish()

    async def write_async(self, response: httpx.Response) -> Path:
        with self._part.open(self.open_mode(response)) as file:
            async for chunk in response.aiter_bytes():
                file.write(chunk)
        return self.finish()

    def finish(self) -> Path:
        os.replace(self._part, self._to)
        return self._to
