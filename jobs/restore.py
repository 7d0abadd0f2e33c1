"""Restore: jobs back into a store that lost them, from the records in their run folders. Knows no folder."""

import json
from typing import Any

import redis

from jobs.connection import Scripts
from jobs.store import occasions


class Restore:
    def __init__(self, client: redis.Redis) -> None:
        self._run = Scripts(client)

    def job(self, record: dict[str, Any], events: list[dict[str, Any]], ledger: list[dict[str, Any]]) -> bool:
        """Whether the job was unknown and is there now. One that had not ended is queued from its last checkpoint."""
        rows = [{k: v for k, v in row.items() if v is not None and v is not False} for row in ledger]
        told = [{**event, "at": _ms(event["at"]), "data": json.dumps(event["data"])} for event in events]
        answer = self._run(
            "restore", record["id"], record["state"], json.dumps(_fields(record)),
            json.dumps([json.dumps(_attempt(row)) for row in record["attempts"]]), json.dumps(told),
            json.dumps([json.dumps(row) for row in rows]),
        )  # fmt: skip
        return answer == "ok"


def _fields(record: dict[str, Any]) -> dict[str, str]:
    """The hash of the job, as submit and its followers would have written it."""
    spec, created_ms = record["spec"], _ms(record["created_at"])
    fields = {name: record[name] for name in ("id", "owner", "parent_id", "last_reason", "pool")}
    fields |= {name: int(record[name]) for name in ("fence", "revision", "held", "cancel_requested", "batches_moved",
                                                    "requeues", "crashes")}  # fmt: skip
    fields |= {f"{name}_ms": _ms(record[f"{name}_at"]) for name in ("created", "queued", "updated", "started",
                                                                    "finished")}  # fmt: skip
    for name in ("sources", "progress", "best", "checkpoint", "artifacts"):
        fields[name] = json.dumps(record[name]) if record[name] is not None else None
    fields["error"] = json.dumps(_known(record["error"])) if record["error"] else None
    fields |= {"spec": json.dumps(spec), "placement": spec["placement"], "gpu_wait_ms": int(spec["gpu_wait_s"] * 1000),
               "place": f"{-spec['priority'] * 1e13 + created_ms:.0f}",
               "next_step": (record["checkpoint"] or {}).get("step", 0)}  # fmt: skip
    fields["alerts"] = occasions(spec) or None
    return {name: str(value) for name, value in _known(fields).items()}


def _attempt(row: dict[str, Any]) -> dict[str, Any]:
    kept = {name: row[name] for name in ("number", "pool", "worker", "device", "fence", "outcome", "resumed_at")}
    kept |= {"started_ms": _ms(row["started_at"]), "ended_ms": _ms(row["ended_at"])}
    if row["fault"]:
        kept["fault"] = _known(row["fault"])
    return _known(kept)


def _known(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)
