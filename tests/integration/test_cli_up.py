"""`eegq up` with small stand-ins for service and worker: what it starts, and that nothing of it is ever left."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import wait_until
from tests.processes import alive, descendants
from tests.redis_server import RedisServer

SERVICE = """
import http.server, json, os, pathlib
keys = pathlib.Path(os.environ["EEGQ_KEYS"])
keys.write_text(json.dumps({"keys": [{"key": "eegq_secret"}]}))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *args): pass
http.server.HTTPServer(("127.0.0.1", int(os.environ["EEGQ_PORT"])), Handler).serve_forever()
"""
WORKER = """
import os, signal, subprocess, sys, time
print({name: value for name, value in os.environ.items() if name.startswith("EEGQ_")}, sys.argv, flush=True)
if "cpu" in sys.argv and "STUBBORN" in os.environ:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen(["sleep", "100"])  # in the worker's group, as Celery's child is
time.sleep(100)
"""
PROBE = """
import json
print(json.dumps({"device": None, "reason": "none here"}))
"""

Up = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder whose `service` and `worker` are found before the installed ones."""
    for name, source in {
        "service/__main__.py": SERVICE,
        "worker/__main__.py": WORKER,
        "worker/reaper.py": WORKER,
        "worker/devices.py": PROBE,
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(source)
    return tmp_path


@pytest.fixture
def start_up(folder: Path) -> Iterator[Up]:
    started: list[subprocess.Popen[str]] = []

    def start(*options: str, **env: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "eegq", "up", "--port", "0", *options]
        up = subprocess.Popen(
            command, cwd=folder, stderr=subprocess.PIPE, text=True, env={**os.environ, **env}, start_new_session=True
        )
        started.append(up)
        return up

    yield start
    for up in started:
        up.kill()
        up.wait()


def state(folder: Path) -> dict[str, object]:
    path = folder / ".eegq" / "up.json"
    wait_until(path.exists, what="eegq up is ready")
    return json.loads(path.read_text())


def test_up_starts_everything_and_ctrl_c_leaves_nothing(folder: Path, start_up: Up) -> None:
    up = start_up()
    found = state(folder)
    wait_until(lambda: len(descendants(up.pid)) >= 10, what="redis, service, 3 workers and the reaper, 4 with a child")
    family = descendants(up.pid)
    assert httpx.get(f"{found['url']}/readyz").is_success
    up.send_signal(signal.SIGINT)
    assert up.wait(20) == 130
    assert [pid for pid in family if alive(pid)] == []
    assert not (folder / ".eegq" / "up.json").exists()


@pytest.mark.parametrize("after_s", [0.05, 0.15, 0.25, 0.35, 0.5, 0.7])
def test_ctrl_c_during_the_start_leaves_nothing(start_up: Up, after_s: float) -> None:
    up = start_up()
    family: set[int] = set()
    until = time.monotonic() + after_s
    while time.monotonic() < until:
        family |= descendants(up.pid)
    up.send_signal(signal.SIGINT)
    while up.poll() is None:
        family |= descendants(up.pid)
    assert [pid for pid in family if alive(pid)] == []


def test_term_ends_everything_too(folder: Path, start_up: Up) -> None:
    up = start_up()
    state(folder)
    family = descendants(up.pid)
    up.terminate()
    up.wait(20)
    assert family
    assert [pid for pid in family if alive(pid)] == []


def test_killed_without_a_chance_to_clean_up_it_takes_its_children_along(folder: Path, start_up: Up) -> None:
    up = start_up()
    state(folder)
    family = descendants(up.pid)
    children = {pid for pid in family if os.getpgid(pid) == pid}  # those it started itself
    assert len(children) >= 6
    up.kill()
    up.wait()
    wait_until(lambda: not any(map(alive, children)), what="the kernel ends the children")
    for pid in family - children:  # the stand-ins' sleeps have no such leash
        if alive(pid):
            os.kill(pid, signal.SIGKILL)


def test_a_child_that_dies_ends_all_and_is_named(folder: Path, start_up: Up) -> None:
    up = start_up()
    state(folder)
    family = descendants(up.pid)
    worker = next(pid for pid in family if "--pool\0cpu" in Path(f"/proc/{pid}/cmdline").read_text())
    os.kill(worker, signal.SIGKILL)
    assert up.stderr is not None
    said = up.stderr.read()
    assert up.wait(20) == 5
    assert "worker-cpu-1 was killed by signal 9" in said
    assert [pid for pid in family if alive(pid)] == []


def test_a_child_that_ignores_term_is_killed_by_a_second_ctrl_c(folder: Path, start_up: Up) -> None:
    up = start_up(STUBBORN="1")
    state(folder)
    family = descendants(up.pid)
    wait_until(lambda: "EEGQ_POOL" in log(folder, "worker-cpu-1") or "EEGQ_" in log(folder, "worker-cpu-1"))
    up.send_signal(signal.SIGINT)
    wait_until(lambda: sum(map(alive, family)) <= 3, what="only the stubborn one and Redis are left")
    started = time.monotonic()
    up.send_signal(signal.SIGINT)
    up.wait(20)
    assert time.monotonic() - started < 5
    assert [pid for pid in family if alive(pid)] == []


def test_a_second_up_in_the_same_folder_is_refused(folder: Path, start_up: Up) -> None:
    start_up()
    found = state(folder)
    second = start_up()
    assert second.stderr is not None
    assert f"already up in this folder: {found['url']}" in second.stderr.read()
    assert second.wait(20) == 5


def test_a_redis_that_is_already_there_is_never_touched(redis_server: RedisServer, start_up: Up) -> None:
    up = start_up("--redis-port", str(redis_server.port))
    assert up.stderr is not None
    assert f"port {redis_server.port} is in use" in up.stderr.read()
    assert up.wait(20) == 5
    assert redis_server.process is not None
    assert redis_server.process.poll() is None


def test_redis_wants_a_password_and_writes_every_change_to_disk(folder: Path, start_up: Up) -> None:
    start_up()
    found = state(folder)
    port = int(str(found["redis_port"]))
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.sendall(b"PING\r\n")
        assert s.recv(100).startswith(b"-NOAUTH")
    password = (folder / ".eegq" / "redis" / "password").read_text()
    assert (folder / ".eegq" / "redis" / "password").stat().st_mode & 0o777 == 0o600
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.sendall(f"AUTH {password}\r\nCONFIG GET appendfsync\r\nCONFIG GET maxmemory-policy\r\n".encode())
        wait = s.makefile("rb")
        answer = b"".join(wait.readline() for _ in range(11))
    assert b"always" in answer
    assert b"noeviction" in answer


def test_workers_get_their_pool_device_and_share_of_the_cores(folder: Path, start_up: Up) -> None:
    up = start_up("--cpu-workers", "2", "--data", "elsewhere")
    state(folder)
    for name in ("worker-cpu-1", "worker-cpu-2", "worker-batch", "worker-errand", "reaper"):
        wait_until(lambda name=name: "EEGQ_DATA" in log(folder, name))
    assert sorted(pools_of(up)) == ["batch", "cpu", "cpu", "errand"]
    said = log(folder, "worker-cpu-2")
    assert f"'EEGQ_THREADS': '{max(1, (os.cpu_count() or 1) // 2)}'" in said
    assert f"'EEGQ_DATA': '{folder / 'elsewhere'}'" in said
    assert "'--pool', 'cpu'" in said
    assert "secret" not in said
    up.send_signal(signal.SIGINT)
    assert up.stderr is not None
    assert "no GPU worker: none here" in up.stderr.read()


def pools_of(up: "subprocess.Popen[str]") -> list[str]:
    """What each worker below it was told to take; a worker stands behind its leash, which has the same words."""
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0") for pid in descendants(up.pid)]
    return [line[line.index("--pool") + 1] for line in lines if "--pool" in line]


def log(folder: Path, name: str) -> str:
    return (folder / ".eegq" / "logs" / f"{name}.log").read_text()
