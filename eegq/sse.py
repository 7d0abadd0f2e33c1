"""Server-sent events, line by line (WHATWG HTML, "Parsing an event stream"). Knows no connection."""

import json

from eegq.resources import Event


class EventParser:
    """`feed` takes lines without their ends and returns an Event at each blank line that closes one.

    `last_id` is that of the last whole event: one that was cut off has to come again.
    """

    def __init__(self, last_id: str = "") -> None:
        self.last_id = self._id = last_id
        self._type, self._data = "", list[str]()

    def feed(self, line: str) -> Event | None:
        if not line:
            return self._close()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id" and "\0" not in value:
            self._id = value
        elif name == "event":
            self._type = value
        elif name == "data":
            self._data.append(value)
        return None

    def _close(self) -> Event | None:
        self.last_id = self._id
        kind, data = self._type or "message", "\n".join(self._data)
        self._type, self._data = "", []
        if not data:
            return None
        body = json.loads(data)
        inner = body.get("data", body) if isinstance(body, dict) else {"value": body}
        at = body.get("at") if isinstance(body, dict) else None
        return Event(id=self.last_id, type=kind, data=inner, at=at)
