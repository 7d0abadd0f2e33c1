"""Spec files as a person writes them: reading, `--set a.b=c`, `--seeds 1-5`, and checking without a service."""

import json
import sys
from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from eegq.errors import UsageError

Spec = dict[str, Any]
ALERT_FORMATS = ("json", "text", "slack")


def read(source: str | None) -> Spec:
    """A JSON file, `-` for standard input, or nothing for a spec of defaults. Raises UsageError."""
    if source is None:
        return {}
    try:
        spec = json.loads(sys.stdin.read() if source == "-" else Path(source).read_text())
    except OSError as error:
        raise UsageError(f"cannot read {source}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{source} is not JSON: {error}") from error
    if not isinstance(spec, dict):
        raise UsageError(f"{source} holds no JSON object")
    return spec


def with_settings(spec: Spec, settings: Sequence[str]) -> Spec:
    """`spec` with `path.to.field=value` applied; a value that is no JSON is a string. Raises UsageError."""
    spec = deepcopy(spec)
    for setting in settings:
        path, separator, text = setting.partition("=")
        if not separator or not path:
            raise UsageError(f"--set {setting}: write it as path.to.field=value")
        _set(spec, path.split("."), _value(text), setting)
    return spec


def with_seeds(spec: Spec, seeds: str | None, group: str | None) -> Iterator[Spec]:
    """One spec a seed, all tagged with the group."""
    tags = [*spec.get("tags", []), *([group_tag(group)] if group else [])]
    tagged = {**spec, "tags": tags} if tags else spec
    if seeds is None:
        yield tagged
        return
    for seed in parse_seeds(seeds):
        yield {**tagged, "seed": seed}


def with_alerts(spec: Spec, alerts: Sequence[str]) -> Spec:
    """`spec` with one more alert for each `https://…` or `text=https://…`. Raises UsageError."""
    added = []
    for alert in alerts:
        form, _, url = alert.partition("=") if alert.partition("=")[0] in ALERT_FORMATS else ("json", "", alert)
        if not url.startswith(("https://", "http://")):
            raise UsageError(f"--alert {alert}: write it as https://… or {'|'.join(ALERT_FORMATS)}=https://…")
        added.append({"url": url, "format": form})
    return {**spec, "alerts": [*spec.get("alerts", []), *added]} if added else spec


def group_tag(group: str) -> str:
    return f"group:{group}"


def parse_seeds(text: str) -> list[int]:
    """`1-5`, `0,3,7` or both. Raises UsageError."""
    try:
        parts = [part.partition("-") for part in text.split(",")]
        return [seed for first, dash, last in parts for seed in range(int(first), int(last if dash else first) + 1)]
    except ValueError as error:
        raise UsageError(f"--seeds {text}: write it as 1-5 or 0,3,7") from error


def resolved(spec: Spec) -> Spec:
    """The spec with every default filled in. Raises UsageError with one line a wrong field."""
    from pydantic import ValidationError

    from jobs.spec import JobSpec

    try:
        return JobSpec.model_validate(spec).model_dump(mode="json")
    except ValidationError as error:
        lines = [f"  /{'/'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors()]
        raise UsageError("\n".join(["the spec is not valid:", *lines])) from error


def differences(specs: Sequence[Spec]) -> list[str]:
    """Paths of the fields in which the specs differ; `seed`, `tags` and `alerts` change no result and are left out."""
    flat = [dict(_flatten(spec)) for spec in specs]
    paths = sorted({path for row in flat for path in row})
    apart = [path for path in paths if len({json.dumps(row.get(path)) for row in flat}) > 1]
    return [path for path in apart if path != "seed" and not path.startswith(("tags", "alerts"))]


def field_of(spec: Spec, path: str) -> Any:
    return dict(_flatten(spec)).get(path)


def _flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flatten(inner, f"{path}.{key}" if path else key)
    else:
        yield path, value


def _set(spec: Spec, path: Sequence[str], value: Any, setting: str) -> None:
    inner: Any = spec
    for name in path[:-1]:
        if isinstance(inner.get(name), str) and name in ("dataset", "model"):
            inner[name] = {"name": inner[name]}
        inner = inner.setdefault(name, {})
        if not isinstance(inner, dict):
            raise UsageError(f"--set {setting}: `{name}` has no fields")
    inner[path[-1]] = value


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
