"""`docker compose up` for real: a job over the published port, a killed worker, a stop and a start in the middle.

Needs a Docker engine and images that were built once (`docker compose build`); says so and skips where they are not.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import wait_until
from tests.redis_server import free_port

ROOT = Path(__file__).parents[2]
PROJECT = f"eegq-test-{os.getpid()}"
IMAGES = ("eegq-service", "eegq-worker-cpu", "redis:7-alpine")
LEASE_S = 6
SPEC: dict[str, Any] = {"task": "challenge1", "dataset": "demo", "training": {"epochs": 10, "batch_size": 16}}

pytestmark = pytest.mark.timeout(900)


def why_not() -> str | None:
    if shutil.which("docker") is None:
        return "no docker here: the compose set was NOT tested"
    if subprocess.run(["docker", "info"], capture_output=True).returncode:
        return "no Docker engine answers: the compose set was NOT tested"
    missing = [
        name for name in IMAGES if subprocess.run(["docker", "image", "inspect", name], capture_output=True).returncode
    ]
    return f"run `docker compose build` first, {missing} missing: the compose set was NOT tested" if missing else None


class Stack:
    """The project copied to a folder of its own, under a name and a port of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        files = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True).stdout.decode()
        for name in filter(None, files.split("\0")):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        lines = [f"PORT={self.port}", f"EEGQ_LEASE_S={LEASE_S}", "EEGQ_BEAT_S=1", "EEGQ_ALLOW_DRILLS=1"]
        (folder / ".env").write_text("\n".join([*lines, "COMPOSE_PROFILES=standin", ""]))
        self.run(sys.executable, "-m", "deploy.env")
        self.run(sys.executable, "-m", "worker.data.simulate", "data/demo", "--subjects", "4", "--runs", "1",
                 "--tasks", "contrastChangeDetection")  # fmt: skip

    def run(self, *command: str) -> str:
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def compose(self, *arguments: str) -> str:
        return self.run("docker", "compose", "-p", PROJECT, *arguments)

    def api(self, path: str, body: dict[str, Any] | None = None) -> Any:
        key = json.loads((self.folder / ".compose/service/keys.json").read_text())["keys"][0]["key"]
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def submit(self, **more: Any) -> str:
        return self.api("/jobs", {**SPEC, **more})["id"]

    def wait_for(self, job_id: str, status: str) -> dict[str, Any]:
        def ended() -> bool:
            return self.api(f"/jobs/{job_id}")["status"] in (status, "failed", "cancelled")

        wait_until(ended, timeout_s=300, what=f"{job_id} {status}")
        job = self.api(f"/jobs/{job_id}")
        assert job["status"] == status, job["error"]
        return job

    def first_steps(self, job_id: str) -> list[int]:
        """Of each attempt, in order: where it began."""
        rows = map(json.loads, (self.folder / f"runs/{job_id}/ledger.jsonl").read_text().splitlines())
        begun: dict[int, int] = {}
        for row in rows:
            begun.setdefault(row["attempt"], row["first"])
        return list(begun.values())

    def wait_for_step(self, job_id: str, step: int) -> None:
        def there() -> bool:
            progress = self.api(f"/jobs/{job_id}")["progress"]
            return progress is not None and progress["step"] >= step

        wait_until(there, timeout_s=300, what=f"{job_id} at step {step}")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    if reason := why_not():
        pytest.skip(reason)
    stack = Stack(tmp_path_factory.mktemp("compose"))
    try:
        stack.compose("up", "--detach", "--wait", "--build")
        yield stack
    finally:
        print(stack.compose("logs", "--no-color", "--tail", "80"))
        stack.compose("down", "--volumes", "--timeout", "20")


def test_a_job_outlives_its_killed_worker(stack: Stack) -> None:
    job_id = stack.submit(placement="cpu")
    stack.wait_for_step(job_id, 6)
    everything_in_it = "kill -9 -1"
    subprocess.run(["docker", "compose", "-p", PROJECT, "exec", "-T", "worker-cpu", "sh", "-c", everything_in_it],
                   cwd=stack.folder, capture_output=True)  # fmt: skip
    job = stack.wait_for(job_id, "succeeded")
    lost, last = job["attempts"]
    assert lost["outcome"] == "lost"
    assert lost["fault"]["kind"] == "worker_lost"
    assert (last["outcome"], last["pool"]) == ("succeeded", "cpu")
    assert job["progress"]["step"] == job["progress"]["steps"]


def test_a_dead_gpu_trainer_goes_on_on_the_cpu(stack: Stack) -> None:
    job_id = stack.submit(placement="auto", drill=[{"kind": "abort", "step": 9}])
    job = stack.wait_for(job_id, "succeeded")
    assert [(attempt["pool"], attempt["outcome"]) for attempt in job["attempts"]] == [
        ("gpu", "requeued"), ("cpu", "succeeded")
    ]  # fmt: skip


def test_the_api_rings_and_sends_errands_without_a_complaint(stack: Stack) -> None:
    job_id = next(job["id"] for job in stack.api("/jobs")["data"] if job["status"] == "succeeded")
    submission = stack.api("/submissions", {"challenge1": job_id})["id"]

    def built() -> bool:
        return stack.api(f"/submissions/{submission}")["state"] not in ("queued", "running")

    wait_until(built, timeout_s=300, what="the submission is built")
    assert stack.api(f"/submissions/{submission}")["state"] == "done"
    assert '"event": "unexpected"' not in stack.compose("logs", "--no-color", "service")


def test_the_runs_are_plain_files_of_the_caller(stack: Stack) -> None:
    owner = int(re.search(r"^HOST_UID=(\d+)", (stack.folder / ".env").read_text(), re.MULTILINE)[1])  # type: ignore[index]
    results = list((stack.folder / "runs").glob("job_*/results/*"))
    assert {"weights.safetensors", "scores.json", "predictions.csv"} <= {path.name for path in results}
    assert {path.stat().st_uid for path in results} == {owner}


def test_a_stop_in_the_middle_is_graceful_and_loses_nothing(stack: Stack) -> None:
    done = [job["id"] for job in stack.api("/jobs")["data"]]
    job_id = stack.submit(placement="cpu", training={"epochs": 14, "batch_size": 16})
    stack.wait_for_step(job_id, 9)
    stack.compose("stop")
    codes = {
        row["Service"]: row["ExitCode"]
        for row in map(json.loads, stack.compose("ps", "-a", "--format", "json").splitlines())
    }
    assert set(codes.values()) <= {0, 143}, codes  # 143: told to end and ended; 137 would be killed
    stack.compose("up", "--detach", "--wait")
    job = stack.wait_for(job_id, "succeeded")
    assert [attempt["outcome"] for attempt in job["attempts"]] == ["requeued", "succeeded"]
    assert job["attempts"][0]["fault"]["kind"] == "stopped"
    assert stack.first_steps(job_id)[1] > 0
    assert {job["id"] for job in stack.api("/jobs")["data"]} == {job_id, *done}


def test_redis_cannot_be_reached_from_outside_and_nobody_is_root(stack: Stack) -> None:
    rows = [json.loads(line) for line in stack.compose("ps", "--format", "json").splitlines()]
    published = {row["Service"]: [p["URL"] for p in row["Publishers"] or () if p["PublishedPort"]] for row in rows}
    assert {name for name, urls in published.items() if urls} == {"service"}
    assert set(published["service"]) == {"127.0.0.1"}
    for service in ("redis", "service", "worker-cpu", "worker-batch", "worker-errand", "reaper"):
        assert stack.compose("exec", "-T", service, "id", "-u").strip() != "0"
