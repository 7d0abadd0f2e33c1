"""Errands, the supervisor's half: a process of its own does the work, and what it says becomes the errand's report.

Knows neither zips nor recordings. A process prints its report as the last line of its output, or {"error": ...}.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

from jobs.errands import Errand, ErrandKind, Errands
from jobs.errors import StoreUnavailable
from worker.services import Services
from worker.settings import WorkerSettings

ZIP = "submission.zip"
LIMIT_S = {ErrandKind.SUBMISSION: 1800.0, ErrandKind.PREFLIGHT: 24 * 3600.0}
LOOK_S = 0.5
BEAT_S = 60.0
PATIENCE_RETRY_S = 1.0


@dataclass(frozen=True)
class Done:
    report: dict[str, Any]


@dataclass(frozen=True)
class Failed:
    """`reason` is for a person."""

    reason: str


def run(kind: ErrandKind, errand_id: str, services: Services) -> None:
    """Does one errand; where the worker is told to stop meanwhile, it is left to the next one."""
    errands = services.errands[kind]
    errand = errands.start(errand_id)
    if errand is None:
        return
    try:
        ending = _work(_COMMANDS[kind](errand, services.settings), LIMIT_S[kind], errands, errand, services)
    except OSError as error:
        ending = Failed(f"the worker's disk cannot be written: {error.strerror}")
    if ending is None:
        with suppress(StoreUnavailable):
            services.bell.errand(kind, errand_id)
    else:
        _settle(errands, errand_id, ending)


def _submission(errand: Errand, settings: WorkerSettings) -> list[str]:
    folder = settings.runs / errand.id
    folder.mkdir(parents=True, exist_ok=True)
    made_of = [f"--{challenge}={settings.runs / job}" for challenge, job in errand.about.items() if job]
    return ["worker.export", *made_of, "--out", str(folder / ZIP), "--json", *_folders(settings)]


def _preflight(errand: Errand, settings: WorkerSettings) -> list[str]:
    folder = settings.runs / "preflights" / errand.id
    folder.mkdir(parents=True, exist_ok=True)
    asked = folder / "asked.json"
    asked.write_text(json.dumps(errand.about))
    steps = ["--steps", str(settings.user_code)] if settings.user_code else []
    page = str(folder / "preflight.html")
    memory = ["--memory-gib", str(settings.memory_gib)]
    return ["worker.data", "check", "--spec", str(asked), "--html", page, *steps, *memory, *_folders(settings)]


def _folders(settings: WorkerSettings) -> list[str]:
    return ["--data", str(settings.data), "--cache", str(settings.cache)]


_COMMANDS: dict[ErrandKind, Callable[[Errand, WorkerSettings], list[str]]] = {
    ErrandKind.SUBMISSION: _submission,
    ErrandKind.PREFLIGHT: _preflight,
}


def _work(
    arguments: list[str], limit_s: float, errands: Errands, errand: Errand, services: Services
) -> Done | Failed | None:
    """Runs `python -m ARGUMENTS` to its end; None where the worker has to stop before that."""
    command = [sys.executable, "-m", "worker.training.orphan", str(os.getpid()), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": str(services.threads)}
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, env=environment, start_new_session=True
        )
        try:
            stopped = _watch(process, time.monotonic() + limit_s, errands, errand, services)
        finally:
            _end(process)
        return stopped if isinstance(stopped, Failed | None) else _ending(process.returncode, output, errors)


def _watch(
    process: subprocess.Popen, deadline: float, errands: Errands, errand: Errand, services: Services
) -> bool | Failed | None:
    """True when it has ended by itself, None when the worker stops; says now and then that somebody is at it."""
    beat_at = time.monotonic() + BEAT_S
    while process.poll() is None:
        if services.draining():
            return None
        if time.monotonic() > deadline:
            return Failed("it took too long and was ended")
        if time.monotonic() > beat_at:
            beat_at += BEAT_S
            with suppress(StoreUnavailable):
                errands.start(errand.id)
        with suppress(subprocess.TimeoutExpired):
            process.wait(LOOK_S)
    return True


def _end(process: subprocess.Popen) -> None:
    """Nothing of it stays, its own processes included."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _ending(status: int, output: IO[bytes], errors: IO[bytes]) -> Done | Failed:
    said = [line for line in _lines(output) if line.startswith("{")]
    report = json.loads(said[-1]) if said else {}
    if status == 0 and report:
        return Done(report)
    if "error" in report:
        return Failed(". ".join(filter(None, [report["error"], report.get("remedy")])))
    if status < 0:
        return Failed(f"its process was ended by {signal.Signals(-status).name}; is there enough memory?")
    return Failed((_lines(errors) or [f"its process ended with status {status}"])[-1])


def _lines(file: IO[bytes]) -> list[str]:
    file.seek(0)
    return file.read().decode(errors="replace").strip().splitlines()


def _settle(errands: Errands, errand_id: str, ending: Done | Failed) -> None:
    """Waits for Redis as long as it takes."""
    while True:
        try:
            match ending:
                case Done(report):
                    errands.finish(errand_id, report)
                case Failed(reason):
                    errands.fail(errand_id, reason)
            return
        except StoreUnavailable:
            time.sleep(PATIENCE_RETRY_S)
