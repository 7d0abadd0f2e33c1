"""`eegq up`: Redis, the API and workers on this machine, as child processes that end together.

Knows no job; the parts are started by module name and never imported.
"""

import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from eegq import local_redis
from eegq.children import Child, Children, watched
from eegq.errors import CannotStart

STATE = Path(".eegq")
STOP_WITHIN_S = 15.0
READY_WITHIN_S = 60.0
PROBE_WITHIN_S = 90.0


@dataclass(frozen=True)
class UpOptions:
    port: int | None = 8000
    redis_port: int | None = None
    data: Path = Path("data")
    state: Path = STATE
    cpu_workers: int = 1
    gpu: bool = True
    stand_in_gpu: bool = False


def up(options: UpOptions) -> None:
    """Runs until Ctrl-C or TERM. Raises CannotStart, and ChildDied when one of the processes ends by itself."""
    with stack(options) as running:
        running.announce()
        while True:
            running.check()
            time.sleep(0.2)


@contextmanager
def stack(options: UpOptions) -> "Iterator[Stack]":
    """Everything started and the API ready; on leaving, however that happens, no process is left."""
    options.state.mkdir(parents=True, exist_ok=True)
    options.data.mkdir(parents=True, exist_ok=True)
    children = Children(options.state / "logs")
    with _only_one_here(options.state), watched(children, STOP_WITHIN_S):
        try:
            yield _start(options, children)
        finally:
            (options.state / "up.json").unlink(missing_ok=True)


@dataclass
class Stack:
    """What is running. `check` is to be called often: it notices deaths and starts the GPU worker once one is found."""

    options: UpOptions
    url: str
    key: str
    children: Children
    env: dict[str, str]
    probe: Child | None = None
    gpu: str | None = None
    started_at: float = field(default_factory=time.monotonic)

    def check(self) -> None:
        if self.probe is not None:
            self._look_at_the_probe(self.probe)
        self.children.check()

    def wait_for_probe(self) -> None:
        while self.probe is not None:
            self.check()
            time.sleep(0.05)

    def start_stand_in_gpu(self) -> Child:
        return _stand_in(self.children, self.env)

    def wait_for(self, child: Child) -> None:
        """Until a child that may end has ended; the others are watched meanwhile."""
        while child.process.poll() is None:
            self.check()
            time.sleep(0.05)

    def announce(self) -> None:
        say(f"up: {self.url}   (the dashboard; the API's reference is at {self.url}/docs)")
        say(f"key: {self.key}   (from {self.env['EEGQ_KEYS']})")
        say(f"data: {self.env['EEGQ_DATA']}   runs: {self.env['EEGQ_RUNS']}   logs: {self.options.state / 'logs'}")
        say("in this folder: .venv/bin/eegq submit examples/challenge1.json --wait   Ctrl-C stops everything")

    def _look_at_the_probe(self, probe: Child) -> None:
        status = probe.process.poll()
        if status is None and time.monotonic() - self.started_at < PROBE_WITHIN_S:
            return
        self.children.stop(probe, 0.0)
        self.probe = None
        found = _last_json(probe)
        self.gpu = found.get("device")
        if self.gpu:
            say(f"GPU worker on {self.gpu} ({found.get('description', 'unnamed')})")
            _worker(self.children, "worker-gpu", "gpu", {**self.env, "EEGQ_DEVICE": self.gpu})
        else:
            say(f"no GPU worker: {found.get('reason') or 'no GPU passes its first check'}; auto jobs run on the CPU")


def _start(options: UpOptions, children: Children) -> Stack:
    port = local_redis.claim_port(options.port)
    redis = local_redis.start(children, options.state.resolve() / "redis", options.redis_port)
    env = {**redis.env, **_settings(options, port)}
    children.start("service", [sys.executable, "-m", "service"], env)
    probe = _start_probe(children, env) if options.gpu else None
    _start_workers(options, children, env)
    url = f"http://127.0.0.1:{port}"
    _wait_until_ready(url, children)
    key = json.loads(Path(env["EEGQ_KEYS"]).read_text())["keys"][0]["key"]
    _write_state(options.state / "up.json", url, key, redis.port)
    return Stack(options, url, key, children, env, probe)


def _start_probe(children: Children, env: dict[str, str]) -> Child:
    return children.start("device-check", [*_module("worker.devices"), "--probe"], env, may_end=True)


def _start_workers(options: UpOptions, children: Children, env: dict[str, str]) -> None:
    threads = max(1, (os.cpu_count() or 1) // max(1, options.cpu_workers))
    cpu = {**env, "EEGQ_DEVICE": "cpu", "EEGQ_THREADS": os.environ.get("EEGQ_THREADS", str(threads))}
    for number in range(1, options.cpu_workers + 1):
        _worker(children, f"worker-cpu-{number}", "cpu", cpu)
    _worker(children, "worker-batch", "batch", cpu)
    _worker(children, "worker-errand", "errand", cpu)
    children.start("reaper", _module("worker.reaper"), env)
    if options.stand_in_gpu:
        _stand_in(children, env)


def _stand_in(children: Children, env: dict[str, str]) -> Child:
    """A CPU that pretends to be a GPU, so that failover can be seen anywhere."""
    return _worker(children, "worker-standin", "gpu", {**env, "EEGQ_DEVICE": "standin"})


def _worker(children: Children, name: str, pool: str, env: dict[str, str]) -> Child:
    return children.start(name, [*_module("worker"), "--pool", pool], env)


def _module(name: str) -> list[str]:
    return [sys.executable, "-m", name]


def _settings(options: UpOptions, port: int) -> dict[str, str]:
    state = options.state.resolve()
    return {
        "EEGQ_HOST": "127.0.0.1",
        "EEGQ_PORT": str(port),
        "EEGQ_KEYS": str(state / "keys.json"),
        "EEGQ_RUNS": str(state / "runs"),
        "EEGQ_CACHE": str(state / "cache"),
        "EEGQ_DATA": str(options.data.resolve()),
        **({"EEGQ_ALLOW_DRILLS": "1"} if options.stand_in_gpu else {}),
    }


def _wait_until_ready(url: str, children: Children) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while not _ready(url):
        children.check()
        if time.monotonic() > deadline:
            raise CannotStart(f"the API at {url} is not ready within {READY_WITHIN_S:g} s")
        time.sleep(0.05)


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=2, trust_env=False).is_success
    except httpx.TransportError:
        return False


@contextmanager
def _only_one_here(state: Path) -> Iterator[None]:
    """Two in one folder would share a data folder of Redis. The lock goes with the process, however it ends."""
    with (state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotStart(f"eegq is already up in this folder: {_read_state(state).get('url', state)}") from None
        yield


def _write_state(path: Path, url: str, key: str, redis_port: int) -> None:
    """Lets `eegq` commands typed in this folder find the service; readable by this user alone."""
    content = {"url": url, "key": key, "redis_port": redis_port, "pid": os.getpid()}
    draft = path.with_suffix(".part")  # whoever waits for the file reads the whole of it
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(content, file)
    os.replace(draft, path)


def _read_state(state: Path) -> dict[str, str]:
    try:
        return json.loads((state / "up.json").read_text())
    except (OSError, ValueError):
        return {}


def _last_json(child: Child) -> dict[str, str]:
    lines = [line for line in child.tail(50).splitlines() if line.startswith("{")]
    try:
        return json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}


def say(text: str) -> None:
    print(f"[eegq] {text}", file=sys.stderr, flush=True)
