"""Printing data: a table for a person, JSON for a pipe."""

import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

ICONS = {"queued": "○", "running": "▶", "succeeded": "✔", "failed": "✘", "cancelled": "–", "paused": "‖"}
COLOURS = {"queued": "cyan", "running": "blue", "succeeded": "green", "failed": "red", "cancelled": "yellow"}
ANY_WIDTH = 10_000


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


FormatOption = Annotated[
    Format | None, typer.Option("--output", "-o", help="default: table on a terminal, json into a pipe")
]
Row = Mapping[str, Any]


def show_rows(
    rows: Sequence[Row], columns: Mapping[str, str], wanted: Format | None, whole: Sequence[Any],
    spare: Sequence[str] = (),
) -> None:  # fmt: skip
    """`rows` under `columns` (heading -> key) as a table; `whole`, all there is to know, in the other formats."""
    match wanted or default_format():
        case Format.TABLE:
            print_table([[row.get(key) for key in columns.values()] for row in rows], list(columns), spare)
        case Format.JSON:
            print_json(whole)
        case Format.JSONL:
            for item in whole:
                print(json.dumps(item))
        case Format.CSV:
            print_csv(whole)


def default_format() -> Format:
    return Format.TABLE if sys.stdout.isatty() else Format.JSON


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2 if sys.stdout.isatty() else None, ensure_ascii=False))


def print_csv(rows: Iterable[Row]) -> None:
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(sys.stdout, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def print_table(rows: Sequence[Sequence[Any]], headings: Sequence[str], spare: Sequence[str] = ()) -> None:
    """On a terminal too narrow for all columns the `spare` ones go, the first of them first."""
    from rich.console import Console

    console = Console()
    for n in range(len(spare) + 1):
        kept = [i for i, heading in enumerate(headings) if heading not in spare[:n]]
        made = table([[row[i] for i in kept] for row in rows], [headings[i] for i in kept])
        if console.measure(made, options=console.options.update(width=ANY_WIDTH)).maximum <= console.width:
            break
    console.print(made)


def table(rows: Sequence[Sequence[Any]], headings: Sequence[str], title: str | None = None) -> Any:
    """A rich table; statuses get their icon and colour, columns of numbers stand to the right."""
    from rich import box
    from rich.table import Table

    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, heading in enumerate(headings):
        numbers = bool(rows) and all(isinstance(row[index], int | float | None) for row in rows)
        # the first column is what one copies
        made.add_column(heading, justify="right" if numbers else "left", overflow="fold", no_wrap=index == 0)
    for row in rows:
        made.add_row(*map(cell, row))
    return made


def cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    return f"[{COLOURS[text]}]{ICONS[text]} {text}[/]" if text in COLOURS else text.replace("[", r"\[")


def duration(seconds: float | None) -> str | None:
    """`12 s`, `3 min 5 s`, `2 h 4 min`."""
    if seconds is None:
        return None
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
