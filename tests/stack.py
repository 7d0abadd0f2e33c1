"""A whole queue as real processes, for tests and benchmarks to kill: Redis, reapers, workers, the API.

Knows how to start, find and hit processes, not what should come of it.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs.connection import connect
from jobs.datasets import scan, select
from jobs.dispatch import Bell, celery_app
from jobs.errors import StoreUnavailable
from jobs.fleet import Fleet
from jobs.job import Job
from jobs.ledger import Ledger
from jobs.spec import JobSpec
from jobs.store import JobStore
from tests.redis_server import RedisServer, free_port

ROOT = Path(__file__).parents[1]
TINY: dict[str, Any] = {"dataset": "demo", "model": "SCCNet", "placement": "cpu"}


def tiny(epochs: int = 10, seed: int = 0, **fields: Any) -> JobSpec:
    """A few seconds of training; ten steps an epoch or so."""
    training = {"epochs": epochs, "batch_size": 8}
    return JobSpec.model_validate({**TINY, "training": training, "seed": seed, **fields})


def make_data(folder: Path) -> Path:
    """The simulated recordings that the tiny jobs train on; made once."""
    if not (folder / "demo").exists():
        command = ["-m", "worker.data.simulate", str(folder / "demo"), "--subjects", "4", "--trials", "12"]
        subprocess.run([sys.executable, *command], check=True, cwd=ROOT, capture_output=True)
    return folder


@dataclass
class Stack:
    """`data` is made by `make_data`. Everything else lies below `folder`, or in memory."""

    folder: Path
    data: Path
    lease_s: float = 3.0
    settings: dict[str, str] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.runs = self.folder / "runs"
        self.redis = RedisServer(self.folder / "redis").start()
        self.client = connect(self.redis.url)
        self.store, self.ledger, self.fleet = JobStore(self.client), Ledger(self.client), Fleet(self.client)
        self.bell = Bell(celery_app(self.redis.url))
        self.store.open()
        self.api_port = free_port()

    # --- processes ------------------------------------------------------------------------------------------------

    def start(self, name: str, **settings: str) -> None:
        """`reaper-1`, `api`, `cpu-1`, `gpu-1` (the stand-in), `batch-1`: the kind is what stands before the dash."""
        kind = name.partition("-")[0]
        command = {
            "reaper": ["-m", "worker.reaper"],
            "api": ["-m", "service"],
        }.get(kind, ["-m", "worker", "--pool", kind, "--name", name])
        with open(self.folder / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, *command], cwd=ROOT, env=self._environment() | settings, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """And waits for its end, unless the signal is not meant to end it."""
        process = self.processes[name]
        process.send_signal(number)
        if number == signal.SIGKILL:
            process.wait()

    def power_cut(self) -> None:
        """Everything at once, Redis too."""
        for process in self.processes.values():
            process.send_signal(signal.SIGKILL)
        self.redis.kill()
        for process in self.processes.values():
            process.wait()

    def close(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.redis.stop()

    def supervisor(self, name: str) -> int | None:
        """The process id of a worker's one child, which runs attempts."""
        found = [pid for pid, parent in parents() if parent == self.processes[name].pid and is_celery(pid)]
        return found[0] if found else None

    def trainer(self, job_id: str) -> int | None:
        """The process id of the trainer that was last given the job."""
        told = [e["data"] for e in self.store.events(job_id, limit=10_000) if "trainer_pid" in e["data"]]
        return told[-1]["trainer_pid"] if told else None

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ, "PYTHONPATH": str(ROOT), "EEGQ_REDIS_URL": self.redis.url, "EEGQ_RUNS": str(self.runs),
            "EEGQ_DATA": str(self.data), "EEGQ_CACHE": str(self.data / ".cache"), "EEGQ_LEASE_S": str(self.lease_s),
            "EEGQ_THREADS": "1", "EEGQ_DEVICE": "standin", "EEGQ_PORT": str(self.api_port), "EEGQ_AUTH": "off",
            "EEGQ_MAX_ACTIVE_JOBS": "0", "EEGQ_REQUESTS_PER_S": "0", "EEGQ_ALLOW_DRILLS": "1", "OMP_NUM_THREADS": "1",
            "PYTHONWARNINGS": "ignore", **self.settings,
        }  # fmt: skip

    # --- jobs -----------------------------------------------------------------------------------------------------

    def submit(self, spec: JobSpec, **more: Any) -> str:
        sources = [{"release": s.release, "path": s.path} for s in select(scan(self.data), spec.dataset)]
        job, _ = self.store.submit(spec, sources=sources, **more)
        self.bell.ring(job.pool)
        return job.id

    def wait(self, job_id: str, timeout_s: float = 60.0) -> Job:
        """Its end."""
        return self.until(job_id, lambda job: job.state.final, timeout_s)

    def until(self, job_id: str, predicate: Any, timeout_s: float = 60.0) -> Job:
        deadline = time.monotonic() + timeout_s
        job = None
        while time.monotonic() < deadline:
            try:
                job = self.store.get(job_id)
                if predicate(job):
                    return job
            except StoreUnavailable:
                pass
            time.sleep(0.05)
        raise AssertionError(f"not within {timeout_s} s; {job}; logs are in {self.folder}")

    def wait_training(self, job_id: str, timeout_s: float = 60.0, steps: int = 1) -> Job:
        return self.until(job_id, lambda j: j.phase == "training" and (j.progress or {}).get("step", 0) >= steps,
                          timeout_s)  # fmt: skip

    def live_steps(self, job_id: str) -> list[int]:
        """Every step that counts, in the order of the ledger; each once if all is well."""
        return [k for run in self.ledger.runs(job_id) if not run.superseded for k in range(run.first, run.last + 1)]

    def seqs(self, job_id: str) -> list[int]:
        return [event["seq"] for event in self.store.events(job_id, limit=10_000)]


def parents() -> Iterator[tuple[int, int]]:
    """(process, parent) of every process of this machine."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                yield int(folder.name), int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue


def is_celery(pid: int) -> bool:
    try:
        return b"worker.training" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def is_running(pid: int) -> bool:
    """A zombie (dead, not yet waited for) does not run."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
