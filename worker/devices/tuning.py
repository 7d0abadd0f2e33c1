"""Settings under which an AMD card computes rightly, found by trying: each in a process of its own, the fastest wins.

For cards that torch's build has no code for. Pure but for the runner it is given and the file it writes.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.devices.bootrecord import BootRecords
from worker.devices.probe import Rows, failure_of

OVERRIDE = "HSA_OVERRIDE_GFX_VERSION"
RDNA2 = ("10.3.0",)
OVERRIDES: dict[str, tuple[str, ...]] = {  # nearest relative first; RDNA 1 is not RDNA 2, so 10.3.0 comes last there
    **dict.fromkeys(("gfx1010", "gfx1011", "gfx1012", "gfx1013"), ("10.1.0", "10.3.0")),
    **dict.fromkeys(("gfx1031", "gfx1032", "gfx1033", "gfx1034", "gfx1035", "gfx1036"), RDNA2),
    **dict.fromkeys(("gfx902", "gfx909", "gfx90c"), ("9.0.0",)),
    **dict.fromkeys(("gfx1103",), ("11.0.0", "11.0.2")),
    **dict.fromkeys(("gfx1150", "gfx1151", "gfx1152", "gfx1153"), ("11.5.1", "11.0.0")),
}
# Families of MIOpen's convolution kernels to leave out, one after the other, where a convolution fails.
MIOPEN: tuple[dict[str, str], ...] = (
    {"MIOPEN_FIND_MODE": "2"},
    {"MIOPEN_DEBUG_CONV_WINOGRAD": "0"},
    {"MIOPEN_DEBUG_CONV_IMPLICIT_GEMM": "0"},
    {"MIOPEN_DEBUG_CONV_DIRECT": "0"},
    {"MIOPEN_DEBUG_CONV_WINOGRAD": "0", "MIOPEN_DEBUG_CONV_IMPLICIT_GEMM": "0", "MIOPEN_DEBUG_CONV_DIRECT": "0"},
)
MANAGED = (OVERRIDE, *sorted({name for settings in MIOPEN for name in settings}))
TRIAL = "a trial of"
IN_CONVOLUTIONS = ("convolution:", "training:")

Runner = Callable[[dict[str, str]], Rows]  # settings -> rows of the full device tests


@dataclass(frozen=True)
class Trial:
    """Settings, and why they failed or how fast they were (ms for two convolutions)."""

    settings: dict[str, str]
    failure: str | None
    convolution_ms: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return {"settings": self.settings, "failure": self.failure, "convolution_ms": self.convolution_ms}


def tune(gfx: str, device: str, run: Runner, records: BootRecords) -> Iterator[Trial]:
    """Tries without any setting, which ends it if all tests pass; else every override, and MIOpen's settings where only
    convolutions fail. What took the machine down before is not tried again."""
    crashed = {record.what for record in records.crashes(device)}
    for override in (None, *OVERRIDES.get(gfx, ())):
        base = {OVERRIDE: override} if override else {}
        plain = _try(base, device, run, records, crashed)
        yield plain
        if plain.failure is None and not base:
            return
        if plain.failure is None or plain.failure.startswith(IN_CONVOLUTIONS):
            for settings in MIOPEN:
                trial = _try({**base, **settings}, device, run, records, crashed)
                yield trial
                if trial.failure is None:
                    break


def fastest(trials: list[Trial]) -> Trial | None:
    """Of those that compute rightly."""
    right = [trial for trial in trials if trial.failure is None]
    return min(right, key=lambda trial: trial.convolution_ms or float("inf"), default=None)


def write_env(path: Path, settings: dict[str, str]) -> None:
    text = path.read_text() if path.exists() else ""
    path.write_text(merged(text, settings))


def merged(text: str, settings: dict[str, str]) -> str:
    """`.env` with these settings; every other line stays, and a managed one that is not wanted is commented out."""
    lines, left = [], dict(settings)
    for line in text.splitlines():
        key = re.match(r"\s*(?:export\s+)?(\w+)\s*=", line)
        if key is None or key[1] not in MANAGED:
            lines.append(line)
        elif key[1] in left:
            lines.append(f"{key[1]}={left.pop(key[1])}")
        elif key[1] not in settings:
            lines.append(f"# {line.strip()}   # taken out by eegq doctor --gpu")
    if left:
        lines += ["# found by eegq doctor --gpu", *(f"{name}={value}" for name, value in left.items())]
    return "\n".join(lines) + "\n"


def _try(settings: dict[str, str], device: str, run: Runner, records: BootRecords, crashed: set[str]) -> Trial:
    what = f"{TRIAL} " + (" ".join(f"{k}={v}" for k, v in settings.items()) or "no settings")
    if what in crashed:
        return Trial(settings, "not tried: the machine went down when it was tried before")
    with records.during(device, what):
        rows = run(settings)
    failure = failure_of(rows, device)
    took_ms = next((row["value"] for row in rows if row.get("measure") == "convolution_ms"), None)
    return Trial(settings, failure.message if failure else None, took_ms)
