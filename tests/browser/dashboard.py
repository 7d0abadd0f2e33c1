"""The dashboard of one stack in one browser. Knows how to open pages and what they complain about."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.stack import Stack

PATIENCE_MS = 120_000


@dataclass
class Dashboard:
    """The pages of one stack. `complaints` are the console's errors and every request to another origin."""

    stack: Stack
    context: Any
    complaints: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.stack.api_port}"

    @property
    def key(self) -> str:
        return json.loads(keys_file(self.stack.folder).read_text())["keys"][0]["key"]

    def page(self, where: str = "#/jobs", **viewport: int) -> Any:
        page = self.context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda message: self._hear(message))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self._watch(request.url))
        if viewport:
            page.set_viewport_size(viewport)
        page.goto(f"{self.url}/{where}")
        page.locator("h1").first.wait_for()
        return page

    def log_in(self) -> None:
        self.context.request.post(f"{self.url}/session", data={"key": self.key})

    def _hear(self, message: Any) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def _watch(self, url: str) -> None:
        if not url.startswith((self.url, "data:", "blob:")):
            self.complaints.append(f"asked for {url}")


def keys_file(folder: Path) -> Path:
    return folder / "keys.json"
