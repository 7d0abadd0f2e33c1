"""200 random faults over one run, in one process: is every step in the ledger once, and are the weights the same?

    python -m benchmarks.faults_engine --faults 200 --deaths 12 --seed 1

The engine's loop, its recovery, the batch lane's code and the ledger on a real Redis, without the processes around
them: cheap enough for any machine. A death is a context that is lost; the next attempt goes on from the last
checkpoint on the CPU, and the one after that on the stand-in again. With the processes: `benchmarks/faults.py`.
"""

import argparse
import json
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from benchmarks.faults import random_drills
from benchmarks.machine import facts
from jobs.connection import connect
from jobs.datasets import scan, select
from jobs.fault import Fault, FaultKind
from jobs.job import Checkpoint, Claim, JobState, Pool
from jobs.ledger import Ledger
from jobs.spec import JobSpec, Placement
from jobs.store import JobStore
from tests.redis_server import RedisServer
from tests.stack import make_data, tiny
from worker.data.prepare import prepare
from worker.training.device import device_of
from worker.training.errors import DeviceFault, Interrupted
from worker.training.lane import Folders, Lane
from worker.training.loop import Loop
from worker.training.parts import assemble

CPU_STEPS = 20  # of a stay on the CPU, beyond the step that failed
LEASE_S = 3600.0


class Desk:
    """The supervisor's part for one attempt, at once and in this process."""

    def __init__(self, run: "Run", claim: Claim, leave_at: int | None) -> None:
        self._run, self._claim, self._leave_at = run, claim, leave_at
        self._orders: list[dict[str, Any]] = []
        self._ticket: dict[str, Any] = {}

    def tell(self, type: str, next_within_s: float = 0.0, **fields: Any) -> None:
        run, claim = self._run, self._claim
        match type:
            case "commit":
                run.ledger.commit(claim, fields["first"], fields["last"], fields["device"], fields["reason"])
                if self._leave_at is not None and fields["last"] >= self._leave_at:
                    self._orders.append({"type": "move_up"})
            case "checkpoint":
                path = str(Path(fields["path"]).relative_to(run.runs))
                run.store.publish(claim, Checkpoint(fields["step"], path, "", fields["digest"]))
                self._orders.append({"type": "published", "step": fields["step"]})
            case "ticket":
                self._ticket = fields
            case "fault":
                run.faults[fields["fault"]["kind"]] += 1

    def orders(self) -> list[dict[str, Any]]:
        orders, self._orders = self._orders, []
        return orders

    def answer(self, step: int, timeout_s: float) -> dict[str, Any]:
        before, after = Path(self._ticket["before"]), Path(self._ticket["after"])
        return {**self._run.lane.compute(self._claim.job.id, step, before, after), "device": "cpu"}


