"""What a second GPU buys: the same jobs through the whole queue, with one GPU worker and with one a device.

    python -m benchmarks.gpus --devices cuda:0 cuda:1 --jobs 8

Real processes and a real Redis. The clock runs from the first submit to the last end; each worker warms up before it.
"""

import argparse
import json
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.machine import facts
from jobs.job import Pool
from jobs.spec import JobSpec
from tests.conftest import wait_until
from tests.stack import Stack

LIMIT_S = 400.0


def rows(options: argparse.Namespace) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as name:
        data = recordings(Path(name) / "data", options.subjects)
        return [
            measure(Path(name) / str(n), data, options.devices[:n], options) for n in range(1, len(options.devices) + 1)
        ]


def recordings(folder: Path, subjects: int) -> Path:
    from worker.data.simulate import simulate

    simulate(folder / "demo", subjects=subjects, runs=2, trials=48, rest_s=5, seed=1)
    return folder


def measure(folder: Path, data: Path, devices: list[str], options: argparse.Namespace) -> dict[str, Any]:
    stack = Stack(folder, data, lease_s=10.0)
    try:
        stack.start("reaper-1")
        for i, device in enumerate(devices, 1):
            stack.start(f"gpu-{i}", EEGQ_DEVICE=device)
        wait_until(lambda: stack.fleet.ready(Pool.GPU) == len(devices), LIMIT_S)
        run(stack, options, len(devices))
        began = time.monotonic()
        jobs = run(stack, options, options.jobs)
        seconds = time.monotonic() - began
    finally:
        stack.close()
    return {
        "devices": devices, "jobs": len(jobs), "model": options.model, "epochs": options.epochs,
        "seconds": round(seconds, 1), "jobs_per_minute": round(60 * len(jobs) / seconds, 2),
        "ran_on": Counter(job.attempts[-1].device for job in jobs), "states": Counter(job.state for job in jobs),
    }  # fmt: skip


def run(stack: Stack, options: argparse.Namespace, n: int) -> list[Any]:
    ids = [stack.submit(spec(options, seed)) for seed in range(n)]
    return [stack.wait(job_id, LIMIT_S) for job_id in ids]


def spec(options: argparse.Namespace, seed: int) -> JobSpec:
    training = {"epochs": options.epochs, "batch_size": 128}
    return JobSpec.model_validate({
        "task": "challenge1", "dataset": "demo", "model": options.model, "training": training, "placement": "gpu",
        "seed": seed, "validation": {"by": "subject", "fraction": 0.2},
    })  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", nargs="+", default=["cuda:0", "cuda:1"])
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--model", default="EEGNeX")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--subjects", type=int, default=16)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    text = "".join(json.dumps(row) + "\n" for row in [{"at": time.strftime("%Y-%m-%d"), **facts()}, *rows(options)])
    print(text)
    if options.out:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
