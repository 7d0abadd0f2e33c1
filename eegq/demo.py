"""`eegq demo`: one job from POST to weights, and one whose GPU trainer is killed and that finishes on the CPU.

Everything it starts ends with it. The GPU of the second job is a stand-in: a CPU that pretends to be one.
"""

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from eegq.cli.output import duration, table
from eegq.cli.watching import Screen
from eegq.client import Client
from eegq.errors import JobCancelled, JobFailed
from eegq.resources import Event, Job
from eegq.up import STATE, Stack, UpOptions, stack

DATA = Path("data")
DATASET = DATA / "demo"
SPEC: dict[str, Any] = {"task": "challenge1", "dataset": "demo"}
KILLED_SPEC: dict[str, Any] = {**SPEC, "placement": "gpu", "seed": 1, "training": {"epochs": 20}}
KILL_AT_SHARE = 0.3
STOP_GPU_WITHIN_S = 10.0


def demo() -> None:
    """Raises CannotStart, ChildDied, JobFailed. Ctrl-C at any time ends everything."""
    started, console = time.monotonic(), Console(highlight=False)
    options = UpOptions(port=None, data=DATA, state=STATE / "demo")
    console.print("[bold]1[/] starting Redis, the API, a CPU worker")
    with stack(options) as running:
        make_dataset(running, console)
        running.wait_for_probe()
        with Client(running.url, running.key) as client:
            show_first_job(client, console, running)
            show_killed_job(client, console, running)
    console.print(f"\n[bold green]done[/] in {duration(time.monotonic() - started)}; everything is stopped")
    show_how_to_repeat(console)


def make_dataset(running: Stack, console: Console) -> None:
    """Recordings as of HBN, simulated; the response time leaves a trace in them that a model can learn."""
    if DATASET.exists():
        console.print(f"[bold]2[/] simulated EEG from an earlier demo: {DATASET}")
        return
    console.print(f"[bold]2[/] simulating EEG in HBN's layout: {DATASET}")
    draft = DATA / ".demo.draft"
    shutil.rmtree(draft, ignore_errors=True)
    command = [sys.executable, "-m", "worker.data.simulate", str(draft)]
    child = running.children.start("simulate", command, {}, may_end=True)
    running.wait_for(child)
    if child.process.returncode:
        raise SystemExit(f"the simulation failed:\n{child.tail()}")
    draft.rename(DATASET)


def show_first_job(client: Client, console: Console, running: Stack) -> None:
    console.print(f"[bold]3[/] POST {client.address.url}/jobs {json.dumps(SPEC)}")
    job = follow(client, client.jobs.create(SPEC), console)
    score = json.loads(client.jobs.read(job.id, "scores.json"))
    console.print(score_table(score, model=job.spec["model"]["name"]))
    if score.get("warning"):
        console.print(f"[yellow]{score['warning']}[/]")
    names = ", ".join(artifact["name"] for artifact in client.jobs.artifacts(job.id))
    console.print(f"artefacts in {_shown(Path(running.env['EEGQ_RUNS']) / job.id)}: {names}")


def show_killed_job(client: Client, console: Console, running: Stack) -> None:
    console.print(f"\n[bold]4[/] a second job, on a stand-in GPU whose trainer is killed: {json.dumps(KILLED_SPEC)}")
    gpu = running.start_stand_in_gpu()
    # the stand-in is taken away then: a GPU that passes its tests gets its job back after a minute
    killer = Killer(console, then=lambda: running.children.stop(gpu, STOP_GPU_WITHIN_S))
    job = follow(client, client.jobs.create(KILLED_SPEC), console, killer)
    console.print(attempts_table(client, job))


def follow(client: Client, job: Job, console: Console, killer: "Killer | None" = None) -> Job:
    """Shows the job until it has succeeded. Raises JobFailed, JobCancelled."""
    with Screen(client, job, console) as screen:
        for event in client.jobs.stream(job.id):
            screen.show(event)
            if killer:
                killer.see(event)
        job = client.jobs.retrieve(job.id)
        screen.finish(job)
    if job.status != "succeeded":
        raise (JobCancelled if job.status == "cancelled" else JobFailed)(job.to_dict())
    return job


class Killer:
    """Kills the trainer of a job's first attempt in the middle; once the job has moved, `then` is called."""

    def __init__(self, console: Console, then: Callable[[], None]) -> None:
        self._console, self._then = console, then
        self._pid: int | None = None
        self._killed = self._moved = False

    def see(self, event: Event) -> None:
        if event.type == "phase" and not self._killed:
            self._pid = event.data.get("trainer_pid", self._pid)
        elif event.type == "progress" and not self._killed and self._pid:
            if event.data["step"] >= KILL_AT_SHARE * event.data["steps"]:
                self._kill(self._pid, event.data["step"])
        elif event.type == "requeued" and not self._moved:
            self._moved = True
            self._then()

    def _kill(self, pid: int, step: int) -> None:
        self._killed = True
        self._console.print(f"[bold red]kill -9 {pid}[/] (the trainer, at step {step})")
        os.kill(pid, signal.SIGKILL)


def score_table(score: dict[str, Any], model: str) -> Any:
    """The score between the constants that it has to beat."""
    baselines = score["baselines"]
    rows = [
        [f"{model}, epoch {score['epoch']}", score["value"]],
        ["predicting the training mean", baselines["training_mean"]],
        ["predicting each subject's own mean (oracle)", baselines.get("subject_mean_oracle")],
        ["predicting zero", baselines["zero"]],
    ]
    title = f"NRMSE on {score['n_windows']} windows of {score['n_subjects']} held-out subjects (lower is better)"
    return table(rows, ["", "NRMSE"], title)


def attempts_table(client: Client, job: Job) -> Any:
    steps: dict[int, int] = {}
    for run in client.jobs.runs_of_steps(job.id):
        if not run["superseded"]:
            steps[run["attempt"]] = steps.get(run["attempt"], 0) + run["last"] - run["first"] + 1
    rows = [
        [a.number, a.pool, a.device, steps.get(a.number, 0), a.outcome, a.fault.message if a.fault else None]
        for a in job.attempts
    ]
    return table(rows, ["attempt", "pool", "device", "steps", "outcome", "fault"], f"{job.id}: {job.status}")


def show_how_to_repeat(console: Console) -> None:
    body = json.dumps(SPEC)
    console.print("to repeat it: `make up`, and in another terminal")
    for line in (
        '  AUTH="Authorization: Bearer $(.venv/bin/eegq key)"',
        f"  curl -s -H \"$AUTH\" --json '{body}' http://127.0.0.1:8000/jobs",
        '  curl -s -H "$AUTH" http://127.0.0.1:8000/jobs/JOB',
        '  curl -s -H "$AUTH" -O http://127.0.0.1:8000/jobs/JOB/artifacts/weights.pt',
    ):
        console.print(line, markup=False, soft_wrap=True)


def _shown(path: Path) -> str:
    return os.path.relpath(path)
