"""An HTTP server that answers from a script, for the weather that a real service makes too rarely."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Seen:
    """One request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Answer:
    """`cut` closes the connection after that many bytes of the body, although more were announced."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    drop: bool = False


def answer(content: Any, status: int = 200, **headers: str) -> Answer:
    return Answer(status, json.dumps(content).encode(), headers)


@dataclass
class Server:
    url: str
    seen: list[Seen]


@contextmanager
def scripted(*answers: Answer | Callable[[Seen], Answer]) -> Iterator[Server]:
    """Gives one answer after the other; the last one again and again."""
    seen: list[Seen] = []
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with lock:
                seen.append(Seen(self.command, self.path, dict(self.headers), body))
                chosen = answers[min(len(seen), len(answers)) - 1]
            self.give(chosen if isinstance(chosen, Answer) else chosen(seen[-1]))

        do_GET = do_POST = do_DELETE = do_PUT = handle_any

        def give(self, chosen: Answer) -> None:
            self.close_connection = True
            if chosen.drop:
                return
            self.send_response(chosen.status)
            for name, value in {"Content-Length": str(len(chosen.body)), **chosen.headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(chosen.body[: chosen.cut])

        def log_message(self, *args: object) -> None:
            """Nothing: pytest's output is for the tests."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Server(f"http://127.0.0.1:{server.server_port}", seen)
    finally:
        server.shutdown()
        server.server_close()
