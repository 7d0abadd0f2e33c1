"""How long a connection may keep us: for a request that does not come whole, and for an answer that nobody takes.

uvicorn's own keep-alive limit ends with the first byte; here a client that sends or reads one byte now and then is let
go too. Bodies have a limit of their own where they are read (service/body.py).
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 10.0
STALLED_S = 60.0


class PatientProtocol(H11Protocol):
    _waits_for_request: asyncio.TimerHandle | None = None
    _waits_for_reader: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait_for_request()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._wait_for_request()
        elif self._waits_for_request is not None:
            self._waits_for_request.cancel()
            self._waits_for_request = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._waits_for_reader = self.loop.call_later(STALLED_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._waits_for_reader is not None:
            self._waits_for_reader.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._waits_for_request, self._waits_for_reader):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def _wait_for_request(self) -> None:
        """From the connection or the first byte on; further bytes win no time."""
        if self._waits_for_request is None and not self.transport.is_closing():
            self._waits_for_request = self.loop.call_later(HEAD_S, self.transport.abort)
