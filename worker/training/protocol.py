"""The pipe between supervisor and trainer: JSON lines both ways over a socket pair. Imports no engine library.

Trainer to supervisor: hello, phase, progress, metrics, commit, checkpoint, ticket, warning, fault, done.
Supervisor to trainer: start, cancel, drain, pause, move_up, published (a checkpoint), answer.
Every message of the trainer carries `next_within_s`, its promise of when the next one comes.
"""

import json
import select
import socket
from typing import Any

VERSION = 1


class PipeClosed(Exception):
    """The other side has gone."""


class Channel:
    """One end of the pipe. Messages are dicts with a `type`."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = b""

    def send(self, type: str, **fields: Any) -> None:
        """Raises PipeClosed."""
        frame = json.dumps({"v": VERSION, "type": type, **fields}, allow_nan=False).encode() + b"\n"
        try:
            self._sock.sendall(frame)
        except OSError as error:
            raise PipeClosed(str(error)) from error

    def poll(self, timeout_s: float = 0.0) -> list[dict[str, Any]]:
        """Messages that have come, waiting up to `timeout_s` for the first. Raises PipeClosed once all are read."""
        if not select.select([self._sock], [], [], timeout_s)[0]:
            return []
        try:
            chunk = self._sock.recv(1 << 20)
        except OSError as error:
            raise PipeClosed(str(error)) from error
        if not chunk:
            raise PipeClosed("end of pipe")
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        return [json.loads(line) for line in lines]

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        self._sock.close()


def pair() -> tuple[Channel, socket.socket]:
    """The supervisor's end, and the socket that the trainer inherits."""
    ours, theirs = socket.socketpair()
    theirs.set_inheritable(True)
    return Channel(ours), theirs


def inherited(fd: int) -> Channel:
    """The trainer's end."""
    return Channel(socket.socket(fileno=fd))
