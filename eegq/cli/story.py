"""A job's events as sentences for a person. Knows the events' names, not how they arrive."""

from typing import Any

from eegq.resources import Event

PLAIN = {
    "cancel_requested": "cancel requested",
    "cancelled": "cancelled",
    "paused": "paused at a checkpoint",
    "resumed": "resumed",
    "unavailable": "the service has lost Redis; waiting",
    "available": "Redis is back",
}


def sentence(event: Event) -> str | None:
    """One line, or None for what a progress bar shows better."""
    data = event.data
    match event.type:
        case "claimed":
            return f"attempt {data.get('number')} starts on {data.get('device')} ({data.get('pool')} pool)"
        case "metrics":
            return _metrics(data)
        case "fault":
            return (
                f"fault on {data.get('device')} at step {data.get('step')}: {data.get('message') or data.get('kind')}"
            )
        case "handed_off":
            return f"step {data.get('step')} handed to the CPU pool: {data.get('reason')}"
        case "batch_returned":
            return f"step {data.get('step')} came back from {data.get('device')}"
        case "audited" if data.get("finding") != "agrees":
            return f"step {data.get('step')} was computed again on the CPU: {data.get('finding')}"
        case "requeued":
            return f"requeued to the {data.get('pool')} pool: {_fault(data.get('fault'))}"
        case "warning":
            return f"warning: {data.get('message')}"
        case "failed":
            return f"failed: {_fault(data)}"
        case other:
            return PLAIN.get(other)


def _metrics(data: dict[str, Any]) -> str:
    values = [f"{name.replace('_', ' ')} {data[name]:.4f}" for name in ("train_loss", "val_nrmse") if data.get(name)]
    return f"epoch {data.get('epoch')}: {', '.join(values)}"


def _fault(fault: dict[str, Any] | None) -> str:
    found = fault or {}
    return str(found.get("message") or found.get("kind") or "no reason given")
