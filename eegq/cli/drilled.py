"""What happened in a drill, as a table: a row a move, then what it cost. Knows no client."""

from collections.abc import Sequence
from typing import Any

from eegq.cli.output import print_table
from eegq.resources import Event, Job

HEADINGS = ["after s", "what", "where", "step", "took s"]
Row = list[Any]


def print_drill(job: Job, events: Sequence[Event], ledger: Sequence[dict[str, Any]]) -> None:
    print_table(rows_of(events), HEADINGS)
    print_table(list(totals(job, events, ledger).items()), ["outcome", ""])


def rows_of(events: Sequence[Event]) -> list[Row]:
    """Attempts, faults, batches that moved, audits and requeues, in order."""
    began = next((e.at for e in events if e.at), None)
    found = []
    for event in events:
        if (told := _told(event)) is not None:
            after_s = round((event.at - began).total_seconds(), 1) if event.at and began else None
            found.append([after_s, *told])
    return found


def totals(job: Job, events: Sequence[Event], ledger: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """`seconds in moves`: waited for a batch, or from a requeue until the next attempt trained."""
    live = [row for row in ledger if not row.get("superseded")]
    return {
        "recovered": "yes" if job.status == "succeeded" else f"no: {job.status}",
        "seconds in moves": round(seconds_in_moves(events), 1),
        "steps replayed": sum(_length(row) for row in ledger if row.get("superseded")),
        "steps that count": sum(_length(row) for row in live),
        **{f"of them on {d}": sum(_length(r) for r in live if r["device"] == d) for d in _devices(live)},
    }


def seconds_in_moves(events: Sequence[Event]) -> float:
    seconds, since = 0.0, None
    for event in events:
        if event.type == "batch_returned":
            seconds += event.data.get("seconds", 0.0)
        elif event.type == "requeued":
            since = event.at
        elif since and event.at and event.data.get("phase") == "training":
            seconds, since = seconds + (event.at - since).total_seconds(), None
    return seconds


def _told(event: Event) -> Row | None:
    """What, where, step, took s."""
    data = event.data
    match event.type:
        case "claimed":
            return [f"attempt {data.get('number')} starts", data.get("device"), data.get("resumed_at"), None]
        case "fault":
            return [f"fault: {data.get('kind')}", data.get("device"), data.get("step"), None]
        case "handed_off":
            return ["batch to the CPU pool", "cpu", data.get("step"), None]
        case "batch_returned":
            return ["batch came back", data.get("device"), data.get("step"), data.get("seconds")]
        case "audited":
            return [f"audit: {data.get('finding')}", data.get("device"), data.get("step"), data.get("seconds")]
        case "requeued":
            fault = data.get("fault") or {}
            return [f"requeued: {fault.get('kind')}", f"{data.get('pool')} pool", fault.get("step"), None]
        case "succeeded" | "failed" | "cancelled":
            return [event.type, None, None, None]
    return None


def _length(row: dict[str, Any]) -> int:
    return row["last"] - row["first"] + 1


def _devices(rows: Sequence[dict[str, Any]]) -> list[str]:
    return sorted({row["device"] for row in rows})
