"""`eegq` as a person types it, against a running service."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Terminal:
    """`folder` is where it is typed; `address` is how it finds the service."""

    folder: Path
    address: dict[str, str] = field(default_factory=dict)

    def eegq(self, *words: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "eegq", *words],
            cwd=self.folder, env=self._env(), input=stdin, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    def start(self, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "eegq", *words],
            cwd=self.folder, env=self._env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def _env(self) -> dict[str, str]:
        elsewhere = {"NO_COLOR": "1", "COLUMNS": "160", "XDG_CONFIG_HOME": str(self.folder / "config")}
        return {**os.environ, **elsewhere, **self.address}
