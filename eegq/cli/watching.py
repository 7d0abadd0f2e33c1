"""Following a job in the terminal: a progress bar with what each device computed, and the story above it."""

import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from eegq.cli.app import PATIENT_S
from eegq.cli.story import sentence
from eegq.client import Client
from eegq.resources import Event, Job

LEDGER_EVERY_S = 1.0


def watch(client: Client, job_id: str, console: Console | None = None) -> Job:
    """Shows the job until its end and returns it; the screen is stderr."""
    job = client.jobs.retrieve(job_id)
    client.retry_for_s = PATIENT_S
    with Screen(client, job, console or Console(stderr=True)) as screen:
        for event in client.jobs.stream(job_id):
            screen.show(event)
        job = client.jobs.retrieve(job_id)
        screen.finish(job)
    return job


class Steps(ProgressColumn):
    """812/5400 steps, epoch 3/20, 10,400 windows/s, the best score so far."""

    def render(self, task: Task) -> Text:
        f = task.fields
        parts = [f"{int(task.completed)}/{int(task.total)} steps"] if task.total else []
        parts += [f"epoch {f['epoch']}"] if f.get("epoch") else []
        parts += [f"{f['rate']:,.0f} windows/s"] if f.get("rate") else []
        parts += [f["score"]] if f.get("score") else []
        return Text("  ".join(parts))


class Devices(ProgressColumn):
    """GPU 700 · CPU 112: live steps by the kind of device that computed them."""

    def render(self, task: Task) -> Text:
        gpu, cpu = split_by_kind(task.fields.get("devices", {}))
        return Text.assemble(("GPU ", "dim"), (f"{gpu}", "magenta"), (" · CPU ", "dim"), (f"{cpu}", "cyan"))


class Screen:
    """On a terminal a live bar; elsewhere only the sentences."""

    def __init__(self, client: Client, job: Job, console: Console) -> None:
        self._client, self._console, self._job_id = client, console, job.id
        self._bar = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(24), Steps(), Devices(), TimeElapsedColumn(),
            console=console, disable=not console.is_terminal, refresh_per_second=4,
        )  # fmt: skip
        self._task = self._bar.add_task(job.status, total=None)
        self._counted_at = 0.0

    def show(self, event: Event) -> None:
        if self._console.is_terminal and event.type == "metrics":
            self._bar.update(self._task, score=_score(event.data))
        elif text := sentence(event):
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)
        if event.type == "phase":
            self._bar.update(self._task, description=_phase(event.data))
        elif event.type == "progress":
            self._show_progress(event.data)

    def finish(self, job: Job) -> None:
        self._counted_at = 0.0
        self._count_devices()
        self._bar.update(self._task, description=job.status)

    def _show_progress(self, data: dict[str, Any]) -> None:
        self._count_devices()
        self._bar.update(
            self._task, completed=data.get("step", 0), total=data.get("steps"),
            epoch=f"{data.get('epoch')}/{data.get('epochs')}", rate=data.get("windows_per_s"),
        )  # fmt: skip

    def _count_devices(self) -> None:
        if time.monotonic() - self._counted_at > LEDGER_EVERY_S:
            self._counted_at = time.monotonic()
            self._bar.update(self._task, devices=self._client.jobs.steps_by_device(self._job_id))

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()


def _phase(data: dict[str, Any]) -> str:
    """`preprocessing 5/24` while recordings are read."""
    count = f" {data['recordings_done']}/{data['recordings']}" if "recordings_done" in data else ""
    return f"{data.get('phase')}{count}"


def _score(data: dict[str, Any]) -> str | None:
    best, mean = data.get("best"), data.get("baseline")
    if best is None:
        return None
    return f"best NRMSE {best:.4f}" + (f" (the mean: {mean:.4f})" if mean is not None else "")


def split_by_kind(steps_by_device: dict[str, int]) -> tuple[int, int]:
    """(steps on GPUs, steps on CPUs)."""
    cpu = sum(steps for device, steps in steps_by_device.items() if device.startswith("cpu"))
    return sum(steps_by_device.values()) - cpu, cpu
