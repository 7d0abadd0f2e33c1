"""Every setting of a worker, from the environment (prefix EEGQ_). Read once, in app.py."""

import os
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from jobs.failover import STAY_S
from jobs.job import Pool


class Takes(StrEnum):
    """A worker takes one kind of work, so that none of them waits behind another."""

    JOBS = "jobs"
    BATCHES = "batches"
    ERRANDS = "errands"


class WorkerSettings(BaseSettings):
    """Folders are on this machine; RUNS is shared by service and workers, CACHE is local and fast."""

    model_config = SettingsConfigDict(env_prefix="EEGQ_", frozen=True)

    redis_url: str = "redis://127.0.0.1:6379/0"
    redis_username: str = ""
    redis_password_file: Path | None = None
    pool: Pool = Pool.CPU
    takes: Takes = Field(Takes.JOBS, description="what this worker takes: jobs, single batches or errands")
    worker_name: str = Field("", description="unique among workers; empty: pool, host name and process id")
    device: str = Field("auto", description="auto, cpu, cuda:N, mps or standin; cpu for the cpu pool")
    threads: int = Field(
        0, ge=0, description="CPU threads of a trainer; 0: all cores; several workers on a machine want a share each"
    )
    runs: Path = Path("runs")
    data: Path = Path("data")
    cache: Path = Path("cache")
    memory_gib: float = Field(4.0, gt=0, description="memory that reading recordings may take, all readers together")
    cache_gib: float = Field(
        0.0, ge=0, description="size of CACHE above which what no job uses is evicted; 0: only when the disk is full"
    )
    user_code: Path | None = Field(None, description="folder of my_models.py and my_steps.py; off unless given")
    lease_s: float = Field(30.0, gt=0)
    beat_s: float = Field(5.0, gt=0)
    stay_s: float = Field(STAY_S, ge=0, description="how long a moved job stays on the CPU before it may go back")
    alert_networks: str = Field(
        "", description="networks that are not public and may be told alerts all the same: 10.0.0.0/8,192.168.1.7"
    )
    audit_every_s: float = Field(
        60.0,
        ge=0,
        description="how often the CPU pool repeats a step of a GPU and compares, while it is idle; 0: never",
    )
    warm_spare: bool = Field(True, description="keep the libraries in memory, so that the next trainer starts at once")
    drain_s: float = Field(
        50.0, gt=0, description="how long a trainer may take to its checkpoint when the worker stops"
    )

    @property
    def beat_every_s(self) -> float:
        """Three beats a lease at least."""
        return min(self.beat_s, self.lease_s / 3)

    def url(self) -> str:
        """The Redis URL with its user and password put in."""
        if self.redis_password_file is None:
            return self.redis_url
        password = quote(self.redis_password_file.read_text().strip(), safe="")
        parts = urlsplit(self.redis_url)
        host = f"{parts.hostname}:{parts.port or 6379}"
        return urlunsplit(parts._replace(netloc=f"{quote(self.redis_username, safe='')}:{password}@{host}"))

    def cores(self) -> int:
        """Threads of a trainer."""
        return self.threads or len(os.sched_getaffinity(0))
