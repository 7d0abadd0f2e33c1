"""Poison among good jobs: `python -m benchmarks.poison --seeds 1 2 3`. Each crashes at its first step, every time.

Pairs: the same good jobs with and without the poison, in the same order, on the same workers.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.slow import slow, slow_stack
from jobs.fault import FaultKind
from jobs.job import JobState
from tests.stack import Stack, make_data

WORKERS = 4


def throughput(stack: Stack, good: int, poison: int, seconds: float, seed: int) -> tuple[float, list[dict[str, Any]]]:
    """Good jobs a second from the first claim to the last good end, and what became of the poison."""
    order = ["good"] * good + ["poison"] * poison
    random.Random(seed).shuffle(order)
    ids = [(kind, stack.submit(slow(seconds, then="abort" if kind == "poison" else ""))) for kind in order]
    ended = [(kind, stack.wait(job_id, 1800)) for kind, job_id in ids]
    done = [job for kind, job in ended if kind == "good" and job.state is JobState.SUCCEEDED]
    assert len(done) == good, "a good job failed"
    span_s = max(j.finished_at or 0 for j in done) - min(job.started_at or 0 for _, job in ended)
    fates = [{"state": j.state, "reason": j.error.kind if j.error else None, "attempts": len(j.attempts)}
             for kind, j in ended if kind == "poison"]  # fmt: skip
    return good / span_s, fates


def pair(stack: Stack, good: int, poison: int, seconds: float, seed: int) -> dict[str, Any]:
    """In an order of its own, so that neither always has the warmer machine."""
    runs = {n: throughput(stack, good, n, seconds, seed) for n in random.Random(seed).sample([0, poison], 2)}
    alone, beside = runs[0][0], runs[poison][0]
    return {"seed": seed, "alone_per_min": round(60 * alone, 2), "beside_poison_per_min": round(60 * beside, 2),
            "drop_percent": round(100 * (1 - beside / alone), 2), "poison": runs[poison][1]}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.poison", description=__doc__)
    parser.add_argument("--good", type=int, default=40)
    parser.add_argument("--poison", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5.0, help="a good job's training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and close what was started
    folder = Path(tempfile.mkdtemp(prefix="poison-"))
    stack = slow_stack(folder, make_data(args.data or folder / "data"), 30.0)
    try:
        for name in ("reaper-1", *(f"cpu-{n + 1}" for n in range(WORKERS))):
            stack.start(name)
        throughput(stack, 3 * WORKERS, 0, 5.0, 0)  # until every worker is warm
        rows = [pair(stack, args.good, args.poison, args.seconds, seed) for seed in args.seeds]
        load = os.getloadavg()
    finally:
        stack.close()
    settings = {k: getattr(args, k) for k in ("good", "poison", "seconds")} | {"workers": WORKERS}
    text = json.dumps({"settings": settings, "load_average": load, "rows": rows}, indent=1)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")
    fates = [fate for row in rows for fate in row["poison"]]
    return 0 if all(f["reason"] == FaultKind.POISON and f["attempts"] <= 3 for f in fates) else 1


if __name__ == "__main__":
    sys.exit(main())
