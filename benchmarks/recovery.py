"""How long until a job trains again: after its trainer was killed, and after its whole worker was.

`python -m benchmarks.recovery --lease 30 --kills 40 --at-once 4`. There are as many idle workers as busy ones, as the
promise says; several are killed at once, each at its own moment between two beats.
"""

import argparse
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.slow import slow, slow_stack
from tests.stack import Stack, make_data


def trainer_kills(stack: Stack, job_id: str, kills: int, found: list[float]) -> None:
    for _ in range(kills):
        new_checkpoint(stack, job_id)
        at = time.time()
        os.kill(stack.trainer(job_id) or 0, signal.SIGKILL)
        found.append(training_again(stack, job_id, at))


def worker_kills(stack: Stack, jobs: list[str], kills: int, rng: random.Random, found: list[float]) -> None:
    """Every job's worker, round after round; a killed worker is started again to be the idle one of the next round."""
    while len(found) < kills:
        for job_id in jobs:
            new_checkpoint(stack, job_id)
        killed = [kill_worker(stack, job_id, rng.uniform(0, 5 / len(jobs))) for job_id in jobs]
        for _, _, worker in killed:
            stack.start(worker)
        for job_id, at, _ in killed:
            found.append(training_again(stack, job_id, at))


def kill_worker(stack: Stack, job_id: str, after_s: float) -> tuple[str, float, str]:
    time.sleep(after_s)
    worker = stack.store.get(job_id).attempts[-1].worker
    at = time.time()
    stack.kill(worker)
    return job_id, at, worker


def training_again(stack: Stack, job_id: str, since: float) -> float:
    """Seconds from the kill to the next attempt's first step."""
    stack.until(job_id, lambda j: j.attempts[-1].started_at > since and j.phase == "training", 180)
    events = stack.store.events(job_id, limit=10_000)
    return next(e["at"] for e in events if e["at"] > since and e["data"].get("phase") == "training") - since


def new_checkpoint(stack: Stack, job_id: str) -> None:
    before = stack.store.get(job_id).checkpoint
    stack.until(job_id, lambda j: j.checkpoint is not None and j.checkpoint != before, 120)


def summary(name: str, lease_s: float, seconds: list[float]) -> dict[str, Any]:
    ordered = sorted(seconds)
    return {"killed": name, "lease_s": lease_s, "kills": len(ordered), "p50_s": round(statistics.median(ordered), 2),
            "p99_s": round(ordered[int(0.99 * len(ordered))], 2), "all_s": [round(s, 2) for s in ordered]}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recovery", description=__doc__)
    parser.add_argument("--lease", type=float, default=3.0)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--trainer-kills", type=int, default=5)
    parser.add_argument("--at-once", type=int, default=1, help="busy workers, and idle ones")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and close what was started
    folder = Path(tempfile.mkdtemp(prefix="recovery-"))
    stack = slow_stack(folder, make_data(args.data or folder / "data"), args.lease)
    trainers: list[float] = []
    workers: list[float] = []
    try:
        for name in ("reaper-1", *(f"cpu-{n + 1}" for n in range(2 * args.at_once))):
            stack.start(name)
        jobs = [stack.submit(slow(18_000, step_s=0.25)) for _ in range(args.at_once)]
        for job_id in jobs:
            stack.wait_training(job_id, 240)
        trainer_kills(stack, jobs[0], args.trainer_kills, trainers)
        worker_kills(stack, jobs, args.kills, random.Random(args.seed), workers)
    finally:  # what was measured counts, also where somebody ends this early
        load = os.getloadavg()
        stack.close()
        rows = [summary(*row) for row in (("trainer", args.lease, trainers), ("worker", args.lease, workers)) if row[2]]
        text = json.dumps({"seed": args.seed, "load_average": load, "rows": rows}, indent=1)
        print(text)
        if args.out:
            args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
