"""Hangs: how soon each is found, and whether steps on a busy machine are taken for one.

`python -m benchmarks.hangs --rounds 4 --steps 20000`. No trainer of the second part hangs: every hang found is false.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.slow import slow, slow_stack
from jobs.fault import FaultKind
from jobs.job import JobState
from tests.stack import Stack, make_data
from worker.training.reports import COMPUTE_S

HANGS = {"native sleep that holds the interpreter": "native", "stuck read": "read", "stopped process": ""}
ALLOWED_S = COMPUTE_S + 10
BURN = "while True: pass"


def one_of_each(stack: Stack) -> list[dict[str, Any]]:
    """Three jobs side by side, each on a worker of its own, until the watchdog has found them all."""
    jobs = {name: stack.submit(slow(3600, step_s=0.05, after=40, then=then)) for name, then in HANGS.items()}
    victim = next(job_id for name, job_id in jobs.items() if not HANGS[name])
    stack.wait_training(victim, 600)
    os.kill(stack.trainer(victim) or 0, signal.SIGSTOP)
    return [found(stack, name, job_id) for name, job_id in jobs.items()]


def found(stack: Stack, name: str, job_id: str) -> dict[str, Any]:
    job = stack.until(job_id, lambda job: job.attempts[0].ended_at is not None, 600)
    stack.store.cancel(job_id)
    stack.wait(job_id, 60)
    events = stack.store.events(job_id, limit=10_000)
    at = next(i for i, e in enumerate(events) if e["type"] == "warning")
    since = events[at - 1]["at"]
    fault = job.attempts[0].fault
    return {"hang": name, "fault": fault.kind if fault else None, "found_s": round(events[at]["at"] - since, 2),
            "ended_s": round((job.attempts[0].ended_at or 0) - since, 2)}  # fmt: skip


def false_kills(stack: Stack, steps: int, n_jobs: int, burners: int) -> dict[str, Any]:
    """Tiny steps beside processes that take all the CPU there is."""
    burning = [subprocess.Popen([sys.executable, "-c", BURN]) for _ in range(burners)]
    training = {"epochs": max(1, steps // n_jobs // 32 + 1), "batch_size": 2}
    try:
        jobs = [stack.submit(slow(1, step_s=0.001, seed=n, training=training)) for n in range(n_jobs)]
        ended = [stack.wait(job_id, 3600) for job_id in jobs]
        load = os.getloadavg()
    finally:
        for process in burning:
            process.kill()
            process.wait()
    faults = [a.fault.kind for job in ended for a in job.attempts if a.fault]
    return {
        "steps": sum(job.progress["steps"] for job in ended if job.progress), "burners": burners,
        "cores": os.cpu_count(), "load_average": load, "succeeded": sum(j.state is JobState.SUCCEEDED for j in ended),
        "jobs": n_jobs, "false_kills": faults.count(FaultKind.HANG), "other_faults": len(faults),
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hangs", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--burners", type=int, default=4 * (os.cpu_count() or 1))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and close what was started
    folder = Path(tempfile.mkdtemp(prefix="hangs-"))
    stack = slow_stack(folder, make_data(args.data or folder / "data"), 30.0)
    try:
        for name in ("reaper-1", "cpu-1", "cpu-2", "cpu-3"):
            stack.start(name)
        hangs = [row for _ in range(args.rounds) for row in one_of_each(stack)]
        print(json.dumps(hangs), file=sys.stderr, flush=True)
        busy = false_kills(stack, args.steps, 2, args.burners)
    finally:
        stack.close()
    text = json.dumps({"promise_s": COMPUTE_S, "allowed_s": ALLOWED_S, "hangs": hangs, "busy": busy}, indent=1)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")
    in_time = all(row["fault"] == FaultKind.HANG and row["found_s"] <= ALLOWED_S for row in hangs)
    return 0 if in_time and not busy["false_kills"] and busy["succeeded"] == busy["jobs"] else 1


if __name__ == "__main__":
    sys.exit(main())
