"""Work repeated after kills, and the weights in the end: `python -m benchmarks.repeats --kills 10 --seeds 1 2 3`.

A trainer is killed at random moments; what it had committed behind its last checkpoint is done again.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.storm import quantile, weights
from jobs.job import Job
from tests.stack import Stack, make_data, tiny


@dataclass
class Watch:
    """Looks at a job twenty times a second and notes each checkpoint: when it was first seen, of which step."""

    stack: Stack
    job_id: str
    seen: list[tuple[float, int, int]] = field(default_factory=list)  # time, attempt, step

    def until(self, predicate: Callable[[Job], bool], timeout_s: float = 1200.0) -> Job:
        return self.stack.until(self.job_id, lambda job: self._note(job) or predicate(job), timeout_s)

    def _note(self, job: Job) -> None:
        step = job.checkpoint.step if job.checkpoint else 0
        if not self.seen or self.seen[-1][1:] != (len(job.attempts), step):
            self.seen.append((time.monotonic(), len(job.attempts), step))

    def intervals(self) -> tuple[list[float], list[int]]:
        """Seconds and steps between neighbouring checkpoints of one attempt."""
        pairs = [(a, b) for a, b in zip(self.seen, self.seen[1:], strict=False) if a[1] == b[1] and a[2] > 0]
        return [b[0] - a[0] for a, b in pairs], [b[2] - a[2] for a, b in pairs]


def killed(stack: Stack, seed: int, epochs: int, kills: int, mean_gap_s: float) -> dict[str, Any]:
    """One job with kills, beside the weights of the same job without."""
    rng, spec = random.Random(seed), tiny(epochs, seed=seed, training={"epochs": epochs, "batch_size": 2})
    wanted = weights(stack, stack.wait(stack.submit(spec), 1200))
    watch = Watch(stack, stack.submit(spec))
    for n in range(1, kills + 1):
        watch.until(lambda job, n=n: job.state.final or (len(job.attempts) == n and job.phase == "training"))
        due = time.monotonic() + 2 + rng.expovariate(1 / mean_gap_s)
        if watch.until(lambda job, due=due: time.monotonic() > due or job.state.final).state.final:
            break
        os.kill(stack.trainer(watch.job_id) or 0, signal.SIGKILL)
    job = watch.until(lambda job: job.state.final)
    seconds, steps = watch.intervals()
    n_steps = job.progress["steps"] if job.progress else 0
    again = Counter[int]()
    for run in stack.ledger.runs(job.id):
        again[run.attempt] += (run.last - run.first + 1) * run.superseded
    lost = [again[a.number] for a in job.attempts[:-1]]
    return {
        "seed": seed, "steps": n_steps, "kills": len(lost), "state": job.state,
        "bit_identical": weights(stack, job) == wanted,
        "every_step_once": stack.live_steps(job.id) == list(range(n_steps)),
        "steps_repeated_a_kill": spread(lost), "steps_between_checkpoints": spread(steps),
        "seconds_between_checkpoints": spread(seconds),
    }  # fmt: skip


def spread(values: Sequence[float]) -> dict[str, Any]:
    ordered = sorted(round(v, 2) for v in values)
    return {"n": len(ordered), "p50": quantile(ordered, 0.5), "max": ordered[-1] if ordered else None}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.repeats", description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--gap", type=float, default=1.5, help="mean seconds of training before a kill, on top of two")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and close what was started
    folder = Path(tempfile.mkdtemp(prefix="repeats-"))
    stack = Stack(folder / "stack", make_data(args.data or folder / "data"), 30.0)
    try:
        for name in ("reaper-1", "cpu-1"):
            stack.start(name)
        rows = [killed(stack, seed, args.epochs, args.kills, args.gap) for seed in args.seeds]
    finally:
        stack.close()
    text = json.dumps({"gap_s": args.gap, "rows": rows}, indent=1)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")
    return 0 if all(r["bit_identical"] and r["every_step_once"] for r in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
