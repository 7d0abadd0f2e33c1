"""Whether a job run again gave the same bits, and if not, what differed: data, versions, code, device or result."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eegq.client import Client

COMPARED = ("data_digest", "sources", "versions", "code", "seed", "spec")
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Report:
    """`differences`: name -> [of the first job, of the second]."""

    first: str
    second: str
    identical: bool
    differences: dict[str, list[Any]]
    scores: list[float | None]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> Iterator[str]:
        yield f"{self.first} and {self.second}: {'bit-identical weights' if self.identical else 'weights differ'}"
        yield f"best NRMSE: {self.scores[0]} and {self.scores[1]}"
        for name, (first, second) in self.differences.items():
            yield f"  {name}: {first} then {second}"
        if not self.identical and not self.differences:
            yield "  data, versions and spec are the same; bits are promised on one kind of device and thread count"


def reproduce(client: "Client", first: str, second: str) -> Report:
    """Waits for the second job and compares it with the first. Raises JobFailed, JobCancelled."""
    again = client.jobs.wait(second)
    origin = client.jobs.retrieve(first)
    differences = dict(_differences(_manifest(client, first), _manifest(client, second)))
    if origin.placement.device != again.placement.device:
        differences["device"] = [origin.placement.device, again.placement.device]
    return Report(
        first,
        second,
        identical=_digest(client, first) == _digest(client, second),
        differences=differences,
        scores=[job.best.value if job.best else None for job in (origin, again)],
    )


def _manifest(client: "Client", job_id: str) -> dict[str, Any]:
    return json.loads(client.jobs.read(job_id, "spec.json"))


def _differences(first: dict[str, Any], second: dict[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    for name in COMPARED:
        one, other = first.get(name), second.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            for key in sorted({*one, *other}):
                if one.get(key) != other.get(key):
                    yield f"{name}.{key}", [one.get(key), other.get(key)]
        elif one != other:
            yield name, [one, other]


def _digest(client: "Client", job_id: str) -> str:
    return hashlib.sha256(client.jobs.read(job_id, WEIGHTS)).hexdigest()
