"""`eegq up` and `eegq demo`: everything on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from eegq.cli.app import app

Data = Annotated[Path, typer.Option(help="folder of BIDS datasets")]
CpuWorkers = Annotated[int, typer.Option(min=1, help="jobs at a time on the CPU; the cores are divided among them")]


@app.command(rich_help_panel="This machine")
def up(
    port: Annotated[int, typer.Option(help="of the API; 0 takes a free one")] = 8000,
    data: Data = Path("data"),
    cpu_workers: CpuWorkers = 1,
    redis_port: Annotated[int, typer.Option(help="0 takes a free one; a Redis that is there is never touched")] = 0,
    gpu: Annotated[bool, typer.Option(help="look for a GPU and start a worker on it")] = True,
    stand_in_gpu: Annotated[bool, typer.Option("--stand-in-gpu", help="a CPU that pretends, for drills")] = False,
) -> None:
    """Start Redis, the API and workers here; Ctrl-C ends them all. State lies in ./.eegq.

    [dim]eegq up --data /data/hbn --cpu-workers 2[/]
    """
    from eegq.up import UpOptions
    from eegq.up import up as run_up

    run_up(
        UpOptions(
            port=port or None, redis_port=redis_port or None, data=data, cpu_workers=cpu_workers, gpu=gpu,
            stand_in_gpu=stand_in_gpu,
        )
    )  # fmt: skip


@app.command(rich_help_panel="This machine")
def demo() -> None:
    """Train on simulated EEG, kill a GPU trainer, see its job finish on the CPU; stops everything at the end.

    [dim]eegq demo[/]
    """
    from eegq.demo import demo as run_demo

    run_demo()