class Run:
    def __init__(self, folder: Path, data: Path, redis: RedisServer) -> None:
        client = connect(redis.url)
        self.store, self.ledger = JobStore(client), Ledger(client)
        self.store.open()
        self.runs, self.data, self.cache = folder / "runs", data, data / ".cache"
        self.lane = Lane(Folders(self.runs, self.data, self.cache))
        self.faults: Counter[str] = Counter()
        self.deaths: Counter[str] = Counter()

    def submit(self, spec: JobSpec) -> str:
        sources = [{"release": s.release, "path": s.path} for s in select(scan(self.data), spec.dataset)]
        job_id = self.store.submit(spec, sources=sources)[0].id
        (self.runs / job_id).mkdir(parents=True)
        document = {"spec": spec.model_dump(mode="json"), "sources": sources}
        (self.runs / job_id / "spec.json").write_text(json.dumps(document))
        return job_id

    def to_the_end(self, job_id: str) -> dict[str, torch.Tensor]:
        pool, leave_at = Pool.GPU, None
        while True:
            device = "standin:0" if pool is Pool.GPU else "cpu"
            claim = self.store.claim(pool, worker="w", device=device, lease_s=LEASE_S)
            assert claim is not None
            loop = self._loop(claim, device, leave_at)
            try:
                loop.run()
                self.store.settle(claim, JobState.SUCCEEDED)
                return {name: t.clone() for name, t in loop.parts.state.tensors().items()}
            except DeviceFault as error:
                self.deaths[error.fault.kind] += 1
                loop._flush()
                self.store.requeue(claim, Placement.CPU, error.fault, crashed=True)
                pool, leave_at = Pool.CPU, max(loop.k, error.fault.step or 0) + CPU_STEPS
            except Interrupted:
                self.store.requeue(claim, Placement.GPU, Fault(FaultKind.STOPPED, "back to the GPU"))
                pool, leave_at = Pool.GPU, None

    def _loop(self, claim: Claim, device: str, leave_at: int | None) -> Loop:
        spec, folder = claim.job.spec, self.runs / claim.job.id
        data = prepare(spec, tuple(select(scan(self.data), spec.dataset)), self.data, self.cache)
        parts = assemble(spec, data, device_of(device), self.runs)
        loop = Loop(parts, folder, claim.fence, Desk(self, claim, leave_at))
        if claim.job.checkpoint:
            loop.resume(self.runs / claim.job.checkpoint.path)
        self.ledger.resume(claim, loop.k)
        return loop


def main() -> None:
    options = parse()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        redis = RedisServer(folder / "redis").start()
        try:
            run = Run(folder, make_data(options.data or folder / "data"), redis)
            training = {"epochs": options.epochs, "batch_size": 2}
            began = time.monotonic()
            clean_id = run.submit(tiny(training=training, placement="gpu"))
            clean, clean_s = run.to_the_end(clean_id), time.monotonic() - began
            steps = len(live(run, clean_id))
            drills = random_drills(rng, options.faults, steps)[: options.faults]
            drills += [{"kind": "sticky", "step": k} for k in sorted(rng.sample(range(50, steps - 50), options.deaths))]
            began = time.monotonic()
            job_id = run.submit(tiny(training=training, placement="gpu", drill=drills))
            faulty = run.to_the_end(job_id)
            result = row(run, job_id, steps, clean, faulty) | {
                "clean_s": round(clean_s, 1), "faulty_s": round(time.monotonic() - began, 1),
            }  # fmt: skip
        finally:
            redis.stop()
    told = {"command": " ".join(sys.argv[1:]), "at": time.strftime("%Y-%m-%d"), "machine": facts(), **result}
    print(json.dumps(told))
    if options.out:
        options.out.write_text(json.dumps(told) + "\n")


def row(run: Run, job_id: str, steps: int, clean: dict[str, Any], faulty: dict[str, Any]) -> dict[str, Any]:
    rows, kept = run.ledger.runs(job_id), live(run, job_id)
    return {
        "steps": steps, "faults_seen": run.faults.total() + run.deaths.total(), "batches": run.faults,
        "deaths": run.deaths, "attempts": len(run.store.get(job_id).attempts), "live_rows": len(kept),
        "each_once_and_in_order": kept == list(range(steps)),
        "moved": sum(r.last - r.first + 1 for r in rows if r.reason and not r.superseded),
        "replayed": sum(r.last - r.first + 1 for r in rows if r.superseded),
        "identical": clean.keys() == faulty.keys() and all(torch.equal(clean[name], faulty[name]) for name in clean),
    }  # fmt: skip


def live(run: Run, job_id: str) -> list[int]:
    return [k for r in run.ledger.runs(job_id) if not r.superseded for k in range(r.first, r.last + 1)]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults_engine", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--faults", type=int, default=200, help="failed batches")
    parser.add_argument("--deaths", type=int, default=12, help="lost contexts on top")
    parser.add_argument("--epochs", type=int, default=175, help="33 steps each")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path, help="where the recordings are made, or were")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
