"""`eegq pools`, `devices`, `models`, `datasets`, `leaderboard`: what the service has."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from eegq.cli.app import app, connect, say
from eegq.cli.output import Format, FormatOption, default_format, duration, print_json, show_rows

datasets = typer.Typer(no_args_is_help=True, help="Datasets: list, check, simulate.")
app.add_typer(datasets, name="datasets", rich_help_panel="The service")


@app.command(rich_help_panel="The service")
def pools(output: FormatOption = None) -> None:
    """List the pools: jobs waiting, workers.

    [dim]eegq pools[/]
    """
    found = connect().pools()
    rows = [{**row, "oldest": duration(row.get("oldest_s")), "workers": len(row.get("workers", []))} for row in found]
    columns = {"pool": "pool", "waiting": "depth", "oldest": "oldest", "running": "running", "workers": "workers"}
    show_rows(rows, columns, output, found)
    for row in found:
        if row.get("advice"):
            say(f"{row['pool']}: {row['advice']}")


@app.command(rich_help_panel="The service")
def devices(output: FormatOption = None) -> None:
    """List the devices and what is believed of their health.

    [dim]eegq devices -o json[/]
    """
    found = connect().devices()
    show_rows(found, {name: name for name in ("device", "health", "reason", "since", "opened")}, output, found)


@app.command(rich_help_panel="The service")
def models(output: FormatOption = None) -> None:
    """List the models one may ask for.

    [dim]eegq models -o jsonl | jq -r 'select(.works) | .name'[/]
    """
    found = connect().models()
    names = [name for name in dict.fromkeys(name for row in found for name in row) if _is_plain(found, name)]
    show_rows(found, {name: name for name in names[:8]}, output, found)


@app.command(rich_help_panel="The service")
def leaderboard(output: FormatOption = None) -> None:
    """List the best jobs of each challenge beside their baselines, and the best pair.

    [dim]eegq leaderboard[/]
    """
    board = connect().leaderboard()
    if (output or default_format()) is not Format.TABLE:
        print_json(board)
        return
    columns = {"job": "job_id", "model": "model", "dataset": "dataset", "nrmse": "nrmse", "mean": "training_mean"}
    for challenge, entries in board["challenges"].items():
        print(challenge)
        rows = [{**entry, **entry["baselines"]} for entry in entries]
        show_rows(rows, columns, Format.TABLE, rows)
    if pair := board["best_pair"]:
        print(f"best pair (0.3 x challenge1 + 0.7 x challenge2): {pair['overall']:.4f}")


@datasets.command("ls")
def list_datasets(output: FormatOption = None) -> None:
    """List the datasets that the service knows.

    [dim]eegq datasets ls[/]
    """
    found = connect().datasets.list()
    names = [name for name in dict.fromkeys(name for row in found for name in row) if _is_plain(found, name)]
    show_rows(found, {name: name for name in names}, output, found)


@datasets.command()
def check(
    name: Annotated[str, typer.Argument(metavar="DATASET", help="a name of `eegq datasets ls`")],
    task: Annotated[str, typer.Option(help="challenge1 or challenge2")] = "challenge1",
    page: Annotated[Path | None, typer.Option(help="also fetch the report as a page with pictures")] = None,
) -> None:
    """Have a worker look through a dataset's recordings, and print its report.

    [dim]eegq datasets check demo --task challenge2 --page report.html[/]
    """
    client = connect()
    print_json(client.datasets.preflight(name, task)["report"])
    if page:
        say(f"the report as a page: {client.datasets.download_page(name, page)}")


@datasets.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def simulate(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(help="BIDS root to write, e.g. data/demo")] = Path("data/demo"),
) -> None:
    """Write a simulated HBN-like dataset on this machine; further options: the simulator's (--subjects, --seed).

    [dim]eegq datasets simulate data/demo --subjects 24[/]
    """
    status = subprocess.run([sys.executable, "-m", "worker.data.simulate", str(folder), *ctx.args]).returncode
    raise SystemExit(status)


def _is_plain(rows: list[dict[str, Any]], name: str) -> bool:
    return all(isinstance(row.get(name), str | int | float | bool | None) for row in rows)
