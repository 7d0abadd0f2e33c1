"""How long a cancel takes: queued, running in any phase, and running on a worker that is dead.

`python -m benchmarks.cancels --lease 30 --running 30`
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
from pathlib import Path

from benchmarks.recovery import summary
from benchmarks.slow import slow, slow_stack
from jobs.job import JobState
from tests.stack import Stack, make_data


def cancel(stack: Stack, job_id: str) -> float:
    asked = time.time()
    stack.store.cancel(job_id)
    return (stack.wait(job_id, 900).finished_at or 0) - asked


def running(stack: Stack, rng: random.Random, phases: Counter[str]) -> float:
    """At any time after the claim."""
    job_id = stack.submit(slow(60))
    stack.until(job_id, lambda job: job.state is JobState.RUNNING, 900)
    time.sleep(rng.uniform(0, 12))
    phases[stack.store.get(job_id).phase or ""] += 1
    return cancel(stack, job_id)


def orphaned(stack: Stack) -> float:
    job_id = stack.submit(slow(60))
    stack.until(job_id, lambda job: job.state is JobState.RUNNING, 900)
    stack.kill("cpu-1")
    seconds = cancel(stack, job_id)
    stack.start("cpu-1")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cancels", description=__doc__)
    parser.add_argument("--lease", type=float, default=30.0)
    parser.add_argument("--running", type=int, default=5)
    parser.add_argument("--queued", type=int, default=100)
    parser.add_argument("--orphaned", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and close what was started
    folder, rng, phases = Path(tempfile.mkdtemp(prefix="cancels-")), random.Random(args.seed), Counter[str]()
    stack = slow_stack(folder, make_data(args.data or folder / "data"), args.lease)
    try:
        queued = [cancel(stack, stack.submit(slow(60))) for _ in range(args.queued)]  # no worker has been started
        for name in ("reaper-1", "cpu-1"):
            stack.start(name)
        alive = [running(stack, rng, phases) for _ in range(args.running)]
        dead = [orphaned(stack) for _ in range(args.orphaned)]
        back = stack.store.count(JobState.QUEUED) + stack.store.count(JobState.RUNNING)
        load = os.getloadavg()
    finally:
        stack.close()
    rows = [summary("queued, no worker up", args.lease, queued), summary("running", args.lease, alive),
            summary("running, worker dead", args.lease, dead)]  # fmt: skip
    text = json.dumps({"seed": args.seed, "load_average": load, "phases": phases, "came_back": back, "rows": rows},
                      indent=1)  # fmt: skip
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
