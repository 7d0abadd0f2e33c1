"""Which GPU of this machine computes rightly? Asked in a process of its own. Imports no torch here."""

import json
import subprocess
import sys

PROBE_TIMEOUT_S = 120.0


def probe(wanted: str = "auto") -> str | None:
    """The name of the first accelerator that passes the quick tests, or None."""
    command = [sys.executable, "-m", "worker.devices", "--probe", wanted]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, stdin=subprocess.DEVNULL
        )
        return json.loads(done.stdout.splitlines()[-1])["device"]
    except (subprocess.TimeoutExpired, IndexError, ValueError, KeyError):
        return None
