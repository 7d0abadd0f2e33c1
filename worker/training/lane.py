"""A lane: the warm process that computes single batches for other pools, `python -m worker.training.lane`.

It keeps the last job's model and data, so a ticket costs a step and two checkpoints. Knows no queue.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from jobs.audit import Verdict
from jobs.datasets import Source
from jobs.spec import JobSpec
from worker.data.prepare import prepare
from worker.training import checkpoint
from worker.training.device import device_of
from worker.training.orphan import die_with_parent
from worker.training.parts import Parts, assemble
from worker.training.protocol import Channel, PipeClosed, inherited
from worker.training.usercode import adopt
from worker.training.verdict import audit


@dataclass(frozen=True)
class Folders:
    runs: Path
    data: Path
    cache: Path


class Lane:
    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._job: str | None = None
        self._parts: Parts | None = None

    def expect(self, job: str) -> None:
        """Makes ready for batches of a job."""
        self._parts_of(job)

    def compute(self, job: str, step: int, before: Path, after: Path) -> dict[str, Any]:
        """The state before step `step` in, the state after it out; both are checkpoint folders."""
        parts = self._parts_of(job)
        tensors, scalars = checkpoint.read(before)
        parts.state.restore(tensors)
        started = time.monotonic()
        parts.step(step)
        finite, step_s = bool(parts.state.ok), time.monotonic() - started
        if not finite:
            return {"ok": False, "error": "not finite on the CPU either", "step_s": step_s}
        digest = checkpoint.write(after, parts.state.tensors(), {**scalars, "step": step + 1})
        return {"ok": True, "digest": digest, "step_s": step_s}

    def audit(self, job: str, first: int, steps: int, folder: Path) -> Verdict:
        """Whether steps first.. of the job were computed rightly: the states around them are in `folder`."""
        return audit(self._parts_of(job), folder, first, steps)

    def _parts_of(self, job: str) -> Parts:
        """Built once a job, from the spec in its run folder."""
        if self._job != job or self._parts is None:
            folders = self._folders
            document = json.loads((folders.runs / job / "spec.json").read_text())
            spec = JobSpec.model_validate(document["spec"])
            sources = tuple(Source(**source) for source in document["sources"])
            own_code = adopt(spec, None, folders.runs / job)
            data = prepare(spec, sources, folders.data, folders.cache, steps_dir=own_code)
            self._parts = assemble(spec, data, device_of("cpu"), folders.runs, own_code)
            self._job = job
        return self._parts


def serve(channel: Channel, lane: Lane) -> None:
    """Until the pipe closes."""
    while True:
        for message in channel.poll(timeout_s=3600.0):
            try:
                answer = obey(lane, message)
            except Exception as error:  # noqa: BLE001 - the trainer that asked falls back to its own CPU
                answer = {"ok": False, "error": f"{type(error).__name__}: {error}"}
            if message["type"] != "expect":
                channel.send("answer", **answer)


def obey(lane: Lane, message: dict[str, Any]) -> dict[str, Any]:
    match message["type"]:
        case "audit":
            folder = Path(message["folder"])
            return {
                "ok": True,
                "verdict": lane.audit(message["job"], message["first"], message["steps"], folder).to_dict(),
            }
        case "ticket":
            return lane.compute(message["job"], message["step"], Path(message["before"]), Path(message["after"]))
        case _:
            lane.expect(message["job"])
            return {}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m worker.training.lane", description=__doc__)
    for name in ("runs", "data", "cache"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--channel", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    args = parser.parse_args()
    die_with_parent(args.parent)
    torch.set_num_threads(args.threads)
    for slow in ("braindecode.models", "torch._dynamo", "torch._inductor"):
        import_module(slow)
    try:
        serve(inherited(args.channel), Lane(Folders(args.runs, args.data, args.cache)))
    except PipeClosed:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
