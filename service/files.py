"""Files as responses: ranges, validators, and never more bytes than the file had when the answer began.

Logs and metrics grow while they are read; Starlette's FileResponse would send more than it announced.
"""

import mimetypes
import re
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from service.errors import RangeNotSatisfiable

CHUNK = 256 * 1024
SINGLE_RANGE = re.compile(r"^bytes=(\d{0,18})-(\d{0,18})$")
# Artefacts are shown as documents of nobody: no scripts, no cookies, no requests.
SANDBOX = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def send(request: Request, path: Path, *, name: str | None = None, media_type: str | None = None) -> Response:
    """The file or the range asked for; `name` makes it a download. Raises RangeNotSatisfiable."""
    stat = path.stat()
    size, etag = stat.st_size, f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"'
    headers = {
        "ETag": etag, "Last-Modified": formatdate(stat.st_mtime, usegmt=True), "Accept-Ranges": "bytes",
        "Content-Security-Policy": SANDBOX, "Cache-Control": "no-cache",
    }  # fmt: skip
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    if name:
        headers["Content-Disposition"] = f'attachment; filename="{name}"'
    media_type = media_type or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    found = _range(request, size, etag)
    start, end = found or (0, size)
    if found:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    headers["Content-Length"] = str(end - start)
    return StreamingResponse(_read(path, start, end), 206 if found else 200, headers, media_type=media_type)


def _range(request: Request, size: int, etag: str) -> tuple[int, int] | None:
    """[start, end) of a single range; several, or one for another version of the file, give the whole file."""
    asked = SINGLE_RANGE.match(request.headers.get("range", "").replace(" ", ""))
    if not asked or asked.groups() == ("", "") or request.headers.get("if-range", etag) != etag:
        return None
    first, last = asked.groups()
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if start >= size or start >= end:
        raise RangeNotSatisfiable(f"the file has {size} bytes", headers={"Content-Range": f"bytes */{size}"})
    return start, end


def _read(path: Path, start: int, end: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        while start < end and (chunk := file.read(min(CHUNK, end - start))):
            start += len(chunk)
            yield chunk
