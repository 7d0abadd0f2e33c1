"""How long until a job trains again: after its trainer was killed, and after its whole worker was.

`python -m benchmarks.recovery --lease 30 --kills 40`. The worker that takes over is idle, as the promise says.
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


def after_a_kill(stack: Stack, job_id: str, kill: Any) -> float:
    """Seconds from the kill to the next attempt's first step."""
    number = len(stack.store.get(job_id).attempts)
    at = time.time()
    kill()
    stack.until(job_id, lambda j: len(j.attempts) > number and j.phase == "training", 180)
    events = stack.store.events(job_id, limit=10_000)
    return next(e["at"] for e in events if e["at"] > at and e["data"].get("phase") == "training") - at


def trainer_kills(stack: Stack, job_id: str, kills: int) -> list[float]:
    found = []
    for _ in range(kills):
        new_checkpoint(stack, job_id)
        found.append(after_a_kill(stack, job_id, lambda: os.kill(stack.trainer(job_id) or 0, signal.SIGKILL)))
    return found


def worker_kills(stack: Stack, job_id: str, kills: int, rng: random.Random) -> list[float]:
    found = []
    for _ in range(kills):
        new_checkpoint(stack, job_id)
        time.sleep(rng.uniform(0, 5))  # at any point between two beats
        worker = stack.store.get(job_id).attempts[-1].worker
        found.append(after_a_kill(stack, job_id, lambda name=worker: stack.kill(name)))
        stack.start(worker)
    return found


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
    parser.add_argument("--trainer-kills", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and close what was started
    folder = Path(tempfile.mkdtemp(prefix="recovery-"))
    stack = slow_stack(folder, make_data(args.data or folder / "data"), args.lease)
    try:
        for name in ("reaper-1", "cpu-1", "cpu-2"):
            stack.start(name)
        job_id = stack.submit(slow(18_000, step_s=0.25))
        stack.wait_training(job_id, 180)
        trainers = trainer_kills(stack, job_id, args.trainer_kills or args.kills)
        workers = worker_kills(stack, job_id, args.kills, random.Random(args.seed))
        load = os.getloadavg()
    finally:
        stack.close()
    rows = [summary("trainer", args.lease, trainers), summary("worker", args.lease, workers)]
    text = json.dumps({"seed": args.seed, "load_average": load, "rows": rows}, indent=1)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
